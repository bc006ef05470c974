/* A request's own side, on its caller's thread: copy, render, measure the pictures, make the prompt, admit,
 * decode and resize picture by picture, hand over to the scheduler, pull events.
 *
 * The pictures' sizes come from their headers, so that what cannot fit the context is refused before any
 * picture is decoded. A clip is a picture of several frames, all of one size; the caller gives them decoded. */
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/limits.h"
#include "engine/chat_copy.h"
#include "engine/scheduler.h"
#include "model/resize.h"

enum {
    DEFAULT_MAX_TOKENS = 4096,
    VISION_PATCHES = 1024 /* small temporal patches share a run of the tower up to this many patches */
};

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

/* ---- pictures and clips -------------------------------------------------------------------------- */

static const char *name_of(const struct qvl_part *part)
{
    return part->source.name ? part->source.name : part->kind == QVL_PART_VIDEO ? "a clip" : "a picture";
}

static bool is_clip(const struct qvl_media_item *item)
{
    return item->part->kind == QVL_PART_VIDEO;
}

/* What the reader gets for frame i: the whole source of a picture, one of a clip's frames. */
static struct qvl_media_source frame_source(const struct qvl_media_item *item, size_t i)
{
    struct qvl_media_source source = item->part->source;
    if (is_clip(item)) {
        source.frames += i;
        source.n_frame = 1;
    }
    return source;
}

/* Width and height of frame i before resizing. The first one opens the reader, which starts no process yet. */
static enum qvl_status probe(struct qvl_request *r, const struct qvl_media_item *item, size_t i, uint32_t *w,
                             uint32_t *h, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    struct qvl_media_settings settings = {.helper_path = r->engine->media_helper};
    struct qvl_media_source source = frame_source(item, i);
    if (!r->media && (status = qvl_media_open(&settings, &r->media, err)))
        return status;
    return qvl_media_probe_image(r->media, &source, w, h, &r->is_cancelled, err);
}

/* Sizes and times of the frames: the sizes equal, the times in order. */
static enum qvl_status probe_frames(struct qvl_request *r, struct qvl_media_item *item, struct qvl_error *err)
{
    struct qvl_media_info *info = &item->info;
    enum qvl_status status = probe(r, item, 0, &info->original_w, &info->original_h, err);
    item->n_frame = is_clip(item) ? item->part->source.n_frame : 1;
    item->frame_s = status ? NULL : qvl_arena_alloc(&r->arena, item->n_frame, sizeof *item->frame_s,
                                                    "the times of a clip's frames", err);
    if (!item->frame_s)
        return status ? status : QVL_ERR_MEMORY;
    for (size_t i = 0; is_clip(item) && i < item->n_frame; i++) {
        uint32_t w, h;
        double time_s = item->part->source.frames[i].time_s;
        if ((status = probe(r, item, i, &w, &h, err)))
            return status;
        if (w != info->original_w || h != info->original_h)
            return qvl_fail(err, QVL_ERR_MEDIA, "%s: frame %zu has %u x %u pixels, but the first one %u x %u",
                            info->name, i + 1, w, h, info->original_w, info->original_h);
        if (!(time_s >= (i ? item->frame_s[i - 1] : 0) && time_s <= QVL_MAX_CLIP_SECONDS))
            return qvl_fail(err, QVL_ERR_MEDIA,
                            "%s: frame %zu has the time %g s; times must be 0 to %u s and never go back",
                            info->name, i + 1, time_s, QVL_MAX_CLIP_SECONDS);
        item->frame_s[i] = time_s;
    }
    return QVL_OK;
}

