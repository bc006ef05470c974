/* verify_measure.h: the arithmetic of `qvl verify`: how far what comes piece by piece is from a slice that the
 * reference kept, and how far two expectations of the next token are from each other. */
#ifndef QVL_CLI_VERIFY_MEASURE_H
#define QVL_CLI_VERIFY_MEASURE_H

#include "cli/reference_file.h"

/* One slice, zeroed but for t; its whole tensor comes row by row, in any pieces. */
struct qvl_verify_slice {
    const struct qvl_reference_tensor *t;
    size_t n_row;        /* that came */
    bool is_other_shape; /* rows of another length, or too many */
    double worst;        /* largest |a - b|, of those that are kept; infinite where one is not a number */
};

void qvl_verify_slice_add_f32(struct qvl_verify_slice *slice, const float *row, size_t n_row, size_t n_column);
void qvl_verify_slice_add_u8(struct qvl_verify_slice *slice, const uint8_t *row, size_t n_row, size_t n_column);
/* Largest difference as a share of the whole tensor's largest absolute value (of bytes: in steps); infinite where
 * rows are missing or of another shape. */
double qvl_verify_slice_error(const struct qvl_verify_slice *slice);

struct qvl_verify_agreement {
    size_t n, n_same;   /* positions; those where both have the same best token */
    double sum_kl;      /* of KL(reference || ours) over the tokens that the reference kept and all others as one: a
                           lower      bound of the divergence, and nearly all of it where the reference is sure of itself */
    double worst_logit; /* largest difference of a kept logit; infinite where one is not a number */
};

/* logits [n_logit] where output token i is chosen. */
void qvl_verify_agreement_add(struct qvl_verify_agreement *agreement, const struct qvl_reference_case *c, size_t i,
                              const float *logits, size_t n_logit);

#endif
