/* Measuring reads no pixels where the source tells its size without (headers of pictures), so that what cannot fit
 * the context is refused before any picture is decoded. Decoding then goes through the items in order, a frame at a
 * time, wherever there is room: a picture's hold is its one frame, a clip's two groups of temporal patches, one for
 * the tower and one on its way.
 *
 * Four kinds of source, one way: a frame of any of them is a struct qvl_picture (pixels of the caller, or shared
 * with a helper process), checked against what was measured, resized into its place, and gone. */
#include "engine/feed.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/os.h"
#include "engine/session.h"
#include "media/clip.h"
#include "model/resize.h"
#include "model/sample_frames.h"

enum {
    VISION_PATCHES = 1024, /* small temporal patches share a run of the tower up to this many patches */
    HOLD_GROUPS = 2
};

static bool is_clip(const struct qvl_media_item *item)
{
    return item->part->kind == QVL_PART_VIDEO;
}

/* For sentences: the request's copy of a part always has one. */
static const char *name_of(const struct qvl_media_item *item)
{
    return item->part->source.name;
}

/* A clip that the helper reads as a whole file; of any other the caller gives every frame. */
static bool is_clip_file(const struct qvl_media_item *item)
{
    enum qvl_media_from from = item->part->source.from;
    return is_clip(item) && (from == QVL_FROM_BYTES || from == QVL_FROM_FD);
}

/* Of one resized frame. */
static size_t frame_bytes(const struct qvl_media_item *item)
{
    return (size_t)item->plan->info.resized_h * item->plan->info.resized_w * 3;
}

static uint8_t *frame_place(const struct qvl_media_item *item, size_t i_frame)
{
    return item->rgb8 + i_frame % item->n_hold * frame_bytes(item);
}

static size_t n_frame(const struct qvl_media_item *item)
{
    return item->plan->n_frame;
}

uint32_t qvl_media_group_end(const struct qvl_media_item *item, uint32_t i_group)
{
    return (uint32_t)qvl_min_size((size_t)(i_group + 1) * item->n_group_patch, item->plan->grid.t);
}

/* ---- open, close --------------------------------------------------------------------------------- */

static struct qvl_media_settings media_settings(const struct qvl_feed *feed)
{
    return (struct qvl_media_settings){.helper_path = feed->engine->media_helper,
                                       .deadline_ms = feed->engine->media_deadline_ms,
                                       .n_thread = feed->engine->n_thread};
}

static void add_item(struct qvl_feed *feed, const struct qvl_part *part)
{
    feed->item[feed->n_item++] =
        (struct qvl_media_item){.part = part, .temporal_patch = feed->engine->config.vision.temporal_patch};
}

enum qvl_status qvl_feed_init(struct qvl_feed *feed, struct qvl_engine *engine, struct qvl_session *session,
                              const struct qvl_chat *chat, size_t n_item, struct qvl_arena *arena,
                              struct qvl_error *err)
{
    *feed = (struct qvl_feed){.engine = engine, .session = session, .arena = arena};
    const struct qvl_media_settings settings = media_settings(feed);
    feed->item = qvl_arena_alloc(arena, n_item, sizeof *feed->item, "the list of pictures", err);
    feed->info = qvl_arena_alloc(arena, n_item, sizeof *feed->info, "the list of pictures", err);
    if (!feed->item || !feed->info)
        return QVL_ERR_MEMORY;
    for (size_t i = 0; i < chat->n_message; i++)
        for (size_t j = 0; j < chat->messages[i].n_part; j++)
            if (chat->messages[i].parts[j].kind != QVL_PART_TEXT)
                add_item(feed, &chat->messages[i].parts[j]);
    return n_item ? qvl_media_open(&settings, &feed->media, err) : QVL_OK; /* which starts no process yet */
}

void qvl_feed_free(struct qvl_feed *feed)
{
    for (size_t i = 0; i < feed->n_item; i++) {
        struct qvl_media_item *item = &feed->item[i];
        qvl_clip_close(item->clip);
        qvl_arena_free(&item->pixels);
        qvl_media_plan_release(item->plan);
    }
    qvl_media_close(feed->media);
    *feed = (struct qvl_feed){0};
}

/* ---- sources ------------------------------------------------------------------------------------- */

