#include "golden_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "load/prepare.h"
#include "model/patchify.h"
#include "model/resize.h"

static void must(enum qvl_status status, const struct qvl_error *err)
{
    if (status)
        fail_msg("status %d: %s", (int)status, err->text);
}

static void *must_alloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    assert_non_null(p);
    return p;
}

/* ---- a model ---------------------------------------------------------------------------------------- */

static char work_dir[] = "/tmp/qvl-golden-XXXXXX";
static bool is_written[sizeof GOLDEN_LETTERS];

static void remove_work_dir(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", work_dir);
    if (system(command) != 0)
        fprintf(stderr, "%s was left behind\n", work_dir);
}

const char *golden_folder(char letter)
{
    static char path[sizeof work_dir + 2];
    static bool is_made;
    if (!is_made) {
        assert_non_null(mkdtemp(work_dir));
        atexit(remove_work_dir);
        is_made = true;
    }
    snprintf(path, sizeof path, "%s/%c", work_dir, letter);
    size_t i = (size_t)(strchr(GOLDEN_LETTERS, letter) - GOLDEN_LETTERS);
    if (!is_written[i])
        assert_true(golden_model_write(golden_dir(), letter, path));
    is_written[i] = true;
    return path;
}

void golden_open(struct golden *g, char letter, const struct qvl_kernels *kernels, uint32_t n_thread,
                 enum qvl_compute compute, enum qvl_kv_type kv)
{
    golden_open_quantized(g, letter, kernels, n_thread, QVL_QUANTIZE_NONE, compute, kv);
}

void golden_open_quantized(struct golden *g, char letter, const struct qvl_kernels *kernels, uint32_t n_thread,
                           enum qvl_quantization quantize, enum qvl_compute compute, enum qvl_kv_type kv)
{
    golden_open_folder(g, letter, golden_folder(letter), kernels, n_thread, quantize, compute, kv);
}

void golden_open_folder(struct golden *g, char letter, const char *folder, const struct qvl_kernels *kernels,
                        uint32_t n_thread, enum qvl_quantization quantize, enum qvl_compute compute,
                        enum qvl_kv_type kv)
{
    struct qvl_error err = {0};
    memset(g, 0, sizeof *g);
    g->letter = letter;
    golden_vectors_open(letter, &g->vectors);
    must(qvl_config_load(folder, &g->config, &err), &err);
    must(qvl_weights_open(folder, &g->config, &g->weights, &err), &err);
    must(qvl_weights_map(g->weights, &err), &err);
    must(qvl_pool_open(n_thread, &g->pool, &err), &err);
    struct qvl_config want = g->config;
    want.quantization = quantize;
    const struct qvl_prepare_options prepare = {.floats = QVL_F32};
    if (qvl_weights_needs_preparing(g->weights, &g->config, &want))
        must(qvl_weights_prepare(g->weights, &g->config, &want, &prepare, g->pool, &err), &err);
    must(qvl_model_bind(&g->config, g->weights, kernels, g->pool, compute, kv, &g->model, &err), &err);
}

void golden_close(struct golden *g)
{
    qvl_model_free(&g->model);
    qvl_pool_close(g->pool);
    qvl_weights_close(g->weights);
    golden_vectors_close(&g->vectors);
}

const struct qvl_kernels *golden_next_level(enum qvl_isa *isa)
{
#if defined(__x86_64__)
    static const enum qvl_isa level[] = {QVL_ISA_SCALAR, QVL_ISA_AVX2, QVL_ISA_AVX512, QVL_ISA_AVX512_BF16,
                                         QVL_ISA_AMX};
    static const char *const name[] = {"scalar", "avx2", "avx512", "avx512_bf16", "amx"};
#else
    static const enum qvl_isa level[] = {QVL_ISA_SCALAR, QVL_ISA_NEON};
    static const char *const name[] = {"scalar", "neon"};
#endif
    for (size_t i = 0; i < sizeof level / sizeof *level; i++) {
        if (level[i] < *isa)
            continue;
        const struct qvl_kernels *kernels = qvl_kernels_of(level[i]);
        if (kernels) {
            *isa = (enum qvl_isa)(level[i] + 1);
            return kernels;
        }
        printf("SKIP: kernel level %s: this processor lacks it\n", name[i]);
    }
    return NULL;
}

