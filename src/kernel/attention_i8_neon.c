/* Attention over int8 keys and values with neon (attention_i8_lanes.h) where there is no sdot: bytes are widened
 * to 16 bits by shifts and multiplied by queries and weights in pairs; the two products of a pair stay apart until
 * the sum is complete. A key's 8 bits are unsigned, and queries lie in the order of the weights. */
#include "kernel/ivec_neon.h"
#include "kernel/levels.h"

#define ATTENTION_ROWS ((size_t)6) /* 24 registers of sums */
#define ATTENTION_VECTORS ((size_t)2)
#define ATTENTION_KEY_VECTORS ((size_t)2)
#define ATTENTION_KEY_VECTORS_FEW ((size_t)4)

typedef int16_t query;
typedef int16x8_t keys, values;
#define KEY_PARTS ((size_t)2)
#define KEY_ZERO 128
#define VALUE_PARTS ((size_t)2)

/* Lanes 2i and 2i + 1 of the eight belong to lane i of the sum. */
typedef int32x4x2_t key_sum, value_sum;

QVL_INLINE key_sum key_sum_of(int32_t x)
{
    int32x4_t even = vreinterpretq_s32_u64(vdupq_n_u64((uint32_t)x));
    return (key_sum){{even, even}};
}
QVL_INLINE value_sum value_sum_zero(void)
{
    return (value_sum){{vdupq_n_s32(0), vdupq_n_s32(0)}};
}
QVL_INLINE ivec ivec_from_key_sum(key_sum s)
{
    return vpaddq_s32(s.val[0], s.val[1]);
}
QVL_INLINE ivec ivec_from_value_sum(value_sum s)
{
    return ivec_from_key_sum(s);
}

QVL_INLINE void store_weights(int16_t *dst, ivec v)
{
    vst1_s16(dst, vmovn_s32(vzip1q_s32(v, vextq_s32(v, v, 2))));
}
QVL_INLINE void store_query(query *dst, ivec v)
{
    store_weights(dst, v);
}

QVL_INLINE keys load_keys(const char *p, size_t part)
{
    int16x8_t to_the_top = vdupq_n_s16(part == 0 ? 8 : 0);
    uint16x8_t bytes = vreinterpretq_u16_u8(vld1q_u8((const uint8_t *)p));
    return vreinterpretq_s16_u16(vshrq_n_u16(vshlq_u16(bytes, to_the_top), 8));
}
QVL_INLINE values load_values(const char *p, size_t part)
{
    int16x8_t to_the_top = vdupq_n_s16(part == 0 ? 8 : 0);
    int16x8_t bytes = vreinterpretq_s16_s8(vld1q_s8((const int8_t *)p));
    return vshrq_n_s16(vshlq_s16(bytes, to_the_top), 8);
}

QVL_INLINE value_sum mac_values(value_sum acc, values v, const int16_t *w)
{
    int32_t two;
    __builtin_memcpy(&two, w, sizeof two);
    int16x8_t pairs = vreinterpretq_s16_s32(vdupq_n_s32(two));
    acc.val[0] = vmlal_s16(acc.val[0], vget_low_s16(v), vget_low_s16(pairs));
    acc.val[1] = vmlal_high_s16(acc.val[1], v, pairs);
    return acc;
}
QVL_INLINE key_sum mac_keys(key_sum acc, keys k, const query *q)
{
    return mac_values(acc, k, q);
}

#include "kernel/attention_i8_lanes.h"

void qvl_overlay_attention_i8_neon(struct qvl_kernels *table)
{
    overlay_attention_i8(table);
}
