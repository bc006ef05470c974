/* conversation.h: the messages of a chat, in memory and as a file.
 *
 * A turn is a question and everything up to the next one. The file is what chat/chat_json.h reads: pictures and
 * clips stand in it by their absolute paths. */
#ifndef QVL_CLI_CONVERSATION_H
#define QVL_CLI_CONVERSATION_H

#include "chat/chat_json.h"
#include "cli/input.h"

/* A message and what it owns; of a message from a file everything belongs to qvl_conversation.loaded. */
struct qvl_entry {
    struct qvl_message message;
    struct qvl_input input;
    char *text, *reasoning;
};

/* A zeroed struct is empty. */
struct qvl_conversation {
    struct qvl_entry *entry;     /* [n_entry] messages with what they own */
    size_t n_entry, n_alloc;
    struct qvl_message *message; /* [n_message_alloc] what qvl_conversation_chat gave out */
    size_t n_message_alloc;
    struct qvl_entry withdrawn;  /* the question that got no answer; without parts: none */
    struct qvl_chat_json loaded; /* the file that it began with */
};

void qvl_conversation_free(struct qvl_conversation *c);

/* Forgets everything but the system message and the question taken back. */
void qvl_conversation_clear(struct qvl_conversation *c);

/* The system message: set, replaced, or (an empty text) taken away. */
enum qvl_status qvl_conversation_set_system(struct qvl_conversation *c, const char *text, struct qvl_error *err);
const char *qvl_conversation_system(const struct qvl_conversation *c); /* NULL: none */
/* A question: what `input` holds, and then the text, unless that is NULL. `input` is empty afterwards, unless this
 * fails. */
enum qvl_status qvl_conversation_add_question(struct qvl_conversation *c, struct qvl_input *input, const char *text,
                                              struct qvl_error *err);
/* n bytes of text; reasoning: "" where there is none. */
enum qvl_status qvl_conversation_add_answer(struct qvl_conversation *c, const char *text, size_t n,
                                            const char *reasoning, struct qvl_error *err);
size_t qvl_conversation_n_turn(const struct qvl_conversation *c);
/* Forgets the last turn. False: there is none. */
bool qvl_conversation_undo(struct qvl_conversation *c);
/* Takes the last question back, when nothing follows it, until the next one is asked or it is retried. */
void qvl_conversation_withdraw(struct qvl_conversation *c);
/* Ends the conversation with the question taken back, or else with the last one, whose answer is forgotten.
 * *is_there: false when there is no question. */
enum qvl_status qvl_conversation_retry(struct qvl_conversation *c, bool *is_there, struct qvl_error *err);

/* *out points into c and is good until c changes. */
enum qvl_status qvl_conversation_chat(struct qvl_conversation *c, struct qvl_chat *out, struct qvl_error *err);

/* QVL_ERR_FILE: a picture that has no path any more, or whose path is not UTF-8. */
enum qvl_status qvl_conversation_json(const struct qvl_conversation *c, struct qvl_bytes *out,
                                      struct qvl_error *err);
/* Whole or not at all. QVL_ERR_FILE: it cannot be written, or is there and is no conversation. */
enum qvl_status qvl_conversation_save(const struct qvl_conversation *c, const char *path, struct qvl_error *err);
/* Replaces c, or leaves it as it was. Settings and errors: see qvl_input_read_chat. */
enum qvl_status qvl_conversation_load(struct qvl_conversation *c, const char *path,
                                      const struct qvl_chat_json_settings *settings, struct qvl_error *err);

#endif
