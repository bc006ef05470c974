/* Enters: a size in pixels, or an 8-bit RGB picture. Leaves: the size the model sees, the picture at that size.
 *
 * The idea: a separable cubic with a = -0.5 whose support grows with the reduction (antialias), in two passes
 * with 8-bit pixels between them; a pass is left out where its axis does not change. Weights are made in double
 * and rounded to p fractional bits; a pixel is the integer sum + half, shifted right by p, clamped. All
 * three rules are this one code; they differ in p and in which pass comes first (order_of).
 *
 * Source of truth: torchvision 0.28 (uint8, CPU), Pillow 13.0 and 12.0, byte for byte (reference/
 * resize_vectors.py; tests/unit/model/test_resize.c).
 *
 * Surprises: Python rounds halves to even. The horizontal pass works on BAND rows turned on their side, so that
 * both passes are the same inner loop: pixels beside each other in memory times one weight. torchvision's
 * weights fit 16 bits, which makes that loop twice as fast as with Pillow's 32. */
#include "model/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/limits.h"

enum {
    BAND = 16,        /* rows of one horizontal job, columns beside each other in its inner loop */
    LANES = 64,       /* bytes of one step of the vertical pass */
    PILLOW_BITS = 22, /* fractional bits: 32 - 8 of the pixel - 2 of headroom */
};

/* ---- the size ------------------------------------------------------------------------------------ */

/* Rounded area: n_whole frames of the rounded size; exact area: n_frame of the given one. They differ for a clip of
 * an odd number of frames only. */
static enum qvl_status fit(uint32_t h, uint32_t w, double n_frame, double n_whole, uint32_t factor,
                           uint64_t min_pixels, uint64_t max_pixels, uint32_t *out_h, uint32_t *out_w,
                           struct qvl_error *err)
{
    double short_side = h < w ? h : w, long_side = h < w ? w : h;
    if (h < 1 || w < 1 || factor < 1 || max_pixels < 1)
        return qvl_fail(err, QVL_ERR_MEDIA, "a picture of %u x %u pixels cannot be resized", w, h);
    if (long_side / short_side > QVL_MAX_ASPECT_RATIO)
        return qvl_fail(err, QVL_ERR_MEDIA,
                        "a picture of %u x %u pixels is too long: its sides may differ by a factor of %u", w, h,
                        QVL_MAX_ASPECT_RATIO);
    double f = factor, area = n_frame * h * w;
    double fit_h = rint(h / f) * f, fit_w = rint(w / f) * f; /* rint: halves to even */
    if (n_whole * fit_h * fit_w > (double)max_pixels) {
        double shrink = sqrt(area / (double)max_pixels);
        fit_h = fmax(f, floor(h / shrink / f) * f);
        fit_w = fmax(f, floor(w / shrink / f) * f);
    } else if (n_whole * fit_h * fit_w < (double)min_pixels) {
        double grow = sqrt((double)min_pixels / area);
        fit_h = ceil(h * grow / f) * f;
        fit_w = ceil(w * grow / f) * f;
    }
    if (fit_h < f || fit_w < f || fit_h > QVL_MAX_MEDIA_SIDE_PX || fit_w > QVL_MAX_MEDIA_SIDE_PX)
        return qvl_fail(err, QVL_ERR_MEDIA,
                        "a picture of %u x %u pixels would become %.0f x %.0f; each side must be %u to %u", w, h,
                        fit_w, fit_h, factor, QVL_MAX_MEDIA_SIDE_PX);
    *out_h = (uint32_t)fit_h;
    *out_w = (uint32_t)fit_w;
    return QVL_OK;
}

enum qvl_status qvl_smart_resize(uint32_t h, uint32_t w, uint32_t factor, uint64_t min_pixels, uint64_t max_pixels,
                                 uint32_t *out_h, uint32_t *out_w, struct qvl_error *err)
{
    return fit(h, w, 1, 1, factor, min_pixels, max_pixels, out_h, out_w, err);
}

