/* Every row of kernel.def at every level that this machine has. The list of tests is generated from kernel.def: a
 * row without its test_<name> does not link.
 *
 * Expected values come from plain double arithmetic written here, apart from the kernels; the scalar level is
 * checked like the others. Tolerances are those of kernel.def, as bounds on the rounding errors of the arithmetic
 * that the level is allowed to use. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/emulated_level.h"
#include "check.h"
#include "kernel/levels.h"

#define ULP_UNIT 0x1p-23 /* eps of kernel.def: distance of f32 neighbours at 1.0 */

/* Tolerances of kernel.def as numbers: units in the last place; 0 exact; DOT has bounds of its own. */
#define EXACT 0
#define ULP(n) (n)
#define DOT (-1)
#define QVL_KERNEL(name, tolerance, result, ...) N_ULP_##name = tolerance,
enum {
    QVL_KERNEL_TOLERANCES_BEGIN,
#include "kernel/kernel.def"
};
#undef QVL_KERNEL

#define QVL_KERNEL(name, tolerance, result, ...) static void test_##name(void **level);
#include "kernel/kernel.def"
#undef QVL_KERNEL

/* Lengths with every tail of every vector length, then some with many whole vectors. */
static const size_t LONG[] = {95, 127, 128, 129, 255, 257, 1000, 2047, 4099};
#define N_SHORT 70
#define N_LENGTH (N_SHORT + sizeof LONG / sizeof *LONG)

static size_t length(size_t i)
{
    return i < N_SHORT ? i + 1 : LONG[i - N_SHORT];
}

/* f32 buffers of n that end at a forbidden page. */
#define MAX_BUFFERS 6
struct buffers {
    struct span span[MAX_BUFFERS];
    float *f[MAX_BUFFERS];
    size_t n;
};

static struct buffers buffers_alloc(size_t n_buffer, size_t n)
{
    struct buffers b = {.n = n_buffer};
    for (size_t i = 0; i < n_buffer; i++) {
        b.span[i] = span_alloc(n * sizeof(float));
        b.f[i] = b.span[i].data;
    }
    return b;
}

static void buffers_free(struct buffers *b)
{
    for (size_t i = 0; i < b->n; i++)
        span_free(&b->span[i]);
}

/* ---- matrix products ------------------------------------------------------------------------------ */

struct product {
    const struct qvl_kernels *kernels;
    const char *name;
    enum qvl_dtype w_type, x_type;
    size_t n_row, n_tok, k;
    size_t w_stride, x_stride, c_stride;
    struct span w, x, c;
};

static void fill_element(void *dst, enum qvl_dtype t, enum numbers numbers)
{
    if (t == QVL_F32)
        fill_f32(dst, 1, numbers);
    else if (t == QVL_BF16)
        fill_bf16(dst, 1, numbers);
    else
        fill_f16(dst, 1);
}

static double value_at(const void *p, size_t i, enum qvl_dtype t)
{
    return t == QVL_F32    ? ((const float *)p)[i]
           : t == QVL_BF16 ? value_of_bf16(((const qvl_bf16 *)p)[i])
                           : value_of_f16(((const qvl_f16 *)p)[i]);
}

/* What lies between the rows stays NaN, so that reading it shows. */
static struct product product_alloc(const struct qvl_kernels *kernels, const char *name, enum qvl_dtype w_type,
                                    enum qvl_dtype x_type, size_t n_row, size_t n_tok, size_t k,
                                    enum numbers numbers)
{
    struct product p = {.kernels = kernels,
                        .name = name,
                        .w_type = w_type,
                        .x_type = x_type,
                        .n_row = n_row,
                        .n_tok = n_tok,
                        .k = k};
    p.w_stride = (k + random_u32() % 3) * qvl_dtype_bytes(w_type);
    p.x_stride = qvl_row_stride_bytes(k, x_type);
    p.c_stride = n_row + random_u32() % 4;
    p.w = span_alloc((n_row - 1) * p.w_stride + k * qvl_dtype_bytes(w_type));
    p.x = span_alloc(n_tok * p.x_stride);
    p.c = span_alloc(((n_tok - 1) * p.c_stride + n_row) * sizeof(float));
    for (size_t r = 0; r < n_row; r++)
        for (size_t j = 0; j < k; j++)
            fill_element((char *)p.w.data + r * p.w_stride + j * qvl_dtype_bytes(w_type), w_type, numbers);
    for (size_t t = 0; t < n_tok; t++)
        for (size_t j = 0; j < k; j++)
            fill_element((char *)p.x.data + t * p.x_stride + j * qvl_dtype_bytes(x_type), x_type, numbers);
    return p;
}

static void product_free(struct product *p)
{
    span_free(&p->w);
    span_free(&p->x);
    span_free(&p->c);
}

/* n_row x n_tok elements from row r and token t on, into c. */
static void product_run(const struct product *p, float *c, size_t c_stride, size_t r, size_t t, size_t n_row,
                        size_t n_tok)
{
    const void *w = (const char *)p->w.data + r * p->w_stride, *x = (const char *)p->x.data + t * p->x_stride;
    if (p->x_type == QVL_BF16)
        p->kernels->gemm_bf16_bf16(c, c_stride, w, p->w_stride, x, p->x_stride, n_row, n_tok, p->k);
    else if (p->w_type == QVL_BF16)
        p->kernels->gemm_bf16_f32(c, c_stride, w, p->w_stride, x, p->x_stride, n_row, n_tok, p->k);
    else if (p->w_type == QVL_F16)
        p->kernels->gemm_f16_f32(c, c_stride, w, p->w_stride, x, p->x_stride, n_row, n_tok, p->k);
    else
        p->kernels->gemm_f32_f32(c, c_stride, w, p->w_stride, x, p->x_stride, n_row, n_tok, p->k);
}

/* Are bf16 numbers multiplied as such, by instructions that take denormals as zero? */
static bool has_bf16_products(const struct qvl_kernels *kernels)
{
    return kernels->isa == QVL_ISA_AVX512_BF16 || kernels->isa == QVL_ISA_AMX;
}

/* |error| <= eps (k + 1) sum |w||x|, what underflows apart: a product or sum below the smallest number loses at
 * most that number, and bf16 products take denormal factors, sums and results as zero. */
static void check_product_element(const struct product *p, size_t r, size_t t)
{
    const char *w = (const char *)p->w.data + r * p->w_stride, *x = (const char *)p->x.data + t * p->x_stride;
    bool is_flushing = has_bf16_products(p->kernels) && p->x_type == QVL_BF16;
    double sum = 0, size = 0, lost = (double)(p->k + 1) * (is_flushing ? FLT_MIN : FLT_MIN * ULP_UNIT);
    for (size_t j = 0; j < p->k; j++) {
        double a = value_at(w, j, p->w_type), b = value_at(x, j, p->x_type);
        sum += a * b;
        size += fabs(a * b);
        if (is_flushing && (fabs(a) < FLT_MIN || fabs(b) < FLT_MIN))
            lost += fabs(a * b);
    }
    double bound = ULP_UNIT * (double)(p->k + 1) * size + lost;
    check_within(p->name, t * p->n_row + r, p->k, ((float *)p->c.data)[t * p->c_stride + r], sum, bound);
}

static void check_product(const struct product *p)
{
    for (size_t t = 0; t < p->n_tok; t++) {
        for (size_t r = 0; r < p->n_row; r++)
            check_product_element(p, r, t);
        for (size_t r = p->n_row; r < p->c_stride && t + 1 < p->n_tok; r++)
            assert_true(isnan(((float *)p->c.data)[t * p->c_stride + r])); /* between the rows: untouched */
    }
}

/* Pieces of every size at several places, against the whole computed at once. */
static void check_product_places(const struct product *p)
{
    const float *whole = p->c.data;
    for (size_t i = 0; i < 60; i++) {
        size_t r = random_u32() % p->n_row, t = random_u32() % p->n_tok;
        size_t n_row = i % 3 == 0 ? 1 : 1 + random_u32() % (p->n_row - r);
        size_t n_tok = i % 4 == 0 ? 1 : 1 + random_u32() % (p->n_tok - t);
        struct span piece = span_alloc(n_row * n_tok * sizeof(float));
        product_run(p, piece.data, n_row, r, t, n_row, n_tok);
        for (size_t u = 0; u < n_tok; u++)
            for (size_t s = 0; s < n_row; s++)
                check_bits(p->name, (t + u) * p->n_row + r + s, p->k, ((float *)piece.data)[u * n_row + s],
                           whole[(t + u) * p->c_stride + r + s]);
        span_free(&piece);
    }
}

