#include "cli/bench_report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "base/os.h"

/* ---- what was measured --------------------------------------------------------------------------- */

/* The keys of "weights": {"types": {…}} in the library's description of the model. */
static enum qvl_status name_weights(const char *inspect_json, char *out, size_t n_out, struct qvl_error *err)
{
    json_t *root = json_loads(inspect_json, 0, NULL);
    json_t *types = json_object_get(json_object_get(root, "weights"), "types");
    const char *key;
    json_t *value;
    size_t n = 0;
    out[0] = 0;
    json_object_foreach(types, key, value)
    {
        int n_new = snprintf(out + n, n_out - n, "%s%s", n ? "+" : "", key);
        n = n_new > 0 && (size_t)n_new < n_out - n ? n + (size_t)n_new : n;
    }
    json_decref(root);
    return root ? QVL_OK : qvl_fail(err, QVL_ERR_INTERNAL, "the description is no JSON");
}

enum qvl_status qvl_bench_report_open(const struct qvl_engine *engine, struct qvl_bench_report *out,
                                      struct qvl_error *err)
{
    qvl_engine_get_info(engine, &out->engine);
    qvl_os_cpu_name(out->cpu_name, sizeof out->cpu_name);
    return name_weights(out->engine.inspect_json, out->weight_format, sizeof out->weight_format, err);
}

