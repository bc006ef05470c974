/* A URL is cut into scheme, host, port and the rest, each checked against what is allowed (never against what is
 * forbidden), and written anew from these parts; libcurl gets what was written. So there is no second reading of
 * the same bytes that could see another host in them.
 *
 * Of numbers as hosts only the usual form is taken: resolvers also read 127.1, 0x7f000001 and 0177.0.0.1 as
 * addresses, so a host whose last label begins with a digit must be four decimal numbers (no top-level domain
 * begins with one).
 *
 * What a name resolves to is not asked here: the address is checked when the socket for it is made (media_fetch.c).
 */
#include "server/url_policy.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- addresses ----------------------------------------------------------------------------------- */

bool qvl_is_public_ipv4(const uint8_t address[4])
{
    static const struct {
        uint8_t prefix[4];
        uint32_t n_bit;
    } closed[] = {
        {{0, 0, 0, 0}, 8},       /* this network */
        {{10, 0, 0, 0}, 8},      /* private */
        {{100, 64, 0, 0}, 10},   /* shared by carriers */
        {{127, 0, 0, 0}, 8},     /* loopback */
        {{169, 254, 0, 0}, 16},  /* link-local; clouds' metadata */
        {{172, 16, 0, 0}, 12},   /* private */
        {{192, 0, 0, 0}, 24},    /* protocol assignments */
        {{192, 0, 2, 0}, 24},    /* documentation */
        {{192, 88, 99, 0}, 24},  /* 6to4 relays */
        {{192, 168, 0, 0}, 16},  /* private */
        {{198, 18, 0, 0}, 15},   /* benchmarks */
        {{198, 51, 100, 0}, 24}, /* documentation */
        {{203, 0, 113, 0}, 24},  /* documentation */
        {{224, 0, 0, 0}, 4},     /* multicast */
        {{240, 0, 0, 0}, 4},     /* reserved, broadcast */
    };
    uint32_t value =
        (uint32_t)address[0] << 24 | (uint32_t)address[1] << 16 | (uint32_t)address[2] << 8 | address[3];
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        const uint8_t *p = closed[i].prefix;
        uint32_t prefix = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        if ((value ^ prefix) >> (32 - closed[i].n_bit) == 0)
            return false;
    }
    return true;
}

static bool has_prefix(const uint8_t address[16], const uint8_t *prefix, uint32_t n_bit)
{
    uint32_t n_whole = n_bit / 8, n_rest = n_bit % 8;
    return memcmp(address, prefix, n_whole) == 0 &&
           (n_rest == 0 || (address[n_whole] ^ prefix[n_whole]) >> (8 - n_rest) == 0);
}

/* Of all 2^128 addresses only 2000::/3 has been given out, so ::, ::1, 100::/64, fc00::/7, fe80::/10, fec0::/10,
 * ff00::/8 and 64:ff9b:1::/48 need no line of their own. */
