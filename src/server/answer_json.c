/* Source of truth: "timings" of llama.cpp's server (tools/server, result_timings::to_json); boxes and points of
 * Qwen3-VL's cookbooks ("2d_grounding"), relative to 1000 in both directions. */
#include "server/answer_json.h"

#include <math.h>
#include <string.h>

#include "base/json_tree.h"

static const uint32_t MAX_BOX_VALUES = 1u << 16; /* JSON values of an answer that is looked through */
static const double BOX_SCALE = 1000;

static double per_second(size_t n, double ms)
{
    return ms > 0 ? (double)n * 1e3 / ms : 0;
}

static double per_token(size_t n, double ms)
{
    return n > 0 ? ms / (double)n : 0;
}

enum qvl_status qvl_answer_timings_json(struct qvl_bytes *out, const struct qvl_ask_usage *u, struct qvl_error *err)
{
    size_t n_new = u->n_prompt_tok - u->n_cached_tok, n_out = u->n_output_tok;
    double prompt_ms = u->vision_ms + u->prefill_ms;
    enum qvl_status status = qvl_bytes_add_format(
        out, err,
        "{\"cache_n\":%zu,\"prompt_n\":%zu,\"prompt_ms\":%.3f,\"prompt_per_token_ms\":%.3f,"
        "\"prompt_per_second\":%.3f,\"predicted_n\":%zu,\"predicted_ms\":%.3f,\"predicted_per_token_ms\":%.3f,"
        "\"predicted_per_second\":%.3f,",
        u->n_cached_tok, n_new, prompt_ms, per_token(n_new, prompt_ms), per_second(n_new, prompt_ms), n_out,
        u->generate_ms, per_token(n_out, u->generate_ms), per_second(n_out, u->generate_ms));
    if (status)
        return status;
    return qvl_bytes_add_format(out, err,
                                "\"draft_n\":%zu,\"draft_n_accepted\":%zu,\"queue_ms\":%.3f,\"decode_ms\":%.3f,"
                                "\"vision_ms\":%.3f,\"prefill_ms\":%.3f,\"first_token_ms\":%.3f}",
                                u->n_drafted_tok, u->n_accepted_tok, u->queue_ms, u->media_ms, u->vision_ms,
                                u->prefill_ms, u->first_token_ms);
}

/* ---- pictures and clips -------------------------------------------------------------------------- */

static enum qvl_status add_clip(struct qvl_bytes *out, const struct qvl_media_info *m, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_format(out, err, ",\"frames\":%zu,\"times\":[", m->n_frame);
    for (size_t i = 0; i < m->grid_t && !status; i++)
        status = qvl_bytes_add_format(out, err, "%s%.1f", i ? "," : "", m->patch_s[i]);
    if (status)
        return status;
    if (m->n_frame_file == 0)
        return qvl_bytes_add_text(out, "],\"fps\":null,\"duration_s\":null", err);
    return qvl_bytes_add_format(out, err, "],\"fps\":%.6g,\"duration_s\":%.6g", m->fps, m->duration_s);
}

static enum qvl_status add_media(struct qvl_bytes *out, const struct qvl_media_info *m, struct qvl_error *err)
{
    bool is_clip = m->kind == QVL_MEDIA_VIDEO;
    uint32_t n_reused_tok = m->grid_t ? m->n_tok / m->grid_t * m->n_reused : 0;
    enum qvl_status status =
        qvl_bytes_add_format(out, err, "{\"kind\":\"%s\",\"name\":", is_clip ? "video" : "image");
    if (!status)
        status = qvl_bytes_add_json_string(out, m->name, strlen(m->name), err);
    if (!status)
        status = qvl_bytes_add_format(
            out, err, ",\"original\":[%u,%u],\"used\":[%u,%u],\"tokens\":%u,\"reused_tokens\":%u", m->original_w,
            m->original_h, m->resized_w, m->resized_h, m->n_tok, n_reused_tok);
    if (!status && is_clip)
        status = add_clip(out, m, err);
    return status ? status : qvl_bytes_add_text(out, "}", err);
}

enum qvl_status qvl_answer_media_json(struct qvl_bytes *out, const struct qvl_ask_usage *usage,
                                      struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(out, "[", err);
    for (size_t i = 0; i < usage->n_media && !status; i++) {
        if (i)
            status = qvl_bytes_add_text(out, ",", err);
        if (!status)
            status = add_media(out, &usage->media[i], err);
    }
    return status ? status : qvl_bytes_add_text(out, "]", err);
}

/* ---- boxes --------------------------------------------------------------------------------------- */

