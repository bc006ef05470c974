/* A cache that was cut gives the bits of a fresh one: at block borders and beside them, whatever stood behind the
 * cut, numbers or not. And what stands behind a row in the same step cannot be felt by it either. */
#include <math.h>

#include "../../lib/emulated_level.h"
#include "helper.h"

#include "model/attention.h"
#include "model/decoder.h"

enum { N_PROMPT = 262, VOCAB = 150, N_CHUNK = 7 };

static const size_t cuts[] = {0, 1, 15, 127, 128, 129, 255, 256, 257, 261};
enum { N_CUT = sizeof cuts / sizeof *cuts };

static void make_rows(uint32_t seed, struct qvl_batch_row *row)
{
    for (uint32_t i = 0; i < N_PROMPT; i++) {
        int32_t pos = (int32_t)i;
        row[i] = (struct qvl_batch_row){
            .id = test_hash(i + seed) % VOCAB, .pos = {pos, pos, pos}, .want_logits = i + 1 == N_PROMPT};
    }
}

/* Rows [kv->n_pos, N_PROMPT); the last one's logits. */
static void prefill(struct qvl_decoder *decoder, struct qvl_kv *kv, const struct qvl_batch_row *row, float *logits)
{
    struct qvl_error err = {0};
    float *out = NULL;
    assert_int_equal(qvl_kv_reserve(kv, N_PROMPT, &err), QVL_OK);
    while (kv->n_pos < N_PROMPT) {
        size_t n_left = N_PROMPT - kv->n_pos;
        struct qvl_batch batch = {
            .row = row + kv->n_pos, .n_row = n_left < N_CHUNK ? n_left : N_CHUNK, .kv = &kv, .n_seq = 1};
        assert_int_equal(qvl_decoder_step(decoder, &batch, NULL, &out, &err), QVL_OK);
    }
    memcpy(logits, out, VOCAB * sizeof *out);
}

/* Keys and values of positions begin .. end - 1 become NaN. */
static void poison(struct qvl_kv *kv, size_t begin, size_t end)
{
    const struct qvl_model *m = kv->model;
    const struct qvl_text_config *text = &m->config.text;
    float bad[QVL_MAX_HEAD_DIM];
    for (size_t i = 0; i < QVL_MAX_HEAD_DIM; i++)
        bad[i] = NAN;
    for (size_t i = 0; i < (size_t)text->n_layer * text->n_kv_head; i++)
        for (size_t pos = begin; pos < end; pos++) {
            size_t at = i * kv->n_block_alloc + pos / QVL_KV_BLOCK;
            qvl_attention_put(m->kernels, m->kv, kv->k_table[at], kv->v_table[at], pos % QVL_KV_BLOCK, bad, bad,
                              text->head_dim);
        }
}

static void check_cuts(struct test_model *t)
{
    struct qvl_error err = {0};
    struct qvl_decoder *decoder = NULL;
    struct qvl_batch_row row[N_PROMPT], other[N_PROMPT];
    struct qvl_kv kv;
    float want[VOCAB], got[VOCAB];
    make_rows(0, row);
    assert_int_equal(qvl_decoder_open(&t->model, N_CHUNK, &decoder, &err), QVL_OK);
    qvl_kv_init(&kv, &t->model);
    prefill(decoder, &kv, row, want);
    for (size_t i = 0; i < N_CUT; i++) {
        make_rows(1000, other);
        memcpy(other, row, cuts[i] * sizeof *row);
        qvl_kv_truncate(&kv, 0);
        assert_int_equal(kv.n_block, 0);
        prefill(decoder, &kv, other, got);
        assert_memory_not_equal(got, want, sizeof want);
        poison(&kv, cuts[i], kv.n_block * QVL_KV_BLOCK);
        qvl_kv_truncate(&kv, cuts[i]);
        assert_int_equal(kv.n_pos, cuts[i]);
        assert_int_equal(kv.n_block, (cuts[i] + QVL_KV_BLOCK - 1) / QVL_KV_BLOCK);
        prefill(decoder, &kv, row, got);
        assert_memory_equal(got, want, sizeof want);
    }
    qvl_kv_truncate(&kv, N_PROMPT + 1); /* more than there is: nothing goes */
    assert_int_equal(kv.n_pos, N_PROMPT);
    for (size_t i = 0; i < N_CUT; i++) { /* what was appended and is taken back: the same, but its blocks stay */
        poison(&kv, cuts[i], N_PROMPT);
        qvl_kv_retract(&kv, cuts[i]);
        assert_int_equal(kv.n_pos, cuts[i]);
        assert_int_equal(kv.n_block, (N_PROMPT + QVL_KV_BLOCK - 1) / QVL_KV_BLOCK);
        prefill(decoder, &kv, row, got);
        assert_memory_equal(got, want, sizeof want);
    }
    qvl_kv_retract(&kv, N_PROMPT);
    assert_int_equal(kv.n_pos, N_PROMPT);
    qvl_kv_free(&kv);
    qvl_decoder_close(decoder);
}

