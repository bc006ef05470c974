/* clip.h: a clip in a file: what it holds, and any of its frames as RGB. Like media.h, for video.
 *
 * Each clip has a qvl-media process of its own, which keeps the open demuxer and decoder from frame to frame. When
 * the process is gone (killed from outside, or given back with qvl_clip_rest) the next read starts a new one, which
 * must find the same clip. Errors as in media.h. Not to be used by two threads at once. */
#ifndef QVL_MEDIA_CLIP_H
#define QVL_MEDIA_CLIP_H

#include "media/media.h"

struct qvl_clip;

struct qvl_clip_info {
    uint32_t w, h;      /* pixels, rotation applied; allowed by qvl_media_size_is_allowed */
    uint64_t n_frame;   /* packets of the video stream, counted; 1 to QVL_MAX_CLIP_FILE_FRAMES */
    double fps;         /* n_frame / duration_s; finite, > 0, at most QVL_MAX_CLIP_FPS */
    double duration_s;  /* last end minus first presentation time */
    const char *codec;  /* static: "h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg", ... */
    bool is_cut;        /* the file ends early or a part of it cannot be read; the frames counted can */
};

/* source: QVL_FROM_BYTES or QVL_FROM_FD, valid until qvl_clip_close. Reads through the whole file once. */
enum qvl_status qvl_clip_open(const struct qvl_media_settings *settings, const struct qvl_media_source *source,
                              struct qvl_clip **out, struct qvl_clip_info *out_info, const atomic_bool *stop,
                              struct qvl_error *err);
/* Frame i_frame in order of presentation, < n_frame. Any order; ascending is the fast one. Frees nothing of
 * earlier reads: *out is the caller's to free with qvl_picture_free. */
enum qvl_status qvl_clip_read(struct qvl_clip *clip, uint64_t i_frame, struct qvl_picture *out,
                              const atomic_bool *stop, struct qvl_error *err);
/* Ends the process; the clip can still be read. */
void qvl_clip_rest(struct qvl_clip *clip);
void qvl_clip_close(struct qvl_clip *clip);

#endif
