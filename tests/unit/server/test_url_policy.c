/* Which URLs and addresses a server fetches from: spellings that must be refused, those that must be read as one
 * thing and nothing else, redirects (RFC 3986, 5.4), the registries of special addresses at their edges. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/url_policy.h"
#include "url_spellings.h"

static struct qvl_error err;

/* From a copy of exactly n bytes. */
static enum qvl_status read_exactly(const char *url, size_t n, bool want_plain_http, struct qvl_url *out)
{
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, url, n);
    memset(&err, 0, sizeof err);
    enum qvl_status status = qvl_url_read("x", copy, n, want_plain_http, out, &err);
    free(copy);
    return status;
}

static void test_refused(void **state)
{
    (void)state;
    size_t n = sizeof refused_urls / sizeof *refused_urls;
    assert_in_range(n, 200, 1000);
    for (size_t i = 0; i < n; i++) {
        struct qvl_url url, before;
        memset(&url, 0xA5, sizeof url);
        before = url;
        if (read_exactly(refused_urls[i], strlen(refused_urls[i]), false, &url) != QVL_ERR_ARGUMENT)
            fail_msg("accepted: %s", refused_urls[i]);
        assert_memory_equal(err.text, "x: ", 3);
        assert_memory_equal(&url, &before, sizeof url);
    }
    struct qvl_url url;
    assert_int_equal(read_exactly("https://example.org/\0a", 22, false, &url), QVL_ERR_ARGUMENT);
    assert_int_equal(read_exactly("https://exam\0ple.org/", 21, false, &url), QVL_ERR_ARGUMENT);
}

static void test_read(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *text;
    } list[] = {
        {"https://example.org", "example.org", "https://example.org:443/"},
        {"HTTPS://EXAMPLE.Org/A.png", "example.org", "https://example.org:443/A.png"},
        {"https://example.org:443/a", "example.org", "https://example.org:443/a"},
        {"https://example.org:80/a", "example.org", "https://example.org:80/a"},
        {"https://example.org?q=1", "example.org", "https://example.org:443/?q=1"},
        {"https://example.org/a?b=c&d=%20#frag", "example.org", "https://example.org:443/a?b=c&d=%20"},
        {"https://example.org#@127.0.0.1/", "example.org", "https://example.org:443/"},
        {"https://example.org/@127.0.0.1/", "example.org", "https://example.org:443/@127.0.0.1/"},
        {"https://example.org?u=https://127.0.0.1/", "example.org",
         "https://example.org:443/?u=https://127.0.0.1/"},
        {"https://a-b.x_y.xn--fiqs8s/", "a-b.x_y.xn--fiqs8s", "https://a-b.x_y.xn--fiqs8s:443/"},
        {"https://127.0.0.1.example.org/", "127.0.0.1.example.org", "https://127.0.0.1.example.org:443/"},
        {"https://0x7f.example.org/", "0x7f.example.org", "https://0x7f.example.org:443/"},
        {"https://8.8.8.8/a.png", "8.8.8.8", "https://8.8.8.8:443/a.png"},
        {"https://[2606:4700:4700::1111]/", "2606:4700:4700::1111", "https://[2606:4700:4700::1111]:443/"},
        {"https://[2606:4700:4700:0000:0:0:0:1111]:443/", "2606:4700:4700::1111",
         "https://[2606:4700:4700::1111]:443/"},
        {"https://[::ffff:8.8.8.8]/", "::ffff:8.8.8.8", "https://[::ffff:8.8.8.8]:443/"},
        {"https://[64:ff9b::808:808]/", "64:ff9b::808:808", "https://[64:ff9b::808:808]:443/"},
        {"https://[2002:808:808::1]/", "2002:808:808::1", "https://[2002:808:808::1]:443/"},
        {"https://example.org/\xe7\x8c\xab.png", "example.org", "https://example.org:443/%E7%8C%AB.png"},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct qvl_url url;
        if (read_exactly(list[i].url, strlen(list[i].url), false, &url))
            fail_msg("%s: %s", list[i].url, err.text);
        assert_string_equal(url.host, list[i].host);
        assert_string_equal(url.text, list[i].text);
        assert_true(url.is_https);
        struct qvl_url again;
        assert_int_equal(read_exactly(url.text, strlen(url.text), false, &again), QVL_OK);
        assert_string_equal(again.text, url.text);
    }
    struct qvl_url url;
    assert_int_equal(read_exactly("http://example.org/a", 20, true, &url), QVL_OK);
    assert_string_equal(url.text, "http://example.org:80/a");
    assert_true(!url.is_https && url.port == 80);
    assert_int_equal(read_exactly("http://example.org:443/a", 24, true, &url), QVL_OK);
    assert_int_equal(url.port, 443);
    assert_int_equal(read_exactly("http://127.0.0.1/", 17, true, &url), QVL_ERR_ARGUMENT);
}

