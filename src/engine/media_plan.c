/* Two bounds hold for a picture: on its own pixels. A clip's hold for all its frames together, and so do the
 * model's; what a caller gives for each frame is multiplied by their number. */
#include "engine/media_plan.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "engine/prompt.h"
#include "model/resize.h"

/* ---- references ---------------------------------------------------------------------------------- */

enum qvl_status qvl_media_plan_new(enum qvl_media_kind kind, struct qvl_media_plan **out, struct qvl_error *err)
{
    struct qvl_media_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return qvl_fail_memory(err, sizeof *plan, "what is known of a picture");
    atomic_init(&plan->n_user, 1);
    plan->info.kind = kind;
    *out = plan;
    return QVL_OK;
}

struct qvl_media_plan *qvl_media_plan_acquire(struct qvl_media_plan *plan)
{
    atomic_fetch_add(&plan->n_user, 1);
    return plan;
}

void qvl_media_plan_release(struct qvl_media_plan *plan)
{
    if (!plan || atomic_fetch_sub(&plan->n_user, 1) > 1)
        return;
    qvl_arena_free(&plan->arena);
    free(plan);
}

/* ---- size ---------------------------------------------------------------------------------------- */

struct bounds {
    uint64_t min_pixels, max_pixels;
};

/* One given bound moves the model's other one out of its way. Two given ones that contradict each other were
 * refused when they were passed in. */
static void reconcile(struct bounds *b, bool is_max_given)
{
    if (b->min_pixels > b->max_pixels && is_max_given)
        b->min_pixels = b->max_pixels;
    else if (b->min_pixels > b->max_pixels)
        b->max_pixels = b->min_pixels;
}

static struct bounds picture_bounds(const struct qvl_image_config *model, const struct qvl_media_options *wish)
{
    struct bounds b = {wish->min_pixels ? wish->min_pixels : model->min_pixels,
                       wish->max_pixels ? wish->max_pixels : model->max_pixels};
    reconcile(&b, wish->max_pixels != 0);
    return b;
}

/* Of n frames together. */
static uint64_t times(uint64_t pixels, uint64_t n)
{
    uint64_t all;
    return __builtin_mul_overflow(pixels, n, &all) ? UINT64_MAX : all;
}

static enum qvl_status clip_bounds(const struct qvl_video_config *model, const struct qvl_media_options *wish,
                                   uint64_t n_frame, struct bounds *out, struct qvl_error *err)
{
    uint64_t least = times(wish->min_pixels, n_frame);
    struct bounds b = {least ? least : model->min_pixels,
                       wish->total_pixels ? wish->total_pixels : model->max_pixels};
    if (least && wish->total_pixels && least > wish->total_pixels)
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "min_pixels %" PRIu64 " for each of %" PRIu64 " frames is more than total_pixels %" PRIu64,
                        wish->min_pixels, n_frame, wish->total_pixels);
    if (wish->max_pixels && times(wish->max_pixels, n_frame) < b.max_pixels)
        b.max_pixels = times(wish->max_pixels, n_frame);
    reconcile(&b, !least && (wish->max_pixels || wish->total_pixels));
    *out = b;
    return QVL_OK;
}

/* A single frame counts as the whole temporal patch that it fills. */
static enum qvl_status fit_size(struct qvl_media_plan *plan, const struct qvl_config *config,
                                const struct qvl_media_options *wish, struct qvl_error *err)
{
    struct qvl_media_info *info = &plan->info;
    const struct qvl_vision_config *vision = &config->vision;
    uint32_t factor = vision->patch * vision->merge, h = info->original_h, w = info->original_w;
    if (info->kind == QVL_MEDIA_IMAGE) {
        struct bounds b = picture_bounds(&config->image, wish);
        return qvl_smart_resize(h, w, factor, b.min_pixels, b.max_pixels, &info->resized_h, &info->resized_w, err);
    }
    struct bounds b = {0};
    uint32_t n_frame = (uint32_t)plan->n_frame;
    uint32_t n_counted = n_frame < vision->temporal_patch ? vision->temporal_patch : n_frame;
    enum qvl_status status = clip_bounds(&config->video, wish, n_counted, &b, err);
    return status ? status
                  : qvl_smart_resize_clip(n_frame, vision->temporal_patch, h, w, factor, b.min_pixels, b.max_pixels,
                                          &info->resized_h, &info->resized_w, err);
}

/* ---- the plan ------------------------------------------------------------------------------------ */

static enum qvl_status make_patch_times(struct qvl_media_plan *plan, uint32_t temporal_patch, struct qvl_error *err)
{
    double *patch_s = qvl_arena_alloc(&plan->arena, plan->grid.t, sizeof *patch_s, "the times of a clip", err);
    if (!patch_s)
        return QVL_ERR_MEMORY;
    for (uint32_t t = 0; t < plan->grid.t; t++)
        patch_s[t] = qvl_prompt_patch_time(plan->info.frame_s, plan->n_frame, temporal_patch, t);
    plan->info.patch_s = patch_s;
    return QVL_OK;
}

enum qvl_status qvl_media_plan_fit(struct qvl_media_plan *plan, const struct qvl_config *config,
                                   const struct qvl_media_options *wish, const char *name, struct qvl_error *err)
{
    struct qvl_media_info *info = &plan->info;
    const struct qvl_vision_config *vision = &config->vision;
    struct qvl_error why = {0};
    enum qvl_status status = fit_size(plan, config, wish, &why);
    if (status)
        return qvl_fail(err, status, "%s: %.400s", name, why.text);
    info->grid_t = (uint32_t)qvl_div_up(plan->n_frame, vision->temporal_patch);
    info->grid_h = info->resized_h / vision->patch;
    info->grid_w = info->resized_w / vision->patch;
    plan->grid = (struct qvl_grid){info->grid_t, info->grid_h, info->grid_w};
    size_t n_tok = qvl_grid_n_patch(plan->grid) / ((size_t)vision->merge * vision->merge);
    info->n_tok = (uint32_t)qvl_min_size(n_tok, UINT32_MAX); /* more than a context: refused by the feed */
    return info->kind == QVL_MEDIA_VIDEO ? make_patch_times(plan, vision->temporal_patch, err) : QVL_OK;
}
