/* kernel.h: the numeric kernels, numbers in, numbers out. One table of function pointers, and the
 * layouts that go with them; kernel.def lists the rows, and the table and the list of tests in
 * tests/kernel are generated from it, so that a row without a test does not build.
 *
 * Every kernel is a pure function of its arguments, runs on the calling thread, allocates nothing. The
 * scalar version (gemm_scalar.c, attention_scalar.c, …) is the definition and is never tuned. The vector
 * levels share one source per family (gemm_lanes.h, …), written in the words of vec_avx2.h, vec_avx512.h,
 * vec_neon.h.
 *
 * The rule that gives the same bits alone, in company, in any chunk and on any number of threads: the value
 * of one output element depends on its own row and column only, never on how many rows or tokens are
 * computed with it. Each kernel sums over k (or over keys) in one fixed order of its level. */
#ifndef QVL_KERNEL_KERNEL_H
#define QVL_KERNEL_KERNEL_H

#include <stdint.h>

#include "base/checked.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/limits.h"
#include "kernel/packed.h"

enum qvl_isa {
    QVL_ISA_SCALAR,
    QVL_ISA_NEON,
    QVL_ISA_AVX2,
    QVL_ISA_AVX512,
    QVL_ISA_AVX512_BF16,
    QVL_ISA_AMX,
    QVL_ISA_COUNT
};

/* bfloat16 and IEEE half as their 16 bits. */
typedef uint16_t qvl_bf16;
typedef uint16_t qvl_f16;

/* ---- attention layouts ----------------------------------------------------------------------------
 * Keys and values of one head lie in blocks of QVL_KV_BLOCK positions; the block is the unit of the KV cache
 * (model/kv_cache) and of the online softmax, so a row's bits do not depend on chunks. head_dim is even and
 * <= QVL_MAX_HEAD_DIM; d_pad = head_dim rounded up to 16, the padding is zero.
 *   bf16:  K [QVL_KV_BLOCK/16][head_dim/2][16 keys][2 dims]     V [QVL_KV_BLOCK/2][d_pad][2 keys]
 *   f32:   K [QVL_KV_BLOCK/16][head_dim][16 keys]               V [QVL_KV_BLOCK][d_pad]
 *   i8:    K [QVL_KV_BLOCK/16][head_dim/4][16 keys][4 dims]     V [QVL_KV_BLOCK/4][d_pad][4 keys]
 *          with head_dim/4 rounded up, each followed by scales [QVL_KV_BLOCK] f32. A key's element is its byte - 128, a
 *          value's a signed byte, each times the scale of its position; what is beyond head_dim counts nothing.
 * Positions never written must be zero (finite): they are computed and masked. */
#define QVL_KV_BLOCK 128

static inline size_t qvl_head_dim_padded(size_t head_dim)
{
    return qvl_round_up(head_dim, 16);
}
/* Bytes of one block of keys, and of one block of values: multiples of 64. */
static inline size_t qvl_k_block_bytes(size_t head_dim, enum qvl_dtype t)
{
    return t == QVL_I8 ? QVL_KV_BLOCK * (qvl_round_up(head_dim, 4) + sizeof(float))
                       : QVL_KV_BLOCK * head_dim * qvl_dtype_bytes(t);
}
static inline size_t qvl_v_block_bytes(size_t head_dim, enum qvl_dtype t)
{
    return QVL_KV_BLOCK * (qvl_head_dim_padded(head_dim) * qvl_dtype_bytes(t) + (t == QVL_I8 ? sizeof(float) : 0));
}

/* n_row query rows of one KV head (tokens times the query heads that share it, in any order). */
struct qvl_attention_job {
    const float *q;               /* [n_row, q_stride] f32, normed and rotated, not scaled */
    size_t q_stride;              /* elements */
    float *out;                   /* [n_row, out_stride] f32 */
    size_t out_stride;
    size_t n_row;
    const uint32_t *n_key;        /* [n_row] row i sees keys 0..n_key[i]-1; >= 1 */
    const void *const *k_block;   /* [ceil(max n_key / QVL_KV_BLOCK)] */
    const void *const *v_block;
    size_t head_dim;
    float scale;                  /* head_dim^-0.5 */
    void *scratch;                /* qvl_attention_scratch_bytes(head_dim), 64-byte aligned */
};

/* ---- the table ------------------------------------------------------------------------------------ */

#define QVL_MAX_TOKS_AT_ONCE 288

struct qvl_kernels {
    enum qvl_isa isa;
    const char *name; /* "avx512_bf16" */
    /* True where products of bf16 pairs (gemm_bf16_bf16, attention_bf16 with bf16 arithmetic) beat f32
     * arithmetic on this processor: decides the activation type of QVL_COMPUTE_BF16. Where it is false,
     * activations stay f32 and bf16 weights are widened in registers. */
    bool is_bf16_fast;
    /* How many tokens gemm_bf16_bf16 is best given at once, at most QVL_MAX_TOKS_AT_ONCE: few keep the results in the
     * first-level cache; many share what a level must do to weights before it can multiply them. */
    size_t n_tok_at_once;
#define QVL_KERNEL(name, tolerance, result, ...) result (*name)(__VA_ARGS__);
#include "kernel/kernel.def"
#undef QVL_KERNEL
};

/* Row stride in bytes for an activation matrix with k columns: 64-byte aligned and never a multiple of 4096,
 * so that neighbouring rows do not fall into one set of the first-level cache. */
static inline size_t qvl_row_stride_bytes(size_t k, enum qvl_dtype t)
{
    size_t bytes = qvl_round_up(t == QVL_A8 ? qvl_a8_row_bytes(k) : k * qvl_dtype_bytes(t), 64);
    return bytes % 4096 == 0 ? bytes + 64 : bytes;
}

size_t qvl_attention_scratch_bytes(size_t head_dim);

/* The best table that the processor and the operating system allow, not above the level named by `cap` (NULL
 * = the environment's QVL_ISA, else no cap; "" is no cap). avx512_bf16 is the best one only where
 * is_bf16_fast; elsewhere avx512 is, and amx where there are tiles. Unknown name: QVL_ERR_ARGUMENT that lists the names. The table
 * is static: it needs no free. Thread-safe. */
enum qvl_status qvl_kernels_select(const char *cap, const struct qvl_kernels **out, struct qvl_error *err);
/* Table of one level, or NULL where this machine lacks it (for tests and benchmarks). */
const struct qvl_kernels *qvl_kernels_of(enum qvl_isa isa);

#endif
