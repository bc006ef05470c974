/* The files of src/cli that are tested here: the room is a program, so no library holds them. */
#include "../../../src/cli/options.c"
#include "../../../src/cli/terminal.c"
