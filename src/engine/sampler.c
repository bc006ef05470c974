/* Idea: with top-k, top-p or min-p the few best candidates are all that matters, so the ids are heaped by
 * logit (linear) and popped best first until a rule says enough. transformers' top-p drops, in ascending
 * order, what has a cumulated probability <= 1 - p; seen from the top that keeps a candidate while the mass
 * before it is < p, and the first one always.
 *
 * Temperature 0 is the argmax after bias and penalties, the first of equal ones.
 *
 * Randomness: xoshiro256** (Blackman, Vigna) seeded with four steps of splitmix64(seed); one draw for each
 * token, u = top 53 bits / 2^53, and the first candidate in order whose cumulated probability is > u. Same
 * seed, same logits: same text. */
#include "engine/sampler.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define MIN_TEMPERATURE 1e-6f /* below it logits would become infinite; 0 is what was meant */

/* ---- randomness ---------------------------------------------------------------------------------- */

static uint64_t rotate_left(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static void seed_random(uint64_t random[4], uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        random[i] = z ^ z >> 31;
    }
}

static double draw_uniform(uint64_t s[4])
{
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return (double)(result >> 11) * 0x1p-53;
}

/* ---- set-up -------------------------------------------------------------------------------------- */

static enum qvl_status check_range(const char *name, double value, double lo, double hi, struct qvl_error *err)
{
    if (value >= lo && value <= hi) /* false for NaN */
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_ARGUMENT, "%s is %g: it must be from %g to %g", name, value, lo, hi);
}

enum qvl_status qvl_sampling_check(const struct qvl_sampling *s, struct qvl_error *err)
{
    enum qvl_status status;
    double coldest = s->temperature > 0 ? (double)MIN_TEMPERATURE : 0;
    if ((status = check_range("temperature", (double)s->temperature, coldest, 100, err)) ||
        (status = check_range("top_p", (double)s->top_p, 0, 1, err)) ||
        (status = check_range("min_p", (double)s->min_p, 0, 1, err)) ||
        (status = check_range("repetition_penalty", (double)s->repetition_penalty, 0.01, 100, err)) ||
        (status = check_range("presence_penalty", (double)s->presence_penalty, -100, 100, err)) ||
        (status = check_range("frequency_penalty", (double)s->frequency_penalty, -100, 100, err)))
        return status;
    return QVL_OK;
}

static bool has_penalty(const struct qvl_sampling *s)
{
    return s->repetition_penalty != 1 || s->presence_penalty != 0 || s->frequency_penalty != 0;
}

/* An id of the prompt (n_times 0) or of the output (1). */
static void count_id(struct qvl_sampler *sampler, uint32_t id, uint32_t n_times)
{
    if (!sampler->n_seen || id >= sampler->n_id)
        return;
    if (sampler->n_seen[id] == 0) {
        sampler->seen[sampler->n_distinct++] = id;
        sampler->n_seen[id] = 1;
    }
    sampler->n_seen[id] += n_times;
}

enum qvl_status qvl_sampler_init(struct qvl_sampler *sampler, const struct qvl_sampling *sampling, uint32_t n_id,
                                 const uint32_t *prompt, size_t n_prompt, struct qvl_error *err)
{
    *sampler = (struct qvl_sampler){.sampling = *sampling, .n_id = n_id};
    seed_random(sampler->random, sampling->seed);
    if (has_penalty(sampling)) {
        sampler->n_seen = calloc(n_id, sizeof *sampler->n_seen);
        sampler->seen = calloc(n_id, sizeof *sampler->seen);
    }
    if (sampling->temperature > 0)
        sampler->candidate = calloc(n_id, sizeof *sampler->candidate);
    if ((has_penalty(sampling) && (!sampler->n_seen || !sampler->seen)) ||
        (sampling->temperature > 0 && !sampler->candidate)) {
        qvl_sampler_free(sampler);
        return qvl_fail_memory(err, n_id * sizeof *sampler->candidate, "the sampler");
    }
    for (size_t i = 0; i < n_prompt; i++)
        count_id(sampler, prompt[i], 0);
    return QVL_OK;
}

void qvl_sampler_free(struct qvl_sampler *sampler)
{
    free(sampler->n_seen);
    free(sampler->seen);
    free(sampler->candidate);
    *sampler = (struct qvl_sampler){0};
}

/* ---- steps --------------------------------------------------------------------------------------- */

static bool is_allowed(const struct qvl_sampler *sampler, uint32_t id)
{
    return !sampler->allowed || (sampler->allowed[id / 64] >> id % 64 & 1);
}

