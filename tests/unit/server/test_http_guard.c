/* One table of request heads and what becomes of them. Statuses: RFC 9110 and 9112, Fetch for preflights, the
 * contract in http.h for keys. */
#include "server/http_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"

static void no_answer(void *user, struct qvl_exchange *x)
{
    (void)user, (void)x;
}

static const struct qvl_route routes[] = {
    {"GET", "/health", no_answer, QVL_LANE_NOW, true, false},
    {"GET", "/v1/models", no_answer, QVL_LANE_NOW, false, false},
    {"GET", "/v1/models/*", no_answer, QVL_LANE_NOW, false, false},
    {"POST", "/v1/chat/completions", no_answer, QVL_LANE_MODEL, false, true},
    {"DELETE", "/v1/models/*", no_answer, QVL_LANE_NOW, false, false},
};

static const char *const keys[] = {"sk-one", "sk-two"};
static const char *const names[] = {"box.example", "port.example:8443"};
static const char *const origins[] = {"https://ui.example"};

/* Options to judge by. */
enum { OPEN, KEYS = 1, NAMES = 2, CORS = 4, WILDCARD = 8, THROTTLED = 16, ADDRESS = 32, ADDRESS6 = 64 };

#define H "Host: localhost:8080\n"
#define J "Content-Type: application/json\nContent-Length: 2\n"
#define CHAT "POST /v1/chat/completions"

struct row {
    int options;
    const char *line;    /* method and target; "1.0 " before it: HTTP/1.0 */
    const char *headers; /* "name: value\n" each */
    unsigned status;
    bool must_close;
};

