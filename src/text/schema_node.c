#include "text/schema_node.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "base/limits.h"
#include "base/utf8.h"

/* ---- keywords ------------------------------------------------------------------------------------ */

enum value_kind { SCHEMA, SCHEMAS, SCHEMA_OR_SCHEMAS, MEMBERS, LIST, TEXT, VALUE, FLAG, NEVER };

static const struct keyword {
    const char *name;
    enum value_kind kind;
    uint32_t types; /* of values that it speaks of; 0: of all, or it says nothing of them */
} keywords[] = {
    {"$ref", TEXT, 0},
    {"allOf", SCHEMAS, 0},
    {"anyOf", SCHEMAS, 0},
    {"oneOf", SCHEMAS, 0},
    {"type", VALUE, 0},
    {"enum", LIST, 0},
    {"const", VALUE, 0},
    {"properties", MEMBERS, QVL_TYPE_OBJECT},
    {"required", LIST, QVL_TYPE_OBJECT},
    {"additionalProperties", SCHEMA, QVL_TYPE_OBJECT},
    {"minProperties", VALUE, QVL_TYPE_OBJECT},
    {"maxProperties", VALUE, QVL_TYPE_OBJECT},
    {"items", SCHEMA_OR_SCHEMAS, QVL_TYPE_ARRAY},
    {"prefixItems", SCHEMAS, QVL_TYPE_ARRAY},
    {"additionalItems", SCHEMA, QVL_TYPE_ARRAY},
    {"minItems", VALUE, QVL_TYPE_ARRAY},
    {"maxItems", VALUE, QVL_TYPE_ARRAY},
    {"uniqueItems", FLAG, QVL_TYPE_ARRAY},
    {"minLength", VALUE, QVL_TYPE_STRING},
    {"maxLength", VALUE, QVL_TYPE_STRING},
    {"pattern", TEXT, QVL_TYPE_STRING},
    {"format", TEXT, QVL_TYPE_STRING},
    {"minimum", VALUE, QVL_TYPE_NUMBER},
    {"maximum", VALUE, QVL_TYPE_NUMBER},
    {"exclusiveMinimum", VALUE, QVL_TYPE_NUMBER},
    {"exclusiveMaximum", VALUE, QVL_TYPE_NUMBER},
    {"multipleOf", VALUE, QVL_TYPE_NUMBER},
    {"not", NEVER, 0},
    {"if", NEVER, 0},
    {"then", NEVER, 0},
    {"else", NEVER, 0},
    {"patternProperties", NEVER, 0},
    {"propertyNames", NEVER, 0},
    {"dependencies", NEVER, 0},
    {"dependentRequired", NEVER, 0},
    {"dependentSchemas", NEVER, 0},
    {"unevaluatedProperties", NEVER, 0},
    {"unevaluatedItems", NEVER, 0},
    {"contains", NEVER, 0},
    {"minContains", NEVER, 0},
    {"maxContains", NEVER, 0},
    {"$dynamicRef", NEVER, 0},
    {"$recursiveRef", NEVER, 0},
};

static const struct keyword *find_keyword(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strlen(keywords[i].name) == n && memcmp(keywords[i].name, name, n) == 0)
            return &keywords[i];
    return NULL;
}

static bool is_schema(const struct qvl_json_node *node)
{
    return node->kind == QVL_JSON_OBJECT || node->kind == QVL_JSON_TRUE || node->kind == QVL_JSON_FALSE;
}

static bool are_schemas(const struct qvl_json_node *list)
{
    const struct qvl_json_node *entry = list + 1;
    if ((list->kind != QVL_JSON_ARRAY && list->kind != QVL_JSON_OBJECT) ||
        (list->kind == QVL_JSON_ARRAY && list->n_child == 0))
        return false;
    for (uint32_t i = 0; i < list->n_child; i++, entry = qvl_json_next(entry))
        if (!is_schema(entry))
            return false;
    return true;
}

