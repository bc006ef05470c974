/* An answer that must, or may, call tools: by qvl_constraint as the server writes it, against a model that says
 * what the test wants. Expected: the chat template's form of a call, and the contract of qvl.h. */
#include "engine/constraint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/answer.h"
#include "model_folder.h"

enum { N_VOCAB = 582, N_WISH = 8, MAX_STEPS = 400 };

static struct qvl_tokenizer *tokenizer;
static struct qvl_constraints *constraints;
static struct qvl_error err;
static uint32_t open_tag, close_tag, eos;

static int open_tokenizer(void **state)
{
    (void)state;
    if (qvl_tokenizer_load(model_folder('c'), N_VOCAB, &tokenizer, &err) ||
        qvl_constraints_open(tokenizer, &constraints, &err))
        return -1;
    open_tag = qvl_tokenizer_added(tokenizer, QVL_TOK_TOOL_CALL);
    close_tag = qvl_tokenizer_added(tokenizer, QVL_TOK_TOOL_CALL_END);
    eos = qvl_tokenizer_added(tokenizer, QVL_TOK_IM_END);
    return 0;
}

static int close_tokenizer(void **state)
{
    (void)state;
    qvl_constraints_close(constraints);
    qvl_tokenizer_free(tokenizer);
    return 0;
}

static const char tools[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\", "
    "\"properties\": {\"a\": {\"enum\": [\"x\", \"yy\"]}}, \"required\": [\"a\"]}}},"
    "{\"name\": \"go\", \"parameters\": {\"type\": \"object\", \"properties\": {}}}]";
#define CALL_F "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"yy\"}}\n</tool_call>"
#define CALL_GO "<tool_call>\n{\"name\": \"go\", \"arguments\": {}}\n</tool_call>"

struct speaker {
    struct qvl_constrained constrained;
    struct qvl_answer answer;
    struct qvl_bytes text;
};

struct how {
    enum qvl_constraint_kind kind;
    bool want_one, is_thinking;
    const char *only; /* the one tool */
};

static struct speaker *open_speaker(struct how how)
{
    struct speaker *s = calloc(1, sizeof *s);
    assert_non_null(s);
    const struct qvl_constraint c = {.kind = how.kind,
                                     .text = tools,
                                     .n = sizeof tools - 1,
                                     .choice = &how.only,
                                     .n_choice = how.only ? 1 : 0,
                                     .want_one_call = how.want_one};
    if (qvl_constrained_open(constraints, &c, &s->constrained, &err))
        fail_msg("%s", err.text);
    struct qvl_answer_settings set = {.tokenizer = tokenizer,
                                      .sampling = {.top_p = 1, .repetition_penalty = 1},
                                      .max_tokens = MAX_STEPS,
                                      .eos = {eos},
                                      .n_eos = 1,
                                      .no_loop_guard = true,
                                      .is_thinking = how.is_thinking,
                                      .matcher = s->constrained.matcher,
                                      .is_on_call = s->constrained.is_on_call,
                                      .want_one_call = s->constrained.want_one_call};
    assert_int_equal(qvl_answer_init(&s->answer, &set, NULL, 0, &err), QVL_OK);
    return s;
}

static void close_speaker(struct speaker *s)
{
    qvl_answer_free(&s->answer);
    qvl_constrained_close(&s->constrained);
    qvl_bytes_free(&s->text);
    free(s);
}

static uint32_t byte_token(char byte)
{
    for (uint32_t id = 0; id < N_VOCAB; id++) {
        size_t n = 0;
        const char *bytes = qvl_tokenizer_bytes(tokenizer, id, &n);
        if (n == 1 && bytes[0] == byte)
            return id;
    }
    fail_msg("no token for %c", byte);
    return 0;
}

/* One step of a model that wants this token most, and an end next. */
static uint32_t step(struct speaker *s, uint32_t wish)
{
    float logits[N_VOCAB] = {0};
    logits[wish] = 9;
    logits[eos] += 5;
    assert_false(s->answer.is_done);
    if (qvl_answer_step(&s->answer, logits, &err))
        fail_msg("%s", err.text);
    assert_int_equal(qvl_bytes_add(&s->text, s->answer.text.data, s->answer.text.n, &err), QVL_OK);
    return s->answer.ids[s->answer.n - 1];
}

/* The model says the text, the tags as their tokens, everything else byte by byte; it is allowed to. */
static void say(struct speaker *s, const char *text)
{
    static const char open_text[] = "<tool_call>", close_text[] = "</tool_call>";
    while (*text) {
        bool is_open = strncmp(text, open_text, sizeof open_text - 1) == 0;
        bool is_close = strncmp(text, close_text, sizeof close_text - 1) == 0;
        uint32_t id = is_open ? open_tag : is_close ? close_tag : byte_token(*text);
        if (step(s, id) != id)
            fail_msg("not allowed: %s behind %s", text, s->text.data ? s->text.data : "");
        text += is_open ? sizeof open_text - 1 : is_close ? sizeof close_text - 1 : 1;
    }
}

/* Lets the model want only what it may not. */
static void refuses(struct speaker *s, uint32_t id)
{
    assert_int_not_equal(step(s, id), id);
}

static void required_begins_with_a_call(void **state)
{
    (void)state;
    struct speaker *s = open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOL_CALLS});
    assert_int_equal(step(s, byte_token('H')), open_tag); /* the only way to begin, the end included */
    say(s, CALL_F + strlen("<tool_call>"));
    say(s, "\n" CALL_GO);
    assert_int_equal(step(s, byte_token('H')), eos); /* text is none of it */
    assert_true(s->answer.is_done);
    assert_int_equal(s->answer.finish, QVL_FINISH_STOP);
    assert_string_equal(s->text.data, CALL_F "\n" CALL_GO);
    close_speaker(s);
}

