/* Bodies of Chat Completions requests: what each field becomes; each refusal with its field; limits at their edges.
 * Expected values are the API's: OpenAI's openai-openapi (CreateChatCompletionRequest), vLLM's additions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "server/openai_chat_form.h"
#include "server/openai_chat_read.h"

static struct qvl_error err;
static struct qvl_ask ask;
static struct qvl_chat_body body;
static bool is_thinking;

static const struct qvl_sampling defaults = {.temperature = 0.7f,
                                             .top_k = 20,
                                             .top_p = 0.8f,
                                             .repetition_penalty = 1.05f,
                                             .presence_penalty = 1.5f,
                                             .seed = 99};

/* ---- helpers ------------------------------------------------------------------------------------- */

static void forget(void)
{
    qvl_chat_json_close(&ask.chat);
    qvl_arena_free(&ask.arena);
    qvl_chat_body_free(&body);
}

/* From an exact-size copy, gone when the question is looked at. */
static enum qvl_status read_exactly(const char *json, size_t n)
{
    const struct qvl_chat_read_settings settings = {.is_thinking = is_thinking};
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, json, n);
    forget();
    memset(&err, 0, sizeof err);
    ask = (struct qvl_ask){.n = 1};
    ask.options.sampling = defaults;
    ask.options.max_tokens = 1000;
    enum qvl_status status = qvl_chat_body_read(copy, n, &settings, &ask, &body, &err);
    free(copy);
    return status;
}

