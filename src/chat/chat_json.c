/* In: JSON text. Out: a conversation whose texts, bytes and paths are copies in its own arena, its files open.
 *
 * The text becomes a flat tree (base/json_tree.h) whose nodes are asked by key, so that the order of members does
 * not matter and nothing recurses. What is unknown among members is ignored, as the servers and templates do; what
 * is known must have its type. Tools and arguments are passed on as they stand in the text: numbers and order of
 * keys reach the template unchanged. A null member is an absent one (tables of data sets fill up with null).
 *
 * Source of truth: OpenAI's chat completions API, the messages of Hugging Face's apply_chat_template and of
 * qwen-vl-utils. Arguments given as a string of JSON are taken as the object that they hold, as vLLM does. */
#include "chat/chat_json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/language.h"
#include "base/limits.h"
#include "chat/chat_reader.h"

/* ---- places and texts ---------------------------------------------------------------------------- */

size_t qvl_chat_enter(struct qvl_chat_reader *r, const char *format, ...)
{
    size_t n_before = strlen(r->where);
    va_list args;
    va_start(args, format);
    vsnprintf(r->where + n_before, sizeof r->where - n_before, format, args);
    va_end(args);
    return n_before;
}

void qvl_chat_leave(struct qvl_chat_reader *r, size_t n_before)
{
    r->where[n_before] = 0;
}

static enum qvl_status count_text(struct qvl_chat_reader *r, size_t n, struct qvl_error *err)
{
    r->n_text_bytes += n; /* the JSON is no longer than QVL_MAX_CHAT_JSON_BYTES */
    if (r->n_text_bytes > QVL_MAX_TEXT_BYTES)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: the conversation has more than %llu bytes of text", r->where,
                        QVL_MAX_TEXT_BYTES);
    return QVL_OK;
}

static enum qvl_status count_part(struct qvl_chat_reader *r, struct qvl_error *err)
{
    if (++r->n_part > QVL_MAX_PARTS)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: the conversation has more than %u parts", r->where, QVL_MAX_PARTS);
    return QVL_OK;
}

/* n bytes that become a C string. */
static enum qvl_status copy_text(struct qvl_chat_reader *r, const char *s, size_t n, const char **out,
                                 struct qvl_error *err)
{
    enum qvl_status status = count_text(r, n, err);
    if (!status && memchr(s, 0, n))
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "%s: holds a NUL character", r->where);
    if (status)
        return status;
    *out = qvl_arena_copy_text(&r->out->arena, s, n, err);
    return *out ? QVL_OK : err->status;
}

static enum qvl_status text_part(struct qvl_chat_reader *r, const struct qvl_json_node *text, struct qvl_part *part,
                                 struct qvl_error *err)
{
    enum qvl_status status = count_text(r, text->n, err);
    if (status)
        return status;
    char *copy = qvl_arena_copy_text(&r->out->arena, text->utf8, text->n, err);
    *part = (struct qvl_part){.kind = QVL_PART_TEXT, .utf8 = copy, .n = text->n};
    return copy ? QVL_OK : err->status;
}

/* ---- parts --------------------------------------------------------------------------------------- */

/* What a part may be. A FILE becomes one of the two before it when its type is known. */
enum content { CONTENT_TEXT, CONTENT_IMAGE, CONTENT_VIDEO, CONTENT_FILE };

/* The names of types, of members that hold content, or both. */
static const struct {
    const char *name;
    enum content content;
    bool is_type, is_member;
} names[] = {{"text", CONTENT_TEXT, true, true},         {"input_text", CONTENT_TEXT, true, false},
             {"output_text", CONTENT_TEXT, true, false}, {"refusal", CONTENT_TEXT, true, true},
             {"image", CONTENT_IMAGE, true, true},       {"image_url", CONTENT_IMAGE, true, true},
             {"input_image", CONTENT_IMAGE, true, true}, {"video", CONTENT_VIDEO, true, true},
             {"video_url", CONTENT_VIDEO, true, true},   {"input_video", CONTENT_VIDEO, true, true},
             {"file", CONTENT_FILE, true, true},         {"input_file", CONTENT_FILE, true, false},
             {"file_data", CONTENT_FILE, false, true},   {"file_url", CONTENT_FILE, false, true}};

