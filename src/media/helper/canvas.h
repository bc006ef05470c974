/* canvas.h: where decoded rows go: oriented, alpha over white, tight 8-bit RGB.
 *
 * Decoders hand over rows of the picture as it is stored; the canvas knows where EXIF orientation puts each
 * pixel: output offset = origin + x * step_x + y * step_y, in bytes. Static functions, because the program
 * and the module of rarer formats both use them. */
#ifndef QVL_MEDIA_HELPER_CANVAS_H
#define QVL_MEDIA_HELPER_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct qvl_canvas {
    uint8_t *rgb;           /* [h][w][3] after orientation */
    uint32_t w, h;          /* as stored, before orientation */
    ptrdiff_t origin;       /* of the stored pixel (0, 0) */
    ptrdiff_t step_x, step_y;
    bool is_opaque;         /* a fourth channel is not transparency */
};

/* EXIF orientations 5..8 exchange width and height. */
static inline bool qvl_orientation_swaps(uint32_t orientation)
{
    return orientation >= 5 && orientation <= 8;
}

/* orientation: 1..8 as EXIF tag 0x0112 has it; anything else counts as 1. */
static inline struct qvl_canvas qvl_canvas_make(uint8_t *rgb, uint32_t w, uint32_t h, uint32_t orientation)
{
    bool is_swapped = qvl_orientation_swaps(orientation);
    bool is_right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    bool is_bottom = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    ptrdiff_t out_w = is_swapped ? h : w, out_h = is_swapped ? w : h;
    ptrdiff_t across = is_right ? -3 : 3, down = is_bottom ? -3 * out_w : 3 * out_w;
    return (struct qvl_canvas){
        .rgb = rgb,
        .w = w,
        .h = h,
        .origin = (is_right ? 3 * (out_w - 1) : 0) + (is_bottom ? 3 * out_w * (out_h - 1) : 0),
        .step_x = is_swapped ? down : across,
        .step_y = is_swapped ? across : down,
    };
}

/* A row of w RGB pixels. */
static inline void qvl_canvas_put_rgb(const struct qvl_canvas *c, uint32_t y, const uint8_t *rgb)
{
    ptrdiff_t at = c->origin + (ptrdiff_t)y * c->step_y;
    if (c->step_x == 3) {
        memcpy(c->rgb + at, rgb, (size_t)c->w * 3);
        return;
    }
    for (uint32_t x = 0; x < c->w; x++, rgb += 3, at += c->step_x) {
        c->rgb[at] = rgb[0];
        c->rgb[at + 1] = rgb[1];
        c->rgb[at + 2] = rgb[2];
    }
}

/* value over white at alpha/255: what Pillow's alpha_composite gives over an opaque white picture. There the
 * weights have 7 more bits; with an opaque ground those cancel. Division by 255 as (a + (a >> 8)) >> 8. */
static inline uint8_t qvl_over_white(uint32_t value, uint32_t alpha)
{
    uint32_t sum = (value * alpha + 255 * (255 - alpha)) * 128 + (0x80u << 7);
    return (uint8_t)((((sum >> 8) + sum) >> 8) >> 7);
}

/* A row of w RGBA pixels, alpha not premultiplied. */
static inline void qvl_canvas_put_rgba(const struct qvl_canvas *c, uint32_t y, const uint8_t *rgba)
{
    ptrdiff_t at = c->origin + (ptrdiff_t)y * c->step_y;
    for (uint32_t x = 0; x < c->w; x++, rgba += 4, at += c->step_x)
        for (size_t i = 0; i < 3; i++)
            c->rgb[at + (ptrdiff_t)i] = rgba[3] == 255 ? rgba[i] : qvl_over_white(rgba[i], rgba[3]);
}

#endif
