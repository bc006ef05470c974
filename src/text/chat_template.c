/* A conversation in, a list of parts out: the family's two Jinja templates, written in C.
 *
 * Two kinds of text never mix. What the template itself says ("structure") is searched for added tokens, which
 * become token parts, as the reference's tokenizer finds them in the rendered string. What the caller says
 * ("content") is text, whatever it looks like. Neighbouring texts are one part, because the tokenizer's pieces
 * run across the seam.
 * Content is first written out as the template's own string, media placeholders included, beside a list of
 * where the placeholders stand: the Thinking template cuts that string at </think>.
 * Source of truth: chat_template of Qwen3-VL Instruct and Thinking (MODEL.md, "Prompt"), as transformers renders
 * it. What surprises: Instruct drops system messages after the first; Thinking counts the pictures of a first
 * system message after it has labelled them, so that they are "Picture 0". Where the template would silently
 * drop a picture by its role, we refuse. */
#include "text/chat_template.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/checked.h"
#include "base/json_reader.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "text/tokenizer_file.h"

#define IMAGE_TEXT "<|vision_start|><|image_pad|><|vision_end|>"
#define VIDEO_TEXT "<|vision_start|><|video_pad|><|vision_end|>"

static const char tools_head[] =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
static const char tools_tail[] =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n";

/* A placeholder in a content's text. */
struct mark {
    size_t begin, n; /* bytes of the text */
    size_t i_media;
    bool is_video;
};

struct content {
    struct qvl_bytes text;
    struct mark *mark; /* in order */
    size_t n_mark, n_alloc;
};

struct slice { /* of content.text */
    size_t begin, end;
};

struct render {
    const struct qvl_chat *chat;
    bool is_thinking;
    struct qvl_prompt_parts *out;
    struct content content;  /* of the message at hand */
    size_t n_image, n_video; /* counted so far, for the labels */
    size_t i_media;          /* media parts of the messages before */
};

/* ---- parts ---------------------------------------------------------------------------------------- */

static enum qvl_status add_part(struct qvl_prompt_parts *out, struct qvl_prompt_part part, struct qvl_error *err)
{
    struct qvl_prompt_part *p = qvl_grow(out->part, &out->n_alloc, out->n + 1, sizeof *p, "the prompt", err);
    if (!p)
        return err->status;
    out->part = p;
    out->part[out->n++] = part;
    return QVL_OK;
}

static enum qvl_status add_text(struct qvl_prompt_parts *out, const char *s, size_t n, struct qvl_error *err)
{
    if (n == 0)
        return QVL_OK;
    size_t begin = out->text.n;
    enum qvl_status status = qvl_bytes_add(&out->text, s, n, err);
    if (status)
        return status;
    if (out->n > 0 && out->part[out->n - 1].kind == QVL_PROMPT_TEXT) {
        out->part[out->n - 1].text_n += n;
        return QVL_OK;
    }
    return add_part(out, (struct qvl_prompt_part){.kind = QVL_PROMPT_TEXT, .text_begin = begin, .text_n = n}, err);
}

static enum qvl_status add_token(struct qvl_prompt_parts *out, enum qvl_added_token token, struct qvl_error *err)
{
    return add_part(out, (struct qvl_prompt_part){.kind = QVL_PROMPT_TOKEN, .token = token}, err);
}

/* Text of the template itself: its added tokens become parts. */
static enum qvl_status add_structure(struct qvl_prompt_parts *out, const char *s, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    const char *plain = s;
    while (*s && !status) {
        size_t n = 0;
        int which = 0;
        for (; which < QVL_N_ADDED_TOKEN; which++) {
            n = strlen(qvl_added_token_text[which].text);
            if (strncmp(s, qvl_added_token_text[which].text, n) == 0)
                break;
        }
        if (which == QVL_N_ADDED_TOKEN) {
            s++;
            continue;
        }
        if (!(status = add_text(out, plain, (size_t)(s - plain), err)))
            status = add_token(out, (enum qvl_added_token)which, err);
        plain = s += n;
    }
    return status ? status : add_text(out, plain, (size_t)(s - plain), err);
}

