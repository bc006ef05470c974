/* What `qvl quantize` has written, read once as a whole: each tensor's bytes against the sha256 in the file's
 * header, and each scale a finite number (a packed number itself always is one).
 *
 * A job is a tensor; the first one by name that has a fault is told, whatever the number of threads. */
#include "load/weights.h"

#include <math.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/levels.h"
#include "load/quantize.h"

enum { HASH_BYTES = 16 << 20 }; /* between two looks at the stop flag */

struct check {
    const struct qvl_weights *weights;
    const atomic_bool *stop;
    bool *has_other_bytes; /* [n_tensor] */
    bool *has_bad_scale;   /* [n_tensor] */
};

static bool is_stopped(const struct check *check)
{
    return check->stop && atomic_load_explicit(check->stop, memory_order_relaxed);
}

/* True also where it was stopped. */
static bool has_its_sum(const struct check *check, const struct qvl_tensor *t)
{
    struct sha256_ctx sha;
    uint8_t sum[SHA256_DIGEST_SIZE];
    const uint8_t *bytes = t->data;
    size_t n = (size_t)qvl_tensor_bytes(t);
    sha256_init(&sha);
    for (size_t i = 0; i < n && !is_stopped(check); i += HASH_BYTES)
        sha256_update(&sha, qvl_min_size(n - i, HASH_BYTES), bytes + i);
    sha256_digest(&sha, sizeof sum, sum);
    return is_stopped(check) || memcmp(sum, t->sha256, sizeof sum) == 0;
}

/* ---- scales ---------------------------------------------------------------------------------------- */

static bool has_finite_q8_scales(const struct qvl_packed_head *head)
{
    const uint8_t *block = (const uint8_t *)head + qvl_packed_panels_at(head->n_out, QVL_Q8);
    size_t n_block = qvl_div_up(head->n_out, QVL_PANEL_ROWS) * qvl_panel_n_block(head->n_in, QVL_Q8);
    for (size_t i = 0; i < n_block; i++, block += QVL_PANEL_BLOCK_BYTES) {
        const qvl_bf16 *scale = (const void *)block;
        for (size_t k = 0; k < QVL_PANEL_LINE / sizeof *scale; k++)
            if (!isfinite(qvl_bf16_widen(scale[k])))
                return false;
    }
    return true;
}

/* Those of the groups are finite whatever their bits. */
static bool has_finite_q4_factors(const struct qvl_packed_head *head)
{
    const float *factor = (const void *)(head + 1);
    for (size_t i = 0; i < head->n_out; i++)
        if (!isfinite(factor[i]))
            return false;
    return true;
}

static bool has_finite_a8_scales(const struct qvl_packed_head *head)
{
    size_t n_block = head->n_out * qvl_div_up(head->n_in, QVL_A8_BLOCK);
    const struct qvl_a8_block *block = qvl_a8_row(head, 0);
    for (size_t i = 0; i < n_block; i++)
        for (size_t k = 0; k < QVL_A8_BLOCK / QVL_GROUP; k++)
            if (!isfinite(block[i].scale[k]))
                return false;
    return true;
}

static bool has_finite_scales(const struct qvl_tensor *t)
{
    switch (t->dtype) {
    case QVL_Q8: return has_finite_q8_scales(t->data);
    case QVL_Q4: return has_finite_q4_factors(t->data);
    case QVL_A8: return has_finite_a8_scales(t->data);
    default: return true;
    }
}

/* ---- all -------------------------------------------------------------------------------------------- */

static void check_job(void *arg, size_t i_job, size_t i_thread)
{
    struct check *check = arg;
    const struct qvl_tensor *t = qvl_weights_at(check->weights, i_job);
    (void)i_thread;
    check->has_other_bytes[i_job] = t->sha256 && !has_its_sum(check, t);
    check->has_bad_scale[i_job] = !has_finite_scales(t);
}

static enum qvl_status report(const struct check *check, size_t n, struct qvl_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = qvl_weights_at(check->weights, i)->name;
        if (check->has_other_bytes[i])
            return qvl_fail(err, QVL_ERR_MODEL,
                            "%s: its bytes are not those that the file's checksum was made of: the file is damaged",
                            name);
        if (check->has_bad_scale[i])
            return qvl_fail(err, QVL_ERR_MODEL, "%s: a scale is infinite or not a number", name);
    }
    return QVL_OK;
}

enum qvl_status qvl_weights_check_packed(const struct qvl_weights *weights, struct qvl_pool *pool,
                                         const atomic_bool *stop, struct qvl_error *err)
{
    size_t n = qvl_weights_n_tensor(weights);
    bool *fault = calloc(2 * n, sizeof *fault);
    if (!fault)
        return qvl_fail_memory(err, 2 * n * sizeof *fault, "the scan of the weights");
    struct check check = {.weights = weights, .stop = stop, .has_other_bytes = fault, .has_bad_scale = fault + n};
    enum qvl_status status = QVL_OK;
    if (!qvl_pool_run(pool, n, check_job, &check, stop))
        status = qvl_fail(err, QVL_ERR_CANCELLED, "cancelled while the weights were checked");
    else
        status = report(&check, n, err);
    free(fault);
    return status;
}
