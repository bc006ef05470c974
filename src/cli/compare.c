/* qvl compare: two variants of a model asked what they expect of the same texts, and of one variant's own answers
 * about pictures and clips.
 *
 * A text is cut into windows of WINDOW tokens, each of which starts anew; every token but a window's first is a
 * position. Of a picture or clip the first variant answers the question, greedily, and both are asked about that
 * answer. The logits of the first variant are kept for a window (of the 2B: 311 MB) and compared as those of the
 * second come. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/gguf.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "cli/compare_stats.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/verbs.h"

enum { WINDOW = 512, ANSWER_TOKENS = 64, MAX_TEXT_BYTES = 16 << 20 };

enum what { TEXTS, PICTURES, N_WHAT };

struct compare {
    const struct qvl_options *options;
    const char *dir[2];
    struct qvl_engine *engine[2];
    const struct qvl_item *file; /* [n_file] */
    size_t n_file;
    struct qvl_progress progress;
    struct qvl_compare_stats stats[N_WHAT];
    /* the window on hand */
    enum what what;
    const uint32_t *ids;
    float *logits; /* [WINDOW, n_logit] of the first variant */
    size_t n_logit;
    uint64_t n_prompt[2];
    struct qvl_error err;
};

/* ---- one window -------------------------------------------------------------------------------------- */

static void keep_logits(void *user, size_t i, const float *logits, size_t n_logit)
{
    struct compare *c = user;
    if (!c->logits && !c->err.status) {
        c->n_logit = n_logit;
        c->logits = malloc(WINDOW * n_logit * sizeof *c->logits);
        if (!c->logits)
            qvl_fail_memory(&c->err, WINDOW * n_logit * sizeof *c->logits, "the comparison");
    }
    if (!c->err.status)
        memcpy(c->logits + i * n_logit, logits, n_logit * sizeof *logits);
}

static void compare_logits(void *user, size_t i, const float *logits, size_t n_logit)
{
    struct compare *c = user;
    if (!c->err.status && n_logit != c->n_logit)
        qvl_fail(&c->err, QVL_ERR_ARGUMENT, "%s and %s have vocabularies of %zu and %zu tokens", c->dir[0],
                 c->dir[1], c->n_logit, n_logit);
    if (!c->err.status)
        qvl_compare_add(&c->stats[c->what], c->logits + i * n_logit, logits, n_logit, c->ids[i], &c->err);
}

/* To the end of the request; its error, or that of a callback. */
static enum qvl_status run_request(struct compare *c, int which, const struct qvl_chat *chat,
                                   const struct qvl_request_options *wish, uint32_t **out_ids, size_t *out_n)
{
    struct qvl_request *request = NULL;
    struct qvl_request_info info;
    struct qvl_event event = {0};
    struct qvl_error err = {0};
    enum qvl_status status = qvl_request_open(c->engine[which], chat, wish, &request, &err);
    qvl_signals_set_request(request);
    while (!status && event.kind != QVL_EVENT_DONE)
        status = qvl_request_next(request, &event, &err);
    qvl_signals_set_request(NULL);
    if (!status) {
        qvl_request_get_info(request, &info);
        c->n_prompt[which] = info.n_prompt_tok;
        if (out_ids && !(*out_ids = malloc((info.n_output_tok + 1) * sizeof **out_ids)))
            status = qvl_fail_memory(&err, info.n_output_tok * sizeof **out_ids, "the comparison");
        else if (out_ids)
            memcpy(*out_ids, info.output_ids, (*out_n = info.n_output_tok) * sizeof **out_ids);
    }
    qvl_request_close(request);
    if (status)
        c->err = err;
    return c->err.status;
}

static const struct qvl_request_options greedy = {.sampling = {.top_p = 1, .repetition_penalty = 1}};

