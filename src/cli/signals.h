/* signals.h: Ctrl-C stops the answer cleanly, a second one ends the program; a model file that another program cuts
 * short ends it with a sentence. In a chat Ctrl-C only ever stops the answer. A server ends what it has begun. */
#ifndef QVL_CLI_SIGNALS_H
#define QVL_CLI_SIGNALS_H

#include <stdatomic.h>

#include "base/error.h"

/* Call first: threads started later inherit what is set here. */
void qvl_signals_open(void);
/* The request that SIGINT and SIGTERM cancel; NULL: they end the program. */
void qvl_signals_set_request(struct qvl_request *request);
/* The same for other work that can be cancelled from any thread. work NULL: it is being opened, and files may lie about
 * if the program just ended; a signal of that time cancels it as soon as it is given. cancel NULL: no work. */
void qvl_signals_set_work(void (*cancel)(void *work), void *work);
/* 128 + the signal that cancelled, or 0. In a chat: of SIGTERM only. */
int qvl_signals_exit_code(void);

/* From here on SIGHUP calls hang_up, from another thread, and SIGINT and SIGTERM end the program with code 0, until
 * qvl_signals_wait_server is called: that waits for the first of them, the next one makes *qvl_signals_stop_now true,
 * a third one ends the program. hang_up NULL: SIGHUP is one of them. (Where SIGHUP was ignored at the start, as under
 * nohup, it stays so.) */
void qvl_signals_open_server(void (*hang_up)(void *user), void *user);
void qvl_signals_wait_server(void);
const atomic_bool *qvl_signals_stop_now(void);
/* hang_up is not running and will not be called. */
void qvl_signals_close_server(void);

/* From here on a SIGINT that finds no request is told, like SIGTERM, SIGWINCH and SIGCONT, as one byte, its number,
 * on *out_fd (for poll; reading never waits) and ends nothing. A second SIGTERM ends the program. */
enum qvl_status qvl_signals_open_chat(int *out_fd, struct qvl_error *err);
void qvl_signals_close_chat(void);

#endif
