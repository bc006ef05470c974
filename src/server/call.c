#include "server/call.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/language.h"
#include "base/os.h"
#include "server/answer_json.h"
#include "server/reply.h"
#include "server/sse.h"

enum { GONE = 499 }; /* nginx's number for a client that left; only the log sees it */

/* ---- from the body to the question --------------------------------------------------------------- */

static enum qvl_status read_question(struct qvl_call *c, qvl_call_reader *read, void *user, struct qvl_error *err)
{
    struct qvl_chat_read_settings settings = {.is_thinking = c->app->info.is_thinking,
                                              .want_video_wrapper = c->app->options.want_video_wrapper};
    enum qvl_status status = qvl_ask_init(&c->ask, c->app, qvl_exchange_request(c->x), err);
    if (status)
        return status;
    qvl_media_request_init(&c->media, c->app, c->x);
    qvl_media_request_settings(&c->media, &settings.media);
    return read(user, c, &settings, err);
}

bool qvl_call_open(struct qvl_call *c, struct qvl_app *app, struct qvl_exchange *x, qvl_call_reader *read,
                   void *user)
{
    struct qvl_error err = {0};
    *c = (struct qvl_call){.app = app, .x = x, .conversation = "messages", .longest = "max_tokens"};
    if (read_question(c, read, user, &err)) {
        if (c->media.is_late)
            qvl_reply_error(x, 504, "deadline_exceeded", c->body.param, err.text);
        else if (c->media.code)
            qvl_reply_error(x, 400, c->media.code, c->body.param, err.text);
        else
            qvl_reply_failure(x, &err, c->body.param);
        return false;
    }
    return (!c->body.model || qvl_reply_model(x, c->body.model, strlen(c->body.model))) &&
           qvl_reply_unknown(x, &c->body.unknown);
}

void qvl_call_close(struct qvl_call *c)
{
    qvl_chat_body_free(&c->body);
    qvl_ask_free(&c->ask);
}

/* ---- from the answer to the client --------------------------------------------------------------- */

static bool begin(void *user)
{
    struct qvl_call *c = user;
    if (c->has_begun)
        return true;
    c->has_begun = true;
    if (c->is_ndjson)
        qvl_exchange_begin(c->x, 200, "application/x-ndjson");
    else
        qvl_sse_begin(c->x);
    return true;
}

/* Of a stream that has not begun: a sign of life, since preparing takes long; what fails now is told in the stream.
 */
static bool send(void *user, const char *data, size_t n)
{
    struct qvl_call *c = user;
    if (c->body.is_streamed)
        return begin(c) && qvl_exchange_send(c->x, data, n);
    qvl_exchange_reply(c->x, 200, "application/json", data, n);
    c->is_replied = true;
    return true;
}

static const char *token(void *user, uint32_t id, size_t *n, bool *is_special)
{
    const struct qvl_call *c = user;
    return qvl_token_bytes(c->app->engine, id, n, is_special);
}

/* The conversation is longer than the context: what makes it shorter. */
static void make_hint(const struct qvl_call *c, const struct qvl_error *failure, const struct qvl_ask_usage *u,
                      struct qvl_error *hint)
{
    if (u->n_video_tok > u->n_image_tok)
        qvl_fail(hint, QVL_ERR_LIMIT,
                 "%s; fewer frames (fps, max_frames) or pixels (max_pixels) make clips shorter", failure->text);
    else if (u->n_image_tok > 0)
        qvl_fail(hint, QVL_ERR_LIMIT, "%s; a smaller max_pixels makes pictures shorter", failure->text);
    else
        qvl_fail(hint, QVL_ERR_LIMIT, "%s; a smaller %s or a shorter conversation will do", failure->text,
                 c->longest);
}

/* With the numbers that routers read. */
static void reply_too_long(struct qvl_call *c, const struct qvl_error *failure, const struct qvl_ask_usage *u)
{
    struct qvl_bytes json = {0};
    struct qvl_error err = {0}, hint = {0};
    make_hint(c, failure, u, &hint);
    if (c->is_ndjson) {
        qvl_reply_error(c->x, 400, "context_length_exceeded", c->conversation, hint.text);
        return;
    }
    enum qvl_status status = qvl_bytes_add_text(&json, "{\"error\": {\"message\": ", &err);
    if (!status)
        status = qvl_bytes_add_json_string(&json, hint.text, strlen(hint.text), &err);
    if (!status)
        status = qvl_bytes_add_format(&json, &err,
                                      ", \"type\": \"invalid_request_error\", \"param\": \"%s\", \"code\": "
                                      "\"context_length_exceeded\", \"n_prompt_tokens\": %zu, \"n_ctx\": %u}}",
                                      c->conversation, u->n_prompt_tok, c->app->info.n_ctx);
    qvl_exchange_add_header(c->x, "x-should-retry", "false");
    if (status)
        qvl_reply_failure(c->x, &err, NULL);
    else
        qvl_reply_json(c->x, 400, &json);
    qvl_bytes_free(&json);
}

