/* In: JSON members. Out: options of a picture or clip, and which of the settings' give way to them.
 *
 * Source of truth: qwen-vl-utils' members of a part; vLLM's mm_processor_kwargs and media_io_kwargs, which are
 * arguments of Hugging Face's processors and of vLLM's own reader of clips. */
#include "chat/media_options.h"

#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "chat/chat_json.h"

static const double MAX_PIXEL_BOUND = 9007199254740992.0; /* 2^53: whole numbers of a double are exact to here */
static const double LOW_DETAIL_PIXELS = 512 * 512;        /* OpenAI's "detail": "low" is a square of 512 */

static const struct {
    const char *key, *other_key; /* the second is qwen-vl-utils' */
    bool is_whole;
    double min, max;
} table[QVL_N_WISH] = {
    [QVL_WISH_MIN_PIXELS] = {"min_pixels", NULL, true, 1, MAX_PIXEL_BOUND},
    [QVL_WISH_MAX_PIXELS] = {"max_pixels", NULL, true, 1, MAX_PIXEL_BOUND},
    [QVL_WISH_TOTAL_PIXELS] = {"total_pixels", NULL, true, 1, MAX_PIXEL_BOUND},
    [QVL_WISH_FPS] = {"fps", NULL, false, QVL_LEAST_RATE, QVL_MAX_CLIP_FPS},
    [QVL_WISH_NUM_FRAMES] = {"num_frames", "nframes", true, 1, QVL_MAX_CLIP_FRAMES},
    [QVL_WISH_MIN_FRAMES] = {"min_frames", NULL, true, 1, QVL_MAX_CLIP_FRAMES},
    [QVL_WISH_MAX_FRAMES] = {"max_frames", NULL, true, 1, QVL_MAX_CLIP_FRAMES},
    [QVL_WISH_START] = {"start", "video_start", false, 0, QVL_MAX_CLIP_SECONDS},
    [QVL_WISH_END] = {"end", "video_end", false, QVL_LEAST_RATE, QVL_MAX_CLIP_SECONDS},
};

const char *qvl_media_wish_name(enum qvl_media_wish wish)
{
    return table[wish].key;
}

/* ---- reading ------------------------------------------------------------------------------------- */

enum qvl_status qvl_media_number_read(const char *where, const char *key, const struct qvl_json_node *node,
                                      double min, double max, double *out, struct qvl_error *err)
{
    double value = 0;
    if (!qvl_json_number(node, &value) || value < min || value > max)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" must be a number from %.16g to %.16g", where, key, min,
                        max);
    *out = value;
    return QVL_OK;
}

/* One wish under both of its names, in both objects: at most one of the four. */
static enum qvl_status read_wish(const char *where, const struct qvl_json_node *const object[2],
                                 enum qvl_media_wish wish, double *out, struct qvl_error *err)
{
    const char *const keys[2] = {table[wish].key, table[wish].other_key};
    const struct qvl_json_node *found = NULL, *node;
    const char *found_key = NULL;
    *out = 0;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2 && keys[k]; k++) {
            if (!(node = qvl_json_member(object[i], keys[k])))
                continue;
            if (found)
                return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" and \"%s\" are the same option", where,
                                found_key, keys[k]);
            found = node;
            found_key = keys[k];
        }
    if (!found)
        return QVL_OK;
    enum qvl_status status =
        qvl_media_number_read(where, found_key, found, table[wish].min, table[wish].max, out, err);
    if (!status && table[wish].is_whole && *out != (double)(uint64_t)*out)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" must be a whole number", where, found_key);
    return status;
}

static enum qvl_status check_wishes(const char *where, const double of[QVL_N_WISH], struct qvl_error *err)
{
    static const enum qvl_media_wish pair[][2] = {{QVL_WISH_MIN_PIXELS, QVL_WISH_MAX_PIXELS},
                                                  {QVL_WISH_MIN_FRAMES, QVL_WISH_MAX_FRAMES},
                                                  {QVL_WISH_START, QVL_WISH_END}};
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
        if (of[pair[i][1]] != 0 && of[pair[i][0]] > of[pair[i][1]])
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" is above \"%s\"", where, table[pair[i][0]].key,
                            table[pair[i][1]].key);
    if (of[QVL_WISH_NUM_FRAMES] != 0 &&
        (of[QVL_WISH_FPS] != 0 || of[QVL_WISH_MIN_FRAMES] != 0 || of[QVL_WISH_MAX_FRAMES] != 0))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "%s: \"num_frames\" is not possible together with \"fps\", \"min_frames\" or "
                        "\"max_frames\"",
                        where);
    return QVL_OK;
}

