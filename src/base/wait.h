/* wait.h: waiting for a condition, for some time at most, which no change of the date makes longer.
 */
#ifndef QVL_BASE_WAIT_H
#define QVL_BASE_WAIT_H

#include <pthread.h>
#include <stdbool.h>

/* A condition that qvl_wait_for may wait for. Ends with pthread_cond_destroy. */
void qvl_wait_init(pthread_cond_t *changed);
/* As pthread_cond_wait, lock held; false: ms milliseconds went by first. */
bool qvl_wait_for(pthread_cond_t *changed, pthread_mutex_t *lock, double ms);

#endif
