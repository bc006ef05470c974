/* What `qvl inspect` shows: a model's sizes and settings as one JSON object. */
#include "engine/engine.h"

#include <inttypes.h>
#include <string.h>

#include "load/stored.h"

static enum qvl_status add_text_section(const struct qvl_text_config *t, struct qvl_bytes *out,
                                        struct qvl_error *err)
{
    return qvl_bytes_add_format(
        out, err,
        "\"text\":{\"hidden\":%u,\"layers\":%u,\"heads\":%u,\"kv_heads\":%u,\"head_dim\":%u,\"intermediate\":%u,"
        "\"vocab\":%u,\"max_position\":%u,\"tied_head\":%s,\"rope\":{\"type\":\"%s\",\"theta\":%.17g,"
        "\"mrope_section\":[%u,%u,%u]}},",
        t->hidden, t->n_layer, t->n_head, t->n_kv_head, t->head_dim, t->intermediate, t->vocab, t->max_position,
        t->is_tied ? "true" : "false", t->rope.type == QVL_ROPE_YARN ? "yarn" : "default", t->rope.theta,
        t->rope.section[0], t->rope.section[1], t->rope.section[2]);
}

static enum qvl_status add_vision_section(const struct qvl_vision_config *v, struct qvl_bytes *out,
                                          struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_format(
        out, err,
        "\"vision\":{\"hidden\":%u,\"layers\":%u,\"heads\":%u,\"head_dim\":%u,\"intermediate\":%u,"
        "\"out_hidden\":%u,\"patch\":%u,\"merge\":%u,\"temporal_patch\":%u,\"position_embeddings\":%u,"
        "\"deepstack_layers\":[",
        v->hidden, v->n_layer, v->n_head, v->head_dim, v->intermediate, v->out_hidden, v->patch, v->merge,
        v->temporal_patch, v->n_position);
    for (uint32_t i = 0; i < v->n_tap && !status; i++)
        status = qvl_bytes_add_format(out, err, "%s%u", i ? "," : "", v->tap_layer[i]);
    return status ? status : qvl_bytes_add_text(out, "]},", err);
}

/* Tensors of one type in the files. */
struct type_share {
    const char *name;
    uint64_t n, n_bytes;
    double n_element;
};

enum { MAX_TYPES = 32 }; /* more than a file can have */

static size_t count_types(const struct qvl_weights *weights, struct type_share of[MAX_TYPES])
{
    size_t n_type = 0;
    for (size_t i = 0; i < qvl_weights_n_tensor(weights); i++) {
        const struct qvl_tensor *t = qvl_weights_at(weights, i);
        const char *name = qvl_stored_type_name(t);
        size_t k = 0;
        while (k < n_type && strcmp(of[k].name, name) != 0)
            k++;
        if (k == MAX_TYPES)
            continue;
        if (k == n_type)
            of[n_type++] = (struct type_share){.name = name};
        of[k].n++;
        of[k].n_bytes += qvl_weights_file_bytes(weights, i);
        of[k].n_element += (double)t->n_element;
    }
    return n_type;
}

static enum qvl_status add_weights_section(const struct qvl_config *config, const struct qvl_weights *weights,
                                           struct qvl_bytes *out, struct qvl_error *err)
{
    struct type_share of[MAX_TYPES];
    size_t n_tensor = 0, n_type = count_types(weights, of);
    uint64_t n_parameter = 0, n_bytes = qvl_weights_bytes(weights);
    qvl_weights_count(config, &n_tensor, &n_parameter);
    enum qvl_status status =
        qvl_bytes_add_format(out, err,
                             "\"weights\":{\"quantization\":\"%s\",\"tensors\":%zu,\"parameters\":%" PRIu64
                             ",\"bytes\":%" PRIu64 ",\"bits_per_weight\":%.2f,\"types\":{",
                             qvl_quantization_name(config->quantization), qvl_weights_n_tensor(weights),
                             n_parameter, n_bytes, 8 * (double)n_bytes / (double)n_parameter);
    for (size_t k = 0; k < n_type && !status; k++)
        status = qvl_bytes_add_format(
            out, err, "%s\"%s\":{\"tensors\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"bits_per_weight\":%.2f}",
            k ? "," : "", of[k].name, of[k].n, of[k].n_bytes, 8 * (double)of[k].n_bytes / of[k].n_element);
    return status ? status : qvl_bytes_add_text(out, "}},", err);
}

static enum qvl_status add_settings_section(const struct qvl_config *c, const struct qvl_tokenizer *tokenizer,
                                            struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_sampling *s = &c->generation.sampling;
    enum qvl_status status = qvl_bytes_add_format(
        out, err,
        "\"tokenizer\":{\"ids\":%u},\"image\":{\"min_pixels\":%" PRIu64 ",\"max_pixels\":%" PRIu64 "},"
        "\"video\":{\"min_pixels\":%" PRIu64 ",\"max_pixels\":%" PRIu64 ",\"fps\":%g,\"min_frames\":%u,"
        "\"max_frames\":%u},\"generation\":{\"from_file\":%s,\"temperature\":%g,\"top_p\":%g,\"top_k\":%u,"
        "\"min_p\":%g,\"repetition_penalty\":%g,\"presence_penalty\":%g,\"eos\":[",
        qvl_tokenizer_n(tokenizer), c->image.min_pixels, c->image.max_pixels, c->video.min_pixels,
        c->video.max_pixels, c->video.fps, c->video.min_frames, c->video.max_frames,
        c->generation.has_file ? "true" : "false", (double)s->temperature, (double)s->top_p, s->top_k,
        (double)s->min_p, (double)s->repetition_penalty, (double)s->presence_penalty);
    for (uint32_t i = 0; i < c->generation.n_eos && !status; i++)
        status = qvl_bytes_add_format(out, err, "%s%u", i ? "," : "", c->generation.eos[i]);
    return status ? status : qvl_bytes_add_text(out, "]}}", err);
}

enum qvl_status qvl_inspect(const struct qvl_engine *engine, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_config *c = &engine->config;
    const char *kind = c->is_golden ? "golden" : c->is_demo ? "demo" : "published";
    enum qvl_status status;
    if ((status = qvl_bytes_add_text(out, "{\"model\":", err)) ||
        (status = qvl_bytes_add_json_string(out, engine->model_dir, strlen(engine->model_dir), err)) ||
        (status = qvl_bytes_add_format(out, err,
                                       ",\"architecture\":\"Qwen3VLForConditionalGeneration\",\"variant\":\"%s\","
                                       "\"kind\":\"%s\",",
                                       c->is_thinking ? "thinking" : "instruct", kind)) ||
        (status = add_text_section(&c->text, out, err)) || (status = add_vision_section(&c->vision, out, err)) ||
        (status = add_weights_section(c, engine->weights, out, err)))
        return status;
    return add_settings_section(c, engine->tokenizer, out, err);
}
