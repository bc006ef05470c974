/* Enters: a matrix of activations, weights as they lie in the checkpoint. Leaves: the products, each with its end
 * (bias, GELU, gate, residual, rounding to bf16) applied while it is still in the first-level cache.
 *
 * A job is a strip of STRIP weight rows times a group of up to GROUP tokens, walked BLOCK tokens at a time: the
 * strip stays in the second-level cache, the tile of results (STRIP x BLOCK f32) in the first. (Products in matrix
 * tiles want more tokens at once.) Jobs of one group are neighbours, so that its tokens stay in the shared cache
 * while the weights stream by. With one token (decode) a job is simply the next STRIP rows of the matrix, read once
 * in order.
 *
 * Threads split outputs, never a sum over k, and no kernel's result depends on a strip's or block's size: the
 * same bits for any number of threads and any number of tokens. */
#include "model/linear.h"

#include <string.h>

#include "base/checked.h"

enum {
    STRIP = 64, /* whole panels of packed weights, whole groups of QVL_A8 rows */
    BLOCK = 96, /* the kernels' tile of 3 tokens divides it */
    GROUP = QVL_MAX_TOKS_AT_ONCE,
    NORM_ROWS = 8,      /* rows of one job */
    MIN_MACS = 1 << 16, /* of one job: some microseconds, many times what it costs to hand it out */
};

/* ---- rows ---------------------------------------------------------------------------------------- */

enum qvl_status qvl_rows_alloc(struct qvl_arena *arena, size_t n_row, size_t n, enum qvl_dtype dtype,
                               const char *purpose, struct qvl_rows *out, struct qvl_error *err)
{
    size_t stride_bytes = qvl_row_stride_bytes(n, dtype);
    void *data = qvl_arena_alloc(arena, n_row, stride_bytes, purpose, err);
    if (!data)
        return QVL_ERR_MEMORY;
    *out = (struct qvl_rows){.data = data, .stride_bytes = stride_bytes, .dtype = dtype};
    return QVL_OK;
}

void qvl_row_enter(const struct qvl_kernels *kernels, const struct qvl_rows *rows, size_t i_row, size_t column,
                   const float *x, size_t n)
{
    if (rows->dtype == QVL_A8)
        kernels->f32_to_a8(qvl_row_at(rows, i_row), column, x, n);
    else if (rows->dtype == QVL_BF16)
        kernels->f32_to_bf16((qvl_bf16 *)qvl_row_at(rows, i_row) + column, x, n);
    else
        memcpy((float *)qvl_row_at(rows, i_row) + column, x, n * sizeof *x);
}

/* ---- products ------------------------------------------------------------------------------------ */

struct run {
    const struct qvl_kernels *kernels;
    const struct qvl_rows *x;
    size_t n_tok;
    const struct qvl_product *product;
    size_t n_strip;       /* of all products */
    size_t n_unit;        /* strips * groups */
    size_t units_per_job; /* more than 1 where a unit is too small to be worth handing out */
};

static size_t n_strip_of(const struct qvl_product *product)
{
    return qvl_div_up(product->linear->n_out, STRIP);
}

/* c [n_tok, STRIP] = rows r0.. of the weights times tokens t0.. of x. */
static void multiply(const struct run *run, const struct qvl_linear *linear, size_t r0, size_t n_row, size_t t0,
                     size_t n_tok, float *c)
{
    const struct qvl_kernels *k = run->kernels;
    const struct qvl_rows *rows = run->x;
    size_t row = linear->first_row + r0;
    const void *x = qvl_row_at(rows, t0);
    if (linear->dtype == QVL_Q8) {
        k->gemm_q8_a8(c, STRIP, linear->w, row, x, rows->stride_bytes, n_row, n_tok, linear->n_in);
        return;
    }
    if (linear->dtype == QVL_Q4) {
        k->gemm_q4_a8(c, STRIP, linear->w, row, x, rows->stride_bytes, n_row, n_tok, linear->n_in);
        return;
    }
    size_t w_stride = linear->n_in * qvl_dtype_bytes(linear->dtype);
    const void *weights = (const char *)linear->w + row * w_stride;
    if (rows->dtype == QVL_BF16)
        k->gemm_bf16_bf16(c, STRIP, weights, w_stride, x, rows->stride_bytes, n_row, n_tok, linear->n_in);
    else if (linear->dtype == QVL_BF16)
        k->gemm_bf16_f32(c, STRIP, weights, w_stride, x, rows->stride_bytes, n_row, n_tok, linear->n_in);
    else if (linear->dtype == QVL_F16)
        k->gemm_f16_f32(c, STRIP, weights, w_stride, x, rows->stride_bytes, n_row, n_tok, linear->n_in);
    else
        k->gemm_f32_f32(c, STRIP, weights, w_stride, x, rows->stride_bytes, n_row, n_tok, linear->n_in);
}

