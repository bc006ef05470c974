/* tokenizer.json that is not this family's, or hostile: one sentence that names the file and the fault, no crash.
 * Each case is the small tokenizer's file with one text replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "text/tokenizer.h"
#include "vectors.h"

static struct qvl_error err;

static enum qvl_status parse(const char *json, size_t n, uint32_t n_rows)
{
    struct qvl_tokenizer *t = NULL;
    enum qvl_status status = qvl_tokenizer_parse(json, n, "small.json", n_rows, &t, &err);
    assert_true(!status == (t != NULL));
    qvl_tokenizer_free(t);
    return status;
}

/* The file with the first `from` replaced by `to`. */
static enum qvl_status parse_changed(const char *from, const char *to)
{
    size_t n = 0;
    char *json = read_whole(DATA_DIR "small_tokenizer.json", &n);
    char *at = memmem(json, n, from, strlen(from));
    if (!at)
        fail_msg("the small tokenizer's file has no %s", from);
    struct qvl_bytes text = {0};
    assert_int_equal(qvl_bytes_add(&text, json, (size_t)(at - json), &err), QVL_OK);
    assert_int_equal(qvl_bytes_add_text(&text, to, &err), QVL_OK);
    at += strlen(from);
    assert_int_equal(qvl_bytes_add(&text, at, n - (size_t)(at - json), &err), QVL_OK);
    enum qvl_status status = parse(text.data, text.n, 1000);
    qvl_bytes_free(&text);
    free(json);
    return status;
}

#define SPLIT_HEAD "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(?i:'s"
#define FIRST_ADDED "{\"id\": 556, \"content\": \"<|endoftext|>\", \"single_word\": false, \"lstrip\": false, " \
                    "\"rstrip\": false, \"normalized\": false, \"special\": true}"

#define DECODER(flag) "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": " flag ", " \
                      "\"trim_offsets\": " flag ", \"use_regex\": " flag "}"

static void test_accepted_forms(void **state)
{
    (void)state;
    static const char *const change[][2] = {
        {"\"version\": \"1.0\"", "\"version\": \"1.1\""},
        {"\"truncation\": null", "\"truncation\": {\"max_length\": 512, \"strategy\": \"LongestFirst\"}"},
        {"\"padding\": null", "\"padding\": {\"strategy\": {\"Fixed\": 8}, \"pad_id\": 0}"},
        {"\"trim_offsets\": false", "\"trim_offsets\": true"},
        {DECODER("false"), DECODER("true")}, /* as transformers 5 writes it */
        {"\"dropout\": null,", ""},
        {"\"continuing_subword_prefix\": \"\"", "\"continuing_subword_prefix\": null"},
    };
    for (size_t i = 0; i < sizeof change / sizeof change[0]; i++)
        if (parse_changed(change[i][0], change[i][1]))
            fail_msg("%s: %s", change[i][1], err.text);
}

static void test_refused_settings(void **state)
{
    (void)state;
    static const char *const change[][3] = {
        {"{\"type\": \"NFC\"}", "null", "the setting normalizer is not one"},
        {"{\"type\": \"NFC\"}", "{\"type\": \"NFKC\"}", "found NFKC, expected NFC"},
        {"{\"type\": \"NFC\"}", "{}", "normalizer.type is missing"},
        {"{\"type\": \"NFC\"}", "{\"type\": \"NFC\\u0000\"}", "normalizer.type has a value"},
        {"{\"type\": \"NFC\"}", "{\"type\": \"NFC\", \"type\\u0000\": 1}", "is not one of this family's"},
        {"(?i:'s", "(a+)+$|(?i:'s", "pattern.Regex has a value"},
        {"\"Isolated\"", "\"Removed\"", "behavior has a value"},
        {"\"invert\": false", "\"invert\": true", "found true, expected false"},
        {"\"add_prefix_space\": false", "\"add_prefix_space\": true", "add_prefix_space has a value"},
        {"\"use_regex\": false", "\"use_regex\": true", "use_regex has a value"},
        {SPLIT_HEAD, "{\"type\": \"Digits\"}, " SPLIT_HEAD, "pre_tokenizer.pretokenizers[0].type has a value"},
        {"\"post_processor\": {\"type\": \"ByteLevel\"", "\"post_processor\": {\"type\": \"TemplateProcessing\"",
         "post_processor.type has a value"},
        {"\"type\": \"BPE\"", "\"type\": \"Unigram\"", "model.type has a value"},
        {"\"dropout\": null", "\"dropout\": 0.1", "model.dropout has a value"},
        {"\"unk_token\": null", "\"unk_token\": \"a\"", "model.unk_token has a value"},
        {"\"end_of_word_suffix\": \"\"", "\"end_of_word_suffix\": \"</w>\"", "end_of_word_suffix has a value"},
        {"\"byte_fallback\": false", "\"byte_fallback\": true", "byte_fallback has a value"},
        {"\"ignore_merges\": false", "\"ignore_merges\": true", "ignore_merges has a value"},
        {"\"model\": {", "\"surprise\": [{\"a\": 1}], \"model\": {", "surprise[0].a is not one"},
    };
    for (size_t i = 0; i < sizeof change / sizeof change[0]; i++) {
        assert_int_equal(parse_changed(change[i][0], change[i][1]), QVL_ERR_MODEL);
        if (!strstr(err.text, change[i][2]) || !strstr(err.text, "small.json"))
            fail_msg("\"%s\" does not say \"%s\"", err.text, change[i][2]);
    }
}

