/* A position's keys and values are decided by the ids up to it, the salt aside, and by what is seen there: where
 * each visual span begins, its grid, which part of which picture or clip it shows. That is what a session compares
 * (session.c), and what is hashed here, position after position, each with the key of the one before.
 *
 * Sampled ids go on where the prompt ends, as text: pads among them have no span. */
#include "engine/prefix.h"

#include <nettle/sha2.h>
#include <stdlib.h>

#include "base/checked.h"
#include "engine/engine.h"

/* ---- keys ---------------------------------------------------------------------------------------- */

static void add_number(struct sha256_ctx *sha, uint64_t x)
{
    sha256_update(sha, sizeof x, (const uint8_t *)&x);
}

static void add_sight(struct sha256_ctx *sha, const struct qvl_request *r, const struct qvl_span *span)
{
    const struct qvl_identity *identity = &r->feed.item[span->i_media].plan->identity;
    add_number(sha, span->begin);
    add_number(sha, span->rows);
    add_number(sha, span->columns);
    add_number(sha, span->i_feature);
    sha256_update(sha, sizeof identity->bytes, identity->bytes);
}

/* before: of the position before it, or NULL. span: the visual one that begins there, or NULL. */
static void make_key(const struct qvl_request *r, const struct qvl_prefix_key *before, uint32_t id,
                     const struct qvl_span *span, struct qvl_prefix_key *out)
{
    struct sha256_ctx sha;
    sha256_init(&sha);
    if (before)
        sha256_update(&sha, sizeof before->sha256, before->sha256);
    else
        add_number(&sha, r->options.cache_salt);
    sha256_update(&sha, sizeof id, (const uint8_t *)&id);
    if (span)
        add_sight(&sha, r, span);
    sha256_digest(&sha, sizeof out->sha256, out->sha256);
}

enum qvl_status qvl_prefix_init(struct qvl_request *r, struct qvl_error *err)
{
    struct qvl_prefix *prefix = &r->prefix;
    const struct qvl_prompt *p = &r->prompt;
    if (!r->engine->prefix_cache || r->options.trace.tensor)
        return QVL_OK;
    prefix->key = qvl_arena_alloc(&r->arena, p->ids.n, sizeof *prefix->key, "the keys of a prompt", err);
    if (!prefix->key)
        return QVL_ERR_MEMORY;
    for (size_t i = 0, i_span = 0; i < p->ids.n; i++) {
        while (i_span < p->n_span && (p->span[i_span].begin < i || !p->span[i_span].is_visual))
            i_span++;
        bool is_sight = i_span < p->n_span && p->span[i_span].begin == i;
        make_key(r, i ? &prefix->key[i - 1] : NULL, p->ids.id[i], is_sight ? &p->span[i_span] : NULL,
                 &prefix->key[i]);
    }
    prefix->n_key = p->ids.n;
    prefix->cache = r->engine->prefix_cache;
    return QVL_OK;
}

/* ---- taking -------------------------------------------------------------------------------------- */

/* Tokens that may be taken over: what must be computed is the prompt's last one, or all that expect one to be
 * scored. */
static size_t n_wanted(const struct qvl_request *r)
{
    return r->options.scoring.logits ? r->first_scored : r->prompt.ids.n - 1;
}

size_t qvl_prefix_count(const struct qvl_request *r)
{
    const struct qvl_prefix *prefix = &r->prefix;
    return prefix->cache ? qvl_prefix_cache_count(prefix->cache, prefix->key, n_wanted(r)) : 0;
}

size_t qvl_prefix_hold(struct qvl_request *r)
{
    struct qvl_prefix *prefix = &r->prefix;
    if (!prefix->cache)
        return 0;
    struct qvl_prefix_match match = qvl_prefix_cache_hold(prefix->cache, prefix->key, n_wanted(r));
    prefix->held = match.node;
    prefix->n_known = match.node ? match.node->n_above + 1 : 0;
    prefix->part = match.part;
    prefix->n_part = match.n_part;
    return match.n_pos;
}

