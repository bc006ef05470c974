/* The chat: one engine, one session, one conversation. A question is what the user enters, with the pictures and
 * clips that wait for it; it becomes part of the conversation only when something was answered. */
#include "cli/chat.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/language.h"
#include "base/os.h"
#include "cli/signals.h"
#include "cli/verbs.h"
#include "cli/words.h"

/* ---- questions ----------------------------------------------------------------------------------- */

/* What went wrong, and for a script the exit code of the first such thing. */
static void say_failure(struct qvl_chat_room *room, enum qvl_exit code)
{
    qvl_progress_clear(&room->asker.progress);
    if (room->err.status)
        qvl_say_error(&room->err);
    if (room->code == QVL_EXIT_OK && !qvl_line_editor_is_terminal(room->editor))
        room->code = code;
    room->is_over |= ferror(stdout) != 0;
}

static void keep_stats(struct qvl_chat_room *room, struct qvl_reply *reply)
{
    qvl_bytes_free(&room->last.line);
    room->last = (struct qvl_turn_stats){reply->n_prompt_tok,  reply->n_cached_tok,   reply->n_output_tok,
                                         reply->n_drafted_tok, reply->n_accepted_tok, reply->line};
    reply->line = (struct qvl_bytes){0};
}

static enum qvl_status keep_answer(struct qvl_chat_room *room, const struct qvl_reply *reply)
{
    return qvl_conversation_add_answer(&room->conversation, reply->text.n ? reply->text.data : "", reply->text.n,
                                       reply->reasoning.n ? reply->reasoning.data : "", &room->err);
}

/* Ctrl-C: what was said so far stays; a question without any answer does not. */
static enum qvl_status take_stop(struct qvl_chat_room *room, const struct qvl_reply *reply)
{
    struct qvl_progress *progress = &room->asker.progress;
    if (qvl_signals_exit_code()) {
        room->is_over = true;
        return QVL_OK;
    }
    if (reply->text.n || reply->reasoning.n) {
        qvl_progress_say_dim(progress, "stopped; what was said so far stays in the conversation");
        return keep_answer(room, reply);
    }
    qvl_conversation_withdraw(&room->conversation);
    qvl_progress_say_dim(progress, "stopped before the answer began; /retry asks again");
    return QVL_OK;
}

static void take_failure(struct qvl_chat_room *room, enum qvl_exit code)
{
    struct qvl_progress *progress = &room->asker.progress;
    bool is_full = room->err.status == QVL_ERR_LIMIT;
    qvl_conversation_withdraw(&room->conversation);
    say_failure(room, code);
    if (is_full && qvl_conversation_n_turn(&room->conversation) > 0)
        qvl_progress_say_dim(progress,
                             "/undo takes the last turn back and /clear all of them; then /retry asks again");
    else if (is_full)
        qvl_progress_say_dim(progress, "a shorter question fits, or smaller pictures and clips: /set max-pixels N");
}

void qvl_chat_ask(struct qvl_chat_room *room)
{
    struct qvl_chat chat;
    struct qvl_reply reply = {0};
    if (qvl_conversation_chat(&room->conversation, &chat, &room->err)) {
        take_failure(room, qvl_exit_of(room->err.status, QVL_EXIT_FAILURE));
        return;
    }
    chat.want_video_wrapper = room->options.want_video_wrapper;
    qvl_asker_take_options(&room->asker);
    room->asker.start_ms = qvl_now_ms();
    enum qvl_exit code = qvl_ask(&room->asker, &chat, &reply, &room->err);
    keep_stats(room, &reply);
    enum qvl_status status = QVL_OK;
    if (code == QVL_EXIT_OK)
        status = keep_answer(room, &reply);
    else if (code == QVL_EXIT_CANCELLED)
        status = take_stop(room, &reply);
    else
        take_failure(room, code);
    if (status)
        say_failure(room, qvl_exit_of(status, QVL_EXIT_FAILURE));
    qvl_reply_free(&reply);
}

/* ---- pictures and clips -------------------------------------------------------------------------- */

static void say_what_it_is(struct qvl_chat_room *room, const struct qvl_media_info *m)
{
    struct qvl_progress *progress = &room->asker.progress;
    if (m->kind == QVL_MEDIA_IMAGE)
        qvl_progress_say_dim(progress, "%s: %u x %u pixels, %u tokens", m->name, m->original_w, m->original_h,
                             m->n_tok);
    else if (m->duration_s > 0)
        qvl_progress_say_dim(progress, "%s: %u x %u pixels, %.1f s; the model sees %zu frames, %u tokens", m->name,
                             m->original_w, m->original_h, m->duration_s, m->n_frame, m->n_tok);
    else
        qvl_progress_say_dim(progress, "%s: %u x %u pixels; the model sees %zu frames, %u tokens", m->name,
                             m->original_w, m->original_h, m->n_frame, m->n_tok);
}

