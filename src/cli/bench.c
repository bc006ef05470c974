/* qvl bench: what this machine can do, what the model's steps reach of it.
 *
 * The library measures one run at a time (qvl.h, "measuring"); here is which tests, how often, and what is said.
 * The peaks come first: all else is shown as a share of them. A test is repeated for some seconds, at least three
 * times; a test that does not fit the model or the memory is left out with a sentence. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "cli/bench_report.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/verbs.h"

#define ENOUGH_MS 5000.0 /* of repeating one test, where --runs does not say */
#define BUSY 0.5         /* threads of others: with more, figures are not the machine's */

enum { MIN_RUNS = 3, MAX_RUNS = 50 };

struct session {
    struct qvl_bench *bench;
    struct qvl_progress progress;
    struct qvl_bench_report report;
    uint32_t n_run;      /* asked for, or 0 */
    double *ms, *cpu_ms; /* [n_run or MAX_RUNS] of the test on hand */
};

static enum qvl_status print(enum qvl_status (*add)(const struct qvl_bench_report *, struct qvl_bytes *,
                                                    struct qvl_error *),
                             struct session *s, struct qvl_error *err)
{
    struct qvl_bytes out = {0};
    enum qvl_status status = add(&s->report, &out, err);
    if (!status && out.n > 0)
        status = qvl_write_stdout(out.data, out.n, err);
    qvl_bytes_free(&out);
    return status;
}

static enum qvl_status print_row(struct session *s, const struct qvl_bench_row *row, struct qvl_error *err)
{
    struct qvl_bytes out = {0};
    enum qvl_status status = qvl_bench_report_row(&s->report, row, &out, err);
    qvl_progress_clear(&s->progress);
    if (!status && out.n > 0)
        status = qvl_write_stdout(out.data, out.n, err);
    qvl_bytes_free(&out);
    return status;
}

static bool is_enough(const struct session *s, uint32_t n_done, double spent_ms)
{
    if (s->n_run > 0)
        return n_done >= s->n_run;
    return n_done >= MAX_RUNS || (n_done >= MIN_RUNS && spent_ms >= ENOUGH_MS);
}

/* As often as it takes; what was measured before a failure or a cancel stays in *row. */
static enum qvl_status repeat(struct session *s, const char *name, struct qvl_bench_row *row, struct qvl_error *err)
{
    double spent_ms = 0;
    enum qvl_status status = QVL_OK;
    while (!status && !is_enough(s, row->n_run, spent_ms)) {
        struct qvl_bench_time time;
        qvl_progress_show_test(&s->progress, name, row->n_run + 1);
        if ((status = qvl_bench_run(s->bench, &time, err)))
            break;
        s->ms[row->n_run] = time.ms;
        s->cpu_ms[row->n_run++] = time.cpu_ms;
        spent_ms += time.ms;
    }
    if (row->n_run > 0) {
        row->ms = qvl_bench_stats_of(s->ms, row->n_run);
        row->cpu_ms = qvl_bench_stats_of(s->cpu_ms, row->n_run).median;
    }
    return status;
}

/* A peak that the processor does not have is nothing to speak of. */
static enum qvl_status leave_out(struct session *s, struct qvl_bench_test test, const char *name,
                                 struct qvl_error *err)
{
    struct qvl_bench_row row = {.test = test};
    if (qvl_bench_is_peak(test.kind) && err->status == QVL_ERR_LIMIT)
        return QVL_OK;
    qvl_progress_say(&s->progress, "qvl: %s is left out: %s", name, err->text);
    row.why = strdup(err->text);
    if (!row.why)
        return qvl_fail_memory(err, 0, "the report");
    qvl_bench_report_add(&s->report, &row);
    return QVL_OK;
}

