/* The small routes: what is served and how it fares, and text to tokens and back.
 *
 * Shapes: OpenAI's "List models"; vLLM's and llama.cpp's /tokenize, /detokenize and /props, which have the same
 * names and differ, so that both kinds of client find their members. */
#include <stdlib.h>
#include <string.h>

#include "base/json_tree.h"
#include "base/language.h"
#include "base/limits.h"
#include "server/app.h"
#include "server/field.h"
#include "server/reply.h"

/* ---- health -------------------------------------------------------------------------------------- */

/* Load balancers and start scripts ask until it is 200. */
static void answer_health(void *user, struct qvl_exchange *x)
{
    struct qvl_app *app = user;
    bool is_draining = atomic_load(&app->is_draining), is_ready = atomic_load(&app->is_ready) && !is_draining;
    const char *text = is_ready      ? "{\"status\": \"ok\"}"
                       : is_draining ? "{\"status\": \"draining\"}"
                                     : "{\"status\": \"loading\"}";
    if (!is_ready)
        qvl_exchange_add_header(x, "Retry-After", "1");
    qvl_exchange_reply(x, is_ready ? 200 : 503, "application/json", text, strlen(text));
}

static void answer_version(void *user, struct qvl_exchange *x)
{
    static const char text[] = "{\"version\": \"" QVL_VERSION "\"}";
    (void)user;
    qvl_exchange_reply(x, 200, "application/json", text, sizeof text - 1);
}

/* What waits or runs here, and what of that waits in the engine for its turn. */
static void count_requests(struct qvl_app *app, struct qvl_metrics_now *now)
{
    struct qvl_work_count count;
    qvl_work_count(app->work, &count);
    size_t n_in_engine = now->engine.n_waiting < count.n_running ? now->engine.n_waiting : count.n_running;
    now->n_running = count.n_running - n_in_engine;
    now->n_waiting = count.n_waiting + n_in_engine;
}

static void answer_metrics(void *user, struct qvl_exchange *x)
{
    struct qvl_app *app = user;
    struct qvl_metrics_now now = {.model_name = app->options.model_name};
    struct qvl_bytes page = {0};
    struct qvl_error err = {0};
    if (atomic_load(&app->is_ready))
        qvl_engine_get_stats(app->engine, &now.engine);
    count_requests(app, &now);
    if (qvl_metrics_write(app->metrics, &now, &page, &err))
        qvl_reply_failure(x, &err, NULL);
    else
        qvl_exchange_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8", page.data, page.n);
    qvl_bytes_free(&page);
}

/* ---- models -------------------------------------------------------------------------------------- */

static enum qvl_status add_member(struct qvl_bytes *out, const char *before, const char *text,
                                  struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(out, before, err);
    return status ? status : qvl_bytes_add_json_string(out, text, strlen(text), err);
}

static enum qvl_status add_model(const struct qvl_app *app, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_engine_info *i = &app->info;
    enum qvl_status status = add_member(out, "{\"id\": ", app->options.model_name, err);
    if (!status)
        status = qvl_bytes_add_format(
            out, err,
            ", \"object\": \"model\", \"created\": %llu, \"owned_by\": \"qvl\", \"max_model_len\": %u, "
            "\"meta\": {\"n_ctx\": %u, \"n_ctx_train\": %u, \"n_params\": %llu, \"size\": %llu}}",
            (unsigned long long)app->started_s, i->n_ctx, i->n_ctx, i->n_ctx_model,
            (unsigned long long)i->n_parameter, (unsigned long long)i->weight_bytes);
    return status;
}

