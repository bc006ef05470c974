/* openai_responses_write.h: what comes of a question, as a Responses reply: one JSON object, or a stream of typed
 * events. */
#ifndef QVL_SERVER_OPENAI_RESPONSES_WRITE_H
#define QVL_SERVER_OPENAI_RESPONSES_WRITE_H

#include "server/logprobs.h"
#include "server/openai_chat_write.h"

struct qvl_responses_writer_settings {
    const char *id; /* "resp_…"; what follows the "_" is in the ids of all output items */
    const char *model;
    const char *echo; /* qvl_responses_body.echo */
    uint64_t created_s, seed;
    uint64_t (*now_s)(void); /* Unix time, of the end */
    bool is_streamed, want_progress, want_logprobs;
};

enum qvl_output_item { QVL_ITEM_NONE, QVL_ITEM_REASONING, QVL_ITEM_MESSAGE, QVL_ITEM_CALL };

struct qvl_responses_writer {
    struct qvl_responses_writer_settings set;
    struct qvl_chat_out out;
    struct qvl_logprobs logprobs;
    enum qvl_output_item item; /* that is open */
    uint32_t n_item;           /* begun */
    struct qvl_bytes call;     /* of an open call: "call_id":…,"name":… */
    struct qvl_bytes content;  /* of the open item: its text or arguments */
    struct qvl_bytes content_logprobs;
    struct qvl_bytes items;       /* finished, with "," between */
    struct qvl_bytes answer;      /* all text */
    struct qvl_bytes json, event; /* at hand */
    uint64_t n_event;
    bool has_begun;
    enum qvl_ask_finish finish;
    struct qvl_error err; /* memory ran out: the sink said that the client is gone */
};

/* Strings of the settings must live as long as the writer. */
void qvl_responses_writer_init(struct qvl_responses_writer *writer,
                               const struct qvl_responses_writer_settings *settings,
                               const struct qvl_chat_out *out);
struct qvl_ask_sink qvl_responses_writer_sink(struct qvl_responses_writer *writer);
void qvl_responses_writer_free(struct qvl_responses_writer *writer); /* zeroed: fine */

#endif
