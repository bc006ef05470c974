/* A Thinking model's reasoning stands before its answer, up to "</think>". Both go to stdout as they come: on a
 * terminal with colours the reasoning is dim; with --no-think-text it does not go out at all. */
#include "cli/ask.h"

#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/language.h"
#include "cli/dump.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

struct ask {
    struct qvl_asker *asker;
    const struct qvl_options *options;
    struct qvl_request *request;
    struct qvl_reply *reply;
    struct qvl_error *err;
    struct qvl_bytes piece;       /* of the text, escaped, on its way out */
    struct qvl_bytes logits;      /* JSON of --logits */
    bool is_terminal, has_colour; /* stdout */
    bool is_dim;                  /* the terminal writes dim now */
    bool has_reasoning;           /* some came, so that the line breaks before the answer belong to neither */
    char last_char;               /* printed so far */
};

/* ---- settings ------------------------------------------------------------------------------------ */

static uint64_t random_seed(void)
{
    uint32_t seed = 0; /* 32 bits: easy to type again */
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint32_t)(qvl_now_ms() * 1e3);
    return seed;
}

struct qvl_sampling qvl_choose_sampling(const struct qvl_options *o, struct qvl_sampling s)
{
    if (qvl_options_has(o, "temp"))
        s.temperature = (float)o->temperature;
    if (s.temperature == 0) {
        s.repetition_penalty = 1;
        s.presence_penalty = s.frequency_penalty = 0;
    }
    if (qvl_options_has(o, "top-k"))
        s.top_k = (uint32_t)o->top_k;
    if (qvl_options_has(o, "top-p"))
        s.top_p = (float)o->top_p;
    if (qvl_options_has(o, "min-p"))
        s.min_p = (float)o->min_p;
    if (qvl_options_has(o, "repetition-penalty"))
        s.repetition_penalty = (float)o->repetition_penalty;
    if (qvl_options_has(o, "presence-penalty"))
        s.presence_penalty = (float)o->presence_penalty;
    if (qvl_options_has(o, "frequency-penalty"))
        s.frequency_penalty = (float)o->frequency_penalty;
    s.seed = o->seed;
    return s;
}

static enum qvl_status open_request(struct ask *a, const struct qvl_chat *chat)
{
    const struct qvl_options *o = a->options;
    struct qvl_request_options wish = {.sampling = a->asker->sampling,
                                       .max_tokens = (uint32_t)o->max_tokens,
                                       .stop = o->stop,
                                       .n_stop = o->n_stop,
                                       .ignore_eos = o->ignore_eos,
                                       .no_loop_guard = o->loop_guard == QVL_SWITCH_OFF,
                                       .no_lookup = o->lookup == QVL_SWITCH_OFF,
                                       .n_top_logits = (uint32_t)o->n_logits,
                                       .session = a->asker->session};
    wish.constraint = qvl_answer_form_of(&a->asker->form, o);
    if (a->asker->dump)
        wish.trace = qvl_dump_trace(a->asker->dump);
    return qvl_request_open(a->asker->engine, chat, &wish, &a->request, a->err);
}

/* ---- text to stdout ------------------------------------------------------------------------------ */

static enum qvl_status print_text(struct ask *a, const char *utf8, size_t n, bool want_dim)
{
    static const char dim[] = "\033[2m", plain[] = "\033[0m";
    enum qvl_status status = QVL_OK;
    if (n == 0)
        return QVL_OK;
    qvl_progress_clear(&a->asker->progress);
    a->last_char = utf8[n - 1];
    if (!a->is_terminal)
        return qvl_write_stdout(utf8, n, a->err);
    a->piece.n = 0;
    if (a->has_colour && a->is_dim != want_dim) {
        a->is_dim = want_dim;
        status = qvl_bytes_add_text(&a->piece, want_dim ? dim : plain, a->err);
    }
    if (!status && !(status = qvl_terminal_escape(utf8, n, &a->piece, a->err)))
        status = qvl_write_stdout(a->piece.data, a->piece.n, a->err);
    return status;
}

