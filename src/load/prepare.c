/* Enters: mapped weights. Leaves: the same with every tensor in the type that products want. A tensor is made in
 * pieces of some tenths of a second (load/quantize.h), one after the other; its source's pages go when it is done,
 * so that memory holds what is made and little more. */
#include "load/prepare.h"

#include <string.h>

#include "load/quantize.h"
#include "load/stored.h"

bool qvl_weights_is_foreign(const struct qvl_weights *weights)
{
    for (size_t i = 0; i < qvl_weights_n_tensor(weights); i++) {
        const struct qvl_tensor *t = qvl_weights_at(weights, i);
        if (t->dtype == QVL_STORED && strncmp(t->name, "model.visual.", strlen("model.visual.")) != 0)
            return true;
    }
    return false;
}

bool qvl_weights_is_rounded(const struct qvl_weights *weights)
{
    for (size_t i = 0; i < qvl_weights_n_tensor(weights); i++)
        if (qvl_stored_is_rounded(qvl_weights_at(weights, i)))
            return true;
    return false;
}

static bool has_stored(const struct qvl_weights *weights)
{
    for (size_t i = 0; i < qvl_weights_n_tensor(weights); i++)
        if (qvl_weights_at(weights, i)->dtype == QVL_STORED)
            return true;
    return false;
}

bool qvl_weights_needs_preparing(const struct qvl_weights *weights, const struct qvl_config *config,
                                 const struct qvl_config *want)
{
    return want->quantization != config->quantization || want->is_vision_packed != config->is_vision_packed ||
           has_stored(weights);
}

const struct qvl_tensor *qvl_weights_source(const struct qvl_weights *weights, const struct qvl_tensor *planned)
{
    const struct qvl_tensor *from = qvl_weights_find(weights, planned->name);
    if (from)
        return from;
    bool is_tied = !qvl_weights_find(weights, "lm_head.weight");
    return qvl_weights_find(weights, qvl_quantize_source(planned->name, is_tied));
}

enum qvl_status qvl_weights_plan(const struct qvl_weights *weights, const struct qvl_config *want,
                                 enum qvl_dtype floats, struct qvl_arena *arena, struct qvl_tensor **out,
                                 size_t *out_n, struct qvl_error *err)
{
    bool is_stored = has_stored(weights);
    enum qvl_status status = qvl_weights_expect(want, arena, out, out_n, err);
    for (size_t i = 0; i < *out_n && !status; i++) {
        struct qvl_tensor *to = &(*out)[i];
        const struct qvl_tensor *from = qvl_weights_source(weights, to);
        bool is_packed = qvl_dtype_is_packed(to->dtype);
        if (!is_packed && from->dtype == QVL_STORED)
            to->dtype = to->is_matrix ? floats : QVL_F32;
        else if (!is_packed && !(is_stored && to->is_matrix && floats == QVL_BF16))
            to->dtype = from->dtype;
        if (to->dtype == from->dtype)
            *to = *from;
    }
    return status;
}

enum qvl_status qvl_weights_prepared_bytes(const struct qvl_weights *weights, const struct qvl_config *config,
                                           const struct qvl_config *want, enum qvl_dtype floats, uint64_t *out,
                                           struct qvl_error *err)
{
    struct qvl_arena arena = {0};
    struct qvl_tensor *tensor = NULL;
    size_t n = 0;
    enum qvl_status status = QVL_OK;
    *out = 0;
    if (!qvl_weights_needs_preparing(weights, config, want))
        *out = qvl_weights_bytes(weights);
    else
        status = qvl_weights_plan(weights, want, floats, &arena, &tensor, &n, err);
    for (size_t i = 0; i < n && !status; i++)
        *out += qvl_tensor_bytes(&tensor[i]);
    qvl_arena_free(&arena);
    return status;
}

/* ---- in memory ----------------------------------------------------------------------------------- */

struct work {
    const struct qvl_prepare_options *options;
    uint64_t done, total;
};

static enum qvl_status make_tensor(struct qvl_weights *weights, struct qvl_tensor *to, struct work *work,
                                   struct qvl_pool *pool, struct qvl_error *err)
{
    const struct qvl_prepare_options *o = work->options;
    const struct qvl_tensor *from = qvl_weights_source(weights, to);
    size_t n_out = (size_t)to->dim[0], n_piece = qvl_quantize_piece(to), end;
    uint64_t done = work->done;
    void *out =
        qvl_arena_alloc(qvl_weights_arena(weights), (size_t)qvl_tensor_bytes(to), 1, "quantised weights", err);
    enum qvl_status status = out ? QVL_OK : err->status;
    for (size_t i = 0; i < n_out && !status; i = end) {
        end = qvl_min_size(i + n_piece, n_out);
        status = qvl_quantize_rows(from, to->dtype, i, end, pool, o->stop, out, err);
        work->done = done + qvl_quantize_work(to) / n_out * end;
        if (o->tell)
            o->tell(o->tell_arg, (double)work->done / (double)work->total);
    }
    to->data = out;
    qvl_weights_let_go(weights, from);
    return status;
}

enum qvl_status qvl_weights_prepare(struct qvl_weights *weights, struct qvl_config *config,
                                    const struct qvl_config *want, const struct qvl_prepare_options *options,
                                    struct qvl_pool *pool, struct qvl_error *err)
{
    struct qvl_tensor *tensor = NULL;
    struct work work = {.options = options};
    size_t n = 0;
    enum qvl_status status =
        qvl_weights_plan(weights, want, options->floats, qvl_weights_arena(weights), &tensor, &n, err);
    for (size_t i = 0; i < n && !status; i++)
        work.total += tensor[i].data ? 0 : qvl_quantize_work(&tensor[i]);
    for (size_t i = 0; i < n && !status; i++)
        if (!tensor[i].data)
            status = make_tensor(weights, &tensor[i], &work, pool, err);
    if (status)
        return status;
    qvl_weights_replace(weights, tensor, n);
    *config = *want;
    return QVL_OK;
}
