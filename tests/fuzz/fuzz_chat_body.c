/* Bytes as the body of a Chat Completions request: as JSON, and as a form whose parts they are
 * ("name\0value\0name\0…", a name that begins with "@" is a file's).
 *
 * Checked: what was accepted keeps the promises of ask.h and qvl.h; what was refused leaves a sentence and a field
 * that a table knows; a form becomes JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check_ask.h"
#include "server/openai_chat_form.h"
#include "server/openai_chat_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The engine's, which is not linked here. */
enum qvl_media_guess qvl_media_sniff(const uint8_t *head, size_t n)
{
    return n > 0 && head[0] % 2 ? QVL_GUESS_VIDEO : QVL_GUESS_IMAGE;
}

static void read_body(const char *json, size_t n, bool is_thinking)
{
    const struct qvl_chat_read_settings settings = {.is_thinking = is_thinking, .media.max_media = 4};
    struct qvl_error err = {0};
    struct qvl_chat_body body;
    struct qvl_ask ask = {.n = 1};
    ask.options.sampling = (struct qvl_sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    if (qvl_chat_body_read(json, n, &settings, &ask, &body, &err))
        require(err.status != QVL_OK && err.status != QVL_ERR_INTERNAL && err.text[0]);
    else
        check_ask(&ask);
    require(body.unknown.n == 0 || qvl_utf8_is_valid(body.unknown.data, body.unknown.n));
    qvl_chat_body_free(&body);
    qvl_chat_json_close(&ask.chat);
    qvl_arena_free(&ask.arena);
}

/* Up to the next 0 or the end; *at stands behind it afterwards. */
static const char *take_piece(char *text, size_t n, size_t *at, size_t *out_n)
{
    const char *piece = text + *at;
    size_t end = *at;
    while (end < n && text[end])
        end++;
    *out_n = end - *at;
    *at = end < n ? end + 1 : n;
    return piece;
}

static void read_form(char *text, size_t n)
{
    enum { MAX_PARTS = 16 };
    struct qvl_form_part part[MAX_PARTS];
    struct qvl_bytes json = {0};
    struct qvl_error err = {0};
    const char *param = NULL;
    size_t n_part = 0, at = 0, n_name, n_value;
    while (at < n && n_part < MAX_PARTS) {
        const char *name = take_piece(text, n, &at, &n_name), *value = take_piece(text, n, &at, &n_value);
        bool is_file = name[0] == '@';
        part[n_part++] = (struct qvl_form_part){.name = name + is_file,
                                                .filename = is_file ? "f" : NULL,
                                                .bytes = (const uint8_t *)value,
                                                .n = n_value};
    }
    if (qvl_chat_form_read(part, n_part, &json, &param, &err))
        require(err.status != QVL_OK && err.text[0]);
    else
        read_body(json.data, json.n, false);
    qvl_bytes_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1);
    require(text != NULL);
    memcpy(text, data, n);
    text[n] = 0;
    read_body((const char *)data, n, n % 2);
    read_form(text, n);
    free(text);
    return 0;
}
