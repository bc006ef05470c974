/* dtype.h: the element types of weights and activations. */
#ifndef QVL_BASE_DTYPE_H
#define QVL_BASE_DTYPE_H

#include <stddef.h>

enum qvl_dtype { QVL_F32, QVL_BF16, QVL_F16 };

static inline size_t qvl_dtype_bytes(enum qvl_dtype t)
{
    return t == QVL_F32 ? 4 : 2;
}

#endif
