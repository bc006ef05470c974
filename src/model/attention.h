/* attention.h: what the tower and the decoder share around the attention kernel: keys and values into their
 * blocks, a tile of queries through the kernel. */
#ifndef QVL_MODEL_ATTENTION_H
#define QVL_MODEL_ATTENTION_H

#include "model/linear.h"

/* Query rows of a tile (tokens times heads that share keys): the kernels' register tiles of 12 and of 4 rows
 * divide it, and with it a block of keys stays in the first two levels of cache. */
enum { QVL_TILE_ROWS = 96 };

/* A finished key and value of one head (f32, head_dim long) into the place i_pos of their blocks. */
void qvl_attention_put(const struct qvl_kernels *kernels, enum qvl_dtype dtype, void *k_block, void *v_block,
                       size_t i_pos, const float *k, const float *v, size_t head_dim);

/* Scratch of one tile, in bytes. */
size_t qvl_attention_tile_bytes(size_t head_dim, size_t n_group);

/* How many tokens a tile may hold where n_group heads share keys. */
static inline size_t qvl_attention_tile_tokens(size_t n_group)
{
    return n_group < QVL_TILE_ROWS ? QVL_TILE_ROWS / n_group : 1;
}

/* Keys and values of one token and head: key normed (norm NULL: not), rotated, both put at i_pos of a block.
 * Values that are not finite: rows that see the token become NaN, the others feel nothing. */
void qvl_attention_store(const struct qvl_kernels *kernels, enum qvl_dtype dtype, void *k_block, void *v_block,
                         size_t i_pos, const float *k, const float *v, size_t head_dim,
                         const struct qvl_layer_norm *norm, float eps, const float *cos, const float *sin);

/* n_tok <= qvl_attention_tile_tokens(n_group) tokens, and of each n_group heads that share keys. Arrays by token
 * are read at token[i]: NULL means first, first + 1, … */
struct qvl_tile {
    size_t n_tok, n_group;
    const float *q;         /* [.., q_stride] f32: the group's first head of token 0 */
    size_t q_stride;        /* elements */
    const float *cos, *sin; /* [.., head_dim / 2] */
    const uint32_t *n_key;  /* [..] keys that a token sees */
    const uint32_t *token;  /* [n_tok] row in q, cos, sin, n_key; or NULL */
    size_t first;
    const struct qvl_layer_norm *norm; /* of each query head, or NULL */
    float eps;
    const void *const *k_block;
    const void *const *v_block;
    enum qvl_dtype dtype; /* of the blocks */
    size_t head_dim;
    const struct qvl_rows *out; /* tokens at rows out_row, out_row + 1, …, heads from out_column on */
    size_t out_row, out_column;
};

void qvl_attention_tile(const struct qvl_kernels *kernels, const struct qvl_tile *tile, void *scratch);

#endif
