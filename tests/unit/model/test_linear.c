/* Products and their ends against sums in double, at sizes that no strip, block or tile divides, on every level.
 * The tolerance is the dot product's own: |error| <= eps (k + 1) sum |a||b|, and one rounding of the result. */
#include <math.h>

#include "../../lib/emulated_level.h"
#include "helper.h"

#include "model/linear.h"

enum { K = 77, N_OUT = 150, N_TOK = 203 };

struct numbers {
    float w[2][N_OUT * K], bias[N_OUT], x[N_TOK * K], old[N_TOK * N_OUT]; /* all exact in bf16 */
    qvl_bf16 w_bf16[2][N_OUT * K];
};

static float exact(uint32_t i) /* multiples of 1/64 within [-1, 1) */
{
    return (float)((int)(test_hash(i) >> 25) - 64) / 64.0f;
}

static void fill(struct numbers *n)
{
    for (uint32_t i = 0; i < N_OUT * K; i++)
        for (uint32_t j = 0; j < 2; j++)
            n->w[j][i] = exact(i * 2 + j);
    for (uint32_t i = 0; i < N_OUT; i++)
        n->bias[i] = exact(i + 900000);
    for (uint32_t i = 0; i < N_TOK * K; i++)
        n->x[i] = exact(i + 1000000);
    for (uint32_t i = 0; i < N_TOK * N_OUT; i++)
        n->old[i] = exact(i + 2000000);
    for (int j = 0; j < 2; j++)
        qvl_kernels_of(QVL_ISA_SCALAR)->f32_to_bf16(n->w_bf16[j], n->w[j], N_OUT * K);
}

static double dot(const struct numbers *n, int which, size_t t, size_t r, double *size)
{
    double sum = 0;
    for (size_t j = 0; j < K; j++) {
        double product = (double)n->w[which][r * K + j] * (double)n->x[t * K + j];
        sum += product;
        *size += fabs(product);
    }
    return sum;
}

static double expected(const struct numbers *n, enum qvl_end end, size_t t, size_t r, double *size)
{
    double y = dot(n, 0, t, r, size) + (double)n->bias[r];
    switch (end) {
    case QVL_END_ADD: return (double)n->old[t * N_OUT + r] + y;
    case QVL_END_GELU_TANH: return 0.5 * y * (1 + tanh(sqrt(2 / 3.14159265358979) * (y + 0.044715 * y * y * y)));
    case QVL_END_GELU_ERF: return 0.5 * y * (1 + erf(y / sqrt(2.0)));
    case QVL_END_SILU_MUL: return y / (1 + exp(-y)) * dot(n, 1, t, r, size);
    case QVL_END_STORE: break;
    }
    return y;
}

static void check_end(const struct numbers *n, const struct qvl_model *model, enum qvl_dtype weights,
                      enum qvl_dtype act, enum qvl_end end)
{
    struct qvl_error err = {0};
    struct qvl_arena arena = {0};
    struct qvl_rows x = {0}, y = {0};
    struct qvl_linear linear[2];
    enum qvl_dtype out_type = end == QVL_END_ADD ? QVL_F32 : act;
    for (int j = 0; j < 2; j++)
        linear[j] =
            (struct qvl_linear){.w = weights == QVL_F32 ? (const void *)n->w[j] : (const void *)n->w_bf16[j],
                                .dtype = weights,
                                .n_out = N_OUT,
                                .n_in = K,
                                .bias = j == 0 ? n->bias : NULL};
    struct qvl_product product = {.linear = &linear[0], .up = &linear[1], .end = end};
    assert_int_equal(qvl_rows_alloc(&arena, N_TOK, K, act, "test", &x, &err), QVL_OK);
    assert_int_equal(qvl_rows_alloc(&arena, N_TOK, N_OUT, out_type, "test", &y, &err), QVL_OK);
    for (size_t t = 0; t < N_TOK; t++) {
        qvl_row_enter(model->kernels, &x, t, 0, n->x + t * K, K);
        qvl_row_enter(model->kernels, &y, t, 0, n->old + t * N_OUT, N_OUT);
    }
    product.out = y;
    assert_true(qvl_linear_run(model, &x, N_TOK, &product, 1, NULL));
    for (size_t t = 0; t < N_TOK; t++)
        for (size_t r = 0; r < N_OUT; r++) {
            double size = 0, want = expected(n, end, t, r, &size);
            float got = 0;
            const char *row = qvl_row_at(&y, t);
            if (out_type == QVL_BF16)
                model->kernels->bf16_to_f32(&got, (const qvl_bf16 *)(const void *)row + r, 1);
            else
                memcpy(&got, row + r * sizeof got, sizeof got);
            double up = end == QVL_END_SILU_MUL ? size : 1; /* a factor that multiplies the sum's error */
            double error = ldexp(K + 1, -24) * (size + 1) * up + ldexp(fabs(want), out_type == QVL_F32 ? -21 : -8);
            if (!(fabs((double)got - want) <= error))
                fail_msg("%s, end %d, weights %d, row %zu of token %zu: %g, expected %g", model->kernels->name, end,
                         weights, r, t, (double)got, want);
        }
    qvl_arena_free(&arena);
}

