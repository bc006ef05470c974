/* An answer under a constraint: tokens that it forbids are never chosen, however much the model wants them; end
 * tokens come where the text may end; the reasoning of a Thinking model is free; what is certain is guessed. */
#include "engine/constraint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/answer.h"
#include "model_folder.h"

enum { N_VOCAB = 582, N_WISH = 8 };

static struct qvl_tokenizer *tokenizer;
static struct qvl_token_trie trie;
static struct qvl_error err;

static int open_tokenizer(void **state)
{
    (void)state;
    return qvl_tokenizer_load(model_folder('c'), N_VOCAB, &tokenizer, &err) ||
                   qvl_token_trie_build(tokenizer, &trie, &err)
               ? -1
               : 0;
}

static int close_tokenizer(void **state)
{
    (void)state;
    qvl_token_trie_free(&trie);
    qvl_tokenizer_free(tokenizer);
    return 0;
}

struct speaker {
    struct qvl_grammar *grammar;
    struct qvl_matcher *matcher;
    struct qvl_answer answer;
    char text[256];
};

static struct speaker *open_speaker(const char *regex, bool is_thinking, bool ignore_eos, float temperature)
{
    struct speaker *s = calloc(1, sizeof *s);
    assert_non_null(s);
    assert_int_equal(qvl_grammar_from_regex(regex, strlen(regex), &s->grammar, &err), QVL_OK);
    assert_int_equal(qvl_matcher_open(s->grammar, &trie, &s->matcher, &err), QVL_OK);
    struct qvl_answer_settings set = {.tokenizer = tokenizer,
                                      .sampling = {.top_p = 1, .repetition_penalty = 1, .temperature = temperature},
                                      .max_tokens = 40,
                                      .eos = {qvl_tokenizer_added(tokenizer, QVL_TOK_IM_END)},
                                      .n_eos = ignore_eos ? 0 : 1,
                                      .is_thinking = is_thinking,
                                      .matcher = s->matcher};
    assert_int_equal(qvl_answer_init(&s->answer, &set, NULL, 0, &err), QVL_OK);
    return s;
}

static void close_speaker(struct speaker *s)
{
    qvl_answer_free(&s->answer);
    qvl_matcher_close(s->matcher);
    qvl_grammar_free(s->grammar);
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

/* One step of a model that wants the first of these most, then the next …; 0 ends the list. */
static uint32_t step(struct speaker *s, const uint32_t *wish)
{
    float logits[N_VOCAB] = {0};
    for (int i = 0; i < N_WISH && wish[i]; i++)
        logits[wish[i]] = (float)(N_WISH - i);
    assert_false(s->answer.is_done);
    assert_int_equal(qvl_answer_step(&s->answer, logits, &err), QVL_OK);
    if (s->answer.text.n)
        strncat(s->text, s->answer.text.data, s->answer.text.n);
    return s->answer.ids[s->answer.n - 1];
}

static void forbidden_tokens_are_not_chosen(void **state)
{
    (void)state;
    uint32_t eos = qvl_tokenizer_added(tokenizer, QVL_TOK_IM_END),
             start = qvl_tokenizer_added(tokenizer, QVL_TOK_IM_START);
    const uint32_t wish[N_WISH] = {byte_token('x'), start, eos, byte_token('b'), byte_token('a'), byte_token('c')};
    struct speaker *s = open_speaker("ab|abc", false, false, 0);
    assert_int_equal(step(s, wish), byte_token('a'));
    assert_int_equal(step(s, wish), byte_token('b'));
    assert_int_equal(step(s, wish), eos); /* from here on */
    assert_true(s->answer.is_done);
    assert_int_equal(s->answer.finish, QVL_FINISH_STOP);
    assert_string_equal(s->text, "ab");
    close_speaker(s);
}

static void answer_ends_where_nothing_can_follow(void **state)
{
    (void)state;
    const uint32_t wish[N_WISH] = {byte_token('x'), byte_token('c'), byte_token('b'), byte_token('a')};
    struct speaker *s = open_speaker("ab|abc", false, true, 0);
    step(s, wish);
    step(s, wish);
    assert_false(s->answer.is_done);
    step(s, wish);
    assert_true(s->answer.is_done);
    assert_int_equal(s->answer.finish, QVL_FINISH_STOP);
    assert_int_equal(s->answer.n, 3);
    assert_string_equal(s->text, "abc");
    close_speaker(s);
}

static void reasoning_is_free_but_not_the_end(void **state)
{
    (void)state;
    uint32_t eos = qvl_tokenizer_added(tokenizer, QVL_TOK_IM_END),
             end = qvl_tokenizer_added(tokenizer, QVL_TOK_THINK_END);
    const uint32_t thought[N_WISH] = {eos, byte_token('x'), end}, last[N_WISH] = {eos, end};
    const uint32_t wish[N_WISH] = {eos, byte_token('\n'), byte_token('x'), byte_token('b')};
    struct speaker *s = open_speaker("b", true, false, 0);
    assert_int_equal(step(s, thought), byte_token('x'));
    assert_true(s->answer.is_reasoning);
    assert_int_equal(step(s, last), end);
    assert_int_equal(step(s, wish), byte_token('b'));
    assert_true(s->answer.is_done && !s->answer.is_reasoning);
    close_speaker(s);
}

static void hot_sampling_keeps_to_it(void **state)
{
    (void)state;
    const uint32_t wish[N_WISH] = {byte_token('x'), byte_token('z')};
    for (int i = 0; i < 30; i++) {
        struct speaker *s = open_speaker("[ab]{2}-(c|dd)", false, false, 50);
        s->answer.sampler.random[0] += (uint64_t)i * 12345;
        while (!s->answer.is_done)
            step(s, wish);
        assert_true(strspn(s->text, "ab") == 2 &&
                    (strcmp(s->text + 2, "-c") == 0 || strcmp(s->text + 2, "-dd") == 0));
        close_speaker(s);
    }
}

static void what_is_certain_is_guessed(void **state)
{
    (void)state;
    uint32_t guess[8];
    const uint32_t wish[N_WISH] = {byte_token('q')};
    struct speaker *s = open_speaker("[qr]certainly so", false, false, 0);
    assert_int_equal(qvl_answer_guess(&s->answer, guess, 8), 0); /* there is a choice */
    step(s, wish);
    size_t n = qvl_answer_guess(&s->answer, guess, 3);
    struct qvl_ids ids = {0};
    assert_int_equal(qvl_tokenizer_encode(tokenizer, "certainly so", 12, false, &ids, &err), QVL_OK);
    assert_int_equal(n, ids.n - 1 < 3 ? ids.n - 1 : 3);
    assert_memory_equal(guess, ids.id, n * sizeof *guess);
    qvl_ids_free(&ids);
    close_speaker(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forbidden_tokens_are_not_chosen),   cmocka_unit_test(answer_ends_where_nothing_can_follow),
        cmocka_unit_test(reasoning_is_free_but_not_the_end), cmocka_unit_test(hot_sampling_keeps_to_it),
        cmocka_unit_test(what_is_certain_is_guessed),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
