/* openai_chat_read.h: the body of a Chat Completions request to struct qvl_ask. No engine is asked and nothing is run. */
#ifndef QVL_SERVER_OPENAI_CHAT_READ_H
#define QVL_SERVER_OPENAI_CHAT_READ_H

#include "server/ask.h"

struct qvl_chat_body {
    const char *model; /* as the client calls it, in the ask's arena; or NULL */
    bool is_streamed, want_usage, want_progress, want_logprobs;
    struct qvl_bytes unknown; /* fields that no table has, ", " between */
    const char *param;        /* the field that a failure is about; or NULL */
    const char *form;         /* the field that says what form the answer has; or NULL */
};

/* What the server has and wants, beside the defaults that the ask brings. */
struct qvl_chat_read_settings {
    struct qvl_chat_json_settings media;
    bool is_thinking;
    bool want_video_wrapper;
};

/* n bytes of JSON, which may go afterwards. Each field of the API is honoured, or refused where its value asks for what is
 * not offered; a list in the .c says which. `ask` has its defaults (qvl_ask_init). QVL_ERR_ARGUMENT, QVL_ERR_LIMIT: what the
 * client must mend; and what qvl_chat_json_read and its opener say. Free `ask` and `out` in any case. */
enum qvl_status qvl_chat_body_read(const char *json, size_t n, const struct qvl_chat_read_settings *settings,
                                   struct qvl_ask *ask, struct qvl_chat_body *out, struct qvl_error *err);
/* The same from a tree that is there already and may go afterwards. */
enum qvl_status qvl_chat_body_read_tree(const struct qvl_json_node *root, const struct qvl_chat_read_settings *settings,
                                        struct qvl_ask *ask, struct qvl_chat_body *out, struct qvl_error *err);
void qvl_chat_body_free(struct qvl_chat_body *body);

#endif
