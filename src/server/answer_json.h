/* answer_json.h: what the APIs say of an answer beside its text: where the time went, what became of pictures and clips,
 * where in the picture the boxes are. All append. */
#ifndef QVL_SERVER_ANSWER_JSON_H
#define QVL_SERVER_ANSWER_JSON_H

#include "server/ask.h"

/* {"prompt_n", …}: llama.cpp's names and meanings, and milliseconds of the stages that it does not have. */
enum qvl_status qvl_answer_timings_json(struct qvl_bytes *out, const struct qvl_ask_usage *usage, struct qvl_error *err);

/* [{"kind": "image", "name", "original": [w, h], "used": [w, h], "tokens", "reused_tokens"}, …], in pixels; of clips also
 * "frames", "times" (seconds that the prompt says, one for two frames), "fps" and "duration_s" (null where there is no
 * file). */
enum qvl_status qvl_answer_media_json(struct qvl_bytes *out, const struct qvl_ask_usage *usage, struct qvl_error *err);

/* Boxes and points of an answer: n bytes of JSON, bare or in a fence, with objects {"bbox_2d": [x1, y1, x2, y2]} or
 * {"point_2d": [x, y]} in thousandths of the picture, as the family is trained to write. Appends for each
 * {"choice": i, "label": …, "bbox_2d" or "point_2d": [pixels of the original]}, with a comma before it where *out does not end
 * with "["; nothing where there are none, the answer is no JSON, or it is not clear which picture is meant (several of
 * different sizes). */
enum qvl_status qvl_answer_boxes_json(struct qvl_bytes *out, uint32_t i_choice, const char *answer, size_t n,
                                      const struct qvl_ask_usage *usage, struct qvl_error *err);

#endif
