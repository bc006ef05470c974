/* looking.h: how far the model is with a prompt, and how long the rest will take.
 *
 * Pictures and clips (vision patches) and prompt tokens are one piece of work in which the two kinds alternate.
 * Each is counted in work that grows a little faster than its number, because attention does; the time of a unit is
 * measured for each kind, and what was not measured yet is guessed from the other kind. What is left then takes as
 * long, in proportion, as what is done has taken on the clock, waiting for frames included. */
#ifndef QVL_CLI_LOOKING_H
#define QVL_CLI_LOOKING_H

#include "qvl.h"

struct qvl_looking {
    uint64_t n_parameter; /* of the model */
    double begin_ms;      /* clock */
    /* work: vision in patches, prefill in tokens, both weighted */
    double vision_known, vision_first, vision_done, vision_total; /* known: from the session; first: at its event */
    double vision_first_ms;                                       /* spent in the tower then */
    bool has_begun, has_vision;
    /* for people */
    double share;  /* done of all, 0 to 1 */
    double left_s; /* below 0: too early to tell */
    bool has_clip;
    uint32_t i_media, n_media;      /* the picture or clip looked at */
    uint64_t n_frame_done, n_frame; /* of all clips */
    uint64_t n_tok_done, n_tok;     /* of the prompt */
};

/* A progress event of stage VISION or PREFILL, and the numbers at that moment. */
void qvl_looking_update(struct qvl_looking *looking, const struct qvl_request_info *info,
                        const struct qvl_event *event, double now_ms);

#endif
