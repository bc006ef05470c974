/* Text in, events out; the decoded string of an event stands in json->string until the next one.
 *
 * A container is one bit (object or array) on a stack of QVL_MAX_JSON_DEPTH, so hostile nesting costs nothing.
 * Source of truth: RFC 8259 for what is accepted (plus: UTF-8 only, no lone surrogates), CPython's json and
 * float.__repr__ for what qvl_json_reader_dump writes. */
#include "base/json_reader.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/language.h"
#include "base/utf8.h"

_Static_assert(QVL_MAX_JSON_DEPTH <= 64, "is_object has 64 bits");

static enum qvl_status not_json(struct qvl_json_reader *j, const char *what, struct qvl_error *err)
{
    return qvl_fail(err, j->status, "%s: not valid JSON at byte %zu: %s", j->name, j->at, qvl_text(what));
}

static int peek(const struct qvl_json_reader *j)
{
    return j->at < j->n ? (unsigned char)j->text[j->at] : -1;
}

static void skip_space(struct qvl_json_reader *j)
{
    for (int c = peek(j); c == ' ' || c == '\n' || c == '\r' || c == '\t'; c = peek(j))
        j->at++;
}

static bool take_digits(struct qvl_json_reader *j)
{
    size_t begin = j->at;
    for (int c = peek(j); c >= '0' && c <= '9'; c = peek(j))
        j->at++;
    return j->at > begin;
}

static enum qvl_status read_number(struct qvl_json_reader *j, struct qvl_error *err)
{
    size_t begin = j->at;
    j->event = QVL_JSON_INTEGER;
    if (peek(j) == '-')
        j->at++;
    if (peek(j) == '0')
        j->at++;
    else if (!take_digits(j))
        return not_json(j, "a value was expected", err);
    if (peek(j) == '.') {
        j->event = QVL_JSON_REAL;
        j->at++;
        if (!take_digits(j))
            return not_json(j, "a digit was expected", err);
    }
    if (peek(j) == 'e' || peek(j) == 'E') {
        j->event = QVL_JSON_REAL;
        j->at++;
        if (peek(j) == '+' || peek(j) == '-')
            j->at++;
        if (!take_digits(j))
            return not_json(j, "a digit was expected", err);
    }
    return qvl_bytes_add(&j->string, j->text + begin, j->at - begin, err);
}

/* Four hexadecimal digits. */
static bool take_hex(struct qvl_json_reader *j, uint32_t *out)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++, j->at++) {
        int c = peek(j);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return false;
        value = value << 4 | (uint32_t)digit;
    }
    *out = value;
    return true;
}

/* After the backslash. */
static enum qvl_status read_escape(struct qvl_json_reader *j, struct qvl_error *err)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int c = peek(j);
    uint32_t cp = 0, low = 0;
    char utf8[4];
    j->at++;
    if (c != 'u') {
        const char *found = c > 0 ? strchr(from, c) : NULL;
        return found ? qvl_bytes_add(&j->string, &to[found - from], 1, err)
                     : not_json(j, "unknown escape in a string", err);
    }
    if (!take_hex(j, &cp))
        return not_json(j, "four hexadecimal digits were expected", err);
    if (cp >= 0xD800 && cp < 0xDC00) {
        if (j->n - j->at < 2 || j->text[j->at] != '\\' || j->text[j->at + 1] != 'u')
            return not_json(j, "half of a surrogate pair", err);
        j->at += 2;
        if (!take_hex(j, &low) || low < 0xDC00 || low > 0xDFFF)
            return not_json(j, "half of a surrogate pair", err);
        cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
    } else if (cp >= 0xDC00 && cp < 0xE000) {
        return not_json(j, "half of a surrogate pair", err);
    }
    return qvl_bytes_add(&j->string, utf8, qvl_utf8_encode(cp, utf8), err);
}

static enum qvl_status read_string(struct qvl_json_reader *j, struct qvl_error *err)
{
    if (peek(j) != '"')
        return not_json(j, "a string was expected", err);
    j->at++;
    for (;;) {
        size_t begin = j->at;
        for (int c = peek(j); c >= 0 && c != '"' && c != '\\'; c = peek(j)) {
            uint32_t cp;
            size_t len = c < 0x80 ? 1 : qvl_utf8_decode(j->text + j->at, j->n - j->at, &cp);
            if (len == 0)
                return not_json(j, "a string that is not UTF-8", err);
            if (c < 0x20)
                return not_json(j, "a control character in a string", err);
            j->at += len;
        }
        enum qvl_status status = qvl_bytes_add(&j->string, j->text + begin, j->at - begin, err);
        if (status)
            return status;
        if (j->at == j->n)
            return not_json(j, "a string without an end", err);
        if (j->text[j->at++] == '"')
            return QVL_OK;
        if ((status = read_escape(j, err)))
            return status;
    }
}

static enum qvl_status read_word(struct qvl_json_reader *j, const char *word, enum qvl_json_event event,
                                 struct qvl_error *err)
{
    size_t n = strlen(word);
    if (j->n - j->at < n || memcmp(j->text + j->at, word, n) != 0)
        return not_json(j, "a value was expected", err);
    j->at += n;
    j->event = event;
    return QVL_OK;
}

