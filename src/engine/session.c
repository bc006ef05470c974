/* Keys and values of a position depend on the token ids and features up to there and on nothing else: positions of
 * the three axes come from the spans, features from the picture and its options, and no kernel's result depends on
 * how the rows were cut into chunks (kernel.h). So a prefix with equal ids, equal spans and equal identities has
 * equal keys and values, and what is computed after it has the bits of a request that computed all.
 *
 * The sampled ids continue the prompt's as text, pads among them, too: the model may choose one, and its place then
 * has no span. The last id sampled is not in the cache, unless its step was the last thing that happened. */
#include "engine/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* ---- open, close --------------------------------------------------------------------------------- */

enum qvl_status qvl_session_open(struct qvl_engine *engine, struct qvl_session **out, struct qvl_error *err)
{
    struct qvl_session *session = calloc(1, sizeof *session);
    if (!session)
        return qvl_fail_memory(err, sizeof *session, "a session");
    session->engine = engine;
    pthread_mutex_lock(&engine->lock);
    session->next = engine->session;
    engine->session = session;
    pthread_mutex_unlock(&engine->lock);
    *out = session;
    return QVL_OK;
}

/* Out of the engine's list. Lock held. */
static void leave_list(struct qvl_session *session)
{
    struct qvl_session **link = &session->engine->session;
    while (*link != session)
        link = &(*link)->next;
    *link = session->next;
}

static void drop_cache(struct qvl_session *session)
{
    qvl_kv_free(&session->kv);
    qvl_ids_free(&session->ids);
    free(session->span);
    session->span = NULL;
    session->n_span = 0;
}

static void drop_plans(struct qvl_session *session)
{
    for (size_t i = 0; i < session->n_plan; i++)
        qvl_media_plan_release(session->plan[i]);
    free(session->plan);
    session->plan = NULL;
    session->n_plan = 0;
}

void qvl_session_close(struct qvl_session *session)
{
    if (!session)
        return;
    pthread_mutex_lock(&session->engine->lock);
    leave_list(session);
    pthread_mutex_unlock(&session->engine->lock);
    drop_cache(session);
    drop_plans(session);
    free(session);
}

enum qvl_status qvl_session_enter(struct qvl_session *session, struct qvl_request *r, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (session->engine != r->engine)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the session belongs to another engine");
    pthread_mutex_lock(&session->engine->lock);
    if (session->request) {
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "the session has an open request already; close it first");
    } else {
        session->request = r;
        r->session = session;
    }
    pthread_mutex_unlock(&session->engine->lock);
    return status;
}

/* ---- taking over --------------------------------------------------------------------------------- */

struct qvl_media_plan *qvl_session_find_plan(const struct qvl_session *session, const struct qvl_identity *identity)
{
    for (size_t i = 0; i < session->n_plan; i++)
        if (memcmp(&session->plan[i]->identity, identity, sizeof *identity) == 0)
            return session->plan[i];
    return NULL;
}

/* What the features of a span come from. */
static const struct qvl_identity *identity_of(const struct qvl_request *r, const struct qvl_span *span)
{
    return &r->feed.item[span->i_media].plan->identity;
}

/* i_media may differ: an edited conversation counts its pictures anew. */
static bool is_same_sight(const struct qvl_session_span *old, const struct qvl_span *span,
                          const struct qvl_identity *identity)
{
    return old->span.begin == span->begin && old->span.rows == span->rows && old->span.columns == span->columns &&
           old->span.i_feature == span->i_feature && memcmp(&old->identity, identity, sizeof *identity) == 0;
}

static size_t count_common(const struct qvl_session *session, const struct qvl_request *r)
{
    const struct qvl_prompt *p = &r->prompt;
    const struct qvl_session_span *old = session->span, *old_end = session->span + session->n_span;
    const struct qvl_span *new = p->span, *new_end = p->span + p->n_span;
    size_t n = 0, n_max = qvl_min_size(session->kv.n_pos, p->ids.n - 1);
    while (n < n_max && session->ids.id[n] == p->ids.id[n])
        n++;
    for (;; old++, new ++) {
        while (new < new_end && !new->is_visual)
            new ++;
        size_t begin = qvl_min_size(old < old_end ? old->span.begin : n, new < new_end ? new->begin : n);
        if (begin >= n)
            return n;
        if (old == old_end || new == new_end || !is_same_sight(old, new, identity_of(r, new)))
            return begin;
    }
}

