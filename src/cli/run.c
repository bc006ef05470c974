/* qvl run: pictures and a prompt in, text on stdout while it is made.
 *
 * Everything that can be wrong with the command line, the model's small files and the pictures is found before
 * the weights are loaded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/dump.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

struct run {
    const struct qvl_options *options;
    struct qvl_input input;
    struct qvl_progress progress;
    struct qvl_engine *engine;
    struct qvl_engine_info info;
    struct qvl_request *request;
    struct qvl_dump *dump;
    struct qvl_sampling sampling;
    bool is_terminal;        /* stdout: control characters are escaped */
    struct qvl_bytes text;   /* the answer: whole with --json, else the piece on its way out */
    struct qvl_bytes logits; /* JSON of --logits */
    char last_char;          /* printed so far */
    double start_ms;
    struct qvl_error err;
};

/* ---- settings ------------------------------------------------------------------------------------ */

static uint64_t random_seed(void)
{
    uint32_t seed = 0; /* 32 bits: easy to type again */
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint32_t)(qvl_now_ms() * 1e3);
    return seed;
}

/* The model's own values, changed by the command line. Temperature 0 is plain greedy: then only penalties that
 * were asked for count. */
static struct qvl_sampling choose_sampling(const struct qvl_options *o, struct qvl_sampling s)
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
    s.seed = qvl_options_has(o, "seed") ? o->seed : random_seed();
    return s;
}

static enum qvl_status open_request(struct run *run)
{
    const struct qvl_options *o = run->options;
    struct qvl_part system = {.kind = QVL_PART_TEXT, .utf8 = o->system, .n = o->system ? strlen(o->system) : 0};
    struct qvl_message messages[2] = {{.role = QVL_ROLE_SYSTEM, .parts = &system, .n_part = 1},
                                      {.role = QVL_ROLE_USER, .parts = run->input.part,
                                       .n_part = run->input.n_part}};
    struct qvl_chat chat = {.messages = o->system ? messages : messages + 1, .n_message = o->system ? 2 : 1};
    run->sampling = choose_sampling(o, run->info.sampling);
    struct qvl_request_options wish = {.sampling = run->sampling,
                                       .max_tokens = (uint32_t)o->max_tokens,
                                       .stop = o->stop,
                                       .n_stop = o->n_stop,
                                       .ignore_eos = o->ignore_eos,
                                       .no_loop_guard = o->loop_guard == QVL_SWITCH_OFF,
                                       .n_top_logits = (uint32_t)o->n_logits};
    if (run->dump)
        wish.trace = qvl_dump_trace(run->dump);
    return qvl_request_open(run->engine, &chat, &wish, &run->request, &run->err);
}

/* ---- output -------------------------------------------------------------------------------------- */

/* The piece of text that just came, to stdout. */
static enum qvl_status print_text(struct run *run, const char *utf8, size_t n)
{
    enum qvl_status status = QVL_OK;
    if (n == 0)
        return QVL_OK;
    qvl_progress_clear(&run->progress);
    run->last_char = utf8[n - 1];
    if (!run->is_terminal)
        return qvl_write_stdout(utf8, n, &run->err);
    run->text.n = 0;
    if (!(status = qvl_terminal_escape(utf8, n, &run->text, &run->err)))
        status = qvl_write_stdout(run->text.data, run->text.n, &run->err);
    return status;
}

static enum qvl_status end_line(struct run *run)
{
    return run->last_char && run->last_char != '\n' ? print_text(run, "\n", 1) : QVL_OK;
}

/* [[id, logit], …] of one token. */
static enum qvl_status add_logits(struct run *run, const struct qvl_event *event)
{
    enum qvl_status status = qvl_bytes_add_text(&run->logits, run->logits.n ? ",\n  [" : "\n  [", &run->err);
    for (size_t i = 0; i < event->text.n_top && !status; i++)
        status = qvl_bytes_add_format(&run->logits, &run->err, "%s[%u, %.9g]", i ? ", " : "",
                                      event->text.top[i].id, (double)event->text.top[i].logit);
    return status ? status : qvl_bytes_add_text(&run->logits, "]", &run->err);
}

static enum qvl_status take_text(struct run *run, const struct qvl_event *event)
{
    if (!run->options->want_json)
        return print_text(run, event->text.utf8, event->text.n);
    enum qvl_status status = qvl_bytes_add(&run->text, event->text.utf8, event->text.n, &run->err);
    if (!status && run->options->n_logits)
        status = add_logits(run, event);
    return status;
}

static struct qvl_report make_report(const struct run *run)
{
    struct qvl_report report = {.model = run->options->model, .engine = run->info, .sampling = run->sampling,
                                .dtype = run->options->dtype, .is_dry_run = run->options->is_dry_run,
                                .text = run->text.n ? run->text.data : "", .n_text = run->text.n,
                                .want_ids = run->options->want_ids,
                                .total_ms = qvl_now_ms() - run->start_ms};
    qvl_request_get_info(run->request, &report.request);
    if (run->options->n_logits)
        report.logits = run->logits.n ? run->logits.data : "";
    return report;
}

static enum qvl_status print_report(struct run *run, const struct qvl_report *report)
{
    struct qvl_bytes out = {0};
    enum qvl_status status = run->options->want_json ? qvl_report_json(report, &out, &run->err)
                                                     : qvl_report_plan(report, &out, &run->err);
    if (!status)
        status = qvl_write_stdout(out.data, out.n, &run->err);
    qvl_bytes_free(&out);
    return status;
}

/* ---- the answer ---------------------------------------------------------------------------------- */

