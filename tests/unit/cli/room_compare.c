/* See room.c. */
#include "../../../src/cli/compare_stats.c"