/* NULL, or what is wrong with it. */
static const char *find_fault(const struct keyword *k, const struct qvl_json_node *value)
{
    switch (k->kind) {
    case SCHEMA: return is_schema(value) ? NULL : qvl_text("it must be a schema: an object, true or false");
    case SCHEMA_OR_SCHEMAS:
        if (value->kind != QVL_JSON_ARRAY)
            return is_schema(value) ? NULL : qvl_text("it must be a schema: an object, true or false");
        return are_schemas(value) ? NULL : qvl_text("it must be a list of schemas");
    case SCHEMAS:
        return value->kind == QVL_JSON_ARRAY && are_schemas(value) ? NULL
                                                                   : qvl_text("it must be a list of schemas");
    case MEMBERS:
        return value->kind == QVL_JSON_OBJECT && are_schemas(value) ? NULL
                                                                    : qvl_text("it must be an object of schemas");
    case LIST: return value->kind == QVL_JSON_ARRAY ? NULL : qvl_text("it must be a list");
    case TEXT: return value->kind == QVL_JSON_STRING ? NULL : qvl_text("it must be a string");
    case FLAG:
        return value->kind == QVL_JSON_TRUE || value->kind == QVL_JSON_FALSE ? NULL
                                                                             : qvl_text("it must be true or false");
    case NEVER: return qvl_text("this keyword cannot be enforced");
    case VALUE: break;
    }
    return NULL;
}

/* ---- places -------------------------------------------------------------------------------------- */

#define PLACE_BYTES 240

static void add_piece(char out[PLACE_BYTES], size_t *n, const char *s, size_t n_s)
{
    for (size_t i = 0; i < n_s && *n + 3 < PLACE_BYTES; i++) {
        if (s[i] == '~' || s[i] == '/')
            out[(*n)++] = '~';
        out[(*n)++] = (char)(s[i] == '~' ? '0' : s[i] == '/' ? '1' : s[i]);
    }
}

/* The JSON pointer of a node, cut where it is long. */
static void name_place(const struct qvl_schema *schema, const struct qvl_json_node *node, const char *keyword,
                       char out[PLACE_BYTES])
{
    const struct qvl_json_node *at = schema->tree.node;
    size_t n = 0;
    out[n++] = '#';
    while (at != node) {
        const struct qvl_json_node *child = at + 1;
        uint32_t i = 0;
        for (; node >= qvl_json_next(child); child = qvl_json_next(child))
            i++;
        char number[16];
        size_t n_number = 0;
        for (uint32_t x = i; n_number == 0 || x > 0; x /= 10)
            number[sizeof number - ++n_number] = (char)('0' + x % 10);
        if (n + 1 < PLACE_BYTES - 2)
            out[n++] = '/';
        if (child->key)
            add_piece(out, &n, child->key, child->n_key);
        else
            add_piece(out, &n, number + sizeof number - n_number, n_number);
        at = child;
    }
    if (keyword && n + 1 < PLACE_BYTES - 2) {
        out[n++] = '/';
        add_piece(out, &n, keyword, strlen(keyword));
    }
    n -= qvl_utf8_n_incomplete(out, n);
    out[n] = 0;
    qvl_utf8_make_printable(out, n);
}

enum qvl_status qvl_schema_refuse(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                  enum qvl_status status, const char *keyword, const char *why,
                                  struct qvl_error *err)
{
    char place[PLACE_BYTES];
    name_place(schema, node, keyword, place);
    return qvl_fail(err, status, "JSON schema, %s: %.600s", place, qvl_text(why));
}

enum qvl_status qvl_schema_cannot(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                  enum qvl_status status, const char *keyword, const char *why,
                                  struct qvl_error *err)
{
    if (schema->is_lenient && status != QVL_ERR_MEMORY)
        return QVL_OK;
    return qvl_schema_refuse(schema, node, status, keyword, why, err);
}

/* ---- opening and checking ------------------------------------------------------------------------- */

enum { WHITE, GREY, BLACK };

enum qvl_status qvl_schema_open(const char *text, size_t n, struct qvl_schema *out, struct qvl_error *err)
{
    *out = (struct qvl_schema){0};
    if (n > QVL_MAX_CONSTRAINT_BYTES)
        return qvl_fail(err, QVL_ERR_LIMIT, "a JSON schema of %zu bytes: at most %u are allowed", n,
                        QVL_MAX_CONSTRAINT_BYTES);
    enum qvl_status status =
        qvl_json_tree_read(text, n, qvl_text("JSON schema"), QVL_MAX_SCHEMA_VALUES, &out->arena, &out->tree, err);
    if (status)
        return status;
    if (!is_schema(out->tree.node))
        return qvl_fail(err, QVL_ERR_ARGUMENT, "a JSON schema must be an object, true or false");
    out->colour = qvl_arena_alloc(&out->arena, out->tree.n, sizeof *out->colour, "the grammar", err);
    return out->colour ? QVL_OK : err->status;
}

