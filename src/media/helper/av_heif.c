/* HEIC and AVIF stills through libheif.
 *
 * In: a whole file. Out: its primary picture, turned, mirrored and cropped as the file says, on the canvas; its
 * size from the boxes alone. libheif takes the container apart, puts tiles and alpha together and converts to RGB;
 * the coded pictures go to decoders of our own (av_heif_codec.c), because libheif's start threads, which the
 * sandbox forbids. More than 8 bits are fetched as they are and rounded here: libheif would cut them off. Source of
 * truth: ISO/IEC 23008-12. */
#include "media/helper/av_heif.h"

#include <stdlib.h>

#include "base/limits.h"
#include "media/helper/av_door.h"

struct still {
    struct heif_context *context;
    struct heif_image_handle *handle;
    struct heif_image *image;
};

static void close_still(struct still *s)
{
    heif_image_release(s->image);
    heif_image_handle_release(s->handle);
    heif_context_free(s->context);
}

static enum qvl_fault fault_of(struct heif_error error)
{
    switch (error.code) {
    case heif_error_Ok: return QVL_FAULT_NONE;
    case heif_error_Unsupported_filetype: return QVL_FAULT_VARIANT;
    case heif_error_Unsupported_feature:
        /* All layouts of our decoders can become RGB: where one cannot, memory ran out on the way. */
        return error.subcode == heif_suberror_Unsupported_color_conversion ? QVL_FAULT_MEMORY : QVL_FAULT_VARIANT;
    case heif_error_Memory_allocation_error:
        return error.subcode == heif_suberror_Security_limit_exceeded ? QVL_FAULT_BROKEN : QVL_FAULT_MEMORY;
    default: return error.subcode == heif_suberror_End_of_data ? QVL_FAULT_CUT : QVL_FAULT_BROKEN;
    }
}

static enum qvl_fault open_still(struct still *s, const uint8_t *bytes, size_t n)
{
    struct heif_error error;
    if (!qvl_heif_ends(bytes, n))
        return QVL_FAULT_BROKEN;
    s->context = heif_context_alloc();
    if (!s->context)
        return QVL_FAULT_MEMORY;
    heif_context_set_max_decoding_threads(s->context, 0);
    heif_context_set_maximum_image_size_limit(s->context, QVL_MAX_MEDIA_SIDE_PX);
    error = heif_context_read_from_memory_without_copy(s->context, bytes, n, NULL);
    if (error.code == heif_error_Ok)
        error = heif_context_get_primary_image_handle(s->context, &s->handle);
    return fault_of(error);
}

static enum qvl_fault decode_image(struct still *s)
{
    const bool is_deep = heif_image_handle_get_luma_bits_per_pixel(s->handle) > 8;
    const bool has_alpha = heif_image_handle_has_alpha_channel(s->handle);
    const enum heif_chroma layout =
        is_deep ? (has_alpha ? heif_chroma_interleaved_RRGGBBAA_LE : heif_chroma_interleaved_RRGGBB_LE)
                : (has_alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB);
    struct heif_decoding_options *options = heif_decoding_options_alloc();
    if (!options)
        return QVL_FAULT_MEMORY;
    options->strict_decoding = 1; /* a tile that cannot be read is not left out */
    enum qvl_fault fault = fault_of(heif_decode_image(s->handle, &s->image, heif_colorspace_RGB, layout, options));
    heif_decoding_options_free(options);
    return fault;
}

/* n samples of n_bit bits, two bytes each, to 8 bits, rounded. */
static void round_row(const uint8_t *in, size_t n, int n_bit, uint8_t *out)
{
    const uint32_t most = (1u << n_bit) - 1;
    for (size_t i = 0; i < n; i++) {
        uint32_t v = (uint32_t)in[2 * i] | (uint32_t)in[2 * i + 1] << 8;
        out[i] = (uint8_t)((v * 255 + most / 2) / most);
    }
}

/* Colour that is multiplied by alpha already, over white. */
static void whiten_row(uint8_t *rgba, uint32_t w)
{
    for (uint32_t x = 0; x < w; x++, rgba += 4) {
        for (size_t i = 0; i < 3; i++)
            rgba[i] = (uint8_t)(rgba[i] < rgba[3] ? rgba[i] + (255 - rgba[3]) : 255);
        rgba[3] = 255;
    }
}

static enum qvl_fault put_image(const struct still *s, const struct qvl_canvas *canvas)
{
    const int n_bit = heif_image_get_bits_per_pixel_range(s->image, heif_channel_interleaved);
    const bool has_alpha = heif_image_handle_has_alpha_channel(s->handle);
    const bool is_premultiplied = has_alpha && heif_image_handle_is_premultiplied_alpha(s->handle);
    const size_t n_sample = (size_t)canvas->w * (has_alpha ? 4 : 3);
    int stride = 0;
    const uint8_t *in = heif_image_get_plane_readonly(s->image, heif_channel_interleaved, &stride);
    if (!in || n_bit < 8 || n_bit > 16)
        return QVL_FAULT_VARIANT;
    if (heif_image_get_width(s->image, heif_channel_interleaved) != (int)canvas->w ||
        heif_image_get_height(s->image, heif_channel_interleaved) != (int)canvas->h)
        return QVL_FAULT_BROKEN;
    uint8_t *row = malloc(n_sample);
    if (!row)
        return QVL_FAULT_MEMORY;
    for (uint32_t y = 0; y < canvas->h; y++, in += stride) {
        if (n_bit > 8)
            round_row(in, n_sample, n_bit, row);
        else
            memcpy(row, in, n_sample);
        if (is_premultiplied)
            whiten_row(row, canvas->w);
        if (has_alpha)
            qvl_canvas_put_rgba(canvas, y, row);
        else
            qvl_canvas_put_rgb(canvas, y, row);
    }
    free(row);
    return QVL_FAULT_NONE;
}

enum qvl_fault qvl_heif_probe(const uint8_t *bytes, size_t n, struct qvl_image_info *out)
{
    struct still s = {0};
    enum qvl_fault fault = open_still(&s, bytes, n);
    if (!fault) {
        int w = heif_image_handle_get_width(s.handle), h = heif_image_handle_get_height(s.handle);
        *out =
            (struct qvl_image_info){.w = w > 0 ? (uint32_t)w : 0, .h = h > 0 ? (uint32_t)h : 0, .orientation = 1};
    }
    close_still(&s);
    return fault;
}

enum qvl_fault qvl_heif_decode(const uint8_t *bytes, size_t n, const struct qvl_canvas *canvas)
{
    struct still s = {0};
    enum qvl_fault fault = open_still(&s, bytes, n);
    if (!fault)
        fault = decode_image(&s);
    if (!fault)
        fault = put_image(&s, canvas);
    close_still(&s);
    return fault;
}

bool qvl_heif_prepare(void)
{
    return heif_init(NULL).code == heif_error_Ok &&
           heif_register_decoder_plugin(&qvl_heif_hevc).code == heif_error_Ok &&
           heif_register_decoder_plugin(&qvl_heif_av1).code == heif_error_Ok;
}
