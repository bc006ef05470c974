/* The body is a series of
 *
 *     --boundary CRLF headers CRLF CRLF content CRLF
 *
 * ended by --boundary--. A delimiter is a boundary at the start of a line that only white space and the line's end
 * follow; a longer word that begins like it belongs to the content. What stands before the first delimiter, but for
 * one line end, is refused: browsers, curl and the usual libraries write nothing there, so it is rather a wrong
 * boundary.
 *
 * Names: browsers write a quote in a name as %22, which stays as it is; curl and Python write \", which is undone
 * (RFC 7578 does not choose). filename* is not read: RFC 7578 4.2 forbids it. */
#include "server/multipart.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/language.h"
#include "base/utf8.h"

enum { MAX_BOUNDARY = 70, MAX_PART_HEADER_BYTES = 4096, MAX_NAME_BYTES = 1024 };

struct reader {
    const uint8_t *body, *end;
    const uint8_t *at;
    char line_start[MAX_BOUNDARY + 5]; /* CRLF, "--", boundary */
    size_t n_line_start;
    char *names; /* where the next one goes */
};

static enum qvl_status malformed(const struct reader *r, const char *what, struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_ARGUMENT, "multipart/form-data, byte %zu: %s", (size_t)(r->at - r->body),
                    qvl_text(what));
}

/* At what may follow a boundary: 1 a part follows (*after is its first byte), 2 the end, 0 it is no delimiter. */
static int read_line_end(const uint8_t *at, const uint8_t *end, const uint8_t **after)
{
    if (end - at >= 2 && at[0] == '-' && at[1] == '-')
        return 2;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
        return 0;
    *after = at + 2;
    return 1;
}

/* The next delimiter at or after r->at, which may be the CRLF of a line before: *begin is where the content before
 * it ends. 0: none. */
static int find_delimiter(const struct reader *r, const uint8_t **begin, const uint8_t **after)
{
    const uint8_t *at = r->at;
    while (at < r->end) {
        at = memmem(at, (size_t)(r->end - at), r->line_start, r->n_line_start);
        if (!at)
            return 0;
        *begin = at;
        int kind = read_line_end(at + r->n_line_start, r->end, after);
        if (kind)
            return kind;
        at += 2;
    }
    return 0;
}

/* A quoted string at *s (behind its quote) or a token, copied to r->names and ended by a 0. NULL: it does not end,
 * or is no text. */
static const char *read_value(struct reader *r, const char **s, const char *end)
{
    char *value = r->names;
    bool is_quoted = *s < end && **s == '"';
    const char *c = *s + is_quoted;
    for (; c < end && (is_quoted ? *c != '"' : !strchr("; \t", *c)); c++) {
        if (is_quoted && *c == '\\' && c + 1 < end && (c[1] == '"' || c[1] == '\\'))
            c++;
        if ((unsigned char)*c < 0x20 || *c == 0x7f || r->names - value >= MAX_NAME_BYTES)
            return NULL;
        *r->names++ = *c;
    }
    if ((is_quoted && (c == end || *c++ != '"')) || !qvl_utf8_is_valid(value, (size_t)(r->names - value)))
        return NULL;
    *r->names++ = '\0';
    *s = c;
    return value;
}

/* `form-data; name="a"; filename="b.jpg"` */
static enum qvl_status read_disposition(struct reader *r, const char *s, const char *end,
                                        struct qvl_form_part *part, struct qvl_error *err)
{
    static const char type[] = "form-data";
    if ((size_t)(end - s) < sizeof type - 1 || strncasecmp(s, type, sizeof type - 1) != 0)
        return malformed(r, QVL_SAID("a part is no form-data"), err);
    s += sizeof type - 1;
    for (;;) {
        while (s < end && (*s == ' ' || *s == '\t'))
            s++;
        if (s == end)
            return QVL_OK;
        if (*s++ != ';')
            return malformed(r, QVL_SAID("Content-Disposition is malformed"), err);
        while (s < end && (*s == ' ' || *s == '\t'))
            s++;
        const char *key = s;
        while (s < end && *s != '=' && *s != ';')
            s++;
        size_t n_key = (size_t)(s - key);
        if (s == end || *s++ != '=')
            return malformed(r, QVL_SAID("Content-Disposition is malformed"), err);
        const char *value = read_value(r, &s, end);
        if (!value)
            return malformed(r, QVL_SAID("a name is not UTF-8 text that ends"), err);
        const char **to = n_key == 4 && strncasecmp(key, "name", 4) == 0       ? &part->name
                          : n_key == 8 && strncasecmp(key, "filename", 8) == 0 ? &part->filename
                                                                               : NULL;
        if (to && *to)
            return malformed(r, QVL_SAID("a part has two names"), err);
        if (to)
            *to = value;
    }
}

