/* Bytes as a conversation in JSON, with files refused, with an empty folder to look in, and as a server reads it:
 * with an opener, which gives a file for "fd..." and bytes for "b...", and with small limits.
 *
 * Checked: what was accepted can be read through to its end and is what qvl.h promises (UTF-8, arguments that are
 * JSON objects, sources with content, times that do not go back); what was refused leaves a sentence and touches
 * nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/json_reader.h"
#include "base/utf8.h"
#include "chat/chat_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char dir[] = "/tmp/qvl-fuzz-XXXXXX";

static void remove_dir(void)
{
    rmdir(dir);
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_json(const char *text, enum qvl_json_event kind)
{
    struct qvl_error err = {0};
    struct qvl_json_reader j = {
        .text = text, .n = strlen(text), .name = "x", .status = QVL_ERR_ARGUMENT, .want_unique_keys = true};
    require(!qvl_json_reader_next(&j, &err) && j.event == kind && !qvl_json_reader_skip(&j, &err));
    require(!qvl_json_reader_next(&j, &err) && j.event == QVL_JSON_END);
    qvl_json_reader_free(&j);
}

static unsigned sum_bytes(const uint8_t *bytes, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += bytes[i];
    return sum;
}

enum { NO_FILES, FOLDER, OPENER, N_WAY };
enum { MAX_MEDIA = 3, MAX_LISTED = 5, MAX_MEDIA_BYTES = 64 };

/* So far in this conversation. */
static size_t n_media, n_listed, n_media_bytes;

static void count_bytes(size_t n)
{
    require(n > 0);
    n_media_bytes += n;
}

static void check_source(const struct qvl_part *part, int way)
{
    const struct qvl_media_source *s = &part->source;
    bool has_files = way == FOLDER;
    require(s->name && s->name[0] && qvl_utf8_is_valid(s->name, strlen(s->name)));
    require(part->media.fps == 0 || part->media.num_frames == 0);
    n_media++;
    switch (s->from) {
    case QVL_FROM_BYTES:
        require(sum_bytes(s->bytes, s->n_bytes) < UINT32_MAX);
        count_bytes(s->n_bytes);
        break;
    case QVL_FROM_FD: require(way != NO_FILES && lseek(s->fd, 0, SEEK_CUR) == 0); break;
    case QVL_FROM_PICTURES:
        n_listed += s->n_frame;
        require(part->kind == QVL_PART_VIDEO && s->n_frame > 0 && s->n_frame <= QVL_MAX_CLIP_FRAMES);
        for (size_t i = 0; i < s->n_frame; i++) {
            const struct qvl_picture_file *p = &s->pictures[i];
            require(!p->path || (has_files && p->path[0]));
            if (!p->path)
                count_bytes(p->n_bytes);
            require(p->path || sum_bytes(p->bytes, p->n_bytes) < UINT32_MAX);
            require(p->time_s >= (i > 0 ? s->pictures[i - 1].time_s : 0) && p->time_s <= QVL_MAX_CLIP_SECONDS);
        }
        break;
    default: abort();
    }
}

static void check_message(const struct qvl_message *m, int way)
{
    for (size_t i = 0; i < m->n_part; i++)
        if (m->parts[i].kind == QVL_PART_TEXT)
            require(qvl_utf8_is_valid(m->parts[i].utf8, m->parts[i].n));
        else
            check_source(&m->parts[i], way);
    require(m->role == QVL_ROLE_ASSISTANT || (!m->reasoning && m->n_tool_call == 0));
    require(!m->reasoning || qvl_utf8_is_valid(m->reasoning, strlen(m->reasoning)));
    for (size_t i = 0; i < m->n_tool_call; i++) {
        require(qvl_utf8_is_valid(m->tool_calls[i].name, strlen(m->tool_calls[i].name)));
        check_json(m->tool_calls[i].arguments_json, QVL_JSON_OBJECT);
    }
}

static enum qvl_status open_one(void *user, const char *where, const char *uri, size_t n, struct qvl_arena *arena,
                                struct qvl_media_source *out, struct qvl_error *err)
{
    (void)user;
    require(where[0] != 0);
    if (n > 2 && memcmp(uri, "fd", 2) == 0) {
        *out = (struct qvl_media_source){.from = QVL_FROM_FD, .fd = memfd_create("fuzz", MFD_CLOEXEC)};
        require(out->fd >= 0 && pwrite(out->fd, uri, n, 0) == (ssize_t)n);
        return QVL_OK;
    }
    if (n > 1 && uri[0] == 'b') {
        char *copy = qvl_arena_copy_text(arena, uri, n, err);
        *out = (struct qvl_media_source){.from = QVL_FROM_BYTES, .bytes = (uint8_t *)copy, .n_bytes = n, .fd = -1};
        return copy ? QVL_OK : err->status;
    }
    return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: no", where);
}

static const struct qvl_media_opener opener = {NULL, open_one};
static const struct qvl_chat_json_settings settings[N_WAY] = {
    [FOLDER] = {.base_dir = dir, .video = {.num_frames = 9}},
    [OPENER] = {.opener = &opener,
                .video = {.fps = 3, .max_frames = 20},
                .max_media = MAX_MEDIA,
                .max_listed = MAX_LISTED,
                .max_media_bytes = MAX_MEDIA_BYTES}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool has_dir;
    if (!has_dir) {
        require(mkdtemp(dir) != NULL && atexit(remove_dir) == 0);
        has_dir = true;
    }
    for (int way = 0; way < N_WAY; way++) {
        n_media = n_listed = n_media_bytes = 0;
        struct qvl_error err = {0};
        struct qvl_chat_json c, before;
        memset(&c, 0xA5, sizeof c);
        before = c;
        if (qvl_chat_json_open((const char *)data, n, &settings[way], &c, &err)) {
            require(err.status != QVL_OK && err.status != QVL_ERR_INTERNAL && err.text[0]);
            require(memcmp(&c, &before, sizeof c) == 0);
            continue;
        }
        require(c.chat.n_message > 0);
        if (c.chat.tools_json)
            check_json(c.chat.tools_json, QVL_JSON_ARRAY);
        for (size_t i = 0; i < c.chat.n_message; i++)
            check_message(&c.chat.messages[i], way);
        require(way != OPENER ||
                (n_media <= MAX_MEDIA && n_listed <= MAX_LISTED && n_media_bytes <= MAX_MEDIA_BYTES));
        qvl_chat_json_close(&c);
    }
    return 0;
}
