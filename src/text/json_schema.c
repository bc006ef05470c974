#include "text/json_schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/json_tree.h"
#include "base/language.h"
#include "base/limits.h"
#include "text/json_number.h"
#include "text/json_string.h"
#include "text/schema_node.h"

#define NO_LIMIT UINT32_MAX

struct set { /* of schemas: numbers of nodes, sorted */
    size_t begin;
    uint32_t n;
};

struct draw {
    struct qvl_schema schema;
    struct qvl_nfa *nfa;
    struct qvl_error *err;
    struct qvl_schema_rules *rules;
    struct set rule[QVL_MAX_SCHEMA_RULES]; /* those of this schema: the schemas that hold where rule i is used */
    uint32_t first, n_rule;                /* rule i of this schema is number first + i of all */
    uint32_t root_types;                   /* that the schema itself may be */
    uint32_t *item;                        /* of all sets */
    size_t n_item, n_item_alloc;
    struct qvl_bytes literal; /* of the value at hand */
    size_t n_work;            /* entries of the tables that strings and numbers took on the way */
};

/* Schemas that hold together, in the making or all. */
struct together {
    uint32_t node[QVL_MAX_SCHEMA_TOGETHER];
    uint32_t n;
    bool is_impossible; /* one of them is false */
};

/* What they are when each choice of anyOf and oneOf is made: one of the cases of a rule. */
struct choice_case {
    struct together all;
    uint32_t n_expanded;                      /* of all.node: those whose $ref, allOf … are followed */
    uint32_t choice[QVL_MAX_SCHEMA_TOGETHER]; /* anyOf, oneOf: arrays still to choose from */
    uint32_t n_choice;
};

static const struct qvl_json_node *node_at(const struct draw *d, uint32_t i)
{
    return &d->schema.tree.node[i];
}

static uint32_t number_of(const struct draw *d, const struct qvl_json_node *node)
{
    return (uint32_t)(node - d->schema.tree.node);
}

/* ---- rules --------------------------------------------------------------------------------------- */

static enum qvl_status too_large(const struct draw *d, uint32_t node, const char *what)
{
    return qvl_schema_refuse(&d->schema, node_at(d, node), QVL_ERR_LIMIT, NULL, what, d->err);
}

