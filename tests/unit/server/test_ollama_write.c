/* Ollama's replies, byte for byte: lines and whole, and what is said of the model. Expected: docs/api.md of Ollama
 * (the members of ChatResponse, GenerateResponse and their metrics, durations in nanoseconds), and that its SDKs
 * read each line as JSON. */
#include "server/ollama_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "answer_recorder.h"
#include "server/ollama_models.h"

static struct answer_recorder recorder;
static struct qvl_ollama_writer writer;
static struct qvl_ask_sink sink;

static void now(char out[QVL_OLLAMA_TIME_BYTES])
{
    snprintf(out, QVL_OLLAMA_TIME_BYTES, "T");
}

static double now_ms(void)
{
    return 120.5;
}

static const struct qvl_ollama_writer_settings chat = {.model = "m\"1",
                                                       .now = now,
                                                       .now_ms = now_ms,
                                                       .started_ms = 100,
                                                       .seed = 3,
                                                       .is_chat = true,
                                                       .is_streamed = true};

static void open_writer(struct qvl_ollama_writer_settings set)
{
    const struct qvl_chat_out out = recorder_out(&recorder);
    qvl_ollama_writer_free(&writer);
    qvl_ollama_writer_init(&writer, &set, &out);
    sink = qvl_ollama_writer_sink(&writer);
    assert_true(sink.begin(sink.user, &recorder_usage));
}

static int clean(void **state)
{
    (void)state;
    qvl_ollama_writer_free(&writer);
    recorder_free(&recorder);
    return 0;
}

static void end(enum qvl_ask_finish finish)
{
    assert_true(sink.finish(sink.user, 0, finish, NULL));
    assert_true(sink.end(sink.user, &recorder_usage));
}

