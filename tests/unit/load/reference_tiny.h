/* reference_tiny.h: a tiny model as transformers writes it. */
#ifndef QVL_TEST_REFERENCE_TINY_H
#define QVL_TEST_REFERENCE_TINY_H

#include <stddef.h>
#include <stdint.h>

struct reference_tensor {
    const char *name;
    uint32_t n_dim;
    uint64_t dim[5];
};

extern const char reference_tiny_config[];
extern const struct reference_tensor reference_tiny_tensors[]; /* sorted by name */
extern const size_t n_reference_tiny_tensor;

#endif
