/* Enters: rows (token, position, sequence, perhaps a visual feature). Leaves: keys and values in the caches, logits
 * of the rows that want them.
 *
 * The walk of a layer, for all rows of the step: RMSNorm → q, k, v in one go; keys normed, rotated and stored;
 * attention tile by tile (queries normed and rotated on the way in); output projection added to the residual
 * stream; RMSNorm → gate and up, joined as they leave the product; down, added. After the first n_tap layers the
 * visual rows get their deepstack features.
 *
 * The idea: a decode step is this same code with one row per sequence. Eight runs of the pool per layer; nothing is
 * allocated. Since no kernel's result depends on how many rows it is given, a row's bits are the same in a prompt
 * chunk of any size, alone, or beside other sequences.
 *
 * In the last layer every row's keys and values are stored, but only rows that want logits go on: `live` lists the
 * rows whose residual stream still matters, and h holds exactly those, without gaps.
 *
 * Source of truth: transformers' Qwen3VLTextModel (5.23). MODEL.md, "Decoder".
 *
 * Surprises: head_dim is not hidden / n_head. q_norm and k_norm act per head, before rotation. A feature row is
 * placed by the row's own index, so pictures and clips may mix. */
#include "model/decoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "model/attention.h"
#include "model/linear.h"
#include "model/mistake.h"

enum { ROWS_PER_JOB = 8 };

/* Live rows of one sequence whose queries meet in a tile. */
struct tile {
    size_t first, n; /* in live */
    uint32_t i_seq;
};

struct qvl_decoder {
    struct qvl_model *model;
    struct qvl_arena arena;
    size_t max_row;
    /* by row of the step */
    float *cos, *sin;        /* [max_row, head_dim / 2] */
    uint32_t *i_pos;         /* [max_row] place in its cache */
    uint32_t *n_key;         /* [max_row] i_pos + 1 */
    struct qvl_rows q, k, v; /* [max_row, n_head * head_dim], [.., n_kv_head * head_dim] f32 */
    /* by live row */
    uint32_t *live; /* [max_row] row of the step */
    size_t n_live;
    float *h;              /* [max_row, hidden] the residual stream */
    struct qvl_rows in;    /* [max_row, hidden] act */
    struct qvl_rows mixed; /* [max_row, n_head * head_dim] act */
    struct qvl_rows inner; /* [max_row, intermediate] act */
    struct tile *tile;     /* [max_row] */
    size_t n_tile;
    float *logits; /* [max_row, vocab]; pages are touched only as far as rows want logits */
};

/* What the jobs of a step see. */
struct step {
    struct qvl_decoder *d;
    const struct qvl_batch *batch;
    const struct qvl_decoder_layer *layer;
    size_t i_layer;
    const atomic_bool *stop;
};

static float norm_eps(const struct qvl_model *model)
{
    return QVL_MISTAKE(RMS_NORM_EPS) ? 1e-5f : model->config.text.rms_norm_eps;
}

static struct qvl_rows residual(const struct qvl_decoder *d)
{
    return (struct qvl_rows){
        .data = d->h, .stride_bytes = d->model->config.text.hidden * sizeof(float), .dtype = QVL_F32};
}

static void trace_rows(const struct step *step, const char *name, const float *data, size_t n_row, size_t n)
{
    const struct qvl_trace *trace = step->batch->trace;
    size_t dim[2] = {n_row, n};
    if (trace && trace->tensor && n_row > 0)
        trace->tensor(trace->user, name, QVL_TRACE_F32, data, dim, 2);
}

static bool is_traced(const struct step *step)
{
    return step->batch->trace && step->batch->trace->tensor;
}

/* ---- into the first layer ------------------------------------------------------------------------ */

static void embed_row(const struct qvl_model *m, const struct qvl_batch_row *row, float *h)
{
    size_t n = m->config.text.hidden, stride = n * qvl_dtype_bytes(m->embedding->dtype);
    const void *from = (const char *)m->embedding->data + row->id * stride;
    if (!row->features && m->embedding->dtype == QVL_A8)
        m->kernels->a8_to_f32(h, qvl_a8_row(m->embedding->data, row->id), n);
    else if (row->features)
        memcpy(h, row->features->row + row->i_feature * n, n * sizeof *h);
    else if (m->embedding->dtype == QVL_BF16)
        m->kernels->bf16_to_f32(h, from, n);
    else if (m->embedding->dtype == QVL_F16)
        m->kernels->f16_to_f32(h, from, n);
    else
        memcpy(h, from, n * sizeof *h);
}