/* The size that all pictures and clips have. */
static bool find_size(const struct qvl_ask_usage *usage, uint32_t *w, uint32_t *h)
{
    for (size_t i = 0; i < usage->n_media; i++) {
        const struct qvl_media_info *m = &usage->media[i];
        if (i > 0 && (m->original_w != *w || m->original_h != *h))
            return false;
        *w = m->original_w;
        *h = m->original_h;
    }
    return usage->n_media > 0;
}

/* What is between the first fence and the next, or everything. */
static void find_json(const char **answer, size_t *n)
{
    static const char fence[] = "```";
    const char *begin = memmem(*answer, *n, fence, 3);
    if (!begin)
        return;
    const char *end_of_all = *answer + *n, *line = memchr(begin, '\n', (size_t)(end_of_all - begin));
    const char *end = line ? memmem(line, (size_t)(end_of_all - line), fence, 3) : NULL;
    if (!line)
        return;
    *answer = line + 1;
    *n = (size_t)((end ? end : end_of_all) - *answer);
}

/* The member: a list of n_value numbers in pixels. */
static enum qvl_status add_pixels(struct qvl_bytes *out, const char *key, const struct qvl_json_node *list,
                                  uint32_t w, uint32_t h, struct qvl_error *err)
{
    const struct qvl_json_node *entry = list + 1;
    enum qvl_status status = qvl_bytes_add_format(out, err, "\"%s\":[", key);
    for (uint32_t i = 0; i < list->n_child && !status; i++, entry = qvl_json_next(entry)) {
        double value = 0;
        (void)qvl_json_number(entry, &value);
        value = rint(fmin(fmax(value, 0), BOX_SCALE) / BOX_SCALE * (i % 2 ? h : w));
        status = qvl_bytes_add_format(out, err, "%s%.0f", i ? "," : "", value);
    }
    return status ? status : qvl_bytes_add_text(out, "]}", err);
}

static bool is_list_of_numbers(const struct qvl_json_node *node, uint32_t n)
{
    double value;
    if (!node || node->kind != QVL_JSON_ARRAY || node->n_child != n || node->n_node != n + 1)
        return false;
    for (uint32_t i = 1; i <= n; i++)
        if (!qvl_json_number(node + i, &value))
            return false;
    return true;
}

static enum qvl_status add_box(struct qvl_bytes *out, uint32_t i_choice, const struct qvl_json_node *object,
                               uint32_t w, uint32_t h, struct qvl_error *err)
{
    const struct qvl_json_node *box = qvl_json_member(object, "bbox_2d"),
                               *point = qvl_json_member(object, "point_2d");
    const struct qvl_json_node *label = qvl_json_member(object, "label");
    bool is_box = is_list_of_numbers(box, 4);
    if (!is_box && !is_list_of_numbers(point, 2))
        return QVL_OK;
    bool is_first = out->n == 0 || out->data[out->n - 1] == '[';
    enum qvl_status status = qvl_bytes_add_format(out, err, "%s{\"choice\":%u,", is_first ? "" : ",", i_choice);
    if (!status && label && label->kind == QVL_JSON_STRING &&
        !(status = qvl_bytes_add_text(out, "\"label\":", err)) &&
        !(status = qvl_bytes_add_json_string(out, label->utf8, label->n, err)))
        status = qvl_bytes_add_text(out, ",", err);
    if (status)
        return status;
    return add_pixels(out, is_box ? "bbox_2d" : "point_2d", is_box ? box : point, w, h, err);
}

enum qvl_status qvl_answer_boxes_json(struct qvl_bytes *out, uint32_t i_choice, const char *answer, size_t n,
                                      const struct qvl_ask_usage *usage, struct qvl_error *err)
{
    struct qvl_arena arena = {0};
    struct qvl_json_tree tree = {0};
    struct qvl_error no_json = {0};
    uint32_t w = 0, h = 0;
    if (n == 0 || !memmem(answer, n, "_2d\"", 4) || !find_size(usage, &w, &h))
        return QVL_OK;
    find_json(&answer, &n);
    enum qvl_status status = qvl_json_tree_read(answer, n, "answer", MAX_BOX_VALUES, &arena, &tree, &no_json);
    if (status && status != QVL_ERR_MEMORY) {
        status = QVL_OK; /* words */
        tree.n = 0;
    }
    if (status)
        *err = no_json;
    for (size_t i = 0; i < tree.n && !status; i++)
        if (tree.node[i].kind == QVL_JSON_OBJECT)
            status = add_box(out, i_choice, &tree.node[i], w, h, err);
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    return status;
}
