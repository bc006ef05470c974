/* The mover: libmicrohttpd's thread, which reads requests, hands them out and sends replies.
 *
 * A request passes here as follows. on_first_line: an exchange is made. on_access, first call: the head is judged
 * (http_guard.c); a refusal goes out before any body is read, so that `Expect: 100-continue` is answered by it.
 * Further calls bring the body. The last one dispatches the exchange and suspends the connection, unless the reply
 * is there already; it comes once more when the connection was resumed with a reply. on_completed: it is over,
 * whichever way.
 *
 * What libmicrohttpd (0.9.75) does itself, before we are asked, and what that means here:
 * - It answers lines that are too long for its buffer, a malformed first line and a malformed Content-Length with
 * 4xx and a few words of HTML of its own. They have none of our headers; the connection ends.
 * - The one for a malformed Content-Length it writes with its head twice; a header's value ends at a NUL byte.
 * - It takes a bare LF for a line's end (RFC 9112, 2.2 allows it) and joins folded header lines without a blank.
 * - Its time-out counts inactivity, so it is off: http_watch.c has deadlines that a trickle does not move.
 * - A reply cannot be queued while a body is coming in. Where one must be refused then, because it grew too large
 * or too slow, on_completed writes the reply to the socket itself; under TLS the connection is just closed.
 * - At the system's limit of open files it stops accepting until a connection ends. So the number of connections is
 * kept below that limit, and the oldest idle one makes room. */
#include "server/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <nettle/sha2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/wait.h"
#include "server/http_watch.h"

enum {
    POOL_BYTES = 2 * QVL_MAX_HTTP_HEADER_BYTES, /* of a connection: its headers, and reading and writing */
    RESERVED_FILES = 256,                       /* descriptors that are not for connections */
    BACKLOG = 511
};

void qvl_http_default_limits(struct qvl_http_limits *out)
{
    *out = (struct qvl_http_limits){.header_ms = QVL_MAX_HTTP_HEADER_MS,
                                    .body_ms = QVL_MAX_HTTP_BODY_MS,
                                    .body_grace_ms = QVL_MAX_HTTP_BODY_GRACE_MS,
                                    .idle_ms = QVL_MAX_HTTP_IDLE_MS,
                                    .stall_ms = QVL_MAX_STALL_MS,
                                    .n_connection = QVL_MAX_HTTP_CONNECTIONS,
                                    .n_per_address = QVL_MAX_HTTP_CONNECTIONS_PER_ADDRESS,
                                    .n_request = QVL_MAX_HTTP_REQUESTS_PER_CONNECTION,
                                    .n_unsent = QVL_MAX_UNSENT_BYTES,
                                    .n_body_bytes = QVL_MAX_HTTP_BODIES_BYTES};
}

/* ---- connections ------------------------------------------------------------------------------------------ */