const struct qvl_kernels *golden_best_level(void)
{
    const struct qvl_kernels *kernels = NULL;
    struct qvl_error err = {0};
    must(qvl_kernels_select(NULL, &kernels, &err), &err);
    return kernels;
}

/* ---- a prompt ---------------------------------------------------------------------------------------- */

/* Draws (height, width, seed) and scales it as the processor does; n_frame 0: a picture. The caller frees. */
static uint8_t *draw_resized(const struct golden *g, const int32_t size[3], uint32_t n_frame, uint32_t *out_h,
                             uint32_t *out_w)
{
    const struct qvl_config *c = &g->config;
    struct qvl_error err = {0};
    uint32_t h = (uint32_t)size[0], w = (uint32_t)size[1], factor = c->vision.patch * c->vision.merge;
    uint8_t *drawn = must_alloc((size_t)h * w, 3);
    golden_picture((uint32_t)size[2], h, w, drawn);
    must(n_frame > 0 ? qvl_smart_resize_clip(n_frame, c->vision.temporal_patch, h, w, factor, c->video.min_pixels,
                                             c->video.max_pixels, out_h, out_w, &err)
                     : qvl_smart_resize(h, w, factor, c->image.min_pixels, c->image.max_pixels, out_h, out_w, &err),
         &err);
    uint8_t *resized = must_alloc((size_t)*out_h * *out_w, 3);
    struct qvl_frame frame = {.w = w, .h = h, .stride_bytes = 3 * (size_t)w, .rgb8 = drawn};
    must(qvl_resize_bicubic(&frame, *out_w, *out_h, QVL_RESIZE_TORCHVISION, resized, NULL, NULL, &err), &err);
    free(drawn);
    return resized;
}

/* A picture (n_frame 0), or a clip of n_frame; `size` points at the first of its drawings. Returns how many it took. */
static size_t add_media(const struct golden *g, const int32_t (*size)[3], int32_t n_frame, const int32_t grid[3],
                        struct golden_prompt *out)
{
    const struct qvl_vision_config *vision = &g->config.vision;
    size_t len = qvl_patch_len(vision), n_drawn = n_frame > 0 ? (size_t)n_frame : 1;
    struct qvl_grid *to = &out->grid[out->n_grid++];
    assert_in_range(out->n_grid, 1, GOLDEN_MAX_PICTURES);
    assert_int_equal(qvl_div_up(n_drawn, 2), grid[0]);
    for (size_t i = 0; i < n_drawn; i += 2) {
        uint32_t h, w;
        uint8_t *frame0 = draw_resized(g, size[i], (uint32_t)n_frame, &h, &w);
        uint8_t *frame1 = i + 1 < n_drawn ? draw_resized(g, size[i + 1], (uint32_t)n_frame, &h, &w) : frame0;
        *to = (struct qvl_grid){.t = (uint32_t)grid[0], .h = h / vision->patch, .w = w / vision->patch};
        assert_int_equal(to->h, grid[1]);
        assert_int_equal(to->w, grid[2]);
        size_t n_patch = out->n_patch + (size_t)to->h * to->w;
        out->patch_row = realloc(out->patch_row, n_patch * len * sizeof(float));
        assert_non_null(out->patch_row);
        qvl_patchify(vision, &g->config.image, frame0, frame1, to->h, to->w, out->patch_row + out->n_patch * len);
        out->n_patch = n_patch;
        if (frame1 != frame0)
            free(frame1);
        free(frame0);
    }
    return n_drawn;
}

