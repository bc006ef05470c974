/* GIF (first frame), BMP and TIFF through FFmpeg's libavcodec: the module qvl-media-av.so.
 *
 * In: a whole file, whose format and size the program has read from the header. Out: its pixels on the canvas.
 * Only three decoders can be reached. No demuxer takes part: each of them reads the whole file as one packet, so
 * nothing in the file can name another file. Conversion to 8-bit RGB is done here, not in swscale, because it
 * must be exact: 16 bits rounded (40000 -> 156), 5 bits as v * 255 / 31 like Pillow. Calls used exist unchanged
 * in FFmpeg 5 to 8. */
#include "media/helper/av_decode.h"

#include <stdlib.h>

#include "base/limits.h"
#include "media/helper/av_door.h"

struct reader {
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;
    uint8_t *row; /* [w][4] RGBA */
    bool is_damaged;
};

static enum qvl_fault fault_of(int error)
{
    switch (error) {
    case AVERROR(ENOMEM): return QVL_FAULT_MEMORY;
    case AVERROR_PATCHWELCOME:
    case AVERROR(ENOSYS): return QVL_FAULT_VARIANT;
    default: return QVL_FAULT_BROKEN;
    }
}

static enum AVCodecID codec_of(enum qvl_format format)
{
    switch (format) {
    case QVL_FORMAT_GIF: return AV_CODEC_ID_GIF;
    case QVL_FORMAT_BMP: return AV_CODEC_ID_BMP;
    case QVL_FORMAT_TIFF: return AV_CODEC_ID_TIFF;
    default: return AV_CODEC_ID_NONE;
    }
}

static void put(uint8_t *out, uint32_t r, uint32_t g, uint32_t b, uint32_t a)
{
    out[0] = (uint8_t)r;
    out[1] = (uint8_t)g;
    out[2] = (uint8_t)b;
    out[3] = (uint8_t)a;
}

static void put_argb(uint8_t *out, const uint8_t *argb) /* a uint32_t in the machine's byte order */
{
    uint32_t v;
    memcpy(&v, argb, 4);
    put(out, v >> 16 & 255, v >> 8 & 255, v & 255, v >> 24);
}

