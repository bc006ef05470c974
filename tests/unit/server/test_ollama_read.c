/* Bodies of Ollama's /api/chat and /api/generate: what options and messages become, each refusal with its sentence.
 * Expected values are those of Ollama's docs/api.md; defaults of options are what its documentation of the
 * Modelfile says. */
#include "server/ollama_read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_CTX = 4096 };

static struct qvl_error err;
static struct qvl_ask ask;
static struct qvl_chat_body body;
static struct qvl_ollama_body ollama;
static bool is_thinking;

static const struct qvl_sampling defaults = {.temperature = 0.7f,
                                             .top_k = 20,
                                             .top_p = 0.8f,
                                             .repetition_penalty = 1.05f,
                                             .presence_penalty = 1.5f,
                                             .seed = 99};

static void forget(void)
{
    qvl_chat_json_close(&ask.chat);
    qvl_arena_free(&ask.arena);
    qvl_chat_body_free(&body);
}

typedef enum qvl_status reader(const char *json, size_t n, uint32_t n_ctx,
                               const struct qvl_chat_read_settings *settings, struct qvl_ask *out,
                               struct qvl_chat_body *chat, struct qvl_ollama_body *rest, struct qvl_error *e);

/* JSON with ' for ", from an exact-size copy that is gone when the question is looked at. */
static enum qvl_status read_quoted(reader *read, const char *json)
{
    const struct qvl_chat_read_settings settings = {.is_thinking = is_thinking};
    size_t n = strlen(json);
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = json[i] == '\'' ? '"' : json[i];
    forget();
    err = (struct qvl_error){0};
    ask = (struct qvl_ask){.n = 1};
    ask.options.sampling = defaults;
    ask.options.max_tokens = 1000;
    enum qvl_status status = read(copy, n, N_CTX, &settings, &ask, &body, &ollama, &err);
    free(copy);
    return status;
}

static void accept(reader *read, const char *json)
{
    if (read_quoted(read, json))
        fail_msg("%s: %s", json, err.text);
}

static void refuse(reader *read, const char *json, enum qvl_status status, const char *sentence)
{
    enum qvl_status got = read_quoted(read, json);
    if (got != status)
        fail_msg("%s: status %d (%s)", json, got, err.text);
    if (strncmp(err.text, sentence, strlen(sentence)) != 0)
        fail_msg("%s: says %s", json, err.text);
}

/* A conversation of one message with these members beside it. */
static void accept_with(const char *members)
{
    char json[2000];
    assert_true(strlen(members) < 1900);
    strcpy(json, "{'messages': [{'role': 'user', 'content': 'Hi'}], ");
    strcat(strcat(json, members), "}");
    accept(qvl_ollama_chat_read, json);
}

static void refuse_with(const char *members, const char *sentence)
{
    char json[2000];
    assert_true(strlen(members) < 1900);
    strcpy(json, "{'messages': [{'role': 'user', 'content': 'Hi'}], ");
    strcat(strcat(json, members), "}");
    refuse(qvl_ollama_chat_read, json, QVL_ERR_ARGUMENT, sentence);
}

static int clean(void **state)
{
    (void)state;
    forget();
    ask = (struct qvl_ask){0};
    is_thinking = false;
    return 0;
}

static void assert_text(const struct qvl_part *part, const char *text)
{
    assert_int_equal(part->kind, QVL_PART_TEXT);
    assert_int_equal(part->n, strlen(text));
    assert_memory_equal(part->utf8, text, part->n);
}

/* ---- conversations ------------------------------------------------------------------------------- */

static void messages_have_pictures_and_clips(void **state)
{
    (void)state;
    accept(
        qvl_ollama_chat_read,
        "{'model': 'a:latest', 'messages': [{'role': 'system', 'content': 's'}, {'role': 'user', 'content': 'a', "
        "'images': "
        "['aGk=', 'data:image/png;base64,aGk=']}, {'role': 'user', 'content': 'b', 'images': ['aGk='], 'videos': "
        "['aGk=']}, {'role': 'user', 'images': ['aGk=']}]}");
    const struct qvl_message *m = ask.chat.chat.messages;
    assert_int_equal(ask.chat.chat.n_message, 4);
    assert_string_equal(body.model, "a");
    assert_true(body.is_streamed);
    assert_false(ollama.is_load);
    assert_int_equal(m[0].role, QVL_ROLE_SYSTEM);
    assert_int_equal(m[1].n_part, 3);
    assert_int_equal(m[1].parts[0].kind, QVL_PART_IMAGE);
    assert_int_equal(m[1].parts[1].source.n_bytes, 2);
    assert_text(&m[1].parts[2], "a");
    assert_int_equal(m[2].n_part, 3);
    assert_int_equal(m[2].parts[0].kind, QVL_PART_IMAGE);
    assert_int_equal(m[2].parts[1].kind, QVL_PART_VIDEO);
    assert_text(&m[2].parts[2], "b");
    assert_int_equal(m[3].n_part, 1);
    assert_int_equal(m[3].parts[0].kind, QVL_PART_IMAGE);
}