/* Both variants' expectations of n <= WINDOW ids behind the conversation. */
static enum qvl_status score(struct compare *c, const struct qvl_chat *chat, const uint32_t *ids, size_t n)
{
    struct qvl_request_options wish = greedy;
    wish.scoring = (struct qvl_scoring){ids, n, keep_logits, c};
    c->ids = ids;
    if (run_request(c, 0, chat, &wish, NULL, NULL))
        return c->err.status;
    wish.scoring.logits = compare_logits;
    if (run_request(c, 1, chat, &wish, NULL, NULL))
        return c->err.status;
    if (c->n_prompt[0] != c->n_prompt[1])
        return qvl_fail(&c->err, QVL_ERR_ARGUMENT,
                        "%s and %s make prompts of different length: they cannot be compared", c->dir[0],
                        c->dir[1]);
    return QVL_OK;
}

/* ---- files ------------------------------------------------------------------------------------------- */

/* The tokens of a text, which both variants must cut alike. */
static enum qvl_status tokenize(struct compare *c, const char *path, uint32_t **ids, size_t *n)
{
    struct qvl_bytes text = {0};
    uint32_t *other = NULL;
    size_t n_other = 0;
    enum qvl_status status = qvl_os_read_file(path, MAX_TEXT_BYTES, &text, &c->err);
    if (!status &&
        !(status = qvl_tokenize(c->engine[0], text.data ? text.data : "", text.n, false, ids, n, &c->err)))
        status = qvl_tokenize(c->engine[1], text.data ? text.data : "", text.n, false, &other, &n_other, &c->err);
    if (!status && (*n != n_other || (*n && memcmp(*ids, other, *n * sizeof **ids) != 0)))
        status = qvl_fail(&c->err, QVL_ERR_ARGUMENT, "%s and %s have different tokenizers", c->dir[0], c->dir[1]);
    if (!status && *n < 2)
        status = qvl_fail(&c->err, QVL_ERR_MEDIA, "%s: a text of %zu tokens: two are the least", path, *n);
    qvl_free(other);
    qvl_bytes_free(&text);
    return status;
}

static void show(struct compare *c, size_t i_file, size_t done, size_t total)
{
    double share = ((double)i_file + (double)done / (double)total) / (double)c->n_file;
    qvl_progress_show_share(&c->progress, qvl_text("comparing"), share);
}

static enum qvl_status compare_text(struct compare *c, size_t i_file)
{
    uint32_t *ids = NULL;
    size_t n = 0;
    enum qvl_status status = tokenize(c, c->file[i_file].value, &ids, &n);
    c->what = TEXTS;
    for (size_t i = 0; i + 2 <= n && !status; i += WINDOW) {
        show(c, i_file, i, n);
        status = score(c, &(struct qvl_chat){0}, ids + i, qvl_min_size(n - i, WINDOW));
    }
    qvl_free(ids);
    return status;
}

static enum qvl_status compare_media(struct compare *c, enum qvl_part_kind kind, size_t i_file,
                                     const char *question)
{
    struct qvl_input input = {0};
    struct qvl_request_options wish = greedy;
    uint32_t *ids = NULL;
    size_t n = 0;
    wish.max_tokens = c->options->max_tokens ? (uint32_t)c->options->max_tokens : ANSWER_TOKENS;
    wish.max_tokens = wish.max_tokens < WINDOW ? wish.max_tokens : WINDOW;
    enum qvl_status status = qvl_input_add_media(c->options, kind, c->file[i_file].value, &input, &c->err);
    if (!status)
        status = qvl_input_add_text(&input, question, strlen(question), &c->err);
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = input.part, .n_part = input.n_part};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    c->what = PICTURES;
    show(c, i_file, 0, 2);
    if (!status && !(status = run_request(c, 0, &chat, &wish, &ids, &n))) {
        show(c, i_file, 1, 2);
        status = score(c, &chat, ids, n);
    }
    free(ids);
    qvl_input_close(&input);
    return status;
}

