/* av_door.h: what stands behind the module's door for pictures (image.h). */
#ifndef QVL_MEDIA_HELPER_AV_DOOR_H
#define QVL_MEDIA_HELPER_AV_DOOR_H

#include "media/helper/image.h"

qvl_av_decode_fn qvl_av_decode;
bool qvl_heif_prepare(void);
qvl_image_probe_fn qvl_heif_probe;
qvl_image_decode_fn qvl_heif_decode;

#endif
