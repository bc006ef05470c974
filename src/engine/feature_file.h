/* feature_file.h: the features of one temporal patch as a file, for the vision cache's folder (feature_folder.h).
 *
 * A header, then the rows as they lie in memory: what is read back has the same bits. The header has what the rows
 * are (numbers, and the file's own name) and SHA-256 over all of it, so a file that was torn by a power cut, cut
 * short, moved to another name or written by another version is told from a good one. Numbers are the machine's
 * own. */
#ifndef QVL_ENGINE_FEATURE_FILE_H
#define QVL_ENGINE_FEATURE_FILE_H

#include "model/vision.h"

struct qvl_feature_name {
    uint8_t sha256[32];
};

/* Of a file with these features. */
uint64_t qvl_feature_file_bytes(const struct qvl_features *features);
/* Into an empty file. False: errno says why. */
bool qvl_feature_file_write(int fd, const struct qvl_feature_name *name, const struct qvl_features *features);

enum qvl_feature_verdict {
    QVL_FEATURE_GOOD,
    QVL_FEATURE_DAMAGED, /* not what was written under this name; also what cannot be read */
    QVL_FEATURE_NO_MEMORY
};
/* Where it is good, *out gets features as `want` says (n, n_level, n_hidden of it), in memory of their own. */
enum qvl_feature_verdict qvl_feature_file_read(int fd, const struct qvl_feature_name *name,
                                               const struct qvl_features *want, struct qvl_features *out);

#endif
