/* pack.h: from rows of f32 weights to a packed matrix (packed.h) and back. Not on the path of an answer, hence
 * plain C and the same bytes on every machine. Nothing is allocated: a caller streams a matrix of any size through
 * one panel of 16 rows. */
#ifndef QVL_KERNEL_PACK_H
#define QVL_KERNEL_PACK_H

#include "kernel/packed.h"

/* QVL_Q8, QVL_Q4 or QVL_A8. level of a QVL_Q4 matrix becomes the default, right for weights distributed like Gauss'
 * curve. */
void qvl_pack_head(struct qvl_packed_head *head, enum qvl_dtype format, uint32_t n_out, uint32_t n_in);

/* Writes qvl_panel_bytes(n_in, format) at panel and, QVL_Q4 only, QVL_PANEL_ROWS factors; level and factor may be
 * NULL otherwise. Rows are n_in long, NULL past the last one of the matrix. A group (QVL_Q8) or row (QVL_Q4) with a
 * weight that is not finite becomes NaN. */
void qvl_pack_panel(uint8_t *panel, float *factor, const float *const row[QVL_PANEL_ROWS], size_t n_in,
                    enum qvl_dtype format, const uint8_t level[QVL_Q4_LEVELS]);

/* Replaces level by a table learned from n numbers, whole groups of the matrix that it is meant for, where that has
 * the smaller error on them; some 1000 groups are enough, 2000 take 30 ms. */
void qvl_learn_levels(const float *sample, size_t n, uint8_t level[QVL_Q4_LEVELS]);

/* The n_in weights of a row < n_out as the products see them. */
void qvl_unpack_row(const struct qvl_packed_head *w, size_t row, float *out);

#endif
