#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/language.h"
#include "base/utf8.h"

enum qvl_status qvl_fail(struct qvl_error *err, enum qvl_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->status = status;
    int n = vsnprintf(err->text, sizeof err->text, qvl_text(format), args);
    va_end(args);
    if (n >= (int)sizeof err->text) /* cut, but not inside a character */
        err->text[sizeof err->text - 1 - qvl_utf8_n_incomplete(err->text, sizeof err->text - 1)] = 0;
    qvl_utf8_make_printable(err->text, strlen(err->text)); /* names of files may hold anything */
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
