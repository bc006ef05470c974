/* An Ollama body becomes a Chat Completions body, as a tree of JSON values (openai_chat_adapt.h): messages are
 * nearly the same, options have other names, a prompt is a conversation of one message.
 *
 * Source of truth: docs/api.md and api/types.go of Ollama. Beside it: "videos", like "images", in messages and
 * prompts. Options that tune Ollama's own way of running a model (num_gpu, num_thread, use_mmap, ...) are unknown
 * here: the reply names them. */
#include "server/ollama_read.h"

#include <string.h>

#include "base/language.h"
#include "base/limits.h"
#include "server/field.h"
#include "server/openai_chat_adapt.h"

enum { MAX_TOP_LOGPROBS = 20 };

static const struct qvl_renamed_field renamed[] = {
    {"max_completion_tokens", "num_predict"},
    {"repetition_penalty", "repeat_penalty"},
    {"response_format", "format"},
    {"enable_thinking", "think"},
};

struct fields {
    /* of both */
    const struct qvl_json_node *model, *format, *options, *keep_alive, *think;
    uint32_t top_logprobs;
    bool is_streamed, want_logprobs;
    /* of one of them */
    const struct qvl_json_node *messages, *tools;
    const struct qvl_json_node *prompt, *system, *images, *videos;
};

#define AT(member) offsetof(struct fields, member)

static const char no_history[] = QVL_SAID("is not offered: send the conversation to /api/chat");
static const char no_template[] = QVL_SAID("is not offered: the model has its own template");
static const char whole[] = QVL_SAID("is not offered: a conversation is used whole");
static const char no_pictures_out[] = QVL_SAID("is not offered: pictures are not made here");

#define COMMON_FIELDS                                                                                              \
    {"model", QVL_FIELD_STRING, AT(model), 0, 0, NULL}, {"format", QVL_FIELD_ANY, AT(format), 0, 0, NULL},         \
        {"options", QVL_FIELD_OBJECT, AT(options), 0, 0, NULL},                                                    \
        {"stream", QVL_FIELD_BOOL, AT(is_streamed), 0, 0, NULL},                                                   \
        {"keep_alive", QVL_FIELD_ANY, AT(keep_alive), 0, 0, NULL},                                                 \
        {"think", QVL_FIELD_ANY, AT(think), 0, 0, NULL},                                                           \
        {"logprobs", QVL_FIELD_BOOL, AT(want_logprobs), 0, 0, NULL},                                               \
        {"top_logprobs", QVL_FIELD_U32, AT(top_logprobs), 0, MAX_TOP_LOGPROBS, NULL},                              \
        {.name = "truncate", .refusal = whole},                                                                    \
    {                                                                                                              \
        .name = "shift", .refusal = whole                                                                          \
    }

static const struct qvl_field chat_fields[] = {
    COMMON_FIELDS,
    {"messages", QVL_FIELD_LIST, AT(messages), 0, QVL_MAX_MESSAGES, NULL},
    {"tools", QVL_FIELD_LIST, AT(tools), 0, 0, NULL},
};

static const struct qvl_field generate_fields[] = {
    COMMON_FIELDS,
    {"prompt", QVL_FIELD_STRING, AT(prompt), 0, 0, NULL},
    {"system", QVL_FIELD_STRING, AT(system), 0, 0, NULL},
    {"images", QVL_FIELD_LIST, AT(images), 0, 0, NULL},
    {"videos", QVL_FIELD_LIST, AT(videos), 0, 0, NULL},
    {.name = "suffix", .refusal = QVL_SAID("is not offered: this model continues text, it does not fill gaps")},
    {.name = "template", .refusal = no_template},
    {.name = "raw", .refusal = no_template},
    {.name = "context", .refusal = no_history},
    {.name = "width", .refusal = no_pictures_out},
    {.name = "height", .refusal = no_pictures_out},
    {.name = "steps", .refusal = no_pictures_out},
};

struct reader {
    uint32_t n_ctx;
    const struct qvl_chat_read_settings *settings;
    struct qvl_ask *ask;
    struct qvl_chat_body *chat;
    struct qvl_ollama_body *out;
    struct fields f;
    struct qvl_json_nodes body; /* that it becomes */
};

static enum qvl_status refuse(struct reader *r, const char *param, struct qvl_error *err)
{
    r->chat->param = param;
    return err->status;
}

