/* Loops are noticed by their suffix, whatever came before; tables and long texts are left alone. */
#include "engine/loop_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N_MAX = 20000 };

struct output {
    struct qvl_loop_guard guard;
    uint32_t id[N_MAX];
    size_t n, stopped_at; /* 0: not stopped */
};

static void say(struct output *o, uint32_t id)
{
    assert_true(o->n < N_MAX);
    o->id[o->n++] = id;
    if (qvl_loop_guard_push(&o->guard, o->id, o->n) && !o->stopped_at)
        o->stopped_at = o->n;
}

static void say_noise(struct output *o, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        say(o, seed >> 12);
    }
}

static struct output *new_output(void)
{
    struct output *o = calloc(1, sizeof *o);
    assert_non_null(o);
    return o;
}

static void every_period_is_noticed_at_its_limit(void **state)
{
    (void)state;
    const uint32_t periods[] = {1, 2, 3, 7, 20, 33, 100, 511, QVL_LOOP_MAX_PERIOD};
    for (size_t i = 0; i < sizeof periods / sizeof periods[0]; i++) {
        struct output *o = new_output();
        uint32_t p = periods[i];
        say_noise(o, 500, 1);
        for (uint32_t j = 0; j < 4 * p + 2000 && !o->stopped_at; j++)
            say(o, j % p);
        assert_int_equal(o->stopped_at, 500 + p + qvl_loop_limit(p));
        free(o);
    }
}

static void limits_are_at_least_200_tokens_and_3_copies(void **state)
{
    (void)state;
    for (uint32_t p = 1; p <= QVL_LOOP_MAX_PERIOD; p++) {
        assert_true(qvl_loop_limit(p) >= 200);
        assert_true(qvl_loop_limit(p) >= 3 * p);
    }
}

/* Rows of 12 tokens that are equal but for their number: 300 of them. */
static void tables_with_a_running_number_pass(void **state)
{
    (void)state;
    struct output *o = new_output();
    for (uint32_t row = 0; row < 300; row++)
        for (uint32_t i = 0; i < 12; i++)
            say(o, i == 1 ? 1000 + row : i);
    assert_int_equal(o->stopped_at, 0);
    free(o);
}

/* An empty form: 40 rows of 14 tokens, all equal; and two columns of zeros, 48 rows of 5 tokens. */
static void tables_of_equal_rows_pass(void **state)
{
    (void)state;
    struct output *o = new_output();
    for (uint32_t i = 0; i < 40 * 14; i++)
        say(o, i % 14);
    say_noise(o, 30, 2);
    for (uint32_t i = 0; i < 48 * 5; i++)
        say(o, i % 5);
    assert_int_equal(o->stopped_at, 0);
    free(o);
}

/* Three paragraphs, each said twice. */
static void repeated_paragraphs_pass(void **state)
{
    (void)state;
    struct output *o = new_output();
    for (uint32_t paragraph = 0; paragraph < 3; paragraph++)
        for (int twice = 0; twice < 2; twice++)
            say_noise(o, 400, 77 + paragraph);
    assert_int_equal(o->stopped_at, 0);
    free(o);
}

static void an_interrupted_loop_starts_again(void **state)
{
    (void)state;
    struct output *o = new_output();
    for (int i = 0; i < 150; i++)
        say(o, 5);
    say(o, 6);
    for (int i = 0; i < 150; i++)
        say(o, 5);
    assert_int_equal(o->stopped_at, 0);
    for (int i = 0; i < 51; i++)
        say(o, 5);
    assert_int_equal(o->stopped_at, 151 + 201);
    free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_period_is_noticed_at_its_limit),
        cmocka_unit_test(limits_are_at_least_200_tokens_and_3_copies),
        cmocka_unit_test(tables_with_a_running_number_pass),
        cmocka_unit_test(tables_of_equal_rows_pass),
        cmocka_unit_test(repeated_paragraphs_pass),
        cmocka_unit_test(an_interrupted_loop_starts_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
