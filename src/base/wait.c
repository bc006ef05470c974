#include "base/wait.h"

#include <time.h>

#include "base/clock.h"

void qvl_wait_init(pthread_cond_t *changed)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

bool qvl_wait_for(pthread_cond_t *changed, pthread_mutex_t *lock, double ms)
{
    double until_ms = qvl_now_ms() + (ms > 0 ? ms : 0);
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1e3)};
    until.tv_nsec = (long)((until_ms - (double)until.tv_sec * 1e3) * 1e6);
    return pthread_cond_timedwait(changed, lock, &until) == 0;
}
