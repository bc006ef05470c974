/* The keys of a pair of GGUF files in, the configuration out.
 *
 * Keys are written as the config.json that the converter has read, and that is parsed as one from a folder is: the
 * same ranges, relations and sentences. What these files do not say takes the family's published values: sizes of
 * pictures and clips, unless keys that `qvl convert` writes tell them. The ids of control tokens come from their
 * names. Source of truth: gguf-py/gguf/constants.py and conversion/qwen3vl.py in llama.cpp; MODEL.md, "GGUF". */
#include "load/config_gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "load/config_read.h"

#define N_OF(a) (sizeof(a) / sizeof(a)[0])
#define TEXT_KEY "qwen3vl."
#define SCALING_KEY TEXT_KEY "rope.scaling."
#define VISION_KEY "clip.vision."
#define TAPS_KEY VISION_KEY "is_deepstack_layers"
#define TOKENS_KEY "tokenizer.ggml.tokens"
#define TEMPLATE_KEY "tokenizer.chat_template"
#define VISION_EPS 1e-6 /* of the tower's norms: fixed in the reference */

enum { MAX_LIST = 64 };

struct pair {
    struct qvl_arena arena;
    struct qvl_gguf text, mmproj;
    const char *name; /* of both, for sentences; in the arena */
};

/* A key and the member that it was. */
struct row {
    const char *key, *member;
};

static const struct row text_rows[] = {
    {TEXT_KEY "embedding_length", "hidden_size"},
    {TEXT_KEY "block_count", "num_hidden_layers"},
    {TEXT_KEY "attention.head_count", "num_attention_heads"},
    {TEXT_KEY "attention.head_count_kv", "num_key_value_heads"},
    {TEXT_KEY "attention.key_length", "head_dim"},
    {TEXT_KEY "feed_forward_length", "intermediate_size"},
    {TEXT_KEY "context_length", "max_position_embeddings"},
    {TEXT_KEY "attention.layer_norm_rms_epsilon", "rms_norm_eps"},
    {TEXT_KEY "rope.freq_base", "rope_theta"},
};

/* Others that begin so keep their names, which the parser knows or refuses. */
static const struct row scaling_rows[] = {
    {SCALING_KEY "type", "rope_type"},
    {SCALING_KEY "original_context_length", "original_max_position_embeddings"},
    {SCALING_KEY "yarn_beta_fast", "beta_fast"},
    {SCALING_KEY "yarn_beta_slow", "beta_slow"},
    {SCALING_KEY "yarn_attn_factor", "attention_factor"},
    {SCALING_KEY "finetuned", NULL}, /* changes nothing */
};

static const struct row vision_rows[] = {
    {VISION_KEY "block_count", "depth"},
    {VISION_KEY "embedding_length", "hidden_size"},
    {VISION_KEY "attention.head_count", "num_heads"},
    {VISION_KEY "feed_forward_length", "intermediate_size"},
    {VISION_KEY "projection_dim", "out_hidden_size"},
    {VISION_KEY "patch_size", "patch_size"},
    {VISION_KEY "spatial_merge_size", "spatial_merge_size"},
};

static const struct row image_rows[] = {
    {VISION_KEY "image_mean", "image_mean"},
    {VISION_KEY "image_std", "image_std"},
    {VISION_KEY "image_min_pixels", "min_pixels"},
    {VISION_KEY "image_max_pixels", "max_pixels"},
};

static const struct row video_rows[] = {
    {"qvl.video.fps", "fps"},
    {"qvl.video.min_frames", "min_frames"},
    {"qvl.video.max_frames", "max_frames"},
};

static const struct row video_size_rows[] = {
    {"qvl.video.min_pixels", "shortest_edge"},
    {"qvl.video.max_pixels", "longest_edge"},
};

static const struct row generation_rows[] = {
    {"general.sampling.temp", "temperature"},
    {"general.sampling.top_k", "top_k"},
    {"general.sampling.top_p", "top_p"},
    {"general.sampling.min_p", "min_p"},
    {"general.sampling.penalty_repeat", "repetition_penalty"},
    {"qvl.presence_penalty", "presence_penalty"},
    {"tokenizer.ggml.eos_token_id", "eos_token_id"},
    {"qvl.eos_token_ids", "eos_token_id"}, /* replaces the one before */
};

