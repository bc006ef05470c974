/* Folders as AWQ, GPTQ, compressed-tensors and FP8 quantise them, drawn anew here (foreign_model.h): the bytes of
 * the file are those that the reference read, the numbers of every matrix are those that the reference makes of it,
 * to the bit, and the logits are those of transformers with these numbers. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/sha256.h"
#include "foreign_model.h"
#include "golden_run.h"
#include "load/quantize.h"
#include "load/stored.h"

#define LIMIT 2e-4 /* of the largest logit: as in test_reference.c */

static struct foreign_vectors vectors;

static int open_vectors(void **state)
{
    (void)state;
    foreign_vectors_open(&vectors);
    return 0;
}

static int close_vectors(void **state)
{
    (void)state;
    foreign_vectors_close(&vectors);
    return 0;
}

static void remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        char file[512];
        snprintf(file, sizeof file, "%.200s/%.255s", path, d->d_name);
        if (d->d_name[0] != '.')
            unlink(file);
    }
    closedir(dir);
    rmdir(path);
}

static void check_file(const char *test_case, const char *folder, const json_t *of_case)
{
    char path[512], hex[65];
    size_t n;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    char *bytes = golden_read_file(path, &n);
    sha256_hex(bytes, n, hex);
    free(bytes);
    if (strcmp(hex, json_string_value(json_object_get(of_case, "file_sha256"))) != 0)
        fail_msg("%s: model.safetensors differs from the one of the reference run", test_case);
}

/* n_row rows at a time, which is not always what a panel has. */
static void check_numbers(const char *test_case, const char *folder, char letter, const json_t *of_case,
                          size_t n_row)
{
    struct qvl_config config;
    struct qvl_weights *weights = NULL;
    struct qvl_error err = {0};
    char path[512], hex[65];
    size_t n_file, n = 0, n_alloc = (size_t)16 << 20;
    uint64_t n_header;
    json_error_t fault;
    if (qvl_config_load(folder, &config, &err) || qvl_weights_open(folder, &config, &weights, &err) ||
        qvl_weights_map(weights, &err))
        fail_msg("%s: %s", test_case, err.text);
    snprintf(path, sizeof path, "%s/model.safetensors", golden_folder(letter));
    char *bytes = golden_read_file(path, &n_file);
    memcpy(&n_header, bytes, sizeof n_header);
    json_t *header = json_loadb(bytes + 8, (size_t)n_header, 0, &fault), *entry;
    float *x = malloc(n_alloc * sizeof *x);
    assert_non_null(x);
    const char *name;
    json_object_foreach(header, name, entry)
    {
        const struct qvl_tensor *t = qvl_weights_find(weights, name);
        if (!t || !foreign_model_has(&vectors, test_case, name, t->n_dim))
            continue;
        assert_int_equal(t->dtype, QVL_STORED);
        assert_true(n + t->n_element <= n_alloc);
        for (size_t i = 0; i < t->dim[0]; i += n_row)
            qvl_stored_rows(t, i, t->dim[0] - i < n_row ? t->dim[0] - i : n_row, x + n + i * t->dim[1]);
        n += t->n_element;
    }
    sha256_hex(x, n * sizeof *x, hex);
    if (strcmp(hex, json_string_value(json_object_get(of_case, "weights_sha256"))) != 0)
        fail_msg("%s, %zu rows at a time: the numbers are not the reference's", test_case, n_row);
    free(x);
    json_decref(header);
    free(bytes);
    qvl_weights_close(weights);
}

static void check_logits(const char *test_case, const char *folder, char letter)
{
    struct golden g;
    struct golden_prompt prompt;
    struct golden_sequence sequence;
    golden_open_folder(&g, letter, folder, golden_best_level(), 2, QVL_QUANTIZE_NONE, QVL_COMPUTE_F32,
                       QVL_KV_AS_COMPUTED);
    size_t vocab = g.config.text.vocab;
    float *logits = malloc(vocab * sizeof *logits);
    const float *expected = foreign_vectors_logits(&vectors, test_case);
    assert_non_null(logits);
    golden_prompt_make(&g, "one", NULL, 0, &prompt);
    golden_see(&g, &prompt, 1, NULL);
    golden_sequence_open(&g, &prompt, &sequence);
    struct qvl_decoder *decoder = golden_decoder(&g, prompt.n);
    golden_prefill(&g, decoder, &sequence, prompt.n, 1, logits, NULL);
    double worst = 0, largest = 0;
    for (size_t i = 0; i < vocab; i++) {
        worst = fmax(worst, fabs((double)logits[i] - (double)expected[i]));
        largest = fmax(largest, fabs((double)expected[i]));
    }
    printf("%-16s logits differ by %.1e of the largest\n", test_case, worst / largest);
    if (!(worst <= LIMIT * largest))
        fail_msg("%s: logits differ by %.1e of the largest", test_case, worst / largest);
    qvl_decoder_close(decoder);
    golden_sequence_close(&sequence);
    golden_prompt_free(&prompt);
    free(logits);
    golden_close(&g);
}

static void test_every_format(void **state)
{
    const char *test_case;
    json_t *of_case;
    size_t n = 0;
    (void)state;
    json_object_foreach(vectors.cases, test_case, of_case)
    {
        char folder[] = "/tmp/qvl-foreign-XXXXXX";
        char letter = json_string_value(json_object_get(of_case, "letter"))[0];
        assert_non_null(mkdtemp(folder));
        foreign_model_write(&vectors, test_case, folder);
        check_file(test_case, folder, of_case);
        check_numbers(test_case, folder, letter, of_case, 16);
        check_numbers(test_case, folder, letter, of_case, 7);
        check_logits(test_case, folder, letter);
        remove_folder(folder);
        n++;
    }
    assert_int_equal(n, 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_format)};
    return cmocka_run_group_tests(tests, open_vectors, close_vectors);
}
