/* media_plan.h: what is known of a picture or clip once it is measured: which frames the model sees, when they are,
 * and how large. Needs no pixels. */
#ifndef QVL_ENGINE_MEDIA_PLAN_H
#define QVL_ENGINE_MEDIA_PLAN_H

#include <stdatomic.h>

#include "base/arena.h"
#include "engine/identity.h"
#include "model/patchify.h"

/* Counted references: a session hands it from request to request. Does not change once it is made. */
struct qvl_media_plan {
    atomic_uint n_user;
    struct qvl_identity identity; /* where a session or the prefix cache asks for it; else zero */
    struct qvl_media_info info;   /* its arrays are the arena's; info.name is not used */
    struct qvl_grid grid;
    size_t n_frame; /* info.n_frame of a clip, 1 of a picture */
    struct qvl_arena arena;
};

/* With one user. */
enum qvl_status qvl_media_plan_new(enum qvl_media_kind kind, struct qvl_media_plan **out, struct qvl_error *err);
struct qvl_media_plan *qvl_media_plan_acquire(struct qvl_media_plan *plan);
void qvl_media_plan_release(struct qvl_media_plan *plan);

/* From n_frame, the frames' times and original_h, original_w: resized size, grid, tokens, times of the temporal
 * patches. `name` begins the sentences. QVL_ERR_MEDIA: a shape that cannot be resized; QVL_ERR_ARGUMENT: bounds
 * that contradict each other with this number of frames. */
enum qvl_status qvl_media_plan_fit(struct qvl_media_plan *plan, const struct qvl_config *config,
                                   const struct qvl_media_options *wish, const char *name, struct qvl_error *err);

#endif
