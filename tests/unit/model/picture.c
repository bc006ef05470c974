#include "helper.h"

uint32_t test_hash(uint32_t v)
{
    v ^= v >> 16;
    v *= 0x7FEB352Du;
    v ^= v >> 15;
    v *= 0x846CA68Bu;
    return v ^ v >> 16;
}

static uint8_t structure(uint32_t seed, uint32_t x, uint32_t y, uint32_t c, uint32_t noise)
{
    uint32_t ramp = (x * (2 + seed % 3) + y * 3) >> 2;
    uint32_t disc = ((x * x + y * y + c * 97) >> 9) & 1;
    uint32_t bars = (x / (5 + seed % 7) ^ y / 9) & 1;
    uint32_t s = ((ramp + c * 40) & 127) + disc * 100 + (noise >> 5);
    if (y / 16 % 4 == 1)
        s = bars * 255;
    return (uint8_t)(s < 255 ? s : 255);
}

uint8_t *test_picture(enum test_picture_kind kind, uint32_t seed, uint32_t w, uint32_t h)
{
    uint8_t *rgb = malloc((size_t)w * h * 3), *p = rgb;
    assert_non_null(rgb);
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++)
            for (uint32_t c = 0; c < 3; c++) {
                uint32_t noise = test_hash((y * w + x) * 3 + c + seed * 0x9E3779B9u) >> 24;
                *p++ = kind == TEST_NOISE ? (uint8_t)noise : structure(seed, x, y, c, noise);
            }
    return rgb;
}
