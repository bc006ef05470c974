/* The option table: spellings, ranges, environment. */
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static enum qvl_status parse(struct qvl_options *o, struct qvl_error *err, int n, const char *const *word)
{
    char *arg[32];
    assert_true(n <= 32);
    for (int i = 0; i < n; i++)
        arg[i] = (char *)word[i]; /* as argv: not written to */
    return qvl_options_parse(QVL_VERB_RUN, n, arg, o, err);
}

#define PARSE(o, err, ...)                                                                                 \
    parse(o, err, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)),                      \
          (const char *const[]){__VA_ARGS__})

static void values_in_every_spelling(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(PARSE(&o, &err, "-m", "dir", "-n5", "--temp=0.25", "--top-k", "7", "--presence-penalty", "-1.5",
                           "--seed", "9007199254740991", "--json", "-q", "--loop-guard", "off", "--resize", "pillow12",
                           "--dtype=f32"),
                     QVL_OK);
    assert_string_equal(o.model, "dir");
    assert_int_equal(o.max_tokens, 5);
    assert_true(o.temperature == 0.25);
    assert_int_equal(o.top_k, 7);
    assert_true(o.presence_penalty == -1.5);
    assert_int_equal(o.seed, 9007199254740991);
    assert_true(o.want_json && o.is_quiet && !o.want_ids);
    assert_int_equal(o.loop_guard, QVL_SWITCH_OFF);
    assert_int_equal(o.resize, QVL_RESIZE_PILLOW12);
    assert_int_equal(o.dtype, QVL_COMPUTE_F32);
    assert_true(qvl_options_has(&o, "temp"));
    assert_false(qvl_options_has(&o, "top-p"));
    qvl_options_free(&o);
}

static void aliases_are_the_same_option(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(PARSE(&o, &err, "--temperature", "0", "--predict", "3", "--ctx", "64", "--repeat-penalty", "1.1"),
                     QVL_OK);
    assert_true(qvl_options_has(&o, "temp") && qvl_options_has(&o, "max-tokens"));
    assert_int_equal(o.max_tokens, 3);
    assert_int_equal(o.n_ctx, 64);
    assert_true(o.repetition_penalty > 1.09 && o.repetition_penalty < 1.11);
    qvl_options_free(&o);
}

static void words_keep_their_order(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(PARSE(&o, &err, "a", "--image", "b", "-", "-p", "c", "--stop", "x", "--stop", "y", "--", "-n"),
                     QVL_OK);
    const enum qvl_item_kind kind[] = {QVL_ITEM_WORD, QVL_ITEM_IMAGE, QVL_ITEM_WORD, QVL_ITEM_TEXT, QVL_ITEM_WORD};
    const char *const value[] = {"a", "b", "-", "c", "-n"};
    assert_int_equal(o.n_item, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(o.item[i].kind, kind[i]);
        assert_string_equal(o.item[i].value, value[i]);
    }
    assert_int_equal(o.n_stop, 2);
    assert_string_equal(o.stop[1], "y");
    qvl_options_free(&o);
}

static void the_edges_of_a_range(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    const char *const good[] = {"1", "1048576"};
    const char *const bad[] = {"0", "1048577", "", " 1", "1 ", "+1", "-1", "0x10", "1e3", "99999999999999999999999"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(PARSE(&o, &err, "-n", good[i]), QVL_OK);
        qvl_options_free(&o);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(PARSE(&o, &err, "-n", bad[i]), QVL_ERR_ARGUMENT);
    const char *const bad_real[] = {"nan", "inf", "1.0001", "-0.1", "", "0.5x"};
    for (size_t i = 0; i < sizeof bad_real / sizeof bad_real[0]; i++)
        assert_int_equal(PARSE(&o, &err, "--top-p", bad_real[i]), QVL_ERR_ARGUMENT);
}

static void the_environment_fills_what_is_open(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    setenv("QVL_MAX_PIXELS", "1000", 1);
    setenv("QVL_SEED", "3", 1);
    setenv("QVL_JSON", "1", 1);
    assert_int_equal(PARSE(&o, &err, "--seed", "4"), QVL_OK);
    assert_int_equal(o.max_pixels, 1000);
    assert_int_equal(o.seed, 4);
    assert_true(o.want_json && qvl_options_has(&o, "max-pixels"));
    qvl_options_free(&o);
    setenv("QVL_JSON", "perhaps", 1);
    assert_int_equal(PARSE(&o, &err, "x"), QVL_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "QVL_JSON"));
    unsetenv("QVL_MAX_PIXELS");
    unsetenv("QVL_SEED");
    unsetenv("QVL_JSON");
}

static void options_of_other_verbs_are_refused(void **state)
{
    (void)state;
    struct qvl_options o;
    struct qvl_error err = {0};
    assert_int_equal(PARSE(&o, &err, "--jsonl"), QVL_ERR_ARGUMENT);
    char *arg[] = {"--jsonl"};
    assert_int_equal(qvl_options_parse(QVL_VERB_TOKENIZE, 1, arg, &o, &err), QVL_OK);
    assert_true(o.want_jsonl);
    qvl_options_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_in_every_spelling),      cmocka_unit_test(aliases_are_the_same_option),
        cmocka_unit_test(words_keep_their_order),        cmocka_unit_test(the_edges_of_a_range),
        cmocka_unit_test(the_environment_fills_what_is_open), cmocka_unit_test(options_of_other_verbs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
