/* Guessed tokens: which ones are guessed, how many are worth computing, and that answers are the same with them and
 * without, event by event and bit by bit, on every kernel level and in both number formats.
 *
 * The golden models have random weights. Where a negative penalty makes them like what was said before, most of
 * their tokens come out of a draft. */
#include "engine/lookup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "qvl.h"
#include "kernel/kernel.h"
#include "model_folder.h"

/* ---- guesses ------------------------------------------------------------------------------------- */

/* The text is cut into prompt and output at every place: the guess must not know where. */
static void assert_draft(const uint32_t *id, size_t n, const uint32_t *want)
{
    for (size_t n_prompt = 0; n_prompt <= n; n_prompt++) {
        uint32_t got[QVL_LOOKUP_MAX];
        struct qvl_lookup_text text = {id, id + n_prompt, n_prompt, n - n_prompt};
        assert_int_equal(qvl_lookup_draft(&text, got), want ? QVL_LOOKUP_MAX : 0);
        if (want)
            assert_memory_equal(got, want, sizeof got);
    }
}

#define IDS(...) (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)
#define WANT(...)                                                                                                  \
    (const uint32_t[QVL_LOOKUP_MAX])                                                                               \
    {                                                                                                              \
        __VA_ARGS__                                                                                                \
    }

static void a_guess_is_what_followed(void **state)
{
    (void)state;
    assert_draft(IDS(7), NULL);
    assert_draft(IDS(1, 2, 3, 4), NULL); /* the last one is new */
    /* one, two, three tokens in common */
    assert_draft(IDS(4, 11, 12, 13, 14, 15, 16, 4), WANT(11, 12, 13, 14, 15));
    assert_draft(IDS(3, 4, 11, 12, 13, 14, 15, 3, 4), WANT(11, 12, 13, 14, 15));
    assert_draft(IDS(2, 3, 4, 11, 12, 13, 14, 15, 2, 3, 4), WANT(11, 12, 13, 14, 15));
    /* a longer match before a later one, up to three */
    assert_draft(IDS(3, 4, 11, 12, 13, 14, 15, 4, 21, 22, 3, 4), WANT(11, 12, 13, 14, 15));
    assert_draft(IDS(2, 3, 4, 11, 12, 13, 14, 9, 3, 4, 21, 2, 3, 4), WANT(11, 12, 13, 14, 9));
    assert_draft(IDS(1, 2, 3, 4, 11, 9, 2, 3, 4, 21, 22, 23, 24, 25, 1, 2, 3, 4), WANT(21, 22, 23, 24, 25));
    /* of equal ones the last */
    assert_draft(IDS(4, 11, 12, 4, 21, 22, 23, 24, 25, 4), WANT(21, 22, 23, 24, 25));
}

static void a_guess_past_the_end_repeats_itself(void **state)
{
    (void)state;
    assert_draft(IDS(5, 5), WANT(5, 5, 5, 5, 5));
    assert_draft(IDS(8, 1, 2, 1), WANT(2, 1, 2, 1, 2));
    assert_draft(IDS(1, 2, 3, 1, 2, 3, 1), WANT(2, 3, 1, 2, 3));
}

static void drafts_end_where_guesses_fail(void **state)
{
    (void)state;
    struct qvl_lookup lookup;
    size_t n_try = 0, n_row = 0;
    qvl_lookup_init(&lookup);
    assert_in_range(qvl_lookup_worth(&lookup, QVL_LOOKUP_MAX), 1, QVL_LOOKUP_MAX);
    assert_int_equal(qvl_lookup_worth(&lookup, 0), 0);
    while (qvl_lookup_worth(&lookup, QVL_LOOKUP_MAX) > 0) {
        n_row += qvl_lookup_worth(&lookup, QVL_LOOKUP_MAX);
        qvl_lookup_learn(&lookup, false);
        assert_true(++n_try < 10);
    }
    assert_true(n_row <= 12); /* all that a request without repetitions loses */
    for (int i = 0; i < 1000; i++) {
        qvl_lookup_learn(&lookup, false);
        assert_int_equal(qvl_lookup_worth(&lookup, QVL_LOOKUP_MAX), 0);
    }
    /* and begin again when they would have been right */
    size_t n_before = 0;
    for (int i = 0; i < 20; i++) {
        qvl_lookup_learn(&lookup, true);
        size_t n = qvl_lookup_worth(&lookup, QVL_LOOKUP_MAX);
        assert_true(n >= n_before);
        n_before = n;
    }
    assert_int_equal(n_before, QVL_LOOKUP_MAX);
    assert_int_equal(qvl_lookup_worth(&lookup, 2), 2);
}

