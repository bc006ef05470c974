/* utf8_stream.h: token bytes in, whole characters out. */
#ifndef QVL_TEXT_UTF8_STREAM_H
#define QVL_TEXT_UTF8_STREAM_H

#include "base/bytes.h"

/* A zeroed struct is ready. */
struct qvl_utf8_stream {
    char held[4]; /* the beginning of a character that is not whole yet */
    size_t n_held;
};

/* Appends to *out what is whole; bytes that can never become a character turn into U+FFFD as Python's
 * errors="replace" does. */
enum qvl_status qvl_utf8_stream_push(struct qvl_utf8_stream *s, const char *bytes, size_t n, struct qvl_bytes *out,
                                     struct qvl_error *err);
/* The end: what is held becomes U+FFFD. */
enum qvl_status qvl_utf8_stream_flush(struct qvl_utf8_stream *s, struct qvl_bytes *out, struct qvl_error *err);

#endif
