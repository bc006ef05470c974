/* dtype.h: the element types of weights and activations. */
#ifndef QVL_BASE_DTYPE_H
#define QVL_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

/* The last four are groups of numbers with common scales: weights in 8 and 4 bits, rows in 8 (kernel/packed.h), keys
 * and values in 8 (kernel/kernel.h). */
enum qvl_dtype { QVL_F32, QVL_BF16, QVL_F16, QVL_Q8, QVL_Q4, QVL_A8, QVL_I8 };

/* Matrices of kernel/packed.h. */
static inline bool qvl_dtype_is_packed(enum qvl_dtype t)
{
    return t == QVL_Q8 || t == QVL_Q4 || t == QVL_A8;
}

/* Of one number; packed types have no such size. */
static inline size_t qvl_dtype_bytes(enum qvl_dtype t)
{
    return t == QVL_F32 ? 4 : t == QVL_I8 ? 1 : 2;
}

#endif
