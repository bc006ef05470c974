/* Which alternatives of oneOf exclude each other. Asked of what qvl writes for one of them, which is less than what
 * satisfies it: an object without additionalProperties has only the properties named (json_schema.h). */
#include <string.h>

#include "base/limits.h"
#include "text/schema_node.h"

/* Behind its $ref, as long as nothing else stands beside it. */
static const struct qvl_json_node *target_of(const struct qvl_schema *schema, const struct qvl_json_node *node)
{
    for (uint32_t i = 0; i < QVL_MAX_SCHEMA_TOGETHER; i++) {
        const struct qvl_json_node *next = NULL;
        struct qvl_error ignored;
        if (qvl_schema_follow(schema, node, &next, &ignored) || !next)
            return node;
        node = next;
    }
    return node;
}

/* The values of const or enum: *n of them, one after the other; NULL where there is neither. */
static const struct qvl_json_node *values_of(const struct qvl_json_node *node, uint32_t *n)
{
    const struct qvl_json_node *one = qvl_schema_member(node, "const", 5), *list = qvl_json_member(node, "enum");
    if (one) {
        *n = 1;
        return one;
    }
    if (!list || list->kind != QVL_JSON_ARRAY)
        return NULL;
    *n = list->n_child;
    return list + 1;
}

static uint32_t types_of(const struct qvl_schema *schema, const struct qvl_json_node *node)
{
    uint32_t types = 0, n = 0;
    struct qvl_error ignored;
    const struct qvl_json_node *value = values_of(node, &n);
    if (node->kind == QVL_JSON_OBJECT && qvl_schema_types(schema, node, &types, &ignored))
        return QVL_TYPE_ANY;
    if (types == 0)
        for (uint32_t i = 0; value && i < n; i++, value = qvl_json_next(value))
            types |= qvl_schema_type_of(value);
    return types ? types : QVL_TYPE_ANY;
}

/* Both name their values, and none of a's is one of b's. Arrays and objects may be equal where their text is not.
 */
static bool have_other_values(const struct qvl_json_node *a, const struct qvl_json_node *b)
{
    uint32_t n_a = 0, n_b = 0;
    const struct qvl_json_node *value = values_of(a, &n_a);
    if (!value || !values_of(b, &n_b))
        return false;
    for (uint32_t i = 0; i < n_a; i++, value = qvl_json_next(value))
        if ((qvl_schema_type_of(value) & (QVL_TYPE_ARRAY | QVL_TYPE_OBJECT)) || qvl_schema_names(b, value))
            return false;
    return true;
}

static bool requires(const struct qvl_json_node *node, const char *key, size_t n_key)
{
    const struct qvl_json_node *required = qvl_json_member(node, "required");
    const struct qvl_json_node *name = required ? required + 1 : NULL;
    for (uint32_t i = 0; required && required->kind == QVL_JSON_ARRAY && i < required->n_child;
         i++, name = qvl_json_next(name))
        if (name->kind == QVL_JSON_STRING && name->n == n_key && memcmp(name->utf8, key, n_key) == 0)
            return true;
    return false;
}

/* What is written for a always has a property that b does not allow, or with another value. */
static bool has_what_is_forbidden(const struct qvl_schema *schema, const struct qvl_json_node *a,
                                  const struct qvl_json_node *b)
{
    const struct qvl_json_node *properties = qvl_json_member(a, "properties");
    const struct qvl_json_node *of_b = qvl_json_member(b, "properties"),
                               *more = qvl_json_member(b, "additionalProperties");
    const struct qvl_json_node *p = properties ? properties + 1 : NULL;
    for (uint32_t i = 0; properties && i < properties->n_child; i++, p = qvl_json_next(p)) {
        const struct qvl_json_node *other = qvl_schema_member(of_b, p->key, p->n_key);
        if (!requires(a, p->key, p->n_key))
            continue;
        if (other ? have_other_values(target_of(schema, p), target_of(schema, other))
                  : more && more->kind == QVL_JSON_FALSE)
            return true;
    }
    return false;
}

/* b requires a property that is never written for a. */
static bool lacks_what_is_required(const struct qvl_json_node *a, const struct qvl_json_node *b)
{
    const struct qvl_json_node *properties = qvl_json_member(a, "properties"),
                               *required = qvl_json_member(b, "required");
    const struct qvl_json_node *more = qvl_json_member(a, "additionalProperties");
    const struct qvl_json_node *name = required ? required + 1 : NULL;
    bool is_closed = more ? more->kind == QVL_JSON_FALSE : properties != NULL;
    for (uint32_t i = 0; is_closed && required && required->kind == QVL_JSON_ARRAY && i < required->n_child;
         i++, name = qvl_json_next(name))
        if (name->kind == QVL_JSON_STRING && !qvl_schema_member(properties, name->utf8, name->n) &&
            !requires(a, name->utf8, name->n))
            return true;
    return false;
}

static bool has_alternatives(const struct qvl_json_node *node)
{
    return qvl_json_member(node, "allOf") || qvl_json_member(node, "anyOf") || qvl_json_member(node, "oneOf");
}

bool qvl_schema_excludes(const struct qvl_schema *schema, const struct qvl_json_node *a,
                         const struct qvl_json_node *b)
{
    a = target_of(schema, a);
    b = target_of(schema, b);
    if (a->kind == QVL_JSON_FALSE || b->kind == QVL_JSON_FALSE)
        return true;
    uint32_t of_a = types_of(schema, a), of_b = types_of(schema, b);
    if (of_a == QVL_TYPE_ANY && a->kind == QVL_JSON_OBJECT && qvl_schema_implied_types(a) && !has_alternatives(a))
        of_a = qvl_schema_implied_types(a);
    if (!(of_a & of_b) || have_other_values(a, b))
        return true;
    /* (A schema with allOf and the like beside its properties may write more than they name.) */
    return of_a == QVL_TYPE_OBJECT && !has_alternatives(a) &&
           (has_what_is_forbidden(schema, a, b) || lacks_what_is_required(a, b));
}
