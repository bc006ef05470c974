/* Bytes as a conversation: each byte taken is a choice or a length, texts are what follows.
 *
 * Checked, for both templates: parts are whole and in order, every picture of the conversation has its part
 * (Instruct) and none comes from text, the prompt is UTF-8, and rendered JSON renders to itself. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_reader.h"
#include "base/utf8.h"
#include "text/chat_template.h"

#define MAX_ITEMS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool holds)
{
    if (!holds)
        abort();
}

struct input {
    const uint8_t *data;
    size_t n;
    char *texts[8 * MAX_ITEMS * MAX_ITEMS]; /* to be freed */
    size_t n_text;
};

static unsigned take(struct input *in)
{
    if (in->n == 0)
        return 0;
    in->n--;
    return *in->data++;
}

static char *take_text(struct input *in, size_t *n_text)
{
    size_t n = take(in);
    if (n == 255)
        n = take(in) * 8;
    n = n < in->n ? n : in->n;
    char *s = malloc(n + 1);
    require(s != NULL);
    memcpy(s, in->data, n);
    s[n] = 0;
    in->data += n;
    in->n -= n;
    in->texts[in->n_text++] = s;
    if (n_text)
        *n_text = n;
    return s;
}

struct chat {
    struct qvl_message message[MAX_ITEMS];
    struct qvl_part part[MAX_ITEMS][MAX_ITEMS];
    struct qvl_tool_call call[MAX_ITEMS][MAX_ITEMS];
};

static void take_message(struct input *in, struct chat *c, size_t i)
{
    unsigned flags = take(in);
    struct qvl_message *m = &c->message[i];
    *m = (struct qvl_message){.role = (enum qvl_role)(flags % 5), .parts = c->part[i],
                              .n_part = take(in) % MAX_ITEMS, .tool_calls = c->call[i]};
    for (size_t k = 0; k < m->n_part; k++) {
        c->part[i][k] = (struct qvl_part){.kind = (enum qvl_part_kind)(take(in) % 7 / 2)};
        if (c->part[i][k].kind == QVL_PART_TEXT)
            c->part[i][k].utf8 = take_text(in, &c->part[i][k].n);
    }
    if (flags & 0x40)
        m->reasoning = take_text(in, NULL);
    if (flags & 0x80)
        m->n_tool_call = take(in) % MAX_ITEMS;
    for (size_t k = 0; k < m->n_tool_call; k++) {
        c->call[i][k].name = take_text(in, NULL);
        c->call[i][k].arguments_json = take_text(in, NULL);
    }
}

static void check_parts(const struct qvl_prompt_parts *p, size_t n_media, bool is_thinking)
{
    size_t n_text = 0, n_seen = 0, next = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct qvl_prompt_part *part = &p->part[i];
        if (part->kind == QVL_PROMPT_TEXT) {
            require(part->text_begin == n_text && part->text_n > 0);
            require(i == 0 || p->part[i - 1].kind != QVL_PROMPT_TEXT);
            require(qvl_utf8_is_valid(p->text.data + part->text_begin, part->text_n));
            n_text += part->text_n;
        } else if (part->kind != QVL_PROMPT_TOKEN) {
            require(part->i_media >= next && part->i_media < n_media);
            next = part->i_media + 1;
            n_seen++;
        } else {
            require(part->token < QVL_N_ADDED_TOKEN && part->token != QVL_TOK_IMAGE_PAD
                    && part->token != QVL_TOK_VIDEO_PAD);
        }
    }
    require(n_text == p->text.n && (is_thinking || n_seen == n_media));
}

static void check_json(const char *text)
{
    struct qvl_error err = {0};
    struct qvl_bytes once = {0}, twice = {0};
    struct qvl_json_reader j = {.text = text, .n = strlen(text), .name = "fuzz", .status = QVL_ERR_ARGUMENT};
    struct qvl_json_reader k = {.name = "fuzz", .status = QVL_ERR_ARGUMENT};
    if (!qvl_json_reader_next(&j, &err) && !qvl_json_reader_dump(&j, &once, &err)) {
        k.text = once.data;
        k.n = once.n;
        require(!qvl_json_reader_next(&k, &err) && !qvl_json_reader_dump(&k, &twice, &err));
        require(!qvl_json_reader_next(&k, &err) && k.event == QVL_JSON_END);
        require(twice.n == once.n && memcmp(twice.data, once.data, once.n) == 0);
    }
    qvl_json_reader_free(&j);
    qvl_json_reader_free(&k);
    qvl_bytes_free(&once);
    qvl_bytes_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct chat c;
    struct input in = {.data = data, .n = n};
    struct qvl_error err = {0};
    unsigned flags = take(&in);
    struct qvl_chat chat = {.messages = c.message, .n_message = take(&in) % MAX_ITEMS,
                            .want_vision_ids = flags & 1, .want_video_wrapper = flags & 2,
                            .is_open = flags & 8};
    size_t n_media = 0;
    if (flags & 4) {
        chat.tools_json = take_text(&in, NULL);
        check_json(chat.tools_json);
    }
    for (size_t i = 0; i < chat.n_message; i++) {
        take_message(&in, &c, i);
        for (size_t k = 0; k < c.message[i].n_part; k++)
            n_media += c.part[i][k].kind == QVL_PART_IMAGE || c.part[i][k].kind == QVL_PART_VIDEO;
    }
    for (int is_thinking = 0; is_thinking < 2; is_thinking++) {
        struct qvl_prompt_parts parts = {0};
        struct qvl_bytes text = {0};
        if (!qvl_chat_render(&chat, is_thinking, &parts, &err)) {
            check_parts(&parts, n_media, is_thinking);
            require(!qvl_prompt_parts_to_text(&parts, &text, &err) && qvl_utf8_is_valid(text.data, text.n));
        } else {
            require(parts.n == 0 && parts.part == NULL && err.text[0] != 0);
        }
        qvl_prompt_parts_free(&parts);
        qvl_bytes_free(&text);
    }
    for (size_t i = 0; i < in.n_text; i++)
        free(in.texts[i]);
    return 0;
}