/* JSON with ' for ". */
static enum qvl_status read_quoted(const char *json)
{
    char *quoted = strdup(json);
    assert_non_null(quoted);
    for (char *c = quoted; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    enum qvl_status status = read_exactly(quoted, strlen(quoted));
    free(quoted);
    return status;
}

/* A conversation with these members beside it. */
static enum qvl_status read_with(const char *members)
{
    char *json = malloc(strlen(members) + 100);
    assert_non_null(json);
    sprintf(json, "{'messages': [{'role': 'user', 'content': 'Hi'}]%s%s}", *members ? ", " : "", members);
    enum qvl_status status = read_quoted(json);
    free(json);
    return status;
}

static void accept(const char *members)
{
    if (read_with(members))
        fail_msg("%s: %s", members, err.text);
}

static void refuse(const char *members, const char *param, const char *sentence)
{
    enum qvl_status status = read_with(members);
    if (status != QVL_ERR_ARGUMENT || !err.text[0])
        fail_msg("%s: status %d", members, status);
    if (!strstr(err.text, sentence))
        fail_msg("%s: says %s", members, err.text);
    if (!body.param || strcmp(body.param, param) != 0)
        fail_msg("%s: names %s", members, body.param ? body.param : "nothing");
}

static int clean(void **state)
{
    (void)state;
    forget();
    ask = (struct qvl_ask){0};
    is_thinking = false;
    return 0;
}

/* ---- what fields become -------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    (void)state;
    accept("");
    assert_memory_equal(&ask.options.sampling, &defaults, sizeof defaults);
    assert_int_equal(ask.options.max_tokens, 1000);
    assert_int_equal(ask.n, 1);
    assert_int_equal(ask.tools, QVL_TOOLS_NONE);
    assert_int_equal(ask.options.constraint.kind, QVL_CONSTRAINT_NONE);
    assert_false(body.is_streamed || body.want_usage || body.want_progress || body.want_logprobs);
    assert_null(body.model);
    assert_int_equal(body.unknown.n, 0);
    assert_int_equal(ask.chat.chat.n_message, 1);
    assert_string_equal(ask.chat.chat.messages[0].parts[0].utf8, "Hi");
    assert_false(ask.chat.chat.is_open || ask.chat.chat.want_vision_ids);
}

static void test_null_is_absent(void **state)
{
    (void)state;
    static const char *const names[] = {"model",
                                        "max_tokens",
                                        "max_completion_tokens",
                                        "temperature",
                                        "top_p",
                                        "top_k",
                                        "min_p",
                                        "repetition_penalty",
                                        "presence_penalty",
                                        "frequency_penalty",
                                        "seed",
                                        "stop",
                                        "logit_bias",
                                        "n",
                                        "stream",
                                        "stream_options",
                                        "logprobs",
                                        "top_logprobs",
                                        "modalities",
                                        "response_format",
                                        "guided_json",
                                        "structured_outputs",
                                        "tools",
                                        "tool_choice",
                                        "parallel_tool_calls",
                                        "chat_template_kwargs",
                                        "mm_processor_kwargs",
                                        "media_io_kwargs",
                                        "reasoning_effort",
                                        "verbosity",
                                        "service_tier",
                                        "user",
                                        "safety_identifier",
                                        "metadata",
                                        "store",
                                        "audio",
                                        "prediction",
                                        "functions",
                                        "function_call",
                                        "web_search_options",
                                        "echo",
                                        "priority"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char members[64];
        snprintf(members, sizeof members, "'%s': null", names[i]);
        accept(members);
        assert_int_equal(body.unknown.n, 0);
        assert_memory_equal(&ask.options.sampling, &defaults, sizeof defaults);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    accept(
        "'max_tokens': 7, 'temperature': 1.5, 'top_p': 0.5, 'top_k': 3, 'min_p': 0.25, 'repetition_penalty': 1.5, "
        "'presence_penalty': -2, 'frequency_penalty': 2, 'seed': 18446744073709551615, 'n': 8, 'ignore_eos': true, "
        "'model': 'x', 'stream': true, 'stream_options': {'include_usage': true, 'include_progress': true}");
    const struct qvl_sampling *s = &ask.options.sampling;
    assert_int_equal(ask.options.max_tokens, 7);
    assert_true(s->temperature == 1.5f && s->top_p == 0.5f && s->top_k == 3 && s->min_p == 0.25f);
    assert_true(s->repetition_penalty == 1.5f && s->presence_penalty == -2 && s->frequency_penalty == 2);
    assert_true(s->seed == UINT64_MAX);
    assert_int_equal(ask.n, 8);
    assert_true(ask.options.ignore_eos && body.is_streamed && body.want_usage && body.want_progress);
    assert_string_equal(body.model, "x");
    accept("'max_completion_tokens': 9");
    assert_int_equal(ask.options.max_tokens, 9);
    accept("'max_completion_tokens': 9, 'max_tokens': 9");
    accept("'max_tokens': -1");
    assert_int_equal(ask.options.max_tokens, 0);
    accept("'top_k': -1");
    assert_int_equal(ask.options.sampling.top_k, 0);
    accept("'seed': -1");
    assert_true(ask.options.sampling.seed == UINT64_MAX);
    accept("'temperature': 1.0, 'n': 1.0, 'max_tokens': 5e0");
    assert_int_equal(ask.options.max_tokens, 5);
}

/* Temperature 0 is greedy, without the penalties that are the model's defaults; with those that are asked for. */
static void test_greedy(void **state)
{
    (void)state;
    accept("'temperature': 0");
    assert_true(ask.options.sampling.repetition_penalty == 1 && ask.options.sampling.presence_penalty == 0);
    accept("'temperature': 1e-8");
    assert_true(ask.options.sampling.temperature == 0 && ask.options.sampling.presence_penalty == 0);
    accept("'presence_penalty': 1, 'temperature': -0.0");
    assert_true(ask.options.sampling.repetition_penalty == 1 && ask.options.sampling.presence_penalty == 1);
}

static void test_number_edges(void **state)
{
    (void)state;
    static const struct {
        const char *name, *good[4], *bad[4];
    } rows[] = {
        {"max_tokens", {"1", "1048576", "-1"}, {"0", "1048577", "-2", "1.5"}},
        {"max_completion_tokens", {"1", "1048576", "-1"}, {"0", "1048577", "-2", "0.5"}},
        {"temperature", {"0", "2", "1e-6"}, {"-0.1", "2.1", "1e308"}},
        {"top_p", {"0", "1"}, {"-1", "1.1"}},
        {"top_k", {"-1", "0", "4294967295"}, {"-2", "4294967296", "0.5"}},
        {"min_p", {"0", "1"}, {"-0.1", "1.1"}},
        {"repetition_penalty", {"0.01", "100"}, {"0", "101", "-1"}},
        {"presence_penalty", {"-2", "2"}, {"-2.1", "2.1"}},
        {"frequency_penalty", {"-2", "2"}, {"-2.1", "2.1"}},
        {"seed", {"0", "-9223372036854775808", "9007199254740993", "18446744073709551615"}, {"1.5", "1e300"}},
        {"n", {"1", "8"}, {"0", "9", "1000000", "-1"}},
    };
    static const char *const wrong[] = {"'1'", "true", "[]", "{}", "[1]"};
    char members[100];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t k = 0; k < 4 && rows[i].good[k]; k++) {
            snprintf(members, sizeof members, "'%s': %s", rows[i].name, rows[i].good[k]);
            accept(members);
        }
        for (size_t k = 0; k < 4 && rows[i].bad[k]; k++) {
            snprintf(members, sizeof members, "'%s': %s", rows[i].name, rows[i].bad[k]);
            refuse(members, rows[i].name, rows[i].name);
        }
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
            snprintf(members, sizeof members, "'%s': %s", rows[i].name, wrong[k]);
            refuse(members, rows[i].name, "number");
        }
    }
}