/* ---- values as JSON ------------------------------------------------------------------------------ */

static enum qvl_status set(json_t *object, const char *member, json_t *value, struct qvl_error *err)
{
    return json_object_set_new(object, member, value) == 0 ? QVL_OK : qvl_fail_memory(err, 1024, "JSON");
}

/* Element i of the key's value; NULL: not a finite number or boolean. */
static json_t *number_as_json(const struct qvl_gguf *file, const struct qvl_gguf_key *key, uint64_t i)
{
    double x = qvl_gguf_number_at(file, key, i);
    if (key->element == QVL_GGUF_BOOL)
        return json_boolean(x > 0);
    if (key->element == QVL_GGUF_F32 || key->element == QVL_GGUF_F64)
        return isfinite(x) ? json_real(x) : NULL;
    return json_integer((json_int_t)(x < 9e18 ? x : 9e18)); /* ranges end far below */
}

static json_t *value_as_json(const struct qvl_gguf *file, const struct qvl_gguf_key *key)
{
    if (key->kind == QVL_GGUF_STRING)
        return json_stringn((const char *)file->head + key->at, (size_t)key->n);
    if (key->kind != QVL_GGUF_ARRAY)
        return number_as_json(file, key, 0);
    json_t *list = json_array();
    for (uint64_t i = 0; list && i < key->n; i++) {
        json_t *element = key->element == QVL_GGUF_STRING || i == MAX_LIST ? NULL : number_as_json(file, key, i);
        if (json_array_append_new(list, element) == 0)
            continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

static enum qvl_status add_key(const struct qvl_gguf *file, const struct qvl_gguf_key *key, const char *member,
                               json_t *object, struct qvl_error *err)
{
    json_t *value = value_as_json(file, key);
    if (!value)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is no finite number, short list of numbers or text", file->path,
                        key->name);
    return set(object, member, value, err);
}

/* What the file has of the rows; one it lacks is found missing by the parser, where it must be there. */
static enum qvl_status add_rows(const struct qvl_gguf *file, const struct row *row, size_t n, json_t *object,
                                struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < n && !status; i++) {
        const struct qvl_gguf_key *key = qvl_gguf_find(file, row[i].key);
        if (key)
            status = add_key(file, key, row[i].member, object, err);
    }
    return status;
}

/* ---- what the files say they are ----------------------------------------------------------------- */

static bool is_string(const struct qvl_gguf *file, const char *name, const char *expected)
{
    const struct qvl_gguf_key *key = qvl_gguf_find(file, name);
    return key && key->kind == QVL_GGUF_STRING && key->n == strlen(expected) &&
           memcmp(file->head + key->at, expected, key->n) == 0;
}

static enum qvl_status check_text_file(const struct qvl_gguf *text, struct qvl_error *err)
{
    static const char key[] = "general.architecture";
    const char *found;
    size_t n = 0;
    uint64_t n_split = 0;
    enum qvl_status status = qvl_gguf_string(text, key, &found, &n, err);
    if (status)
        return status;
    if (is_string(text, key, "clip"))
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: holds a vision tower only (an mmproj file): name the text model's file instead",
                        text->path);
    if (is_string(text, key, "qwen3vlmoe"))
        return qvl_fail(
            err, QVL_ERR_MODEL,
            "%s: qvl does not run mixture-of-experts models, only the dense ones of the Qwen3-VL family",
            text->path);
    if (!is_string(text, key, "qwen3vl"))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is %.*s, qvl runs qwen3vl only", text->path, key,
                        n < 64 ? (int)n : 64, found);
    if (qvl_gguf_find(text, "split.count") && (status = qvl_gguf_u64(text, "split.count", 0, 65535, &n_split, err)))
        return status;
    return n_split < 2
               ? QVL_OK
               : qvl_fail(err, QVL_ERR_MODEL,
                          "%s: the first of %u parts of a model, which qvl does not read: make them one with "
                          "llama-gguf-split --merge FIRST-PART OUT.gguf",
                          text->path, (unsigned)n_split);
}

static enum qvl_status check_true(const struct qvl_gguf *file, const char *key, struct qvl_error *err)
{
    uint64_t is_true = 0;
    return qvl_gguf_u64(file, key, 1, 1, &is_true, err);
}

