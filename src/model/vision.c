/* Enters: patches [n, patch_len] f32 in merge order, with their grids. Leaves: features [1 + n_tap, n / merge^2,
 * out_hidden] f32.
 *
 * The walk: patch embedding, plus the position table resampled to the grid; blocks (attention inside a segment,
 * then the MLP); after some blocks a tap, at the end the merger, each turning merge^2 neighbouring patches into one
 * row.
 *
 * The idea: work goes in parts of CHUNK rows, so that between two parts only the residual stream x and one block's
 * keys and values exist, whatever the size of the picture (8,160 patches of the 2B in bf16: 33 + 33 MB). A block
 * runs over all chunks twice: first KEYS (norm, keys and values, rotated, into their blocks), then MIX (norm,
 * queries, attention, projection, MLP), which changes only its own rows of x. The norm computed twice is
 * far cheaper than keeping its result. Parts are also what a cancel waits for, and what lets a server put other
 * work in between.
 *
 * Source of truth: transformers' Qwen3VLVisionModel (5.23) and vision_utils.py. MODEL.md, "Vision tower".
 *
 * Surprises: GELU is the tanh form in blocks, the exact one in mergers. Taps are normed over the merged row, the
 * last merger over each patch. The position table is resampled with corners aligned. Each temporal patch of a clip
 * is a segment of its own. */
#include "model/vision.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "model/attention.h"
#include "model/linear.h"
#include "model/mistake.h"

enum {
    CHUNK = 576,      /* patches of a part of a block; visual tokens of a part of a merger */
    ROWS_PER_JOB = 8, /* of the cheap row-wise jobs */
};

#define ROPE_THETA 10000.0 /* of the tower; not in published configs */

struct segment {
    size_t first, n; /* patches */
    uint32_t rows, columns;
    size_t first_key, n_key; /* patches that its own attend to: first and n */
    size_t first_block;      /* of keys and values */
};

enum stage { EMBED, KEYS, MIX, TAP, MERGE, STAGE_END };

struct tile {
    size_t first, n; /* patches */
};

struct qvl_vision {
    struct qvl_model *model;
    const float *patch_row;
    const struct qvl_trace *trace; /* or NULL */
    struct qvl_arena arena;
    struct segment *segment;
    size_t n_segment, n_patch, n_tok;
    /* where the work is */
    enum stage stage;
    size_t i_block, i_part;
    uint32_t n_done, n_total;
    float *inv_freq; /* [head_dim / 4] for rows and again for columns */
    /* by patch */
    float *x;            /* [n_patch, hidden] the residual stream */
    float *cos, *sin;    /* [n_patch, head_dim / 2] */
    uint32_t *i_segment; /* [n_patch] */
    uint32_t *n_key;     /* [n_patch] */
    /* one block's keys and values */
    size_t n_kv_block;         /* of one head */
    void **k_block, **v_block; /* [n_head, n_kv_block] */
    /* one part's; rows of in and inner are used narrower where the product is */
    struct qvl_rows in;    /* [CHUNK, widest input] act */
    struct qvl_rows inner; /* [CHUNK, widest MLP] act */
    struct qvl_rows
        mixed; /* [CHUNK, hidden] attention's output: act, or f32 where a head is no whole groups of QVL_A8 */
    struct qvl_rows wide; /* [CHUNK, 2 * hidden] f32: keys and values, or queries */
    struct tile *tile;    /* [CHUNK] */
    size_t n_tile;
    struct qvl_features features;
};

static float norm_eps(void)
{
    return QVL_MISTAKE(LAYER_NORM_EPS) ? 1e-5f : 1e-6f; /* every LayerNorm of the tower; not in the config */
}

static size_t merge_area(const struct qvl_vision *v)
{
    return (size_t)v->model->config.vision.merge * v->model->config.vision.merge;
}

