/* tokenizer.json (or vocab.json + merges.txt + tokenizer_config.json) in, byte strings and ids out.
 *
 * A tokenizer.json is a program: normaliser, regular expression, added tokens. Nothing of it is executed. The two
 * big lists are read; every other leaf of the file is a "setting", named by its path ("pre_tokenizer.type"), and
 * must be one that this code implements (the table below), else the file is refused. Settings that change no id
 * are let through.
 * Token strings are written in GPT-2's alphabet, one printable character for each byte; they leave as bytes. */
#include "text/tokenizer_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/json_reader.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/utf8.h"
#include "text/split.h"
#include "text/tokenizer_gguf.h"

#define N_OF(a) (sizeof(a) / sizeof(a)[0])

const struct qvl_added_token_text qvl_added_token_text[QVL_N_ADDED_TOKEN] = {
    [QVL_TOK_ENDOFTEXT] = {"<|endoftext|>", true},
    [QVL_TOK_IM_START] = {"<|im_start|>", true},
    [QVL_TOK_IM_END] = {"<|im_end|>", true},
    [QVL_TOK_OBJECT_REF_START] = {"<|object_ref_start|>", true},
    [QVL_TOK_OBJECT_REF_END] = {"<|object_ref_end|>", true},
    [QVL_TOK_BOX_START] = {"<|box_start|>", true},
    [QVL_TOK_BOX_END] = {"<|box_end|>", true},
    [QVL_TOK_QUAD_START] = {"<|quad_start|>", true},
    [QVL_TOK_QUAD_END] = {"<|quad_end|>", true},
    [QVL_TOK_VISION_START] = {"<|vision_start|>", true},
    [QVL_TOK_VISION_END] = {"<|vision_end|>", true},
    [QVL_TOK_VISION_PAD] = {"<|vision_pad|>", true},
    [QVL_TOK_IMAGE_PAD] = {"<|image_pad|>", true},
    [QVL_TOK_VIDEO_PAD] = {"<|video_pad|>", true},
    [QVL_TOK_TOOL_CALL] = {"<tool_call>", false},
    [QVL_TOK_TOOL_CALL_END] = {"</tool_call>", false},
    [QVL_TOK_FIM_PREFIX] = {"<|fim_prefix|>", false},
    [QVL_TOK_FIM_MIDDLE] = {"<|fim_middle|>", false},
    [QVL_TOK_FIM_SUFFIX] = {"<|fim_suffix|>", false},
    [QVL_TOK_FIM_PAD] = {"<|fim_pad|>", false},
    [QVL_TOK_REPO_NAME] = {"<|repo_name|>", false},
    [QVL_TOK_FILE_SEP] = {"<|file_sep|>", false},
    [QVL_TOK_TOOL_RESPONSE] = {"<tool_response>", false},
    [QVL_TOK_TOOL_RESPONSE_END] = {"</tool_response>", false},
    [QVL_TOK_THINK] = {"<think>", false},
    [QVL_TOK_THINK_END] = {"</think>", false},
};

/* What a setting may be. `text` is the string, or NULL for the other events. A path may stand twice. */
struct setting {
    const char *path;
    enum qvl_json_event event;
    const char *text;
    bool is_required;
};

