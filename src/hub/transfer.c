/* In: questions (struct qvl_hub_call). Out: their answers, however many replies that takes.
 *
 * Each reply is a hop: one libcurl handle, one request. When it has ended, judge() says what it was: the answer, a
 * redirect, a break after which the call goes on from where it stands, or the end. Redirects are followed here and
 * not by libcurl, since three things must hold on the way: https never becomes http; the token goes to the origin
 * that was asked and to no other; an address that a hub has signed is kept (call->direct) so that the next part of
 * the same file goes there at once. Where that one is refused (they expire), the hub is asked again, which counts
 * as no failure.
 *
 * A reply is believed in nothing: the part of a 206 must be the one asked for, of the file as it was listed; a 200
 * to a request for a part is not appended to anything; what is longer is cut off, what is shorter is asked for
 * again. Tries are counted while nothing new comes: bytes beyond all earlier ones begin the count anew, so that a
 * poor line gets through and a server that breaks at the same place each time does not hold us for ever.
 *
 * HTTP/1.1 only: each call has a connection of its own, which is what several of them are for. TLS is verified
 * against the system's authorities, or those that SSL_CERT_FILE, CURL_CA_BUNDLE or REQUESTS_CA_BUNDLE name.
 * Proxies: libcurl reads the environment. Reasons (why) name hosts, never whole addresses: these may be signed.
 *
 * SIGPIPE must be ignored by the program. */
#include "hub/transfer.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/language.h"
#include "hub/url.h"

enum { SLOW_BYTES_PER_S = 64, SLOW_S = 60 }; /* slower for as long: the connection is as good as broken */

struct qvl_hub_transfers {
    CURLM *multi;
    struct qvl_hub_transfer_options options;
    const char *ca_file;
    struct qvl_hub_hop *first; /* of all calls */
};

/* What a call is doing. */
struct qvl_hub_hop {
    struct qvl_hub_call *call;
    struct qvl_hub_hop *next;
    CURL *easy; /* NULL: waiting */
    struct curl_slist *headers;
    char *url;                           /* of this hop */
    struct qvl_hub_origin origin, asked; /* of this hop; of the call */
    bool is_direct;                      /* began at call->direct */
    uint32_t n_redirect, n_failure;
    uint64_t best; /* the farthest that the file has come */
    double heard_ms;

    /* The reply at hand. */
    bool has_part;             /* a part was asked for */
    bool is_judged, is_wanted; /* its head; whether its body is */
    bool is_cut;               /* by take_header or take_body, which have said why */
    bool is_out_of_ranges;
    uint64_t part_end;           /* what it may bring at most */
    size_t n_unwanted, n_header; /* n_header: of all heads of this hop, an endless row of "100 Continue" included */
    char location[QVL_MAX_HUB_URL_BYTES + 1], content_range[96];
    bool is_encoded;
};

/* ---- opening ------------------------------------------------------------------------------------- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_state;

static void start_curl(void)
{
    global_state = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static const char *ca_file(void)
{
    static const char *const names[] = {"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0])
            return value;
    }
    return NULL;
}

enum qvl_status qvl_hub_transfers_open(const struct qvl_hub_transfer_options *options,
                                       struct qvl_hub_transfers **out, struct qvl_error *err)
{
    pthread_once(&once, start_curl);
    if (global_state != CURLE_OK)
        return qvl_fail(err, QVL_ERR_INTERNAL, "libcurl cannot be used: %s", curl_easy_strerror(global_state));
    struct qvl_hub_transfers *t = calloc(1, sizeof *t);
    if (t)
        t->multi = curl_multi_init();
    if (!t || !t->multi) {
        free(t);
        return qvl_fail_memory(err, sizeof *t, "fetching");
    }
    t->options = *options;
    t->options.connect_ms = options->connect_ms > 0 ? options->connect_ms : 10000;
    t->options.back_off_ms = options->back_off_ms > 0 ? options->back_off_ms : 1000;
    t->ca_file = ca_file();
    curl_multi_setopt(t->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    *out = t;
    return QVL_OK;
}

void qvl_hub_transfers_close(struct qvl_hub_transfers *t)
{
    if (!t)
        return;
    while (t->first)
        qvl_hub_call_end(t, t->first->call);
    curl_multi_cleanup(t->multi);
    free(t);
}

/* ---- what comes ---------------------------------------------------------------------------------- */

