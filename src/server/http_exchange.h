/* http_exchange.h: what the files of HTTP share: the server, its connections, and one request with its reply.
 *
 * DESIGN. Three kinds of threads:
 *
 * - The mover is libmicrohttpd's one thread (http.c). It calls on_access for heads, bodies and replies, read_stream
 *   for what a stream sends next, on_completed when a request is over.
 *
 * - The watcher (http_watch.c) sees clients that leave while libmicrohttpd does not look, and cuts connections at
 *   their deadlines. It alone calls gone().
 *
 * - The others are whoever dispatch gave the exchange to (http_exchange.c).
 *
 * One lock guards all that is marked so below; it is held for moments only, never while foreign code runs, and is
 * taken before libmicrohttpd's own. An exchange has two owners, the mover (until on_completed) and whom it was
 * dispatched to (until reply or end); the last one frees it.
 *
 * A connection that waits for a reply or for the next piece of one is suspended: libmicrohttpd would poll in vain.
 * So whoever brings something resumes it, under the lock, and the mover looks again. */
#ifndef QVL_SERVER_HTTP_EXCHANGE_H
#define QVL_SERVER_HTTP_EXCHANGE_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/http_guard.h"
#include "server/multipart.h"

/* The limits that tests shrink. */
struct qvl_http_limits {
    double header_ms, body_ms, body_grace_ms, idle_ms, stall_ms;
    uint32_t n_connection, n_per_address, n_request;
    size_t n_unsent;
    uint64_t n_body_bytes; /* of all requests together */
};
void qvl_http_default_limits(struct qvl_http_limits *out);
enum qvl_status qvl_http_open_with(const struct qvl_http_options *options, const struct qvl_http_limits *limits,
                                   struct qvl_http **out, struct qvl_error *err);

enum qvl_phase {
    QVL_PHASE_FIRST,   /* just connected */
    QVL_PHASE_IDLE,    /* between two requests */
    QVL_PHASE_HEADERS, /* the first line is there */
    QVL_PHASE_BODY,
    QVL_PHASE_BUSY,  /* the request is whole, the reply has not begun */
    QVL_PHASE_REPLY, /* a whole reply is on its way */
    QVL_PHASE_STREAM,
    QVL_PHASE_CUT /* past its deadline: libmicrohttpd is to close it */
};

struct qvl_connection {
    struct qvl_http *http;
    int fd; /* libmicrohttpd's; open while the connection is in its slot */
    uint32_t i_slot, generation;
    struct in6_addr address; /* IPv4 as a mapped one */
    bool is_local;
    uint32_t n_request;
    bool must_linger; /* more may come that is not read: see qvl_http_watch_linger */
    /* under the lock */
    enum qvl_phase phase;
    double since_ms, due_ms; /* of the phase; HUGE_VAL: none */
    int n_unacknowledged;    /* bytes of a stream in the system's buffer, when the deadline was looked at last */
    bool is_late;            /* cut before its request was whole */
    bool is_watched;
    bool is_hung_up;        /* the client has closed it, or its sending half */
    struct qvl_exchange *x; /* or NULL */
};

struct qvl_piece { /* of a stream, to be sent */
    struct qvl_piece *next;
    size_t n, n_sent;
    char data[];
};

struct qvl_query {
    const char *name, *value;
};

struct qvl_exchange {
    struct qvl_http *http;
    struct MHD_Connection *mhd;
    struct qvl_connection *connection;
    struct in6_addr address;
    /* written by the mover before dispatch */
    struct qvl_http_request request;
    struct qvl_verdict verdict;
    struct qvl_http_head head;
    char *target, *text; /* the strings of head and query */
    struct qvl_http_header *header;
    struct qvl_query *query;
    size_t n_query;
    uint8_t *body;
    size_t n_body_alloc;
    struct qvl_multipart *form; /* or NULL; by whom it was dispatched to */
    char id[129];
    bool is_begun, is_whole, is_discarding, is_last; /* is_last: the connection ends with this reply */
    /* the reply, by its owner */
    struct qvl_added { /* headers */
        struct qvl_added *next;
        const char *value;
        char name[];
    } * added;
    struct MHD_Response *response;
    unsigned status;
    size_t n_reply;
    /* under the lock */
    uint32_t n_owner;
    bool is_suspended, is_replied, is_stream, is_ended, is_ended_whole;
    bool is_gone;       /* the client has left, or was cut */
    bool is_gone_first; /* before there was a reply */
    bool is_over;       /* libmicrohttpd has done with it */
    bool is_cut;
    struct qvl_piece *first_piece, **last_piece;
    size_t n_unsent;
    uint64_t n_out;
    pthread_cond_t changed;
    void (*gone)(void *user);
    void *gone_user;
    bool is_calling_gone;
    struct qvl_exchange *next_to_call; /* http->to_call */
    bool is_to_call;
};

#define QVL_HTTP_SLOTS (QVL_MAX_HTTP_CONNECTIONS + 64u) /* those above the limit are just being closed */

struct qvl_http_failures { /* wrong keys of one address; two that share a place are one */
    double since_ms;
    uint32_t n;
};

struct qvl_http {
    struct qvl_http_options options;
    struct qvl_http_limits limits;
    uint8_t secret[32];
    struct qvl_guard *guard;
    struct MHD_Daemon *daemon;
    int listen_fd;
    uint32_t port;
    struct qvl_http_failures failures[256]; /* the mover's */
    atomic_bool is_draining;
    atomic_uint_least64_t n_body_bytes;

    pthread_mutex_t lock;
    /* under it */
    bool is_closing;
    bool is_dispatching;    /* the mover, just now */
    size_t n_exchange;      /* not over */
    pthread_cond_t changed; /* the two before */
    struct qvl_connection *slot[QVL_HTTP_SLOTS];
    uint32_t n_connection, n_generation;

    struct {
        pthread_t thread;
        int epoll_fd, event_fd;
        /* under the lock */
        bool must_stop;
        double wake_ms; /* it looks again no later */
        struct qvl_exchange *to_call;
        struct {
            int fd;
            double due_ms;
            uint64_t n_bytes;
        } linger[QVL_MAX_HTTP_LINGER];
    } watch;
};

/* How many bytes of an address say who asks: of IPv6 a network of 64 bits, which one customer has whole. */
size_t qvl_address_bytes(const struct in6_addr *address);
/* What read_stream in http.c is to libmicrohttpd: the next bytes of the exchange `cls`. */
ssize_t qvl_exchange_read_stream(void *cls, uint64_t at, char *out, size_t n_out);
/* One owner less; with the last one it is freed. Not under the lock. */
void qvl_exchange_release(struct qvl_exchange *x);
/* The rest under the lock. */
void qvl_exchange_suspend(struct qvl_exchange *x);
void qvl_exchange_mark_gone(struct qvl_exchange *x);
void qvl_connection_enter(struct qvl_connection *c, enum qvl_phase phase, double due_ms);

#endif