static void apply_bias_and_penalties(const struct qvl_sampler *sampler, float *logits)
{
    const struct qvl_sampling *s = &sampler->sampling;
    for (size_t i = 0; i < sampler->n_bias; i++)
        logits[sampler->bias[i].id] += sampler->bias[i].bias;
    for (size_t i = 0; i < sampler->n_distinct; i++) {
        uint32_t id = sampler->seen[i], n_output = sampler->n_seen[id] - 1;
        float x = logits[id];
        x = x < 0 ? x * s->repetition_penalty : x / s->repetition_penalty;
        if (n_output > 0)
            x -= s->presence_penalty + s->frequency_penalty * (float)n_output;
        logits[id] = x;
    }
}

/* Of equal logits the smaller id. (Where top-p cuts between equal ones, transformers keeps what its unstable sort
 * happens to put last.) */
static bool is_better(const float *logits, uint32_t a, uint32_t b)
{
    float x = logits[a], y = logits[b];
    return x > y || (x == y && a < b);
}

/* Of the two places below place i of a heap the better one; >= n where there is none. */
static size_t better_child(const struct qvl_candidate *c, size_t n, size_t i, const float *logits)
{
    size_t left = 2 * i + 1, right = left + 1;
    return right < n && is_better(logits, c[right].id, c[left].id) ? right : left;
}

/* Restores the heap of ids in c[0..n) below c[i]. */
static void sift_down(struct qvl_candidate *c, size_t n, size_t i, const float *logits)
{
    uint32_t id = c[i].id;
    size_t child = better_child(c, n, i, logits);
    while (child < n && is_better(logits, c[child].id, id)) {
        c[i].id = c[child].id;
        i = child;
        child = better_child(c, n, i, logits);
    }
    c[i].id = id;
}

static void make_heap(struct qvl_candidate *c, size_t n, const float *logits)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(c, n, i, logits);
}

/* Takes the best id out of the heap c[0..*n_heap) and leaves it in the place that became free behind it. */
static uint32_t pop_best(struct qvl_candidate *c, size_t *n_heap, const float *logits)
{
    uint32_t id = c[0].id;
    size_t n = --*n_heap;
    c[0].id = c[n].id;
    if (n > 0)
        sift_down(c, n, 0, logits);
    c[n].id = id;
    return id;
}

/* Restores the heap of c[0..k).p, the least on top, below place i. */
static void sift_least_down(struct qvl_candidate *c, size_t k, size_t i)
{
    double p = c[i].p;
    for (size_t child = 2 * i + 1; child < k; child = 2 * i + 1) {
        if (child + 1 < k && c[child + 1].p < c[child].p)
            child++;
        if (p <= c[child].p)
            break;
        c[i].p = c[child].p;
        i = child;
    }
    c[i].p = p;
}

/* The k best of c[0..n), k < n, and what equals the last of them. Returns how many. The k best so far are in a heap
 * with the least of them on top, in p, which nothing else needs yet: nearly every logit then costs one comparison,
 * where a heap of the whole vocabulary would cost some milliseconds. */
static size_t keep_top_k(struct qvl_candidate *c, size_t n, size_t k, const float *logits)
{
    size_t n_kept = 0;
    for (size_t i = 0; i < k; i++)
        c[i].p = (double)logits[c[i].id];
    for (size_t i = k / 2; i-- > 0;)
        sift_least_down(c, k, i);
    for (size_t i = k; i < n; i++) {
        double x = (double)logits[c[i].id];
        if (x <= c[0].p)
            continue;
        c[0].p = x;
        sift_least_down(c, k, 0);
    }
    const double kth = c[0].p;
    for (size_t i = 0; i < n; i++)
        if ((double)logits[c[i].id] >= kth)
            c[n_kept++].id = c[i].id;
    return n_kept;
}

static double weight_of(const float *logits, uint32_t id, double best)
{
    return exp((double)logits[id] - best);
}