size_t qvl_session_count_shared(const struct qvl_session *session, const struct qvl_request *r)
{
    return session->kv.model ? qvl_kv_keepable(&session->kv, count_common(session, r)) : 0;
}

void qvl_session_take(struct qvl_session *session, struct qvl_request *r, size_t n_keep)
{
    r->kv = session->kv;
    session->kv = (struct qvl_kv){0};
    if (!r->kv.model)
        qvl_request_init_kv(r);
    qvl_kv_truncate(&r->kv, n_keep);
}

/* ---- giving back --------------------------------------------------------------------------------- */

/* The ids that the cache stands for: the prompt's, then the answer's. */
static bool keep_ids(struct qvl_session *session, struct qvl_request *r)
{
    struct qvl_error err;
    session->ids = r->prompt.ids;
    r->prompt.ids = (struct qvl_ids){0};
    for (size_t i = 0; i < r->answer.n && session->ids.n < session->kv.n_pos; i++)
        if (qvl_ids_add(&session->ids, r->answer.ids[i], 1, &err))
            return false;
    session->ids.n = qvl_min_size(session->ids.n, session->kv.n_pos);
    return session->ids.n == session->kv.n_pos;
}

static bool keep_spans(struct qvl_session *session, const struct qvl_request *r)
{
    const struct qvl_prompt *p = &r->prompt;
    session->span = calloc(p->n_span + 1, sizeof *session->span);
    if (!session->span)
        return false;
    for (size_t i = 0; i < p->n_span && p->span[i].begin < session->kv.n_pos; i++)
        if (p->span[i].is_visual)
            session->span[session->n_span++] = (struct qvl_session_span){p->span[i], *identity_of(r, &p->span[i])};
    return true;
}

/* A request that measured nothing leaves the session its own. */
static void keep_plans(struct qvl_session *session, const struct qvl_request *r)
{
    size_t n = 0;
    struct qvl_media_plan **plan;
    plan = calloc(r->feed.n_item + 1, sizeof *plan); /* pointers are meant: NOLINT(bugprone-sizeof-expression) */
    for (size_t i = 0; i < r->feed.n_item && plan; i++)
        if (r->feed.item[i].plan)
            plan[n++] = qvl_media_plan_acquire(r->feed.item[i].plan);
    if (n == 0) {
        free(plan);
        return;
    }
    drop_plans(session);
    session->plan = plan;
    session->n_plan = n;
}

void qvl_session_leave(struct qvl_session *session, struct qvl_request *r)
{
    keep_plans(session, r);
    if (r->kv.model) {
        drop_cache(session);
        session->kv = r->kv;
        r->kv = (struct qvl_kv){0};
        if (!keep_ids(session, r) || !keep_spans(session, r))
            drop_cache(session);
    }
    pthread_mutex_lock(&session->engine->lock);
    session->request = NULL;
    leave_list(session);
    session->next = session->engine->session;
    session->engine->session = session;
    session->engine->is_room_changed = true; /* its blocks can go, if need be */
    pthread_cond_signal(&session->engine->work);
    pthread_mutex_unlock(&session->engine->lock);
}

/* ---- making room --------------------------------------------------------------------------------- */

size_t qvl_session_n_idle_block(const struct qvl_engine *engine)
{
    size_t n = 0;
    for (const struct qvl_session *session = engine->session; session; session = session->next)
        n += session->request ? 0 : session->kv.n_block;
    return n;
}

bool qvl_session_drop_idle(struct qvl_engine *engine)
{
    struct qvl_session *oldest = NULL;
    for (struct qvl_session *session = engine->session; session; session = session->next)
        if (!session->request && session->kv.n_block > 0)
            oldest = session;
    if (oldest)
        drop_cache(oldest);
    return oldest != NULL;
}
