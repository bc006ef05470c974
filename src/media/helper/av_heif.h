/* av_heif.h: the parts of the reader of HEIC and AVIF: the two decoders that libheif is given in place of its own,
 * and what is checked before it. */
#ifndef QVL_MEDIA_HELPER_AV_HEIF_H
#define QVL_MEDIA_HELPER_AV_HEIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libheif/heif.h>
#include <libheif/heif_plugin.h>

extern const struct heif_decoder_plugin qvl_heif_hevc, qvl_heif_av1;

/* False: items of this file are made of each other in a circle, in longer chains than any camera writes, or have
 * numbers beyond 16 bits. */
bool qvl_heif_ends(const uint8_t *bytes, size_t n);

#endif