static bool is_visual(const struct golden *g, uint32_t id)
{
    return id == g->config.image_token || id == g->config.video_token;
}

/* Runs of text, and of the pads of one picture or temporal patch, of out->id; returns their number. */
static size_t make_spans(const struct golden *g, const struct golden_prompt *p, struct qvl_span *span)
{
    size_t n = 0;
    uint32_t i_media = 0, i_temporal = 0, i_feature = 0;
    for (size_t i = 0; i < p->n;) {
        struct qvl_span *s = &span[n++];
        *s = (struct qvl_span){.begin = i, .is_visual = is_visual(g, p->id[i])};
        if (s->is_visual) {
            assert_true(i_media < p->n_grid);
            s->rows = p->grid[i_media].h / g->config.vision.merge;
            s->columns = p->grid[i_media].w / g->config.vision.merge;
            s->n_tok = (size_t)s->rows * s->columns;
            s->i_media = i_media;
            s->i_feature = i_feature;
            i_feature += (uint32_t)s->n_tok;
            if (++i_temporal == p->grid[i_media].t) {
                i_media++;
                i_temporal = 0;
            }
        } else {
            while (i + s->n_tok < p->n && !is_visual(g, p->id[i + s->n_tok]))
                s->n_tok++;
        }
        i += s->n_tok;
    }
    assert_int_equal(i_media, p->n_grid);
    return n;
}

void golden_prompt_positions(const struct golden *g, struct golden_prompt *prompt)
{
    struct qvl_span *span = must_alloc(prompt->n, sizeof *span);
    prompt->pos = must_alloc(prompt->n, sizeof *prompt->pos);
    qvl_rope_positions(span, make_spans(g, prompt, span), prompt->pos, &prompt->next);
    free(span);
}

static void make_positions(const struct golden *g, const char *test_case, size_t n_case, struct golden_prompt *out)
{
    const struct golden_vector *positions = golden_vectors_find(&g->vectors, test_case, "positions");
    const struct golden_vector *next = golden_vectors_find(&g->vectors, test_case, "next");
    const int32_t *expected = positions->data;
    if (next) {
        golden_prompt_positions(g, out);
        assert_int_equal(out->next - (int32_t)(out->n - n_case), *(const int32_t *)next->data);
    } else {
        out->pos = must_alloc(out->n, sizeof *out->pos);
        for (size_t i = 0; i < out->n; i++)
            out->pos[i] = (struct qvl_position){expected[3 * i], expected[3 * i + 1], expected[3 * i + 2]};
    }
    for (size_t i = 0; i < n_case; i++) {
        assert_int_equal(out->pos[i].t, expected[3 * i]);
        assert_int_equal(out->pos[i].h, expected[3 * i + 1]);
        assert_int_equal(out->pos[i].w, expected[3 * i + 2]);
    }
}

void golden_prompt_make(const struct golden *g, const char *test_case, const uint32_t *extra, size_t n_extra,
                        struct golden_prompt *out)
{
    memset(out, 0, sizeof *out);
    const struct golden_vector *ids = golden_vectors_find(&g->vectors, test_case, "ids");
    assert_non_null(ids);
    out->n = ids->dim[0] + n_extra;
    out->id = must_alloc(out->n, sizeof *out->id);
    for (size_t i = 0; i < ids->dim[0]; i++)
        out->id[i] = (uint32_t)((const int32_t *)ids->data)[i];
    if (n_extra > 0)
        memcpy(out->id + ids->dim[0], extra, n_extra * sizeof *extra);

    const struct golden_vector *pictures = golden_vectors_find(&g->vectors, test_case, "pictures");
    const struct golden_vector *grids = golden_vectors_find(&g->vectors, test_case, "grids");
    const struct golden_vector *n_frame = golden_vectors_find(&g->vectors, test_case, "n_frame");
    size_t n_drawn = 0;
    for (size_t i = 0; grids && i < grids->dim[0]; i++)
        n_drawn += add_media(g, (const int32_t(*)[3])pictures->data + n_drawn, ((const int32_t *)n_frame->data)[i],
                             (const int32_t *)grids->data + 3 * i, out);
    make_positions(g, test_case, ids->dim[0], out);
}