static enum qvl_status add_schema(const struct draw *d, struct together *t, const struct qvl_json_node *node)
{
    uint32_t i_node = number_of(d, node);
    if (node->kind == QVL_JSON_TRUE)
        return QVL_OK;
    if (node->kind == QVL_JSON_FALSE) {
        t->is_impossible = true;
        return QVL_OK;
    }
    for (uint32_t i = 0; i < t->n; i++)
        if (t->node[i] == i_node)
            return QVL_OK;
    if (t->n == QVL_MAX_SCHEMA_TOGETHER)
        return too_large(d, i_node, "too many schemas hold at one place");
    t->node[t->n++] = i_node;
    return QVL_OK;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static enum qvl_status new_rule(struct draw *d, struct set set, uint32_t *out)
{
    struct qvl_schema_rules *rules = d->rules;
    if (rules->n == QVL_MAX_SCHEMA_RULES)
        return too_large(d, 0, "the schema is too complex");
    d->rule[d->n_rule++] = set;
    rules->start[rules->n] = qvl_nfa_state(d->nfa);
    *out = rules->n++;
    return d->nfa->status;
}

static bool is_common(const struct qvl_schema_rules *rules, uint32_t rule)
{
    for (int i = 0; i < QVL_N_COMMON_RULE; i++)
        if (rule != 0 && rules->common[i] == rule)
            return true;
    return false;
}

/* The rule of what holds together, in the order in which it stands in the schema; a new one is drawn when its turn
 * comes. */
static enum qvl_status find_rule(struct draw *d, const struct together *t, uint32_t *out)
{
    uint32_t sorted[QVL_MAX_SCHEMA_TOGETHER];
    memcpy(sorted, t->node, t->n * sizeof *sorted);
    qsort(sorted, t->n, sizeof *sorted, compare_numbers);
    uint32_t begin = d->root_types == QVL_TYPE_ANY ? 0 : 1; /* elsewhere the root may be anything */
    for (uint32_t i = begin; i < d->n_rule; i++)
        if (!is_common(d->rules, d->first + i) && d->rule[i].n == t->n &&
            (t->n == 0 || memcmp(d->item + d->rule[i].begin, sorted, t->n * sizeof *sorted) == 0)) {
            *out = d->first + i;
            return QVL_OK;
        }
    struct set set = {d->n_item, t->n};
    uint32_t *item = qvl_grow(d->item, &d->n_item_alloc, d->n_item + t->n + 1, sizeof *item, "the grammar", d->err);
    if (!item)
        return d->err->status;
    d->item = item;
    memcpy(item + d->n_item, sorted, t->n * sizeof *item);
    d->n_item += t->n;
    return new_rule(d, set, out);
}

/* What holds together is read between two states; nothing is drawn where it is impossible. */
static enum qvl_status draw_call(struct draw *d, uint32_t from, uint32_t to, const struct together *t)
{
    uint32_t rule = 0;
    if (t->is_impossible)
        return QVL_OK;
    enum qvl_status status = find_rule(d, t, &rule);
    if (!status)
        qvl_nfa_call(d->nfa, from, to, rule);
    return status;
}

/* A value without restriction. */
static enum qvl_status draw_common(struct draw *d, uint32_t from, uint32_t to, enum qvl_common_rule which)
{
    uint32_t *rule = &d->rules->common[which];
    enum qvl_status status = QVL_OK;
    if (*rule == 0) {
        uint32_t end = qvl_nfa_state(d->nfa);
        if ((status = new_rule(d, (struct set){0}, rule)))
            return status;
        qvl_nfa_accept(d->nfa, end);
        const struct qvl_number_facts number = {.is_integer = which == QVL_ANY_INTEGER};
        uint32_t start = d->rules->start[*rule];
        status = which == QVL_ANY_STRING ? qvl_json_string_draw(d->nfa, start, end, &(struct qvl_json_string){0})
                                         : qvl_json_number_draw(d->nfa, start, end, &number, d->err);
    }
    qvl_nfa_call(d->nfa, from, to, *rule);
    return status ? status : d->nfa->status;
}

/* A colon or comma, and perhaps a space. */
static uint32_t draw_separator(struct draw *d, uint32_t from, char separator)
{
    uint32_t at = qvl_nfa_text(d->nfa, from, &separator, 1), end = qvl_nfa_text(d->nfa, at, " ", 1);
    qvl_nfa_skip(d->nfa, at, end);
    return end;
}

/* ---- strings and numbers ------------------------------------------------------------------------- */

static enum qvl_status restrict_format(const struct draw *d, const struct qvl_json_node *schema,
                                       struct qvl_json_string *s)
{
    const struct qvl_json_node *format = qvl_json_member(schema, "format");
    bool is_known = true;
    enum qvl_status status =
        format ? qvl_json_string_set_format(s, format->utf8, format->n, &is_known, d->err) : QVL_OK;
    if (!status && !is_known)
        status = qvl_schema_cannot(&d->schema, schema, QVL_ERR_ARGUMENT, "format",
                                   "this format of text is not one that can be enforced", d->err);
    return status;
}

static enum qvl_status restrict_pattern(const struct draw *d, const struct qvl_json_node *schema,
                                        struct qvl_json_string *s)
{
    const struct qvl_json_node *pattern = qvl_json_member(schema, "pattern");
    struct qvl_error why = {0};
    if (!pattern)
        return QVL_OK;
    enum qvl_status status = qvl_json_string_set_pattern(s, pattern->utf8, pattern->n, &why);
    return status ? qvl_schema_cannot(&d->schema, schema, status, "pattern", why.text, d->err) : QVL_OK;
}

static enum qvl_status restrict_length(const struct draw *d, const struct qvl_json_node *schema,
                                       struct qvl_json_string *s)
{
    uint32_t min = 0, max = NO_LIMIT;
    enum qvl_status status;
    if ((status = qvl_schema_count(&d->schema, schema, "minLength", &min, d->err)) ||
        (status = qvl_schema_count(&d->schema, schema, "maxLength", &max, d->err)) || (min == 0 && max == NO_LIMIT))
        return status;
    return qvl_json_string_set_length(s, min, max, d->err);
}

/* More work done on strings and numbers: a schema may hold thousands of them. */
static enum qvl_status count_work(struct draw *d, size_t n)
{
    d->n_work += n;
    return d->n_work > QVL_MAX_GRAMMAR_WORK ? too_large(d, 0, "the schema is too complex") : QVL_OK;
}

/* The strings that all of them allow. */
static enum qvl_status gather_string(struct draw *d, const struct together *t, struct qvl_json_string *out)
{
    enum qvl_status status = QVL_OK;
    for (uint32_t i = 0; i < t->n && !status; i++) {
        const struct qvl_json_node *schema = node_at(d, t->node[i]);
        if (!(status = restrict_length(d, schema, out)) && !(status = restrict_format(d, schema, out)))
            status = restrict_pattern(d, schema, out);
    }
    return status ? status : count_work(d, out->n_work);
}

static enum qvl_status draw_string(struct draw *d, uint32_t from, uint32_t to, const struct together *t)
{
    struct qvl_json_string s = {0};
    enum qvl_status status = gather_string(d, t, &s);
    if (!status)
        status =
            s.is_restricted ? qvl_json_string_draw(d->nfa, from, to, &s) : draw_common(d, from, to, QVL_ANY_STRING);
    qvl_json_string_free(&s);
    return status;
}

static enum qvl_status gather_number(struct draw *d, const struct together *t, struct qvl_number_facts *f)
{
    enum qvl_status status = QVL_OK;
    for (uint32_t i = 0; i < t->n && !status; i++)
        status = qvl_schema_number(&d->schema, node_at(d, t->node[i]), f, d->err);
    for (size_t i = 0; i < f->n_multiple && !status; i++) /* its automaton: ten digits from each remainder */
        status = count_work(d, 10 * (size_t)f->multiple[i].count * (f->multiple[i].n_fraction + 1));
    return status;
}

static bool is_restricted(const struct qvl_number_facts *f)
{
    return f->min.is_set || f->max.is_set || f->n_multiple > 0;
}

static enum qvl_status draw_number(struct draw *d, uint32_t from, uint32_t to, const struct together *t,
                                   bool is_integer)
{
    struct qvl_number_facts f = {.is_integer = is_integer};
    enum qvl_status status = gather_number(d, t, &f);
    if (status)
        return status;
    if (!is_restricted(&f))
        return draw_common(d, from, to, is_integer ? QVL_ANY_INTEGER : QVL_ANY_NUMBER);
    return qvl_json_number_draw(d->nfa, from, to, &f, d->err);
}

/* ---- arrays -------------------------------------------------------------------------------------- */

struct array_facts {
    uint32_t min, max, n_prefix; /* n_prefix: items with schemas of their own */
};

static enum qvl_status gather_array(const struct draw *d, const struct together *t, struct array_facts *f)
{
    bool is_rest_named = false;
    enum qvl_status status = QVL_OK;
    *f = (struct array_facts){.max = NO_LIMIT};
    for (uint32_t i = 0; i < t->n && !status; i++) {
        const struct qvl_json_node *schema = node_at(d, t->node[i]), *rest = NULL, *prefix = NULL;
        uint32_t min = 0, max = NO_LIMIT;
        if ((status = qvl_schema_count(&d->schema, schema, "minItems", &min, d->err)) ||
            (status = qvl_schema_count(&d->schema, schema, "maxItems", &max, d->err)) ||
            (status = qvl_schema_items(&d->schema, schema, &prefix, &rest, d->err)))
            break;
        uint32_t n_prefix = prefix ? prefix->n_child : 0;
        f->min = min > f->min ? min : f->min;
        f->max = max < f->max ? max : f->max;
        f->n_prefix = n_prefix > f->n_prefix ? n_prefix : f->n_prefix;
        is_rest_named = is_rest_named || rest;
        if (rest && rest->kind == QVL_JSON_FALSE && n_prefix < f->max)
            f->max = n_prefix;
    }
    if (f->n_prefix > 0 && !is_rest_named && f->min <= f->n_prefix && f->max > f->n_prefix)
        f->max = f->n_prefix; /* what is not named is not written */
    for (uint32_t i = 0; i < t->n && !status; i++) {
        const struct qvl_json_node *unique = qvl_json_member(node_at(d, t->node[i]), "uniqueItems");
        if (unique && unique->kind != QVL_JSON_FALSE && f->max > 1)
            status = qvl_schema_cannot(&d->schema, node_at(d, t->node[i]), QVL_ERR_ARGUMENT, "uniqueItems",
                                       "this keyword cannot be enforced", d->err);
    }
    return status;
}

/* What holds for item i. */
static enum qvl_status gather_item(const struct draw *d, const struct together *t, uint32_t i_item,
                                   struct together *out)
{
    enum qvl_status status = QVL_OK;
    *out = (struct together){.n = 0};
    for (uint32_t i = 0; i < t->n && !status; i++) {
        const struct qvl_json_node *rest = NULL, *prefix = NULL;
        if ((status = qvl_schema_items(&d->schema, node_at(d, t->node[i]), &prefix, &rest, d->err)))
            break;
        const struct qvl_json_node *item = rest;
        if (prefix && i_item < prefix->n_child) {
            item = prefix + 1;
            for (uint32_t k = 0; k < i_item; k++)
                item = qvl_json_next(item);
        }
        if (item)
            status = add_schema(d, out, item);
    }
    return status;
}

static enum qvl_status draw_item(struct draw *d, uint32_t from, uint32_t to, const struct together *t,
                                 uint32_t i_item)
{
    struct together item;
    enum qvl_status status = gather_item(d, t, i_item, &item);
    if (status)
        return status;
    return draw_call(d, i_item > 0 ? draw_separator(d, from, ',') : from, to, &item);
}

static enum qvl_status draw_array(struct draw *d, uint32_t from, uint32_t to, const struct together *t)
{
    struct array_facts f;
    enum qvl_status status = gather_array(d, t, &f);
    if (status || f.min > f.max)
        return status;
    uint32_t at = qvl_nfa_text(d->nfa, from, "[", 1), n_single = f.max;
    if (f.max == NO_LIMIT) {
        n_single = f.min > f.n_prefix ? f.min : f.n_prefix;
        n_single = n_single > 0 ? n_single : 1; /* the comma stands between two */
    }
    for (uint32_t i = 0; i <= n_single && !status && !d->nfa->status; i++) {
        if (i >= f.min)
            qvl_nfa_bytes(d->nfa, at, to, ']', ']');
        if (i == n_single)
            break;
        uint32_t next = qvl_nfa_state(d->nfa);
        status = draw_item(d, at, next, t, i);
        at = next;
    }
    if (!status && f.max == NO_LIMIT)
        status = draw_item(d, at, at, t, n_single);
    return status ? status : d->nfa->status;
}

/* ---- objects ------------------------------------------------------------------------------------- */

struct property {
    const char *key;
    size_t n_key;
    bool is_required;
};

struct object_facts {
    struct property property[QVL_MAX_SCHEMA_PROPERTIES]; /* in the order of the schema */
    uint32_t n, n_required;
    bool is_open; /* others may be written, too */
};

static struct property *find_property(struct object_facts *f, const char *key, size_t n_key)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (f->property[i].n_key == n_key && memcmp(f->property[i].key, key, n_key) == 0)
            return &f->property[i];
    return NULL;
}

