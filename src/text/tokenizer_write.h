/* tokenizer_write.h: a tokenizer as tokenizer.json, for models that come without one. */
#ifndef QVL_TEXT_TOKENIZER_WRITE_H
#define QVL_TEXT_TOKENIZER_WRITE_H

#include "text/tokenizer_file.h"

/* Appends the text that qvl_tokenizer_file_parse reads the same file out of, and the tokenizers library the same
 * tokenizer. */
enum qvl_status qvl_tokenizer_write(const struct qvl_tokenizer_file *file, struct qvl_bytes *out,
                                    struct qvl_error *err);

#endif
