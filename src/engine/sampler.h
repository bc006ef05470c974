/* sampler.h: logits in, one token id out.
 *
 * Order of the steps, as in transformers (spec: MODEL.md, "Sampling"): logit bias, repetition penalty (prompt and
 * output, once for each id), presence and frequency penalty (output), temperature, top-k (ties with the k-th stay),
 * top-p (on what top-k left), min-p, softmax, draw. Ids that the tokenizer lacks are never chosen; ids that a constraint
 * forbids are as if they were not there. */
#ifndef QVL_ENGINE_SAMPLER_H
#define QVL_ENGINE_SAMPLER_H

#include "base/error.h"

struct qvl_candidate {
    uint32_t id;
    double p; /* probability among the candidates */
};

struct qvl_sampler {
    struct qvl_sampling sampling;
    uint32_t n_id;       /* ids from here on are masked */
    const uint64_t *allowed; /* [n_id] bits: the only ids that the next step may choose, at least one; NULL: all. The
                                caller's */
    const struct qvl_logit_bias *bias; /* [n_bias] each id once, below n_id; the caller's */
    size_t n_bias;
    uint64_t random[4];  /* xoshiro256** */
    /* penalties: the distinct ids of prompt and output; NULL when every penalty is neutral */
    uint32_t *n_seen;    /* [n_id] times in the output + 1 once met at all; 0 = never met */
    uint32_t *seen;      /* [n_id] ids met, in order of appearance */
    size_t n_distinct;
    /* candidates of the last step; NULL when greedy */
    struct qvl_candidate *candidate; /* [n_id] */
    size_t n_candidate;
};

/* Refuses values outside their range (QVL_ERR_ARGUMENT). */
enum qvl_status qvl_sampling_check(const struct qvl_sampling *sampling, struct qvl_error *err);

/* `prompt` is read during the call only; its ids >= n_id are not counted. */
enum qvl_status qvl_sampler_init(struct qvl_sampler *sampler, const struct qvl_sampling *sampling, uint32_t n_id,
                                 const uint32_t *prompt, size_t n_prompt, struct qvl_error *err);
void qvl_sampler_free(struct qvl_sampler *sampler);

/* The K best (id, logit) pairs of logits [n_id], best first, equal ones by id. Returns how many (<= k). */
size_t qvl_top_logits(const float *logits, uint32_t n_id, uint32_t k, struct qvl_token_logit *out);
/* The logarithm of the sum of their exponentials. */
float qvl_log_sum(const float *logits, uint32_t n_id);

/* All steps up to the softmax: fills candidate[], best first where top-k, top-p or min-p is on. Changes logits
 * [n_id]. Not for temperature 0. */
void qvl_sampler_filter(struct qvl_sampler *sampler, float *logits);
/* One id from logits [n_id], which change; it counts as output from then on. A logit that is not finite is
 * QVL_ERR_INTERNAL. */
enum qvl_status qvl_sampler_choose(struct qvl_sampler *sampler, float *logits, uint32_t *out_id,
                                   struct qvl_error *err);

#endif
