/* report.h: what a run was, as the JSON object of --json and as one line for people. */
#ifndef QVL_CLI_REPORT_H
#define QVL_CLI_REPORT_H

#include "base/bytes.h"

struct qvl_report {
    const char *model;
    struct qvl_engine_info engine;
    struct qvl_request_info request;
    struct qvl_sampling sampling;
    enum qvl_compute dtype;
    bool is_dry_run;          /* no text, no finish reason */
    const char *text, *reasoning; /* n_text and n_reasoning bytes; of a model that does not think, no reasoning */
    size_t n_text, n_reasoning;
    enum qvl_finish finish;
    const char *stop;         /* or NULL */
    bool want_ids;
    const char *logits;       /* JSON of --logits, or NULL */
    double total_ms;
};

const char *qvl_finish_name(enum qvl_finish finish);
enum qvl_status qvl_report_json(const struct qvl_report *report, struct qvl_bytes *out, struct qvl_error *err);
enum qvl_status qvl_report_line(const struct qvl_report *report, struct qvl_bytes *out, struct qvl_error *err);
/* For --dry-run without --json: what would be asked. */
enum qvl_status qvl_report_plan(const struct qvl_report *report, struct qvl_bytes *out, struct qvl_error *err);

#endif