static void embed_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct step *step = arg;
    struct qvl_decoder *d = step->d;
    const struct qvl_text_config *text = &d->model->config.text;
    size_t end = qvl_min_size((i_job + 1) * ROWS_PER_JOB, step->batch->n_row), n_pair = text->head_dim / 2;
    (void)i_thread;
    for (size_t i = i_job * ROWS_PER_JOB; i < end; i++) {
        const struct qvl_batch_row *row = &step->batch->row[i];
        embed_row(d->model, row, d->h + i * text->hidden);
        qvl_rope_text_angles(d->model, row->pos, d->cos + i * n_pair, d->sin + i * n_pair);
    }
}

/* ---- attention ----------------------------------------------------------------------------------- */

static size_t table_at(const struct step *step, uint32_t i_seq, size_t head)
{
    const struct qvl_kv *kv = step->batch->kv[i_seq];
    return (step->i_layer * step->d->model->config.text.n_kv_head + head) * kv->n_block_alloc;
}

static void store_keys_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct step *step = arg;
    struct qvl_decoder *d = step->d;
    const struct qvl_model *m = d->model;
    size_t end = qvl_min_size((i_job + 1) * ROWS_PER_JOB, step->batch->n_row), dim = m->config.text.head_dim;
    (void)i_thread;
    for (size_t i = i_job * ROWS_PER_JOB; i < end; i++) {
        uint32_t i_seq = step->batch->row[i].i_seq;
        const struct qvl_kv *kv = step->batch->kv[i_seq];
        const float *k = qvl_row_at(&d->k, i), *v = qvl_row_at(&d->v, i);
        for (size_t head = 0; head < m->config.text.n_kv_head; head++) {
            size_t at = table_at(step, i_seq, head) + d->i_pos[i] / QVL_KV_BLOCK;
            qvl_attention_store(m->kernels, m->kv, kv->k_table[at], kv->v_table[at], d->i_pos[i] % QVL_KV_BLOCK,
                                k + head * dim, v + head * dim, dim, &step->layer->k_norm, norm_eps(m),
                                d->cos + i * (dim / 2), d->sin + i * (dim / 2));
        }
    }
}

static void make_tiles(struct qvl_decoder *d, const struct qvl_batch *batch)
{
    const struct qvl_text_config *text = &d->model->config.text;
    size_t n_max = qvl_attention_tile_tokens(text->n_head / text->n_kv_head);
    d->n_tile = 0;
    for (size_t i = 0; i < d->n_live; i++) {
        uint32_t i_seq = batch->row[d->live[i]].i_seq;
        struct tile *last = d->n_tile ? &d->tile[d->n_tile - 1] : NULL;
        if (last && last->i_seq == i_seq && last->n < n_max)
            last->n++;
        else
            d->tile[d->n_tile++] = (struct tile){.first = i, .n = 1, .i_seq = i_seq};
    }
}

/* Heads outermost: the keys of a head stay in the cache from tile to tile. */
static void attention_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct step *step = arg;
    struct qvl_decoder *d = step->d;
    const struct qvl_model *m = d->model;
    const struct qvl_text_config *text = &m->config.text;
    const struct tile *rows = &d->tile[i_job % d->n_tile];
    const struct qvl_kv *kv = step->batch->kv[rows->i_seq];
    size_t kv_head = i_job / d->n_tile, n_group = text->n_head / text->n_kv_head;
    size_t column = kv_head * n_group * text->head_dim, at = table_at(step, rows->i_seq, kv_head);
    struct qvl_tile tile = {
        .n_tok = rows->n,
        .n_group = n_group,
        .q = (const float *)d->q.data + column,
        .q_stride = d->q.stride_bytes / sizeof(float),
        .cos = d->cos,
        .sin = d->sin,
        .n_key = d->n_key,
        .token = d->live + rows->first,
        .norm = &step->layer->q_norm,
        .eps = norm_eps(m),
        .k_block = (const void *const *)(kv->k_table + at),
        .v_block = (const void *const *)(kv->v_table + at),
        .dtype = m->kv,
        .head_dim = text->head_dim,
        .out = &d->mixed,
        .out_row = rows->first,
        .out_column = column,
    };
    qvl_attention_tile(m->kernels, &tile, qvl_model_scratch(m, i_thread));
}

