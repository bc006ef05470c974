/* json_nodes.h: a flat tree of JSON values (base/json_tree.h) put together by hand, for readers of such trees: what
 * one API says in its own form becomes the form of another one without being written and read again.
 *
 *     struct qvl_json_nodes list = {0};
 *     qvl_json_nodes_open(&list, QVL_JSON_ARRAY, NULL);
 *     qvl_json_nodes_open(&list, QVL_JSON_OBJECT, NULL);
 *     qvl_json_nodes_add_text(&list, "role", "user");
 *     qvl_json_nodes_add(&list, "content", content);
 *     qvl_json_nodes_close(&list);
 *     qvl_json_nodes_close(&list);
 *     if (list.is_failed) ...
 *     ... list.node is the array ...
 *
 * What it is made of must outlive it. Memory that cannot be had leaves is_failed true and makes everything that
 * follows do nothing. Arrays and objects made here have no text of their own (utf8 "", n 0). */
#ifndef QVL_SERVER_JSON_NODES_H
#define QVL_SERVER_JSON_NODES_H

#include "base/json_tree.h"

struct qvl_json_nodes {         /* a zeroed struct is empty */
    struct qvl_json_node *node; /* [n] */
    size_t n, n_alloc;
    size_t open[8]; /* [n_open] arrays and objects that are not closed, outermost first */
    size_t n_open;
    bool is_failed;
};

/* key: of an object's member, else NULL; a value that is added keeps its own then. */
void qvl_json_nodes_open(struct qvl_json_nodes *nodes, enum qvl_json_event kind, const char *key);
void qvl_json_nodes_close(struct qvl_json_nodes *nodes);
/* A copy of value with all that is inside it. */
void qvl_json_nodes_add(struct qvl_json_nodes *nodes, const char *key, const struct qvl_json_node *value);
void qvl_json_nodes_add_string(struct qvl_json_nodes *nodes, const char *key, const char *utf8, size_t n);
void qvl_json_nodes_add_text(struct qvl_json_nodes *nodes, const char *key, const char *utf8);
void qvl_json_nodes_free(struct qvl_json_nodes *nodes);

#endif