/* Of a part that says it is a picture or clip. */
static const struct {
    const char *name;
    bool is_base64;
} media_names[] = {{"url", false},     {"path", false}, {"source", false},
                   {"file_id", false}, {"data", true},  {"base64", true}};

/* A part's content while it is looked for. */
struct found {
    enum content content;
    const char *key; /* the member that holds it; NULL: none so far */
    const struct qvl_json_node *node;
    bool is_base64;
    int n;
};

static void add_found(struct found *f, const struct qvl_json_node *object, const char *key, enum content content,
                      bool is_base64)
{
    const struct qvl_json_node *node = qvl_json_member(object, key);
    if (node)
        *f = (struct found){content, key, node, is_base64, f->n + 1};
}

static enum qvl_status find_type(struct qvl_chat_reader *r, const struct qvl_json_node *type, enum content *out,
                                 struct qvl_error *err)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].is_type && qvl_json_equals(type, names[i].name)) {
            *out = names[i].content;
            return QVL_OK;
        }
    return qvl_fail(
        err, QVL_ERR_ARGUMENT,
        "%s: the type %.*s is unknown; text, image_url, image, input_image, video_url, video and input_video "
        "are known",
        r->where, type->n < 40 ? (int)type->n : 40, type->utf8);
}

/* Which member holds the content, and what it is. The types are also names of members; a part that says its type
 * may call a picture or clip "url" or "path", too, as in Hugging Face's examples. */
static enum qvl_status find_content(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                    struct found *out, struct qvl_error *err)
{
    const struct qvl_json_node *type = qvl_json_member(object, "type");
    enum content said = CONTENT_TEXT;
    struct found f = {0};
    enum qvl_status status = type ? find_type(r, type, &said, err) : QVL_OK;
    if (status)
        return status;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].is_member)
            add_found(&f, object, names[i].name, names[i].content, strcmp(names[i].name, "file_data") == 0);
    for (size_t i = 0; i < sizeof media_names / sizeof *media_names && type && said != CONTENT_TEXT; i++)
        add_found(&f, object, media_names[i].name, said, media_names[i].is_base64);
    if (f.n == 0 && said != CONTENT_TEXT && qvl_json_member(object, "uuid"))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: \"uuid\" is a name; the picture or clip itself is needed, too, each time", r->where);
    if (f.n == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: there is no text, picture or clip in it", r->where);
    if (f.n > 1)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: more than one text, picture or clip is in it", r->where);
    if (type && f.content != said)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the type is %.*s, but what it holds is \"%s\"", r->where,
                        (int)type->n, type->utf8, f.key);
    *out = f;
    return QVL_OK;
}

static enum qvl_status read_part(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                 struct qvl_part *part, struct qvl_error *err)
{
    struct found f = {0};
    enum qvl_status status = count_part(r, err);
    if (status)
        return status;
    if (object->kind != QVL_JSON_OBJECT)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be an object, such as {\"type\": \"text\", \"text\": ...}",
                        r->where);
    if ((status = find_content(r, object, &f, err)))
        return status;
    if (f.content != CONTENT_TEXT) {
        part->kind = f.content == CONTENT_VIDEO ? QVL_PART_VIDEO : QVL_PART_IMAGE;
        const struct qvl_media_place place = {object, f.key, f.node, f.is_base64, f.content == CONTENT_FILE};
        return qvl_chat_read_media(r, &place, part, err);
    }
    if (f.node->kind != QVL_JSON_STRING)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" must be a string", r->where, f.key);
    return text_part(r, f.node, part, err);
}

/* Ollama's list of pictures beside the content, base64 alone; n parts. */
static enum qvl_status read_images(struct qvl_chat_reader *r, const struct qvl_json_node *images,
                                   struct qvl_part *part, struct qvl_error *err)
{
    size_t n_before = qvl_chat_enter(r, "%s", ".images");
    enum qvl_status status = QVL_OK;
    const struct qvl_json_node *entry = images + 1;
    for (uint32_t i = 0; i < images->n_child; i++, entry = qvl_json_next(entry)) {
        size_t n_images = qvl_chat_enter(r, "[%u]", i);
        const struct qvl_media_place place = {.source = entry, .is_base64 = true};
        part[i].kind = QVL_PART_IMAGE;
        if ((status = count_part(r, err)) || (status = qvl_chat_read_media(r, &place, &part[i], err)))
            return status;
        qvl_chat_leave(r, n_images);
    }
    qvl_chat_leave(r, n_before);
    return QVL_OK;
}