static void answer_models(void *user, struct qvl_exchange *x)
{
    struct qvl_bytes json = {0};
    struct qvl_error err = {0};
    enum qvl_status status = qvl_bytes_add_text(&json, "{\"object\": \"list\", \"data\": [", &err);
    if (!status)
        status = add_model(user, &json, &err);
    if (!status)
        status = qvl_bytes_add_text(&json, "]}", &err);
    qvl_reply_built(x, status, &json, &err);
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Whether a path's rest, percent-encoded or not, spells the name: names like Qwen/Qwen3-VL come as %2F, too. */
static bool is_spelling_of(const char *name, const char *path)
{
    for (; *path && *name; name++) {
        bool is_encoded = *path == '%' && hex_value(path[1]) >= 0 && hex_value(path[2]) >= 0;
        int c = is_encoded ? hex_value(path[1]) * 16 + hex_value(path[2]) : (unsigned char)*path;
        if (c != (unsigned char)*name)
            return false;
        path += is_encoded ? 3 : 1;
    }
    return !*path && !*name;
}

static void answer_model(void *user, struct qvl_exchange *x)
{
    struct qvl_app *app = user;
    struct qvl_bytes json = {0};
    struct qvl_error err = {0};
    const char *name =
        strstr(qvl_exchange_request(x)->path, "/models/") + strlen("/models/"); /* both routes have it */
    if (!is_spelling_of(app->options.model_name, name)) {
        qvl_fail(&err, QVL_ERR_ARGUMENT, "there is no such model here; /v1/models names the one that is served");
        qvl_reply_error(x, 404, "model_not_found", "model", err.text);
        return;
    }
    qvl_reply_built(x, add_model(app, &json, &err), &json, &err);
}

/* How the model takes pictures and clips, as qvl_engine_info.inspect_json says it: for whoever counts tokens in
 * advance. Not the rest of it: that names the folder. */
static enum qvl_status add_media_bounds(const struct qvl_app *app, struct qvl_bytes *json, struct qvl_error *err)
{
    static const char *const keys[] = {"image", "video"};
    const char *text = app->info.inspect_json;
    struct qvl_arena arena = {0};
    struct qvl_json_tree tree;
    enum qvl_status status =
        qvl_json_tree_read(text, strlen(text), "inspect", QVL_MAX_JSON_VALUES, &arena, &tree, err);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !status; i++) {
        const struct qvl_json_node *node = qvl_json_member(tree.node, keys[i]);
        if (node)
            status = qvl_bytes_add_format(json, err, ", \"%s\": %.*s", keys[i], (int)node->n, node->utf8);
    }
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    return status;
}

static void answer_props(void *user, struct qvl_exchange *x)
{
    struct qvl_app *app = user;
    const struct qvl_sampling *s = &app->options.sampling;
    struct qvl_bytes json = {0};
    struct qvl_error err = {0};
    enum qvl_status status = add_member(&json, "{\"model_alias\": ", app->options.model_name, &err);
    if (!status)
        status = add_media_bounds(app, &json, &err);
    if (!status)
        status = qvl_bytes_add_format(
            &json, &err,
            ", \"n_ctx\": %u, \"total_slots\": %u, "
            "\"modalities\": {\"vision\": true, \"video\": true, \"audio\": false}, "
            "\"default_generation_settings\": {\"n_ctx\": %u, \"params\": {\"temperature\": %.9g, \"top_k\": %u, "
            "\"top_p\": %.9g, \"min_p\": %.9g, \"repeat_penalty\": %.9g, \"presence_penalty\": %.9g, "
            "\"frequency_penalty\": %.9g}}, \"max_body_bytes\": %llu, \"is_demo\": %s, \"is_thinking\": %s, "
            "\"build_info\": \"qvl %s\"}",
            app->info.n_ctx, app->options.n_parallel, app->info.n_ctx, (double)s->temperature, s->top_k,
            (double)s->top_p, (double)s->min_p, (double)s->repetition_penalty, (double)s->presence_penalty,
            (double)s->frequency_penalty,
            (unsigned long long)(app->options.max_body_bytes ? app->options.max_body_bytes
                                                             : QVL_MAX_HTTP_BODY_BYTES),
            app->info.is_demo ? "true" : "false", app->info.is_thinking ? "true" : "false", QVL_VERSION);
    qvl_reply_built(x, status, &json, &err);
}

/* ---- tokens -------------------------------------------------------------------------------------- */

struct body {
    struct qvl_arena arena;
    struct qvl_json_tree tree;
    struct qvl_bytes unknown;
    const struct qvl_json_node *content, *prompt, *tokens, *model;
    bool want_special; /* recognised in the text */
    bool unused;       /* this family's texts begin with no token of their own, so it makes no difference */
};

