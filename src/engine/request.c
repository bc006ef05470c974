/* A request's own side, on its caller's thread: copy, render, measure the pictures, make the prompt, admit, fill
 * the feed, hand over to the scheduler, pull events. */
#include "engine/engine.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "engine/admission.h"
#include "engine/chat_copy.h"
#include "engine/scheduler.h"
#include "engine/session.h"

enum { DEFAULT_MAX_TOKENS = 4096 };

/* ---- open, close --------------------------------------------------------------------------------- */

static enum qvl_status check_scoring(const struct qvl_engine *e, const struct qvl_scoring *scoring, bool has_chat,
                                     bool has_session, struct qvl_error *err)
{
    size_t n_least = has_chat ? 1 : 2;
    if (!scoring->logits)
        return QVL_OK;
    if (has_session)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "tokens are scored without a session");
    if (scoring->n_id < n_least || scoring->n_id > QVL_MAX_TOKENS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%zu tokens to score: it must be %zu to %u", scoring->n_id, n_least,
                        QVL_MAX_TOKENS);
    for (size_t i = 0; i < scoring->n_id; i++)
        if (scoring->ids[i] >= qvl_tokenizer_n(e->tokenizer))
            return qvl_fail(err, QVL_ERR_ARGUMENT, "token %u to score: the model has %u", scoring->ids[i],
                            qvl_tokenizer_n(e->tokenizer));
    return QVL_OK;
}

enum qvl_status qvl_request_open(struct qvl_engine *engine, const struct qvl_chat *chat,
                                 const struct qvl_request_options *options, struct qvl_request **out,
                                 struct qvl_error *err)
{
    struct qvl_request *r = calloc(1, sizeof *r);
    if (!r)
        return qvl_fail_memory(err, sizeof *r, "a request");
    r->engine = engine;
    pthread_cond_init(&r->changed, NULL);
    size_t n_item = 0;
    bool has_chat = chat->n_message > 0 || !options->scoring.logits;
    enum qvl_status status = check_scoring(engine, &options->scoring, has_chat, options->session != NULL, err);
    if (status || (has_chat && (status = qvl_chat_copy(chat, &r->arena, &r->chat, &n_item, err))) ||
        (status =
             qvl_request_options_copy(options, qvl_tokenizer_n(engine->tokenizer), &r->arena, &r->options, err)) ||
        (status = qvl_constrained_open(engine->constraints, &options->constraint, &r->constrained, err)) ||
        (r->options.session && (status = qvl_session_enter(r->options.session, r, err))) ||
        (status = qvl_feed_init(&r->feed, engine, r->session, &r->chat, n_item, &r->arena, err)) ||
        (status = qvl_event_queue_init(&r->queue, options->n_top_logits, err))) {
        qvl_request_close(r);
        return status;
    }
    *out = r;
    return QVL_OK;
}

void qvl_request_cancel(struct qvl_request *r)
{
    atomic_store(&r->is_cancelled, true);
    pthread_mutex_lock(&r->engine->lock);
    pthread_cond_broadcast(&r->changed);
    pthread_cond_signal(&r->engine->work); /* what it holds can be freed */
    pthread_mutex_unlock(&r->engine->lock);
}

void qvl_request_close(struct qvl_request *r)
{
    if (!r)
        return;
    if (r->submitted_ms > 0)
        qvl_scheduler_remove(r->engine->scheduler, r);
    if (r->session)
        qvl_session_leave(r->session, r);
    qvl_feed_free(&r->feed);
    qvl_answer_free(&r->answer);
    qvl_constrained_close(&r->constrained);
    qvl_event_queue_free(&r->queue);
    qvl_prompt_parts_free(&r->parts);
    qvl_prompt_free(&r->prompt);
    pthread_cond_destroy(&r->changed);
    qvl_arena_free(&r->arena);
    free(r);
}

/* ---- prompt and admission ------------------------------------------------------------------------ */

