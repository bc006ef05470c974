/* Fetching from the network without one: a server of this process on 127.0.0.1, whose port counts as public, plays
 * every host that may be reached; canaries listen where nothing may ever connect: on another port of 127.0.0.1 and
 * ::1, and on the server's port of 127.0.0.2. Each test ends with the question whether one of them was connected
 * to.
 *
 * libcurl is told where the names lead to, as a name server would tell it, once for each hop. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "server/media_fetch.h"
#include "test_certificate.h"
#include "url_spellings.h"

#define PNG "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\10\2\0\0\0"
enum { N_PNG = sizeof PNG - 1, MAX_LOCATIONS = 6 };

static const char whole_sentence[] = "x: no picture or clip of at most 20 MiB came from this URL within ";

/* ---- redirects ----------------------------------------------------------------------------------- */

/* "*" stands for the path of the next hop, "chain/K/I". After the last location comes a picture. */
static const struct {
    const char *location[MAX_LOCATIONS];
    bool is_ok;
} chains[] = {
    {{"/*"}, true},
    {{"http://public.test/*"}, true},
    {{"http://other.test/*"}, true},
    {{"//other.test:80/*", "/*", "HTTP://PUBLIC.TEST/*#x"}, true},
    {{"/*", "/*", "/*", "/*"}, false}, /* one too many */
    {{"/chain/5/0"}, false},           /* for ever */
    {{"http://127.0.0.1/*"}, false},
    {{"http://127.0.0.1:80/*"}, false},
    {{"http://[::1]/*"}, false},
    {{"http://localhost/*"}, false},
    {{"http://2130706433/*"}, false},
    {{"http://169.254.169.254/latest/meta-data/"}, false},
    {{"http://10.0.0.1/*"}, false},
    {{"http://[::ffff:127.0.0.1]/*"}, false},
    {{"http://[64:ff9b::7f00:1]/*"}, false},
    {{"http://private.test/*"}, false}, /* a name whose address is private */
    {{"https://private.test/*"}, false},
    {{"/*", "http://private.test/*"}, false},
    {{"/*", "/*", "http://private.test/*"}, false},
    {{"//private.test/*"}, false},
    {{"http://public.test@private.test/*"}, false},
    {{"http://private.test\\@public.test/*"}, false},
    {{"http://public.test:8080/*"}, false},
    {{"http://public.test:22/*"}, false},
    {{"file:///etc/passwd"}, false},
    {{"gopher://public.test:80/_GET"}, false},
    {{"ftp://public.test/*"}, false},
    {{"data:image/png;base64,iVBORw0KGgo="}, false},
    {{"dict://127.0.0.1:11211/stat"}, false},
    {{"///etc/passwd"}, false},
    {{"\\\\private.test\\*"}, false},
    {{"http:\\\\private.test\\*"}, false},
    {{""}, false},
    {{" "}, false},
    {{"http://"}, false},
    {{"http:///*"}, false},
    {{"http://public.test\t/*"}, false},
    {{"http://public.test%00.private.test/*"}, false},
    {{"http://\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1/*"}, false},
};
enum { N_CHAIN = sizeof chains / sizeof *chains };

/* ---- the server ---------------------------------------------------------------------------------- */

