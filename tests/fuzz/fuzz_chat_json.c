/* Bytes as a conversation in JSON, with files refused and with an empty folder to look in.
 *
 * Checked: what was accepted can be read through to its end and is what qvl.h promises (UTF-8, arguments that are
 * JSON objects, sources with content, times that do not go back); what was refused leaves a sentence and touches
 * nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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
    struct qvl_json_reader j = {.text = text, .n = strlen(text), .name = "x", .status = QVL_ERR_ARGUMENT,
                                .want_unique_keys = true};
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

static void check_source(const struct qvl_part *part, bool has_files)
{
    const struct qvl_media_source *s = &part->source;
    require(s->name && s->name[0]);
    switch (s->from) {
    case QVL_FROM_BYTES: require(s->n_bytes > 0 && sum_bytes(s->bytes, s->n_bytes) < UINT32_MAX); break;
    case QVL_FROM_FD: require(has_files && lseek(s->fd, 0, SEEK_CUR) == 0); break;
    case QVL_FROM_PICTURES:
        require(part->kind == QVL_PART_VIDEO && s->n_frame > 0 && s->n_frame <= QVL_MAX_CLIP_FRAMES);
        for (size_t i = 0; i < s->n_frame; i++) {
            const struct qvl_picture_file *p = &s->pictures[i];
            require(p->path ? has_files && p->path[0] : p->n_bytes > 0);
            require(p->path || sum_bytes(p->bytes, p->n_bytes) < UINT32_MAX);
            require(p->time_s >= (i > 0 ? s->pictures[i - 1].time_s : 0) && p->time_s <= QVL_MAX_CLIP_SECONDS);
        }
        break;
    default: abort();
    }
}

static void check_message(const struct qvl_message *m, bool has_files)
{
    for (size_t i = 0; i < m->n_part; i++)
        if (m->parts[i].kind == QVL_PART_TEXT)
            require(qvl_utf8_is_valid(m->parts[i].utf8, m->parts[i].n));
        else
            check_source(&m->parts[i], has_files);
    require(m->role == QVL_ROLE_ASSISTANT || (!m->reasoning && m->n_tool_call == 0));
    require(!m->reasoning || qvl_utf8_is_valid(m->reasoning, strlen(m->reasoning)));
    for (size_t i = 0; i < m->n_tool_call; i++) {
        require(qvl_utf8_is_valid(m->tool_calls[i].name, strlen(m->tool_calls[i].name)));
        check_json(m->tool_calls[i].arguments_json, QVL_JSON_OBJECT);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool has_dir;
    if (!has_dir) {
        require(mkdtemp(dir) != NULL && atexit(remove_dir) == 0);
        has_dir = true;
    }
    for (int has_files = 0; has_files < 2; has_files++) {
        const struct qvl_chat_json_settings settings = {.base_dir = has_files ? dir : NULL};
        struct qvl_error err = {0};
        struct qvl_chat_json c, before;
        memset(&c, 0xA5, sizeof c);
        before = c;
        if (qvl_chat_json_open((const char *)data, n, &settings, &c, &err)) {
            require(err.status != QVL_OK && err.status != QVL_ERR_INTERNAL && err.text[0]);
            require(memcmp(&c, &before, sizeof c) == 0);
            continue;
        }
        require(c.chat.n_message > 0);
        if (c.chat.tools_json)
            check_json(c.chat.tools_json, QVL_JSON_ARRAY);
        for (size_t i = 0; i < c.chat.n_message; i++)
            check_message(&c.chat.messages[i], has_files);
        qvl_chat_json_close(&c);
    }
    return 0;
}
