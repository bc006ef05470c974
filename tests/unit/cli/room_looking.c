/* See room.c. */
#include "../../../src/cli/looking.c"