static void test_stop(void **state)
{
    (void)state;
    accept("'stop': 'END'");
    assert_int_equal(ask.options.n_stop, 1);
    assert_string_equal(ask.options.stop[0], "END");
    accept("'stop': ['a', '\\n\\n', '\\u4e2d']");
    assert_int_equal(ask.options.n_stop, 3);
    assert_string_equal(ask.options.stop[1], "\n\n");
    assert_string_equal(ask.options.stop[2], "中");
    accept("'stop': []");
    assert_int_equal(ask.options.n_stop, 0);
    char list[256] = "'stop': [";
    for (int i = 0; i < 16; i++)
        strcat(list, i ? ", 'x'" : "'x'");
    strcat(list, "]");
    accept(list);
    strcpy(strrchr(list, ']'), ", 'x']");
    refuse(list, "stop", "at most 16");
    refuse("'stop': ''", "stop", "1 to 1024 bytes");
    refuse("'stop': ['a', '']", "stop", "1 to 1024 bytes");
    refuse("'stop': ['a', 1]", "stop", "string");
    refuse("'stop': 5", "stop", "string");
    refuse("'stop': {}", "stop", "string");
    refuse("'stop': 'a\\u0000b'", "stop", "NUL");
    char *longest = malloc(2000);
    assert_non_null(longest);
    sprintf(longest, "'stop': '%01024d'", 0);
    accept(longest);
    sprintf(longest, "'stop': '%01025d'", 0);
    refuse(longest, "stop", "1 to 1024 bytes");
    free(longest);
}

static void test_logit_bias(void **state)
{
    (void)state;
    accept("'logit_bias': {}");
    assert_int_equal(ask.options.n_logit_bias, 0);
    accept("'logit_bias': {'0': -100, '151643': 2.5}");
    assert_int_equal(ask.options.n_logit_bias, 2);
    assert_int_equal(ask.options.logit_bias[1].id, 151643);
    assert_true(ask.options.logit_bias[0].bias == -100 && ask.options.logit_bias[1].bias == 2.5f);
    static const char *const bad[] = {"{'a': 1}",   "{'': 1}",       "{'-1': 1}",  "{'1.5': 1}",
                                      "{'1': 101}", "{'1': -100.5}", "{'1': '1'}", "{'9999999999': 1}",
                                      "{' 1': 1}",  "[[1, 2]]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char members[64];
        snprintf(members, sizeof members, "'logit_bias': %s", bad[i]);
        refuse(members, "logit_bias", "logit_bias");
    }
    char *many = malloc(32 * (QVL_MAX_LOGIT_BIAS + 2));
    assert_non_null(many);
    for (unsigned n = QVL_MAX_LOGIT_BIAS; n <= QVL_MAX_LOGIT_BIAS + 1; n++) {
        char *at = many + sprintf(many, "'logit_bias': {");
        for (unsigned i = 0; i < n; i++)
            at += sprintf(at, "%s'%u': 1", i ? "," : "", i);
        strcpy(at, "}");
        if (n == QVL_MAX_LOGIT_BIAS)
            accept(many);
        else
            refuse(many, "logit_bias", "at most 1024");
    }
    free(many);
}

static void test_logprobs(void **state)
{
    (void)state;
    accept("'logprobs': true");
    assert_true(body.want_logprobs && ask.options.want_log_sum && ask.options.n_top_logits == 0);
    accept("'logprobs': true, 'top_logprobs': 20");
    assert_int_equal(ask.options.n_top_logits, 20);
    accept("'logprobs': false, 'top_logprobs': 0");
    refuse("'logprobs': true, 'top_logprobs': 21", "top_logprobs", "from 0 to 20");
    refuse("'top_logprobs': 1", "top_logprobs", "logprobs only");
    refuse("'logprobs': 5", "logprobs", "true or false");
}

static void test_streams(void **state)
{
    (void)state;
    refuse("'stream': 'yes'", "stream", "true or false");
    refuse("'stream_options': {'include_usage': true}", "stream_options", "stream only");
    refuse("'stream': true, 'stream_options': {'include_usage': 1}", "include_usage", "true or false");
    refuse("'stream': true, 'stream_options': []", "stream_options", "object");
    accept("'stream': true, 'stream_options': {'include_obfuscation': false, 'else': 1}");
    assert_string_equal(body.unknown.data, "else");
}

/* ---- its form ------------------------------------------------------------------------------------ */

static void expect_form(const char *members, enum qvl_constraint_kind kind, const char *text)
{
    accept(members);
    const struct qvl_constraint *c = &ask.options.constraint;
    assert_int_equal(c->kind, kind);
    if (text) {
        assert_int_equal(c->n, strlen(text));
        assert_memory_equal(c->text, text, c->n);
    }
}

