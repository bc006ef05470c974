/* Scored tokens: the logits are those that an answer is made of, wherever the prompt is cut; what the tokens follow
 * may be nothing. */
#include "qvl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../golden/golden_model.h"
#include "model_folder.h"

enum { SIDE = 192, N_TOP = 8, N_ANSWER = 24 };

static uint8_t pixels[SIDE * SIDE * 3];

static struct qvl_engine *open_engine(struct qvl_engine_options options)
{
    struct qvl_engine *e = NULL;
    options.n_thread = 2;
    options.n_ctx = 2048;
    assert_int_equal(open_loaded(options, &e), 0);
    return e;
}

struct score {
    float *logits; /* [n, n_logit] */
    size_t n, n_logit, i_first;
};

static void take(void *user, size_t i, const float *logits, size_t n_logit)
{
    struct score *s = user;
    if (s->n == 0)
        s->i_first = i;
    assert_int_equal(i, s->i_first + s->n); /* in order */
    s->n_logit = n_logit;
    s->logits = realloc(s->logits, (s->n + 1) * n_logit * sizeof *logits);
    assert_non_null(s->logits);
    memcpy(s->logits + s->n++ * n_logit, logits, n_logit * sizeof *logits);
}

static const struct qvl_request_options greedy = {.sampling = {.top_p = 1, .repetition_penalty = 1},
                                                  .max_tokens = N_ANSWER,
                                                  .ignore_eos = true,
                                                  .no_loop_guard = true,
                                                  .n_top_logits = N_TOP};

/* A picture and a question. */
static struct qvl_request *open_request(struct qvl_engine *e, const struct qvl_request_options *options)
{
    static const char question[] = "What is to be seen here, and what is not?";
    static struct qvl_frame frame;
    frame = (struct qvl_frame){SIDE, SIDE, SIDE * 3, pixels, 0};
    struct qvl_part part[] = {
        {.kind = QVL_PART_IMAGE, .source = {.from = QVL_FROM_FRAMES, .n_frame = 1, .frames = &frame}},
        {.kind = QVL_PART_TEXT, .utf8 = question, .n = sizeof question - 1}};
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = part, .n_part = 2};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    struct qvl_request *request = NULL;
    struct qvl_error err = {0};
    if (qvl_request_open(e, &chat, options, &request, &err))
        fail_msg("%s", err.text);
    return request;
}

static void run(struct qvl_request *request, struct qvl_token_logit top[N_ANSWER][N_TOP], uint32_t *ids)
{
    struct qvl_event event = {0};
    struct qvl_error err = {0};
    size_t n = 0;
    while (event.kind != QVL_EVENT_DONE) {
        if (qvl_request_next(request, &event, &err))
            fail_msg("%s", err.text);
        if (event.kind == QVL_EVENT_TEXT) {
            assert_non_null(ids); /* a scored request has no text */
            memcpy(top[n], event.text.top, sizeof *top);
            ids[n++] = event.text.id;
        }
    }
    qvl_request_close(request);
}

static struct score score(struct qvl_engine *e, const uint32_t *ids, size_t n, bool has_chat)
{
    struct score s = {0};
    struct qvl_request_options wish = greedy;
    struct qvl_request *request = NULL;
    struct qvl_error err = {0};
    wish.scoring = (struct qvl_scoring){ids, n, take, &s};
    if (has_chat)
        request = open_request(e, &wish);
    else if (qvl_request_open(e, &(struct qvl_chat){0}, &wish, &request, &err))
        fail_msg("%s", err.text);
    run(request, NULL, NULL);
    return s;
}

/* The best of an answer's tokens have the bits of the scores, in every format: of a packed head they are among the
 * rows that are computed again. */
static void an_answer_scored(void **state)
{
    static const struct qvl_engine_options format[] = {{.n_prefill_chunk = 7},
                                                       {.kv = QVL_KV_INT8, .n_prefill_chunk = 50},
                                                       {.quantize = QVL_QUANTIZE_Q8, .n_prefill_chunk = 16},
                                                       {.quantize = QVL_QUANTIZE_Q4}};
    (void)state;
    for (size_t f = 0; f < sizeof format / sizeof *format; f++) {
        struct qvl_token_logit top[N_ANSWER][N_TOP];
        uint32_t ids[N_ANSWER];
        struct qvl_engine *e = open_engine(format[f]);
        run(open_request(e, &greedy), top, ids);
        struct score s = score(e, ids, N_ANSWER, true);
        assert_int_equal(s.n, N_ANSWER);
        assert_int_equal(s.i_first, 0);
        for (size_t i = 0; i < N_ANSWER; i++)
            for (size_t k = 0; k < N_TOP; k++)
                assert_memory_equal(&s.logits[i * s.n_logit + top[i][k].id], &top[i][k].logit, sizeof(float));
        free(s.logits);
        qvl_engine_close(e);
    }
}

/* Token 0 is expected by none; each other one by a row whose bits do not depend on where the text is cut. */
static void a_text_alone(void **state)
{
    static const uint32_t ids[] = {40, 7, 300, 300, 12, 99, 101, 2, 2, 2, 63};
    const size_t n = sizeof ids / sizeof *ids;
    struct qvl_engine *whole = open_engine((struct qvl_engine_options){0});
    struct qvl_engine *cut = open_engine((struct qvl_engine_options){.n_prefill_chunk = 3});
    (void)state;
    struct score a = score(whole, ids, n, false), b = score(cut, ids, n, false), c = score(cut, ids, 2, false);
    assert_int_equal(a.n, n - 1);
    assert_int_equal(a.i_first, 1);
    assert_int_equal(b.n, n - 1);
    assert_memory_equal(a.logits, b.logits, a.n * a.n_logit * sizeof(float));
    assert_int_equal(c.n, 1);
    assert_memory_equal(a.logits, c.logits, a.n_logit * sizeof(float));
    free(a.logits);
    free(b.logits);
    free(c.logits);
    qvl_engine_close(whole);
    qvl_engine_close(cut);
}

static void bad_wishes(void **state)
{
    static const uint32_t ids[] = {1, 4000000};
    struct qvl_engine *e = open_engine((struct qvl_engine_options){0});
    struct qvl_session *session = NULL;
    struct qvl_request *request = NULL;
    struct qvl_error err = {0};
    struct score s = {0};
    struct qvl_request_options wish = greedy;
    (void)state;
    wish.scoring = (struct qvl_scoring){ids, 1, take, &s};
    assert_int_equal(qvl_request_open(e, &(struct qvl_chat){0}, &wish, &request, &err), QVL_ERR_ARGUMENT);
    assert_string_equal(err.text, "1 tokens to score: it must be 2 to 1048576");
    wish.scoring.n_id = 2;
    assert_int_equal(qvl_request_open(e, &(struct qvl_chat){0}, &wish, &request, &err), QVL_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "token 4000000 to score"));
    assert_int_equal(qvl_session_open(e, &session, &err), QVL_OK);
    wish.session = session;
    assert_int_equal(qvl_request_open(e, &(struct qvl_chat){0}, &wish, &request, &err), QVL_ERR_ARGUMENT);
    assert_string_equal(err.text, "tokens are scored without a session");
    qvl_session_close(session);
    wish = greedy;
    assert_int_equal(qvl_request_open(e, &(struct qvl_chat){0}, &wish, &request, &err), QVL_ERR_ARGUMENT);
    assert_string_equal(err.text, "the conversation is empty");
    qvl_engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_scored),
        cmocka_unit_test(a_text_alone),
        cmocka_unit_test(bad_wishes),
    };
    golden_picture(1, SIDE, SIDE, pixels);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
