/* One counter for each period, all brought up to date with each token: QVL_LOOP_MAX_PERIOD comparisons, which
 * is a constant and under a microsecond; nothing is searched. */
#include "engine/loop_guard.h"

enum {
    MIN_REPEATED = 200,  /* tokens; never fewer */
    MIN_ROWS = 48,       /* equal blocks: what a page of empty table rows may hold */
    MAX_ROW_TOKENS = 32, /* a block longer than this is no table row */
    MIN_COPIES = 3       /* of a block of any length, after the first */
};

uint32_t qvl_loop_limit(uint32_t period)
{
    uint32_t row = period < MAX_ROW_TOKENS ? period : MAX_ROW_TOKENS;
    uint32_t limit = row * MIN_ROWS;
    if (limit < MIN_REPEATED)
        limit = MIN_REPEATED;
    if (limit < period * MIN_COPIES)
        limit = period * MIN_COPIES;
    return limit;
}

bool qvl_loop_guard_push(struct qvl_loop_guard *guard, const uint32_t *ids, size_t n)
{
    size_t i = n - 1, n_period = i < QVL_LOOP_MAX_PERIOD ? i : QVL_LOOP_MAX_PERIOD;
    bool is_loop = false;
    for (uint32_t period = 1; period <= n_period; period++) {
        uint32_t *n_repeated = &guard->n_repeated[period];
        *n_repeated = ids[i] == ids[i - period] ? *n_repeated + 1 : 0;
        if (*n_repeated >= MIN_REPEATED && *n_repeated >= qvl_loop_limit(period))
            is_loop = true;
    }
    return is_loop;
}
