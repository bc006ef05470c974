/* Room is counted in blocks. A request that has begun may use as many as its prompt and its longest answer need;
 * what it has not taken yet is promised to it. Blocks are counted once, however many requests share them. So
 *
 *     blocks that there are  +  blocks promised  <=  engine->n_kv_max
 *
 * always holds, and a request begins when the blocks that it brings neither from its session nor from the prefix
 * cache fit in. Before it is left to wait, kept prefixes go, then caches of sessions that have no request.
 *
 * Order. It is the turn of the client that has least room, among equals of the one that has waited longest; inside
 * a client they begin as they came. Where there is no room for the first in order, smaller ones may begin before
 * it, but not more than MAX_PASSED: then the door stays shut until there is. So nobody waits longer than for those
 * who run, and a large request costs the others little. */
#include "engine/admission.h"

#include "base/checked.h"
#include "engine/session.h"

enum { MAX_PASSED = 8 };

enum qvl_status qvl_admission_init(struct qvl_engine *e, size_t kv_bytes, size_t prefix_cache_bytes,
                                   struct qvl_error *err)
{
    e->kv_block_bytes = qvl_kv_block_bytes(&e->config.text, qvl_model_kv_dtype(e->compute, e->kv));
    e->n_kv_max = kv_bytes / e->kv_block_bytes;
    if (kv_bytes && !e->n_kv_max)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%zu bytes for keys and values: the model needs %zu for %u tokens",
                        kv_bytes, e->kv_block_bytes, (unsigned)QVL_KV_BLOCK);
    size_t n_kept = prefix_cache_bytes / e->kv_block_bytes;
    qvl_prefix_cache_close(e->prefix_cache);
    e->prefix_cache = NULL;
    return n_kept ? qvl_prefix_cache_open(n_kept, &e->prefix_cache, err) : QVL_OK;
}

size_t qvl_admission_n_pos(const struct qvl_engine *e)
{
    return e->n_kv_max ? qvl_min_size(e->n_ctx, e->n_kv_max * QVL_KV_BLOCK) : e->n_ctx;
}

/* ---- room ---------------------------------------------------------------------------------------- */

static bool is_waiting(const struct qvl_request *r)
{
    return !r->is_begun && !r->is_ended && !atomic_load_explicit(&r->is_cancelled, memory_order_relaxed);
}

/* Blocks that are neither there nor promised. */
static size_t n_free(const struct qvl_engine *e, struct qvl_request *const *request, size_t n)
{
    size_t n_used = atomic_load(&e->n_kv_block);
    for (size_t i = 0; i < n; i++)
        if (request[i]->n_reserved > request[i]->kv.n_block)
            n_used += request[i]->n_reserved - request[i]->kv.n_block;
    return e->n_kv_max > n_used ? e->n_kv_max - n_used : 0;
}

/* Whether so many blocks are free, or have become so. */
static bool make_room(struct qvl_engine *e, struct qvl_request *const *request, size_t n, size_t n_new)
{
    size_t n_have = n_free(e, request, n);
    size_t n_kept = e->prefix_cache ? qvl_prefix_cache_n_kept(e->prefix_cache) : 0;
    if (n_have + n_kept + qvl_session_n_idle_block(e) < n_new)
        return false;
    if (n_have < n_new && n_kept)
        qvl_prefix_cache_evict(e->prefix_cache, n_new - n_have);
    while ((n_have = n_free(e, request, n)) < n_new && qvl_session_drop_idle(e))
        continue;
    return n_have >= n_new;
}

/* ---- beginning ----------------------------------------------------------------------------------- */

/* Where the prompt is computed from; frames are decoded from there. What was prepared for another place is prepared
 * anew by the caller. */
static void set_cached(struct qvl_request *r, size_t n_cached)
{
    struct qvl_engine_stats *stats = &r->engine->stats;
    r->is_feed_astray = n_cached != r->n_cached && r->feed.n_info > 0;
    r->n_cached = r->n_prefilled = n_cached;
    stats->n_prompt_tok += n_cached;
    if (r->prefix.cache) {
        stats->n_prefix_asked_tok += r->prompt.ids.n;
        stats->n_prefix_found_tok += n_cached;
    }
}

