/* The header parser: what the format allows, and every way to lie about sizes that is known from other readers
 * (a shape product that wraps to 0, begin behind end, an unknown dtype that skips the checks, a length that wraps
 * when 8 is added, offsets compared only by their difference, shape and offsets that disagree). */
#include "load/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "folder.h"

static enum qvl_status parse(const char *header, size_t n_data, struct qvl_arena *arena,
                             struct qvl_safetensors *out, struct qvl_error *err)
{
    size_t n = strlen(header);
    uint8_t *bytes = malloc(8 + n); /* exactly as long, so that a sanitizer sees a byte too far */
    assert_non_null(bytes);
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)n >> 8 * i);
    memcpy(bytes + 8, header, n);
    enum qvl_status status = qvl_safetensors_parse(bytes, 8 + n, 8 + n + n_data, "f", arena, out, err);
    free(bytes);
    return status;
}

static void accepts_what_the_format_allows(void **state)
{
    static const struct {
        const char *header;
        size_t n_data, n_tensor;
    } good[] = {
        {"{}", 0, 0},
        {"{\"__metadata__\":{\"format\":\"pt\"}}      ", 0, 0},
        {"{\"a\":{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[0,8]}}", 8, 1},
        {"{\"a\":{\"data_offsets\":[0,4],\"shape\":[1],\"dtype\":\"F32\"}}", 4, 1},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]}}", 2, 1},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[7,0],\"data_offsets\":[0,0]}}", 0, 1},
        /* out of order */
        {"{\"b\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[2,8]},"
         "\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}",
         8, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct qvl_arena arena = {0};
        struct qvl_safetensors file = {0};
        struct qvl_error err = {0};
        if (parse(good[i].header, good[i].n_data, &arena, &file, &err))
            fail_msg("%s: %s", good[i].header, err.text);
        assert_int_equal(file.n, good[i].n_tensor);
        uint64_t next = 8 + strlen(good[i].header);
        for (size_t k = 0; k < file.n; k++) {
            assert_int_equal(file.entry[k].begin, next);
            next = file.entry[k].end;
        }
        assert_int_equal(next, file.n_bytes);
        qvl_arena_free(&arena);
    }
}

static void reads_every_field(void **state)
{
    struct qvl_arena arena = {0};
    struct qvl_safetensors file = {0};
    struct qvl_error err = {0};
    static const char header[] = "{\"b\":{\"dtype\":\"F32\",\"shape\":[2,1,3],\"data_offsets\":[4,28]},"
                                 "\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}";
    (void)state;
    assert_int_equal(parse(header, 28, &arena, &file, &err), QVL_OK);
    assert_int_equal(file.n, 2);
    assert_string_equal(file.entry[0].name, "a");
    assert_int_equal(file.entry[0].dtype, QVL_BF16);
    assert_string_equal(file.entry[1].name, "b");
    assert_int_equal(file.entry[1].dtype, QVL_F32);
    assert_int_equal(file.entry[1].n_dim, 3);
    assert_int_equal(file.entry[1].dim[0], 2);
    assert_int_equal(file.entry[1].dim[1], 1);
    assert_int_equal(file.entry[1].dim[2], 3);
    assert_int_equal(file.entry[1].n_element, 6);
    assert_int_equal(file.entry[1].begin, sizeof header - 1 + 8 + 4);
    assert_int_equal(file.entry[1].end, sizeof header - 1 + 8 + 28);
    qvl_arena_free(&arena);
}

#define TENSOR(dtype, shape, offsets)                                                                              \
    "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                                                                         \
    "{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":" first "},"                                         \
    "\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":" second "}}"

