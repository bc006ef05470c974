/* Bytes as definitions of tools; the first byte says how calls are wanted. Checked: what is refused leaves a
 * sentence; what is accepted can be written, and is calls: tags around objects of a name and arguments. */
#include <string.h>

#include "base/json_tree.h"
#include "text/tool_grammar.h"
#include "walk_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_call(const char *text, size_t n)
{
    struct qvl_arena arena = {0};
    struct qvl_json_tree tree = {0};
    struct qvl_error err = {0};
    require(!qvl_json_tree_read(text, n, "x", 10000, &arena, &tree, &err) || strstr(err.text, "twice"));
    if (!err.status) { /* the same key twice is not what this is about */
        const struct qvl_json_node *name = tree.node + 1, *arguments = qvl_json_next(name);
        require(tree.node->kind == QVL_JSON_OBJECT && tree.node->n_child == 2);
        require(name->n_key == 4 && name->kind == QVL_JSON_STRING);
        require(arguments->n_key == 9 && arguments->kind == QVL_JSON_OBJECT);
    }
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
}

static void check_calls(const struct qvl_bytes *text, bool want_one)
{
    size_t n_call = 0;
    for (size_t i = 0; i < text->n; n_call++) {
        const char *begin = text->data + i, *end = memchr(begin, QVL_BYTE_TOOL_CALL_END, text->n - i);
        require((unsigned char)*begin == QVL_BYTE_TOOL_CALL && end);
        check_call(begin + 1, (size_t)(end - begin) - 1);
        i += (size_t)(end - begin) + 1;
        require(i == text->n || text->data[i++] == '\n');
    }
    require(n_call > 0 && (!want_one || n_call == 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct qvl_error err = {0};
    struct qvl_grammar *g = NULL;
    struct qvl_bytes text = {0};
    if (n == 0)
        return 0;
    struct qvl_tool_settings settings = {.want_one = data[0] & 1, .is_optional = data[0] & 2};
    if (qvl_grammar_from_tools((const char *)data + 1, n - 1, &settings, &g, &err)) {
        require(!g && err.status != QVL_OK && err.status != QVL_ERR_INTERNAL && err.text[0]);
        return 0;
    }
    for (uint32_t seed = 1; seed < 4; seed++)
        if (walk_grammar(g, seed, &text))
            check_calls(&text, settings.want_one);
    qvl_bytes_free(&text);
    qvl_grammar_free(g);
    return 0;
}