static enum qvl_status admit(struct qvl_request *r, struct qvl_error *err)
{
    size_t n_prompt = r->prompt.ids.n, n_ctx = r->engine->n_ctx;
    uint32_t n_want = r->options.max_tokens;
    if (n_prompt + (n_want ? n_want : 1) > n_ctx) /* programs look for the last words, to take a larger model */
        return qvl_fail(err, QVL_ERR_LIMIT,
                        "the prompt has %zu tokens (%zu of them pictures and clips) and the answer may have %u: "
                        "together more than the %zu tokens that this model's maximum context length is",
                        n_prompt, r->prompt.n_image_tok + r->prompt.n_video_tok, n_want ? n_want : 1, n_ctx);
    size_t n_room = qvl_admission_n_pos(r->engine);
    if (n_prompt + (n_want ? n_want : 1) > n_room)
        return qvl_fail(err, QVL_ERR_LIMIT,
                        "the prompt has %zu tokens (%zu of them pictures and clips) and the answer may have %u: "
                        "together more than the %zu for which all requests have room",
                        n_prompt, r->prompt.n_image_tok + r->prompt.n_video_tok, n_want ? n_want : 1, n_room);
    n_room -= n_prompt;
    if (!n_want)
        n_want = n_room < DEFAULT_MAX_TOKENS ? (uint32_t)n_room : DEFAULT_MAX_TOKENS;
    r->max_tokens = n_want;
    return QVL_OK;
}

static enum qvl_status build_prompt(struct qvl_request *r, struct qvl_error *err)
{
    const struct qvl_engine *e = r->engine;
    size_t n_least = qvl_tokenizer_least_tokens(e->tokenizer, r->parts.text.n);
    if (n_least > e->n_ctx)
        return qvl_fail(err, QVL_ERR_LIMIT,
                        "the text of %zu bytes has at least %zu tokens: more than the %u that this model's maximum "
                        "context length is",
                        r->parts.text.n, n_least, e->n_ctx);
    const struct qvl_feed *feed = &r->feed;
    struct qvl_prompt_settings settings = {.merge = e->config.vision.merge,
                                           .temporal_patch = e->config.vision.temporal_patch,
                                           .want_video_wrapper = r->chat.want_video_wrapper};
    struct qvl_prompt_media *media =
        qvl_arena_alloc(&r->arena, feed->n_item, sizeof *media, "the grids of the pictures", err);
    if (!media)
        return QVL_ERR_MEMORY;
    for (size_t i = 0; i < feed->n_item; i++) {
        const struct qvl_media_plan *plan = feed->item[i].plan; /* none where the template leaves it out */
        if (plan)
            media[i] = (struct qvl_prompt_media){plan->grid, plan->info.frame_s, plan->n_frame};
    }
    return qvl_prompt_build(e->tokenizer, &r->parts, media, feed->n_item, &settings, &r->prompt, err);
}

/* The first temporal patch of a picture or clip that is not whole in the tokens that need not be computed. */
static uint32_t first_unknown_patch(const struct qvl_request *r, size_t i_media)
{
    uint32_t i_patch = 0;
    for (size_t i = 0; i < r->prompt.n_span; i++) {
        const struct qvl_span *span = &r->prompt.span[i];
        if (span->is_visual && span->i_media == i_media && span->begin + span->n_tok <= r->n_cached)
            i_patch = qvl_span_patch(span) + 1;
    }
    return i_patch;
}

enum qvl_status qvl_request_aim(struct qvl_request *r, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < r->feed.n_item && !status; i++)
        if (r->feed.item[i].plan)
            status = qvl_feed_aim(&r->feed, &r->feed.item[i], first_unknown_patch(r, i), err);
    return status;
}

/* What an earlier request has computed needs no frames. */
static enum qvl_status skip_known(struct qvl_request *r, struct qvl_error *err)
{
    enum qvl_status status = qvl_prefix_init(r, err);
    if (status)
        return status;
    size_t n_session = r->session ? qvl_session_count_shared(r->session, r) : 0, n_prefix = qvl_prefix_count(r);
    r->n_cached = n_prefix > n_session ? n_prefix : n_session;
    return r->n_cached ? qvl_request_aim(r, err) : QVL_OK;
}

