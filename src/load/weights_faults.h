/* weights_faults.h: what of a model's files does not fit the table of its tensors, gathered into one sentence. */
#ifndef QVL_LOAD_WEIGHTS_FAULTS_H
#define QVL_LOAD_WEIGHTS_FAULTS_H

#include "base/error.h"

enum qvl_fault { QVL_FAULT_MISSING, QVL_FAULT_UNEXPECTED, QVL_FAULT_DIFFERENT, QVL_N_FAULT };

enum { QVL_FAULTS_NAMED = 2 }; /* of each kind in the sentence */

/* A zeroed struct holds none. */
struct qvl_faults {
    size_t n[QVL_N_FAULT];
    char text[QVL_N_FAULT][QVL_FAULTS_NAMED][200];
};

/* detail goes behind the name: "", " is there twice". */
void qvl_faults_add(struct qvl_faults *faults, enum qvl_fault kind, const char *name, const char *detail);
/* A tensor that is there with another shape. */
void qvl_faults_add_shape(struct qvl_faults *faults, const char *name, const uint64_t *found, uint32_t n_found,
                          const uint64_t *expected, uint32_t n_expected);
/* QVL_OK where none was added. asker: "config.json", what the n_expected tensors follow from. */
enum qvl_status qvl_faults_report(const struct qvl_faults *faults, const char *model, size_t n_expected,
                                  const char *asker, struct qvl_error *err);

#endif
