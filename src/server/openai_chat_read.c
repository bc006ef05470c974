/* Source of truth: OpenAI's openai-openapi, schema CreateChatCompletionRequest, and what vLLM adds to it (its
 * ChatCompletionRequest), since clients of local servers send both. A field stands in one of the tables below, or
 * it is unknown. What has no effect on the answer (who asks, hints for caches) is checked and left; whatever would
 * have one is done or refused. */
#include "server/openai_chat_read.h"

#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "base/limits.h"
#include "server/field.h"

enum { MAX_TOP_LOGPROBS = 20, MAX_LABEL_BYTES = 1024, MAX_TOOL_NAME_BYTES = 128 };

static const uint64_t NO_NUMBER = UINT64_MAX / 2; /* a field that was not there */
static const uint64_t MINUS_ONE = UINT64_MAX;
static const double LEAST_TEMPERATURE = 1e-6; /* the engine's, above 0 */

struct fields {
    struct qvl_sampling sampling;
    const struct qvl_json_node *messages, *model, *stop, *logit_bias, *stream_options, *response_format,
        *json_schema, *guided_json, *guided_regex, *guided_choice, *structured_outputs, *tools, *tool_choice,
        *chat_template_kwargs, *mm_processor_kwargs, *media_io_kwargs, *modalities, *reasoning_effort, *verbosity,
        *service_tier, *web_search_options;
    const struct qvl_json_node *label;          /* of no effect here */
    uint64_t max_tokens, max_completion_tokens; /* NO_NUMBER; MINUS_ONE: the engine's limit */
    uint64_t top_k;                             /* MINUS_ONE: all */
    uint32_t n, top_logprobs;
    bool is_streamed, want_logprobs, want_parallel_calls, ignore_eos, is_open, want_prompt_end, want_thinking,
        want_special_skipped, want_spaces;
};

#define AT(member) offsetof(struct fields, member)
#define MAX_WHOLE 4294967295.0

static const char no_such_sampling[] =
    QVL_SAID("is not offered: top_k, top_p, min_p, temperature and penalties are");
static const char no_token_ids[] =
    QVL_SAID("is not offered: answers are text, and logprobs have each token's bytes");
static const char no_such_form[] =
    QVL_SAID("is not offered: response_format and structured_outputs take JSON schemas, regular "
             "expressions and choices");