/* A string or a list of parts, into part [n_part]. */
static enum qvl_status read_parts(struct qvl_chat_reader *r, const struct qvl_json_node *content,
                                  struct qvl_part *part, struct qvl_error *err)
{
    enum qvl_status status;
    if (content->kind == QVL_JSON_STRING)
        return (status = count_part(r, err)) ? status : text_part(r, content, part, err);
    const struct qvl_json_node *entry = content + 1;
    for (uint32_t i = 0; i < content->n_child; i++, entry = qvl_json_next(entry)) {
        size_t n_before = qvl_chat_enter(r, "[%u]", i);
        if ((status = read_part(r, entry, &part[i], err)))
            return status;
        qvl_chat_leave(r, n_before);
    }
    return QVL_OK;
}

static enum qvl_status read_content(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                    struct qvl_message *m, struct qvl_error *err)
{
    const struct qvl_json_node *content = qvl_json_member(object, "content"),
                               *images = qvl_json_member(object, "images");
    enum qvl_status status = QVL_OK;
    if (images && images->kind != QVL_JSON_ARRAY) {
        qvl_chat_enter(r, "%s", ".images");
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be a list", r->where);
    }
    size_t n_image = images ? images->n_child : 0, n_before = qvl_chat_enter(r, "%s", ".content");
    bool is_optional = m->role == QVL_ROLE_ASSISTANT; /* a message of tool calls only */
    if (content ? content->kind != QVL_JSON_STRING && content->kind != QVL_JSON_ARRAY : !is_optional)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be a string or a list of parts", r->where);
    qvl_chat_leave(r, n_before);
    size_t n_content = !content ? 0 : content->kind == QVL_JSON_ARRAY ? content->n_child : 1;
    struct qvl_part *part =
        qvl_arena_alloc(&r->out->arena, n_image + n_content, sizeof *part, "the parts of a message", err);
    if (!part)
        return err->status;
    m->parts = part;
    m->n_part = n_image + n_content;
    if (images && (status = read_images(r, images, part, err)))
        return status;
    qvl_chat_enter(r, "%s", ".content");
    if (content && (status = read_parts(r, content, part + n_image, err)))
        return status;
    qvl_chat_leave(r, n_before);
    return QVL_OK;
}

/* ---- tools --------------------------------------------------------------------------------------- */

/* An object, or a string that holds one; none, and an empty string: no arguments. */
static enum qvl_status read_arguments(struct qvl_chat_reader *r, const struct qvl_json_node *node, const char **out,
                                      struct qvl_error *err)
{
    if (!node || (node->kind == QVL_JSON_STRING && node->n == 0))
        return copy_text(r, "{}", 2, out, err);
    if (node->kind == QVL_JSON_STRING) {
        struct qvl_json_reader j = {.text = node->utf8,
                                    .n = node->n,
                                    .name = r->where,
                                    .status = QVL_ERR_ARGUMENT,
                                    .want_unique_keys = true};
        enum qvl_status status = qvl_json_reader_next(&j, err);
        bool is_object = j.event == QVL_JSON_OBJECT;
        if (!status && !(status = qvl_json_reader_skip(&j, err)))
            status = qvl_json_reader_next(&j, err); /* the end */
        qvl_json_reader_free(&j);
        if (status)
            return status;
        if (is_object)
            return copy_text(r, node->utf8, node->n, out, err);
    }
    if (node->kind != QVL_JSON_OBJECT)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be an object, or a string that holds one", r->where);
    return copy_text(r, node->utf8, node->n, out, err);
}

/* OpenAI's {"function": {"name": N, "arguments": A}} or the flat {"name": N, "arguments": A}. */
static enum qvl_status read_tool_call(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                      struct qvl_tool_call *call, struct qvl_error *err)
{
    const struct qvl_json_node *function = qvl_json_member(object, "function");
    enum qvl_status status = count_part(r, err);
    if (status)
        return status;
    if (function) {
        qvl_chat_enter(r, "%s", ".function");
        object = function;
    }
    const struct qvl_json_node *name = qvl_json_member(object, "name");
    if (!name || name->kind != QVL_JSON_STRING)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: a tool call needs a \"name\", which is a string", r->where);
    if ((status = copy_text(r, name->utf8, name->n, &call->name, err)))
        return status;
    qvl_chat_enter(r, "%s", ".arguments");
    return read_arguments(r, qvl_json_member(object, "arguments"), &call->arguments_json, err);
}

