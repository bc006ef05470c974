#include "cli/report.h"

#include <inttypes.h>
#include <string.h>

const char *qvl_finish_name(enum qvl_finish finish)
{
    return finish == QVL_FINISH_STOP ? "stop" : finish == QVL_FINISH_LENGTH ? "length" : "loop";
}

static double per_second(size_t n, double ms)
{
    return ms > 0 ? (double)n * 1e3 / ms : 0;
}

/* Tokens after the first one, whose cost is the prefill's. */
static double generate_rate(const struct qvl_request_info *r)
{
    return r->n_output_tok > 1 ? per_second(r->n_output_tok - 1, r->generate_ms) : 0;
}

static enum qvl_status add_string(struct qvl_bytes *out, const char *key, const char *value, size_t n,
                                  struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_format(out, err, "\"%s\": ", key);
    if (status)
        return status;
    return value ? qvl_bytes_add_json_string(out, value, n, err) : qvl_bytes_add_text(out, "null", err);
}

static enum qvl_status add_answer(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const char *finish = r->is_dry_run ? NULL : qvl_finish_name(r->finish);
    enum qvl_status status = add_string(out, "text", r->is_dry_run ? NULL : r->text, r->n_text, err);
    if (!status)
        status = qvl_bytes_add_text(out, ",\n ", err);
    if (!status)
        status = add_string(out, "finish_reason", finish, finish ? strlen(finish) : 0, err);
    if (!status && r->stop)
        status = qvl_bytes_add_text(out, ",\n ", err);
    if (!status && r->stop)
        status = add_string(out, "stop", r->stop, strlen(r->stop), err);
    return status;
}

static enum qvl_status add_usage(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_request_info *q = &r->request;
    return qvl_bytes_add_format(
        out, err,
        ",\n \"usage\": {\"prompt_tokens\": %zu, \"completion_tokens\": %zu, \"total_tokens\": %zu, "
        "\"prompt_tokens_details\": {\"image_tokens\": %zu, \"video_tokens\": %zu, \"text_tokens\": %zu}}",
        q->n_prompt_tok, q->n_output_tok, q->n_prompt_tok + q->n_output_tok, q->n_image_tok, q->n_video_tok,
        q->n_prompt_tok - q->n_image_tok - q->n_video_tok);
}

static enum qvl_status add_timings(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_request_info *q = &r->request;
    return qvl_bytes_add_format(
        out, err,
        ",\n \"timings\": {\"load_ms\": %.1f, \"media_ms\": %.1f, \"prompt_ms\": %.1f, \"queue_ms\": %.1f, "
        "\"vision_ms\": %.1f, \"prefill_ms\": %.1f, \"first_token_ms\": %.1f, \"generate_ms\": %.1f, "
        "\"total_ms\": %.1f, \"prefill_per_second\": %.2f, \"generate_per_second\": %.2f}",
        r->engine.load_ms, q->media_ms, q->prompt_ms, q->queue_ms, q->vision_ms, q->prefill_ms, q->first_token_ms,
        q->generate_ms, r->total_ms, r->is_dry_run ? 0 : per_second(q->n_prompt_tok, q->prefill_ms),
        generate_rate(q));
}

static enum qvl_status add_images(const struct qvl_request_info *q, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(out, ",\n \"images\": [", err);
    for (size_t i = 0; i < q->n_media && !status; i++) {
        const struct qvl_media_info *m = &q->media[i];
        status = qvl_bytes_add_text(out, i ? ",\n  {" : "\n  {", err);
        if (!status)
            status = add_string(out, "name", m->name, strlen(m->name), err);
        if (!status)
            status = qvl_bytes_add_format(out, err,
                                          ", \"original_hw\": [%u, %u], \"resized_hw\": [%u, %u], "
                                          "\"grid_thw\": [%u, %u, %u], \"tokens\": %u}",
                                          m->original_h, m->original_w, m->resized_h, m->resized_w, m->grid_t,
                                          m->grid_h, m->grid_w, m->n_tok);
    }
    return status ? status : qvl_bytes_add_text(out, "]", err);
}

static enum qvl_status add_ids(struct qvl_bytes *out, const char *key, const uint32_t *id, size_t n,
                               struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_format(out, err, ",\n \"%s\": [", key);
    for (size_t i = 0; i < n && !status; i++)
        status = qvl_bytes_add_format(out, err, "%s%" PRIu32, i ? ", " : "", id[i]);
    return status ? status : qvl_bytes_add_text(out, "]", err);
}

