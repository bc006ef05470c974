/* libedit asks read_character for one character at a time. Reading the descriptor here, not in libedit, makes three
 * things possible: waiting for signals at the same time, so that none has to interrupt a system call; taking pasted
 * text as a whole; and decoding UTF-8 the same way everywhere. */
#include "cli/line_editor.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/utf8.h"
#include "cli/terminal.h"

#define PASTE_BEGIN "\033[200~" /* xterm's bracketed paste, mode 2004 */
#define PASTE_END "\033[201~"
#define LINE_BREAK_SIGN "\xE2\x90\xA4" /* U+2424 */

enum {
    N_ESCAPE = sizeof PASTE_BEGIN - 1,
    ESCAPE_WAIT_MS = 50, /* for the rest of a sequence that a slow line cut in two */
    TAB_PLACES = 4,
    PASTE_KEY = 0x9F /* a control character that no keyboard sends */
};

struct qvl_line_editor {
    EditLine *el; /* NULL: no terminal */
    History *history;
    int history_fd; /* appended to, or -1 */
    int signal_fd;
    bool has_codes; /* the terminal knows cursor codes, so that pasted text can be told from typed */
    qvl_command_name *command;
    char *prompt;
    char *line; /* getline's */
    size_t n_line_alloc;
    struct qvl_bytes paste;   /* taken and not yet in the line */
    bool is_paste_too_long;
    enum qvl_line_kind kind;  /* why reading ended */
    unsigned char byte[4096]; /* [i_byte, n_byte): read and not yet taken */
    size_t i_byte, n_byte;
};

/* ---- bytes and signals --------------------------------------------------------------------------- */

/* Signals that are waiting. Those from before the prompt was there (`is_stale`) were not meant for it, SIGTERM
 * excepted. False when reading must end. */
static bool take_signals(struct qvl_line_editor *e, bool is_stale)
{
    unsigned char number[64];
    bool has_interrupt = false, has_end = false, has_resize = false, has_continue = false;
    for (ssize_t n; (n = read(e->signal_fd, number, sizeof number)) > 0;)
        for (ssize_t i = 0; i < n; i++) {
            has_interrupt |= number[i] == SIGINT;
            has_end |= number[i] == SIGTERM;
            has_resize |= number[i] == SIGWINCH;
            has_continue |= number[i] == SIGCONT;
        }
    if (has_end) {
        e->kind = QVL_LINE_END;
        return false;
    }
    if (has_interrupt && !is_stale) {
        const LineInfo *line = el_line(e->el);
        e->kind = line->lastchar > line->buffer ? QVL_LINE_CLEARED : QVL_LINE_INTERRUPTED;
        return false;
    }
    if (has_resize)
        el_resize(e->el);
    if (has_continue && !is_stale) { /* the shell had the terminal in between */
        el_set(e->el, EL_PREP_TERM, 0);
        el_set(e->el, EL_PREP_TERM, 1);
        fputc('\r', stderr);
        el_set(e->el, EL_REFRESH);
    }
    return true;
}

enum wait { READY, TIMEOUT, ENDED };

/* Until there is one more byte than before; wait_ms -1: for ever. */
static enum wait fill(struct qvl_line_editor *e, int wait_ms)
{
    if (e->i_byte > 0) {
        memmove(e->byte, e->byte + e->i_byte, e->n_byte - e->i_byte);
        e->n_byte -= e->i_byte;
        e->i_byte = 0;
    }
    for (;;) {
        struct pollfd wanted[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = e->signal_fd, .events = POLLIN}};
        int n_ready = poll(wanted, 2, wait_ms);
        if (n_ready == 0)
            return TIMEOUT;
        if (n_ready < 0 && errno != EINTR)
            return ENDED;
        if (n_ready > 0 && wanted[1].revents && !take_signals(e, false))
            return ENDED;
        if (n_ready < 0 || !wanted[0].revents)
            continue;
        ssize_t n = read(STDIN_FILENO, e->byte + e->n_byte, sizeof e->byte - e->n_byte);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return ENDED;
        e->n_byte += (size_t)n;
        return READY;
    }
}

static bool has_prefix(const struct qvl_line_editor *e, const char *text, size_t n)
{
    return e->n_byte - e->i_byte >= n && memcmp(e->byte + e->i_byte, text, n) == 0;
}

