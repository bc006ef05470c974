#include "server/json_nodes.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"

/* The place of n nodes that become one value of what is open last; NULL after a failure. */
static struct qvl_json_node *make_room(struct qvl_json_nodes *nodes, size_t n)
{
    struct qvl_error err = {0};
    struct qvl_json_node *node =
        nodes->is_failed ? NULL : qvl_grow(nodes->node, &nodes->n_alloc, nodes->n + n, sizeof *node, "JSON", &err);
    nodes->is_failed = !node;
    if (!node)
        return NULL;
    nodes->node = node;
    if (nodes->n_open > 0)
        node[nodes->open[nodes->n_open - 1]].n_child++;
    nodes->n += n;
    return node + nodes->n - n;
}

static void name_node(struct qvl_json_node *node, const char *key)
{
    node->key = key;
    node->n_key = key ? strlen(key) : 0;
}

void qvl_json_nodes_open(struct qvl_json_nodes *nodes, enum qvl_json_event kind, const char *key)
{
    struct qvl_json_node *node = make_room(nodes, 1);
    if (!node)
        return;
    *node = (struct qvl_json_node){.kind = kind, .utf8 = ""};
    name_node(node, key);
    nodes->open[nodes->n_open++] = nodes->n - 1;
}

void qvl_json_nodes_close(struct qvl_json_nodes *nodes)
{
    if (nodes->is_failed)
        return;
    size_t begin = nodes->open[--nodes->n_open];
    nodes->node[begin].n_node = (uint32_t)(nodes->n - begin);
}

void qvl_json_nodes_add(struct qvl_json_nodes *nodes, const char *key, const struct qvl_json_node *value)
{
    struct qvl_json_node *node = make_room(nodes, value->n_node);
    if (!node)
        return;
    memcpy(node, value, value->n_node * sizeof *node);
    if (key)
        name_node(node, key);
}

void qvl_json_nodes_add_string(struct qvl_json_nodes *nodes, const char *key, const char *utf8, size_t n)
{
    const struct qvl_json_node text = {.kind = QVL_JSON_STRING, .n_node = 1, .utf8 = utf8, .n = n};
    qvl_json_nodes_add(nodes, key, &text);
}

void qvl_json_nodes_add_text(struct qvl_json_nodes *nodes, const char *key, const char *utf8)
{
    qvl_json_nodes_add_string(nodes, key, utf8, strlen(utf8));
}

void qvl_json_nodes_free(struct qvl_json_nodes *nodes)
{
    free(nodes->node);
    *nodes = (struct qvl_json_nodes){0};
}
