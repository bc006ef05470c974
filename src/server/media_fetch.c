/* In: a URL of a client. Out: the file behind it, in memory, or a sentence that says nothing about the network.
 *
 * Each hop is a transfer of its own: url_policy.h reads and writes the URL, libcurl connects and speaks HTTP/1.1,
 * and before it gets a socket the address is checked, which is the very one that will be connected to: what a name
 * server answers the next time does not matter. Redirects are followed here, each through the same function, so
 * libcurl never chooses where to go. No proxy, no cookie, no password, no compression, no file or other scheme, no
 * connection kept.
 *
 * The whole has one deadline and one count of bytes, however many hops it takes. It runs on the calling thread, in
 * slices of 100 ms, so that a client who leaves, or the end of the server, ends it. A name server that does not
 * answer holds a thread of libcurl's, which nobody waits for.
 *
 * Clients get one sentence for everything that can go wrong on the way; the log gets the reason. SIGPIPE must be
 * ignored by the program. */
#include "server/media_fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <ifaddrs.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/log.h"
#include "server/url_policy.h"

enum { SLICE_MS = 100 };

struct qvl_media_fetcher {
    struct qvl_media_fetch_options options;
};

/* One fetch over all its hops. */
struct fetch {
    const struct qvl_media_fetcher *fetcher;
    bool (*must_end)(void *user);
    void *user;
    const char *where;
    double start_ms, end_ms;
    struct qvl_url url; /* of the hop at hand */
    size_t i_hop;
    int fd;           /* what comes, from its start for each hop */
    uint64_t n_bytes; /* of all bodies */
    size_t n_header_bytes;
    char location[QVL_MAX_URL_BYTES];
    size_t n_location;
    const char *reason; /* why it failed, for the log */
};

/* ---- opening ------------------------------------------------------------------------------------- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_state;

static void start_curl(void)
{
    global_state = curl_global_init(CURL_GLOBAL_DEFAULT);
}

enum qvl_status qvl_media_fetcher_open(const struct qvl_media_fetch_options *options,
                                       struct qvl_media_fetcher **out, struct qvl_error *err)
{
    pthread_once(&once, start_curl);
    if (global_state != CURLE_OK)
        return qvl_fail(err, QVL_ERR_INTERNAL, "libcurl cannot be used: %s", curl_easy_strerror(global_state));
    struct qvl_media_fetcher *fetcher = calloc(1, sizeof *fetcher);
    if (!fetcher)
        return qvl_fail_memory(err, sizeof *fetcher, "fetching");
    fetcher->options = *options;
    *out = fetcher;
    return QVL_OK;
}

void qvl_media_fetcher_close(struct qvl_media_fetcher *fetcher)
{
    free(fetcher);
}

/* ---- whom to connect to -------------------------------------------------------------------------- */

static bool is_same_address(const struct sockaddr *a, const struct sockaddr *b)
{
    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return memcmp(&((const struct sockaddr_in *)a)->sin_addr, &((const struct sockaddr_in *)b)->sin_addr,
                      sizeof(struct in_addr)) == 0;
    return a->sa_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

/* One of this machine's own addresses; also where that cannot be found out. */
static bool is_own_address(const struct sockaddr *address)
{
    struct ifaddrs *list = NULL;
    bool is_own = false;
    if (getifaddrs(&list) != 0)
        return true;
    for (const struct ifaddrs *entry = list; entry && !is_own; entry = entry->ifa_next)
        is_own = entry->ifa_addr && is_same_address(address, entry->ifa_addr);
    freeifaddrs(list);
    return is_own;
}

static bool is_test_address(const struct qvl_media_fetch_test *test, const struct sockaddr *address)
{
    if (!test || test->loopback_port == 0)
        return false;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        return ntohl(in->sin_addr.s_addr) == INADDR_LOOPBACK && ntohs(in->sin_port) == test->loopback_port;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) &&
           ntohs(in6->sin6_port) == test->loopback_port;
}

