/* prefix.h: what a request has to do with the prefix cache: its prompt's keys, the blocks it takes over, the blocks
 * that it leaves to others while they fill. */
#ifndef QVL_ENGINE_PREFIX_H
#define QVL_ENGINE_PREFIX_H

#include "engine/prefix_cache.h"

struct qvl_request;

/* Zeroed: the request neither takes nor leaves anything. */
struct qvl_prefix {
    struct qvl_prefix_cache *cache;
    struct qvl_prefix_key *key; /* [n_key] of the prompt's positions; in the request's arena */
    size_t n_key;
    struct qvl_prefix_node *held; /* of the last block that the cache has */
    size_t n_known;               /* blocks up to that one */
    struct qvl_prefix_node *part; /* held until its first n_part positions are copied; or NULL */
    size_t n_part;
};

/* When the prompt is made. With an engine that has no prefix cache, or a trace (all intermediates are wanted),
 * nothing happens. */
enum qvl_status qvl_prefix_init(struct qvl_request *r, struct qvl_error *err);
/* How many prompt tokens the cache has now; never all of them. */
size_t qvl_prefix_count(const struct qvl_request *r);
/* The same, held: r->prefix.held, n_known, part and n_part. */
size_t qvl_prefix_hold(struct qvl_request *r);
/* Does without the part; how many tokens are left. */
size_t qvl_prefix_drop_part(struct qvl_request *r);
/* The blocks that are held become the beginning of r->kv, in place of what it is, and a copy of the part what comes
 * next. */
enum qvl_status qvl_prefix_take(struct qvl_request *r, struct qvl_error *err);
/* Blocks of r->kv that have become full are given to the cache. Those that another request was faster with are
 * replaced by that one's, with the same numbers. */
void qvl_prefix_leave(struct qvl_request *r);
/* The block that r->kv ends in, too, where nothing will come behind: r->kv is not used again. */
void qvl_prefix_leave_rest(struct qvl_request *r);
/* Lets go. The blocks stay in the cache as long as there is room for them. */
void qvl_prefix_end(struct qvl_request *r);

#endif