enum qvl_status qvl_smart_resize_clip(uint32_t n_frame, uint32_t temporal_patch, uint32_t h, uint32_t w,
                                      uint32_t factor, uint64_t min_pixels, uint64_t max_pixels, uint32_t *out_h,
                                      uint32_t *out_w, struct qvl_error *err)
{
    if (n_frame < temporal_patch)
        n_frame = temporal_patch;
    if (h > 0 && w > 0 && (h < factor || w < factor)) {
        double scale = fmax((double)factor / h, (double)factor / w);
        double wide = w * scale, high = h * scale; /* too large for its type: refused below by its ratio */
        if (wide <= QVL_MAX_MEDIA_SIDE_PX && high <= QVL_MAX_MEDIA_SIDE_PX) {
            h = (uint32_t)high;
            w = (uint32_t)wide;
        }
    }
    double n_whole = temporal_patch ? rint((double)n_frame / temporal_patch) * temporal_patch : 0;
    return fit(h, w, n_frame, n_whole, factor, min_pixels, max_pixels, out_h, out_w, err);
}

/* ---- weights of one axis ------------------------------------------------------------------------- */

struct axis {
    size_t n_in, n_out, n_tap; /* n_tap: slots of each output, not all used */
    int bits;                  /* fractional bits of the weights */
    bool is_narrow;            /* weights fit 16 bits */
    uint32_t *begin;           /* [n_out] first input */
    uint32_t *count;           /* [n_out] inputs used */
    int32_t *weight;           /* [n_out, n_tap] */
};

static double cubic(double t)
{
    const double a = -0.5;
    t = fabs(t);
    if (t < 1.0)
        return ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0;
    if (t < 2.0)
        return (((t - 5.0) * t + 8.0) * t - 4.0) * a;
    return 0.0;
}

static void axis_free(struct axis *axis)
{
    free(axis->begin);
    free(axis->count);
    free(axis->weight);
    *axis = (struct axis){0};
}

/* Most fractional bits, at most 22, with which the largest weight is below 2^15. */
static int torchvision_bits(double largest)
{
    int bits = 0;
    while (bits < 22 && (int)(0.5 + largest * (double)(1 << (bits + 1))) < (1 << 15))
        bits++;
    return bits;
}

/* Normalised weights of output x into w; returns how many, from input *begin on. */
static uint32_t axis_weights(const struct axis *axis, size_t x, double *w, uint32_t *begin)
{
    double scale = (double)axis->n_in / (double)axis->n_out;
    double filter_scale = scale < 1.0 ? 1.0 : scale, support = 2.0 * filter_scale;
    double centre = ((double)x + 0.5) * scale, sum = 0;
    long first = (long)(centre - support + 0.5), last = (long)(centre + support + 0.5);
    if (first < 0)
        first = 0;
    if (last > (long)axis->n_in)
        last = (long)axis->n_in;
    double inverse = 1.0 / filter_scale;
    uint32_t n = (uint32_t)(last - first);
    for (uint32_t i = 0; i < n; i++) {
        w[i] = cubic(((double)(first + (long)i) - centre + 0.5) * inverse);
        sum += w[i];
    }
    for (uint32_t i = 0; i < n && sum != 0.0; i++)
        w[i] /= sum;
    *begin = (uint32_t)first;
    return n;
}

