/* A Responses body becomes a Chat Completions body, as a tree of JSON values, and openai_chat_read.c reads that: so
 * sampling, forms, tools and pictures mean the same in both APIs, and the same is refused. What has other names
 * there is renamed on the way, and back again in what is said about it.
 *
 *     input                                            messages
 *     instructions                                     {"role": "system"} at the front
 *     "text", {"role": "user", …}                      the same; parts have names of their own in both
 *     reasoning, assistant's message, function_calls   one message of the assistant, as the model wrote them
 *     function_call_output                             {"role": "tool"}
 *
 * Source of truth: openai-openapi, schema CreateResponse, and the types of OpenAI's SDKs. Nothing is kept between
 * requests: what refers to something kept is refused. */
#include "server/openai_responses_read.h"

#include <string.h>

#include "base/language.h"
#include "base/limits.h"
#include "server/field.h"
#include "server/openai_chat_adapt.h"

enum { MAX_METADATA = 16 };

/* Those of Chat Completions with the same name and meaning. */
static const char *const same[] = {
    "model",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "logit_bias",
    "ignore_eos",
    "stream",
    "stream_options",
    "parallel_tool_calls",
    "tool_choice",
    "service_tier",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "chat_template_kwargs",
    "mm_processor_kwargs",
    "media_io_kwargs",
    "structured_outputs",
};

/* Those with another name there: in what is said of them, too. */
static const struct qvl_renamed_field renamed[] = {
    {"max_completion_tokens", "max_output_tokens"},
    {"response_format", "text.format"},
    {"verbosity", "text.verbosity"},
    {"reasoning_effort", "reasoning.effort"},
    {"messages", "input"},
};

struct fields {
    const struct qvl_json_node *input, *instructions, *text, *reasoning, *tools, *include, *metadata, *truncation,
        *prompt_cache_options, *max_output_tokens;
    uint32_t top_logprobs, max_tool_calls;
};

#define AT(member) offsetof(struct fields, member)

static const char nothing_kept[] =
    QVL_SAID("is not offered: nothing is kept between requests; send the whole conversation as input");

static const char no_background[] = QVL_SAID("is not offered: an answer is made while its client waits");

static const struct qvl_field fields[] = {
    {"input", QVL_FIELD_ANY, AT(input), 0, 0, NULL},
    {"instructions", QVL_FIELD_STRING, AT(instructions), 0, 0, NULL},
    {"max_output_tokens", QVL_FIELD_ANY, AT(max_output_tokens), 0, 0, NULL},
    {"text", QVL_FIELD_OBJECT, AT(text), 0, 0, NULL},
    {"reasoning", QVL_FIELD_OBJECT, AT(reasoning), 0, 0, NULL},
    {"tools", QVL_FIELD_LIST, AT(tools), 0, 0, NULL},
    {"include", QVL_FIELD_LIST, AT(include), 0, 0, NULL},
    {"top_logprobs", QVL_FIELD_U32, AT(top_logprobs), 0, 20, NULL},
    {"metadata", QVL_FIELD_OBJECT, AT(metadata), 0, 0, NULL},
    {"truncation", QVL_FIELD_STRING, AT(truncation), 0, 0, NULL},
    /* of no effect: of tools that run in the server there are none, and caches need no hints */
    {"max_tool_calls", QVL_FIELD_U32, AT(max_tool_calls), 1, 4294967295.0, NULL},
    {"prompt_cache_options", QVL_FIELD_OBJECT, AT(prompt_cache_options), 0, 0, NULL},
    /* refused */
    {.name = "store", .refusal = nothing_kept},
    {.name = "previous_response_id", .refusal = nothing_kept},
    {.name = "conversation", .refusal = nothing_kept},
    {.name = "prompt", .refusal = nothing_kept},
    {.name = "background", .refusal = no_background},
    {.name = "background_options", .refusal = no_background},
    {.name = "context_management", .refusal = QVL_SAID("is not offered: a conversation is used whole")},
    {.name = "moderation", .refusal = QVL_SAID("is not offered")},
    {.name = "image",
     .refusal = QVL_SAID("is not offered: min_pixels and max_pixels say how large pictures are seen")},
};

