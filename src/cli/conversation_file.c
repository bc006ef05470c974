/* The file of a conversation. An open file knows its own path (/proc/self/fd), wherever it was moved since; what
 * came as a data: URI leaves as one. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <nettle/base64.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/os.h"
#include "base/utf8.h"
#include "cli/conversation.h"

/* What every file begins with; by this it is known again. */
static const char beginning[] = "{\"messages\": [";

/* ---- pictures and clips -------------------------------------------------------------------------- */

static enum qvl_status add_path(struct qvl_bytes *out, const char *path, struct qvl_error *err)
{
    if (!qvl_utf8_is_valid(path, strlen(path)))
        return qvl_fail(err, QVL_ERR_FILE, "%s: a path that is not UTF-8 cannot stand in JSON", path);
    return qvl_bytes_add_json_string(out, path, strlen(path), err);
}

static enum qvl_status add_open_file(struct qvl_bytes *out, int fd, const char *name, struct qvl_error *err)
{
    char link[40], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    if (n <= 0 || !qvl_os_is_there(path))
        return qvl_fail(err, QVL_ERR_FILE, "%s: the file is gone, so that a saved conversation could not name it",
                        name ? name : "?");
    return add_path(out, path, err);
}

static enum qvl_status add_data(struct qvl_bytes *out, const uint8_t *bytes, size_t n, struct qvl_error *err)
{
    enum { N_PIECE = 3 * 1024 }; /* a multiple of 3: no padding inside */
    char text[BASE64_ENCODE_RAW_LENGTH(N_PIECE) + 1];
    enum qvl_status status = qvl_bytes_add_text(out, "\"data:application/octet-stream;base64,", err);
    for (size_t i = 0; i < n && !status; i += N_PIECE) {
        size_t n_here = n - i < N_PIECE ? n - i : N_PIECE;
        base64_encode_raw(text, n_here, bytes + i);
        status = qvl_bytes_add(out, text, BASE64_ENCODE_RAW_LENGTH(n_here), err);
    }
    return status ? status : qvl_bytes_add_text(out, "\"", err);
}

static enum qvl_status add_picture_file(struct qvl_bytes *out, const struct qvl_picture_file *p,
                                        struct qvl_error *err)
{
    char path[PATH_MAX];
    if (!p->path)
        return add_data(out, p->bytes, p->n_bytes, err);
    if (!realpath(p->path, path))
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot open: %s", p->path, qvl_errno_text(errno));
    return add_path(out, path, err);
}

static enum qvl_status add_picture_list(struct qvl_bytes *out, const struct qvl_media_source *source,
                                        struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(out, "[", err);
    for (size_t i = 0; i < source->n_frame && !status; i++) {
        status = qvl_bytes_add_text(out, i ? ", " : "", err);
        if (!status)
            status = add_picture_file(out, &source->pictures[i], err);
    }
    if (!status)
        status = qvl_bytes_add_text(out, "], \"times\": [", err);
    for (size_t i = 0; i < source->n_frame && !status; i++)
        status = qvl_bytes_add_format(out, err, "%s%.17g", i ? ", " : "", source->pictures[i].time_s);
    return status ? status : qvl_bytes_add_text(out, "]", err);
}

static enum qvl_status add_source(struct qvl_bytes *out, const struct qvl_media_source *source,
                                  struct qvl_error *err)
{
    switch (source->from) {
    case QVL_FROM_FD: return add_open_file(out, source->fd, source->name, err);
    case QVL_FROM_BYTES: return add_data(out, source->bytes, source->n_bytes, err);
    case QVL_FROM_PICTURES: return add_picture_list(out, source, err);
    case QVL_FROM_FRAMES: break; /* only programs have them */
    }
    return qvl_fail(err, QVL_ERR_INTERNAL, "frames have no form in JSON");
}

static enum qvl_status add_setting(struct qvl_bytes *out, const char *key, double value, struct qvl_error *err)
{
    return value > 0 ? qvl_bytes_add_format(out, err, ", \"%s\": %.17g", key, value) : QVL_OK;
}