static void test_forms(void **state)
{
    (void)state;
    expect_form("'response_format': {'type': 'text'}", QVL_CONSTRAINT_NONE, NULL);
    expect_form("'response_format': {'type': 'json_object'}", QVL_CONSTRAINT_JSON, NULL);
    expect_form("'response_format': {'type': 'json_object', 'schema': {'type': 'object'}}",
                QVL_CONSTRAINT_JSON_SCHEMA, "{\"type\": \"object\"}");
    expect_form(
        "'response_format': {'type': 'json_schema', 'json_schema': {'name': 'n', 'strict': true, 'schema': {}}}",
        QVL_CONSTRAINT_JSON_SCHEMA, "{}");
    expect_form("'response_format': {'type': 'json_schema', 'name': 'n', 'schema': {'a':1}}",
                QVL_CONSTRAINT_JSON_SCHEMA, "{\"a\":1}");
    expect_form("'guided_json': {'type': 'object'}", QVL_CONSTRAINT_JSON_SCHEMA, "{\"type\": \"object\"}");
    expect_form("'guided_json': '{\\'type\\':1}'", QVL_CONSTRAINT_JSON_SCHEMA, "{\"type\":1}");
    expect_form("'json_schema': {'x': []}", QVL_CONSTRAINT_JSON_SCHEMA, "{\"x\": []}");
    expect_form("'guided_regex': 'a\\\\d+'", QVL_CONSTRAINT_REGEX, "a\\d+");
    expect_form("'structured_outputs': {'json': {}}", QVL_CONSTRAINT_JSON_SCHEMA, "{}");
    expect_form("'structured_outputs': {'regex': 'x'}", QVL_CONSTRAINT_REGEX, "x");
    expect_form("'structured_outputs': {'json_object': true}", QVL_CONSTRAINT_JSON, NULL);
    expect_form("'structured_outputs': {}", QVL_CONSTRAINT_NONE, NULL);
    expect_form("'guided_choice': ['yes', '不']", QVL_CONSTRAINT_CHOICE, NULL);
    assert_int_equal(ask.options.constraint.n_choice, 2);
    assert_string_equal(ask.options.constraint.choice[1], "不");
    expect_form("'structured_outputs': {'choice': ['a']}", QVL_CONSTRAINT_CHOICE, NULL);
}

static void test_forms_refused(void **state)
{
    (void)state;
    static const char rf[] = "response_format", so[] = "structured_outputs";
    refuse("'response_format': 'json_object'", rf, "object");
    refuse("'response_format': {}", rf, "type must be");
    refuse("'response_format': {'type': 'xml'}", rf, "type must be");
    refuse("'response_format': {'type': 5}", rf, "string");
    refuse("'response_format': {'type': 'json_schema'}", rf, "no schema");
    refuse("'response_format': {'type': 'json_schema', 'json_schema': {'name': 'x'}}", rf, "no schema");
    refuse("'response_format': {'type': 'json_schema', 'json_schema': []}", rf, "object");
    refuse("'response_format': {'type': 'json_schema', 'schema': 5}", rf, "schema must be an object");
    refuse("'guided_json': [1]", "guided_json", "schema must be an object");
    refuse("'guided_regex': 5", "guided_regex", "string");
    refuse("'guided_choice': []", "guided_choice", "list of strings");
    refuse("'guided_choice': 'a'", "guided_choice", "list of strings");
    refuse("'guided_choice': ['a', 5]", "guided_choice", "string");
    refuse("'guided_choice': ['']", "guided_choice", "1 to");
    refuse("'structured_outputs': {'grammar': 'x'}", so, "not offered");
    refuse("'structured_outputs': {'json': {}, 'regex': 'x'}", so, "both say");
    refuse("'guided_json': {}, 'response_format': {'type': 'json_object'}", "guided_json", "both say");
    refuse("'guided_grammar': 'root ::= x'", "guided_grammar", "not offered");
    refuse("'grammar': 'root ::= x'", "grammar", "not offered");
}

/* ---- tools --------------------------------------------------------------------------------------- */

#define TOOL(name) "{'type': 'function', 'function': {'name': '" name "', 'parameters': {'type': 'object'}}}"
#define TOOLS "'tools': [" TOOL("f") ", " TOOL("g") "]"

static void test_tools(void **state)
{
    (void)state;
    const struct qvl_constraint *c = &ask.options.constraint;
    accept(TOOLS);
    assert_int_equal(ask.tools, QVL_TOOLS_AUTO);
    assert_int_equal(c->kind, QVL_CONSTRAINT_TOOLS_AUTO);
    assert_string_equal(c->text, ask.chat.chat.tools_json);
    assert_non_null(strstr(ask.chat.chat.tools_json, "\"g\""));
    assert_false(ask.want_one_call || c->want_one_call);
    accept(TOOLS ", 'tool_choice': 'auto', 'parallel_tool_calls': false");
    assert_true(ask.want_one_call && c->want_one_call);
    accept(TOOLS ", 'tool_choice': 'none'");
    assert_int_equal(ask.tools, QVL_TOOLS_NONE);
    assert_null(ask.chat.chat.tools_json);
    assert_int_equal(c->kind, QVL_CONSTRAINT_NONE);
    accept(TOOLS ", 'tool_choice': 'required'");
    assert_int_equal(ask.tools, QVL_TOOLS_REQUIRED);
    assert_int_equal(c->kind, QVL_CONSTRAINT_TOOL_CALLS);
    assert_int_equal(c->n_choice, 0);
    accept(TOOLS ", 'tool_choice': {'type': 'function', 'function': {'name': 'g'}}");
    assert_int_equal(c->kind, QVL_CONSTRAINT_TOOL_CALLS);
    assert_int_equal(c->n_choice, 1);
    assert_string_equal(c->choice[0], "g");
    assert_true(c->want_one_call);
    assert_non_null(strstr(ask.chat.chat.tools_json, "\"f\"")); /* all are shown */
    accept(TOOLS ", 'tool_choice': {'type': 'function', 'name': 'f'}");
    assert_string_equal(c->choice[0], "f");
    accept(TOOLS ", 'tool_choice': {'type': 'allowed_tools', 'allowed_tools': {'mode': 'required', 'tools': "
                 "[{'type': 'function', 'function': {'name': 'g'}}]}}");
    assert_int_equal(ask.tools, QVL_TOOLS_REQUIRED);
    assert_null(strstr(ask.chat.chat.tools_json, "\"f\"")); /* the others are not */
    assert_non_null(strstr(ask.chat.chat.tools_json, "\"g\""));
    accept("'tools': []");
    assert_int_equal(ask.tools, QVL_TOOLS_NONE);
    accept("'tool_choice': 'auto', 'parallel_tool_calls': true");
    assert_int_equal(ask.tools, QVL_TOOLS_NONE);
    accept(TOOLS ", 'tool_choice': 'none', 'response_format': {'type': 'json_object'}");
    assert_int_equal(c->kind, QVL_CONSTRAINT_JSON);
}

