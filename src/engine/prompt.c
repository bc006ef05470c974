/* Text between two control tokens or pictures is joined and encoded together, because the splitter looks
 * across the seams of the template (MODEL.md, "Prompt"); added tokens are never recognised in it. A clip adds
 * its time stamps to that same text before it is cut. */
#include "engine/prompt.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/checked.h"
#include "base/language.h"
#include "model/mistake.h"

struct builder {
    const struct qvl_tokenizer *tokenizer;
    const struct qvl_prompt_settings *settings;
    const struct qvl_prompt_media *media; /* [n_media] */
    size_t n_media;
    struct qvl_prompt *prompt;
    struct qvl_bytes pending; /* text not encoded yet */
};

static enum qvl_status add_span(struct qvl_prompt *p, const struct qvl_span *span, struct qvl_error *err)
{
    struct qvl_span *grown = qvl_grow(p->span, &p->n_span_alloc, p->n_span + 1, sizeof *grown, "the prompt", err);
    if (!grown)
        return err->status;
    p->span = grown;
    p->span[p->n_span++] = *span;
    return QVL_OK;
}

/* Tokens from `begin` to the end of the ids become text: joined to the span before where that is text, too. */
static enum qvl_status extend_text_span(struct qvl_prompt *p, size_t begin, struct qvl_error *err)
{
    struct qvl_span *last = p->n_span ? &p->span[p->n_span - 1] : NULL;
    if (p->ids.n == begin)
        return QVL_OK;
    if (last && !last->is_visual) {
        last->n_tok += p->ids.n - begin;
        return QVL_OK;
    }
    return add_span(p, &(struct qvl_span){.begin = begin, .n_tok = p->ids.n - begin}, err);
}

static enum qvl_status encode_pending(struct builder *b, struct qvl_error *err)
{
    struct qvl_prompt *p = b->prompt;
    size_t begin = p->ids.n;
    enum qvl_status status = QVL_OK;
    if (b->pending.n)
        status = qvl_tokenizer_encode(b->tokenizer, b->pending.data, b->pending.n, false, &p->ids, err);
    b->pending.n = 0;
    return status ? status : extend_text_span(p, begin, err);
}

static enum qvl_status add_token(struct builder *b, enum qvl_added_token token, struct qvl_error *err)
{
    struct qvl_prompt *p = b->prompt;
    size_t begin = p->ids.n;
    enum qvl_status status = qvl_ids_add(&p->ids, qvl_tokenizer_added(b->tokenizer, token), 1, err);
    return status ? status : extend_text_span(p, begin, err);
}

/* One picture, or temporal patch number i_patch of a clip: its pads and their span. */
static enum qvl_status add_pads(struct builder *b, size_t i_media, uint32_t i_patch, enum qvl_added_token pad,
                                size_t *n_tok, struct qvl_error *err)
{
    struct qvl_prompt *p = b->prompt;
    struct qvl_grid grid = b->media[i_media].grid;
    uint32_t merge = b->settings->merge;
    struct qvl_span span = {.begin = p->ids.n, .is_visual = true, .rows = grid.h / merge,
                            .columns = grid.w / merge, .i_media = (uint32_t)i_media};
    if (i_patch >= grid.t || !qvl_mul_size(span.rows, span.columns, &span.n_tok) || span.n_tok == 0 ||
        span.n_tok > UINT32_MAX / grid.t)
        return qvl_fail(err, QVL_ERR_INTERNAL, "picture or clip %zu has a grid of %u x %u x %u patches",
                        i_media + 1, grid.t, grid.h, grid.w);
    span.i_feature = i_patch * (uint32_t)span.n_tok;
    enum qvl_status status = qvl_ids_add(&p->ids, qvl_tokenizer_added(b->tokenizer, pad), span.n_tok, err);
    if (status)
        return status;
    *n_tok += span.n_tok;
    return add_span(p, &span, err);
}

double qvl_prompt_patch_time(const double *frame_s, size_t n_frame, uint32_t temporal_patch, uint32_t i_patch)
{
    size_t first = (size_t)i_patch * temporal_patch, last = first + temporal_patch - 1, end = n_frame - 1;
    return (frame_s[qvl_min_size(first, end)] + frame_s[qvl_min_size(last, end)]) / 2;
}

/* "<1.5 seconds>", whatever decimal point the program around this library has chosen. */
static enum qvl_status add_time(struct builder *b, double time_s, struct qvl_error *err)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%.1f", time_s), n_whole = 0;
    while (n_whole < n && digits[n_whole] >= '0' && digits[n_whole] <= '9')
        n_whole++;
    if (n >= (int)sizeof digits || n_whole == 0 || n_whole == n)
        return qvl_fail(err, QVL_ERR_INTERNAL, "a clip's time of %g seconds cannot be written", time_s);
    return qvl_bytes_add_format(&b->pending, err, "<%.*s.%c seconds>", n_whole, digits, digits[n - 1]);
}

/* Time, vision_start, pads, vision_end for each temporal patch. Without the wrapper the first time joins the text
 * before the clip. */
