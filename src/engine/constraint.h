/* constraint.h: what a request's options say of its answer, ready to be followed. */
#ifndef QVL_ENGINE_CONSTRAINT_H
#define QVL_ENGINE_CONSTRAINT_H

#include "engine/grammar_cache.h"
#include "text/matcher.h"

/* An engine's: its vocabulary in the order of bytes, sorted for the first constraint, and grammars that were
 * compiled. */
struct qvl_constraints;

/* The tokenizer lives longer. *out is the caller's to close. */
enum qvl_status qvl_constraints_open(const struct qvl_tokenizer *tokenizer, struct qvl_constraints **out,
                                     struct qvl_error *err);
/* No constraint is open any more. */
void qvl_constraints_close(struct qvl_constraints *constraints);
void qvl_constraints_get_stats(struct qvl_constraints *constraints, struct qvl_grammar_cache_stats *out);

/* Zeroed: the answer is free. */
struct qvl_constrained {
    struct qvl_constraints *from;
    struct qvl_held_grammar *grammar;
    struct qvl_matcher *matcher;
    bool is_on_call, want_one_call; /* answer.h */
};

/* From any thread. *out is zeroed before, and to be closed in any case. */
enum qvl_status qvl_constrained_open(struct qvl_constraints *constraints, const struct qvl_constraint *constraint,
                                     struct qvl_constrained *out, struct qvl_error *err);
void qvl_constrained_close(struct qvl_constrained *constrained);

#endif
