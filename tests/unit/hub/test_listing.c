/* Answers as the hubs give them (taken from their APIs, shortened), and as nobody should. */
#include "hub/listing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/limits.h"

#define SUM256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SUM1 "a9993e364706816aba3e25717850c26c9cd0d89d"

static enum qvl_status add_hf(struct qvl_hub_listing *l, const char *json, struct qvl_error *err)
{
    return qvl_hub_listing_add_hf(l, json, strlen(json), "hub.example", err);
}

static void test_hf(void **state)
{
    (void)state;
    struct qvl_hub_listing l = {0};
    struct qvl_error err = {0};
    const char *page =
        "[{\"type\":\"directory\",\"oid\":\"" SUM1 "\",\"size\":0,\"path\":\"sub\"},"
        "{\"type\":\"file\",\"oid\":\"" SUM1 "\",\"size\":7,\"path\":\"config.json\"},"
        "{\"path\":\"model.safetensors\",\"lfs\":{\"oid\":\"" SUM256 "\",\"size\":4255000000,\"pointerSize\":135},"
        "\"xetHash\":\"" SUM256 "\",\"size\":4255000000,\"oid\":\"" SUM1 "\",\"type\":\"file\"},"
        "{\"type\":\"file\",\"oid\":\"" SUM1 "\",\"size\":3,\"path\":\"sub/x.txt\",\"lfs\":null}]";
    assert_int_equal(add_hf(&l, page, &err), QVL_OK);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.file[0].path, "config.json");
    assert_true(l.file[0].has_git_sha1 && !l.file[0].has_sha256 && l.file[0].n_bytes == 7);
    assert_true(l.file[0].git_sha1[0] == 0xa9 && l.file[0].git_sha1[19] == 0x9d);
    assert_true(l.file[1].has_sha256 && !l.file[1].has_git_sha1); /* the oid is the pointer's */
    assert_true(l.file[1].n_bytes == 4255000000ull && l.file[1].sha256[0] == 0xba && l.file[1].sha256[31] == 0xad);
    assert_true(l.file[2].has_git_sha1);
    /* the next page is added */
    assert_int_equal(add_hf(&l, "[{\"type\":\"file\",\"size\":1,\"path\":\"README.md\"}]", &err), QVL_OK);
    assert_int_equal(l.n, 4);
    qvl_hub_listing_free(&l);
}

static void test_modelscope(void **state)
{
    (void)state;
    struct qvl_hub_listing l = {0};
    struct qvl_error err = {0};
    const char *answer =
        "{\"Code\":200,\"Data\":{\"Files\":["
        "{\"Path\":\"sub\",\"Name\":\"sub\",\"Type\":\"tree\",\"Size\":0,\"Sha256\":\"\"},"
        "{\"Path\":\"config.json\",\"Type\":\"blob\",\"Size\":7,\"Revision\":\"x\",\"Sha256\":\"" SUM256 "\"},"
        "{\"Path\":\"README.md\",\"Type\":\"blob\",\"Size\":9,\"Sha256\":\"\"}],"
        "\"IsVisual\":0},\"Message\":\"\",\"Success\":true}";
    assert_int_equal(qvl_hub_listing_add_modelscope(&l, answer, strlen(answer), "ms.example", &err), QVL_OK);
    assert_int_equal(l.n, 2);
    assert_true(l.file[0].has_sha256 && l.file[0].n_bytes == 7);
    assert_false(l.file[1].has_sha256 || l.file[1].has_git_sha1);
    qvl_hub_listing_free(&l);
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "null",
                                      "{\"Data\":null}",
                                      "{\"Data\":{\"Files\":null}}",
                                      "{\"Data\":[]}",
                                      "{\"Data\":{\"Files\":{}}}",
                                      "{\"Data\":{\"Files\":[1]}}",
                                      "<html>",
                                      ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (struct qvl_error){0};
        assert_int_equal(qvl_hub_listing_add_modelscope(&l, bad[i], strlen(bad[i]), "ms.example", &err),
                         QVL_ERR_FILE);
        assert_true(strstr(err.text, "ms.example"));
        qvl_hub_listing_free(&l);
    }
}

