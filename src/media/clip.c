/* A clip in a file, asked of a qvl-media of its own.
 *
 * The way: what is it (input.h) -> CLIP: the helper reads the file through once and keeps it open -> limits -> for
 * each frame memory of exactly the right size, FRAME, writing forbidden, mapped (link.h). A helper that was killed
 * from outside is started again, once for each call, and must find the same clip. All sentences about clips are
 * written here. */
#include "media/clip.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "media/input.h"
#include "media/link.h"

struct qvl_clip {
    struct qvl_media_link link;
    struct qvl_media_input input;
    struct qvl_clip_info info; /* what the first scan found; n_frame 0 before it */
    uint32_t frame_ms, scan_ms, n_thread;
    bool no_seek;
};

/* ---- sentences --------------------------------------------------------------------------------------- */

static enum qvl_status fail_fault(const struct qvl_clip *clip, enum qvl_fault fault, struct qvl_error *err)
{
    const char *name = clip->input.name;
    switch (fault) {
    case QVL_FAULT_NO_VIDEO: return qvl_fail(err, QVL_ERR_MEDIA, "%s: the file has no video stream", name);
    case QVL_FAULT_NO_FRAME: return qvl_fail(err, QVL_ERR_MEDIA, "%s: its video stream holds no frame", name);
    case QVL_FAULT_NO_INDEX:
        return qvl_fail(err, QVL_ERR_MEDIA,
                        "%s: the clip's index (moov), which can stand at the end of the file, is missing: the file "
                        "is cut off",
                        name);
    case QVL_FAULT_NO_TIMES:
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: the clip does not say at what times its frames are shown", name);
    case QVL_FAULT_CODEC:
        return qvl_fail(err, QVL_ERR_MEDIA,
                        "%s: the clip uses a codec that qvl does not read; it reads H.264, H.265, VP8, VP9, AV1, "
                        "MPEG-1, -2 and -4, H.263, MJPEG and ProRes",
                        name);
    case QVL_FAULT_LONG:
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: the clip has more than the %u frames that qvl reads", name,
                        QVL_MAX_CLIP_FILE_FRAMES);
    case QVL_FAULT_LARGE:
        return qvl_fail(err, QVL_ERR_MEDIA,
                        "%s: the frames of the clip have a side longer than %u pixels or more than %llu in all",
                        name, QVL_MAX_MEDIA_SIDE_PX, QVL_MAX_MEDIA_PIXELS);
    case QVL_FAULT_CUT:
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: the clip ends too early: the file is cut off", name);
    case QVL_FAULT_RESIZED:
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: the clip changes its size on the way, which qvl does not follow",
                        name);
    case QVL_FAULT_CHANGED: return qvl_fail(err, QVL_ERR_MEDIA, "%s: it changed while it was read", name);
    case QVL_FAULT_MEMORY:
        return qvl_fail(err, QVL_ERR_MEMORY, "%s: the clip needs more memory to decode than qvl-media may use",
                        name);
    case QVL_FAULT_READ: return qvl_fail(err, QVL_ERR_MEDIA, "%s: the clip cannot be read by qvl-media", name);
    case QVL_FAULT_VARIANT:
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: the clip uses a variant of its format that qvl does not decode",
                        name);
    case QVL_FAULT_NO_SANDBOX:
        return qvl_fail(
            err, QVL_ERR_FILE,
            "%s: the clip is not decoded: this system does not let qvl-media lock itself in (seccomp is "
            "missing)",
            name);
    case QVL_FAULT_NO_MODULE:
        return qvl_fail(
            err, QVL_ERR_MEDIA,
            "%s: reading a clip needs qvl-media-av.so beside qvl-media, and the FFmpeg libraries that it "
            "uses",
            name);
    default: return qvl_fail(err, QVL_ERR_MEDIA, "%s: the clip is damaged and cannot be read", name);
    }
}

static enum qvl_status fail_frame(const struct qvl_clip *clip, uint64_t i_frame, enum qvl_fault fault,
                                  struct qvl_error *err)
{
    if (fault != QVL_FAULT_FRAME)
        return fail_fault(clip, fault, err);
    return qvl_fail(err, QVL_ERR_MEDIA, "%s: frame %" PRIu64 " (at %.2f s) of the clip cannot be decoded",
                    clip->input.name, i_frame, (double)i_frame / clip->info.fps);
}