static enum qvl_status add_property(const struct draw *d, const struct qvl_json_node *schema,
                                    struct object_facts *f, const char *key, size_t n_key, bool is_required)
{
    struct property *p = find_property(f, key, n_key);
    if (!p && f->n == QVL_MAX_SCHEMA_PROPERTIES)
        return too_large(d, number_of(d, schema), "an object has more properties than qvl can enforce");
    if (!p) {
        p = &f->property[f->n++];
        *p = (struct property){.key = key, .n_key = n_key};
    }
    f->n_required += is_required && !p->is_required;
    p->is_required = p->is_required || is_required;
    return QVL_OK;
}

static enum qvl_status add_properties(const struct draw *d, const struct qvl_json_node *schema,
                                      struct object_facts *f)
{
    const struct qvl_json_node *properties = qvl_json_member(schema, "properties");
    const struct qvl_json_node *entry = properties ? properties + 1 : NULL;
    enum qvl_status status = QVL_OK;
    for (uint32_t i = 0; properties && i < properties->n_child && !status; i++, entry = qvl_json_next(entry))
        status = add_property(d, schema, f, entry->key, entry->n_key, false);
    return status;
}

static enum qvl_status add_required(const struct draw *d, const struct qvl_json_node *schema,
                                    struct object_facts *f)
{
    const struct qvl_json_node *required = qvl_json_member(schema, "required");
    const struct qvl_json_node *entry = required ? required + 1 : NULL;
    enum qvl_status status = QVL_OK;
    for (uint32_t i = 0; required && i < required->n_child && !status; i++, entry = qvl_json_next(entry)) {
        if (entry->kind != QVL_JSON_STRING)
            return qvl_schema_refuse(&d->schema, schema, QVL_ERR_ARGUMENT, "required", "it must be a list of names",
                                     d->err);
        status = add_property(d, schema, f, entry->utf8, entry->n, true);
    }
    return status;
}

