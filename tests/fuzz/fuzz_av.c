/* The bytes of a GIF, BMP or TIFF file, told apart as in production. */
#include "decode_one.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    enum qvl_format format = qvl_sniff(data, n < QVL_SNIFF_BYTES ? n : QVL_SNIFF_BYTES);
    if (format != QVL_FORMAT_GIF && format != QVL_FORMAT_BMP && format != QVL_FORMAT_TIFF)
        return 0;
    return decode_one(format, data, n, &qvl_av_door);
}