static void arguments_keep_to_the_schema(void **state)
{
    (void)state;
    struct speaker *s = open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOL_CALLS, .want_one = true});
    say(s, "<tool_call>\n{\"name\": \"");
    refuses(s, byte_token('z'));
    say(s, s->text.data[s->text.n - 1] == 'f' ? "\", \"arguments\": {" : "o\", \"arguments\": {");
    refuses(s, close_tag);
    close_speaker(s);
    s = open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOL_CALLS, .want_one = true});
    say(s, CALL_F);
    assert_true(s->answer.is_done); /* one call: nothing can follow */
    assert_int_equal(s->answer.finish, QVL_FINISH_STOP);
    close_speaker(s);
}

static void only_the_tools_of_the_choice(void **state)
{
    (void)state;
    struct speaker *s =
        open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOL_CALLS, .want_one = true, .only = "go"});
    say(s, "<tool_call>\n{\"name\": \"");
    assert_int_not_equal(step(s, byte_token('f')), byte_token('f'));
    assert_int_equal(s->text.data[s->text.n - 1] == 'g' || strstr(s->text.data, "go") != NULL, 1);
    close_speaker(s);
    static const char *const nobody[] = {"nobody"};
    struct qvl_constrained none;
    const struct qvl_constraint c = {
        .kind = QVL_CONSTRAINT_TOOL_CALLS, .text = tools, .n = sizeof tools - 1, .choice = nobody, .n_choice = 1};
    assert_int_equal(qvl_constrained_open(constraints, &c, &none, &err), QVL_ERR_ARGUMENT);
    assert_string_equal(err.text, "no tool has the name nobody");
    qvl_constrained_close(&none);
}

static void auto_is_free_until_a_call_begins(void **state)
{
    (void)state;
    uint32_t strange = qvl_tokenizer_added(tokenizer, QVL_TOK_BOX_START);
    struct speaker *s = open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOLS_AUTO});
    say(s, "Any text, {\"even\": this");
    assert_int_equal(step(s, strange), strange); /* as if nothing were said of it */
    say(s, "\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"");
    refuses(s, byte_token('z'));
    close_speaker(s);
    s = open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOLS_AUTO});
    say(s, "Look:\n" CALL_F " and then\n" CALL_GO "\n" CALL_F);
    say(s, " Done.");
    assert_int_equal(step(s, eos), eos);
    assert_true(s->answer.is_done);
    assert_string_equal(s->text.data, "Look:\n" CALL_F " and then\n" CALL_GO "\n" CALL_F " Done.");
    close_speaker(s);
}

