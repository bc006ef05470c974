/* attention_bf16_scalars.h: the scalars of attention_softmax.h for bf16 arithmetic: queries and probabilities are
 * rounded to bf16, scores, exponentials and sums are f32. The total is summed from the rounded probabilities, so
 * that the weights add up to one. Needs avx512 bf16. */
#ifndef QVL_KERNEL_ATTENTION_BF16_SCALARS_H
#define QVL_KERNEL_ATTENTION_BF16_SCALARS_H

#include "kernel/vec_avx512.h"

typedef qvl_bf16 scalar;

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
    __m512bh p = _mm512_cvtne2ps_pbh(p1, p0);
    _mm512_storeu_si512(dst, (__m512i)p);
    return _mm512_dpbf16_ps(sum, p, (__m512bh)ones);
}

#endif
