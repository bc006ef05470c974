#include "base/bytes.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/checked.h"
#include "base/utf8.h"

static enum qvl_status reserve(struct qvl_bytes *b, size_t n_more, struct qvl_error *err)
{
    size_t need = 0;
    if (!qvl_add_size(b->n, n_more, &need) || !qvl_add_size(need, 1, &need))
        return qvl_fail_memory(err, SIZE_MAX, "text");
    char *data = qvl_grow(b->data, &b->n_alloc, need, 1, "text", err);
    if (!data)
        return err->status;
    b->data = data;
    return QVL_OK;
}

enum qvl_status qvl_bytes_add(struct qvl_bytes *b, const void *data, size_t n, struct qvl_error *err)
{
    enum qvl_status status = reserve(b, n, err);
    if (status)
        return status;
    if (n)
        memcpy(b->data + b->n, data, n);
    b->n += n;
    b->data[b->n] = 0;
    return QVL_OK;
}

enum qvl_status qvl_bytes_add_text(struct qvl_bytes *b, const char *text, struct qvl_error *err)
{
    return qvl_bytes_add(b, text, strlen(text), err);
}

enum qvl_status qvl_bytes_add_format(struct qvl_bytes *b, struct qvl_error *err, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    enum qvl_status status = n < 0 ? qvl_fail(err, QVL_ERR_INTERNAL, "cannot format a text")
                                   : reserve(b, (size_t)n, err);
    if (!status) {
        vsnprintf(b->data + b->n, (size_t)n + 1, format, again);
        b->n += (size_t)n;
    }
    va_end(again);
    va_end(args);
    return status;
}

/* A byte that a JSON string cannot hold as it is; U+FFFD for one that is not part of UTF-8. */
static enum qvl_status add_escaped(struct qvl_bytes *b, unsigned char c, struct qvl_error *err)
{
    switch (c) {
    case '"': return qvl_bytes_add(b, "\\\"", 2, err);
    case '\\': return qvl_bytes_add(b, "\\\\", 2, err);
    case '\n': return qvl_bytes_add(b, "\\n", 2, err);
    case '\t': return qvl_bytes_add(b, "\\t", 2, err);
    case '\r': return qvl_bytes_add(b, "\\r", 2, err);
    case '\b': return qvl_bytes_add(b, "\\b", 2, err);
    case '\f': return qvl_bytes_add(b, "\\f", 2, err);
    default: break;
    }
    return c < 0x20 ? qvl_bytes_add_format(b, err, "\\u%04x", c) : qvl_bytes_add(b, "\xEF\xBF\xBD", 3, err);
}

enum qvl_status qvl_bytes_add_json_string(struct qvl_bytes *b, const char *utf8, size_t n,
                                          struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add(b, "\"", 1, err);
    size_t i_plain = 0; /* start of the run that stays as it is */
    for (size_t i = 0, len; i < n && !status; i += len) {
        unsigned char c = (unsigned char)utf8[i];
        uint32_t code_point;
        len = qvl_utf8_decode(utf8 + i, n - i, &code_point);
        if (len > 0 && c >= 0x20 && c != '"' && c != '\\')
            continue;
        len = 1;
        status = qvl_bytes_add(b, utf8 + i_plain, i - i_plain, err);
        if (!status)
            status = add_escaped(b, c, err);
        i_plain = i + 1;
    }
    if (!status)
        status = qvl_bytes_add(b, utf8 + i_plain, n - i_plain, err);
    return status ? status : qvl_bytes_add(b, "\"", 1, err);
}

void qvl_bytes_free(struct qvl_bytes *b)
{
    free(b->data);
    *b = (struct qvl_bytes){0};
}

void qvl_hex(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = 0;
}
