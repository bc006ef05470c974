/* Enters: a matrix as AWQ, GPTQ, compressed-tensors or FP8 folders store it, checked (foreign.c). Leaves: its rows
 * in f32, (q - zero) * scale: the difference is exact, the product is rounded once. (The original programs round it
 * to the type of the scale.)
 *
 *   AWQ      words [in, out / 8], zeros [groups, out / 8]: of 8 rows the even ones, then the odd ones
 *   GPTQ     words [in * bits / 32, out], zeros [groups, out * bits / 32]: streams of bits, low ones first
 *   packed   words [out, in * bits / 32], zeros [out * bits / 32, groups], streams of bits as well
 *   int, FP8 bytes [out, in]
 *
 * The first two lie column by column, the scales, too: a cache line has numbers of 16 to 128 rows, and the next
 * column's stands kilobytes away. So 16 rows are made together, and 16 columns of them are collected before they
 * are written, for the rows' own addresses would meet in one set of the cache. Addresses are aligned to nothing.
 * All is little-endian. */
#include "load/foreign.h"

#include <string.h>

#include "base/checked.h"

enum { TILE = 16, E4M3_NAN = 0x7f };

static uint32_t word_at(const struct qvl_stored_part *part, size_t i)
{
    uint32_t word;
    memcpy(&word, (const char *)part->data + i * sizeof word, sizeof word);
    return word;
}

static void widen_scales(const struct qvl_stored_part *scale, size_t first, size_t n, float *out)
{
    uint32_t type = scale->dtype == QVL_F32 ? QVL_GGML_F32 : scale->dtype == QVL_F16 ? QVL_GGML_F16 : QVL_GGML_BF16;
    qvl_ggml_widen(type, (const char *)scale->data + first * qvl_dtype_bytes(scale->dtype), n, out);
}

/* ---- column by column: AWQ and GPTQ ---------------------------------------------------------------------- */

struct panel { /* up to TILE rows */
    const struct qvl_tensor *tensor;
    const struct qvl_stored *stored;
    size_t first, n;   /* rows */
    size_t n_out;      /* of the matrix */
    float scale[TILE]; /* of the group at hand */
    int32_t zero[TILE];
};

typedef void read_codes(const struct panel *panel, const struct qvl_stored_part *words, size_t i_line,
                        int32_t *out);

/* Place in a word of each row of 8. */
static const uint8_t awq_shift[8] = {0, 16, 4, 20, 8, 24, 12, 28};

/* Of a line of the words, or of the zeros: what the panel's rows have there. */
static void read_awq(const struct panel *panel, const struct qvl_stored_part *words, size_t i_line, int32_t *out)
{
    for (size_t r = 0; r < panel->n; r++) {
        size_t row = panel->first + r;
        out[r] = (int32_t)(word_at(words, i_line * (panel->n_out / 8) + row / 8) >> awq_shift[row % 8] & 15);
    }
}

static void read_gptq(const struct panel *panel, const struct qvl_stored_part *words, size_t i_column, int32_t *out)
{
    size_t n_bit = panel->stored->n_bit, bit = i_column * n_bit, shift = bit % 32;
    size_t at = bit / 32 * panel->n_out + panel->first;
    uint32_t mask = (1u << n_bit) - 1;
    if (shift + n_bit <= 32) {
        for (size_t r = 0; r < panel->n; r++)
            out[r] = (int32_t)(word_at(words, at + r) >> shift & mask);
    } else { /* 3 bits over the end of a word */
        for (size_t r = 0; r < panel->n; r++)
            out[r] = (int32_t)((word_at(words, at + r) >> shift | word_at(words, at + panel->n_out + r)
                                                                      << (32 - shift)) &
                               mask);
    }
}

static void read_gptq_zeros(const struct panel *panel, const struct qvl_stored_part *words, size_t i_group,
                            int32_t *out)
{
    size_t n_bit = panel->stored->n_bit, line = i_group * (panel->n_out * n_bit / 32);
    uint32_t mask = (1u << n_bit) - 1;
    for (size_t r = 0; r < panel->n; r++) {
        size_t bit = (panel->first + r) * n_bit, shift = bit % 32;
        uint32_t code = word_at(words, line + bit / 32) >> shift;
        if (shift + n_bit > 32)
            code |= word_at(words, line + bit / 32 + 1) << (32 - shift);
        out[r] = (int32_t)(code & mask);
    }
}

/* The older form stores zeros less 1. Its writers subtract 1 from each number of a word at once, so that a zero of
 * 0 borrows from the next one, and the sum of whole words takes that back; with 3 bits they go number by number. */