static enum qvl_status read_tool_calls(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                       struct qvl_message *m, struct qvl_error *err)
{
    const struct qvl_json_node *calls = qvl_json_member(object, "tool_calls");
    if (!calls || (calls->kind == QVL_JSON_ARRAY && calls->n_child == 0))
        return QVL_OK;
    size_t n_before = qvl_chat_enter(r, "%s", ".tool_calls");
    if (m->role != QVL_ROLE_ASSISTANT)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: only messages of the assistant have tool calls", r->where);
    if (calls->kind != QVL_JSON_ARRAY)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be a list", r->where);
    struct qvl_tool_call *call = qvl_arena_alloc(&r->out->arena, calls->n_child, sizeof *call, "tool calls", err);
    if (!call)
        return err->status;
    const struct qvl_json_node *entry = calls + 1;
    for (uint32_t i = 0; i < calls->n_child; i++, entry = qvl_json_next(entry)) {
        size_t n_calls = qvl_chat_enter(r, "[%u]", i);
        enum qvl_status status = read_tool_call(r, entry, &call[i], err);
        if (status)
            return status;
        qvl_chat_leave(r, n_calls);
    }
    m->tool_calls = call;
    m->n_tool_call = calls->n_child;
    qvl_chat_leave(r, n_before);
    return QVL_OK;
}

/* The list as it stands in the text. */
static enum qvl_status read_tools(struct qvl_chat_reader *r, const struct qvl_json_node *tools,
                                  struct qvl_error *err)
{
    if (!tools)
        return QVL_OK;
    size_t n_before = qvl_chat_enter(r, "tools");
    if (tools->kind != QVL_JSON_ARRAY)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be a list", r->where);
    const struct qvl_json_node *entry = tools + 1;
    for (uint32_t i = 0; i < tools->n_child; i++, entry = qvl_json_next(entry))
        if (entry->kind != QVL_JSON_OBJECT) {
            qvl_chat_enter(r, "[%u]", i);
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be an object", r->where);
        }
    enum qvl_status status = copy_text(r, tools->utf8, tools->n, &r->out->chat.tools_json, err);
    qvl_chat_leave(r, n_before);
    return status;
}

/* ---- messages ------------------------------------------------------------------------------------ */

static enum qvl_status read_role(struct qvl_chat_reader *r, const struct qvl_json_node *object, enum qvl_role *out,
                                 struct qvl_error *err)
{
    static const struct {
        const char *name;
        enum qvl_role role;
    } roles[] = {{"system", QVL_ROLE_SYSTEM},
                 {"developer", QVL_ROLE_SYSTEM}, /* OpenAI's later word for it */
                 {"user", QVL_ROLE_USER},
                 {"assistant", QVL_ROLE_ASSISTANT},
                 {"tool", QVL_ROLE_TOOL}};
    const struct qvl_json_node *role = qvl_json_member(object, "role");
    for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++)
        if (qvl_json_equals(role, roles[i].name)) {
            *out = roles[i].role;
            return QVL_OK;
        }
    return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"role\" must be system, developer, user, assistant or tool",
                    r->where);
}

/* Servers write reasoning_content, or reasoning, or both, or (Ollama) thinking. Elsewhere than in the assistant's
 * messages an empty one says nothing. */
static enum qvl_status read_reasoning(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                      struct qvl_message *m, struct qvl_error *err)
{
    static const char *const keys[] = {"reasoning_content", "reasoning", "thinking"};
    const struct qvl_json_node *reasoning = NULL;
    const char *key = NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !reasoning; i++)
        reasoning = qvl_json_member(object, key = keys[i]);
    if (!reasoning)
        return QVL_OK;
    size_t n_before = qvl_chat_enter(r, ".%s", key);
    if (reasoning->kind != QVL_JSON_STRING)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be a string", r->where);
    enum qvl_status status = QVL_OK;
    if (m->role == QVL_ROLE_ASSISTANT)
        status = copy_text(r, reasoning->utf8, reasoning->n, &m->reasoning, err);
    else if (reasoning->n > 0)
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "%s: only messages of the assistant have reasoning", r->where);
    qvl_chat_leave(r, n_before);
    return status;
}

