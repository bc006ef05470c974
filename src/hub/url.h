/* url.h: the addresses of hubs. libcurl reads and resolves them; here is what may be one at all. */
#ifndef QVL_HUB_URL_H
#define QVL_HUB_URL_H

#include "base/bytes.h"

struct qvl_hub_origin { /* whom one talks to */
    bool is_https;
    char host[256], port[8];
};

/* False: not http or https, with a user in it, with control characters, or longer than QVL_MAX_HUB_URL_BYTES. */
bool qvl_hub_url_origin(const char *url, struct qvl_hub_origin *out);
bool qvl_hub_origin_is_same(const struct qvl_hub_origin *a, const struct qvl_hub_origin *b);
/* Where a redirect leads, to be freed; NULL: nowhere that one may go: no such URL, or http after https. */
char *qvl_hub_url_follow(const char *url, const char *location);
/* Appends what RFC 3986 lets stand for itself, and the rest as %XX; '/' stays with want_slash. */
enum qvl_status qvl_hub_url_add_escaped(struct qvl_bytes *url, const char *text, bool want_slash,
                                        struct qvl_error *err);
/* The query of a Link header's rel="next" (RFC 8288), without its '?'; false: there is none. */
bool qvl_hub_url_next_query(const char *link, char *out, size_t n_out);

#endif
