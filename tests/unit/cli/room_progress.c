/* See room.c. */
#include "../../../src/cli/progress.c"