static enum qvl_status add_details(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_request_info *q = &r->request;
    enum qvl_status status = QVL_OK;
    if (r->want_ids) {
        if ((status = qvl_bytes_add_text(out, ",\n ", err)) ||
            (status = add_string(out, "prompt", q->prompt, strlen(q->prompt), err)) ||
            (status = add_ids(out, "prompt_ids", q->prompt_ids, q->n_prompt_tok, err)) ||
            (status = add_ids(out, "output_ids", q->output_ids, q->n_output_tok, err)))
            return status;
    }
    return r->logits ? qvl_bytes_add_format(out, err, ",\n \"logits\": [%s]", r->logits) : status;
}

static enum qvl_status add_settings(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_sampling *s = &r->sampling;
    return qvl_bytes_add_format(
        out, err,
        ",\n \"seed\": %" PRIu64 ", \"sampling\": {\"temperature\": %.9g, \"top_k\": %u, \"top_p\": %.9g, "
        "\"min_p\": %.9g, \"repetition_penalty\": %.9g, \"presence_penalty\": %.9g, \"frequency_penalty\": %.9g},\n "
        "\"isa\": \"%s\", \"threads\": %u, \"dtype\": \"%s\", \"version\": \"%s\"}\n",
        s->seed, (double)s->temperature, s->top_k, (double)s->top_p, (double)s->min_p,
        (double)s->repetition_penalty, (double)s->presence_penalty, (double)s->frequency_penalty, r->engine.isa,
        r->engine.n_thread, r->dtype == QVL_COMPUTE_F32 ? "f32" : "bf16", QVL_VERSION);
}

enum qvl_status qvl_report_json(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status;
    if ((status = qvl_bytes_add_text(out, "{", err)) || (status = add_answer(r, out, err)) ||
        (status = add_usage(r, out, err)) || (status = add_timings(r, out, err)) ||
        (status = add_images(&r->request, out, err)) || (status = add_details(r, out, err)) ||
        (status = qvl_bytes_add_text(out, ",\n ", err)) ||
        (status = add_string(out, "model", r->model, strlen(r->model), err)))
        return status;
    return add_settings(r, out, err);
}

/* One picture by its size, several by their number. */
static enum qvl_status add_picture_words(const struct qvl_request_info *q, struct qvl_bytes *out,
                                         struct qvl_error *err)
{
    if (q->n_media == 0)
        return QVL_OK;
    if (q->n_media == 1)
        return qvl_bytes_add_format(out, err, "1 picture %ux%u, %zu tok · vision %.1f s · ", q->media[0].original_w,
                                    q->media[0].original_h, q->n_image_tok, q->vision_ms / 1e3);
    return qvl_bytes_add_format(out, err, "%zu pictures, %zu tok · vision %.1f s · ", q->n_media, q->n_image_tok,
                                q->vision_ms / 1e3);
}

enum qvl_status qvl_report_line(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_request_info *q = &r->request;
    enum qvl_status status = add_picture_words(q, out, err);
    if (status)
        return status;
    return qvl_bytes_add_format(out, err,
                                "prefill %zu tok @ %.1f/s · first token %.1f s · %zu tok @ %.1f/s · %.1f s · %s",
                                q->n_prompt_tok, per_second(q->n_prompt_tok, q->prefill_ms),
                                q->first_token_ms / 1e3, q->n_output_tok, generate_rate(q), r->total_ms / 1e3,
                                qvl_finish_name(r->finish));
}

enum qvl_status qvl_report_plan(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_request_info *q = &r->request;
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < q->n_media && !status; i++) {
        const struct qvl_media_info *m = &q->media[i];
        status = qvl_bytes_add_format(out, err, "%s: %u x %u pixels, resized to %u x %u, %u tokens\n", m->name,
                                      m->original_w, m->original_h, m->resized_w, m->resized_h, m->n_tok);
    }
    if (status)
        return status;
    return qvl_bytes_add_format(out, err, "prompt: %zu tokens, %zu of them pictures; context %u\n", q->n_prompt_tok,
                                q->n_image_tok, r->engine.n_ctx);
}
