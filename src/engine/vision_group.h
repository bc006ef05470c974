/* vision_group.h: a group of temporal patches of one picture or clip, from its frames to its features. Patches that
 * the cache knows are taken from it, equal ones inside the group are encoded once, the rest goes through the tower
 * together.
 *
 * begin, then, where the cache has a folder and does not know all, read, then open, then step until it is done. All
 * on the scheduler's thread but read, which waits for a disk: it belongs on the caller's. */
#ifndef QVL_ENGINE_VISION_GROUP_H
#define QVL_ENGINE_VISION_GROUP_H

#include "engine/feed.h"

struct qvl_feature_folder;
struct qvl_feature_writer;

/* Where features are that were made before. All NULL: nowhere. */
struct qvl_vision_memory {
    struct qvl_feature_cache *cache;
    struct qvl_feature_folder *folder; /* or NULL, and so the writer: no second level */
    struct qvl_feature_writer *writer;
};

/* Zeroed: none is on its way. */
struct qvl_vision_group {
    struct qvl_media_item *item; /* whose patches [begin, end) it makes; NULL: none is on its way */
    uint32_t begin, end;
    struct qvl_vision_memory from; /* zeroed: all are encoded */
    bool is_open;
    struct qvl_arena patches; /* of those to encode, until they are embedded */
    struct qvl_vision *tower; /* NULL where none is to be encoded */
};

/* Of what a request's groups have in common. */
struct qvl_vision_settings {
    struct qvl_vision_memory memory;
    uint64_t salt; /* of the keys */
    const struct qvl_trace
        *trace; /* or NULL; with one nothing is remembered, so that all intermediates are there */
};

/* Group i_group, whose frames must be there until it is open. item->patch[begin..end) are filled in, those that are
 * to be encoded still without features. *out_want_read: some may lie in the folder. */
enum qvl_status qvl_vision_group_begin(struct qvl_vision_group *group, const struct qvl_vision_settings *settings,
                                       struct qvl_media_item *item, uint32_t i_group, bool *out_want_read,
                                       struct qvl_error *err);
/* Those that the folder has get their features. Ends early, with some, when *stop becomes true. */
void qvl_vision_group_read(const struct qvl_vision_group *group, const struct qvl_model *model,
                           const atomic_bool *stop);
/* Afterwards frames are not needed. *out_n_reused: of how many nothing is to be computed. */
enum qvl_status qvl_vision_group_open(struct qvl_vision_group *group, struct qvl_model *model,
                                      const struct qvl_trace *trace, uint32_t *out_n_reused, struct qvl_error *err);
/* One step of the tower (vision.h). After the last one all have features, the cache has them, too, and the group is
 * zeroed. */
enum qvl_status qvl_vision_group_step(struct qvl_vision_group *group, const atomic_bool *stop, uint32_t *done,
                                      uint32_t *total, struct qvl_error *err);
void qvl_vision_group_close(struct qvl_vision_group *group);

#endif
