/* The kernels along one row with avx2 (elementwise_lanes.h). */
#include "kernel/levels.h"
#include "kernel/vec_avx2.h"

#include "kernel/elementwise_lanes.h"

void qvl_overlay_elementwise_avx2(struct qvl_kernels *table)
{
    overlay_elementwise(table);
}
