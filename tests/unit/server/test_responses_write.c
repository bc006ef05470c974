/* Responses replies, byte for byte: events and whole. Expected: openai-openapi's schemas Response and
 * ResponseStreamEvent (each event's members), the order in which OpenAI's SDKs put them together again. */
#include "server/openai_responses_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "answer_recorder.h"
#include "server/answer_json.h"

static struct qvl_error err;
static struct answer_recorder recorder;
static struct qvl_responses_writer writer;
static struct qvl_ask_sink sink;

static uint64_t now_s(void)
{
    return 9;
}

static void open_writer(bool is_streamed, bool want_logprobs)
{
    const struct qvl_responses_writer_settings set = {.id = "resp_7",
                                                      .model = "m\"1",
                                                      .echo = "\"metadata\":{}",
                                                      .created_s = 5,
                                                      .seed = 3,
                                                      .now_s = now_s,
                                                      .is_streamed = is_streamed,
                                                      .want_logprobs = want_logprobs};
    const struct qvl_chat_out out = recorder_out(&recorder);
    qvl_responses_writer_free(&writer);
    qvl_responses_writer_init(&writer, &set, &out);
    sink = qvl_responses_writer_sink(&writer);
}

static int clean(void **state)
{
    (void)state;
    qvl_responses_writer_free(&writer);
    recorder_free(&recorder);
    return 0;
}

/* ---- what is expected ---------------------------------------------------------------------------- */

static struct qvl_bytes want;
static int n_want;

static void expect_text(const char *text)
{
    assert_false(qvl_bytes_add_text(&want, text, &err));
}

