/* qvl verify MODEL REF: whether this build computes with these weights what Hugging Face transformers does.
 *
 * Each question of REF is put to the model twice: once with transformers' own answer behind it, scored and traced,
 * so that every intermediate and every logit has its counterpart whatever qvl would say; and once freely, for the
 * answer. In f32 the limits are those of the golden tests (tests/golden/test_reference.c): 2e-4 of a tensor's
 * largest value, the same ids. An answer may part from the reference's where the reference's own two best logits
 * are nearer to each other than that limit. Then the same in the mode in which qvl runs, where roundings are judged
 * by what they do to the next token. */
#include <inttypes.h>
#include <math.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/checked.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "cli/progress.h"
#include "cli/reference_file.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "cli/verify_measure.h"

/* tests/golden/test_reference.c */
#define F32_LIMIT 2e-4
#define BF16_SAME 0.99
#define BF16_KL 1e-3
#define COARSE_SAME 0.95 /* weights, or keys and values, in fewer than 16 bits */
#define INT8_KL 25e-3
#define INT4_KL 0.1 /* a step 16 times as wide; the demo model: 80 times the divergence of 8 bits, 2e-2 to 5e-2 */

enum { SUM_BYTES = 32, N_PIECE = 4 };

enum what { PROMPT, PIXELS, VISION, DEEPSTACK, DECODER, LOGITS, ANSWER, AGREEMENT };

/* What one of the things above came to. */
struct row {
    enum what what;
    const char *pass, *case_name; /* case "": all of them */
    bool is_judged, is_right;
    size_t n, n_same;       /* ids, pictures; of them equal up to the first that is not */
    uint32_t got, expected; /* ids, where they part */
    bool is_tie;
    double error, limit;       /* floats: share of the largest; AGREEMENT: the divergence */
    double same, same_limit;   /* AGREEMENT */
    const char *worst, *first; /* floats: names; the first beyond the limit, or NULL */
};

/* Takes what the trace of one request brings. */
struct tracing {
    const struct qvl_reference_case *c;
    pthread_mutex_t lock;           /* it comes from the request's thread and from the engine's */
    struct qvl_verify_slice *slice; /* [c->n_slice] */
    size_t *order;                  /* [c->n_slice] in which they came; 0 those that did not */
    size_t n_come;
    struct sha256_ctx *sha; /* [c->n_media] of the resized bytes */
    bool *is_other_size;    /* [c->n_media] */
    struct qvl_verify_agreement agreement;
};

struct verify {
    const struct qvl_options *options;
    const char *model, *ref_path;
    struct qvl_reference ref;
    struct qvl_engine *engine;
    struct qvl_progress progress;
    const char *pass;
    bool is_exact;               /* this pass: f32 */
    double same_limit, kl_limit; /* of a pass that is not */
    bool is_int4;                /* some weights have fewer than 8 bits */
    size_t i_step, n_step;
    struct row *row; /* [n_row] */
    size_t n_row, n_row_alloc;
    struct qvl_error err;
};

static const struct qvl_request_options greedy = {
    .sampling = {.top_p = 1, .repetition_penalty = 1}, .ignore_eos = true, .no_loop_guard = true};

/* ---- one request ----------------------------------------------------------------------------------------- */

/* "prompt.pixels.3" or "pixels.3": 3; else n_media. */
static size_t media_index(const char *name, size_t n_media)
{
    const char *dot = strrchr(name, '.');
    char *end = NULL;
    unsigned long i = strncmp(name, "prompt.pixels.", 14) == 0 ? strtoul(dot + 1, &end, 10) : n_media;
    return end && *end == 0 && i < n_media ? (size_t)i : n_media;
}

static void take_pixels(struct tracing *t, size_t i_media, const uint8_t *data, const size_t *dim, size_t n_dim)
{
    const struct qvl_reference_media *m = &t->c->media[i_media];
    size_t n_frame = n_dim == 4 ? dim[0] : 1, n = n_frame * dim[n_dim - 3] * dim[n_dim - 2];
    char name[QVL_MAX_TENSOR_NAME_BYTES];
    t->is_other_size[i_media] |= dim[n_dim - 3] != m->h || dim[n_dim - 2] != m->w;
    sha256_update(&t->sha[i_media], n * 3, data);
    snprintf(name, sizeof name, "pixels.%zu", i_media);
    for (size_t i = 0; i < t->c->n_slice; i++)
        if (strcmp(t->c->slice[i]->name + t->c->n_prefix, name) == 0)
            qvl_verify_slice_add_u8(&t->slice[i], data, n, 3);
}

