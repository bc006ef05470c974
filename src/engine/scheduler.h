/* scheduler.h: the thread that runs model steps, and nothing else (design: scheduler.c). The engine's lock must
 * not be held when these are called, but for the last one. */
#ifndef QVL_ENGINE_SCHEDULER_H
#define QVL_ENGINE_SCHEDULER_H

#include "engine/engine.h"

/* The engine's model must be bound. */
enum qvl_status qvl_scheduler_open(struct qvl_engine *engine, struct qvl_scheduler **out, struct qvl_error *err);
/* No request may be left. */
void qvl_scheduler_close(struct qvl_scheduler *scheduler);

/* Hands over a request whose prompt is ready and whose feed is filled. */
enum qvl_status qvl_scheduler_submit(struct qvl_scheduler *scheduler, struct qvl_request *request,
                                     struct qvl_error *err);
/* Waits for the submitted request's next event, and fills its feed meanwhile. A cancelled request returns
 * QVL_ERR_CANCELLED at once. */
enum qvl_status qvl_scheduler_next(struct qvl_scheduler *scheduler, struct qvl_request *request,
                                   struct qvl_event *event, struct qvl_error *err);
/* Takes a submitted request back, waiting for the step it may be in, and frees what it held. */
void qvl_scheduler_remove(struct qvl_scheduler *scheduler, struct qvl_request *request);

/* n_request, n_running, n_waiting. Lock held. */
void qvl_scheduler_count(const struct qvl_scheduler *scheduler, struct qvl_engine_stats *out);

#endif