static enum qvl_status run_test(struct session *s, struct qvl_bench_test test, struct qvl_error *err)
{
    struct qvl_bench_row row = {.test = test};
    struct qvl_error why = {0};
    char name[40];
    qvl_bench_name_test(test, name, sizeof name);
    qvl_progress_show_test(&s->progress, name, 0);
    enum qvl_status status = qvl_bench_begin(s->bench, test.kind, test.n, &row.work, err);
    if (status == QVL_ERR_LIMIT || status == QVL_ERR_MEMORY)
        return leave_out(s, test, name, err);
    if (!status) {
        qvl_os_reset_peak(); /* what the last test held is given back by now */
        status = repeat(s, name, &row, err);
    }
    if (row.n_run == 0)
        return status;
    if (!qvl_bench_is_peak(test.kind)) /* their memory is the measurement's own */
        row.peak_bytes = qvl_os_peak_bytes();
    enum qvl_status printed = print_row(s, qvl_bench_report_add(&s->report, &row), &why);
    if (printed && !status)
        *err = why;
    return status ? status : printed;
}

static enum qvl_status run_plan(struct session *s, const struct qvl_bench_plan *plan, struct qvl_error *err)
{
    struct qvl_error why = {0};
    enum qvl_status status = print(qvl_bench_report_begin, s, err);
    for (size_t i = 0; i < plan->n && !status; i++)
        status = run_test(s, plan->test[i], err);
    qvl_progress_clear(&s->progress);
    s->report.is_cut = status == QVL_ERR_CANCELLED;
    if (status && !s->report.is_cut)
        return status;
    enum qvl_status printed = print(qvl_bench_report_end, s, &why);
    if (printed)
        *err = why;
    return printed ? printed : status;
}

static void cancel(void *bench)
{
    qvl_bench_cancel(bench);
}

static enum qvl_status measure(struct qvl_engine *engine, const struct qvl_options *o,
                               const struct qvl_bench_plan *plan, struct qvl_error *err)
{
    struct session s = {.n_run = (uint32_t)o->n_run,
                        .report = {.form = o->want_json  ? QVL_BENCH_JSON
                                           : o->want_csv ? QVL_BENCH_CSV
                                                         : QVL_BENCH_TABLE,
                                   .model = o->model,
                                   .dtype = o->dtype,
                                   .n_busy = qvl_os_n_busy_elsewhere()}};
    size_t n = s.n_run > MAX_RUNS ? s.n_run : MAX_RUNS;
    enum qvl_status status = QVL_OK;
    qvl_progress_open(&s.progress, o->progress, o->is_quiet);
    if (s.report.n_busy >= BUSY)
        qvl_progress_say(
            &s.progress,
            "qvl: other programs are busy (%.1f threads that want to run): the figures come out too low",
            s.report.n_busy);
    s.ms = calloc(2 * n, sizeof *s.ms);
    if (!s.ms) {
        status = qvl_fail_memory(err, 2 * n * sizeof *s.ms, "the report");
        goto fail;
    }
    s.cpu_ms = s.ms + n;
    if ((status = qvl_bench_report_open(engine, &s.report, err)) ||
        (status = qvl_bench_open(engine, &s.bench, err)))
        goto fail;
    qvl_signals_set_work(cancel, s.bench);
    status = run_plan(&s, plan, err);
    qvl_signals_set_work(NULL, NULL);
fail:
    qvl_bench_close(s.bench);
    qvl_bench_report_free(&s.report);
    free(s.ms);
    return status;
}

enum qvl_exit qvl_bench_model(const struct qvl_options *options)
{
    struct qvl_bench_plan plan;
    struct qvl_error err = {0};
    enum qvl_exit code = QVL_EXIT_OK;
    if (options->n_item > 0) {
        fputs(qvl_text("qvl: bench takes options only; the model is -m DIR\n"), stderr);
        return QVL_EXIT_USAGE;
    }
    enum qvl_status status = qvl_bench_plan_make(options->tests, options->is_full, &plan, &err);
    if (status) {
        qvl_say_error(&err);
        return qvl_exit_of(status, QVL_EXIT_FAILURE);
    }
    struct qvl_engine *engine = qvl_open_engine(options, &code);
    if (!engine)
        return code;
    status = measure(engine, options, &plan, &err);
    qvl_engine_close(engine);
    if (status == QVL_ERR_CANCELLED)
        return (enum qvl_exit)qvl_signals_exit_code();
    if (status)
        qvl_say_error(&err);
    return qvl_exit_of(status, QVL_EXIT_FAILURE);
}
