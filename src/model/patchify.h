/* patchify.h: a resized picture cut into patches in merge order, as numbers (MODEL.md, "Patches"). */
#ifndef QVL_MODEL_PATCHIFY_H
#define QVL_MODEL_PATCHIFY_H

#include "load/config.h"

struct qvl_grid {
    uint32_t t, h, w; /* patches: temporal, rows, columns (before merging) */
};

static inline size_t qvl_grid_n_patch(struct qvl_grid g)
{
    return (size_t)g.t * g.h * g.w;
}

/* Numbers in one patch: channels * temporal_patch * patch^2 (1536). */
size_t qvl_patch_len(const struct qvl_vision_config *vision);

/* One temporal patch: two frames (the same twice for a still picture), each [h][w][3], h = grid.h * patch,
 * w = grid.w * patch, to rows [grid.h * grid.w][qvl_patch_len] f32 in merge order. */
void qvl_patchify(const struct qvl_vision_config *vision, const struct qvl_image_config *image,
                  const uint8_t *frame0, const uint8_t *frame1, uint32_t grid_h, uint32_t grid_w, float *row);

#endif
