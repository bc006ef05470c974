/* gemm_packed_table.h: the rows of the kernel table over a level's
 *   product(c, c_stride, w, format, row0, x, x_stride, n_row, n_tok, k) */
#ifndef QVL_KERNEL_GEMM_PACKED_TABLE_H
#define QVL_KERNEL_GEMM_PACKED_TABLE_H

static void gemm_q8_a8(float *c, size_t c_stride, const struct qvl_packed_head *w, size_t row0,
                       const struct qvl_a8_block *x, size_t x_stride, size_t n_row, size_t n_tok, size_t k)
{
    product(c, c_stride, w, QVL_Q8, row0, (const char *)x, x_stride, n_row, n_tok, k);
}

static void gemm_q4_a8(float *c, size_t c_stride, const struct qvl_packed_head *w, size_t row0,
                       const struct qvl_a8_block *x, size_t x_stride, size_t n_row, size_t n_tok, size_t k)
{
    product(c, c_stride, w, QVL_Q4, row0, (const char *)x, x_stride, n_row, n_tok, k);
}

QVL_INLINE void overlay_gemm_packed(struct qvl_kernels *table)
{
    table->gemm_q8_a8 = gemm_q8_a8;
    table->gemm_q4_a8 = gemm_q4_a8;
}

#endif