/* All but the last, of which nothing is asked. A row expects the token behind it. */
static enum qvl_status append_scored(struct qvl_request *r, struct qvl_error *err)
{
    const struct qvl_scoring *scoring = &r->options.scoring;
    bool has_prompt = r->prompt.ids.n > 0;
    r->first_scored = has_prompt ? r->prompt.ids.n - 1 : 0;
    r->i_scored = has_prompt ? 0 : 1;
    return qvl_prompt_append(&r->prompt, scoring->ids, scoring->n_id - 1, err);
}

static enum qvl_status make_prompt(struct qvl_request *r, struct qvl_error *err)
{
    double start_ms = qvl_now_ms();
    enum qvl_status status = build_prompt(r, err);
    qvl_prompt_parts_free(&r->parts);
    if (!status && r->options.scoring.logits)
        status = append_scored(r, err);
    r->prompt_ms += qvl_now_ms() - start_ms;
    if (status || (status = admit(r, err)))
        return status;
    return skip_known(r, err);
}

static enum qvl_status render(struct qvl_request *r, struct qvl_error *err)
{
    double start_ms = qvl_now_ms();
    if (r->chat.n_message == 0)
        return QVL_OK;
    enum qvl_status status = qvl_chat_render(&r->chat, r->engine->config.is_thinking, &r->parts, err);
    if (!status)
        qvl_feed_show(&r->feed, &r->parts);
    r->prompt_ms += qvl_now_ms() - start_ms;
    return status;
}

/* ---- the walk ------------------------------------------------------------------------------------ */

static struct qvl_answer_settings answer_settings(const struct qvl_request *r)
{
    const struct qvl_engine *e = r->engine;
    const struct qvl_request_options *o = &r->options;
    struct qvl_answer_settings set = {.tokenizer = e->tokenizer,
                                      .sampling = o->sampling,
                                      .max_tokens = r->max_tokens,
                                      .stop = o->stop,
                                      .n_stop = o->n_stop,
                                      .no_loop_guard = o->no_loop_guard,
                                      .n_top = o->n_top_logits,
                                      .want_log_sum = o->want_log_sum,
                                      .bias = o->logit_bias,
                                      .n_bias = o->n_logit_bias,
                                      .is_thinking = e->config.is_thinking && !r->chat.is_open,
                                      .matcher = r->constrained.matcher,
                                      .is_on_call = r->constrained.is_on_call,
                                      .want_one_call = r->constrained.want_one_call};
    if (o->ignore_eos)
        return set;
    for (uint32_t i = 0; i < e->config.generation.n_eos; i++)
        set.eos[set.n_eos++] = e->config.generation.eos[i];
    set.eos[set.n_eos++] = qvl_tokenizer_added(e->tokenizer, QVL_TOK_IM_END);
    set.eos[set.n_eos++] = qvl_tokenizer_added(e->tokenizer, QVL_TOK_ENDOFTEXT);
    return set;
}

static enum qvl_status submit(struct qvl_request *r, struct qvl_error *err)
{
    if (!r->engine->is_loaded)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the engine's weights are not loaded (qvl_engine_load)");
    struct qvl_answer_settings settings = answer_settings(r);
    enum qvl_status status = qvl_answer_init(&r->answer, &settings, r->prompt.ids.id, r->prompt.ids.n, err);
    if (status)
        return status;
    if (r->session)
        qvl_session_take(r->session, r, qvl_session_count_shared(r->session, r)); /* others may have left more */
    else
        qvl_request_init_kv(r);
    qvl_lookup_init(&r->lookup);
    r->prepared_ms = r->feed.media_ms + r->prompt_ms;
    r->state = QVL_REQUEST_SUBMITTED;
    return qvl_scheduler_submit(r->engine->scheduler, r, err);
}

static void media_progress(const struct qvl_request *r, struct qvl_event *event)
{
    *event = (struct qvl_event){.kind = QVL_EVENT_PROGRESS};
    event->progress.stage = QVL_STAGE_MEDIA;
    event->progress.n_media = (uint32_t)r->feed.n_shown;
    qvl_feed_progress(&r->feed, &event->progress.done, &event->progress.total);
}