static struct in6_addr address_of(const struct sockaddr *sa)
{
    struct in6_addr address = {0};
    if (sa && sa->sa_family == AF_INET6) {
        address = ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    } else if (sa && sa->sa_family == AF_INET) {
        address.s6_addr[10] = address.s6_addr[11] = 0xff;
        memcpy(address.s6_addr + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    }
    return address;
}

size_t qvl_address_bytes(const struct in6_addr *a)
{
    return IN6_IS_ADDR_V4MAPPED(a) || qvl_address_is_loopback(a) ? 16 : 8;
}

/* Who the address stands for, with keys out of the game. */
static uint64_t hash_address(const struct qvl_http *http, const struct in6_addr *a)
{
    struct sha256_ctx sha;
    uint64_t hash;
    sha256_init(&sha);
    sha256_update(&sha, sizeof http->secret, http->secret);
    sha256_update(&sha, qvl_address_bytes(a), a->s6_addr);
    sha256_digest(&sha, sizeof hash, (uint8_t *)&hash);
    return hash ? hash : 1;
}

/* May this address have one more connection? */
static enum MHD_Result on_accept(void *cls, const struct sockaddr *sa, socklen_t n_sa)
{
    struct qvl_http *http = cls;
    struct in6_addr address = address_of(sa);
    uint32_t n = 0;
    (void)n_sa;
    if (atomic_load(&http->is_draining))
        return MHD_NO;
    if (qvl_address_is_loopback(&address))
        return MHD_YES;
    pthread_mutex_lock(&http->lock);
    for (size_t i = 0; i < QVL_HTTP_SLOTS; i++)
        n += http->slot[i] && memcmp(&http->slot[i]->address, &address, qvl_address_bytes(&address)) == 0;
    pthread_mutex_unlock(&http->lock);
    return n < http->limits.n_per_address ? MHD_YES : MHD_NO;
}

static struct qvl_connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static struct qvl_connection *open_connection(struct qvl_http *http, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct qvl_connection *c = info ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return NULL;
    c->http = http;
    c->fd = info->connect_fd;
    info = MHD_get_connection_info(mhd,
                                   MHD_CONNECTION_INFO_CLIENT_ADDRESS); /* (may stand where the one before stood) */
    c->address = address_of(info ? info->client_addr : NULL);
    c->is_local = qvl_address_is_loopback(&c->address);
    pthread_mutex_lock(&http->lock);
    while (c->i_slot < QVL_HTTP_SLOTS && http->slot[c->i_slot])
        c->i_slot++;
    bool has_slot = c->i_slot < QVL_HTTP_SLOTS;
    if (has_slot) {
        http->slot[c->i_slot] = c;
        c->generation = ++http->n_generation;
        c->since_ms = qvl_now_ms();
        qvl_connection_enter(c, QVL_PHASE_FIRST, c->since_ms + http->limits.header_ms);
        qvl_http_watch_add(c);
        if (++http->n_connection > http->limits.n_connection)
            qvl_http_watch_evict(http);
    }
    pthread_mutex_unlock(&http->lock);
    if (has_slot)
        return c;
    free(c);
    return NULL;
}

static void close_connection(struct qvl_connection *c)
{
    struct qvl_http *http = c->http;
    pthread_mutex_lock(&http->lock);
    http->slot[c->i_slot] = NULL;
    http->n_connection--;
    qvl_http_watch_remove(c);
    if (c->must_linger && !http->is_closing)
        qvl_http_watch_linger(http, c->fd);
    pthread_mutex_unlock(&http->lock);
    free(c);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = open_connection(cls, mhd); /* NULL: its first request is not answered */
    } else if (*context) {
        close_connection(*context);
        *context = NULL;
    }
}

/* ---- the head of a request -------------------------------------------------------------------------------- */

static void *on_first_line(void *cls, const char *target, struct MHD_Connection *mhd)
{
    struct qvl_http *http = cls;
    struct qvl_connection *c = connection_of(mhd);
    struct qvl_exchange *x = c ? calloc(1, sizeof *x) : NULL;
    if (!x)
        return NULL;
    x->target = strdup(target ? target : "");
    if (!x->target || pthread_cond_init(&x->changed, NULL) != 0) {
        free(x->target);
        free(x);
        return NULL;
    }
    x->http = http;
    x->mhd = mhd;
    x->connection = c;
    x->address = c->address;
    x->request = (struct qvl_http_request){
        .method = "", .path = "", .media_type = "", .id = x->id, .received_ms = qvl_now_ms()};
    x->head.method = "";
    x->last_piece = &x->first_piece;
    x->n_owner = 1;
    x->is_last = ++c->n_request >= http->limits.n_request;
    pthread_mutex_lock(&http->lock);
    http->n_exchange++;
    c->x = x;
    qvl_connection_enter(c, QVL_PHASE_HEADERS, qvl_now_ms() + http->limits.header_ms);
    pthread_mutex_unlock(&http->lock);
    return x;
}

struct collected {
    struct qvl_exchange *x; /* NULL: only counted */
    size_t n, n_bytes;
};

static enum MHD_Result collect_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct collected *to = cls;
    (void)kind;
    size_t n_name = strlen(name) + 1, n_value = value ? strlen(value) : 0;
    while (n_value > 0 && (value[n_value - 1] == ' ' || value[n_value - 1] == '\t'))
        n_value--; /* white space behind a value is no part of it */
    if (to->x) {
        char *at = to->x->text + to->n_bytes;
        memcpy(at, name, n_name);
        if (n_value)
            memcpy(at + n_name, value, n_value);
        at[n_name + n_value] = '\0';
        to->x->header[to->n] = (struct qvl_http_header){at, at + n_name};
    }
    to->n++;
    to->n_bytes += n_name + n_value + 1;
    return MHD_YES;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* "a+b%20c" up to `end`, decoded to *to, which moves behind its final 0. What is no escape stays as it is. */
