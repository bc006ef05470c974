/* struct qvl_config in, JSON as transformers 4.57 writes it out. Which numbers stand where is told by the table
 * that reads them (config_table.c); what is no number, and what is always the same, stands here. */
#include "load/config_write.h"

#include <stdlib.h>
#include <string.h>

#include "load/config_read.h"

static enum qvl_status add_list(struct qvl_bytes *out, const char *key, const uint32_t *x, size_t n,
                                struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_format(out, err, "\"%s\": [", key);
    for (size_t i = 0; i < n && !status; i++)
        status = qvl_bytes_add_format(out, err, "%s%u", i > 0 ? ", " : "", x[i]);
    return status ? status : qvl_bytes_add_text(out, "]", err);
}

static enum qvl_status add_triple(struct qvl_bytes *out, const char *key, const float x[3], struct qvl_error *err)
{
    return qvl_bytes_add_format(out, err, "  \"%s\": [%.9g, %.9g, %.9g],\n", key, (double)x[0], (double)x[1],
                                (double)x[2]);
}

/* ---- config.json --------------------------------------------------------------------------------- */

static enum qvl_status add_rope(const struct qvl_config *c, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_rope_config *rope = &c->text.rope;
    bool is_yarn = rope->type == QVL_ROPE_YARN;
    enum qvl_status status;
    if ((status = qvl_bytes_add_format(out, err, "    \"rope_scaling\": {\n      \"rope_type\": \"%s\",\n",
                                       is_yarn ? "yarn" : "default")) ||
        (is_yarn && (status = qvl_config_write_table(QVL_SECTION_YARN, c, "      ", out, err))) ||
        (is_yarn && (status = qvl_bytes_add_format(out, err, "      \"truncate\": %s,\n",
                                                   rope->truncate ? "true" : "false"))) ||
        (status = qvl_bytes_add_text(out, "      \"mrope_interleaved\": true,\n      ", err)) ||
        (status = add_list(out, "mrope_section", rope->section, 3, err)))
        return status;
    return qvl_bytes_add_text(out, "\n    }\n", err);
}

static enum qvl_status write_config(const struct qvl_config *c, struct qvl_bytes *out, struct qvl_error *err)
{
    static const char head[] = "{\n"
                               "  \"architectures\": [\"Qwen3VLForConditionalGeneration\"],\n"
                               "  \"model_type\": \"qwen3_vl\",\n";
    static const char text[] = "  \"text_config\": {\n"
                               "    \"model_type\": \"qwen3_vl_text\",\n"
                               "    \"hidden_act\": \"silu\",\n"
                               "    \"attention_bias\": false,\n"
                               "    \"dtype\": \"bfloat16\",\n";
    static const char vision[] = "  },\n"
                                 "  \"vision_config\": {\n"
                                 "    \"model_type\": \"qwen3_vl\",\n"
                                 "    \"hidden_act\": \"gelu_pytorch_tanh\",\n";
    enum qvl_status status;
    if ((status = qvl_bytes_add_text(out, head, err)) ||
        (status = qvl_config_write_table(QVL_SECTION_TOP, c, "  ", out, err)) ||
        (c->is_demo && (status = qvl_bytes_add_text(out, "  \"qvl_demo\": true,\n", err))) ||
        (c->is_golden && (status = qvl_bytes_add_text(out, "  \"qvl_golden\": true,\n", err))) ||
        (status = qvl_bytes_add_format(out, err, "  \"tie_word_embeddings\": %s,\n",
                                       c->text.is_tied ? "true" : "false")) ||
        (status = qvl_bytes_add_text(out, text, err)) ||
        (status = qvl_config_write_table(QVL_SECTION_TEXT, c, "    ", out, err)) ||
        (status = add_rope(c, out, err)) || (status = qvl_bytes_add_text(out, vision, err)) ||
        (status = qvl_config_write_table(QVL_SECTION_VISION, c, "    ", out, err)) ||
        (status = qvl_bytes_add_text(out, "    ", err)) ||
        (status = add_list(out, "deepstack_visual_indexes", c->vision.tap_layer, c->vision.n_tap, err)))
        return status;
    return qvl_bytes_add_text(out, "\n  }\n}\n", err);
}

