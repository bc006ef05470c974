/* Enters: config and mapped weights. Leaves: each tensor at its place in struct qvl_model, what the kernels want in
 * f32 (norms, biases) copied, rotary frequencies computed.
 *
 * Matrices stay where the files are mapped. Names and shapes were checked against the config when the files were
 * opened (load/weights.h), so a tensor that is not found is a fault of qvl.
 *
 * Surprises: patch_embed is stored [hidden, 3, 2, 16, 16], which is a matrix [hidden, 1536] in the order of the
 * patch rows. In the tower q, k and v are one matrix, in that order, each head-major. */
#include "model/model.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "model/attention.h"
#include "model/mistake.h"
#include "model/rope.h"

#define MAX_NAME 128

#ifdef QVL_MISTAKES
enum qvl_mistake qvl_mistake = QVL_MISTAKE_NONE;
#endif

struct binder {
    const struct qvl_weights *weights;
    struct qvl_model *model;
    bool is_all_bf16; /* every matrix so far that is not packed */
};

/* ---- one tensor ---------------------------------------------------------------------------------- */

static enum qvl_status find(const struct binder *b, const char *prefix, const char *name,
                            const struct qvl_tensor **out, struct qvl_error *err)
{
    char full[MAX_NAME];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    *out = qvl_weights_find(b->weights, full);
    return *out ? QVL_OK : qvl_fail(err, QVL_ERR_INTERNAL, "the checkpoint's table has no tensor %s", full);
}

static enum qvl_status bind_floats(const struct binder *b, const char *prefix, const char *name, const float **out,
                                   uint32_t *out_n, struct qvl_error *err)
{
    const struct qvl_tensor *tensor = NULL;
    enum qvl_status status = find(b, prefix, name, &tensor, err);
    if (status)
        return status;
    float *copy = qvl_arena_alloc(&b->model->arena, tensor->n_element, sizeof *copy, "norms and biases", err);
    if (!copy)
        return QVL_ERR_MEMORY;
    if (tensor->dtype == QVL_BF16)
        b->model->kernels->bf16_to_f32(copy, tensor->data, tensor->n_element);
    else if (tensor->dtype == QVL_F16)
        b->model->kernels->f16_to_f32(copy, tensor->data, tensor->n_element);
    else
        memcpy(copy, tensor->data, tensor->n_element * sizeof *copy);
    *out = copy;
    *out_n = (uint32_t)tensor->n_element;
    return QVL_OK;
}

static enum qvl_status bind_norm(const struct binder *b, const char *prefix, const char *name, bool has_bias,
                                 struct qvl_layer_norm *out, struct qvl_error *err)
{
    char part[MAX_NAME];
    uint32_t n_bias = 0;
    snprintf(part, sizeof part, "%s.weight", name);
    enum qvl_status status = bind_floats(b, prefix, part, &out->w, &out->n, err);
    if (status || !has_bias)
        return status;
    snprintf(part, sizeof part, "%s.bias", name);
    return bind_floats(b, prefix, part, &out->b, &n_bias, err);
}

static enum qvl_status bind_linear(struct binder *b, const char *prefix, const char *name, bool has_bias,
                                   struct qvl_linear *out, struct qvl_error *err)
{
    char part[MAX_NAME];
    const struct qvl_tensor *tensor = NULL;
    uint32_t n_bias = 0;
    snprintf(part, sizeof part, "%s.weight", name);
    enum qvl_status status = find(b, prefix, part, &tensor, err);
    if (status)
        return status;
    out->w = tensor->data;
    out->dtype = tensor->dtype;
    out->n_out = (uint32_t)tensor->dim[0];
    out->n_in = (uint32_t)(tensor->n_element / tensor->dim[0]);
    b->is_all_bf16 = b->is_all_bf16 && (tensor->dtype == QVL_BF16 || qvl_dtype_is_packed(tensor->dtype));
    if (!has_bias)
        return QVL_OK;
    snprintf(part, sizeof part, "%s.bias", name);
    return bind_floats(b, prefix, part, &out->bias, &n_bias, err);
}

/* ---- the towers ---------------------------------------------------------------------------------- */

