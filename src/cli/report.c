#include "cli/report.h"

#include <inttypes.h>
#include <string.h>

#include "base/language.h"

const char *qvl_finish_name(enum qvl_finish finish)
{
    return finish == QVL_FINISH_STOP ? "stop" : finish == QVL_FINISH_LENGTH ? "length" : "loop";
}

/* The same for people. */
static const char *finish_text(enum qvl_finish finish)
{
    return finish == QVL_FINISH_STOP     ? qvl_text("stop")
           : finish == QVL_FINISH_LENGTH ? qvl_text("length")
                                         : qvl_text("loop");
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
    bool has_reasoning = r->engine.is_thinking && !r->is_dry_run;
    enum qvl_status status = add_string(out, "text", r->is_dry_run ? NULL : r->text, r->n_text, err);
    if (!status)
        status = qvl_bytes_add_text(out, ",\n ", err);
    if (!status)
        status = add_string(out, "reasoning", has_reasoning ? r->reasoning : NULL, r->n_reasoning, err);
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
        "\"prompt_tokens_details\": {\"image_tokens\": %zu, \"video_tokens\": %zu, \"text_tokens\": %zu, "
        "\"cached_tokens\": %zu}}",
        q->n_prompt_tok, q->n_output_tok, q->n_prompt_tok + q->n_output_tok, q->n_image_tok, q->n_video_tok,
        q->n_prompt_tok - q->n_image_tok - q->n_video_tok, q->n_cached_tok);
}

static enum qvl_status add_timings(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_request_info *q = &r->request;
    return qvl_bytes_add_format(
        out, err,
        ",\n \"timings\": {\"load_ms\": %.1f, \"media_ms\": %.1f, \"prompt_ms\": %.1f, \"queue_ms\": %.1f, "
        "\"vision_ms\": %.1f, \"prefill_ms\": %.1f, \"first_token_ms\": %.1f, \"generate_ms\": %.1f, "
        "\"total_ms\": %.1f, \"prefill_per_second\": %.2f, \"generate_per_second\": %.2f, "
        "\"drafted_tokens\": %zu, \"accepted_tokens\": %zu}",
        r->engine.load_ms, q->media_ms, q->prompt_ms, q->queue_ms, q->vision_ms, q->prefill_ms, q->first_token_ms,
        q->generate_ms, r->total_ms, r->is_dry_run ? 0 : per_second(q->n_prompt_tok, q->prefill_ms),
        generate_rate(q), q->n_drafted_tok, q->n_accepted_tok);
}

/* What pictures and clips have in common; leaves the object open. */
static enum qvl_status add_media(const struct qvl_media_info *m, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = add_string(out, "name", m->name, strlen(m->name), err);
    if (status)
        return status;
    return qvl_bytes_add_format(
        out, err,
        ", \"original_hw\": [%u, %u], \"resized_hw\": [%u, %u], \"grid_thw\": [%u, %u, %u], "
        "\"tokens\": %u, \"reused\": %u",
        m->original_h, m->original_w, m->resized_h, m->resized_w, m->grid_t, m->grid_h, m->grid_w, m->n_tok,
        m->n_reused);
}

static enum qvl_status add_clip(const struct qvl_media_info *m, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_text(out, ",\n   \"frame_indices\": [", err);
    for (size_t i = 0; i < m->n_frame && !status; i++)
        status = qvl_bytes_add_format(out, err, "%s%" PRIu64, i ? ", " : "", m->frame_index[i]);
    if (!status)
        status = qvl_bytes_add_text(out, "],\n   \"timestamps\": [", err);
    for (size_t i = 0; i < m->grid_t && !status; i++)
        status = qvl_bytes_add_format(out, err, "%s%.1f", i ? ", " : "", m->patch_s[i]);
    if (!status && m->n_frame_file == 0) /* frames or pictures: there is no file */
        return qvl_bytes_add_text(
            out,
            "],\n   \"fps\": null, \"duration\": null, \"codec\": null, \"frames_in_file\": null, \"cut\": false",
            err);
    if (!status)
        status =
            qvl_bytes_add_format(out, err, "],\n   \"fps\": %.9g, \"duration\": %.9g, ", m->fps, m->duration_s);
    if (!status)
        status = add_string(out, "codec", m->codec, m->codec ? strlen(m->codec) : 0, err);
    return status ? status
                  : qvl_bytes_add_format(out, err, ", \"frames_in_file\": %" PRIu64 ", \"cut\": %s",
                                         m->n_frame_file, m->is_cut ? "true" : "false");
}

