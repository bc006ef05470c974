/* The web page's files over HTTP, from a table of this test's own in place of the built page's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_server.h"
#include "server/app.h"
#include "server/page.h"

#define HOST "Host: localhost\r\n"
#define TEXT(s) (const uint8_t *)(s), (const uint8_t *)(s) + sizeof(s) - 1

const struct qvl_page_file qvl_page_files[] = {
    {"/THIRD-PARTY.txt", "text/plain; charset=utf-8", "\"t1\"", TEXT("licences"), NULL, NULL},
    {"/assets/a-1.js", "text/javascript; charset=utf-8", "\"a1\"", TEXT("raw script"), TEXT("\x1f\x8bpacked")},
    {"/assets/b-2.png", "image/png", "\"b2\"", TEXT("\x89PNG"), NULL, NULL},
    {"/index.html", "text/html; charset=utf-8", "\"i1\"", TEXT("<!doctype html>"), TEXT("\x1f\x8bindex")},
    {"/preview.html", "text/html; charset=utf-8", "\"p1\"", TEXT("<!doctype html>preview"), NULL, NULL},
    {"/preview.js", "text/javascript; charset=utf-8", "\"p2\"", TEXT("preview()"), NULL, NULL},
};
const size_t qvl_n_page_file = sizeof qvl_page_files / sizeof *qvl_page_files;

static struct server server;

static int open_server(void **state)
{
    (void)state;
    server_open(&server, (struct qvl_http_options){.route = qvl_page_routes, .n_route = qvl_n_page_route}, NULL);
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    server_close(&server);
    return 0;
}

static struct reply ask(const char *method, const char *path, const char *headers)
{
    struct client c;
    struct reply reply;
    client_open(&c, server.port);
    client_send_text(&c, "%s %s HTTP/1.1\r\n" HOST "%s\r\n", method, path, headers);
    assert_true(client_read(&c, &reply, strcmp(method, "HEAD") == 0));
    client_close(&c);
    return reply;
}

static void assert_header(const struct reply *reply, const char *name, const char *value)
{
    const char *is = reply_header(reply, name);
    if (value) {
        assert_non_null(is);
        assert_string_equal(is, value);
    } else {
        assert_null(is);
    }
}

static void test_index(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct reply reply = ask(i ? "HEAD" : "GET", "/", "");
        assert_int_equal(reply.status, 200);
        assert_string_equal(reply.body, i ? "" : "<!doctype html>");
        assert_header(&reply, "Content-Length", "15");
        assert_header(&reply, "Content-Type", "text/html; charset=utf-8");
        assert_header(&reply, "ETag", "\"i1\"");
        assert_header(&reply, "Cache-Control", "no-cache");
        assert_header(&reply, "Vary", "Accept-Encoding");
        assert_header(&reply, "X-Content-Type-Options", "nosniff");
        reply_free(&reply);
    }
}

static void test_policy(void **state)
{
    struct reply reply = ask("GET", "/", "");
    const char *policy = reply_header(&reply, "Content-Security-Policy");
    (void)state;
    assert_non_null(policy);
    assert_non_null(strstr(policy, "default-src 'none'"));
    assert_non_null(strstr(policy, "script-src 'self';"));
    assert_non_null(strstr(policy, "connect-src 'self';"));
    assert_non_null(strstr(policy, "frame-ancestors 'none'"));
    assert_null(strstr(policy, "unsafe"));
    assert_null(strstr(policy, "http"));
    reply_free(&reply);

    reply = ask("GET", "/preview.html", "");
    policy = reply_header(&reply, "Content-Security-Policy");
    assert_non_null(policy);
    assert_int_equal(strncmp(policy, "sandbox allow-scripts;", 22), 0); /* not of the page's origin */
    assert_null(strstr(policy, "allow-same-origin"));
    assert_null(strstr(policy, "connect-src")); /* 'none' by default */
    assert_header(&reply, "Cross-Origin-Resource-Policy", "same-origin");
    reply_free(&reply);

    reply = ask("GET", "/preview.js", "");
    assert_header(&reply, "Cross-Origin-Resource-Policy", "cross-origin");
    reply_free(&reply);
}

static void test_asset(void **state)
{
    (void)state;
    struct reply reply = ask("GET", "/assets/b-2.png", "Accept-Encoding: gzip\r\n");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "\x89PNG");
    assert_header(&reply, "Content-Type", "image/png");
    assert_header(&reply, "Content-Encoding", NULL);
    assert_header(&reply, "Vary", NULL);
    assert_header(&reply, "Cache-Control", "public, max-age=31536000, immutable");
    reply_free(&reply);

    reply = ask("GET", "/THIRD-PARTY.txt", "");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "licences");
    assert_header(&reply, "Cache-Control", "no-cache"); /* the next version has the same name */
    reply_free(&reply);
}

static void test_gzip(void **state)
{
    static const struct {
        const char *header;
        bool is_packed;
    } rows[] = {{"Accept-Encoding: gzip, deflate, br\r\n", true},
                {"Accept-Encoding: br;q=1, GZIP;q=0.5\r\n", true},
                {"Accept-Encoding: identity\r\n", false},
                {"Accept-Encoding: gzip;q=0\r\n", false},
                {"Accept-Encoding: br, gzip ; q=0.000, deflate\r\n", false},
                {"", false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reply reply = ask("GET", "/assets/a-1.js", rows[i].header);
        assert_int_equal(reply.status, 200);
        assert_string_equal(reply.body, rows[i].is_packed ? "\x1f\x8bpacked" : "raw script");
        assert_header(&reply, "Content-Encoding", rows[i].is_packed ? "gzip" : NULL);
        assert_header(&reply, "Vary", "Accept-Encoding");
        reply_free(&reply);
    }
}

static void test_known(void **state)
{
    (void)state;
    struct reply reply = ask("GET", "/", "If-None-Match: \"i1\"\r\n");
    assert_int_equal(reply.status, 304);
    assert_int_equal(reply.n_body, 0);
    assert_header(&reply, "ETag", "\"i1\"");
    assert_header(&reply, "Content-Encoding", NULL);
    reply_free(&reply);
    reply = ask("GET", "/", "If-None-Match: \"i0\"\r\n");
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
}

/* No path leads out of the table. */
static void test_unknown(void **state)
{
    static const char *const paths[] = {
        "/assets/none.js", "/assets/", "/assets/../index.html", "/assets/%2e%2e/index.html", "/assets//etc/passwd",
        "/index.html",     "//",       "/preview.html/",        "/THIRD-PARTY.txt.gz"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct reply reply = ask("GET", paths[i], "");
        assert_int_equal(reply.status, 404);
        reply_free(&reply);
    }
    struct reply reply = ask("DELETE", "/", "");
    assert_int_equal(reply.status, 405);
    reply_free(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index), cmocka_unit_test(test_policy), cmocka_unit_test(test_asset),
        cmocka_unit_test(test_gzip),  cmocka_unit_test(test_known),  cmocka_unit_test(test_unknown),
    };
    return cmocka_run_group_tests(tests, open_server, close_server);
}
