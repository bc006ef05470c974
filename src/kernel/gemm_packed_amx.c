/* Products of packed matrices (packed.h) in matrix tiles (tile.h). A group of 32 columns of a panel is 8 lines of
 * [16 rows][4 columns], which is operand B as it lies (QVL_Q4: once its halves are looked up); 32 bytes of each of
 * up to 16 rows of activations are operand A; the sums of integers are C.
 *
 * The arithmetic is the one that packed.h defines to the bit: weights enter with their offset, which minus_64_sum
 * takes away from the sums; these leave the tiles after each group, to be scaled and added in f32. That takes
 * longer than the tile products (some 35 cycles against 16 for 8,192 multiply-adds), and still half of what
 * vpdpbusd takes. With one token memory is the limit all the same: a group's 544 bytes of QVL_Q8 take some 25
 * cycles. */
#include "kernel/tile.h"

#include <immintrin.h>

#include "kernel/packed_avx512.h"

#define GROUP_LINES (QVL_GROUP / 4)
#define N_GROUP (QVL_A8_BLOCK / QVL_GROUP)

enum { A = 4, B = 5 }; /* registers 0..3: sums of the groups of a block of activations */

struct panel {
    const uint8_t *at; /* the block of weights that is next */
    enum qvl_dtype format;
    __m512i level; /* QVL_Q4: the table, four times */
    __m512 factor; /* QVL_Q4: of the rows */
};

/* One block of activations. */
struct sums {
    _Alignas(64) int32_t of[N_GROUP][TILE_ROWS][QVL_PANEL_ROWS];
    __m512 w_scale[N_GROUP];
};

static void configure(size_t n_tok)
{
    struct tile_config config = {0};
    for (int i = 0; i < N_GROUP; i++)
        tile_shape(&config, i, n_tok, QVL_PANEL_ROWS * sizeof(int32_t));
    tile_shape(&config, A, n_tok, QVL_GROUP);
    tile_shape(&config, B, GROUP_LINES, QVL_PANEL_LINE);
    tile_configure(&config);
}

/* The lines of a group of QVL_Q4, from 4 of half bytes. */
QVL_INLINE void unpack(uint8_t *to, const uint8_t *lines, __m512i level)
{
    const __m512i low_half = _mm512_set1_epi8(15);
    for (size_t j = 0; j < GROUP_LINES / 2; j++) {
        __m512i line = _mm512_load_si512(lines + j * QVL_PANEL_LINE);
        __m512i low = _mm512_and_si512(line, low_half);
        __m512i high = _mm512_and_si512(_mm512_srli_epi16(line, 4), low_half);
        _mm512_store_si512(to + j * QVL_PANEL_LINE, _mm512_shuffle_epi8(level, low));
        _mm512_store_si512(to + (GROUP_LINES / 2 + j) * QVL_PANEL_LINE, _mm512_shuffle_epi8(level, high));
    }
}

/* Sums of group i, a constant of the call, of a block of activations at x. */
QVL_INLINE void multiply_group(const struct panel *panel, int i, const char *x, size_t x_stride, struct sums *sums)
{
    _Alignas(64) uint8_t unpacked[GROUP_LINES * QVL_PANEL_LINE];
    const uint8_t *lines;
    if (panel->format == QVL_Q4) {
        sums->w_scale[i] = q4_scales(panel->at + i * QVL_PANEL_ROWS);
        unpack(unpacked, panel->at + (1 + i * GROUP_LINES / 2) * QVL_PANEL_LINE, panel->level);
        lines = unpacked;
    } else {
        const uint8_t *block = panel->at + i / 2 * QVL_PANEL_BLOCK_BYTES;
        sums->w_scale[i] = q8_scales(block + i % 2 * 2 * QVL_PANEL_ROWS);
        lines = block + (1 + i % 2 * GROUP_LINES) * QVL_PANEL_LINE;
    }
    tile_zero(i);
    tile_load(A, x + i * QVL_GROUP, x_stride);
    tile_load(B, lines, QVL_PANEL_LINE);
    tile_product_i8_u8(i, A, B);
    tile_store(i, sums->of[i], sizeof sums->of[i][0]);
}

