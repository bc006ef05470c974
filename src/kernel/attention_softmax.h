/* attention_softmax.h: the online softmax over blocks of keys and values, and where a tile of query rows keeps its
 * numbers; the products around it are attention_lanes.h's or attention_amx.c's.
 *
 * Idea: a tile of up to ATTENTION_ROWS query rows goes through the blocks once, with an online softmax (Milakov and
 * Gimelshein 2018; FlashAttention, Dao et al. 2022): largest score so far, sum of exponentials, weighted sum of
 * values, the latter two rescaled when the largest grows.
 *
 * Blocks lie at absolute multiples of QVL_KV_BLOCK, and a row's steps do not depend on the other rows of its tile:
 * a row that sees nothing of a block skips it even where others do not. So a row has the same bits in any company
 * and for any chunking. Keys beyond n_key get the probability 0.
 *
 * The including file defines, on top of a vec_isa.h:
 *   scalar                        type of a query element and of a probability in the scratch
 *   ATTENTION_ROWS                rows of a tile, at most
 *   store_query(dst, src, n)      n floats to scalars
 *   store_p(dst, p0, p1, sum)     2 VEC_LANES probabilities to scalars; returns sum + their sum, as rounded */
#ifndef QVL_KERNEL_ATTENTION_SOFTMAX_H
#define QVL_KERNEL_ATTENTION_SOFTMAX_H

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernel/attention_tile.h"
#include "kernel/vec_math.h"

#define ATTENTION_ROWS_PADDED ((ATTENTION_ROWS + 15) / 16 * 16) /* to whole vectors */

/* A tile at work; the arrays lie in the job's scratch. */
struct tile {
    size_t n_row;
    scalar *q;    /* [ATTENTION_ROWS, head_dim] */
    float *score; /* [ATTENTION_ROWS, QVL_KV_BLOCK] */
    scalar *p;    /* [ATTENTION_ROWS, QVL_KV_BLOCK] */
    float *sum;   /* [ATTENTION_ROWS, d_pad] weighted values */
    float *total; /* [ATTENTION_ROWS, VEC_LANES] exponentials, lane by lane */
    float
        largest[ATTENTION_ROWS_PADDED];  /* scores are kept times scale log2 e, so that 2^x serves as exponential */
    float shrink[ATTENTION_ROWS_PADDED]; /* what the sums so far are multiplied with in this block */
    bool is_active[ATTENTION_ROWS_PADDED];
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

/* The new largest score of each row that sees n_key[t] > first_key keys, and how much the sums so far shrink. */
QVL_INLINE void find_largest(struct tile *tile, const uint32_t *n_key, size_t first_key, float scale)
{
    float old[ATTENTION_ROWS_PADDED];
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

/* The weighted sums divided by their totals. */
QVL_INLINE void finish_rows(const struct qvl_attention_job *job, const struct tile *tile, size_t i_row)
{
    size_t d_pad = qvl_head_dim_padded(job->head_dim);
    for (size_t t = 0; t < tile->n_row; t++) {
        float total = vec_sum(vec_load(tile->total + t * VEC_LANES));
        divide_row(job->out + (i_row + t) * job->out_stride, tile->sum + t * d_pad, total, job->head_dim);
    }
}

#endif
