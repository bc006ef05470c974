/* prompt.h: the one place where sight and text meet: a rendered conversation and the grids of its pictures and
 * clips become token ids, the spans that features go to, and three-axis positions. */
#ifndef QVL_ENGINE_PROMPT_H
#define QVL_ENGINE_PROMPT_H

#include "model/rope.h"
#include "text/chat_template.h"

struct qvl_prompt {
    struct qvl_ids ids;       /* n tokens */
    struct qvl_position *pos; /* [ids.n] */
    struct qvl_span *span;    /* [n_span], without gaps from 0 to ids.n; a clip has one for each temporal patch */
    size_t n_span, n_span_alloc;
    int32_t next_pos;         /* of the first generated token, on all axes */
    size_t n_image_tok, n_video_tok;
    struct qvl_bytes text;    /* as the template writes it: one placeholder for each picture and clip */
};

struct qvl_prompt_media {
    struct qvl_grid grid;
    const double *time_s; /* [n_frame] of a clip, seconds; fewer than its temporal patches hold: the last one is
                             repeated */
    size_t n_frame;
};

struct qvl_prompt_settings {
    uint32_t merge;          /* patches on a side of one token */
    uint32_t temporal_patch; /* frames in one temporal patch */
    bool want_video_wrapper; /* a clip's sequence stands inside one more vision_start and vision_end */
};

/* The temporal patch of a visual span, counted in its clip. */
static inline uint32_t qvl_span_patch(const struct qvl_span *span)
{
    return span->i_feature / (uint32_t)span->n_tok;
}

/* The time of a temporal patch: the mean of its first and its last frame's; frames that are missing have the last
 * one's. n_frame >= 1. */
double qvl_prompt_patch_time(const double *frame_s, size_t n_frame, uint32_t temporal_patch, uint32_t i_patch);

/* media[i_media] is read for the pictures and clips that `parts` shows. */
enum qvl_status qvl_prompt_build(const struct qvl_tokenizer *tokenizer, const struct qvl_prompt_parts *parts,
                                 const struct qvl_prompt_media *media, size_t n_media,
                                 const struct qvl_prompt_settings *settings, struct qvl_prompt *out,
                                 struct qvl_error *err);
/* n more tokens of text. */
enum qvl_status qvl_prompt_append(struct qvl_prompt *prompt, const uint32_t *ids, size_t n, struct qvl_error *err);
void qvl_prompt_free(struct qvl_prompt *prompt);

#endif
