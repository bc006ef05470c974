/* reply.h: errors and small replies, in the shape of the API that was asked. */
#ifndef QVL_SERVER_REPLY_H
#define QVL_SERVER_REPLY_H

#include "base/bytes.h"
#include "server/http.h"

/* A whole JSON reply: bytes->data [bytes->n]. */
void qvl_reply_json(struct qvl_exchange *x, unsigned status, const struct qvl_bytes *json);
/* How the making of it went: the reply, or an error if it failed. Frees the bytes. */
void qvl_reply_built(struct qvl_exchange *x, enum qvl_status status, struct qvl_bytes *json, const struct qvl_error *err);

/* {"error": {"message", "type", "param", "code"}}; of paths below /api/ Ollama's {"error": "message"}. 429 and 503 get a
 * Retry-After, what the client cannot mend by asking again x-should-retry: false. `param` may be NULL. */
void qvl_reply_error(struct qvl_exchange *x, unsigned status, const char *code, const char *param, const char *text);
/* The same, saying in how many seconds to come back. */
void qvl_reply_busy(struct qvl_exchange *x, unsigned status, const char *code, const char *text, unsigned retry_after_s);
/* What went wrong in the engine or in reading a body: status and code by err->status (ARGUMENT 400, MEDIA 422, LIMIT 400,
 * "context_length_exceeded" if `param` is the conversation, MEMORY and CANCELLED 503, INTERNAL,
 * MODEL and FILE 500). Never 5xx for what the client sent; of a 500 the client reads that there was one, and the log
 * has the sentence. */
void qvl_reply_failure(struct qvl_exchange *x, const struct qvl_error *err, const char *param);
/* Fields that no table knew (qvl_fields_read): a header of the reply to come names them; true. With --strict they are
 * refused, and that is the reply: false. */
bool qvl_reply_unknown(struct qvl_exchange *x, const struct qvl_bytes *unknown);
/* The model that a request names, n bytes. Another one than is served is refused with --strict-model, and that is the
 * reply: false. */
bool qvl_reply_model(struct qvl_exchange *x, const char *name, size_t n);
/* The failure as an object in a stream: {"error": {...}}, appended. */
enum qvl_status qvl_error_json(struct qvl_bytes *out, const struct qvl_error *failure, const char *param,
                               struct qvl_error *err);
/* Its sentence, unless that has paths or the engine's own affairs, which are not for clients. */
const char *qvl_text_for_client(const struct qvl_error *failure);
unsigned qvl_http_status_of(enum qvl_status status);

#endif
