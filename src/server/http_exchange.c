/* One exchange as whoever answers it sees it: what was asked, the reply at once or in pieces, and word that the
 * client has left. */
#include "server/http_exchange.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/limits.h"
#include "server/http_watch.h"

enum { STREAM_BLOCK_BYTES = 16384 }; /* read at a time for a client of HTTP/1.0, which knows no chunks */

/* ---- what was asked --------------------------------------------------------------------------------------- */

const struct qvl_http_request *qvl_exchange_request(const struct qvl_exchange *x)
{
    return &x->request;
}

enum qvl_status qvl_exchange_read_form(struct qvl_exchange *x, struct qvl_error *err)
{
    char boundary[72];
    const char *type = qvl_exchange_header(x, "Content-Type");
    if (x->form)
        return QVL_OK;
    if (!type || !qvl_media_type_param(type, "boundary", boundary, sizeof boundary))
        boundary[0] = '\0';
    struct qvl_multipart *form = calloc(1, sizeof *form);
    if (!form)
        return qvl_fail_memory(err, sizeof *form, "the parts of a form");
    enum qvl_status status = qvl_multipart_read(x->request.body, x->request.n_body, boundary, form, err);
    if (status) {
        qvl_multipart_free(form);
        free(form);
        return status;
    }
    x->form = form;
    x->request.part = form->part;
    x->request.n_part = form->n_part;
    return QVL_OK;
}

const char *qvl_exchange_header(const struct qvl_exchange *x, const char *name)
{
    return qvl_http_head_find(&x->head, name);
}

const char *qvl_exchange_query(const struct qvl_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->n_query; i++)
        if (strcmp(x->query[i].name, name) == 0)
            return x->query[i].value;
    return NULL;
}

void *qvl_exchange_user(const struct qvl_exchange *x)
{
    return x->http->options.user;
}

void qvl_exchange_get_facts(const struct qvl_exchange *x, struct qvl_exchange_facts *out)
{
    struct qvl_http *http = x->http;
    pthread_mutex_lock(&http->lock);
    *out = (struct qvl_exchange_facts){.status = x->is_gone_first ? 0 : x->status,
                                       .n_in = x->request.n_body,
                                       .n_out = x->n_out,
                                       .ms = qvl_now_ms() - x->request.received_ms,
                                       .is_cut = x->is_cut};
    pthread_mutex_unlock(&http->lock);
}

/* ---- owners ----------------------------------------------------------------------------------------------- */

void qvl_exchange_release(struct qvl_exchange *x)
{
    struct qvl_http *http = x->http;
    pthread_mutex_lock(&http->lock);
    bool is_last = --x->n_owner == 0;
    pthread_mutex_unlock(&http->lock);
    if (!is_last)
        return;
    atomic_fetch_sub(&http->n_body_bytes, x->request.n_body);
    if (x->response)
        MHD_destroy_response(x->response);
    while (x->first_piece) {
        struct qvl_piece *piece = x->first_piece;
        x->first_piece = piece->next;
        free(piece);
    }
    while (x->added) {
        struct qvl_added *added = x->added;
        x->added = added->next;
        free(added);
    }
    if (x->form)
        qvl_multipart_free(x->form);
    free(x->form);
    free(x->body);
    free(x->header);
    free(x->query);
    free(x->text);
    free(x->target);
    pthread_cond_destroy(&x->changed);
    free(x);
}

void qvl_exchange_suspend(struct qvl_exchange *x)
{
    x->is_suspended = true;
    MHD_suspend_connection(x->mhd);
}

static void resume(struct qvl_exchange *x)
{
    if (!x->is_suspended)
        return;
    x->is_suspended = false;
    MHD_resume_connection(x->mhd);
}

void qvl_connection_enter(struct qvl_connection *c, enum qvl_phase phase, double due_ms)
{
    if (c->phase == QVL_PHASE_CUT)
        return;
    if (c->phase != phase)
        c->since_ms = qvl_now_ms();
    c->phase = phase;
    c->due_ms = due_ms;
    c->n_unacknowledged = 0;
    if (c->is_hung_up)
        qvl_http_watch_hang_up(c);
    qvl_http_watch_wake(c->http, c->due_ms);
}

