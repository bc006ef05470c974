/* prompt.h: the one place where sight and text meet: a rendered conversation and the grids of its pictures
 * become token ids, the spans that features go to, and three-axis positions. */
#ifndef QVL_ENGINE_PROMPT_H
#define QVL_ENGINE_PROMPT_H

#include "model/rope.h"
#include "text/chat_template.h"

struct qvl_prompt {
    struct qvl_ids ids;       /* n tokens */
    struct qvl_position *pos; /* [ids.n] */
    struct qvl_span *span;    /* [n_span], without gaps from 0 to ids.n */
    size_t n_span, n_span_alloc;
    int32_t next_pos;         /* of the first generated token, on all axes */
    size_t n_image_tok;
    struct qvl_bytes text;    /* as the template writes it: one placeholder for each picture */
};

/* grid[i_media] is read for the pictures that `parts` shows; `merge` patches on a side make one token. */
enum qvl_status qvl_prompt_build(const struct qvl_tokenizer *tokenizer, const struct qvl_prompt_parts *parts,
                                 const struct qvl_grid *grid, size_t n_grid, uint32_t merge,
                                 struct qvl_prompt *out, struct qvl_error *err);
void qvl_prompt_free(struct qvl_prompt *prompt);

#endif