static void take_tensor(void *user, const char *name, enum qvl_trace_type type, const void *data, const size_t *dim,
                        size_t n_dim)
{
    struct tracing *t = user;
    size_t i_media = media_index(name, t->c->n_media);
    pthread_mutex_lock(&t->lock);
    if (type == QVL_TRACE_U8 && i_media < t->c->n_media && n_dim >= 3)
        take_pixels(t, i_media, data, dim, n_dim);
    for (size_t i = 0; i < t->c->n_slice && type == QVL_TRACE_F32 && n_dim == 2; i++) {
        if (strcmp(t->c->slice[i]->name + t->c->n_prefix, name) != 0)
            continue;
        qvl_verify_slice_add_f32(&t->slice[i], data, dim[0], dim[1]);
        if (!t->order[i])
            t->order[i] = ++t->n_come;
    }
    pthread_mutex_unlock(&t->lock);
}

static void take_logits(void *user, size_t i, const float *logits, size_t n_logit)
{
    struct tracing *t = user;
    qvl_verify_agreement_add(&t->agreement, t->c, i, logits, n_logit);
}

/* To the end of a request; its info is the caller's to look at before it closes it. */
static enum qvl_status run(struct verify *v, const struct qvl_reference_case *c,
                           const struct qvl_request_options *wish, struct qvl_request **out,
                           struct qvl_request_info *info)
{
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = c->part, .n_part = c->n_part};
    struct qvl_chat chat = {.messages = &message, .n_message = 1, .want_video_wrapper = c->has_video_wrapper};
    struct qvl_event event = {0};
    enum qvl_status status = qvl_request_open(v->engine, &chat, wish, out, &v->err);
    qvl_signals_set_request(*out);
    while (!status && event.kind != QVL_EVENT_DONE)
        status = qvl_request_next(*out, &event, &v->err);
    qvl_signals_set_request(NULL);
    if (!status)
        qvl_request_get_info(*out, info);
    qvl_progress_show_share(&v->progress, qvl_text("verifying"), (double)++v->i_step / (double)v->n_step);
    return status;
}

/* ---- what came of it ------------------------------------------------------------------------------------- */

static enum qvl_status add_row(struct verify *v, const struct row *row)
{
    struct row *grown = qvl_grow(v->row, &v->n_row_alloc, v->n_row + 1, sizeof *grown, "the comparison", &v->err);
    if (!grown)
        return v->err.status;
    v->row = grown;
    v->row[v->n_row] = *row;
    v->row[v->n_row++].pass = v->pass;
    return QVL_OK;
}

static size_t n_equal(const uint32_t *a, size_t n_a, const uint32_t *b, size_t n_b)
{
    size_t i = 0;
    while (i < n_a && i < n_b && a[i] == b[i])
        i++;
    return i;
}

static struct row compare_ids(const struct qvl_reference_case *c, enum what what, const uint32_t *got, size_t n_got,
                              const uint32_t *expected, size_t n_expected)
{
    struct row row = {.what = what,
                      .case_name = c->name,
                      .is_judged = true,
                      .n = n_expected,
                      .n_same = n_equal(got, n_got, expected, n_expected)};
    row.is_right = row.n_same == n_expected && n_got == n_expected;
    row.got = row.n_same < n_got ? got[row.n_same] : 0;
    row.expected = row.n_same < n_expected ? expected[row.n_same] : 0;
    return row;
}

/* Of the prompt, behind which the scored ids but the last stand. */
static enum qvl_status add_prompt(struct verify *v, const struct qvl_reference_case *c,
                                  const struct qvl_request_info *info)
{
    size_t n_scored = c->n_output - 1, n = info->n_prompt_tok;
    struct row row = compare_ids(c, PROMPT, info->prompt_ids, n > n_scored ? n - n_scored : 0, c->ids, c->n_id);
    return add_row(v, &row);
}