bool qvl_is_public_ipv6(const uint8_t address[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t global[] = {0x20}, from_6to4[] = {0x20, 0x02};
    static const struct {
        uint8_t prefix[4];
        uint32_t n_bit;
    } closed[] = {
        {{0x20, 0x01, 0x00, 0x00}, 23}, /* protocol assignments, Teredo, ORCHID */
        {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
        {{0x3f, 0xff, 0x00, 0x00}, 20}, /* documentation */
    };
    if (has_prefix(address, mapped, 96) || has_prefix(address, nat64, 96))
        return qvl_is_public_ipv4(address + 12);
    if (has_prefix(address, from_6to4, 16))
        return qvl_is_public_ipv4(address + 2);
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        if (has_prefix(address, closed[i].prefix, closed[i].n_bit))
            return false;
    return has_prefix(address, global, 3);
}

/* ---- the host ------------------------------------------------------------------------------------ */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A name of labels with at least one dot, in lower case to out; its last label to *out_last. */
static bool read_name(const char *host, size_t n, char out[QVL_URL_HOST_BYTES], const char **out_last)
{
    static const char lower[] = "abcdefghijklmnopqrstuvwxyz";
    size_t n_label = 0;
    *out_last = NULL;
    if (n == 0 || n >= QVL_URL_HOST_BYTES)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = host[i];
        if (c == '.') {
            if (n_label == 0 || host[i - 1] == '-')
                return false;
            n_label = 0;
            *out_last = out + i + 1;
        } else if ((!is_digit(c) && !is_letter(c) && c != '_' && (c != '-' || n_label == 0)) || ++n_label > 63) {
            return false;
        }
        out[i] = c;
        if (c >= 'A' && c <= 'Z')
            out[i] = lower[c - 'A'];
    }
    out[n] = 0;
    return *out_last && n_label > 0 && host[n - 1] != '-';
}

/* n bytes between scheme and port. */
static enum qvl_status read_host(const char *where, const char *host, size_t n, struct qvl_url *out,
                                 struct qvl_error *err)
{
    uint8_t address[16];
    bool is_public = true, is_host = false;
    if (n > 2 && host[0] == '[' && host[n - 1] == ']' && n - 2 < sizeof out->host) {
        memcpy(out->host, host + 1, n - 2);
        out->host[n - 2] = 0;
        out->is_address = out->is_ipv6 = true;
        is_host = strlen(out->host) == n - 2 && inet_pton(AF_INET6, out->host, address) == 1 &&
                  inet_ntop(AF_INET6, address, out->host, sizeof out->host);
        is_public = is_host && qvl_is_public_ipv6(address);
    } else {
        const char *last = NULL;
        is_host = read_name(host, n, out->host, &last);
        out->is_address = is_host && is_digit(*last);
        if (out->is_address) {
            is_host = inet_pton(AF_INET, out->host, address) == 1;
            is_public = is_host && qvl_is_public_ipv4(address);
        }
    }
    if (!is_host)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the URL has no host that can be fetched from", where);
    if (!is_public)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the address in the URL is not a public one", where);
    return QVL_OK;
}

/* ---- the whole ----------------------------------------------------------------------------------- */

static size_t find_any(const char *s, size_t n, const char *stops)
{
    size_t i = 0;
    while (i < n && !strchr(stops, s[i])) /* no NUL is left in it */
        i++;
    return i;
}

/* "HOST" or "HOST:PORT". */
static enum qvl_status read_authority(const char *where, const char *s, size_t n, struct qvl_url *out,
                                      struct qvl_error *err)
{
    size_t n_host = s[0] == '[' ? find_any(s, n, "]") + 1 : find_any(s, n, ":");
    if (memchr(s, '@', n))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: a URL with user and password is not fetched", where);
    out->port = out->is_https ? 443 : 80;
    if (n_host < n) {
        const char *port = s + n_host + 1;
        size_t n_port = n - n_host - 1;
        bool is_443 = n_port == 3 && memcmp(port, "443", 3) == 0, is_80 = n_port == 2 && memcmp(port, "80", 2) == 0;
        if (s[n_host] != ':' || (!is_443 && !is_80))
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: only the ports 443 and 80 are fetched from", where);
        out->port = is_443 ? 443 : 80;
    }
    return n_host > n ? qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the URL has no host that can be fetched from", where)
                      : read_host(where, s, n_host, out, err);
}

/* The URL from its parts, with bytes beyond ASCII as %XX; false: too long. */
static bool write_text(struct qvl_url *url, const char *rest, size_t n_rest)
{
    const char *open = url->is_ipv6 ? "[" : "", *close = url->is_ipv6 ? "]" : "";
    int n_head = snprintf(url->text, sizeof url->text, "%s://%s%s%s:%u%s", url->is_https ? "https" : "http", open,
                          url->host, close, (unsigned)url->port, n_rest > 0 && rest[0] == '/' ? "" : "/");
    size_t n = (size_t)n_head;
    for (size_t i = 0; i < n_rest; i++) {
        unsigned char c = (unsigned char)rest[i];
        if (n + 4 > sizeof url->text)
            return false;
        if (c < 0x80)
            url->text[n++] = (char)c;
        else
            n += (size_t)snprintf(url->text + n, 4, "%%%02X", c);
    }
    url->text[n] = 0;
    return true;
}

enum qvl_status qvl_url_read(const char *where, const char *url, size_t n, bool want_plain_http,
                             struct qvl_url *out, struct qvl_error *err)
{
    struct qvl_url read = {.is_https = n >= 8 && strncasecmp(url, "https://", 8) == 0};
    if (n > QVL_MAX_URL_BYTES)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: a URL of %zu bytes; at most %u are allowed", where, n,
                        QVL_MAX_URL_BYTES);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)url[i] < 0x21 || url[i] == 0x7f || url[i] == '\\')
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the URL holds a byte that no URL has", where);
    if (!read.is_https && !(want_plain_http && n >= 7 && strncasecmp(url, "http://", 7) == 0))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        want_plain_http ? "%s: only https: and http: URLs are fetched"
                                        : "%s: only https: URLs are fetched",
                        where);
    const char *s = url + (read.is_https ? 8 : 7);
    size_t n_left = n - (size_t)(s - url), n_authority = find_any(s, n_left, "/?#");
    if (n_authority == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the URL has no host that can be fetched from", where);
    enum qvl_status status = read_authority(where, s, n_authority, &read, err);
    if (status)
        return status;
    size_t n_rest = find_any(s + n_authority, n_left - n_authority, "#");
    if (!write_text(&read, s + n_authority, n_rest))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: a URL of %zu bytes; at most %u are allowed", where, n,
                        QVL_MAX_URL_BYTES);
    *out = read;
    return QVL_OK;
}

