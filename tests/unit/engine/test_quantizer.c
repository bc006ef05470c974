/* `qvl quantize` of a model in two GGUF files: the folder it writes holds the same packed bytes as one written from
 * the folder that the files were made of, the same configuration, and the same tokenizer. The model is the demo
 * model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/os.h"
#include "load/config_write.h"
#include "load/quantize.h"
#include "load/stored.h"
#include "text/tokenizer_write.h"

static const char demo[] = "demo/model";

/* ---- a folder for the test ----------------------------------------------------------------------- */

static int open_dir(void **state)
{
    char name[] = "/tmp/qvl-test-XXXXXX";
    *state = mkdtemp(name) ? strdup(name) : NULL;
    return *state ? 0 : -1;
}

static int close_dir(void **state)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", (char *)*state);
    free(*state);
    return system(command);
}

static void convert(const char *out, enum qvl_convert_type type)
{
    const struct qvl_converter_options options = {.model_dir = demo, .out = out, .type = type, .n_thread = 2};
    struct qvl_converter *converter = NULL;
    struct qvl_error err = {0};
    bool is_done = false;
    assert_int_equal(qvl_converter_open(&options, &converter, &err), QVL_OK);
    while (!is_done)
        assert_int_equal(qvl_converter_next(converter, &is_done, &err), QVL_OK);
    qvl_converter_close(converter);
}

static void quantize(const char *model, const char *out, enum qvl_quantization type)
{
    const struct qvl_quantizer_options options = {.model_dir = model, .out_dir = out, .type = type, .n_thread = 2};
    struct qvl_quantizer *quantizer = NULL;
    struct qvl_error err = {0};
    bool is_done = false;
    if (qvl_quantizer_open(&options, &quantizer, &err))
        fail_msg("%s", err.text);
    while (!is_done)
        if (qvl_quantizer_next(quantizer, &is_done, &err))
            fail_msg("%s", err.text);
    qvl_quantizer_close(quantizer);
}

static struct qvl_weights *open_weights(const char *dir, struct qvl_config *config)
{
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    assert_int_equal(qvl_config_load(dir, config, &err), QVL_OK);
    assert_int_equal(qvl_weights_open(dir, config, &weights, &err), QVL_OK);
    assert_int_equal(qvl_weights_map(weights, &err), QVL_OK);
    return weights;
}

/* ---- weights ------------------------------------------------------------------------------------- */

/* Norms and biases are f32 in GGUF: the same numbers in another type. */
static void assert_same_numbers(const struct qvl_tensor *a, const struct qvl_tensor *b)
{
    size_t n = (size_t)a->n_element, n_row = (size_t)a->dim[0];
    float *x = malloc(2 * n * sizeof *x);
    qvl_stored_rows(a, 0, n_row, x);
    qvl_stored_rows(b, 0, n_row, x + n);
    if (memcmp(x, x + n, n * sizeof *x) != 0)
        fail_msg("%s differs", a->name);
    free(x);
}

static void the_same_weights(void **state)
{
    char gguf[80], a[80], b[80];
    snprintf(gguf, sizeof gguf, "%s/demo.gguf", (char *)*state);
    convert(gguf, QVL_CONVERT_BF16);
    for (enum qvl_quantization type = QVL_QUANTIZE_Q8; type <= QVL_QUANTIZE_BALANCED; type++) {
        struct qvl_config config_a, config_b;
        snprintf(a, sizeof a, "%s/from-gguf-%d", (char *)*state, (int)type);
        snprintf(b, sizeof b, "%s/from-folder-%d", (char *)*state, (int)type);
        quantize(gguf, a, type);
        quantize(demo, b, type);
        struct qvl_weights *weights_a = open_weights(a, &config_a), *weights_b = open_weights(b, &config_b);
        assert_int_equal(config_a.quantization, type);
        assert_int_equal(qvl_weights_n_tensor(weights_a), qvl_weights_n_tensor(weights_b));
        for (size_t i = 0; i < qvl_weights_n_tensor(weights_a); i++) {
            const struct qvl_tensor *from_gguf = qvl_weights_at(weights_a, i), *t = qvl_weights_at(weights_b, i);
            assert_string_equal(from_gguf->name, t->name);
            if (t->is_matrix)
                assert_int_equal(from_gguf->dtype, t->dtype);
            if (qvl_dtype_is_packed(t->dtype))
                assert_memory_equal(from_gguf->data, t->data, (size_t)qvl_tensor_bytes(t));
            else
                assert_same_numbers(from_gguf, t);
        }
        qvl_weights_close(weights_a);
        qvl_weights_close(weights_b);
    }
}

/* ---- small files --------------------------------------------------------------------------------- */

static void write_files(const struct qvl_config *config, struct qvl_small_file file[QVL_N_CONFIG_FILE])
{
    struct qvl_error err = {0};
    memset(file, 0, QVL_N_CONFIG_FILE * sizeof *file);
    assert_int_equal(qvl_config_write(config, file, &err), QVL_OK);
}

static void free_files(struct qvl_small_file file[QVL_N_CONFIG_FILE])
{
    for (size_t i = 0; i < QVL_N_CONFIG_FILE; i++)
        qvl_bytes_free(&file[i].text);
}

static void assert_same_config(const struct qvl_config *a, const struct qvl_config *b)
{
    struct qvl_small_file file_a[QVL_N_CONFIG_FILE], file_b[QVL_N_CONFIG_FILE];
    write_files(a, file_a);
    write_files(b, file_b);
    for (size_t i = 0; i < QVL_N_CONFIG_FILE; i++)
        assert_string_equal(file_a[i].text.data, file_b[i].text.data);
    free_files(file_a);
    free_files(file_b);
}

