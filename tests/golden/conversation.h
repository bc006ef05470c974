/* conversation.h: the cases of tests/golden/conversations.json as qvl.h takes them, their pictures and frames
 * drawn, and one put to an engine. What is unexpected fails the running test. */
#ifndef GOLDEN_CONVERSATION_H
#define GOLDEN_CONVERSATION_H

#include "../lib/chat_line.h"
#include "vectors.h"

#define GOLDEN_N_TURN 5

struct golden_conversation {
    struct qvl_chat chat;
    json_t *line;
    struct chat_line *read;
    void *drawn[64]; /* memory of frames */
    size_t n_drawn;
};

struct golden_answer {
    uint32_t *prompt_id, *id; /* [n_prompt], [n] */
    size_t n_prompt, n, n_cached;
    char *text; /* [n_text], which may hold any character, NUL, too */
    size_t n_text;
};

/* A case of the vectors, with its number in its text; "turn3" takes its two earlier answers from `earlier`. */
void golden_conversation_make(const struct golden_vectors *vectors, const char *test_case,
                              const struct golden_answer *earlier, struct golden_conversation *out);
void golden_conversation_free(struct golden_conversation *conversation);

/* n tokens, greedily, whatever they are; session may be NULL. Grids of the media are compared with the vectors'. */
void golden_conversation_run(struct qvl_engine *engine, struct qvl_session *session,
                             const struct golden_vectors *vectors, const char *test_case,
                             const struct golden_conversation *conversation, size_t n, struct golden_answer *out);
void golden_answer_free(struct golden_answer *answer);

#endif
