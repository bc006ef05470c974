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
    struct qvl_bytes path;    /* holds the name where qvl_tokenizer_file_read has made it */
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

/* Of a model folder: tokenizer.json, or else the three older files; of a pair of GGUF files the text model's. */
enum qvl_status qvl_tokenizer_file_read(const char *model_dir, struct qvl_tokenizer_file *out, struct qvl_error *err);
/* Appends raw bytes as the files spell them: in GPT-2's alphabet. */
enum qvl_status qvl_token_spell(const char *bytes, size_t n, struct qvl_bytes *out, struct qvl_error *err);
/* n bytes of a tokenizer.json. */
enum qvl_status qvl_tokenizer_file_parse(const char *json, size_t n, struct qvl_tokenizer_file *out,
                                         struct qvl_error *err);
/* The three older files of a model folder. */
enum qvl_status qvl_tokenizer_file_read_parts(const char *model_dir, struct qvl_tokenizer_file *out,
                                              struct qvl_error *err);
/* For readers of other forms. The next token of the base vocabulary, n bytes in GPT-2's alphabet, whose id goes into
 * file->id[file->token.n - 1]; the next merge, "left right"; an added token, each once. Then whether all is there. */
enum qvl_status qvl_tokenizer_file_add_token(struct qvl_tokenizer_file *file, const char *text, size_t n,
                                             struct qvl_error *err);
enum qvl_status qvl_tokenizer_file_add_merge(struct qvl_tokenizer_file *file, const char *text, size_t n,
                                             struct qvl_error *err);
enum qvl_status qvl_tokenizer_file_add_added(struct qvl_tokenizer_file *file, enum qvl_added_token which, uint32_t id,
                                             struct qvl_error *err);
enum qvl_status qvl_tokenizer_file_check(const struct qvl_tokenizer_file *file, struct qvl_error *err);
void qvl_tokenizer_file_free(struct qvl_tokenizer_file *file);

#endif
