/* A run is published by increasing `epoch`; workers wait for it to change. A worker that finds the `gate` open goes
 * in, pulls job numbers from `next_job` until they are gone, and goes out; the starter does the same, then closes
 * the gate and waits until nobody is inside. So it waits for jobs that have begun, and for nothing else: a worker
 * that the system has taken away between two runs, because another program wants its processor, finds the gate
 * closed when it comes back. */
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
#define CLOSED 0x80000000u /* of the gate; the other bits count who is inside */

struct worker {
    struct qvl_pool *pool;
    size_t i_thread;
    pthread_t thread;
};

struct qvl_pool {
    uint32_t n_thread;
    uint32_t n_started; /* workers, the starter not counted */
    struct worker *workers;
    /* the run: written while the gate is closed and nobody inside, read inside */
    qvl_job_fn *job;
    void *arg;
    const atomic_bool *stop;
    size_t n_job;
    /* written by many threads: a cache line each */
    _Alignas(64) atomic_uint epoch;
    _Alignas(64) atomic_size_t next_job;
    _Alignas(64) atomic_uint gate;
    _Alignas(64) atomic_uint n_asleep; /* workers that may need a system call to wake */
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

/* Returns once *word != old; counted in *n_asleep (may be NULL) before it sleeps. */
static void wait_change(atomic_uint *word, unsigned old, atomic_uint *n_asleep)
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
    if (n_asleep)
        atomic_fetch_add(n_asleep, 1);
    while (atomic_load(word) == old)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    if (n_asleep)
        atomic_fetch_sub(n_asleep, 1);
}

static void wake_all(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static bool go_in(struct qvl_pool *pool)
{
    unsigned gate = atomic_load_explicit(&pool->gate, memory_order_relaxed);
    while (!(gate & CLOSED))
        if (atomic_compare_exchange_weak_explicit(&pool->gate, &gate, gate + 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    return false;
}

static void go_out(struct qvl_pool *pool)
{
    if (atomic_fetch_sub_explicit(&pool->gate, 1, memory_order_acq_rel) == (CLOSED | 1u))
        wake_all(&pool->gate);
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
    for (unsigned seen = 0;;) {
        wait_change(&pool->epoch, seen, &pool->n_asleep);
        seen = atomic_load_explicit(&pool->epoch, memory_order_acquire);
        if (atomic_load(&pool->is_closing))
            return NULL;
        if (go_in(pool)) {
            pull_jobs(pool, worker->i_thread);
            go_out(pool);
        }
    }
}

enum qvl_status qvl_pool_open(uint32_t n_thread, struct qvl_pool **out, struct qvl_error *err)
{
    if (n_thread < 1 || n_thread > QVL_MAX_THREADS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%u threads: the number must be 1 to %u", n_thread, QVL_MAX_THREADS);
    struct qvl_pool *pool = NULL;
    if (posix_memalign((void **)&pool, 64, sizeof *pool) != 0)
        return qvl_fail_memory(err, sizeof *pool, "the thread pool");
    *pool = (struct qvl_pool){.n_thread = n_thread, .gate = CLOSED};
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
        atomic_store_explicit(&pool->gate, 0, memory_order_release);
        atomic_fetch_add(&pool->epoch, 1);
        if (atomic_load(&pool->n_asleep) > 0)
            wake_all(&pool->epoch);
        pull_jobs(pool, 0);
        unsigned inside = atomic_fetch_or_explicit(&pool->gate, CLOSED, memory_order_acq_rel) | CLOSED;
        for (; inside != CLOSED; inside = atomic_load_explicit(&pool->gate, memory_order_acquire))
            wait_change(&pool->gate, inside, NULL);
    } else {
        pull_jobs(pool, 0);
    }
    return !(stop && atomic_load_explicit(stop, memory_order_relaxed));
}
