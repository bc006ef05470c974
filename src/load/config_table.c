/* The ranges: every number that qvl takes from a model folder, with the least and greatest value it accepts,
 * and every setting that qvl honours with one value only. A value outside is refused with a sentence that names
 * file, key, value and range. Relations between numbers (heads that divide …) are checked in config.c.
 *
 * Sizes are bounded well above the largest published model (32B: hidden 5120, 64 layers, intermediate 25600) and
 * so low that no product of a few of them leaves 64 bits. Values and spellings: MODEL.md, "A model folder". */
#include "load/config_read.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "base/limits.h"

const struct qvl_config qvl_config_family = {
    .text = {.head_dim = 128,
             .rms_norm_eps = 1e-6f,
             .rope = {.type = QVL_ROPE_DEFAULT,
                      .section = {24, 20, 20},
                      .beta_fast = 32,
                      .beta_slow = 1,
                      .truncate = true}},
    .vision = {.in_channels = 3, .patch = 16, .temporal_patch = 2, .merge = 2},
    .image = {.min_pixels = 65536,
              .max_pixels = 16777216,
              .mean = {0.5f, 0.5f, 0.5f},
              .std = {0.5f, 0.5f, 0.5f},
              .rescale = (float)(1.0 / 255.0)},
    .video = {.min_pixels = 4096, .max_pixels = 25165824, .fps = 2, .min_frames = 4, .max_frames = 768},
    .image_token = 151655,
    .video_token = 151656,
    .vision_start_token = 151652,
    .vision_end_token = 151653,
};

/* ---- numbers ------------------------------------------------------------------------------------- */

enum type { U32, U64, F32, F64 };
enum need { OPTIONAL, REQUIRED };

struct number {
    enum qvl_config_section section;
    const char *key;
    enum type type;
    size_t offset;
    double min, max;
    enum need need;
};

#define AT(member) offsetof(struct qvl_config, member)
#define MAX_TOKEN (QVL_MAX_VOCAB - 1)
#define MAX_SIZE_PIXELS 1073741824.0 /* 2^30: of a picture or of all frames of a clip after resizing */

