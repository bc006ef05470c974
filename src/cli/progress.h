/* progress.h: what qvl says on stderr while the user waits: a bar on a terminal, plain lines elsewhere. */
#ifndef QVL_CLI_PROGRESS_H
#define QVL_CLI_PROGRESS_H

#include "cli/options.h"

struct qvl_progress {
    enum qvl_progress_mode mode; /* not AUTO any more */
    bool has_colour;
    bool is_bar_shown;
    double stage_ms, event_ms, shown_ms; /* clock: when the stage began; last event; last thing shown */
    enum qvl_stage stage;
    uint32_t i_media;
    bool is_stage_begun, is_warned;
    uint64_t first_done;         /* the stage's first event, for the estimate: progress and clock */
    double first_ms;
};

void qvl_progress_open(struct qvl_progress *progress, enum qvl_progress_mode mode, bool is_quiet);
/* A line for people; a bar on the screen makes place first. Nothing in mode NONE. */
void qvl_progress_say(struct qvl_progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, dim. */
void qvl_progress_say_dim(struct qvl_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* An event of kind QVL_EVENT_PROGRESS. */
void qvl_progress_show(struct qvl_progress *progress, const struct qvl_event *event);
/* Takes the bar off the screen. */
void qvl_progress_clear(struct qvl_progress *progress);

#endif