static void trace_rows(const struct qvl_vision *v, const char *name, const float *data, size_t n_row, size_t n)
{
    size_t dim[2] = {n_row, n};
    if (v->trace && v->trace->tensor)
        v->trace->tensor(v->trace->user, name, QVL_TRACE_F32, data, dim, 2);
}

/* Rows row0.. of a weight matrix, as a product of their own. */
static struct qvl_linear slice(const struct qvl_linear *linear, size_t row0, size_t n_row)
{
    struct qvl_linear part = *linear;
    part.first_row += (uint32_t)row0;
    part.n_out = (uint32_t)n_row;
    part.bias = linear->bias ? linear->bias + row0 : NULL;
    return part;
}

/* Rows of x from patch `first` on, as a place for a product's output. */
static struct qvl_rows rows_of_x(const struct qvl_vision *v, size_t first)
{
    size_t hidden = v->model->config.vision.hidden;
    return (struct qvl_rows){
        .data = v->x + first * hidden, .stride_bytes = hidden * sizeof(float), .dtype = QVL_F32};
}

/* ---- patch embedding and positions --------------------------------------------------------------- */

/* Row and column of the i-th patch of a segment. */
static void place_in_grid(const struct segment *segment, uint32_t merge, size_t i, uint32_t *row, uint32_t *column)
{
    size_t block = i / (merge * merge), in_block = i % (merge * merge), blocks_w = segment->columns / merge;
    *row = (uint32_t)(block / blocks_w * merge + in_block / merge);
    *column = (uint32_t)(block % blocks_w * merge + in_block % merge);
}

/* The two table rows between which grid line i of n falls, and the weight of the second. */
static float place_in_table(uint32_t i, uint32_t n, uint32_t side, uint32_t *low, uint32_t *high)
{
    float at = n > 1 ? (float)i * (float)(side - 1) / (float)(n - 1) : 0.0f;
    if (QVL_MISTAKE(POSITION_NOT_ALIGNED))
        at = fmaxf(((float)i + 0.5f) * (float)side / (float)n - 0.5f, 0.0f);
    *low = (uint32_t)at;
    *high = *low + 1 < side ? *low + 1 : side - 1;
    return at - (float)*low;
}

static void add_table_row(const struct qvl_model *model, float *x, uint32_t i_row, float weight, float *scratch)
{
    const struct qvl_kernels *k = model->kernels;
    size_t n = model->config.vision.hidden;
    const char *row = (const char *)model->position->data + i_row * n * qvl_dtype_bytes(model->position->dtype);
    const void *from = row;
    if (model->position->dtype == QVL_BF16)
        k->bf16_to_f32(scratch, from, n);
    else if (model->position->dtype == QVL_F16)
        k->f16_to_f32(scratch, from, n);
    else
        memcpy(scratch, from, n * sizeof *scratch);
    k->add_scaled(x, scratch, weight, n);
}

struct part {
    struct qvl_vision *v;
    size_t first, n; /* patches */
};

static void enter_patches_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct part *part = arg;
    struct qvl_vision *v = part->v;
    size_t len = v->model->patch_embed.n_in, end = qvl_min_size((i_job + 1) * ROWS_PER_JOB, part->n);
    (void)i_thread;
    for (size_t i = i_job * ROWS_PER_JOB; i < end; i++)
        qvl_row_enter(v->model->kernels, &v->in, i, 0, v->patch_row + (part->first + i) * len, len);
}

