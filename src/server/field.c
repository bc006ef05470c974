#include "server/field.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "base/utf8.h"

enum { MAX_UNKNOWN = 32, MAX_UNKNOWN_BYTES = 64 };

#define EXACT 9007199254740992.0 /* 2^53: below it every integer is a double */

/* ---- numbers ------------------------------------------------------------------------------------- */

static bool has_bounds(const struct qvl_field *f)
{
    return f->min < 0 || f->min > 0 || f->max < 0 || f->max > 0;
}

static bool is_within(const struct qvl_field *f, double value, double min, double max)
{
    return has_bounds(f) ? value >= f->min && value <= f->max : value >= min && value <= max;
}

static enum qvl_status fail_whole(const struct qvl_field *f, double max, struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be a whole number from %.17g to %.17g", f->name,
                    has_bounds(f) ? f->min : 0, has_bounds(f) ? f->max : max);
}

/* An integer as it is written, beyond what a double can tell apart; false where it has more than 64 bits. */
static bool read_integer(const struct qvl_json_node *node, uint64_t *out)
{
    char text[24];
    if (node->kind != QVL_JSON_INTEGER || node->n >= sizeof text)
        return false;
    memcpy(text, node->utf8, node->n);
    text[node->n] = 0;
    bool is_negative = text[0] == '-';
    errno = 0;
    uint64_t magnitude = strtoull(text + is_negative, NULL, 10);
    if (errno || (is_negative && magnitude > (uint64_t)1 << 63))
        return false;
    *out = is_negative ? 0 - magnitude : magnitude;
    return true;
}

static enum qvl_status read_whole(const struct qvl_field *f, const struct qvl_json_node *node, void *out,
                                  struct qvl_error *err)
{
    double value = 0, max = f->kind == QVL_FIELD_U32 ? (double)UINT32_MAX : (double)UINT64_MAX;
    uint64_t whole = 0;
    if (!qvl_json_number(node, &value) || value > floor(value) || !is_within(f, value, 0, max))
        return fail_whole(f, max, err);
    if (!read_integer(node, &whole)) {
        if (fabs(value) > EXACT)
            return fail_whole(f, max, err);
        whole = (uint64_t)(int64_t)value;
    }
    if (f->kind == QVL_FIELD_U32) {
        uint32_t narrow = (uint32_t)whole;
        memcpy(out, &narrow, sizeof narrow);
    } else {
        memcpy(out, &whole, sizeof whole);
    }
    return QVL_OK;
}

static enum qvl_status read_real(const struct qvl_field *f, const struct qvl_json_node *node, void *out,
                                 struct qvl_error *err)
{
    double value = 0, max = f->kind == QVL_FIELD_F32 ? (double)FLT_MAX : DBL_MAX;
    if (!qvl_json_number(node, &value) || !is_within(f, value, -max, max)) {
        if (!has_bounds(f))
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be a number", f->name);
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be a number from %.9g to %.9g", f->name, f->min, f->max);
    }
    if (f->kind == QVL_FIELD_F32) {
        float narrow = (float)value;
        memcpy(out, &narrow, sizeof narrow);
    } else {
        memcpy(out, &value, sizeof value);
    }
    return QVL_OK;
}

/* ---- the other kinds ----------------------------------------------------------------------------- */

static enum qvl_status read_bool(const struct qvl_field *f, const struct qvl_json_node *node, void *out,
                                 struct qvl_error *err)
{
    bool value = node->kind == QVL_JSON_TRUE;
    if (!value && node->kind != QVL_JSON_FALSE)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be true or false", f->name);
    memcpy(out, &value, sizeof value);
    return QVL_OK;
}

static enum qvl_status read_string(const struct qvl_field *f, const struct qvl_json_node *node,
                                   struct qvl_error *err)
{
    if (node->kind != QVL_JSON_STRING)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be a string", f->name);
    if (!is_within(f, (double)node->n, 0, DBL_MAX))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be a string of %.0f to %.0f bytes", f->name, f->min,
                        f->max);
    return QVL_OK;
}