/* Decodes a picture, reads through a clip: what is wrong with it is found now and not with the question. */
static enum qvl_status look_into(struct qvl_chat_room *room, const struct qvl_part *part)
{
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = part, .n_part = 1};
    struct qvl_chat chat = {
        .messages = &message, .n_message = 1, .want_video_wrapper = room->options.want_video_wrapper};
    struct qvl_request_options wish = {.sampling = room->asker.info.sampling};
    struct qvl_request *request = NULL;
    struct qvl_request_info info;
    enum qvl_status status = qvl_request_open(room->asker.engine, &chat, &wish, &request, &room->err);
    if (status)
        return status;
    qvl_signals_set_request(request);
    qvl_progress_begin(&room->asker.progress, 0);
    status = qvl_asker_prepare(&room->asker, request, &room->err);
    qvl_progress_clear(&room->asker.progress);
    qvl_signals_set_request(NULL);
    qvl_request_get_info(request, &info);
    if (!status && info.n_media == 1)
        say_what_it_is(room, &info.media[0]);
    qvl_request_close(request);
    return status;
}

enum qvl_status qvl_chat_add_media(struct qvl_chat_room *room, const struct qvl_options *options,
                                   enum qvl_part_kind kind, const char *path)
{
    struct qvl_input *waiting = &room->waiting;
    enum qvl_status status = qvl_input_add_media(options, kind, path, waiting, &room->err);
    if (!status && (status = look_into(room, &waiting->part[waiting->n_part - 1])))
        qvl_input_drop_last(waiting);
    return status;
}

/* ---- what was entered ---------------------------------------------------------------------------- */

/* The pictures and clips that a line begins with, as terminals write files that are dropped on them; *text moves
 * behind them. A name without a slash counts only where there is such a picture or clip: it may begin a question. With
 * a slash it is meant: a folder is a clip, and any other file a mistake. */
static enum qvl_status take_dropped(struct qvl_chat_room *room, const char **text)
{
    struct qvl_bytes word = {0};
    struct qvl_error ignored; /* a quote that is not closed: it is not a file but a question */
    enum qvl_status status = QVL_OK;
    while (!status) {
        const char *rest = *text;
        enum qvl_part_kind kind;
        bool is_there = false;
        if (qvl_words_next(&rest, &word, &is_there, &ignored) || !is_there)
            break;
        bool is_path = strchr(word.data, '/') != NULL, is_file = access(word.data, F_OK) == 0;
        bool is_media = qvl_input_find_kind(word.data, &kind);
        if (is_path && qvl_os_is_folder(word.data)) {
            is_media = true;
            kind = QVL_PART_VIDEO;
        }
        if (!is_file && is_path && is_media)
            status = qvl_fail(&room->err, QVL_ERR_MEDIA, "%s: no such file", word.data);
        if (is_file && is_path && !is_media)
            status = qvl_fail(&room->err, QVL_ERR_MEDIA,
                              "%s: not a picture or clip (between \"\"\" and \"\"\" it is text)", word.data);
        if (!is_file || !is_media || status)
            break;
        if (!(status = qvl_chat_add_media(room, &room->options, kind, word.data)))
            *text = rest;
    }
    qvl_bytes_free(&word);
    return status;
}

static enum qvl_status take_question(struct qvl_chat_room *room, const char *text, bool is_block)
{
    enum qvl_status status = is_block ? QVL_OK : take_dropped(room, &text);
    if (status)
        return status;
    if (text[strspn(text, " \t\n")] == 0)
        return QVL_OK;
    if (!is_block)
        text = qvl_words_skip_blanks(text);
    if ((status = qvl_conversation_add_question(&room->conversation, &room->waiting, text, &room->err)))
        return status;
    qvl_chat_ask(room);
    return QVL_OK;
}

/* ---- lines --------------------------------------------------------------------------------------- */

/* "[1 picture, 2 clips] >>> " */
static enum qvl_status make_prompt(const struct qvl_chat_room *room, struct qvl_bytes *out, struct qvl_error *err)
{
    size_t n_clip = room->waiting.n_clip, n_picture = room->waiting.n_media - n_clip;
    enum qvl_status status = QVL_OK;
    out->n = 0;
    if (n_picture || n_clip)
        status = qvl_bytes_add_text(out, "[", err);
    if (!status && n_picture)
        status = qvl_bytes_add_format(out, err, n_picture == 1 ? qvl_text("%zu picture") : qvl_text("%zu pictures"),
                                      n_picture);
    if (!status && n_picture && n_clip)
        status = qvl_bytes_add_text(out, ", ", err);
    if (!status && n_clip)
        status = qvl_bytes_add_format(out, err, n_clip == 1 ? qvl_text("%zu clip") : qvl_text("%zu clips"), n_clip);
    if (!status && (n_picture || n_clip))
        status = qvl_bytes_add_text(out, "] ", err);
    return status ? status : qvl_bytes_add_text(out, ">>> ", err);
}

