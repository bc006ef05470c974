/* vectors.h: the reference's vectors of this folder (reference/tokenizer_vectors.py, chat_vectors.py). */
#ifndef QVL_TESTS_TEXT_VECTORS_H
#define QVL_TESTS_TEXT_VECTORS_H

#include "../../lib/json_lines.h"
#include "text/tokenizer.h"

#define DATA_DIR "tests/unit/text/data/"

/* The whole of a file; the caller frees it. */
char *read_whole(const char *path, size_t *n);

#endif
