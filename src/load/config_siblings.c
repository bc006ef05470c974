/* The JSON files beside config.json: how pictures and clips are prepared, how answers are sampled, and whether
 * the model thinks. All are optional; where one is silent the family's published values stand.
 *
 * hub (transformers 4.57)                    written again by transformers 5
 * preprocessor_config.json                   processor_config.json: image_processor
 * video_preprocessor_config.json             processor_config.json: video_processor
 * chat_template.json, or in tokenizer_config  chat_template.jinja
 *
 * Where both exist the newer one counts, as in the reference. Source of truth: image_processing_qwen2_vl.py,
 * video_processing_qwen3_vl.py; sampling values: README of the Qwen3-VL repository; MODEL.md. */
#include "load/config_read.h"

#include <string.h>

#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "load/config_gguf.h"

/* ---- pictures and clips -------------------------------------------------------------------------- */

/* Patch and merge sizes stand in config.json as well, and the tower is built from those. */
static enum qvl_status check_patch_sizes(const struct qvl_config_place *place, const struct qvl_vision_config *v,
                                         struct qvl_error *err)
{
    const struct {
        const char *key;
        uint32_t expected;
    } size[] = {{"patch_size", v->patch}, {"temporal_patch_size", v->temporal_patch}, {"merge_size", v->merge}};
    char shown[QVL_JSON_SHOWN_BYTES];
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        const json_t *value = qvl_json_get(place->object, size[i].key);
        if (value && (!json_is_integer(value) || json_integer_value(value) != size[i].expected))
            return qvl_fail(err, QVL_ERR_MODEL, "%s: %s%s is %s, expected %u as in config.json's vision_config",
                            place->file, place->prefix, size[i].key, qvl_json_show(value, shown), size[i].expected);
    }
    return QVL_OK;
}

static enum qvl_status read_triple(const struct qvl_config_place *place, const char *key, double min, float out[3],
                                   struct qvl_error *err)
{
    const struct qvl_config_list list = {key, false, min, 100, 3, 3};
    double x[3];
    size_t n = 0;
    enum qvl_status status = qvl_config_read_list(place, &list, x, &n, err);
    for (size_t i = 0; i < n && !status; i++)
        out[i] = (float)x[i];
    return status;
}

static enum qvl_status check_order(const struct qvl_config_place *place, const char *what, double min, double max,
                                   struct qvl_error *err)
{
    if (min <= max)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_MODEL, "%s: %sthe least number of %s, %.0f, is above the greatest, %.0f",
                    place->file, place->prefix, what, min, max);
}

enum qvl_status qvl_config_parse_image(const json_t *object, const char *file, const char *prefix,
                                       struct qvl_config *out, struct qvl_error *err)
{
    struct qvl_config_place place = {file, prefix, object, QVL_SECTION_IMAGE};
    struct qvl_config_place size = {file, "size.", NULL, QVL_SECTION_IMAGE_SIZE};
    enum qvl_status status = qvl_config_read_object(&place, "size", &size.object, err);
    /* size first: min_pixels and max_pixels override it */
    if (status || (status = qvl_config_read_table(&size, out, err)) ||
        (status = qvl_config_read_table(&place, out, err)) ||
        (status = check_patch_sizes(&place, &out->vision, err)) ||
        (status = read_triple(&place, "image_mean", -100, out->image.mean, err)) ||
        (status = read_triple(&place, "image_std", 1e-3, out->image.std, err)))
        return status;
    return check_order(&place, qvl_text("pixels"), (double)out->image.min_pixels, (double)out->image.max_pixels,
                       err);
}

/* Clips are normalised like pictures: struct qvl_video_config has no numbers of its own for it. */
static enum qvl_status check_same_normalisation(const struct qvl_config_place *place,
                                                const struct qvl_image_config *image, struct qvl_error *err)
{
    static const struct qvl_config_list rescale = {"rescale_factor", false, 1e-6, 1, 1, 1};
    float mean[3], std[3];
    enum qvl_status status;
    memcpy(mean, image->mean, sizeof mean);
    memcpy(std, image->std, sizeof std);
    if ((status = read_triple(place, "image_mean", -100, mean, err)) ||
        (status = read_triple(place, "image_std", 1e-3, std, err)))
        return status;
    const json_t *factor = qvl_json_get(place->object, rescale.key);
    bool is_same = !factor || (json_is_number(factor) && (float)json_number_value(factor) == image->rescale);
    for (size_t c = 0; c < 3; c++)
        is_same = is_same && mean[c] == image->mean[c] && std[c] == image->std[c];
    if (!is_same)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: %simage_mean, image_std or rescale_factor differ from those for pictures", place->file,
                        place->prefix);
    return QVL_OK;
}