/* Frame i as a source of its own: a picture is one already. *out_fd >= 0: to be closed. */
static enum qvl_status frame_source(const struct qvl_media_item *item, size_t i, struct qvl_media_source *out,
                                    int *out_fd, struct qvl_error *err)
{
    const struct qvl_media_source *source = &item->part->source;
    *out = *source;
    *out_fd = -1;
    if (source->from == QVL_FROM_FRAMES) {
        out->frames = &source->frames[i];
        out->n_frame = 1;
    }
    if (source->from != QVL_FROM_PICTURES)
        return QVL_OK;
    const struct qvl_picture_file *picture = &source->pictures[i];
    uint64_t n_bytes = 0;
    if (!picture->path) {
        *out = (struct qvl_media_source){
            .from = QVL_FROM_BYTES, .name = name_of(item), .bytes = picture->bytes, .n_bytes = picture->n_bytes};
        return QVL_OK;
    }
    if (qvl_os_open_file(picture->path, out_fd, &n_bytes, err))
        return err->status = QVL_ERR_MEDIA; /* the sentence stays: here a missing file is a missing picture */
    *out = (struct qvl_media_source){.from = QVL_FROM_FD, .name = picture->path, .fd = *out_fd};
    return QVL_OK;
}

/* Width and height of frame i before resizing. */
static enum qvl_status probe_frame(const struct qvl_feed *feed, const struct qvl_media_item *item, size_t i,
                                   uint32_t *w, uint32_t *h, const atomic_bool *stop, struct qvl_error *err)
{
    struct qvl_media_source source;
    int fd;
    enum qvl_status status = frame_source(item, i, &source, &fd, err);
    if (!status)
        status = qvl_media_probe_image(feed->media, &source, w, h, stop, err);
    if (fd >= 0)
        close(fd);
    return status;
}

static enum qvl_status read_picture(const struct qvl_feed *feed, const struct qvl_media_item *item, size_t i,
                                    struct qvl_picture *out, const atomic_bool *stop, struct qvl_error *err)
{
    struct qvl_media_source source;
    int fd;
    enum qvl_status status = frame_source(item, i, &source, &fd, err);
    if (!status)
        status = qvl_media_decode_image(feed->media, &source, out, stop, err);
    if (fd >= 0)
        close(fd);
    return status;
}

/* ---- clips in files ------------------------------------------------------------------------------ */

/* Before the item's clip is used: of the others, so many keep their processes that there are QVL_MAX_CLIPS_OPEN
 * with this one. The last in order rests, since it is wanted last. */
static void wake_clip(struct qvl_feed *feed, struct qvl_media_item *item)
{
    struct qvl_media_item *last = NULL;
    size_t n_awake = 0;
    for (size_t i = 0; i < feed->n_item; i++)
        if (feed->item[i].is_awake) {
            last = &feed->item[i] == item ? last : &feed->item[i];
            n_awake++;
        }
    if (!item->is_awake && n_awake == QVL_MAX_CLIPS_OPEN) {
        qvl_clip_rest(last->clip);
        last->is_awake = false;
    }
    item->is_awake = true;
}

static void close_clip(struct qvl_media_item *item)
{
    qvl_clip_close(item->clip);
    item->clip = NULL;
    item->is_awake = false;
}

static enum qvl_status open_clip(struct qvl_feed *feed, struct qvl_media_item *item, struct qvl_clip_info *info,
                                 const atomic_bool *stop, struct qvl_error *err)
{
    const struct qvl_media_settings settings = media_settings(feed);
    wake_clip(feed, item);
    enum qvl_status status = qvl_clip_open(&settings, &item->part->source, &item->clip, info, stop, err);
    item->is_awake = !status;
    return status;
}

/* A clip whose plan came from the session is opened only now, and must be the same. */
static enum qvl_status reopen_clip(struct qvl_feed *feed, struct qvl_media_item *item, const atomic_bool *stop,
                                   struct qvl_error *err)
{
    const struct qvl_media_info *known = &item->plan->info;
    struct qvl_clip_info info;
    enum qvl_status status = open_clip(feed, item, &info, stop, err);
    if (status ||
        (info.w == known->original_w && info.h == known->original_h && info.n_frame == known->n_frame_file))
        return status;
    return qvl_fail(
        err, QVL_ERR_MEDIA,
        "%s: the file has %" PRIu64 " frames of %u x %u pixels, but %" PRIu64 " of %u x %u when it was measured",
        name_of(item), info.n_frame, info.w, info.h, known->n_frame_file, known->original_w, known->original_h);
}

