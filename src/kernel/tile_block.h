/* tile_block.h: how the kernels in matrix tiles use the eight registers: up to 2 x 2 accumulators of a block of
 * results [32 rows, 32 columns] f32, of which each step of k adds A [32 rows, k] B [k/2, 32 columns, 2 k]. Each
 * tile loaded serves twice. A step loads 4 KB in the time of 64 cycles that its four products take, so two of its
 * four tiles must come from the first-level cache. */
#ifndef QVL_KERNEL_TILE_BLOCK_H
#define QVL_KERNEL_TILE_BLOCK_H

#include "base/checked.h"
#include "kernel/tile.h"

#define TILE_STEP ((size_t)32)  /* most elements of k in a step */
#define TILE_PAIRS ((size_t)16) /* of k */
#define BLOCK_ROWS (2 * TILE_ROWS)
#define BLOCK_COLUMNS (2 * TILE_ROWS)

/* Accumulators [2 of rows][2 of columns], then A, then B. */
enum { C00, C01, C10, C11, A0, A1, B0, B1 };

struct block {
    float *c;
    size_t c_stride; /* bytes */
    size_t n_row, n_column;
};

/* Part i (0, 1) of n, cut after 16. */
static inline size_t tile_part(size_t n, size_t i)
{
    return n > i * TILE_ROWS ? qvl_min_size(n - i * TILE_ROWS, TILE_ROWS) : 0;
}

/* The registers for blocks of this size, n_k elements of k a step. */
static inline void block_configure(size_t n_row, size_t n_column, size_t n_k)
{
    struct tile_config config = {0};
    for (size_t i = 0; i < 2; i++) {
        if (tile_part(n_row, i) > 0)
            tile_shape(&config, A0 + (int)i, tile_part(n_row, i), n_k * sizeof(qvl_bf16));
        if (tile_part(n_column, i) > 0)
            tile_shape(&config, B0 + (int)i, n_k / 2, tile_part(n_column, i) * sizeof(float));
    }
    for (int i = C00; i <= C11; i++)
        if (config.n_row[A0 + i / 2] && config.n_row[B0 + i % 2])
            tile_shape(&config, i, config.n_row[A0 + i / 2], config.row_bytes[B0 + i % 2]);
    tile_configure(&config);
}

/* More than one tile of rows, of columns? */
QVL_INLINE bool has_row1(const struct block *block)
{
    return block->n_row > TILE_ROWS;
}

QVL_INLINE bool has_column1(const struct block *block)
{
    return block->n_column > TILE_ROWS;
}

QVL_INLINE float *block_at(const struct block *block, size_t i_row, size_t i_column)
{
    return (float *)((char *)block->c + i_row * block->c_stride) + i_column;
}

QVL_INLINE void block_zero(const struct block *block)
{
    tile_zero(C00);
    if (has_column1(block))
        tile_zero(C01);
    if (has_row1(block))
        tile_zero(C10);
    if (has_row1(block) && has_column1(block))
        tile_zero(C11);
}

QVL_INLINE void block_load(const struct block *block)
{
    tile_load(C00, block_at(block, 0, 0), block->c_stride);
    if (has_column1(block))
        tile_load(C01, block_at(block, 0, TILE_ROWS), block->c_stride);
    if (has_row1(block))
        tile_load(C10, block_at(block, TILE_ROWS, 0), block->c_stride);
    if (has_row1(block) && has_column1(block))
        tile_load(C11, block_at(block, TILE_ROWS, TILE_ROWS), block->c_stride);
}

QVL_INLINE void block_store(const struct block *block)
{
    tile_store(C00, block_at(block, 0, 0), block->c_stride);
    if (has_column1(block))
        tile_store(C01, block_at(block, 0, TILE_ROWS), block->c_stride);
    if (has_row1(block))
        tile_store(C10, block_at(block, TILE_ROWS, 0), block->c_stride);
    if (has_row1(block) && has_column1(block))
        tile_store(C11, block_at(block, TILE_ROWS, TILE_ROWS), block->c_stride);
}

/* Strides in bytes; b1: the second 16 columns of B. */
QVL_INLINE void block_step(const struct block *block, const void *a, size_t a_stride, const void *b0,
                           const void *b1, size_t b_stride)
{
    tile_load(B0, b0, b_stride);
    tile_load(A0, a, a_stride);
    tile_product_bf16(C00, A0, B0);
    if (has_column1(block)) {
        tile_load(B1, b1, b_stride);
        tile_product_bf16(C01, A0, B1);
    }
    if (has_row1(block)) {
        tile_load(A1, (const char *)a + TILE_ROWS * a_stride, a_stride);
        tile_product_bf16(C10, A1, B0);
        if (has_column1(block))
            tile_product_bf16(C11, A1, B1);
    }
}

#endif
