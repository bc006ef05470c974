/* signals.h: Ctrl-C stops the answer cleanly, a second one ends the program; a model file that another program cuts
 * short ends it with a sentence. In a chat Ctrl-C only ever stops the answer. */
#ifndef QVL_CLI_SIGNALS_H
#define QVL_CLI_SIGNALS_H

#include "base/error.h"

/* Call first: threads started later inherit what is set here. */
void qvl_signals_open(void);
/* The request that SIGINT and SIGTERM cancel; NULL: they end the program. */
void qvl_signals_set_request(struct qvl_request *request);
/* The same for measurements, and for a folder that is written. */
void qvl_signals_set_bench(struct qvl_bench *bench);
void qvl_signals_set_quantizer(struct qvl_quantizer *quantizer);
/* 128 + the signal that cancelled, or 0. In a chat: of SIGTERM only. */
int qvl_signals_exit_code(void);

/* From here on a SIGINT that finds no request is told, like SIGTERM, SIGWINCH and SIGCONT, as one byte, its number,
 * on *out_fd (for poll; reading never waits) and ends nothing. A second SIGTERM ends the program. */
enum qvl_status qvl_signals_open_chat(int *out_fd, struct qvl_error *err);
void qvl_signals_close_chat(void);

#endif