static const struct qvl_field fields[] = {
    {"messages", QVL_FIELD_LIST, AT(messages), 1, QVL_MAX_MESSAGES, NULL},
    {"model", QVL_FIELD_STRING, AT(model), 0, MAX_LABEL_BYTES, NULL},
    /* how much, how */
    {"max_tokens", QVL_FIELD_U64, AT(max_tokens), -1, QVL_MAX_TOKENS, NULL},
    {"max_completion_tokens", QVL_FIELD_U64, AT(max_completion_tokens), -1, QVL_MAX_TOKENS, NULL},
    {"temperature", QVL_FIELD_F32, AT(sampling.temperature), 0, 2, NULL},
    {"top_p", QVL_FIELD_F32, AT(sampling.top_p), 0, 1, NULL},
    {"top_k", QVL_FIELD_U64, AT(top_k), -1, MAX_WHOLE, NULL},
    {"min_p", QVL_FIELD_F32, AT(sampling.min_p), 0, 1, NULL},
    {"repetition_penalty", QVL_FIELD_F32, AT(sampling.repetition_penalty), 0.01, 100, NULL},
    {"presence_penalty", QVL_FIELD_F32, AT(sampling.presence_penalty), -2, 2, NULL},
    {"frequency_penalty", QVL_FIELD_F32, AT(sampling.frequency_penalty), -2, 2, NULL},
    {"seed", QVL_FIELD_U64, AT(sampling.seed), -9223372036854775808.0, 18446744073709551615.0, NULL},
    {"stop", QVL_FIELD_ANY, AT(stop), 0, 0, NULL},
    {"ignore_eos", QVL_FIELD_BOOL, AT(ignore_eos), 0, 0, NULL},
    {"logit_bias", QVL_FIELD_OBJECT, AT(logit_bias), 0, 0, NULL},
    {"n", QVL_FIELD_U32, AT(n), 1, QVL_MAX_ANSWERS, NULL},
    /* what comes back */
    {"stream", QVL_FIELD_BOOL, AT(is_streamed), 0, 0, NULL},
    {"stream_options", QVL_FIELD_OBJECT, AT(stream_options), 0, 0, NULL},
    {"logprobs", QVL_FIELD_BOOL, AT(want_logprobs), 0, 0, NULL},
    {"top_logprobs", QVL_FIELD_U32, AT(top_logprobs), 0, MAX_TOP_LOGPROBS, NULL},
    {"modalities", QVL_FIELD_LIST, AT(modalities), 0, 0, NULL},
    /* its form */
    {"response_format", QVL_FIELD_OBJECT, AT(response_format), 0, 0, NULL},
    {"json_schema", QVL_FIELD_ANY, AT(json_schema), 0, 0, NULL},
    {"guided_json", QVL_FIELD_ANY, AT(guided_json), 0, 0, NULL},
    {"guided_regex", QVL_FIELD_ANY, AT(guided_regex), 0, 0, NULL},
    {"guided_choice", QVL_FIELD_ANY, AT(guided_choice), 0, 0, NULL},
    {"structured_outputs", QVL_FIELD_OBJECT, AT(structured_outputs), 0, 0, NULL},
    {"tools", QVL_FIELD_LIST, AT(tools), 0, QVL_MAX_TOOLS, NULL},
    {"tool_choice", QVL_FIELD_ANY, AT(tool_choice), 0, 0, NULL},
    {"parallel_tool_calls", QVL_FIELD_BOOL, AT(want_parallel_calls), 0, 0, NULL},
    /* the prompt */
    {"chat_template_kwargs", QVL_FIELD_OBJECT, AT(chat_template_kwargs), 0, 0, NULL},
    {"enable_thinking", QVL_FIELD_BOOL, AT(want_thinking), 0, 0, NULL},
    {"continue_final_message", QVL_FIELD_BOOL, AT(is_open), 0, 0, NULL},
    {"add_generation_prompt", QVL_FIELD_BOOL, AT(want_prompt_end), 0, 0, NULL},
    {"mm_processor_kwargs", QVL_FIELD_OBJECT, AT(mm_processor_kwargs), 0, 0, NULL},
    {"media_io_kwargs", QVL_FIELD_OBJECT, AT(media_io_kwargs), 0, 0, NULL},
    /* one value only */
    {"reasoning_effort", QVL_FIELD_STRING, AT(reasoning_effort), 0, 0, NULL},
    {"verbosity", QVL_FIELD_STRING, AT(verbosity), 0, 0, NULL},
    {"service_tier", QVL_FIELD_STRING, AT(service_tier), 0, 0, NULL},
    {"skip_special_tokens", QVL_FIELD_BOOL, AT(want_special_skipped), 0, 0, NULL},
    {"spaces_between_special_tokens", QVL_FIELD_BOOL, AT(want_spaces), 0, 0, NULL},
    {"web_search_options", QVL_FIELD_ANY, AT(web_search_options), 0, 0, NULL},
    /* of no effect on an answer: who asks, and hints for caches, which need none here */
    {"user", QVL_FIELD_STRING, AT(label), 0, MAX_LABEL_BYTES, NULL},
    {"safety_identifier", QVL_FIELD_STRING, AT(label), 0, MAX_LABEL_BYTES, NULL},
    {"prompt_cache_key", QVL_FIELD_STRING, AT(label), 0, MAX_LABEL_BYTES, NULL},
    {"prompt_cache_retention", QVL_FIELD_STRING, AT(label), 0, MAX_LABEL_BYTES, NULL},
    {"request_id", QVL_FIELD_STRING, AT(label), 0, MAX_LABEL_BYTES, NULL},
    {"metadata", QVL_FIELD_OBJECT, AT(label), 0, 0, NULL},
    /* refused */
    {.name = "functions", .refusal = QVL_SAID("is an old form that is not offered: send tools")},
    {.name = "function_call", .refusal = QVL_SAID("is an old form that is not offered: send tool_choice")},
    {.name = "audio", .refusal = QVL_SAID("is not offered: answers are text")},
    {.name = "prediction", .refusal = QVL_SAID("is not offered: what repeats itself is guessed without it")},
    {.name = "store", .refusal = QVL_SAID("is not offered: nothing is kept of a conversation")},
    {.name = "moderation", .refusal = QVL_SAID("is not offered")},
    {.name = "priority", .refusal = QVL_SAID("is not offered: turns are shared out equally")},
    {.name = "echo", .refusal = QVL_SAID("is not offered: the answer begins where the prompt ends")},
    {.name = "documents", .refusal = QVL_SAID("is not offered: put them into messages")},
    {.name = "chat_template", .refusal = QVL_SAID("is not offered: the model has its own")},
    {.name = "add_special_tokens", .refusal = QVL_SAID("is not offered: the model's template has them")},
    {.name = "truncate_prompt_tokens", .refusal = QVL_SAID("is not offered: a prompt is used whole")},
    {.name = "cache_salt", .refusal = QVL_SAID("is not offered: caches are kept apart by API key")},
    {.name = "min_tokens", .refusal = no_such_sampling},
    {.name = "stop_token_ids", .refusal = QVL_SAID("is not offered: stop takes strings")},
    {.name = "include_stop_str_in_output", .refusal = QVL_SAID("is not offered: stop_reason has the string")},
    {.name = "bad_words", .refusal = QVL_SAID("is not offered: logit_bias is")},
    {.name = "allowed_token_ids", .refusal = QVL_SAID("is not offered: logit_bias is")},
    {.name = "use_beam_search", .refusal = no_such_sampling},
    {.name = "best_of", .refusal = QVL_SAID("is not offered: n is")},
    {.name = "length_penalty", .refusal = no_such_sampling},
    {.name = "logits_processors", .refusal = no_such_sampling},
    {.name = "thinking_token_budget", .refusal = no_such_sampling},
    {.name = "prompt_logprobs", .refusal = QVL_SAID("is not offered: qvl compare scores given tokens")},
    {.name = "return_tokens_as_token_ids", .refusal = no_token_ids},
    {.name = "return_token_ids", .refusal = no_token_ids},
    {.name = "guided_grammar", .refusal = no_such_form},
    {.name = "grammar", .refusal = no_such_form},
    {.name = "structural_tag", .refusal = no_such_form},
};

/* ---- small values -------------------------------------------------------------------------------- */

struct tool {
    const struct qvl_json_node *node, *name;
    bool is_allowed; /* by name */
};

struct reader {
    const struct qvl_chat_read_settings *settings;
    struct qvl_ask *ask;
    struct qvl_chat_body *body;
    struct fields f;
    struct tool *tool; /* [n_tool] in the arena */
    uint32_t n_tool;
    const char *tool_name; /* the one to be called; or NULL */
};

