/* Attention over bf16 keys and values with vdpbf16ps (attention_lanes.h). Denormal bf16 count as zero (Intel SDM,
 * VDPBF16PS). */
#include "kernel/levels.h"
#include "kernel/attention_bf16_scalars.h"

typedef __m512bh pairs;

#define ATTENTION_ROWS ((size_t)12)
#define ATTENTION_ROWS_FEW ((size_t)4)
#define ATTENTION_VECTORS ((size_t)2)

QVL_INLINE pairs load_k_pairs(const void *block, size_t v, size_t j, size_t head_dim, enum qvl_dtype type)
{
    (void)type;
    return (pairs)_mm512_loadu_si512((const qvl_bf16 *)block + (v * (head_dim / 2) + j) * 32);
}

QVL_INLINE pairs load_v_pairs(const void *block, size_t i_pair, size_t dim, size_t d_pad, enum qvl_dtype type)
{
    (void)type;
    return (pairs)_mm512_loadu_si512((const qvl_bf16 *)block + (i_pair * d_pad + dim) * 2);
}

QVL_INLINE pairs broadcast_pair(const scalar *row, size_t j)
{
    int pair;
    __builtin_memcpy(&pair, row + 2 * j, sizeof pair);
    return (pairs)_mm512_set1_epi32(pair);
}

QVL_INLINE vec mac_pairs(vec acc, pairs a, pairs b)
{
    return _mm512_dpbf16_ps(acc, a, b);
}

#include "kernel/attention_lanes.h"

static void attention_bf16(const struct qvl_attention_job *job)
{
    attend(job, QVL_BF16);
}

void qvl_overlay_attention_avx512_bf16(struct qvl_kernels *table)
{
    table->attention_bf16 = attention_bf16;
}
