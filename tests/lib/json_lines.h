/* json_lines.h: vectors of the reference with one JSON value a line, and where the published tokenizer lies. */
#ifndef QVL_TESTS_JSON_LINES_H
#define QVL_TESTS_JSON_LINES_H

#include <jansson.h>

/* Calls `each` with every line of the file, and returns how many there were. */
size_t for_each_line(const char *path, void (*each)(const json_t *line, void *arg), void *arg);

/* Folder of the published tokenizer's data, or NULL with a loud line (QVL_DATA, else ../shared/data). */
const char *data_tokenizer_dir(void);

#endif
