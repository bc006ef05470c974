/* Enters: mapped matrices of bf16, f16 or f32. Leaves: packed ones (kernel/packed.h), in memory of the weights'
 * arena or wherever the caller wants them.
 *
 * Work is split by panels of 16 rows (of QVL_A8: 16 rows), which do not know of each other: the same bytes for any
 * number of threads. Rows are widened to f32 in a thread's own scratch. */
#include "load/quantize.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"
#include "kernel/pack.h"

enum { SAMPLE_GROUPS = 1000 };

const char *qvl_quantize_source(const char *name, bool is_tied)
{
    if (strcmp(name, "lm_head.weight") == 0 && is_tied)
        return "model.language_model.embed_tokens.weight";
    return strcmp(name, "lm_head.rows.weight") == 0 ? "lm_head.weight" : name;
}

struct run {
    const struct qvl_tensor *from;
    enum qvl_dtype to;
    const struct qvl_kernels *kernels;
    struct qvl_packed_head *head;
    size_t first, end;        /* rows */
    float *scratch;           /* [n_thread, QVL_PANEL_ROWS, n_in] */
    _Atomic uint64_t bad_row; /* lowest found with a value that is not finite */
};

static void widen(const struct run *run, size_t i_row, float *out)
{
    size_t n = run->head->n_in;
    const void *at = (const char *)run->from->data + i_row * n * qvl_dtype_bytes(run->from->dtype);
    if (run->from->dtype == QVL_BF16)
        run->kernels->bf16_to_f32(out, at, n);
    else if (run->from->dtype == QVL_F16)
        run->kernels->f16_to_f32(out, at, n);
    else
        memcpy(out, at, n * sizeof *out);
}

static bool is_finite_row(const float *x, size_t n)
{
    float zero = 0;
    for (size_t i = 0; i < n; i++)
        zero += x[i] * 0.0f; /* NaN from the first that is not finite on */
    return zero == 0;
}

static void report_row(struct run *run, uint64_t row)
{
    uint64_t lowest = atomic_load(&run->bad_row);
    while (row < lowest && !atomic_compare_exchange_weak(&run->bad_row, &lowest, row))
        ;
}

static void pack_job(void *arg, size_t i_job, size_t i_thread)
{
    struct run *run = arg;
    struct qvl_packed_head *head = run->head;
    float *scratch = run->scratch + i_thread * QVL_PANEL_ROWS * head->n_in;
    const float *row[QVL_PANEL_ROWS] = {NULL};
    size_t first = run->first + i_job * QVL_PANEL_ROWS, n = qvl_min_size(run->end - first, QVL_PANEL_ROWS);
    for (size_t i = 0; i < n; i++) {
        float *to = scratch + i * head->n_in;
        widen(run, first + i, to);
        row[i] = to;
        if (!is_finite_row(to, head->n_in)) {
            report_row(run, first + i);
            return;
        }
    }
    if (run->to == QVL_A8) {
        char *at = (char *)(head + 1) + first * qvl_a8_row_bytes(head->n_in);
        for (size_t i = 0; i < n; i++)
            run->kernels->f32_to_a8((void *)(at + i * qvl_a8_row_bytes(head->n_in)), 0, row[i], head->n_in);
        return;
    }
    float *factor = run->to == QVL_Q4 ? (float *)(void *)(head + 1) + first : NULL;
    uint8_t *panels = (uint8_t *)head + qvl_packed_panels_at(head->n_out, run->to);
    qvl_pack_panel(panels + first / QVL_PANEL_ROWS * qvl_panel_bytes(head->n_in, run->to), factor, row, head->n_in,
                   run->to, head->level);
}

/* Groups from all over the matrix, for its table of levels. */
static void learn_levels(const struct run *run, float *scratch)
{
    size_t n_out = run->head->n_out, n_in = run->head->n_in, n_group = n_in / QVL_GROUP, n = 0;
    float sample[SAMPLE_GROUPS * QVL_GROUP];
    for (size_t i = 0; i < SAMPLE_GROUPS && n_group > 0; i++) {
        widen(run, i * n_out / SAMPLE_GROUPS, scratch);
        memcpy(sample + n, scratch + i * 7 % n_group * QVL_GROUP, QVL_GROUP * sizeof *sample);
        n += QVL_GROUP;
    }
    if (is_finite_row(sample, n))
        qvl_learn_levels(sample, n, run->head->level);
}

enum qvl_status qvl_quantize_check(const char *model_dir, const struct qvl_config *config, struct qvl_error *err)
{
    if (config->text.head_dim % QVL_GROUP == 0)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_MODEL, "%s: heads of %u numbers cannot be quantised, only multiples of %d",
                    model_dir, config->text.head_dim, QVL_GROUP);
}

enum qvl_status qvl_quantize_rows(const struct qvl_tensor *from, enum qvl_dtype to, size_t first, size_t end,
                                  struct qvl_pool *pool, const atomic_bool *stop, void *out, struct qvl_error *err)
{
    size_t n_out = (size_t)from->dim[0], n_in = qvl_tensor_n_in(from);
    struct run run = {.from = from, .to = to, .head = out, .first = first, .end = end};
    enum qvl_status status = qvl_kernels_select("", &run.kernels, err);
    if (status)
        return status;
    size_t n_scratch = qvl_pool_n_thread(pool) * QVL_PANEL_ROWS * n_in;
    if (!(run.scratch = malloc(n_scratch * sizeof *run.scratch)))
        return qvl_fail_memory(err, n_scratch * sizeof *run.scratch, "quantising");
    atomic_init(&run.bad_row, UINT64_MAX);
    if (first == 0) {
        memset(out, 0, qvl_packed_bytes(n_out, n_in, to));
        qvl_pack_head(out, to, (uint32_t)n_out, (uint32_t)n_in);
    }
    if (first == 0 && to == QVL_Q4)
        learn_levels(&run, run.scratch);
    if (!qvl_pool_run(pool, qvl_div_up(end - first, QVL_PANEL_ROWS), pack_job, &run, stop))
        status = qvl_fail(err, QVL_ERR_CANCELLED, "cancelled while the weights were quantised");
    uint64_t bad_row = atomic_load(&run.bad_row);
    if (!status && bad_row != UINT64_MAX)
        status =
            qvl_fail(err, QVL_ERR_MODEL,
                     "%s: row %" PRIu64 " holds a value that is infinite or not a number: it cannot be quantised",
                     from->name, bad_row);
    free(run.scratch);
    return status;
}