static const struct number numbers[] = {
    {QVL_SECTION_TOP, "image_token_id", U32, AT(image_token), 0, MAX_TOKEN, OPTIONAL},
    {QVL_SECTION_TOP, "video_token_id", U32, AT(video_token), 0, MAX_TOKEN, OPTIONAL},
    {QVL_SECTION_TOP, "vision_start_token_id", U32, AT(vision_start_token), 0, MAX_TOKEN, OPTIONAL},
    {QVL_SECTION_TOP, "vision_end_token_id", U32, AT(vision_end_token), 0, MAX_TOKEN, OPTIONAL},

    {QVL_SECTION_TEXT, "hidden_size", U32, AT(text.hidden), 16, 16384, REQUIRED},
    {QVL_SECTION_TEXT, "num_hidden_layers", U32, AT(text.n_layer), 1, 200, REQUIRED},
    {QVL_SECTION_TEXT, "num_attention_heads", U32, AT(text.n_head), 1, 256, REQUIRED},
    {QVL_SECTION_TEXT, "num_key_value_heads", U32, AT(text.n_kv_head), 1, 256, REQUIRED},
    {QVL_SECTION_TEXT, "head_dim", U32, AT(text.head_dim), 8, QVL_MAX_HEAD_DIM, OPTIONAL},
    {QVL_SECTION_TEXT, "intermediate_size", U32, AT(text.intermediate), 16, 131072, REQUIRED},
    {QVL_SECTION_TEXT, "vocab_size", U32, AT(text.vocab), 1, QVL_MAX_VOCAB, REQUIRED},
    {QVL_SECTION_TEXT, "max_position_embeddings", U32, AT(text.max_position), 1, 16777216, REQUIRED},
    {QVL_SECTION_TEXT, "rms_norm_eps", F32, AT(text.rms_norm_eps), 1e-12, 1e-2, OPTIONAL},
    {QVL_SECTION_TEXT, "rope_theta", F64, AT(text.rope.theta), 10, 1e9, OPTIONAL},

    {QVL_SECTION_ROPE, "rope_theta", F64, AT(text.rope.theta), 10, 1e9, OPTIONAL},
    {QVL_SECTION_YARN, "factor", F64, AT(text.rope.factor), 1, 128, REQUIRED},
    {QVL_SECTION_YARN, "original_max_position_embeddings", U32, AT(text.rope.original_max_position), 1, 16777216,
     OPTIONAL},
    {QVL_SECTION_YARN, "beta_fast", F64, AT(text.rope.beta_fast), 1e-3, 1e6, OPTIONAL},
    {QVL_SECTION_YARN, "beta_slow", F64, AT(text.rope.beta_slow), 1e-3, 1e6, OPTIONAL},
    {QVL_SECTION_YARN, "attention_factor", F64, AT(text.rope.attention_factor), 0.01, 100, OPTIONAL},

    {QVL_SECTION_VISION, "depth", U32, AT(vision.n_layer), 1, 100, REQUIRED},
    {QVL_SECTION_VISION, "hidden_size", U32, AT(vision.hidden), 16, 8192, REQUIRED},
    {QVL_SECTION_VISION, "num_heads", U32, AT(vision.n_head), 1, 256, REQUIRED},
    {QVL_SECTION_VISION, "intermediate_size", U32, AT(vision.intermediate), 16, 65536, REQUIRED},
    {QVL_SECTION_VISION, "out_hidden_size", U32, AT(vision.out_hidden), 16, 16384, REQUIRED},
    {QVL_SECTION_VISION, "in_channels", U32, AT(vision.in_channels), 3, 3, OPTIONAL},
    {QVL_SECTION_VISION, "patch_size", U32, AT(vision.patch), 2, 64, OPTIONAL},
    {QVL_SECTION_VISION, "temporal_patch_size", U32, AT(vision.temporal_patch), 2, 2, OPTIONAL},
    {QVL_SECTION_VISION, "spatial_merge_size", U32, AT(vision.merge), 1, 4, OPTIONAL},
    {QVL_SECTION_VISION, "num_position_embeddings", U32, AT(vision.n_position), 1, 65536, REQUIRED},

    {QVL_SECTION_IMAGE_SIZE, "shortest_edge", U64, AT(image.min_pixels), 1, MAX_SIZE_PIXELS, OPTIONAL},
    {QVL_SECTION_IMAGE_SIZE, "longest_edge", U64, AT(image.max_pixels), 1, MAX_SIZE_PIXELS, OPTIONAL},
    {QVL_SECTION_IMAGE, "min_pixels", U64, AT(image.min_pixels), 1, MAX_SIZE_PIXELS, OPTIONAL},
    {QVL_SECTION_IMAGE, "max_pixels", U64, AT(image.max_pixels), 1, MAX_SIZE_PIXELS, OPTIONAL},
    {QVL_SECTION_IMAGE, "rescale_factor", F32, AT(image.rescale), 1e-6, 1, OPTIONAL},

    {QVL_SECTION_VIDEO_SIZE, "shortest_edge", U64, AT(video.min_pixels), 1, MAX_SIZE_PIXELS, OPTIONAL},
    {QVL_SECTION_VIDEO_SIZE, "longest_edge", U64, AT(video.max_pixels), 1, MAX_SIZE_PIXELS, OPTIONAL},
    {QVL_SECTION_VIDEO, "fps", F64, AT(video.fps), 0.01, 240, OPTIONAL},
    {QVL_SECTION_VIDEO, "min_frames", U32, AT(video.min_frames), 1, QVL_MAX_CLIP_FRAMES, OPTIONAL},
    {QVL_SECTION_VIDEO, "max_frames", U32, AT(video.max_frames), 1, QVL_MAX_CLIP_FRAMES, OPTIONAL},

    {QVL_SECTION_GENERATION, "temperature", F32, AT(generation.sampling.temperature), 0, 100, OPTIONAL},
    {QVL_SECTION_GENERATION, "top_k", U32, AT(generation.sampling.top_k), 0, QVL_MAX_VOCAB, OPTIONAL},
    {QVL_SECTION_GENERATION, "top_p", F32, AT(generation.sampling.top_p), 1e-6, 1, OPTIONAL},
    {QVL_SECTION_GENERATION, "min_p", F32, AT(generation.sampling.min_p), 0, 1, OPTIONAL},
    {QVL_SECTION_GENERATION, "repetition_penalty", F32, AT(generation.sampling.repetition_penalty), 0.01, 100,
     OPTIONAL},
    {QVL_SECTION_GENERATION, "presence_penalty", F32, AT(generation.sampling.presence_penalty), -10, 10, OPTIONAL},
    {QVL_SECTION_GENERATION, "frequency_penalty", F32, AT(generation.sampling.frequency_penalty), -10, 10,
     OPTIONAL},
};

