/* gemm_packed_ymm.h: products of packed matrices (packed.h) in 256-bit registers, for two kinds of processor: with
 * vpdpbusd (gemm_packed_avx2_vnni.c) and without (gemm_packed_avx2.c).
 *
 * A line of a panel is two registers of 8 rows. A tile is one panel times up to TOKS tokens: the integer sums of a
 * group are 2 x TOKS registers; their f32 counterparts live in c itself, which costs a load and a store a group
 * where twice the registers would cost half the tile.
 *
 * The including file defines, for 32 bytes of weights w and four activations repeated in x:
 *   add_levels(sum, w, x)     sum + w x, w 0 … 127
 *   add_numbers(sum, w, x)    sum + (w - offset) x, for an offset that it chooses
 *   numbers_start(s)          -offset * (sum of the group's activations), from s = -64 times that sum */
#ifndef QVL_KERNEL_GEMM_PACKED_YMM_H
#define QVL_KERNEL_GEMM_PACKED_YMM_H

#include "kernel/packed.h"

#define TOKS 4

/* Sums of 16 rows. */
struct sums {
    __m256i half[2];
};

QVL_INLINE __m256i four_of(const char *p)
{
    int32_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

QVL_INLINE __m256 scale_of(const char *block, size_t i_group)
{
    float v;
    __builtin_memcpy(&v, block + offsetof(struct qvl_a8_block, scale) + i_group * sizeof v, sizeof v);
    return _mm256_set1_ps(v);
}

QVL_INLINE __m256i minus_64_sum_of(const char *block, size_t i_group)
{
    return four_of(block + offsetof(struct qvl_a8_block, minus_64_sum) + i_group * sizeof(int32_t));
}

QVL_INLINE __m256i half_line(const uint8_t *line, size_t i_half)
{
    return _mm256_load_si256((const void *)(line + i_half * 32));
}

/* c += (float)sum * (w_scale * x_scale) for 8 rows and the tile's tokens. */
QVL_INLINE void add_group(float *c, size_t c_stride, const struct sums *sum, size_t i_half, __m256 w_scale,
                          const char *x, size_t x_stride, size_t i_group, size_t n_tok)
{
    QVL_UNROLL(4)
    for (size_t t = 0; t < n_tok; t++) {
        float *to = c + t * c_stride + 8 * i_half;
        __m256 scale = _mm256_mul_ps(w_scale, scale_of(x + t * x_stride, i_group));
        __m256 number = _mm256_cvtepi32_ps(sum[t].half[i_half]);
        _mm256_storeu_ps(to, _mm256_fmadd_ps(number, scale, _mm256_loadu_ps(to)));
    }
}

QVL_INLINE void q8_group(float *c, size_t c_stride, const uint8_t *block, size_t i_half_block, const char *x,
                         size_t x_stride, size_t i_group, size_t n_tok)
{
    struct sums sum[TOKS];
    const uint8_t *line = block + QVL_PANEL_LINE + i_half_block * 8 * QVL_PANEL_LINE;
    QVL_UNROLL(4)
    for (size_t t = 0; t < n_tok; t++)
        sum[t].half[0] = sum[t].half[1] = numbers_start(minus_64_sum_of(x + t * x_stride, i_group));
    const char *four = x + i_group * QVL_GROUP;
    for (size_t j = 0; j < 8; j++, line += QVL_PANEL_LINE, four += 4) {
        __m256i w0 = half_line(line, 0), w1 = half_line(line, 1);
        QVL_UNROLL(4)
        for (size_t t = 0; t < n_tok; t++) {
            __m256i v = four_of(four + t * x_stride);
            sum[t].half[0] = add_numbers(sum[t].half[0], w0, v);
            sum[t].half[1] = add_numbers(sum[t].half[1], w1, v);
        }
    }
    const uint8_t *scales = block + i_half_block * 2 * QVL_PANEL_ROWS;
    QVL_UNROLL(2)
    for (size_t i = 0; i < 2; i++) {
        __m256i bits = _mm256_cvtepu16_epi32(_mm_load_si128((const void *)(scales + 16 * i)));
        add_group(c, c_stride, sum, i, _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16)), x, x_stride, i_group,
                  n_tok);
    }
}

/* Eight times the same number, loaded where it is used: the compiler would keep it in a register, which the sums of
 * the tile need, and spill it. */
QVL_INLINE __m256i loaded_here(const int32_t *eight)
{
    __asm__("" : "+r"(eight));
    return _mm256_load_si256((const void *)eight);
}

/* qvl_q4_scale for 8 rows. */
QVL_INLINE __m256 q4_scales(const uint8_t *code)
{
#define EIGHT(n)                                                                                                   \
    {                                                                                                              \
        n, n, n, n, n, n, n, n                                                                                     \
    }
    static const _Alignas(32) int32_t sign_and_scale[8] = EIGHT((int32_t)0x83f80000), bias[8] = EIGHT(120 << 23);
    __m256i bits = _mm256_slli_epi32(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)code)), 19);
    bits = _mm256_and_si256(bits, loaded_here(sign_and_scale));
    return _mm256_castsi256_ps(_mm256_add_epi32(bits, loaded_here(bias)));
}