/* JSON or calls: what agents ask for that want both. */
static void test_tools_or_json(void **state)
{
    (void)state;
    const struct qvl_constraint *c = &ask.options.constraint;
    accept(TOOLS ", 'response_format': {'type': 'json_schema', 'schema': {'a': 1}}");
    assert_int_equal(ask.tools, QVL_TOOLS_AUTO);
    assert_int_equal(c->kind, QVL_CONSTRAINT_TOOL_CALLS);
    assert_int_equal(c->n_instead, 8);
    assert_memory_equal(c->instead, "{\"a\": 1}", 8);
    assert_string_equal(c->text, ask.chat.chat.tools_json);
    assert_string_equal(body.form, "response_format");
    accept(TOOLS ", 'response_format': {'type': 'json_object'}");
    assert_memory_equal(c->instead, "{\"type\": \"object\"}", c->n_instead);
    accept(TOOLS ", 'tool_choice': 'required', 'response_format': {'type': 'json_object'}");
    assert_int_equal(c->n_instead, 0);
}

static void test_tools_refused(void **state)
{
    (void)state;
    static const char tc[] = "tool_choice";
    refuse("'tools': {}", "tools", "list");
    refuse("'tools': [5]", "tools", "needs a name");
    refuse("'tools': [{'type': 'function'}]", "tools", "needs a name");
    refuse("'tools': [{'type': 'function', 'function': {'name': ''}}]", "tools", "needs a name");
    refuse("'tools': [{'type': 'function', 'function': {'name': 5}}]", "tools", "needs a name");
    refuse("'tools': [{'type': 'custom', 'custom': {'name': 'f'}}]", "tools", "only the type");
    refuse("'tools': [" TOOL("f") ", " TOOL("f") "]", "tools", "same name");
    refuse(TOOLS ", 'tool_choice': 'any'", tc, "must be");
    refuse(TOOLS ", 'tool_choice': 5", tc, "must be");
    refuse(TOOLS ", 'tool_choice': {'type': 'custom', 'custom': {'name': 'f'}}", tc, "must be");
    refuse(TOOLS ", 'tool_choice': {'type': 'function'}", tc, "must be");
    refuse(TOOLS ", 'tool_choice': {'type': 'function', 'function': {'name': 'h'}}", tc, "no tool h");
    refuse(TOOLS ", 'tool_choice': {'type': 'allowed_tools', 'allowed_tools': {'mode': 'auto', 'tools': []}}", tc,
           "must be");
    refuse(
        TOOLS
        ", 'tool_choice': {'type': 'allowed_tools', 'allowed_tools': {'mode': 'never', 'tools': [{'name': 'f'}]}}",
        tc, "must be");
    refuse(TOOLS
           ", 'tool_choice': {'type': 'allowed_tools', 'mode': 'auto', 'tools': [{'name': 'f'}, {'name': 'g'}, "
           "{'name': 'f'}]}",
           tc, "f stands there twice");
    refuse("'tool_choice': 'required'", tc, "no tools");
    refuse("'tool_choice': {'type': 'function', 'function': {'name': 'h'}}", tc, "no tool h");
    refuse(TOOLS ", 'guided_regex': 'a'", "guided_regex", "no form but JSON");
    refuse(TOOLS ", 'guided_choice': ['a']", "guided_choice", "no form but JSON");
    refuse(TOOLS ", 'parallel_tool_calls': 'no'", "parallel_tool_calls", "true or false");
    refuse("'functions': [{'name': 'f'}]", "functions", "send tools");
    refuse("'function_call': 'auto'", "function_call", "send tool_choice");
}