/* ---- its siblings -------------------------------------------------------------------------------- */

/* What pictures and clips have in common, then the size, which belongs to one of them. */
static enum qvl_status add_media(const struct qvl_config *c, enum qvl_config_section size, struct qvl_bytes *out,
                                 struct qvl_error *err)
{
    const struct qvl_vision_config *v = &c->vision;
    double rescale = c->image.rescale == (float)(1.0 / 255.0) ? 1.0 / 255.0 : (double)c->image.rescale;
    enum qvl_status status;
    if ((status = add_triple(out, "image_mean", c->image.mean, err)) ||
        (status = add_triple(out, "image_std", c->image.std, err)) ||
        (status = qvl_bytes_add_format(out, err,
                                       "  \"rescale_factor\": %.15g,\n  \"resample\": 3,\n  \"patch_size\": %u,\n"
                                       "  \"temporal_patch_size\": %u,\n  \"merge_size\": %u,\n  \"size\": {\n",
                                       rescale, v->patch, v->temporal_patch, v->merge)) ||
        (status = qvl_config_write_table(size, c, "    ", out, err)))
        return status;
    out->n -= strlen(",\n"); /* of the last number */
    return qvl_bytes_add_text(out, "\n  }\n}\n", err);
}

static enum qvl_status write_image(const struct qvl_config *c, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status =
        qvl_bytes_add_text(out, "{\n  \"image_processor_type\": \"Qwen2VLImageProcessorFast\",\n", err);
    return status ? status : add_media(c, QVL_SECTION_IMAGE_SIZE, out, err);
}

static enum qvl_status write_video(const struct qvl_config *c, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status;
    if ((status = qvl_bytes_add_text(out, "{\n  \"video_processor_type\": \"Qwen3VLVideoProcessor\",\n", err)) ||
        (status = qvl_config_write_table(QVL_SECTION_VIDEO, c, "  ", out, err)))
        return status;
    return add_media(c, QVL_SECTION_VIDEO_SIZE, out, err);
}

static enum qvl_status write_generation(const struct qvl_config *c, struct qvl_bytes *out, struct qvl_error *err)
{
    bool is_sampled = c->generation.sampling.temperature > 0;
    enum qvl_status status;
    if ((status = qvl_bytes_add_format(out, err, "{\n  \"do_sample\": %s,\n", is_sampled ? "true" : "false")) ||
        (status = qvl_config_write_table(QVL_SECTION_GENERATION, c, "  ", out, err)))
        return status;
    out->n -= c->generation.n_eos == 0 ? strlen(",\n") : 0;
    status = qvl_bytes_add_text(out, c->generation.n_eos == 0 ? "\n" : "  ", err);
    if (!status && c->generation.n_eos > 0)
        status = add_list(out, "eos_token_id", c->generation.eos, c->generation.n_eos, err);
    return status ? status : qvl_bytes_add_text(out, "\n}\n", err);
}

enum qvl_status qvl_config_write(const struct qvl_config *config, struct qvl_small_file out[QVL_N_CONFIG_FILE],
                                 struct qvl_error *err)
{
    static const struct {
        const char *name;
        enum qvl_status (*write)(const struct qvl_config *c, struct qvl_bytes *out, struct qvl_error *err);
    } file[QVL_N_CONFIG_FILE] = {
        {"config.json", write_config},
        {"preprocessor_config.json", write_image},
        {"video_preprocessor_config.json", write_video},
        {"generation_config.json", write_generation},
    };
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < QVL_N_CONFIG_FILE && !status; i++) {
        out[i].name = file[i].name;
        status = file[i].write(config, &out[i].text, err);
    }
    return status;
}

void qvl_small_files_free(struct qvl_small_file *file, size_t n)
{
    for (size_t i = 0; i < n; i++)
        qvl_bytes_free(&file[i].text);
    free(file);
}