static enum qvl_status add_media(struct qvl_prompt_parts *out, const struct mark *m, struct qvl_error *err)
{
    enum qvl_status status;
    if (m->is_video)
        return add_part(out, (struct qvl_prompt_part){.kind = QVL_PROMPT_VIDEO, .i_media = m->i_media}, err);
    if ((status = add_token(out, QVL_TOK_VISION_START, err)) ||
        (status = add_part(out, (struct qvl_prompt_part){.kind = QVL_PROMPT_IMAGE, .i_media = m->i_media}, err)))
        return status;
    return add_token(out, QVL_TOK_VISION_END, err);
}

/* A slice of the content; it never cuts a placeholder. */
static enum qvl_status add_content(struct render *r, struct slice s, struct qvl_error *err)
{
    const struct content *c = &r->content;
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < c->n_mark && !status; i++) {
        const struct mark *m = &c->mark[i];
        if (m->begin < s.begin || m->begin >= s.end)
            continue;
        if (!(status = add_text(r->out, c->text.data + s.begin, m->begin - s.begin, err)))
            status = add_media(r->out, m, err);
        s.begin = m->begin + m->n;
    }
    return status ? status : add_text(r->out, c->text.data + s.begin, s.end - s.begin, err);
}

/* ---- content -------------------------------------------------------------------------------------- */

static enum qvl_status add_placeholder(struct render *r, bool is_video, size_t i_media, struct qvl_error *err)
{
    struct content *c = &r->content;
    size_t count = is_video ? r->n_video : r->n_image;
    const char *text = is_video ? VIDEO_TEXT : IMAGE_TEXT;
    enum qvl_status status = QVL_OK;
    if (r->chat->want_vision_ids)
        status = qvl_bytes_add_format(&c->text, err, "%s %zu: ", is_video ? "Video" : "Picture", count);
    if (status)
        return status;
    struct mark *p = qvl_grow(c->mark, &c->n_alloc, c->n_mark + 1, sizeof *p, "the pictures of a message", err);
    if (!p)
        return err->status;
    c->mark = p;
    c->mark[c->n_mark++] = (struct mark){c->text.n, strlen(text), i_media, is_video};
    return qvl_bytes_add_text(&c->text, text, err);
}

/* r->content becomes what the template makes of the message's content. want_count: each picture moves the
 * counters of the labels. */
static enum qvl_status render_content(struct render *r, const struct qvl_message *m, bool want_count,
                                      struct qvl_error *err)
{
    size_t i_media = r->i_media;
    r->content.text.n = r->content.n_mark = 0;
    enum qvl_status status = qvl_bytes_add(&r->content.text, "", 0, err); /* text.data is not NULL from here */
    for (size_t i = 0; i < m->n_part && !status; i++) {
        const struct qvl_part *p = &m->parts[i];
        if (p->kind == QVL_PART_TEXT) {
            status = qvl_bytes_add(&r->content.text, p->utf8, p->n, err);
            continue;
        }
        bool is_video = p->kind == QVL_PART_VIDEO;
        if (want_count)
            *(is_video ? &r->n_video : &r->n_image) += 1;
        status = add_placeholder(r, is_video, i_media++, err);
    }
    return status;
}

static struct slice whole_content(const struct render *r)
{
    return (struct slice){0, r->content.text.n};
}

static struct slice strip_left(const struct render *r, struct slice s)
{
    while (s.begin < s.end && r->content.text.data[s.begin] == '\n')
        s.begin++;
    return s;
}

static struct slice strip_right(const struct render *r, struct slice s)
{
    while (s.begin < s.end && r->content.text.data[s.end - 1] == '\n')
        s.end--;
    return s;
}

/* Where `word` stands in the slice first, or last; s.end when it does not. */
static size_t find_word(const struct render *r, struct slice s, const char *word, bool want_last)
{
    size_t n = strlen(word), found = s.end;
    for (size_t i = s.begin; i + n <= s.end; i++) {
        const char *at = memchr(r->content.text.data + i, word[0], s.end - n + 1 - i);
        if (!at)
            break;
        i = (size_t)(at - r->content.text.data);
        if (memcmp(at, word, n) != 0)
            continue;
        found = i;
        if (!want_last)
            break;
    }
    return found;
}

/* ---- messages ------------------------------------------------------------------------------------- */