static int server_fd, canary_fd[3] = {-1, -1, -1};
static uint16_t server_port, canary_port;
static pthread_t server_thread;
static atomic_bool must_stop, has_hung_up;
static atomic_int n_request;
static char last_request[8192]; /* read after the fetch has ended */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* false: the client has gone. */
static bool send_all(int fd, const void *data, size_t n)
{
    const char *at = data;
    while (n > 0) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

static void send_text(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

/* A picture of n bytes in all behind these headers. */
static void send_picture(int fd, const char *headers, size_t n)
{
    static const char zeros[65536];
    send_text(fd, headers);
    if (!send_all(fd, PNG, N_PNG))
        return;
    for (size_t n_left = n - N_PNG; n_left > 0;) {
        size_t part = n_left < sizeof zeros ? n_left : sizeof zeros;
        if (!send_all(fd, zeros, part))
            return;
        n_left -= part;
    }
}

static void send_chain(int fd, size_t k, size_t i)
{
    const char *location = k < N_CHAIN && i < MAX_LOCATIONS ? chains[k].location[i] : NULL, *star;
    static const int codes[] = {301, 302, 303, 307, 308};
    char reply[1024], next[32];
    if (!location) {
        send_picture(fd, "HTTP/1.1 200 OK\r\n\r\n", N_PNG);
        return;
    }
    snprintf(next, sizeof next, "chain/%zu/%zu", k, i + 1);
    star = strchr(location, '*');
    snprintf(reply, sizeof reply, "HTTP/1.1 %d Moved\r\nLocation: %.*s%s%s\r\nContent-Length: 4\r\n\r\nbody",
             codes[k % 5], star ? (int)(star - location) : (int)strlen(location), location, star ? next : "",
             star ? star + 1 : "");
    send_text(fd, reply);
}

/* Until the client has had enough. */
static void send_for_ever(int fd, const char *text, int pause_ms)
{
    while (!atomic_load(&must_stop) && send_all(fd, text, strlen(text)))
        poll(NULL, 0, pause_ms);
}

static void wait_for_end(int fd)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};
    char byte;
    while (!atomic_load(&must_stop) && poll(&end, 1, 50) >= 0)
        if ((end.revents & (POLLIN | POLLHUP | POLLERR)) && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0)
            break;
    atomic_store(&has_hung_up, true);
}

static void send_long_location(int fd, size_t n)
{
    send_text(fd, "HTTP/1.1 302 Found\r\nLocation: /png?");
    for (size_t i = 5; i < n; i++)
        send_text(fd, "a");
    send_text(fd, "\r\nContent-Length: 0\r\n\r\n");
}

