/* Enters: how many frames a clip's file has and how many a second, which of them the caller wishes. Leaves: the
 * indices of the frames that the model sees.
 *
 * The idea: n frames spread evenly over the stretch, its first and last among them. n is given, or follows from the
 * wanted rate and is held between two bounds; the rate is therefore a nominal one.
 *
 * Source of truth: Qwen3VLVideoProcessor.sample_frames (transformers 5.23) and numpy.linspace; the stretch:
 * calculate_video_frame_range (qwen_vl_utils 0.0.14); reference/sample_frames_vectors.py. MODEL.md, "Clips".
 *
 * Surprises: every step is in double, in the reference's order of operations, and rounds halves to even. Only the
 * wanted rate is bounded by the stretch's frames: num_frames may be more, and then frames come several times. */
#include "model/sample_frames.h"

#include <inttypes.h>
#include <math.h>

#include "base/limits.h"

struct stretch {
    uint64_t first, last; /* frames, both inside */
};

enum qvl_status qvl_sample_frames_check(const struct qvl_media_options *wish, struct qvl_error *err)
{
    const struct {
        const char *name;
        uint32_t n;
    } count[] = {
        {"num_frames", wish->num_frames}, {"min_frames", wish->min_frames}, {"max_frames", wish->max_frames}};
    if (wish->num_frames && wish->fps != 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "fps %g and num_frames %u were given: only one of them is possible",
                        wish->fps, wish->num_frames);
    if (wish->num_frames && (wish->min_frames || wish->max_frames))
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "min_frames and max_frames go with fps, not with num_frames, which is %u",
                        wish->num_frames);
    for (size_t i = 0; i < sizeof count / sizeof *count; i++)
        if (count[i].n > QVL_MAX_CLIP_FRAMES)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s is %u, expected at most %u", count[i].name, count[i].n,
                            QVL_MAX_CLIP_FRAMES);
    if (wish->min_frames && wish->max_frames && wish->min_frames > wish->max_frames)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "min_frames, %u, is above max_frames, %u", wish->min_frames,
                        wish->max_frames);
    if (!isfinite(wish->fps) || wish->fps < 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "fps is %g, expected more than 0 frames a second", wish->fps);
    if (!(wish->start_s >= 0 && wish->end_s >= 0))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the stretch from %g to %g seconds begins or ends before the clip",
                        wish->start_s, wish->end_s);
    if (wish->end_s > 0 && wish->start_s >= wish->end_s)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the stretch from %g to %g seconds ends before it begins",
                        wish->start_s, wish->end_s);
    return QVL_OK;
}

/* The frames from the first at or after start_s to the last at or before end_s, if the file had one every 1/fps
 * seconds. */
static enum qvl_status find_stretch(uint64_t n_frame_file, double fps, const struct qvl_media_options *wish,
                                    struct stretch *out, struct qvl_error *err)
{
    double last = (double)(n_frame_file - 1), duration_s = (double)n_frame_file / fps;
    *out = (struct stretch){0, n_frame_file - 1};
    if (wish->start_s == 0 && wish->end_s == 0)
        return QVL_OK;
    double begin = ceil(fmin(wish->start_s, duration_s) * fps);
    double end = wish->end_s > 0 ? fmin(floor(fmin(wish->end_s, duration_s) * fps), last) : last;
    if (begin >= end)
        return qvl_fail(err, QVL_ERR_ARGUMENT,
                        "the stretch from %g to %g seconds holds fewer than two frames of a clip of %g seconds",
                        wish->start_s, wish->end_s > 0 ? wish->end_s : duration_s, duration_s);
    *out = (struct stretch){(uint64_t)begin, (uint64_t)end};
    return QVL_OK;
}

/* For a wanted rate: what it makes of n_frame frames, cut to a whole number, held between the bounds. Where they
 * cross because only one of them was given, the other gives way. */
static double count_for_rate(const struct qvl_video_config *video, uint64_t n_frame, double fps,
                             const struct qvl_media_options *wish)
{
    double least = wish->min_frames ? wish->min_frames : video->min_frames;
    double most = wish->max_frames ? wish->max_frames : video->max_frames;
    if (wish->min_frames)
        most = fmax(most, least);
    double n = trunc((double)n_frame / fps * (wish->fps > 0 ? wish->fps : video->fps));
    return fmin(fmin(fmax(n, least), most), (double)n_frame);
}

enum qvl_status qvl_sample_frames(const struct qvl_config *config, uint64_t n_frame_file, double fps,
                                  const struct qvl_media_options *wish, struct qvl_arena *arena,
                                  uint64_t **out_index, size_t *out_n, struct qvl_error *err)
{
    struct stretch stretch;
    enum qvl_status status;
    if ((status = qvl_sample_frames_check(wish, err)) ||
        (status = find_stretch(n_frame_file, fps, wish, &stretch, err)))
        return status;
    uint64_t n_frame = stretch.last - stretch.first + 1;
    size_t n = wish->num_frames ? wish->num_frames : (size_t)count_for_rate(&config->video, n_frame, fps, wish);
    size_t n_seen = n > 1 ? n : 2;
    uint64_t *index = qvl_arena_alloc(arena, n_seen, sizeof *index, "the frames of a clip", err);
    if (!index)
        return QVL_ERR_MEMORY;
    double first = (double)stretch.first, step = n > 1 ? (double)(n_frame - 1) / (double)(n - 1) : 0;
    for (size_t i = 0; i < n_seen; i++)
        index[i] = (uint64_t)rint((double)i * step + first);
    if (n > 1)
        index[n - 1] = stretch.last;
    *out_index = index;
    *out_n = n_seen;
    return QVL_OK;
}