/* Sorts what top-p and min-p leave of c[0..n) to its front. Returns how many. */
static size_t keep_top_p(struct qvl_candidate *c, size_t n, const struct qvl_sampling *s, const float *logits)
{
    make_heap(c, n, logits);
    const double best = (double)logits[c[0].id];
    double mass = 0, total = 0; /* of those kept; of all */
    for (size_t i = 0; i < n; i++)
        total += weight_of(logits, c[i].id, best);
    size_t n_heap = n;
    while (n_heap > 0) {
        double weight = weight_of(logits, c[0].id, best);
        bool is_past = s->top_p < 1 && mass >= (double)s->top_p * total;
        if (n_heap < n && (is_past || weight < (double)s->min_p))
            break;
        mass += weight;
        pop_best(c, &n_heap, logits);
    }
    for (size_t i = n_heap, j = n - 1; i < j; i++, j--) { /* popped ones lie at the end, the best one last */
        uint32_t id = c[i].id;
        c[i].id = c[j].id;
        c[j].id = id;
    }
    for (size_t i = n_heap; i < n; i++)
        c[i - n_heap].id = c[i].id;
    return n - n_heap;
}

void qvl_sampler_filter(struct qvl_sampler *sampler, float *logits)
{
    const struct qvl_sampling *s = &sampler->sampling;
    struct qvl_candidate *c = sampler->candidate;
    size_t n = 0;
    apply_bias_and_penalties(sampler, logits);
    for (uint32_t id = 0; id < sampler->n_id; id++) {
        if (!is_allowed(sampler, id))
            continue;
        logits[id] /= s->temperature;
        c[n++].id = id;
    }
    bool has_top_k = s->top_k > 0 && s->top_k < n;
    if (has_top_k)
        n = keep_top_k(c, n, s->top_k, logits);
    if (has_top_k || s->top_p < 1 || s->min_p > 0)
        n = keep_top_p(c, n, s, logits);
    double best = (double)logits[c[0].id], total = 0;
    for (size_t i = 1; i < n; i++)
        best = fmax(best, (double)logits[c[i].id]);
    for (size_t i = 0; i < n; i++)
        total += c[i].p = weight_of(logits, c[i].id, best);
    for (size_t i = 0; i < n; i++)
        c[i].p /= total;
    sampler->n_candidate = n;
}

static uint32_t draw_candidate(struct qvl_sampler *sampler)
{
    double u = draw_uniform(sampler->random), sum = 0;
    size_t last = sampler->n_candidate - 1;
    for (size_t i = 0; i < last; i++) {
        sum += sampler->candidate[i].p;
        if (sum > u)
            return sampler->candidate[i].id;
    }
    return sampler->candidate[last].id; /* the sum may end a rounding below 1 */
}

static uint32_t find_best(const struct qvl_sampler *sampler, const float *logits)
{
    uint32_t best = 0;
    while (!is_allowed(sampler, best))
        best++;
    for (uint32_t i = best + 1; i < sampler->n_id; i++)
        if (logits[i] > logits[best] && is_allowed(sampler, i))
            best = i;
    return best;
}

enum qvl_status qvl_sampler_choose(struct qvl_sampler *sampler, float *logits, uint32_t *out_id,
                                   struct qvl_error *err)
{
    for (uint32_t i = 0; i < sampler->n_id; i++)
        if (!isfinite(logits[i]))
            return qvl_fail(err, QVL_ERR_INTERNAL, "non-finite logits: the model gave %g for token %" PRIu32,
                            (double)logits[i], i);
    if (sampler->sampling.temperature > 0) {
        qvl_sampler_filter(sampler, logits);
        *out_id = draw_candidate(sampler);
    } else {
        apply_bias_and_penalties(sampler, logits);
        *out_id = find_best(sampler, logits);
    }
    count_id(sampler, *out_id, 1);
    return QVL_OK;
}

size_t qvl_top_logits(const float *logits, uint32_t n_id, uint32_t k, struct qvl_token_logit *out)
{
    size_t n = 0;
    for (uint32_t id = 0; id < n_id && k > 0; id++) {
        if (n == k && !(logits[id] > out[n - 1].logit))
            continue;
        size_t i = n < k ? n++ : n - 1; /* the place that opens up, moved to where the new one belongs */
        for (; i > 0 && logits[id] > out[i - 1].logit; i--)
            out[i] = out[i - 1];
        out[i] = (struct qvl_token_logit){id, logits[id]};
    }
    return n;
}

/* The best one is taken out first, so that no exponential overflows. */
float qvl_log_sum(const float *logits, uint32_t n_id)
{
    float best = logits[0];
    double sum = 0;
    for (uint32_t id = 1; id < n_id; id++)
        best = logits[id] > best ? logits[id] : best;
    for (uint32_t id = 0; id < n_id; id++)
        sum += weight_of(logits, id, (double)best);
    return (float)((double)best + log(fmax(sum, 1))); /* the best one's share is 1 */
}