/* ModelScope ends each list at 3000 entries and says nothing of it. */
static void test_modelscope_cut(void **state)
{
    (void)state;
    for (unsigned n = 2999; n <= 3001; n++) {
        struct qvl_hub_listing l = {0};
        struct qvl_error err = {0};
        struct qvl_bytes answer = {0};
        assert_int_equal(qvl_bytes_add_text(&answer, "{\"Code\":200,\"Data\":{\"Files\":[", &err), QVL_OK);
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(qvl_bytes_add_format(&answer, &err, "%s{\"Path\":\"%u\",\"Type\":\"%s\",\"Size\":1}",
                                                  i ? "," : "", i, i % 2 ? "blob" : "tree"),
                             QVL_OK);
        assert_int_equal(qvl_bytes_add_text(&answer, "]}}", &err), QVL_OK);
        assert_int_equal(qvl_hub_listing_add_modelscope(&l, answer.data, answer.n, "ms.example", &err),
                         n == 3000 ? QVL_ERR_LIMIT : QVL_OK);
        assert_true(n != 3000 || (strstr(err.text, "ms.example") && strstr(err.text, "3000")));
        qvl_hub_listing_free(&l);
        qvl_bytes_free(&answer);
    }
}

static void test_commit(void **state)
{
    (void)state;
    char out[65];
    struct qvl_error err = {0};
    const char *good = "{\"_id\":\"1\",\"siblings\":[{\"rfilename\":\"x\"}],\"sha\":\"" SUM1 "\",\"gated\":false}";
    assert_int_equal(qvl_hub_read_commit(good, strlen(good), "hub.example", out, &err), QVL_OK);
    assert_string_equal(out, SUM1);
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "{\"sha\":1}",
                                      "{\"sha\":\"\"}",
                                      "{\"sha\":\"main\"}",
                                      "{\"sha\":\"../../../../../../../../../../../../x/\"}",
                                      "{\"sha\":\"" SUM256 "\"}",
                                      "{\"sha\":[\"" SUM1 "\"]}",
                                      "{\"a\":{\"sha\":\"" SUM1 "\"}}",
                                      "not json"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (struct qvl_error){0};
        assert_int_equal(qvl_hub_read_commit(bad[i], strlen(bad[i]), "hub.example", out, &err), QVL_ERR_FILE);
        assert_true(err.text[0]);
    }
}

static void test_bad_names(void **state)
{
    (void)state;
    static const char *const names[] = {"../x",   "/etc/passwd", "a/../b", "a//b", ".",     "..",      "a/..",
                                        "a\\\\b", "a\\u0000b",   "a\\nb",  "",     "a/./b", "\\u007f", "c\\u0001"};
    char json[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct qvl_hub_listing l = {0};
        struct qvl_error err = {0};
        snprintf(json, sizeof json, "[{\"type\":\"file\",\"size\":1,\"path\":\"%s\"}]", names[i]);
        assert_int_equal(add_hf(&l, json, &err), QVL_ERR_FILE);
        assert_non_null(strstr(err.text, "hub.example"));
        assert_int_equal(l.n, 0);
        qvl_hub_listing_free(&l);
    }
}

static void test_bad_entries(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}", "{\"error\":\"x\"}", "[1]", "[{\"type\":\"file\",\"path\":\"a\"}]",
        "[{\"type\":\"file\",\"size\":1}]", "[{\"type\":\"file\",\"size\":-1,\"path\":\"a\"}]",
        "[{\"type\":\"file\",\"size\":1.5,\"path\":\"a\"}]",
        "[{\"type\":\"file\",\"size\":12345678901234567,\"path\":\"a\"}]",
        "[{\"type\":\"file\",\"size\":\"1\",\"path\":\"a\"}]", "[{\"type\":\"file\",\"size\":1,\"path\":[\"a\"]}]",
        /* a large file without its sum could be anything */
        "[{\"type\":\"file\",\"size\":1,\"path\":\"a\",\"lfs\":{\"size\":1}}]",
        "[{\"type\":\"file\",\"size\":1,\"path\":\"a\",\"lfs\":{\"oid\":\"" SUM1 "\",\"size\":1}}]",
        "[{\"type\":\"file\",\"size\":1,\"path\":\"a\"}",
        "[{\"type\":\"file\",\"size\":1,\"size\":2,\"path\":\"a\"}]", "[] []"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qvl_hub_listing l = {0};
        struct qvl_error err = {0};
        assert_int_equal(add_hf(&l, bad[i], &err), QVL_ERR_FILE);
        assert_true(err.text[0]);
        qvl_hub_listing_free(&l);
    }
}