struct entry {
    struct qvl_bytes text;
    bool is_block; /* begins with """: goes on up to the next """ at the end of a line */
    enum qvl_line_kind kind;
};

static size_t trimmed_length(const struct qvl_bytes *b)
{
    size_t n = b->n;
    while (n > 0 && (b->data[n - 1] == ' ' || b->data[n - 1] == '\t'))
        n--;
    return n;
}

static bool is_block_closed(const struct qvl_bytes *b)
{
    size_t n = trimmed_length(b);
    return n >= 6 && memcmp(b->data + n - 3, "\"\"\"", 3) == 0;
}

/* An odd number of backslashes at the end: the last one says that the entry goes on. */
static bool ends_in_backslash(const struct qvl_bytes *b)
{
    size_t n = 0;
    while (n < b->n && b->data[b->n - 1 - n] == '\\')
        n++;
    return n % 2 == 1;
}

static bool goes_on(const struct entry *entry)
{
    return entry->is_block ? !is_block_closed(&entry->text) : ends_in_backslash(&entry->text);
}

/* Takes the quotes off, and the line breaks next to them. */
static void unwrap_block(struct qvl_bytes *b)
{
    size_t begin = 3, end = is_block_closed(b) ? trimmed_length(b) - 3 : b->n;
    begin += begin < end && b->data[begin] == '\n';
    end -= begin < end && b->data[end - 1] == '\n';
    b->n = end - begin;
    memmove(b->data, b->data + begin, b->n);
    b->data[b->n] = 0;
}

/* One more line of an entry that goes on. Where there is none, the entry is what there is; the next one finds the
 * end again. */
static enum qvl_status read_more(struct qvl_chat_room *room, struct entry *entry, bool *is_open,
                                 struct qvl_error *err)
{
    struct qvl_bytes line = {0};
    enum qvl_status status = qvl_line_editor_read(room->editor, "... ", &entry->kind, &line, err);
    entry->text.n -= !entry->is_block; /* the backslash */
    entry->text.data[entry->text.n] = 0;
    *is_open = entry->kind == QVL_LINE_TEXT;
    if (entry->kind == QVL_LINE_END)
        entry->kind = QVL_LINE_TEXT;
    if (entry->kind == QVL_LINE_INTERRUPTED) /* there were the lines before */
        entry->kind = QVL_LINE_CLEARED;
    if (!status && *is_open && !(status = qvl_bytes_add(&entry->text, "\n", 1, err)))
        status = qvl_bytes_add(&entry->text, line.data, line.n, err);
    qvl_bytes_free(&line);
    return status;
}

/* Everything up to the line that ends the entry. */
static enum qvl_status read_entry(struct qvl_chat_room *room, struct entry *entry, struct qvl_error *err)
{
    struct qvl_bytes prompt = {0};
    enum qvl_status status = make_prompt(room, &prompt, err);
    bool is_open = true;
    entry->text.n = 0;
    if (!status)
        status = qvl_line_editor_read(room->editor, prompt.data, &entry->kind, &entry->text, err);
    qvl_bytes_free(&prompt);
    if (status || entry->kind != QVL_LINE_TEXT)
        return status;
    entry->is_block = entry->text.n >= 3 && memcmp(entry->text.data, "\"\"\"", 3) == 0;
    while (!status && is_open && goes_on(entry))
        status = read_more(room, entry, &is_open, err);
    if (status || entry->kind != QVL_LINE_TEXT)
        return status;
    qvl_line_editor_remember(room->editor, entry->text.data);
    if (entry->is_block)
        unwrap_block(&entry->text);
    return QVL_OK;
}

static void take_entry(struct qvl_chat_room *room, const struct entry *entry)
{
    const char *text = entry->text.data;
    bool is_command = false;
    enum qvl_status status = QVL_OK;
    if (strlen(text) != entry->text.n)
        status = qvl_fail(&room->err, QVL_ERR_ARGUMENT, "the line has a NUL byte in it");
    if (!status && !entry->is_block)
        status = qvl_chat_command(room, text, &is_command);
    if (!status && !is_command)
        status = take_question(room, text, entry->is_block);
    if (status)
        say_failure(room, qvl_exit_of(status, QVL_EXIT_FAILURE));
}