enum qvl_status qvl_config_parse_video(const json_t *object, const char *file, const char *prefix,
                                       struct qvl_config *out, struct qvl_error *err)
{
    struct qvl_config_place place = {file, prefix, object, QVL_SECTION_VIDEO};
    struct qvl_config_place size = {file, "size.", NULL, QVL_SECTION_VIDEO_SIZE};
    enum qvl_status status = qvl_config_read_object(&place, "size", &size.object, err);
    if (status || (status = qvl_config_read_table(&size, out, err)) ||
        (status = qvl_config_read_table(&place, out, err)) ||
        (status = check_patch_sizes(&place, &out->vision, err)) ||
        (status = check_same_normalisation(&place, &out->image, err)) ||
        (status = check_order(&place, qvl_text("pixels"), (double)out->video.min_pixels,
                              (double)out->video.max_pixels, err)))
        return status;
    return check_order(&place, qvl_text("frames"), out->video.min_frames, out->video.max_frames, err);
}

/* ---- generation ---------------------------------------------------------------------------------- */

void qvl_config_default_sampling(bool is_thinking, struct qvl_sampling *out)
{
    *out = (struct qvl_sampling){
        .temperature = 0.7f, .top_k = 20, .top_p = 0.8f, .repetition_penalty = 1, .presence_penalty = 1.5f};
    if (is_thinking) {
        out->temperature = 0.6f;
        out->top_p = 0.95f;
        out->presence_penalty = 0;
    }
}

/* One id or a list of them. */
static enum qvl_status read_eos(const struct qvl_config_place *place, struct qvl_config *c, struct qvl_error *err)
{
    const size_t max_n = sizeof c->generation.eos / sizeof *c->generation.eos;
    const struct qvl_config_list list = {"eos_token_id", true, 0, c->text.vocab - 1, 1, max_n};
    double id[sizeof c->generation.eos / sizeof *c->generation.eos];
    size_t n = 0;
    enum qvl_status status;
    json_t *value = qvl_json_get(place->object, list.key);
    if (json_is_integer(value)) {
        json_t *wrapped = json_pack("{s:[O]}", list.key, value);
        if (!wrapped)
            return qvl_fail_memory(err, 1024, "JSON");
        const struct qvl_config_place list_place = {place->file, place->prefix, wrapped, place->section};
        status = qvl_config_read_list(&list_place, &list, id, &n, err);
        json_decref(wrapped);
    } else {
        status = qvl_config_read_list(place, &list, id, &n, err);
    }
    for (size_t i = 0; i < n && !status; i++)
        c->generation.eos[i] = (uint32_t)id[i];
    c->generation.n_eos = (uint32_t)n;
    return status;
}

enum qvl_status qvl_config_parse_generation(const json_t *object, const char *file, struct qvl_config *out,
                                            struct qvl_error *err)
{
    struct qvl_config_place place = {file, "", object, QVL_SECTION_GENERATION};
    bool is_sampled = true;
    enum qvl_status status = qvl_config_read_table(&place, out, err);
    if (status || (status = qvl_config_read_bool(&place, "do_sample", &is_sampled, err)) ||
        (status = read_eos(&place, out, err)))
        return status;
    if (!is_sampled) { /* greedy, and without the published penalty that belongs to sampling */
        out->generation.sampling.temperature = 0;
        if (!qvl_json_get(object, "presence_penalty"))
            out->generation.sampling.presence_penalty = 0;
    }
    out->generation.has_file = true;
    return QVL_OK;
}

/* ---- chat template ------------------------------------------------------------------------------- */

bool qvl_config_template_thinks(const char *template_text)
{
    static const char condition[] = "add_generation_prompt";
    const char *prompt = NULL;
    for (const char *p = strstr(template_text, condition); p; p = strstr(p + 1, condition))
        prompt = p;
    return prompt && strstr(prompt, "<think>") && !strstr(prompt, "</think>");
}

/* The text under "chat_template": a string, or a list of named ones of which "default" counts. */
static const char *find_template(const json_t *root)
{
    const json_t *value = qvl_json_get(root, "chat_template");
    size_t i;
    json_t *named;
    json_array_foreach(value, i, named)
    {
        const char *name = json_string_value(qvl_json_get(named, "name"));
        if (name && strcmp(name, "default") == 0)
            return json_string_value(qvl_json_get(named, "template"));
    }
    return json_string_value(value);
}

/* ---- the folder ---------------------------------------------------------------------------------- */

/* path becomes dir/file. */
static enum qvl_status join(const char *dir, const char *file, struct qvl_bytes *path, bool *is_there,
                            struct qvl_error *err)
{
    path->n = 0;
    enum qvl_status status = qvl_bytes_add_format(path, err, "%s/%s", dir, file);
    *is_there = !status && qvl_os_is_there(path->data);
    return status;
}

