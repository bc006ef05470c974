#include "hub/url.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"

static bool is_plain(const char *url)
{
    size_t n = strnlen(url, QVL_MAX_HUB_URL_BYTES + 1);
    if (n == 0 || n > QVL_MAX_HUB_URL_BYTES)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)url[i] <= ' ' || url[i] == 0x7f)
            return false;
    return true;
}

/* One part, if it fits; false: it is not there, or too long. */
static bool get_part(CURLU *handle, CURLUPart part, unsigned flags, char *out, size_t n_out)
{
    char *text = NULL;
    bool is_there = curl_url_get(handle, part, &text, flags) == CURLUE_OK && strlen(text) < n_out;
    if (is_there)
        memcpy(out, text, strlen(text) + 1);
    curl_free(text);
    return is_there;
}

static bool read_origin(CURLU *handle, struct qvl_hub_origin *out)
{
    char scheme[8];
    struct qvl_hub_origin o = {0};
    if (!get_part(handle, CURLUPART_SCHEME, 0, scheme, sizeof scheme) ||
        !get_part(handle, CURLUPART_HOST, 0, o.host, sizeof o.host) ||
        !get_part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT, o.port, sizeof o.port))
        return false;
    char *unused = NULL;
    bool has_user = curl_url_get(handle, CURLUPART_USER, &unused, 0) == CURLUE_OK;
    curl_free(unused);
    o.is_https = strcmp(scheme, "https") == 0;
    if (has_user || !o.host[0] || (!o.is_https && strcmp(scheme, "http") != 0))
        return false;
    *out = o;
    return true;
}

bool qvl_hub_url_origin(const char *url, struct qvl_hub_origin *out)
{
    CURLU *handle = is_plain(url) ? curl_url() : NULL;
    bool is_ok = handle && curl_url_set(handle, CURLUPART_URL, url, 0) == CURLUE_OK && read_origin(handle, out);
    curl_url_cleanup(handle);
    return is_ok;
}

bool qvl_hub_origin_is_same(const struct qvl_hub_origin *a, const struct qvl_hub_origin *b)
{
    return a->is_https == b->is_https && strcasecmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0;
}

char *qvl_hub_url_follow(const char *url, const char *location)
{
    struct qvl_hub_origin from, to;
    char *text = NULL, *copy = NULL;
    CURLU *handle = qvl_hub_url_origin(url, &from) && is_plain(location) ? curl_url() : NULL;
    if (handle && curl_url_set(handle, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_set(handle, CURLUPART_URL, location, 0) == CURLUE_OK && read_origin(handle, &to) &&
        (to.is_https || !from.is_https) && curl_url_set(handle, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK &&
        curl_url_get(handle, CURLUPART_URL, &text, 0) == CURLUE_OK && is_plain(text))
        copy = strdup(text);
    curl_free(text);
    curl_url_cleanup(handle);
    return copy;
}

enum qvl_status qvl_hub_url_add_escaped(struct qvl_bytes *url, const char *text, bool want_slash,
                                        struct qvl_error *err)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool is_own = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                      c == '_' || c == '.' || c == '~' || (c == '/' && want_slash);
        char code[3] = {'%', digits[c >> 4], digits[c & 15]};
        if (is_own ? qvl_bytes_add(url, text, 1, err) : qvl_bytes_add(url, code, sizeof code, err))
            return err->status;
    }
    return QVL_OK;
}

bool qvl_hub_url_next_query(const char *link, char *out, size_t n_out)
{
    /* <https://host/path?cursor=…>; rel="next", <…>; rel="last" */
    for (const char *open = strchr(link, '<'); open; open = strchr(open + 1, '<')) {
        const char *close = strchr(open, '>');
        if (!close)
            return false;
        const char *stop = strchr(close, '<');
        const char *rel = strstr(close, "rel=\"next\"");
        const char *query = memchr(open, '?', (size_t)(close - open));
        if (!rel || (stop && rel > stop))
            continue;
        size_t n = query ? (size_t)(close - query - 1) : 0;
        if (n == 0 || n >= n_out)
            return false;
        memcpy(out, query + 1, n);
        out[n] = 0;
        return is_plain(out) && !strchr(out, '#');
    }
    return false;
}
