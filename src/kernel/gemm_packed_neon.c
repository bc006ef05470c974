/* Products of packed matrices with neon (gemm_packed_neon_lanes.h) where there is no instruction for four int8
 * products: two products of a row fit 16 bits (2 * 128 * 127 < 2^15), then neighbours are added. */
#include "kernel/levels.h"

#include <arm_neon.h>

#define TOKS ((size_t)4) /* 16 registers of sums; the others for two lines and products on their way */

/* sum + 4 rows of two neighbouring lines times the 8 numbers at x. */
QVL_INLINE int32x4_t dot_lines(int32x4_t sum, int8x16_t w0, int8x16_t w1, const int8_t *x)
{
    int32x2_t numbers = vreinterpret_s32_s8(vld1_s8(x));
    int8x8_t x0 = vreinterpret_s8_s32(vdup_lane_s32(numbers, 0)),
             x1 = vreinterpret_s8_s32(vdup_lane_s32(numbers, 1));
    int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(w0), x0), vget_low_s8(w1), x1);
    int16x8_t high = vmlal_s8(vmull_s8(vget_high_s8(w0), x0), vget_high_s8(w1), x1);
    return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}

#include "kernel/gemm_packed_neon_dot.h"
#include "kernel/gemm_packed_neon_lanes.h"

void qvl_overlay_gemm_packed_neon(struct qvl_kernels *table)
{
    overlay_gemm_packed(table);
}
