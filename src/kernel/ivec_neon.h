/* ivec_neon.h: on top of vec_neon.h the integers of attention_i8_lanes.h, but for their products. */
#ifndef QVL_KERNEL_IVEC_NEON_H
#define QVL_KERNEL_IVEC_NEON_H

#include "kernel/vec_neon.h"

typedef int32x4_t ivec;

QVL_INLINE ivec ivec_set1(int32_t x)
{
    return vdupq_n_s32(x);
}
QVL_INLINE ivec ivec_max(ivec a, ivec b)
{
    return vmaxq_s32(a, b);
}
QVL_INLINE void ivec_store(int32_t *p, ivec v)
{
    vst1q_s32(p, v);
}
QVL_INLINE ivec ivec_from_vec_bits(vec v)
{
    return vreinterpretq_s32_f32(v);
}
QVL_INLINE vec vec_from_ivec(ivec v)
{
    return vcvtq_f32_s32(v);
}
QVL_INLINE ivec ivec_rounded(vec v)
{
    return vcvtnq_s32_f32(v);
}
QVL_INLINE vec vec_swap(vec v, size_t half)
{
    return half == 1 ? vrev64q_f32(v) : vextq_f32(v, v, 2);
}
QVL_INLINE void store_bytes(int8_t *dst, ivec v)
{
    int16x4_t h = vmovn_s32(v);
    int32_t four = vget_lane_s32(vreinterpret_s32_s8(vmovn_s16(vcombine_s16(h, h))), 0);
    __builtin_memcpy(dst, &four, sizeof four);
}

#endif
