/* The same bits of logits on 1, 2 and 3 threads, with chunks of 1, 64, 512 and whole, in batches of 1 to 8, with
 * pictures one by one or together: on every kernel level, in every mode. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/emulated_level.h"
#include "golden_run.h"

#define N_LAST 32 /* rows of logits compared at the end of a prompt */

static const struct mode {
    const char *name;
    enum qvl_compute compute;
    enum qvl_kv_type kv;
    enum qvl_quantization quantize;
} modes[] = {{"f32", QVL_COMPUTE_F32, QVL_KV_AS_COMPUTED, QVL_QUANTIZE_NONE},
             {"bf16", QVL_COMPUTE_BF16, QVL_KV_AS_COMPUTED, QVL_QUANTIZE_NONE},
             {"int8 keys and values", QVL_COMPUTE_BF16, QVL_KV_INT8, QVL_QUANTIZE_NONE},
             {"q8", QVL_COMPUTE_BF16, QVL_KV_AS_COMPUTED, QVL_QUANTIZE_Q8},
             {"q4, int8 keys and values", QVL_COMPUTE_BF16, QVL_KV_INT8, QVL_QUANTIZE_Q4}};
enum { N_MODE = sizeof modes / sizeof *modes };

/* Three pictures with text, then n_extra ids of text. The caller frees. */
static void make_long_prompt(const struct golden *g, size_t n_extra, struct golden_prompt *out)
{
    const struct golden_vector *generated = golden_vectors_find(&g->vectors, "three", "generated");
    uint32_t *extra = calloc(n_extra, sizeof *extra);
    assert_non_null(extra);
    for (size_t i = 0; i < n_extra; i++)
        extra[i] = (uint32_t)((const int32_t *)generated->data)[(i * 7) % generated->dim[0]];
    golden_prompt_make(g, "three", extra, n_extra, out);
    free(extra);
}

static void run_whole(struct golden *g, size_t n_extra, size_t n_chunk, size_t n_at_once, float *logits)
{
    struct golden_prompt prompt;
    struct golden_sequence sequence;
    make_long_prompt(g, n_extra, &prompt);
    golden_see(g, &prompt, n_at_once, NULL);
    golden_sequence_open(g, &prompt, &sequence);
    if (n_chunk == 0)
        n_chunk = prompt.n;
    struct qvl_decoder *decoder = golden_decoder(g, n_chunk);
    golden_prefill(g, decoder, &sequence, n_chunk, N_LAST, logits, NULL);
    qvl_decoder_close(decoder);
    golden_sequence_close(&sequence);
    golden_prompt_free(&prompt);
}

static void check_threads_and_chunks(const struct qvl_kernels *kernels, const struct mode *mode)
{
    static const size_t chunks[] = {0, 512, 64, 1};
    /* A prompt that two chunks of 512 hold for the level in use, one of two chunks of 64 for the lower levels. */
    bool is_best = kernels == golden_best_level();
    size_t n_extra = is_best ? 768 : 40;
    float *expected = NULL, *logits = NULL;
    size_t n_bytes = 0;
    for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
        struct golden g;
        golden_open_quantized(&g, 'b', kernels, n_thread, mode->quantize, mode->compute, mode->kv);
        for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
            if (chunks[i] == 512 && !is_best)
                continue; /* the same as whole */
            n_bytes = N_LAST * g.config.text.vocab * sizeof(float);
            if (!expected) {
                expected = malloc(n_bytes);
                logits = malloc(n_bytes);
                assert_non_null(expected);
                assert_non_null(logits);
                run_whole(&g, n_extra, 0, 3, expected);
            }
            run_whole(&g, n_extra, chunks[i], 1 + i % 3, logits);
            if (memcmp(logits, expected, n_bytes) != 0)
                fail_msg("%s, %s: other bits with %u threads, chunks of %zu (0: whole), %zu pictures at a time",
                         kernels->name, mode->name, n_thread, chunks[i], 1 + i % 3);
        }
        golden_close(&g);
    }
    free(expected);
    free(logits);
}

static void test_threads_and_chunks(void **state)
{
    (void)state;
    enum qvl_isa isa = QVL_ISA_SCALAR;
    for (const struct qvl_kernels *kernels; (kernels = golden_next_level(&isa)) != NULL;)
        for (size_t i = 0; i < N_MODE; i++)
            check_threads_and_chunks(kernels, &modes[i]);
}

/* ---- batches --------------------------------------------------------------------------------------------- */

#define MAX_BATCH 8
#define N_STEP 5 /* the prefill of a sequence and the steps after it */

