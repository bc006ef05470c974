/* A patch gets its place (item->patch) when its group begins: a known one with features, a new one without; one
 * equal to a new one before it shares that one's place. What the folder knows fills places, too. So the tower's
 * output, in the order of the new ones, goes to the places that have no features yet, and that is all there is to
 * remember. */
#include "engine/vision_group.h"

#include <stdio.h>

#include "base/checked.h"
#include "engine/feature_folder.h"
#include "engine/feature_writer.h"

/* The frames of temporal patch i_patch as the model sees them, by the number of the picture or clip: [h, w, 3] of a
 * picture, [1 or 2, h, w, 3] of a clip, whose odd last one stands alone. */
static void trace_pixels(const struct qvl_trace *trace, const struct qvl_media_item *item, uint32_t i_patch)
{
    const struct qvl_media_info *info = &item->plan->info;
    size_t begin = (size_t)i_patch * item->temporal_patch, n_left = item->plan->n_frame - begin;
    char name[40];
    snprintf(name, sizeof name, "prompt.pixels.%u", item->i_shown);
    const size_t dim[] = {qvl_min_size(n_left, item->temporal_patch), info->resized_h, info->resized_w, 3};
    size_t i_dim = info->kind == QVL_MEDIA_VIDEO ? 0 : 1; /* a picture has no axis of frames */
    trace->tensor(trace->user, name, QVL_TRACE_U8, qvl_feed_frame(item, begin), dim + i_dim, 4 - i_dim);
}

/* ---- begin --------------------------------------------------------------------------------------- */

static struct qvl_feature_key key_of(const struct qvl_media_item *item, uint32_t i_patch, uint64_t salt)
{
    struct qvl_feature_key key;
    size_t i_frame = (size_t)i_patch * item->temporal_patch;
    qvl_feature_key_of_patch(qvl_feed_frame_key(item, i_frame), qvl_feed_frame_key(item, i_frame + 1),
                             item->plan->grid, salt, &key);
    return key;
}

/* Acquired from the cache or from the group's earlier patches; NULL: it is a new one. */
static struct qvl_patch_features *find_known(const struct qvl_vision_group *group, uint32_t i_patch,
                                             const struct qvl_feature_key *key)
{
    struct qvl_patch_features *known = qvl_feature_cache_find(group->from.cache, key);
    if (known && group->from.writer) /* used: the folder must not forget it */
        qvl_feature_writer_add(group->from.writer, known, QVL_FEATURE_USED_AGAIN);
    for (uint32_t i = group->begin; !known && i < i_patch; i++)
        if (qvl_feature_key_is(&group->item->patch[i]->key, key))
            known = qvl_patch_features_acquire(group->item->patch[i]);
    return known;
}

static bool has_features(const struct qvl_vision_group *group, uint32_t i_patch)
{
    return group->item->patch[i_patch]->features.row != NULL;
}

enum qvl_status qvl_vision_group_begin(struct qvl_vision_group *group, const struct qvl_vision_settings *settings,
                                       struct qvl_media_item *item, uint32_t i_group, bool *out_want_read,
                                       struct qvl_error *err)
{
    *group = (struct qvl_vision_group){
        .item = item, .begin = i_group * item->n_group_patch, .end = qvl_media_group_end(item, i_group)};
    if (!settings->trace)
        group->from = settings->memory;
    *out_want_read = false;
    for (uint32_t i = group->begin; i < group->end; i++) {
        struct qvl_feature_key key = {0};
        if (group->from.cache) {
            key = key_of(item, i, settings->salt);
            item->patch[i] = find_known(group, i, &key);
        }
        enum qvl_status status = item->patch[i] ? QVL_OK : qvl_patch_features_new(&key, &item->patch[i], err);
        if (status)
            return status;
        *out_want_read = *out_want_read || (group->from.folder && !has_features(group, i));
    }
    return QVL_OK;
}

/* An earlier patch has the same place. */
static bool is_shared(const struct qvl_vision_group *group, uint32_t i_patch)
{
    for (uint32_t i = group->begin; i < i_patch; i++)
        if (group->item->patch[i] == group->item->patch[i_patch])
            return true;
    return false;
}

/* ---- read ---------------------------------------------------------------------------------------- */

static size_t n_tok_of(const struct qvl_media_item *item)
{
    return item->plan->info.n_tok / item->plan->grid.t;
}

