/* Divergences and perplexities against numbers worked out by hand. */
#include "cli/compare_stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

static void add(struct qvl_compare_stats *stats, const float *p, const float *q, size_t n, uint32_t id)
{
    struct qvl_error err = {0};
    if (qvl_compare_add(stats, p, q, n, id, &err))
        fail_msg("%s", err.text);
}

static void assert_near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-6 * (1 + fabs(want))))
        fail_msg("%.12g, not %.12g", got, want);
}

/* p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4): sum p ln(p/q) = 1/2 ln 2 - 1/4 ln 2 = ln 2 / 4, whatever is added to
 * all logits. */
static void one_position(void **state)
{
    const float ln2 = 0.693147180559945f;
    const float p[] = {ln2 + 50, 50, 50}, q[] = {-30, ln2 - 30, -30};
    struct qvl_compare_stats stats = {0};
    (void)state;
    add(&stats, p, q, 3, 1);
    struct qvl_compare_result r = qvl_compare_finish(&stats);
    assert_int_equal(r.n, 1);
    assert_near(r.mean, log(2) / 4);
    assert_near(r.median, log(2) / 4);
    assert_near(r.p99, log(2) / 4);
    assert_near(r.same_best, 0);
    assert_near(r.perplexity[0], 4); /* of a token with 1/4 */
    assert_near(r.perplexity[1], 2);
    qvl_compare_free(&stats);
}

/* 200 positions, of which those number 0 to 2 differ: the median is 0, and 99 % are no larger than the second
 * largest but one. */
static void many_positions(void **state)
{
    struct qvl_compare_stats stats = {0};
    double divergence[3];
    (void)state;
    for (int i = 0; i < 200; i++) {
        float p[] = {1, 0}, q[] = {1, i < 3 ? (float)(3 - i) * -0.25f : 0};
        double a = 1 / (1 + exp(-1)), b = 1 / (1 + exp((double)q[1] - 1));
        if (i < 3)
            divergence[i] = a * log(a / b) + (1 - a) * log((1 - a) / (1 - b));
        add(&stats, p, q, 2, 0);
    }
    struct qvl_compare_result r = qvl_compare_finish(&stats);
    assert_int_equal(r.n, 200);
    assert_near(r.mean, (divergence[0] + divergence[1] + divergence[2]) / 200);
    assert_near(r.median, 0);
    assert_near(r.p99, divergence[2]); /* 198 of 200 */
    assert_near(r.same_best, 1);
    qvl_compare_free(&stats);
}

static void equal_models(void **state)
{
    const float p[] = {1.5f, -2, 0.25f, 1.5f};
    struct qvl_compare_stats stats = {0};
    (void)state;
    add(&stats, p, p, 4, 3);
    struct qvl_compare_result r = qvl_compare_finish(&stats);
    assert_true(r.mean == 0 && r.same_best == 1 && r.perplexity[0] == r.perplexity[1]);
    qvl_compare_free(&stats);
}

static void numbers_that_are_none(void **state)
{
    const float p[] = {1, 2}, nan[] = {1, NAN}, inf[] = {INFINITY, 1};
    struct qvl_compare_stats stats = {0};
    struct qvl_error err = {0};
    (void)state;
    assert_int_equal(qvl_compare_add(&stats, p, nan, 2, 0, &err), QVL_ERR_INTERNAL);
    assert_int_equal(qvl_compare_add(&stats, inf, p, 2, 0, &err), QVL_ERR_INTERNAL);
    assert_int_equal(stats.n, 0);
    qvl_compare_free(&stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_position),
        cmocka_unit_test(many_positions),
        cmocka_unit_test(equal_models),
        cmocka_unit_test(numbers_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