static const struct row table[] = {
    /* plain */
    {OPEN, "GET /health", H, 0, false},
    {OPEN, "HEAD /health", H, 0, false},
    {OPEN, "GET /v1/models", H, 0, false},
    {OPEN, "GET /v1/models/a/b%2f..", H, 0, false},
    {OPEN, CHAT, H J, 0, false},
    {OPEN, "1.0 GET /health", "", 0, false},
    {OPEN, "GET /health?key=value&/v1/models", H, 0, false},
    /* Host: DNS rebinding */
    {OPEN, "GET /health", "", 400, true},
    {OPEN, "GET /health", H H, 400, true},
    {OPEN, "GET /health", "Host: \n", 421, false},
    {OPEN, "GET /health", "Host: evil.example\n", 421, false},
    {OPEN, "GET /health", "Host: localhost.evil.example\n", 421, false},
    {OPEN, "GET /health", "Host: localhost.\n", 421, false},
    {OPEN, "GET /health", "Host: LOCALHOST\n", 0, false},
    {OPEN, "GET /health", "Host: 127.0.0.1:8080\n", 0, false},
    {OPEN, "GET /health", "Host: 127.1.2.3:1\n", 0, false},
    {OPEN, "GET /health", "Host: [::1]:8080\n", 0, false},
    {OPEN, "GET /health", "Host: [::ffff:127.0.0.1]\n", 0, false},
    {OPEN, "GET /health", "Host: [0:0:0:0:0:0:0:1]\n", 0, false},
    {OPEN, "GET /health", "Host: ::1\n", 400, true},
    {OPEN, "GET /health", "Host: [::1\n", 400, true},
    {OPEN, "GET /health", "Host: [::1]x\n", 400, true},
    {OPEN, "GET /health", "Host: 10.0.0.1\n", 421, false},
    {OPEN, "GET /health", "Host: 0x7f.1\n", 421, false},
    {OPEN, "GET /health", "Host: 2130706433\n", 421, false},
    {OPEN, "GET /health", "Host: localhost:\n", 400, true},
    {OPEN, "GET /health", "Host: localhost:99999\n", 400, true},
    {OPEN, "GET /health", "Host: localhost:80a\n", 400, true},
    {OPEN, "GET /health", "Host: localhost/x\n", 400, true},
    {OPEN, "GET /health", "Host: user@localhost\n", 400, true},
    {OPEN, "GET /health", "Host: localhost evil\n", 400, true},
    {OPEN, "GET /health", "Host: localhost,evil\n", 400, true},
    {NAMES, "GET /health", "Host: box.example\n", 0, false},
    {NAMES, "GET /health", "Host: Box.Example:9000\n", 0, false},
    {NAMES, "GET /health", "Host: port.example:8443\n", 0, false},
    {NAMES, "GET /health", "Host: port.example:8444\n", 421, false},
    {NAMES, "GET /health", "Host: port.example\n", 421, false},
    {NAMES, "GET /health", "Host: xbox.example\n", 421, false},
    {WILDCARD, "GET /health", "Host: 192.168.1.5:8080\n", 0, false},
    {WILDCARD, "GET /health", "Host: [fe80::1]\n", 0, false},
    {WILDCARD, "GET /health", "Host: evil.example\n", 421, false},
    {ADDRESS, "GET /health", "Host: 192.168.1.5\n", 0, false},
    {ADDRESS, "GET /health", "Host: 192.168.1.6\n", 421, false},
    {ADDRESS6, "GET /health", "Host: [2001:DB8:0::5]:80\n", 0, false},
    {ADDRESS6, "GET /health", "Host: [2001:db8::6]\n", 421, false},
    /* absolute targets: authority and Host must both pass */
    {OPEN, "GET http://localhost:8080/health", H, 0, false},
    {OPEN, "GET HTTP://127.0.0.1/health?a", H, 0, false},
    {OPEN, "GET http://evil.example/health", H, 421, false},
    {OPEN, "GET http://localhost/health", "Host: evil.example\n", 421, false},
    {OPEN, "GET http:///health", H, 400, false},
    {OPEN, "GET http://a@localhost/health", H, 400, true},
    /* one spelling is one route */
    {OPEN, "GET //v1/models", H, 404, false},
    {OPEN, "GET /./v1/models", H, 404, false},
    {OPEN, "GET /v1/../v1/models", H, 404, false},
    {OPEN, "GET /%76%31/models", H, 404, false},
    {OPEN, "GET /v1%2fmodels", H, 404, false},
    {OPEN, "GET /V1/models", H, 404, false},
    {OPEN, "GET /v1/models.", H, 404, false},
    {OPEN, "GET /v1/models;a", H, 404, false},
    {OPEN, "GET \\v1\\models", H, 404, false},
    {OPEN, "GET *", H, 404, false},
    {OPEN, "GET ", H, 404, false},
    {OPEN, "GET v1/models", H, 404, false},
    {KEYS, "GET //health", H, 401, false},
    {KEYS, "GET /./health", H, 401, false},
    {KEYS, "GET /health/", H, 401, false},
    {KEYS, "GET /Health", H, 401, false},
    {KEYS, "GET /healt%68", H, 401, false},
    {KEYS, "GET /v1/models/../../health", H, 401, false},
    {KEYS, "GET /health", H, 0, false},
    {KEYS, "POST /health", H, 405, false},
    /* methods */
    {OPEN, "POST /v1/models", H, 405, false},
    {OPEN, "GET /v1/chat/completions", H, 405, false},
    {OPEN, "HEAD /v1/chat/completions", H, 405, false},
    {OPEN, "PUT /v1/models/x", H, 405, false},
    {OPEN, "DELETE /v1/models/x", H, 0, false},
    {OPEN, "TRACE /health", H, 501, false},
    {OPEN, "PATCH /health", H, 405, false},
    {OPEN, "CONNECT localhost:443", H, 501, false},
    {OPEN, "OPTIONS /health", H, 405, false},
    {OPEN, "get /health", H, 501, false},
    {OPEN, "BREW /health", H, 501, false},
    /* framing */
    {OPEN, CHAT, H J "Content-Length: 2\n", 400, true},
    {OPEN, CHAT, H J "Transfer-Encoding: chunked\n", 400, true},
    {OPEN, CHAT, H "Content-Type: application/json\nTransfer-Encoding: chunked\n", 0, false},
    {OPEN, CHAT, H "Content-Type: application/json\nTransfer-Encoding: Chunked\n", 0, false},
    {OPEN, CHAT, H "Content-Type: application/json\nTransfer-Encoding: xchunked\n", 400, true},
    {OPEN, CHAT, H "Content-Type: application/json\nTransfer-Encoding: gzip, chunked\n", 400, true},
    {OPEN, CHAT, H "Content-Type: application/json\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n", 400,
     true},
    {OPEN, "1.0 " CHAT, "Content-Type: application/json\nTransfer-Encoding: chunked\n", 400, true},
    {OPEN, CHAT, H "Content-Length: +5\n", 400, true},
    {OPEN, CHAT, H "Content-Length: -5\n", 400, true},
    {OPEN, CHAT, H "Content-Length: 5, 5\n", 400, true},
    {OPEN, CHAT, H "Content-Length: 0x5\n", 400, true},
    {OPEN, CHAT, H "Content-Length: \n", 400, true},
    {OPEN, CHAT, H "Content-Length: 18446744073709551616\n", 400, true},
    {OPEN, "GET /health", H "Content-Length : 5\n", 400, true},
    {OPEN, "GET /health", H "a b: 5\n", 400, true},
    {OPEN, "GET /health", H ": 5\n", 400, true},
    {OPEN, "GET /health", H "\xc3\xa9: 5\n", 400, true},
    {OPEN, "GET /health", H "X-Any: \xc3\xa9\n", 0, false},
    /* bodies */
    {OPEN, "GET /health", H "Content-Length: 0\n", 0, false},
    {OPEN, "GET /health", H "Content-Length: 1\n", 413, false},
    {OPEN, "GET /health", H "Transfer-Encoding: chunked\n", 413, false},
    {OPEN, CHAT, H "Content-Type: application/json\nContent-Length: 1000\n", 0, false},
    {OPEN, CHAT, H "Content-Type: application/json\nContent-Length: 1001\n", 413, false},
    {OPEN, CHAT, H "Content-Type: multipart/form-data; boundary=x\nContent-Length: 2000\n", 0, false},
    {OPEN, CHAT, H "Content-Type: multipart/form-data; boundary=x\nContent-Length: 2001\n", 413, false},
    {OPEN, CHAT, H J "Content-Encoding: gzip\n", 415, false},
    {OPEN, CHAT, H J "Content-Encoding: identity\n", 0, false},
    {OPEN, CHAT, H J "Expect: 100-continue\n", 0, false},
    {OPEN, CHAT, H J "Expect: 100-Continue\n", 0, false},
    {OPEN, CHAT, H J "Expect: 200-ok\n", 417, false},
    {OPEN, CHAT, H J "Expect: 100-continue\nExpect: 100-continue\n", 417, false},
    {OPEN, "1.0 " CHAT, J "Expect: 200-ok\n", 0, false},
    {KEYS, CHAT, H J "Expect: 100-continue\n", 401, false},
    /* CSRF: what a form or a simple request of another page may send */
    {OPEN, CHAT, H "Content-Type: text/plain\nContent-Length: 2\n", 415, false},
    {OPEN, CHAT, H "Content-Type: application/x-www-form-urlencoded\nContent-Length: 2\n", 415, false},
    {OPEN, CHAT, H "Content-Length: 2\n", 415, false},
    {OPEN, CHAT, H "Content-Type: text/plain; a=application/json\nContent-Length: 2\n", 415, false},
    {OPEN, CHAT, H J "Content-Type: text/plain\n", 415, false},
    {OPEN, CHAT, H "Content-Type: Application/JSON; charset=utf-8\nContent-Length: 2\n", 0, false},
    {OPEN, CHAT, H J "Origin: http://evil.example\n", 403, false},
    {OPEN, CHAT, H J "Origin: null\n", 403, false},
    {OPEN, CHAT, H J "Origin: \n", 403, false},
    {OPEN, CHAT, H J "Origin: http://localhost:8080\n", 0, false},
    {OPEN, CHAT, H J "Origin: https://localhost:8080\n", 0, false},
    {OPEN, CHAT, H J "Origin: http://localhost:3000\n", 403, false},
    {OPEN, CHAT, H J "Origin: http://localhost:80801\n", 403, false},
    {OPEN, CHAT, H J "Origin: ftp://localhost:8080\n", 403, false},
    {OPEN, CHAT, H J "Origin: http://localhost:8080\nOrigin: http://localhost:8080\n", 403, false},
    {OPEN, CHAT, H J "Sec-Fetch-Site: cross-site\n", 403, false},
    {OPEN, CHAT, H J "Sec-Fetch-Site: same-origin\n", 0, false},
    {OPEN, CHAT, H J "Sec-Fetch-Site: none\n", 0, false},
    {OPEN, "DELETE /v1/models/x", H "Sec-Fetch-Site: cross-site\n", 403, false},
    {OPEN, "GET /v1/models", H "Origin: http://evil.example\nSec-Fetch-Site: cross-site\n", 0, false},
    {KEYS, CHAT, H J "Authorization: Bearer sk-one\nOrigin: http://evil.example\n", 403, false},
    /* CORS */
    {CORS, CHAT, H J "Origin: https://ui.example\nSec-Fetch-Site: cross-site\n", 0, false},
    {CORS, CHAT, H J "Origin: https://ui.example.evil\n", 403, false},
    {CORS, CHAT, H J "Origin: http://ui.example\n", 403, false},
    {CORS, CHAT, H J "Origin: HTTPS://ui.example\n", 403, false},
    {CORS, "OPTIONS /v1/chat/completions", H "Origin: https://ui.example\nAccess-Control-Request-Method: POST\n",
     204, false},
    {CORS | KEYS, "OPTIONS /v1/chat/completions",
     H "Origin: https://ui.example\nAccess-Control-Request-Method: POST\n", 204, false},
    {CORS, "OPTIONS /v1/chat/completions", H "Origin: https://evil.example\nAccess-Control-Request-Method: POST\n",
     403, false},
    {OPEN, "OPTIONS /v1/chat/completions", H "Origin: https://ui.example\nAccess-Control-Request-Method: POST\n",
     403, false},
    {CORS, "OPTIONS /v1/chat/completions", H "Access-Control-Request-Method: POST\n", 405, false},
    {CORS, "OPTIONS /v1/chat/completions", H "Origin: https://ui.example\n", 405, false},
    {CORS, "OPTIONS /v1/chat/completions",
     "Host: evil.example\nOrigin: https://ui.example\nAccess-Control-Request-Method: POST\n", 421, false},
    /* keys */
    {KEYS, "GET /v1/models", H, 401, false},
    {KEYS, "GET /v1/models", H "Authorization: Bearer sk-one\n", 0, false},
    {KEYS, "GET /v1/models", H "authorization: bearer  sk-two\n", 0, false},
    {KEYS, "GET /v1/models", H "x-api-key: sk-one\n", 0, false},
    {KEYS, "GET /v1/models", H "api-key: sk-two\n", 0, false},
    {KEYS, "GET /v1/models", H "Authorization: Bearer sk-on\n", 401, false},
    {KEYS, "GET /v1/models", H "Authorization: Bearer sk-onee\n", 401, false},
    {KEYS, "GET /v1/models", H "Authorization: Bearer \n", 401, false},
    {KEYS, "GET /v1/models", H "Authorization: Basic sk-one\n", 401, false},
    {KEYS, "GET /v1/models", H "Authorization: sk-one\n", 401, false},
    {KEYS, "GET /v1/models", H "Authorization: Bearer sk-one, sk-two\n", 401, false},
    {KEYS, "GET /v1/models", H "Authorization: Bearer sk-one\nAuthorization: Bearer wrong\n", 401, false},
    {KEYS, "GET /v1/models", H "Authorization: Bearer wrong\nx-api-key: sk-one\n", 401, false},
    {KEYS, "GET /v1/models", H "Authorization: Bearer sk-one\nx-api-key: sk-two\n", 0, false},
    {KEYS, "GET /v1/models?api_key=sk-one", H, 401, false},
    {KEYS, "GET /v1/models", H "Cookie: api-key=sk-one\n", 401, false},
    {KEYS, "GET /nowhere", H, 401, false},
    {KEYS, "PUT /v1/models", H, 401, false},
    {KEYS, "GET /nowhere", H "Authorization: Bearer sk-one\n", 404, false},
    {OPEN, "GET /v1/models", H "Authorization: Bearer anything\n", 0, false},
    {KEYS | THROTTLED, "GET /v1/models", H "Authorization: Bearer sk-one\n", 0, false}, /* whoever else shares it */
    {KEYS | THROTTLED, "GET /v1/models", H "x-api-key: sk-two\n", 0, false},
    {KEYS | THROTTLED, "GET /v1/models", H "x-api-key: wrong\n", 429, false},
    {KEYS | THROTTLED, "GET /v1/models", H "Authorization: Basic sk-one\n", 429, false},
    {KEYS | THROTTLED, "GET /v1/models", H "Accept: sk-one\n", 401, false}, /* no key is no guess */
    {KEYS | THROTTLED, "GET /health", H "x-api-key: wrong\n", 0, false},
    {KEYS | THROTTLED, "GET /health", H, 0, false},
    {THROTTLED, "GET /v1/models", H, 0, false},
};

