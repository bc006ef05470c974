/* See room.c. */
#include "../../../src/cli/report.c"