static enum qvl_status check_mmproj_file(const struct qvl_gguf *mmproj, struct qvl_error *err)
{
    double eps = 0;
    enum qvl_status status;
    if (!is_string(mmproj, "general.architecture", "clip"))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: not a vision tower: general.architecture is not clip",
                        mmproj->path);
    if (!is_string(mmproj, "clip.projector_type", "qwen3vl_merger") &&
        !is_string(mmproj, "clip.vision.projector_type", "qwen3vl_merger"))
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: a vision tower of another family: clip.projector_type is not qwen3vl_merger",
                        mmproj->path);
    if ((status = check_true(mmproj, "clip.has_vision_encoder", err)) ||
        (status = check_true(mmproj, "clip.use_gelu", err)))
        return status;
    return qvl_gguf_f64(mmproj, VISION_KEY "attention.layer_norm_epsilon", VISION_EPS * 0.999, VISION_EPS * 1.001,
                        &eps, err);
}

/* ---- config.json --------------------------------------------------------------------------------- */

static const struct qvl_gguf_tensor *find_tensor(const struct qvl_gguf *file, const char *name)
{
    for (size_t i = 0; i < file->n_tensor; i++)
        if (strcmp(file->tensor[i].name, name) == 0)
            return &file->tensor[i];
    return NULL;
}

/* A list of three and, behind it, a 0 for a fourth axis that this family has not. */
static enum qvl_status add_sections(const struct qvl_gguf *text, json_t *rope, struct qvl_error *err)
{
    static const char name[] = TEXT_KEY "rope.dimension_sections";
    const struct qvl_gguf_key *key = qvl_gguf_find(text, name);
    bool is_right =
        key && key->kind == QVL_GGUF_ARRAY && key->element != QVL_GGUF_STRING && key->n >= 3 && key->n <= 4;
    if (!is_right || (key->n == 4 && qvl_gguf_number_at(text, key, 3) != 0))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is not a list of 3 numbers, or of 4 with 0 behind them",
                        text->path, name);
    struct qvl_gguf_key three = *key;
    three.n = 3;
    return add_key(text, &three, "mrope_section", rope, err);
}

static enum qvl_status add_scaling(const struct qvl_gguf *text, json_t *rope, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (is_string(text, SCALING_KEY "type", "none"))
        return status;
    for (size_t i = 0; i < text->n_key && !status; i++) {
        if (strncmp(text->key[i].name, SCALING_KEY, strlen(SCALING_KEY)) != 0)
            continue;
        const char *member = text->key[i].name + strlen(SCALING_KEY);
        for (size_t k = 0; k < N_OF(scaling_rows); k++)
            if (strcmp(text->key[i].name, scaling_rows[k].key) == 0)
                member = scaling_rows[k].member;
        if (member)
            status = add_key(text, &text->key[i], member, rope, err);
    }
    return status;
}

static enum qvl_status add_text(const struct qvl_gguf *text, json_t *root, struct qvl_error *err)
{
    json_t *config = json_object(), *rope = json_object();
    const struct qvl_gguf_key *tokens = qvl_gguf_find(text, TOKENS_KEY);
    uint64_t head_dim = 0;
    enum qvl_status status = set(root, "text_config", config, err);
    if (status || (status = set(config, "rope_scaling", rope, err)) ||
        (status = qvl_gguf_u64(text, TEXT_KEY "attention.key_length", 1, QVL_MAX_HEAD_DIM, &head_dim, err)) ||
        (status = qvl_gguf_u64(text, TEXT_KEY "attention.value_length", head_dim, head_dim, &head_dim, err)) ||
        (status = add_rows(text, text_rows, N_OF(text_rows), config, err)) ||
        (status = add_sections(text, rope, err)) || (status = add_scaling(text, rope, err)))
        return status;
    if (!tokens || tokens->kind != QVL_GGUF_ARRAY || tokens->element != QVL_GGUF_STRING)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is not a list of texts", text->path, TOKENS_KEY);
    if ((status = set(config, "vocab_size", json_integer((json_int_t)tokens->n), err)))
        return status;
    return set(config, "tie_word_embeddings", json_boolean(!find_tensor(text, "output.weight")), err);
}