static const struct setting known_settings[] = {
    {"normalizer.type", QVL_JSON_STRING, "NFC", true},
    {"pre_tokenizer.type", QVL_JSON_STRING, "Sequence", true},
    {"pre_tokenizer.pretokenizers[0].type", QVL_JSON_STRING, "Split", true},
    {"pre_tokenizer.pretokenizers[0].pattern.Regex", QVL_JSON_STRING, QVL_SPLIT_REGEX, true},
    {"pre_tokenizer.pretokenizers[0].behavior", QVL_JSON_STRING, "Isolated", true},
    {"pre_tokenizer.pretokenizers[0].invert", QVL_JSON_FALSE, NULL, true},
    {"pre_tokenizer.pretokenizers[1].type", QVL_JSON_STRING, "ByteLevel", true},
    {"pre_tokenizer.pretokenizers[1].add_prefix_space", QVL_JSON_FALSE, NULL, true},
    {"pre_tokenizer.pretokenizers[1].use_regex", QVL_JSON_FALSE, NULL, true},
    {"post_processor", QVL_JSON_NULL, NULL, false},
    {"post_processor.type", QVL_JSON_STRING, "ByteLevel", false},
    {"decoder.type", QVL_JSON_STRING, "ByteLevel", true},
    {"model.type", QVL_JSON_STRING, "BPE", true},
    {"model.dropout", QVL_JSON_NULL, NULL, false},
    {"model.unk_token", QVL_JSON_NULL, NULL, false},
    {"model.continuing_subword_prefix", QVL_JSON_NULL, NULL, false},
    {"model.continuing_subword_prefix", QVL_JSON_STRING, "", false},
    {"model.end_of_word_suffix", QVL_JSON_NULL, NULL, false},
    {"model.end_of_word_suffix", QVL_JSON_STRING, "", false},
    {"model.fuse_unk", QVL_JSON_FALSE, NULL, false},
    {"model.byte_fallback", QVL_JSON_FALSE, NULL, false},
    {"model.ignore_merges", QVL_JSON_FALSE, NULL, false},
};
_Static_assert(N_OF(known_settings) <= 32, "one bit each in settings_seen");

/* Beginnings of paths that change no id of a text and no byte of a token. truncation and padding are those of
 * the training run that wrote the file. */
static const char *const free_settings[] = {
    "version",
    "truncation",
    "padding",
    "pre_tokenizer.pretokenizers[1].trim_offsets",
    "post_processor.add_prefix_space",
    "post_processor.trim_offsets",
    "post_processor.use_regex",
    "decoder.add_prefix_space",
    "decoder.trim_offsets",
    "decoder.use_regex",
};

/* ---- byte strings --------------------------------------------------------------------------------- */

const char *qvl_strings_get(const struct qvl_strings *s, size_t i, size_t *n)
{
    size_t begin = i ? s->end[i - 1] : 0;
    *n = s->end[i] - begin;
    return s->bytes.data + begin;
}

/* Ends the string whose bytes were appended since the last call. */
static enum qvl_status end_string(struct qvl_strings *s, struct qvl_error *err)
{
    size_t *end = qvl_grow(s->end, &s->n_alloc, s->n + 1, sizeof *end, "the tokenizer's strings", err);
    if (!end)
        return err->status;
    s->end = end;
    s->end[s->n++] = s->bytes.n;
    return QVL_OK;
}

/* GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes, in order, for U+0100 on. -1: none. */
static int byte_of(uint32_t cp)
{
    if ((cp >= 0x21 && cp <= 0x7E) || (cp >= 0xA1 && cp <= 0xAC) || (cp >= 0xAE && cp <= 0xFF))
        return (int)cp;
    if (cp < 0x100 || cp >= 0x100 + 68)
        return -1;
    uint32_t k = cp - 0x100;
    return (int)(k < 0x21 ? k : k < 0x21 + 34 ? k - 0x21 + 0x7F : 0xAD);
}

static uint32_t letter_of(uint8_t byte)
{
    if (byte_of(byte) >= 0)
        return byte;
    return 0x100u + (byte < 0x21 ? byte : byte < 0xAD ? byte - 0x7Fu + 0x21u : 67u);
}

enum qvl_status qvl_token_spell(const char *bytes, size_t n, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < n && !status; i++) {
        char utf8[4];
        status = qvl_bytes_add(out, utf8, qvl_utf8_encode(letter_of((uint8_t)bytes[i]), utf8), err);
    }
    return status;
}

