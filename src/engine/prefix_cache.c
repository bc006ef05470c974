/* A hash table of chains finds whole blocks by their names, a node's list of children those that begin alike; a
 * list in order of use forgets, as in feature_cache.c.
 *
 * In the list are the nodes that nobody holds. A held child holds its parent, so a node enters the list after its
 * children, and where a chain is used again it is made newest from its end to its beginning. Hence the oldest in
 * the list has no child, and parents of nodes never dangle.
 *
 * Blocks are given back outside the lock: unmapping one takes a millisecond. */
#include "engine/prefix_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/limits.h"

enum {
    N_CHAIN = 4096,
    LEAST_PART = 8 /* fewer positions are computed about as fast as a block is copied */
};

struct qvl_prefix_cache {
    pthread_mutex_t lock;
    size_t n_kept, max_kept;
    struct qvl_prefix_node *newest, *oldest;
    struct qvl_prefix_node *child; /* first blocks */
    struct qvl_prefix_node *chain[N_CHAIN];
};

enum qvl_status qvl_prefix_cache_open(size_t n_kept, struct qvl_prefix_cache **out, struct qvl_error *err)
{
    struct qvl_prefix_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return qvl_fail_memory(err, sizeof *cache, "the cache of prefixes");
    pthread_mutex_init(&cache->lock, NULL);
    cache->max_kept = n_kept < QVL_MAX_KEPT_BLOCKS ? n_kept : QVL_MAX_KEPT_BLOCKS;
    *out = cache;
    return QVL_OK;
}