static void calls_and_results_are_messages(void **state)
{
    (void)state;
    accept(
        qvl_ollama_chat_read,
        "{'messages': [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': '', 'thinking': 'hm', "
        "'tool_calls': [{'function': {'name': 'f', 'arguments': {'x': 1}}}]}, {'role': 'tool', 'tool_name': 'f', "
        "'content': 'r'}], 'tools': [{'type': 'function', 'function': {'name': 'f', 'parameters': {}}}], 'stream': "
        "false}");
    const struct qvl_message *m = ask.chat.chat.messages;
    assert_string_equal(m[1].reasoning, "hm");
    assert_string_equal(m[1].tool_calls[0].name, "f");
    assert_string_equal(m[1].tool_calls[0].arguments_json, "{\"x\": 1}");
    assert_int_equal(m[2].role, QVL_ROLE_TOOL);
    assert_non_null(ask.chat.chat.tools_json);
    assert_int_equal(ask.tools, QVL_TOOLS_AUTO);
    assert_false(body.is_streamed);
}

static void a_prompt_is_a_conversation(void **state)
{
    (void)state;
    accept(qvl_ollama_generate_read,
           "{'model': 'a', 'prompt': 'p', 'system': 's', 'images': ['aGk='], 'videos': ['aGk='], "
           "'raw': false, 'context': [], 'suffix': '', 'template': ''}");
    const struct qvl_message *m = ask.chat.chat.messages;
    assert_int_equal(ask.chat.chat.n_message, 2);
    assert_int_equal(m[0].role, QVL_ROLE_SYSTEM);
    assert_text(&m[0].parts[0], "s");
    assert_int_equal(m[1].role, QVL_ROLE_USER);
    assert_int_equal(m[1].n_part, 3);
    assert_int_equal(m[1].parts[1].kind, QVL_PART_VIDEO);
    assert_text(&m[1].parts[2], "p");
    accept(qvl_ollama_generate_read, "{'images': ['aGk=']}"); /* without a word */
    assert_int_equal(ask.chat.chat.n_message, 1);
    assert_int_equal(ask.chat.chat.messages[0].n_part, 1);
}

