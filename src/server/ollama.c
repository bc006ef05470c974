/* Ollama's API: /api/chat and /api/generate, and what its clients ask about models. ollama_read.h makes the
 * question of a body, call.h runs it, ollama_write.h says what comes. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json_tree.h"
#include "base/language.h"
#include "base/limits.h"
#include "server/app.h"
#include "server/call.h"
#include "server/field.h"
#include "server/ollama_models.h"
#include "server/ollama_read.h"
#include "server/ollama_write.h"
#include "server/reply.h"

/* ---- time ---------------------------------------------------------------------------------------- */

static void write_time(time_t seconds, long ns, char out[QVL_OLLAMA_TIME_BYTES])
{
    char date[24];
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, QVL_OLLAMA_TIME_BYTES, "%s.%09ldZ", date, ns);
}

static void write_now(char out[QVL_OLLAMA_TIME_BYTES])
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    write_time(now.tv_sec, now.tv_nsec, out);
}

/* ---- questions ----------------------------------------------------------------------------------- */

typedef enum qvl_status body_reader(const char *json, size_t n, uint32_t n_ctx,
                                    const struct qvl_chat_read_settings *settings, struct qvl_ask *ask,
                                    struct qvl_chat_body *chat, struct qvl_ollama_body *out, struct qvl_error *err);

struct question {
    body_reader *read;
    struct qvl_ollama_body body;
};

static enum qvl_status read_body(void *user, struct qvl_call *call, const struct qvl_chat_read_settings *settings,
                                 struct qvl_error *err)
{
    const struct qvl_http_request *request = qvl_exchange_request(call->x);
    struct question *question = user;
    call->is_ndjson = true;
    call->longest = "num_predict";
    return question->read((const char *)request->body, request->n_body, call->app->info.n_ctx, settings, &call->ask,
                          &call->body, &question->body, err);
}

static void run(struct qvl_call *call, const struct qvl_ollama_writer_settings *settings)
{
    struct qvl_ollama_writer writer;
    const struct qvl_chat_out out = qvl_call_out(call);
    qvl_ollama_writer_init(&writer, settings, &out);
    const struct qvl_ask_sink sink = qvl_ollama_writer_sink(&writer);
    qvl_call_run(call, &sink, &writer.err);
    qvl_ollama_writer_free(&writer);
}

static void reply_nothing(struct qvl_call *call, const struct qvl_ollama_writer_settings *settings, bool is_unload)
{
    struct qvl_bytes json = {0};
    struct qvl_error err = {0};
    enum qvl_status status = qvl_ollama_write_nothing(settings, is_unload ? "unload" : "load", &json, &err);
    qvl_reply_built(call->x, status, &json, &err);
}

static void answer(struct qvl_app *app, struct qvl_exchange *x, body_reader *read)
{
    struct qvl_call call;
    struct question question = {.read = read};
    if (qvl_call_open(&call, app, x, read_body, &question)) {
        const struct qvl_ollama_writer_settings settings = {.model = app->options.model_name,
                                                            .now = write_now,
                                                            .now_ms = qvl_now_ms,
                                                            .started_ms = qvl_exchange_request(x)->received_ms,
                                                            .seed = call.ask.options.sampling.seed,
                                                            .is_chat = read == qvl_ollama_chat_read,
                                                            .is_streamed = call.body.is_streamed,
                                                            .want_logprobs = call.body.want_logprobs};
        if (question.body.is_load)
            reply_nothing(&call, &settings, question.body.is_unload);
        else
            run(&call, &settings);
    }
    qvl_call_close(&call);
}

static void answer_chat(void *user, struct qvl_exchange *x)
{
    answer(user, x, qvl_ollama_chat_read);
}

static void answer_generate(void *user, struct qvl_exchange *x)
{
    answer(user, x, qvl_ollama_generate_read);
}

/* ---- models -------------------------------------------------------------------------------------- */

static void reply_model(struct qvl_app *app, struct qvl_exchange *x,
                        enum qvl_status (*write)(const struct qvl_ollama_model *model, struct qvl_bytes *out,
                                                 struct qvl_error *err))
{
    char since[QVL_OLLAMA_TIME_BYTES];
    struct qvl_bytes json = {0};
    struct qvl_error err = {0};
    const struct qvl_ollama_model model = {
        .name = app->options.model_name, .info = &app->info, .sampling = &app->options.sampling, .since = since};
    write_time((time_t)app->started_s, 0, since);
    qvl_reply_built(x, write(&model, &json, &err), &json, &err);
}

