/* admission.h: which of the requests that wait may begin: room for keys and values is reserved before it is needed,
 * so that no request fails for it in the middle. */
#ifndef QVL_ENGINE_ADMISSION_H
#define QVL_ENGINE_ADMISSION_H

#include "engine/engine.h"

/* The bounds of qvl_engine_options, in blocks, and the prefix cache, in place of what there was. QVL_ERR_ARGUMENT: less
 * than one block. */
enum qvl_status qvl_admission_init(struct qvl_engine *engine, size_t kv_bytes, size_t prefix_cache_bytes,
                                   struct qvl_error *err);
/* How many positions a request may use at most. */
size_t qvl_admission_n_pos(const struct qvl_engine *engine);

/* The request that waits at the door. */
struct qvl_admission {
    uint64_t first;    /* whose turn it is, and for which there was no room: when it came (qvl_turn.served); or 0 */
    uint32_t n_passed; /* how many have begun since */
};

/* Of the submitted requests those begin that there is room for: is_begun, the cache they begin with, n_cached. Kept
 * prefixes and what idle sessions hold makes room. On the scheduler's thread; lock held. */
void qvl_admission_run(struct qvl_admission *a, struct qvl_engine *engine, struct qvl_request *const *request,
                       size_t n);
/* The request gives back what it reserved. Lock held. */
void qvl_admission_end(struct qvl_request *r);

#endif
