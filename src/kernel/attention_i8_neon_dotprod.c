/* Attention over int8 keys and values with neon (attention_i8_lanes.h) by sdot, which knows bytes only: a weight,
 * 15 bits wide, goes into two sums with its high and its low byte, which meet when the sums are complete. Both
 * bytes are signed because it is the negative weight that is cut: for -32767 to 0, unlike for 32767, the rounded
 * high byte is one of -128 to 127. */
#include "kernel/ivec_neon.h"
#include "kernel/levels.h"

#define ATTENTION_ROWS ((size_t)6)    /* 24 registers of sums */
#define ATTENTION_VECTORS ((size_t)2) /* of two each */
#define ATTENTION_KEY_VECTORS ((size_t)4)
#define ATTENTION_KEY_VECTORS_FEW ((size_t)4)

typedef int8_t query;
typedef int8x16_t keys, values;
#define KEY_PARTS ((size_t)1)
#define KEY_ZERO 0
#define VALUE_PARTS ((size_t)1)

typedef ivec key_sum;
typedef struct {
    ivec high, low;
} value_sum;

QVL_INLINE key_sum key_sum_of(int32_t x)
{
    return vdupq_n_s32(x);
}
QVL_INLINE value_sum value_sum_zero(void)
{
    return (value_sum){vdupq_n_s32(0), vdupq_n_s32(0)};
}
QVL_INLINE ivec ivec_from_key_sum(key_sum s)
{
    return s;
}
QVL_INLINE ivec ivec_from_value_sum(value_sum s)
{
    return vnegq_s32(vaddq_s32(vshlq_n_s32(s.high, 8), s.low));
}

/* Four high bytes, then four low ones. */
QVL_INLINE void store_weights(int16_t *dst, ivec v)
{
    ivec negative = vnegq_s32(v);
    int16x8_t high_low = vcombine_s16(vrshrn_n_s32(negative, 8), vmovn_s32(negative));
    vst1_s8((int8_t *)dst, vmovn_s16(high_low));
}
QVL_INLINE void store_query(query *dst, ivec v)
{
    store_bytes(dst, v);
}

QVL_INLINE keys load_keys(const char *p, size_t part)
{
    (void)part; /* there is one */
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8((const uint8_t *)p), vdupq_n_u8(128)));
}
QVL_INLINE values load_values(const char *p, size_t part)
{
    (void)part;
    return vld1q_s8((const int8_t *)p);
}

QVL_INLINE key_sum mac_keys(key_sum acc, keys k, const query *q)
{
    uint32_t four;
    __builtin_memcpy(&four, q, sizeof four);
    return vdotq_lane_s32(acc, k, vcreate_s8(four), 0);
}
QVL_INLINE value_sum mac_values(value_sum acc, values v, const int16_t *w)
{
    int8x8_t high_low = vld1_s8((const int8_t *)w);
    acc.high = vdotq_lane_s32(acc.high, v, high_low, 0);
    acc.low = vdotq_lane_s32(acc.low, v, high_low, 1);
    return acc;
}

#include "kernel/attention_i8_lanes.h"

void qvl_overlay_attention_i8_neon_dotprod(struct qvl_kernels *table)
{
    if (qvl_cpu_has_int8_dot(QVL_ISA_NEON))
        overlay_attention_i8(table);
}
