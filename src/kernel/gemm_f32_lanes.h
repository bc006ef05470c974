/* gemm_f32_lanes.h: the operands of gemm_lanes.h for f32 arithmetic, on top of a vec_isa.h. Narrow elements are
 * widened, which is exact. The including file defines GEMM_ROWS, GEMM_TOKS,
 * GEMM_K_BLOCK and GEMM_PANEL_MIN_TOKS. */
#ifndef QVL_KERNEL_GEMM_F32_LANES_H
#define QVL_KERNEL_GEMM_F32_LANES_H

typedef vec operand;
typedef float panel_element;

#define GEMM_STEP VEC_LANES

QVL_INLINE operand load_operand(const char *p, size_t i, enum qvl_dtype type)
{
    p += i * qvl_dtype_bytes(type);
    return type == QVL_F32    ? vec_load((const float *)p)
           : type == QVL_BF16 ? vec_load_bf16((const qvl_bf16 *)p)
                              : vec_load_f16((const qvl_f16 *)p);
}

QVL_INLINE operand load_operand_n(const char *p, size_t i, size_t n, enum qvl_dtype type)
{
    p += i * qvl_dtype_bytes(type);
    return type == QVL_F32    ? vec_load_n((const float *)p, n)
           : type == QVL_BF16 ? vec_load_bf16_n((const qvl_bf16 *)p, n)
                              : vec_load_f16_n((const qvl_f16 *)p, n);
}

QVL_INLINE operand load_panel(const panel_element *p)
{
    return vec_load(p);
}

QVL_INLINE void store_panel(panel_element *p, operand v)
{
    vec_store(p, v);
}

QVL_INLINE vec mac(vec acc, operand w, operand x)
{
    return vec_fma(w, x, acc);
}

#include "kernel/gemm_lanes.h"

GEMM_PANELS(panels_by_bf16, QVL_BF16)
GEMM_PANELS(panels_by_f32, QVL_F32)
GEMM_LANES(gemm_bf16_bf16, panels_by_bf16, qvl_bf16, QVL_BF16, qvl_bf16, QVL_BF16)
GEMM_LANES(gemm_bf16_f32, panels_by_f32, qvl_bf16, QVL_BF16, float, QVL_F32)
GEMM_LANES(gemm_f16_f32, panels_by_f32, qvl_f16, QVL_F16, float, QVL_F32)
GEMM_LANES(gemm_f32_f32, panels_by_f32, float, QVL_F32, float, QVL_F32)

QVL_INLINE void overlay_gemm(struct qvl_kernels *table)
{
    table->gemm_bf16_bf16 = gemm_bf16_bf16;
    table->gemm_bf16_f32 = gemm_bf16_f32;
    table->gemm_f16_f32 = gemm_f16_f32;
    table->gemm_f32_f32 = gemm_f32_f32;
}

#endif
