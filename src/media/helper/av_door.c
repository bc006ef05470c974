/* The pictures of the module, behind one door. */
#include "media/helper/av_door.h"

__attribute__((visibility("default"))) const struct qvl_av_door qvl_av_door = {.prepare = qvl_heif_prepare,
                                                                               .decode = qvl_av_decode,
                                                                               .heif_probe = qvl_heif_probe,
                                                                               .heif_decode = qvl_heif_decode};