static enum qvl_status read_list(const struct qvl_field *f, const struct qvl_json_node *node, struct qvl_error *err)
{
    if (node->kind != QVL_JSON_ARRAY)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be a list", f->name);
    if (!is_within(f, node->n_child, 0, DBL_MAX))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be a list of %.0f to %.0f entries", f->name, f->min,
                        f->max);
    return QVL_OK;
}

/* null, false, 0, "", [] and {}: what clients send for a thing that they do not want. */
static bool is_nothing(const struct qvl_json_node *node)
{
    double number = 1;
    switch (node->kind) {
    case QVL_JSON_NULL:
    case QVL_JSON_FALSE: return true;
    case QVL_JSON_STRING: return node->n == 0;
    case QVL_JSON_ARRAY:
    case QVL_JSON_OBJECT: return node->n_child == 0;
    case QVL_JSON_INTEGER:
    case QVL_JSON_REAL: return qvl_json_number(node, &number) && fpclassify(number) == FP_ZERO;
    default: return false;
    }
}

static enum qvl_status read_field(const struct qvl_field *f, const struct qvl_json_node *node, void *base,
                                  struct qvl_error *err)
{
    void *out = (char *)base + f->offset;
    enum qvl_status status = QVL_OK;
    if (f->refusal)
        return is_nothing(node) ? QVL_OK : qvl_fail(err, QVL_ERR_ARGUMENT, "%s %s", f->name, qvl_text(f->refusal));
    if (node->kind == QVL_JSON_NULL)
        return QVL_OK;
    switch (f->kind) {
    case QVL_FIELD_BOOL: return read_bool(f, node, out, err);
    case QVL_FIELD_U32:
    case QVL_FIELD_U64: return read_whole(f, node, out, err);
    case QVL_FIELD_F32:
    case QVL_FIELD_F64: return read_real(f, node, out, err);
    case QVL_FIELD_STRING: status = read_string(f, node, err); break;
    case QVL_FIELD_LIST: status = read_list(f, node, err); break;
    case QVL_FIELD_OBJECT:
        if (node->kind != QVL_JSON_OBJECT)
            status = qvl_fail(err, QVL_ERR_ARGUMENT, "%s must be an object", f->name);
        break;
    case QVL_FIELD_ANY: break;
    }
    if (!status)
        *(const struct qvl_json_node **)out = node;
    return status;
}

/* ---- the table ----------------------------------------------------------------------------------- */

static const struct qvl_field *find_field(const struct qvl_field *field, size_t n_field,
                                          const struct qvl_json_node *member)
{
    for (size_t i = 0; i < n_field; i++)
        if (strlen(field[i].name) == member->n_key && memcmp(field[i].name, member->key, member->n_key) == 0)
            return &field[i];
    return NULL;
}

static enum qvl_status add_unknown(const struct qvl_json_node *member, struct qvl_bytes *unknown,
                                   struct qvl_error *err)
{
    size_t n = member->n_key < MAX_UNKNOWN_BYTES ? member->n_key : MAX_UNKNOWN_BYTES;
    if (n < member->n_key)
        n -= qvl_utf8_n_incomplete(member->key, n);
    enum qvl_status status = unknown->n > 0 ? qvl_bytes_add_text(unknown, ", ", err) : QVL_OK;
    if (!status)
        status = qvl_bytes_add(unknown, member->key, n, err);
    if (!status)
        qvl_utf8_make_printable(unknown->data + unknown->n - n, n);
    return status;
}

enum qvl_status qvl_fields_read(const struct qvl_json_node *object, const struct qvl_field *field, size_t n_field,
                                void *out, struct qvl_bytes *unknown, const char **param, struct qvl_error *err)
{
    const struct qvl_json_node *member = object + 1;
    uint32_t n_unknown = 0;
    for (uint32_t i = 0; i < object->n_child; i++, member = qvl_json_next(member)) {
        const struct qvl_field *f = find_field(field, n_field, member);
        enum qvl_status status = QVL_OK;
        if (f)
            status = read_field(f, member, out, err);
        else if (n_unknown++ < MAX_UNKNOWN)
            status = add_unknown(member, unknown, err);
        if (status) {
            *param = f ? f->name : NULL;
            return status;
        }
    }
    return QVL_OK;
}
