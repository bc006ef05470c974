/* A decoded frame as RGB: libswscale at the frame's own size, then turned into place.
 *
 * SWS_BILINEAR and no other flag; colour space and range as the frame is tagged, BT.601 and limited where it is
 * not: the bytes of PyAV's to_ndarray(format="rgb24") and of torchcodec. The scaler writes rows in steps of eight
 * pixels, so it gets rows with room behind them. */
#include "media/helper/av_clip.h"

#include <libavutil/mem.h>
#include <libswscale/swscale.h>

#include "media/helper/canvas.h"

enum { ROW_ALIGN = 64 };

static size_t stride_of(int w)
{
    return ((size_t)w * 3 + 2 * ROW_ALIGN - 1) / ROW_ALIGN * ROW_ALIGN;
}

static bool set_colours(struct SwsContext *scaler, const AVFrame *frame)
{
    int *from = NULL, *to = NULL, from_range = 0, to_range = 0, brightness = 0, contrast = 0, saturation = 0;
    if (sws_getColorspaceDetails(scaler, &from, &from_range, &to, &to_range, &brightness, &contrast, &saturation) <
        0)
        return false;
    if (frame->color_range != AVCOL_RANGE_UNSPECIFIED)
        from_range = frame->color_range == AVCOL_RANGE_JPEG;
    const int *table = sws_getCoefficients((int)frame->colorspace);
    sws_setColorspaceDetails(scaler, table, from_range, table, to_range, brightness, contrast, saturation);
    return true;
}

/* Makes the scaler anew where the frame is of another kind than the last one. */
static enum qvl_fault prepare(struct qvl_clip_rgb *c, const AVFrame *frame)
{
    const int w = frame->width, h = frame->height, layout = frame->format;
    if (c->scaler && c->w == w && c->h == h && c->layout == layout && c->colorspace == (int)frame->colorspace &&
        c->range == (int)frame->color_range)
        return QVL_FAULT_NONE;
    qvl_clip_rgb_free(c);
    c->pixels = av_malloc(stride_of(w) * (size_t)h + ROW_ALIGN);
    if (!c->pixels)
        return QVL_FAULT_MEMORY;
    c->scaler =
        sws_getContext(w, h, (enum AVPixelFormat)layout, w, h, AV_PIX_FMT_RGB24, SWS_BILINEAR, NULL, NULL, NULL);
    if (!c->scaler || !set_colours(c->scaler, frame))
        return QVL_FAULT_VARIANT;
    c->w = w;
    c->h = h;
    c->layout = layout;
    c->colorspace = (int)frame->colorspace;
    c->range = (int)frame->color_range;
    return QVL_FAULT_NONE;
}

enum qvl_fault qvl_clip_rgb_put(struct qvl_clip_rgb *c, const AVFrame *frame, uint32_t orientation, uint8_t *rgb)
{
    enum qvl_fault fault = prepare(c, frame);
    if (fault)
        return fault;
    const size_t stride = stride_of(c->w);
    uint8_t *const planes[4] = {c->pixels, NULL, NULL, NULL};
    const int strides[4] = {(int)stride, 0, 0, 0};
    if (sws_scale(c->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, c->h, planes, strides) !=
        c->h)
        return QVL_FAULT_VARIANT;
    const struct qvl_canvas canvas = qvl_canvas_make(rgb, (uint32_t)c->w, (uint32_t)c->h, orientation);
    for (uint32_t y = 0; y < canvas.h; y++)
        qvl_canvas_put_rgb(&canvas, y, c->pixels + y * stride);
    return QVL_FAULT_NONE;
}

void qvl_clip_rgb_free(struct qvl_clip_rgb *c)
{
    sws_freeContext(c->scaler);
    av_freep(&c->pixels);
    *c = (struct qvl_clip_rgb){0};
}