static void refuses_lies(void **state)
{
    static const struct {
        const char *header;
        size_t n_data;
        const char *sentence;
    } bad[] = {
        /* shape */
        {TENSOR("F32", "[4294967296,4294967296]", "[0,0]"), 0, "too large for 64 bits"},
        {TENSOR("F32", "[2147483648,2147483648]", "[0,0]"), 0, "more bytes than 64 bits"},
        {TENSOR("BF16", "[9007199254740993]", "[0,2]"), 2, "shape [9007199254740993]"},
        {TENSOR("BF16", "[9223372036854775808]", "[0,0]"), 0, "a number is too large"},
        {TENSOR("BF16", "[99999999999999999999]", "[0,0]"), 0, "a number is too large"},
        {TENSOR("BF16", "[2]", "[0,8]"), 8, "ask for 4 bytes, its offsets for 8"},
        {TENSOR("BF16", "[4]", "[0,4]"), 4, "ask for 8 bytes, its offsets for 4"},
        {TENSOR("BF16", "[1,1,1,1,1,1]", "[0,2]"), 2, "list of 0 to 5 integers"},
        {TENSOR("BF16", "[-1]", "[0,2]"), 2, "negative"},
        {TENSOR("BF16", "[-0]", "[0,0]"), 0, "negative"},
        {TENSOR("BF16", "[1.0]", "[0,2]"), 2, "shape [1.0]"},
        {TENSOR("BF16", "[1e0]", "[0,2]"), 2, "shape [1.0]"},
        {TENSOR("BF16", "[\"1\"]", "[0,2]"), 2, "shape [\"1\"]"},
        {TENSOR("BF16", "[true]", "[0,2]"), 2, "shape [true]"},
        {TENSOR("BF16", "[01]", "[0,2]"), 2, "not valid JSON"},
        {TENSOR("BF16", "1", "[0,2]"), 2, "shape 1"},
        {TENSOR("BF16", "null", "[0,2]"), 2, "shape null"},
        /* dtype */
        {TENSOR("F8_E5M2", "[2]", "[0,2]"), 2, "has dtype \"F8_E5M2\""},
        {TENSOR("XYZ", "[2]", "[0,1000000]"), 2, "has dtype \"XYZ\""},
        {TENSOR("", "[2]", "[0,4]"), 4, "has dtype \"\""},
        {"{\"a\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,2]}}", 2, "has dtype 3"},
        /* offsets */
        {TENSOR("BF16", "[1]", "[2,0]"), 2, "ends at byte 0 before it begins at 2"},
        {TENSOR("BF16", "[1]", "[0]"), 2, "data_offsets [0]"},
        {TENSOR("BF16", "[1]", "[0,2,4]"), 2, "data_offsets [0,2,4]"},
        {TENSOR("BF16", "[1]", "[-2,0]"), 2, "negative"},
        {TENSOR("BF16", "[1]", "[0,18446744073709551615]"), 2, "a number is too large"},
        {TENSOR("BF16", "[1]", "[9007199254740990,9007199254740992]"), 2, "a hole"},
        {TENSOR("BF16", "[1]", "[0,2]"), 1, "the file is cut short"},
        {TENSOR("BF16", "[1]", "[0,2]"), 0, "the file is cut short"},
        {TENSOR("BF16", "[1]", "[0,2]"), 3, "its tensors end at"},
        {TENSOR("BF16", "[1]", "[1,3]"), 3, "a hole"},
        {TWO("[0,4]", "[2,6]"), 6, "an overlap"},
        {TWO("[0,4]", "[0,4]"), 4, "an overlap"},
        {TWO("[0,4]", "[6,10]"), 10, "a hole"},
        {TWO("[4,8]", "[8,12]"), 12, "a hole"},
        {"{}", 1, "its tensors end at"},
        /* the JSON */
        {"", 0, "does not begin with '{'"},
        {"[]", 0, "does not begin with '{'"},
        {" {}", 0, "does not begin with '{'"},
        {"\xef\xbb\xbf{}", 0, "does not begin with '{'"},
        {"{", 0, "not valid JSON"},
        {"{}{}", 0, "something follows the end"},
        {"{\"a\":1}", 0, "expected dtype, shape and data_offsets"},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2],\"x\":1}}", 2, "expected dtype, shape"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,2],\"x\":1}}", 2, "has dtype missing"},
        {"{\"\xff\":1}", 0, "not UTF-8"},
        {"{\"a\\u0000b\":1}", 0, "NUL"},
        {"{\"\":"
         "{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}",
         2, "without a name"},
        {"{\"a b\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, "printable ASCII"},
        {"{\"\xc3\xa4\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, "printable ASCII"},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]},"
         "\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[2,4]}}",
         4, "a key appears twice"},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]},"
         "\"\\u0061\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[2,4]}}",
         4, "a key appears twice"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qvl_arena arena = {0};
        struct qvl_safetensors file = {.n = 77};
        struct qvl_error err = {0};
        if (!parse(bad[i].header, bad[i].n_data, &arena, &file, &err))
            fail_msg("accepted: %s", bad[i].header);
        if (err.status != QVL_ERR_MODEL || !strstr(err.text, bad[i].sentence))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].header, err.text, bad[i].sentence);
        assert_int_equal(file.n, 77);
        qvl_arena_free(&arena);
    }
}

/* Header lengths that wrap, exceed the file, or exceed the limit, at the limit's edge too. */
static void refuses_lengths(void **state)
{
    static const uint64_t length[] = {0,
                                      1,
                                      9,
                                      4096,
                                      QVL_MAX_SAFETENSORS_HEADER_BYTES,
                                      QVL_MAX_SAFETENSORS_HEADER_BYTES + 1,
                                      100000001,
                                      INT64_MAX,
                                      UINT64_MAX - 8,
                                      UINT64_MAX - 7,
                                      UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof length / sizeof *length; i++) {
        struct qvl_arena arena = {0};
        struct qvl_safetensors file = {0};
        struct qvl_error err = {0};
        uint8_t bytes[16] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}', ' ', ' ', ' ', ' ', ' ', ' '};
        for (size_t k = 0; k < 8; k++)
            bytes[k] = (uint8_t)(length[i] >> 8 * k);
        assert_int_equal(qvl_safetensors_parse(bytes, sizeof bytes, sizeof bytes, "f", &arena, &file, &err),
                         QVL_ERR_MODEL);
        qvl_arena_free(&arena);
    }
}

