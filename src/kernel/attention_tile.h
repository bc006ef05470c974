/* attention_tile.h: what a tile of query rows does at every level, whatever its keys and values are
 * (attention_softmax.h, attention_i8_lanes.h). On top of a vec_isa.h; the including file defines ATTENTION_ROWS. */
#ifndef QVL_KERNEL_ATTENTION_TILE_H
#define QVL_KERNEL_ATTENTION_TILE_H

#include "kernel/levels.h"

#define LOG2_E 1.44269504f

_Static_assert(ATTENTION_ROWS <= QVL_ATTENTION_MAX_TILE_ROWS, "the scratch is sized for this many rows");

/* Of n_row rows the one that sees the most. */
QVL_INLINE size_t most_keys(const uint32_t *n_key, size_t n_row)
{
    size_t most = 0;
    for (size_t t = 0; t < n_row; t++)
        most = n_key[t] > most ? n_key[t] : most;
    return most;
}

/* A row's weighted sum divided by its total. */
QVL_INLINE void divide_row(float *out, const float *sum, float total, size_t head_dim)
{
    vec all = vec_set1(total);
    size_t dim = 0;
    for (; dim + VEC_LANES <= head_dim; dim += VEC_LANES)
        vec_store(out + dim, vec_div(vec_load(sum + dim), all));
    if (dim < head_dim)
        vec_store_n(out + dim, vec_div(vec_load(sum + dim), all), head_dim - dim);
}

#endif
