/* Bytes as an answer's text. Checked: cutting it changes nothing; the arguments of calls that ended are JSON
 * objects; and json_scan.h agrees with json_reader.h on what is one. */
#include <stdlib.h>
#include <string.h>

#include "base/json_reader.h"
#include "server/tool_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

struct seen {
    struct qvl_bytes all;       /* text, and calls between bytes that no text has */
    struct qvl_bytes arguments; /* of the last call */
};

static struct qvl_error err;

/* The value is an object or array, and nothing but white space follows. */
static bool is_json(const char *text, size_t n)
{
    struct qvl_json_reader json = {.text = text, .n = n, .name = "x", .status = QVL_ERR_ARGUMENT};
    struct qvl_error ignored;
    bool is = !qvl_json_reader_next(&json, &ignored) &&
              (json.event == QVL_JSON_OBJECT || json.event == QVL_JSON_ARRAY) &&
              !qvl_json_reader_skip(&json, &ignored) && !qvl_json_reader_next(&json, &ignored);
    qvl_json_reader_free(&json);
    return is;
}

static bool on_text(void *user, uint32_t i_answer, const struct qvl_ask_text *text)
{
    struct seen *s = user;
    (void)i_answer;
    return !qvl_bytes_add(&s->all, text->utf8, text->n, &err);
}

static bool on_call(void *user, uint32_t i_answer, uint32_t i_call, const char *id, const char *name)
{
    struct seen *s = user;
    (void)i_answer, (void)i_call, (void)id;
    s->arguments.n = 0;
    return !qvl_bytes_add_format(&s->all, &err, "\xFE%s\xFE", name);
}

static bool on_arguments(void *user, uint32_t i_answer, uint32_t i_call, const char *utf8, size_t n)
{
    struct seen *s = user;
    (void)i_answer, (void)i_call;
    return !qvl_bytes_add(&s->arguments, utf8, n, &err) && !qvl_bytes_add(&s->all, utf8, n, &err);
}

/* Pieces of lengths that the seed makes; 0: one piece. */
static void read_text(const char *text, size_t n, uint32_t seed, struct qvl_bytes *out)
{
    static const char *const names[] = {"f", "g h"};
    struct seen s = {0};
    const struct qvl_ask_sink sink = {.user = &s, .text = on_text, .call = on_call, .arguments = on_arguments};
    struct qvl_tool_reader r = {.sink = &sink, .name = names, .n_name = 2};
    for (size_t at = 0; at < n;) {
        size_t n_piece = n - at;
        seed = seed * 1664525u + (seed ? 1013904223u : 0);
        if (seed && n_piece > 1 + (seed >> 16) % 9)
            n_piece = 1 + (seed >> 16) % 9;
        require(!qvl_tool_reader_push(&r, text + at, n_piece, &err));
        at += n_piece;
        if (r.is_after_call && s.arguments.n > 0) {
            require(is_json(s.arguments.data, s.arguments.n));
            s.arguments.n = 0;
        }
    }
    require(!qvl_tool_reader_end(&r, &err) && !r.is_gone);
    qvl_tool_reader_free(&r);
    qvl_bytes_free(&s.arguments);
    *out = s.all;
}

static void compare_scan(const char *text, size_t n)
{
    struct qvl_json_scan scan = {0};
    for (size_t i = 0; i < n && i < 4096; i++)
        if (!qvl_json_scan_take(&scan, text[i]))
            break;
    if (n <= 4096)
        require((scan.place == QVL_JSON_AT_END) == is_json(text, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *text = (const char *)data;
    struct qvl_bytes whole = {0}, cut = {0};
    read_text(text, n, 0, &whole);
    for (uint32_t seed = 1; seed < 4; seed++) {
        read_text(text, n, seed, &cut);
        require(cut.n == whole.n && (cut.n == 0 || memcmp(cut.data, whole.data, cut.n) == 0));
        qvl_bytes_free(&cut);
    }
    compare_scan(text, n);
    qvl_bytes_free(&whole);
    return 0;
}