/* acc + what token t's sums stand for. */
QVL_INLINE __m512 add_groups(__m512 acc, const struct sums *sums, size_t t, const char *x, size_t n_group,
                             int offset_log2)
{
    const struct qvl_a8_block *block = (const void *)x;
    for (size_t i = 0; i < n_group; i++) {
        __m512i minus_offset = _mm512_set1_epi32(block->minus_64_sum[i] * (1 << (offset_log2 - 6)));
        __m512i sum = _mm512_add_epi32(_mm512_load_si512(sums->of[i][t]), minus_offset);
        __m512 scale = _mm512_mul_ps(sums->w_scale[i], _mm512_set1_ps(block->scale[i]));
        acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, acc);
    }
    return acc;
}

/* One panel times n_tok <= TILE_ROWS tokens. */
static void multiply_panel(float *c, size_t c_stride, struct panel panel, const char *x, size_t x_stride,
                           size_t n_tok, size_t k)
{
    struct sums sums;
    bool is_q4 = panel.format == QVL_Q4;
    for (size_t at = 0; at < k; at += QVL_A8_BLOCK, x += sizeof(struct qvl_a8_block)) {
        size_t n_group = is_q4 || at + QVL_Q8_BLOCK < k ? N_GROUP : N_GROUP / 2;
        multiply_group(&panel, 0, x, x_stride, &sums);
        multiply_group(&panel, 1, x, x_stride, &sums);
        if (n_group == N_GROUP) {
            multiply_group(&panel, 2, x, x_stride, &sums);
            multiply_group(&panel, 3, x, x_stride, &sums);
        }
        panel.at += (is_q4 ? 1 : 2) * QVL_PANEL_BLOCK_BYTES;
        for (size_t t = 0; t < n_tok; t++) {
            __m512 acc = at == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(c + t * c_stride);
            acc = add_groups(acc, &sums, t, x + t * x_stride, n_group, is_q4 ? 6 : 7);
            _mm512_storeu_ps(c + t * c_stride, acc);
        }
    }
    for (size_t t = 0; t < n_tok && is_q4; t++)
        _mm512_storeu_ps(c + t * c_stride, _mm512_mul_ps(_mm512_loadu_ps(c + t * c_stride), panel.factor));
}

static void product(float *c, size_t c_stride, const struct qvl_packed_head *w, enum qvl_dtype format, size_t row0,
                    const char *x, size_t x_stride, size_t n_row, size_t n_tok, size_t k)
{
    size_t panel_bytes = qvl_panel_bytes(k, format), toks = 0; /* as the registers are configured */
    const float *factors = (const void *)(w + 1);
    struct panel panel = {.format = format,
                          .level = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)w->level))};
    panel.at = (const uint8_t *)w + qvl_packed_panels_at(w->n_out, format) + row0 / QVL_PANEL_ROWS * panel_bytes;
    for (size_t r = 0; r < n_row; r += QVL_PANEL_ROWS, panel.at += panel_bytes) {
        if (format == QVL_Q4)
            panel.factor = _mm512_load_ps(factors + row0 + r);
        for (size_t t = 0; t < n_tok; t += TILE_ROWS) {
            size_t n = qvl_min_size(n_tok - t, TILE_ROWS);
            if (n != toks)
                configure(toks = n);
            multiply_panel(c + t * c_stride + r, c_stride, panel, x + t * x_stride, x_stride, n, k);
        }
    }
    tile_release();
}

#include "kernel/gemm_packed_table.h"

/* Every processor with tiles so far multiplies int8 in them, but the two features have names of their own. */
void TILE_OVERLAY(gemm_packed)(struct qvl_kernels *table)
{
    if (!TILE_HAS_INT8)
        return;
    overlay_gemm_packed(table);
}
