/* The one place that knows which tensors a checkpoint of this family has: names with '#' for a number, and
 * shapes in terms of the config. Rows are PyTorch's: [out, in], row-major.
 *
 * Source of truth: the modules of modeling_qwen3_vl.py. Published sizes, by this table and by the library:
 * 2B 625 tensors, 4B 713, 8B 750, 32B 1058. MODEL.md, "Tensors". */
#include "load/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

enum size {
    NONE,
    VOCAB,
    HIDDEN,
    QUERY, /* heads * head_dim */
    KEY,   /* key-value heads * head_dim */
    HEAD,  /* head_dim */
    MLP,
    V_POSITION, /* vision: */
    V_HIDDEN,
    V_QKV, /* all of q, then k, then v */
    V_MLP,
    V_MERGED, /* merge^2 patches side by side */
    CHANNEL,
    TIME,
    PATCH,
    N_SIZE
};

enum repeat { ONCE, WITH_HEAD, WITH_HEAD_ROWS, PER_LAYER, PER_BLOCK, PER_TAP, N_REPEAT };

/* What a quantised checkpoint does with a tensor. A packed head is scanned in 4 bits and its best rows computed
 * again in 8, from the embedding where that is the head, too. */
enum role { PLAIN, MATRIX, SENSITIVE_MATRIX, HEAD_MATRIX, ROWS, VISION_MATRIX, N_ROLE };

static const enum qvl_dtype dtype_of_role[][N_ROLE] = {
    [QVL_QUANTIZE_NONE] = {QVL_BF16, QVL_BF16, QVL_BF16, QVL_BF16, QVL_BF16, QVL_BF16},
    [QVL_QUANTIZE_Q8] = {QVL_BF16, QVL_Q8, QVL_Q8, QVL_Q4, QVL_A8, QVL_BF16},
    [QVL_QUANTIZE_Q4] = {QVL_BF16, QVL_Q4, QVL_Q4, QVL_Q4, QVL_A8, QVL_BF16},
    [QVL_QUANTIZE_BALANCED] = {QVL_BF16, QVL_Q4, QVL_Q8, QVL_Q4, QVL_A8, QVL_BF16},
};