static enum qvl_status check_number(const struct qvl_config_place *place, const char *key, const json_t *value,
                                    bool is_integer, double min, double max, double *out, struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    bool is_right = is_integer ? json_is_integer(value) : json_is_number(value);
    double x = json_number_value(value);
    if (is_right && x >= min && x <= max) {
        *out = x;
        return QVL_OK;
    }
    return qvl_fail(err, QVL_ERR_MODEL, "%s: %s%s is %s, expected %s from %.10g to %.10g", place->file,
                    place->prefix, key, qvl_json_show(value, shown),
                    is_integer ? qvl_text("an integer") : qvl_text("a number"), min, max);
}

static void store(const struct number *row, double x, struct qvl_config *out)
{
    char *target = (char *)out + row->offset;
    switch (row->type) {
    case U32: *(uint32_t *)(void *)target = (uint32_t)x; break;
    case U64: *(uint64_t *)(void *)target = (uint64_t)x; break;
    case F32: *(float *)(void *)target = (float)x; break;
    case F64: *(double *)(void *)target = x; break;
    }
}

static enum qvl_status read_number(const struct qvl_config_place *place, const struct number *row,
                                   struct qvl_config *out, struct qvl_error *err)
{
    bool is_integer = row->type == U32 || row->type == U64;
    const json_t *value = qvl_json_get(place->object, row->key);
    double x = 0;
    if (!value && row->need == OPTIONAL)
        return QVL_OK;
    enum qvl_status status = check_number(place, row->key, value, is_integer, row->min, row->max, &x, err);
    if (!status)
        store(row, x, out);
    return status;
}

static double fetch(const struct number *row, const struct qvl_config *config)
{
    const char *source = (const char *)config + row->offset;
    switch (row->type) {
    case U32: return *(const uint32_t *)(const void *)source;
    case U64: return (double)*(const uint64_t *)(const void *)source;
    case F32: return *(const float *)(const void *)source;
    case F64: break;
    }
    return *(const double *)(const void *)source;
}

/* With as few digits as give the same number again. */
static void show_number(const struct number *row, double x, char *out, size_t n_out)
{
    snprintf(out, n_out, "%.0f", x);
    for (int n_digit = 1; n_digit <= 17; n_digit++) {
        double back = strtod(out, NULL);
        if (row->type == F32 ? (float)back == (float)x : back == x)
            return;
        snprintf(out, n_out, "%.*g", n_digit, x);
    }
}

enum qvl_status qvl_config_write_table(enum qvl_config_section section, const struct qvl_config *config,
                                       const char *indent, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    char text[40];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && !status; i++) {
        const struct number *row = &numbers[i];
        double x = fetch(row, config);
        if (row->section != section || x < row->min || x > row->max)
            continue;
        show_number(row, x, text, sizeof text);
        status = qvl_bytes_add_format(out, err, "%s\"%s\": %s,\n", indent, row->key, text);
    }
    return status;
}

