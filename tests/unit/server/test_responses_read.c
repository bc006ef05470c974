/* Bodies of Responses requests: what items and fields become; each refusal with its field, in the words of this
 * API. Expected values are the API's (openai-openapi, CreateResponse); what one item is to the model is what the
 * same conversation is in Chat Completions, which the family's template was written for. */
#include "server/openai_responses_read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct qvl_error err;
static struct qvl_ask ask;
static struct qvl_chat_body body;
static struct qvl_bytes echo;
static bool is_thinking;

static void forget(void)
{
    qvl_chat_json_close(&ask.chat);
    qvl_arena_free(&ask.arena);
    qvl_chat_body_free(&body);
    qvl_bytes_free(&echo);
}

/* JSON with ' for ", from an exact-size copy that is gone when the question is looked at. */
static enum qvl_status read_quoted(const char *json)
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
    ask.options.sampling = (struct qvl_sampling){.temperature = 0.7f,
                                                 .top_k = 20,
                                                 .top_p = 0.8f,
                                                 .repetition_penalty = 1,
                                                 .presence_penalty = 1.5f,
                                                 .seed = 9};
    enum qvl_status status = qvl_responses_body_read(copy, n, &settings, &ask, &body, &echo, &err);
    free(copy);
    return status;
}

static void accept(const char *json)
{
    if (read_quoted(json))
        fail_msg("%s: %s", json, err.text);
}

static void refuse(const char *json, enum qvl_status status, const char *param, const char *sentence)
{
    enum qvl_status got = read_quoted(json);
    if (got != status)
        fail_msg("%s: status %d (%s)", json, got, err.text);
    if (strncmp(err.text, sentence, strlen(sentence)) != 0)
        fail_msg("%s: says %s", json, err.text);
    if (param ? !body.param || strcmp(body.param, param) != 0 : body.param != NULL)
        fail_msg("%s: names %s", json, body.param ? body.param : "nothing");
}

static int clean(void **state)
{
    (void)state;
    forget();
    ask = (struct qvl_ask){0};
    is_thinking = false;
    return 0;
}

static void assert_part(size_t i_message, size_t i_part, const char *text)
{
    const struct qvl_message *m = &ask.chat.chat.messages[i_message];
    assert_true(i_message < ask.chat.chat.n_message && i_part < m->n_part);
    assert_int_equal(m->parts[i_part].kind, QVL_PART_TEXT);
    assert_int_equal(m->parts[i_part].n, strlen(text));
    assert_memory_equal(m->parts[i_part].utf8, text, strlen(text));
}

static void assert_role(size_t i_message, enum qvl_role role)
{
    assert_true(i_message < ask.chat.chat.n_message);
    assert_int_equal(ask.chat.chat.messages[i_message].role, role);
}

/* ---- conversations ------------------------------------------------------------------------------- */

static void a_string_is_a_user_message(void **state)
{
    (void)state;
    accept("{'model': 'm', 'input': 'Hi'}");
    assert_int_equal(ask.chat.chat.n_message, 1);
    assert_role(0, QVL_ROLE_USER);
    assert_part(0, 0, "Hi");
    assert_string_equal(body.model, "m");
    assert_false(body.is_streamed || body.want_logprobs);
    accept("{'input': 'Hi', 'instructions': 'Be brief.'}");
    assert_int_equal(ask.chat.chat.n_message, 2);
    assert_role(0, QVL_ROLE_SYSTEM);
    assert_part(0, 0, "Be brief.");
    assert_part(1, 0, "Hi");
}

