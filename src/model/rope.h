/* rope.h: three-axis positions (M-RoPE), made once from the prompt's spans, and the rotary tables of text and
 * vision (MODEL.md, "Positions" and "YaRN"). */
#ifndef QVL_MODEL_ROPE_H
#define QVL_MODEL_ROPE_H

#include "model/model.h"
#include "model/patchify.h"

struct qvl_position {
    int32_t t, h, w;
};

/* A run of prompt tokens of one kind: text, or the pads of one picture or of one temporal patch of a clip. */
struct qvl_span {
    size_t begin, n_tok; /* in the prompt */
    bool is_visual;
    uint32_t rows, columns; /* visual: merged grid; rows * columns == n_tok */
    uint32_t i_media;       /* visual: which picture or clip, and its first feature row */
    uint32_t i_feature;
};

/* Fills pos[sum of n_tok], starting at position `next`; returns through *next where the following token goes. */
void qvl_rope_positions(const struct qvl_span *span, size_t n_span, struct qvl_position *pos, int32_t *next);

/* cos and sin [head_dim / 2] of one token: interleaved axes, scaled. */
void qvl_rope_text_angles(const struct qvl_model *model, struct qvl_position pos, float *cos, float *sin);
/* inv_freq and scale from the config; called by bind.c. */
void qvl_rope_frequencies(const struct qvl_text_config *text, float *inv_freq, float *scale);

#endif
