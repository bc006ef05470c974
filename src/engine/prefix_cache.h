/* prefix_cache.h: blocks of keys and values by what stands in them and before them, for requests that begin like an
 * earlier one. A tree of nodes: one for each block, under the node of the block before it.
 *
 * Each position of a prompt has a key: SHA-256 over the key of the position before it (of the first one: the salt),
 * its id, and what is seen from there on (prefix.h). So a key stands for everything that decides the numbers up to
 * its position, and no salt finds what another one left. A node has the keys of its block's positions; its last one
 * is its name. Most blocks are full; one that a request ended in has fewer positions, and never a child.
 *
 * A request holds the deepest node of its chain, and with it all above. Nodes that nobody holds are kept for later,
 * so many as the cache was opened for, and go in order of their use, the longest unused first. A node is let go
 * before its parent is, and used with it, so this order always begins with a leaf.
 *
 * From any thread: it has a lock of its own. */
#ifndef QVL_ENGINE_PREFIX_CACHE_H
#define QVL_ENGINE_PREFIX_CACHE_H

#include "model/kv_cache.h"

struct qvl_prefix_key {
    uint8_t sha256[32];
};

struct qvl_prefix_node {
    struct qvl_kv_block *block;     /* acquired; does not change */
    struct qvl_prefix_node *parent; /* or NULL */
    size_t n_above;                 /* how many blocks stand before it */
    /* the cache's, under its lock */
    size_t n_holder;                         /* requests that hold it, and children that are held */
    struct qvl_prefix_node *child, *sibling; /* the first one; the next one */
    struct qvl_prefix_node *newer, *older, *next;
    size_t n_pos;                /* 1 … QVL_KV_BLOCK */
    struct qvl_prefix_key key[]; /* [n_pos] */
};

/* What is known of a prompt's beginning. */
struct qvl_prefix_match {
    struct qvl_prefix_node *node; /* the deepest one that is known as a whole; or NULL */
    struct qvl_prefix_node *part; /* a child of it (node NULL: a first block) whose beginning comes next; or NULL */
    size_t n_part;                /* so many positions: 8 … QVL_KV_BLOCK - 1 */
    size_t n_pos;                 /* in all */
};

struct qvl_prefix_cache;

/* Keeps at most n_kept blocks that nobody holds. */
enum qvl_status qvl_prefix_cache_open(size_t n_kept, struct qvl_prefix_cache **out, struct qvl_error *err);
/* Nobody may hold a node. NULL is fine. */
void qvl_prefix_cache_close(struct qvl_prefix_cache *cache);

/* How many of n positions, from the first on, are known. They become the ones used last. */
size_t qvl_prefix_cache_count(struct qvl_prefix_cache *cache, const struct qvl_prefix_key *key, size_t n);
/* The same; node and part, where there are any, are held for the caller. */
struct qvl_prefix_match qvl_prefix_cache_hold(struct qvl_prefix_cache *cache, const struct qvl_prefix_key *key,
                                              size_t n);
/* The node of the full block that follows `held` (NULL: of a first block); key [QVL_KV_BLOCK]. The caller's hold
 * moves on to it. Where there is none yet it gets `block`; so afterwards node->block may be another one with the
 * same numbers. NULL: memory ran out, and the hold stays. */
struct qvl_prefix_node *qvl_prefix_cache_add(struct qvl_prefix_cache *cache, struct qvl_prefix_node *held,
                                             const struct qvl_prefix_key *key, struct qvl_kv_block *block);
/* Keeps a block that follows `held`, with fewer positions, key [n_pos], for later; not where memory runs out, or a
 * node has them all. */
void qvl_prefix_cache_keep(struct qvl_prefix_cache *cache, struct qvl_prefix_node *held,
                           const struct qvl_prefix_key *key, size_t n_pos, struct qvl_kv_block *block);
void qvl_prefix_cache_release(struct qvl_prefix_cache *cache, struct qvl_prefix_node *held); /* NULL is fine */

/* Lets nodes go that nobody holds until n blocks are free, or none is left; how many became free. */
size_t qvl_prefix_cache_evict(struct qvl_prefix_cache *cache, size_t n);
size_t qvl_prefix_cache_n_kept(struct qvl_prefix_cache *cache);

#endif
