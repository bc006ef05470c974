/* packed.h: matrices in 8 and 4 bits and the 8-bit rows that they are multiplied with: the layouts, the same for
 * every instruction set, in memory and in files.
 *
 * A packed matrix [n_out, n_in] is one piece of memory, 64-byte aligned: struct qvl_packed_head; QVL_Q4 only: a
 * factor for each row (f32); then panels of 16 rows. A panel is a sequence of blocks along k, QVL_PANEL_BLOCK_BYTES
 * each, so that a product reads its weights in one stream. Within a block the unit is a line of 64 bytes: 16 rows x
 * 4 neighbours in k, row after row, which is what one instruction of four int8 products a lane wants. Groups of
 * QVL_GROUP columns share a scale.
 *
 *   QVL_Q8  64 columns a block: 2 x 16 scales (bf16), then 2 groups of 8 lines. Line j of a group: columns 4j…4j+3,
 * a byte is 128 + number. Weight = number * scale of the group and row. QVL_Q4  128 columns a block: 4 x 16 scales
 * (8 bits), then 4 groups of 4 lines. Line j: in the low halves of its bytes columns 4j…4j+3, in the high halves
 * columns 16+4j…16+4j+3; a half is an index into head.level. Weight = (level - 64) * scale of the group and row *
 * factor of the row. A scale is sign, 3 bits of exponent, 4 of mantissa: +-(1 + m/16) 2^(e-7).
 *
 * Rows past n_out and columns past n_in stand for zeros; what they hold is of no effect, because rows of
 * activations are zero there.
 *
 * A QVL_A8 row is a sequence of struct qvl_a8_block, 128 columns each: activations entering a product, and the rows
 * of the embedding, which lie one after the other behind a head. Scales of 32 columns keep an outlier from
 * spoiling its whole row.
 *
 * The arithmetic of a product is defined to the bit and the same at every level: for each group, in order of k, the
 * sum of products of integers (exact), then acc = fma((float)sum, weight scale * activation scale, acc) in f32;
 * QVL_Q4: at the end times the factor of the row. */
#ifndef QVL_KERNEL_PACKED_H
#define QVL_KERNEL_PACKED_H

#include <stdint.h>

#include "base/checked.h"
#include "base/dtype.h"

enum {
    QVL_GROUP = 32,      /* columns that share a scale */
    QVL_PANEL_ROWS = 16, /* a vector register of 16 int32 sums */
    QVL_PANEL_LINE = 64, /* bytes */
    QVL_PANEL_BLOCK_BYTES = 17 * QVL_PANEL_LINE,
    QVL_Q8_BLOCK = 64, /* columns of a block */
    QVL_Q4_BLOCK = 128,
    QVL_A8_BLOCK = 128,
    QVL_Q8_ZERO = 128,
    QVL_Q4_ZERO = 64, /* levels are 0…127: two products of such by -127…127 fit 16 bits (AVX2) */
    QVL_Q4_LEVELS = 16,
};

struct qvl_a8_block {
    int8_t q[QVL_A8_BLOCK]; /* -127 … 127 */
    float scale[QVL_A8_BLOCK / QVL_GROUP];
    int32_t
        minus_64_sum[QVL_A8_BLOCK / QVL_GROUP]; /* -64 times the sum of a group: takes the weights' offset away */
};
_Static_assert(sizeof(struct qvl_a8_block) == 160, "no padding");

/* Where the largest magnitude of a group, a row or a vector is smaller, it becomes zero when it is packed or rounded to
 * integers, so that no inverse overflows. */
#define QVL_SMALLEST_LARGEST 0x1p-100f

#define QVL_PACKED_MAGIC 0x504c5651u /* "QVLP", little-endian */
#define QVL_PACKED_VERSION 1u
#define QVL_PACKED_VERSION_TEXT "1"

struct qvl_packed_head {
    uint32_t magic, version;
    uint32_t format; /* qvl_packed_format */
    uint32_t n_out, n_in;
    uint8_t level[QVL_Q4_LEVELS]; /* QVL_Q4: 0…127, ascending */
    uint8_t zero[28];
};
_Static_assert(sizeof(struct qvl_packed_head) == QVL_PANEL_LINE, "the panels behind it are aligned");

static inline size_t qvl_a8_row_bytes(size_t n)
{
    return qvl_div_up(n, QVL_A8_BLOCK) * sizeof(struct qvl_a8_block);
}

/* Blocks of one panel; format QVL_Q8 or QVL_Q4. */
static inline size_t qvl_panel_n_block(size_t n_in, enum qvl_dtype format)
{
    return qvl_div_up(n_in, format == QVL_Q8 ? QVL_Q8_BLOCK : QVL_Q4_BLOCK);
}

static inline size_t qvl_panel_bytes(size_t n_in, enum qvl_dtype format)
{
    return qvl_panel_n_block(n_in, format) * QVL_PANEL_BLOCK_BYTES;
}

/* What head.format says of each type; other types have no number. */
static inline uint32_t qvl_packed_format(enum qvl_dtype format)
{
    return format == QVL_Q8 ? 8 : format == QVL_Q4 ? 4 : 1;
}

/* Where the panels (QVL_A8: the rows) begin. */
static inline size_t qvl_packed_panels_at(size_t n_out, enum qvl_dtype format)
{
    size_t factors = format == QVL_Q4 ? qvl_round_up(n_out, QVL_PANEL_ROWS) * sizeof(float) : 0;
    return sizeof(struct qvl_packed_head) + factors;
}

/* Of the whole matrix. Both numbers are below 2^32, so nothing overflows in 64 bits. */
static inline size_t qvl_packed_bytes(size_t n_out, size_t n_in, enum qvl_dtype format)
{
    if (format == QVL_A8)
        return qvl_round_up(sizeof(struct qvl_packed_head) + n_out * qvl_a8_row_bytes(n_in), QVL_PANEL_LINE);
    return qvl_packed_panels_at(n_out, format) + qvl_div_up(n_out, QVL_PANEL_ROWS) * qvl_panel_bytes(n_in, format);
}

/* Row i of a QVL_A8 matrix. */
static inline const struct qvl_a8_block *qvl_a8_row(const struct qvl_packed_head *head, size_t i)
{
    return (const void *)((const char *)(head + 1) + i * qvl_a8_row_bytes(head->n_in));
}

/* Scale of QVL_Q4 from its 8 bits. */
static inline float qvl_q4_scale(uint8_t code)
{
    uint32_t bits = (uint32_t)(code & 0x80) << 24 | (((uint32_t)(code & 0x7f) << 19) + (120u << 23));
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
