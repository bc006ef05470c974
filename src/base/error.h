/* error.h: how a failure is written down.
 *
 * The function that finds the fault calls qvl_fail once with the whole sentence (what, which file, found
 * and expected numbers); everyone above passes the status on unchanged. */
#ifndef QVL_BASE_ERROR_H
#define QVL_BASE_ERROR_H

#include "qvl.h"

/* Writes status and sentence into *err and returns status, so that it ends a function: return qvl_fail(…). The
 * format is looked up in the language chosen (base/language.h). */
enum qvl_status qvl_fail(struct qvl_error *err, enum qvl_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What the system's error number says, in the language chosen; in English where it is a rare one. */
const char *qvl_errno_text(int code);

/* The sentence for an allocation of n_bytes that failed. */
enum qvl_status qvl_fail_memory(struct qvl_error *err, size_t n_bytes, const char *purpose);

#endif