static void test_refused_added_tokens(void **state)
{
    (void)state;
    static const char *const change[][3] = {
        {"\"<|endoftext|>\"", "\"\"", "the added token \"\" is not one"},
        {"\"<|endoftext|>\"", "\"the\"", "the added token \"the\" is not one"},
        {"\"<|endoftext|>\"", "\"<|im_start|>\"", "<|im_start|> stands twice"},
        {FIRST_ADDED ", ", "", "25 added tokens, and <|endoftext|> is not among them"},
        {FIRST_ADDED, FIRST_ADDED ", " FIRST_ADDED, "<|endoftext|> stands twice"},
        {"\"single_word\": false", "\"single_word\": true", "has other flags"},
        {"\"normalized\": false", "\"normalized\": true", "has other flags"},
        {"\"special\": true", "\"special\": false", "has other flags"},
        {"\"special\": true", "\"special\": 1", "a field of an added token"},
        {"\"single_word\": false, ", "", "lacks its id, text or one of its 5 flags"},
        {"\"id\": 556", "\"id\": 557", "the token id 557 stands twice"},
        {"\"id\": 556", "\"id\": 5", "the token id 5 stands twice"},
        {"\"id\": 556", "\"id\": 990", "the token id 990 leaves a gap below"},
        {"\"id\": 556", "\"id\": -1", "lacks its id"},
        {"\"id\": 556", "\"id\": 4294967852", "lacks its id"},
        {"\"id\": 556", "\"id\": 556.0", "a field of an added token"},
        {"\"id\": 556, ", "", "lacks its id"},
        {FIRST_ADDED, "7", "an added token is not a JSON object"},
        {"\"added_tokens\": [", "\"added_tokens\": {}, \"version\": [", "added_tokens is not a JSON array"},
    };
    for (size_t i = 0; i < sizeof change / sizeof change[0]; i++) {
        assert_int_equal(parse_changed(change[i][0], change[i][1]), QVL_ERR_MODEL);
        if (!strstr(err.text, change[i][2]) || !strstr(err.text, "small.json"))
            fail_msg("\"%s\" does not say \"%s\"", err.text, change[i][2]);
    }
}