/* ---- one request --------------------------------------------------------------------------------- */

enum { N_TOP = 64, MAX_OUT = 160, MAX_TEXT = 4096, CHUNK = 16, MAX_TURN = 4 };

struct talk {
    const char *text[2 * MAX_TURN]; /* user, assistant, user, … */
    size_t n;
};

/* All that a caller can see, but times. */
struct result {
    enum qvl_status status;
    struct qvl_error err;
    struct {
        uint32_t id;
        struct qvl_token_logit top[N_TOP];
        size_t n_top, n_text;
        bool is_reasoning;
    } event[MAX_OUT];
    size_t n_event;
    char text[MAX_TEXT];
    size_t n_text;
    enum qvl_finish finish;
    char stop[1024];
    uint32_t out[MAX_OUT];
    size_t n_out, n_prompt, n_cached;
};

struct run {
    struct qvl_request *request;
    struct result *result;
    size_t n_drafted, n_accepted;
};

static struct qvl_request_options greedy(uint32_t max_tokens)
{
    return (struct qvl_request_options){.sampling = {.top_p = 1, .repetition_penalty = 1},
                                        .max_tokens = max_tokens,
                                        .ignore_eos = true,
                                        .no_loop_guard = true,
                                        .n_top_logits = N_TOP};
}

/* Goes on with what the answer holds already. */
static struct qvl_request_options repetitive(uint32_t max_tokens)
{
    struct qvl_request_options options = greedy(max_tokens);
    options.sampling.presence_penalty = -20;
    return options;
}

static struct run begin(struct qvl_engine *on, const struct talk *talk, const struct qvl_request_options *options)
{
    struct qvl_part part[2 * MAX_TURN];
    struct qvl_message message[2 * MAX_TURN];
    struct qvl_chat chat = {.messages = message, .n_message = talk->n};
    struct qvl_error err = {0};
    struct run run = {.result = calloc(1, sizeof *run.result)};
    assert_non_null(run.result);
    for (size_t i = 0; i < talk->n; i++) {
        part[i] = (struct qvl_part){.kind = QVL_PART_TEXT, .utf8 = talk->text[i], .n = strlen(talk->text[i])};
        message[i] = (struct qvl_message){
            .role = i % 2 ? QVL_ROLE_ASSISTANT : QVL_ROLE_USER, .parts = &part[i], .n_part = 1};
    }
    if (qvl_request_open(on, &chat, options, &run.request, &err))
        fail_msg("%s", err.text);
    return run;
}

static void note_text(struct result *r, const struct qvl_event *event)
{
    size_t i = r->n_event++;
    assert_true(i < MAX_OUT && r->n_text + event->text.n < MAX_TEXT);
    r->event[i].id = event->text.id;
    r->event[i].n_top = event->text.n_top;
    r->event[i].n_text = event->text.n;
    r->event[i].is_reasoning = event->text.is_reasoning;
    memcpy(r->event[i].top, event->text.top, event->text.n_top * sizeof *event->text.top);
    if (event->text.n)
        memcpy(r->text + r->n_text, event->text.utf8, event->text.n);
    r->n_text += event->text.n;
}

/* Takes one event; false when the request is over. */
static bool pull(struct run *run)
{
    struct qvl_event event;
    struct result *r = run->result;
    r->status = qvl_request_next(run->request, &event, &r->err);
    if (r->status)
        return false;
    if (event.kind == QVL_EVENT_TEXT)
        note_text(r, &event);
    if (event.kind != QVL_EVENT_DONE)
        return true;
    r->finish = event.done.finish;
    if (event.done.stop)
        snprintf(r->stop, sizeof r->stop, "%s", event.done.stop);
    return false;
}