/* Adds the resampled position table to x and makes the rotary tables. */
static void place_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct part *part = arg;
    struct qvl_vision *v = part->v;
    const struct qvl_vision_config *vision = &v->model->config.vision;
    float *table_row = qvl_model_scratch(v->model, i_thread);
    size_t end = qvl_min_size((i_job + 1) * ROWS_PER_JOB, part->n), n_pair = vision->head_dim / 2;
    float *sum = table_row + vision->hidden;
    for (size_t i = i_job * ROWS_PER_JOB; i < end; i++) {
        size_t patch = part->first + i, hidden = vision->hidden;
        const struct segment *segment = &v->segment[v->i_segment[patch]];
        uint32_t row, column, r[2], c[2], side = vision->position_side;
        size_t i_grid = patch - segment->first;
        place_in_grid(segment, vision->merge, i_grid, &row, &column);
        float dy = place_in_table(row, segment->rows, side, &r[0], &r[1]);
        float dx = place_in_table(column, segment->columns, side, &c[0], &c[1]);
        memset(sum, 0, hidden * sizeof *sum);
        for (int k = 0; k < 4; k++) {
            float weight = (k / 2 ? dy : 1.0f - dy) * (k % 2 ? dx : 1.0f - dx);
            add_table_row(v->model, sum, r[k / 2] * side + c[k % 2], weight, table_row);
        }
        v->model->kernels->add(v->x + patch * hidden, sum, hidden);

        if (QVL_MISTAKE(VISION_ROPE_RASTER_ORDER)) {
            row = (uint32_t)(i_grid / segment->columns);
            column = (uint32_t)(i_grid % segment->columns);
        }
        for (size_t j = 0; j < n_pair; j++) {
            float angle = (float)(j < n_pair / 2 ? row : column) * v->inv_freq[j % (n_pair / 2)];
            v->cos[patch * n_pair + j] = cosf(angle);
            v->sin[patch * n_pair + j] = sinf(angle);
        }
    }
}

static bool embed_part(struct qvl_vision *v, size_t first, size_t n, const atomic_bool *stop)
{
    struct qvl_model *m = v->model;
    struct part part = {v, first, n};
    struct qvl_linear embed = m->patch_embed;
    if (QVL_MISTAKE(NO_PATCH_BIAS))
        embed.bias = NULL;
    struct qvl_product product = {.linear = &embed, .end = QVL_END_STORE, .out = rows_of_x(v, first)};
    if (!qvl_pool_run(m->pool, qvl_div_up(n, ROWS_PER_JOB), enter_patches_job, &part, stop) ||
        !qvl_linear_run(m, &v->in, n, &product, 1, stop))
        return false;
    trace_rows(v, "vision.patch_embed", product.out.data, n, embed.n_out);
    if (!qvl_pool_run(m->pool, qvl_div_up(n, ROWS_PER_JOB), place_job, &part, stop))
        return false;
    trace_rows(v, "vision.pos_embed", product.out.data, n, embed.n_out);
    return true;
}

/* ---- a block ------------------------------------------------------------------------------------- */

static void store_keys_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct part *part = arg;
    struct qvl_vision *v = part->v;
    const struct qvl_vision_config *vision = &v->model->config.vision;
    size_t end = qvl_min_size((i_job + 1) * ROWS_PER_JOB, part->n), d = vision->head_dim, hidden = vision->hidden;
    (void)i_thread;
    for (size_t i = i_job * ROWS_PER_JOB; i < end; i++) {
        size_t patch = part->first + i;
        const struct segment *segment = &v->segment[v->i_segment[patch]];
        size_t i_key = patch - segment->first_key;
        size_t i_block = segment->first_block + i_key / QVL_KV_BLOCK;
        const float *k = qvl_row_at(&v->wide, i);
        for (size_t head = 0; head < vision->n_head; head++)
            qvl_attention_store(v->model->kernels, v->model->vision_kv, v->k_block[head * v->n_kv_block + i_block],
                                v->v_block[head * v->n_kv_block + i_block], i_key % QVL_KV_BLOCK, k + head * d,
                                k + hidden + head * d, d, NULL, 0, v->cos + patch * (d / 2),
                                v->sin + patch * (d / 2));
    }
}

static bool keys_part(struct qvl_vision *v, size_t first, size_t n, const atomic_bool *stop)
{
    struct qvl_model *m = v->model;
    const struct qvl_vision_block *block = &m->block[v->i_block];
    size_t hidden = m->config.vision.hidden;
    struct part part = {v, first, n};
    struct qvl_linear kv = slice(&block->qkv, hidden, 2 * hidden);
    struct qvl_product product = {.linear = &kv, .end = QVL_END_STORE, .out = v->wide};
    return qvl_norm_run(m, &block->norm1, norm_eps(), v->x + first * hidden, n, 1, &v->in, stop) &&
           qvl_linear_run(m, &v->in, n, &product, 1, stop) &&
           qvl_pool_run(m->pool, qvl_div_up(n, ROWS_PER_JOB), store_keys_job, &part, stop);
}

