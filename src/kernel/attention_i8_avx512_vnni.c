/* Attention over int8 keys and values with avx512 and VNNI (attention_i8_lanes.h): keys by vpdpbusd, values,
 * widened to 16 bits, by vpdpwssd. */
#include "kernel/levels.h"
#include "kernel/vec_avx512.h"

#define ATTENTION_ROWS ((size_t)12)
#define ATTENTION_VECTORS ((size_t)2)
#define ATTENTION_KEY_VECTORS ((size_t)2)
#define ATTENTION_KEY_VECTORS_FEW ((size_t)4)

typedef __m512i ivec, keys, values;
typedef int8_t query;
#define KEY_PARTS ((size_t)1)
#define KEY_ZERO 128
#define VALUE_PARTS ((size_t)2)

QVL_INLINE ivec ivec_set1(int32_t x)
{
    return _mm512_set1_epi32(x);
}
QVL_INLINE ivec ivec_max(ivec a, ivec b)
{
    return _mm512_max_epi32(a, b);
}
QVL_INLINE void ivec_store(int32_t *p, ivec v)
{
    _mm512_storeu_si512(p, v);
}
QVL_INLINE ivec ivec_from_vec_bits(vec v)
{
    return _mm512_castps_si512(v);
}
QVL_INLINE vec vec_from_ivec(ivec v)
{
    return _mm512_cvtepi32_ps(v);
}
QVL_INLINE ivec ivec_rounded(vec v)
{
    return _mm512_cvtps_epi32(v);
}
QVL_INLINE vec vec_swap(vec v, size_t half)
{
    return half == 1   ? _mm512_permute_ps(v, 0xb1)
           : half == 2 ? _mm512_permute_ps(v, 0x4e)
           : half == 4 ? _mm512_shuffle_f32x4(v, v, 0xb1)
                       : _mm512_shuffle_f32x4(v, v, 0x4e);
}

QVL_INLINE void store_weights(int16_t *dst, ivec v)
{
    _mm256_storeu_si256((__m256i *)dst, _mm512_cvtepi32_epi16(_mm512_shuffle_epi32(v, 0xd8)));
}
QVL_INLINE void store_bytes(int8_t *dst, ivec v)
{
    _mm_storeu_si128((__m128i *)dst, _mm512_cvtepi32_epi8(v));
}
QVL_INLINE void store_query(query *dst, ivec v)
{
    store_bytes(dst, v);
}

#include "kernel/ivec_sums.h"

QVL_INLINE keys load_keys(const char *p, size_t part)
{
    (void)part; /* there is one */
    return _mm512_loadu_si512(p);
}
QVL_INLINE values load_values(const char *p, size_t part)
{
    __m128i to_the_top = _mm_cvtsi32_si128(part == 0 ? 8 : 0);
    return _mm512_srai_epi16(_mm512_sll_epi16(_mm512_loadu_si512(p), to_the_top), 8);
}

QVL_INLINE __m512i broadcast_dword(const void *p)
{
    int x;
    __builtin_memcpy(&x, p, sizeof x);
    return _mm512_set1_epi32(x);
}
/* As asm: around the intrinsics GCC 12 moves the accumulators of a tile to the stack and back. */
QVL_INLINE key_sum mac_keys(key_sum acc, keys k, const query *q)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(k), "v"(broadcast_dword(q)));
    return acc;
}
QVL_INLINE value_sum mac_values(value_sum acc, values v, const int16_t *w)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(v), "v"(broadcast_dword(w)));
    return acc;
}

#include "kernel/attention_i8_lanes.h"

void qvl_overlay_attention_i8_avx512_vnni(struct qvl_kernels *table)
{
    if (qvl_cpu_has_int8_dot(QVL_ISA_AVX512))
        overlay_attention_i8(table);
}
