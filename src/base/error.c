#include "base/error.h"

#include <errno.h>
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

const char *qvl_errno_text(int code)
{
    switch (code) {
    case EACCES: return qvl_text("Permission denied");
    case EAGAIN: return qvl_text("Resource temporarily unavailable");
    case EEXIST: return qvl_text("File exists");
    case EFBIG: return qvl_text("File too large");
    case EIO: return qvl_text("Input/output error");
    case EISDIR: return qvl_text("Is a directory");
    case ELOOP: return qvl_text("Too many levels of symbolic links");
    case EMFILE: return qvl_text("Too many open files");
    case ENAMETOOLONG: return qvl_text("File name too long");
    case ENOENT: return qvl_text("No such file or directory");
    case ENOEXEC: return qvl_text("Exec format error");
    case ENOMEM: return qvl_text("Cannot allocate memory");
    case ENOSPC: return qvl_text("No space left on device");
    case ENOTDIR: return qvl_text("Not a directory");
    case EPERM: return qvl_text("Operation not permitted");
    case EPIPE: return qvl_text("Broken pipe");
    case EROFS: return qvl_text("Read-only file system");
    default: return strerror(code);
    }
}

enum qvl_status qvl_fail_memory(struct qvl_error *err, size_t n_bytes, const char *purpose)
{
    return qvl_fail(err, QVL_ERR_MEMORY, "out of memory: %zu MiB for %s", (n_bytes >> 20) + 1,
                    qvl_text(purpose));
}
