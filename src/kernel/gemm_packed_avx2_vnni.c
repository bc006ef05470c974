/* Products of packed matrices with AVX-VNNI (gemm_packed_ymm.h): vpdpbusd in 256 bits, on processors without
 * AVX-512. Weights are the unsigned operand with their offset, 64 or 128.
 *
 * Compiled twice: with the instruction, and for tests (QVL_DPBUSD_IN_PARTS) with what makes the same of it on every
 * machine with avx2. */
#include "kernel/levels.h"

#include <immintrin.h>

#if defined(QVL_DPBUSD_IN_PARTS)

#define OVERLAY qvl_overlay_gemm_packed_avx2_vnni_in_parts

/* Even and odd bytes apart as 16-bit numbers (Intel SDM vol. 2, VPDPBUSD: no step saturates). */
QVL_INLINE __m256i dpbusd(__m256i sum, __m256i w, __m256i x)
{
    __m256i even_w = _mm256_and_si256(w, _mm256_set1_epi16(255)), odd_w = _mm256_srli_epi16(w, 8);
    __m256i even_x = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8), odd_x = _mm256_srai_epi16(x, 8);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even_w, even_x));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(odd_w, odd_x));
}

static bool is_usable(void)
{
    return qvl_cpu_has(QVL_ISA_AVX2);
}

#else

#define OVERLAY qvl_overlay_gemm_packed_avx2_vnni

QVL_INLINE __m256i dpbusd(__m256i sum, __m256i w, __m256i x)
{
    return _mm256_dpbusd_avx_epi32(sum, w, x);
}

static bool is_usable(void)
{
    return qvl_cpu_has_int8_dot(QVL_ISA_AVX2);
}

#endif

QVL_INLINE __m256i add_levels(__m256i sum, __m256i w, __m256i x)
{
    return dpbusd(sum, w, x);
}

QVL_INLINE __m256i add_numbers(__m256i sum, __m256i w, __m256i x)
{
    return dpbusd(sum, w, x);
}

QVL_INLINE __m256i numbers_start(__m256i minus_64_sum)
{
    return _mm256_slli_epi32(minus_64_sum, 1);
}

#include "kernel/gemm_packed_ymm.h"

void OVERLAY(struct qvl_kernels *table)
{
    if (!is_usable())
        return;
    overlay_gemm_packed(table);
}