static void test_limits(void **state)
{
    (void)state;
    struct qvl_url url;
    char text[QVL_MAX_URL_BYTES + 2];
    memset(text, 'a', sizeof text);
    memcpy(text, "https://example.org/", 20);
    assert_int_equal(read_exactly(text, QVL_MAX_URL_BYTES, false, &url), QVL_OK);
    assert_int_equal(strlen(url.text), QVL_MAX_URL_BYTES + 4); /* ":443" */
    assert_int_equal(read_exactly(text, QVL_MAX_URL_BYTES + 1, false, &url), QVL_ERR_ARGUMENT);
    assert_string_equal(err.text, "x: a URL of 2049 bytes; at most 2048 are allowed");
    memset(text + 20, 0xe7, QVL_MAX_URL_BYTES - 20); /* three bytes each */
    assert_int_equal(read_exactly(text, QVL_MAX_URL_BYTES, false, &url), QVL_ERR_ARGUMENT);
    /* labels of 63, a name of 253 */
    char name[512] = "https://";
    for (size_t n_label = 63; n_label <= 64; n_label++) {
        memset(name + 8, 'a', n_label);
        strcpy(name + 8 + n_label, ".org/");
        assert_int_equal(read_exactly(name, strlen(name), false, &url), n_label == 63 ? QVL_OK : QVL_ERR_ARGUMENT);
    }
    for (size_t n_name = 253; n_name <= 254; n_name++) {
        for (size_t i = 0; i < n_name; i++)
            name[8 + i] = i % 32 == 31 && i + 1 < n_name ? '.' : 'b';
        strcpy(name + 8 + n_name, "/");
        assert_int_equal(read_exactly(name, strlen(name), false, &url), n_name == 253 ? QVL_OK : QVL_ERR_ARGUMENT);
    }
}

