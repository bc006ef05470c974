/* linear.h: y = x w^T through the pool, with what becomes of y fused to it, so that wide f32 tensors never exist:
 * they are born as the next product's input. */
#ifndef QVL_MODEL_LINEAR_H
#define QVL_MODEL_LINEAR_H

#include "model/model.h"

/* Rows of numbers entering or leaving a product; stride from qvl_row_stride_bytes. */
struct qvl_rows {
    void *data; /* [n_row, n] of dtype, 64-byte aligned rows */
    size_t stride_bytes;
    enum qvl_dtype dtype; /* QVL_F32, QVL_BF16, or QVL_A8 (kernel/packed.h) */
};

enum qvl_end {
    QVL_END_STORE,     /* out = y */
    QVL_END_ADD,       /* out += y; out is f32 (the residual stream) */
    QVL_END_GELU_TANH, /* out = gelu(y) */
    QVL_END_GELU_ERF,
    QVL_END_SILU_MUL /* out = silu(y) * (x w_up^T) */
};

/* One product; y's type is out's: rounded once where that is bf16. */
struct qvl_product {
    const struct qvl_linear *linear;
    const struct qvl_linear *up; /* QVL_END_SILU_MUL only */
    enum qvl_end end;
    struct qvl_rows out; /* [n_tok, linear->n_out] */
};

static inline void *qvl_row_at(const struct qvl_rows *rows, size_t i)
{
    return (char *)rows->data + i * rows->stride_bytes;
}

/* Rows of n numbers for n_row rows from an arena; zeroed struct data on failure. */
enum qvl_status qvl_rows_alloc(struct qvl_arena *arena, size_t n_row, size_t n, enum qvl_dtype dtype,
                               const char *purpose, struct qvl_rows *out, struct qvl_error *err);

/* Runs the products of one input, [n_tok, n_in], in one go. False when stopped. An element's bits depend on its
 * weight row and its input row only. */
bool qvl_linear_run(const struct qvl_model *model, const struct qvl_rows *x, size_t n_tok,
                    const struct qvl_product *product, size_t n_product, const atomic_bool *stop);

/* n numbers into row i_row of a product's input from column on, rounded where that is bf16. Where it is QVL_A8, column is
 * a multiple of QVL_GROUP, and n, too, unless the row ends there. */
void qvl_row_enter(const struct qvl_kernels *kernels, const struct qvl_rows *rows, size_t i_row, size_t column,
                   const float *x, size_t n);
/* A norm of n_row rows of f32, [n_row, norm->n] without gaps, into a product's input: row i goes to row i /
 * n_merge, beside the others of its n_merge. norm->b NULL: RMSNorm. False when stopped. */
bool qvl_norm_run(const struct qvl_model *model, const struct qvl_layer_norm *norm, float eps, const float *x,
                  size_t n_row, size_t n_merge, const struct qvl_rows *y, const atomic_bool *stop);

#endif
