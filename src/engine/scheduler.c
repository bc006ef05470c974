/* DESIGN. One thread runs one step at a time, each on the whole thread pool. A step is one of
 *   - decode: one token for each of up to MAX_BATCH generating requests, together;
 *   - a unit of one request that has not answered yet: one stage of the vision tower for the next picture, or one
 *     chunk of its prompt. A picture (of a clip: a group of temporal patches) is encoded when the prefill comes to
 *     it (what the vision cache knows is taken from there) and its features are released when the prefill has
 *     passed it, so memory does not grow with the number of pictures or the length of a clip.
 * When both kinds are wanted they alternate; inside a kind, requests take turns (round robin). So a stream waits
 * for at most one unit between two of its tokens, and a new request starts within one turn of the others.
 *
 * The bits of a request do not depend on its company (kernel.h), so neither turns nor batches need to be
 * reproducible.
 *
 * Cancelling. A unit serves one request and gets its cancel flag, which stops it midway; a decode step is
 * short. The caller learns of the cancel at once; closing the request waits until the step it is in has ended
 * (is_in_step). A cancelled request is never chosen again.
 *
 * Lock. The engine's lock guards the list of requests and the fields marked "shared"; it is held for a few
 * copies at a time, never during a step. The scheduler waits on `work`, a caller on its request's `changed`.
 *
 * Frames. The tower takes them from the request's feed, which the caller fills on its own thread, before the
 * request is submitted and then whenever there is room and no event for it. A request whose next group of temporal
 * patches is not there yet is not chosen, so decoding, vision and prefill go on at the same time, and nobody waits
 * for another one's decoder.
 *
 * Back-pressure. A request whose event queue is full is not chosen until its caller took an event. */
#include "engine/scheduler.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/limits.h"

enum { MAX_BATCH = 16 }; /* sequences in one decode step */

struct qvl_scheduler {
    struct qvl_engine *engine;
    pthread_t thread;
    pthread_cond_t work;
    bool is_closing;                                /* under the lock, like the list */
    struct qvl_request *request[QVL_MAX_REQUESTS];
    size_t n_request;
    /* the thread's own */
    size_t i_turn[2];                               /* of each kind: where its next search in the list begins */
    bool was_decode;
    struct qvl_decoder *decoder;
    struct qvl_feature_cache *vision_cache;         /* or NULL */
    struct qvl_batch_row *row;                      /* [n_row_max] */
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
    if (!is_active(r) || is_before_answer(r) != (kind == STEP_UNIT))
        return false;
    return kind == STEP_UNIT ? has_frames(s, r) : !qvl_event_queue_is_full(&r->queue);
}

/* Fills step->request with those that take part, in turn. A traced request decodes alone, so that its
 * intermediates hold its own rows only. */
static void gather(struct qvl_scheduler *s, enum step_kind kind, struct step *step)
{
    size_t n_max = kind == STEP_UNIT ? 1 : MAX_BATCH, i_first = 0;
    *step = (struct step){.kind = kind};
    for (size_t k = 0; k < s->n_request && step->n < n_max; k++) {
        size_t i = (s->i_turn[kind] + k) % s->n_request;
        struct qvl_request *r = s->request[i];
        if (!is_eligible(s, r, kind) || (step->n > 0 && has_trace(r)))
            continue;
        if (step->n == 0)
            i_first = i;
        step->request[step->n++] = r;
        if (has_trace(r))
            break;
    }
    if (step->n > 0)
        s->i_turn[kind] = i_first + 1;
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

/* The token that r's answer just made; ends the request when it was the last. */
static void deliver_token(struct qvl_request *r)
{
    struct qvl_answer *a = &r->answer;
    struct qvl_error err = {0};
    pthread_mutex_lock(&r->engine->lock);
    enum qvl_status status =
        qvl_event_queue_push(&r->queue, a->ids[a->n - 1], &a->text, a->is_reasoning, a->top, a->n_top, &err);
    r->n_output = a->n;
    if (a->n == 1)
        r->first_token_at_ms = qvl_now_ms();
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->engine->lock);
    if (status || a->is_done)
        end_request(r, status ? &err : NULL);
}

/* ---- units --------------------------------------------------------------------------------------- */

