/* What enters: config.json as the hub has it (transformers 4.57) or as transformers 5 writes it again. What
 * leaves: struct qvl_config, each number within the range of config_table.c and in agreement with the others.
 *
 * The two spellings: rope_scaling beside rope_theta, or rope_parameters with the theta inside; the tie flag in
 * text_config, at the top, or in both; torch_dtype or dtype. A value given twice must be the same twice.
 * Source of truth: configuration_qwen3_vl.py and modeling_rope_utils.py of transformers; MODEL.md,
 * "A model folder". The class defaults of the former are not the models' values and are not used. */
#include "load/config.h"

#include <string.h>

#include "base/limits.h"
#include "kernel/packed.h"
#include "load/config_read.h"

/* ---- which model --------------------------------------------------------------------------------- */

static enum qvl_status check_model_type(const struct qvl_config_place *top, struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    const json_t *type = qvl_json_get(top->object, "model_type");
    const json_t *text = qvl_json_get(top->object, "text_config");
    const char *name = json_string_value(type);
    if (name && strncmp(name, "qwen3_vl_moe", 12) == 0)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: model_type is %s: qvl does not run mixture-of-experts models, only the dense ones of "
                        "the Qwen3-VL family",
                        top->file, qvl_json_show(type, shown));
    if (!name || strcmp(name, "qwen3_vl") != 0)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: model_type is %s, qvl runs \"qwen3_vl\" only", top->file,
                        qvl_json_show(type, shown));
    if (qvl_json_get(text, "num_experts"))
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: text_config.num_experts is %s: qvl does not run mixture-of-experts models", top->file,
                        qvl_json_show(qvl_json_get(text, "num_experts"), shown));
    return QVL_OK;
}

const char *qvl_quantization_name(enum qvl_quantization quantization)
{
    static const char *const names[] = {
        [QVL_QUANTIZE_NONE] = "none", [QVL_QUANTIZE_Q8] = "q8", [QVL_QUANTIZE_Q4] = "q4", [QVL_QUANTIZE_BALANCED] = "balanced"};
    return names[quantization];
}

/* "quantization_config": {"quant_method": "qvl", "version": 1, "type": "q4"}, as `qvl quantize` writes it. */
static enum qvl_status read_packed(const struct qvl_config_place *place, struct qvl_config *c, struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    const json_t *type = qvl_json_get(place->object, "type"), *version = qvl_json_get(place->object, "version");
    const char *name = json_string_value(type);
    if (json_integer_value(version) != QVL_PACKED_VERSION)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %sversion is %s, and this qvl reads version %u", place->file,
                        place->prefix, qvl_json_show(version, shown), QVL_PACKED_VERSION);
    for (int i = QVL_QUANTIZE_Q8; name && i <= QVL_QUANTIZE_BALANCED; i++)
        if (strcmp(name, qvl_quantization_name((enum qvl_quantization)i)) == 0)
            c->quantization = (enum qvl_quantization)i;
    return c->quantization != QVL_QUANTIZE_NONE
               ? QVL_OK
               : qvl_fail(err, QVL_ERR_MODEL, "%s: %stype is %s, expected \"q8\", \"q4\" or \"balanced\"", place->file,
                          place->prefix, qvl_json_show(type, shown));
}

/* Programs write it at the top or into the part that they have quantised, under an older name, too. */
static enum qvl_status read_quantization(const struct qvl_config_place *top, struct qvl_config *c,
                                         struct qvl_error *err)
{
    static const struct {
        const char *part, *key, *prefix;
    } holders[] = {{NULL, "quantization_config", "quantization_config."},
                   {NULL, "compression_config", "compression_config."},
                   {"text_config", "quantization_config", "text_config.quantization_config."},
                   {"text_config", "compression_config", "text_config.compression_config."},
                   {"vision_config", "quantization_config", "vision_config.quantization_config."}};
    struct qvl_config_place found = {top->file, NULL, NULL, top->section};
    for (size_t i = 0; i < sizeof holders / sizeof *holders; i++) {
        const json_t *holder = holders[i].part ? qvl_json_get(top->object, holders[i].part) : top->object;
        const json_t *object = qvl_json_get(holder, holders[i].key);
        if (object && found.object && !json_equal(object, found.object))
            return qvl_fail(err, QVL_ERR_MODEL, "%s: %.*s and %.*s differ", top->file, (int)strlen(found.prefix) - 1,
                            found.prefix, (int)strlen(holders[i].prefix) - 1, holders[i].prefix);
        if (object && !found.object) {
            found.object = object;
            found.prefix = holders[i].prefix;
        }
    }
    const char *method = json_string_value(qvl_json_get(found.object, "quant_method"));
    if (!found.object)
        return QVL_OK;
    return method && strcmp(method, "qvl") == 0 ? read_packed(&found, c, err)
                                                : qvl_config_parse_foreign(&found, &c->foreign, err);
}

