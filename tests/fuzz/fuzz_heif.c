/* The bytes of a HEIC or AVIF file, told apart as in production. */
#include "decode_one.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool is_prepared;
    enum qvl_format format = qvl_sniff(data, n < QVL_SNIFF_BYTES ? n : QVL_SNIFF_BYTES);
    if (format != QVL_FORMAT_HEIC && format != QVL_FORMAT_AVIF)
        return 0;
    if (!is_prepared && !qvl_av_door.prepare())
        abort();
    is_prepared = true;
    return decode_one(format, data, n, &qvl_av_door);
}
