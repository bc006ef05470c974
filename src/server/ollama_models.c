/* Source of truth: docs/api.md of Ollama. Clients decide by "capabilities" what they offer, and read the context
 * and the embedding's length from "model_info", below the name of the architecture. */
#include "server/ollama_models.h"

#include <inttypes.h>
#include <string.h>
#include <nettle/sha2.h>

#include "base/json_tree.h"
#include "base/limits.h"

#define FAMILY "qwen3vl"
#define NEVER "2999-12-31T23:59:59Z" /* when the model leaves memory */

/* What engine_info leaves to the inspection's JSON. */
struct facts {
    char quantization[24];
    uint32_t hidden;
    char digest[2 * SHA256_DIGEST_SIZE + 1]; /* of all sizes and settings: the same for the same model */
};

static void make_digest(const char *text, char out[2 * SHA256_DIGEST_SIZE + 1])
{
    static const char hex[] = "0123456789abcdef";
    struct sha256_ctx ctx;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&ctx);
    sha256_update(&ctx, strlen(text), (const uint8_t *)text);
    sha256_digest(&ctx, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        out[2 * i] = hex[digest[i] >> 4];
        out[2 * i + 1] = hex[digest[i] & 15];
    }
    out[2 * sizeof digest] = 0;
}

static enum qvl_status read_facts(const struct qvl_ollama_model *m, struct facts *out, struct qvl_error *err)
{
    struct qvl_arena arena = {0};
    struct qvl_json_tree tree = {0};
    const char *json = m->info->inspect_json;
    enum qvl_status status =
        qvl_json_tree_read(json, strlen(json), "inspection", QVL_MAX_JSON_VALUES, &arena, &tree, err);
    if (!status) {
        const struct qvl_json_node *hidden = qvl_json_member(qvl_json_member(tree.node, "text"), "hidden");
        const struct qvl_json_node *q = qvl_json_member(qvl_json_member(tree.node, "weights"), "quantization");
        double number = 0;
        bool is_packed =
            q && q->kind == QVL_JSON_STRING && !qvl_json_equals(q, "none") && q->n < sizeof out->quantization;
        *out = (struct facts){.quantization = "BF16"};
        if (hidden && qvl_json_number(hidden, &number))
            out->hidden = (uint32_t)number;
        if (is_packed) {
            memcpy(out->quantization, q->utf8, q->n);
            out->quantization[q->n] = 0;
        }
        make_digest(json, out->digest);
    }
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    return status;
}

/* "2.1B" */
static enum qvl_status add_details(const struct qvl_ollama_model *m, const struct facts *facts,
                                   struct qvl_bytes *out, struct qvl_error *err)
{
    double n = (double)m->info->n_parameter;
    bool is_large = n >= 1e9;
    enum qvl_status status = qvl_bytes_add_format(
        out, err,
        ",\"details\":{\"parent_model\":\"\",\"format\":\"safetensors\",\"family\":\"" FAMILY
        "\",\"families\":[\"" FAMILY "\"],\"parameter_size\":\"%.1f%s\",\"quantization_level\":",
        is_large ? n / 1e9 : n / 1e6, is_large ? "B" : "M");
    if (!status)
        status = qvl_bytes_add_json_string(out, facts->quantization, strlen(facts->quantization), err);
    return status ? status : qvl_bytes_add_text(out, "}", err);
}

static enum qvl_status add_capabilities(const struct qvl_ollama_model *m, struct qvl_bytes *out,
                                        struct qvl_error *err)
{
    return qvl_bytes_add_text(out,
                              m->info->is_thinking
                                  ? ",\"capabilities\":[\"completion\",\"vision\",\"tools\",\"thinking\"]"
                                  : ",\"capabilities\":[\"completion\",\"vision\",\"tools\"]",
                              err);
}

/* {"models":[{ … , up to what differs between the lists. */
static enum qvl_status begin_list(const struct qvl_ollama_model *m, struct qvl_bytes *out, struct qvl_error *err)
{
    struct facts facts;
    enum qvl_status status = read_facts(m, &facts, err);
    if (!status)
        status = qvl_bytes_add_text(out, "{\"models\":[{\"name\":", err);
    if (!status)
        status = qvl_bytes_add_json_string(out, m->name, strlen(m->name), err);
    if (!status)
        status = qvl_bytes_add_text(out, ",\"model\":", err);
    if (!status)
        status = qvl_bytes_add_json_string(out, m->name, strlen(m->name), err);
    if (!status)
        status = qvl_bytes_add_format(out, err, ",\"size\":%" PRIu64 ",\"digest\":\"%s\"", m->info->weight_bytes,
                                      facts.digest);
    return status ? status : add_details(m, &facts, out, err);
}

enum qvl_status qvl_ollama_tags_json(const struct qvl_ollama_model *m, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = begin_list(m, out, err);
    if (!status)
        status = qvl_bytes_add_format(out, err, ",\"modified_at\":\"%s\"", m->since);
    if (!status)
        status = add_capabilities(m, out, err);
    return status ? status : qvl_bytes_add_text(out, "}]}", err);
}

enum qvl_status qvl_ollama_ps_json(const struct qvl_ollama_model *m, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = begin_list(m, out, err);
    if (status)
        return status;
    return qvl_bytes_add_format(out, err, ",\"expires_at\":\"" NEVER "\",\"size_vram\":0,\"context_length\":%u}]}",
                                m->info->n_ctx);
}

static enum qvl_status add_parameters(const struct qvl_sampling *s, struct qvl_bytes *out, struct qvl_error *err)
{
    return qvl_bytes_add_format(out, err,
                                ",\"parameters\":\"temperature %.7g\\ntop_k %u\\ntop_p %.7g\\nmin_p %.7g\\n"
                                "repeat_penalty %.7g\\npresence_penalty %.7g\\nfrequency_penalty %.7g\"",
                                (double)s->temperature, s->top_k, (double)s->top_p, (double)s->min_p,
                                (double)s->repetition_penalty, (double)s->presence_penalty,
                                (double)s->frequency_penalty);
}

enum qvl_status qvl_ollama_show_json(const struct qvl_ollama_model *m, struct qvl_bytes *out, struct qvl_error *err)
{
    struct facts facts;
    enum qvl_status status = read_facts(m, &facts, err);
    if (!status)
        status = qvl_bytes_add_text(out, "{\"modelfile\":\"\",\"template\":\"\"", err);
    if (!status)
        status = add_parameters(m->sampling, out, err);
    if (!status)
        status = add_details(m, &facts, out, err);
    if (!status)
        status = qvl_bytes_add_format(out, err,
                                      ",\"model_info\":{\"general.architecture\":\"" FAMILY
                                      "\",\"general.parameter_count\":%" PRIu64 ",\"" FAMILY
                                      ".context_length\":%u,\"" FAMILY ".embedding_length\":%u}",
                                      m->info->n_parameter, m->info->n_ctx, facts.hidden);
    if (!status)
        status = add_capabilities(m, out, err);
    return status ? status : qvl_bytes_add_format(out, err, ",\"modified_at\":\"%s\"}", m->since);
}
