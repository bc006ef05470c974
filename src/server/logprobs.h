/* logprobs.h: the log probabilities of an answer's tokens, as OpenAI's and Ollama's APIs write them:
 *     {"token": "Hel", "logprob": -0.1, "bytes": [72, 101, 108], "top_logprobs": [{"token", "logprob", "bytes"},
 * …]}
 *
 * A token counts when text came that it let out, so that tokens of tool calls and of stop strings are none of it.
 */
#ifndef QVL_SERVER_LOGPROBS_H
#define QVL_SERVER_LOGPROBS_H

#include "server/ask.h"

/* Bytes of a token, which may be part of a character; *is_special: it never shows in an answer. */
typedef const char *qvl_token_reader(void *user, uint32_t id, size_t *n, bool *is_special);

/* A zeroed struct with its reader is ready. */
struct qvl_logprobs {
    qvl_token_reader *token;
    void *user;
    struct qvl_bytes entries; /* of tokens whose text came, with "," between; the caller's to empty */
    struct qvl_bytes pending; /* the same of tokens whose text is held back */
};

/* A piece of the text: its token, if it says one, and what it lets out. */
enum qvl_status qvl_logprobs_take(struct qvl_logprobs *logprobs, const struct qvl_ask_text *text,
                                  struct qvl_error *err);
/* The tokens so far whose text did not come are none of it. */
void qvl_logprobs_drop(struct qvl_logprobs *logprobs);
void qvl_logprobs_free(struct qvl_logprobs *logprobs);

#endif
