/* lock.h: files that say who works on something just now: flock, as huggingface_hub and modelscope use it. */
#ifndef QVL_HUB_LOCK_H
#define QVL_HUB_LOCK_H

#include "base/error.h"

/* Takes the lock of that file, which is made with its folders where it is not there. *out_fd: to be given back by
 * qvl_hub_unlock; -1 where another program has it (*is_busy), or where the file system knows no locks. Never waits.
 * QVL_ERR_FILE: the file cannot be made. */
enum qvl_status qvl_hub_lock(const char *path, int *out_fd, bool *is_busy, struct qvl_error *err);
/* The file stays: removing it would let two programs lock two files of one name. -1 is fine. */
void qvl_hub_unlock(int fd);

#endif
