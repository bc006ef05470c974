/* JSON as a flat array of values. Expected values by RFC 8259. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_tree.h"

static struct qvl_error err;
static struct qvl_arena arena;
static struct qvl_json_tree tree;

static enum qvl_status read_tree(const char *text, uint32_t max_values)
{
    /* An exact-size copy, so that a sanitizer sees a read past the end. */
    static char *copy;
    size_t n = strlen(text);
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    free(copy);
    copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    return qvl_json_tree_read(copy, n, "x.json", max_values, &arena, &tree, &err);
}

static void assert_text(const struct qvl_json_node *node, const char *text)
{
    assert_non_null(node);
    assert_int_equal(node->n, strlen(text));
    assert_memory_equal(node->utf8, text, node->n);
}

static void test_layout(void **state)
{
    (void)state;
    const char *text = " {\"a\": [1, {\"b\": -2.5e1}, []], \"\": \"x\", \"\\u0061b\": {}, \"n\": null} ";
    assert_int_equal(read_tree(text, 9), QVL_OK);
    assert_int_equal(tree.n, 9);
    const struct qvl_json_node *root = tree.node, *a = root + 1;
    assert_int_equal(root->kind, QVL_JSON_OBJECT);
    assert_int_equal(root->n_child, 4);
    assert_int_equal(root->n_node, 9);
    assert_ptr_equal(qvl_json_member(root, "a"), a);
    assert_int_equal(a->n_child, 3);
    assert_text(a, "[1, {\"b\": -2.5e1}, []]");
    assert_text(a + 1, "1");
    assert_text(a + 2, "{\"b\": -2.5e1}");
    assert_null((a + 1)->key);
    assert_text(qvl_json_member(a + 2, "b"), "-2.5e1");
    assert_ptr_equal(qvl_json_next(a + 2), a + 4);
    assert_text(a + 4, "[]");
    assert_ptr_equal(qvl_json_next(a), qvl_json_member(root, ""));
    assert_true(qvl_json_equals(qvl_json_member(root, ""), "x"));
    assert_text(qvl_json_member(root, "ab"), "{}");
    assert_null(qvl_json_member(root, "n"));
    assert_null(qvl_json_member(root, "b"));
    assert_null(qvl_json_member(a, "a"));
    assert_null(qvl_json_member(NULL, "a"));
}

static void test_strings(void **state)
{
    (void)state;
    const char *text = "[\"\", \"\\n\", \"中\\u4e2d\\ud83d\\ude00\", \"a\\u0000b\", \"plain\"]";
    assert_int_equal(read_tree(text, 10), QVL_OK);
    const struct qvl_json_node *s = tree.node + 1;
    assert_text(&s[0], "");
    assert_text(&s[1], "\n");
    assert_text(&s[2], "中中😀");
    assert_int_equal(s[3].n, 3);
    assert_memory_equal(s[3].utf8, "a\0b", 3);
    assert_false(qvl_json_equals(&s[3], "a"));
    assert_true(qvl_json_equals(&s[4], "plain"));
    assert_false(qvl_json_equals(&s[4], "plai") || qvl_json_equals(&s[4], "plainx"));
    assert_int_equal(read_tree("\"root\"", 1), QVL_OK);
    assert_text(tree.node, "root");
}

static void test_numbers(void **state)
{
    (void)state;
    double x = 7;
    char digits[2][80] = {"", ""};
    for (int i = 0; i < 2; i++) {
        memset(digits[i], '0', 64);
        memcpy(digits[i], "0.5", 3);
        digits[i][QVL_JSON_NUMBER_BYTES + i] = 0;
    }
    const struct { const char *text; bool is_number; double value; } sample[] = {
        {"0", true, 0}, {"-0", true, 0}, {"12345678901234567890", true, 12345678901234567890.0}, {"1.5", true, 1.5},
        {"25e-1", true, 2.5}, {"1e999", false, 0}, {"\"1\"", false, 0}, {"true", false, 0}, {"[1]", false, 0},
        {digits[0], true, 0.5}, {digits[1], false, 0}};
    bool is_german = setlocale(LC_NUMERIC, "de_DE.UTF-8") != NULL;
    for (size_t i = 0; i < sizeof sample / sizeof *sample; i++) {
        assert_int_equal(read_tree(sample[i].text, 2), QVL_OK);
        x = 7;
        assert_int_equal(qvl_json_number(tree.node, &x), sample[i].is_number);
        assert_true(x == (sample[i].is_number ? sample[i].value : 7));
    }
    if (is_german)
        setlocale(LC_NUMERIC, "C");
}

static void assert_refused(const char *text, uint32_t max_values, enum qvl_status status, const char *sentence)
{
    assert_int_equal(read_tree(text, max_values), status);
    if (!strstr(err.text, sentence) || strncmp(err.text, "x.json: ", 8) != 0)
        fail_msg("%s: %s", text, err.text);
}

static void test_refusals(void **state)
{
    (void)state;
    char deep[2 * (QVL_MAX_JSON_DEPTH + 1) + 1] = "";
    assert_refused("", 9, QVL_ERR_ARGUMENT, "not valid JSON at byte 0");
    assert_refused("{\"a\": 1,}", 9, QVL_ERR_ARGUMENT, "not valid JSON at byte 8");
    assert_refused("[1] x", 9, QVL_ERR_ARGUMENT, "text after the end");
    assert_refused("[\"\\ud800\"]", 9, QVL_ERR_ARGUMENT, "surrogate");
    assert_refused("[\"\xff\"]", 9, QVL_ERR_ARGUMENT, "not UTF-8");
    assert_refused("[NaN]", 9, QVL_ERR_ARGUMENT, "a value was expected");
    assert_refused("{\"a\": 1, \"\\u0061\": 2}", 9, QVL_ERR_ARGUMENT, "twice");
    assert_refused("[1, 2, 3]", 3, QVL_ERR_LIMIT, "more than the 3 values");
    assert_int_equal(read_tree("[1, 2, 3]", 4), QVL_OK);
    for (unsigned depth = QVL_MAX_JSON_DEPTH; depth <= QVL_MAX_JSON_DEPTH + 1; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        if (depth == QVL_MAX_JSON_DEPTH)
            assert_int_equal(read_tree(deep, 100), QVL_OK);
        else
            assert_refused(deep, 100, QVL_ERR_ARGUMENT, "nested deeper than the 64");
    }
    assert_int_equal(tree.n, QVL_MAX_JSON_DEPTH);
}

static int free_all(void **state)
{
    (void)state;
    read_tree("", 1);
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),   cmocka_unit_test(test_strings), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, free_all);
}
