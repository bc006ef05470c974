/* Ids against the tokenizers library; bytes and special ids; added tokens never out of plain text; long runs. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "text/tokenizer.h"
#include "text/tokenizer_file.h"
#include "text/unicode.h"
#include "vectors.h"

static struct qvl_error err;

static struct qvl_tokenizer *load_small(void)
{
    struct qvl_tokenizer *t = NULL;
    size_t n = 0;
    char *json = read_whole(DATA_DIR "small_tokenizer.json", &n);
    if (qvl_tokenizer_parse(json, n, "small_tokenizer.json", 1000, &t, &err))
        fail_msg("%s", err.text);
    free(json);
    return t;
}

static struct qvl_tokenizer *load_published(void)
{
    struct qvl_tokenizer *t = NULL;
    const char *dir = data_tokenizer_dir();
    if (dir && qvl_tokenizer_load(dir, 151936, &t, &err))
        fail_msg("%s", err.text);
    return t;
}

static struct qvl_ids encode(const struct qvl_tokenizer *t, const char *s, size_t n, bool want_special)
{
    struct qvl_ids ids = {0};
    if (qvl_tokenizer_encode(t, s, n, want_special, &ids, &err))
        fail_msg("%s", err.text);
    return ids;
}

/* decode(encode(x)) is NFC(x). */
static void check_bytes(const struct qvl_tokenizer *t, const struct qvl_ids *ids, const char *s, size_t n)
{
    struct qvl_bytes normal = {0}, got = {0};
    assert_int_equal(qvl_nfc(s, n, &normal, &err), QVL_OK);
    for (size_t i = 0; i < ids->n; i++) {
        size_t n_token = 0;
        const char *token = qvl_tokenizer_bytes(t, ids->id[i], &n_token);
        assert_int_equal(qvl_bytes_add(&got, token, n_token, &err), QVL_OK);
    }
    assert_int_equal(got.n, normal.n);
    if (got.n)
        assert_memory_equal(got.data, normal.data, got.n);
    qvl_bytes_free(&normal);
    qvl_bytes_free(&got);
}

static void check_line(const json_t *line, void *arg)
{
    const struct qvl_tokenizer *t = arg;
    const json_t *text = json_array_get(line, 0), *expected = json_array_get(line, 1);
    bool want_special = json_integer_value(json_array_get(line, 2)) != 0;
    size_t n = json_string_length(text);
    struct qvl_ids ids = encode(t, json_string_value(text), n, want_special);
    bool is_equal = ids.n == json_array_size(expected);
    for (size_t i = 0; is_equal && i < ids.n; i++)
        is_equal = ids.id[i] == (uint32_t)json_integer_value(json_array_get(expected, i));
    if (!is_equal)
        fail_msg("other ids for %s", json_dumps(text, JSON_ENCODE_ANY));
    check_bytes(t, &ids, json_string_value(text), n);
    qvl_ids_free(&ids);
}

static void test_small_ids(void **state)
{
    (void)state;
    struct qvl_tokenizer *t = load_small();
    assert_in_range(for_each_line(DATA_DIR "small_ids.jsonl", check_line, t), 500, SIZE_MAX);
    qvl_tokenizer_free(t);
}

static void test_published_ids(void **state)
{
    (void)state;
    struct qvl_tokenizer *t = load_published();
    if (!t)
        skip();
    assert_in_range(for_each_line(DATA_DIR "ids.jsonl", check_line, t), 2000, SIZE_MAX);
    qvl_tokenizer_free(t);
}