/* ---- asking ------------------------------------------------------------------------------------------ */

/* Times are made of numbers of frames and the rate, which say how long the clip is once more. */
static enum qvl_status check_facts(const struct qvl_clip *clip, const struct qvl_media_reply *reply,
                                   struct qvl_error *err)
{
    double duration_s = fmax(reply->duration_s, (double)reply->n_frame / reply->fps);
    if (reply->fps > QVL_MAX_CLIP_FPS)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: %g frames a second, more than the %.0f that qvl accepts",
                        clip->input.name, reply->fps, QVL_MAX_CLIP_FPS);
    if (duration_s > QVL_MAX_CLIP_SECONDS)
        return qvl_fail(err, QVL_ERR_MEDIA, "%s: a clip of %g seconds, more than the %u that qvl accepts",
                        clip->input.name, duration_s, QVL_MAX_CLIP_SECONDS);
    return qvl_media_check_size(clip->input.name, reply->w, reply->h, err);
}

static bool is_same(const struct qvl_clip_info *a, const struct qvl_clip_info *b)
{
    return a->w == b->w && a->h == b->h && a->n_frame == b->n_frame && a->fps == b->fps &&
           a->duration_s == b->duration_s && a->codec == b->codec && a->is_cut == b->is_cut;
}

/* What CLIP has answered becomes the clip's info, or is compared with it. */
static enum qvl_status take_facts(struct qvl_clip *clip, const struct qvl_media_reply *reply, struct qvl_error *err)
{
    const struct qvl_clip_info info = {.w = reply->w,
                                       .h = reply->h,
                                       .n_frame = reply->n_frame,
                                       .fps = reply->fps,
                                       .duration_s = reply->duration_s,
                                       .codec = qvl_codec_name(reply->codec),
                                       .is_cut = reply->is_cut};
    if (clip->info.n_frame == 0) {
        enum qvl_status status = check_facts(clip, reply, err);
        if (!status)
            clip->info = info;
        return status;
    }
    return is_same(&info, &clip->info) ? QVL_OK : fail_fault(clip, QVL_FAULT_CHANGED, err);
}

static struct qvl_media_request request_of(const struct qvl_clip *clip, enum qvl_media_verb verb)
{
    return (struct qvl_media_request){.verb = verb, .format = clip->input.format, .n_bytes = clip->input.n_bytes};
}

/* A helper that has this clip open. *out_is_killed: it was not to be had, but another attempt is worth it. */
static enum qvl_status ensure_open(struct qvl_clip *clip, const atomic_bool *stop, bool *out_is_killed,
                                   struct qvl_error *err)
{
    struct qvl_media_wait wait = {.deadline_ms = qvl_now_ms() + clip->scan_ms, .stop = stop};
    struct qvl_media_request request = request_of(clip, QVL_MEDIA_CLIP);
    struct qvl_media_reply reply;
    bool is_new = false;
    request.no_seek = clip->no_seek;
    request.n_thread = clip->n_thread;
    enum qvl_media_outcome outcome = qvl_media_link_ensure(&clip->link, QVL_MODE_CLIP, &wait, &reply, &is_new);
    if (outcome)
        return qvl_media_link_fail_start(&clip->link, outcome, err);
    if (!is_new)
        return QVL_OK;
    if (!reply.fault)
        outcome = qvl_media_process_ask(&clip->link.process, &request, &clip->input.fd, 1, &wait, &reply);
    *out_is_killed = qvl_media_link_was_killed(&clip->link, outcome);
    enum qvl_status status = outcome
                                 ? qvl_media_link_fail(&clip->link, clip->input.name, clip->scan_ms, outcome, err)
                             : reply.fault ? fail_fault(clip, reply.fault, err)
                                           : take_facts(clip, &reply, err);
    if (status)
        qvl_media_process_stop(&clip->link.process);
    return status;
}

