/* Errors as OpenAI's SDKs and Ollama's clients read them (openai-python, src/openai/_base_client.py: what is asked
 * again, and when). They go over a real connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json_tree.h"
#include "http_client.h"
#include "server/app.h"
#include "server/reply.h"

/* What the route is to do, and what came of it. */
static struct wish {
    enum { ERROR, BUSY, FAILURE, UNKNOWN, MODEL, BUILT } kind;
    unsigned status;
    const char *code, *param, *text;
    struct qvl_error failure;
    struct qvl_bytes bytes;
    size_t n_text;
    bool is_good;
} wish;

static struct qvl_app app;
static struct qvl_http *http;
static struct client client;
static struct reply reply;
static struct qvl_arena arena;
static struct qvl_json_tree tree;

static void answer(void *user, struct qvl_exchange *x)
{
    bool is_replied = true;
    (void)user;
    switch (wish.kind) {
    case ERROR: qvl_reply_error(x, wish.status, wish.code, wish.param, wish.text); break;
    case BUSY: qvl_reply_busy(x, wish.status, wish.code, wish.text, 17); break;
    case FAILURE: qvl_reply_failure(x, &wish.failure, wish.param); break;
    case BUILT: qvl_reply_built(x, wish.failure.status, &wish.bytes, &wish.failure); break;
    case UNKNOWN: is_replied = !(wish.is_good = qvl_reply_unknown(x, &wish.bytes)); break;
    case MODEL: is_replied = !(wish.is_good = qvl_reply_model(x, wish.text, wish.n_text)); break;
    }
    if (!is_replied)
        qvl_exchange_reply(x, 200, "application/json", "{}", 2);
}

static void dispatch(void *user, const struct qvl_route *route, struct qvl_exchange *x)
{
    route->answer(user, x);
}

static void refuse(void *user, struct qvl_exchange *x, unsigned status, const char *code, const char *text)
{
    (void)user;
    (void)status;
    (void)code;
    qvl_exchange_reply(x, 500, "text/plain", text, strlen(text));
}

static void over(void *user, const struct qvl_exchange *x)
{
    (void)user;
    (void)x;
}

static int open_http(void **state)
{
    static const struct qvl_route routes[] = {{"GET", "/v1/x", answer, .is_public = true},
                                              {"GET", "/api/x", answer, .is_public = true},
                                              {"GET", "/apix", answer, .is_public = true}};
    struct qvl_http_options options = {.host = "127.0.0.1",
                                       .max_body_bytes = 1000,
                                       .max_form_bytes = 1000,
                                       .route = routes,
                                       .n_route = 3,
                                       .dispatch = dispatch,
                                       .refuse = refuse,
                                       .over = over,
                                       .user = &app};
    struct qvl_error err = {0};
    (void)state;
    if (qvl_http_open(&options, &http, &err))
        return -1;
    client_open(&client, qvl_http_port(http));
    return 0;
}

/* The wish, by a request for this path: the reply is in `reply`. */
static void ask(const char *path)
{
    reply_free(&reply);
    client_send_text(&client, "GET %s HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: req-1\r\n\r\n", path);
    assert_true(client_read(&client, &reply, false));
}

static void ask_for_error(const char *path, unsigned status, const char *code, const char *param, const char *text)
{
    wish = (struct wish){.kind = ERROR, .status = status, .code = code, .param = param, .text = text};
    ask(path);
}

static void ask_for_failure(const struct qvl_error *failure, const char *param)
{
    wish = (struct wish){.kind = FAILURE, .failure = *failure, .param = param};
    ask("/v1/x");
}

/* The body as JSON. */
static const struct qvl_json_node *body(void)
{
    struct qvl_error err = {0};
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    assert_string_equal(reply_header(&reply, "Content-Type"), "application/json");
    if (qvl_json_tree_read(reply.body, reply.n_body, "body", 100, &arena, &tree, &err))
        fail_msg("%s", err.text);
    return tree.node;
}