/* Tiles of the part's patches, none across two segments. */
static void make_tiles(struct qvl_vision *v, size_t first, size_t n)
{
    size_t n_max = qvl_attention_tile_tokens(1);
    v->n_tile = 0;
    for (size_t at = first; at < first + n;) {
        const struct segment *segment = &v->segment[v->i_segment[at]];
        size_t end = qvl_min_size(first + n, segment->first + segment->n);
        struct tile *tile = &v->tile[v->n_tile++];
        *tile = (struct tile){.first = at, .n = qvl_min_size(n_max, end - at)};
        at += tile->n;
    }
}

/* Heads outermost: the keys of a head stay in the cache from tile to tile. */
static void attention_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct part *part = arg;
    struct qvl_vision *v = part->v;
    const struct qvl_vision_config *vision = &v->model->config.vision;
    const struct tile *patches = &v->tile[i_job % v->n_tile];
    size_t head = i_job / v->n_tile, d = vision->head_dim, in_part = patches->first - part->first;
    size_t block = head * v->n_kv_block + v->segment[v->i_segment[patches->first]].first_block;
    size_t q_stride = v->wide.stride_bytes / sizeof(float);
    struct qvl_tile tile = {
        .n_tok = patches->n,
        .n_group = 1,
        .q = (const float *)v->wide.data + head * d,
        .q_stride = q_stride,
        .first = in_part,
        .cos = v->cos + part->first * (d / 2),
        .sin = v->sin + part->first * (d / 2),
        .n_key = v->n_key + part->first,
        .k_block = (const void *const *)(v->k_block + block),
        .v_block = (const void *const *)(v->v_block + block),
        .dtype = v->model->vision_kv,
        .head_dim = d,
        .out = &v->mixed,
        .out_row = in_part,
        .out_column = head * d,
    };
    qvl_attention_tile(v->model->kernels, &tile, qvl_model_scratch(v->model, i_thread));
}

static void enter_mixed_job(void *arg, size_t i_job, size_t i_thread)
{
    const struct part *part = arg;
    struct qvl_vision *v = part->v;
    size_t end = qvl_min_size((i_job + 1) * ROWS_PER_JOB, part->n);
    (void)i_thread;
    for (size_t i = i_job * ROWS_PER_JOB; i < end; i++)
        qvl_row_enter(v->model->kernels, &v->in, i, 0, qvl_row_at(&v->mixed, i), v->model->config.vision.hidden);
}

/* Attention, and its output as the next product's input: *out. */
static bool attend_part(struct part *part, const struct qvl_rows **out, const atomic_bool *stop)
{
    struct qvl_vision *v = part->v;
    struct qvl_model *m = v->model;
    *out = v->mixed.dtype == m->vision_act ? &v->mixed : &v->in;
    return qvl_pool_run(m->pool, v->n_tile * m->config.vision.n_head, attention_job, part, stop) &&
           (*out == &v->mixed ||
            qvl_pool_run(m->pool, qvl_div_up(part->n, ROWS_PER_JOB), enter_mixed_job, part, stop));
}

