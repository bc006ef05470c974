/* What becomes of an answer: reasoning and text apart, on a pipe, on a terminal and in JSON. The engine is a list
 * of events. */
#include "../../../src/cli/ask.c"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* ---- the engine that is asked -------------------------------------------------------------------- */

static const char *const *script; /* pieces of text up to NULL; "!" cancels; reasoning up to and with "</think>" */
static bool is_thinking, is_loaded;
static size_t i_piece;
static struct qvl_request *const the_request = (struct qvl_request *)&i_piece;
static struct qvl_engine *const the_engine = (struct qvl_engine *)&is_thinking;
static struct qvl_session *const the_session = (struct qvl_session *)&is_loaded;
static const struct qvl_session *session_used;

struct qvl_engine *qvl_open_engine(const struct qvl_options *options, enum qvl_exit *exit_code)
{
    (void)options;
    *exit_code = QVL_EXIT_OK;
    return the_engine;
}

void qvl_engine_get_info(const struct qvl_engine *engine, struct qvl_engine_info *out)
{
    (void)engine;
    *out = (struct qvl_engine_info){.is_thinking = is_thinking, .isa = "test", .load_ms = is_loaded ? 1 : 0};
    out->sampling.temperature = 0.5f;
    out->sampling.repetition_penalty = 1.5f;
}

enum qvl_status qvl_engine_load(struct qvl_engine *engine, struct qvl_error *err)
{
    (void)engine;
    (void)err;
    assert_false(is_loaded); /* once */
    is_loaded = true;
    return QVL_OK;
}

void qvl_engine_watch_load(struct qvl_engine *engine, void (*tell)(void *arg, double share), void *arg)
{
    (void)engine;
    (void)tell;
    (void)arg;
}

void qvl_engine_close(struct qvl_engine *engine)
{
    (void)engine;
    is_loaded = false;
}

enum qvl_status qvl_session_open(struct qvl_engine *engine, struct qvl_session **out, struct qvl_error *err)
{
    (void)engine;
    (void)err;
    *out = the_session;
    return QVL_OK;
}

void qvl_session_close(struct qvl_session *session)
{
    (void)session;
}

enum qvl_status qvl_request_open(struct qvl_engine *engine, const struct qvl_chat *chat,
                                 const struct qvl_request_options *options, struct qvl_request **out,
                                 struct qvl_error *err)
{
    (void)engine;
    (void)chat;
    (void)err;
    session_used = options->session;
    i_piece = 0;
    *out = the_request;
    return QVL_OK;
}

bool qvl_request_is_prepared(const struct qvl_request *request)
{
    (void)request;
    return true;
}

enum qvl_status qvl_request_next(struct qvl_request *request, struct qvl_event *event, struct qvl_error *err)
{
    const char *piece = script[i_piece++];
    bool is_reasoning = is_thinking;
    (void)request;
    assert_true(is_loaded);
    *event = (struct qvl_event){.kind = QVL_EVENT_DONE};
    if (!piece)
        return QVL_OK;
    if (piece[0] == '!')
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
    for (size_t i = 0; i + 1 < i_piece; i++)
        is_reasoning = is_reasoning && !strstr(script[i], "</think>");
    event->kind = QVL_EVENT_TEXT;
    event->text.utf8 = piece;
    event->text.n = strlen(piece);
    event->text.is_reasoning = is_reasoning;
    return QVL_OK;
}

void qvl_request_get_info(const struct qvl_request *request, struct qvl_request_info *out)
{
    (void)request;
    *out =
        (struct qvl_request_info){.prompt = "", .n_prompt_tok = 10, .n_cached_tok = 4, .n_output_tok = i_piece - 1};
}

void qvl_request_close(struct qvl_request *request)
{
    (void)request;
}

void qvl_signals_set_request(struct qvl_request *request)
{
    (void)request;
}

enum qvl_status qvl_dump_open(const char *dir, struct qvl_dump **out, struct qvl_error *err)
{
    (void)out;
    return qvl_fail(err, QVL_ERR_FILE, "%s: not here", dir);
}

struct qvl_trace qvl_dump_trace(struct qvl_dump *dump)
{
    (void)dump;
    return (struct qvl_trace){0};
}

enum qvl_status qvl_dump_status(struct qvl_dump *dump, struct qvl_error *err)
{
    (void)dump;
    (void)err;
    return QVL_OK;
}

void qvl_dump_close(struct qvl_dump *dump)
{
    (void)dump;
}

static char printed[4096];
static size_t n_printed;
static bool is_broken; /* stdout */

enum qvl_status qvl_write_stdout(const void *data, size_t n, struct qvl_error *err)
{
    if (is_broken)
        return qvl_fail(err, QVL_ERR_FILE, "stdout: cannot write: No space");
    assert_true(n_printed + n < sizeof printed);
    memcpy(printed + n_printed, data, n);
    n_printed += n;
    printed[n_printed] = 0;
    return QVL_OK;
}

/* ---- asking it ----------------------------------------------------------------------------------- */

static enum qvl_exit run(const struct qvl_options *options, const char *const *pieces, struct qvl_reply *reply,
                         struct qvl_error *err)
{
    struct qvl_asker asker;
    const struct qvl_chat chat = {0};
    script = pieces;
    n_printed = 0;
    printed[0] = 0;
    assert_int_equal(qvl_asker_open(options, false, &asker, err), QVL_EXIT_OK);
    enum qvl_exit code = qvl_ask(&asker, &chat, reply, err);
    qvl_asker_close(&asker);
    return code;
}

static struct qvl_options quiet(void)
{
    return (struct qvl_options){.model = "m", .is_quiet = true};
}

static const char *const thought[] = {"\nso", " it is", "\n</think>", "\n", "\nA ca", "t.", NULL};

