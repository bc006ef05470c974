/* DESIGN. One thread runs one step at a time, each on the whole thread pool. A step is one of
 *   - decode: one token for each of up to MAX_BATCH generating requests, together; of few requests also some
 *     tokens that are guessed to follow (lookup.h);
 *   - a unit of one request that has not answered yet: one stage of the vision tower for the next picture, or one
 *     chunk of its prompt. A picture (of a clip: a group of temporal patches) is encoded when the prefill comes to
 *     it (what the vision cache knows is taken from there) and its features are released when the prefill has
 *     passed it, so memory does not grow with the number of pictures or the length of a clip.
 * When both kinds are wanted they alternate; inside a kind, clients take turns, and a client's requests among them
 * (turns.h). So a stream waits for at most one unit between two of its tokens (where more than MAX_BATCH generate,
 * for its turn among them, too), and a new request starts within one turn of the others.
 *
 * Before any of it a request waits until there is room for its keys and values (admission.h). Blocks that it fills
 * are known to the prefix cache at once (prefix.h), so that those that come while it runs can share them.
 *
 * The bits of a request do not depend on its company (kernel.h), so neither turns nor batches need to be
 * reproducible.
 *
 * Guesses. They are what followed the same tokens before (lookup.h), or what a constraint leaves no choice about
 * (the keys of an object). The rows of a draft have the bits that steps of their own would have given them, as long
 * as the draft is right. So each is sampled as if it were alone, in order, up to the first token that is not the
 * guessed one; the rows behind that leave the cache. A reader of the output cannot tell, at any temperature.
 *
 * Cancelling. A unit serves one request and gets its cancel flag, which stops it midway; a decode step is
 * short. The caller learns of the cancel at once; closing the request waits until the step it is in has ended
 * (is_in_step). A cancelled request is never chosen again, and what it held is free before the next step, also when
 * its caller takes his time to close it.
 *
 * Lock. The engine's lock guards the list of requests and the fields marked "shared"; it is held for a few
 * copies at a time, never during a step. The scheduler waits on `work`, a caller on its request's `changed`.
 *
 * Frames. The tower takes them from the request's feed, which the caller fills on its own thread, before the
 * request is submitted and then whenever there is room and no event for it. A request whose next group of temporal
 * patches is not there yet is not chosen, so decoding, vision and prefill go on at the same time, and nobody waits
 * for another one's decoder.
 *
 * Disk. What the vision cache does not know may lie in its folder. The caller reads it, as it reads frames, before the
 * group goes to the tower; the request is not chosen meanwhile (is_disk_asked). What the tower made is written by a thread
 * that nobody waits for (feature_writer.h).
 *
 * Back-pressure. A request whose event queue has no room for what a step may make is not chosen until its caller
 * took an event. */
#include "engine/scheduler.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/limits.h"
#include "engine/admission.h"
#include "engine/feature_folder.h"
#include "engine/feature_writer.h"
#include "engine/tower_identity.h"

enum {
    MAX_BATCH = 16,                  /* sequences in one decode step */
    MAX_TOKENS = 1 + QVL_LOOKUP_MAX, /* that a decode step makes for one of them */
    N_CHEAP_ROW = MAX_TOKENS         /* rows of a decode step up to which guesses may fill it */
};

struct qvl_scheduler {
    struct qvl_engine *engine;
    pthread_t thread;
    /* under the lock */
    bool is_closing;
    struct qvl_request *request[QVL_MAX_REQUESTS];
    size_t n_request;
    /* the thread's own */
    struct qvl_admission admission;
    struct qvl_request *candidate[QVL_MAX_REQUESTS]; /* while a step is chosen */
    bool was_decode;
    struct qvl_decoder *decoder;
    struct qvl_vision_memory memory; /* what was seen before */
    struct qvl_batch_row *row;       /* [n_row_max] */
    size_t n_row_max;
};

enum step_kind { STEP_DECODE, STEP_UNIT };

struct step {
    enum step_kind kind;
    struct qvl_request *request[MAX_BATCH];
    size_t n;
};

/* ---- the next unit of a request ------------------------------------------------------------------ */

static struct qvl_patch_features **place_of(const struct qvl_request *r, const struct qvl_span *span)
{
    return &r->feed.item[span->i_media].patch[qvl_span_patch(span)];
}

static bool has_features(const struct qvl_request *r, const struct qvl_span *span)
{
    const struct qvl_patch_features *patch = *place_of(r, span);
    return patch && patch->features.row;
}

/* The first picture or temporal patch that the prompt tokens before `end` need and that has no features yet; or
 * NULL. */
