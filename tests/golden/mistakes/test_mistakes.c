/* Each mistake that ports of this model make (model/mistake.h), switched on in a build of the model room of its
 * own, makes the comparison with the reference fail; with none of them on, it passes. */
#include <stdio.h>

#include "../golden_run.h"
#include "model/mistake.h"

#define LIMIT 2e-4 /* as in test_reference.c */

/* clang-format off */
static const char *const name[] = {
    "none",
#define X(name) #name,
    QVL_MISTAKE_LIST(X)
#undef X
};
/* clang-format on */

/* Number of cases of model `letter` that are beyond the limit with `mistake` on. */
static size_t n_beyond(char letter, enum qvl_mistake mistake)
{
    static const char *const cases[] = {"text", "one", "three", "clip", "far"};
    size_t n = 0;
    qvl_mistake = mistake;
    struct golden g;
    golden_open(&g, letter, golden_best_level(), 1, QVL_COMPUTE_F32);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct golden_result r;
        golden_compare(&g, cases[i], LIMIT, &r);
        n += r.first_above[0] != 0;
        if (r.first_above[0])
            printf("%-27s %c: first beyond: %-28s largest: %.1e of the maximum\n", name[mistake], letter,
                   r.first_above, r.worst);
    }
    golden_close(&g);
    qvl_mistake = QVL_MISTAKE_NONE;
    return n;
}

static void test_none_passes(void **state)
{
    (void)state;
    for (const char *letter = GOLDEN_LETTERS; *letter; letter++)
        assert_int_equal(n_beyond(*letter, QVL_MISTAKE_NONE), 0);
}

static void test_each_is_caught(void **state)
{
    (void)state;
    for (int mistake = QVL_MISTAKE_NONE + 1; mistake < (int)(sizeof name / sizeof *name); mistake++) {
        for (const char *letter = GOLDEN_LETTERS; *letter; letter++)
            if (n_beyond(*letter, (enum qvl_mistake)mistake) == 0)
                fail_msg("%s stays within %g on model %c", name[mistake], LIMIT, *letter);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_passes),
        cmocka_unit_test(test_each_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