static const char *decode(const char *s, const char *end, char **to)
{
    char *first = *to;
    while (s < end) {
        int high = *s == '%' && end - s > 2 ? hex_digit(s[1]) : -1, low = high >= 0 ? hex_digit(s[2]) : -1;
        int plain = *s == '+' ? ' ' : *s;
        *(*to)++ = (char)(low >= 0 ? high * 16 + low : plain);
        s += low >= 0 ? 3 : 1;
    }
    *(*to)++ = '\0';
    return first;
}

/* "?a=1&b=2" of the target, behind what x->text holds already. */
static void read_query(struct qvl_exchange *x, char *to)
{
    const char *s = strchr(x->target, '?');
    if (!s)
        return;
    while (*s && x->n_query < QVL_MAX_HTTP_QUERY) {
        const char *name = s + 1, *end = name + strcspn(name, "&"),
                   *equals = memchr(name, '=', (size_t)(end - name));
        struct qvl_query *query = &x->query[x->n_query];
        s = end;
        if (name == end)
            continue;
        query->name = decode(name, equals ? equals : end, &to);
        query->value = decode(equals ? equals + 1 : end, end, &to);
        x->n_query++;
    }
}

/* Copies what libmicrohttpd holds: the reply's owner may ask for it when the connection is gone. */
static bool read_head(struct qvl_exchange *x, const char *method, const char *version)
{
    const union MHD_ConnectionInfo *size = MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct collected counted = {0}, to = {.x = x};
    size_t n_method = strlen(method) + 1, n_target = strlen(x->target) + 1, n_path;
    MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, collect_header, &counted);
    x->text = malloc(counted.n_bytes + n_method + 3 * n_target + 1);
    x->header = calloc(counted.n + 1, sizeof *x->header);
    x->query = calloc(QVL_MAX_HTTP_QUERY, sizeof *x->query);
    if (!x->text || !x->header || !x->query)
        return false;
    MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, collect_header, &to);
    char *own_method = memcpy(x->text + to.n_bytes, method, n_method), *path = own_method + n_method;
    const char *its_path = qvl_http_target_path(x->target, &n_path);
    memcpy(path, its_path, n_path);
    path[n_path] = '\0';
    read_query(x, path + n_path + 1);
    x->head = (struct qvl_http_head){.method = own_method,
                                     .target = x->target,
                                     .is_http_1_0 = strcmp(version, "HTTP/1.0") == 0,
                                     .n_bytes = size ? (size_t)size->header_size : 0,
                                     .header = x->header,
                                     .n_header = to.n};
    x->request.method = own_method;
    x->request.path = path;
    return true;
}

/* The client's own, if it is harmless in a log, else a random one. */
static void choose_id(struct qvl_exchange *x)
{
    const char *id = qvl_http_head_find(&x->head, "x-request-id");
    size_t n = id ? strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") : 0;
    if (n >= 1 && n < sizeof x->id && id[n] == '\0') {
        memcpy(x->id, id, n + 1);
    } else {
        uint64_t random[2] = {0};
        ssize_t ignored = getrandom(random, sizeof random, 0);
        (void)ignored;
        snprintf(x->id, sizeof x->id, "req_%016llx%08llx", (unsigned long long)random[0],
                 (unsigned long long)(random[1] & 0xffffffff));
    }
}

/* ---- wrong keys ------------------------------------------------------------------------------------------- */

static struct qvl_http_failures *failures_of(struct qvl_http *http, uint64_t address)
{
    struct qvl_http_failures *f = &http->failures[address % (sizeof http->failures / sizeof *http->failures)];
    double now_ms = qvl_now_ms();
    if (now_ms - f->since_ms >= 1000)
        *f = (struct qvl_http_failures){.since_ms = now_ms};
    return f;
}

/* ---- refusals --------------------------------------------------------------------------------------------- */

/* What is to be answered instead of what was asked. The user's `refuse` gives it the API's shape and replies at
 * once. */
static void refuse(struct qvl_exchange *x)
{
    struct qvl_http *http = x->http;
    const struct qvl_verdict *v = &x->verdict;
    if (v->status == 401)
        qvl_exchange_add_header(x, "WWW-Authenticate", "Bearer");
    if (v->status == 405)
        qvl_exchange_add_header(x, "Allow", v->allow);
    if (v->status == 429 || v->status == 503)
        qvl_exchange_add_header(x, "Retry-After", "1");
    pthread_mutex_lock(&http->lock);
    x->n_owner++;
    pthread_mutex_unlock(&http->lock);
    http->options.refuse(http->options.user, x, v->status, v->code, v->text);
}

