/* config_gguf.h: the configuration of a model in two GGUF files. */
#ifndef QVL_LOAD_CONFIG_GGUF_H
#define QVL_LOAD_CONFIG_GGUF_H

#include "base/gguf.h"
#include "load/config.h"

/* As qvl_config_load and qvl_config_read_template. QVL_ERR_FILE where the pair lacks one of the two. */
enum qvl_status qvl_config_load_gguf(const struct qvl_gguf_pair *pair, struct qvl_config *out, struct qvl_error *err);
enum qvl_status qvl_config_read_gguf_template(const struct qvl_gguf_pair *pair, struct qvl_bytes *out,
                                              struct qvl_error *err);

#endif
