/* bench_plan.h: which tests `qvl bench` runs, in which order. */
#ifndef QVL_CLI_BENCH_PLAN_H
#define QVL_CLI_BENCH_PLAN_H

#include "base/error.h"

enum { QVL_BENCH_N_KIND = QVL_BENCH_FIRST_TOKEN + 1, QVL_BENCH_MAX_TESTS = 64 };

struct qvl_bench_test {
    enum qvl_bench_kind kind;
    uint32_t n; /* patches, tokens, positions, pixels of a side; 0 where the kind has none */
};

struct qvl_bench_plan {
    struct qvl_bench_test test[QVL_BENCH_MAX_TESTS];
    size_t n;
};

/* The peaks, and after them what `tests` names: "vision:1024,prefill,decode:2k"; "peaks" is none besides. A name
 * without a size means the usual sizes of its kind: of the quick set, or of the full one. NULL: all kinds.
 * QVL_ERR_ARGUMENT: a name or size is none. */
enum qvl_status qvl_bench_plan_make(const char *tests, bool is_full, struct qvl_bench_plan *out,
                                    struct qvl_error *err);

/* "vision", "f32": the same in every language. */
const char *qvl_bench_kind_name(enum qvl_bench_kind kind);
/* The test's whole name: "vision:1024", "f32". */
void qvl_bench_name_test(struct qvl_bench_test test, char *out, size_t n_out);
static inline bool qvl_bench_is_peak(enum qvl_bench_kind kind)
{
    return kind <= QVL_BENCH_READ;
}

#endif
