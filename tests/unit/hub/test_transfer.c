/* Every reply that a hub, a mirror, a CDN or what sits between may give, byte by byte. */
#include "hub/transfer.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "hub/url.h"
#include "script_server.h"

static const char content[] = "0123456789abcdefghijklmnopqrstuvwxyz";
enum { N_CONTENT = sizeof content - 1 };

struct fixture {
    struct script_server server;
    struct qvl_hub_transfers *transfers;
    char got[N_CONTENT + 1];
    uint64_t n_taken;
    char url[128];
    /* what the server's side sees */
    atomic_uint n_token, n_cookie, n_range, n_direct;
    char first_range[64];
};

static enum qvl_status take(void *user, uint64_t at, const void *data, size_t n, struct qvl_error *err)
{
    struct fixture *f = user;
    (void)err;
    assert_true(at + n <= N_CONTENT);
    memcpy(f->got + at, data, n);
    f->n_taken += n;
    return QVL_OK;
}

static struct fixture *open_fixture(void (*answer)(void *user, const struct script_request *r, int fd))
{
    struct fixture *f = calloc(1, sizeof *f);
    struct qvl_error err = {0};
    struct qvl_hub_transfer_options options = {.back_off_ms = 1};
    assert_non_null(f);
    f->server.answer = answer;
    f->server.user = f;
    script_server_start(&f->server);
    snprintf(f->url, sizeof f->url, "%s/file", f->server.url);
    assert_int_equal(qvl_hub_transfers_open(&options, &f->transfers, &err), QVL_OK);
    return f;
}

static void close_fixture(struct fixture *f)
{
    qvl_hub_transfers_close(f->transfers);
    script_server_stop(&f->server);
    free(f);
}

static void go_on(struct fixture *f, struct qvl_hub_call *call)
{
    struct qvl_error err = {0};
    double begin_ms = qvl_now_ms();
    while (call->outcome == QVL_HUB_UNDER_WAY) {
        assert_int_equal(qvl_hub_transfers_step(f->transfers, 50, &err), QVL_OK);
        assert_true(qvl_now_ms() - begin_ms < 60000); /* a call that never ends is a fault, not a slow machine */
    }
}

static void run(struct fixture *f, struct qvl_hub_call *call)
{
    struct qvl_error err = {0};
    assert_int_equal(qvl_hub_call_start(f->transfers, call, &err), QVL_OK);
    go_on(f, call);
}

static struct qvl_hub_call part(struct fixture *f, uint64_t at, uint64_t end)
{
    return (struct qvl_hub_call){
        .url = f->url, .is_file = true, .at = at, .end = end, .n_file = N_CONTENT, .take = take, .user = f};
}

/* ---- small answers ------------------------------------------------------------------------------- */

static void say_hello(void *user, const struct script_request *r, int fd)
{
    struct fixture *f = user;
    f->n_token += script_has_line(r, "Authorization: Bearer secret");
    f->n_cookie += script_has_line(r, "Cookie: m_session_id=secret");
    assert_true(script_has_line(r, "Accept-Encoding: identity"));
    script_say(fd,
               "HTTP/1.1 200 OK\r\nLink: <http://x/y?cursor=2>; rel=\"next\"\r\nContent-Length: 5\r\n\r\nhello");
}

static void test_answer(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(say_hello);
    struct qvl_hub_call call = {.url = f->url, .token = "secret", .max_bytes = 100};
    run(f, &call);
    assert_int_equal(call.outcome, QVL_HUB_ANSWERED);
    assert_string_equal(call.body.data, "hello");
    assert_string_equal(call.link, "<http://x/y?cursor=2>; rel=\"next\"");
    assert_int_equal(f->n_token, 1);
    assert_int_equal(f->n_cookie, 0);
    qvl_hub_call_end(f->transfers, &call);
    qvl_hub_call_end(f->transfers, &call);

    struct qvl_hub_call with_cookie = {.url = f->url, .token = "secret", .has_cookie = true, .max_bytes = 100};
    run(f, &with_cookie);
    assert_int_equal(f->n_token, 2);
    assert_int_equal(f->n_cookie, 1);
    qvl_hub_call_end(f->transfers, &with_cookie);

    struct qvl_hub_call small = {.url = f->url, .token = "secret", .max_bytes = 4};
    run(f, &small);
    assert_int_equal(small.outcome, QVL_HUB_FAILED);
    assert_int_equal(small.err.status, QVL_ERR_LIMIT);
    assert_non_null(strstr(small.err.text, "more than 4 bytes"));
    assert_int_equal(f->n_token, 3); /* asked once */
    qvl_hub_call_end(f->transfers, &small);
    close_fixture(f);
}

