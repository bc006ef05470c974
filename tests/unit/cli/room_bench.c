/* See room.c. */
#include "../../../src/cli/bench_plan.c"
#include "../../../src/cli/bench_report.c"
