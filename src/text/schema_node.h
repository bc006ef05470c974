/* schema_node.h: what a schema says, keyword by keyword: read, checked, named in sentences. What it means for an
 * answer is json_schema.c's affair. A schema is a node of the JSON tree: an object, true or false. */
#ifndef QVL_TEXT_SCHEMA_NODE_H
#define QVL_TEXT_SCHEMA_NODE_H

#include "base/json_tree.h"
#include "text/json_number.h"

enum {
    QVL_TYPE_NULL = 1,
    QVL_TYPE_BOOLEAN = 2,
    QVL_TYPE_INTEGER = 4,
    QVL_TYPE_REAL = 8, /* numbers that are not integers */
    QVL_TYPE_STRING = 16,
    QVL_TYPE_ARRAY = 32,
    QVL_TYPE_OBJECT = 64,
    QVL_TYPE_NUMBER = QVL_TYPE_INTEGER | QVL_TYPE_REAL,
    QVL_TYPE_ANY = 127
};

struct qvl_schema {
    struct qvl_arena arena;
    struct qvl_json_tree tree; /* node[0] is the whole */
    uint8_t *colour;           /* [tree.n] of the search for schemas that hold only themselves */
    bool is_lenient;           /* what is sound but cannot be enforced says nothing, instead of being refused */
};

enum qvl_status qvl_schema_open(const char *text, size_t n, struct qvl_schema *out, struct qvl_error *err);
void qvl_schema_close(struct qvl_schema *schema);

/* Fails with the place of the node and keyword (or NULL), and why. */
enum qvl_status qvl_schema_refuse(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                  enum qvl_status status, const char *keyword, const char *why,
                                  struct qvl_error *err);

/* The same for what is sound but beyond what can be enforced: in a lenient schema it is left out, with QVL_OK. */
enum qvl_status qvl_schema_cannot(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                  enum qvl_status status, const char *keyword, const char *why,
                                  struct qvl_error *err);

/* Every keyword of this schema is one that can be enforced and has a value of the right kind; following $ref,
 * allOf, anyOf and oneOf does not lead back to it. */
enum qvl_status qvl_schema_check(struct qvl_schema *schema, const struct qvl_json_node *node,
                                 struct qvl_error *err);
/* What $ref names, or NULL. */
enum qvl_status qvl_schema_follow(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                  const struct qvl_json_node **out, struct qvl_error *err);

/* The questions below are asked of schemas that were checked. */

/* The member, also where its value is null; NULL where there is none or no object. */
const struct qvl_json_node *qvl_schema_member(const struct qvl_json_node *object, const char *key, size_t n_key);
/* A number of characters, items or properties; *out stays where the keyword is missing. */
enum qvl_status qvl_schema_count(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                 const char *keyword, uint32_t *out, struct qvl_error *err);
/* Schemas of the first items (an array) and of the others; NULL where nothing is said. */
enum qvl_status qvl_schema_items(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                 const struct qvl_json_node **prefix, const struct qvl_json_node **rest,
                                 struct qvl_error *err);
/* Adds bounds and multiples. */
enum qvl_status qvl_schema_number(const struct qvl_schema *schema, const struct qvl_json_node *node,
                                  struct qvl_number_facts *facts, struct qvl_error *err);
/* Of the keyword type; 0 where it is missing. */
enum qvl_status qvl_schema_types(const struct qvl_schema *schema, const struct qvl_json_node *node, uint32_t *out,
                                 struct qvl_error *err);
/* Types whose keywords are used; 0 where there are none. */
uint32_t qvl_schema_implied_types(const struct qvl_json_node *node);
/* Of a value, one bit. */
uint32_t qvl_schema_type_of(const struct qvl_json_node *value);
/* The value is one of enum and const, where they are there. */
bool qvl_schema_names(const struct qvl_json_node *node, const struct qvl_json_node *value);
/* Appends the value as an answer writes it: on one line, a space after each colon and comma. */
enum qvl_status qvl_schema_spell(const struct qvl_json_node *value, struct qvl_bytes *out, struct qvl_error *err);

/* schema_apart.c: what is written for `a` never satisfies `b`, as far as can be told from the two. */
bool qvl_schema_excludes(const struct qvl_schema *schema, const struct qvl_json_node *a,
                         const struct qvl_json_node *b);

#endif
