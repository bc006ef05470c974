/* decoder.h: one forward pass of the text decoder over rows of one or more sequences. MODEL.md, "Decoder". */
#ifndef QVL_MODEL_DECODER_H
#define QVL_MODEL_DECODER_H

#include "model/kv_cache.h"
#include "model/rope.h"
#include "model/vision.h"

/* One row of a step. Rows of a sequence lie together, in order, and follow what its cache holds. */
struct qvl_batch_row {
    uint32_t id;
    struct qvl_position pos;
    uint32_t i_seq;
    const struct qvl_features *features; /* visual row: where its vectors come from; else NULL */
    uint32_t i_feature;
    bool want_logits;
};

struct qvl_batch {
    const struct qvl_batch_row *row;
    size_t n_row;
    struct qvl_kv **kv; /* [n_seq] */
    size_t n_seq;
    bool is_head_whole; /* of a packed head all rows are computed in 8 bits, not the best ones only */
    const struct qvl_trace *trace; /* may be NULL */
};

struct qvl_decoder; /* the step's memory, kept from step to step */

/* max_row: rows of the largest step; a multiple of 96 suits the kernels' tiles. The [max_row, vocab] logits are
 * address space only, until rows want them. */
enum qvl_status qvl_decoder_open(struct qvl_model *model, size_t max_row, struct qvl_decoder **out,
                                 struct qvl_error *err);
void qvl_decoder_close(struct qvl_decoder *decoder);

/* Appends the rows to their caches (which must have room: qvl_kv_reserve) and leaves the logits of the rows
 * that want them, in order, in *out_logits [n_wanted, vocab] f32, decoder lifetime until the next step. n_row
 * <= max_row. On QVL_ERR_CANCELLED (stop true) the caches are as before the step. */
enum qvl_status qvl_decoder_step(struct qvl_decoder *decoder, const struct qvl_batch *batch,
                                 const atomic_bool *stop, float **out_logits, struct qvl_error *err);

#endif
