/* One number out of a TIFF directory.
 *
 * In: bytes from outside, anything may be wrong with them. Only the first directory is read, each entry once, so
 * a structure that points back into itself costs nothing. Source of truth: TIFF 6.0, section 2 (header, image
 * file directory); EXIF 2.3, section 4.6.4 (orientation). */
#include "media/helper/tags.h"

#include <stdbool.h>
#include <string.h>

enum { TYPE_BYTE = 1, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY_BYTES = 12 };

/* A number of n <= 4 bytes in the structure's own byte order. */
static uint32_t number(const uint8_t *p, size_t n, bool is_big)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[is_big ? i : n - 1 - i];
    return v;
}

/* entry: tag, type, count, then the values themselves where they fit into 4 bytes, else where they are. */
static uint32_t first_value(const uint8_t *tiff, size_t n, const uint8_t *entry, bool is_big, uint32_t otherwise)
{
    uint32_t type = number(entry + 2, 2, is_big), count = number(entry + 4, 4, is_big);
    size_t size = type == TYPE_BYTE ? 1 : type == TYPE_SHORT ? 2 : type == TYPE_LONG ? 4 : 0;
    const uint8_t *value = entry + 8;
    if (size == 0 || count == 0)
        return otherwise;
    if (count > 4 / size) {
        size_t at = number(value, 4, is_big);
        if (at > n - size)
            return otherwise;
        value = tiff + at;
    }
    return number(value, size, is_big);
}

uint32_t qvl_tag_read(const uint8_t *tiff, size_t n, uint32_t tag, uint32_t otherwise)
{
    if (n < 8)
        return otherwise;
    bool is_big = memcmp(tiff, "MM", 2) == 0;
    if ((!is_big && memcmp(tiff, "II", 2) != 0) || number(tiff + 2, 2, is_big) != 42)
        return otherwise;
    size_t at = number(tiff + 4, 4, is_big);
    if (at > n - 2)
        return otherwise;
    size_t n_entry = number(tiff + at, 2, is_big);
    at += 2;
    for (size_t i = 0; i < n_entry && n - at >= ENTRY_BYTES; i++, at += ENTRY_BYTES) {
        const uint8_t *entry = tiff + at;
        if (number(entry, 2, is_big) == tag)
            return first_value(tiff, n, entry, is_big, otherwise);
    }
    return otherwise;
}

uint32_t qvl_exif_orientation(const uint8_t *exif, size_t n)
{
    if (n >= 6 && memcmp(exif, "Exif\0\0", 6) == 0) {
        exif += 6;
        n -= 6;
    }
    uint32_t orientation = qvl_tag_read(exif, n, QVL_TAG_ORIENTATION, 1);
    return orientation >= 1 && orientation <= 8 ? orientation : 1;
}
