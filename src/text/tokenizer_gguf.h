/* tokenizer_gguf.h: the tokenizer that a GGUF file holds. */
#ifndef QVL_TEXT_TOKENIZER_GGUF_H
#define QVL_TEXT_TOKENIZER_GGUF_H

#include "base/gguf.h"
#include "text/tokenizer_file.h"

/* What tokenizer.ggml.token_type says of a token; the numbers are the format's. */
enum qvl_gguf_token { QVL_GGUF_NORMAL = 1, QVL_GGUF_CONTROL = 3, QVL_GGUF_USER_DEFINED = 4, QVL_GGUF_UNUSED = 5 };

/* Of the text model's file at path: into a zeroed *out. */
enum qvl_status qvl_tokenizer_file_read_gguf(const char *path, struct qvl_tokenizer_file *out, struct qvl_error *err);
/* The same of a file whose header is read. */
enum qvl_status qvl_tokenizer_file_parse_gguf(const struct qvl_gguf *gguf, struct qvl_tokenizer_file *out,
                                              struct qvl_error *err);

#endif
