/* How a question is run: what its sink is told, in which order, whatever the engine, the client and the clock do.
 * The engine is one of this file, which says what a script tells it to; so is the exchange. */
/* The tests of this folder bring real exchanges; this one's are of another kind. And its clock may be put on. */
#define qvl_exchange_request fake_exchange_request
#define qvl_exchange_watch fake_exchange_watch
#define qvl_now_ms fake_now_ms
#include "../../../src/server/ask.c"
#undef qvl_now_ms

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

double qvl_now_ms(void);
static double clock_ahead_ms; /* of the real one; under clock_lock, which keeps it from going back */
static pthread_mutex_t clock_lock = PTHREAD_MUTEX_INITIALIZER;
double fake_now_ms(void)
{
    pthread_mutex_lock(&clock_lock);
    double ms = qvl_now_ms() + clock_ahead_ms;
    pthread_mutex_unlock(&clock_lock);
    return ms;
}

static void advance_clock(double ms)
{
    pthread_mutex_lock(&clock_lock);
    clock_ahead_ms += ms;
    pthread_mutex_unlock(&clock_lock);
}

/* ---- an engine ----------------------------------------------------------------------------------- */

enum act { TEXT, THINK, END, LENGTH, LOOP, FAIL, HANG, PROGRESS };

struct step {
    enum act act;
    const char *text;
};

static const struct step *script[QVL_MAX_ANSWERS]; /* by seed - 100 */
static enum qvl_status open_fails, prepare_fails;
static bool prepare_hangs;
static double hang_ms; /* so much later it is when something begins to hang */
static atomic_int n_open, n_cancelled;
static struct qvl_request_options last_options;

struct qvl_request {
    const struct step *step;
    atomic_bool is_cancelled;
    atomic_size_t n_output;
};

enum qvl_status qvl_request_open(struct qvl_engine *engine, const struct qvl_chat *chat,
                                 const struct qvl_request_options *options, struct qvl_request **out,
                                 struct qvl_error *err)
{
    (void)engine, (void)chat;
    if (open_fails)
        return qvl_fail(err, open_fails, "no");
    struct qvl_request *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->step = script[options->sampling.seed - 100];
    last_options = *options;
    atomic_fetch_add(&n_open, 1);
    *out = r;
    return QVL_OK;
}

enum qvl_status qvl_request_prepare(struct qvl_request *r, struct qvl_error *err)
{
    if (prepare_fails)
        return qvl_fail(err, prepare_fails, "too long");
    if (prepare_hangs)
        advance_clock(hang_ms);
    while (prepare_hangs && !atomic_load(&r->is_cancelled))
        usleep(1000);
    return atomic_load(&r->is_cancelled) ? qvl_fail(err, QVL_ERR_CANCELLED, "cancelled") : QVL_OK;
}

bool qvl_request_is_prepared(const struct qvl_request *r)
{
    return r != NULL;
}

enum qvl_status qvl_request_next(struct qvl_request *r, struct qvl_event *event, struct qvl_error *err)
{
    const struct step *step = r->step;
    if (step->act == HANG)
        advance_clock(hang_ms);
    while (step->act == HANG && !atomic_load(&r->is_cancelled))
        usleep(1000);
    if (atomic_load(&r->is_cancelled))
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
    if (step->act == FAIL)
        return qvl_fail(err, QVL_ERR_INTERNAL, "broken");
    r->step++;
    *event = (struct qvl_event){.kind = step->act <= THINK      ? QVL_EVENT_TEXT
                                        : step->act == PROGRESS ? QVL_EVENT_PROGRESS
                                                                : QVL_EVENT_DONE};
    if (step->act <= THINK) {
        atomic_fetch_add(&r->n_output, 1);
        event->text.utf8 = step->text;
        event->text.n = strlen(step->text);
        event->text.is_reasoning = step->act == THINK;
    } else if (step->act != PROGRESS) {
        event->done.finish = step->act == END      ? QVL_FINISH_STOP
                             : step->act == LENGTH ? QVL_FINISH_LENGTH
                                                   : QVL_FINISH_LOOP;
        event->done.stop = step->text;
    }
    return QVL_OK;
}