enum qvl_status qvl_media_wishes_read(const char *where, const struct qvl_json_node *object,
                                      const struct qvl_json_node *inner, struct qvl_media_wishes *out,
                                      struct qvl_error *err)
{
    const struct qvl_json_node *const both[2] = {object, inner};
    enum qvl_status status = QVL_OK;
    for (int i = 0; i < QVL_N_WISH && !status; i++)
        status = read_wish(where, both, (enum qvl_media_wish)i, &out->of[i], err);
    if (status)
        return status;
    for (int i = 0; i < 2; i++)
        if (qvl_json_member(both[i], "resized_height") || qvl_json_member(both[i], "resized_width"))
            return qvl_fail(err, QVL_ERR_ARGUMENT,
                            "%s: \"resized_height\" and \"resized_width\" are not possible; \"min_pixels\" and "
                            "\"max_pixels\" are",
                            where);
    return check_wishes(where, out->of, err);
}

enum qvl_status qvl_media_detail_read(const char *where, const struct qvl_json_node *object,
                                      struct qvl_media_wishes *out, struct qvl_error *err)
{
    static const char *const saying_nothing[] = {"auto", "high", "original"};
    const struct qvl_json_node *detail = qvl_json_member(object, "detail");
    double *max_pixels = &out->of[QVL_WISH_MAX_PIXELS];
    for (size_t i = 0; i < sizeof saying_nothing / sizeof *saying_nothing; i++)
        if (!detail || qvl_json_equals(detail, saying_nothing[i]))
            return QVL_OK;
    if (!qvl_json_equals(detail, "low"))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"detail\" must be \"low\", \"high\", \"original\" or \"auto\"",
                        where);
    if (*max_pixels == 0 || *max_pixels > LOW_DETAIL_PIXELS)
        *max_pixels = LOW_DETAIL_PIXELS;
    return QVL_OK;
}

void qvl_media_wishes_apply(const struct qvl_media_wishes *wishes, struct qvl_media_options *m)
{
    const double *own = wishes->of;
    if (own[QVL_WISH_NUM_FRAMES] != 0)
        m->fps = m->min_frames = m->max_frames = 0;
    if (own[QVL_WISH_FPS] != 0 || own[QVL_WISH_MIN_FRAMES] != 0 || own[QVL_WISH_MAX_FRAMES] != 0)
        m->num_frames = 0;
    if (own[QVL_WISH_MIN_PIXELS] > (double)m->max_pixels)
        m->max_pixels = 0;
    if (own[QVL_WISH_MAX_PIXELS] != 0 && own[QVL_WISH_MAX_PIXELS] < (double)m->min_pixels)
        m->min_pixels = 0;
    if (own[QVL_WISH_MIN_PIXELS] > (double)m->total_pixels)
        m->total_pixels = 0;
    if (own[QVL_WISH_TOTAL_PIXELS] != 0 && own[QVL_WISH_TOTAL_PIXELS] < (double)m->min_pixels)
        m->min_pixels = 0;
    if (own[QVL_WISH_MIN_FRAMES] > m->max_frames)
        m->max_frames = 0;
    if (own[QVL_WISH_MAX_FRAMES] != 0 && own[QVL_WISH_MAX_FRAMES] < m->min_frames)
        m->min_frames = 0;
    if (own[QVL_WISH_START] > m->end_s)
        m->end_s = 0;
    if (own[QVL_WISH_END] != 0 && own[QVL_WISH_END] < m->start_s)
        m->start_s = 0;
    if (own[QVL_WISH_MIN_PIXELS] != 0)
        m->min_pixels = (uint64_t)own[QVL_WISH_MIN_PIXELS];
    if (own[QVL_WISH_MAX_PIXELS] != 0)
        m->max_pixels = (uint64_t)own[QVL_WISH_MAX_PIXELS];
    if (own[QVL_WISH_TOTAL_PIXELS] != 0)
        m->total_pixels = (uint64_t)own[QVL_WISH_TOTAL_PIXELS];
    if (own[QVL_WISH_FPS] != 0)
        m->fps = own[QVL_WISH_FPS];
    if (own[QVL_WISH_NUM_FRAMES] != 0)
        m->num_frames = (uint32_t)own[QVL_WISH_NUM_FRAMES];
    if (own[QVL_WISH_MIN_FRAMES] != 0)
        m->min_frames = (uint32_t)own[QVL_WISH_MIN_FRAMES];
    if (own[QVL_WISH_MAX_FRAMES] != 0)
        m->max_frames = (uint32_t)own[QVL_WISH_MAX_FRAMES];
    if (own[QVL_WISH_START] != 0)
        m->start_s = own[QVL_WISH_START];
    if (own[QVL_WISH_END] != 0)
        m->end_s = own[QVL_WISH_END];
}

