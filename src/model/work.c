#include "model/work.h"

#include "model/kv_cache.h"

static void add_linear(struct qvl_work *work, const struct qvl_linear *linear, double n_row)
{
    double n_weight = (double)linear->n_out * linear->n_in;
    work->n_mac += n_weight * n_row;
    work->n_byte += qvl_dtype_is_packed(linear->dtype)
                        ? (double)qvl_packed_bytes(linear->n_out, linear->n_in, linear->dtype)
                        : n_weight * (double)qvl_dtype_bytes(linear->dtype);
}

struct qvl_work qvl_vision_work(const struct qvl_model *model, struct qvl_grid grid)
{
    const struct qvl_vision_config *v = &model->config.vision;
    double n_patch = (double)qvl_grid_n_patch(grid), n_tok = n_patch / (v->merge * v->merge);
    struct qvl_work work = {0};
    add_linear(&work, &model->patch_embed, n_patch);
    for (uint32_t i = 0; i < v->n_layer; i++) {
        const struct qvl_vision_block *block = &model->block[i];
        add_linear(&work, &block->qkv, n_patch);
        add_linear(&work, &block->proj, n_patch);
        add_linear(&work, &block->fc1, n_patch);
        add_linear(&work, &block->fc2, n_patch);
    }
    for (uint32_t i = 0; i <= v->n_tap; i++) {
        const struct qvl_merger *merger = i < v->n_tap ? &model->tap[i] : &model->merger;
        add_linear(&work, &merger->fc1, n_tok);
        add_linear(&work, &merger->fc2, n_tok);
    }
    /* each patch with each of its temporal patch: scores, and the sum of values */
    work.n_mac += 2.0 * v->n_layer * v->n_head * v->head_dim * n_patch * (n_patch / grid.t);
    return work;
}

struct qvl_work qvl_decoder_work(const struct qvl_model *model, size_t n_row, size_t n_before, size_t n_logits)
{
    const struct qvl_text_config *t = &model->config.text;
    double rows = (double)n_row, before = (double)n_before;
    struct qvl_work work = {0};
    for (uint32_t i = 0; i < t->n_layer; i++) {
        const struct qvl_decoder_layer *layer = &model->layer[i];
        const struct qvl_linear *const linear[] = {&layer->q,    &layer->k,  &layer->v,   &layer->o,
                                                   &layer->gate, &layer->up, &layer->down};
        for (size_t k = 0; k < sizeof linear / sizeof linear[0]; k++) /* NOLINT(bugprone-sizeof-expression) */
            add_linear(&work, linear[k], rows);
    }
    if (n_logits > 0)
        add_linear(&work, &model->head, (double)n_logits);
    /* a row sees what stands before it, and itself */
    double n_pair = rows * before + rows * (rows + 1) / 2;
    work.n_mac += 2.0 * t->n_layer * t->n_head * t->head_dim * n_pair;
    work.n_byte += (double)qvl_kv_block_bytes(&model->config.text, model->kv) / QVL_KV_BLOCK * before;
    return work;
}