static const struct qvl_span *find_unseen(const struct qvl_request *r, size_t end)
{
    for (size_t i = 0; i < r->prompt.n_span; i++) {
        const struct qvl_span *span = &r->prompt.span[i];
        if (span->is_visual && span->begin < end && span->begin + span->n_tok > r->n_prefilled &&
            !has_features(r, span))
            return span;
    }
    return NULL;
}

/* Where the next chunk of the prompt ends. What is left is cut into as few chunks as the limit allows, of nearly
 * equal size: a short last one would read all weights for a few rows. */
static size_t next_chunk_end(const struct qvl_request *r, size_t n_max)
{
    size_t n_left = r->prompt.ids.n - r->n_prefilled, n_chunk = qvl_div_up(n_left, n_max);
    return r->n_prefilled + qvl_div_up(n_left, n_chunk);
}

/* Whether the frames are there that the next unit begins with. Lock held. */
static bool has_frames(const struct qvl_scheduler *s, const struct qvl_request *r)
{
    const struct qvl_span *span =
        r->group.item ? NULL : find_unseen(r, next_chunk_end(r, s->engine->n_prefill_chunk));
    if (!span)
        return true;
    const struct qvl_media_item *item = &r->feed.item[span->i_media];
    return qvl_feed_has(item, qvl_media_group_end(item, qvl_span_patch(span) / item->n_group_patch));
}

/* ---- choosing (lock held) ------------------------------------------------------------------------ */

static bool is_active(const struct qvl_request *r)
{
    return !r->is_ended && !atomic_load_explicit(&r->is_cancelled, memory_order_relaxed);
}

static bool is_before_answer(const struct qvl_request *r)
{
    return r->n_prefilled < r->prompt.ids.n;
}

static bool has_trace(const struct qvl_request *r)
{
    return r->options.trace.tensor != NULL;
}

/* Whether r may take part in a step of this kind. */
static bool is_eligible(const struct qvl_scheduler *s, const struct qvl_request *r, enum step_kind kind)
{
    if (!is_active(r) || !r->is_begun || is_before_answer(r) != (kind == STEP_UNIT))
        return false;
    if (kind == STEP_UNIT)
        return !r->is_feed_astray && !r->is_disk_asked && has_frames(s, r);
    return qvl_event_queue_n_free(&r->queue) >= MAX_TOKENS;
}

/* Takes the one whose turn it is out of n candidates. */
static struct qvl_request *take_candidate(struct qvl_request **candidate, size_t n, enum qvl_turn_kind kind)
{
    size_t i_first = 0;
    for (size_t i = 1; i < n; i++)
        if (qvl_turn_is_before(&candidate[i]->turn, &candidate[i_first]->turn, kind))
            i_first = i;
    struct qvl_request *first = candidate[i_first];
    candidate[i_first] = candidate[n - 1];
    return first;
}

/* Fills step->request with those that take part, in turn. A traced request decodes alone, so that its
 * intermediates hold its own rows only. */
static void gather(struct qvl_scheduler *s, enum step_kind kind, struct step *step)
{
    enum qvl_turn_kind turn_kind = kind == STEP_UNIT ? QVL_TURN_UNIT : QVL_TURN_DECODE;
    size_t n_max = kind == STEP_UNIT ? 1 : MAX_BATCH, n = 0;
    for (size_t i = 0; i < s->n_request; i++)
        if (is_eligible(s, s->request[i], kind))
            s->candidate[n++] = s->request[i];
    *step = (struct step){.kind = kind};
    while (n > 0 && step->n < n_max) {
        struct qvl_request *r = take_candidate(s->candidate, n--, turn_kind);
        if (step->n > 0 && has_trace(r))
            continue;
        step->request[step->n++] = r;
        qvl_turns_take(&s->engine->turns, &r->turn, turn_kind);
        if (has_trace(r))
            break;
    }
}

static bool is_wanted(const struct qvl_scheduler *s, enum step_kind kind)
{
    for (size_t i = 0; i < s->n_request; i++)
        if (is_eligible(s, s->request[i], kind))
            return true;
    return false;
}

/* False when there is nothing to do. */
static bool choose_step(struct qvl_scheduler *s, struct step *step)
{
    bool want_unit = is_wanted(s, STEP_UNIT), want_decode = is_wanted(s, STEP_DECODE);
    if (!want_unit && !want_decode)
        return false;
    s->was_decode = want_decode && !(want_unit && s->was_decode);
    gather(s, s->was_decode ? STEP_DECODE : STEP_UNIT, step);
    for (size_t i = 0; i < step->n; i++)
        step->request[i]->is_in_step = true;
    return true;
}

