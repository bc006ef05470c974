/* media_options.h: what a part, or a whole request, wishes for its picture or clip; for this room only. */
#ifndef QVL_CHAT_MEDIA_OPTIONS_H
#define QVL_CHAT_MEDIA_OPTIONS_H

#include "base/json_tree.h"

enum qvl_media_wish {
    QVL_WISH_MIN_PIXELS,
    QVL_WISH_MAX_PIXELS,
    QVL_WISH_TOTAL_PIXELS,
    QVL_WISH_FPS,
    QVL_WISH_NUM_FRAMES,
    QVL_WISH_MIN_FRAMES,
    QVL_WISH_MAX_FRAMES,
    QVL_WISH_START,
    QVL_WISH_END,
    QVL_N_WISH
};

struct qvl_media_wishes {
    double of[QVL_N_WISH]; /* 0: nothing is said */
};

/* The members of `object`, and of `inner` (the object that holds the URL; may be NULL). QVL_ERR_ARGUMENT in
 * sentences that begin with `where`: values that are none, that contradict each other, or stand in both. */
enum qvl_status qvl_media_wishes_read(const char *where, const struct qvl_json_node *object,
                                      const struct qvl_json_node *inner, struct qvl_media_wishes *out,
                                      struct qvl_error *err);
/* OpenAI's "detail" of a picture, as a cap on max_pixels; object may be anything. */
enum qvl_status qvl_media_detail_read(const char *where, const struct qvl_json_node *object,
                                      struct qvl_media_wishes *out, struct qvl_error *err);
const char *qvl_media_wish_name(enum qvl_media_wish wish);

/* Puts them into *m, and takes out what contradicts them. */
void qvl_media_wishes_apply(const struct qvl_media_wishes *wishes, struct qvl_media_options *m);

/* A number from min to max, or a sentence that names it: "WHERE: "KEY" must be a number from ...". */
enum qvl_status qvl_media_number_read(const char *where, const char *key, const struct qvl_json_node *node,
                                      double min, double max, double *out, struct qvl_error *err);
#define QVL_LEAST_RATE 1e-6 /* of what must be above 0 */

#endif
