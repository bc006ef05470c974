/* tool_grammar.h: tool calls as a grammar, as the family's chat template writes them:
 *
 *     <tool_call>\n{"name": "f", "arguments": {...}}\n</tool_call>          and perhaps "\n" and the next one
 *
 * The tags are the two tokens (token_trie.h), so that what a string says of tags is text. Arguments satisfy the
 * tool's parameters (json_schema.h), or are any object where it has none.
 *
 * How much of the parameters is enforced: of a tool that says "strict": true all, or it is refused. Of others, what
 * can be enforced; other keywords say nothing. */
#ifndef QVL_TEXT_TOOL_GRAMMAR_H
#define QVL_TEXT_TOOL_GRAMMAR_H

#include "text/grammar.h"

struct qvl_tool_settings {
    const char *const *name; /* [n_name] only these tools; n_name 0: all */
    size_t n_name;
    bool want_one;    /* one call; else one or more */
    bool is_optional; /* the model need not call: parameters that make no sense, or are too complex, are any object
                         rather than refused, unless the tool is strict */
    const char *instead; /* [n_instead] a schema: JSON that satisfies it may stand in place of calls; or NULL */
    size_t n_instead;
};

/* tools: a JSON array of {"type": "function", "function": {"name", "parameters", "strict"}}, or without the
 * wrapper. */
enum qvl_status qvl_grammar_from_tools(const char *tools, size_t n, const struct qvl_tool_settings *settings,
                                       struct qvl_grammar **out, struct qvl_error *err);

#endif
