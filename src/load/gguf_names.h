/* gguf_names.h: the names of this family's tensors in llama.cpp's files and in qvl, in one table that reading and writing
 * both ask. Source: MODEL.md, "GGUF". */
#ifndef QVL_LOAD_GGUF_NAMES_H
#define QVL_LOAD_GGUF_NAMES_H

#include "load/config.h"

enum qvl_gguf_file { QVL_GGUF_TEXT, QVL_GGUF_MMPROJ };

/* Of a canonical name (load/weights.h), the name in a GGUF file and which of the two. v.deepstack is numbered by the
 * block that is tapped, hence config. The patch embedding's weight is two tensors there, "v.patch_embd.weight" (this
 * function's answer) and the same with ".1" behind it: the kernels of the two frames. False: no name of ours. */
bool qvl_gguf_name_of(const struct qvl_config *config, const char *canonical, enum qvl_gguf_file *file, char *out,
                      size_t n_out);
/* The other way; "v.patch_embd.weight.1" gives false. */
bool qvl_gguf_canonical_of(const struct qvl_config *config, enum qvl_gguf_file file, const char *name, char *out,
                           size_t n_out);

#endif