static enum qvl_status add_video(struct builder *b, size_t i_media, struct qvl_error *err)
{
    const struct qvl_prompt_media *media = &b->media[i_media];
    bool want_wrapper = b->settings->want_video_wrapper;
    enum qvl_status status = QVL_OK;
    if (media->n_frame == 0 || media->grid.t == 0)
        return qvl_fail(err, QVL_ERR_INTERNAL, "clip %zu has no frames", i_media + 1);
    if (want_wrapper && ((status = encode_pending(b, err)) || (status = add_token(b, QVL_TOK_VISION_START, err))))
        return status;
    for (uint32_t i = 0; i < media->grid.t && !status; i++) {
        double time_s = qvl_prompt_patch_time(media->time_s, media->n_frame, b->settings->temporal_patch, i);
        if (!QVL_MISTAKE(TIMES_AFTER_PADS) && !QVL_MISTAKE(NO_TIMES))
            status = add_time(b, time_s, err);
        if (!status && !(status = encode_pending(b, err)) && !(status = add_token(b, QVL_TOK_VISION_START, err)) &&
            !(status = add_pads(b, i_media, i, QVL_TOK_VIDEO_PAD, &b->prompt->n_video_tok, err)))
            status = add_token(b, QVL_TOK_VISION_END, err);
        if (QVL_MISTAKE(TIMES_AFTER_PADS) && !status)
            status = add_time(b, time_s, err);
    }
    return status || !want_wrapper ? status : add_token(b, QVL_TOK_VISION_END, err);
}

static enum qvl_status add_part(struct builder *b, const struct qvl_prompt_parts *parts,
                                const struct qvl_prompt_part *part, struct qvl_error *err)
{
    enum qvl_status status;
    if (part->kind == QVL_PROMPT_TEXT)
        return qvl_bytes_add(&b->pending, parts->text.data + part->text_begin, part->text_n, err);
    if (part->kind == QVL_PROMPT_TOKEN)
        return (status = encode_pending(b, err)) ? status : add_token(b, part->token, err);
    if (part->i_media >= b->n_media)
        return qvl_fail(err, QVL_ERR_INTERNAL, "the prompt shows media %zu of %zu", part->i_media + 1, b->n_media);
    if (part->kind == QVL_PROMPT_VIDEO)
        return add_video(b, part->i_media, err);
    status = encode_pending(b, err);
    return status ? status : add_pads(b, part->i_media, 0, QVL_TOK_IMAGE_PAD, &b->prompt->n_image_tok, err);
}

/* Pads may come from pictures and clips only: as many in the ids as the grids ask for. */
static enum qvl_status check_pads(const struct builder *b, enum qvl_added_token pad, size_t n_expected,
                                  struct qvl_error *err)
{
    const struct qvl_ids *ids = &b->prompt->ids;
    uint32_t id = qvl_tokenizer_added(b->tokenizer, pad);
    size_t n_pad = 0;
    for (size_t i = 0; i < ids->n; i++)
        n_pad += ids->id[i] == id;
    if (n_pad == n_expected)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_INTERNAL, "the prompt has %zu %s tokens where the grids ask for %zu", n_pad,
                    pad == QVL_TOK_IMAGE_PAD ? qvl_text("picture") : qvl_text("clip"), n_expected);
}

enum qvl_status qvl_prompt_build(const struct qvl_tokenizer *tokenizer, const struct qvl_prompt_parts *parts,
                                 const struct qvl_prompt_media *media, size_t n_media,
                                 const struct qvl_prompt_settings *settings, struct qvl_prompt *out,
                                 struct qvl_error *err)
{
    struct qvl_prompt prompt = {0};
    struct builder b = {.tokenizer = tokenizer, .settings = settings, .media = media, .n_media = n_media,
                        .prompt = &prompt};
    enum qvl_status status = qvl_prompt_parts_to_text(parts, &prompt.text, err);
    for (size_t i = 0; i < parts->n && !status; i++)
        status = add_part(&b, parts, &parts->part[i], err);
    if (status || (status = encode_pending(&b, err)) ||
        (status = check_pads(&b, QVL_TOK_IMAGE_PAD, prompt.n_image_tok, err)) ||
        (status = check_pads(&b, QVL_TOK_VIDEO_PAD, prompt.n_video_tok, err)))
        goto fail;
    prompt.pos = calloc(prompt.ids.n + 1, sizeof *prompt.pos);
    if (!prompt.pos) {
        status = qvl_fail_memory(err, prompt.ids.n * sizeof *prompt.pos, "the prompt");
        goto fail;
    }
    qvl_rope_positions(prompt.span, prompt.n_span, prompt.pos, &prompt.next_pos);
    *out = prompt;
    prompt = (struct qvl_prompt){0};
fail:
    qvl_bytes_free(&b.pending);
    qvl_prompt_free(&prompt);
    return status;
}

enum qvl_status qvl_prompt_append(struct qvl_prompt *p, const uint32_t *ids, size_t n, struct qvl_error *err)
{
    size_t begin = p->ids.n;
    struct qvl_position *pos = realloc(p->pos, (begin + n + 1) * sizeof *pos);
    if (!pos)
        return qvl_fail_memory(err, (begin + n) * sizeof *pos, "the prompt");
    p->pos = pos;
    for (size_t i = 0; i < n; i++) {
        enum qvl_status status = qvl_ids_add(&p->ids, ids[i], 1, err);
        if (status)
            return status;
        p->pos[begin + i] = (struct qvl_position){p->next_pos, p->next_pos, p->next_pos};
        p->next_pos++;
    }
    return extend_text_span(p, begin, err);
}

void qvl_prompt_free(struct qvl_prompt *prompt)
{
    qvl_ids_free(&prompt->ids);
    free(prompt->pos);
    free(prompt->span);
    qvl_bytes_free(&prompt->text);
    *prompt = (struct qvl_prompt){0};
}