static enum qvl_status add_settings(struct qvl_bytes *out, const struct qvl_part *part, struct qvl_error *err)
{
    const struct qvl_media_options *m = &part->media;
    bool is_file = part->source.from != QVL_FROM_PICTURES; /* of a list nothing is sampled */
    enum qvl_status status;
    if ((status = add_setting(out, "min_pixels", (double)m->min_pixels, err)) ||
        (status = add_setting(out, "max_pixels", (double)m->max_pixels, err)) || part->kind == QVL_PART_IMAGE ||
        (status = add_setting(out, "total_pixels", (double)m->total_pixels, err)) || !is_file ||
        (status = add_setting(out, "fps", m->fps, err)) ||
        (status = add_setting(out, "num_frames", m->num_frames, err)) ||
        (status = add_setting(out, "min_frames", m->min_frames, err)) ||
        (status = add_setting(out, "max_frames", m->max_frames, err)) ||
        (status = add_setting(out, "start", m->start_s, err)) || (status = add_setting(out, "end", m->end_s, err)))
        return status;
    return QVL_OK;
}

/* ---- messages ------------------------------------------------------------------------------------ */

static enum qvl_status add_part(struct qvl_bytes *out, const struct qvl_part *part, struct qvl_error *err)
{
    enum qvl_status status;
    if (part->kind == QVL_PART_TEXT) {
        if ((status = qvl_bytes_add_text(out, "{\"type\": \"text\", \"text\": ", err)) ||
            (status = qvl_bytes_add_json_string(out, part->utf8, part->n, err)))
            return status;
        return qvl_bytes_add_text(out, "}", err);
    }
    const char *kind = part->kind == QVL_PART_VIDEO ? "video" : "image";
    if ((status = qvl_bytes_add_format(out, err, "{\"type\": \"%s\", \"%s\": ", kind, kind)) ||
        (status = add_source(out, &part->source, err)) || (status = add_settings(out, part, err)))
        return status;
    return qvl_bytes_add_text(out, "}", err);
}

static enum qvl_status add_content(struct qvl_bytes *out, const struct qvl_message *m, struct qvl_error *err)
{
    if (m->n_part == 0)
        return qvl_bytes_add_text(out, "\"\"", err);
    if (m->n_part == 1 && m->parts[0].kind == QVL_PART_TEXT)
        return qvl_bytes_add_json_string(out, m->parts[0].utf8, m->parts[0].n, err);
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < m->n_part && !status; i++) {
        status = qvl_bytes_add_text(out, i ? ",\n   " : "[", err);
        if (!status)
            status = add_part(out, &m->parts[i], err);
    }
    return status ? status : qvl_bytes_add_text(out, "]", err);
}

static enum qvl_status add_tool_calls(struct qvl_bytes *out, const struct qvl_message *m, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < m->n_tool_call && !status; i++) {
        const struct qvl_tool_call *call = &m->tool_calls[i];
        if ((status = qvl_bytes_add_format(out, err, "%s{\"type\": \"function\", \"function\": {\"name\": ",
                                           i ? ",\n   " : ",\n  \"tool_calls\": [")) ||
            (status = qvl_bytes_add_json_string(out, call->name, strlen(call->name), err)))
            return status;
        status = qvl_bytes_add_format(out, err, ", \"arguments\": %s}}", call->arguments_json);
    }
    return status || m->n_tool_call == 0 ? status : qvl_bytes_add_text(out, "]", err);
}

static enum qvl_status add_message(struct qvl_bytes *out, const struct qvl_message *m, struct qvl_error *err)
{
    static const char *const role[] = {[QVL_ROLE_SYSTEM] = "system", [QVL_ROLE_USER] = "user",
                                       [QVL_ROLE_ASSISTANT] = "assistant", [QVL_ROLE_TOOL] = "tool"};
    enum qvl_status status = qvl_bytes_add_format(out, err, " {\"role\": \"%s\", \"content\": ", role[m->role]);
    if (!status)
        status = add_content(out, m, err);
    if (!status && m->reasoning)
        status = qvl_bytes_add_text(out, ",\n  \"reasoning_content\": ", err);
    if (!status && m->reasoning)
        status = qvl_bytes_add_json_string(out, m->reasoning, strlen(m->reasoning), err);
    if (!status)
        status = add_tool_calls(out, m, err);
    return status ? status : qvl_bytes_add_text(out, "}", err);
}

