/* From the tensors of files to those that the engine computes with: which type each gets, what is made and what
 * stays where it is mapped; how far it is, and that it can be stopped. */
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "load/prepare.h"
#include "load/quantize.h"
#include "load/stored.h"

#define Q_PROJ "model.language_model.layers.0.self_attn.q_proj.weight"
#define FC1 "model.visual.blocks.0.mlp.linear_fc1.weight"
#define POSITIONS "model.visual.pos_embed.weight"
#define NORM "model.language_model.norm.weight"
#define EMBEDDING "model.language_model.embed_tokens.weight"

/* The reference's tiny model, mapped; then some of its tensors as another program would store them. */
struct opened {
    struct qvl_config config;
    struct qvl_weights *weights;
    struct qvl_pool *pool;
    struct qvl_stored stored[8];
    void *block[8];
    size_t n_stored;
};

static struct opened open_tiny(const char *dir)
{
    struct opened o = {.n_stored = 0};
    struct qvl_error err = {0};
    folder_write_model(dir);
    assert_int_equal(qvl_config_load(dir, &o.config, &err), QVL_OK);
    assert_int_equal(qvl_weights_open(dir, &o.config, &o.weights, &err), QVL_OK);
    assert_int_equal(qvl_weights_map(o.weights, &err), QVL_OK);
    assert_int_equal(qvl_pool_open(2, &o.pool, &err), QVL_OK);
    return o;
}

static void close_tiny(struct opened *o)
{
    for (size_t i = 0; i < o->n_stored; i++)
        free(o->block[i]);
    qvl_weights_close(o->weights);
    qvl_pool_close(o->pool);
}

static struct qvl_tensor *tensor(struct opened *o, const char *name)
{
    struct qvl_tensor *t = (struct qvl_tensor *)(uintptr_t)qvl_weights_find(o->weights, name);
    assert_non_null(t);
    return t;
}

/* Q8_0: number j of block b is (b + j) % 256 - 128 halves. */
static void store(struct opened *o, const char *name)
{
    struct qvl_tensor *t = tensor(o, name);
    struct qvl_stored *stored = &o->stored[o->n_stored];
    size_t n_block = (size_t)t->n_element / 32;
    uint8_t *block = o->block[o->n_stored++] = malloc(n_block * 34);
    for (size_t b = 0; b < n_block; b++) {
        block[b * 34] = 0x00;
        block[b * 34 + 1] = 0x38; /* 0.5 */
        for (size_t j = 0; j < 32; j++)
            block[b * 34 + 2 + j] = (uint8_t)(b + j + 128);
    }
    *stored = (struct qvl_stored){.format = QVL_STORED_GGML,
                                  .ggml_type = QVL_GGML_Q8_0,
                                  .weight = {.data = block},
                                  .rows = qvl_stored_rows_ggml};
    t->dtype = QVL_STORED;
    t->stored = stored;
    t->data = NULL;
}

static float number_of(size_t i)
{
    return 0.5f * (float)(int8_t)(i / 32 + i % 32 + 128);
}

/* As f32 in memory, the numbers of the bf16 ones. */
static float *widen(struct opened *o, const char *name)
{
    struct qvl_tensor *t = tensor(o, name);
    float *x = o->block[o->n_stored++] = malloc((size_t)t->n_element * sizeof *x);
    qvl_ggml_widen(QVL_GGML_BF16, t->data, (size_t)t->n_element, x);
    t->dtype = QVL_F32;
    t->data = x;
    return x;
}

static enum qvl_dtype planned(struct opened *o, enum qvl_quantization quantization, enum qvl_dtype floats,
                              const char *name)
{
    struct qvl_config want = o->config;
    struct qvl_arena arena = {0};
    struct qvl_error err = {0};
    struct qvl_tensor *to = NULL;
    size_t n = 0, i = 0;
    want.quantization = quantization;
    assert_int_equal(qvl_weights_plan(o->weights, &want, floats, &arena, &to, &n, &err), QVL_OK);
    while (i < n && strcmp(to[i].name, name) != 0)
        i++;
    assert_true(i < n);
    enum qvl_dtype dtype = to[i].dtype;
    bool is_file = to[i].data == qvl_weights_source(o->weights, &to[i])->data && to[i].data;
    assert_int_equal(is_file, dtype == qvl_weights_source(o->weights, &to[i])->dtype);
    qvl_arena_free(&arena);
    return dtype;
}

