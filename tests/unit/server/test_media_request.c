/* Where the pictures and clips of a request may come from: parts of its form, files, URLs; with an exchange of this
 * test's own, whose client may have left. */
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "server/media_fetch.h"
#include "server/media_path.h"
#include "server/media_request.h"

#include "http_client.h"

static struct qvl_error err;
static struct qvl_app app;

/* ---- an exchange --------------------------------------------------------------------------------- */

static struct qvl_http *http;
static struct client client;
static struct qvl_exchange *taken;
static sem_t is_taken;

static void take(void *user, const struct qvl_route *route, struct qvl_exchange *x)
{
    (void)user, (void)route;
    taken = x;
    sem_post(&is_taken);
}

static void never(void *user, struct qvl_exchange *x)
{
    (void)user, (void)x; /* dispatch takes it before */
}

static void refuse(void *user, struct qvl_exchange *x, unsigned status, const char *code, const char *text)
{
    (void)user, (void)code;
    qvl_exchange_reply(x, status, "text/plain", text, strlen(text));
}

static void over(void *user, const struct qvl_exchange *x)
{
    (void)user, (void)x;
}

static int set_up(void **state)
{
    (void)state;
    static const struct qvl_route route = {"POST", "/", never, QVL_LANE_MODEL, true, true};
    const struct qvl_http_options options = {.host = "127.0.0.1",
                                             .max_body_bytes = 1 << 20,
                                             .max_form_bytes = 1 << 20,
                                             .route = &route,
                                             .n_route = 1,
                                             .dispatch = take,
                                             .refuse = refuse,
                                             .over = over};
    sem_init(&is_taken, 0, 0);
    return qvl_http_open(&options, &http, &err) != QVL_OK;
}

static int tear_down(void **state)
{
    (void)state;
    qvl_http_close(http);
    return 0;
}

/* A request with this body, up to where it would be answered. */
static struct qvl_exchange *begin(const char *media_type, const char *body)
{
    client_open(&client, qvl_http_port(http));
    client_send_text(&client,
                     "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
                     media_type, strlen(body), body);
    while (sem_wait(&is_taken) != 0)
        ;
    return taken;
}

static void end(struct qvl_exchange *x)
{
    struct reply reply;
    qvl_exchange_reply(x, 200, "text/plain", "", 0);
    assert_true(client_read(&client, &reply, false));
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    client_close(&client);
}

/* ---- helpers ------------------------------------------------------------------------------------- */

static struct qvl_arena arena; /* of one conversation */

static enum qvl_status open_uri(struct qvl_media_request *media, const char *uri, struct qvl_media_source *out)
{
    memset(&err, 0, sizeof err);
    return media->opener.open(media->opener.user, "x", uri, strlen(uri), &arena, out, &err);
}

static void assert_refused(struct qvl_media_request *media, const char *uri, enum qvl_status status,
                           const char *sentence)
{
    struct qvl_media_source source = {.fd = -7};
    if (open_uri(media, uri, &source) != status || err.status != status || !strstr(err.text, sentence))
        fail_msg("%s: %s", uri, err.text);
    assert_int_equal(source.fd, -7);
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void test_settings(void **state)
{
    (void)state;
    struct qvl_media_request media;
    struct qvl_chat_json_settings settings;
    app.options.image.max_pixels = 1000;
    app.options.video.fps = 3;
    qvl_media_request_init(&media, &app, NULL);
    qvl_media_request_settings(&media, &settings);
    assert_ptr_equal(settings.opener, &media.opener);
    assert_null(settings.base_dir);
    assert_int_equal(settings.image.max_pixels, 1000);
    assert_true(settings.video.fps == 3);
    assert_int_equal(settings.max_media, QVL_MAX_SERVER_MEDIA);
    assert_int_equal(settings.max_listed, QVL_MAX_SERVER_LISTED);
    assert_int_equal(settings.max_media_bytes, QVL_MAX_SERVER_MEDIA_BYTES);
}

static void test_uploads(void **state)
{
    (void)state;
    struct qvl_exchange *x =
        begin("multipart/form-data; boundary=x",
              "--x\r\nContent-Disposition: form-data; name=\"messages\"\r\n\r\n[]\r\n"
              "--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"cat.png\"\r\n\r\na cat\r\n"
              "--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"dog 1.png\"\r\n\r\na dog\r\n"
              "--x\r\nContent-Disposition: form-data; name=\"clip\"; filename=\"none\"\r\n\r\n\r\n--x--\r\n");
    static const struct {
        const char *uri, *bytes;
    } found[] = {{"upload:image", "a cat"},
                 {"UPLOAD:cat.png", "a cat"},
                 {"upload:dog 1.png", "a dog"},
                 {"upload:#2", "a dog"}};
    struct qvl_media_request media;
    assert_int_equal(qvl_exchange_read_form(x, &err), QVL_OK);
    qvl_media_request_init(&media, &app, x);
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        struct qvl_media_source source = {.fd = -7};
        if (open_uri(&media, found[i].uri, &source))
            fail_msg("%s: %s", found[i].uri, err.text);
        assert_int_equal(source.from, QVL_FROM_BYTES);
        assert_int_equal(source.n_bytes, 5);
        assert_memory_equal(source.bytes, found[i].bytes, 5);
    }
    for (const char *const *uri =
             (const char *const[]){"upload:", "upload:dog", "upload:imag", "upload:images", "upload:#4", "upload:#",
                                   "upload:#-1", "upload:#99999999999999999999", NULL};
         *uri; uri++)
        assert_refused(&media, *uri, QVL_ERR_ARGUMENT, "x: no part of this name was uploaded");
    assert_refused(&media, "upload:clip", QVL_ERR_MEDIA, "x: the file is empty");
    assert_null(media.code);
    end(x);
    x = begin("application/json", "{}");
    qvl_media_request_init(&media, &app, x);
    assert_refused(&media, "upload:image", QVL_ERR_ARGUMENT, "x: no part of this name");
    end(x);
}