/* Rows are used again, and a product reads QVL_A8 in whole blocks: what lies behind the last number is zero. */
static void end_row(const struct qvl_rows *rows, size_t i_row, size_t n)
{
    struct qvl_a8_block *block = (struct qvl_a8_block *)qvl_row_at(rows, i_row) + n / QVL_A8_BLOCK;
    size_t first = qvl_div_up(n % QVL_A8_BLOCK, QVL_GROUP), end = QVL_A8_BLOCK / QVL_GROUP;
    if (n % QVL_A8_BLOCK == 0)
        return;
    memset(block->q + first * QVL_GROUP, 0, (end - first) * QVL_GROUP);
    memset(block->scale + first, 0, (end - first) * sizeof *block->scale);
    memset(block->minus_64_sum + first, 0, (end - first) * sizeof *block->minus_64_sum);
}

/* What becomes of y, rows r0.. of token t's result. */
static void finish(const struct qvl_kernels *k, const struct qvl_product *product, float *y, const float *up,
                   size_t r0, size_t n_row, size_t t)
{
    if (product->linear->bias)
        k->add(y, product->linear->bias + r0, n_row);
    switch (product->end) {
    case QVL_END_ADD: k->add((float *)qvl_row_at(&product->out, t) + r0, y, n_row); return;
    case QVL_END_GELU_TANH: k->gelu_tanh(y, n_row); break;
    case QVL_END_GELU_ERF: k->gelu_erf(y, n_row); break;
    case QVL_END_SILU_MUL: k->silu_mul(y, y, up, n_row); break;
    case QVL_END_STORE: break;
    }
    qvl_row_enter(k, &product->out, t, r0, y, n_row);
    if (product->out.dtype == QVL_A8 && r0 + n_row == product->linear->n_out)
        end_row(&product->out, t, product->linear->n_out);
}

static void run_unit(const struct run *run, size_t i_unit)
{
    _Alignas(64) float y[GROUP * STRIP], up[GROUP * STRIP];
    size_t block = run->x->dtype == QVL_BF16 ? run->kernels->n_tok_at_once : BLOCK;
    size_t i_group = i_unit / run->n_strip, i_strip = i_unit % run->n_strip;
    const struct qvl_product *product = run->product;
    for (; i_strip >= n_strip_of(product); product++)
        i_strip -= n_strip_of(product);
    size_t r0 = i_strip * STRIP, n_row = qvl_min_size(STRIP, product->linear->n_out - r0);
    size_t end = qvl_min_size((i_group + 1) * GROUP, run->n_tok);
    for (size_t t0 = i_group * GROUP; t0 < end; t0 += block) {
        size_t n_tok = qvl_min_size(block, end - t0);
        multiply(run, product->linear, r0, n_row, t0, n_tok, y);
        if (product->end == QVL_END_SILU_MUL)
            multiply(run, product->up, r0, n_row, t0, n_tok, up);
        for (size_t t = 0; t < n_tok; t++)
            finish(run->kernels, product, y + t * STRIP, up + t * STRIP, r0, n_row, t0 + t);
    }
}

static void run_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct run *run = arg;
    size_t end = qvl_min_size((i_job + 1) * run->units_per_job, run->n_unit);
    (void)i_thread;
    for (size_t i = i_job * run->units_per_job; i < end; i++)
        run_unit(run, i);
}

bool qvl_linear_run(const struct qvl_model *model, const struct qvl_rows *x, size_t n_tok,
                    const struct qvl_product *product, size_t n_product, const atomic_bool *stop)
{
    struct run run = {.kernels = model->kernels, .x = x, .n_tok = n_tok, .product = product};
    for (size_t i = 0; i < n_product; i++)
        run.n_strip += n_strip_of(&product[i]);
    run.n_unit = run.n_strip * qvl_div_up(n_tok, GROUP);
    size_t unit_macs = qvl_min_size(n_tok, GROUP) * STRIP * product->linear->n_in;
    run.units_per_job = unit_macs ? qvl_div_up(MIN_MACS, unit_macs) : 1;
    return qvl_pool_run(model->pool, qvl_div_up(run.n_unit, run.units_per_job), run_job, &run, stop);
}

/* ---- norms --------------------------------------------------------------------------------------- */

struct norm_run {
    const struct qvl_model *model;
    const struct qvl_layer_norm *norm;
    float eps;
    const float *x;
    size_t n_row, n_merge;
    const struct qvl_rows *y;
};

static void norm_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct norm_run *run = arg;
    const struct qvl_kernels *k = run->model->kernels;
    const struct qvl_layer_norm *norm = run->norm;
    float *y = qvl_model_scratch(run->model, i_thread);
    size_t end = qvl_min_size((i_job + 1) * NORM_ROWS, run->n_row);
    for (size_t i = i_job * NORM_ROWS; i < end; i++) {
        const float *x = run->x + i * norm->n;
        if (norm->b)
            k->layer_norm(y, x, norm->w, norm->b, norm->n, run->eps);
        else
            k->rms_norm(y, x, norm->w, norm->n, run->eps);
        qvl_row_enter(k, run->y, i / run->n_merge, i % run->n_merge * norm->n, y, norm->n);
    }
}

bool qvl_norm_run(const struct qvl_model *model, const struct qvl_layer_norm *norm, float eps, const float *x,
                  size_t n_row, size_t n_merge, const struct qvl_rows *y, const atomic_bool *stop)
{
    struct norm_run run = {model, norm, eps, x, n_row, n_merge, y};
    return qvl_pool_run(model->pool, qvl_div_up(n_row, NORM_ROWS), norm_job, &run, stop);
}