/* ---- a client that has left ------------------------------------------------------------------------------- */

void qvl_exchange_mark_gone(struct qvl_exchange *x)
{
    if (x->is_gone)
        return;
    x->is_gone = true;
    if (x->is_stream && !x->is_over)
        resume(x); /* for read_stream to end it */
    pthread_cond_broadcast(&x->changed);
    if (x->gone)
        qvl_http_watch_call(x);
}

void qvl_exchange_watch(struct qvl_exchange *x, void (*gone)(void *user), void *user)
{
    pthread_mutex_lock(&x->http->lock);
    qvl_http_watch_take_back(x);
    x->gone = gone;
    x->gone_user = user;
    if (gone && x->is_gone)
        qvl_http_watch_call(x);
    pthread_mutex_unlock(&x->http->lock);
}

/* ---- the reply -------------------------------------------------------------------------------------------- */

void qvl_exchange_add_header(struct qvl_exchange *x, const char *name, const char *value)
{
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return;
    for (struct qvl_added **at = &x->added; *at; at = &(*at)->next) {
        struct qvl_added *before = *at;
        if (strcasecmp(before->name, name) == 0) {
            *at = before->next;
            free(before);
            break;
        }
    }
    size_t n_name = strlen(name) + 1, n_value = strlen(value) + 1;
    struct qvl_added *added = malloc(sizeof *added + n_name + n_value);
    if (!added)
        return;
    memcpy(added->name, name, n_name);
    added->value = memcpy(added->name + n_name, value, n_value);
    added->next = x->added;
    x->added = added;
}

static bool has_added(const struct qvl_exchange *x, const char *name)
{
    for (const struct qvl_added *added = x->added; added; added = added->next)
        if (strcasecmp(added->name, name) == 0)
            return true;
    return false;
}

static void add_default(const struct qvl_exchange *x, struct MHD_Response *response, const char *name,
                        const char *value)
{
    if (!has_added(x, name))
        MHD_add_response_header(response, name, value);
}

/* Takes the response over; NULL where memory ran out: the connection will be cut. */
static void set_response(struct qvl_exchange *x, unsigned status, const char *media_type, bool is_stream,
                         struct MHD_Response *response)
{
    x->status = status;
    x->response = response;
    if (!response)
        return;
    if (media_type && !has_added(x, "Content-Type"))
        MHD_add_response_header(response, "Content-Type", media_type);
    add_default(x, response, "Cache-Control", is_stream ? "no-cache" : "no-store");
    if (is_stream)
        add_default(x, response, "X-Accel-Buffering", "no");
    add_default(x, response, "X-Content-Type-Options", "nosniff");
    add_default(x, response, "Referrer-Policy", "no-referrer");
    add_default(x, response, "Server", "qvl");
    add_default(x, response, "x-request-id", x->id);
    if (x->verdict.origin) {
        add_default(x, response, "Access-Control-Allow-Origin", x->verdict.origin);
        add_default(x, response, "Access-Control-Expose-Headers", "x-request-id, x-ignored-params, retry-after");
    } else {
        add_default(x, response, "Cross-Origin-Resource-Policy", "same-origin");
    }
    if (x->http->options.n_cors_origin > 0)
        MHD_add_response_header(response, "Vary", "Origin");
    if (x->is_last || atomic_load(&x->http->is_draining))
        MHD_add_response_header(response, "Connection", "close");
    for (const struct qvl_added *added = x->added; added; added = added->next)
        MHD_add_response_header(response, added->name, added->value);
}

/* The reply is ready to be queued. */
static void hand_over(struct qvl_exchange *x, bool is_stream)
{
    x->is_stream = is_stream;
    x->is_replied = true;
    x->is_gone_first = x->is_gone;
    resume(x);
}

void qvl_exchange_reply(struct qvl_exchange *x, unsigned status, const char *media_type, const void *body, size_t n)
{
    x->n_reply = n;
    set_response(x, status, media_type, false,
                 MHD_create_response_from_buffer(n, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY));
    pthread_mutex_lock(&x->http->lock);
    qvl_http_watch_take_back(x);
    hand_over(x, false);
    pthread_mutex_unlock(&x->http->lock);
    qvl_exchange_release(x);
}

