/* What a request says about the logits of its tokens, and what it does to them: logits and their sum against those
 * that the model computed, biases in every combination with what else acts on a token; and ids back to text. */
#include "qvl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/limits.h"
#include "model_folder.h"

enum { N_VOCAB_MAX = 2048, N_OUT = 40, N_TRACED = 8, N_TOP = 3 };

static struct qvl_engine *engine;
static uint32_t n_id; /* that the tokenizer has */

static int open_engine(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    char *text = NULL;
    size_t n = 0;
    if (open_loaded((struct qvl_engine_options){.n_thread = 2, .n_ctx = 2048}, &engine))
        return -1;
    while (!qvl_detokenize(engine, &n_id, 1, &text, &n, &err)) {
        qvl_free(text);
        n_id++;
    }
    return 0;
}

static int close_engine(void **state)
{
    (void)state;
    qvl_engine_close(engine);
    return 0;
}

/* What the model computed, token by token; it may be ahead of the events. */
struct model_says {
    float logits[N_TRACED][N_VOCAB_MAX];
    size_t n, i_checked;
};

static void take_logits(void *user, const char *name, enum qvl_trace_type type, const void *data, const size_t *dim,
                        size_t n_dim)
{
    struct model_says *says = user;
    if (strcmp(name, "logits") != 0)
        return;
    assert_int_equal(type, QVL_TRACE_F32);
    assert_int_equal(n_dim, 2);
    assert_int_equal(dim[0], 1);
    assert_true(n_id <= dim[1] && dim[1] <= N_VOCAB_MAX);
    assert_true(says->n < N_TRACED);
    memcpy(says->logits[says->n++], data, dim[1] * sizeof(float));
}

static struct qvl_request_options greedy(uint32_t max_tokens)
{
    return (struct qvl_request_options){.sampling = {.top_p = 1, .repetition_penalty = 1},
                                        .max_tokens = max_tokens,
                                        .ignore_eos = true,
                                        .no_loop_guard = true,
                                        .n_top_logits = N_TOP,
                                        .want_log_sum = true};
}

static enum qvl_status open_request(const struct qvl_request_options *options, struct qvl_request **out,
                                    struct qvl_error *err)
{
    static const char question[] = "How many squares are there?";
    struct qvl_part part = {.kind = QVL_PART_TEXT, .utf8 = question, .n = sizeof question - 1};
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = &part, .n_part = 1};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    return qvl_request_open(engine, &chat, options, out, err);
}

struct answer {
    size_t n, n_drafted;
    uint32_t id[N_OUT];
    float logit[N_OUT], log_sum[N_OUT];
    struct qvl_token_logit top[N_OUT][N_TOP];
    char text[1024];
};

/* `check` (may be NULL) sees each token's event. */
static struct answer ask(const struct qvl_request_options *options,
                         void (*check)(const struct qvl_event *event, const struct qvl_request_options *options))
{
    struct answer a = {0};
    struct qvl_request *request = NULL;
    struct qvl_event event = {0};
    struct qvl_error err = {0};
    struct qvl_request_info info;
    if (open_request(options, &request, &err))
        fail_msg("%s", err.text);
    while (event.kind != QVL_EVENT_DONE) {
        if (qvl_request_next(request, &event, &err))
            fail_msg("%s", err.text);
        if (event.kind != QVL_EVENT_TEXT)
            continue;
        assert_true(a.n < N_OUT);
        assert_true(strlen(a.text) + event.text.n < sizeof a.text);
        strncat(a.text, event.text.utf8, event.text.n);
        a.id[a.n] = event.text.id;
        a.logit[a.n] = event.text.logit;
        a.log_sum[a.n] = event.text.log_sum;
        memcpy(a.top[a.n++], event.text.top, sizeof a.top[0]);
        if (check)
            check(&event, options);
    }
    qvl_request_get_info(request, &info);
    a.n_drafted = info.n_drafted_tok;
    qvl_request_close(request);
    return a;
}

/* ---- logits and their sum ------------------------------------------------------------------------ */

static double log_sum_of(const float *logits)
{
    double sum = 0;
    for (uint32_t id = 0; id < n_id; id++)
        sum += exp((double)logits[id]);
    return log(sum);
}

static float bias_of(const struct qvl_request_options *options, uint32_t id)
{
    for (size_t i = 0; i < options->n_logit_bias; i++)
        if (options->logit_bias[i].id == id)
            return options->logit_bias[i].bias;
    return 0;
}

