/* Tool calls out of an answer's text. What is expected follows from the chat template (a call is rendered as
 * <tool_call>\n{"name": …, "arguments": …}\n</tool_call>) and from the rules of tool_reader.h; every text is cut at
 * every place, and what comes must be the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "server/tool_reader.h"

#define OPEN "<tool_call>\n"
#define CLOSE "\n</tool_call>"
#define ONE OPEN "{\"name\": \"f\", \"arguments\": {\"a\": 1}}" CLOSE
#define TWO OPEN "{\"name\": \"get weather\", \"arguments\": {\"city\": \"\\u6b66汉\"}}" CLOSE

/* What came, as one text: content as it is, a call as [name|arguments]. */
struct seen {
    struct qvl_bytes content, calls;
    uint32_t n_call;
    char id[4][64];
    size_t n_piece, stop_after; /* stop_after > 0: the client is gone with that piece */
};

static struct qvl_error err;

static bool goes_on(struct seen *s)
{
    return ++s->n_piece != s->stop_after;
}

static bool on_text(void *user, uint32_t i_answer, const struct qvl_ask_text *text)
{
    struct seen *s = user;
    assert_int_equal(i_answer, 3);
    assert_int_equal(qvl_bytes_add(&s->content, text->utf8, text->n, &err), QVL_OK);
    return goes_on(s);
}

