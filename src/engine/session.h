/* session.h: what the requests of one conversation leave to each other.
 *
 * A session holds the KV cache of the last request with the token ids it stands for, where the features of each of
 * its pictures and temporal patches came from (their identity), and the plans of what was measured. A request finds
 * out what its prompt has in common with the cache when the prompt is made, takes the cache when it is submitted,
 * and gives it back when it is closed, however it ended. A request that fails before it is submitted leaves the
 * cache as it was.
 *
 * All of it happens on the callers' threads, except that an idle session, one that has no request, may lose its
 * cache where others need the room. The engine's lock guards that, and `request`. */
#ifndef QVL_ENGINE_SESSION_H
#define QVL_ENGINE_SESSION_H

#include "engine/engine.h"

struct qvl_session {
    struct qvl_engine *engine;
    struct qvl_session *next;    /* of the engine's, used longer ago; under the engine's lock */
    struct qvl_request *request; /* that uses it now, or NULL; the same */
    struct qvl_kv kv;            /* empty while a request has it */
    struct qvl_ids ids;          /* [kv.n_pos] */
    /* the visual spans inside ids, in order; the last one may reach beyond */
    struct qvl_session_span {
        struct qvl_span span;
        struct qvl_identity identity;
    } * span; /* [n_span] */
    size_t n_span;
    struct qvl_media_plan **plan; /* [n_plan] of the last request's media */
    size_t n_plan;
};

/* For qvl_request_open. QVL_ERR_ARGUMENT: a session of another engine, or one that has a request already. */
enum qvl_status qvl_session_enter(struct qvl_session *session, struct qvl_request *r, struct qvl_error *err);
/* A plan measured by an earlier request of the session, or NULL. The caller acquires it. */
struct qvl_media_plan *qvl_session_find_plan(const struct qvl_session *session,
                                             const struct qvl_identity *identity);
/* How many positions of r's prompt the cache holds: as far as ids and pictures agree, but never all of them, since
 * the last token's logits must be computed. */
size_t qvl_session_count_shared(const struct qvl_session *session, const struct qvl_request *r);
/* On submission: moves the cache into r->kv and cuts it to the first n_keep positions. */
void qvl_session_take(struct qvl_session *session, struct qvl_request *r, size_t n_keep);
/* For qvl_request_close, when the scheduler has done with r, whose prompt it uses up: the cache, if r took it, with
 * the ids it stands for, and the plans come back. Memory that cannot be had for that only costs the next request
 * time. */
void qvl_session_leave(struct qvl_session *session, struct qvl_request *r);

/* Blocks of keys and values that idle sessions hold. Lock held. */
size_t qvl_session_n_idle_block(const struct qvl_engine *engine);
/* The idle session that was used longest ago loses its cache; false where none has one. Lock held. */
bool qvl_session_drop_idle(struct qvl_engine *engine);

#endif
