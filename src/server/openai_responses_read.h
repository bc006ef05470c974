/* openai_responses_read.h: the body of a Responses request to struct qvl_ask. No engine is asked and nothing is
 * run. */
#ifndef QVL_SERVER_OPENAI_RESPONSES_READ_H
#define QVL_SERVER_OPENAI_RESPONSES_READ_H

#include "server/openai_chat_read.h"

/* n bytes of JSON, which may go afterwards. `ask` has its defaults (qvl_ask_init). `out` as if it were a Chat
 * Completions body, but unknown and param are this API's words; *echo: the members of a response that repeat what
 * was asked
 * (`"metadata":{},…`). Fails like qvl_chat_body_read; free `ask`, `out` and `echo` in any case. */
enum qvl_status qvl_responses_body_read(const char *json, size_t n, const struct qvl_chat_read_settings *settings,
                                        struct qvl_ask *ask, struct qvl_chat_body *out, struct qvl_bytes *echo,
                                        struct qvl_error *err);

#endif