static struct qvl_guard *open_guard(int what, struct qvl_http_options *o, uint8_t secret_byte)
{
    struct qvl_guard *guard = NULL;
    struct qvl_error err;
    uint8_t secret[32];
    memset(secret, secret_byte, sizeof secret);
    *o = (struct qvl_http_options){.host = what & WILDCARD   ? "0.0.0.0"
                                           : what & ADDRESS  ? "192.168.1.5"
                                           : what & ADDRESS6 ? "2001:db8::5"
                                                             : "127.0.0.1",
                                   .port = 8080,
                                   .api_key = keys,
                                   .n_api_key = what & KEYS ? 2 : 0,
                                   .host_name = names,
                                   .n_host_name = what & NAMES ? 2 : 0,
                                   .cors_origin = origins,
                                   .n_cors_origin = what & CORS ? 1 : 0,
                                   .max_body_bytes = 1000,
                                   .max_form_bytes = 2000,
                                   .route = routes,
                                   .n_route = sizeof routes / sizeof *routes};
    assert_int_equal(qvl_guard_open(o, secret, &guard, &err), QVL_OK);
    return guard;
}

/* The head that a row describes; its strings live in text. */
static void make_head(const struct row *row, char *text, size_t n_text, struct qvl_http_header *header,
                      struct qvl_http_head *head)
{
    int n = snprintf(text, n_text, "%s", row->line);
    assert_true(n >= 0 && (size_t)n + strlen(row->headers) + 2 < n_text);
    memset(head, 0, sizeof *head);
    head->is_http_1_0 = strncmp(text, "1.0 ", 4) == 0;
    char *line = text + (head->is_http_1_0 ? 4 : 0), *space = strchr(line, ' ');
    *space = '\0';
    head->method = line;
    head->target = space + 1;
    head->header = header;
    head->n_bytes = strlen(row->line) + strlen(row->headers);
    char *at = text + n + 1;
    memcpy(at, row->headers, strlen(row->headers) + 1);
    for (char *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        *end = '\0';
        char *colon = at + 1 + strcspn(at + 1, ":");
        if (*at == ':')
            colon = at;
        header[head->n_header].name = at;
        header[head->n_header++].value = colon + 1 + strspn(colon + 1, " ");
        *colon = '\0';
    }
}