static void refuse(void *user, const struct script_request *r, int fd)
{
    (void)user;
    script_say(fd, "HTTP/1.1 %s No\r\nX-Error-Code: GatedRepo\r\nContent-Length: 2\r\n\r\nno", r->path + 1);
}

static void test_refusals(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(refuse);
    static const int codes[] = {400, 401, 403, 404, 410, 451};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        char url[96];
        unsigned before = f->server.n_request;
        snprintf(url, sizeof url, "%s/%d", f->server.url, codes[i]);
        struct qvl_hub_call call = {.url = url, .max_bytes = 100};
        run(f, &call);
        assert_int_equal(call.outcome, QVL_HUB_REFUSED);
        assert_int_equal(call.code, codes[i]);
        assert_string_equal(call.error_code, "GatedRepo");
        assert_int_equal(f->server.n_request - before, 1);
        qvl_hub_call_end(f->transfers, &call);
    }
    static const int passing[] = {408, 429, 500, 502, 503, 504};
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        char url[96];
        unsigned before = f->server.n_request;
        snprintf(url, sizeof url, "%s/%d", f->server.url, passing[i]);
        struct qvl_hub_call call = {.url = url, .max_bytes = 100};
        run(f, &call);
        assert_int_equal(call.outcome, QVL_HUB_UNREACHED);
        assert_int_equal(f->server.n_request - before, QVL_MAX_HUB_TRIES);
        qvl_hub_call_end(f->transfers, &call);
    }
    close_fixture(f);
}

/* ---- redirects ----------------------------------------------------------------------------------- */

static void redirect(void *user, const struct script_request *r, int fd)
{
    struct fixture *f = user;
    if (strcmp(r->path, "/file") == 0) {
        assert_true(script_has_line(r, "Authorization: Bearer secret"));
        script_say(fd, "HTTP/1.1 307 Go\r\nLocation: /near?a=b%%20c\r\nContent-Length: 4\r\n\r\nmove");
    } else if (strcmp(r->path, "/near?a=b%20c") == 0) {
        assert_true(script_has_line(r, "Authorization: Bearer secret")); /* the same origin */
        script_say(fd, "HTTP/1.1 302 Go\r\nlocation:%s/far?X-Sig=1\r\nContent-Length: 0\r\n\r\n",
                   f->server.other_url);
    } else {
        assert_string_equal(r->path, "/far?X-Sig=1");
        assert_null(strcasestr(r->head, "secret"));
        assert_null(strcasestr(r->head, "\r\nAuthorization:"));
        assert_null(strcasestr(r->head, "\r\nCookie:"));
        script_serve(fd, r, content, N_CONTENT);
    }
}

static void test_redirects(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(redirect);
    struct qvl_hub_call call = part(f, 0, N_CONTENT);
    call.token = "secret";
    call.has_cookie = true;
    run(f, &call);
    assert_int_equal(call.outcome, QVL_HUB_ANSWERED);
    assert_string_equal(f->got, content);
    assert_int_equal(f->server.n_request, 3);
    qvl_hub_call_end(f->transfers, &call);
    close_fixture(f);
}

static void redirect_for_ever(void *user, const struct script_request *r, int fd)
{
    (void)user;
    script_say(fd, "HTTP/1.1 302 Go\r\nLocation: %s+\r\nContent-Length: 0\r\n\r\n", r->path);
}

static void redirect_nowhere(void *user, const struct script_request *r, int fd)
{
    (void)user;
    (void)r;
    script_say(fd, "HTTP/1.1 302 Go\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n");
}

static void test_bad_redirects(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(redirect_for_ever);
    struct qvl_hub_call call = part(f, 0, N_CONTENT);
    run(f, &call);
    assert_int_equal(call.outcome, QVL_HUB_UNSAFE);
    assert_int_equal(f->server.n_request, QVL_MAX_HUB_REDIRECTS + 1);
    qvl_hub_call_end(f->transfers, &call);
    close_fixture(f);

    f = open_fixture(redirect_nowhere);
    struct qvl_hub_call away = part(f, 0, N_CONTENT);
    run(f, &away);
    assert_int_equal(away.outcome, QVL_HUB_UNSAFE);
    assert_int_equal(f->n_taken, 0);
    qvl_hub_call_end(f->transfers, &away);
    close_fixture(f);
}