/* Adds a string of n bytes in GPT-2's alphabet to the list, as the bytes it stands for. */
static enum qvl_status add_mapped(const struct qvl_tokenizer_file *file, struct qvl_strings *s, const char *text,
                                  size_t n, struct qvl_error *err)
{
    char bytes[QVL_MAX_TOKEN_BYTES];
    size_t n_byte = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        size_t len = qvl_utf8_decode(text + i, n - i, &cp);
        int byte = len ? byte_of(cp) : -1;
        if (byte < 0)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: the token \"%.*s\" is not in the byte-level alphabet",
                            file->name, n < 80 ? (int)n : 80, text);
        if (n_byte == sizeof bytes)
            break;
        bytes[n_byte++] = (char)byte;
        i += len;
    }
    if (n_byte == 0)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: a token of 0 bytes; 1 to %u were expected", file->name,
                        QVL_MAX_TOKEN_BYTES - 1);
    if (n_byte == sizeof bytes)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: a token of too many bytes; 1 to %u were expected", file->name,
                        QVL_MAX_TOKEN_BYTES - 1);
    enum qvl_status status = qvl_bytes_add(&s->bytes, bytes, n_byte, err);
    return status ? status : end_string(s, err);
}

/* ---- vocabulary and merges ------------------------------------------------------------------------ */

/* What stands in the file, for sentences: the value's text or its kind. */
static const char *found(const struct qvl_json_reader *j)
{
    switch (j->event) {
    case QVL_JSON_OBJECT: return qvl_text("an object");
    case QVL_JSON_ARRAY: return qvl_text("an array");
    case QVL_JSON_TRUE: return "true";
    case QVL_JSON_FALSE: return "false";
    case QVL_JSON_NULL: return "null";
    case QVL_JSON_KEY:
    case QVL_JSON_STRING:
    case QVL_JSON_INTEGER:
    case QVL_JSON_REAL: return j->string.data;
    default: return qvl_text("the end");
    }
}

static enum qvl_status unexpected(const struct qvl_tokenizer_file *file, const struct qvl_json_reader *j,
                                  const char *where, const char *expected, struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is not %s: found %.80s at byte %zu", file->name, qvl_text(where),
                    qvl_text(expected), found(j), j->at);
}

/* A decimal number below QVL_MAX_VOCAB + QVL_N_ADDED_TOKEN and nothing else. */
static bool read_id(const char *text, size_t n, uint32_t *out)
{
    uint32_t id = 0;
    if (n == 0 || n > 7)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        id = id * 10 + (uint32_t)(text[i] - '0');
    }
    *out = id;
    return id < QVL_MAX_VOCAB + QVL_N_ADDED_TOKEN;
}

enum qvl_status qvl_tokenizer_file_add_token(struct qvl_tokenizer_file *file, const char *text, size_t n,
                                             struct qvl_error *err)
{
    if (file->token.n == QVL_MAX_VOCAB)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: more than the %u tokens that qvl accepts", file->name,
                        QVL_MAX_VOCAB);
    uint32_t *id = qvl_grow(file->id, &file->n_id_alloc, file->token.n + 1, sizeof *id, "the tokenizer's ids", err);
    if (!id)
        return err->status;
    file->id = id;
    return add_mapped(file, &file->token, text, n, err);
}

/* {"token": id, …}; the opening brace is the next event. */
static enum qvl_status read_vocab(struct qvl_tokenizer_file *file, struct qvl_json_reader *j, struct qvl_error *err)
{
    enum qvl_status status = qvl_json_reader_next(j, err);
    if (status)
        return status;
    if (j->event != QVL_JSON_OBJECT || file->token.n)
        return unexpected(file, j, "the vocabulary", "one JSON object", err);
    for (;;) {
        if ((status = qvl_json_reader_next(j, err)) || j->event == QVL_JSON_OBJECT_END)
            return status;
        if ((status = qvl_tokenizer_file_add_token(file, j->string.data, j->string.n, err)) || (status = qvl_json_reader_next(j, err)))
            return status;
        if (j->event != QVL_JSON_INTEGER || !read_id(j->string.data, j->string.n, &file->id[file->token.n - 1]))
            return unexpected(file, j, "an id of the vocabulary", "a number in range", err);
    }
}

