/* http_watch.h: the watcher's thread (design: http_exchange.h). */
#ifndef QVL_SERVER_HTTP_WATCH_H
#define QVL_SERVER_HTTP_WATCH_H

#include "server/http_exchange.h"

enum qvl_status qvl_http_watch_start(struct qvl_http *http, struct qvl_error *err);
void qvl_http_watch_stop(struct qvl_http *http);

/* All under the lock. */
/* Looks again at due_ms, or earlier. */
void qvl_http_watch_wake(struct qvl_http *http, double due_ms);
/* The socket, until it is taken back: a client that closes it, or its sending half, is gone. */
void qvl_http_watch_add(struct qvl_connection *c);
void qvl_http_watch_remove(struct qvl_connection *c);
/* The client has closed: whoever still waits for it is told. */
void qvl_http_watch_hang_up(struct qvl_connection *c);
/* x->gone is to be called; and is not: on return it does not run any more. */
void qvl_http_watch_call(struct qvl_exchange *x);
void qvl_http_watch_take_back(struct qvl_exchange *x);
/* Keeps the socket open in the background after libmicrohttpd has closed it, and throws away what still comes:
 * closing at once would make the system answer with a reset, and the client lose the reply that it has not read
 * yet. */
void qvl_http_watch_linger(struct qvl_http *http, int fd);
/* The connection that has waited longest for its client, if any, makes room. */
void qvl_http_watch_evict(struct qvl_http *http);

#endif
