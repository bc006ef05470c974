/* What a model says must not steer the terminal. */
#include "cli/terminal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void check(const char *text, size_t n, const char *want)
{
    struct qvl_bytes out = {0};
    struct qvl_error err = {0};
    assert_int_equal(qvl_terminal_escape(text, n, &out, &err), QVL_OK);
    assert_string_equal(out.data, want);
    qvl_bytes_free(&out);
}

static void control_characters_are_shown(void **state)
{
    (void)state;
    check("\033[2Jx", 5, "\\x1b[2Jx");
    check("a\rb\bc\x7f", 6, "a\\x0db\\x08c\\x7f");
    check("\0x", 2, "\\x00x");
    check("\xC2\x9B[31m", 6, "\\x9b[31m"); /* C1: one-byte CSI of 8-bit terminals */
}

static void text_passes(void **state)
{
    (void)state;
    const char text[] = "line\n\ttab \xC2\xA0 \xC3\xA9 \xE4\xBD\xA0 \xF0\x9F\x98\x80";
    check(text, sizeof text - 1, text);
    check("", 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_characters_are_shown),
        cmocka_unit_test(text_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
