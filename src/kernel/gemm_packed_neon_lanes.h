/* gemm_packed_neon_lanes.h: products of packed matrices (packed.h) with neon, written once for processors without
 * and with instructions for sums of int8 products, and for small matrices of such.
 *
 * Idea: block by block of QVL_A8_BLOCK columns the 16 rows of a panel become signed bytes and f32 scales in a
 * buffer of the first-level cache: after that both formats are the same, and what unpacking costs is shared by all
 * tokens. A tile is that block times up to TOKS tokens, whose 4 x TOKS integer sums are in registers; the f32 sums
 * wait in c, which a group of 32 columns visits once.
 *
 * The including file defines, before the include:
 *   TOKS                      tokens of a tile, even
 *   arrange_lines(w0, w1)     from 4 rows of two neighbouring lines to what it wants in the buffer
 *   add_pair(sum0, sum1, w0, w1, x0, x1)
 *                             to two sums, in an order of its own, such rows times the 8 numbers at x0 and at x1
 *   arrange_sums(sum0, sum1)  from that order to the 4 rows' sums with either token */
#ifndef QVL_KERNEL_GEMM_PACKED_NEON_LANES_H
#define QVL_KERNEL_GEMM_PACKED_NEON_LANES_H

#include <string.h>

#include "kernel/packed.h"

#define GROUPS ((size_t)(QVL_A8_BLOCK / QVL_GROUP))
#define GROUP_LINES ((size_t)(QVL_GROUP / 4))
#define VECTORS ((size_t)(QVL_PANEL_ROWS / 4))

/* QVL_A8_BLOCK columns of a panel, or those that it has. */
struct unpacked {
    int8_t w[GROUPS][GROUP_LINES][QVL_PANEL_LINE];
    float scale[GROUPS][QVL_PANEL_ROWS];
    size_t n_group;
};

/* 4 rows of two neighbouring lines, the first one's place at `to`. */
QVL_INLINE void store_lines(int8_t *to, int8x16_t w0, int8x16_t w1)
{
    arrange_lines(&w0, &w1);
    vst1q_s8(to, w0);
    vst1q_s8(to + QVL_PANEL_LINE, w1);
}

QVL_INLINE void unpack_q8_group(struct unpacked *to, size_t i_group, const uint8_t *block, size_t i_half)
{
    const uint8_t *line = block + QVL_PANEL_LINE + i_half * GROUP_LINES * QVL_PANEL_LINE;
    const uint8x16_t zero = vdupq_n_u8(QVL_Q8_ZERO);
    for (size_t j = 0; j < GROUP_LINES; j += 2, line += 2 * QVL_PANEL_LINE)
        for (size_t i = 0; i < QVL_PANEL_LINE; i += 16)
            store_lines(to->w[i_group][j] + i, vreinterpretq_s8_u8(veorq_u8(vld1q_u8(line + i), zero)),
                        vreinterpretq_s8_u8(veorq_u8(vld1q_u8(line + QVL_PANEL_LINE + i), zero)));
    const uint8_t *half = block + i_half * QVL_PANEL_ROWS * sizeof(qvl_bf16);
    for (size_t r = 0; r < QVL_PANEL_ROWS; r += 4) {
        uint16x4_t scale = vreinterpret_u16_u8(vld1_u8(half + r * sizeof(qvl_bf16)));
        vst1q_f32(to->scale[i_group] + r, vreinterpretq_f32_u32(vshll_n_u16(scale, 16)));
    }
}

/* qvl_q4_scale for four rows: sign extension puts the sign where f32 has it. */
QVL_INLINE float32x4_t q4_scales(int16x4_t code)
{
    uint32x4_t bits = vreinterpretq_u32_s32(vshlq_n_s32(vmovl_s16(code), 19));
    return vreinterpretq_f32_u32(vaddq_u32(vandq_u32(bits, vdupq_n_u32(0x83f80000u)), vdupq_n_u32(120u << 23)));
}

