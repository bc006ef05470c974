/* peak.h: the most that this processor's units and its memory can do, for measurements: loops that do nothing but
 * multiply and add, and one that only reads. Their operands are registers full of zeros; on the processors met so
 * far the values do not change the rate. */
#ifndef QVL_KERNEL_PEAK_H
#define QVL_KERNEL_PEAK_H

#include "base/pool.h"

enum qvl_peak { QVL_PEAK_F32, QVL_PEAK_BF16, QVL_PEAK_INT8, QVL_PEAK_COUNT };

struct qvl_peak_loop {
    const char *instruction;
    double mac_per_step; /* multiply-adds */
    void (*run)(size_t n_step);
};

/* The widest loop that the machine can run, whatever QVL_ISA says; NULL where it has no such unit. F32 is always
 * there. */
const struct qvl_peak_loop *qvl_peak_loop_of(enum qvl_peak peak);
/* Once on all threads of the pool, some 15 ms. The multiply-adds done; 0 when *stop (may be NULL) ended it. */
double qvl_peak_run(const struct qvl_peak_loop *loop, struct qvl_pool *pool, const atomic_bool *stop);
/* Reads n_bytes once, on all threads; to tell of memory they must be far more than any cache holds. False when
 * *stop ended it. */
bool qvl_peak_read(const void *bytes, size_t n_bytes, struct qvl_pool *pool, const atomic_bool *stop);

#endif
