/* Rows of QVL_A8 (packed.h) with neon, a group of 32 at a time. */
#include "kernel/levels.h"

#include <arm_neon.h>
#include <math.h>

#include "kernel/packed.h"

#define VECTORS ((size_t)(QVL_GROUP / 4))

/* The largest of 32 magnitudes as bits, which order as the numbers do: not finite above all. */
QVL_INLINE float largest_of(const float32x4_t *x)
{
    uint32x4_t most = vdupq_n_u32(0);
    QVL_UNROLL(8)
    for (size_t i = 0; i < VECTORS; i++)
        most = vmaxq_u32(most, vreinterpretq_u32_f32(vabsq_f32(x[i])));
    return vgetq_lane_f32(vreinterpretq_f32_u32(vdupq_n_u32(vmaxvq_u32(most))), 0);
}

QVL_INLINE int8x16_t narrow(const int32x4_t *n)
{
    int16x8_t low = vcombine_s16(vmovn_s32(n[0]), vmovn_s32(n[1]));
    int16x8_t high = vcombine_s16(vmovn_s32(n[2]), vmovn_s32(n[3]));
    return vcombine_s8(vmovn_s16(low), vmovn_s16(high));
}

QVL_INLINE void group_to_a8(struct qvl_a8_block *y, size_t i_group, const float *from)
{
    float32x4_t x[VECTORS];
    int8x16_t low = vdupq_n_s8(0), high = low;
    float scale = 0;
    QVL_UNROLL(8)
    for (size_t i = 0; i < VECTORS; i++)
        x[i] = vld1q_f32(from + 4 * i);
    float largest = largest_of(x);
    if (!(largest < INFINITY)) {
        scale = NAN;
    } else if (largest >= QVL_SMALLEST_LARGEST) {
        float inverse = 127.0f / largest;
        int32x4_t n[VECTORS];
        QVL_UNROLL(8)
        for (size_t i = 0; i < VECTORS; i++)
            n[i] = vcvtnq_s32_f32(vmulq_n_f32(x[i], inverse)); /* to nearest, ties to even */
        low = narrow(n);
        high = narrow(n + VECTORS / 2);
        scale = largest / 127.0f;
    }
    vst1q_s8(y->q + i_group * QVL_GROUP, low);
    vst1q_s8(y->q + i_group * QVL_GROUP + 16, high);
    y->scale[i_group] = scale;
    y->minus_64_sum[i_group] = -64 * (vaddlvq_s8(low) + vaddlvq_s8(high));
}

QVL_INLINE void eight_to_f32(float *y, const struct qvl_a8_block *block, size_t j)
{
    int16x8_t q = vmovl_s8(vld1_s8(block->q + j));
    float scale = block->scale[j / QVL_GROUP];
    vst1q_f32(y, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(q))), scale));
    vst1q_f32(y + 4, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_high_s16(q))), scale));
}

/* Products of 16 columns, two in each lane: 2 * 127 * 127 < 2^15. */
QVL_INLINE int16x8_t multiply_16(const int8_t *a, const int8_t *b)
{
    int8x16_t p = vld1q_s8(a), q = vld1q_s8(b);
    return vmlal_s8(vmull_s8(vget_low_s8(p), vget_low_s8(q)), vget_high_s8(p), vget_high_s8(q));
}

QVL_INLINE int32_t dot_group(const int8_t *a, const int8_t *b)
{
    int32x4_t sum = vpaddlq_s16(multiply_16(a, b));
    return vaddvq_s32(vpadalq_s16(sum, multiply_16(a + 16, b + 16)));
}

#include "kernel/rows_a8_lanes.h"

void qvl_overlay_rows_a8_neon(struct qvl_kernels *table)
{
    overlay_rows_a8(table);
}