/* Nothing is opened unless the operator wants it, and no socket is made. */
static void test_disabled(void **state)
{
    (void)state;
    struct qvl_exchange *x = begin("application/json", "{}");
    struct qvl_media_request media;
    for (const char *const *uri =
             (const char *const[]){"https://example.org/a.png", "HTTP://x/", "http:", "https:x", NULL};
         *uri; uri++) {
        qvl_media_request_init(&media, &app, x);
        assert_refused(&media, *uri, QVL_ERR_ARGUMENT,
                       "x: this server fetches no URLs (--allow-url-fetch lets it)");
        assert_string_equal(media.code, "url_fetch_disabled");
    }
    for (const char *const *uri =
             (const char *const[]){"/etc/passwd", "file:///etc/passwd", "cat.png", "", "s3://x/y", NULL};
         *uri; uri++) {
        qvl_media_request_init(&media, &app, x);
        assert_refused(&media, *uri, QVL_ERR_ARGUMENT, "x: this server reads no files (--media-path lets it)");
        assert_string_equal(media.code, "file_access_disabled");
    }
    end(x);
}

static void test_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/qvl-request-XXXXXX", path[64], buffer[8] = "";
    struct qvl_media_request media;
    struct qvl_media_source source = {.fd = -7};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/cat.png", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "a cat", 5), 5);
    close(fd);
    assert_int_equal(qvl_media_path_open(dir, &app.media_folder, &err), QVL_OK);
    qvl_media_request_init(&media, &app, NULL);
    assert_int_equal(open_uri(&media, "file:///cat.png", &source), QVL_OK);
    assert_int_equal(source.from, QVL_FROM_FD);
    assert_int_equal(read(source.fd, buffer, sizeof buffer), 5);
    assert_string_equal(buffer, "a cat");
    close(source.fd);
    assert_refused(&media, "file:///dog.png", QVL_ERR_MEDIA, "x: there is no such file");
    assert_null(media.code);
    qvl_media_path_close(app.media_folder);
    app.media_folder = NULL;
    unlink(path);
    rmdir(dir);
}

/* All fetches of a request together have one time, from the first on, and none outlives the request's own. */
static void test_fetch_time(struct qvl_media_request *media, const char *url)
{
    struct qvl_exchange *x = begin("application/json", "{}");
    qvl_media_request_init(media, &app, x);
    double before_ms = qvl_now_ms();
    assert_refused(media, "https://127.0.0.1/", QVL_ERR_ARGUMENT, "x: the address in the URL is not a public one");
    assert_true(media->fetch_end_ms >= before_ms + QVL_MAX_FETCHES_MS);
    assert_true(media->fetch_end_ms <= qvl_now_ms() + QVL_MAX_FETCHES_MS);
    media->fetch_end_ms = before_ms + 50;
    for (int i = 0; i < 2; i++)
        assert_refused(media, url, QVL_ERR_MEDIA, "x: it was not fetched to its end: the time for all URLs");
    assert_true(media->fetch_end_ms == before_ms + 50);
    assert_false(media->is_late);
    app.options.deadline_s = 0.05;
    qvl_media_request_init(media, &app, x);
    assert_refused(media, url, QVL_ERR_MEDIA, "x: it was not fetched to its end: the time for all URLs");
    assert_true(media->is_late);
    app.options.deadline_s = 0;
    end(x);
}

/* A server that takes connections and says nothing: only the client's leaving, the end of the server, or the clock
 * ends a fetch. */