static enum qvl_status add_merge_half(struct qvl_tokenizer_file *file, const char *text, size_t n,
                                      struct qvl_error *err)
{
    if (file->merge.n >= 2 * (size_t)QVL_MAX_MERGES)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: more than the %u merges that qvl accepts", file->name,
                        QVL_MAX_MERGES);
    return add_mapped(file, &file->merge, text, n, err);
}

/* "left right": the alphabet has no space, so that the one there is divides them. */
enum qvl_status qvl_tokenizer_file_add_merge(struct qvl_tokenizer_file *file, const char *text, size_t n,
                                             struct qvl_error *err)
{
    const char *space = n ? memchr(text, ' ', n) : NULL;
    if (!space)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the merge \"%.*s\" is not two tokens with a space between",
                        file->name, n < 80 ? (int)n : 80, text);
    size_t n_left = (size_t)(space - text);
    enum qvl_status status = add_merge_half(file, text, n_left, err);
    return status ? status : add_merge_half(file, space + 1, n - n_left - 1, err);
}

/* ["left right", …] or [["left", "right"], …]; the opening bracket is the next event. */
static enum qvl_status read_merges(struct qvl_tokenizer_file *file, struct qvl_json_reader *j,
                                   struct qvl_error *err)
{
    enum qvl_status status = qvl_json_reader_next(j, err);
    if (status)
        return status;
    if (j->event != QVL_JSON_ARRAY || file->merge.n)
        return unexpected(file, j, "model.merges", "one JSON array", err);
    for (;;) {
        if ((status = qvl_json_reader_next(j, err)) || j->event == QVL_JSON_ARRAY_END)
            return status;
        if (j->event == QVL_JSON_STRING) {
            if ((status = qvl_tokenizer_file_add_merge(file, j->string.data, j->string.n, err)))
                return status;
            continue;
        }
        if (j->event != QVL_JSON_ARRAY)
            return unexpected(file, j, "an entry of model.merges", "a string or a pair of strings", err);
        for (int half = 0; half < 2; half++) {
            if ((status = qvl_json_reader_next(j, err)))
                return status;
            if (j->event != QVL_JSON_STRING)
                return unexpected(file, j, "an entry of model.merges", "a string or a pair of strings", err);
            if ((status = add_merge_half(file, j->string.data, j->string.n, err)))
                return status;
        }
        if ((status = qvl_json_reader_next(j, err)))
            return status;
        if (j->event != QVL_JSON_ARRAY_END)
            return unexpected(file, j, "an entry of model.merges", "a string or a pair of strings", err);
    }
}

/* ---- added tokens --------------------------------------------------------------------------------- */

struct added {
    uint32_t id;
    bool has_id;
    int which;            /* -1: none of the known texts */
    uint32_t flags, seen; /* bit i: flag_names[i] */
};

static const char *const flag_names[] = {"special", "single_word", "lstrip", "rstrip", "normalized"};

/* One "key": value of an added token; the key is the last event. */
static enum qvl_status read_added_field(struct qvl_tokenizer_file *file, struct qvl_json_reader *j, struct added *a,
                                        struct qvl_error *err)
{
    bool is_id = strcmp(j->string.data, "id") == 0, is_content = strcmp(j->string.data, "content") == 0;
    uint32_t flag = 0;
    for (size_t i = 0; i < N_OF(flag_names); i++)
        if (strcmp(j->string.data, flag_names[i]) == 0)
            flag = 1u << i;
    enum qvl_status status = qvl_json_reader_next(j, err);
    if (status)
        return status;
    if (is_id && j->event == QVL_JSON_INTEGER) {
        a->has_id = read_id(j->string.data, j->string.n, &a->id);
        return QVL_OK;
    }
    if (is_content && j->event == QVL_JSON_STRING) {
        for (int i = 0; i < QVL_N_ADDED_TOKEN; i++)
            if (strlen(qvl_added_token_text[i].text) == j->string.n &&
                memcmp(qvl_added_token_text[i].text, j->string.data, j->string.n) == 0)
                a->which = i;
        if (a->which >= 0)
            return QVL_OK;
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the added token \"%.60s\" is not one of the %d of this family",
                        file->name, j->string.data, QVL_N_ADDED_TOKEN);
    }
    if (flag && (j->event == QVL_JSON_TRUE || j->event == QVL_JSON_FALSE)) {
        a->seen |= flag;
        a->flags |= j->event == QVL_JSON_TRUE ? flag : 0;
        return QVL_OK;
    }
    return unexpected(file, j, "a field of an added token", "one that qvl knows, of the expected type", err);
}

