/* The beginning of `qvl convert`: the tokenizer, read by one room, as keys of the file that another one writes.
 *
 * Tokens stand in the order of their ids, spelled in GPT-2's alphabet, added ones as they are; rows of the
 * embedding that no token has are named [PADn]. Source of truth: get_vocab_base of convert_hf_to_gguf.py; MODEL.md,
 * "GGUF". */
#include "load/convert.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "text/tokenizer_gguf.h"

/* What an id stands for. */
struct meaning {
    enum { NOTHING, TOKEN, ADDED } kind;
    uint32_t i; /* of file->token, or enum qvl_added_token */
};

/* Ids of both kinds are below n: qvl_tokenizer_load asks for that, too. */
static enum qvl_status find_meanings(const struct qvl_tokenizer_file *file, struct meaning *meaning, uint32_t n,
                                     struct qvl_error *err)
{
    const size_t n_token = file->token.n, n_all = n_token + QVL_N_ADDED_TOKEN;
    for (size_t i = 0; i < n_all; i++) {
        uint32_t id = i < n_token ? file->id[i] : file->added_id[i - n_token];
        if (id >= n || meaning[id].kind != NOTHING)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: the id %u stands twice, or has no row in the embedding of %u",
                            file->name, id, n);
        meaning[id] =
            i < n_token ? (struct meaning){TOKEN, (uint32_t)i} : (struct meaning){ADDED, (uint32_t)(i - n_token)};
    }
    return QVL_OK;
}

static enum qvl_status spell(const struct qvl_tokenizer_file *file, struct meaning meaning, uint32_t id,
                             struct qvl_bytes *out, struct qvl_error *err)
{
    size_t n;
    out->n = 0;
    if (meaning.kind == NOTHING)
        return qvl_bytes_add_format(out, err, "[PAD%u]", id);
    if (meaning.kind == ADDED)
        return qvl_bytes_add_text(out, qvl_added_token_text[meaning.i].text, err);
    const char *bytes = qvl_strings_get(&file->token, meaning.i, &n);
    return qvl_token_spell(bytes, n, out, err);
}

static enum qvl_gguf_token type_of(struct meaning meaning)
{
    if (meaning.kind != ADDED)
        return meaning.kind == TOKEN ? QVL_GGUF_NORMAL : QVL_GGUF_UNUSED;
    const struct qvl_added_token_text *added = &qvl_added_token_text[meaning.i];
    return added->is_special || strncmp(added->text, "<|", 2) == 0 ? QVL_GGUF_CONTROL : QVL_GGUF_USER_DEFINED;
}

static enum qvl_status add_tokens(const struct qvl_tokenizer_file *file, uint32_t n_row, struct qvl_gguf_out *out,
                                  struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    struct meaning *meaning = calloc(n_row, sizeof *meaning);
    if (!meaning)
        return qvl_fail_memory(err, n_row * sizeof *meaning, "the tokenizer's ids");
    enum qvl_status status = find_meanings(file, meaning, n_row, err);
    if (!status)
        status = qvl_gguf_add_array(out, "tokenizer.ggml.tokens", QVL_GGUF_STRING, n_row, err);
    for (uint32_t id = 0; id < n_row && !status; id++)
        if (!(status = spell(file, meaning[id], id, &text, err)))
            status = qvl_gguf_put_string(out, text.data, text.n, err);
    if (!status)
        status = qvl_gguf_add_array(out, "tokenizer.ggml.token_type", QVL_GGUF_I32, n_row, err);
    for (uint32_t id = 0; id < n_row && !status; id++)
        status = qvl_gguf_put_number(out, QVL_GGUF_I32, type_of(meaning[id]), err);
    qvl_bytes_free(&text);
    free(meaning);
    return status;
}

