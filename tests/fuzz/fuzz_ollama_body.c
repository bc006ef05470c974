/* Bytes as the body of Ollama's /api/chat and of /api/generate.
 *
 * Checked: what was accepted keeps the promises of ask.h and qvl.h, or asks nothing; what was refused leaves a
 * sentence. */
#include <stdint.h>

#include "check_ask.h"
#include "server/ollama_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_body(const char *json, size_t n, bool is_chat)
{
    const struct qvl_chat_read_settings settings = {.is_thinking = n % 2, .media.max_media = 4};
    struct qvl_error err = {0};
    struct qvl_chat_body body;
    struct qvl_ollama_body rest;
    struct qvl_ask ask = {.n = 1};
    ask.options.sampling = (struct qvl_sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    enum qvl_status status = is_chat ? qvl_ollama_chat_read(json, n, 4096, &settings, &ask, &body, &rest, &err)
                                     : qvl_ollama_generate_read(json, n, 4096, &settings, &ask, &body, &rest, &err);
    if (status)
        require(err.status != QVL_OK && err.status != QVL_ERR_INTERNAL && err.text[0]);
    else if (rest.is_load)
        require(ask.chat.chat.n_message == 0);
    else
        check_ask(&ask);
    require(body.unknown.n == 0 || qvl_utf8_is_valid(body.unknown.data, body.unknown.n));
    qvl_chat_body_free(&body);
    qvl_chat_json_close(&ask.chat);
    qvl_arena_free(&ask.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    read_body((const char *)data, n, true);
    read_body((const char *)data, n, false);
    return 0;
}
