/* gemm_lanes.h: the matrix products, written once for all vector levels.
 *
 * In:  weights [n_row, k] row by row as in the checkpoint, activations [n_tok, k] row by row. Out: c[t][r].
 *
 * Idea ("dot form"): k runs in the lanes, so weights need no repacking on disk or at load. A tile of GEMM_ROWS
 * weight rows x up to GEMM_TOKS tokens keeps one vector accumulator per element; each vector loaded serves
 * the whole tile. The sum over k is cut at multiples of GEMM_K_BLOCK: within a block the lanes of one accumulator,
 * at its end one fixed tree (vec_sum4), blocks added in their order. No step of it knows the tile's size or the
 * element's place, hence the same bits for 1 token or 256.
 *
 * With many tokens the rows of a tile are first copied to a panel: the first-level cache holds the panel for all
 * tokens, its lines are aligned and follow each other (checkpoint rows are often 4096 bytes apart and would
 * share the same few cache sets), narrow weights are widened once, and the next panel is fetched from memory while
 * this one works. With few tokens rows are read in place: then the memory is the limit, and what matters is
 * that GEMM_ROWS long streams run at once, so the rows of a tile lie apart and the next tile's follow them.
 *
 * The including file defines, before the include:
 *   operand                  vector of GEMM_STEP elements ready to multiply
 *   panel_element            element of a panel (and of an operand)
 *   GEMM_STEP                elements of k in an operand
 *   GEMM_ROWS, GEMM_TOKS     the tile; GEMM_ROWS a multiple of 4
 *   GEMM_K_BLOCK             elements of k whose panel fits half the first-level cache; a multiple of GEMM_STEP
 *   GEMM_PANEL_MIN_TOKS      from here on the copy to a panel costs less than it saves (measured)
 *   load_operand(p, i, t)    elements i .. i + GEMM_STEP - 1 of type t at p;  load_operand_n: the first n, 0 after
 *   load_panel, store_panel  the same for panels, without conversion
 *   mac(acc, w, x)           acc + w x, lane by lane
 *   HELD_IN_REGISTER         the asm constraint of a vector register: without it GCC reads a weight from memory
 *                            once for every token of the tile, and the loads become the limit */
#ifndef QVL_KERNEL_GEMM_LANES_H
#define QVL_KERNEL_GEMM_LANES_H

#include <string.h>

#include "base/checked.h"

#define LINE_BYTES 64

QVL_INLINE operand held(operand v)
{
    __asm__("" : HELD_IN_REGISTER(v));
    return v;
}

/* One block of k of a tile of weight rows, either in place or as a panel. */
struct rows {
    const char *row[GEMM_ROWS]; /* in place; rows past the last repeat it */
    const panel_element *panel; /* [k/GEMM_STEP][GEMM_ROWS][GEMM_STEP] */
    size_t n;                   /* rows whose results are wanted */
    size_t step;                /* distance of their places in c */
};