void qvl_prefix_cache_close(struct qvl_prefix_cache *cache)
{
    if (!cache)
        return;
    qvl_prefix_cache_evict(cache, SIZE_MAX);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

/* ---- the tree (lock held) ------------------------------------------------------------------------ */

static bool is_same(const struct qvl_prefix_key *a, const struct qvl_prefix_key *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static const struct qvl_prefix_key *name_of(const struct qvl_prefix_node *node)
{
    return &node->key[node->n_pos - 1];
}

/* The link to the node of this name, or the chain's last one, which is NULL. */
static struct qvl_prefix_node **find_link(struct qvl_prefix_cache *cache, const struct qvl_prefix_key *name)
{
    struct qvl_prefix_node **link = &cache->chain[(name->sha256[0] | name->sha256[1] << 8) % N_CHAIN];
    while (*link && !is_same(name_of(*link), name))
        link = &(*link)->next;
    return link;
}

static struct qvl_prefix_node **children_of(struct qvl_prefix_cache *cache, struct qvl_prefix_node *parent)
{
    return parent ? &parent->child : &cache->child;
}

static void enter_order(struct qvl_prefix_cache *cache, struct qvl_prefix_node *node)
{
    node->newer = NULL;
    node->older = cache->newest;
    *(node->older ? &node->older->newer : &cache->oldest) = node;
    cache->newest = node;
    cache->n_kept++;
}

static void leave_order(struct qvl_prefix_cache *cache, struct qvl_prefix_node *node)
{
    *(node->newer ? &node->newer->older : &cache->newest) = node->older;
    *(node->older ? &node->older->newer : &cache->oldest) = node->newer;
    cache->n_kept--;
}

static void hold(struct qvl_prefix_cache *cache, struct qvl_prefix_node *node)
{
    for (; node && node->n_holder++ == 0; node = node->parent)
        leave_order(cache, node);
}

static void let_go(struct qvl_prefix_cache *cache, struct qvl_prefix_node *node)
{
    for (; node && --node->n_holder == 0; node = node->parent)
        enter_order(cache, node);
}

/* With n positions, 1 or more: their last key stands for all. */
static bool begins_with(const struct qvl_prefix_node *node, const struct qvl_prefix_key *key, size_t n)
{
    return node->n_pos >= n && is_same(&node->key[n - 1], &key[n - 1]);
}

/* How many of n positions a node begins with: keys that differ once differ from there on. */
static size_t n_common(const struct qvl_prefix_node *node, const struct qvl_prefix_key *key, size_t n)
{
    size_t n_same = 0, n_other = qvl_min_size(n, node->n_pos) + 1;
    while (n_other - n_same > 1) {
        size_t middle = (n_same + n_other) / 2;
        *(begins_with(node, key, middle) ? &n_same : &n_other) = middle;
    }
    return n_same;
}

static struct qvl_prefix_match find(struct qvl_prefix_cache *cache, const struct qvl_prefix_key *key, size_t n)
{
    struct qvl_prefix_match match = {.node = NULL};
    struct qvl_prefix_node *node;
    for (; n - match.n_pos >= QVL_KV_BLOCK && (node = *find_link(cache, &key[match.n_pos + QVL_KV_BLOCK - 1]));
         match.n_pos += QVL_KV_BLOCK)
        match.node = node;
    size_t n_left = n - match.n_pos;
    key += match.n_pos;
    match.n_part = LEAST_PART - 1;
    for (node = *children_of(cache, match.node); node; node = node->sibling)
        if (match.n_part < n_left && begins_with(node, key, match.n_part + 1)) {
            match.part = node;
            match.n_part = n_common(node, key, n_left);
        }
    match.n_part = match.part ? match.n_part : 0;
    match.n_pos += match.n_part;
    return match;
}

/* Becomes the newest. Its parent is to follow. */
static void touch(struct qvl_prefix_cache *cache, struct qvl_prefix_node *node)
{
    if (node->n_holder > 0)
        return;
    leave_order(cache, node);
    enter_order(cache, node);
}

static void enter_tree(struct qvl_prefix_cache *cache, struct qvl_prefix_node *node)
{
    struct qvl_prefix_node **first = children_of(cache, node->parent);
    *find_link(cache, name_of(node)) = node;
    node->sibling = *first;
    *first = node;
    qvl_kv_block_acquire(node->block);
}

/* Takes a node that nobody holds out, and puts it before `gone`. */
static struct qvl_prefix_node *drop(struct qvl_prefix_cache *cache, struct qvl_prefix_node *node,
                                    struct qvl_prefix_node *gone)
{
    struct qvl_prefix_node **link = children_of(cache, node->parent);
    while (*link != node)
        link = &(*link)->sibling;
    *link = node->sibling;
    *find_link(cache, name_of(node)) = node->next;
    leave_order(cache, node);
    node->next = gone;
    return node;
}

/* Has another node of the same parent all positions of this one? */
static bool is_covered(struct qvl_prefix_cache *cache, const struct qvl_prefix_node *node)
{
    for (struct qvl_prefix_node *s = *children_of(cache, node->parent); s; s = s->sibling)
        if (s != node && begins_with(s, node->key, node->n_pos))
            return true;
    return false;
}

/* Takes those out that are too many, and puts them before `gone`. */
static struct qvl_prefix_node *trim(struct qvl_prefix_cache *cache, struct qvl_prefix_node *gone)
{
    while (cache->n_kept > cache->max_kept)
        gone = drop(cache, cache->oldest, gone);
    return gone;
}

/* Takes those out that nobody needs beside this one. */
static struct qvl_prefix_node *drop_covered(struct qvl_prefix_cache *cache, const struct qvl_prefix_node *node)
{
    struct qvl_prefix_node *gone = NULL, *next;
    for (struct qvl_prefix_node *s = *children_of(cache, node->parent); s; s = next) {
        next = s->sibling;
        if (s != node && s->n_holder == 0 && s->n_pos < node->n_pos && begins_with(node, s->key, s->n_pos))
            gone = drop(cache, s, gone);
    }
    return gone;
}

static void free_nodes(struct qvl_prefix_node *node)
{
    while (node) {
        struct qvl_prefix_node *next = node->next;
        qvl_kv_block_release(node->block);
        free(node);
        node = next;
    }
}

/* ---- the outside --------------------------------------------------------------------------------- */

size_t qvl_prefix_cache_count(struct qvl_prefix_cache *cache, const struct qvl_prefix_key *key, size_t n)
{
    pthread_mutex_lock(&cache->lock);
    struct qvl_prefix_match match = find(cache, key, n);
    if (match.part)
        touch(cache, match.part);
    for (struct qvl_prefix_node *node = match.node; node && node->n_holder == 0; node = node->parent)
        touch(cache, node);
    pthread_mutex_unlock(&cache->lock);
    return match.n_pos;
}

struct qvl_prefix_match qvl_prefix_cache_hold(struct qvl_prefix_cache *cache, const struct qvl_prefix_key *key,
                                              size_t n)
{
    pthread_mutex_lock(&cache->lock);
    struct qvl_prefix_match match = find(cache, key, n);
    hold(cache, match.node);
    hold(cache, match.part);
    pthread_mutex_unlock(&cache->lock);
    return match;
}

/* Outside the lock: where it turns out not to be needed it goes again. NULL: memory ran out. */
static struct qvl_prefix_node *new_node(struct qvl_prefix_node *parent, const struct qvl_prefix_key *key,
                                        size_t n_pos, struct qvl_kv_block *block)
{
    struct qvl_prefix_node *node = calloc(1, sizeof *node + n_pos * sizeof *key);
    if (!node)
        return NULL;
    node->block = block;
    node->parent = parent;
    node->n_above = parent ? parent->n_above + 1 : 0;
    node->n_pos = n_pos;
    memcpy(node->key, key, n_pos * sizeof *key);
    return node;
}

struct qvl_prefix_node *qvl_prefix_cache_add(struct qvl_prefix_cache *cache, struct qvl_prefix_node *held,
                                             const struct qvl_prefix_key *key, struct qvl_kv_block *block)
{
    struct qvl_prefix_node *made = new_node(held, key, QVL_KV_BLOCK, block), *gone = NULL;
    if (!made)
        return NULL;
    pthread_mutex_lock(&cache->lock);
    struct qvl_prefix_node *node = *find_link(cache, name_of(made));
    if (node) {
        hold(cache, node);
        let_go(cache, held);
    } else {
        node = made; /* which takes the caller's hold on its parent over */
        node->n_holder = 1;
        enter_tree(cache, node);
        gone = drop_covered(cache, node);
        made = NULL;
    }
    pthread_mutex_unlock(&cache->lock);
    free(made);
    free_nodes(gone);
    return node;
}

void qvl_prefix_cache_keep(struct qvl_prefix_cache *cache, struct qvl_prefix_node *held,
                           const struct qvl_prefix_key *key, size_t n_pos, struct qvl_kv_block *block)
{
    struct qvl_prefix_node *made = n_pos >= LEAST_PART ? new_node(held, key, n_pos, block) : NULL, *gone = NULL;
    if (!made)
        return;
    pthread_mutex_lock(&cache->lock);
    if (!is_covered(cache, made)) {
        enter_tree(cache, made);
        enter_order(cache, made);
        gone = trim(cache, drop_covered(cache, made));
        made = NULL;
    }
    pthread_mutex_unlock(&cache->lock);
    free(made);
    free_nodes(gone);
}

void qvl_prefix_cache_release(struct qvl_prefix_cache *cache, struct qvl_prefix_node *held)
{
    if (!held)
        return;
    pthread_mutex_lock(&cache->lock);
    let_go(cache, held);
    struct qvl_prefix_node *gone = trim(cache, NULL);
    pthread_mutex_unlock(&cache->lock);
    free_nodes(gone);
}

size_t qvl_prefix_cache_evict(struct qvl_prefix_cache *cache, size_t n)
{
    struct qvl_prefix_node *gone = NULL;
    size_t n_free = 0;
    pthread_mutex_lock(&cache->lock);
    while (n_free < n && cache->oldest) {
        gone = drop(cache, cache->oldest, gone);
        n_free += !qvl_kv_block_is_shared(gone->block);
    }
    pthread_mutex_unlock(&cache->lock);
    free_nodes(gone);
    return n_free;
}

size_t qvl_prefix_cache_n_kept(struct qvl_prefix_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    size_t n = cache->n_kept;
    pthread_mutex_unlock(&cache->lock);
    return n;
}