static void check_gemm(const struct qvl_kernels *kernels, const char *name, enum qvl_dtype w_type,
                       enum qvl_dtype x_type)
{
    static const size_t n_rows[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 19},
                        n_toks[] = {1, 2, 3, 4, 5, 6, 8, 12, 17, 41, 44};
    random_seed(1);
    for (size_t i = 0; i < N_LENGTH; i++) {
        size_t n_row = n_rows[i % 10], n_tok = length(i) > 1000 ? n_toks[i % 5] : n_toks[i % 11];
        /* halves span 2^-24 .. 2^16 whatever is asked for */
        struct product p = product_alloc(kernels, name, w_type, x_type, n_row, n_tok, length(i),
                                         (enum numbers)(i % NUMBERS_COUNT));
        product_run(&p, p.c.data, p.c_stride, 0, 0, n_row, n_tok);
        check_product(&p);
        product_free(&p);
    }
    static const size_t ks[] = {1, 15, 33, 64, 545, 1025, 2100};
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
        size_t n_row = i % 2 ? 21 : 70, n_tok = i % 2 ? 47 : 69;
        struct product p = product_alloc(kernels, name, w_type, x_type, n_row, n_tok, ks[i], NUMBERS_USUAL);
        product_run(&p, p.c.data, p.c_stride, 0, 0, p.n_row, p.n_tok);
        check_product(&p);
        check_product_places(&p);
        product_free(&p);
    }
}

static void test_gemm_bf16_bf16(void **level)
{
    check_gemm(*level, "gemm_bf16_bf16", QVL_BF16, QVL_BF16);
}

static void test_gemm_bf16_f32(void **level)
{
    check_gemm(*level, "gemm_bf16_f32", QVL_BF16, QVL_F32);
}

static void test_gemm_f16_f32(void **level)
{
    check_gemm(*level, "gemm_f16_f32", QVL_F16, QVL_F32);
}

static void test_gemm_f32_f32(void **level)
{
    check_gemm(*level, "gemm_f32_f32", QVL_F32, QVL_F32);
}

/* ---- packed matrices ------------------------------------------------------------------------------ */

/* A packed matrix of random bytes that mean finite numbers, and rows of activations, both ending at a forbidden
 * page. */
struct packed {
    enum qvl_dtype format;
    size_t n_out, n_in, n_tok, x_stride;
    struct span w, x;
};

static struct packed packed_alloc(enum qvl_dtype format, size_t n_out, size_t n_in, size_t n_tok)
{
    struct packed p = {.format = format, .n_out = n_out, .n_in = n_in, .n_tok = n_tok};
    p.x_stride = qvl_row_stride_bytes(n_in, QVL_A8);
    p.w = span_alloc(qvl_packed_bytes(n_out, n_in, format));
    p.x = span_alloc(n_tok * p.x_stride);
    struct qvl_packed_head *head = p.w.data;
    uint8_t *bytes = p.w.data;
    for (size_t i = 0; i < p.w.n_bytes; i++)
        bytes[i] = (uint8_t)random_u32();
    *head = (struct qvl_packed_head){.n_out = (uint32_t)n_out, .n_in = (uint32_t)n_in};
    for (size_t i = 0; i < QVL_Q4_LEVELS; i++)
        head->level[i] = (uint8_t)(8 * i + random_u32() % 8);
    size_t at = qvl_packed_panels_at(n_out, format);
    if (format == QVL_Q4)
        fill_f32((float *)(void *)(head + 1), (at - sizeof *head) / sizeof(float), NUMBERS_USUAL);
    for (; format == QVL_Q8 && at < p.w.n_bytes; at += QVL_PANEL_BLOCK_BYTES)
        fill_bf16((qvl_bf16 *)(void *)(bytes + at), 2 * QVL_PANEL_ROWS, NUMBERS_MIXED);
    memset(p.x.data, 0, p.x.n_bytes);
    float *row = calloc(n_in, sizeof *row);
    for (size_t t = 0; t < n_tok; t++) {
        fill_f32(row, n_in, t % 4 == 3 ? NUMBERS_MIXED : NUMBERS_USUAL);
        qvl_kernels_of(QVL_ISA_SCALAR)->f32_to_a8((void *)((char *)p.x.data + t * p.x_stride), 0, row, n_in);
    }
    free(row);
    return p;
}

static void packed_free(struct packed *p)
{
    span_free(&p->w);
    span_free(&p->x);
}

static void packed_run(const struct qvl_kernels *kernels, const struct packed *p, float *c, size_t c_stride,
                       size_t row0, size_t t0, size_t n_row, size_t n_tok)
{
    const void *x = (const char *)p->x.data + t0 * p->x_stride;
    if (p->format == QVL_Q8)
        kernels->gemm_q8_a8(c, c_stride, p->w.data, row0, x, p->x_stride, n_row, n_tok, p->n_in);
    else
        kernels->gemm_q4_a8(c, c_stride, p->w.data, row0, x, p->x_stride, n_row, n_tok, p->n_in);
}

/* Weight (row, column) without its scale, and the scale of its group, by the description in packed.h. */
static int packed_number(const struct packed *p, size_t row, size_t column, float *scale)
{
    const struct qvl_packed_head *head = p->w.data;
    size_t width = p->format == QVL_Q8 ? 64 : 128, lines = p->format == QVL_Q8 ? 8 : 4;
    size_t n_block = (p->n_in + width - 1) / width, first = 64, group = column % width / 32, in_group = column % 32;
    if (p->format == QVL_Q4)
        first += (p->n_out + 15) / 16 * 64;
    const uint8_t *block = (const uint8_t *)p->w.data + first + (row / 16 * n_block + column / width) * 1088;
    const uint8_t *line = block + 64 + (group * lines + in_group / 4 % lines) * 64;
    uint8_t byte = line[row % 16 * 4 + in_group % 4];
    if (p->format == QVL_Q8) {
        const uint8_t *at = block + (group * 16 + row % 16) * 2;
        *scale = (float)value_of_bf16((qvl_bf16)(at[0] | at[1] << 8));
        return byte - 128;
    }
    uint8_t code = block[group * 16 + row % 16];
    *scale = (float)ldexp((code & 128 ? -1 : 1) * (1 + (code & 15) / 16.0), (code >> 4 & 7) - 7);
    return head->level[in_group < 16 ? byte & 15 : byte >> 4] - 64;
}

static float packed_expected(const struct packed *p, size_t row, size_t t)
{
    const struct qvl_a8_block *x = (const void *)((const char *)p->x.data + t * p->x_stride);
    const float *factor = (const void *)((const struct qvl_packed_head *)p->w.data + 1);
    float acc = 0, w_scale = 0;
    for (size_t j = 0; j < p->n_in; j += 32) {
        int sum = 0;
        for (size_t i = j; i < j + 32 && i < p->n_in; i++)
            sum += packed_number(p, row, i, &w_scale) * x[i / 128].q[i % 128];
        acc = fmaf((float)sum, w_scale * x[j / 128].scale[j % 128 / 32], acc);
    }
    return p->format == QVL_Q4 ? acc * factor[row] : acc;
}