/* ---- telling the caller -------------------------------------------------------------------------- */

static void release_features(struct qvl_patch_features **place)
{
    qvl_patch_features_release(*place);
    *place = NULL;
}

/* Frees what an answer needs while it is made; not the frames, which the caller may be filling, nor a cache that a
 * session gets back. */
static void free_work(struct qvl_request *r)
{
    qvl_vision_group_close(&r->group);
    if (!r->session)
        qvl_prefix_leave_rest(r);
    qvl_prefix_end(r);
    if (!r->session)
        qvl_kv_free(&r->kv);
    for (size_t i = 0; i < r->prompt.n_span; i++)
        if (r->prompt.span[i].is_visual)
            release_features(place_of(r, &r->prompt.span[i]));
}

/* The answer is whole (err NULL) or failed. A cancelled request is left for its caller to close. */
static void end_request(struct qvl_request *r, const struct qvl_error *err)
{
    if (err && err->status == QVL_ERR_CANCELLED)
        return;
    free_work(r);
    pthread_mutex_lock(&r->engine->lock);
    if (err)
        r->error = *err;
    r->is_ended = true;
    r->ended_at_ms = qvl_now_ms();
    qvl_admission_end(r);
    r->engine->is_room_changed = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->engine->lock);
}

static void report_progress(struct qvl_request *r, enum qvl_stage stage, uint64_t done, uint64_t total,
                            uint32_t i_media)
{
    pthread_mutex_lock(&r->engine->lock);
    r->has_progress = true;
    r->stage = stage;
    r->progress_done = done;
    r->progress_total = total;
    r->i_media = i_media;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->engine->lock);
}

/* The next token of r's answer, from its logits, on its way to the caller. */
static enum qvl_status make_token(struct qvl_request *r, float *logits, struct qvl_error *err)
{
    struct qvl_answer *a = &r->answer;
    enum qvl_status status = qvl_answer_step(a, logits, err);
    if (status)
        return status;
    const struct qvl_text_event event = {.text = a->text,
                                         .is_reasoning = a->is_reasoning,
                                         .id = a->ids[a->n - 1],
                                         .logit = a->logit,
                                         .log_sum = a->log_sum,
                                         .top = a->top,
                                         .n_top = a->n_top};
    pthread_mutex_lock(&r->engine->lock);
    status = qvl_event_queue_push(&r->queue, &event, err);
    r->n_output = a->n;
    r->engine->stats.n_output_tok++;
    if (a->n == 1)
        r->first_token_at_ms = qvl_now_ms();
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->engine->lock);
    return status;
}

/* ---- units --------------------------------------------------------------------------------------- */

static struct qvl_batch make_batch(const struct qvl_scheduler *s, const struct qvl_request *first,
                                   struct qvl_kv **kv, size_t n_seq)
{
    return (struct qvl_batch){
        .row = s->row, .kv = kv, .n_seq = n_seq, .trace = has_trace(first) ? &first->options.trace : NULL};
}

/* Progress counts patches of the whole picture or clip: the stages of a group as equal shares of its patches. */
static void report_vision(struct qvl_request *r, const struct qvl_vision_group *group, uint32_t done,
                          uint32_t total)
{
    struct qvl_grid grid = group->item->plan->grid;
    uint64_t n_one = (uint64_t)grid.h * grid.w, n_patch = (group->end - group->begin) * n_one;
    report_progress(r, QVL_STAGE_VISION, group->begin * n_one + n_patch * done / total, qvl_grid_n_patch(grid),
                    group->item->i_shown);
}

static const struct qvl_trace *trace_of(const struct qvl_request *r)
{
    return has_trace(r) ? &r->options.trace : NULL;
}

/* *out_is_asked: its caller is to look into the folder first, and may be doing so already. */
static enum qvl_status begin_group(const struct qvl_scheduler *s, struct qvl_request *r,
                                   const struct qvl_span *span, bool *out_is_asked, struct qvl_error *err)
{
    struct qvl_media_item *item = &r->feed.item[span->i_media];
    const struct qvl_vision_settings settings = {
        .memory = s->memory, .salt = r->options.cache_salt, .trace = trace_of(r)};
    enum qvl_status status = qvl_vision_group_begin(
        &r->group, &settings, item, qvl_span_patch(span) / item->n_group_patch, out_is_asked, err);
    if (status || !*out_is_asked)
        return status;
    pthread_mutex_lock(&s->engine->lock);
    r->is_disk_asked = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&s->engine->lock);
    return QVL_OK;
}