static void test_refused_vocabulary(void **state)
{
    (void)state;
    static const char *const change[][3] = {
        {"\"!\": 0", "\"!\": 1", "stands twice"},
        {"\"!\": 0", "\"!\": 600", "leaves a gap below"},
        {"\"!\": 0", "\"!\": -1", "an id of the vocabulary is not a number in range: found -1 at byte"},
        {"\"!\": 0", "\"!\": \"0\"", "an id of the vocabulary"},
        {"\"!\": 0", "\"!\": 99999999999999999999", "an id of the vocabulary"},
        {"\"!\": 0", "\"!\": 1048602", "an id of the vocabulary"},
        {"\"!\": 0", "\"!!!!\": 0", "no token for the single byte 0x21"},
        {"\"!\": 0", "\"\\\"\": 0", "are the same bytes"},
        {"\"!\": 0", "\"\": 0", "a token of 0 bytes"},
        {"\"!\": 0", "\"a b\": 0", "not in the byte-level alphabet"},
        {"\"!\": 0", "\"\xE4\xB8\xAD\": 0", "not in the byte-level alphabet"},
        {"\"vocab\": {", "\"vocab\": {}, \"vocab\": [", "the vocabulary is not one JSON object"},
        {"\"merges\": [", "\"merges\": [[\"x\"], ", "an entry of model.merges"},
        {"\"merges\": [", "\"merges\": [[\"x\", \"y\", \"z\"], ", "an entry of model.merges"},
        {"\"merges\": [", "\"merges\": [[\"x\", 1], ", "an entry of model.merges"},
        {"\"merges\": [", "\"merges\": [7, ", "an entry of model.merges"},
        {"\"merges\": [", "\"merges\": [\"xy\", ", "not two tokens with a space between"},
        {"\"merges\": [", "\"merges\": [\"x \", ", "a token of 0 bytes"},
        {"\"merges\": [", "\"merges\": [\"x  y\", ", "not in the byte-level alphabet"},
        {"\"merges\": [", "\"merges\": [[\"x\", \"qqq\"], ", "names a token that the vocabulary lacks"},
        {"\"merges\": [", "\"merges\": [\"x q\", ", "merge 0 names a token"},
        {"\"merges\": [[\"\xC4\xA0\", \"t\"],", "\"merges\": [[\"\xC4\xA0\", \"t\"], \"\xC4\xA0 t\",",
         "the merges 0 and 1 are the same"},
    };
    for (size_t i = 0; i < sizeof change / sizeof change[0]; i++) {
        assert_int_equal(parse_changed(change[i][0], change[i][1]), QVL_ERR_MODEL);
        if (!strstr(err.text, change[i][2]) || !strstr(err.text, "small.json"))
            fail_msg("\"%s\" (case %zu) does not say \"%s\"", err.text, i, change[i][2]);
    }
}

static void test_more_tokens_than_rows(void **state)
{
    (void)state;
    size_t n = 0;
    char *json = read_whole(DATA_DIR "small_tokenizer.json", &n);
    assert_int_equal(parse(json, n, 582), QVL_OK);
    assert_int_equal(parse(json, n, 581), QVL_ERR_MODEL);
    assert_string_equal(err.text, "small.json: 582 tokens, but the model's embedding has only 581 rows");
    free(json);
}

static void test_not_json(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "null", "[]", "{", "{}x", "\x89PNG\r\n\x1a\n", "\xEF\xBB\xBF{}",
                                      "{\"model\": 5}",
                                      "{\"added_tokens\": []}", "[[[[[", "{\"version\" \"1.0\"}", "{,}",
                                      "{\"a\":1,}"};
    size_t n = 0;
    char *json = read_whole(DATA_DIR "small_tokenizer.json", &n);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse(bad[i], strlen(bad[i]), 1000), QVL_ERR_MODEL);
        assert_non_null(strstr(err.text, "small.json"));
    }
    for (size_t cut = 0; cut + 1 < n; cut += cut < n - 200 ? 97 : 1) { /* the file ends with a newline */
        char *exact = malloc(cut + 1);
        assert_non_null(exact);
        memcpy(exact, json, cut);
        assert_int_equal(parse(exact, cut, 1000), QVL_ERR_MODEL);
        free(exact);
    }
    free(json);
    char deep[2 * QVL_MAX_JSON_DEPTH];
    memset(deep, '[', sizeof deep);
    assert_int_equal(parse(deep, sizeof deep, 1000), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "nested deeper than the 64 levels"));
}

/* A file that repeats `unit` n times in the place of one list. */
static void check_too_many(const char *head, const char *unit, size_t n, const char *sentence)
{
    size_t n_head = strlen(head), n_unit = strlen(unit);
    char *json = malloc(n_head + n * n_unit);
    assert_non_null(json);
    memcpy(json, head, n_head);
    for (size_t i = 0; i < n; i++)
        memcpy(json + n_head + i * n_unit, unit, n_unit);
    assert_int_equal(parse(json, n_head + n * n_unit, 1000), QVL_ERR_MODEL);
    if (!strstr(err.text, sentence))
        fail_msg("\"%s\" does not say \"%s\"", err.text, sentence);
    free(json);
}

