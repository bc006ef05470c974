/* Products of packed matrices with avx2 (gemm_packed_ymm.h): vpmaddubsw makes sums of two products of unsigned by
 * signed bytes in 16 bits, vpmaddwd sums of two of those in 32. Two products fit where the unsigned bytes are at
 * most 128: the levels of QVL_Q4 by their range, the numbers of QVL_Q8 as magnitudes, their signs moved to the
 * activations (which are never -128). */
#include "kernel/levels.h"

#include <immintrin.h>

#include "kernel/packed.h"

QVL_INLINE __m256i add_levels(__m256i sum, __m256i w, __m256i x)
{
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
    __asm__(""
            : "+x"(sum)); /* else the compiler adds the products of many lines first, more than fit in registers */
    return sum;
}

QVL_INLINE __m256i add_numbers(__m256i sum, __m256i w, __m256i x)
{
    w = _mm256_xor_si256(w, _mm256_set1_epi8((char)QVL_Q8_ZERO)); /* 128 + number, as a signed byte */
    return add_levels(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}

QVL_INLINE __m256i numbers_start(__m256i minus_64_sum)
{
    (void)minus_64_sum;
    return _mm256_setzero_si256();
}

#include "kernel/gemm_packed_ymm.h"

void qvl_overlay_gemm_packed_avx2(struct qvl_kernels *table)
{
    overlay_gemm_packed(table);
}
