/* A picture or clip of a conversation: where it is, and its own options.
 *
 * In: the part's JSON object and the member that names the source. Out: the part's source and options; a part's own
 * values come before those of the settings, and take those out of their way that contradict them. */
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/limits.h"
#include "base/os.h"
#include "chat/chat_reader.h"
#include "chat/media_uri.h"
#include "chat/picture_folder.h"

/* ---- options ------------------------------------------------------------------------------------- */

enum option { MIN_PIXELS, MAX_PIXELS, TOTAL_PIXELS, FPS, NUM_FRAMES, MIN_FRAMES, MAX_FRAMES, START, END, N_OPTION };

static const double MAX_PIXEL_BOUND = 9007199254740992.0; /* 2^53: whole numbers of a double are exact to here */
static const double LEAST = 1e-6;                         /* of what must be above 0 */
static const double LOW_DETAIL_PIXELS = 512 * 512;        /* OpenAI's "detail": "low" is a square of 512 */

static const struct {
    const char *key, *other_key; /* the second is qwen-vl-utils' */
    bool is_whole;
    double min, max;
} options[N_OPTION] = {
    [MIN_PIXELS] = {"min_pixels", NULL, true, 1, MAX_PIXEL_BOUND},
    [MAX_PIXELS] = {"max_pixels", NULL, true, 1, MAX_PIXEL_BOUND},
    [TOTAL_PIXELS] = {"total_pixels", NULL, true, 1, MAX_PIXEL_BOUND},
    [FPS] = {"fps", NULL, false, LEAST, QVL_MAX_CLIP_FPS},
    [NUM_FRAMES] = {"num_frames", "nframes", true, 1, QVL_MAX_CLIP_FRAMES},
    [MIN_FRAMES] = {"min_frames", NULL, true, 1, QVL_MAX_CLIP_FRAMES},
    [MAX_FRAMES] = {"max_frames", NULL, true, 1, QVL_MAX_CLIP_FRAMES},
    [START] = {"start", "video_start", false, 0, QVL_MAX_CLIP_SECONDS},
    [END] = {"end", "video_end", false, LEAST, QVL_MAX_CLIP_SECONDS},
};

static enum qvl_status read_number(struct qvl_chat_reader *r, const struct qvl_json_node *node, const char *key,
                                   double min, double max, double *out, struct qvl_error *err)
{
    double value = 0;
    if (!qvl_json_number(node, &value) || value < min || value > max)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" must be a number from %.16g to %.16g", r->where, key,
                        min, max);
    *out = value;
    return QVL_OK;
}

/* What the part itself says; 0: nothing. */
static enum qvl_status read_options(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                    double own[N_OPTION], struct qvl_error *err)
{
    static const enum option pair[][2] = {{MIN_PIXELS, MAX_PIXELS}, {MIN_FRAMES, MAX_FRAMES}, {START, END}};
    for (int i = 0; i < N_OPTION; i++) {
        const char *key = options[i].key, *other_key = options[i].other_key;
        const struct qvl_json_node *node = qvl_json_member(object, key);
        const struct qvl_json_node *other = other_key ? qvl_json_member(object, other_key) : NULL;
        if (node && other)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" and \"%s\" are the same option", r->where, key,
                            other_key);
        own[i] = 0;
        if (!node && !other)
            continue;
        enum qvl_status status = read_number(r, node ? node : other, node ? key : other_key, options[i].min,
                                             options[i].max, &own[i], err);
        if (status)
            return status;
        if (options[i].is_whole && own[i] != (double)(uint64_t)own[i])
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" must be a whole number", r->where, key);
    }
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
        if (own[pair[i][1]] != 0 && own[pair[i][0]] > own[pair[i][1]])
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" is above \"%s\"", r->where, options[pair[i][0]].key,
                            options[pair[i][1]].key);
    if (own[NUM_FRAMES] != 0 && (own[FPS] != 0 || own[MIN_FRAMES] != 0 || own[MAX_FRAMES] != 0))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: \"num_frames\" is not possible together with \"fps\", \"min_frames\" or "
                        "\"max_frames\"", r->where);
    if (qvl_json_member(object, "resized_height") || qvl_json_member(object, "resized_width"))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: \"resized_height\" and \"resized_width\" are not possible; \"min_pixels\" and "
                        "\"max_pixels\" are", r->where);
    return QVL_OK;
}

/* OpenAI's wish for a picture, in the object that holds its URL or beside it: a cap on its pixels. */
static enum qvl_status read_detail(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                   double own[N_OPTION], struct qvl_error *err)
{
    const struct qvl_json_node *detail = qvl_json_member(object, "detail");
    if (!detail || qvl_json_equals(detail, "auto") || qvl_json_equals(detail, "high"))
        return QVL_OK;
    if (!qvl_json_equals(detail, "low"))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"detail\" must be \"low\", \"high\" or \"auto\"", r->where);
    if (own[MAX_PIXELS] == 0 || own[MAX_PIXELS] > LOW_DETAIL_PIXELS)
        own[MAX_PIXELS] = LOW_DETAIL_PIXELS;
    return QVL_OK;
}