static void say_how_it_ended(struct run *run, const struct qvl_report *report)
{
    struct qvl_bytes line = {0};
    if (report->finish == QVL_FINISH_LENGTH)
        qvl_progress_say(&run->progress, "qvl: the answer was cut at %zu tokens (-n, and -c, allow more)",
                         report->request.n_output_tok);
    if (report->finish == QVL_FINISH_LOOP)
        qvl_progress_say(&run->progress,
                         "qvl: stopped at %zu tokens: the answer repeated itself without end (--loop-guard off goes "
                         "on)",
                         report->request.n_output_tok);
    if (!qvl_report_line(report, &line, &run->err))
        qvl_progress_say_dim(&run->progress, "%s", line.data);
    qvl_bytes_free(&line);
}

static enum qvl_status finish_answer(struct run *run, const struct qvl_event *event)
{
    struct qvl_report report = make_report(run);
    report.finish = event->done.finish;
    report.stop = event->done.stop;
    enum qvl_status status = run->options->want_json ? print_report(run, &report) : end_line(run);
    if (!status && run->dump)
        status = qvl_dump_status(run->dump, &run->err);
    if (!status)
        say_how_it_ended(run, &report);
    return status;
}

static enum qvl_status take_event(struct run *run, const struct qvl_event *event)
{
    if (run->dump && qvl_dump_status(run->dump, &run->err))
        return run->err.status;
    switch (event->kind) {
    case QVL_EVENT_PROGRESS: qvl_progress_show(&run->progress, event); return QVL_OK;
    case QVL_EVENT_TEXT: return take_text(run, event);
    case QVL_EVENT_DONE: return finish_answer(run, event);
    }
    return QVL_OK;
}

static enum qvl_status answer(struct run *run)
{
    struct qvl_event event = {0};
    enum qvl_status status = QVL_OK;
    while (!status && event.kind != QVL_EVENT_DONE) {
        status = qvl_request_next(run->request, &event, &run->err);
        if (!status)
            status = take_event(run, &event);
    }
    if (status && !run->options->want_json) { /* what was printed stays; the sentence begins on its own line */
        struct qvl_error first = run->err;
        end_line(run);
        run->err = first;
    }
    return status;
}

/* ---- from the command line to the answer --------------------------------------------------------- */

static enum qvl_exit prepare(struct run *run)
{
    const struct qvl_options *o = run->options;
    enum qvl_status status;
    if ((o->want_ids || o->n_logits) && !o->want_json)
        return qvl_exit_of(qvl_fail(&run->err, QVL_ERR_ARGUMENT, "--ids and --logits go with --json"),
                           QVL_EXIT_FAILURE);
    if ((status = qvl_input_open(o, &run->input, &run->err)))
        return qvl_exit_of(status, QVL_EXIT_MEDIA);
    enum qvl_exit code = QVL_EXIT_OK;
    if (!(run->engine = qvl_open_engine(o, &code)))
        return code;
    qvl_engine_get_info(run->engine, &run->info);
    if (o->dump && (status = qvl_dump_open(o->dump, &run->dump, &run->err)))
        return qvl_exit_of(status, QVL_EXIT_FAILURE);
    if (run->info.is_demo)
        qvl_progress_say(&run->progress,
                         "qvl: %s is a model made for tests and demonstrations, not a published one: do not expect "
                         "sense",
                         o->model);
    if ((status = open_request(run)))
        return qvl_exit_of(status, QVL_EXIT_FAILURE);
    qvl_signals_set_request(run->request);
    status = qvl_request_prepare(run->request, &run->err);
    if (!status && run->dump)
        status = qvl_dump_status(run->dump, &run->err);
    return qvl_exit_of(status, QVL_EXIT_FAILURE);
}

static enum qvl_exit load_and_answer(struct run *run)
{
    if (run->options->is_dry_run) {
        struct qvl_report report = make_report(run);
        return qvl_exit_of(print_report(run, &report), QVL_EXIT_FAILURE);
    }
    enum qvl_status status = qvl_engine_load(run->engine, &run->err);
    if (status)
        return qvl_exit_of(status, QVL_EXIT_MODEL);
    qvl_engine_get_info(run->engine, &run->info);
    qvl_progress_say_dim(&run->progress, "model: %.2f GB of weights in %.1f s (%s, %u threads)",
                         (double)run->info.weight_bytes / 1e9, run->info.load_ms / 1e3, run->info.isa,
                         run->info.n_thread);
    run->progress.event_ms = qvl_now_ms();
    return qvl_exit_of(answer(run), QVL_EXIT_FAILURE);
}

enum qvl_exit qvl_run(const struct qvl_options *options)
{
    struct run run = {.options = options, .start_ms = qvl_now_ms(), .is_terminal = isatty(STDOUT_FILENO)};
    qvl_progress_open(&run.progress, options->progress, options->is_quiet);
    enum qvl_exit code = prepare(&run);
    if (code == QVL_EXIT_OK)
        code = load_and_answer(&run);
    qvl_progress_clear(&run.progress);
    qvl_signals_set_request(NULL);
    if (code == QVL_EXIT_CANCELLED && qvl_signals_exit_code())
        code = (enum qvl_exit)qvl_signals_exit_code();
    else if (code != QVL_EXIT_OK && run.err.status)
        qvl_say_error(&run.err);
    qvl_request_close(run.request);
    qvl_dump_close(run.dump);
    qvl_engine_close(run.engine);
    qvl_input_close(&run.input);
    qvl_bytes_free(&run.text);
    qvl_bytes_free(&run.logits);
    return code;
}