static void messages_are_messages(void **state)
{
    (void)state;
    accept(
        "{'input': [{'role': 'developer', 'content': 'a'}, {'type': 'message', 'role': 'user', 'content': "
        "[{'type': "
        "'input_text', 'text': 'b'}, {'type': 'input_image', 'image_url': 'data:image/png;base64,aGk=', 'detail': "
        "'low'}]}, {'type': 'message', 'id': 'msg_1', 'status': 'completed', 'role': 'assistant', 'content': "
        "[{'type': "
        "'output_text', 'text': 'c', 'annotations': []}]}, {'role': 'user', 'content': 'd'}]}");
    assert_int_equal(ask.chat.chat.n_message, 4);
    assert_role(0, QVL_ROLE_SYSTEM);
    assert_part(1, 0, "b");
    assert_int_equal(ask.chat.chat.messages[1].parts[1].kind, QVL_PART_IMAGE);
    assert_int_equal(ask.chat.chat.messages[1].parts[1].source.n_bytes, 2);
    assert_int_equal(ask.chat.chat.messages[1].parts[1].media.max_pixels, 512 * 512);
    assert_role(2, QVL_ROLE_ASSISTANT);
    assert_part(2, 0, "c");
    assert_part(3, 0, "d");
}

/* What the model wrote in one go is one message of the assistant. */
static void a_turn_is_put_together_again(void **state)
{
    (void)state;
    accept(
        "{'input': [{'role': 'user', 'content': 'a'},"
        "{'type': 'reasoning', 'id': 'rs', 'summary': [], 'content': [{'type': 'reasoning_text', 'text': 'hm'}]},"
        "{'type': 'message', 'role': 'assistant', 'content': 'I look.'},"
        "{'type': 'function_call', 'call_id': 'c1', 'name': 'f', 'arguments': '{}'},"
        "{'type': 'function_call', 'id': 'fc', 'status': 'completed', 'call_id': 'c2', 'name': 'g', 'arguments': "
        "''},"
        "{'type': 'function_call_output', 'call_id': 'c1', 'output': 'one'},"
        "{'type': 'function_call_output', 'call_id': 'c2', 'output': [{'type': 'input_text', 'text': 'two'}, "
        "{'type': "
        "'input_image', 'image_url': 'data:image/png;base64,aGk='}]},"
        "{'type': 'function_call', 'call_id': 'c3', 'name': 'h', 'arguments': '{}'},"
        "{'type': 'message', 'role': 'assistant', 'content': 'b'}]}");
    const struct qvl_message *m = ask.chat.chat.messages;
    assert_int_equal(ask.chat.chat.n_message, 6);
    assert_role(1, QVL_ROLE_ASSISTANT);
    assert_string_equal(m[1].reasoning, "hm");
    assert_part(1, 0, "I look.");
    assert_int_equal(m[1].n_tool_call, 2);
    assert_string_equal(m[1].tool_calls[0].name, "f");
    assert_string_equal(m[1].tool_calls[1].name, "g");
    assert_string_equal(m[1].tool_calls[1].arguments_json, "{}");
    assert_role(2, QVL_ROLE_TOOL);
    assert_part(2, 0, "one");
    assert_role(3, QVL_ROLE_TOOL);
    assert_part(3, 0, "two");
    assert_int_equal(m[3].parts[1].kind, QVL_PART_IMAGE);
    assert_role(4, QVL_ROLE_ASSISTANT); /* a call, and then a text: two messages */
    assert_int_equal(m[4].n_tool_call, 1);
    assert_int_equal(m[4].n_part, 0);
    assert_role(5, QVL_ROLE_ASSISTANT);
    assert_int_equal(m[5].n_tool_call, 0);
    assert_part(5, 0, "b");
}

static void reasoning_is_what_there_is_of_it(void **state)
{
    (void)state;
    accept("{'input': [{'role': 'user', 'content': 'a'}, {'type': 'reasoning', 'summary': [{'type': "
           "'summary_text', 'text': "
           "'s'}]}, {'type': 'reasoning', 'summary': [{'type': 'summary_text', 'text': 't'}], 'content': [{'text': "
           "'u'}, "
           "{'text': 'v'}], 'encrypted_content': null}, {'role': 'assistant', 'content': 'b'}]}");
    assert_int_equal(ask.chat.chat.n_message, 2);
    assert_string_equal(ask.chat.chat.messages[1].reasoning, "s\nu\nv");
    assert_part(1, 0, "b");
    accept(
        "{'input': [{'role': 'user', 'content': 'a'}, {'type': 'reasoning', 'summary': []}, {'role': 'assistant', "
        "'content': 'b'}]}");
    assert_null(ask.chat.chat.messages[1].reasoning);
}