/* c[t][0..rows->n) = or += the products over n_k elements. n_tok is a constant of the call. */
QVL_INLINE void compute_tile(float *c, size_t c_stride, const struct rows *rows, bool is_panel,
                             enum qvl_dtype w_type, const char *x, size_t x_stride, enum qvl_dtype x_type,
                             size_t n_tok, size_t n_k, bool is_first)
{
    vec acc[GEMM_ROWS][GEMM_TOKS];
    QVL_UNROLL(8)
    for (size_t r = 0; r < GEMM_ROWS; r++)
        QVL_UNROLL(8)
        for (size_t t = 0; t < n_tok; t++)
            acc[r][t] = vec_zero();

    size_t i = 0;
    const panel_element *panel = rows->panel;
    for (; i + GEMM_STEP <= n_k; i += GEMM_STEP) {
        operand xs[GEMM_TOKS];
        QVL_UNROLL(8)
        for (size_t t = 0; t < n_tok; t++)
            xs[t] = load_operand(x + t * x_stride, i, x_type);
        QVL_UNROLL(8)
        for (size_t r = 0; r < GEMM_ROWS; r++) {
            operand w = held(is_panel ? load_panel(panel + r * GEMM_STEP) : load_operand(rows->row[r], i, w_type));
            QVL_UNROLL(8)
            for (size_t t = 0; t < n_tok; t++)
                acc[r][t] = mac(acc[r][t], w, xs[t]);
        }
        panel += GEMM_ROWS * GEMM_STEP;
    }
    if (i < n_k) {
        operand xs[GEMM_TOKS];
        QVL_UNROLL(8)
        for (size_t t = 0; t < n_tok; t++)
            xs[t] = load_operand_n(x + t * x_stride, i, n_k - i, x_type);
        QVL_UNROLL(8)
        for (size_t r = 0; r < GEMM_ROWS; r++) {
            operand w =
                is_panel ? load_panel(panel + r * GEMM_STEP) : load_operand_n(rows->row[r], i, n_k - i, w_type);
            QVL_UNROLL(8)
            for (size_t t = 0; t < n_tok; t++)
                acc[r][t] = mac(acc[r][t], w, xs[t]);
        }
    }

    QVL_UNROLL(8)
    for (size_t t = 0; t < n_tok; t++) {
        QVL_UNROLL(8)
        for (size_t r = 0; r < GEMM_ROWS; r += 4) {
            float4 old, sum = vec_sum4(acc[r][t], acc[r + 1][t], acc[r + 2][t], acc[r + 3][t]);
            float *dst = c + t * c_stride + r * rows->step;
            if (is_panel && r + 4 <= rows->n) {
                if (!is_first) {
                    memcpy(&old, dst, sizeof old);
                    sum += old;
                }
                memcpy(dst, &sum, sizeof sum);
                continue;
            }
            for (size_t j = 0; j < 4 && r + j < rows->n; j++, dst += rows->step)
                *dst = is_first ? sum[j] : *dst + sum[j];
        }
    }
}

/* A tile of any number of tokens up to GEMM_TOKS. */
QVL_INLINE void compute_tokens(float *c, size_t c_stride, const struct rows *rows, bool is_panel,
                               enum qvl_dtype w_type, const char *x, size_t x_stride, enum qvl_dtype x_type,
                               size_t n_tok, size_t n_k, bool is_first)
{
    _Static_assert(GEMM_TOKS == 3, "one case for each number of tokens");
    if (n_tok >= 3)
        compute_tile(c, c_stride, rows, is_panel, w_type, x, x_stride, x_type, 3, n_k, is_first);
    else if (n_tok == 2)
        compute_tile(c, c_stride, rows, is_panel, w_type, x, x_stride, x_type, 2, n_k, is_first);
    else
        compute_tile(c, c_stride, rows, is_panel, w_type, x, x_stride, x_type, 1, n_k, is_first);
}

/* Rows 0, step, 2 step, … of those at w, as many as a tile takes and n_row has. */
QVL_INLINE struct rows rows_at(const char *w, size_t w_stride, size_t n_row, size_t step)
{
    struct rows rows = {.n = qvl_min_size(qvl_div_up(n_row, step), GEMM_ROWS), .step = step};
    for (size_t r = 0; r < GEMM_ROWS; r++)
        rows.row[r] = w + qvl_min_size(r, rows.n - 1) * step * w_stride;
    return rows;
}

QVL_INLINE void fill_panel(panel_element *panel, const struct rows *rows, enum qvl_dtype w_type, size_t n_k)
{
    for (size_t i = 0; i < n_k; i += GEMM_STEP)
        for (size_t r = 0; r < GEMM_ROWS; r++, panel += GEMM_STEP)
            store_panel(panel, i + GEMM_STEP <= n_k ? load_operand(rows->row[r], i, w_type)
                                                    : load_operand_n(rows->row[r], i, n_k - i, w_type));
}

/* Asks for lines first .. last - 1 of the n_row x n_line lines that begin at w. */
QVL_INLINE void prefetch_lines(const char *w, size_t w_stride, size_t n_line, size_t first, size_t last)
{
    for (size_t i = first; i < last; i++)
        __builtin_prefetch(w + i / n_line * w_stride + i % n_line * LINE_BYTES, 0, 2);
}