void qvl_request_cancel(struct qvl_request *r)
{
    if (!atomic_exchange(&r->is_cancelled, true))
        atomic_fetch_add(&n_cancelled, 1);
}

void qvl_request_close(struct qvl_request *r)
{
    atomic_fetch_sub(&n_open, 1);
    free(r);
}

void qvl_request_get_info(const struct qvl_request *r, struct qvl_request_info *out)
{
    *out = (struct qvl_request_info){.prompt = "", .n_prompt_tok = 11, .n_output_tok = atomic_load(&r->n_output)};
}

/* ---- an exchange --------------------------------------------------------------------------------- */

struct qvl_exchange {
    struct qvl_http_request request;
    void (*gone)(void *user);
    void *user;
    bool leaves_at_once;
    pthread_t thread;
};

static struct qvl_exchange exchange;

const struct qvl_http_request *qvl_exchange_request(const struct qvl_exchange *x)
{
    return &x->request;
}

static void *leave(void *user)
{
    struct qvl_exchange *x = user;
    x->gone(x->user);
    return NULL;
}

void qvl_exchange_watch(struct qvl_exchange *x, void (*gone)(void *user), void *user)
{
    if (!gone && x->gone && x->leaves_at_once)
        pthread_join(x->thread, NULL);
    x->gone = gone;
    x->user = user;
    if (gone && x->leaves_at_once)
        assert_int_equal(pthread_create(&x->thread, NULL, leave, x), 0);
}

/* ---- a sink that writes down what it is told ----------------------------------------------------- */

static char told[4096];
static struct qvl_ask_usage last_usage;
static const char *gone_at; /* the client leaves when this is told */

static bool tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool tell(const char *format, ...)
{
    size_t n = strlen(told);
    va_list args;
    va_start(args, format);
    vsnprintf(told + n, sizeof told - n, format, args);
    va_end(args);
    strncat(told, ";", sizeof told - strlen(told) - 1);
    return !gone_at || !strstr(told + n, gone_at);
}

static bool on_begin(void *user, const struct qvl_ask_usage *usage)
{
    (void)user;
    return tell("begin %zu", usage->n_prompt_tok);
}

static bool on_progress(void *user, const struct qvl_event *event)
{
    (void)user, (void)event;
    return tell("progress");
}

static bool on_text(void *user, uint32_t i, const struct qvl_ask_text *text)
{
    (void)user;
    return tell("%u%s%s %.*s", i, text->is_reasoning ? " thinks" : "", text->token ? " token" : "", (int)text->n,
                text->utf8);
}

static bool on_call(void *user, uint32_t i, uint32_t i_call, const char *id, const char *name)
{
    (void)user;
    return tell("%u calls %u %s%s", i, i_call, name, strncmp(id, "call_", 5) == 0 ? "" : " with a bad id");
}

static bool on_arguments(void *user, uint32_t i, uint32_t i_call, const char *utf8, size_t n)
{
    (void)user;
    return tell("%u with %u %.*s", i, i_call, (int)n, utf8);
}

static bool on_finish(void *user, uint32_t i, enum qvl_ask_finish finish, const char *stop)
{
    static const char *const names[] = {"stop", "length", "tool_calls"};
    (void)user;
    return tell("%u %s%s%s", i, names[finish], stop ? " at " : "", stop ? stop : "");
}

static bool on_end(void *user, const struct qvl_ask_usage *usage)
{
    (void)user;
    last_usage = *usage;
    return tell("end");
}

static void on_failure(void *user, const struct qvl_error *failure, const struct qvl_ask_usage *usage)
{
    (void)user;
    last_usage = *usage;
    tell("failed %d %s", (int)failure->status, failure->text);
}

static bool on_idle(void *user)
{
    (void)user;
    return tell("idle");
}

static const struct qvl_ask_sink sink = {.begin = on_begin,
                                         .idle = on_idle,
                                         .progress = on_progress,
                                         .text = on_text,
                                         .call = on_call,
                                         .arguments = on_arguments,
                                         .finish = on_finish,
                                         .end = on_end,
                                         .fail = on_failure};

/* ---- helpers ------------------------------------------------------------------------------------- */

