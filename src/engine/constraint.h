/* constraint.h: what a request's options say of its answer, ready to be followed. */
#ifndef QVL_ENGINE_CONSTRAINT_H
#define QVL_ENGINE_CONSTRAINT_H

#include "text/matcher.h"

struct qvl_engine;

/* Zeroed: the answer is free. */
struct qvl_constrained {
    struct qvl_grammar *grammar;
    struct qvl_matcher *matcher;
};

/* Compiles it. From any thread; the first one of an engine also sorts the vocabulary. *out is zeroed before, and to
 * be closed in any case. */
enum qvl_status qvl_constrained_open(struct qvl_engine *engine, const struct qvl_constraint *constraint,
                                     struct qvl_constrained *out, struct qvl_error *err);
void qvl_constrained_close(struct qvl_constrained *constrained);

#endif
