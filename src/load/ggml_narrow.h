/* ggml_narrow.h: f32 numbers as the types of GGUF that qvl writes; the other way of qvl_ggml_widen (load/stored.h).
 */
#ifndef QVL_LOAD_GGML_NARROW_H
#define QVL_LOAD_GGML_NARROW_H

#include <stdint.h>

#include "base/gguf.h"

/* n finite numbers, whole blocks, as F32, F16, BF16 (to nearest, ties to even) or Q8_0: the bytes that llama.cpp
 * writes. */
void qvl_ggml_narrow(enum qvl_ggml_type type, const float *x, size_t n, void *out);
/* The largest magnitude that does not become infinite. */
float qvl_ggml_largest(enum qvl_ggml_type type);

#endif