void qvl_bench_report_free(struct qvl_bench_report *report)
{
    for (size_t i = 0; i < report->n; i++)
        free(report->row[i].why);
    report->n = 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct qvl_bench_stats qvl_bench_stats_of(double *value, size_t n)
{
    qsort(value, n, sizeof *value, by_value);
    return (struct qvl_bench_stats){(value[(n - 1) / 2] + value[n / 2]) / 2, value[0], value[n - 1]};
}

struct qvl_bench_row *qvl_bench_report_add(struct qvl_bench_report *report, const struct qvl_bench_row *row)
{
    if (qvl_bench_is_peak(row->test.kind) && row->n_run > 0 && row->ms.median > 0)
        report->peak[row->test.kind] = (row->work.n_mac + row->work.n_byte) / row->ms.median; /* one of them is 0 */
    report->row[report->n] = *row;
    return &report->row[report->n++];
}

double qvl_bench_of_peak(const struct qvl_bench_report *report, const struct qvl_bench_row *row,
                         enum qvl_bench_kind *bound)
{
    double mac_peak = report->peak[row->work.unit], read_peak = report->peak[QVL_BENCH_READ];
    double mac_ms = mac_peak > 0 ? row->work.n_mac / mac_peak : 0;
    double read_ms = read_peak > 0 ? row->work.n_byte / read_peak : 0;
    if (qvl_bench_is_peak(row->test.kind) || row->ms.median <= 0)
        return 0;
    *bound = mac_ms >= read_ms ? row->work.unit : QVL_BENCH_READ;
    return (mac_ms >= read_ms ? mac_ms : read_ms) / row->ms.median;
}

/* What a row says, worked out; 0 or NULL where it has no such figure. */
struct figures {
    char name[32];
    double per_second;
    const char *unit;
    double gmac_s, gb_s;
    const char *peak;
    double of_peak;
};

static struct figures work_out(const struct qvl_bench_report *report, const struct qvl_bench_row *row)
{
    struct figures f = {0};
    enum qvl_bench_kind bound = QVL_BENCH_F32;
    double ms = row->ms.median;
    qvl_bench_name_test(row->test, f.name, sizeof f.name);
    if (row->n_run == 0 || ms <= 0)
        return f;
    f.gmac_s = row->work.n_mac / ms / 1e6;
    f.gb_s = row->work.n_byte / ms / 1e6;
    f.of_peak = qvl_bench_of_peak(report, row, &bound);
    f.peak = f.of_peak > 0 ? qvl_bench_kind_name(bound) : NULL;
    switch (row->test.kind) {
    case QVL_BENCH_VISION: f.unit = "patches", f.per_second = row->test.n * 1e3 / ms; break;
    case QVL_BENCH_PREFILL: f.unit = "tok", f.per_second = row->test.n * 1e3 / ms; break;
    case QVL_BENCH_DECODE: f.unit = "tok", f.per_second = 1e3 / ms; break;
    default: break;
    }
    return f;
}

/* ---- a table ------------------------------------------------------------------------------------- */

static enum qvl_status begin_table(const struct qvl_bench_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_engine_info *e = &r->engine;
    enum qvl_status status = qvl_bytes_add_format(
        out, err, qvl_text("qvl %s · %s · level %s · %u threads · --dtype %s · --kv %s\n"), QVL_VERSION,
        r->cpu_name[0] ? r->cpu_name : "-", e->isa, e->n_thread, r->dtype == QVL_COMPUTE_F32 ? "f32" : "bf16",
        e->kv);
    if (!status)
        status = qvl_bytes_add_format(out, err, qvl_text("model %s · %.1f million weights, %s, %.0f MiB\n\n"),
                                      r->model, (double)e->n_parameter / 1e6, r->weight_format,
                                      (double)e->weight_bytes / (1 << 20));
    if (!status)
        status = qvl_bytes_add_text(
            out,
            qvl_text("test               runs   median ms      min ms      max ms              speed"
                     "           work  of peak         memory\n"),
            err);
    return status;
}

static void write_cell(char *out, size_t n_out, double value, const char *format, const char *unit)
    __attribute__((format(printf, 4, 0)));
static void write_cell(char *out, size_t n_out, double value, const char *format, const char *unit)
{
    if (value > 0)
        snprintf(out, n_out, format, value, unit ? unit : "");
    else
        snprintf(out, n_out, "-");
}

static enum qvl_status add_table_row(const struct qvl_bench_report *r, const struct qvl_bench_row *row,
                                     struct qvl_bytes *out, struct qvl_error *err)
{
    struct figures f = work_out(r, row);
    bool is_read = f.peak ? strcmp(f.peak, qvl_bench_kind_name(QVL_BENCH_READ)) == 0 : f.gmac_s <= 0;
    char speed[40], work[40], share[40], memory[40];
    if (row->n_run == 0)
        return QVL_OK; /* said on stderr */
    write_cell(speed, sizeof speed, f.per_second, "%.1f %s/s", f.unit);
    write_cell(work, sizeof work, is_read ? f.gb_s : f.gmac_s, "%.1f %s", is_read ? "GB/s" : "GMAC/s");
    write_cell(share, sizeof share, f.of_peak * 100, f.of_peak < 0.1 ? "%.1f %% %s" : "%.0f %% %s", f.peak);
    write_cell(memory, sizeof memory, (double)row->peak_bytes / (1 << 20), "%.0f MiB%s", "");
    return qvl_bytes_add_format(out, err, "%-17s %5u %11.2f %11.2f %11.2f %18s %14s  %-11s %10s\n", f.name,
                                row->n_run, row->ms.median, row->ms.min, row->ms.max, speed, work, share, memory);
}

/* ---- CSV, JSON ----------------------------------------------------------------------------------- */

/* Where there is no figure: nothing in CSV, null in JSON. */
static enum qvl_status add_figure(struct qvl_bytes *out, const char *key, const char *missing, double value,
                                  const char *format, struct qvl_error *err) __attribute__((format(printf, 5, 0)));
static enum qvl_status add_figure(struct qvl_bytes *out, const char *key, const char *missing, double value,
                                  const char *format, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(out, key, err);
    if (status)
        return status;
    return value > 0 ? qvl_bytes_add_format(out, err, format, value) : qvl_bytes_add_text(out, missing, err);
}

static enum qvl_status add_word(struct qvl_bytes *out, const char *key, const char *missing, const char *word,
                                const char *quote, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(out, key, err);
    if (status)
        return status;
    return word ? qvl_bytes_add_format(out, err, "%s%s%s", quote, word, quote)
                : qvl_bytes_add_text(out, missing, err);
}

static const char csv_head[] = "test,runs,median_ms,min_ms,max_ms,cpu_ms,per_second,unit,gmac_per_s,gb_per_s,peak,"
                               "of_peak,peak_memory_bytes\n";

/* The columns from per_second on, in both forms: `json` chooses the keys. */
static enum qvl_status add_figures(const struct figures *f, double peak_bytes, bool json, struct qvl_bytes *out,
                                   struct qvl_error *err)
{
    const char *missing = json ? "null" : "", *quote = json ? "\"" : "";
    enum qvl_status status;
    if ((status = add_figure(out, json ? ", \"per_second\": " : ",", missing, f->per_second, "%.3f", err)) ||
        (status = add_word(out, json ? ", \"unit\": " : ",", missing, f->unit, quote, err)) ||
        (status = add_figure(out, json ? ", \"gmac_per_s\": " : ",", missing, f->gmac_s, "%.3f", err)) ||
        (status = add_figure(out, json ? ", \"gb_per_s\": " : ",", missing, f->gb_s, "%.3f", err)) ||
        (status = add_word(out, json ? ", \"peak\": " : ",", missing, f->peak, quote, err)) ||
        (status = add_figure(out, json ? ", \"of_peak\": " : ",", missing, f->of_peak, "%.6f", err)))
        return status;
    return add_figure(out, json ? ", \"peak_memory_bytes\": " : ",", missing, peak_bytes, "%.0f", err);
}

static enum qvl_status add_csv_row(const struct qvl_bench_report *r, const struct qvl_bench_row *row,
                                   struct qvl_bytes *out, struct qvl_error *err)
{
    struct figures f = work_out(r, row);
    if (row->n_run == 0)
        return QVL_OK; /* said on stderr */
    enum qvl_status status = qvl_bytes_add_format(out, err, "%s,%u,%.4f,%.4f,%.4f,%.4f", f.name, row->n_run,
                                                  row->ms.median, row->ms.min, row->ms.max, row->cpu_ms);
    if (!status)
        status = add_figures(&f, (double)row->peak_bytes, false, out, err);
    return status ? status : qvl_bytes_add_text(out, "\n", err);
}

static enum qvl_status add_json_row(const struct qvl_bench_report *r, const struct qvl_bench_row *row,
                                    struct qvl_bytes *out, struct qvl_error *err)
{
    struct figures f = work_out(r, row);
    enum qvl_status status =
        qvl_bytes_add_format(out, err, "%s\n  {\"test\": \"%s\"", row == r->row ? "" : ",", f.name);
    if (!status && row->why) {
        if (!(status = qvl_bytes_add_text(out, ", \"left_out\": ", err)))
            status = qvl_bytes_add_json_string(out, row->why, strlen(row->why), err);
    } else if (!status) {
        status = qvl_bytes_add_format(
            out, err, ", \"runs\": %u, \"median_ms\": %.4f, \"min_ms\": %.4f, \"max_ms\": %.4f, \"cpu_ms\": %.4f",
            row->n_run, row->ms.median, row->ms.min, row->ms.max, row->cpu_ms);
        if (!status)
            status = add_figures(&f, (double)row->peak_bytes, true, out, err);
    }
    return status ? status : qvl_bytes_add_text(out, "}", err);
}

static enum qvl_status add_json_head(const struct qvl_bench_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_engine_info *e = &r->engine;
    enum qvl_status status;
    if ((status = qvl_bytes_add_format(out, err, "{\"version\": \"%s\",\n \"processor\": ", QVL_VERSION)) ||
        (status = qvl_bytes_add_json_string(out, r->cpu_name, strlen(r->cpu_name), err)) ||
        (status = qvl_bytes_add_format(
             out, err,
             ",\n \"isa\": \"%s\", \"threads\": %u, \"dtype\": \"%s\", \"kv\": \"%s\", "
             "\"busy_elsewhere\": %.1f,\n \"model\": ",
             e->isa, e->n_thread, r->dtype == QVL_COMPUTE_F32 ? "f32" : "bf16", e->kv, r->n_busy)) ||
        (status = qvl_bytes_add_json_string(out, r->model, strlen(r->model), err)))
        return status;
    return qvl_bytes_add_format(out, err,
                                ",\n \"parameters\": %" PRIu64
                                ", \"weight_format\": \"%s\", \"weight_bytes\": %" PRIu64
                                ",\n \"cancelled\": %s,\n \"results\": [",
                                e->n_parameter, r->weight_format, e->weight_bytes, r->is_cut ? "true" : "false");
}

/* JSON is written at the end, whole. */
enum qvl_status qvl_bench_report_begin(const struct qvl_bench_report *r, struct qvl_bytes *out,
                                       struct qvl_error *err)
{
    switch (r->form) {
    case QVL_BENCH_TABLE: return begin_table(r, out, err);
    case QVL_BENCH_CSV: return qvl_bytes_add_text(out, csv_head, err);
    case QVL_BENCH_JSON: break;
    }
    return QVL_OK;
}

enum qvl_status qvl_bench_report_row(const struct qvl_bench_report *r, const struct qvl_bench_row *row,
                                     struct qvl_bytes *out, struct qvl_error *err)
{
    switch (r->form) {
    case QVL_BENCH_TABLE: return add_table_row(r, row, out, err);
    case QVL_BENCH_CSV: return add_csv_row(r, row, out, err);
    case QVL_BENCH_JSON: break;
    }
    return QVL_OK;
}

enum qvl_status qvl_bench_report_end(const struct qvl_bench_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    if (r->form != QVL_BENCH_JSON)
        return QVL_OK;
    enum qvl_status status = add_json_head(r, out, err);
    for (size_t i = 0; i < r->n && !status; i++)
        status = add_json_row(r, &r->row[i], out, err);
    return status ? status : qvl_bytes_add_text(out, "\n ]}\n", err);
}
