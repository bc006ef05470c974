/* Products of packed matrices (packed.h) with AVX-512 VNNI: vpdpbusd adds four products of unsigned by signed bytes
 * to each of 16 sums, which is one line of a panel times four numbers of one activation row, broadcast from memory.
 *
 * Weights are the unsigned operand, their offset taken away by starting each sum at -offset * (sum of the
 * activations), which comes with the activations. A tile is one panel times up to TOKS tokens: per group TOKS sums
 * in registers, 8 lines of weights each made once (QVL_Q4: unpacked, looked up) and used TOKS times; then one
 * conversion, one product of scales and one multiply-add per token. A panel is read from memory once, by the first
 * tile, and stays in the first or second level of cache for the others. */
#include "kernel/levels.h"

#include <immintrin.h>

#include "kernel/packed_avx512.h"

#define AHEAD 8 /* blocks */
#define TOKS 12 /* with their f32 sums 24 registers; two for weights, three for table, mask and scales remain */

/* Pointers to the blocks of up to TOKS rows of activations, so that three rows share a register: row t is
 * base[t / 3] + t % 3 * stride. */
struct rows {
    const char *base[TOKS / 3];
    size_t stride;
};

QVL_INLINE const char *row_at(const struct rows *x, size_t t)
{
    return x->base[t / 3] + t % 3 * x->stride;
}

QVL_INLINE __m512i four_of(const char *p)
{
    int32_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

QVL_INLINE float scale_of(const char *block, size_t i_group)
{
    float v;
    __builtin_memcpy(&v, block + offsetof(struct qvl_a8_block, scale) + i_group * sizeof v, sizeof v);
    return v;
}

QVL_INLINE __m512i minus_64_sum_of(const char *block, size_t i_group)
{
    return four_of(block + offsetof(struct qvl_a8_block, minus_64_sum) + i_group * sizeof(int32_t));
}

/* acc += (float)sum * (w_scale * x_scale) for the tile's tokens. */
QVL_INLINE void add_group(__m512 *acc, const __m512i *sum, __m512 w_scale, const struct rows *x, size_t i_group,
                          size_t n_tok)
{
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_tok; t++) {
        __m512 scale = _mm512_mul_ps(w_scale, _mm512_set1_ps(scale_of(row_at(x, t), i_group)));
        acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t]), scale, acc[t]);
    }
}

/* Adds a line times columns column… of the tokens' blocks. */
QVL_INLINE void add_line(__m512i *sum, __m512i w, const struct rows *x, size_t column, size_t n_tok)
{
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_tok; t++)
        sum[t] = _mm512_dpbusd_epi32(sum[t], w, four_of(row_at(x, t) + column));
}

QVL_INLINE void q8_group(__m512 *acc, const uint8_t *block, size_t i_half, const struct rows *x, size_t i_group,
                         size_t n_tok)
{
    __m512i sum[TOKS];
    const uint8_t *lines = block + QVL_PANEL_LINE + i_half * 8 * QVL_PANEL_LINE;
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_tok; t++)
        sum[t] = _mm512_slli_epi32(minus_64_sum_of(row_at(x, t), i_group), 1);
    QVL_UNROLL(8)
    for (size_t j = 0; j < 8; j++)
        add_line(sum, _mm512_load_si512(lines + j * QVL_PANEL_LINE), x, i_group * QVL_GROUP + 4 * j, n_tok);
    add_group(acc, sum, q8_scales(block + i_half * 2 * QVL_PANEL_ROWS), x, i_group, n_tok);
}

QVL_INLINE void q4_group(__m512 *acc, const uint8_t *block, __m512i level, const struct rows *x, size_t i_group,
                         size_t n_tok)
{
    __m512i sum[TOKS], low_half = _mm512_set1_epi8(15);
    const uint8_t *lines = block + QVL_PANEL_LINE + i_group * 4 * QVL_PANEL_LINE;
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_tok; t++)
        sum[t] = minus_64_sum_of(row_at(x, t), i_group);
    QVL_UNROLL(4)
    for (size_t j = 0; j < 4; j++) {
        __m512i line = _mm512_load_si512(lines + j * QVL_PANEL_LINE);
        __m512i low = _mm512_shuffle_epi8(level, _mm512_and_si512(line, low_half));
        __m512i high = _mm512_shuffle_epi8(level, _mm512_and_si512(_mm512_srli_epi16(line, 4), low_half));
        add_line(sum, low, x, i_group * QVL_GROUP + 4 * j, n_tok);
        add_line(sum, high, x, i_group * QVL_GROUP + 16 + 4 * j, n_tok);
    }
    add_group(acc, sum, q4_scales(block + i_group * QVL_PANEL_ROWS), x, i_group, n_tok);
}

/* Asks for a block of weights that is wanted later. With 6 to 12 tokens arithmetic takes about as long as memory,
 * and the two overlap only so: it is worth a tenth of a decode step of 8 or 16 rows. (Fewer tokens wait for memory
 * alone.) */