/* The hub signs an address; it is used again, until it is refused. */
static void sign(void *user, const struct script_request *r, int fd)
{
    struct fixture *f = user;
    if (strcmp(r->path, "/file") == 0) {
        script_say(fd, "HTTP/1.1 302 Go\r\nLocation: %s/signed%u\r\nContent-Length: 0\r\n\r\n", f->server.other_url,
                   f->n_direct / 2);
    } else if (f->n_direct == 2 && strcmp(r->path, "/signed0") == 0) {
        script_say(fd, "HTTP/1.1 403 Expired\r\nContent-Length: 0\r\n\r\n");
    } else {
        f->n_direct++;
        script_serve(fd, r, content, N_CONTENT);
    }
}

static void test_signed_address(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(sign);
    char *direct = NULL;
    static const unsigned n_request[] = {2, 3, 6}; /* hub, CDN; CDN; CDN says no, hub, CDN */
    for (uint64_t i = 0; i < 3; i++) {
        struct qvl_hub_call call = part(f, 12 * i, 12 * i + 12);
        call.direct = &direct;
        call.n_try = 1;
        run(f, &call);
        assert_int_equal(call.outcome, QVL_HUB_ANSWERED);
        assert_int_equal(f->server.n_request, n_request[i]);
        qvl_hub_call_end(f->transfers, &call);
    }
    assert_string_equal(f->got, content);
    assert_non_null(strstr(direct, "/signed1"));
    free(direct);
    close_fixture(f);
}

/* ---- parts --------------------------------------------------------------------------------------- */

static void serve_by_name(void *user, const struct script_request *r, int fd)
{
    struct fixture *f = user;
    uint64_t n = r->has_range ? r->last + 1 - r->first : N_CONTENT;
    const char *bytes = content + (r->has_range ? r->first : 0);
    static const char head[] = "HTTP/1.1 206 Part\r\nConnection: close\r\n";
    f->n_range += r->has_range;
    if (strcmp(r->path, "/whole") == 0)
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", N_CONTENT, content);
    else if (strcmp(r->path, "/416") == 0)
        script_say(fd, "HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n");
    else if (strcmp(r->path, "/shifted") == 0)
        script_say(fd, "%sContent-Range: bytes 0-%d/%d\r\n\r\n%s", head, N_CONTENT - 1, N_CONTENT, content);
    else if (strcmp(r->path, "/other") == 0) /* a file of another size */
        script_say(fd, "%sContent-Range: bytes %llu-%llu/99\r\n\r\n", head, (unsigned long long)r->first,
                   (unsigned long long)r->last);
    else if (strcmp(r->path, "/none") == 0) /* 206 without Content-Range */
        script_say(fd, "%s\r\n%.*s", head, (int)n, bytes);
    else if (strcmp(r->path, "/star") == 0)
        script_say(fd, "%sContent-Range: bytes %llu-%llu/*\r\n\r\n%.*s", head, (unsigned long long)r->first,
                   (unsigned long long)r->last, (int)n, bytes);
    else if (strcmp(r->path, "/less") == 0 && r->has_range) /* allowed: a part of the part */
        script_say(fd, "%sContent-Range: bytes %llu-%llu/%d\r\nContent-Length: 5\r\n\r\n%.5s", head,
                   (unsigned long long)r->first, (unsigned long long)(n < 5 ? r->last : r->first + 4), N_CONTENT,
                   bytes);
    else if (strcmp(r->path, "/long") == 0) /* more than announced, without a length */
        script_say(fd, "%sContent-Range: bytes %llu-%llu/%d\r\n\r\n%sAND MORE", head, (unsigned long long)r->first,
                   (unsigned long long)r->last, N_CONTENT, bytes);
    else if (strcmp(r->path, "/gzip") == 0)
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc");
    else if (strcmp(r->path, "/short") == 0) /* a file of another size, whole */
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
}

/* Heads without end: of one reply, and of replies that announce the next one. */
static void serve_heads(void *user, const struct script_request *r, int fd)
{
    (void)user;
    bool is_one = strcmp(r->path, "/one") == 0;
    if (is_one)
        script_say(fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 20000; i++)
        script_say(fd, is_one ? "X-%d: and another one, and so on\r\n" : "HTTP/1.1 100 Continue\r\nX: %d\r\n\r\n",
                   i);
}