static void judge(int options, const char *line, const char *headers, struct qvl_verdict *out)
{
    static char text[4096];
    struct qvl_http_header header[16];
    struct qvl_http_head head;
    struct qvl_http_options o;
    struct qvl_guard *guard = open_guard(options, &o, 7);
    make_head(&(struct row){.line = line, .headers = headers}, text, sizeof text, header, &head);
    qvl_guard_judge(guard, &head, (options & THROTTLED) != 0, out);
    qvl_guard_close(guard);
}

static void test_table(void **state)
{
    (void)state;
    int n_bad = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct row *row = &table[i];
        struct qvl_verdict v;
        judge(row->options, row->line, row->headers, &v);
        if (v.status != row->status || v.must_close != row->must_close) {
            print_error("%s | %s | %u%s, not %u%s\n", row->line, row->headers, v.status,
                        v.must_close ? " close" : "", row->status, row->must_close ? " close" : "");
            n_bad++;
        }
        if (v.status && v.status != 204)
            assert_true(v.code && v.text && v.text[0]);
    }
    assert_int_equal(n_bad, 0);
}

static void test_limits(void **state)
{
    struct qvl_http_options o;
    struct qvl_verdict v;
    struct qvl_http_header header[QVL_MAX_HTTP_HEADERS + 1];
    struct qvl_http_head head = {
        .method = "GET", .target = "/health", .header = header, .n_header = QVL_MAX_HTTP_HEADERS};
    (void)state;
    struct qvl_guard *guard = open_guard(OPEN, &o, 7);
    for (size_t i = 0; i < QVL_MAX_HTTP_HEADERS + 1; i++)
        header[i] = (struct qvl_http_header){"x", "y"};
    header[0] = (struct qvl_http_header){"Host", "localhost"};
    head.n_bytes = QVL_MAX_HTTP_HEADER_BYTES;
    qvl_guard_judge(guard, &head, false, &v);
    assert_int_equal(v.status, 0);
    head.n_bytes++;
    qvl_guard_judge(guard, &head, false, &v);
    assert_int_equal(v.status, 431);
    assert_true(v.must_close);
    head.n_bytes--;
    head.n_header++;
    qvl_guard_judge(guard, &head, false, &v);
    assert_int_equal(v.status, 431);
    qvl_guard_close(guard);
}

