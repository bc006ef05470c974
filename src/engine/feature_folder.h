/* feature_folder.h: the vision cache's second level: features of temporal patches as files in a folder that may be
 * shared by any number of processes and outlives them.
 *
 * A file's name is SHA-256 over the folder's secret, the tower's identity and the patch's key (feature_cache.h),
 * which has pixels and salt: nobody can tell from the names what was seen, and neither another model nor another
 * salt ever finds it. The secret is made once, at random, and stays in the folder, so that a name is the same after
 * a restart. What is in the files is not encrypted: it is what the model saw, and who has a file and the model can
 * have the picture described. Only the permission bits guard it.
 *
 * Nothing here is worth an error to who asks: what cannot be read, was torn or is somebody else's is not there.
 *
 * Threads: find and count from any; keep from one, which may wait for the disk, but for other processes only moments. */
#ifndef QVL_ENGINE_FEATURE_FOLDER_H
#define QVL_ENGINE_FEATURE_FOLDER_H

#include "engine/feature_cache.h"
#include "engine/identity.h"

struct qvl_feature_folder;

/* Makes the folder (0700) and its secret where they are not there. max_bytes: of all its files, also those of other
 * processes. QVL_ERR_FILE: it cannot be made or written, is a link or not a folder, belongs to another user, or
 * others may write to it. */
enum qvl_status qvl_feature_folder_open(const char *path, uint64_t max_bytes, const struct qvl_identity *tower,
                                        struct qvl_feature_folder **out, struct qvl_error *err);
void qvl_feature_folder_close(struct qvl_feature_folder *folder);

/* Whether they are there; *out then gets them, as `want` says (n, n_level, n_hidden of it). They become those used
 * last. A damaged file is removed. */
bool qvl_feature_folder_find(struct qvl_feature_folder *folder, const struct qvl_feature_key *key,
                             const struct qvl_features *want, struct qvl_features *out);
/* Writes them, or, where they are there, makes them those used last; files that were not used for longest go until
 * there is room. What could never fit, and while another process holds the folder's lock: nothing happens. QVL_ERR_FILE: the disk is full or otherwise not willing;
 * there is then no trace of it. */
enum qvl_status qvl_feature_folder_keep(struct qvl_feature_folder *folder, const struct qvl_feature_key *key,
                                        const struct qvl_features *features, struct qvl_error *err);

/* Of vision_disk_bytes, n_disk_asked, n_disk_found. */
void qvl_feature_folder_count(struct qvl_feature_folder *folder, struct qvl_engine_stats *out);

#endif