/* As many as are possible, and one more. */
static void test_tool_count(void **state)
{
    (void)state;
    for (unsigned n = QVL_MAX_TOOLS; n <= QVL_MAX_TOOLS + 1; n++) {
        size_t n_text = 0, n_room = (size_t)n * 40 + 20;
        char *text = malloc(n_room);
        assert_non_null(text);
        n_text += (size_t)snprintf(text, n_room, "'tools': [");
        for (unsigned i = 0; i < n; i++)
            n_text += (size_t)snprintf(text + n_text, n_room - n_text, "%s{'name': 't%u'}", i ? "," : "", i);
        snprintf(text + n_text, n_room - n_text, "]");
        if (n == QVL_MAX_TOOLS)
            accept(text);
        else
            refuse(text, "tools", "list of 0 to 1024");
        free(text);
    }
}

/* ---- known, unknown ------------------------------------------------------------------------------ */

static void test_left_alone(void **state)
{
    (void)state;
    accept("'user': 'u', 'safety_identifier': 's', 'prompt_cache_key': 'k', 'prompt_cache_retention': '24h', "
           "'metadata': {'a': 'b'}, 'store': false, 'service_tier': 'auto', 'modalities': ['text'], 'verbosity': "
           "'medium', "
           "'reasoning_effort': 'none', 'audio': null, 'prediction': null, 'priority': 0, 'skip_special_tokens': "
           "true, "
           "'echo': false, 'functions': [], 'function_call': ''");
    assert_int_equal(body.unknown.n, 0);
    refuse("'user': 5", "user", "string");
    refuse("'metadata': 'a'", "metadata", "object");
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
    } rows[] = {{"store", "true"},
                {"audio", "{'voice': 'x', 'format': 'wav'}"},
                {"prediction", "{'type': 'content'}"},
                {"web_search_options", "{}"},
                {"web_search_options", "{'a': 1}"},
                {"priority", "1"},
                {"echo", "true"},
                {"service_tier", "'flex'"},
                {"modalities", "['text', 'audio']"},
                {"verbosity", "'low'"},
                {"reasoning_effort", "'high'"},
                {"skip_special_tokens", "false"},
                {"min_tokens", "3"},
                {"spaces_between_special_tokens", "false"},
                {"stop_token_ids", "[1]"},
                {"best_of", "2"},
                {"include_stop_str_in_output", "true"},
                {"chat_template", "'{{x}}'"},
                {"documents", "[{}]"},
                {"prompt_logprobs", "1"},
                {"use_beam_search", "true"},
                {"cache_salt", "'x'"},
                {"truncate_prompt_tokens", "5"},
                {"enable_thinking", "true"},
                {"add_generation_prompt", "false"},
                {"guided_grammar", "'x'"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char members[100];
        snprintf(members, sizeof members, "'%s': %s", rows[i].name, rows[i].value);
        refuse(members, rows[i].name, rows[i].name);
    }
}

static void test_thinking(void **state)
{
    (void)state;
    accept("'enable_thinking': false, 'reasoning_effort': 'minimal'");
    accept("'chat_template_kwargs': {'enable_thinking': false, 'add_vision_id': true}");
    assert_true(ask.chat.chat.want_vision_ids);
    refuse("'chat_template_kwargs': {'enable_thinking': true}", "chat_template_kwargs", "without thinking");
    refuse("'chat_template_kwargs': {'thinking_mode': 1}", "chat_template_kwargs", "thinking_mode");
    refuse("'chat_template_kwargs': {'enable_thinking': 'no'}", "chat_template_kwargs", "true or false");
    is_thinking = true;
    accept("'chat_template_kwargs': {'enable_thinking': true}, 'reasoning_effort': 'medium'");
    accept("");
    refuse("'enable_thinking': false", "enable_thinking", "always thinks");
    refuse("'reasoning_effort': 'none'", "reasoning_effort", "medium");
}

static void test_unknown(void **state)
{
    (void)state;
    accept("'foo': 1, 'temprature': 0.5, 'bar': {'temperature': 5}");
    assert_string_equal(body.unknown.data, "foo, temprature, bar");
}

static void test_open_answers(void **state)
{
    (void)state;
    static const char open[] =
        "{'messages': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'He'}], "
        "'continue_final_message': true%s}";
    char json[256];
    snprintf(json, sizeof json, open, "");
    assert_int_equal(read_quoted(json), QVL_OK);
    assert_true(ask.chat.chat.is_open);
    snprintf(json, sizeof json, open, ", 'add_generation_prompt': false");
    assert_int_equal(read_quoted(json), QVL_OK);
    snprintf(json, sizeof json, open, ", 'add_generation_prompt': true");
    assert_int_equal(read_quoted(json), QVL_ERR_ARGUMENT);
    refuse("'continue_final_message': true", "continue_final_message", "assistant");
}

/* ---- the conversation and the whole -------------------------------------------------------------- */

