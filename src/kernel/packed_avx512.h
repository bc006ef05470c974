/* packed_avx512.h: scales of packed matrices (packed.h), of a group and the 16 rows of a panel. */
#ifndef QVL_KERNEL_PACKED_AVX512_H
#define QVL_KERNEL_PACKED_AVX512_H

#include <immintrin.h>

#include "kernel/levels.h"
#include "kernel/packed.h"

/* bf16. */
QVL_INLINE __m512 q8_scales(const uint8_t *scale)
{
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_load_si256((const void *)scale));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}

/* qvl_q4_scale for 16 rows. */
QVL_INLINE __m512 q4_scales(const uint8_t *code)
{
    __m512i bits = _mm512_slli_epi32(_mm512_cvtepi8_epi32(_mm_load_si128((const void *)code)), 19);
    bits = _mm512_and_epi32(bits, _mm512_set1_epi32((int)0x83f80000));
    return _mm512_castsi512_ps(_mm512_add_epi32(bits, _mm512_set1_epi32(120 << 23)));
}

#endif