static void add_flag(struct reader *r, const char *key, bool flag)
{
    const struct qvl_json_node node = {.kind = flag ? QVL_JSON_TRUE : QVL_JSON_FALSE, .n_node = 1};
    qvl_json_nodes_add(&r->body, key, &node);
}

static void add_integer(struct reader *r, const char *key, const char *digits)
{
    const struct qvl_json_node node = {.kind = QVL_JSON_INTEGER, .n_node = 1, .utf8 = digits, .n = strlen(digits)};
    qvl_json_nodes_add(&r->body, key, &node);
}

/* ---- options ------------------------------------------------------------------------------------- */

struct options {
    const struct qvl_json_node *temperature, *top_k, *top_p, *min_p, *seed, *stop, *repeat_penalty,
        *presence_penalty, *frequency_penalty;
    double num_predict, num_ctx, repeat_last_n, typical_p, tfs_z;
    double tau, eta; /* of mirostat, which is off */
    bool penalize_newline;
};

#define OPTION(member) offsetof(struct options, member)
#define MAX_WHOLE 4294967295.0

static const struct qvl_field option_fields[] = {
    {"temperature", QVL_FIELD_ANY, OPTION(temperature), 0, 0, NULL},
    {"top_k", QVL_FIELD_ANY, OPTION(top_k), 0, 0, NULL},
    {"top_p", QVL_FIELD_ANY, OPTION(top_p), 0, 0, NULL},
    {"min_p", QVL_FIELD_ANY, OPTION(min_p), 0, 0, NULL},
    {"seed", QVL_FIELD_ANY, OPTION(seed), 0, 0, NULL},
    {"stop", QVL_FIELD_ANY, OPTION(stop), 0, 0, NULL},
    {"repeat_penalty", QVL_FIELD_ANY, OPTION(repeat_penalty), 0, 0, NULL},
    {"presence_penalty", QVL_FIELD_ANY, OPTION(presence_penalty), 0, 0, NULL},
    {"frequency_penalty", QVL_FIELD_ANY, OPTION(frequency_penalty), 0, 0, NULL},
    {"num_predict", QVL_FIELD_F64, OPTION(num_predict), -2, QVL_MAX_TOKENS, NULL},
    {"num_ctx", QVL_FIELD_F64, OPTION(num_ctx), 1, MAX_WHOLE, NULL},
    /* one value only */
    {"repeat_last_n", QVL_FIELD_F64, OPTION(repeat_last_n), 0, 0, NULL},
    {"typical_p", QVL_FIELD_F64, OPTION(typical_p), 0, 0, NULL},
    {"tfs_z", QVL_FIELD_F64, OPTION(tfs_z), 0, 0, NULL},
    {"penalize_newline", QVL_FIELD_BOOL, OPTION(penalize_newline), 0, 0, NULL},
    {"mirostat_tau", QVL_FIELD_F64, OPTION(tau), 0, 0, NULL},
    {"mirostat_eta", QVL_FIELD_F64, OPTION(eta), 0, 0, NULL},
    {.name = "mirostat", .refusal = QVL_SAID("is not offered: temperature, top_k, top_p and min_p are")},
};

/* What is offered with one value only, the one that turns it off. */
static enum qvl_status check_options(struct reader *r, const struct options *o, struct qvl_error *err)
{
    const struct {
        const char *name;
        double value, only;
    } list[] = {{"repeat_last_n", o->repeat_last_n, -1},
                {"typical_p", o->typical_p, 1},
                {"tfs_z", o->tfs_z, 1},
                {"penalize_newline", o->penalize_newline ? 1 : 0, 1}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i].value < list[i].only || list[i].value > list[i].only) {
            if (i == 0)
                qvl_fail(err, QVL_ERR_ARGUMENT,
                         "repeat_last_n can be -1 only: penalties look at the whole conversation");
            else
                qvl_fail(err, QVL_ERR_ARGUMENT, "%s is not offered: temperature, top_k, top_p and min_p are",
                         list[i].name);
            return refuse(r, list[i].name, err);
        }
    if (o->num_ctx > r->n_ctx) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "num_ctx is %.0f, but this server's context has %u tokens", o->num_ctx,
                 r->n_ctx);
        return refuse(r, "num_ctx", err);
    }
    return QVL_OK;
}

