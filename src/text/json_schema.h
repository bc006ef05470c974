/* json_schema.h: a JSON Schema as a grammar: every text of the grammar is JSON and satisfies the schema. Not every
 * value that satisfies the schema is one of its texts: what a model should not write is left out (see below).
 *
 * Enforced (drafts 4 to 2020-12): type (one or a list), enum, const, properties, required, additionalProperties,
 * items, prefixItems (and items as an array, additionalItems), minItems, maxItems, minProperties and maxProperties
 * where they follow from the others, minLength, maxLength, pattern, format (json_string.c has the list), minimum,
 * maximum, exclusiveMinimum, exclusiveMaximum (as numbers), multipleOf with at most three significant digits,
 * anyOf, oneOf, allOf, $ref inside the schema, also to itself, $defs, definitions; true and false as schemas.
 * Refused, with the keyword and its place: what JSON Schema knows beside these and what it says of formats of text
 * that are not in the list. Keywords that JSON Schema does not know constrain nothing.
 *
 * What is written, and how:
 * - Objects: properties in the order in which the schema names them. Others only where additionalProperties says
 * so, or where no property is named: a schema that names properties and is silent about others means those named.
 * - Without type, the type follows from the other keywords: {"properties": …} is an object.
 * - A space may follow a colon or a comma, and there is no other white space: models write it so when they write
 * JSON on one line, and line breaks and indents would be tokens that say nothing.
 * - Strings hold every character in one spelling (automaton.h); numbers are bounded in length (json_number.h).
 * - oneOf is anyOf; where it cannot be told from the schemas that a value of one is none of another, it is refused.
 *
 * The form of a rule: the schemas that hold at one place of the answer (mostly one; with allOf and $ref beside
 * other keywords several), and what they allow together. Places where the same schemas hold share a rule, so
 * recursion ends. */
#ifndef QVL_TEXT_JSON_SCHEMA_H
#define QVL_TEXT_JSON_SCHEMA_H

#include "base/limits.h"
#include "text/automaton.h"

/* What all schemas of a drawing have in common: values without restriction, one rule and so one set of masks each.
 */
enum qvl_common_rule { QVL_ANY_STRING, QVL_ANY_NUMBER, QVL_ANY_INTEGER, QVL_N_COMMON_RULE };

/* The rules of a drawing so far: those of all its schemas, and others. Rule 0 is the whole. A zeroed struct is
 * empty. */
struct qvl_schema_rules {
    uint32_t start[QVL_MAX_SCHEMA_RULES]; /* [n] where each begins */
    uint32_t n;
    uint32_t common[QVL_N_COMMON_RULE]; /* 0: not drawn yet */
};

struct qvl_schema_settings {
    bool want_object; /* no value but an object */
    bool is_lenient;  /* what is sound but cannot be enforced says nothing, instead of being refused */
};

/* Draws the rules of a schema; the first of the new ones is the schema itself. */
enum qvl_status qvl_json_schema_draw(struct qvl_nfa *nfa, const char *schema, size_t n,
                                     const struct qvl_schema_settings *settings, struct qvl_schema_rules *rules,
                                     struct qvl_error *err);

#endif
