/* `qvl quantize` of folders that other programs have quantised: the new folder is qvl's own, says nothing of the
 * old way, and holds the bytes that packing while loading makes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "foreign_model.h"
#include "golden_run.h"
#include "load/prepare.h"
#include "load/quantize.h"

static void quantize(const char *model, const char *out)
{
    const struct qvl_quantizer_options options = {
        .model_dir = model, .out_dir = out, .type = QVL_QUANTIZE_Q8, .n_thread = 1};
    struct qvl_quantizer *quantizer = NULL;
    struct qvl_error err = {0};
    bool is_done = false;
    enum qvl_status status = qvl_quantizer_open(&options, &quantizer, &err);
    while (!status && !is_done)
        status = qvl_quantizer_next(quantizer, &is_done, &err);
    qvl_quantizer_close(quantizer);
    if (status)
        fail_msg("%s", err.text);
}

static struct qvl_weights *open_weights(const char *dir, struct qvl_config *config)
{
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    if (qvl_config_load(dir, config, &err) || qvl_weights_open(dir, config, &weights, &err) ||
        qvl_weights_map(weights, &err))
        fail_msg("%s", err.text);
    return weights;
}

static void one(const char *dir, const char *packed_dir)
{
    const struct qvl_prepare_options options = {.floats = QVL_BF16};
    struct qvl_config config, packed_config, want;
    struct qvl_pool *pool = NULL;
    struct qvl_error err = {0};
    struct qvl_weights *loaded = open_weights(dir, &config), *packed = open_weights(packed_dir, &packed_config);
    assert_true(config.foreign.n_scheme > 0);
    assert_int_equal(packed_config.foreign.n_scheme, 0);
    assert_int_equal(packed_config.quantization, QVL_QUANTIZE_Q8);
    want = config;
    want.quantization = QVL_QUANTIZE_Q8;
    assert_int_equal(qvl_pool_open(2, &pool, &err), QVL_OK);
    assert_int_equal(qvl_weights_prepare(loaded, &config, &want, &options, pool, &err), QVL_OK);
    assert_int_equal(qvl_weights_n_tensor(loaded), qvl_weights_n_tensor(packed));
    for (size_t i = 0; i < qvl_weights_n_tensor(loaded); i++) {
        const struct qvl_tensor *a = qvl_weights_at(loaded, i), *b = qvl_weights_at(packed, i);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->dtype, b->dtype);
        assert_memory_equal(a->data, b->data, (size_t)qvl_tensor_bytes(a));
    }
    qvl_pool_close(pool);
    qvl_weights_close(loaded);
    qvl_weights_close(packed);
}

static void each_folder(void **state)
{
    struct foreign_vectors vectors;
    char work[] = "/tmp/qvl-foreign-XXXXXX", dir[96], packed[112], command[64];
    const char *name;
    json_t *unused;
    size_t n = 0;
    (void)state;
    assert_non_null(mkdtemp(work));
    foreign_vectors_open(&vectors);
    json_object_foreach(vectors.cases, name, unused)
    {
        snprintf(dir, sizeof dir, "%s/%s", work, name);
        snprintf(packed, sizeof packed, "%s-q8", dir);
        assert_int_equal(mkdir(dir, 0777), 0);
        foreign_model_write(&vectors, name, dir);
        quantize(dir, packed);
        one(dir, packed);
        n++;
    }
    assert_true(n >= 15);
    foreign_vectors_close(&vectors);
    snprintf(command, sizeof command, "rm -r '%s'", work);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
