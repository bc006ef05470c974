/* See room.c; a file of its own because both have static functions of the same names. */
#include "../../../src/cli/input.c"