size_t qvl_prefix_drop_part(struct qvl_request *r)
{
    struct qvl_prefix *prefix = &r->prefix;
    if (prefix->cache)
        qvl_prefix_cache_release(prefix->cache, prefix->part);
    prefix->part = NULL;
    prefix->n_part = 0;
    return prefix->n_known * QVL_KV_BLOCK;
}

enum qvl_status qvl_prefix_take(struct qvl_request *r, struct qvl_error *err)
{
    const struct qvl_prefix *prefix = &r->prefix;
    struct qvl_kv_block **block;
    block = calloc(prefix->n_known + 1, sizeof *block); /* pointers are meant: NOLINT(bugprone-sizeof-expression) */
    if (!block)
        return qvl_fail_memory(err, (prefix->n_known + 1) * sizeof(void *), "a request");
    for (const struct qvl_prefix_node *node = prefix->held; node; node = node->parent)
        block[node->n_above] = node->block;
    qvl_kv_free(&r->kv);
    qvl_request_init_kv(r);
    enum qvl_status status = qvl_kv_begin(&r->kv, block, prefix->n_known, err);
    if (!status && prefix->part)
        status = qvl_kv_begin_block(&r->kv, prefix->part->block, prefix->n_part, err);
    qvl_prefix_drop_part(r);
    free(block);
    return status;
}

/* ---- leaving ------------------------------------------------------------------------------------- */

/* Of the n positions that r->kv has behind the blocks that the cache knows. */
static void make_next_keys(const struct qvl_request *r, size_t n, struct qvl_prefix_key *out)
{
    const struct qvl_prefix *prefix = &r->prefix;
    size_t begin = prefix->n_known * QVL_KV_BLOCK, n_prompt = r->prompt.ids.n;
    const struct qvl_prefix_key *before = prefix->held ? &prefix->held->key[QVL_KV_BLOCK - 1] : NULL;
    for (size_t i = 0; i < n; before = &out[i++]) {
        if (begin + i < prefix->n_key)
            out[i] = prefix->key[begin + i];
        else
            make_key(r, before, r->answer.ids[begin + i - n_prompt], NULL, &out[i]);
    }
}

void qvl_prefix_leave(struct qvl_request *r)
{
    struct qvl_prefix *prefix = &r->prefix;
    struct qvl_prefix_key key[QVL_KV_BLOCK];
    while (prefix->cache && prefix->n_known < r->kv.n_pos / QVL_KV_BLOCK) {
        size_t i = prefix->n_known;
        make_next_keys(r, QVL_KV_BLOCK, key);
        struct qvl_prefix_node *node = qvl_prefix_cache_add(prefix->cache, prefix->held, key, r->kv.block[i]);
        if (!node) /* tried again with the next block */
            return;
        if (node->block != r->kv.block[i])
            qvl_kv_replace(&r->kv, i, node->block);
        prefix->held = node;
        prefix->n_known++;
    }
}

void qvl_prefix_leave_rest(struct qvl_request *r)
{
    const struct qvl_prefix *prefix = &r->prefix;
    struct qvl_prefix_key key[QVL_KV_BLOCK];
    size_t n = r->kv.n_pos % QVL_KV_BLOCK;
    if (!prefix->cache || n == 0 || prefix->n_known != r->kv.n_pos / QVL_KV_BLOCK)
        return;
    make_next_keys(r, n, key);
    qvl_prefix_cache_keep(prefix->cache, prefix->held, key, n, r->kv.block[prefix->n_known]);
}

void qvl_prefix_end(struct qvl_request *r)
{
    struct qvl_prefix *prefix = &r->prefix;
    qvl_prefix_drop_part(r);
    if (prefix->cache)
        qvl_prefix_cache_release(prefix->cache, prefix->held);
    prefix->held = NULL;
    prefix->n_known = 0;
}