static bool mix_part(struct qvl_vision *v, size_t first, size_t n, const atomic_bool *stop)
{
    struct qvl_model *m = v->model;
    const struct qvl_vision_block *block = &m->block[v->i_block];
    size_t hidden = m->config.vision.hidden;
    struct part part = {v, first, n};
    struct qvl_rows x = rows_of_x(v, first);
    struct qvl_linear q = slice(&block->qkv, 0, hidden);
    enum qvl_end gelu = QVL_MISTAKE(ERF_GELU_IN_BLOCK) ? QVL_END_GELU_ERF : QVL_END_GELU_TANH;
    struct qvl_product queries = {.linear = &q, .end = QVL_END_STORE, .out = v->wide};
    struct qvl_product project = {.linear = &block->proj, .end = QVL_END_ADD, .out = x};
    struct qvl_product up = {.linear = &block->fc1, .end = gelu, .out = v->inner};
    struct qvl_product down = {.linear = &block->fc2, .end = QVL_END_ADD, .out = x};
    const struct qvl_rows *mixed = NULL;
    make_tiles(v, first, n);
    if (!qvl_norm_run(m, &block->norm1, norm_eps(), x.data, n, 1, &v->in, stop) ||
        !qvl_linear_run(m, &v->in, n, &queries, 1, stop) || !attend_part(&part, &mixed, stop) ||
        !qvl_linear_run(m, mixed, n, &project, 1, stop) ||
        !qvl_norm_run(m, &block->norm2, norm_eps(), x.data, n, 1, &v->in, stop) ||
        !qvl_linear_run(m, &v->in, n, &up, 1, stop) || !qvl_linear_run(m, &v->inner, n, &down, 1, stop))
        return false;
    char name[64];
    snprintf(name, sizeof name, "vision.blocks.%zu", v->i_block);
    trace_rows(v, name, x.data, n, hidden);
    return true;
}

/* ---- mergers ------------------------------------------------------------------------------------- */

/* Visual tokens first..first + n of one level of the features. */
static bool merge_part(struct qvl_vision *v, const struct qvl_merger *merger, size_t level, size_t first, size_t n,
                       const atomic_bool *stop)
{
    struct qvl_model *m = v->model;
    size_t area = merge_area(v), n_out = merger->fc2.n_out;
    size_t n_merge = merger->is_norm_after_merge ? 1 : area;
    const float *x = v->x + first * area * m->config.vision.hidden;
    enum qvl_end gelu = QVL_MISTAKE(TANH_GELU_IN_MERGER) ? QVL_END_GELU_TANH : QVL_END_GELU_ERF;
    float *row = v->features.row + (level * v->n_tok + first) * n_out;
    struct qvl_rows out = {.data = row, .stride_bytes = n_out * sizeof(float), .dtype = QVL_F32};
    struct qvl_product up = {.linear = &merger->fc1, .end = gelu, .out = v->inner};
    struct qvl_product down = {.linear = &merger->fc2, .end = QVL_END_STORE, .out = out};
    if (!qvl_norm_run(m, &merger->norm, norm_eps(), x, n * n_merge, n_merge, &v->in, stop) ||
        !qvl_linear_run(m, &v->in, n, &up, 1, stop) || !qvl_linear_run(m, &v->inner, n, &down, 1, stop))
        return false;
    char name[64] = "vision.merger";
    if (level > 0)
        snprintf(name, sizeof name, "vision.deepstack.%zu", level - 1);
    trace_rows(v, name, row, n, n_out);
    return true;
}

/* Which tap follows the present block; n_tap where none does. */
static size_t tap_here(const struct qvl_vision *v)
{
    const struct qvl_vision_config *vision = &v->model->config.vision;
    size_t block = v->i_block + (QVL_MISTAKE(TAPS_ONE_EARLY) ? 1 : 0), i = 0;
    while (i < vision->n_tap && vision->tap_layer[i] != block)
        i++;
    return i;
}

/* ---- step ---------------------------------------------------------------------------------------- */

static size_t n_part(const struct qvl_vision *v)
{
    size_t n_row = v->stage == TAP || v->stage == MERGE ? v->n_tok : v->n_patch;
    return qvl_div_up(n_row, CHUNK);
}