/* Rows of a step, the last one NaN from the start: the row before it has the bits that it has without it. */
static void check_last_row_nan(struct test_model *t)
{
    enum { N = N_CHUNK };
    const struct qvl_config *config = &t->model.config;
    struct qvl_error err = {0};
    struct qvl_decoder *decoder = NULL;
    struct qvl_batch_row row[N_PROMPT];
    struct qvl_kv kv, *in_batch = &kv;
    struct qvl_features bad = {.n = 1, .n_level = 1 + config->vision.n_tap, .n_hidden = config->text.hidden};
    float want[VOCAB], *out = NULL;
    size_t n_number = bad.n_level * bad.n_hidden;
    bad.row = malloc(n_number * sizeof *bad.row);
    assert_non_null(bad.row);
    for (size_t i = 0; i < n_number; i++)
        bad.row[i] = NAN;
    make_rows(0, row);
    row[N - 2].want_logits = row[N - 1].want_logits = true;
    row[N - 1].features = &bad;
    assert_int_equal(qvl_decoder_open(&t->model, N, &decoder, &err), QVL_OK);
    qvl_kv_init(&kv, &t->model);
    assert_int_equal(qvl_kv_reserve(&kv, N, &err), QVL_OK);
    struct qvl_batch batch = {.row = row, .n_row = N - 1, .kv = &in_batch, .n_seq = 1};
    assert_int_equal(qvl_decoder_step(decoder, &batch, NULL, &out, &err), QVL_OK);
    memcpy(want, out, sizeof want);
    assert_true(isfinite(want[0]));
    qvl_kv_truncate(&kv, 0);
    assert_int_equal(qvl_kv_reserve(&kv, N, &err), QVL_OK);
    batch.n_row = N;
    assert_int_equal(qvl_decoder_step(decoder, &batch, NULL, &out, &err), QVL_OK);
    assert_memory_equal(out, want, sizeof want);
    for (size_t i = 0; i < VOCAB; i++)
        assert_true(isnan(out[VOCAB + i]));
    row[N - 1].features = NULL; /* of a number, but after what is none */
    row[0] = row[N - 1];
    row[0].pos = (struct qvl_position){N, N, N};
    batch.n_row = 1;
    assert_int_equal(qvl_kv_reserve(&kv, N + 1, &err), QVL_OK);
    assert_int_equal(qvl_decoder_step(decoder, &batch, NULL, &out, &err), QVL_OK);
    assert_true(isnan(out[0]));
    qvl_kv_free(&kv);
    qvl_decoder_close(decoder);
    free(bad.row);
}

static void for_all_kinds(void (*check)(struct test_model *t))
{
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++)
        for (int kind = 0; kind < 3; kind++) {
            struct test_model t;
            if (!qvl_kernels_of((enum qvl_isa)isa))
                continue;
            test_model_open((enum qvl_isa)isa, QVL_BF16, kind == 1 ? QVL_COMPUTE_F32 : QVL_COMPUTE_BF16,
                            kind == 2 ? QVL_KV_INT8 : QVL_KV_AS_COMPUTED, 2, &t);
            check(&t);
            test_model_close(&t);
        }
}

static void test_cut_cache_same_bits(void **state)
{
    (void)state;
    for_all_kinds(check_cuts);
}

static void test_row_nan_is_not_felt_before(void **state)
{
    (void)state;
    for_all_kinds(check_last_row_nan);
}

int main(void)
{
    use_emulated_level(false);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cut_cache_same_bits),
                                       cmocka_unit_test(test_row_nan_is_not_felt_before)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
