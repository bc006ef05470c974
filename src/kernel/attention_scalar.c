/* The definition of attention over blocks of keys and values, in double, and of the places of their elements
 * (layouts in kernel.h). */
#include <math.h>

#include "kernel/levels.h"

static size_t k_index(size_t i_pos, size_t dim, size_t head_dim, enum qvl_dtype t)
{
    size_t group = i_pos / 16, lane = i_pos % 16;
    return t == QVL_BF16 ? ((group * (head_dim / 2) + dim / 2) * 16 + lane) * 2 + dim % 2
                         : (group * head_dim + dim) * 16 + lane;
}

static size_t v_index(size_t i_pos, size_t dim, size_t head_dim, enum qvl_dtype t)
{
    size_t d_pad = qvl_head_dim_padded(head_dim);
    return t == QVL_BF16 ? (i_pos / 2 * d_pad + dim) * 2 + i_pos % 2 : i_pos * d_pad + dim;
}

static double element(const void *block, size_t i, enum qvl_dtype t)
{
    return t == QVL_BF16 ? qvl_bf16_widen(((const qvl_bf16 *)block)[i]) : ((const float *)block)[i];
}

static double score(const struct qvl_attention_job *job, size_t i_row, size_t i_key, enum qvl_dtype t)
{
    const void *block = job->k_block[i_key / QVL_KV_BLOCK];
    const float *q = job->q + i_row * job->q_stride;
    double sum = 0;
    for (size_t dim = 0; dim < job->head_dim; dim++)
        sum += q[dim] * element(block, k_index(i_key % QVL_KV_BLOCK, dim, job->head_dim, t), t);
    return sum * job->scale;
}

static void attend_row(const struct qvl_attention_job *job, size_t i_row, enum qvl_dtype t)
{
    double largest = -INFINITY, total = 0, sum[QVL_MAX_HEAD_DIM] = {0};
    for (size_t i = 0; i < job->n_key[i_row]; i++)
        largest = fmax(largest, score(job, i_row, i, t));
    for (size_t i = 0; i < job->n_key[i_row]; i++) {
        double p = exp(score(job, i_row, i, t) - largest);
        const void *block = job->v_block[i / QVL_KV_BLOCK];
        total += p;
        for (size_t dim = 0; dim < job->head_dim; dim++)
            sum[dim] += p * element(block, v_index(i % QVL_KV_BLOCK, dim, job->head_dim, t), t);
    }
    for (size_t dim = 0; dim < job->head_dim; dim++)
        job->out[i_row * job->out_stride + dim] = (float)(sum[dim] / total);
}

static void attention_bf16(const struct qvl_attention_job *job)
{
    for (size_t i = 0; i < job->n_row; i++)
        attend_row(job, i, QVL_BF16);
}

static void attention_f32(const struct qvl_attention_job *job)
{
    for (size_t i = 0; i < job->n_row; i++)
        attend_row(job, i, QVL_F32);
}

static void store_k_bf16(qvl_bf16 *k_block, size_t i_pos, const float *k, size_t head_dim)
{
    for (size_t dim = 0; dim < head_dim; dim++)
        k_block[k_index(i_pos, dim, head_dim, QVL_BF16)] = qvl_bf16_round(k[dim]);
}

static void store_v_bf16(qvl_bf16 *v_block, size_t i_pos, const float *v, size_t head_dim)
{
    for (size_t dim = 0; dim < head_dim; dim++)
        v_block[v_index(i_pos, dim, head_dim, QVL_BF16)] = qvl_bf16_round(v[dim]);
}

static void store_k_f32(float *k_block, size_t i_pos, const float *k, size_t head_dim)
{
    for (size_t dim = 0; dim < head_dim; dim++)
        k_block[k_index(i_pos, dim, head_dim, QVL_F32)] = k[dim];
}

static void store_v_f32(float *v_block, size_t i_pos, const float *v, size_t head_dim)
{
    for (size_t dim = 0; dim < head_dim; dim++)
        v_block[v_index(i_pos, dim, head_dim, QVL_F32)] = v[dim];
}

void qvl_overlay_attention_scalar(struct qvl_kernels *table)
{
    table->attention_bf16 = attention_bf16;
    table->attention_f32 = attention_f32;
    table->store_k_bf16 = store_k_bf16;
    table->store_v_bf16 = store_v_bf16;
    table->store_k_f32 = store_k_f32;
    table->store_v_f32 = store_v_f32;
}