/* Texts and ids published with llama.cpp (check.inp, check.out). */
static void test_published_check(void **state)
{
    (void)state;
    static const char between[] = "\n__ggml_vocab_test__\n";
    struct qvl_tokenizer *t = load_published();
    if (!t)
        skip();
    char path[1200];
    size_t n_inp = 0, n_out = 0, n_text = 0;
    snprintf(path, sizeof path, "%s/check.inp", data_tokenizer_dir());
    char *inp = read_whole(path, &n_inp);
    snprintf(path, sizeof path, "%s/check.out", data_tokenizer_dir());
    char *out = read_whole(path, &n_out);
    char *line = out;
    for (char *text = inp; text;) {
        char *end = memmem(text, n_inp - (size_t)(text - inp), between, sizeof between - 1);
        struct qvl_ids ids = encode(t, text, end ? (size_t)(end - text) : n_inp - (size_t)(text - inp), false);
        for (size_t i = 0; i < ids.n; i++)
            assert_int_equal(strtoul(line, &line, 10), ids.id[i]);
        line += strspn(line, " \n");
        text = end ? end + sizeof between - 1 : NULL;
        qvl_ids_free(&ids);
        n_text++;
    }
    assert_int_equal(n_text, 47);
    free(inp);
    free(out);
    qvl_tokenizer_free(t);
}

/* vocab.json + merges.txt + tokenizer_config.json give what tokenizer.json gives. */
static void test_older_files(void **state)
{
    (void)state;
    static const char *const part[] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
    struct qvl_tokenizer *t = NULL;
    char dir[] = "/tmp/qvl-tokenizer-XXXXXX", from[PATH_MAX], to[128], real[PATH_MAX];
    const char *data = data_tokenizer_dir();
    if (!data)
        skip();
    assert_non_null(realpath(data, real));
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < 3; i++) {
        assert_true(snprintf(from, sizeof from, "%s/%s", real, part[i]) < (int)sizeof from);
        snprintf(to, sizeof to, "%s/%s", dir, part[i]);
        assert_int_equal(symlink(from, to), 0);
    }
    if (qvl_tokenizer_load(dir, 151936, &t, &err))
        fail_msg("%s", err.text);
    assert_int_equal(qvl_tokenizer_n(t), 151669);
    for_each_line(DATA_DIR "ids.jsonl", check_line, t);
    qvl_tokenizer_free(t);
    t = NULL;
    unlink(to); /* tokenizer_config.json */
    assert_int_equal(qvl_tokenizer_load(dir, 151936, &t, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "tokenizer_config.json"));
    for (size_t i = 0; i < 2; i++) {
        snprintf(to, sizeof to, "%s/%s", dir, part[i]);
        unlink(to);
    }
    assert_int_equal(qvl_tokenizer_load(dir, 151936, &t, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "tokenizer.json"));
    rmdir(dir);
}

/* ---- the small tokenizer as three files ------------------------------------------------------------ */

static char parts_dir[] = "/tmp/qvl-parts-XXXXXX";