/* minProperties and maxProperties hold by themselves or are refused. */
static enum qvl_status check_property_counts(const struct draw *d, const struct together *t,
                                             const struct object_facts *f)
{
    for (uint32_t i = 0; i < t->n; i++) {
        const struct qvl_json_node *schema = node_at(d, t->node[i]);
        uint32_t min = 0, max = NO_LIMIT;
        enum qvl_status status;
        if ((status = qvl_schema_count(&d->schema, schema, "minProperties", &min, d->err)) ||
            (status = qvl_schema_count(&d->schema, schema, "maxProperties", &max, d->err)))
            return status;
        if ((min > f->n_required || (max != NO_LIMIT && (f->is_open || max < f->n))) &&
            (status = qvl_schema_cannot(
                 &d->schema, schema, QVL_ERR_ARGUMENT, min > f->n_required ? "minProperties" : "maxProperties",
                 "it can be enforced only where it follows from the properties named", d->err)))
            return status;
    }
    return QVL_OK;
}

static enum qvl_status gather_object(const struct draw *d, const struct together *t, struct object_facts *f)
{
    bool is_named = false, is_closed = false, is_open = false;
    enum qvl_status status = QVL_OK;
    f->n = f->n_required = 0;
    for (uint32_t i = 0; i < t->n && !status; i++)
        status = add_properties(d, node_at(d, t->node[i]), f);
    for (uint32_t i = 0; i < t->n && !status; i++) {
        const struct qvl_json_node *more = qvl_json_member(node_at(d, t->node[i]), "additionalProperties");
        is_named = is_named || qvl_json_member(node_at(d, t->node[i]), "properties");
        is_closed = is_closed || (more && more->kind == QVL_JSON_FALSE);
        is_open = is_open || more;
        status = add_required(d, node_at(d, t->node[i]), f);
    }
    f->is_open = !is_closed && (is_open || !is_named);
    return status ? status : check_property_counts(d, t, f);
}

