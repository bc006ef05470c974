/* safetensors.h: one .safetensors file: its header checked in every number, its bytes mapped. Knows nothing of
 * the model. Format: 8 bytes little-endian header length N, N bytes of JSON, data. */
#ifndef QVL_LOAD_SAFETENSORS_H
#define QVL_LOAD_SAFETENSORS_H

#include "base/arena.h"
#include "load/weights.h"

struct qvl_safetensors_entry {
    const char *name; /* printable ASCII, as in the file */
    enum qvl_dtype dtype;
    uint32_t n_dim;
    uint64_t dim[QVL_MAX_DIMS];
    uint64_t n_element;
    uint64_t begin, end; /* bytes from the start of the file; end <= its size */
    const uint8_t *sha256; /* [32] of these bytes, where __metadata__ has a "sha256:NAME"; else NULL */
};

/* What __metadata__ says of a file that `qvl quantize` wrote ("format": "qvl"); of others all is NULL. */
struct qvl_safetensors_packed {
    const char *version, *type;
};

#define QVL_SHA256_KEY "sha256:" /* before a tensor's name, in __metadata__ */

struct qvl_safetensors {
    const char *path;
    int fd; /* -1: none */
    uint64_t n_bytes;
    struct qvl_safetensors_entry *entry; /* in the order of their bytes */
    size_t n;
    struct qvl_safetensors_packed packed;
    const uint8_t *map; /* the whole file; NULL before qvl_safetensors_map */
};

/* The header alone: the first n bytes of a file of file_bytes. Fills path, n_bytes, entry and n; memory comes
 * from the arena. */
enum qvl_status qvl_safetensors_parse(const uint8_t *bytes, size_t n, uint64_t file_bytes, const char *path,
                                      struct qvl_arena *arena, struct qvl_safetensors *out, struct qvl_error *err);
/* Opens the file and reads its header. On failure *out holds nothing to close. */
enum qvl_status qvl_safetensors_open(const char *path, struct qvl_arena *arena, struct qvl_safetensors *out,
                                     struct qvl_error *err);
enum qvl_status qvl_safetensors_map(struct qvl_safetensors *file, struct qvl_error *err);
/* Of the map, the pages in bytes [begin, end) are not needed any more, until they are read again; those that are shared
 * with what lies beside stay. */
void qvl_safetensors_let_go(const struct qvl_safetensors *file, uint64_t begin, uint64_t end);
void qvl_safetensors_close(struct qvl_safetensors *file);

/* "BF16", "F8_E4M3". */
const char *qvl_dtype_name(enum qvl_dtype dtype);

#endif
