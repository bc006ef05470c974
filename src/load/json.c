/* What enters: bytes of a JSON file, nothing about them known. What leaves: a tree no deeper than
 * QVL_MAX_JSON_DEPTH with at most QVL_MAX_JSON_VALUES values, strings valid UTF-8 without NUL, no key twice.
 *
 * jansson 2.14 seeds its hash tables itself, once and atomically, when the first object is made; nothing is to
 * be done here for threads. It reads NaN and Infinity as syntax errors and refuses numbers that do not fit. */
#include "load/json.h"

#include <string.h>

#include "base/checked.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"

/* Brackets and commas outside strings bound depth and number of values from above, valid JSON or not. */
static enum qvl_status check_size(const char *text, size_t n, const char *name, struct qvl_error *err)
{
    size_t depth = 0, n_value = 1;
    bool is_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (is_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                is_string = false;
        } else if (c == '"') {
            is_string = true;
        } else if (c == '{' || c == '[') {
            n_value++;
            if (++depth > QVL_MAX_JSON_DEPTH)
                return qvl_fail(err, QVL_ERR_MODEL, "%s: JSON nested deeper than %u levels at byte %zu", name,
                                QVL_MAX_JSON_DEPTH, i);
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        } else if (c == ',') {
            n_value++;
        }
    }
    if (n_value > QVL_MAX_JSON_VALUES)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: JSON with %zu values, more than the %u that qvl accepts", name,
                        n_value, QVL_MAX_JSON_VALUES);
    return QVL_OK;
}

/* jansson's own text quotes the input, which may hold anything. */
static const char *describe(enum json_error_code code)
{
    switch (code) {
    case json_error_invalid_utf8: return qvl_text("the text is not UTF-8");
    case json_error_premature_end_of_input: return qvl_text("the text ends too early");
    case json_error_end_of_input_expected: return qvl_text("something follows the end");
    case json_error_null_character:
    case json_error_null_byte_in_key: return qvl_text("a string holds a NUL character");
    case json_error_duplicate_key: return qvl_text("a key appears twice");
    case json_error_numeric_overflow: return qvl_text("a number is too large");
    default: return qvl_text("syntax error");
    }
}

enum qvl_status qvl_json_parse(const char *text, size_t n, const char *name, json_t **out, struct qvl_error *err)
{
    json_error_t fault = {0};
    enum qvl_status status = check_size(text, n, name, err);
    if (status)
        return status;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &fault);
    if (!root && json_error_code(&fault) == json_error_unknown) /* what a failed allocation leaves */
        return qvl_fail_memory(err, n, "JSON");
    if (!root)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: not valid JSON: %s (line %d, column %d)", name,
                        describe(json_error_code(&fault)), fault.line, fault.column);
    if (!json_is_object(root)) {
        json_decref(root);
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the JSON text is not an object", name);
    }
    *out = root;
    return QVL_OK;
}

enum qvl_status qvl_json_read(const char *path, size_t max_bytes, json_t **out, struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    enum qvl_status status = qvl_os_read_file(path, max_bytes, &text, err);
    if (!status)
        status = qvl_json_parse(text.n ? text.data : "", text.n, path, out, err);
    qvl_bytes_free(&text);
    return status;
}

struct shown {
    char *text; /* [QVL_JSON_SHOWN_BYTES] */
    size_t n;
};

static int append_shown(const char *piece, size_t n, void *data)
{
    struct shown *shown = data;
    size_t n_fit = qvl_min_size(n, QVL_JSON_SHOWN_BYTES - 1 - shown->n);
    memcpy(shown->text + shown->n, piece, n_fit);
    shown->n += n_fit;
    return n_fit == n ? 0 : -1; /* -1 ends the dump */
}

const char *qvl_json_show(const json_t *value, char out[QVL_JSON_SHOWN_BYTES])
{
    const char *missing = qvl_text("missing");
    struct shown shown = {.text = out};
    if (!value)
        append_shown(missing, strlen(missing), &shown);
    else if (json_dump_callback(value, append_shown, &shown, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT))
        memcpy(out + shown.n - qvl_min_size(shown.n, 3), "...", qvl_min_size(shown.n, 3));
    out[shown.n] = 0;
    return out;
}

json_t *qvl_json_get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}
