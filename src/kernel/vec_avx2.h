/* vec_avx2.h: the vocabulary of vec_avx512.h with 8 floats in a ymm register. Needs avx2, fma, f16c. */
#ifndef QVL_KERNEL_VEC_AVX2_H
#define QVL_KERNEL_VEC_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "kernel/levels.h"

typedef __m256 vec;
#define VEC_LANES ((size_t)8)
#define HELD_IN_REGISTER "+x"

/* All ones in the lanes below n. */
QVL_INLINE __m256i first_lanes(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

QVL_INLINE vec vec_zero(void)
{
    return _mm256_setzero_ps();
}
QVL_INLINE vec vec_set1(float x)
{
    return _mm256_set1_ps(x);
}
QVL_INLINE vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
QVL_INLINE vec vec_load_n(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, first_lanes(n));
}
QVL_INLINE void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}
QVL_INLINE void vec_store_n(float *p, vec v, size_t n)
{
    _mm256_maskstore_ps(p, first_lanes(n), v);
}

QVL_INLINE vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}
QVL_INLINE vec vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}
QVL_INLINE vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}
QVL_INLINE vec vec_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}
QVL_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}
QVL_INLINE vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}
QVL_INLINE vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}
QVL_INLINE vec vec_abs(vec a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
QVL_INLINE vec vec_copy_sign(vec magnitude, vec sign)
{
    return _mm256_or_ps(vec_abs(magnitude), _mm256_and_ps(sign, _mm256_set1_ps(-0.0f)));
}
QVL_INLINE vec vec_round(vec a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* In two steps, so that both powers are normal numbers: |n| <= 252. */
QVL_INLINE vec vec_scale2(vec a, vec n)
{
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), rest = _mm256_sub_epi32(whole, half);
    const __m256i bias = _mm256_set1_epi32(127);
    a = _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}
QVL_INLINE vec vec_select_less(vec a, vec b, vec if_less, vec if_not)
{
    return _mm256_blendv_ps(if_not, if_less, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
QVL_INLINE vec vec_fill_from(vec a, size_t n, float fill)
{
    return n >= VEC_LANES ? a : _mm256_blendv_ps(_mm256_set1_ps(fill), a, _mm256_castsi256_ps(first_lanes(n)));
}

QVL_INLINE float vec_sum(vec a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
QVL_INLINE float vec_largest(vec a)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
QVL_INLINE float4 vec_sum4(vec a, vec b, vec c, vec d)
{
    vec ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    vec cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    vec s = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

QVL_INLINE vec widen_bf16(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
QVL_INLINE __m128i load_halves_n(const uint16_t *p, size_t n)
{
    uint16_t buffer[8] = {0};
    memcpy(buffer, p, n * sizeof *p);
    return _mm_loadu_si128((const __m128i *)buffer);
}
QVL_INLINE vec vec_load_bf16(const qvl_bf16 *p)
{
    return widen_bf16(_mm_loadu_si128((const __m128i *)p));
}
QVL_INLINE vec vec_load_bf16_n(const qvl_bf16 *p, size_t n)
{
    return widen_bf16(load_halves_n(p, n));
}
QVL_INLINE vec vec_load_f16(const qvl_f16 *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
QVL_INLINE vec vec_load_f16_n(const qvl_f16 *p, size_t n)
{
    return _mm256_cvtph_ps(load_halves_n(p, n));
}
QVL_INLINE void vec_load_bf16_pairs(const qvl_bf16 *p, vec *first, vec *second)
{
    __m256i pairs = _mm256_loadu_si256((const __m256i *)p);
    *first = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
    /* zero costs no register where a mask would */
    *second = _mm256_castsi256_ps(_mm256_blend_epi16(_mm256_setzero_si256(), pairs, 0xaa));
}

/* Rounded to bf16 (nearest, ties to even, NaN stays NaN), in the upper half of each lane; the lower is dirty. */
QVL_INLINE __m256i round_bf16(vec v)
{
    __m256i bits = _mm256_castps_si256(v);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
}
QVL_INLINE __m128i narrow_bf16(vec v)
{
    __m256i h = _mm256_srli_epi32(round_bf16(v), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}
QVL_INLINE void vec_store_bf16(qvl_bf16 *p, vec v)
{
    _mm_storeu_si128((__m128i *)p, narrow_bf16(v));
}
QVL_INLINE void vec_store_bf16_n(qvl_bf16 *p, vec v, size_t n)
{
    qvl_bf16 buffer[8];
    _mm_storeu_si128((__m128i *)buffer, narrow_bf16(v));
    memcpy(p, buffer, n * sizeof *p);
}

#endif
