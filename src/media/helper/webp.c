/* WebP through libwebp: lossy, lossless, with alpha; of an animation the first frame on its canvas.
 *
 * The container is walked here (RIFF: four letters, little-endian length, data, padded to even) for three
 * things: that the file is whole, the EXIF chunk, and the first ANMF chunk of an animation, whose data are a
 * picture of their own. Pixels are libwebp's, as in Pillow. Source of truth: "WebP Container Specification". */
#include "media/helper/image.h"

#include <stdlib.h>

#include <webp/decode.h>

#include "media/helper/tags.h"

enum { RIFF_BYTES = 12, CHUNK_BYTES = 8, ANMF_BYTES = 16 };

struct file {
    uint32_t w, h; /* canvas */
    uint32_t orientation;
    bool has_alpha;
    uint32_t x, y;        /* of the frame on the canvas */
    const uint8_t *frame; /* what libwebp decodes */
    size_t n_frame;
};

/* First chunk of this name; its data and length. NULL where there is none that lies inside the file. */
static const uint8_t *find_chunk(const uint8_t *bytes, size_t n, const char *name, size_t *out_n)
{
    for (size_t at = RIFF_BYTES; at <= n && n - at >= CHUNK_BYTES;) {
        size_t length = qvl_read_le(bytes + at + 4, 4);
        if (length > n - at - CHUNK_BYTES)
            break;
        if (memcmp(bytes + at, name, 4) == 0) {
            *out_n = length;
            return bytes + at + CHUNK_BYTES;
        }
        at += CHUNK_BYTES + length + (length & 1);
    }
    return NULL;
}

static enum qvl_fault fault_of(VP8StatusCode status)
{
    switch (status) {
    case VP8_STATUS_OK: return QVL_FAULT_NONE;
    case VP8_STATUS_OUT_OF_MEMORY: return QVL_FAULT_MEMORY;
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA: return QVL_FAULT_CUT;
    case VP8_STATUS_UNSUPPORTED_FEATURE: return QVL_FAULT_VARIANT;
    case VP8_STATUS_INVALID_PARAM:
    case VP8_STATUS_BITSTREAM_ERROR:
    case VP8_STATUS_USER_ABORT: break;
    }
    return QVL_FAULT_BROKEN;
}

/* The data of an ANMF chunk: x/2, y/2, w-1, h-1, duration, flags; then chunks that libwebp reads as a file. */
static enum qvl_fault find_first_frame(const uint8_t *bytes, size_t n, struct file *file)
{
    size_t n_anmf = 0;
    const uint8_t *anmf = find_chunk(bytes, n, "ANMF", &n_anmf);
    if (!anmf || n_anmf < ANMF_BYTES)
        return QVL_FAULT_BROKEN;
    file->x = 2 * qvl_read_le(anmf, 3);
    file->y = 2 * qvl_read_le(anmf + 3, 3);
    file->frame = anmf + ANMF_BYTES;
    file->n_frame = n_anmf - ANMF_BYTES;
    return QVL_FAULT_NONE;
}

static enum qvl_fault open_file(const uint8_t *bytes, size_t n, struct file *out)
{
    if (n < RIFF_BYTES + CHUNK_BYTES || qvl_read_le(bytes + 4, 4) > n - 8)
        return QVL_FAULT_CUT;
    n = 8 + (size_t)qvl_read_le(bytes + 4, 4); /* what follows is not part of the picture */
    WebPBitstreamFeatures features;
    enum qvl_fault fault = fault_of(WebPGetFeatures(bytes, n, &features));
    if (fault)
        return fault;
    size_t n_exif = 0;
    const uint8_t *exif = find_chunk(bytes, n, "EXIF", &n_exif);
    *out = (struct file){.w = (uint32_t)features.width,
                         .h = (uint32_t)features.height,
                         .orientation = exif ? qvl_exif_orientation(exif, n_exif) : 1,
                         .has_alpha = features.has_alpha,
                         .frame = bytes,
                         .n_frame = n};
    return features.has_animation ? find_first_frame(bytes, n, out) : QVL_FAULT_NONE;
}

enum qvl_fault qvl_webp_probe(const uint8_t *bytes, size_t n, struct qvl_image_info *out)
{
    struct file file;
    enum qvl_fault fault = open_file(bytes, n, &file);
    if (!fault)
        *out = (struct qvl_image_info){.w = file.w, .h = file.h, .orientation = file.orientation};
    return fault;
}

enum qvl_fault qvl_webp_decode(const uint8_t *bytes, size_t n, const struct qvl_canvas *canvas)
{
    struct file file;
    WebPDecoderConfig config;
    enum qvl_fault fault = open_file(bytes, n, &file);
    if (fault)
        return fault;
    if (file.w != canvas->w || file.h != canvas->h)
        return QVL_FAULT_CHANGED;
    if (!WebPInitDecoderConfig(&config))
        return QVL_FAULT_BROKEN;
    if ((fault = fault_of(WebPGetFeatures(file.frame, file.n_frame, &config.input))))
        return fault;
    uint32_t w = (uint32_t)config.input.width, h = (uint32_t)config.input.height;
    if (w == 0 || h == 0 || w > canvas->w || h > canvas->h || file.x > canvas->w - w || file.y > canvas->h - h)
        return QVL_FAULT_BROKEN;

    /* [h][w][n_channel] of the canvas. Around a smaller frame it stays 0: transparent, or black. */
    size_t n_channel = file.has_alpha ? 4 : 3, stride = canvas->w * n_channel;
    uint8_t *pixels = calloc(canvas->h, stride);
    if (!pixels)
        return QVL_FAULT_MEMORY;
    config.output.colorspace = file.has_alpha ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = pixels + file.y * stride + file.x * n_channel;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = (h - 1) * stride + w * n_channel;
    fault = fault_of(WebPDecode(file.frame, file.n_frame, &config));
    WebPFreeDecBuffer(&config.output);
    for (uint32_t y = 0; !fault && y < canvas->h; y++) {
        if (file.has_alpha)
            qvl_canvas_put_rgba(canvas, y, pixels + y * stride);
        else
            qvl_canvas_put_rgb(canvas, y, pixels + y * stride);
    }
    free(pixels);
    return fault;
}