static void refuses_depth_and_bulk(void **state)
{
    struct qvl_arena arena = {0};
    struct qvl_safetensors file = {0};
    struct qvl_error err = {0};
    const size_t n = 1000000;
    char *text = malloc(3 * n + 16);
    (void)state;
    assert_non_null(text);
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', n);
    text[5 + n] = 0;
    assert_int_equal(parse(text, 0, &arena, &file, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "nested deeper than 64 levels"));
    for (size_t i = 0; i < n; i++)
        memcpy(text + 5 + 3 * i, i ? ",{}" : "[{}", 3);
    memcpy(text + 5 + 3 * n, "]}", 3);
    assert_int_equal(parse(text, 0, &arena, &file, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "values, more than the"));
    free(text);
    qvl_arena_free(&arena);
}

/* QVL_MAX_TENSORS empty tensors are accepted, one more is not. */
static void counts_tensors(void **state)
{
    (void)state;
    for (unsigned n = QVL_MAX_TENSORS; n <= QVL_MAX_TENSORS + 1; n++) {
        struct qvl_arena arena = {0};
        struct qvl_safetensors file = {0};
        struct qvl_error err = {0};
        char *text = malloc(64 * (size_t)n + 2);
        assert_non_null(text);
        size_t at = 0;
        for (unsigned i = 0; i < n; i++)
            at += (size_t)sprintf(text + at, "%c\"%u\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}",
                                  i ? ',' : '{', i);
        memcpy(text + at, "}", 2);
        assert_int_equal(parse(text, 0, &arena, &file, &err), n <= QVL_MAX_TENSORS ? QVL_OK : QVL_ERR_MODEL);
        free(text);
        qvl_arena_free(&arena);
    }
}

static void refuses_special_files(void **state)
{
    const char *dir = *state;
    struct qvl_arena arena = {0};
    struct qvl_safetensors file = {0};
    struct qvl_error err = {0};
    assert_int_equal(mkdir(folder_path(dir, "directory"), 0700), 0);
    assert_int_equal(mkfifo(folder_path(dir, "fifo"), 0600), 0);
    assert_int_equal(symlink("loop", folder_path(dir, "loop")), 0);
    static const char *const names[] = {"directory", "fifo", "loop", "absent", "../../../../dev/zero"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(qvl_safetensors_open(folder_path(dir, names[i]), &arena, &file, &err), QVL_ERR_FILE);
        assert_non_null(strstr(err.text, names[i]));
    }
    static const char pickle[] = "\x80\x02}q\x01(X\x0e\x00\x00\x00lm_head.weight"; /* the beginning of a .bin */
    folder_write(dir, "short", pickle, sizeof pickle);
    assert_int_equal(qvl_safetensors_open(folder_path(dir, "short"), &arena, &file, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "not a safetensors file"));
    for (size_t n = 0; n < 17; n++) { /* zip magic, "GGUF" and zeros */
        folder_write(dir, "short", "PK\x03\x04GGUF\0\0\0\0\0\0\0\0", n);
        assert_int_equal(qvl_safetensors_open(folder_path(dir, "short"), &arena, &file, &err), QVL_ERR_MODEL);
    }
    if (geteuid() != 0) { /* root may read anything */
        assert_int_equal(chmod(folder_path(dir, "short"), 0), 0);
        assert_int_equal(qvl_safetensors_open(folder_path(dir, "short"), &arena, &file, &err), QVL_ERR_FILE);
    }
    qvl_arena_free(&arena);
}

/* Every prefix of a valid file, and the whole file. */
static void refuses_every_truncation(void **state)
{
    const char *dir = *state;
    static const char header[] = "{\"b\":{\"dtype\":\"F32\",\"shape\":[2,1,3],\"data_offsets\":[4,28]},"
                                 "\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}";
    const size_t n = 8 + sizeof header - 1 + 28;
    uint8_t data[28] = {0};
    folder_write_safetensors(dir, "f", header, data, sizeof data);
    for (size_t left = n + 1; left-- > 0;) {
        struct qvl_arena arena = {0};
        struct qvl_safetensors file = {0};
        struct qvl_error err = {0};
        assert_int_equal(truncate(folder_path(dir, "f"), (off_t)left), 0);
        enum qvl_status status = qvl_safetensors_open(folder_path(dir, "f"), &arena, &file, &err);
        assert_int_equal(status, left == n ? QVL_OK : QVL_ERR_MODEL);
        if (!status)
            qvl_safetensors_close(&file);
        else
            assert_non_null(strstr(err.text, dir));
        qvl_arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_the_format_allows),
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(refuses_lies),
        cmocka_unit_test(refuses_lengths),
        cmocka_unit_test(refuses_depth_and_bulk),
        cmocka_unit_test(counts_tensors),
        cmocka_unit_test_setup_teardown(refuses_special_files, folder_open, folder_close),
        cmocka_unit_test_setup_teardown(refuses_every_truncation, folder_open, folder_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
