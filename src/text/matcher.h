/* matcher.h: follows one answer through a grammar, and says before each token which ones may come.
 *
 * What is allowed, always: the text so far is the beginning of at least one text of the grammar, and of one that
 * can be ended from here. Since each byte alone is a token, there is always a next one or the text may end. */
#ifndef QVL_TEXT_MATCHER_H
#define QVL_TEXT_MATCHER_H

#include "text/grammar.h"
#include "text/token_trie.h"

struct qvl_matcher;

/* Both live longer. *out is the caller's to close. */
enum qvl_status qvl_matcher_open(const struct qvl_grammar *grammar, const struct qvl_token_trie *trie,
                                 struct qvl_matcher **out, struct qvl_error *err);
void qvl_matcher_close(struct qvl_matcher *matcher);

/* Back to the beginning; what was learned stays. */
enum qvl_status qvl_matcher_restart(struct qvl_matcher *matcher, struct qvl_error *err);

/* The tokens that may come next: bit id % 64 of allowed[id / 64], which has a bit for each of the tree's n_id. End
 * tokens are not among them: ask qvl_matcher_may_end. */
enum qvl_status qvl_matcher_mask(struct qvl_matcher *matcher, uint64_t *allowed, struct qvl_error *err);
/* The text may end here. */
bool qvl_matcher_may_end(const struct qvl_matcher *matcher);
/* It must: nothing can follow. */
bool qvl_matcher_is_over(const struct qvl_matcher *matcher);
/* These bytes (token_trie.h) came. QVL_ERR_INTERNAL: the grammar does not allow them; then the matcher is where it
 * was. */
enum qvl_status qvl_matcher_take(struct qvl_matcher *matcher, const char *bytes, size_t n, struct qvl_error *err);
/* The bytes that must come next, as far as there is but one way on; at most n_max. Returns how many. */
enum qvl_status qvl_matcher_forced(struct qvl_matcher *matcher, char *out, size_t n_max, size_t *out_n,
                                   struct qvl_error *err);

#endif