/* All four members are there, whatever they are: SDKs read them without asking. */
static void assert_error(unsigned status, const char *type, const char *param, const char *code)
{
    assert_int_equal(reply.status, status);
    const struct qvl_json_node *error = qvl_json_member(body(), "error"), *member = error + 1;
    static const char *const names[] = {"message", "type", "param", "code"};
    assert_int_equal(tree.node->n_child, 1);
    assert_int_equal(error->n_child, 4);
    for (int i = 0; i < 4; i++, member = qvl_json_next(member))
        assert_true(member->n_key == strlen(names[i]) && memcmp(member->key, names[i], member->n_key) == 0);
    assert_true(qvl_json_equals(qvl_json_member(error, "type"), type));
    assert_true(param ? qvl_json_equals(qvl_json_member(error, "param"), param) : !qvl_json_member(error, "param"));
    assert_true(code ? qvl_json_equals(qvl_json_member(error, "code"), code) : !qvl_json_member(error, "code"));
}

static void of_each_status(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *type;
        bool is_retried, has_time;
    } rows[] = {
        {400, "invalid_request_error", false, false}, {401, "authentication_error", false, false},
        {403, "permission_error", false, false},      {404, "invalid_request_error", false, false},
        {405, "invalid_request_error", false, false}, {408, "invalid_request_error", true, false},
        {413, "invalid_request_error", false, false}, {415, "invalid_request_error", false, false},
        {422, "invalid_request_error", false, false}, {429, "rate_limit_error", true, true},
        {500, "server_error", false, false},          {503, "server_error", true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ask_for_error("/v1/x", rows[i].status, "a_code", "a_field", "It is \"so\".\n");
        assert_error(rows[i].status, rows[i].type, "a_field", "a_code");
        const struct qvl_json_node *error = qvl_json_member(body(), "error");
        assert_true(qvl_json_equals(qvl_json_member(error, "message"), "It is \"so\".\n"));
        const char *retry = reply_header(&reply, "x-should-retry");
        assert_int_equal(!retry || strcmp(retry, "false") != 0, rows[i].is_retried);
        assert_int_equal(reply_header(&reply, "Retry-After") != NULL, rows[i].has_time);
    }
    ask_for_error("/v1/x", 404, NULL, NULL, "no");
    assert_error(404, "invalid_request_error", NULL, NULL);
}

static void when_to_come_back(void **state)
{
    (void)state;
    wish = (struct wish){.kind = BUSY, .status = 429, .code = "queue_full", .text = "full"};
    ask("/v1/x");
    assert_error(429, "rate_limit_error", NULL, "queue_full");
    assert_string_equal(reply_header(&reply, "Retry-After"), "17");
    assert_null(reply_header(&reply, "x-should-retry"));
}

static void in_the_shape_of_ollama(void **state)
{
    (void)state;
    ask_for_error("/api/x", 400, "a_code", "a_field", "no \"x\"");
    assert_int_equal(reply.status, 400);
    assert_int_equal(body()->n_child, 1);
    assert_true(qvl_json_equals(qvl_json_member(body(), "error"), "no \"x\""));
    ask_for_error("/apix", 400, "a_code", NULL, "no"); /* another path */
    assert_error(400, "invalid_request_error", NULL, "a_code");
}

