/* weights_gguf.h: the tensors of a model in two GGUF files; for weights.c. */
#ifndef QVL_LOAD_WEIGHTS_GGUF_H
#define QVL_LOAD_WEIGHTS_GGUF_H

#include "load/gguf_names.h"
#include "load/stored.h"

struct qvl_gguf_model {
    struct qvl_gguf file[2];      /* by enum qvl_gguf_file */
    struct qvl_gguf_parts *parts; /* [n_tensor] of the table */
    struct qvl_stored *stored;    /* the same */
    uint64_t n_bytes;
};

/* Opens the two files and holds their tensors against the table tensor[n]: each there once with its shape, and none
 * besides. Fills dtype and, but for data, stored. On failure *out holds nothing to close; memory comes from the
 * arena. */
enum qvl_status qvl_gguf_model_open(const struct qvl_gguf_pair *pair, const struct qvl_config *config,
                                    struct qvl_arena *arena, struct qvl_tensor *tensor, size_t n,
                                    struct qvl_gguf_model *out, struct qvl_error *err);
/* Fills the data of the same table. */
enum qvl_status qvl_gguf_model_map(struct qvl_gguf_model *model, struct qvl_tensor *tensor, size_t n,
                                   struct qvl_error *err);
/* Of tensor i, the pages are not needed any more. */
void qvl_gguf_model_let_go(const struct qvl_gguf_model *model, size_t i);
/* Of tensor i in the files. */
uint64_t qvl_gguf_model_bytes(const struct qvl_gguf_model *model, size_t i);
void qvl_gguf_model_close(struct qvl_gguf_model *model);

#endif
