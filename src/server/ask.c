/* DESIGN. Each answer of a question is a request of its own with a thread that pulls it: the engine computes those
 * that are there together, and none may wait for another one's text to be taken. The thread that called only waits,
 * and looks four times a second whether a sign of life is due, time is up or the server must stop; so it may also
 * give up what hangs in a decoder. The client's leaving comes from outside (qvl_exchange_watch). All of these only
 * cancel: every thread ends by the error or the end of its own request.
 *
 * One lock makes the sink's calls one at a time. Whoever holds it may wait in the sink for a slow client; nothing
 * else is done under it.
 *
 * The first answer's thread prepares its request and says so (begin); the others are begun when its prompt is
 * computed, so that they find pictures, keys and values where it left them. */
#include "server/ask.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/wait.h"
#include "server/tool_reader.h"

enum { TICK_MS = 250, IDLE_MS = 10000, N_LOGGED_BYTES = 256 };

static const char think_end[] = "</think>";

struct answer {
    struct run *run;
    uint32_t i;
    struct qvl_request *request;
    pthread_t thread;
    bool has_thread;
    struct qvl_tool_reader reader;
    struct qvl_error err;
    bool is_done, has_loop;
    enum qvl_ask_finish finish;
    double last_token_ms;
    size_t n_reasoning_tok;
    bool has_reasoning, has_text; /* some was passed on */
    size_t n_break;               /* line breaks of the reasoning that may be its last ones */
    char logged[N_LOGGED_BYTES];  /* the answer's beginning, where the log wants it */
    size_t n_logged;
};

struct run {
    struct qvl_app *app;
    struct qvl_exchange *x;
    const struct qvl_ask *ask;
    const struct qvl_ask_sink *sink;
    struct qvl_arena arena;
    const char *const *tool_name; /* [n_tool_name] */
    size_t n_tool_name;
    struct answer answer[QVL_MAX_ANSWERS];
    uint32_t n_open;
    double waited_ms;    /* before it was begun: what the engine cannot know of */
    atomic_bool is_gone; /* the client */

    pthread_mutex_t lock; /* of the sink and all below */
    pthread_cond_t changed;
    uint32_t n_begun, n_over; /* threads */
    bool may_begin_others, is_late;
    double last_sign_ms;      /* when the sink was called last */
    struct qvl_error failure; /* the first one */
};

/* ---- the question -------------------------------------------------------------------------------- */

enum qvl_status qvl_ask_init(struct qvl_ask *ask, const struct qvl_app *app, const struct qvl_http_request *request,
                             struct qvl_error *err)
{
    uint32_t seed = 0; /* 32 bits: easy to type again */
    if (app->options.sampling.seed == 0 && qvl_os_random(&seed, sizeof seed, err))
        return err->status;
    *ask = (struct qvl_ask){.n = 1};
    ask->options.sampling = app->options.sampling;
    if (app->options.sampling.seed == 0)
        ask->options.sampling.seed = seed;
    ask->options.max_tokens = app->options.max_tokens;
    ask->options.client = request->client;
    ask->options.cache_salt = request->cache_salt;
    if (app->options.deadline_s > 0)
        ask->deadline_ms = request->received_ms + app->options.deadline_s * 1e3;
    return QVL_OK;
}

void qvl_ask_free(struct qvl_ask *ask)
{
    qvl_chat_json_close(&ask->chat);
    qvl_arena_free(&ask->arena);
    *ask = (struct qvl_ask){0};
}

/* ---- what comes, to the sink (lock held) --------------------------------------------------------- */

static void cancel_all(struct run *run)
{
    for (uint32_t i = 0; i < run->n_open; i++)
        qvl_request_cancel(run->answer[i].request);
}

/* What the sink said. */
static void heed(struct run *run, bool goes_on)
{
    run->last_sign_ms = qvl_now_ms();
    if (!goes_on && !atomic_exchange(&run->is_gone, true))
        cancel_all(run);
}