static void say_why(struct qvl_hub_hop *hop, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say_why(struct qvl_hub_hop *hop, const char *format, ...)
{
    char *why = hop->call->why;
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof hop->call->why, qvl_text(format), args);
    va_end(args);
}

/* The value of a header line if its name is that one; without the white space around it. */
static bool get_header(const char *line, size_t n, const char *name, char *out, size_t n_out)
{
    size_t begin = strlen(name), end = n;
    if (n <= begin || line[begin] != ':' || strncasecmp(line, name, begin) != 0)
        return false;
    begin++;
    while (begin < end && (line[begin] == ' ' || line[begin] == '\t'))
        begin++;
    while (end > begin && strchr(" \t\r\n", line[end - 1]))
        end--;
    if (end - begin >= n_out || memchr(line + begin, 0, end - begin))
        return false;
    memcpy(out, line + begin, end - begin);
    out[end - begin] = 0;
    return true;
}

static void forget_reply(struct qvl_hub_hop *hop)
{
    hop->is_judged = hop->is_wanted = hop->is_cut = hop->is_out_of_ranges = hop->is_encoded = false;
    hop->n_unwanted = 0;
    hop->location[0] = hop->content_range[0] = 0;
    hop->call->link[0] = hop->call->error_code[0] = 0;
    hop->call->code = 0;
}

static size_t take_header(char *line, size_t size, size_t n, void *user)
{
    struct qvl_hub_hop *hop = user;
    struct qvl_hub_call *call = hop->call;
    size_t n_line = size * n;
    char encoding[32];
    hop->heard_ms = qvl_now_ms();
    hop->n_header += n_line;
    if (hop->n_header > QVL_MAX_HUB_HEADER_BYTES) {
        say_why(hop, "%s sends headers without end", hop->origin.host);
        hop->is_cut = true;
        return 0;
    }
    if (n_line >= 5 && memcmp(line, "HTTP/", 5) == 0)
        forget_reply(hop); /* 100 Continue, or a proxy's own, comes before the true one */
    else if (get_header(line, n_line, "content-encoding", encoding, sizeof encoding))
        hop->is_encoded = strcasecmp(encoding, "identity") != 0;
    else if (!get_header(line, n_line, "location", hop->location, sizeof hop->location) &&
             !get_header(line, n_line, "content-range", hop->content_range, sizeof hop->content_range) &&
             !get_header(line, n_line, "link", call->link, sizeof call->link))
        get_header(line, n_line, "x-error-code", call->error_code, sizeof call->error_code);
    return n_line;
}

/* "bytes 5-9/10" or "bytes 5-9/" and a star: [*begin, *end), *total UINT64_MAX for the star. */
static bool read_content_range(const char *text, uint64_t *begin, uint64_t *end, uint64_t *total)
{
    unsigned long long first, last, size;
    int n = 0;
    *total = UINT64_MAX;
    if (sscanf(text, "bytes %19llu-%19llu/%n", &first, &last, &n) != 2 || n == 0 || last < first)
        return false;
    *begin = first;
    *end = (uint64_t)last + 1;
    if (strcmp(text + n, "*") == 0)
        return true;
    int n_size = 0;
    if (sscanf(text + n, "%19llu%n", &size, &n_size) != 1 || text[n + n_size])
        return false;
    *total = size;
    return true;
}

static bool accept_part(struct qvl_hub_hop *hop)
{
    const struct qvl_hub_call *call = hop->call;
    uint64_t begin, end, total;
    if (!hop->has_part || !read_content_range(hop->content_range, &begin, &end, &total) || begin != call->at ||
        end > call->end) {
        say_why(hop, "%s sends another part of the file than was asked for", hop->origin.host);
        return false;
    }
    if (total != UINT64_MAX && total != call->n_file) {
        say_why(hop, "%s has a file of %llu bytes, where %llu are listed", hop->origin.host,
                (unsigned long long)total, (unsigned long long)call->n_file);
        return false;
    }
    hop->part_end = end;
    return true;
}

