#include "text/tool_grammar.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_tree.h"
#include "base/limits.h"
#include "text/json_schema.h"
#include "text/token_trie.h"

struct draw {
    const struct qvl_tool_settings *set;
    bool is_loose; /* whatever a tool says, its arguments are any object */
    struct qvl_nfa nfa;
    struct qvl_schema_rules rules;
    struct qvl_bytes literal;
    struct qvl_error *err;
};

/* What a definition says. */
struct tool {
    const struct qvl_json_node *name, *parameters;
    bool is_strict;
};

static const char any_object[] = "{\"type\": \"object\"}";

static bool says_true(const struct qvl_json_node *node)
{
    return node && node->kind == QVL_JSON_TRUE;
}

static enum qvl_status read_tool(const struct qvl_json_node *entry, uint32_t i, struct tool *out,
                                 struct qvl_error *err)
{
    const struct qvl_json_node *function = qvl_json_member(entry, "function");
    const struct qvl_json_node *it = function ? function : entry;
    *out = (struct tool){qvl_json_member(it, "name"), qvl_json_member(it, "parameters"),
                         says_true(qvl_json_member(it, "strict")) || says_true(qvl_json_member(entry, "strict"))};
    if (!out->name || out->name->kind != QVL_JSON_STRING || out->name->n == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "tools: entry %u has no name", i + 1);
    return QVL_OK;
}

static bool is_wanted(const struct qvl_tool_settings *set, const struct qvl_json_node *name)
{
    for (size_t i = 0; i < set->n_name; i++)
        if (qvl_json_equals(name, set->name[i]))
            return true;
    return set->n_name == 0;
}

/* The rule of its arguments. */
static enum qvl_status draw_arguments(struct draw *d, const struct tool *tool, uint32_t *rule)
{
    struct qvl_schema_settings settings = {.want_object = true, .is_lenient = !tool->is_strict};
    struct qvl_nfa_mark mark = qvl_nfa_mark(&d->nfa);
    struct qvl_error why = {0};
    uint32_t common[QVL_N_COMMON_RULE];
    memcpy(common, d->rules.common, sizeof common);
    *rule = d->rules.n;
    if (tool->parameters && !d->is_loose) {
        d->nfa.err = &why;
        enum qvl_status status =
            qvl_json_schema_draw(&d->nfa, tool->parameters->utf8, tool->parameters->n, &settings, &d->rules, &why);
        d->nfa.err = d->err;
        if (!status)
            return QVL_OK;
        if (status == QVL_ERR_MEMORY || tool->is_strict || !d->set->is_optional)
            return qvl_fail(d->err, status, "tool %.*s: %.800s", (int)(tool->name->n < 64 ? tool->name->n : 64),
                            tool->name->utf8, why.text);
        qvl_nfa_cut(&d->nfa, mark);
        d->rules.n = *rule;
        memcpy(d->rules.common, common, sizeof common);
    }
    return qvl_json_schema_draw(&d->nfa, any_object, sizeof any_object - 1, &settings, &d->rules, d->err);
}

/* What stands between the tool's name and the end of its arguments. */
static enum qvl_status draw_tool(struct draw *d, uint32_t from, uint32_t to, const struct tool *tool)
{
    static const char between[] = ", \"arguments\": ";
    uint32_t rule = 0;
    d->literal.n = 0;
    enum qvl_status status = qvl_bytes_add_json_string(&d->literal, tool->name->utf8, tool->name->n, d->err);
    if (status || (status = draw_arguments(d, tool, &rule)))
        return status;
    uint32_t at = qvl_nfa_text(&d->nfa, from, d->literal.data, d->literal.n);
    qvl_nfa_call(&d->nfa, qvl_nfa_text(&d->nfa, at, between, sizeof between - 1), to, rule);
    return d->nfa.status;
}

/* The other thing that an answer may be. */
static enum qvl_status draw_instead(struct draw *d, uint32_t start)
{
    const struct qvl_schema_settings settings = {.is_lenient = false};
    uint32_t rule = d->rules.n, end = qvl_nfa_state(&d->nfa);
    if (!d->set->instead)
        return QVL_OK;
    enum qvl_status status =
        qvl_json_schema_draw(&d->nfa, d->set->instead, d->set->n_instead, &settings, &d->rules, d->err);
    qvl_nfa_call(&d->nfa, start, end, rule);
    qvl_nfa_accept(&d->nfa, end);
    return status;
}