static bool opens(const struct qvl_call *c, const struct qvl_request_options *options)
{
    struct qvl_request *request = NULL;
    struct qvl_error ignored = {0};
    bool is_good = !qvl_request_open(c->app->engine, &c->ask.chat.chat, options, &request, &ignored);
    qvl_request_close(request);
    return is_good;
}

/* The field that the engine refused: what opens without it. */
static const char *find_refused(const struct qvl_call *c)
{
    struct qvl_request_options options = c->ask.options;
    if (opens(c, &options)) /* found later, in the prompt */
        return c->conversation;
    options.n_logit_bias = 0;
    if (opens(c, &options))
        return "logit_bias";
    options = c->ask.options;
    options.constraint.kind = QVL_CONSTRAINT_NONE;
    return opens(c, &options) ? c->body.form : c->conversation;
}

static void fail(void *user, const struct qvl_error *failure, const struct qvl_ask_usage *usage)
{
    struct qvl_call *c = user;
    bool is_request = failure->status == QVL_ERR_ARGUMENT || failure->status == QVL_ERR_LIMIT;
    c->is_replied = true;
    if (usage->is_late) /* no 503: it would take as long once more */
        qvl_reply_error(c->x, 504, "deadline_exceeded", NULL, failure->text);
    else if (failure->status == QVL_ERR_LIMIT && usage->n_prompt_tok > 0)
        reply_too_long(c, failure, usage);
    else
        qvl_reply_failure(c->x, failure,
                          is_request                         ? find_refused(c)
                          : failure->status == QVL_ERR_MEDIA ? c->conversation
                                                             : NULL);
}

struct qvl_chat_out qvl_call_out(struct qvl_call *c)
{
    return (struct qvl_chat_out){.user = c, .begin = begin, .send = send, .fail = fail, .token = token};
}

/* Whoever got no reply gets one, so that the exchange is over. */
void qvl_call_run(struct qvl_call *c, const struct qvl_ask_sink *sink, const struct qvl_error *broken)
{
    bool is_told = qvl_ask_run(c->app, c->x, &c->ask, sink);
    if (c->has_begun)
        qvl_exchange_end(c->x, is_told && !broken->status);
    else if (!c->is_replied && broken->status)
        qvl_reply_failure(c->x, broken, NULL);
    else if (!c->is_replied)
        qvl_reply_error(c->x, GONE, "client_closed_request", NULL, qvl_text("the client has left"));
}

/* ---- counting ------------------------------------------------------------------------------------ */

static bool reply_count(void *user, const struct qvl_ask_usage *u)
{
    struct qvl_call *c = user;
    struct qvl_bytes json = {0};
    struct qvl_error err = {0};
    c->is_replied = true;
    enum qvl_status status = qvl_bytes_add_format(
        &json, &err,
        "{\"object\":\"response.input_tokens\",\"input_tokens\":%zu,\"input_tokens_details\":{\"image_tokens\":%zu,"
        "\"video_tokens\":%zu,\"text_tokens\":%zu},\"n_ctx\":%u,\"qvl\":{\"media\":",
        u->n_prompt_tok, u->n_image_tok, u->n_video_tok, u->n_prompt_tok - u->n_image_tok - u->n_video_tok,
        c->app->info.n_ctx);
    if (!status)
        status = qvl_answer_media_json(&json, u, &err);
    if (!status)
        status = qvl_bytes_add_text(&json, "}}", &err);
    qvl_reply_built(c->x, status, &json, &err);
    return true;
}

void qvl_call_count(struct qvl_call *c)
{
    const struct qvl_ask_sink sink = {.user = c, .end = reply_count, .fail = fail};
    const struct qvl_error nothing = {0};
    c->ask.want_count_only = true;
    qvl_call_run(c, &sink, &nothing);
}

enum qvl_status qvl_call_make_id(char *out, size_t n_out, const char *prefix, struct qvl_error *err)
{
    uint64_t by_chance[2];
    enum qvl_status status = qvl_os_random(by_chance, sizeof by_chance, err);
    if (status)
        return status;
    snprintf(out, n_out, "%s%016" PRIx64 "%016" PRIx64, prefix, by_chance[0], by_chance[1]);
    return QVL_OK;
}
