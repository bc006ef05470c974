/* The definition of the matrix products (kernel.def): products of the exact element values, summed in double in
 * the order of k, rounded once. */
#include "kernel/levels.h"

static float f16_widen(qvl_f16 h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
    if (exponent == 0) { /* zero and denormals: exact in f32 */
        float magnitude = (float)mantissa * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    uint32_t bits = exponent == 31 ? sign | 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000 : 0)
                                   : sign | (exponent + 127 - 15) << 23 | mantissa << 13;
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

#define AS_IS(v) (v)
#define GEMM(name, w_type, widen_w, x_type, widen_x)                                                               \
    static void name(float *c, size_t c_stride, const w_type *w, size_t w_stride, const x_type *x,                 \
                     size_t x_stride, size_t n_row, size_t n_tok, size_t k)                                        \
    {                                                                                                              \
        for (size_t t = 0; t < n_tok; t++) {                                                                       \
            const x_type *x_row = (const x_type *)((const char *)x + t * x_stride);                                \
            for (size_t r = 0; r < n_row; r++) {                                                                   \
                const w_type *w_row = (const w_type *)((const char *)w + r * w_stride);                            \
                double sum = 0;                                                                                    \
                for (size_t j = 0; j < k; j++)                                                                     \
                    sum += (double)widen_w(w_row[j]) * (double)widen_x(x_row[j]);                                  \
                c[t * c_stride + r] = (float)sum;                                                                  \
            }                                                                                                      \
        }                                                                                                          \
    }

GEMM(gemm_bf16_bf16, qvl_bf16, qvl_bf16_widen, qvl_bf16, qvl_bf16_widen)
GEMM(gemm_bf16_f32, qvl_bf16, qvl_bf16_widen, float, AS_IS)
GEMM(gemm_f16_f32, qvl_f16, f16_widen, float, AS_IS)
GEMM(gemm_f32_f32, float, AS_IS, float, AS_IS)

static void f16_to_f32(float *y, const qvl_f16 *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = f16_widen(x[i]);
}

void qvl_overlay_gemm_scalar(struct qvl_kernels *table)
{
    table->gemm_bf16_bf16 = gemm_bf16_bf16;
    table->gemm_bf16_f32 = gemm_bf16_f32;
    table->gemm_f16_f32 = gemm_f16_f32;
    table->gemm_f32_f32 = gemm_f32_f32;
    table->f16_to_f32 = f16_to_f32;
}
