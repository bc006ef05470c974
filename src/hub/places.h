/* places.h: what the environment says: where the caches lie, whom to ask, with which token.
 *
 * Rules of huggingface_hub 2.4 (constants.py, utils/_auth.py) and modelscope-hub 0.5 (config.py), with two
 * differences: a variable that is set to nothing counts as not set, and ModelScope's stored login is not read (it
 * is a Python pickle). */
#ifndef QVL_HUB_PLACES_H
#define QVL_HUB_PLACES_H

#include "hub/hub.h"
#include "hub/path.h"

#define QVL_HUB_ENDPOINT_BYTES 1024
#define QVL_HUB_TOKEN_BYTES 4096

struct qvl_hub_places {
    /* Absolute; "" where not even a home folder is known. */
    char hf_cache[QVL_HUB_PATH_BYTES]; /* holds models--OWNER--NAME */
    char ms_cache[QVL_HUB_PATH_BYTES]; /* holds models/OWNER--NAME, and what older versions wrote */
    char packed[QVL_HUB_PATH_BYTES];   /* holds OWNER--NAME-TYPE, written by `pull --quantize` */
    /* Scheme and host, without a final '/'. */
    char hf_endpoint[QVL_HUB_ENDPOINT_BYTES], ms_endpoint[QVL_HUB_ENDPOINT_BYTES];
    bool is_hf_endpoint_given, is_ms_endpoint_given;
    /* "" for none; of printable ASCII, fit for a header. */
    char hf_token[QVL_HUB_TOKEN_BYTES], ms_token[QVL_HUB_TOKEN_BYTES];
    bool is_offline;         /* HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE */
    bool prefers_modelscope; /* VLLM_USE_MODELSCOPE */
    bool no_links;           /* HF_HUB_DISABLE_SYMLINKS */
};

/* QVL_ERR_ARGUMENT: a variable whose value cannot be used; the sentence names it. */
enum qvl_status qvl_hub_places_read(struct qvl_hub_places *out, struct qvl_error *err);

/* The i-th folder in which older versions of modelscope keep that model; they write dots of its name as "___". The
 * first QVL_HUB_N_OLD_WRITTEN are those that newer ones still go on with. False: there is no i-th. */
#define QVL_HUB_N_OLD_WRITTEN 2
bool qvl_hub_places_old_modelscope(const struct qvl_hub_places *places, const struct qvl_hub_ref *ref, uint32_t i,
                                   char out[QVL_HUB_PATH_BYTES]);

#endif
