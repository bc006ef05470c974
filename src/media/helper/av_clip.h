/* av_clip.h: the parts of the clip reader: the open file, the table of its frames, a frame as RGB. */
#ifndef QVL_MEDIA_HELPER_AV_CLIP_H
#define QVL_MEDIA_HELPER_AV_CLIP_H

#include <stdatomic.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "media/helper/clip_reader.h"

/* ---- av_clip_file.c: a demuxer over the callback, and the decoder for its video stream ---------------- */

struct qvl_clip_file {
    enum qvl_format format;
    struct qvl_clip_bytes bytes;
    uint32_t n_thread; /* to decode on, at most */
    uint64_t at;     /* where the demuxer reads next */
    bool has_failed; /* the callback has */
    AVFormatContext *demuxer;
    AVIOContext *io;
    AVStream *stream; /* the best video stream; all others are discarded */
    AVCodecContext *decoder;
    atomic_bool has_complained; /* the decoder has, in a message: it fills up what is damaged and says no more */
    enum qvl_codec codec;
    uint32_t orientation; /* as EXIF counts: 1, 3, 6 or 8 */
};

/* file->format, bytes and n_thread are given, the rest is 0. Closing is the caller's, on failure too. */
enum qvl_fault qvl_clip_file_open(struct qvl_clip_file *file);
void qvl_clip_file_close(struct qvl_clip_file *file); /* keeps what was given */
/* The next packet of the video stream that is whole and meant to be there; AVERROR_EOF, or another error. With
 * is_cut: set where a packet is not whole. */
int qvl_clip_file_read(struct qvl_clip_file *file, AVPacket *packet, bool *is_cut);
/* The file ends before a part that its outermost structure announces. */
bool qvl_clip_file_is_cut(const struct qvl_clip_file *file);
enum qvl_fault qvl_clip_fault(const struct qvl_clip_file *file, int error);

/* ---- av_clip_table.c: which frame is shown when -------------------------------------------------------- */

struct qvl_clip_entry {
    int64_t pts;    /* of the packet, else its dts; units of the stream */
    uint32_t i_key; /* the last key frame up to this one; NO_KEY before the first */
    bool is_key;
    bool is_hidden; /* decoded, never shown (VP8): the next one is shown in its place */
};
#define QVL_NO_KEY UINT32_MAX

struct qvl_clip_table {
    struct qvl_clip_entry *entry; /* [n], in order of presentation */
    size_t n, n_allocated;
    int64_t begin, end; /* smallest pts, largest pts + duration */
    bool has_all_pts;   /* no dts stands in for a pts */
};

/* Reads all packets that are left. */
enum qvl_fault qvl_clip_table_read(struct qvl_clip_table *table, struct qvl_clip_file *file, bool *is_cut);
void qvl_clip_table_free(struct qvl_clip_table *table);

/* ---- av_clip_rgb.c ------------------------------------------------------------------------------------- */

struct SwsContext;
struct qvl_clip_rgb {
    struct SwsContext *scaler;
    int w, h, layout, colorspace, range; /* of the frames that it is made for */
    uint8_t *pixels;                     /* the frame before rotation, rows padded */
};

/* rgb: [h][w][3] of the frame after rotation. */
enum qvl_fault qvl_clip_rgb_put(struct qvl_clip_rgb *converter, const AVFrame *frame, uint32_t orientation,
                                uint8_t *rgb);
void qvl_clip_rgb_free(struct qvl_clip_rgb *converter);

#endif
