/* `held` is always shorter than the longest stop string, so searching it again with each token costs a
 * constant. */
#include "engine/stop_match.h"

#include <string.h>

/* The stop string that begins first in text, by the order of the list where two begin together. */
static const char *find_first(const struct qvl_stop_match *match, const char *text, size_t n, size_t *out_at)
{
    const char *first = NULL;
    for (size_t i = 0; i < match->n_stop; i++) {
        const char *at = memmem(text, n, match->stop[i], strlen(match->stop[i]));
        if (at && (!first || (size_t)(at - text) < *out_at)) {
            first = match->stop[i];
            *out_at = (size_t)(at - text);
        }
    }
    return first;
}

/* Bytes at the end of text that begin a stop string. */
static size_t find_held(const struct qvl_stop_match *match, const char *text, size_t n)
{
    size_t n_held = 0;
    for (size_t i = 0; i < match->n_stop; i++) {
        size_t len = strlen(match->stop[i]);
        for (size_t k = len - 1 < n ? len - 1 : n; k > n_held; k--)
            if (memcmp(text + n - k, match->stop[i], k) == 0)
                n_held = k;
    }
    return n_held;
}

enum qvl_status qvl_stop_match_push(struct qvl_stop_match *match, const char *text, size_t n,
                                    struct qvl_bytes *out, const char **out_stop, struct qvl_error *err)
{
    struct qvl_bytes *held = &match->held;
    enum qvl_status status = qvl_bytes_add(held, text, n, err);
    if (status)
        return status;
    size_t n_free = 0;
    *out_stop = find_first(match, held->data, held->n, &n_free);
    if (!*out_stop)
        n_free = held->n - find_held(match, held->data, held->n);
    if ((status = qvl_bytes_add(out, held->data, n_free, err)))
        return status;
    held->n = *out_stop ? 0 : held->n - n_free;
    memmove(held->data, held->data + n_free, held->n);
    return QVL_OK;
}

enum qvl_status qvl_stop_match_flush(struct qvl_stop_match *match, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add(out, match->held.data, match->held.n, err);
    match->held.n = 0;
    return status;
}

void qvl_stop_match_free(struct qvl_stop_match *match)
{
    qvl_bytes_free(&match->held);
}
