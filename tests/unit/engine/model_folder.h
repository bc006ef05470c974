/* model_folder.h: a golden model on disk, and an engine on it, for the tests of this room. */
#ifndef MODEL_FOLDER_H
#define MODEL_FOLDER_H

#include "qvl.h"

/* Path of golden model `letter`, written on first use into a temporary folder that goes at exit. */
const char *model_folder(char letter);

/* The qvl-media of this build. */
const char *media_helper_path(void);

/* An engine on golden model 'a' with its weights loaded. The result of a group's set-up: 0, or -1 after the sentence
 * has gone to stderr. */
int open_loaded(struct qvl_engine_options options, struct qvl_engine **out);

/* Runs check with model 'a' at every level that this machine has and in every number format: open gives the engine, with
 * isa and numbers as in these options. What threads share does not depend on either: under ThreadSanitizer, which makes
 * everything some twenty times slower, the shared engine will do. */
void on_every_level(struct qvl_engine *(*open)(char letter, struct qvl_engine_options options),
                    struct qvl_engine *shared, void (*check)(struct qvl_engine *on));

#endif
