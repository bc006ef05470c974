/* Matrices as other programs store them: each type of block gives the numbers of the Python package gguf to the
 * bit; rows come from where they lie; packed matrices and floats made of them are those made of the same numbers in
 * f32, for any number of threads and pieces; what is not finite is named. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "kernel/packed.h"
#include "load/quantize.h"
#include "load/stored.h"
#include "../../lib/sha256.h"

struct ggml_vector {
    uint32_t type;
    size_t n;
    uint32_t first[4];
    const char *sha256;
};

#include "ggml_vectors.h"

enum { N_VECTOR = sizeof ggml_vectors / sizeof *ggml_vectors };

static uint8_t hash_byte(uint32_t i, uint32_t seed)
{
    uint32_t v = i + seed * 0x9E3779B9u;
    v ^= v >> 16;
    v *= 0x7FEB352Du;
    v ^= v >> 15;
    v *= 0x846CA68Bu;
    v ^= v >> 16;
    return (uint8_t)(v >> 24);
}

/* What reference/ggml_vectors.py makes: f16 scales (of BF16 the numbers) lose the top bit of their exponent. */
static void fill_blocks(uint32_t type, uint8_t *out, size_t n_block, uint32_t n_bytes)
{
    bool has_two = type == QVL_GGML_Q4_1 || type == QVL_GGML_Q5_1 || type == QVL_GGML_Q4_K || type == QVL_GGML_Q5_K;
    size_t scale_at = type == QVL_GGML_Q6_K ? 208 : 0;
    for (size_t i = 0; i < n_block * n_bytes; i++)
        out[i] = hash_byte((uint32_t)i, type);
    for (size_t i = 0; i < n_block; i++)
        for (size_t k = 0; k <= has_two; k++)
            out[i * n_bytes + scale_at + 2 * k + 1] &= 0xbf;
}

/* ---- numbers ------------------------------------------------------------------------------------- */

static void numbers_of_each_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_VECTOR; i++) {
        const struct ggml_vector *v = &ggml_vectors[i];
        uint32_t n = 0, n_bytes = 0;
        char hex[65];
        assert_true(qvl_ggml_type_block(v->type, &n, &n_bytes));
        size_t n_block = v->n / n;
        uint8_t *memory = malloc(n_block * n_bytes + 1), *blocks = memory + 1; /* blocks lie at any address */
        float *out = malloc(v->n * sizeof *out);
        fill_blocks(v->type, blocks, n_block, n_bytes);
        qvl_ggml_widen(v->type, blocks, v->n, out);
        assert_memory_equal(out, v->first, sizeof v->first);
        sha256_hex(out, v->n * sizeof *out, hex);
        assert_string_equal(hex, v->sha256);
        free(memory);
        free(out);
    }
}

/* Each type that is accepted in a file is in the vectors, or is f32. */
static void no_type_without_vectors(void **state)
{
    (void)state;
    size_t n_known = 0;
    for (uint32_t type = 0; type < 256; type++) {
        uint32_t n, n_bytes;
        bool is_there = type == QVL_GGML_F32;
        for (size_t i = 0; i < N_VECTOR; i++)
            is_there |= ggml_vectors[i].type == type;
        assert_int_equal(qvl_ggml_type_block(type, &n, &n_bytes), is_there);
        n_known += is_there;
    }
    assert_int_equal(n_known, N_VECTOR + 1);
}

/* Sign, exponent and mantissa as IEEE 754 has them. */
static void every_half(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
        float x = exponent == 31
                      ? (mantissa ? NAN : INFINITY)
                      : ldexpf((float)(exponent ? 1024 + mantissa : mantissa), (exponent ? exponent : 1) - 25);
        float out, expected = h & 0x8000 ? -x : x;
        uint8_t bytes[2] = {(uint8_t)h, (uint8_t)(h >> 8)};
        qvl_ggml_widen(QVL_GGML_F16, bytes, 1, &out);
        if (isnan(expected))
            assert_true(isnan(out));
        else
            assert_memory_equal(&out, &expected, sizeof out);
    }
}

/* ---- rows ---------------------------------------------------------------------------------------- */

static struct qvl_tensor tensor_of(const struct qvl_stored *stored, uint64_t n_out, uint64_t n_in)
{
    return (struct qvl_tensor){.name = "matrix",
                               .dtype = QVL_STORED,
                               .n_dim = 2,
                               .dim = {n_out, n_in},
                               .n_element = n_out * n_in,
                               .stored = stored};
}

/* 300 rows of 512 numbers. */
enum { N_OUT = 300, N_IN = 512 };

struct matrix {
    uint8_t *blocks;
    size_t n_bytes;
    struct qvl_stored stored;
    struct qvl_tensor tensor, f32; /* the same numbers */
};

