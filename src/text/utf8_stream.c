/* Bytes of tokens in, whole characters out.
 *
 * Byte by byte: what is held is always a proper beginning of a character. A byte that cannot continue it turns
 * the held bytes into one U+FFFD and is looked at again by itself (the "maximal subpart" rule of Unicode, section
 * 3.9, which Python's decoder follows). */
#include "text/utf8_stream.h"

#include "base/utf8.h"

#define REPLACEMENT "\xEF\xBF\xBD"

enum qvl_status qvl_utf8_stream_push(struct qvl_utf8_stream *s, const char *bytes, size_t n, struct qvl_bytes *out,
                                     struct qvl_error *err)
{
    for (size_t i = 0; i < n;) {
        enum qvl_status status = QVL_OK;
        uint32_t cp;
        s->held[s->n_held++] = bytes[i];
        if (qvl_utf8_decode(s->held, s->n_held, &cp) > 0) {
            status = qvl_bytes_add(out, s->held, s->n_held, err);
            s->n_held = 0;
            i++;
        } else if (qvl_utf8_n_incomplete(s->held, s->n_held) == s->n_held) {
            i++;
        } else {
            i += s->n_held == 1; /* else the byte may begin a character */
            s->n_held = 0;
            status = qvl_bytes_add_text(out, REPLACEMENT, err);
        }
        if (status)
            return status;
    }
    return QVL_OK;
}

enum qvl_status qvl_utf8_stream_flush(struct qvl_utf8_stream *s, struct qvl_bytes *out, struct qvl_error *err)
{
    bool is_empty = s->n_held == 0;
    s->n_held = 0;
    return is_empty ? QVL_OK : qvl_bytes_add_text(out, REPLACEMENT, err);
}
