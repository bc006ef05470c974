/* feed.h: the pictures and clips of one request, on their way from their sources to the vision tower.
 *
 * On the caller's thread: measure (what is it, which frames, which size), then decode and resize frame after frame
 * into the item's hold. On the scheduler's: read the frames of one group of temporal patches, then release them,
 * which makes room for the next. So a clip in memory is never more than its hold, whatever its length.
 *
 * Lock. n_resized, n_released and n_reused are guarded by the engine's lock, as is media_ms; frames between the
 * first two belong to the scheduler, and so do patches; the rest of the hold to the caller, like everything else
 * here once the request is submitted. */
#ifndef QVL_ENGINE_FEED_H
#define QVL_ENGINE_FEED_H

#include "engine/feature_cache.h"
#include "engine/media_plan.h"
#include "media/media.h"
#include "model/vision.h"
#include "text/chat_template.h"

struct qvl_clip;
struct qvl_engine;
struct qvl_session;

/* A picture or clip of the conversation, from its source to its features. A picture is a clip of one temporal patch
 * whose one frame stands for all that the patch holds. */
struct qvl_media_item {
    const struct qvl_part *part; /* the request's copy */
    bool is_shown;               /* the template lets the model see it */
    uint32_t i_shown;            /* among those; once measured, like all that follows */
    struct qvl_media_plan *plan; /* NULL until then */
    struct qvl_clip *clip;       /* of a clip in a file, while frames are left to read and it was opened */
    bool is_awake;               /* its process runs */
    /* The tower takes n_group_patch temporal patches of temporal_patch frames at a time; only the last group may
     * have fewer. */
    uint32_t temporal_patch, n_group_patch;
    struct qvl_patch_features **patch; /* scheduler: [grid.t] in the request's arena; each from when its group
                                          begins until prefill has passed it */
    uint32_t n_reused;                 /* of them the tower was not needed for */
    /* the hold: a ring of resized frames */
    struct qvl_arena pixels;           /* owns rgb8 */
    uint8_t *rgb8;                     /* [n_hold, resized_h, resized_w, 3]; frame i at place i % n_hold */
    struct qvl_feature_key *frame_key; /* [n_hold] the same; NULL without a vision cache */
    size_t n_hold;
    size_t i_first;               /* frames before it are not wanted */
    size_t n_resized, n_released; /* frames [n_released, n_resized) are in the hold */
};

/* Temporal patches up to the end of group i_group. */
uint32_t qvl_media_group_end(const struct qvl_media_item *item, uint32_t i_group);

struct qvl_feed {
    struct qvl_engine *engine;
    struct qvl_session *session; /* whose plans are asked first; or NULL */
    struct qvl_arena *arena;     /* the request's */
    struct qvl_media *media;     /* a helper process of its own: requests share nothing */
    struct qvl_media_item *item; /* [n_item] all media parts, in order of message and part */
    size_t n_item, n_shown;
    size_t i_measure;            /* next item to measure */
    struct qvl_media_info *info; /* [n_info] those shown and measured, in order */
    size_t n_info, n_tok;        /* and their tokens together */
    double media_ms;             /* spent here */
};

/* chat, with n_item pictures and clips, and arena live as long as the feed. On failure, too, it is to be freed. */
enum qvl_status qvl_feed_init(struct qvl_feed *feed, struct qvl_engine *engine, struct qvl_session *session,
                              const struct qvl_chat *chat, size_t n_item, struct qvl_arena *arena,
                              struct qvl_error *err);
/* Nobody else may use it any more. A zeroed one: nothing happens. */
void qvl_feed_free(struct qvl_feed *feed);

/* ---- the caller's thread ------------------------------------------------------------------------- */

/* Those that the model sees are those that the rendered conversation shows. */
void qvl_feed_show(struct qvl_feed *feed, const struct qvl_prompt_parts *parts);
/* Measures the next item that is shown, if one is left. Refuses what cannot fit n_ctx. */
enum qvl_status qvl_feed_measure(struct qvl_feed *feed, const atomic_bool *stop, struct qvl_error *err);
bool qvl_feed_is_measured(const struct qvl_feed *feed);
/* Before the first step: frames before this temporal patch are not wanted, because their keys and values are known.
 * The group that it stands in is made whole; grid.t: no frame is wanted. Also back to what was skipped before. */
enum qvl_status qvl_feed_aim(struct qvl_feed *feed, struct qvl_media_item *item, uint32_t i_patch,
                             struct qvl_error *err);

/* Whether some item has a frame left to decode and room for it. Lock held. */
bool qvl_feed_is_hungry(const struct qvl_feed *feed);
/* Decodes and resizes one such frame, of the first item in order. None: nothing happens. Lock not held. */
enum qvl_status qvl_feed_step(struct qvl_feed *feed, const atomic_bool *stop, struct qvl_error *err);
/* Until the request is submitted: items measured and items whose first frames are there, of both together. */
void qvl_feed_progress(const struct qvl_feed *feed, uint64_t *out_done, uint64_t *out_total);

/* ---- the scheduler's thread ---------------------------------------------------------------------- */

/* Whether the frames of temporal patches before `end` are there. Lock held. */
bool qvl_feed_has(const struct qvl_media_item *item, uint32_t end);
/* A frame of those and not yet released, [resized_h, resized_w, 3]; beyond the last frame: the last one. */
const uint8_t *qvl_feed_frame(const struct qvl_media_item *item, size_t i_frame);
/* The same frame's key; not without a vision cache. */
const struct qvl_feature_key *qvl_feed_frame_key(const struct qvl_media_item *item, size_t i_frame);
/* The frames of temporal patches before `end` are not needed any more. Lock held. */
void qvl_feed_release(struct qvl_media_item *item, uint32_t end);

#endif