/* Its frames make room for others. */
static enum qvl_status open_group(const struct qvl_scheduler *s, struct qvl_request *r, struct qvl_error *err)
{
    struct qvl_vision_group *group = &r->group;
    uint32_t n_reused = 0;
    enum qvl_status status = qvl_vision_group_open(group, &s->engine->model, trace_of(r), &n_reused, err);
    if (status)
        return status;
    pthread_mutex_lock(&s->engine->lock);
    group->item->n_reused += n_reused;
    s->engine->stats.n_patch_asked += group->end - group->begin;
    s->engine->stats.n_patch_found += n_reused;
    qvl_feed_release(group->item, group->end);
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&s->engine->lock);
    return QVL_OK;
}

/* Of the group on its way; where there is none, of the one that `unseen` stands in. */
static enum qvl_status run_vision_stage(const struct qvl_scheduler *s, struct qvl_request *r,
                                        const struct qvl_span *unseen, struct qvl_error *err)
{
    double start_ms = qvl_now_ms();
    uint32_t done = 0, total = 0;
    bool is_asked = false;
    enum qvl_status status = r->group.item ? QVL_OK : begin_group(s, r, unseen, &is_asked, err);
    if (status || is_asked)
        return status;
    if (!r->group.is_open)
        status = open_group(s, r, err);
    struct qvl_vision_group group = r->group; /* itself zero after the last step */
    if (!status)
        status = qvl_vision_group_step(&r->group, &r->is_cancelled, &done, &total, err);
    if (status)
        return status;
    pthread_mutex_lock(&r->engine->lock);
    r->vision_ms += qvl_now_ms() - start_ms;
    if (s->memory.cache)
        s->engine->stats.vision_cache_bytes = qvl_feature_cache_bytes(s->memory.cache);
    pthread_mutex_unlock(&r->engine->lock);
    report_vision(r, &group, done, total);
    return QVL_OK;
}

static bool is_scored(const struct qvl_request *r)
{
    return r->options.scoring.logits != NULL;
}

/* Prompt tokens [r->n_prefilled, end) as rows of the batch; the prompt's last one wants logits, or all that expect
 * a token to be scored. */
static void fill_prompt_rows(struct qvl_scheduler *s, const struct qvl_request *r, size_t end)
{
    const struct qvl_prompt *p = &r->prompt;
    const struct qvl_span *span = p->span;
    for (size_t i = r->n_prefilled; i < end; i++) {
        while (i >= span->begin + span->n_tok)
            span++;
        struct qvl_batch_row *row = &s->row[i - r->n_prefilled];
        *row = (struct qvl_batch_row){.id = p->ids.id[i],
                                      .pos = p->pos[i],
                                      .want_logits = is_scored(r) ? i >= r->first_scored : i + 1 == p->ids.n};
        if (span->is_visual) {
            row->features = &(*place_of(r, span))->features;
            row->i_feature = (uint32_t)(i - span->begin);
        }
    }
}

static void release_passed_features(struct qvl_request *r)
{
    for (size_t i = 0; i < r->prompt.n_span; i++) {
        const struct qvl_span *span = &r->prompt.span[i];
        if (span->is_visual && span->begin + span->n_tok <= r->n_prefilled)
            release_features(place_of(r, span));
    }
}

/* Of the chunk's rows [begin, end); logits [of those that wanted them, vocab]. */
static void tell_scores(const struct qvl_request *r, size_t begin, size_t end, const float *logits)
{
    const struct qvl_scoring *scoring = &r->options.scoring;
    size_t vocab = r->engine->config.text.vocab;
    for (size_t i = begin > r->first_scored ? begin : r->first_scored; i < end; i++, logits += vocab)
        scoring->logits(scoring->user, r->i_scored + i - r->first_scored, logits, vocab);
}

static enum qvl_status run_prefill_chunk(struct qvl_scheduler *s, struct qvl_request *r, size_t end,
                                         struct qvl_error *err)
{
    double start_ms = qvl_now_ms();
    struct qvl_kv *kv = &r->kv;
    float *logits = NULL;
    struct qvl_batch batch = make_batch(s, r, &kv, 1);
    batch.n_row = end - r->n_prefilled;
    batch.is_head_whole = is_scored(r);
    fill_prompt_rows(s, r, end);
    enum qvl_status status = qvl_kv_reserve(kv, end, err);
    if (status || (status = qvl_decoder_step(s->decoder, &batch, &r->is_cancelled, &logits, err)))
        return status;
    if (is_scored(r))
        tell_scores(r, r->n_prefilled, end, logits);
    size_t n_row = end - r->n_prefilled;
    r->n_prefilled = end;
    release_passed_features(r);
    qvl_prefix_leave(r);
    pthread_mutex_lock(&r->engine->lock);
    r->engine->stats.n_prompt_tok += n_row;
    r->prefill_ms += qvl_now_ms() - start_ms;
    pthread_mutex_unlock(&r->engine->lock);
    report_progress(r, QVL_STAGE_PREFILL, end, r->prompt.ids.n, 0);
    if (is_before_answer(r))
        return QVL_OK;
    if (is_scored(r)) {
        end_request(r, NULL);
        return QVL_OK;
    }
    if ((status = make_token(r, logits, err)))
        return status;
    if (r->answer.is_done)
        end_request(r, NULL);
    return QVL_OK;
}

