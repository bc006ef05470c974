/* make_golden: writes a golden model (golden_model.h) for the demo and the end-to-end tests.
 * usage: make_golden OUT_DIR LETTER, from the project's root. */
#include "../golden_model.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 3 || strlen(argv[2]) != 1 || !strchr(GOLDEN_LETTERS, argv[2][0])) {
        fprintf(stderr, "usage: make_golden OUT_DIR a|b|c|d\n");
        return 2;
    }
    return golden_model_write("tests/golden", argv[2][0], argv[1]) ? 0 : 1;
}
