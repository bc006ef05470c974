/* The definition of attention over int8 keys and values (layouts in kernel.h), which the vector levels repeat bit
 * for bit: dot products are sums of integers, and every step in f32 has one order and rounds once (fmaf).
 *
 * A row's query becomes int8, too, with one scale. In each block of QVL_KV_BLOCK keys: score = (integer dot) *
 * (scale of the key), times a factor of the row; 2^(score - largest so far) as probability; probability times scale
 * of the value as weight, rounded to a multiple of the block's largest weight / 32767; integer sums of weight times
 * value, added to the f32 sums of the blocks before. What those 16 bits of a weight lose is far below what bf16
 * does. */
#include <math.h>
#include <string.h>

#include "kernel/vec_scalar.h"

#include "kernel/vec_math.h"

#define LOG2_E 1.44269504f

/* The finite, not tiny numbers of a row as multiples of scale; elsewhere zeros, and NaN or 0 as scale. */
static float quantise(int8_t *y, const float *x, size_t n)
{
    float largest = 0;
    bool is_finite = true;
    for (size_t j = 0; j < n; j++) {
        is_finite = is_finite && isfinite(x[j]);
        largest = fmaxf(largest, fabsf(x[j]));
    }
    memset(y, 0, n);
    if (!is_finite)
        return NAN;
    if (largest < QVL_SMALLEST_LARGEST)
        return 0;
    float inverse = 127.0f / largest;
    for (size_t j = 0; j < n; j++)
        y[j] = (int8_t)lrintf(x[j] * inverse);
    return largest / 127.0f;
}

/* The scale of a position; scales lie at this place of its block, in bytes. */
static float scale_of(const void *block, size_t scales_at, size_t i_pos)
{
    return ((const float *)((const char *)block + scales_at))[i_pos];
}

static void set_scale(void *block, size_t scales_at, size_t i_pos, float scale)
{
    ((float *)((char *)block + scales_at))[i_pos] = scale;
}

static float score(const struct qvl_attention_job *job, const int8_t *q, const void *block, size_t i_pos)
{
    const uint8_t *k = block;
    int32_t sum = 0;
    for (size_t dim = 0; dim < job->head_dim; dim++)
        sum += q[dim] * (k[qvl_k_i8_index(i_pos, dim, job->head_dim)] - 128);
    return (float)sum * scale_of(block, qvl_k_i8_scales_at(job->head_dim), i_pos);
}

/* sums = sums shrink + weights times values of the n keys of a block. */
static void add_values(float *sum, const float *weight, size_t n, const void *block, size_t head_dim, float shrink)
{
    const int8_t *v = block;
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, weight[i]);
    float inverse = most < QVL_SMALLEST_LARGEST ? 0 : 32767.0f / most;
    for (size_t dim = 0; dim < head_dim; dim++) {
        int32_t block_sum = 0;
        for (size_t i = 0; i < n; i++)
            block_sum += (int16_t)lrintf(weight[i] * inverse) * v[qvl_v_i8_index(i, dim, head_dim)];
        sum[dim] = fmaf((float)block_sum, most / 32767.0f, sum[dim] * shrink);
    }
}

static void attend_row(const struct qvl_attention_job *job, size_t i_row)
{
    int8_t q[QVL_MAX_HEAD_DIM];
    float sum[QVL_MAX_HEAD_DIM] = {0}, total[16] = {0}, largest = -INFINITY;
    float factor = quantise(q, job->q + i_row * job->q_stride, job->head_dim) * (job->scale * LOG2_E);
    for (size_t first = 0; first < job->n_key[i_row]; first += QVL_KV_BLOCK) {
        const void *k = job->k_block[first / QVL_KV_BLOCK], *v = job->v_block[first / QVL_KV_BLOCK];
        size_t n = qvl_min_size(job->n_key[i_row] - first, QVL_KV_BLOCK);
        float scores[QVL_KV_BLOCK], weight[QVL_KV_BLOCK], best = -INFINITY;
        for (size_t i = 0; i < n; i++) {
            scores[i] = score(job, q, k, i) * factor;
            best = vec_max(best, scores[i]);
        }
        float so_far = best > largest ? best : largest, shrink = vec_exp2(largest - so_far);
        largest = so_far;
        for (size_t i = 0; i < 16; i++)
            total[i] *= shrink;
        for (size_t i = 0; i < n; i++) {
            float p = vec_exp2(scores[i] - largest);
            total[i % 16] += p;
            weight[i] = p * scale_of(v, qvl_v_i8_scales_at(job->head_dim), i);
        }
        add_values(sum, weight, n, v, job->head_dim, shrink);
    }
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            total[i] += total[i + half];
    for (size_t dim = 0; dim < job->head_dim; dim++)
        job->out[i_row * job->out_stride + dim] = sum[dim] / total[0];
}

static void attention_i8(const struct qvl_attention_job *job)
{
    for (size_t i = 0; i < job->n_row; i++)
        attend_row(job, i);
}

static void store_k_i8(void *k_block, size_t i_pos, const float *k, size_t head_dim)
{
    int8_t row[QVL_MAX_HEAD_DIM] = {0};
    set_scale(k_block, qvl_k_i8_scales_at(head_dim), i_pos, quantise(row, k, head_dim));
    for (size_t dim = 0; dim < qvl_round_up(head_dim, 4); dim++)
        ((uint8_t *)k_block)[qvl_k_i8_index(i_pos, dim, head_dim)] = (uint8_t)(row[dim] + 128);
}

static void store_v_i8(void *v_block, size_t i_pos, const float *v, size_t head_dim)
{
    int8_t row[QVL_MAX_HEAD_DIM];
    set_scale(v_block, qvl_v_i8_scales_at(head_dim), i_pos, quantise(row, v, head_dim));
    for (size_t dim = 0; dim < head_dim; dim++)
        ((int8_t *)v_block)[qvl_v_i8_index(i_pos, dim, head_dim)] = row[dim];
}

static void hadamard(float *x, size_t n)
{
    for (size_t half = 1; half < n; half *= 2)
        for (size_t i = 0; i < n; i++)
            if (!(i & half)) {
                float a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
    float scale = 1 / sqrtf((float)n);
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

void qvl_overlay_attention_i8_scalar(struct qvl_kernels *table)
{
    table->attention_i8 = attention_i8;
    table->store_k_i8 = store_k_i8;
    table->store_v_i8 = store_v_i8;
    table->hadamard = hadamard;
}
