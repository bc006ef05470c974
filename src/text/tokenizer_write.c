/* struct qvl_tokenizer_file in, tokenizer.json out: the settings that this family's files have (tokenizer_file.c
 * lists them), the tokens in the order of the file, merges as "left right". Source of truth for the layout: the
 * tokenizers library. */
#include "text/tokenizer_write.h"

#include <string.h>

#include "text/split.h"

static enum qvl_status add_added(const struct qvl_tokenizer_file *file, struct qvl_bytes *out,
                                 struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < QVL_N_ADDED_TOKEN && !status; i++) {
        const struct qvl_added_token_text *token = &qvl_added_token_text[i];
        if ((status = qvl_bytes_add_format(out, err, "%s\n    {\"id\": %u, \"content\": ", i > 0 ? "," : "",
                                           file->added_id[i])) ||
            (status = qvl_bytes_add_json_string(out, token->text, strlen(token->text), err)))
            break;
        status = qvl_bytes_add_format(out, err,
                                      ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                                      "\"normalized\": false, \"special\": %s}",
                                      token->is_special ? "true" : "false");
    }
    return status;
}

static enum qvl_status add_settings(struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status;
    if ((status = qvl_bytes_add_text(out,
                                     "\n  ],\n"
                                     "  \"normalizer\": {\"type\": \"NFC\"},\n"
                                     "  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n"
                                     "    {\"type\": \"Split\", \"pattern\": {\"Regex\": ",
                                     err)) ||
        (status = qvl_bytes_add_json_string(out, QVL_SPLIT_REGEX, strlen(QVL_SPLIT_REGEX), err)))
        return status;
    return qvl_bytes_add_text(out,
                              "}, \"behavior\": \"Isolated\", \"invert\": false},\n"
                              "    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, "
                              "\"use_regex\": false}\n"
                              "  ]},\n"
                              "  \"post_processor\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                              "\"trim_offsets\": false, \"use_regex\": false},\n"
                              "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                              "\"trim_offsets\": false, \"use_regex\": false},\n"
                              "  \"model\": {\n"
                              "    \"type\": \"BPE\", \"dropout\": null, \"unk_token\": null,\n"
                              "    \"continuing_subword_prefix\": \"\", \"end_of_word_suffix\": \"\",\n"
                              "    \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": false,\n"
                              "    \"vocab\": {",
                              err);
}

/* String i, as JSON in GPT-2's alphabet, of which `spelled` is the memory. */
static enum qvl_status spell(const struct qvl_strings *strings, size_t i, struct qvl_bytes *spelled,
                             struct qvl_error *err)
{
    size_t n;
    const char *bytes = qvl_strings_get(strings, i, &n);
    return qvl_token_spell(bytes, n, spelled, err);
}

static enum qvl_status add_tokens(const struct qvl_tokenizer_file *file, struct qvl_bytes *spelled,
                                  struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < file->token.n && !status; i++) {
        spelled->n = 0;
        if (!(status = spell(&file->token, i, spelled, err)) &&
            !(status = qvl_bytes_add_text(out, i > 0 ? ",\n      " : "\n      ", err)) &&
            !(status = qvl_bytes_add_json_string(out, spelled->data, spelled->n, err)))
            status = qvl_bytes_add_format(out, err, ": %u", file->id[i]);
    }
    return status;
}

static enum qvl_status add_merges(const struct qvl_tokenizer_file *file, struct qvl_bytes *spelled,
                                  struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i + 1 < file->merge.n && !status; i += 2) {
        spelled->n = 0;
        if (!(status = spell(&file->merge, i, spelled, err)) && !(status = qvl_bytes_add_text(spelled, " ", err)) &&
            !(status = spell(&file->merge, i + 1, spelled, err)) &&
            !(status = qvl_bytes_add_text(out, i > 0 ? ",\n      " : "\n      ", err)))
            status = qvl_bytes_add_json_string(out, spelled->data, spelled->n, err);
    }
    return status;
}

enum qvl_status qvl_tokenizer_write(const struct qvl_tokenizer_file *file, struct qvl_bytes *out,
                                    struct qvl_error *err)
{
    struct qvl_bytes spelled = {0};
    enum qvl_status status;
    if ((status = qvl_bytes_add_text(out,
                                     "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
                                     "  \"added_tokens\": [",
                                     err)) ||
        (status = add_added(file, out, err)) || (status = add_settings(out, err)) ||
        (status = add_tokens(file, &spelled, out, err)) ||
        (status = qvl_bytes_add_text(out, "\n    },\n    \"merges\": [", err)) ||
        (status = add_merges(file, &spelled, out, err)))
        goto fail;
    status = qvl_bytes_add_text(out, "\n    ]\n  }\n}\n", err);
fail:
    qvl_bytes_free(&spelled);
    return status;
}