/* Until /bye, Ctrl-D, or Ctrl-C twice in a row. */
static enum qvl_status talk(struct qvl_chat_room *room)
{
    struct entry entry = {0};
    bool was_interrupted = false;
    enum qvl_status status = QVL_OK;
    while (!room->is_over && !(status = read_entry(room, &entry, &room->err))) {
        bool is_interrupted = entry.kind == QVL_LINE_CLEARED || entry.kind == QVL_LINE_INTERRUPTED;
        if (entry.kind == QVL_LINE_END || (entry.kind == QVL_LINE_INTERRUPTED && was_interrupted))
            break;
        if (entry.kind == QVL_LINE_INTERRUPTED)
            qvl_progress_say_dim(&room->asker.progress, "Ctrl-C once more, Ctrl-D or /bye ends the chat");
        if (!is_interrupted)
            take_entry(room, &entry);
        was_interrupted = is_interrupted;
    }
    qvl_bytes_free(&entry.text);
    return status;
}

/* ---- from the command line to the first prompt --------------------------------------------------- */

static void greet(struct qvl_chat_room *room)
{
    struct qvl_progress *progress = &room->asker.progress;
    const char *path = room->options.is_demo_model ? qvl_text("the demo model") : room->options.model, *name = path;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    for (size_t i = 0; i + 1 < n; i++)
        if (path[i] == '/')
            name = path + i + 1;
    qvl_progress_say(progress, "qvl %s with %.*s, a context of %u tokens", QVL_VERSION, (int)(path + n - name),
                     name, room->asker.info.n_ctx);
    qvl_progress_say(progress, "Ask, or drop a picture or clip here first. /help says more, Ctrl-D leaves.");
}

static void use_history(struct qvl_chat_room *room)
{
    struct qvl_bytes path = {0};
    struct qvl_error err;
    enum qvl_status status = qvl_line_editor_history_path(&path, &err);
    if (!status && path.n)
        status = qvl_line_editor_use_history(room->editor, path.data, &err);
    if (status)
        qvl_say_error(&err);
    qvl_bytes_free(&path);
}

/* What the command line begins with: --system or --messages, pictures and clips, perhaps a question. */
static enum qvl_status take_command_line(struct qvl_chat_room *room)
{
    const struct qvl_options *o = &room->options;
    enum qvl_status status = QVL_OK;
    if (o->system)
        status = qvl_conversation_set_system(&room->conversation, o->system, &room->err);
    if (!status && o->messages) {
        struct qvl_chat_json_settings settings = qvl_input_chat_settings(o);
        status = qvl_conversation_load(&room->conversation, o->messages, &settings, &room->err);
    }
    if (!status)
        status = qvl_input_open(o, &room->waiting, &room->err);
    return status;
}

static enum qvl_status open_terminal(struct qvl_chat_room *room)
{
    int fd = -1;
    enum qvl_status status = QVL_OK;
    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO))
        status = qvl_signals_open_chat(&fd, &room->err);
    if (!status)
        status = qvl_line_editor_open(fd, qvl_chat_command_name, &room->editor, &room->err);
    if (!status)
        use_history(room);
    return status;
}

static enum qvl_exit open_room(struct qvl_chat_room *room)
{
    enum qvl_exit code = qvl_asker_open(&room->options, true, &room->asker, &room->err);
    enum qvl_status status;
    if (code != QVL_EXIT_OK)
        return code;
    if ((status = take_command_line(room)))
        return qvl_exit_of(status, QVL_EXIT_MEDIA);
    greet(room);
    if ((status = qvl_asker_load(&room->asker, &room->err)))
        return qvl_exit_of(status, QVL_EXIT_MODEL);
    return qvl_exit_of(open_terminal(room), QVL_EXIT_FAILURE);
}

static enum qvl_exit run(struct qvl_chat_room *room)
{
    enum qvl_exit code = open_room(room);
    enum qvl_status status = QVL_OK;
    if (code != QVL_EXIT_OK)
        return code;
    if (room->waiting.n_part > room->waiting.n_media) { /* a question on the command line */
        if (!(status = qvl_conversation_add_question(&room->conversation, &room->waiting, NULL, &room->err)))
            qvl_chat_ask(room);
    }
    if (!status)
        status = talk(room);
    return qvl_exit_of(status, QVL_EXIT_FAILURE);
}

enum qvl_exit qvl_chat_in_terminal(const struct qvl_options *options)
{
    struct qvl_chat_room room = {.options = *options};
    enum qvl_exit code = run(&room);
    if (code != QVL_EXIT_OK && room.err.status)
        qvl_say_error(&room.err);
    if (code == QVL_EXIT_OK)
        code = room.code;
    if (qvl_signals_exit_code())
        code = (enum qvl_exit)qvl_signals_exit_code();
    qvl_line_editor_close(room.editor);
    qvl_signals_close_chat();
    qvl_conversation_free(&room.conversation);
    qvl_input_close(&room.waiting);
    qvl_bytes_free(&room.last.line);
    qvl_asker_close(&room.asker);
    return code;
}