static void reasoning_and_answer_are_apart(void **state)
{
    (void)state;
    struct qvl_options options = quiet();
    struct qvl_reply reply;
    struct qvl_error err;
    is_thinking = true;
    assert_int_equal(run(&options, thought, &reply, &err), QVL_EXIT_OK);
    assert_string_equal(printed, "\nso it is\n</think>\n\nA cat.\n"); /* a pipe: as the model writes it */
    assert_string_equal(reply.reasoning.data, "so it is");
    assert_string_equal(reply.text.data, "A cat.");
    assert_true(reply.is_whole && reply.n_output_tok == 6 && reply.n_prompt_tok == 10 && reply.n_cached_tok == 4);
    assert_non_null(strstr(reply.line.data, "prefill 6 tok"));
    qvl_reply_free(&reply);
}

static void reasoning_can_be_left_out(void **state)
{
    (void)state;
    struct qvl_options options = quiet();
    struct qvl_reply reply;
    struct qvl_error err;
    is_thinking = options.no_think_text = true;
    assert_int_equal(run(&options, thought, &reply, &err), QVL_EXIT_OK);
    assert_string_equal(printed, "A cat.\n");
    assert_string_equal(reply.reasoning.data, "so it is");
    qvl_reply_free(&reply);
}

static void json_has_both(void **state)
{
    (void)state;
    struct qvl_options options = quiet();
    struct qvl_reply reply;
    struct qvl_error err;
    is_thinking = options.want_json = true;
    assert_int_equal(run(&options, thought, &reply, &err), QVL_EXIT_OK);
    assert_non_null(strstr(printed, "{\"text\": \"A cat.\",\n \"reasoning\": \"so it is\",\n"));
    qvl_reply_free(&reply);
    is_thinking = false;
    assert_int_equal(run(&options, (const char *const[]){"\nA", NULL}, &reply, &err), QVL_EXIT_OK);
    assert_non_null(strstr(printed, "{\"text\": \"\\nA\",\n \"reasoning\": null,\n"));
    qvl_reply_free(&reply);
}

/* What was said stays said, and is there for the caller. */
static void a_cancelled_answer(void **state)
{
    (void)state;
    struct qvl_options options = quiet();
    struct qvl_reply reply;
    struct qvl_error err;
    is_thinking = false;
    assert_int_equal(run(&options, (const char *const[]){"A ", "c", "!"}, &reply, &err), QVL_EXIT_CANCELLED);
    assert_string_equal(printed, "A c\n");
    assert_string_equal(reply.text.data, "A c");
    assert_false(reply.is_whole);
    qvl_reply_free(&reply);
    is_thinking = true;
    assert_int_equal(run(&options, (const char *const[]){"\nhm", "!"}, &reply, &err), QVL_EXIT_CANCELLED);
    assert_string_equal(reply.reasoning.data, "hm");
    assert_int_equal(reply.text.n, 0);
    qvl_reply_free(&reply);
}

static void stdout_that_cannot_be_written(void **state)
{
    (void)state;
    struct qvl_options options = quiet();
    struct qvl_reply reply;
    struct qvl_error err;
    is_thinking = false;
    is_broken = true;
    assert_int_equal(run(&options, thought, &reply, &err), QVL_EXIT_FAILURE);
    assert_int_equal(err.status, QVL_ERR_FILE);
    is_broken = false;
    qvl_reply_free(&reply);
}

/* With stdout on a terminal: reasoning dim, the answer not, and nothing of the model's steers the terminal. */
static void on_a_terminal(void **state)
{
    (void)state;
    struct qvl_options options = quiet();
    struct qvl_reply reply;
    struct qvl_error err;
    int master = posix_openpt(O_RDWR | O_NOCTTY), saved = dup(STDOUT_FILENO);
    assert_true(master >= 0 && saved >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0);
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    fflush(stdout);
    dup2(slave, STDOUT_FILENO);
    is_thinking = true;
    enum qvl_exit code =
        run(&options, (const char *const[]){"so", "\033[2J", "</think>", "\n\nA", NULL}, &reply, &err);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(slave);
    close(master);
    assert_int_equal(code, QVL_EXIT_OK);
    assert_string_equal(printed, "\033[2mso\\x1b[2J</think>\033[0m\n\nA\n");
    qvl_reply_free(&reply);
}

static void one_engine_and_one_session_for_many_questions(void **state)
{
    (void)state;
    struct qvl_options options = quiet();
    struct qvl_asker asker;
    struct qvl_reply reply;
    struct qvl_error err;
    const struct qvl_chat chat = {0};
    is_thinking = false;
    script = (const char *const[]){"A", NULL};
    assert_int_equal(qvl_asker_open(&options, true, &asker, &err), QVL_EXIT_OK);
    assert_false(is_loaded);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(qvl_ask(&asker, &chat, &reply, &err), QVL_EXIT_OK);
        assert_string_equal(reply.text.data, "A");
        assert_ptr_equal(session_used, the_session);
        qvl_reply_free(&reply);
    }
    assert_int_equal(qvl_options_set(&options, "temp", "0", &err), QVL_OK);
    qvl_asker_take_options(&asker);
    assert_true(asker.sampling.temperature == 0 && asker.sampling.repetition_penalty == 1); /* plain greedy */
    qvl_asker_close(&asker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasoning_and_answer_are_apart),
        cmocka_unit_test(reasoning_can_be_left_out),
        cmocka_unit_test(json_has_both),
        cmocka_unit_test(a_cancelled_answer),
        cmocka_unit_test(stdout_that_cannot_be_written),
        cmocka_unit_test(on_a_terminal),
        cmocka_unit_test(one_engine_and_one_session_for_many_questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