/* What holds for a property; key NULL: one that is not named. */
static enum qvl_status gather_property(const struct draw *d, const struct together *t, const struct property *p,
                                       struct together *out)
{
    enum qvl_status status = QVL_OK;
    *out = (struct together){.n = 0};
    for (uint32_t i = 0; i < t->n && !status; i++) {
        const struct qvl_json_node *schema = node_at(d, t->node[i]);
        const struct qvl_json_node *properties = qvl_json_member(schema, "properties");
        const struct qvl_json_node *holds = p ? qvl_schema_member(properties, p->key, p->n_key) : NULL;
        if (!holds)
            holds = qvl_json_member(schema, "additionalProperties");
        if (holds)
            status = add_schema(d, out, holds);
    }
    return status;
}

/* "key": value */
static enum qvl_status draw_property(struct draw *d, uint32_t from, uint32_t to, const struct property *p,
                                     const struct together *value)
{
    d->literal.n = 0;
    enum qvl_status status = qvl_bytes_add_json_string(&d->literal, p->key, p->n_key, d->err);
    if (status)
        return status;
    uint32_t at = qvl_nfa_text(d->nfa, from, d->literal.data, d->literal.n);
    return draw_call(d, draw_separator(d, at, ':'), to, value);
}

/* Any key but those named, and its value. */
static enum qvl_status draw_free_property(struct draw *d, uint32_t from, uint32_t to, const struct object_facts *f,
                                          const struct together *value)
{
    uint32_t at = qvl_nfa_state(d->nfa);
    enum qvl_status status = QVL_OK;
    if (f->n == 0) {
        status = draw_common(d, from, at, QVL_ANY_STRING);
    } else {
        struct qvl_json_string key = {0};
        struct qvl_json_literal *name = calloc(f->n, sizeof *name);
        struct qvl_bytes all = {0};
        if (!name)
            status = qvl_fail_memory(d->err, f->n * sizeof *name, "the grammar");
        for (uint32_t i = 0; i < f->n && !status; i++) { /* lengths first: the bytes may move */
            size_t before = all.n;
            status = qvl_bytes_add_json_string(&all, f->property[i].key, f->property[i].n_key, d->err);
            if (!status)
                name[i].n = all.n - before - 2;
        }
        for (size_t i = 0, at_byte = 0; i < f->n && !status; at_byte += name[i++].n + 2)
            name[i].text = all.data + at_byte + 1;
        if (!status && !(status = qvl_json_string_exclude(&key, name, f->n, d->err)))
            status = qvl_json_string_draw(d->nfa, from, at, &key);
        qvl_json_string_free(&key);
        qvl_bytes_free(&all);
        free(name);
    }
    return status ? status : draw_call(d, draw_separator(d, at, ':'), to, value);
}

/* Where the object is after the properties so far: nothing written yet, or something. A comma stands before each
 * but the first. */
struct progress {
    uint32_t nothing, something;
};

