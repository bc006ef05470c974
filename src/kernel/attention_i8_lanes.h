/* attention_i8_lanes.h: softmax(q k^T scale) v over blocks of int8 keys and values, written once for all vector
 * levels; its bits are those of the definition (attention_i8_scalar.c).
 *
 * In and out: struct qvl_attention_job and the block layouts (kernel.h). The walk is that of attention_lanes.h: a
 * tile of query rows goes through the blocks once, keys in the lanes for Q K^T, dimensions in the lanes for P V,
 * the other operand broadcast, the next block asked for piece by piece. What is different: products are of
 * integers, so that their order does not matter and any tile, at any level, has the same sums; four dimensions of a
 * key, or four keys of a value, lie side by side; a key is stored plus 128, as the unsigned factor of vpdpbusd, and
 * a row's sum begins with what that adds.
 *
 * Weights (probability times scale of the value) are 16 bits wide. A block's 128 products of 16 and 8 bits fit an
 * int32: 128 * 32767 * 127 < 2^31. Where bytes must be widened it is by shifts, the even two of four neighbours
 * apart from the odd two; queries of 16 bits and weights then lie in the order 0, 2, 1, 3. How a level cuts a
 * weight and what it sums in between is its own matter, as long as the sums are right.
 *
 * The including file defines, on top of a vec_isa.h:
 *   ATTENTION_ROWS             tile: most rows
 *   ATTENTION_VECTORS          vectors of dimensions in the product with values
 *   ATTENTION_KEY_VECTORS      vectors of keys
 *   ATTENTION_KEY_VECTORS_FEW  where rows are two; at least as many, so that sums do not wait for each other
 *   ivec                       VEC_LANES int32
 *   ivec_set1(x), ivec_max(a, b), ivec_store(p, v), ivec_from_vec_bits(v)
 *   vec_from_ivec(v), ivec_rounded(v)  conversions, to nearest even
 *   query                      int8_t or int16_t
 *   store_query(dst, v)        VEC_LANES small integers to queries
 *   store_weights(dst, v)      VEC_LANES integers of 0 to 32767 to as many times 16 bits, each four for themselves
 *   store_bytes(dst, v)        VEC_LANES small integers to int8_t
 *   KEY_PARTS                  1: four bytes are multiplied at once; 2: even ones, then odd ones
 *   KEY_ZERO                   what the product takes for a key's zero: 128, or 0 where load_keys takes it away
 *   keys = load_keys(p, part)  that part of 4 dimensions of VEC_LANES keys
 *   key_sum                    sums of VEC_LANES keys in the making
 *   key_sum_of(x)              that begin with x
 *   mac_keys(acc, k, q)        acc + the products with the 4 / KEY_PARTS queries at q
 *   ivec_from_key_sum(acc)     what they are
 *   VALUE_PARTS                as KEY_PARTS, of keys
 *   values = load_values(p, part)  that part of 4 keys of VEC_LANES dimensions
 *   value_sum, value_sum_zero(), mac_values(acc, v, w), ivec_from_value_sum(acc)
 *                              the same with the 4 / VALUE_PARTS weights at w
 *   vec_swap(v, half)          lane i from lane i ^ half */
#ifndef QVL_KERNEL_ATTENTION_I8_LANES_H
#define QVL_KERNEL_ATTENTION_I8_LANES_H

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernel/attention_tile.h"
#include "kernel/vec_math.h"

#define KEY_VECTORS (QVL_KV_BLOCK / VEC_LANES)
#define TOTAL_LANES ((size_t)16) /* the same at every level: key i counts into total i % 16 */

/* ---- float rows to int8 --------------------------------------------------------------------------- */

QVL_INLINE vec load_some(const float *x, size_t n)
{
    return n < VEC_LANES ? vec_load_n(x, n) : vec_load(x);
}

/* The factor that makes integers of the row's numbers, with its inverse in *scale: 0 where they are all tiny
 * (*scale 0) or not all finite (*scale NaN). */
