/* Looks at every value of mapped weights once. A single infinite weight makes every answer worthless without a
 * word; a damaged or wrongly converted file is the usual cause, so it is found here, by name.
 *
 * The tensors are cut into jobs of 4 MiB, or of 16 rows where they have to be widened first; the lowest job that
 * finds something names the fault, so that the sentence does not depend on the number of threads. */
#include "load/weights.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "load/quantize.h"
#include "load/stored.h"

enum {
    SCAN_BYTES = 4 << 20, /* one job's share of a tensor */
    SCAN_ROWS = 16,       /* the same, of one that is stored in a way of its own */
};

/* A value is infinite or not a number where all bits of its exponent are set: adding the exponent's lowest bit
 * to the masked exponent then carries into the place of the sign, and never further. */
struct exponent {
    uint64_t mask, lowest, sign; /* of as many values as fit 64 bits */
};

static const struct exponent exponents[] = {
    [QVL_F32] = {0x7f8000007f800000u, 0x0080000000800000u, 0x8000000080000000u},
    [QVL_BF16] = {0x7f807f807f807f80u, 0x0080008000800080u, 0x8000800080008000u},
    [QVL_F16] = {0x7c007c007c007c00u, 0x0400040004000400u, 0x8000800080008000u},
};

static uint64_t not_finite(const uint8_t *bytes, size_t n, const struct exponent *x)
{
    uint64_t seen = 0, word;
    for (; n >= sizeof word; n -= sizeof word, bytes += sizeof word) {
        memcpy(&word, bytes, sizeof word);
        seen |= (word & x->mask) + x->lowest;
    }
    word = 0;
    memcpy(&word, bytes, n);
    seen |= (word & x->mask) + x->lowest;
    return seen & x->sign;
}

struct scan {
    const struct qvl_tensor *tensor; /* [n] */
    size_t n;
    const size_t *first_job; /* of each tensor */
    float *scratch;          /* [n_thread, n_scratch] */
    size_t n_scratch;
    atomic_uint_least64_t at; /* lowest job that found something */
};

/* Type of the numbers that are looked at. */
static enum qvl_dtype scanned_dtype(const struct qvl_tensor *t)
{
    return t->dtype == QVL_STORED ? QVL_F32 : t->dtype;
}

static size_t n_bytes_of(const struct qvl_tensor *t)
{
    return qvl_dtype_is_packed(t->dtype) ? 0 : (size_t)t->n_element * qvl_dtype_bytes(scanned_dtype(t));
}

static size_t n_job_bytes_of(const struct qvl_tensor *t)
{
    return t->dtype == QVL_STORED ? SCAN_ROWS * qvl_tensor_n_in(t) * sizeof(float) : SCAN_BYTES;
}

/* n bytes of its numbers from `begin`, where they lie or widened. */
static const uint8_t *numbers_of(const struct qvl_tensor *t, size_t begin, size_t n, float *scratch)
{
    size_t n_row_bytes = qvl_tensor_n_in(t) * sizeof *scratch;
    if (t->dtype != QVL_STORED)
        return (const uint8_t *)t->data + begin;
    qvl_stored_rows(t, begin / n_row_bytes, n / n_row_bytes, scratch);
    return (const uint8_t *)scratch;
}

/* The tensor that a job looks at, and its n bytes from `begin`. */
static const struct qvl_tensor *tensor_of_job(const struct scan *scan, size_t i_job, size_t *begin, size_t *n)
{
    size_t low = 0, high = scan->n;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (scan->first_job[middle] <= i_job)
            low = middle;
        else
            high = middle;
    }
    const struct qvl_tensor *t = &scan->tensor[low];
    *begin = (i_job - scan->first_job[low]) * n_job_bytes_of(t);
    *n = qvl_min_size(n_bytes_of(t) - *begin, n_job_bytes_of(t));
    return t;
}

static void scan_job(void *arg, size_t i_job, size_t i_thread)
{
    struct scan *scan = arg;
    size_t begin, n;
    const struct qvl_tensor *t = tensor_of_job(scan, i_job, &begin, &n);
    const uint8_t *numbers = numbers_of(t, begin, n, scan->scratch + i_thread * scan->n_scratch);
    if (!not_finite(numbers, n, &exponents[scanned_dtype(t)]))
        return;
    uint64_t at = atomic_load(&scan->at);
    while (i_job < at && !atomic_compare_exchange_weak(&scan->at, &at, i_job))
        ;
}

static enum qvl_status report_not_finite(const struct scan *scan, struct qvl_error *err)
{
    size_t begin, n, i = 0;
    const struct qvl_tensor *t = tensor_of_job(scan, (size_t)atomic_load(&scan->at), &begin, &n);
    size_t size = qvl_dtype_bytes(scanned_dtype(t));
    const uint8_t *numbers = numbers_of(t, begin, n, scan->scratch);
    while (i < n && !not_finite(numbers + i, size, &exponents[scanned_dtype(t)]))
        i += size;
    return qvl_fail(err, QVL_ERR_MODEL, "%s: value %zu of %" PRIu64 " is infinite or not a number", t->name,
                    (begin + i) / size, t->n_element);
}

enum qvl_status qvl_tensors_check_finite(const struct qvl_tensor *tensor, size_t n, struct qvl_pool *pool,
                                         const atomic_bool *stop, struct qvl_error *err)
{
    struct scan scan = {.tensor = tensor, .n = n};
    size_t n_job = 0, *first_job = malloc(n * sizeof *first_job);
    if (!first_job)
        return qvl_fail_memory(err, n * sizeof *first_job, "the scan of the weights");
    for (size_t i = 0; i < n; i++) {
        first_job[i] = n_job;
        n_job += qvl_div_up(n_bytes_of(&tensor[i]), n_job_bytes_of(&tensor[i]));
        if (tensor[i].dtype == QVL_STORED && n_job_bytes_of(&tensor[i]) / sizeof(float) > scan.n_scratch)
            scan.n_scratch = n_job_bytes_of(&tensor[i]) / sizeof(float);
    }
    scan.first_job = first_job;
    atomic_init(&scan.at, UINT64_MAX);
    enum qvl_status status = QVL_OK;
    size_t n_scratch = qvl_pool_n_thread(pool) * scan.n_scratch * sizeof(float);
    if (n_scratch > 0 && !(scan.scratch = malloc(n_scratch)))
        status = qvl_fail_memory(err, n_scratch, "the scan of the weights");
    if (!status && !qvl_pool_run(pool, n_job, scan_job, &scan, stop))
        status = qvl_fail(err, QVL_ERR_CANCELLED, "cancelled while the weights were checked");
    if (!status && atomic_load(&scan.at) != UINT64_MAX)
        status = report_not_finite(&scan, err);
    free(scan.scratch);
    free(first_job);
    return status;
}

enum qvl_status qvl_weights_check_finite(const struct qvl_weights *weights, struct qvl_pool *pool,
                                         const atomic_bool *stop, struct qvl_error *err)
{
    return qvl_tensors_check_finite(qvl_weights_at(weights, 0), qvl_weights_n_tensor(weights), pool, stop, err);
}
