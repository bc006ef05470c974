/* checked.h: arithmetic on sizes that come from outside. Each returns false when the result does not fit,
 * and then leaves *out untouched. */
#ifndef QVL_BASE_CHECKED_H
#define QVL_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool qvl_mul_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool qvl_add_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline size_t qvl_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* For sizes already known to be small: how many parts of n_part cover n, and the next multiple. */
static inline size_t qvl_div_up(size_t n, size_t n_part)
{
    return (n + n_part - 1) / n_part;
}

static inline size_t qvl_round_up(size_t n, size_t multiple)
{
    return qvl_div_up(n, multiple) * multiple;
}

#endif
