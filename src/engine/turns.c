#include "engine/turns.h"

void qvl_turns_join(struct qvl_turns *turns, struct qvl_turn *turn, uint64_t client)
{
    struct qvl_client *place = NULL;
    for (size_t i = 0; i < QVL_MAX_REQUESTS && !(place && place->n_request > 0); i++) {
        struct qvl_client *at = &turns->client[i];
        if (at->n_request > 0 ? at->id == client : !place)
            place = at;
    }
    if (!place->n_request)
        *place = (struct qvl_client){.id = client};
    turn->client = place;
    turns->n++;
    for (size_t kind = 0; kind < QVL_TURN_KINDS; kind++) {
        turn->served[kind] = turns->n;
        if (!place->n_request)
            place->served[kind] = turns->n;
    }
    place->n_request++;
}

void qvl_turns_leave(struct qvl_turn *turn)
{
    turn->client->n_request--;
    turn->client = NULL;
}

bool qvl_turn_is_before(const struct qvl_turn *a, const struct qvl_turn *b, enum qvl_turn_kind kind)
{
    const struct qvl_client *ca = a->client, *cb = b->client;
    if (kind == QVL_TURN_BEGIN && ca->n_block != cb->n_block)
        return ca->n_block < cb->n_block;
    return ca != cb ? ca->served[kind] < cb->served[kind] : a->served[kind] < b->served[kind];
}

void qvl_turns_take(struct qvl_turns *turns, struct qvl_turn *turn, enum qvl_turn_kind kind)
{
    turn->served[kind] = turn->client->served[kind] = ++turns->n;
}
