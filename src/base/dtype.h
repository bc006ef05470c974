/* dtype.h: the element types of weights and activations. */
#ifndef QVL_BASE_DTYPE_H
#define QVL_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

/* Q8 to I8 are groups of numbers with common scales: weights in 8 and 4 bits, rows in 8 (kernel/packed.h), keys and values in
 * 8 (kernel/kernel.h). STORED: as another program quantised them (load/stored.h); never seen behind the load room. I32 to
 * F8 (e4m3, no infinities): what files have such weights in. */
enum qvl_dtype { QVL_F32, QVL_BF16, QVL_F16, QVL_Q8, QVL_Q4, QVL_A8, QVL_I8, QVL_STORED, QVL_I32, QVL_I64, QVL_F8 };

/* Matrices of kernel/packed.h. */
static inline bool qvl_dtype_is_packed(enum qvl_dtype t)
{
    return t == QVL_Q8 || t == QVL_Q4 || t == QVL_A8;
}

static inline bool qvl_dtype_is_float(enum qvl_dtype t)
{
    return t == QVL_F32 || t == QVL_BF16 || t == QVL_F16;
}

/* Of one number; packed and stored types have no such size. */
static inline size_t qvl_dtype_bytes(enum qvl_dtype t)
{
    switch (t) {
    case QVL_I64: return 8;
    case QVL_F32:
    case QVL_I32: return 4;
    case QVL_I8:
    case QVL_F8: return 1;
    default: return 2;
    }
}

#endif