/* Sequence i: a prompt of its own length, then fixed ids. */
static void make_prompts(const struct golden *g, struct golden_prompt prompt[MAX_BATCH])
{
    for (size_t i = 0; i < MAX_BATCH; i++)
        make_long_prompt(g, 3 + 19 * i, &prompt[i]);
}

/* The rows of sequence i in its step number `step`, 0 = the whole prompt; returns how many. */
static size_t rows_of_step(const struct golden *g, const struct golden_prompt *p, size_t step, uint32_t i_seq,
                           struct qvl_batch_row *row)
{
    if (step == 0) {
        for (size_t i = 0; i < p->n; i++)
            row[i] = golden_prompt_row(g, p, i, i_seq, i + 1 == p->n);
        return p->n;
    }
    int32_t at = p->next + (int32_t)step - 1;
    row[0] = (struct qvl_batch_row){
        .id = (uint32_t)(40 + 11 * step), .pos = {at, at, at}, .i_seq = i_seq, .want_logits = true};
    return 1;
}

/* Runs n sequences together, sequence i starting `stagger` * i steps late, so that one's prompt shares a step with
 * another's token. logits [n][N_STEP][vocab]. */
static void run_batch(struct golden *g, struct golden_prompt *prompt, size_t n, size_t stagger, float *logits)
{
    struct golden_sequence sequence[MAX_BATCH], *all[MAX_BATCH];
    struct qvl_batch_row *row = calloc(4096, sizeof *row);
    size_t vocab = g->config.text.vocab;
    assert_non_null(row);
    for (size_t i = 0; i < n; i++) {
        golden_sequence_open(g, &prompt[i], &sequence[i]);
        all[i] = &sequence[i];
    }
    struct qvl_decoder *decoder = golden_decoder(g, 4096);
    for (size_t now = 0; now < N_STEP + stagger * (n - 1); now++) {
        size_t n_row = 0, n_wanted = 0, who[MAX_BATCH], which[MAX_BATCH];
        for (size_t i = 0; i < n; i++) {
            if (now < stagger * i || now - stagger * i >= N_STEP)
                continue;
            who[n_wanted] = i;
            which[n_wanted++] = now - stagger * i;
            n_row += rows_of_step(g, &prompt[i], now - stagger * i, (uint32_t)i, row + n_row);
        }
        const float *from = golden_step(decoder, all, n, row, n_row, NULL);
        for (size_t k = 0; k < n_wanted; k++)
            memcpy(logits + (who[k] * N_STEP + which[k]) * vocab, from + k * vocab, vocab * sizeof(float));
    }
    qvl_decoder_close(decoder);
    for (size_t i = 0; i < n; i++)
        golden_sequence_close(&sequence[i]);
    free(row);
}

static void check_batches(const struct qvl_kernels *kernels, const struct mode *mode)
{
    struct golden g;
    struct golden_prompt prompt[MAX_BATCH];
    golden_open_quantized(&g, 'a', kernels, 2, mode->quantize, mode->compute, mode->kv);
    size_t n_each = N_STEP * g.config.text.vocab;
    float *alone = calloc(MAX_BATCH * n_each, sizeof *alone),
          *together = calloc(MAX_BATCH * n_each, sizeof *together);
    assert_non_null(alone);
    assert_non_null(together);
    make_prompts(&g, prompt);
    size_t n_most = kernels == golden_best_level() ? MAX_BATCH : 3; /* the lower levels: batches of 1 to 3 */
    for (size_t i = 0; i < n_most; i++) {
        golden_see(&g, &prompt[i], 1, NULL);
        run_batch(&g, &prompt[i], 1, 0, alone + i * n_each);
    }
    for (size_t n = 1; n <= n_most; n++) {
        for (size_t stagger = 0; stagger < 2; stagger++) {
            run_batch(&g, prompt, n, stagger, together);
            for (size_t i = 0; i < n; i++)
                if (memcmp(together + i * n_each, alone + i * n_each, n_each * sizeof(float)) != 0)
                    fail_msg("%s, %s: sequence %zu has other bits in a batch of %zu (stagger %zu)", kernels->name,
                             mode->name, i, n, stagger);
        }
    }
    for (size_t i = 0; i < MAX_BATCH; i++)
        golden_prompt_free(&prompt[i]);
    free(alone);
    free(together);
    golden_close(&g);
}

static void test_batches(void **state)
{
    (void)state;
    enum qvl_isa isa = QVL_ISA_SCALAR;
    for (const struct qvl_kernels *kernels; (kernels = golden_next_level(&isa)) != NULL;)
        for (size_t i = 0; i < N_MODE; i++)
            check_batches(kernels, &modes[i]);
}

int main(void)
{
    use_emulated_level(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_and_chunks),
        cmocka_unit_test(test_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
