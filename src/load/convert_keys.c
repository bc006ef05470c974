/* A config in, keys out: the names, kinds and order of convert_hf_to_gguf.py, so that a file is what llama.cpp's
 * own converter would have written. Its heuristics (authors and licences from a model card) are left out.
 *
 * Keys that begin with "qvl." and the two of pixels are added: settings that qvl honours and llama.cpp has no key
 * for, or does not ask of this family. It passes over them; qvl reads them again. Source: MODEL.md, "GGUF". */
#include "load/convert_keys.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TEXT "qwen3vl."
#define CLIP "clip.vision."
enum { QUANTIZATION_VERSION = 2 }; /* of ggml's blocks */
#define LAYER_NORM_EPS 1e-6        /* every LayerNorm of the tower; not in the config */

struct number {
    const char *key;
    enum qvl_gguf_kind kind;
    double value;
};

static enum qvl_status add_numbers(struct qvl_gguf_out *out, const struct number *row, size_t n,
                                   struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = qvl_gguf_add_number(out, row[i].key, row[i].kind, row[i].value, err);
    return status;
}

#define ADD_NUMBERS(out, rows, err) add_numbers(out, rows, sizeof(rows) / sizeof(rows)[0], err)

static enum qvl_status add_text(struct qvl_gguf_out *out, const char *key, const char *text, struct qvl_error *err)
{
    return qvl_gguf_add_string(out, key, text, strlen(text), err);
}

static enum qvl_status add_floats(struct qvl_gguf_out *out, const char *key, const float *x, size_t n,
                                  struct qvl_error *err)
{
    enum qvl_status status = qvl_gguf_add_array(out, key, QVL_GGUF_F32, n, err);
    for (size_t i = 0; i < n && !status; i++)
        status = qvl_gguf_put_number(out, QVL_GGUF_F32, (double)x[i], err);
    return status;
}

/* llama.cpp's numbers for what most matrices of a file are. */
static uint32_t file_type(enum qvl_convert_type type)
{
    return type == QVL_CONVERT_F16 ? 1 : type == QVL_CONVERT_Q8_0 ? 7 : 32;
}

/* ---- both files ------------------------------------------------------------------------------------ */

