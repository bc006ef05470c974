/* emulated_level.h: the level "amx" with its tiles in plain C (kernel/tile.h), for machines without them. */
#ifndef QVL_TESTS_EMULATED_LEVEL_H
#define QVL_TESTS_EMULATED_LEVEL_H

#include "kernel/kernel.h"

/* From then on tests that walk over the levels meet "amx" on every machine with AVX-512 and bf16 products: the
 * instructions where there are any, else this. Returns the emulated level, and NULL with a loud line where it
 * cannot run either, or where a sanitizer makes minutes of it (it looks at the kernels themselves in tests/kernel). To be
 * called first in main. */
const struct qvl_kernels *use_emulated_level(bool is_kernel_test);

#endif