static uint32_t u16(const uint8_t *p, bool is_big)
{
    return is_big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

/* 16 bits to 8, rounded. */
static uint32_t scaled(const uint8_t *p, bool is_big)
{
    return (u16(p, is_big) * 255 + 32895) >> 16;
}

/* Pixel x of a row to RGBA; false for a layout that none of the three decoders is known to give. */
static bool read_pixel(enum AVPixelFormat layout, const uint8_t *row, const uint8_t *palette, size_t x,
                       uint8_t *out)
{
    uint32_t v;
    bool is_big = layout == AV_PIX_FMT_GRAY16BE || layout == AV_PIX_FMT_YA16BE ||
                  layout == AV_PIX_FMT_RGB48BE || layout == AV_PIX_FMT_RGBA64BE;
    switch (layout) {
    case AV_PIX_FMT_MONOBLACK:
    case AV_PIX_FMT_MONOWHITE:
        v = ((uint32_t)row[x / 8] >> (7 - x % 8) & 1u) == (layout == AV_PIX_FMT_MONOBLACK) ? 255 : 0;
        put(out, v, v, v, 255);
        return true;
    case AV_PIX_FMT_GRAY8: put(out, row[x], row[x], row[x], 255); return true;
    case AV_PIX_FMT_YA8: put(out, row[2 * x], row[2 * x], row[2 * x], row[2 * x + 1]); return true;
    case AV_PIX_FMT_GRAY16BE:
    case AV_PIX_FMT_GRAY16LE:
        v = scaled(row + 2 * x, is_big);
        put(out, v, v, v, 255);
        return true;
    case AV_PIX_FMT_YA16BE:
    case AV_PIX_FMT_YA16LE:
        v = scaled(row + 4 * x, is_big);
        put(out, v, v, v, scaled(row + 4 * x + 2, is_big));
        return true;
    case AV_PIX_FMT_PAL8: put_argb(out, palette + 4 * (size_t)row[x]); return true;
    case AV_PIX_FMT_RGB32: put_argb(out, row + 4 * x); return true;
    case AV_PIX_FMT_0RGB32:
        put_argb(out, row + 4 * x);
        out[3] = 255;
        return true;
    case AV_PIX_FMT_RGB24: put(out, row[3 * x], row[3 * x + 1], row[3 * x + 2], 255); return true;
    case AV_PIX_FMT_BGR24: put(out, row[3 * x + 2], row[3 * x + 1], row[3 * x], 255); return true;
    case AV_PIX_FMT_RGBA: memcpy(out, row + 4 * x, 4); return true;
    case AV_PIX_FMT_RGB48BE:
    case AV_PIX_FMT_RGB48LE:
        put(out, scaled(row + 6 * x, is_big), scaled(row + 6 * x + 2, is_big), scaled(row + 6 * x + 4, is_big),
            255);
        return true;
    case AV_PIX_FMT_RGBA64BE:
    case AV_PIX_FMT_RGBA64LE:
        put(out, scaled(row + 8 * x, is_big), scaled(row + 8 * x + 2, is_big), scaled(row + 8 * x + 4, is_big),
            scaled(row + 8 * x + 6, is_big));
        return true;
    case AV_PIX_FMT_RGB555LE:
        v = u16(row + 2 * x, false);
        put(out, (v >> 10 & 31) * 255 / 31, (v >> 5 & 31) * 255 / 31, (v & 31) * 255 / 31, 255);
        return true;
    case AV_PIX_FMT_RGB565LE:
        v = u16(row + 2 * x, false);
        put(out, (v >> 11 & 31) * 255 / 31, (v >> 5 & 63) * 255 / 63, (v & 31) * 255 / 31, 255);
        return true;
    default: return false;
    }
}

static enum qvl_fault put_frame(const AVFrame *frame, uint8_t *row, const struct qvl_canvas *canvas)
{
    for (uint32_t y = 0; y < canvas->h; y++) {
        const uint8_t *in = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
        for (size_t x = 0; x < canvas->w; x++) {
            if (!read_pixel(frame->format, in, frame->data[1], x, row + 4 * x))
                return QVL_FAULT_VARIANT;
            if (canvas->is_opaque)
                row[4 * x + 3] = 255;
        }
        qvl_canvas_put_rgba(canvas, y, row);
    }
    return QVL_FAULT_NONE;
}

static void on_message(void *object, int level, const char *format, va_list args)
{
    (void)format;
    (void)args;
    if (level > AV_LOG_ERROR || !object || *(const AVClass **)object != avcodec_get_class())
        return;
    bool *is_damaged = ((AVCodecContext *)object)->opaque;
    if (is_damaged)
        *is_damaged = true;
}

void qvl_av_watch(AVCodecContext *codec, bool *is_damaged)
{
    codec->opaque = is_damaged;
    av_log_set_callback(on_message);
}

static enum qvl_fault decode(struct reader *r, enum qvl_format format, const uint8_t *bytes, size_t n,
                             const struct qvl_canvas *canvas)
{
    const AVCodec *codec = avcodec_find_decoder(codec_of(format));
    if (!codec)
        return QVL_FAULT_VARIANT;
    r->codec = avcodec_alloc_context3(codec);
    r->packet = av_packet_alloc();
    r->frame = av_frame_alloc();
    r->row = malloc((size_t)canvas->w * 4);
    if (!r->codec || !r->packet || !r->frame || !r->row)
        return QVL_FAULT_MEMORY;
    r->codec->thread_count = 1;
    r->codec->max_pixels = (int64_t)QVL_MAX_MEDIA_PIXELS;
    av_max_alloc(QVL_MAX_MEDIA_ALLOC_BYTES);
    qvl_av_watch(r->codec, &r->is_damaged);
    int error = avcodec_open2(r->codec, codec, NULL);
    if (error < 0)
        return fault_of(error);
    if ((error = av_new_packet(r->packet, (int)n)) < 0) /* n <= QVL_MAX_IMAGE_FILE_BYTES; padded by libav */
        return fault_of(error);
    memcpy(r->packet->data, bytes, n);
    if ((error = avcodec_send_packet(r->codec, r->packet)) < 0 ||
        (error = avcodec_receive_frame(r->codec, r->frame)) < 0)
        return fault_of(error);
    if (r->is_damaged)
        return QVL_FAULT_BROKEN;
    if (r->frame->width != (int)canvas->w || r->frame->height != (int)canvas->h)
        return QVL_FAULT_CHANGED;
    return put_frame(r->frame, r->row, canvas);
}

enum qvl_fault qvl_av_decode(enum qvl_format format, const uint8_t *bytes, size_t n,
                             const struct qvl_canvas *canvas)
{
    struct reader r = {0};
    enum qvl_fault fault = n <= QVL_MAX_IMAGE_FILE_BYTES ? decode(&r, format, bytes, n, canvas) : QVL_FAULT_BROKEN;
    free(r.row);
    av_frame_free(&r.frame);
    av_packet_free(&r.packet);
    avcodec_free_context(&r.codec);
    return fault;
}