static void test_too_many(void **state)
{
    (void)state;
    struct qvl_hub_listing l = {0};
    struct qvl_error err = {0};
    struct qvl_bytes json = {0};
    assert_int_equal(qvl_bytes_add_text(&json, "[", &err), QVL_OK);
    for (unsigned i = 0; i < QVL_MAX_HUB_LISTED; i++)
        assert_int_equal(
            qvl_bytes_add_format(&json, &err, "%s{\"type\":\"file\",\"size\":1,\"path\":\"%u\"}", i ? "," : "", i),
            QVL_OK);
    assert_int_equal(qvl_bytes_add_text(&json, "]", &err), QVL_OK);
    assert_int_equal(add_hf(&l, json.data, &err), QVL_OK);
    assert_int_equal(l.n, QVL_MAX_HUB_LISTED);
    assert_int_equal(add_hf(&l, "[{\"type\":\"file\",\"size\":1,\"path\":\"one more\"}]", &err), QVL_ERR_LIMIT);
    qvl_bytes_free(&json);
    qvl_hub_listing_free(&l);
}

/* ---- what is chosen ------------------------------------------------------------------------------ */

/* paths: separated by spaces, each followed by its size; what is kept comes the same way. */
static enum qvl_status choose(const char *paths, const char *gguf, char out[1024], struct qvl_error *err)
{
    struct qvl_hub_listing l = {0};
    char copy[2048], *save = NULL;
    *err = (struct qvl_error){0};
    snprintf(copy, sizeof copy, "%s", paths);
    for (char *path = strtok_r(copy, " ", &save); path; path = strtok_r(NULL, " ", &save)) {
        char json[512];
        snprintf(json, sizeof json, "[{\"type\":\"file\",\"size\":%zu,\"path\":\"%s\"}]", strlen(path), path);
        assert_int_equal(add_hf(&l, json, err), QVL_OK);
    }
    enum qvl_status status = qvl_hub_listing_choose(&l, gguf, err);
    out[0] = 0;
    for (size_t i = 0; i < l.n && !status; i++) {
        size_t n = strlen(out);
        snprintf(out + n, 1024 - n, "%s%s", i ? " " : "", l.file[i].path);
    }
    qvl_hub_listing_free(&l);
    return status;
}

static void test_choose_folder(void **state)
{
    (void)state;
    char out[1024];
    struct qvl_error err;
    assert_int_equal(
        choose(".gitattributes README.md config.json model.safetensors pytorch_model.bin tokenizer.json "
               "original/model.safetensors consolidated.safetensors model.onnx merges.txt vocab.json x.py "
               "chat_template.json LICENSE.txt preprocessor_config.json video_preprocessor_config.json "
               "model.gguf mmproj.gguf generation_config.json",
               NULL, out, &err),
        QVL_OK);
    assert_string_equal(out,
                        "README.md merges.txt vocab.json LICENSE.txt config.json tokenizer.json model.safetensors "
                        "chat_template.json generation_config.json preprocessor_config.json "
                        "video_preprocessor_config.json");
    assert_int_equal(choose("config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors "
                            "model.safetensors.index.json tokenizer_config.json",
                            NULL, out, &err),
                     QVL_OK);
    assert_string_equal(out, "config.json tokenizer_config.json model.safetensors.index.json "
                             "model-00001-of-00002.safetensors model-00002-of-00002.safetensors");
    assert_int_equal(choose("config.json gptq_model-4bit-128g.safetensors quantize_config.json", NULL, out, &err),
                     QVL_OK);
    assert_string_equal(out, "config.json quantize_config.json gptq_model-4bit-128g.safetensors");
    assert_int_equal(choose("config.json pytorch_model.bin", NULL, out, &err), QVL_ERR_MODEL);
    assert_int_equal(choose("model.safetensors", NULL, out, &err), QVL_ERR_MODEL);
    assert_int_equal(choose("sub/config.json sub/model.safetensors", NULL, out, &err), QVL_ERR_MODEL);
    assert_int_equal(choose("", NULL, out, &err), QVL_ERR_MODEL);
    assert_int_equal(choose("config.json config.json model.safetensors", NULL, out, &err), QVL_ERR_FILE);
}

