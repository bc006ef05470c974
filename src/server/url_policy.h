/* url_policy.h: which URLs and addresses a server may fetch from for others. Pure functions: one reading of a URL,
 * made here, is both what is checked and what is connected to.
 *
 * Sources: RFC 3986 (of which only a strict part is taken), RFC 6890 and IANA's special-purpose address registries.
 */
#ifndef QVL_SERVER_URL_POLICY_H
#define QVL_SERVER_URL_POLICY_H

#include "base/error.h"
#include "base/limits.h"

#define QVL_URL_HOST_BYTES 254 /* 253, RFC 1035, and a 0 */

struct qvl_url {
    bool is_https;
    uint16_t port;                 /* 443 or 80 */
    char host[QVL_URL_HOST_BYTES]; /* lower case; an address as inet_ntop writes it, IPv6 without brackets */
    bool is_address, is_ipv6;
    char text[QVL_MAX_URL_BYTES + 16]; /* the whole, without fragment, written from the fields above */
};

/* Reads n bytes. QVL_ERR_ARGUMENT in a sentence that begins with `where`: anything but https: (http: where wanted)
 * on its own port or 443 and 80, to a name of letters, digits, "-", "_" and "." that ends in a letter's label, or
 * an address in its usual form that is public; user and password, "\", bytes below 0x21, above 0x7e in the host,
 * "%" in the host. */
enum qvl_status qvl_url_read(const char *where, const char *url, size_t n, bool want_plain_http,
                             struct qvl_url *out, struct qvl_error *err);
/* The URL that a redirect from `base` leads to: `location` may be relative. Never from https: to http:. */
enum qvl_status qvl_url_follow(const char *where, const struct qvl_url *base, const char *location, size_t n,
                               bool want_plain_http, struct qvl_url *out, struct qvl_error *err);

/* The host is one of the list, in any case; "*.example.org": any below it. An empty list has every host. */
bool qvl_url_is_host_listed(const struct qvl_url *url, const char *const *host, size_t n_host);

/* Whether an address belongs to the public network, 4 or 16 bytes in network order. Addresses that carry an IPv4
 * one (mapped, NAT64, 6to4) are as public as that one. */
bool qvl_is_public_ipv4(const uint8_t address[4]);
bool qvl_is_public_ipv6(const uint8_t address[16]);

#endif
