/* Attention in f32 with neon (attention_lanes.h). 32 registers: 24 accumulators, 2 pairs, 1 broadcast pair. */
#include "kernel/levels.h"
#include "kernel/vec_neon.h"

#define ATTENTION_ROWS ((size_t)12)
#define ATTENTION_ROWS_FEW ((size_t)4)
#define ATTENTION_VECTORS ((size_t)2)

#include "kernel/attention_f32_lanes.h"

void qvl_overlay_attention_neon(struct qvl_kernels *table)
{
    overlay_attention(table);
}
