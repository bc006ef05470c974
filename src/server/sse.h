/* sse.h: server-sent events (WHATWG HTML, 9.2): text/event-stream, an event a write. JSON has no line breaks of its own, so
 * each event is one data line. */
#ifndef QVL_SERVER_SSE_H
#define QVL_SERVER_SSE_H

#include "base/bytes.h"
#include "server/http.h"

#define QVL_SSE_PING ": ping\n\n"       /* a comment: readers pass it over, proxies see life */
#define QVL_SSE_DONE "data: [DONE]\n\n" /* how OpenAI's streams end */

/* Status 200 and the headers that keep proxies from gathering a stream. */
void qvl_sse_begin(struct qvl_exchange *x);
/* One event, appended; its name may be NULL. */
enum qvl_status qvl_sse_add(struct qvl_bytes *out, const char *event, const char *json, size_t n, struct qvl_error *err);

#endif