static bool is_allowed(const struct fetch *f, const struct sockaddr *address)
{
    if (is_test_address(f->fetcher->options.test, address))
        return true;
    if (address->sa_family == AF_INET) {
        uint8_t bytes[4];
        memcpy(bytes, &((const struct sockaddr_in *)address)->sin_addr, sizeof bytes);
        return qvl_is_public_ipv4(bytes) && !is_own_address(address);
    }
    return address->sa_family == AF_INET6 &&
           qvl_is_public_ipv6(((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr) &&
           !is_own_address(address);
}

static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct fetch *f = user;
    if (purpose != CURLSOCKTYPE_IPCXN || address->socktype != SOCK_STREAM || !is_allowed(f, &address->addr)) {
        f->reason = "an address that is not public";
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- what comes ---------------------------------------------------------------------------------- */

static size_t take_body(char *data, size_t size, size_t n, void *user)
{
    struct fetch *f = user;
    size_t n_bytes = size * n, n_written = 0;
    if (n_bytes > QVL_MAX_FETCH_BYTES - f->n_bytes) {
        f->reason = "too many bytes";
        return 0;
    }
    while (n_written < n_bytes) {
        ssize_t got = write(f->fd, data + n_written, n_bytes - n_written);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        n_written += (size_t)got;
    }
    f->n_bytes += n_bytes;
    return n_bytes;
}

static size_t take_header(char *line, size_t size, size_t n, void *user)
{
    static const char name[] = "location:";
    struct fetch *f = user;
    size_t n_line = size * n, n_name = sizeof name - 1;
    f->n_header_bytes += n_line;
    if (f->n_header_bytes > QVL_MAX_HTTP_HEADER_BYTES) {
        f->reason = "too many headers";
        return 0;
    }
    if (n_line >= 5 && memcmp(line, "HTTP/", 5) == 0)
        f->n_location = 0; /* of another reply: 100 Continue comes before the true one */
    if (n_line < n_name || strncasecmp(line, name, n_name) != 0)
        return n_line;
    size_t begin = n_name, end = n_line;
    while (begin < end && (line[begin] == ' ' || line[begin] == '\t'))
        begin++;
    while (end > begin &&
           (line[end - 1] == ' ' || line[end - 1] == '\t' || line[end - 1] == '\r' || line[end - 1] == '\n'))
        end--;
    if (f->n_location > 0 || end - begin > sizeof f->location) {
        f->reason = "a redirect that is no URL";
        return 0;
    }
    f->n_location = end - begin;
    memcpy(f->location, line + begin, f->n_location);
    return n_line;
}

/* ---- one hop ------------------------------------------------------------------------------------- */

struct hop {
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers, *connect_to, *resolve;
};

static void free_hop(struct hop *hop)
{
    if (hop->multi && hop->easy)
        curl_multi_remove_handle(hop->multi, hop->easy);
    curl_easy_cleanup(hop->easy);
    curl_multi_cleanup(hop->multi);
    curl_slist_free_all(hop->headers);
    curl_slist_free_all(hop->connect_to);
    curl_slist_free_all(hop->resolve);
}

/* Every option counts for safety: false where libcurl does not know one. */
static bool set_options(const struct fetch *f, struct hop *hop, double left_ms)
{
    CURL *easy = hop->easy;
    int bad = 0;
    bad |= curl_easy_setopt(easy, CURLOPT_URL, f->url.text) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, f->url.is_https ? "https" : "http") != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_PROXY, "") != CURLE_OK; /* the environment's, too */
    bad |= curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) != CURLE_OK; /* not until a name server answers */
    bad |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)left_ms + 1) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)QVL_MAX_FETCH_BYTES) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "qvl/" QVL_VERSION) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, hop->headers) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, (void *)f) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, (void *)f) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, (void *)f) != CURLE_OK;
    return bad == 0;
}