void qvl_schema_close(struct qvl_schema *schema)
{
    qvl_json_tree_free(&schema->tree);
    qvl_arena_free(&schema->arena);
}

/* Of the schemas that hold where this one holds, or may: the i-th, or NULL. */
static enum qvl_status find_neighbour(const struct qvl_schema *schema, const struct qvl_json_node *node, uint32_t i,
                                      const struct qvl_json_node **out, struct qvl_error *err)
{
    static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
    *out = NULL;
    enum qvl_status status = qvl_schema_follow(schema, node, out, err);
    if (status || (*out && i-- == 0))
        return status;
    *out = NULL;
    for (int k = 0; k < 3; k++) {
        const struct qvl_json_node *list = qvl_json_member(node, lists[k]);
        if (!list || list->kind != QVL_JSON_ARRAY)
            continue;
        if (i < list->n_child) {
            const struct qvl_json_node *entry = list + 1;
            while (i-- > 0)
                entry = qvl_json_next(entry);
            *out = entry;
            return QVL_OK;
        }
        i -= list->n_child;
    }
    return QVL_OK;
}

/* Depth first over neighbours; a grey one is met again only in a circle. */
static enum qvl_status check_circles(struct qvl_schema *schema, const struct qvl_json_node *first,
                                     struct qvl_error *err)
{
    struct {
        const struct qvl_json_node *node;
        uint32_t i;
    } path[QVL_MAX_SCHEMA_TOGETHER];
    size_t n = 0;
    const struct qvl_json_node *root = schema->tree.node;
    if (schema->colour[first - root] == BLACK)
        return QVL_OK;
    path[n].node = first;
    path[n++].i = 0;
    schema->colour[first - root] = GREY;
    while (n > 0) {
        const struct qvl_json_node *node = path[n - 1].node, *next = NULL;
        enum qvl_status status = find_neighbour(schema, node, path[n - 1].i++, &next, err);
        if (status)
            return status;
        if (!next) {
            schema->colour[node - root] = BLACK;
            n--;
        } else if (schema->colour[next - root] == GREY) {
            return qvl_schema_refuse(schema, next, QVL_ERR_ARGUMENT, NULL,
                                     "it refers to itself with nothing between", err);
        } else if (schema->colour[next - root] == WHITE) {
            if (n == QVL_MAX_SCHEMA_TOGETHER)
                return qvl_schema_refuse(schema, next, QVL_ERR_LIMIT, NULL, "too many schemas hold at one place",
                                         err);
            schema->colour[next - root] = GREY;
            path[n].node = next;
            path[n++].i = 0;
        }
    }
    return QVL_OK;
}

/* A value of one alternative must be none of another. */
static enum qvl_status check_one_of(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                    struct qvl_error *err)
{
    const struct qvl_json_node *list = qvl_json_member(node, "oneOf");
    if (list && list->n_child > QVL_MAX_SCHEMA_TOGETHER)
        return qvl_schema_refuse(schema, node, QVL_ERR_LIMIT, "oneOf", "too many schemas hold at one place", err);
    const struct qvl_json_node *a = list ? list + 1 : NULL;
    for (uint32_t i = 0; list && i < list->n_child; i++, a = qvl_json_next(a)) {
        const struct qvl_json_node *b = list + 1;
        for (uint32_t k = 0; k < list->n_child; k++, b = qvl_json_next(b))
            if (i != k && !schema->is_lenient && !qvl_schema_excludes(schema, a, b))
                return qvl_schema_refuse(schema, b, QVL_ERR_ARGUMENT, NULL,
                                         "a value may satisfy this and another schema of oneOf; anyOf allows that",
                                         err);
    }
    return QVL_OK;
}

enum qvl_status qvl_schema_check(struct qvl_schema *schema, const struct qvl_json_node *node, struct qvl_error *err)
{
    const struct qvl_json_node *member = node + 1;
    for (uint32_t i = 0; i < node->n_child; i++, member = qvl_json_next(member)) {
        const struct keyword *k = find_keyword(member->key, member->n_key);
        bool is_left_out = k && k->kind == NEVER && schema->is_lenient;
        const char *fault = k && !is_left_out ? find_fault(k, member) : NULL;
        if (fault)
            return qvl_schema_refuse(schema, node, QVL_ERR_ARGUMENT, k->name, fault, err);
    }
    enum qvl_status status = check_circles(schema, node, err);
    return status ? status : check_one_of(schema, node, err);
}

