/* Which text of an answer is reasoning: what a Thinking model says up to and with "</think>", never mixed with what
 * follows, whatever was held back. */
#include "engine/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "model_folder.h"

enum { N_VOCAB = 582, MAX_TEXT = 256 };

static struct qvl_tokenizer *tokenizer;

static int open_tokenizer(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    return qvl_tokenizer_load(model_folder('c'), N_VOCAB, &tokenizer, &err) ? -1 : 0;
}

static int close_tokenizer(void **state)
{
    (void)state;
    qvl_tokenizer_free(tokenizer);
    return 0;
}

/* What the answer let out, by kind. */
struct heard {
    struct qvl_answer answer;
    char reasoning[MAX_TEXT], text[MAX_TEXT];
};

static struct heard *open_answer(bool is_thinking, const char *const *stop, size_t n_stop)
{
    struct heard *h = calloc(1, sizeof *h);
    struct qvl_error err = {0};
    assert_non_null(h);
    struct qvl_answer_settings set = {.tokenizer = tokenizer,
                                      .sampling = {.top_p = 1, .repetition_penalty = 1},
                                      .max_tokens = 64,
                                      .eos = {qvl_tokenizer_added(tokenizer, QVL_TOK_IM_END)},
                                      .n_eos = 1,
                                      .stop = stop,
                                      .n_stop = n_stop,
                                      .is_thinking = is_thinking};
    assert_int_equal(qvl_answer_init(&h->answer, &set, NULL, 0, &err), QVL_OK);
    return h;
}

static void close_answer(struct heard *h)
{
    qvl_answer_free(&h->answer);
    free(h);
}

/* The model chooses this token. */
static void say_id(struct heard *h, uint32_t id)
{
    float logits[N_VOCAB] = {0};
    struct qvl_error err = {0};
    assert_false(h->answer.is_done);
    assert_in_range(id, 0, N_VOCAB - 1);
    logits[id] = 1;
    assert_int_equal(qvl_answer_step(&h->answer, logits, &err), QVL_OK);
    assert_int_equal(h->answer.ids[h->answer.n - 1], id);
    char *to = h->answer.is_reasoning ? h->reasoning : h->text;
    assert_true(strlen(to) + h->answer.text.n < MAX_TEXT);
    if (h->answer.text.n)
        strncat(to, h->answer.text.data, h->answer.text.n);
}

static void say_token(struct heard *h, enum qvl_added_token which)
{
    say_id(h, qvl_tokenizer_added(tokenizer, which));
}

/* The token of one raw byte. */
static void say_byte(struct heard *h, unsigned char byte)
{
    for (uint32_t id = 0; id < N_VOCAB; id++) {
        size_t n = 0;
        const char *bytes = qvl_tokenizer_bytes(tokenizer, id, &n);
        if (n == 1 && (unsigned char)bytes[0] == byte) {
            say_id(h, id);
            return;
        }
    }
    fail_msg("no token for byte %u", byte);
}

static void say(struct heard *h, const char *text)
{
    for (; *text && !h->answer.is_done; text++)
        say_byte(h, (unsigned char)*text);
}

static void reasoning_ends_with_its_token(void **state)
{
    (void)state;
    struct heard *h = open_answer(true, NULL, 0);
    say(h, "a red one?");
    assert_true(h->answer.is_reasoning);
    say_token(h, QVL_TOK_THINK_END);
    assert_true(h->answer.is_reasoning);
    assert_string_equal(h->reasoning, "a red one?</think>");
    say(h, "\n\nRed");
    assert_false(h->answer.is_reasoning);
    say_token(h, QVL_TOK_THINK_END); /* once more: text like any other */
    say_token(h, QVL_TOK_IM_END);
    assert_false(h->answer.is_reasoning);
    assert_true(h->answer.is_done);
    assert_string_equal(h->reasoning, "a red one?</think>");
    assert_string_equal(h->text, "\n\nRed</think>");
    close_answer(h);
}

