/* ollama_read.h: the bodies of Ollama's /api/chat and /api/generate to struct qvl_ask. No engine is asked and
 * nothing is run. */
#ifndef QVL_SERVER_OLLAMA_READ_H
#define QVL_SERVER_OLLAMA_READ_H

#include "server/openai_chat_read.h"

struct qvl_ollama_body {
    bool is_load; /* no question: the model is to be there, or need not be any more */
    bool is_unload;
};

/* n bytes of JSON, which may go afterwards. n_ctx: the context there is, for num_ctx. `ask` has its defaults
 * (qvl_ask_init), and nothing else where is_load. `chat` as if it were a Chat Completions body, but unknown and
 * param are this API's words. Fails like qvl_chat_body_read; free `ask` and `chat` in any case. */
enum qvl_status qvl_ollama_chat_read(const char *json, size_t n, uint32_t n_ctx,
                                     const struct qvl_chat_read_settings *settings, struct qvl_ask *ask,
                                     struct qvl_chat_body *chat, struct qvl_ollama_body *out,
                                     struct qvl_error *err);
enum qvl_status qvl_ollama_generate_read(const char *json, size_t n, uint32_t n_ctx,
                                         const struct qvl_chat_read_settings *settings, struct qvl_ask *ask,
                                         struct qvl_chat_body *chat, struct qvl_ollama_body *out,
                                         struct qvl_error *err);

#endif
