/* Enters: options. Leaves: a server that listens, and everything that it consists of, opened in one order and
 * closed in the other.
 *
 * What happens to a request here: dispatch, on the thread that moves the bytes, answers it at once or hands it to
 * its lane; over, on the same thread, logs and counts it when it has ended. While the server drains it goes on
 * listening, so that /health can say so and new requests get a 503 that names the reason, until the last answer is
 * done. */
#include "server/server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "server/app.h"
#include "server/http_guard.h"
#include "server/media_fetch.h"
#include "server/media_path.h"
#include "server/reply.h"

enum { STOP_MS = 5000 };

struct qvl_server {
    struct qvl_app app;
    struct qvl_bytes tls_cert, tls_key;
};

/* ---- what options may be ------------------------------------------------------------------------- */

static void fill_defaults(struct qvl_server_options *o)
{
    if (!o->host)
        o->host = "127.0.0.1";
    if (!o->port && !o->want_any_port)
        o->port = 8080;
    if (!o->n_parallel)
        o->n_parallel = 16;
    if (!o->n_queue)
        o->n_queue = 128;
    if (!(o->deadline_s > 0))
        o->deadline_s = 3600;
    if (!(o->drain_s > 0))
        o->drain_s = 30;
}

/* Only this machine's own programs can reach it. */
static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcmp(host, "localhost") == 0;
}

/* A key goes into a header: visible ASCII. */
static enum qvl_status check_keys(const struct qvl_server_options *o, struct qvl_error *err)
{
    for (size_t i = 0; i < o->n_api_key; i++) {
        const char *key = o->api_key[i];
        size_t n = strlen(key);
        bool is_good = n >= 1 && n <= QVL_MAX_API_KEY_BYTES;
        for (size_t k = 0; k < n; k++)
            is_good = is_good && key[k] > 0x20 && key[k] < 0x7F;
        if (!is_good)
            return qvl_fail(err, QVL_ERR_ARGUMENT,
                            "API key %zu: a key has 1 to %u characters, visible ones of ASCII without blanks",
                            i + 1, QVL_MAX_API_KEY_BYTES);
    }
    return QVL_OK;
}

/* Browsers say "https://example.org:8443", without a path. */
static bool is_origin(const char *text)
{
    const char *host = strncmp(text, "https://", 8) == 0  ? text + 8
                       : strncmp(text, "http://", 7) == 0 ? text + 7
                                                          : "";
    return *host && strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]") == strlen(host);
}

static enum qvl_status check_options(const struct qvl_server_options *o, struct qvl_error *err)
{
    if (!is_loopback(o->host) && o->n_api_key == 0 && !o->is_public_without_key)
        return qvl_fail(
            err, QVL_ERR_ARGUMENT,
            "%s can be reached from other machines: give --api-key-file (or --api-key), or --public to serve "
            "everyone without a key",
            o->host);
    if (!o->tls_cert != !o->tls_key)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--ssl-cert-file and --ssl-key-file go together");
    for (size_t i = 0; i < o->n_cors_origin; i++)
        if (!is_origin(o->cors_origin[i]))
            return qvl_fail(err, QVL_ERR_ARGUMENT,
                            "--cors-origins %.100s: an origin is written as browsers say it, like "
                            "https://example.org:8443, in small letters and without a path",
                            o->cors_origin[i]);
    return check_keys(o, err);
}

/* ---- requests ------------------------------------------------------------------------------------ */

static void refuse_draining(void *user, struct qvl_exchange *x)
{
    (void)user;
    qvl_reply_error(x, 503, "draining", NULL, qvl_text("the server is stopping"));
}

static void refuse_full(void *user, struct qvl_exchange *x)
{
    struct qvl_app *app = user;
    struct qvl_error err = {0};
    struct qvl_work_count count;
    qvl_work_count(app->work, &count);
    qvl_fail(&err, QVL_ERR_LIMIT, "the queue is full: %zu requests wait; please ask again in %u s", count.n_waiting,
             count.retry_after_s);
    qvl_reply_busy(x, 429, "queue_full", err.text, count.retry_after_s);
}

static void dispatch(void *user, const struct qvl_route *route, struct qvl_exchange *x)
{
    struct qvl_app *app = user;
    if (route->lane == QVL_LANE_NOW)
        route->answer(app, x);
    else if (route->lane == QVL_LANE_MODEL && atomic_load(&app->is_draining))
        refuse_draining(app, x);
    else if (!qvl_work_add(app->work, route, app, x))
        (atomic_load(&app->is_draining) ? refuse_draining : refuse_full)(app, x);
}

static void refuse(void *user, struct qvl_exchange *x, unsigned status, const char *code, const char *text)
{
    (void)user;
    qvl_reply_error(x, status, code, NULL, text);
}