static enum qvl_hub_outcome ask(struct fixture *f, const char *path, uint64_t at, uint64_t end, char why[240])
{
    snprintf(f->url, sizeof f->url, "%s%s", f->server.url, path);
    memset(f->got, 0, sizeof f->got);
    f->n_taken = 0;
    struct qvl_hub_call call = part(f, at, end);
    call.n_try = 2;
    run(f, &call);
    memcpy(why, call.why, 240);
    assert_null(strstr(why, "/")); /* no address */
    qvl_hub_call_end(f->transfers, &call);
    return call.outcome;
}

static void test_parts(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(serve_by_name);
    char why[240];
    assert_int_equal(ask(f, "/whole", 5, 10, why), QVL_HUB_NO_RANGES);
    assert_int_equal(ask(f, "/whole", 0, 10, why), QVL_HUB_NO_RANGES);
    assert_int_equal(f->n_taken, 0);
    assert_int_equal(f->n_range, 2);
    assert_int_equal(ask(f, "/whole", 0, N_CONTENT, why), QVL_HUB_ANSWERED);
    assert_int_equal(f->n_range, 2); /* the whole is asked for as a whole */
    assert_string_equal(f->got, content);
    assert_int_equal(ask(f, "/416", 5, 10, why), QVL_HUB_NO_RANGES);
    assert_int_equal(ask(f, "/shifted", 5, 10, why), QVL_HUB_UNREACHED);
    assert_non_null(strstr(why, "another part"));
    assert_int_equal(ask(f, "/other", 5, 10, why), QVL_HUB_UNREACHED);
    assert_non_null(strstr(why, "99 bytes"));
    assert_int_equal(ask(f, "/none", 5, 10, why), QVL_HUB_UNREACHED);
    assert_int_equal(ask(f, "/gzip", 0, N_CONTENT, why), QVL_HUB_UNREACHED);
    assert_int_equal(ask(f, "/short", 0, N_CONTENT, why), QVL_HUB_UNREACHED);
    assert_non_null(strstr(why, "3 bytes"));
    assert_int_equal(f->n_taken, 0);
    assert_int_equal(ask(f, "/star", 5, 10, why), QVL_HUB_ANSWERED);
    assert_memory_equal(f->got + 5, content + 5, 5);
    assert_int_equal(ask(f, "/less", 5, 25, why), QVL_HUB_ANSWERED);
    assert_memory_equal(f->got + 5, content + 5, 20);
    f->got[N_CONTENT] = 0;
    assert_int_equal(ask(f, "/long", 30, N_CONTENT, why), QVL_HUB_UNREACHED);
    close_fixture(f);
}

static void test_heads(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(serve_heads);
    char why[240];
    assert_int_equal(ask(f, "/one", 0, N_CONTENT, why), QVL_HUB_UNREACHED);
    assert_non_null(strstr(why, "headers without end"));
    assert_int_equal(ask(f, "/many", 0, N_CONTENT, why), QVL_HUB_UNREACHED);
    assert_non_null(strstr(why, "headers without end"));
    assert_int_equal(f->n_taken, 0);
    close_fixture(f);
}

/* ---- breaks -------------------------------------------------------------------------------------- */

/* One byte, then the line is cut; every third time nothing at all. */
static void drip(void *user, const struct script_request *r, int fd)
{
    (void)user;
    uint64_t first = r->has_range ? r->first : 0;
    if (r->i % 3 == 2)
        return;
    script_say(fd, "HTTP/1.1 %s\r\nContent-Length: %llu\r\n", r->has_range ? "206 Part" : "200 OK",
               (unsigned long long)(N_CONTENT - first));
    if (r->has_range)
        script_say(fd, "Content-Range: bytes %llu-%d/%d\r\n", (unsigned long long)first, N_CONTENT - 1, N_CONTENT);
    script_say(fd, "\r\n%c", content[first]);
}

static void test_poor_line(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(drip);
    struct qvl_hub_call call = part(f, 0, N_CONTENT);
    run(f, &call);
    assert_int_equal(call.outcome, QVL_HUB_ANSWERED);
    assert_string_equal(f->got, content);
    assert_int_equal(f->n_taken, N_CONTENT); /* no byte twice */
    qvl_hub_call_end(f->transfers, &call);
    close_fixture(f);
}