struct reader {
    struct qvl_ask *ask;
    struct qvl_chat_body *out;
    struct qvl_bytes *echo;
    struct fields f;
    struct qvl_json_nodes chat; /* the body that it becomes */
    const char **place;         /* what the client calls each message */
    size_t n_message;
    /* the assistant's message that is open */
    enum { NO_TURN, AT_BEGIN, AT_CONTENT, AT_CALLS } turn;
    struct qvl_bytes reasoning;
};

static enum qvl_status refuse(struct reader *r, const char *param, struct qvl_error *err)
{
    r->out->param = param;
    return err->status;
}

/* ---- values as text ------------------------------------------------------------------------------ */

/* On one line, whatever white space it came with. */
static enum qvl_status add_value(struct qvl_bytes *out, const struct qvl_json_node *value, struct qvl_error *err)
{
    if (value->kind == QVL_JSON_STRING)
        return qvl_bytes_add_json_string(out, value->utf8, value->n, err);
    struct qvl_json_reader json = {.text = value->utf8, .n = value->n, .name = "", .status = QVL_ERR_ARGUMENT};
    enum qvl_status status = qvl_json_reader_next(&json, err);
    if (!status)
        status = qvl_json_reader_dump(&json, out, err);
    qvl_json_reader_free(&json);
    return status;
}

static enum qvl_status add_member(struct qvl_bytes *out, const char *key, const struct qvl_json_node *value,
                                  const char *absent, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_format(out, err, "%s\"%s\":", out->n > 0 ? "," : "", key);
    if (status)
        return status;
    return value ? add_value(out, value, err) : qvl_bytes_add_text(out, absent, err);
}

/* ---- tools --------------------------------------------------------------------------------------- */

/* {"type": "function", "name": …} becomes {"type": "function", "function": {"name": …}}, which is what the model's
 * template was written for. Whatever else it is stays as it is, and is refused later. */
static enum qvl_status add_tool(struct qvl_bytes *out, const struct qvl_json_node *tool, struct qvl_error *err)
{
    const struct qvl_json_node *type = qvl_json_member(tool, "type"), *member = tool + 1;
    const char *comma = "";
    if (!type || !qvl_json_equals(type, "function") || qvl_json_member(tool, "function"))
        return add_value(out, tool, err);
    enum qvl_status status = qvl_bytes_add_text(out, "{\"type\": \"function\", \"function\": {", err);
    for (uint32_t i = 0; i < tool->n_child && !status; i++, member = qvl_json_next(member)) {
        if (qvl_json_has_key(member, "type") || qvl_json_has_key(member, "strict") || member->kind == QVL_JSON_NULL)
            continue;
        if (!(status = qvl_bytes_add_text(out, comma, err)) &&
            !(status = qvl_bytes_add_json_string(out, member->key, member->n_key, err)) &&
            !(status = qvl_bytes_add_text(out, ": ", err)))
            status = add_value(out, member, err);
        comma = ", ";
    }
    return status ? status : qvl_bytes_add_text(out, "}}", err);
}

static enum qvl_status add_tools(struct reader *r, struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    struct qvl_json_tree tree = {0};
    if (!r->f.tools)
        return QVL_OK;
    const struct qvl_json_node *tool = r->f.tools + 1;
    enum qvl_status status = qvl_bytes_add_text(&text, "[", err);
    for (uint32_t i = 0; i < r->f.tools->n_child && !status; i++, tool = qvl_json_next(tool))
        if (!(status = qvl_bytes_add_text(&text, i ? ", " : "", err)))
            status = add_tool(&text, tool, err);
    if (!status)
        status = qvl_bytes_add_text(&text, "]", err);
    const char *copy = status ? NULL : qvl_arena_copy_text(&r->ask->arena, text.data, text.n, err);
    if (!status && !copy)
        status = err->status;
    if (!status)
        status = qvl_json_tree_read(copy, text.n, "tools", QVL_MAX_BODY_VALUES, &r->ask->arena, &tree, err);
    if (!status)
        qvl_json_nodes_add(&r->chat, "tools", tree.node);
    qvl_json_tree_free(&tree);
    qvl_bytes_free(&text);
    return status ? refuse(r, "tools", err) : QVL_OK;
}

