/* Text between two control tokens or pictures is joined and encoded together, because the splitter looks
 * across the seams of the template (MODEL.md, "Prompt"); added tokens are never recognised in it. A clip will
 * add its time stamps to that same text before it is cut. */
#include "engine/prompt.h"

#include <stdlib.h>

#include "base/checked.h"

struct builder {
    const struct qvl_tokenizer *tokenizer;
    struct qvl_prompt *prompt;
    struct qvl_bytes pending; /* text not encoded yet */
};

static enum qvl_status add_span(struct qvl_prompt *p, const struct qvl_span *span, struct qvl_error *err)
{
    if (p->n_span == p->n_span_alloc) {
        size_t n_alloc = 2 * p->n_span_alloc + 16;
        struct qvl_span *grown = realloc(p->span, n_alloc * sizeof *grown);
        if (!grown)
            return qvl_fail_memory(err, n_alloc * sizeof *grown, "the prompt");
        p->span = grown;
        p->n_span_alloc = n_alloc;
    }
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

static enum qvl_status add_image(struct builder *b, size_t i_media, struct qvl_grid grid, uint32_t merge,
                                 struct qvl_error *err)
{
    struct qvl_prompt *p = b->prompt;
    struct qvl_span span = {.begin = p->ids.n, .is_visual = true, .rows = grid.h / merge,
                            .columns = grid.w / merge, .i_media = (uint32_t)i_media};
    if (grid.t != 1 || !qvl_mul_size(span.rows, span.columns, &span.n_tok) || span.n_tok == 0)
        return qvl_fail(err, QVL_ERR_INTERNAL, "picture %zu has a grid of %u x %u x %u patches", i_media + 1,
                        grid.t, grid.h, grid.w);
    uint32_t pad = qvl_tokenizer_added(b->tokenizer, QVL_TOK_IMAGE_PAD);
    enum qvl_status status = qvl_ids_add(&p->ids, pad, span.n_tok, err);
    if (status)
        return status;
    p->n_image_tok += span.n_tok;
    return add_span(p, &span, err);
}

static enum qvl_status add_part(struct builder *b, const struct qvl_prompt_parts *parts,
                                const struct qvl_prompt_part *part, const struct qvl_grid *grid, size_t n_grid,
                                uint32_t merge, struct qvl_error *err)
{
    if (part->kind == QVL_PROMPT_TEXT)
        return qvl_bytes_add(&b->pending, parts->text.data + part->text_begin, part->text_n, err);
    enum qvl_status status = encode_pending(b, err);
    if (status)
        return status;
    if (part->kind == QVL_PROMPT_TOKEN)
        return add_token(b, part->token, err);
    if (part->kind != QVL_PROMPT_IMAGE || part->i_media >= n_grid)
        return qvl_fail(err, QVL_ERR_INTERNAL, "the prompt shows media %zu of %zu as part kind %d",
                        part->i_media + 1, n_grid, (int)part->kind);
    return add_image(b, part->i_media, grid[part->i_media], merge, err);
}

/* Pads may come from pictures only: as many in the ids as the grids ask for. */
static enum qvl_status check_pads(const struct builder *b, struct qvl_error *err)
{
    const struct qvl_ids *ids = &b->prompt->ids;
    uint32_t image_pad = qvl_tokenizer_added(b->tokenizer, QVL_TOK_IMAGE_PAD);
    uint32_t video_pad = qvl_tokenizer_added(b->tokenizer, QVL_TOK_VIDEO_PAD);
    size_t n_pad = 0;
    for (size_t i = 0; i < ids->n; i++)
        n_pad += ids->id[i] == image_pad || ids->id[i] == video_pad;
    if (n_pad == b->prompt->n_image_tok)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_INTERNAL, "the prompt has %zu picture tokens where the grids ask for %zu", n_pad,
                    b->prompt->n_image_tok);
}

enum qvl_status qvl_prompt_build(const struct qvl_tokenizer *tokenizer, const struct qvl_prompt_parts *parts,
                                 const struct qvl_grid *grid, size_t n_grid, uint32_t merge,
                                 struct qvl_prompt *out, struct qvl_error *err)
{
    struct qvl_prompt prompt = {0};
    struct builder b = {.tokenizer = tokenizer, .prompt = &prompt};
    enum qvl_status status = qvl_prompt_parts_to_text(parts, &prompt.text, err);
    for (size_t i = 0; i < parts->n && !status; i++)
        status = add_part(&b, parts, &parts->part[i], grid, n_grid, merge, err);
    if (status || (status = encode_pending(&b, err)) || (status = check_pads(&b, err)))
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

void qvl_prompt_free(struct qvl_prompt *prompt)
{
    qvl_ids_free(&prompt->ids);
    free(prompt->pos);
    free(prompt->span);
    qvl_bytes_free(&prompt->text);
    *prompt = (struct qvl_prompt){0};
}