static bool is_header(const char *line, size_t n_name, const char *name)
{
    return strlen(name) == n_name && strncasecmp(line, name, n_name) == 0;
}

/* The headers of the part at r->at; moves on behind their empty line. */
static enum qvl_status read_headers(struct reader *r, struct qvl_form_part *part, struct qvl_error *err)
{
    const uint8_t *first = r->at;
    for (;;) {
        size_t n_left = (size_t)(r->end - r->at);
        const uint8_t *line_end = memmem(r->at, n_left, "\r\n", 2);
        if (!line_end || line_end - first > MAX_PART_HEADER_BYTES)
            return malformed(r, QVL_SAID("the headers of a part do not end"), err);
        const char *line = (const char *)r->at, *end = (const char *)line_end;
        if (line == end)
            break;
        const char *colon = memchr(line, ':', (size_t)(end - line));
        if (!colon)
            return malformed(r, QVL_SAID("a header of a part has no colon"), err);
        size_t n_name = (size_t)(colon - line);
        const char *value = colon + 1;
        while (value < end && (*value == ' ' || *value == '\t'))
            value++;
        if (is_header(line, n_name, "Content-Disposition")) {
            enum qvl_status status = read_disposition(r, value, end, part, err);
            if (status)
                return status;
        } else if (is_header(line, n_name, "Content-Transfer-Encoding")) {
            size_t n = (size_t)(end - value);
            if (!(n == 6 && strncasecmp(value, "binary", 6) == 0) &&
                !(n == 4 && strncasecmp(value, "8bit", 4) == 0) && !(n == 4 && strncasecmp(value, "7bit", 4) == 0))
                return malformed(r, QVL_SAID("the content of a part is encoded (Content-Transfer-Encoding)"), err);
        }
        r->at = line_end + 2;
    }
    if (!part->name)
        return malformed(r, QVL_SAID("a part has no name"), err);
    r->at += 2;
    return QVL_OK;
}

static enum qvl_status read_parts(struct reader *r, struct qvl_multipart *out, struct qvl_error *err)
{
    const uint8_t *begin = NULL, *after = NULL;
    int kind = 0;
    if ((size_t)(r->end - r->at) >= r->n_line_start - 2 &&
        memcmp(r->at, r->line_start + 2, r->n_line_start - 2) == 0)
        kind = read_line_end(r->at + r->n_line_start - 2, r->end, &after);
    else if (find_delimiter(r, &begin, &after) && begin == r->at)
        kind = read_line_end(r->at + r->n_line_start, r->end, &after);
    if (kind == 0)
        return malformed(r, QVL_SAID("it does not begin with the boundary"), err);
    while (kind == 1) {
        if (out->n_part == QVL_MAX_HTTP_FORM_PARTS)
            return qvl_fail(err, QVL_ERR_LIMIT, "multipart/form-data has more than %u parts",
                            QVL_MAX_HTTP_FORM_PARTS);
        struct qvl_form_part *part = &out->part[out->n_part];
        r->at = after;
        enum qvl_status status = read_headers(r, part, err);
        if (status)
            return status;
        part->bytes = r->at;
        r->at -= 2; /* the empty line's end is also the one before a delimiter, where the content is empty */
        kind = find_delimiter(r, &begin, &after);
        if (kind == 0)
            return malformed(r, QVL_SAID("a part does not end"), err);
        part->n = begin > part->bytes ? (size_t)(begin - part->bytes) : 0;
        out->n_part++;
    }
    return QVL_OK;
}

enum qvl_status qvl_multipart_read(const uint8_t *body, size_t n, const char *boundary, struct qvl_multipart *out,
                                   struct qvl_error *err)
{
    memset(out, 0, sizeof *out);
    struct reader r = {.body = body, .end = body + n, .at = body};
    size_t n_boundary = strlen(boundary);
    if (n_boundary == 0 || n_boundary > MAX_BOUNDARY)
        return malformed(&r, QVL_SAID("the boundary in Content-Type is missing or too long"), err);
    memcpy(r.line_start, "\r\n--", 4);
    memcpy(r.line_start + 4, boundary, n_boundary);
    r.n_line_start = 4 + n_boundary;
    /* names are no longer than the headers that they stand in */
    size_t n_names = (QVL_MAX_HTTP_FORM_PARTS + 1) * (MAX_PART_HEADER_BYTES + 8);
    if (n_names > n + 8)
        n_names = n + 8;
    r.names = out->names = malloc(n_names);
    enum qvl_status status = QVL_OK;
    if (!r.names)
        status = qvl_fail_memory(err, n_names, "the parts of a form");
    else
        status = read_parts(&r, out, err);
    if (status)
        qvl_multipart_free(out);
    return status;
}

void qvl_multipart_free(struct qvl_multipart *form)
{
    free(form->names);
    memset(form, 0, sizeof *form);
}
