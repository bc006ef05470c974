/* openai_chat_adapt.h: the body of another API's request, made into that of a Chat Completions request, to struct
 * qvl_ask. */
#ifndef QVL_SERVER_OPENAI_CHAT_ADAPT_H
#define QVL_SERVER_OPENAI_CHAT_ADAPT_H

#include "server/json_nodes.h"
#include "server/openai_chat_read.h"

/* A field with another name there. */
struct qvl_renamed_field {
    const char *chat, *ours;
};

/* qvl_chat_body_read_tree, where what is wrong with a renamed field [n_renamed] is said of the name that the client
 * knows. out->unknown may have names already. */
enum qvl_status qvl_chat_body_adapt(const struct qvl_json_nodes *chat, const struct qvl_renamed_field *renamed,
                                    size_t n_renamed, const struct qvl_chat_read_settings *settings,
                                    struct qvl_ask *ask, struct qvl_chat_body *out, struct qvl_error *err);

#endif
