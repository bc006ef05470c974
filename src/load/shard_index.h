/* shard_index.h: model.safetensors.index.json, which says in which of a checkpoint's files each tensor lies. */
#ifndef QVL_LOAD_SHARD_INDEX_H
#define QVL_LOAD_SHARD_INDEX_H

#include "load/json.h"
#include "load/safetensors.h"

#define QVL_SHARD_NAME_BYTES 33 /* "model-00001-of-00004.safetensors" and NUL */

struct qvl_shard_index {
    const char *path;
    json_t *map;      /* tensor name to file name; entries are taken out as they are found */
    uint32_t n_shard; /* files 1..n_shard of n_shard, each with a tensor at least */
};

/* Takes over root. Every file name must be model-NNNNN-of-NNNNN.safetensors, so that none leads out of the
 * folder. */
enum qvl_status qvl_shard_index_parse(json_t *root, const char *path, struct qvl_shard_index *out,
                                      struct qvl_error *err);
void qvl_shard_name(uint32_t i_shard, uint32_t n_shard, char out[QVL_SHARD_NAME_BYTES]); /* from 1 */
/* The tensors of one file must be listed, and for this file. */
enum qvl_status qvl_shard_index_check(struct qvl_shard_index *index, uint32_t i_shard,
                                      const struct qvl_safetensors *file, struct qvl_error *err);
/* After all files: nothing listed may be left over. */
enum qvl_status qvl_shard_index_check_end(const struct qvl_shard_index *index, struct qvl_error *err);
void qvl_shard_index_free(struct qvl_shard_index *index);

#endif
