#include "base/clock.h"

#include <time.h>

static double read_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

double qvl_now_ms(void)
{
    return read_ms(CLOCK_MONOTONIC);
}

double qvl_cpu_ms(void)
{
    return read_ms(CLOCK_PROCESS_CPUTIME_ID);
}
