/* weights.h: what the model room binds to: every tensor of the checkpoint by its canonical name, mapped from
 * the files, not copied.
 *
 * Canonical names are those of transformers: "model.language_model.…", "model.visual.…", "lm_head.weight";
 * other prefixes met in the wild (spec §1.4) are normalised here. */
#ifndef QVL_LOAD_WEIGHTS_H
#define QVL_LOAD_WEIGHTS_H

#include "base/dtype.h"
#include "load/config.h"

#define QVL_MAX_DIMS 5

struct qvl_tensor {
    const char *name;      /* canonical; weights lifetime */
    enum qvl_dtype dtype;
    uint32_t n_dim;
    uint64_t dim[QVL_MAX_DIMS]; /* outer to inner */
    uint64_t n_element;
    const void *data;      /* row-major, aligned to the element; NULL before qvl_weights_map; weights lifetime */
};

struct qvl_weights;

/* Opens the folder's model.safetensors, or the shards that model.safetensors.index.json lists, and checks the
 * headers against the table of tensors that `config` asks for: each there once, with its shape and a type of
 * bf16, f16 or f32, and none besides (a tied head stored again is allowed when its shape agrees). Reads
 * no weights. */
enum qvl_status qvl_weights_open(const char *model_dir, const struct qvl_config *config,
                                 struct qvl_weights **out, struct qvl_error *err);
/* Maps the files: fills the data pointers. A tensor not aligned to its element is copied. */
enum qvl_status qvl_weights_map(struct qvl_weights *weights, struct qvl_error *err);
void qvl_weights_close(struct qvl_weights *weights);

/* NULL when the config asks for no such tensor (a mistake of the caller). */
const struct qvl_tensor *qvl_weights_find(const struct qvl_weights *weights, const char *canonical_name);
uint64_t qvl_weights_bytes(const struct qvl_weights *weights);
size_t qvl_weights_n_tensor(const struct qvl_weights *weights);
const struct qvl_tensor *qvl_weights_at(const struct qvl_weights *weights, size_t i);

#endif