QVL_INLINE float factor_to_i8(const float *x, size_t n, float *scale)
{
    ivec most = ivec_set1(0);
    for (size_t i = 0; i < n; i += VEC_LANES) /* sizes compare like their bits; inf and NaN are the largest */
        most = ivec_max(most, ivec_from_vec_bits(vec_abs(load_some(x + i, n - i))));
    int32_t lane[VEC_LANES], bits = 0;
    float largest;
    ivec_store(lane, most);
    for (size_t i = 0; i < VEC_LANES; i++)
        bits = lane[i] > bits ? lane[i] : bits;
    memcpy(&largest, &bits, sizeof largest);
    *scale = bits >= 0x7f800000 ? NAN : 0;
    if (bits >= 0x7f800000 || largest < QVL_SMALLEST_LARGEST)
        return 0;
    *scale = largest / 127.0f;
    return 127.0f / largest;
}

/* row [n rounded up to VEC_LANES]; returns the scale. */
QVL_INLINE float quantise_row(int8_t *row, const float *x, size_t n)
{
    float scale, factor = factor_to_i8(x, n, &scale);
    for (size_t i = 0; i < n && factor > 0; i += VEC_LANES)
        store_bytes(row + i, ivec_rounded(vec_mul(load_some(x + i, n - i), vec_set1(factor))));
    if (factor <= 0)
        memset(row, 0, n);
    return scale;
}

static void store_k_i8(void *k_block, size_t i_pos, const float *k, size_t head_dim)
{
    int8_t row[QVL_MAX_HEAD_DIM + VEC_LANES] = {0};
    float scale = quantise_row(row, k, head_dim);
    char *at = (char *)k_block + qvl_k_i8_index(i_pos, 0, head_dim);
    for (size_t dim = 0; dim < head_dim; dim += 4, at += 64) {
        uint32_t four;
        memcpy(&four, row + dim, sizeof four);
        four ^= 0x80808080u; /* + 128 */
        memcpy(at, &four, sizeof four);
    }
    memcpy((char *)k_block + qvl_k_i8_scales_at(head_dim) + i_pos * sizeof scale, &scale, sizeof scale);
}

/* Byte by byte: the three beside it belong to other positions, which other threads may be storing. */
static void store_v_i8(void *v_block, size_t i_pos, const float *v, size_t head_dim)
{
    int8_t row[QVL_MAX_HEAD_DIM + VEC_LANES];
    float scale = quantise_row(row, v, head_dim);
    int8_t *at = (int8_t *)v_block + qvl_v_i8_index(i_pos, 0, head_dim);
    for (size_t dim = 0; dim < head_dim; dim++)
        at[4 * dim] = row[dim];
    memcpy((char *)v_block + qvl_v_i8_scales_at(head_dim) + i_pos * sizeof scale, &scale, sizeof scale);
}

/* ---- a tile --------------------------------------------------------------------------------------- */

/* A tile at work; the arrays lie in the job's scratch. */
struct tile {
    size_t n_row;
    query *q;          /* [d_pad/4, ATTENTION_ROWS, 4] */
    float *score;      /* [ATTENTION_ROWS, QVL_KV_BLOCK] scores; then probabilities; then weights */
    int16_t *weight;   /* [ATTENTION_ROWS, QVL_KV_BLOCK] */
    float *sum;        /* [ATTENTION_ROWS, d_pad] weighted values */
    float *total;      /* [ATTENTION_ROWS, TOTAL_LANES] probabilities */
    int32_t first[16]; /* where a row's sums begin: -KEY_ZERO times the sum of its query */
    float factor[16];  /* of a row's scores; with it 2^x serves as exponential */
    float largest[16];
    float shrink[16]; /* what the sums so far are multiplied with in this block */
    float unit[16];   /* of a row's integer weights in this block */
    bool is_active[16];
};