static enum qvl_status add_tool_calls(struct render *r, const struct qvl_message *m, bool has_content,
                                      struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    struct qvl_bytes arguments = {0};
    for (size_t i = 0; i < m->n_tool_call && !status; i++) {
        const struct qvl_tool_call *call = &m->tool_calls[i];
        struct qvl_json_reader j = {.text = call->arguments_json,
                                    .n = strlen(call->arguments_json),
                                    .name = "arguments of a tool call",
                                    .status = QVL_ERR_ARGUMENT,
                                    .want_unique_keys = true};
        arguments.n = 0;
        if (!(status = qvl_json_reader_next(&j, err)) && j.event != QVL_JSON_OBJECT)
            status = qvl_fail(err, QVL_ERR_ARGUMENT, "arguments of a tool call are not a JSON object");
        if (!status && !(status = qvl_json_reader_dump(&j, &arguments, err)))
            status = qvl_json_reader_next(&j, err); /* the end */
        qvl_json_reader_free(&j);
        if (status || ((i > 0 || has_content) && (status = add_structure(r->out, "\n", err))) ||
            (status = add_structure(r->out, "<tool_call>\n{\"name\": \"", err)) ||
            (status = add_text(r->out, call->name, strlen(call->name), err)) ||
            (status = add_structure(r->out, "\", \"arguments\": ", err)) ||
            (status = add_text(r->out, arguments.data, arguments.n, err)))
            break;
        status = add_structure(r->out, "}\n</tool_call>", err);
    }
    qvl_bytes_free(&arguments);
    return status;
}

/* What stands behind the content of an assistant's message; nothing where that is to go on. */
static enum qvl_status end_assistant(struct render *r, const struct qvl_message *m, bool has_content,
                                     struct qvl_error *err)
{
    if (r->chat->is_open && m == &r->chat->messages[r->chat->n_message - 1])
        return QVL_OK;
    enum qvl_status status = add_tool_calls(r, m, has_content, err);
    return status ? status : add_structure(r->out, "<|im_end|>\n", err);
}

static enum qvl_status add_assistant_instruct(struct render *r, const struct qvl_message *m, struct qvl_error *err)
{
    enum qvl_status status;
    /* One text part is the template's string, which counts by its length; several are its list. */
    bool has_content = m->n_part > 1 || r->content.text.n > 0;
    if ((status = add_structure(r->out, "<|im_start|>assistant\n", err)) ||
        (status = add_content(r, whole_content(r), err)))
        return status;
    return end_assistant(r, m, has_content, err);
}

/* is_current: the turn belongs to the question that is being answered, so that its reasoning stays. */
static enum qvl_status add_assistant_thinking(struct render *r, const struct qvl_message *m, bool is_current,
                                              bool is_last, struct qvl_error *err)
{
    struct slice content = whole_content(r), reasoning = {0, 0};
    size_t end = find_word(r, content, "</think>", false);
    enum qvl_status status;
    if (!m->reasoning && end < content.end) {
        reasoning = strip_right(r, (struct slice){0, end});
        size_t begin = find_word(r, reasoning, "<think>", true);
        if (begin < reasoning.end)
            reasoning.begin = begin + strlen("<think>");
        reasoning = strip_left(r, reasoning);
        content.begin = find_word(r, content, "</think>", true) + strlen("</think>");
        content = strip_left(r, content);
    }
    bool has_reasoning = m->reasoning ? m->reasoning[0] != 0 : reasoning.end > reasoning.begin;
    bool has_content = content.end > content.begin;
    if ((status = add_structure(r->out, "<|im_start|>assistant\n", err)))
        return status;
    if (is_current && (is_last || has_reasoning)) {
        if ((status = add_structure(r->out, "<think>\n", err)))
            return status;
        if (m->reasoning) {
            const char *s = m->reasoning + strspn(m->reasoning, "\n");
            size_t n = strlen(s);
            while (n > 0 && s[n - 1] == '\n')
                n--;
            status = add_text(r->out, s, n, err);
        } else {
            status = add_content(r, strip_right(r, reasoning), err);
        }
        if (status || (status = add_structure(r->out, "\n</think>\n\n", err)))
            return status;
        content = strip_left(r, content);
    }
    status = add_content(r, content, err);
    return status ? status : end_assistant(r, m, has_content, err);
}