static enum qvl_status read_frame(struct qvl_feed *feed, struct qvl_media_item *item, size_t i,
                                  struct qvl_picture *out, const atomic_bool *stop, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (!is_clip_file(item))
        return read_picture(feed, item, i, out, stop, err);
    if (item->clip)
        wake_clip(feed, item);
    else
        status = reopen_clip(feed, item, stop, err);
    return status ? status : qvl_clip_read(item->clip, item->plan->info.frame_index[i], out, stop, err);
}

static double frame_time(const struct qvl_media_source *source, size_t i)
{
    return source->from == QVL_FROM_FRAMES ? source->frames[i].time_s : source->pictures[i].time_s;
}

/* ---- measuring ----------------------------------------------------------------------------------- */

/* Of n frames: their indices, in the order given, and their times, which never go back. */
static enum qvl_status list_frames(const struct qvl_media_item *item, struct qvl_media_plan *plan,
                                   struct qvl_error *err)
{
    const struct qvl_media_source *source = &item->part->source;
    size_t n = source->n_frame;
    uint64_t *index = qvl_arena_alloc(&plan->arena, n, sizeof *index, "a clip's list of frames", err);
    double *time_s =
        index ? qvl_arena_alloc(&plan->arena, n, sizeof *time_s, "a clip's list of frames", err) : NULL;
    if (!time_s)
        return QVL_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        double t = frame_time(source, i);
        if (!(t >= (i ? time_s[i - 1] : 0) && t <= QVL_MAX_CLIP_SECONDS))
            return qvl_fail(err, QVL_ERR_MEDIA,
                            "%s: frame %zu has the time %g s; times must be 0 to %u s and never go back",
                            name_of(item), i + 1, t, QVL_MAX_CLIP_SECONDS);
        index[i] = i;
        time_s[i] = t;
    }
    plan->n_frame = plan->info.n_frame = n;
    plan->info.frame_index = index;
    plan->info.frame_s = time_s;
    return QVL_OK;
}

/* A picture, or a clip of n frames or pictures: all of one size. */
static enum qvl_status probe_frames(const struct qvl_feed *feed, const struct qvl_media_item *item,
                                    struct qvl_media_plan *plan, const atomic_bool *stop, struct qvl_error *err)
{
    struct qvl_media_info *info = &plan->info;
    plan->n_frame = 1;
    enum qvl_status status = is_clip(item) ? list_frames(item, plan, err) : QVL_OK;
    if (status || (status = probe_frame(feed, item, 0, &info->original_w, &info->original_h, stop, err)))
        return status;
    for (size_t i = 1; i < plan->n_frame; i++) {
        uint32_t w, h;
        if ((status = probe_frame(feed, item, i, &w, &h, stop, err)))
            return status;
        if (w != info->original_w || h != info->original_h)
            return qvl_fail(err, QVL_ERR_MEDIA, "%s: frame %zu has %u x %u pixels, but the first one %u x %u",
                            name_of(item), i + 1, w, h, info->original_w, info->original_h);
    }
    return QVL_OK;
}

/* A clip in a file: opened, and its frames chosen. */
static enum qvl_status choose_frames(struct qvl_feed *feed, struct qvl_media_item *item,
                                     struct qvl_media_plan *plan, const atomic_bool *stop, struct qvl_error *err)
{
    struct qvl_clip_info clip;
    struct qvl_media_info *info = &plan->info;
    struct qvl_error why = {0};
    uint64_t *index = NULL;
    enum qvl_status status = open_clip(feed, item, &clip, stop, err);
    if (status)
        return status;
    if ((status = qvl_sample_frames(&feed->engine->config, clip.n_frame, clip.fps, &item->part->media, &plan->arena,
                                    &index, &plan->n_frame, &why)))
        return qvl_fail(err, status, "%s: %.400s", name_of(item), why.text);
    double *time_s = qvl_arena_alloc(&plan->arena, plan->n_frame, sizeof *time_s, "a clip's list of frames", err);
    if (!time_s)
        return QVL_ERR_MEMORY;
    for (size_t i = 0; i < plan->n_frame; i++)
        time_s[i] = (double)index[i] / clip.fps;
    info->original_w = clip.w;
    info->original_h = clip.h;
    info->frame_index = index;
    info->frame_s = time_s;
    info->n_frame = plan->n_frame;
    info->n_frame_file = clip.n_frame;
    info->fps = clip.fps;
    info->duration_s = clip.duration_s;
    info->codec = clip.codec;
    info->is_cut = clip.is_cut;
    return QVL_OK;
}