/* Only the wanted rows stay live; their residual rows move together. */
static void keep_wanted(struct qvl_decoder *d, const struct qvl_batch *batch)
{
    size_t hidden = d->model->config.text.hidden, n = 0;
    for (size_t i = 0; i < d->n_live; i++) {
        if (!batch->row[d->live[i]].want_logits)
            continue;
        if (n != i)
            memcpy(d->h + n * hidden, d->h + i * hidden, hidden * sizeof *d->h);
        d->live[n++] = d->live[i];
    }
    d->n_live = n;
}

static bool attend(struct step *step)
{
    struct qvl_decoder *d = step->d;
    struct qvl_model *m = d->model;
    const struct qvl_decoder_layer *layer = step->layer;
    size_t n_row = step->batch->n_row;
    bool is_last = step->i_layer + 1 == m->config.text.n_layer;
    struct qvl_product qkv[] = {{.linear = &layer->q, .end = QVL_END_STORE, .out = d->q},
                                {.linear = &layer->k, .end = QVL_END_STORE, .out = d->k},
                                {.linear = &layer->v, .end = QVL_END_STORE, .out = d->v}};
    struct qvl_product o = {.linear = &layer->o, .end = QVL_END_ADD, .out = residual(d)};
    if (!qvl_norm_run(m, &layer->input_norm, norm_eps(m), d->h, n_row, 1, &d->in, step->stop) ||
        !qvl_linear_run(m, &d->in, n_row, qkv, 3, step->stop) ||
        !qvl_pool_run(m->pool, qvl_div_up(n_row, ROWS_PER_JOB), store_keys_job, step, step->stop))
        return false;
    if (is_last && !is_traced(step)) /* a trace shows the last layer whole */
        keep_wanted(d, step->batch);
    make_tiles(d, step->batch);
    return qvl_pool_run(m->pool, d->n_tile * m->config.text.n_kv_head, attention_job, step, step->stop) &&
           qvl_linear_run(m, &d->mixed, d->n_live, &o, 1, step->stop);
}

/* ---- the rest of a layer ------------------------------------------------------------------------- */

static bool run_mlp(struct step *step)
{
    struct qvl_decoder *d = step->d;
    struct qvl_model *m = d->model;
    const struct qvl_decoder_layer *layer = step->layer;
    struct qvl_product up = {.linear = &layer->gate, .up = &layer->up, .end = QVL_END_SILU_MUL, .out = d->inner};
    struct qvl_product down = {.linear = &layer->down, .end = QVL_END_ADD, .out = residual(d)};
    return qvl_norm_run(m, &layer->post_norm, norm_eps(m), d->h, d->n_live, 1, &d->in, step->stop) &&
           qvl_linear_run(m, &d->in, d->n_live, &up, 1, step->stop) &&
           qvl_linear_run(m, &d->inner, d->n_live, &down, 1, step->stop);
}

/* Level 1 + i_layer of the features of visual rows, where there is one. */
static void add_deepstack(const struct step *step)
{
    struct qvl_decoder *d = step->d;
    size_t hidden = d->model->config.text.hidden, level = 1 + step->i_layer;
    for (size_t i = 0; i < d->n_live && !QVL_MISTAKE(NO_DEEPSTACK); i++) {
        const struct qvl_batch_row *row = &step->batch->row[d->live[i]];
        if (row->features && level < row->features->n_level)
            d->model->kernels->add(d->h + i * hidden,
                                   row->features->row + (level * row->features->n + row->i_feature) * hidden,
                                   hidden);
    }
}

static bool run_layers(struct step *step)
{
    struct qvl_decoder *d = step->d;
    const struct qvl_text_config *text = &d->model->config.text;
    for (step->i_layer = 0; step->i_layer < text->n_layer; step->i_layer++) {
        step->layer = &d->model->layer[step->i_layer];
        if (!attend(step) || !run_mlp(step))
            return false;
        char name[64];
        snprintf(name, sizeof name, "decoder.layers.%zu", step->i_layer);
        trace_rows(step, name, d->h, d->n_live, text->hidden);
        add_deepstack(step);
    }
    keep_wanted(d, step->batch);
    return true;
}

/* ---- logits -------------------------------------------------------------------------------------- */

