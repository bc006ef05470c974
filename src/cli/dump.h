/* dump.h: every intermediate of a request as a .npy file (NumPy's format, version 1.0). */
#ifndef QVL_CLI_DUMP_H
#define QVL_CLI_DUMP_H

#include <pthread.h>

#include "base/error.h"

struct qvl_dump; /* counts how often each name came: NAME.npy, then NAME.1.npy, NAME.2.npy, … */

/* Makes the folder if it is missing. */
enum qvl_status qvl_dump_open(const char *dir, struct qvl_dump **out, struct qvl_error *err);
struct qvl_trace qvl_dump_trace(struct qvl_dump *dump);
/* The first failure to write, or QVL_OK. Nothing is written after it. Any thread. */
enum qvl_status qvl_dump_status(struct qvl_dump *dump, struct qvl_error *err);
void qvl_dump_close(struct qvl_dump *dump);

#endif
