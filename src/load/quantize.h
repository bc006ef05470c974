/* quantize.h: one matrix of a checkpoint, packed. */
#ifndef QVL_LOAD_QUANTIZE_H
#define QVL_LOAD_QUANTIZE_H

#include "kernel/packed.h"
#include "load/weights.h"

/* Bytes of the tensor's data in memory and in a file. */
static inline uint64_t qvl_tensor_bytes(const struct qvl_tensor *t)
{
    return qvl_dtype_is_packed(t->dtype) ? qvl_packed_bytes(t->dim[0], t->dim[1], t->dtype)
                                         : t->n_element * qvl_dtype_bytes(t->dtype);
}

/* Name of the tensor that the packed one of this name is made from: its own, but for those of a packed head. */
const char *qvl_quantize_source(const char *name, bool is_tied);
/* from, [n_out, n_in] of bf16, f16 or f32, packed as type `to` into out [qvl_packed_bytes], 64-byte aligned. Errors as
 * qvl_weights_quantize. */
enum qvl_status qvl_quantize_tensor(const struct qvl_tensor *from, enum qvl_dtype to, struct qvl_pool *pool,
                                    const atomic_bool *stop, void *out, struct qvl_error *err);

#endif
