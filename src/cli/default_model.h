/* default_model.h: the built-in demo model, which is meant where neither -m nor QVL_MODEL names a model. */
#ifndef QVL_CLI_DEFAULT_MODEL_H
#define QVL_CLI_DEFAULT_MODEL_H

#include <limits.h>
#include <stdbool.h>

/* Its folder, absolute. False: it is not there. */
bool qvl_default_model_find(char out[PATH_MAX]);

#endif
