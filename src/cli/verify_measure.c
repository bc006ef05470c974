#include "cli/verify_measure.h"

#include <math.h>

/* max(), but what is not a number is the worst. */
static double worse(double a, double b)
{
    return b <= a ? a : isnan(b) ? INFINITY : b;
}

/* The kept row that the next one to come is compared with; NULL where it is none. */
static bool take_row(struct qvl_verify_slice *s, size_t n_column, size_t *i_kept)
{
    size_t i = s->n_row++;
    if (n_column != s->t->whole_columns || i >= s->t->whole_rows)
        s->is_other_shape = true;
    *i_kept = i / s->t->row_stride * s->t->n_column;
    return !s->is_other_shape && i % s->t->row_stride == 0;
}

void qvl_verify_slice_add_f32(struct qvl_verify_slice *slice, const float *row, size_t n_row, size_t n_column)
{
    const struct qvl_reference_tensor *t = slice->t;
    size_t begin;
    for (size_t i = 0; i < n_row; i++, row += n_column) {
        if (t->type != QVL_REFERENCE_F32 || !take_row(slice, n_column, &begin)) {
            slice->is_other_shape |= t->type != QVL_REFERENCE_F32;
            continue;
        }
        const float *kept = (const float *)t->data + begin;
        for (size_t k = 0; k < t->n_column; k++)
            slice->worst = worse(slice->worst, fabs((double)row[k * t->column_stride] - (double)kept[k]));
    }
}

void qvl_verify_slice_add_u8(struct qvl_verify_slice *slice, const uint8_t *row, size_t n_row, size_t n_column)
{
    const struct qvl_reference_tensor *t = slice->t;
    size_t begin;
    for (size_t i = 0; i < n_row; i++, row += n_column) {
        if (t->type != QVL_REFERENCE_U8 || !take_row(slice, n_column, &begin)) {
            slice->is_other_shape |= t->type != QVL_REFERENCE_U8;
            continue;
        }
        const uint8_t *kept = (const uint8_t *)t->data + begin;
        for (size_t k = 0; k < t->n_column; k++)
            slice->worst = worse(slice->worst, fabs((double)row[k * t->column_stride] - (double)kept[k]));
    }
}

double qvl_verify_slice_error(const struct qvl_verify_slice *slice)
{
    if (slice->is_other_shape || slice->n_row != slice->t->whole_rows)
        return INFINITY;
    if (slice->t->type == QVL_REFERENCE_U8 || slice->worst <= 0)
        return slice->worst;
    return slice->t->max_abs > 0 ? slice->worst / slice->t->max_abs : INFINITY;
}

static double log_sum_of(const float *x, size_t n, size_t *best)
{
    double others = 0; /* the best one's own term is 1 */
    *best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[*best])
            *best = i;
    for (size_t i = 0; i < n; i++)
        others += i == *best ? 0 : exp((double)x[i] - (double)x[*best]);
    return log1p(others) + (double)x[*best];
}

void qvl_verify_agreement_add(struct qvl_verify_agreement *agreement, const struct qvl_reference_case *c, size_t i,
                              const float *logits, size_t n_logit)
{
    enum { LEAST_REST = 1000000 }; /* one part in so many is rounding */
    const uint32_t *id = c->top_ids + i * c->n_top;
    const float *top = c->top + i * c->n_top;
    size_t best;
    double log_q_sum = log_sum_of(logits, n_logit, &best), p_rest = 1, q_rest = 1, kl = 0;
    for (size_t k = 0; k < c->n_top; k++) {
        if (id[k] >= n_logit) {
            kl = INFINITY;
            break;
        }
        double x = (double)logits[id[k]], y = (double)top[k];
        double log_p = y - (double)c->log_sum[i], log_q = x - log_q_sum, p = exp(log_p);
        agreement->worst_logit = worse(agreement->worst_logit, fabs(x - y));
        kl += p * (log_p - log_q);
        p_rest -= p;
        q_rest -= exp(log_q);
    }
    if (p_rest * LEAST_REST > 1)
        kl += p_rest * log(p_rest / fmax(q_rest, 1.0 / LEAST_REST));
    agreement->sum_kl = isnan(kl) ? INFINITY : agreement->sum_kl + fmax(kl, 0);
    agreement->n_same += best == id[0];
    agreement->n++;
}
