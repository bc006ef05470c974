/* store.h: a model's place in a cache, as cache.h's functions share it. */
#ifndef QVL_HUB_STORE_H
#define QVL_HUB_STORE_H

#include "hub/cache.h"
#include "hub/path.h"

#define QVL_HUB_SUM_BYTES 65 /* SHA-256 in hex, and NUL */

struct qvl_hub_held { /* the lock of a file that is being fetched */
    int fd;
    char sum[QVL_HUB_SUM_BYTES];
};

struct qvl_hub_store {
    char root[QVL_HUB_PATH_BYTES];      /* what belongs to this model */
    char final_dir[QVL_HUB_PATH_BYTES]; /* the folder to give as -m */
    char hidden[QVL_HUB_PATH_BYTES];    /* ours alone: the stage, and partials that have no place among the blobs */
    char stage[QVL_HUB_PATH_BYTES];     /* final_dir as it will be */
    char ref[QVL_HUB_PATH_BYTES];       /* the file that names the commit; "": none */
    char locks[QVL_HUB_PATH_BYTES];     /* huggingface_hub's locks of single files; "": none */
    char tagged[QVL_HUB_PATH_BYTES];    /* gets a CACHEDIR.TAG; "": none */
    char commit[129];
    bool is_hf;        /* sums are etags */
    bool has_blobs;    /* final_dir holds links into root/blobs */
    bool is_local;     /* final_dir is root, a folder of the user's */
    bool is_read_only; /* it can be read and not written */
    int lock_fd;
    struct qvl_hub_held *held;
    size_t n_held, n_held_alloc;
};

/* Where all of it is; nothing is made or looked at but ModelScope's older folders, of which an empty one goes.
 * lock: the model's lock. */
enum qvl_status qvl_hub_store_place(struct qvl_hub_store *store, const struct qvl_hub_ref *ref, const char *commit,
                                    const char *local_dir, char lock[QVL_HUB_PATH_BYTES], struct qvl_error *err);

/* What Hugging Face calls the file's etag: SHA-256 of a large one, git's SHA-1 of a small one. False: it has none.
 */
bool qvl_hub_file_sum(const struct qvl_hub_file *file, char out[QVL_HUB_SUM_BYTES]);
/* A regular file that can be read, of that size; links are followed. */
bool qvl_hub_file_is_at(const char *path, uint64_t n_bytes);
/* Its name among the blobs; false: it has none there. */
bool qvl_hub_store_blob(const struct qvl_hub_store *store, const struct qvl_hub_file *file,
                        char path[QVL_HUB_PATH_BYTES]);

#endif
