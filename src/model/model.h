/* model.h: the weights bound to their places (bind.c), and what every file of this room shares.
 *
 * Order of reading: resize, patchify (pixels) → linear, attention (shared by the two towers) → vision → rope
 * (positions) → kv_cache → decoder. */
#ifndef QVL_MODEL_MODEL_H
#define QVL_MODEL_MODEL_H

#include "base/arena.h"
#include "base/pool.h"
#include "kernel/kernel.h"
#include "load/weights.h"

/* y = x w^T + bias. */
struct qvl_linear {
    const void *w; /* as in the checkpoint: rows of n_in, or a packed matrix (kernel/packed.h); weights lifetime */
    enum qvl_dtype dtype;
    uint32_t first_row; /* of w: rows first_row … first_row + n_out - 1; a multiple of 16 where w is packed */
    uint32_t n_out, n_in;
    const float *bias; /* [n_out] or NULL; model lifetime */
};

struct qvl_layer_norm {
    const float *w, *b; /* [n] f32; b NULL for RMSNorm; model lifetime */
    uint32_t n;
};

struct qvl_vision_block {
    struct qvl_layer_norm norm1, norm2;
    struct qvl_linear qkv, proj, fc1, fc2;
};

struct qvl_merger {
    struct qvl_layer_norm norm;
    struct qvl_linear fc1, fc2;
    bool is_norm_after_merge; /* deepstack mergers: over 4 * hidden */
};

struct qvl_decoder_layer {
    struct qvl_layer_norm input_norm, post_norm, q_norm, k_norm;
    struct qvl_linear q, k, v, o, gate, up, down;
};

/* Rows of a packed head whose best score is looked for together (decoder.c); a thread's scratch holds one number of each. */
enum { QVL_HEAD_STRIP = 64 };

struct qvl_model {
    struct qvl_config config;
    const struct qvl_kernels *kernels;
    struct qvl_pool *pool; /* the engine's */
    enum qvl_dtype vision_act; /* activations entering a product of the tower: bf16 where that is fast, else f32 */
    enum qvl_dtype text_act;   /* of the decoder: the same, or QVL_A8 where its weights are packed */
    enum qvl_dtype vision_kv;  /* keys and values inside the tower: bf16, or f32 with QVL_COMPUTE_F32 */
    enum qvl_dtype kv;         /* of the decoder's KV cache: the same, or QVL_I8 */
    struct qvl_arena arena; /* model lifetime */
    void *scratch;          /* [n_thread, scratch_bytes], of the job that a thread is in */
    size_t scratch_bytes;
    /* vision */
    struct qvl_linear patch_embed;
    const struct qvl_tensor *position; /* [n_position, hidden] */
    struct qvl_vision_block *block;    /* [vision.n_layer] */
    struct qvl_merger merger;
    struct qvl_merger tap[QVL_MAX_TAPS];
    /* text */
    const struct qvl_tensor *embedding; /* [vocab, hidden]; QVL_A8 where weights are packed */
    struct qvl_decoder_layer *layer;    /* [text.n_layer] */
    struct qvl_layer_norm norm;
    struct qvl_linear head;
    const struct qvl_packed_head *head_rows; /* packed weights: the head again as QVL_A8 rows, else NULL */
    float *inv_freq;  /* [head_dim / 2], YaRN applied */
    float rope_scale; /* of cos and sin: 1, or YaRN's */
};

/* How keys and values of the decoder are kept. */
enum qvl_dtype qvl_model_kv_dtype(enum qvl_compute compute, enum qvl_kv_type kv);

/* Fills *out from mapped weights. They, the pool and the kernels must outlive it. */
enum qvl_status qvl_model_bind(const struct qvl_config *config, const struct qvl_weights *weights,
                               const struct qvl_kernels *kernels, struct qvl_pool *pool, enum qvl_compute compute,
                               enum qvl_kv_type kv, struct qvl_model *out, struct qvl_error *err);
void qvl_model_free(struct qvl_model *model);

static inline void *qvl_model_scratch(const struct qvl_model *model, size_t i_thread)
{
    return (char *)model->scratch + i_thread * model->scratch_bytes;
}

#endif