static void test_verdict(void **state)
{
    struct qvl_verdict v;
    (void)state;
    judge(OPEN, "PUT /v1/models/x", H, &v);
    assert_string_equal(v.allow, "GET, HEAD, DELETE");
    judge(OPEN, CHAT, H "Content-Type: Multipart/Form-Data; boundary=x\nContent-Length: 7\n", &v);
    assert_ptr_equal(v.route, &routes[3]);
    assert_true(v.is_form && v.has_body && !v.is_chunked);
    assert_int_equal(v.n_body, 7);
    assert_int_equal(v.max_body, 2000);
    assert_string_equal(v.media_type, "multipart/form-data");
    judge(OPEN, CHAT, H "Content-Type: application/json \t;x\nTransfer-Encoding: chunked\nExpect: 100-continue\n",
          &v);
    assert_true(v.is_chunked && v.has_body && v.is_expecting);
    assert_string_equal(v.media_type, "application/json");
    judge(CORS, "GET /health", H "Origin: https://ui.example\n", &v);
    assert_string_equal(v.origin, "https://ui.example");
    judge(CORS, "GET /health", H "Origin: https://evil.example\n", &v);
    assert_null(v.origin);
    judge(KEYS, "GET /v1/models", H, &v);
    assert_false(v.has_wrong_key);
    judge(KEYS, "GET /v1/models", H "x-api-key: wrong\n", &v);
    assert_true(v.has_wrong_key);
    judge(KEYS | THROTTLED, "GET /v1/models", H "x-api-key: wrong\n", &v);
    assert_true(v.has_wrong_key);
    judge(KEYS | THROTTLED, "GET /v1/models", H "x-api-key: sk-one\n", &v);
    assert_true(v.client != 0 && !v.has_wrong_key);
}