static void test_messages_refused(void **state)
{
    (void)state;
    static const struct {
        const char *messages, *sentence;
    } rows[] = {
        {"null", "missing"},
        {"[]", "entries"},
        {"{}", "list"},
        {"'Hi'", "list"},
        {"[5]", "messages[0]"},
        {"[{'role': 'user'}]", "messages[0].content"},
        {"[{'role': 'king', 'content': 'x'}]", "role"},
        {"[{'role': 'user', 'content': 5}]", "messages[0].content"},
        {"[{'role': 'user', 'content': [5]}]", "messages[0].content[0]"},
        {"[{'role': 'user', 'content': [{'type': 'input_audio', 'input_audio': {}}]}]", "messages[0].content[0]"},
        {"[{'role': 'user', 'content': [{'type': 'image_url', 'image_url': {'url': 'file:///etc/passwd'}}]}]",
         "files are not read"},
        {"[{'role': 'user', 'content': [{'type': 'image_url', 'image_url': {'url': 'http://x/y.png'}}]}]",
         "fetched"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char json[256];
        snprintf(json, sizeof json, "{'messages': %s}", rows[i].messages);
        if (read_quoted(json) != QVL_ERR_ARGUMENT || !strstr(err.text, rows[i].sentence))
            fail_msg("%s: %s", json, err.text);
        assert_string_equal(body.param, "messages");
    }
    assert_int_equal(read_quoted("{}"), QVL_ERR_ARGUMENT);
    assert_string_equal(body.param, "messages");
    assert_int_equal(read_quoted("{'messages': [{'role': 'user', 'content': [{'type': 'image_url', 'image_url': "
                                 "{'url': 'data:image/png;base64,!!!!'}}]}]}"),
                     QVL_ERR_MEDIA);
}

static void test_bad_json(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      " ",
                                      "[]",
                                      "5",
                                      "'x'",
                                      "null",
                                      "{",
                                      "{'messages'}",
                                      "{'messages': [}",
                                      "{'messages': []}}",
                                      "{'a': 1, 'a': 2}",
                                      "{'a': 01}",
                                      "{'a': .5}",
                                      "{'a': 1,}",
                                      "{a: 1}",
                                      "{'a': NaN}",
                                      "{'a': 'x\ny'}",
                                      "{'a': '\\ud800'}",
                                      "{'a': '\\x'}",
                                      "\xEF\xBB\xBF{}",
                                      "{'a': '\xFF'}",
                                      "{'a': '\xC0\x80'}",
                                      "{'a': '\xED\xA0\x80'}",
                                      "{} {}",
                                      "{'a': tru}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (read_quoted(bad[i]) != QVL_ERR_ARGUMENT || !err.text[0])
            fail_msg("%s: %s", bad[i], err.text);
    }
    assert_int_equal(read_exactly("{\"a\": \"x\0y\"}", 12), QVL_ERR_ARGUMENT);
    char deep[200] = "{\"a\": ";
    size_t n = strlen(deep);
    memset(deep + n, '[', 64);
    assert_int_not_equal(read_exactly(deep, n + 64), QVL_OK);
    assert_non_null(strstr(err.text, "64"));
}

static void test_media_settings(void **state)
{
    (void)state;
    static const char picture[] =
        "{'messages': [{'role': 'user', 'content': [{'type': 'image_url', 'image_url': {'url': "
        "'data:image/png;base64,iVBORw0KGgo='}}, {'type': 'text', 'text': 'x'}]}], 'mm_processor_kwargs': {%s}}";
    char json[400];
    snprintf(json, sizeof json, picture, "'max_pixels': 4096");
    assert_int_equal(read_quoted(json), QVL_OK);
    assert_int_equal(ask.chat.chat.messages[0].parts[0].media.max_pixels, 4096);
    snprintf(json, sizeof json, picture, "'max_pixels': -1");
    assert_int_equal(read_quoted(json), QVL_ERR_ARGUMENT);
    assert_string_equal(body.param, "mm_processor_kwargs");
}

/* ---- forms --------------------------------------------------------------------------------------- */

#define TEXT(name, text)                                                                                           \
    {                                                                                                              \
        name, NULL, (const uint8_t *)(text), sizeof(text) - 1                                                      \
    }
