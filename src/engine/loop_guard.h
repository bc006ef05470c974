/* loop_guard.h: notices output that repeats one block of tokens without end.
 *
 * A repeated token is one that equals the token `period` places before it. The output is a loop when for some
 * period up to QVL_LOOP_MAX_PERIOD the last qvl_loop_limit(period) tokens are all repeated. The limit is at
 * least 200 tokens, and high enough for real tables: their rows differ, and where they do not (an empty form,
 * a column of zeros) 48 equal rows of up to 32 tokens still pass. */
#ifndef QVL_ENGINE_LOOP_GUARD_H
#define QVL_ENGINE_LOOP_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QVL_LOOP_MAX_PERIOD 1024

/* A zeroed struct is ready. */
struct qvl_loop_guard {
    uint32_t n_repeated[QVL_LOOP_MAX_PERIOD + 1]; /* for each period: repeated tokens at the end of the output */
};

/* Repeated tokens that make a loop of blocks of `period` tokens. */
uint32_t qvl_loop_limit(uint32_t period);
/* Call once for each token, ids[n-1] being the new one. True when the output ends in a loop. */
bool qvl_loop_guard_push(struct qvl_loop_guard *guard, const uint32_t *ids, size_t n);

#endif
