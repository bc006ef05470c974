/* snapshot.h: which blobs of Hugging Face's cache a snapshot needs, and which nobody else does. */
#ifndef QVL_HUB_SNAPSHOT_H
#define QVL_HUB_SNAPSHOT_H

#include <limits.h>

#include "hub/path.h"

struct qvl_hub_own_blob {
    char name[NAME_MAX + 1];
    uint64_t n_bytes; /* 0 of one that lies in a store which all models share */
    bool is_shared;   /* another snapshot of the model needs it, too */
};

struct qvl_hub_own {
    struct qvl_hub_own_blob *blob;
    size_t n, n_alloc;
    uint64_t n_bytes; /* that are free when the snapshot and the blobs of its own are gone */
    uint32_t n_other; /* snapshots beside it */
};

/* root: models--OWNER--NAME; commit: a name in its snapshots. */
enum qvl_status qvl_hub_own_read(const char *root, const char *commit, struct qvl_hub_own *out,
                                 struct qvl_error *err);
void qvl_hub_own_free(struct qvl_hub_own *own);
/* Whether any snapshot has a link to that blob; so it is where that cannot be known. */
bool qvl_hub_blob_is_needed(const char *root, const char *name);

#endif