static enum qvl_status draw_free_properties(struct draw *d, struct progress *at, const struct together *t,
                                            const struct object_facts *f)
{
    struct together value;
    uint32_t behind = qvl_nfa_state(d->nfa);
    enum qvl_status status = gather_property(d, t, NULL, &value);
    if (status || value.is_impossible)
        return status;
    qvl_nfa_skip(d->nfa, at->something, behind);
    if (f->n_required == 0)
        status = draw_free_property(d, at->nothing, behind, f, &value);
    if (!status)
        status = draw_free_property(d, draw_separator(d, behind, ','), behind, f, &value);
    at->something = behind;
    return status;
}

static enum qvl_status draw_object_of(struct draw *d, uint32_t from, uint32_t to, const struct together *t,
                                      const struct object_facts *f)
{
    struct progress at = {qvl_nfa_text(d->nfa, from, "{", 1), qvl_nfa_state(d->nfa)};
    bool is_required = false; /* one of those so far was: something is written */
    enum qvl_status status = QVL_OK;
    for (uint32_t i = 0; i < f->n && !status && !d->nfa->status; i++) {
        const struct property *p = &f->property[i];
        struct progress next = {qvl_nfa_state(d->nfa), qvl_nfa_state(d->nfa)};
        struct together value;
        if ((status = gather_property(d, t, p, &value)))
            break;
        if (!is_required)
            status = draw_property(d, at.nothing, next.something, p, &value);
        if (!status && i > 0)
            status = draw_property(d, draw_separator(d, at.something, ','), next.something, p, &value);
        if (!p->is_required) {
            qvl_nfa_skip(d->nfa, at.nothing, next.nothing);
            qvl_nfa_skip(d->nfa, at.something, next.something);
        }
        is_required = is_required || p->is_required;
        at = next;
    }
    if (!status && f->is_open)
        status = draw_free_properties(d, &at, t, f);
    if (!is_required)
        qvl_nfa_bytes(d->nfa, at.nothing, to, '}', '}');
    qvl_nfa_bytes(d->nfa, at.something, to, '}', '}');
    return status ? status : d->nfa->status;
}

static enum qvl_status draw_object(struct draw *d, uint32_t from, uint32_t to, const struct together *t)
{
    struct object_facts *f = malloc(sizeof *f);
    if (!f)
        return qvl_fail_memory(d->err, sizeof *f, "the grammar");
    enum qvl_status status = gather_object(d, t, f);
    if (!status)
        status = draw_object_of(d, from, to, t, f);
    free(f);
    return status;
}

/* ---- values that are named ------------------------------------------------------------------------ */

/* The value as it is written, into d->literal. */
static enum qvl_status spell(struct draw *d, const struct qvl_json_node *value)
{
    d->literal.n = 0;
    return qvl_schema_spell(value, &d->literal, d->err);
}

/* Whether a string or number satisfies the other keywords: it is read by their automaton. */
static enum qvl_status satisfies_scalar(struct draw *d, const struct together *t, bool is_string, bool *out)
{
    struct qvl_nfa nfa = {.err = d->err, .n_state = 2};
    struct qvl_json_string s = {0};
    struct qvl_number_facts f = {0};
    struct qvl_dfa dfa = {0};
    uint32_t begin = 0, start = 0;
    enum qvl_status status = is_string ? gather_string(d, t, &s) : gather_number(d, t, &f);
    if (!status)
        status = is_string ? qvl_json_string_draw(&nfa, 0, 1, &s) : qvl_json_number_draw(&nfa, 0, 1, &f, d->err);
    bool is_bound = is_string ? s.is_restricted : is_restricted(&f);
    *out = true;
    qvl_nfa_accept(&nfa, 1);
    if (!status && is_bound && !(status = qvl_dfa_build(&nfa, &begin, 1, &dfa, &start, d->err)) &&
        !(status = count_work(d, (size_t)dfa.n_state * dfa.n_class)))
        *out = qvl_dfa_accepts(&dfa, start, d->literal.data, d->literal.n);
    qvl_dfa_free(&dfa);
    qvl_nfa_free(&nfa);
    qvl_json_string_free(&s);
    return status;
}

/* The values that enum of this schema names; 1 where it has none. */
static size_t count_values(const struct qvl_json_node *schema)
{
    const struct qvl_json_node *values = qvl_json_member(schema, "enum");
    return values ? values->n_child : 1;
}

/* Whether a value of enum or const (spelled in d->literal) satisfies all other keywords. `list`: that it was taken
 * from. */