static void an_instruct_model_does_not_reason(void **state)
{
    (void)state;
    struct heard *h = open_answer(false, NULL, 0);
    say(h, "x");
    say_token(h, QVL_TOK_THINK);
    say(h, "y");
    say_token(h, QVL_TOK_THINK_END);
    say(h, "z");
    assert_string_equal(h->reasoning, "");
    assert_string_equal(h->text, "x<think>y</think>z");
    close_answer(h);
}

/* The end written letter by letter is text of the reasoning. */
static void only_the_token_ends_it(void **state)
{
    (void)state;
    struct heard *h = open_answer(true, NULL, 0);
    say(h, "</think>no");
    assert_true(h->answer.is_reasoning);
    assert_string_equal(h->reasoning, "</think>no");
    close_answer(h);
}

static void a_character_cut_by_the_end_stays_reasoning(void **state)
{
    (void)state;
    struct heard *h = open_answer(true, NULL, 0);
    say_byte(h, 0xE7); /* the first two of three bytes */
    say_byte(h, 0xBA);
    assert_string_equal(h->reasoning, "");
    say_token(h, QVL_TOK_THINK_END);
    say_byte(h, 0xA2); /* the third comes too late */
    say(h, ".");
    assert_string_equal(h->reasoning, "\xEF\xBF\xBD</think>");
    assert_string_equal(h->text, "\xEF\xBF\xBD.");
    close_answer(h);
}

/* Text held back for a stop string comes out on its own side. */
static void held_text_does_not_cross_the_end(void **state)
{
    (void)state;
    const char *const stop[] = {"</think>\n\nNo", "END"};
    struct heard *h = open_answer(true, stop, 2);
    say(h, "the E");
    assert_string_equal(h->reasoning, "the ");
    say_token(h, QVL_TOK_THINK_END);
    assert_string_equal(h->reasoning, "the E</think>");
    say(h, "ND\n\nNo E");
    assert_false(h->answer.is_done); /* neither stop string lies within one side */
    assert_string_equal(h->text, "ND\n\nNo ");
    say(h, "ND");
    assert_true(h->answer.is_done);
    assert_string_equal(h->answer.met_stop, "END");
    assert_string_equal(h->reasoning, "the E</think>");
    assert_string_equal(h->text, "ND\n\nNo ");
    close_answer(h);
}

static void a_stop_string_may_end_the_reasoning(void **state)
{
    (void)state;
    const char *const stop[] = {"</think>"};
    struct heard *h = open_answer(true, stop, 1);
    say(h, "hm <");
    assert_string_equal(h->reasoning, "hm ");
    say(h, "a");
    say_token(h, QVL_TOK_THINK_END);
    assert_true(h->answer.is_done);
    assert_string_equal(h->answer.met_stop, "</think>");
    assert_string_equal(h->reasoning, "hm <a");
    assert_string_equal(h->text, "");
    close_answer(h);
}

/* The answer ends inside the reasoning: what was held is reasoning. */
static void an_end_inside_the_reasoning_lets_out_what_was_held(void **state)
{
    (void)state;
    const char *const stop[] = {"abcd"};
    struct heard *h = open_answer(true, stop, 1);
    say(h, "abc");
    say_token(h, QVL_TOK_IM_END);
    assert_true(h->answer.is_done && h->answer.is_reasoning);
    assert_string_equal(h->reasoning, "abc");
    assert_string_equal(h->text, "");
    close_answer(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasoning_ends_with_its_token),
        cmocka_unit_test(an_instruct_model_does_not_reason),
        cmocka_unit_test(only_the_token_ends_it),
        cmocka_unit_test(a_character_cut_by_the_end_stays_reasoning),
        cmocka_unit_test(held_text_does_not_cross_the_end),
        cmocka_unit_test(a_stop_string_may_end_the_reasoning),
        cmocka_unit_test(an_end_inside_the_reasoning_lets_out_what_was_held),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