static void read_gptq_zeros_less_1(const struct panel *panel, const struct qvl_stored_part *words, size_t i_group,
                                   int32_t *out)
{
    size_t n_bit = panel->stored->n_bit, line = i_group * (panel->n_out * n_bit / 32);
    uint32_t mask = (1u << n_bit) - 1, ones = UINT32_MAX / mask; /* 1 in each number */
    if (n_bit == 3) {
        read_gptq_zeros(panel, words, i_group, out);
        for (size_t r = 0; r < panel->n; r++)
            out[r] = (out[r] + 1) & 7;
        return;
    }
    for (size_t r = 0; r < panel->n; r++) {
        size_t bit = (panel->first + r) * n_bit;
        out[r] = (int32_t)((word_at(words, line + bit / 32) + ones) >> bit % 32 & mask);
    }
}

static void read_group(struct panel *panel, size_t i_group, read_codes *read_zeros)
{
    widen_scales(&panel->stored->scale, i_group * panel->n_out + panel->first, panel->n, panel->scale);
    if (panel->stored->zero.data)
        read_zeros(panel, &panel->stored->zero, i_group, panel->zero);
    else
        for (size_t r = 0; r < panel->n; r++)
            panel->zero[r] = 1 << (panel->stored->n_bit - 1);
}

static void panel_rows(struct panel *panel, read_codes *read, read_codes *read_zeros, float *out)
{
    const struct qvl_stored *stored = panel->stored;
    size_t n_in = (size_t)panel->tensor->dim[1], n_group = stored->group_columns ? stored->group_columns : n_in;
    size_t group = SIZE_MAX;
    float tile[TILE][TILE]; /* [row, column] */
    int32_t code[TILE];
    for (size_t first = 0; first < n_in; first += TILE) {
        size_t n = qvl_min_size(n_in - first, TILE);
        for (size_t i = 0; i < n; i++) {
            size_t of = stored->order.data ? word_at(&stored->order, first + i) : (first + i) / n_group;
            if (of != group)
                read_group(panel, group = of, read_zeros);
            read(panel, &stored->weight, first + i, code);
            for (size_t r = 0; r < panel->n; r++)
                tile[r][i] = (float)(code[r] - panel->zero[r]) * panel->scale[r];
        }
        for (size_t r = 0; r < panel->n; r++)
            memcpy(out + r * n_in + first, tile[r], n * sizeof *out);
    }
}

static void column_rows(const struct qvl_tensor *t, size_t first, size_t n, read_codes *read,
                        read_codes *read_zeros, float *out)
{
    size_t n_in = (size_t)t->dim[1];
    while (n > 0) {
        struct panel panel = {.tensor = t,
                              .stored = t->stored,
                              .first = first,
                              .n = qvl_min_size(n, TILE),
                              .n_out = (size_t)t->dim[0]};
        panel_rows(&panel, read, read_zeros, out);
        first += panel.n;
        n -= panel.n;
        out += panel.n * n_in;
    }
}

void qvl_foreign_rows_awq(const struct qvl_tensor *t, size_t first, size_t n, float *out)
{
    column_rows(t, first, n, read_awq, read_awq, out);
}

void qvl_foreign_rows_gptq(const struct qvl_tensor *t, size_t first, size_t n, float *out)
{
    column_rows(t, first, n, read_gptq, read_gptq_zeros_less_1, out);
}

void qvl_foreign_rows_gptq_v2(const struct qvl_tensor *t, size_t first, size_t n, float *out)
{
    column_rows(t, first, n, read_gptq, read_gptq_zeros, out);
}

/* ---- row by row: compressed-tensors and FP8 --------------------------------------------------------------- */

typedef void row_codes(const struct qvl_tensor *t, size_t i_row, float *out);
/* Of what stands at i_scale of the scales, row i_row and group i_group of the row. */
typedef float row_zero(const struct qvl_tensor *t, size_t i_row, size_t i_group, size_t i_scale);

static void scale_row(const struct qvl_tensor *t, size_t i_row, row_zero *zero_of, float *x)
{
    const struct qvl_stored *stored = t->stored;
    size_t n_in = (size_t)t->dim[1], n_column = stored->group_columns ? stored->group_columns : n_in, n = 0;
    size_t line = stored->group_rows ? i_row / stored->group_rows * qvl_div_up(n_in, n_column) : 0;
    for (size_t c = 0; c < n_in; c += n) {
        size_t group = stored->order.data ? word_at(&stored->order, c) : c / n_column;
        float scale, zero = zero_of(t, i_row, group, line + group);
        widen_scales(&stored->scale, line + group, 1, &scale);
        n = stored->order.data ? 1 : qvl_min_size(n_column, n_in - c);
        for (size_t i = 0; i < n; i++)
            x[c + i] = (x[c + i] - zero) * scale;
    }
}

