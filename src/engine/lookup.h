/* lookup.h: guesses how an answer goes on from what its prompt and itself say already ("prompt lookup"), and how
 * much of a guess is worth computing. Pure functions over ids.
 *
 * A decode step reads all weights whatever it computes, so the scheduler lets it check a guess: the draft's tokens
 * ride along as further rows, and as far as the sampler then chooses the same tokens, their steps are saved. A
 * guess decides only what is computed, never what comes out. */
#ifndef QVL_ENGINE_LOOKUP_H
#define QVL_ENGINE_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tokens of a draft. With the token that it follows they make two tiles of 3 in the matrix products. */
enum { QVL_LOOKUP_MAX = 5 };

struct qvl_lookup_text {
    const uint32_t *prompt, *output;
    size_t n_prompt, n_output; /* together >= 1 */
};

/* What followed the last earlier occurrence of the text's last 3 tokens; where there is none, of its last 2, or of
 * its last one. Returns QVL_LOOKUP_MAX, or 0 when the last token is new. */
size_t qvl_lookup_draft(const struct qvl_lookup_text *text, uint32_t draft[QVL_LOOKUP_MAX]);

/* How often guesses are right, of one request. */
struct qvl_lookup {
    float hit_rate; /* moving average over guessed tokens */
};
void qvl_lookup_init(struct qvl_lookup *lookup);
/* Tokens of a draft that are worth a row each, at most n_max; none where guesses keep failing. */
size_t qvl_lookup_worth(const struct qvl_lookup *lookup, size_t n_max);
/* A token came for which there was a guess, computed or not. */
void qvl_lookup_learn(struct qvl_lookup *lookup, bool is_hit);

#endif