static void apply_options(const double own[N_OPTION], struct qvl_media_options *m)
{
    if (own[NUM_FRAMES] != 0)
        m->fps = m->min_frames = m->max_frames = 0;
    if (own[FPS] != 0 || own[MIN_FRAMES] != 0 || own[MAX_FRAMES] != 0)
        m->num_frames = 0;
    if (own[MIN_PIXELS] > (double)m->max_pixels)
        m->max_pixels = 0;
    if (own[MAX_PIXELS] != 0 && own[MAX_PIXELS] < (double)m->min_pixels)
        m->min_pixels = 0;
    if (own[MIN_FRAMES] > m->max_frames)
        m->max_frames = 0;
    if (own[MAX_FRAMES] != 0 && own[MAX_FRAMES] < m->min_frames)
        m->min_frames = 0;
    if (own[START] > m->end_s)
        m->end_s = 0;
    if (own[END] != 0 && own[END] < m->start_s)
        m->start_s = 0;
    m->min_pixels = own[MIN_PIXELS] != 0 ? (uint64_t)own[MIN_PIXELS] : m->min_pixels;
    m->max_pixels = own[MAX_PIXELS] != 0 ? (uint64_t)own[MAX_PIXELS] : m->max_pixels;
    m->total_pixels = own[TOTAL_PIXELS] != 0 ? (uint64_t)own[TOTAL_PIXELS] : m->total_pixels;
    m->fps = own[FPS] != 0 ? own[FPS] : m->fps;
    m->num_frames = own[NUM_FRAMES] != 0 ? (uint32_t)own[NUM_FRAMES] : m->num_frames;
    m->min_frames = own[MIN_FRAMES] != 0 ? (uint32_t)own[MIN_FRAMES] : m->min_frames;
    m->max_frames = own[MAX_FRAMES] != 0 ? (uint32_t)own[MAX_FRAMES] : m->max_frames;
    m->start_s = own[START] != 0 ? own[START] : m->start_s;
    m->end_s = own[END] != 0 ? own[END] : m->end_s;
}

/* ---- pictures as a clip -------------------------------------------------------------------------- */

/* "times", of each picture, or "sample_fps", or the rate of the settings. */
static enum qvl_status read_times(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                  struct qvl_picture_file *picture, size_t n, struct qvl_error *err)
{
    const struct qvl_json_node *times = qvl_json_member(object, "times");
    const struct qvl_json_node *rate = qvl_json_member(object, "sample_fps");
    double fps = r->settings->sample_fps;
    enum qvl_status status = QVL_OK;
    if (times && rate)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: only one of \"times\" and \"sample_fps\" is possible",
                        r->where);
    if (rate && (status = read_number(r, rate, "sample_fps", LEAST, QVL_MAX_CLIP_FPS, &fps, err)))
        return status;
    if (!times)
        return qvl_picture_times_set(r->where, picture, n, fps, err);
    if (times->kind != QVL_JSON_ARRAY || times->n_child != n)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"times\" must be a list of %zu numbers, one for each picture",
                        r->where, n);
    const struct qvl_json_node *time = times + 1;
    for (size_t i = 0; i < n; i++, time = qvl_json_next(time)) {
        if ((status = read_number(r, time, "times", 0, QVL_MAX_CLIP_SECONDS, &picture[i].time_s, err)))
            return status;
        if (i > 0 && picture[i].time_s < picture[i - 1].time_s)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"times\" go back at picture %zu, from %g to %g seconds",
                            r->where, i + 1, picture[i - 1].time_s, picture[i].time_s);
    }
    return QVL_OK;
}

static enum qvl_status read_list(struct qvl_chat_reader *r, const struct qvl_json_node *list,
                                 struct qvl_picture_file **out, size_t *out_n, struct qvl_error *err)
{
    struct qvl_arena *arena = &r->out->arena;
    if (list->n_child == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the list of pictures is empty", r->where);
    if (list->n_child > QVL_MAX_CLIP_FRAMES)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: a list of %u pictures; at most %u are allowed", r->where,
                        list->n_child, QVL_MAX_CLIP_FRAMES);
    struct qvl_picture_file *picture = qvl_arena_alloc(arena, list->n_child, sizeof *picture, "pictures", err);
    if (!picture)
        return err->status;
    const struct qvl_json_node *entry = list + 1;
    for (uint32_t i = 0; i < list->n_child; i++, entry = qvl_json_next(entry)) {
        size_t n_before = qvl_chat_enter(r, "[%u]", i);
        if (entry->kind != QVL_JSON_STRING)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be a string: a path or a data: URI", r->where);
        enum qvl_status status = qvl_media_uri_read(r->where, entry->utf8, entry->n, r->settings->base_dir, arena,
                                                    &picture[i], err);
        if (status)
            return status;
        qvl_chat_leave(r, n_before);
    }
    *out = picture;
    *out_n = list->n_child;
    return QVL_OK;
}