QVL_INLINE void q4_group(float *c, size_t c_stride, const uint8_t *block, __m256i level, const char *x,
                         size_t x_stride, size_t i_group, size_t n_tok)
{
    struct sums sum[TOKS];
    const uint8_t *line = block + QVL_PANEL_LINE + i_group * 4 * QVL_PANEL_LINE;
    const __m256i low_half = _mm256_set1_epi8(15);
    QVL_UNROLL(4)
    for (size_t t = 0; t < n_tok; t++)
        sum[t].half[0] = sum[t].half[1] = minus_64_sum_of(x + t * x_stride, i_group);
    const char *four = x + i_group * QVL_GROUP;
    for (size_t j = 0; j < 4; j++, line += QVL_PANEL_LINE, four += 4) {
        QVL_UNROLL(2)
        for (size_t high = 0; high < 2; high++) { /* first the low halves of the bytes */
            __m256i i0 = half_line(line, 0), i1 = half_line(line, 1);
            if (high) {
                i0 = _mm256_srli_epi16(i0, 4);
                i1 = _mm256_srli_epi16(i1, 4);
            }
            __m256i w0 = _mm256_shuffle_epi8(level, _mm256_and_si256(i0, low_half));
            __m256i w1 = _mm256_shuffle_epi8(level, _mm256_and_si256(i1, low_half));
            QVL_UNROLL(4)
            for (size_t t = 0; t < n_tok; t++) {
                __m256i v = four_of(four + t * x_stride + 16 * high);
                sum[t].half[0] = add_levels(sum[t].half[0], w0, v);
                sum[t].half[1] = add_levels(sum[t].half[1], w1, v);
            }
        }
    }
    QVL_UNROLL(2)
    for (size_t i = 0; i < 2; i++)
        add_group(c, c_stride, sum, i, q4_scales(block + i_group * QVL_PANEL_ROWS + 8 * i), x, x_stride, i_group,
                  n_tok);
}

/* One panel times n_tok <= TOKS tokens, a constant of the call. */
QVL_INLINE void tile(float *c, size_t c_stride, const uint8_t *panel, const struct qvl_packed_head *w,
                     enum qvl_dtype format, const float *factor, const char *x, size_t x_stride, size_t n_tok,
                     size_t k)
{
    __m256i level = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)w->level));
    for (size_t t = 0; t < n_tok; t++)
        for (size_t i = 0; i < QVL_PANEL_ROWS; i += 8)
            _mm256_storeu_ps(c + t * c_stride + i, _mm256_setzero_ps());
    size_t n_group_of_block = format == QVL_Q4 ? 4 : 2;
    for (size_t i = 0; i < qvl_div_up(k, QVL_GROUP); i++) {
        const uint8_t *block = panel + i / n_group_of_block * QVL_PANEL_BLOCK_BYTES;
        const char *from = x + i / 4 * sizeof(struct qvl_a8_block);
        if (format == QVL_Q4)
            q4_group(c, c_stride, block, level, from, x_stride, i % 4, n_tok);
        else
            q8_group(c, c_stride, block, i % 2, from, x_stride, i % 4, n_tok);
    }
    for (size_t t = 0; format == QVL_Q4 && t < n_tok; t++)
        for (size_t i = 0; i < QVL_PANEL_ROWS; i += 8) {
            float *to = c + t * c_stride + i;
            _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_loadu_ps(to), _mm256_loadu_ps(factor + i)));
        }
}

QVL_INLINE void product(float *c, size_t c_stride, const struct qvl_packed_head *w, enum qvl_dtype format,
                        size_t row0, const char *x, size_t x_stride, size_t n_row, size_t n_tok, size_t k)
{
    size_t panel_bytes = qvl_panel_bytes(k, format);
    const float *factor = (const float *)(const void *)(w + 1) + row0;
    const uint8_t *panel =
        (const uint8_t *)w + qvl_packed_panels_at(w->n_out, format) + row0 / QVL_PANEL_ROWS * panel_bytes;
    for (size_t r = 0; r < n_row; r += QVL_PANEL_ROWS, panel += panel_bytes)
        for (size_t t = 0; t < n_tok; t += TOKS) {
            float *to = c + t * c_stride + r;
            const char *from = x + t * x_stride;
            switch (qvl_min_size(n_tok - t, TOKS)) {
            case 4: tile(to, c_stride, panel, w, format, factor + r, from, x_stride, 4, k); break;
            case 3: tile(to, c_stride, panel, w, format, factor + r, from, x_stride, 3, k); break;
            case 2: tile(to, c_stride, panel, w, format, factor + r, from, x_stride, 2, k); break;
            default: tile(to, c_stride, panel, w, format, factor + r, from, x_stride, 1, k); break;
            }
        }
}

#include "kernel/gemm_packed_table.h"

#endif
