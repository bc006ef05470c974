/* What must hold whatever the weights: the same bits on any number of threads, in any chunks, alone or in company;
 * a cancelled step leaves nothing behind; memory that is not there is an error. How near the numbers are to the
 * reference's is tests/golden's matter. */
#include <stdio.h>
#include <sys/resource.h>

#include "../../lib/emulated_level.h"
#include "helper.h"

#include "model/decoder.h"

enum { N_PROMPT = 150, VOCAB = 150, N_BATCH = 8 };

static const struct qvl_grid grids[] = {{1, 6, 8}, {2, 4, 4}, {1, 26, 22}};
enum { N_GRID = 3, N_PATCH = 48 + 32 + 572 };

struct setting {
    enum qvl_isa isa;
    enum qvl_dtype weights;
    enum qvl_compute compute;
    enum qvl_kv_type kv;
};
enum { MAX_SETTINGS = 4 * QVL_ISA_COUNT };

/* The settings that this machine has. ThreadSanitizer makes everything some twenty times slower, and what threads
 * share does not depend on the types: one setting a level. */
static size_t list_settings(struct setting *out)
{
    size_t n = 0;
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++) {
        if (!qvl_kernels_of((enum qvl_isa)isa))
            continue;
        out[n++] = (struct setting){(enum qvl_isa)isa, QVL_BF16, QVL_COMPUTE_BF16, QVL_KV_AS_COMPUTED};
#if !defined(__SANITIZE_THREAD__)
        out[n++] = (struct setting){(enum qvl_isa)isa, QVL_BF16, QVL_COMPUTE_F32, QVL_KV_AS_COMPUTED};
        out[n++] = (struct setting){(enum qvl_isa)isa, QVL_BF16, QVL_COMPUTE_BF16, QVL_KV_INT8};
        out[n++] = (struct setting){(enum qvl_isa)isa, isa % 2 ? QVL_F16 : QVL_F32, QVL_COMPUTE_BF16,
                                    QVL_KV_AS_COMPUTED};
#endif
    }
    return n;
}

static void open_setting(const struct setting *s, uint32_t n_thread, struct test_model *out)
{
    test_model_open(s->isa, s->weights, s->compute, s->kv, n_thread, out);
}

static float *make_patches(void)
{
    float *row = malloc((size_t)N_PATCH * 1536 * sizeof *row);
    assert_non_null(row);
    for (uint32_t i = 0; i < N_PATCH * 1536; i++)
        row[i] = (float)(test_hash(i / 3) >> 24) / 127.5f - 1.0f;
    return row;
}

/* Ends the work from inside: sets `stop` when the tensor of this name comes by. */
struct stopper {
    const char *name;
    atomic_bool stop;
};

static void stop_at(void *user, const char *name, enum qvl_trace_type type, const void *data, const size_t *dim,
                    size_t n_dim)
{
    struct stopper *stopper = user;
    (void)type, (void)data, (void)dim, (void)n_dim;
    if (strcmp(name, stopper->name) == 0)
        atomic_store(&stopper->stop, true);
}

static struct qvl_features run_vision(struct qvl_model *model, const struct qvl_grid *grid, size_t n_grid,
                                      const float *row)
{
    struct qvl_error err = {0};
    struct qvl_vision *vision = NULL;
    struct qvl_features features = {0};
    uint32_t done = 0, total = 1, steps = 0;
    assert_int_equal(qvl_vision_open(model, grid, n_grid, row, NULL, &vision, &err), QVL_OK);
    while (done < total) {
        assert_int_equal(qvl_vision_step(vision, NULL, &done, &total, &err), QVL_OK);
        assert_int_equal(done, ++steps);
    }
    qvl_vision_take(vision, &features);
    qvl_vision_close(vision);
    return features;
}

static void assert_same_features(const struct qvl_features *a, const struct qvl_features *b, size_t n,
                                 size_t first_b)
{
    for (size_t level = 0; level < a->n_level; level++)
        assert_memory_equal(a->row + level * a->n * 48, b->row + (level * b->n + first_b) * 48,
                            n * 48 * sizeof(float));
}

