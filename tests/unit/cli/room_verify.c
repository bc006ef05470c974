/* See room.c. */
#include "../../../src/cli/reference_file.c"
#include "../../../src/cli/verify_measure.c"
