/* Enters: two frames of 8-bit RGB, sides multiples of merge * patch. Leaves: rows of numbers, one per patch.
 *
 * Patches go in merge order: block rows, block columns, then inside each merge x merge block its rows and
 * columns, so that one visual token's patches lie together. A row's index is
 * ((channel * temporal_patch + frame) * patch + y) * patch + x.
 *
 * Source of truth: transformers' Qwen2VLImageProcessor (torchvision back end), which fuses "times rescale" and
 * "minus mean, over std" into (pixel - mean / rescale) / (std / rescale), in f32: for the published settings
 * exactly (pixel - 127.5f) / 127.5f. */
#include "model/patchify.h"

#include <math.h>

#include "model/mistake.h"

size_t qvl_patch_len(const struct qvl_vision_config *vision)
{
    return (size_t)vision->in_channels * vision->temporal_patch * vision->patch * vision->patch;
}

/* 1 / rescale. The setting is 1/255 rounded to f32; the number meant is the whole one that rounds to it. */
static double inverse(float rescale)
{
    double whole = rint(1.0 / (double)rescale);
    return (float)(1.0 / whole) == rescale ? whole : 1.0 / (double)rescale;
}

/* The value of each of the 256 pixel values in each channel. */
static void make_table(const struct qvl_image_config *image, float table[3][256])
{
    float scale = (float)inverse(image->rescale);
    for (size_t c = 0; c < 3; c++) {
        float mean = image->mean[c] * scale, std = image->std[c] * scale;
        for (int v = 0; v < 256; v++)
            table[c][v] = ((float)v - mean) / std;
    }
}

void qvl_patchify(const struct qvl_vision_config *vision, const struct qvl_image_config *image,
                  const uint8_t *frame0, const uint8_t *frame1, uint32_t grid_h, uint32_t grid_w, float *row)
{
    const uint8_t *frame[2] = {frame0, QVL_MISTAKE(FIRST_FRAME_TWICE) ? frame0 : frame1};
    bool is_padding_black = QVL_MISTAKE(BLACK_PADDING) && frame1 == frame0;
    size_t patch = vision->patch, merge = vision->merge, stride = 3 * patch * grid_w;
    size_t n_patch = (size_t)grid_h * grid_w, blocks_w = grid_w / merge;
    float table[3][256];
    make_table(image, table);
    for (size_t i = 0; i < n_patch; i++) {
        size_t block = i / (merge * merge), in_block = i % (merge * merge);
        if (QVL_MISTAKE(PATCHES_TRANSPOSED))
            in_block = in_block % merge * merge + in_block / merge;
        size_t y0 = (block / blocks_w * merge + in_block / merge) * patch;
        size_t x0 = (block % blocks_w * merge + in_block % merge) * patch;
        for (size_t c = 0; c < 3; c++)
            for (size_t t = 0; t < 2; t++)
                for (size_t y = 0; y < patch; y++) {
                    const uint8_t *src = frame[t] + (y0 + y) * stride + 3 * x0 + c;
                    for (size_t x = 0; x < patch; x++)
                        *row++ = table[c][is_padding_black && t == 1 ? 0 : src[3 * x]];
                }
    }
}