static void set_refusal(struct qvl_exchange *x, unsigned status, const char *code, const char *text)
{
    x->verdict.status = status;
    x->verdict.code = code;
    x->verdict.text = text;
}

/* A preflight of a page that is listed (Fetch standard, 4.8). */
static void reply_to_preflight(struct qvl_exchange *x)
{
    const char *headers = qvl_exchange_header(x, "Access-Control-Request-Headers");
    const char *private_network = qvl_exchange_header(x, "Access-Control-Request-Private-Network");
    qvl_exchange_add_header(x, "Access-Control-Allow-Methods", x->verdict.allow);
    if (headers)
        qvl_exchange_add_header(x, "Access-Control-Allow-Headers", headers);
    if (private_network && strcmp(private_network, "true") == 0)
        qvl_exchange_add_header(x, "Access-Control-Allow-Private-Network", "true");
    qvl_exchange_add_header(x, "Access-Control-Max-Age", "600");
    pthread_mutex_lock(&x->http->lock);
    x->n_owner++;
    pthread_mutex_unlock(&x->http->lock);
    qvl_exchange_reply(x, 204, NULL, NULL, 0);
}

/* Queues the reply if there is one: MHD_NO cuts the connection. */
static enum MHD_Result queue_reply(struct qvl_exchange *x)
{
    struct qvl_http *http = x->http;
    pthread_mutex_lock(&http->lock);
    bool is_replied = x->is_replied;
    double now_ms = qvl_now_ms(),
           slow_ms = x->is_stream ? 0 : (double)x->n_reply * 1000 / QVL_MIN_HTTP_BODY_BYTES_PER_S;
    if (is_replied)
        qvl_connection_enter(x->connection, x->is_stream ? QVL_PHASE_STREAM : QVL_PHASE_REPLY,
                             now_ms + http->limits.stall_ms + slow_ms);
    pthread_mutex_unlock(&http->lock);
    return is_replied && x->response ? MHD_queue_response(x->mhd, x->status, x->response) : MHD_NO;
}

/* ---- a request comes in ----------------------------------------------------------------------------------- */

/* The head is whole. */
static enum MHD_Result begin_request(struct qvl_exchange *x, const char *method, const char *version)
{
    struct qvl_http *http = x->http;
    struct qvl_verdict *v = &x->verdict;
    uint64_t address = hash_address(http, &x->address);
    struct qvl_http_failures *failures = failures_of(http, address);
    x->request.received_ms = qvl_now_ms();
    if (!read_head(x, method, version))
        return MHD_NO;
    choose_id(x);
    qvl_guard_judge(http->guard, &x->head, failures->n >= QVL_MAX_HTTP_WRONG_KEYS_PER_S, v);
    failures->n += v->has_wrong_key;
    x->request.media_type = v->has_body ? v->media_type : "";
    x->request.client = http->options.n_api_key > 0 ? v->client : address;
    x->request.cache_salt = v->cache_salt;
    if (v->status == 0 && atomic_load(&http->n_body_bytes) + v->n_body > http->limits.n_body_bytes)
        set_refusal(x, 503, "overloaded", qvl_text("too many large requests are here at once"));
    pthread_mutex_lock(&http->lock);
    qvl_connection_enter(x->connection, QVL_PHASE_BODY, x->request.received_ms + http->limits.body_grace_ms);
    pthread_mutex_unlock(&http->lock);
    if (v->status == 0)
        return MHD_YES;
    /* A short body is read and thrown away, so that the connection can go on; else the reply does not wait for it,
     * and libmicrohttpd closes behind it. */
    x->is_discarding = true;
    if (!v->must_close &&
        (!v->has_body || (!v->is_chunked && !v->is_expecting && v->n_body <= QVL_MAX_HTTP_SWALLOW_BYTES)))
        return MHD_YES;
    x->is_last = true;
    x->connection->must_linger = true;
    refuse(x);
    return queue_reply(x);
}

