/* Whole conversations through qvl.h against transformers (vectors.h): clips in both forms of the prompt, beside
 * each other and beside pictures, a picture in a tool's result, five turns; every id of the prompt and of the
 * greedy answer. The turns are a chat as a user has it: each answer, as text, is part of the next prompt; with a
 * session and without. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conversation.h"
#include "golden_run.h"

static const char *const cases[] = {"one_clip",          "one_clip_wrapped",     "two_clips",
                                    "two_clips_wrapped", "picture_clip",         "picture_clip_wrapped",
                                    "clip_picture",      "clip_picture_wrapped", "tools"};

struct one_model {
    char letter;
    struct golden_vectors vectors;
    struct qvl_engine *engine;
};

static void open_model(char letter, uint32_t n_chunk, struct one_model *out)
{
    struct qvl_engine_options options = {.model_dir = golden_folder(letter),
                                         .compute = QVL_COMPUTE_F32,
                                         .n_thread = 2,
                                         .n_ctx = 4096,
                                         .n_prefill_chunk = n_chunk};
    struct qvl_error err = {0};
    *out = (struct one_model){.letter = letter};
    golden_vectors_open(letter, &out->vectors);
    if (qvl_engine_open(&options, &out->engine, &err) || qvl_engine_load(out->engine, &err))
        fail_msg("%s", err.text);
}

static void close_model(struct one_model *m)
{
    qvl_engine_close(m->engine);
    golden_vectors_close(&m->vectors);
}

static void compare_ids(const struct one_model *m, const char *test_case, const char *what, const uint32_t *id,
                        size_t n)
{
    const struct golden_vector *v = golden_vectors_find(&m->vectors, test_case, what);
    assert_non_null(v);
    for (size_t i = 0; i < n && i < v->dim[0]; i++)
        if ((int32_t)id[i] != ((const int32_t *)v->data)[i])
            fail_msg("model %c, %s: %s %zu is %u, the reference has %d", m->letter, test_case, what, i, id[i],
                     ((const int32_t *)v->data)[i]);
    assert_int_equal(n, v->dim[0]);
}

/* The answer to a case, compared; the caller frees it. */
static void run_case(const struct one_model *m, struct qvl_session *session, const char *test_case,
                     const struct golden_answer *earlier, struct golden_answer *out)
{
    struct golden_conversation conversation;
    const struct golden_vector *generated = golden_vectors_find(&m->vectors, test_case, "generated");
    assert_non_null(generated);
    golden_conversation_make(&m->vectors, test_case, earlier, &conversation);
    golden_conversation_run(m->engine, session, &m->vectors, test_case, &conversation, generated->dim[0], out);
    golden_conversation_free(&conversation);
    compare_ids(m, test_case, "ids", out->prompt_id, out->n_prompt);
    compare_ids(m, test_case, "generated", out->id, out->n);
}

static void test_clips_and_tools(void **state)
{
    (void)state;
    for (const char *letter = GOLDEN_LETTERS; *letter; letter++) {
        struct one_model m;
        open_model(*letter, 0, &m);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct golden_answer answer;
            if (!golden_vectors_find(&m.vectors, cases[i], "ids")) {
                assert_true(*letter == 'c' && strcmp(cases[i], "tools") == 0);
                continue;
            }
            run_case(&m, NULL, cases[i], NULL, &answer);
            golden_answer_free(&answer);
        }
        close_model(&m);
    }
}

/* How many positions of the cache that `before` left `now` can keep: its last token was never put into the model,
 * and one of the prompt is always computed. */
static size_t n_shared(const struct golden_answer *before, const struct golden_answer *now)
{
    size_t n = 0;
    while (n < before->n_prompt + before->n - 1 && n + 1 < now->n_prompt &&
           now->prompt_id[n] == (n < before->n_prompt ? before->prompt_id[n] : before->id[n - before->n_prompt]))
        n++;
    return n;
}

static void chat(struct one_model *m, struct qvl_session *session)
{
    struct golden_answer answer[GOLDEN_N_TURN];
    for (size_t i = 0; i < GOLDEN_N_TURN; i++) {
        char turn[32];
        snprintf(turn, sizeof turn, "turn%zu", i + 1);
        run_case(m, session, turn, answer, &answer[i]);
        assert_int_equal(answer[i].n_cached, session && i > 0 ? n_shared(&answer[i - 1], &answer[i]) : 0);
    }
    for (size_t i = 0; i < GOLDEN_N_TURN; i++)
        golden_answer_free(&answer[i]);
}

static void test_turns(void **state)
{
    static const uint32_t chunks[] = {0, 7};
    (void)state;
    for (const char *letter = GOLDEN_LETTERS; *letter; letter++) {
        for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
            struct one_model m;
            struct qvl_session *session = NULL;
            struct qvl_error err = {0};
            open_model(*letter, chunks[i], &m);
            if (i == 0)
                chat(&m, NULL);
            if (qvl_session_open(m.engine, &session, &err))
                fail_msg("%s", err.text);
            chat(&m, session);
            qvl_session_close(session);
            close_model(&m);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clips_and_tools),
        cmocka_unit_test(test_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
