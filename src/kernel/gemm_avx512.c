/* Matrix products in f32 with avx512 (gemm_lanes.h). 32 zmm registers: 24 accumulators, 3 activations, a few
 * weights on their way. */
#include "kernel/levels.h"
#include "kernel/vec_avx512.h"

#define GEMM_ROWS ((size_t)8)
#define GEMM_TOKS ((size_t)3)
#define GEMM_K_BLOCK ((size_t)512) /* 16 KB of panel */
#define GEMM_PANEL_MIN_TOKS ((size_t)40)

#include "kernel/gemm_f32_lanes.h"

void qvl_overlay_gemm_avx512(struct qvl_kernels *table)
{
    overlay_gemm(table);
}