static void test_vision_same_bits(void **state)
{
    struct setting setting[MAX_SETTINGS];
    float *row = make_patches();
    (void)state;
    for (size_t i = 0, n = list_settings(setting); i < n; i++) {
        struct qvl_features first = {0};
        for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
            struct test_model t;
            open_setting(&setting[i], n_thread, &t);
            struct qvl_features all = run_vision(&t.model, grids, N_GRID, row);
            assert_int_equal(all.n, N_PATCH / 4);
            assert_int_equal(all.n_level, 3);
            for (size_t g = 0, patch = 0; g < N_GRID; g++) { /* each by itself */
                struct qvl_features one = run_vision(&t.model, &grids[g], 1, row + patch * 1536);
                assert_same_features(&one, &all, one.n, patch / 4);
                patch += qvl_grid_n_patch(grids[g]);
                qvl_features_free(&one);
            }
            if (n_thread == 1) {
                first = all;
            } else {
                assert_same_features(&first, &all, all.n, 0);
                qvl_features_free(&all);
            }
            test_model_close(&t);
        }
        qvl_features_free(&first);
    }
    free(row);
}

static void test_vision_cancel(void **state)
{
    struct qvl_error err = {0};
    struct test_model t;
    struct qvl_vision *vision = NULL;
    struct stopper stopper = {.name = "vision.blocks.2"};
    struct qvl_trace trace = {.user = &stopper, .tensor = stop_at};
    float *row = make_patches();
    uint32_t done = 0, total = 0;
    enum qvl_status status;
    (void)state;
    test_model_open(QVL_ISA_SCALAR, QVL_BF16, QVL_COMPUTE_BF16, QVL_KV_AS_COMPUTED, 2, &t);
    assert_int_equal(qvl_vision_open(&t.model, grids, 1, row, &trace, &vision, &err), QVL_OK);
    while ((status = qvl_vision_step(vision, &stopper.stop, &done, &total, &err)) == QVL_OK)
        assert_true(done < total);
    assert_int_equal(status, QVL_ERR_CANCELLED);
    assert_true(atomic_load(&stopper.stop));
    qvl_vision_close(vision);

    const struct qvl_grid bad[] = {{1, 3, 4}, {0, 4, 4}, {1, 0, 4}, {UINT32_MAX, 1u << 31, 1u << 31}};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(qvl_vision_open(&t.model, &bad[i], 1, row, NULL, &vision, &err), QVL_ERR_INTERNAL);
    test_model_close(&t);
    free(row);
}

/* ---- decoder ------------------------------------------------------------------------------------- */

/* A prompt: text, 12 visual tokens of the first picture, text; another one for each sequence. */
static void make_rows(uint32_t i_seq, const struct qvl_features *features, struct qvl_batch_row *row)
{
    struct qvl_position pos[N_PROMPT];
    const struct qvl_span span[] = {{.n_tok = 5 + i_seq},
                                    {.n_tok = 12, .is_visual = true, .rows = 3, .columns = 4},
                                    {.n_tok = N_PROMPT - 17 - i_seq}};
    int32_t next = 0;
    qvl_rope_positions(span, 3, pos, &next);
    for (uint32_t i = 0; i < N_PROMPT; i++) {
        bool is_visual = i >= 5 + i_seq && i < 17 + i_seq;
        row[i] = (struct qvl_batch_row){.id = test_hash(i + 1000 * i_seq) % VOCAB,
                                        .pos = pos[i],
                                        .i_seq = 0,
                                        .features = is_visual ? features : NULL,
                                        .i_feature = is_visual ? i - 5 - i_seq : 0,
                                        .want_logits = i % 10 == 0 || i + 1 == N_PROMPT};
    }
}

static void open_cache(struct qvl_kv *kv, const struct qvl_model *model)
{
    struct qvl_error err = {0};
    qvl_kv_init(kv, model);
    assert_int_equal(qvl_kv_reserve(kv, N_PROMPT, &err), QVL_OK);
}

