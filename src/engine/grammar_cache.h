/* grammar_cache.h: grammars by what they were compiled from, so that the same schema in each request is compiled
 * once.
 *
 * Counted: the cache and the matchers of requests hold a grammar together, so what the cache lets go stays for
 * those that use it. Who asks for one that another thread is compiling waits for it. A refusal is kept like a
 * grammar. From any thread. */
#ifndef QVL_ENGINE_GRAMMAR_CACHE_H
#define QVL_ENGINE_GRAMMAR_CACHE_H

#include "text/grammar.h"

struct qvl_grammar_key {
    uint8_t sha256[32]; /* over everything that decides what is compiled */
};

struct qvl_grammar_cache;
/* Keeps at most max_bytes of grammars; what was not used for longest goes first. */
enum qvl_status qvl_grammar_cache_open(size_t max_bytes, struct qvl_grammar_cache **out, struct qvl_error *err);
/* Nothing of it is held any more. */
void qvl_grammar_cache_close(struct qvl_grammar_cache *cache);

/* A grammar, held. */
struct qvl_held_grammar;
/* The grammar of this key, by compile(user) where it is new. Its failures are this function's. */
enum qvl_status qvl_grammar_cache_get(struct qvl_grammar_cache *cache, const struct qvl_grammar_key *key,
                                      enum qvl_status (*compile)(const void *user, struct qvl_grammar **out,
                                                                 struct qvl_error *err),
                                      const void *user, struct qvl_held_grammar **out, struct qvl_error *err);
const struct qvl_grammar *qvl_held_grammar(const struct qvl_held_grammar *held);
void qvl_grammar_cache_release(struct qvl_grammar_cache *cache, struct qvl_held_grammar *held); /* NULL is fine */

struct qvl_grammar_cache_stats {
    size_t n, n_bytes; /* kept now */
    uint64_t n_compiled, n_hit;
};
void qvl_grammar_cache_get_stats(struct qvl_grammar_cache *cache, struct qvl_grammar_cache_stats *out);

#endif