static struct qvl_app app;
static struct qvl_ask ask;

static int open_app(void **state)
{
    struct qvl_error err = {0};
    (void)state;
    return qvl_log_open("/dev/null", &app.log, &err) || qvl_metrics_open(&app.metrics, &err) ? -1 : 0;
}

static int close_app(void **state)
{
    (void)state;
    qvl_log_close(app.log);
    qvl_metrics_close(app.metrics);
    return 0;
}

static int reset(void **state)
{
    (void)state;
    exchange =
        (struct qvl_exchange){.request = {.id = "x", .received_ms = fake_now_ms(), .client = 3, .cache_salt = 4}};
    ask = (struct qvl_ask){.n = 1};
    ask.options.sampling.seed = 100;
    told[0] = 0;
    gone_at = NULL;
    open_fails = prepare_fails = QVL_OK;
    atomic_store(&app.must_stop, false);
    atomic_store(&n_cancelled, 0);
    return 0;
}

static bool run_it(void)
{
    bool is_told = qvl_ask_run(&app, &exchange, &ask, &sink);
    assert_int_equal(atomic_load(&n_open), 0);
    assert_null(exchange.gone);
    return is_told;
}

static void expect(const struct step *steps, const char *all)
{
    reset(NULL);
    script[0] = steps;
    assert_true(run_it());
    assert_string_equal(told, all);
}

#define STEPS(...) ((const struct step[]){__VA_ARGS__})

/* ---- tests --------------------------------------------------------------------------------------- */

static void test_order(void **state)
{
    (void)state;
    expect(STEPS({PROGRESS, ""}, {TEXT, "Hel"}, {TEXT, ""}, {TEXT, "lo"}, {END, NULL}),
           "begin 11;progress;0 token Hel;0 token ;0 token lo;0 stop;end;");
    assert_int_equal(last_usage.n_output_tok, 3);
    assert_int_equal(last_usage.n_prompt_tok, 11);
    expect(STEPS({TEXT, "x"}, {END, "###"}), "begin 11;0 token x;0 stop at ###;end;");
    expect(STEPS({TEXT, "x"}, {LENGTH, NULL}), "begin 11;0 token x;0 length;end;");
    assert_false(last_usage.has_loop);
    expect(STEPS({TEXT, "x"}, {LOOP, NULL}), "begin 11;0 token x;0 length;end;");
    assert_true(last_usage.has_loop);
}

/* Without </think> and the line breaks around it; those in the middle stay. */
static void test_reasoning(void **state)
{
    (void)state;
    expect(STEPS({THINK, "\n"}, {THINK, "\nA\n"}, {THINK, "\nB\n"}, {THINK, "\n"}, {THINK, "</think>"},
                 {TEXT, "\n\n"}, {TEXT, "\nC\n"}, {TEXT, "\n"}, {END, NULL}),
           "begin 11;0 thinks token ;0 thinks token A;0 thinks \n;0 thinks \n;0 thinks token B;0 thinks token ;"
           "0 thinks token ;0 token ;0 token C\n;0 token \n;0 stop;end;");
    assert_int_equal(last_usage.n_reasoning_tok, 5);
    assert_int_equal(last_usage.n_output_tok, 8);
    expect(STEPS({THINK, "A\n</think>"}, {TEXT, "B"}, {END, NULL}),
           "begin 11;0 thinks token A;0 token B;0 stop;end;");
    expect(STEPS({THINK, "A\n"}, {LENGTH, NULL}), "begin 11;0 thinks token A;0 length;end;");
    expect(STEPS({TEXT, "\nA"}, {END, NULL}), "begin 11;0 token \nA;0 stop;end;"); /* no reasoning: as it is */
}