static bool accept_whole(struct qvl_hub_hop *hop)
{
    struct qvl_hub_call *call = hop->call;
    curl_off_t n = -1;
    curl_easy_getinfo(hop->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &n);
    if (call->is_file && hop->has_part) {
        hop->is_out_of_ranges = true;
        return false;
    }
    if (call->is_file && n >= 0 && (uint64_t)n != call->n_file) {
        say_why(hop, "%s has a file of %llu bytes, where %llu are listed", hop->origin.host, (unsigned long long)n,
                (unsigned long long)call->n_file);
        return false;
    }
    if (call->is_whole)
        call->at = 0;
    call->body.n = 0;
    hop->part_end = call->end;
    return true;
}

/* Once for each reply, when its head is there: whether its body is wanted. */
static void judge_head(struct qvl_hub_hop *hop)
{
    struct qvl_hub_call *call = hop->call;
    if (hop->is_judged)
        return;
    hop->is_judged = true;
    curl_easy_getinfo(hop->easy, CURLINFO_RESPONSE_CODE, &call->code);
    if (call->code != 200 && call->code != 206)
        return;
    if (hop->is_encoded)
        say_why(hop, "%s sends the file in another encoding than was asked for", hop->origin.host);
    else if (call->code == 206 && call->is_file)
        hop->is_wanted = accept_part(hop);
    else if (call->code == 200)
        hop->is_wanted = accept_whole(hop);
    else
        say_why(hop, "%s sends a part where the whole was asked for", hop->origin.host);
}

static bool keep_file(struct qvl_hub_hop *hop, const char *data, size_t n)
{
    struct qvl_hub_call *call = hop->call;
    uint64_t left = hop->part_end - call->at;
    size_t n_take = n < left ? n : (size_t)left;
    if (n_take > 0 && call->take(call->user, call->at, data, n_take, &call->err)) {
        call->outcome = QVL_HUB_FAILED;
        return false;
    }
    call->at += n_take;
    if (n_take < n)
        say_why(hop, "%s sends more bytes than it has announced", hop->origin.host);
    return n_take == n;
}

static bool keep_in_memory(struct qvl_hub_hop *hop, const char *data, size_t n)
{
    struct qvl_hub_call *call = hop->call;
    if (n > call->max_bytes - call->body.n) {
        qvl_fail(&call->err, QVL_ERR_LIMIT, "%s sends more than %zu bytes of answer", hop->origin.host,
                 call->max_bytes);
        call->outcome = QVL_HUB_FAILED;
        return false;
    }
    if (qvl_bytes_add(&call->body, data, n, &call->err)) {
        call->outcome = QVL_HUB_FAILED;
        return false;
    }
    return true;
}

static size_t take_body(char *data, size_t size, size_t n, void *user)
{
    struct qvl_hub_hop *hop = user;
    size_t n_bytes = size * n;
    hop->heard_ms = qvl_now_ms();
    judge_head(hop);
    if (!hop->is_wanted) { /* a short one is read, so that the connection can be kept */
        hop->n_unwanted += n_bytes;
        return hop->n_unwanted <= QVL_MAX_HUB_ERROR_BYTES && !hop->is_out_of_ranges ? n_bytes : 0;
    }
    hop->is_cut = !(hop->call->is_file ? keep_file(hop, data, n_bytes) : keep_in_memory(hop, data, n_bytes));
    return hop->is_cut ? 0 : n_bytes;
}

/* ---- one hop ------------------------------------------------------------------------------------- */

static bool add_header(struct qvl_hub_hop *hop, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool add_header(struct qvl_hub_hop *hop, const char *format, ...)
{
    char *line = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&line, format, args);
    va_end(args);
    struct curl_slist *longer = n < 0 ? NULL : curl_slist_append(hop->headers, line);
    if (n >= 0)
        free(line);
    hop->headers = longer ? longer : hop->headers;
    return longer;
}

static bool set_headers(struct qvl_hub_hop *hop)
{
    const struct qvl_hub_call *call = hop->call;
    hop->has_part = call->is_file && !call->is_whole && (call->at != 0 || call->end != call->n_file);
    if (!add_header(hop, "Accept-Encoding: identity") || !add_header(hop, "Accept: */*"))
        return false;
    if (hop->has_part &&
        !add_header(hop, "Range: bytes=%llu-%llu", (unsigned long long)call->at, (unsigned long long)call->end - 1))
        return false;
    if (!call->token || !qvl_hub_origin_is_same(&hop->origin, &hop->asked))
        return true;
    return add_header(hop, "Authorization: Bearer %s", call->token) &&
           (!call->has_cookie || add_header(hop, "Cookie: m_session_id=%s", call->token));
}