static enum qvl_status refuse(struct reader *r, const char *param, struct qvl_error *err)
{
    r->body->param = param;
    return err->status;
}

/* A string as C has them; `param` begins the sentence. */
static enum qvl_status copy_string(struct reader *r, const char *param, const struct qvl_json_node *node,
                                   const char **out, struct qvl_error *err)
{
    if (node->kind != QVL_JSON_STRING)
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be a string", param);
    else if (memchr(node->utf8, 0, node->n))
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s holds a NUL character", param);
    else if ((*out = qvl_arena_copy_text(&r->ask->arena, node->utf8, node->n, err)))
        return QVL_OK;
    return refuse(r, param, err);
}

/* A list of strings of 1 to max_bytes, or one string (max_strings 1 or more). */
static enum qvl_status copy_strings(struct reader *r, const char *param, const struct qvl_json_node *node,
                                    size_t max_strings, size_t max_bytes, const char *const **out, size_t *out_n,
                                    struct qvl_error *err)
{
    bool is_list = node->kind == QVL_JSON_ARRAY;
    size_t n = is_list ? node->n_child : 1;
    if (n > max_strings) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s has %zu strings; at most %zu are possible", param, n, max_strings);
        return refuse(r, param, err);
    }
    const char **string = qvl_arena_alloc(&r->ask->arena, n, sizeof *string, "strings", err);
    if (!string)
        return err->status;
    const struct qvl_json_node *entry = is_list ? node + 1 : node;
    for (size_t i = 0; i < n; i++, entry = qvl_json_next(entry)) {
        enum qvl_status status = copy_string(r, param, entry, &string[i], err);
        if (status)
            return status;
        if (entry->n == 0 || entry->n > max_bytes) {
            qvl_fail(err, QVL_ERR_ARGUMENT, "%s: a string must have 1 to %zu bytes", param, max_bytes);
            return refuse(r, param, err);
        }
    }
    *out = string;
    *out_n = n;
    return QVL_OK;
}

/* A field of which one value only is the way things are here: that one, or none. */
static enum qvl_status check_word(struct reader *r, const char *param, const struct qvl_json_node *node,
                                  const char *const *word, size_t n_word, struct qvl_error *err)
{
    if (!node)
        return QVL_OK;
    for (size_t i = 0; i < n_word; i++)
        if (qvl_json_equals(node, word[i]))
            return QVL_OK;
    qvl_fail(err, QVL_ERR_ARGUMENT, "%s: this model and server know only \"%s\"", param, word[0]);
    return refuse(r, param, err);
}

/* ---- how much, how ------------------------------------------------------------------------------- */

static enum qvl_status read_lengths(struct reader *r, struct qvl_error *err)
{
    const uint64_t old = r->f.max_tokens, new = r->f.max_completion_tokens;
    const char *param = new == NO_NUMBER ? "max_tokens" : "max_completion_tokens";
    uint64_t n = new == NO_NUMBER ? old : new;
    if (n == NO_NUMBER)
        return QVL_OK;
    if (old != NO_NUMBER && old != n)
        qvl_fail(err, QVL_ERR_ARGUMENT, "max_completion_tokens and max_tokens are the same, and differ");
    else if (n == 0)
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be at least 1", param);
    else {
        r->ask->options.max_tokens = n == MINUS_ONE ? 0 : (uint32_t)n;
        return QVL_OK;
    }
    return refuse(r, param, err);
}

/* Temperature 0, and what is as good as that, is plain greedy: then only penalties that the request asks for count.
 */
static void choose_penalties(struct reader *r, const struct qvl_json_node *root)
{
    const struct qvl_json_node *node = qvl_json_member(root, "temperature");
    double temperature = 1;
    if (!node || !qvl_json_number(node, &temperature) || temperature >= LEAST_TEMPERATURE)
        return;
    r->f.sampling.repetition_penalty = 1;
    r->f.sampling.presence_penalty = r->f.sampling.frequency_penalty = 0;
}

static enum qvl_status read_stop(struct reader *r, struct qvl_error *err)
{
    struct qvl_request_options *o = &r->ask->options;
    if (!r->f.stop)
        return QVL_OK;
    return copy_strings(r, "stop", r->f.stop, QVL_MAX_STOP_STRINGS, QVL_MAX_STOP_BYTES, &o->stop, &o->n_stop, err);
}

/* {"15339": -100, …} */
static enum qvl_status read_bias(struct reader *r, struct qvl_error *err)
{
    static const char param[] = "logit_bias";
    const struct qvl_json_node *object = r->f.logit_bias;
    if (!object || object->n_child == 0)
        return QVL_OK;
    if (object->n_child > QVL_MAX_LOGIT_BIAS) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s has %u tokens; at most %u are possible", param, object->n_child,
                 QVL_MAX_LOGIT_BIAS);
        return refuse(r, param, err);
    }
    struct qvl_logit_bias *bias = qvl_arena_alloc(&r->ask->arena, object->n_child, sizeof *bias, "biases", err);
    if (!bias)
        return err->status;
    const struct qvl_json_node *member = object + 1;
    for (uint32_t i = 0; i < object->n_child; i++, member = qvl_json_next(member)) {
        double value = 0;
        uint64_t id = 0;
        bool is_id = member->n_key > 0 && member->n_key < 10;
        for (size_t k = 0; k < member->n_key && is_id; k++) {
            is_id = member->key[k] >= '0' && member->key[k] <= '9';
            id = id * 10 + (uint64_t)(member->key[k] - '0');
        }
        if (!is_id || !qvl_json_number(member, &value) || value < -100 || value > 100) {
            qvl_fail(err, QVL_ERR_ARGUMENT,
                     "%s must have token numbers as keys and numbers from -100 to 100 as values", param);
            return refuse(r, param, err);
        }
        bias[i] = (struct qvl_logit_bias){.id = (uint32_t)id, .bias = (float)value};
    }
    r->ask->options.logit_bias = bias;
    r->ask->options.n_logit_bias = object->n_child;
    return QVL_OK;
}