static void advance(struct qvl_vision *v)
{
    const struct qvl_vision_config *vision = &v->model->config.vision;
    v->n_done++;
    if (++v->i_part < n_part(v))
        return;
    v->i_part = 0;
    if (v->stage == MERGE) {
        v->stage = STAGE_END;
    } else if (v->stage == EMBED || v->stage == KEYS) {
        v->stage++;
    } else if (v->stage == MIX && tap_here(v) < vision->n_tap) {
        v->stage = TAP;
    } else {
        v->i_block++;
        v->stage = v->i_block < vision->n_layer ? KEYS : MERGE;
    }
}

enum qvl_status qvl_vision_step(struct qvl_vision *v, const atomic_bool *stop, uint32_t *done, uint32_t *total,
                                struct qvl_error *err)
{
    bool is_merge = v->stage == TAP || v->stage == MERGE, is_whole = true;
    size_t first = v->i_part * CHUNK, n = qvl_min_size(CHUNK, (is_merge ? v->n_tok : v->n_patch) - first);
    size_t i_tap = tap_here(v);
    switch (v->stage) {
    case EMBED: is_whole = embed_part(v, first, n, stop); break;
    case KEYS: is_whole = keys_part(v, first, n, stop); break;
    case MIX: is_whole = mix_part(v, first, n, stop); break;
    case TAP: is_whole = merge_part(v, &v->model->tap[i_tap], 1 + i_tap, first, n, stop); break;
    case MERGE: is_whole = merge_part(v, &v->model->merger, 0, first, n, stop); break;
    case STAGE_END: return qvl_fail(err, QVL_ERR_INTERNAL, "the vision tower has no step left");
    }
    if (!is_whole)
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled in the vision tower");
    advance(v);
    *done = v->n_done;
    *total = v->n_total;
    return QVL_OK;
}

/* ---- open ---------------------------------------------------------------------------------------- */

static enum qvl_status count_segments(struct qvl_vision *v, const struct qvl_grid *grid, size_t n_grid,
                                      struct qvl_error *err)
{
    uint32_t merge = v->model->config.vision.merge;
    for (size_t i = 0; i < n_grid; i++) {
        struct qvl_grid g = grid[i];
        size_t n = 0;
        if (g.t < 1 || g.h < merge || g.w < merge || g.h % merge || g.w % merge ||
            !qvl_mul_size(g.t, (size_t)g.h * g.w, &n) || !qvl_add_size(v->n_patch, n, &n) || n > UINT32_MAX)
            return qvl_fail(err, QVL_ERR_INTERNAL, "a grid of %u x %u x %u patches cannot be encoded", g.t, g.h,
                            g.w);
        v->n_patch = n;
        v->n_segment += g.t;
    }
    if (v->n_patch == 0)
        return qvl_fail(err, QVL_ERR_INTERNAL, "no patches to encode");
    return QVL_OK;
}

static void make_segments(struct qvl_vision *v, const struct qvl_grid *grid, size_t n_grid)
{
    size_t first = 0, i_segment = 0;
    for (size_t i = 0; i < n_grid; i++)
        for (uint32_t t = 0; t < grid[i].t; t++) {
            size_t n = (size_t)grid[i].h * grid[i].w;
            v->segment[i_segment++] = (struct segment){.first = first,
                                                       .n = n,
                                                       .rows = grid[i].h,
                                                       .columns = grid[i].w,
                                                       .first_key = first,
                                                       .n_key = n,
                                                       .first_block = v->n_kv_block};
            first += n;
            v->n_kv_block += qvl_div_up(n, QVL_KV_BLOCK);
        }
}

/* The mistakes: every patch attends to those of its whole clip, or of all pictures. */
static void attend_across_segments(struct qvl_vision *v, const struct qvl_grid *grid)
{
    v->n_kv_block = 0;
    for (size_t i = 0; i < v->n_segment;) {
        size_t n = QVL_MISTAKE(ATTENTION_ACROSS_FRAMES) ? grid++->t : v->n_segment, n_key = 0;
        for (size_t k = i; k < i + n; k++)
            n_key += v->segment[k].n;
        for (size_t k = i, first = v->segment[i].first; k < i + n; k++) {
            v->segment[k].first_key = first;
            v->segment[k].n_key = n_key;
            v->segment[k].first_block = v->n_kv_block;
        }
        v->n_kv_block += qvl_div_up(n_key, QVL_KV_BLOCK);
        i += n;
    }
}