static void write_part(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", parts_dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

static void write_json_part(const char *name, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    assert_non_null(text);
    write_part(name, text);
    free(text);
}

static void write_parts(const json_t *root)
{
    const json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens"), *value;
    struct qvl_bytes merges = {0};
    json_t *by_id = json_object(), *config = NULL;
    size_t i;
    assert_int_equal(qvl_bytes_add_text(&merges, "#version: 0.2\n", &err), QVL_OK);
    json_array_foreach(json_object_get(model, "merges"), i, value)
        assert_int_equal(qvl_bytes_add_format(&merges, &err, "%s %s\n", json_string_value(json_array_get(value, 0)),
                                              json_string_value(json_array_get(value, 1))), QVL_OK);
    json_array_foreach(added, i, value) {
        char id[16];
        json_t *token = json_copy((json_t *)value);
        snprintf(id, sizeof id, "%d", (int)json_integer_value(json_object_get(token, "id")));
        json_object_del(token, "id");
        json_object_set_new(by_id, id, token);
    }
    config = json_pack("{s:o, s:s, s:b, s:[s]}", "added_tokens_decoder", by_id, "tokenizer_class", "Qwen2Tokenizer",
                       "add_prefix_space", 0, "additional_special_tokens", "<|im_end|>");
    write_json_part("vocab.json", json_object_get(model, "vocab"));
    write_part("merges.txt", merges.data);
    write_json_part("tokenizer_config.json", config);
    json_decref(config);
    qvl_bytes_free(&merges);
}

/* As test_older_files, where the published data is absent; then each of the three files broken. */
static void test_small_older_files(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *sentence;
    } bad[] = {
        {"vocab.json", "[]", "the vocabulary is not one JSON object: found an array"},
        {"vocab.json", "{\"a\": 0}", "vocab.json: the token id 556 leaves a gap below"},
        {"vocab.json", "", "vocab.json: not valid JSON"},
        {"merges.txt", "ab\n", "the merge \"ab\" is not two tokens with a space between"},
        {"merges.txt", "a b\r\n", "not in the byte-level alphabet"},
        {"merges.txt", "a b c\n", "not in the byte-level alphabet"},
        {"tokenizer_config.json", "{}", "0 added tokens, and <|endoftext|> is not among them"},
        {"tokenizer_config.json", "{\"tokenizer_class\": \"LlamaTokenizer\"}",
         "tokenizer_class is not Qwen2Tokenizer: found LlamaTokenizer"},
        {"tokenizer_config.json", "{\"add_prefix_space\": true}", "add_prefix_space or add_bos_token is not false"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"x\": {}}}", "an added token lacks its id"},
        {"tokenizer_config.json", "7", "the file is not a JSON object: found 7"},
    };
    struct qvl_tokenizer *t = NULL;
    json_t *root = json_load_file(DATA_DIR "small_tokenizer.json", 0, NULL);
    assert_non_null(root);
    assert_non_null(mkdtemp(parts_dir));
    write_parts(root);
    if (qvl_tokenizer_load(parts_dir, 1000, &t, &err))
        fail_msg("%s", err.text);
    assert_in_range(for_each_line(DATA_DIR "small_ids.jsonl", check_line, t), 500, SIZE_MAX);
    qvl_tokenizer_free(t);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        t = NULL;
        write_parts(root);
        write_part(bad[i].name, bad[i].text);
        assert_int_equal(qvl_tokenizer_load(parts_dir, 1000, &t, &err), QVL_ERR_MODEL);
        assert_null(t);
        if (!strstr(err.text, bad[i].sentence) || !strstr(err.text, parts_dir))
            fail_msg("\"%s\" does not say \"%s\"", err.text, bad[i].sentence);
    }
    json_decref(root);
    for (size_t i = 0; i < 3; i++) {
        static const char *const part[] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
        char path[128];
        snprintf(path, sizeof path, "%s/%s", parts_dir, part[i]);
        unlink(path);
    }
    rmdir(parts_dir);
}

static void test_tokens(void **state)
{
    (void)state;
    struct qvl_tokenizer *t = load_small();
    size_t n = 0;
    uint32_t n_id = qvl_tokenizer_n(t);
    assert_int_equal(n_id, 556 + QVL_N_ADDED_TOKEN);
    for (int i = 0; i < QVL_N_ADDED_TOKEN; i++) {
        uint32_t id = qvl_tokenizer_added(t, (enum qvl_added_token)i);
        assert_int_equal(id, 556 + i); /* the file's order is that of the enum */
        const char *s = qvl_tokenizer_bytes(t, id, &n);
        assert_int_equal(n, strlen(qvl_added_token_text[i].text));
        assert_memory_equal(s, qvl_added_token_text[i].text, n);
        assert_int_equal(qvl_tokenizer_is_special(t, id), i < 14);
    }
    assert_false(qvl_tokenizer_is_special(t, 0));
    assert_string_equal(qvl_tokenizer_bytes(t, n_id, &n), "");
    assert_int_equal(n, 0);
    assert_string_equal(qvl_tokenizer_bytes(t, UINT32_MAX, &n), "");
    qvl_tokenizer_free(t);
    qvl_tokenizer_free(NULL);
}

