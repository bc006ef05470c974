#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <nettle/sha2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "http_server.h"

#define HOST "Host: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"

/* One request on a connection of its own. */
static struct reply ask(struct server *s, const char *request)
{
    struct client c;
    struct reply reply;
    client_open(&c, s->port);
    client_send_text(&c, "%s", request);
    assert_true(client_read(&c, &reply, strncmp(request, "HEAD ", 5) == 0));
    client_close(&c);
    return reply;
}

static unsigned ask_status(struct server *s, const char *request)
{
    struct reply reply = ask(s, request);
    unsigned status = reply.status;
    reply_free(&reply);
    return status;
}

static void test_plain(void **state)
{
    struct server s;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    struct reply reply = ask(&s, "GET /now HTTP/1.1\r\n" HOST "X-Request-ID: a-B_c.1\r\n\r\n");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "now");
    assert_string_equal(reply_header(&reply, "x-request-id"), "a-B_c.1");
    assert_string_equal(reply_header(&reply, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(reply_header(&reply, "Referrer-Policy"), "no-referrer");
    assert_string_equal(reply_header(&reply, "Cache-Control"), "no-store");
    assert_string_equal(reply_header(&reply, "Cross-Origin-Resource-Policy"), "same-origin");
    assert_string_equal(reply_header(&reply, "Server"), "qvl");
    reply_free(&reply);

    reply = ask(&s, "HEAD /now HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_header(&reply, "Content-Length"), "3");
    assert_true(strncmp(reply_header(&reply, "x-request-id"), "req_", 4) == 0);
    reply_free(&reply);

    reply = ask(&s, "POST /echo?q=a%20b+c%2 HTTP/1.1\r\n" HOST JSON
                    "X-Echo: \xc3\xa9 x \r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "hello");
    assert_string_equal(reply_header(&reply, "Content-Type"), "application/json");
    assert_string_equal(reply_header(&reply, "X-Echoed"), "\xc3\xa9 x");
    assert_null(strstr(reply.head, "nothing"));
    assert_null(reply_header(&reply, "X-Bad"));
    assert_null(reply_header(&reply, "X-Injected"));
    assert_string_equal(reply_header(&reply, "X-Query"), "a b c%2");
    reply_free(&reply);

    reply = ask(&s, "POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n"
                    "5\r\nhello\r\n1\r\n \r\n005\r\nworld\r\n0\r\nTrailer: x\r\n\r\n");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "hello world");
    reply_free(&reply);
    server_wait_over(&s, 4);
    server_close(&s);
}

static void test_stream(void **state)
{
    struct server s;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    struct reply reply = ask(&s, "POST /stream?n=5&size=100 HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.n_body, 500);
    assert_int_equal(reply.n_chunk, 5); /* a piece is a chunk */
    assert_false(reply.is_cut);
    assert_string_equal(reply_header(&reply, "Cache-Control"), "no-cache");
    assert_string_equal(reply_header(&reply, "X-Accel-Buffering"), "no");
    reply_free(&reply);
    server_wait_over(&s, 1);
    assert_int_equal(s.facts.status, 200);
    assert_int_equal(s.facts.n_in, 2);
    assert_int_equal(s.facts.n_out, 500);
    assert_false(s.facts.is_cut);

    reply = ask(&s, "POST /stream?n=5&size=100&cut=1 HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
    assert_int_equal(reply.n_body, 500);
    assert_true(reply.is_cut);
    reply_free(&reply);
    server_wait_over(&s, 2);
    assert_true(s.facts.is_cut);

    reply = ask(&s, "POST /stream?n=50&size=100000 HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
    assert_int_equal(reply.n_body, 5000000);
    assert_false(reply.is_cut);
    reply_free(&reply);

    reply = ask(&s, "POST /stream?n=5&size=100 HTTP/1.0\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
    assert_int_equal(reply.n_body, 500);
    assert_int_equal(reply.n_chunk, 0);
    reply_free(&reply);
    server_close(&s);
}

static void test_routes(void **state)
{
    struct server s;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    assert_int_equal(ask_status(&s, "GET /nowhere HTTP/1.1\r\n" HOST "\r\n"), 404);
    struct reply reply = ask(&s, "DELETE /now HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(reply.status, 405);
    assert_string_equal(reply_header(&reply, "Allow"), "GET, HEAD, POST");
    assert_null(strstr(reply.head, "close"));
    reply_free(&reply);
    server_close(&s);
}

/* The wire's own tricks: what libmicrohttpd lets through must be refused by us, and the connection closed. */
static void test_framing(void **state)
{
    static const struct {
        const char *request;
        unsigned status;
    } row[] = {
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         400},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: +2\r\n\r\n{}", 400},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: -2\r\n\r\n{}", 400},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 18446744073709551617\r\n\r\n{}", 413},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: xchunked\r\n\r\n{}", 400},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\nx\r\n{}\r\n0\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", 413},
        {"GET /now HTTP/1.1\r\n\r\n", 400},
        {"GET /now HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET /now HTTP/1.1\r\n" HOST "no colon\r\n\r\n", 400},
        {"GET /now HTTP/2.0\r\n" HOST "\r\n", 505},
        {"GET /now HTTP/0.9\r\n" HOST "\r\n", 505},
        {"GET /now HTTP/1.\r\n" HOST "\r\n", 400},
        {"GET /now\r\n" HOST "\r\n", 400},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
    };
    struct server s;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct client c;
        struct reply reply;
        client_open(&c, s.port);
        client_send_text(&c, "%s", row[i].request);
        if (!client_read(&c, &reply, false))
            fail_msg("no reply to %s", row[i].request);
        if (reply.status != row[i].status)
            fail_msg("%u for %s", reply.status, row[i].request);
        reply_free(&reply);
        while (client_read_some(&c, 4096)) { /* libmicrohttpd writes the head of some of its own replies twice */
        }
        client_close(&c);
    }
    server_close(&s);
}

static void test_targets(void **state)
{
    static const struct {
        const char *target;
        unsigned status;
    } row[] = {
        {"/now", 200},
        {"/now?a=b", 200},
        {"//now", 404},
        {"/./now", 404},
        {"/any/../now", 200} /* a path below /any/ as it came: see the body */,
        {"/%6eow", 404},
        {"/now/", 404},
        {"/NOW", 404},
        {"/now.", 404},
        {"now", 404},
        {"*", 404},
        {"/now%00", 404},
        {"http://localhost/now", 200},
        {"http://evil.example/now", 421},
        {"/now#x", 404},
    };
    struct server s;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char request[256];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "\r\n", row[i].target);
        struct reply reply = ask(&s, request);
        if (reply.status != row[i].status)
            fail_msg("%u for %s", reply.status, row[i].target);
        if (strncmp(row[i].target, "/any/", 5) == 0)
            assert_string_equal(reply.body, row[i].target);
        reply_free(&reply);
    }
    server_close(&s);
}

/* ---- limits ----------------------------------------------------------------------------------------------- */

static char *letters(size_t n)
{
    char *text = malloc(n + 1);
    memset(text, 'a', n);
    text[n] = '\0';
    return text;
}

static void test_header_limits(void **state)
{
    struct server s;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    static const size_t n_letter[] = {100, QVL_MAX_HTTP_HEADER_BYTES - 100, QVL_MAX_HTTP_HEADER_BYTES, 1 << 20};
    static const unsigned status[] = {200, 200, 431, 431};
    for (size_t i = 0; i < 4; i++) {
        struct client c;
        struct reply reply;
        char *long_text = letters(n_letter[i]);
        client_open(&c, s.port);
        client_send_text(&c, "GET /now HTTP/1.1\r\n" HOST "X-Long: %s\r\n\r\n", long_text);
        assert_true(client_read(&c, &reply, false));
        assert_int_equal(reply.status, status[i]);
        reply_free(&reply);
        client_close(&c);
        client_open(&c, s.port);
        client_send_text(&c, "GET /now?%s HTTP/1.1\r\n" HOST "\r\n", long_text);
        assert_true(client_read(&c, &reply, false));
        assert_true(reply.status == status[i] || (status[i] == 431 && reply.status == 414));
        reply_free(&reply);
        client_close(&c);
        free(long_text);
    }
    struct client c;
    struct reply reply;
    client_open(&c, s.port);
    client_send_text(&c, "GET /now HTTP/1.1\r\n" HOST);
    for (size_t i = 0; i < QVL_MAX_HTTP_HEADERS; i++)
        client_send_text(&c, "X-%zu: 1\r\n", i);
    client_send_text(&c, "\r\n");
    assert_true(client_read(&c, &reply, false));
    assert_int_equal(reply.status, 431);
    reply_free(&reply);
    client_close(&c);
    assert_int_equal(ask_status(&s, "GET /now HTTP/1.1\r\n" HOST "\r\n"), 200);
    server_close(&s);
}

/* A body above the limit is refused before it is read, or as soon as it is above; the client learns it although it
 * goes on sending. */
static void test_body_limits(void **state)
{
    struct server s;
    struct client c;
    struct reply reply;
    enum { MAX = 1 << 20, SENT = 8 << 20 };
    char *body = letters(SENT);
    (void)state;
    server_open(&s, (struct qvl_http_options){.max_body_bytes = MAX}, NULL);

    client_open(&c, s.port);
    client_send_text(&c, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: %d\r\n\r\n", MAX);
    client_send(&c, body, MAX);
    assert_true(client_read(&c, &reply, false));
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.n_body, MAX);
    reply_free(&reply);
    client_close(&c);

    client_open(&c, s.port);
    client_send_text(&c, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: %d\r\n\r\n", SENT);
    assert_true(client_send(&c, body, SENT)); /* no reset, which could overtake the reply */
    assert_true(client_read(&c, &reply, false));
    assert_int_equal(reply.status, 413);
    assert_string_equal(reply_header(&reply, "Connection"), "close");
    reply_free(&reply);
    assert_true(client_is_at_end(&c));
    client_close(&c);

    client_open(&c, s.port);
    client_send_text(&c, "POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n%x\r\n", SENT);
    assert_true(client_send(&c, body, SENT)); /* no reset, which could overtake the reply */
    assert_true(client_read(&c, &reply, false));
    assert_int_equal(reply.status, 413);
    assert_non_null(strstr(reply.body, "request_too_large"));
    reply_free(&reply);
    assert_true(client_is_at_end(&c));
    client_close(&c);
    server_wait_over(&s, 3);
    assert_int_equal(s.facts.status, 413);

    free(body);
    server_close(&s);
}

static void test_bodies_together(void **state)
{
    struct server s;
    struct client c[3];
    struct reply reply;
    struct qvl_http_limits limits;
    char *body = letters(60000);
    (void)state;
    qvl_http_default_limits(&limits);
    limits.n_body_bytes = 100000;
    server_open(&s, (struct qvl_http_options){0}, &limits);
    for (int i = 0; i < 2; i++) {
        client_open(&c[i], s.port);
        client_send_text(&c[i], "POST /wait HTTP/1.1\r\n" HOST JSON "Content-Length: 60000\r\n\r\n");
        client_send(&c[i], body, 60000);
        if (i == 0)
            sem_wait(&s.is_waiting);
    }
    assert_true(client_read(&c[1], &reply, false));
    assert_int_equal(reply.status, 503);
    assert_non_null(reply_header(&reply, "Retry-After"));
    reply_free(&reply);
    client_open(&c[2], s.port);
    client_send_text(&c[2], "POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\nea60\r\n");
    client_send(&c[2], body, 60000);
    assert_true(client_read(&c[2], &reply, false));
    assert_int_equal(reply.status, 503);
    reply_free(&reply);
    sem_post(&s.release);
    assert_true(client_read(&c[0], &reply, false));
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    for (int i = 0; i < 3; i++)
        client_close(&c[i]);
    server_wait_over(&s, 3);
    client_open(&c[0], s.port); /* what is over counts no more */
    client_send_text(&c[0], "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 60000\r\n\r\n");
    client_send(&c[0], body, 60000);
    assert_true(client_read(&c[0], &reply, false));
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    client_close(&c[0]);
    free(body);
    server_close(&s);
}

static void test_expect(void **state)
{
    struct server s;
    struct client c;
    struct reply reply;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    client_open(&c, s.port);
    client_send_text(&c, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_true(client_read(&c, &reply, false));
    assert_int_equal(reply.status, 100);
    reply_free(&reply);
    client_send_text(&c, "hello");
    assert_true(client_read(&c, &reply, false));
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "hello");
    reply_free(&reply);
    client_close(&c);
#define EXPECT "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    assert_int_equal(ask_status(&s, "POST /nowhere HTTP/1.1\r\n" HOST JSON EXPECT), 404);
    assert_int_equal(ask_status(&s, "PUT /echo HTTP/1.1\r\n" HOST JSON EXPECT), 405);
    assert_int_equal(ask_status(&s, "POST /echo HTTP/1.1\r\n" HOST JSON "Origin: http://evil.example\r\n" EXPECT),
                     403);
    assert_int_equal(ask_status(&s, "POST /echo HTTP/1.1\r\n" HOST "Content-Type: text/plain\r\n" EXPECT), 415);
    assert_int_equal(
        ask_status(&s, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 5\r\nExpect: cake\r\n\r\n"), 417);
    assert_int_equal(ask_status(&s, "POST /echo HTTP/1.1\r\n" HOST JSON
                                    "Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"),
                     413);
    server_close(&s);
}

/* ---- time ------------------------------------------------------------------------------------------------- */

/* A client that sends `first`, and then a byte every pause_us, until it is cut; the status that it reads (0: none),
 * and the longest time that lay between two bytes. */
static unsigned trickle(struct server *s, const char *first, useconds_t pause_us, double *longest_ms)
{
    struct client c;
    struct reply reply;
    char byte = 'a';
    unsigned status = 0;
    double last_ms = qvl_now_ms();
    client_open(&c, s->port);
    client_send_text(&c, "%s", first);
    *longest_ms = 0;
    for (useconds_t us = 0; us < 60000000; us += pause_us) {
        double now_ms = qvl_now_ms();
        *longest_ms = now_ms - last_ms > *longest_ms ? now_ms - last_ms : *longest_ms;
        last_ms = now_ms;
        if (recv(c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
            break;
        client_send(&c, "a", 1);
        usleep(pause_us);
    }
    if (client_read(&c, &reply, false)) {
        status = reply.status;
        assert_non_null(strstr(reply.body, "\"code\":\"request_timeout\""));
        reply_free(&reply);
    }
    client_close(&c);
    return status;
}

/* It is cut, and told so with `status` (0: without words). A server that stood still until the time was over has
 * read nothing that it could answer, or has no time left to say so: who saw that himself tries again. */
static void check_trickle(struct server *s, const char *first, useconds_t pause_us, unsigned status)
{
    enum { STOOD_MS = 100 };
    unsigned found = 0;
    for (int i = 0; i < 20; i++) {
        double longest_ms;
        found = trickle(s, first, pause_us, &longest_ms);
        if (found == status || found != 0 || longest_ms < STOOD_MS)
            break;
    }
    assert_int_equal(found, status);
}

/* Of the newest exchange that is over; what was tried before may be so only now. */
static void wait_for_status(struct server *s, unsigned status)
{
    unsigned found = 0;
    for (int i = 0; i < 6000 && found != status; i++) { /* a minute at most */
        pthread_mutex_lock(&s->lock);
        found = s->facts.status;
        pthread_mutex_unlock(&s->lock);
        if (found != status)
            usleep(10000);
    }
    assert_int_equal(found, status);
}

static void test_deadlines(void **state)
{
    struct server s;
    struct qvl_http_limits limits;
    (void)state;
    qvl_http_default_limits(&limits);
    limits.header_ms = limits.body_grace_ms = 1000;
    server_open(&s, (struct qvl_http_options){0}, &limits);
    check_trickle(&s, "GET /now HTTP/1.1\r\n" HOST "X-Long: ", 10000, 408);
    wait_for_status(&s, 408);
    check_trickle(&s, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 100000\r\n\r\n", 10000, 408);
    check_trickle(&s, "POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\nffff\r\n", 10000, 408);
    for (int i = 0; i < 3; i++) /* often there are bytes not yet read when the deadline comes */
        check_trickle(&s, "GET /now HTTP/1.1\r\n" HOST "X-Long: ", 100, 408);
    check_trickle(&s, "GET /now", 10000, 0);
    check_trickle(&s, "", 10000, 0);
    server_close(&s);
}

static void test_idle(void **state)
{
    struct server s;
    struct client c;
    struct reply reply;
    struct qvl_http_limits limits;
    (void)state;
    qvl_http_default_limits(&limits);
    limits.idle_ms = 100;
    server_open(&s, (struct qvl_http_options){0}, &limits);
    client_open(&c, s.port);
    client_send_text(&c, "GET /now HTTP/1.1\r\n" HOST "\r\n");
    assert_true(client_read(&c, &reply, false));
    reply_free(&reply);
    assert_true(client_is_at_end(&c));
    client_close(&c);
    server_close(&s);
}

/* Who takes nothing of a stream, or of a reply, is cut. */
static void test_stall(void **state)
{
    struct server s;
    struct client c;
    struct reply reply;
    struct qvl_http_limits limits;
    (void)state;
    qvl_http_default_limits(&limits);
    limits.stall_ms = 2000;
    server_open(&s, (struct qvl_http_options){0}, &limits);
    client_open(&c, s.port);
    client_send_text(&c, "POST /flood HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
    server_wait_over(&s, 1);
    assert_true(s.facts.is_cut);
    client_close(&c);
    assert_int_equal(ask_status(&s, "GET /now HTTP/1.1\r\n" HOST "\r\n"), 200);

    server_close(&s);

    /* one that is slow but steady is not */
    limits.stall_ms = 8000; /* looked at twice in that time: a machine may stand still for some seconds */
    server_open(&s, (struct qvl_http_options){0}, &limits);
    client_open(&c, s.port);
    client_send_text(&c, "POST /stream?n=400&size=65536 HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
    for (int i = 0; i < 100; i++) { /* for longer than that */
        assert_true(client_read_some(&c, 65536));
        usleep(100000);
    }
    assert_true(client_read(&c, &reply, false));
    assert_int_equal(reply.n_body, 400 * 65536);
    assert_false(reply.is_cut);
    reply_free(&reply);
    client_close(&c);
    server_close(&s);
}

/* The server must stop: nobody waits for who takes nothing; others keep their streams. */
static void test_give_up(void **state)
{
    struct server s;
    struct client stalled, live;
    struct reply reply;
    struct qvl_http_limits limits;
    int n_left = 3000;
    (void)state;
    qvl_http_default_limits(&limits);
    limits.stall_ms = 3600e3;
    server_open(&s, (struct qvl_http_options){0}, &limits);
    client_open(&live, s.port);
    client_send_text(&live, "POST /wait HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
    client_open(&stalled, s.port);
    client_send_text(&stalled, "POST /flood HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
    while (atomic_load(&s.n_thread) < 2 && n_left-- > 0)
        usleep(10000);
    while (atomic_load(&s.n_thread) > 1 && n_left-- > 0) {
        qvl_http_give_up_stalled(s.http);
        usleep(10000);
    }
    assert_true(n_left > 0);
    sem_post(&s.release);
    assert_true(client_read(&live, &reply, false));
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    client_close(&live);
    client_close(&stalled);
    server_close(&s);
}

/* ---- connections ------------------------------------------------------------------------------------------ */

static void test_keep_alive(void **state)
{
    struct server s;
    struct client c;
    struct reply reply;
    struct qvl_http_limits limits;
    (void)state;
    qvl_http_default_limits(&limits);
    limits.n_request = 6;
    server_open(&s, (struct qvl_http_options){0}, &limits);
    client_open(&c, s.port);
    static const struct {
        const char *request;
        unsigned status;
    } row[] = {
        {"GET /now HTTP/1.1\r\n" HOST "\r\n", 200},
        {"POST /nowhere HTTP/1.1\r\n" HOST JSON "Content-Length: 5\r\n\r\nhello", 404}, /* a short body is read */
        {"POST /stream HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}", 200},
        {"GET /now HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421},
        {"POST /wait HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}", 200},
        {"GET /now HTTP/1.1\r\n" HOST "\r\n", 200},
    };
    sem_post(&s.release);
    for (size_t i = 0; i < 6; i++) {
        client_send_text(&c, "%s", row[i].request);
        assert_true(client_read(&c, &reply, false));
        assert_int_equal(reply.status, row[i].status);
        if (i == 5)
            assert_string_equal(reply_header(&reply, "Connection"), "close");
        reply_free(&reply);
    }
    assert_true(client_is_at_end(&c));
    client_close(&c);
    server_close(&s);
}

static void test_pipelining(void **state)
{
    struct server s;
    struct client c;
    struct reply reply;
    enum { N = 100 };
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    client_open(&c, s.port);
    char *all = NULL;
    size_t n_all = 0;
    FILE *f = open_memstream(&all, &n_all);
    for (int i = 0; i < N; i++) {
        if (i % 3)
            fprintf(f, "GET /any/%d HTTP/1.1\r\n" HOST "\r\n", i);
        else
            fprintf(f, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 8\r\n\r\n/any/%-3d", i);
    }
    fclose(f);
    client_send(&c, all, n_all);
    for (int i = 0; i < N; i++) {
        char path[16];
        assert_true(client_read(&c, &reply, false));
        assert_int_equal(reply.status, 200);
        snprintf(path, sizeof path, i % 3 ? "/any/%d" : "/any/%-3d", i);
        assert_string_equal(reply.body, path);
        reply_free(&reply);
    }
    free(all);
    client_close(&c);
    server_close(&s);
}

static void test_many(void **state)
{
    enum { N = 200 };
    struct server s;
    struct client c[N];
    struct reply reply;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    for (int i = 0; i < N; i++)
        client_open(&c[i], s.port);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < N; i++)
            client_send_text(
                &c[i], "POST /stream?n=%d&size=50 HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}", i % 7 + 1);
        for (int i = 0; i < N; i++) {
            assert_true(client_read(&c[i], &reply, false));
            assert_int_equal(reply.status, 200);
            assert_int_equal(reply.n_body, (i % 7 + 1) * 50);
            assert_false(reply.is_cut);
            reply_free(&reply);
        }
    }
    for (int i = 0; i < N; i++)
        client_close(&c[i]);
    server_wait_over(&s, 3 * N);
    server_close(&s);
}

/* Above the limit the connection that waited longest for its client goes; those that are being answered stay. */
static void test_eviction(void **state)
{
    enum { N = 8 };
    struct server s;
    struct client busy, slow, c[N];
    struct reply reply;
    struct qvl_http_limits limits;
    (void)state;
    qvl_http_default_limits(&limits);
    limits.header_ms = limits.idle_ms = 1e9;
    limits.n_connection = 4;
    server_open(&s, (struct qvl_http_options){0}, &limits);
    client_open(&busy, s.port);
    client_send_text(&busy, "POST /wait HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
    sem_wait(&s.is_waiting);
    client_open(&slow, s.port);
    client_send_text(&slow, "GET /now HTTP/1.1\r\nHost:");
    for (int i = 0; i < N; i++) {
        client_open(&c[i], s.port);
        client_send_text(&c[i], "GET /now HTTP/1.1\r\n" HOST "\r\n");
        assert_true(client_read(&c[i], &reply, false));
        assert_int_equal(reply.status, 200);
        reply_free(&reply);
    }
    assert_true(client_is_at_end(&c[0]));
    sem_post(&s.release);
    assert_true(client_read(&busy, &reply, false));
    assert_string_equal(reply.body, "waited");
    reply_free(&reply);
    for (int i = 0; i < N; i++)
        client_close(&c[i]);
    client_close(&slow);
    client_close(&busy);
    server_close(&s);
}

/* The limit for an address, and an address of another family: on whatever address this machine has besides its
 * loopback ones, if any. */
/* A customer of a provider has a network of IPv6 whole, and of IPv4 an address. */
static void test_address_bytes(void **state)
{
    static const struct {
        const char *text;
        size_t n;
    } list[] = {
        {"2001:db8::1", 8}, {"fe80::1", 8}, {"::ffff:192.0.2.1", 16}, {"::ffff:127.0.0.1", 16}, {"::1", 16}};
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct in6_addr address;
        assert_int_equal(inet_pton(AF_INET6, list[i].text, &address), 1);
        assert_int_equal(qvl_address_bytes(&address), list[i].n);
    }
}

static void test_addresses(void **state)
{
    struct server s;
    struct client c[3];
    struct reply reply;
    struct ifaddrs *all = NULL;
    struct sockaddr_in to = {0};
    struct qvl_http_limits limits;
    (void)state;
    qvl_http_default_limits(&limits);
    limits.n_per_address = 2;
    assert_int_equal(getifaddrs(&all), 0);
    for (struct ifaddrs *i = all; i && !to.sin_port; i = i->ifa_next) {
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !(i->ifa_flags & IFF_LOOPBACK) &&
            (i->ifa_flags & IFF_UP)) {
            to = *(struct sockaddr_in *)(void *)i->ifa_addr;
            to.sin_port = 1;
        }
    }
    freeifaddrs(all);
    int v6 = socket(AF_INET6, SOCK_STREAM, 0);
    server_open(&s, (struct qvl_http_options){.host = v6 >= 0 ? "::" : "0.0.0.0"}, &limits);
    if (v6 >= 0)
        close(v6);
    assert_int_equal(ask_status(&s, "GET /now HTTP/1.1\r\n" HOST "\r\n"), 200);
    if (to.sin_port == 0) {
        server_close(&s);
        print_message("no address but loopback ones: the limit for an address is not tested\n");
        skip();
    }
    to.sin_port = htons((uint16_t)s.port);
    for (int i = 0; i < 3; i++) {
        memset(&c[i], 0, sizeof c[i]);
        c[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(c[i].fd, (struct sockaddr *)&to, sizeof to), 0);
        client_send_text(&c[i],
                         "GET /now HTTP/1.1\r\nHost: 10.1.2.3:8080\r\n\r\n"); /* a literal cannot be rebound */
        bool is_answered = client_read(&c[i], &reply, false);
        assert_int_equal(is_answered ? reply.status : 0, i < 2 ? 200 : 0);
        if (is_answered)
            reply_free(&reply);
    }
    assert_int_equal(ask_status(&s, "GET /now HTTP/1.1\r\n" HOST "\r\n"), 200); /* loopback has no such limit */
    for (int i = 0; i < 3; i++)
        client_close(&c[i]);
    server_close(&s);
}

/* At the system's limit of descriptors who is in is served on, and who waits is served later. */
static void test_no_descriptors(void **state)
{
    enum { N = 64 };
    struct server s;
    struct client first, later;
    struct reply reply;
    int taken[N], n_taken = 0;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    client_open(&first, s.port);
    client_send_text(&first, "GET /now HTTP/1.1\r\n" HOST "\r\n");
    assert_true(client_read(&first, &reply, false));
    reply_free(&reply);
    later.fd = socket(AF_INET, SOCK_STREAM, 0); /* a descriptor to connect with */
    assert_true(later.fd >= 0);
    close(later.fd);
    struct rlimit before, few;
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = (rlim_t)later.fd + 8;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    client_open(&later, s.port);
    while (n_taken < N && (taken[n_taken] = dup(0)) >= 0)
        n_taken++;
    client_send_text(&later, "GET /now HTTP/1.1\r\n" HOST "\r\n"); /* accepted before, or waits */
    for (int i = 0; i < 3; i++) {
        client_send_text(&first, "GET /now HTTP/1.1\r\n" HOST "\r\n");
        assert_true(client_read(&first, &reply, false));
        assert_int_equal(reply.status, 200);
        reply_free(&reply);
    }
    while (n_taken > 0)
        close(taken[--n_taken]);
    setrlimit(RLIMIT_NOFILE, &before);
    client_close(&first); /* libmicrohttpd accepts again when a connection ends */
    assert_true(client_read(&later, &reply, false));
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    client_close(&later);
    server_close(&s);
}

/* ---- clients that leave ----------------------------------------------------------------------------------- */

enum leave { CLOSE, RESET, HALF_CLOSE };

static void leave(struct client *c, enum leave how)
{
    if (how == RESET)
        client_reset(c);
    else if (how == HALF_CLOSE)
        shutdown(c->fd, SHUT_WR);
    else
        client_close(c);
}

static void test_gone(void **state)
{
    (void)state;
    for (int how = CLOSE; how <= HALF_CLOSE; how++) {
        struct server s;
        struct client c;
        int n_over = 0;
        server_open(&s, (struct qvl_http_options){0}, NULL);
        for (int begin = 0; begin <= 2; begin++) { /* no reply yet; begun; something sent */
            client_open(&c, s.port);
            client_send_text(&c, "POST /wait?begin=%d HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}", begin);
            sem_wait(&s.is_waiting);
            if (begin == 2)
                assert_true(client_want(&c, 1));
            leave(&c, (enum leave)how);
            sem_wait(&s.is_gone);
            server_wait_over(&s, ++n_over);
            server_wait_threads(&s); /* before another one waits for the same semaphore */
            assert_int_equal(atomic_load(&s.n_gone), n_over);
            assert_true(s.facts.is_cut);
            assert_int_equal(s.facts.status, begin ? 200 : 0);
            client_close(&c);
        }
        client_open(&c, s.port);
        client_send_text(&c, "POST /wait?late=1 HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
        sem_wait(&s.is_waiting);
        leave(&c, (enum leave)how);
        sem_post(&s.release);
        sem_wait(&s.is_gone);
        server_wait_over(&s, ++n_over);
        server_wait_threads(&s);
        assert_int_equal(atomic_load(&s.n_gone), n_over);
        client_close(&c);
        sem_wait(&s.is_waiting); /* posted twice */
        /* taken back: never called */
        client_open(&c, s.port);
        client_send_text(&c, "POST /wait?take_back=1 HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
        sem_wait(&s.is_waiting);
        sem_post(&s.release);
        struct reply reply;
        assert_true(client_read(&c, &reply, false));
        reply_free(&reply);
        leave(&c, (enum leave)how);
        client_close(&c);
        server_wait_over(&s, ++n_over);
        assert_int_equal(atomic_load(&s.n_gone), n_over - 1);
        /* in the middle of a head, of a body, and while a stream is waited for */
        static const char *const part[] = {"POST /wait HTTP/1.1\r\nHost:",
                                           "POST /wait HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{"};
        for (int i = 0; i < 2 && how != RESET; i++) { /* (a reset may come before the server has read anything) */
            client_open(&c, s.port);
            client_send_text(&c, "%s", part[i]);
            leave(&c, (enum leave)how);
            if (how == HALF_CLOSE)
                assert_true(client_is_at_end(&c));
            client_close(&c);
            server_wait_over(&s, ++n_over);
            assert_int_equal(s.facts.status, 0);
        }
        client_open(&c, s.port);
        client_send_text(&c, "POST /flood HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
        assert_true(client_want(&c, 1000000));
        leave(&c, (enum leave)how);
        server_wait_over(&s, ++n_over);
        assert_true(s.facts.is_cut);
        client_close(&c);
        server_close(&s); /* send has returned false: else this would wait for ever */
    }
}

/* What is left of a connection that was cut goes at once, also behind one that is older and idle. */
static void test_nothing_stays(void **state)
{
    struct server s;
    struct client old, c;
    struct reply reply;
    struct qvl_http_limits limits;
    (void)state;
    qvl_http_default_limits(&limits);
    limits.idle_ms = limits.header_ms = limits.stall_ms = 1e9;
    server_open(&s, (struct qvl_http_options){0}, &limits);
    client_open(&old, s.port);
    client_send_text(&old, "GET /now HTTP/1.1\r\n" HOST "\r\n");
    assert_true(client_read(&old, &reply, false));
    reply_free(&reply);
    static const char *const ends[] = {"/stream?cut=1 HTTP/1.1", "/stream HTTP/1.0", "/stream?cut=1 HTTP/1.0",
                                       "/flood HTTP/1.1", "/wait?begin=2 HTTP/1.1"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        client_open(&c, s.port);
        client_send_text(&c, "POST %s\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}", ends[i]);
        assert_true(client_want(&c, 1));
        client_close(&c);
    }
    uint32_t n_left = 0;
    for (int i = 0; i < 6000; i++) { /* a minute at most */
        pthread_mutex_lock(&s.http->lock);
        n_left = s.http->n_connection;
        pthread_mutex_unlock(&s.http->lock);
        if (n_left == 1)
            break;
        usleep(10000);
    }
    assert_int_equal(n_left, 1);
    client_close(&old);
    server_close(&s);
}

/* Many clients that leave at any moment: each exchange is over once, and nothing else is touched. */
static void test_gone_storm(void **state)
{
    enum { N = 300 };
    struct server s;
    struct client steady;
    struct reply reply;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    client_open(&steady, s.port);
    for (int i = 0; i < N; i++) {
        struct client c;
        client_open(&c, s.port);
        client_send_text(&c, "POST /stream?n=%d&size=%d HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}",
                         i % 50, i * 37);
        if (i % 3 == 0)
            client_want(&c, 1);
        if (i % 2)
            client_reset(&c);
        else
            client_close(&c);
        if (i % 10 == 0) {
            client_send_text(&steady,
                             "POST /stream?n=20&size=1000 HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
            assert_true(client_read(&steady, &reply, false));
            assert_int_equal(reply.n_body, 20000);
            assert_false(reply.is_cut);
            reply_free(&reply);
        }
    }
    client_close(&steady);
    server_close(&s);
}

/* ---- who may ask ------------------------------------------------------------------------------------------ */

static void test_keys(void **state)
{
    static const char *const keys[] = {"sk-one"};
    struct server s;
    (void)state;
    server_open(&s, (struct qvl_http_options){.api_key = keys, .n_api_key = 1}, NULL);
    struct reply reply = ask(&s, "POST /now HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(reply.status, 401);
    assert_string_equal(reply_header(&reply, "WWW-Authenticate"), "Bearer");
    reply_free(&reply);
    assert_int_equal(ask_status(&s, "GET /now HTTP/1.1\r\n" HOST "\r\n"), 200); /* public */
    assert_int_equal(s.client, 0);
    assert_int_equal(ask_status(&s, "POST /now HTTP/1.1\r\n" HOST "x-api-key: sk-one\r\n\r\n"), 200);
    assert_true(s.client != 0 && s.cache_salt != 0);
    /* guessing: after ten wrong ones in a second the next are told to wait; who has the right one, at the same
     * address, is not */
    bool is_throttled = false;
    for (int turn = 0; turn < 20 && !is_throttled; turn++) {
        struct client c;
        client_open(&c, s.port);
        for (int i = 0; i < 30; i++)
            client_send_text(&c, "POST /now HTTP/1.1\r\n" HOST "x-api-key: wrong-%d\r\n\r\n", i);
        client_send_text(&c, "POST /now HTTP/1.1\r\n" HOST "x-api-key: sk-one\r\n\r\n");
        for (int i = 0; i < 30; i++) {
            assert_true(client_read(&c, &reply, false));
            assert_true(reply.status == 401 || reply.status == 429);
            if (reply.status == 429) {
                assert_string_equal(reply_header(&reply, "Retry-After"), "1");
                assert_true(i >= (int)QVL_MAX_HTTP_WRONG_KEYS_PER_S || turn > 0);
                is_throttled = true;
            }
            reply_free(&reply);
        }
        assert_true(client_read(&c, &reply, false));
        assert_int_equal(reply.status, 200);
        reply_free(&reply);
        client_close(&c);
    }
    assert_true(is_throttled);
    server_close(&s);

    server_open(&s, (struct qvl_http_options){0}, NULL);
    assert_int_equal(ask_status(&s, "POST /now HTTP/1.1\r\n" HOST "Authorization: Bearer any\r\n\r\n"), 200);
    assert_true(s.client != 0 && s.cache_salt == 0); /* by address */
    server_close(&s);
}

/* Where the server counts wrong keys of 127.0.0.i. */
static size_t failures_place(const struct server *s, uint8_t i)
{
    struct sha256_ctx sha;
    uint8_t address[16] = {[10] = 0xff, 0xff, 127, 0, 0, i};
    uint64_t hash;
    sha256_init(&sha);
    sha256_update(&sha, sizeof s->http->secret, s->http->secret);
    sha256_update(&sha, sizeof address, address);
    sha256_digest(&sha, sizeof hash, (uint8_t *)&hash);
    return hash % (sizeof s->http->failures / sizeof *s->http->failures);
}

static void open_from(struct client *c, const struct server *s, uint8_t i)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u + i)}, to = from;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)s->port);
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(c->fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
}

/* Two addresses that are counted in one place by chance are counted together, so that taking turns is of no use. */
static void test_keys_by_turns(void **state)
{
    static const char *const keys[] = {"sk-one"};
    struct server s;
    struct client c[2];
    struct reply reply;
    uint8_t at[256] = {0}, one = 0, two = 0;
    bool is_throttled = false;
    (void)state;
    while (!two) { /* of 254 addresses in 256 places some two meet, nearly always */
        server_open(&s, (struct qvl_http_options){.api_key = keys, .n_api_key = 1}, NULL);
        memset(at, 0, sizeof at);
        for (uint8_t i = 1; i < 255 && !two; i++) {
            size_t place = failures_place(&s, i);
            one = at[place];
            two = one ? i : 0;
            at[place] = i;
        }
        if (!two)
            server_close(&s);
    }
    for (int turn = 0; turn < 20 && !is_throttled; turn++) {
        open_from(&c[0], &s, one);
        open_from(&c[1], &s, two);
        for (int i = 0; i < 30; i++) {
            client_send_text(&c[i % 2], "POST /now HTTP/1.1\r\n" HOST "x-api-key: wrong\r\n\r\n");
            assert_true(client_read(&c[i % 2], &reply, false));
            is_throttled = is_throttled || reply.status == 429;
            reply_free(&reply);
        }
        client_close(&c[0]);
        client_close(&c[1]);
    }
    assert_true(is_throttled);
    server_close(&s);
}

static void test_cors(void **state)
{
    static const char *const origins[] = {"https://ui.example"};
    struct server s;
    (void)state;
    server_open(&s, (struct qvl_http_options){.cors_origin = origins, .n_cors_origin = 1}, NULL);
    struct reply reply = ask(&s, "OPTIONS /echo HTTP/1.1\r\n" HOST "Origin: https://ui.example\r\n"
                                 "Access-Control-Request-Method: POST\r\n"
                                 "Access-Control-Request-Headers: authorization, content-type\r\n"
                                 "Access-Control-Request-Private-Network: true\r\n\r\n");
    assert_int_equal(reply.status, 204);
    assert_string_equal(reply_header(&reply, "Access-Control-Allow-Origin"), "https://ui.example");
    assert_string_equal(reply_header(&reply, "Access-Control-Allow-Methods"), "POST");
    assert_string_equal(reply_header(&reply, "Access-Control-Allow-Headers"), "authorization, content-type");
    assert_string_equal(reply_header(&reply, "Access-Control-Allow-Private-Network"), "true");
    assert_string_equal(reply_header(&reply, "Vary"), "Origin");
    assert_null(reply_header(&reply, "Cross-Origin-Resource-Policy"));
    reply_free(&reply);
    reply =
        ask(&s, "POST /echo HTTP/1.1\r\n" HOST JSON "Origin: https://ui.example\r\nContent-Length: 2\r\n\r\n{}");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_header(&reply, "Access-Control-Allow-Origin"), "https://ui.example");
    assert_null(reply_header(&reply, "Access-Control-Allow-Credentials"));
    reply_free(&reply);
    reply = ask(&s, "GET /now HTTP/1.1\r\n" HOST "Origin: https://evil.example\r\n\r\n");
    assert_int_equal(reply.status, 200);
    assert_null(reply_header(&reply, "Access-Control-Allow-Origin"));
    assert_string_equal(reply_header(&reply, "Cross-Origin-Resource-Policy"), "same-origin");
    reply_free(&reply);
    server_close(&s);
}

/* Who is refused and leaves before the short body is whole reads why, and the line says what the number means. */
static void test_refused_short(void **state)
{
    static const struct {
        const char *target, *line;
    } list[] = {{"/none", "HTTP/1.1 404 Not Found\r\n"}, {"/echo", "HTTP/1.1 401 Unauthorized\r\n"}};
    static const char *const keys[] = {"sk-one"};
    struct server s;
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct client c;
        struct reply reply;
        server_open(&s, (struct qvl_http_options){.api_key = keys, .n_api_key = 1}, NULL);
        client_open(&c, s.port);
        client_send_text(&c,
                         "POST %s HTTP/1.1\r\n" HOST "%sContent-Type: application/json\r\n"
                         "Content-Length: 100\r\n\r\nshort",
                         list[i].target, i == 0 ? "x-api-key: sk-one\r\n" : "");
        shutdown(c.fd, SHUT_WR);
        assert_true(client_read(&c, &reply, false));
        assert_int_equal(strncmp(reply.head, list[i].line, strlen(list[i].line)), 0);
        assert_non_null(strstr(reply.body, "\"code\":")); /* JSON: not by way of this test's own refusals */
        reply_free(&reply);
        client_close(&c);
        server_close(&s);
    }
}

static void test_forms(void **state)
{
    struct server s;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    static const char body[] =
        "--xyz\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nhello\r\n"
        "--xyz\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.jpg\"\r\n\r\n123\r\n--xyz--\r\n";
    char request[1024];
    snprintf(request, sizeof request,
             "POST /form HTTP/1.1\r\n" HOST
             "Content-Type: multipart/form-data; boundary=\"xyz\"\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    struct reply reply = ask(&s, request);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "prompt - 5;image a.jpg 3;");
    reply_free(&reply);
    snprintf(request, sizeof request,
             "POST /form HTTP/1.1\r\n" HOST
             "Content-Type: multipart/form-data; boundary=other\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    reply = ask(&s, request);
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(reply.body, "boundary"));
    reply_free(&reply);
    assert_int_equal(ask_status(&s, "POST /form HTTP/1.1\r\n" HOST
                                    "Content-Type: multipart/form-data\r\nContent-Length: 2\r\n\r\n--"),
                     400);
    server_close(&s);
}

/* ---- the end ---------------------------------------------------------------------------------------------- */

static void test_drain(void **state)
{
    struct server s;
    struct client idle, busy, half, refused;
    struct reply reply;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    client_open(&idle, s.port);
    client_send_text(&idle, "GET /now HTTP/1.1\r\n" HOST "\r\n");
    assert_true(client_read(&idle, &reply, false));
    reply_free(&reply);
    client_open(&busy, s.port);
    client_send_text(&busy, "POST /wait HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
    sem_wait(&s.is_waiting);
    client_open(&half, s.port);
    client_send_text(&half,
                     "POST /wait HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_true(client_read(&half, &reply, false));
    assert_int_equal(reply.status, 100); /* its head has been read */
    reply_free(&reply);
    qvl_http_stop_listening(s.http);
    qvl_http_stop_listening(s.http);
    client_send_text(&half, "{}");
    assert_true(client_read(&half, &reply, false));
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "draining"));
    reply_free(&reply);
    client_close(&half);
    assert_true(client_is_at_end(&idle));
    client_open(&refused, s.port);
    assert_true(client_is_at_end(&refused));
    client_close(&refused);
    sem_post(&s.release);
    assert_true(client_read(&busy, &reply, false));
    assert_string_equal(reply.body, "waited");
    assert_string_equal(reply_header(&reply, "Connection"), "close");
    reply_free(&reply);
    client_close(&idle);
    client_close(&busy);
    server_close(&s);
}

/* Replies that were given before the server closes arrive, if there is time to send them. */
static void test_close(void **state)
{
    (void)state;
    for (int i = 0, n_late = 0; i < 20; i++) {
        struct server s;
        struct client c, half;
        struct reply reply;
        server_open(&s, (struct qvl_http_options){0}, NULL);
        client_open(&half, s.port);
        client_send_text(&half, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{");
        client_open(&c, s.port);
        client_send_text(&c, "POST /stream?n=10&size=1000 HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
        assert_true(client_want(&c, 1));
        client_close(&half);
        double begin_ms = qvl_now_ms();
        server_close(&s);
        bool is_late = qvl_now_ms() - begin_ms >= QVL_MAX_HTTP_FLUSH_MS; /* the machine stood still: once more */
        bool has_head = client_read(&c, &reply, false);
        if (is_late && (!has_head || reply.is_cut)) {
            assert_true(++n_late < 20);
            i--;
        } else {
            assert_true(has_head);
            assert_int_equal(reply.n_body, 10000);
            assert_false(reply.is_cut);
        }
        reply_free(&reply);
        client_close(&c);
    }
}

static void test_open_fails(void **state)
{
    struct server s;
    struct qvl_http *http = NULL;
    struct qvl_error err;
    (void)state;
    server_open(&s, (struct qvl_http_options){0}, NULL);
    struct qvl_http_options options = s.http->options;
    options.port = s.port;
    assert_int_equal(qvl_http_open(&options, &http, &err), QVL_ERR_FILE);
    assert_null(http);
    options.host = "300.1.2.3";
    assert_int_equal(qvl_http_open(&options, &http, &err), QVL_ERR_ARGUMENT);
    options = s.http->options;
    options.port = 0;
    options.tls_cert = "no certificate";
    options.tls_key = "no key";
    assert_int_equal(qvl_http_open(&options, &http, &err), QVL_ERR_FILE);
    server_close(&s);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_stream),
        cmocka_unit_test(test_routes),        cmocka_unit_test(test_framing),
        cmocka_unit_test(test_targets),       cmocka_unit_test(test_header_limits),
        cmocka_unit_test(test_body_limits),   cmocka_unit_test(test_bodies_together),
        cmocka_unit_test(test_expect),        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_idle),          cmocka_unit_test(test_stall),
        cmocka_unit_test(test_give_up),       cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_pipelining),    cmocka_unit_test(test_many),
        cmocka_unit_test(test_eviction),      cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_address_bytes), cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_gone),          cmocka_unit_test(test_gone_storm),
        cmocka_unit_test(test_nothing_stays), cmocka_unit_test(test_keys),
        cmocka_unit_test(test_keys_by_turns), cmocka_unit_test(test_refused_short),
        cmocka_unit_test(test_cors),          cmocka_unit_test(test_forms),
        cmocka_unit_test(test_drain),         cmocka_unit_test(test_close),
        cmocka_unit_test(test_open_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