/* Neighbouring results share one user turn. */
static enum qvl_status add_tool_result(struct render *r, size_t i, struct qvl_error *err)
{
    const struct qvl_message *m = r->chat->messages;
    bool is_first = i == 0 || m[i - 1].role != QVL_ROLE_TOOL;
    bool is_last = i + 1 == r->chat->n_message || m[i + 1].role != QVL_ROLE_TOOL;
    enum qvl_status status;
    if ((is_first && (status = add_structure(r->out, "<|im_start|>user", err))) ||
        (status = add_structure(r->out, "\n<tool_response>\n", err)) ||
        (status = add_content(r, whole_content(r), err)))
        return status;
    return add_structure(r->out, is_last ? "\n</tool_response><|im_end|>\n" : "\n</tool_response>", err);
}

static enum qvl_status add_turn(struct render *r, const char *head, struct qvl_error *err)
{
    enum qvl_status status;
    if ((status = add_structure(r->out, head, err)) || (status = add_content(r, whole_content(r), err)))
        return status;
    return add_structure(r->out, "<|im_end|>\n", err);
}

/* Thinking: the last user message that is not a tool result in disguise; reasoning before it is left out. */
static enum qvl_status find_last_query(struct render *r, size_t *out, struct qvl_error *err)
{
    static const char head[] = "<tool_response>", tail[] = "</tool_response>";
    *out = r->chat->n_message - 1;
    for (size_t i = r->chat->n_message; i-- > 0;) {
        if (r->chat->messages[i].role != QVL_ROLE_USER)
            continue;
        enum qvl_status status = render_content(r, &r->chat->messages[i], false, err);
        if (status)
            return status;
        const struct qvl_bytes *text = &r->content.text;
        if (text->n >= sizeof tail - 1 && memcmp(text->data, head, sizeof head - 1) == 0 &&
            memcmp(text->data + text->n - (sizeof tail - 1), tail, sizeof tail - 1) == 0)
            continue;
        *out = i;
        break;
    }
    return QVL_OK;
}

/* "\n" and the JSON of each tool. */
static enum qvl_status render_tools(const char *tools_json, struct qvl_bytes *out, struct qvl_error *err)
{
    struct qvl_json_reader j = {.text = tools_json,
                                .n = strlen(tools_json),
                                .name = "tools",
                                .status = QVL_ERR_ARGUMENT,
                                .want_unique_keys = true};
    enum qvl_status status = qvl_json_reader_next(&j, err);
    if (!status && j.event != QVL_JSON_ARRAY)
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "tools are not a JSON array");
    while (!status && !(status = qvl_json_reader_next(&j, err)) && j.event != QVL_JSON_ARRAY_END) {
        if (j.event != QVL_JSON_OBJECT)
            status = qvl_fail(err, QVL_ERR_ARGUMENT, "tools: an entry is not a JSON object");
        else if (!(status = qvl_bytes_add(out, "\n", 1, err)))
            status = qvl_json_reader_dump(&j, out, err);
    }
    if (!status)
        status = qvl_json_reader_next(&j, err); /* the end */
    qvl_json_reader_free(&j);
    return status;
}

static enum qvl_status add_system(struct render *r, struct qvl_error *err)
{
    struct qvl_bytes tools = {0};
    bool has_system = r->chat->messages[0].role == QVL_ROLE_SYSTEM;
    enum qvl_status status = QVL_OK;
    if (r->chat->tools_json && (status = render_tools(r->chat->tools_json, &tools, err)))
        goto fail;
    if (has_system && (status = render_content(r, &r->chat->messages[0], false, err)))
        goto fail;
    if (tools.n == 0) {
        if (has_system)
            status = add_turn(r, "<|im_start|>system\n", err);
        goto fail;
    }
    if ((status = add_structure(r->out, "<|im_start|>system\n", err)))
        goto fail;
    if (has_system &&
        ((status = add_content(r, whole_content(r), err)) || (status = add_structure(r->out, "\n\n", err))))
        goto fail;
    if ((status = add_structure(r->out, tools_head, err)) || (status = add_text(r->out, tools.data, tools.n, err)))
        goto fail;
    status = add_structure(r->out, tools_tail, err);
fail:
    qvl_bytes_free(&tools);
    return status;
}

