/* protocol.h: what libqvl and qvl-media say to each other.
 *
 * One SOCK_SEQPACKET socket, descriptor 3 of the helper. The helper speaks first (HELLO: is it locked in?), then
 * every request gets one reply. Messages are the two structs below, whole, in the machine's own byte order
 * (both ends are one build); descriptors travel with the request:
 *
 *     PROBE    input                  -> oriented size, from the header alone
 *     DECODE   input, output memory   -> the pixels, written into memory that the parent has sized
 *     CLIP     input                  -> what the clip holds; once, and the helper keeps it open
 *     FRAME    output memory          -> one frame of that clip, as DECODE
 *
 * Either end checks every field and hangs up on what it did not expect. The helper sends numbers, never text:
 * sentences are made by the parent. */
#ifndef QVL_MEDIA_PROTOCOL_H
#define QVL_MEDIA_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

#define QVL_MEDIA_MAGIC 0x51564d33u /* "QVM3": changes with the layout of the messages */
#define QVL_MEDIA_SOCKET 3          /* the helper's one descriptor at its start */
#define QVL_MEDIA_MAX_FD 2u         /* descriptors that a request may bring */

enum qvl_media_verb { QVL_MEDIA_HELLO = 1, QVL_MEDIA_PROBE, QVL_MEDIA_DECODE, QVL_MEDIA_CLIP, QVL_MEDIA_FRAME };

/* Why the helper could not do it. */
enum qvl_fault {
    QVL_FAULT_NONE,
    QVL_FAULT_CUT,
    QVL_FAULT_BROKEN,
    QVL_FAULT_VARIANT,
    QVL_FAULT_SCANS,
    QVL_FAULT_CHANGED,
    QVL_FAULT_MEMORY,
    QVL_FAULT_READ,
    /* of clips */
    QVL_FAULT_NO_VIDEO,
    QVL_FAULT_NO_FRAME,
    QVL_FAULT_NO_INDEX,
    QVL_FAULT_NO_TIMES,
    QVL_FAULT_CODEC,
    QVL_FAULT_LONG,
    QVL_FAULT_LARGE,
    QVL_FAULT_RESIZED,
    QVL_FAULT_FRAME,
    QVL_FAULT_NO_SANDBOX, /* HELLO only */
    QVL_FAULT_NO_MODULE,  /* HELLO only */
    QVL_FAULT_LAST = QVL_FAULT_NO_MODULE
};

/* How the frames of a clip are coded: qvl_codec_name. */
enum qvl_codec {
    QVL_CODEC_NONE,
    QVL_CODEC_H264,
    QVL_CODEC_HEVC,
    QVL_CODEC_VP8,
    QVL_CODEC_VP9,
    QVL_CODEC_AV1,
    QVL_CODEC_MPEG4,
    QVL_CODEC_MJPEG,
    QVL_CODEC_MPEG1,
    QVL_CODEC_MPEG2,
    QVL_CODEC_H263,
    QVL_CODEC_MSMPEG4V2,
    QVL_CODEC_MSMPEG4V3,
    QVL_CODEC_PRORES,
    QVL_CODEC_LAST = QVL_CODEC_PRORES
};

struct qvl_media_request {
    uint32_t magic;
    uint32_t verb;
    uint32_t serial;  /* counts requests; the reply repeats it */
    uint32_t format;  /* enum qvl_format, <= QVL_FORMAT_LAST */
    uint64_t n_bytes; /* of the input */
    uint32_t w, h;    /* DECODE: the size that PROBE answered; FRAME: that CLIP answered; else 0 */
    uint64_t i_frame; /* FRAME: which, in order of presentation; else 0 */
    uint32_t no_seek; /* CLIP: 1, decode every frame from the first one on; else 0 */
    uint32_t n_thread; /* CLIP: to decode on, 1 to QVL_MAX_CLIP_THREADS; else 0 */
};

struct qvl_media_reply {
    uint32_t magic;
    uint32_t verb;   /* of the request */
    uint32_t serial; /* of the request; 0 for HELLO */
    uint32_t fault;  /* enum qvl_fault */
    uint32_t w, h;   /* PROBE, CLIP without fault: oriented size, any value; DECODE, FRAME: as asked; else 0 */
    /* CLIP without fault; else 0 */
    uint32_t codec;  /* enum qvl_codec, 1 to QVL_CODEC_LAST */
    uint32_t is_cut; /* 0 or 1 */
    uint64_t n_frame;        /* 1 to QVL_MAX_CLIP_FILE_FRAMES */
    double fps, duration_s;  /* finite, > 0 and >= 0 */
};

_Static_assert(sizeof(struct qvl_media_request) == 48 && sizeof(struct qvl_media_reply) == 56,
               "messages have no padding");

/* n_bytes: length of the message as received; n_fd: descriptors that came with it. */
bool qvl_media_request_is_valid(const struct qvl_media_request *request, size_t n_bytes, size_t n_fd);
/* Is it an answer to `asked`? For HELLO, asked holds this verb and serial 0. */
bool qvl_media_reply_is_valid(const struct qvl_media_reply *reply, size_t n_bytes,
                              const struct qvl_media_request *asked);

/* The limits on a picture's size, the same on both ends (and in the module, which links nothing of them). */
static inline bool qvl_media_size_is_allowed(uint32_t w, uint32_t h)
{
    return w > 0 && h > 0 && w <= QVL_MAX_MEDIA_SIDE_PX && h <= QVL_MAX_MEDIA_SIDE_PX &&
           (uint64_t)w * h <= QVL_MAX_MEDIA_PIXELS;
}

/* Bytes of w * h tight RGB pixels, for an allowed size. */
size_t qvl_media_rgb_bytes(uint32_t w, uint32_t h);

const char *qvl_fault_text(enum qvl_fault fault); /* completes "this JPEG picture …" */
const char *qvl_codec_name(enum qvl_codec codec); /* static, as FFmpeg calls it */

/* Sends one message and n_fd descriptors, without waiting: who has read the last message has room for the next one.
 * False: the other end is gone, or does not read. */
bool qvl_media_send(int sock, const void *message, size_t n_bytes, const int *fds, size_t n_fd);
/* Receives one message of at most n_bytes, waiting for it; returns its true length (more than n_bytes where it
 * was cut), 0 when the other end has hung up, -1 on failure with errno. Descriptors that came with it are the
 * caller's to close: fds[0..*n_fd-1], at most max_fd (those beyond never arrive). */
ptrdiff_t qvl_media_receive(int sock, void *message, size_t n_bytes, int *fds, size_t max_fd, size_t *n_fd);

#endif
