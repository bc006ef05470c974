/* progress.h: what qvl says on stderr while the user waits: one bar on a terminal, a plain line every ten seconds
 * elsewhere. */
#ifndef QVL_CLI_PROGRESS_H
#define QVL_CLI_PROGRESS_H

#include "cli/looking.h"
#include "cli/options.h"

struct qvl_progress {
    enum qvl_progress_mode mode; /* not AUTO any more */
    bool has_colour;
    bool is_bar_shown;
    double begin_ms, shown_ms; /* clock: when the question began; last thing shown, or that */
    bool has_advised;          /* said how to be faster */
    bool has_packed;           /* weights while loading */
    struct qvl_looking looking;
};

void qvl_progress_open(struct qvl_progress *progress, enum qvl_progress_mode mode, bool is_quiet);
/* A question begins, of a model with so many weights; and once more when the weights are loaded. */
void qvl_progress_begin(struct qvl_progress *progress, uint64_t n_parameter);
/* A line for people in the language chosen; a bar on the screen makes place first. Nothing in mode NONE. */
void qvl_progress_say(struct qvl_progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, dim. */
void qvl_progress_say_dim(struct qvl_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* An event of kind QVL_EVENT_PROGRESS. */
void qvl_progress_show(struct qvl_progress *progress, const struct qvl_request *request,
                       const struct qvl_event *event);
/* The answer is on its way, but so far only reasoning that is not shown: so many tokens. */
void qvl_progress_show_thinking(struct qvl_progress *progress, size_t n_tok);
/* qvl bench is at the run i_run of a test; 0: it prepares it. */
void qvl_progress_show_test(struct qvl_progress *progress, const char *name, uint32_t i_run);
/* A long piece of work of which this share is done. */
void qvl_progress_show_share(struct qvl_progress *progress, const char *label, double share);
/* qvl_engine_load, which may pack weights for a while. */
enum qvl_status qvl_progress_load(struct qvl_progress *progress, struct qvl_engine *engine, struct qvl_error *err);
/* Bytes that are here, of all, and how many come each second lately. */
void qvl_progress_show_bytes(struct qvl_progress *progress, const char *label, uint64_t n_done, uint64_t n_bytes,
                             double bytes_per_s);
/* Takes the bar off the screen. */
void qvl_progress_clear(struct qvl_progress *progress);

#endif
