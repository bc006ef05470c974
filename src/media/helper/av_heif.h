/* av_heif.h: the two decoders that libheif is given, in place of its own. */
#ifndef QVL_MEDIA_HELPER_AV_HEIF_H
#define QVL_MEDIA_HELPER_AV_HEIF_H

#include <libheif/heif.h>
#include <libheif/heif_plugin.h>

extern const struct heif_decoder_plugin qvl_heif_hevc, qvl_heif_av1;

#endif
