#include "cli/progress.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/language.h"
#include "base/utf8.h"
#include "cli/terminal.h"

#define BAR_EVERY_MS 100.0
#define LINE_EVERY_MS 10e3
#define SLOW_TO_PACK 1e9    /* weights: with more, packing takes ten seconds and up */
#define ADVISE_SECONDS 60.0 /* who waits longer is told how to be faster */

enum { BAR_CELLS = 20, MIN_CELLS = 5, MAX_LABEL = 96 };

void qvl_progress_open(struct qvl_progress *p, enum qvl_progress_mode mode, bool is_quiet)
{
    if (mode == QVL_PROGRESS_AUTO)
        mode = qvl_terminal_is(STDERR_FILENO) ? QVL_PROGRESS_BAR : QVL_PROGRESS_PLAIN;
    *p = (struct qvl_progress){.mode = is_quiet ? QVL_PROGRESS_NONE : mode,
                               .has_colour = qvl_terminal_has_colour(STDERR_FILENO)};
    qvl_progress_begin(p, 0);
}

void qvl_progress_begin(struct qvl_progress *p, uint64_t n_parameter)
{
    qvl_progress_clear(p);
    p->begin_ms = p->shown_ms = qvl_now_ms();
    p->has_advised = false;
    p->looking = (struct qvl_looking){.n_parameter = n_parameter, .begin_ms = p->begin_ms};
}

void qvl_progress_clear(struct qvl_progress *p)
{
    if (p->is_bar_shown)
        fputs("\r\033[K", stderr);
    p->is_bar_shown = false;
}

