/* json_tree.h: strict JSON as a flat array of values, to be asked by key.
 *
 * A value is followed by those inside it, each with its own inside it: [1, {"a": 2}, 3] is the five nodes
 * [ 1 { 2 3, and the one after a node's whole inside is its next neighbour. No recursion, one allocation; each node
 * knows where it stands in the text, so that a value can be passed on as it was written. */
#ifndef QVL_BASE_JSON_TREE_H
#define QVL_BASE_JSON_TREE_H

#include "base/arena.h"
#include "base/json_reader.h"

struct qvl_json_node {
    enum qvl_json_event kind; /* of a value's beginning */
    uint32_t n_child;         /* values directly inside: entries of an array, members of an object */
    uint32_t n_node;          /* this one and all inside it */
    const char *key;          /* of an object's member: n_key bytes, decoded; else NULL */
    const char *utf8;         /* a string: n bytes, decoded, may hold NUL; all others: as written in the text */
    size_t n_key, n;
};

struct qvl_json_tree {
    struct qvl_json_node *node; /* [n] node[0] is the whole */
    size_t n, n_alloc;
};

/* Strings without escapes point into the text, the others into the arena. Refuses, with a sentence that begins with
 * name, what is not strict JSON and keys that come twice (QVL_ERR_ARGUMENT), and more than max_values
 * (QVL_ERR_LIMIT). *out is zeroed before; free it in any case. */
enum qvl_status qvl_json_tree_read(const char *text, size_t n, const char *name, uint32_t max_values,
                                   struct qvl_arena *arena, struct qvl_json_tree *out, struct qvl_error *err);
void qvl_json_tree_free(struct qvl_json_tree *tree);

/* The i-th value inside is found from the one before:
 *     const struct qvl_json_node *entry = array + 1;
 *     for (uint32_t i = 0; i < array->n_child; i++, entry = qvl_json_next(entry)) ... */
static inline const struct qvl_json_node *qvl_json_next(const struct qvl_json_node *node)
{
    return node + node->n_node;
}

/* The member, or NULL where it is absent or null, and where `object` is NULL or no object. */
const struct qvl_json_node *qvl_json_member(const struct qvl_json_node *object, const char *key);
bool qvl_json_has_key(const struct qvl_json_node *member, const char *key);
bool qvl_json_equals(const struct qvl_json_node *node, const char *text); /* is the string `text` */
#define QVL_JSON_NUMBER_BYTES 63 /* 17 digits are all that a double can hold */
/* A number as double; false where it is none, beyond double, or written with more bytes. */
bool qvl_json_number(const struct qvl_json_node *node, double *out);

#endif
