/* HEVC and AV1 for libheif, by libavcodec on this thread alone.
 *
 * In: the coded picture as libheif hands it over, of HEVC the NAL units with their length in four bytes before
 * each. Out: its planes. Of every kind of picture only planes of 8 to 12 bits are taken, grey or with chroma 4:2:0,
 * 4:2:2 or 4:4:4, among them green, blue, red in place of Y, Cb, Cr, which libheif knows by the matrix 0. Source of
 * truth: libheif/heif_plugin.h. */
#include "media/helper/av_heif.h"

#include <stdlib.h>
#include <string.h>

#include <libavutil/pixdesc.h>

#include "base/limits.h"
#include "media/helper/av_decode.h"

enum {
    PRIORITY = 1000, /* libheif's own have 100 to 150 */
    LENGTH_BYTES = 4,
    MAX_BITS = 12
};

struct decoder {
    const char *name; /* in libavcodec */
    bool has_lengths;
    AVPacket *packet; /* all that was pushed */
    AVCodecContext *codec;
    AVFrame *frame;
    bool is_damaged;
};

static const struct heif_error ok = {heif_error_Ok, heif_suberror_Unspecified, "ok"};
static const struct heif_error broken = {heif_error_Decoder_plugin_error, heif_suberror_Unspecified, "broken"};
static const struct heif_error no_memory = {heif_error_Memory_allocation_error, heif_suberror_Unspecified,
                                            "memory"};
static const struct heif_error unknown = {heif_error_Unsupported_feature, heif_suberror_Unspecified, "unknown"};

static const char *plugin_name(void)
{
    return "libavcodec, one thread";
}

static int supports_hevc(enum heif_compression_format format)
{
    return format == heif_compression_HEVC ? PRIORITY : 0;
}

static int supports_av1(enum heif_compression_format format)
{
    return format == heif_compression_AV1 ? PRIORITY : 0;
}

static void free_decoder(void *p)
{
    struct decoder *d = p;
    if (!d)
        return;
    av_frame_free(&d->frame);
    avcodec_free_context(&d->codec);
    av_packet_free(&d->packet);
    free(d);
}

static struct heif_error new_decoder(const char *name, bool has_lengths, void **out)
{
    struct decoder *d = calloc(1, sizeof *d);
    if (!d)
        return no_memory;
    d->name = name;
    d->has_lengths = has_lengths;
    d->packet = av_packet_alloc();
    d->frame = av_frame_alloc();
    if (!d->packet || !d->frame) {
        free_decoder(d);
        return no_memory;
    }
    *out = d;
    return ok;
}

static struct heif_error new_hevc(void **out)
{
    return new_decoder("hevc", true, out);
}

static struct heif_error new_av1(void **out)
{
    return new_decoder("libdav1d", false, out);
}

/* Lengths become start codes, which are as long. */
static bool replace_lengths(uint8_t *nal, size_t n)
{
    while (n > 0) {
        if (n < LENGTH_BYTES)
            return false;
        size_t length = (size_t)nal[0] << 24 | (size_t)nal[1] << 16 | (size_t)nal[2] << 8 | nal[3];
        if (length > n - LENGTH_BYTES)
            return false;
        memcpy(nal, "\0\0\0\1", LENGTH_BYTES);
        nal += LENGTH_BYTES + length;
        n -= LENGTH_BYTES + length;
    }
    return true;
}

static struct heif_error push_data(void *p, const void *data, size_t n)
{
    struct decoder *d = p;
    const size_t n_before = (size_t)d->packet->size;
    if (n == 0)
        return ok;
    if (n > QVL_MAX_IMAGE_FILE_BYTES - n_before)
        return broken;
    if (av_grow_packet(d->packet, (int)n) < 0)
        return no_memory;
    memcpy(d->packet->data + n_before, data, n);
    return !d->has_lengths || replace_lengths(d->packet->data + n_before, n) ? ok : broken;
}

static struct heif_error decode_frame(struct decoder *d)
{
    const AVCodec *codec = avcodec_find_decoder_by_name(d->name);
    if (!codec)
        return unknown;
    d->codec = avcodec_alloc_context3(codec);
    if (!d->codec)
        return no_memory;
    d->codec->thread_count = 1;
    d->codec->max_pixels = (int64_t)QVL_MAX_MEDIA_PIXELS;
    d->codec->err_recognition = AV_EF_EXPLODE;
    qvl_av_watch(d->codec, &d->is_damaged);
    int error = avcodec_open2(d->codec, codec, NULL);
    if (!error)
        error = avcodec_send_packet(d->codec, d->packet);
    if (!error)
        error = avcodec_send_packet(d->codec, NULL);
    if (!error)
        error = avcodec_receive_frame(d->codec, d->frame);
    if (error == AVERROR(ENOMEM))
        return no_memory;
    if (error == AVERROR_PATCHWELCOME)
        return unknown;
    return error || d->is_damaged || (d->frame->flags & AV_FRAME_FLAG_CORRUPT) ? broken : ok;
}