/* What is shared is shared among requests of one key, in the next server, too. */
static void test_salts(void **state)
{
    struct qvl_verdict one, again, two, none;
    (void)state;
    judge(KEYS, "GET /v1/models", H "x-api-key: sk-one\n", &one);
    judge(KEYS, "GET /v1/models", H "Authorization: Bearer sk-one\n", &again);
    judge(KEYS, "GET /v1/models", H "x-api-key: sk-two\n", &two);
    judge(OPEN, "GET /v1/models", H "x-api-key: sk-two\n", &none);
    assert_true(one.client && one.cache_salt && one.client != one.cache_salt);
    assert_true(one.client == again.client && one.cache_salt == again.cache_salt);
    assert_true(one.client != two.client && one.cache_salt != two.cache_salt);
    assert_true(none.client == 0 && none.cache_salt == 0);
    judge(KEYS, "GET /health", H, &none);
    assert_true(none.client == 0 && none.cache_salt == 0);

    struct qvl_http_options o;
    struct qvl_verdict elsewhere;
    struct qvl_guard *guard = open_guard(KEYS, &o, 8);
    struct qvl_http_header header[] = {{"Host", "localhost"}, {"x-api-key", "sk-one"}};
    struct qvl_http_head head = {.method = "GET", .target = "/v1/models", .header = header, .n_header = 2};
    qvl_guard_judge(guard, &head, false, &elsewhere);
    assert_true(elsewhere.cache_salt == one.cache_salt && elsewhere.client != one.client);
    qvl_guard_close(guard);
}

