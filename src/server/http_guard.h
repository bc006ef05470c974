/* http_guard.h: may this request be answered? A request's head goes in, a verdict comes out; nothing is read,
 * written or remembered, so that one table of heads and verdicts tests it whole.
 *
 * What it keeps out: framing on which two programs could disagree (RFC 9112, 6.3), names that a page resolved to
 * this machine (DNS rebinding: Host), pages that let their visitor's browser ask (CSRF: Origin, Sec-Fetch-Site, the
 * media type of a form), and who has no key. */
#ifndef QVL_SERVER_HTTP_GUARD_H
#define QVL_SERVER_HTTP_GUARD_H

#include <netinet/in.h>

#include "server/http.h"

struct qvl_guard;

/* Of the options it uses host, keys, names, origins, body sizes and routes; they must outlive it. `secret` is
 * random: client follows from it and the key; cache_salt, which nobody is ever told, from the key alone, so that what is
 * kept on a disk is the same key's after a restart. */
enum qvl_status qvl_guard_open(const struct qvl_http_options *options, const uint8_t secret[32],
                               struct qvl_guard **out, struct qvl_error *err);
void qvl_guard_close(struct qvl_guard *guard);

struct qvl_http_header {
    const char *name, *value;
};

/* As it came; all strings may hold any byte but 0. */
struct qvl_http_head {
    const char *method, *target;
    bool is_http_1_0;
    size_t n_bytes;                       /* of the first line and the headers */
    const struct qvl_http_header *header; /* [n_header] */
    size_t n_header;
};

struct qvl_verdict {
    unsigned status; /* 0: to be answered; 204: a preflight that is allowed; else refused with code and text */
    const char *code;
    const char *text; /* in the language chosen; static */
    bool must_close;  /* where the next request begins is not known for sure */
    bool has_wrong_key;

    const struct qvl_route *route; /* NULL: none has this path and method */
    char allow[64];                /* methods of the path, for 405 and preflights */
    const char *origin;            /* of a page that may read the reply: cors_origin; or NULL */

    bool has_body, is_chunked;
    bool is_expecting;   /* the body waits for an answer (Expect) */
    uint64_t n_body;     /* as announced; 0 where is_chunked */
    uint64_t max_body;   /* more is refused while it comes */
    bool is_form;        /* multipart/form-data */
    char media_type[96]; /* lower case, without parameters */

    uint64_t client, cache_salt; /* of the key; 0 without keys */
};

/* is_throttled: the address had too many wrong keys just now, and hears 429 of a further one. A right key counts.
 */
void qvl_guard_judge(const struct qvl_guard *guard, const struct qvl_http_head *head, bool is_throttled,
                     struct qvl_verdict *out);

/* The value of the first header of that name, or NULL. */
const char *qvl_http_head_find(const struct qvl_http_head *head, const char *name);
/* Whether the path [n_path] is the route's. */
bool qvl_route_has_path(const struct qvl_route *route, const char *path, size_t n_path);
/* This machine's own, also as IPv6 writes those of IPv4. */
bool qvl_address_is_loopback(const struct in6_addr *address);
/* A target's path: where it begins (behind the authority of an absolute one) and its length up to "?". */
const char *qvl_http_target_path(const char *target, size_t *n_path);
/* The value of a parameter of a media type ("boundary"), unquoted, into out [n_out]. */
bool qvl_media_type_param(const char *content_type, const char *name, char *out, size_t n_out);

#endif
