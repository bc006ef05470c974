/* What a file is, by magic bytes.
 *
 * In: the first 512 bytes. Out: a format. The table is tried in order; the ISO container ("ftyp" at byte 4) is
 * told apart by its major brand, since HEIC, AVIF and MP4 share it. Bytes that match nothing but read as UTF-8
 * without control characters are called text, so that the refusal can say so. */
#include "media/sniff.h"

#include <stdbool.h>
#include <string.h>

#include "base/language.h"
#include "base/utf8.h"

struct magic {
    enum qvl_format format;
    uint8_t offset, n;
    const char *bytes;
};

static const struct magic magics[] = {
    {QVL_FORMAT_JPEG, 0, 3, "\xff\xd8\xff"},
    {QVL_FORMAT_PNG, 0, 8, "\x89PNG\r\n\x1a\n"},
    {QVL_FORMAT_GIF, 0, 6, "GIF87a"},
    {QVL_FORMAT_GIF, 0, 6, "GIF89a"},
    {QVL_FORMAT_TIFF, 0, 4, "II*\0"},
    {QVL_FORMAT_TIFF, 0, 4, "MM\0*"},
    {QVL_FORMAT_BIGTIFF, 0, 4, "II+\0"},
    {QVL_FORMAT_BIGTIFF, 0, 4, "MM\0+"},
    {QVL_FORMAT_PDF, 0, 5, "%PDF-"},
    {QVL_FORMAT_JPEG2000, 0, 12, "\0\0\0\x0cjP  \r\n\x87\n"},
    {QVL_FORMAT_JPEG2000, 0, 4, "\xff\x4f\xff\x51"},
    {QVL_FORMAT_JPEGXL, 0, 12, "\0\0\0\x0cJXL \r\n\x87\n"},
    {QVL_FORMAT_JPEGXL, 0, 2, "\xff\x0a"},
    {QVL_FORMAT_PSD, 0, 4, "8BPS"},
    {QVL_FORMAT_ICO, 0, 4, "\0\0\1\0"},
    {QVL_FORMAT_ZIP, 0, 4, "PK\3\4"},
    {QVL_FORMAT_MATROSKA, 0, 4, "\x1a\x45\xdf\xa3"},
    {QVL_FORMAT_MP4, 4, 4, "moov"},
    {QVL_FORMAT_MP4, 4, 4, "mdat"},
    {QVL_FORMAT_MP4, 4, 4, "wide"}, /* what QuickTime begins with where it writes no "ftyp" */
};

static bool has_at(const uint8_t *head, size_t n, size_t offset, const char *bytes, size_t n_bytes)
{
    return n >= offset + n_bytes && memcmp(head + offset, bytes, n_bytes) == 0;
}

/* ISO base media: the major brand is at byte 8. */
static enum qvl_format brand(const uint8_t *head, size_t n)
{
    static const char heic[][5] = {"heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1"};
    if (has_at(head, n, 8, "avif", 4) || has_at(head, n, 8, "avis", 4))
        return QVL_FORMAT_AVIF;
    for (size_t i = 0; i < sizeof heic / sizeof *heic; i++)
        if (has_at(head, n, 8, heic[i], 4))
            return QVL_FORMAT_HEIC;
    return QVL_FORMAT_MP4;
}

/* A file that ends inside its magic cannot be told; a cut at the end of head may split a character. */
static bool is_text(const uint8_t *head, size_t n)
{
    const char *s = (const char *)head;
    size_t n_whole = n == QVL_SNIFF_BYTES ? n - qvl_utf8_n_incomplete(s, n) : n;
    for (size_t i = 0; i < n_whole; i++)
        if (head[i] < 0x20 && head[i] != '\n' && head[i] != '\r' && head[i] != '\t' && head[i] != '\f')
            return false;
    return n > 0 && qvl_utf8_is_valid(s, n_whole);
}

static bool is_svg(const uint8_t *head, size_t n)
{
    return is_text(head, n) && (memmem(head, n, "<svg", 4) || memmem(head, n, "<!DOCTYPE svg", 13));
}

enum qvl_format qvl_sniff(const uint8_t *head, size_t n)
{
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (has_at(head, n, magics[i].offset, magics[i].bytes, magics[i].n))
            return magics[i].format;
    if (has_at(head, n, 0, "RIFF", 4) && has_at(head, n, 8, "WEBP", 4))
        return QVL_FORMAT_WEBP;
    if (has_at(head, n, 0, "RIFF", 4) && has_at(head, n, 8, "AVI ", 4))
        return QVL_FORMAT_AVI;
    if (has_at(head, n, 4, "ftyp", 4))
        return brand(head, n);
    if (is_svg(head, n))
        return QVL_FORMAT_SVG;
    /* "BM" also begins words; a bitmap header holds zero bytes, text does not. */
    if (has_at(head, n, 0, "BM", 2) && !is_text(head, n))
        return QVL_FORMAT_BMP;
    return is_text(head, n) ? QVL_FORMAT_TEXT : QVL_FORMAT_NONE;
}

const char *qvl_format_name(enum qvl_format format)
{
    switch (format) {
    case QVL_FORMAT_NONE: return qvl_text("data of an unknown kind");
    case QVL_FORMAT_JPEG: return "JPEG";
    case QVL_FORMAT_PNG: return "PNG";
    case QVL_FORMAT_WEBP: return "WebP";
    case QVL_FORMAT_GIF: return "GIF";
    case QVL_FORMAT_BMP: return "BMP";
    case QVL_FORMAT_TIFF: return "TIFF";
    case QVL_FORMAT_BIGTIFF: return qvl_text("a BigTIFF picture");
    case QVL_FORMAT_PDF: return qvl_text("a PDF document");
    case QVL_FORMAT_SVG: return qvl_text("an SVG drawing");
    case QVL_FORMAT_HEIC: return "HEIC";
    case QVL_FORMAT_AVIF: return "AVIF";
    case QVL_FORMAT_JPEG2000: return qvl_text("a JPEG 2000 picture");
    case QVL_FORMAT_JPEGXL: return qvl_text("a JPEG XL picture");
    case QVL_FORMAT_PSD: return qvl_text("a Photoshop file");
    case QVL_FORMAT_ICO: return qvl_text("an icon file");
    case QVL_FORMAT_ZIP: return qvl_text("a ZIP archive");
    case QVL_FORMAT_MP4: return qvl_text("an MP4 or QuickTime video");
    case QVL_FORMAT_MATROSKA: return qvl_text("a Matroska or WebM video");
    case QVL_FORMAT_AVI: return qvl_text("an AVI video");
    case QVL_FORMAT_TEXT: return qvl_text("text");
    }
    return qvl_text("data of an unknown kind");
}
