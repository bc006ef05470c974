/* Errors have the shape that OpenAI's SDKs read: https://github.com/openai/openai-openapi, schema "Error". They ask
 * again after 408, 409, 429 and every 5xx unless x-should-retry says no; without it a long clip would be encoded
 * three times for the same fault. */
#include "server/reply.h"

#include <stdio.h>
#include <string.h>

#include "base/language.h"
#include "server/app.h"

enum { RETRY_AFTER_S = 2 }; /* where nothing better is known */

static const struct {
    unsigned http;
    const char *code;
} replies[] = {
    [QVL_OK] = {200, NULL},
    [QVL_ERR_ARGUMENT] = {400, "invalid_value"},
    [QVL_ERR_FILE] = {500, "internal_error"},
    [QVL_ERR_MODEL] = {500, "internal_error"},
    [QVL_ERR_MEDIA] = {422, "invalid_media"},
    [QVL_ERR_LIMIT] = {400, "limit_exceeded"},
    [QVL_ERR_MEMORY] = {503, "out_of_memory"},
    [QVL_ERR_CANCELLED] = {503, "cancelled"},
    [QVL_ERR_INTERNAL] = {500, "internal_error"},
};

unsigned qvl_http_status_of(enum qvl_status status)
{
    return (unsigned)status < sizeof replies / sizeof *replies ? replies[status].http : 500;
}

/* A conversation that is too long is what clients look for by this name, to make it shorter or to go to a model
 * with more context: so no other limit has it. */
static const char *code_of(enum qvl_status status, const char *param)
{
    if ((unsigned)status >= sizeof replies / sizeof *replies)
        return "internal_error";
    bool is_conversation = param && (strncmp(param, "messages", 8) == 0 || strcmp(param, "prompt") == 0 ||
                                     strcmp(param, "input") == 0);
    return status == QVL_ERR_LIMIT && is_conversation ? "context_length_exceeded" : replies[status].code;
}

/* LiteLLM looks at the type before the status: what it calls a bad request is none where a key is wrong. */
static const char *type_of(unsigned status)
{
    return status >= 500   ? "server_error"
           : status == 429 ? "rate_limit_error"
           : status == 401 ? "authentication_error"
           : status == 403 ? "permission_error"
                           : "invalid_request_error";
}

const char *qvl_text_for_client(const struct qvl_error *failure)
{
    return qvl_http_status_of(failure->status) == 500
               ? qvl_text("an internal fault; the server's log has the reason")
               : failure->text;
}

static enum qvl_status add_string_or_null(struct qvl_bytes *out, const char *text, struct qvl_error *err)
{
    return text ? qvl_bytes_add_json_string(out, text, strlen(text), err) : qvl_bytes_add_text(out, "null", err);
}

static enum qvl_status add_error(struct qvl_bytes *out, unsigned status, const char *code, const char *param,
                                 const char *text, struct qvl_error *err)
{
    enum qvl_status failed = qvl_bytes_add_text(out, "{\"error\": {\"message\": ", err);
    if (!failed)
        failed = qvl_bytes_add_json_string(out, text, strlen(text), err);
    if (!failed)
        failed = qvl_bytes_add_format(out, err, ", \"type\": \"%s\", \"param\": ", type_of(status));
    if (!failed)
        failed = add_string_or_null(out, param, err);
    if (!failed)
        failed = qvl_bytes_add_text(out, ", \"code\": ", err);
    if (!failed)
        failed = add_string_or_null(out, code, err);
    return failed ? failed : qvl_bytes_add_text(out, "}}", err);
}

static enum qvl_status add_ollama_error(struct qvl_bytes *out, const char *text, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(out, "{\"error\": ", err);
    if (!status)
        status = qvl_bytes_add_json_string(out, text, strlen(text), err);
    return status ? status : qvl_bytes_add_text(out, "}", err);
}

void qvl_reply_json(struct qvl_exchange *x, unsigned status, const struct qvl_bytes *json)
{
    qvl_exchange_reply(x, status, "application/json", json->data, json->n);
}