/* ---- log and metrics ----------------------------------------------------------------------------- */

/* A path's route, whatever the method; other paths, of which clients can make up any number, are one. */
static const char *name_route(const struct qvl_app *app, const char *path)
{
    for (size_t i = 0; path && i < app->n_route; i++)
        if (qvl_route_has_path(&app->route[i], path, strlen(path)))
            return app->route[i].path;
    return "unknown";
}

/* What monitors ask every few seconds is counted, not logged. */
static bool is_probe(const char *route)
{
    return strcmp(route, "/health") == 0 || strcmp(route, "/ready") == 0 || strcmp(route, "/metrics") == 0;
}

static void over(void *user, const struct qvl_exchange *x)
{
    struct qvl_app *app = user;
    const struct qvl_http_request *request = qvl_exchange_request(x);
    const char *route = name_route(app, request->path);
    struct qvl_exchange_facts facts;
    struct qvl_log_line line;
    qvl_exchange_get_facts(x, &facts);
    qvl_metrics_count_reply(app->metrics, route, facts.status);
    bool is_good = facts.status >= 200 && facts.status < 400;
    if ((is_good || facts.status == 503) && is_probe(route))
        return;
    qvl_log_begin(app->log, &line, is_good ? "request" : facts.status ? "refused" : "gone");
    line.want_each = is_good;
    qvl_log_add_detail(&line, "id", request->id);
    qvl_log_add_detail(&line, "method", request->method);
    qvl_log_add_text(&line, "route", route);
    qvl_log_add_detail(&line, "path", request->path);
    qvl_log_add_code(&line, "status", facts.status);
    qvl_log_add_number(&line, "ms", facts.ms);
    qvl_log_add_number(&line, "bytes_in", (double)facts.n_in);
    qvl_log_add_number(&line, "bytes_out", (double)facts.n_out);
    if (facts.is_cut)
        qvl_log_add_number(&line, "cut", 1);
    qvl_log_end(&line);
}

static void log_event(struct qvl_app *app, const char *event)
{
    struct qvl_log_line line;
    qvl_log_begin(app->log, &line, event);
    line.want_each = true;
    qvl_log_add_text(&line, "version", QVL_VERSION);
    qvl_log_add_text(&line, "model", app->options.model_name);
    if (app->http) {
        qvl_log_add_text(&line, "host", app->options.host);
        qvl_log_add_number(&line, "port", qvl_http_port(app->http));
    }
    qvl_log_end(&line);
}

/* From the engine, which goes on. */
static void log_warning(void *user, const char *sentence)
{
    struct qvl_app *app = user;
    struct qvl_log_line line;
    qvl_log_begin(app->log, &line, "warning");
    qvl_log_add_text(&line, "message", sentence);
    qvl_log_end(&line);
}

/* ---- opening ------------------------------------------------------------------------------------- */

static enum qvl_status gather_routes(struct qvl_app *app, struct qvl_error *err)
{
    const struct {
        const struct qvl_route *route;
        size_t n;
    } api[] = {{qvl_page_routes, qvl_n_page_route},
               {qvl_model_routes, qvl_n_model_route},
               {qvl_openai_chat_routes, qvl_n_openai_chat_route},
               {qvl_openai_responses_routes, qvl_n_openai_responses_route},
               {qvl_ollama_routes, qvl_n_ollama_route}};
    enum { N_API = sizeof api / sizeof *api };
    size_t n = 0;
    for (size_t i = 0; i < N_API; i++)
        n += api[i].n;
    app->route = calloc(n, sizeof *app->route);
    if (!app->route)
        return qvl_fail_memory(err, n * sizeof *app->route, "the routes");
    for (size_t i = 0; i < N_API; i++)
        for (size_t k = 0; k < api[i].n; k++)
            app->route[app->n_route++] = api[i].route[k];
    return QVL_OK;
}

/* Where pictures and clips may come from besides the request itself. */
static enum qvl_status open_media(struct qvl_app *app, struct qvl_error *err)
{
    const struct qvl_server_options *o = &app->options;
    struct qvl_media_fetch_options options = {.want_plain_http = o->want_plain_http_fetch,
                                              .host = o->fetch_host,
                                              .n_host = o->n_fetch_host,
                                              .log = app->log};
    enum qvl_status status = o->media_path ? qvl_media_path_open(o->media_path, &app->media_folder, err) : QVL_OK;
    if (!status && o->want_url_fetch)
        status = qvl_media_fetcher_open(&options, &app->fetcher, err);
    return status;
}