/* ---- messages ------------------------------------------------------------------------------------ */

/* Of item i, or of no item: the instructions. */
static enum qvl_status open_message(struct reader *r, const char *place, uint32_t i, struct qvl_error *err)
{
    const char *name = qvl_arena_format(&r->ask->arena, err, place, i);
    r->place[r->n_message++] = name;
    qvl_json_nodes_open(&r->chat, QVL_JSON_OBJECT, NULL);
    return name ? QVL_OK : err->status;
}

/* What was reasoned stands before everything else that the assistant said. */
static enum qvl_status end_reasoning(struct reader *r, struct qvl_error *err)
{
    if (r->reasoning.n == 0)
        return QVL_OK;
    const char *text = qvl_arena_copy_text(&r->ask->arena, r->reasoning.data, r->reasoning.n, err);
    qvl_json_nodes_add_string(&r->chat, "reasoning_content", text, r->reasoning.n);
    r->reasoning.n = 0;
    return text ? QVL_OK : err->status;
}

static enum qvl_status end_turn(struct reader *r, struct qvl_error *err)
{
    if (r->turn == NO_TURN)
        return QVL_OK;
    enum qvl_status status = end_reasoning(r, err);
    if (r->turn == AT_CALLS)
        qvl_json_nodes_close(&r->chat);
    qvl_json_nodes_close(&r->chat);
    r->turn = NO_TURN;
    return status;
}

/* The assistant's message that item i belongs to: the open one, unless that has come further already. */
static enum qvl_status begin_turn(struct reader *r, uint32_t i, bool may_join, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (r->turn != NO_TURN && may_join)
        return QVL_OK;
    if ((status = end_turn(r, err)) || (status = open_message(r, "input[%u]", i, err)))
        return status;
    qvl_json_nodes_add_text(&r->chat, "role", "assistant");
    r->turn = AT_BEGIN;
    return QVL_OK;
}

/* Of the two lists of texts that it may have, the whole one. */
static enum qvl_status add_reasoning(struct reader *r, const struct qvl_json_node *item, uint32_t i,
                                     struct qvl_error *err)
{
    const struct qvl_json_node *content = qvl_json_member(item, "content");
    const char *key = content && content->n_child > 0 ? "content" : "summary";
    const struct qvl_json_node *list = qvl_json_member(item, key);
    enum qvl_status status = begin_turn(r, i, r->turn == AT_BEGIN, err);
    if (qvl_json_member(item, "encrypted_content"))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "input[%u].encrypted_content: cannot be read here", i);
    if (list && list->kind != QVL_JSON_ARRAY)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "input[%u].%s: must be a list of parts with text", i, key);
    const struct qvl_json_node *part = list ? list + 1 : NULL;
    for (uint32_t k = 0; list && k < list->n_child && !status; k++, part = qvl_json_next(part)) {
        const struct qvl_json_node *text = qvl_json_member(part, "text");
        if (!text || text->kind != QVL_JSON_STRING)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "input[%u].%s: must be a list of parts with text", i, key);
        if (!(status = qvl_bytes_add_text(&r->reasoning, r->reasoning.n > 0 ? "\n" : "", err)))
            status = qvl_bytes_add(&r->reasoning, text->utf8, text->n, err);
    }
    return status;
}