static enum qvl_status add_token_ids(const struct qvl_gguf *text, json_t *root, struct qvl_error *err)
{
    static const struct row row[] = {{"<|image_pad|>", "image_token_id"},
                                     {"<|video_pad|>", "video_token_id"},
                                     {"<|vision_start|>", "vision_start_token_id"},
                                     {"<|vision_end|>", "vision_end_token_id"}};
    const struct qvl_gguf_key *tokens = qvl_gguf_find(text, TOKENS_KEY);
    enum qvl_status status = QVL_OK;
    uint64_t at = tokens->at;
    for (uint64_t id = 0; id < tokens->n && !status; id++) {
        size_t n = 0;
        const char *token = qvl_gguf_next_string(text, &at, &n);
        for (size_t i = 0; i < N_OF(row) && !status; i++)
            if (n == strlen(row[i].key) && memcmp(token, row[i].key, n) == 0)
                status = set(root, row[i].member, json_integer((json_int_t)id), err);
    }
    for (size_t i = 0; i < N_OF(row) && !status; i++)
        if (!json_object_get(root, row[i].member))
            status = qvl_fail(err, QVL_ERR_MODEL, "%s: %s has no token %s", text->path, TOKENS_KEY, row[i].key);
    return status;
}

static enum qvl_status add_taps(const struct pair *p, json_t *vision, struct qvl_error *err)
{
    const struct qvl_gguf_key *key = qvl_gguf_find(&p->mmproj, TAPS_KEY);
    json_t *taps = json_array();
    uint64_t n_said = 0;
    enum qvl_status status = set(vision, "deepstack_visual_indexes", taps, err);
    if (status)
        return status;
    if (!key || key->kind != QVL_GGUF_ARRAY || key->element != QVL_GGUF_BOOL)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is not a list of booleans", p->mmproj.path, TAPS_KEY);
    for (uint64_t i = 0; i < key->n; i++)
        if (qvl_gguf_number_at(&p->mmproj, key, i) > 0 &&
            json_array_append_new(taps, json_integer((json_int_t)i)) != 0)
            return qvl_fail_memory(err, 1024, "JSON");
    if ((status = qvl_gguf_u64(&p->text, TEXT_KEY "n_deepstack_layers", 0, QVL_MAX_TAPS, &n_said, err)))
        return status;
    if (n_said != json_array_size(taps))
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: %sn_deepstack_layers is %u, but %s has %zu: the two do not belong together",
                        p->text.path, TEXT_KEY, (unsigned)n_said, p->mmproj.path, json_array_size(taps));
    return QVL_OK;
}

static enum qvl_status add_vision(const struct pair *p, json_t *root, struct qvl_error *err)
{
    static const char positions[] = "v.position_embd.weight";
    json_t *vision = json_object();
    const struct qvl_gguf_tensor *t = find_tensor(&p->mmproj, positions);
    enum qvl_status status = set(root, "vision_config", vision, err);
    if (status || (status = add_rows(&p->mmproj, vision_rows, N_OF(vision_rows), vision, err)) ||
        (status = add_taps(p, vision, err)))
        return status;
    if (!t)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: has no tensor %s", p->mmproj.path, positions);
    return set(vision, "num_position_embeddings", json_integer((json_int_t)t->dim[0]), err);
}

static enum qvl_status parse_config(const struct pair *p, struct qvl_config *c, struct qvl_error *err)
{
    json_t *root = json_object();
    char *text = NULL;
    enum qvl_status status;
    if ((status = set(root, "model_type", json_string("qwen3_vl"), err)) ||
        (status = add_text(&p->text, root, err)) || (status = add_token_ids(&p->text, root, err)) ||
        (status = add_vision(p, root, err)))
        goto fail;
    text = json_dumps(root, JSON_COMPACT);
    status = text ? qvl_config_parse(text, strlen(text), p->name, c, err) : qvl_fail_memory(err, 4096, "JSON");
fail:
    free(text);
    json_decref(root);
    return status;
}

/* ---- its siblings -------------------------------------------------------------------------------- */

