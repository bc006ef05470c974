#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"

enum qvl_status qvl_fail(struct qvl_error *err, enum qvl_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->status = status;
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (n >= (int)sizeof err->text) /* cut, but not inside a character */
        err->text[sizeof err->text - 1 - qvl_utf8_n_incomplete(err->text, sizeof err->text - 1)] = 0;
    for (char *c = err->text; *c; c++) /* file names may hold anything; a sentence is one line */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return status;
}

enum qvl_status qvl_fail_memory(struct qvl_error *err, size_t n_bytes, const char *purpose)
{
    return qvl_fail(err, QVL_ERR_MEMORY, "out of memory: %zu MiB for %s", (n_bytes >> 20) + 1, purpose);
}
