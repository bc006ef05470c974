/* sample_frames.h: which frames of a clip in a file the model sees (MODEL.md, "Clips"). */
#ifndef QVL_MODEL_SAMPLE_FRAMES_H
#define QVL_MODEL_SAMPLE_FRAMES_H

#include "base/arena.h"
#include "load/config.h"

/* What contradicts itself in any file: QVL_ERR_ARGUMENT, in a sentence without the clip's name. */
enum qvl_status qvl_sample_frames_check(const struct qvl_media_options *wish, struct qvl_error *err);

/* Of a file with n_frame_file frames, fps of them a second (both > 0), those that `wish` asks for; its zero fields
 * take the model's own values. *out_index [*out_n], ascending, in `arena`; a frame may come twice where more are
 * wanted than there are. At least two: a single one comes twice. QVL_ERR_ARGUMENT: values that contradict each
 * other or the file's length, in such a sentence, too. */
enum qvl_status qvl_sample_frames(const struct qvl_config *config, uint64_t n_frame_file, double fps,
                                  const struct qvl_media_options *wish, struct qvl_arena *arena,
                                  uint64_t **out_index, size_t *out_n, struct qvl_error *err);

#endif
