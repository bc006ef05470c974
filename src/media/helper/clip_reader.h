/* clip_reader.h: the clips of qvl-media: bytes through a callback in, what they hold and single frames out.
 *
 * One implementation stands in the module qvl-media-av.so (av_clip.c), behind one door. The callback is all that
 * it can read: a descriptor in the helper, memory in a fuzz target. A reader keeps demuxer and decoder from frame
 * to frame, so frames in ascending order cost one pass. Every function returns a fault instead of failing in any
 * other way, whatever the bytes. */
#ifndef QVL_MEDIA_HELPER_CLIP_READER_H
#define QVL_MEDIA_HELPER_CLIP_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "media/protocol.h"
#include "media/sniff.h"

struct qvl_clip_bytes {
    /* At most n bytes from this offset on; how many, 0 at the end, < 0 where they cannot be read. */
    ptrdiff_t (*read)(void *owner, uint64_t at, uint8_t *out, size_t n);
    void *owner;
    uint64_t n_bytes; /* of the whole file */
};

struct qvl_clip_facts {
    uint32_t w, h; /* rotation applied; unchecked: may be beyond every limit */
    uint64_t n_frame;
    double fps, duration_s;
    enum qvl_codec codec;
    bool is_cut;
};

struct qvl_clip_reader;

/* Reads through the whole file once. n_thread: at most so many decode, 1 to QVL_MAX_CLIP_THREADS. bytes is copied,
 * its owner must outlive the reader. On failure *out is NULL. */
typedef enum qvl_fault qvl_clip_reader_open_fn(enum qvl_format format, const struct qvl_clip_bytes *bytes,
                                               bool no_seek, uint32_t n_thread, struct qvl_clip_reader **out,
                                               struct qvl_clip_facts *out_facts);
/* Frame i_frame < n_frame into rgb, which holds qvl_media_rgb_bytes(w, h); w and h as in the facts, and allowed. */
typedef enum qvl_fault qvl_clip_reader_read_fn(struct qvl_clip_reader *reader, uint64_t i_frame, uint8_t *rgb,
                                               uint32_t w, uint32_t h);
typedef void qvl_clip_reader_close_fn(struct qvl_clip_reader *reader); /* NULL: nothing happens */

struct qvl_clip_door {
    qvl_clip_reader_open_fn *open;
    qvl_clip_reader_read_fn *read;
    qvl_clip_reader_close_fn *close;
};

extern const struct qvl_clip_door qvl_clip_door;
#define QVL_CLIP_SYMBOL "qvl_clip_door" /* in QVL_AV_MODULE */

#endif
