/* Grammars kept by what they were made from: made once, also by many threads at once; bounded; what is held stays.
 */
#include "engine/grammar_cache.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/limits.h"
#include "engine/constraint.h"
#include "model_folder.h"

enum { N_THREAD = 8, N_ROUND = 60, N_KEY = 6 };

static struct qvl_error err;
static atomic_int n_made;

static struct qvl_grammar_key key_of(unsigned char letter)
{
    struct qvl_grammar_key key = {{letter}};
    return key;
}

/* user: a regular expression; "(" is refused. */
static enum qvl_status make(const void *user, struct qvl_grammar **out, struct qvl_error *why)
{
    atomic_fetch_add(&n_made, 1);
    usleep(200); /* so that others come meanwhile */
    return qvl_grammar_from_regex(user, strlen(user), out, why);
}

static enum qvl_status no_memory(const void *user, struct qvl_grammar **out, struct qvl_error *why)
{
    (void)user, (void)out;
    atomic_fetch_add(&n_made, 1);
    return qvl_fail_memory(why, 1, "a test");
}

static struct qvl_held_grammar *get(struct qvl_grammar_cache *c, unsigned char letter, const char *regex)
{
    struct qvl_held_grammar *held = NULL;
    struct qvl_grammar_key key = key_of(letter);
    if (qvl_grammar_cache_get(c, &key, make, regex, &held, &err))
        fail_msg("%s", err.text);
    return held;
}

static void made_once(void **state)
{
    (void)state;
    struct qvl_grammar_cache *c = NULL;
    struct qvl_grammar_cache_stats stats;
    assert_int_equal(qvl_grammar_cache_open(1 << 20, &c, &err), QVL_OK);
    n_made = 0;
    struct qvl_held_grammar *a = get(c, 'a', "a+"), *again = get(c, 'a', "a+"), *b = get(c, 'b', "b+");
    assert_ptr_equal(qvl_held_grammar(a), qvl_held_grammar(again));
    assert_ptr_not_equal(qvl_held_grammar(a), qvl_held_grammar(b));
    qvl_grammar_cache_release(c, a);
    qvl_grammar_cache_release(c, again);
    a = get(c, 'a', "a+");
    assert_int_equal(n_made, 2);
    qvl_grammar_cache_get_stats(c, &stats);
    assert_int_equal(stats.n, 2);
    assert_int_equal(stats.n_compiled, 2);
    assert_int_equal(stats.n_hit, 2);
    qvl_grammar_cache_release(c, a);
    qvl_grammar_cache_release(c, b);
    qvl_grammar_cache_release(c, NULL);
    qvl_grammar_cache_close(c);
}