static void run_unit(struct qvl_scheduler *s, struct qvl_request *r)
{
    struct qvl_error err = {0};
    if (r->queue_ms < 0) {
        pthread_mutex_lock(&r->engine->lock);
        r->queue_ms = qvl_now_ms() - r->submitted_ms;
        pthread_mutex_unlock(&r->engine->lock);
    }
    size_t end = next_chunk_end(r, s->engine->n_prefill_chunk);
    const struct qvl_span *unseen = r->group.item ? NULL : find_unseen(r, end);
    if (r->group.item || unseen ? run_vision_stage(s, r, unseen, &err) : run_prefill_chunk(s, r, end, &err))
        end_request(r, &err);
}

/* ---- decode -------------------------------------------------------------------------------------- */

/* One request in a decode step: a row for its newest token, and one for each token of its draft. */
struct decode_part {
    struct qvl_request *request;
    size_t i_row;                   /* its first row */
    uint32_t guess[QVL_LOOKUP_MAX]; /* [n_guess] what may follow the newest token */
    size_t n_guess, n_draft;        /* the first n_draft of them are computed */
    size_t n_used;                  /* rows that were sampled */
    struct qvl_error err;
};

struct decode {
    struct decode_part part[MAX_BATCH];
    size_t n_part, n_row;
    float *logits; /* [n_row, vocab] */
    size_t vocab;
};

/* Guesses what follows r's newest token. Drafts of all requests together fill the step up to N_CHEAP_ROW, an equal
 * share each: more rows would be paid for by those who have no draft. */
static void make_guess(const struct step *step, struct decode_part *part)
{
    struct qvl_request *r = part->request;
    const struct qvl_answer *a = &r->answer;
    struct qvl_lookup_text text = {r->prompt.ids.id, a->ids, r->prompt.ids.n, a->n};
    size_t n_share = N_CHEAP_ROW / step->n, n_left = a->set.max_tokens - a->n;
    if (r->options.no_lookup || has_trace(r)) /* a trace has a row for each token */
        return;
    part->n_guess = qvl_answer_guess(&r->answer, part->guess, QVL_LOOKUP_MAX);
    if (part->n_guess == 0)
        part->n_guess = qvl_lookup_draft(&text, part->guess);
    part->n_draft = qvl_lookup_worth(&r->lookup, qvl_min_size(part->n_guess, n_left - 1));
    part->n_draft = qvl_min_size(part->n_draft, n_share > 0 ? n_share - 1 : 0);
}

static void add_rows(struct qvl_scheduler *s, struct decode *d, const struct decode_part *part)
{
    const struct qvl_request *r = part->request;
    int32_t pos = r->prompt.next_pos + (int32_t)(r->kv.n_pos - r->prompt.ids.n);
    for (size_t i = 0; i <= part->n_draft; i++, pos++)
        s->row[d->n_row++] =
            (struct qvl_batch_row){.id = i == 0 ? r->answer.ids[r->answer.n - 1] : part->guess[i - 1],
                                   .pos = {pos, pos, pos},
                                   .i_seq = (uint32_t)(part - d->part),
                                   .want_logits = true};
}

/* Rows for those of the step that have room for one more token; the others are ended. Room for a draft is nice to
 * have. */
static void gather_rows(struct qvl_scheduler *s, const struct step *step, struct decode *d)
{
    for (size_t i = 0; i < step->n; i++) {
        struct qvl_request *r = step->request[i];
        struct decode_part *part = &d->part[d->n_part];
        struct qvl_error err = {0};
        *part = (struct decode_part){.request = r, .i_row = d->n_row};
        if (qvl_kv_reserve(&r->kv, r->kv.n_pos + 1, &err)) {
            end_request(r, &err);
            continue;
        }
        make_guess(step, part);
        if (part->n_draft > 0 && qvl_kv_reserve(&r->kv, r->kv.n_pos + 1 + part->n_draft, &err))
            part->n_draft = 0;
        add_rows(s, d, part);
        d->n_part++;
    }
}