static void test_limits(void **state)
{
    (void)state;
    check_too_many("{\"model\":{\"vocab\":{", "\"a\":0,", QVL_MAX_VOCAB, "a string was expected");
    check_too_many("{\"model\":{\"vocab\":{", "\"a\":0,", QVL_MAX_VOCAB + 1, "more than the 1048576 tokens");
    check_too_many("{\"model\":{\"merges\":[", "\"a a\",", QVL_MAX_MERGES, "a value was expected");
    check_too_many("{\"model\":{\"merges\":[", "\"a a\",", QVL_MAX_MERGES + 1, "more than the 2097152 merges");
    check_too_many("{\"model\":{\"vocab\":{\"", "a", 1 << 20, "a string without an end");
    check_too_many("{\"model\":{\"merges\":[\"a a\",\"b b\",\"", "a", 1 << 20, "a string without an end");
    char longest[QVL_MAX_TOKEN_BYTES + 32];
    for (size_t n = QVL_MAX_TOKEN_BYTES - 1; n <= QVL_MAX_TOKEN_BYTES; n++) {
        memset(longest, 'a', n + 1);
        longest[0] = '"';
        strncpy(longest + n + 1, "\": 0", 8);
        assert_int_equal(parse_changed("\"!\": 0", longest), QVL_ERR_MODEL);
        assert_non_null(strstr(err.text, n < QVL_MAX_TOKEN_BYTES ? "no token for the single byte"
                                                                 : "a token of too many bytes"));
    }
}

/* Steps of the table's hash, backwards. */
static uint64_t unmix(uint64_t h)
{
    h = (h ^ h >> 33) * 0x9cb4b2f8129337dbu;
    h = (h ^ h >> 33) * 0x4f74430c22a54005u;
    return h ^ h >> 33;
}

/* Tokens of eight bytes that would all meet in one place of a table without a seed: reading them would take the
 * square of their number. The test ends. */
static void test_tokens_made_to_collide(void **state)
{
    (void)state;
    static const char from[] = "\"!\": 0";
    const uint64_t n_token = 100000, n_small = 582;
    size_t n = 0;
    char *json = read_whole(DATA_DIR "small_tokenizer.json", &n), *at = strstr(json, from), utf8[4];
    struct qvl_bytes text = {0};
    assert_non_null(at);
    assert_int_equal(qvl_bytes_add(&text, json, (size_t)(at - json), &err), QVL_OK);
    for (uint64_t i = 0; i < n_token; i++) {
        uint64_t bytes = unmix(unmix(i << 32) - 1) ^ 8;
        assert_int_equal(qvl_bytes_add_text(&text, "\"", &err), QVL_OK);
        for (int k = 0; k < 8; k++) { /* in GPT-2's alphabet */
            uint32_t byte = (uint32_t)(bytes >> 8 * k) & 0xFF;
            uint32_t cp = byte <= 0x20                   ? 0x100 + byte
                          : byte >= 0x7F && byte <= 0xA0 ? 0x121 + byte - 0x7F
                          : byte == 0xAD                 ? 0x143
                                                         : byte;
            if (byte == '"' || byte == '\\')
                assert_int_equal(qvl_bytes_add_text(&text, "\\", &err), QVL_OK);
            assert_int_equal(qvl_bytes_add(&text, utf8, qvl_utf8_encode(cp, utf8), &err), QVL_OK);
        }
        assert_int_equal(qvl_bytes_add_format(&text, &err, "\": %d, ", (int)(n_small + i)), QVL_OK);
    }
    assert_int_equal(qvl_bytes_add(&text, at, n - (size_t)(at - json), &err), QVL_OK);
    if (parse(text.data, text.n, (uint32_t)(n_small + n_token)))
        fail_msg("%s", err.text);
    qvl_bytes_free(&text);
    free(json);
}

static void test_missing_folder(void **state)
{
    (void)state;
    struct qvl_tokenizer *t = NULL;
    assert_int_equal(qvl_tokenizer_load("/nonexistent", 1000, &t, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "/nonexistent/tokenizer.json"));
    /* A link to nowhere is a fault, not a reason to look for the older files. */
    char dir[] = "/tmp/qvl-tokenizer-XXXXXX", link[64], vocab[64];
    assert_non_null(mkdtemp(dir));
    snprintf(link, sizeof link, "%s/tokenizer.json", dir);
    snprintf(vocab, sizeof vocab, "%s/vocab.json", dir);
    assert_int_equal(symlink("nowhere", link), 0);
    assert_int_equal(symlink("nowhere", vocab), 0);
    assert_int_equal(qvl_tokenizer_load(dir, 1000, &t, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "/tokenizer.json: cannot open"));
    unlink(link);
    unlink(vocab);
    rmdir(dir);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted_forms),       cmocka_unit_test(test_refused_settings),
        cmocka_unit_test(test_refused_added_tokens), cmocka_unit_test(test_refused_vocabulary),
        cmocka_unit_test(test_more_tokens_than_rows), cmocka_unit_test(test_not_json),
        cmocka_unit_test(test_limits),               cmocka_unit_test(test_missing_folder),
        cmocka_unit_test(test_tokens_made_to_collide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