void qvl_vision_group_read(const struct qvl_vision_group *group, const struct qvl_model *model,
                           const atomic_bool *stop)
{
    const struct qvl_features want = {.n = n_tok_of(group->item),
                                      .n_level = 1 + model->config.vision.n_tap,
                                      .n_hidden = model->config.text.hidden};
    for (uint32_t i = group->begin; i < group->end && !atomic_load_explicit(stop, memory_order_relaxed); i++)
        if (!has_features(group, i) && !is_shared(group, i))
            qvl_feature_folder_find(group->from.folder, &group->item->patch[i]->key, &want,
                                    &group->item->patch[i]->features);
}

/* ---- open ---------------------------------------------------------------------------------------- */

/* Where frames are missing in a temporal patch (a picture has only one) the last one stands for them. */
static void cut(const struct qvl_model *model, const struct qvl_media_item *item, uint32_t i_patch, float *row)
{
    size_t i_frame = (size_t)i_patch * item->temporal_patch;
    qvl_patchify(&model->config.vision, &model->config.image, qvl_feed_frame(item, i_frame),
                 qvl_feed_frame(item, i_frame + 1), item->plan->grid.h, item->plan->grid.w, row);
}

enum qvl_status qvl_vision_group_open(struct qvl_vision_group *group, struct qvl_model *model,
                                      const struct qvl_trace *trace, uint32_t *out_n_reused, struct qvl_error *err)
{
    struct qvl_grid grid = group->item->plan->grid;
    uint32_t n = group->end - group->begin;
    size_t n_number = (size_t)grid.h * grid.w * qvl_patch_len(&model->config.vision);
    float *row = qvl_arena_alloc(&group->patches, n, n_number * sizeof *row, "the patches of a picture", err);
    if (!row) /* what is not written is not there: memory grows with the new ones */
        return QVL_ERR_MEMORY;
    grid.t = 0;
    for (uint32_t i = group->begin; i < group->end; i++) {
        if (!has_features(group, i) && !is_shared(group, i))
            cut(model, group->item, i, row + grid.t++ * n_number);
        else if (has_features(group, i) && group->from.cache)
            qvl_feature_cache_add(group->from.cache, group->item->patch[i]); /* the folder's; others it has */
        if (trace)
            trace_pixels(trace, group->item, i);
    }
    *out_n_reused = n - grid.t;
    group->is_open = true;
    return grid.t ? qvl_vision_open(model, &grid, 1, row, trace, &group->tower, err) : QVL_OK;
}

/* ---- step ---------------------------------------------------------------------------------------- */

/* One patch's n_tok tokens of all, from token `first` on. The only ones are moved. */
static enum qvl_status take_part(struct qvl_features *all, size_t first, size_t n_tok, struct qvl_features *out,
                                 struct qvl_error *err)
{
    if (all->n > n_tok)
        return qvl_features_copy(all, first, n_tok, out, err);
    *out = *all;
    *all = (struct qvl_features){0};
    return QVL_OK;
}

/* What the tower made goes to the places that have none yet, in order. */
static enum qvl_status hand_out(const struct qvl_vision_group *group, struct qvl_features *made,
                                struct qvl_error *err)
{
    size_t first = 0, n_tok = n_tok_of(group->item);
    for (uint32_t i = group->begin; i < group->end; i++) {
        struct qvl_patch_features *place = group->item->patch[i];
        if (place->features.row)
            continue;
        enum qvl_status status = take_part(made, first, n_tok, &place->features, err);
        if (status)
            return status;
        if (group->from.cache)
            qvl_feature_cache_add(group->from.cache, place);
        if (group->from.writer)
            qvl_feature_writer_add(group->from.writer, place, QVL_FEATURE_NEW);
        first += n_tok;
    }
    return QVL_OK;
}

enum qvl_status qvl_vision_group_step(struct qvl_vision_group *group, const atomic_bool *stop, uint32_t *done,
                                      uint32_t *total, struct qvl_error *err)
{
    struct qvl_features made = {0};
    enum qvl_status status = QVL_OK;
    *done = *total = 1;
    if (group->tower) {
        if ((status = qvl_vision_step(group->tower, stop, done, total, err)))
            return status;
        if (!qvl_vision_needs_patches(group->tower))
            qvl_arena_free(&group->patches);
        if (*done < *total)
            return QVL_OK;
        qvl_vision_take(group->tower, &made);
        qvl_vision_close(group->tower); /* whose memory goes before that of the copies comes */
        group->tower = NULL;
        status = hand_out(group, &made, err);
        qvl_features_free(&made);
    }
    qvl_vision_group_close(group);
    return status;
}

void qvl_vision_group_close(struct qvl_vision_group *group)
{
    qvl_vision_close(group->tower);
    qvl_arena_free(&group->patches);
    *group = (struct qvl_vision_group){0};
}