static enum qvl_status add_pixels(struct verify *v, struct tracing *t)
{
    const struct qvl_reference_case *c = t->c;
    struct row row = {.what = PIXELS, .case_name = c->name, .is_judged = true, .n = c->n_media};
    for (size_t i = 0; i < c->n_media; i++) {
        uint8_t sum[SUM_BYTES];
        sha256_digest(&t->sha[i], sizeof sum, sum);
        if (row.n_same == i && memcmp(sum, c->media[i].sha256, sizeof sum) == 0)
            row.n_same++;
        row.error = t->is_other_size[i] ? INFINITY : row.error;
    }
    for (size_t i = 0; i < c->n_slice; i++)
        if (c->slice[i]->type == QVL_REFERENCE_U8)
            row.error = fmax(row.error, qvl_verify_slice_error(&t->slice[i]));
    row.is_right = row.n_same == row.n && row.error <= 0;
    return c->n_media ? add_row(v, &row) : QVL_OK;
}

static enum what what_of(const char *name)
{
    return strncmp(name, "vision.deepstack.", 17) == 0 ? DEEPSTACK
           : strncmp(name, "vision.", 7) == 0          ? VISION
           : strcmp(name, "logits") == 0               ? LOGITS
                                                       : DECODER;
}

/* The worst of one kind, and the first beyond the limit in the order of the computation. */
static enum qvl_status add_floats(struct verify *v, struct tracing *t, enum what what)
{
    const struct qvl_reference_case *c = t->c;
    size_t first = SIZE_MAX;
    struct row row = {.what = what, .case_name = c->name, .is_judged = true, .limit = F32_LIMIT};
    for (size_t i = 0; i < c->n_slice; i++) {
        const char *name = c->slice[i]->name + c->n_prefix;
        if (c->slice[i]->type != QVL_REFERENCE_F32 || what_of(name) != what)
            continue;
        double error = qvl_verify_slice_error(&t->slice[i]);
        if (what == LOGITS && c->slice[i]->max_abs > 0)
            error = fmax(error, t->agreement.worst_logit / c->slice[i]->max_abs);
        if (row.n++ == 0 || error > row.error) {
            row.error = error;
            row.worst = name;
        }
        if (!(error <= F32_LIMIT) && t->order[i] < first) {
            first = t->order[i];
            row.first = name;
        }
    }
    row.is_right = !row.first;
    return row.n ? add_row(v, &row) : QVL_OK;
}

static enum qvl_status add_answer(struct verify *v, const struct qvl_reference_case *c, const uint32_t *ids,
                                  size_t n, double max_logit)
{
    struct row row = compare_ids(c, ANSWER, ids, n, c->output_ids, c->n_output);
    row.is_judged = v->is_exact;
    if (!row.is_right && row.n_same < c->n_output) {
        const float *top = c->top + row.n_same * c->n_top;
        row.is_tie = (double)top[0] - (double)top[1] <= 2 * F32_LIMIT * max_logit;
        row.is_right = row.is_tie;
    }
    return add_row(v, &row);
}

/* ---- one case -------------------------------------------------------------------------------------------- */

static enum qvl_status tracing_open(const struct qvl_reference_case *c, struct qvl_arena *arena, struct tracing *t,
                                    struct qvl_error *err)
{
    *t = (struct tracing){.c = c};
    if (!(t->slice = qvl_arena_alloc(arena, c->n_slice, sizeof *t->slice, "the comparison", err)) ||
        !(t->order = qvl_arena_alloc(arena, c->n_slice, sizeof *t->order, "the comparison", err)) ||
        !(t->sha = qvl_arena_alloc(arena, c->n_media, sizeof *t->sha, "the comparison", err)) ||
        !(t->is_other_size = qvl_arena_alloc(arena, c->n_media, sizeof *t->is_other_size, "the comparison", err)))
        return err->status;
    for (size_t i = 0; i < c->n_slice; i++)
        t->slice[i].t = c->slice[i];
    for (size_t i = 0; i < c->n_media; i++)
        sha256_init(&t->sha[i]);
    pthread_mutex_init(&t->lock, NULL);
    return QVL_OK;
}

static double max_logit(const struct qvl_reference_case *c)
{
    double most = 0;
    for (size_t i = 0; i < c->n_output * c->n_top; i++)
        most = fmax(most, fabs((double)c->top[i]));
    return most;
}

