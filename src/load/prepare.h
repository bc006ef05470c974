/* prepare.h: from the tensors of a model's files to those that the engine computes with, or that a folder is
 * written of: matrices packed, and what other programs have quantised made floats. Everything else stays where it
 * is mapped. */
#ifndef QVL_LOAD_PREPARE_H
#define QVL_LOAD_PREPARE_H

#include "load/weights.h"

/* Whether the decoder's matrices are as another program has quantised them. */
bool qvl_weights_is_foreign(const struct qvl_weights *weights);

/* Whether any tensor of the files is rounded (qvl_stored_is_rounded). */
bool qvl_weights_is_rounded(const struct qvl_weights *weights);

/* The tensors of *want, sorted by name, each with the type it is to have: packed where *want says so. Else, in a
 * model that holds any QVL_STORED tensor: matrices in type `floats` (QVL_BF16 or QVL_F32; f16 and f32 ones become
 * bf16, too, so that all are what fast products want, but are not widened), other stored tensors f32. Else as in
 * the file, which *want differs from in what is packed only; data is the file's there and NULL where it is to be
 * made. In the arena. */
enum qvl_status qvl_weights_plan(const struct qvl_weights *weights, const struct qvl_config *want,
                                 enum qvl_dtype floats, struct qvl_arena *arena, struct qvl_tensor **out,
                                 size_t *out_n, struct qvl_error *err);
/* What a planned tensor is made of. */
const struct qvl_tensor *qvl_weights_source(const struct qvl_weights *weights, const struct qvl_tensor *planned);

/* Whether qvl_weights_prepare has anything to do. */
bool qvl_weights_needs_preparing(const struct qvl_weights *weights, const struct qvl_config *config,
                                 const struct qvl_config *want);

/* Bytes of the tensors after qvl_weights_prepare, or of those that stay as they are. */
enum qvl_status qvl_weights_prepared_bytes(const struct qvl_weights *weights, const struct qvl_config *config,
                                           const struct qvl_config *want, enum qvl_dtype floats, uint64_t *out,
                                           struct qvl_error *err);

struct qvl_prepare_options {
    enum qvl_dtype floats;
    void (*tell)(void *arg, double share); /* NULL, or called some times a second with the share that is done */
    void *tell_arg;
    const atomic_bool *stop; /* may be NULL */
};

/* After map: makes what is planned, on the pool's threads, and lets the pages it was read from go; then *config is
 * *want. Errors as qvl_quantize_rows; after one the weights can only be closed. */
enum qvl_status qvl_weights_prepare(struct qvl_weights *weights, struct qvl_config *config,
                                    const struct qvl_config *want, const struct qvl_prepare_options *options,
                                    struct qvl_pool *pool, struct qvl_error *err);

#endif