static enum qvl_status axis_init(struct axis *axis, size_t n_in, size_t n_out, enum qvl_resize_rule rule,
                                 struct qvl_error *err)
{
    double scale = (double)n_in / (double)n_out, largest = 0;
    *axis = (struct axis){.n_in = n_in, .n_out = n_out};
    axis->n_tap = (size_t)ceil(2.0 * (scale < 1.0 ? 1.0 : scale)) * 2 + 1;
    size_t n_weight = n_out * axis->n_tap; /* <= about 4 * n_in + 5 * n_out */
    double *w = malloc(n_weight * sizeof *w);
    axis->begin = malloc(n_out * sizeof *axis->begin);
    axis->count = malloc(n_out * sizeof *axis->count);
    axis->weight = malloc(n_weight * sizeof *axis->weight);
    if (!w || !axis->begin || !axis->count || !axis->weight) {
        free(w);
        axis_free(axis);
        return qvl_fail_memory(err, n_weight * (sizeof *w + sizeof *axis->weight), "the weights of a resize");
    }
    for (size_t x = 0; x < n_out; x++) {
        axis->count[x] = axis_weights(axis, x, w + x * axis->n_tap, &axis->begin[x]);
        for (uint32_t i = 0; i < axis->count[x]; i++)
            largest = fmax(largest, w[x * axis->n_tap + i]);
    }
    axis->is_narrow = rule == QVL_RESIZE_TORCHVISION;
    axis->bits = axis->is_narrow ? torchvision_bits(largest) : PILLOW_BITS;
    for (size_t x = 0; x < n_out; x++)
        for (uint32_t i = 0; i < axis->count[x]; i++) {
            double scaled = w[x * axis->n_tap + i] * (double)(1 << axis->bits);
            axis->weight[x * axis->n_tap + i] = (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
        }
    free(w);
    return QVL_OK;
}

/* ---- the two passes ------------------------------------------------------------------------------ */

struct pass {
    const struct axis *axis;
    const uint8_t *src;
    size_t src_stride, n_row, n_byte; /* source rows, and bytes in a row of the result */
    uint8_t *dst;
    size_t dst_stride;
    uint8_t *scratch; /* horizontal: [n_thread] bands of scratch_bytes */
    size_t scratch_bytes;
};

/* sum[i] += weight * src[i]. Fixed lengths, so that the compiler makes vectors of them. */
static void accumulate_band(int32_t *restrict sum, const uint8_t *restrict src, int32_t weight, bool is_narrow)
{
    int16_t narrow = (int16_t)weight;
    if (is_narrow)
        for (size_t i = 0; i < BAND; i++)
            sum[i] += (int16_t)src[i] * narrow;
    else
        for (size_t i = 0; i < BAND; i++)
            sum[i] += src[i] * weight;
}

static void accumulate_lanes(int32_t *restrict sum, const uint8_t *restrict src, int32_t weight, bool is_narrow)
{
    for (size_t i = 0; i < LANES; i += BAND)
        accumulate_band(sum + i, src + i, weight, is_narrow);
}

static uint8_t to_pixel(int32_t sum, int bits)
{
    int32_t v = sum >> bits;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One row of the result: a weighted sum of source rows, LANES bytes at a time. */
static void vertical_row(void *arg, size_t y, size_t i_thread)
{
    const struct pass *pass = arg;
    const struct axis *axis = pass->axis;
    const int32_t *weight = axis->weight + y * axis->n_tap;
    const uint8_t *src = pass->src + axis->begin[y] * pass->src_stride;
    uint8_t *dst = pass->dst + y * pass->dst_stride;
    (void)i_thread;
    for (size_t x = 0; x < pass->n_byte; x += LANES) {
        size_t n = qvl_min_size(LANES, pass->n_byte - x);
        int32_t sum[LANES];
        uint8_t tail[LANES] = {0};
        for (size_t i = 0; i < LANES; i++)
            sum[i] = 1 << (axis->bits - 1);
        for (uint32_t i = 0; i < axis->count[y]; i++) {
            const uint8_t *row = src + i * pass->src_stride + x;
            if (n < LANES)
                row = memcpy(tail, row, n);
            accumulate_lanes(sum, row, weight[i], axis->is_narrow);
        }
        for (size_t i = 0; i < n; i++)
            dst[x + i] = to_pixel(sum[i], axis->bits);
    }
}

/* BAND rows of the result. The band is turned so that its rows lie beside each other: [3 * n_in][BAND]. */
static void horizontal_band(void *arg, size_t i_band, size_t i_thread)
{
    const struct pass *pass = arg;
    const struct axis *axis = pass->axis;
    size_t y0 = i_band * BAND, n = qvl_min_size(BAND, pass->n_row - y0), n_col = 3 * axis->n_in;
    uint8_t *band = pass->scratch + i_thread * pass->scratch_bytes;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = pass->src + (y0 + i) * pass->src_stride;
        for (size_t x = 0; x < n_col; x++)
            band[x * BAND + i] = row[x];
    }
    for (size_t x = 0; x < axis->n_out; x++) {
        const int32_t *weight = axis->weight + x * axis->n_tap;
        for (size_t c = 0; c < 3; c++) {
            const uint8_t *src = band + (3 * (size_t)axis->begin[x] + c) * BAND;
            int32_t sum[BAND];
            for (size_t i = 0; i < BAND; i++)
                sum[i] = 1 << (axis->bits - 1);
            for (uint32_t i = 0; i < axis->count[x]; i++)
                accumulate_band(sum, src + (size_t)i * 3 * BAND, weight[i], axis->is_narrow);
            for (size_t i = 0; i < n; i++)
                pass->dst[(y0 + i) * pass->dst_stride + 3 * x + c] = to_pixel(sum[i], axis->bits);
        }
    }
}

static bool run_jobs(struct qvl_pool *pool, size_t n_job, qvl_job_fn *job, void *arg, const atomic_bool *stop)
{
    if (pool)
        return qvl_pool_run(pool, n_job, job, arg, stop);
    for (size_t i = 0; i < n_job; i++) {
        if (stop && atomic_load(stop))
            return false;
        job(arg, i, 0);
    }
    return true;
}

static enum qvl_status run_horizontal(struct pass *pass, struct qvl_pool *pool, const atomic_bool *stop,
                                      struct qvl_error *err)
{
    size_t n_thread = pool ? qvl_pool_n_thread(pool) : 1;
    pass->scratch_bytes = 3 * pass->axis->n_in * BAND;
    pass->scratch = calloc(n_thread, pass->scratch_bytes);
    if (!pass->scratch)
        return qvl_fail_memory(err, n_thread * pass->scratch_bytes, "a resize");
    bool done = run_jobs(pool, qvl_div_up(pass->n_row, BAND), horizontal_band, pass, stop);
    free(pass->scratch);
    return done ? QVL_OK : qvl_fail(err, QVL_ERR_CANCELLED, "cancelled while resizing a picture");
}

static enum qvl_status run_vertical(struct pass *pass, struct qvl_pool *pool, const atomic_bool *stop,
                                    struct qvl_error *err)
{
    bool done = run_jobs(pool, pass->axis->n_out, vertical_row, pass, stop);
    return done ? QVL_OK : qvl_fail(err, QVL_ERR_CANCELLED, "cancelled while resizing a picture");
}

/* ---- the picture --------------------------------------------------------------------------------- */

/* Pillow 13 puts the pass first that saves more work; the two others always go horizontally first. */
static bool is_vertical_first(const struct qvl_frame *src, uint32_t w, uint32_t h, enum qvl_resize_rule rule)
{
    return rule == QVL_RESIZE_PILLOW && h < src->h && (int64_t)src->h - h > 2 * ((int64_t)src->w - (int64_t)w);
}

static enum qvl_status copy_rows(const struct qvl_frame *src, uint8_t *dst)
{
    for (size_t y = 0; y < src->h; y++)
        memcpy(dst + y * 3 * src->w, src->rgb8 + y * src->stride_bytes, 3 * (size_t)src->w);
    return QVL_OK;
}

enum qvl_status qvl_resize_bicubic(const struct qvl_frame *src, uint32_t w, uint32_t h, enum qvl_resize_rule rule,
                                   uint8_t *dst, struct qvl_pool *pool, const atomic_bool *stop,
                                   struct qvl_error *err)
{
    bool change_w = w != src->w, change_h = h != src->h, vertical_first = is_vertical_first(src, w, h, rule);
    struct axis across = {0}, down = {0};
    uint8_t *between = NULL; /* the picture after the first of two passes */
    enum qvl_status status = QVL_OK;
    if (!change_w && !change_h)
        return copy_rows(src, dst);
    if (change_w && (status = axis_init(&across, src->w, w, rule, err)))
        goto fail;
    if (change_h && (status = axis_init(&down, src->h, h, rule, err)))
        goto fail;

