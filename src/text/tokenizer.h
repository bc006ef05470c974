/* tokenizer.h: text to token ids and back, equal to the Hugging Face tokenizers library for this family
 * (MODEL.md, "Tokenizer"). */
#ifndef QVL_TEXT_TOKENIZER_H
#define QVL_TEXT_TOKENIZER_H

#include "base/bytes.h"

struct qvl_tokenizer;

/* The 26 added tokens of the family, in the order of the published ids. Their ids come from the file. */
enum qvl_added_token {
    QVL_TOK_ENDOFTEXT,
    QVL_TOK_IM_START,
    QVL_TOK_IM_END,
    QVL_TOK_OBJECT_REF_START,
    QVL_TOK_OBJECT_REF_END,
    QVL_TOK_BOX_START,
    QVL_TOK_BOX_END,
    QVL_TOK_QUAD_START,
    QVL_TOK_QUAD_END,
    QVL_TOK_VISION_START,
    QVL_TOK_VISION_END,
    QVL_TOK_VISION_PAD,
    QVL_TOK_IMAGE_PAD,
    QVL_TOK_VIDEO_PAD,
    QVL_TOK_TOOL_CALL,
    QVL_TOK_TOOL_CALL_END,
    QVL_TOK_FIM_PREFIX,
    QVL_TOK_FIM_MIDDLE,
    QVL_TOK_FIM_SUFFIX,
    QVL_TOK_FIM_PAD,
    QVL_TOK_REPO_NAME,
    QVL_TOK_FILE_SEP,
    QVL_TOK_TOOL_RESPONSE,
    QVL_TOK_TOOL_RESPONSE_END,
    QVL_TOK_THINK,
    QVL_TOK_THINK_END,
    QVL_N_ADDED_TOKEN
};

/* A growing list of ids. A zeroed struct is empty. */
struct qvl_ids {
    uint32_t *id;
    size_t n, n_alloc;
};
enum qvl_status qvl_ids_add(struct qvl_ids *ids, uint32_t id, size_t n_times, struct qvl_error *err);
void qvl_ids_free(struct qvl_ids *ids);

/* tokenizer.json, or vocab.json + merges.txt + tokenizer_config.json, of a model folder. n_vocab_rows: rows of
 * the embedding; every id must be below. */
enum qvl_status qvl_tokenizer_load(const char *model_dir, uint32_t n_vocab_rows, struct qvl_tokenizer **out,
                                   struct qvl_error *err);
/* From the bytes of a tokenizer.json (fuzzed). */
enum qvl_status qvl_tokenizer_parse(const char *json, size_t n, const char *name, uint32_t n_vocab_rows,
                                    struct qvl_tokenizer **out, struct qvl_error *err);
void qvl_tokenizer_free(struct qvl_tokenizer *tokenizer);

/* Appends the ids of n bytes of UTF-8. Linear in n up to a logarithm. want_special: the 26 added tokens are
 * recognised in the text (never for a user's text). Invalid UTF-8 is QVL_ERR_ARGUMENT. Thread-safe. */
enum qvl_status qvl_tokenizer_encode(const struct qvl_tokenizer *tokenizer, const char *utf8, size_t n,
                                     bool want_special, struct qvl_ids *out, struct qvl_error *err);
/* No text of n_bytes has fewer tokens. Encoding takes up to 36 bytes of memory for each of a text's: this tells in advance
 * what would be in vain. */
size_t qvl_tokenizer_least_tokens(const struct qvl_tokenizer *tokenizer, size_t n_bytes);
/* The raw bytes of one token (may end inside a character); *n = 0 and "" for an id the tokenizer lacks.
 * Tokenizer lifetime. */
const char *qvl_tokenizer_bytes(const struct qvl_tokenizer *tokenizer, uint32_t id, size_t *n);
/* Marked "special" in the file: left out of decoded text. */
bool qvl_tokenizer_is_special(const struct qvl_tokenizer *tokenizer, uint32_t id);
uint32_t qvl_tokenizer_added(const struct qvl_tokenizer *tokenizer, enum qvl_added_token which);
/* Number of ids (base and added): ids from here on are padding rows and never sampled. */
uint32_t qvl_tokenizer_n(const struct qvl_tokenizer *tokenizer);

#endif
