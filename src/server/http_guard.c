/* The checks stand in the order in which they refuse: framing, Host, the route, the page that asks, the key, and
 * last what only who may ask needs to hear (404, 405, 413, 415, 417). Each is a function that fills the verdict's
 * status and says whether to go on.
 *
 * Decisions that RFC 9110 and 9112 leave open:
 * - Transfer-Encoding together with Content-Length, in HTTP/1.0, or other than "chunked" is refused (400), as are
 * two Content-Length or two Host, also equal ones.
 * - Host may carry any port: the port is no name that could be rebound, and behind a tunnel or a container's port
 * mapping it is another one. On a wildcard address any IP literal is this machine's: a literal cannot be rebound
 * either.
 * - An absolute target (RFC 9112, 3.2.2) is answered when its authority and Host both pass.
 * - Paths are compared byte by byte as they came. "%76" is not "v": one spelling is one route. */
#include "server/http_guard.h"

#include <arpa/inet.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/language.h"
#include "base/limits.h"

struct key {
    uint8_t digest[SHA256_DIGEST_SIZE];
    uint64_t client, cache_salt;
};

struct qvl_guard {
    const struct qvl_http_options *options;
    bool is_wildcard; /* listens on all addresses */
    size_t n_key;
    struct key key[];
};

static bool refuse(struct qvl_verdict *v, unsigned status, const char *code, const char *text)
{
    v->status = status;
    v->code = code;
    v->text = text;
    return false;
}

/* ---- text ------------------------------------------------------------------------------------------------- */

static bool is_token_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *s)
{
    size_t n = 0;
    while (is_token_byte(s[n]))
        n++;
    return n > 0 && s[n] == '\0';
}

static char to_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static const char *skip_space(const char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    return s;
}

const char *qvl_http_head_find(const struct qvl_http_head *head, const char *name)
{
    for (size_t i = 0; i < head->n_header; i++)
        if (strcasecmp(head->header[i].name, name) == 0)
            return head->header[i].value;
    return NULL;
}

static size_t count(const struct qvl_http_head *head, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < head->n_header; i++)
        n += strcasecmp(head->header[i].name, name) == 0;
    return n;
}

/* The length of "http://" or "https://" at the start of s, or 0. */
static size_t scheme_length(const char *s)
{
    return strncasecmp(s, "http://", 7) == 0 ? 7 : strncasecmp(s, "https://", 8) == 0 ? 8 : 0;
}

const char *qvl_http_target_path(const char *target, size_t *n_path)
{
    size_t n_scheme = scheme_length(target);
    const char *path = target + n_scheme;
    if (n_scheme)
        path += strcspn(path, "/?");
    *n_path = strcspn(path, "?");
    return path;
}

bool qvl_media_type_param(const char *content_type, const char *name, char *out, size_t n_out)
{
    size_t n_name = strlen(name);
    for (const char *s = strchr(content_type, ';'); s; s = strchr(s, ';')) {
        s = skip_space(s + 1);
        bool is_it = strncasecmp(s, name, n_name) == 0 && s[n_name] == '=';
        while (is_token_byte(*s))
            s++;
        if (*s != '=')
            continue;
        bool is_quoted = *++s == '"';
        size_t n = 0;
        for (s += is_quoted; *s && (is_quoted ? *s != '"' : is_token_byte(*s) || strchr("()/:=?,@", *s)); s++) {
            if (is_quoted && *s == '\\' && s[1])
                s++;
            if (is_it && n + 1 < n_out)
                out[n] = *s;
            n++;
        }
        if (is_quoted && *s != '"')
            return false;
        if (!is_it)
            continue;
        if (n == 0 || n + 1 > n_out)
            return false;
        out[n] = '\0';
        return true;
    }
    return false;
}

/* ---- framing ---------------------------------------------------------------------------------------------- */

static bool read_length(const char *s, uint64_t *out)
{
    uint64_t n = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || __builtin_mul_overflow(n, (uint64_t)10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
            return false;
    }
    *out = n;
    return true;
}