static void finish(struct run *run)
{
    struct qvl_request_info info;
    struct result *r = run->result;
    qvl_request_get_info(run->request, &info);
    assert_true(info.n_output_tok <= MAX_OUT);
    if (info.n_output_tok)
        memcpy(r->out, info.output_ids, info.n_output_tok * sizeof *r->out);
    r->n_out = info.n_output_tok;
    r->n_prompt = info.n_prompt_tok;
    r->n_cached = info.n_cached_tok;
    run->n_drafted = info.n_drafted_tok;
    run->n_accepted = info.n_accepted_tok;
    assert_true(info.n_accepted_tok <= info.n_drafted_tok);
    qvl_request_close(run->request);
    run->request = NULL;
}

static struct run ask(struct qvl_engine *on, const struct talk *talk, const struct qvl_request_options *options)
{
    struct run run = begin(on, talk, options);
    while (pull(&run))
        continue;
    finish(&run);
    return run;
}

static struct run ask_without(struct qvl_engine *on, const struct talk *talk, struct qvl_request_options options)
{
    options.no_lookup = true;
    struct run run = ask(on, talk, &options);
    assert_int_equal(run.n_drafted, 0);
    return run;
}

static void assert_same(const struct result *got, const struct result *want)
{
    if (got->status || want->status)
        fail_msg("%s", got->status ? got->err.text : want->err.text);
    assert_int_equal(got->n_event, want->n_event);
    assert_memory_equal(got->out, want->out, sizeof got->out);
    assert_memory_equal(got, want, sizeof *got); /* both were zeroed whole */
}

/* With and without; returns how many tokens needed no step of their own. */
static size_t check(struct qvl_engine *on, const struct talk *talk, const struct qvl_request_options *options)
{
    struct run got = ask(on, talk, options), want = ask_without(on, talk, *options);
    assert_same(got.result, want.result);
    free(got.result);
    free(want.result);
    return got.n_accepted;
}

/* ---- engines ------------------------------------------------------------------------------------- */

static struct qvl_engine *open_engine(char letter, struct qvl_engine_options options)
{
    struct qvl_engine *engine = NULL;
    struct qvl_error err = {0};
    options.model_dir = model_folder(letter);
    options.n_thread = 2;
    options.n_ctx = 4096;
    options.n_prefill_chunk = CHUNK;
    if (qvl_engine_open(&options, &engine, &err) || qvl_engine_load(engine, &err))
        fail_msg("%s", err.text);
    return engine;
}

static struct qvl_engine *engine; /* model a, best level */

static int open_shared(void **state)
{
    (void)state;
    engine = open_engine('a', (struct qvl_engine_options){0});
    return 0;
}

static int close_shared(void **state)
{
    (void)state;
    qvl_engine_close(engine);
    return 0;
}

static const struct talk question = {{"Say it again, and again, and again: one two three four, one two three."}, 1};

/* ---- the same answers ---------------------------------------------------------------------------- */

enum { N_SAMPLING = 6 };
static size_t
    most_accepted[N_SAMPLING]; /* of all engines: what a random model repeats differs from format to format */

static void check_samplings(struct qvl_engine *on)
{
    static const struct qvl_sampling sampling[] = {
        {.top_p = 1, .repetition_penalty = 1},
        {.top_p = 1, .repetition_penalty = 1.1f},
        {.top_p = 1, .repetition_penalty = 1, .presence_penalty = -20, .frequency_penalty = 0.5f},
        {.temperature = 0.1f, .top_p = 1, .repetition_penalty = 1, .seed = 1},
        {.temperature = 1, .top_k = 3, .top_p = 0.9f, .repetition_penalty = 0.2f, .seed = 2},
        {.temperature = 0.7f,
         .top_p = 0.8f,
         .min_p = 0.02f,
         .repetition_penalty = 1,
         .presence_penalty = -50,
         .seed = 3},
    };
    _Static_assert(sizeof sampling / sizeof *sampling == N_SAMPLING, "one count each");
    for (size_t i = 0; i < N_SAMPLING; i++) {
        struct qvl_request_options options = greedy(96);
        options.sampling = sampling[i];
        size_t n_accepted = check(on, &question, &options);
        most_accepted[i] = n_accepted > most_accepted[i] ? n_accepted : most_accepted[i];
    }
}