enum qvl_status qvl_tokenizer_file_add_added(struct qvl_tokenizer_file *file, enum qvl_added_token which, uint32_t id,
                                             struct qvl_error *err)
{
    if (file->has_added[which])
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the added token %s stands twice", file->name,
                        qvl_added_token_text[which].text);
    file->has_added[which] = true;
    file->added_id[which] = id;
    file->n_added++;
    return QVL_OK;
}

/* The fields of one added token; its opening brace is the last event. */
static enum qvl_status read_added(struct qvl_tokenizer_file *file, struct qvl_json_reader *j, struct added a,
                                  struct qvl_error *err)
{
    enum qvl_status status;
    if (j->event != QVL_JSON_OBJECT)
        return unexpected(file, j, "an added token", "a JSON object", err);
    for (;;) {
        if ((status = qvl_json_reader_next(j, err)))
            return status;
        if (j->event == QVL_JSON_OBJECT_END)
            break;
        if ((status = read_added_field(file, j, &a, err)))
            return status;
    }
    if (a.which < 0 || !a.has_id || a.seen != (1u << N_OF(flag_names)) - 1)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: an added token lacks its id, text or one of its 5 flags",
                        file->name);
    const struct qvl_added_token_text *known = &qvl_added_token_text[a.which];
    if (a.flags != (known->is_special ? 1u : 0u))
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: the added token %s has other flags than special = %s and the rest false", file->name,
                        known->text, known->is_special ? "true" : "false");
    return qvl_tokenizer_file_add_added(file, (enum qvl_added_token)a.which, a.id, err);
}

/* tokenizer.json's list of objects with an "id" each. */
static enum qvl_status read_added_list(struct qvl_tokenizer_file *file, struct qvl_json_reader *j,
                                       struct qvl_error *err)
{
    enum qvl_status status = qvl_json_reader_next(j, err);
    if (status)
        return status;
    if (j->event != QVL_JSON_ARRAY)
        return unexpected(file, j, "added_tokens", "a JSON array", err);
    for (;;) {
        if ((status = qvl_json_reader_next(j, err)) || j->event == QVL_JSON_ARRAY_END)
            return status;
        if ((status = read_added(file, j, (struct added){.which = -1}, err)))
            return status;
    }
}

/* tokenizer_config.json's object with the id as key. */
static enum qvl_status read_added_map(struct qvl_tokenizer_file *file, struct qvl_json_reader *j,
                                      struct qvl_error *err)
{
    enum qvl_status status = qvl_json_reader_next(j, err);
    if (status)
        return status;
    if (j->event != QVL_JSON_OBJECT)
        return unexpected(file, j, "added_tokens_decoder", "a JSON object", err);
    for (;;) {
        struct added a = {.which = -1};
        if ((status = qvl_json_reader_next(j, err)) || j->event == QVL_JSON_OBJECT_END)
            return status;
        a.has_id = read_id(j->string.data, j->string.n, &a.id);
        if ((status = qvl_json_reader_next(j, err)) || (status = read_added(file, j, a, err)))
            return status;
    }
}