    struct pass horizontal = {.axis = &across,
                              .src = src->rgb8,
                              .src_stride = src->stride_bytes,
                              .n_row = src->h,
                              .dst = dst,
                              .dst_stride = 3 * (size_t)w};
    struct pass vertical = {.axis = &down,
                            .src = src->rgb8,
                            .src_stride = src->stride_bytes,
                            .n_byte = 3 * (size_t)w,
                            .dst = dst,
                            .dst_stride = 3 * (size_t)w};
    if (change_w && change_h) {
        size_t stride = 3 * (size_t)(vertical_first ? src->w : w), n_row = vertical_first ? h : src->h;
        between = malloc(stride * n_row); /* sides <= QVL_MAX_MEDIA_SIDE_PX: no overflow */
        if (!between) {
            status = qvl_fail_memory(err, stride * n_row, "a resize");
            goto fail;
        }
        struct pass *first = vertical_first ? &vertical : &horizontal;
        struct pass *second = vertical_first ? &horizontal : &vertical;
        first->dst = between;
        first->dst_stride = stride;
        first->n_byte = stride;
        second->src = between;
        second->src_stride = stride;
        second->n_row = n_row;
    }
    if (vertical_first && change_h && (status = run_vertical(&vertical, pool, stop, err)))
        goto fail;
    if (change_w && (status = run_horizontal(&horizontal, pool, stop, err)))
        goto fail;
    if (!vertical_first && change_h)
        status = run_vertical(&vertical, pool, stop, err);

fail:
    free(between);
    axis_free(&across);
    axis_free(&down);
    return status;
}