static void samplings_on_every_level(void **state)
{
    (void)state;
    on_every_level(open_engine, engine, check_samplings);
    assert_true(most_accepted[0] > 0 && most_accepted[2] > 48);
    assert_true(most_accepted[4] > 0 && most_accepted[5] > 48); /* at random, too */
}

static void other_models(void **state)
{
    (void)state;
    size_t n_accepted = 0;
    for (const char *letter = "bcd"; *letter; letter++) { /* c begins with its reasoning */
        struct qvl_engine *on = open_engine(*letter, (struct qvl_engine_options){0});
        struct qvl_request_options options = greedy(64);
        n_accepted += check(on, &question, &options);
        options.sampling.temperature = 1;
        options.sampling.presence_penalty = -50;
        check(on, &question, &options);
        qvl_engine_close(on);
    }
    assert_true(n_accepted > 0);
}

/* An answer that is cut after every number of tokens: most cuts lie inside a draft. */
static void the_longest_answer_inside_a_draft(void **state)
{
    (void)state;
    size_t n_accepted = 0;
    for (uint32_t n = 1; n <= 48; n++) {
        struct qvl_request_options options = repetitive(n);
        n_accepted += check(engine, &question, &options);
    }
    assert_true(n_accepted > 48);
    struct qvl_request_options options = repetitive(2); /* one step, and no token after it is wanted */
    struct run run = ask(engine, &question, &options);
    assert_int_equal(run.n_drafted, 0);
    free(run.result);
}

/* The first i tokens' text as a stop string is met with token i, or a token later where that ends inside a
 * character. */
static void stop_strings_inside_a_draft(void **state)
{
    (void)state;
    struct qvl_request_options options = repetitive(64);
    struct run plain = ask_without(engine, &question, options);
    size_t n = 0, n_accepted = 0, n_stopped = 0;
    for (size_t i = 0; i < plain.result->n_event; i++) {
        char stop[1025];
        n += plain.result->event[i].n_text;
        if (n == 0 || n >= sizeof stop || memchr(plain.result->text, 0, n))
            continue;
        memcpy(stop, plain.result->text, n);
        stop[n] = 0;
        options.stop = (const char *const[]){"never in it, this", stop};
        options.n_stop = 2;
        struct run got = ask(engine, &question, &options), want = ask_without(engine, &question, options);
        assert_same(got.result, want.result);
        assert_string_equal(got.result->stop, stop);
        n_accepted += got.n_accepted;
        n_stopped++;
        free(got.result);
        free(want.result);
    }
    assert_true(n_stopped > 32 && n_accepted > n_stopped);
    free(plain.result);
}

/* How many tokens of an n long answer needed no step of their own. */
static size_t count_accepted(struct qvl_request_options options, uint32_t n)
{
    options.max_tokens = n;
    struct run run = ask(engine, &question, &options);
    free(run.result);
    return run.n_accepted;
}

/* Whether place i of the answer, i its first occurrence there, came out of a draft: then more is accepted when the
 * answer may reach so far. */
static bool is_new_and_drafted(const struct result *r, uint32_t i, struct qvl_request_options options)
{
    for (uint32_t k = 0; k < i; k++)
        if (r->out[k] == r->out[i])
            return false;
    return count_accepted(options, i + 1) > count_accepted(options, i);
}