static enum qvl_status add_message(struct reader *r, const struct qvl_json_node *item, uint32_t i,
                                   struct qvl_error *err)
{
    const struct qvl_json_node *role = qvl_json_member(item, "role"), *content = qvl_json_member(item, "content");
    enum qvl_status status;
    if (role && qvl_json_equals(role, "assistant")) {
        if ((status = begin_turn(r, i, r->turn == AT_BEGIN, err)) || (status = end_reasoning(r, err)))
            return status;
        r->turn = AT_CONTENT;
        if (content)
            qvl_json_nodes_add(&r->chat, "content", content);
        return QVL_OK;
    }
    if ((status = end_turn(r, err)) || (status = open_message(r, "input[%u]", i, err)))
        return status;
    if (role)
        qvl_json_nodes_add(&r->chat, "role", role);
    if (content)
        qvl_json_nodes_add(&r->chat, "content", content);
    qvl_json_nodes_close(&r->chat);
    return QVL_OK;
}

static enum qvl_status add_call(struct reader *r, const struct qvl_json_node *item, uint32_t i,
                                struct qvl_error *err)
{
    static const char *const keys[] = {"name", "arguments", "call_id"};
    enum qvl_status status;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const struct qvl_json_node *value = qvl_json_member(item, keys[k]);
        if (!value || value->kind != QVL_JSON_STRING)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "input[%u].%s: must be a string", i, keys[k]);
    }
    if ((status = begin_turn(r, i, true, err)) || (status = end_reasoning(r, err)))
        return status;
    if (r->turn != AT_CALLS)
        qvl_json_nodes_open(&r->chat, QVL_JSON_ARRAY, "tool_calls");
    r->turn = AT_CALLS;
    qvl_json_nodes_open(&r->chat, QVL_JSON_OBJECT, NULL);
    qvl_json_nodes_add(&r->chat, "name", qvl_json_member(item, "name"));
    qvl_json_nodes_add(&r->chat, "arguments", qvl_json_member(item, "arguments"));
    qvl_json_nodes_close(&r->chat);
    return QVL_OK;
}

static enum qvl_status add_call_output(struct reader *r, const struct qvl_json_node *item, uint32_t i,
                                       struct qvl_error *err)
{
    const struct qvl_json_node *output = qvl_json_member(item, "output"), *call = qvl_json_member(item, "call_id");
    enum qvl_status status;
    if (!call || call->kind != QVL_JSON_STRING)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "input[%u].%s: must be a string", i, "call_id");
    if (!output || (output->kind != QVL_JSON_STRING && output->kind != QVL_JSON_ARRAY))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "input[%u].output: must be a string or a list of parts", i);
    if ((status = end_turn(r, err)) || (status = open_message(r, "input[%u]", i, err)))
        return status;
    qvl_json_nodes_add_text(&r->chat, "role", "tool");
    qvl_json_nodes_add(&r->chat, "content", output);
    qvl_json_nodes_close(&r->chat);
    return QVL_OK;
}

static enum qvl_status add_item(struct reader *r, const struct qvl_json_node *item, uint32_t i,
                                struct qvl_error *err)
{
    static const struct {
        const char *type;
        enum qvl_status (*add)(struct reader *r, const struct qvl_json_node *item, uint32_t i,
                               struct qvl_error *err);
    } kinds[] = {{"message", add_message},
                 {"function_call", add_call},
                 {"function_call_output", add_call_output},
                 {"reasoning", add_reasoning}};
    const struct qvl_json_node *type = qvl_json_member(item, "type");
    if (item->kind != QVL_JSON_OBJECT)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "input[%u]: must be an object, such as a message", i);
    if (type ? qvl_json_equals(type, "item_reference") : !qvl_json_member(item, "role"))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "input[%u]: nothing is kept between requests, so no item can be referred to", i);
    if (!type)
        return add_message(r, item, i, err);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (qvl_json_equals(type, kinds[k].type))
            return kinds[k].add(r, item, i, err);
    return qvl_fail(
        err, QVL_ERR_ARGUMENT,
        "input[%u]: the type %.*s is not offered; message, function_call, function_call_output and reasoning "
        "are",
        i, type->kind == QVL_JSON_STRING && type->n < 40 ? (int)type->n : 0, type->utf8);
}

