/* default_model.h: which model is meant where neither -m nor QVL_MODEL names one. */
#ifndef QVL_CLI_DEFAULT_MODEL_H
#define QVL_CLI_DEFAULT_MODEL_H

#include <limits.h>
#include <stdbool.h>

struct qvl_default_model {
    char dir[PATH_MAX]; /* absolute; "": there is none */
    bool is_demo;       /* the built-in demo model */
};

void qvl_default_model_find(struct qvl_default_model *out);

#endif