QVL_INLINE void unpack_q4_group(struct unpacked *to, size_t i_group, const uint8_t *block, int8x16_t level)
{
    const uint8_t *line = block + QVL_PANEL_LINE + i_group * GROUP_LINES / 2 * QVL_PANEL_LINE;
    const uint8x16_t low_half = vdupq_n_u8(15);
    for (size_t j = 0; j < GROUP_LINES / 2; j += 2, line += 2 * QVL_PANEL_LINE)
        for (size_t i = 0; i < QVL_PANEL_LINE; i += 16) {
            uint8x16_t halves0 = vld1q_u8(line + i), halves1 = vld1q_u8(line + QVL_PANEL_LINE + i);
            store_lines(to->w[i_group][j] + i, vqtbl1q_s8(level, vandq_u8(halves0, low_half)),
                        vqtbl1q_s8(level, vandq_u8(halves1, low_half)));
            store_lines(to->w[i_group][j + GROUP_LINES / 2] + i, vqtbl1q_s8(level, vshrq_n_u8(halves0, 4)),
                        vqtbl1q_s8(level, vshrq_n_u8(halves1, 4)));
        }
    const int8_t *code = (const int8_t *)block + i_group * QVL_PANEL_ROWS;
    for (size_t r = 0; r < QVL_PANEL_ROWS; r += 8) {
        int16x8_t wide = vmovl_s8(vld1_s8(code + r));
        vst1q_f32(to->scale[i_group] + r, q4_scales(vget_low_s16(wide)));
        vst1q_f32(to->scale[i_group] + r + 4, q4_scales(vget_high_s16(wide)));
    }
}

/* Columns at … of a panel. */
QVL_INLINE void unpack(struct unpacked *to, const uint8_t *panel, enum qvl_dtype format, int8x16_t level, size_t at,
                       size_t k)
{
    to->n_group = qvl_div_up(qvl_min_size(k - at, QVL_A8_BLOCK), QVL_GROUP);
    for (size_t g = 0; g < to->n_group; g++) {
        size_t column = at + g * QVL_GROUP;
        if (format == QVL_Q4)
            unpack_q4_group(to, g, panel + column / QVL_Q4_BLOCK * QVL_PANEL_BLOCK_BYTES, level);
        else
            unpack_q8_group(to, g, panel + column / QVL_Q8_BLOCK * QVL_PANEL_BLOCK_BYTES,
                            column % QVL_Q8_BLOCK / QVL_GROUP);
    }
}

/* Integer sums of a group, lines w and numbers x; n_tok is a constant of the call. A token without a partner is its
 * own, and the second sum is of no use. */
QVL_INLINE void sum_group(int32x4_t sum[VECTORS][TOKS], const int8_t w[GROUP_LINES][QVL_PANEL_LINE],
                          const int8_t *x, size_t x_stride, size_t n_tok)
{
    QVL_UNROLL(4)
    for (size_t v = 0; v < VECTORS; v++)
        QVL_UNROLL(8)
    for (size_t t = 0; t < TOKS; t++)
        sum[v][t] = vdupq_n_s32(0);
    for (size_t j = 0; j < GROUP_LINES; j += 2) {
        QVL_UNROLL(4)
        for (size_t v = 0; v < VECTORS; v++) {
            int8x16_t w0 = vld1q_s8(w[j] + 16 * v), w1 = vld1q_s8(w[j + 1] + 16 * v);
            QVL_UNROLL(4)
            for (size_t t = 0; t < n_tok; t += 2) {
                const int8_t *x0 = x + 4 * j + t * x_stride;
                add_pair(&sum[v][t], &sum[v][t + 1], w0, w1, x0, t + 1 < n_tok ? x0 + x_stride : x0);
            }
        }
    }
    QVL_UNROLL(4)
    for (size_t v = 0; v < VECTORS; v++)
        QVL_UNROLL(4)
    for (size_t t = 0; t < n_tok; t += 2)
        arrange_sums(&sum[v][t], &sum[v][t + 1]);
}

