/* The sampler against transformers' logits processors (reference/sampler_vectors.py), its random numbers, and what
 * it must never choose. */
#include "engine/sampler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

enum { N_VOCAB = 48, N_PROMPT = 6, N_OUTPUT = 5, N_BIAS = 3 };

struct sampler_case {
    struct qvl_sampling sampling;
    uint32_t prompt[N_PROMPT], output[N_OUTPUT];
    struct qvl_logit_bias bias[N_BIAS]; /* of nothing, where there is to be none */
    float logits[N_VOCAB];
    double p[N_VOCAB];
};

#include "sampler_vectors.h"

enum { N_CASE = sizeof sampler_cases / sizeof sampler_cases[0] };

static struct qvl_sampler open_sampler(const struct qvl_sampling *sampling, const uint32_t *prompt, size_t n_prompt)
{
    struct qvl_sampler sampler;
    struct qvl_error err = {0};
    assert_int_equal(qvl_sampler_init(&sampler, sampling, N_VOCAB, prompt, n_prompt, &err), QVL_OK);
    return sampler;
}

static void keep_candidates(const struct qvl_sampler *sampler, double p[N_VOCAB])
{
    memset(p, 0, N_VOCAB * sizeof *p);
    for (size_t i = 0; i < sampler->n_candidate; i++)
        p[sampler->candidate[i].id] = sampler->candidate[i].p;
}

/* Makes `id` part of the output: the only choice there is. */
static void say(struct qvl_sampler *sampler, uint32_t id)
{
    float logits[N_VOCAB];
    uint32_t chosen = 0;
    struct qvl_error err = {0};
    for (uint32_t i = 0; i < N_VOCAB; i++)
        logits[i] = i == id ? 1e6f : -1e6f;
    assert_int_equal(qvl_sampler_choose(sampler, logits, &chosen, &err), QVL_OK);
    assert_int_equal(chosen, id);
}

static void same_distribution_as_transformers(void **state)
{
    (void)state;
    assert_true(N_CASE >= 90);
    for (size_t i = 0; i < N_CASE; i++) {
        const struct sampler_case *c = &sampler_cases[i];
        struct qvl_sampler sampler = open_sampler(&c->sampling, c->prompt, N_PROMPT);
        float logits[N_VOCAB];
        double p[N_VOCAB];
        struct qvl_error err = {0};
        uint32_t id = 0;
        for (size_t j = 0; j < N_OUTPUT; j++)
            say(&sampler, c->output[j]);
        memcpy(logits, c->logits, sizeof logits);
        sampler.bias = c->bias;
        sampler.n_bias = N_BIAS;
        if (c->sampling.temperature > 0) {
            qvl_sampler_filter(&sampler, logits);
            keep_candidates(&sampler, p);
        } else {
            assert_int_equal(qvl_sampler_choose(&sampler, logits, &id, &err), QVL_OK);
            memset(p, 0, sizeof p);
            p[id] = 1;
        }
        for (size_t j = 0; j < N_VOCAB; j++) {
            if ((p[j] > 0) != (c->p[j] > 0))
                fail_msg("case %zu: token %zu is %s", i, j, p[j] > 0 ? "kept" : "dropped");
            assert_true(fabs(p[j] - c->p[j]) <= 1e-6); /* f32 logits there, double weights here */
        }
        qvl_sampler_free(&sampler);
    }
}

static void draws_follow_the_distribution(void **state)
{
    (void)state;
    const double want[4] = {0.5, 0.25, 0.125, 0.125};
    struct qvl_sampling sampling = {.temperature = 1, .top_p = 1, .top_k = 4, .repetition_penalty = 1, .seed = 7};
    struct qvl_sampler sampler = open_sampler(&sampling, NULL, 0);
    struct qvl_error err = {0};
    int n[N_VOCAB] = {0};
    enum { N_DRAW = 20000 };
    for (int i = 0; i < N_DRAW; i++) {
        float logits[N_VOCAB];
        uint32_t id = 0;
        for (int j = 0; j < N_VOCAB; j++)
            logits[j] = j < 4 ? (float)log(want[j]) : -50;
        assert_int_equal(qvl_sampler_choose(&sampler, logits, &id, &err), QVL_OK);
        n[id]++;
    }
    for (int j = 0; j < 4; j++) /* 5 standard deviations */
        assert_true(fabs(n[j] - N_DRAW * want[j]) < 5 * sqrt(N_DRAW * want[j] * (1 - want[j])));
    qvl_sampler_free(&sampler);
}