static double body_due_ms(const struct qvl_exchange *x)
{
    const struct qvl_http_limits *limits = &x->http->limits;
    double n = (double)x->request.n_body, begin_ms = x->request.received_ms;
    double slow_ms = begin_ms + limits->body_grace_ms + n * 1000 / QVL_MIN_HTTP_BODY_BYTES_PER_S;
    double long_ms = begin_ms + limits->body_ms + n * 1000 / QVL_MIN_HTTP_LONG_BODY_BYTES_PER_S;
    return slow_ms < long_ms ? slow_ms : long_ms;
}

/* A piece of the body. MHD_NO with a refusal set: on_completed sends it. */
static enum MHD_Result take_body(struct qvl_exchange *x, const char *data, size_t n)
{
    struct qvl_http *http = x->http;
    struct qvl_http_request *request = &x->request;
    struct qvl_error ignored;
    if (x->is_discarding)
        return MHD_YES;
    if (n > x->verdict.max_body - request->n_body) {
        set_refusal(x, 413, "request_too_large", qvl_text("the body is larger than this server allows"));
        return MHD_NO;
    }
    uint8_t *body = NULL;
    if (atomic_load(&http->n_body_bytes) + n <= http->limits.n_body_bytes)
        body = qvl_grow(x->body, &x->n_body_alloc, request->n_body + n + 1, 1, "the body of a request", &ignored);
    if (!body) {
        set_refusal(x, 503, "overloaded", qvl_text("too many large requests are here at once"));
        return MHD_NO;
    }
    memcpy(body + request->n_body, data, n);
    body[request->n_body + n] = 0;
    x->body = body;
    request->body = body;
    request->n_body += n;
    atomic_fetch_add(&http->n_body_bytes, n);
    pthread_mutex_lock(&http->lock);
    qvl_connection_enter(x->connection, QVL_PHASE_BODY, body_due_ms(x));
    pthread_mutex_unlock(&http->lock);
    return MHD_YES;
}

/* The request is whole. */
static enum MHD_Result dispatch(struct qvl_exchange *x)
{
    static const uint8_t nothing[1];
    struct qvl_http *http = x->http;
    if (!x->request.body)
        x->request.body = nothing;
    pthread_mutex_lock(&http->lock);
    qvl_connection_enter(x->connection, QVL_PHASE_BUSY, HUGE_VAL);
    if (x->verdict.status == 0 && atomic_load(&http->is_draining))
        set_refusal(x, 503, "draining", qvl_text("the server is stopping"));
    bool is_dispatched = x->verdict.status == 0;
    x->n_owner += is_dispatched;
    http->is_dispatching = is_dispatched;
    pthread_mutex_unlock(&http->lock);
    if (x->verdict.status == 204)
        reply_to_preflight(x);
    else if (!is_dispatched)
        refuse(x);
    else
        http->options.dispatch(http->options.user, x->verdict.route, x);
    pthread_mutex_lock(&http->lock);
    http->is_dispatching = false;
    pthread_cond_broadcast(&http->changed);
    bool is_replied = x->is_replied;
    if (!is_replied)
        qvl_exchange_suspend(x);
    pthread_mutex_unlock(&http->lock);
    return is_replied ? queue_reply(x) : MHD_YES;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                 const char *version, const char *data, size_t *n_data, void **context)
{
    struct qvl_exchange *x = *context;
    (void)cls, (void)mhd, (void)url;
    if (!x)
        return MHD_NO;
    if (!x->is_begun) {
        x->is_begun = true;
        return begin_request(x, method, version);
    }
    if (*n_data > 0) {
        size_t n = *n_data;
        *n_data = 0;
        return take_body(x, data, n);
    }
    if (x->is_whole)
        return queue_reply(x);
    x->is_whole = true;
    return dispatch(x);
}

/* ---- the end of a request --------------------------------------------------------------------------------- */