static enum qvl_status compare_files(struct compare *c, const char *question)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < c->n_file && !status; i++) {
        enum qvl_part_kind kind;
        if (c->file[i].kind == QVL_ITEM_TEXT)
            continue;
        if (qvl_input_find_kind(c->file[i].value, &kind))
            status = compare_media(c, kind, i, question);
        else
            status = compare_text(c, i);
    }
    qvl_progress_clear(&c->progress);
    return status;
}

/* ---- what came of it --------------------------------------------------------------------------------- */

static enum qvl_status add_json_row(const char *name, const struct qvl_compare_result *r, struct qvl_bytes *out,
                                    struct qvl_error *err)
{
    return qvl_bytes_add_format(out, err,
                                ",\"%s\":{\"positions\":%zu,\"kl_mean\":%.9g,\"kl_median\":%.9g,\"kl_p99\":%.9g,"
                                "\"same_best\":%.9g,\"perplexity\":[%.9g,%.9g]}",
                                name, r->n, r->mean, r->median, r->p99, r->same_best, r->perplexity[0],
                                r->perplexity[1]);
}

static enum qvl_status add_row(const char *name, const struct qvl_compare_result *r, struct qvl_bytes *out,
                               struct qvl_error *err)
{
    return qvl_bytes_add_format(out, err, "%-9s %9zu  %9.6f  %9.6f  %9.6f  %8.2f %%  %10.4f  %10.4f\n", name, r->n,
                                r->mean, r->median, r->p99, 100 * r->same_best, r->perplexity[0], r->perplexity[1]);
}

static enum qvl_status add_head(struct compare *c, struct qvl_bytes *out)
{
    static const char *const quantize[] = {"none", "q8", "q4", "balanced"}; /* while loading */
    enum qvl_status status;
    if (!c->options->want_json)
        return qvl_bytes_add_text(
            out, "          positions    KL mean     median       99 %  same best           PPL A       PPL B\n",
            &c->err);
    if ((status = qvl_bytes_add_text(out, "{\"a\":", &c->err)) ||
        (status = qvl_bytes_add_json_string(out, c->dir[0], strlen(c->dir[0]), &c->err)) ||
        (status = qvl_bytes_add_text(out, ",\"b\":", &c->err)))
        return status;
    if ((status = qvl_bytes_add_json_string(out, c->dir[1], strlen(c->dir[1]), &c->err)))
        return status;
    return qvl_bytes_add_format(
        out, &c->err, ",\"b_quantize\":\"%s\",\"b_quantize_vision\":%s,\"b_kv\":\"%s\",\"b_dtype\":\"%s\"",
        quantize[c->options->quantize], c->options->want_vision_q8 ? "true" : "false",
        c->options->kv == QVL_KV_INT8 ? "int8" : "as computed",
        c->options->dtype == QVL_COMPUTE_F32 ? "f32" : "bf16");
}

static enum qvl_status print_result(struct compare *c)
{
    static const char *const names[] = {[TEXTS] = "texts", [PICTURES] = "pictures"};
    struct qvl_bytes out = {0};
    enum qvl_status status = add_head(c, &out);
    for (int i = 0; i < N_WHAT && !status; i++) {
        if (c->stats[i].n == 0)
            continue;
        struct qvl_compare_result result = qvl_compare_finish(&c->stats[i]);
        status = (c->options->want_json ? add_json_row : add_row)(names[i], &result, &out, &c->err);
    }
    if (!status && c->options->want_json)
        status = qvl_bytes_add_text(&out, "}\n", &c->err);
    if (!status)
        status = qvl_write_stdout(out.data, out.n, &c->err);
    qvl_bytes_free(&out);
    return status;
}

/* ---- the variants ------------------------------------------------------------------------------------ */

/* A folder, or a GGUF file (with its tower's behind a comma). */
static bool is_model(const char *path)
{
    struct qvl_bytes config = {0};
    struct qvl_gguf_pair pair;
    if (!qvl_gguf_pair_find(path, &pair, &(struct qvl_error){0}) && pair.is_found)
        return true;
    bool is = qvl_os_is_folder(path) &&
              !qvl_bytes_add_format(&config, &(struct qvl_error){0}, "%s/config.json", path) &&
              qvl_os_is_there(config.data);
    qvl_bytes_free(&config);
    return is;
}