static enum qvl_status add_messages(struct reader *r, struct qvl_error *err)
{
    const struct qvl_json_node *input = r->f.input;
    enum qvl_status status = QVL_OK;
    if (!input || (input->kind != QVL_JSON_STRING && input->kind != QVL_JSON_ARRAY)) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "input must be a string or a list of items");
        return refuse(r, "input", err);
    }
    bool is_list = input->kind == QVL_JSON_ARRAY;
    r->place =
        qvl_arena_alloc(&r->ask->arena, (is_list ? input->n_child : 1) + 1, sizeof *r->place, "messages", err);
    if (!r->place)
        return err->status;
    qvl_json_nodes_open(&r->chat, QVL_JSON_ARRAY, "messages");
    if (r->f.instructions) {
        status = open_message(r, "instructions", 0, err);
        qvl_json_nodes_add_text(&r->chat, "role", "system");
        qvl_json_nodes_add(&r->chat, "content", r->f.instructions);
        qvl_json_nodes_close(&r->chat);
    }
    if (!is_list && !status) {
        status = open_message(r, "input", 0, err);
        qvl_json_nodes_add_text(&r->chat, "role", "user");
        qvl_json_nodes_add(&r->chat, "content", input);
        qvl_json_nodes_close(&r->chat);
    }
    const struct qvl_json_node *item = input + 1;
    for (uint32_t i = 0; is_list && i < input->n_child && !status; i++, item = qvl_json_next(item))
        status = add_item(r, item, i, err);
    if (!status)
        status = end_turn(r, err);
    qvl_json_nodes_close(&r->chat);
    return status ? refuse(r, "input", err) : QVL_OK;
}

/* ---- the other fields ---------------------------------------------------------------------------- */

/* {"format": {"type", …}, "verbosity"}; the format has Chat Completions' members, one level higher. */
static enum qvl_status add_text_options(struct reader *r, struct qvl_error *err)
{
    struct text {
        const struct qvl_json_node *format, *verbosity;
    } text = {0};
    static const struct qvl_field table[] = {
        {"format", QVL_FIELD_OBJECT, offsetof(struct text, format), 0, 0, NULL},
        {"verbosity", QVL_FIELD_ANY, offsetof(struct text, verbosity), 0, 0, NULL},
    };
    if (!r->f.text)
        return QVL_OK;
    enum qvl_status status = qvl_fields_read(r->f.text, table, sizeof table / sizeof *table, &text,
                                             &r->out->unknown, &r->out->param, err);
    if (status)
        return refuse(r, "text", err);
    if (text.format)
        qvl_json_nodes_add(&r->chat, "response_format", text.format);
    if (text.verbosity)
        qvl_json_nodes_add(&r->chat, "verbosity", text.verbosity);
    return QVL_OK;
}