static enum qvl_status add_media_list(const struct qvl_request_info *q, enum qvl_media_kind kind,
                                      struct qvl_bytes *out, struct qvl_error *err)
{
    bool is_clip = kind == QVL_MEDIA_VIDEO, is_first = true;
    enum qvl_status status = qvl_bytes_add_format(out, err, ",\n \"%s\": [", is_clip ? "videos" : "images");
    for (size_t i = 0; i < q->n_media && !status; i++) {
        const struct qvl_media_info *m = &q->media[i];
        if (m->kind != kind)
            continue;
        status = qvl_bytes_add_text(out, is_first ? "\n  {" : ",\n  {", err);
        if (!status)
            status = add_media(m, out, err);
        if (!status && is_clip)
            status = add_clip(m, out, err);
        if (!status)
            status = qvl_bytes_add_text(out, "}", err);
        is_first = false;
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
        "\"min_p\": %.9g, \"repetition_penalty\": %.9g, \"presence_penalty\": %.9g, \"frequency_penalty\": "
        "%.9g},\n "
        "\"isa\": \"%s\", \"threads\": %u, \"dtype\": \"%s\", \"kv\": \"%s\", \"version\": \"%s\"}\n",
        s->seed, (double)s->temperature, s->top_k, (double)s->top_p, (double)s->min_p,
        (double)s->repetition_penalty, (double)s->presence_penalty, (double)s->frequency_penalty, r->engine.isa,
        r->engine.n_thread, r->dtype == QVL_COMPUTE_F32 ? "f32" : "bf16", r->engine.kv, QVL_VERSION);
}

enum qvl_status qvl_report_json(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status;
    if ((status = qvl_bytes_add_text(out, "{", err)) || (status = add_answer(r, out, err)) ||
        (status = add_usage(r, out, err)) || (status = add_timings(r, out, err)) ||
        (status = add_media_list(&r->request, QVL_MEDIA_IMAGE, out, err)) ||
        (status = add_media_list(&r->request, QVL_MEDIA_VIDEO, out, err)) || (status = add_details(r, out, err)) ||
        (status = qvl_bytes_add_text(out, ",\n ", err)) ||
        (status = add_string(out, "model", r->model, strlen(r->model), err)))
        return status;
    return add_settings(r, out, err);
}

/* One picture by its size and one clip by its length, several by their number. */
static enum qvl_status add_media_words(const struct qvl_request_info *q, struct qvl_bytes *out,
                                       struct qvl_error *err)
{
    const struct qvl_media_info *picture = NULL, *clip = NULL;
    size_t n_picture = 0, n_clip = 0, n_frame = 0;
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < q->n_media; i++) {
        const struct qvl_media_info *m = &q->media[i];
        if (m->kind == QVL_MEDIA_VIDEO) {
            clip = m;
            n_clip++;
            n_frame += m->n_frame;
        } else {
            picture = m;
            n_picture++;
        }
    }
    if (n_picture == 1)
        status = qvl_bytes_add_format(out, err, qvl_text("1 picture %ux%u, %zu tok · "), picture->original_w,
                                      picture->original_h, q->n_image_tok);
    else if (n_picture > 1)
        status = qvl_bytes_add_format(out, err, qvl_text("%zu pictures, %zu tok · "), n_picture, q->n_image_tok);
    if (!status && n_clip == 1)
        status = qvl_bytes_add_format(out, err, qvl_text("1 clip %.0f s, %zu frames, %zu tok · "),
                                      clip->n_frame_file ? clip->duration_s : clip->frame_s[clip->n_frame - 1],
                                      n_frame, q->n_video_tok);
    else if (!status && n_clip > 1)
        status = qvl_bytes_add_format(out, err, qvl_text("%zu clips, %zu frames, %zu tok · "), n_clip, n_frame,
                                      q->n_video_tok);
    if (status || q->n_media == 0)
        return status;
    return qvl_bytes_add_format(out, err, qvl_text("vision %.1f s · "), q->vision_ms / 1e3);
}

