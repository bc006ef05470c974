/* Attention over bf16 keys and values with vdpbf16ps (attention_lanes.h): queries and probabilities are rounded to
 * bf16, scores, exponentials and sums are f32. The total is summed from the rounded probabilities, so that the
 * weights add up to one. Denormal bf16 count as zero (Intel SDM, VDPBF16PS). */
#include "kernel/levels.h"
#include "kernel/vec_avx512.h"

typedef qvl_bf16 scalar;
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

QVL_INLINE void store_query(scalar *dst, const float *src, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store_bf16(dst + i, vec_load(src + i));
    if (i < n)
        vec_store_bf16_n(dst + i, vec_load_n(src + i, n - i), n - i);
}

QVL_INLINE vec store_p(scalar *dst, vec p0, vec p1, vec sum)
{
    const __m512i ones = _mm512_set1_epi16(0x3f80); /* 1.0 */
    pairs p = _mm512_cvtne2ps_pbh(p1, p0);
    _mm512_storeu_si512(dst, (__m512i)p);
    return _mm512_dpbf16_ps(sum, p, (pairs)ones);
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