/* What the client sent is never 5xx: SDKs would send it again. */
static void of_what_failed(void **state)
{
    (void)state;
    static const struct {
        enum qvl_status failure;
        const char *param;
        unsigned status;
        const char *code;
        bool is_told; /* the sentence itself, to the client */
    } rows[] = {
        {QVL_ERR_ARGUMENT, "temperature", 400, "invalid_value", true},
        {QVL_ERR_ARGUMENT, NULL, 400, "invalid_value", true},
        {QVL_ERR_MEDIA, "messages", 422, "invalid_media", true},
        {QVL_ERR_LIMIT, NULL, 400, "limit_exceeded", true},
        {QVL_ERR_LIMIT, "messages[3].content[0]", 400, "context_length_exceeded", true},
        {QVL_ERR_LIMIT, "input", 400, "context_length_exceeded", true},
        {QVL_ERR_LIMIT, "response_format", 400, "limit_exceeded", true},
        {QVL_ERR_MEMORY, NULL, 503, "out_of_memory", true},
        {QVL_ERR_CANCELLED, NULL, 503, "cancelled", true},
        {QVL_ERR_INTERNAL, NULL, 500, "internal_error", false},
        {QVL_ERR_FILE, NULL, 500, "internal_error", false},
        {QVL_ERR_MODEL, NULL, 500, "internal_error", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct qvl_error failure = {.status = rows[i].failure, .text = "/srv/models/x: it broke"};
        struct qvl_error err = {0};
        struct qvl_bytes piece = {0};
        ask_for_failure(&failure, rows[i].param);
        assert_error(rows[i].status, rows[i].status >= 500 ? "server_error" : "invalid_request_error",
                     rows[i].param, rows[i].code);
        const struct qvl_json_node *error = qvl_json_member(body(), "error");
        assert_int_equal(qvl_json_equals(qvl_json_member(error, "message"), failure.text), rows[i].is_told);
        assert_int_equal(strstr(reply.body, "/srv/") != NULL, rows[i].is_told);
        assert_int_equal(qvl_http_status_of(rows[i].failure), rows[i].status);

        /* The same in a stream. */
        assert_int_equal(qvl_error_json(&piece, &failure, rows[i].param, &err), QVL_OK);
        assert_int_equal(piece.n, reply.n_body);
        assert_memory_equal(piece.data, reply.body, piece.n);
        qvl_bytes_free(&piece);
    }
}

/* The sentences that clients are not told stand in the log, with the request's id; others do not. */
static void what_only_the_log_tells(void **state)
{
    (void)state;
    char file[] = "/tmp/qvl-test-reply-XXXXXX", text[2048] = "";
    struct qvl_error err = {0};
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(qvl_log_open(file, &app.log, &err), QVL_OK);
    struct qvl_error internal = {.status = QVL_ERR_INTERNAL, .text = "logits are not finite"};
    struct qvl_error argument = {.status = QVL_ERR_ARGUMENT, .text = "temperature: the user's own text"};
    ask_for_failure(&internal, NULL);
    ask_for_failure(&argument, NULL);
    qvl_log_close(app.log);
    app.log = NULL;
    assert_true(read(fd, text, sizeof text - 1) > 0);
    assert_non_null(
        strstr(text, "\"event\": \"failure\", \"id\": \"req-1\", \"error\": \"logits are not finite\"}\n"));
    assert_null(strstr(text, "own text"));
    close(fd);
    unlink(file);
}

static void unknown_fields(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    wish = (struct wish){.kind = UNKNOWN};
    ask("/v1/x");
    assert_true(wish.is_good);
    assert_null(reply_header(&reply, "x-ignored-params"));
    assert_int_equal(qvl_bytes_add_text(&wish.bytes, "colour, taste", &err), QVL_OK);
    ask("/v1/x");
    assert_true(wish.is_good);
    assert_string_equal(reply_header(&reply, "x-ignored-params"), "colour, taste");
    app.options.is_strict = true;
    ask("/v1/x");
    assert_false(wish.is_good);
    assert_error(400, "invalid_request_error", "colour, taste", "unknown_parameter");
    app.options.is_strict = false;
    qvl_bytes_free(&wish.bytes);
}

static bool is_model_taken(const char *name, size_t n)
{
    wish = (struct wish){.kind = MODEL, .text = name, .n_text = n};
    ask("/v1/x");
    return wish.is_good;
}

static void names_of_models(void **state)
{
    (void)state;
    app.options.model_name = "served";
    assert_true(is_model_taken("gpt-4o", 6)); /* clients have a name of their own */
    app.options.is_model_strict = true;
    assert_true(is_model_taken("served", 6));
    assert_false(is_model_taken("serve", 5));
    assert_error(404, "invalid_request_error", "model", "model_not_found");
    assert_false(is_model_taken("served\0x", 8));
    assert_error(404, "invalid_request_error", "model", "model_not_found");
    app.options.is_model_strict = false;
}

static void what_was_built(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    wish = (struct wish){.kind = BUILT};
    assert_int_equal(qvl_bytes_add_text(&wish.bytes, "{\"a\": 1}", &err), QVL_OK);
    ask("/v1/x");
    assert_int_equal(reply.status, 200);
    assert_int_equal(body()->n_child, 1);
    assert_null(wish.bytes.data);
    wish.failure = (struct qvl_error){QVL_ERR_MEMORY, "out of memory"};
    ask("/v1/x");
    assert_error(503, "server_error", NULL, "out_of_memory");
}

static int free_all(void **state)
{
    (void)state;
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    reply_free(&reply);
    client_close(&client);
    qvl_http_close(http);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_each_status),          cmocka_unit_test(when_to_come_back),
        cmocka_unit_test(in_the_shape_of_ollama),  cmocka_unit_test(of_what_failed),
        cmocka_unit_test(what_only_the_log_tells), cmocka_unit_test(unknown_fields),
        cmocka_unit_test(names_of_models),         cmocka_unit_test(what_was_built),
    };
    return cmocka_run_group_tests(tests, open_http, free_all);
}
