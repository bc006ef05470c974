/* tile.h: matrix tiles (Intel AMX) as seven operations on eight registers, numbered 0..7, of up to 16 rows of 64
 * bytes: configure, zero, load, store, products of bf16 and of int8, release. A number is a constant of the call.
 *
 * Twice: as the instructions, and in plain C (QVL_TILES_IN_C) after the same manual (Intel SDM vol. 2, TDPBF16PS,
 * TDPBSUD, LDTILECFG), so that every line of a kernel above them runs in tests on machines without tiles. What the
 * instructions refuse (shapes that do not fit, registers without a shape) ends the plain-C program likewise.
 *
 * Instructions, not the compiler's intrinsics: those of GCC 12 do not say that memory is read, and of a
 * configuration they name 8 bytes of 64, so that stores before them may be dropped. No compiler keeps values in
 * tiles by itself. */
#ifndef QVL_KERNEL_TILE_H
#define QVL_KERNEL_TILE_H

#include "kernel/levels.h"

#define TILE_ROWS ((size_t)16)
#define TILE_ROW_BYTES ((size_t)64)

/* The memory format of LDTILECFG. A register with 0 rows may not be used. */
struct tile_config {
    uint8_t palette; /* 1 */
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t n_row[16];
};
_Static_assert(sizeof(struct tile_config) == 64, "as the processor reads it");

static inline void tile_shape(struct tile_config *config, int tile, size_t n_row, size_t row_bytes)
{
    config->palette = 1;
    config->n_row[tile] = (uint8_t)n_row;
    config->row_bytes[tile] = (uint16_t)row_bytes;
}

#if !defined(QVL_TILES_IN_C)

#define TILE_OVERLAY(family) qvl_overlay_##family##_amx
#define TILE_HAS_INT8 qvl_cpu_has_int8_dot(QVL_ISA_AMX)

/* All registers become zero. */
QVL_INLINE void tile_configure(const struct tile_config *config)
{
    __asm__ volatile("ldtilecfg\t%0" : : "m"(*config));
}

QVL_INLINE void tile_zero(int tile)
{
    __asm__ volatile("tilezero\t%%tmm%c0" : : "i"(tile));
}

QVL_INLINE void tile_load(int tile, const void *p, size_t stride_bytes)
{
    __asm__ volatile("tileloadd\t(%1,%2,1), %%tmm%c0" : : "i"(tile), "r"(p), "r"(stride_bytes) : "memory");
}

QVL_INLINE void tile_store(int tile, void *p, size_t stride_bytes)
{
    __asm__ volatile("tilestored\t%%tmm%c0, (%1,%2,1)" : : "i"(tile), "r"(p), "r"(stride_bytes) : "memory");
}