/* The best rows of a packed head are computed again with 8 bits: all whose score reaches the BEST_STRIPS-th largest
 * of the strips' best, which are at least that many, and rarely more than twice as many. A strip's best is one of
 * the scores, so which rows these are does not depend on threads or on the other rows of the step. */
enum { BEST_STRIPS = 256 };

static int compare_descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* A lower bound of the scores to compute again; -inf where all are. */
static float find_bound(const float *logits, size_t n, float *best)
{
    size_t n_strip = qvl_div_up(n, QVL_HEAD_STRIP);
    if (n_strip <= BEST_STRIPS)
        return -INFINITY;
    for (size_t i = 0; i < n_strip; i++) {
        const float *at = logits + i * QVL_HEAD_STRIP;
        float largest = at[0];
        for (size_t j = 1; j < qvl_min_size(n - i * QVL_HEAD_STRIP, QVL_HEAD_STRIP); j++)
            largest = at[j] > largest ? at[j] : largest;
        best[i] = largest;
    }
    qsort(best, n_strip, sizeof *best, compare_descending);
    return best[BEST_STRIPS - 1];
}

static void rescore_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct step *step = arg;
    struct qvl_decoder *d = step->d;
    const struct qvl_model *m = d->model;
    size_t n = m->config.text.vocab;
    float *logits = d->logits + i_job * n;
    float bound = step->batch->is_head_whole ? -INFINITY : find_bound(logits, n, qvl_model_scratch(m, i_thread));
    for (size_t i = 0; i < n; i++)
        if (!(logits[i] < bound)) /* a NaN stays one */
            logits[i] = m->kernels->dot_a8_a8(qvl_a8_row(m->head_rows, i), qvl_row_at(&d->in, i_job), m->head.n_in);
}

static bool run_head(struct step *step)
{
    struct qvl_decoder *d = step->d;
    struct qvl_model *m = d->model;
    const struct qvl_text_config *text = &m->config.text;
    struct qvl_rows out = {.data = d->logits, .stride_bytes = text->vocab * sizeof(float), .dtype = QVL_F32};
    struct qvl_product head = {.linear = &m->head, .end = QVL_END_STORE, .out = out};
    if (!qvl_norm_run(m, &m->norm, norm_eps(m), d->h, d->n_live, 1, &d->in, step->stop))
        return false;
    for (size_t i = 0; i < d->n_live && is_traced(step); i++) {
        float *row = qvl_model_scratch(m, 0);
        m->kernels->rms_norm(row, d->h + i * text->hidden, m->norm.w, text->hidden, norm_eps(m));
        trace_rows(step, "decoder.norm", row, 1, text->hidden);
    }
    if (!qvl_linear_run(m, &d->in, d->n_live, &head, 1, step->stop) ||
        (m->head_rows && !qvl_pool_run(m->pool, d->n_live, rescore_job, step, step->stop)))
        return false;
    trace_rows(step, "logits", d->logits, d->n_live, text->vocab);
    return true;
}

/* ---- step ---------------------------------------------------------------------------------------- */

/* Where each row goes in its cache; rows of a sequence follow each other. */
static enum qvl_status place_rows(struct qvl_decoder *d, const struct qvl_batch *batch, struct qvl_error *err)
{
    const struct qvl_text_config *text = &d->model->config.text;
    size_t pos = 0;
    if (batch->n_row < 1 || batch->n_row > d->max_row)
        return qvl_fail(err, QVL_ERR_INTERNAL, "a step of %zu rows; the decoder was opened for 1 to %zu",
                        batch->n_row, d->max_row);
    for (size_t i = 0; i < batch->n_row; i++) {
        const struct qvl_batch_row *row = &batch->row[i];
        if (row->i_seq >= batch->n_seq || (!row->features && row->id >= text->vocab) ||
            (row->features && row->i_feature >= row->features->n))
            return qvl_fail(err, QVL_ERR_INTERNAL, "row %zu of a step: sequence %u of %zu, token %u of %u", i,
                            row->i_seq, batch->n_seq, row->id, text->vocab);
        const struct qvl_kv *kv = batch->kv[row->i_seq];
        pos = i > 0 && batch->row[i - 1].i_seq == row->i_seq ? pos + 1 : kv->n_pos;
        if (pos / QVL_KV_BLOCK >= kv->n_block)
            return qvl_fail(err, QVL_ERR_INTERNAL, "row %zu of a step has no room at position %zu of its cache", i,
                            pos);
        d->i_pos[i] = (uint32_t)pos;
        d->n_key[i] = (uint32_t)pos + 1;
        d->live[i] = (uint32_t)i;
    }
    d->n_live = batch->n_row;
    return QVL_OK;
}