static enum qvl_status bind_vision_block(struct binder *b, uint32_t i, struct qvl_error *err)
{
    struct qvl_vision_block *block = &b->model->block[i];
    enum qvl_status status;
    char p[MAX_NAME];
    snprintf(p, sizeof p, "model.visual.blocks.%u.", i);
    if ((status = bind_norm(b, p, "norm1", true, &block->norm1, err)) ||
        (status = bind_norm(b, p, "norm2", true, &block->norm2, err)) ||
        (status = bind_linear(b, p, "attn.qkv", true, &block->qkv, err)) ||
        (status = bind_linear(b, p, "attn.proj", true, &block->proj, err)) ||
        (status = bind_linear(b, p, "mlp.linear_fc1", true, &block->fc1, err)))
        return status;
    return bind_linear(b, p, "mlp.linear_fc2", true, &block->fc2, err);
}

static enum qvl_status bind_merger(struct binder *b, const char *prefix, bool is_norm_after_merge,
                                   struct qvl_merger *merger, struct qvl_error *err)
{
    enum qvl_status status;
    merger->is_norm_after_merge = is_norm_after_merge;
    if ((status = bind_norm(b, prefix, "norm", true, &merger->norm, err)) ||
        (status = bind_linear(b, prefix, "linear_fc1", true, &merger->fc1, err)))
        return status;
    return bind_linear(b, prefix, "linear_fc2", true, &merger->fc2, err);
}

static enum qvl_status bind_vision(struct binder *b, struct qvl_error *err)
{
    struct qvl_model *m = b->model;
    const struct qvl_vision_config *vision = &m->config.vision;
    enum qvl_status status;
    m->block = qvl_arena_alloc(&m->arena, vision->n_layer, sizeof *m->block, "the tower's table", err);
    if (!m->block)
        return QVL_ERR_MEMORY;
    if ((status = bind_linear(b, "model.visual.", "patch_embed.proj", true, &m->patch_embed, err)) ||
        (status = find(b, "model.visual.", "pos_embed.weight", &m->position, err)) ||
        (status = bind_merger(b, "model.visual.merger.", false, &m->merger, err)))
        return status;
    for (uint32_t i = 0; i < vision->n_layer; i++)
        if ((status = bind_vision_block(b, i, err)))
            return status;
    for (uint32_t i = 0; i < vision->n_tap; i++) {
        char p[MAX_NAME];
        snprintf(p, sizeof p, "model.visual.deepstack_merger_list.%u.", i);
        if ((status = bind_merger(b, p, true, &m->tap[i], err)))
            return status;
    }
    return QVL_OK;
}

static enum qvl_status bind_decoder_layer(struct binder *b, uint32_t i, struct qvl_error *err)
{
    struct qvl_decoder_layer *layer = &b->model->layer[i];
    enum qvl_status status;
    char p[MAX_NAME];
    snprintf(p, sizeof p, "model.language_model.layers.%u.", i);
    if ((status = bind_norm(b, p, "input_layernorm", false, &layer->input_norm, err)) ||
        (status = bind_norm(b, p, "post_attention_layernorm", false, &layer->post_norm, err)) ||
        (status = bind_norm(b, p, "self_attn.q_norm", false, &layer->q_norm, err)) ||
        (status = bind_norm(b, p, "self_attn.k_norm", false, &layer->k_norm, err)) ||
        (status = bind_linear(b, p, "self_attn.q_proj", false, &layer->q, err)) ||
        (status = bind_linear(b, p, "self_attn.k_proj", false, &layer->k, err)) ||
        (status = bind_linear(b, p, "self_attn.v_proj", false, &layer->v, err)) ||
        (status = bind_linear(b, p, "self_attn.o_proj", false, &layer->o, err)) ||
        (status = bind_linear(b, p, "mlp.gate_proj", false, &layer->gate, err)) ||
        (status = bind_linear(b, p, "mlp.up_proj", false, &layer->up, err)))
        return status;
    return bind_linear(b, p, "mlp.down_proj", false, &layer->down, err);
}

/* What the best rows of a packed head are computed with again. */
static enum qvl_status bind_head_rows(const struct binder *b, struct qvl_error *err)
{
    struct qvl_model *m = b->model;
    const struct qvl_tensor *rows = m->embedding;
    enum qvl_status status = QVL_OK;
    if (!m->config.text.is_tied)
        status = find(b, "lm_head.", "rows.weight", &rows, err);
    m->head_rows = status ? NULL : rows->data;
    return status;
}