/* Runs rows in chunks and collects the wanted logits. */
static size_t prefill(struct qvl_decoder *decoder, struct qvl_kv *kv, const struct qvl_batch_row *row, size_t n_row,
                      size_t n_chunk, float *logits)
{
    struct qvl_error err = {0};
    size_t n = 0;
    for (size_t at = 0; at < n_row; at += n_chunk) {
        struct qvl_batch batch = {
            .row = row + at, .n_row = n_row - at < n_chunk ? n_row - at : n_chunk, .kv = &kv, .n_seq = 1};
        float *out = NULL;
        size_t n_want = 0, n_pos = kv->n_pos;
        for (size_t i = 0; i < batch.n_row; i++)
            n_want += batch.row[i].want_logits;
        assert_int_equal(qvl_decoder_step(decoder, &batch, NULL, &out, &err), QVL_OK);
        memcpy(logits + n * VOCAB, out, n_want * VOCAB * sizeof *out);
        n += n_want;
        assert_int_equal(kv->n_pos, n_pos + batch.n_row);
    }
    return n;
}

static void check_chunks(struct test_model *t, const struct qvl_features *features, float *first, bool is_first)
{
    static const size_t chunk[] = {N_PROMPT, 1, 3, 64};
    struct qvl_error err = {0};
    struct qvl_batch_row row[N_PROMPT];
    float logits[16 * VOCAB];
    struct qvl_decoder *decoder = NULL;
    make_rows(0, features, row);
    assert_int_equal(qvl_decoder_open(&t->model, N_PROMPT, &decoder, &err), QVL_OK);
    for (size_t c = 0; c < 4; c++) {
        struct qvl_kv kv;
        open_cache(&kv, &t->model);
        assert_int_equal(prefill(decoder, &kv, row, N_PROMPT, chunk[c], logits), 16);
        if (is_first && c == 0)
            memcpy(first, logits, sizeof logits);
        assert_memory_equal(logits, first, sizeof logits);
        qvl_kv_free(&kv);
    }
    qvl_decoder_close(decoder);
}

/* Eight sequences of different lengths: their last three rows alone, then in company. */
static void check_batches(struct test_model *t, const struct qvl_features *features)
{
    struct qvl_error err = {0};
    struct qvl_batch_row row[N_BATCH][N_PROMPT], together[N_BATCH * 3];
    struct qvl_kv kv[N_BATCH], *pointer[N_BATCH];
    float alone[N_BATCH][16 * VOCAB], *out = NULL;
    struct qvl_decoder *decoder = NULL;
    assert_int_equal(qvl_decoder_open(&t->model, N_PROMPT, &decoder, &err), QVL_OK);
    for (uint32_t s = 0; s < N_BATCH; s++) {
        make_rows(s, features, row[s]);
        open_cache(&kv[s], &t->model);
        prefill(decoder, &kv[s], row[s], N_PROMPT - 7 * s, 64, alone[s]); /* leaves the last row's logits… */
        row[s][N_PROMPT - 7 * s - 1].want_logits = true;
        row[s][N_PROMPT - 7 * s - 2].want_logits = row[s][N_PROMPT - 7 * s - 3].want_logits = false;
        kv[s].n_pos = N_PROMPT - 7 * s - 3; /* …forgets the last three rows… */
        prefill(decoder, &kv[s], row[s] + kv[s].n_pos, 3, 3, alone[s]);
        kv[s].n_pos = N_PROMPT - 7 * s - 3; /* …and runs them again in company */
        pointer[s] = &kv[s];
    }
    for (size_t n = 1; n <= N_BATCH; n++) {
        for (size_t i = 0; i < 3 * n; i++) {
            together[i] = row[i / 3][N_PROMPT - 7 * (i / 3) - 3 + i % 3];
            together[i].i_seq = (uint32_t)(i / 3);
        }
        struct qvl_batch batch = {.row = together, .n_row = 3 * n, .kv = pointer, .n_seq = n};
        assert_int_equal(qvl_decoder_step(decoder, &batch, NULL, &out, &err), QVL_OK);
        for (size_t s = 0; s < n; s++) {
            assert_memory_equal(out + s * VOCAB, alone[s], VOCAB * sizeof *out);
            assert_int_equal(kv[s].n_pos, N_PROMPT - 7 * s);
            kv[s].n_pos -= 3;
        }
    }
    for (size_t s = 0; s < N_BATCH; s++)
        qvl_kv_free(&kv[s]);
    qvl_decoder_close(decoder);
}

