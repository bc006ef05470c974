/* Worth. The k-th token of a draft saves a step when it and those before it are right: by the hit rate h with
 * probability h^k. Its row costs ROW_COST of a step. So a draft is as long as h^k >= ROW_COST, and where even its
 * first token fails that, nothing is drafted.
 *
 * Guesses are compared with what comes whether they were computed or not. So drafts begin again, without a trial
 * that costs anything, when the text begins to repeat. No clock is asked: the same request does the same. */
#include "engine/lookup.h"

enum { MAX_SUFFIX = 3 };

/* Of a step with one row. Measured: 0.05 to 0.1 where weights come from memory (2B, bf16), up to 0.2 where they
 * come from a cache. */
#define ROW_COST 0.25f
#define FIRST_RATE 0.5f /* two tokens at the beginning, none after 6 misses */
#define LEARNING_RATE 0.125f

static uint32_t token_at(const struct qvl_lookup_text *text, size_t i)
{
    return i < text->n_prompt ? text->prompt[i] : text->output[i - text->n_prompt];
}

/* How many tokens before place `end` equal the last ones of the text [n]. */
static size_t count_equal(const struct qvl_lookup_text *text, size_t n, size_t end)
{
    size_t len = 0;
    while (len < MAX_SUFFIX && len < end && token_at(text, end - 1 - len) == token_at(text, n - 1 - len))
        len++;
    return len;
}

size_t qvl_lookup_draft(const struct qvl_lookup_text *text, uint32_t draft[QVL_LOOKUP_MAX])
{
    size_t n = text->n_prompt + text->n_output, begin = 0, best = 0;
    for (size_t end = n - 1; end > 0 && best < MAX_SUFFIX; end--) {
        size_t len = count_equal(text, n, end);
        if (len > best) {
            best = len;
            begin = end;
        }
    }
    if (best == 0)
        return 0;
    for (size_t i = 0; i < QVL_LOOKUP_MAX; i++) /* past the text's end the draft repeats itself */
        draft[i] = begin + i < n ? token_at(text, begin + i) : draft[begin + i - n];
    return QVL_LOOKUP_MAX;
}

void qvl_lookup_init(struct qvl_lookup *lookup)
{
    *lookup = (struct qvl_lookup){.hit_rate = FIRST_RATE};
}

size_t qvl_lookup_worth(const struct qvl_lookup *lookup, size_t n_max)
{
    size_t n = 0;
    for (float p = lookup->hit_rate; n < n_max && p >= ROW_COST; p *= lookup->hit_rate)
        n++;
    return n;
}

void qvl_lookup_learn(struct qvl_lookup *lookup, bool is_hit)
{
    lookup->hit_rate += LEARNING_RATE * ((is_hit ? 1.0f : 0.0f) - lookup->hit_rate);
}