/* What comes after starts on a line of its own, and not dim. */
static enum qvl_status end_line(struct ask *a)
{
    bool is_open = a->is_dim || (a->last_char && a->last_char != '\n');
    return is_open ? print_text(a, "\n", 1, false) : QVL_OK;
}

/* [[id, logit], …] of one token. */
static enum qvl_status add_logits(struct ask *a, const struct qvl_event *event)
{
    enum qvl_status status = qvl_bytes_add_text(&a->logits, a->logits.n ? ",\n  [" : "\n  [", a->err);
    for (size_t i = 0; i < event->text.n_top && !status; i++)
        status = qvl_bytes_add_format(&a->logits, a->err, "%s[%u, %.9g]", i ? ", " : "", event->text.top[i].id,
                                      (double)event->text.top[i].logit);
    return status ? status : qvl_bytes_add_text(&a->logits, "]", a->err);
}

static enum qvl_status take_reasoning(struct ask *a, const struct qvl_event *event)
{
    const struct qvl_options *o = a->options;
    a->has_reasoning = true;
    a->reply->n_output_tok++;
    enum qvl_status status = qvl_bytes_add(&a->reply->reasoning, event->text.utf8, event->text.n, a->err);
    if (status || (!o->want_json && !o->no_think_text))
        return status ? status : print_text(a, event->text.utf8, event->text.n, true);
    qvl_progress_show_thinking(&a->asker->progress, a->reply->n_output_tok);
    return QVL_OK;
}

static enum qvl_status take_answer(struct ask *a, const struct qvl_event *event)
{
    const char *utf8 = event->text.utf8;
    size_t n = event->text.n, n_break = 0;
    a->reply->n_output_tok++;
    while (a->has_reasoning && a->reply->text.n == 0 && n_break < n && utf8[n_break] == '\n')
        n_break++;
    if (n == 0)
        return QVL_OK;
    enum qvl_status status = qvl_bytes_add(&a->reply->text, utf8 + n_break, n - n_break, a->err);
    if (status || a->options->want_json)
        return status;
    if (a->options->no_think_text)
        return print_text(a, utf8 + n_break, n - n_break, false);
    return print_text(a, utf8, n, false);
}

static enum qvl_status take_text(struct ask *a, const struct qvl_event *event)
{
    enum qvl_status status = event->text.is_reasoning ? take_reasoning(a, event) : take_answer(a, event);
    return status || !a->options->n_logits ? status : add_logits(a, event);
}

/* The reasoning without its end token and the line breaks around it. */
static void trim_reasoning(struct qvl_bytes *b)
{
    static const char end[] = "</think>";
    size_t n_end = sizeof end - 1, n_break = 0;
    if (b->n >= n_end && memcmp(b->data + b->n - n_end, end, n_end) == 0)
        b->n -= n_end;
    while (b->n > 0 && b->data[b->n - 1] == '\n')
        b->n--;
    while (n_break < b->n && b->data[n_break] == '\n')
        n_break++;
    if (!b->data)
        return;
    memmove(b->data, b->data + n_break, b->n - n_break);
    b->n -= n_break;
    b->data[b->n] = 0;
}

/* ---- reports ------------------------------------------------------------------------------------- */

static struct qvl_report make_report(const struct ask *a)
{
    const struct qvl_reply *reply = a->reply;
    struct qvl_report report = {.model = a->options->model,
                                .engine = a->asker->info,
                                .sampling = a->asker->sampling,
                                .dtype = a->options->dtype,
                                .is_dry_run = a->options->is_dry_run,
                                .text = reply->text.n ? reply->text.data : "",
                                .n_text = reply->text.n,
                                .reasoning = reply->reasoning.n ? reply->reasoning.data : "",
                                .n_reasoning = reply->reasoning.n,
                                .want_ids = a->options->want_ids,
                                .total_ms = qvl_now_ms() - a->asker->start_ms};
    qvl_request_get_info(a->request, &report.request);
    if (a->options->n_logits)
        report.logits = a->logits.n ? a->logits.data : "";
    return report;
}