/* For its prompt and its longest answer. */
static size_t n_block_of(const struct qvl_request *r)
{
    return qvl_div_up(r->prompt.ids.n + r->max_tokens, QVL_KV_BLOCK);
}

/* Holds what is known of its beginning, where that is more than its session left it; how many tokens that is, else
 * 0. A part that is to be copied, and what the session left, take room until then: where there is none, the request
 * does without the part, and at last without anything that is not its session's. */
static bool find_room(struct qvl_engine *e, struct qvl_request *const *request, size_t n, struct qvl_request *r,
                      size_t *out_n_found)
{
    size_t n_total = n_block_of(r), n_found = qvl_prefix_hold(r);
    for (;;) {
        bool has_found = n_found > r->kv.n_pos;
        size_t n_own = has_found ? n_found / QVL_KV_BLOCK : r->kv.n_block;
        if (!has_found)
            qvl_prefix_end(r);
        *out_n_found = has_found ? n_found : 0;
        if (!e->n_kv_max || n_total <= n_own || make_room(e, request, n, n_total - n_own))
            return true;
        if (!has_found)
            return false;
        n_found = r->prefix.part ? qvl_prefix_drop_part(r) : 0;
    }
}

static bool try_begin(struct qvl_engine *e, struct qvl_request *const *request, size_t n, struct qvl_request *r)
{
    size_t n_found;
    if (!find_room(e, request, n, r, &n_found))
        return false;
    r->is_begun = true;
    if (n_found && qvl_prefix_take(r, &r->error)) {
        r->is_ended = true;
        pthread_cond_broadcast(&r->changed);
        return true;
    }
    r->n_reserved = n_block_of(r);
    r->turn.client->n_block += r->n_reserved;
    qvl_turns_take(&e->turns, &r->turn, QVL_TURN_BEGIN);
    set_cached(r, r->kv.n_pos);
    pthread_cond_broadcast(&r->changed);
    return true;
}

/* The first in order of those that wait and come after `last` (NULL: of all). */
static struct qvl_request *find_next(struct qvl_request *const *request, size_t n, const struct qvl_request *last)
{
    struct qvl_request *next = NULL;
    for (size_t i = 0; i < n; i++) {
        struct qvl_request *r = request[i];
        bool is_behind = !last || (r != last && qvl_turn_is_before(&last->turn, &r->turn, QVL_TURN_BEGIN));
        if (is_behind && is_waiting(r) && (!next || qvl_turn_is_before(&r->turn, &next->turn, QVL_TURN_BEGIN)))
            next = r;
    }
    return next;
}

/* The one at the door, if it still waits; else the first in order. */
static struct qvl_request *find_first(struct qvl_admission *a, struct qvl_request *const *request, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (request[i]->turn.served[QVL_TURN_BEGIN] == a->first && is_waiting(request[i]))
            return request[i];
    *a = (struct qvl_admission){0};
    return find_next(request, n, NULL);
}

void qvl_admission_run(struct qvl_admission *a, struct qvl_engine *e, struct qvl_request *const *request, size_t n)
{
    struct qvl_request *first, *r;
    while ((first = find_first(a, request, n)) && try_begin(e, request, n, first))
        *a = (struct qvl_admission){0};
    if (!first)
        return;
    a->first = first->turn.served[QVL_TURN_BEGIN];
    for (r = find_next(request, n, NULL); r && a->n_passed < MAX_PASSED;) {
        bool is_begun = r != first && try_begin(e, request, n, r);
        a->n_passed += is_begun;
        r = find_next(request, n, is_begun ? NULL : r);
    }
}

void qvl_admission_end(struct qvl_request *r)
{
    if (r->turn.client)
        r->turn.client->n_block -= r->n_reserved;
    r->n_reserved = 0;
}
