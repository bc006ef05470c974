/* rows_a8_lanes.h: rows of QVL_A8 (packed.h) for all vector levels. The including file defines:
 *   group_to_a8(y, i_group, x)   a group of a block from 32 floats
 *   eight_to_f32(y, block, j)    columns j … j + 7 of a block, back
 *   dot_group(a, b)              sum of 32 products of int8 */
#ifndef QVL_KERNEL_ROWS_A8_LANES_H
#define QVL_KERNEL_ROWS_A8_LANES_H

#include <math.h>
#include <string.h>

#include "kernel/packed.h"

static void f32_to_a8(struct qvl_a8_block *y, size_t column, const float *x, size_t n)
{
    size_t j = 0;
    for (; j + QVL_GROUP <= n; j += QVL_GROUP)
        group_to_a8(&y[(column + j) / QVL_A8_BLOCK], (column + j) % QVL_A8_BLOCK / QVL_GROUP, x + j);
    if (j < n) {
        float last[QVL_GROUP] = {0};
        memcpy(last, x + j, (n - j) * sizeof *x);
        group_to_a8(&y[(column + j) / QVL_A8_BLOCK], (column + j) % QVL_A8_BLOCK / QVL_GROUP, last);
    }
}

static void a8_to_f32(float *y, const struct qvl_a8_block *x, size_t n)
{
    size_t j = 0;
    for (; j + 8 <= n; j += 8)
        eight_to_f32(y + j, &x[j / QVL_A8_BLOCK], j % QVL_A8_BLOCK);
    if (j < n) {
        float last[8];
        eight_to_f32(last, &x[j / QVL_A8_BLOCK], j % QVL_A8_BLOCK);
        memcpy(y + j, last, (n - j) * sizeof *y);
    }
}

static float dot_a8_a8(const struct qvl_a8_block *a, const struct qvl_a8_block *b, size_t k)
{
    float acc = 0;
    for (size_t i = 0; i < qvl_div_up(k, QVL_GROUP); i++) {
        int32_t sum = dot_group(a[i / 4].q + i % 4 * QVL_GROUP, b[i / 4].q + i % 4 * QVL_GROUP);
        acc = fmaf((float)sum, a[i / 4].scale[i % 4] * b[i / 4].scale[i % 4], acc);
    }
    return acc;
}

QVL_INLINE void overlay_rows_a8(struct qvl_kernels *table)
{
    table->f32_to_a8 = f32_to_a8;
    table->a8_to_f32 = a8_to_f32;
    table->dot_a8_a8 = dot_a8_a8;
}

#endif