static void same_seed_same_draws(void **state)
{
    (void)state;
    struct qvl_sampling sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 123};
    uint32_t said[3][64];
    for (int run = 0; run < 3; run++) {
        sampling.seed = run == 2 ? 124 : 123;
        struct qvl_sampler sampler = open_sampler(&sampling, NULL, 0);
        struct qvl_error err = {0};
        for (int i = 0; i < 64; i++) {
            float logits[N_VOCAB] = {0};
            assert_int_equal(qvl_sampler_choose(&sampler, logits, &said[run][i], &err), QVL_OK);
        }
        qvl_sampler_free(&sampler);
    }
    assert_memory_equal(said[0], said[1], sizeof said[0]);
    assert_memory_not_equal(said[0], said[2], sizeof said[0]);
}

static void greedy_takes_the_first_of_equals(void **state)
{
    (void)state;
    struct qvl_sampling sampling = {.top_p = 1, .repetition_penalty = 1};
    struct qvl_sampler sampler = open_sampler(&sampling, NULL, 0);
    struct qvl_error err = {0};
    float logits[N_VOCAB] = {[9] = 3, [17] = 3};
    uint32_t id = 0;
    assert_int_equal(qvl_sampler_choose(&sampler, logits, &id, &err), QVL_OK);
    assert_int_equal(id, 9);
    qvl_sampler_free(&sampler);
}

static void logits_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    struct qvl_sampling sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    for (size_t i = 0; i < 3; i++) {
        struct qvl_sampler sampler = open_sampler(&sampling, NULL, 0);
        struct qvl_error err = {0};
        float logits[N_VOCAB] = {[N_VOCAB - 1] = bad[i]};
        uint32_t id = 0;
        assert_int_equal(qvl_sampler_choose(&sampler, logits, &id, &err), QVL_ERR_INTERNAL);
        assert_non_null(strstr(err.text, "non-finite logits"));
        qvl_sampler_free(&sampler);
    }
}

static void ids_of_padding_rows_are_never_chosen(void **state)
{
    (void)state;
    struct qvl_sampling sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1.5f};
    const uint32_t prompt[] = {N_VOCAB + 3}; /* an id that the sampler does not know must not be counted either */
    struct qvl_sampler sampler = open_sampler(&sampling, prompt, 1);
    struct qvl_error err = {0};
    for (int i = 0; i < 100; i++) {
        float logits[N_VOCAB + 8] = {0};
        uint32_t id = 0;
        for (int j = N_VOCAB; j < N_VOCAB + 8; j++)
            logits[j] = 1e9f;
        assert_int_equal(qvl_sampler_choose(&sampler, logits, &id, &err), QVL_OK);
        assert_true(id < N_VOCAB);
    }
    qvl_sampler_free(&sampler);
}

static void values_outside_their_range_are_refused(void **state)
{
    (void)state;
    const struct qvl_sampling good = {.temperature = 0.7f, .top_p = 0.8f, .repetition_penalty = 1};
    struct qvl_error err = {0};
    assert_int_equal(qvl_sampling_check(&good, &err), QVL_OK);
    struct qvl_sampling cold = good, bad[] = {good, good, good, good, good, good, good};
    cold.temperature = 1e-6f;
    assert_int_equal(qvl_sampling_check(&cold, &err), QVL_OK);
    bad[0].temperature = -0.1f;
    bad[1].temperature = NAN;
    bad[2].top_p = 1.01f;
    bad[3].min_p = -1;
    bad[4].repetition_penalty = 0;
    bad[5].presence_penalty = INFINITY;
    bad[6].temperature = 0.9e-6f; /* logits divided by it may leave the range of a float */
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(qvl_sampling_check(&bad[i], &err), QVL_ERR_ARGUMENT);
}

static void best_logits_come_sorted(void **state)
{
    (void)state;
    const float logits[] = {1, 5, 3, 5, -2, 4};
    struct qvl_token_logit top[8];
    assert_int_equal(qvl_top_logits(logits, 6, 3, top), 3);
    assert_int_equal(top[0].id, 1);
    assert_int_equal(top[1].id, 3);
    assert_int_equal(top[2].id, 5);
    assert_int_equal(qvl_top_logits(logits, 6, 8, top), 6);
    assert_int_equal(top[5].id, 4);
    assert_int_equal(qvl_top_logits(logits, 6, 0, top), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_distribution_as_transformers),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(same_seed_same_draws),
        cmocka_unit_test(greedy_takes_the_first_of_equals),
        cmocka_unit_test(logits_that_are_not_finite_are_refused),
        cmocka_unit_test(ids_of_padding_rows_are_never_chosen),
        cmocka_unit_test(values_outside_their_range_are_refused),
        cmocka_unit_test(best_logits_come_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
