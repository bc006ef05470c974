/* Packing weights (kernel/pack.h): how much is lost against figures measured apart from this code, and the odd
 * rows.
 *
 * The floors are signal-to-noise ratios on synthetic weights; published formats on the same: 8 bits rounded to
 * nearest 45.4, 43.4, 43.4 dB (normal, Student with 5 degrees, Laplace), Q4_0 21.3, 19.4, 19.4, a fixed table of 16
 * levels with searched 16-bit scales 22.7, 21.4, 21.4, a learned one with 8-bit scales 22.6, 21.8, 21.7. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "kernel/pack.h"

enum distribution { NORMAL, STUDENT, LAPLACE };

static double normal(void)
{
    double u = (random_unit() + 1 + 1e-9) / 2;
    return sqrt(-2 * log(u)) * cos(3.141592653589793 * random_unit());
}

static float draw(enum distribution distribution)
{
    double chi2 = 0, u;
    switch (distribution) {
    case NORMAL: return (float)normal();
    case STUDENT:
        for (int i = 0; i < 5; i++) {
            double x = normal();
            chi2 += x * x;
        }
        return (float)(normal() / sqrt(chi2 / 5));
    default: u = random_unit(); return (float)(u < 0 ? log(1 + u + 1e-9) : -log(1 - u + 1e-9));
    }
}

/* ---- a matrix and its packed form, both ending at a forbidden page -------------------------------- */

struct matrix {
    size_t n_out, n_in;
    struct span w;
};

static struct matrix matrix_alloc(size_t n_out, size_t n_in, enum distribution distribution)
{
    struct matrix m = {n_out, n_in, span_alloc(n_out * n_in * sizeof(float))};
    for (size_t i = 0; i < n_out * n_in; i++)
        ((float *)m.w.data)[i] = draw(distribution);
    return m;
}

static float *row_of(const struct matrix *m, size_t row)
{
    return (float *)m->w.data + row * m->n_in;
}

/* level: NULL for the default. */
static struct span pack(const struct matrix *m, enum qvl_dtype format, const uint8_t *level)
{
    struct span packed = span_alloc(qvl_packed_bytes(m->n_out, m->n_in, format));
    struct qvl_packed_head *head = packed.data;
    qvl_pack_head(head, format, (uint32_t)m->n_out, (uint32_t)m->n_in);
    if (level)
        memcpy(head->level, level, sizeof head->level);
    uint8_t *panel = (uint8_t *)packed.data + qvl_packed_panels_at(m->n_out, format);
    for (size_t r = 0; r < m->n_out; r += QVL_PANEL_ROWS, panel += qvl_panel_bytes(m->n_in, format)) {
        const float *row[QVL_PANEL_ROWS] = {0};
        for (size_t i = 0; i < QVL_PANEL_ROWS && r + i < m->n_out; i++)
            row[i] = row_of(m, r + i);
        qvl_pack_panel(panel, format == QVL_Q4 ? (float *)(void *)(head + 1) + r : NULL, row, m->n_in, format,
                       head->level);
    }
    return packed;
}

/* Sum of squared errors of columns first … last - 1 of a row. */
static double squared_error(const struct matrix *m, const struct qvl_packed_head *packed, size_t row, size_t first,
                            size_t last)
{
    struct span out = span_alloc(m->n_in * sizeof(float));
    double error = 0;
    qvl_unpack_row(packed, row, out.data);
    for (size_t j = first; j < last; j++)
        error += pow((double)row_of(m, row)[j] - ((float *)out.data)[j], 2);
    span_free(&out);
    return error;
}

static double snr_db(const struct matrix *m, const struct qvl_packed_head *packed)
{
    double signal = 0, noise = 0;
    for (size_t r = 0; r < m->n_out; r++) {
        noise += squared_error(m, packed, r, 0, m->n_in);
        for (size_t j = 0; j < m->n_in; j++)
            signal += (double)row_of(m, r)[j] * row_of(m, r)[j];
    }
    return 10 * log10(signal / noise);
}