/* ---- settings with one value --------------------------------------------------------------------- */

struct fixed {
    enum qvl_config_section section;
    const char *key;
    const char *value[4]; /* as JSON; any of them */
};

/* clang-format off */
#define ANY_DTYPE {"\"bfloat16\"", "\"float16\"", "\"float32\"", "\"auto\""}
/* clang-format on */

static const struct fixed fixed[] = {
    {QVL_SECTION_TOP, "dtype", ANY_DTYPE},
    {QVL_SECTION_TOP, "torch_dtype", ANY_DTYPE},
    {QVL_SECTION_TEXT, "dtype", ANY_DTYPE},
    {QVL_SECTION_TEXT, "torch_dtype", ANY_DTYPE},
    {QVL_SECTION_TEXT, "model_type", {"\"qwen3_vl_text\""}},
    {QVL_SECTION_TEXT, "hidden_act", {"\"silu\""}},
    {QVL_SECTION_TEXT, "attention_bias", {"false"}},
    {QVL_SECTION_TEXT, "use_sliding_window", {"false"}},
    {QVL_SECTION_TEXT, "partial_rotary_factor", {"1"}},
    {QVL_SECTION_ROPE, "mrope_interleaved", {"true"}},
    {QVL_SECTION_ROPE, "partial_rotary_factor", {"1"}},
    {QVL_SECTION_VISION, "dtype", ANY_DTYPE},
    {QVL_SECTION_VISION, "torch_dtype", ANY_DTYPE},
    {QVL_SECTION_VISION, "model_type", {"\"qwen3_vl\"", "\"qwen3_vl_vision\""}},
    {QVL_SECTION_VISION, "hidden_act", {"\"gelu_pytorch_tanh\""}},
    {QVL_SECTION_VISION_ROPE, "rope_type", {"\"axial\"", "\"default\""}},
    {QVL_SECTION_VISION_ROPE, "rope_theta", {"10000"}},
    {QVL_SECTION_IMAGE, "do_resize", {"true"}},
    {QVL_SECTION_IMAGE, "do_rescale", {"true"}},
    {QVL_SECTION_IMAGE, "do_normalize", {"true"}},
    {QVL_SECTION_IMAGE, "do_convert_rgb", {"true"}},
    {QVL_SECTION_IMAGE, "do_center_crop", {"false"}},
    {QVL_SECTION_IMAGE, "do_pad", {"false"}},
    {QVL_SECTION_IMAGE, "resample", {"3"}}, /* bicubic */
    {QVL_SECTION_VIDEO, "do_resize", {"true"}},
    {QVL_SECTION_VIDEO, "do_rescale", {"true"}},
    {QVL_SECTION_VIDEO, "do_normalize", {"true"}},
    {QVL_SECTION_VIDEO, "do_sample_frames", {"true"}},
    {QVL_SECTION_VIDEO, "do_center_crop", {"false"}},
    {QVL_SECTION_VIDEO, "do_pad", {"false"}},
    {QVL_SECTION_VIDEO, "num_frames", {"null"}},
    {QVL_SECTION_VIDEO, "cap_pixels_per_frame", {"false"}},
    {QVL_SECTION_VIDEO, "resample", {"3"}},
    {QVL_SECTION_GENERATION, "num_beams", {"1"}},
    {QVL_SECTION_GENERATION, "num_beam_groups", {"1"}},
    {QVL_SECTION_GENERATION, "no_repeat_ngram_size", {"0"}},
    {QVL_SECTION_GENERATION, "encoder_no_repeat_ngram_size", {"0"}},
    {QVL_SECTION_GENERATION, "min_length", {"0"}},
    {QVL_SECTION_GENERATION, "typical_p", {"1"}},
    {QVL_SECTION_GENERATION, "epsilon_cutoff", {"0"}},
    {QVL_SECTION_GENERATION, "eta_cutoff", {"0"}},
    {QVL_SECTION_GENERATION, "penalty_alpha", {"0"}},
    {QVL_SECTION_GENERATION, "bad_words_ids", {"null"}},
    {QVL_SECTION_GENERATION, "sequence_bias", {"null"}},
    {QVL_SECTION_GENERATION, "suppress_tokens", {"null"}},
    {QVL_SECTION_GENERATION, "begin_suppress_tokens", {"null"}},
    {QVL_SECTION_GENERATION, "forced_bos_token_id", {"null"}},
    {QVL_SECTION_GENERATION, "forced_eos_token_id", {"null"}},
};