/* What is written is read again as what it was. */
static void assert_reads_back(const struct qvl_config *config, const char *dir)
{
    struct qvl_small_file file[QVL_N_CONFIG_FILE];
    struct qvl_config back;
    struct qvl_error err = {0};
    write_files(config, file);
    for (size_t i = 0; i < QVL_N_CONFIG_FILE; i++) {
        char path[120];
        snprintf(path, sizeof path, "%s/%s", dir, file[i].name);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(file[i].text.data, 1, file[i].text.n, f), file[i].text.n);
        fclose(f);
    }
    free_files(file);
    if (qvl_config_load(dir, &back, &err))
        fail_msg("%s", err.text);
    assert_same_config(config, &back);
    assert_float_equal(back.text.rms_norm_eps, config->text.rms_norm_eps, 0);
    assert_float_equal(back.image.rescale, config->image.rescale, 0);
    assert_true(back.text.rope.theta == config->text.rope.theta);
    assert_true(back.text.rope.factor == config->text.rope.factor);
    assert_int_equal(back.text.rope.type, config->text.rope.type);
    assert_int_equal(back.text.rope.original_max_position, config->text.rope.original_max_position);
    assert_true(back.text.rope.attention_factor == config->text.rope.attention_factor);
    assert_int_equal(back.text.is_tied, config->text.is_tied);
    assert_true(back.video.fps == config->video.fps);
    assert_int_equal(back.image.max_pixels, config->image.max_pixels);
    assert_int_equal(back.video.max_pixels, config->video.max_pixels);
    assert_int_equal(back.generation.n_eos, config->generation.n_eos);
    assert_memory_equal(back.generation.eos, config->generation.eos, config->generation.n_eos * sizeof(uint32_t));
    assert_float_equal(back.generation.sampling.temperature, config->generation.sampling.temperature, 0);
    assert_float_equal(back.generation.sampling.top_p, config->generation.sampling.top_p, 0);
    assert_float_equal(back.generation.sampling.presence_penalty, config->generation.sampling.presence_penalty, 0);
}

static void config_reads_back(void **state)
{
    struct qvl_config config;
    struct qvl_error err = {0};
    assert_int_equal(qvl_config_load(demo, &config, &err), QVL_OK);
    assert_reads_back(&config, *state);
    config.generation.sampling = (struct qvl_sampling){.temperature = 0.7f,
                                                       .top_k = 20,
                                                       .top_p = 0.8f,
                                                       .min_p = 0.05f,
                                                       .repetition_penalty = 1.05f,
                                                       .presence_penalty = -1.5f};
    config.text.is_tied = false;
    config.text.rms_norm_eps = 1.1e-6f;
    config.text.rope.type = QVL_ROPE_YARN;
    config.text.rope.theta = 1e6 / 3;
    config.text.rope.factor = 4;
    config.text.rope.original_max_position = 4096;
    config.video.fps = 29.97;
    config.generation.n_eos = 0;
    assert_reads_back(&config, *state);
    config.text.rope.attention_factor = 1.1;
    config.text.rope.truncate = false;
    assert_reads_back(&config, *state);
}

static void config_of_the_folder(void **state)
{
    char gguf[80], out[80];
    struct qvl_config from_gguf, from_folder;
    struct qvl_error err = {0};
    snprintf(gguf, sizeof gguf, "%s/demo.gguf", (char *)*state);
    snprintf(out, sizeof out, "%s/out", (char *)*state);
    convert(gguf, QVL_CONVERT_F16);
    quantize(gguf, out, QVL_QUANTIZE_Q8);
    assert_int_equal(qvl_config_load(out, &from_gguf, &err), QVL_OK);
    assert_int_equal(qvl_config_load(demo, &from_folder, &err), QVL_OK);
    from_gguf.is_demo = from_folder.is_demo; /* GGUF has no word for it */
    assert_same_config(&from_gguf, &from_folder);
    assert_int_equal(from_gguf.is_thinking, from_folder.is_thinking);
    struct qvl_bytes template_a = {0}, template_b = {0};
    assert_int_equal(qvl_config_read_template(out, &template_a, &err), QVL_OK);
    assert_int_equal(qvl_config_read_template(demo, &template_b, &err), QVL_OK);
    assert_true(template_a.n > 100);
    assert_string_equal(template_a.data, template_b.data);
    qvl_bytes_free(&template_a);
    qvl_bytes_free(&template_b);
}

static void assert_same_strings(const struct qvl_strings *a, const struct qvl_strings *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->bytes.n, b->bytes.n);
    assert_memory_equal(a->bytes.data, b->bytes.data, a->bytes.n);
    assert_memory_equal(a->end, b->end, a->n * sizeof *a->end);
}

static void tokenizer_reads_back(void **state)
{
    static const char *const folders[] = {"demo/model", "tests/golden"};
    (void)state;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        struct qvl_tokenizer_file file = {0}, back = {.name = "written"};
        struct qvl_bytes text = {0};
        struct qvl_error err = {0};
        assert_int_equal(qvl_tokenizer_file_read(folders[i], &file, &err), QVL_OK);
        assert_int_equal(qvl_tokenizer_write(&file, &text, &err), QVL_OK);
        if (qvl_tokenizer_file_parse(text.data, text.n, &back, &err))
            fail_msg("%s", err.text);
        assert_same_strings(&file.token, &back.token);
        assert_same_strings(&file.merge, &back.merge);
        assert_memory_equal(file.id, back.id, file.token.n * sizeof *file.id);
        assert_memory_equal(file.added_id, back.added_id, sizeof file.added_id);
        qvl_bytes_free(&text);
        qvl_tokenizer_file_free(&file);
        qvl_tokenizer_file_free(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_weights, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(config_reads_back, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(config_of_the_folder, open_dir, close_dir),
        cmocka_unit_test(tokenizer_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