#define NOT_OFFERED QVL_SAID("is not offered here: send the text itself as \"prompt\" or \"content\"")

static const struct qvl_field tokenize_fields[] = {
    {"content", QVL_FIELD_STRING, offsetof(struct body, content), .max = QVL_MAX_TOKENIZE_BYTES},
    {"prompt", QVL_FIELD_STRING, offsetof(struct body, prompt), .max = QVL_MAX_TOKENIZE_BYTES},
    {"model", QVL_FIELD_STRING, .offset = offsetof(struct body, model)},
    {"parse_special", QVL_FIELD_BOOL, .offset = offsetof(struct body, want_special)},
    {"add_special", QVL_FIELD_BOOL, .offset = offsetof(struct body, unused)},
    {"add_special_tokens", QVL_FIELD_BOOL, .offset = offsetof(struct body, unused)},
    {"messages", .refusal = NOT_OFFERED},
    {"with_pieces", .refusal = QVL_SAID("is not offered: /detokenize gives the text of single tokens")},
    {"return_token_strs", .refusal = QVL_SAID("is not offered: /detokenize gives the text of single tokens")},
};

static const struct qvl_field detokenize_fields[] = {
    {"tokens", QVL_FIELD_LIST, offsetof(struct body, tokens), .max = QVL_MAX_BODY_VALUES},
    {"model", QVL_FIELD_STRING, .offset = offsetof(struct body, model)},
};

/* Reads the body by a table; false: it was replied to. */
static bool read_body(struct qvl_exchange *x, const struct qvl_field *field, size_t n_field, struct body *body)
{
    const struct qvl_http_request *request = qvl_exchange_request(x);
    const char *param = NULL;
    struct qvl_error err = {0};
    if (strcmp(request->media_type, "application/json") != 0) {
        qvl_reply_error(x, 415, "unsupported_media_type", NULL, qvl_text("the body must be application/json"));
        return false;
    }
    enum qvl_status status = qvl_json_tree_read((const char *)request->body, request->n_body, qvl_text("the body"),
                                                QVL_MAX_BODY_VALUES, &body->arena, &body->tree, &err);
    if (!status && body->tree.node->kind != QVL_JSON_OBJECT)
        status = qvl_fail(&err, QVL_ERR_ARGUMENT, "the body must be a JSON object");
    if (!status)
        status = qvl_fields_read(body->tree.node, field, n_field, body, &body->unknown, &param, &err);
    if (status) {
        qvl_reply_failure(x, &err, param);
        return false;
    }
    return (!body->model || qvl_reply_model(x, body->model->utf8, body->model->n)) &&
           qvl_reply_unknown(x, &body->unknown);
}

static void free_body(struct body *body)
{
    qvl_bytes_free(&body->unknown);
    qvl_json_tree_free(&body->tree);
    qvl_arena_free(&body->arena);
}

static void reply_tokens(struct qvl_app *app, struct qvl_exchange *x, const uint32_t *id, size_t n)
{
    struct qvl_bytes json = {0};
    struct qvl_error err = {0};
    enum qvl_status status = qvl_bytes_add_text(&json, "{\"tokens\": [", &err);
    for (size_t i = 0; i < n && !status; i++)
        status = qvl_bytes_add_format(&json, &err, "%s%u", i ? ", " : "", id[i]);
    if (!status)
        status = qvl_bytes_add_format(&json, &err, "], \"count\": %zu, \"max_model_len\": %u}", n, app->info.n_ctx);
    qvl_reply_built(x, status, &json, &err);
}

static void tokenize_text(struct qvl_app *app, struct qvl_exchange *x, const struct body *body)
{
    const struct qvl_json_node *text = body->content ? body->content : body->prompt;
    struct qvl_error err = {0};
    uint32_t *id = NULL;
    size_t n = 0;
    if (!text || (body->content && body->prompt)) {
        qvl_fail(&err, QVL_ERR_ARGUMENT, "one of \"prompt\" and \"content\" is needed: the text");
        qvl_reply_failure(x, &err, "prompt");
        return;
    }
    if (qvl_tokenize(app->engine, text->utf8, text->n, body->want_special, &id, &n, &err))
        qvl_reply_failure(x, &err, body->content ? "content" : "prompt");
    else
        reply_tokens(app, x, id, n);
    qvl_free(id);
}

