/* weights.h: what the model room binds to: every tensor of the checkpoint by its canonical name, mapped from
 * the files, not copied.
 *
 * Canonical names are those of transformers: "model.language_model.…", "model.visual.…", "lm_head.weight";
 * other prefixes met in the wild (MODEL.md, "Tensors") are normalised here. */
#ifndef QVL_LOAD_WEIGHTS_H
#define QVL_LOAD_WEIGHTS_H

#include "base/arena.h"
#include "base/dtype.h"
#include "base/pool.h"
#include "load/config.h"

#define QVL_MAX_DIMS 5

struct qvl_tensor {
    const char *name; /* canonical; weights lifetime */
    enum qvl_dtype dtype;
    uint32_t n_dim;
    uint64_t dim[QVL_MAX_DIMS]; /* outer to inner; of a packed matrix, too: as if it was not */
    uint64_t n_element;
    bool is_matrix;   /* goes into products: no norm, bias or table of positions */
    const uint8_t *sha256; /* [32] of the bytes, as the file's header says, or NULL; weights lifetime */
    const struct qvl_stored *stored; /* load/stored.h, of dtype QVL_STORED; weights lifetime */
    const void *data;      /* row-major, aligned to the element, or a packed matrix (kernel/packed.h) aligned to 64
                              bytes; NULL      before qvl_weights_map; weights lifetime */
};

struct qvl_safetensors;
struct qvl_weights;

/* The tensors that `config` asks for, sorted by name: names and shapes in the arena, data NULL, dtype QVL_BF16
 * (what the family is published in) or, where config->quantization says so, a packed one. */
enum qvl_status qvl_weights_expect(const struct qvl_config *config, struct qvl_arena *arena,
                                   struct qvl_tensor **out, size_t *out_n, struct qvl_error *err);
/* Their number, and the number of their elements. */
void qvl_weights_count(const struct qvl_config *config, size_t *n_tensor, uint64_t *n_parameter);

/* Of a table sorted by name, or NULL. */
const struct qvl_tensor *qvl_tensors_find(const struct qvl_tensor *tensor, size_t n, const char *canonical_name);

/* Opens the folder's model.safetensors, or else the shards that model.safetensors.index.json lists, or a pair of GGUF
 * files (qvl_gguf_pair_find), and checks the headers against the tensors that `config` asks for: each there once, with
 * its shape and a type of bf16, f16 or f32 or one that is stored for it (load/stored.h), and none besides (a tied head
 * stored again is allowed where it equals the embedding). Reads no weights. */
enum qvl_status qvl_weights_open(const char *model_dir, const struct qvl_config *config, struct qvl_weights **out,
                                 struct qvl_error *err);
/* Maps the files: fills the data pointers. A tensor not aligned to its element is copied. A file that another
 * program cuts short after this ends the process with SIGBUS, as with any mapped file. */
enum qvl_status qvl_weights_map(struct qvl_weights *weights, struct qvl_error *err);
/* After map: QVL_ERR_MODEL with name and index of the first value that is not finite. Reads every byte, so it
 * also warms the page cache. QVL_ERR_CANCELLED when *stop (may be NULL) became true. */
enum qvl_status qvl_weights_check_finite(const struct qvl_weights *weights, struct qvl_pool *pool,
                                         const atomic_bool *stop, struct qvl_error *err);
/* The same of n tensors. */
enum qvl_status qvl_tensors_check_finite(const struct qvl_tensor *tensor, size_t n, struct qvl_pool *pool,
                                         const atomic_bool *stop, struct qvl_error *err);
/* After map, of packed weights: QVL_ERR_MODEL with the name of a tensor whose bytes are not those of its checksum,
 * or whose scales are not finite. */
enum qvl_status qvl_weights_check_packed(const struct qvl_weights *weights, struct qvl_pool *pool,
                                         const atomic_bool *stop, struct qvl_error *err);
void qvl_weights_close(struct qvl_weights *weights);

/* NULL where the config asks for no such tensor (a mistake of the caller). */
const struct qvl_tensor *qvl_weights_find(const struct qvl_weights *weights, const char *canonical_name);
uint64_t qvl_weights_bytes(const struct qvl_weights *weights); /* of the tensors, without headers */
size_t qvl_weights_n_tensor(const struct qvl_weights *weights);
const struct qvl_tensor *qvl_weights_at(const struct qvl_weights *weights, size_t i);

/* Bytes that stand for tensor i in the files; before anything is prepared. */
uint64_t qvl_weights_file_bytes(const struct qvl_weights *weights, size_t i);

/* A file that the tensors come from; map NULL before qvl_weights_map. */
struct qvl_weights_file {
    const char *path;
    const uint8_t *map;
    uint64_t n_bytes;
};
size_t qvl_weights_n_file(const struct qvl_weights *weights);
struct qvl_weights_file qvl_weights_file(const struct qvl_weights *weights, size_t i);
/* The pages of the file that hold this tensor are not needed any more, until it is read again; what shares one with
 * a neighbour stays. */
void qvl_weights_let_go(const struct qvl_weights *weights, const struct qvl_tensor *tensor);

/* Where the bytes of a tensor lie. */
struct qvl_weights_part {
    size_t i_file;
    uint64_t begin, end;
};
/* Of one whose bytes lie elsewhere, or in several places: the last file to its end, so that all is there before it. */
struct qvl_weights_part qvl_weights_part_of(const struct qvl_weights *weights, const struct qvl_tensor *tensor);
/* Whether each tensor lies as it is in a part of a file, and qvl_weights_map reads none: what is read of the files
 * after their headers is what the caller reads. */
bool qvl_weights_is_in_parts(const struct qvl_weights *weights);

/* For load/prepare.c, whose n tensors, sorted by name, take the place of those of the files; in the arena. */
void qvl_weights_replace(struct qvl_weights *weights, struct qvl_tensor *tensor, size_t n);
struct qvl_arena *qvl_weights_arena(struct qvl_weights *weights);

#endif
