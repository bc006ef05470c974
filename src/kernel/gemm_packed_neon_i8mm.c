/* Products of packed matrices with neon (gemm_packed_neon_lanes.h) by smmla, which multiplies 2 x 8 numbers by 8 x
 * 2 and adds the 2 x 2 sums: here of two tokens and two rows of weights. */
#include "kernel/levels.h"

#include <arm_neon.h>

#define TOKS ((size_t)6) /* 24 registers of sums; three for pairs of tokens, the others for weights */

/* Two rows, each with its 8 columns, in either: in the lines rows are 4 columns wide. */
QVL_INLINE void arrange_lines(int8x16_t *w0, int8x16_t *w1)
{
    int32x4_t line0 = vreinterpretq_s32_s8(*w0), line1 = vreinterpretq_s32_s8(*w1);
    *w0 = vreinterpretq_s8_s32(vzip1q_s32(line0, line1));
    *w1 = vreinterpretq_s8_s32(vzip2q_s32(line0, line1));
}

QVL_INLINE void add_pair(int32x4_t *sum0, int32x4_t *sum1, int8x16_t w0, int8x16_t w1, const int8_t *x0,
                         const int8_t *x1)
{
    int8x16_t x = vcombine_s8(vld1_s8(x0), vld1_s8(x1));
    *sum0 = vmmlaq_s32(*sum0, x, w0);
    *sum1 = vmmlaq_s32(*sum1, x, w1);
}

/* From two rows and two tokens in each to one token in each. */
QVL_INLINE void arrange_sums(int32x4_t *sum0, int32x4_t *sum1)
{
    int64x2_t rows01 = vreinterpretq_s64_s32(*sum0), rows23 = vreinterpretq_s64_s32(*sum1);
    *sum0 = vreinterpretq_s32_s64(vzip1q_s64(rows01, rows23));
    *sum1 = vreinterpretq_s32_s64(vzip2q_s64(rows01, rows23));
}

#include "kernel/gemm_packed_neon_lanes.h"

void qvl_overlay_gemm_packed_neon_i8mm(struct qvl_kernels *table)
{
    if (!qvl_cpu_has_int8_matrices())
        return;
    overlay_gemm_packed(table);
}