/* The first word is A; the second one B where it is a model, else B is A with what the options say. */
static enum qvl_status find_variants(struct compare *c)
{
    const struct qvl_options *o = c->options;
    bool is_changed = o->quantize != QVL_QUANTIZE_NONE || o->want_vision_q8 || o->kv != QVL_KV_AS_COMPUTED ||
                      o->dtype != QVL_COMPUTE_BF16;
    size_t n_dir = o->n_item > 1 && is_model(o->item[1].value) ? 2 : 1;
    if (o->n_item == 0)
        return qvl_fail(&c->err, QVL_ERR_ARGUMENT,
                        "compare takes a model folder A, a second one B or what makes B of A (--quantize, --kv, "
                        "--dtype), and texts and pictures");
    c->dir[0] = o->item[0].value;
    c->dir[1] = o->item[n_dir - 1].value;
    if (n_dir == 1 && !is_changed)
        return qvl_fail(
            &c->err, QVL_ERR_ARGUMENT,
            "%s is compared with itself: name a second model folder, or say --quantize, --kv or --dtype",
            c->dir[0]);
    c->file = o->item + n_dir;
    c->n_file = o->n_item - n_dir;
    return QVL_OK;
}

static enum qvl_exit open_variants(struct compare *c)
{
    struct qvl_options one = *c->options;
    enum qvl_exit code = QVL_EXIT_OK;
    for (int i = 1; i >= 0; i--) { /* B first: it has the options */
        one.model = c->dir[i];
        one.is_demo_model = false;
        if (!(c->engine[i] = qvl_open_engine(&one, &code)))
            return code;
        one.quantize = QVL_QUANTIZE_FLOATS;
        one.kv = QVL_KV_AS_COMPUTED;
        one.dtype = QVL_COMPUTE_BF16;
        one.want_vision_q8 = false;
    }
    for (int i = 0; i < 2; i++)
        if (qvl_progress_load(&c->progress, c->engine[i], &c->err))
            return qvl_exit_of(c->err.status, QVL_EXIT_MODEL);
    return QVL_EXIT_OK;
}

static const char *find_question(const struct compare *c, size_t *n_file)
{
    const char *question = "Describe this picture."; /* in any language of messages: figures are to be compared */
    *n_file = 0;
    for (size_t i = 0; i < c->n_file; i++) {
        if (c->file[i].kind == QVL_ITEM_TEXT)
            question = c->file[i].value;
        else
            ++*n_file;
    }
    return question;
}

static enum qvl_exit compare(struct compare *c)
{
    size_t n_file;
    enum qvl_status status = find_variants(c);
    if (status)
        return QVL_EXIT_USAGE;
    const char *question = find_question(c, &n_file);
    if (n_file == 0) {
        qvl_fail(&c->err, QVL_ERR_ARGUMENT, "there is no text and no picture to compare on");
        return QVL_EXIT_USAGE;
    }
    enum qvl_exit code = open_variants(c);
    if (code != QVL_EXIT_OK)
        return code;
    if (!(status = compare_files(c, question)))
        status = print_result(c);
    return qvl_exit_of(status, QVL_EXIT_MEDIA);
}

enum qvl_exit qvl_compare_models(const struct qvl_options *options)
{
    struct compare c = {.options = options};
    qvl_progress_open(&c.progress, options->progress, options->is_quiet);
    enum qvl_exit code = compare(&c);
    if (code == QVL_EXIT_CANCELLED && qvl_signals_exit_code())
        code = (enum qvl_exit)qvl_signals_exit_code();
    else if (c.err.status)
        qvl_say_error(&c.err);
    for (int i = 0; i < 2; i++)
        qvl_engine_close(c.engine[i]);
    for (int i = 0; i < N_WHAT; i++)
        qvl_compare_free(&c.stats[i]);
    free(c.logits);
    return code;
}
