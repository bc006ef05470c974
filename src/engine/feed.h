/* feed.h: the pictures and clips of one request, on their way from their sources to the vision tower.
 *
 * On the caller's thread: measure (what is it, which frames, which size), then decode and resize frame after frame
 * into the item's hold. On the scheduler's: read the frames of one group of temporal patches, then release them,
 * which makes room for the next. So a clip in memory is never more than its hold, whatever its length.
 *
 * Lock. n_resized and n_released are guarded by the engine's lock; frames between the two belong to the scheduler,
 * the rest of the hold to the caller. */
#ifndef QVL_ENGINE_FEED_H
#define QVL_ENGINE_FEED_H

#include "base/arena.h"
#include "media/clip.h"
#include "model/vision.h"

struct qvl_engine;
struct qvl_session;

/* SHA-256 over everything that decides what the model sees of a picture or clip: its source (bytes; of a file its
 * device, number, size and times of change) and its options. Equal identity, equal features. */
struct qvl_identity {
    uint8_t bytes[32];
};

/* What measuring finds out. Counted references: a session hands it from request to request. */
struct qvl_media_plan {
    unsigned n_user;                /* under the engine's lock */
    struct qvl_identity identity;
    struct qvl_media_info info;     /* pointers into this struct's own memory; info.name is not used */
    struct qvl_grid grid;
    size_t n_frame;
    uint64_t *frame_index;          /* [n_frame] */
    double *frame_s, *patch_s;      /* [n_frame], [grid.t] seconds */
};

/* A picture or clip of the conversation, from its source to its features. A picture is a clip of one temporal patch
 * whose one frame stands for all that the patch holds. */
struct qvl_media_item {
    const struct qvl_part *part;    /* the request's copy */
    bool is_shown;                  /* the template lets the model see it */
    struct qvl_media_plan *plan;    /* once measured */
    struct qvl_clip *clip;          /* of a clip in a file, from measuring to the last frame */
    /* The tower takes n_group_patch temporal patches at a time; only the last group may have fewer. */
    uint32_t n_group, n_group_patch;
    struct qvl_features *group;     /* scheduler: [n_group] in the request's arena; each until prefill has passed */
    /* the hold: a ring of resized frames */
    struct qvl_arena pixels;        /* owns rgb8 */
    uint8_t *rgb8;                  /* [n_hold, resized_h, resized_w, 3]; frame i at place i % n_hold */
    size_t n_hold;
    size_t n_resized, n_released;   /* frames [n_released, n_resized) are in the hold; under the engine's lock */
};

struct qvl_feed {
    struct qvl_engine *engine;
    struct qvl_session *session;    /* or NULL */
    const struct qvl_trace *trace;
    struct qvl_arena *arena;        /* the request's */
    struct qvl_media *media;        /* a helper process of its own: requests share nothing */
    struct qvl_media_item *item;    /* [n_item] all media parts, in order of message and part */
    size_t n_item;
    struct qvl_media_info *info;    /* [n_info] those shown and measured, in order */
    size_t n_info, n_shown;
    size_t i_measure;               /* next item to measure */
    double media_ms;                /* spent here; under the engine's lock */
};

/* chat and arena live as long as the feed. */
enum qvl_status qvl_feed_init(struct qvl_feed *feed, struct qvl_engine *engine, struct qvl_session *session,
                              const struct qvl_chat *chat, size_t n_item, const struct qvl_trace *trace,
                              struct qvl_arena *arena, struct qvl_error *err);
void qvl_feed_free(struct qvl_feed *feed);

/* Measures the next item that is shown; false in *out_is_more after the last one. Refuses what cannot fit n_ctx. */
enum qvl_status qvl_feed_measure(struct qvl_feed *feed, const atomic_bool *stop, bool *out_is_more,
                                 struct qvl_error *err);
/* Frames before this temporal patch are not wanted: their keys and values are known. grid.t: no frame is. */
void qvl_feed_skip(struct qvl_media_item *item, uint32_t i_patch, uint32_t temporal_patch);

/* Whether some item has a frame left to decode and room for it. Lock held. */
bool qvl_feed_is_hungry(const struct qvl_feed *feed);
/* Decodes and resizes one such frame, of the first item in order. Lock not held. */
enum qvl_status qvl_feed_step(struct qvl_feed *feed, const atomic_bool *stop, struct qvl_error *err);

/* For the scheduler: whether the frames of temporal patches [begin, end) are there. Lock held. */
bool qvl_feed_has(const struct qvl_media_item *item, uint32_t begin, uint32_t end, uint32_t temporal_patch);
/* A frame of those, [resized_h, resized_w, 3]; beyond the last frame: the last one. */
const uint8_t *qvl_feed_frame(const struct qvl_media_item *item, size_t i_frame);
/* The frames of temporal patches before `end` are not needed any more. Lock held. */
void qvl_feed_release(struct qvl_media_item *item, uint32_t end, uint32_t temporal_patch);

struct qvl_media_plan *qvl_media_plan_acquire(struct qvl_media_plan *plan);
void qvl_media_plan_release(struct qvl_media_plan *plan);

#endif