static bool check_framing(const struct qvl_http_head *head, struct qvl_verdict *v)
{
    v->must_close = true;
    if (head->n_bytes > QVL_MAX_HTTP_HEADER_BYTES || head->n_header > QVL_MAX_HTTP_HEADERS)
        return refuse(v, 431, "headers_too_large", qvl_text("the request has too many headers, or too long ones"));
    for (size_t i = 0; i < head->n_header; i++)
        if (!is_token(head->header[i].name))
            return refuse(v, 400, "bad_request", qvl_text("a header has a name that HTTP does not allow"));
    const char *length = qvl_http_head_find(head, "Content-Length");
    const char *encoding = qvl_http_head_find(head, "Transfer-Encoding");
    if (count(head, "Content-Length") > 1 || (length && !read_length(length, &v->n_body)))
        return refuse(v, 400, "bad_request", qvl_text("Content-Length is not one number"));
    if (encoding && (length || head->is_http_1_0 || count(head, "Transfer-Encoding") > 1 ||
                     strcasecmp(encoding, "chunked") != 0))
        return refuse(
            v, 400, "bad_request",
            qvl_text("Transfer-Encoding is not the one word \"chunked\", or stands beside Content-Length"));
    v->is_chunked = encoding != NULL;
    v->has_body = v->is_chunked || v->n_body > 0;
    /* RFC 9110, 10.1.1: HTTP/1.0 has no such expectation */
    v->is_expecting = !head->is_http_1_0 && qvl_http_head_find(head, "Expect");
    v->must_close = false;
    return true;
}

/* ---- Host ------------------------------------------------------------------------------------------------- */

/* Splits "name", "name:port", "[v6]:port"; *n is the name's length, brackets included. */
static bool split_host(const char *host, size_t *n)
{
    if (host[0] == '[') {
        const char *end = strchr(host, ']');
        char address[INET6_ADDRSTRLEN];
        struct in6_addr ignored;
        if (!end || (size_t)(end - host) > sizeof address)
            return false;
        *n = (size_t)(end - host) + 1;
        memcpy(address, host + 1, *n - 2);
        address[*n - 2] = '\0';
        if (inet_pton(AF_INET6, address, &ignored) != 1)
            return false;
    } else {
        *n = 0;
        while ((to_lower(host[*n]) >= 'a' && to_lower(host[*n]) <= 'z') || (host[*n] >= '0' && host[*n] <= '9') ||
               (host[*n] && strchr("-._", host[*n])))
            ++*n;
        if (*n == 0 || *n > 255)
            return false;
    }
    const char *port = host + *n;
    if (*port == '\0')
        return true;
    uint64_t number;
    return *port == ':' && read_length(port + 1, &number) && number >= 1 && number <= 65535;
}

/* The address that name [n] (of split_host) writes, IPv4 as a mapped one; false for a name. */
static bool read_address(const char *name, size_t n, struct in6_addr *out)
{
    char text[INET6_ADDRSTRLEN + 2];
    struct in_addr v4;
    if (n >= sizeof text)
        return false;
    bool has_brackets = n >= 2 && name[0] == '[' && name[n - 1] == ']';
    snprintf(text, sizeof text, "%.*s", (int)(has_brackets ? n - 2 : n), name + has_brackets);
    if (inet_pton(AF_INET6, text, out) == 1)
        return true;
    if (has_brackets || inet_pton(AF_INET, text, &v4) != 1)
        return false;
    memset(out, 0, sizeof *out);
    out->s6_addr[10] = out->s6_addr[11] = 0xff;
    memcpy(out->s6_addr + 12, &v4, 4);
    return true;
}