/* Every option counts for safety: false where libcurl does not know one. */
static bool set_options(const struct qvl_hub_transfers *t, struct qvl_hub_hop *hop)
{
    CURL *easy = hop->easy;
    const char *agent = t->options.user_agent ? t->options.user_agent : "qvl/" QVL_VERSION;
    int bad = 0;
    bad |= curl_easy_setopt(easy, CURLOPT_URL, hop->url) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_PRIVATE, hop) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, hop->origin.is_https ? "https" : "http") != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) != CURLE_OK;
    bad |= t->ca_file && curl_easy_setopt(easy, CURLOPT_CAINFO, t->ca_file) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) != CURLE_OK; /* not until a name server answers */
    bad |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)t->options.connect_ms) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES_PER_S) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)SLOW_S) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L << 10) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_USERAGENT, agent) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, hop->headers) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, hop) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header) != CURLE_OK;
    bad |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, hop) != CURLE_OK;
    return bad == 0;
}

static void stop_hop(struct qvl_hub_transfers *t, struct qvl_hub_hop *hop)
{
    if (hop->easy) {
        curl_multi_remove_handle(t->multi, hop->easy);
        curl_easy_cleanup(hop->easy);
    }
    hop->easy = NULL;
    curl_slist_free_all(hop->headers);
    hop->headers = NULL;
}

/* To hop->url. Fails for want of memory only. */
static enum qvl_status start_hop(struct qvl_hub_transfers *t, struct qvl_hub_hop *hop, struct qvl_error *err)
{
    forget_reply(hop);
    hop->n_header = 0;
    hop->call->again_ms = 0;
    hop->heard_ms = qvl_now_ms();
    hop->easy = curl_easy_init();
    if (hop->easy && set_headers(hop) && set_options(t, hop) &&
        curl_multi_add_handle(t->multi, hop->easy) == CURLM_OK)
        return QVL_OK;
    stop_hop(t, hop);
    return qvl_fail(err, QVL_ERR_INTERNAL, "libcurl cannot be used: %s", curl_easy_strerror(CURLE_FAILED_INIT));
}

/* A hop to the call's own URL, or to where an earlier call was sent from there. */
static enum qvl_status begin(struct qvl_hub_transfers *t, struct qvl_hub_hop *hop, bool want_direct,
                             struct qvl_error *err)
{
    struct qvl_hub_call *call = hop->call;
    char **direct = call->direct;
    hop->is_direct = want_direct && direct && *direct;
    hop->n_redirect = 0;
    free(hop->url);
    hop->url = strdup(hop->is_direct ? *direct : call->url);
    if (!hop->url)
        return qvl_fail_memory(err, strlen(call->url), "fetching");
    if (!qvl_hub_url_origin(hop->url, &hop->origin) || !qvl_hub_url_origin(call->url, &hop->asked))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%.200s is no http or https address", call->url);
    return start_hop(t, hop, err);
}

/* ---- judging a reply ----------------------------------------------------------------------------- */

static void end_call(struct qvl_hub_hop *hop, enum qvl_hub_outcome outcome)
{
    hop->call->outcome = outcome;
    hop->call->again_ms = 0;
}

/* After a failure that may pass: later, or never. asked_s: what the server wants, 0 where it says nothing. */
static void try_later(struct qvl_hub_transfers *t, struct qvl_hub_hop *hop, double asked_s)
{
    struct qvl_hub_call *call = hop->call;
    uint32_t n_try = call->n_try ? call->n_try : QVL_MAX_HUB_TRIES;
    if (call->is_file && call->at > hop->best) {
        hop->best = call->at;
        hop->n_failure = 0;
    }
    hop->n_failure++;
    if (hop->n_failure >= n_try || asked_s > QVL_MAX_HUB_WAIT_S) {
        end_call(hop, QVL_HUB_UNREACHED);
        return;
    }
    double wait_ms = t->options.back_off_ms * (double)(1u << (hop->n_failure - 1));
    if (wait_ms < asked_s * 1000)
        wait_ms = asked_s * 1000;
    call->again_ms = qvl_now_ms() + wait_ms;
}

