/* feature_cache.h: what the vision tower made of a temporal patch, kept for the next one with the same pixels.
 *
 * A patch is known by its key: SHA-256 over the resized pixels of its two frames, the grid and the salt of the
 * request. Nothing else decides the features: attention never leaves a temporal patch, and an element's value does
 * not depend on what is computed with it (ARCHITECTURE.md, "The same bits"). So features from here are those that
 * the tower would make, to the bit. A picture's one frame stands for both of its patch: it shares with a clip whose
 * two frames are equal to it, and rightly, since the tower is given the same numbers for either.
 *
 * Threads: the cache belongs to the scheduler's; only qvl_patch_features_release may come from any. Keys are made
 * on the callers' threads. */
#ifndef QVL_ENGINE_FEATURE_CACHE_H
#define QVL_ENGINE_FEATURE_CACHE_H

#include <stdatomic.h>

#include "model/vision.h"

struct qvl_feature_key {
    uint8_t sha256[32];
};

/* Of a resized frame [h][w][3]. */
void qvl_feature_key_of_frame(const uint8_t *rgb8, size_t n_bytes, struct qvl_feature_key *out);
/* Of the temporal patch of these two frames; grid.t is not asked. Another salt: another key. */
void qvl_feature_key_of_patch(const struct qvl_feature_key *frame0, const struct qvl_feature_key *frame1,
                              struct qvl_grid grid, uint64_t salt, struct qvl_feature_key *out);
bool qvl_feature_key_is(const struct qvl_feature_key *a, const struct qvl_feature_key *b);

/* Features of one temporal patch. Counted: requests that need it and the cache hold it together, so what the cache
 * lets go stays for those that use it. Does not change once it has features. */
struct qvl_patch_features {
    atomic_uint n_user;
    struct qvl_features features; /* row NULL until they are made */
    struct qvl_feature_key key;   /* zero where no cache is asked */
    struct qvl_patch_features *newer, *older, *next; /* the cache's */
};

/* Without features, with one user. */
enum qvl_status qvl_patch_features_new(const struct qvl_feature_key *key, struct qvl_patch_features **out,
                                       struct qvl_error *err);
struct qvl_patch_features *qvl_patch_features_acquire(struct qvl_patch_features *patch);
void qvl_patch_features_release(struct qvl_patch_features *patch); /* NULL is fine */

struct qvl_feature_cache;
/* Holds at most max_bytes of features. */
enum qvl_status qvl_feature_cache_open(size_t max_bytes, struct qvl_feature_cache **out, struct qvl_error *err);
void qvl_feature_cache_close(struct qvl_feature_cache *cache);
/* The patch of this key with its features, acquired, or NULL. It becomes the one used last. */
struct qvl_patch_features *qvl_feature_cache_find(struct qvl_feature_cache *cache,
                                                  const struct qvl_feature_key *key);
/* Acquires a patch that has features, and lets those go that were not used for longest until it fits. One that
 * cannot fit, or whose key is there already: nothing happens. */
void qvl_feature_cache_add(struct qvl_feature_cache *cache, struct qvl_patch_features *patch);
size_t qvl_feature_cache_bytes(const struct qvl_feature_cache *cache);

#endif