static enum qvl_status read_tie(const struct qvl_config_place *top, const struct qvl_config_place *text,
                                struct qvl_config *c, struct qvl_error *err)
{
    static const char key[] = "tie_word_embeddings";
    bool of_top = false, of_text = false;
    bool is_at_top = qvl_json_get(top->object, key) != NULL, is_in_text = qvl_json_get(text->object, key) != NULL;
    enum qvl_status status = qvl_config_read_bool(top, key, &of_top, err);
    if (!status)
        status = qvl_config_read_bool(text, key, &of_text, err);
    if (!status && is_at_top && is_in_text && of_top != of_text)
        status = qvl_fail(err, QVL_ERR_MODEL, "%s: %s is %s at the top and %s in text_config", top->file, key,
                          of_top ? "true" : "false", of_text ? "true" : "false");
    c->text.is_tied = is_at_top ? of_top : of_text;
    return status;
}

/* ---- rotary positions ---------------------------------------------------------------------------- */

static const char *const rope_keys[] = {
    "rope_type", "type", "rope_theta", "mrope_section", "mrope_interleaved", "partial_rotary_factor"};
static const char *const yarn_keys[] = {
    "factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "truncate", "attention_factor"};

static bool is_listed(const char *key, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(key, list[i]) == 0)
            return true;
    return false;
}

/* The rope object is small and every member changes the numbers, so an unknown one is refused. */
static enum qvl_status check_rope_keys(const struct qvl_config_place *rope, bool is_yarn, struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES], shown_value[QVL_JSON_SHOWN_BYTES];
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)rope->object, key, value)
    {
        if (json_is_null(value) || is_listed(key, rope_keys, sizeof rope_keys / sizeof *rope_keys) ||
            (is_yarn && is_listed(key, yarn_keys, sizeof yarn_keys / sizeof *yarn_keys)))
            continue;
        json_t *name = json_string(key);
        qvl_json_show(name, shown);
        json_decref(name);
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s holds %s (%s), which has no meaning with rope_type \"%s\"",
                        rope->file, rope->prefix, shown, qvl_json_show(value, shown_value),
                        is_yarn ? "yarn" : "default");
    }
    return QVL_OK;
}

static enum qvl_status read_rope_type(const struct qvl_config_place *rope, enum qvl_rope_type *out,
                                      struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES], shown_other[QVL_JSON_SHOWN_BYTES];
    const json_t *type = qvl_json_get(rope->object, "rope_type"), *old = qvl_json_get(rope->object, "type");
    if (type && old && !json_equal(type, old))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %srope_type is %s, but type is %s", rope->file, rope->prefix,
                        qvl_json_show(type, shown), qvl_json_show(old, shown_other));
    if (!type)
        type = old;
    const char *name = type ? json_string_value(type) : "default";
    if (name && strcmp(name, "default") == 0)
        *out = QVL_ROPE_DEFAULT;
    else if (name && strcmp(name, "yarn") == 0)
        *out = QVL_ROPE_YARN;
    else
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %srope_type is %s, qvl knows \"default\" and \"yarn\"", rope->file,
                        rope->prefix, qvl_json_show(type, shown));
    return QVL_OK;
}

static enum qvl_status read_sections(const struct qvl_config_place *rope, struct qvl_config *c,
                                     struct qvl_error *err)
{
    static const struct qvl_config_list list = {"mrope_section", true, 0, 256, 3, 3};
    double section[3];
    size_t n = 0;
    enum qvl_status status = qvl_config_read_list(rope, &list, section, &n, err);
    for (size_t i = 0; i < n && !status; i++)
        c->text.rope.section[i] = (uint32_t)section[i];
    return status;
}

static enum qvl_status read_yarn(struct qvl_config_place *rope, struct qvl_config *c, struct qvl_error *err)
{
    struct qvl_rope_config *r = &c->text.rope;
    r->original_max_position = c->text.max_position; /* the reference's value where the key is absent */
    rope->section = QVL_SECTION_YARN;
    enum qvl_status status = qvl_config_read_table(rope, c, err);
    if (!status)
        status = qvl_config_read_bool(rope, "truncate", &r->truncate, err);
    if (!status && r->beta_fast <= r->beta_slow)
        status = qvl_fail(err, QVL_ERR_MODEL, "%s: %sbeta_fast is %g, expected more than beta_slow, %g", rope->file,
                          rope->prefix, r->beta_fast, r->beta_slow);
    return status;
}

