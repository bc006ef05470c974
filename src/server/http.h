/* http.h: HTTP under the API (design: http.c). Connections, their limits, who may ask; a whole request in, a reply
 * out, at once or as a stream. Knows nothing of models.
 *
 * One thread of libmicrohttpd's moves all bytes and never computes. A handler runs on it only where its route says
 * QVL_LANE_NOW; else `dispatch` hands the exchange to another thread, which may take its time and reply from there.
 */
#ifndef QVL_SERVER_HTTP_H
#define QVL_SERVER_HTTP_H

#include "base/error.h"

struct qvl_http;
struct qvl_exchange; /* one request and its reply */

enum qvl_lane {
    QVL_LANE_NOW,   /* answered on the thread that moves the bytes: must take microseconds */
    QVL_LANE_LIGHT, /* some milliseconds of work, no model */
    QVL_LANE_MODEL  /* waits for its turn at the model */
};

struct qvl_route {
    const char *method;                                 /* "GET" answers HEAD, too */
    const char *path;                                   /* exact; a last "*" stands for any rest */
    void (*answer)(void *user, struct qvl_exchange *x); /* on whatever thread dispatch chose; must reply */
    enum qvl_lane lane;
    bool is_public; /* needs no key */
    bool want_body; /* else a body is refused (413) */
};

/* A field of multipart/form-data. */
struct qvl_form_part {
    const char *name;     /* exchange lifetime, like all of it */
    const char *filename; /* or NULL */
    const uint8_t *bytes; /* [n] */
    size_t n;
};

struct qvl_http_request {
    const char *method;
    const char *path;       /* as it came, up to "?": never decoded, so one spelling is one route */
    const char *media_type; /* of the body: "application/json", lower case, without parameters; "" without body */
    const uint8_t *body;    /* [n_body] followed by a 0 */
    size_t n_body;
    const struct qvl_form_part *part; /* [n_part] of multipart/form-data: after qvl_exchange_read_form */
    size_t n_part;
    uint64_t client;     /* who asks: the same for each of the same key; without keys the same for each address.
                            0 for nobody in particular */
    uint64_t cache_salt; /* what may be shared between requests: one number a key, 0 without keys */
    const char *id;      /* of the request: X-Request-ID if it is 1 to 128 letters, digits, "-_.", else our own */
    double received_ms;  /* clock.h: when its headers were whole */
};

/* All that it points to must outlive the server. */
struct qvl_http_options {
    const char *host;
    uint32_t port;                  /* 0: any */
    const char *tls_cert, *tls_key; /* PEM text, not names; or NULL */
    const char *const *api_key;     /* [n_api_key]; none: everybody may ask */
    size_t n_api_key;
    const char *const *host_name; /* [n_host_name] that Host may say besides loopback names and `host` */
    size_t n_host_name;
    const char *const *cors_origin;
    size_t n_cors_origin;
    uint64_t max_body_bytes, max_form_bytes;
    const struct qvl_route *route; /* [n_route] */
    size_t n_route;
    /* The request is whole: call route->answer, here or from another thread (lane). May refuse, by replying. */
    void (*dispatch)(void *user, const struct qvl_route *route, struct qvl_exchange *x);
    /* Replies with an error of the API's shape, before it returns. `code` is the API's word ("not_found"), `text`
     * one sentence. On the thread that moves the bytes. */
    void (*refuse)(void *user, struct qvl_exchange *x, unsigned status, const char *code, const char *text);
    /* The exchange is over, whichever way: for the log and the metrics. On the thread that moves the bytes. */
    void (*over)(void *user, const struct qvl_exchange *x);
    void *user;
};

enum qvl_status qvl_http_open(const struct qvl_http_options *options, struct qvl_http **out, struct qvl_error *err);
uint32_t qvl_http_port(const struct qvl_http *http);
/* New connections are closed at once from here on, kept ones end with their reply, and requests that come over them
 * are refused (503): on return nothing more is dispatched. Not on the thread that moves the bytes. */
void qvl_http_stop_listening(struct qvl_http *http);
/* Clients that leave more than half of what may wait for them are given up: their streams' senders wait no longer
 * and are told that the client is gone. */
void qvl_http_give_up_stalled(struct qvl_http *http);
/* All exchanges that were dispatched must have been replied to. */
void qvl_http_close(struct qvl_http *http);

/* ---- one exchange: by the thread that it was dispatched to, unless said otherwise --------------------------- */

const struct qvl_http_request *qvl_exchange_request(const struct qvl_exchange *x);
/* Finds the parts of a body that is multipart/form-data: part and n_part of its request. They may be 200 MiB, so
 * this is not for the thread that moves the bytes. QVL_ERR_ARGUMENT and QVL_ERR_LIMIT: the client's fault. */
enum qvl_status qvl_exchange_read_form(struct qvl_exchange *x, struct qvl_error *err);
const char *qvl_exchange_header(const struct qvl_exchange *x, const char *name); /* or NULL */
const char *qvl_exchange_query(const struct qvl_exchange *x, const char *name);  /* decoded; or NULL */
void *qvl_exchange_user(const struct qvl_exchange *x);                           /* of qvl_http_options */

/* A header of the reply that is to come, in place of one of the same name; both are copied. A value with control
 * characters is not added. */
void qvl_exchange_add_header(struct qvl_exchange *x, const char *name, const char *value);
/* The whole reply; body [n] is copied. The exchange belongs to the caller no more. */
void qvl_exchange_reply(struct qvl_exchange *x, unsigned status, const char *media_type, const void *body,
                        size_t n);

/* A reply in pieces: begin, send any number of times, end. */
void qvl_exchange_begin(struct qvl_exchange *x, unsigned status, const char *media_type);
/* One piece, handed to the client in one write where the connection allows. Waits while QVL_MAX_UNSENT_BYTES lie
 * there; false: the client is gone, or took nothing for QVL_MAX_STALL_MS. */
bool qvl_exchange_send(struct qvl_exchange *x, const void *data, size_t n);
/* The exchange belongs to the caller no more. is_whole false: the connection is cut, so that the client knows. */
void qvl_exchange_end(struct qvl_exchange *x, bool is_whole);

/* Calls gone(user), once, from another thread, as soon as the client has left, also before the reply begins; at
 * once if it has left already. NULL takes it back, and so do reply and end: on return it is not running and will
 * not be called. A client that closes only its sending half counts as one that has left. */
void qvl_exchange_watch(struct qvl_exchange *x, void (*gone)(void *user), void *user);

/* For qvl_http_options.over: what the reply was. */
struct qvl_exchange_facts {
    unsigned status;      /* 0: the client left before there was one */
    uint64_t n_in, n_out; /* bytes of the bodies */
    double ms;            /* from received_ms */
    bool is_cut;          /* the reply did not get through whole */
};
void qvl_exchange_get_facts(const struct qvl_exchange *x, struct qvl_exchange_facts *out);

#endif
