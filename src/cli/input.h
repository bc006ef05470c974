/* input.h: the words of the command line as one user message: pictures opened, stdin read, texts in order. */
#ifndef QVL_CLI_INPUT_H
#define QVL_CLI_INPUT_H

#include "base/bytes.h"
#include "cli/options.h"

struct qvl_input {
    struct qvl_part *part; /* [n_part] */
    size_t n_part, n_picture;
    int *fd;               /* [n_fd] open pictures */
    size_t n_fd;
    struct qvl_bytes from_stdin;
};

/* Parts keep the order of the command line, except that a single text goes last, where the model was trained to
 * find the question. A word that is a file of a known type is a picture; one that looks like the path of a
 * picture or clip and is none is QVL_ERR_MEDIA; every other word is text. Without any text, stdin is read unless it
 * is a terminal. */
enum qvl_status qvl_input_open(const struct qvl_options *options, struct qvl_input *out, struct qvl_error *err);
void qvl_input_close(struct qvl_input *input);

#endif
