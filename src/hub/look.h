/* look.h: what a folder in a cache is: a model of this family or not, whole or not. */
#ifndef QVL_HUB_LOOK_H
#define QVL_HUB_LOOK_H

#include "hub/hub.h"
#include "hub/path.h"

struct qvl_hub_look {
    bool is_family;                /* Qwen3-VL, by its config.json or, of GGUF files, by the model's name */
    bool is_whole;                 /* everything that qvl needs to run it is there */
    uint64_t n_bytes;              /* of all files in it, through links */
    int64_t changed;               /* of the newest, seconds since 1970 */
    char path[QVL_HUB_PATH_BYTES]; /* what to give as -m: the folder, or the GGUF file in it */
};

/* name: the model's, for GGUF files, which say nothing outside. A folder that is not there is nothing of all that.
 */
void qvl_hub_look(const char *folder, const char *name, struct qvl_hub_look *out);

/* The size and the time of the newest of all files in a folder that holds their links, too: each file once. */
void qvl_hub_measure(const char *folder, uint64_t *n_bytes, int64_t *changed);

/* Whether the name is one of this family: it holds Qwen3-VL, however it is written. */
bool qvl_hub_is_family_name(const char *name);

#endif