/* Where libmicrohttpd takes no reply any more. Best effort: the socket's buffer is empty, so that it fits. */
static void send_bare(struct qvl_exchange *x, unsigned status, const char *code, const char *text)
{
    char reply[1024];
    int n_body = snprintf(NULL, 0,
                          "{\"error\":{\"message\":\"%s\",\"type\":\"invalid_request_error\",\"param\":null,"
                          "\"code\":\"%s\"}}",
                          text, code);
    int n = snprintf(
        reply, sizeof reply,
        "HTTP/1.1 %u %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
        "Cross-Origin-Resource-Policy: same-origin\r\n\r\n"
        "{\"error\":{\"message\":\"%s\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"%s\"}}",
        status, MHD_get_reason_phrase_for(status), n_body, text, code);
    x->status = status;
    if (n > 0 && (size_t)n < sizeof reply && !x->http->options.tls_cert)
        x->is_cut = send(x->connection->fd, reply, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct qvl_http *http = cls;
    struct qvl_exchange *x = *context;
    if (!x)
        return;
    *context = NULL;
    const union MHD_ConnectionInfo *own = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_HTTP_STATUS);
    if (own && x->status == 0)
        x->status = own->http_status; /* of a reply that libmicrohttpd made itself */
    pthread_mutex_lock(&http->lock);
    struct qvl_connection *c = x->connection;
    bool is_late = c->is_late && !x->is_replied, is_refused = x->verdict.status >= 400 && !x->is_replied;
    x->is_over = true;
    x->is_cut =
        x->is_gone_first || code != MHD_REQUEST_TERMINATED_COMPLETED_OK || (x->is_stream && !x->is_ended_whole);
    if (!x->is_stream && !x->is_cut)
        x->n_out = strcmp(x->head.method, "HEAD") == 0 ? 0 : x->n_reply;
    c->must_linger = c->must_linger || is_late || is_refused || x->is_last;
    c->x = NULL;
    qvl_connection_enter(c, QVL_PHASE_IDLE, qvl_now_ms() + http->limits.idle_ms);
    qvl_exchange_mark_gone(x);
    if (atomic_load(&http->is_draining) && !is_late && !is_refused)
        shutdown(c->fd, SHUT_RDWR); /* its reply had begun before */
    pthread_mutex_unlock(&http->lock);
    if (is_late)
        send_bare(x, 408, "request_timeout", qvl_text("the request did not arrive in time"));
    else if (is_refused)
        send_bare(x, x->verdict.status, x->verdict.code, x->verdict.text);
    http->options.over(http->options.user, x);
    pthread_mutex_lock(&http->lock);
    http->n_exchange--;
    pthread_cond_broadcast(&http->changed);
    pthread_mutex_unlock(&http->lock);
    qvl_exchange_release(x);
}

/* ---- open and close --------------------------------------------------------------------------------------- */

/* Paths are compared as they came. */
static size_t unescape_nothing(void *cls, struct MHD_Connection *mhd, char *s)
{
    (void)cls, (void)mhd;
    return strlen(s);
}

static enum qvl_status listen_on(struct qvl_http *http, struct qvl_error *err)
{
    const struct qvl_http_options *o = &http->options;
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[12];
    snprintf(port, sizeof port, "%u", o->port);
    if (o->port > 65535 || getaddrinfo(o->host, port, &hints, &found) != 0 || !found)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%.100s, port %u: not an address to listen on", o->host, o->port);
    int on = 1, off = 0;
    struct sockaddr_storage bound = {0};
    socklen_t n_bound = sizeof bound;
    http->listen_fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is_bound =
        http->listen_fd >= 0 && setsockopt(http->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (found->ai_family != AF_INET6 ||
         setsockopt(http->listen_fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
        bind(http->listen_fd, found->ai_addr, found->ai_addrlen) == 0 && listen(http->listen_fd, BACKLOG) == 0 &&
        getsockname(http->listen_fd, (struct sockaddr *)&bound, &n_bound) == 0;
    int code = errno;
    freeaddrinfo(found);
    if (!is_bound)
        return qvl_fail(err, QVL_ERR_FILE, "cannot listen on %.100s, port %u: %s", o->host, o->port,
                        qvl_errno_text(code));
    http->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&bound)->sin6_port
                                                   : ((struct sockaddr_in *)(void *)&bound)->sin_port);
    return QVL_OK;
}

/* Threads that are started now leave signals to the others. */
static enum qvl_status start_threads(struct qvl_http *http, struct qvl_error *err)
{
    const struct qvl_http_options *o = &http->options;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | (o->tls_cert ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)o->tls_cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)o->tls_key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t) "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    enum qvl_status status = qvl_http_watch_start(http, err);
    if (status)
        return status;
    http->daemon = MHD_start_daemon(
        flags, 0, on_accept, http, on_access, http, MHD_OPTION_LISTEN_SOCKET, http->listen_fd,
        MHD_OPTION_CONNECTION_LIMIT, QVL_HTTP_SLOTS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_UNESCAPE_CALLBACK,
        unescape_nothing, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_first_line, http, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, http, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_ARRAY,
        o->tls_cert ? tls : none, MHD_OPTION_END);
    if (http->daemon)
        return QVL_OK;
    qvl_http_watch_stop(http);
    if (o->tls_cert)
        return qvl_fail(err, QVL_ERR_FILE, "the certificate or its key cannot be used for TLS");
    return qvl_fail(err, QVL_ERR_INTERNAL, "the server's threads cannot be started: %s", qvl_errno_text(errno));
}

