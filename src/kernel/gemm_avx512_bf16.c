/* Matrix product of bf16 by bf16 with vdpbf16ps: each lane adds the products of two neighbours in k to its f32
 * sum. The instruction rounds to nearest even and takes bf16 denormals as zero, whatever MXCSR says (Intel SDM,
 * VDPBF16PS). Blocking: gemm_lanes.h. */
#include "kernel/levels.h"
#include "kernel/vec_avx512.h"

typedef __m512bh operand;
typedef qvl_bf16 panel_element;

#define GEMM_STEP ((size_t)32)
#define GEMM_ROWS ((size_t)8)
#define GEMM_TOKS ((size_t)3)
#define GEMM_K_BLOCK ((size_t)1024) /* 16 KB of panel */
#define GEMM_PANEL_MIN_TOKS ((size_t)40)

QVL_INLINE operand load_operand(const char *p, size_t i, enum qvl_dtype type)
{
    (void)type;
    return (operand)_mm512_loadu_si512(p + i * sizeof(qvl_bf16));
}

QVL_INLINE operand load_operand_n(const char *p, size_t i, size_t n, enum qvl_dtype type)
{
    (void)type;
    return (operand)_mm512_maskz_loadu_epi16((__mmask32)((1ull << n) - 1), p + i * sizeof(qvl_bf16));
}

QVL_INLINE operand load_panel(const panel_element *p)
{
    return (operand)_mm512_load_si512(p);
}

QVL_INLINE void store_panel(panel_element *p, operand v)
{
    _mm512_store_si512(p, (__m512i)v);
}

QVL_INLINE vec mac(vec acc, operand w, operand x)
{
    return _mm512_dpbf16_ps(acc, w, x);
}

#include "kernel/gemm_lanes.h"

GEMM_PANELS(panels, QVL_BF16)
GEMM_LANES(gemm_bf16_bf16, panels, qvl_bf16, QVL_BF16, qvl_bf16, QVL_BF16)

void qvl_overlay_gemm_avx512_bf16(struct qvl_kernels *table)
{
    table->gemm_bf16_bf16 = gemm_bf16_bf16;
}