/* Makes tokens from one request's rows, in order, as steps of one row would: the next row counts only if the token
 * that it was computed with is the one that came. */
static void sample_job(void *arg, size_t i, size_t i_thread)
{
    struct decode *d = arg;
    struct decode_part *part = &d->part[i];
    struct qvl_request *r = part->request;
    bool is_hit = true;
    (void)i_thread;
    for (size_t k = 0; k <= part->n_draft && is_hit && !r->answer.is_done; k++) {
        part->n_used++;
        if (make_token(r, d->logits + (part->i_row + k) * d->vocab, &part->err))
            return;
        is_hit = k < part->n_guess && r->answer.ids[r->answer.n - 1] == part->guess[k];
        if (k < part->n_guess)
            qvl_lookup_learn(&r->lookup, is_hit);
    }
}

/* The rows that were not used leave the cache. */
static void finish_part(struct decode_part *part)
{
    struct qvl_request *r = part->request;
    qvl_kv_retract(&r->kv, r->kv.n_pos - (1 + part->n_draft - part->n_used));
    qvl_prefix_leave(r);
    pthread_mutex_lock(&r->engine->lock);
    r->n_drafted += part->n_draft;
    r->n_accepted += part->n_used - 1;
    pthread_mutex_unlock(&r->engine->lock);
    if (part->err.status || r->answer.is_done)
        end_request(r, part->err.status ? &part->err : NULL);
}

static void run_decode(struct qvl_scheduler *s, const struct step *step)
{
    struct decode d = {.vocab = s->engine->config.text.vocab};
    struct qvl_kv *kv[MAX_BATCH];
    struct qvl_error err = {0};
    gather_rows(s, step, &d);
    if (d.n_part == 0)
        return;
    for (size_t i = 0; i < d.n_part; i++)
        kv[i] = &d.part[i].request->kv;
    struct qvl_batch batch = make_batch(s, d.part[0].request, kv, d.n_part);
    batch.n_row = d.n_row;
    const atomic_bool *stop = d.n_part == 1 ? &d.part[0].request->is_cancelled : NULL;
    if (qvl_decoder_step(s->decoder, &batch, stop, &d.logits, &err)) {
        for (size_t i = 0; i < d.n_part; i++)
            end_request(d.part[i].request, &err);
        return;
    }
    qvl_pool_run(s->engine->pool, d.n_part, sample_job, &d, NULL);
    for (size_t i = 0; i < d.n_part; i++)
        finish_part(&d.part[i]);
}

/* ---- the thread ---------------------------------------------------------------------------------- */

static struct qvl_request *find_cancelled(const struct qvl_scheduler *s)
{
    for (size_t i = 0; i < s->n_request; i++)
        if (!s->request[i]->is_ended && !s->request[i]->is_work_freed && !s->request[i]->is_disk_read &&
            atomic_load(&s->request[i]->is_cancelled))
            return s->request[i];
    return NULL;
}

/* What cancelled requests hold is free at once, whenever they are closed. Lock held, but for the work itself. */
static void free_cancelled(struct qvl_scheduler *s)
{
    struct qvl_request *r;
    while ((r = find_cancelled(s))) {
        r->is_in_step = r->is_work_freed = true;
        pthread_mutex_unlock(&s->engine->lock);
        free_work(r);
        pthread_mutex_lock(&s->engine->lock);
        qvl_admission_end(r);
        s->engine->is_room_changed = true;
        r->is_in_step = false;
        pthread_cond_broadcast(&r->changed);
    }
}

/* Waits for the next step; false when the engine closes. Lock held. */
static bool wait_for_step(struct qvl_scheduler *s, struct step *step)
{
    for (;;) {
        if (s->is_closing)
            return false;
        free_cancelled(s);
        if (s->engine->is_room_changed) {
            s->engine->is_room_changed = false;
            qvl_admission_run(&s->admission, s->engine, s->request, s->n_request);
        }
        if (choose_step(s, step))
            return true;
        pthread_cond_wait(&s->engine->work, &s->engine->lock);
    }
}

static void *scheduler_main(void *arg)
{
    struct qvl_scheduler *s = arg;
    pthread_mutex_t *lock = &s->engine->lock;
    struct step step;
    pthread_mutex_lock(lock);
    while (wait_for_step(s, &step)) {
        pthread_mutex_unlock(lock);
        if (step.kind == STEP_DECODE)
            run_decode(s, &step);
        else
            run_unit(s, step.request[0]);
        pthread_mutex_lock(lock);
        for (size_t i = 0; i < step.n; i++) {
            step.request[i]->is_in_step = false;
            pthread_cond_broadcast(&step.request[i]->changed);
        }
    }
    pthread_mutex_unlock(lock);
    return NULL;
}

