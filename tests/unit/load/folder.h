/* folder.h: model folders in a temporary place, written byte by byte so that a test can break any of them. */
#ifndef QVL_TEST_FOLDER_H
#define QVL_TEST_FOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "reference_tiny.h"

/* cmocka set-up and tear-down: *state is the path of a new empty folder, removed with what is in it. */
int folder_open(void **state);
int folder_close(void **state);

void folder_write(const char *dir, const char *name, const void *data, size_t n);
void folder_write_text(const char *dir, const char *name, const char *text);
void folder_remove(const char *dir, const char *name);
const char *folder_path(const char *dir, const char *name); /* valid until the next call */

/* `text` with the first `from` replaced, which must be there; the caller's to free. */
char *replace(const char *text, const char *from, const char *to);

/* A .safetensors file from the text of its header and n_data bytes of data. */
void folder_write_safetensors(const char *dir, const char *name, const char *header, const void *data,
                              size_t n_data);

/* Header of tensors [first, end) of the reference's list, packed without holes; the caller's to free. Bytes of
 * their data in *n_data. */
char *reference_header(size_t first, size_t end, size_t *n_data);
/* n bytes of bf16 values near 1 (finite); the caller's to free. */
uint8_t *bf16_data(size_t n_bytes);

/* config.json and one model.safetensors of the reference's tiny model. */
void folder_write_model(const char *dir);

#endif
