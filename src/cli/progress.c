#include "cli/progress.h"

#include <stdarg.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/terminal.h"

#define BAR_EVERY_MS 100.0
#define LINE_EVERY_MS 10e3 /* plain lines inside one stage */
#define WARN_SECONDS 60.0  /* a picture that takes longer gets a hint */
#define JUDGE_AFTER_MS 3e3 /* and after one part in JUDGE_AFTER_PART: the first parts say little, because they */
#define JUDGE_AFTER_PART 20 /* differ, and weights come from the disk */

enum { BAR_CELLS = 24 };

void qvl_progress_open(struct qvl_progress *p, enum qvl_progress_mode mode, bool is_quiet)
{
    if (mode == QVL_PROGRESS_AUTO)
        mode = qvl_terminal_is(STDERR_FILENO) ? QVL_PROGRESS_BAR : QVL_PROGRESS_PLAIN;
    *p = (struct qvl_progress){.mode = is_quiet ? QVL_PROGRESS_NONE : mode,
                               .has_colour = qvl_terminal_has_colour(STDERR_FILENO),
                               .event_ms = qvl_now_ms()};
}

void qvl_progress_clear(struct qvl_progress *p)
{
    if (p->is_bar_shown)
        fputs("\r\033[K", stderr);
    p->is_bar_shown = false;
}

static void say(struct qvl_progress *p, bool is_dim, const char *format, va_list args)
{
    if (p->mode == QVL_PROGRESS_NONE)
        return;
    qvl_progress_clear(p);
    if (is_dim && p->has_colour)
        fputs("\033[2m", stderr);
    vfprintf(stderr, format, args);
    fputs(is_dim && p->has_colour ? "\033[0m\n" : "\n", stderr);
}

void qvl_progress_say(struct qvl_progress *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(p, false, format, args);
    va_end(args);
}

void qvl_progress_say_dim(struct qvl_progress *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(p, true, format, args);
    va_end(args);
}

static void name_stage(const struct qvl_event *event, char *out, size_t n_out)
{
    switch (event->progress.stage) {
    case QVL_STAGE_MEDIA: snprintf(out, n_out, "pictures"); return;
    case QVL_STAGE_QUEUE: snprintf(out, n_out, "queue"); return;
    case QVL_STAGE_VISION:
        snprintf(out, n_out, "vision %u/%u", event->progress.i_media + 1, event->progress.n_media);
        return;
    case QVL_STAGE_PREFILL: snprintf(out, n_out, "prefill"); return;
    }
}

static void draw_bar(struct qvl_progress *p, const char *name, uint64_t done, uint64_t total, double seconds)
{
    char cells[BAR_CELLS + 1];
    uint64_t n_full = total ? done * BAR_CELLS / total : 0;
    for (uint64_t i = 0; i < BAR_CELLS; i++)
        cells[i] = i < n_full ? '#' : '.';
    cells[BAR_CELLS] = 0;
    double percent = total ? 100.0 * (double)done / (double)total : 0;
    fprintf(stderr, "\r\033[K%-12s [%s] %3.0f%%  %.1f s", name, cells, percent, seconds);
    fflush(stderr);
    p->is_bar_shown = true;
}

/* Once for each picture: how long it will take, from the blocks done so far. */
static void warn_of_long_picture(struct qvl_progress *p, const struct qvl_event *event, double now_ms)
{
    uint64_t done = event->progress.done - p->first_done, left = event->progress.total - event->progress.done;
    if (event->progress.stage != QVL_STAGE_VISION || p->is_warned || done == 0 ||
        done * JUDGE_AFTER_PART < event->progress.total || now_ms - p->first_ms < JUDGE_AFTER_MS)
        return;
    double estimate = (now_ms - p->stage_ms + (now_ms - p->first_ms) / (double)done * (double)left) / 1e3;
    if (estimate <= WARN_SECONDS)
        return;
    p->is_warned = true;
    qvl_progress_say(p, "qvl: picture %u takes about %.0f s to look at; a smaller --max-pixels is faster",
                     event->progress.i_media + 1, estimate);
}

void qvl_progress_show(struct qvl_progress *p, const struct qvl_event *event)
{
    char name[40] = "";
    double now_ms = qvl_now_ms();
    if (p->mode == QVL_PROGRESS_NONE || event->progress.total == 0) {
        p->event_ms = now_ms;
        return;
    }
    bool is_new = !p->is_stage_begun || p->stage != event->progress.stage || p->i_media != event->progress.i_media;
    bool is_end = event->progress.done == event->progress.total;
    if (is_new) {
        p->is_stage_begun = true;
        p->is_warned = false;
        p->stage = event->progress.stage;
        p->i_media = event->progress.i_media;
        p->stage_ms = p->event_ms;
        p->first_ms = now_ms;
        p->first_done = event->progress.done;
    }
    p->event_ms = now_ms;
    double seconds = (now_ms - p->stage_ms) / 1e3;
    warn_of_long_picture(p, event, now_ms);
    double every_ms = p->mode == QVL_PROGRESS_BAR ? BAR_EVERY_MS : LINE_EVERY_MS;
    if (!is_new && !is_end && now_ms - p->shown_ms < every_ms)
        return;
    p->shown_ms = now_ms;
    name_stage(event, name, sizeof name);
    if (p->mode == QVL_PROGRESS_BAR)
        draw_bar(p, name, event->progress.done, event->progress.total, seconds);
    else
        fprintf(stderr, "%s: %llu of %llu, %.1f s\n", name, (unsigned long long)event->progress.done,
                (unsigned long long)event->progress.total, seconds);
}
