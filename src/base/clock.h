/* clock.h: monotonic time. */
#ifndef QVL_BASE_CLOCK_H
#define QVL_BASE_CLOCK_H

double qvl_now_ms(void); /* milliseconds since an arbitrary start; never goes back */

#endif