static void open_matrix(struct matrix *m, uint32_t type)
{
    uint32_t n = 0, n_block_bytes = 0;
    assert_true(qvl_ggml_type_block(type, &n, &n_block_bytes));
    m->n_bytes = N_OUT * N_IN / n * n_block_bytes;
    m->blocks = malloc(m->n_bytes);
    fill_blocks(type, m->blocks, N_OUT * N_IN / n, n_block_bytes);
    float *numbers = malloc(N_OUT * N_IN * sizeof *numbers);
    qvl_ggml_widen(type, m->blocks, N_OUT * N_IN, numbers);
    m->stored = (struct qvl_stored){
        .format = QVL_STORED_GGML, .ggml_type = type, .weight = {.data = m->blocks}, .rows = qvl_stored_rows_ggml};
    m->tensor = tensor_of(&m->stored, N_OUT, N_IN);
    m->f32 = m->tensor;
    m->f32.dtype = QVL_F32;
    m->f32.data = numbers;
}

static void close_matrix(struct matrix *m)
{
    free(m->blocks);
    free((void *)(uintptr_t)m->f32.data);
}

static void rows_from_the_middle(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_VECTOR; i++) {
        struct matrix m;
        float out[3 * N_IN];
        open_matrix(&m, ggml_vectors[i].type);
        qvl_stored_rows(&m.tensor, 37, 3, out);
        assert_memory_equal(out, (const float *)m.f32.data + 37 * N_IN, sizeof out);
        close_matrix(&m);
    }
}

/* [2, 3, 2, 2, 2]: channel, then frame, then pixel; the frames lie in two tensors. */
static void kernels_of_two_frames(void **state)
{
    (void)state;
    float frame[2][2 * 3 * 4], out[2 * 24];
    for (int i = 0; i < 2 * 3 * 4; i++) {
        frame[0][i] = (float)i;
        frame[1][i] = (float)(100 + i);
    }
    struct qvl_stored stored = {.format = QVL_STORED_PATCH_KERNELS,
                                .ggml_type = QVL_GGML_F32,
                                .weight = {.data = frame[0]},
                                .weight1 = {.data = frame[1]},
                                .rows = qvl_stored_rows_patch_kernels};
    struct qvl_tensor t = {
        .dtype = QVL_STORED, .n_dim = 5, .dim = {2, 3, 2, 2, 2}, .n_element = 48, .stored = &stored};
    qvl_stored_rows(&t, 0, 2, out);
    for (int row = 0; row < 2; row++)
        for (int c = 0; c < 3; c++)
            for (int f = 0; f < 2; f++)
                for (int pixel = 0; pixel < 4; pixel++)
                    assert_float_equal(out[((row * 3 + c) * 2 + f) * 4 + pixel],
                                       100 * f + (row * 3 + c) * 4 + pixel, 0);
    qvl_stored_rows(&t, 1, 1, out);
    assert_float_equal(out[0], 12, 0);
    assert_float_equal(out[4], 112, 0);
}

/* q, k and v of a tower, each of another type. */
static void three_stacked(void **state)
{
    (void)state;
    static const uint32_t types[3] = {QVL_GGML_Q8_0, QVL_GGML_F16, QVL_GGML_Q6_K};
    struct matrix m[3];
    float *out = malloc(3 * N_OUT * N_IN * sizeof *out);
    for (size_t i = 0; i < 3; i++)
        open_matrix(&m[i], types[i]);
    struct qvl_stored stored = {.format = QVL_STORED_STACKED,
                                .part = {&m[0].tensor, &m[1].f32, &m[2].tensor},
                                .rows = qvl_stored_rows_stacked};
    struct qvl_tensor t = tensor_of(&stored, 3 * N_OUT, N_IN);
    static const size_t pieces[][2] = {{0, 3 * N_OUT}, {N_OUT - 1, 2}, {N_OUT, N_OUT}, {2 * N_OUT + 5, 1}};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        qvl_stored_rows(&t, pieces[i][0], pieces[i][1], out);
        for (size_t k = 0; k < pieces[i][1]; k++) {
            size_t row = pieces[i][0] + k;
            assert_memory_equal(out + k * N_IN, (const float *)m[row / N_OUT].f32.data + row % N_OUT * N_IN,
                                N_IN * sizeof *out);
        }
    }
    for (size_t i = 0; i < 3; i++)
        close_matrix(&m[i]);
    free(out);
}

/* ---- what is made of them ------------------------------------------------------------------------ */

static size_t bytes_as(const struct qvl_tensor *t, enum qvl_dtype to)
{
    struct qvl_tensor made = *t;
    made.dtype = to;
    return (size_t)qvl_tensor_bytes(&made);
}

static enum qvl_status make(const struct qvl_tensor *t, enum qvl_dtype to, uint32_t n_thread, size_t n_piece,
                            void *out, struct qvl_error *err)
{
    struct qvl_pool *pool = NULL;
    enum qvl_status status = qvl_pool_open(n_thread, &pool, err);
    for (size_t i = 0; i < N_OUT && !status; i += n_piece)
        status = qvl_quantize_rows(t, to, i, qvl_min_size(i + n_piece, N_OUT), pool, NULL, out, err);
    qvl_pool_close(pool);
    return status;
}