/* Whether `sequence` comes next; waits a little where it may have come in pieces. */
static bool is_next(struct qvl_line_editor *e, const char *sequence)
{
    for (;;) {
        size_t n = e->n_byte - e->i_byte;
        if (n >= N_ESCAPE || !has_prefix(e, sequence, n))
            return has_prefix(e, sequence, N_ESCAPE);
        if (fill(e, ESCAPE_WAIT_MS) != READY)
            return false;
    }
}

/* One character of UTF-8; a byte that is none is U+FFFD. */
static enum wait next_character(struct qvl_line_editor *e, uint32_t *out)
{
    enum wait wait;
    while (e->n_byte == e->i_byte ||
           (e->n_byte - e->i_byte < 4 && qvl_utf8_n_incomplete((const char *)e->byte + e->i_byte,
                                                               e->n_byte - e->i_byte) == e->n_byte - e->i_byte))
        if ((wait = fill(e, -1)) != READY)
            return wait;
    size_t n = qvl_utf8_decode((const char *)e->byte + e->i_byte, e->n_byte - e->i_byte, out);
    if (n == 0)
        *out = 0xFFFD;
    e->i_byte += n ? n : 1;
    return READY;
}

/* ---- pasted text --------------------------------------------------------------------------------- */

/* A pasted character as it may stand in the line: control characters have no place there. */
static enum qvl_status add_pasted(struct qvl_bytes *out, uint32_t c, uint32_t before, struct qvl_error *err)
{
    char utf8[4];
    if (c == '\n' && before == '\r')
        return QVL_OK;
    if (c == '\n' || c == '\r')
        return qvl_bytes_add_text(out, LINE_BREAK_SIGN, err);
    if (c == '\t')
        return qvl_bytes_add(out, "    ", TAB_PLACES, err);
    if (c < 0x20 || (c >= 0x7F && c < 0xA0))
        return QVL_OK;
    return qvl_bytes_add(out, utf8, qvl_utf8_encode(c, utf8), err);
}

/* Up to the end sequence. PASTE_KEY then makes libedit call insert_paste. */
static enum wait take_paste(struct qvl_line_editor *e)
{
    enum { N_SIGN = sizeof LINE_BREAK_SIGN - 1 };
    struct qvl_bytes *text = &e->paste;
    struct qvl_error err; /* out of memory: like a text that is too long */
    enum wait wait = READY;
    e->i_byte += N_ESCAPE;
    text->n = 0;
    e->is_paste_too_long = false;
    for (uint32_t c = 0, before; wait == READY && !is_next(e, PASTE_END);) {
        before = c;
        if ((wait = next_character(e, &c)) == READY && !e->is_paste_too_long)
            e->is_paste_too_long = text->n > QVL_MAX_PASTE_BYTES || add_pasted(text, c, before, &err);
    }
    if (wait == READY)
        e->i_byte += N_ESCAPE;
    while (text->n >= N_SIGN && memcmp(text->data + text->n - N_SIGN, LINE_BREAK_SIGN, N_SIGN) == 0)
        text->data[text->n -= N_SIGN] = 0; /* Enter is the user's to press */
    return wait;
}

/* ---- libedit's side ------------------------------------------------------------------------------ */

static struct qvl_line_editor *editor_of(EditLine *el)
{
    void *data = NULL;
    el_get(el, EL_CLIENTDATA, &data);
    return data;
}

static int read_character(EditLine *el, wchar_t *out)
{
    struct qvl_line_editor *e = editor_of(el);
    uint32_t c = 0;
    if (e->n_byte == e->i_byte && fill(e, -1) != READY)
        return -1;
    if (e->byte[e->i_byte] == '\033' && is_next(e, PASTE_BEGIN)) {
        *out = PASTE_KEY;
        return take_paste(e) == READY ? 1 : -1;
    }
    do {
        if (next_character(e, &c) != READY)
            return -1;
    } while (c == PASTE_KEY); /* as text it means nothing */
    *out = (wchar_t)c;
    return 1;
}

/* What PASTE_KEY does. */
static unsigned char insert_paste(EditLine *el, int ch)
{
    struct qvl_line_editor *e = editor_of(el);
    (void)ch;
    if (e->is_paste_too_long) {
        fprintf(stderr, qvl_text("\nqvl: the pasted text is longer than %u bytes and is left out\n"),
                QVL_MAX_PASTE_BYTES);
        return CC_REDISPLAY;
    }
    return e->paste.n == 0 || el_insertstr(el, e->paste.data) == 0 ? CC_REFRESH : CC_ERROR;
}

