/* JSON a byte at a time. What is JSON: RFC 8259's grammar, and the project's other reader of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_reader.h"
#include "base/json_scan.h"

static bool reader_accepts(const char *text, size_t n)
{
    struct qvl_json_reader json = {.text = text, .n = n, .name = "x", .status = QVL_ERR_ARGUMENT};
    struct qvl_error err;
    bool is = !qvl_json_reader_next(&json, &err) && !qvl_json_reader_skip(&json, &err) &&
              !qvl_json_reader_next(&json, &err);
    qvl_json_reader_free(&json);
    return is;
}

static enum qvl_json_place scan(const char *text, size_t n)
{
    struct qvl_json_scan s = {0};
    for (size_t i = 0; i < n; i++)
        if (!qvl_json_scan_take(&s, text[i]))
            assert_int_equal(s.place, QVL_JSON_BROKEN);
    return s.place;
}

static const char *const good[] = {
    "{}",
    " [ ] ",
    "[1]",
    "[-0, 0.5, 1e5, 1E+05, -12.25e-3, 0e0]",
    "{\"a\": {\"b\": [true, false, null]}, \"\": \"\"}",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\"]",
    "[\"\x7F\xC3\xA9\xE2\x82\xAC\xED\x9F\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"]",
    "{\"a\":1,\"a\":2}\n\t\r ",
    "[[[[]]], {}]",
};

static const char *const bad[] = {
    "{]",
    "[}",
    "[1,]",
    "{\"a\":1,}",
    "[,1]",
    "{,}",
    "{a:1}",
    "{\"a\"}",
    "{\"a\" 1}",
    "{\"a\":}",
    "{1:1}",
    "[1 2]",
    "[01]",
    "[-]",
    "[+1]",
    "[.5]",
    "[1.]",
    "[1e]",
    "[1e+]",
    "[--1]",
    "[1.5.5]",
    "[0x1]",
    "[tru]",
    "[truee]",
    "[nul]",
    "[True]",
    "[\"\n\"]",
    "[\"\t\"]",
    "[\"\\x\"]",
    "[\"\\u12\"]",
    "[\"\\u12g4\"]",
    "[\"\\uD83D\"]",
    "[\"\\uDE00\"]",
    "[\"\\uD83D\\n\"]",
    "[\"\\uD83Dx\"]",
    "[\"\\uD83D\\uD83D\"]",
    "[\"\x80\"]",
    "[\"\xC3\"]",
    "[\"\xC0\x80\"]",
    "[\"\xE0\x80\x80\"]",
    "[\"\xED\xA0\x80\"]",
    "[\"\xF0\x80\x80\x80\"]",
    "[\"\xF4\x90\x80\x80\"]",
    "[\"\xF5\x80\x80\x80\"]",
    "[\"\xE2\x82\"]",
    "{} {}",
    "[]]",
    "{}x",
    "[1]\x0b",
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t n = strlen(good[i]);
        if (scan(good[i], n) != QVL_JSON_AT_END || !reader_accepts(good[i], n))
            fail_msg("%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (scan(bad[i], strlen(bad[i])) != QVL_JSON_BROKEN)
            fail_msg("%s", bad[i]);
}

/* Any byte in any place of what is good: both readers agree. */
static void test_changed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t n = strlen(good[i]);
        for (size_t at = 0; at < n; at++) {
            char text[128];
            for (int byte = 0; byte < 256; byte++) {
                memcpy(text, good[i], n);
                text[at] = (char)byte;
                if ((scan(text, n) == QVL_JSON_AT_END) != (reader_accepts(text, n) && strchr(" [{\n\t\r", text[0])))
                    fail_msg("%s: byte %zu changed to %d", good[i], at, byte);
            }
            if ((scan(good[i], at) == QVL_JSON_AT_END) != (at > 0 && reader_accepts(good[i], at)))
                fail_msg("%s: the first %zu bytes", good[i], at);
        }
    }
}

static void test_depth(void **state)
{
    (void)state;
    char text[2 * QVL_MAX_JSON_DEPTH + 2];
    memset(text, '[', QVL_MAX_JSON_DEPTH);
    memset(text + QVL_MAX_JSON_DEPTH, ']', QVL_MAX_JSON_DEPTH);
    assert_int_equal(scan(text, 2 * QVL_MAX_JSON_DEPTH), QVL_JSON_AT_END);
    memset(text, '[', QVL_MAX_JSON_DEPTH + 1);
    assert_int_equal(scan(text, QVL_MAX_JSON_DEPTH + 1), QVL_JSON_BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_changed),
        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
