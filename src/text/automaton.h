/* automaton.h: finite automata over bytes: built loosely, made deterministic, combined.
 *
 * An automaton is drawn state by state as a non-deterministic one (struct qvl_nfa): edges that read a byte, edges
 * that read nothing, and calls, which read what another rule accepts. qvl_dfa_build makes it deterministic, a call
 * being one more symbol; what calls mean is the matcher's affair (matcher.h).
 *
 * Errors of drawing stick: the first one stays in nfa->status and *nfa->err, later calls do nothing, and
 * qvl_dfa_build returns it. States and edges are bounded (base/limits.h), so nothing that is written in a schema or
 * a regular expression makes them many. */
#ifndef QVL_TEXT_AUTOMATON_H
#define QVL_TEXT_AUTOMATON_H

#include "base/error.h"

/* ---- sets of characters -------------------------------------------------------------------------- */

struct qvl_char_range {
    uint32_t lo, hi; /* code points, both included */
};

/* A zeroed struct is empty. Sorted, disjoint ranges once qvl_charset_settle was called. */
struct qvl_charset {
    struct qvl_char_range *range;
    size_t n, n_alloc;
};
enum qvl_status qvl_charset_add(struct qvl_charset *set, uint32_t lo, uint32_t hi, struct qvl_error *err);
void qvl_charset_settle(struct qvl_charset *set);
/* All scalar values that are not in it (settled before and after). */
enum qvl_status qvl_charset_negate(struct qvl_charset *set, struct qvl_error *err);
void qvl_charset_free(struct qvl_charset *set);

/* How a character stands in the text: as UTF-8; or inside a JSON string, where each character has exactly one
 * spelling: itself, one of \" \\ \b \f \n \r \t, or, other control characters, none. */
enum qvl_spelling { QVL_SPELLING_PLAIN, QVL_SPELLING_JSON };

/* ---- drawing ------------------------------------------------------------------------------------- */

enum qvl_edge_kind { QVL_EDGE_BYTES, QVL_EDGE_SKIP, QVL_EDGE_CALL, QVL_EDGE_ACCEPT };

struct qvl_nfa_edge {
    enum qvl_edge_kind kind;
    uint32_t from, to;
    uint32_t lo, hi; /* BYTES: both included; CALL: lo is the rule */
};

/* Fill err; the rest zero. */
struct qvl_nfa {
    struct qvl_nfa_edge *edge;
    size_t n_edge, n_edge_alloc;
    uint32_t n_state;
    enum qvl_status status;
    struct qvl_error *err;
};

uint32_t qvl_nfa_state(struct qvl_nfa *nfa); /* a new one */
void qvl_nfa_bytes(struct qvl_nfa *nfa, uint32_t from, uint32_t to, uint32_t lo, uint32_t hi);
void qvl_nfa_skip(struct qvl_nfa *nfa, uint32_t from, uint32_t to);
void qvl_nfa_call(struct qvl_nfa *nfa, uint32_t from, uint32_t to, uint32_t rule);
void qvl_nfa_accept(struct qvl_nfa *nfa, uint32_t state); /* the text, or the rule, may end here */
/* These n bytes; returns the state behind them. */
uint32_t qvl_nfa_text(struct qvl_nfa *nfa, uint32_t from, const char *text, size_t n);
/* One character of the set. */
void qvl_nfa_chars(struct qvl_nfa *nfa, uint32_t from, uint32_t to, const struct qvl_charset *set,
                   enum qvl_spelling spelling);
/* One character, whichever. */
void qvl_nfa_any_char(struct qvl_nfa *nfa, uint32_t from, uint32_t to, enum qvl_spelling spelling);

/* A place in the drawing. What was drawn since is a piece of it. */
struct qvl_nfa_mark {
    uint32_t state;
    size_t edge;
};
struct qvl_nfa_mark qvl_nfa_mark(const struct qvl_nfa *nfa);
/* The piece between two marks once more, its edges all inside it; returns by how much its states' numbers grew. */
uint32_t qvl_nfa_copy(struct qvl_nfa *nfa, struct qvl_nfa_mark begin, struct qvl_nfa_mark end);
/* Forgets what was drawn since, and an error with it. Nothing before the mark may lead there. */
void qvl_nfa_cut(struct qvl_nfa *nfa, struct qvl_nfa_mark mark);
void qvl_nfa_free(struct qvl_nfa *nfa);

/* ---- deterministic ------------------------------------------------------------------------------- */

struct qvl_dfa_call {
    uint32_t rule, to;
};

enum { QVL_DFA_DEAD = 0 }; /* the state from which nothing is accepted */

struct qvl_dfa {
    uint8_t class_of[256]; /* bytes of one class are not told apart */
    uint32_t n_class, n_state;
    uint32_t *next;            /* [n_state, n_class] */
    bool *is_accepting;        /* [n_state] */
    struct qvl_dfa_call *call; /* those of state s: [call_end[s - 1], call_end[s]) */
    uint32_t *call_end;        /* [n_state] */
    size_t n_call, n_call_alloc, n_state_alloc;
};

/* start[n] become out_start[n]. Refuses (QVL_ERR_LIMIT) what takes more states or work than the limits allow. *out
 * is zeroed before; free it in any case. */
enum qvl_status qvl_dfa_build(const struct qvl_nfa *nfa, const uint32_t *start, size_t n, struct qvl_dfa *out,
                              uint32_t *out_start, struct qvl_error *err);
/* What both accept (want_b), or what a accepts and b does not. Without calls; both begin in state 1, as does *out.
 */
enum qvl_status qvl_dfa_combine(const struct qvl_dfa *a, const struct qvl_dfa *b, bool want_b, struct qvl_dfa *out,
                                struct qvl_error *err);
/* Whether these n bytes, read from the state, are accepted. Without calls. */
bool qvl_dfa_accepts(const struct qvl_dfa *dfa, uint32_t state, const char *text, size_t n);
/* What the automaton accepts (from state 1), as a piece of the drawing. Without calls. */
void qvl_nfa_dfa(struct qvl_nfa *nfa, uint32_t from, uint32_t to, const struct qvl_dfa *dfa);

/* For each state how many calls must at least be open at a time to reach an accepting one; QVL_NEED_NEVER: none can
 * be reached. rule_start[rule] is where calls begin. need [n_state] is written. */
#define QVL_NEED_NEVER 0xFFFFu
enum qvl_status qvl_dfa_measure(const struct qvl_dfa *dfa, const uint32_t *rule_start, uint16_t *need,
                                struct qvl_error *err);
void qvl_dfa_free(struct qvl_dfa *dfa);

#endif