static void check_packed(const struct qvl_kernels *kernels, const char *name, enum qvl_dtype format)
{
    static const size_t n_ins[] = {1, 31, 32, 33, 64, 65, 96, 128, 160, 192, 256, 320, 511, 640, 2048},
                        n_outs[] = {1, 15, 16, 17, 48, 64, 70}, n_toks[] = {1, 2, 3, 5, 11, 12, 13, 24, 29};
    random_seed(7);
    for (size_t i = 0; i < 45; i++) {
        struct packed p = packed_alloc(format, n_outs[i % 7], n_ins[i % 15], n_toks[i % 9]);
        size_t c_stride = qvl_round_up(p.n_out, 16) + random_u32() % 4;
        struct span whole = span_alloc(p.n_tok * c_stride * sizeof(float));
        float *c = whole.data;
        packed_run(kernels, &p, c, c_stride, 0, 0, p.n_out, p.n_tok);
        for (size_t t = 0; t < p.n_tok; t++)
            for (size_t r = 0; r < p.n_out; r++)
                check_bits(name, t * p.n_out + r, p.n_in, c[t * c_stride + r], packed_expected(&p, r, t));
        for (size_t j = 0; j < 10; j++) { /* pieces have the bits of the whole */
            size_t r = random_u32() % ((p.n_out + 15) / 16) * 16, t = random_u32() % p.n_tok;
            size_t n_row = 1 + random_u32() % (p.n_out - r), n_tok = 1 + random_u32() % (p.n_tok - t);
            size_t stride = qvl_round_up(n_row, 16);
            struct span piece = span_alloc(n_tok * stride * sizeof(float));
            packed_run(kernels, &p, piece.data, stride, r, t, n_row, n_tok);
            for (size_t u = 0; u < n_tok; u++)
                for (size_t s = 0; s < n_row; s++)
                    check_bits(name, (t + u) * p.n_out + r + s, p.n_in, ((float *)piece.data)[u * stride + s],
                               c[(t + u) * c_stride + r + s]);
            span_free(&piece);
        }
        span_free(&whole);
        packed_free(&p);
    }
}

static void test_gemm_q8_a8(void **level)
{
    check_packed(*level, "gemm_q8_a8", QVL_Q8);
}

static void test_gemm_q4_a8(void **level)
{
    check_packed(*level, "gemm_q4_a8", QVL_Q4);
}

static void test_dot_a8_a8(void **level)
{
    const struct qvl_kernels *kernels = *level;
    random_seed(8);
    for (size_t i = 0; i < N_LENGTH; i++) {
        struct packed p = packed_alloc(QVL_Q8, 1, length(i), 2);
        const struct qvl_a8_block *a = p.x.data, *b = (const void *)((const char *)p.x.data + p.x_stride);
        float expected = 0;
        for (size_t j = 0; j < length(i); j += 32) {
            int sum = 0;
            for (size_t n = j; n < j + 32; n++)
                sum += a[n / 128].q[n % 128] * b[n / 128].q[n % 128];
            expected = fmaf((float)sum, a[j / 128].scale[j % 128 / 32] * b[j / 128].scale[j % 128 / 32], expected);
        }
        check_bits("dot_a8_a8", i, length(i), kernels->dot_a8_a8(a, b, length(i)), expected);
        packed_free(&p);
    }
}

/* Whole groups anywhere in a row, the last one shorter; numbers of every kind, one of them not finite now and then.
 */
static void test_f32_to_a8(void **level)
{
    const struct qvl_kernels *kernels = *level;
    random_seed(9);
    for (size_t i = 0; i < N_LENGTH; i++) {
        size_t n = length(i), n_column = 32 * (random_u32() % 9);
        struct span x = span_alloc(n * sizeof(float)), y = span_alloc(qvl_a8_row_bytes(n_column + n));
        const struct qvl_a8_block *block = y.data;
        float *f = x.data;
        fill_f32(f, n, (enum numbers)(i % NUMBERS_COUNT));
        if (i % 7 == 3)
            f[random_u32() % n] = i % 2 ? NAN : INFINITY;
        kernels->f32_to_a8(y.data, n_column, f, n);
        for (size_t j = 0; j < n; j += 32) {
            size_t at = n_column + j, group = at % 128 / 32, n_here = n - j < 32 ? n - j : 32;
            float largest = 0, total = 0;
            int sum = 0;
            for (size_t u = 0; u < n_here; u++) {
                largest = fmaxf(largest, fabsf(f[j + u]));
                total += f[j + u] - f[j + u]; /* NaN where one is not finite */
            }
            bool is_zero = isnan(total) || largest < 0x1p-100f;
            for (size_t u = 0; u < 32; u++) {
                float expected = is_zero || u >= n_here ? 0 : rintf(f[j + u] * (127.0f / largest));
                assert_int_equal(block[at / 128].q[at % 128 + u], (int)expected);
                sum += (int)expected;
            }
            assert_int_equal(block[at / 128].minus_64_sum[group], -64 * sum);
            if (isnan(total))
                assert_true(isnan(block[at / 128].scale[group]));
            else
                check_bits("f32_to_a8", j, n, block[at / 128].scale[group], is_zero ? 0 : largest / 127.0f);
        }
        span_free(&x);
        span_free(&y);
    }
}

static void test_a8_to_f32(void **level)
{
    const struct qvl_kernels *kernels = *level;
    random_seed(10);
    for (size_t i = 0; i < N_LENGTH; i++) {
        struct packed p = packed_alloc(QVL_Q8, 1, length(i), 1);
        struct span y = span_alloc(length(i) * sizeof(float));
        const struct qvl_a8_block *x = p.x.data;
        kernels->a8_to_f32(y.data, x, length(i));
        for (size_t j = 0; j < length(i); j++)
            check_bits("a8_to_f32", j, length(i), ((float *)y.data)[j],
                       (float)x[j / 128].q[j % 128] * x[j / 128].scale[j % 128 / 32]);
        span_free(&y);
        packed_free(&p);
    }
}

/* ---- attention ------------------------------------------------------------------------------------ */

#define MAX_TEST_BLOCKS 4

/* One KV head: what was stored, as plain rows, and the blocks. */
struct head {
    const struct qvl_kernels *kernels;
    enum qvl_dtype type;
    size_t head_dim, n_pos;
    float *k, *v; /* [n_pos, head_dim] as the blocks hold them */
    struct span k_span[MAX_TEST_BLOCKS], v_span[MAX_TEST_BLOCKS];
    const void *k_block[MAX_TEST_BLOCKS], *v_block[MAX_TEST_BLOCKS];
    void *scratch;
};

static void head_store(struct head *head, size_t i_pos, const float *k, const float *v)
{
    size_t i_block = i_pos / QVL_KV_BLOCK, at = i_pos % QVL_KV_BLOCK;
    if (head->type == QVL_BF16) {
        head->kernels->store_k_bf16(head->k_span[i_block].data, at, k, head->head_dim);
        head->kernels->store_v_bf16(head->v_span[i_block].data, at, v, head->head_dim);
    } else if (head->type == QVL_I8) {
        head->kernels->store_k_i8(head->k_span[i_block].data, at, k, head->head_dim);
        head->kernels->store_v_i8(head->v_span[i_block].data, at, v, head->head_dim);
    } else {
        head->kernels->store_k_f32(head->k_span[i_block].data, at, k, head->head_dim);
        head->kernels->store_v_f32(head->v_span[i_block].data, at, v, head->head_dim);
    }
}

/* From numbers in [-size, size] a row that int8 holds exactly: multiples, up to 127, of unit, a power of two. */
static void snap_to_i8(float *x, size_t n, double size, float unit)
{
    x[0] = x[0] < 0 ? (float)-size : (float)size;
    for (size_t i = 0; i < n; i++)
        x[i] = (float)nearbyint(x[i] / size * 127) * unit;
}

static struct head head_alloc(const struct qvl_kernels *kernels, enum qvl_dtype type, size_t head_dim, size_t n_pos)
{
    struct head head = {.kernels = kernels, .type = type, .head_dim = head_dim, .n_pos = n_pos};
    head.k = calloc(n_pos * head_dim, sizeof *head.k);
    head.v = calloc(n_pos * head_dim, sizeof *head.v);
    assert_int_equal(posix_memalign(&head.scratch, 64, qvl_attention_scratch_bytes(head_dim)), 0);
    memset(head.scratch, 0xff, qvl_attention_scratch_bytes(head_dim)); /* NaN: nothing may be read before written */
    for (size_t i = 0; i * QVL_KV_BLOCK < n_pos; i++) {
        head.k_span[i] = span_alloc(qvl_k_block_bytes(head_dim, type));
        head.v_span[i] = span_alloc(qvl_v_block_bytes(head_dim, type));
        head.k_block[i] = memset(head.k_span[i].data, 0, head.k_span[i].n_bytes);
        head.v_block[i] = memset(head.v_span[i].data, 0, head.v_span[i].n_bytes);
    }
    for (size_t i = 0; i < n_pos * head_dim; i++) {
        head.k[i] = (float)(2 * random_unit());
        head.v[i] = (float)random_unit();
        if (type == QVL_BF16) {
            head.k[i] = (float)value_of_bf16(nearest_bf16(head.k[i]));
            head.v[i] = (float)value_of_bf16(nearest_bf16(head.v[i]));
        }
    }
    for (size_t i = 0; i < n_pos && type == QVL_I8; i++) {
        snap_to_i8(head.k + i * head_dim, head_dim, 2, 0x1p-6f);
        snap_to_i8(head.v + i * head_dim, head_dim, 1, i % 5 == 0 ? 0x1p-3f : 0x1p-7f);
    }
    for (size_t i = 0; i < n_pos; i++)
        head_store(&head, i, head.k + i * head_dim, head.v + i * head_dim);
    return head;
}

