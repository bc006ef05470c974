/* Terminals write a dropped file as a shell word ('it'\''s.jpg', my\ photo.jpg) or as a file: URI (RFC 8089). */
#include "cli/words.h"

#include <stdlib.h>
#include <string.h>

#include "chat/media_uri.h"

const char *qvl_words_skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

static enum qvl_status fail_open_quote(struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_ARGUMENT, "a quote is not closed");
}

/* *text stands behind the opening quote. */
static enum qvl_status add_single_quoted(const char **text, struct qvl_bytes *out, struct qvl_error *err)
{
    const char *end = strchr(*text, '\'');
    if (!end)
        return fail_open_quote(err);
    enum qvl_status status = qvl_bytes_add(out, *text, (size_t)(end - *text), err);
    *text = end + 1;
    return status;
}

static enum qvl_status add_double_quoted(const char **text, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    const char *c = *text;
    for (; *c && *c != '"' && !status; c++) {
        if (*c == '\\' && c[1] && strchr("\"\\$`", c[1]))
            c++;
        status = qvl_bytes_add(out, c, 1, err);
    }
    if (!status && *c != '"')
        return fail_open_quote(err);
    *text = c + 1;
    return status;
}

/* file:///a%20b becomes /a b. */
static enum qvl_status decode_uri(struct qvl_bytes *word, struct qvl_error *err)
{
    struct qvl_arena arena = {0};
    struct qvl_picture_file file;
    enum qvl_status status = qvl_media_uri_read(word->data, word->data, word->n, "", &arena, &file, err);
    if (!status) {
        word->n = 0;
        status = qvl_bytes_add_text(word, file.path, err);
    }
    qvl_arena_free(&arena);
    return status;
}

/* ~/photo.jpg */
static enum qvl_status add_home(const char **text, struct qvl_bytes *out, struct qvl_error *err)
{
    const char *home = getenv("HOME");
    if (strncmp(*text, "~/", 2) != 0 || !home || home[0] != '/')
        return QVL_OK;
    *text += 1;
    return qvl_bytes_add_text(out, home, err);
}

enum qvl_status qvl_words_next(const char **text, struct qvl_bytes *out, bool *is_there, struct qvl_error *err)
{
    const char *c = qvl_words_skip_blanks(*text);
    out->n = 0;
    *is_there = *c != 0;
    enum qvl_status status = qvl_bytes_add(out, "", 0, err);
    if (!status)
        status = add_home(&c, out, err);
    while (!status && *c && *c != ' ' && *c != '\t' && *c != '\n') {
        char here = *c++;
        if (here == '\'') {
            status = add_single_quoted(&c, out, err);
        } else if (here == '"') {
            status = add_double_quoted(&c, out, err);
        } else if (here == '\\' && *c) {
            status = qvl_bytes_add(out, c++, 1, err);
        } else {
            status = qvl_bytes_add(out, &here, 1, err);
        }
    }
    if (!status && strncmp(out->data, "file:/", 6) == 0)
        status = decode_uri(out, err);
    if (!status)
        *text = c;
    return status;
}
