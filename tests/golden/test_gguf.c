/* Golden models in GGUF files compute what their folders do: bf16 to the bit, for those numbers are the folder's
 * own; F16, which rounds the smallest, near the reference's vectors. Quantised types: reference/gguf/load.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "golden_run.h"
#include "text/tokenizer.h"

static char work_dir[] = "/tmp/qvl-golden-gguf-XXXXXX";

/* The pair of the letter's model; valid until the next call. */
static const char *write_pair(char letter, enum qvl_convert_type type)
{
    static char path[sizeof work_dir + 32];
    struct qvl_converter *converter = NULL;
    struct qvl_error err = {0};
    snprintf(path, sizeof path, "%s/%c-%d.gguf", work_dir, letter, (int)type);
    if (access(path, F_OK) == 0)
        return path;
    const struct qvl_converter_options options = {
        .model_dir = golden_folder(letter), .out = path, .type = type, .n_thread = 1};
    bool is_done = false;
    enum qvl_status status = qvl_converter_open(&options, &converter, &err);
    while (!status && !is_done)
        status = qvl_converter_next(converter, &is_done, &err);
    qvl_converter_close(converter);
    if (status)
        fail_msg("%s", err.text);
    return path;
}

static int make_work_dir(void **state)
{
    (void)state;
    return mkdtemp(work_dir) ? 0 : -1;
}

static int remove_work_dir(void **state)
{
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", work_dir);
    return system(command);
}

/* Logits of the last N_LAST rows of a prompt with three pictures; the caller frees. */
enum { N_LAST = 16 };

static float *run(struct golden *g)
{
    struct golden_prompt prompt;
    struct golden_sequence sequence;
    float *logits = malloc(N_LAST * g->config.text.vocab * sizeof *logits);
    assert_non_null(logits);
    golden_prompt_make(g, "three", NULL, 0, &prompt);
    golden_see(g, &prompt, 3, NULL);
    golden_sequence_open(g, &prompt, &sequence);
    struct qvl_decoder *decoder = golden_decoder(g, prompt.n);
    golden_prefill(g, decoder, &sequence, prompt.n, N_LAST, logits, NULL);
    qvl_decoder_close(decoder);
    golden_sequence_close(&sequence);
    golden_prompt_free(&prompt);
    return logits;
}

static void bf16_has_the_same_bits(void **state)
{
    (void)state;
    for (const char *letter = GOLDEN_LETTERS; *letter; letter++) {
        struct golden folder, pair;
        const struct qvl_kernels *kernels = golden_best_level();
        golden_open(&folder, *letter, kernels, 2, QVL_COMPUTE_F32, QVL_KV_AS_COMPUTED);
        golden_open_folder(&pair, *letter, write_pair(*letter, QVL_CONVERT_BF16), kernels, 2, QVL_QUANTIZE_NONE,
                           QVL_COMPUTE_F32, QVL_KV_AS_COMPUTED);
        assert_int_equal(folder.config.text.vocab, pair.config.text.vocab);
        float *expected = run(&folder), *found = run(&pair);
        if (memcmp(expected, found, N_LAST * folder.config.text.vocab * sizeof *found) != 0)
            fail_msg("model %c: the bf16 files give other bits than the folder", *letter);
        free(expected);
        free(found);
        golden_close(&folder);
        golden_close(&pair);
    }
}

static void f16_is_near_the_reference(void **state)
{
    const double limit = 1e-4; /* of an intermediate's largest value */
    (void)state;
    for (const char *letter = GOLDEN_LETTERS; *letter; letter++) {
        struct golden g;
        struct golden_result result = {0};
        golden_open_folder(&g, *letter, write_pair(*letter, QVL_CONVERT_F16), golden_best_level(), 2,
                           QVL_QUANTIZE_NONE, QVL_COMPUTE_F32, QVL_KV_AS_COMPUTED);
        golden_compare(&g, "three", limit, &result);
        assert_true(result.n_compared > 10);
        if (result.first_above[0])
            fail_msg("model %c: %s is first above %g (worst %g, %s)", *letter, result.first_above, limit,
                     result.worst, result.worst_name);
        golden_close(&g);
    }
}

/* Every token, special or not, and the ids of a text. */
static void tokenizer_is_the_same(void **state)
{
    static const char text[] = "<|im_start|>user\nHello, w\xC3\xB6rld! 12 \xE4\xBD\xA0\xE5\xA5\xBD<|im_end|>";
    struct qvl_tokenizer *t[2] = {NULL};
    struct qvl_ids ids[2] = {{0}};
    struct qvl_error err = {0};
    (void)state;
    const char *path[2] = {golden_folder('a'), write_pair('a', QVL_CONVERT_BF16)};
    for (int i = 0; i < 2; i++)
        if (qvl_tokenizer_load(path[i], QVL_MAX_TOKENS, &t[i], &err) ||
            qvl_tokenizer_encode(t[i], text, strlen(text), true, &ids[i], &err))
            fail_msg("%s", err.text);
    assert_int_equal(qvl_tokenizer_n(t[0]), qvl_tokenizer_n(t[1]));
    assert_int_equal(ids[0].n, ids[1].n);
    assert_memory_equal(ids[0].id, ids[1].id, ids[0].n * sizeof *ids[0].id);
    for (uint32_t id = 0; id < qvl_tokenizer_n(t[0]); id++) {
        size_t n[2];
        const char *bytes[2] = {qvl_tokenizer_bytes(t[0], id, &n[0]), qvl_tokenizer_bytes(t[1], id, &n[1])};
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(bytes[0], bytes[1], n[0]);
        assert_int_equal(qvl_tokenizer_is_special(t[0], id), qvl_tokenizer_is_special(t[1], id));
    }
    for (int i = 0; i < 2; i++) {
        qvl_ids_free(&ids[i]);
        qvl_tokenizer_free(t[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_has_the_same_bits),
        cmocka_unit_test(f16_is_near_the_reference),
        cmocka_unit_test(tokenizer_is_the_same),
    };
    return cmocka_run_group_tests_name("gguf", tests, make_work_dir, remove_work_dir);
}
