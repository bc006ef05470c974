/* attention_lanes.h: softmax(q k^T scale) v over blocks of keys and values, written once for all vector levels.
 *
 * In and out: struct qvl_attention_job and the block layouts (kernel.h). The walk over the blocks and the softmax
 * are those of attention_softmax.h. Q K^T has keys in the lanes, P V has dimensions in the lanes, the other operand
 * is one pair of elements broadcast: no sums across lanes but one maximum per row and block.
 *
 * Elements go in pairs (two neighbouring dimensions of a key, two neighbouring keys of a value), because
 * bf16 instructions want them so; f32 arithmetic does the same with two vectors. The including file defines, with
 * what attention_softmax.h asks for:
 *   ATTENTION_ROWS_FEW, ATTENTION_VECTORS   tile: rows where they are few, vectors
 *   pairs                         VEC_LANES pairs
 *   load_k_pairs(block, v, j, head_dim, t)   dimensions 2j, 2j+1 of keys v VEC_LANES …
 *   load_v_pairs(block, p, dim, d_pad, t)    keys 2p, 2p+1 of dimensions dim …
 *   broadcast_pair(row, j)        elements 2j, 2j+1 of a row of scalars in all lanes
 *   mac_pairs(acc, a, b)          acc + a.first b.first + a.second b.second */
#ifndef QVL_KERNEL_ATTENTION_LANES_H
#define QVL_KERNEL_ATTENTION_LANES_H

#include "kernel/attention_softmax.h"

#define KEY_VECTORS (QVL_KV_BLOCK / VEC_LANES)

/* Asks for the i-th piece, as long as VEC_LANES pairs, of the block that is needed after this one: at each step
 * one piece is used and one is asked for. Without it generation, which goes through all keys and values for a
 * row or two, runs at half the memory's speed. */
QVL_INLINE void fetch_piece(const void *next, size_t i, enum qvl_dtype type)
{
    size_t piece_bytes = 2 * VEC_LANES * qvl_dtype_bytes(type);
    for (size_t at = 0; at < piece_bytes; at += 64)
        __builtin_prefetch((const char *)next + i * piece_bytes + at, 0, 2);
}

/* Scores of n_row rows with the keys of ATTENTION_VECTORS vectors from v on. */
QVL_INLINE void score_keys(const struct tile *tile, size_t n_row, const void *block, const void *next, size_t v,
                           size_t head_dim, enum qvl_dtype type)
{
    vec acc[ATTENTION_ROWS][ATTENTION_VECTORS];
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_row; t++)
        QVL_UNROLL(4)
    for (size_t u = 0; u < ATTENTION_VECTORS; u++)
        acc[t][u] = vec_zero();
    for (size_t j = 0; j < head_dim / 2; j++) {
        pairs k[ATTENTION_VECTORS];
        QVL_UNROLL(4)
        for (size_t u = 0; u < ATTENTION_VECTORS; u++)
            k[u] = load_k_pairs(block, v + u, j, head_dim, type);
        QVL_UNROLL(4)
        for (size_t u = 0; u < ATTENTION_VECTORS; u++)
            fetch_piece(next, (v + u) * (head_dim / 2) + j, type);
        QVL_UNROLL(16)
        for (size_t t = 0; t < n_row; t++) {
            pairs q = broadcast_pair(tile->q + t * head_dim, j);
            QVL_UNROLL(4)
            for (size_t u = 0; u < ATTENTION_VECTORS; u++)
                acc[t][u] = mac_pairs(acc[t][u], k[u], q);
        }
    }
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_row; t++)
        QVL_UNROLL(4)
    for (size_t u = 0; u < ATTENTION_VECTORS; u++)
        vec_store(tile->score + t * QVL_KV_BLOCK + (v + u) * VEC_LANES, acc[t][u]);
}