/* The object of either spelling, an empty one where there is none. */
static enum qvl_status find_rope(const struct qvl_config_place *text, struct qvl_config_place *rope,
                                 struct qvl_error *err)
{
    const json_t *old = NULL, *new = NULL;
    enum qvl_status status = qvl_config_read_object(text, "rope_scaling", &old, err);
    if (!status)
        status = qvl_config_read_object(text, "rope_parameters", &new, err);
    if (!status && old && new && !json_equal(old, new))
        status = qvl_fail(err, QVL_ERR_MODEL, "%s: text_config.rope_scaling and text_config.rope_parameters differ",
                          text->file);
    const char *prefix = new ? "text_config.rope_parameters." : "text_config.rope_scaling.";
    *rope = (struct qvl_config_place){text->file, prefix, new ? new : old, QVL_SECTION_ROPE};
    return status;
}

static enum qvl_status read_rope(const struct qvl_config_place *text, struct qvl_config *c, struct qvl_error *err)
{
    struct qvl_rope_config *r = &c->text.rope;
    struct qvl_config_place rope;
    double theta_outside = r->theta; /* text_config.rope_theta, 0 when absent */
    enum qvl_status status = find_rope(text, &rope, err);
    if (status)
        return status;
    if ((status = read_rope_type(&rope, &r->type, err)) || (status = qvl_config_read_table(&rope, c, err)) ||
        (status = read_sections(&rope, c, err)) ||
        (status = check_rope_keys(&rope, r->type == QVL_ROPE_YARN, err)) ||
        (r->type == QVL_ROPE_YARN && (status = read_yarn(&rope, c, err))))
        return status;
    if (theta_outside > 0 && theta_outside != r->theta)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: rope_theta is %g in text_config, but %g in %s", text->file,
                        theta_outside, r->theta, rope.prefix);
    if (!(r->theta > 0))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: text_config.rope_theta is missing", text->file);
    return QVL_OK;
}

/* ---- relations between the numbers --------------------------------------------------------------- */

static enum qvl_status check_text(const struct qvl_config *c, const char *file, struct qvl_error *err)
{
    const struct qvl_text_config *t = &c->text;
    const uint32_t *s = t->rope.section, half = t->head_dim / 2;
    if (t->n_head % t->n_kv_head)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: text_config.num_attention_heads %u is not a multiple of num_key_value_heads %u", file,
                        t->n_head, t->n_kv_head);
    if (t->head_dim % 2)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: text_config.head_dim is %u, expected an even number", file,
                        t->head_dim);
    if (s[0] + s[1] + s[2] != half)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: mrope_section %u + %u + %u is %u pairs, expected half of head_dim, %u", file, s[0],
                        s[1], s[2], s[0] + s[1] + s[2], half);
    /* Pair j takes H where j % 3 == 1 and j < 3 s[1], W where j % 3 == 2 and j < 3 s[2]: the last of each must
     * exist, or fewer pairs than the section says would get its axis. */
    if ((s[1] && 3 * s[1] - 2 >= half) || (s[2] && 3 * s[2] - 1 >= half))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: mrope_section [%u, %u, %u] cannot be interleaved within %u pairs",
                        file, s[0], s[1], s[2], half);
    return QVL_OK;
}

static enum qvl_status check_vision(struct qvl_config *c, const char *file, struct qvl_error *err)
{
    struct qvl_vision_config *v = &c->vision;
    if (v->hidden % v->n_head || v->hidden / v->n_head % 4)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: vision_config.hidden_size %u over num_heads %u gives no head size that is a multiple "
                        "of 4",
                        file, v->hidden, v->n_head);
    v->head_dim = v->hidden / v->n_head;
    if (v->head_dim > QVL_MAX_HEAD_DIM)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: vision_config.hidden_size %u over num_heads %u gives a head size of %u, expected at "
                        "most %u",
                        file, v->hidden, v->n_head, v->head_dim, QVL_MAX_HEAD_DIM);
    while (v->position_side * v->position_side < v->n_position) /* at most 256 rounds */
        v->position_side++;
    if (v->position_side * v->position_side != v->n_position)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: vision_config.num_position_embeddings is %u, expected a square number", file,
                        v->n_position);
    if (v->out_hidden != c->text.hidden)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: vision_config.out_hidden_size is %u, expected text_config.hidden_size, %u", file,
                        v->out_hidden, c->text.hidden);
    if (v->n_tap > c->text.n_layer)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: vision_config.deepstack_visual_indexes has %u entries, but the decoder %u layers",
                        file, v->n_tap, c->text.n_layer);
    return QVL_OK;
}