static enum qvl_status open_container(struct qvl_json_reader *j, bool is_object, struct qvl_error *err)
{
    if (j->depth == QVL_MAX_JSON_DEPTH)
        return qvl_fail(err, j->status, "%s: JSON nested deeper than the %u levels that qvl accepts", j->name,
                        QVL_MAX_JSON_DEPTH);
    uint64_t bit = 1ull << j->depth;
    j->is_object = is_object ? j->is_object | bit : j->is_object & ~bit;
    j->first_key[j->depth++] = j->n_key;
    j->at++;
    j->event = is_object ? QVL_JSON_OBJECT : QVL_JSON_ARRAY;
    j->state = QVL_JSON_OPENED;
    return QVL_OK;
}

static enum qvl_status remember_key(struct qvl_json_reader *j, struct qvl_error *err)
{
    struct qvl_json_reader_key *key = qvl_grow(j->key, &j->n_key_alloc, j->n_key + 1, sizeof *key,
                                               "the keys of a JSON object", err);
    if (!key)
        return err->status;
    j->key = key;
    j->key[j->n_key++] = (struct qvl_json_reader_key){j->keys.n, j->string.n};
    return qvl_bytes_add(&j->keys, j->string.data, j->string.n, err);
}

static int compare_keys(const void *a, const void *b, void *keys)
{
    const struct qvl_json_reader_key *x = a, *y = b;
    const char *bytes = ((const struct qvl_bytes *)keys)->data;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return x->n ? memcmp(bytes + x->begin, bytes + y->begin, x->n) : 0;
}

static enum qvl_status close_container(struct qvl_json_reader *j, bool is_object, struct qvl_error *err)
{
    size_t first = j->first_key[--j->depth];
    j->at++;
    j->event = is_object ? QVL_JSON_OBJECT_END : QVL_JSON_ARRAY_END;
    j->state = QVL_JSON_AFTER_VALUE;
    if (j->n_key == first)
        return QVL_OK;
    size_t begin = j->key[first].begin;
    qsort_r(j->key + first, j->n_key - first, sizeof *j->key, compare_keys, &j->keys);
    for (size_t i = first + 1; i < j->n_key; i++)
        if (compare_keys(&j->key[i - 1], &j->key[i], &j->keys) == 0)
            return qvl_fail(err, j->status, "%s: the key \"%.*s\" stands twice in one JSON object", j->name,
                            j->key[i].n < 80 ? (int)j->key[i].n : 80, j->keys.data + j->key[i].begin);
    j->n_key = first;
    j->keys.n = begin;
    return QVL_OK;
}

static enum qvl_status read_value(struct qvl_json_reader *j, struct qvl_error *err)
{
    j->state = QVL_JSON_AFTER_VALUE;
    j->begin = j->at;
    switch (peek(j)) {
    case '{': return open_container(j, true, err);
    case '[': return open_container(j, false, err);
    case '"': j->event = QVL_JSON_STRING; return read_string(j, err);
    case 't': return read_word(j, "true", QVL_JSON_TRUE, err);
    case 'f': return read_word(j, "false", QVL_JSON_FALSE, err);
    case 'n': return read_word(j, "null", QVL_JSON_NULL, err);
    default: return read_number(j, err);
    }
}

enum qvl_status qvl_json_reader_next(struct qvl_json_reader *j, struct qvl_error *err)
{
    bool is_object = j->depth > 0 && (j->is_object >> (j->depth - 1) & 1);
    j->string.n = 0;
    skip_space(j);
    if (j->state == QVL_JSON_AFTER_VALUE && j->depth == 0) {
        j->event = QVL_JSON_END;
        return j->at == j->n ? QVL_OK : not_json(j, "text after the end", err);
    }
    if (j->state == QVL_JSON_AFTER_VALUE || j->state == QVL_JSON_OPENED) {
        if (peek(j) == (is_object ? '}' : ']'))
            return close_container(j, is_object, err);
        if (j->state == QVL_JSON_AFTER_VALUE) {
            if (peek(j) != ',')
                return not_json(j, "a comma or the end of the list was expected", err);
            j->at++;
            skip_space(j);
        }
        j->state = is_object ? QVL_JSON_WANT_KEY : QVL_JSON_WANT_VALUE;
    }
    if (j->state == QVL_JSON_WANT_VALUE)
        return read_value(j, err);
    j->begin = j->at;
    enum qvl_status status = read_string(j, err);
    if (!status && j->want_unique_keys)
        status = remember_key(j, err);
    if (status)
        return status;
    skip_space(j);
    if (peek(j) != ':')
        return not_json(j, "a colon was expected", err);
    j->at++;
    j->event = QVL_JSON_KEY;
    j->state = QVL_JSON_WANT_VALUE;
    return QVL_OK;
}

