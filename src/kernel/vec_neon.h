/* vec_neon.h: the vocabulary of vec_avx512.h with 4 floats in a register of the Advanced SIMD unit, which every
 * aarch64 processor has. */
#ifndef QVL_KERNEL_VEC_NEON_H
#define QVL_KERNEL_VEC_NEON_H

#include <arm_neon.h>

#include "kernel/levels.h"

typedef float32x4_t vec;
#define VEC_LANES ((size_t)4)
#define HELD_IN_REGISTER "+w"

/* All ones in the lanes below n. */
QVL_INLINE uint32x4_t first_lanes(size_t n)
{
    static const uint32_t lane[4] = {0, 1, 2, 3};
    return vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n));
}

QVL_INLINE vec vec_zero(void)
{
    return vdupq_n_f32(0.0f);
}
QVL_INLINE vec vec_set1(float x)
{
    return vdupq_n_f32(x);
}
QVL_INLINE vec vec_load(const float *p)
{
    return vld1q_f32(p);
}
QVL_INLINE vec vec_load_n(const float *p, size_t n)
{
    if (n == 1)
        return vld1q_lane_f32(p, vec_zero(), 0);
    vec v = vcombine_f32(vld1_f32(p), vdup_n_f32(0.0f));
    return n == 2 ? v : vld1q_lane_f32(p + 2, v, 2);
}
QVL_INLINE void vec_store(float *p, vec v)
{
    vst1q_f32(p, v);
}
QVL_INLINE void vec_store_n(float *p, vec v, size_t n)
{
    if (n == 1) {
        vst1q_lane_f32(p, v, 0);
        return;
    }
    vst1_f32(p, vget_low_f32(v));
    if (n > 2)
        vst1q_lane_f32(p + 2, v, 2);
}

QVL_INLINE vec vec_add(vec a, vec b)
{
    return vaddq_f32(a, b);
}
QVL_INLINE vec vec_sub(vec a, vec b)
{
    return vsubq_f32(a, b);
}
QVL_INLINE vec vec_mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}
QVL_INLINE vec vec_div(vec a, vec b)
{
    return vdivq_f32(a, b);
}
QVL_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}
/* Not fmax and fmin, which hand on a NaN from either side and order the two zeros. */
QVL_INLINE vec vec_max(vec a, vec b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
QVL_INLINE vec vec_min(vec a, vec b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}
QVL_INLINE vec vec_abs(vec a)
{
    return vabsq_f32(a);
}
QVL_INLINE vec vec_copy_sign(vec magnitude, vec sign)
{
    return vbslq_f32(vdupq_n_u32(0x80000000u), sign, magnitude);
}
QVL_INLINE vec vec_round(vec a)
{
    return vrndnq_f32(a);
}
/* In two steps, so that both powers are normal numbers: |n| <= 252. */
QVL_INLINE vec vec_scale2(vec a, vec n)
{
    int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1), rest = vsubq_s32(whole, half);
    const int32x4_t bias = vdupq_n_s32(127);
    a = vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23)));
    return vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23)));
}
QVL_INLINE vec vec_select_less(vec a, vec b, vec if_less, vec if_not)
{
    return vbslq_f32(vcltq_f32(a, b), if_less, if_not);
}
QVL_INLINE vec vec_fill_from(vec a, size_t n, float fill)
{
    return n >= VEC_LANES ? a : vbslq_f32(first_lanes(n), a, vdupq_n_f32(fill));
}

QVL_INLINE float vec_sum(vec a)
{
    return vaddvq_f32(a);
}
QVL_INLINE float vec_largest(vec a)
{
    return vmaxvq_f32(a);
}
QVL_INLINE float4 vec_sum4(vec a, vec b, vec c, vec d)
{
    return (float4)vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d));
}

QVL_INLINE vec widen_bf16(uint16x4_t h)
{
    return vreinterpretq_f32_u32(vshll_n_u16(h, 16));
}
QVL_INLINE uint16x4_t load_halves_n(const uint16_t *p, size_t n)
{
    uint16x4_t h = vld1_lane_u16(p, vdup_n_u16(0), 0);
    if (n > 1)
        h = vld1_lane_u16(p + 1, h, 1);
    return n > 2 ? vld1_lane_u16(p + 2, h, 2) : h;
}
QVL_INLINE vec vec_load_bf16(const qvl_bf16 *p)
{
    return widen_bf16(vld1_u16(p));
}
QVL_INLINE vec vec_load_bf16_n(const qvl_bf16 *p, size_t n)
{
    return widen_bf16(load_halves_n(p, n));
}
QVL_INLINE vec vec_load_f16(const qvl_f16 *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
QVL_INLINE vec vec_load_f16_n(const qvl_f16 *p, size_t n)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(load_halves_n(p, n)));
}
QVL_INLINE void vec_load_bf16_pairs(const qvl_bf16 *p, vec *first, vec *second)
{
    uint32x4_t pairs = vreinterpretq_u32_u16(vld1q_u16(p));
    *first = vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16));
    *second = vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000u)));
}

/* Rounded to bf16 (nearest, ties to even, NaN stays NaN). */
QVL_INLINE uint16x4_t narrow_bf16(vec v)
{
    uint32x4_t bits = vreinterpretq_u32_f32(v);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    return vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), rounded, quiet), 16);
}
QVL_INLINE void vec_store_bf16(qvl_bf16 *p, vec v)
{
    vst1_u16(p, narrow_bf16(v));
}
QVL_INLINE void vec_store_bf16_n(qvl_bf16 *p, vec v, size_t n)
{
    uint16x4_t h = narrow_bf16(v);
    vst1_lane_u16(p, h, 0);
    if (n > 1)
        vst1_lane_u16(p + 1, h, 1);
    if (n > 2)
        vst1_lane_u16(p + 2, h, 2);
}

#endif