/* c [m, n] f32 += a [m, 2k] b [k, n, 2]: see multiply_pairs below. */
QVL_INLINE void tile_product_bf16(int c, int a, int b)
{
    __asm__ volatile("tdpbf16ps\t%%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
}

/* c [m, n] int32 += a [m, 4k] int8 times b [k, n, 4] uint8. */
QVL_INLINE void tile_product_i8_u8(int c, int a, int b)
{
    __asm__ volatile("tdpbsud\t%%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
}

/* Gives the registers back: while they hold something the system saves them at each change of threads. */
QVL_INLINE void tile_release(void)
{
    __asm__ volatile("tilerelease");
}

#else

#define TILE_OVERLAY(family) qvl_overlay_##family##_amx_in_c
#define TILE_HAS_INT8 true

static _Thread_local struct {
    struct tile_config config;
    char row[8][16][64];
} tiles;

static inline void tile_configure(const struct tile_config *config)
{
    if (config->palette != 1 || config->start_row != 0)
        __builtin_trap();
    for (size_t tile = 0; tile < 8; tile++)
        if (config->n_row[tile] > TILE_ROWS || config->row_bytes[tile] > TILE_ROW_BYTES ||
            !config->n_row[tile] != !config->row_bytes[tile])
            __builtin_trap();
    tiles.config = *config;
    __builtin_memset(tiles.row, 0, sizeof tiles.row);
}

/* Rows of a register that has a shape. */
static inline size_t tile_n_row(int tile)
{
    if (tiles.config.n_row[tile] == 0)
        __builtin_trap();
    return tiles.config.n_row[tile];
}

static inline void tile_zero(int tile)
{
    (void)tile_n_row(tile);
    __builtin_memset(tiles.row[tile], 0, sizeof tiles.row[tile]);
}

static inline void tile_load(int tile, const void *p, size_t stride_bytes)
{
    tile_zero(tile);
    for (size_t i = 0; i < tile_n_row(tile); i++)
        __builtin_memcpy(tiles.row[tile][i], (const char *)p + i * stride_bytes, tiles.config.row_bytes[tile]);
}

static inline void tile_store(int tile, void *p, size_t stride_bytes)
{
    for (size_t i = 0; i < tile_n_row(tile); i++)
        __builtin_memcpy((char *)p + i * stride_bytes, tiles.row[tile][i], tiles.config.row_bytes[tile]);
}

/* Denormals are zero, on the way in and out. */
static inline float tile_flush(float x)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    bits &= (bits & 0x7f800000u) != 0 ? 0xffffffffu : 0x80000000u;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float tile_fma(qvl_bf16 a, qvl_bf16 b, float c)
{
    return tile_flush(__builtin_fmaf(tile_flush(qvl_bf16_widen(a)), tile_flush(qvl_bf16_widen(b)), c));
}

/* One row: products of first and of second halves of the pairs are summed apart, k ascending, each product and sum
 * rounded once; the two sums are added, then the old value. */
static inline void multiply_pairs(float c[16], const qvl_bf16 *a, const qvl_bf16 (*b)[32], size_t n_pair)
{
    float first[16] = {0}, second[16] = {0};
    for (size_t k = 0; k < n_pair; k++)
        for (size_t n = 0; n < 16; n++) {
            first[n] = tile_fma(a[2 * k], b[k][2 * n], first[n]);
            second[n] = tile_fma(a[2 * k + 1], b[k][2 * n + 1], second[n]);
        }
    for (size_t n = 0; n < 16; n++)
        c[n] = tile_flush(tile_flush(c[n]) + tile_flush(first[n] + second[n]));
}

/* Both products work on four bytes of A times four of B. */
static inline void tile_check_product(int c, int a, int b)
{
    const struct tile_config *config = &tiles.config;
    if (tile_n_row(c) != tile_n_row(a) || config->row_bytes[c] != config->row_bytes[b] ||
        config->row_bytes[a] != 4 * tile_n_row(b) || c == a || c == b || a == b)
        __builtin_trap();
}

static inline void tile_product_bf16(int c, int a, int b)
{
    tile_check_product(c, a, b);
    qvl_bf16 x[32], y[16][32];
    float sum[16];
    __builtin_memcpy(y, tiles.row[b], sizeof y);
    for (size_t i = 0; i < tile_n_row(c); i++) {
        __builtin_memcpy(x, tiles.row[a][i], sizeof x);
        __builtin_memcpy(sum, tiles.row[c][i], sizeof sum);
        multiply_pairs(sum, x, (const qvl_bf16(*)[32])y, tile_n_row(b));
        __builtin_memcpy(tiles.row[c][i], sum, sizeof sum);
    }
}

static inline void tile_product_i8_u8(int c, int a, int b)
{
    tile_check_product(c, a, b);
    for (size_t i = 0; i < tile_n_row(c); i++) {
        int32_t sum[16];
        __builtin_memcpy(sum, tiles.row[c][i], sizeof sum);
        for (size_t k = 0; k < tile_n_row(b); k++)
            for (size_t n = 0; n < 16; n++)
                for (size_t j = 0; j < 4; j++)
                    sum[n] += (int8_t)tiles.row[a][i][4 * k + j] * (uint8_t)tiles.row[b][k][4 * n + j];
        __builtin_memcpy(tiles.row[c][i], sum, sizeof sum);
    }
}

static inline void tile_release(void)
{
    __builtin_memset(&tiles.config, 0, sizeof tiles.config);
}

#endif

#endif