/* RFC 3986, 5.4.1, as far as dot segments are not asked; and what must not be followed. */
static void test_redirects(void **state)
{
    (void)state;
    static const struct {
        const char *location, *text;
    } list[] = {
        {"https://other.example/x", "https://other.example:443/x"},
        {"//other.example/x", "https://other.example:443/x"},
        {"/x", "https://a.example:443/x"},
        {"/", "https://a.example:443/"},
        {"g", "https://a.example:443/b/c/g"},
        {"g/", "https://a.example:443/b/c/g/"},
        {"./g", "https://a.example:443/b/c/./g"},
        {"?y", "https://a.example:443/b/c/d;p?y"},
        {"g?y", "https://a.example:443/b/c/g?y"},
        {"#s", "https://a.example:443/b/c/d;p?q"},
        {"g#s", "https://a.example:443/b/c/g"},
        {";x", "https://a.example:443/b/c/;x"},
        {"a/b:c", "https://a.example:443/b/c/a/b:c"},
    };
    static const char *const refused[] = {"",
                                          "http://a.example/x",
                                          "//127.0.0.1/x",
                                          "https://127.0.0.1/",
                                          "https://[::1]/",
                                          "file:///etc/passwd",
                                          "gopher://a.example/",
                                          "data:image/png;base64,AAAA",
                                          "///x",
                                          "//user@a.example/",
                                          "//a.example:22/",
                                          "\\\\127.0.0.1\\",
                                          "/\\127.0.0.1",
                                          "//a.example\\@127.0.0.1/",
                                          "https:x",
                                          "https:/x",
                                          "http:x",
                                          "a:b",
                                          "x y",
                                          "/\r\nx",
                                          "//localhost/",
                                          "//a.example%2f@127.0.0.1",
                                          "//2130706433/"};
    struct qvl_url base, url;
    assert_int_equal(qvl_url_read("x", "https://a.example/b/c/d;p?q", 27, false, &base, &err), QVL_OK);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        if (qvl_url_follow("x", &base, list[i].location, strlen(list[i].location), true, &url, &err))
            fail_msg("%s: %s", list[i].location, err.text);
        assert_string_equal(url.text, list[i].text);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (qvl_url_follow("x", &base, refused[i], strlen(refused[i]), true, &url, &err) != QVL_ERR_ARGUMENT)
            fail_msg("followed: %s to %s", refused[i], url.text);
    /* from http: to https: is fine, and with the query in the base's path */
    assert_int_equal(qvl_url_read("x", "http://a.example?q=/a/b", 23, true, &base, &err), QVL_OK);
    assert_int_equal(qvl_url_follow("x", &base, "g", 1, true, &url, &err), QVL_OK);
    assert_string_equal(url.text, "http://a.example:80/g");
    assert_int_equal(qvl_url_follow("x", &base, "//b.example", 11, true, &url, &err), QVL_OK);
    assert_string_equal(url.text, "http://b.example:80/");
    assert_int_equal(qvl_url_follow("x", &base, "https://b.example", 17, true, &url, &err), QVL_OK);
    assert_int_equal(qvl_url_follow("x", &base, "http://b.example", 16, false, &url, &err), QVL_ERR_ARGUMENT);
    /* a location at the limit behind the longest base */
    char text[QVL_MAX_URL_BYTES + 1];
    memset(text, 'a', sizeof text);
    memcpy(text, "https://example.org/", 20);
    assert_int_equal(qvl_url_read("x", text, QVL_MAX_URL_BYTES, false, &base, &err), QVL_OK);
    memset(text, '?', sizeof text);
    assert_int_equal(qvl_url_follow("x", &base, text, QVL_MAX_URL_BYTES, false, &url, &err), QVL_ERR_ARGUMENT);
    assert_int_equal(qvl_url_follow("x", &base, text, QVL_MAX_URL_BYTES + 1, false, &url, &err), QVL_ERR_ARGUMENT);
}

/* Each block: its first and last address are not public; those before and after are, where other blocks leave them.
 */