/* The size that the model sees. */
static enum qvl_status fit_size(const struct qvl_config *config, const struct qvl_media_item *item,
                                struct qvl_media_info *info, struct qvl_error *err)
{
    const struct qvl_media_options *wish = &item->part->media;
    const struct qvl_vision_config *vision = &config->vision;
    uint64_t min_pixels = is_clip(item) ? config->video.min_pixels : config->image.min_pixels;
    uint64_t max_pixels = is_clip(item) ? config->video.max_pixels : config->image.max_pixels;
    min_pixels = wish->min_pixels ? wish->min_pixels : min_pixels;
    max_pixels = wish->max_pixels ? wish->max_pixels : max_pixels;
    if (min_pixels > max_pixels && wish->max_pixels) /* the caller's bound wins over the model's */
        min_pixels = max_pixels;
    else if (min_pixels > max_pixels)
        max_pixels = min_pixels;
    uint32_t factor = vision->patch * vision->merge, h = info->original_h, w = info->original_w;
    if (is_clip(item))
        return qvl_smart_resize_clip((uint32_t)item->n_frame, vision->temporal_patch, h, w, factor, min_pixels,
                                     max_pixels, &info->resized_h, &info->resized_w, err);
    return qvl_smart_resize(h, w, factor, min_pixels, max_pixels, &info->resized_h, &info->resized_w, err);
}

/* How many of the item's temporal patches make a run of the tower worth its reading of all weights. */
static enum qvl_status make_groups(struct qvl_request *r, struct qvl_media_item *item, struct qvl_error *err)
{
    uint32_t n_patch = item->grid.h * item->grid.w; /* below 2^24: limits on sides and pixels */
    item->n_group_patch = n_patch < VISION_PATCHES ? VISION_PATCHES / n_patch : 1;
    item->n_group = (item->grid.t + item->n_group_patch - 1) / item->n_group_patch;
    item->group = qvl_arena_alloc(&r->arena, item->n_group, sizeof *item->group, "the features of a picture", err);
    return item->group ? QVL_OK : QVL_ERR_MEMORY;
}

/* Fills info, grid and groups. */
static enum qvl_status measure(struct qvl_request *r, struct qvl_media_item *item, struct qvl_error *err)
{
    const struct qvl_config *config = &r->engine->config;
    const struct qvl_vision_config *vision = &config->vision;
    struct qvl_media_info *info = &item->info;
    struct qvl_error why = {0};
    *info = (struct qvl_media_info){.kind = is_clip(item) ? QVL_MEDIA_VIDEO : QVL_MEDIA_IMAGE,
                                    .name = name_of(item->part)};
    enum qvl_status status = probe_frames(r, item, err);
    if (status)
        return status;
    if ((status = fit_size(config, item, info, &why)))
        return qvl_fail(err, status, "%s: %.400s", info->name, why.text);
    info->grid_t = ((uint32_t)item->n_frame + vision->temporal_patch - 1) / vision->temporal_patch;
    info->grid_h = info->resized_h / vision->patch;
    info->grid_w = info->resized_w / vision->patch;
    item->grid = (struct qvl_grid){info->grid_t, info->grid_h, info->grid_w};
    size_t n_tok = qvl_grid_n_patch(item->grid) / ((size_t)vision->merge * vision->merge);
    info->n_tok = (uint32_t)qvl_min_size(n_tok, UINT32_MAX); /* more than a context: refused by measure_shown */
    return make_groups(r, item, err);
}

static enum qvl_status measure_shown(struct qvl_request *r, const struct qvl_prompt_parts *parts,
                                     struct qvl_error *err)
{
    size_t n_tok = 0;
    for (size_t i = 0; i < parts->n; i++)
        if ((parts->part[i].kind == QVL_PROMPT_IMAGE || parts->part[i].kind == QVL_PROMPT_VIDEO) &&
            parts->part[i].i_media < r->n_item)
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
                            "the first %zu pictures and clips alone need %zu tokens, and the context holds %u "
                            "(max_pixels makes them smaller)",
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
    const size_t dim[] = {item->n_frame, item->info.resized_h, item->info.resized_w, 3};
    size_t i_first = is_clip(item) ? 0 : 1; /* a picture has no axis of frames */
    trace->tensor(trace->user, name, QVL_TRACE_U8, item->rgb8, dim + i_first, 4 - i_first);
}