/* Scalars only; 1 equals 1.0. */
static bool is_value(const json_t *value, const char *expected)
{
    size_t n = strlen(expected);
    char *end;
    double x = strtod(expected, &end);
    switch (json_typeof(value)) {
    case JSON_STRING:
        return expected[0] == '"' && json_string_length(value) == n - 2 &&
               memcmp(json_string_value(value), expected + 1, n - 2) == 0;
    case JSON_INTEGER:
    case JSON_REAL: return end != expected && x == json_number_value(value);
    case JSON_TRUE: return strcmp(expected, "true") == 0;
    case JSON_FALSE: return strcmp(expected, "false") == 0;
    default: return false;
    }
}

static enum qvl_status check_fixed(const struct qvl_config_place *place, const struct fixed *row,
                                   struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    const json_t *value = qvl_json_get(place->object, row->key);
    if (!value)
        return QVL_OK;
    for (size_t i = 0; i < sizeof row->value / sizeof *row->value && row->value[i]; i++)
        if (is_value(value, row->value[i]))
            return QVL_OK;
    return qvl_fail(err, QVL_ERR_MODEL, "%s: %s%s is %s, qvl runs only models where it is %s", place->file,
                    place->prefix, row->key, qvl_json_show(value, shown), row->value[0]);
}

enum qvl_status qvl_config_read_table(const struct qvl_config_place *place, struct qvl_config *out,
                                      struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed && !status; i++)
        if (fixed[i].section == place->section)
            status = check_fixed(place, &fixed[i], err);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && !status; i++)
        if (numbers[i].section == place->section)
            status = read_number(place, &numbers[i], out, err);
    return status;
}

/* ---- other members ------------------------------------------------------------------------------- */

enum qvl_status qvl_config_read_bool(const struct qvl_config_place *place, const char *key, bool *out,
                                     struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    const json_t *value = qvl_json_get(place->object, key);
    if (!value)
        return QVL_OK;
    if (!json_is_boolean(value))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s%s is %s, expected true or false", place->file, place->prefix,
                        key, qvl_json_show(value, shown));
    *out = json_is_true(value);
    return QVL_OK;
}

enum qvl_status qvl_config_read_list(const struct qvl_config_place *place, const struct qvl_config_list *list,
                                     double *out, size_t *n, struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES], name[64];
    const json_t *value = qvl_json_get(place->object, list->key);
    size_t n_value = json_array_size(value);
    enum qvl_status status = QVL_OK;
    if (!value)
        return QVL_OK;
    if (!json_is_array(value) || n_value < list->min_n || n_value > list->max_n)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s%s is %s, expected a list of %zu to %zu numbers", place->file,
                        place->prefix, list->key, qvl_json_show(value, shown), list->min_n, list->max_n);
    for (size_t i = 0; i < n_value && !status; i++) {
        snprintf(name, sizeof name, "%s[%zu]", list->key, i);
        status = check_number(place, name, json_array_get(value, i), list->is_integer, list->min, list->max,
                              &out[i], err);
    }
    *n = n_value;
    return status;
}

enum qvl_status qvl_config_read_object(const struct qvl_config_place *place, const char *key, const json_t **out,
                                       struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    const json_t *value = qvl_json_get(place->object, key);
    if (!value)
        return QVL_OK;
    if (!json_is_object(value))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s%s is %s, expected an object", place->file, place->prefix, key,
                        qvl_json_show(value, shown));
    *out = value;
    return QVL_OK;
}
