/* default_model.h: which model is meant: by a name of a hub, or where neither -m nor QVL_MODEL names one. */
#ifndef QVL_CLI_DEFAULT_MODEL_H
#define QVL_CLI_DEFAULT_MODEL_H

#include <limits.h>

#include "cli/options.h"

/* What becomes of options->model; holds the paths as long as the options are used. */
struct qvl_chosen_model {
    char path[PATH_MAX];
    char word[2][PATH_MAX];
};

/* A name such as OWNER/NAME (-m, or the first words of inspect, quantize, convert, compare, verify and doctor) becomes what
 * lies in the caches under it; with --quantize TYPE a folder packed so comes first. Where no model is named it is
 * the one that was pulled last, packed ones first, else the demo model. What is not found stays as it is. */
void qvl_choose_model(struct qvl_options *options, enum qvl_verb verb, struct qvl_chosen_model *memory);
/* The built-in demo model's folder, absolute. False: it is not there. */
bool qvl_default_model_find(char out[PATH_MAX]);
/* Of a list of all that are here the one that is meant where none is named; n: none of them. */
size_t qvl_default_model_choose(const struct qvl_hub_model *model, size_t n);

/* Whether -m names a model of a hub that is not here. */
bool qvl_model_is_elsewhere(const struct qvl_options *options);
/* A person who has none is asked whether to fetch one: the model that was named, else the default one, which then
 * is options->model. Where nothing was named the answer no is kept, and nobody asked again. */
void qvl_offer_model(struct qvl_options *options, enum qvl_verb verb, struct qvl_chosen_model *memory);

#endif