/* Gives no parts, and breaks at the same place each time: that must end. */
static void break_in_the_middle(void *user, const struct script_request *r, int fd)
{
    (void)user;
    assert_false(r->has_range);
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%.20s", N_CONTENT, content);
}

static void test_broken_server(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(break_in_the_middle);
    struct qvl_hub_call call = part(f, 0, N_CONTENT);
    call.is_whole = true;
    run(f, &call);
    assert_int_equal(call.outcome, QVL_HUB_UNREACHED);
    assert_int_equal(f->server.n_request, QVL_MAX_HUB_TRIES); /* one was new, the others were not */
    qvl_hub_call_end(f->transfers, &call);
    close_fixture(f);
}

static void hang_then_serve(void *user, const struct script_request *r, int fd)
{
    (void)user;
    if (r->i == 0) {
        char c;
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%.7s", N_CONTENT, content);
        while (recv(fd, &c, 1, 0) > 0) /* until the other side has had enough */
            ;
        return;
    }
    assert_int_equal(r->first, 7);
    script_serve(fd, r, content, N_CONTENT);
}

static void test_stall(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(hang_then_serve);
    struct qvl_error err = {0};
    struct qvl_hub_call call = part(f, 0, N_CONTENT);
    call.stall_ms = 60000; /* but where the server hangs: elsewhere only the machine may */
    assert_int_equal(qvl_hub_call_start(f->transfers, &call, &err), QVL_OK);
    while (f->n_taken < 7)
        assert_int_equal(qvl_hub_transfers_step(f->transfers, 50, &err), QVL_OK);
    call.stall_ms = 200;
    while (call.again_ms == 0)
        assert_int_equal(qvl_hub_transfers_step(f->transfers, 50, &err), QVL_OK);
    call.stall_ms = 60000;
    go_on(f, &call);
    assert_int_equal(call.outcome, QVL_HUB_ANSWERED);
    assert_string_equal(f->got, content);
    assert_int_equal(f->n_taken, N_CONTENT);
    qvl_hub_call_end(f->transfers, &call);
    close_fixture(f);
}

static void ask_for_patience(void *user, const struct script_request *r, int fd)
{
    (void)user;
    if (r->i == 0)
        script_say(fd, "HTTP/1.1 503 Later\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n");
    else if (r->i == 1)
        script_say(fd, "HTTP/1.1 429 Later\r\nRetry-After: 100000\r\nContent-Length: 0\r\n\r\n");
}

static void test_retry_after(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(ask_for_patience);
    struct qvl_error err = {0};
    struct qvl_hub_call call = part(f, 0, N_CONTENT);
    assert_int_equal(qvl_hub_call_start(f->transfers, &call, &err), QVL_OK);
    double before_ms = 0;
    while (call.again_ms == 0) {
        before_ms = qvl_now_ms();
        assert_int_equal(qvl_hub_transfers_step(f->transfers, 50, &err), QVL_OK);
    }
    assert_true(call.again_ms >= before_ms + 2000 && call.again_ms <= qvl_now_ms() + 2000);
    assert_string_equal(call.why, "127.0.0.1 answers 503");
    while (call.outcome == QVL_HUB_UNDER_WAY)
        assert_int_equal(qvl_hub_transfers_step(f->transfers, 50, &err), QVL_OK);
    assert_true(call.again_ms == 0);
    assert_int_equal(f->server.n_request, 2); /* a day is longer than anybody waits */
    assert_int_equal(call.outcome, QVL_HUB_UNREACHED);
    qvl_hub_call_end(f->transfers, &call);
    close_fixture(f);
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(say_hello);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    script_server_stop(&f->server);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* keeps a port and does not listen on it */
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&address, n) == 0 &&
                getsockname(fd, (struct sockaddr *)&address, &n) == 0);
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%u/file", ntohs(address.sin_port));
    struct qvl_hub_call call = {.url = f->url, .max_bytes = 100, .n_try = 2};
    run(f, &call);
    assert_int_equal(call.outcome, QVL_HUB_UNREACHED);
    assert_int_equal(call.code, 0);
    assert_non_null(strstr(call.why, "127.0.0.1"));
    qvl_hub_call_end(f->transfers, &call);
    qvl_hub_transfers_close(f->transfers);
    close(fd);
    free(f);
}

