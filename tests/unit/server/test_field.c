/* Fields of a JSON body by table. What each kind must make of each value follows from the table's own words
 * (server/field.h) and RFC 8259. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/field.h"

struct values {
    bool flag;
    uint32_t u32;
    uint64_t u64;
    float f32;
    double f64;
    const struct qvl_json_node *string, *list, *object, *any;
};

static struct qvl_arena arena;
static struct qvl_json_tree tree;
static struct qvl_bytes unknown;
static struct qvl_error err;
static struct values got;
static const char *param;
static char *copy;

/* {"x": value} through a table of one field, or of n. */
static enum qvl_status read_text(const char *text, const struct qvl_field *field, size_t n_field)
{
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    qvl_bytes_free(&unknown);
    free(copy);
    copy = strdup(text); /* of the exact size, for sanitizers */
    assert_non_null(copy);
    param = NULL;
    got = (struct values){.u32 = 77, .u64 = 77, .f32 = 77, .f64 = 77};
    assert_int_equal(qvl_json_tree_read(copy, strlen(copy), "body", 1000, &arena, &tree, &err), QVL_OK);
    return qvl_fields_read(tree.node, field, n_field, &got, &unknown, &param, &err);
}

static enum qvl_status read_value(const char *value, const struct qvl_field *field)
{
    char text[256];
    snprintf(text, sizeof text, "{\"x\": %s}", value);
    return read_text(text, field, 1);
}

static void assert_refused(const char *value, const struct qvl_field *field)
{
    if (read_value(value, field) != QVL_ERR_ARGUMENT)
        fail_msg("%s was taken", value);
    assert_string_equal(param, "x");
    assert_int_equal(strncmp(err.text, "x ", 2), 0); /* the sentence begins with the name */
    assert_true(got.u32 == 77 && got.u64 == 77 && got.f32 == 77 && got.f64 == 77 && !got.string && !got.list);
}

/* Values that no number field takes. */
static const char *const not_numbers[] = {"\"1\"", "true", "false", "[]", "{}", "[1]", "\"\""};

static void assert_no_other_types(const struct qvl_field *field)
{
    for (size_t i = 0; i < sizeof not_numbers / sizeof *not_numbers; i++)
        assert_refused(not_numbers[i], field);
    assert_int_equal(read_value("null", field), QVL_OK); /* as if it were not there */
    assert_true(got.u32 == 77 && got.u64 == 77 && got.f32 == 77 && got.f64 == 77);
    assert_int_equal(read_text("{}", field, 1), QVL_OK);
    assert_true(got.u32 == 77 && got.u64 == 77 && got.f32 == 77 && got.f64 == 77);
    assert_int_equal(unknown.n, 0);
}

struct number {
    const char *text;
    bool is_taken;
    double value;
};

static void whole_numbers_of_32_bits(void **state)
{
    (void)state;
    static const struct qvl_field bounded = {"x", QVL_FIELD_U32, offsetof(struct values, u32), .min = 1, .max = 8};
    static const struct qvl_field open = {"x", QVL_FIELD_U32, .offset = offsetof(struct values, u32)};
    static const struct number of_bounded[] = {
        {"0", false, 0},    {"1", true, 1},           {"8", true, 8},          {"9", false, 0},
        {"-1", false, 0},   {"1.0", true, 1},         {"2e0", true, 2},        {"1.5", false, 0},
        {"-0.0", false, 0}, {"2147483648", false, 0}, {"4294967296", false, 0}};
    static const struct number of_open[] = {{"0", true, 0},
                                            {"-0.0", true, 0},
                                            {"-0", true, 0},
                                            {"-1", false, 0},
                                            {"2147483648", true, 2147483648.0},
                                            {"4294967295", true, 4294967295.0},
                                            {"4294967296", false, 0},
                                            {"9007199254740993", false, 0},
                                            {"9223372036854775808", false, 0},
                                            {"1e308", false, 0},
                                            {"1e400", false, 0},
                                            {"0.5", false, 0}};
    for (size_t i = 0; i < sizeof of_bounded / sizeof *of_bounded; i++) {
        if (!of_bounded[i].is_taken) {
            assert_refused(of_bounded[i].text, &bounded);
            continue;
        }
        assert_int_equal(read_value(of_bounded[i].text, &bounded), QVL_OK);
        assert_true(got.u32 == of_bounded[i].value);
    }
    for (size_t i = 0; i < sizeof of_open / sizeof *of_open; i++) {
        if (!of_open[i].is_taken) {
            assert_refused(of_open[i].text, &open);
            continue;
        }
        assert_int_equal(read_value(of_open[i].text, &open), QVL_OK);
        assert_true(got.u32 == of_open[i].value);
    }
    assert_no_other_types(&bounded);
    assert_no_other_types(&open);
}

