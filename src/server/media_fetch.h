/* media_fetch.h: pictures and clips from the network, for a server that others use: no address that is not public
 * is connected to, whatever a URL, a name server or a redirect says (design: media_fetch.c; rules: url_policy.h).
 */
#ifndef QVL_SERVER_MEDIA_FETCH_H
#define QVL_SERVER_MEDIA_FETCH_H

#include "base/error.h"

struct qvl_media_fetcher;
struct qvl_log;

/* Of tests: where a hop of a fetch really goes. Lists of lines for libcurl, each ended by NULL. */
struct qvl_media_fetch_test {
    uint16_t loopback_port;               /* on 127.0.0.1 and ::1 this one port counts as public; 0: none */
    const char *const *const *connect_to; /* [n_hop] CONNECT_TO: "HOST:PORT:TO_HOST:TO_PORT"; may be NULL */
    const char *const *const *resolve;    /* [n_hop] RESOLVE: "HOST:PORT:ADDRESS,ADDRESS"; may be NULL */
    size_t n_hop;                         /* further hops are as the last one */
    const char *ca_file;                  /* PEM, trusted instead of the system's certificates; may be NULL */
};

struct qvl_media_fetch_options {
    bool want_plain_http;    /* http: beside https: */
    const char *const *host; /* [n_host] only from these; none: from any public one. Must live on */
    size_t n_host;
    double max_ms;                           /* 0: QVL_MAX_FETCH_MS */
    struct qvl_log *log;                     /* where the reasons go that clients do not learn; may be NULL */
    const struct qvl_media_fetch_test *test; /* NULL but in tests */
};

enum qvl_status qvl_media_fetcher_open(const struct qvl_media_fetch_options *options,
                                       struct qvl_media_fetcher **out, struct qvl_error *err);
/* No fetch may be running. */
void qvl_media_fetcher_close(struct qvl_media_fetcher *fetcher);

/* n bytes at url to *out_fd, memory that is the caller's to close, read position 0. Any thread. Ends soon after
 * must_end (may be NULL), which is asked at least ten times a second, is true: QVL_ERR_CANCELLED.
 *
 * end_ms (clock.h; HUGE_VAL: none) may leave it less time than the options; what is over then fails at once.
 *
 * QVL_ERR_ARGUMENT: a URL or host that is not allowed. QVL_ERR_MEDIA: everything else, in one sentence whatever it
 * was, so that nobody learns of closed ports or other servers' replies. Sentences begin with `where`. */
enum qvl_status qvl_media_fetch(struct qvl_media_fetcher *fetcher, const char *where, const char *url, size_t n,
                                double end_ms, bool (*must_end)(void *user), void *user, int *out_fd,
                                struct qvl_error *err);

#endif