#define A_FILE(name, filename, text)                                                                               \
    {                                                                                                              \
        name, filename, (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static void expect_form_json(const struct qvl_form_part *part, size_t n, const char *json)
{
    struct qvl_bytes out = {0};
    const char *param = NULL;
    memset(&err, 0, sizeof err);
    if (qvl_chat_form_read(part, n, &out, &param, &err))
        fail_msg("%s", err.text);
    assert_string_equal(out.data, json);
    qvl_bytes_free(&out);
}

static void test_form(void **state)
{
    (void)state;
    const struct qvl_form_part plain[] = {TEXT("prompt", "Say \"hi\"\n"), TEXT("max_tokens", "50"),
                                          TEXT("model", "7"), TEXT("stop", "3"), TEXT("stream", "true")};
    expect_form_json(
        plain, 5,
        "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"Say "
        "\\\"hi\\\"\\n\"}]}], \"max_tokens\": 50, \"model\": \"7\", \"stop\": \"3\", \"stream\": true}");
    const struct qvl_form_part files[] = {A_FILE("image", "a.jpg", "\xFF\xD8\xFF"),
                                          TEXT("max_pixels", "1000"),
                                          TEXT("system", "Be brief."),
                                          A_FILE("image", "b.jpg", "\xFF\xD8\xFF"),
                                          TEXT("prompt", "Which?"),
                                          A_FILE("video", "c.mp4", ""),
                                          TEXT("response_format", "{\"type\": \"json_object\"}")};
    expect_form_json(
        files, 7,
        "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", \"content\": "
        "[{\"type\": \"image\", \"image\": \"upload:#0\", \"max_pixels\": 1000}, "
        "{\"type\": \"image\", \"image\": \"upload:#3\", \"max_pixels\": 1000}, "
        "{\"type\": \"video\", \"video\": \"upload:#5\", \"max_pixels\": 1000}, "
        "{\"type\": \"text\", \"text\": \"Which?\"}]}], \"response_format\": {\"type\": \"json_object\"}}");
    const struct qvl_form_part whole[] = {TEXT("messages", "[{\"role\": \"user\", \"content\": \"x\"}]"),
                                          A_FILE("photo", "a.jpg", "x"), TEXT("seed", "1")};
    expect_form_json(whole, 3, "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"seed\": 1}");
}

static void test_form_refused(void **state)
{
    (void)state;
    static const struct {
        struct qvl_form_part part[2];
        const char *sentence;
    } rows[] = {
        {{TEXT("max_tokens", "5"), TEXT("seed", "5")}, "prompt is missing"},
        {{TEXT("prompt", "x"), A_FILE("photo", "a", "x")}, "image, video or file"},
        {{TEXT("prompt", "x"), TEXT("image", "a.jpg")}, "must be a file"},
        {{TEXT("prompt", "x"), TEXT("prompt", "y")}, "twice"},
        {{TEXT("prompt", "x"), TEXT("messages", "[]")}, "beside messages"},
        {{TEXT("fps", "1"), TEXT("messages", "[]")}, "beside messages"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct qvl_bytes out = {0};
        const char *param = NULL;
        memset(&err, 0, sizeof err);
        assert_int_equal(qvl_chat_form_read(rows[i].part, 2, &out, &param, &err), QVL_ERR_ARGUMENT);
        if (!strstr(err.text, rows[i].sentence))
            fail_msg("row %zu: %s", i, err.text);
        qvl_bytes_free(&out);
    }
}

/* Options stand in the JSON once for each file, so they must be short. */
static void test_form_option(void **state)
{
    (void)state;
    enum { MOST = 65536 };
    char *times = malloc(MOST + 1);
    struct qvl_bytes out = {0};
    const char *param = NULL;
    assert_non_null(times);
    memset(times, '1', MOST + 1);
    struct qvl_form_part part[] = {TEXT("prompt", "Hi"), A_FILE("image", "a.jpg", "x"), TEXT("times", "")};
    part[2].bytes = (const uint8_t *)times;
    part[2].n = MOST;
    assert_int_equal(qvl_chat_form_read(part, 3, &out, &param, &err), QVL_OK);
    qvl_bytes_free(&out);
    part[2].n = MOST + 1;
    assert_int_equal(qvl_chat_form_read(part, 3, &out, &param, &err), QVL_ERR_ARGUMENT);
    assert_string_equal(err.text, "times has 65537 bytes; at most 65536 are possible");
    assert_string_equal(param, "times");
    qvl_bytes_free(&out);
    free(times);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_defaults, clean),
        cmocka_unit_test_teardown(test_null_is_absent, clean),
        cmocka_unit_test_teardown(test_numbers, clean),
        cmocka_unit_test_teardown(test_greedy, clean),
        cmocka_unit_test_teardown(test_number_edges, clean),
        cmocka_unit_test_teardown(test_stop, clean),
        cmocka_unit_test_teardown(test_logit_bias, clean),
        cmocka_unit_test_teardown(test_logprobs, clean),
        cmocka_unit_test_teardown(test_streams, clean),
        cmocka_unit_test_teardown(test_forms, clean),
        cmocka_unit_test_teardown(test_forms_refused, clean),
        cmocka_unit_test_teardown(test_tools, clean),
        cmocka_unit_test_teardown(test_tools_or_json, clean),
        cmocka_unit_test_teardown(test_tools_refused, clean),
        cmocka_unit_test_teardown(test_tool_count, clean),
        cmocka_unit_test_teardown(test_left_alone, clean),
        cmocka_unit_test_teardown(test_refused, clean),
        cmocka_unit_test_teardown(test_thinking, clean),
        cmocka_unit_test_teardown(test_unknown, clean),
        cmocka_unit_test_teardown(test_open_answers, clean),
        cmocka_unit_test_teardown(test_messages_refused, clean),
        cmocka_unit_test_teardown(test_bad_json, clean),
        cmocka_unit_test_teardown(test_media_settings, clean),
        cmocka_unit_test_teardown(test_form, clean),
        cmocka_unit_test_teardown(test_form_refused, clean),
        cmocka_unit_test_teardown(test_form_option, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
