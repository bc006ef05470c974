/* POST /v1/responses, stateless, and what a question would cost (…/input_tokens): openai_responses_read.h makes the
 * question of the body, call.h runs it, openai_responses_write.h says what comes. */
#include <time.h>

#include "server/app.h"
#include "server/call.h"
#include "server/openai_responses_read.h"
#include "server/openai_responses_write.h"
#include "server/reply.h"

static uint64_t now_s(void)
{
    return (uint64_t)time(NULL);
}

static enum qvl_status read_body(void *user, struct qvl_call *call, const struct qvl_chat_read_settings *settings,
                                 struct qvl_error *err)
{
    const struct qvl_http_request *request = qvl_exchange_request(call->x);
    struct qvl_bytes *echo = user;
    call->conversation = "input";
    call->longest = "max_output_tokens";
    return qvl_responses_body_read((const char *)request->body, request->n_body, settings, &call->ask, &call->body,
                                   echo, err);
}

static void run(struct qvl_call *call, const struct qvl_bytes *echo)
{
    struct qvl_responses_writer writer;
    char id[48];
    struct qvl_error err = {0};
    if (qvl_call_make_id(id, sizeof id, "resp_", &err)) {
        qvl_reply_failure(call->x, &err, NULL);
        return;
    }
    const struct qvl_responses_writer_settings settings = {.id = id,
                                                           .model = call->app->options.model_name,
                                                           .echo = echo->data,
                                                           .created_s = now_s(),
                                                           .seed = call->ask.options.sampling.seed,
                                                           .now_s = now_s,
                                                           .is_streamed = call->body.is_streamed,
                                                           .want_progress = call->body.want_progress,
                                                           .want_logprobs = call->body.want_logprobs};
    const struct qvl_chat_out out = qvl_call_out(call);
    qvl_responses_writer_init(&writer, &settings, &out);
    const struct qvl_ask_sink sink = qvl_responses_writer_sink(&writer);
    qvl_call_run(call, &sink, &writer.err);
    qvl_responses_writer_free(&writer);
}

static void answer_response(void *user, struct qvl_exchange *x)
{
    struct qvl_call call;
    struct qvl_bytes echo = {0};
    if (qvl_call_open(&call, user, x, read_body, &echo))
        run(&call, &echo);
    qvl_call_close(&call);
    qvl_bytes_free(&echo);
}

static void answer_count(void *user, struct qvl_exchange *x)
{
    struct qvl_call call;
    struct qvl_bytes echo = {0};
    if (qvl_call_open(&call, user, x, read_body, &echo))
        qvl_call_count(&call);
    qvl_call_close(&call);
    qvl_bytes_free(&echo);
}

const struct qvl_route qvl_openai_responses_routes[] = {
    {"POST", "/v1/responses", answer_response, .lane = QVL_LANE_MODEL, .want_body = true},
    {"POST", "/responses", answer_response, .lane = QVL_LANE_MODEL, .want_body = true},
    {"POST", "/v1/responses/input_tokens", answer_count, .lane = QVL_LANE_MODEL, .want_body = true},
    {"POST", "/responses/input_tokens", answer_count, .lane = QVL_LANE_MODEL, .want_body = true},
};
const size_t qvl_n_openai_responses_route =
    sizeof qvl_openai_responses_routes / sizeof *qvl_openai_responses_routes;