static enum qvl_status satisfies(struct draw *d, const struct qvl_json_node *value, const struct together *t,
                                 const struct qvl_json_node *list, uint32_t types, bool *out)
{
    uint32_t type = qvl_schema_type_of(value);
    *out = (types & type) != 0;
    for (uint32_t i = 0; i < t->n && *out; i++) {
        const struct qvl_json_node *schema = node_at(d, t->node[i]);
        bool is_its_own = qvl_json_member(schema, "enum") == list && !qvl_schema_member(schema, "const", 5);
        enum qvl_status status = is_its_own ? QVL_OK : count_work(d, count_values(schema));
        if (status)
            return status;
        *out = is_its_own || qvl_schema_names(schema, value);
        if (*out && (type & (QVL_TYPE_ARRAY | QVL_TYPE_OBJECT)) && (qvl_schema_implied_types(schema) & type))
            return qvl_schema_cannot(&d->schema, schema, QVL_ERR_ARGUMENT, "enum",
                                     "objects and arrays in it cannot be compared with other keywords", d->err);
    }
    if (!*out || !(type & (QVL_TYPE_STRING | QVL_TYPE_NUMBER)))
        return QVL_OK;
    return satisfies_scalar(d, t, type == QVL_TYPE_STRING, out);
}

static enum qvl_status draw_values(struct draw *d, uint32_t from, uint32_t to, const struct together *t,
                                   const struct qvl_json_node *list, bool is_list, uint32_t types)
{
    const struct qvl_json_node *value = is_list ? list + 1 : list;
    enum qvl_status status = QVL_OK;
    for (uint32_t i = 0; i < (is_list ? list->n_child : 1) && !status; i++, value = qvl_json_next(value)) {
        bool is_one = false;
        if ((status = spell(d, value)) || (status = satisfies(d, value, t, list, types, &is_one)))
            break;
        if (is_one)
            qvl_nfa_skip(d->nfa, qvl_nfa_text(d->nfa, from, d->literal.data, d->literal.n), to);
    }
    return status ? status : d->nfa->status;
}

/* ---- one case, one rule --------------------------------------------------------------------------- */

static enum qvl_status draw_types(struct draw *d, uint32_t from, uint32_t to, const struct together *t,
                                  uint32_t types)
{
    enum qvl_status status = QVL_OK;
    if (types & QVL_TYPE_NULL)
        qvl_nfa_skip(d->nfa, qvl_nfa_text(d->nfa, from, "null", 4), to);
    if (types & QVL_TYPE_BOOLEAN) {
        qvl_nfa_skip(d->nfa, qvl_nfa_text(d->nfa, from, "true", 4), to);
        qvl_nfa_skip(d->nfa, qvl_nfa_text(d->nfa, from, "false", 5), to);
    }
    if (types & QVL_TYPE_NUMBER)
        status = draw_number(d, from, to, t, !(types & QVL_TYPE_REAL));
    if (!status && (types & QVL_TYPE_STRING))
        status = draw_string(d, from, to, t);
    if (!status && (types & QVL_TYPE_ARRAY))
        status = draw_array(d, from, to, t);
    if (!status && (types & QVL_TYPE_OBJECT))
        status = draw_object(d, from, to, t);
    return status ? status : d->nfa->status;
}

static enum qvl_status draw_case(struct draw *d, uint32_t from, uint32_t to, const struct together *t,
                                 uint32_t types)
{
    const struct qvl_json_node *values = NULL;
    uint32_t implied = 0;
    bool is_typed = false, is_list = false;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct qvl_json_node *schema = node_at(d, t->node[i]);
        uint32_t own = 0;
        enum qvl_status status = qvl_schema_types(&d->schema, schema, &own, d->err);
        if (status)
            return status;
        is_typed = is_typed || own;
        types &= own ? own : QVL_TYPE_ANY;
        implied |= qvl_schema_implied_types(schema);
        if (!values) {
            values = qvl_schema_member(schema, "const", 5);
            is_list = !values;
            values = values ? values : qvl_json_member(schema, "enum");
        }
    }
    if (values)
        return draw_values(d, from, to, t, values, is_list, types);
    return draw_types(d, from, to, t, is_typed || !implied ? types : types & implied);
}