enum qvl_status qvl_tokenizer_file_check(const struct qvl_tokenizer_file *file, struct qvl_error *err)
{
    for (int i = 0; i < QVL_N_ADDED_TOKEN; i++)
        if (!file->has_added[i])
            return qvl_fail(err, QVL_ERR_MODEL, "%s: %u added tokens, and %s is not among them; %d were expected",
                            file->name, file->n_added, qvl_added_token_text[i].text, QVL_N_ADDED_TOKEN);
    if (file->token.n == 0)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: no vocabulary", file->name);
    return QVL_OK;
}

/* ---- tokenizer.json ------------------------------------------------------------------------------- */

/* Where the reader stands: "pre_tokenizer.pretokenizers[0].type". Of each open container, the length of its own
 * path and the index of the next element. */
struct place {
    struct qvl_bytes path;
    size_t n_own[QVL_MAX_JSON_DEPTH];
    uint32_t i_next[QVL_MAX_JSON_DEPTH];
};

static enum qvl_status check_setting(const struct qvl_tokenizer_file *file, const struct qvl_json_reader *j,
                                     const char *path, uint32_t *settings_seen, struct qvl_error *err)
{
    for (size_t i = 0; i < N_OF(free_settings); i++) {
        size_t n = strlen(free_settings[i]);
        if (strncmp(path, free_settings[i], n) == 0 && (path[n] == 0 || path[n] == '.'))
            return QVL_OK;
    }
    const struct setting *expected = NULL;
    for (size_t i = 0; i < N_OF(known_settings); i++) {
        const struct setting *s = &known_settings[i];
        if (strcmp(path, s->path) != 0)
            continue;
        expected = s;
        if (j->event == s->event &&
            (!s->text || (strcmp(j->string.data, s->text) == 0 && strlen(s->text) == j->string.n))) {
            *settings_seen |= 1u << i;
            return QVL_OK;
        }
    }
    if (!expected)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the setting %.80s is not one of this family's tokenizer",
                        file->name, path);
    return qvl_fail(err, QVL_ERR_MODEL,
                    "%s: %.80s has a value that is not this family's: found %.80s, expected %.160s", file->name,
                    path, found(j),
                    expected->text                     ? expected->text
                    : expected->event == QVL_JSON_NULL ? "null"
                                                       : "false");
}

/* Sets the path to that of a value in container d: the key just read, or with key NULL the next element. */
static enum qvl_status enter(struct place *p, uint32_t d, const struct qvl_bytes *key, struct qvl_error *err)
{
    p->path.n = p->n_own[d];
    if (!key)
        return qvl_bytes_add_format(&p->path, err, "[%u]", p->i_next[d]++);
    if (memchr(key->data, 0, key->n)) /* would cut the path short */
        return qvl_bytes_add_text(&p->path, ".?", err);
    return qvl_bytes_add_format(&p->path, err, "%s%.100s", d ? "." : "", key->data);
}

/* The value behind a key, where the path is that of one of the three lists. */
static enum qvl_status read_list(struct qvl_tokenizer_file *file, struct qvl_json_reader *j, const char *path,
                                 struct qvl_error *err)
{
    if (strcmp(path, "model.vocab") == 0)
        return read_vocab(file, j, err);
    if (strcmp(path, "model.merges") == 0)
        return read_merges(file, j, err);
    if (strcmp(path, "added_tokens") == 0)
        return read_added_list(file, j, err);
    return QVL_OK;
}