/* With the reference's answer: ids, pixels and intermediates where this pass is to show them; adds to *all. */
static enum qvl_status score(struct verify *v, const struct qvl_reference_case *c, struct qvl_arena *arena,
                             bool is_first, struct qvl_verify_agreement *all)
{
    struct tracing t;
    struct qvl_request *request = NULL;
    struct qvl_request_info info;
    struct qvl_request_options wish = greedy;
    enum qvl_status status = tracing_open(c, arena, &t, &v->err);
    if (status)
        return status;
    wish.scoring = (struct qvl_scoring){c->output_ids, c->n_output, take_logits, &t};
    wish.trace = (struct qvl_trace){&t, take_tensor};
    if (!(status = run(v, c, &wish, &request, &info)) && is_first && !(status = add_prompt(v, c, &info)))
        status = add_pixels(v, &t);
    for (enum what what = VISION; what <= LOGITS && v->is_exact && !status; what++)
        status = add_floats(v, &t, what);
    qvl_request_close(request);
    pthread_mutex_destroy(&t.lock);
    all->n += t.agreement.n;
    all->n_same += t.agreement.n_same;
    all->sum_kl += t.agreement.sum_kl;
    return status;
}

static enum qvl_status answer(struct verify *v, const struct qvl_reference_case *c)
{
    struct qvl_request *request = NULL;
    struct qvl_request_info info;
    struct qvl_request_options wish = greedy;
    wish.max_tokens = (uint32_t)qvl_min_size(c->n_output, QVL_MAX_TOKENS);
    enum qvl_status status = run(v, c, &wish, &request, &info);
    if (!status)
        status = add_answer(v, c, info.output_ids, info.n_output_tok, max_logit(c));
    qvl_request_close(request);
    return status;
}

static enum qvl_status compare_all(struct verify *v, bool is_first)
{
    struct qvl_verify_agreement all = {0};
    struct qvl_arena arena = {0};
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < v->ref.n_case && !status; i++) {
        const struct qvl_reference_case *c = &v->ref.one[i];
        if (!(status = score(v, c, &arena, is_first, &all)))
            status = answer(v, c);
    }
    qvl_arena_free(&arena);
    qvl_progress_clear(&v->progress);
    if (status || v->is_exact)
        return status;
    /* The positions that may differ are counted in whole ones: of 59, one in twenty are three. */
    double n_may_differ = ceil((1 - v->same_limit) * (double)all.n - 1e-6);
    struct row row = {.what = AGREEMENT,
                      .case_name = "",
                      .is_judged = true,
                      .n = all.n,
                      .same = (double)all.n_same / (double)all.n,
                      .error = all.sum_kl / (double)all.n,
                      .same_limit = ((double)all.n - n_may_differ) / (double)all.n,
                      .limit = v->kl_limit};
    bool is_same = row.same >= row.same_limit, is_near = row.error <= row.limit;
    row.is_right = v->kl_limit > BF16_KL ? is_same && is_near : is_same || is_near;
    return add_row(v, &row);
}

/* ---- the model ------------------------------------------------------------------------------------------- */

static enum qvl_status check_part(struct verify *v, const char *which, const struct qvl_json_node *ours)
{
    const struct qvl_json_node *theirs = qvl_json_member(v->ref.sizes, which), *entry = theirs ? theirs + 1 : NULL;
    for (uint32_t i = 0; theirs && theirs->kind == QVL_JSON_OBJECT && i < theirs->n_child; i++) {
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)qvl_min_size(entry->n_key, 60), entry->key);
        const struct qvl_json_node *own = qvl_json_member(ours, key);
        if (!own || own->n != entry->n || memcmp(own->utf8, entry->utf8, own->n) != 0)
            return qvl_fail(&v->err, QVL_ERR_MODEL,
                            "%s is not the model that %s was made with (%s): its %s.%s is %.*s, there it is %.*s",
                            v->model, v->ref_path, v->ref.model, which, key,
                            own ? (int)qvl_min_size(own->n, 60) : 1, own ? own->utf8 : "?",
                            (int)qvl_min_size(entry->n, 60), entry->utf8);
        entry = qvl_json_next(entry);
    }
    return QVL_OK;
}

/* types: of weights, as in `qvl inspect --json`. */
static bool has_int4(const struct qvl_json_node *types)
{
    const struct qvl_json_node *type = types ? types + 1 : NULL;
    for (uint32_t i = 0; types && i < types->n_child; i++, type = qvl_json_next(type)) {
        const struct qvl_json_node *bits = qvl_json_member(type, "bits_per_weight");
        double n_bit;
        if (bits && qvl_json_number(bits, &n_bit) && n_bit < 8)
            return true;
    }
    return false;
}