/* ---- $ref ---------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* One step of a JSON pointer in a URI fragment, decoded; returns how many bytes it had. */
static size_t take_step(const char *s, size_t n, char *out, size_t *n_out)
{
    size_t i = 0;
    *n_out = 0;
    while (i < n && s[i] != '/') {
        char c = s[i++];
        if (c == '%' && i + 1 < n && hex_digit(s[i]) >= 0 && hex_digit(s[i + 1]) >= 0) {
            c = (char)(hex_digit(s[i]) << 4 | hex_digit(s[i + 1]));
            i += 2;
        }
        if (c == '~' && i < n && (s[i] == '0' || s[i] == '1'))
            c = s[i++] == '0' ? '~' : '/';
        out[(*n_out)++] = c;
    }
    return i;
}

static const struct qvl_json_node *enter(const struct qvl_json_node *node, const char *step, size_t n)
{
    uint32_t i = 0;
    if (node->kind == QVL_JSON_OBJECT)
        return qvl_schema_member(node, step, n);
    if (node->kind != QVL_JSON_ARRAY || n == 0 || n > 6)
        return NULL;
    for (size_t k = 0; k < n; k++) {
        if (step[k] < '0' || step[k] > '9')
            return NULL;
        i = i * 10 + (uint32_t)(step[k] - '0');
    }
    const struct qvl_json_node *entry = node + 1;
    if (i >= node->n_child)
        return NULL;
    while (i-- > 0)
        entry = qvl_json_next(entry);
    return entry;
}

enum qvl_status qvl_schema_follow(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                  const struct qvl_json_node **out, struct qvl_error *err)
{
    const struct qvl_json_node *ref = qvl_json_member(node, "$ref"), *at = schema->tree.node;
    char step[QVL_MAX_SCHEMA_REF_BYTES];
    *out = NULL;
    if (!ref || ref->kind != QVL_JSON_STRING)
        return QVL_OK;
    if (ref->n > sizeof step)
        return qvl_schema_refuse(schema, node, QVL_ERR_LIMIT, "$ref", "it is too long", err);
    if (ref->n == 0 || ref->utf8[0] != '#' || (ref->n > 1 && ref->utf8[1] != '/'))
        return qvl_schema_refuse(schema, node, QVL_ERR_ARGUMENT, "$ref",
                                 "only places in the schema itself can be referred to, as in #/$defs/name", err);
    for (size_t i = 1, n_step = 0; i < ref->n && at;) {
        i++; /* the slash */
        i += take_step(ref->utf8 + i, ref->n - i, step, &n_step);
        at = enter(at, step, n_step);
    }
    if (!at || !is_schema(at))
        return qvl_schema_refuse(schema, node, QVL_ERR_ARGUMENT, "$ref", "no schema stands at that place", err);
    *out = at;
    return QVL_OK;
}

/* ---- questions ----------------------------------------------------------------------------------- */

const struct qvl_json_node *qvl_schema_member(const struct qvl_json_node *object, const char *key, size_t n_key)
{
    if (!object || object->kind != QVL_JSON_OBJECT)
        return NULL;
    const struct qvl_json_node *member = object + 1;
    for (uint32_t i = 0; i < object->n_child; i++, member = qvl_json_next(member))
        if (member->n_key == n_key && memcmp(member->key, key, n_key) == 0)
            return member;
    return NULL;
}

enum qvl_status qvl_schema_count(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                 const char *keyword, uint32_t *out, struct qvl_error *err)
{
    const struct qvl_json_node *value = qvl_json_member(node, keyword);
    double x = 0;
    if (!value)
        return QVL_OK;
    if (!qvl_json_number(value, &x) || x < 0 || x > floor(x))
        return qvl_schema_refuse(schema, node, QVL_ERR_ARGUMENT, keyword, "it must be a whole number, not negative",
                                 err);
    if (x > QVL_MAX_GRAMMAR_REPEAT)
        return qvl_schema_cannot(schema, node, QVL_ERR_LIMIT, keyword, "it is more than qvl can count", err);
    *out = (uint32_t)x;
    return QVL_OK;
}