/* Model a with one more end token. */
static struct qvl_engine *open_with_end(uint32_t id)
{
    char dir[] = "/tmp/qvl-lookup-XXXXXX", from[4400], to[4400], config[64];
    const char *source = model_folder('a');
    assert_non_null(mkdtemp(dir));
    DIR *files = opendir(source);
    assert_non_null(files);
    for (struct dirent *file = readdir(files); file; file = readdir(files)) {
        snprintf(from, sizeof from, "%s/%s", source, file->d_name);
        snprintf(to, sizeof to, "%s/%s", dir, file->d_name);
        if (file->d_name[0] != '.' && strcmp(file->d_name, "generation_config.json") != 0)
            assert_int_equal(symlink(from, to), 0);
    }
    snprintf(config, sizeof config, "%s/generation_config.json", dir);
    FILE *f = fopen(config, "w");
    assert_non_null(f);
    fprintf(f, "{\"eos_token_id\": [%u]}\n", id);
    fclose(f);
    struct qvl_engine *on = NULL;
    struct qvl_error err = {0};
    struct qvl_engine_options options = {.model_dir = dir, .n_thread = 2, .n_ctx = 4096, .n_prefill_chunk = CHUNK};
    if (qvl_engine_open(&options, &on, &err) || qvl_engine_load(on, &err))
        fail_msg("%s", err.text);
    rewinddir(files); /* the engine has mapped what it needs */
    for (struct dirent *file = readdir(files); file; file = readdir(files)) {
        snprintf(to, sizeof to, "%s/%s", dir, file->d_name);
        unlink(to);
    }
    unlink(config);
    closedir(files);
    rmdir(dir);
    return on;
}

/* Answers in which a token that the prompt holds comes out of a draft, asked again of a model that ends with it. */
static void end_tokens_inside_a_draft(void **state)
{
    (void)state;
    enum { N = 5, LEN = 40 };
    size_t n = 0;
    for (uint64_t seed = 1; seed <= 20 && n < N; seed++) {
        struct qvl_request_options options = greedy(LEN);
        options.sampling.repetition_penalty = 0.2f;
        options.sampling.temperature = 1;
        options.sampling.seed = seed;
        struct run whole = ask(engine, &question, &options);
        for (uint32_t i = 2; i < LEN && n < N; i++) {
            if (!is_new_and_drafted(whole.result, i, options))
                continue;
            struct qvl_engine *on = open_with_end(whole.result->out[i]);
            struct qvl_request_options ends = options;
            ends.ignore_eos = false;
            struct run got = ask(on, &question, &ends), want = ask_without(on, &question, ends);
            assert_same(got.result, want.result);
            assert_int_equal(got.result->finish, QVL_FINISH_STOP);
            assert_int_equal(got.result->n_out, i + 1);
            assert_int_equal(got.n_accepted, count_accepted(options, i + 1));
            free(got.result);
            free(want.result);
            qvl_engine_close(on);
            n++;
        }
        free(whole.result);
    }
    assert_int_equal(n, N);
}

static void loops_are_noticed_at_the_same_token(void **state)
{
    (void)state;
    size_t n_loop = 0;
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct qvl_request_options options = repetitive(0);
        options.no_loop_guard = false;
        options.n_top_logits = 1;
        options.sampling.presence_penalty = -50;
        options.max_tokens = MAX_OUT * 8;
        options.sampling.seed = seed;
        options.sampling.temperature = seed ? 0.5f : 0;
        size_t n_out[2];
        enum qvl_finish how[2] = {QVL_FINISH_STOP, QVL_FINISH_STOP};
        uint32_t last[2][8];
        for (int i = 0; i < 2; i++) {
            struct qvl_event event = {0};
            struct qvl_error err = {0};
            struct qvl_request_info info;
            options.no_lookup = i == 1;
            struct run run = begin(engine, &question, &options);
            while (event.kind != QVL_EVENT_DONE)
                assert_int_equal(qvl_request_next(run.request, &event, &err), QVL_OK);
            qvl_request_get_info(run.request, &info);
            how[i] = event.done.finish;
            n_out[i] = info.n_output_tok;
            memcpy(last[i], info.output_ids + info.n_output_tok - 8, sizeof last[i]);
            if (i == 0)
                assert_true(info.n_accepted_tok > info.n_output_tok / 2);
            qvl_request_close(run.request);
            free(run.result);
        }
        assert_int_equal(how[0], how[1]);
        assert_int_equal(n_out[0], n_out[1]);
        assert_memory_equal(last[0], last[1], sizeof last[0]);
        n_loop += how[0] == QVL_FINISH_LOOP;
    }
    assert_true(n_loop > 0);
}