static bool add_line(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    *list = longer ? longer : *list;
    return longer;
}

static bool add_lines(struct curl_slist **list, const char *const *lines)
{
    for (size_t i = 0; lines && lines[i]; i++)
        if (!add_line(list, lines[i]))
            return false;
    return true;
}

static bool set_test(const struct fetch *f, struct hop *hop)
{
    const struct qvl_media_fetch_test *test = f->fetcher->options.test;
    if (!test)
        return true;
    if (test->ca_file && curl_easy_setopt(hop->easy, CURLOPT_CAINFO, test->ca_file) != CURLE_OK)
        return false;
    if (test->n_hop == 0)
        return true;
    size_t i = f->i_hop < test->n_hop ? f->i_hop : test->n_hop - 1;
    return add_lines(&hop->connect_to, test->connect_to ? test->connect_to[i] : NULL) &&
           add_lines(&hop->resolve, test->resolve ? test->resolve[i] : NULL) &&
           curl_easy_setopt(hop->easy, CURLOPT_CONNECT_TO, hop->connect_to) == CURLE_OK &&
           curl_easy_setopt(hop->easy, CURLOPT_RESOLVE, hop->resolve) == CURLE_OK;
}

static bool must_end(const struct fetch *f)
{
    return f->must_end && f->must_end(f->user);
}

/* Until the transfer has ended; false: it did not end well. */
static bool run_transfer(struct fetch *f, struct hop *hop)
{
    int n_running = 1, n_message;
    f->reason = NULL;
    while (n_running > 0) {
        double left_ms = f->end_ms - qvl_now_ms();
        if (curl_multi_perform(hop->multi, &n_running) != CURLM_OK || must_end(f))
            return false;
        if (n_running > 0 && left_ms <= 0) {
            f->reason = "the time is over";
            return false;
        }
        int slice_ms = left_ms < SLICE_MS ? (int)left_ms + 1 : SLICE_MS;
        if (n_running > 0 && curl_multi_poll(hop->multi, NULL, 0, slice_ms, NULL) != CURLM_OK)
            return false;
    }
    const CURLMsg *message = curl_multi_info_read(hop->multi, &n_message);
    CURLcode code = message ? message->data.result : CURLE_RECV_ERROR;
    if (code != CURLE_OK && !f->reason)
        f->reason = curl_easy_strerror(code);
    return code == CURLE_OK;
}

/* One request and its reply; false: there was none. */
static bool run_hop(struct fetch *f, long *out_code)
{
    struct hop hop = {.multi = curl_multi_init(), .easy = curl_easy_init()};
    double left_ms = f->end_ms - qvl_now_ms();
    f->n_location = 0;
    f->reason = "libcurl lacks something";
    bool is_ok = hop.multi && hop.easy && left_ms > 0 && add_line(&hop.headers, "Accept-Encoding: identity") &&
                 add_line(&hop.headers, "Accept: image/*, video/*, */*;q=0.1") && ftruncate(f->fd, 0) == 0 &&
                 lseek(f->fd, 0, SEEK_SET) == 0 && set_options(f, &hop, left_ms) && set_test(f, &hop) &&
                 curl_multi_add_handle(hop.multi, hop.easy) == CURLM_OK && run_transfer(f, &hop) &&
                 curl_easy_getinfo(hop.easy, CURLINFO_RESPONSE_CODE, out_code) == CURLE_OK;
    free_hop(&hop);
    return is_ok;
}

/* ---- all hops ------------------------------------------------------------------------------------ */

static bool is_redirect(long code)
{
    return code == 301 || code == 302 || code == 303 || code == 307 || code == 308;
}

static bool is_host_allowed(const struct fetch *f)
{
    const struct qvl_media_fetch_options *o = &f->fetcher->options;
    return qvl_url_is_host_listed(&f->url, o->host, o->n_host);
}

