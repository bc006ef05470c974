/* check.h: what the kernel tests share: buffers that end at a forbidden page, reproducible numbers of several
 * kinds, and comparison within the classes of tolerance of kernel.def. */
#ifndef QVL_TESTS_KERNEL_CHECK_H
#define QVL_TESTS_KERNEL_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel/kernel.h"

/* n_bytes that end exactly where the next page may not be touched: a read or write past the end is a crash, and
 * odd sizes give odd addresses. Bytes before the data are watched. Filled with 0xff (NaN in every type). */
struct span {
    void *data;
    void *map;
    size_t map_bytes;
    size_t n_bytes;
};
struct span span_alloc(size_t n_bytes);
void span_free(struct span *span); /* fails the test where bytes before the data were written */

/* Numbers: the same sequence in every run. */
void random_seed(uint32_t seed);
uint32_t random_u32(void);
double random_unit(void); /* in [-1, 1) */

enum numbers { NUMBERS_USUAL, NUMBERS_LARGE, NUMBERS_TINY, NUMBERS_MIXED, NUMBERS_COUNT };
/* Usual: [-1, 1). Large: around 2^40. Tiny: denormals, both zeros. Mixed: 2^-30 .. 2^30 and some zeros. */
float random_number(enum numbers numbers);
void fill_f32(float *x, size_t n, enum numbers numbers);
void fill_bf16(qvl_bf16 *x, size_t n, enum numbers numbers);
void fill_f16(qvl_f16 *x, size_t n);

/* Exact values, written down apart from the kernels. */
double value_of_bf16(qvl_bf16 h);
double value_of_f16(qvl_f16 h);
qvl_bf16 nearest_bf16(float x); /* ties to even; x no NaN */

/* Fail with the place and both numbers. */
void check_within(const char *what, size_t i, size_t n, double found, double expected, double bound);
/* n units in the last place of the expected value, or of 1.0 where it is smaller. */
void check_ulp(const char *what, size_t i, size_t n, float found, double expected, int n_ulp);
void check_bits(const char *what, size_t i, size_t n, float found, float expected);

#endif
