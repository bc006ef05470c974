/* Which tests a list of names means, and the figures of a report: shares of made-up peaks, worked out by hand. */
#include "cli/bench_report.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* The names of the plan after the peaks, with blanks between. */
static const char *plan_of(const char *tests, bool is_full)
{
    static char text[1024];
    struct qvl_bench_plan plan;
    struct qvl_error err = {0};
    char name[40];
    text[0] = 0;
    if (qvl_bench_plan_make(tests, is_full, &plan, &err))
        return err.text[0] ? NULL : "no sentence";
    assert_true(plan.n >= 4 && plan.test[3].kind == QVL_BENCH_READ);
    for (size_t i = 4; i < plan.n; i++) {
        qvl_bench_name_test(plan.test[i], name, sizeof name);
        strcat(text, text[0] ? " " : "");
        strcat(text, name);
    }
    return text;
}

static void test_plan(void **state)
{
    (void)state;
    assert_string_equal(plan_of(NULL, false), "load vision:1024 prefill:512 decode:0 decode:2048 first-token:512");
    assert_string_equal(plan_of(NULL, true),
                        "load vision:1024 vision:4096 vision:8160 prefill:512 prefill:128 prefill:2048 "
                        "prefill:12288 decode:0 decode:2048 decode:12288 decode:65536 decode:262144 "
                        "first-token:512");
    assert_string_equal(plan_of("peaks", false), "");
    assert_string_equal(plan_of("decode", false), "decode:0 decode:2048");
    assert_string_equal(plan_of("decode:2k,load,vision:16,peaks,decode:0", true),
                        "decode:2048 load vision:16 decode:0");
    assert_string_equal(plan_of("prefill:256K", false), "prefill:262144");
}

static void test_plan_refused(void **state)
{
    static const char *const bad[] = {"",          "prefil",     "prefill:",  "prefill:-1",          "prefill:1 ",
                                      "prefill:x", "prefill:1m", "prefill:k", "load:1",              "f32",
                                      "decode,",   ",decode",    "decode:1kk", "prefill:4294967296", "peaks:1"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (plan_of(bad[i], false))
            fail_msg("\"%s\" was taken", bad[i]);
}

static void test_stats(void **state)
{
    double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, one[] = {7};
    (void)state;
    struct qvl_bench_stats s = qvl_bench_stats_of(odd, 3);
    assert_true(s.median == 3 && s.min == 1 && s.max == 5);
    s = qvl_bench_stats_of(even, 4);
    assert_true(s.median == 2.5 && s.min == 1 && s.max == 4);
    s = qvl_bench_stats_of(one, 1);
    assert_true(s.median == 7 && s.min == 7 && s.max == 7);
}

static struct qvl_bench_row row_of(enum qvl_bench_kind kind, double ms, double n_mac, double n_byte)
{
    return (struct qvl_bench_row){.test = {kind, 1},
                                  .work = {n_mac, n_byte, kind <= QVL_BENCH_INT8 ? kind : QVL_BENCH_BF16},
                                  .n_run = 1,
                                  .ms = {ms, ms, ms}};
}

/* Peaks: 200 multiply-adds of bf16 a millisecond, 50 bytes. */
static void test_of_peak(void **state)
{
    static struct qvl_bench_report report;
    enum qvl_bench_kind bound = QVL_BENCH_INT8;
    struct qvl_bench_row row = row_of(QVL_BENCH_PREFILL, 8, 800, 50);
    (void)state;
    assert_true(qvl_bench_of_peak(&report, &row, &bound) == 0); /* nothing to compare with */
    struct qvl_bench_row f32 = row_of(QVL_BENCH_F32, 2, 200, 0), bf16 = row_of(QVL_BENCH_BF16, 2, 400, 0),
                         read = row_of(QVL_BENCH_READ, 4, 0, 200);
    qvl_bench_report_add(&report, &f32);
    qvl_bench_report_add(&report, &bf16);
    qvl_bench_report_add(&report, &read);
    assert_true(qvl_bench_of_peak(&report, &bf16, &bound) == 0);
    /* 4 ms of arithmetic against 1 ms of reading, in 8 ms */
    assert_true(qvl_bench_of_peak(&report, &row, &bound) == 0.5);
    assert_int_equal(bound, QVL_BENCH_BF16);
    /* 1 ms of arithmetic against 6 ms of reading */
    row = row_of(QVL_BENCH_DECODE, 8, 200, 300);
    assert_true(qvl_bench_of_peak(&report, &row, &bound) == 0.75);
    assert_int_equal(bound, QVL_BENCH_READ);
    qvl_bench_report_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_plan_refused),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_of_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