void qvl_exchange_begin(struct qvl_exchange *x, unsigned status, const char *media_type)
{
    set_response(
        x, status, media_type, true,
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, qvl_exchange_read_stream, x, NULL));
    pthread_mutex_lock(&x->http->lock);
    hand_over(x, true);
    pthread_mutex_unlock(&x->http->lock);
}

bool qvl_exchange_send(struct qvl_exchange *x, const void *data, size_t n)
{
    struct qvl_http *http = x->http;
    struct qvl_piece *piece = n > 0 && n <= SIZE_MAX / 2 ? malloc(sizeof *piece + n) : NULL;
    if (piece) {
        piece->next = NULL;
        piece->n = n;
        piece->n_sent = 0;
        memcpy(piece->data, data, n);
    }
    pthread_mutex_lock(&http->lock);
    while (!x->is_gone && x->n_unsent > 0 && x->n_unsent + n > http->limits.n_unsent)
        pthread_cond_wait(&x->changed, &http->lock);
    bool is_there = !x->is_gone && (piece || n == 0);
    if (is_there && piece) {
        if (x->n_unsent == 0)
            qvl_connection_enter(x->connection, QVL_PHASE_STREAM, qvl_now_ms() + http->limits.stall_ms / 2);
        *x->last_piece = piece;
        x->last_piece = &piece->next;
        x->n_unsent += n;
        piece = NULL;
        resume(x);
    }
    pthread_mutex_unlock(&http->lock);
    free(piece);
    return is_there;
}

void qvl_exchange_end(struct qvl_exchange *x, bool is_whole)
{
    pthread_mutex_lock(&x->http->lock);
    qvl_http_watch_take_back(x);
    x->is_ended = true;
    x->is_ended_whole = is_whole;
    if (!x->is_over)
        resume(x);
    pthread_mutex_unlock(&x->http->lock);
    qvl_exchange_release(x);
}

/* One piece at a time, so that a chunk, and with it a write, holds one piece where it is not too long. */
ssize_t qvl_exchange_read_stream(void *cls, uint64_t at, char *out, size_t n_out)
{
    struct qvl_exchange *x = cls;
    struct qvl_http *http = x->http;
    struct qvl_piece *done = NULL;
    ssize_t n_read = 0;
    (void)at;
    pthread_mutex_lock(&http->lock);
    struct qvl_piece *piece = x->first_piece;
    if (x->is_gone && (piece || !x->is_ended)) {
        n_read = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (piece) {
        size_t n = piece->n - piece->n_sent < n_out ? piece->n - piece->n_sent : n_out;
        memcpy(out, piece->data + piece->n_sent, n);
        piece->n_sent += n;
        if (piece->n_sent == piece->n) {
            done = piece;
            x->first_piece = piece->next;
            if (!x->first_piece)
                x->last_piece = &x->first_piece;
        }
        x->n_unsent -= n;
        x->n_out += n;
        n_read = (ssize_t)n;
        qvl_connection_enter(x->connection, QVL_PHASE_STREAM, qvl_now_ms() + http->limits.stall_ms / 2);
        pthread_cond_broadcast(&x->changed);
    } else if (x->is_ended) {
        n_read = x->is_ended_whole ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
        qvl_connection_enter(x->connection, QVL_PHASE_STREAM, qvl_now_ms() + http->limits.stall_ms / 2);
    } else {
        qvl_connection_enter(x->connection, QVL_PHASE_STREAM, HUGE_VAL);
        qvl_exchange_suspend(x);
    }
    /* Where it closes because of what is returned here, libmicrohttpd (0.9.75) frees the connection only when it
     * comes by it again, which it does without delay only for those with a time-out of their own. */
    if (n_read == MHD_CONTENT_READER_END_WITH_ERROR || (n_read < 0 && x->head.is_http_1_0))
        MHD_set_connection_option(x->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 1u);
    pthread_mutex_unlock(&http->lock);
    free(done);
    return n_read;
}