static void say(struct qvl_progress *p, bool is_dim, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
static void say(struct qvl_progress *p, bool is_dim, const char *format, va_list args)
{
    char *text = NULL;
    if (p->mode == QVL_PROGRESS_NONE || vasprintf(&text, qvl_text(format), args) < 0)
        return;
    qvl_utf8_make_printable(text, strlen(text)); /* names of files may hold anything */
    qvl_progress_clear(p);
    bool has_colour = is_dim && p->has_colour;
    fprintf(stderr, "%s%s%s\n", has_colour ? "\033[2m" : "", text, has_colour ? "\033[0m" : "");
    free(text);
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

/* ---- one line ------------------------------------------------------------------------------------ */

/* Of the bar, where it stands between n_other characters: a line that wraps could not be taken back. */
static int count_cells(size_t n_other)
{
    struct winsize size = {0};
    size_t n_column = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    size_t n = n_column > n_other ? n_column - n_other : 0;
    return n < MIN_CELLS ? 0 : n < BAR_CELLS ? (int)n : BAR_CELLS;
}

/* A bar when the share of the work is known (>= 0), else the label alone; on a terminal over the last one. */
static void draw(struct qvl_progress *p, const char *label, double share, const char *time)
{
    if (p->mode == QVL_PROGRESS_PLAIN) {
        fprintf(stderr, share < 0 ? "%s  %s\n" : "%s  %s  %.0f%%\n", label, time, 100 * share);
        return;
    }
    fprintf(stderr, "\r\033[K%s ", label);
    int n_cell = count_cells(strlen(label) + strlen(time) + sizeof " [] 100%  ");
    if (share >= 0 && n_cell) {
        char cells[BAR_CELLS + 1];
        for (int i = 0; i < n_cell; i++)
            cells[i] = i < (int)(share * n_cell) ? '#' : '.';
        cells[n_cell] = 0;
        fprintf(stderr, "[%s] ", cells);
    }
    if (share >= 0)
        fprintf(stderr, "%3.0f%% ", 100 * share);
    fprintf(stderr, " %s", time);
    fflush(stderr);
    p->is_bar_shown = true;
}

/* Whether it is time for the next one. */
static bool is_due(struct qvl_progress *p, double now_ms)
{
    double every_ms = p->mode == QVL_PROGRESS_BAR ? BAR_EVERY_MS : LINE_EVERY_MS;
    if (p->mode == QVL_PROGRESS_NONE || now_ms - p->shown_ms < every_ms)
        return false;
    p->shown_ms = now_ms;
    return true;
}

static void name_time(const struct qvl_progress *p, double now_ms, char *out, size_t n_out)
{
    double left_s = p->looking.has_begun ? p->looking.left_s : -1;
    if (left_s < 0)
        snprintf(out, n_out, qvl_text("%.0f s"), (now_ms - p->begin_ms) / 1e3);
    else if (left_s < 100)
        snprintf(out, n_out, qvl_text("%.0f s left"), left_s);
    else
        snprintf(out, n_out, qvl_text("%.0f min left"), left_s / 60);
}

/* ---- what it says -------------------------------------------------------------------------------- */

static void name_looking(const struct qvl_looking *l, enum qvl_stage stage, char *out, size_t n_out)
{
    if (l->has_clip)
        snprintf(out, n_out, qvl_text("frame %llu of %llu, token %llu of %llu"),
                 (unsigned long long)l->n_frame_done, (unsigned long long)l->n_frame,
                 (unsigned long long)l->n_tok_done, (unsigned long long)l->n_tok);
    else if (stage == QVL_STAGE_VISION)
        snprintf(out, n_out, qvl_text("vision %u/%u"), l->i_media + 1, l->n_media);
    else
        snprintf(out, n_out, qvl_text("prefill %llu/%llu"), (unsigned long long)l->n_tok_done,
                 (unsigned long long)l->n_tok);
}

/* Once for each question. */
static void advise(struct qvl_progress *p, double now_ms)
{
    const struct qvl_looking *l = &p->looking;
    double total_s = (now_ms - p->begin_ms) / 1e3 + l->left_s;
    if (p->has_advised || l->left_s < 0 || l->n_media == 0 || total_s <= ADVISE_SECONDS)
        return;
    p->has_advised = true;
    if (l->has_clip)
        qvl_progress_say(p, "qvl: looking takes about %.0f s; a smaller --fps or --total-pixels is faster",
                         total_s);
    else
        qvl_progress_say(p, "qvl: looking takes about %.0f s; a smaller --max-pixels is faster", total_s);
}

void qvl_progress_show(struct qvl_progress *p, const struct qvl_request *request, const struct qvl_event *event)
{
    char label[MAX_LABEL] = "", time[40];
    double now_ms = qvl_now_ms(), share = -1;
    if (p->mode == QVL_PROGRESS_NONE || event->progress.total == 0)
        return;
    if (event->progress.stage == QVL_STAGE_MEDIA) {
        snprintf(label, sizeof label, qvl_text("reading %llu/%llu"), (unsigned long long)event->progress.done,
                 (unsigned long long)event->progress.total);
    } else if (event->progress.stage == QVL_STAGE_QUEUE) {
        snprintf(label, sizeof label, "%s", qvl_text("queue"));
    } else {
        struct qvl_request_info info;
        qvl_request_get_info(request, &info);
        qvl_looking_update(&p->looking, &info, event, now_ms);
        advise(p, now_ms);
        name_looking(&p->looking, event->progress.stage, label, sizeof label);
        share = p->looking.share;
    }
    if (!is_due(p, now_ms))
        return;
    name_time(p, now_ms, time, sizeof time);
    draw(p, label, share, time);
}

void qvl_progress_show_thinking(struct qvl_progress *p, size_t n_tok)
{
    char label[MAX_LABEL], time[40];
    double now_ms = qvl_now_ms();
    if (!is_due(p, now_ms))
        return;
    snprintf(label, sizeof label, qvl_text("thinking… %zu tokens"), n_tok);
    p->looking.left_s = -1;
    name_time(p, now_ms, time, sizeof time);
    draw(p, label, -1, time);
}

void qvl_progress_show_test(struct qvl_progress *p, const char *name, uint32_t i_run)
{
    char label[MAX_LABEL], time[40];
    double now_ms = qvl_now_ms();
    if (!is_due(p, now_ms))
        return;
    snprintf(label, sizeof label, i_run > 0 ? qvl_text("%s, run %u") : qvl_text("%s, preparing"), name, i_run);
    p->looking.left_s = -1;
    name_time(p, now_ms, time, sizeof time);
    draw(p, label, -1, time);
}

void qvl_progress_show_share(struct qvl_progress *p, const char *label, double share)
{
    char time[40];
    double now_ms = qvl_now_ms(), spent_s = (now_ms - p->begin_ms) / 1e3;
    if (!is_due(p, now_ms))
        return;
    p->looking.has_begun = share > 0;
    p->looking.left_s = share > 0 ? spent_s * (1 - share) / share : -1;
    name_time(p, now_ms, time, sizeof time);
    draw(p, label, share, time);
}

/* "1 h 5 min left"; "" while nothing comes. */
static void name_wait(double seconds, char *out, size_t n_out)
{
    out[0] = 0;
    if (seconds < 100)
        snprintf(out, n_out, qvl_text("%.0f s left"), seconds);
    else if (seconds < 6000)
        snprintf(out, n_out, qvl_text("%.0f min left"), seconds / 60);
    else if (seconds < 360e3)
        snprintf(out, n_out, qvl_text("%.1f h left"), seconds / 3600);
}

void qvl_progress_show_bytes(struct qvl_progress *p, const char *label, uint64_t n_done, uint64_t n_bytes,
                             double bytes_per_s)
{
    char what[MAX_LABEL], time[40], rate[80];
    if (!is_due(p, qvl_now_ms()))
        return;
    bool is_large = n_bytes >= 1000000000;
    double unit = is_large ? 1e9 : 1e6;
    snprintf(what, sizeof what, is_large ? qvl_text("%s %.2f of %.2f GB") : qvl_text("%s %.1f of %.1f MB"), label,
             (double)n_done / unit, (double)n_bytes / unit);
    name_wait(bytes_per_s > 0 ? (double)(n_bytes - n_done) / bytes_per_s : 1e9, time, sizeof time);
    snprintf(rate, sizeof rate, "%.1f MB/s%s%s", bytes_per_s / 1e6, *time ? ", " : "", time);
    draw(p, what, n_bytes > 0 ? (double)n_done / (double)n_bytes : 0, rate);
}

static void show_packing(void *arg, double share)
{
    struct qvl_progress *p = arg;
    if (!p->has_packed && (double)p->looking.n_parameter > SLOW_TO_PACK)
        qvl_progress_say_dim(p, "packing the weights, which takes a while each time; `qvl quantize` does it once");
    p->has_packed = true;
    qvl_progress_show_share(p, qvl_text("packing the weights"), share);
}

enum qvl_status qvl_progress_load(struct qvl_progress *p, struct qvl_engine *engine, struct qvl_error *err)
{
    qvl_engine_watch_load(engine, show_packing, p);
    enum qvl_status status = qvl_engine_load(engine, err);
    qvl_engine_watch_load(engine, NULL, NULL);
    qvl_progress_clear(p);
    return status;
}