static enum qvl_status add_message(struct render *r, size_t i, size_t i_last_query, struct qvl_error *err)
{
    const struct qvl_message *m = &r->chat->messages[i];
    enum qvl_status status = render_content(r, m, true, err);
    if (status)
        return status;
    switch (m->role) {
    case QVL_ROLE_SYSTEM: return r->is_thinking && i > 0 ? add_turn(r, "<|im_start|>system\n", err) : QVL_OK;
    case QVL_ROLE_USER: return add_turn(r, "<|im_start|>user\n", err);
    case QVL_ROLE_ASSISTANT:
        return r->is_thinking ? add_assistant_thinking(r, m, i > i_last_query, i + 1 == r->chat->n_message, err)
                              : add_assistant_instruct(r, m, err);
    case QVL_ROLE_TOOL: return add_tool_result(r, i, err);
    }
    return QVL_OK;
}

/* ---- checks --------------------------------------------------------------------------------------- */

struct total {
    size_t n_byte, n_part, n_media;
};

static enum qvl_status check_text(struct total *sum, const char *s, size_t n, size_t i_message,
                                  struct qvl_error *err)
{
    if (!qvl_add_size(sum->n_byte, n, &sum->n_byte) || sum->n_byte > QVL_MAX_TEXT_BYTES)
        return qvl_fail(err, QVL_ERR_LIMIT, "the conversation has more than %llu bytes of text",
                        QVL_MAX_TEXT_BYTES);
    if (n > 0 && !qvl_utf8_is_valid(s, n))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "message %zu: a text that is not UTF-8", i_message + 1);
    return QVL_OK;
}

static enum qvl_status check_part(struct total *sum, const struct qvl_part *p, bool can_hold_media,
                                  size_t i_message, struct qvl_error *err)
{
    if (p->kind == QVL_PART_TEXT)
        return check_text(sum, p->utf8, p->n, i_message, err);
    if (p->kind != QVL_PART_IMAGE && p->kind != QVL_PART_VIDEO)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "message %zu: a part of unknown kind %d", i_message + 1,
                        (int)p->kind);
    if (!can_hold_media)
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "message %zu: this model takes pictures and clips in user and tool messages only",
                        i_message + 1);
    if (++sum->n_media > QVL_MAX_MEDIA_PER_REQUEST)
        return qvl_fail(err, QVL_ERR_LIMIT, "the conversation has more than %u pictures and clips",
                        QVL_MAX_MEDIA_PER_REQUEST);
    return QVL_OK;
}

static enum qvl_status check_message(struct total *sum, const struct qvl_message *m, bool is_thinking, size_t i,
                                     struct qvl_error *err)
{
    enum qvl_status status;
    bool is_known = m->role == QVL_ROLE_SYSTEM || m->role == QVL_ROLE_USER || m->role == QVL_ROLE_ASSISTANT ||
                    m->role == QVL_ROLE_TOOL;
    bool can_hold_media = is_thinking || m->role == QVL_ROLE_USER || m->role == QVL_ROLE_TOOL;
    if (!is_known)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "message %zu: unknown role %d", i + 1, (int)m->role);
    if (m->role != QVL_ROLE_ASSISTANT && (m->n_tool_call > 0 || m->reasoning))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "message %zu: only an assistant's has tool calls or reasoning",
                        i + 1);
    if (!qvl_add_size(sum->n_part, m->n_part, &sum->n_part) ||
        !qvl_add_size(sum->n_part, m->n_tool_call, &sum->n_part) || sum->n_part > QVL_MAX_PARTS)
        return qvl_fail(err, QVL_ERR_LIMIT, "the conversation has more than %u parts", QVL_MAX_PARTS);
    for (size_t k = 0; k < m->n_part; k++)
        if ((status = check_part(sum, &m->parts[k], can_hold_media, i, err)))
            return status;
    for (size_t k = 0; k < m->n_tool_call; k++) {
        const struct qvl_tool_call *call = &m->tool_calls[k];
        if (!call->name || !call->arguments_json)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "message %zu: a tool call without name or arguments", i + 1);
        if ((status = check_text(sum, call->name, strlen(call->name), i, err)) ||
            (status = check_text(sum, call->arguments_json, strlen(call->arguments_json), i, err)))
            return status;
    }
    return m->reasoning ? check_text(sum, m->reasoning, strlen(m->reasoning), i, err) : QVL_OK;
}