static enum qvl_status make_plan(struct qvl_feed *feed, struct qvl_media_item *item,
                                 const struct qvl_identity *identity, const atomic_bool *stop,
                                 struct qvl_error *err)
{
    struct qvl_media_plan *plan = NULL;
    enum qvl_status status = qvl_media_plan_new(is_clip(item) ? QVL_MEDIA_VIDEO : QVL_MEDIA_IMAGE, &plan, err);
    if (status)
        return status;
    plan->identity = *identity;
    status =
        is_clip_file(item) ? choose_frames(feed, item, plan, stop, err) : probe_frames(feed, item, plan, stop, err);
    if (status ||
        (status = qvl_media_plan_fit(plan, &feed->engine->config, &item->part->media, name_of(item), err)))
        qvl_media_plan_release(plan);
    else
        item->plan = plan;
    return status;
}

/* How many of the item's temporal patches make a run of the tower worth its reading of all weights. */
static enum qvl_status make_groups(const struct qvl_feed *feed, struct qvl_media_item *item, struct qvl_error *err)
{
    struct qvl_grid grid = item->plan->grid;
    uint32_t n_patch = grid.h * grid.w; /* below 2^24: limits on sides and pixels */
    item->n_group_patch = n_patch < VISION_PATCHES ? VISION_PATCHES / n_patch : 1;
    /* pointers are meant: NOLINTNEXTLINE(bugprone-sizeof-expression) */
    item->patch = qvl_arena_alloc(feed->arena, grid.t, sizeof *item->patch, "the features of a picture", err);
    if (!item->patch)
        return QVL_ERR_MEMORY;
    item->n_hold = qvl_min_size(n_frame(item), (size_t)HOLD_GROUPS * item->n_group_patch * item->temporal_patch);
    return QVL_OK;
}

/* The item counts as one of those shown; together they must leave room for a prompt. */
static enum qvl_status add_info(struct qvl_feed *feed, struct qvl_media_item *item, struct qvl_error *err)
{
    item->i_shown = (uint32_t)feed->n_info;
    struct qvl_media_info *info = &feed->info[feed->n_info++];
    *info = item->plan->info;
    info->name = name_of(item);
    feed->n_tok += info->n_tok;
    if (feed->n_tok >= feed->engine->n_ctx)
        return qvl_fail(err, QVL_ERR_LIMIT,
                        "the first %zu pictures and clips alone need %zu tokens, and the context holds %u "
                        "(max_pixels makes them smaller)",
                        feed->n_info, feed->n_tok, feed->engine->n_ctx);
    return QVL_OK;
}

/* A plan that the session knows needs no source: that is opened when frames are wanted. */
static enum qvl_status measure(struct qvl_feed *feed, struct qvl_media_item *item, const atomic_bool *stop,
                               struct qvl_error *err)
{
    struct qvl_identity identity = {0};
    enum qvl_status status =
        feed->session || feed->engine->prefix_cache ? qvl_identity_make(item->part, stop, &identity, err) : QVL_OK;
    if (status)
        return status;
    struct qvl_media_plan *known = feed->session ? qvl_session_find_plan(feed->session, &identity) : NULL;
    if (known)
        item->plan = qvl_media_plan_acquire(known);
    else if ((status = make_plan(feed, item, &identity, stop, err)))
        return status;
    if ((status = make_groups(feed, item, err)))
        return status;
    return add_info(feed, item, err);
}

void qvl_feed_show(struct qvl_feed *feed, const struct qvl_prompt_parts *parts)
{
    for (size_t i = 0; i < parts->n; i++) {
        const struct qvl_prompt_part *part = &parts->part[i];
        bool is_media = part->kind == QVL_PROMPT_IMAGE || part->kind == QVL_PROMPT_VIDEO;
        if (is_media && part->i_media < feed->n_item && !feed->item[part->i_media].is_shown) {
            feed->item[part->i_media].is_shown = true;
            feed->n_shown++;
        }
    }
}

