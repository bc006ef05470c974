/* Matrix product of bf16 by bf16 in matrix tiles (tile.h): C [16 tokens, 16 weight rows] += A [16 tokens, 32 k]
 * B [16 pairs of k, 16 weight rows, 2 k], 8,192 multiply-adds in 16 cycles.
 *
 * Activations are A: rows of 64 bytes as they lie. Weights are B, which turns the 16 x 16 pairs of a tile around:
 * some 50 cycles of loads and shuffles, for one tile product of 16 cycles per 16 tokens. They are turned once per
 * call, a panel of PANEL_ROWS rows and K_BLOCK elements at a time, which then lies in the first-level cache (32 of
 * 48 KB) for all tokens: with 288 tokens a sixth of the time. The other way around (weights as A) one would turn
 * activations and results instead, and weights that are unpacked from 4 or 8 bits are born in B's order. The rows
 * of C are the tokens' rows of c, near each other in the callers, and go there tile by tile.
 *
 * A step loads two tiles of A and two of B and multiplies each by each: 4 KB, half of it from the first-level
 * cache, for 64 cycles of multiplication. Between blocks of k the sums rest in c. The next panel's lines are asked
 * for while this one is turned and used, spread evenly.
 *
 * One token costs what 16 do, but turning and multiplying a panel's 32 KB take some 2,500 cycles, and a
 * processor's core reads less than 10 bytes a cycle from memory, 3,300 cycles: memory stays the limit in
 * generation. So one arithmetic serves all numbers of tokens: per element, sums over 32 k (in the order of the
 * instruction) are added in ascending k. Blocks, panels and tails do not show in it: what is missing to 32 k is
 * zero. */
#include "kernel/tile_block.h"

#include <immintrin.h>

#define STEP TILE_STEP
#define PANEL_ROWS BLOCK_COLUMNS
#define TOKENS BLOCK_ROWS
#define K_BLOCK ((size_t)512)
#define TILE_ELEMENTS (TILE_ROWS * STEP)

/* ---- panels --------------------------------------------------------------------------------------- */

/* 16 rows of 32 elements to [16 pairs of k][16 rows][2]: four times 16 rows of 4 pairs. */
QVL_INLINE void turn_tile(qvl_bf16 *b, const char *w, size_t w_stride)
{
    for (size_t p = 0; p < TILE_PAIRS; p += 4, w += 16) {
        __m512i v[4]; /* in lane l: pairs p..p+3 of row 4l + j */
        QVL_UNROLL(4)
        for (size_t j = 0; j < 4; j++) {
            const char *row = w + j * w_stride;
            v[j] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)row));
            v[j] = _mm512_inserti32x4(v[j], _mm_loadu_si128((const __m128i *)(row + 4 * w_stride)), 1);
            v[j] = _mm512_inserti32x4(v[j], _mm_loadu_si128((const __m128i *)(row + 8 * w_stride)), 2);
            v[j] = _mm512_inserti32x4(v[j], _mm_loadu_si128((const __m128i *)(row + 12 * w_stride)), 3);
        }
        __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]), high01 = _mm512_unpackhi_epi32(v[0], v[1]);
        __m512i low23 = _mm512_unpacklo_epi32(v[2], v[3]), high23 = _mm512_unpackhi_epi32(v[2], v[3]);
        qvl_bf16 *to = b + p * 2 * TILE_ROWS;
        _mm512_store_si512(to, _mm512_unpacklo_epi64(low01, low23));
        _mm512_store_si512(to + 32, _mm512_unpackhi_epi64(low01, low23));
        _mm512_store_si512(to + 64, _mm512_unpacklo_epi64(high01, high23));
        _mm512_store_si512(to + 96, _mm512_unpackhi_epi64(high01, high23));
    }
}

/* n elements of n_row rows into rows of STEP elements; what is missing is zero. */
QVL_INLINE void copy_padded(char *to, const char *from, size_t stride, size_t n_row, size_t n)
{
    __mmask32 mask = (__mmask32)((1ull << n) - 1);
    for (size_t r = 0; r < n_row; r++)
        _mm512_store_si512(to + r * TILE_ROW_BYTES, _mm512_maskz_loadu_epi16(mask, from + r * stride));
}

/* Lines of the weights that the next panel is made of, asked for little by little. */
struct ahead {
    const char *w;
    size_t w_stride, n_line; /* of a row */
    size_t n, n_asked;       /* lines in all */
};

QVL_INLINE void ask(struct ahead *ahead, size_t n)
{
    for (; ahead->n_asked < n; ahead->n_asked++)
        __builtin_prefetch(ahead->w + ahead->n_asked / ahead->n_line * ahead->w_stride +
                               ahead->n_asked % ahead->n_line * TILE_ROW_BYTES,
                           0, 2);
}