/* ---- fields -------------------------------------------------------------------------------------- */

static void fields_become_options(void **state)
{
    (void)state;
    accept(
        "{'input': 'Hi', 'max_output_tokens': 7, 'temperature': 1.5, 'top_p': 0.5, 'top_k': 3, 'seed': 4, "
        "'stream': true,"
        "'stop': 'X', 'presence_penalty': 0, 'include': ['message.output_text.logprobs'], 'top_logprobs': 2, "
        "'store': "
        "false, 'background': false, 'previous_response_id': null, 'truncation': 'disabled', 'service_tier': "
        "'auto', "
        "'user': 'u', 'metadata': {'k': 'v'}, 'max_tool_calls': 3, 'prompt_cache_key': 'p', 'text': {'verbosity': "
        "'medium', 'format': {'type': 'text'}}, 'reasoning': {'effort': 'none', 'summary': 'auto'}}");
    assert_int_equal(ask.options.max_tokens, 7);
    assert_true(ask.options.sampling.temperature == 1.5f && ask.options.sampling.top_p == 0.5f);
    assert_int_equal(ask.options.sampling.top_k, 3);
    assert_int_equal(ask.options.sampling.seed, 4);
    assert_int_equal(ask.options.n_stop, 1);
    assert_true(ask.options.want_log_sum && body.want_logprobs && body.is_streamed);
    assert_int_equal(ask.options.n_top_logits, 2);
    assert_int_equal(body.unknown.n, 0);
    accept("{'input': 'Hi', 'top_logprobs': 1}");
    assert_true(body.want_logprobs);
    accept("{'input': 'Hi', 'include': ['reasoning.encrypted_content']}");
    assert_false(body.want_logprobs);
}

static void forms_are_enforced(void **state)
{
    (void)state;
    accept("{'input': 'Hi', 'text': {'format': {'type': 'json_object'}}}");
    assert_int_equal(ask.options.constraint.kind, QVL_CONSTRAINT_JSON);
    accept("{'input': 'Hi', 'text': {'format': {'type': 'json_schema', 'name': 'n', 'strict': true, 'schema': "
           "{'type': "
           "'object'}}}}");
    assert_int_equal(ask.options.constraint.kind, QVL_CONSTRAINT_JSON_SCHEMA);
    assert_int_equal(ask.options.constraint.n, strlen("{'type': 'object'}"));
    assert_memory_equal(ask.options.constraint.text, "{\"type\": \"object\"}", ask.options.constraint.n);
}

static void tools_get_the_form_of_the_template(void **state)
{
    (void)state;
    accept("{'input': 'Hi', 'tools': [{'type': 'function', 'name': 'f', 'description': null, 'strict': true, "
           "'parameters': "
           "{'type':'object',\n'properties':{'a':{'const':1.50}}}}], 'tool_choice': 'required', "
           "'parallel_tool_calls': false}");
    assert_string_equal(
        ask.chat.chat.tools_json,
        "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\", "
        "\"properties\": {\"a\": {\"const\": 1.5}}}}}]");
    assert_int_equal(ask.tools, QVL_TOOLS_REQUIRED);
    assert_true(ask.want_one_call);
    assert_int_equal(ask.options.constraint.kind, QVL_CONSTRAINT_TOOL_CALLS);
    accept("{'input': 'Hi', 'tools': [{'type': 'function', 'name': 'f', 'parameters': {}}, {'type': 'function', "
           "'name': 'g', "
           "'parameters': {}}], 'tool_choice': {'type': 'function', 'name': 'g'}}");
    assert_int_equal(ask.options.constraint.n_choice, 1);
    assert_string_equal(ask.options.constraint.choice[0], "g");
    accept("{'input': 'Hi', 'tools': [{'type': 'function', 'name': 'f', 'parameters': {}}, {'type': 'function', "
           "'name': 'g', "
           "'parameters': {}}], 'tool_choice': {'type': 'allowed_tools', 'mode': 'auto', 'tools': [{'type': "
           "'function', "
           "'name': 'g'}]}}");
    assert_null(strstr(ask.chat.chat.tools_json, "\"f\""));
    assert_int_equal(ask.tools, QVL_TOOLS_AUTO);
    accept(
        "{'input': 'Hi', 'tools': [{'type': 'function', 'name': 'f', 'parameters': {}}], 'tool_choice': 'none'}");
    assert_null(ask.chat.chat.tools_json);
}

