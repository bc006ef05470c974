/* The stream's output, for every way of cutting the input, is what Python's bytes.decode("utf-8", "replace")
 * gives for the whole (expected values are Python's). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "text/utf8_stream.h"

static struct qvl_error err;

#define R "\xEF\xBF\xBD"

static const struct {
    const char *in, *out;
} cases[] = {
    {"", ""},
    {"plain", "plain"},
    {"\xE4\xB8\xAD\xE6\x96\x87", "\xE4\xB8\xAD\xE6\x96\x87"},
    {"\xF0\x9F\x91\x8D\xC3\xA9z", "\xF0\x9F\x91\x8D\xC3\xA9z"},
    {"a\xE4\xB8", "a" R},
    {"\xF0\x9F\x91", R},
    {"\xF0", R},
    {"\x80", R},
    {"\xE4(", R "("},
    {"\xE4\xB8(", R "("},
    {"\xE4\xB8\xE6\x96\x87", R "\xE6\x96\x87"},
    {"\xF0\x80\x80\x80", R R R R},
    {"\xF0\x90\x80\xE4\xB8\xAD", R "\xE4\xB8\xAD"},
    {"\xED\xA0\x80", R R R},
    {"\xC0\xAF", R R},
    {"\xF4\x90\x80\x80", R R R R},
    {"\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF"},
    {"\xFF\xFE", R R},
    {"\xE0\x9F\xBF", R R R},
    {"\xC3\xC3\xA9", R "\xC3\xA9"},
    {"\xE4\xB8\xF0\x9F\xC3", R R R},
};

static void check(const char *in, size_t n, size_t cut, size_t cut2, const char *expected)
{
    struct qvl_utf8_stream s = {0};
    struct qvl_bytes out = {0};
    assert_int_equal(qvl_utf8_stream_push(&s, in, cut, &out, &err), QVL_OK);
    assert_true(out.n == 0 || qvl_utf8_is_valid(out.data, out.n)); /* never half a character */
    assert_int_equal(qvl_utf8_stream_push(&s, in + cut, cut2 - cut, &out, &err), QVL_OK);
    assert_true(out.n == 0 || qvl_utf8_is_valid(out.data, out.n));
    assert_int_equal(qvl_utf8_stream_push(&s, in + cut2, n - cut2, &out, &err), QVL_OK);
    assert_int_equal(qvl_utf8_stream_flush(&s, &out, &err), QVL_OK);
    assert_int_equal(s.n_held, 0);
    assert_int_equal(out.n, strlen(expected));
    if (out.n)
        assert_memory_equal(out.data, expected, out.n);
    qvl_bytes_free(&out);
}

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = strlen(cases[i].in);
        for (size_t cut = 0; cut <= n; cut++)
            for (size_t cut2 = cut; cut2 <= n; cut2++)
                check(cases[i].in, n, cut, cut2, cases[i].out);
    }
}

static void test_nul_is_a_character(void **state)
{
    (void)state;
    struct qvl_utf8_stream s = {0};
    struct qvl_bytes out = {0};
    assert_int_equal(qvl_utf8_stream_push(&s, "a\0b", 3, &out, &err), QVL_OK);
    assert_int_equal(out.n, 3);
    assert_memory_equal(out.data, "a\0b", 3);
    qvl_bytes_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_nul_is_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