static void answer_tokenize(void *user, struct qvl_exchange *x)
{
    struct body body = {.want_special = true};
    if (read_body(x, tokenize_fields, sizeof tokenize_fields / sizeof *tokenize_fields, &body))
        tokenize_text(user, x, &body);
    free_body(&body);
}

static enum qvl_status read_ids(struct body *body, uint32_t **out, struct qvl_error *err)
{
    const struct qvl_json_node *list = body->tokens;
    if (!list)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "\"tokens\" is needed: a list of token ids");
    uint32_t *id = qvl_arena_alloc(&body->arena, list->n_child, sizeof *id, "token ids", err);
    if (!id)
        return err->status;
    const struct qvl_json_node *node = list + 1;
    for (uint32_t i = 0; i < list->n_child; i++, node = qvl_json_next(node)) {
        double value = -1;
        if (node->kind != QVL_JSON_INTEGER || !qvl_json_number(node, &value) || value < 0 || value > UINT32_MAX)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "tokens[%u] must be a token id", i);
        id[i] = (uint32_t)value;
    }
    *out = id;
    return QVL_OK;
}

static void detokenize_ids(struct qvl_app *app, struct qvl_exchange *x, struct body *body)
{
    struct qvl_error err = {0};
    struct qvl_bytes json = {0};
    uint32_t *id = NULL;
    char *text = NULL;
    size_t n = 0;
    if (read_ids(body, &id, &err) || qvl_detokenize(app->engine, id, body->tokens->n_child, &text, &n, &err)) {
        qvl_reply_failure(x, &err, "tokens");
        return;
    }
    enum qvl_status status = qvl_bytes_add_text(&json, "{\"prompt\": ", &err);
    if (!status)
        status = qvl_bytes_add_json_string(&json, text, n, &err);
    if (!status)
        status = qvl_bytes_add_text(&json, ", \"content\": ", &err);
    if (!status)
        status = qvl_bytes_add_json_string(&json, text, n, &err);
    if (!status)
        status = qvl_bytes_add_text(&json, "}", &err);
    qvl_reply_built(x, status, &json, &err);
    qvl_free(text);
}

static void answer_detokenize(void *user, struct qvl_exchange *x)
{
    struct body body = {0};
    if (read_body(x, detokenize_fields, sizeof detokenize_fields / sizeof *detokenize_fields, &body))
        detokenize_ids(user, x, &body);
    free_body(&body);
}

const struct qvl_route qvl_model_routes[] = {
    {"GET", "/health", answer_health, .lane = QVL_LANE_NOW, .is_public = true},
    {"GET", "/ready", answer_health, .lane = QVL_LANE_NOW, .is_public = true},
    {"GET", "/version", answer_version, .lane = QVL_LANE_NOW},
    {"GET", "/metrics", answer_metrics, .lane = QVL_LANE_LIGHT},
    {"GET", "/props", answer_props, .lane = QVL_LANE_NOW},
    {"GET", "/v1/models", answer_models, .lane = QVL_LANE_NOW},
    {"GET", "/models", answer_models, .lane = QVL_LANE_NOW},
    {"GET", "/v1/models/*", answer_model, .lane = QVL_LANE_NOW},
    {"GET", "/models/*", answer_model, .lane = QVL_LANE_NOW},
    {"POST", "/tokenize", answer_tokenize, .lane = QVL_LANE_LIGHT, .want_body = true},
    {"POST", "/v1/tokenize", answer_tokenize, .lane = QVL_LANE_LIGHT, .want_body = true},
    {"POST", "/detokenize", answer_detokenize, .lane = QVL_LANE_LIGHT, .want_body = true},
    {"POST", "/v1/detokenize", answer_detokenize, .lane = QVL_LANE_LIGHT, .want_body = true},
};
const size_t qvl_n_model_route = sizeof qvl_model_routes / sizeof *qvl_model_routes;