/* A negative number of tokens, and 0, leave it to the server how long an answer may be; seed -1 means any. */
static enum qvl_status add_lengths(struct reader *r, const struct options *o, struct qvl_error *err)
{
    double seed = 0;
    if (o->num_predict >= 1) {
        const char *digits = qvl_arena_format(&r->ask->arena, err, "%.0f", o->num_predict);
        if (!digits)
            return err->status;
        add_integer(r, "max_completion_tokens", digits);
    }
    if (o->seed && !(qvl_json_number(o->seed, &seed) && seed >= -1 && seed <= -1))
        qvl_json_nodes_add(&r->body, "seed", o->seed);
    return QVL_OK;
}

static enum qvl_status add_options(struct reader *r, struct qvl_error *err)
{
    struct options o = {.repeat_last_n = -1, .typical_p = 1, .tfs_z = 1, .penalize_newline = true};
    if (!r->f.options)
        return QVL_OK;
    enum qvl_status status =
        qvl_fields_read(r->f.options, option_fields, sizeof option_fields / sizeof *option_fields, &o,
                        &r->chat->unknown, &r->chat->param, err);
    if (status || (status = check_options(r, &o, err)) || (status = add_lengths(r, &o, err)))
        return status;
    const struct {
        const char *chat;
        const struct qvl_json_node *value;
    } list[] = {{"temperature", o.temperature},
                {"top_k", o.top_k},
                {"top_p", o.top_p},
                {"min_p", o.min_p},
                {"stop", o.stop},
                {"repetition_penalty", o.repeat_penalty},
                {"presence_penalty", o.presence_penalty},
                {"frequency_penalty", o.frequency_penalty}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i].value && !(o.stop == list[i].value && o.stop->kind == QVL_JSON_ARRAY && o.stop->n_child == 0))
            qvl_json_nodes_add(&r->body, list[i].chat, list[i].value);
    return QVL_OK;
}

/* ---- the other fields ---------------------------------------------------------------------------- */

/* "json", or a schema. */
static enum qvl_status add_format(struct reader *r, struct qvl_error *err)
{
    const struct qvl_json_node *format = r->f.format;
    if (!format || (format->kind == QVL_JSON_STRING && format->n == 0))
        return QVL_OK;
    if (format->kind != QVL_JSON_OBJECT && !qvl_json_equals(format, "json")) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "format must be \"json\" or a JSON schema");
        return refuse(r, "format", err);
    }
    qvl_json_nodes_open(&r->body, QVL_JSON_OBJECT, "response_format");
    if (format->kind == QVL_JSON_OBJECT) {
        qvl_json_nodes_add_text(&r->body, "type", "json_schema");
        qvl_json_nodes_add(&r->body, "schema", format);
    } else {
        qvl_json_nodes_add_text(&r->body, "type", "json_object");
    }
    qvl_json_nodes_close(&r->body);
    return QVL_OK;
}

/* Whether; how much is the model's affair, "medium". */
static enum qvl_status add_think(struct reader *r, struct qvl_error *err)
{
    const struct qvl_json_node *think = r->f.think;
    if (!think)
        return QVL_OK;
    bool is_medium = qvl_json_equals(think, "medium");
    if (think->kind != QVL_JSON_TRUE && think->kind != QVL_JSON_FALSE && !is_medium) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "think must be true or false: how long this model thinks cannot be chosen");
        return refuse(r, "think", err);
    }
    add_flag(r, "enable_thinking", think->kind == QVL_JSON_TRUE || is_medium);
    return QVL_OK;
}

/* Ollama's names have a tag; the one that says nothing is left out. */
static void add_model(struct reader *r)
{
    static const char latest[] = ":latest";
    const size_t n_tag = sizeof latest - 1;
    const struct qvl_json_node *model = r->f.model;
    if (!model)
        return;
    bool is_tagged = model->n > n_tag && memcmp(model->utf8 + model->n - n_tag, latest, n_tag) == 0;
    qvl_json_nodes_add_string(&r->body, "model", model->utf8, model->n - (is_tagged ? n_tag : 0));
}

static enum qvl_status add_fields(struct reader *r, struct qvl_error *err)
{
    enum qvl_status status;
    add_model(r);
    add_flag(r, "stream", r->f.is_streamed);
    add_flag(r, "logprobs", r->f.want_logprobs);
    if (r->f.top_logprobs > 0) {
        const char *digits = qvl_arena_format(&r->ask->arena, err, "%u", r->f.top_logprobs);
        if (!digits)
            return err->status;
        add_integer(r, "top_logprobs", digits);
    }
    if (r->f.tools)
        qvl_json_nodes_add(&r->body, "tools", r->f.tools);
    if ((status = add_options(r, err)) || (status = add_format(r, err)))
        return status;
    return add_think(r, err);
}

