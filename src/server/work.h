/* work.h: who is served when (design: work.c). Exchanges wait here, in one queue a client and lane, and threads take
 * them, turn by turn among clients. */
#ifndef QVL_SERVER_WORK_H
#define QVL_SERVER_WORK_H

#include <stdatomic.h>

#include "server/http.h"

struct qvl_work;

struct qvl_work_options {
    uint32_t n_thread; /* of QVL_LANE_MODEL, and a quarter as many for clients of whom nothing runs;
                          QVL_LANE_LIGHT has one of its own */
    uint32_t n_queue;  /* exchanges of a lane that may wait */
};

enum qvl_status qvl_work_open(const struct qvl_work_options *options, struct qvl_work **out, struct qvl_error *err);
/* Calls route->answer(user, x) from a thread of the route's lane. False: the lane has no room for this client, or
 * qvl_work_drop was called; nothing happened. */
bool qvl_work_add(struct qvl_work *work, const struct qvl_route *route, void *user, struct qvl_exchange *x);
/* Inside route->answer, on its thread: for how long its exchange has waited here. Elsewhere 0. */
double qvl_work_waited_ms(void);
/* Until qvl_work_start nothing is taken from QVL_LANE_MODEL. */
void qvl_work_start(struct qvl_work *work);
struct qvl_work_count {
    size_t n_waiting, n_running; /* of QVL_LANE_MODEL */
    unsigned retry_after_s;      /* when there will be room again, by the time that answers took lately */
};
void qvl_work_count(struct qvl_work *work, struct qvl_work_count *out);
/* Waits until nothing waits or runs; false: deadline_ms (clock.h) came first, or *stop_now. */
bool qvl_work_wait(struct qvl_work *work, double deadline_ms, const atomic_bool *stop_now);
/* What waits is given to `refuse` and not begun; from here on nothing is taken in. */
void qvl_work_drop(struct qvl_work *work, void (*refuse)(void *user, struct qvl_exchange *x), void *user);
/* Nothing may wait; waits for what runs. */
void qvl_work_close(struct qvl_work *work);

#endif