/* ---- how much is lost ----------------------------------------------------------------------------- */

static void check_snr(const struct matrix *m, enum qvl_dtype format, const uint8_t *level, double floor_db)
{
    struct span packed = pack(m, format, level);
    double db = snr_db(m, packed.data);
    if (db < floor_db)
        fail_msg("format %d: %.2f dB, at least %.2f expected", (int)format, db, floor_db);
    span_free(&packed);
}

static void test_noise(void **state)
{
    static const double floor_db[][3] = {/* q8, q4, q4 with a learned table */
                                         [NORMAL] = {45.1, 22.5, 22.5},
                                         [STUDENT] = {43.1, 21.0, 21.5},
                                         [LAPLACE] = {43.1, 21.0, 21.5}};
    (void)state;
    random_seed(1);
    for (enum distribution d = NORMAL; d <= LAPLACE; d++) {
        struct matrix m = matrix_alloc(64, 2048, d);
        struct qvl_packed_head head;
        qvl_pack_head(&head, QVL_Q4, 64, 2048);
        check_snr(&m, QVL_Q8, NULL, floor_db[d][0]);
        check_snr(&m, QVL_Q4, NULL, floor_db[d][1]);
        qvl_learn_levels(row_of(&m, 0), 32 * m.n_in, head.level);
        check_snr(&m, QVL_Q4, head.level, floor_db[d][2]);
        span_free(&m.w);
    }
}

/* The least error of a group over all scales. */
static double exhaustive_error(const float *x, size_t n, double factor, const uint8_t *level)
{
    double best = INFINITY;
    for (int code = 0; code < 256; code++) {
        double scale = (code & 128 ? -1 : 1) * ldexp(1 + (code & 15) / 16.0, (code >> 4 & 7) - 7) * factor,
               error = 0;
        for (size_t j = 0; j < n; j++) {
            double nearest = INFINITY;
            for (int i = 0; i < QVL_Q4_LEVELS; i++)
                nearest = fmin(nearest, fabs(x[j] - (level[i] - 64) * scale));
            error += nearest * nearest;
        }
        best = fmin(best, error);
    }
    return best;
}

static void test_search_finds_what_trying_everything_finds(void **state)
{
    (void)state;
    random_seed(2);
    for (enum distribution d = NORMAL; d <= LAPLACE; d++) {
        struct matrix m = matrix_alloc(4, 2000, d); /* the last group has 16 columns */
        struct span packed = pack(&m, QVL_Q4, NULL);
        const struct qvl_packed_head *head = packed.data;
        double found = 0, best = 0;
        for (size_t r = 0; r < m.n_out; r++)
            for (size_t j = 0; j < m.n_in; j += QVL_GROUP) {
                size_t n = qvl_min_size(m.n_in - j, QVL_GROUP);
                found += squared_error(&m, head, r, j, j + n);
                best += exhaustive_error(row_of(&m, r) + j, n, ((const float *)(head + 1))[r], head->level);
            }
        check_within("search", d, 3, found, best, 0.01 * best);
        span_free(&packed);
        span_free(&m.w);
    }
}

static void test_q8_rounds_to_nearest(void **state)
{
    (void)state;
    random_seed(3);
    struct matrix m = matrix_alloc(19, 1000, STUDENT);
    struct span packed = pack(&m, QVL_Q8, NULL);
    float out[1000];
    for (size_t r = 0; r < m.n_out; r++) {
        qvl_unpack_row(packed.data, r, out);
        for (size_t j = 0; j < m.n_in; j += QVL_GROUP) {
            size_t n = qvl_min_size(m.n_in - j, QVL_GROUP);
            double largest = 0;
            for (size_t i = 0; i < n; i++)
                largest = fmax(largest, fabs((double)row_of(&m, r)[j + i]));
            double half_step = largest / 127 * (1 + 0x1p-7) / 2; /* the scale is rounded up to 8 bits */
            for (size_t i = 0; i < n; i++)
                check_within("q8", j + i, m.n_in, out[j + i], row_of(&m, r)[j + i], half_step * (1 + 1e-5));
        }
    }
    span_free(&packed);
    span_free(&m.w);
}

