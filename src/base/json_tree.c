#include "base/json_tree.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

struct builder {
    struct qvl_json_reader reader;
    struct qvl_arena *arena;
    struct qvl_json_tree *tree;
    uint32_t max_values;
    const char *key; /* of the next value */
    size_t n_key;
    size_t open[QVL_MAX_JSON_DEPTH]; /* [reader.depth] nodes of the containers around */
};

/* The decoded string of the reader's last event: from the text itself where no escape makes them differ. */
static enum qvl_status keep_string(struct builder *b, const char **out, size_t *out_n, struct qvl_error *err)
{
    const struct qvl_json_reader *j = &b->reader;
    const char *raw = j->text + j->begin + 1; /* after the quote */
    bool is_plain = !memchr(raw, '\\', j->string.n);
    *out = is_plain ? raw : qvl_arena_copy_text(b->arena, j->string.data, j->string.n, err);
    *out_n = j->string.n;
    return *out ? QVL_OK : err->status;
}

static enum qvl_status add_node(struct builder *b, struct qvl_error *err)
{
    struct qvl_json_reader *j = &b->reader;
    struct qvl_json_tree *tree = b->tree;
    bool is_container = j->event == QVL_JSON_OBJECT || j->event == QVL_JSON_ARRAY;
    uint32_t n_around = j->depth - is_container;
    if (tree->n == b->max_values)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: JSON with more than the %u values that qvl accepts", j->name,
                        b->max_values);
    struct qvl_json_node *node = qvl_grow(tree->node, &tree->n_alloc, tree->n + 1, sizeof *node, "JSON", err);
    if (!node)
        return err->status;
    tree->node = node;
    node += tree->n;
    *node = (struct qvl_json_node){.kind = j->event, .n_node = 1, .key = b->key, .n_key = b->n_key,
                                   .utf8 = j->text + j->begin, .n = j->at - j->begin};
    b->key = NULL;
    b->n_key = 0;
    if (n_around > 0)
        tree->node[b->open[n_around - 1]].n_child++;
    if (is_container)
        b->open[n_around] = tree->n;
    tree->n++;
    return j->event == QVL_JSON_STRING ? keep_string(b, &node->utf8, &node->n, err) : QVL_OK;
}

/* The reader has left the container that stands at its depth. */
static void end_node(struct builder *b)
{
    size_t i = b->open[b->reader.depth];
    struct qvl_json_node *node = &b->tree->node[i];
    node->n_node = (uint32_t)(b->tree->n - i);
    node->n = (size_t)(b->reader.text + b->reader.at - node->utf8);
}

enum qvl_status qvl_json_tree_read(const char *text, size_t n, const char *name, uint32_t max_values,
                                   struct qvl_arena *arena, struct qvl_json_tree *out, struct qvl_error *err)
{
    struct builder b = {.reader = {.text = text, .n = n, .name = name, .status = QVL_ERR_ARGUMENT,
                                   .want_unique_keys = true},
                        .arena = arena, .tree = out, .max_values = max_values};
    enum qvl_status status;
    *out = (struct qvl_json_tree){0};
    while (!(status = qvl_json_reader_next(&b.reader, err)) && b.reader.event != QVL_JSON_END) {
        if (b.reader.event == QVL_JSON_OBJECT_END || b.reader.event == QVL_JSON_ARRAY_END)
            end_node(&b);
        else if ((status = b.reader.event == QVL_JSON_KEY ? keep_string(&b, &b.key, &b.n_key, err)
                                                          : add_node(&b, err)))
            break;
    }
    qvl_json_reader_free(&b.reader);
    return status;
}

void qvl_json_tree_free(struct qvl_json_tree *tree)
{
    free(tree->node);
    *tree = (struct qvl_json_tree){0};
}

const struct qvl_json_node *qvl_json_member(const struct qvl_json_node *object, const char *key)
{
    if (!object || object->kind != QVL_JSON_OBJECT)
        return NULL;
    const struct qvl_json_node *member = object + 1;
    for (uint32_t i = 0; i < object->n_child; i++, member = qvl_json_next(member))
        if (qvl_json_has_key(member, key))
            return member->kind == QVL_JSON_NULL ? NULL : member;
    return NULL;
}

bool qvl_json_has_key(const struct qvl_json_node *member, const char *key)
{
    return member->n_key == strlen(key) && memcmp(member->key, key, member->n_key) == 0;
}

bool qvl_json_equals(const struct qvl_json_node *node, const char *text)
{
    return node->kind == QVL_JSON_STRING && node->n == strlen(text) && memcmp(node->utf8, text, node->n) == 0;
}

bool qvl_json_number(const struct qvl_json_node *node, double *out)
{
    char text[QVL_JSON_NUMBER_BYTES + 1];
    if ((node->kind != QVL_JSON_INTEGER && node->kind != QVL_JSON_REAL) || node->n > QVL_JSON_NUMBER_BYTES)
        return false;
    memcpy(text, node->utf8, node->n);
    text[node->n] = 0;
    locale_t c_locale = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0); /* the program's may read "1,5" */
    if (!c_locale)
        return false;
    double value = strtod_l(text, NULL, c_locale);
    freelocale(c_locale);
    if (!isfinite(value))
        return false;
    *out = value;
    return true;
}