static const struct pattern {
    const char *name;
    enum repeat repeat;
    enum size dim[QVL_MAX_DIMS];
    enum role role;
} patterns[] = {
#define LAYER "model.language_model.layers.#."
    {"model.language_model.embed_tokens.weight", ONCE, {VOCAB, HIDDEN}, ROWS},
    {LAYER "input_layernorm.weight", PER_LAYER, {HIDDEN}, PLAIN},
    {LAYER "self_attn.q_proj.weight", PER_LAYER, {QUERY, HIDDEN}, MATRIX},
    {LAYER "self_attn.k_proj.weight", PER_LAYER, {KEY, HIDDEN}, SENSITIVE_MATRIX},
    {LAYER "self_attn.v_proj.weight", PER_LAYER, {KEY, HIDDEN}, SENSITIVE_MATRIX},
    {LAYER "self_attn.o_proj.weight", PER_LAYER, {HIDDEN, QUERY}, MATRIX},
    {LAYER "self_attn.q_norm.weight", PER_LAYER, {HEAD}, PLAIN},
    {LAYER "self_attn.k_norm.weight", PER_LAYER, {HEAD}, PLAIN},
    {LAYER "post_attention_layernorm.weight", PER_LAYER, {HIDDEN}, PLAIN},
    {LAYER "mlp.gate_proj.weight", PER_LAYER, {MLP, HIDDEN}, MATRIX},
    {LAYER "mlp.up_proj.weight", PER_LAYER, {MLP, HIDDEN}, MATRIX},
    {LAYER "mlp.down_proj.weight", PER_LAYER, {HIDDEN, MLP}, SENSITIVE_MATRIX},
    {"model.language_model.norm.weight", ONCE, {HIDDEN}, PLAIN},
    {"lm_head.weight", WITH_HEAD, {VOCAB, HIDDEN}, HEAD_MATRIX},
    {"lm_head.rows.weight", WITH_HEAD_ROWS, {VOCAB, HIDDEN}, ROWS},
#define BLOCK "model.visual.blocks.#."
    {"model.visual.patch_embed.proj.weight", ONCE, {V_HIDDEN, CHANNEL, TIME, PATCH, PATCH}, VISION_MATRIX},
    {"model.visual.patch_embed.proj.bias", ONCE, {V_HIDDEN}, PLAIN},
    {"model.visual.pos_embed.weight", ONCE, {V_POSITION, V_HIDDEN}, PLAIN},
    {BLOCK "norm1.weight", PER_BLOCK, {V_HIDDEN}, PLAIN},
    {BLOCK "norm1.bias", PER_BLOCK, {V_HIDDEN}, PLAIN},
    {BLOCK "attn.qkv.weight", PER_BLOCK, {V_QKV, V_HIDDEN}, VISION_MATRIX},
    {BLOCK "attn.qkv.bias", PER_BLOCK, {V_QKV}, PLAIN},
    {BLOCK "attn.proj.weight", PER_BLOCK, {V_HIDDEN, V_HIDDEN}, VISION_MATRIX},
    {BLOCK "attn.proj.bias", PER_BLOCK, {V_HIDDEN}, PLAIN},
    {BLOCK "norm2.weight", PER_BLOCK, {V_HIDDEN}, PLAIN},
    {BLOCK "norm2.bias", PER_BLOCK, {V_HIDDEN}, PLAIN},
    {BLOCK "mlp.linear_fc1.weight", PER_BLOCK, {V_MLP, V_HIDDEN}, VISION_MATRIX},
    {BLOCK "mlp.linear_fc1.bias", PER_BLOCK, {V_MLP}, PLAIN},
    {BLOCK "mlp.linear_fc2.weight", PER_BLOCK, {V_HIDDEN, V_MLP}, VISION_MATRIX},
    {BLOCK "mlp.linear_fc2.bias", PER_BLOCK, {V_HIDDEN}, PLAIN},
#define MERGER "model.visual.merger."
    {MERGER "norm.weight", ONCE, {V_HIDDEN}, PLAIN}, /* before the patches are put side by side */
    {MERGER "norm.bias", ONCE, {V_HIDDEN}, PLAIN},
    {MERGER "linear_fc1.weight", ONCE, {V_MERGED, V_MERGED}, VISION_MATRIX},
    {MERGER "linear_fc1.bias", ONCE, {V_MERGED}, PLAIN},
    {MERGER "linear_fc2.weight", ONCE, {HIDDEN, V_MERGED}, VISION_MATRIX},
    {MERGER "linear_fc2.bias", ONCE, {HIDDEN}, PLAIN},
#define TAP "model.visual.deepstack_merger_list.#."
    {TAP "norm.weight", PER_TAP, {V_MERGED}, PLAIN}, /* after */
    {TAP "norm.bias", PER_TAP, {V_MERGED}, PLAIN},
    {TAP "linear_fc1.weight", PER_TAP, {V_MERGED, V_MERGED}, VISION_MATRIX},
    {TAP "linear_fc1.bias", PER_TAP, {V_MERGED}, PLAIN},
    {TAP "linear_fc2.weight", PER_TAP, {HIDDEN, V_MERGED}, VISION_MATRIX},
    {TAP "linear_fc2.bias", PER_TAP, {HIDDEN}, PLAIN},
};

#define N_PATTERN (sizeof patterns / sizeof *patterns)

