/* The headers of the rarer formats: size before any decoder is asked.
 *
 * In: a whole file. Out: size and orientation, or a fault. GIF's first frame is also followed to its end, because
 * the decoder would fill up what a cut file lacks. Sources of truth: GIF89a specification, sections 18 to 24;
 * Windows BITMAPCOREHEADER and BITMAPINFOHEADER; TIFF 6.0, section 8. */
#include "media/helper/image.h"

#include "media/helper/tags.h"

enum { GIF_HEADER_BYTES = 13, GIF_IMAGE_BYTES = 9, GIF_EXTENSION = 0x21, GIF_IMAGE = 0x2c };

/* Bytes of the colour table that the flags announce. */
static size_t gif_table_bytes(uint8_t flags)
{
    return flags & 0x80 ? (size_t)3 << ((flags & 7) + 1) : 0;
}

/* Data blocks: length, that many bytes, …, length 0. Moves *at behind them; false where the file ends first. */
static bool gif_skip_blocks(const uint8_t *bytes, size_t n, size_t *at)
{
    while (*at < n) {
        size_t length = bytes[(*at)++];
        if (length == 0)
            return true;
        if (length > n - *at)
            return false;
        *at += length;
    }
    return false;
}

static enum qvl_fault gif_check_first_frame(const uint8_t *bytes, size_t n)
{
    size_t at = GIF_HEADER_BYTES + gif_table_bytes(bytes[10]);
    while (at < n) {
        uint8_t block = bytes[at++];
        if (block == GIF_EXTENSION) {
            at++; /* label */
            if (!gif_skip_blocks(bytes, n, &at))
                return QVL_FAULT_CUT;
        } else if (block == GIF_IMAGE) {
            if (n - at < GIF_IMAGE_BYTES)
                return QVL_FAULT_CUT;
            at += GIF_IMAGE_BYTES + gif_table_bytes(bytes[at + 8]) + 1; /* and the code size */
            return gif_skip_blocks(bytes, n, &at) ? QVL_FAULT_NONE : QVL_FAULT_CUT;
        } else {
            return QVL_FAULT_BROKEN;
        }
    }
    return QVL_FAULT_CUT;
}

enum qvl_fault qvl_gif_probe(const uint8_t *bytes, size_t n, struct qvl_image_info *out)
{
    if (n < GIF_HEADER_BYTES)
        return QVL_FAULT_CUT;
    *out =
        (struct qvl_image_info){.w = qvl_read_le(bytes + 6, 2), .h = qvl_read_le(bytes + 8, 2), .orientation = 1};
    return gif_check_first_frame(bytes, n);
}

/* Sizes of BMP headers behind the 14 bytes of the file header; with the third comes a mask of alpha bits. */
enum { BMP_CORE_BYTES = 12, BMP_INFO_BYTES = 40, BMP_ALPHA_BYTES = 56, BMP_BITFIELDS = 3 };

enum qvl_fault qvl_bmp_probe(const uint8_t *bytes, size_t n, struct qvl_image_info *out)
{
    if (n < 14 + BMP_CORE_BYTES)
        return QVL_FAULT_CUT;
    uint32_t header_bytes = qvl_read_le(bytes + 14, 4);
    if (header_bytes == BMP_CORE_BYTES) {
        *out = (struct qvl_image_info){
            .w = qvl_read_le(bytes + 18, 2),
            .h = qvl_read_le(bytes + 20, 2),
            .orientation = 1,
            .is_opaque = true};
        return QVL_FAULT_NONE;
    }
    if (header_bytes < BMP_INFO_BYTES || n < 14 + BMP_INFO_BYTES)
        return header_bytes < BMP_INFO_BYTES ? QVL_FAULT_VARIANT : QVL_FAULT_CUT;
    uint32_t w = qvl_read_le(bytes + 18, 4), h = qvl_read_le(bytes + 22, 4);
    if (w > INT32_MAX)
        return QVL_FAULT_BROKEN;
    if (h > INT32_MAX) /* negative: rows from top to bottom */
        h = 0u - h;
    bool has_alpha = qvl_read_le(bytes + 30, 4) == BMP_BITFIELDS && header_bytes >= BMP_ALPHA_BYTES &&
                     n >= 14 + BMP_ALPHA_BYTES && qvl_read_le(bytes + 66, 4) != 0;
    *out = (struct qvl_image_info){.w = w, .h = h, .orientation = 1, .is_opaque = !has_alpha};
    return QVL_FAULT_NONE;
}

/* TIFF 6.0, sections 8, 18 and 19. A fourth channel (grey's second) is something unnamed, colour already
 * multiplied, or alpha. */
enum { EXTRA_PREMULTIPLIED = 1, EXTRA_ALPHA = 2, PHOTOMETRIC_PALETTE = 3, SAMPLE_UNSIGNED = 1,
       MAX_SAMPLE_BITS = 16 };

/* Those that libavcodec decodes; for some others (JPEG) it hands out black without a word. */
static bool is_known_compression(uint32_t compression)
{
    static const uint16_t known[] = {1 /* none */, 2, 3, 4 /* fax */, 5 /* LZW */, 8, 32946 /* deflate */,
                                     32773 /* PackBits */};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i] == compression)
            return true;
    return false;
}

enum qvl_fault qvl_tiff_probe(const uint8_t *bytes, size_t n, struct qvl_image_info *out)
{
    uint32_t w = qvl_tag_read(bytes, n, QVL_TAG_WIDTH, 0), h = qvl_tag_read(bytes, n, QVL_TAG_HEIGHT, 0);
    uint32_t extra = qvl_tag_read(bytes, n, QVL_TAG_EXTRA_SAMPLES, EXTRA_ALPHA);
    if (w == 0 || h == 0)
        return QVL_FAULT_BROKEN;
    if (!is_known_compression(qvl_tag_read(bytes, n, QVL_TAG_COMPRESSION, 1)) ||
        qvl_tag_read(bytes, n, QVL_TAG_PHOTOMETRIC, 0) > PHOTOMETRIC_PALETTE ||
        qvl_tag_read(bytes, n, QVL_TAG_SAMPLE_BITS, 1) > MAX_SAMPLE_BITS ||
        qvl_tag_read(bytes, n, QVL_TAG_TILE_WIDTH, 0) != 0 ||
        qvl_tag_read(bytes, n, QVL_TAG_SAMPLE_FORMAT, SAMPLE_UNSIGNED) != SAMPLE_UNSIGNED ||
        extra == EXTRA_PREMULTIPLIED)
        return QVL_FAULT_VARIANT;
    *out = (struct qvl_image_info){.w = w,
                                   .h = h,
                                   .orientation = qvl_exif_orientation(bytes, n),
                                   .is_opaque = extra != EXTRA_ALPHA};
    return QVL_FAULT_NONE;
}
