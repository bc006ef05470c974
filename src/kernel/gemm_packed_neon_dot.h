/* gemm_packed_neon_dot.h: what gemm_packed_neon_lanes.h asks for, over dot_lines(sum, w0, w1, x): 4 rows of two
 * lines times one token. */
#ifndef QVL_KERNEL_GEMM_PACKED_NEON_DOT_H
#define QVL_KERNEL_GEMM_PACKED_NEON_DOT_H

QVL_INLINE void add_pair(int32x4_t *sum0, int32x4_t *sum1, int8x16_t w0, int8x16_t w1, const int8_t *x0,
                         const int8_t *x1)
{
    *sum0 = dot_lines(*sum0, w0, w1, x0);
    *sum1 = dot_lines(*sum1, w0, w1, x1);
}

/* Lines and sums are in order as they are. */
QVL_INLINE void arrange_lines(int8x16_t *w0, int8x16_t *w1)
{
    (void)w0, (void)w1;
}
QVL_INLINE void arrange_sums(int32x4_t *sum0, int32x4_t *sum1)
{
    (void)sum0, (void)sum1;
}

#endif
