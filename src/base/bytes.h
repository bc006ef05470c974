/* bytes.h: a growing byte string. */
#ifndef QVL_BASE_BYTES_H
#define QVL_BASE_BYTES_H

#include "base/error.h"

/* A zeroed struct is an empty string. data[n] is always 0 once anything was added. */
struct qvl_bytes {
    char *data;
    size_t n;
    size_t n_alloc;
};

enum qvl_status qvl_bytes_add(struct qvl_bytes *b, const void *data, size_t n, struct qvl_error *err);
enum qvl_status qvl_bytes_add_text(struct qvl_bytes *b, const char *text, struct qvl_error *err);
enum qvl_status qvl_bytes_add_format(struct qvl_bytes *b, struct qvl_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A JSON string with its quotes. Non-ASCII stays as it is; \" \\ \n \t \r \b \f, other controls \u00xx: what
 * Python's json.dumps(ensure_ascii=False) writes. A byte that is not part of UTF-8 (file names may hold any)
 * becomes U+FFFD. */
enum qvl_status qvl_bytes_add_json_string(struct qvl_bytes *b, const char *utf8, size_t n,
                                          struct qvl_error *err);
void qvl_bytes_free(struct qvl_bytes *b);

/* 2n hexadecimal digits, small letters, and a NUL. */
void qvl_hex(const uint8_t *bytes, size_t n, char *out);

#endif
