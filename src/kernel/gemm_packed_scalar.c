/* The definition of the products of packed matrices, and of the rows that enter them (packed.h). */
#include "kernel/levels.h"

#include <math.h>
#include <string.h>

#include "kernel/packed.h"

/* The number at (row of the panel, column of the group) of a group's lines, without its offset. */
static int32_t q8_number(const uint8_t *lines, size_t row, size_t column)
{
    return lines[column / 4 * QVL_PANEL_LINE + row * 4 + column % 4] - QVL_Q8_ZERO;
}

static int32_t q4_number(const uint8_t *lines, const uint8_t *level, size_t row, size_t column)
{
    uint8_t halves = lines[column % 16 / 4 * QVL_PANEL_LINE + row * 4 + column % 4];
    return level[column < 16 ? halves & 15 : halves >> 4] - QVL_Q4_ZERO;
}

static float q8_product(const uint8_t *panel, size_t row, const struct qvl_a8_block *x, size_t k)
{
    float acc = 0;
    for (size_t i = 0; i < qvl_div_up(k, QVL_GROUP); i++) {
        const uint8_t *block = panel + i / 2 * QVL_PANEL_BLOCK_BYTES;
        const struct qvl_a8_block *xs = &x[i / 4];
        qvl_bf16 scale;
        memcpy(&scale, block + (i % 2 * QVL_PANEL_ROWS + row) * sizeof scale, sizeof scale);
        const uint8_t *lines = block + QVL_PANEL_LINE + i % 2 * 8 * QVL_PANEL_LINE;
        int32_t sum = 0;
        for (size_t j = 0; j < QVL_GROUP; j++)
            sum += q8_number(lines, row, j) * xs->q[i % 4 * QVL_GROUP + j];
        acc = fmaf((float)sum, qvl_bf16_widen(scale) * xs->scale[i % 4], acc);
    }
    return acc;
}

static float q4_product(const uint8_t *panel, const uint8_t *level, size_t row, const struct qvl_a8_block *x,
                        size_t k)
{
    float acc = 0;
    for (size_t i = 0; i < qvl_div_up(k, QVL_GROUP); i++) {
        const uint8_t *block = panel + i / 4 * QVL_PANEL_BLOCK_BYTES;
        const uint8_t *lines = block + QVL_PANEL_LINE + i % 4 * 4 * QVL_PANEL_LINE;
        const struct qvl_a8_block *xs = &x[i / 4];
        int32_t sum = 0;
        for (size_t j = 0; j < QVL_GROUP; j++)
            sum += q4_number(lines, level, row, j) * xs->q[i % 4 * QVL_GROUP + j];
        acc = fmaf((float)sum, qvl_q4_scale(block[i % 4 * QVL_PANEL_ROWS + row]) * xs->scale[i % 4], acc);
    }
    return acc;
}

static void gemm_q8_a8(float *c, size_t c_stride, const struct qvl_packed_head *w, size_t row0,
                       const struct qvl_a8_block *x, size_t x_stride, size_t n_row, size_t n_tok, size_t k)
{
    const uint8_t *panels = (const uint8_t *)w + qvl_packed_panels_at(w->n_out, QVL_Q8);
    for (size_t t = 0; t < n_tok; t++)
        for (size_t r = 0; r < n_row; r++) {
            size_t row = row0 + r;
            c[t * c_stride + r] =
                q8_product(panels + row / QVL_PANEL_ROWS * qvl_panel_bytes(k, QVL_Q8), row % QVL_PANEL_ROWS,
                           (const void *)((const char *)x + t * x_stride), k);
        }
}

static void gemm_q4_a8(float *c, size_t c_stride, const struct qvl_packed_head *w, size_t row0,
                       const struct qvl_a8_block *x, size_t x_stride, size_t n_row, size_t n_tok, size_t k)
{
    const float *factor = (const void *)(w + 1);
    const uint8_t *panels = (const uint8_t *)w + qvl_packed_panels_at(w->n_out, QVL_Q4);
    for (size_t t = 0; t < n_tok; t++)
        for (size_t r = 0; r < n_row; r++) {
            size_t row = row0 + r;
            const uint8_t *panel = panels + row / QVL_PANEL_ROWS * qvl_panel_bytes(k, QVL_Q4);
            float y = q4_product(panel, w->level, row % QVL_PANEL_ROWS,
                                 (const void *)((const char *)x + t * x_stride), k);
            c[t * c_stride + r] = y * factor[row];
        }
}

static float dot_a8_a8(const struct qvl_a8_block *a, const struct qvl_a8_block *b, size_t k)
{
    float acc = 0;
    for (size_t i = 0; i < qvl_div_up(k, QVL_GROUP); i++) {
        const int8_t *p = a[i / 4].q + i % 4 * QVL_GROUP, *q = b[i / 4].q + i % 4 * QVL_GROUP;
        int32_t sum = 0;
        for (size_t j = 0; j < QVL_GROUP; j++)
            sum += p[j] * q[j];
        acc = fmaf((float)sum, a[i / 4].scale[i % 4] * b[i / 4].scale[i % 4], acc);
    }
    return acc;
}

/* A group whose largest number is too small for its inverse is zero; one with a number that is not finite becomes
 * NaN. */
static void group_to_a8(struct qvl_a8_block *y, size_t i_group, const float *x, size_t n)
{
    float largest = 0;
    bool is_finite = true;
    for (size_t j = 0; j < n; j++) {
        is_finite = is_finite && isfinite(x[j]);
        largest = fabsf(x[j]) > largest ? fabsf(x[j]) : largest;
    }
    float inverse = is_finite && largest >= QVL_SMALLEST_LARGEST ? 127.0f / largest : 0;
    int32_t sum = 0;
    for (size_t j = 0; j < QVL_GROUP; j++) {
        int q = j < n && inverse > 0 ? (int)nearbyintf(x[j] * inverse) : 0;
        y->q[i_group * QVL_GROUP + j] = (int8_t)q;
        sum += q;
    }
    y->scale[i_group] = !is_finite ? NAN : inverse > 0 ? largest / 127.0f : 0;
    y->minus_64_sum[i_group] = -64 * sum;
}

static void f32_to_a8(struct qvl_a8_block *y, size_t column, const float *x, size_t n)
{
    for (size_t j = 0; j < n; j += QVL_GROUP) {
        size_t at = column + j;
        group_to_a8(&y[at / QVL_A8_BLOCK], at % QVL_A8_BLOCK / QVL_GROUP, x + j, qvl_min_size(n - j, QVL_GROUP));
    }
}

static void a8_to_f32(float *y, const struct qvl_a8_block *x, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        const struct qvl_a8_block *block = &x[j / QVL_A8_BLOCK];
        y[j] = (float)block->q[j % QVL_A8_BLOCK] * block->scale[j % QVL_A8_BLOCK / QVL_GROUP];
    }
}

void qvl_overlay_gemm_packed_scalar(struct qvl_kernels *table)
{
    table->gemm_q8_a8 = gemm_q8_a8;
    table->gemm_q4_a8 = gemm_q4_a8;
    table->dot_a8_a8 = dot_a8_a8;
    table->f32_to_a8 = f32_to_a8;
    table->a8_to_f32 = a8_to_f32;
}