static void reply_to(int fd, const char *path)
{
    size_t k, i;
    static const struct {
        const char *path, *reply;
        size_t n_picture; /* 0: the reply is the whole */
    } fixed[] = {
        {"/png", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", N_PNG},
        {"/http10", "HTTP/1.0 200 OK\r\n\r\n", N_PNG},
        {"/most", "HTTP/1.1 200 OK\r\n\r\n", QVL_MAX_FETCH_BYTES},
        {"/more", "HTTP/1.1 200 OK\r\n\r\n", QVL_MAX_FETCH_BYTES + 1},
        {"/more-said", "HTTP/1.1 200 OK\r\nContent-Length: 20971521\r\n\r\n", QVL_MAX_FETCH_BYTES + 1},
        {"/ten-gb", "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", N_PNG},
        {"/cut", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", N_PNG},
        {"/less-said", "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", 1000},
        {"/negative", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", N_PNG},
        {"/huge-length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", N_PNG},
        {"/http09", "", N_PNG},
        {"/garbage", "garbage\r\n\r\n", N_PNG},
        {"/404", "HTTP/1.1 404 Not Found\r\n\r\n", N_PNG},
        {"/401", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n", N_PNG},
        {"/206", "HTTP/1.1 206 Partial Content\r\n\r\n", N_PNG},
        {"/416", "HTTP/1.1 416 Range Not Satisfiable\r\n\r\n", N_PNG},
        {"/500", "HTTP/1.1 500 Internal Server Error\r\n\r\n", N_PNG},
        {"/204", "HTTP/1.1 204 No Content\r\n\r\n", 0},
        {"/304", "HTTP/1.1 304 Not Modified\r\n\r\n", 0},
        {"/300", "HTTP/1.1 300 Multiple Choices\r\nLocation: /png\r\nContent-Length: 0\r\n\r\n", 0},
        {"/empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0},
        {"/html", "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n<!DOCTYPE html><html></html>", 0},
        {"/svg",
         "HTTP/1.1 200 OK\r\nContent-Type: image/svg+xml\r\n\r\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>", 0},
        {"/gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08", 0},
        {"/clip", "HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n", 1}, /* see below */
        {"/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n\x89PNG\r\n\x1a\n\r\n0\r\n\r\n", 0},
        {"/bad-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n\x89PNG\r\n\x1a\n",
         0},
        {"/no-location", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", 0},
        {"/two-locations", "HTTP/1.1 302 Found\r\nLocation: /png\r\nLocation: /clip\r\nContent-Length: 0\r\n\r\n",
         0},
        {"/early", "HTTP/1.1 103 Early Hints\r\nLocation: http://private.test/\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
         N_PNG},
        {"/refresh",
         "HTTP/1.1 200 OK\r\nRefresh: 0; url=http://private.test/\r\nSet-Cookie: a=b\r\nAlt-Svc: "
         "h2=\":22\"\r\n\r\n",
         N_PNG},
        {"/cookie", "HTTP/1.1 302 Found\r\nSet-Cookie: secret=1\r\nLocation: /png\r\nContent-Length: 0\r\n\r\n", 0},
        {"/close", "", 0},
    };
    for (i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (strcmp(path, fixed[i].path) == 0) {
            if (strcmp(path, "/clip") == 0) {
                send_text(fd, fixed[i].reply);
                send_all(fd, "\0\0\0 ftypisom\0\0\2\0isomiso2avc1mp41", 32);
            } else if (fixed[i].n_picture > 0) {
                send_picture(fd, fixed[i].reply, fixed[i].n_picture);
            } else {
                send_text(fd, fixed[i].reply);
            }
            return;
        }
    if (sscanf(path, "/chain/%zu/%zu", &k, &i) == 2)
        send_chain(fd, k, i);
    else if (strcmp(path, "/location-2048") == 0)
        send_long_location(fd, 2048 - 22); /* with "http://public.test:80" before it */
    else if (strcmp(path, "/location-2049") == 0)
        send_long_location(fd, 2049);
    else if (strcmp(path, "/drip") == 0) {
        send_picture(fd, "HTTP/1.1 200 OK\r\n\r\n", N_PNG);
        send_for_ever(fd, "a", 20);
    } else if (strcmp(path, "/drip-headers") == 0) {
        send_text(fd, "HTTP/1.1 200 OK\r\n");
        send_for_ever(fd, "A: b\r\n", 20);
    } else if (strcmp(path, "/headers") == 0) {
        send_text(fd, "HTTP/1.1 200 OK\r\n");
        send_for_ever(fd, "Abcdefghijklmnopqrstuvwxyz: abcdefghijklmnopqrstuvwxyz\r\n", 0);
    } else if (strcmp(path, "/long-header") == 0) {
        send_text(fd, "HTTP/1.1 200 OK\r\nA: ");
        send_for_ever(fd, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", 0);
    } else if (strcmp(path, "/silent") == 0) {
        wait_for_end(fd);
    } else {
        send_text(fd, "HTTP/1.1 404 Not Found\r\n\r\n");
    }
}

/* One connection after another; the reply ends with the connection. */
static void *serve(void *user)
{
    (void)user;
    struct pollfd ready = {.fd = server_fd, .events = POLLIN};
    while (!atomic_load(&must_stop)) {
        char request[sizeof last_request] = "", path[4096] = "";
        size_t n = 0;
        int fd = poll(&ready, 1, 50) > 0 ? accept(server_fd, NULL, NULL) : -1;
        if (fd < 0)
            continue;
        while (n + 1 < sizeof request && !strstr(request, "\r\n\r\n")) {
            ssize_t got = recv(fd, request + n, sizeof request - 1 - n, 0);
            if (got <= 0)
                break;
            n += (size_t)got;
            request[n] = 0;
        }
        pthread_mutex_lock(&lock);
        memcpy(last_request, request, sizeof request);
        pthread_mutex_unlock(&lock);
        atomic_fetch_add(&n_request, 1);
        if (sscanf(request, "GET %4095[^ ?#]", path) == 1)
            reply_to(fd, path);
        shutdown(fd, SHUT_WR);
        close(fd);
    }
    return NULL;
}

static int listen_on(const char *address, uint16_t *port)
{
    struct sockaddr_storage any = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&any;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&any;
    bool is_ipv6 = strchr(address, ':') != NULL;
    socklen_t n = is_ipv6 ? sizeof *in6 : sizeof *in;
    int fd = socket(is_ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    any.ss_family = is_ipv6 ? AF_INET6 : AF_INET;
    inet_pton(any.ss_family, address, is_ipv6 ? (void *)&in6->sin6_addr : (void *)&in->sin_addr);
    if (is_ipv6)
        in6->sin6_port = htons(*port);
    else
        in->sin_port = htons(*port);
    if (bind(fd, (struct sockaddr *)&any, n) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&any, &n) != 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(is_ipv6 ? in6->sin6_port : in->sin_port);
    return fd;
}

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    server_fd = listen_on("127.0.0.1", &server_port);
    canary_fd[0] = listen_on("127.0.0.1", &canary_port);
    canary_fd[1] = listen_on("::1", &canary_port); /* where there is IPv6 */
    canary_fd[2] = listen_on("127.0.0.2", &server_port);
    if (server_fd < 0 || canary_fd[0] < 0 || canary_fd[2] < 0)
        return -1;
    return pthread_create(&server_thread, NULL, serve, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    atomic_store(&must_stop, true);
    pthread_join(server_thread, NULL);
    close(server_fd);
    for (int i = 0; i < 3; i++)
        if (canary_fd[i] >= 0)
            close(canary_fd[i]);
    return 0;
}

/* A connection on the loopback stands in the listener's queue when connect returns, so none can be missed. */
static void assert_no_canary(const char *what)
{
    for (int i = 0; i < 3; i++) {
        int fd = canary_fd[i] >= 0 ? accept(canary_fd[i], NULL, NULL) : -1;
        if (fd >= 0)
            fail_msg("canary %d was connected to: %s", i, what);
    }
}

static size_t n_open_files(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* ---- names --------------------------------------------------------------------------------------- */

static char to_server[2][64], to_canary[64], canary_by_name[64], mixed_by_name[64], two_addresses[96],
    mixed_answer[96];
static const char *usual_lines[4], *canary_lines[2], *named_lines[2], *mixed_lines[2], *named_answers[2],
    *mixed_answers[2];

/* "public.test" and "other.test" are the server, all else is a canary. */
static void make_lines(void)
{
    snprintf(to_server[0], sizeof to_server[0], "public.test:80:127.0.0.1:%u", server_port);
    snprintf(to_server[1], sizeof to_server[1], "other.test:80:127.0.0.1:%u", server_port);
    snprintf(to_canary, sizeof to_canary, "::127.0.0.1:%u", canary_port);
    snprintf(canary_by_name, sizeof canary_by_name, "::answer.test:%u", canary_port);
    snprintf(two_addresses, sizeof two_addresses, "answer.test:%u:127.0.0.1,[::1]", canary_port);
    snprintf(mixed_by_name, sizeof mixed_by_name, "::answer.test:%u", server_port);
    snprintf(mixed_answer, sizeof mixed_answer, "answer.test:%u:127.0.0.2,127.0.0.1", server_port);
    usual_lines[0] = to_server[0];
    usual_lines[1] = to_server[1];
    usual_lines[2] = canary_lines[0] = to_canary;
    named_lines[0] = canary_by_name;
    named_answers[0] = two_addresses;
    mixed_lines[0] = mixed_by_name;
    mixed_answers[0] = mixed_answer;
}

static const char *const *const usual_hops[] = {usual_lines};

static struct qvl_media_fetcher *fetcher_with(const struct qvl_media_fetch_test *test, double max_ms,
                                              bool want_plain_http)
{
    struct qvl_error err = {0};
    struct qvl_media_fetcher *fetcher = NULL;
    const struct qvl_media_fetch_options options = {
        .want_plain_http = want_plain_http, .max_ms = max_ms, .test = test};
    assert_int_equal(qvl_media_fetcher_open(&options, &fetcher, &err), QVL_OK);
    return fetcher;
}

static struct qvl_media_fetch_test usual_test(void)
{
    make_lines();
    return (struct qvl_media_fetch_test){.loopback_port = server_port, .connect_to = usual_hops, .n_hop = 1};
}

/* The bytes fetched, or 0 with the status that is expected; a descriptor is there only where it is QVL_OK. */
static size_t fetch(struct qvl_media_fetcher *fetcher, const char *url, enum qvl_status expected)
{
    struct qvl_error err = {0};
    int fd = -7;
    enum qvl_status status = qvl_media_fetch(fetcher, "x", url, strlen(url), HUGE_VAL, NULL, NULL, &fd, &err);
    if (status != expected)
        fail_msg("%s: status %d, not %d: %s", url, (int)status, (int)expected, err.text);
    if (status == QVL_ERR_MEDIA && strncmp(err.text, whole_sentence, sizeof whole_sentence - 1) != 0)
        fail_msg("%s: %s", url, err.text);
    if (status) {
        assert_int_equal(fd, -7);
        return 0;
    }
    char head[8];
    off_t n = lseek(fd, 0, SEEK_END);
    assert_int_equal(pread(fd, head, 8, 0), 8);
    assert_true(memcmp(head, PNG, 8) == 0 || memcmp(head + 4, "ftyp", 4) == 0);
    close(fd);
    return (size_t)n;
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void test_replies(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t n; /* 0: refused */
    } list[] = {{"png", N_PNG},
                {"http10", N_PNG},
                {"clip", 32},
                {"chunked", 8},
                {"most", QVL_MAX_FETCH_BYTES},
                {"less-said", 30},
                {"early", N_PNG},
                {"refresh", N_PNG},
                {"cookie", N_PNG},
                {"location-2048", N_PNG},
                {"more", 0},
                {"more-said", 0},
                {"ten-gb", 0},
                {"cut", 0},
                {"negative", 0},
                {"huge-length", 0},
                {"http09", 0},
                {"garbage", 0},
                {"404", 0},
                {"401", 0},
                {"206", 0},
                {"416", 0},
                {"500", 0},
                {"204", 0},
                {"304", 0},
                {"300", 0},
                {"empty", 0},
                {"html", 0},
                {"svg", 0},
                {"gzip", 0},
                {"bad-chunk", 0},
                {"no-location", 0},
                {"two-locations", 0},
                {"location-2049", 0},
                {"close", 0},
                {"headers", 0},
                {"long-header", 0}};
    struct qvl_media_fetch_test test = usual_test();
    struct qvl_media_fetcher *fetcher = fetcher_with(&test, 0, true);
    size_t n_before = n_open_files();
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        char url[64];
        snprintf(url, sizeof url, "http://public.test/%s", list[i].path);
        assert_int_equal(fetch(fetcher, url, list[i].n > 0 ? QVL_OK : QVL_ERR_MEDIA), list[i].n);
    }
    for (int i = 0; i < 1000 && n_open_files() != n_before; i++) /* the server closes its end of the last one */
        poll(NULL, 0, 5);
    assert_int_equal(n_open_files(), n_before);
    qvl_media_fetcher_close(fetcher);
    assert_no_canary("replies");
}

/* What is sent: nothing of ours but a name. */
static void test_request(void **state)
{
    (void)state;
    struct qvl_media_fetch_test test = usual_test();
    setenv("http_proxy", "http://127.0.0.2:80", 1); /* a canary, were it asked */
    setenv("all_proxy", "http://127.0.0.2:80", 1);
    struct qvl_media_fetcher *fetcher = fetcher_with(&test, 0, true);
    assert_int_equal(fetch(fetcher, "http://public.test/cookie?a=b%20#frag", QVL_OK), N_PNG);
    pthread_mutex_lock(&lock);
    assert_non_null(strstr(last_request, "GET /png HTTP/1.1\r\n"));
    assert_non_null(strstr(last_request, "\r\nHost: public.test\r\n"));
    assert_non_null(strstr(last_request, "\r\nAccept-Encoding: identity\r\n"));
    assert_null(strcasestr(last_request, "cookie:"));
    assert_null(strcasestr(last_request, "authorization:"));
    assert_null(strcasestr(last_request, "referer:"));
    pthread_mutex_unlock(&lock);
    qvl_media_fetcher_close(fetcher);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    assert_no_canary("proxy");
}

static void test_deadline(void **state)
{
    (void)state;
    static const char *const paths[] = {"drip", "drip-headers", "silent"};
    struct qvl_media_fetch_test test = usual_test();
    struct qvl_media_fetcher *fetcher = fetcher_with(&test, 250, true);
    for (size_t i = 0; i < 3; i++) {
        char url[64];
        snprintf(url, sizeof url, "http://public.test/%s", paths[i]);
        fetch(fetcher, url, QVL_ERR_MEDIA);
    }
    qvl_media_fetcher_close(fetcher);
}

struct leaving {
    int n_request; /* before it */
    atomic_bool is_gone;
};

static bool is_gone(void *user)
{
    return atomic_load(&((struct leaving *)user)->is_gone);
}

static void *leave_at_request(void *user)
{
    struct leaving *leaving = user;
    while (atomic_load(&n_request) == leaving->n_request)
        poll(NULL, 0, 5);
    atomic_store(&leaving->is_gone, true);
    return NULL;
}

static void test_client_leaves(void **state)
{
    (void)state;
    struct qvl_media_fetch_test test = usual_test();
    struct qvl_media_fetcher *fetcher = fetcher_with(&test, 1e6, true);
    struct qvl_error err = {0};
    struct leaving leaving = {0};
    pthread_t thread;
    int fd = -7;
    /* who gave up before may still stand before the server: it takes one after another */
    assert_int_equal(fetch(fetcher, "http://public.test/png", QVL_OK), N_PNG);
    leaving.n_request = atomic_load(&n_request);
    atomic_store(&has_hung_up, false);
    assert_int_equal(pthread_create(&thread, NULL, leave_at_request, &leaving), 0);
    assert_int_equal(
        qvl_media_fetch(fetcher, "x", "http://public.test/silent", 25, HUGE_VAL, is_gone, &leaving, &fd, &err),
        QVL_ERR_CANCELLED);
    pthread_join(thread, NULL);
    while (!atomic_load(&has_hung_up)) /* the server has seen it, too */
        poll(NULL, 0, 5);
    assert_int_equal(
        qvl_media_fetch(fetcher, "x", "http://public.test/png", 22, HUGE_VAL, is_gone, &leaving, &fd, &err),
        QVL_ERR_CANCELLED);
    assert_int_equal(fd, -7);
    qvl_media_fetcher_close(fetcher);
}

static void test_chains(void **state)
{
    (void)state;
    struct qvl_media_fetch_test test = usual_test();
    struct qvl_media_fetcher *fetcher = fetcher_with(&test, 0, true);
    for (size_t k = 0; k < N_CHAIN; k++) {
        char url[64];
        snprintf(url, sizeof url, "http://public.test/chain/%zu/0", k);
        fetch(fetcher, url, chains[k].is_ok ? QVL_OK : QVL_ERR_MEDIA);
        assert_no_canary(chains[k].location[0]);
    }
    qvl_media_fetcher_close(fetcher);
    /* http: is only for those who asked for it */
    fetcher = fetcher_with(&test, 0, false);
    fetch(fetcher, "http://public.test/png", QVL_ERR_ARGUMENT);
    qvl_media_fetcher_close(fetcher);
}

/* Every name leads to a canary: none is reached, whatever the spelling. */
static void test_spellings(void **state)
{
    (void)state;
    static const char *const more[] = {"http://private.test/", "https://private.test/", "http://8.8.8.8/",
                                       "https://[2606:4700:4700::1111]/", "http://example.org/"};
    const char *const *const canary_hops[] = {canary_lines}, *const *const named_hops[] = {named_lines};
    const char *const *const answers[] = {named_answers};
    make_lines();
    const struct qvl_media_fetch_test tests[] = {
        {.loopback_port = server_port, .connect_to = canary_hops, .n_hop = 1},
        {.connect_to = canary_hops, .n_hop = 1},
        {.loopback_port = server_port, .connect_to = named_hops, .resolve = answers, .n_hop = 1}};
    for (size_t k = 0; k < sizeof tests / sizeof *tests; k++) {
        struct qvl_media_fetcher *fetcher = fetcher_with(&tests[k], 0, true);
        for (size_t i = 0; i < sizeof refused_urls / sizeof *refused_urls; i++) {
            struct qvl_error err = {0};
            int fd = -7;
            size_t n = strlen(refused_urls[i]);
            assert_int_not_equal(qvl_media_fetch(fetcher, "x", refused_urls[i], n, HUGE_VAL, NULL, NULL, &fd, &err),
                                 QVL_OK);
            assert_no_canary(refused_urls[i]);
        }
        for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
            fetch(fetcher, more[i], QVL_ERR_MEDIA);
            assert_no_canary(more[i]);
        }
        qvl_media_fetcher_close(fetcher);
    }
}

/* A name server that answers with a public address first and a private one then; and with both at once. */
static void test_rebinding(void **state)
{
    (void)state;
    make_lines();
    const char *const *const then_canary[] = {usual_lines, canary_lines};
    const char *const *const then_named[] = {usual_lines, named_lines}, *const *const mixed[] = {mixed_lines};
    const char *const *const named_answer[] = {NULL, named_answers}, *const *const mixed_hops[] = {mixed_answers};
    struct qvl_media_fetch_test test = {.loopback_port = server_port, .connect_to = then_canary, .n_hop = 2};
    struct qvl_media_fetcher *fetcher = fetcher_with(&test, 0, true);
    fetch(fetcher, "http://public.test/png", QVL_OK);
    fetch(fetcher, "http://public.test/chain/1/0", QVL_ERR_MEDIA); /* to the same name again */
    assert_no_canary("the same name, another address");
    qvl_media_fetcher_close(fetcher);
    test = (struct qvl_media_fetch_test){
        .loopback_port = server_port, .connect_to = then_named, .resolve = named_answer, .n_hop = 2};
    fetcher = fetcher_with(&test, 0, true);
    fetch(fetcher, "http://public.test/chain/1/0", QVL_ERR_MEDIA);
    assert_no_canary("the same name, two private addresses");
    qvl_media_fetcher_close(fetcher);
    test = (struct qvl_media_fetch_test){
        .loopback_port = server_port, .connect_to = mixed, .resolve = mixed_hops, .n_hop = 1};
    fetcher = fetcher_with(&test, 0, true);
    fetch(fetcher, "http://public.test/png", QVL_OK); /* from the public one */
    assert_no_canary("a private and a public address");
    qvl_media_fetcher_close(fetcher);
}

static void test_host_list(void **state)
{
    (void)state;
    static const char *const hosts[] = {"public.test", "*.cdn.test"};
    struct qvl_error err = {0};
    struct qvl_media_fetch_test test = usual_test();
    struct qvl_media_fetcher *fetcher = NULL;
    const struct qvl_media_fetch_options options = {
        .want_plain_http = true, .host = hosts, .n_host = 2, .test = &test};
    assert_int_equal(qvl_media_fetcher_open(&options, &fetcher, &err), QVL_OK);
    fetch(fetcher, "http://public.test/png", QVL_OK);
    fetch(fetcher, "http://Public.Test/chain/0/0", QVL_OK);
    fetch(fetcher, "http://public.test/chain/2/0", QVL_ERR_MEDIA); /* to other.test */
    fetch(fetcher, "http://other.test/png", QVL_ERR_ARGUMENT);
    fetch(fetcher, "http://xpublic.test/png", QVL_ERR_ARGUMENT);
    qvl_media_fetcher_close(fetcher);
    assert_no_canary("hosts");
}

/* ---- https --------------------------------------------------------------------------------------- */

static atomic_int n_secure; /* connections */

static void count_connection(void *user, struct MHD_Connection *connection, void **own,
                             enum MHD_ConnectionNotificationCode code)
{
    (void)user, (void)connection, (void)own;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        atomic_fetch_add(&n_secure, 1);
}

/* /png is a picture; /to?URL leads to URL. */
static enum MHD_Result answer(void *user, struct MHD_Connection *connection, const char *path, const char *method,
                              const char *version, const char *upload, size_t *n_upload, void **own)
{
    (void)user, (void)method, (void)version, (void)upload, (void)n_upload, (void)own;
    const char *to = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "to");
    struct MHD_Response *response = MHD_create_response_from_buffer(N_PNG, PNG, MHD_RESPMEM_PERSISTENT);
    if (to)
        MHD_add_response_header(response, "Location", to);
    enum MHD_Result result = MHD_queue_response(connection,
                                                to                          ? 302
                                                : strcmp(path, "/png") == 0 ? 200
                                                                            : 404,
                                                response);
    MHD_destroy_response(response);
    return result;
}

/* A certificate of another name, or of an issuer that is not trusted, is none; and https: never becomes http:. */
static void test_https(void **state)
{
    (void)state;
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_TLS, 0, NULL, NULL, answer, NULL,
                         MHD_OPTION_HTTPS_MEM_CERT, test_certificate, MHD_OPTION_HTTPS_MEM_KEY, test_key,
                         MHD_OPTION_NOTIFY_CONNECTION, count_connection, NULL, MHD_OPTION_END);
    assert_non_null(daemon);
    uint16_t port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    char all[64], ca_file[] = "/tmp/qvl-fetch-XXXXXX";
    int ca_fd = mkstemp(ca_file);
    assert_int_equal(write(ca_fd, test_certificate, strlen(test_certificate)), strlen(test_certificate));
    close(ca_fd);
    snprintf(all, sizeof all, "::127.0.0.1:%u", port); /* every name, http: too, is this server */
    const char *const lines[] = {all, NULL}, *const *const hops[] = {lines};
    struct qvl_media_fetch_test test = {.loopback_port = port, .connect_to = hops, .n_hop = 1, .ca_file = ca_file};
    struct qvl_media_fetcher *fetcher = fetcher_with(&test, 0, true);
    static const struct {
        const char *url;
        enum qvl_status status;
        int n_connection;
    } list[] = {
        {"https://public.test/png", QVL_OK, 1},
        {"https://public.test:80/png", QVL_OK, 1},
        {"https://public.test/x?to=/png", QVL_OK, 2},
        {"https://public.test/x?to=https://public.test/png", QVL_OK, 2},
        {"https://public.test/x?to=http://public.test/png", QVL_ERR_MEDIA, 1},
        {"https://public.test/x?to=http://public.test:443/png", QVL_ERR_MEDIA, 1},
        {"https://public.test/x?to=https://other.test/png", QVL_ERR_MEDIA, 2},
        {"https://other.test/png", QVL_ERR_MEDIA, 1},
        {"https://8.8.8.8/png", QVL_ERR_MEDIA, 1},
        {"https://public.test/none", QVL_ERR_MEDIA, 1},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        atomic_store(&n_secure, 0);
        fetch(fetcher, list[i].url, list[i].status);
        if (atomic_load(&n_secure) != list[i].n_connection)
            fail_msg("%s: %d connections", list[i].url, atomic_load(&n_secure));
    }
    qvl_media_fetcher_close(fetcher);
    test.ca_file = NULL; /* the system's certificates know it not */
    fetcher = fetcher_with(&test, 0, true);
    fetch(fetcher, "https://public.test/png", QVL_ERR_MEDIA);
    qvl_media_fetcher_close(fetcher);
    MHD_stop_daemon(daemon);
    unlink(ca_file);
}

static void *fetch_many(void *user)
{
    struct qvl_error err = {0};
    for (int i = 0; i < 10; i++) {
        int fd = -1;
        if (qvl_media_fetch(user, "x", "http://public.test/png", 22, HUGE_VAL, NULL, NULL, &fd, &err) == QVL_OK)
            close(fd);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct qvl_media_fetch_test test = usual_test();
    struct qvl_media_fetcher *fetcher = fetcher_with(&test, 0, true);
    pthread_t thread[4];
    int n_before = atomic_load(&n_request);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, fetch_many, fetcher), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(atomic_load(&n_request), n_before + 40);
    qvl_media_fetcher_close(fetcher);
    qvl_media_fetcher_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),       cmocka_unit_test(test_request),   cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_client_leaves), cmocka_unit_test(test_chains),    cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_rebinding),     cmocka_unit_test(test_host_list), cmocka_unit_test(test_https),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