static void whole_numbers_of_64_bits(void **state)
{
    (void)state;
    static const struct qvl_field open = {"x", QVL_FIELD_U64, .offset = offsetof(struct values, u64)};
    static const struct qvl_field negative = {"x", QVL_FIELD_U64, offsetof(struct values, u64),
                                              .min = -9223372036854775808.0, .max = 18446744073709551615.0};
    static const struct {
        const char *text;
        const struct qvl_field *field;
        uint64_t value;
    } taken[] = {
        {"0", &open, 0},
        {"-0.0", &open, 0},
        {"2147483648", &open, 2147483648u},
        {"4294967296", &open, 4294967296u},
        {"9007199254740993", &open, 9007199254740993u}, /* 2^53 + 1: no double, and exact all the same */
        {"9223372036854775808", &open, 9223372036854775808u},
        {"18446744073709551615", &open, UINT64_MAX},
        {"9007199254740992.0", &open, 9007199254740992u},
        {"1e3", &open, 1000},
        {"-1", &negative, UINT64_MAX},
        {"-9223372036854775808", &negative, 9223372036854775808u},
        {"7", &negative, 7},
    };
    static const char *const refused[] = {"-1", "0.5", "1e308", "1e400", "1e17", "99999999999999999999", "-0.5"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        if (read_value(taken[i].text, taken[i].field))
            fail_msg("%s: %s", taken[i].text, err.text);
        assert_true(got.u64 == taken[i].value);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_refused(refused[i], &open);
    assert_refused("-9223372036854775809999", &negative);
    assert_no_other_types(&open);
}

static void real_numbers(void **state)
{
    (void)state;
    static const struct qvl_field f32 = {"x", QVL_FIELD_F32, offsetof(struct values, f32), .min = -2, .max = 2};
    static const struct qvl_field f64 = {"x", QVL_FIELD_F64, offsetof(struct values, f64), .min = 0, .max = 2};
    static const struct qvl_field f32_open = {"x", QVL_FIELD_F32, .offset = offsetof(struct values, f32)};
    static const struct qvl_field f64_open = {"x", QVL_FIELD_F64, .offset = offsetof(struct values, f64)};
    static const char *const beyond[] = {"-2.0001", "2.0001", "2147483648", "1e308", "1e999", "-1e308"};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)
        assert_refused(beyond[i], &f32);
    assert_refused("-0.001", &f64);
    assert_refused("2.001", &f64);
    assert_int_equal(read_value("-2", &f32), QVL_OK);
    assert_true(got.f32 == -2.0f);
    assert_int_equal(read_value("0.7", &f32), QVL_OK);
    assert_true(got.f32 == 0.7f);
    assert_int_equal(read_value("-0.0", &f64), QVL_OK);
    assert_true(got.f64 == 0.0);
    assert_int_equal(read_value("2", &f64), QVL_OK);
    assert_true(got.f64 == 2.0);
    assert_refused("1e308", &f32_open); /* no float */
    assert_int_equal(read_value("1e308", &f64_open), QVL_OK);
    assert_true(got.f64 == 1e308);
    assert_refused("1e309", &f64_open);
    assert_no_other_types(&f32);
    assert_no_other_types(&f64_open);
}

static void truth_values(void **state)
{
    (void)state;
    static const struct qvl_field field = {"x", QVL_FIELD_BOOL, .offset = offsetof(struct values, flag)};
    static const char *const others[] = {"0", "1", "\"true\"", "[]", "{}", "0.0", "\"\""};
    assert_int_equal(read_value("true", &field), QVL_OK);
    assert_true(got.flag);
    assert_int_equal(read_value("false", &field), QVL_OK);
    assert_false(got.flag);
    assert_int_equal(read_value("null", &field), QVL_OK);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_refused(others[i], &field);
}