static enum qvl_status pass_text(struct answer *a, const char *utf8, size_t n, bool is_reasoning,
                                 const struct qvl_event *token)
{
    const struct run *run = a->run;
    struct qvl_ask_text text = {.utf8 = utf8, .n = n, .is_reasoning = is_reasoning, .token = token};
    bool wants_calls = run->ask->tools != QVL_TOOLS_NONE && !is_reasoning;
    if (wants_calls)
        text.n = 0; /* the token first, then what the reader makes of its text */
    if (run->sink->text && (text.n > 0 || token))
        heed(a->run, run->sink->text(run->sink->user, a->i, &text));
    if (!wants_calls || n == 0)
        return QVL_OK;
    enum qvl_status status = qvl_tool_reader_push(&a->reader, utf8, n, &a->err);
    heed(a->run, !a->reader.is_gone);
    return status;
}

/* A Thinking model's text up to "</think>", which has a token of its own. Line breaks before and behind belong to
 * neither side; those in the middle come with what follows them. */
static enum qvl_status take_reasoning(struct answer *a, const char *utf8, size_t n, const struct qvl_event *token)
{
    const size_t n_end = sizeof think_end - 1;
    size_t n_lead = 0, n_trail = 0;
    enum qvl_status status = QVL_OK;
    a->n_reasoning_tok++;
    if (n >= n_end && memcmp(utf8 + n - n_end, think_end, n_end) == 0)
        n -= n_end;
    while (n_lead < n && utf8[n_lead] == '\n')
        n_lead++;
    if (a->has_reasoning)
        a->n_break += n_lead;
    utf8 += n_lead;
    n -= n_lead;
    while (n_trail < n && utf8[n - 1 - n_trail] == '\n')
        n_trail++;
    n -= n_trail;
    for (; n > 0 && a->n_break > 0 && !status; a->n_break--)
        status = pass_text(a, "\n", 1, true, NULL);
    if (n > 0) {
        a->has_reasoning = true;
        a->n_break = n_trail;
    }
    return status ? status : pass_text(a, utf8, n, true, token);
}

static enum qvl_status take_text(struct answer *a, const struct qvl_event *event)
{
    const char *utf8 = event->text.utf8;
    size_t n = event->text.n;
    double now_ms = qvl_now_ms();
    if (a->last_token_ms > 0)
        qvl_metrics_count_token_gap(a->run->app->metrics, now_ms - a->last_token_ms);
    a->last_token_ms = now_ms;
    a->run->may_begin_others = true;
    if (event->text.is_reasoning)
        return take_reasoning(a, utf8, n, event);
    while (a->n_reasoning_tok > 0 && !a->has_text && n > 0 && *utf8 == '\n') {
        utf8++;
        n--;
    }
    a->has_text = a->has_text || n > 0;
    if (a->run->app->options.want_prompt_log) {
        size_t n_more = n < N_LOGGED_BYTES - a->n_logged ? n : N_LOGGED_BYTES - a->n_logged;
        memcpy(a->logged + a->n_logged, utf8, n_more);
        a->n_logged += n_more;
    }
    return pass_text(a, utf8, n, false, event);
}

/* Where an answer goes round in circles it was cut, as by a limit. */
static enum qvl_status take_end(struct answer *a, const struct qvl_event *event)
{
    const struct run *run = a->run;
    enum qvl_status status = QVL_OK;
    if (run->ask->tools != QVL_TOOLS_NONE) {
        status = qvl_tool_reader_end(&a->reader, &a->err);
        heed(a->run, !a->reader.is_gone);
    }
    a->finish = event->done.finish != QVL_FINISH_STOP ? QVL_ASK_LENGTH
                : a->reader.n_call > 0                ? QVL_ASK_TOOL_CALLS
                                                      : QVL_ASK_STOP;
    a->has_loop = event->done.finish == QVL_FINISH_LOOP;
    a->is_done = true;
    a->run->may_begin_others = true;
    if (!status && run->sink->finish)
        heed(a->run, run->sink->finish(run->sink->user, a->i, a->finish, event->done.stop));
    return status;
}