static enum qvl_status open_http(struct qvl_server *server, struct qvl_error *err)
{
    const struct qvl_server_options *o = &server->app.options;
    enum qvl_status status = QVL_OK;
    if (o->tls_cert && (status = qvl_os_read_file(o->tls_cert, QVL_MAX_PEM_BYTES, &server->tls_cert, err)))
        return status;
    if (o->tls_key && (status = qvl_os_read_file(o->tls_key, QVL_MAX_PEM_BYTES, &server->tls_key, err)))
        return status;
    struct qvl_http_options http = {
        .host = o->host,
        .port = o->want_any_port ? 0 : o->port,
        .tls_cert = server->tls_cert.data,
        .tls_key = server->tls_key.data,
        .api_key = o->api_key,
        .n_api_key = o->n_api_key,
        .host_name = o->host_name,
        .n_host_name = o->n_host_name,
        .cors_origin = o->cors_origin,
        .n_cors_origin = o->n_cors_origin,
        .max_body_bytes = o->max_body_bytes ? o->max_body_bytes : QVL_MAX_HTTP_BODY_BYTES,
        .max_form_bytes = o->max_body_bytes ? o->max_body_bytes : QVL_MAX_HTTP_FORM_BYTES,
        .route = server->app.route,
        .n_route = server->app.n_route,
        .dispatch = dispatch,
        .refuse = refuse,
        .over = over,
        .user = &server->app};
    return qvl_http_open(&http, &server->app.http, err);
}

enum qvl_status qvl_server_open(const struct qvl_server_options *options, struct qvl_server **out,
                                struct qvl_error *err)
{
    struct qvl_server *server = calloc(1, sizeof *server);
    enum qvl_status status;
    if (!server)
        return qvl_fail_memory(err, sizeof *server, "the server");
    struct qvl_app *app = &server->app;
    app->options = *options;
    app->engine = options->engine;
    app->started_s = (uint64_t)time(NULL);
    fill_defaults(&app->options);
    qvl_engine_get_info(app->engine, &app->info);
    struct qvl_work_options work = {.n_thread = app->options.n_parallel, .n_queue = app->options.n_queue};
    if ((status = check_options(&app->options, err)) ||
        (status = qvl_log_open(app->options.log_file, &app->log, err)) ||
        (status = qvl_metrics_open(&app->metrics, err)) || (status = qvl_work_open(&work, &app->work, err)) ||
        (status = open_media(app, err)) || (status = gather_routes(app, err)) ||
        (status = open_http(server, err))) {
        qvl_server_close(server);
        return status;
    }
    qvl_engine_watch_warnings(app->engine, log_warning, app);
    log_event(app, "listening");
    *out = server;
    return QVL_OK;
}

uint32_t qvl_server_port(const struct qvl_server *server)
{
    return qvl_http_port(server->app.http);
}

void qvl_server_ready(struct qvl_server *server)
{
    qvl_work_start(server->app.work);
    atomic_store(&server->app.is_ready, true);
    log_event(&server->app, "ready");
}

void qvl_server_reopen_log(struct qvl_server *server)
{
    qvl_log_reopen(server->app.log);
}

/* ---- ending -------------------------------------------------------------------------------------- */

void qvl_server_drain(struct qvl_server *server, const atomic_bool *stop_now)
{
    struct qvl_app *app = &server->app;
    atomic_store(&app->is_draining, true);
    log_event(app, "draining");
    if (!atomic_load(&app->is_ready)) /* what waits for the model would wait for ever */
        qvl_work_drop(app->work, refuse_draining, app);
    if (!qvl_work_wait(app->work, qvl_now_ms() + app->options.drain_s * 1e3, stop_now)) {
        atomic_store(&app->must_stop, true);
        qvl_work_drop(app->work, refuse_draining, app);
        qvl_http_give_up_stalled(app->http);
        qvl_work_wait(app->work, qvl_now_ms() + STOP_MS, NULL);
    }
    qvl_http_stop_listening(app->http);
    log_event(app, "drained");
}

static void free_secret(struct qvl_bytes *bytes)
{
    if (bytes->data)
        explicit_bzero(bytes->data, bytes->n);
    qvl_bytes_free(bytes);
}

void qvl_server_close(struct qvl_server *server)
{
    if (!server)
        return;
    struct qvl_app *app = &server->app;
    atomic_store(&app->is_draining, true);
    atomic_store(&app->must_stop, true);
    if (app->http)
        qvl_http_stop_listening(app->http);
    if (app->work)
        qvl_work_drop(app->work, refuse_draining, app);
    qvl_work_close(app->work);
    if (app->http)
        qvl_http_close(app->http);
    qvl_media_fetcher_close(app->fetcher);
    qvl_media_path_close(app->media_folder);
    qvl_metrics_close(app->metrics);
    if (app->log)
        qvl_engine_watch_warnings(app->engine, NULL, NULL);
    qvl_log_close(app->log);
    free(app->route);
    free_secret(&server->tls_cert);
    free_secret(&server->tls_key);
    free(server);
}