static enum qvl_status read_message(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                    struct qvl_message *m, struct qvl_error *err)
{
    enum qvl_status status;
    if (object->kind != QVL_JSON_OBJECT)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be an object with \"role\" and \"content\"", r->where);
    if ((status = read_role(r, object, &m->role, err)) || (status = read_content(r, object, m, err)) ||
        (status = read_reasoning(r, object, m, err)))
        return status;
    return read_tool_calls(r, object, m, err);
}

static enum qvl_status read_messages(struct qvl_chat_reader *r, const struct qvl_json_node *list,
                                     struct qvl_error *err)
{
    if (!list || list->kind != QVL_JSON_ARRAY)
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: there is no list of messages: {\"messages\": [...]} or the list itself is needed",
                        r->name);
    if (list->n_child == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the list of messages is empty", r->name);
    if (list->n_child > QVL_MAX_MESSAGES)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: %u messages; at most %u are allowed", r->name, list->n_child,
                        QVL_MAX_MESSAGES);
    struct qvl_message *message = qvl_arena_alloc(&r->out->arena, list->n_child, sizeof *message, "messages", err);
    if (!message)
        return err->status;
    const struct qvl_json_node *entry = list + 1;
    for (uint32_t i = 0; i < list->n_child; i++, entry = qvl_json_next(entry)) {
        const char *const *name = r->settings->message_name;
        size_t n_before = name ? qvl_chat_enter(r, "%s", name[i]) : qvl_chat_enter(r, "messages[%u]", i);
        enum qvl_status status = read_message(r, entry, &message[i], err);
        if (status)
            return status;
        qvl_chat_leave(r, n_before);
    }
    r->out->chat.messages = message;
    r->out->chat.n_message = list->n_child;
    return QVL_OK;
}

/* ---- the door ------------------------------------------------------------------------------------ */

static const char *name_of(const struct qvl_chat_json_settings *settings)
{
    return settings->name ? settings->name : qvl_text("the conversation");
}

enum qvl_status qvl_chat_json_read(const struct qvl_json_node *messages, const struct qvl_json_node *tools,
                                   const struct qvl_chat_json_settings *settings, struct qvl_chat_json *out,
                                   struct qvl_error *err)
{
    struct qvl_chat_json chat = {0};
    struct qvl_chat_reader reader = {.settings = settings, .out = &chat, .name = name_of(settings)};
    enum qvl_status status = read_messages(&reader, messages, err);
    if (!status)
        status = read_tools(&reader, tools, err);
    if (status)
        qvl_chat_json_close(&chat);
    else
        *out = chat;
    return status;
}

enum qvl_status qvl_chat_json_open(const char *json, size_t n, const struct qvl_chat_json_settings *settings,
                                   struct qvl_chat_json *out, struct qvl_error *err)
{
    const char *name = name_of(settings), *param = NULL;
    struct qvl_chat_json_settings own = *settings;
    struct qvl_arena strings = {0};
    struct qvl_json_tree tree = {0};
    enum qvl_status status;
    if (n > QVL_MAX_CHAT_JSON_BYTES) {
        status = qvl_fail(err, QVL_ERR_LIMIT, "%s: %zu bytes of JSON; at most %u are allowed", name, n,
                          QVL_MAX_CHAT_JSON_BYTES);
        goto fail;
    }
    if ((status = qvl_json_tree_read(json, n, name, QVL_MAX_CHAT_JSON_VALUES, &strings, &tree, err)))
        goto fail;
    const struct qvl_json_node *root = tree.node;
    if ((status = qvl_chat_read_media_kwargs(qvl_json_member(root, "mm_processor_kwargs"),
                                             qvl_json_member(root, "media_io_kwargs"), &own, NULL, &param, err)))
        goto fail;
    status = qvl_chat_json_read(root->kind == QVL_JSON_ARRAY ? root : qvl_json_member(root, "messages"),
                                qvl_json_member(root, "tools"), &own, out, err);
fail:
    qvl_json_tree_free(&tree);
    qvl_arena_free(&strings);
    return status;
}

void qvl_chat_json_close(struct qvl_chat_json *chat)
{
    for (size_t i = 0; i < chat->n_fd; i++)
        close(chat->fd[i]);
    free(chat->fd);
    qvl_arena_free(&chat->arena);
    *chat = (struct qvl_chat_json){0};
}
