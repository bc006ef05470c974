/* Which format is read by which functions; orientation and limits, the same for all. */
#include "media/helper/image.h"

static qvl_image_probe_fn *const probes[QVL_FORMAT_LAST + 1] = {
    [QVL_FORMAT_JPEG] = qvl_jpeg_probe, [QVL_FORMAT_PNG] = qvl_png_probe, [QVL_FORMAT_WEBP] = qvl_webp_probe,
    [QVL_FORMAT_GIF] = qvl_gif_probe,   [QVL_FORMAT_BMP] = qvl_bmp_probe, [QVL_FORMAT_TIFF] = qvl_tiff_probe,
};

static bool is_heif(enum qvl_format format)
{
    return format == QVL_FORMAT_HEIC || format == QVL_FORMAT_AVIF;
}

enum qvl_fault qvl_image_probe(enum qvl_format format, const uint8_t *bytes, size_t n,
                               const struct qvl_av_door *av, struct qvl_image_info *out)
{
    if (!qvl_format_is_picture(format))
        return QVL_FAULT_VARIANT;
    if (is_heif(format))
        return av ? av->heif_probe(bytes, n, out) : QVL_FAULT_VARIANT;
    return probes[format](bytes, n, out);
}

enum qvl_fault qvl_image_decode(enum qvl_format format, const uint8_t *bytes, size_t n,
                                const struct qvl_av_door *av, uint8_t *rgb, uint32_t w, uint32_t h)
{
    struct qvl_image_info info;
    enum qvl_fault fault = qvl_image_probe(format, bytes, n, av, &info);
    if (fault)
        return fault;
    bool is_swapped = qvl_orientation_swaps(info.orientation);
    if ((is_swapped ? info.h : info.w) != w || (is_swapped ? info.w : info.h) != h)
        return QVL_FAULT_CHANGED;
    if (!qvl_media_size_is_allowed(w, h))
        return QVL_FAULT_CHANGED;
    struct qvl_canvas canvas = qvl_canvas_make(rgb, info.w, info.h, info.orientation);
    canvas.is_opaque = info.is_opaque;
    switch (format) {
    case QVL_FORMAT_JPEG: return qvl_jpeg_decode(bytes, n, &canvas);
    case QVL_FORMAT_PNG: return qvl_png_decode(bytes, n, &canvas);
    case QVL_FORMAT_WEBP: return qvl_webp_decode(bytes, n, &canvas);
    case QVL_FORMAT_HEIC:
    case QVL_FORMAT_AVIF: return av ? av->heif_decode(bytes, n, &canvas) : QVL_FAULT_VARIANT;
    default: return av ? av->decode(format, bytes, n, &canvas) : QVL_FAULT_VARIANT;
    }
}
