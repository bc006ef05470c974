/* answer_recorder.h: what a writer of replies sends, and a question's answer told to it, for the tests of this
 * room. */
#ifndef ANSWER_RECORDER_H
#define ANSWER_RECORDER_H

#include "server/openai_chat_write.h"

struct answer_recorder {
    struct qvl_bytes sent; /* each piece, with "|" behind it */
    int n_begin, n_fail;
    int n_left; /* pieces until the client is gone; below 0: it stays */
};

/* Where a writer sends to. Token 9 is special, 8 is half a character, the others are letters from a on. */
struct qvl_chat_out recorder_out(struct answer_recorder *recorder);
void recorder_free(struct answer_recorder *recorder);

/* Each fails the test where the sink says that the client is gone. */
void tell_text(const struct qvl_ask_sink *sink, const char *utf8);
void tell_reasoning(const struct qvl_ask_sink *sink, const char *utf8);
/* With a token of logit 1.5, log_sum 2.5 and the best candidates 1 (2.0) and 9 (1.0). */
void tell_token(const struct qvl_ask_sink *sink, const char *utf8, uint32_t id);
void tell_call(const struct qvl_ask_sink *sink, uint32_t i_call, const char *name); /* its id: call_I */
void tell_arguments(const struct qvl_ask_sink *sink, uint32_t i_call, const char *utf8);

extern const struct qvl_ask_usage recorder_usage; /* 30 prompt tokens, 10 of them cached; 7 of the answer */

#endif
