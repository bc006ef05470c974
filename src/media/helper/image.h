/* image.h: the picture formats of qvl-media: (bytes, n) in, pixels out.
 *
 * Each format has a probe that reads the header and a decode that fills a canvas. Neither opens, keeps or
 * frees anything of the caller's; both return a fault instead of failing in any other way, whatever the bytes.
 * A decode checks that the picture has the canvas's size before it writes or allocates. */
#ifndef QVL_MEDIA_HELPER_IMAGE_H
#define QVL_MEDIA_HELPER_IMAGE_H

#include "media/helper/canvas.h"
#include "media/protocol.h"
#include "media/sniff.h"

struct qvl_image_info {
    uint32_t w, h;        /* as stored, unchecked: may be 0 or beyond every limit */
    uint32_t orientation; /* 1..8 */
    bool is_opaque;       /* GIF, BMP, TIFF: a fourth channel, if there is one, is not transparency */
};

typedef enum qvl_fault qvl_image_probe_fn(const uint8_t *bytes, size_t n, struct qvl_image_info *out);
typedef enum qvl_fault qvl_image_decode_fn(const uint8_t *bytes, size_t n, const struct qvl_canvas *canvas);
typedef enum qvl_fault qvl_av_decode_fn(enum qvl_format format, const uint8_t *bytes, size_t n,
                                        const struct qvl_canvas *canvas);
/* The module's door for pictures. */
struct qvl_av_door {
    bool (*prepare)(void);          /* once, before anything else and before the lock: libraries look for files */
    qvl_av_decode_fn *decode;       /* GIF, BMP and TIFF */
    qvl_image_probe_fn *heif_probe; /* HEIC and AVIF; the size and pixels are oriented */
    qvl_image_decode_fn *heif_decode;
};
extern const struct qvl_av_door qvl_av_door;

qvl_image_probe_fn qvl_jpeg_probe, qvl_png_probe, qvl_webp_probe, qvl_gif_probe, qvl_bmp_probe, qvl_tiff_probe;
qvl_image_decode_fn qvl_jpeg_decode, qvl_png_decode, qvl_webp_decode;

#define QVL_AV_MODULE "qvl-media-av.so" /* beside the program */
#define QVL_AV_SYMBOL "qvl_av_door"

/* Size and orientation of an image of a known format. av NULL: HEIC and AVIF are QVL_FAULT_VARIANT. */
enum qvl_fault qvl_image_probe(enum qvl_format format, const uint8_t *bytes, size_t n, const struct qvl_av_door *av,
                               struct qvl_image_info *out);
/* The whole image into rgb, which holds qvl_media_rgb_bytes(w, h); w and h are the size after orientation. An
 * image of any other or forbidden size is QVL_FAULT_CHANGED. av NULL: those of the module are QVL_FAULT_VARIANT. */
enum qvl_fault qvl_image_decode(enum qvl_format format, const uint8_t *bytes, size_t n,
                                const struct qvl_av_door *av, uint8_t *rgb, uint32_t w, uint32_t h);

#endif
