/* Enters: blocks of a GGUF type, as they lie in a file, at any address. Leaves: the numbers that they stand for,
 * f32.
 *
 * A block is 32 numbers, of the types with K 256, with its scales beside them. Scales (d), and offsets where there
 * are any (m), are f16. All is little-endian.
 *
 *   Q8_0    d, 32 int8                                  q d
 *   Q4_0    d, 16 bytes of two                          (q - 8) d
 *   Q4_1    d, m, 16 bytes of two                       q d + m
 *   Q5_0    d, 32 fifth bits, 16 bytes of two           (q - 16) d
 *   Q5_1    d, m, 32 fifth bits, 16 bytes of two        q d + m
 *   IQ4_NL  d, 16 bytes of two                          level[q] d
 *   Q4_K    d, m, scales, 128 bytes of two              q (d s) - m o, s and o of each 32 in 6 bits
 *   Q5_K    d, m, scales, 256 fifth bits, 128 bytes     the same
 *   Q6_K    128 low halves, 64 high, 16 int8 s, d       (q - 32) (d s), s of each 16
 *
 * Of two numbers in a byte the low half is the earlier one, and its neighbour stands half a block, in the K types
 * 32 numbers, behind. Each product and sum is rounded as written here: so does the reference, ggml's own code and
 * gguf.quants of its Python package, and results are equal to the bit. */
#include "load/stored.h"

#include <string.h>

static float of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t u16_at(const uint8_t *at)
{
    uint16_t x;
    memcpy(&x, at, sizeof x);
    return x;
}

/* Without a branch, so that a row of them becomes vectors. The exponent's bias is 15, not 127; moved up by 13 bits,
 * and times 2^112, a number below the normal ones comes out right as well. */
static float f16_at(const uint8_t *at)
{
    uint32_t half = u16_at(at), not_finite = (half & 0x7c00) == 0x7c00 ? 0x7f800000 : 0, bits;
    float x = of_bits((half & 0x7fff) << 13) * 0x1p112f;
    memcpy(&bits, &x, sizeof bits);
    return of_bits(bits | not_finite | (half & 0x8000) << 16);
}

/* ---- 32 numbers ---------------------------------------------------------------------------------- */

static void widen_q8_0(const uint8_t *restrict block, float *restrict out)
{
    float d = f16_at(block);
    for (size_t j = 0; j < 32; j++)
        out[j] = (float)(int8_t)block[2 + j] * d;
}

static void widen_q4_0(const uint8_t *restrict block, float *restrict out)
{
    float d = f16_at(block);
    for (size_t j = 0; j < 16; j++) {
        out[j] = (float)((block[2 + j] & 15) - 8) * d;
        out[16 + j] = (float)((block[2 + j] >> 4) - 8) * d;
    }
}

static void widen_q4_1(const uint8_t *restrict block, float *restrict out)
{
    float d = f16_at(block), m = f16_at(block + 2);
    for (size_t j = 0; j < 16; j++) {
        out[j] = (float)(block[4 + j] & 15) * d + m;
        out[16 + j] = (float)(block[4 + j] >> 4) * d + m;
    }
}

