/* bench_report.h: what `qvl bench` writes: a table for people, or CSV, or one JSON object. Names of keys, columns
 * and tests are fixed; figures that a test does not have are "-" in the table, empty in CSV, null in JSON. */
#ifndef QVL_CLI_BENCH_REPORT_H
#define QVL_CLI_BENCH_REPORT_H

#include "base/bytes.h"
#include "cli/bench_plan.h"

struct qvl_bench_stats {
    double median, min, max;
};

struct qvl_bench_row {
    struct qvl_bench_test test;
    struct qvl_bench_work work;
    uint32_t n_run;            /* 0: the test was left out, because: */
    char *why;                 /* a sentence; NULL where it ran. The row's own */
    struct qvl_bench_stats ms;
    double cpu_ms;             /* median */
    uint64_t peak_bytes;       /* memory of the process while it ran; 0 where unknown or meaningless */
};

enum qvl_bench_form { QVL_BENCH_TABLE, QVL_BENCH_CSV, QVL_BENCH_JSON };

struct qvl_bench_report {
    enum qvl_bench_form form;
    const char *model;
    char cpu_name[128];
    struct qvl_engine_info engine;
    enum qvl_compute dtype;
    char weight_format[32]; /* types of the weights' numbers: "bf16", "bf16+f32" */
    double n_busy;          /* threads of other programs that wanted to run at the start */
    bool is_cut;            /* cancelled before the last test */
    struct qvl_bench_row row[QVL_BENCH_MAX_TESTS];
    size_t n;
    double peak[QVL_BENCH_READ + 1]; /* multiply-adds or bytes per millisecond, median; 0: not measured */
};

/* The rest of *out stays as the caller set it. */
enum qvl_status qvl_bench_report_open(const struct qvl_engine *engine, struct qvl_bench_report *out,
                                      struct qvl_error *err);
void qvl_bench_report_free(struct qvl_bench_report *report);
/* Of n >= 1 runs, which it sorts. */
struct qvl_bench_stats qvl_bench_stats_of(double *value, size_t n);
/* A test that ran enters: later ones are compared with it where it is a peak. */
struct qvl_bench_row *qvl_bench_report_add(struct qvl_bench_report *report, const struct qvl_bench_row *row);

/* The peak that bounds the test (least time at the peaks, multiply-adds or reading, whichever takes longer) in
 * *bound, and the share of it that the median reaches; 0 where there is none. */
double qvl_bench_of_peak(const struct qvl_bench_report *report, const struct qvl_bench_row *row,
                         enum qvl_bench_kind *bound);

/* Text before the first row, of a row, and after the last one: appended to *out. */
enum qvl_status qvl_bench_report_begin(const struct qvl_bench_report *report, struct qvl_bytes *out,
                                       struct qvl_error *err);
enum qvl_status qvl_bench_report_row(const struct qvl_bench_report *report, const struct qvl_bench_row *row,
                                     struct qvl_bytes *out, struct qvl_error *err);
enum qvl_status qvl_bench_report_end(const struct qvl_bench_report *report, struct qvl_bytes *out,
                                     struct qvl_error *err);

#endif
