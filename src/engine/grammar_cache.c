/* DESIGN. One lock, never held while something is compiled. An entry is put into the list before it is made, so
 * that who comes next finds it and waits. The list is in the order of use, the newest first; it is short (an entry
 * counts for 16 KiB at least), so that looking through it is nothing beside what a request costs. An entry lives
 * while it is in the list or held. */
#include "engine/grammar_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_BYTES = 16 << 10 };

struct qvl_held_grammar {
    struct qvl_grammar_key key;
    struct qvl_grammar *grammar; /* once it is made; NULL: refused */
    struct qvl_error refusal;
    bool is_made, is_listed;
    size_t n_holder, n_bytes; /* n_bytes: that it counts for in the list */
    struct qvl_held_grammar *newer, *older;
};

struct qvl_grammar_cache {
    pthread_mutex_t lock;
    pthread_cond_t made;
    struct qvl_held_grammar *newest, *oldest;
    size_t max_bytes;
    struct qvl_grammar_cache_stats stats;
};

enum qvl_status qvl_grammar_cache_open(size_t max_bytes, struct qvl_grammar_cache **out, struct qvl_error *err)
{
    struct qvl_grammar_cache *c = calloc(1, sizeof *c);
    if (!c)
        return qvl_fail_memory(err, sizeof *c, "the cache of constraints");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->made, NULL);
    c->max_bytes = max_bytes;
    *out = c;
    return QVL_OK;
}

/* ---- the list; under the lock --------------------------------------------------------------------- */

static void entry_free(struct qvl_held_grammar *e)
{
    qvl_grammar_free(e->grammar);
    free(e);
}

static void unlink_entry(struct qvl_grammar_cache *c, struct qvl_held_grammar *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
    e->newer = e->older = NULL;
}

static void link_newest(struct qvl_grammar_cache *c, struct qvl_held_grammar *e)
{
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void let_go(struct qvl_grammar_cache *c, struct qvl_held_grammar *e)
{
    unlink_entry(c, e);
    e->is_listed = false;
    c->stats.n--;
    c->stats.n_bytes -= e->n_bytes;
    if (e->n_holder == 0)
        entry_free(e);
}

static void trim(struct qvl_grammar_cache *c)
{
    while (c->stats.n_bytes > c->max_bytes)
        let_go(c, c->oldest);
}

static struct qvl_held_grammar *find(struct qvl_grammar_cache *c, const struct qvl_grammar_key *key)
{
    struct qvl_held_grammar *e = c->newest;
    while (e && memcmp(&e->key, key, sizeof *key) != 0)
        e = e->older;
    return e;
}

/* Not made yet. */
static struct qvl_held_grammar *add(struct qvl_grammar_cache *c, const struct qvl_grammar_key *key,
                                    struct qvl_error *err)
{
    struct qvl_held_grammar *e = calloc(1, sizeof *e);
    if (!e) {
        qvl_fail_memory(err, sizeof *e, "the cache of constraints");
        return NULL;
    }
    *e = (struct qvl_held_grammar){.key = *key, .is_listed = true, .n_bytes = LEAST_BYTES};
    link_newest(c, e);
    c->stats.n++;
    c->stats.n_bytes += e->n_bytes;
    return e;
}

/* What is made counts for what it takes, and want of memory is no property of a schema. */
static void settle(struct qvl_grammar_cache *c, struct qvl_held_grammar *e)
{
    size_t n_bytes = e->grammar ? qvl_grammar_bytes(e->grammar) : 0;
    e->is_made = true;
    pthread_cond_broadcast(&c->made);
    if (!e->is_listed)
        return;
    if (n_bytes > e->n_bytes) {
        c->stats.n_bytes += n_bytes - e->n_bytes;
        e->n_bytes = n_bytes;
    }
    if (e->refusal.status == QVL_ERR_MEMORY || n_bytes > c->max_bytes)
        let_go(c, e);
    trim(c);
}

/* ---- from outside --------------------------------------------------------------------------------- */

static void release(struct qvl_held_grammar *e)
{
    if (--e->n_holder == 0 && !e->is_listed)
        entry_free(e);
}

/* A known one, once it is made. */
static void await(struct qvl_grammar_cache *c, struct qvl_held_grammar *e)
{
    c->stats.n_hit++;
    unlink_entry(c, e);
    link_newest(c, e);
    while (!e->is_made)
        pthread_cond_wait(&c->made, &c->lock);
}

enum qvl_status qvl_grammar_cache_get(struct qvl_grammar_cache *c, const struct qvl_grammar_key *key,
                                      enum qvl_status (*compile)(const void *user, struct qvl_grammar **out,
                                                                 struct qvl_error *err),
                                      const void *user, struct qvl_held_grammar **out, struct qvl_error *err)
{
    pthread_mutex_lock(&c->lock);
    struct qvl_held_grammar *e = find(c, key);
    bool is_known = e != NULL;
    if (!e && !(e = add(c, key, err))) {
        pthread_mutex_unlock(&c->lock);
        return err->status;
    }
    e->n_holder++;
    if (is_known) {
        await(c, e);
    } else {
        struct qvl_grammar *grammar = NULL;
        struct qvl_error refusal = {0};
        pthread_mutex_unlock(&c->lock);
        refusal.status = compile(user, &grammar, &refusal);
        pthread_mutex_lock(&c->lock);
        e->grammar = grammar;
        e->refusal = refusal;
        c->stats.n_compiled++;
        settle(c, e);
    }
    enum qvl_status status = e->refusal.status;
    if (status) {
        *err = e->refusal;
        release(e);
    } else {
        *out = e;
    }
    pthread_mutex_unlock(&c->lock);
    return status;
}

const struct qvl_grammar *qvl_held_grammar(const struct qvl_held_grammar *held)
{
    return held->grammar;
}

void qvl_grammar_cache_release(struct qvl_grammar_cache *c, struct qvl_held_grammar *held)
{
    if (!held)
        return;
    pthread_mutex_lock(&c->lock);
    release(held);
    pthread_mutex_unlock(&c->lock);
}

void qvl_grammar_cache_get_stats(struct qvl_grammar_cache *c, struct qvl_grammar_cache_stats *out)
{
    pthread_mutex_lock(&c->lock);
    *out = c->stats;
    pthread_mutex_unlock(&c->lock);
}

void qvl_grammar_cache_close(struct qvl_grammar_cache *c)
{
    if (!c)
        return;
    while (c->newest)
        let_go(c, c->newest);
    pthread_cond_destroy(&c->made);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
