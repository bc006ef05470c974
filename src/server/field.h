/* field.h: the fields of a JSON body, read by tables: name, type, range, where it goes. What a table does not have is
 * found out here, too, so that nothing known is ever accepted and ignored, and nothing unknown passes unnoticed.
 *
 *     static const struct qvl_field fields[] = {
 *         {"temperature", QVL_FIELD_F32, offsetof(struct body, sampling.temperature), .min = 0, .max = 2},
 *         {"stream", QVL_FIELD_BOOL, offsetof(struct body, is_streamed)},
 *         {"messages", QVL_FIELD_ANY, offsetof(struct body, messages)},
 *     }; */
#ifndef QVL_SERVER_FIELD_H
#define QVL_SERVER_FIELD_H

#include "base/bytes.h"
#include "base/json_tree.h"

enum qvl_field_kind {
    QVL_FIELD_BOOL,   /* bool */
    QVL_FIELD_U32,    /* uint32_t: a number without fraction, min to max */
    QVL_FIELD_U64,    /* uint64_t: likewise; written as an integer it is exact, with a point or exponent to 2^53.
                         Negative ones where min says so: two's complement */
    QVL_FIELD_F32,    /* float, min to max */
    QVL_FIELD_F64,    /* double, min to max */
    QVL_FIELD_STRING, /* const struct qvl_json_node *: a string of min to max bytes */
    QVL_FIELD_LIST,   /* const struct qvl_json_node *: an array of min to max entries */
    QVL_FIELD_OBJECT, /* const struct qvl_json_node *: an object */
    QVL_FIELD_ANY     /* const struct qvl_json_node *: whatever it is; its reader checks it */
};

struct qvl_field {
    const char *name;
    enum qvl_field_kind kind;
    size_t offset;       /* into the struct that is filled */
    double min, max;     /* both 0: no bounds */
    const char *refusal; /* known and not offered: the sentence's end, marked QVL_SAID ("is not offered: ..."), unless the value
                            is null, false, 0, "" or an empty list or object; NULL: read it */
};

/* Reads object's members into *out; absent and null ones leave it as it is. Names of members that no field has are
 * added to *unknown, with ", " between (each cut at 64 bytes, control characters as "?", at most 32 of them). On
 * QVL_ERR_ARGUMENT *param is the field's name, the sentence begins with it. `object` must be one. */
enum qvl_status qvl_fields_read(const struct qvl_json_node *object, const struct qvl_field *field, size_t n_field,
                                void *out, struct qvl_bytes *unknown, const char **param, struct qvl_error *err);

#endif
