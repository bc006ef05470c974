/* attention_lanes.h: softmax(q k^T scale) v over blocks of keys and values, written once for all vector levels.
 *
 * In and out: struct qvl_attention_job and the block layouts (kernel.h).
 *
 * Idea: a tile of up to ATTENTION_ROWS query rows goes through the blocks once, with an online softmax (Milakov and
 * Gimelshein 2018; FlashAttention, Dao et al. 2022): largest score so far, sum of exponentials, weighted sum of
 * values, the latter two rescaled when the largest grows. Q K^T has keys in the lanes, P V has dimensions in the
 * lanes, the other operand is one pair of elements broadcast: no sums across lanes but one maximum per row and
 * block.
 *
 * Blocks lie at absolute multiples of QVL_KV_BLOCK, and a row's steps do not depend on the other rows of its tile:
 * a row that sees nothing of a block skips it even where others do not. So a row has the same bits in any company
 * and for any chunking. Keys beyond n_key get the probability 0.
 *
 * Elements go in pairs (two neighbouring dimensions of a key, two neighbouring keys of a value), because
 * bf16 instructions want them so; f32 arithmetic does the same with two vectors. The including file defines:
 *   scalar                        type of a query element and of a probability in the scratch
 *   ATTENTION_ROWS, ATTENTION_ROWS_FEW, ATTENTION_VECTORS   tile: rows (many, few), vectors
 *   pairs                         VEC_LANES pairs
 *   load_k_pairs(block, v, j, head_dim, t)   dimensions 2j, 2j+1 of keys v VEC_LANES …
 *   load_v_pairs(block, p, dim, d_pad, t)    keys 2p, 2p+1 of dimensions dim …
 *   broadcast_pair(row, j)        elements 2j, 2j+1 of a row of scalars in all lanes
 *   mac_pairs(acc, a, b)          acc + a.first b.first + a.second b.second
 *   store_query(dst, src, n)      n floats to scalars
 *   store_p(dst, p0, p1, sum)     2 VEC_LANES probabilities to scalars; returns sum + their sum, as rounded */
#ifndef QVL_KERNEL_ATTENTION_LANES_H
#define QVL_KERNEL_ATTENTION_LANES_H

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernel/vec_math.h"

#define KEY_VECTORS (QVL_KV_BLOCK / VEC_LANES)

_Static_assert(ATTENTION_ROWS <= QVL_ATTENTION_MAX_TILE_ROWS, "the scratch is sized for this many rows");

/* A tile at work; the arrays lie in the job's scratch. */
struct tile {
    size_t n_row;
    scalar *q;         /* [ATTENTION_ROWS, head_dim] */
    float *score;      /* [ATTENTION_ROWS, QVL_KV_BLOCK] */
    scalar *p;         /* [ATTENTION_ROWS, QVL_KV_BLOCK] */
    float *sum;        /* [ATTENTION_ROWS, d_pad] weighted values */
    float *total;      /* [ATTENTION_ROWS, VEC_LANES] exponentials, lane by lane */
    float largest[16]; /* scores are kept times scale log2 e, so that 2^x serves as exponential */
    float shrink[16];  /* what the sums so far are multiplied with in this block */
    bool is_active[16];
};

QVL_INLINE struct tile lay_out_tile(const struct qvl_attention_job *job, size_t i_row, size_t n_row)
{
    size_t d_pad = qvl_head_dim_padded(job->head_dim);
    char *at = job->scratch;
    struct tile tile = {.n_row = n_row};
#define TAKE(field, n)                                                                                             \
    tile.field = (void *)at;                                                                                       \
    at += qvl_round_up((n) * sizeof *tile.field, 64)
    TAKE(q, ATTENTION_ROWS * job->head_dim);
    TAKE(score, ATTENTION_ROWS * QVL_KV_BLOCK);
    TAKE(p, ATTENTION_ROWS * QVL_KV_BLOCK);
    TAKE(sum, ATTENTION_ROWS * d_pad);
    TAKE(total, ATTENTION_ROWS * VEC_LANES);
#undef TAKE
    /* rows beyond n_row are computed along and thrown away: zero keeps them finite and thus fast */
    memset(job->scratch, 0, (size_t)(at - (char *)job->scratch));
    for (size_t t = 0; t < n_row; t++) {
        store_query(tile.q + t * job->head_dim, job->q + (i_row + t) * job->q_stride, job->head_dim);
        tile.largest[t] = -INFINITY;
    }
    return tile;
}

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