/* Events until the end of the file: lists to their readers, containers onto the path, leaves to the table. */
static enum qvl_status read_settings(struct qvl_tokenizer_file *file, struct qvl_json_reader *j, struct place *p,
                                     uint32_t *settings_seen, struct qvl_error *err)
{
    enum qvl_status status;
    for (;;) {
        uint32_t depth = j->depth;
        bool is_element = depth > 0 && !(j->is_object >> (depth - 1) & 1);
        if ((status = qvl_json_reader_next(j, err)) || j->event == QVL_JSON_END)
            return status;
        if (j->event == QVL_JSON_OBJECT_END || j->event == QVL_JSON_ARRAY_END)
            continue;
        if (j->event == QVL_JSON_KEY) {
            if ((status = enter(p, depth - 1, &j->string, err)) || (status = read_list(file, j, p->path.data, err)))
                return status;
            continue;
        }
        if (is_element && (status = enter(p, depth - 1, NULL, err)))
            return status;
        if (j->event == QVL_JSON_OBJECT || j->event == QVL_JSON_ARRAY) {
            p->n_own[depth] = p->path.n;
            p->i_next[depth] = 0;
        } else if ((status = check_setting(file, j, p->path.data ? p->path.data : "", settings_seen, err))) {
            return status;
        }
    }
}

enum qvl_status qvl_tokenizer_file_parse(const char *json, size_t n, struct qvl_tokenizer_file *file,
                                         struct qvl_error *err)
{
    struct qvl_json_reader j = {.text = json, .n = n, .name = file->name, .status = QVL_ERR_MODEL};
    struct place place = {0};
    uint32_t settings_seen = 0;
    enum qvl_status status = read_settings(file, &j, &place, &settings_seen, err);
    for (size_t i = 0; !status && i < N_OF(known_settings); i++)
        if (known_settings[i].is_required && !(settings_seen >> i & 1))
            status =
                qvl_fail(err, QVL_ERR_MODEL, "%s: the setting %s is missing", file->name, known_settings[i].path);
    if (!status)
        status = qvl_tokenizer_file_check(file, err);
    qvl_bytes_free(&place.path);
    qvl_json_reader_free(&j);
    return status;
}

/* ---- vocab.json, merges.txt, tokenizer_config.json ------------------------------------------------ */

static enum qvl_status read_vocab_json(struct qvl_tokenizer_file *file, const struct qvl_bytes *text,
                                       struct qvl_error *err)
{
    struct qvl_json_reader j = {.text = text->data, .n = text->n, .name = file->name, .status = QVL_ERR_MODEL};
    enum qvl_status status = read_vocab(file, &j, err);
    if (!status)
        status = qvl_json_reader_next(&j, err); /* the end */
    qvl_json_reader_free(&j);
    return status;
}

/* One merge a line; empty lines and the "#version" line are passed over. */
static enum qvl_status read_merges_txt(struct qvl_tokenizer_file *file, const struct qvl_bytes *text,
                                       struct qvl_error *err)
{
    for (size_t i = 0; i < text->n;) {
        const char *line = text->data + i, *end = memchr(line, '\n', text->n - i);
        size_t n = end ? (size_t)(end - line) : text->n - i;
        i += n + 1;
        if (n == 0 || (n >= 8 && memcmp(line, "#version", 8) == 0))
            continue;
        enum qvl_status status = qvl_tokenizer_file_add_merge(file, line, n, err);
        if (status)
            return status;
    }
    return QVL_OK;
}

/* Only what decides ids is looked at: class, prefix space, and the added tokens. */
static enum qvl_status read_tokenizer_config(struct qvl_tokenizer_file *file, const struct qvl_bytes *text,
                                             struct qvl_error *err)
{
    struct qvl_json_reader j = {.text = text->data, .n = text->n, .name = file->name, .status = QVL_ERR_MODEL};
    enum qvl_status status = qvl_json_reader_next(&j, err);
    if (!status && j.event != QVL_JSON_OBJECT)
        status = unexpected(file, &j, "the file", "a JSON object", err);
    while (!status && !(status = qvl_json_reader_next(&j, err)) && j.event == QVL_JSON_KEY) {
        bool is_class = strcmp(j.string.data, "tokenizer_class") == 0;
        bool is_off = strcmp(j.string.data, "add_prefix_space") == 0 || strcmp(j.string.data, "add_bos_token") == 0;
        if (strcmp(j.string.data, "added_tokens_decoder") == 0) {
            status = read_added_map(file, &j, err);
            continue;
        }
        if ((status = qvl_json_reader_next(&j, err)))
            break;
        if (is_class && (j.event != QVL_JSON_STRING || strncmp(j.string.data, "Qwen2Tokenizer", 14) != 0))
            status = unexpected(file, &j, "tokenizer_class", "Qwen2Tokenizer", err);
        else if (is_off && j.event == QVL_JSON_TRUE)
            status = unexpected(file, &j, "add_prefix_space or add_bos_token", "false", err);
        else
            status = qvl_json_reader_skip(&j, err);
    }
    if (!status)
        status = qvl_json_reader_next(&j, err); /* the end */
    qvl_json_reader_free(&j);
    return status;
}