static void plain_models_stay(void **state)
{
    struct opened o = open_tiny(*state);
    widen(&o, FC1);
    assert_false(qvl_weights_is_foreign(o.weights));
    assert_false(qvl_weights_needs_preparing(o.weights, &o.config, &o.config));
    assert_int_equal(planned(&o, QVL_QUANTIZE_NONE, QVL_BF16, FC1), QVL_F32);
    assert_int_equal(planned(&o, QVL_QUANTIZE_NONE, QVL_F32, Q_PROJ), QVL_BF16);
    assert_int_equal(planned(&o, QVL_QUANTIZE_Q8, QVL_BF16, Q_PROJ), QVL_Q8);
    assert_int_equal(planned(&o, QVL_QUANTIZE_Q8, QVL_BF16, FC1), QVL_F32);
    close_tiny(&o);
}

static void types_of_stored_models(void **state)
{
    struct opened o = open_tiny(*state);
    store(&o, FC1);
    assert_false(qvl_weights_is_foreign(o.weights)); /* the tower alone */
    assert_true(qvl_weights_needs_preparing(o.weights, &o.config, &o.config));
    store(&o, Q_PROJ);
    store(&o, POSITIONS);
    widen(&o, EMBEDDING);
    widen(&o, NORM);
    assert_true(qvl_weights_is_foreign(o.weights));

    assert_int_equal(planned(&o, QVL_QUANTIZE_NONE, QVL_BF16, Q_PROJ), QVL_BF16);
    assert_int_equal(planned(&o, QVL_QUANTIZE_NONE, QVL_BF16, FC1), QVL_BF16);
    assert_int_equal(planned(&o, QVL_QUANTIZE_NONE, QVL_BF16, EMBEDDING), QVL_BF16); /* all matrices alike */
    assert_int_equal(planned(&o, QVL_QUANTIZE_NONE, QVL_BF16, NORM), QVL_F32);
    assert_int_equal(planned(&o, QVL_QUANTIZE_NONE, QVL_BF16, POSITIONS), QVL_F32);

    assert_int_equal(planned(&o, QVL_QUANTIZE_NONE, QVL_F32, Q_PROJ), QVL_F32);
    assert_int_equal(planned(&o, QVL_QUANTIZE_NONE, QVL_F32, EMBEDDING), QVL_F32);

    assert_int_equal(planned(&o, QVL_QUANTIZE_Q4, QVL_BF16, Q_PROJ), QVL_Q4);
    assert_int_equal(planned(&o, QVL_QUANTIZE_Q4, QVL_BF16, EMBEDDING), QVL_A8);
    assert_int_equal(planned(&o, QVL_QUANTIZE_Q4, QVL_BF16, "lm_head.weight"), QVL_Q4);
    assert_int_equal(planned(&o, QVL_QUANTIZE_Q4, QVL_BF16, FC1), QVL_BF16);
    close_tiny(&o);
}

struct told {
    size_t n;
    double last;
};

static void tell(void *arg, double share)
{
    struct told *told = arg;
    assert_true(share >= told->last && share <= 1);
    told->n++;
    told->last = share;
}