enum qvl_status qvl_report_line(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_request_info *q = &r->request;
    size_t n_new = q->n_prompt_tok - q->n_cached_tok;
    enum qvl_status status = add_media_words(q, out, err);
    if (!status && q->n_cached_tok)
        status = qvl_bytes_add_format(out, err, qvl_text("%zu tok known · "), q->n_cached_tok);
    if (status)
        return status;
    return qvl_bytes_add_format(
        out, err, qvl_text("prefill %zu tok @ %.1f/s · first token %.1f s · %zu tok @ %.1f/s · %.1f s · %s"), n_new,
        per_second(n_new, q->prefill_ms), q->first_token_ms / 1e3, q->n_output_tok, generate_rate(q),
        r->total_ms / 1e3, finish_text(r->finish));
}

/* A clip: which frames (of many the first and the last), when, and what they cost. */
static enum qvl_status add_clip_plan(const struct qvl_media_info *m, struct qvl_bytes *out, struct qvl_error *err)
{
    enum { N_IN_LINE = 6 };
    enum qvl_status status = QVL_OK;
    if (m->n_frame_file)
        status = qvl_bytes_add_format(
            out, err, qvl_text("%s: %s, %u x %u pixels, %llu frames, %.5g a second, %.2f s\n"), m->name, m->codec,
            m->original_w, m->original_h, (unsigned long long)m->n_frame_file, m->fps, m->duration_s);
    else
        status =
            qvl_bytes_add_format(out, err, qvl_text("%s: %u x %u pixels\n"), m->name, m->original_w, m->original_h);
    if (!status)
        status = qvl_bytes_add_format(out, err, qvl_text("  %zu frames resized to %u x %u, %u tokens:"), m->n_frame,
                                      m->resized_w, m->resized_h, m->n_tok);
    size_t n_shown = m->n_frame <= 2 * N_IN_LINE ? m->n_frame : N_IN_LINE, last = m->n_frame - 1;
    for (size_t i = 0; i < n_shown && !status; i++)
        status = qvl_bytes_add_format(out, err, qvl_text("%s%llu at %.2f s"), i % N_IN_LINE ? ", " : "\n    ",
                                      (unsigned long long)m->frame_index[i], m->frame_s[i]);
    if (!status && n_shown < m->n_frame)
        status = qvl_bytes_add_format(out, err, qvl_text(" … %llu at %.2f s (--json lists them all)"),
                                      (unsigned long long)m->frame_index[last], m->frame_s[last]);
    return status ? status : qvl_bytes_add_text(out, "\n", err);
}

enum qvl_status qvl_report_plan(const struct qvl_report *r, struct qvl_bytes *out, struct qvl_error *err)
{
    const struct qvl_request_info *q = &r->request;
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < q->n_media && !status; i++) {
        const struct qvl_media_info *m = &q->media[i];
        if (m->kind == QVL_MEDIA_VIDEO)
            status = add_clip_plan(m, out, err);
        else
            status =
                qvl_bytes_add_format(out, err, qvl_text("%s: %u x %u pixels, resized to %u x %u, %u tokens\n"),
                                     m->name, m->original_w, m->original_h, m->resized_w, m->resized_h, m->n_tok);
    }
    if (status)
        return status;
    return qvl_bytes_add_format(out, err,
                                qvl_text("prompt: %zu tokens, %zu for pictures and %zu for clips; context %u\n"),
                                q->n_prompt_tok, q->n_image_tok, q->n_video_tok, r->engine.n_ctx);
}
