#include "text/grammar.h"

#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "text/json_schema.h"
#include "text/regex.h"

/* States that need more calls than may be open are as good as dead; the matcher asks need. */
enum qvl_status qvl_grammar_compile(const struct qvl_nfa *nfa, const uint32_t *start, uint32_t n_rule,
                                    struct qvl_grammar **out, bool *is_empty, struct qvl_error *err)
{
    struct qvl_grammar *g = calloc(1, sizeof *g);
    enum qvl_status status = QVL_OK;
    *is_empty = false;
    if (!g)
        return qvl_fail_memory(err, sizeof *g, "the grammar");
    g->n_rule = n_rule;
    g->rule_start = malloc(n_rule * sizeof *g->rule_start);
    if (!g->rule_start) {
        status = qvl_fail_memory(err, n_rule * sizeof *g->rule_start, "the grammar");
        goto fail;
    }
    if ((status = qvl_dfa_build(nfa, start, n_rule, &g->dfa, g->rule_start, err)))
        goto fail;
    g->need = malloc(g->dfa.n_state * sizeof *g->need);
    g->reads = calloc(g->dfa.n_state, sizeof *g->reads);
    if (!g->need || !g->reads) {
        status = qvl_fail_memory(err, g->dfa.n_state * sizeof *g->need, "the grammar");
        goto fail;
    }
    if ((status = qvl_dfa_measure(&g->dfa, g->rule_start, g->need, err)))
        goto fail;
    for (size_t i = 0; i < (size_t)g->dfa.n_state * g->dfa.n_class; i++)
        if (g->need[g->dfa.next[i]] != QVL_NEED_NEVER)
            g->reads[i / g->dfa.n_class] = true;
    uint32_t need = g->need[g->rule_start[0]];
    *is_empty = need == QVL_NEED_NEVER;
    if (*is_empty)
        goto fail;
    if (need > QVL_MAX_GRAMMAR_DEPTH / 4) {
        status =
            qvl_fail(err, QVL_ERR_LIMIT, "the constraint asks for values nested %u deep: qvl writes at most %u",
                     need, QVL_MAX_GRAMMAR_DEPTH / 4);
        goto fail;
    }
    *out = g;
    g = NULL;
fail:
    qvl_grammar_free(g);
    return status;
}

size_t qvl_grammar_bytes(const struct qvl_grammar *g)
{
    const struct qvl_dfa *dfa = &g->dfa;
    size_t state_bytes = dfa->n_class * sizeof *dfa->next + sizeof *dfa->is_accepting + sizeof *dfa->call_end;
    return sizeof *g + g->n_rule * sizeof *g->rule_start + dfa->n_state * (sizeof *g->need + sizeof *g->reads) +
           dfa->n_state_alloc * state_bytes + dfa->n_call_alloc * sizeof *dfa->call;
}

void qvl_grammar_free(struct qvl_grammar *g)
{
    if (!g)
        return;
    qvl_dfa_free(&g->dfa);
    free(g->rule_start);
    free(g->need);
    free(g->reads);
    free(g);
}

enum qvl_status qvl_grammar_from_regex(const char *regex, size_t n, struct qvl_grammar **out, struct qvl_error *err)
{
    const struct qvl_regex_settings settings = {.spelling = QVL_SPELLING_PLAIN};
    struct qvl_nfa nfa = {.err = err};
    bool is_empty = false;
    if (n > QVL_MAX_CONSTRAINT_BYTES)
        return qvl_fail(err, QVL_ERR_LIMIT, "a regular expression of %zu bytes: at most %u are allowed", n,
                        QVL_MAX_CONSTRAINT_BYTES);
    uint32_t begin = qvl_nfa_state(&nfa), end = qvl_nfa_state(&nfa);
    qvl_nfa_accept(&nfa, end);
    enum qvl_status status = qvl_regex_draw(&nfa, begin, end, regex, n, &settings, err);
    if (!status)
        status = qvl_grammar_compile(&nfa, &begin, 1, out, &is_empty, err);
    if (!status && is_empty)
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "no text matches the regular expression");
    qvl_nfa_free(&nfa);
    return status;
}

enum qvl_status qvl_grammar_from_schema(const char *schema, size_t n, struct qvl_grammar **out,
                                        struct qvl_error *err)
{
    const struct qvl_schema_settings settings = {.want_object = false};
    struct qvl_nfa nfa = {.err = err};
    struct qvl_schema_rules *rules = calloc(1, sizeof *rules);
    bool is_empty = false;
    if (!rules)
        return qvl_fail_memory(err, sizeof *rules, "the grammar");
    enum qvl_status status = qvl_json_schema_draw(&nfa, schema, n, &settings, rules, err);
    if (!status)
        status = qvl_grammar_compile(&nfa, rules->start, rules->n, out, &is_empty, err);
    if (!status && is_empty)
        status = qvl_fail(err, QVL_ERR_ARGUMENT, "JSON schema, %s: %.600s", "#", qvl_text("no value satisfies it"));
    qvl_nfa_free(&nfa);
    free(rules);
    return status;
}

static enum qvl_status check_choices(const char *const *choices, size_t n, struct qvl_error *err)
{
    size_t n_all = 0;
    if (n == 0 || n > QVL_MAX_CONSTRAINT_CHOICES)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%zu choices: 1 to %u are allowed", n, QVL_MAX_CONSTRAINT_CHOICES);
    for (size_t i = 0; i < n; i++) {
        size_t n_text = strlen(choices[i]);
        n_all += n_text;
        if (n_text == 0 || n_all > QVL_MAX_CONSTRAINT_BYTES || !qvl_utf8_is_valid(choices[i], n_text))
            return qvl_fail(err, QVL_ERR_ARGUMENT,
                            "choice %zu must be UTF-8, not empty, and all together at most %u bytes", i + 1,
                            QVL_MAX_CONSTRAINT_BYTES);
    }
    return QVL_OK;
}

enum qvl_status qvl_grammar_from_choices(const char *const *choices, size_t n, struct qvl_grammar **out,
                                         struct qvl_error *err)
{
    struct qvl_nfa nfa = {.err = err};
    bool is_empty = false;
    enum qvl_status status = check_choices(choices, n, err);
    if (status)
        return status;
    uint32_t begin = qvl_nfa_state(&nfa);
    for (size_t i = 0; i < n; i++)
        qvl_nfa_accept(&nfa, qvl_nfa_text(&nfa, begin, choices[i], strlen(choices[i])));
    status = qvl_grammar_compile(&nfa, &begin, 1, out, &is_empty, err);
    qvl_nfa_free(&nfa);
    return status;
}
