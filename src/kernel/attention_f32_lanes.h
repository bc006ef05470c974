/* attention_f32_lanes.h: the pairs of attention_lanes.h for f32 arithmetic, on top of a vec_isa.h, over f32 keys
 * and values or over bf16 ones, which are widened in registers. The including file defines ATTENTION_ROWS,
 * ATTENTION_ROWS_FEW and ATTENTION_VECTORS. */
#ifndef QVL_KERNEL_ATTENTION_F32_LANES_H
#define QVL_KERNEL_ATTENTION_F32_LANES_H

typedef float scalar;
typedef struct {
    vec first, second;
} pairs;

QVL_INLINE pairs load_k_pairs(const void *block, size_t v, size_t j, size_t head_dim, enum qvl_dtype type)
{
    size_t group = v * VEC_LANES / 16, lane = v * VEC_LANES % 16;
    pairs r;
    if (type == QVL_BF16) {
        vec_load_bf16_pairs((const qvl_bf16 *)block + ((group * (head_dim / 2) + j) * 16 + lane) * 2, &r.first,
                            &r.second);
    } else {
        const float *k = (const float *)block + (group * head_dim + 2 * j) * 16 + lane;
        r = (pairs){vec_load(k), vec_load(k + 16)};
    }
    return r;
}

QVL_INLINE pairs load_v_pairs(const void *block, size_t i_pair, size_t dim, size_t d_pad, enum qvl_dtype type)
{
    pairs r;
    if (type == QVL_BF16) {
        vec_load_bf16_pairs((const qvl_bf16 *)block + (i_pair * d_pad + dim) * 2, &r.first, &r.second);
    } else {
        const float *v = (const float *)block + 2 * i_pair * d_pad + dim;
        r = (pairs){vec_load(v), vec_load(v + d_pad)};
    }
    return r;
}

QVL_INLINE pairs broadcast_pair(const scalar *row, size_t j)
{
    return (pairs){vec_set1(row[2 * j]), vec_set1(row[2 * j + 1])};
}

QVL_INLINE vec mac_pairs(vec acc, pairs a, pairs b)
{
    return vec_fma(a.second, b.second, vec_fma(a.first, b.first, acc));
}

QVL_INLINE void store_query(scalar *dst, const float *src, size_t n)
{
    __builtin_memcpy(dst, src, n * sizeof *dst);
}

QVL_INLINE vec store_p(scalar *dst, vec p0, vec p1, vec sum)
{
    vec_store(dst, p0);
    vec_store(dst + VEC_LANES, p1);
    return vec_add(sum, vec_add(p0, p1));
}

#include "kernel/attention_lanes.h"

static void attention_bf16(const struct qvl_attention_job *job)
{
    attend(job, QVL_BF16);
}

static void attention_f32(const struct qvl_attention_job *job)
{
    attend(job, QVL_F32);
}

QVL_INLINE void overlay_attention(struct qvl_kernels *table)
{
    table->attention_bf16 = attention_bf16;
    table->attention_f32 = attention_f32;
}

#endif