/* 26 added tokens in 44 surroundings: an added id never comes out of text that is not asked for it. */
static void test_text_never_makes_added_ids(void **state)
{
    (void)state;
    static const char *const around[] = {"", " ", "\n", "a", "<", ">", "|", "e", "\xCC\x81", "7", "\xE4\xB8\xAD"};
    struct qvl_tokenizer *t = load_small();
    char text[256];
    for (int k = 0; k < QVL_N_ADDED_TOKEN; k++) {
        for (size_t a = 0; a < 11; a++) {
            for (int form = 0; form < 4; form++) {
                const char *token = qvl_added_token_text[k].text, *s = around[a];
                if (form == 0)
                    snprintf(text, sizeof text, "%s%s%s", s, token, s);
                else if (form == 1)
                    snprintf(text, sizeof text, "%s%s%s%s", s, token, token, s);
                else if (form == 2)
                    snprintf(text, sizeof text, "%s%s%s%s", token, s, token, s);
                else
                    snprintf(text, sizeof text, "<%s%s%s>", s, token, s);
                struct qvl_ids ids = encode(t, text, strlen(text), false);
                for (size_t i = 0; i < ids.n; i++)
                    assert_in_range(ids.id[i], 0, 555);
                check_bytes(t, &ids, text, strlen(text));
                qvl_ids_free(&ids);
            }
        }
    }
    qvl_tokenizer_free(t);
}

static void test_bad_text(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80", "a\xC3", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF"};
    struct qvl_tokenizer *t = load_small();
    struct qvl_ids ids = encode(t, "kept", 4, false);
    size_t n = ids.n;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(qvl_tokenizer_encode(t, bad[i], strlen(bad[i]), true, &ids, &err), QVL_ERR_ARGUMENT);
        assert_int_equal(ids.n, n);
    }
    assert_int_equal(qvl_tokenizer_encode(t, "", QVL_MAX_TEXT_BYTES + 1, true, &ids, &err), QVL_ERR_LIMIT);
    assert_int_equal(qvl_tokenizer_encode(t, "", 0, true, &ids, &err), QVL_OK);
    assert_int_equal(qvl_tokenizer_encode(t, NULL, 0, true, &ids, &err), QVL_OK);
    assert_int_equal(ids.n, n);
    qvl_ids_free(&ids);
    qvl_tokenizer_free(t);
}

/* A megabyte of one thing: the ids of the whole stay those of its parts' bytes, and the test ends. */
static void test_long_runs(void **state)
{
    (void)state;
    static const char *const unit[] = {"a", "_", " ", "\n", "7", "\xE4\xB8\xAD", "\xCC\x81", "\xCC\x81\xCC\x96",
                                       " \n", "ab", "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB",
                                       "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x9A\x80", "<|", "'s"};
    struct qvl_tokenizer *t = load_small();
    for (size_t k = 0; k < sizeof unit / sizeof unit[0]; k++) {
        size_t n_unit = strlen(unit[k]), n = (1u << 20) / n_unit * n_unit;
        char *text = malloc(n);
        assert_non_null(text);
        for (size_t i = 0; i < n; i++)
            text[i] = unit[k][i % n_unit];
        struct qvl_ids ids = encode(t, text, n, false);
        check_bytes(t, &ids, text, n);
        qvl_ids_free(&ids);
        free(text);
    }
    qvl_tokenizer_free(t);
}

static void test_ids_list(void **state)
{
    (void)state;
    struct qvl_ids ids = {0};
    assert_int_equal(qvl_ids_add(&ids, 7, 0, &err), QVL_OK);
    assert_int_equal(ids.n, 0);
    assert_int_equal(qvl_ids_add(&ids, 7, 1000, &err), QVL_OK);
    assert_int_equal(qvl_ids_add(&ids, 9, 1, &err), QVL_OK);
    assert_int_equal(ids.n, 1001);
    assert_int_equal(ids.id[999], 7);
    assert_int_equal(ids.id[1000], 9);
    assert_int_equal(qvl_ids_add(&ids, 7, SIZE_MAX, &err), QVL_ERR_MEMORY);
    assert_int_equal(qvl_ids_add(&ids, 7, SIZE_MAX / 7, &err), QVL_ERR_MEMORY);
    assert_int_equal(ids.n, 1001);
    qvl_ids_free(&ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_ids),       cmocka_unit_test(test_published_ids),
        cmocka_unit_test(test_published_check), cmocka_unit_test(test_older_files),
        cmocka_unit_test(test_tokens),          cmocka_unit_test(test_text_never_makes_added_ids),
        cmocka_unit_test(test_bad_text),        cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_small_older_files), cmocka_unit_test(test_ids_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
