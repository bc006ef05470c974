/* A run is published by increasing `epoch` (release). Workers wait for it to change, pull job numbers from
 * `next_job` until they are gone, and count themselves out in `n_busy`; the starter waits for zero. A worker
 * that wakes late for a run finds no jobs left and counts itself out at once; so the starter waits only for
 * jobs, plus one wake-up of a sleeping worker, which is why a run too small to share is done alone. */
#include "base/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"

#define SPIN_US 20.0

struct worker {
    struct qvl_pool *pool;
    size_t i_thread;
    pthread_t thread;
};

struct qvl_pool {
    uint32_t n_thread;
    uint32_t n_started; /* workers, the starter not counted */
    struct worker *workers;
    /* the run */
    qvl_job_fn *job;
    void *arg;
    const atomic_bool *stop;
    size_t n_job;
    /* written by many threads: a cache line each */
    _Alignas(64) atomic_uint epoch;
    _Alignas(64) atomic_size_t next_job;
    _Alignas(64) atomic_uint n_busy;
    _Alignas(64) atomic_bool is_closing;
};

static void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Returns once *word != old. */
static void wait_change(atomic_uint *word, unsigned old)
{
    double until_ms = 0;
    for (unsigned i = 0;; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old)
            return;
        if (i % 64 == 0) {
            double now_ms = qvl_now_ms();
            if (until_ms == 0)
                until_ms = now_ms + SPIN_US * 1e-3;
            else if (now_ms > until_ms)
                break;
        }
        cpu_relax();
    }
    while (atomic_load_explicit(word, memory_order_acquire) == old)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
}

static void wake_all(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void pull_jobs(struct qvl_pool *pool, size_t i_thread)
{
    const atomic_bool *stop = pool->stop;
    for (;;) {
        if (stop && atomic_load_explicit(stop, memory_order_relaxed))
            return;
        size_t i_job = atomic_fetch_add_explicit(&pool->next_job, 1, memory_order_relaxed);
        if (i_job >= pool->n_job)
            return;
        pool->job(pool->arg, i_job, i_thread);
    }
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct qvl_pool *pool = worker->pool;
    for (unsigned seen = 0;; seen++) {
        wait_change(&pool->epoch, seen);
        if (atomic_load(&pool->is_closing))
            return NULL;
        pull_jobs(pool, worker->i_thread);
        if (atomic_fetch_sub_explicit(&pool->n_busy, 1, memory_order_acq_rel) == 1)
            wake_all(&pool->n_busy);
    }
}

enum qvl_status qvl_pool_open(uint32_t n_thread, struct qvl_pool **out, struct qvl_error *err)
{
    if (n_thread < 1 || n_thread > QVL_MAX_THREADS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%u threads: the number must be 1 to %u", n_thread,
                        QVL_MAX_THREADS);
    struct qvl_pool *pool = NULL;
    if (posix_memalign((void **)&pool, 64, sizeof *pool) != 0)
        return qvl_fail_memory(err, sizeof *pool, "the thread pool");
    *pool = (struct qvl_pool){.n_thread = n_thread};
    pool->workers = calloc(n_thread, sizeof *pool->workers);
    if (!pool->workers) {
        qvl_pool_close(pool);
        return qvl_fail_memory(err, n_thread * sizeof *pool->workers, "the thread pool");
    }
    for (uint32_t i = 1; i < n_thread; i++) {
        struct worker *worker = &pool->workers[i];
        *worker = (struct worker){.pool = pool, .i_thread = i};
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
            qvl_pool_close(pool);
            return qvl_fail(err, QVL_ERR_MEMORY, "cannot start thread %u of %u", i + 1, n_thread);
        }
        pool->n_started++;
    }
    *out = pool;
    return QVL_OK;
}

void qvl_pool_close(struct qvl_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->is_closing, true);
    atomic_fetch_add(&pool->epoch, 1);
    wake_all(&pool->epoch);
    for (uint32_t i = 1; i <= pool->n_started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    free(pool->workers);
    free(pool);
}

uint32_t qvl_pool_n_thread(const struct qvl_pool *pool)
{
    return pool->n_thread;
}

bool qvl_pool_run(struct qvl_pool *pool, size_t n_job, qvl_job_fn *job, void *arg, const atomic_bool *stop)
{
    pool->job = job;
    pool->arg = arg;
    pool->stop = stop;
    pool->n_job = n_job;
    atomic_store_explicit(&pool->next_job, 0, memory_order_relaxed);
    if (n_job > 1 && pool->n_started > 0) {
        atomic_store_explicit(&pool->n_busy, pool->n_started, memory_order_relaxed);
        atomic_fetch_add_explicit(&pool->epoch, 1, memory_order_release);
        wake_all(&pool->epoch);
        pull_jobs(pool, 0);
        for (unsigned n; (n = atomic_load_explicit(&pool->n_busy, memory_order_acquire)) != 0;)
            wait_change(&pool->n_busy, n);
    } else {
        pull_jobs(pool, 0);
    }
    return !(stop && atomic_load_explicit(stop, memory_order_relaxed));
}