static char *give_prompt(EditLine *el)
{
    return editor_of(el)->prompt;
}

/* How many bytes all commands that begin with these n have in common, and how many such commands there are. */
static size_t match_commands(qvl_command_name *command, const char *typed, size_t n, size_t *n_match,
                             const char **first)
{
    size_t n_common = 0;
    const char *name;
    *n_match = 0;
    for (size_t i = 0; (name = command(i)); i++) {
        if (strncmp(name, typed, n) != 0)
            continue;
        if ((*n_match)++ == 0) {
            *first = name;
            n_common = strlen(name);
        }
        size_t n_same = 0;
        while (n_same < n_common && name[n_same] == (*first)[n_same])
            n_same++;
        n_common = n_same;
    }
    return n_common;
}

/* Tab. */
static unsigned char complete(EditLine *el, int ch)
{
    struct qvl_line_editor *e = editor_of(el);
    const LineInfo *line = el_line(el);
    size_t n = (size_t)(line->cursor - line->buffer), n_match = 0, n_common = 0;
    const char *first = NULL;
    char rest[32] = "";
    if (n > 0 && line->buffer[0] == '/' && !memchr(line->buffer, ' ', n))
        n_common = match_commands(e->command, line->buffer, n, &n_match, &first);
    if (n_match == 0)
        return _el_fn_complete(el, ch);
    snprintf(rest, sizeof rest, "%.*s%s", (int)(n_common - n), first + n, n_match == 1 ? " " : "");
    if (rest[0])
        return el_insertstr(el, rest) == 0 ? CC_REFRESH : CC_ERROR;
    fputc('\n', stderr);
    const char *name;
    for (size_t i = 0; (name = e->command(i)); i++)
        if (strncmp(name, first, n) == 0)
            fprintf(stderr, "%s  ", name);
    fputc('\n', stderr);
    return CC_REDISPLAY;
}

/* What people are used to from other programs, where libedit's own defaults differ. ~/.editrc may change it. */
static void bind_keys(EditLine *el)
{
    static const char *const key[][2] = {
        {"^I", "qvl-complete"},        {"^R", "em-inc-search-prev"},      {"^W", "ed-delete-prev-word"},
        {"\033[1;5C", "em-next-word"}, {"\033[1;5D", "ed-prev-word"},     {"\033[3~", "ed-delete-next-char"},
        {"\033[H", "ed-move-to-beg"},  {"\033[F", "ed-move-to-end"},      {"\033[1~", "ed-move-to-beg"},
        {"\033[4~", "ed-move-to-end"}, {"\033OH", "ed-move-to-beg"},      {"\033OF", "ed-move-to-end"},
    };
    el_set(el, EL_EDITOR, "emacs");
    el_wset(el, EL_ADDFN, L"qvl-complete", L"complete a command or path", complete); /* el_set copies and leaks */
    el_wset(el, EL_ADDFN, L"qvl-paste", L"insert what was pasted", insert_paste);
    el_wset(el, EL_BIND, (const wchar_t[]){PASTE_KEY, 0}, L"qvl-paste", NULL);
    for (size_t i = 0; i < sizeof key / sizeof key[0]; i++)
        el_set(el, EL_BIND, key[i][0], key[i][1], NULL);
    el_source(el, NULL);
}

/* libedit counts characters where it shifts the rest of a line, and so is wrong by the wide ones. Without these
 * abilities of the terminal it writes the rest again. */
static void disable_shifting(EditLine *el)
{
    static const char *const capability[] = {"ic", "IC", "im", "ei", "ip", "dc", "DC", "dm", "ed"};
    for (size_t i = 0; i < sizeof capability / sizeof capability[0]; i++)
        el_set(el, EL_SETTC, capability[i], "", NULL);
}