static enum qvl_status ask_frame(struct qvl_clip *clip, uint64_t i_frame, struct qvl_picture *out,
                                 const atomic_bool *stop, bool *out_is_killed, struct qvl_error *err)
{
    struct qvl_media_wait wait = {.deadline_ms = qvl_now_ms() + clip->frame_ms, .stop = stop};
    struct qvl_media_request request = request_of(clip, QVL_MEDIA_FRAME);
    struct qvl_media_reply reply = {0};
    int fd = -1;
    request.w = clip->info.w;
    request.h = clip->info.h;
    request.i_frame = i_frame;
    enum qvl_status status = qvl_pixels_create(request.w, request.h, &fd, err);
    if (status)
        return status;
    enum qvl_media_outcome outcome = qvl_media_process_ask(&clip->link.process, &request, &fd, 1, &wait, &reply);
    *out_is_killed = qvl_media_link_was_killed(&clip->link, outcome);
    if (outcome)
        status = qvl_media_link_fail(&clip->link, clip->input.name, clip->frame_ms, outcome, err);
    else if (reply.fault)
        status = fail_frame(clip, i_frame, reply.fault, err);
    else if ((status = qvl_pixels_map(clip->input.name, fd, request.w, request.h, out, err)))
        qvl_media_process_stop(&clip->link.process);
    close(fd);
    return status;
}

/* ---- the door ---------------------------------------------------------------------------------------- */

static enum qvl_status open_clip(struct qvl_clip *clip, const struct qvl_media_settings *settings,
                                 const struct qvl_media_source *source, const atomic_bool *stop,
                                 struct qvl_error *err)
{
    enum qvl_status status = qvl_media_link_init(&clip->link, settings->helper_path, err);
    if (!status)
        status = qvl_media_input_open(source, true, &clip->input, err);
    if (status)
        return status;
    bool is_killed = false;
    status = ensure_open(clip, stop, &is_killed, err);
    return status && is_killed ? ensure_open(clip, stop, &is_killed, err) : status;
}

enum qvl_status qvl_clip_open(const struct qvl_media_settings *settings, const struct qvl_media_source *source,
                              struct qvl_clip **out, struct qvl_clip_info *out_info, const atomic_bool *stop,
                              struct qvl_error *err)
{
    struct qvl_clip *clip = calloc(1, sizeof *clip);
    *out = NULL;
    if (!clip)
        return qvl_fail_memory(err, sizeof *clip, "the clip reader");
    clip->input.fd = -1;
    clip->frame_ms = settings->deadline_ms ? settings->deadline_ms : QVL_MAX_MEDIA_MS;
    clip->scan_ms = settings->deadline_ms ? settings->deadline_ms : QVL_MAX_CLIP_SCAN_MS;
    clip->n_thread = settings->n_thread < 1                      ? 1
                     : settings->n_thread > QVL_MAX_CLIP_THREADS ? QVL_MAX_CLIP_THREADS
                                                                 : settings->n_thread;
    clip->no_seek = settings->no_seek;
    enum qvl_status status = open_clip(clip, settings, source, stop, err);
    if (status) {
        qvl_clip_close(clip);
        return status;
    }
    *out_info = clip->info;
    *out = clip;
    return QVL_OK;
}

enum qvl_status qvl_clip_read(struct qvl_clip *clip, uint64_t i_frame, struct qvl_picture *out,
                              const atomic_bool *stop, struct qvl_error *err)
{
    if (i_frame >= clip->info.n_frame)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: frame %" PRIu64 " asked for; the clip has %" PRIu64,
                        clip->input.name, i_frame, clip->info.n_frame);
    enum qvl_status status = QVL_OK;
    for (int attempt = 0; attempt < 2; attempt++) {
        bool is_killed = false;
        status = ensure_open(clip, stop, &is_killed, err);
        if (!status)
            status = ask_frame(clip, i_frame, out, stop, &is_killed, err);
        if (!is_killed)
            break;
    }
    return status;
}

void qvl_clip_rest(struct qvl_clip *clip)
{
    qvl_media_process_stop(&clip->link.process);
}

void qvl_clip_close(struct qvl_clip *clip)
{
    if (!clip)
        return;
    qvl_media_process_stop(&clip->link.process);
    qvl_media_input_close(&clip->input);
    free(clip);
}
