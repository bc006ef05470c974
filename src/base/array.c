#include "base/array.h"

#include <stdlib.h>

#include "base/checked.h"

enum { MIN_BYTES = 256 }; /* of the first allocation */

void *qvl_grow(void *items, size_t *n_alloc, size_t n_need, size_t item_bytes, const char *purpose,
               struct qvl_error *err)
{
    size_t n = 0, n_bytes = 0;
    if (n_need <= *n_alloc)
        return items;
    if (!qvl_add_size(n_need, n_need / 2 + qvl_div_up(MIN_BYTES, item_bytes), &n) ||
        !qvl_mul_size(n, item_bytes, &n_bytes) || n_bytes > PTRDIFF_MAX) {
        qvl_fail_memory(err, SIZE_MAX, purpose);
        return NULL;
    }
    void *grown = realloc(items, n_bytes);
    if (!grown) {
        qvl_fail_memory(err, n_bytes, purpose);
        return NULL;
    }
    *n_alloc = n;
    return grown;
}