static void answer_tags(void *user, struct qvl_exchange *x)
{
    reply_model(user, x, qvl_ollama_tags_json);
}

static void answer_ps(void *user, struct qvl_exchange *x)
{
    reply_model(user, x, qvl_ollama_ps_json);
}

static void answer_version(void *user, struct qvl_exchange *x)
{
    static const char text[] = "{\"version\":\"" QVL_OLLAMA_VERSION "\",\"qvl\":\"" QVL_VERSION "\"}";
    (void)user;
    qvl_exchange_reply(x, 200, "application/json", text, sizeof text - 1);
}

struct show_fields {
    const struct qvl_json_node *model, *name, *system, *options;
    bool is_verbose;
};

/* Whether the model's name, with or without the tag that says nothing, is the one that is served. */
static bool is_served(const struct qvl_app *app, const struct qvl_json_node *name)
{
    static const char latest[] = ":latest";
    const char *served = app->options.model_name;
    size_t n = strlen(served);
    return name && name->n >= n && memcmp(name->utf8, served, n) == 0 &&
           (name->n == n || (name->n == n + strlen(latest) && memcmp(name->utf8 + n, latest, name->n - n) == 0));
}

static enum qvl_status read_show(const struct qvl_http_request *request, struct qvl_arena *arena,
                                 struct qvl_json_tree *tree, struct show_fields *fields, struct qvl_bytes *unknown,
                                 const char **param, struct qvl_error *err)
{
    static const struct qvl_field table[] = {
        {"model", QVL_FIELD_STRING, offsetof(struct show_fields, model), 0, 0, NULL},
        {"name", QVL_FIELD_STRING, offsetof(struct show_fields, name), 0, 0, NULL},
        {"verbose", QVL_FIELD_BOOL, offsetof(struct show_fields, is_verbose), 0, 0, NULL},
        {"system", QVL_FIELD_STRING, offsetof(struct show_fields, system), 0, 0, NULL},
        {"options", QVL_FIELD_OBJECT, offsetof(struct show_fields, options), 0, 0, NULL},
    };
    enum qvl_status status = qvl_json_tree_read((const char *)request->body, request->n_body, qvl_text("the body"),
                                                QVL_MAX_BODY_VALUES, arena, tree, err);
    if (status)
        return status;
    if (tree->node->kind != QVL_JSON_OBJECT)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the body must be a JSON object");
    status = qvl_fields_read(tree->node, table, sizeof table / sizeof *table, fields, unknown, param, err);
    if (!status && !fields->model && !fields->name)
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "%s is missing", "model");
    return status;
}

static void answer_show(void *user, struct qvl_exchange *x)
{
    struct qvl_app *app = user;
    struct qvl_arena arena = {0};
    struct qvl_json_tree tree = {0};
    struct show_fields fields = {0};
    struct qvl_bytes unknown = {0};
    struct qvl_error err = {0};
    const char *param = NULL;
    if (read_show(qvl_exchange_request(x), &arena, &tree, &fields, &unknown, &param, &err)) {
        qvl_reply_failure(x, &err, param);
    } else if (app->options.is_model_strict && !is_served(app, fields.model ? fields.model : fields.name)) {
        qvl_fail(&err, QVL_ERR_ARGUMENT, "there is no such model here; /api/tags names the one that is served");
        qvl_reply_error(x, 404, "model_not_found", "model", err.text);
    } else if (qvl_reply_unknown(x, &unknown)) {
        reply_model(app, x, qvl_ollama_show_json);
    }
    qvl_bytes_free(&unknown);
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
}

const struct qvl_route qvl_ollama_routes[] = {
    {"POST", "/api/chat", answer_chat, .lane = QVL_LANE_MODEL, .want_body = true},
    {"POST", "/api/generate", answer_generate, .lane = QVL_LANE_MODEL, .want_body = true},
    {"GET", "/api/tags", answer_tags, .lane = QVL_LANE_LIGHT},
    {"GET", "/api/ps", answer_ps, .lane = QVL_LANE_LIGHT},
    {"GET", "/api/version", answer_version, .lane = QVL_LANE_NOW},
    {"POST", "/api/show", answer_show, .lane = QVL_LANE_LIGHT, .want_body = true},
};
const size_t qvl_n_ollama_route = sizeof qvl_ollama_routes / sizeof *qvl_ollama_routes;
