/* The keys tokenizer.ggml.* of a GGUF file in, byte strings and ids out: what tokenizer.json of the same model
 * gives.
 *
 * Token i of the list has the id i. Ordinary ones are in GPT-2's alphabet; control and user-defined ones, written
 * as they are, are the added tokens; unused ones fill the embedding's rows up and are none. Normaliser and regular
 * expression are meant by the name in tokenizer.ggml.pre; only the family's is known. Source of truth: TokenType in
 * gguf-py/gguf/constants.py and get_vocab_base in conversion/base.py of llama.cpp; MODEL.md, "GGUF". */
#include "text/tokenizer_gguf.h"

#include <inttypes.h>
#include <string.h>

#include "base/limits.h"

#define KEY(name) "tokenizer.ggml." name

static enum qvl_status check_string(const struct qvl_gguf *gguf, const char *key, const char *expected,
                                    struct qvl_error *err)
{
    const char *found;
    size_t n = 0;
    enum qvl_status status = qvl_gguf_string(gguf, key, &found, &n, err);
    if (status || (n == strlen(expected) && memcmp(found, expected, n) == 0))
        return status;
    return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is %.*s, expected %s", gguf->path, key, n < 64 ? (int)n : 64, found,
                    expected);
}

static enum qvl_status check_off(const struct qvl_gguf *gguf, const char *key, struct qvl_error *err)
{
    uint64_t is_on = 0;
    return qvl_gguf_find(gguf, key) ? qvl_gguf_u64(gguf, key, 0, 0, &is_on, err) : QVL_OK;
}

static enum qvl_status find_list(const struct qvl_gguf *gguf, const char *name, bool is_text, uint64_t max,
                                 const struct qvl_gguf_key **out, struct qvl_error *err)
{
    const struct qvl_gguf_key *key = qvl_gguf_find(gguf, name);
    bool is_list = key && key->kind == QVL_GGUF_ARRAY;
    *out = key;
    if (is_text && (!is_list || key->element != QVL_GGUF_STRING))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is not a list of texts", gguf->path, name);
    if (!is_text && (!is_list || key->element == QVL_GGUF_STRING))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is not a list of numbers", gguf->path, name);
    if (key->n <= max)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_MODEL, "%s: %s has %" PRIu64 " elements; qvl accepts %" PRIu64, gguf->path, name,
                    key->n, max);
}

static enum qvl_status add_added(struct qvl_tokenizer_file *file, const char *text, size_t n, uint32_t id,
                                 struct qvl_error *err)
{
    for (int i = 0; i < QVL_N_ADDED_TOKEN; i++)
        if (strlen(qvl_added_token_text[i].text) == n && memcmp(qvl_added_token_text[i].text, text, n) == 0)
            return qvl_tokenizer_file_add_added(file, (enum qvl_added_token)i, id, err);
    return qvl_fail(err, QVL_ERR_MODEL, "%s: the added token \"%.*s\" is not one of the family's %d", file->name,
                    n < 80 ? (int)n : 80, text, QVL_N_ADDED_TOKEN);
}

static enum qvl_status add_token(struct qvl_tokenizer_file *file, double type, const char *text, size_t n,
                                 uint32_t id, struct qvl_error *err)
{
    if (type == QVL_GGUF_UNUSED)
        return QVL_OK;
    if (type == QVL_GGUF_CONTROL || type == QVL_GGUF_USER_DEFINED)
        return add_added(file, text, n, id, err);
    if (type != QVL_GGUF_NORMAL)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: token %u is of type %g, which this family has not", file->name, id,
                        type);
    enum qvl_status status = qvl_tokenizer_file_add_token(file, text, n, err);
    if (!status)
        file->id[file->token.n - 1] = id;
    return status;
}

static enum qvl_status read_tokens(const struct qvl_gguf *gguf, struct qvl_tokenizer_file *file,
                                   struct qvl_error *err)
{
    const struct qvl_gguf_key *tokens, *types;
    enum qvl_status status;
    if ((status = find_list(gguf, KEY("tokens"), true, QVL_MAX_VOCAB, &tokens, err)) ||
        (status = find_list(gguf, KEY("token_type"), false, QVL_MAX_VOCAB, &types, err)))
        return status;
    if (tokens->n != types->n)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %" PRIu64 " tokens, but %" PRIu64 " types of tokens", gguf->path,
                        tokens->n, types->n);
    uint64_t at = tokens->at;
    for (uint32_t id = 0; id < tokens->n && !status; id++) {
        size_t n = 0;
        const char *text = qvl_gguf_next_string(gguf, &at, &n);
        status = add_token(file, qvl_gguf_number_at(gguf, types, id), text, n, id, err);
    }
    return status;
}

static enum qvl_status read_merges(const struct qvl_gguf *gguf, struct qvl_tokenizer_file *file,
                                   struct qvl_error *err)
{
    const struct qvl_gguf_key *merges;
    enum qvl_status status = find_list(gguf, KEY("merges"), true, QVL_MAX_MERGES, &merges, err);
    if (status)
        return status;
    uint64_t at = merges->at;
    for (uint64_t i = 0; i < merges->n && !status; i++) {
        size_t n = 0;
        const char *text = qvl_gguf_next_string(gguf, &at, &n);
        status = qvl_tokenizer_file_add_merge(file, text, n, err);
    }
    return status;
}

enum qvl_status qvl_tokenizer_file_parse_gguf(const struct qvl_gguf *gguf, struct qvl_tokenizer_file *file,
                                              struct qvl_error *err)
{
    enum qvl_status status;
    file->name = gguf->path;
    if ((status = check_string(gguf, KEY("model"), "gpt2", err)) ||
        (status = check_string(gguf, KEY("pre"), "qwen2", err)) ||
        (status = check_off(gguf, KEY("add_bos_token"), err)) ||
        (status = check_off(gguf, KEY("add_space_prefix"), err)) || (status = read_tokens(gguf, file, err)) ||
        (status = read_merges(gguf, file, err)))
        return status;
    return qvl_tokenizer_file_check(file, err);
}

enum qvl_status qvl_tokenizer_file_read_gguf(const char *path, struct qvl_tokenizer_file *file,
                                             struct qvl_error *err)
{
    struct qvl_arena arena = {0};
    struct qvl_gguf gguf = {.fd = -1};
    enum qvl_status status;
    if (!(status = qvl_bytes_add_text(&file->path, path, err)) &&
        !(status = qvl_gguf_open(file->path.data, &arena, &gguf, err)))
        status = qvl_tokenizer_file_parse_gguf(&gguf, file, err);
    qvl_gguf_close(&gguf);
    qvl_arena_free(&arena);
    return status;
}