static enum qvl_status print_report(struct ask *a, const struct qvl_report *report)
{
    struct qvl_bytes out = {0};
    enum qvl_status status =
        a->options->want_json ? qvl_report_json(report, &out, a->err) : qvl_report_plan(report, &out, a->err);
    if (!status && a->is_terminal) /* names of files may hold anything */
        status = qvl_terminal_escape(out.data, out.n, &a->piece, a->err);
    if (!status)
        status = a->is_terminal ? qvl_write_stdout(a->piece.data, a->piece.n, a->err)
                                : qvl_write_stdout(out.data, out.n, a->err);
    qvl_bytes_free(&out);
    return status;
}

/* Not by the model: why, and what lets it go on. */
static void say_why_it_was_cut(struct ask *a, const struct qvl_report *report)
{
    struct qvl_progress *progress = &a->asker->progress;
    bool is_chat = a->options->is_interactive;
    size_t n = report->request.n_output_tok;
    if (report->finish == QVL_FINISH_LOOP && is_chat)
        qvl_progress_say(
            progress,
            "qvl: stopped at %zu tokens: the answer repeated itself without end (/set loop-guard off goes on)", n);
    else if (report->finish == QVL_FINISH_LOOP)
        qvl_progress_say(
            progress,
            "qvl: stopped at %zu tokens: the answer repeated itself without end (--loop-guard off goes on)", n);
    else if (report->request.n_prompt_tok + n >= report->engine.n_ctx)
        qvl_progress_say(progress, "qvl: the answer was cut at %zu tokens: the context of %u tokens is full", n,
                         report->engine.n_ctx);
    else if (is_chat)
        qvl_progress_say(progress, "qvl: the answer was cut at %zu tokens (/set max-tokens allows more)", n);
    else
        qvl_progress_say(progress, "qvl: the answer was cut at %zu tokens (-n allows more)", n);
}

static enum qvl_status say_how_it_ended(struct ask *a, const struct qvl_report *report)
{
    enum qvl_status status = qvl_report_line(report, &a->reply->line, a->err);
    if (status)
        return status;
    if (report->finish != QVL_FINISH_STOP)
        say_why_it_was_cut(a, report);
    qvl_progress_say_dim(&a->asker->progress, "%s", a->reply->line.data);
    return QVL_OK;
}

/* What a person would not expect of a clip. Rates are compared with a thousandth of play: 29.97 is asked for as 30. */
static void warn_of_clip(struct ask *a, const struct qvl_media_info *m)
{
    const struct qvl_options *o = a->options;
    struct qvl_progress *progress = &a->asker->progress;
    bool is_whole = o->start_s <= 0 && o->end_s <= 0;
    if (m->is_cut)
        qvl_progress_say(progress, "qvl: %s is cut or damaged: only %.1f s of it can be read", m->name,
                         m->duration_s);
    if (m->n_frame_file == 0)
        return;
    if (o->num_frames > m->n_frame_file)
        qvl_progress_say(progress, "qvl: %s has only %llu frames: some of the %llu asked for are the same", m->name,
                         (unsigned long long)m->n_frame_file, (unsigned long long)o->num_frames);
    if (o->fps > m->fps * 1.001)
        qvl_progress_say(progress, "qvl: %s has only %.5g frames a second", m->name, m->fps);
    else if (is_whole && !o->max_frames && (double)m->n_frame < m->duration_s * o->fps / 2)
        qvl_progress_say(progress,
                         "qvl: of %s the model sees %zu frames, fewer than %.5g a second (--max-frames allows more)",
                         m->name, m->n_frame, o->fps);
    if (o->end_s > m->duration_s + 1)
        qvl_progress_say(progress, "qvl: %s ends after %.1f s, before --end", m->name, m->duration_s);
}

/* ---- one question -------------------------------------------------------------------------------- */