bool qvl_feed_is_measured(const struct qvl_feed *feed)
{
    return feed->n_info == feed->n_shown;
}

static void add_time(struct qvl_feed *feed, double start_ms)
{
    pthread_mutex_lock(&feed->engine->lock);
    feed->media_ms += qvl_now_ms() - start_ms;
    pthread_mutex_unlock(&feed->engine->lock);
}

enum qvl_status qvl_feed_measure(struct qvl_feed *feed, const atomic_bool *stop, struct qvl_error *err)
{
    double start_ms = qvl_now_ms();
    while (feed->i_measure < feed->n_item && !feed->item[feed->i_measure].is_shown)
        feed->i_measure++;
    if (feed->i_measure == feed->n_item)
        return QVL_OK;
    enum qvl_status status = measure(feed, &feed->item[feed->i_measure++], stop, err);
    add_time(feed, start_ms);
    return status;
}

/* ---- the hold ------------------------------------------------------------------------------------ */

/* A frame is left to decode. Lock held. */
static bool is_unfinished(const struct qvl_media_item *item)
{
    return item->plan && item->n_resized < n_frame(item);
}

static bool has_room(const struct qvl_media_item *item)
{
    return item->n_resized - item->n_released < item->n_hold;
}

/* The first item that has a frame left and room for it, or NULL. Lock held. */
static struct qvl_media_item *find_hungry(const struct qvl_feed *feed)
{
    for (size_t i = 0; i < feed->n_item; i++)
        if (is_unfinished(&feed->item[i]) && has_room(&feed->item[i]))
            return &feed->item[i];
    return NULL;
}

bool qvl_feed_is_hungry(const struct qvl_feed *feed)
{
    return find_hungry(feed) != NULL;
}

bool qvl_feed_has(const struct qvl_media_item *item, uint32_t end)
{
    return item->n_resized >= qvl_min_size((size_t)end * item->temporal_patch, n_frame(item));
}

const uint8_t *qvl_feed_frame(const struct qvl_media_item *item, size_t i_frame)
{
    return frame_place(item, qvl_min_size(i_frame, n_frame(item) - 1));
}

const struct qvl_feature_key *qvl_feed_frame_key(const struct qvl_media_item *item, size_t i_frame)
{
    return &item->frame_key[qvl_min_size(i_frame, n_frame(item) - 1) % item->n_hold];
}

static void free_hold(struct qvl_media_item *item)
{
    qvl_arena_free(&item->pixels);
    item->rgb8 = NULL;
    item->frame_key = NULL;
}

void qvl_feed_release(struct qvl_media_item *item, uint32_t end)
{
    item->n_released = qvl_min_size((size_t)end * item->temporal_patch, n_frame(item));
    if (item->n_released == n_frame(item))
        free_hold(item); /* all are resized: the caller does not come back to it */
}

/* ---- decoding ------------------------------------------------------------------------------------ */

/* Decodes and resizes frame i into its place; its full-size pixels are gone afterwards. */
static enum qvl_status decode_frame(struct qvl_feed *feed, struct qvl_media_item *item, size_t i,
                                    const atomic_bool *stop, struct qvl_error *err)
{
    const struct qvl_media_info *info = &item->plan->info;
    struct qvl_picture picture = {0};
    enum qvl_status status = read_frame(feed, item, i, &picture, stop, err);
    if (status)
        return status;
    if (picture.frame.w == info->original_w && picture.frame.h == info->original_h)
        status = qvl_resize_bicubic(&picture.frame, info->resized_w, info->resized_h, item->part->media.resize,
                                    frame_place(item, i), NULL, stop, err);
    else
        status =
            qvl_fail(err, QVL_ERR_MEDIA, "%s: frame %zu has %u x %u pixels, but %u x %u when it was measured",
                     name_of(item), i + 1, picture.frame.w, picture.frame.h, info->original_w, info->original_h);
    qvl_picture_free(&picture);
    return status;
}

/* Frame i is the one before it once more, whose place still holds it: places are written in order only. */
static bool is_repeated(const struct qvl_media_item *item, size_t i)
{
    const uint64_t *index = item->plan->info.frame_index;
    return is_clip_file(item) && i > item->i_first && item->n_hold > 1 && index[i] == index[i - 1];
}

