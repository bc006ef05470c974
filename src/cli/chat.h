/* chat.h: what chat.c (the conversation's course) and chat_commands.c (what begins with a slash) share. */
#ifndef QVL_CLI_CHAT_H
#define QVL_CLI_CHAT_H

#include "cli/ask.h"
#include "cli/conversation.h"
#include "cli/line_editor.h"

/* Of the last question, for /stats. */
struct qvl_turn_stats {
    size_t n_prompt_tok, n_cached_tok, n_output_tok; /* no prompt: nothing was asked yet */
    size_t n_drafted_tok, n_accepted_tok;
    struct qvl_bytes line; /* empty: there was none, or it was stopped */
};

struct qvl_chat_room {
    struct qvl_options options; /* those of the command line, changed by /set; memory stays theirs */
    struct qvl_asker asker;
    struct qvl_line_editor *editor;
    struct qvl_conversation conversation;
    struct qvl_input waiting;   /* pictures and clips for the next question */
    struct qvl_turn_stats last;
    bool is_over;
    enum qvl_exit code;         /* of what failed first, where no person is there to read it */
    struct qvl_error err;
};

/* Puts the conversation's last question to the model. What fails is said, and the question taken back. */
void qvl_chat_ask(struct qvl_chat_room *room);
/* Opens a picture or clip for the next question, looks into it and says what it is. */
enum qvl_status qvl_chat_add_media(struct qvl_chat_room *room, const struct qvl_options *options,
                                   enum qvl_part_kind kind, const char *path);

/* A line that begins with a slash and is no path: runs the command. *is_command: false where it is none. */
enum qvl_status qvl_chat_command(struct qvl_chat_room *room, const char *line, bool *is_command);
/* For completion. */
const char *qvl_chat_command_name(size_t i);

#endif
