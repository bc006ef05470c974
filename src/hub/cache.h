/* cache.h: where the files of a model lie and how they get there, for whoever fetches them (pull.c).
 *
 * A store is one model at one commit, opened for writing: in the cache of Hugging Face or of ModelScope, or a plain
 * folder. Whoever fetches writes a file's bytes to the path of its partial, checks its sum, and hands it over: only
 * then it is there under its final name. A kill at any place leaves whole files, partials, and nothing else that counts;
 * a lock keeps two programs from writing the same model. */
#ifndef QVL_HUB_CACHE_H
#define QVL_HUB_CACHE_H

#include "hub/hub.h"

/* Behind the name of a partial; that of its fetcher's notes has ".ranges" more. */
#define QVL_HUB_PARTIAL ".qvl-part"

struct qvl_hub_store;

/* Makes the folders and takes the model's lock, or says in *is_busy that another program fetches it just now (QVL_OK,
 * *out is left as it was; ask again). ref->source: QVL_HUB_HF (also for a mirror) or QVL_HUB_MODELSCOPE; ref->revision:
 * as asked for ("main" and "master" spelled out). commit: what the revision stands for, hex; at ModelScope, which does
 * not tell it, the revision itself. local_dir: NULL, or the plain folder. QVL_ERR_FILE: a folder cannot be written. */
enum qvl_status qvl_hub_store_open(const struct qvl_hub_ref *ref, const char *commit, const char *local_dir,
                                   struct qvl_hub_store **out, bool *is_busy, struct qvl_error *err);
void qvl_hub_store_close(struct qvl_hub_store *store); /* lets the lock go; NULL is fine */

/* A folder on the disk that will hold the bytes, to ask for its room; store's lifetime. */
const char *qvl_hub_store_folder(const struct qvl_hub_store *store);
enum qvl_hub_found {
    QVL_HUB_NOT_FOUND,
    QVL_HUB_FOUND_UNCHECKED, /* of this name and size; nobody vouches for its sum */
    QVL_HUB_FOUND
};
/* Whether a file of that sum (HF's blobs) or name (others) and of that size is there, also from earlier commits. path:
 * where it can be read. */
enum qvl_hub_found qvl_hub_store_find(struct qvl_hub_store *store, const struct qvl_hub_file *file, char path[4096]);
/* Where the file's bytes are gathered: on the same disk as its final name, told apart by its sum, never read by other
 * programs as if it were whole; its folder is there. path + ".ranges" is the fetcher's, too. */
enum qvl_status qvl_hub_store_partial(struct qvl_hub_store *store, const struct qvl_hub_file *file, char path[4096],
                                      struct qvl_error *err);
/* The partial, whose sum was checked and whose bytes are on the disk (fsync), gets its final name; its ".ranges" goes.
 * One that was there under this name and differs is replaced. */
enum qvl_status qvl_hub_store_commit(struct qvl_hub_store *store, const struct qvl_hub_file *file,
                                     struct qvl_error *err);
/* What is there under the file's name is not what its sum says (found by checking): away with it. is_folder_kept: but not
 * from the folder itself, where it may be right for an earlier version that stays. */
enum qvl_status qvl_hub_store_drop(struct qvl_hub_store *store, const struct qvl_hub_file *file, bool is_folder_kept,
                                   struct qvl_error *err);
/* A new empty folder of this program's own, from which a model can be read that is not whole; gone after finish and leave. */
enum qvl_status qvl_hub_store_make_view(struct qvl_hub_store *store, char path[4096], struct qvl_error *err);
/* The file, whole or a partial, is seen in that folder. */
enum qvl_status qvl_hub_store_add_to_view(struct qvl_hub_store *store, const struct qvl_hub_file *file, bool is_partial,
                                          struct qvl_error *err);
/* Nothing of the n files shall stay but what was there before (is_there) in a model that has a revision, and what another
 * program needs by now. */
void qvl_hub_store_leave(struct qvl_hub_store *store, const struct qvl_hub_file *file, size_t n);
/* All n files are there: the revision now stands for this commit, and the model is whole. path: the folder to give as -m. */
enum qvl_status qvl_hub_store_finish(struct qvl_hub_store *store, const struct qvl_hub_file *file, size_t n,
                                     char path[4096], struct qvl_error *err);

#endif