static void test_empty_key(void **state)
{
    static const char *const bad[] = {"good", ""};
    struct qvl_http_options o = {.host = "127.0.0.1", .api_key = bad, .n_api_key = 2};
    struct qvl_guard *guard = NULL;
    struct qvl_error err;
    uint8_t secret[32] = {0};
    (void)state;
    assert_int_equal(qvl_guard_open(&o, secret, &guard, &err), QVL_ERR_ARGUMENT);
    assert_null(guard);
}

static void test_media_type_param(void **state)
{
    static const struct {
        const char *type, *boundary;
    } row[] = {
        {"multipart/form-data; boundary=abc", "abc"},
        {"multipart/form-data;boundary=abc", "abc"},
        {"multipart/form-data; BOUNDARY=\"a b;c\"", "a b;c"},
        {"multipart/form-data; charset=utf-8; boundary=abc; x=y", "abc"},
        {"multipart/form-data; x=\"boundary=no; boundary=no\"; boundary=yes", "yes"},
        {"multipart/form-data; boundary=\"a\\\"b\"", "a\"b"},
        {"multipart/form-data; boundary=a:b/c=d?", "a:b/c=d?"},
        {"multipart/form-data; xboundary=abc", NULL},
        {"multipart/form-data; boundarx=abc", NULL},
        {"multipart/form-data; boundary=", NULL},
        {"multipart/form-data; boundary", NULL},
        {"multipart/form-data; boundary=\"abc", NULL},
        {"multipart/form-data", NULL},
        {"multipart/form-data; boundary=0123456789012345678901234567890123456789", NULL}, /* no room */
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char out[32];
        bool is_there = qvl_media_type_param(row[i].type, "boundary", out, sizeof out);
        assert_int_equal(is_there, row[i].boundary != NULL);
        if (is_there)
            assert_string_equal(out, row[i].boundary);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_limits),    cmocka_unit_test(test_verdict),
        cmocka_unit_test(test_salts), cmocka_unit_test(test_empty_key), cmocka_unit_test(test_media_type_param),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
