/* session.h: what the requests of one conversation leave to each other.
 *
 * A session holds the KV cache of the last request with the token ids it stands for, where the features of each of
 * its pictures and temporal patches came from (their identity), and the plans of the clips measured. When a request
 * is submitted it takes the cache and keeps the positions that its own prompt has in common with it; when it is
 * closed, however it ended, it gives the cache back. */
#ifndef QVL_ENGINE_SESSION_H
#define QVL_ENGINE_SESSION_H

#include "engine/engine.h"

struct qvl_session {
    struct qvl_engine *engine;
    struct qvl_request *request; /* that uses it now, or NULL */
    struct qvl_kv kv;            /* empty while a request has it */
    struct qvl_ids ids;          /* [kv.n_pos] */
    /* the visual spans inside ids, in order */
    struct qvl_session_span {
        struct qvl_span span;
        struct qvl_identity identity;
    } *span; /* [n_span] */
    size_t n_span, n_span_alloc;
    struct qvl_media_plan **plan; /* [n_plan] of the last request's media */
    size_t n_plan;
};

/* A plan measured by an earlier request of the session, or NULL. The caller acquires it (feed.h). */
struct qvl_media_plan *qvl_session_find_plan(const struct qvl_session *session,
                                             const struct qvl_identity *identity);
/* Before the request's first step: moves the cache into r->kv and cuts it to what the prompt shares with it (at
 * least one prompt token is left to compute). Returns the number of positions kept. */
size_t qvl_session_take(struct qvl_session *session, struct qvl_request *r);
/* When the request is over, or closed: the cache, with the ids it stands for, and the plans come back. Memory that
 * cannot be had for that only costs the next request time. */
void qvl_session_give_back(struct qvl_session *session, struct qvl_request *r);

#endif
