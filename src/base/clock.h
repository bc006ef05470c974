/* clock.h: monotonic time, and processor time. */
#ifndef QVL_BASE_CLOCK_H
#define QVL_BASE_CLOCK_H

double qvl_now_ms(void); /* milliseconds since an arbitrary start; never goes back */

/* Processor time of all threads of this process, milliseconds. */
double qvl_cpu_ms(void);

#endif