static void head_free(struct head *head)
{
    for (size_t i = 0; i * QVL_KV_BLOCK < head->n_pos; i++) {
        span_free(&head->k_span[i]);
        span_free(&head->v_span[i]);
    }
    free(head->k);
    free(head->v);
    free(head->scratch);
}

static void head_attend(const struct head *head, const float *q, float *out, size_t n_row, const uint32_t *n_key)
{
    struct qvl_attention_job job = {
        .q = q,
        .q_stride = head->head_dim,
        .out = out,
        .out_stride = head->head_dim,
        .n_row = n_row,
        .n_key = n_key,
        .k_block = head->k_block,
        .v_block = head->v_block,
        .head_dim = head->head_dim,
        .scale = (float)(1 / sqrt((double)head->head_dim)),
        .scratch = head->scratch,
    };
    if (head->type == QVL_BF16)
        head->kernels->attention_bf16(&job);
    else if (head->type == QVL_I8)
        head->kernels->attention_i8(&job);
    else
        head->kernels->attention_f32(&job);
}

static double largest_size(const float *x, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)x[i]));
    return largest;
}

/* What rounding to multiples of its largest number / 127 may take from a row's numbers: nothing where they are
 * such. */
static double error_of_i8(const float *x, size_t n)
{
    double unit = largest_size(x, n) / 127;
    for (size_t i = 0; i < n && unit > 0; i++)
        if (x[i] != nearbyint(x[i] / unit) * unit)
            return unit * (0.5 + 127 * 2 * ULP_UNIT);
    return 0;
}

/* A weight, probability times the value's unit, is rounded to multiples of its block's largest / 32767. */
static double error_of_i8_weights(const struct head *head, const double *p, size_t n_key, size_t dim)
{
    double error = 0;
    for (size_t first = 0; first < n_key; first += QVL_KV_BLOCK) {
        size_t end = first + QVL_KV_BLOCK < n_key ? first + QVL_KV_BLOCK : n_key, d = head->head_dim;
        double most = 0, size = 0;
        for (size_t i = first; i < end; i++) {
            double unit = largest_size(head->v + i * d, d) / 127;
            most = fmax(most, p[i] * unit);
            size += fabs((double)head->v[i * d + dim]) / unit;
        }
        error += most / 32767 * (0.5 + 32767 * 3 * ULP_UNIT) * size;
    }
    return error;
}

/* Softmax in double, and the bound on the error: a score that is off by d changes a weight by exp(d) and the total
 * by as much at most; a probability rounded by u changes the weighted sum and the total by u each. */
static void check_attention_row(const struct head *head, const float *q, const float *out, size_t n_key)
{
    size_t d = head->head_dim;
    bool is_bf16 = head->type == QVL_BF16 && has_bf16_products(head->kernels);
    double scale = (double)(float)(1 / sqrt((double)d)), *score = calloc(n_key, sizeof *score);
    double query_error = head->type == QVL_I8 ? error_of_i8(q, d) : 0;
    double largest = -INFINITY, total = 0, score_size = 0, rounding = 0;
    for (size_t i = 0; i < n_key; i++) {
        double size = 0, rounded = 0;
        for (size_t j = 0; j < d; j++) {
            score[i] += scale * q[j] * head->k[i * d + j];
            size += scale * fabs(q[j] * (double)head->k[i * d + j]);
            rounded += scale * query_error * fabs((double)head->k[i * d + j]);
        }
        largest = fmax(largest, score[i]);
        score_size = fmax(score_size, size);
        rounding = fmax(rounding, rounded);
    }
    for (size_t i = 0; i < n_key; i++)
        total += exp(score[i] - largest);
    for (size_t i = 0; i < n_key; i++)
        score[i] = exp(score[i] - largest) / total;
    double of_query = is_bf16 ? 0x1p-8 : 0, of_probability = is_bf16 ? 0x1p-8 : 0;
    double score_error = score_size * (of_query + (1 + of_query) * ULP_UNIT * (double)(d + 8)) + rounding;
    double weight_error = expm1(2 * score_error) + 2 * of_probability + 2 * ULP_UNIT * (double)(n_key + 8);
    for (size_t j = 0; j < d; j++) {
        double sum = 0, size = 0, rounded = 0;
        for (size_t i = 0; i < n_key; i++) {
            sum += score[i] * head->v[i * d + j];
            size += score[i] * fabs(head->v[i * d + j]);
        }
        if (head->type == QVL_I8)
            rounded = (1 + weight_error) * error_of_i8_weights(head, score, n_key, j);
        check_within("attention", j, n_key, out[j], sum, 1.01 * (weight_error * size + rounded) + FLT_MIN);
    }
    free(score);
}

/* What lies beyond the keys that a row sees must not reach it: large numbers there, same bits. */
static void check_attention_garbage(struct head *head, const float *q)
{
    size_t d = head->head_dim, n_key = head->n_pos - head->n_pos / 3;
    uint32_t n_keys[1] = {(uint32_t)n_key};
    struct buffers b = buffers_alloc(3, d);
    for (size_t j = 0; j < d; j++)
        b.f[0][j] = b.f[1][j] = j % 2 ? 1e30f : -1e30f;
    head_attend(head, q, b.f[2], 1, n_keys);
    for (size_t i = n_key; i < head->n_pos; i++)
        head_store(head, i, b.f[0], b.f[1]);
    head_attend(head, q, b.f[0], 1, n_keys);
    for (size_t j = 0; j < d; j++)
        check_bits("attention beside garbage", j, d, b.f[0][j], b.f[2][j]);
    buffers_free(&b);
}

/* The bits of the scalar level. */
static void check_attention_as_defined(const struct head *head, const float *q, const float *out, size_t n_row,
                                       const uint32_t *n_key)
{
    struct head scalar = *head;
    struct buffers b = buffers_alloc(1, n_row * head->head_dim);
    scalar.kernels = qvl_kernels_of(QVL_ISA_SCALAR);
    head_attend(&scalar, q, b.f[0], n_row, n_key);
    for (size_t j = 0; j < n_row * head->head_dim; j++)
        check_bits("attention beside its definition", j, n_row, out[j], b.f[0][j]);
    buffers_free(&b);
}

static void check_attention_case(const struct qvl_kernels *kernels, enum qvl_dtype type, size_t d, size_t n_row,
                                 size_t n_pos, double q_size)
{
    struct head head = head_alloc(kernels, type, d, n_pos);
    struct buffers b = buffers_alloc(3, n_row * d);
    float *q = b.f[0], *out = b.f[1], *alone = b.f[2];
    uint32_t *n_key = calloc(n_row, sizeof *n_key);
    for (size_t i = 0; i < n_row * d; i++)
        q[i] = (float)(q_size * random_unit());
    for (size_t i = 0; i < n_row; i += 2)
        if (type == QVL_I8 && q_size > 0)
            snap_to_i8(q + i * d, d, q_size, (float)exp2(floor(log2(q_size / 127))));
    for (size_t i = 0; i < n_row; i++)
        n_key[i] = (uint32_t)(i == 0 ? n_pos : 1 + random_u32() % n_pos);

    head_attend(&head, q, out, n_row, n_key);
    if (type == QVL_I8)
        check_attention_as_defined(&head, q, out, n_row, n_key);
    for (size_t i = 0; i < n_row; i++)
        check_attention_row(&head, q + i * d, out + i * d, n_key[i]);
    for (size_t i = 0; i < n_row; i++) {
        /* alone, and with what follows */
        size_t n = i % 2 ? n_row - i : 1;
        head_attend(&head, q + i * d, alone + i * d, n, n_key + i);
        for (size_t j = 0; j < n * d; j++)
            check_bits("attention in other company", j, n_key[i], alone[i * d + j], out[i * d + j]);
    }
    check_attention_garbage(&head, q);
    free(n_key);
    buffers_free(&b);
    head_free(&head);
}