static void refusals_are_kept_but_not_want_of_memory(void **state)
{
    (void)state;
    struct qvl_grammar_cache *c = NULL;
    struct qvl_held_grammar *held = NULL;
    struct qvl_grammar_key key = key_of('x'), other = key_of('y');
    assert_int_equal(qvl_grammar_cache_open(1 << 20, &c, &err), QVL_OK);
    n_made = 0;
    for (int i = 0; i < 3; i++) {
        memset(&err, 0, sizeof err);
        assert_int_equal(qvl_grammar_cache_get(c, &key, make, "(", &held, &err), QVL_ERR_ARGUMENT);
        assert_non_null(strstr(err.text, "regular expression"));
        assert_null(held);
    }
    assert_int_equal(n_made, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(qvl_grammar_cache_get(c, &other, no_memory, NULL, &held, &err), QVL_ERR_MEMORY);
    assert_int_equal(n_made, 4);
    qvl_grammar_cache_release(c, get(c, 'y', "y"));
    qvl_grammar_cache_close(c);
}

/* Room for three of the smallest: what was not used for longest goes, and what is held is not harmed. */
static void bounded(void **state)
{
    (void)state;
    struct qvl_grammar_cache *c = NULL;
    struct qvl_grammar_cache_stats stats;
    assert_int_equal(qvl_grammar_cache_open(3 * (16 << 10), &c, &err), QVL_OK);
    struct qvl_held_grammar *first = get(c, 'a', "a");
    qvl_grammar_cache_release(c, get(c, 'b', "b"));
    qvl_grammar_cache_release(c, get(c, 'c', "c"));
    qvl_grammar_cache_release(c, get(c, 'b', "b")); /* now a is the oldest, c the next */
    qvl_grammar_cache_release(c, get(c, 'd', "d"));
    qvl_grammar_cache_release(c, get(c, 'e', "e"));
    n_made = 0;
    qvl_grammar_cache_release(c, get(c, 'b', "b"));
    assert_int_equal(n_made, 0);
    qvl_grammar_cache_release(c, get(c, 'a', "a"));
    qvl_grammar_cache_release(c, get(c, 'c', "c"));
    assert_int_equal(n_made, 2);
    assert_true(qvl_held_grammar(first)->n_rule == 1);
    qvl_grammar_cache_get_stats(c, &stats);
    assert_int_equal(stats.n, 3);
    assert_true(stats.n_bytes <= 3 * (16 << 10));
    struct qvl_held_grammar *large = get(c, 'l', "(a|b){9000}"); /* larger than all the room: not kept, but held */
    assert_true(qvl_grammar_bytes(qvl_held_grammar(large)) > 3 * (16 << 10));
    qvl_grammar_cache_get_stats(c, &stats);
    assert_true(stats.n_bytes <= 3 * (16 << 10));
    qvl_grammar_cache_release(c, large);
    qvl_grammar_cache_release(c, first);
    qvl_grammar_cache_close(c);
}

struct crowd {
    struct qvl_grammar_cache *cache;
    unsigned seed;
};

static const char *const regexes[N_KEY] = {"a+", "b{3}", "(", "[c-e]*", "f|g", "(h|i){3000}"};

static void *take_many(void *arg)
{
    struct crowd *crowd = arg;
    size_t n_wrong = 0;
    for (int i = 0; i < N_ROUND; i++) {
        unsigned k = (crowd->seed = crowd->seed * 1664525u + 1013904223u) >> 16;
        struct qvl_grammar_key key = key_of((unsigned char)(k % N_KEY));
        struct qvl_held_grammar *held = NULL;
        struct qvl_error why = {0};
        enum qvl_status status = qvl_grammar_cache_get(crowd->cache, &key, make, regexes[k % N_KEY], &held, &why);
        n_wrong += (status != QVL_OK) != (k % N_KEY == 2) || (held && qvl_held_grammar(held)->n_rule != 1);
        qvl_grammar_cache_release(crowd->cache, held);
    }
    return (void *)n_wrong; // NOLINT: a count
}

/* Many threads on few keys: with room for all each is made once; with little room all stay right. */
static void from_many_threads(void **state)
{
    (void)state;
    for (int is_small = 0; is_small < 2; is_small++) {
        struct crowd crowd[N_THREAD];
        pthread_t thread[N_THREAD];
        struct qvl_grammar_cache *c = NULL;
        struct qvl_grammar_cache_stats stats;
        assert_int_equal(qvl_grammar_cache_open(is_small ? 40 << 10 : 8 << 20, &c, &err), QVL_OK);
        n_made = 0;
        for (unsigned i = 0; i < N_THREAD; i++) {
            crowd[i] = (struct crowd){c, i * 7919};
            assert_int_equal(pthread_create(&thread[i], NULL, take_many, &crowd[i]), 0);
        }
        for (int i = 0; i < N_THREAD; i++) {
            void *n_wrong = NULL;
            pthread_join(thread[i], &n_wrong);
            assert_null(n_wrong);
        }
        qvl_grammar_cache_get_stats(c, &stats);
        assert_int_equal(stats.n_compiled, n_made);
        assert_int_equal(stats.n_compiled + stats.n_hit, N_THREAD * N_ROUND);
        if (is_small)
            assert_true(stats.n_bytes <= 40 << 10 && n_made > N_KEY);
        else
            assert_int_equal(n_made, N_KEY);
        qvl_grammar_cache_close(c);
    }
}

/* Whatever decides what is compiled makes another key; the same request again does not. */
static void keys_tell_constraints_apart(void **state)
{
    (void)state;
    static const char *const ab[] = {"a", "b"}, *const one[] = {"ab"};
    static const char text[] = "{\"enum\": [\"a\", \"b\"]}", tools[] = "[{\"name\": \"a\"}, {\"name\": \"b\"}]";
    const struct qvl_constraint all[] = {
        {.kind = QVL_CONSTRAINT_JSON},
        {.kind = QVL_CONSTRAINT_JSON_SCHEMA, .text = text, .n = sizeof text - 1},
        {.kind = QVL_CONSTRAINT_REGEX, .text = text, .n = 1},
        {.kind = QVL_CONSTRAINT_CHOICE, .choice = ab, .n_choice = 2},
        {.kind = QVL_CONSTRAINT_CHOICE, .choice = ab, .n_choice = 1},
        {.kind = QVL_CONSTRAINT_CHOICE, .choice = one, .n_choice = 1},
        {.kind = QVL_CONSTRAINT_TOOL_CALLS, .text = tools, .n = sizeof tools - 1},
        {.kind = QVL_CONSTRAINT_TOOL_CALLS, .text = tools, .n = sizeof tools - 1, .want_one_call = true},
        {.kind = QVL_CONSTRAINT_TOOL_CALLS, .text = tools, .n = sizeof tools - 1, .choice = ab, .n_choice = 1},
        {.kind = QVL_CONSTRAINT_TOOLS_AUTO, .text = tools, .n = sizeof tools - 1},
    };
    struct qvl_tokenizer *tokenizer = NULL;
    struct qvl_constraints *c = NULL;
    struct qvl_grammar_cache_stats stats;
    size_t n = sizeof all / sizeof *all;
    assert_int_equal(qvl_tokenizer_load(model_folder('c'), 582, &tokenizer, &err), QVL_OK);
    assert_int_equal(qvl_constraints_open(tokenizer, &c, &err), QVL_OK);
    for (size_t i = 0; i < 3 * n; i++) {
        struct qvl_constrained one_of_them;
        enum qvl_status status = qvl_constrained_open(c, &all[i % n], &one_of_them, &err);
        if (status)
            fail_msg("%zu: %s", i % n, err.text);
        qvl_constrained_close(&one_of_them);
        qvl_constraints_get_stats(c, &stats);
        assert_int_equal(stats.n_compiled, i < n ? i + 1 : n);
        assert_int_equal(stats.n, stats.n_compiled);
    }
    assert_true(stats.n_bytes <= QVL_MAX_CACHED_GRAMMAR_BYTES);
    qvl_constraints_close(c);
    qvl_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_once),
        cmocka_unit_test(refusals_are_kept_but_not_want_of_memory),
        cmocka_unit_test(bounded),
        cmocka_unit_test(from_many_threads),
        cmocka_unit_test(keys_tell_constraints_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
