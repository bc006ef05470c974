/* tokenizer_file.h: the tokenizer's files, read and checked, before any table is built. */
#ifndef QVL_TEXT_TOKENIZER_FILE_H
#define QVL_TEXT_TOKENIZER_FILE_H

#include "text/tokenizer.h"

/* Byte strings one after another. A zeroed struct is empty. */
struct qvl_strings {
    struct qvl_bytes bytes;
    size_t *end; /* string i is bytes [end[i-1], end[i]) */
    size_t n, n_alloc;
};
const char *qvl_strings_get(const struct qvl_strings *s, size_t i, size_t *n);

struct qvl_tokenizer_file {
    const char *name;         /* for sentences */
    struct qvl_strings token; /* [n_token] of the base vocabulary, as raw bytes, in the order of the file */
    uint32_t *id;             /* [token.n] */
    size_t n_id_alloc;
    struct qvl_strings merge; /* [2 * n_merge]: left, right, by rank */
    uint32_t added_id[QVL_N_ADDED_TOKEN];
    bool has_added[QVL_N_ADDED_TOKEN];
    uint32_t n_added; /* read so far */
};

struct qvl_added_token_text {
    const char *text;
    bool is_special;
};
/* By enum qvl_added_token. */
extern const struct qvl_added_token_text qvl_added_token_text[QVL_N_ADDED_TOKEN];

/* n bytes of a tokenizer.json. */
enum qvl_status qvl_tokenizer_file_parse(const char *json, size_t n, struct qvl_tokenizer_file *out,
                                         struct qvl_error *err);
/* The three older files of a model folder. */
enum qvl_status qvl_tokenizer_file_read_parts(const char *model_dir, struct qvl_tokenizer_file *out,
                                              struct qvl_error *err);
void qvl_tokenizer_file_free(struct qvl_tokenizer_file *file);

#endif