static void test_urls(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(silent, (struct sockaddr *)&address, n) | listen(silent, 64), 0);
    assert_int_equal(getsockname(silent, (struct sockaddr *)&address, &n), 0);
    char line[64];
    snprintf(line, sizeof line, "public.test:443:127.0.0.1:%u", ntohs(address.sin_port));
    const char *const lines[] = {line, NULL}, *const *const hops[] = {lines};
    const struct qvl_media_fetch_test test = {
        .loopback_port = ntohs(address.sin_port), .connect_to = hops, .n_hop = 1};
    const struct qvl_media_fetch_options options = {.max_ms = 1e9, .test = &test};
    assert_int_equal(qvl_media_fetcher_open(&options, &app.fetcher, &err), QVL_OK);
    struct qvl_media_request media;
    struct qvl_exchange *x = begin("application/json", "{}");
    qvl_media_request_init(&media, &app, x);
    atomic_store(&app.must_stop, true);
    assert_refused(&media, "https://public.test/a.png", QVL_ERR_CANCELLED, "x: it was not fetched to its end");
    atomic_store(&app.must_stop, false);
    assert_false(atomic_load(&media.is_gone));
    end(x);
    x = begin("application/json", "{}");
    qvl_media_request_init(&media, &app, x);
    client_close(&client); /* noticed before the fetch, or while it waits */
    assert_refused(&media, "https://public.test/a.png", QVL_ERR_CANCELLED, "x: it was not fetched to its end");
    assert_true(atomic_load(&media.is_gone));
    qvl_exchange_reply(x, 200, "text/plain", "", 0);
    test_fetch_time(&media, "https://public.test/a.png");
    /* how many, at the edge; refused ones count, too */
    x = begin("application/json", "{}");
    qvl_media_request_init(&media, &app, x);
    for (uint32_t i = 0; i < QVL_MAX_FETCHES; i++)
        assert_refused(&media, "https://127.0.0.1/", QVL_ERR_ARGUMENT,
                       "x: the address in the URL is not a public one");
    assert_refused(&media, "https://127.0.0.1/", QVL_ERR_LIMIT, "x: more than 32 URLs to fetch");
    assert_null(media.code);
    end(x);
    qvl_media_fetcher_close(app.fetcher);
    app.fetcher = NULL;
    close(silent);
}

/* Under /N a picture of N bytes. */
static enum MHD_Result answer(void *user, struct MHD_Connection *connection, const char *path, const char *method,
                              const char *version, const char *upload, size_t *n_upload, void **own)
{
    (void)method, (void)version, (void)upload, (void)n_upload, (void)own;
    size_t n = strtoul(path + 1, NULL, 10);
    struct MHD_Response *response = MHD_create_response_from_buffer(n, user, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return result;
}

static void test_fetched_bytes(void **state)
{
    (void)state;
    static const struct {
        size_t n[5];
        bool is_ok;
    } list[] = {{{QVL_MAX_FETCH_BYTES, QVL_MAX_FETCH_BYTES, QVL_MAX_FETCH_BYTES, 4 << 20}, true},
                {{QVL_MAX_FETCH_BYTES, QVL_MAX_FETCH_BYTES, QVL_MAX_FETCH_BYTES, (4 << 20) + 1}, false}};
    char *picture = calloc(1, QVL_MAX_FETCH_BYTES), line[64], url[64];
    assert_non_null(picture);
    memcpy(picture, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, answer, picture, MHD_OPTION_END);
    assert_non_null(daemon);
    uint16_t port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    snprintf(line, sizeof line, "public.test:80:127.0.0.1:%u", port);
    const char *const lines[] = {line, NULL}, *const *const hops[] = {lines};
    const struct qvl_media_fetch_test test = {.loopback_port = port, .connect_to = hops, .n_hop = 1};
    const struct qvl_media_fetch_options options = {.want_plain_http = true, .test = &test};
    assert_int_equal(qvl_media_fetcher_open(&options, &app.fetcher, &err), QVL_OK);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct qvl_exchange *x = begin("application/json", "{}");
        struct qvl_media_request media;
        qvl_media_request_init(&media, &app, x);
        for (size_t k = 0; list[i].n[k] > 0; k++) {
            struct qvl_media_source source = {.fd = -7};
            snprintf(url, sizeof url, "http://public.test/%zu", list[i].n[k]);
            if (!list[i].is_ok && list[i].n[k + 1] == 0) {
                assert_refused(&media, url, QVL_ERR_LIMIT,
                               "x: what the URLs lead to has more than 64 MiB together");
                continue;
            }
            if (open_uri(&media, url, &source))
                fail_msg("%s: %s", url, err.text);
            assert_int_equal(source.from, QVL_FROM_BYTES); /* known by its content: a file would be a new one */
            assert_int_equal(source.fd, -1);
            assert_int_equal(source.n_bytes, list[i].n[k]);
            assert_memory_equal(source.bytes, picture, source.n_bytes);
        }
        end(x);
        qvl_arena_free(&arena);
    }
    qvl_media_fetcher_close(app.fetcher);
    app.fetcher = NULL;
    MHD_stop_daemon(daemon);
    free(picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings), cmocka_unit_test(test_uploads), cmocka_unit_test(test_disabled),
        cmocka_unit_test(test_files),    cmocka_unit_test(test_urls),    cmocka_unit_test(test_fetched_bytes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
