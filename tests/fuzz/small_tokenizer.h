/* small_tokenizer.h: a tokenizer.json made on the spot, for targets that must run anywhere: 256 byte tokens, the
 * merges below, the 26 added tokens. Included by one file of a program. */
#ifndef QVL_TESTS_FUZZ_SMALL_TOKENIZER_H
#define QVL_TESTS_FUZZ_SMALL_TOKENIZER_H

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/split.h"
#include "text/tokenizer_file.h"

/* Raw bytes; the order is the rank, and not always that of training: later ones make parts of earlier ones. */
static const char *const small_merges[][2] = {
    {"aa", "aa"}, {"a", "a"}, {" ", " "}, {"  ", "  "}, {"\n", "\n"}, {" ", "t"}, {"h", "e"}, {" t", "he"},
    {"b", "c"}, {"a", "b"}, {"ab", "c"}, {"a", "bc"}, {"\xE4", "\xB8"}, {"\xE4\xB8", "\xAD"}, {"\xCC", "\x81"},
    {"e", "\xCC\x81"}, {"\xC3", "\xA9"}, {"<", "|"}, {"|", ">"}, {"i", "n"}, {"in", "g"}, {"<", "t"}, {"=", "="},
    {"==", "=="}, {"aaaa", "aaaa"}, {"\r", "\n"}, {"\xF0\x9F", "\x91"}, {"\xF0", "\x9F"}, {"n", "k"}, {"nk", ">"},
};
#define N_SMALL_MERGE (sizeof small_merges / sizeof small_merges[0])

static void small_add_byte(struct qvl_bytes *out, unsigned char byte)
{
    struct qvl_error err;
    char utf8[4];
    uint32_t cp = byte;
    if (byte <= 0x20)
        cp = 0x100u + byte;
    else if (byte >= 0x7F && byte <= 0xA0)
        cp = 0x100u + 33 + (byte - 0x7Fu);
    else if (byte == 0xAD)
        cp = 0x100u + 67;
    if (byte == '"' || byte == '\\')
        qvl_bytes_add(out, "\\", 1, &err);
    qvl_bytes_add(out, utf8, qvl_utf8_encode(cp, utf8), &err);
}

static void small_add_token(struct qvl_bytes *out, const char *s)
{
    for (; *s; s++)
        small_add_byte(out, (unsigned char)*s);
}

static struct qvl_tokenizer *small_tokenizer(void)
{
    struct qvl_error err = {0};
    struct qvl_bytes json = {0};
    struct qvl_tokenizer *t = NULL;
    qvl_bytes_add_text(&json, "{\"normalizer\":{\"type\":\"NFC\"},\"decoder\":{\"type\":\"ByteLevel\"},"
                              "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
                              "\"behavior\":\"Isolated\",\"invert\":false,\"pattern\":{\"Regex\":", &err);
    qvl_bytes_add_json_string(&json, QVL_SPLIT_REGEX, strlen(QVL_SPLIT_REGEX), &err);
    qvl_bytes_add_text(&json, "}},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},"
                              "\"model\":{\"type\":\"BPE\",\"vocab\":{", &err);
    for (int i = 0; i < 256; i++) {
        qvl_bytes_add_text(&json, i ? ",\"" : "\"", &err);
        small_add_byte(&json, (unsigned char)i);
        qvl_bytes_add_format(&json, &err, "\":%d", i);
    }
    size_t n = 256;
    for (size_t i = 0; i < N_SMALL_MERGE; i++) {
        const char *left = small_merges[i][0], *right = small_merges[i][1];
        if (strcmp(left, "a") == 0 && strcmp(right, "bc") == 0)
            continue; /* makes the same token as ab + c */
        qvl_bytes_add_text(&json, ",\"", &err);
        small_add_token(&json, left);
        small_add_token(&json, right);
        qvl_bytes_add_format(&json, &err, "\":%zu", n++);
    }
    qvl_bytes_add_text(&json, "},\"merges\":[", &err);
    for (size_t i = 0; i < N_SMALL_MERGE; i++) {
        qvl_bytes_add_text(&json, i ? ",[\"" : "[\"", &err);
        small_add_token(&json, small_merges[i][0]);
        qvl_bytes_add_text(&json, "\",\"", &err);
        small_add_token(&json, small_merges[i][1]);
        qvl_bytes_add_text(&json, "\"]", &err);
    }
    qvl_bytes_add_text(&json, "]},\"added_tokens\":[", &err);
    for (size_t i = 0; i < QVL_N_ADDED_TOKEN; i++)
        qvl_bytes_add_format(&json, &err,
                             "%s{\"id\":%zu,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                             "\"rstrip\":false,\"normalized\":false,\"special\":%s}", i ? "," : "", n + i,
                             qvl_added_token_text[i].text, qvl_added_token_text[i].is_special ? "true" : "false");
    qvl_bytes_add_text(&json, "]}", &err);
    if (qvl_tokenizer_parse(json.data, json.n, "small", 4096, &t, &err))
        abort();
    qvl_bytes_free(&json);
    return t;
}

#endif