enum qvl_status qvl_conversation_json(const struct qvl_conversation *c, struct qvl_bytes *out,
                                      struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(out, beginning, err);
    for (size_t i = 0; i < c->n_entry && !status; i++) {
        status = qvl_bytes_add_text(out, i ? ",\n" : "\n", err);
        if (!status)
            status = add_message(out, &c->entry[i].message, err);
    }
    if (!status)
        status = qvl_bytes_add_text(out, "\n]", err);
    if (!status && c->loaded.chat.tools_json)
        status = qvl_bytes_add_format(out, err, ",\n\"tools\": %s", c->loaded.chat.tools_json);
    return status ? status : qvl_bytes_add_text(out, "}\n", err);
}

/* ---- the file ------------------------------------------------------------------------------------ */

/* What is there may be written over when it is a conversation: a mistyped name must not cost a photo. */
static enum qvl_status check_place(const char *path, struct qvl_error *err)
{
    char head[sizeof beginning] = "";
    int fd = -1;
    uint64_t n_bytes = 0;
    if (!qvl_os_is_there(path))
        return QVL_OK;
    enum qvl_status status = qvl_os_open_file(path, &fd, &n_bytes, err);
    if (status)
        return status;
    ssize_t n = read(fd, head, sizeof head - 1);
    close(fd);
    if (n == 0 || strcmp(head, beginning) == 0)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_FILE, "%s is there already and is no saved conversation: choose another name",
                    path);
}

static bool write_all(int fd, const char *data, size_t n)
{
    for (ssize_t n_written; n > 0; data += n_written, n -= (size_t)n_written)
        if ((n_written = write(fd, data, n)) < 0)
            return false;
    return true;
}

/* Written beside its place and then moved there. What is there keeps its permissions, and a link stays one. */
static enum qvl_status write_file(const char *path, const struct qvl_bytes *json, struct qvl_error *err)
{
    struct qvl_bytes beside = {0};
    struct stat before;
    char target[PATH_MAX];
    const char *place = realpath(path, target) ? target : path;
    bool is_there = stat(place, &before) == 0;
    enum qvl_status status = qvl_bytes_add_format(&beside, err, "%s.%ld.part", place, (long)getpid());
    if (status)
        return status;
    int fd = open(beside.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, is_there ? before.st_mode & 0600 : 0666);
    bool is_good = fd >= 0 && (!is_there || fchmod(fd, before.st_mode & 0777) == 0) &&
                   write_all(fd, json->data, json->n) && fsync(fd) == 0;
    int code = errno;
    if (fd >= 0 && close(fd) != 0 && is_good) {
        is_good = false;
        code = errno;
    }
    if (is_good && rename(beside.data, place) != 0) {
        is_good = false;
        code = errno;
    }
    if (!is_good)
        status = qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", path, qvl_errno_text(code));
    if (!is_good && fd >= 0)
        unlink(beside.data);
    qvl_bytes_free(&beside);
    return status;
}

enum qvl_status qvl_conversation_save(const struct qvl_conversation *c, const char *path, struct qvl_error *err)
{
    struct qvl_bytes json = {0};
    enum qvl_status status = check_place(path, err);
    if (!status)
        status = qvl_conversation_json(c, &json, err);
    if (!status)
        status = write_file(path, &json, err);
    qvl_bytes_free(&json);
    return status;
}

static enum qvl_status take_messages(struct qvl_conversation *c, struct qvl_error *err)
{
    const struct qvl_chat *chat = &c->loaded.chat;
    if (chat->n_message == 0)
        return QVL_OK;
    if (!(c->entry = calloc(chat->n_message, sizeof *c->entry)))
        return qvl_fail_memory(err, chat->n_message * sizeof *c->entry, "the conversation");
    c->n_alloc = c->n_entry = chat->n_message;
    for (size_t i = 0; i < chat->n_message; i++)
        c->entry[i].message = chat->messages[i];
    return QVL_OK;
}

enum qvl_status qvl_conversation_load(struct qvl_conversation *c, const char *path,
                                      const struct qvl_chat_json_settings *settings, struct qvl_error *err)
{
    struct qvl_conversation fresh = {0};
    enum qvl_status status = qvl_input_read_chat(path, settings, &fresh.loaded, err);
    if (!status)
        status = take_messages(&fresh, err);
    if (status)
        qvl_conversation_free(&fresh);
    else {
        qvl_conversation_free(c);
        *c = fresh;
    }
    return status;
}