QVL_INLINE void take_query(struct tile *tile, size_t t, const struct qvl_attention_job *job, size_t i_row)
{
    size_t d = job->head_dim, d_pad = qvl_head_dim_padded(d);
    const float *x = job->q + i_row * job->q_stride;
    query q[QVL_MAX_HEAD_DIM] = {0};
    float scale, factor = factor_to_i8(x, d, &scale);
    for (size_t i = 0; i < d && factor > 0; i += VEC_LANES)
        store_query(q + i, ivec_rounded(vec_mul(load_some(x + i, d - i), vec_set1(factor))));
    int32_t sum = 0;
    for (size_t i = 0; i < d_pad; i++)
        sum += q[i];
    for (size_t i = 0; i < d_pad; i += 4)
        memcpy(tile->q + i * ATTENTION_ROWS + t * 4, q + i, 4 * sizeof *q);
    tile->first[t] = -KEY_ZERO * sum;
    tile->factor[t] = scale * (job->scale * LOG2_E);
    tile->largest[t] = -INFINITY;
}

QVL_INLINE struct tile lay_out_tile(const struct qvl_attention_job *job, size_t i_row, size_t n_row)
{
    size_t d_pad = qvl_head_dim_padded(job->head_dim);
    char *at = job->scratch;
    struct tile tile = {.n_row = n_row};
#define TAKE(field, n)                                                                                             \
    tile.field = (void *)at;                                                                                       \
    at += qvl_round_up((n) * sizeof *tile.field, 64)
    TAKE(q, ATTENTION_ROWS * d_pad);
    TAKE(score, ATTENTION_ROWS * QVL_KV_BLOCK);
    TAKE(weight, ATTENTION_ROWS * QVL_KV_BLOCK);
    TAKE(sum, ATTENTION_ROWS * d_pad);
    TAKE(total, ATTENTION_ROWS * TOTAL_LANES);
#undef TAKE
    /* rows beyond n_row are computed along and thrown away: zero keeps them finite and thus fast */
    memset(job->scratch, 0, (size_t)(at - (char *)job->scratch));
    for (size_t t = 0; t < n_row; t++)
        take_query(&tile, t, job, i_row + t);
    return tile;
}

QVL_INLINE void fetch_line(const void *next, size_t at)
{
    __builtin_prefetch((const char *)next + at, 0, 2);
}

/* Scores of n_row rows with the keys of n_vector vectors from v on. */
QVL_INLINE void score_keys(const struct tile *tile, size_t n_row, size_t n_vector, const char *block,
                           const void *next, size_t v, size_t head_dim)
{
    size_t group_bytes = qvl_round_up(head_dim, 4) * 16;
    const char *key[ATTENTION_KEY_VECTORS_FEW];
    const float *scale = (const void *)(block + qvl_k_i8_scales_at(head_dim));
    key_sum acc[ATTENTION_ROWS][ATTENTION_KEY_VECTORS_FEW];
    QVL_UNROLL(8)
    for (size_t u = 0; u < n_vector; u++)
        key[u] = block + (v + u) * VEC_LANES / 16 * group_bytes + (v + u) * VEC_LANES % 16 * 4;
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_row; t++)
        QVL_UNROLL(8)
    for (size_t u = 0; u < n_vector; u++)
        acc[t][u] = key_sum_of(tile->first[t]);
    for (size_t step = 0; step < qvl_div_up(head_dim, 4) * KEY_PARTS; step++) {
        size_t j = step / KEY_PARTS, part = step % KEY_PARTS;
        const query *q = tile->q + j * 4 * ATTENTION_ROWS + part * (4 / KEY_PARTS);
        keys k[ATTENTION_KEY_VECTORS_FEW];
        QVL_UNROLL(8)
        for (size_t u = 0; u < n_vector; u++) {
            k[u] = load_keys(key[u] + j * 64, part);
            if (u * VEC_LANES % 16 == 0) /* a line of 16 keys */
                fetch_line(next, (size_t)(key[u] - block) + j * 64);
        }
        QVL_UNROLL(16)
        for (size_t t = 0; t < n_row; t++)
            QVL_UNROLL(8)
        for (size_t u = 0; u < n_vector; u++)
            acc[t][u] = mac_keys(acc[t][u], k[u], q + t * 4);
    }
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_row; t++)
        QVL_UNROLL(8)
    for (size_t u = 0; u < n_vector; u++)
        vec_store(tile->score + t * QVL_KV_BLOCK + (v + u) * VEC_LANES,
                  vec_mul(vec_from_ivec(ivec_from_key_sum(acc[t][u])), vec_load(scale + (v + u) * VEC_LANES)));
}