/* ---- of a whole request -------------------------------------------------------------------------- */

enum { MAX_UNKNOWN_NAME_BYTES = 64, MAX_UNKNOWN_BYTES = 4096 };

static const char mm_name[] = "mm_processor_kwargs", io_name[] = "media_io_kwargs",
                  io_video_name[] = "media_io_kwargs.video";

/* A part's table, and what only a request has. */
static bool is_processor_key(const char *key)
{
    for (int i = 0; i < QVL_N_WISH; i++)
        if (strcmp(key, table[i].key) == 0 || (table[i].other_key && strcmp(key, table[i].other_key) == 0))
            return true;
    return strcmp(key, "do_sample_frames") == 0 || strcmp(key, "size") == 0;
}

static bool is_size_key(const char *key)
{
    return strcmp(key, "shortest_edge") == 0 || strcmp(key, "longest_edge") == 0;
}

static bool is_io_key(const char *key)
{
    return strcmp(key, "video") == 0;
}

static bool is_io_video_key(const char *key)
{
    return strcmp(key, "fps") == 0 || strcmp(key, "num_frames") == 0;
}

/* An object (or NULL); members that is_known does not know are added to *unknown (or nowhere). */
static enum qvl_status check_object(const char *where, const struct qvl_json_node *object,
                                    bool (*is_known)(const char *key), struct qvl_bytes *unknown,
                                    struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (!object)
        return QVL_OK;
    if (object->kind != QVL_JSON_OBJECT)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: must be an object", where);
    const struct qvl_json_node *member = object + 1;
    for (uint32_t i = 0; i < object->n_child && !status; i++, member = qvl_json_next(member)) {
        char key[MAX_UNKNOWN_NAME_BYTES + 1];
        size_t n = member->n_key < MAX_UNKNOWN_NAME_BYTES ? member->n_key : MAX_UNKNOWN_NAME_BYTES;
        memcpy(key, member->key, n);
        key[n] = 0;
        if (member->n_key == strlen(key) && is_known(key))
            continue;
        qvl_utf8_make_printable(key, n);
        key[n] = 0;
        if (unknown && unknown->n < MAX_UNKNOWN_BYTES)
            status = qvl_bytes_add_format(unknown, err, "%s%s.%s", unknown->n > 0 ? ", " : "", where, key);
    }
    return status;
}

/* Hugging Face's {"shortest_edge", "longest_edge"}, which are numbers of pixels. */
static enum qvl_status read_size(const struct qvl_json_node *mm, struct qvl_media_wishes *image,
                                 struct qvl_media_wishes *video, struct qvl_bytes *unknown, struct qvl_error *err)
{
    static const struct {
        const char *key;
        enum qvl_media_wish wish;
    } edge[2] = {{"shortest_edge", QVL_WISH_MIN_PIXELS}, {"longest_edge", QVL_WISH_MAX_PIXELS}};
    static const char where[] = "mm_processor_kwargs.size";
    const struct qvl_json_node *size = qvl_json_member(mm, "size"), *node;
    enum qvl_status status = check_object(where, size, is_size_key, unknown, err);
    for (int i = 0; i < 2 && !status; i++) {
        if (!(node = qvl_json_member(size, edge[i].key)))
            continue;
        if (image->of[edge[i].wish] != 0)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" and \"%s\" are the same option", where, edge[i].key,
                            table[edge[i].wish].key);
        status = qvl_media_number_read(where, edge[i].key, node, 1, MAX_PIXEL_BOUND, &image->of[edge[i].wish], err);
    }
    if (!status && qvl_json_member(size, "longest_edge")) {
        if (video->of[QVL_WISH_TOTAL_PIXELS] != 0)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" and \"%s\" are the same option", where,
                            "longest_edge", "total_pixels");
        video->of[QVL_WISH_TOTAL_PIXELS] = image->of[QVL_WISH_MAX_PIXELS];
    }
    return status ? status : check_wishes(where, image->of, err);
}