static enum qvl_status alloc_keys(struct qvl_vision *v, struct qvl_error *err)
{
    const struct qvl_vision_config *vision = &v->model->config.vision;
    size_t k_bytes = qvl_k_block_bytes(vision->head_dim, v->model->vision_kv);
    size_t bytes = k_bytes + qvl_v_block_bytes(vision->head_dim, v->model->vision_kv);
    size_t n = vision->n_head * v->n_kv_block;
    char *kv = qvl_arena_alloc(&v->arena, n, bytes, "the vision tower's keys and values", err);
    v->k_block = qvl_arena_alloc(&v->arena, n, sizeof *v->k_block, "the vision tower", err);
    v->v_block = qvl_arena_alloc(&v->arena, n, sizeof *v->v_block, "the vision tower", err);
    if (!kv || !v->k_block || !v->v_block)
        return QVL_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        v->k_block[i] = kv + i * bytes;
        v->v_block[i] = kv + i * bytes + k_bytes;
    }
    return QVL_OK;
}

static enum qvl_status alloc_parts(struct qvl_vision *v, struct qvl_error *err)
{
    const struct qvl_model *m = v->model;
    size_t hidden = m->config.vision.hidden, merged = merge_area(v) * hidden, mlp = m->config.vision.intermediate;
    size_t widest_in = merged > m->patch_embed.n_in ? merged : m->patch_embed.n_in;
    size_t n_row = qvl_min_size(CHUNK, v->n_patch);
    const char *what = "the vision tower";
    bool is_split = m->vision_act == QVL_A8 && m->config.vision.head_dim % QVL_GROUP != 0;
    enum qvl_dtype mixed = is_split ? QVL_F32 : m->vision_act;
    enum qvl_status status;
    v->tile = qvl_arena_alloc(&v->arena, n_row, sizeof *v->tile, what, err);
    if (!v->tile)
        return QVL_ERR_MEMORY;
    if ((status = qvl_rows_alloc(&v->arena, n_row, widest_in, m->vision_act, what, &v->in, err)) ||
        (status =
             qvl_rows_alloc(&v->arena, n_row, mlp > merged ? mlp : merged, m->vision_act, what, &v->inner, err)) ||
        (status = qvl_rows_alloc(&v->arena, n_row, hidden, mixed, what, &v->mixed, err)))
        return status;
    return qvl_rows_alloc(&v->arena, n_row, 2 * hidden, QVL_F32, what, &v->wide, err);
}

static enum qvl_status alloc_patches(struct qvl_vision *v, struct qvl_error *err)
{
    const struct qvl_vision_config *vision = &v->model->config.vision;
    const char *what = "the vision tower";
    size_t n_pair = vision->head_dim / 2, n_level = 1 + vision->n_tap,
           row_bytes = vision->out_hidden * sizeof(float);
    v->inv_freq = qvl_arena_alloc(&v->arena, n_pair, sizeof *v->inv_freq, what, err);
    v->x = qvl_arena_alloc(&v->arena, v->n_patch, vision->hidden * sizeof *v->x, what, err);
    v->cos = qvl_arena_alloc(&v->arena, v->n_patch, n_pair * sizeof *v->cos, what, err);
    v->sin = qvl_arena_alloc(&v->arena, v->n_patch, n_pair * sizeof *v->sin, what, err);
    v->i_segment = qvl_arena_alloc(&v->arena, v->n_patch, sizeof *v->i_segment, what, err);
    v->n_key = qvl_arena_alloc(&v->arena, v->n_patch, sizeof *v->n_key, what, err);
    v->features.row = qvl_arena_alloc(&v->features.arena, n_level * v->n_tok, row_bytes, "picture features", err);
    if (!v->inv_freq || !v->x || !v->cos || !v->sin || !v->i_segment || !v->n_key || !v->features.row)
        return QVL_ERR_MEMORY;
    for (size_t j = 0; j < n_pair / 2; j++) /* exponents in f32, as the reference's */
        v->inv_freq[j] = 1.0f / (float)pow(ROPE_THETA, (double)((float)(2 * j) / (float)n_pair));
    v->features.n = v->n_tok;
    v->features.n_level = n_level;
    v->features.n_hidden = vision->out_hidden;
    for (uint32_t s = 0; s < v->n_segment; s++)
        for (size_t i = 0; i < v->segment[s].n; i++) {
            v->i_segment[v->segment[s].first + i] = s;
            v->n_key[v->segment[s].first + i] = (uint32_t)v->segment[s].n_key;
        }
    return QVL_OK;
}