static enum qvl_status take_event(struct answer *a, const struct qvl_event *event)
{
    struct run *run = a->run;
    enum qvl_status status = QVL_OK;
    pthread_mutex_lock(&run->lock);
    if (!atomic_load(&run->is_gone)) {
        bool could_begin = run->may_begin_others;
        switch (event->kind) {
        case QVL_EVENT_PROGRESS:
            if (a->i == 0 && run->sink->progress)
                heed(run, run->sink->progress(run->sink->user, event));
            break;
        case QVL_EVENT_TEXT: status = take_text(a, event); break;
        case QVL_EVENT_DONE: status = take_end(a, event); break;
        }
        if (could_begin != run->may_begin_others)
            pthread_cond_broadcast(&run->changed);
    }
    a->is_done = a->is_done || event->kind == QVL_EVENT_DONE;
    pthread_mutex_unlock(&run->lock);
    return status;
}

/* ---- the usage ----------------------------------------------------------------------------------- */

/* What was asked is counted once, of the first answer; what was answered, of all. */
static void get_usage(const struct run *run, struct qvl_ask_usage *out)
{
    struct qvl_request_info info;
    *out = (struct qvl_ask_usage){0};
    for (uint32_t i = 0; i < run->n_open; i++) {
        qvl_request_get_info(run->answer[i].request, &info);
        if (i == 0)
            *out = (struct qvl_ask_usage){.n_prompt_tok = info.n_prompt_tok,
                                          .n_cached_tok = info.n_cached_tok,
                                          .n_image_tok = info.n_image_tok,
                                          .n_video_tok = info.n_video_tok,
                                          .queue_ms = run->waited_ms + info.queue_ms,
                                          .media_ms = info.media_ms,
                                          .prompt_ms = info.prompt_ms,
                                          .vision_ms = info.vision_ms,
                                          .prefill_ms = info.prefill_ms,
                                          .first_token_ms =
                                              info.first_token_ms > 0 ? run->waited_ms + info.first_token_ms : 0,
                                          .media = info.media,
                                          .n_media = info.n_media};
        out->n_output_tok += info.n_output_tok;
        out->n_reasoning_tok += run->answer[i].n_reasoning_tok;
        out->has_loop = out->has_loop || run->answer[i].has_loop;
        out->n_drafted_tok += info.n_drafted_tok;
        out->n_accepted_tok += info.n_accepted_tok;
        if (info.generate_ms > out->generate_ms)
            out->generate_ms = info.generate_ms;
    }
}

/* ---- one answer's thread ------------------------------------------------------------------------- */

static enum qvl_status prepare(struct answer *a)
{
    struct run *run = a->run;
    struct qvl_ask_usage usage;
    enum qvl_status status = qvl_request_prepare(a->request, &a->err);
    if (status)
        return status;
    pthread_mutex_lock(&run->lock);
    get_usage(run, &usage);
    if (!atomic_load(&run->is_gone) && run->sink->begin)
        heed(run, run->sink->begin(run->sink->user, &usage));
    pthread_mutex_unlock(&run->lock);
    return QVL_OK;
}

static void *pull(void *user)
{
    struct answer *a = user;
    struct run *run = a->run;
    struct qvl_event event = {0};
    enum qvl_status status = a->i == 0 ? prepare(a) : QVL_OK;
    while (!status && !a->is_done && !run->ask->want_count_only) {
        status = qvl_request_next(a->request, &event, &a->err);
        if (!status)
            status = take_event(a, &event);
    }
    pthread_mutex_lock(&run->lock);
    run->n_over++;
    if (status && !run->failure.status) {
        run->failure = a->err;
        cancel_all(run);
    }
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->lock);
    return NULL;
}

/* ---- the calling thread -------------------------------------------------------------------------- */

static enum qvl_status open_all(struct run *run, struct qvl_error *err)
{
    const struct qvl_ask *ask = run->ask;
    struct qvl_request_options options = ask->options;
    enum qvl_status status = QVL_OK;
    uint32_t n = ask->want_count_only ? 1 : ask->n;
    if (ask->tools != QVL_TOOLS_NONE)
        status = qvl_tool_names(ask->chat.chat.tools_json, &run->arena, &run->tool_name, &run->n_tool_name, err);
    for (uint32_t i = 0; i < n && !status; i++) {
        struct answer *a = &run->answer[i];
        *a = (struct answer){.run = run, .i = i};
        a->reader = (struct qvl_tool_reader){
            .sink = run->sink, .i_answer = i, .name = run->tool_name, .n_name = run->n_tool_name};
        options.sampling.seed = ask->options.sampling.seed + i;
        if (!(status = qvl_request_open(run->app->engine, &ask->chat.chat, &options, &a->request, err)))
            run->n_open++;
    }
    return status;
}

