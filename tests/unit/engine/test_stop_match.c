/* Stop strings: found wherever the pieces are cut, nothing of them let out, nothing else lost. */
#include "engine/stop_match.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* Pushes `text` in pieces of n_piece bytes; *met is the stop string or NULL. Returns what came out. */
static struct qvl_bytes run(const char *const *stop, size_t n_stop, const char *text, size_t n_piece,
                            const char **met)
{
    struct qvl_stop_match match = {.stop = stop, .n_stop = n_stop};
    struct qvl_bytes out = {0};
    struct qvl_error err = {0};
    size_t n = strlen(text);
    *met = NULL;
    for (size_t i = 0; i < n && !*met; i += n_piece)
        assert_int_equal(
            qvl_stop_match_push(&match, text + i, n - i < n_piece ? n - i : n_piece, &out, met, &err), QVL_OK);
    if (!*met)
        assert_int_equal(qvl_stop_match_flush(&match, &out, &err), QVL_OK);
    assert_int_equal(qvl_bytes_add(&out, "", 0, &err), QVL_OK);
    qvl_stop_match_free(&match);
    return out;
}

static void check(const char *const *stop, size_t n_stop, const char *text, const char *want, const char *want_stop)
{
    for (size_t n_piece = 1; n_piece <= strlen(text); n_piece++) {
        const char *met = NULL;
        struct qvl_bytes out = run(stop, n_stop, text, n_piece, &met);
        assert_string_equal(out.data, want);
        assert_true((met == NULL) == (want_stop == NULL));
        if (met)
            assert_string_equal(met, want_stop);
        qvl_bytes_free(&out);
    }
}

static void found_across_any_cut(void **state)
{
    (void)state;
    const char *const one[] = {"END"};
    check(one, 1, "text END more", "text ", "END");
    check(one, 1, "EEND", "E", "END");
    check(one, 1, "END", "", "END");
    const char *const repeating[] = {"aab"};
    check(repeating, 1, "aaaab", "aa", "aab");
}

static void the_first_one_counts(void **state)
{
    (void)state;
    const char *const two[] = {"world", "lo w"};
    check(two, 2, "hello world", "hel", "lo w");
    const char *const nested[] = {"ab", "b"};
    check(nested, 2, "xxbyab", "xx", "b");
}

static void what_only_begins_one_comes_out_at_the_end(void **state)
{
    (void)state;
    const char *const one[] = {"</answer>"};
    check(one, 1, "a </answer and </ans", "a </answer and </ans", NULL);
    check(NULL, 0, "no stop strings", "no stop strings", NULL);
}

static void text_is_held_no_longer_than_needed(void **state)
{
    (void)state;
    const char *const one[] = {"stop"};
    const char *met = NULL;
    struct qvl_stop_match match = {.stop = one, .n_stop = 1};
    struct qvl_bytes out = {0};
    struct qvl_error err = {0};
    assert_int_equal(qvl_stop_match_push(&match, "abcst", 5, &out, &met, &err), QVL_OK);
    assert_int_equal(out.n, 3);
    assert_int_equal(qvl_stop_match_push(&match, "x", 1, &out, &met, &err), QVL_OK);
    assert_string_equal(out.data, "abcstx");
    qvl_stop_match_free(&match);
    qvl_bytes_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_across_any_cut),
        cmocka_unit_test(the_first_one_counts),
        cmocka_unit_test(what_only_begins_one_comes_out_at_the_end),
        cmocka_unit_test(text_is_held_no_longer_than_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