static void test_tools(void **state)
{
    static const struct step steps[] = {{TEXT, "I look.\n"},
                                        {TEXT, "<tool_call>"},
                                        {TEXT, "\n{\"name\": \"f\", \"arguments\": {\"a\""},
                                        {TEXT, ": 1}}\n</tool_call>"},
                                        {END, NULL}};
    static const char tools[] = "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]";
    (void)state;
    script[0] = steps;
    ask.tools = QVL_TOOLS_AUTO;
    ask.chat.chat.tools_json = tools;
    assert_true(run_it());
    assert_string_equal(told, "begin 11;0 token ;0 I look.;0 token ;0 token ;0 calls 0 f;0 with 0 {\"a\";0 token ;"
                              "0 with 0 : 1};0 tool_calls;end;");
    reset(NULL);
    script[0] = steps; /* nobody asked for calls: the text as it is */
    assert_true(run_it());
    assert_non_null(strstr(told, "0 token <tool_call>;"));
    assert_non_null(strstr(told, "0 stop;end;"));
}

static void test_failures(void **state)
{
    (void)state;
    expect(STEPS({TEXT, "x"}, {FAIL, NULL}), "begin 11;0 token x;failed 8 broken;");
    open_fails = QVL_ERR_ARGUMENT;
    told[0] = 0;
    assert_true(run_it());
    assert_string_equal(told, "failed 1 no;");
    open_fails = QVL_OK;
    prepare_fails = QVL_ERR_LIMIT;
    told[0] = 0;
    assert_true(run_it());
    assert_string_equal(told, "failed 5 too long;");
    assert_int_equal(last_usage.n_prompt_tok, 11); /* for those who make it shorter */
}

/* What clients are not told stands in the log, also where a stream has begun and no reply can say that it failed.
 */
static void test_own_fault_is_logged(void **state)
{
    (void)state;
    struct qvl_log *silent = app.log;
    struct qvl_error err = {0};
    char file[] = "/tmp/qvl-test-ask-XXXXXX", text[4096] = "";
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(qvl_log_open(file, &app.log, &err), QVL_OK);
    expect(STEPS({TEXT, "x"}, {FAIL, NULL}), "begin 11;0 token x;failed 8 broken;");
    qvl_log_close(app.log);
    app.log = silent;
    assert_true(read(fd, text, sizeof text - 1) > 0);
    assert_non_null(strstr(text, "\"finish\": \"error\", \"error\": \"broken\""));
    close(fd);
    unlink(file);
}

static void test_count_only(void **state)
{
    (void)state;
    script[0] = STEPS({HANG, NULL});
    ask.want_count_only = true;
    ask.n = 3;
    assert_true(run_it());
    assert_string_equal(told, "begin 11;end;");
}