void golden_prompt_free(struct golden_prompt *prompt)
{
    free(prompt->id);
    free(prompt->pos);
    free(prompt->patch_row);
    qvl_features_free(&prompt->features);
    memset(prompt, 0, sizeof *prompt);
}

static void run_tower(struct golden *g, const struct qvl_grid *grid, size_t n_grid, const float *patch_row,
                      const struct qvl_trace *trace, struct qvl_features *out)
{
    struct qvl_error err = {0};
    struct qvl_vision *vision = NULL;
    size_t n_patch = 0, row_bytes = qvl_patch_len(&g->config.vision) * sizeof(float);
    for (size_t i = 0; i < n_grid; i++)
        n_patch += qvl_grid_n_patch(grid[i]);
    float *rows = must_alloc(n_patch, row_bytes);
    memcpy(rows, patch_row, n_patch * row_bytes);
    must(qvl_vision_open(&g->model, grid, n_grid, rows, trace, &vision, &err), &err);
    uint32_t done = 0, total = 1;
    while (done < total) {
        uint32_t before = done;
        must(qvl_vision_step(vision, NULL, &done, &total, &err), &err);
        assert_true(done > before);
        if (!qvl_vision_needs_patches(vision)) {
            free(rows);
            rows = NULL;
        }
    }
    qvl_vision_take(vision, out);
    qvl_vision_close(vision);
}

/* Appends the rows of `part` to each level of `all`. */
static void join_features(struct qvl_features *all, const struct qvl_features *part, size_t hidden)
{
    struct qvl_features joined = {.n = all->n + part->n, .n_level = part->n_level};
    struct qvl_error err = {0};
    joined.row = qvl_arena_alloc(&joined.arena, joined.n * joined.n_level * hidden, sizeof(float), "a test", &err);
    assert_non_null(joined.row);
    for (size_t level = 0; level < part->n_level; level++) {
        float *to = joined.row + level * joined.n * hidden;
        if (all->n > 0)
            memcpy(to, all->row + level * all->n * hidden, all->n * hidden * sizeof(float));
        memcpy(to + all->n * hidden, part->row + level * part->n * hidden, part->n * hidden * sizeof(float));
    }
    qvl_features_free(all);
    *all = joined;
}

void golden_see(struct golden *g, struct golden_prompt *prompt, size_t n_at_once, const struct qvl_trace *trace)
{
    size_t len = qvl_patch_len(&g->config.vision), hidden = g->config.text.hidden;
    const float *patch_row = prompt->patch_row;
    for (size_t i = 0; i < prompt->n_grid; i += n_at_once) {
        size_t n = prompt->n_grid - i < n_at_once ? prompt->n_grid - i : n_at_once;
        struct qvl_features part = {0};
        run_tower(g, prompt->grid + i, n, patch_row, trace, &part);
        for (size_t k = i; k < i + n; k++)
            patch_row += qvl_grid_n_patch(prompt->grid[k]) * len;
        assert_int_equal(part.n_level, 1 + g->config.vision.n_tap);
        join_features(&prompt->features, &part, hidden);
        qvl_features_free(&part);
    }
}

/* ---- sequences --------------------------------------------------------------------------------------- */

struct qvl_decoder *golden_decoder(struct golden *g, size_t max_row)
{
    struct qvl_error err = {0};
    struct qvl_decoder *decoder = NULL;
    must(qvl_decoder_open(&g->model, max_row, &decoder, &err), &err);
    return decoder;
}

void golden_sequence_open(struct golden *g, const struct golden_prompt *prompt, struct golden_sequence *out)
{
    memset(out, 0, sizeof *out);
    out->prompt = prompt;
    qvl_kv_init(&out->kv, &g->model);
}

