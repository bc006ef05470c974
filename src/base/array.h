/* array.h: growing arrays. */
#ifndef QVL_BASE_ARRAY_H
#define QVL_BASE_ARRAY_H

#include "base/error.h"

/* Room for n_need items in an array from malloc that has room for *n_alloc. Grows by half at least, so that adding
 * one by one costs time linear in the number:
 *
 *     struct span *span = qvl_grow(p->span, &p->n_alloc, p->n + 1, sizeof *span, "the prompt", err);
 *     if (!span)
 *         return err->status;
 *     p->span = span;
 *
 * Returns where the items are now, the new ones not initialised; NULL on failure, with *err written, and then the
 * array is as it was. n_need and item_bytes are at least 1; items may be NULL with *n_alloc 0. `purpose` names the
 * use. */
void *qvl_grow(void *items, size_t *n_alloc, size_t n_need, size_t item_bytes, const char *purpose,
               struct qvl_error *err);

#endif