/* How much is thought is the model's affair; summaries of it are not written. */
static enum qvl_status add_reasoning_options(struct reader *r, struct qvl_error *err)
{
    struct reasoning {
        const struct qvl_json_node *effort, *summary, *old_summary, *context, *mode;
    } reasoning = {0};
    static const struct qvl_field table[] = {
        {"effort", QVL_FIELD_STRING, offsetof(struct reasoning, effort), 0, 0, NULL},
        {"summary", QVL_FIELD_STRING, offsetof(struct reasoning, summary), 0, 0, NULL},
        {"generate_summary", QVL_FIELD_STRING, offsetof(struct reasoning, old_summary), 0, 0, NULL},
        {"context", QVL_FIELD_STRING, offsetof(struct reasoning, context), 0, 0, NULL},
        {"mode", QVL_FIELD_STRING, offsetof(struct reasoning, mode), 0, 0, NULL},
    };
    if (!r->f.reasoning)
        return QVL_OK;
    enum qvl_status status = qvl_fields_read(r->f.reasoning, table, sizeof table / sizeof *table, &reasoning,
                                             &r->out->unknown, &r->out->param, err);
    const struct {
        const char *name, *word;
        const struct qvl_json_node *value;
    } plain[] = {{"reasoning.summary", "auto", reasoning.summary},
                 {"reasoning.generate_summary", "auto", reasoning.old_summary},
                 {"reasoning.context", "auto", reasoning.context},
                 {"reasoning.mode", "standard", reasoning.mode}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain && !status; i++)
        if (plain[i].value && !qvl_json_equals(plain[i].value, plain[i].word)) {
            qvl_fail(err, QVL_ERR_ARGUMENT, "%s: this model and server know only \"%s\"", plain[i].name,
                     plain[i].word);
            return refuse(r, plain[i].name, err);
        }
    if (status)
        return refuse(r, "reasoning", err);
    if (reasoning.effort)
        qvl_json_nodes_add(&r->chat, "reasoning_effort", reasoning.effort);
    return QVL_OK;
}

/* Log probabilities can be had; all else belongs to tools of OpenAI's servers. Reasoning is not encrypted: it is
 * there. */
static enum qvl_status read_include(struct reader *r, bool *want_logprobs, struct qvl_error *err)
{
    const struct qvl_json_node *entry = r->f.include ? r->f.include + 1 : NULL;
    for (uint32_t i = 0; entry && i < r->f.include->n_child; i++, entry = qvl_json_next(entry)) {
        if (qvl_json_equals(entry, "message.output_text.logprobs")) {
            *want_logprobs = true;
        } else if (!qvl_json_equals(entry, "reasoning.encrypted_content")) {
            qvl_fail(err, QVL_ERR_ARGUMENT, "include[%u]: only \"message.output_text.logprobs\" is offered", i);
            return refuse(r, "include", err);
        }
    }
    return QVL_OK;
}

static enum qvl_status add_options(struct reader *r, struct qvl_error *err)
{
    const struct qvl_json_node yes = {.kind = QVL_JSON_TRUE, .n_node = 1, .utf8 = "true", .n = 4};
    struct qvl_json_node number = {.kind = QVL_JSON_INTEGER, .n_node = 1};
    bool want_logprobs = r->f.top_logprobs > 0;
    enum qvl_status status;
    if ((status = read_include(r, &want_logprobs, err)) || (status = add_text_options(r, err)) ||
        (status = add_reasoning_options(r, err)))
        return status;
    if (r->f.truncation && !qvl_json_equals(r->f.truncation, "disabled")) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "truncation is not offered: a conversation is used whole");
        return refuse(r, "truncation", err);
    }
    if (r->f.metadata && r->f.metadata->n_child > MAX_METADATA) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "metadata has %u entries; at most %u are possible", r->f.metadata->n_child,
                 MAX_METADATA);
        return refuse(r, "metadata", err);
    }
    if (r->f.max_output_tokens)
        qvl_json_nodes_add(&r->chat, "max_completion_tokens", r->f.max_output_tokens);
    if (want_logprobs) {
        char *digits = qvl_arena_format(&r->ask->arena, err, "%u", r->f.top_logprobs);
        if (!digits)
            return err->status;
        number.utf8 = digits;
        number.n = strlen(digits);
        qvl_json_nodes_add(&r->chat, "logprobs", &yes);
        qvl_json_nodes_add(&r->chat, "top_logprobs", &number);
    }
    return QVL_OK;
}

/* ---- what a response repeats --------------------------------------------------------------------- */