static void widen_iq4_nl(const uint8_t *restrict block, float *restrict out)
{
    static const float level[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    float d = f16_at(block);
    for (size_t j = 0; j < 16; j++) {
        out[j] = level[block[2 + j] & 15] * d;
        out[16 + j] = level[block[2 + j] >> 4] * d;
    }
}

/* q of 16 bytes of two numbers and 32 fifth bits, bit j of number j. */
static void join_fifth_bits(const uint8_t *restrict fifth, const uint8_t *restrict two, int32_t q[restrict 32])
{
    uint32_t low = u16_at(fifth), high = u16_at(fifth + 2);
    for (uint32_t j = 0; j < 16; j++) {
        q[j] = (int32_t)((two[j] & 15u) | (low >> j & 1) << 4);
        q[16 + j] = (int32_t)((uint32_t)two[j] >> 4 | (high >> j & 1) << 4);
    }
}

static void widen_q5_0(const uint8_t *restrict block, float *restrict out)
{
    int32_t q[32];
    float d = f16_at(block);
    join_fifth_bits(block + 2, block + 6, q);
    for (size_t j = 0; j < 32; j++)
        out[j] = (float)(q[j] - 16) * d;
}

static void widen_q5_1(const uint8_t *restrict block, float *restrict out)
{
    int32_t q[32];
    float d = f16_at(block), m = f16_at(block + 2);
    join_fifth_bits(block + 4, block + 8, q);
    for (size_t j = 0; j < 32; j++)
        out[j] = (float)q[j] * d + m;
}

/* ---- 256 numbers --------------------------------------------------------------------------------- */

/* Scale and offset of the i-th 32 of 8, 6 bits each in 12 bytes: of the first four whole in the low bits of bytes 0
 * to 3 (scales) and 4 to 7 (offsets); of the last four, the low halves in bytes 8 to 11, the rest in the two bits
 * that are left of the first eight bytes. */
static void scale_and_offset(const uint8_t *packed, size_t i, float *scale, float *offset)
{
    uint32_t s = packed[i % 4], o = packed[4 + i % 4], both = packed[8 + i % 4];
    *scale = (float)(i < 4 ? s & 63 : (both & 15) | s >> 6 << 4);
    *offset = (float)(i < 4 ? o & 63 : both >> 4 | o >> 6 << 4);
}

static void widen_q4_k(const uint8_t *restrict block, float *restrict out)
{
    float d = f16_at(block), m = f16_at(block + 2), s, o;
    for (size_t i = 0; i < 8; i++, out += 32) {
        const uint8_t *two = block + 16 + i / 2 * 32;
        uint32_t shift = i % 2 * 4;
        scale_and_offset(block + 4, i, &s, &o);
        float step = d * s, below = m * o;
        for (size_t j = 0; j < 32; j++)
            out[j] = (float)(int32_t)(two[j] >> shift & 15) * step - below;
    }
}

static void widen_q5_k(const uint8_t *restrict block, float *restrict out)
{
    float d = f16_at(block), m = f16_at(block + 2), s, o;
    const uint8_t *fifth = block + 16;
    for (uint32_t i = 0; i < 8; i++, out += 32) {
        const uint8_t *two = block + 48 + i / 2 * 32;
        uint32_t shift = i % 2 * 4;
        scale_and_offset(block + 4, i, &s, &o);
        float step = d * s, below = m * o;
        for (size_t j = 0; j < 32; j++)
            out[j] = (float)(int32_t)((two[j] >> shift & 15) | (fifth[j] >> i & 1) << 4) * step - below;
    }
}

static void widen_q6_k(const uint8_t *restrict block, float *restrict out)
{
    const uint8_t *scale = block + 192;
    float d = f16_at(block + 208);
    for (uint32_t i = 0; i < 8; i++, out += 32, scale += 2) {
        const uint8_t *low = block + i / 4 * 64 + i % 2 * 32, *high = block + 128 + i / 4 * 32;
        uint32_t low_shift = i % 4 / 2 * 4, high_shift = i % 4 * 2;
        for (size_t k = 0; k < 2; k++) {
            float step = d * (float)(int8_t)scale[k];
            for (size_t j = 16 * k; j < 16 * k + 16; j++)
                out[j] = (float)((low[j] >> low_shift & 15) + (high[j] >> high_shift & 3) * 16 - 32) * step;
        }
    }
}

/* ---- any ----------------------------------------------------------------------------------------- */

static void widen_f16(const uint8_t *restrict at, float *restrict out)
{
    *out = f16_at(at);
}

static void widen_bf16(const uint8_t *restrict at, float *restrict out)
{
    *out = of_bits(u16_at(at) << 16);
}

/* One loop for each type, with its function inside it. */
#define WIDEN(block, numbers, bytes)                                                                               \
    for (size_t i = 0; i < n / (numbers); i++)                                                                     \
        block(at + i * (bytes), out + i * (numbers));                                                              \
    return

void qvl_ggml_widen(uint32_t ggml_type, const void *blocks, size_t n, float *out)
{
    const uint8_t *at = blocks;
    switch ((enum qvl_ggml_type)ggml_type) {
    case QVL_GGML_F32: memcpy(out, at, n * sizeof *out); return;
    case QVL_GGML_F16: WIDEN(widen_f16, 1, 2);
    case QVL_GGML_BF16: WIDEN(widen_bf16, 1, 2);
    case QVL_GGML_Q8_0: WIDEN(widen_q8_0, 32, 34);
    case QVL_GGML_Q4_0: WIDEN(widen_q4_0, 32, 18);
    case QVL_GGML_Q4_1: WIDEN(widen_q4_1, 32, 20);
    case QVL_GGML_Q5_0: WIDEN(widen_q5_0, 32, 22);
    case QVL_GGML_Q5_1: WIDEN(widen_q5_1, 32, 24);
    case QVL_GGML_IQ4_NL: WIDEN(widen_iq4_nl, 32, 18);
    case QVL_GGML_Q4_K: WIDEN(widen_q4_k, 256, 144);
    case QVL_GGML_Q5_K: WIDEN(widen_q5_k, 256, 176);
    case QVL_GGML_Q6_K: WIDEN(widen_q6_k, 256, 210);
    }
}