/* Calls are ended in the middle, and all at once. */
static void test_end_in_the_middle(void **state)
{
    (void)state;
    struct fixture *f = open_fixture(hang_then_serve);
    struct qvl_error err = {0};
    struct qvl_hub_call calls[3];
    for (size_t i = 0; i < 3; i++) {
        calls[i] = part(f, 7, N_CONTENT);
        assert_int_equal(qvl_hub_call_start(f->transfers, &calls[i], &err), QVL_OK);
    }
    while (f->server.n_request == 0)
        assert_int_equal(qvl_hub_transfers_step(f->transfers, 50, &err), QVL_OK);
    qvl_hub_call_end(f->transfers, &calls[1]);
    close_fixture(f);
}

/* ---- addresses ----------------------------------------------------------------------------------- */

static void check_follow(const char *from, const char *location, const char *expected)
{
    char *to = qvl_hub_url_follow(from, location);
    if (expected)
        assert_string_equal(to, expected);
    else
        assert_null(to);
    free(to);
}

static void test_follow(void **state)
{
    (void)state;
    /* RFC 3986, 5.4 */
    check_follow("https://a/b/c/d;p?q", "g", "https://a/b/c/g");
    check_follow("https://a/b/c/d;p?q", "../g", "https://a/b/g");
    check_follow("https://a/b/c/d;p?q", "/g?y#s", "https://a/g?y");
    check_follow("https://a/b/c/d;p?q", "//g/h", "https://g/h");
    check_follow("https://a/b", "http://a/b", NULL);
    check_follow("http://a/b", "http://c/d", "http://c/d");
    check_follow("http://a/b", "https://c/d?x=%2F", "https://c/d?x=%2F");
    check_follow("https://a/b", "ftp://a/b", NULL);
    check_follow("https://a/b", "https://user:pass@a/b", NULL);
    check_follow("https://a/b", "https://a/b\r\nX: y", NULL);
    check_follow("https://a/b", "https://", NULL);
    check_follow("https://a/b", "", NULL);
}

static void test_next_query(void **state)
{
    (void)state;
    char out[64];
    assert_true(
        qvl_hub_url_next_query("<https://h/api?recursive=true&cursor=ZXk%3D>; rel=\"next\"", out, sizeof out));
    assert_string_equal(out, "recursive=true&cursor=ZXk%3D");
    assert_true(qvl_hub_url_next_query("<https://h/a?p=0>; rel=\"prev\", <https://h/a?p=2>; rel=\"next\"", out,
                                       sizeof out));
    assert_string_equal(out, "p=2");
    assert_false(qvl_hub_url_next_query("<https://h/a?p=0>; rel=\"prev\"", out, sizeof out));
    assert_false(qvl_hub_url_next_query("<https://h/a>; rel=\"next\"", out, sizeof out));
    assert_false(qvl_hub_url_next_query("<https://h/a?b c>; rel=\"next\"", out, sizeof out));
    assert_false(qvl_hub_url_next_query("", out, sizeof out));
    assert_false(qvl_hub_url_next_query("<", out, sizeof out));
    assert_false(qvl_hub_url_next_query("<https://h/a?p=2>; rel=\"next\"", out, 3));
}

static void test_origin(void **state)
{
    (void)state;
    struct qvl_hub_origin a, b;
    assert_true(qvl_hub_url_origin("https://Hub.example/x", &a) &&
                qvl_hub_url_origin("https://hub.example:443/y", &b));
    assert_true(qvl_hub_origin_is_same(&a, &b));
    assert_true(qvl_hub_url_origin("https://hub.example:444/x", &b));
    assert_false(qvl_hub_origin_is_same(&a, &b));
    assert_true(qvl_hub_url_origin("http://hub.example/x", &b));
    assert_false(qvl_hub_origin_is_same(&a, &b));
    assert_true(qvl_hub_url_origin("https://hub.example.evil/x", &b));
    assert_false(qvl_hub_origin_is_same(&a, &b));
    assert_false(qvl_hub_url_origin("hub.example", &a));
    assert_false(qvl_hub_url_origin("https://a@b/", &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_bad_redirects),
        cmocka_unit_test(test_signed_address),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_poor_line),
        cmocka_unit_test(test_broken_server),
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_end_in_the_middle),
        cmocka_unit_test(test_follow),
        cmocka_unit_test(test_next_query),
        cmocka_unit_test(test_origin),
    };
    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
