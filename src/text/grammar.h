/* grammar.h: what an answer may be, compiled once for a request: a schema, a regular expression or a choice in, an
 * automaton out that the matcher follows byte by byte.
 *
 * A grammar is a set of rules, all in one deterministic automaton over bytes whose edges may also call a rule:
 * where values contain values, a rule calls another or itself, and the matcher keeps a stack. */
#ifndef QVL_TEXT_GRAMMAR_H
#define QVL_TEXT_GRAMMAR_H

#include "text/automaton.h"

struct qvl_grammar {
    struct qvl_dfa dfa;
    uint32_t *rule_start; /* [n_rule] rule 0 is the whole answer */
    uint16_t *need;       /* [dfa.n_state] calls that must at least be open at a time on the way out of the rule */
    bool *reads;          /* [dfa.n_state] has an edge for some byte */
    uint32_t n_rule;
};

/* A schema (json_schema.h says what is enforced and how), for an answer that is JSON. */
enum qvl_status qvl_grammar_from_schema(const char *schema, size_t n, struct qvl_grammar **out,
                                        struct qvl_error *err);
/* The whole answer matches (regex.h has the dialect). */
enum qvl_status qvl_grammar_from_regex(const char *regex, size_t n, struct qvl_grammar **out,
                                       struct qvl_error *err);
/* One of these texts. */
enum qvl_status qvl_grammar_from_choices(const char *const *choices, size_t n, struct qvl_grammar **out,
                                         struct qvl_error *err);
void qvl_grammar_free(struct qvl_grammar *grammar);
size_t qvl_grammar_bytes(const struct qvl_grammar *grammar); /* of memory */

/* Takes the drawing whose rule i begins in state start[i]. *is_empty, and QVL_OK without *out: no text satisfies
 * it. */
enum qvl_status qvl_grammar_compile(const struct qvl_nfa *nfa, const uint32_t *start, uint32_t n_rule,
                                    struct qvl_grammar **out, bool *is_empty, struct qvl_error *err);

#endif