static bool on_call(void *user, uint32_t i_answer, uint32_t i_call, const char *id, const char *name)
{
    struct seen *s = user;
    assert_int_equal(i_answer, 3);
    assert_int_equal(i_call, s->n_call);
    assert_int_equal(strlen(id), QVL_CALL_ID_BYTES);
    assert_memory_equal(id, "call_", 5);
    assert_int_equal(strspn(id + 5, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"), 24);
    if (s->n_call < 4)
        memcpy(s->id[s->n_call], id, strlen(id) + 1);
    s->n_call++;
    assert_int_equal(qvl_bytes_add_format(&s->calls, &err, "[%s|", name), QVL_OK);
    return goes_on(s);
}

static bool on_arguments(void *user, uint32_t i_answer, uint32_t i_call, const char *utf8, size_t n)
{
    struct seen *s = user;
    assert_int_equal(i_answer, 3);
    assert_int_equal(i_call, s->n_call - 1);
    assert_true(n > 0);
    assert_int_equal(qvl_bytes_add(&s->calls, utf8, n, &err), QVL_OK);
    return goes_on(s);
}

static const char *const names[] = {"f", "get weather", "é"};

static struct qvl_tool_reader begin(struct seen *s, struct qvl_ask_sink *sink)
{
    *sink = (struct qvl_ask_sink){.user = s, .text = on_text, .call = on_call, .arguments = on_arguments};
    return (struct qvl_tool_reader){.sink = sink, .i_answer = 3, .name = names, .n_name = 3};
}

static void push(struct qvl_tool_reader *r, const char *text, size_t n)
{
    /* An exact-size copy, so that a sanitizer sees a read past the end. */
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    assert_int_equal(qvl_tool_reader_push(r, copy, n, &err), QVL_OK);
    free(copy);
}

static void seen_free(struct seen *s)
{
    qvl_bytes_free(&s->content);
    qvl_bytes_free(&s->calls);
    *s = (struct seen){0};
}

static void expect(struct seen *s, const char *text, const char *content, const char *calls, size_t a, size_t b)
{
    const char *got_content = s->content.data ? s->content.data : "",
               *got_calls = s->calls.data ? s->calls.data : "";
    if (strcmp(got_content, content) != 0 || strcmp(got_calls, calls) != 0)
        fail_msg("%s\ncut at %zu and %zu: content \"%s\", calls \"%s\"; expected \"%s\", \"%s\"", text, a, b,
                 got_content, got_calls, content, calls);
    seen_free(s);
}

static void read_in(const char *text, const char *content, const char *calls, size_t a, size_t b)
{
    struct seen s = {0};
    struct qvl_ask_sink sink;
    struct qvl_tool_reader r = begin(&s, &sink);
    size_t n = strlen(text);
    push(&r, text, a);
    push(&r, text + a, b - a);
    push(&r, text + b, n - b);
    assert_int_equal(qvl_tool_reader_end(&r, &err), QVL_OK);
    qvl_tool_reader_free(&r);
    expect(&s, text, content, calls, a, b);
}

static void read_byte_by_byte(const char *text, const char *content, const char *calls)
{
    struct seen s = {0};
    struct qvl_ask_sink sink;
    struct qvl_tool_reader r = begin(&s, &sink);
    for (size_t i = 0; i < strlen(text); i++)
        push(&r, text + i, 1);
    assert_int_equal(qvl_tool_reader_end(&r, &err), QVL_OK);
    qvl_tool_reader_free(&r);
    expect(&s, text, content, calls, 1, 1);
}

static const struct {
    const char *text, *content, *calls;
} table[] = {
    /* text */
    {"", "", ""},
    {"Hello.\n", "Hello.\n", ""},
    {" \n", " \n", ""},
    {"a < b <tool <tool_cal <<tool_call", "a < b <tool <tool_cal <<tool_call", ""},
    {"</tool_call>", "</tool_call>", ""},
    {"<tool_calls>", "<tool_calls>", ""},
    /* calls */
    {ONE, "", "[f|{\"a\": 1}"},
    {ONE "\n", "", "[f|{\"a\": 1}"},
    {ONE "\n" TWO, "", "[f|{\"a\": 1}[get weather|{\"city\": \"\\u6b66汉\"}"},
    {ONE ONE, "", "[f|{\"a\": 1}[f|{\"a\": 1}"},
    {"\n\n" ONE "\n\n" ONE "\n\n", "", "[f|{\"a\": 1}[f|{\"a\": 1}"},
    {"I look.\n" ONE, "I look.", "[f|{\"a\": 1}"},
    {"I look. \n\n" ONE "\nThere.\n" TWO "\nDone.\n", "I look.\nThere.\nDone.\n",
     "[f|{\"a\": 1}[get weather|{\"city\": \"\\u6b66汉\"}"},
    {"<" ONE "<", "<<", "[f|{\"a\": 1}"},
    {"<tool_call" ONE, "<tool_call", "[f|{\"a\": 1}"},
    {"<tool_call>{\"arguments\":{},\"name\":\"f\"}</tool_call>", "", "[f|{}"},
    {OPEN "{\"arguments\": {\"x\": [1, {\"}\": \"</tool_call>\"}, -0.5e+3, true, null]}, \"name\": \"f\"}" CLOSE,
     "", "[f|{\"x\": [1, {\"}\": \"</tool_call>\"}, -0.5e+3, true, null]}"},
    {OPEN "{\"name\": \"f\", \"arguments\": {\"x\": \"<tool_call>\\\"}\\\\\"}}" CLOSE, "",
     "[f|{\"x\": \"<tool_call>\\\"}\\\\\"}"},
    {OPEN "{\"n\\u0061me\": \"\\u00E9\", \"arguments\": { } }  \n" CLOSE " ", "", "[é|{ }"},
    {OPEN "{\"name\": \"f\"}" CLOSE, "", "[f|{}"},
    /* without an end tag */
    {OPEN "{\"name\": \"f\", \"arguments\": {\"a\": 1}}", "", "[f|{\"a\": 1}"},
    {OPEN "{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool", "", "[f|{\"a\": 1}"},
    {OPEN "{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n" ONE, "", "[f|{\"a\": 1}[f|{\"a\": 1}"},
    {OPEN "{\"name\": \"f\", \"arguments\": {}}\nDone.", "\nDone.", "[f|{}"},
    {OPEN "{\"name\": \"f\", \"arguments\": {}}</tool_cat>", "</tool_cat>", "[f|{}"},
    {ONE "\n</tool_call>", "\n</tool_call>", "[f|{\"a\": 1}"},
    /* none */
    {OPEN "{\"name\": \"g\", \"arguments\": {}}" CLOSE, OPEN "{\"name\": \"g\", \"arguments\": {}}" CLOSE, ""},
    {"Look:\n" OPEN "{\"arguments\": {}, \"name\": \"g\"}" CLOSE "\n",
     "Look:\n" OPEN "{\"arguments\": {}, \"name\": \"g\"}" CLOSE "\n", ""},
    {OPEN "{\"name\": 1}" CLOSE, OPEN "{\"name\": 1}" CLOSE, ""},
    {OPEN "{\"name\": {}}" CLOSE, OPEN "{\"name\": {}}" CLOSE, ""},
    {OPEN "{\"name\": \"f\", \"name\": \"f\"}" CLOSE, OPEN "{\"name\": \"f\", \"name\": \"f\"}" CLOSE, ""},
    {OPEN "{\"name\": \"f\", \"arguments\": []}" CLOSE, OPEN "{\"name\": \"f\", \"arguments\": []}" CLOSE, ""},
    {OPEN "{\"name\": \"f\", \"arguments\": \"{}\"}" CLOSE, OPEN "{\"name\": \"f\", \"arguments\": \"{}\"}" CLOSE,
     ""},
    {OPEN "{\"name\": \"f\", \"arguments\": null}" CLOSE, OPEN "{\"name\": \"f\", \"arguments\": null}" CLOSE, ""},
    {OPEN "{\"id\": 1, \"name\": \"f\"}" CLOSE, OPEN "{\"id\": 1, \"name\": \"f\"}" CLOSE, ""},
    {OPEN "{\"arguments\": {}}" CLOSE, OPEN "{\"arguments\": {}}" CLOSE, ""},
    {OPEN "{}" CLOSE, OPEN "{}" CLOSE, ""},
    {OPEN "[]" CLOSE, OPEN "[]" CLOSE, ""},
    {OPEN "f()" CLOSE, OPEN "f()" CLOSE, ""},
    {OPEN "{'name': 'f'}" CLOSE, OPEN "{'name': 'f'}" CLOSE, ""},
    {OPEN "{\"name\": \"f\n\"}" CLOSE, OPEN "{\"name\": \"f\n\"}" CLOSE, ""},
    {OPEN "{\"name\": \"f\", \"argu", OPEN "{\"name\": \"f\", \"argu", ""},
    {"a\n" OPEN "{\"arguments\": {\"x\": 1", "a\n" OPEN "{\"arguments\": {\"x\": 1", ""},
    {ONE "\n" OPEN "{\"name\": \"f", "\n" OPEN "{\"name\": \"f", "[f|{\"a\": 1}"},
    {"<tool_call>", "<tool_call>", ""},
    /* the one behind it is one all the same */
    {"<tool_call>" ONE, "<tool_call>", "[f|{\"a\": 1}"},
    {OPEN "{\"name\": \"g\"}\n" ONE, OPEN "{\"name\": \"g\"}", "[f|{\"a\": 1}"},
    /* cut, and broken, behind the beginning of the arguments */
    {OPEN "{\"name\": \"f\", \"arguments\": {\"a\": [1", "", "[f|{\"a\": [1"},
    {OPEN "{\"name\": \"f\", \"arguments\": {\"a\": 01}}" CLOSE, "1}}" CLOSE, "[f|{\"a\": 0"},
    {OPEN "{\"name\": \"f\", \"arguments\": {}, \"x\": 1}" CLOSE, ", \"x\": 1}" CLOSE, "[f|{}"},
};

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t n = strlen(table[i].text);
        read_byte_by_byte(table[i].text, table[i].content, table[i].calls);
        for (size_t a = 0; a <= n; a++)
            for (size_t b = a; b <= n; b++)
                read_in(table[i].text, table[i].content, table[i].calls, a, b);
    }
}