/* "left right": the alphabet has no space. */
static enum qvl_status add_merges(const struct qvl_tokenizer_file *file, struct qvl_gguf_out *out,
                                  struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    enum qvl_status status =
        qvl_gguf_add_array(out, "tokenizer.ggml.merges", QVL_GGUF_STRING, file->merge.n / 2, err);
    for (size_t i = 0; i < file->merge.n && !status; i += 2) {
        size_t n_left, n_right;
        const char *left = qvl_strings_get(&file->merge, i, &n_left);
        text.n = 0;
        if ((status = qvl_token_spell(left, n_left, &text, err)) || (status = qvl_bytes_add_text(&text, " ", err)))
            break;
        const char *right = qvl_strings_get(&file->merge, i + 1, &n_right);
        if (!(status = qvl_token_spell(right, n_right, &text, err)))
            status = qvl_gguf_put_string(out, text.data, text.n, err);
    }
    qvl_bytes_free(&text);
    return status;
}

static enum qvl_status add_special(const struct qvl_tokenizer_file *file,
                                   const struct qvl_generation_config *generation, struct qvl_gguf_out *out,
                                   struct qvl_error *err)
{
    const uint32_t pad = file->added_id[QVL_TOK_ENDOFTEXT];
    const uint32_t eos = generation->n_eos ? generation->eos[0] : file->added_id[QVL_TOK_IM_END];
    const struct {
        const char *key;
        enum qvl_gguf_kind kind;
        uint32_t value;
    } row[] = {{"tokenizer.ggml.eos_token_id", QVL_GGUF_U32, eos},
               {"tokenizer.ggml.padding_token_id", QVL_GGUF_U32, pad},
               {"tokenizer.ggml.bos_token_id", QVL_GGUF_U32, pad},
               {"tokenizer.ggml.add_bos_token", QVL_GGUF_BOOL, false}};
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < sizeof row / sizeof *row && !status; i++)
        status = qvl_gguf_add_number(out, row[i].key, row[i].kind, row[i].value, err);
    return status;
}

static enum qvl_status add_template(const char *model_dir, struct qvl_gguf_out *out, struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    enum qvl_status status = qvl_config_read_template(model_dir, &text, err);
    if (!status && text.n)
        status = qvl_gguf_add_string(out, "tokenizer.chat_template", text.data, text.n, err);
    qvl_bytes_free(&text);
    return status;
}

static enum qvl_status add_tokenizer(const char *model_dir, const struct qvl_config *config,
                                     struct qvl_gguf_out *out, struct qvl_error *err)
{
    struct qvl_tokenizer_file file = {0};
    enum qvl_status status;
    if ((status = qvl_tokenizer_file_read(model_dir, &file, err)) ||
        (status = qvl_gguf_add_string(out, "tokenizer.ggml.model", "gpt2", 4, err)) ||
        (status = qvl_gguf_add_string(out, "tokenizer.ggml.pre", "qwen2", 5, err)) ||
        (status = add_tokens(&file, config->text.vocab, out, err)) || (status = add_merges(&file, out, err)) ||
        (status = add_special(&file, &config->generation, out, err)))
        goto fail;
    status = add_template(model_dir, out, err);
fail:
    qvl_tokenizer_file_free(&file);
    return status;
}

static enum qvl_status check_options(const struct qvl_converter_options *o, struct qvl_error *err)
{
    if (!o->model_dir || !o->out)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "no model folder was given");
    if ((unsigned)o->type > QVL_CONVERT_BF16)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%d is no type of GGUF", (int)o->type);
    if (o->n_thread > QVL_MAX_THREADS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%u threads: at most %u are allowed", o->n_thread, QVL_MAX_THREADS);
    return QVL_OK;
}

enum qvl_status qvl_converter_open(const struct qvl_converter_options *options, struct qvl_converter **out,
                                   struct qvl_error *err)
{
    struct qvl_gguf_out tokenizer = {0};
    struct qvl_config config;
    enum qvl_status status = check_options(options, err);
    if (status)
        return status;
    if (!(status = qvl_config_load(options->model_dir, &config, err)))
        status = add_tokenizer(options->model_dir, &config, &tokenizer, err);
    if (status == QVL_ERR_FILE) /* that is about what is written */
        status = err->status = QVL_ERR_MODEL;
    if (!status)
        status = qvl_converter_begin(options, &config, &tokenizer, out, err);
    qvl_gguf_out_free(&tokenizer);
    return status;
}