/* The lanes of the vector at i, those of n on replaced. */
QVL_INLINE vec fill_unseen(vec x, size_t i, size_t n, float fill)
{
    return i + VEC_LANES > n ? vec_fill_from(x, n > i ? n - i : 0, fill) : x;
}

/* Scores times their row's factor (-inf, whose power is 0, beyond the keys that it sees), the new largest one of
 * each row that sees n_key[t] > first_key keys, and how much the sums so far shrink. */
QVL_INLINE void find_largest(struct tile *tile, const uint32_t *n_key, size_t first_key)
{
    float old[16];
    memcpy(old, tile->largest, sizeof old);
    for (size_t t = 0; t < tile->n_row; t++) {
        tile->is_active[t] = n_key[t] > first_key;
        if (!tile->is_active[t])
            continue;
        size_t n_seen = n_key[t] - first_key;
        float *score = tile->score + t * QVL_KV_BLOCK;
        vec largest = vec_set1(-INFINITY), factor = vec_set1(tile->factor[t]);
        for (size_t i = 0; i < QVL_KV_BLOCK; i += VEC_LANES) {
            vec x = fill_unseen(vec_mul(vec_load(score + i), factor), i, n_seen, -INFINITY);
            vec_store(score + i, x);
            largest = vec_max(largest, x);
        }
        float found = vec_largest(largest);
        tile->largest[t] = found > old[t] ? found : old[t];
    }
    for (size_t t = 0; t < tile->n_row; t += VEC_LANES)
        vec_store(tile->shrink + t, vec_exp2(vec_sub(vec_load(old + t), vec_load(tile->largest + t))));
}

/* Of each TOTAL_LANES scores of a row VEC_LANES, to probabilities (not yet divided by their total). A function of
 * its own: the exponential's constants need most registers of avx2. */
static __attribute__((noinline)) void exponentiate(float *score, float *total, float largest_score, float shrink)
{
    vec largest = vec_set1(largest_score), sum = vec_mul(vec_load(total), vec_set1(shrink));
    for (size_t i = 0; i < QVL_KV_BLOCK; i += TOTAL_LANES) {
        vec p = vec_exp2(vec_sub(vec_load(score + i), largest));
        sum = vec_add(sum, p);
        vec_store(score + i, p);
    }
    vec_store(total, sum);
}

/* Those to weights, not yet integers; returns the largest. Zero times a scale that is no number is none either. */
QVL_INLINE float weigh_row(const struct tile *tile, size_t t, size_t n_seen, const float *v_scale)
{
    float *p = tile->score + t * QVL_KV_BLOCK;
    vec most = vec_zero();
    for (size_t i = 0; i < QVL_KV_BLOCK; i += VEC_LANES) {
        vec weight = fill_unseen(vec_mul(vec_load(p + i), vec_load(v_scale + i)), i, n_seen, 0.0f);
        most = vec_max(most, weight);
        vec_store(p + i, weight);
    }
    return vec_largest(most);
}

QVL_INLINE void find_weights(struct tile *tile, const uint32_t *n_key, size_t first_key, const float *v_scale)
{
    for (size_t t = 0; t < tile->n_row; t++) {
        if (!tile->is_active[t])
            continue;
        for (size_t i = 0; i < TOTAL_LANES; i += VEC_LANES)
            exponentiate(tile->score + t * QVL_KV_BLOCK + i, tile->total + t * TOTAL_LANES + i, tile->largest[t],
                         tile->shrink[t]);
        float most = weigh_row(tile, t, n_key[t] - first_key, v_scale);
        vec inverse = vec_set1(most < QVL_SMALLEST_LARGEST ? 0 : 32767.0f / most);
        tile->unit[t] = most / 32767.0f;
        for (size_t i = t * QVL_KV_BLOCK; i < (t + 1) * QVL_KV_BLOCK; i += VEC_LANES)
            store_weights(tile->weight + i, ivec_rounded(vec_mul(vec_load(tile->score + i), inverse)));
    }
}