enum qvl_status qvl_asker_prepare(struct qvl_asker *asker, struct qvl_request *request, struct qvl_error *err)
{
    struct qvl_event event;
    enum qvl_status status = QVL_OK;
    while (!status && !qvl_request_is_prepared(request)) {
        status = qvl_request_next(request, &event, err);
        if (!status && asker->dump)
            status = qvl_dump_status(asker->dump, err);
        if (!status && event.kind == QVL_EVENT_PROGRESS)
            qvl_progress_show(&asker->progress, request, &event);
    }
    return status;
}

static enum qvl_status prepare(struct ask *a)
{
    struct qvl_request_info info;
    enum qvl_status status = qvl_asker_prepare(a->asker, a->request, a->err);
    if (status)
        return status;
    qvl_request_get_info(a->request, &info);
    for (size_t i = 0; i < info.n_media; i++)
        if (info.media[i].kind == QVL_MEDIA_VIDEO)
            warn_of_clip(a, &info.media[i]);
    return QVL_OK;
}

static enum qvl_status finish_answer(struct ask *a, const struct qvl_event *event)
{
    trim_reasoning(&a->reply->reasoning);
    a->reply->is_whole = true;
    a->reply->finish = event->done.finish;
    struct qvl_report report = make_report(a);
    report.finish = event->done.finish;
    report.stop = event->done.stop;
    enum qvl_status status = a->options->want_json ? print_report(a, &report) : end_line(a);
    if (!status && a->asker->dump)
        status = qvl_dump_status(a->asker->dump, a->err);
    return status ? status : say_how_it_ended(a, &report);
}

static enum qvl_status take_event(struct ask *a, const struct qvl_event *event)
{
    enum qvl_status status = a->asker->dump ? qvl_dump_status(a->asker->dump, a->err) : QVL_OK;
    if (status)
        return status;
    switch (event->kind) {
    case QVL_EVENT_PROGRESS: qvl_progress_show(&a->asker->progress, a->request, event); return QVL_OK;
    case QVL_EVENT_TEXT: return take_text(a, event);
    case QVL_EVENT_DONE: return finish_answer(a, event);
    }
    return QVL_OK;
}

static enum qvl_status answer(struct ask *a)
{
    struct qvl_event event = {0};
    enum qvl_status status = QVL_OK;
    qvl_progress_begin(&a->asker->progress, a->asker->info.n_parameter);
    while (!status && event.kind != QVL_EVENT_DONE) {
        status = qvl_request_next(a->request, &event, a->err);
        if (!status)
            status = take_event(a, &event);
    }
    if (status) { /* what was printed stays; the sentence begins on its own line */
        struct qvl_error first = *a->err;
        if (!a->options->want_json)
            end_line(a);
        trim_reasoning(&a->reply->reasoning);
        *a->err = first;
    }
    return status;
}

static enum qvl_exit walk(struct ask *a, const struct qvl_chat *chat)
{
    enum qvl_status status;
    qvl_progress_begin(&a->asker->progress, a->asker->info.n_parameter);
    if ((status = open_request(a, chat)))
        return qvl_exit_of(status, QVL_EXIT_FAILURE);
    qvl_signals_set_request(a->request);
    if ((status = prepare(a)))
        return qvl_exit_of(status, QVL_EXIT_FAILURE);
    if (a->options->is_dry_run) {
        struct qvl_report report = make_report(a);
        qvl_progress_clear(&a->asker->progress);
        return qvl_exit_of(print_report(a, &report), QVL_EXIT_FAILURE);
    }
    if ((status = qvl_asker_load(a->asker, a->err)))
        return qvl_exit_of(status, QVL_EXIT_MODEL);
    return qvl_exit_of(answer(a), QVL_EXIT_FAILURE);
}

