/* config_write.h: struct qvl_config as the files of a model folder, for models that come without them. */
#ifndef QVL_LOAD_CONFIG_WRITE_H
#define QVL_LOAD_CONFIG_WRITE_H

#include "base/bytes.h"
#include "load/config.h"

/* A small file of a model folder. */
struct qvl_small_file {
    const char *name;
    struct qvl_bytes text;
};

void qvl_small_files_free(struct qvl_small_file *file, size_t n); /* and the array */

enum { QVL_N_CONFIG_FILE = 4 };

/* config.json (without quantization_config) and its siblings; qvl_config_load reads the same numbers out of them,
 * given the same chat template. The texts are the caller's to free, also on failure. */
enum qvl_status qvl_config_write(const struct qvl_config *config, struct qvl_small_file out[QVL_N_CONFIG_FILE],
                                 struct qvl_error *err);

#endif
