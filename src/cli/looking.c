#include "cli/looking.h"

/* Where attention costs as much as all the rest, measured with the 2B on AVX-512 (SPEED.md): a patch among this
 * many in its picture, a token at this place of the prompt. */
#define PATCHES_EVEN 9000.0
#define TOKENS_EVEN 11000.0
/* A token costs about as much as n_parameter / this patches: the decoder grows with the model, the tower hardly. */
#define PARAMETERS_PER_PATCH 0.63e9
/* The first parts say little: they differ, and weights come from the disk. */
#define JUDGE_AFTER_MS 3e3
#define JUDGE_AFTER_SHARE 0.0625

/* Of a whole picture or clip. */
static double vision_work(const struct qvl_media_info *m)
{
    double n = (double)m->grid_h * (double)m->grid_w; /* attention stays inside a temporal patch */
    return (double)m->grid_t * n * (1 + n / PATCHES_EVEN);
}

/* Of the first n tokens: the sum of 1 + i / TOKENS_EVEN. */
static double prefill_work(uint64_t n_tok)
{
    double n = (double)n_tok;
    return n * (1 + n / (2 * TOKENS_EVEN));
}

static double min_double(double a, double b)
{
    return a < b ? a : b;
}

static void begin(struct qvl_looking *l, const struct qvl_request_info *info, double now_ms)
{
    size_t n_tok = 0;
    l->has_begun = true;
    l->left_s = -1;
    if (l->begin_ms <= 0)
        l->begin_ms = now_ms;
    l->n_media = (uint32_t)info->n_media;
    l->n_tok = info->n_prompt_tok;
    l->n_tok_done = info->n_cached_tok;
    for (size_t i = 0; i < info->n_media; i++) {
        const struct qvl_media_info *m = &info->media[i];
        l->vision_total += vision_work(m);
        n_tok += m->n_tok;
        if (n_tok <= info->n_cached_tok) { /* at least so many stand before its end: see() knows better */
            l->vision_known += vision_work(m);
            l->n_frame_done += m->n_frame;
        }
        l->has_clip = l->has_clip || m->kind == QVL_MEDIA_VIDEO;
        l->n_frame += m->n_frame;
    }
    l->vision_done = l->vision_known;
}

/* Of the picture or clip that the tower is at first, which has then done `share` of it: a session may have known a
 * clip's beginning; of the rest one temporal patch is done. */
static double known_share(const struct qvl_request_info *info, const struct qvl_media_info *m, double share)
{
    double known = share - 1 / (double)m->grid_t;
    return info->n_cached_tok > 0 && known > 0 ? known : 0;
}

/* `done` of `total` patches of picture or clip i_media; the ones before it are done. */
static void see(struct qvl_looking *l, const struct qvl_request_info *info, const struct qvl_event *event)
{
    double share = (double)event->progress.done / (double)event->progress.total;
    l->i_media = event->progress.i_media;
    l->vision_done = 0;
    l->n_frame_done = 0;
    for (size_t i = 0; i < info->n_media && i <= l->i_media; i++) {
        const struct qvl_media_info *m = &info->media[i];
        double part = i < l->i_media ? 1 : share;
        l->vision_done += part * vision_work(m);
        l->n_frame_done += i < l->i_media ? m->n_frame : m->n_frame * event->progress.done / event->progress.total;
    }
    if (l->has_vision)
        return;
    l->has_vision = true;
    l->vision_first = l->vision_done;
    l->vision_first_ms = info->vision_ms;
    if (l->i_media < info->n_media) {
        const struct qvl_media_info *m = &info->media[l->i_media];
        l->vision_known = l->vision_done - (share - known_share(info, m, share)) * vision_work(m);
    }
}

/* Milliseconds of a unit of each kind; false while nothing is known. */
static bool measure(const struct qvl_looking *l, const struct qvl_request_info *info, double *vision,
                    double *prefill)
{
    double tokens = prefill_work(l->n_tok_done) - prefill_work(info->n_cached_tok);
    double patches = l->vision_done - l->vision_first, ratio = (double)l->n_parameter / PARAMETERS_PER_PATCH;
    bool has_vision = l->has_vision && patches > 0, has_prefill = tokens > 0 && info->prefill_ms > 0;
    *vision = has_vision ? (info->vision_ms - l->vision_first_ms) / patches : 0;
    *prefill = has_prefill ? info->prefill_ms / tokens : *vision * ratio;
    if (!has_vision)
        *vision = ratio > 0 ? *prefill / ratio : 0;
    return has_vision || has_prefill;
}

void qvl_looking_update(struct qvl_looking *l, const struct qvl_request_info *info, const struct qvl_event *event,
                        double now_ms)
{
    double per_patch, per_token;
    if (!l->has_begun)
        begin(l, info, now_ms);
    if (event->progress.stage == QVL_STAGE_VISION)
        see(l, info, event);
    else
        l->n_tok_done = event->progress.done;
    if (!measure(l, info, &per_patch, &per_token))
        return;
    double done_ms = per_patch * (l->vision_done - l->vision_known) +
                     per_token * (prefill_work(l->n_tok_done) - prefill_work(info->n_cached_tok));
    double total_ms = per_patch * (l->vision_total - l->vision_known) +
                      per_token * (prefill_work(l->n_tok) - prefill_work(info->n_cached_tok));
    double spent_ms = now_ms - l->begin_ms;
    l->share = total_ms > 0 ? min_double(done_ms / total_ms, 1) : 1;
    bool is_early = spent_ms < JUDGE_AFTER_MS || l->share < JUDGE_AFTER_SHARE;
    l->left_s = is_early ? -1 : spent_ms * (1 - l->share) / l->share / 1e3;
}