/* Pieces, and what has come after each: nothing is held back that is certain. */
static void test_comes_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *piece, *content, *calls;
    } step[] = {
        {"Good", "Good", ""},
        {" news", "Good news", ""},
        {"\n", "Good news", ""},
        {"a <", "Good news\na", ""},
        {"tool", "Good news\na", ""},
        {"s>", "Good news\na <tools>", ""},
        {"<tool_call>", "Good news\na <tools>", ""},
        {"\n{\"name\": \"f\"", "Good news\na <tools>", ""},
        {", \"arguments\": {", "Good news\na <tools>", "[f|{"},
        {"\"a\"", "Good news\na <tools>", "[f|{\"a\""},
        {": \"long", "Good news\na <tools>", "[f|{\"a\": \"long"},
        {" text\"}}", "Good news\na <tools>", "[f|{\"a\": \"long text\"}"},
        {CLOSE "\n" OPEN "{\"arguments\": {\"b\": 2}, ", "Good news\na <tools>", "[f|{\"a\": \"long text\"}"},
        {"\"name\": \"f\"", "Good news\na <tools>", "[f|{\"a\": \"long text\"}[f|{\"b\": 2}"},
    };
    struct seen s = {0};
    struct qvl_ask_sink sink;
    struct qvl_tool_reader r = begin(&s, &sink);
    for (size_t i = 0; i < sizeof step / sizeof *step; i++) {
        push(&r, step[i].piece, strlen(step[i].piece));
        assert_string_equal(s.content.data, step[i].content);
        assert_string_equal(s.calls.data ? s.calls.data : "", step[i].calls);
    }
    assert_string_not_equal(s.id[0], s.id[1]);
    assert_int_equal(qvl_tool_reader_end(&r, &err), QVL_OK);
    qvl_tool_reader_free(&r);
    seen_free(&s);
}