static enum qvl_status read_numbers(struct reader *r, struct qvl_error *err)
{
    struct qvl_request_options *o = &r->ask->options;
    enum qvl_status status;
    if ((status = read_lengths(r, err)) || (status = read_stop(r, err)) || (status = read_bias(r, err)))
        return status;
    r->ask->n = r->f.n;
    o->sampling = r->f.sampling;
    if (o->sampling.temperature < (float)LEAST_TEMPERATURE)
        o->sampling.temperature = 0;
    o->sampling.top_k = r->f.top_k == MINUS_ONE ? 0 : (uint32_t)r->f.top_k;
    o->ignore_eos = r->f.ignore_eos;
    return QVL_OK;
}

/* ---- what comes back ----------------------------------------------------------------------------- */

static enum qvl_status read_stream_options(struct reader *r, struct qvl_error *err)
{
    static const struct qvl_field table[] = {
        {"include_usage", QVL_FIELD_BOOL, offsetof(struct qvl_chat_body, want_usage), 0, 0, NULL},
        {"include_progress", QVL_FIELD_BOOL, offsetof(struct qvl_chat_body, want_progress), 0, 0, NULL},
        {.name = "include_obfuscation", .refusal = QVL_SAID("is not offered")},
        {.name = "continuous_usage_stats", .refusal = QVL_SAID("is not offered: include_usage is")},
    };
    if (!r->f.stream_options)
        return QVL_OK;
    if (!r->f.is_streamed) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s is possible with stream only", "stream_options");
        return refuse(r, "stream_options", err);
    }
    return qvl_fields_read(r->f.stream_options, table, sizeof table / sizeof *table, r->body, &r->body->unknown,
                           &r->body->param, err);
}

static enum qvl_status read_output(struct reader *r, struct qvl_error *err)
{
    static const char *const text[] = {"text"};
    enum qvl_status status = read_stream_options(r, err);
    if (status)
        return status;
    r->body->is_streamed = r->f.is_streamed;
    r->body->want_logprobs = r->ask->options.want_log_sum = r->f.want_logprobs;
    r->ask->options.n_top_logits = r->f.top_logprobs;
    if (r->f.top_logprobs > 0 && !r->f.want_logprobs) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s is possible with logprobs only", "top_logprobs");
        return refuse(r, "top_logprobs", err);
    }
    const struct qvl_json_node *modality = r->f.modalities ? r->f.modalities + 1 : NULL;
    for (uint32_t i = 0; modality && i < r->f.modalities->n_child; i++, modality = qvl_json_next(modality))
        if ((status = check_word(r, "modalities", modality, text, 1, err)))
            return status;
    return QVL_OK;
}

/* Levels that the model does not have: what is said is what it does anyway, or an error. */
static enum qvl_status check_words(struct reader *r, struct qvl_error *err)
{
    static const char *const thinks[] = {"medium"}, *const answers[] = {"none", "minimal"},
                             *const plain[] = {"medium"}, *const tiers[] = {"auto", "default"};
    bool is_thinking = r->settings->is_thinking;
    enum qvl_status status;
    if ((status = check_word(r, "reasoning_effort", r->f.reasoning_effort, is_thinking ? thinks : answers,
                             is_thinking ? 1 : 2, err)) ||
        (status = check_word(r, "verbosity", r->f.verbosity, plain, 1, err)) ||
        (status = check_word(r, "service_tier", r->f.service_tier, tiers, 2, err)))
        return status;
    const char *param = !r->f.want_special_skipped ? "skip_special_tokens"
                        : !r->f.want_spaces        ? "spaces_between_special_tokens"
                                                   : NULL;
    if (param)
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s: an answer's text has no special tokens", param);
    else if (r->f.web_search_options)
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s is not offered: nothing is fetched for an answer",
                 param = "web_search_options");
    return param ? refuse(r, param, err) : QVL_OK;
}

/* ---- its form ------------------------------------------------------------------------------------ */

static enum qvl_status claim_form(struct reader *r, const char *param, struct qvl_error *err)
{
    if (r->body->form) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s and %s both say what form the answer must have", r->body->form, param);
        return refuse(r, param, err);
    }
    r->body->form = param;
    return QVL_OK;
}

/* The schema itself, or a string that holds it. */
static enum qvl_status set_schema(struct reader *r, const char *param, const struct qvl_json_node *schema,
                                  struct qvl_error *err)
{
    enum qvl_status status = claim_form(r, param, err);
    if (status)
        return status;
    if (schema && schema->kind != QVL_JSON_OBJECT && schema->kind != QVL_JSON_STRING) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the schema must be an object", param);
        return refuse(r, param, err);
    }
    struct qvl_constraint *c = &r->ask->options.constraint;
    if (!schema) {
        c->kind = QVL_CONSTRAINT_JSON;
        return QVL_OK;
    }
    *c = (struct qvl_constraint){.kind = QVL_CONSTRAINT_JSON_SCHEMA, .n = schema->n};
    c->text = qvl_arena_copy_text(&r->ask->arena, schema->utf8, schema->n, err);
    return c->text ? QVL_OK : err->status;
}