static void strings_lists_and_objects(void **state)
{
    (void)state;
    static const struct qvl_field string = {"x", QVL_FIELD_STRING, offsetof(struct values, string), .min = 1,
                                            .max = 4};
    static const struct qvl_field list = {"x", QVL_FIELD_LIST, offsetof(struct values, list), .min = 1, .max = 2};
    static const struct qvl_field object = {"x", QVL_FIELD_OBJECT, .offset = offsetof(struct values, object)};
    static const struct qvl_field any = {"x", QVL_FIELD_ANY, .offset = offsetof(struct values, any)};
    assert_refused("\"\"", &string);
    assert_refused("\"abcde\"", &string);
    assert_refused("\"\xE4\xBD\xA0\xE5\xA5\xBD\"", &string); /* two characters of three bytes */
    assert_refused("1", &string);
    assert_int_equal(read_value("\"a\\u0000b\"", &string), QVL_OK);
    assert_int_equal(got.string->n, 3);
    assert_refused("[]", &list);
    assert_refused("[1, 2, 3]", &list);
    assert_refused("{}", &list);
    assert_int_equal(read_value("[1, [2, 3]]", &list), QVL_OK);
    assert_int_equal(got.list->n_child, 2);
    assert_refused("[]", &object);
    assert_int_equal(read_value("{\"a\": 1}", &object), QVL_OK);
    assert_int_equal(got.object->n_child, 1);
    assert_int_equal(read_value("17", &any), QVL_OK);
    assert_int_equal(got.any->kind, QVL_JSON_INTEGER);
    assert_int_equal(read_value("null", &any), QVL_OK);
    assert_null(got.any);
}

/* What clients send along for things that they do not want is no reason to refuse. */
static void what_is_not_offered(void **state)
{
    (void)state;
    static const struct qvl_field field = {"x", .refusal = "is not offered: no reason"};
    static const char *const nothing[] = {"null", "false", "0", "0.0", "-0.0", "\"\"", "[]", "{}"};
    static const char *const wanted[] = {"true", "1", "-1", "\"a\"", "[0]", "{\"a\": null}", "1e-300"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        assert_int_equal(read_value(nothing[i], &field), QVL_OK);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        assert_refused(wanted[i], &field);
        assert_string_equal(err.text, "x is not offered: no reason");
    }
    assert_int_equal(unknown.n, 0); /* it is known */
}

static void unknown_names(void **state)
{
    (void)state;
    static const struct qvl_field field = {"x", QVL_FIELD_U32, .offset = offsetof(struct values, u32)};
    assert_int_equal(read_text("{\"a\": 1, \"x\": 2, \"b\": {\"x\": 3}, \"X\": 4, \"x\\u0000\": 5}", &field, 1),
                     QVL_OK);
    assert_int_equal(got.u32, 2);
    assert_string_equal(unknown.data, "a, b, X, x?");

    /* Nothing in a name may end a header or a line. */
    assert_int_equal(read_text("{\"a\\r\\nSet-Cookie: b\": 1, \"\\u001b[31m\": 2, \"\\u0085\": 3}", &field, 1),
                     QVL_OK);
    assert_string_equal(unknown.data, "a??Set-Cookie: b, ?[31m, ??");
}

static void many_and_long_unknown_names(void **state)
{
    (void)state;
    static const struct qvl_field field = {"x", QVL_FIELD_U32, .offset = offsetof(struct values, u32)};
    char text[4096] = "{";
    size_t n = 1;
    for (int i = 0; i < 40; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "\"name%02d\": 0, ", i);
    snprintf(text + n, sizeof text - n, "\"x\": 1}");
    assert_int_equal(read_text(text, &field, 1), QVL_OK);
    assert_int_equal(got.u32, 1);
    assert_int_equal(unknown.n, 32 * strlen("name00") + 31 * strlen(", "));

    /* 63 letters and a character of three bytes: cut before it. */
    n = (size_t)snprintf(text, sizeof text, "{\"");
    memset(text + n, 'a', 63);
    snprintf(text + n + 63, sizeof text - n - 63, "\xE4\xBD\xA0zzz\": 1}");
    assert_int_equal(read_text(text, &field, 1), QVL_OK);
    assert_int_equal(unknown.n, 63);
}

static void the_first_fault_is_named(void **state)
{
    (void)state;
    static const struct qvl_field fields[] = {
        {"a", QVL_FIELD_U32, .offset = offsetof(struct values, u32)},
        {"b", QVL_FIELD_F64, offsetof(struct values, f64), .min = 0, .max = 1},
    };
    assert_int_equal(read_text("{\"a\": 3, \"b\": 2, \"c\": 0}", fields, 2), QVL_ERR_ARGUMENT);
    assert_string_equal(param, "b");
    assert_string_equal(err.text, "b must be a number from 0 to 1");
    assert_int_equal(got.u32, 3);
}

static int free_all(void **state)
{
    (void)state;
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    qvl_bytes_free(&unknown);
    free(copy);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_of_32_bits),
        cmocka_unit_test(whole_numbers_of_64_bits),
        cmocka_unit_test(real_numbers),
        cmocka_unit_test(truth_values),
        cmocka_unit_test(strings_lists_and_objects),
        cmocka_unit_test(what_is_not_offered),
        cmocka_unit_test(unknown_names),
        cmocka_unit_test(many_and_long_unknown_names),
        cmocka_unit_test(the_first_fault_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, free_all);
}