/* Prompts whose length puts the border between two blocks of the cache at every place of a draft. */
static void block_borders(void **state)
{
    (void)state;
    char text[512] = "";
    size_t n_prompt = 0, n_accepted = 0, n_tried = 0;
    while (n_prompt < QVL_KV_BLOCK + 2) {
        struct qvl_request_options options = repetitive(24);
        struct talk talk = {{text}, 1};
        strcat(text, strlen(text) % 6 ? "x" : " ");
        assert_true(strlen(text) + 2 < sizeof text);
        struct run plain = ask_without(engine, &talk, options);
        n_prompt = plain.result->n_prompt;
        if (n_prompt + 20 > QVL_KV_BLOCK) {
            struct run got = ask(engine, &talk, &options);
            assert_same(got.result, plain.result);
            n_accepted += got.n_accepted;
            n_tried++;
            free(got.result);
        }
        free(plain.result);
    }
    assert_true(n_tried >= 20 && n_accepted > n_tried);
}

/* ---- beside others, over several turns, stopped -------------------------------------------------- */

static void requests_side_by_side(void **state)
{
    (void)state;
    static const char *const text[] = {"one two three one two three one two",
                                       "Say it again, and again",
                                       "What is it, what is it, what is it?",
                                       "a b a b a b a b",
                                       "1 1 1 1 1 1",
                                       "go"};
    enum { N = sizeof text / sizeof *text };
    for (size_t n = 2; n <= N; n++) {
        struct run run[N];
        bool is_over[N] = {false};
        size_t n_over = 0;
        struct qvl_request_options options = repetitive(72);
        options.sampling.seed = n;
        options.sampling.presence_penalty = -20;
        options.sampling.temperature = n % 2 ? 0.8f : 0;
        for (size_t i = 0; i < n; i++)
            run[i] = begin(engine, &(struct talk){{text[i]}, 1}, &options);
        while (n_over < n)
            for (size_t i = 0; i < n; i++)
                if (!is_over[i] && !pull(&run[i])) {
                    is_over[i] = true;
                    n_over++;
                }
        for (size_t i = 0; i < n; i++) {
            finish(&run[i]);
            struct run want = ask_without(engine, &(struct talk){{text[i]}, 1}, options);
            assert_same(run[i].result, want.result);
            free(run[i].result);
            free(want.result);
        }
    }
}

static struct qvl_session *open_session(void)
{
    struct qvl_session *session = NULL;
    struct qvl_error err = {0};
    assert_int_equal(qvl_session_open(engine, &session, &err), QVL_OK);
    return session;
}

/* Three turns, each with the answers before it, on a session of each kind and without one. */
static void a_session_keeps_the_same(void **state)
{
    (void)state;
    for (uint32_t n = 30; n < 42; n++) {
        struct qvl_session *with = open_session(), *without = open_session();
        char answer[2][MAX_TEXT];
        struct talk talk = {{"Say it again, and again, and again."}, 1};
        for (size_t turn = 0; turn < 3; turn++) {
            struct qvl_request_options options = repetitive(n);
            options.session = with;
            struct run got = ask(engine, &talk, &options);
            options.session = without;
            struct run plain = ask_without(engine, &talk, options);
            options.session = NULL;
            struct run fresh = ask_without(engine, &talk, options);
            assert_same(got.result, plain.result); /* with the number of known tokens */
            assert_true(turn == 0 || got.result->n_cached > 0);
            fresh.result->n_cached = got.result->n_cached;
            assert_same(got.result, fresh.result);
            if (turn < 2) {
                memcpy(answer[turn], got.result->text, got.result->n_text);
                answer[turn][got.result->n_text] = 0;
                talk.text[talk.n++] = answer[turn];
                talk.text[talk.n++] = "And again?";
            }
            free(got.result);
            free(plain.result);
            free(fresh.result);
        }
        qvl_session_close(with);
        qvl_session_close(without);
    }
}