/* A greedy step, done again from what the model computed. */
static void check_step(const struct qvl_event *event, const struct qvl_request_options *options)
{
    struct model_says *says = options->trace.user;
    const float *logits = says->logits[says->i_checked++];
    uint32_t best = 0;
    for (uint32_t id = 1; id < n_id; id++)
        if (logits[id] + bias_of(options, id) > logits[best] + bias_of(options, best))
            best = id;
    assert_int_equal(event->text.id, best);
    assert_memory_equal(&event->text.logit, &logits[best], sizeof(float));
    assert_true(fabs((double)event->text.log_sum - log_sum_of(logits)) < 1e-5);
    for (size_t k = 0; k < N_TOP; k++) { /* as the model has them, whatever is chosen */
        const struct qvl_token_logit *top = &event->text.top[k];
        size_t n_better = 0;
        for (uint32_t id = 0; id < n_id; id++)
            n_better += logits[id] > top->logit;
        assert_true(n_better <= k);
        assert_memory_equal(&top->logit, &logits[top->id], sizeof(float));
    }
}

static void logits_are_the_models(void **state)
{
    (void)state;
    struct model_says *says = calloc(1, sizeof *says);
    struct qvl_request_options options = greedy(N_TRACED);
    assert_non_null(says);
    options.trace = (struct qvl_trace){says, take_logits};
    struct answer plain = ask(&options, check_step);
    assert_int_equal(plain.n, N_TRACED);

    struct qvl_logit_bias bias[2] = {{plain.id[0], -100}, {n_id - 1, 3.25f}};
    options.logit_bias = bias;
    options.n_logit_bias = 2;
    says->n = says->i_checked = 0;
    struct answer biased = ask(&options, check_step);
    assert_int_equal(biased.top[0][0].id, plain.id[0]);
    assert_int_not_equal(biased.id[0], plain.id[0]);
    free(says);
}

static void nothing_is_summed_unasked(void **state)
{
    (void)state;
    struct qvl_request_options options = greedy(4);
    options.want_log_sum = false;
    struct answer a = ask(&options, NULL);
    for (size_t i = 0; i < a.n; i++)
        assert_true(a.logit[i] == 0 && a.log_sum[i] == 0);
}

/* ---- bias ---------------------------------------------------------------------------------------- */

static void a_hundred_decides(void **state)
{
    (void)state;
    struct qvl_logit_bias bias[QVL_MAX_LOGIT_BIAS];
    struct qvl_request_options options = greedy(12);
    options.sampling = (struct qvl_sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 3};
    options.logit_bias = bias;
    bias[0] = (struct qvl_logit_bias){7, 100};
    options.n_logit_bias = 1;
    struct answer a = ask(&options, NULL);
    for (size_t i = 0; i < a.n; i++)
        assert_int_equal(a.id[i], 7);
    assert_true(n_id > 40 && n_id - 1 <= QVL_MAX_LOGIT_BIAS);
    options.n_logit_bias = 0; /* all are forbidden but one */
    for (uint32_t id = 0; id < n_id; id++)
        if (id != 33)
            bias[options.n_logit_bias++] = (struct qvl_logit_bias){id, -100};
    a = ask(&options, NULL);
    for (size_t i = 0; i < a.n; i++)
        assert_int_equal(a.id[i], 33);
}

/* Guesses are sampled as if each were alone. */
static void the_same_bits_with_guesses(void **state)
{
    (void)state;
    struct qvl_logit_bias bias[] = {{40, 20}, {9, 20}, {77, 20}, {50, 20}, {12, 20}};
    struct qvl_request_options options = greedy(N_OUT);
    options.logit_bias = bias;
    options.n_logit_bias = sizeof bias / sizeof *bias;
    struct answer guessed = ask(&options, NULL);
    options.no_lookup = true;
    struct answer alone = ask(&options, NULL);
    assert_true(guessed.n_drafted > 0);
    assert_int_equal(alone.n_drafted, 0);
    guessed.n_drafted = 0;
    assert_memory_equal(&guessed, &alone, sizeof alone);
}

/* Among the texts that a constraint allows a bias chooses; what it forbids stays forbidden. */
static void bias_under_a_constraint(void **state)
{
    (void)state;
    const char *const choice[] = {"1", "2"};
    uint32_t *one = NULL, *two = NULL;
    size_t n_one = 0, n_two = 0;
    struct qvl_error err = {0};
    assert_int_equal(qvl_tokenize(engine, "1", 1, false, &one, &n_one, &err), QVL_OK);
    assert_int_equal(qvl_tokenize(engine, "2", 1, false, &two, &n_two, &err), QVL_OK);
    assert_true(n_one == 1 && n_two == 1);
    for (int i = 0; i < 2; i++) {
        struct qvl_logit_bias bias[] = {{i ? *one : *two, -100}, {5, 100}};
        struct qvl_request_options options = greedy(4);
        options.constraint =
            (struct qvl_constraint){.kind = QVL_CONSTRAINT_CHOICE, .choice = choice, .n_choice = 2};
        options.logit_bias = bias;
        options.n_logit_bias = 2;
        struct answer a = ask(&options, NULL);
        assert_string_equal(a.text, i ? "2" : "1");
        options.constraint.n_choice = 1; /* nothing else may be said */
        a = ask(&options, NULL);
        assert_string_equal(a.text, "1");
    }
    qvl_free(one);
    qvl_free(two);
}

