/* levels.h: what the files of this room share. Each family_isa.c exports one function that overwrites the
 * fields of the table that its instruction set improves; kernel.c calls them from the lowest level up. */
#ifndef QVL_KERNEL_LEVELS_H
#define QVL_KERNEL_LEVELS_H

#include "kernel/kernel.h"

typedef void qvl_overlay_fn(struct qvl_kernels *table);

/* For tests: gives a level that this machine may lack the rows of `below` with these laid over them (up to a NULL).
 * From then on qvl_kernels_of has it where the machine lacks it; qvl_kernels_select takes it when it is named,
 * never by itself. NULL where `below` is not there. Not thread-safe: before any engine is open. */
const struct qvl_kernels *qvl_kernels_emulate(enum qvl_isa isa, enum qvl_isa below, qvl_overlay_fn *const *overlay);

void qvl_overlay_gemm_scalar(struct qvl_kernels *table);
void qvl_overlay_gemm_packed_scalar(struct qvl_kernels *table);
void qvl_overlay_attention_scalar(struct qvl_kernels *table);
void qvl_overlay_attention_i8_scalar(struct qvl_kernels *table);
void qvl_overlay_elementwise_scalar(struct qvl_kernels *table);

void qvl_overlay_gemm_neon(struct qvl_kernels *table);
void qvl_overlay_gemm_packed_neon(struct qvl_kernels *table);
void qvl_overlay_gemm_packed_neon_dotprod(struct qvl_kernels *table); /* where the processor has sdot */
void qvl_overlay_gemm_packed_neon_i8mm(struct qvl_kernels *table);    /* where the processor has smmla */
void qvl_overlay_rows_a8_neon(struct qvl_kernels *table);
void qvl_overlay_attention_neon(struct qvl_kernels *table);
void qvl_overlay_attention_i8_neon(struct qvl_kernels *table);
void qvl_overlay_attention_i8_neon_dotprod(struct qvl_kernels *table); /* where the processor has sdot */
void qvl_overlay_elementwise_neon(struct qvl_kernels *table);

void qvl_overlay_gemm_avx2(struct qvl_kernels *table);
void qvl_overlay_gemm_packed_avx2(struct qvl_kernels *table);
void qvl_overlay_gemm_packed_avx2_vnni(struct qvl_kernels *table); /* where the processor has AVX-VNNI */
/* The same with each vpdpbusd as instructions of avx2; compiled for tests only, not part of the library. */
void qvl_overlay_gemm_packed_avx2_vnni_in_parts(struct qvl_kernels *table);
void qvl_overlay_rows_a8_avx2(struct qvl_kernels *table);
void qvl_overlay_attention_avx2(struct qvl_kernels *table);
void qvl_overlay_attention_i8_avx2(struct qvl_kernels *table);
void qvl_overlay_elementwise_avx2(struct qvl_kernels *table);

void qvl_overlay_gemm_avx512(struct qvl_kernels *table);
void qvl_overlay_gemm_packed_avx512_vnni(struct qvl_kernels *table); /* where the processor has VNNI */
void qvl_overlay_attention_avx512(struct qvl_kernels *table);
void qvl_overlay_attention_i8_avx512_vnni(struct qvl_kernels *table); /* where the processor has VNNI */
void qvl_overlay_elementwise_avx512(struct qvl_kernels *table);

void qvl_overlay_gemm_avx512_bf16(struct qvl_kernels *table);
void qvl_overlay_attention_avx512_bf16(struct qvl_kernels *table);

void qvl_overlay_gemm_amx(struct qvl_kernels *table);
void qvl_overlay_gemm_packed_amx(struct qvl_kernels *table);
void qvl_overlay_attention_amx(struct qvl_kernels *table);
/* The same with tiles in plain C (tile.h); compiled for tests only, not part of the library. */
void qvl_overlay_gemm_amx_in_c(struct qvl_kernels *table);
void qvl_overlay_gemm_packed_amx_in_c(struct qvl_kernels *table);
void qvl_overlay_attention_amx_in_c(struct qvl_kernels *table);

/* cpu.c: can this machine (processor and operating system) run the level? */
bool qvl_cpu_has(enum qvl_isa isa);
/* Four int8 products added to an int32 in one instruction, at this level's width: NEON, AVX2, AVX512 or AMX. */
bool qvl_cpu_has_int8_dot(enum qvl_isa isa);
/* Products of 2 x 8 and 8 x 2 int8 in one instruction at level neon. */
bool qvl_cpu_has_int8_matrices(void);
/* Do bf16 dot products (where there are any) run at twice the rate of f32 multiply-adds? */
bool qvl_cpu_is_bf16_fast(void);

/* Query rows that the widest attention tile computes together: sizes the scratch. */
#define QVL_ATTENTION_MAX_TILE_ROWS 32

/* Four floats side by side, on every architecture. */
typedef float float4 __attribute__((vector_size(16)));

/* Places in a block of int8 keys or values (layouts in kernel.h), in bytes. */
static inline size_t qvl_k_i8_index(size_t i_pos, size_t dim, size_t head_dim)
{
    return ((i_pos / 16 * qvl_div_up(head_dim, 4) + dim / 4) * 16 + i_pos % 16) * 4 + dim % 4;
}
static inline size_t qvl_v_i8_index(size_t i_pos, size_t dim, size_t head_dim)
{
    return (i_pos / 4 * qvl_head_dim_padded(head_dim) + dim) * 4 + i_pos % 4;
}
static inline size_t qvl_k_i8_scales_at(size_t head_dim)
{
    return QVL_KV_BLOCK * qvl_round_up(head_dim, 4);
}
static inline size_t qvl_v_i8_scales_at(size_t head_dim)
{
    return QVL_KV_BLOCK * qvl_head_dim_padded(head_dim);
}

/* Inlined whole, so that arguments which are constants at the call fold away: one body, several shapes. */
#define QVL_INLINE static inline __attribute__((always_inline))

/* Before a loop of constant length: its accumulators become registers. Without it (the Makefile's sanitizer builds)
 * the same arithmetic is slower and compiles in seconds. */
#define QVL_PRAGMA(text) _Pragma(#text)
#if defined(QVL_NO_UNROLL)
#define QVL_UNROLL(n)
#else
#define QVL_UNROLL(n) QVL_PRAGMA(GCC unroll n)
#endif

static inline float qvl_bf16_widen(qvl_bf16 h)
{
    uint32_t bits = (uint32_t)h << 16;
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

/* To nearest, ties to even; a NaN stays a (quiet) NaN. */
static inline qvl_bf16 qvl_bf16_round(float x)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (qvl_bf16)(bits >> 16 | 0x40);
    return (qvl_bf16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#endif
