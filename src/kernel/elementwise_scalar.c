/* The definition of the kernels that work along one row: norms, rotation, conversions, activations, searches. Long
 * sums and transcendental functions in double; what is plain f32 arithmetic (add, add_scaled, rotate) rounds
 * after every operation, as PyTorch does, and has the same bits at every level. */
#include <math.h>

#include "kernel/levels.h"

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    double scale = 1 / sqrt(sum / (double)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(x[i] * scale * w[i]);
}

static void layer_norm(float *y, const float *x, const float *w, const float *b, size_t n, float eps)
{
    double sum = 0, sum_squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        sum_squares += (x[i] - mean) * (x[i] - mean);
    double scale = 1 / sqrt(sum_squares / (double)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)((x[i] - mean) * scale * w[i] + b[i]);
}

static void rotate(float *x, const float *cos, const float *sin, size_t n_pair)
{
    for (size_t j = 0; j < n_pair; j++) {
        float a = x[j], b = x[j + n_pair];
        x[j] = a * cos[j] - b * sin[j];
        x[j + n_pair] = b * cos[j] + a * sin[j];
    }
}

static void f32_to_bf16(qvl_bf16 *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = qvl_bf16_round(x[i]);
}

static void bf16_to_f32(float *y, const qvl_bf16 *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = qvl_bf16_widen(x[i]);
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void add_scaled(float *y, const float *x, float a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void gelu_tanh(float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double v = y[i];
        y[i] = (float)(0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))));
    }
}

static void gelu_erf(float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(0.5 * y[i] * (1 + erf(y[i] * M_SQRT1_2)));
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(gate[i] / (1 + exp(-(double)gate[i])) * up[i]);
}

void qvl_overlay_elementwise_scalar(struct qvl_kernels *table)
{
    table->rms_norm = rms_norm;
    table->layer_norm = layer_norm;
    table->rotate = rotate;
    table->f32_to_bf16 = f32_to_bf16;
    table->bf16_to_f32 = bf16_to_f32;
    table->add = add;
    table->add_scaled = add_scaled;
    table->gelu_tanh = gelu_tanh;
    table->gelu_erf = gelu_erf;
    table->silu_mul = silu_mul;
}