/* Each from a seed of its own; each in order; all of them counted. */
static void test_several(void **state)
{
    (void)state;
    static const struct step steps[3][4] = {{{TEXT, "a"}, {TEXT, "A"}, {END, NULL}},
                                            {{TEXT, "b"}, {TEXT, "B"}, {LENGTH, NULL}},
                                            {{TEXT, "c"}, {TEXT, "C"}, {END, NULL}}};
    for (int i = 0; i < 3; i++)
        script[i] = steps[i];
    ask.n = 3;
    assert_true(run_it());
    assert_memory_equal(told, "begin 11;0 token a;", 19); /* the first one's prompt comes before the others */
    const char *const pairs[][2] = {{"0 token a;", "0 token A;"}, {"0 token A;", "0 stop;"},
                                    {"1 token b;", "1 token B;"}, {"1 token B;", "1 length;"},
                                    {"2 token c;", "2 token C;"}, {"2 token C;", "2 stop;"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_non_null(strstr(told, pairs[i][0]));
        assert_true(strstr(told, pairs[i][0]) < strstr(told, pairs[i][1]));
    }
    assert_int_equal(last_options.sampling.seed, 102);
    assert_string_equal(told + strlen(told) - 4, "end;");
    assert_int_equal(last_usage.n_output_tok, 6);
    assert_int_equal(last_usage.n_prompt_tok, 11);
}

/* One breaks: the others are cancelled, one failure is told. */
static void test_one_of_several_fails(void **state)
{
    (void)state;
    script[0] = STEPS({TEXT, "a"}, {HANG, NULL});
    script[1] = STEPS({FAIL, NULL});
    ask.n = 2;
    assert_true(run_it());
    assert_string_equal(told, "begin 11;0 token a;failed 8 broken;");
    assert_int_equal(atomic_load(&n_cancelled), 2);
}

static void test_client_leaves(void **state)
{
    (void)state;
    script[0] = script[1] = STEPS({HANG, NULL});
    ask.n = 2;
    exchange.leaves_at_once = true;
    assert_false(run_it());
    assert_true(told[0] == 0 || strcmp(told, "begin 11;") == 0);
    assert_int_equal(atomic_load(&n_cancelled), 2);
    reset(NULL);
    script[0] = STEPS({TEXT, "a"}, {TEXT, "b"}, {HANG, NULL});
    gone_at = "token a";
    assert_false(run_it());
    assert_string_equal(told, "begin 11;0 token a;");
    reset(NULL);
    script[0] = STEPS({TEXT, "a"}, {END, NULL});
    gone_at = "begin";
    assert_false(run_it());
    assert_string_equal(told, "begin 11;");
    reset(NULL);
    script[0] = STEPS({TEXT, "a"}, {END, NULL}); /* at the last moment */
    gone_at = "0 stop";
    assert_false(run_it());
    assert_string_equal(told, "begin 11;0 token a;0 stop;");
}

static void test_time_is_up(void **state)
{
    (void)state;
    script[0] = STEPS({TEXT, "a"}, {HANG, NULL});
    ask.deadline_ms = fake_now_ms() + 1;
    assert_true(run_it());
    assert_non_null(strstr(told, "failed 7 the answer was not ready"));
    assert_true(last_usage.is_late);
    reset(NULL);
    script[0] = STEPS({TEXT, "a"}, {HANG, NULL});
    atomic_store(&app.must_stop, true);
    assert_true(run_it());
    assert_non_null(strstr(told, "failed 7 the server is stopping"));
    assert_false(last_usage.is_late);
}

/* Nothing comes for ten seconds, which are over here as soon as the engine says nothing more. */
static void test_signs_of_life(void **state)
{
    (void)state;
    hang_ms = 11000;
    reset(NULL);
    script[0] = STEPS({TEXT, "a"}, {HANG, NULL});
    gone_at = "idle";
    assert_false(run_it());
    assert_string_equal(told, "begin 11;0 token a;idle;");
    reset(NULL);
    prepare_hangs = true;
    gone_at = "idle";
    assert_false(run_it());
    assert_string_equal(told, "idle;");
    prepare_hangs = false;
    hang_ms = 0;
}

static void test_defaults(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    app.options.deadline_s = 5;
    app.options.max_tokens = 7;
    app.options.sampling = (struct qvl_sampling){.temperature = 0.5f, .repetition_penalty = 1, .seed = 9};
    assert_false(qvl_ask_init(&ask, &app, &exchange.request, &err));
    assert_int_equal(ask.n, 1);
    assert_true(ask.options.sampling.temperature == 0.5f && ask.options.sampling.seed == 9);
    assert_int_equal(ask.options.max_tokens, 7);
    assert_int_equal(ask.options.client, 3);
    assert_int_equal(ask.options.cache_salt, 4);
    assert_true(ask.deadline_ms == exchange.request.received_ms + 5000);
    app.options.sampling.seed = 0; /* none of its own: by chance */
    uint64_t seed[2];
    for (int i = 0; i < 2; i++) {
        assert_false(qvl_ask_init(&ask, &app, &exchange.request, &err));
        seed[i] = ask.options.sampling.seed;
    }
    assert_true(seed[0] != seed[1]);
    qvl_ask_free(&ask);
    app.options.deadline_s = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_order, reset),
        cmocka_unit_test_setup(test_reasoning, reset),
        cmocka_unit_test_setup(test_tools, reset),
        cmocka_unit_test_setup(test_failures, reset),
        cmocka_unit_test_setup(test_own_fault_is_logged, reset),
        cmocka_unit_test_setup(test_count_only, reset),
        cmocka_unit_test_setup(test_several, reset),
        cmocka_unit_test_setup(test_client_leaves, reset),
        cmocka_unit_test_setup(test_one_of_several_fails, reset),
        cmocka_unit_test_setup(test_signs_of_life, reset),
        cmocka_unit_test_setup(test_time_is_up, reset),
        cmocka_unit_test_setup(test_defaults, reset),
    };
    return cmocka_run_group_tests(tests, open_app, close_app);
}