/* The last message, which is to go on. */
static enum qvl_status check_open(const struct qvl_chat *chat, struct qvl_error *err)
{
    const struct qvl_message *m = &chat->messages[chat->n_message - 1];
    if (m->role != QVL_ROLE_ASSISTANT)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "message %zu: only an assistant's can go on", chat->n_message);
    if (m->n_tool_call > 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "message %zu: one with tool calls cannot go on", chat->n_message);
    if (m->n_part == 0 || m->parts[m->n_part - 1].kind != QVL_PART_TEXT)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "message %zu: there is no text at its end that could go on",
                        chat->n_message);
    return QVL_OK;
}

static enum qvl_status check_chat(const struct qvl_chat *chat, bool is_thinking, struct qvl_error *err)
{
    struct total sum = {0};
    if (chat->n_message == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the conversation has no message");
    if (chat->n_message > QVL_MAX_MESSAGES)
        return qvl_fail(err, QVL_ERR_LIMIT, "the conversation has %zu messages; qvl accepts %u", chat->n_message,
                        QVL_MAX_MESSAGES);
    if (chat->tools_json && strlen(chat->tools_json) > QVL_MAX_TEXT_BYTES)
        return qvl_fail(err, QVL_ERR_LIMIT, "tools: more than %llu bytes", QVL_MAX_TEXT_BYTES);
    for (size_t i = 0; i < chat->n_message; i++) {
        enum qvl_status status = check_message(&sum, &chat->messages[i], is_thinking, i, err);
        if (status)
            return status;
    }
    return chat->is_open ? check_open(chat, err) : QVL_OK;
}

/* ---- the door ------------------------------------------------------------------------------------- */

enum qvl_status qvl_chat_render(const struct qvl_chat *chat, bool is_thinking, struct qvl_prompt_parts *out,
                                struct qvl_error *err)
{
    struct qvl_prompt_parts parts = {0};
    struct render r = {.chat = chat, .is_thinking = is_thinking, .out = &parts};
    size_t i_last_query = 0;
    enum qvl_status status;
    if ((status = check_chat(chat, is_thinking, err)) || (status = add_system(&r, err)) ||
        (is_thinking && (status = find_last_query(&r, &i_last_query, err))))
        goto fail;
    for (size_t i = 0; i < chat->n_message; i++) {
        if ((status = add_message(&r, i, i_last_query, err)))
            goto fail;
        r.i_media += r.content.n_mark;
    }
    if (!chat->is_open && ((status = add_structure(&parts, "<|im_start|>assistant\n", err)) ||
                           (is_thinking && (status = add_structure(&parts, "<think>\n", err)))))
        goto fail;
    qvl_prompt_parts_free(out);
    *out = parts;
    parts = (struct qvl_prompt_parts){0};
fail:
    qvl_prompt_parts_free(&parts);
    qvl_bytes_free(&r.content.text);
    free(r.content.mark);
    return status;
}

void qvl_prompt_parts_free(struct qvl_prompt_parts *parts)
{
    free(parts->part);
    qvl_bytes_free(&parts->text);
    *parts = (struct qvl_prompt_parts){0};
}

enum qvl_status qvl_prompt_parts_to_text(const struct qvl_prompt_parts *parts, struct qvl_bytes *out,
                                         struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < parts->n && !status; i++) {
        const struct qvl_prompt_part *p = &parts->part[i];
        switch (p->kind) {
        case QVL_PROMPT_TOKEN: status = qvl_bytes_add_text(out, qvl_added_token_text[p->token].text, err); break;
        case QVL_PROMPT_TEXT: status = qvl_bytes_add(out, parts->text.data + p->text_begin, p->text_n, err); break;
        case QVL_PROMPT_IMAGE: status = qvl_bytes_add_text(out, "<|image_pad|>", err); break;
        case QVL_PROMPT_VIDEO: status = qvl_bytes_add_text(out, VIDEO_TEXT, err); break;
        }
    }
    return status;
}
