/* answer_form.h: --format, --json-schema, --regex and --choice: what the answer must be. */
#ifndef QVL_CLI_ANSWER_FORM_H
#define QVL_CLI_ANSWER_FORM_H

#include "base/bytes.h"
#include "cli/options.h"

/* A zeroed struct asks for nothing. */
struct qvl_answer_form {
    struct qvl_bytes schema;
    struct qvl_bytes text; /* the choices, each with its NUL */
    const char **choice;   /* [n_choice] */
    size_t n_choice;
};

/* Reads the schema (a file, stdin, or the option itself where it begins with a brace) and takes the choices apart.
 * QVL_ERR_FILE, QVL_ERR_ARGUMENT. *out is to be closed in any case. */
enum qvl_status qvl_answer_form_open(const struct qvl_options *options, struct qvl_answer_form *out,
                                     struct qvl_error *err);
/* As a request wants it; lives as long as the form and the options. */
struct qvl_constraint qvl_answer_form_of(const struct qvl_answer_form *form, const struct qvl_options *options);
void qvl_answer_form_close(struct qvl_answer_form *form);

#endif