static enum qvl_status check_sizes(struct verify *v, const char *inspect_json, bool is_thinking)
{
    struct qvl_arena arena = {0};
    struct qvl_json_tree tree = {0};
    enum qvl_status status = qvl_json_tree_read(inspect_json, strlen(inspect_json), "inspect", QVL_MAX_JSON_VALUES,
                                                &arena, &tree, &v->err);
    if (!status && !(status = check_part(v, "text", qvl_json_member(tree.node, "text"))))
        status = check_part(v, "vision", qvl_json_member(tree.node, "vision"));
    if (!status && is_thinking != v->ref.is_thinking)
        status = qvl_fail(&v->err, QVL_ERR_MODEL,
                          "%s is not the model that %s was made with (%s): one of them is a Thinking model",
                          v->model, v->ref_path, v->ref.model);
    const struct qvl_json_node *weights = status ? NULL : qvl_json_member(tree.node, "weights");
    v->is_int4 = v->options->quantize == QVL_QUANTIZE_Q4 || v->options->quantize == QVL_QUANTIZE_BALANCED ||
                 (weights && has_int4(qvl_json_member(weights, "types")));
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    return status;
}

/* Opens the model with what the options say, but for the number type. */
static enum qvl_exit open_model(struct verify *v, enum qvl_compute dtype, struct qvl_engine_info *info)
{
    struct qvl_options wish = *v->options;
    enum qvl_exit code = QVL_EXIT_OK;
    wish.model = v->model;
    wish.dtype = dtype;
    wish.is_quiet = true;
    qvl_engine_close(v->engine);
    if (!(v->engine = qvl_open_engine(&wish, &code)))
        return code;
    qvl_engine_get_info(v->engine, info);
    return qvl_exit_of(check_sizes(v, info->inspect_json, info->is_thinking), QVL_EXIT_MODEL);
}

/* One pass over all cases in the mode of the engine that is open. */
static enum qvl_exit pass(struct verify *v, const char *name, bool is_exact, bool is_packed_pass)
{
    bool is_coarse = is_packed_pass || v->options->kv == QVL_KV_INT8;
    v->pass = name;
    v->is_exact = is_exact;
    v->same_limit = is_coarse ? COARSE_SAME : BF16_SAME;
    v->kl_limit = !is_coarse ? BF16_KL : v->is_int4 ? INT4_KL : INT8_KL;
    enum qvl_status status = qvl_engine_load(v->engine, &v->err);
    return qvl_exit_of(status ? status : compare_all(v, v->n_row == 0), QVL_EXIT_MODEL);
}

static enum qvl_exit run_passes(struct verify *v)
{
    const struct qvl_options *o = v->options;
    struct qvl_engine_info info = {0};
    bool is_given = qvl_options_has(o, "dtype");
    enum qvl_exit code = open_model(v, o->dtype, &info);
    if (code != QVL_EXIT_OK)
        return code;
    bool want_f32 = is_given ? o->dtype == QVL_COMPUTE_F32
                             : !info.is_quantized && !v->ref.is_rounded && !qvl_options_has(o, "kv");
    bool want_bf16 = !is_given || o->dtype == QVL_COMPUTE_BF16;
    v->n_step = 2 * v->ref.n_case * ((size_t)want_f32 + want_bf16);
    qvl_progress_begin(&v->progress, info.n_parameter);
    if (want_f32) {
        if (o->dtype != QVL_COMPUTE_F32 && (code = open_model(v, QVL_COMPUTE_F32, &info)) != QVL_EXIT_OK)
            return code;
        if ((code = pass(v, "f32", !v->ref.is_rounded && !info.is_quantized, info.is_quantized)) != QVL_EXIT_OK)
            return code;
    }
    if (want_f32 && want_bf16 && (code = open_model(v, QVL_COMPUTE_BF16, &info)) != QVL_EXIT_OK)
        return code;
    return want_bf16 ? pass(v, info.is_quantized ? "packed" : "bf16", false, info.is_quantized) : QVL_EXIT_OK;
}

/* ---- what is printed ------------------------------------------------------------------------------------- */

