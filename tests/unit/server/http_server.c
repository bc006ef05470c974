#include "http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void answer_now(void *user, struct qvl_exchange *x)
{
    struct server *s = user;
    const struct qvl_http_request *request = qvl_exchange_request(x);
    pthread_mutex_lock(&s->lock);
    s->client = request->client;
    s->cache_salt = request->cache_salt;
    pthread_mutex_unlock(&s->lock);
    bool is_post = strcmp(request->method, "POST") == 0;
    qvl_exchange_reply(x, 200, "text/plain", is_post ? "posted" : "now", is_post ? 6 : 3);
}

static void answer_echo(void *user, struct qvl_exchange *x)
{
    const struct qvl_http_request *request = qvl_exchange_request(x);
    (void)user;
    const char *header = qvl_exchange_header(x, "X-Echo"), *query = qvl_exchange_query(x, "q");
    qvl_exchange_add_header(x, "X-Echoed", "nothing");
    qvl_exchange_add_header(x, "X-Bad", "a\r\nX-Injected: b");
    if (header)
        qvl_exchange_add_header(x, "x-echoed", header); /* in place of the one before */
    if (query)
        qvl_exchange_add_header(x, "X-Query", query);
    qvl_exchange_reply(x, 200, request->media_type, request->body, request->n_body);
}

static size_t number(struct qvl_exchange *x, const char *name, size_t otherwise)
{
    const char *text = qvl_exchange_query(x, name);
    return text ? strtoul(text, NULL, 10) : otherwise;
}

static void answer_stream(void *user, struct qvl_exchange *x)
{
    size_t n = number(x, "n", 3), size = number(x, "size", 10);
    char *piece = malloc(size + 1);
    bool is_there = true;
    (void)user;
    qvl_exchange_begin(x, 200, "text/event-stream; charset=utf-8");
    for (size_t i = 0; i < n && is_there; i++) {
        memset(piece, 'a' + (int)(i % 26), size);
        is_there = qvl_exchange_send(x, piece, size);
    }
    free(piece);
    qvl_exchange_end(x, is_there && !number(x, "cut", 0));
}

static void gone(void *user)
{
    struct server *s = user;
    atomic_fetch_add(&s->n_gone, 1);
    sem_post(&s->is_gone);
    sem_post(&s->release);
}

static void answer_wait(void *user, struct qvl_exchange *x)
{
    struct server *s = user;
    if (number(x, "late", 0)) { /* watched only after the client may have left */
        sem_post(&s->is_waiting);
        sem_wait(&s->release);
    }
    qvl_exchange_watch(x, gone, s);
    if (number(x, "begin", 0)) {
        qvl_exchange_begin(x, 200, "text/event-stream");
        if (number(x, "begin", 0) > 1)
            qvl_exchange_send(x, "first", 5);
    }
    sem_post(&s->is_waiting);
    sem_wait(&s->release);
    if (number(x, "take_back", 0))
        qvl_exchange_watch(x, NULL, NULL);
    if (number(x, "begin", 0)) {
        bool is_there = qvl_exchange_send(x, "last", 4);
        qvl_exchange_end(x, is_there);
    } else {
        qvl_exchange_reply(x, 200, "text/plain", "waited", 6);
    }
}

static void answer_flood(void *user, struct qvl_exchange *x)
{
    enum { N = 65536 };
    char *piece = malloc(N);
    memset(piece, 'f', N);
    qvl_exchange_watch(x, gone, user);
    qvl_exchange_begin(x, 200, "application/octet-stream");
    while (qvl_exchange_send(x, piece, N)) {
    }
    free(piece);
    qvl_exchange_end(x, false);
}

static void answer_form(void *user, struct qvl_exchange *x)
{
    const struct qvl_http_request *request = qvl_exchange_request(x);
    struct qvl_bytes text = {0};
    struct qvl_error err = {0};
    (void)user;
    bool is_early = request->n_part > 0; /* on the thread that moves bytes */
    if (is_early || qvl_exchange_read_form(x, &err) ||
        qvl_exchange_read_form(x, &err)) { /* the second does nothing */
        const char *why = is_early ? "too early" : err.text;
        qvl_exchange_reply(x, 400, "text/plain", why, strlen(why));
        return;
    }
    for (size_t i = 0; i < request->n_part; i++)
        qvl_bytes_add_format(&text, &err, "%s %s %zu;", request->part[i].name,
                             request->part[i].filename ? request->part[i].filename : "-", request->part[i].n);
    qvl_exchange_reply(x, 200, "text/plain", text.data, text.n);
    qvl_bytes_free(&text);
}

