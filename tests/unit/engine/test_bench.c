/* Measurements through the public header: every kind of test runs and says how much work it is, the numbers are
 * those of the config, what does not fit is refused, a cancel holds. How long anything takes is not tested. */
#include "qvl.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/peak.h"
#include "model_folder.h"

static int open_engine(void **state)
{
    struct qvl_engine *engine = NULL;
    int rc = open_loaded((struct qvl_engine_options){.n_thread = 2, .n_ctx = 1024}, &engine);
    *state = engine;
    return rc;
}

static int close_engine(void **state)
{
    qvl_engine_close(*state);
    return 0;
}

static struct qvl_bench *open_bench(void **state)
{
    struct qvl_error err = {0};
    struct qvl_bench *bench = NULL;
    assert_int_equal(qvl_bench_open(*state, &bench, &err), QVL_OK);
    return bench;
}

/* A test that must begin and run twice. */
static struct qvl_bench_work run(struct qvl_bench *bench, enum qvl_bench_kind kind, uint32_t n)
{
    struct qvl_error err = {0};
    struct qvl_bench_work work;
    struct qvl_bench_time time;
    if (qvl_bench_begin(bench, kind, n, &work, &err))
        fail_msg("kind %d, %u: %s", (int)kind, n, err.text);
    for (int i = 0; i < 2; i++) {
        if (qvl_bench_run(bench, &time, &err))
            fail_msg("kind %d, %u: %s", (int)kind, n, err.text);
        assert_true(isfinite(time.ms) && time.ms > 0);
        assert_true(isfinite(time.cpu_ms) && time.cpu_ms >= 0);
    }
    assert_true(isfinite(work.n_mac) && isfinite(work.n_byte) && work.n_mac >= 0 && work.n_byte >= 0);
    return work;
}

static void refused(struct qvl_bench *bench, enum qvl_bench_kind kind, uint32_t n, enum qvl_status expected)
{
    struct qvl_error err = {0};
    struct qvl_bench_work work;
    struct qvl_bench_time time;
    assert_int_equal(qvl_bench_begin(bench, kind, n, &work, &err), expected);
    assert_int_equal(err.status, expected);
    assert_true(strlen(err.text) > 0);
    assert_int_equal(qvl_bench_run(bench, &time, &err), QVL_ERR_ARGUMENT); /* none is begun */
}

static void test_peaks(void **state)
{
    struct qvl_bench *bench = open_bench(state);
    assert_non_null(qvl_peak_loop_of(QVL_PEAK_F32));
    for (int kind = QVL_BENCH_F32; kind <= QVL_BENCH_INT8; kind++) {
        if (!qvl_peak_loop_of((enum qvl_peak)(kind - QVL_BENCH_F32 + QVL_PEAK_F32))) {
            refused(bench, (enum qvl_bench_kind)kind, 0, QVL_ERR_LIMIT);
            continue;
        }
        struct qvl_bench_work work = run(bench, (enum qvl_bench_kind)kind, 0);
        assert_true(work.n_mac > 0 && work.n_byte == 0);
        assert_int_equal(work.unit, kind);
    }
    struct qvl_bench_work work = run(bench, QVL_BENCH_READ, 0);
    assert_true(work.n_byte > 0 && work.n_mac == 0);
    qvl_bench_close(bench);
}

static void test_load(void **state)
{
    struct qvl_bench *bench = open_bench(state);
    struct qvl_bench_work work = run(bench, QVL_BENCH_LOAD, 0);
    assert_true(work.n_mac == 0 && work.n_byte == 0);
    qvl_bench_close(bench);
}

/* Multiply-adds by differences: what one more token, position or patch costs follows from the config alone. */
static void test_work(void **state)
{
    struct qvl_bench *bench = open_bench(state);
    double decode[3], prefill[3], vision[3];
    for (uint32_t i = 0; i < 3; i++) {
        decode[i] = run(bench, QVL_BENCH_DECODE, 100 * i).n_mac;
        prefill[i] = run(bench, QVL_BENCH_PREFILL, 1 + i).n_mac;
        vision[i] = run(bench, QVL_BENCH_VISION, 4 * (1 + i)).n_mac;
    }
    /* a position costs the same wherever it stands */
    double position = (decode[1] - decode[0]) / 100;
    assert_true(position > 0 && decode[2] - decode[1] == decode[1] - decode[0]);
    /* the first token of a prefill is the token of an empty context; the third sees one position more than the second,
     * which sees one more than the first */
    assert_true(prefill[0] == decode[0]);
    assert_true((prefill[2] - prefill[1]) - (prefill[1] - prefill[0]) == position);
    /* every patch with every patch: the second difference is constant and positive */
    assert_true(vision[2] - vision[1] > vision[1] - vision[0]);
    double bytes = run(bench, QVL_BENCH_DECODE, 200).n_byte - run(bench, QVL_BENCH_DECODE, 0).n_byte;
    assert_true(bytes > 0);
    qvl_bench_close(bench);
}

static void test_first_token(void **state)
{
    struct qvl_bench *bench = open_bench(state);
    struct qvl_bench_work work = run(bench, QVL_BENCH_FIRST_TOKEN, 64);
    assert_true(work.n_mac > run(bench, QVL_BENCH_VISION, 16).n_mac);
    qvl_bench_close(bench);
}

static void test_limits(void **state)
{
    struct qvl_bench *bench = open_bench(state);
    run(bench, QVL_BENCH_PREFILL, 1024);
    run(bench, QVL_BENCH_DECODE, 1023);
    run(bench, QVL_BENCH_DECODE, 1024); /* its last token */
    refused(bench, QVL_BENCH_PREFILL, 1025, QVL_ERR_LIMIT);
    refused(bench, QVL_BENCH_DECODE, 1025, QVL_ERR_LIMIT);
    refused(bench, QVL_BENCH_PREFILL, 0, QVL_ERR_ARGUMENT);
    refused(bench, QVL_BENCH_VISION, 0, QVL_ERR_ARGUMENT);
    refused(bench, QVL_BENCH_VISION, 18, QVL_ERR_ARGUMENT);
    refused(bench, QVL_BENCH_VISION, UINT32_MAX - 3, QVL_ERR_ARGUMENT);
    refused(bench, QVL_BENCH_FIRST_TOKEN, 0, QVL_ERR_LIMIT);
    refused(bench, QVL_BENCH_FIRST_TOKEN, UINT32_MAX, QVL_ERR_LIMIT);
    refused(bench, (enum qvl_bench_kind)99, 0, QVL_ERR_ARGUMENT);
    qvl_bench_close(bench);
}

static void test_cancel(void **state)
{
    struct qvl_error err = {0};
    struct qvl_bench_work work;
    struct qvl_bench_time time;
    for (int kind = QVL_BENCH_F32; kind <= QVL_BENCH_FIRST_TOKEN; kind++) {
        struct qvl_bench *bench = open_bench(state);
        bool is_begun = !qvl_bench_begin(bench, (enum qvl_bench_kind)kind, 64, &work, &err);
        qvl_bench_cancel(bench);
        if (is_begun)
            assert_int_equal(qvl_bench_run(bench, &time, &err), QVL_ERR_CANCELLED);
        assert_int_equal(qvl_bench_begin(bench, (enum qvl_bench_kind)kind, 64, &work, &err), QVL_ERR_CANCELLED);
        qvl_bench_close(bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peaks), cmocka_unit_test(test_load),   cmocka_unit_test(test_work),
        cmocka_unit_test(test_first_token), cmocka_unit_test(test_limits), cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