static enum qvl_status parse_media(const struct qvl_gguf *mmproj, struct qvl_config *c, struct qvl_error *err)
{
    json_t *image = json_object(), *video = json_object(), *size = json_object();
    enum qvl_status status;
    if (!(status = add_rows(mmproj, image_rows, N_OF(image_rows), image, err)) &&
        !(status = qvl_config_parse_image(image, mmproj->path, "", c, err)) &&
        !(status = add_rows(mmproj, video_rows, N_OF(video_rows), video, err)) &&
        !(status = add_rows(mmproj, video_size_rows, N_OF(video_size_rows), size, err)) &&
        !(status = set(video, "size", json_incref(size), err)))
        status = qvl_config_parse_video(video, mmproj->path, "", c, err);
    json_decref(size);
    json_decref(image);
    json_decref(video);
    return status;
}

static enum qvl_status parse_generation(const struct qvl_gguf *text, struct qvl_config *c, struct qvl_error *err)
{
    json_t *object = json_object();
    enum qvl_status status = add_rows(text, generation_rows, N_OF(generation_rows), object, err);
    const json_t *temperature = json_object_get(object, "temperature");
    if (!status && temperature && json_number_value(temperature) == 0)
        status = set(object, "do_sample", json_false(), err);
    qvl_config_default_sampling(c->is_thinking, &c->generation.sampling);
    if (!status)
        status = qvl_config_parse_generation(object, text->path, c, err);
    json_decref(object);
    return status;
}

static enum qvl_status read_template(const struct qvl_gguf *text, struct qvl_bytes *out, struct qvl_error *err)
{
    const char *template;
    size_t n = 0;
    if (!qvl_gguf_find(text, TEMPLATE_KEY))
        return QVL_OK;
    enum qvl_status status = qvl_gguf_string(text, TEMPLATE_KEY, &template, &n, err);
    return status ? status : qvl_bytes_add(out, template, n, err);
}

/* ---- the files ----------------------------------------------------------------------------------- */

enum qvl_status qvl_config_read_gguf_template(const struct qvl_gguf_pair *pair, struct qvl_bytes *out,
                                              struct qvl_error *err)
{
    struct qvl_arena arena = {0};
    struct qvl_gguf text;
    enum qvl_status status = qvl_gguf_open(pair->text, &arena, &text, err);
    if (!status) {
        status = read_template(&text, out, err);
        qvl_gguf_close(&text);
    }
    qvl_arena_free(&arena);
    return status;
}

static enum qvl_status parse_pair(struct pair *p, struct qvl_config *out, struct qvl_error *err)
{
    struct qvl_bytes template = {0};
    struct qvl_config c;
    const char *slash = strrchr(p->mmproj.path, '/');
    enum qvl_status status;
    if (!(p->name = qvl_arena_format(&p->arena, err, "%s + %s", p->text.path, slash ? slash + 1 : p->mmproj.path)))
        return err->status;
    if ((status = check_mmproj_file(&p->mmproj, err)) || (status = parse_config(p, &c, err)) ||
        (status = read_template(&p->text, &template, err)) || (status = parse_media(&p->mmproj, &c, err)))
        goto fail;
    c.is_thinking = template.n && qvl_config_template_thinks(template.data);
    if (!(status = parse_generation(&p->text, &c, err)))
        *out = c;
fail:
    qvl_bytes_free(&template);
    return status;
}

enum qvl_status qvl_config_load_gguf(const struct qvl_gguf_pair *pair, struct qvl_config *out,
                                     struct qvl_error *err)
{
    struct pair p = {.text.fd = -1, .mmproj.fd = -1};
    enum qvl_status status;
    if ((status = qvl_gguf_open(pair->text, &p.arena, &p.text, err)) || (status = check_text_file(&p.text, err)))
        goto fail;
    if (!pair->mmproj[0]) {
        status = qvl_fail(
            err, QVL_ERR_FILE,
            "%s: its vision tower, a GGUF file with mmproj in its name, is not beside it: download it from "
            "where this one came from, or name it with --mmproj FILE",
            pair->text);
        goto fail;
    }
    if (!(status = qvl_gguf_open(pair->mmproj, &p.arena, &p.mmproj, err)))
        status = parse_pair(&p, out, err);
fail:
    qvl_gguf_close(&p.text);
    qvl_gguf_close(&p.mmproj);
    qvl_arena_free(&p.arena);
    return status;
}