static enum qvl_status follow(struct qvl_hub_transfers *t, struct qvl_hub_hop *hop, struct qvl_error *err)
{
    struct qvl_hub_origin to;
    char *next = hop->location[0] ? qvl_hub_url_follow(hop->url, hop->location) : NULL;
    if (!next || !qvl_hub_url_origin(next, &to) || hop->n_redirect == QVL_MAX_HUB_REDIRECTS) {
        say_why(hop,
                hop->n_redirect == QVL_MAX_HUB_REDIRECTS ? QVL_SAID("%s redirects without end")
                                                         : QVL_SAID("%s redirects to where one may not go"),
                hop->origin.host);
        free(next);
        end_call(hop, QVL_HUB_UNSAFE);
        return QVL_OK;
    }
    free(hop->url);
    hop->url = next;
    hop->origin = to;
    hop->n_redirect++;
    return start_hop(t, hop, err);
}

/* The next call for this file need not ask the hub where it lies. */
static void keep_direct(struct qvl_hub_hop *hop)
{
    char **direct = hop->call->direct;
    if (!direct || *direct || qvl_hub_origin_is_same(&hop->origin, &hop->asked))
        return;
    *direct = strdup(hop->url);
}

static void forget_direct(struct qvl_hub_call *call)
{
    if (call->direct) {
        free(*call->direct);
        *call->direct = NULL;
    }
}

static bool is_redirect(long code)
{
    return code == 301 || code == 302 || code == 303 || code == 307 || code == 308;
}

static bool may_pass(long code)
{
    return code == 408 || code == 429 || code >= 500;
}

static bool is_untrusted(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_SSL_ISSUER_ERROR;
}

/* A reply of 200 or 206 that was taken as far as it came. */
static void judge_body(struct qvl_hub_transfers *t, struct qvl_hub_hop *hop, CURLcode result)
{
    struct qvl_hub_call *call = hop->call;
    if (result == CURLE_OK && (!call->is_file || call->at == call->end)) {
        keep_direct(hop);
        end_call(hop, QVL_HUB_ANSWERED);
        return;
    }
    if (call->is_file && !hop->is_cut && call->at == hop->part_end)
        result = CURLE_OK; /* a part that was shorter than asked for, which is allowed, and came whole */
    if (!hop->is_cut && result != CURLE_OK)
        say_why(hop, "%s: %s", hop->origin.host, curl_easy_strerror(result));
    else if (!hop->is_cut)
        say_why(hop, "%s ends in the middle of the file", hop->origin.host);
    try_later(t, hop, 0);
}

/* What the reply was, and what comes next. Fails for want of memory only. */
static enum qvl_status judge(struct qvl_hub_transfers *t, struct qvl_hub_hop *hop, CURLcode result,
                             struct qvl_error *err)
{
    struct qvl_hub_call *call = hop->call;
    curl_off_t asked_s = 0;
    if (call->outcome == QVL_HUB_FAILED)
        return QVL_OK;
    if (result == CURLE_OK)
        judge_head(hop);
    curl_easy_getinfo(hop->easy, CURLINFO_RETRY_AFTER, &asked_s);
    bool was_direct = hop->is_direct && !hop->is_wanted;
    bool is_known = hop->is_judged; /* the status line is there, whatever became of the body */
    stop_hop(t, hop);
    if (hop->is_wanted) {
        judge_body(t, hop, result);
        return QVL_OK;
    }
    if (was_direct && (is_known || result != CURLE_OK)) {
        forget_direct(call);
        return begin(t, hop, false, err);
    }
    if (is_known && is_redirect(call->code))
        return follow(t, hop, err);
    if (is_known && (hop->is_out_of_ranges || (call->code == 416 && hop->has_part))) {
        end_call(hop, QVL_HUB_NO_RANGES);
    } else if (is_untrusted(result)) {
        say_why(hop, "%s: %s", hop->origin.host, curl_easy_strerror(result));
        end_call(hop, QVL_HUB_UNSAFE);
    } else if (!is_known) {
        if (!hop->is_cut)
            say_why(hop, "%s: %s", hop->origin.host, curl_easy_strerror(result));
        try_later(t, hop, 0);
    } else if (call->code == 200 || call->code == 206) {
        try_later(t, hop, 0);                                 /* judge_head has said why */
    } else if (may_pass(call->code) || hop->n_redirect > 0) { /* what a hub has signed may expire on the way */
        say_why(hop, "%s answers %ld", hop->origin.host, call->code);
        try_later(t, hop, (double)asked_s);
    } else {
        say_why(hop, "%s answers %ld", hop->origin.host, call->code);
        end_call(hop, QVL_HUB_REFUSED);
    }
    return QVL_OK;
}