static void check_attention(const struct qvl_kernels *kernels, enum qvl_dtype type)
{
    static const size_t dims[] = {2, 6, 16, 18, 64, 72, 80, 128, 256};
    static const size_t n_rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 16, 17, 25, 29};
    static const size_t n_poses[] = {1, 2, 15, 17, 127, 128, 129, 256, 300, 500};
    random_seed(2);
    for (size_t i = 0; i < 60; i++)
        check_attention_case(kernels, type, dims[i % 9], n_rows[i % 15], n_poses[i * 7 % 10], 2);
    /* one key that takes all, in turn with nearly equal ones; then all scores equal */
    check_attention_case(kernels, type, 64, 13, 300, 50);
    check_attention_case(kernels, type, 64, 5, 300, 0);
    /* largest scores of neighbouring blocks further apart than f32 has powers of two */
    check_attention_case(kernels, type, 64, 13, 500, 2000);
}

static void test_attention_bf16(void **level)
{
    check_attention(*level, QVL_BF16);
}

static void test_attention_f32(void **level)
{
    check_attention(*level, QVL_F32);
}

/* A key or query that is not a number is felt by those rows that see it, and by no other; nor is a value behind
 * them. */
static void test_attention_i8(void **level)
{
    enum { D = 64, N_POS = 300, N_ROW = 7 };
    check_attention(*level, QVL_I8);
    struct head head = head_alloc(*level, QVL_I8, D, N_POS);
    struct buffers b = buffers_alloc(3, N_ROW * D);
    float bad[D];
    uint32_t n_key[N_ROW];
    for (size_t i = 0; i < N_ROW * D; i++)
        b.f[0][i] = (float)random_unit();
    for (size_t i = 0; i < N_ROW; i++)
        n_key[i] = (uint32_t)(40 * (i + 1));
    for (size_t i = 0; i < D; i++)
        bad[i] = i == 5 ? NAN : 1;
    head_attend(&head, b.f[0], b.f[1], N_ROW, n_key);
    head_store(&head, 140, bad, head.v);
    head_store(&head, 290, bad, bad);
    b.f[0][D + 3] = NAN;
    head_attend(&head, b.f[0], b.f[2], N_ROW, n_key);
    for (size_t i = 0; i < N_ROW; i++)
        for (size_t j = i * D; j < (i + 1) * D; j++)
            if (i == 1 || n_key[i] > 140)
                assert_true(isnan(b.f[2][j]));
            else
                check_bits("attention beside NaN", j, i, b.f[2][j], b.f[1][j]);
    buffers_free(&b);
    head_free(&head);
}

/* Index of an element in a block, from the layouts in kernel.h. */
static size_t place_of(bool is_k, enum qvl_dtype type, size_t d, size_t i_pos, size_t dim)
{
    size_t d_pad = qvl_head_dim_padded(d);
    if (is_k)
        return type == QVL_F32 ? (i_pos / 16 * d + dim) * 16 + i_pos % 16
                               : ((i_pos / 16 * (d / 2) + dim / 2) * 16 + i_pos % 16) * 2 + dim % 2;
    return type == QVL_F32 ? i_pos * d_pad + dim : (i_pos / 2 * d_pad + dim) * 2 + i_pos % 2;
}

/* A block as kernel.h describes it, with one position changed. */
static void check_store(const struct qvl_kernels *kernels, bool is_k, enum qvl_dtype type)
{
    static const size_t dims[] = {2, 6, 16, 22, 64, 72, 128, 256};
    random_seed(3);
    for (size_t i = 0; i < 40; i++) {
        size_t d = dims[i % 8], d_pad = qvl_head_dim_padded(d), i_pos = random_u32() % QVL_KV_BLOCK;
        size_t size = qvl_dtype_bytes(type);
        size_t n_bytes = is_k ? qvl_k_block_bytes(d, type) : qvl_v_block_bytes(d, type);
        struct span block = span_alloc(n_bytes), row = span_alloc(d * sizeof(float));
        char *expected = calloc(1, n_bytes);
        for (size_t j = 0; j < n_bytes; j++)
            expected[j] = (char)random_u32();
        for (size_t pos = 0; pos < QVL_KV_BLOCK && !is_k; pos++) /* padding of values is zero */
            for (size_t dim = d; dim < d_pad; dim++)
                memset(expected + place_of(false, type, d, pos, dim) * size, 0, size);
        memcpy(block.data, expected, n_bytes);
        float *x = row.data;
        fill_f32(x, d, NUMBERS_MIXED);
        for (size_t dim = 0; dim < d; dim++) {
            qvl_bf16 h = nearest_bf16(x[dim]);
            size_t at = place_of(is_k, type, d, i_pos, dim);
            memcpy(expected + at * size, type == QVL_F32 ? (void *)&x[dim] : (void *)&h, size);
        }
        if (type == QVL_BF16)
            (is_k ? kernels->store_k_bf16 : kernels->store_v_bf16)(block.data, i_pos, x, d);
        else
            (is_k ? kernels->store_k_f32 : kernels->store_v_f32)(block.data, i_pos, x, d);
        assert_memory_equal(block.data, expected, n_bytes);
        free(expected);
        span_free(&block);
        span_free(&row);
    }
}

static void test_store_k_bf16(void **level)
{
    check_store(*level, true, QVL_BF16);
}

static void test_store_v_bf16(void **level)
{
    check_store(*level, false, QVL_BF16);
}

static void test_store_k_f32(void **level)
{
    check_store(*level, true, QVL_F32);
}

static void test_store_v_f32(void **level)
{
    check_store(*level, false, QVL_F32);
}

/* Place of an element, and of a position's scale, from the layouts in kernel.h: in bytes. */
static size_t place_of_i8(bool is_k, size_t d, size_t i_pos, size_t dim)
{
    return is_k ? ((i_pos / 16 * ((d + 3) / 4) + dim / 4) * 16 + i_pos % 16) * 4 + dim % 4
                : (i_pos / 4 * qvl_head_dim_padded(d) + dim) * 4 + i_pos % 4;
}

/* What the kernel wrote is taken over into `expected` once it was checked; the rest must be as it was. */
static void check_stored_i8(bool is_k, const char *block, char *expected, size_t n_bytes, size_t i_pos,
                            const float *x, size_t d)
{
    size_t scale_at = n_bytes - (QVL_KV_BLOCK - i_pos) * sizeof(float);
    double largest = largest_size(x, d);
    bool is_finite = true;
    float scale;
    for (size_t j = 0; j < d; j++)
        is_finite = is_finite && isfinite(x[j]);
    memcpy(&scale, block + scale_at, sizeof scale);
    memcpy(expected + scale_at, &scale, sizeof scale);
    if (is_finite)
        check_bits("scale of a row", i_pos, d, scale, largest < 0x1p-100 ? 0.0f : (float)largest / 127);
    else
        assert_true(isnan(scale));
    for (size_t dim = 0; dim < d; dim++) {
        size_t at = place_of_i8(is_k, d, i_pos, dim);
        int element = is_k ? (unsigned char)block[at] - 128 : (signed char)block[at];
        if (!is_finite || scale == 0)
            assert_int_equal(element, 0);
        else
            check_within("element of a row", dim, d, element, x[dim] / largest * 127, 0.5 + 127 * 2 * ULP_UNIT);
        expected[at] = block[at];
    }
    for (size_t dim = d; is_k && dim % 4; dim++)
        expected[place_of_i8(true, d, i_pos, dim)] = (char)128;
}