/* The new largest score of each row that sees n_key[t] > first_key keys, and how much the sums so far shrink. */
QVL_INLINE void find_largest(struct tile *tile, const uint32_t *n_key, size_t first_key, float scale)
{
    float old[16];
    memcpy(old, tile->largest, sizeof old);
    for (size_t t = 0; t < tile->n_row; t++) {
        tile->is_active[t] = n_key[t] > first_key;
        if (!tile->is_active[t])
            continue;
        size_t n_seen = n_key[t] - first_key;
        const float *score = tile->score + t * QVL_KV_BLOCK;
        vec largest = vec_set1(-INFINITY);
        for (size_t i = 0; i < qvl_min_size(n_seen, QVL_KV_BLOCK); i += VEC_LANES)
            largest = vec_max(largest, vec_fill_from(vec_load(score + i), n_seen - i, -INFINITY));
        float found = vec_largest(largest) * scale;
        tile->largest[t] = found > old[t] ? found : old[t];
    }
    for (size_t t = 0; t < tile->n_row; t += VEC_LANES)
        vec_store(tile->shrink + t, vec_exp2(vec_sub(vec_load(old + t), vec_load(tile->largest + t))));
}

/* Scores to probabilities (not yet divided by their total). */
QVL_INLINE void exponentiate(struct tile *tile, const uint32_t *n_key, size_t first_key, float scale)
{
    for (size_t t = 0; t < tile->n_row; t++) {
        if (!tile->is_active[t])
            continue;
        size_t n_seen = n_key[t] - first_key;
        const float *score = tile->score + t * QVL_KV_BLOCK;
        scalar *p = tile->p + t * QVL_KV_BLOCK;
        vec scales = vec_set1(scale), minus_largest = vec_set1(-tile->largest[t]);
        float *total = tile->total + t * VEC_LANES;
        vec sum = vec_mul(vec_load(total), vec_set1(tile->shrink[t]));
        for (size_t i = 0; i < QVL_KV_BLOCK; i += 2 * VEC_LANES) {
            vec p0 = vec_exp2(vec_fma(vec_load(score + i), scales, minus_largest));
            vec p1 = vec_exp2(vec_fma(vec_load(score + i + VEC_LANES), scales, minus_largest));
            if (i + 2 * VEC_LANES > n_seen) {
                p0 = vec_fill_from(p0, n_seen > i ? n_seen - i : 0, 0.0f);
                p1 = vec_fill_from(p1, n_seen > i + VEC_LANES ? n_seen - i - VEC_LANES : 0, 0.0f);
            }
            sum = store_p(p + i, p0, p1, sum);
        }
        vec_store(total, sum);
    }
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
    size_t d_pad = qvl_head_dim_padded(job->head_dim), n_key_most = 0;
    float scale = job->scale * 1.44269504f; /* log2 e */
    struct tile tile = lay_out_tile(job, i_row, n_row);
    for (size_t t = 0; t < n_row; t++)
        n_key_most = n_key[t] > n_key_most ? n_key[t] : n_key_most;

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

    for (size_t t = 0; t < n_row; t++) {
        const float *sum = tile.sum + t * d_pad;
        float *out = job->out + (i_row + t) * job->out_stride;
        vec total = vec_set1(vec_sum(vec_load(tile.total + t * VEC_LANES)));
        size_t dim = 0;
        for (; dim + VEC_LANES <= job->head_dim; dim += VEC_LANES)
            vec_store(out + dim, vec_div(vec_load(sum + dim), total));
        if (dim < job->head_dim)
            vec_store_n(out + dim, vec_div(vec_load(sum + dim), total), job->head_dim - dim);
    }
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