QVL_INLINE void gemm_panels(float *c, size_t c_stride, const char *w, size_t w_stride, enum qvl_dtype w_type,
                            const char *x, size_t x_stride, enum qvl_dtype x_type, size_t n_row, size_t n_tok,
                            size_t k)
{
    _Alignas(64) panel_element panel[GEMM_ROWS * GEMM_K_BLOCK];
    for (size_t k0 = 0; k0 < k; k0 += GEMM_K_BLOCK) {
        size_t n_k = qvl_min_size(k - k0, GEMM_K_BLOCK);
        const char *x0 = x + k0 * qvl_dtype_bytes(x_type);
        for (size_t r0 = 0; r0 < n_row; r0 += GEMM_ROWS) {
            const char *w0 = w + r0 * w_stride + k0 * qvl_dtype_bytes(w_type);
            struct rows rows = rows_at(w0, w_stride, n_row - r0, 1);
            fill_panel(panel, &rows, w_type, n_k);
            rows.panel = panel;

            const char *next = w0 + GEMM_ROWS * w_stride;
            size_t n_next = r0 + GEMM_ROWS < n_row ? qvl_min_size(n_row - r0 - GEMM_ROWS, GEMM_ROWS) : 0;
            size_t n_line = n_k * qvl_dtype_bytes(w_type) / LINE_BYTES + 1;
            for (size_t t0 = 0; t0 < n_tok; t0 += GEMM_TOKS) {
                prefetch_lines(next, w_stride, n_line, n_next * n_line * t0 / n_tok,
                               n_next * n_line * qvl_min_size(t0 + GEMM_TOKS, n_tok) / n_tok);
                compute_tokens(c + t0 * c_stride + r0, c_stride, &rows, true, w_type, x0 + t0 * x_stride, x_stride,
                               x_type, n_tok - t0, n_k, k0 == 0);
            }
        }
    }
}

QVL_INLINE void gemm_in_place(float *c, size_t c_stride, const char *w, size_t w_stride, enum qvl_dtype w_type,
                              const char *x, size_t x_stride, enum qvl_dtype x_type, size_t n_row, size_t n_tok,
                              size_t k)
{
    size_t step = qvl_div_up(n_row, GEMM_ROWS);
    for (size_t r0 = 0; r0 < step; r0++) {
        for (size_t k0 = 0; k0 < k; k0 += GEMM_K_BLOCK) {
            struct rows rows =
                rows_at(w + r0 * w_stride + k0 * qvl_dtype_bytes(w_type), w_stride, n_row - r0, step);
            for (size_t t0 = 0; t0 < n_tok; t0 += GEMM_TOKS)
                compute_tokens(c + t0 * c_stride + r0, c_stride, &rows, false, w_type,
                               x + t0 * x_stride + k0 * qvl_dtype_bytes(x_type), x_stride, x_type, n_tok - t0,
                               qvl_min_size(k - k0, GEMM_K_BLOCK), k0 == 0);
        }
    }
}

/* The product through panels for one type of activations. The type of the weights matters only when a panel is
 * filled, so one body serves them all. */
#define GEMM_PANELS(name, x_type)                                                                                  \
    static __attribute__((noinline)) void name(float *c, size_t c_stride, const char *w, size_t w_stride,          \
                                               enum qvl_dtype w_type, const char *x, size_t x_stride,              \
                                               size_t n_row, size_t n_tok, size_t k)                               \
    {                                                                                                              \
        gemm_panels(c, c_stride, w, w_stride, w_type, x, x_stride, x_type, n_row, n_tok, k);                       \
    }

/* A row of kernel.def; panels is made by GEMM_PANELS for the same x_type. */
#define GEMM_LANES(name, panels, w_ctype, w_type, x_ctype, x_type)                                                 \
    static void name(float *c, size_t c_stride, const w_ctype *w, size_t w_stride, const x_ctype *x,               \
                     size_t x_stride, size_t n_row, size_t n_tok, size_t k)                                        \
    {                                                                                                              \
        if (n_tok < GEMM_PANEL_MIN_TOKS)                                                                           \
            gemm_in_place(c, c_stride, (const char *)w, w_stride, w_type, (const char *)x, x_stride, x_type,       \
                          n_row, n_tok, k);                                                                        \
        else                                                                                                       \
            panels(c, c_stride, (const char *)w, w_stride, w_type, (const char *)x, x_stride, n_row, n_tok, k);    \
    }

#endif
