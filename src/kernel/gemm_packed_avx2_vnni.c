/* Products of packed matrices with AVX-VNNI (gemm_packed_ymm.h): vpdpbusd in 256 bits, on processors without
 * AVX-512. Weights are the unsigned operand with their offset, 64 or 128. */
#include "kernel/levels.h"

#include <immintrin.h>

QVL_INLINE __m256i add_levels(__m256i sum, __m256i w, __m256i x)
{
    return _mm256_dpbusd_avx_epi32(sum, w, x);
}

QVL_INLINE __m256i add_numbers(__m256i sum, __m256i w, __m256i x)
{
    return _mm256_dpbusd_avx_epi32(sum, w, x);
}

QVL_INLINE __m256i numbers_start(__m256i minus_64_sum)
{
    return _mm256_slli_epi32(minus_64_sum, 1);
}

#include "kernel/gemm_packed_ymm.h"

void qvl_overlay_gemm_packed_avx2_vnni(struct qvl_kernels *table)
{
    if (!qvl_cpu_has_int8_dot(QVL_ISA_AVX2))
        return;
    table->gemm_q8_a8 = gemm_q8_a8;
    table->gemm_q4_a8 = gemm_q4_a8;
}