/* libedit measures and prints characters in the locale's encoding: UTF-8, whatever the locale. */
static void choose_encoding(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static enum qvl_status open_terminal(struct qvl_line_editor *e, struct qvl_error *err)
{
    HistEvent ignored;
    choose_encoding();
    e->el = el_init("qvl", stdin, stderr, stderr);
    e->history = history_init();
    if (!e->el || !e->history)
        return qvl_fail_memory(err, sizeof *e, "the line editor");
    history(e->history, &ignored, H_SETSIZE, (int)QVL_MAX_HISTORY_ENTRIES);
    history(e->history, &ignored, H_SETUNIQUE, 1);
    el_set(e->el, EL_CLIENTDATA, e);
    el_set(e->el, EL_SIGNAL, 0);
    el_set(e->el, EL_PROMPT, give_prompt);
    el_set(e->el, EL_GETCFN, read_character);
    el_set(e->el, EL_SETTY, "-d", "-icrnl", "-inlcr", NULL); /* a pasted CR LF must not arrive as two line breaks */
    el_set(e->el, EL_HIST, history, e->history);
    disable_shifting(e->el);
    bind_keys(e->el);
    return QVL_OK;
}

/* ---- interface ----------------------------------------------------------------------------------- */

enum qvl_status qvl_line_editor_open(int signal_fd, qvl_command_name *command, struct qvl_line_editor **out,
                                     struct qvl_error *err)
{
    struct qvl_line_editor *e = calloc(1, sizeof *e);
    if (!e)
        return qvl_fail_memory(err, sizeof *e, "the line editor");
    e->history_fd = -1;
    e->signal_fd = signal_fd;
    e->command = command;
    e->has_codes = qvl_terminal_is(STDERR_FILENO);
    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO) && open_terminal(e, err)) {
        qvl_line_editor_close(e);
        return err->status;
    }
    *out = e;
    return QVL_OK;
}

void qvl_line_editor_close(struct qvl_line_editor *editor)
{
    if (!editor)
        return;
    if (editor->el)
        el_end(editor->el);
    if (editor->history)
        history_end(editor->history);
    if (editor->history_fd >= 0)
        close(editor->history_fd);
    qvl_bytes_free(&editor->paste);
    free(editor->prompt);
    free(editor->line);
    free(editor);
}

bool qvl_line_editor_is_terminal(const struct qvl_line_editor *editor)
{
    return editor->el != NULL;
}

/* The sign becomes the line break it stands for; the end of the line goes. */
static enum qvl_status add_entry(const char *line, size_t n, struct qvl_bytes *out, struct qvl_error *err)
{
    enum { N_SIGN = sizeof LINE_BREAK_SIGN - 1 };
    enum qvl_status status = QVL_OK;
    if (n > 0 && line[n - 1] == '\n')
        n--;
    for (size_t i = 0; i < n && !status;) {
        const char *sign = memmem(line + i, n - i, LINE_BREAK_SIGN, N_SIGN);
        size_t n_plain = sign ? (size_t)(sign - line) - i : n - i;
        status = qvl_bytes_add(out, line + i, n_plain, err);
        if (!status && sign)
            status = qvl_bytes_add(out, "\n", 1, err);
        i += n_plain + (sign ? N_SIGN : 0);
    }
    return status ? status : qvl_bytes_add(out, "", 0, err);
}

static enum qvl_status read_terminal(struct qvl_line_editor *e, const char *prompt, struct qvl_bytes *out,
                                     struct qvl_error *err)
{
    int n = 0;
    free(e->prompt);
    if (!(e->prompt = strdup(prompt)))
        return qvl_fail_memory(err, strlen(prompt), "the prompt");
    e->kind = QVL_LINE_END;
    if (e->signal_fd >= 0 && !take_signals(e, true))
        return QVL_OK;
    fflush(stdout);
    el_set(e->el, EL_PREP_TERM, 1); /* before the prompt: who sees it may type */
    if (e->has_codes)
        fputs("\033[?2004h", stderr);
    const char *line = el_gets(e->el, &n);
    if (e->has_codes)
        fputs("\033[?2004l", stderr);
    if (line && n > 0) {
        e->kind = QVL_LINE_TEXT;
        return add_entry(line, (size_t)n, out, err);
    }
    fputs(e->kind == QVL_LINE_END ? "\n" : "^C\n", stderr);
    return QVL_OK;
}

static enum qvl_status read_plain(struct qvl_line_editor *e, struct qvl_bytes *out, struct qvl_error *err)
{
    ssize_t n = getline(&e->line, &e->n_line_alloc, stdin);
    e->kind = n < 0 ? QVL_LINE_END : QVL_LINE_TEXT;
    if (n < 0)
        return ferror(stdin) ? qvl_fail(err, QVL_ERR_FILE, "stdin: cannot read: %s", qvl_errno_text(errno)) : QVL_OK;
    return qvl_bytes_add(out, e->line, (size_t)n - (e->line[n - 1] == '\n'), err);
}