static const char *const what_name[] = {
    [PROMPT] = QVL_SAID("prompt ids"),   [PIXELS] = QVL_SAID("pixels"),       [VISION] = QVL_SAID("vision tower"),
    [DEEPSTACK] = QVL_SAID("deepstack"), [DECODER] = QVL_SAID("decoder"),     [LOGITS] = QVL_SAID("logits"),
    [ANSWER] = QVL_SAID("answer"),       [AGREEMENT] = QVL_SAID("next token")};

static bool is_all_right(const struct verify *v)
{
    for (size_t i = 0; i < v->n_row; i++)
        if (v->row[i].is_judged && !v->row[i].is_right)
            return false;
    return true;
}

static enum qvl_status add_found(struct verify *v, struct qvl_bytes *out, const struct row *r)
{
    struct qvl_error *err = &v->err;
    switch (r->what) {
    case PROMPT:
    case ANSWER:
        if (r->n_same == r->n && r->is_right)
            return qvl_bytes_add_format(out, err, qvl_text("all %zu equal"), r->n);
        if (r->is_tie)
            return qvl_bytes_add_format(
                out, err, qvl_text("%zu of %zu equal; then the reference's two best are nearer than the limit"),
                r->n_same, r->n);
        return qvl_bytes_add_format(out, err, qvl_text("%zu of %zu equal, then %u instead of %u"), r->n_same, r->n,
                                    r->got, r->expected);
    case PIXELS:
        if (r->is_right)
            return qvl_bytes_add_format(out, err, qvl_text("all %zu equal"), r->n);
        if (isinf(r->error))
            return qvl_bytes_add_text(out, qvl_text("of another size"), err);
        return qvl_bytes_add_format(out, err,
                                    qvl_text("picture or clip %zu differs; by %.0f of 255 in the rows kept"),
                                    r->n_same + 1, r->error);
    case AGREEMENT:
        return qvl_bytes_add_format(out, err, qvl_text("the same best one at %.2f %% of %zu, mean divergence %.1e"),
                                    100 * r->same, r->n, r->error);
    default:
        if (r->first)
            return qvl_bytes_add_format(out, err, qvl_text("%.1e of the largest (%s); the first beyond is %s"),
                                        r->error, r->worst, r->first);
        return qvl_bytes_add_format(out, err, qvl_text("%.1e of the largest (%s)"), r->error, r->worst);
    }
}

static enum qvl_status add_limit(struct verify *v, struct qvl_bytes *out, const struct row *r)
{
    if (!r->is_judged)
        return qvl_bytes_add_text(out, "\n", &v->err);
    if (r->what == AGREEMENT)
        return qvl_bytes_add_format(out, &v->err,
                                    r->limit > BF16_KL ? qvl_text("   [at least %.4g %% and at most %g]\n")
                                                       : qvl_text("   [at least %.4g %% or at most %g]\n"),
                                    100 * r->same_limit, r->limit);
    if (r->what == PROMPT || r->what == PIXELS || r->what == ANSWER)
        return qvl_bytes_add_text(out, qvl_text("   [equal]\n"), &v->err);
    return qvl_bytes_add_format(out, &v->err, qvl_text("   [at most %g]\n"), r->limit);
}

static enum qvl_status add_text_row(struct verify *v, struct qvl_bytes *out, const struct row *r)
{
    const char *verdict = !r->is_judged ? "-" : r->is_right ? qvl_text("ok") : qvl_text("NOT");
    enum qvl_status status = qvl_terminal_add_column(out, verdict, 4, &v->err);
    if (!status)
        status = qvl_terminal_add_column(out, r->pass, 7, &v->err);
    if (!status)
        status = qvl_terminal_add_column(out, r->case_name[0] ? r->case_name : qvl_text("all"), 13, &v->err);
    if (!status)
        status = qvl_terminal_add_column(out, qvl_text(what_name[r->what]), 14, &v->err);
    if (!status)
        status = add_found(v, out, r);
    return status ? status : add_limit(v, out, r);
}