/* [n_k/32][2][16 pairs][16 rows][2] from n_row <= PANEL_ROWS rows at w; rows and elements beyond are zero. */
QVL_INLINE void fill_panel(qvl_bf16 *panel, const char *w, size_t w_stride, size_t n_row, size_t n_k,
                           struct ahead *ahead, size_t n_ask)
{
    for (size_t i = 0; i < n_k; i += STEP) {
        for (size_t r = 0; r < n_row; r += TILE_ROWS) {
            const char *from = w + r * w_stride + i * sizeof(qvl_bf16);
            qvl_bf16 *to = panel + i * PANEL_ROWS + r * STEP;
            if (r + TILE_ROWS <= n_row && i + STEP <= n_k) {
                turn_tile(to, from, w_stride);
            } else {
                _Alignas(64) char padded[TILE_ROWS * TILE_ROW_BYTES] = {0};
                copy_padded(padded, from, w_stride, qvl_min_size(n_row - r, TILE_ROWS),
                            qvl_min_size(n_k - i, STEP));
                turn_tile(to, padded, TILE_ROW_BYTES);
            }
        }
        ask(ahead, n_ask * qvl_min_size(i + STEP, n_k) / n_k);
    }
}

/* ---- the kernel ----------------------------------------------------------------------------------- */

/* c = or += x panel over n_k elements. */
static __attribute__((noinline)) void multiply_block(const struct block *block, const char *x, size_t x_stride,
                                                     const qvl_bf16 *panel, size_t n_k, bool is_first)
{
    if (is_first)
        block_zero(block);
    else
        block_load(block);
    size_t i = 0;
    QVL_UNROLL(1)
    for (; i + STEP <= n_k; i += STEP, panel += 2 * TILE_ELEMENTS)
        block_step(block, x + i * sizeof(qvl_bf16), x_stride, panel, panel + TILE_ELEMENTS, TILE_ROW_BYTES);
    if (i < n_k) {
        _Alignas(64) char rest[TOKENS * TILE_ROW_BYTES];
        copy_padded(rest, x + i * sizeof(qvl_bf16), x_stride, block->n_row, n_k - i);
        block_step(block, rest, TILE_ROW_BYTES, panel, panel + TILE_ELEMENTS, TILE_ROW_BYTES);
    }
    block_store(block);
}

/* Blocks of k outermost: the tokens' part of one stays in the second-level cache for all panels. */
static void gemm_bf16_bf16(float *c, size_t c_stride, const qvl_bf16 *w, size_t w_stride, const qvl_bf16 *x,
                           size_t x_stride, size_t n_row, size_t n_tok, size_t k)
{
    _Alignas(64) qvl_bf16 panel[PANEL_ROWS * K_BLOCK];
    size_t n_part = 1 + qvl_div_up(n_tok, TOKENS); /* of the work on a panel: the filling, and each block */
    size_t toks = 0, rows = 0;                     /* as the registers are configured */
    for (size_t k0 = 0; k0 < k; k0 += K_BLOCK) {
        size_t n_k = qvl_min_size(k - k0, K_BLOCK);
        for (size_t r0 = 0; r0 < n_row; r0 += PANEL_ROWS) {
            bool is_last = r0 + PANEL_ROWS >= n_row; /* of this block of k */
            size_t next_r0 = is_last ? 0 : r0 + PANEL_ROWS, next_k0 = is_last ? k0 + K_BLOCK : k0;
            struct ahead ahead = {.w = (const char *)w + next_r0 * w_stride + next_k0 * sizeof *w,
                                  .w_stride = w_stride};
            ahead.n_line = next_k0 < k ? qvl_min_size(k - next_k0, K_BLOCK) * sizeof *w / TILE_ROW_BYTES + 1 : 0;
            ahead.n = ahead.n_line * qvl_min_size(n_row - next_r0, PANEL_ROWS);

            struct block block = {.c_stride = c_stride * sizeof *c,
                                  .n_column = qvl_min_size(n_row - r0, PANEL_ROWS)};
            fill_panel(panel, (const char *)w + r0 * w_stride + k0 * sizeof *w, w_stride, block.n_column, n_k,
                       &ahead, ahead.n / n_part);
            for (size_t t0 = 0; t0 < n_tok; t0 += TOKENS) {
                block.c = c + t0 * c_stride + r0;
                block.n_row = qvl_min_size(n_tok - t0, TOKENS);
                if (block.n_row != toks || block.n_column != rows) {
                    toks = block.n_row;
                    rows = block.n_column;
                    block_configure(toks, rows, STEP);
                }
                multiply_block(&block, (const char *)x + t0 * x_stride + k0 * sizeof *x, x_stride, panel, n_k,
                               k0 == 0);
                ask(&ahead, ahead.n * (t0 / TOKENS + 2) / n_part);
            }
        }
    }
    tile_release();
}

void TILE_OVERLAY(gemm)(struct qvl_kernels *table)
{
    table->gemm_bf16_bf16 = gemm_bf16_bf16;
}