static enum qvl_status draw_tools(struct draw *d, const struct qvl_json_node *tools)
{
    static const char head[] = "\n{\"name\": ", tail[] = "}\n";
    const struct qvl_json_node *entry = tools + 1;
    enum qvl_status status = QVL_OK;
    size_t n_drawn = 0;
    uint32_t start = qvl_nfa_state(&d->nfa), begin = qvl_nfa_state(&d->nfa), tag = qvl_nfa_state(&d->nfa),
             behind = qvl_nfa_state(&d->nfa);
    d->rules = (struct qvl_schema_rules){.start = {start}, .n = 1};
    qvl_nfa_bytes(&d->nfa, start, tag, QVL_BYTE_TOOL_CALL, QVL_BYTE_TOOL_CALL);
    qvl_nfa_bytes(&d->nfa, begin, tag, QVL_BYTE_TOOL_CALL, QVL_BYTE_TOOL_CALL); /* one more call */
    uint32_t name = qvl_nfa_text(&d->nfa, tag, head, sizeof head - 1);
    for (uint32_t i = 0; i < tools->n_child && !status; i++, entry = qvl_json_next(entry)) {
        struct tool tool;
        if ((status = read_tool(entry, i, &tool, d->err)) || !is_wanted(d->set, tool.name))
            continue;
        status = draw_tool(d, name, behind, &tool);
        n_drawn++;
    }
    if (!status && n_drawn == 0)
        status = qvl_fail(d->err, QVL_ERR_ARGUMENT, "none of the tools may be called");
    uint32_t last = qvl_nfa_text(&d->nfa, behind, tail, sizeof tail - 1), end = qvl_nfa_state(&d->nfa);
    qvl_nfa_bytes(&d->nfa, last, end, QVL_BYTE_TOOL_CALL_END, QVL_BYTE_TOOL_CALL_END);
    qvl_nfa_accept(&d->nfa, end);
    if (!d->set->want_one)
        qvl_nfa_bytes(&d->nfa, end, begin, '\n', '\n');
    if (!status)
        status = draw_instead(d, start);
    return status ? status : d->nfa.status;
}

static enum qvl_status compile(const struct qvl_json_node *tools, const struct qvl_tool_settings *settings,
                               bool is_loose, struct qvl_grammar **out, struct qvl_error *err)
{
    struct draw *d = calloc(1, sizeof *d);
    bool is_empty = false;
    if (!d)
        return qvl_fail_memory(err, sizeof *d, "the grammar");
    *d = (struct draw){.set = settings, .is_loose = is_loose, .nfa.err = err, .err = err};
    enum qvl_status status = draw_tools(d, tools);
    if (!status)
        status = qvl_grammar_compile(&d->nfa, d->rules.start, d->rules.n, out, &is_empty, err);
    if (!status && is_empty)
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "no arguments satisfy the parameters of the tools");
    qvl_bytes_free(&d->literal);
    qvl_nfa_free(&d->nfa);
    free(d);
    return status;
}

/* Every name of the settings is one of a tool. */
static enum qvl_status check_names(const struct qvl_json_node *tools, const struct qvl_tool_settings *set,
                                   struct qvl_error *err)
{
    for (size_t i = 0; i < set->n_name; i++) {
        const struct qvl_json_node *entry = tools + 1;
        bool is_there = false;
        for (uint32_t k = 0; k < tools->n_child && !is_there; k++, entry = qvl_json_next(entry)) {
            struct tool tool;
            enum qvl_status status = read_tool(entry, k, &tool, err);
            if (status)
                return status;
            is_there = qvl_json_equals(tool.name, set->name[i]);
        }
        if (!is_there)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "no tool has the name %.100s", set->name[i]);
    }
    return QVL_OK;
}

static bool has_strict(const struct qvl_json_node *tools)
{
    const struct qvl_json_node *entry = tools + 1;
    struct tool tool;
    struct qvl_error ignored;
    for (uint32_t i = 0; i < tools->n_child; i++, entry = qvl_json_next(entry))
        if (!read_tool(entry, i, &tool, &ignored) && tool.is_strict)
            return true;
    return false;
}

enum qvl_status qvl_grammar_from_tools(const char *tools, size_t n, const struct qvl_tool_settings *settings,
                                       struct qvl_grammar **out, struct qvl_error *err)
{
    struct qvl_arena arena = {0};
    struct qvl_json_tree tree = {0};
    enum qvl_status status = qvl_json_tree_read(tools, n, "tools", QVL_MAX_TOOLS_VALUES, &arena, &tree, err);
    if (!status && tree.node[0].kind != QVL_JSON_ARRAY)
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "tools are not a JSON array");
    if (!status && !(status = check_names(tree.node, settings, err))) {
        status = compile(tree.node, settings, false, out, err);
        if (status == QVL_ERR_LIMIT && settings->is_optional &&
            !has_strict(tree.node)) /* too complex, all together */
            status = compile(tree.node, settings, true, out, err);
    }
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    return status;
}
