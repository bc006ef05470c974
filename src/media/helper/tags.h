/* tags.h: numbers out of files: a TIFF directory's tags (EXIF orientation, the size of a TIFF file), bytes in
 * little-endian order. */
#ifndef QVL_MEDIA_HELPER_TAGS_H
#define QVL_MEDIA_HELPER_TAGS_H

#include <stddef.h>
#include <stdint.h>

#define QVL_TAG_WIDTH 0x0100u
#define QVL_TAG_HEIGHT 0x0101u
#define QVL_TAG_SAMPLE_BITS 0x0102u
#define QVL_TAG_COMPRESSION 0x0103u
#define QVL_TAG_PHOTOMETRIC 0x0106u
#define QVL_TAG_ORIENTATION 0x0112u
#define QVL_TAG_TILE_WIDTH 0x0142u
#define QVL_TAG_EXTRA_SAMPLES 0x0152u
#define QVL_TAG_SAMPLE_FORMAT 0x0153u

/* A number of n <= 4 bytes, the lowest first. */
static inline uint32_t qvl_read_le(const uint8_t *p, size_t n)
{
    uint32_t v = 0;
    while (n-- > 0)
        v = v << 8 | p[n];
    return v;
}

/* The first value of a BYTE, SHORT or LONG tag in the first directory of a TIFF structure (which EXIF is), or
 * `otherwise` where the structure is broken or the tag is missing or of another type. */
uint32_t qvl_tag_read(const uint8_t *tiff, size_t n, uint32_t tag, uint32_t otherwise);
/* EXIF orientation 1..8; 1 for anything else. A leading "Exif\0\0" is skipped. */
uint32_t qvl_exif_orientation(const uint8_t *exif, size_t n);

#endif