void golden_sequence_close(struct golden_sequence *sequence)
{
    qvl_kv_free(&sequence->kv);
}

struct qvl_batch_row golden_prompt_row(const struct golden *g, const struct golden_prompt *prompt, size_t i_row,
                                       uint32_t i_seq, bool want_logits)
{
    struct qvl_batch_row row = {
        .id = prompt->id[i_row], .pos = prompt->pos[i_row], .i_seq = i_seq, .want_logits = want_logits};
    if (is_visual(g, row.id)) {
        row.features = &prompt->features;
        for (size_t i = 0; i < i_row; i++)
            row.i_feature += is_visual(g, prompt->id[i]);
    }
    return row;
}

const float *golden_step(struct qvl_decoder *decoder, struct golden_sequence *const *sequence, size_t n_seq,
                         const struct qvl_batch_row *row, size_t n_row, const struct qvl_trace *trace)
{
    struct qvl_error err = {0};
    struct qvl_kv *kv[16];
    float *logits = NULL;
    assert_true(n_seq <= 16);
    for (size_t i = 0; i < n_seq; i++)
        kv[i] = &sequence[i]->kv;
    for (size_t i = 0; i < n_row; i++)
        sequence[row[i].i_seq]->n_done++;
    for (size_t i = 0; i < n_seq; i++)
        must(qvl_kv_reserve(kv[i], sequence[i]->n_done, &err), &err);
    struct qvl_batch batch = {.row = row, .n_row = n_row, .kv = kv, .n_seq = n_seq, .trace = trace};
    must(qvl_decoder_step(decoder, &batch, NULL, &logits, &err), &err);
    return logits;
}

void golden_prefill(struct golden *g, struct qvl_decoder *decoder, struct golden_sequence *sequence, size_t n_chunk,
                    size_t n_want, float *out_logits, const struct qvl_trace *trace)
{
    const struct golden_prompt *p = sequence->prompt;
    size_t vocab = g->config.text.vocab;
    for (size_t begin = 0; begin < p->n; begin += n_chunk) {
        size_t n = p->n - begin < n_chunk ? p->n - begin : n_chunk, n_wanted = 0;
        struct qvl_batch_row *row = must_alloc(n, sizeof *row);
        for (size_t i = 0; i < n; i++) {
            row[i] = golden_prompt_row(g, p, begin + i, 0, begin + i + n_want >= p->n);
            n_wanted += row[i].want_logits;
        }
        const float *logits = golden_step(decoder, &sequence, 1, row, n, trace);
        if (n_wanted > 0)
            memcpy(out_logits, logits, n_wanted * vocab * sizeof(float));
        out_logits += n_wanted * vocab;
        free(row);
    }
}

/* ---- named intermediates ------------------------------------------------------------------------------ */

static void record_tensor(void *user, const char *name, enum qvl_trace_type type, const void *data,
                          const size_t *dim, size_t n_dim)
{
    struct golden_trace *t = user;
    if (type != QVL_TRACE_F32)
        return;
    size_t n_row = 1, n_column = dim[n_dim - 1], i = 0;
    for (size_t k = 0; k + 1 < n_dim; k++)
        n_row *= dim[k];
    while (i < t->n && strcmp(t->record[i].name, name) != 0)
        i++;
    struct golden_record *r = &t->record[i];
    if (i == t->n) {
        assert_true(t->n < sizeof t->record / sizeof *t->record);
        t->n++;
        snprintf(r->name, sizeof r->name, "%s", name);
        r->n_column = n_column;
    }
    assert_int_equal(r->n_column, n_column);
    r->data = realloc(r->data, (r->n_row + n_row) * n_column * sizeof(float));
    assert_non_null(r->data);
    memcpy(r->data + r->n_row * n_column, data, n_row * n_column * sizeof(float));
    r->n_row += n_row;
}

