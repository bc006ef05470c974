/* listing.h: what a hub says of a repository, checked, and which of its files a model needs. No network: bytes in,
 * names out (fuzzed). */
#ifndef QVL_HUB_LISTING_H
#define QVL_HUB_LISTING_H

#include "base/arena.h"
#include "hub/hub.h"

struct qvl_hub_listing {       /* a zeroed one is empty */
    struct qvl_hub_file *file; /* [n] paths lie in the arena */
    size_t n, n_alloc;
    struct qvl_arena arena;
};
void qvl_hub_listing_free(struct qvl_hub_listing *listing);

/* Weights at the top of the repository. */
bool qvl_hub_is_safetensors(const char *path);

/* The commit in an answer of /api/models/OWNER/NAME/revision/REVISION. host: for the sentence. QVL_ERR_FILE: none
 * there. */
enum qvl_status qvl_hub_read_commit(const char *json, size_t n, const char *host, char out[65],
                                    struct qvl_error *err);
/* Adds a page of /api/models/OWNER/NAME/tree/COMMIT?recursive=true. QVL_ERR_FILE: no such list, or a name that does
 * not stay inside a folder; QVL_ERR_LIMIT: QVL_MAX_HUB_LISTED. */
enum qvl_status qvl_hub_listing_add_hf(struct qvl_hub_listing *listing, const char *json, size_t n,
                                       const char *host, struct qvl_error *err);
/* The same for ModelScope's /api/v1/models/OWNER/NAME/repo/files. QVL_ERR_LIMIT also of a list that may have been
 * cut. */
enum qvl_status qvl_hub_listing_add_modelscope(struct qvl_hub_listing *listing, const char *json, size_t n,
                                               const char *host, struct qvl_error *err);
/* Keeps what is needed, smallest first: configs, tokenizer, chat template, safetensors and their index, README and
 * licence; of a GGUF repository a pair. gguf: which (a name, a pattern as of the shell, or a part of a name as
 * "Q4_K_M"); NULL: Q8_0, else the best that qvl reads. QVL_ERR_MODEL: there is no such model in it;
 * QVL_ERR_ARGUMENT: gguf fits none. */
enum qvl_status qvl_hub_listing_choose(struct qvl_hub_listing *listing, const char *gguf, struct qvl_error *err);

#endif