/* An event with these members, written with ' for ". */
static void expect(const char *type, const char *members)
{
    char *copy = strdup(members);
    assert_non_null(copy);
    for (char *c = copy; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    assert_false(qvl_bytes_add_format(&want, &err,
                                      "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%d%s}\n\n|", type,
                                      type, n_want++, copy));
    free(copy);
}

/* A response's text around its output and what follows the echo. */
static char *response(const char *status, const char *completed, const char *failure, const char *why,
                      const char *output, const char *rest)
{
    struct qvl_bytes text = {0};
    assert_false(qvl_bytes_add_format(&text, &err,
                                      "{'id':'resp_7','object':'response','created_at':5,'status':'%s',"
                                      "'completed_at':%s,'error':%s,'incomplete_details':%s,'model':'m\\\"1',"
                                      "'output':[%s],'metadata':{},'usage':%s}",
                                      status, completed, failure, why, output, rest));
    for (char *c = text.data; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    return text.data;
}

static const char usage_json[] =
    "{'input_tokens':30,'input_tokens_details':{'cached_tokens':10,'cache_write_tokens':0,'image_tokens':12,"
    "'video_tokens':6},'output_tokens':7,'output_tokens_details':{'reasoning_tokens':2},'total_tokens':37}";

/* The usage and what only qvl says. */
static char *ending(void)
{
    struct qvl_bytes text = {0};
    assert_false(qvl_bytes_add_format(&text, &err, "%s,'timings':", usage_json));
    assert_false(qvl_answer_timings_json(&text, &recorder_usage, &err));
    assert_false(qvl_bytes_add_text(&text, ",'qvl':{'seed':3,'media':[]}", &err));
    return text.data;
}

static void expect_response(const char *type, char *text)
{
    struct qvl_bytes members = {0};
    assert_false(qvl_bytes_add_format(&members, &err, ",'response':%s", text));
    expect(type, members.data);
    qvl_bytes_free(&members);
    free(text);
}

static void expect_beginning(void)
{
    want.n = 0;
    n_want = 0;
    expect_response("response.created", response("in_progress", "null", "null", "null", "", "null"));
    expect_response("response.in_progress", response("in_progress", "null", "null", "null", "", "null"));
}

static void assert_sent(void)
{
    assert_non_null(recorder.sent.data);
    if (strcmp(recorder.sent.data, want.data) != 0)
        fail_msg("sent:\n%s\nwant:\n%s", recorder.sent.data, want.data);
    qvl_bytes_free(&want);
}

/* ---- streams ------------------------------------------------------------------------------------- */

static void a_text_is_a_message_with_one_part(void **state)
{
    (void)state;
    char *rest = ending();
    static const char done[] = "{'id':'msg_7_0','type':'message','status':'completed','role':'assistant','content':"
                               "[{'type':'output_text','annotations':[],'logprobs':[],'text':'Hi \\n'}]}";
    open_writer(true, false);
    assert_true(sink.begin(sink.user, &recorder_usage));
    tell_token(&sink, "", 2); /* lets nothing out */
    tell_text(&sink, "Hi");
    tell_text(&sink, " \n");
    assert_true(sink.finish(sink.user, 0, QVL_ASK_STOP, "x"));
    assert_true(sink.end(sink.user, &recorder_usage));
    expect_beginning();
    expect("response.output_item.added", ",'output_index':0,'item':{'id':'msg_7_0','type':'message','status':"
                                         "'in_progress','role':'assistant','content':[]}");
    expect("response.content_part.added", ",'item_id':'msg_7_0','output_index':0,'content_index':0,'part':{'type':"
                                          "'output_text','annotations':[],'logprobs':[],'text':''}");
    expect("response.output_text.delta",
           ",'item_id':'msg_7_0','output_index':0,'content_index':0,'delta':'Hi','logprobs':[]");
    expect("response.output_text.delta",
           ",'item_id':'msg_7_0','output_index':0,'content_index':0,'delta':' \\n','logprobs':[]");
    expect("response.output_text.done",
           ",'item_id':'msg_7_0','output_index':0,'content_index':0,'text':'Hi \\n','logprobs':[]");
    expect("response.content_part.done", ",'item_id':'msg_7_0','output_index':0,'content_index':0,'part':{'type':"
                                         "'output_text','annotations':[],'logprobs':[],'text':'Hi \\n'}");
    struct qvl_bytes item = {0};
    assert_false(qvl_bytes_add_format(&item, &err, ",'output_index':0,'item':%s", done));
    expect("response.output_item.done", item.data);
    expect_response("response.completed", response("completed", "9", "null", "null", done, rest));
    assert_sent();
    assert_int_equal(recorder.n_begin, 1);
    qvl_bytes_free(&item);
    free(rest);
}

static void reasoning_message_and_calls_are_items_in_a_row(void **state)
{
    (void)state;
    char *rest = ending();
    static const char items[] =
        "{'id':'rs_7_0','type':'reasoning','status':'completed','summary':[],'content':[{'type':'reasoning_text','"
        "text':"
        "'hm'}]},"
        "{'id':'msg_7_1','type':'message','status':'completed','role':'assistant','content':[{'type':'output_text',"
        "'annotations':[],'logprobs':[],'text':'I look.'}]},"
        "{'id':'fc_7_2','type':'function_call','status':'completed','call_id':'call_0','name':'f','arguments':"
        "'{\\\"a\\\":1}'},"
        "{'id':'fc_7_3','type':'function_call','status':'completed','call_id':'call_1','name':'g','arguments':'{}'"
        "}";
    open_writer(true, false);
    assert_true(sink.begin(sink.user, &recorder_usage));
    tell_reasoning(&sink, "hm");
    tell_text(&sink, "I look.");
    tell_call(&sink, 0, "f");
    tell_arguments(&sink, 0, "{\"a\"");
    tell_arguments(&sink, 0, ":1}");
    tell_call(&sink, 1, "g");
    tell_arguments(&sink, 1, "{}");
    assert_true(sink.finish(sink.user, 0, QVL_ASK_TOOL_CALLS, NULL));
    assert_true(sink.end(sink.user, &recorder_usage));
    expect_beginning();
    expect("response.output_item.added", ",'output_index':0,'item':{'id':'rs_7_0','type':'reasoning','status':"
                                         "'in_progress','summary':[],'content':[]}");
    expect("response.content_part.added", ",'item_id':'rs_7_0','output_index':0,'content_index':0,'part':{'type':"
                                          "'reasoning_text','text':''}");
    expect("response.reasoning_text.delta", ",'item_id':'rs_7_0','output_index':0,'content_index':0,'delta':'hm'");
    expect("response.reasoning_text.done", ",'item_id':'rs_7_0','output_index':0,'content_index':0,'text':'hm'");
    expect("response.content_part.done", ",'item_id':'rs_7_0','output_index':0,'content_index':0,'part':{'type':"
                                         "'reasoning_text','text':'hm'}");
    expect("response.output_item.done",
           ",'output_index':0,'item':{'id':'rs_7_0','type':'reasoning','status':'completed','summary':[],'content':"
           "[{'type':'reasoning_text','text':'hm'}]}");
    expect("response.output_item.added", ",'output_index':1,'item':{'id':'msg_7_1','type':'message','status':"
                                         "'in_progress','role':'assistant','content':[]}");
    expect("response.content_part.added", ",'item_id':'msg_7_1','output_index':1,'content_index':0,'part':{'type':"
                                          "'output_text','annotations':[],'logprobs':[],'text':''}");
    expect("response.output_text.delta",
           ",'item_id':'msg_7_1','output_index':1,'content_index':0,'delta':'I look.','logprobs':[]");
    expect("response.output_text.done",
           ",'item_id':'msg_7_1','output_index':1,'content_index':0,'text':'I look.','logprobs':[]");
    expect("response.content_part.done", ",'item_id':'msg_7_1','output_index':1,'content_index':0,'part':{'type':"
                                         "'output_text','annotations':[],'logprobs':[],'text':'I look.'}");
    expect("response.output_item.done",
           ",'output_index':1,'item':{'id':'msg_7_1','type':'message','status':'completed','role':'assistant','"
           "content':"
           "[{'type':'output_text','annotations':[],'logprobs':[],'text':'I look.'}]}");
    expect("response.output_item.added", ",'output_index':2,'item':{'id':'fc_7_2','type':'function_call','status':"
                                         "'in_progress','call_id':'call_0','name':'f','arguments':''}");
    expect("response.function_call_arguments.delta", ",'item_id':'fc_7_2','output_index':2,'delta':'{\\\"a\\\"'");
    expect("response.function_call_arguments.delta", ",'item_id':'fc_7_2','output_index':2,'delta':':1}'");
    expect("response.function_call_arguments.done",
           ",'item_id':'fc_7_2','output_index':2,'arguments':'{\\\"a\\\":1}'");
    expect("response.output_item.done",
           ",'output_index':2,'item':{'id':'fc_7_2','type':'function_call','status':'completed','call_id':'call_0',"
           "'name':'f','arguments':'{\\\"a\\\":1}'}");
    expect("response.output_item.added", ",'output_index':3,'item':{'id':'fc_7_3','type':'function_call','status':"
                                         "'in_progress','call_id':'call_1','name':'g','arguments':''}");
    expect("response.function_call_arguments.delta", ",'item_id':'fc_7_3','output_index':3,'delta':'{}'");
    expect("response.function_call_arguments.done", ",'item_id':'fc_7_3','output_index':3,'arguments':'{}'");
    expect("response.output_item.done", ",'output_index':3,'item':{'id':'fc_7_3','type':'function_call','status':"
                                        "'completed','call_id':'call_1','name':'g','arguments':'{}'}");
    expect_response("response.completed", response("completed", "9", "null", "null", items, rest));
    assert_sent();
    free(rest);
}

static void what_was_cut_is_incomplete(void **state)
{
    (void)state;
    char *rest = ending();
    static const char items[] =
        "{'id':'msg_7_0','type':'message','status':'incomplete','role':'assistant','content':"
        "[{'type':'output_text','annotations':[],'logprobs':[],'text':'Hi'}]}";
    open_writer(true, false);
    assert_true(sink.begin(sink.user, &recorder_usage));
    tell_text(&sink, "Hi");
    assert_true(sink.finish(sink.user, 0, QVL_ASK_LENGTH, NULL));
    recorder.sent.n = 0;
    assert_true(sink.end(sink.user, &recorder_usage));
    want.n = 0;
    n_want = 8;
    expect_response("response.incomplete",
                    response("incomplete", "null", "null", "{'reason':'max_output_tokens'}", items, rest));
    assert_sent();
    free(rest);
}

/* Tokens of a call are none of the text, and one that ends the answer neither; half a character's bytes are told.
 */
static void log_probabilities_stand_beside_their_text(void **state)
{
    (void)state;
    static const char b[] = "{'token':'b','logprob':-1,'bytes':[98],'top_logprobs':[{'token':'b','logprob':-0.5,"
                            "'bytes':[98]},{'token':'<|im_end|>','logprob':-1.5,'bytes':[60,124,105,109,95,101,110,"
                            "100,124,62]}]}";
    static const char half[] =
        "{'token':'\xEF\xBF\xBD\xEF\xBF\xBD','logprob':-1,'bytes':[228,184],'top_logprobs':[{'token':'b',"
        "'logprob':-0.5,'bytes':[98]},{'token':'<|im_end|>','logprob':-1.5,'bytes':[60,124,105,"
        "109,95,101,110,100,124,62]}]}";
    char text[2000];
    open_writer(true, true);
    assert_true(sink.begin(sink.user, &recorder_usage));
    tell_token(&sink, "", 8);
    recorder.sent.n = 0;
    tell_token(&sink, "\xE4\xB8\xAD", 1);
    want.n = 0;
    n_want = 2;
    expect("response.output_item.added", ",'output_index':0,'item':{'id':'msg_7_0','type':'message','status':"
                                         "'in_progress','role':'assistant','content':[]}");
    expect("response.content_part.added", ",'item_id':'msg_7_0','output_index':0,'content_index':0,'part':{'type':"
                                          "'output_text','annotations':[],'logprobs':[],'text':''}");
    snprintf(text, sizeof text,
             ",'item_id':'msg_7_0','output_index':0,'content_index':0,'delta':'\xE4\xB8\xAD','logprobs':[%s,%s]",
             half, b);
    expect("response.output_text.delta", text);
    assert_sent();
    tell_token(&sink, "", 3); /* the call's */
    recorder.sent.n = 0;
    tell_call(&sink, 0, "f");
    snprintf(text, sizeof text,
             ",'item_id':'msg_7_0','output_index':0,'content_index':0,'text':'\xE4\xB8\xAD','logprobs':[%s,%s]",
             half, b);
    want.n = 0;
    n_want = 5;
    expect("response.output_text.done", text);
    assert_memory_equal(recorder.sent.data, want.data, want.n);
    qvl_bytes_free(&want);
}

static void fail_in_stream(enum qvl_status status, const char *sentence)
{
    struct qvl_error failure = {.status = status};
    open_writer(true, false);
    assert_true(sink.begin(sink.user, &recorder_usage));
    recorder.sent.n = 0;
    snprintf(failure.text, sizeof failure.text, "%s", sentence);
    (sink.fail)(sink.user, &failure, &recorder_usage);
    assert_int_equal(recorder.n_fail, 0);
}

static void a_failure_in_a_stream_is_its_last_event(void **state)
{
    (void)state;
    static const struct {
        enum qvl_status status;
        const char *code;
    } row[] = {{QVL_ERR_MEDIA, "image_parse_error"}, {QVL_ERR_CANCELLED, "server_error"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct qvl_bytes told = {0};
        fail_in_stream(row[i].status, "so it is");
        want.n = 0;
        n_want = 2;
        assert_false(qvl_bytes_add_format(&told, &err, "{'code':'%s','message':'so it is'}", row[i].code));
        expect_response("response.failed", response("failed", "null", told.data, "null", "", usage_json));
        assert_sent();
        qvl_bytes_free(&told);
    }
    fail_in_stream(QVL_ERR_INTERNAL, "/etc/secret");
    assert_null(strstr(recorder.sent.data, "secret"));
    assert_non_null(
        strstr(recorder.sent.data, "\"error\":{\"code\":\"server_error\",\"message\":\"an internal fault"));
}

static void before_the_stream_a_failure_is_a_reply(void **state)
{
    (void)state;
    const struct qvl_error failure = {QVL_ERR_LIMIT, "too long"};
    for (int is_streamed = 0; is_streamed < 2; is_streamed++) {
        open_writer(is_streamed, false);
        (sink.fail)(sink.user, &failure, &recorder_usage);
        assert_int_equal(recorder.n_fail, 1);
        assert_int_equal(recorder.n_begin, 0);
        assert_int_equal(recorder.sent.n, 0);
    }
    open_writer(false, false);
    assert_true(sink.begin(sink.user, &recorder_usage));
    (sink.fail)(sink.user, &failure, &recorder_usage);
    assert_int_equal(recorder.n_fail, 1);
}

static void a_client_that_left_is_noticed_at_once(void **state)
{
    (void)state;
    const struct qvl_ask_text text = {.utf8 = "x", .n = 1};
    for (int n = 0; n < 5; n++) {
        open_writer(true, false);
        recorder.n_left = n;
        bool goes_on = sink.begin(sink.user, &recorder_usage);
        assert_true(goes_on == (n >= 2));
        if (goes_on)
            assert_false(sink.text(sink.user, 0, &text));
        assert_int_equal(recorder.n_left, -1);
    }
}

/* Also while a question is prepared: then the stream begins with it. */
static void a_sign_of_life_is_a_comment(void **state)
{
    (void)state;
    for (int has_begun = 0; has_begun < 2; has_begun++) {
        open_writer(true, false);
        if (has_begun)
            assert_true(sink.begin(sink.user, &recorder_usage));
        assert_true(sink.idle(sink.user));
        assert_true(sink.begin(sink.user, &recorder_usage));
        expect_beginning();
        expect_text(": ping\n\n|");
        assert_sent();
        assert_int_equal(recorder.n_begin, 1);
    }
    open_writer(false, false);
    assert_true(sink.idle(sink.user));
    assert_int_equal(recorder.sent.n, 0);
}

static void progress_is_told_on_request(void **state)
{
    (void)state;
    struct qvl_event event = {.kind = QVL_EVENT_PROGRESS};
    event.progress.stage = QVL_STAGE_VISION;
    event.progress.done = 3;
    event.progress.total = 8;
    event.progress.i_media = 1;
    event.progress.n_media = 2;
    open_writer(true, false);
    assert_true(sink.progress(sink.user, &event));
    assert_int_equal(recorder.sent.n, 0);
    writer.set.want_progress = true;
    assert_true(sink.begin(sink.user, &recorder_usage));
    recorder.sent.n = 0;
    assert_true(sink.progress(sink.user, &event));
    want.n = 0;
    n_want = 2;
    expect("response.progress", ",'stage':'vision','done':3,'total':8,'i_media':1,'n_media':2");
    assert_sent();
}

/* ---- whole replies ------------------------------------------------------------------------------- */

static void a_whole_reply_is_the_last_events_response(void **state)
{
    (void)state;
    char *rest = ending();
    open_writer(false, false);
    assert_true(sink.begin(sink.user, &recorder_usage));
    tell_text(&sink, "H");
    tell_text(&sink, "i");
    assert_true(sink.finish(sink.user, 0, QVL_ASK_STOP, NULL));
    assert_int_equal(recorder.sent.n, 0);
    assert_true(sink.end(sink.user, &recorder_usage));
    char *text = response("completed", "9", "null", "null",
                          "{'id':'msg_7_0','type':'message','status':'completed','role':'assistant','content':"
                          "[{'type':'output_text','annotations':[],'logprobs':[],'text':'Hi'}]}",
                          rest);
    expect_text(text);
    expect_text("|");
    assert_sent();
    assert_int_equal(recorder.n_begin, 0);
    free(text);
    free(rest);
}

static void an_answer_without_a_word_is_an_empty_message(void **state)
{
    (void)state;
    open_writer(false, false);
    assert_true(sink.begin(sink.user, &recorder_usage));
    assert_true(sink.finish(sink.user, 0, QVL_ASK_STOP, NULL));
    assert_true(sink.end(sink.user, &recorder_usage));
    assert_non_null(strstr(recorder.sent.data,
                           "\"output\":[{\"id\":\"msg_7_0\",\"type\":\"message\",\"status\":"
                           "\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":"
                           "\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"\"}]}]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_text_is_a_message_with_one_part, clean),
        cmocka_unit_test_teardown(reasoning_message_and_calls_are_items_in_a_row, clean),
        cmocka_unit_test_teardown(what_was_cut_is_incomplete, clean),
        cmocka_unit_test_teardown(log_probabilities_stand_beside_their_text, clean),
        cmocka_unit_test_teardown(a_failure_in_a_stream_is_its_last_event, clean),
        cmocka_unit_test_teardown(before_the_stream_a_failure_is_a_reply, clean),
        cmocka_unit_test_teardown(a_client_that_left_is_noticed_at_once, clean),
        cmocka_unit_test_teardown(a_sign_of_life_is_a_comment, clean),
        cmocka_unit_test_teardown(progress_is_told_on_request, clean),
        cmocka_unit_test_teardown(a_whole_reply_is_the_last_events_response, clean),
        cmocka_unit_test_teardown(an_answer_without_a_word_is_an_empty_message, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
