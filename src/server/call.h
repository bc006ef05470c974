/* call.h: one request of an API that asks the model, from its body to the end of its reply: what is the same for
 * all of them. The API's file brings a reader of bodies and a writer of replies:
 *
 *     struct qvl_call call;
 *     if (qvl_call_open(&call, app, x, read_body, &body)) {
 *         struct qvl_chat_out out = qvl_call_out(&call);
 *         ... a writer that sends to `out`, and its sink ...
 *         qvl_call_run(&call, &sink, &writer.err);
 *     }
 *     qvl_call_close(&call); */
#ifndef QVL_SERVER_CALL_H
#define QVL_SERVER_CALL_H

#include "server/ask.h"
#include "server/media_request.h"
#include "server/openai_chat_read.h"
#include "server/openai_chat_write.h"

struct qvl_call {
    struct qvl_app *app;
    struct qvl_exchange *x;
    struct qvl_media_request media;
    struct qvl_ask ask;
    struct qvl_chat_body body; /* what the reader found beside the question */
    const char *conversation;  /* the field that holds it, for errors: "messages" */
    const char *longest;       /* the field that bounds the answer: "max_tokens" */
    bool is_ndjson;            /* streams are lines of JSON instead of server-sent events */
    bool has_begun, is_replied;
};

/* Makes call->ask and call->body of a body. Fails like qvl_chat_body_read. */
typedef enum qvl_status qvl_call_reader(void *user, struct qvl_call *call,
                                        const struct qvl_chat_read_settings *settings, struct qvl_error *err);

/* Reads the body and checks what no reader can know. False: it was replied to. Close it in any case. */
bool qvl_call_open(struct qvl_call *call, struct qvl_app *app, struct qvl_exchange *x, qvl_call_reader *read,
                   void *user);
void qvl_call_close(struct qvl_call *call);

/* Where a writer sends to. */
struct qvl_chat_out qvl_call_out(struct qvl_call *call);
/* Runs the question. broken: the writer's error, which is why its sink said that the client is gone. */
void qvl_call_run(struct qvl_call *call, const struct qvl_ask_sink *sink, const struct qvl_error *broken);
/* Instead: how many tokens it is. */
void qvl_call_count(struct qvl_call *call);

/* prefix and 32 hexadecimal digits by chance. */
enum qvl_status qvl_call_make_id(char *out, size_t n_out, const char *prefix, struct qvl_error *err);

#endif
