/* vectors.h: the reference's vectors of this folder (reference/tokenizer_vectors.py, chat_vectors.py). */
#ifndef QVL_TESTS_TEXT_VECTORS_H
#define QVL_TESTS_TEXT_VECTORS_H

#include <jansson.h>

#include "text/tokenizer.h"

#define DATA_DIR "tests/unit/text/data/"

/* Calls `each` with every line of DATA_DIR/name, and returns how many there were. */
size_t for_each_line(const char *name, void (*each)(const json_t *line, void *arg), void *arg);

/* Folder of the published tokenizer's data, or NULL with a loud line (QVL_DATA, else ../shared/data). */
const char *data_tokenizer_dir(void);

/* The whole of a file; the caller frees it. */
char *read_whole(const char *path, size_t *n);

#endif
