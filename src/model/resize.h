/* resize.h: the size that the model sees, and the pixels at that size, byte for byte as the reference
 * processor makes them (MODEL.md, "Size" and "Resize"). */
#ifndef QVL_MODEL_RESIZE_H
#define QVL_MODEL_RESIZE_H

#include "base/pool.h"

/* Both sides multiples of factor, h*w within [min_pixels, max_pixels]. h, w >= 1. */
enum qvl_status qvl_smart_resize(uint32_t h, uint32_t w, uint32_t factor, uint64_t min_pixels, uint64_t max_pixels,
                                 uint32_t *out_h, uint32_t *out_w, struct qvl_error *err);

/* The same for the frames of a clip, which all get one size: the limits hold for all n_frame frames together, their
 * number counted in whole temporal patches; a side below factor is enlarged first. */
enum qvl_status qvl_smart_resize_clip(uint32_t n_frame, uint32_t temporal_patch, uint32_t h, uint32_t w,
                                      uint32_t factor, uint64_t min_pixels, uint64_t max_pixels, uint32_t *out_h,
                                      uint32_t *out_w, struct qvl_error *err);

/* Antialiased bicubic of an 8-bit RGB picture into dst [h][w][3]. pool may be NULL (one thread). `stop` as in
 * qvl_pool_run: QVL_ERR_CANCELLED. */
enum qvl_status qvl_resize_bicubic(const struct qvl_frame *src, uint32_t w, uint32_t h, enum qvl_resize_rule rule,
                                   uint8_t *dst, struct qvl_pool *pool, const atomic_bool *stop,
                                   struct qvl_error *err);

#endif
