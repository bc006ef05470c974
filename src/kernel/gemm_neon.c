/* Matrix products in f32 with neon (gemm_lanes.h). 32 registers: 24 accumulators, 3 activations, a few weights on
 * their way. The blocking follows avx512's, which has as many registers; it is not measured on such a processor. */
#include "kernel/levels.h"
#include "kernel/vec_neon.h"

#define GEMM_ROWS ((size_t)8)
#define GEMM_TOKS ((size_t)3)
#define GEMM_K_BLOCK ((size_t)512) /* 16 KB of panel */
#define GEMM_PANEL_MIN_TOKS ((size_t)16)

#include "kernel/gemm_f32_lanes.h"

void qvl_overlay_gemm_neon(struct qvl_kernels *table)
{
    overlay_gemm(table);
}
