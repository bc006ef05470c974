/* openai_chat_write.h: what comes of a question, as a Chat Completions reply: one JSON object, or a stream of
 * chunks. */
#ifndef QVL_SERVER_OPENAI_CHAT_WRITE_H
#define QVL_SERVER_OPENAI_CHAT_WRITE_H

#include "server/ask.h"
#include "server/logprobs.h"

/* Where it goes. */
struct qvl_chat_out {
    void *user;
    bool (*begin)(void *user);                            /* a stream's status and headers */
    bool (*send)(void *user, const char *data, size_t n); /* an event of it; else the whole reply, once */
    /* Nothing was sent yet, and nothing will be. */
    void (*fail)(void *user, const struct qvl_error *failure, const struct qvl_ask_usage *usage);
    qvl_token_reader *token;
};

struct qvl_chat_writer_settings {
    const char *id, *model, *fingerprint;
    uint64_t created_s, seed;
    uint32_t n; /* answers */
    bool is_streamed, want_usage, want_progress, want_logprobs;
};

struct qvl_chat_writer_answer {
    struct qvl_bytes content, reasoning;
    struct qvl_logprobs logprobs; /* entries of a stream: not sent yet */
    struct qvl_bytes calls;       /* of a whole reply: [{…},{… and, for the last one, its arguments: */
    struct qvl_bytes arguments;
    uint32_t n_call;
    enum qvl_ask_finish finish;
    struct qvl_bytes stop; /* ,"stop_reason":"…" */
};

struct qvl_chat_writer {
    struct qvl_chat_writer_settings set;
    struct qvl_chat_out out;
    struct qvl_chat_writer_answer answer[QVL_MAX_ANSWERS];
    struct qvl_bytes head; /* of each object */
    struct qvl_bytes text; /* at hand */
    bool has_begun;
    struct qvl_error err; /* memory ran out: the sink said that the client is gone */
};

/* Strings of the settings must live as long as the writer. */
enum qvl_status qvl_chat_writer_init(struct qvl_chat_writer *writer,
                                     const struct qvl_chat_writer_settings *settings,
                                     const struct qvl_chat_out *out, struct qvl_error *err);
struct qvl_ask_sink qvl_chat_writer_sink(struct qvl_chat_writer *writer);
void qvl_chat_writer_free(struct qvl_chat_writer *writer); /* zeroed: fine */

#endif
