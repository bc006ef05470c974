/* The same server under TLS, with curl as the client, which checks the certificate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "http_server.h"

/* Of localhost and 127.0.0.1, by itself, for a hundred years; made with
 * openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost
 *     -addext subjectAltName=DNS:localhost,IP:127.0.0.1 */
static const char certificate[] = "-----BEGIN CERTIFICATE-----\n"
                                  "MIIBmzCCAUGgAwIBAgIUL0RHU5R9Zevtf4NGTE+CrvjZcLYwCgYIKoZIzj0EAwIw\n"
                                  "FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzAzNTgzMloYDzIxMjYxMDMw\n"
                                  "MDM1ODMyWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n"
                                  "PQMBBwNCAAS2RSqcxfh4ZU9lkzyDwOo0Pq7gv/S2Q3ILmr2YFSKE9ZYklxJ75FD1\n"
                                  "fTYy6XjT6lLkm3Jb/3J7v6XWuzbdFkH5o28wbTAdBgNVHQ4EFgQUvHrDPsCQErGD\n"
                                  "1hhMXm92mdDJa1YwHwYDVR0jBBgwFoAUvHrDPsCQErGD1hhMXm92mdDJa1YwDwYD\n"
                                  "VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI\n"
                                  "zj0EAwIDSAAwRQIhAPWDhRG8OJhZ5NdwPSRru1ZLJ416yRpzED2xern0vqHIAiBV\n"
                                  "dGcIyML/h4ikwN96nhbnGcj4nKbXIKhEeTWSEbf4Qw==\n"
                                  "-----END CERTIFICATE-----\n";
static const char private_key[] = "-----BEGIN PRIVATE KEY-----\n"
                                  "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYCTALVma8gxJwLMM\n"
                                  "D0KMk/JYf5WaehDKfNCQAYe2cNKhRANCAAS2RSqcxfh4ZU9lkzyDwOo0Pq7gv/S2\n"
                                  "Q3ILmr2YFSKE9ZYklxJ75FD1fTYy6XjT6lLkm3Jb/3J7v6XWuzbdFkH5\n"
                                  "-----END PRIVATE KEY-----\n";

struct fetched {
    char *data;
    size_t n, n_max; /* n_max: then the client leaves; 0: never */
};

static size_t take(char *data, size_t size, size_t n, void *user)
{
    struct fetched *f = user;
    n *= size;
    f->data = realloc(f->data, f->n + n + 1);
    memcpy(f->data + f->n, data, n);
    f->n += n;
    f->data[f->n] = '\0';
    return f->n_max && f->n > f->n_max ? 0 : n;
}

struct tls {
    struct server server;
    CURL *curl;
    char ca_file[64];
};

static void open_tls(struct tls *t)
{
    int fd;
    snprintf(t->ca_file, sizeof t->ca_file, "/tmp/qvl-test-ca-XXXXXX");
    fd = mkstemp(t->ca_file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, certificate, strlen(certificate)), strlen(certificate));
    close(fd);
    server_open(&t->server, (struct qvl_http_options){.tls_cert = certificate, .tls_key = private_key}, NULL);
    t->curl = curl_easy_init();
    assert_non_null(t->curl);
    curl_easy_setopt(t->curl, CURLOPT_CAINFO, t->ca_file);
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(t->curl, CURLOPT_TIMEOUT, 60L);
}

static void close_tls(struct tls *t)
{
    curl_easy_cleanup(t->curl);
    server_close(&t->server);
    unlink(t->ca_file);
}

static CURLcode post(struct tls *t, const char *path, const char *body, size_t n, struct fetched *f, long *status)
{
    char url[128];
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    snprintf(url, sizeof url, "https://localhost:%u%s", t->server.port, path);
    curl_easy_setopt(t->curl, CURLOPT_URL, url);
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE, (long)n);
    curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, f);
    char why[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, why);
    CURLcode code = curl_easy_perform(t->curl);
    if (code != CURLE_OK)
        print_message("%s: %s\n", path, why);
    curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, status);
    curl_slist_free_all(headers);
    return code;
}

static void test_replies(void **state)
{
    struct tls t;
    struct fetched f = {0};
    long status = 0;
    char *body = malloc(300000);
    (void)state;
    for (size_t i = 0; i < 300000; i++)
        body[i] = (char)('a' + i * i % 23);
    open_tls(&t);
    for (int turn = 0; turn < 3; turn++) {
        assert_int_equal(post(&t, "/echo", body, 300000, &f, &status), CURLE_OK);
        assert_int_equal(status, 200);
        assert_int_equal(f.n, 300000);
        assert_memory_equal(f.data, body, 300000);
        f.n = 0;
        assert_int_equal(post(&t, "/stream?n=50&size=20000", "{}", 2, &f, &status), CURLE_OK);
        assert_int_equal(status, 200);
        assert_int_equal(f.n, 1000000);
        f.n = 0;
        assert_int_equal(post(&t, "/nowhere", "{}", 2, &f, &status), CURLE_OK);
        assert_int_equal(status, 404);
        f.n = 0;
    }
    /* a stream that breaks off is known to have */
    assert_int_not_equal(post(&t, "/stream?n=3&cut=1", "{}", 2, &f, &status), CURLE_OK);
    free(f.data);
    free(body);
    close_tls(&t);
}

struct poster {
    struct tls *tls;
    CURLcode code;
};

static void *post_wait(void *arg)
{
    struct poster *p = arg;
    struct fetched f = {.n_max = 3};
    long status;
    p->code = post(p->tls, "/wait?begin=2", "{}", 2, &f, &status); /* leaves after the first bytes */
    free(f.data);
    return NULL;
}

static void test_gone(void **state)
{
    struct tls t;
    struct poster poster = {.tls = &t};
    pthread_t thread;
    (void)state;
    open_tls(&t);
    assert_int_equal(pthread_create(&thread, NULL, post_wait, &poster), 0);
    sem_wait(&t.server.is_waiting);
    sem_wait(&t.server.is_gone);
    pthread_join(thread, NULL);
    assert_int_equal(poster.code, CURLE_WRITE_ERROR);
    server_wait_over(&t.server, 1);
    assert_true(t.server.facts.is_cut);
    close_tls(&t);
}

/* Who does not speak TLS is not answered, and cut. */
static void test_plain_client(void **state)
{
    struct tls t;
    struct client c;
    (void)state;
    open_tls(&t);
    client_open(&c, t.server.port);
    client_send_text(&c, "GET /now HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while (client_read_some(&c, 4096))
        assert_true(c.n < 100); /* an alert of TLS at most */
    client_close(&c);
    close_tls(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_plain_client),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return n_failed;
}
