/* Bytes as a URL, and, after the first newline, as a redirect from it.
 *
 * Checked: what was accepted is https: or (where wanted) http: to port 443 or 80, a host of allowed characters or a
 * public address; what was written reads as itself again; libcurl's own parser sees the same scheme, host and port
 * in it; what was refused leaves a sentence and touches nothing. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/url_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_by_curl(const struct qvl_url *url)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL, expected[300];
    CURLU *u = curl_url();
    require(u != NULL);
    require(curl_url_set(u, CURLUPART_URL, url->text, 0) == CURLUE_OK);
    require(curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK);
    require(curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK);
    require(curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_OK);
    require(curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_NO_USER);
    require(strcmp(scheme, url->is_https ? "https" : "http") == 0);
    snprintf(expected, sizeof expected, url->is_ipv6 ? "[%s]" : "%s", url->host);
    require(strcmp(host, expected) == 0 && atoi(port) == url->port);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
}

static void check(const struct qvl_url *url, bool want_plain_http)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.:";
    uint8_t address[16];
    struct qvl_url again;
    struct qvl_error err = {0};
    require((url->is_https || want_plain_http) && (url->port == 443 || url->port == 80));
    require(url->host[0] && strspn(url->host, letters) == strlen(url->host));
    if (url->is_address && url->is_ipv6)
        require(inet_pton(AF_INET6, url->host, address) == 1 && qvl_is_public_ipv6(address));
    else if (url->is_address)
        require(inet_pton(AF_INET, url->host, address) == 1 && qvl_is_public_ipv4(address));
    else
        require(inet_aton(url->host, (struct in_addr *)address) == 0); /* no resolver takes it for a number */
    for (const char *c = url->text; *c; c++)
        require((unsigned char)*c > 0x20 && (unsigned char)*c < 0x7f && *c != '\\' && *c != '#');
    size_t n = strlen(url->text);
    require(n < sizeof url->text);
    if (n <= QVL_MAX_URL_BYTES) {
        require(!qvl_url_read("x", url->text, n, want_plain_http, &again, &err));
        require(strcmp(again.text, url->text) == 0 && strcmp(again.host, url->host) == 0 &&
                again.port == url->port);
    }
    check_by_curl(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *text = (const char *)data, *newline = n > 0 ? memchr(text, '\n', n) : NULL;
    size_t n_url = newline ? (size_t)(newline - text) : n;
    for (int want_plain_http = 0; want_plain_http < 2; want_plain_http++) {
        struct qvl_error err = {0};
        struct qvl_url url, next, before;
        memset(&url, 0xA5, sizeof url);
        before = url;
        if (qvl_url_read("x", text, n_url, want_plain_http, &url, &err)) {
            require(err.status == QVL_ERR_ARGUMENT && err.text[0] && memcmp(&url, &before, sizeof url) == 0);
            continue;
        }
        check(&url, want_plain_http);
        if (!newline || qvl_url_follow("x", &url, newline + 1, n - n_url - 1, want_plain_http, &next, &err))
            continue;
        check(&next, want_plain_http);
        require(next.is_https || !url.is_https);
    }
    return 0;
}
