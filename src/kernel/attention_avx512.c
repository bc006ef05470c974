/* Attention in f32 with avx512 (attention_lanes.h). */
#include "kernel/levels.h"
#include "kernel/vec_avx512.h"

#define ATTENTION_ROWS ((size_t)12)
#define ATTENTION_ROWS_FEW ((size_t)4)
#define ATTENTION_VECTORS ((size_t)2)

#include "kernel/attention_f32_lanes.h"

void qvl_overlay_attention_avx512(struct qvl_kernels *table)
{
    overlay_attention(table);
}
