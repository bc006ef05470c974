/* ollama_write.h: what comes of a question, as a reply of Ollama's /api/chat or /api/generate: one JSON object, or
 * one a line. */
#ifndef QVL_SERVER_OLLAMA_WRITE_H
#define QVL_SERVER_OLLAMA_WRITE_H

#include "server/logprobs.h"
#include "server/openai_chat_write.h"

#define QVL_OLLAMA_TIME_BYTES 40

struct qvl_ollama_writer_settings {
    const char *model;
    void (*now)(char out[QVL_OLLAMA_TIME_BYTES]); /* the time of day, RFC 3339 */
    double (*now_ms)(void);                       /* clock.h */
    double started_ms;                            /* when it was asked */
    uint64_t seed;
    bool is_chat; /* else it is a prompt's answer */
    bool is_streamed, want_logprobs;
};

struct qvl_ollama_writer {
    struct qvl_ollama_writer_settings set;
    struct qvl_chat_out out;
    struct qvl_logprobs logprobs;
    struct qvl_bytes content, thinking; /* so far; of a stream only where it is asked what the whole answer was */
    struct qvl_bytes calls;             /* finished, with "," between; of a stream: not sent yet */
    uint32_t n_call;                    /* begun */
    struct qvl_bytes call_head, arguments; /* of the one that is open */
    struct qvl_bytes line;                 /* at hand */
    bool has_begun;
    enum qvl_ask_finish finish;
    struct qvl_error err; /* memory ran out: the sink said that the client is gone */
};

/* Strings of the settings must live as long as the writer. */
void qvl_ollama_writer_init(struct qvl_ollama_writer *writer, const struct qvl_ollama_writer_settings *settings,
                            const struct qvl_chat_out *out);
struct qvl_ask_sink qvl_ollama_writer_sink(struct qvl_ollama_writer *writer);
void qvl_ollama_writer_free(struct qvl_ollama_writer *writer); /* zeroed: fine */

/* Where nothing was asked: {"model", …, "done": true, "done_reason": reason}, appended. */
enum qvl_status qvl_ollama_write_nothing(const struct qvl_ollama_writer_settings *settings, const char *reason,
                                         struct qvl_bytes *out, struct qvl_error *err);

#endif
