/* gguf_write.h: the header of a GGUF file to be written: keys, and where each tensor goes (the format:
 * base/gguf.h). */
#ifndef QVL_LOAD_GGUF_WRITE_H
#define QVL_LOAD_GGUF_WRITE_H

#include "base/bytes.h"
#include "base/gguf.h"

enum { QVL_GGUF_ALIGNMENT = 32 }; /* what a file without general.alignment has */

/* Keys and tensors in the order of the calls. A zeroed struct is an empty file's. */
struct qvl_gguf_out {
    struct qvl_bytes keys, tensors;
    uint64_t n_key, n_tensor;
    uint64_t n_data; /* bytes of all tensors, each padded to the alignment */
};

/* A number of this kind (not QVL_GGUF_STRING or _ARRAY), or a boolean. */
enum qvl_status qvl_gguf_add_number(struct qvl_gguf_out *out, const char *key, enum qvl_gguf_kind kind,
                                    double value, struct qvl_error *err);
enum qvl_status qvl_gguf_add_string(struct qvl_gguf_out *out, const char *key, const char *text, size_t n,
                                    struct qvl_error *err);
/* An array of n elements, which the next n calls of the two functions below give. */
enum qvl_status qvl_gguf_add_array(struct qvl_gguf_out *out, const char *key, enum qvl_gguf_kind element,
                                   uint64_t n, struct qvl_error *err);
enum qvl_status qvl_gguf_put_number(struct qvl_gguf_out *out, enum qvl_gguf_kind kind, double value,
                                    struct qvl_error *err);
enum qvl_status qvl_gguf_put_string(struct qvl_gguf_out *out, const char *text, size_t n, struct qvl_error *err);
/* The keys of another, behind its own. */
enum qvl_status qvl_gguf_add_keys(struct qvl_gguf_out *out, const struct qvl_gguf_out *more, struct qvl_error *err);

/* A tensor of dim (outer to inner); *begin: its first byte, counted from the data's. */
enum qvl_status qvl_gguf_add_tensor(struct qvl_gguf_out *out, const char *name, enum qvl_ggml_type type,
                                    uint32_t n_dim, const uint64_t *dim, uint64_t *begin, struct qvl_error *err);
uint64_t qvl_gguf_row_bytes(enum qvl_ggml_type type, uint64_t n);

/* Appends the whole header, padded: the data begins behind it. */
enum qvl_status qvl_gguf_header(const struct qvl_gguf_out *out, struct qvl_bytes *header, struct qvl_error *err);
void qvl_gguf_out_free(struct qvl_gguf_out *out);

#endif