enum qvl_status qvl_decoder_step(struct qvl_decoder *d, const struct qvl_batch *batch, const atomic_bool *stop,
                                 float **out_logits, struct qvl_error *err)
{
    struct step step = {.d = d, .batch = batch, .stop = stop};
    enum qvl_status status = place_rows(d, batch, err);
    if (status)
        return status;
    bool is_whole = qvl_pool_run(d->model->pool, qvl_div_up(batch->n_row, ROWS_PER_JOB), embed_job, &step, stop);
    if (is_whole)
        trace_rows(&step, "decoder.embed", d->h, batch->n_row, d->model->config.text.hidden);
    if (!is_whole || !run_layers(&step) || !run_head(&step))
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled in the decoder");
    for (size_t i = 0; i < batch->n_row; i++)
        batch->kv[batch->row[i].i_seq]->n_pos = d->n_key[i];
    *out_logits = d->logits;
    return QVL_OK;
}

/* ---- open ---------------------------------------------------------------------------------------- */

static enum qvl_status alloc_rows(struct qvl_decoder *d, struct qvl_error *err)
{
    const struct qvl_text_config *text = &d->model->config.text;
    size_t n = d->max_row, n_q = (size_t)text->n_head * text->head_dim;
    size_t n_kv = (size_t)text->n_kv_head * text->head_dim;
    enum qvl_dtype act = d->model->text_act;
    const char *what = "a decoder step";
    enum qvl_status status;
    if ((status = qvl_rows_alloc(&d->arena, n, n_q, QVL_F32, what, &d->q, err)) ||
        (status = qvl_rows_alloc(&d->arena, n, n_kv, QVL_F32, what, &d->k, err)) ||
        (status = qvl_rows_alloc(&d->arena, n, n_kv, QVL_F32, what, &d->v, err)) ||
        (status = qvl_rows_alloc(&d->arena, n, text->hidden, act, what, &d->in, err)) ||
        (status = qvl_rows_alloc(&d->arena, n, n_q, act, what, &d->mixed, err)))
        return status;
    return qvl_rows_alloc(&d->arena, n, text->intermediate, act, what, &d->inner, err);
}

enum qvl_status qvl_decoder_open(struct qvl_model *model, size_t max_row, struct qvl_decoder **out,
                                 struct qvl_error *err)
{
    const struct qvl_text_config *text = &model->config.text;
    const char *what = "a decoder step";
    struct qvl_arena arena = {0};
    struct qvl_decoder *d = qvl_arena_alloc(&arena, 1, sizeof *d, what, err);
    if (!d)
        return QVL_ERR_MEMORY;
    *d = (struct qvl_decoder){.model = model, .arena = arena, .max_row = max_row};
    size_t n_pair = text->head_dim / 2;
    d->cos = qvl_arena_alloc(&d->arena, max_row, n_pair * sizeof *d->cos, what, err);
    d->sin = qvl_arena_alloc(&d->arena, max_row, n_pair * sizeof *d->sin, what, err);
    d->i_pos = qvl_arena_alloc(&d->arena, max_row, sizeof *d->i_pos, what, err);
    d->n_key = qvl_arena_alloc(&d->arena, max_row, sizeof *d->n_key, what, err);
    d->live = qvl_arena_alloc(&d->arena, max_row, sizeof *d->live, what, err);
    d->tile = qvl_arena_alloc(&d->arena, max_row, sizeof *d->tile, what, err);
    d->h = qvl_arena_alloc(&d->arena, max_row, text->hidden * sizeof *d->h, what, err);
    d->logits = qvl_arena_alloc(&d->arena, max_row, text->vocab * sizeof *d->logits, what, err);
    if (!d->cos || !d->sin || !d->i_pos || !d->n_key || !d->live || !d->tile || !d->h || !d->logits ||
        alloc_rows(d, err)) {
        qvl_decoder_close(d);
        return QVL_ERR_MEMORY;
    }
    *out = d;
    return QVL_OK;
}

void qvl_decoder_close(struct qvl_decoder *d)
{
    if (!d)
        return;
    struct qvl_arena arena = d->arena; /* which holds *d itself */
    qvl_arena_free(&arena);
}
