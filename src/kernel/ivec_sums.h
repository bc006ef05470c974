/* ivec_sums.h: the sums of attention_i8_lanes.h where they are integers from the beginning, a lane each. After ivec
 * and ivec_set1. */
#ifndef QVL_KERNEL_IVEC_SUMS_H
#define QVL_KERNEL_IVEC_SUMS_H

typedef ivec key_sum, value_sum;

QVL_INLINE key_sum key_sum_of(int32_t x)
{
    return ivec_set1(x);
}
QVL_INLINE value_sum value_sum_zero(void)
{
    return ivec_set1(0);
}
QVL_INLINE ivec ivec_from_key_sum(key_sum s)
{
    return s;
}
QVL_INLINE ivec ivec_from_value_sum(value_sum s)
{
    return s;
}

#endif
