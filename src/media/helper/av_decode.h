/* av_decode.h: damage that libavcodec's decoders only talk about. */
#ifndef QVL_MEDIA_HELPER_AV_DECODE_H
#define QVL_MEDIA_HELPER_AV_DECODE_H

#include <stdbool.h>

#include <libavcodec/avcodec.h>

/* From now on an error message of this decoder sets *is_damaged: the decoders fill up what is damaged, and report
 * it in no other way. */
void qvl_av_watch(AVCodecContext *codec, bool *is_damaged);

#endif