/* Lock held. */
static void fail_run(struct run *run, const struct qvl_error *failure)
{
    if (!run->failure.status)
        run->failure = *failure;
    cancel_all(run);
}

/* Lock held. */
static void begin_thread(struct run *run)
{
    struct answer *a = &run->answer[run->n_begun];
    struct qvl_error err = {0};
    int code = pthread_create(&a->thread, NULL, pull, a);
    if (code) {
        qvl_fail(&err, QVL_ERR_MEMORY, "cannot start a thread: %s", qvl_errno_text(code));
        fail_run(run, &err);
        return;
    }
    a->has_thread = true;
    run->n_begun++;
}

/* What the clock brings. Lock held. */
static void look_around(struct run *run)
{
    const struct qvl_ask *ask = run->ask;
    struct qvl_error err = {0};
    double now_ms = qvl_now_ms();
    if (run->failure.status || atomic_load(&run->is_gone))
        return;
    run->is_late = ask->deadline_ms > 0 && now_ms >= ask->deadline_ms;
    if (atomic_load(&run->app->must_stop))
        qvl_fail(&err, QVL_ERR_CANCELLED, "the server is stopping");
    else if (run->is_late)
        qvl_fail(&err, QVL_ERR_CANCELLED,
                 "the answer was not ready after %g seconds, the most that this server allows",
                 run->app->options.deadline_s);
    if (err.status)
        fail_run(run, &err);
    else if (run->sink->idle && now_ms - run->last_sign_ms >= IDLE_MS)
        heed(run, run->sink->idle(run->sink->user));
}

static void wait_for_all(struct run *run)
{
    pthread_mutex_lock(&run->lock);
    begin_thread(run);
    while (run->n_over < run->n_begun) {
        qvl_wait_for(&run->changed, &run->lock, TICK_MS);
        look_around(run);
        while (run->may_begin_others && run->n_begun < run->n_open && !run->failure.status)
            begin_thread(run);
    }
    pthread_mutex_unlock(&run->lock);
    for (uint32_t i = 0; i < run->n_open; i++)
        if (run->answer[i].has_thread)
            pthread_join(run->answer[i].thread, NULL);
}

static void note_gone(void *user)
{
    struct run *run = user;
    atomic_store(&run->is_gone, true);
    cancel_all(run);
}

/* ---- what is told of it -------------------------------------------------------------------------- */

static const char *finish_name(const struct run *run)
{
    static const char *const names[] = {
        [QVL_ASK_STOP] = "stop", [QVL_ASK_LENGTH] = "length", [QVL_ASK_TOOL_CALLS] = "tool_calls"};
    if (atomic_load(&run->is_gone) || run->failure.status == QVL_ERR_CANCELLED)
        return "cancelled";
    return run->failure.status ? "error" : names[run->answer[0].finish];
}

static void count(struct run *run, const struct qvl_ask_usage *u)
{
    const struct qvl_http_request *request = qvl_exchange_request(run->x);
    const struct qvl_answer_facts facts = {.n_prompt_tok = u->n_prompt_tok,
                                           .n_cached_tok = u->n_cached_tok,
                                           .n_image_tok = u->n_image_tok,
                                           .n_video_tok = u->n_video_tok,
                                           .n_output_tok = u->n_output_tok,
                                           .queue_ms = u->queue_ms,
                                           .media_ms = u->media_ms,
                                           .vision_ms = u->vision_ms,
                                           .prefill_ms = u->prefill_ms,
                                           .generate_ms = u->generate_ms,
                                           .first_token_ms = u->first_token_ms,
                                           .whole_ms = qvl_now_ms() - request->received_ms,
                                           .finish = finish_name(run)};
    if (run->n_open > 0 && !run->ask->want_count_only)
        qvl_metrics_count_answer(run->app->metrics, &facts);
}