void golden_trace_init(struct golden_trace *trace)
{
    memset(trace, 0, sizeof *trace);
    trace->trace = (struct qvl_trace){.user = trace, .tensor = record_tensor};
}

void golden_trace_free(struct golden_trace *trace)
{
    for (size_t i = 0; i < trace->n; i++)
        free(trace->record[i].data);
    memset(trace, 0, sizeof *trace);
}

/* max|a-b| / max|b| over the stored rows, where max|b| is over the whole tensor. A value that is not finite counts
 * as infinitely wrong. */
static double relative_error(const struct golden_record *r, const struct golden_vector *v)
{
    const float *expected = v->data;
    double worst = 0;
    for (size_t i = 0; i < v->dim[0]; i++) {
        for (size_t k = 0; k < v->dim[1]; k++) {
            double d = fabs((double)r->data[i * v->stride * r->n_column + k] - (double)expected[i * v->dim[1] + k]);
            if (!isfinite(d))
                return INFINITY;
            worst = fmax(worst, d);
        }
    }
    double max_abs = 0;
    for (size_t i = 0; i < r->n_row * r->n_column; i++)
        max_abs = fmax(max_abs, fabs((double)r->data[i]));
    worst = fmax(worst, fabs(max_abs - v->max_abs));
    return worst / v->max_abs;
}

void golden_compare_record(const struct golden_vectors *vectors, const char *test_case,
                           const struct golden_record *r, double limit, struct golden_result *out)
{
    const struct golden_vector *v = golden_vectors_find(vectors, test_case, r->name);
    if (!v)
        fail_msg("%s.%s is traced here but not in the reference", test_case, r->name);
    if (r->n_row != v->n_row || r->n_column != v->dim[1])
        fail_msg("%s: %zu x %zu, the reference has %zu x %zu", v->name, r->n_row, r->n_column, v->n_row, v->dim[1]);
    double error = relative_error(r, v);
    out->n_compared++;
    if (error > limit && !out->first_above[0])
        snprintf(out->first_above, sizeof out->first_above, "%s", v->name);
    if (error >= out->worst) {
        out->worst = error;
        snprintf(out->worst_name, sizeof out->worst_name, "%s", v->name);
    }
}

void golden_compare(struct golden *g, const char *test_case, double limit, struct golden_result *out)
{
    struct golden_prompt prompt;
    struct golden_sequence sequence;
    struct golden_trace trace;
    memset(out, 0, sizeof *out);
    golden_trace_init(&trace);
    golden_prompt_make(g, test_case, NULL, 0, &prompt);
    if (prompt.n_grid > 0)
        golden_see(g, &prompt, prompt.n_grid, &trace.trace);
    golden_sequence_open(g, &prompt, &sequence);
    struct qvl_decoder *decoder = golden_decoder(g, prompt.n);
    float *logits = must_alloc(prompt.n * g->config.text.vocab, sizeof *logits);
    golden_prefill(g, decoder, &sequence, prompt.n, prompt.n, logits, &trace.trace);

    size_t n_expected = 0, n_name = strlen(test_case);
    for (size_t i = 0; i < g->vectors.n; i++)
        n_expected += g->vectors.vector[i].is_intermediate && g->vectors.vector[i].name[n_name] == '.' &&
                      strncmp(g->vectors.vector[i].name, test_case, n_name) == 0;
    for (size_t i = 0; i < trace.n; i++)
        golden_compare_record(&g->vectors, test_case, &trace.record[i], limit, out);
    if (out->n_compared != n_expected)
        fail_msg("%c, %s: %zu intermediates were traced, the reference has %zu", g->letter, test_case,
                 out->n_compared, n_expected);

    free(logits);
    qvl_decoder_close(decoder);
    golden_sequence_close(&sequence);
    golden_prompt_free(&prompt);
    golden_trace_free(&trace);
}
