/* safetensors_write.h: the header of a .safetensors file to be written: where each tensor goes, and its text. */
#ifndef QVL_LOAD_SAFETENSORS_WRITE_H
#define QVL_LOAD_SAFETENSORS_WRITE_H

#include "base/bytes.h"
#include "load/weights.h"

enum { QVL_SHA256_BYTES = 32 };

struct qvl_safetensors_out {
    const struct qvl_tensor *tensor; /* a packed one becomes a row of I8 */
    uint64_t begin;                  /* data byte */
    uint8_t sha256[QVL_SHA256_BYTES];
};

/* Puts them into an order in which every packed tensor begins at a multiple of 64 bytes and the others at one of
 * their element's size, and fills begin. Returns the bytes of all. */
uint64_t qvl_safetensors_place(struct qvl_safetensors_out *out, size_t n);

/* Appends the 8 bytes of length and the JSON text, padded so that the data behind begins at a multiple of 64.
 * metadata: pairs of a key and its value, ready to stand in quotes, for __metadata__ before the checksums. As long
 * for any checksums: a file can get its header last. */
enum qvl_status qvl_safetensors_header(const struct qvl_safetensors_out *out, size_t n,
                                       const char *const (*metadata)[2], size_t n_metadata, struct qvl_bytes *text,
                                       struct qvl_error *err);

#endif