/* Wherever the client leaves, nothing is called after it. */
static void test_gone(void **state)
{
    (void)state;
    static const char text[] = "Hi\n" ONE "\nDone. " TWO "<tool_call";
    for (size_t stop = 1;; stop++) {
        struct seen s = {.stop_after = stop};
        struct qvl_ask_sink sink;
        struct qvl_tool_reader r = begin(&s, &sink);
        for (size_t i = 0; i + 1 < sizeof text; i++)
            push(&r, text + i, 1);
        assert_int_equal(qvl_tool_reader_end(&r, &err), QVL_OK);
        bool is_gone = r.is_gone;
        assert_true(s.n_piece <= stop);
        assert_int_equal(is_gone, s.n_piece == stop);
        qvl_tool_reader_free(&r);
        seen_free(&s);
        if (!is_gone)
            break;
    }
}

static void test_names(void **state)
{
    (void)state;
    struct qvl_arena arena = {0};
    const char *const *name = NULL;
    size_t n = 0;
    const char *tools = "[{\"type\": \"function\", \"function\": {\"name\": \"a\"}}, {\"name\": \"b\\u00e9\"}]";
    assert_int_equal(qvl_tool_names(tools, &arena, &name, &n, &err), QVL_OK);
    assert_int_equal(n, 2);
    assert_string_equal(name[0], "a");
    assert_string_equal(name[1], "bé");
    static const char *const bad[] = {"",
                                      "{}",
                                      "[1]",
                                      "[{}]",
                                      "[{\"name\": \"\"}]",
                                      "[{\"name\": 1}]",
                                      "[{\"function\": {}}]",
                                      "[{\"name\": \"a\\u0000\"}]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(qvl_tool_names(bad[i], &arena, &name, &n, &err), QVL_ERR_ARGUMENT);
        assert_true(err.text[0] != 0);
    }
    qvl_arena_free(&arena);
}

/* Definitions that the grammar takes are taken here, too. */
static void test_large_definitions(void **state)
{
    (void)state;
    enum { N_VALUE = QVL_MAX_SCHEMA_VALUES + 1 };
    static const char head[] = "[{\"name\": \"a\", \"parameters\": {\"enum\": [1", tail[] = "]}}]";
    struct qvl_arena arena = {0};
    const char *const *name = NULL;
    size_t n = 0;
    char *tools = calloc(1, sizeof head + sizeof tail + 2 * N_VALUE);
    assert_non_null(tools);
    char *end = tools + sizeof head - 1;
    memcpy(tools, head, sizeof head - 1);
    for (int i = 0; i < N_VALUE; i++, end += 2)
        memcpy(end, ",1", 2);
    memcpy(end, tail, sizeof tail);
    assert_int_equal(qvl_tool_names(tools, &arena, &name, &n, &err), QVL_OK);
    assert_int_equal(n, 1);
    assert_string_equal(name[0], "a");
    free(tools);
    qvl_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut), cmocka_unit_test(test_comes_at_once),     cmocka_unit_test(test_gone),
        cmocka_unit_test(test_names),     cmocka_unit_test(test_large_definitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
