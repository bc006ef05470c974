/* compare_stats.h: how far two models' expectations of the same tokens lie apart. Pure functions of logits.
 *
 * At each position p and q are the distributions of the next token over the whole vocabulary, softmax of the logits
 * of the first and the second model. Divergence: sum of p ln(p / q), in nats. Perplexity: exp of the mean of -ln of
 * what a model gave the token that came. */
#ifndef QVL_CLI_COMPARE_STATS_H
#define QVL_CLI_COMPARE_STATS_H

#include "base/error.h"

/* A zeroed struct is empty. */
struct qvl_compare_stats {
    double *divergence; /* [n] of each position */
    size_t n, n_alloc;
    size_t n_same_best; /* positions where both have the same best token */
    double loss[2];     /* sum of -ln of the tokens that came */
};

struct qvl_compare_result {
    size_t n;
    double mean, median, p99; /* of the divergences, nats; p99: 99 % are no larger */
    double same_best;         /* share, 0 to 1 */
    double perplexity[2];
};

/* One more position: logits [n_logit] of both, and the token that came. QVL_ERR_INTERNAL: they are not finite. */
enum qvl_status qvl_compare_add(struct qvl_compare_stats *stats, const float *p, const float *q, size_t n_logit,
                                uint32_t id, struct qvl_error *err);
/* Of n >= 1 positions, which are sorted for it. */
struct qvl_compare_result qvl_compare_finish(struct qvl_compare_stats *stats);
void qvl_compare_free(struct qvl_compare_stats *stats);

#endif