static void check_store_i8(const struct qvl_kernels *kernels, bool is_k)
{
    static const size_t dims[] = {2, 6, 16, 22, 64, 72, 128, 256};
    const struct qvl_kernels *scalar = qvl_kernels_of(QVL_ISA_SCALAR);
    random_seed(3);
    for (size_t i = 0; i < 120; i++) {
        size_t d = dims[i % 8], i_pos = random_u32() % QVL_KV_BLOCK;
        size_t n_bytes = is_k ? qvl_k_block_bytes(d, QVL_I8) : qvl_v_block_bytes(d, QVL_I8);
        struct span block = span_alloc(n_bytes), row = span_alloc(d * sizeof(float));
        char *expected = malloc(n_bytes), *defined = malloc(n_bytes);
        float *x = row.data;
        for (size_t j = 0; j < n_bytes; j++)
            expected[j] = (char)random_u32();
        memcpy(block.data, expected, n_bytes);
        memcpy(defined, expected, n_bytes);
        fill_f32(x, d, (enum numbers)(i / 8 % NUMBERS_COUNT));
        if (i % 20 == 19)
            x[random_u32() % d] = i % 40 == 19 ? -INFINITY : NAN;
        (is_k ? kernels->store_k_i8 : kernels->store_v_i8)(block.data, i_pos, x, d);
        (is_k ? scalar->store_k_i8 : scalar->store_v_i8)(defined, i_pos, x, d);
        check_stored_i8(is_k, block.data, expected, n_bytes, i_pos, x, d);
        assert_memory_equal(block.data, expected, n_bytes);
        assert_memory_equal(block.data, defined, n_bytes);
        free(expected);
        free(defined);
        span_free(&block);
        span_free(&row);
    }
}

static void test_store_k_i8(void **level)
{
    check_store_i8(*level, true);
}

static void test_store_v_i8(void **level)
{
    check_store_i8(*level, false);
}

/* ---- rows ----------------------------------------------------------------------------------------- */

/* Element i of the product has the sign (-1)^(number of ones in i and j) at x_j. */
static void test_hadamard(void **level)
{
    const struct qvl_kernels *kernels = *level;
    random_seed(13);
    for (size_t n = 1; n <= QVL_MAX_HEAD_DIM; n *= 2) {
        struct buffers b = buffers_alloc(3, n);
        float *x = b.f[0], *y = b.f[1];
        fill_f32(x, n, NUMBERS_USUAL);
        memcpy(y, x, n * sizeof *x);
        memcpy(b.f[2], x, n * sizeof *x);
        kernels->hadamard(y, n);
        qvl_kernels_of(QVL_ISA_SCALAR)->hadamard(b.f[2], n);
        for (size_t i = 0; i < n; i++) {
            double sum = 0, size = 0;
            for (size_t j = 0; j < n; j++) {
                sum += __builtin_popcountll(i & j) % 2 ? -(double)x[j] : (double)x[j];
                size += fabs((double)x[j]);
            }
            check_within("hadamard", i, n, y[i], sum / sqrt((double)n),
                         ULP_UNIT * (log2((double)n) + 2) * size / sqrt((double)n));
            check_bits("hadamard beside its definition", i, n, y[i], b.f[2][i]);
        }
        buffers_free(&b);
    }
}

/* The sum of n squares has relative error (n + 1) eps at most, the root half of it; then three roundings. */
static void test_rms_norm(void **level)
{
    const struct qvl_kernels *kernels = *level;
    static const enum numbers numbers[] = {NUMBERS_USUAL, NUMBERS_MIXED, NUMBERS_TINY};
    random_seed(4);
    for (size_t i = 0; i < 3 * N_LENGTH; i++) {
        size_t n = length(i / 3);
        struct buffers b = buffers_alloc(3, n);
        fill_f32(b.f[1], n, numbers[i % 3]);
        fill_f32(b.f[2], n, NUMBERS_USUAL);
        double sum = 0;
        for (size_t j = 0; j < n; j++)
            sum += (double)b.f[1][j] * b.f[1][j];
        double scale = 1 / sqrt(sum / (double)n + (double)1e-6f);
        kernels->rms_norm(b.f[0], b.f[1], b.f[2], n, 1e-6f);
        for (size_t j = 0; j < n; j++) {
            double y = b.f[1][j] * scale * b.f[2][j];
            check_within("rms_norm", j, n, b.f[0][j], y, ULP_UNIT * (double)(n + 4) * fabs(y) + FLT_MIN * ULP_UNIT);
        }
        kernels->rms_norm(b.f[1], b.f[1], b.f[2], n, 1e-6f);
        assert_memory_equal(b.f[0], b.f[1], n * sizeof(float));
        buffers_free(&b);
    }
}

/* As above; the mean is off by (n + 1) eps times the mean size of x, which also moves the variance. */
static void test_layer_norm(void **level)
{
    const struct qvl_kernels *kernels = *level;
    random_seed(5);
    for (size_t i = 0; i < 2 * N_LENGTH; i++) {
        size_t n = length(i / 2);
        double offset = i % 2 ? 3 : 0, sum = 0, sum_sizes = 0, sum_squares = 0;
        struct buffers b = buffers_alloc(4, n);
        float *x = b.f[1];
        for (size_t j = 0; j < n; j++)
            x[j] = (float)(random_unit() + offset);
        fill_f32(b.f[2], n, NUMBERS_USUAL);
        fill_f32(b.f[3], n, NUMBERS_USUAL);
        for (size_t j = 0; j < n; j++) {
            sum += x[j];
            sum_sizes += fabs((double)x[j]);
        }
        double mean = sum / (double)n, mean_error = ULP_UNIT * (double)(n + 1) * sum_sizes / (double)n;
        for (size_t j = 0; j < n; j++)
            sum_squares += (x[j] - mean) * (x[j] - mean);
        double variance = sum_squares / (double)n + (double)1e-5f, scale = 1 / sqrt(variance);
        double variance_error = (2 * mean_error * sqrt(variance) + mean_error * mean_error) / variance;
        kernels->layer_norm(b.f[0], x, b.f[2], b.f[3], n, 1e-5f);
        for (size_t j = 0; j < n; j++) {
            double y = (x[j] - mean) * scale * b.f[2][j];
            double bound = ULP_UNIT * (double)(n + 6) * fabs(y) + fabs(y) * variance_error +
                           mean_error * scale * fabs((double)b.f[2][j]) +
                           ULP_UNIT * (fabs(y) + fabs((double)b.f[3][j]));
            check_within("layer_norm", j, n, b.f[0][j], y + b.f[3][j], bound);
        }
        kernels->layer_norm(x, x, b.f[2], b.f[3], n, 1e-5f);
        assert_memory_equal(b.f[0], x, n * sizeof(float));
        buffers_free(&b);
    }
}

/* Each operation rounded by itself: `volatile` keeps the compiler from joining them. */
static float times(float a, float b)
{
    volatile float product = a * b;
    return product;
}

static void test_rotate(void **level)
{
    const struct qvl_kernels *kernels = *level;
    random_seed(6);
    for (size_t i = 0; i < N_LENGTH * NUMBERS_COUNT; i++) {
        size_t n = length(i / NUMBERS_COUNT);
        struct buffers b = buffers_alloc(2, 2 * n), turn = buffers_alloc(2, n);
        float *x = b.f[0], *c = turn.f[0], *s = turn.f[1];
        fill_f32(x, 2 * n, (enum numbers)(i % NUMBERS_COUNT));
        fill_f32(c, n, NUMBERS_USUAL);
        fill_f32(s, n, NUMBERS_USUAL);
        memcpy(b.f[1], x, 2 * n * sizeof *x);
        kernels->rotate(x, c, s, n);
        for (size_t j = 0; j < n; j++) {
            float p = b.f[1][j], q = b.f[1][j + n];
            check_bits("rotate", j, n, x[j], times(p, c[j]) - times(q, s[j]));
            check_bits("rotate", j + n, n, x[j + n], times(q, c[j]) + times(p, s[j]));
        }
        buffers_free(&b);
        buffers_free(&turn);
    }
}

