/* vision.h: the vision tower: patches of pictures (or of temporal patches of a clip) to rows that the decoder
 * reads. Attention is full inside one picture or temporal patch (a segment) and never crosses to another.
 * MODEL.md, "Vision tower". */
#ifndef QVL_MODEL_VISION_H
#define QVL_MODEL_VISION_H

#include "model/model.h"
#include "model/patchify.h"

/* Rows for the decoder: main and one level for each deepstack tap. */
struct qvl_features {
    float *row; /* [1 + n_tap, n, hidden] f32 */
    size_t n;   /* tokens */
    size_t n_level, n_hidden; /* 1 + n_tap, hidden */
    struct qvl_arena arena; /* owns row */
};
void qvl_features_free(struct qvl_features *features);
/* Of n tokens from `first` on, memory of their own. */
enum qvl_status qvl_features_copy(const struct qvl_features *from, size_t first, size_t n, struct qvl_features *out,
                                  struct qvl_error *err);

struct qvl_vision; /* segments on their way; all their memory is given back by qvl_vision_close */

/* Segments: grid[i].t of them, each grid[i].h * grid[i].w patches, for each i < n_grid, one after the other
 * in patch_row [sum][patch_len] f32, which must stay while qvl_vision_needs_patches. One picture at a time
 * keeps memory low; many small temporal patches together keep the products large. The same bits either way. */
enum qvl_status qvl_vision_open(struct qvl_model *model, const struct qvl_grid *grid, size_t n_grid,
                                const float *patch_row, const struct qvl_trace *trace, struct qvl_vision **out,
                                struct qvl_error *err);
/* One part of the work: some hundred patches through the embedding, half a block or a merger (about a second
 * for the largest picture, on two cores). *done of *total parts after it. With `stop` true the step ends early with
 * QVL_ERR_CANCELLED and the tower can only be closed. */
enum qvl_status qvl_vision_step(struct qvl_vision *vision, const atomic_bool *stop, uint32_t *done, uint32_t *total,
                                struct qvl_error *err);
/* Until the patch embedding is done. */
bool qvl_vision_needs_patches(const struct qvl_vision *vision);
/* After the last step: moves the result out. */
void qvl_vision_take(struct qvl_vision *vision, struct qvl_features *out);
void qvl_vision_close(struct qvl_vision *vision);

#endif
