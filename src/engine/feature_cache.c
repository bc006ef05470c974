/* A hash table of chains finds, a list in order of use forgets; both run through the patches themselves, so that
 * adding one allocates nothing and cannot fail.
 *
 * A frame is hashed when it is resized, on its caller's thread, and a patch's key is the hash of its frames' keys:
 * the scheduler's thread reads no pixels for it. */
#include "engine/feature_cache.h"

#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

enum { N_CHAIN = 4096 };

struct qvl_feature_cache {
    size_t n, n_bytes, max_bytes;
    struct qvl_patch_features *newest, *oldest;
    struct qvl_patch_features *chain[N_CHAIN];
};

/* ---- keys ---------------------------------------------------------------------------------------- */

void qvl_feature_key_of_frame(const uint8_t *rgb8, size_t n_bytes, struct qvl_feature_key *out)
{
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, n_bytes, rgb8);
    sha256_digest(&sha, sizeof out->sha256, out->sha256);
}

void qvl_feature_key_of_patch(const struct qvl_feature_key *frame0, const struct qvl_feature_key *frame1,
                              struct qvl_grid grid, uint64_t salt, struct qvl_feature_key *out)
{
    const uint64_t number[] = {salt, grid.h, grid.w};
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, sizeof number, (const uint8_t *)number);
    sha256_update(&sha, sizeof frame0->sha256, frame0->sha256);
    sha256_update(&sha, sizeof frame1->sha256, frame1->sha256);
    sha256_digest(&sha, sizeof out->sha256, out->sha256);
}

bool qvl_feature_key_is(const struct qvl_feature_key *a, const struct qvl_feature_key *b)
{
    return memcmp(a->sha256, b->sha256, sizeof a->sha256) == 0;
}

/* ---- patches ------------------------------------------------------------------------------------- */

enum qvl_status qvl_patch_features_new(const struct qvl_feature_key *key, struct qvl_patch_features **out,
                                       struct qvl_error *err)
{
    struct qvl_patch_features *patch = calloc(1, sizeof *patch);
    if (!patch)
        return qvl_fail_memory(err, sizeof *patch, "the features of a picture");
    atomic_init(&patch->n_user, 1);
    patch->key = *key;
    *out = patch;
    return QVL_OK;
}

struct qvl_patch_features *qvl_patch_features_acquire(struct qvl_patch_features *patch)
{
    atomic_fetch_add(&patch->n_user, 1);
    return patch;
}

void qvl_patch_features_release(struct qvl_patch_features *patch)
{
    if (!patch || atomic_fetch_sub(&patch->n_user, 1) > 1)
        return;
    qvl_features_free(&patch->features);
    free(patch);
}

/* ---- the cache ----------------------------------------------------------------------------------- */

static size_t bytes_of(const struct qvl_patch_features *patch)
{
    return patch->features.arena.used_bytes + sizeof *patch;
}

static struct qvl_patch_features **chain_of(struct qvl_feature_cache *cache, const struct qvl_feature_key *key)
{
    return &cache->chain[(key->sha256[0] | key->sha256[1] << 8) % N_CHAIN];
}

/* The link to the patch of this key, or the chain's last one, which is NULL. */
static struct qvl_patch_features **find_link(struct qvl_feature_cache *cache, const struct qvl_feature_key *key)
{
    struct qvl_patch_features **link = chain_of(cache, key);
    while (*link && !qvl_feature_key_is(&(*link)->key, key))
        link = &(*link)->next;
    return link;
}

static void make_newest(struct qvl_feature_cache *cache, struct qvl_patch_features *patch)
{
    patch->newer = NULL;
    patch->older = cache->newest;
    *(patch->older ? &patch->older->newer : &cache->oldest) = patch;
    cache->newest = patch;
}

static void leave_order(struct qvl_feature_cache *cache, struct qvl_patch_features *patch)
{
    *(patch->newer ? &patch->newer->older : &cache->newest) = patch->older;
    *(patch->older ? &patch->older->newer : &cache->oldest) = patch->newer;
}

static void drop(struct qvl_feature_cache *cache, struct qvl_patch_features *patch)
{
    *find_link(cache, &patch->key) = patch->next;
    leave_order(cache, patch);
    cache->n--;
    cache->n_bytes -= bytes_of(patch);
    qvl_patch_features_release(patch);
}

enum qvl_status qvl_feature_cache_open(size_t max_bytes, struct qvl_feature_cache **out, struct qvl_error *err)
{
    struct qvl_feature_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return qvl_fail_memory(err, sizeof *cache, "the cache of picture features");
    cache->max_bytes = max_bytes;
    *out = cache;
    return QVL_OK;
}

void qvl_feature_cache_close(struct qvl_feature_cache *cache)
{
    while (cache && cache->oldest)
        drop(cache, cache->oldest);
    free(cache);
}

struct qvl_patch_features *qvl_feature_cache_find(struct qvl_feature_cache *cache,
                                                  const struct qvl_feature_key *key)
{
    struct qvl_patch_features *patch = *find_link(cache, key);
    if (!patch)
        return NULL;
    leave_order(cache, patch);
    make_newest(cache, patch);
    return qvl_patch_features_acquire(patch);
}

void qvl_feature_cache_add(struct qvl_feature_cache *cache, struct qvl_patch_features *patch)
{
    size_t n_bytes = bytes_of(patch);
    struct qvl_patch_features **link = find_link(cache, &patch->key);
    if (*link || n_bytes > cache->max_bytes)
        return;
    *link = qvl_patch_features_acquire(patch);
    patch->next = NULL;
    make_newest(cache, patch);
    cache->n++;
    cache->n_bytes += n_bytes;
    while (cache->n_bytes > cache->max_bytes || cache->n > QVL_MAX_CACHED_PATCHES)
        drop(cache, cache->oldest);
}

size_t qvl_feature_cache_bytes(const struct qvl_feature_cache *cache)
{
    return cache->n_bytes;
}
