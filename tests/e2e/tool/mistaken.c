/* qvl with one of the mistakes of model/mistake.h, linked into qvl-mistaken (never installed): QVL_MISTAKE=NAME in
 * the environment chooses it, before main; without it there is none. reference/score_demo.py shows with this
 * program that the demo model's answers are right only where the engine is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/mistake.h"

/* clang-format off */
static const char *const name[] = {
    "NONE",
#define X(name) #name,
    QVL_MISTAKE_LIST(X)
#undef X
};
/* clang-format on */

__attribute__((constructor)) static void choose_mistake(void)
{
    const char *wanted = getenv("QVL_MISTAKE");
    size_t n = sizeof name / sizeof *name, i = 0;
    while (wanted && i < n && strcmp(name[i], wanted) != 0)
        i++;
    if (i == n) {
        fprintf(stderr, "qvl-mistaken: QVL_MISTAKE=%s is not among the mistakes of src/model/mistake.h\n", wanted);
        exit(2);
    }
    qvl_mistake = (enum qvl_mistake)i;
}