/* Follows the $ref and allOf of the next schema of a case, and notes where there is to choose. */
static enum qvl_status expand(struct draw *d, struct choice_case *c)
{
    const struct qvl_json_node *schema = node_at(d, c->all.node[c->n_expanded++]), *target = NULL;
    enum qvl_status status = qvl_schema_check(&d->schema, schema, d->err);
    if (status || (status = qvl_schema_follow(&d->schema, schema, &target, d->err)))
        return status;
    if (target && (status = add_schema(d, &c->all, target)))
        return status;
    const struct qvl_json_node *all = qvl_json_member(schema, "allOf"), *entry = all ? all + 1 : NULL;
    for (uint32_t i = 0; all && i < all->n_child && !status; i++, entry = qvl_json_next(entry))
        status = add_schema(d, &c->all, entry);
    static const char *const choices[] = {"anyOf", "oneOf"};
    for (int i = 0; i < 2 && !status; i++) {
        const struct qvl_json_node *any = qvl_json_member(schema, choices[i]);
        if (any && c->n_choice == QVL_MAX_SCHEMA_TOGETHER)
            return too_large(d, number_of(d, any), "too many schemas hold at one place");
        if (any)
            c->choice[c->n_choice++] = number_of(d, any);
    }
    return status;
}

struct cases { /* a stack */
    struct choice_case *item;
    size_t n, n_alloc, n_made;
};

static enum qvl_status push_case(const struct draw *d, struct cases *cases, const struct choice_case *c)
{
    if (cases->n_made++ == QVL_MAX_SCHEMA_CASES)
        return too_large(d, c->all.n ? c->all.node[0] : 0, "anyOf and oneOf leave too many cases at one place");
    struct choice_case *p = qvl_grow(cases->item, &cases->n_alloc, cases->n + 1, sizeof *p, "the grammar", d->err);
    if (!p)
        return d->err->status;
    cases->item = p;
    p[cases->n++] = *c;
    return QVL_OK;
}

/* One case for each schema of the last choice. */
static enum qvl_status split(const struct draw *d, struct cases *cases, const struct choice_case *c)
{
    const struct qvl_json_node *list = node_at(d, c->choice[c->n_choice - 1]), *entry = list + 1;
    enum qvl_status status = QVL_OK;
    for (uint32_t i = 0; i < list->n_child && !status; i++, entry = qvl_json_next(entry)) {
        struct choice_case one = *c;
        one.n_choice--;
        if (!(status = add_schema(d, &one.all, entry)))
            status = push_case(d, cases, &one);
    }
    return status;
}

static enum qvl_status draw_rule(struct draw *d, uint32_t rule)
{
    struct cases cases = {0};
    struct choice_case c = {.all.n = d->rule[rule].n};
    uint32_t start = d->rules->start[d->first + rule], end = qvl_nfa_state(d->nfa);
    uint32_t types = rule == 0 ? d->root_types : QVL_TYPE_ANY;
    if (c.all.n > 0)
        memcpy(c.all.node, d->item + d->rule[rule].begin, c.all.n * sizeof *c.all.node);
    qvl_nfa_accept(d->nfa, end);
    enum qvl_status status = push_case(d, &cases, &c);
    while (cases.n > 0 && !status) {
        c = cases.item[--cases.n];
        while (!status && c.n_expanded < c.all.n)
            status = expand(d, &c);
        if (status || c.all.is_impossible)
            continue;
        status = c.n_choice > 0 ? split(d, &cases, &c) : draw_case(d, start, end, &c.all, types);
    }
    free(cases.item);
    return status;
}

enum qvl_status qvl_json_schema_draw(struct qvl_nfa *nfa, const char *schema, size_t n,
                                     const struct qvl_schema_settings *settings, struct qvl_schema_rules *rules,
                                     struct qvl_error *err)
{
    struct draw *d = calloc(1, sizeof *d);
    uint32_t root = 0;
    if (!d)
        return qvl_fail_memory(err, sizeof *d, "the grammar");
    d->nfa = nfa;
    d->err = err;
    d->rules = rules;
    d->first = rules->n;
    d->root_types = settings->want_object ? QVL_TYPE_OBJECT : QVL_TYPE_ANY;
    struct together all = {.n = 0};
    enum qvl_status status = qvl_schema_open(schema, n, &d->schema, err);
    d->schema.is_lenient = settings->is_lenient;
    if (!status && !(status = add_schema(d, &all, node_at(d, 0))) && all.is_impossible)
        status = qvl_schema_refuse(&d->schema, node_at(d, 0), QVL_ERR_ARGUMENT, NULL, "no value satisfies it", err);
    if (!status)
        status = find_rule(d, &all, &root);
    for (uint32_t i = 0; i < d->n_rule && !status; i++)
        if (!is_common(rules, d->first + i))
            status = draw_rule(d, i);
    qvl_schema_close(&d->schema);
    qvl_bytes_free(&d->literal);
    free(d->item);
    free(d);
    return status ? status : nfa->status;
}