/* Written with ' for ". */
static void assert_sent(const char *want)
{
    char *copy = strdup(want);
    assert_non_null(copy);
    for (char *c = copy; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    assert_non_null(recorder.sent.data);
    assert_string_equal(recorder.sent.data, copy);
    free(copy);
    recorder.sent.n = 0;
}

#define HEAD "{'model':'m\\'1','created_at':'T',"
#define METRICS                                                                                                    \
    ",'total_duration':20500000,'load_duration':0,'prompt_eval_count':30,'prompt_eval_duration':10000000,"         \
    "'eval_count':7,'eval_duration':5000000,'qvl':{'seed':3,'media':[]}}"

/* ---- streams ------------------------------------------------------------------------------------- */

static void each_piece_of_a_chat_is_a_line(void **state)
{
    (void)state;
    open_writer(chat);
    tell_reasoning(&sink, "hm");
    tell_token(&sink, "", 2); /* lets nothing out */
    tell_text(&sink, "a\nb");
    end(QVL_ASK_STOP);
    assert_sent(HEAD "'message':{'role':'assistant','content':'','thinking':'hm'},'done':false}\n|" HEAD
                     "'message':{'role':'assistant','content':'a\\nb'},'done':false}\n|" HEAD
                     "'message':{'role':'assistant','content':''},'done':true,'done_reason':'stop'" METRICS "\n|");
    assert_int_equal(recorder.n_begin, 1);
}

static void each_piece_of_a_prompts_answer_is_a_line(void **state)
{
    (void)state;
    struct qvl_ollama_writer_settings set = chat;
    set.is_chat = false;
    open_writer(set);
    tell_reasoning(&sink, "hm");
    tell_text(&sink, "a");
    end(QVL_ASK_LENGTH);
    assert_sent(HEAD "'response':'','thinking':'hm','done':false}\n|" HEAD "'response':'a','done':false}\n|" HEAD
                     "'response':'','done':true,'done_reason':'length'" METRICS "\n|");
}

/* On one line, though the model breaks its own. */
static void a_call_comes_when_it_is_whole(void **state)
{
    (void)state;
    open_writer(chat);
    tell_text(&sink, "I look.");
    recorder.sent.n = 0;
    tell_call(&sink, 0, "f");
    tell_arguments(&sink, 0, "{\"a\":\n [1.50,");
    assert_int_equal(recorder.sent.n, 0);
    tell_arguments(&sink, 0, " null]}");
    tell_call(&sink, 1, "g");
    assert_sent(HEAD
                "'message':{'role':'assistant','content':'','tool_calls':[{'id':'call_0','function':{'index':0,"
                "'name':'f','arguments':{'a': [1.5, null]}}}]},'done':false}\n|");
    tell_arguments(&sink, 1, "{}");
    end(QVL_ASK_TOOL_CALLS);
    assert_sent(HEAD
                "'message':{'role':'assistant','content':'','tool_calls':[{'id':'call_1','function':{'index':1,"
                "'name':'g','arguments':{}}}]},'done':false}\n|" HEAD
                "'message':{'role':'assistant','content':''},'done':true,'done_reason':'stop'" METRICS "\n|");
}

static void of_a_call_that_was_cut_there_is_nothing(void **state)
{
    (void)state;
    open_writer(chat);
    tell_call(&sink, 0, "f");
    tell_arguments(&sink, 0, "{\"a\": ");
    end(QVL_ASK_LENGTH);
    assert_sent(HEAD "'message':{'role':'assistant','content':''},'done':true,'done_reason':'length'" METRICS
                     "\n|");
    open_writer(chat);
    tell_call(&sink, 0, "f");
    end(QVL_ASK_LENGTH);
    assert_sent(HEAD "'message':{'role':'assistant','content':''},'done':true,'done_reason':'length'" METRICS
                     "\n|");
}

static void log_probabilities_stand_beside_their_text(void **state)
{
    (void)state;
    struct qvl_ollama_writer_settings set = chat;
    set.want_logprobs = true;
    open_writer(set);
    tell_token(&sink, "", 2);
    tell_token(&sink, "ca", 0);
    const char *top =
        "'top_logprobs':[{'token':'b','logprob':-0.5,'bytes':[98]},{'token':'<|im_end|>','logprob':-1.5,"
        "'bytes':[60,124,105,109,95,101,110,100,124,62]}]}";
    char want[1000];
    snprintf(want, sizeof want,
             HEAD
             "'message':{'role':'assistant','content':'ca'},'logprobs':[{'token':'c','logprob':-1,'bytes':[99],%s,"
             "{'token':'a','logprob':-1,'bytes':[97],%s],'done':false}\n|",
             top, top);
    assert_sent(want);
}

static void a_failure_in_a_stream_is_a_line(void **state)
{
    (void)state;
    const struct qvl_error failure = {QVL_ERR_MEDIA, "frame 3 is broken"},
                           secret = {QVL_ERR_INTERNAL, "/etc/secret"};
    open_writer(chat);
    (sink.fail)(sink.user, &failure, &recorder_usage);
    assert_sent("{'error':'frame 3 is broken'}\n|");
    assert_int_equal(recorder.n_fail, 0);
    (sink.fail)(sink.user, &secret, &recorder_usage);
    assert_null(strstr(recorder.sent.data, "secret"));
    struct qvl_ollama_writer_settings set = chat;
    set.is_streamed = false;
    open_writer(set);
    (sink.fail)(sink.user, &failure, &recorder_usage);
    assert_int_equal(recorder.n_fail, 1);
    assert_int_equal(recorder.sent.n, 0);
}

/* A blank before the next line: readers of lines wait for it, and JSON may begin with one. */
static void a_sign_of_life_is_a_blank(void **state)
{
    (void)state;
    open_writer(chat);
    assert_true(sink.idle(sink.user));
    assert_sent(" |");
}

static void a_client_that_left_is_noticed_at_once(void **state)
{
    (void)state;
    const struct qvl_ask_text text = {.utf8 = "x", .n = 1};
    open_writer(chat);
    recorder.n_left = 0;
    assert_false(sink.text(sink.user, 0, &text));
}

/* ---- whole replies ------------------------------------------------------------------------------- */

static void a_whole_reply_has_all_in_one(void **state)
{
    (void)state;
    struct qvl_ollama_writer_settings set = chat;
    set.is_streamed = false;
    open_writer(set);
    tell_reasoning(&sink, "h");
    tell_reasoning(&sink, "m");
    tell_text(&sink, "a");
    tell_text(&sink, "b");
    tell_call(&sink, 0, "f");
    tell_arguments(&sink, 0, "{}");
    tell_call(&sink, 1, "g");
    tell_arguments(&sink, 1, "{\"x\": 1}");
    assert_int_equal(recorder.sent.n, 0);
    end(QVL_ASK_TOOL_CALLS);
    assert_sent(HEAD
                "'message':{'role':'assistant','content':'ab','thinking':'hm','tool_calls':[{'id':'call_0',"
                "'function':{'index':0,'name':'f','arguments':{}}},{'id':'call_1','function':{'index':1,'name':'g',"
                "'arguments':{'x': 1}}}]},'done':true,'done_reason':'stop'" METRICS "|");
    assert_int_equal(recorder.n_begin, 0);
}

static void nothing_asked_is_done_at_once(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    assert_false(qvl_bytes_add_text(&recorder.sent, "", &err));
    assert_int_equal(qvl_ollama_write_nothing(&chat, "load", &recorder.sent, &err), QVL_OK);
    assert_sent(HEAD "'message':{'role':'assistant','content':''},'done':true,'done_reason':'load'}");
    struct qvl_ollama_writer_settings set = chat;
    set.is_chat = false;
    assert_int_equal(qvl_ollama_write_nothing(&set, "unload", &recorder.sent, &err), QVL_OK);
    assert_sent(HEAD "'response':'','done':true,'done_reason':'unload'}");
}

/* ---- models -------------------------------------------------------------------------------------- */

static const struct qvl_sampling sampling = {
    .temperature = 0.7f, .top_k = 20, .top_p = 0.8f, .repetition_penalty = 1};

/* SHA-256 of the inspection is another program's: printf %s '…' | sha256sum */
#define INSPECTION "{\"text\":{\"hidden\":2048},\"weights\":{\"quantization\":\"q4\"}}"
#define DIGEST "0d4b1a4bc48064cd8f0f8d4f4da4e4ed7d0fce95f907ed3954705813318ca830"
#define DETAILS                                                                                                    \
    "'details':{'parent_model':'','format':'safetensors','family':'qwen3vl','families':['qwen3vl'],"               \
    "'parameter_size':'2.1B','quantization_level':'q4'}"

static void the_model_is_listed(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    struct qvl_engine_info info = {
        .inspect_json = INSPECTION, .n_ctx = 4096, .n_parameter = 2130000000, .weight_bytes = 99};
    const struct qvl_ollama_model model = {.name = "a", .info = &info, .sampling = &sampling, .since = "T"};
    assert_int_equal(qvl_ollama_tags_json(&model, &recorder.sent, &err), QVL_OK);
    assert_sent("{'models':[{'name':'a','model':'a','size':99,'digest':'" DIGEST "'," DETAILS
                ",'modified_at':'T','capabilities':['completion','vision','tools']}]}");
    assert_int_equal(qvl_ollama_ps_json(&model, &recorder.sent, &err), QVL_OK);
    assert_sent("{'models':[{'name':'a','model':'a','size':99,'digest':'" DIGEST "'," DETAILS
                ",'expires_at':'2999-12-31T23:59:59Z','size_vram':0,'context_length':4096}]}");
    info.is_thinking = true;
    assert_int_equal(qvl_ollama_show_json(&model, &recorder.sent, &err), QVL_OK);
    assert_sent(
        "{'modelfile':'','template':'','parameters':'temperature 0.7\\ntop_k 20\\ntop_p 0.8\\nmin_p 0\\n"
        "repeat_penalty 1\\npresence_penalty 0\\nfrequency_penalty 0'," DETAILS
        ",'model_info':{'general.architecture':'qwen3vl','general.parameter_count':2130000000,"
        "'qwen3vl.context_length':4096,'qwen3vl.embedding_length':2048},'capabilities':['completion','vision',"
        "'tools','thinking'],'modified_at':'T'}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(each_piece_of_a_chat_is_a_line, clean),
        cmocka_unit_test_teardown(each_piece_of_a_prompts_answer_is_a_line, clean),
        cmocka_unit_test_teardown(a_call_comes_when_it_is_whole, clean),
        cmocka_unit_test_teardown(of_a_call_that_was_cut_there_is_nothing, clean),
        cmocka_unit_test_teardown(log_probabilities_stand_beside_their_text, clean),
        cmocka_unit_test_teardown(a_failure_in_a_stream_is_a_line, clean),
        cmocka_unit_test_teardown(a_sign_of_life_is_a_blank, clean),
        cmocka_unit_test_teardown(a_client_that_left_is_noticed_at_once, clean),
        cmocka_unit_test_teardown(a_whole_reply_has_all_in_one, clean),
        cmocka_unit_test_teardown(nothing_asked_is_done_at_once, clean),
        cmocka_unit_test_teardown(the_model_is_listed, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