enum qvl_status qvl_schema_items(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                 const struct qvl_json_node **prefix, const struct qvl_json_node **rest,
                                 struct qvl_error *err)
{
    const struct qvl_json_node *items = qvl_json_member(node, "items");
    *prefix = qvl_json_member(node, "prefixItems");
    *rest = items;
    if (items && items->kind == QVL_JSON_ARRAY) { /* before draft 2020-12 */
        if (*prefix)
            return qvl_schema_refuse(schema, node, QVL_ERR_ARGUMENT, "items",
                                     "beside prefixItems it must be a schema", err);
        *prefix = items;
        *rest = qvl_json_member(node, "additionalItems");
    }
    return QVL_OK;
}

/* A bound of one keyword; where that one is a flag (draft 4), it tells of the bound without "exclusive". */
static enum qvl_status take_bound(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                  const char *keyword, bool is_exclusive, bool is_max,
                                  struct qvl_number_bound *bound, struct qvl_error *err)
{
    const struct qvl_json_node *value = qvl_json_member(node, keyword);
    struct qvl_number_bound new = {.is_set = true, .is_exclusive = is_exclusive};
    if (!value || (is_exclusive && (value->kind == QVL_JSON_TRUE || value->kind == QVL_JSON_FALSE)))
        return QVL_OK;
    if (value->kind != QVL_JSON_INTEGER && value->kind != QVL_JSON_REAL)
        return qvl_schema_refuse(schema, node, QVL_ERR_ARGUMENT, keyword, "it must be a number", err);
    if (!qvl_decimal_read(value->utf8, value->n, &new.value))
        return qvl_schema_cannot(schema, node, QVL_ERR_LIMIT, keyword,
                                 "a bound with more digits than qvl can compare", err);
    if (!is_exclusive) {
        const struct qvl_json_node *flag = qvl_json_member(node, is_max ? "exclusiveMaximum" : "exclusiveMinimum");
        new.is_exclusive = flag && flag->kind == QVL_JSON_TRUE;
    }
    int order = bound->is_set ? qvl_decimal_compare(&new.value, &bound->value) : 0;
    if (!bound->is_set || (is_max ? order < 0 : order > 0) || (order == 0 && new.is_exclusive))
        *bound = new;
    return QVL_OK;
}

static enum qvl_status take_multiple(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                     struct qvl_number_facts *f, struct qvl_error *err)
{
    const struct qvl_json_node *value = qvl_json_member(node, "multipleOf");
    struct qvl_decimal d;
    uint64_t count = 0;
    if (!value)
        return QVL_OK;
    bool is_number = value->kind == QVL_JSON_INTEGER || value->kind == QVL_JSON_REAL;
    bool is_known = is_number && qvl_decimal_read(value->utf8, value->n, &d) && !d.is_negative && !d.is_huge &&
                    d.n_whole + d.n_fraction <= 18 && d.n_fraction <= 9;
    for (size_t i = 0; is_known && i < d.n_whole + d.n_fraction; i++)
        count = count * 10 + (i < d.n_whole ? d.whole[i] : d.fraction[i - d.n_whole]);
    if (count == 0 || count > QVL_MAX_SCHEMA_MULTIPLE || f->n_multiple == QVL_MAX_SCHEMA_MULTIPLES)
        return qvl_schema_cannot(schema, node, QVL_ERR_ARGUMENT, "multipleOf",
                                 "it can be enforced only for 1 to 1000, also behind a decimal point", err);
    f->multiple[f->n_multiple++] = (struct qvl_number_multiple){(uint32_t)count, (uint32_t)d.n_fraction};
    return QVL_OK;
}

enum qvl_status qvl_schema_number(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                  struct qvl_number_facts *f, struct qvl_error *err)
{
    enum qvl_status status;
    if ((status = take_bound(schema, node, "minimum", false, false, &f->min, err)) ||
        (status = take_bound(schema, node, "exclusiveMinimum", true, false, &f->min, err)) ||
        (status = take_bound(schema, node, "maximum", false, true, &f->max, err)) ||
        (status = take_bound(schema, node, "exclusiveMaximum", true, true, &f->max, err)))
        return status;
    return take_multiple(schema, node, f, err);
}

/* ---- types and values ---------------------------------------------------------------------------- */