static bool is_picture_or_clip(struct fetch *f)
{
    uint8_t head[QVL_MEDIA_HEAD_BYTES];
    ssize_t n = pread(f->fd, head, sizeof head, 0);
    return n > 0 && qvl_media_sniff(head, (size_t)n) != QVL_GUESS_OTHER && lseek(f->fd, 0, SEEK_SET) == 0;
}

/* From the first URL, which has been read, to the last. */
static bool run_hops(struct fetch *f)
{
    struct qvl_url next;
    struct qvl_error why;
    for (;; f->i_hop++) {
        long code = 0;
        if (!run_hop(f, &code))
            return false;
        if (code == 200) {
            f->reason = "no picture or clip";
            return is_picture_or_clip(f);
        }
        f->reason = "another status than 200";
        if (!is_redirect(code))
            return false;
        f->reason = "a redirect that is not allowed";
        if (f->i_hop == QVL_MAX_FETCH_REDIRECTS || qvl_url_follow(f->where, &f->url, f->location, f->n_location,
                                                                  f->fetcher->options.want_plain_http, &next, &why))
            return false;
        f->url = next;
        if (!is_host_allowed(f))
            return false;
    }
}

static void write_log(const struct fetch *f, bool is_ok)
{
    struct qvl_log *log = f->fetcher->options.log;
    struct qvl_log_line line;
    if (!log)
        return;
    qvl_log_begin(log, &line, "fetch");
    qvl_log_add_detail(&line, "host", f->url.host);
    qvl_log_add_number(&line, "redirects", (double)f->i_hop);
    qvl_log_add_number(&line, "bytes", (double)f->n_bytes);
    qvl_log_add_number(&line, "ms", qvl_now_ms() - f->start_ms);
    qvl_log_add_text(&line, "failure", is_ok ? NULL : f->reason ? f->reason : "cancelled");
    qvl_log_end(&line);
}

enum qvl_status qvl_media_fetch(struct qvl_media_fetcher *fetcher, const char *where, const char *url, size_t n,
                                double end_ms, bool (*must_end_now)(void *user), void *user, int *out_fd,
                                struct qvl_error *err)
{
    const struct qvl_media_fetch_options *o = &fetcher->options;
    double now_ms = qvl_now_ms(), max_ms = o->max_ms > 0 ? o->max_ms : QVL_MAX_FETCH_MS;
    struct fetch f = {.fetcher = fetcher,
                      .must_end = must_end_now,
                      .user = user,
                      .where = where,
                      .start_ms = now_ms,
                      .end_ms = fmin(now_ms + max_ms, end_ms),
                      .fd = -1};
    enum qvl_status status = qvl_url_read(where, url, n, o->want_plain_http, &f.url, err);
    if (status)
        return status;
    if (!is_host_allowed(&f))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: this server fetches only from hosts on its list", where);
    if ((f.fd = memfd_create("qvl-fetch", MFD_CLOEXEC)) < 0)
        return qvl_fail(err, QVL_ERR_MEMORY, "%s: no memory for what is fetched: %s", where, qvl_errno_text(errno));
    bool is_ok = run_hops(&f);
    write_log(&f, is_ok);
    if (is_ok) {
        *out_fd = f.fd;
        return QVL_OK;
    }
    close(f.fd);
    if (must_end(&f))
        return qvl_fail(err, QVL_ERR_CANCELLED,
                        "%s: it was not fetched to its end: the client left, or the server stops", where);
    if (qvl_now_ms() >= end_ms)
        return qvl_fail(err, QVL_ERR_MEDIA,
                        "%s: it was not fetched to its end: the time for all URLs of the request is over", where);
    return qvl_fail(err, QVL_ERR_MEDIA,
                    "%s: no picture or clip of at most %u MiB came from this URL within %g seconds", where,
                    QVL_MAX_FETCH_BYTES >> 20, max_ms / 1000);
}
