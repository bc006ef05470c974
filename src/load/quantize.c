/* Enters: mapped matrices of bf16, f16 or f32, or as other programs quantise them (load/stored.h). Leaves: packed
 * ones (kernel/packed.h), or of bf16 or f32, wherever the caller wants them.
 *
 * Work is split by 16 rows, a panel of a packed matrix, which do not know of each other: the same bytes for any
 * number of threads. Rows are widened to f32 in a thread's own scratch, where each number is looked at once. */
#include "load/quantize.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"
#include "kernel/pack.h"
#include "load/stored.h"

enum {
    SAMPLE_GROUPS = 1000,
    PIECE = 8 << 20, /* weights that one call takes */
};

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
    void *out;
    size_t n_in, first, end;  /* rows */
    float *scratch;           /* [n_thread, QVL_PANEL_ROWS, n_in] */
    _Atomic uint64_t bad_row; /* lowest found with a value that is not finite */
};

/* Also in type `to`: what rounds to infinity there is not. The sum carries into the sign for what is not finite. */
static bool is_finite(const float *x, size_t n, enum qvl_dtype to)
{
    uint32_t sum = 0, add = to == QVL_BF16 ? 0x00808000 : 0x00800000, bits;
    for (size_t i = 0; i < n; i++) {
        memcpy(&bits, &x[i], sizeof bits);
        sum |= (bits & 0x7fffffff) + add;
    }
    return sum >> 31 == 0;
}

static void report_row(struct run *run, uint64_t row)
{
    uint64_t lowest = atomic_load(&run->bad_row);
    while (row < lowest && !atomic_compare_exchange_weak(&run->bad_row, &lowest, row))
        ;
}

/* n rows from first on, as numbers or as rows of activations: one after the other. */
static void put_rows(const struct run *run, size_t first, size_t n, const float *x)
{
    size_t n_in = run->n_in;
    if (run->to == QVL_F32) {
        memcpy((float *)run->out + first * n_in, x, n * n_in * sizeof *x);
    } else if (run->to == QVL_BF16) {
        run->kernels->f32_to_bf16((qvl_bf16 *)run->out + first * n_in, x, n * n_in);
    } else {
        char *at = (char *)run->out + qvl_packed_panels_at(0, QVL_A8) + first * qvl_a8_row_bytes(n_in);
        for (size_t i = 0; i < n; i++)
            run->kernels->f32_to_a8((void *)(at + i * qvl_a8_row_bytes(n_in)), 0, x + i * n_in, n_in);
    }
}

static void put_panel(const struct run *run, size_t first, size_t n, const float *x)
{
    struct qvl_packed_head *head = run->out;
    const float *row[QVL_PANEL_ROWS] = {NULL};
    for (size_t i = 0; i < n; i++)
        row[i] = x + i * run->n_in;
    float *factor = run->to == QVL_Q4 ? (float *)(void *)(head + 1) + first : NULL;
    uint8_t *panels = (uint8_t *)head + qvl_packed_panels_at(head->n_out, run->to);
    qvl_pack_panel(panels + first / QVL_PANEL_ROWS * qvl_panel_bytes(run->n_in, run->to), factor, row, run->n_in,
                   run->to, head->level);
}

static void rows_job(void *arg, size_t i_job, size_t i_thread)
{
    struct run *run = arg;
    float *x = run->scratch + i_thread * QVL_PANEL_ROWS * run->n_in;
    size_t first = run->first + i_job * QVL_PANEL_ROWS, n = qvl_min_size(run->end - first, QVL_PANEL_ROWS);
    qvl_stored_rows(run->from, first, n, x);
    size_t i = 0;
    while (i < n && is_finite(x + i * run->n_in, run->n_in, run->to))
        i++;
    if (i < n) {
        report_row(run, first + i);
        return;
    }
    if (run->to == QVL_Q8 || run->to == QVL_Q4)
        put_panel(run, first, n, x);
    else
        put_rows(run, first, n, x);
}

/* Groups from all over the matrix, for its table of levels. */
static void learn_levels(const struct run *run)
{
    struct qvl_packed_head *head = run->out;
    size_t n_group = run->n_in / QVL_GROUP, n = 0;
    float sample[SAMPLE_GROUPS * QVL_GROUP];
    for (size_t i = 0; i < SAMPLE_GROUPS && n_group > 0; i++) {
        qvl_stored_rows(run->from, i * head->n_out / SAMPLE_GROUPS, 1, run->scratch);
        memcpy(sample + n, run->scratch + i * 7 % n_group * QVL_GROUP, QVL_GROUP * sizeof *sample);
        n += QVL_GROUP;
    }
    if (is_finite(sample, n, run->to))
        qvl_learn_levels(sample, n, head->level);
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
    struct run run = {.from = from, .to = to, .out = out, .n_in = n_in, .first = first, .end = end};
    enum qvl_status status = qvl_kernels_select("", &run.kernels, err);
    if (status)
        return status;
    size_t n_scratch = qvl_pool_n_thread(pool) * QVL_PANEL_ROWS * n_in;
    if (!(run.scratch = malloc(n_scratch * sizeof *run.scratch)))
        return qvl_fail_memory(err, n_scratch * sizeof *run.scratch, "quantising");
    atomic_init(&run.bad_row, UINT64_MAX);
    if (first == 0 && qvl_dtype_is_packed(to)) {
        memset(out, 0, qvl_packed_bytes(n_out, n_in, to));
        qvl_pack_head(out, to, (uint32_t)n_out, (uint32_t)n_in);
    }
    if (first == 0 && to == QVL_Q4)
        learn_levels(&run);
    if (!qvl_pool_run(pool, qvl_div_up(end - first, QVL_PANEL_ROWS), rows_job, &run, stop))
        status = qvl_fail(err, QVL_ERR_CANCELLED, "cancelled while the weights were quantised");
    uint64_t bad_row = atomic_load(&run.bad_row);
    if (!status && bad_row != UINT64_MAX)
        status = qvl_fail(err, QVL_ERR_MODEL, "%s: row %" PRIu64 " holds a value that is infinite or not a number",
                          from->name, bad_row);
    free(run.scratch);
    return status;
}

size_t qvl_quantize_piece(const struct qvl_tensor *t)
{
    return qvl_round_up(PIECE / qvl_tensor_n_in(t) + 1, QVL_PANEL_ROWS);
}

uint64_t qvl_quantize_work(const struct qvl_tensor *t)
{
    return t->n_element * (t->dtype == QVL_Q4 ? 24 : t->dtype == QVL_Q8 ? 4 : 2);
}