/* "1.7B", "407M": two digits, or as many as stand before the point. */
static void size_label(uint64_t n_parameter, char *out, size_t n_out)
{
    static const struct {
        double unit;
        char letter;
    } scale[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
    size_t i = 0;
    while (i < 3 && (double)n_parameter <= scale[i].unit)
        i++;
    double x = (double)n_parameter / scale[i].unit, whole = nearbyint(x);
    snprintf(out, n_out, "%.*f%c", whole < 1 ? 2 : whole < 10 ? 1 : 0, x, scale[i].letter);
}

/* How the model's publisher samples. Temperature 0 is the greedy choice of a file that says do_sample false; min_p
 * is said because llama.cpp has 0.05 where it is not. */
static enum qvl_status add_sampling(const struct qvl_generation_config *g, struct qvl_gguf_out *out,
                                    struct qvl_error *err)
{
    const struct number rows[] = {
        {"general.sampling.top_k", QVL_GGUF_I32, g->sampling.top_k},
        {"general.sampling.top_p", QVL_GGUF_F32, (double)g->sampling.top_p},
        {"general.sampling.min_p", QVL_GGUF_F32, (double)g->sampling.min_p},
        {"general.sampling.temp", QVL_GGUF_F32, (double)g->sampling.temperature},
        {"general.sampling.penalty_repeat", QVL_GGUF_F32, (double)g->sampling.repetition_penalty},
        {"qvl.presence_penalty", QVL_GGUF_F32, (double)g->sampling.presence_penalty},
    };
    if (!g->has_file)
        return QVL_OK;
    enum qvl_status status = ADD_NUMBERS(out, rows, err);
    if (!status && g->n_eos)
        status = qvl_gguf_add_array(out, "qvl.eos_token_ids", QVL_GGUF_U32, g->n_eos, err);
    for (uint32_t i = 0; i < g->n_eos && !status; i++)
        status = qvl_gguf_put_number(out, QVL_GGUF_U32, g->eos[i], err);
    return status;
}

static enum qvl_status add_general(const struct qvl_config *config, const struct qvl_convert_label *label,
                                   const char *architecture, const char *type, struct qvl_gguf_out *out,
                                   struct qvl_error *err)
{
    char size[32];
    size_label(label->n_parameter, size, sizeof size);
    enum qvl_status status;
    if ((status = add_text(out, "general.architecture", architecture, err)) ||
        (status = add_text(out, "general.type", type, err)) ||
        (status = add_sampling(&config->generation, out, err)) ||
        (status = qvl_gguf_add_string(out, "general.name", label->name, label->n_name, err)))
        return status;
    return add_text(out, "general.size_label", size, err);
}

/* ---- text ------------------------------------------------------------------------------------------ */

static enum qvl_status add_yarn(const struct qvl_rope_config *rope, struct qvl_gguf_out *out, struct qvl_error *err)
{
    if (rope->type != QVL_ROPE_YARN)
        return QVL_OK;
    if (!rope->truncate)
        return qvl_fail(err, QVL_ERR_MODEL, "rope_scaling.truncate is false: GGUF has no key for that");
    const struct number rows[] = {
        {TEXT "rope.scaling.factor", QVL_GGUF_F32, rope->factor},
        {TEXT "rope.scaling.original_context_length", QVL_GGUF_U32, rope->original_max_position},
        {TEXT "rope.scaling.yarn_beta_fast", QVL_GGUF_F32, rope->beta_fast},
        {TEXT "rope.scaling.yarn_beta_slow", QVL_GGUF_F32, rope->beta_slow},
    };
    enum qvl_status status;
    if ((status = add_text(out, TEXT "rope.scaling.type", "yarn", err)) || (status = ADD_NUMBERS(out, rows, err)) ||
        rope->attention_factor == 0.0)
        return status;
    return qvl_gguf_add_number(out, TEXT "rope.scaling.yarn_attn_factor", QVL_GGUF_F32, rope->attention_factor,
                               err);
}

/* Of T, H, W, and of a fourth axis that this family lacks. */
static enum qvl_status add_sections(const uint32_t section[3], struct qvl_gguf_out *out, struct qvl_error *err)
{
    enum qvl_status status = qvl_gguf_add_array(out, TEXT "rope.dimension_sections", QVL_GGUF_I32, 4, err);
    for (size_t i = 0; i < 4 && !status; i++)
        status = qvl_gguf_put_number(out, QVL_GGUF_I32, i < 3 ? section[i] : 0, err);
    return status;
}

static enum qvl_status add_text_keys(const struct qvl_config *config, const struct qvl_convert_label *label,
                                     struct qvl_gguf_out *out, struct qvl_error *err)
{
    const struct qvl_text_config *t = &config->text;
    const struct number sizes[] = {
        {TEXT "block_count", QVL_GGUF_U32, t->n_layer},
        {TEXT "context_length", QVL_GGUF_U32, t->max_position},
        {TEXT "embedding_length", QVL_GGUF_U32, t->hidden},
        {TEXT "feed_forward_length", QVL_GGUF_U32, t->intermediate},
        {TEXT "attention.head_count", QVL_GGUF_U32, t->n_head},
        {TEXT "attention.head_count_kv", QVL_GGUF_U32, t->n_kv_head},
    };
    const struct number rest[] = {
        {TEXT "rope.freq_base", QVL_GGUF_F32, t->rope.theta},
        {TEXT "attention.layer_norm_rms_epsilon", QVL_GGUF_F32, (double)t->rms_norm_eps},
        {TEXT "attention.key_length", QVL_GGUF_U32, t->head_dim},
        {TEXT "attention.value_length", QVL_GGUF_U32, t->head_dim},
        {"general.file_type", QVL_GGUF_U32, file_type(label->type)},
        {TEXT "n_deepstack_layers", QVL_GGUF_U32, config->vision.n_tap},
        {"general.quantization_version", QVL_GGUF_U32, QUANTIZATION_VERSION},
    };
    enum qvl_status status;
    if ((status = add_general(config, label, "qwen3vl", "model", out, err)) ||
        (status = ADD_NUMBERS(out, sizes, err)) || (status = add_yarn(&t->rope, out, err)) ||
        (status = add_sections(t->rope.section, out, err)))
        return status;
    return ADD_NUMBERS(out, rest, err);
}

/* ---- vision ---------------------------------------------------------------------------------------- */

/* For each block whether it is tapped. */
static enum qvl_status add_taps(const struct qvl_vision_config *v, struct qvl_gguf_out *out, struct qvl_error *err)
{
    enum qvl_status status = qvl_gguf_add_array(out, CLIP "is_deepstack_layers", QVL_GGUF_BOOL, v->n_layer, err);
    for (uint32_t i = 0; i < v->n_layer && !status; i++) {
        bool is_tap = false;
        for (uint32_t k = 0; k < v->n_tap; k++)
            is_tap = is_tap || v->tap_layer[k] == i;
        status = qvl_gguf_put_number(out, QVL_GGUF_BOOL, is_tap, err);
    }
    return status;
}

static enum qvl_status add_vision_keys(const struct qvl_config *config, const struct qvl_convert_label *label,
                                       struct qvl_gguf_out *out, struct qvl_error *err)
{
    const struct qvl_vision_config *v = &config->vision;
    const struct number sizes[] = {
        {"general.file_type", QVL_GGUF_U32, file_type(label->type)},
        {"clip.has_vision_encoder", QVL_GGUF_BOOL, 1},
        {CLIP "projection_dim", QVL_GGUF_U32, config->text.hidden},
        {CLIP "image_size", QVL_GGUF_U32, v->position_side * v->patch},
        {CLIP "patch_size", QVL_GGUF_U32, v->patch},
        {CLIP "embedding_length", QVL_GGUF_U32, v->hidden},
        {CLIP "feed_forward_length", QVL_GGUF_U32, v->intermediate},
        {CLIP "block_count", QVL_GGUF_U32, v->n_layer},
        {CLIP "attention.head_count", QVL_GGUF_U32, v->n_head},
    };
    const struct number rest[] = {
        {"clip.use_gelu", QVL_GGUF_BOOL, 1},
        {CLIP "spatial_merge_size", QVL_GGUF_U32, v->merge},
        {CLIP "attention.layer_norm_epsilon", QVL_GGUF_F32, LAYER_NORM_EPS},
    };
    const struct number limits[] = {
        {CLIP "image_min_pixels", QVL_GGUF_U32, fmin((double)config->image.min_pixels, UINT32_MAX)},
        {CLIP "image_max_pixels", QVL_GGUF_U32, fmin((double)config->image.max_pixels, UINT32_MAX)},
        {"qvl.video.min_pixels", QVL_GGUF_U64, (double)config->video.min_pixels},
        {"qvl.video.max_pixels", QVL_GGUF_U64, (double)config->video.max_pixels},
        {"qvl.video.fps", QVL_GGUF_F64, config->video.fps},
        {"qvl.video.min_frames", QVL_GGUF_U32, config->video.min_frames},
        {"qvl.video.max_frames", QVL_GGUF_U32, config->video.max_frames},
        {"general.quantization_version", QVL_GGUF_U32, QUANTIZATION_VERSION},
    };
    enum qvl_status status;
    if (config->image.rescale != 1.0f / 255)
        return qvl_fail(err, QVL_ERR_MODEL, "rescale_factor is %g, not 1/255: GGUF has no key for that",
                        (double)config->image.rescale);
    if ((status = add_general(config, label, "clip", "mmproj", out, err)) ||
        (status = ADD_NUMBERS(out, sizes, err)) ||
        (status = add_floats(out, CLIP "image_mean", config->image.mean, 3, err)) ||
        (status = add_floats(out, CLIP "image_std", config->image.std, 3, err)) ||
        (status = add_text(out, "clip.projector_type", "qwen3vl_merger", err)) ||
        (status = ADD_NUMBERS(out, rest, err)) || (status = add_taps(v, out, err)))
        return status;
    return ADD_NUMBERS(out, limits, err);
}

enum qvl_status qvl_convert_add_keys(const struct qvl_config *config, const struct qvl_convert_label *label,
                                     enum qvl_gguf_file file, struct qvl_gguf_out *out, struct qvl_error *err)
{
    return file == QVL_GGUF_TEXT ? add_text_keys(config, label, out, err)
                                 : add_vision_keys(config, label, out, err);
}