/* What follows from the table, for whoever reads only one line. */
static enum qvl_status add_verdict(struct verify *v, struct qvl_bytes *out)
{
    const struct row *last = &v->row[v->n_row - 1];
    if (!is_all_right(v))
        return qvl_bytes_add_text(
            out,
            qvl_text("NOT the same: this build, or these weights, are not what the reference was made with. Of two "
                     "checkpoints of the same sizes the first rows would already differ (decoder.embed).\n"),
            &v->err);
    if (last->what == AGREEMENT && last->limit > BF16_KL)
        return qvl_bytes_add_text(
            out, qvl_text("the same, within what weights or keys and values in fewer bits are allowed\n"), &v->err);
    return qvl_bytes_add_text(out, qvl_text("the same: this build computes what the reference computes\n"),
                              &v->err);
}

enum likeness { UNKNOWN, SAME, OTHER };

/* Whether MODEL's config.json is byte for byte the reference's; UNKNOWN where it has none. A note, since copies
 * that were quantised or saved again have another one and may compute the same. */
static enum likeness compare_config(const struct verify *v)
{
    struct qvl_bytes path = {0}, config = {0};
    struct qvl_error why = {0};
    struct sha256_ctx sha;
    uint8_t sum[SUM_BYTES];
    char digits[2 * SUM_BYTES + 1] = "";
    if (!qvl_bytes_add_format(&path, &why, "%s/config.json", v->model) &&
        !qvl_os_read_file(path.data, QVL_MAX_CONFIG_BYTES, &config, &why)) {
        sha256_init(&sha);
        sha256_update(&sha, config.n, (const uint8_t *)config.data);
        sha256_digest(&sha, sizeof sum, sum);
        qvl_hex(sum, sizeof sum, digits);
    }
    qvl_bytes_free(&path);
    qvl_bytes_free(&config);
    if (!digits[0] || !v->ref.config_sha256[0])
        return UNKNOWN;
    return strcmp(digits, v->ref.config_sha256) == 0 ? SAME : OTHER;
}

static enum qvl_status add_table(struct verify *v, struct qvl_bytes *out)
{
    const struct qvl_reference *r = &v->ref;
    enum qvl_status status =
        qvl_bytes_add_format(out, &v->err, qvl_text("%s beside %s: transformers %s, torch %s, %s on %s\n"),
                             v->model, r->model, r->transformers, r->torch, r->dtype, r->device);
    if (!status && r->is_rounded)
        status = qvl_bytes_add_text(
            out, qvl_text("the reference itself is rounded: only ids, pixels and the next token are judged\n"),
            &v->err);
    if (!status && compare_config(v) == OTHER)
        status = qvl_bytes_add_text(out, qvl_text("config.json is not the one that the reference was made with\n"),
                                    &v->err);
    for (size_t i = 0; i < v->n_row && !status; i++)
        status = add_text_row(v, out, &v->row[i]);
    return status ? status : add_verdict(v, out);
}

/* A number that JSON can hold: what is infinite is null. */
static enum qvl_status add_json_number(struct verify *v, struct qvl_bytes *out, const char *key, double x)
{
    return isfinite(x) ? qvl_bytes_add_format(out, &v->err, ",\"%s\":%.9g", key, x)
                       : qvl_bytes_add_format(out, &v->err, ",\"%s\":null", key);
}

static enum qvl_status add_json_text(struct verify *v, struct qvl_bytes *out, const char *key, const char *text)
{
    enum qvl_status status = qvl_bytes_add_format(out, &v->err, "\"%s\":", key);
    return status ? status : qvl_bytes_add_json_string(out, text, strlen(text), &v->err);
}

static enum qvl_status add_json_row(struct verify *v, struct qvl_bytes *out, const struct row *r)
{
    static const char *const key[] = {"prompt_ids", "pixels", "vision", "deepstack",
                                      "decoder",    "logits", "answer", "next_token"};
    bool is_ids = r->what == PROMPT || r->what == ANSWER || r->what == PIXELS;
    enum qvl_status status =
        qvl_bytes_add_format(out, &v->err, "{\"pass\":\"%s\",\"what\":\"%s\",\"ok\":%s,", r->pass, key[r->what],
                             !r->is_judged ? "null"
                             : r->is_right ? "true"
                                           : "false");
    if (!status)
        status = add_json_text(v, out, "case", r->case_name);
    if (!status && (is_ids || r->what == AGREEMENT))
        status = qvl_bytes_add_format(out, &v->err, ",\"n\":%zu", r->n);
    if (!status && is_ids)
        return qvl_bytes_add_format(out, &v->err, ",\"n_same\":%zu,\"tie\":%s}", r->n_same,
                                    r->is_tie ? "true" : "false");
    if (!status && !(status = add_json_number(v, out, r->what == AGREEMENT ? "kl_mean" : "error", r->error)))
        status = add_json_number(v, out, "limit", r->limit);
    if (!status && r->what == AGREEMENT && !(status = add_json_number(v, out, "same_best", r->same)))
        status = add_json_number(v, out, "same_best_limit", r->same_limit);
    if (!status && r->worst && !(status = qvl_bytes_add_text(out, ",", &v->err)))
        status = add_json_text(v, out, "worst", r->worst);
    if (!status && r->first && !(status = qvl_bytes_add_text(out, ",", &v->err)))
        status = add_json_text(v, out, "first_beyond", r->first);
    return status ? status : qvl_bytes_add_text(out, "}", &v->err);
}

