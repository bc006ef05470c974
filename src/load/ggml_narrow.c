/* Source of truth: quantize_row_q8_0_ref, ggml_compute_fp32_to_fp16 and ggml_compute_fp32_to_bf16 of llama.cpp, to
 * the bit. Written for clearness: who converts a model waits for the disk. */
#include "load/ggml_narrow.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { Q8_BLOCK = 32, Q8_LARGEST = 127, Q8_BYTES = 2 + Q8_BLOCK };
#define LARGEST_F16 0x1.ffdffep15f   /* the number below 65520, from which on it is infinite */
#define LARGEST_BF16 0x1.fefffep127f /* the same */
#define LARGEST_UNDIVIDED 0x1p-128f  /* up to here 1 / x is infinite; as F16 such a scale is 0 in any case */

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static uint16_t f16_of(float x)
{
    uint32_t sign = bits_of(x) >> 16 & 0x8000, size = bits_of(x) & 0x7fffffff;
    if (size >= 113u << 23) { /* normal: exponents of 2 differ by 127 - 15 */
        uint32_t rounded = size + 0xfff + (size >> 13 & 1) - (112u << 23);
        return (uint16_t)(sign | (rounded >> 13 < 0x7c00 ? rounded >> 13 : 0x7c00));
    }
    /* Else a multiple of 2^-24, which is the last place of 0.5: the sum rounds as it should. */
    return (uint16_t)(sign | (bits_of(fabsf(x) + 0.5f) - bits_of(0.5f)));
}

static uint16_t bf16_of(float x)
{
    uint32_t bits = bits_of(x);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* A scale (F16), then 32 numbers of 8 bits. The scale that divides is not rounded to F16. */
static void narrow_q8_0(const float *x, uint8_t *out)
{
    float largest = 0;
    for (int i = 0; i < Q8_BLOCK; i++)
        largest = fmaxf(largest, fabsf(x[i]));
    const float scale = largest / Q8_LARGEST, inverse = scale > LARGEST_UNDIVIDED ? 1.0f / scale : 0.0f;
    const uint16_t scale_f16 = f16_of(scale);
    memcpy(out, &scale_f16, sizeof scale_f16);
    for (int i = 0; i < Q8_BLOCK; i++)
        out[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
}

void qvl_ggml_narrow(enum qvl_ggml_type type, const float *x, size_t n, void *out)
{
    uint16_t *half = out;
    if (type == QVL_GGML_F32)
        memcpy(out, x, n * sizeof *x);
    else if (type == QVL_GGML_Q8_0)
        for (size_t i = 0; i < n / Q8_BLOCK; i++)
            narrow_q8_0(x + i * Q8_BLOCK, (uint8_t *)out + i * Q8_BYTES);
    else
        for (size_t i = 0; i < n; i++)
            half[i] = type == QVL_GGML_F16 ? f16_of(x[i]) : bf16_of(x[i]);
}

float qvl_ggml_largest(enum qvl_ggml_type type)
{
    switch (type) {
    case QVL_GGML_F16: return LARGEST_F16;
    case QVL_GGML_BF16: return LARGEST_BF16;
    case QVL_GGML_Q8_0: return LARGEST_F16 * Q8_LARGEST;
    default: return FLT_MAX;
    }
}