/* ---- redirects ----------------------------------------------------------------------------------- */

static bool has_scheme(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && (is_letter(s[i]) || (i > 0 && (is_digit(s[i]) || s[i] == '+' || s[i] == '-' || s[i] == '.'))))
        i++;
    return i > 0 && i < n && s[i] == ':';
}

/* How much of `base` stays before a location (RFC 3986, 5.2.2; dot segments are left to libcurl and the server). */
static size_t n_kept(const struct qvl_url *base, const char *location, size_t n)
{
    const char *text = base->text, *path = strchr(text + (base->is_https ? 8 : 7), '/');
    if (n >= 2 && location[0] == '/' && location[1] == '/')
        return base->is_https ? 6 : 5;
    if (location[0] == '/')
        return (size_t)(path - text);
    if (location[0] == '#')
        return strlen(text);
    size_t n_path = strcspn(path, "?");
    while (location[0] != '?' && path[n_path - 1] != '/')
        n_path--;
    return (size_t)(path - text) + n_path;
}

enum qvl_status qvl_url_follow(const char *where, const struct qvl_url *base, const char *location, size_t n,
                               bool want_plain_http, struct qvl_url *out, struct qvl_error *err)
{
    char whole[sizeof base->text + QVL_MAX_URL_BYTES];
    struct qvl_url next;
    if (n == 0 || n > QVL_MAX_URL_BYTES)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: a URL of %zu bytes; at most %u are allowed", where, n,
                        QVL_MAX_URL_BYTES);
    size_t n_base = has_scheme(location, n) ? 0 : n_kept(base, location, n);
    memcpy(whole, base->text, n_base);
    memcpy(whole + n_base, location, n);
    enum qvl_status status = qvl_url_read(where, whole, n_base + n, want_plain_http, &next, err);
    if (status)
        return status;
    if (base->is_https && !next.is_https)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: a redirect from https: to http: is not followed", where);
    *out = next;
    return QVL_OK;
}

/* ---- the operator's list ------------------------------------------------------------------------- */

bool qvl_url_is_host_listed(const struct qvl_url *url, const char *const *host, size_t n_host)
{
    size_t n = strlen(url->host);
    for (size_t i = 0; i < n_host; i++) {
        size_t n_entry = strlen(host[i]);
        bool is_below = n_entry > 2 && host[i][0] == '*' && host[i][1] == '.';
        if (is_below && !url->is_address && n > n_entry - 1 &&
            strcasecmp(url->host + n - (n_entry - 1), host[i] + 1) == 0)
            return true;
        if (!is_below && strcasecmp(url->host, host[i]) == 0)
            return true;
    }
    return n_host == 0;
}