static void fill_sizes(const struct qvl_config *c, uint64_t size[N_SIZE], uint32_t n_repeat[N_REPEAT])
{
    const struct qvl_text_config *t = &c->text;
    const struct qvl_vision_config *v = &c->vision;
    size[NONE] = 0;
    size[VOCAB] = t->vocab;
    size[HIDDEN] = t->hidden;
    size[QUERY] = (uint64_t)t->n_head * t->head_dim;
    size[KEY] = (uint64_t)t->n_kv_head * t->head_dim;
    size[HEAD] = t->head_dim;
    size[MLP] = t->intermediate;
    size[V_POSITION] = v->n_position;
    size[V_HIDDEN] = v->hidden;
    size[V_QKV] = 3ull * v->hidden;
    size[V_MLP] = v->intermediate;
    size[V_MERGED] = (uint64_t)v->hidden * v->merge * v->merge;
    size[CHANNEL] = v->in_channels;
    size[TIME] = v->temporal_patch;
    size[PATCH] = v->patch;
    n_repeat[ONCE] = 1;
    bool is_packed = c->quantization != QVL_QUANTIZE_NONE;
    n_repeat[WITH_HEAD] = !t->is_tied || is_packed;
    n_repeat[WITH_HEAD_ROWS] = !t->is_tied && is_packed;
    n_repeat[PER_LAYER] = t->n_layer;
    n_repeat[PER_BLOCK] = v->n_layer;
    n_repeat[PER_TAP] = v->n_tap;
}

static struct qvl_tensor shape_of(const struct pattern *pattern, const uint64_t size[N_SIZE],
                                  const struct qvl_config *config)
{
    struct qvl_tensor tensor = {.dtype = dtype_of_role[config->quantization][pattern->role],
                                .n_element = 1,
                                .is_matrix = pattern->role != PLAIN};
    if (pattern->role == VISION_MATRIX && config->is_vision_packed)
        tensor.dtype = QVL_Q8;
    while (tensor.n_dim < QVL_MAX_DIMS && pattern->dim[tensor.n_dim] != NONE) {
        tensor.dim[tensor.n_dim] = size[pattern->dim[tensor.n_dim]];
        tensor.n_element *= tensor.dim[tensor.n_dim++]; /* fits: config_table.c bounds each factor */
    }
    return tensor;
}

static const char *name_of(const struct pattern *pattern, uint32_t index, struct qvl_arena *arena,
                           struct qvl_error *err)
{
    char text[QVL_MAX_TENSOR_NAME_BYTES];
    const char *number = strchr(pattern->name, '#');
    int n = number ? snprintf(text, sizeof text, "%.*s%u%s", (int)(number - pattern->name), pattern->name, index,
                              number + 1)
                   : snprintf(text, sizeof text, "%s", pattern->name);
    return qvl_arena_copy_text(arena, text, (size_t)n, err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct qvl_tensor *)a)->name, ((const struct qvl_tensor *)b)->name);
}

void qvl_weights_count(const struct qvl_config *config, size_t *n_tensor, uint64_t *n_parameter)
{
    uint64_t size[N_SIZE];
    uint32_t n_repeat[N_REPEAT];
    fill_sizes(config, size, n_repeat);
    *n_tensor = 0;
    *n_parameter = 0;
    for (size_t i = 0; i < N_PATTERN; i++) {
        *n_tensor += n_repeat[patterns[i].repeat];
        if (patterns[i].repeat != WITH_HEAD_ROWS && (patterns[i].repeat != WITH_HEAD || !config->text.is_tied))
            *n_parameter += n_repeat[patterns[i].repeat] * shape_of(&patterns[i], size, config).n_element;
    }
}

enum qvl_status qvl_weights_expect(const struct qvl_config *config, struct qvl_arena *arena,
                                   struct qvl_tensor **out, size_t *out_n, struct qvl_error *err)
{
    uint64_t size[N_SIZE], n_parameter;
    uint32_t n_repeat[N_REPEAT];
    size_t n = 0, n_tensor = 0;
    fill_sizes(config, size, n_repeat);
    qvl_weights_count(config, &n_tensor, &n_parameter);
    struct qvl_tensor *tensor = qvl_arena_alloc(arena, n_tensor, sizeof *tensor, "tensor table", err);
    if (!tensor)
        return err->status;
    for (size_t i = 0; i < N_PATTERN; i++) {
        for (uint32_t k = 0; k < n_repeat[patterns[i].repeat]; k++, n++) {
            tensor[n] = shape_of(&patterns[i], size, config);
            if (!(tensor[n].name = name_of(&patterns[i], k, arena, err)))
                return err->status;
        }
    }
    qsort(tensor, n, sizeof *tensor, compare_names);
    *out = tensor;
    *out_n = n;
    return QVL_OK;
}