static void test_ends(void **state)
{
    struct qvl_error err = {0};
    struct qvl_model model = {0};
    struct numbers *n = malloc(sizeof *n);
    (void)state;
    assert_non_null(n);
    fill(n);
    assert_int_equal(qvl_pool_open(2, &model.pool, &err), QVL_OK);
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++) {
        model.kernels = qvl_kernels_of((enum qvl_isa)isa);
        for (int end = QVL_END_STORE; end <= QVL_END_SILU_MUL && model.kernels; end++) {
            check_end(n, &model, QVL_F32, QVL_F32, (enum qvl_end)end);
            check_end(n, &model, QVL_BF16, QVL_F32, (enum qvl_end)end);
            check_end(n, &model, QVL_BF16, QVL_BF16, (enum qvl_end)end);
        }
    }
    qvl_pool_close(model.pool);
    free(n);
}

/* Three products of one input in one run equal three runs; none at all is fine. */
static void test_several_products(void **state)
{
    struct qvl_error err = {0};
    struct qvl_arena arena = {0};
    struct qvl_model model = {.kernels = qvl_kernels_of(QVL_ISA_SCALAR)};
    struct numbers *n = malloc(sizeof *n);
    struct qvl_rows x = {0};
    struct qvl_product product[3];
    struct qvl_linear linear[3];
    static const uint32_t first[] = {0, 70, 71}, n_out[] = {70, 1, 79};
    (void)state;
    assert_non_null(n);
    fill(n);
    assert_int_equal(qvl_pool_open(3, &model.pool, &err), QVL_OK);
    assert_int_equal(qvl_rows_alloc(&arena, N_TOK, K, QVL_F32, "test", &x, &err), QVL_OK);
    for (size_t t = 0; t < N_TOK; t++)
        qvl_row_enter(model.kernels, &x, t, 0, n->x + t * K, K);
    for (int i = 0; i < 3; i++) {
        linear[i] =
            (struct qvl_linear){.w = n->w[0] + first[i] * K, .dtype = QVL_F32, .n_out = n_out[i], .n_in = K};
        product[i] = (struct qvl_product){.linear = &linear[i], .end = QVL_END_STORE};
        assert_int_equal(qvl_rows_alloc(&arena, N_TOK, n_out[i], QVL_F32, "test", &product[i].out, &err), QVL_OK);
    }
    assert_true(qvl_linear_run(&model, &x, 0, product, 3, NULL));
    assert_true(qvl_linear_run(&model, &x, N_TOK, product, 3, NULL));
    for (int i = 0; i < 3; i++) {
        struct qvl_product alone = product[i];
        assert_int_equal(qvl_rows_alloc(&arena, N_TOK, n_out[i], QVL_F32, "test", &alone.out, &err), QVL_OK);
        assert_true(qvl_linear_run(&model, &x, N_TOK, &alone, 1, NULL));
        for (size_t t = 0; t < N_TOK; t++)
            assert_memory_equal(qvl_row_at(&alone.out, t), qvl_row_at(&product[i].out, t),
                                n_out[i] * sizeof(float));
    }
    qvl_pool_close(model.pool);
    qvl_arena_free(&arena);
    free(n);
}

int main(void)
{
    use_emulated_level(false);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ends), cmocka_unit_test(test_several_products)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