/* ---- the conversation ---------------------------------------------------------------------------- */

/* Pictures or clips of a message: base64, or data: URIs. */
static void add_media(struct reader *r, const char *type, const struct qvl_json_node *list)
{
    const struct qvl_json_node *entry = list ? list + 1 : NULL;
    for (uint32_t i = 0; entry && list->kind == QVL_JSON_ARRAY && i < list->n_child;
         i++, entry = qvl_json_next(entry)) {
        qvl_json_nodes_open(&r->body, QVL_JSON_OBJECT, NULL);
        qvl_json_nodes_add_text(&r->body, "type", type);
        qvl_json_nodes_add(&r->body, "data", entry);
        qvl_json_nodes_close(&r->body);
    }
}

static void add_content(struct reader *r, const struct qvl_json_node *images, const struct qvl_json_node *videos,
                        const struct qvl_json_node *text)
{
    qvl_json_nodes_open(&r->body, QVL_JSON_ARRAY, "content");
    add_media(r, "image", images);
    add_media(r, "video", videos);
    if (text && text->kind == QVL_JSON_STRING && text->n > 0) {
        qvl_json_nodes_open(&r->body, QVL_JSON_OBJECT, NULL);
        qvl_json_nodes_add_text(&r->body, "type", "text");
        qvl_json_nodes_add(&r->body, "text", text);
        qvl_json_nodes_close(&r->body);
    }
    qvl_json_nodes_close(&r->body);
}

/* As it is, but for content that may be absent, and clips. */
static enum qvl_status add_message(struct reader *r, const struct qvl_json_node *message, uint32_t i,
                                   struct qvl_error *err)
{
    const struct qvl_json_node *content = qvl_json_member(message, "content"),
                               *images = qvl_json_member(message, "images"),
                               *videos = qvl_json_member(message, "videos"), *member = message + 1;
    if (message->kind != QVL_JSON_OBJECT || (content && !videos)) {
        qvl_json_nodes_add(&r->body, NULL, message);
        return QVL_OK;
    }
    if ((images && images->kind != QVL_JSON_ARRAY) || (videos && videos->kind != QVL_JSON_ARRAY) ||
        (content && content->kind != QVL_JSON_STRING)) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "messages[%u]: content must be a string, images and videos lists", i);
        return refuse(r, "messages", err);
    }
    qvl_json_nodes_open(&r->body, QVL_JSON_OBJECT, NULL);
    for (uint32_t k = 0; k < message->n_child; k++, member = qvl_json_next(member))
        if (!qvl_json_has_key(member, "content") && !qvl_json_has_key(member, "images") &&
            !qvl_json_has_key(member, "videos"))
            qvl_json_nodes_add(&r->body, NULL, member);
    add_content(r, images, videos, content);
    qvl_json_nodes_close(&r->body);
    return QVL_OK;
}

static enum qvl_status add_messages(struct reader *r, struct qvl_error *err)
{
    const struct qvl_json_node *message = r->f.messages + 1;
    enum qvl_status status = QVL_OK;
    qvl_json_nodes_open(&r->body, QVL_JSON_ARRAY, "messages");
    for (uint32_t i = 0; i < r->f.messages->n_child && !status; i++, message = qvl_json_next(message))
        status = add_message(r, message, i, err);
    qvl_json_nodes_close(&r->body);
    return status;
}

static void add_prompt(struct reader *r)
{
    qvl_json_nodes_open(&r->body, QVL_JSON_ARRAY, "messages");
    if (r->f.system && r->f.system->n > 0) {
        qvl_json_nodes_open(&r->body, QVL_JSON_OBJECT, NULL);
        qvl_json_nodes_add_text(&r->body, "role", "system");
        qvl_json_nodes_add(&r->body, "content", r->f.system);
        qvl_json_nodes_close(&r->body);
    }
    qvl_json_nodes_open(&r->body, QVL_JSON_OBJECT, NULL);
    qvl_json_nodes_add_text(&r->body, "role", "user");
    add_content(r, r->f.images, r->f.videos, r->f.prompt);
    qvl_json_nodes_close(&r->body);
    qvl_json_nodes_close(&r->body);
}

static bool has_entries(const struct qvl_json_node *list)
{
    return list && list->n_child > 0;
}

/* ---- the door ------------------------------------------------------------------------------------ */

