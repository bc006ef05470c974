/* vec_scalar.h: the vocabulary of vec_avx512.h with one float: for definitions that share vec_math.h's polynomials
 * with the vector levels, bit for bit. fmaf rounds once, as the vector instructions do. */
#ifndef QVL_KERNEL_VEC_SCALAR_H
#define QVL_KERNEL_VEC_SCALAR_H

#include <math.h>

#include "kernel/levels.h"

typedef float vec;
#define VEC_LANES ((size_t)1)

QVL_INLINE vec vec_zero(void)
{
    return 0.0f;
}
QVL_INLINE vec vec_set1(float x)
{
    return x;
}
QVL_INLINE vec vec_add(vec a, vec b)
{
    return a + b;
}
QVL_INLINE vec vec_sub(vec a, vec b)
{
    return a - b;
}
QVL_INLINE vec vec_mul(vec a, vec b)
{
    return a * b;
}
QVL_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return fmaf(a, b, c);
}
QVL_INLINE vec vec_max(vec a, vec b)
{
    return a > b ? a : b;
}
QVL_INLINE vec vec_min(vec a, vec b)
{
    return a < b ? a : b;
}
QVL_INLINE vec vec_abs(vec a)
{
    return fabsf(a);
}
QVL_INLINE vec vec_copy_sign(vec magnitude, vec sign)
{
    return copysignf(magnitude, sign);
}
QVL_INLINE vec vec_round(vec a)
{
    return rintf(a);
}
QVL_INLINE vec vec_scale2(vec a, vec n)
{
    return isnan(n) ? n : scalbnf(a, (int)n);
}
QVL_INLINE vec vec_select_less(vec a, vec b, vec if_less, vec if_not)
{
    return a < b ? if_less : if_not;
}

#endif