static enum qvl_status set_regex(struct reader *r, const char *param, const struct qvl_json_node *regex,
                                 struct qvl_error *err)
{
    struct qvl_constraint *c = &r->ask->options.constraint;
    enum qvl_status status = claim_form(r, param, err);
    if (status || (status = copy_string(r, param, regex, &c->text, err)))
        return status;
    c->kind = QVL_CONSTRAINT_REGEX;
    c->n = regex->n;
    return QVL_OK;
}

static enum qvl_status set_choice(struct reader *r, const char *param, const struct qvl_json_node *list,
                                  struct qvl_error *err)
{
    struct qvl_constraint *c = &r->ask->options.constraint;
    enum qvl_status status = claim_form(r, param, err);
    if (status)
        return status;
    if (list->kind != QVL_JSON_ARRAY || list->n_child == 0) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be a list of strings", param);
        return refuse(r, param, err);
    }
    c->kind = QVL_CONSTRAINT_CHOICE;
    return copy_strings(r, param, list, QVL_MAX_CONSTRAINT_CHOICES, QVL_MAX_CONSTRAINT_BYTES, &c->choice,
                        &c->n_choice, err);
}

/* {"type": "json_schema", "json_schema": {"name", "schema", "strict"}}, or with the schema one level higher;
 * {"type": "json_object"}, with or without a schema. `strict` makes no difference: a schema is kept to in any case.
 */
static enum qvl_status read_response_format(struct reader *r, struct qvl_error *err)
{
    struct format {
        const struct qvl_json_node *type, *json_schema, *schema, *name, *description;
        bool is_strict;
    } format = {0}, inner = {0};
    static const struct qvl_field table[] = {
        {"type", QVL_FIELD_STRING, offsetof(struct format, type), 0, 0, NULL},
        {"json_schema", QVL_FIELD_OBJECT, offsetof(struct format, json_schema), 0, 0, NULL},
        {"schema", QVL_FIELD_ANY, offsetof(struct format, schema), 0, 0, NULL},
        {"name", QVL_FIELD_STRING, offsetof(struct format, name), 0, 0, NULL},
        {"description", QVL_FIELD_STRING, offsetof(struct format, description), 0, 0, NULL},
        {"strict", QVL_FIELD_BOOL, offsetof(struct format, is_strict), 0, 0, NULL},
    };
    static const char param[] = "response_format";
    const size_t n_table = sizeof table / sizeof *table;
    struct qvl_bytes *unknown = &r->body->unknown;
    enum qvl_status status = QVL_OK;
    if (!r->f.response_format)
        return QVL_OK;
    if ((status = qvl_fields_read(r->f.response_format, table, n_table, &format, unknown, &r->body->param, err)) ||
        (format.json_schema &&
         (status = qvl_fields_read(format.json_schema, table, n_table, &inner, unknown, &r->body->param, err))))
        return refuse(r, param, err);
    const struct qvl_json_node *schema = inner.schema ? inner.schema : format.schema;
    if (format.type && qvl_json_equals(format.type, "text"))
        return QVL_OK;
    if (format.type && qvl_json_equals(format.type, "json_object"))
        return set_schema(r, param, schema, err);
    if (!format.type || !qvl_json_equals(format.type, "json_schema")) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the type must be text, json_object or json_schema", param);
        return refuse(r, param, err);
    }
    if (!schema) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s: there is no schema in it", param);
        return refuse(r, param, err);
    }
    return set_schema(r, param, schema, err);
}

/* vLLM's newer spelling of guided_…. */
static enum qvl_status read_structured_outputs(struct reader *r, struct qvl_error *err)
{
    struct outputs {
        const struct qvl_json_node *json, *regex, *choice;
        bool is_json_object;
    } o = {0};
    static const struct qvl_field table[] = {
        {"json", QVL_FIELD_ANY, offsetof(struct outputs, json), 0, 0, NULL},
        {"regex", QVL_FIELD_ANY, offsetof(struct outputs, regex), 0, 0, NULL},
        {"choice", QVL_FIELD_ANY, offsetof(struct outputs, choice), 0, 0, NULL},
        {"json_object", QVL_FIELD_BOOL, offsetof(struct outputs, is_json_object), 0, 0, NULL},
        {.name = "grammar", .refusal = no_such_form},
        {.name = "structural_tag", .refusal = no_such_form},
        {.name = "whitespace_pattern", .refusal = QVL_SAID("is not offered")},
    };
    static const char param[] = "structured_outputs";
    enum qvl_status status = QVL_OK;
    if (!r->f.structured_outputs)
        return QVL_OK;
    if ((status = qvl_fields_read(r->f.structured_outputs, table, sizeof table / sizeof *table, &o,
                                  &r->body->unknown, &r->body->param, err)))
        return refuse(r, param, err);
    if (o.json)
        status = set_schema(r, param, o.json, err);
    if (!status && o.is_json_object)
        status = set_schema(r, param, NULL, err);
    if (!status && o.regex)
        status = set_regex(r, param, o.regex, err);
    return status || !o.choice ? status : set_choice(r, param, o.choice, err);
}