static void answer_path(void *user, struct qvl_exchange *x)
{
    const struct qvl_http_request *request = qvl_exchange_request(x);
    (void)user;
    qvl_exchange_reply(x, 200, "text/plain", request->path, strlen(request->path));
}

static const struct qvl_route routes[] = {
    {"GET", "/now", answer_now, QVL_LANE_NOW, true, false},
    {"POST", "/now", answer_now, QVL_LANE_NOW, false, false},
    {"POST", "/echo", answer_echo, QVL_LANE_LIGHT, false, true},
    {"POST", "/stream", answer_stream, QVL_LANE_MODEL, false, true},
    {"POST", "/wait", answer_wait, QVL_LANE_MODEL, false, true},
    {"POST", "/flood", answer_flood, QVL_LANE_MODEL, false, true},
    {"POST", "/form", answer_form, QVL_LANE_LIGHT, false, true},
    {"GET", "/any/*", answer_path, QVL_LANE_NOW, true, false},
};

struct job {
    struct server *server;
    const struct qvl_route *route;
    struct qvl_exchange *x;
};

static void end_thread(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    atomic_fetch_sub(&s->n_thread, 1);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void *run(void *arg)
{
    struct job job = *(struct job *)arg;
    free(arg);
    job.route->answer(job.server, job.x);
    end_thread(job.server);
    return NULL;
}

static void dispatch(void *user, const struct qvl_route *route, struct qvl_exchange *x)
{
    struct server *s = user;
    if (route->lane == QVL_LANE_NOW) {
        route->answer(user, x);
        return;
    }
    struct job *job = malloc(sizeof *job);
    *job = (struct job){s, route, x};
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    atomic_fetch_add(&s->n_thread, 1);
    if (pthread_create(&thread, &attr, run, job) != 0) {
        free(job);
        end_thread(s);
        qvl_exchange_reply(x, 503, "text/plain", "", 0);
    }
    pthread_attr_destroy(&attr);
}

static void refuse(void *user, struct qvl_exchange *x, unsigned status, const char *code, const char *text)
{
    char body[2048];
    (void)user;
    int n = snprintf(body, sizeof body, "%s: %s", code, text);
    qvl_exchange_reply(x, status, "text/plain", body, (size_t)n);
}

static void over(void *user, const struct qvl_exchange *x)
{
    struct server *s = user;
    struct qvl_exchange_facts facts;
    qvl_exchange_get_facts(x, &facts);
    pthread_mutex_lock(&s->lock);
    s->facts = facts;
    snprintf(s->over_path, sizeof s->over_path, "%s", qvl_exchange_request(x)->path);
    atomic_fetch_add(&s->n_over, 1);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void server_open(struct server *s, struct qvl_http_options options, const struct qvl_http_limits *limits)
{
    struct qvl_error err;
    struct qvl_http_limits usual;
    memset(s, 0, sizeof *s);
    sem_init(&s->is_waiting, 0, 0);
    sem_init(&s->release, 0, 0);
    sem_init(&s->is_gone, 0, 0);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (!options.host)
        options.host = "127.0.0.1";
    if (!options.max_body_bytes)
        options.max_body_bytes = 1 << 20;
    if (!options.max_form_bytes)
        options.max_form_bytes = 4 << 20;
    if (!options.route) {
        options.route = routes;
        options.n_route = sizeof routes / sizeof *routes;
    }
    options.dispatch = dispatch;
    options.refuse = refuse;
    options.over = over;
    options.user = s;
    qvl_http_default_limits(&usual);
    if (qvl_http_open_with(&options, limits ? limits : &usual, &s->http, &err))
        fail_msg("%s", err.text);
    s->port = qvl_http_port(s->http);
    assert_true(s->port > 0);
}

void server_wait_over(struct server *s, int n_over)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    int code = 0;
    pthread_mutex_lock(&s->lock);
    while (atomic_load(&s->n_over) < n_over && code == 0)
        code = pthread_cond_timedwait(&s->changed, &s->lock, &until);
    pthread_mutex_unlock(&s->lock);
    assert_int_equal(code, 0);
}

void server_wait_threads(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    while (atomic_load(&s->n_thread) > 0)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

void server_close(struct server *s)
{
    qvl_http_stop_listening(s->http);
    server_wait_threads(s);
    qvl_http_close(s->http);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
}
