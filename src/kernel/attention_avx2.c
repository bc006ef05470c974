/* Attention in f32 with avx2 (attention_lanes.h). 16 ymm registers: 10 accumulators, 2 pairs, 1 broadcast. */
#include "kernel/levels.h"
#include "kernel/vec_avx2.h"

#define ATTENTION_ROWS ((size_t)5)
#define ATTENTION_ROWS_FEW ((size_t)2)
#define ATTENTION_VECTORS ((size_t)2)

#include "kernel/attention_f32_lanes.h"

void qvl_overlay_attention_avx2(struct qvl_kernels *table)
{
    overlay_attention(table);
}
