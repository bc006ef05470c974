/* Bytes as the body of a Responses request.
 *
 * Checked: what was accepted keeps the promises of ask.h and qvl.h, and what a response repeats of it is members of
 * a JSON object on one line; what was refused leaves a sentence. */
#include <stdint.h>

#include "base/json_tree.h"
#include "check_ask.h"
#include "server/openai_responses_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_echo(const struct qvl_bytes *echo)
{
    struct qvl_bytes object = {0};
    struct qvl_arena arena = {0};
    struct qvl_json_tree tree = {0};
    struct qvl_error err = {0};
    require(!memchr(echo->data, '\n', echo->n) && !memchr(echo->data, '\r', echo->n));
    require(!qvl_bytes_add_format(&object, &err, "{%s}", echo->data));
    require(!qvl_json_tree_read(object.data, object.n, "echo", QVL_MAX_BODY_VALUES, &arena, &tree, &err));
    require(tree.node->n_child > 10);
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    qvl_bytes_free(&object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct qvl_chat_read_settings settings = {.is_thinking = n % 2, .media.max_media = 4};
    struct qvl_error err = {0};
    struct qvl_chat_body body;
    struct qvl_bytes echo;
    struct qvl_ask ask = {.n = 1};
    ask.options.sampling = (struct qvl_sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    if (qvl_responses_body_read((const char *)data, n, &settings, &ask, &body, &echo, &err)) {
        require(err.status != QVL_OK && err.status != QVL_ERR_INTERNAL && err.text[0]);
    } else {
        check_ask(&ask);
        check_echo(&echo);
    }
    require(body.unknown.n == 0 || qvl_utf8_is_valid(body.unknown.data, body.unknown.n));
    qvl_bytes_free(&echo);
    qvl_chat_body_free(&body);
    qvl_chat_json_close(&ask.chat);
    qvl_arena_free(&ask.arena);
    return 0;
}