/* ---- what a response repeats --------------------------------------------------------------------- */

static void assert_echo(const char *member)
{
    char *copy = strdup(member);
    assert_non_null(copy);
    for (char *c = copy; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    if (!strstr(echo.data, copy))
        fail_msg("%s is not in %s", copy, echo.data);
    free(copy);
}

static void a_response_repeats_what_was_asked(void **state)
{
    (void)state;
    accept("{'input': 'Hi'}");
    assert_echo("'instructions':null,'max_output_tokens':null,'max_tool_calls':null,'metadata':{},'parallel_tool_"
                "calls':true");
    assert_echo("'reasoning':{'effort':null,'summary':null}");
    assert_echo("'text':{'format':{'type':'text'}},'tool_choice':'auto','tools':[],'user':null");
    assert_echo("'store':false,'temperature':0.7,'top_logprobs':0,'top_p':0.8,'truncation':'disabled'");
    accept("{'input': 'Hi', 'instructions': 'a\\nb', 'metadata': {'k':\n'v'}, 'temperature': 0.1, 'tool_choice': "
           "'none', "
           "'parallel_tool_calls': false, 'max_output_tokens': 5, 'user': '\\u00e9'}");
    assert_echo("'instructions':'a\\nb','max_output_tokens':5");
    assert_echo("'metadata':{'k': 'v'},'parallel_tool_calls':false");
    assert_echo("'tool_choice':'none'");
    assert_echo("'user':'\xC3\xA9'");
    assert_echo("'temperature':0.1,");
    assert_null(strchr(echo.data, '\n')); /* or an event would end there */
}

static void unknown_fields_are_named(void **state)
{
    (void)state;
    accept("{'input': 'Hi', 'foo': 1, 'n': 2, 'max_tokens': 3, 'messages': [], 'response_format': {}, 'text': "
           "{'bar': 1}, "
           "'mm_processor_kwargs': {'baz': 2}}");
    assert_string_equal(body.unknown.data,
                        "foo, n, max_tokens, messages, response_format, bar, mm_processor_kwargs.baz");
    assert_int_equal(ask.n, 1);
}

/* ---- refusals ------------------------------------------------------------------------------------ */

static void refusals_name_the_field(void **state)
{
    (void)state;
    static const struct {
        const char *json, *param, *sentence;
    } row[] = {
        {"", NULL, "the body: not valid JSON at byte 0"},
        {"[]", NULL, "the body must be a JSON object"},
        {"{'input': 'a', 'input': 'b'}", NULL, "the body: the key"},
        {"{}", "input", "input must be a string or a list of items"},
        {"{'input': 3}", "input", "input must be a string or a list of items"},
        {"{'input': null}", "input", "input must be a string or a list of items"},
        {"{'input': []}", "input", ""},
        {"{'input': [3]}", "input", "input[0]: must be an object"},
        {"{'input': [{}]}", "input", "input[0]: nothing is kept"},
        {"{'input': [{'id': 'msg_1'}]}", "input", "input[0]: nothing is kept"},
        {"{'input': [{'type': 'item_reference', 'id': 'x'}]}", "input", "input[0]: nothing is kept"},
        {"{'input': [{'type': 'web_search_call', 'id': 'x'}]}", "input",
         "input[0]: the type web_search_call is not offered"},
        {"{'input': [{'type': 3, 'role': 'user'}]}", "input", "input[0]: the type  is not offered"},
        {"{'input': [{'role': 'user', 'content': 'a'}, {'role': 'robot', 'content': 'a'}]}", "input",
         "input[1]: \"role\""},
        {"{'input': [{'type': 'message'}]}", "input", "input[0]: \"role\""},
        {"{'input': [{'role': 'user'}]}", "input", "input[0].content: must be a string or a list of parts"},
        {"{'input': [{'role': 'user', 'content': [{'type': 'input_audio', 'data': 'x'}]}]}", "input",
         "input[0].content[0]: "},
        {"{'input': [{'role': 'user', 'content': [{'type': 'input_image', 'file_id': 'x'}]}]}", "input",
         "input[0].content[0].file_id: "},
        {"{'input': [{'role': 'user', 'content': [{'type': 'input_image', 'image_url': '/etc/passwd'}]}]}", "input",
         "input[0].content[0].image_url: "},
        {"{'input': [{'role': 'user', 'content': [{'type': 'input_file', 'file_data': "
         "'data:application/pdf;base64,aGk='}]}]}",
         "input", "input[0].content[0].file_data: "},
        {"{'input': [{'type': 'function_call', 'call_id': 'c', 'name': 'f'}]}", "input",
         "input[0].arguments: must be a string"},
        {"{'input': [{'type': 'function_call', 'call_id': 'c', 'name': 'f', 'arguments': {}}]}", "input",
         "input[0].arguments: must be a string"},
        {"{'input': [{'type': 'function_call', 'call_id': 'c', 'name': 'f', 'arguments': '[]'}]}", "input",
         "input[0].tool_calls[0].arguments: must be an object"},
        {"{'input': [{'type': 'function_call', 'name': 'f', 'arguments': '{}'}]}", "input",
         "input[0].call_id: must be"},
        {"{'input': [{'type': 'function_call_output', 'output': 'x'}]}", "input",
         "input[0].call_id: must be a string"},
        {"{'input': [{'type': 'function_call_output', 'call_id': 'c', 'output': {}}]}", "input",
         "input[0].output: must be"},
        {"{'input': [{'type': 'reasoning', 'encrypted_content': 'x'}]}", "input",
         "input[0].encrypted_content: cannot"},
        {"{'input': [{'type': 'reasoning', 'summary': 'x'}]}", "input", "input[0].summary: must be a list"},
        {"{'input': [{'type': 'reasoning', 'content': [{'text': 3}]}]}", "input",
         "input[0].content: must be a list"},
        {"{'input': 'a', 'store': true}", "store", "store is not offered"},
        {"{'input': 'a', 'previous_response_id': 'resp_1'}", "previous_response_id",
         "previous_response_id is not offered"},
        {"{'input': 'a', 'conversation': {'id': 'c'}}", "conversation", "conversation is not offered"},
        {"{'input': 'a', 'background': true}", "background", "background is not offered"},
        {"{'input': 'a', 'prompt': {'id': 'p'}}", "prompt", "prompt is not offered"},
        {"{'input': 'a', 'context_management': [{'type': 'x'}]}", "context_management",
         "context_management is not offered"},
        {"{'input': 'a', 'truncation': 'auto'}", "truncation", "truncation is not offered"},
        {"{'input': 'a', 'instructions': 3}", "instructions", "instructions must be a string"},
        {"{'input': 'a', 'max_output_tokens': 0}", "max_output_tokens", "max_output_tokens must be at least 1"},
        {"{'input': 'a', 'max_output_tokens': 1.5}", "max_output_tokens",
         "max_output_tokens must be a whole number"},
        {"{'input': 'a', 'max_output_tokens': '1'}", "max_output_tokens",
         "max_output_tokens must be a whole number"},
        {"{'input': 'a', 'temperature': 2.01}", "temperature", "temperature must be a number from 0 to 2"},
        {"{'input': 'a', 'top_p': -0.01}", "top_p", "top_p must be a number from 0 to 1"},
        {"{'input': 'a', 'top_logprobs': 21}", "top_logprobs", "top_logprobs must be a whole number from 0 to 20"},
        {"{'input': 'a', 'top_logprobs': -1}", "top_logprobs", "top_logprobs must be a whole number from 0 to 20"},
        {"{'input': 'a', 'include': ['file_search_call.results']}", "include", "include[0]: only"},
        {"{'input': 'a', 'include': [3]}", "include", "include[0]: only"},
        {"{'input': 'a', 'include': 'x'}", "include", "include must be a list"},
        {"{'input': 'a', 'metadata': 'x'}", "metadata", "metadata must be an object"},
        {"{'input': 'a', 'stream': 'yes'}", "stream", "stream must be true or false"},
        {"{'input': 'a', 'stream': true, 'stream_options': {'include_obfuscation': true}}", "include_obfuscation",
         "include_obfuscation is not offered"},
        {"{'input': 'a', 'text': 'x'}", "text", "text must be an object"},
        {"{'input': 'a', 'text': {'format': 'x'}}", "text", "format must be an object"},
        {"{'input': 'a', 'text': {'format': {'type': 'xml'}}}", "text.format", "text.format: the type must be"},
        {"{'input': 'a', 'text': {'format': {'type': 'json_schema', 'name': 'n'}}}", "text.format",
         "text.format: there is no"},
        {"{'input': 'a', 'text': {'verbosity': 'high'}}", "text.verbosity", "text.verbosity: "},
        {"{'input': 'a', 'reasoning': {'effort': 'high'}}", "reasoning.effort", "reasoning.effort: "},
        {"{'input': 'a', 'reasoning': {'summary': 'detailed'}}", "reasoning.summary", "reasoning.summary: "},
        {"{'input': 'a', 'tools': {}}", "tools", "tools must be a list"},
        {"{'input': 'a', 'tools': ['x']}", "tools", "tools[0]: "},
        {"{'input': 'a', 'tools': [{'type': 'web_search'}]}", "tools", "tools[0]: only the type \"function\""},
        {"{'input': 'a', 'tools': [{'type': 'function'}]}", "tools", "tools[0]: a function needs a name"},
        {"{'input': 'a', 'tool_choice': 'required'}", "tool_choice", "tool_choice asks for a call"},
        {"{'input': 'a', 'tool_choice': {'type': 'file_search'}}", "tool_choice", "tool_choice must be"},
        {"{'input': 'a', 'service_tier': 'flex'}", "service_tier", "service_tier: "},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        refuse(row[i].json, QVL_ERR_ARGUMENT, row[i].param, row[i].sentence);
    refuse("{'input': [{'role': 'user', 'content': [{'type': 'input_image', 'image_url': "
           "'data:image/png;base64,@@'}]}]}",
           QVL_ERR_MEDIA, "input", "input[0].content[0].image_url: ");
}

/* How much is thought is the model's affair. */
static void a_thinking_model_thinks(void **state)
{
    (void)state;
    is_thinking = true;
    accept("{'input': 'a', 'reasoning': {'effort': 'medium'}}");
    refuse("{'input': 'a', 'reasoning': {'effort': 'none'}}", QVL_ERR_ARGUMENT, "reasoning.effort",
           "reasoning.effort: ");
}

static void metadata_has_sixteen_entries(void **state)
{
    (void)state;
    accept("{'input': 'a', 'metadata': "
           "{'1':'','2':'','3':'','4':'','5':'','6':'','7':'','8':'','9':'','10':'','11':'',"
           "'12':'','13':'','14':'','15':'','16':''}}");
    refuse("{'input': 'a', 'metadata': "
           "{'1':'','2':'','3':'','4':'','5':'','6':'','7':'','8':'','9':'','10':'','11':'',"
           "'12':'','13':'','14':'','15':'','16':'','17':''}}",
           QVL_ERR_ARGUMENT, "metadata", "metadata has 17 entries");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_string_is_a_user_message, clean),
        cmocka_unit_test_teardown(messages_are_messages, clean),
        cmocka_unit_test_teardown(a_turn_is_put_together_again, clean),
        cmocka_unit_test_teardown(reasoning_is_what_there_is_of_it, clean),
        cmocka_unit_test_teardown(fields_become_options, clean),
        cmocka_unit_test_teardown(forms_are_enforced, clean),
        cmocka_unit_test_teardown(tools_get_the_form_of_the_template, clean),
        cmocka_unit_test_teardown(a_response_repeats_what_was_asked, clean),
        cmocka_unit_test_teardown(unknown_fields_are_named, clean),
        cmocka_unit_test_teardown(refusals_name_the_field, clean),
        cmocka_unit_test_teardown(a_thinking_model_thinks, clean),
        cmocka_unit_test_teardown(metadata_has_sixteen_entries, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