static enum heif_chroma chroma_of(const AVPixFmtDescriptor *layout)
{
    if (layout->nb_components == 1)
        return heif_chroma_monochrome;
    switch (layout->log2_chroma_w * 2 + layout->log2_chroma_h) {
    case 0: return heif_chroma_444;
    case 2: return heif_chroma_422;
    case 3: return heif_chroma_420;
    default: return heif_chroma_undefined;
    }
}

static bool is_known(const AVPixFmtDescriptor *layout)
{
    return layout && (layout->nb_components == 1 || layout->nb_components == 3) &&
           !(layout->flags & ~(uint64_t)(AV_PIX_FMT_FLAG_PLANAR | AV_PIX_FMT_FLAG_RGB)) &&
           layout->comp[0].depth >= 8 && layout->comp[0].depth <= MAX_BITS &&
           chroma_of(layout) != heif_chroma_undefined;
}

static struct heif_error copy_plane(const AVFrame *frame, const AVPixFmtDescriptor *layout, int i_plane,
                                    struct heif_image *image)
{
    static const enum heif_channel channel[] = {heif_channel_Y, heif_channel_Cb, heif_channel_Cr};
    const int shift_w = i_plane > 0 ? layout->log2_chroma_w : 0, shift_h = i_plane > 0 ? layout->log2_chroma_h : 0;
    const int w = -(-frame->width >> shift_w), h = -(-frame->height >> shift_h), n_bit = layout->comp[0].depth;
    int stride = 0;
    struct heif_error error = heif_image_add_plane(image, channel[i_plane], w, h, n_bit);
    if (error.code)
        return error;
    uint8_t *out = heif_image_get_plane(image, channel[i_plane], &stride);
    for (int y = 0; y < h; y++)
        memcpy(out + (ptrdiff_t)y * stride, frame->data[i_plane] + (ptrdiff_t)y * frame->linesize[i_plane],
               (size_t)w * (n_bit > 8 ? 2 : 1));
    return ok;
}

/* What the coded picture says about its colours; a box of the file that says other counts more (libheif sees to
 * that). The setters refuse numbers that libheif does not know: those stay "unspecified". */
static struct heif_error tag(const AVFrame *frame, struct heif_image *image)
{
    struct heif_color_profile_nclx *colours = heif_nclx_color_profile_alloc();
    if (!colours)
        return no_memory;
    heif_nclx_color_profile_set_color_primaries(colours, (uint16_t)frame->color_primaries);
    heif_nclx_color_profile_set_transfer_characteristics(colours, (uint16_t)frame->color_trc);
    heif_nclx_color_profile_set_matrix_coefficients(colours, (uint16_t)frame->colorspace);
    colours->full_range_flag = frame->color_range == AVCOL_RANGE_JPEG;
    struct heif_error error = heif_image_set_nclx_color_profile(image, colours);
    heif_nclx_color_profile_free(colours);
    return error;
}

static struct heif_error decode_image(void *p, struct heif_image **out)
{
    struct decoder *d = p;
    struct heif_image *image = NULL;
    struct heif_error error = decode_frame(d);
    if (error.code)
        return error;
    const AVPixFmtDescriptor *layout = av_pix_fmt_desc_get(d->frame->format);
    if (!is_known(layout))
        return unknown;
    error = heif_image_create(d->frame->width, d->frame->height,
                              layout->nb_components == 1 ? heif_colorspace_monochrome : heif_colorspace_YCbCr,
                              chroma_of(layout), &image);
    for (int i = 0; !error.code && i < layout->nb_components; i++)
        error = copy_plane(d->frame, layout, i, image);
    if (!error.code)
        error = tag(d->frame, image);
    av_frame_free(&d->frame); /* a large picture is not held twice while it becomes RGB */
    avcodec_free_context(&d->codec);
    if (error.code)
        heif_image_release(image);
    else
        *out = image;
    return error;
}

static void set_strict(void *decoder, int is_strict) /* it always is */
{
    (void)decoder;
    (void)is_strict;
}

const struct heif_decoder_plugin qvl_heif_hevc = {.plugin_api_version = 3,
                                                  .get_plugin_name = plugin_name,
                                                  .does_support_format = supports_hevc,
                                                  .new_decoder = new_hevc,
                                                  .free_decoder = free_decoder,
                                                  .push_data = push_data,
                                                  .decode_image = decode_image,
                                                  .set_strict_decoding = set_strict,
                                                  .id_name = "qvl-hevc"};

const struct heif_decoder_plugin qvl_heif_av1 = {.plugin_api_version = 3,
                                                 .get_plugin_name = plugin_name,
                                                 .does_support_format = supports_av1,
                                                 .new_decoder = new_av1,
                                                 .free_decoder = free_decoder,
                                                 .push_data = push_data,
                                                 .decode_image = decode_image,
                                                 .set_strict_decoding = set_strict,
                                                 .id_name = "qvl-av1"};
