/* Matrix products in f32 with avx2 (gemm_lanes.h). 16 ymm registers: 12 accumulators, 3 activations, 1 weight. */
#include "kernel/levels.h"
#include "kernel/vec_avx2.h"

#define GEMM_ROWS ((size_t)4)
#define GEMM_TOKS ((size_t)3)
#define GEMM_K_BLOCK ((size_t)512) /* 8 KB of panel */
#define GEMM_PANEL_MIN_TOKS ((size_t)16)

#include "kernel/gemm_f32_lanes.h"

void qvl_overlay_gemm_avx2(struct qvl_kernels *table)
{
    overlay_gemm(table);
}