/* ---- calls --------------------------------------------------------------------------------------- */

enum qvl_status qvl_hub_call_start(struct qvl_hub_transfers *t, struct qvl_hub_call *call, struct qvl_error *err)
{
    struct qvl_hub_hop *hop = calloc(1, sizeof *hop);
    if (!hop)
        return qvl_fail_memory(err, sizeof *hop, "fetching");
    call->outcome = QVL_HUB_UNDER_WAY;
    call->code = 0;
    call->why[0] = 0;
    call->err = (struct qvl_error){0};
    call->stall_ms = call->stall_ms > 0 ? call->stall_ms : 10000;
    call->hop = hop;
    hop->call = call;
    hop->best = call->at;
    hop->next = t->first;
    t->first = hop;
    if (begin(t, hop, true, err))
        qvl_hub_call_end(t, call);
    return call->hop ? QVL_OK : err->status;
}

void qvl_hub_call_end(struct qvl_hub_transfers *t, struct qvl_hub_call *call)
{
    struct qvl_hub_hop *hop = call->hop;
    qvl_bytes_free(&call->body);
    call->again_ms = 0;
    if (!hop)
        return;
    stop_hop(t, hop);
    struct qvl_hub_hop **link = &t->first;
    while (*link != hop)
        link = &(*link)->next;
    *link = hop->next;
    free(hop->url);
    free(hop);
    call->hop = NULL;
}

static enum qvl_status read_messages(struct qvl_hub_transfers *t, struct qvl_error *err)
{
    const CURLMsg *message;
    int n_left;
    while ((message = curl_multi_info_read(t->multi, &n_left))) {
        struct qvl_hub_hop *hop = NULL;
        CURLcode result = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &hop);
        if (judge(t, hop, result, err))
            return err->status;
    }
    return QVL_OK;
}

/* Those that wait long enough go on, those that say nothing are cut. */
static enum qvl_status look_at_clock(struct qvl_hub_transfers *t, struct qvl_error *err)
{
    double now_ms = qvl_now_ms();
    for (struct qvl_hub_hop *hop = t->first; hop; hop = hop->next) {
        struct qvl_hub_call *call = hop->call;
        if (call->outcome != QVL_HUB_UNDER_WAY)
            continue;
        if (!hop->easy && now_ms >= call->again_ms && begin(t, hop, true, err))
            return err->status;
        if (hop->easy && now_ms - hop->heard_ms > call->stall_ms) {
            say_why(hop, "%s says nothing for %.0f s", hop->origin.host, call->stall_ms / 1000);
            stop_hop(t, hop);
            if (hop->is_direct && !hop->is_wanted)
                forget_direct(call);
            try_later(t, hop, 0);
        }
    }
    return QVL_OK;
}

static double shorten_wait(const struct qvl_hub_transfers *t, double wait_ms)
{
    double now_ms = qvl_now_ms();
    for (const struct qvl_hub_hop *hop = t->first; hop; hop = hop->next) {
        const struct qvl_hub_call *call = hop->call;
        double due_ms = hop->easy ? hop->heard_ms + call->stall_ms : call->again_ms;
        if (call->outcome == QVL_HUB_UNDER_WAY && due_ms - now_ms < wait_ms)
            wait_ms = due_ms - now_ms;
    }
    return wait_ms > 0 ? wait_ms : 0;
}

enum qvl_status qvl_hub_transfers_step(struct qvl_hub_transfers *t, double wait_ms, struct qvl_error *err)
{
    int n_running;
    wait_ms = shorten_wait(t, wait_ms);
    if (curl_multi_poll(t->multi, NULL, 0, (int)wait_ms + (wait_ms > 0), NULL) != CURLM_OK ||
        curl_multi_perform(t->multi, &n_running) != CURLM_OK)
        return qvl_fail(err, QVL_ERR_INTERNAL, "libcurl cannot be used: %s", curl_easy_strerror(CURLE_FAILED_INIT));
    if (read_messages(t, err))
        return err->status;
    return look_at_clock(t, err);
}