static void row_rows(const struct qvl_tensor *t, size_t first, size_t n, row_codes *read, row_zero *zero_of,
                     float *out)
{
    for (size_t i = 0; i < n; i++, out += t->dim[1]) {
        read(t, first + i, out);
        scale_row(t, first + i, zero_of, out);
    }
}

static void read_packed(const struct qvl_tensor *t, size_t i_row, float *out)
{
    const struct qvl_stored_part *words = &t->stored->weight;
    size_t n_in = (size_t)t->dim[1], n_bit = t->stored->n_bit, n_in_word = 32 / n_bit;
    size_t line = i_row * qvl_div_up(n_in, n_in_word);
    uint32_t mask = (1u << n_bit) - 1;
    for (size_t c = 0; c < n_in; c += n_in_word) {
        uint32_t word = word_at(words, line + c / n_in_word);
        for (size_t i = 0; i < qvl_min_size(n_in_word, n_in - c); i++, word >>= n_bit)
            out[c + i] = (float)(word & mask);
    }
}

/* Zeros of blocks, or one for the whole matrix, are not packed, and count from the middle of the range. */
static float packed_zero(const struct qvl_tensor *t, size_t i_row, size_t i_group, size_t i_scale)
{
    const struct qvl_stored *stored = t->stored;
    size_t n_bit = stored->n_bit, n_group = stored->group_columns ? (size_t)t->dim[1] / stored->group_columns : 1;
    int32_t middle = 1 << (n_bit - 1);
    if (!stored->zero.data)
        return (float)middle;
    if (stored->zero.dtype == QVL_I8)
        return (float)(((const int8_t *)stored->zero.data)[i_scale] + middle);
    size_t bit = i_row * n_bit;
    uint32_t word = word_at(&stored->zero, bit / 32 * n_group + i_group);
    return (float)(word >> bit % 32 & ((1u << n_bit) - 1));
}

static void read_int(const struct qvl_tensor *t, size_t i_row, float *out)
{
    size_t n_in = (size_t)t->dim[1];
    const int8_t *codes = (const int8_t *)t->stored->weight.data + i_row * n_in;
    for (size_t c = 0; c < n_in; c++)
        out[c] = (float)codes[c];
}

static float int_zero(const struct qvl_tensor *t, size_t i_row, size_t i_group, size_t i_scale)
{
    const int8_t *zero = t->stored->zero.data;
    (void)i_row;
    (void)i_group;
    return zero ? (float)zero[i_scale] : 0;
}

/* Without a branch, so that a row of them becomes vectors, and without numbers below the normal ones of f32, which
 * are slow. The exponent's bias is 7, not 127. There are no infinities. */
static float e4m3(uint8_t code)
{
    uint32_t sign = (uint32_t)(code & 0x80) << 24, of_normal = ((uint32_t)(code & 0x7f) << 20) + (120u << 23), bits;
    float below = (float)(code & 7) * 0x1p-9f, x;
    memcpy(&bits, &below, sizeof bits);
    bits = (code & 0x78 ? of_normal : bits) | sign | ((code & 0x7f) == E4M3_NAN ? 0x7fc00000 : 0);
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void read_fp8(const struct qvl_tensor *t, size_t i_row, float *out)
{
    size_t n_in = (size_t)t->dim[1];
    const uint8_t *codes = (const uint8_t *)t->stored->weight.data + i_row * n_in;
    for (size_t c = 0; c < n_in; c++)
        out[c] = e4m3(codes[c]);
}

static float no_zero(const struct qvl_tensor *t, size_t i_row, size_t i_group, size_t i_scale)
{
    (void)t;
    (void)i_row;
    (void)i_group;
    (void)i_scale;
    return 0;
}

void qvl_foreign_rows_packed(const struct qvl_tensor *t, size_t first, size_t n, float *out)
{
    row_rows(t, first, n, read_packed, packed_zero, out);
}

void qvl_foreign_rows_int(const struct qvl_tensor *t, size_t first, size_t n, float *out)
{
    row_rows(t, first, n, read_int, int_zero, out);
}

void qvl_foreign_rows_fp8(const struct qvl_tensor *t, size_t first, size_t n, float *out)
{
    row_rows(t, first, n, read_fp8, no_zero, out);
}