static enum qvl_status check_tokens(const struct qvl_config *c, const char *file, struct qvl_error *err)
{
    const struct {
        const char *key;
        uint32_t id;
    } token[] = {{"image_token_id", c->image_token},
                 {"video_token_id", c->video_token},
                 {"vision_start_token_id", c->vision_start_token},
                 {"vision_end_token_id", c->vision_end_token}};
    for (size_t i = 0; i < sizeof token / sizeof *token; i++) {
        if (token[i].id >= c->text.vocab)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is %u, expected less than vocab_size, %u", file,
                            token[i].key, token[i].id, c->text.vocab);
        for (size_t k = 0; k < i; k++)
            if (token[i].id == token[k].id)
                return qvl_fail(err, QVL_ERR_MODEL, "%s: %s and %s are both %u", file, token[k].key, token[i].key,
                                token[i].id);
    }
    return QVL_OK;
}

/* ---- the parts ----------------------------------------------------------------------------------- */

static enum qvl_status read_text(const struct qvl_config_place *top, struct qvl_config *c, struct qvl_error *err)
{
    struct qvl_config_place text = {top->file, "text_config.", NULL, QVL_SECTION_TEXT};
    enum qvl_status status = qvl_config_read_object(top, "text_config", &text.object, err);
    if (!status && !text.object)
        status = qvl_fail(err, QVL_ERR_MODEL, "%s: text_config is missing", top->file);
    if (status || (status = qvl_config_read_table(&text, c, err)) ||
        (status = read_tie(top, &text, c, err)) || (status = read_rope(&text, c, err)))
        return status;
    return check_text(c, top->file, err);
}

static enum qvl_status read_taps(const struct qvl_config_place *vision, struct qvl_vision_config *v,
                                 struct qvl_error *err)
{
    static const char key[] = "deepstack_visual_indexes";
    const struct qvl_config_list list = {key, true, 0, v->n_layer - 1, 0, QVL_MAX_TAPS};
    double tap[QVL_MAX_TAPS];
    size_t n = 0;
    if (!qvl_json_get(vision->object, key))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s%s is missing", vision->file, vision->prefix, key);
    enum qvl_status status = qvl_config_read_list(vision, &list, tap, &n, err);
    for (size_t i = 0; i < n && !status; i++) {
        v->tap_layer[i] = (uint32_t)tap[i];
        if (i && v->tap_layer[i] <= v->tap_layer[i - 1])
            status = qvl_fail(err, QVL_ERR_MODEL, "%s: %s%s: %u after %u, expected increasing numbers",
                              vision->file, vision->prefix, key, v->tap_layer[i], v->tap_layer[i - 1]);
    }
    v->n_tap = (uint32_t)n;
    return status;
}

static enum qvl_status read_vision(const struct qvl_config_place *top, struct qvl_config *c, struct qvl_error *err)
{
    struct qvl_config_place vision = {top->file, "vision_config.", NULL, QVL_SECTION_VISION};
    struct qvl_config_place rope = {top->file, "vision_config.rope_parameters.", NULL, QVL_SECTION_VISION_ROPE};
    enum qvl_status status = qvl_config_read_object(top, "vision_config", &vision.object, err);
    if (!status && !vision.object)
        status = qvl_fail(err, QVL_ERR_MODEL, "%s: vision_config is missing", top->file);
    if (status || (status = qvl_config_read_table(&vision, c, err)) ||
        (status = qvl_config_read_object(&vision, "rope_parameters", &rope.object, err)) ||
        (rope.object && (status = qvl_config_read_table(&rope, c, err))) ||
        (status = read_taps(&vision, &c->vision, err)))
        return status;
    return check_vision(c, top->file, err);
}

enum qvl_status qvl_config_parse(const char *json, size_t n, const char *name, struct qvl_config *out,
                                 struct qvl_error *err)
{
    json_t *root = NULL;
    struct qvl_config c = qvl_config_family;
    enum qvl_status status = qvl_json_parse(json, n, name, &root, err);
    struct qvl_config_place top = {name, "", root, QVL_SECTION_TOP};
    if (status || (status = check_model_type(&top, err)) || (status = read_quantization(&top, &c, err)) ||
        (status = qvl_config_read_table(&top, &c, err)) ||
        (status = qvl_config_read_bool(&top, "qvl_golden", &c.is_golden, err)) ||
        (status = qvl_config_read_bool(&top, "qvl_demo", &c.is_demo, err)) || (status = read_text(&top, &c, err)) ||
        (status = read_vision(&top, &c, err)) || (status = check_tokens(&c, name, err)))
        goto fail;
    qvl_config_default_sampling(false, &c.generation.sampling);
    *out = c;
fail:
    json_decref(root);
    return status;
}
