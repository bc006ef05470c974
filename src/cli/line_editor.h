/* line_editor.h: lines from a terminal, with editing, history and completion (libedit), or from anything else, as
 * they come.
 *
 * What the user enters may have several lines: text pasted into the terminal in one piece (bracketed paste), or an
 * entry called back from the history. On the screen and in the history file, which hold one line for each entry,
 * their line breaks are shown as U+2424; such a character that is typed becomes a line break. */
#ifndef QVL_CLI_LINE_EDITOR_H
#define QVL_CLI_LINE_EDITOR_H

#include "base/bytes.h"

struct qvl_line_editor;

enum qvl_line_kind {
    QVL_LINE_TEXT,
    QVL_LINE_CLEARED,     /* Ctrl-C: what was typed is gone */
    QVL_LINE_INTERRUPTED, /* Ctrl-C, and nothing was typed */
    QVL_LINE_END          /* Ctrl-D on an empty line, the end of a file, SIGTERM */
};

/* The name of command i with its slash, NULL after the last. */
typedef const char *qvl_command_name(size_t i);

/* Editing where stdin and stderr are terminals. `signal_fd` is that of qvl_signals_open_chat, read only then, or
 * -1. Commands are completed at the beginning of a line, paths everywhere else. *out is the caller's to close. */
enum qvl_status qvl_line_editor_open(int signal_fd, qvl_command_name *command, struct qvl_line_editor **out,
                                     struct qvl_error *err);
void qvl_line_editor_close(struct qvl_line_editor *editor);
bool qvl_line_editor_is_terminal(const struct qvl_line_editor *editor);

/* Entries are read from this file, if there is one, and added to it from now on; it is readable for its owner
 * only, and so are folders on the way that have to be made. Does nothing without a terminal. QVL_ERR_FILE: it
 * cannot be read or made; editing goes on without it. */
enum qvl_status qvl_line_editor_use_history(struct qvl_line_editor *editor, const char *path,
                                            struct qvl_error *err);
/* $XDG_STATE_HOME/qvl/history, else ~/.local/state/qvl/history. Nothing is written where both are unknown. */
enum qvl_status qvl_line_editor_history_path(struct qvl_bytes *out, struct qvl_error *err);

/* One entry without its last line break into *out (emptied first), UTF-8. The prompt is for terminals only. */
enum qvl_status qvl_line_editor_read(struct qvl_line_editor *editor, const char *prompt, enum qvl_line_kind *kind,
                                     struct qvl_bytes *out, struct qvl_error *err);
/* Adds a (possibly long and many-lined) entry to the history. */
void qvl_line_editor_remember(struct qvl_line_editor *editor, const char *entry);

#endif