enum qvl_exit qvl_ask(struct qvl_asker *asker, const struct qvl_chat *chat, struct qvl_reply *out,
                      struct qvl_error *err)
{
    struct ask ask = {.asker = asker,
                      .options = asker->options,
                      .reply = out,
                      .err = err,
                      .is_terminal = isatty(STDOUT_FILENO),
                      .has_colour = qvl_terminal_has_colour(STDOUT_FILENO)};
    *out = (struct qvl_reply){0};
    *err = (struct qvl_error){0};
    enum qvl_exit code = walk(&ask, chat);
    qvl_progress_clear(&asker->progress);
    qvl_signals_set_request(NULL);
    if (ask.request) {
        struct qvl_request_info info;
        qvl_request_get_info(ask.request, &info);
        out->n_prompt_tok = info.n_prompt_tok;
        out->n_cached_tok = info.n_cached_tok;
        out->n_drafted_tok = info.n_drafted_tok;
        out->n_accepted_tok = info.n_accepted_tok;
        out->n_output_tok = info.n_output_tok;
    }
    qvl_request_close(ask.request);
    qvl_bytes_free(&ask.piece);
    qvl_bytes_free(&ask.logits);
    asker->start_ms = qvl_now_ms();
    return code;
}

void qvl_reply_free(struct qvl_reply *reply)
{
    qvl_bytes_free(&reply->text);
    qvl_bytes_free(&reply->reasoning);
    qvl_bytes_free(&reply->line);
    *reply = (struct qvl_reply){0};
}

/* ---- open and close ------------------------------------------------------------------------------ */

enum qvl_exit qvl_asker_open(const struct qvl_options *options, bool want_session, struct qvl_asker *out,
                             struct qvl_error *err)
{
    enum qvl_exit code = QVL_EXIT_OK;
    enum qvl_status status = QVL_OK;
    *out = (struct qvl_asker){.options = options, .start_ms = qvl_now_ms()};
    *err = (struct qvl_error){0};
    qvl_progress_open(&out->progress, options->progress, options->is_quiet);
    if ((status = qvl_answer_form_open(options, &out->form, err)))
        return qvl_exit_of(status, QVL_EXIT_USAGE);
    if (!(out->engine = qvl_open_engine(options, &code)))
        return code;
    qvl_engine_get_info(out->engine, &out->info);
    qvl_asker_take_options(out);
    if (options->dump && (status = qvl_dump_open(options->dump, &out->dump, err)))
        return qvl_exit_of(status, QVL_EXIT_FAILURE);
    if (want_session && (status = qvl_session_open(out->engine, &out->session, err)))
        return qvl_exit_of(status, QVL_EXIT_FAILURE);
    if (out->info.is_golden)
        qvl_progress_say(&out->progress,
                         "qvl: %s is a model made for tests and demonstrations, not a published one: do not expect "
                         "sense",
                         options->model);
    else if (out->info.is_demo && !options->is_demo_model) /* else it was said when the engine was opened */
        qvl_progress_say(&out->progress,
                         "qvl: %s is the demo model: it knows coloured shapes, short printed text, small forms and "
                         "clips of shapes, and nothing else",
                         options->model);
    return QVL_EXIT_OK;
}

enum qvl_status qvl_asker_load(struct qvl_asker *asker, struct qvl_error *err)
{
    if (asker->info.load_ms > 0)
        return QVL_OK;
    enum qvl_status status = qvl_progress_load(&asker->progress, asker->engine, err);
    if (status)
        return status;
    qvl_engine_get_info(asker->engine, &asker->info);
    qvl_progress_say_dim(&asker->progress, "model: %.2f GB of weights in %.1f s (%s, %u threads)",
                         (double)asker->info.weight_bytes / 1e9, asker->info.load_ms / 1e3, asker->info.isa,
                         asker->info.n_thread);
    return QVL_OK;
}

void qvl_asker_take_options(struct qvl_asker *asker)
{
    asker->sampling = qvl_choose_sampling(asker->options, asker->info.sampling);
    if (!qvl_options_has(asker->options, "seed"))
        asker->sampling.seed = random_seed();
}

void qvl_asker_close(struct qvl_asker *asker)
{
    qvl_session_close(asker->session);
    qvl_dump_close(asker->dump);
    qvl_engine_close(asker->engine);
    qvl_answer_form_close(&asker->form);
    *asker = (struct qvl_asker){0};
}
