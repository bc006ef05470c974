/* vec_math.h: exponential and error function on vectors, on top of a vec_isa.h. Polynomials are minimax fits
 * (Remez exchange in 40 digits); errors are of the fit, before f32 rounding. */
#ifndef QVL_KERNEL_VEC_MATH_H
#define QVL_KERNEL_VEC_MATH_H

/* 2^x for x <= 128, relative error 9.2e-8. Below 2^-149 the result is 0, so -inf gives 0 exactly; 0 gives 1. */
QVL_INLINE vec vec_exp2(vec x)
{
    x = vec_max(vec_set1(-160.0f), x);
    vec n = vec_round(x), f = vec_sub(x, n); /* f in [-1/2, 1/2] */
    vec p = vec_set1(1.32637587745e-3f);
    p = vec_fma(p, f, vec_set1(9.67154923595e-3f));
    p = vec_fma(p, f, vec_set1(5.55073636059e-2f));
    p = vec_fma(p, f, vec_set1(2.40222415251e-1f));
    p = vec_fma(p, f, vec_set1(6.93146976308e-1f));
    p = vec_fma(p, f, vec_set1(1.0f));
    return vec_scale2(p, n);
}

/* e^x, relative error 3.1e-9 (f32 rounding then gives about 1 unit in the last place). Overflow gives inf,
 * underflow 0, NaN stays. */
QVL_INLINE vec vec_exp(vec x)
{
    x = vec_min(vec_set1(90.0f), vec_max(vec_set1(-110.0f), x));
    vec n = vec_round(vec_mul(x, vec_set1(0x1.715476p+0f))); /* log2 e */
    vec r = vec_fma(n, vec_set1(-0x1.62e4p-1f), x);          /* ln 2 in two parts; n times the first is exact */
    r = vec_fma(n, vec_set1(-0x1.7f7d1cp-20f), r);
    vec p = vec_set1(1.38137707026e-3f);
    p = vec_fma(p, r, vec_set1(8.36878367452e-3f));
    p = vec_fma(p, r, vec_set1(4.16684034852e-2f));
    p = vec_fma(p, r, vec_set1(1.66665200804e-1f));
    p = vec_fma(p, r, vec_set1(4.99999933876e-1f));
    p = vec_fma(vec_mul(p, r), r, r);
    return vec_scale2(vec_add(p, vec_set1(1.0f)), n);
}

/* erf: below 1 as x + x P(x^2), relative error 1.2e-9; above as 1 - exp(-|x| Q(|x|)), relative error of the
 * exponential part 5e-10; erfc(4.2) < 3e-9 is nothing beside 1. */
QVL_INLINE vec vec_erf(vec x)
{
    vec s = vec_mul(x, x);
    vec p = vec_set1(7.8538611801e-5f);
    p = vec_fma(p, s, vec_set1(-8.01019356926e-4f));
    p = vec_fma(p, s, vec_set1(5.18832767868e-3f));
    p = vec_fma(p, s, vec_set1(-2.6853811931e-2f));
    p = vec_fma(p, s, vec_set1(1.12835851485e-1f));
    p = vec_fma(p, s, vec_set1(-3.76126258242e-1f));
    p = vec_fma(p, s, vec_set1(1.28379165727e-1f));
    vec small = vec_fma(p, x, x);

    vec a = vec_min(vec_set1(4.2f), vec_abs(x));
    vec q = vec_set1(1.32310353878e-5f);
    q = vec_fma(q, a, vec_set1(-3.43003720705e-4f));
    q = vec_fma(q, a, vec_set1(3.72541069974e-3f));
    q = vec_fma(q, a, vec_set1(-2.39393984643e-2f));
    q = vec_fma(q, a, vec_set1(1.06445151995e-1f));
    q = vec_fma(q, a, vec_set1(6.35023808572e-1f));
    q = vec_fma(q, a, vec_set1(1.12868030742f));
    vec large = vec_sub(vec_set1(1.0f), vec_exp(vec_mul(vec_sub(vec_zero(), a), q)));
    return vec_select_less(vec_abs(x), vec_set1(1.0f), small, vec_copy_sign(large, x));
}

#endif