static uint32_t count_parts(struct qvl_vision v)
{
    size_t n = 0;
    for (v.stage = EMBED; v.stage != STAGE_END; advance(&v))
        n++;
    return (uint32_t)n;
}

enum qvl_status qvl_vision_open(struct qvl_model *model, const struct qvl_grid *grid, size_t n_grid,
                                const float *patch_row, const struct qvl_trace *trace, struct qvl_vision **out,
                                struct qvl_error *err)
{
    struct qvl_arena arena = {0};
    enum qvl_status status;
    struct qvl_vision *v = qvl_arena_alloc(&arena, 1, sizeof *v, "the vision tower", err);
    if (!v)
        return QVL_ERR_MEMORY;
    *v = (struct qvl_vision){.model = model, .patch_row = patch_row, .trace = trace, .arena = arena};
    if ((status = count_segments(v, grid, n_grid, err)))
        goto fail;
    v->n_tok = v->n_patch / merge_area(v);
    v->segment = qvl_arena_alloc(&v->arena, v->n_segment, sizeof *v->segment, "the vision tower", err);
    if (!v->segment) {
        status = QVL_ERR_MEMORY;
        goto fail;
    }
    make_segments(v, grid, n_grid);
    if (QVL_MISTAKE(ATTENTION_ACROSS_PICTURES) || QVL_MISTAKE(ATTENTION_ACROSS_FRAMES))
        attend_across_segments(v, grid);
    if ((status = alloc_patches(v, err)) || (status = alloc_keys(v, err)) || (status = alloc_parts(v, err)))
        goto fail;
    v->n_total = count_parts(*v);
    *out = v;
    return QVL_OK;

fail:
    qvl_vision_close(v);
    return status;
}

bool qvl_vision_needs_patches(const struct qvl_vision *v)
{
    return v->stage == EMBED;
}

void qvl_vision_take(struct qvl_vision *v, struct qvl_features *out)
{
    *out = v->features;
    v->features = (struct qvl_features){0};
}

void qvl_vision_close(struct qvl_vision *v)
{
    if (!v)
        return;
    struct qvl_arena arena = v->arena; /* which holds *v itself */
    qvl_features_free(&v->features);
    qvl_arena_free(&arena);
}

enum qvl_status qvl_features_copy(const struct qvl_features *from, size_t first, size_t n, struct qvl_features *out,
                                  struct qvl_error *err)
{
    struct qvl_features copy = {.n = n, .n_level = from->n_level, .n_hidden = from->n_hidden};
    size_t n_number = n * from->n_hidden;
    copy.row = qvl_arena_alloc(&copy.arena, copy.n_level, n_number * sizeof *copy.row, "picture features", err);
    if (!copy.row)
        return QVL_ERR_MEMORY;
    for (size_t level = 0; level < copy.n_level; level++)
        memcpy(copy.row + level * n_number, from->row + (level * from->n + first) * from->n_hidden,
               n_number * sizeof *copy.row);
    *out = copy;
    return QVL_OK;
}

void qvl_features_free(struct qvl_features *features)
{
    qvl_arena_free(&features->arena);
    *features = (struct qvl_features){0};
}
