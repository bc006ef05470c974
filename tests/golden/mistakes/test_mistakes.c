/* Each mistake that ports of this model make (model/mistake.h), switched on in a build of the model and engine
 * rooms of its own, makes the comparison with the reference fail; with none of them on, it passes. */
#include <stdio.h>
#include <string.h>

#include "../conversation.h"
#include "../golden_run.h"
#include "model/mistake.h"

#define LIMIT 2e-4 /* as in test_reference.c */

/* clang-format off */
static const char *const name[] = {
    "none",
#define X(name) #name,
    QVL_MISTAKE_LIST(X)
#undef X
};
/* clang-format on */

static const char *const picture_cases[] = {"text", "one", "three", "far", NULL};
static const char *const clip_cases[] = {"clip", "two_clips_wrapped", "clip_picture", NULL};

/* Mistakes that a clip shows must be seen in one; pictures may show them, too. */
static bool is_of_clips(enum qvl_mistake mistake)
{
    return mistake == QVL_MISTAKE_ATTENTION_ACROSS_FRAMES || mistake == QVL_MISTAKE_FIRST_FRAME_TWICE ||
           mistake == QVL_MISTAKE_BLACK_PADDING;
}

/* Number of cases of the model that are beyond the limit. */
static size_t n_beyond_of(struct golden *g, const char *const *cases, enum qvl_mistake mistake)
{
    size_t n = 0;
    for (; *cases; cases++) {
        struct golden_result r;
        golden_compare(g, *cases, LIMIT, &r);
        n += r.first_above[0] != 0;
        if (r.first_above[0])
            printf("%-27s %c: first beyond: %-36s largest: %.1e of the maximum\n", name[mistake], g->letter,
                   r.first_above, r.worst);
    }
    return n;
}

/* Whether the engine writes other ids than the reference for one of the cases with clips. */
static bool has_other_ids(char letter, enum qvl_mistake mistake)
{
    struct qvl_engine_options options = {.model_dir = golden_folder(letter), .n_thread = 1, .n_ctx = 4096};
    struct golden_vectors vectors;
    struct qvl_engine *engine = NULL;
    struct qvl_error err = {0};
    size_t n_other = 0;
    golden_vectors_open(letter, &vectors);
    if (qvl_engine_open(&options, &engine, &err) || qvl_engine_load(engine, &err))
        fail_msg("%s", err.text);
    for (const char *const *c = clip_cases; *c; c++) {
        const struct golden_vector *ids = golden_vectors_find(&vectors, *c, "ids");
        struct golden_conversation conversation;
        struct golden_answer answer;
        golden_conversation_make(&vectors, *c, NULL, &conversation);
        golden_conversation_run(engine, NULL, &vectors, *c, &conversation, 1, &answer);
        bool is_other = answer.n_prompt != ids->dim[0] ||
                        memcmp(answer.prompt_id, ids->data, ids->dim[0] * sizeof(uint32_t)) != 0;
        if (is_other)
            printf("%-27s %c: other ids: %s\n", name[mistake], letter, *c);
        n_other += is_other;
        golden_answer_free(&answer);
        golden_conversation_free(&conversation);
    }
    qvl_engine_close(engine);
    golden_vectors_close(&vectors);
    return n_other > 0;
}

static bool is_caught(char letter, enum qvl_mistake mistake)
{
    struct golden g;
    bool is_beyond;
    qvl_mistake = mistake;
    if (mistake == QVL_MISTAKE_TIMES_AFTER_PADS || mistake == QVL_MISTAKE_NO_TIMES) {
        is_beyond = has_other_ids(letter, mistake);
    } else {
        golden_open(&g, letter, golden_best_level(), 1, QVL_COMPUTE_F32, QVL_KV_AS_COMPUTED);
        is_beyond = n_beyond_of(&g, clip_cases, mistake) > 0;
        if (!is_of_clips(mistake))
            is_beyond = n_beyond_of(&g, picture_cases, mistake) > 0 || is_beyond;
        golden_close(&g);
    }
    qvl_mistake = QVL_MISTAKE_NONE;
    return is_beyond;
}

static void test_none_passes(void **state)
{
    (void)state;
    for (const char *letter = GOLDEN_LETTERS; *letter; letter++)
        assert_false(is_caught(*letter, QVL_MISTAKE_NONE) || has_other_ids(*letter, QVL_MISTAKE_NONE));
}

static void test_each_is_caught(void **state)
{
    (void)state;
    for (int mistake = QVL_MISTAKE_NONE + 1; mistake < (int)(sizeof name / sizeof *name); mistake++) {
        for (const char *letter = GOLDEN_LETTERS; *letter; letter++)
            if (!is_caught(*letter, (enum qvl_mistake)mistake))
                fail_msg("%s is not caught on model %c", name[mistake], *letter);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_passes),
        cmocka_unit_test(test_each_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