/* c[t][0..15] += a group of columns for n_tok tokens, a constant of the call; is_first: = instead of +=. */
QVL_INLINE void add_group(float *c, size_t c_stride, const struct unpacked *w, size_t i_group, const char *x,
                          size_t x_stride, size_t n_tok, bool is_first)
{
    int32x4_t sum[VECTORS][TOKS];
    sum_group(sum, w->w[i_group], (const int8_t *)x + i_group * QVL_GROUP, x_stride, n_tok);
    QVL_UNROLL(8)
    for (size_t t = 0; t < n_tok; t++) {
        const struct qvl_a8_block *block = (const void *)(x + t * x_stride);
        QVL_UNROLL(4)
        for (size_t v = 0; v < VECTORS; v++) {
            float *to = c + t * c_stride + 4 * v;
            float32x4_t scale = vmulq_n_f32(vld1q_f32(w->scale[i_group] + 4 * v), block->scale[i_group]);
            float32x4_t acc = is_first ? vdupq_n_f32(0) : vld1q_f32(to);
            vst1q_f32(to, vfmaq_f32(acc, vcvtq_f32_s32(sum[v][t]), scale));
        }
    }
}

QVL_INLINE void add_block(float *c, size_t c_stride, const struct unpacked *w, const char *x, size_t x_stride,
                          size_t n_tok, bool is_first)
{
    for (size_t g = 0; g < w->n_group; g++)
        add_group(c, c_stride, w, g, x, x_stride, n_tok, is_first && g == 0);
}

QVL_INLINE void add_tokens(float *c, size_t c_stride, const struct unpacked *w, const char *x, size_t x_stride,
                           size_t n_tok, bool is_first)
{
    size_t t = 0;
    for (; t + TOKS <= n_tok; t += TOKS)
        add_block(c + t * c_stride, c_stride, w, x + t * x_stride, x_stride, TOKS, is_first);
    for (; t + 2 <= n_tok; t += 2)
        add_block(c + t * c_stride, c_stride, w, x + t * x_stride, x_stride, 2, is_first);
    if (t < n_tok)
        add_block(c + t * c_stride, c_stride, w, x + t * x_stride, x_stride, 1, is_first);
}

static void product(float *c, size_t c_stride, const struct qvl_packed_head *w, enum qvl_dtype format, size_t row0,
                    const char *x, size_t x_stride, size_t n_row, size_t n_tok, size_t k)
{
    _Alignas(64) struct unpacked block;
    int8x16_t level = vreinterpretq_s8_u8(vsubq_u8(vld1q_u8(w->level), vdupq_n_u8(QVL_Q4_ZERO)));
    size_t panel_bytes = qvl_panel_bytes(k, format);
    const float *factor = (const float *)(const void *)(w + 1) + row0;
    const uint8_t *panel =
        (const uint8_t *)w + qvl_packed_panels_at(w->n_out, format) + row0 / QVL_PANEL_ROWS * panel_bytes;
    for (size_t r = 0; r < n_row; r += QVL_PANEL_ROWS, panel += panel_bytes) {
        for (size_t at = 0; at < k; at += QVL_A8_BLOCK) {
            unpack(&block, panel, format, level, at, k);
            add_tokens(c + r, c_stride, &block, x + at / QVL_A8_BLOCK * sizeof(struct qvl_a8_block), x_stride,
                       n_tok, at == 0);
        }
        for (size_t t = 0; t < n_tok && format == QVL_Q4; t++)
            for (size_t i = r; i < r + QVL_PANEL_ROWS; i += 4)
                vst1q_f32(c + t * c_stride + i, vmulq_f32(vld1q_f32(c + t * c_stride + i), vld1q_f32(factor + i)));
    }
}

#include "kernel/gemm_packed_table.h"

#endif