static enum qvl_status alloc_hold(const struct qvl_feed *feed, struct qvl_media_item *item, struct qvl_error *err)
{
    item->rgb8 = qvl_arena_alloc(&item->pixels, item->n_hold, frame_bytes(item), "resized pictures", err);
    if (!item->rgb8 || !qvl_engine_has_vision_cache(feed->engine))
        return item->rgb8 ? QVL_OK : QVL_ERR_MEMORY;
    item->frame_key =
        qvl_arena_alloc(&item->pixels, item->n_hold, sizeof *item->frame_key, "resized pictures", err);
    return item->frame_key ? QVL_OK : QVL_ERR_MEMORY;
}

static enum qvl_status fill_place(struct qvl_feed *feed, struct qvl_media_item *item, size_t i,
                                  const atomic_bool *stop, struct qvl_error *err)
{
    if (atomic_load_explicit(stop, memory_order_relaxed))
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
    enum qvl_status status = item->rgb8 ? QVL_OK : alloc_hold(feed, item, err);
    if (status)
        return status;
    if (is_repeated(item, i))
        memcpy(frame_place(item, i), frame_place(item, i - 1), frame_bytes(item));
    else if ((status = decode_frame(feed, item, i, stop, err)))
        return status;
    if (item->frame_key)
        qvl_feature_key_of_frame(frame_place(item, i), frame_bytes(item), &item->frame_key[i % item->n_hold]);
    return QVL_OK;
}

/* After an item's last frame. The last item's ends the helper process of pictures, too. */
static void finish_item(struct qvl_feed *feed, struct qvl_media_item *item)
{
    close_clip(item);
    for (size_t i = 0; i < feed->n_item; i++)
        if (is_unfinished(&feed->item[i]))
            return;
    qvl_media_close(feed->media);
    feed->media = NULL;
}

enum qvl_status qvl_feed_aim(struct qvl_feed *feed, struct qvl_media_item *item, uint32_t i_patch,
                             struct qvl_error *err)
{
    const struct qvl_media_settings settings = media_settings(feed);
    uint32_t begin = i_patch < item->plan->grid.t ? i_patch / item->n_group_patch * item->n_group_patch : i_patch;
    size_t first = qvl_min_size((size_t)begin * item->temporal_patch, n_frame(item));
    pthread_mutex_lock(&feed->engine->lock);
    bool is_back = first < item->i_first;
    if (is_back || item->n_resized < first)
        item->n_resized = first;
    if (is_back || item->n_released < first)
        item->n_released = first;
    item->i_first = first;
    bool is_empty = item->n_resized == item->n_released;
    pthread_mutex_unlock(&feed->engine->lock);
    if (is_empty)
        free_hold(item);
    if (!is_unfinished(item))
        finish_item(feed, item);
    else if (!feed->media) /* ended when nothing was wanted any more */
        return qvl_media_open(&settings, &feed->media, err);
    return QVL_OK;
}

enum qvl_status qvl_feed_step(struct qvl_feed *feed, const atomic_bool *stop, struct qvl_error *err)
{
    double start_ms = qvl_now_ms();
    pthread_mutex_t *lock = &feed->engine->lock;
    pthread_mutex_lock(lock);
    struct qvl_media_item *item = find_hungry(feed);
    size_t i = item ? item->n_resized : 0;
    pthread_mutex_unlock(lock);
    enum qvl_status status = item ? fill_place(feed, item, i, stop, err) : QVL_OK;
    if (item && !status) {
        pthread_mutex_lock(lock);
        item->n_resized++;
        pthread_mutex_unlock(lock);
        if (i + 1 == n_frame(item))
            finish_item(feed, item);
    }
    add_time(feed, start_ms);
    return status;
}

void qvl_feed_progress(const struct qvl_feed *feed, uint64_t *out_done, uint64_t *out_total)
{
    *out_done = feed->n_info;
    *out_total = 2 * feed->n_shown;
    for (size_t i = 0; i < feed->n_item; i++) {
        const struct qvl_media_item *item = &feed->item[i];
        *out_done += item->plan && (!is_unfinished(item) || !has_room(item));
    }
}
