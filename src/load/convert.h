/* convert.h: qvl_converter of qvl.h but for the tokenizer, which another room reads. */
#ifndef QVL_LOAD_CONVERT_H
#define QVL_LOAD_CONVERT_H

#include "load/config.h"
#include "load/gguf_write.h"

/* As qvl_converter_open. config: the model's; tokenizer: keys for the text file, read during the call only. */
enum qvl_status qvl_converter_begin(const struct qvl_converter_options *options, const struct qvl_config *config,
                                    const struct qvl_gguf_out *tokenizer, struct qvl_converter **out,
                                    struct qvl_error *err);

#endif
