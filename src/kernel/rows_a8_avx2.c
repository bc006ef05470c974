/* Rows of QVL_A8 (packed.h) with avx2, a group of 32 at a time; the levels above use it too: a group fills one
 * register of bytes, and rounding the inputs of a product is far below 1 % of it. */
#include "kernel/levels.h"

#include <immintrin.h>
#include <math.h>

#include "kernel/packed.h"

QVL_INLINE int32_t sum_of_lanes(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

/* The largest of 32 magnitudes as bits, which order as the numbers do: not finite above all. */
QVL_INLINE float largest_of(const __m256 *x)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i most = _mm256_and_si256(_mm256_castps_si256(x[0]), magnitude);
    QVL_UNROLL(4)
    for (size_t i = 1; i < 4; i++)
        most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(x[i]), magnitude));
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(m));
}

QVL_INLINE void group_to_a8(struct qvl_a8_block *y, size_t i_group, const float *from)
{
    __m256 x[4];
    __m256i q = _mm256_setzero_si256();
    int32_t sum = 0;
    float scale = 0;
    QVL_UNROLL(4)
    for (size_t i = 0; i < 4; i++)
        x[i] = _mm256_loadu_ps(from + 8 * i);
    float largest = largest_of(x);
    if (!(largest < INFINITY)) {
        scale = NAN;
    } else if (largest >= QVL_SMALLEST_LARGEST) {
        __m256 inverse = _mm256_set1_ps(127.0f / largest);
        __m256i n[4];
        QVL_UNROLL(4)
        for (size_t i = 0; i < 4; i++)
            n[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], inverse)); /* to nearest, ties to even */
        q = _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]), _mm256_packs_epi32(n[2], n[3]));
        q = _mm256_permutevar8x32_epi32(q, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)); /* packs works in halves */
        sum = sum_of_lanes(_mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q), _mm256_set1_epi16(1)));
        scale = largest / 127.0f;
    }
    _mm256_storeu_si256((void *)(y->q + i_group * QVL_GROUP), q);
    y->scale[i_group] = scale;
    y->minus_64_sum[i_group] = -64 * sum;
}

QVL_INLINE void eight_to_f32(float *y, const struct qvl_a8_block *block, size_t j)
{
    __m256 q = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(block->q + j))));
    _mm256_storeu_ps(y, _mm256_mul_ps(q, _mm256_set1_ps(block->scale[j / QVL_GROUP])));
}

QVL_INLINE int32_t dot_group(const int8_t *a, const int8_t *b)
{
    __m256i p = _mm256_loadu_si256((const void *)a), q = _mm256_loadu_si256((const void *)b);
    /* unsigned times signed: the sign of p goes to q, of which none is -128 */
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(p), _mm256_sign_epi8(q, p));
    return sum_of_lanes(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#include "kernel/rows_a8_lanes.h"

void qvl_overlay_rows_a8_avx2(struct qvl_kernels *table)
{
    overlay_rows_a8(table);
}
