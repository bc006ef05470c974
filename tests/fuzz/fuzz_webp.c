/* The bytes of a WebP file. */
#include "decode_one.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return decode_one(QVL_FORMAT_WEBP, data, n, NULL);
}