static void biases_out_of_bounds_are_refused(void **state)
{
    (void)state;
    struct qvl_logit_bias many[QVL_MAX_LOGIT_BIAS + 1];
    const struct {
        struct qvl_logit_bias bias[2];
        const char *sentence; /* NULL: fine */
    } row[] = {
        {{{n_id - 1, 100}, {0, -100}}, NULL},
        {{{n_id, 1}, {0, 1}}, "the model has"},
        {{{UINT32_MAX, 1}, {0, 1}}, "a bias for token 4294967295"},
        {{{3, 1}, {3, 1}}, "token 3 has two biases"},
        {{{3, 100.01f}, {0, 1}}, "the bias of token 3 is 100.01"},
        {{{3, -100.01f}, {0, 1}}, "from -100 to 100"},
        {{{3, NAN}, {0, 1}}, "the bias of token 3 is nan"},
        {{{3, INFINITY}, {0, 1}}, "the bias of token 3 is inf"},
    };
    struct qvl_request *request = NULL;
    struct qvl_error err = {0};
    struct qvl_request_options options = greedy(1);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        options.logit_bias = row[i].bias;
        options.n_logit_bias = 2;
        assert_int_equal(open_request(&options, &request, &err), row[i].sentence ? QVL_ERR_ARGUMENT : QVL_OK);
        if (row[i].sentence)
            assert_non_null(strstr(err.text, row[i].sentence));
        else
            qvl_request_close(request);
    }
    for (uint32_t i = 0; i <= QVL_MAX_LOGIT_BIAS; i++)
        many[i] = (struct qvl_logit_bias){i, 1};
    options.logit_bias = many;
    options.n_logit_bias = QVL_MAX_LOGIT_BIAS + 1;
    assert_int_equal(open_request(&options, &request, &err), QVL_ERR_LIMIT);
    assert_non_null(strstr(err.text, "1025"));
    options.n_logit_bias = QVL_MAX_LOGIT_BIAS; /* then the ids are looked at, of which this model has fewer */
    assert_int_equal(open_request(&options, &request, &err), QVL_ERR_ARGUMENT);
}

/* ---- text of ids --------------------------------------------------------------------------------- */

static void assert_text(const uint32_t *ids, size_t n, const char *want, size_t n_want)
{
    char *text = NULL;
    size_t n_text = 0;
    struct qvl_error err = {0};
    assert_int_equal(qvl_detokenize(engine, ids, n, &text, &n_text, &err), QVL_OK);
    assert_int_equal(n_text, n_want);
    assert_memory_equal(text, want, n_want);
    assert_int_equal(text[n_text], 0);
    qvl_free(text);
}

static void ids_become_the_text_they_were(void **state)
{
    static const char text[] =
        "<|im_start|>user\nNa\xC3\xAFve \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x99\x82!<|im_end|>";
    (void)state;
    struct qvl_error err = {0};
    uint32_t *ids = NULL;
    size_t n = 0;
    for (int want_special = 0; want_special < 2; want_special++) {
        assert_int_equal(qvl_tokenize(engine, text, strlen(text), want_special, &ids, &n, &err), QVL_OK);
        assert_text(ids, n, text, strlen(text));
        qvl_free(ids);
    }
    assert_text(NULL, 0, "", 0);
    assert_int_equal(qvl_tokenize(engine, "a\0b", 3, false, &ids, &n, &err), QVL_OK);
    assert_text(ids, n, "a\0b", 3);
    qvl_free(ids);
}

/* Of a character of three bytes, one token each, only two. */
static void half_a_character_is_replaced(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    uint32_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(qvl_tokenize(engine, "\xE2\x98\x83x", 4, false, &ids, &n, &err), QVL_OK);
    assert_int_equal(n, 4); /* the test's model has no token of this snowman */
    assert_text(ids, 2, "\xEF\xBF\xBD", 3);
    ids[2] = ids[3];
    assert_text(ids, 3, "\xEF\xBF\xBDx", 4);
    qvl_free(ids);
}

static void an_id_that_is_none_is_refused(void **state)
{
    (void)state;
    const uint32_t ids[] = {1, n_id}, last = UINT32_MAX;
    struct qvl_error err = {0};
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(qvl_detokenize(engine, ids, 2, &text, &n, &err), QVL_ERR_ARGUMENT);
    assert_int_equal(qvl_detokenize(engine, &last, 1, &text, &n, &err), QVL_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "4294967295"));
    assert_null(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_the_models),
        cmocka_unit_test(nothing_is_summed_unasked),
        cmocka_unit_test(a_hundred_decides),
        cmocka_unit_test(the_same_bits_with_guesses),
        cmocka_unit_test(bias_under_a_constraint),
        cmocka_unit_test(biases_out_of_bounds_are_refused),
        cmocka_unit_test(ids_become_the_text_they_were),
        cmocka_unit_test(half_a_character_is_replaced),
        cmocka_unit_test(an_id_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