/* sum[t][dim …] = sum shrink + unit (weights times values) for n_row rows and n_vector vectors of dimensions. */
QVL_INLINE void add_values(const struct tile *tile, size_t n_row, size_t n_vector, const char *block,
                           const void *next, size_t dim, size_t d_pad)
{
    value_sum acc[ATTENTION_ROWS][ATTENTION_VECTORS];
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_row; t++)
        QVL_UNROLL(4)
    for (size_t u = 0; u < n_vector; u++)
        acc[t][u] = value_sum_zero();
    for (size_t step = 0; step < QVL_KV_BLOCK / 4 * VALUE_PARTS; step++) {
        size_t at = step / VALUE_PARTS * 4 * d_pad + dim * 4, part = step % VALUE_PARTS;
        values v[ATTENTION_VECTORS];
        QVL_UNROLL(4)
        for (size_t u = 0; u < n_vector; u++)
            v[u] = load_values(block + at + u * VEC_LANES * 4, part);
        fetch_line(next, at + part * n_vector / 2 * VEC_LANES * 4);
        QVL_UNROLL(16)
        for (size_t t = 0; t < n_row; t++)
            QVL_UNROLL(4)
        for (size_t u = 0; u < n_vector; u++)
            acc[t][u] = mac_values(acc[t][u], v[u], tile->weight + t * QVL_KV_BLOCK + step * (4 / VALUE_PARTS));
    }
    ivec *block_sum =
        (void *)tile->score; /* in memory: conditions on accumulators would cost them their registers */
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_row; t++)
        QVL_UNROLL(4)
    for (size_t u = 0; u < n_vector; u++)
        block_sum[t * n_vector + u] = ivec_from_value_sum(acc[t][u]);
    for (size_t t = 0; t < n_row; t++)
        for (size_t u = 0; u < n_vector && tile->is_active[t]; u++) {
            float *sum = tile->sum + t * d_pad + dim + u * VEC_LANES;
            vec_store(sum, vec_fma(vec_from_ivec(block_sum[t * n_vector + u]), vec_set1(tile->unit[t]),
                                   vec_mul(vec_load(sum), vec_set1(tile->shrink[t]))));
        }
}