void qvl_reply_built(struct qvl_exchange *x, enum qvl_status status, struct qvl_bytes *json,
                     const struct qvl_error *err)
{
    if (status)
        qvl_reply_failure(x, err, NULL);
    else
        qvl_reply_json(x, 200, json);
    qvl_bytes_free(json);
}

static void reply_error(struct qvl_exchange *x, unsigned status, const char *code, const char *param,
                        const char *text, unsigned retry_after_s)
{
    static const char no_memory[] = "{\"error\": {\"message\": \"out of memory\", \"type\": \"server_error\", "
                                    "\"param\": null, \"code\": \"out_of_memory\"}}";
    const char *path = qvl_exchange_request(x)->path;
    struct qvl_bytes json = {0};
    struct qvl_error err = {0};
    char seconds[16];
    bool is_worth_retrying = status == 408 || status == 429 || status == 503;
    if (status == 429 || status == 503) {
        snprintf(seconds, sizeof seconds, "%u", retry_after_s);
        qvl_exchange_add_header(x, "Retry-After", seconds);
    }
    if (!is_worth_retrying)
        qvl_exchange_add_header(x, "x-should-retry", "false");
    if (path && strncmp(path, "/api/", 5) == 0 ? add_ollama_error(&json, text, &err)
                                               : add_error(&json, status, code, param, text, &err))
        qvl_exchange_reply(x, 503, "application/json", no_memory, sizeof no_memory - 1);
    else
        qvl_reply_json(x, status, &json);
    qvl_bytes_free(&json);
}

void qvl_reply_error(struct qvl_exchange *x, unsigned status, const char *code, const char *param, const char *text)
{
    reply_error(x, status, code, param, text, RETRY_AFTER_S);
}

void qvl_reply_busy(struct qvl_exchange *x, unsigned status, const char *code, const char *text,
                    unsigned retry_after_s)
{
    reply_error(x, status, code, NULL, text, retry_after_s);
}

/* The sentence of a failure that clients are not told; of others nothing happens. */
static void log_failure(struct qvl_exchange *x, const struct qvl_error *failure)
{
    struct qvl_app *app = qvl_exchange_user(x);
    struct qvl_log_line line;
    if (qvl_http_status_of(failure->status) != 500 || !app || !app->log)
        return;
    qvl_log_begin(app->log, &line, "failure");
    qvl_log_add_detail(&line, "id", qvl_exchange_request(x)->id);
    qvl_log_add_text(&line, "error", failure->text);
    qvl_log_end(&line);
}

void qvl_reply_failure(struct qvl_exchange *x, const struct qvl_error *err, const char *param)
{
    log_failure(x, err);
    reply_error(x, qvl_http_status_of(err->status), code_of(err->status, param), param, qvl_text_for_client(err),
                RETRY_AFTER_S);
}

bool qvl_reply_unknown(struct qvl_exchange *x, const struct qvl_bytes *unknown)
{
    const struct qvl_app *app = qvl_exchange_user(x);
    struct qvl_error err = {0};
    if (unknown->n == 0)
        return true;
    if (!app->options.is_strict) {
        qvl_exchange_add_header(x, "x-ignored-params", unknown->data);
        return true;
    }
    qvl_fail(&err, QVL_ERR_ARGUMENT, "unknown fields: %s", unknown->data);
    qvl_reply_error(x, 400, "unknown_parameter", unknown->data, err.text);
    return false;
}

bool qvl_reply_model(struct qvl_exchange *x, const char *name, size_t n)
{
    const struct qvl_app *app = qvl_exchange_user(x);
    const char *served = app->options.model_name;
    struct qvl_error err = {0};
    if (!app->options.is_model_strict || (n == strlen(served) && memcmp(name, served, n) == 0))
        return true;
    qvl_fail(&err, QVL_ERR_ARGUMENT, "there is no model %.*s here: the one served is %s", (int)(n < 100 ? n : 100),
             name, served);
    qvl_reply_error(x, 404, "model_not_found", "model", err.text);
    return false;
}

enum qvl_status qvl_error_json(struct qvl_bytes *out, const struct qvl_error *failure, const char *param,
                               struct qvl_error *err)
{
    return add_error(out, qvl_http_status_of(failure->status), code_of(failure->status, param), param,
                     qvl_text_for_client(failure), err);
}
