/* POST /v1/chat/completions, and what a question would cost (…/input_tokens). The body is JSON, or a form, which
 * becomes JSON first (openai_chat_form.h); openai_chat_read.h makes the question of it, call.h runs it,
 * openai_chat_write.h says what comes. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/app.h"
#include "server/call.h"
#include "server/openai_chat_form.h"
#include "server/openai_chat_read.h"
#include "server/openai_chat_write.h"
#include "server/reply.h"

static enum qvl_status read_body(void *user, struct qvl_call *call, const struct qvl_chat_read_settings *settings,
                                 struct qvl_error *err)
{
    const struct qvl_http_request *request = qvl_exchange_request(call->x);
    struct qvl_bytes json = {0};
    (void)user;
    if (strcmp(request->media_type, "multipart/form-data") != 0)
        return qvl_chat_body_read((const char *)request->body, request->n_body, settings, &call->ask, &call->body,
                                  err);
    enum qvl_status status = qvl_exchange_read_form(call->x, err);
    if (status && status != QVL_ERR_MEMORY)
        call->media.code = "bad_form";
    if (!status)
        status = qvl_chat_form_read(request->part, request->n_part, &json, &call->body.param, err);
    if (!status)
        status = qvl_chat_body_read(json.data, json.n, settings, &call->ask, &call->body, err);
    qvl_bytes_free(&json);
    return status;
}

static void run(struct qvl_call *call)
{
    const struct qvl_engine_info *info = &call->app->info;
    const struct qvl_chat_out out = qvl_call_out(call);
    struct qvl_chat_writer writer = {0};
    struct qvl_error err = {0};
    char id[48], fingerprint[64]; /* same bits: same version, kernel level and numbers of keys and values */
    snprintf(fingerprint, sizeof fingerprint, "qvl-%s-%s-%s", QVL_VERSION, info->isa, info->kv);
    const struct qvl_chat_writer_settings settings = {.id = id,
                                                      .model = call->app->options.model_name,
                                                      .fingerprint = fingerprint,
                                                      .created_s = (uint64_t)time(NULL),
                                                      .seed = call->ask.options.sampling.seed,
                                                      .n = call->ask.n,
                                                      .is_streamed = call->body.is_streamed,
                                                      .want_usage = call->body.want_usage,
                                                      .want_progress = call->body.want_progress,
                                                      .want_logprobs = call->body.want_logprobs};
    if (qvl_call_make_id(id, sizeof id, "chatcmpl-", &err) ||
        qvl_chat_writer_init(&writer, &settings, &out, &err)) {
        qvl_reply_failure(call->x, &err, NULL);
    } else {
        const struct qvl_ask_sink sink = qvl_chat_writer_sink(&writer);
        qvl_call_run(call, &sink, &writer.err);
    }
    qvl_chat_writer_free(&writer);
}

static void answer_chat(void *user, struct qvl_exchange *x)
{
    struct qvl_call call;
    if (qvl_call_open(&call, user, x, read_body, NULL))
        run(&call);
    qvl_call_close(&call);
}

static void answer_count(void *user, struct qvl_exchange *x)
{
    struct qvl_call call;
    if (qvl_call_open(&call, user, x, read_body, NULL))
        qvl_call_count(&call);
    qvl_call_close(&call);
}

const struct qvl_route qvl_openai_chat_routes[] = {
    {"POST", "/v1/chat/completions", answer_chat, .lane = QVL_LANE_MODEL, .want_body = true},
    {"POST", "/chat/completions", answer_chat, .lane = QVL_LANE_MODEL, .want_body = true},
    {"POST", "/v1/chat/completions/input_tokens", answer_count, .lane = QVL_LANE_MODEL, .want_body = true},
    {"POST", "/chat/completions/input_tokens", answer_count, .lane = QVL_LANE_MODEL, .want_body = true},
};
const size_t qvl_n_openai_chat_route = sizeof qvl_openai_chat_routes / sizeof *qvl_openai_chat_routes;