static void auto_may_end_without_a_call_but_not_within(void **state)
{
    (void)state;
    struct speaker *s = open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOLS_AUTO});
    say(s, "No.");
    assert_int_equal(step(s, eos), eos);
    close_speaker(s);
    s = open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOLS_AUTO});
    assert_int_equal(step(s, eos), eos); /* an empty answer, too */
    close_speaker(s);
    s = open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOLS_AUTO});
    say(s, "<tool_call>");
    for (int i = 0; i < MAX_STEPS - 1 && s->answer.is_in_call; i++)
        assert_int_not_equal(step(s, eos), eos);
    assert_false(s->answer.is_in_call); /* what was left of choices has come to an end */
    assert_int_equal(step(s, eos), eos);
    close_speaker(s);
}

static void auto_with_one_call_ends_behind_it(void **state)
{
    (void)state;
    struct speaker *s = open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOLS_AUTO, .want_one = true});
    say(s, "Look: " CALL_GO);
    assert_true(s->answer.is_done);
    assert_int_equal(s->answer.finish, QVL_FINISH_STOP);
    assert_string_equal(s->text.data, "Look: " CALL_GO);
    close_speaker(s);
}

/* A tag in the reasoning begins nothing; behind it the blank line is no part of the answer. */
static void reasoning_is_free(void **state)
{
    (void)state;
    uint32_t end = qvl_tokenizer_added(tokenizer, QVL_TOK_THINK_END);
    static const enum qvl_constraint_kind kinds[] = {QVL_CONSTRAINT_TOOL_CALLS, QVL_CONSTRAINT_TOOLS_AUTO};
    for (int i = 0; i < 2; i++) {
        struct speaker *s = open_speaker((struct how){.kind = kinds[i], .is_thinking = true});
        say(s, "Hm. <tool_call> nonsense </tool_call> ");
        assert_int_equal(step(s, end), end);
        struct qvl_ids blank = {0};
        assert_int_equal(qvl_tokenizer_encode(tokenizer, "\n\n", 2, false, &blank, &err), QVL_OK);
        if (blank.n == 1)
            assert_int_equal(step(s, blank.id[0]), blank.id[0]);
        bool is_silent = blank.n == 1 && kinds[i] == QVL_CONSTRAINT_TOOL_CALLS;
        if (is_silent)
            assert_int_equal(s->answer.text.n, 0);
        qvl_ids_free(&blank);
        say(s, CALL_GO);
        assert_int_equal(step(s, eos), eos);
        const char *behind = strstr(s->text.data, "</think>");
        assert_non_null(behind);
        behind += strlen("</think>") + (is_silent ? 0 : strspn(behind + strlen("</think>"), "\n"));
        assert_string_equal(behind, CALL_GO);
        close_speaker(s);
    }
}

static void what_is_certain_is_guessed(void **state)
{
    (void)state;
    uint32_t guess[64];
    struct qvl_ids head = {0};
    struct speaker *s =
        open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOL_CALLS, .want_one = true, .only = "go"});
    static const char inside[] = "\n{\"name\": \"go\", \"arguments\": {}}\n";
    assert_int_equal(qvl_tokenizer_encode(tokenizer, inside, sizeof inside - 1, false, &head, &err), QVL_OK);
    size_t n = qvl_answer_guess(&s->answer, guess, 64);
    assert_int_equal(n, head.n + 2); /* the whole call, tags included */
    assert_int_equal(guess[0], open_tag);
    assert_memory_equal(guess + 1, head.id, head.n * sizeof *guess);
    assert_int_equal(guess[n - 1], close_tag);
    assert_int_equal(qvl_answer_guess(&s->answer, guess, 2), 2);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(step(s, guess[i]), guess[i]);
    assert_true(s->answer.is_done);
    qvl_ids_free(&head);
    close_speaker(s);
    s = open_speaker((struct how){.kind = QVL_CONSTRAINT_TOOLS_AUTO});
    assert_int_equal(qvl_answer_guess(&s->answer, guess, 64), 0);
    say(s, "<tool_call>");
    assert_true(qvl_answer_guess(&s->answer, guess, 64) > 0);
    close_speaker(s);
}

/* ---- a whole engine, with a Thinking model of random weights ---------------------------------------- */