/* Decodes and resizes frame i into its place; its full-size pixels are gone afterwards. */
static enum qvl_status decode_frame(struct qvl_request *r, struct qvl_media_item *item, size_t i,
                                    struct qvl_error *err)
{
    const struct qvl_media_info *info = &item->info;
    struct qvl_media_source source = frame_source(item, i);
    struct qvl_picture picture = {0};
    enum qvl_status status = qvl_media_decode_image(r->media, &source, &picture, &r->is_cancelled, err);
    if (status)
        return status;
    if (picture.frame.w != info->original_w || picture.frame.h != info->original_h) {
        status = qvl_fail(err, QVL_ERR_MEDIA, "%s: decoded to %u x %u pixels, but its header says %u x %u",
                          info->name, picture.frame.w, picture.frame.h, info->original_w, info->original_h);
        goto fail;
    }
    status = qvl_resize_bicubic(&picture.frame, info->resized_w, info->resized_h, item->part->media.resize,
                                item->rgb8 + i * qvl_frame_bytes(item), NULL, &r->is_cancelled, err);
fail:
    qvl_picture_free(&picture);
    return status;
}

static enum qvl_status decode_item(struct qvl_request *r, struct qvl_media_item *item, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    item->rgb8 = qvl_arena_alloc(&item->pixels, item->n_frame, qvl_frame_bytes(item), "resized pictures", err);
    if (!item->rgb8)
        return QVL_ERR_MEMORY;
    for (size_t i = 0; i < item->n_frame && !status; i++)
        status = atomic_load(&r->is_cancelled) ? qvl_fail(err, QVL_ERR_CANCELLED, "cancelled")
                                               : decode_frame(r, item, i, err);
    if (status)
        return status;
    trace_pixels(r, item);
    r->n_decoded++;
    return QVL_OK;
}

/* ---- prompt and admission ------------------------------------------------------------------------ */

static enum qvl_status admit(struct qvl_request *r, struct qvl_error *err)
{
    size_t n_prompt = r->prompt.ids.n, n_ctx = r->engine->n_ctx;
    uint32_t n_want = r->options.max_tokens;
    if (n_prompt + (n_want ? n_want : 1) > n_ctx)
        return qvl_fail(err, QVL_ERR_LIMIT,
                        "the prompt has %zu tokens (%zu of them pictures and clips) and the answer may have %u: "
                        "together more than the context of %zu",
                        n_prompt, r->prompt.n_image_tok + r->prompt.n_video_tok, n_want ? n_want : 1, n_ctx);
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
    struct qvl_prompt_media *media = NULL;
    struct qvl_prompt_settings settings = {.merge = e->config.vision.merge,
                                           .temporal_patch = e->config.vision.temporal_patch,
                                           .want_video_wrapper = r->chat.want_video_wrapper};
    enum qvl_status status;
    if ((status = qvl_chat_render(&r->chat, e->config.is_thinking, &parts, err)) ||
        (status = measure_shown(r, &parts, err)))
        goto fail;
    media = qvl_arena_alloc(&r->arena, r->n_item, sizeof *media, "the grids of the pictures", err);
    if (!media) {
        status = QVL_ERR_MEMORY;
        goto fail;
    }
    for (size_t i = 0; i < r->n_item; i++)
        media[i] = (struct qvl_prompt_media){r->item[i].grid, r->item[i].frame_s, r->item[i].n_frame};
    status = qvl_prompt_build(e->tokenizer, &parts, media, r->n_item, &settings, &r->prompt, err);
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
        .n_stop = o->n_stop, .no_loop_guard = o->no_loop_guard, .n_top = o->n_top_logits,
        .is_thinking = e->config.is_thinking};
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
        .n_video_tok = r->prompt.n_video_tok,
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