static bool is_hungry(const struct qvl_request *r)
{
    pthread_mutex_lock(&r->engine->lock);
    bool is = qvl_feed_is_hungry(&r->feed);
    pthread_mutex_unlock(&r->engine->lock);
    return is;
}

/* One unit of the caller's side, and on to the state in which there is a next one. */
static enum qvl_status step(struct qvl_request *r, struct qvl_error *err)
{
    enum qvl_status status;
    if (atomic_load(&r->is_cancelled))
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
    switch (r->state) {
    case QVL_REQUEST_NEW:
        status = render(r, err);
        r->state = QVL_REQUEST_MEASURE;
        break;
    case QVL_REQUEST_MEASURE: status = qvl_feed_measure(&r->feed, &r->is_cancelled, err); break;
    default: status = qvl_feed_step(&r->feed, &r->is_cancelled, err); break;
    }
    if (!status && r->state == QVL_REQUEST_MEASURE && qvl_feed_is_measured(&r->feed)) {
        status = make_prompt(r, err);
        r->state = QVL_REQUEST_FILL;
    }
    if (!status && r->state == QVL_REQUEST_FILL && !is_hungry(r))
        r->state = QVL_REQUEST_READY;
    return status;
}

bool qvl_request_is_prepared(const struct qvl_request *r)
{
    return r->state == QVL_REQUEST_READY || r->state == QVL_REQUEST_SUBMITTED;
}

enum qvl_status qvl_request_prepare(struct qvl_request *r, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (r->state == QVL_REQUEST_OVER)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the request is over and can only be closed");
    while (!status && r->state < QVL_REQUEST_READY)
        status = step(r, err);
    if (status)
        r->state = QVL_REQUEST_OVER;
    return status;
}

enum qvl_status qvl_request_next(struct qvl_request *r, struct qvl_event *event, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (r->state == QVL_REQUEST_OVER)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the request is over and can only be closed");
    if (r->state < QVL_REQUEST_READY) {
        if (!(status = step(r, err)))
            media_progress(r, event);
    } else {
        if (r->state == QVL_REQUEST_READY)
            status = submit(r, err);
        if (!status)
            status = qvl_scheduler_next(r->engine->scheduler, r, event, err);
    }
    if (status || event->kind == QVL_EVENT_DONE)
        r->state = QVL_REQUEST_OVER;
    return status;
}

void qvl_request_get_info(const struct qvl_request *r, struct qvl_request_info *out)
{
    pthread_mutex_t *lock = &r->engine->lock;
    pthread_mutex_lock(lock);
    for (size_t i = 0; i < r->feed.n_item; i++)
        if (r->feed.item[i].plan)
            r->feed.info[r->feed.item[i].i_shown].n_reused = r->feed.item[i].n_reused;
    *out = (struct qvl_request_info){
        .media = r->feed.info,
        .n_media = r->feed.n_info,
        .prompt = r->prompt.text.data ? r->prompt.text.data : "",
        .prompt_ids = r->prompt.ids.id,
        .n_prompt_tok = r->prompt.ids.n,
        .output_ids = r->answer.ids,
        .n_output_tok = r->n_output,
        .n_image_tok = r->prompt.n_image_tok,
        .n_video_tok = r->prompt.n_video_tok,
        .n_cached_tok = r->n_cached,
        .n_drafted_tok = r->n_drafted,
        .n_accepted_tok = r->n_accepted,
        .media_ms = r->feed.media_ms,
        .prompt_ms = r->prompt_ms,
        .queue_ms = r->queue_ms > 0 ? r->queue_ms : 0,
        .vision_ms = r->vision_ms,
        .prefill_ms = r->prefill_ms,
    };
    if (r->first_token_at_ms > 0) {
        double end_ms = r->ended_at_ms > 0 ? r->ended_at_ms : qvl_now_ms();
        out->generate_ms = end_ms - r->first_token_at_ms;
        out->first_token_ms = r->prepared_ms + r->first_token_at_ms - r->submitted_ms;
    }
    pthread_mutex_unlock(lock);
}