static void test_decoder_same_bits(void **state)
{
    struct setting setting[MAX_SETTINGS];
    float *row = make_patches(), first[16 * VOCAB];
    (void)state;
    for (size_t i = 0, n = list_settings(setting); i < n; i++)
        for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
            struct test_model t;
            open_setting(&setting[i], n_thread, &t);
            struct qvl_features features = run_vision(&t.model, grids, 1, row);
            check_chunks(&t, &features, first, n_thread == 1);
            check_batches(&t, &features);
            qvl_features_free(&features);
            test_model_close(&t);
        }
    free(row);
}

static void test_decoder_cancel(void **state)
{
    struct qvl_error err = {0};
    struct test_model t;
    struct qvl_decoder *decoder = NULL;
    struct qvl_batch_row row[N_PROMPT];
    struct qvl_kv kv, *pointer = &kv;
    struct stopper stopper = {.name = "decoder.layers.1"};
    struct qvl_trace trace = {.user = &stopper, .tensor = stop_at};
    float expected[16 * VOCAB], logits[16 * VOCAB], *out = NULL;
    (void)state;
    test_model_open(QVL_ISA_SCALAR, QVL_BF16, QVL_COMPUTE_BF16, QVL_KV_AS_COMPUTED, 2, &t);
    assert_int_equal(qvl_decoder_open(&t.model, N_PROMPT, &decoder, &err), QVL_OK);
    make_rows(0, NULL, row);
    for (size_t i = 0; i < N_PROMPT; i++)
        row[i].features = NULL;
    open_cache(&kv, &t.model);
    prefill(decoder, &kv, row, N_PROMPT, N_PROMPT, expected);

    kv.n_pos = 0;
    prefill(decoder, &kv, row, 31, 31, logits);
    for (int i = 0; i < 2; i++) { /* in the middle of a step, and before it begins */
        struct qvl_batch batch = {
            .row = row + 31, .n_row = N_PROMPT - 31, .kv = &pointer, .n_seq = 1, .trace = i == 0 ? &trace : NULL};
        assert_int_equal(qvl_decoder_step(decoder, &batch, &stopper.stop, &out, &err), QVL_ERR_CANCELLED);
        assert_int_equal(kv.n_pos, 31);
    }
    prefill(decoder, &kv, row + 31, N_PROMPT - 31, N_PROMPT, logits + 4 * VOCAB);
    assert_memory_equal(logits, expected, sizeof expected);

    /* rows that the step cannot take */
    struct qvl_batch batch = {.row = row, .n_row = 1, .kv = &pointer, .n_seq = 1};
    kv.n_pos = 256;
    assert_int_equal(qvl_decoder_step(decoder, &batch, NULL, &out, &err), QVL_ERR_INTERNAL);
    row[0].id = VOCAB;
    kv.n_pos = 0;
    assert_int_equal(qvl_decoder_step(decoder, &batch, NULL, &out, &err), QVL_ERR_INTERNAL);
    batch.n_row = N_PROMPT + 1;
    assert_int_equal(qvl_decoder_step(decoder, &batch, NULL, &out, &err), QVL_ERR_INTERNAL);
    qvl_kv_free(&kv);
    qvl_decoder_close(decoder);
    test_model_close(&t);
}

/* ---- types of weights ---------------------------------------------------------------------------- */

/* Widening is exact and the order of a sum does not know the type: the same numbers stored as bf16, f16 and f32 give
 * the same bits in f32. */
static void test_weight_types_same_bits(void **state)
{
    static const enum qvl_dtype types[] = {QVL_BF16, QVL_F16, QVL_F32};
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* nothing here that the other tests' threads do not do */
#endif
    float *row = make_patches(), first[16 * VOCAB], logits[16 * VOCAB];
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++) {
        for (size_t i = 0; i < 3 && qvl_kernels_of((enum qvl_isa)isa); i++) {
            struct test_model t;
            struct qvl_error err = {0};
            struct qvl_decoder *decoder = NULL;
            struct qvl_batch_row rows[N_PROMPT];
            struct qvl_kv kv;
            test_model_open((enum qvl_isa)isa, types[i], QVL_COMPUTE_F32, QVL_KV_AS_COMPUTED, 2, &t);
            assert_int_equal(t.model.head.dtype, types[i]);
            struct qvl_features features = run_vision(&t.model, grids, 1, row);
            make_rows(0, &features, rows);
            open_cache(&kv, &t.model);
            assert_int_equal(qvl_decoder_open(&t.model, N_PROMPT, &decoder, &err), QVL_OK);
            prefill(decoder, &kv, rows, N_PROMPT, N_PROMPT, i == 0 ? first : logits);
            if (i > 0)
                assert_memory_equal(logits, first, sizeof first);
            qvl_decoder_close(decoder);
            qvl_kv_free(&kv);
            qvl_features_free(&features);
            test_model_close(&t);
        }
    }
    free(row);
}

