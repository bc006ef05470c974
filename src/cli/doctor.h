/* doctor.h: what `qvl doctor` has found so far, one line for each thing, and who looks for what. */
#ifndef QVL_CLI_DOCTOR_H
#define QVL_CLI_DOCTOR_H

#include "base/arena.h"
#include "cli/options.h"

enum qvl_verdict { QVL_VERDICT_OK, QVL_VERDICT_NOTE, QVL_VERDICT_PROBLEM };

struct qvl_finding {
    enum qvl_verdict verdict;
    const char *topic, *text; /* for people, in the language chosen */
    const char *advice;       /* what to do; NULL where nothing is */
};

struct qvl_doctor {
    const struct qvl_options *options;
    struct qvl_finding *finding; /* [n] */
    size_t n, n_alloc;
    struct qvl_engine *engine; /* of the model; NULL where it does not open */
    const char *model;
    struct qvl_arena arena; /* of the texts */
    struct qvl_error err;   /* no memory: nothing more is found */
};

/* topic: a QVL_SAID; text: from qvl_doctor_text or the language's table, NULL after a failure; advice the same, or
 * NULL. */
void qvl_doctor_add(struct qvl_doctor *doctor, enum qvl_verdict verdict, const char *topic, const char *text,
                    const char *advice);
/* Formatted, until the end. */
const char *qvl_doctor_text(struct qvl_doctor *doctor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Program, processor, threads, memory and limits. */
void qvl_doctor_see_machine(struct qvl_doctor *doctor);
/* Page, caches of models, who is asked for them, language. Nothing is sent to anybody. */
void qvl_doctor_see_surroundings(struct qvl_doctor *doctor);
/* Its files, and whether it fits. */
void qvl_doctor_see_model(struct qvl_doctor *doctor);
/* qvl-media: whether it starts, locks itself in, and which formats it decodes. */
void qvl_doctor_see_media(struct qvl_doctor *doctor);

#define QVL_GB 1e9

#endif