/* ---- open and close ------------------------------------------------------------------------------ */

/* Without the folder all goes as well, only slower: whoever wants to know is told. */
static void open_disk(struct qvl_engine *e, struct qvl_vision_memory *memory)
{
    struct qvl_identity tower;
    struct qvl_error err = {0};
    qvl_tower_identity_make(&e->model, e->weights, &tower);
    enum qvl_status status =
        qvl_feature_folder_open(e->vision_cache_dir, e->vision_disk_bytes, &tower, &memory->folder, &err);
    if (!status)
        status = qvl_feature_writer_open(memory->folder, qvl_engine_warn, e, &memory->writer, &err);
    if (!status)
        return;
    qvl_feature_folder_close(memory->folder);
    memory->folder = NULL;
    qvl_engine_warn(e, err.text);
}

static enum qvl_status open_memory(struct qvl_engine *e, struct qvl_vision_memory *memory,
                                   struct qvl_error *err)
{
    if (!qvl_engine_has_vision_cache(e))
        return QVL_OK;
    enum qvl_status status = qvl_feature_cache_open(e->vision_cache_bytes, &memory->cache, err);
    if (!status && e->vision_cache_dir)
        open_disk(e, memory);
    return status;
}

static void close_memory(struct qvl_vision_memory *memory)
{
    qvl_feature_writer_close(memory->writer);
    qvl_feature_folder_close(memory->folder);
    qvl_feature_cache_close(memory->cache);
}

enum qvl_status qvl_scheduler_open(struct qvl_engine *engine, struct qvl_scheduler **out, struct qvl_error *err)
{
    struct qvl_scheduler *s = calloc(1, sizeof *s);
    if (!s)
        return qvl_fail_memory(err, sizeof *s, "the scheduler");
    s->engine = engine;
    s->n_row_max = engine->n_prefill_chunk > MAX_BATCH ? engine->n_prefill_chunk : MAX_BATCH;
    enum qvl_status status = qvl_decoder_open(&engine->model, s->n_row_max, &s->decoder, err);
    if (status || (status = open_memory(engine, &s->memory, err)))
        goto fail;
    s->row = calloc(s->n_row_max, sizeof *s->row);
    if (!s->row) {
        status = qvl_fail_memory(err, s->n_row_max * sizeof *s->row, "the scheduler");
        goto fail;
    }
    if (pthread_create(&s->thread, NULL, scheduler_main, s) != 0) {
        status = qvl_fail(err, QVL_ERR_MEMORY, "cannot start the scheduler's thread");
        goto fail;
    }
    *out = s;
    return QVL_OK;
fail:
    qvl_decoder_close(s->decoder);
    close_memory(&s->memory);
    free(s->row);
    free(s);
    return status;
}

void qvl_scheduler_close(struct qvl_scheduler *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->engine->lock);
    s->is_closing = true;
    pthread_cond_signal(&s->engine->work);
    pthread_mutex_unlock(&s->engine->lock);
    pthread_join(s->thread, NULL);
    qvl_decoder_close(s->decoder);
    close_memory(&s->memory);
    free(s->row);
    free(s);
}

/* ---- the caller's side --------------------------------------------------------------------------- */

enum qvl_status qvl_scheduler_submit(struct qvl_scheduler *s, struct qvl_request *r, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    pthread_mutex_lock(&s->engine->lock);
    if (s->n_request == QVL_MAX_REQUESTS) {
        status =
            qvl_fail(err, QVL_ERR_LIMIT, "%u requests are open, and the engine takes no more", QVL_MAX_REQUESTS);
    } else {
        r->submitted_ms = qvl_now_ms();
        r->queue_ms = -1;
        r->has_progress = true;
        r->stage = QVL_STAGE_QUEUE;
        for (size_t i = 0; i < s->n_request; i++)
            r->progress_total += is_active(s->request[i]);
        s->request[s->n_request++] = r;
        qvl_turns_join(&s->engine->turns, &r->turn, r->options.client);
        s->engine->is_room_changed = true;
        pthread_cond_signal(&s->engine->work);
    }
    pthread_mutex_unlock(&s->engine->lock);
    return status;
}