/* The model stays, however long it is; but what is no time is a mistake. */
static enum qvl_status check_keep_alive(struct reader *r, struct qvl_error *err)
{
    const struct qvl_json_node *time = r->f.keep_alive;
    double seconds = 0;
    if (!time || time->kind == QVL_JSON_STRING || qvl_json_number(time, &seconds))
        return QVL_OK;
    qvl_fail(err, QVL_ERR_ARGUMENT, "keep_alive must be a number of seconds, or a time such as \"5m\"");
    return refuse(r, "keep_alive", err);
}

/* 0, in any unit of time: "0s". */
static bool is_unload(const struct qvl_json_node *keep_alive)
{
    double seconds = 1;
    if (!keep_alive)
        return false;
    if (keep_alive->kind != QVL_JSON_STRING)
        return qvl_json_number(keep_alive, &seconds) && seconds >= 0 && seconds <= 0;
    bool is_zero = keep_alive->n > 0 && keep_alive->utf8[0] == '0';
    for (size_t i = 0; i < keep_alive->n; i++)
        is_zero = is_zero && !(keep_alive->utf8[i] >= '1' && keep_alive->utf8[i] <= '9');
    return is_zero;
}

static enum qvl_status read_body(struct reader *r, const struct qvl_json_node *root, bool is_chat,
                                 struct qvl_error *err)
{
    const char *const places[] = {"system", qvl_text("the request")};
    struct qvl_chat_read_settings here = *r->settings;
    enum qvl_status status;
    r->f.is_streamed = true;
    if (root->kind != QVL_JSON_OBJECT)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the body must be a JSON object");
    status = is_chat ? qvl_fields_read(root, chat_fields, sizeof chat_fields / sizeof *chat_fields, &r->f,
                                       &r->chat->unknown, &r->chat->param, err)
                     : qvl_fields_read(root, generate_fields, sizeof generate_fields / sizeof *generate_fields,
                                       &r->f, &r->chat->unknown, &r->chat->param, err);
    if (status || (status = check_keep_alive(r, err)))
        return status;
    r->out->is_load =
        is_chat ? !has_entries(r->f.messages)
                : !(r->f.prompt && r->f.prompt->n > 0) && !has_entries(r->f.images) && !has_entries(r->f.videos);
    r->out->is_unload = r->out->is_load && is_unload(r->f.keep_alive);
    r->chat->is_streamed = r->f.is_streamed;
    if (r->out->is_load)
        return QVL_OK;
    qvl_json_nodes_open(&r->body, QVL_JSON_OBJECT, NULL);
    if ((status = add_fields(r, err)) || (is_chat && (status = add_messages(r, err))))
        return status;
    if (!is_chat) {
        add_prompt(r);
        here.media.message_name = places + !(r->f.system && r->f.system->n > 0);
    }
    qvl_json_nodes_close(&r->body);
    return qvl_chat_body_adapt(&r->body, renamed, sizeof renamed / sizeof *renamed, &here, r->ask, r->chat, err);
}

static enum qvl_status read_json(struct reader *r, const char *json, size_t n, bool is_chat, struct qvl_error *err)
{
    struct qvl_json_tree tree;
    *r->chat = (struct qvl_chat_body){0};
    *r->out = (struct qvl_ollama_body){0};
    enum qvl_status status =
        qvl_json_tree_read(json, n, qvl_text("the body"), QVL_MAX_BODY_VALUES, &r->ask->arena, &tree, err);
    if (!status)
        status = read_body(r, tree.node, is_chat, err);
    qvl_json_nodes_free(&r->body);
    qvl_json_tree_free(&tree);
    return status;
}

enum qvl_status qvl_ollama_chat_read(const char *json, size_t n, uint32_t n_ctx,
                                     const struct qvl_chat_read_settings *settings, struct qvl_ask *ask,
                                     struct qvl_chat_body *chat, struct qvl_ollama_body *out, struct qvl_error *err)
{
    struct reader r = {.n_ctx = n_ctx, .settings = settings, .ask = ask, .chat = chat, .out = out};
    return read_json(&r, json, n, true, err);
}

enum qvl_status qvl_ollama_generate_read(const char *json, size_t n, uint32_t n_ctx,
                                         const struct qvl_chat_read_settings *settings, struct qvl_ask *ask,
                                         struct qvl_chat_body *chat, struct qvl_ollama_body *out,
                                         struct qvl_error *err)
{
    struct reader r = {.n_ctx = n_ctx, .settings = settings, .ask = ask, .chat = chat, .out = out};
    return read_json(&r, json, n, false, err);
}
