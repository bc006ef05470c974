/* Sentences in two languages: the switch, the lookup, arguments in another order, and the cut at the end of
 * struct qvl_error. The Chinese of a sentence is said here with a few of its words, as UTF-8. */
#include "base/language.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/utf8.h"

static int reset_language(void **state)
{
    (void)state;
    qvl_set_language(QVL_LANGUAGE_EN);
    return 0;
}

static void test_switch(void **state)
{
    (void)state;
    assert_int_equal(qvl_language(), QVL_LANGUAGE_EN);
    assert_string_equal(qvl_text("cancelled"), "cancelled");
    qvl_set_language(QVL_LANGUAGE_ZH);
    assert_int_equal(qvl_language(), QVL_LANGUAGE_ZH);
    assert_string_equal(qvl_text("cancelled"), "已取消");
    qvl_set_language(QVL_LANGUAGE_EN);
    assert_string_equal(qvl_text("cancelled"), "cancelled");
}

/* The search reaches every row, so they are sorted; what stands there is UTF-8. */
static void test_lookup(void **state)
{
    static const struct {
        const char *english, *chinese;
    } rows[] = {
#include "base/messages_zh.h"
    };
    enum { N = sizeof rows / sizeof *rows };
    (void)state;
    qvl_set_language(QVL_LANGUAGE_ZH);
    for (size_t i = 0; i < N; i++) {
        assert_string_equal(qvl_text(rows[i].english), rows[i].chinese);
        assert_true(qvl_utf8_is_valid(rows[i].chinese, strlen(rows[i].chinese)));
    }
}

static void test_unknown_stays(void **state)
{
    static const char unknown[] = "a sentence that no table has: %d";
    (void)state;
    qvl_set_language(QVL_LANGUAGE_ZH);
    assert_ptr_equal(qvl_text(unknown), unknown);
    assert_string_equal(qvl_text(""), "");
    struct qvl_error err = {0};
    assert_int_equal(qvl_fail(&err, QVL_ERR_FILE, "a sentence that no table has: %d", 7), QVL_ERR_FILE);
    assert_string_equal(err.text, "a sentence that no table has: 7");
}

static void test_arguments(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    assert_int_equal(qvl_fail(&err, QVL_ERR_MEDIA, "%s: no such file", "a.jpg"), QVL_ERR_MEDIA);
    assert_string_equal(err.text, "a.jpg: no such file");
    qvl_set_language(QVL_LANGUAGE_ZH);
    assert_int_equal(qvl_fail(&err, QVL_ERR_MEDIA, "%s: no such file", "a.jpg"), QVL_ERR_MEDIA);
    assert_string_equal(err.text, "a.jpg：没有这个文件");
}

/* Chinese names the purpose before the number; the purpose itself is looked up. */
static void test_arguments_in_another_order(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    assert_int_equal(qvl_fail_memory(&err, (size_t)5 << 20, "the conversation"), QVL_ERR_MEMORY);
    assert_string_equal(err.text, "out of memory: 6 MiB for the conversation");
    qvl_set_language(QVL_LANGUAGE_ZH);
    assert_int_equal(qvl_fail_memory(&err, (size_t)5 << 20, "the conversation"), QVL_ERR_MEMORY);
    assert_string_equal(err.text, "内存不足：对话需要 6 MiB");
}

static void test_system_errors(void **state)
{
    (void)state;
    assert_string_equal(qvl_errno_text(ENOENT), "No such file or directory");
    assert_string_equal(qvl_errno_text(ENOENT), strerror(ENOENT));
    assert_string_equal(qvl_errno_text(ENOTTY), strerror(ENOTTY));
    qvl_set_language(QVL_LANGUAGE_ZH);
    assert_string_equal(qvl_errno_text(ENOENT), "没有那个文件或目录");
    assert_string_equal(qvl_errno_text(ENOTTY), strerror(ENOTTY)); /* a rare one */
}

/* A name that grows byte by byte moves the Chinese words over the end of err.text. */
static void test_cut_between_characters(void **state)
{
    static const char after_name[] = "：没有这个文件";
    enum { MAX = sizeof((struct qvl_error *)0)->text - 1, N_AFTER = sizeof after_name - 1 };
    char name[MAX + 1];
    size_t n_shorter = 0;
    (void)state;
    qvl_set_language(QVL_LANGUAGE_ZH);
    for (size_t n = MAX - 40; n <= MAX; n++) {
        struct qvl_error err = {0};
        memset(name, 'a', n);
        name[n] = 0;
        qvl_fail(&err, QVL_ERR_MEDIA, "%s: no such file", name);
        size_t n_text = strlen(err.text), n_fit = qvl_min_size(n + N_AFTER, MAX);
        assert_true(n_text <= n_fit && n_text + 3 > n_fit);
        assert_memory_equal(err.text, name, n);
        assert_memory_equal(err.text + n, after_name, n_text - n);
        assert_true(qvl_utf8_is_valid(err.text, n_text));
        n_shorter += n_text < n_fit;
    }
    assert_true(n_shorter > 0); /* some of the cuts fell into a character */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_switch, reset_language),
        cmocka_unit_test_teardown(test_lookup, reset_language),
        cmocka_unit_test_teardown(test_unknown_stays, reset_language),
        cmocka_unit_test_teardown(test_arguments, reset_language),
        cmocka_unit_test_teardown(test_arguments_in_another_order, reset_language),
        cmocka_unit_test_teardown(test_system_errors, reset_language),
        cmocka_unit_test_teardown(test_cut_between_characters, reset_language),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