static void floats_of_stored_matrices(void **state)
{
    struct opened o = open_tiny(*state);
    struct qvl_error err = {0};
    struct told told = {0};
    uint64_t n_bytes;
    assert_false(qvl_weights_is_rounded(o.weights));
    store(&o, Q_PROJ);
    store(&o, POSITIONS);
    assert_true(qvl_weights_is_rounded(o.weights));
    const void *mapped = tensor(&o, NORM)->data;
    const struct qvl_prepare_options options = {.floats = QVL_F32, .tell = tell, .tell_arg = &told};
    struct qvl_config want = o.config;
    assert_int_equal(qvl_weights_prepared_bytes(o.weights, &o.config, &want, QVL_F32, &n_bytes, &err), QVL_OK);
    assert_int_equal(qvl_weights_prepare(o.weights, &o.config, &want, &options, o.pool, &err), QVL_OK);
    assert_int_equal(n_bytes, qvl_weights_bytes(o.weights));
    static const char *const made[] = {Q_PROJ, POSITIONS};
    for (size_t i = 0; i < 2; i++) {
        const struct qvl_tensor *t = tensor(&o, made[i]);
        assert_int_equal(t->dtype, QVL_F32);
        for (size_t k = 0; k < t->n_element; k++)
            assert_true(((const float *)t->data)[k] == number_of(k));
    }
    assert_ptr_equal(tensor(&o, NORM)->data, mapped);
    assert_int_equal(told.n, 2);
    assert_true(told.last > 0.99);
    assert_false(qvl_weights_needs_preparing(o.weights, &o.config, &want));
    assert_int_equal(qvl_weights_map(o.weights, &err), QVL_OK); /* again: nothing happens */
    assert_int_equal(tensor(&o, Q_PROJ)->dtype, QVL_F32);
    close_tiny(&o);
}

static void packed_as_from_floats(void **state)
{
    struct opened o = open_tiny(*state);
    struct qvl_error err = {0};
    store(&o, Q_PROJ);
    struct qvl_tensor floats = *tensor(&o, Q_PROJ);
    float *x = malloc((size_t)floats.n_element * sizeof *x);
    for (size_t k = 0; k < floats.n_element; k++)
        x[k] = number_of(k);
    floats.dtype = QVL_F32;
    floats.data = x;
    const struct qvl_prepare_options options = {.floats = QVL_BF16};
    struct qvl_config want = o.config;
    want.quantization = QVL_QUANTIZE_Q8;
    uint64_t n_bytes;
    assert_int_equal(qvl_weights_prepared_bytes(o.weights, &o.config, &want, QVL_BF16, &n_bytes, &err), QVL_OK);
    assert_int_equal(qvl_weights_prepare(o.weights, &o.config, &want, &options, o.pool, &err), QVL_OK);
    assert_int_equal(n_bytes, qvl_weights_bytes(o.weights));
    assert_int_equal(o.config.quantization, QVL_QUANTIZE_Q8);
    const struct qvl_tensor *got = tensor(&o, Q_PROJ);
    size_t n = (size_t)qvl_tensor_bytes(got), n_row = (size_t)got->dim[0];
    void *expected = aligned_alloc(64, (n + 63) / 64 * 64);
    assert_int_equal(qvl_quantize_rows(&floats, QVL_Q8, 0, n_row, o.pool, NULL, expected, &err), QVL_OK);
    assert_memory_equal(got->data, expected, n);
    free(expected);
    free(x);
    close_tiny(&o);
}

static void named_and_stopped(void **state)
{
    struct opened o = open_tiny(*state);
    struct qvl_error err = {0};
    struct qvl_config want = o.config;
    atomic_bool stop;
    atomic_init(&stop, true);
    store(&o, Q_PROJ);
    struct qvl_prepare_options options = {.floats = QVL_BF16, .stop = &stop};
    assert_int_equal(qvl_weights_prepare(o.weights, &o.config, &want, &options, o.pool, &err), QVL_ERR_CANCELLED);
    options.stop = NULL;
    ((uint8_t *)o.block[0])[3 * 34 + 1] = 0x7c; /* infinite: block 3 is in row 1 of 64 numbers */
    assert_int_equal(qvl_weights_prepare(o.weights, &o.config, &want, &options, o.pool, &err), QVL_ERR_MODEL);
    assert_string_equal(err.text, Q_PROJ ": row 1 holds a value that is infinite or not a number");
    assert_int_equal(qvl_weights_check_finite(o.weights, o.pool, NULL, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, Q_PROJ ": value 96 of"));
    close_tiny(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(plain_models_stay, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(types_of_stored_models, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(floats_of_stored_matrices, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(packed_as_from_floats, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(named_and_stopped, folder_open, folder_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
