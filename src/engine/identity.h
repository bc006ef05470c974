/* identity.h: what a picture or clip is, without looking at it: two with equal identity are the same to the model.
 *
 * SHA-256 over everything that decides what it sees: the source (bytes, frames and encoded pictures by their
 * content; a file by its device, number, size and times of change, where one changed a moment ago is like no
 * other), the kind and the options. */
#ifndef QVL_ENGINE_IDENTITY_H
#define QVL_ENGINE_IDENTITY_H

#include <stdatomic.h>

#include "base/error.h"

struct qvl_identity {
    uint8_t bytes[32];
};

/* Of a picture or clip. A source that cannot be read has an identity, too: reading finds the fault. Fails only with
 * QVL_ERR_CANCELLED, when `stop` becomes true. */
enum qvl_status qvl_identity_make(const struct qvl_part *part, const atomic_bool *stop, struct qvl_identity *out,
                                  struct qvl_error *err);

#endif