/* The whole answer is known again: keys and values of each of its tokens are the right ones. */
static void what_a_stopped_answer_leaves(void **state)
{
    (void)state;
    struct qvl_request_options options = repetitive(64);
    struct run fresh = ask_without(engine, &question, options);
    for (size_t n_before = 1; n_before < 60; n_before += 3) {
        options.session = open_session();
        struct run stopped = begin(engine, &question, &options);
        while (stopped.result->n_event < n_before)
            assert_true(pull(&stopped));
        qvl_request_cancel(stopped.request);
        while (pull(&stopped))
            continue;
        assert_int_equal(stopped.result->status, QVL_ERR_CANCELLED);
        finish(&stopped);
        assert_memory_equal(stopped.result->out, fresh.result->out, stopped.result->n_out * sizeof(uint32_t));
        /* what was answered, said by the user's own question: the ids go on behind the prompt, or are cut there */
        struct run again = ask(engine, &question, &options);
        assert_true(again.result->n_cached > 0);
        again.result->n_cached = 0;
        assert_same(again.result, fresh.result);
        free(stopped.result);
        free(again.result);
        qvl_session_close(options.session);
    }
    free(fresh.result);
}

/* ---- how many ------------------------------------------------------------------------------------ */

static void note_logits(void *user, const char *name, enum qvl_trace_type type, const void *data, const size_t *dim,
                        size_t n_dim)
{
    (void)type, (void)data;
    if (strcmp(name, "logits") != 0)
        return;
    assert_int_equal(n_dim, 2);
    assert_int_equal(dim[0], 1);
    ++*(size_t *)user;
}

static void a_trace_has_a_step_for_each_token(void **state)
{
    (void)state;
    size_t n_step = 0;
    struct qvl_request_options options = greedy(32);
    options.trace = (struct qvl_trace){.user = &n_step, .tensor = note_logits};
    struct run run = ask(engine, &question, &options);
    assert_int_equal(n_step, 32);
    assert_int_equal(run.n_drafted, 0);
    free(run.result);
}

/* The same request drafts the same: no clock decides. */
static void counts_are_reproducible(void **state)
{
    (void)state;
    struct qvl_request_options options = greedy(128);
    options.sampling.temperature = 1;
    options.sampling.presence_penalty = -30;
    struct run first = ask(engine, &question, &options);
    assert_true(first.n_accepted > 0);
    for (int i = 0; i < 5; i++) {
        struct run again = ask(engine, &question, &options);
        assert_int_equal(again.n_drafted, first.n_drafted);
        assert_int_equal(again.n_accepted, first.n_accepted);
        free(again.result);
    }
    free(first.result);
}

/* Where the sampler is close to drawing lots, guesses fail, and soon none is computed. */
static void nothing_is_drafted_in_vain_for_long(void **state)
{
    (void)state;
    struct qvl_request_options options = greedy(MAX_OUT - 1);
    options.sampling.temperature = 100;
    options.sampling.seed = 4;
    struct run run = ask(engine, &question, &options);
    assert_true(run.n_drafted <= 12);
    free(run.result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guess_is_what_followed),
        cmocka_unit_test(a_guess_past_the_end_repeats_itself),
        cmocka_unit_test(drafts_end_where_guesses_fail),
        cmocka_unit_test(samplings_on_every_level),
        cmocka_unit_test(other_models),
        cmocka_unit_test(the_longest_answer_inside_a_draft),
        cmocka_unit_test(stop_strings_inside_a_draft),
        cmocka_unit_test(end_tokens_inside_a_draft),
        cmocka_unit_test(loops_are_noticed_at_the_same_token),
        cmocka_unit_test(block_borders),
        cmocka_unit_test(requests_side_by_side),
        cmocka_unit_test(a_session_keeps_the_same),
        cmocka_unit_test(what_a_stopped_answer_leaves),
        cmocka_unit_test(a_trace_has_a_step_for_each_token),
        cmocka_unit_test(counts_are_reproducible),
        cmocka_unit_test(nothing_is_drafted_in_vain_for_long),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
