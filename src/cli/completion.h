/* completion.h: what a shell needs to complete qvl's command line, from the program's own table of options. */
#ifndef QVL_CLI_COMPLETION_H
#define QVL_CLI_COMPLETION_H

#include <stdbool.h>
#include <stdio.h>

/* Writes the script for "bash", "zsh" or "fish". False: none of these. English. */
bool qvl_completion_write(FILE *out, const char *shell);

#endif