static void free_http(struct qvl_http *http)
{
    if (http->listen_fd >= 0)
        close(http->listen_fd);
    qvl_guard_close(http->guard);
    pthread_mutex_destroy(&http->lock);
    pthread_cond_destroy(&http->changed);
    free(http);
}

enum qvl_status qvl_http_open_with(const struct qvl_http_options *options, const struct qvl_http_limits *limits,
                                   struct qvl_http **out, struct qvl_error *err)
{
    struct rlimit files;
    sigset_t all, before;
    *out = NULL;
    struct qvl_http *http = calloc(1, sizeof *http);
    if (!http)
        return qvl_fail_memory(err, sizeof *http, "the server");
    http->options = *options;
    http->limits = *limits;
    http->listen_fd = -1;
    pthread_mutex_init(&http->lock, NULL);
    qvl_wait_init(&http->changed);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < RESERVED_FILES + http->limits.n_connection)
        http->limits.n_connection = files.rlim_cur > 2 * RESERVED_FILES ? (uint32_t)files.rlim_cur - RESERVED_FILES
                                                                        : (uint32_t)files.rlim_cur / 2;
    enum qvl_status status = qvl_os_random(http->secret, sizeof http->secret, err);
    if (!status)
        status = qvl_guard_open(&http->options, http->secret, &http->guard, err);
    if (!status)
        status = listen_on(http, err);
    if (!status) {
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before);
        status = start_threads(http, err);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (status)
        free_http(http);
    else
        *out = http;
    return status;
}

enum qvl_status qvl_http_open(const struct qvl_http_options *options, struct qvl_http **out, struct qvl_error *err)
{
    struct qvl_http_limits limits;
    qvl_http_default_limits(&limits);
    return qvl_http_open_with(options, &limits, out, err);
}

uint32_t qvl_http_port(const struct qvl_http *http)
{
    return http->port;
}

void qvl_http_stop_listening(struct qvl_http *http)
{
    if (atomic_exchange(&http->is_draining, true))
        return;
    /* From here on on_accept turns away whoever comes. MHD_quiesce_daemon would be the library's own way, but in
     * 0.9.75 it and the mover may both take the listening socket out of epoll, and the one that comes second
     * aborts. */
    pthread_mutex_lock(&http->lock);
    while (http->is_dispatching)
        pthread_cond_wait(&http->changed, &http->lock);
    for (size_t i = 0; i < QVL_HTTP_SLOTS; i++) {
        if (http->slot[i] && http->slot[i]->phase == QVL_PHASE_IDLE)
            shutdown(http->slot[i]->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&http->lock);
}

void qvl_http_give_up_stalled(struct qvl_http *http)
{
    pthread_mutex_lock(&http->lock);
    for (size_t i = 0; i < QVL_HTTP_SLOTS; i++) {
        struct qvl_exchange *x = http->slot[i] ? http->slot[i]->x : NULL;
        if (x && x->is_stream && x->n_unsent > http->limits.n_unsent / 2)
            qvl_exchange_mark_gone(x);
    }
    pthread_mutex_unlock(&http->lock);
}

void qvl_http_close(struct qvl_http *http)
{
    if (!http)
        return;
    qvl_http_stop_listening(http);
    double until_ms = qvl_now_ms() + QVL_MAX_HTTP_FLUSH_MS;
    pthread_mutex_lock(&http->lock);
    while (http->n_exchange > 0 && qvl_wait_for(&http->changed, &http->lock, until_ms - qvl_now_ms())) {
    }
    http->is_closing = true;
    pthread_mutex_unlock(&http->lock);
    MHD_stop_daemon(http->daemon);
    http->listen_fd = -1; /* closed by that */
    qvl_http_watch_stop(http);
    free_http(http);
}