static void no_question_is_about_the_model(void **state)
{
    (void)state;
    static const struct {
        reader *read;
        const char *json;
        bool is_unload;
    } row[] = {
        {qvl_ollama_chat_read, "{'model': 'a', 'messages': []}", false},
        {qvl_ollama_chat_read, "{'model': 'a'}", false},
        {qvl_ollama_chat_read, "{'model': 'a', 'keep_alive': 0}", true},
        {qvl_ollama_generate_read, "{'model': 'a', 'prompt': '', 'keep_alive': '5m'}", false},
        {qvl_ollama_generate_read, "{'model': 'a', 'keep_alive': '0s'}", true},
        {qvl_ollama_generate_read, "{'model': 'a', 'keep_alive': '0.5h'}", false},
        {qvl_ollama_generate_read, "{'model': 'a', 'keep_alive': -1, 'stream': false}", false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        accept(row[i].read, row[i].json);
        assert_true(ollama.is_load);
        assert_true(ollama.is_unload == row[i].is_unload);
        assert_int_equal(ask.chat.chat.n_message, 0);
    }
}

/* ---- options ------------------------------------------------------------------------------------- */

static void assert_sampling(const struct qvl_sampling *want)
{
    const struct qvl_sampling *s = &ask.options.sampling;
    assert_true(s->temperature == want->temperature && s->top_p == want->top_p && s->min_p == want->min_p);
    assert_true(s->repetition_penalty == want->repetition_penalty &&
                s->presence_penalty == want->presence_penalty && s->frequency_penalty == want->frequency_penalty);
    assert_int_equal(s->top_k, want->top_k);
    assert_int_equal(s->seed, want->seed);
}

static void options_become_the_engines(void **state)
{
    (void)state;
    accept_with("'options': {}");
    assert_sampling(&defaults);
    assert_int_equal(ask.options.max_tokens, 1000);
    accept_with(
        "'options': {'num_predict': 5, 'temperature': 0.5, 'top_k': 7, 'top_p': 0.25, 'min_p': 0.125, 'seed': 3, "
        "'repeat_penalty': 1.25, 'presence_penalty': 0.5, 'frequency_penalty': -0.5, 'stop': ['x', 'yy'], "
        "'num_ctx': "
        "4096, 'repeat_last_n': -1, 'typical_p': 1.0, 'tfs_z': 1, 'mirostat': 0, 'mirostat_tau': 5.0, "
        "'mirostat_eta': 0.1, 'penalize_newline': true}");
    const struct qvl_sampling want = {.temperature = 0.5f,
                                      .top_k = 7,
                                      .top_p = 0.25f,
                                      .min_p = 0.125f,
                                      .repetition_penalty = 1.25f,
                                      .presence_penalty = 0.5f,
                                      .frequency_penalty = -0.5f,
                                      .seed = 3};
    assert_sampling(&want);
    assert_int_equal(ask.options.max_tokens, 5);
    assert_int_equal(ask.options.n_stop, 2);
    assert_string_equal(ask.options.stop[1], "yy");
    assert_int_equal(body.unknown.n, 0);
    accept_with(
        "'options': {'num_predict': -1, 'seed': -1, 'stop': [], 'num_ctx': 1}"); /* any seed: the one by chance */
    assert_int_equal(ask.options.max_tokens, 1000);
    assert_int_equal(ask.options.sampling.seed, 99);
    accept_with("'options': {'num_predict': -2}");
    accept_with("'options': {'num_predict': 0}");
    assert_int_equal(ask.options.max_tokens, 1000);
}

static void what_tunes_another_program_is_unknown(void **state)
{
    (void)state;
    accept_with("'options': {'num_gpu': 1, 'num_thread': 2, 'use_mmap': true}, 'foo': 1, 'max_tokens': 2");
    assert_string_equal(body.unknown.data, "foo, max_tokens, num_gpu, num_thread, use_mmap");
}

static void formats_are_enforced(void **state)
{
    (void)state;
    accept_with("'format': ''");
    assert_int_equal(ask.options.constraint.kind, QVL_CONSTRAINT_NONE);
    accept_with("'format': 'json'");
    assert_int_equal(ask.options.constraint.kind, QVL_CONSTRAINT_JSON);
    accept_with("'format': {'type': 'array'}");
    assert_int_equal(ask.options.constraint.kind, QVL_CONSTRAINT_JSON_SCHEMA);
    assert_int_equal(ask.options.constraint.n, strlen("{'type': 'array'}"));
    assert_memory_equal(ask.options.constraint.text, "{\"type\": \"array\"}", ask.options.constraint.n);
}

static void log_probabilities_are_asked_for(void **state)
{
    (void)state;
    accept_with("'logprobs': true, 'top_logprobs': 20");
    assert_true(body.want_logprobs && ask.options.want_log_sum);
    assert_int_equal(ask.options.n_top_logits, 20);
}

static void thinking_is_the_models_nature(void **state)
{
    (void)state;
    accept_with("'think': false");
    accept_with("'think': null");
    refuse_with("'think': true", "think: this model answers without thinking");
    is_thinking = true;
    accept_with("'think': true");
    accept_with("'think': 'medium'");
    refuse_with("'think': false", "think: this model always thinks");
    refuse_with("'think': 'high'", "think must be true or false");
}

/* ---- refusals ------------------------------------------------------------------------------------ */

static void refusals_say_the_field(void **state)
{
    (void)state;
    static const struct {
        const char *members, *sentence;
    } row[] = {
        {"'model': 3", "model must be a string"},
        {"'stream': 'no'", "stream must be true or false"},
        {"'format': 'yaml'", "format must be \"json\" or a JSON schema"},
        {"'format': []", "format must be \"json\" or a JSON schema"},
        {"'format': 3", "format must be \"json\" or a JSON schema"},
        {"'options': []", "options must be an object"},
        {"'options': {'num_predict': 'x'}", "num_predict must be a number"},
        {"'options': {'num_predict': -3}", "num_predict must be a number"},
        {"'options': {'num_predict': 1048577}", "num_predict must be a number"},
        {"'options': {'num_ctx': 4097}", "num_ctx is 4097, but this server's context has 4096 tokens"},
        {"'options': {'num_ctx': 0}", "num_ctx must be a number"},
        {"'options': {'temperature': 2.5}", "temperature must be a number from 0 to 2"},
        {"'options': {'temperature': 'hot'}", "temperature must be a number from 0 to 2"},
        {"'options': {'top_p': 1.5}", "top_p must be a number from 0 to 1"},
        {"'options': {'repeat_penalty': 0}", "repeat_penalty must be a number from 0.01 to 100"},
        {"'options': {'repeat_last_n': 64}", "repeat_last_n can be -1 only"},
        {"'options': {'typical_p': 0.5}", "typical_p is not offered"},
        {"'options': {'tfs_z': 0.5}", "tfs_z is not offered"},
        {"'options': {'mirostat': 1}", "mirostat is not offered"},
        {"'options': {'penalize_newline': false}", "penalize_newline is not offered"},
        {"'options': {'stop': ['']}", "stop: a string must have 1 to 1024 bytes"},
        {"'options': {'stop': 3}", "stop must be a string"},
        {"'logprobs': 1", "logprobs must be true or false"},
        {"'logprobs': true, 'top_logprobs': 21", "top_logprobs must be a whole number from 0 to 20"},
        {"'truncate': true", "truncate is not offered"},
        {"'keep_alive': true", "keep_alive must be a number of seconds"},
        {"'shift': true", "shift is not offered"},
        {"'think': 1", "think must be true or false"},
        {"'tools': {}", "tools must be a list"},
        {"'tools': [{'type': 'function', 'function': {}}]", "tools[0]: a function needs a name"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        refuse_with(row[i].members, row[i].sentence);
}

static void bad_conversations_say_where(void **state)
{
    (void)state;
    static const struct {
        reader *read;
        const char *json;
        enum qvl_status status;
        const char *sentence;
    } row[] = {
        {qvl_ollama_chat_read, "", QVL_ERR_ARGUMENT, "the body: not valid JSON at byte 0"},
        {qvl_ollama_chat_read, "[]", QVL_ERR_ARGUMENT, "the body must be a JSON object"},
        {qvl_ollama_chat_read, "{'messages': {}}", QVL_ERR_ARGUMENT, "messages must be a list"},
        {qvl_ollama_chat_read, "{'messages': [3]}", QVL_ERR_ARGUMENT, "messages[0]: must be an object"},
        {qvl_ollama_chat_read, "{'messages': [{'role': 'x', 'content': ''}]}", QVL_ERR_ARGUMENT,
         "messages[0]: \"role\""},
        {qvl_ollama_chat_read, "{'messages': [{'role': 'user', 'content': 3}]}", QVL_ERR_ARGUMENT,
         "messages[0].content: "},
        {qvl_ollama_chat_read, "{'messages': [{'role': 'user', 'content': 3, 'videos': []}]}", QVL_ERR_ARGUMENT,
         "messages[0]: content must be a string"},
        {qvl_ollama_chat_read, "{'messages': [{'role': 'user', 'videos': 'aGk='}]}", QVL_ERR_ARGUMENT,
         "messages[0]: content must be a string"},
        {qvl_ollama_chat_read, "{'messages': [{'role': 'user', 'content': '', 'images': ['@@']}]}", QVL_ERR_MEDIA,
         "messages[0].images[0]: "},
        {qvl_ollama_chat_read, "{'messages': [{'role': 'user', 'content': '', 'images': [3]}]}", QVL_ERR_ARGUMENT,
         "messages[0].images[0]: "},
        {qvl_ollama_generate_read, "{'prompt': 3}", QVL_ERR_ARGUMENT, "prompt must be a string"},
        {qvl_ollama_generate_read, "{'prompt': 'a', 'images': 'x'}", QVL_ERR_ARGUMENT, "images must be a list"},
        {qvl_ollama_generate_read, "{'prompt': 'a', 'images': ['http://x/y.png']}", QVL_ERR_MEDIA,
         "the request.content[0]"},
        {qvl_ollama_generate_read, "{'prompt': 'a', 'raw': true}", QVL_ERR_ARGUMENT, "raw is not offered"},
        {qvl_ollama_generate_read, "{'prompt': 'a', 'suffix': 'b'}", QVL_ERR_ARGUMENT, "suffix is not offered"},
        {qvl_ollama_generate_read, "{'prompt': 'a', 'template': 'b'}", QVL_ERR_ARGUMENT, "template is not offered"},
        {qvl_ollama_generate_read, "{'prompt': 'a', 'context': [1]}", QVL_ERR_ARGUMENT, "context is not offered"},
        {qvl_ollama_generate_read, "{'prompt': 'a', 'width': 8}", QVL_ERR_ARGUMENT, "width is not offered"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        refuse(row[i].read, row[i].json, row[i].status, row[i].sentence);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(messages_have_pictures_and_clips, clean),
        cmocka_unit_test_teardown(calls_and_results_are_messages, clean),
        cmocka_unit_test_teardown(a_prompt_is_a_conversation, clean),
        cmocka_unit_test_teardown(no_question_is_about_the_model, clean),
        cmocka_unit_test_teardown(options_become_the_engines, clean),
        cmocka_unit_test_teardown(what_tunes_another_program_is_unknown, clean),
        cmocka_unit_test_teardown(formats_are_enforced, clean),
        cmocka_unit_test_teardown(log_probabilities_are_asked_for, clean),
        cmocka_unit_test_teardown(thinking_is_the_models_nature, clean),
        cmocka_unit_test_teardown(refusals_say_the_field, clean),
        cmocka_unit_test_teardown(bad_conversations_say_where, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
