/* Products of packed matrices with neon (gemm_packed_neon_lanes.h) by sdot, which adds four int8 products to each
 * of four sums. */
#include "kernel/levels.h"

#include <arm_neon.h>

#define TOKS ((size_t)6) /* 24 registers of sums; two for lines, a few for tokens on their way */

/* sum + 4 rows of two neighbouring lines times the 8 numbers at x. */
QVL_INLINE int32x4_t dot_lines(int32x4_t sum, int8x16_t w0, int8x16_t w1, const int8_t *x)
{
    int8x8_t numbers = vld1_s8(x);
    return vdotq_lane_s32(vdotq_lane_s32(sum, w0, numbers, 0), w1, numbers, 1);
}

#include "kernel/gemm_packed_neon_dot.h"
#include "kernel/gemm_packed_neon_lanes.h"

void qvl_overlay_gemm_packed_neon_dotprod(struct qvl_kernels *table)
{
    if (!qvl_cpu_has_int8_dot(QVL_ISA_NEON))
        return;
    overlay_gemm_packed(table);
}
