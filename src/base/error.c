#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/language.h"
#include "base/utf8.h"

/* File names may hold anything; a sentence is one line of UTF-8 without control characters. */
static void make_printable(char *text, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c = 0;
        len = qvl_utf8_decode(text + i, n - i, &c);
        bool is_printable = len > 0 && c >= 0x20 && !(c >= 0x7F && c < 0xA0);
        if (len == 0)
            len = 1;
        if (!is_printable)
            memset(text + i, '?', len);
    }
}

enum qvl_status qvl_fail(struct qvl_error *err, enum qvl_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->status = status;
    int n = vsnprintf(err->text, sizeof err->text, qvl_text(format), args);
    va_end(args);
    if (n >= (int)sizeof err->text) /* cut, but not inside a character */
        err->text[sizeof err->text - 1 - qvl_utf8_n_incomplete(err->text, sizeof err->text - 1)] = 0;
    make_printable(err->text, strlen(err->text));
    return status;
}

enum qvl_status qvl_fail_memory(struct qvl_error *err, size_t n_bytes, const char *purpose)
{
    return qvl_fail(err, QVL_ERR_MEMORY, "out of memory: %zu MiB for %s", (n_bytes >> 20) + 1,
                    qvl_text(purpose));
}
