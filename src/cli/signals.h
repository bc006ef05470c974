/* signals.h: Ctrl-C stops the answer cleanly, a second one ends the program; a model file that another program cuts
 * short ends it with a sentence. */
#ifndef QVL_CLI_SIGNALS_H
#define QVL_CLI_SIGNALS_H

#include "qvl.h"

/* Call first: threads started later inherit what is set here. */
void qvl_signals_open(void);
/* The request that SIGINT and SIGTERM cancel; NULL: they end the program. */
void qvl_signals_set_request(struct qvl_request *request);
/* 128 + the signal that cancelled, or 0. */
int qvl_signals_exit_code(void);

#endif