static enum qvl_status read_form(struct reader *r, struct qvl_error *err)
{
    const struct fields *f = &r->f;
    enum qvl_status status;
    if ((status = read_response_format(r, err)) || (status = read_structured_outputs(r, err)) ||
        (f->json_schema && (status = set_schema(r, "json_schema", f->json_schema, err))) ||
        (f->guided_json && (status = set_schema(r, "guided_json", f->guided_json, err))) ||
        (f->guided_regex && (status = set_regex(r, "guided_regex", f->guided_regex, err))) ||
        (f->guided_choice && (status = set_choice(r, "guided_choice", f->guided_choice, err))))
        return status;
    return QVL_OK;
}

/* ---- tools --------------------------------------------------------------------------------------- */

/* {"type": "function", "function": {"name": …}}, or without the inner object. */
static const struct qvl_json_node *name_of(const struct qvl_json_node *tool)
{
    const struct qvl_json_node *function = qvl_json_member(tool, "function");
    const struct qvl_json_node *name = qvl_json_member(function ? function : tool, "name");
    return name && name->kind == QVL_JSON_STRING ? name : NULL;
}

static struct tool *find_tool(const struct reader *r, const struct qvl_json_node *name)
{
    for (uint32_t i = 0; i < r->n_tool; i++) {
        const struct qvl_json_node *its = r->tool[i].name;
        if (its->n == name->n && memcmp(its->utf8, name->utf8, name->n) == 0)
            return &r->tool[i];
    }
    return NULL;
}

static enum qvl_status check_tools(struct reader *r, struct qvl_error *err)
{
    const struct qvl_json_node *tool = r->f.tools ? r->f.tools + 1 : NULL;
    uint32_t n = r->f.tools ? r->f.tools->n_child : 0;
    r->tool = qvl_arena_alloc(&r->ask->arena, n, sizeof *r->tool, "tools", err);
    if (!r->tool)
        return err->status;
    for (uint32_t i = 0; i < n; i++, tool = qvl_json_next(tool)) {
        const struct qvl_json_node *type = qvl_json_member(tool, "type"), *name = name_of(tool);
        if (type && !qvl_json_equals(type, "function"))
            qvl_fail(err, QVL_ERR_ARGUMENT, "tools[%u]: only the type \"function\" is offered", i);
        else if (!name || name->n == 0 || name->n > MAX_TOOL_NAME_BYTES || memchr(name->utf8, 0, name->n))
            qvl_fail(err, QVL_ERR_ARGUMENT, "tools[%u]: a function needs a name of 1 to %u bytes", i,
                     MAX_TOOL_NAME_BYTES);
        else if (find_tool(r, name))
            qvl_fail(err, QVL_ERR_ARGUMENT, "tools[%u]: another tool has the same name", i);
        else {
            r->tool[r->n_tool++] = (struct tool){.node = tool, .name = name};
            continue;
        }
        return refuse(r, "tools", err);
    }
    return QVL_OK;
}

static enum qvl_status refuse_tool_choice(struct reader *r, struct qvl_error *err)
{
    qvl_fail(err, QVL_ERR_ARGUMENT,
             "tool_choice must be \"none\", \"auto\", \"required\", a function or allowed_tools");
    return refuse(r, "tool_choice", err);
}

/* The words; anything else is false. */
static bool read_mode(struct reader *r, const struct qvl_json_node *mode)
{
    static const struct {
        const char *word;
        enum qvl_tool_choice choice;
    } words[] = {{"none", QVL_TOOLS_NONE}, {"auto", QVL_TOOLS_AUTO}, {"required", QVL_TOOLS_REQUIRED}};
    for (size_t i = 0; mode && i < sizeof words / sizeof *words; i++)
        if (qvl_json_equals(mode, words[i].word)) {
            r->ask->tools = words[i].choice;
            return true;
        }
    return false;
}

static enum qvl_status require_tool(struct reader *r, const struct qvl_json_node *name, struct tool **out,
                                    struct qvl_error *err)
{
    if (!name)
        return refuse_tool_choice(r, err);
    *out = find_tool(r, name);
    if (!*out) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "tool_choice: there is no tool %.*s",
                 name->n < MAX_TOOL_NAME_BYTES ? (int)name->n : MAX_TOOL_NAME_BYTES, name->utf8);
        return refuse(r, "tool_choice", err);
    }
    return QVL_OK;
}

/* One more tool that is shown to the model. Each once: a body must not grow by naming a large one again and again.
 */
static enum qvl_status allow_tool(struct reader *r, const struct qvl_json_node *name, struct qvl_bytes *shown,
                                  struct qvl_error *err)
{
    struct tool *tool = NULL;
    enum qvl_status status = require_tool(r, name, &tool, err);
    if (status)
        return status;
    if (tool->is_allowed) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "tool_choice: %.*s stands there twice", (int)name->n, name->utf8);
        return refuse(r, "tool_choice", err);
    }
    tool->is_allowed = true;
    status = qvl_bytes_add_text(shown, shown->n > 1 ? ", " : "", err);
    return status ? status : qvl_bytes_add(shown, tool->node->utf8, tool->node->n, err);
}

/* Some of the tools: only these are shown to the model. */
static enum qvl_status read_allowed(struct reader *r, const struct qvl_json_node *allowed, struct qvl_bytes *shown,
                                    struct qvl_error *err)
{
    const struct qvl_json_node *list = qvl_json_member(allowed, "tools"), *entry = list ? list + 1 : NULL;
    if (!list || list->kind != QVL_JSON_ARRAY || list->n_child == 0 ||
        !read_mode(r, qvl_json_member(allowed, "mode")))
        return refuse_tool_choice(r, err);
    enum qvl_status status = qvl_bytes_add_text(shown, "[", err);
    for (uint32_t i = 0; i < list->n_child && !status; i++, entry = qvl_json_next(entry))
        status = allow_tool(r, name_of(entry), shown, err);
    return status ? status : qvl_bytes_add_text(shown, "]", err);
}

