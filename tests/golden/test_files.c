/* The golden models written here have, file by file, the bytes that the reference run read (manifest.json). */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden_run.h"
#include "../lib/sha256.h"

static json_t *open_manifest(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s/vectors/manifest.json", golden_dir());
    json_error_t fault;
    json_t *manifest = json_load_file(path, 0, &fault);
    if (!manifest)
        fail_msg("%s: %s", path, fault.text);
    return manifest;
}

static const json_t *of_model(const json_t *manifest, char letter, const char *key)
{
    char name[] = {letter, 0};
    const json_t *found = json_object_get(json_object_get(json_object_get(manifest, "models"), name), key);
    assert_non_null(found);
    return found;
}

static void test_sha256(void **state)
{
    (void)state;
    char hex[65], many[200];
    sha256_hex("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    memset(many, 'a', sizeof many);
    sha256_hex(many, 119, hex); /* the tail takes two blocks */
    assert_string_equal(hex, "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb");
}

static void test_model_files(void **state)
{
    (void)state;
    json_t *manifest = open_manifest();
    for (const char *letter = GOLDEN_LETTERS; *letter; letter++) {
        const char *folder = golden_folder(*letter), *file;
        json_t *expected;
        size_t n_file = 0;
        /* clang-format off */
        json_object_foreach((json_t *)of_model(manifest, *letter, "files"), file, expected) {
            /* clang-format on */
            char path[512], hex[65];
            size_t n;
            snprintf(path, sizeof path, "%s/%s", folder, file);
            char *bytes = golden_read_file(path, &n);
            sha256_hex(bytes, n, hex);
            free(bytes);
            if (strcmp(hex, json_string_value(expected)) != 0)
                fail_msg("model %c: %s differs from the one of the reference run", *letter, file);
            n_file++;
        }
        assert_true(n_file >= 6);
    }
    json_decref(manifest);
}

/* Pictures drawn, resized and cut here: every bit of pixel_values as the reference's processor makes them. */
static void test_pixel_values(void **state)
{
    (void)state;
    json_t *manifest = open_manifest();
    for (const char *letter = GOLDEN_LETTERS; *letter; letter++) {
        struct golden g;
        golden_open(&g, *letter, golden_best_level(), 1, QVL_COMPUTE_F32, QVL_KV_AS_COMPUTED);
        static const struct {
            const char *name, *key;
        } cases[] = {{"one", "pixel_values_sha256"},
                     {"three", "pixel_values_sha256"},
                     {"clip", "clip_pixel_values_sha256"},
                     {"one_clip", "clip_pixel_values_sha256"},
                     {"two_clips", "clip_pixel_values_sha256"}};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const char *test_case = cases[i].name;
            struct golden_prompt prompt;
            char hex[65];
            golden_prompt_make(&g, test_case, NULL, 0, &prompt);
            sha256_hex(prompt.patch_row, prompt.n_patch * qvl_patch_len(&g.config.vision) * sizeof(float), hex);
            const json_t *report = json_object_get(of_model(manifest, *letter, "cases"), test_case);
            const char *expected = json_string_value(json_object_get(report, cases[i].key));
            assert_non_null(expected);
            assert_string_equal(hex, expected);
            golden_prompt_free(&prompt);
        }
        golden_close(&g);
    }
    json_decref(manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_model_files),
        cmocka_unit_test(test_pixel_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
