/* Classes of all 1,114,112 code points and NFC, against the tokenizers library. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "text/unicode.h"
#include "vectors.h"

#define N_CODE_POINT 0x110000u

static struct qvl_error err;

static void test_all_classes(void **state)
{
    (void)state;
    static unsigned char expected[N_CODE_POINT];
    size_t count[4] = {0};
    FILE *f = fopen(DATA_DIR "unicode_classes.txt", "r");
    assert_non_null(f);
    char line[128];
    while (fgets(line, sizeof line, f)) {
        uint32_t first = 0, last = 0;
        char class = 0;
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%" SCNx32 " %" SCNx32 " %c", &first, &last, &class), 3);
        assert_true(first <= last && last < N_CODE_POINT);
        memset(expected + first, class == 'L' ? 1 : class == 'N' ? 2 : 3, last - first + 1);
    }
    fclose(f);
    for (uint32_t cp = 0; cp < N_CODE_POINT; cp++) {
        if (qvl_unicode_class(cp) != expected[cp])
            fail_msg("U+%04" PRIX32 " is in class %d; the library says %d", cp, (int)qvl_unicode_class(cp),
                     expected[cp]);
        count[expected[cp]]++;
    }
    assert_int_equal(count[QVL_UNICODE_LETTER], 141028); /* the library's tables: Unicode 16 */
    assert_int_equal(count[QVL_UNICODE_NUMBER], 1911);
    assert_int_equal(count[QVL_UNICODE_SPACE], 25);
    assert_int_equal(qvl_unicode_class(UINT32_MAX), QVL_UNICODE_OTHER);
}

/* [text, NFC of it] */
static void check_nfc_line(const json_t *line, void *arg)
{
    (void)arg;
    const json_t *text = json_array_get(line, 0), *expected = json_array_get(line, 1);
    struct qvl_bytes out = {0};
    assert_int_equal(qvl_nfc(json_string_value(text), json_string_length(text), &out, &err), QVL_OK);
    if (out.n != json_string_length(expected) || memcmp(out.data, json_string_value(expected), out.n) != 0)
        fail_msg("other NFC for %s", json_dumps(text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII));
    if (qvl_nfc_is_stable(json_string_value(text), json_string_length(text)))
        assert_true(json_equal(text, expected));
    qvl_bytes_free(&out);
}

static void test_nfc(void **state)
{
    (void)state;
    assert_in_range(for_each_line(DATA_DIR "nfc.jsonl", check_nfc_line, NULL), 2000, SIZE_MAX);
}

/* U+AC00 … U+D7A3 are what their jamo compose to. */
static void test_hangul(void **state)
{
    (void)state;
    for (uint32_t l = 0; l < 19; l++) {
        for (uint32_t v = 0; v < 21; v++) {
            for (uint32_t t = 0; t < 28; t++) {
                char in[12], expected[4];
                size_t n = qvl_utf8_encode(0x1100 + l, in);
                n += qvl_utf8_encode(0x1161 + v, in + n);
                if (t)
                    n += qvl_utf8_encode(0x11A7 + t, in + n);
                struct qvl_bytes out = {0};
                assert_int_equal(qvl_nfc(in, n, &out, &err), QVL_OK);
                assert_int_equal(out.n, qvl_utf8_encode(0xAC00 + (l * 21 + v) * 28 + t, expected));
                assert_memory_equal(out.data, expected, out.n);
                qvl_bytes_free(&out);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_classes),
        cmocka_unit_test(test_nfc),
        cmocka_unit_test(test_hangul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
