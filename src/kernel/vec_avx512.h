/* vec_avx512.h: the vocabulary in which the kernel families are written (gemm_lanes.h, attention_lanes.h,
 * elementwise_lanes.h), here with 16 floats in a zmm register. Needs avx512 f, bw, vl, dq.
 *
 * …_n versions take 0 < n < VEC_LANES: lanes from n on are zero when loaded, untouched when stored. */
#ifndef QVL_KERNEL_VEC_AVX512_H
#define QVL_KERNEL_VEC_AVX512_H

#include <immintrin.h>

#include "kernel/levels.h"

typedef __m512 vec;
#define VEC_LANES ((size_t)16)
#define HELD_IN_REGISTER "+v"

QVL_INLINE __mmask16 first_lanes(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

QVL_INLINE vec vec_zero(void)
{
    return _mm512_setzero_ps();
}
QVL_INLINE vec vec_set1(float x)
{
    return _mm512_set1_ps(x);
}
QVL_INLINE vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
QVL_INLINE vec vec_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
QVL_INLINE void vec_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}
QVL_INLINE void vec_store_n(float *p, vec v, size_t n)
{
    _mm512_mask_storeu_ps(p, first_lanes(n), v);
}

QVL_INLINE vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}
QVL_INLINE vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}
QVL_INLINE vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}
QVL_INLINE vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}
QVL_INLINE vec vec_fma(vec a, vec b, vec c) /* a b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}
/* A NaN in b comes through, one in a does not: write the bound first. */
QVL_INLINE vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}
QVL_INLINE vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}
QVL_INLINE vec vec_abs(vec a)
{
    return _mm512_abs_ps(a);
}
QVL_INLINE vec vec_copy_sign(vec magnitude, vec sign)
{
    return _mm512_or_ps(vec_abs(magnitude), _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));
}
QVL_INLINE vec vec_round(vec a) /* to the nearest integer, ties to even */
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
QVL_INLINE vec vec_scale2(vec a, vec n) /* a 2^n for integer n */
{
    return _mm512_scalef_ps(a, n);
}
QVL_INLINE vec vec_select_less(vec a, vec b, vec if_less, vec if_not)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), if_not, if_less);
}
/* Lanes from n on become fill; n may exceed the lanes. */
QVL_INLINE vec vec_fill_from(vec a, size_t n, float fill)
{
    return n >= VEC_LANES ? a : _mm512_mask_blend_ps(first_lanes(n), _mm512_set1_ps(fill), a);
}

QVL_INLINE float vec_sum(vec a)
{
    return _mm512_reduce_add_ps(a);
}
QVL_INLINE float vec_largest(vec a)
{
    return _mm512_reduce_max_ps(a);
}
/* The sums of four vectors. Each is one and the same tree over its own lanes: halves, halves, odd and even. */
QVL_INLINE float4 vec_sum4(vec a, vec b, vec c, vec d)
{
    /* 128-bit quarters 0 + 2 and 1 + 3 of two vectors side by side, then of four */
    vec ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    vec cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    vec s = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0x4e));
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0xb1));
    const __m512i first_of_quarters = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(first_of_quarters, s));
}

QVL_INLINE vec widen_bf16(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
QVL_INLINE vec vec_load_bf16(const qvl_bf16 *p)
{
    return widen_bf16(_mm256_loadu_si256((const __m256i *)p));
}
QVL_INLINE vec vec_load_bf16_n(const qvl_bf16 *p, size_t n)
{
    return widen_bf16(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
QVL_INLINE vec vec_load_f16(const qvl_f16 *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
QVL_INLINE vec vec_load_f16_n(const qvl_f16 *p, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
/* First and second halves of VEC_LANES pairs of bf16. */
QVL_INLINE void vec_load_bf16_pairs(const qvl_bf16 *p, vec *first, vec *second)
{
    __m512i pairs = _mm512_loadu_si512(p);
    *first = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    *second = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000)));
}

/* Rounded to bf16 (nearest, ties to even, NaN stays NaN), in the upper half of each lane; the lower is dirty. */
QVL_INLINE __m512i round_bf16(vec v)
{
    __m512i bits = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 is_nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x400000));
}
QVL_INLINE void vec_store_bf16(qvl_bf16 *p, vec v)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_bf16(v), 16)));
}
QVL_INLINE void vec_store_bf16_n(qvl_bf16 *p, vec v, size_t n)
{
    _mm256_mask_storeu_epi16(p, first_lanes(n), _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_bf16(v), 16)));
}

#endif