static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool is_public;
    } list[] = {
        {"0.0.0.0", false},
        {"0.255.255.255", false},
        {"1.0.0.0", true},
        {"9.255.255.255", true},
        {"10.0.0.0", false},
        {"10.255.255.255", false},
        {"11.0.0.0", true},
        {"100.63.255.255", true},
        {"100.64.0.0", false},
        {"100.127.255.255", false},
        {"100.128.0.0", true},
        {"126.255.255.255", true},
        {"127.0.0.0", false},
        {"127.255.255.255", false},
        {"128.0.0.0", true},
        {"169.253.255.255", true},
        {"169.254.0.0", false},
        {"169.254.255.255", false},
        {"169.255.0.0", true},
        {"172.15.255.255", true},
        {"172.16.0.0", false},
        {"172.31.255.255", false},
        {"172.32.0.0", true},
        {"191.255.255.255", true},
        {"192.0.0.0", false},
        {"192.0.0.255", false},
        {"192.0.1.0", true},
        {"192.0.2.0", false},
        {"192.0.2.255", false},
        {"192.0.3.0", true},
        {"192.88.98.255", true},
        {"192.88.99.0", false},
        {"192.88.99.255", false},
        {"192.88.100.0", true},
        {"192.167.255.255", true},
        {"192.168.0.0", false},
        {"192.168.255.255", false},
        {"192.169.0.0", true},
        {"198.17.255.255", true},
        {"198.18.0.0", false},
        {"198.19.255.255", false},
        {"198.20.0.0", true},
        {"198.51.99.255", true},
        {"198.51.100.0", false},
        {"198.51.100.255", false},
        {"198.51.101.0", true},
        {"203.0.112.255", true},
        {"203.0.113.0", false},
        {"203.0.113.255", false},
        {"203.0.114.0", true},
        {"223.255.255.255", true},
        {"224.0.0.0", false},
        {"239.255.255.255", false},
        {"240.0.0.0", false},
        {"255.255.255.255", false},
        {"8.8.8.8", true},
        {"::", false},
        {"::1", false},
        {"::8.8.8.8", false},
        {"::ffff:0.0.0.0", false},
        {"::ffff:127.0.0.1", false},
        {"::ffff:8.8.8.8", true},
        {"::fffe:8.8.8.8", false},
        {"64:ff9b::8.8.8.8", true},
        {"64:ff9b::10.0.0.1", false},
        {"64:ff9b:1::8.8.8.8", false},
        {"64:ff9b::1:8.8.8.8", false},
        {"100::", false},
        {"100::ffff", false},
        {"1fff:ffff::", false},
        {"2001::", false},
        {"2001:1ff:ffff::", false},
        {"2001:200::", true},
        {"2001:db7:ffff::", true},
        {"2001:db8::", false},
        {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", false},
        {"2001:db9::", true},
        {"2001:4860:4860::8888", true},
        {"2002:a00::", false},
        {"2002:7f00:1::", false},
        {"2002:c0a8:101::1", false},
        {"2002:808:808::", true},
        {"2003::", true},
        {"3ffe:ffff::", true},
        {"3fff::", false},
        {"3fff:fff:ffff::", false},
        {"3fff:1000::", true},
        {"4000::", false},
        {"fbff::", false},
        {"fc00::", false},
        {"fdff::", false},
        {"fe00::", false},
        {"fe80::", false},
        {"febf::1", false},
        {"fec0::", false},
        {"feff::", false},
        {"ff00::", false},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        uint8_t bytes[16];
        bool is_ipv6 = strchr(list[i].address, ':') != NULL;
        assert_int_equal(inet_pton(is_ipv6 ? AF_INET6 : AF_INET, list[i].address, bytes), 1);
        if ((is_ipv6 ? qvl_is_public_ipv6(bytes) : qvl_is_public_ipv4(bytes)) != list[i].is_public)
            fail_msg("%s", list[i].address);
    }
}

static void test_host_list(void **state)
{
    (void)state;
    static const char *const list[] = {"images.example.org", "*.cdn.example", "8.8.8.8"};
    static const struct {
        const char *url;
        bool is_listed;
    } urls[] = {{"https://images.example.org/a", true},
                {"https://IMAGES.example.ORG/a", true},
                {"https://example.org/", false},
                {"https://a.images.example.org/", false},
                {"https://ximages.example.org/", false},
                {"https://a.cdn.example/", true},
                {"https://a.b.cdn.example/", true},
                {"https://cdn.example/", false},
                {"https://xcdn.example/", false},
                {"https://images.example.org.evil.example/", false},
                {"https://8.8.8.8/", true},
                {"https://8.8.4.4/", false}};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct qvl_url url;
        assert_int_equal(read_exactly(urls[i].url, strlen(urls[i].url), false, &url), QVL_OK);
        if (qvl_url_is_host_listed(&url, list, 3) != urls[i].is_listed)
            fail_msg("%s", urls[i].url);
        assert_true(qvl_url_is_host_listed(&url, NULL, 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_read),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_redirects), cmocka_unit_test(test_addresses), cmocka_unit_test(test_host_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
