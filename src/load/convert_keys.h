/* convert_keys.h: what the two GGUF files of a model say of it besides tensors and tokenizer. */
#ifndef QVL_LOAD_CONVERT_KEYS_H
#define QVL_LOAD_CONVERT_KEYS_H

#include "load/config.h"
#include "load/gguf_names.h"
#include "load/gguf_write.h"

struct qvl_convert_label {
    const char *name; /* general.name */
    size_t n_name;
    uint64_t n_parameter; /* of this file */
    enum qvl_convert_type type;
};

/* Keys of the file, in llama.cpp's order. QVL_ERR_MODEL: a setting that the format has no word for. */
enum qvl_status qvl_convert_add_keys(const struct qvl_config *config, const struct qvl_convert_label *label,
                                     enum qvl_gguf_file file, struct qvl_gguf_out *out, struct qvl_error *err);

#endif