enum qvl_status qvl_tokenizer_file_read_parts(const char *model_dir, struct qvl_tokenizer_file *file,
                                              struct qvl_error *err)
{
    static const struct {
        const char *name;
        size_t max_bytes;
        enum qvl_status (*read)(struct qvl_tokenizer_file *, const struct qvl_bytes *, struct qvl_error *);
    } part[] = {
        {"vocab.json", QVL_MAX_TOKENIZER_BYTES, read_vocab_json},
        {"merges.txt", QVL_MAX_TOKENIZER_BYTES, read_merges_txt},
        {"tokenizer_config.json", QVL_MAX_CONFIG_BYTES, read_tokenizer_config},
    };
    struct qvl_bytes path = {0}, text = {0};
    const char *name = file->name;
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < N_OF(part); i++) {
        path.n = text.n = 0;
        if ((status = qvl_bytes_add_format(&path, err, "%s/%s", model_dir, part[i].name)) ||
            (status = qvl_os_read_file(path.data, part[i].max_bytes, &text, err)))
            goto fail;
        file->name = path.data;
        if ((status = part[i].read(file, &text, err)))
            goto fail;
    }
    status = qvl_tokenizer_file_check(file, err);
fail:
    file->name = name;
    qvl_bytes_free(&path);
    qvl_bytes_free(&text);
    return status;
}

/* ---- the folder ------------------------------------------------------------------------------------ */

enum qvl_status qvl_tokenizer_file_read(const char *model_dir, struct qvl_tokenizer_file *file, struct qvl_error *err)
{
    struct qvl_bytes parts = {0}, json = {0};
    struct qvl_gguf_pair pair;
    enum qvl_status status = qvl_gguf_pair_find(model_dir, &pair, err);
    if (status || pair.is_found)
        return status ? status : qvl_tokenizer_file_read_gguf(pair.text, file, err);
    if ((status = qvl_bytes_add_format(&file->path, err, "%s/tokenizer.json", model_dir)) ||
        (status = qvl_bytes_add_format(&parts, err, "%s/vocab.json", model_dir)))
        goto fail;
    file->name = file->path.data;
    if (!qvl_os_is_there(file->name) && qvl_os_is_there(parts.data)) {
        file->path.n = 0;
        if (!(status = qvl_bytes_add(&file->path, parts.data, parts.n, err))) {
            file->name = file->path.data;
            status = qvl_tokenizer_file_read_parts(model_dir, file, err);
        }
    } else if (!(status = qvl_os_read_file(file->name, QVL_MAX_TOKENIZER_BYTES, &json, err))) {
        status = qvl_tokenizer_file_parse(json.data ? json.data : "", json.n, file, err);
    }
fail:
    qvl_bytes_free(&parts);
    qvl_bytes_free(&json);
    return status;
}

void qvl_tokenizer_file_free(struct qvl_tokenizer_file *file)
{
    qvl_bytes_free(&file->path);
    qvl_bytes_free(&file->token.bytes);
    qvl_bytes_free(&file->merge.bytes);
    free(file->token.end);
    free(file->merge.end);
    free(file->id);
    *file = (struct qvl_tokenizer_file){0};
}