/* All upper halves, with lower halves around the tie; then every length. */
static void test_f32_to_bf16(void **level)
{
    const struct qvl_kernels *kernels = *level;
    static const uint32_t lows[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    enum { N = 65536 };
    struct span x = span_alloc(N * sizeof(float)), y = span_alloc(N * sizeof(qvl_bf16));
    for (size_t u = 0; u < 6; u++) {
        for (uint32_t i = 0; i < N; i++) {
            uint32_t bits = i << 16 | lows[u];
            memcpy((char *)x.data + i * sizeof bits, &bits, sizeof bits);
        }
        kernels->f32_to_bf16(y.data, x.data, N);
        for (size_t i = 0; i < N; i++) {
            float v = ((float *)x.data)[i];
            qvl_bf16 h = ((qvl_bf16 *)y.data)[i];
            if (isnan(v))
                assert_true(isnan(value_of_bf16(h)) && (h & 0x40) && (h & 0x8000) == (qvl_bf16)(i & 0x8000));
            else
                assert_int_equal(h, nearest_bf16(v));
        }
    }
    span_free(&x);
    span_free(&y);
    random_seed(7);
    for (size_t i = 0; i < N_LENGTH; i++) {
        size_t n = length(i);
        x = span_alloc(n * sizeof(float));
        y = span_alloc(n * sizeof(qvl_bf16));
        fill_f32(x.data, n, NUMBERS_MIXED);
        kernels->f32_to_bf16(y.data, x.data, n);
        for (size_t j = 0; j < n; j++)
            assert_int_equal(((qvl_bf16 *)y.data)[j], nearest_bf16(((float *)x.data)[j]));
        span_free(&x);
        span_free(&y);
    }
}

/* All 65536 patterns, cut into pieces of every length. */
static void check_widen(void (*widen)(float *y, const uint16_t *x, size_t n), double (*value)(uint16_t h))
{
    uint32_t next = 0;
    for (size_t i = 0; next < 65536; i = (i + 1) % N_LENGTH) {
        size_t n = length(i);
        struct span x = span_alloc(n * sizeof(uint16_t)), y = span_alloc(n * sizeof(float));
        for (size_t j = 0; j < n; j++)
            ((uint16_t *)x.data)[j] = (uint16_t)(next + j);
        widen(y.data, x.data, n);
        for (size_t j = 0; j < n; j++) {
            float found = ((float *)y.data)[j];
            double expected = value((uint16_t)(next + j));
            if (isnan(expected))
                assert_true(isnan(found));
            else
                check_bits("widen", j, n, found, (float)expected);
        }
        next += (uint32_t)n;
        span_free(&x);
        span_free(&y);
    }
}

static void test_bf16_to_f32(void **level)
{
    check_widen(((const struct qvl_kernels *)*level)->bf16_to_f32, value_of_bf16);
}

static void test_f16_to_f32(void **level)
{
    check_widen(((const struct qvl_kernels *)*level)->f16_to_f32, value_of_f16);
}

static void test_add(void **level)
{
    const struct qvl_kernels *kernels = *level;
    random_seed(8);
    for (size_t i = 0; i < N_LENGTH; i++) {
        size_t n = length(i);
        struct buffers b = buffers_alloc(3, n);
        fill_f32(b.f[0], n, NUMBERS_MIXED);
        fill_f32(b.f[1], n, NUMBERS_MIXED);
        memcpy(b.f[2], b.f[0], n * sizeof(float));
        kernels->add(b.f[0], b.f[1], n);
        for (size_t j = 0; j < n; j++)
            check_bits("add", j, n, b.f[0][j], b.f[2][j] + b.f[1][j]);
        buffers_free(&b);
    }
}

static void test_add_scaled(void **level)
{
    const struct qvl_kernels *kernels = *level;
    random_seed(9);
    for (size_t i = 0; i < N_LENGTH; i++) {
        size_t n = length(i);
        float a = random_number(NUMBERS_USUAL);
        struct buffers b = buffers_alloc(3, n);
        fill_f32(b.f[0], n, NUMBERS_MIXED);
        fill_f32(b.f[1], n, NUMBERS_MIXED);
        memcpy(b.f[2], b.f[0], n * sizeof(float));
        kernels->add_scaled(b.f[0], b.f[1], a, n);
        for (size_t j = 0; j < n; j++)
            check_bits("add_scaled", j, n, b.f[0][j], b.f[2][j] + times(a, b.f[1][j]));
        buffers_free(&b);
    }
}

/* Densely where the functions bend, then far out on both sides and at zero. */
static float activation_argument(size_t i)
{
    static const float special[] = {0.0f,  -0.0f,  1e-40f, -1e-40f, 1.0f,   -1.0f,   1.4142135f, -1.4142135f,
                                    30.0f, -30.0f, 88.0f,  -88.0f,  104.0f, -104.0f, 1e10f,      -1e10f};
    return i % 17 < 16 && i % 5 == 0 ? special[i % 16] : (float)(12 * random_unit());
}

static void check_activation(void (*kernel)(float *y, size_t n), double (*expected)(double x), const char *name,
                             int n_ulp)
{
    random_seed(10);
    for (size_t i = 0; i < 3 * N_LENGTH; i++) {
        size_t n = length(i % N_LENGTH);
        struct buffers b = buffers_alloc(2, n);
        for (size_t j = 0; j < n; j++)
            b.f[0][j] = b.f[1][j] = activation_argument(i + j);
        kernel(b.f[0], n);
        for (size_t j = 0; j < n; j++)
            check_ulp(name, j, n, b.f[0][j], expected(b.f[1][j]), n_ulp);
        buffers_free(&b);
    }
}

static double gelu_tanh_value(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

static double gelu_erf_value(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2));
}

static void test_gelu_tanh(void **level)
{
    check_activation(((const struct qvl_kernels *)*level)->gelu_tanh, gelu_tanh_value, "gelu_tanh",
                     N_ULP_gelu_tanh);
}

static void test_gelu_erf(void **level)
{
    check_activation(((const struct qvl_kernels *)*level)->gelu_erf, gelu_erf_value, "gelu_erf", N_ULP_gelu_erf);
}

static void test_silu_mul(void **level)
{
    const struct qvl_kernels *kernels = *level;
    random_seed(11);
    for (size_t i = 0; i < 3 * N_LENGTH; i++) {
        size_t n = length(i % N_LENGTH);
        struct buffers b = buffers_alloc(3, n);
        float *y = b.f[0], *gate = b.f[1], *up = b.f[2];
        for (size_t j = 0; j < n; j++)
            gate[j] = activation_argument(i + j);
        fill_f32(up, n, NUMBERS_USUAL);
        kernels->silu_mul(y, gate, up, n);
        for (size_t j = 0; j < n; j++)
            check_ulp("silu_mul", j, n, y[j], gate[j] / (1 + exp(-(double)gate[j])) * up[j], N_ULP_silu_mul);
        kernels->silu_mul(i % 2 ? gate : up, gate, up, n); /* in place */
        assert_memory_equal(y, i % 2 ? gate : up, n * sizeof(float));
        buffers_free(&b);
    }
}

/* ---- choice of the level -------------------------------------------------------------------------- */

static const char *const LEVEL_NAMES[QVL_ISA_COUNT] = {
    [QVL_ISA_SCALAR] = "scalar",
    [QVL_ISA_NEON] = "neon",
    [QVL_ISA_AVX2] = "avx2",
    [QVL_ISA_AVX512] = "avx512",
    [QVL_ISA_AVX512_BF16] = "avx512_bf16",
    [QVL_ISA_AMX] = "amx",
};

static void test_tables_are_complete(void **unused)
{
    (void)unused;
    assert_non_null(qvl_kernels_of(QVL_ISA_SCALAR));
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++) {
        const struct qvl_kernels *kernels = qvl_kernels_of((enum qvl_isa)isa);
        if (!kernels)
            continue;
        assert_int_equal(kernels->isa, isa);
        assert_string_equal(kernels->name, LEVEL_NAMES[isa]);
        assert_true(!kernels->is_bf16_fast || has_bf16_products(kernels));
#define QVL_KERNEL(name, tolerance, result, ...) assert_true(kernels->name != NULL);
#include "kernel/kernel.def"
#undef QVL_KERNEL
    }
}