static struct qvl_batch make_batch(const struct qvl_scheduler *s, const struct qvl_request *first,
                                   struct qvl_kv **kv, size_t n_seq)
{
    return (struct qvl_batch){.row = s->row, .kv = kv, .n_seq = n_seq,
                              .trace = has_trace(first) ? &first->options.trace : NULL};
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

/* Its frames make room for others. */
static enum qvl_status begin_group(const struct qvl_scheduler *s, struct qvl_request *r, const struct qvl_span *span,
                                   struct qvl_error *err)
{
    struct qvl_media_item *item = &r->feed.item[span->i_media];
    const struct qvl_vision_settings settings = {.cache = s->vision_cache, .salt = r->options.vision_cache_salt,
                                                 .trace = has_trace(r) ? &r->options.trace : NULL};
    uint32_t n_reused = 0;
    enum qvl_status status = qvl_vision_group_begin(&r->group, &s->engine->model, &settings, item,
                                                    qvl_span_patch(span) / item->n_group_patch, &n_reused, err);
    if (status)
        return status;
    pthread_mutex_lock(&s->engine->lock);
    item->n_reused += n_reused;
    qvl_feed_release(item, r->group.end);
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
    enum qvl_status status = r->group.item ? QVL_OK : begin_group(s, r, unseen, err);
    struct qvl_vision_group group = r->group; /* itself zero after the last step */
    if (!status)
        status = qvl_vision_group_step(&r->group, &r->is_cancelled, &done, &total, err);
    if (status)
        return status;
    pthread_mutex_lock(&r->engine->lock);
    r->vision_ms += qvl_now_ms() - start_ms;
    pthread_mutex_unlock(&r->engine->lock);
    report_vision(r, &group, done, total);
    return QVL_OK;
}

/* Prompt tokens [r->n_prefilled, end) as rows of the batch; the prompt's last one wants logits. */
static void fill_prompt_rows(struct qvl_scheduler *s, const struct qvl_request *r, size_t end)
{
    const struct qvl_prompt *p = &r->prompt;
    const struct qvl_span *span = p->span;
    for (size_t i = r->n_prefilled; i < end; i++) {
        while (i >= span->begin + span->n_tok)
            span++;
        struct qvl_batch_row *row = &s->row[i - r->n_prefilled];
        *row = (struct qvl_batch_row){.id = p->ids.id[i], .pos = p->pos[i], .want_logits = i + 1 == p->ids.n};
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

static enum qvl_status run_prefill_chunk(struct qvl_scheduler *s, struct qvl_request *r, size_t end,
                                         struct qvl_error *err)
{
    double start_ms = qvl_now_ms();
    struct qvl_kv *kv = &r->kv;
    float *logits = NULL;
    struct qvl_batch batch = make_batch(s, r, &kv, 1);
    batch.n_row = end - r->n_prefilled;
    fill_prompt_rows(s, r, end);
    enum qvl_status status = qvl_kv_reserve(kv, end, err);
    if (status || (status = qvl_decoder_step(s->decoder, &batch, &r->is_cancelled, &logits, err)))
        return status;
    r->n_prefilled = end;
    release_passed_features(r);
    pthread_mutex_lock(&r->engine->lock);
    r->prefill_ms += qvl_now_ms() - start_ms;
    pthread_mutex_unlock(&r->engine->lock);
    report_progress(r, QVL_STAGE_PREFILL, end, r->prompt.ids.n, 0);
    if (is_before_answer(r))
        return QVL_OK;
    if ((status = qvl_answer_step(&r->answer, logits, err)))
        return status;
    deliver_token(r);
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

struct sampling_run {
    struct qvl_request **request;
    float *logits; /* [n, vocab] */
    size_t vocab;
    struct qvl_error err[MAX_BATCH];
};

static void sample_job(void *arg, size_t i, size_t i_thread)
{
    struct sampling_run *run = arg;
    (void)i_thread;
    qvl_answer_step(&run->request[i]->answer, run->logits + i * run->vocab, &run->err[i]);
}

/* Makes room for one more token of each request. Those without are ended and leave the step. */
static void reserve_tokens(struct step *step)
{
    size_t n = 0;
    for (size_t i = 0; i < step->n; i++) {
        struct qvl_request *r = step->request[i];
        struct qvl_error err = {0};
        if (qvl_kv_reserve(&r->kv, r->kv.n_pos + 1, &err))
            end_request(r, &err);
        else
            step->request[n++] = r;
    }
    step->n = n;
}

static void run_decode(struct qvl_scheduler *s, struct step step)
{
    struct qvl_kv *kv[MAX_BATCH];
    struct qvl_error err = {0};
    struct sampling_run run = {.request = step.request, .vocab = s->engine->config.text.vocab};
    reserve_tokens(&step);
    if (step.n == 0)
        return;
    for (size_t i = 0; i < step.n; i++) {
        struct qvl_request *r = step.request[i];
        int32_t pos = r->prompt.next_pos + (int32_t)(r->kv.n_pos - r->prompt.ids.n);
        s->row[i] = (struct qvl_batch_row){.id = r->answer.ids[r->answer.n - 1], .pos = {pos, pos, pos},
                                           .i_seq = (uint32_t)i, .want_logits = true};
        kv[i] = &r->kv;
    }
    struct qvl_batch batch = make_batch(s, step.request[0], kv, step.n);
    batch.n_row = step.n;
    const atomic_bool *stop = step.n == 1 ? &step.request[0]->is_cancelled : NULL;
    enum qvl_status status = qvl_decoder_step(s->decoder, &batch, stop, &run.logits, &err);
    if (!status)
        qvl_pool_run(s->engine->pool, step.n, sample_job, &run, NULL);
    for (size_t i = 0; i < step.n; i++) {
        const struct qvl_error *failed = status ? &err : run.err[i].status ? &run.err[i] : NULL;
        if (failed)
            end_request(step.request[i], failed);
        else
            deliver_token(step.request[i]);
    }
}

/* ---- the thread ---------------------------------------------------------------------------------- */

static void *scheduler_main(void *arg)
{
    struct qvl_scheduler *s = arg;
    pthread_mutex_t *lock = &s->engine->lock;
    struct step step;
    pthread_mutex_lock(lock);
    for (;;) {
        while (!s->is_closing && !choose_step(s, &step))
            pthread_cond_wait(&s->work, lock);
        if (s->is_closing)
            break;
        pthread_mutex_unlock(lock);
        if (step.kind == STEP_DECODE)
            run_decode(s, step);
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

enum qvl_status qvl_scheduler_open(struct qvl_engine *engine, struct qvl_scheduler **out, struct qvl_error *err)
{
    struct qvl_scheduler *s = calloc(1, sizeof *s);
    if (!s)
        return qvl_fail_memory(err, sizeof *s, "the scheduler");
    s->engine = engine;
    s->n_row_max = engine->n_prefill_chunk > MAX_BATCH ? engine->n_prefill_chunk : MAX_BATCH;
    pthread_cond_init(&s->work, NULL);
    enum qvl_status status = qvl_decoder_open(&engine->model, s->n_row_max, &s->decoder, err);
    if (!status && engine->vision_cache_bytes)
        status = qvl_feature_cache_open(engine->vision_cache_bytes, &s->vision_cache, err);
    if (status)
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
    qvl_feature_cache_close(s->vision_cache);
    free(s->row);
    pthread_cond_destroy(&s->work);
    free(s);
    return status;
}

void qvl_scheduler_close(struct qvl_scheduler *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->engine->lock);
    s->is_closing = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->engine->lock);
    pthread_join(s->thread, NULL);
    qvl_decoder_close(s->decoder);
    qvl_feature_cache_close(s->vision_cache);
    free(s->row);
    pthread_cond_destroy(&s->work);
    free(s);
}

/* ---- the caller's side --------------------------------------------------------------------------- */

enum qvl_status qvl_scheduler_submit(struct qvl_scheduler *s, struct qvl_request *r, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    pthread_mutex_lock(&s->engine->lock);
    if (s->n_request == QVL_MAX_REQUESTS) {
        status = qvl_fail(err, QVL_ERR_LIMIT, "%u requests are open, and the engine takes no more",
                          QVL_MAX_REQUESTS);
    } else {
        r->submitted_ms = qvl_now_ms();
        r->queue_ms = -1;
        r->has_progress = true;
        r->stage = QVL_STAGE_QUEUE;
        for (size_t i = 0; i < s->n_request; i++)
            r->progress_total += is_active(s->request[i]);
        s->request[s->n_request++] = r;
        pthread_cond_signal(&s->work);
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
        event->text.is_reasoning = text->is_reasoning;
        pthread_cond_signal(&s->work); /* the queue has room again */
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

/* Decodes a frame without the lock, which is held before and after. An error ends the request. */
static enum qvl_status feed_frame(struct qvl_scheduler *s, struct qvl_request *r, struct qvl_error *err)
{
    pthread_mutex_unlock(&s->engine->lock);
    enum qvl_status status = qvl_feed_step(&r->feed, &r->is_cancelled, err);
    pthread_mutex_lock(&s->engine->lock);
    if (status) {
        r->is_ended = true;
        r->error = *err;
        r->ended_at_ms = qvl_now_ms();
    }
    pthread_cond_signal(&s->work); /* the next group may be whole */
    return status;
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
        if (qvl_feed_is_hungry(&r->feed)) {
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
    pthread_mutex_unlock(&s->engine->lock);
    free_work(r);
}
