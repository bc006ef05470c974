/* A program that was built without its web page says so to who opens its address in a browser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_server.h"
#include "server/app.h"
#include "server/page.h"

const struct qvl_page_file qvl_page_files[] = {{0}};
const size_t qvl_n_page_file = 0;

static void test_absent(void **state)
{
    static const char *const lost[] = {"/preview.html", "/preview.js", "/assets/index.js", "/THIRD-PARTY.txt"};
    struct server server;
    struct client c;
    struct reply reply;
    (void)state;
    server_open(&server, (struct qvl_http_options){.route = qvl_page_routes, .n_route = qvl_n_page_route}, NULL);
    client_open(&c, server.port);
    client_send_text(&c, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_true(client_read(&c, &reply, false));
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_header(&reply, "Content-Type"), "text/html; charset=utf-8");
    assert_null(reply_header(&reply, "Content-Encoding"));
    assert_string_equal(reply_header(&reply, "Content-Security-Policy"),
                        "default-src 'none'; frame-ancestors 'none'");
    assert_non_null(strstr(reply.body, "make page all"));
    assert_non_null(strstr(reply.body, "<p lang=\"zh\">"));
    assert_non_null(strstr(reply.body, "/v1"));
    reply_free(&reply);
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) {
        client_send_text(&c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", lost[i]);
        assert_true(client_read(&c, &reply, false));
        assert_int_equal(reply.status, 404);
        reply_free(&reply);
    }
    client_close(&c);
    server_close(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_absent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
