/* The kernels along one row with neon (elementwise_lanes.h). */
#include "kernel/levels.h"
#include "kernel/vec_neon.h"

#include "kernel/elementwise_lanes.h"

void qvl_overlay_elementwise_neon(struct qvl_kernels *table)
{
    overlay_elementwise(table);
}
