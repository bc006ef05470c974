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
#include "base/checked.h"
#include "kernel/tile.h"

#include <immintrin.h>

#define STEP ((size_t)32) /* elements of k in a tile */
#define TILE_PAIRS ((size_t)16)
#define PANEL_ROWS (2 * TILE_ROWS)
#define TOKENS (2 * TILE_ROWS) /* of one block of accumulators */
#define K_BLOCK ((size_t)512)
#define TILE_ELEMENTS (TILE_ROWS * STEP)

/* Registers: accumulators [2 of tokens][2 of weight rows], then activations, then weights. */
enum { C00, C01, C10, C11, A0, A1, B0, B1 };

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
        ask(ahead, n_ask * (i + STEP) / n_k);
    }
}

/* ---- products ------------------------------------------------------------------------------------- */

/* Up to TOKENS tokens times up to PANEL_ROWS weight rows. */
struct block {
    float *c;
    size_t c_stride; /* bytes */
    size_t n_tok, n_row;
};

static void configure(size_t n_tok, size_t n_row)
{
    struct tile_config config = {0};
    for (size_t i = 0; i < 2; i++) {
        size_t toks = n_tok > i * TILE_ROWS ? qvl_min_size(n_tok - i * TILE_ROWS, TILE_ROWS) : 0;
        size_t rows = n_row > i * TILE_ROWS ? qvl_min_size(n_row - i * TILE_ROWS, TILE_ROWS) : 0;
        if (toks > 0)
            tile_shape(&config, A0 + (int)i, toks, TILE_ROW_BYTES);
        if (rows > 0)
            tile_shape(&config, B0 + (int)i, TILE_PAIRS, rows * sizeof(float));
    }
    for (int i = C00; i <= C11; i++)
        if (config.n_row[A0 + i / 2] && config.n_row[B0 + i % 2])
            tile_shape(&config, i, config.n_row[A0 + i / 2], config.row_bytes[B0 + i % 2]);
    tile_configure(&config);
}

QVL_INLINE void start(int tile, const struct block *block, size_t t, size_t r, bool is_first)
{
    if (is_first)
        tile_zero(tile);
    else
        tile_load(tile, (const char *)block->c + t * block->c_stride + r * sizeof(float), block->c_stride);
}

QVL_INLINE void end(int tile, const struct block *block, size_t t, size_t r)
{
    tile_store(tile, (char *)block->c + t * block->c_stride + r * sizeof(float), block->c_stride);
}

QVL_INLINE void multiply_step(const char *a, size_t a_stride, const qvl_bf16 *b, bool has_a1, bool has_b1)
{
    tile_load(B0, b, TILE_ROW_BYTES);
    tile_load(A0, a, a_stride);
    tile_product_bf16(C00, A0, B0);
    if (has_b1) {
        tile_load(B1, b + TILE_ELEMENTS, TILE_ROW_BYTES);
        tile_product_bf16(C01, A0, B1);
    }
    if (has_a1) {
        tile_load(A1, a + TILE_ROWS * a_stride, a_stride);
        tile_product_bf16(C10, A1, B0);
        if (has_b1)
            tile_product_bf16(C11, A1, B1);
    }
}

/* Whole steps from x, the rest of k from `rest`. has_a1, has_b1 are constants of the call. */
QVL_INLINE void multiply_shape(const struct block *block, const char *x, size_t x_stride, const char *rest,
                               const qvl_bf16 *panel, size_t n_k, bool is_first, bool has_a1, bool has_b1)
{
    start(C00, block, 0, 0, is_first);
    if (has_b1)
        start(C01, block, 0, TILE_ROWS, is_first);
    if (has_a1)
        start(C10, block, TILE_ROWS, 0, is_first);
    if (has_a1 && has_b1)
        start(C11, block, TILE_ROWS, TILE_ROWS, is_first);
    size_t i = 0;
    QVL_UNROLL(2)
    for (; i + STEP <= n_k; i += STEP)
        multiply_step(x + i * sizeof(qvl_bf16), x_stride, panel + i * PANEL_ROWS, has_a1, has_b1);
    if (i < n_k)
        multiply_step(rest, TILE_ROW_BYTES, panel + i * PANEL_ROWS, has_a1, has_b1);
    end(C00, block, 0, 0);
    if (has_b1)
        end(C01, block, 0, TILE_ROWS);
    if (has_a1)
        end(C10, block, TILE_ROWS, 0);
    if (has_a1 && has_b1)
        end(C11, block, TILE_ROWS, TILE_ROWS);
}

QVL_INLINE void multiply_block(const struct block *block, const char *x, size_t x_stride, const qvl_bf16 *panel,
                               size_t n_k, bool is_first)
{
    _Alignas(64) char rest[TOKENS * TILE_ROW_BYTES];
    if (n_k % STEP != 0)
        copy_padded(rest, x + n_k / STEP * TILE_ROW_BYTES, x_stride, block->n_tok, n_k % STEP);
    bool has_a1 = block->n_tok > TILE_ROWS, has_b1 = block->n_row > TILE_ROWS;
    if (has_a1 && has_b1)
        multiply_shape(block, x, x_stride, rest, panel, n_k, is_first, true, true);
    else if (has_a1)
        multiply_shape(block, x, x_stride, rest, panel, n_k, is_first, true, false);
    else if (has_b1)
        multiply_shape(block, x, x_stride, rest, panel, n_k, is_first, false, true);
    else
        multiply_shape(block, x, x_stride, rest, panel, n_k, is_first, false, false);
}

/* ---- the kernel ----------------------------------------------------------------------------------- */

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

            struct block block = {.c_stride = c_stride * sizeof *c, .n_row = qvl_min_size(n_row - r0, PANEL_ROWS)};
            fill_panel(panel, (const char *)w + r0 * w_stride + k0 * sizeof *w, w_stride, block.n_row, n_k, &ahead,
                       ahead.n / n_part);
            for (size_t t0 = 0; t0 < n_tok; t0 += TOKENS) {
                block.c = c + t0 * c_stride + r0;
                block.n_tok = qvl_min_size(n_tok - t0, TOKENS);
                if (block.n_tok != toks || block.n_row != rows) {
                    toks = block.n_tok;
                    rows = block.n_row;
                    configure(toks, rows);
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