/* ---- cache --------------------------------------------------------------------------------------- */

static void test_cache_grows(void **state)
{
    struct qvl_error err = {0};
    struct test_model t;
    struct qvl_kv kv;
    (void)state;
    test_model_open(QVL_ISA_SCALAR, QVL_BF16, QVL_COMPUTE_BF16, QVL_KV_AS_COMPUTED, 1, &t);
    assert_int_equal(qvl_kv_block_bytes(&t.model.config.text, t.model.kv), 4 * 2 * (2 * QVL_KV_BLOCK * 16 * 2));
    qvl_kv_init(&kv, &t.model);
    assert_int_equal(qvl_kv_reserve(&kv, 0, &err), QVL_OK);
    assert_int_equal(kv.n_block, 0);
    assert_int_equal(qvl_kv_reserve(&kv, 1, &err), QVL_OK);
    assert_int_equal(kv.n_block, 1);
    void *k = kv.k_table[0], *v = kv.v_table[7 * kv.n_block_alloc];
    assert_int_equal(qvl_kv_reserve(&kv, 40 * QVL_KV_BLOCK + 1, &err), QVL_OK);
    assert_int_equal(kv.n_block, 41);
    assert_ptr_equal(kv.k_table[0], k); /* blocks stay where they are when the tables grow */
    assert_ptr_equal(kv.v_table[7 * kv.n_block_alloc], v);
    assert_int_equal(qvl_kv_reserve(&kv, 5, &err), QVL_OK);
    assert_int_equal(kv.n_block, 41);
    qvl_kv_free(&kv);
    assert_int_equal(qvl_kv_reserve(&(struct qvl_kv){.model = &t.model}, SIZE_MAX, &err), QVL_ERR_MEMORY);
    test_model_close(&t);
}

static void test_out_of_memory(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* a sanitizer's own memory counts against the limit */
#else
    struct qvl_error err = {0};
    struct test_model t;
    struct qvl_kv kv;
    struct rlimit old;
    const struct qvl_grid large = {1, 2000, 2000};
    struct qvl_error vision_err = {0}, decoder_err = {0};
    struct qvl_vision *vision = NULL;
    struct qvl_decoder *decoder = NULL;
    test_model_open(QVL_ISA_SCALAR, QVL_BF16, QVL_COMPUTE_BF16, QVL_KV_AS_COMPUTED, 1, &t);
    qvl_kv_init(&kv, &t.model);
    assert_int_equal(qvl_kv_reserve(&kv, 1, &err), QVL_OK);
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(setrlimit(RLIMIT_AS, &(struct rlimit){.rlim_cur = 256u << 20, .rlim_max = old.rlim_max}), 0);
    enum qvl_status status = qvl_kv_reserve(&kv, 1000000, &err);
    enum qvl_status vision_status = qvl_vision_open(&t.model, &large, 1, NULL, NULL, &vision, &vision_err);
    enum qvl_status decoder_status = qvl_decoder_open(&t.model, 1000000, &decoder, &decoder_err);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(status, QVL_ERR_MEMORY);
    assert_non_null(strstr(err.text, "1000000 positions"));
    assert_int_equal(vision_status, QVL_ERR_MEMORY);
    assert_non_null(strstr(vision_err.text, "vision tower"));
    assert_null(vision);
    assert_int_equal(decoder_status, QVL_ERR_MEMORY);
    assert_null(decoder);
    assert_int_equal(qvl_kv_reserve(&kv, 300, &err), QVL_OK); /* still of use */
    assert_int_equal(kv.n_pos, 0);
    qvl_kv_free(&kv);
    test_model_close(&t);
#endif
}

int main(void)
{
    use_emulated_level(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vision_same_bits),  cmocka_unit_test(test_vision_cancel),
        cmocka_unit_test(test_decoder_same_bits), cmocka_unit_test(test_decoder_cancel),
        cmocka_unit_test(test_cache_grows),       cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_weight_types_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