/* The answer's text behind its reasoning, and whether there was any reasoning. */
static bool run(const struct qvl_engine *on, const struct qvl_chat *chat, const struct qvl_constraint *c,
                uint64_t seed, struct qvl_bytes *out)
{
    struct qvl_request_options options = {
        .sampling = {.temperature = 1.5f, .top_p = 1, .repetition_penalty = 1, .seed = seed},
        .max_tokens = 300,
        .no_loop_guard = true,
        .constraint = *c};
    struct qvl_request *request = NULL;
    struct qvl_event event;
    bool has_reasoning = false;
    out->n = 0;
    if (qvl_request_open((struct qvl_engine *)on, chat, &options, &request, &err))
        fail_msg("%s", err.text);
    do {
        if (qvl_request_next(request, &event, &err))
            fail_msg("%s", err.text);
        if (event.kind != QVL_EVENT_TEXT)
            continue;
        has_reasoning = has_reasoning || event.text.is_reasoning;
        if (!event.text.is_reasoning)
            assert_int_equal(qvl_bytes_add(out, event.text.utf8, event.text.n, &err), QVL_OK);
    } while (event.kind != QVL_EVENT_DONE);
    qvl_request_close(request);
    return has_reasoning;
}

/* An open message has no reasoning before it goes on, and a constraint holds from the first token. */
static void an_open_message_goes_on(void **state)
{
    (void)state;
    struct qvl_engine *on = NULL;
    struct qvl_bytes text = {0};
    struct qvl_engine_options options = {.model_dir = model_folder('c'), .n_thread = 2, .n_ctx = 1024};
    assert_int_equal(qvl_engine_open(&options, &on, &err), QVL_OK);
    assert_int_equal(qvl_engine_load(on, &err), QVL_OK);
    struct qvl_part ask = {.kind = QVL_PART_TEXT, .utf8 = "Say it.", .n = 7};
    struct qvl_part said = {.kind = QVL_PART_TEXT, .utf8 = "The answer is ", .n = 14};
    const struct qvl_message messages[] = {{.role = QVL_ROLE_USER, .parts = &ask, .n_part = 1},
                                           {.role = QVL_ROLE_ASSISTANT, .parts = &said, .n_part = 1}};
    struct qvl_chat chat = {.messages = messages, .n_message = 2, .is_open = true, .tools_json = tools};
    const struct qvl_constraint regex = {.kind = QVL_CONSTRAINT_REGEX, .text = "[ab]{3}", .n = 7};
    const struct qvl_constraint calls = {
        .kind = QVL_CONSTRAINT_TOOL_CALLS, .text = tools, .n = sizeof tools - 1, .want_one_call = true};
#define HEAD "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":"
#define TAIL "}}\n</tool_call>"
    static const char *const possible[] = {CALL_GO, HEAD " \"x\"" TAIL, HEAD "\"x\"" TAIL, HEAD " \"yy\"" TAIL,
                                           HEAD "\"yy\"" TAIL};
    assert_false(run(on, &chat, &regex, 1, &text));
    assert_int_equal(text.n, 3);
    assert_int_equal(strspn(text.data, "ab"), 3);
    for (uint64_t seed = 0; seed < 8; seed++) {
        assert_false(run(on, &chat, &calls, seed, &text));
        size_t k = 0; /* a space more or less */
        while (k < sizeof possible / sizeof *possible && strcmp(text.data, possible[k]) != 0)
            k++;
        if (k == sizeof possible / sizeof *possible)
            fail_msg("%s", text.data);
    }
    chat.is_open = false;
    chat.n_message = 1;
    assert_true(run(on, &chat, &(struct qvl_constraint){0}, 1, &text));
    qvl_bytes_free(&text);
    qvl_engine_close(on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(required_begins_with_a_call),
        cmocka_unit_test(arguments_keep_to_the_schema),
        cmocka_unit_test(only_the_tools_of_the_choice),
        cmocka_unit_test(auto_is_free_until_a_call_begins),
        cmocka_unit_test(auto_may_end_without_a_call_but_not_within),
        cmocka_unit_test(auto_with_one_call_ends_behind_it),
        cmocka_unit_test(reasoning_is_free),
        cmocka_unit_test(what_is_certain_is_guessed),
        cmocka_unit_test(an_open_message_goes_on),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