/* Takes the request's next event if there is one (lock held). */
static bool take_event(struct qvl_scheduler *s, struct qvl_request *r, struct qvl_event *event)
{
    if (r->has_progress) {
        r->has_progress = false;
        *event = (struct qvl_event){.kind = QVL_EVENT_PROGRESS};
        event->progress.stage = r->stage;
        event->progress.done = r->progress_done;
        event->progress.total = r->progress_total;
        event->progress.i_media = r->i_media;
        event->progress.n_media = (uint32_t)r->feed.n_info;
        return true;
    }
    const struct qvl_text_event *text = qvl_event_queue_pop(&r->queue);
    if (text) {
        *event = (struct qvl_event){.kind = QVL_EVENT_TEXT};
        event->text.utf8 = text->text.data;
        event->text.n = text->text.n;
        event->text.id = text->id;
        event->text.top = text->top;
        event->text.n_top = text->n_top;
        event->text.logit = text->logit;
        event->text.log_sum = text->log_sum;
        event->text.is_reasoning = text->is_reasoning;
        pthread_cond_signal(&s->engine->work); /* the queue has room again */
        return true;
    }
    if (r->is_ended && !r->error.status) {
        *event = (struct qvl_event){.kind = QVL_EVENT_DONE};
        event->done.finish = r->answer.finish;
        event->done.stop = r->answer.met_stop;
        return true;
    }
    return false;
}

/* Decodes a frame, or aims at other ones, without the lock, which is held before and after. An error ends the
 * request. */
static enum qvl_status feed_frame(struct qvl_scheduler *s, struct qvl_request *r, struct qvl_error *err)
{
    bool is_astray = r->is_feed_astray;
    pthread_mutex_unlock(&s->engine->lock);
    enum qvl_status status = is_astray ? qvl_request_aim(r, err) : qvl_feed_step(&r->feed, &r->is_cancelled, err);
    pthread_mutex_lock(&s->engine->lock);
    if (is_astray)
        r->is_feed_astray = false;
    if (status) {
        r->is_ended = true;
        r->error = *err;
        r->ended_at_ms = qvl_now_ms();
    }
    pthread_cond_signal(&s->engine->work); /* the next group may be whole */
    return status;
}

/* Looks into the vision cache's folder, likewise without the lock. */
static void read_disk(struct qvl_scheduler *s, struct qvl_request *r)
{
    double start_ms = qvl_now_ms();
    r->is_disk_read = true;
    pthread_mutex_unlock(&s->engine->lock);
    qvl_vision_group_read(&r->group, &s->engine->model, &r->is_cancelled);
    pthread_mutex_lock(&s->engine->lock);
    r->is_disk_read = r->is_disk_asked = false;
    r->vision_ms += qvl_now_ms() - start_ms;
    pthread_cond_signal(&s->engine->work);
}

enum qvl_status qvl_scheduler_next(struct qvl_scheduler *s, struct qvl_request *r, struct qvl_event *event,
                                   struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    pthread_mutex_lock(&s->engine->lock);
    for (;;) {
        if (atomic_load(&r->is_cancelled)) {
            status = qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
            break;
        }
        if (take_event(s, r, event))
            break;
        if (r->is_ended) {
            *err = r->error;
            status = err->status;
            break;
        }
        if (r->is_disk_asked) {
            read_disk(s, r);
            continue;
        }
        if (r->is_feed_astray || qvl_feed_is_hungry(&r->feed)) {
            if ((status = feed_frame(s, r, err)))
                break;
            continue;
        }
        pthread_cond_wait(&r->changed, &s->engine->lock);
    }
    pthread_mutex_unlock(&s->engine->lock);
    return status;
}

void qvl_scheduler_remove(struct qvl_scheduler *s, struct qvl_request *r)
{
    pthread_mutex_lock(&s->engine->lock);
    atomic_store(&r->is_cancelled, true); /* not to be chosen again */
    while (r->is_in_step)
        pthread_cond_wait(&r->changed, &s->engine->lock);
    size_t n = 0;
    for (size_t i = 0; i < s->n_request; i++)
        if (s->request[i] != r)
            s->request[n++] = s->request[i];
    s->n_request = n;
    qvl_admission_end(r);
    qvl_turns_leave(&r->turn);
    pthread_mutex_unlock(&s->engine->lock);
    free_work(r);
    pthread_mutex_lock(&s->engine->lock);
    s->engine->is_room_changed = true;
    pthread_cond_signal(&s->engine->work); /* there is room now */
    pthread_mutex_unlock(&s->engine->lock);
}

void qvl_scheduler_count(const struct qvl_scheduler *s, struct qvl_engine_stats *out)
{
    for (size_t i = 0; i < s->n_request; i++) {
        bool is_active_now = is_active(s->request[i]), has_run = s->request[i]->queue_ms >= 0;
        out->n_request += is_active_now;
        out->n_running += is_active_now && has_run;
        out->n_waiting += is_active_now && !has_run;
    }
    if (s->memory.folder)
        qvl_feature_folder_count(s->memory.folder, out);
}