enum qvl_status qvl_json_reader_skip(struct qvl_json_reader *j, struct qvl_error *err)
{
    if (j->event != QVL_JSON_OBJECT && j->event != QVL_JSON_ARRAY)
        return QVL_OK;
    uint32_t outside = j->depth - 1;
    while (j->depth > outside) {
        enum qvl_status status = qvl_json_reader_next(j, err);
        if (status)
            return status;
    }
    return QVL_OK;
}

/* float.__repr__: the fewest digits that read back equal; an exponent below 1e-4 and from 1e16 on. */
static enum qvl_status dump_real(struct qvl_json_reader *j, struct qvl_bytes *out, struct qvl_error *err)
{
    char scientific[40], digits[24];
    double value = strtod(j->string.data, NULL);
    if (!isfinite(value))
        return qvl_fail(err, j->status, "%s: the number %.40s is beyond the range of double", j->name,
                        j->string.data);
    for (int n_digit = 1; n_digit <= 17; n_digit++) {
        snprintf(scientific, sizeof scientific, "%.*e", n_digit - 1, fabs(value));
        if (strtod(scientific, NULL) == fabs(value))
            break;
    }
    int exponent = (int)strtol(strchr(scientific, 'e') + 1, NULL, 10), n = 0;
    for (const char *c = scientific; *c != 'e'; c++)
        if (*c != '.')
            digits[n++] = *c;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    enum qvl_status status = signbit(value) ? qvl_bytes_add(out, "-", 1, err) : QVL_OK;
    if (status)
        return status;
    if (exponent < -4 || exponent >= 16)
        return qvl_bytes_add_format(out, err, "%c%s%.*se%c%02d", digits[0], n > 1 ? "." : "", n - 1, digits + 1,
                                    exponent < 0 ? '-' : '+', abs(exponent));
    if (exponent < 0)
        return qvl_bytes_add_format(out, err, "0.%.*s%.*s", -exponent - 1, "000", n, digits);
    if (n <= exponent + 1)
        return qvl_bytes_add_format(out, err, "%.*s%.*s.0", n, digits, exponent + 1 - n, "000000000000000");
    return qvl_bytes_add_format(out, err, "%.*s.%.*s", exponent + 1, digits, n - exponent - 1,
                                digits + exponent + 1);
}

static enum qvl_status dump_event(struct qvl_json_reader *j, struct qvl_bytes *out, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    switch (j->event) {
    case QVL_JSON_OBJECT: return qvl_bytes_add(out, "{", 1, err);
    case QVL_JSON_OBJECT_END: return qvl_bytes_add(out, "}", 1, err);
    case QVL_JSON_ARRAY: return qvl_bytes_add(out, "[", 1, err);
    case QVL_JSON_ARRAY_END: return qvl_bytes_add(out, "]", 1, err);
    case QVL_JSON_KEY:
        status = qvl_bytes_add_json_string(out, j->string.data, j->string.n, err);
        return status ? status : qvl_bytes_add(out, ": ", 2, err);
    case QVL_JSON_STRING: return qvl_bytes_add_json_string(out, j->string.data, j->string.n, err);
    case QVL_JSON_INTEGER: /* Python's int has no negative zero */
        return strcmp(j->string.data, "-0") == 0 ? qvl_bytes_add(out, "0", 1, err)
                                                 : qvl_bytes_add(out, j->string.data, j->string.n, err);
    case QVL_JSON_REAL: return dump_real(j, out, err);
    case QVL_JSON_TRUE: return qvl_bytes_add_text(out, "true", err);
    case QVL_JSON_FALSE: return qvl_bytes_add_text(out, "false", err);
    case QVL_JSON_NULL: return qvl_bytes_add_text(out, "null", err);
    case QVL_JSON_END: break;
    }
    return status;
}

enum qvl_status qvl_json_reader_dump(struct qvl_json_reader *j, struct qvl_bytes *out, struct qvl_error *err)
{
    locale_t c_locale = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0); /* the caller's may write "1,5" */
    if (!c_locale)
        return qvl_fail_memory(err, 0, "the C locale");
    locale_t before = uselocale(c_locale);
    bool is_open = j->event == QVL_JSON_OBJECT || j->event == QVL_JSON_ARRAY;
    uint32_t outside = is_open ? j->depth - 1 : j->depth;
    enum qvl_status status = dump_event(j, out, err);
    while (!status && j->depth > outside) {
        bool is_first = j->event == QVL_JSON_OBJECT || j->event == QVL_JSON_ARRAY || j->event == QVL_JSON_KEY;
        if ((status = qvl_json_reader_next(j, err)))
            break;
        bool is_end = j->event == QVL_JSON_OBJECT_END || j->event == QVL_JSON_ARRAY_END;
        if (!is_first && !is_end && (status = qvl_bytes_add(out, ", ", 2, err)))
            break;
        status = dump_event(j, out, err);
    }
    uselocale(before);
    freelocale(c_locale);
    return status;
}

void qvl_json_reader_free(struct qvl_json_reader *j)
{
    qvl_bytes_free(&j->string);
    qvl_bytes_free(&j->keys);
    free(j->key);
    j->key = NULL;
}