static enum qvl_status read_tool_choice(struct reader *r, struct qvl_bytes *shown, struct qvl_error *err)
{
    const struct qvl_json_node *choice = r->f.tool_choice, *type = qvl_json_member(choice, "type");
    struct tool *tool = NULL;
    bool has_tools = r->f.tools && r->f.tools->n_child > 0;
    r->ask->tools = has_tools ? QVL_TOOLS_AUTO : QVL_TOOLS_NONE;
    if (!choice)
        return QVL_OK;
    enum qvl_status status = QVL_OK;
    if (choice->kind == QVL_JSON_STRING) {
        if (!read_mode(r, choice))
            return refuse_tool_choice(r, err);
    } else if (type && qvl_json_equals(type, "allowed_tools")) {
        const struct qvl_json_node *inner = qvl_json_member(choice, "allowed_tools");
        status = read_allowed(r, inner ? inner : choice, shown, err);
    } else {
        if (!type || !qvl_json_equals(type, "function"))
            return refuse_tool_choice(r, err);
        const struct qvl_json_node *name = name_of(choice);
        if (!(status = require_tool(r, name, &tool, err)))
            status = copy_string(r, "tool_choice", name, &r->tool_name, err);
        r->ask->tools = QVL_TOOLS_REQUIRED;
    }
    if (!status && !has_tools && r->ask->tools == QVL_TOOLS_REQUIRED) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "tool_choice asks for a call, and there are no tools");
        return refuse(r, "tool_choice", err);
    }
    if (!has_tools)
        r->ask->tools = QVL_TOOLS_NONE;
    return status;
}

/* Calls may stand in place of JSON, which is a form as theirs is; of others the first call would be no match. */
static enum qvl_status read_tools(struct reader *r, struct qvl_bytes *shown, struct qvl_error *err)
{
    enum qvl_status status = check_tools(r, err);
    if (status || (status = read_tool_choice(r, shown, err)))
        return status;
    r->ask->want_one_call = !r->f.want_parallel_calls || r->tool_name;
    enum qvl_constraint_kind kind = r->ask->options.constraint.kind;
    bool is_json = kind == QVL_CONSTRAINT_JSON || kind == QVL_CONSTRAINT_JSON_SCHEMA;
    if (r->ask->tools == QVL_TOOLS_NONE || !r->body->form || is_json)
        return QVL_OK;
    qvl_fail(err, QVL_ERR_ARGUMENT,
             "%s: an answer that may call tools can have no form but JSON; tool_choice \"none\" can",
             r->body->form);
    return refuse(r, r->body->form, err);
}

/* What calls may stand in place of; none where they must come. */
static void set_instead(struct qvl_constraint *calls, const struct qvl_constraint *form)
{
    static const char any_object[] = "{\"type\": \"object\"}";
    bool is_any = form->kind == QVL_CONSTRAINT_JSON;
    if (form->kind == QVL_CONSTRAINT_NONE)
        return;
    calls->kind = QVL_CONSTRAINT_TOOL_CALLS;
    calls->instead = is_any ? any_object : form->text;
    calls->n_instead = is_any ? sizeof any_object - 1 : form->n;
}

/* Now that the conversation's tools are there. */
static enum qvl_status plan_calls(struct reader *r, const struct qvl_bytes *shown, struct qvl_error *err)
{
    struct qvl_ask *ask = r->ask;
    struct qvl_constraint *c = &ask->options.constraint;
    const struct qvl_constraint form = *c;
    if (shown->n > 0 && !(ask->chat.chat.tools_json = qvl_arena_copy_text(&ask->arena, shown->data, shown->n, err)))
        return err->status;
    if (ask->tools == QVL_TOOLS_NONE)
        return QVL_OK;
    bool is_auto = ask->tools == QVL_TOOLS_AUTO;
    *c = (struct qvl_constraint){.kind = is_auto ? QVL_CONSTRAINT_TOOLS_AUTO : QVL_CONSTRAINT_TOOL_CALLS,
                                 .text = ask->chat.chat.tools_json,
                                 .n = strlen(ask->chat.chat.tools_json),
                                 .want_one_call = ask->want_one_call};
    if (is_auto)
        set_instead(c, &form);
    if (!r->body->form)
        r->body->form = "tools";
    if (!r->tool_name)
        return QVL_OK;
    const char **name = qvl_arena_alloc(&ask->arena, 1, sizeof *name, "strings", err);
    if (!name)
        return err->status;
    *name = r->tool_name;
    c->choice = name;
    c->n_choice = 1;
    return QVL_OK;
}

/* ---- the prompt ---------------------------------------------------------------------------------- */