bool qvl_address_is_loopback(const struct in6_addr *a)
{
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

static bool is_any(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static bool is_known_host(const struct qvl_guard *guard, const char *host, size_t n_name)
{
    const struct qvl_http_options *o = guard->options;
    struct in6_addr address, own;
    if (read_address(host, n_name, &address)) {
        if (qvl_address_is_loopback(&address) || guard->is_wildcard ||
            (read_address(o->host, strlen(o->host), &own) && memcmp(&address, &own, sizeof own) == 0))
            return true;
    } else if ((n_name == 9 && strncasecmp(host, "localhost", 9) == 0) ||
               (strlen(o->host) == n_name && strncasecmp(host, o->host, n_name) == 0)) {
        return true;
    }
    for (size_t i = 0; i < o->n_host_name; i++) {
        const char *known = o->host_name[i];
        size_t n_known;
        if (strcasecmp(known, host) == 0)
            return true;
        if (split_host(known, &n_known) && known[n_known] == '\0' && n_known == n_name &&
            strncasecmp(known, host, n_name) == 0)
            return true;
    }
    return false;
}

static bool check_one_host(const struct qvl_guard *guard, const char *host, struct qvl_verdict *v)
{
    size_t n_name = 0;
    if (host[0] && !split_host(host, &n_name)) {
        v->must_close = true;
        return refuse(v, 400, "bad_request", qvl_text("Host is not a name or address with an optional port"));
    }
    if (!host[0] || !is_known_host(guard, host, n_name))
        return refuse(v, 421, "host_not_allowed",
                      qvl_text("this server does not answer under the name in Host (--allowed-hosts adds names)"));
    return true;
}

static bool check_host(const struct qvl_guard *guard, const struct qvl_http_head *head, struct qvl_verdict *v)
{
    const char *host = qvl_http_head_find(head, "Host");
    size_t n_scheme = scheme_length(head->target);
    if (count(head, "Host") > 1 || (!host && !head->is_http_1_0)) {
        v->must_close = true;
        return refuse(v, 400, "bad_request", qvl_text("the request has no Host, or more than one"));
    }
    if (n_scheme) {
        char authority[QVL_MAX_URL_BYTES];
        size_t n = strcspn(head->target + n_scheme, "/?");
        if (n == 0 || n >= sizeof authority)
            return refuse(v, 400, "bad_request", qvl_text("Host is not a name or address with an optional port"));
        memcpy(authority, head->target + n_scheme, n);
        authority[n] = '\0';
        if (!check_one_host(guard, authority, v))
            return false;
    }
    return !host || check_one_host(guard, host, v);
}

/* ---- route ------------------------------------------------------------------------------------------------ */

bool qvl_route_has_path(const struct qvl_route *route, const char *path, size_t n_path)
{
    size_t n = strlen(route->path);
    if (n > 0 && route->path[n - 1] == '*')
        return n_path >= n - 1 && memcmp(route->path, path, n - 1) == 0;
    return n == n_path && memcmp(route->path, path, n) == 0;
}

static bool is_method_of(const struct qvl_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 || (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void add_allowed(struct qvl_verdict *v, const char *method)
{
    size_t n = strlen(v->allow);
    if (!strstr(v->allow, method))
        snprintf(v->allow + n, sizeof v->allow - n, "%s%s", n ? ", " : "", method);
}

/* Fills route and allow; returns whether the path, and nothing else, may be had without a key. */
static bool find_route(const struct qvl_guard *guard, const struct qvl_http_head *head, struct qvl_verdict *v)
{
    size_t n_path;
    const char *path = qvl_http_target_path(head->target, &n_path);
    bool is_public = true;
    for (int is_star = 0; is_star < 2 && !v->allow[0]; is_star++) { /* an exact path hides those with a star */
        for (size_t i = 0; i < guard->options->n_route; i++) {
            const struct qvl_route *route = &guard->options->route[i];
            if ((strchr(route->path, '*') != NULL) != is_star || !qvl_route_has_path(route, path, n_path))
                continue;
            if (is_method_of(route, head->method))
                v->route = route;
            is_public = is_public && route->is_public;
            add_allowed(v, route->method);
            if (strcmp(route->method, "GET") == 0)
                add_allowed(v, "HEAD");
        }
    }
    return v->route ? v->route->is_public : v->allow[0] && is_public;
}

/* ---- who asks --------------------------------------------------------------------------------------------- */

static bool is_listed_origin(const struct qvl_guard *guard, const char *origin)
{
    for (size_t i = 0; i < guard->options->n_cors_origin; i++)
        if (strcmp(guard->options->cors_origin[i], origin) == 0)
            return true;
    return false;
}

/* The scheme is left out: a proxy that ends TLS shows us http and the browser https. */
static bool is_same_origin(const char *origin, const char *host)
{
    size_t n = scheme_length(origin);
    return n > 0 && host && strcasecmp(origin + n, host) == 0;
}

static bool check_page(const struct qvl_guard *guard, const struct qvl_http_head *head, struct qvl_verdict *v)
{
    const char *origin = qvl_http_head_find(head, "Origin"), *site = qvl_http_head_find(head, "Sec-Fetch-Site");
    bool is_reading = strcmp(head->method, "GET") == 0 || strcmp(head->method, "HEAD") == 0;
    bool is_one = count(head, "Origin") == 1;
    if (is_one && is_listed_origin(guard, origin))
        v->origin = origin;
    if (is_reading || v->origin)
        return true;
    if (origin ? !is_one || !is_same_origin(origin, qvl_http_head_find(head, "Host"))
               : site && strcasecmp(site, "cross-site") == 0)
        return refuse(v, 403, "origin_not_allowed",
                      qvl_text("pages of this origin may not ask this server (--cors-origins allows them)"));
    return true;
}

static bool is_preflight(const struct qvl_http_head *head, const struct qvl_verdict *v)
{
    return v->origin && strcmp(head->method, "OPTIONS") == 0 &&
           qvl_http_head_find(head, "Access-Control-Request-Method") != NULL;
}

/* The digest is compared with all keys whatever comes of it: the time tells nothing about any. */
static const struct key *find_key(const struct qvl_guard *guard, const char *key)
{
    struct sha256_ctx sha;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&sha);
    sha256_update(&sha, strlen(key), (const uint8_t *)key);
    sha256_digest(&sha, sizeof digest, digest);
    size_t found = 0; /* 1 + index */
    for (size_t i = 0; i < guard->n_key; i++) {
        size_t is_it = (size_t)memeql_sec(digest, guard->key[i].digest, sizeof digest);
        found |= (0 - is_it) & (i + 1);
    }
    return found ? &guard->key[(found - 1) < guard->n_key ? found - 1 : 0] : NULL;
}

/* The key that a header carries, or NULL where it is none that carries keys. */
static const char *key_in(const struct qvl_http_header *h)
{
    if (strcasecmp(h->name, "x-api-key") == 0 || strcasecmp(h->name, "api-key") == 0)
        return h->value;
    if (strcasecmp(h->name, "Authorization") != 0)
        return NULL;
    return strncasecmp(h->value, "Bearer ", 7) == 0 ? skip_space(h->value + 7) : "";
}

/* Where several headers carry keys, all must be right. Throttling is for wrong ones only: behind a proxy or a
 * tunnel all clients have one address, and one of them must not shut out the others. */
static bool check_key(const struct qvl_guard *guard, const struct qvl_http_head *head, bool is_throttled,
                      struct qvl_verdict *v)
{
    const struct key *found = NULL;
    bool has_key = false;
    if (guard->n_key == 0)
        return true;
    for (size_t i = 0; i < head->n_header; i++) {
        const char *key = key_in(&head->header[i]);
        if (!key)
            continue;
        has_key = true;
        found = find_key(guard, key);
        if (!found)
            break;
    }
    if (!found) {
        v->has_wrong_key = has_key;
        if (has_key && is_throttled)
            return refuse(v, 429, "too_many_wrong_keys", qvl_text("too many wrong API keys from this address"));
        return refuse(v, 401, "invalid_api_key",
                      has_key ? qvl_text("the API key is wrong")
                              : qvl_text("an API key is needed: Authorization: Bearer KEY"));
    }
    v->client = found->client;
    v->cache_salt = found->cache_salt;
    return true;
}

/* ---- what is asked ---------------------------------------------------------------------------------------- */

/* Those that some path might take. TRACE and CONNECT none ever does. */
static bool is_known_method(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(method, known[i]) == 0)
            return true;
    return false;
}

static bool check_route(const struct qvl_http_head *head, struct qvl_verdict *v)
{
    if (!is_known_method(head->method))
        return refuse(v, 501, "unknown_method", qvl_text("this server does not know the method"));
    if (v->allow[0] == '\0')
        return refuse(v, 404, "not_found", qvl_text("there is nothing under this path"));
    if (!v->route)
        return refuse(v, 405, "method_not_allowed", qvl_text("the path does not take this method"));
    return true;
}

static void read_media_type(const struct qvl_http_head *head, struct qvl_verdict *v)
{
    const char *type = qvl_http_head_find(head, "Content-Type");
    size_t n = type ? strcspn(type, "; \t") : 0;
    if (n >= sizeof v->media_type)
        n = 0;
    for (size_t i = 0; i < n; i++)
        v->media_type[i] = to_lower(type[i]);
    v->media_type[n] = '\0';
    v->is_form = strcmp(v->media_type, "multipart/form-data") == 0;
}

static bool check_body(const struct qvl_guard *guard, const struct qvl_http_head *head, struct qvl_verdict *v)
{
    const char *encoding = qvl_http_head_find(head, "Content-Encoding");
    if (!v->route->want_body) {
        if (v->has_body)
            return refuse(v, 413, "body_not_wanted", qvl_text("this request takes no body"));
        return true;
    }
    if (encoding && strcasecmp(encoding, "identity") != 0)
        return refuse(v, 415, "unsupported_content_encoding", qvl_text("the body must not be compressed"));
    read_media_type(head, v);
    if ((!v->is_form && strcmp(v->media_type, "application/json") != 0) || count(head, "Content-Type") > 1)
        return refuse(v, 415, "unsupported_media_type",
                      qvl_text("the body must be JSON under the header Content-Type: application/json, or "
                               "multipart/form-data"));
    v->max_body = v->is_form ? guard->options->max_form_bytes : guard->options->max_body_bytes;
    if (v->n_body > v->max_body)
        return refuse(v, 413, "request_too_large", qvl_text("the body is larger than this server allows"));
    return true;
}

static bool check_expect(const struct qvl_http_head *head, struct qvl_verdict *v)
{
    if (v->is_expecting &&
        (count(head, "Expect") > 1 || strcasecmp(qvl_http_head_find(head, "Expect"), "100-continue") != 0))
        return refuse(v, 417, "unknown_expectation", qvl_text("Expect may ask for 100-continue only"));
    return true;
}

void qvl_guard_judge(const struct qvl_guard *guard, const struct qvl_http_head *head, bool is_throttled,
                     struct qvl_verdict *out)
{
    memset(out, 0, sizeof *out);
    if (!check_framing(head, out) || !check_host(guard, head, out))
        return;
    bool is_public = find_route(guard, head, out);
    if (!check_page(guard, head, out))
        return;
    if (is_preflight(head, out)) {
        out->status = 204;
        return;
    }
    if (!check_expect(head, out) || (!is_public && !check_key(guard, head, is_throttled, out)) ||
        !check_route(head, out) || !check_body(guard, head, out))
        return;
}

/* ---- open ------------------------------------------------------------------------------------------------- */

/* 64 bits of SHA-256(secret, purpose, key); never 0, which means nobody. secret: zeros where there is none. */
static uint64_t derive(const uint8_t secret[32], const char *purpose, const uint8_t digest[SHA256_DIGEST_SIZE])
{
    struct sha256_ctx sha;
    uint64_t value;
    sha256_init(&sha);
    sha256_update(&sha, 32, secret);
    sha256_update(&sha, strlen(purpose) + 1, (const uint8_t *)purpose);
    sha256_update(&sha, SHA256_DIGEST_SIZE, digest);
    sha256_digest(&sha, sizeof value, (uint8_t *)&value);
    return value ? value : 1;
}

enum qvl_status qvl_guard_open(const struct qvl_http_options *options, const uint8_t secret[32],
                               struct qvl_guard **out, struct qvl_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < options->n_api_key; i++)
        if (options->api_key[i][0] == '\0')
            return qvl_fail(err, QVL_ERR_ARGUMENT, "an API key is empty");
    size_t n_bytes = sizeof(struct qvl_guard) + options->n_api_key * sizeof(struct key);
    static const uint8_t none[32];
    struct qvl_guard *guard = calloc(1, n_bytes);
    if (!guard)
        return qvl_fail_memory(err, n_bytes, "the server");
    guard->options = options;
    guard->is_wildcard = is_any(options->host);
    guard->n_key = options->n_api_key;
    for (size_t i = 0; i < guard->n_key; i++) {
        struct sha256_ctx sha;
        struct key *key = &guard->key[i];
        sha256_init(&sha);
        sha256_update(&sha, strlen(options->api_key[i]), (const uint8_t *)options->api_key[i]);
        sha256_digest(&sha, sizeof key->digest, key->digest);
        key->client = derive(secret, "client", key->digest);
        key->cache_salt = derive(none, "cache", key->digest);
    }
    *out = guard;
    return QVL_OK;
}

void qvl_guard_close(struct qvl_guard *guard)
{
    free(guard);
}
