/* decode_one.h: the body of the picture targets: probe, the production limits, decode. */
#ifndef FUZZ_DECODE_ONE_H
#define FUZZ_DECODE_ONE_H

#include <stdlib.h>

#include "media/helper/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static inline int decode_one(enum qvl_format format, const uint8_t *data, size_t n,
                             const struct qvl_av_door *av)
{
    struct qvl_image_info info;
    if (n == 0 || qvl_image_probe(format, data, n, av, &info) != QVL_FAULT_NONE)
        return 0;
    uint32_t w = qvl_orientation_swaps(info.orientation) ? info.h : info.w;
    uint32_t h = qvl_orientation_swaps(info.orientation) ? info.w : info.h;
    if (!qvl_media_size_is_allowed(w, h))
        return 0;
    uint8_t *rgb = malloc(qvl_media_rgb_bytes(w, h));
    if (rgb)
        qvl_image_decode(format, data, n, av, rgb, w, h);
    free(rgb);
    return 0;
}

#endif