enum qvl_status qvl_line_editor_read(struct qvl_line_editor *editor, const char *prompt, enum qvl_line_kind *kind,
                                     struct qvl_bytes *out, struct qvl_error *err)
{
    out->n = 0;
    enum qvl_status status = editor->el ? read_terminal(editor, prompt, out, err) : read_plain(editor, out, err);
    *kind = editor->kind;
    return status;
}

/* ---- history ------------------------------------------------------------------------------------- */

enum qvl_status qvl_line_editor_history_path(struct qvl_bytes *out, struct qvl_error *err)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state && state[0] == '/')
        return qvl_bytes_add_format(out, err, "%s/qvl/history", state);
    if (home && home[0] == '/')
        return qvl_bytes_add_format(out, err, "%s/.local/state/qvl/history", home);
    return QVL_OK;
}

/* The folders that `path` names before its last slash. */
static enum qvl_status make_folders(const char *path, struct qvl_error *err)
{
    struct qvl_bytes copy = {0};
    enum qvl_status status = qvl_bytes_add_text(&copy, path, err);
    for (char *slash = status ? NULL : strchr(copy.data + 1, '/'); slash && !status;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(copy.data, 0700) != 0 && errno != EEXIST)
            status = qvl_fail(err, QVL_ERR_FILE, "%s: cannot make the folder: %s", copy.data, qvl_errno_text(errno));
        *slash = '/';
    }
    qvl_bytes_free(&copy);
    return status;
}

/* The lines of the file, oldest first. Where there are more than are kept, *out_rest are those that are. */
static void take_history(struct qvl_line_editor *e, char *text, const char **out_rest)
{
    HistEvent ignored;
    size_t n_line = 0;
    for (const char *c = text; (c = strchr(c, '\n')); c++)
        n_line++;
    for (; n_line > QVL_MAX_HISTORY_ENTRIES; n_line--)
        text = strchr(text, '\n') + 1;
    *out_rest = text;
    for (char *end; (end = strchr(text, '\n')); text = end + 1) {
        *end = 0;
        if (text[0] && qvl_utf8_is_valid(text, (size_t)(end - text))) /* anyone may have written it */
            history(e->history, &ignored, H_ENTER, text);
        *end = '\n';
    }
}

enum qvl_status qvl_line_editor_use_history(struct qvl_line_editor *editor, const char *path, struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    const char *rest = NULL;
    if (!editor->el)
        return QVL_OK;
    enum qvl_status status = make_folders(path, err);
    if (!status && qvl_os_is_there(path))
        status = qvl_os_read_file(path, QVL_MAX_HISTORY_BYTES, &text, err);
    if (status)
        goto fail;
    if (text.n)
        take_history(editor, text.data, &rest);
    editor->history_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (editor->history_fd < 0)
        status = qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", path, qvl_errno_text(errno));
    else if (rest && rest != text.data) {
        size_t n = text.n - (size_t)(rest - text.data);
        if (ftruncate(editor->history_fd, 0) != 0 || write(editor->history_fd, rest, n) != (ssize_t)n)
            status = qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", path, qvl_errno_text(errno));
    }
fail:
    qvl_bytes_free(&text);
    return status;
}

/* The entry as one line, its line breaks as signs. */
static enum qvl_status make_one_line(const char *entry, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t n; *entry && !status; entry += n) {
        n = strcspn(entry, "\n");
        status = n ? qvl_bytes_add(out, entry, n, err) : qvl_bytes_add_text(out, LINE_BREAK_SIGN, err);
        n = n ? n : 1;
    }
    return status;
}

void qvl_line_editor_remember(struct qvl_line_editor *editor, const char *entry)
{
    HistEvent ignored;
    struct qvl_bytes line = {0};
    struct qvl_error err; /* an entry that cannot be kept is not worth a word */
    if (!editor->el || !entry[0] || make_one_line(entry, &line, &err) || line.n > QVL_MAX_HISTORY_ENTRY_BYTES)
        goto fail;
    history(editor->history, &ignored, H_ENTER, line.data);
    if (editor->history_fd >= 0 && !qvl_bytes_add(&line, "\n", 1, &err) &&
        write(editor->history_fd, line.data, line.n) < 0) {
        close(editor->history_fd);
        editor->history_fd = -1;
    }
fail:
    qvl_bytes_free(&line);
}