#define GGUF                                                                                                       \
    "Qwen3VL-2B-Instruct-F16.gguf Qwen3VL-2B-Instruct-Q4_K_M.gguf Qwen3VL-2B-Instruct-Q8_0.gguf "                  \
    "mmproj-Qwen3VL-2B-Instruct-F16.gguf mmproj-Qwen3VL-2B-Instruct-Q8_0.gguf README.md config.json "

static void test_choose_gguf(void **state)
{
    (void)state;
    char out[1024];
    struct qvl_error err;
    assert_int_equal(choose(GGUF, NULL, out, &err), QVL_OK);
    assert_string_equal(out, "README.md Qwen3VL-2B-Instruct-Q8_0.gguf mmproj-Qwen3VL-2B-Instruct-F16.gguf");
    assert_int_equal(choose(GGUF, "Q4_K_M", out, &err), QVL_OK);
    assert_string_equal(out, "README.md Qwen3VL-2B-Instruct-Q4_K_M.gguf mmproj-Qwen3VL-2B-Instruct-F16.gguf");
    assert_int_equal(choose(GGUF, "*f16*", out, &err), QVL_OK);
    assert_string_equal(out, "README.md Qwen3VL-2B-Instruct-F16.gguf mmproj-Qwen3VL-2B-Instruct-F16.gguf");
    assert_int_equal(choose(GGUF, "Qwen3VL-2B-Instruct-Q4_K_M.gguf", out, &err), QVL_OK);
    assert_non_null(strstr(out, "Q4_K_M"));
    assert_int_equal(choose(GGUF, "Q2_K", out, &err), QVL_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "Q2_K"));
    /* no Q8_0: the most exact that qvl reads, not what it does not */
    assert_int_equal(choose("a-IQ2_XS.gguf a-Q4_K_S.gguf a-Q6_K.gguf mmproj-a.gguf", NULL, out, &err), QVL_OK);
    assert_string_equal(out, "a-Q6_K.gguf mmproj-a.gguf");
    assert_int_equal(choose("a-IQ2_XS.gguf mmproj-a.gguf", NULL, out, &err), QVL_ERR_MODEL);
    assert_int_equal(choose("a-Q8_0.gguf", NULL, out, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "mmproj"));
    assert_int_equal(choose("a-Q8_0-00001-of-00002.gguf a-Q8_0-00002-of-00002.gguf mmproj-a.gguf", NULL, out, &err),
                     QVL_ERR_MODEL);
    /* safetensors first, GGUF where it is asked for */
    assert_int_equal(choose(GGUF "model.safetensors", NULL, out, &err), QVL_OK);
    assert_string_equal(out, "README.md config.json model.safetensors");
    assert_int_equal(choose(GGUF "model.safetensors", "Q8_0", out, &err), QVL_OK);
    assert_string_equal(out, "README.md Qwen3VL-2B-Instruct-Q8_0.gguf mmproj-Qwen3VL-2B-Instruct-F16.gguf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hf),
        cmocka_unit_test(test_modelscope),
        cmocka_unit_test(test_modelscope_cut),
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_bad_entries),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_choose_folder),
        cmocka_unit_test(test_choose_gguf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