/* ---- tables --------------------------------------------------------------------------------------- */

static void test_normal_numbers_teach_nothing_better_than_the_default(void **state)
{
    (void)state;
    random_seed(4);
    struct matrix m = matrix_alloc(64, 4096, NORMAL);
    uint8_t level[QVL_Q4_LEVELS];
    for (int i = 0; i < QVL_Q4_LEVELS; i++)
        level[i] = (uint8_t)(4 + 8 * i); /* even steps */
    for (int i = 0; i < 4; i++)
        qvl_learn_levels(m.w.data, m.n_out * m.n_in, level);
    struct span learned = pack(&m, QVL_Q4, level), given = pack(&m, QVL_Q4, NULL);
    check_within("noise in dB", 0, 1, snr_db(&m, learned.data), snr_db(&m, given.data), 0.05);
    span_free(&learned);
    span_free(&given);
    span_free(&m.w);
}

/* A sample that a table fits without error leaves nothing to learn. */
static void test_a_table_that_fits_stays(void **state)
{
    (void)state;
    struct qvl_packed_head head, given;
    float sample[64 * QVL_GROUP];
    qvl_pack_head(&head, QVL_Q4, 64, QVL_GROUP);
    given = head;
    for (size_t i = 0; i < sizeof sample / sizeof *sample; i++)
        sample[i] = (float)(head.level[i % 16] - 64);
    qvl_learn_levels(sample, sizeof sample / sizeof *sample, head.level);
    assert_memory_equal(&head, &given, sizeof head);
    memset(sample, 0, sizeof sample);
    qvl_learn_levels(sample, sizeof sample / sizeof *sample, head.level);
    assert_memory_equal(&head, &given, sizeof head);
}

/* ---- odd rows ------------------------------------------------------------------------------------- */

/* Zeros, denormals, one outlier, one group of zeros, infinity, NaN; more rows than a panel; a last group of 5. */
static void check_odd_rows(enum qvl_dtype format)
{
    enum { ZERO, DENORMAL, OUTLIER, HOLE, INFINITE, NOT_A_NUMBER, N_OUT = 21, N_IN = 165 };
    random_seed(5);
    struct matrix m = matrix_alloc(N_OUT, N_IN, NORMAL);
    for (size_t j = 0; j < N_IN; j++) {
        row_of(&m, ZERO)[j] = j % 2 ? -0.0f : 0.0f;
        row_of(&m, DENORMAL)[j] *= 0x1p-140f;
        if (j / QVL_GROUP == 2)
            row_of(&m, HOLE)[j] = 0;
    }
    row_of(&m, OUTLIER)[40] = 1000;
    row_of(&m, INFINITE)[40] = -INFINITY;
    row_of(&m, NOT_A_NUMBER)[40] = NAN;
    struct span packed = pack(&m, format, NULL);
    float out[N_IN];
    for (size_t r = 0; r < N_OUT; r++) {
        qvl_unpack_row(packed.data, r, out);
        for (size_t j = 0; j < N_IN; j++) {
            bool is_spoilt = (r == INFINITE || r == NOT_A_NUMBER) && (format == QVL_Q4 || j / QVL_GROUP == 1);
            double x = row_of(&m, r)[j], group_size = r == OUTLIER && j / QVL_GROUP == 1 ? 1000 : 4;
            if (is_spoilt)
                assert_true(isnan(out[j]));
            else if (r == ZERO || r == DENORMAL)
                assert_true(out[j] == 0);
            else if (format == QVL_Q8)
                check_within("q8", j, N_IN, out[j], x, group_size / 254 * 1.01);
            else if (r == HOLE && j / QVL_GROUP == 2)
                check_within("q4", j, N_IN, out[j], 0,
                             4.0 / 87 / 128 * 2 * 1.01); /* level 62, smallest scale, row up to 4 */
            else if (r == OUTLIER && j / QVL_GROUP != 1) /* the smallest scale and half of the widest gap */
                check_within("q4", j, N_IN, out[j], x, 1000.0 / 87 / 128 * 7 * 1.01);
            else
                check_within("q4", j, N_IN, out[j], x, group_size / 4);
        }
    }
    span_free(&packed);
    span_free(&m.w);
}

