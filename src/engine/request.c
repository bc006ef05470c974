/* A request's own side, on its caller's thread: copy, render, measure the pictures, make the prompt, admit,
 * decode and resize picture by picture, hand over to the scheduler, pull events.
 *
 * The pictures' sizes come from their headers, so that what cannot fit the context is refused before any
 * picture is decoded. */
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "engine/chat_copy.h"
#include "engine/scheduler.h"
#include "model/resize.h"

enum { DEFAULT_MAX_TOKENS = 4096 };

/* ---- open, close --------------------------------------------------------------------------------- */

static enum qvl_status list_media(struct qvl_request *r, struct qvl_error *err)
{
    r->item = calloc(r->n_item + 1, sizeof *r->item);
    r->info = calloc(r->n_item + 1, sizeof *r->info);
    if (!r->item || !r->info)
        return qvl_fail_memory(err, r->n_item * sizeof *r->item, "the list of pictures");
    size_t n = 0;
    for (size_t i = 0; i < r->chat.n_message; i++)
        for (size_t j = 0; j < r->chat.messages[i].n_part; j++)
            if (r->chat.messages[i].parts[j].kind != QVL_PART_TEXT)
                r->item[n++].part = &r->chat.messages[i].parts[j];
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
    enum qvl_status status;
    if ((status = qvl_chat_copy(chat, &r->arena, &r->chat, &r->n_item, err)) ||
        (status = qvl_request_options_copy(options, &r->arena, &r->options, err)) ||
        (status = list_media(r, err)) ||
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
    pthread_mutex_unlock(&r->engine->lock);
}

void qvl_request_close(struct qvl_request *r)
{
    if (!r)
        return;
    if (r->submitted_ms > 0)
        qvl_scheduler_remove(r->engine->scheduler, r);
    for (size_t i = 0; i < r->n_item && r->item; i++)
        qvl_arena_free(&r->item[i].pixels);
    qvl_media_close(r->media);
    qvl_answer_free(&r->answer);
    qvl_event_queue_free(&r->queue);
    qvl_prompt_free(&r->prompt);
    free(r->item);
    free(r->info);
    pthread_cond_destroy(&r->changed);
    qvl_arena_free(&r->arena);
    free(r);
}

/* ---- pictures ------------------------------------------------------------------------------------ */

static const char *name_of(const struct qvl_part *part)
{
    return part->source.name ? part->source.name : "a picture";
}

/* Width and height before resizing. The first picture opens the reader, which starts no process yet. */
static enum qvl_status probe(struct qvl_request *r, const struct qvl_part *part, uint32_t *w, uint32_t *h,
                             struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    struct qvl_media_settings settings = {.helper_path = r->engine->media_helper};
    if (!r->media && (status = qvl_media_open(&settings, &r->media, err)))
        return status;
    return qvl_media_probe_image(r->media, &part->source, w, h, &r->is_cancelled, err);
}

/* Fills info and grid. */
static enum qvl_status measure(struct qvl_request *r, struct qvl_media_item *item, struct qvl_error *err)
{
    const struct qvl_config *config = &r->engine->config;
    const struct qvl_media_options *wish = &item->part->media;
    uint64_t min_pixels = wish->min_pixels ? wish->min_pixels : config->image.min_pixels;
    uint64_t max_pixels = wish->max_pixels ? wish->max_pixels : config->image.max_pixels;
    if (min_pixels > max_pixels && wish->max_pixels) /* the caller's bound wins over the model's */
        min_pixels = max_pixels;
    else if (min_pixels > max_pixels)
        max_pixels = min_pixels;
    uint32_t patch = config->vision.patch, merge = config->vision.merge;
    struct qvl_media_info *info = &item->info;
    *info = (struct qvl_media_info){.kind = QVL_MEDIA_IMAGE, .name = name_of(item->part)};
    enum qvl_status status = probe(r, item->part, &info->original_w, &info->original_h, err);
    if (status)
        return status;
    struct qvl_error why = {0};
    status = qvl_smart_resize(info->original_h, info->original_w, patch * merge, min_pixels, max_pixels,
                              &info->resized_h, &info->resized_w, &why);
    if (status)
        return qvl_fail(err, status, "%s: %.400s", info->name, why.text);
    item->grid = (struct qvl_grid){1, info->resized_h / patch, info->resized_w / patch};
    info->grid_t = item->grid.t;
    info->grid_h = item->grid.h;
    info->grid_w = item->grid.w;
    info->n_tok = item->grid.h / merge * (item->grid.w / merge);
    return QVL_OK;
}

static enum qvl_status measure_shown(struct qvl_request *r, const struct qvl_prompt_parts *parts,
                                     struct qvl_error *err)
{
    size_t n_tok = 0;
    for (size_t i = 0; i < parts->n; i++)
        if (parts->part[i].kind == QVL_PROMPT_IMAGE && parts->part[i].i_media < r->n_item)
            r->item[parts->part[i].i_media].is_shown = true;
    for (size_t i = 0; i < r->n_item; i++) {
        struct qvl_media_item *item = &r->item[i];
        enum qvl_status status = item->is_shown ? measure(r, item, err) : QVL_OK;
        if (status)
            return status;
        if (!item->is_shown)
            continue;
        r->info[r->n_info++] = item->info;
        n_tok += item->info.n_tok;
        if (n_tok >= r->engine->n_ctx)
            return qvl_fail(err, QVL_ERR_LIMIT,
                            "the first %zu pictures alone need %zu tokens, and the context holds %u (max_pixels "
                            "makes pictures smaller)",
                            r->n_info, n_tok, r->engine->n_ctx);
    }
    return QVL_OK;
}

static void trace_pixels(const struct qvl_request *r, const struct qvl_media_item *item)
{
    const struct qvl_trace *trace = &r->options.trace;
    char name[40];
    if (!trace->tensor)
        return;
    snprintf(name, sizeof name, "prompt.pixels.%zu", r->n_decoded);
    trace->tensor(trace->user, name, QVL_TRACE_U8, item->rgb8,
                  (size_t[]){item->info.resized_h, item->info.resized_w, 3}, 3);
}

/* Decodes and resizes one picture; its full-size pixels are gone afterwards. */
static enum qvl_status decode_item(struct qvl_request *r, struct qvl_media_item *item, struct qvl_error *err)
{
    const struct qvl_media_info *info = &item->info;
    struct qvl_picture picture = {0};
    enum qvl_status status =
        qvl_media_decode_image(r->media, &item->part->source, &picture, &r->is_cancelled, err);
    if (status)
        return status;
    if (picture.frame.w != info->original_w || picture.frame.h != info->original_h) {
        status = qvl_fail(err, QVL_ERR_MEDIA, "%s: decoded to %u x %u pixels, but its header says %u x %u",
                          info->name, picture.frame.w, picture.frame.h, info->original_w, info->original_h);
        goto fail;
    }
    item->rgb8 = qvl_arena_alloc(&item->pixels, (size_t)info->resized_h * info->resized_w, 3, "a resized picture",
                                 err);
    if (!item->rgb8) {
        status = QVL_ERR_MEMORY;
        goto fail;
    }
    status = qvl_resize_bicubic(&picture.frame, info->resized_w, info->resized_h, item->part->media.resize,
                                item->rgb8, NULL, &r->is_cancelled, err);
    if (status)
        goto fail;
    trace_pixels(r, item);
    r->n_decoded++;
fail:
    qvl_picture_free(&picture);
    return status;
}

/* ---- prompt and admission ------------------------------------------------------------------------ */

static enum qvl_status admit(struct qvl_request *r, struct qvl_error *err)
{
    size_t n_prompt = r->prompt.ids.n, n_ctx = r->engine->n_ctx;
    uint32_t n_want = r->options.max_tokens;
    if (n_prompt + (n_want ? n_want : 1) > n_ctx)
        return qvl_fail(err, QVL_ERR_LIMIT,
                        "the prompt has %zu tokens (%zu of them pictures) and the answer may have %u: together "
                        "more than the context of %zu",
                        n_prompt, r->prompt.n_image_tok, n_want ? n_want : 1, n_ctx);
    size_t n_room = n_ctx - n_prompt;
    if (!n_want)
        n_want = n_room < DEFAULT_MAX_TOKENS ? (uint32_t)n_room : DEFAULT_MAX_TOKENS;
    r->max_tokens = n_want;
    return QVL_OK;
}

static enum qvl_status make_prompt(struct qvl_request *r, struct qvl_error *err)
{
    const struct qvl_engine *e = r->engine;
    double start_ms = qvl_now_ms();
    struct qvl_prompt_parts parts = {0};
    struct qvl_grid *grid = NULL;
    enum qvl_status status;
    if ((status = qvl_chat_render(&r->chat, e->config.is_thinking, &parts, err)) ||
        (status = measure_shown(r, &parts, err)))
        goto fail;
    grid = qvl_arena_alloc(&r->arena, r->n_item, sizeof *grid, "the grids of the pictures", err);
    if (!grid) {
        status = QVL_ERR_MEMORY;
        goto fail;
    }
    for (size_t i = 0; i < r->n_item; i++)
        grid[i] = r->item[i].grid;
    status = qvl_prompt_build(e->tokenizer, &parts, grid, r->n_item, e->config.vision.merge, &r->prompt, err);
    if (!status)
        status = admit(r, err);
fail:
    qvl_prompt_parts_free(&parts);
    r->prompt_ms = qvl_now_ms() - start_ms;
    return status;
}

static enum qvl_status decode_next(struct qvl_request *r, struct qvl_error *err)
{
    double start_ms = qvl_now_ms();
    while (r->i_item < r->n_item && !r->item[r->i_item].is_shown)
        r->i_item++;
    enum qvl_status status = QVL_OK;
    if (r->i_item < r->n_item)
        status = decode_item(r, &r->item[r->i_item++], err);
    r->media_ms += qvl_now_ms() - start_ms;
    if (r->n_decoded == r->n_info) {
        qvl_media_close(r->media);
        r->media = NULL;
        r->state = QVL_REQUEST_READY;
    }
    return status;
}

/* ---- the walk ------------------------------------------------------------------------------------ */

static struct qvl_answer_settings answer_settings(const struct qvl_request *r)
{
    const struct qvl_engine *e = r->engine;
    const struct qvl_request_options *o = &r->options;
    struct qvl_answer_settings set = {
        .tokenizer = e->tokenizer, .sampling = o->sampling, .max_tokens = r->max_tokens, .stop = o->stop,
        .n_stop = o->n_stop, .no_loop_guard = o->no_loop_guard, .n_top = o->n_top_logits};
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
    enum qvl_status status =
        qvl_answer_init(&r->answer, &settings, r->prompt.ids.id, r->prompt.ids.n, err);
    if (status)
        return status;
    qvl_kv_init(&r->kv, &r->engine->model);
    r->state = QVL_REQUEST_SUBMITTED;
    return qvl_scheduler_submit(r->engine->scheduler, r, err);
}

static void media_progress(const struct qvl_request *r, struct qvl_event *event)
{
    *event = (struct qvl_event){.kind = QVL_EVENT_PROGRESS};
    event->progress.stage = QVL_STAGE_MEDIA;
    event->progress.done = r->n_decoded;
    event->progress.total = r->n_info;
    event->progress.n_media = (uint32_t)r->n_info;
}

/* One unit of the caller's side. */
static enum qvl_status step(struct qvl_request *r, struct qvl_error *err)
{
    if (atomic_load(&r->is_cancelled))
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
    if (r->state == QVL_REQUEST_NEW) {
        enum qvl_status status = make_prompt(r, err);
        r->state = r->n_info ? QVL_REQUEST_PICTURES : QVL_REQUEST_READY;
        return status;
    }
    return decode_next(r, err);
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
    *out = (struct qvl_request_info){
        .media = r->info,
        .n_media = r->n_info,
        .prompt = r->prompt.text.data ? r->prompt.text.data : "",
        .prompt_ids = r->prompt.ids.id,
        .n_prompt_tok = r->prompt.ids.n,
        .output_ids = r->answer.ids,
        .n_output_tok = r->n_output,
        .n_image_tok = r->prompt.n_image_tok,
        .media_ms = r->media_ms,
        .prompt_ms = r->prompt_ms,
        .queue_ms = r->queue_ms > 0 ? r->queue_ms : 0,
        .vision_ms = r->vision_ms,
        .prefill_ms = r->prefill_ms,
    };
    if (r->first_token_at_ms > 0) {
        double end_ms = r->ended_at_ms > 0 ? r->ended_at_ms : qvl_now_ms();
        out->generate_ms = end_ms - r->first_token_at_ms;
        out->first_token_ms = r->media_ms + r->prompt_ms + r->first_token_at_ms - r->submitted_ms;
    }
    pthread_mutex_unlock(lock);
}