static enum qvl_status write_echo(struct reader *r, const struct qvl_json_node *root, struct qvl_error *err)
{
    struct qvl_bytes *out = r->echo;
    const struct qvl_sampling *s = &r->ask->options.sampling;
    const struct {
        const char *key, *absent;
    } list[] = {{"instructions", "null"},
                {"max_output_tokens", "null"},
                {"max_tool_calls", "null"},
                {"metadata", "{}"},
                {"parallel_tool_calls", "true"},
                {"prompt_cache_key", "null"},
                {"reasoning", "{\"effort\":null,\"summary\":null}"},
                {"safety_identifier", "null"},
                {"text", "{\"format\":{\"type\":\"text\"}}"},
                {"tool_choice", "\"auto\""},
                {"tools", "[]"},
                {"user", "null"}};
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < sizeof list / sizeof *list && !status; i++)
        status = add_member(out, list[i].key, qvl_json_member(root, list[i].key), list[i].absent, err);
    if (status)
        return status;
    return qvl_bytes_add_format(out, err,
                                ",\"background\":false,\"previous_response_id\":null,\"service_tier\":\"default\","
                                "\"store\":false,\"temperature\":%.7g,\"top_logprobs\":%u,\"top_p\":%.7g,"
                                "\"truncation\":\"disabled\"",
                                (double)s->temperature, r->f.top_logprobs, (double)s->top_p);
}

/* ---- the door ------------------------------------------------------------------------------------ */

static bool is_same(const struct qvl_json_node *member)
{
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (qvl_json_has_key(member, same[i]))
            return true;
    return false;
}

/* What has the same name goes on as it is; the rest is read here. */
static enum qvl_status read_own(struct reader *r, const struct qvl_json_node *root, struct qvl_json_nodes *own,
                                struct qvl_error *err)
{
    const struct qvl_json_node *member = root + 1;
    qvl_json_nodes_open(&r->chat, QVL_JSON_OBJECT, NULL);
    qvl_json_nodes_open(own, QVL_JSON_OBJECT, NULL);
    for (uint32_t i = 0; i < root->n_child; i++, member = qvl_json_next(member))
        qvl_json_nodes_add(is_same(member) ? &r->chat : own, NULL, member);
    qvl_json_nodes_close(own);
    if (own->is_failed)
        return qvl_fail_memory(err, 0, "JSON");
    return qvl_fields_read(own->node, fields, sizeof fields / sizeof *fields, &r->f, &r->out->unknown,
                           &r->out->param, err);
}

/* With the conversation in place: as Chat Completions. */
static enum qvl_status read_chat(struct reader *r, const struct qvl_chat_read_settings *settings,
                                 struct qvl_error *err)
{
    struct qvl_chat_read_settings here = *settings;
    here.media.message_name = r->place;
    qvl_json_nodes_close(&r->chat);
    return qvl_chat_body_adapt(&r->chat, renamed, sizeof renamed / sizeof *renamed, &here, r->ask, r->out, err);
}

enum qvl_status qvl_responses_body_read(const char *json, size_t n, const struct qvl_chat_read_settings *settings,
                                        struct qvl_ask *ask, struct qvl_chat_body *out, struct qvl_bytes *echo,
                                        struct qvl_error *err)
{
    struct reader r = {.ask = ask, .out = out, .echo = echo};
    struct qvl_json_tree tree;
    struct qvl_json_nodes own = {0};
    *out = (struct qvl_chat_body){0};
    *echo = (struct qvl_bytes){0};
    enum qvl_status status =
        qvl_json_tree_read(json, n, qvl_text("the body"), QVL_MAX_BODY_VALUES, &ask->arena, &tree, err);
    if (status)
        goto fail;
    if (tree.node->kind != QVL_JSON_OBJECT) {
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "the body must be a JSON object");
        goto fail;
    }
    if ((status = read_own(&r, tree.node, &own, err)) || (status = add_options(&r, err)) ||
        (status = add_tools(&r, err)) || (status = add_messages(&r, err)) ||
        (status = read_chat(&r, settings, err)))
        goto fail;
    status = write_echo(&r, tree.node, err);
fail:
    qvl_bytes_free(&r.reasoning);
    qvl_json_nodes_free(&r.chat);
    qvl_json_nodes_free(&own);
    qvl_json_tree_free(&tree);
    return status;
}