static uint32_t type_named(const struct qvl_json_node *name)
{
    static const struct {
        const char *name;
        uint32_t type;
    } types[] = {{"null", QVL_TYPE_NULL},     {"boolean", QVL_TYPE_BOOLEAN}, {"integer", QVL_TYPE_INTEGER},
                 {"number", QVL_TYPE_NUMBER}, {"string", QVL_TYPE_STRING},   {"array", QVL_TYPE_ARRAY},
                 {"object", QVL_TYPE_OBJECT}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (qvl_json_equals(name, types[i].name))
            return types[i].type;
    return 0;
}

enum qvl_status qvl_schema_types(const struct qvl_schema *schema, const struct qvl_json_node *node, uint32_t *out,
                                 struct qvl_error *err)
{
    const struct qvl_json_node *type = qvl_json_member(node, "type");
    *out = 0;
    if (!type)
        return QVL_OK;
    bool is_list = type->kind == QVL_JSON_ARRAY;
    const struct qvl_json_node *name = is_list ? type + 1 : type;
    uint32_t n = is_list ? type->n_child : 1;
    for (uint32_t i = 0; i < n; i++, name = qvl_json_next(name)) {
        uint32_t one = type_named(name);
        if (one == 0)
            return qvl_schema_refuse(schema, node, QVL_ERR_ARGUMENT, "type", "this is no type of JSON Schema", err);
        *out |= one;
    }
    if (n == 0)
        return qvl_schema_refuse(schema, node, QVL_ERR_ARGUMENT, "type", "the list is empty", err);
    return QVL_OK;
}

uint32_t qvl_schema_implied_types(const struct qvl_json_node *node)
{
    uint32_t types = 0;
    const struct qvl_json_node *member = node + 1;
    for (uint32_t i = 0; node->kind == QVL_JSON_OBJECT && i < node->n_child; i++, member = qvl_json_next(member)) {
        const struct keyword *k = find_keyword(member->key, member->n_key);
        types |= k ? k->types : 0;
    }
    return types;
}

uint32_t qvl_schema_type_of(const struct qvl_json_node *value)
{
    double x = 0;
    switch (value->kind) {
    case QVL_JSON_NULL: return QVL_TYPE_NULL;
    case QVL_JSON_TRUE:
    case QVL_JSON_FALSE: return QVL_TYPE_BOOLEAN;
    case QVL_JSON_INTEGER: return QVL_TYPE_INTEGER;
    case QVL_JSON_REAL: /* 1.0 is an integer */
        return qvl_json_number(value, &x) && x >= floor(x) && x <= floor(x) ? QVL_TYPE_INTEGER : QVL_TYPE_REAL;
    case QVL_JSON_STRING: return QVL_TYPE_STRING;
    case QVL_JSON_ARRAY: return QVL_TYPE_ARRAY;
    default: return QVL_TYPE_OBJECT;
    }
}

static bool is_equal(const struct qvl_json_node *a, const struct qvl_json_node *b)
{
    struct qvl_decimal x, y;
    bool is_number = qvl_schema_type_of(a) & QVL_TYPE_NUMBER;
    if (is_number && (qvl_schema_type_of(b) & QVL_TYPE_NUMBER) && qvl_decimal_read(a->utf8, a->n, &x) &&
        qvl_decimal_read(b->utf8, b->n, &y) && !x.is_huge && !y.is_huge)
        return qvl_decimal_compare(&x, &y) == 0;
    return a->kind == b->kind && a->n == b->n && (a->n == 0 || memcmp(a->utf8, b->utf8, a->n) == 0);
}

bool qvl_schema_names(const struct qvl_json_node *node, const struct qvl_json_node *value)
{
    const struct qvl_json_node *list = qvl_json_member(node, "enum"), *one = qvl_schema_member(node, "const", 5);
    const struct qvl_json_node *entry = list ? list + 1 : NULL;
    bool is_in_list = !list;
    for (uint32_t i = 0; list && i < list->n_child && !is_in_list; i++, entry = qvl_json_next(entry))
        is_in_list = is_equal(entry, value);
    return is_in_list && (!one || is_equal(one, value));
}

enum qvl_status qvl_schema_spell(const struct qvl_json_node *value, struct qvl_bytes *out, struct qvl_error *err)
{
    if (value->kind == QVL_JSON_STRING)
        return qvl_bytes_add_json_string(out, value->utf8, value->n, err);
    struct qvl_json_reader json = {.text = value->utf8, .n = value->n, .name = "enum", .status = QVL_ERR_ARGUMENT};
    enum qvl_status status = qvl_json_reader_next(&json, err);
    if (!status)
        status = qvl_json_reader_dump(&json, out, err);
    qvl_json_reader_free(&json);
    return status;
}