/* The compiler's own view of the vendor (AMD: yes; Intel: no). */
static void test_bf16_speed_is_known_by_vendor(void **unused)
{
    (void)unused;
    const struct qvl_kernels *kernels = qvl_kernels_of(QVL_ISA_AVX512_BF16);
    if (!kernels) {
        printf("SKIP: speed of bf16 products: this machine has none\n");
        return;
    }
#if defined(__x86_64__)
    assert_int_equal(kernels->is_bf16_fast, __builtin_cpu_is("amd") != 0);
#endif
}

static void test_cap_limits_the_level(void **unused)
{
    (void)unused;
    struct qvl_error err = {0};
    const struct qvl_kernels *kernels;
    for (int cap = 0; cap < QVL_ISA_COUNT; cap++) {
        const struct qvl_kernels *wanted = qvl_kernels_of((enum qvl_isa)cap);
        unsetenv("QVL_ISA");
        assert_int_equal(qvl_kernels_select(LEVEL_NAMES[cap], &kernels, &err), QVL_OK);
        assert_true((int)kernels->isa <= cap);
        if (wanted && (cap != QVL_ISA_AVX512_BF16 || wanted->is_bf16_fast))
            assert_ptr_equal(kernels, wanted);
        /* the same through the environment, which an argument overrides */
        setenv("QVL_ISA", LEVEL_NAMES[cap], 1);
        const struct qvl_kernels *from_env;
        assert_int_equal(qvl_kernels_select(NULL, &from_env, &err), QVL_OK);
        assert_ptr_equal(from_env, kernels);
        assert_int_equal(qvl_kernels_select("scalar", &from_env, &err), QVL_OK);
        assert_int_equal(from_env->isa, QVL_ISA_SCALAR);
    }
    unsetenv("QVL_ISA");
}

static void test_unknown_level_is_refused(void **unused)
{
    (void)unused;
    struct qvl_error err = {0};
    const struct qvl_kernels *kernels = NULL, *best;
    assert_int_equal(qvl_kernels_select("sse9", &kernels, &err), QVL_ERR_ARGUMENT);
    assert_null(kernels);
    assert_non_null(strstr(err.text, "sse9"));
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++)
        assert_non_null(strstr(err.text, LEVEL_NAMES[isa]));
    setenv("QVL_ISA", "AVX2", 1); /* names are lower case */
    assert_int_equal(qvl_kernels_select(NULL, &kernels, &err), QVL_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "QVL_ISA"));
    unsetenv("QVL_ISA");
    assert_int_equal(qvl_kernels_select(NULL, &best, &err), QVL_OK);
    setenv("QVL_ISA", "", 1); /* empty is no cap */
    assert_int_equal(qvl_kernels_select(NULL, &kernels, &err), QVL_OK);
    assert_ptr_equal(kernels, best);
    unsetenv("QVL_ISA");
}

/* Levels of the other architecture are not missed. */
static bool is_of_this_architecture(enum qvl_isa isa)
{
#if defined(__x86_64__)
    return isa != QVL_ISA_NEON;
#else
    return isa == QVL_ISA_SCALAR || isa == QVL_ISA_NEON;
#endif
}

/* The instructions of matrix tiles against their definition in plain C, on small integers: no sum is rounded, so
 * the order of additions does not show. (Where it may, the level's other tests hold both to one tolerance.) */
static void test_tiles_do_as_defined(void **state)
{
    const struct qvl_kernels *real = qvl_kernels_of(QVL_ISA_AMX), *emulated = *state;
    if (!emulated || real == emulated) {
        printf("SKIP: matrix tiles against their definition: this machine has none\n");
        return;
    }
    random_seed(12);
    for (size_t i = 0; i < 20; i++) {
        struct product p =
            product_alloc(real, "tiles", QVL_BF16, QVL_BF16, 1 + 3 * i, 1 + 5 * i, 1 + 67 * i, NUMBERS_USUAL);
        for (size_t r = 0; r < p.n_row; r++)
            for (size_t j = 0; j < p.k; j++)
                ((qvl_bf16 *)p.w.data)[r * p.w_stride / 2 + j] = nearest_bf16((float)(random_u32() % 31) - 15);
        for (size_t t = 0; t < p.n_tok; t++)
            for (size_t j = 0; j < p.k; j++)
                ((qvl_bf16 *)p.x.data)[t * p.x_stride / 2 + j] = nearest_bf16((float)(random_u32() % 31) - 15);
        struct span c = span_alloc(p.n_tok * p.n_row * sizeof(float));
        product_run(&p, p.c.data, p.c_stride, 0, 0, p.n_row, p.n_tok);
        p.kernels = emulated;
        product_run(&p, c.data, p.n_row, 0, 0, p.n_row, p.n_tok);
        for (size_t t = 0; t < p.n_tok; t++)
            for (size_t r = 0; r < p.n_row; r++)
                check_bits("tiles", t * p.n_row + r, p.k, ((float *)p.c.data)[t * p.c_stride + r],
                           ((float *)c.data)[t * p.n_row + r]);
        span_free(&c);
        product_free(&p);
    }
}

static int run_level(enum qvl_isa isa, const struct qvl_kernels *kernels)
{
    struct CMUnitTest tests[] = {
#define QVL_KERNEL(name, tolerance, result, ...) cmocka_unit_test(test_##name),
#include "kernel/kernel.def"
#undef QVL_KERNEL
    };
    if (!kernels && !is_of_this_architecture(isa))
        return 0;
    if (!kernels) {
        printf("SKIP: level %s: this machine lacks it\n", LEVEL_NAMES[isa]);
        return 0;
    }
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tests[i].initial_state = (void *)(uintptr_t)kernels;
    return cmocka_run_group_tests_name(kernels->name, tests, NULL, NULL);
}

/* Where a level has several files for some rows, one for each kind of processor, it takes the best for this one:
 * here are the others that run on it, too (an overlay whose instruction is missing does nothing). */
static const struct variant {
    const char *name;
    enum qvl_isa isa;
    qvl_overlay_fn *overlay[3]; /* up to a NULL */
} VARIANTS[] = {
#if defined(__x86_64__)
    {"avx2 with vpdpbusd in parts", QVL_ISA_AVX2, {qvl_overlay_gemm_packed_avx2_vnni_in_parts}},
#else
    {"neon without sdot", QVL_ISA_NEON, {qvl_overlay_gemm_packed_neon, qvl_overlay_attention_i8_neon}},
    {"neon with sdot", QVL_ISA_NEON, {qvl_overlay_gemm_packed_neon_dotprod}},
#endif
};

static int run_variant(const struct variant *variant)
{
    if (!qvl_kernels_of(variant->isa)) {
        printf("SKIP: %s: this machine lacks the level\n", variant->name);
        return 0;
    }
    struct qvl_kernels kernels = *qvl_kernels_of(variant->isa);
    for (qvl_overlay_fn *const *overlay = variant->overlay; *overlay; overlay++)
        (*overlay)(&kernels);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_gemm_q8_a8, &kernels),
        cmocka_unit_test_prestate(test_gemm_q4_a8, &kernels),
        cmocka_unit_test_prestate(test_attention_i8, &kernels),
    };
    return cmocka_run_group_tests_name(variant->name, tests, NULL, NULL);
}

/* usage: test_kernels [level]: all levels that the machine has, or one. */
int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : NULL;
    const struct qvl_kernels *emulated = use_emulated_level(true);
    const struct CMUnitTest choice[] = {
        cmocka_unit_test_prestate(test_tiles_do_as_defined, (void *)(uintptr_t)emulated),
        cmocka_unit_test(test_tables_are_complete),
        cmocka_unit_test(test_bf16_speed_is_known_by_vendor),
        cmocka_unit_test(test_cap_limits_the_level),
        cmocka_unit_test(test_unknown_level_is_refused),
    };
    int n_failed = cmocka_run_group_tests_name("choice", choice, NULL, NULL);
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++)
        if (!only || strcmp(only, LEVEL_NAMES[isa]) == 0)
            n_failed += run_level((enum qvl_isa)isa, qvl_kernels_of((enum qvl_isa)isa));
    if (!only && emulated && emulated != qvl_kernels_of(QVL_ISA_AMX))
        n_failed += run_level(QVL_ISA_AMX, emulated);
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++)
        if (!only || strcmp(only, LEVEL_NAMES[VARIANTS[i].isa]) == 0)
            n_failed += run_variant(&VARIANTS[i]);
    return n_failed != 0;
}
