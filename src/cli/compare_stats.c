#include "cli/compare_stats.h"

#include <math.h>
#include <stdlib.h>

#include "base/array.h"

struct softmax {
    size_t i_best;
    double log_sum; /* ln of the sum of exp(logit) */
};

static struct softmax softmax_of(const float *logits, size_t n)
{
    struct softmax s = {0};
    double sum = 1; /* the best one's own */
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[s.i_best])
            s.i_best = i;
    double best = (double)logits[s.i_best];
    for (size_t i = 0; i < n; i++)
        sum += i == s.i_best ? 0 : exp((double)logits[i] - best);
    s.log_sum = best + log(sum);
    return s;
}

enum qvl_status qvl_compare_add(struct qvl_compare_stats *stats, const float *p, const float *q, size_t n_logit,
                                uint32_t id, struct qvl_error *err)
{
    struct softmax of_p = softmax_of(p, n_logit), of_q = softmax_of(q, n_logit);
    double divergence = 0;
    for (size_t i = 0; i < n_logit; i++) {
        double log_p = (double)p[i] - of_p.log_sum, log_q = (double)q[i] - of_q.log_sum;
        divergence += exp(log_p) * (log_p - log_q);
    }
    if (!isfinite(divergence))
        return qvl_fail(err, QVL_ERR_INTERNAL, "non-finite logits: the models cannot be compared");
    double *grown =
        qvl_grow(stats->divergence, &stats->n_alloc, stats->n + 1, sizeof *grown, "the comparison", err);
    if (!grown)
        return err->status;
    stats->divergence = grown;
    stats->divergence[stats->n++] = divergence > 0 ? divergence : 0; /* roundings of equal ones */
    stats->n_same_best += of_p.i_best == of_q.i_best;
    stats->loss[0] += of_p.log_sum - (double)p[id];
    stats->loss[1] += of_q.log_sum - (double)q[id];
    return QVL_OK;
}

static int compare_ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct qvl_compare_result qvl_compare_finish(struct qvl_compare_stats *stats)
{
    size_t n = stats->n;
    double sum = 0;
    qsort(stats->divergence, n, sizeof *stats->divergence, compare_ascending);
    for (size_t i = 0; i < n; i++)
        sum += stats->divergence[i];
    return (struct qvl_compare_result){
        .n = n,
        .mean = sum / (double)n,
        .median = (stats->divergence[(n - 1) / 2] + stats->divergence[n / 2]) / 2,
        .p99 = stats->divergence[(size_t)ceil(0.99 * (double)n) - 1],
        .same_best = (double)stats->n_same_best / (double)n,
        .perplexity = {exp(stats->loss[0] / (double)n), exp(stats->loss[1] / (double)n)},
    };
}

void qvl_compare_free(struct qvl_compare_stats *stats)
{
    free(stats->divergence);
    *stats = (struct qvl_compare_stats){0};
}
