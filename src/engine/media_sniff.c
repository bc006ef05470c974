/* The one table of magic bytes stands in media/sniff.c; this is its public face. */
#include "media/sniff.h"
#include "qvl.h"

_Static_assert(QVL_MEDIA_HEAD_BYTES == QVL_SNIFF_BYTES, "as many bytes as the table needs");

enum qvl_media_guess qvl_media_sniff(const uint8_t *head, size_t n)
{
    enum qvl_format format = qvl_sniff(head, n < QVL_SNIFF_BYTES ? n : QVL_SNIFF_BYTES);
    if (qvl_format_is_clip(format))
        return QVL_GUESS_VIDEO;
    return qvl_format_is_picture(format) ? QVL_GUESS_IMAGE : QVL_GUESS_OTHER;
}