/* *root becomes NULL where the file does not exist. */
static enum qvl_status read_optional(const char *dir, const char *file, struct qvl_bytes *path, json_t **root,
                                     struct qvl_error *err)
{
    bool is_there;
    json_decref(*root);
    *root = NULL;
    enum qvl_status status = join(dir, file, path, &is_there, err);
    return status || !is_there ? status : qvl_json_read(path->data, QVL_MAX_CONFIG_BYTES, root, err);
}

enum qvl_status qvl_config_read_template(const char *model_dir, struct qvl_bytes *out, struct qvl_error *err)
{
    static const char *const holders[] = {"chat_template.json", "tokenizer_config.json"};
    struct qvl_bytes path = {0};
    struct qvl_gguf_pair pair;
    json_t *root = NULL;
    const char *found = NULL;
    bool is_there;
    enum qvl_status status = qvl_gguf_pair_find(model_dir, &pair, err);
    if (status || pair.is_found)
        return status ? status : qvl_config_read_gguf_template(&pair, out, err);
    status = join(model_dir, "chat_template.jinja", &path, &is_there, err);
    if (!status && is_there)
        status = qvl_os_read_file(path.data, QVL_MAX_CONFIG_BYTES, out, err);
    for (size_t i = 0; i < sizeof holders / sizeof *holders && !status && !is_there && !found; i++) {
        status = read_optional(model_dir, holders[i], &path, &root, err);
        found = find_template(root);
    }
    if (!status && found)
        status = qvl_bytes_add_text(out, found, err);
    json_decref(root);
    qvl_bytes_free(&path);
    return status;
}

static enum qvl_status read_thinking(const char *dir, bool *out, struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    enum qvl_status status = qvl_config_read_template(dir, &text, err);
    if (!status)
        *out = text.n && qvl_config_template_thinks(text.data);
    qvl_bytes_free(&text);
    return status;
}

struct media_reader {
    const char *member, *prefix, *file; /* of processor_config.json; else a file of its own */
    enum qvl_status (*parse)(const json_t *object, const char *file, const char *prefix, struct qvl_config *out,
                             struct qvl_error *err);
};

static enum qvl_status read_media(const char *dir, const struct media_reader *reader, struct qvl_bytes *path,
                                  struct qvl_config *c, struct qvl_error *err)
{
    json_t *root = NULL;
    const json_t *object = NULL;
    enum qvl_status status = read_optional(dir, "processor_config.json", path, &root, err);
    const struct qvl_config_place place = {path->data, "", root, QVL_SECTION_TOP};
    if (!status)
        status = qvl_config_read_object(&place, reader->member, &object, err);
    if (!status && object) {
        status = reader->parse(object, path->data, reader->prefix, c, err);
    } else if (!status) {
        status = read_optional(dir, reader->file, path, &root, err);
        if (!status && root)
            status = reader->parse(root, path->data, "", c, err);
    }
    json_decref(root);
    return status;
}

enum qvl_status qvl_config_load(const char *model_dir, struct qvl_config *out, struct qvl_error *err)
{
    static const struct media_reader image = {"image_processor", "image_processor.", "preprocessor_config.json",
                                              qvl_config_parse_image};
    static const struct media_reader video = {"video_processor", "video_processor.",
                                              "video_preprocessor_config.json", qvl_config_parse_video};
    struct qvl_bytes path = {0}, text = {0};
    struct qvl_gguf_pair pair;
    json_t *root = NULL;
    struct qvl_config c;
    bool is_there;
    enum qvl_status status = qvl_gguf_pair_find(model_dir, &pair, err);
    if (status || pair.is_found)
        return status ? status : qvl_config_load_gguf(&pair, out, err);
    status = join(model_dir, "config.json", &path, &is_there, err);
    if (status || (status = qvl_os_read_file(path.data, QVL_MAX_CONFIG_BYTES, &text, err)) ||
        (status = qvl_config_parse(text.n ? text.data : "", text.n, path.data, &c, err)) ||
        (status = read_media(model_dir, &image, &path, &c, err)) ||
        (status = read_media(model_dir, &video, &path, &c, err)) ||
        (status = read_thinking(model_dir, &c.is_thinking, err)) ||
        (status = read_optional(model_dir, "generation_config.json", &path, &root, err)))
        goto fail;
    qvl_config_default_sampling(c.is_thinking, &c.generation.sampling);
    if (root && (status = qvl_config_parse_generation(root, path.data, &c, err)))
        goto fail;
    *out = c;
fail:
    json_decref(root);
    qvl_bytes_free(&text);
    qvl_bytes_free(&path);
    return status;
}