/* Of pictures every one is seen: what chooses frames of a file has no meaning. */
static enum qvl_status finish_list(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                   const double own[N_OPTION], struct qvl_picture_file *picture, size_t n,
                                   struct qvl_part *part, struct qvl_error *err)
{
    struct qvl_media_options *m = &part->media;
    for (int i = FPS; i < N_OPTION; i++)
        if (own[i] != 0)
            return qvl_fail(err, QVL_ERR_ARGUMENT,
                            "%s: \"%s\" chooses frames of a video file; of pictures all are used, "
                            "\"sample_fps\" or \"times\" say when", r->where, options[i].key);
    enum qvl_status status = read_times(r, object, picture, n, err);
    if (status)
        return status;
    *m = (struct qvl_media_options){.min_pixels = m->min_pixels, .max_pixels = m->max_pixels,
                                    .total_pixels = m->total_pixels, .resize = m->resize};
    part->source.from = QVL_FROM_PICTURES;
    part->source.pictures = picture;
    part->source.n_frame = n;
    return QVL_OK;
}

/* ---- one file ------------------------------------------------------------------------------------ */

static enum qvl_status open_file(struct qvl_chat_reader *r, const char *path, struct qvl_part *part,
                                 struct qvl_error *err)
{
    struct qvl_chat_json *out = r->out;
    uint64_t n_bytes = 0;
    int *fd = qvl_grow(out->fd, &out->n_fd_alloc, out->n_fd + 1, sizeof *fd, "open files", err);
    if (!fd)
        return err->status;
    out->fd = fd;
    if (qvl_os_open_file(path, &fd[out->n_fd], &n_bytes, err)) {
        err->status = QVL_ERR_MEDIA; /* the sentence stays: here a missing file is a missing picture */
        return err->status;
    }
    part->source.from = QVL_FROM_FD;
    part->source.fd = fd[out->n_fd++];
    return QVL_OK;
}

/* A picture, or a clip in a file or in a folder. */
static enum qvl_status read_single(struct qvl_chat_reader *r, const struct qvl_json_node *object,
                                   const double own[N_OPTION], const struct qvl_json_node *uri,
                                   struct qvl_part *part, struct qvl_error *err)
{
    struct qvl_picture_file file, *picture = NULL;
    size_t n = 0;
    enum qvl_status status = qvl_media_uri_read(r->where, uri->utf8, uri->n, r->settings->base_dir,
                                                &r->out->arena, &file, err);
    if (status)
        return status;
    if (file.path)
        part->source.name = file.path;
    if (file.path && part->kind == QVL_PART_VIDEO && qvl_os_is_folder(file.path)) {
        status = qvl_picture_folder_list(file.path, 0, &r->out->arena, &picture, &n, err);
        return status ? status : finish_list(r, object, own, picture, n, part, err);
    }
    if (part->kind == QVL_PART_VIDEO &&
        (qvl_json_member(object, "sample_fps") || qvl_json_member(object, "times")))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: \"sample_fps\" and \"times\" are for a list or folder of pictures; the rate at which "
                        "a video file is sampled is \"fps\"", r->where);
    if (file.path)
        return open_file(r, file.path, part, err);
    part->source.from = QVL_FROM_BYTES;
    part->source.bytes = file.bytes;
    part->source.n_bytes = file.n_bytes;
    return QVL_OK;
}

enum qvl_status qvl_chat_read_media(struct qvl_chat_reader *r, const struct qvl_json_node *object, const char *key,
                                    const struct qvl_json_node *source, struct qvl_part *part,
                                    struct qvl_error *err)
{
    double own[N_OPTION];
    bool is_clip = part->kind == QVL_PART_VIDEO;
    struct qvl_picture_file *picture = NULL;
    size_t n = 0;
    if (++r->n_media > QVL_MAX_MEDIA_PER_REQUEST)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: more than %u pictures and clips", r->where,
                        QVL_MAX_MEDIA_PER_REQUEST);
    enum qvl_status status = read_options(r, object, own, err);
    if (!status && !is_clip && !(status = read_detail(r, object, own, err)))
        status = read_detail(r, source, own, err);
    if (status)
        return status;
    part->media = is_clip ? r->settings->video : r->settings->image;
    apply_options(own, &part->media);
    qvl_chat_enter(r, ".%s", key);
    if (source->kind == QVL_JSON_OBJECT) {
        source = qvl_json_member(source, "url");
        qvl_chat_enter(r, "%s", ".url");
    }
    bool is_list = is_clip && source && source->kind == QVL_JSON_ARRAY;
    if (!is_list && (!source || source->kind != QVL_JSON_STRING))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be a string: a path or a data: URI", r->where);
    part->source.fd = -1;
    if (!(part->source.name = qvl_arena_copy_text(&r->out->arena, r->where, strlen(r->where), err)))
        return err->status;
    if (!is_list)
        return read_single(r, object, own, source, part, err);
    status = read_list(r, source, &picture, &n, err);
    return status ? status : finish_list(r, object, own, picture, n, part, err);
}