/* What vLLM's processor is told; *is_sampling: it may choose frames. */
static enum qvl_status read_processor(const struct qvl_json_node *mm, struct qvl_media_wishes *image,
                                      struct qvl_media_wishes *video, bool *is_sampling, struct qvl_bytes *unknown,
                                      struct qvl_error *err)
{
    const struct qvl_json_node *is_sampled = qvl_json_member(mm, "do_sample_frames");
    enum qvl_status status = check_object(mm_name, mm, is_processor_key, unknown, err);
    if (status || (status = qvl_media_wishes_read(mm_name, mm, NULL, video, err)))
        return status;
    *image = *video;
    if (is_sampled && is_sampled->kind != QVL_JSON_TRUE && is_sampled->kind != QVL_JSON_FALSE)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"do_sample_frames\" must be true or false", mm_name);
    *is_sampling = !is_sampled || is_sampled->kind == QVL_JSON_TRUE;
    for (int i = QVL_WISH_FPS; i <= QVL_WISH_MAX_FRAMES && !*is_sampling; i++)
        if (video->of[i] != 0)
            return qvl_fail(
                err, QVL_ERR_ARGUMENT,
                "%s: \"%s\" has no meaning where \"do_sample_frames\" is false; media_io_kwargs.video chooses "
                "frames then",
                mm_name, table[i].key);
    return read_size(mm, image, video, unknown, err);
}

/* What vLLM's reader of clips is told: fps and num_frames together mean that many at most. -1: nothing. */
static enum qvl_status read_io(const struct qvl_json_node *io, struct qvl_media_wishes *video,
                               struct qvl_bytes *unknown, struct qvl_error *err)
{
    const struct qvl_json_node *object = qvl_json_member(io, "video"), *fps, *n;
    double rate = -1, n_frame = -1;
    enum qvl_status status;
    *video = (struct qvl_media_wishes){0};
    if ((status = check_object(io_name, io, is_io_key, unknown, err)) ||
        (status = check_object(io_video_name, object, is_io_video_key, unknown, err)))
        return status;
    if ((fps = qvl_json_member(object, "fps")) &&
        (status = qvl_media_number_read(io_video_name, "fps", fps, -1, QVL_MAX_CLIP_FPS, &rate, err)))
        return status;
    if ((n = qvl_json_member(object, "num_frames")) &&
        (status = qvl_media_number_read(io_video_name, "num_frames", n, -1, QVL_MAX_CLIP_FRAMES, &n_frame, err)))
        return status;
    if ((rate != -1 && rate < QVL_LEAST_RATE) || (n_frame != -1 && n_frame < 1))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" must be above 0, or -1", io_video_name,
                        n_frame != -1 && n_frame < 1 ? "num_frames" : "fps");
    if (n_frame != -1 && n_frame != (double)(uint64_t)n_frame)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: \"%s\" must be a whole number", io_video_name, "num_frames");
    video->of[QVL_WISH_FPS] = rate != -1 ? rate : 0;
    video->of[rate != -1 ? QVL_WISH_MAX_FRAMES : QVL_WISH_NUM_FRAMES] = n_frame != -1 ? n_frame : 0;
    return QVL_OK;
}

enum qvl_status qvl_chat_read_media_kwargs(const struct qvl_json_node *mm_processor_kwargs,
                                           const struct qvl_json_node *media_io_kwargs,
                                           struct qvl_chat_json_settings *settings, struct qvl_bytes *unknown,
                                           const char **param, struct qvl_error *err)
{
    struct qvl_media_wishes image, video, read;
    bool is_sampling = true;
    enum qvl_status status = read_io(media_io_kwargs, &read, unknown, err);
    if (status) {
        *param = io_name;
        return status;
    }
    if ((status = read_processor(mm_processor_kwargs, &image, &video, &is_sampling, unknown, err))) {
        *param = mm_name;
        return status;
    }
    qvl_media_wishes_apply(&read, &settings->video);
    qvl_media_wishes_apply(&video, &settings->video);
    qvl_media_wishes_apply(&image, &settings->image);
    return QVL_OK;
}