static void same_as_from_f32(void **state)
{
    (void)state;
    static const enum qvl_dtype to[] = {QVL_Q8, QVL_Q4, QVL_A8, QVL_BF16, QVL_F32};
    static const uint32_t types[] = {QVL_GGML_Q4_0, QVL_GGML_Q5_K, QVL_GGML_F16};
    struct qvl_error err = {0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct matrix m;
        open_matrix(&m, types[i]);
        for (size_t k = 0; k < sizeof to / sizeof *to; k++) {
            size_t n = bytes_as(&m.tensor, to[k]);
            void *expected = aligned_alloc(64, qvl_round_up(n, 64)), *got = aligned_alloc(64, qvl_round_up(n, 64));
            assert_int_equal(make(&m.f32, to[k], 1, N_OUT, expected, &err), QVL_OK);
            for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
                memset(got, 0x55, n);
                assert_int_equal(make(&m.tensor, to[k], n_thread, n_thread == 2 ? 48 : N_OUT, got, &err), QVL_OK);
                assert_memory_equal(got, expected, n);
            }
            if (to[k] == QVL_F32)
                assert_memory_equal(got, m.f32.data, n);
            free(expected);
            free(got);
        }
        close_matrix(&m);
    }
}

/* A scale of a block in row 200 that is infinite, or NaN. */
static void scales_that_are_not_finite(void **state)
{
    (void)state;
    static const enum qvl_dtype to[] = {QVL_Q8, QVL_Q4, QVL_A8, QVL_BF16, QVL_F32};
    struct qvl_error err;
    struct qvl_pool *pool = NULL;
    assert_int_equal(qvl_pool_open(2, &pool, &err), QVL_OK);
    for (size_t i = 0; i < N_VECTOR; i++) {
        struct matrix m;
        open_matrix(&m, ggml_vectors[i].type);
        void *out = aligned_alloc(64, N_OUT * N_IN * 8);
        size_t n_row_bytes = m.n_bytes / N_OUT;
        size_t at = 200 * n_row_bytes + (ggml_vectors[i].type == QVL_GGML_Q6_K ? 208 : 0);
        for (size_t k = 0; k < sizeof to / sizeof *to; k++) {
            bool is_bf16 = ggml_vectors[i].type == QVL_GGML_BF16;
            m.blocks[at] = k % 2 == 0 ? 0x01 : 0x00;
            m.blocks[at + 1] = is_bf16 ? 0x7f : 0x7c;
            if (is_bf16)
                m.blocks[at] |= 0x80;
            if (!is_bf16 && k % 2 == 1) /* infinite times zero is none, either */
                m.blocks[at] = 0;
            assert_int_equal(make(&m.tensor, to[k], 2, N_OUT, out, &err), QVL_ERR_MODEL);
            assert_string_equal(err.text, "matrix: row 200 holds a value that is infinite or not a number");
        }
        assert_int_equal(qvl_tensors_check_finite(&m.tensor, 1, pool, NULL, &err), QVL_ERR_MODEL);
        assert_non_null(strstr(err.text, "matrix: value 1024"));
        assert_non_null(strstr(err.text, "of 153600 is infinite or not a number"));
        free(out);
        close_matrix(&m);
    }
    qvl_pool_close(pool);
}

static void finite_ones_pass(void **state)
{
    (void)state;
    struct qvl_error err;
    struct qvl_pool *pool = NULL;
    struct matrix m;
    open_matrix(&m, QVL_GGML_Q4_K);
    assert_int_equal(qvl_pool_open(3, &pool, &err), QVL_OK);
    const struct qvl_tensor both[2] = {m.tensor, m.f32};
    assert_int_equal(qvl_tensors_check_finite(both, 2, pool, NULL, &err), QVL_OK);
    qvl_pool_close(pool);
    close_matrix(&m);
}

/* The largest f32 that rounds to the largest bf16, and its neighbour, which would round to infinity. */
static void too_large_for_bf16(void **state)
{
    (void)state;
    struct qvl_error err;
    uint32_t bits = 0x7f7f7fff;
    float *numbers = calloc(N_OUT * N_IN, sizeof *numbers);
    uint16_t *out = malloc(N_OUT * N_IN * sizeof *out);
    struct qvl_tensor t = tensor_of(NULL, N_OUT, N_IN);
    t.dtype = QVL_F32;
    t.data = numbers;
    memcpy(&numbers[7 * N_IN], &bits, sizeof bits);
    assert_int_equal(make(&t, QVL_BF16, 1, N_OUT, out, &err), QVL_OK);
    assert_int_equal(out[7 * N_IN], 0x7f7f);
    bits++;
    memcpy(&numbers[7 * N_IN], &bits, sizeof bits);
    assert_int_equal(make(&t, QVL_BF16, 1, N_OUT, out, &err), QVL_ERR_MODEL);
    assert_string_equal(err.text, "matrix: row 7 holds a value that is infinite or not a number");
    free(numbers);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_each_type),
        cmocka_unit_test(no_type_without_vectors),
        cmocka_unit_test(every_half),
        cmocka_unit_test(rows_from_the_middle),
        cmocka_unit_test(kernels_of_two_frames),
        cmocka_unit_test(three_stacked),
        cmocka_unit_test(same_as_from_f32),
        cmocka_unit_test(scales_that_are_not_finite),
        cmocka_unit_test(finite_ones_pass),
        cmocka_unit_test(too_large_for_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