static void test_odd_rows_q8(void **state)
{
    (void)state;
    check_odd_rows(QVL_Q8);
}

static void test_odd_rows_q4(void **state)
{
    (void)state;
    check_odd_rows(QVL_Q4);
}

/* ---- with the products ---------------------------------------------------------------------------- */

/* The product of packed weights against the one of unpacked weights: apart by what rounding the activations to 8
 * bits does, half a step each, and by f32 sums. */
static void check_product(const struct qvl_kernels *kernels, enum qvl_dtype format, size_t n_out, size_t n_in)
{
    struct matrix m = matrix_alloc(n_out, n_in, LAPLACE), x = matrix_alloc(1, n_in, NORMAL);
    struct span packed = pack(&m, format, NULL);
    size_t n_padded = qvl_round_up(n_out, QVL_PANEL_ROWS);
    struct span a8 = span_alloc(qvl_row_stride_bytes(n_in, QVL_A8)), c = span_alloc(n_padded * sizeof(float));
    struct span row = span_alloc(n_in * sizeof(float));
    memset(a8.data, 0, a8.n_bytes);
    kernels->f32_to_a8(a8.data, 0, x.w.data, n_in);
    (format == QVL_Q4 ? kernels->gemm_q4_a8 : kernels->gemm_q8_a8)(c.data, n_padded, packed.data, 0, a8.data,
                                                                   a8.n_bytes, n_out, 1, n_in);
    for (size_t r = 0; r < n_out; r++) {
        double sum = 0, bound = 0;
        qvl_unpack_row(packed.data, r, row.data);
        for (size_t j = 0; j < n_in; j++) {
            const struct qvl_a8_block *block = (const struct qvl_a8_block *)a8.data + j / 128;
            double w = ((float *)row.data)[j], v = row_of(&x, 0)[j], scale = block->scale[j % 128 / 32];
            sum += w * v;
            bound += fabs(w) * (scale * 0.50001 + fabs(v) * FLT_EPSILON * (double)(n_in / QVL_GROUP + 4));
        }
        check_within(kernels->name, r, n_out, ((float *)c.data)[r], sum, bound);
    }
    span_free(&m.w);
    span_free(&x.w);
    span_free(&packed);
    span_free(&a8);
    span_free(&c);
    span_free(&row);
}

static void test_products_of_packed_weights(void **state)
{
    (void)state;
    random_seed(6);
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++) {
        const struct qvl_kernels *kernels = qvl_kernels_of((enum qvl_isa)isa);
        for (size_t i = 0; kernels && i < 6; i++) {
            check_product(kernels, QVL_Q8, 1 + 9 * i, (const size_t[]){1, 31, 64, 160, 200, 1024}[i]);
            check_product(kernels, QVL_Q4, 1 + 9 * i, (const size_t[]){1, 31, 64, 160, 200, 1024}[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_search_finds_what_trying_everything_finds),
        cmocka_unit_test(test_q8_rounds_to_nearest),
        cmocka_unit_test(test_normal_numbers_teach_nothing_better_than_the_default),
        cmocka_unit_test(test_a_table_that_fits_stays),
        cmocka_unit_test(test_odd_rows_q8),
        cmocka_unit_test(test_odd_rows_q4),
        cmocka_unit_test(test_products_of_packed_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