/* One whose sentence is not for clients (reply.h), also in the middle of a stream: nobody else would read it. */
static bool is_own_fault(const struct qvl_error *failure)
{
    return failure->status == QVL_ERR_INTERNAL || failure->status == QVL_ERR_FILE ||
           failure->status == QVL_ERR_MODEL;
}

static void write_log(struct run *run, const struct qvl_ask_usage *u)
{
    const struct qvl_http_request *request = qvl_exchange_request(run->x);
    struct qvl_log_line line;
    qvl_log_begin(run->app->log, &line, "answer");
    line.want_each = true;
    qvl_log_add_detail(&line, "id", request->id);
    qvl_log_add_text(&line, "finish", finish_name(run));
    if (is_own_fault(&run->failure))
        qvl_log_add_text(&line, "error", run->failure.text);
    qvl_log_add_number(&line, "answers", run->ask->n);
    qvl_log_add_number(&line, "prompt_tokens", (double)u->n_prompt_tok);
    qvl_log_add_number(&line, "cached_tokens", (double)u->n_cached_tok);
    qvl_log_add_number(&line, "image_tokens", (double)u->n_image_tok);
    qvl_log_add_number(&line, "video_tokens", (double)u->n_video_tok);
    qvl_log_add_number(&line, "output_tokens", (double)u->n_output_tok);
    qvl_log_add_number(&line, "media_ms", u->media_ms);
    qvl_log_add_number(&line, "queue_ms", u->queue_ms);
    qvl_log_add_number(&line, "vision_ms", u->vision_ms);
    qvl_log_add_number(&line, "prefill_ms", u->prefill_ms);
    qvl_log_add_number(&line, "first_token_ms", u->first_token_ms);
    qvl_log_add_number(&line, "generate_ms", u->generate_ms);
    qvl_log_add_number(&line, "ms", qvl_now_ms() - request->received_ms);
    if (run->app->options.want_prompt_log && run->n_open > 0) {
        struct qvl_request_info info;
        char answer[N_LOGGED_BYTES + 1];
        qvl_request_get_info(run->answer[0].request, &info);
        memcpy(answer, run->answer[0].logged, run->answer[0].n_logged);
        answer[run->answer[0].n_logged] = 0;
        qvl_log_add_text(&line, "prompt", info.prompt);
        qvl_log_add_text(&line, "answer", answer);
    }
    qvl_log_end(&line);
}

/* ---- the door ------------------------------------------------------------------------------------ */

static void run_init(struct run *run)
{
    pthread_mutex_init(&run->lock, NULL);
    qvl_wait_init(&run->changed);
}

static void run_free(struct run *run)
{
    for (uint32_t i = 0; i < run->n_open; i++) {
        qvl_tool_reader_free(&run->answer[i].reader);
        qvl_request_close(run->answer[i].request);
    }
    qvl_arena_free(&run->arena);
    pthread_cond_destroy(&run->changed);
    pthread_mutex_destroy(&run->lock);
}

bool qvl_ask_run(struct qvl_app *app, struct qvl_exchange *x, const struct qvl_ask *ask,
                 const struct qvl_ask_sink *sink)
{
    struct run run = {.app = app,
                      .x = x,
                      .ask = ask,
                      .sink = sink,
                      .waited_ms = qvl_work_waited_ms(),
                      .last_sign_ms = qvl_now_ms()};
    struct qvl_ask_usage usage;
    run_init(&run);
    if (!open_all(&run, &run.failure)) {
        qvl_exchange_watch(x, note_gone, &run);
        wait_for_all(&run);
        qvl_exchange_watch(x, NULL, NULL); /* from here on the sink may give the exchange away */
    }
    get_usage(&run, &usage);
    usage.is_late = run.is_late;
    count(&run, &usage);
    write_log(&run, &usage);
    bool is_gone = atomic_load(&run.is_gone);
    if (is_gone) {
        /* nobody is told */
    } else if (run.failure.status) {
        sink->fail(sink->user, &run.failure, &usage);
    } else if (sink->end) {
        sink->end(sink->user, &usage);
    }
    run_free(&run);
    return !is_gone;
}