static enum qvl_status add_json(struct verify *v, struct qvl_bytes *out)
{
    const struct qvl_reference *r = &v->ref;
    const char *const member[][2] = {{"model", v->model},           {"reference", v->ref_path},
                                     {"reference_model", r->model}, {"transformers", r->transformers},
                                     {"torch", r->torch},           {"dtype", r->dtype},
                                     {"device", r->device},         {"config_sha256", r->config_sha256}};
    static const char *const is_same[] = {[UNKNOWN] = "null", [SAME] = "true", [OTHER] = "false"};
    enum qvl_status status = qvl_bytes_add_format(out, &v->err, "{\"qvl\":\"%s\",\"ok\":%s,", QVL_VERSION,
                                                  is_all_right(v) ? "true" : "false");
    for (size_t i = 0; i < sizeof member / sizeof *member && !status; i++)
        if (!(status = add_json_text(v, out, member[i][0], member[i][1])))
            status = qvl_bytes_add_text(out, ",", &v->err);
    if (!status)
        status = qvl_bytes_add_format(out, &v->err, "\"same_config\":%s,\"rows\":[", is_same[compare_config(v)]);
    for (size_t i = 0; i < v->n_row && !status; i++)
        if (!(status = qvl_bytes_add_text(out, i ? "," : "", &v->err)))
            status = add_json_row(v, out, &v->row[i]);
    return status ? status : qvl_bytes_add_text(out, "]}\n", &v->err);
}

static enum qvl_exit print_result(struct verify *v)
{
    struct qvl_bytes out = {0};
    enum qvl_status status = (v->options->want_json ? add_json : add_table)(v, &out);
    if (!status)
        status = qvl_write_stdout(out.data, out.n, &v->err);
    qvl_bytes_free(&out);
    return status ? qvl_exit_of(status, QVL_EXIT_USAGE) : is_all_right(v) ? QVL_EXIT_OK : QVL_EXIT_FAILURE;
}

/* ---- the verb -------------------------------------------------------------------------------------------- */

/* MODEL REF, or REF for the model of -m. */
static enum qvl_status read_words(struct verify *v)
{
    const struct qvl_options *o = v->options;
    if (o->n_item < 1 || o->n_item > 2)
        return qvl_fail(
            &v->err, QVL_ERR_ARGUMENT,
            "verify takes a model and the file that reference/verify.py wrote of it: qvl verify MODEL REF");
    v->model = o->n_item == 2 ? o->item[0].value : o->model;
    v->ref_path = o->item[o->n_item - 1].value;
    return qvl_reference_open(v->ref_path, &v->ref, &v->err);
}

enum qvl_exit qvl_verify_model(const struct qvl_options *options)
{
    struct verify v = {.options = options};
    qvl_progress_open(&v.progress, options->progress, options->is_quiet);
    /* as of diff and cmp: 1 is a difference, 2 that nothing could be compared */
    enum qvl_exit code = read_words(&v) ? QVL_EXIT_USAGE : run_passes(&v);
    qvl_progress_clear(&v.progress);
    if (code == QVL_EXIT_CANCELLED && qvl_signals_exit_code())
        code = (enum qvl_exit)qvl_signals_exit_code();
    else if (code == QVL_EXIT_OK)
        code = print_result(&v);
    if (v.err.status && v.err.status != QVL_ERR_CANCELLED)
        qvl_say_error(&v.err);
    qvl_engine_close(v.engine);
    qvl_reference_close(&v.ref);
    free(v.row);
    return code;
}