static enum qvl_status bind_text(struct binder *b, struct qvl_error *err)
{
    struct qvl_model *m = b->model;
    const struct qvl_text_config *text = &m->config.text;
    enum qvl_status status;
    m->layer = qvl_arena_alloc(&m->arena, text->n_layer, sizeof *m->layer, "the decoder's table", err);
    m->inv_freq = qvl_arena_alloc(&m->arena, text->head_dim / 2, sizeof *m->inv_freq, "rotary tables", err);
    if (!m->layer || !m->inv_freq)
        return QVL_ERR_MEMORY;
    qvl_rope_frequencies(text, m->inv_freq, &m->rope_scale);
    if ((status = find(b, "model.language_model.", "embed_tokens.weight", &m->embedding, err)) ||
        (status = bind_norm(b, "model.language_model.", "norm", false, &m->norm, err)))
        return status;
    bool is_packed = m->config.quantization != QVL_QUANTIZE_NONE;
    status = text->is_tied && !is_packed
                 ? bind_linear(b, "model.language_model.", "embed_tokens", false, &m->head, err)
                 : bind_linear(b, "", "lm_head", false, &m->head, err);
    if (!status && is_packed)
        status = bind_head_rows(b, err);
    for (uint32_t i = 0; i < text->n_layer && !status; i++)
        status = bind_decoder_layer(b, i, err);
    return status;
}

/* ---- the model ----------------------------------------------------------------------------------- */

/* A thread's scratch holds one row of a norm, the best scores of a head's strips, two rows of the tower, or one
 * tile of attention. */
static enum qvl_status alloc_scratch(struct qvl_model *m, struct qvl_error *err)
{
    const struct qvl_text_config *text = &m->config.text;
    const struct qvl_vision_config *vision = &m->config.vision;
    size_t merged = (size_t)vision->merge * vision->merge * vision->hidden;
    size_t need[] = {
        text->hidden * sizeof(float),
        qvl_div_up(text->vocab, QVL_HEAD_STRIP) * sizeof(float),
        merged * sizeof(float),
        2 * vision->hidden * sizeof(float),
        qvl_attention_tile_bytes(vision->head_dim, 1),
        qvl_attention_tile_bytes(text->head_dim, text->n_head / text->n_kv_head),
    };
    for (size_t i = 0; i < sizeof need / sizeof *need; i++)
        m->scratch_bytes = need[i] > m->scratch_bytes ? need[i] : m->scratch_bytes;
    m->scratch_bytes = qvl_round_up(m->scratch_bytes, 64) + 64; /* + 64: threads apart in the cache's sets */
    m->scratch = qvl_arena_alloc(&m->arena, qvl_pool_n_thread(m->pool), m->scratch_bytes, "threads' scratch", err);
    return m->scratch ? QVL_OK : QVL_ERR_MEMORY;
}

enum qvl_dtype qvl_model_kv_dtype(enum qvl_compute compute, enum qvl_kv_type kv)
{
    if (kv == QVL_KV_INT8)
        return QVL_I8;
    return compute == QVL_COMPUTE_BF16 ? QVL_BF16 : QVL_F32;
}

enum qvl_status qvl_model_bind(const struct qvl_config *config, const struct qvl_weights *weights,
                               const struct qvl_kernels *kernels, struct qvl_pool *pool, enum qvl_compute compute,
                               enum qvl_kv_type kv, struct qvl_model *out, struct qvl_error *err)
{
    struct qvl_model model = {.config = *config, .kernels = kernels, .pool = pool};
    struct binder binder = {.weights = weights, .model = &model, .is_all_bf16 = true};
    enum qvl_status status;
    if ((status = bind_vision(&binder, err)) || (status = bind_text(&binder, err)) ||
        (status = alloc_scratch(&model, err))) {
        qvl_model_free(&model);
        return status;
    }
    bool is_bf16 = compute == QVL_COMPUTE_BF16;
    model.vision_act = is_bf16 && kernels->is_bf16_fast && binder.is_all_bf16 ? QVL_BF16 : QVL_F32;
    model.text_act = config->quantization == QVL_QUANTIZE_NONE ? model.vision_act : QVL_A8;
    if (config->is_vision_packed)
        model.vision_act = QVL_A8;
    model.vision_kv = is_bf16 ? QVL_BF16 : QVL_F32;
    model.kv = qvl_model_kv_dtype(compute, kv);
    *out = model;
    return QVL_OK;
}

void qvl_model_free(struct qvl_model *model)
{
    qvl_arena_free(&model->arena);
    *model = (struct qvl_model){0};
}