static enum qvl_status read_template_kwargs(struct reader *r, bool *want_vision_ids, struct qvl_error *err)
{
    struct kwargs {
        bool want_thinking, want_vision_ids;
    } k = {.want_thinking = r->f.want_thinking};
    static const struct qvl_field table[] = {
        {"enable_thinking", QVL_FIELD_BOOL, offsetof(struct kwargs, want_thinking), 0, 0, NULL},
        {"add_vision_id", QVL_FIELD_BOOL, offsetof(struct kwargs, want_vision_ids), 0, 0, NULL},
    };
    static const char param[] = "chat_template_kwargs";
    struct qvl_bytes unknown = {0};
    enum qvl_status status = QVL_OK;
    if (r->f.chat_template_kwargs)
        status = qvl_fields_read(r->f.chat_template_kwargs, table, sizeof table / sizeof *table, &k, &unknown,
                                 &r->body->param, err);
    if (!status && unknown.n > 0)
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the model's template does not know %s", param, unknown.data);
    if (!status && k.want_thinking != r->settings->is_thinking)
        status = qvl_fail(err, QVL_ERR_ARGUMENT,
                          r->settings->is_thinking ? "enable_thinking: this model always thinks before it answers"
                                                   : "enable_thinking: this model answers without thinking first");
    qvl_bytes_free(&unknown);
    *want_vision_ids = k.want_vision_ids;
    return status ? refuse(r, r->f.chat_template_kwargs ? param : "enable_thinking", err) : QVL_OK;
}

static enum qvl_status check_open(struct reader *r, const struct qvl_json_node *root, struct qvl_error *err)
{
    const struct qvl_chat *chat = &r->ask->chat.chat;
    const struct qvl_json_node *prompt_end = qvl_json_member(root, "add_generation_prompt");
    const char *param = "continue_final_message";
    if (!r->f.is_open && r->f.want_prompt_end)
        return QVL_OK;
    if (!r->f.is_open)
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s can be false with continue_final_message only",
                 param = "add_generation_prompt");
    else if (prompt_end && prompt_end->kind == QVL_JSON_TRUE)
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s and add_generation_prompt contradict each other", param);
    else if (chat->messages[chat->n_message - 1].role != QVL_ROLE_ASSISTANT)
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the last message must be the assistant's", param);
    else
        return QVL_OK;
    return refuse(r, param, err);
}

static enum qvl_status read_conversation(struct reader *r, const struct qvl_json_node *root, struct qvl_error *err)
{
    struct qvl_chat_json_settings media = r->settings->media;
    struct qvl_chat *chat = &r->ask->chat.chat;
    struct qvl_bytes shown = {0};
    bool want_vision_ids = false;
    enum qvl_status status;
    if (!r->f.messages) {
        qvl_fail(err, QVL_ERR_ARGUMENT, "%s is missing", "messages");
        return refuse(r, "messages", err);
    }
    if ((status = read_template_kwargs(r, &want_vision_ids, err)) ||
        (status = qvl_chat_read_media_kwargs(r->f.mm_processor_kwargs, r->f.media_io_kwargs, &media,
                                             &r->body->unknown, &r->body->param, err)))
        return status;
    if ((status = read_tools(r, &shown, err)))
        goto fail;
    const struct qvl_json_node *tools = r->ask->tools == QVL_TOOLS_NONE ? NULL : r->f.tools;
    if ((status = qvl_chat_json_read(r->f.messages, tools, &media, &r->ask->chat, err))) {
        r->body->param = "messages";
        goto fail;
    }
    chat->want_vision_ids = want_vision_ids;
    chat->want_video_wrapper = r->settings->want_video_wrapper;
    chat->is_open = r->f.is_open;
    if (!(status = check_open(r, root, err)))
        status = plan_calls(r, &shown, err);
fail:
    qvl_bytes_free(&shown);
    return status;
}

/* ---- the door ------------------------------------------------------------------------------------ */

enum qvl_status qvl_chat_body_read_tree(const struct qvl_json_node *root,
                                        const struct qvl_chat_read_settings *settings, struct qvl_ask *ask,
                                        struct qvl_chat_body *out, struct qvl_error *err)
{
    struct reader r = {.settings = settings, .ask = ask, .body = out};
    r.f = (struct fields){.sampling = ask->options.sampling,
                          .max_tokens = NO_NUMBER,
                          .max_completion_tokens = NO_NUMBER,
                          .top_k = ask->options.sampling.top_k,
                          .n = ask->n,
                          .want_parallel_calls = true,
                          .want_prompt_end = true,
                          .want_special_skipped = true,
                          .want_spaces = true,
                          .want_thinking = settings->is_thinking};
    *out = (struct qvl_chat_body){0};
    if (root->kind != QVL_JSON_OBJECT)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the body must be a JSON object");
    choose_penalties(&r, root);
    enum qvl_status status =
        qvl_fields_read(root, fields, sizeof fields / sizeof *fields, &r.f, &out->unknown, &out->param, err);
    if (status || (r.f.model && (status = copy_string(&r, "model", r.f.model, &out->model, err))) ||
        (status = read_numbers(&r, err)) || (status = read_output(&r, err)) || (status = check_words(&r, err)) ||
        (status = read_form(&r, err)))
        return status;
    return read_conversation(&r, root, err);
}

enum qvl_status qvl_chat_body_read(const char *json, size_t n, const struct qvl_chat_read_settings *settings,
                                   struct qvl_ask *ask, struct qvl_chat_body *out, struct qvl_error *err)
{
    struct qvl_json_tree tree;
    *out = (struct qvl_chat_body){0};
    enum qvl_status status =
        qvl_json_tree_read(json, n, qvl_text("the body"), QVL_MAX_BODY_VALUES, &ask->arena, &tree, err);
    if (!status)
        status = qvl_chat_body_read_tree(tree.node, settings, ask, out, err);
    qvl_json_tree_free(&tree);
    return status;
}

void qvl_chat_body_free(struct qvl_chat_body *body)
{
    qvl_bytes_free(&body->unknown);
    *body = (struct qvl_chat_body){0};
}