QVL_INLINE void ask_for(const uint8_t *block)
{
    QVL_UNROLL(17)
    for (size_t i = 0; i < QVL_PANEL_BLOCK_BYTES; i += QVL_PANEL_LINE)
        _mm_prefetch((const char *)block + i, _MM_HINT_T0);
}

/* One panel times n_tok <= TOKS tokens, a constant of the call. is_first: the panel comes from memory. */
QVL_INLINE void tile(float *c, size_t c_stride, const uint8_t *panel, bool is_first,
                     const struct qvl_packed_head *w, enum qvl_dtype format, __m512 factor, const char *x,
                     size_t x_stride, size_t n_tok, size_t k)
{
    __m512 acc[TOKS];
    bool is_ahead = is_first && n_tok >= 6;
    struct rows rows = {.stride = x_stride};
    __m512i level = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)w->level));
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_tok; t++)
        acc[t] = _mm512_setzero_ps();
    QVL_UNROLL(4)
    for (size_t i = 0; i < TOKS / 3; i++)
        rows.base[i] = x + 3 * i * x_stride;
    for (size_t at = 0; at < k; at += QVL_A8_BLOCK) {
        if (is_ahead)
            ask_for(panel + AHEAD * QVL_PANEL_BLOCK_BYTES);
        if (format == QVL_Q4) {
            QVL_UNROLL(4)
            for (size_t g = 0; g < 4; g++)
                q4_group(acc, panel, level, &rows, g, n_tok);
            panel += QVL_PANEL_BLOCK_BYTES;
        } else {
            q8_group(acc, panel, 0, &rows, 0, n_tok);
            q8_group(acc, panel, 1, &rows, 1, n_tok);
            panel += QVL_PANEL_BLOCK_BYTES;
            if (at + QVL_Q8_BLOCK < k) {
                if (is_ahead)
                    ask_for(panel + AHEAD * QVL_PANEL_BLOCK_BYTES);
                q8_group(acc, panel, 0, &rows, 2, n_tok);
                q8_group(acc, panel, 1, &rows, 3, n_tok);
                panel += QVL_PANEL_BLOCK_BYTES;
            }
        }
        QVL_UNROLL(4)
        for (size_t i = 0; i < TOKS / 3; i++)
            rows.base[i] += sizeof(struct qvl_a8_block);
    }
    QVL_UNROLL(16)
    for (size_t t = 0; t < n_tok; t++)
        _mm512_storeu_ps(c + t * c_stride, format == QVL_Q4 ? _mm512_mul_ps(acc[t], factor) : acc[t]);
}

QVL_INLINE void product(float *c, size_t c_stride, const struct qvl_packed_head *w, enum qvl_dtype format,
                        size_t row0, const char *x, size_t x_stride, size_t n_row, size_t n_tok, size_t k)
{
    size_t panel_bytes = qvl_panel_bytes(k, format);
    const float *factors = (const void *)(w + 1);
    const uint8_t *panel =
        (const uint8_t *)w + qvl_packed_panels_at(w->n_out, format) + row0 / QVL_PANEL_ROWS * panel_bytes;
    for (size_t r = 0; r < n_row; r += QVL_PANEL_ROWS, panel += panel_bytes) {
        __m512 factor = format == QVL_Q4 ? _mm512_load_ps(factors + row0 + r) : _mm512_setzero_ps();
        for (size_t t = 0; t < n_tok;) {
            float *to = c + t * c_stride + r;
            const char *from = x + t * x_stride;
            size_t n_left = n_tok - t, n = n_left >= 12  ? 12
                                           : n_left >= 8 ? 8
                                           : n_left >= 6 ? 6
                                           : n_left >= 4 ? 4
                                                         : n_left;
            switch (n) {
            case 12: tile(to, c_stride, panel, t == 0, w, format, factor, from, x_stride, 12, k); break;
            case 8: tile(to, c_stride, panel, t == 0, w, format, factor, from, x_stride, 8, k); break;
            case 6: tile(to, c_stride, panel, t == 0, w, format, factor, from, x_stride, 6, k); break;
            case 4: tile(to, c_stride, panel, t == 0, w, format, factor, from, x_stride, 4, k); break;
            case 3: tile(to, c_stride, panel, t == 0, w, format, factor, from, x_stride, 3, k); break;
            case 2: tile(to, c_stride, panel, t == 0, w, format, factor, from, x_stride, 2, k); break;
            default: tile(to, c_stride, panel, t == 0, w, format, factor, from, x_stride, 1, k); break;
            }
            t += n;
        }
    }
}

#include "kernel/gemm_packed_table.h"

void qvl_overlay_gemm_packed_avx512_vnni(struct qvl_kernels *table)
{
    if (!qvl_cpu_has_int8_dot(QVL_ISA_AVX512))
        return;
    overlay_gemm_packed(table);
}
