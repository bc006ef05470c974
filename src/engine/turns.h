/* turns.h: whose turn it is. Turns are shared out equally among clients, and a client's among its requests: next
 * comes the client that was served longest ago, and of its requests the one that was served longest ago.
 *
 * Who is new has waited for nobody yet and goes to the end of the round, so that coming again and again gains
 * nothing. Not locked: the engine's lock protects it. No clock is asked, so an order can be tested. */
#ifndef QVL_ENGINE_TURNS_H
#define QVL_ENGINE_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

/* What there are turns of: each kind has its own. */
enum qvl_turn_kind { QVL_TURN_BEGIN, QVL_TURN_UNIT, QVL_TURN_DECODE, QVL_TURN_KINDS };

struct qvl_client {
    uint64_t id;
    size_t n_request; /* 0: the place is free */
    uint64_t served[QVL_TURN_KINDS];
    size_t n_block; /* of keys and values that its requests may use */
};

/* A request's. */
struct qvl_turn {
    struct qvl_client *client;
    uint64_t served[QVL_TURN_KINDS];
};

struct qvl_turns {
    uint64_t n; /* turns so far */
    struct qvl_client client[QVL_MAX_REQUESTS];
};

/* For at most QVL_MAX_REQUESTS at a time. */
void qvl_turns_join(struct qvl_turns *turns, struct qvl_turn *turn, uint64_t client);
void qvl_turns_leave(struct qvl_turn *turn);
/* Whether a comes before b. Room goes to the client that has least of it. */
bool qvl_turn_is_before(const struct qvl_turn *a, const struct qvl_turn *b, enum qvl_turn_kind kind);
/* It had its turn. */
void qvl_turns_take(struct qvl_turns *turns, struct qvl_turn *turn, enum qvl_turn_kind kind);

#endif
