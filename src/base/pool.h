/* pool.h: the engine's threads.
 *
 * DESIGN. One pool, one run at a time, started by one thread (which works too). A run is n_job small jobs
 * pulled from a shared counter, so a thread that the system takes away holds back one job and no more.
 * Jobs split outputs, never a sum: results do not depend on the number of threads. Idle workers spin for
 * at most SPIN_US, then sleep on a futex, so a busy neighbour is not starved and does not starve us. */
#ifndef QVL_BASE_POOL_H
#define QVL_BASE_POOL_H

#include <stdatomic.h>

#include "base/error.h"

struct qvl_pool;

/* i_thread < n_thread names the caller's scratch. */
typedef void qvl_job_fn(void *arg, size_t i_job, size_t i_thread);

enum qvl_status qvl_pool_open(uint32_t n_thread, struct qvl_pool **out, struct qvl_error *err);
void qvl_pool_close(struct qvl_pool *pool); /* NULL is fine */
uint32_t qvl_pool_n_thread(const struct qvl_pool *pool);

/* Runs job(arg, 0..n_job-1, i_thread) and returns when all have ended. With stop (may be NULL) true, jobs not
 * yet begun are skipped and the result is false. Not re-entrant. */
bool qvl_pool_run(struct qvl_pool *pool, size_t n_job, qvl_job_fn *job, void *arg, const atomic_bool *stop);

#endif
