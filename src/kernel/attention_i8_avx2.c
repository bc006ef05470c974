/* Attention over int8 keys and values with avx2 (attention_i8_lanes.h): bytes are widened to 16 bits by shifts and
 * multiplied in pairs by vpmaddwd; a key's 8 bits are unsigned, and queries lie in the order of the weights. */
#include "kernel/levels.h"
#include "kernel/vec_avx2.h"

#define ATTENTION_ROWS ((size_t)4)
#define ATTENTION_VECTORS ((size_t)2)
#define ATTENTION_KEY_VECTORS ((size_t)2)
#define ATTENTION_KEY_VECTORS_FEW ((size_t)2)

typedef __m256i ivec, keys, values;
typedef int16_t query;
#define KEY_PARTS ((size_t)2)
#define KEY_ZERO 128
#define VALUE_PARTS ((size_t)2)

QVL_INLINE ivec ivec_set1(int32_t x)
{
    return _mm256_set1_epi32(x);
}
QVL_INLINE ivec ivec_max(ivec a, ivec b)
{
    return _mm256_max_epi32(a, b);
}
QVL_INLINE void ivec_store(int32_t *p, ivec v)
{
    _mm256_storeu_si256((__m256i *)p, v);
}
QVL_INLINE ivec ivec_from_vec_bits(vec v)
{
    return _mm256_castps_si256(v);
}
QVL_INLINE vec vec_from_ivec(ivec v)
{
    return _mm256_cvtepi32_ps(v);
}
QVL_INLINE ivec ivec_rounded(vec v)
{
    return _mm256_cvtps_epi32(v);
}
QVL_INLINE vec vec_swap(vec v, size_t half)
{
    return half == 1   ? _mm256_permute_ps(v, 0xb1)
           : half == 2 ? _mm256_permute_ps(v, 0x4e)
                       : _mm256_permute2f128_ps(v, v, 0x01);
}

QVL_INLINE __m128i narrow_i16(ivec v)
{
    return _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}
QVL_INLINE void store_weights(int16_t *dst, ivec v)
{
    _mm_storeu_si128((__m128i *)dst, narrow_i16(_mm256_shuffle_epi32(v, 0xd8)));
}
QVL_INLINE void store_query(query *dst, ivec v)
{
    store_weights(dst, v);
}
QVL_INLINE void store_bytes(int8_t *dst, ivec v)
{
    __m128i h = narrow_i16(v);
    _mm_storel_epi64((__m128i *)dst, _mm_packs_epi16(h, h));
}

#include "kernel/ivec_sums.h"

QVL_INLINE keys load_keys(const char *p, size_t part)
{
    __m128i to_the_top = _mm_cvtsi32_si128(part == 0 ? 8 : 0);
    return _mm256_srli_epi16(_mm256_sll_epi16(_mm256_loadu_si256((const __m256i *)p), to_the_top), 8);
}
QVL_INLINE values load_values(const char *p, size_t part)
{
    __m128i to_the_top = _mm_cvtsi32_si128(part == 0 ? 8 : 0);
    return _mm256_srai_epi16(_mm256_sll_epi16(_mm256_loadu_si256((const __m256i *)p), to_the_top), 8);
}

QVL_INLINE value_sum mac_values(value_sum acc, values v, const int16_t *w)
{
    int two;
    __builtin_memcpy(&two, w, sizeof two);
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(v, _mm256_set1_epi32(two)));
    __asm__("" : HELD_IN_REGISTER(acc)); /* or GCC 12 keeps some of a tile's in memory */
    return acc;
}
QVL_INLINE key_sum mac_keys(key_sum acc, keys k, const query *q)
{
    return mac_values(acc, k, q);
}

#include "kernel/attention_i8_lanes.h"

void qvl_overlay_attention_i8_avx2(struct qvl_kernels *table)
{
    overlay_attention_i8(table);
}