/* sum[t][dim …] = sum shrink + P V for n_row rows and n_vector vectors of dimensions. */
QVL_INLINE void add_values(const struct tile *tile, size_t n_row, size_t n_vector, const void *block,
                           const void *next, size_t dim, size_t d_pad, enum qvl_dtype type)
{
    vec acc[ATTENTION_ROWS][ATTENTION_VECTORS];
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_row; t++)
        QVL_UNROLL(4)
    for (size_t u = 0; u < n_vector; u++)
        acc[t][u] = vec_mul(vec_load(tile->sum + t * d_pad + dim + u * VEC_LANES), vec_set1(tile->shrink[t]));
    for (size_t i_pair = 0; i_pair < QVL_KV_BLOCK / 2; i_pair++) {
        pairs v[ATTENTION_VECTORS];
        QVL_UNROLL(4)
        for (size_t u = 0; u < n_vector; u++)
            v[u] = load_v_pairs(block, i_pair, dim + u * VEC_LANES, d_pad, type);
        QVL_UNROLL(4)
        for (size_t u = 0; u < n_vector; u++)
            fetch_piece(next, i_pair * (d_pad / VEC_LANES) + dim / VEC_LANES + u, type);
        QVL_UNROLL(16)
        for (size_t t = 0; t < n_row; t++) {
            pairs p = broadcast_pair(tile->p + t * QVL_KV_BLOCK, i_pair);
            QVL_UNROLL(4)
            for (size_t u = 0; u < n_vector; u++)
                acc[t][u] = mac_pairs(acc[t][u], v[u], p);
        }
    }
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_row; t++)
        if (tile->is_active[t])
            QVL_UNROLL(4)
    for (size_t u = 0; u < n_vector; u++)
        vec_store(tile->sum + t * d_pad + dim + u * VEC_LANES, acc[t][u]);
}

/* n_wide is a constant of the call: the rows that are computed, at least n_row. */
QVL_INLINE void attend_tile(const struct qvl_attention_job *job, size_t i_row, size_t n_row, size_t n_wide,
                            enum qvl_dtype type)
{
    const uint32_t *n_key = job->n_key + i_row;
    size_t d_pad = qvl_head_dim_padded(job->head_dim), n_key_most = most_keys(n_key, n_row);
    float scale = job->scale * LOG2_E;
    struct tile tile = lay_out_tile(job, i_row, n_row);

    for (size_t first = 0; first < n_key_most; first += QVL_KV_BLOCK) {
        const void *k = job->k_block[first / QVL_KV_BLOCK], *v = job->v_block[first / QVL_KV_BLOCK];
        const void *next_k = first + QVL_KV_BLOCK < n_key_most ? job->k_block[first / QVL_KV_BLOCK + 1] : k;
        for (size_t u = 0; u < KEY_VECTORS; u += ATTENTION_VECTORS)
            score_keys(&tile, n_wide, k, v, u, job->head_dim, type);
        find_largest(&tile, n_key, first, scale);
        exponentiate(&tile, n_key, first, scale);
        size_t dim = 0;
        for (; dim + ATTENTION_VECTORS * VEC_LANES <= d_pad; dim += ATTENTION_VECTORS * VEC_LANES)
            add_values(&tile, n_wide, ATTENTION_VECTORS, v, next_k, dim, d_pad, type);
        for (; dim < d_pad; dim += VEC_LANES)
            add_values(&tile, n_wide, 1, v, next_k, dim, d_pad, type);
    }

    finish_rows(job, &tile, i_row);
}

QVL_INLINE void attend(const struct qvl_attention_job *job, enum qvl_dtype type)
{
    for (size_t i = 0; i < job->n_row; i += ATTENTION_ROWS) {
        size_t n_row = qvl_min_size(job->n_row - i, ATTENTION_ROWS);
        if (n_row <= ATTENTION_ROWS_FEW)
            attend_tile(job, i, n_row, ATTENTION_ROWS_FEW, type);
        else
            attend_tile(job, i, n_row, ATTENTION_ROWS, type);
    }
}

#endif
