/* See room.c. */
#include "../../../src/cli/answer_form.c"
