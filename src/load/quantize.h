/* quantize.h: one matrix of a checkpoint, packed; in pieces, for those who want to say how far it is. */
#ifndef QVL_LOAD_QUANTIZE_H
#define QVL_LOAD_QUANTIZE_H

#include "kernel/packed.h"
#include "load/weights.h"

/* Numbers in a row of a matrix; the tower's first one has more than two dimensions. */
static inline size_t qvl_tensor_n_in(const struct qvl_tensor *t)
{
    return (size_t)(t->n_element / t->dim[0]);
}

/* Bytes of the tensor's data in memory and in a file. */
static inline uint64_t qvl_tensor_bytes(const struct qvl_tensor *t)
{
    return qvl_dtype_is_packed(t->dtype) ? qvl_packed_bytes(t->dim[0], qvl_tensor_n_in(t), t->dtype)
                                         : t->n_element * qvl_dtype_bytes(t->dtype);
}

/* Name of the tensor that the packed one of this name is made from: its own, but for those of a packed head. */
const char *qvl_quantize_source(const char *name, bool is_tied);
/* What products ask of the decoder: rows of activations in 8 bits are written group by group, a head's output at a
 * time. QVL_ERR_MODEL: its heads are no whole groups. */
enum qvl_status qvl_quantize_check(const char *model_dir, const struct qvl_config *config, struct qvl_error *err);
/* Rows [first, end) of from, [n_out, n_in] of any type but a packed one, as type `to`: packed into out
 * [qvl_packed_bytes], 64-byte aligned, or QVL_BF16 or QVL_F32 into out [n_out, n_in]. first is a multiple of 16,
 * end, too, or n_out; row 0 makes the rest of a packed matrix zero. QVL_ERR_MODEL: a value that is not finite, or
 * too large for bf16. QVL_ERR_CANCELLED when *stop (may be NULL) became true. */
enum qvl_status qvl_quantize_rows(const struct qvl_tensor *from, enum qvl_dtype to, size_t first, size_t end,
                                  struct qvl_pool *pool, const atomic_bool *stop, void *out, struct qvl_error *err);

/* Rows of *t that are some tenths of a second of work: a multiple of 16. */
size_t qvl_quantize_piece(const struct qvl_tensor *t);
/* Of making *t, in the time that reading a number takes: to say how far one is. */
uint64_t qvl_quantize_work(const struct qvl_tensor *t);

#endif
