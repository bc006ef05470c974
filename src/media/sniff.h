/* sniff.h: what a file is, by its first bytes. Names and declared types are not asked. */
#ifndef QVL_MEDIA_SNIFF_H
#define QVL_MEDIA_SNIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QVL_SNIFF_BYTES 512u /* this many from the start are enough */

/* Formats up to QVL_FORMAT_LAST are pictures that qvl-media decodes, MP4, Matroska and AVI are its clips; the rest
 * is recognised for the sentence that refuses it. */
enum qvl_format {
    QVL_FORMAT_NONE,
    QVL_FORMAT_JPEG,
    QVL_FORMAT_PNG,
    QVL_FORMAT_WEBP,
    QVL_FORMAT_GIF,
    QVL_FORMAT_BMP,
    QVL_FORMAT_TIFF,
    QVL_FORMAT_HEIC,
    QVL_FORMAT_AVIF,
    QVL_FORMAT_LAST = QVL_FORMAT_AVIF,
    QVL_FORMAT_BIGTIFF,
    QVL_FORMAT_PDF,
    QVL_FORMAT_SVG,
    QVL_FORMAT_JPEG2000,
    QVL_FORMAT_JPEGXL,
    QVL_FORMAT_PSD,
    QVL_FORMAT_ICO,
    QVL_FORMAT_ZIP,
    QVL_FORMAT_MP4,
    QVL_FORMAT_MATROSKA,
    QVL_FORMAT_AVI,
    QVL_FORMAT_TEXT
};

static inline bool qvl_format_is_picture(uint32_t format)
{
    return format > QVL_FORMAT_NONE && format <= QVL_FORMAT_LAST;
}

static inline bool qvl_format_is_clip(uint32_t format)
{
    return format == QVL_FORMAT_MP4 || format == QVL_FORMAT_MATROSKA || format == QVL_FORMAT_AVI;
}

/* head: the first n bytes, n <= QVL_SNIFF_BYTES. */
enum qvl_format qvl_sniff(const uint8_t *head, size_t n);
/* "JPEG", "a PDF document", …: a noun for known pictures, with its article for the rest. */
const char *qvl_format_name(enum qvl_format format);

#endif