QVL_INLINE void finish_row(const struct tile *tile, size_t t, float *out, size_t head_dim)
{
    float total[TOTAL_LANES];
    memcpy(total, tile->total + t * TOTAL_LANES, sizeof total);
    for (size_t half = TOTAL_LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            total[i] += total[i + half];
    divide_row(out, tile->sum + t * qvl_head_dim_padded(head_dim), total[0], head_dim);
}

/* n_wide is a constant of the call: the rows that are computed, at least n_row. */
QVL_INLINE void attend_tile(const struct qvl_attention_job *job, size_t i_row, size_t n_row, size_t n_wide)
{
    const uint32_t *n_key = job->n_key + i_row;
    size_t d = job->head_dim, d_pad = qvl_head_dim_padded(d), n_key_most = most_keys(n_key, n_row);
    size_t n_vector = n_wide == 2 ? ATTENTION_KEY_VECTORS_FEW : ATTENTION_KEY_VECTORS;
    struct tile tile = lay_out_tile(job, i_row, n_row);

    for (size_t first = 0; first < n_key_most; first += QVL_KV_BLOCK) {
        const char *k = job->k_block[first / QVL_KV_BLOCK], *v = job->v_block[first / QVL_KV_BLOCK];
        const char *next_k = first + QVL_KV_BLOCK < n_key_most ? job->k_block[first / QVL_KV_BLOCK + 1] : k;
        const float *v_scale = (const void *)(v + qvl_v_i8_scales_at(d));
        for (size_t i = 0; i < QVL_KV_BLOCK * sizeof(float); i += 64)
            fetch_line(v_scale, i);
        for (size_t u = 0; u < KEY_VECTORS; u += n_vector)
            score_keys(&tile, n_wide, n_vector, k, v, u, d);
        find_largest(&tile, n_key, first);
        find_weights(&tile, n_key, first, v_scale);
        for (size_t i = 0; i < QVL_KV_BLOCK * sizeof(float); i += 64)
            fetch_line(next_k, qvl_k_i8_scales_at(d) + i);
        size_t dim = 0;
        for (; dim + ATTENTION_VECTORS * VEC_LANES <= d_pad; dim += ATTENTION_VECTORS * VEC_LANES)
            add_values(&tile, n_wide, ATTENTION_VECTORS, v, next_k, dim, d_pad);
        for (; dim < d_pad; dim += VEC_LANES)
            add_values(&tile, n_wide, 1, v, next_k, dim, d_pad);
    }
    for (size_t t = 0; t < n_row; t++)
        finish_row(&tile, t, job->out + (i_row + t) * job->out_stride, d);
}

/* Each shape is a function of its own: what one holds in registers does not crowd the other. */
#define SHAPE(name, n_wide)                                                                                        \
    static __attribute__((noinline)) void name(const struct qvl_attention_job *job, size_t i_row, size_t n_row)    \
    {                                                                                                              \
        attend_tile(job, i_row, n_row, n_wide);                                                                    \
    }
SHAPE(attend_two, 2)
SHAPE(attend_four, 4)
SHAPE(attend_many, ATTENTION_ROWS)
#undef SHAPE

static void attention_i8(const struct qvl_attention_job *job)
{
    for (size_t i = 0; i < job->n_row; i += ATTENTION_ROWS) {
        size_t n_row = qvl_min_size(job->n_row - i, ATTENTION_ROWS);
        (n_row <= 2 ? attend_two : n_row <= 4 ? attend_four : attend_many)(job, i, n_row);
    }
}

/* ---- rotation ------------------------------------------------------------------------------------- */

/* The steps between vectors; those inside a vector need each lane's partner: a + b in the lower, a - b in the
 * upper. */
static void hadamard(float *x, size_t n)
{
    float scale = 1 / sqrtf((float)n);
    if (n < VEC_LANES) {
        for (size_t half = 1; half < n; half *= 2)
            for (size_t i = 0; i < n; i++)
                if (!(i & half)) {
                    float a = x[i], b = x[i + half];
                    x[i] = a + b;
                    x[i + half] = a - b;
                }
        for (size_t i = 0; i < n; i++)
            x[i] *= scale;
        return;
    }
    vec sign[4]; /* VEC_LANES <= 16 */
    for (size_t step = 0, half = 1; half < VEC_LANES; step++, half *= 2) {
        float lane[VEC_LANES];
        for (size_t i = 0; i < VEC_LANES; i++)
            lane[i] = i & half ? -1.0f : 1.0f;
        sign[step] = vec_load(lane);
    }
    for (size_t i = 0; i < n; i += VEC_LANES) {
        vec v = vec_load(x + i);
        QVL_UNROLL(4)
        for (size_t step = 0; (size_t)1 << step < VEC_LANES; step++)
            v = vec_add(vec_swap(v, (size_t)1 << step), vec_mul(v, sign[step]));
        vec_store(x + i, v);
    }
    for (size_t half = VEC_LANES; half < n; half *= 2)
        for (size_t i = 0; i < n; i += VEC_LANES)
            if (!(i & half)) {
                vec a = vec_load(x + i), b = vec_load(x + i + half);
                vec_store(x + i, vec_add(a, b));
                vec_store(x + i + half, vec_sub(a, b));
            }
    for (size_t i = 0; i < n; i += VEC_LANES)
        vec_store(x + i, vec_mul(vec_load(x + i), vec_set1(scale)));
}

QVL_INLINE void overlay_attention_i8(struct qvl_kernels *table)
{
    table->attention_i8 = attention_i8;
    table->store_k_i8 = store_k_i8;
    table->store_v_i8 = store_v_i8;
    table->hadamard = hadamard;
}

#endif
