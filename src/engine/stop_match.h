/* stop_match.h: ends the answer at a stop string, and holds back text that may become one. */
#ifndef QVL_ENGINE_STOP_MATCH_H
#define QVL_ENGINE_STOP_MATCH_H

#include "base/bytes.h"

struct qvl_stop_match {
    const char *const *stop; /* [n_stop], not empty; the owner's */
    size_t n_stop;
    struct qvl_bytes held;   /* text not let out yet */
};

/* Takes n bytes of text, appends to *out what can no longer be part of a stop string. *out_stop is the stop
 * string that was met first (its text and what follows are dropped), or NULL. */
enum qvl_status qvl_stop_match_push(struct qvl_stop_match *match, const char *text, size_t n,
                                    struct qvl_bytes *out, const char **out_stop, struct qvl_error *err);
/* The end of the answer: appends what is held. */
enum qvl_status qvl_stop_match_flush(struct qvl_stop_match *match, struct qvl_bytes *out, struct qvl_error *err);
void qvl_stop_match_free(struct qvl_stop_match *match);

#endif
