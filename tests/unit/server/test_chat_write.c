/* Chat Completions replies, byte for byte: whole and as a stream. Expected: OpenAI's schemas
 * CreateChatCompletionResponse and CreateChatCompletionStreamResponse, what its SDKs ask of a stream, llama.cpp's
 * names of timings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/answer_json.h"
#include "server/openai_chat_write.h"

static struct qvl_error err;
static struct qvl_bytes sent; /* each piece, with "|" behind it */
static struct qvl_chat_writer writer;
static struct qvl_ask_sink sink;
static int n_begin, n_fail, n_left; /* n_left: sends until the client is gone */

/* ---- helpers ------------------------------------------------------------------------------------- */

static bool begin(void *user)
{
    (void)user;
    n_begin++;
    return true;
}

static bool take(void *user, const char *data, size_t n)
{
    (void)user;
    if (n_left-- == 0)
        return false;
    assert_false(qvl_bytes_add(&sent, data, n, &err));
    assert_false(qvl_bytes_add_text(&sent, "|", &err));
    return true;
}

static void fail_plainly(void *user, const struct qvl_error *failure, const struct qvl_ask_usage *usage)
{
    (void)user, (void)usage;
    n_fail += failure->status == QVL_ERR_LIMIT;
}

/* Token 9 is special, 8 is half a character, the others are letters. */
static const char *token(void *user, uint32_t id, size_t *n, bool *is_special)
{
    static const char letters[] = "abcdefgh";
    (void)user;
    *is_special = id == 9;
    *n = id == 9 ? 10 : id == 8 ? 2 : 1;
    return id == 9 ? "<|im_end|>" : id == 8 ? "\xE4\xB8" : letters + id;
}

static void open_writer(struct qvl_chat_writer_settings set)
{
    const struct qvl_chat_out out = {.begin = begin, .send = take, .fail = fail_plainly, .token = token};
    set.id = "chatcmpl-1";
    set.model = "m\"1";
    set.fingerprint = "f";
    set.created_s = 7;
    set.seed = 5;
    set.n = set.n ? set.n : 1;
    qvl_chat_writer_free(&writer);
    sent.n = 0;
    n_begin = n_fail = 0;
    n_left = -1;
    assert_false(qvl_chat_writer_init(&writer, &set, &out, &err));
    sink = qvl_chat_writer_sink(&writer);
}

static int clean(void **state)
{
    (void)state;
    qvl_chat_writer_free(&writer);
    qvl_bytes_free(&sent);
    return 0;
}

static void say(uint32_t i, const char *utf8)
{
    const struct qvl_ask_text text = {.utf8 = utf8, .n = strlen(utf8)};
    assert_true(sink.text(sink.user, i, &text));
}

static void think(const char *utf8)
{
    const struct qvl_ask_text text = {.utf8 = utf8, .n = strlen(utf8), .is_reasoning = true};
    assert_true(sink.text(sink.user, 0, &text));
}

static const struct qvl_token_logit top[2] = {{1, 2.0f}, {9, 1.0f}};

static void say_token(const char *utf8, uint32_t id)
{
    struct qvl_event event = {.kind = QVL_EVENT_TEXT};
    event.text.id = id;
    event.text.logit = 1.5f;
    event.text.log_sum = 2.5f;
    event.text.top = top;
    event.text.n_top = 2;
    const struct qvl_ask_text text = {.utf8 = utf8, .n = strlen(utf8), .token = &event};
    assert_true(sink.text(sink.user, 0, &text));
}

static void call(uint32_t i, const char *name)
{
    char id[16];
    snprintf(id, sizeof id, "call_%u", i);
    assert_true(sink.call(sink.user, 0, i, id, name));
}

static void arguments(uint32_t i, const char *utf8)
{
    assert_true(sink.arguments(sink.user, 0, i, utf8, strlen(utf8)));
}

static const struct qvl_ask_usage usage = {.n_prompt_tok = 30,
                                           .n_cached_tok = 10,
                                           .n_image_tok = 12,
                                           .n_output_tok = 4,
                                           .n_reasoning_tok = 1,
                                           .queue_ms = 1,
                                           .media_ms = 2,
                                           .vision_ms = 30,
                                           .prefill_ms = 10,
                                           .generate_ms = 8,
                                           .first_token_ms = 45};

static void end(enum qvl_ask_finish finish, const char *stop)
{
    for (uint32_t i = 0; i < writer.set.n; i++)
        assert_true(sink.finish(sink.user, i, finish, stop));
    sink.end(sink.user, &usage);
}

#define HEAD(object)                                                                                               \
    "{\"id\":\"chatcmpl-1\",\"object\":\"" object "\",\"created\":7,\"model\":\"m\\\"1\","                         \
    "\"system_fingerprint\":\"f\",\"choices\":["
#define CHUNK HEAD("chat.completion.chunk")
#define DELTA(i, members)                                                                                          \
    "data: " CHUNK "{\"index\":" i ",\"delta\":{" members "},\"logprobs\":null,\"finish_reason\":null}"
#define ROLE "\"role\":\"assistant\",\"content\":\"\""
#define END(i, reason)                                                                                             \
    "data: " CHUNK "{\"index\":" i ",\"delta\":{},\"logprobs\":null,\"finish_reason\":\"" reason "\"}]"
#define USAGE                                                                                                      \
    "\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":4,\"total_tokens\":34,\"prompt_tokens_details\":{"      \
    "\"cached_tokens\":10,\"image_tokens\":12,\"video_tokens\":0,\"text_tokens\":18},\"completion_tokens_"         \
    "details\":{"                                                                                                  \
    "\"reasoning_tokens\":1}}"
#define TIMINGS                                                                                                    \
    "\"timings\":{\"cache_n\":10,\"prompt_n\":20,\"prompt_ms\":40.000,\"prompt_per_token_ms\":2.000,"              \
    "\"prompt_per_second\":500.000,\"predicted_n\":4,\"predicted_ms\":8.000,\"predicted_per_token_ms\":2.000,"     \
    "\"predicted_per_second\":500.000,\"draft_n\":0,\"draft_n_accepted\":0,\"queue_ms\":1.000,\"decode_ms\":2."    \
    "000,"                                                                                                         \
    "\"vision_ms\":30.000,\"prefill_ms\":10.000,\"first_token_ms\":45.000}"
#define OWN TIMINGS ",\"qvl\":{\"seed\":5,\"media\":[]}"

/* ---- streams ------------------------------------------------------------------------------------- */

static void test_stream(void **state)
{
    (void)state;
    open_writer((struct qvl_chat_writer_settings){.is_streamed = true});
    assert_true(sink.begin(sink.user, &usage));
    assert_int_equal(n_begin, 1);
    say(0, "中\n");
    assert_true(sink.idle(sink.user));
    say(0, "");
    say(0, "\"");
    end(QVL_ASK_STOP, NULL);
    assert_string_equal(
        sent.data, DELTA("0", ROLE) "]}\n\n|" DELTA("0", "\"content\":\"中\\n\"") "]}\n\n|: ping\n\n|" DELTA(
                       "0", "\"content\":\"\\\"\"") "]}\n\n|" END("0", "stop") "," OWN "}\n\n|data: [DONE]\n\n|");
}

static void test_stream_with_usage(void **state)
{
    (void)state;
    struct qvl_event event = {.kind = QVL_EVENT_PROGRESS};
    event.progress.stage = QVL_STAGE_PREFILL;
    event.progress.done = 3;
    event.progress.total = 9;
    open_writer((struct qvl_chat_writer_settings){.is_streamed = true, .want_usage = true});
    assert_true(sink.begin(sink.user, &usage) && sink.progress(sink.user, &event)); /* not asked for: not sent */
    say(0, "x");
    end(QVL_ASK_LENGTH, NULL);
    assert_string_equal(
        sent.data,
        DELTA("0", ROLE) "],\"usage\":null}\n\n|" DELTA("0", "\"content\":\"x\"") "],\"usage\":null}\n\n|" END(
            "0", "length") ",\"usage\":null}\n\n|data: " CHUNK "]," USAGE "," OWN "}\n\n|data: [DONE]\n\n|");
    open_writer((struct qvl_chat_writer_settings){.is_streamed = true, .want_progress = true});
    assert_true(sink.progress(sink.user, &event));
    assert_string_equal(sent.data, "data: " CHUNK "],\"progress\":{\"stage\":\"prefill\",\"done\":3,\"total\":9,"
                                   "\"i_media\":0,\"n_media\":0}}\n\n|");
}

static void test_stream_of_two(void **state)
{
    (void)state;
    open_writer((struct qvl_chat_writer_settings){.is_streamed = true, .n = 2});
    assert_true(sink.begin(sink.user, &usage));
    say(1, "b");
    say(0, "a");
    end(QVL_ASK_STOP, "END");
    assert_string_equal(
        sent.data,
        DELTA("0", ROLE) "]}\n\n|" DELTA("1", ROLE) "]}\n\n|" DELTA("1", "\"content\":\"b\"") "]}\n\n|" DELTA(
            "0", "\"content\":\"a\"") "]}\n\n|data: " CHUNK "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_"
                                      "reason\":\"stop\",\"stop_reason\":\"END\"}]}"
                                      "\n\n|data: " CHUNK "{\"index\":1,\"delta\":{},\"logprobs\":null,\"finish_"
                                      "reason\":\"stop\",\"stop_reason\":\"END\"}]," OWN "}\n\n|data: [DONE]\n\n|");
}

static void test_stream_of_calls(void **state)
{
    (void)state;
    open_writer((struct qvl_chat_writer_settings){.is_streamed = true});
    assert_true(sink.begin(sink.user, &usage));
    think("Hm");
    say(0, "I look.");
    call(0, "f");
    arguments(0, "{\"a\":");
    arguments(0, " \"中\"}");
    call(1, "g");
    arguments(1, "{}");
    end(QVL_ASK_TOOL_CALLS, NULL);
    assert_string_equal(
        sent.data,
        DELTA("0", ROLE) "]}\n\n|" DELTA("0", "\"reasoning_content\":\"Hm\"") "]}\n\n|" DELTA(
            "0",
            "\"co"
            "nten"
            "t\":"
            "\"I "
            "look"
            ".\"") "]}\n\n|" DELTA("0",
                                   "\"tool_calls\":[{\"index\":0,\"id\":\"call_0\",\"type\":\"function\","
                                   "\"function\":{"
                                   "\"name\":"
                                   "\"f\",\"arguments\":\"\"}}]") "]}\n\n|" DELTA("0",
                                                                                  "\"tool_calls\":[{\"index\":0,"
                                                                                  "\"function\":{\"arguments\":\"{"
                                                                                  "\\\"a\\\":\"}}]") "]}"
                                                                                                     "\n\n|" DELTA(
                                                                                                         "0",
                                                                                                         "\"to"
                                                                                                         "ol_"
                                                                                                         "call"
                                                                                                         "s\":"
                                                                                                         "[{"
                                                                                                         "\"in"
                                                                                                         "dex"
                                                                                                         "\":"
                                                                                                         "0,"
                                                                                                         "\"fu"
                                                                                                         "ncti"
                                                                                                         "on\""
                                                                                                         ":{"
                                                                                                         "\"ar"
                                                                                                         "gume"
                                                                                                         "nts"
                                                                                                         "\":"
                                                                                                         "\" "
                                                                                                         "\\\""
                                                                                                         "中\\"
                                                                                                         "\"}"
                                                                                                         "\"}}"
                                                                                                         "]") "]}"
                                                                                                              "\n\n"
                                                                                                              "|" DELTA(
                                                                                                                  "0",
                                                                                                                  "\"tool_calls\":[{\"index\":1,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":"
                                                                                                                  "\"g\",\"arguments\":\"\"}}]") "]}\n\n|" DELTA("0",
                                                                                                                                                                 "\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"{}\"}}]") "]}\n\n|" END("0",
                                                                                                                                                                                                                                                     "tool_calls") "," OWN
                                                                                                                                                                                                                                                                   "}\n\n|data: [DONE]\n\n|");
}

static void test_failures(void **state)
{
    (void)state;
    const struct qvl_error failure = {.status = QVL_ERR_LIMIT, .text = "too \"long\""};
    open_writer((struct qvl_chat_writer_settings){.is_streamed = true});
    (sink.fail)(sink.user, &failure, &usage);
    assert_int_equal(n_fail, 1); /* before the stream began: an error with a status of its own */
    assert_int_equal(sent.n, 0);
    assert_true(sink.begin(sink.user, &usage));
    sent.n = 0;
    (sink.fail)(sink.user, &failure, &usage);
    assert_int_equal(n_fail, 1);
    assert_string_equal(
        sent.data, "data: {\"error\": {\"message\": \"too \\\"long\\\"\", \"type\": \"invalid_request_error\", "
                   "\"param\": \"messages\", \"code\": \"context_length_exceeded\"}}\n\n|data: [DONE]\n\n|");
    open_writer((struct qvl_chat_writer_settings){.is_streamed = true});
    assert_true(sink.idle(sink.user)); /* preparing takes long: the stream is there already */
    (sink.fail)(sink.user, &failure, &usage);
    assert_int_equal(n_fail, 0);
    assert_memory_equal(sent.data, ": ping\n\n|data: {\"error\"", 23);
    open_writer((struct qvl_chat_writer_settings){.is_streamed = false});
    assert_true(sink.begin(sink.user, &usage));
    say(0, "x");
    (sink.fail)(sink.user, &failure, &usage); /* a whole reply has not begun before it is whole */
    assert_int_equal(n_fail, 1);
    assert_int_equal(sent.n, 0);
}

static void test_client_gone(void **state)
{
    (void)state;
    const struct qvl_ask_text text = {.utf8 = "x", .n = 1};
    open_writer((struct qvl_chat_writer_settings){.is_streamed = true});
    n_left = 1;
    assert_true(sink.begin(sink.user, &usage));
    assert_false(sink.text(sink.user, 0, &text));
    assert_int_equal(writer.err.status, QVL_OK);
}

/* ---- whole replies ------------------------------------------------------------------------------- */

static void test_whole(void **state)
{
    (void)state;
    open_writer((struct qvl_chat_writer_settings){.n = 2});
    assert_true(sink.begin(sink.user, &usage) && sink.idle(sink.user));
    assert_int_equal(n_begin, 0);
    say(0, "He");
    say(1, "");
    say(0, "llo\t");
    end(QVL_ASK_STOP, "\n");
    assert_string_equal(sent.data,
                        HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
                                                "\"Hello\\t\",\"refusal\":null},\"logprobs\":null,"
                                                "\"finish_reason\":\"stop\",\"stop_reason\":\"\\n\"},"
                                                "{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":\"\","
                                                "\"refusal\":null},\"logprobs\":null,"
                                                "\"finish_reason\":\"stop\",\"stop_reason\":\"\\n\"}]," USAGE
                                                "," OWN "}|");
}

static void test_whole_calls(void **state)
{
    (void)state;
    open_writer((struct qvl_chat_writer_settings){.n = 1});
    assert_true(sink.begin(sink.user, &usage));
    think("Two ");
    think("calls.");
    call(0, "f");
    arguments(0, "{\"a\":");
    arguments(0, "1}");
    call(1, "g\"");
    arguments(1, "{}");
    end(QVL_ASK_TOOL_CALLS, NULL);
    assert_string_equal(sent.data,
                        HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,"
                                                "\"reasoning_content\":\"Two calls.\",\"tool_calls\":["
                                                "{\"id\":\"call_0\",\"type\":\"function\",\"function\":{\"name\":"
                                                "\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},"
                                                "{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":"
                                                "\"g\\\"\",\"arguments\":\"{}\"}}],\"refusal\":null},"
                                                "\"logprobs\":null,\"finish_reason\":\"tool_calls\"}]," USAGE
                                                "," OWN "}|");
}

/* ---- log probabilities --------------------------------------------------------------------------- */

#define ENTRY(tok, bytes)                                                                                          \
    "{\"token\":\"" tok "\",\"logprob\":-1,\"bytes\":[" bytes                                                      \
    "],\"top_logprobs\":[{\"token\":\"b\",\"logprob\":-0.5,"                                                       \
    "\"bytes\":[98]},{\"token\":\"<|im_end|>\",\"logprob\":-1.5,\"bytes\":[60,124,105,109,95,101,110,100,124,62]}" \
    "]}"

static void test_logprobs(void **state)
{
    (void)state;
    open_writer((struct qvl_chat_writer_settings){.is_streamed = true, .want_logprobs = true});
    say_token("a", 0);
    say_token("", 8); /* half a character: waits for the other one */
    assert_int_equal(n_begin, 0);
    const size_t n_first = sent.n;
    say_token("中", 2);
    say_token("", 3); /* held back, and the stop string takes it */
    say_token("", 9); /* the end */
    assert_string_equal(sent.data + n_first,
                        "data: " CHUNK
                        "{\"index\":0,\"delta\":{\"content\":\"中\"},\"logprobs\":{\"content\":[" ENTRY(
                            "\xEF\xBF\xBD\xEF\xBF\xBD",
                            "228,184") "," ENTRY("c", "99") "],\"refusal\":null},\"finish_reason\":null}]}\n\n|");
    open_writer((struct qvl_chat_writer_settings){.want_logprobs = true});
    say_token("a", 0);
    say_token("", 1);
    call(0, "f"); /* tokens of calls are no content */
    say_token("", 2);
    arguments(0, "{}");
    say(0, "x");
    say_token("e", 4);
    end(QVL_ASK_TOOL_CALLS, NULL);
    assert_non_null(strstr(sent.data, "\"logprobs\":{\"content\":[" ENTRY("a", "97") "," ENTRY(
                                          "e", "101") "],\"refusal\":null},\"finish_reason\""));
}

/* ---- beside the text ----------------------------------------------------------------------------- */

static const struct qvl_media_info picture = {.kind = QVL_MEDIA_IMAGE,
                                              .name = "p",
                                              .original_h = 500,
                                              .original_w = 2000,
                                              .resized_h = 512,
                                              .resized_w = 1984,
                                              .grid_t = 1,
                                              .n_tok = 992,
                                              .n_reused = 1};

static void expect_boxes(const char *answer, const char *json)
{
    const struct qvl_ask_usage seen = {.media = &picture, .n_media = 1};
    struct qvl_bytes out = {0};
    assert_false(qvl_bytes_add_text(&out, "[", &err));
    assert_false(qvl_answer_boxes_json(&out, 0, answer, strlen(answer), &seen, &err));
    assert_string_equal(out.data, json);
    qvl_bytes_free(&out);
}

static void test_boxes(void **state)
{
    (void)state;
#define BOX "{\"choice\":0,\"label\":\"cat\",\"bbox_2d\":[200,50,1000,500]}"
    expect_boxes("[{\"bbox_2d\": [100, 100, 500, 1000], \"label\": \"cat\"}]", "[" BOX);
    expect_boxes("Here:\n```json\n[{\"label\": \"cat\", \"bbox_2d\": [100, 100, 500, 1000]}]\n```\nDone.", "[" BOX);
    expect_boxes("```json\n{\"a\": [{\"label\": \"cat\", \"bbox_2d\": [100, 100, 500, 1000]}, "
                 "{\"point_2d\": [999, 0.6]}]}",
                 "[" BOX ",{\"choice\":0,\"point_2d\":[1998,0]}");
    expect_boxes("{\"bbox_2d\": [-5, 100, 500, 2000], \"label\": \"cat\"}",
                 "[{\"choice\":0,\"label\":\"cat\",\"bbox_2d\":[0,50,1000,500]}");
    static const char *const none[] = {"",
                                       "bbox_2d",
                                       "{\"bbox_2d\": [1, 2, 3]}",
                                       "{\"bbox_2d\": [1, 2, 3, \"4\"]}",
                                       "{\"bbox_2d\": [[1, 2, 3, 4]]}",
                                       "{\"bbox_2d\": [1, 2, 3, 4]",
                                       "{\"bbox_2d\": 5}",
                                       "{\"a\": 1}",
                                       "```json"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        expect_boxes(none[i], "[");
    struct qvl_media_info two[2] = {picture, picture};
    two[1].original_w = 100;
    const struct qvl_ask_usage seen = {.media = two, .n_media = 2}, blind = {0};
    struct qvl_bytes out = {0};
    static const char answer[] = "[{\"bbox_2d\": [1, 2, 3, 4]}]";
    assert_false(qvl_answer_boxes_json(&out, 0, answer, strlen(answer), &seen, &err)); /* of which one? */
    assert_false(qvl_answer_boxes_json(&out, 0, answer, strlen(answer), &blind, &err));
    assert_int_equal(out.n, 0);
}

static void test_media(void **state)
{
    (void)state;
    static const double times[2] = {0.25, 1.26};
    const struct qvl_media_info clip = {.kind = QVL_MEDIA_VIDEO,
                                        .name = "c\"",
                                        .original_h = 10,
                                        .original_w = 20,
                                        .resized_h = 32,
                                        .resized_w = 64,
                                        .grid_t = 2,
                                        .n_tok = 4,
                                        .patch_s = times,
                                        .n_frame = 4,
                                        .n_frame_file = 100,
                                        .fps = 29.97,
                                        .duration_s = 3.5};
    struct qvl_media_info media[3] = {picture, clip, clip};
    media[2].n_frame_file = 0;
    const struct qvl_ask_usage seen = {.media = media, .n_media = 3};
    struct qvl_bytes out = {0};
    assert_false(qvl_answer_media_json(&out, &seen, &err));
    assert_string_equal(
        out.data, "[{\"kind\":\"image\",\"name\":\"p\",\"original\":[2000,500],\"used\":[1984,512],\"tokens\":992,"
                  "\"reused_tokens\":992},"
                  "{\"kind\":\"video\",\"name\":\"c\\\"\",\"original\":[20,10],\"used\":[64,32],\"tokens\":4,"
                  "\"reused_tokens\":0,\"frames\":4,\"times\":[0.2,1.3],\"fps\":29.97,\"duration_s\":3.5},"
                  "{\"kind\":\"video\",\"name\":\"c\\\"\",\"original\":[20,10],\"used\":[64,32],\"tokens\":4,"
                  "\"reused_tokens\":0,\"frames\":4,\"times\":[0.2,1.3],\"fps\":null,\"duration_s\":null}]");
    qvl_bytes_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_stream, clean),
        cmocka_unit_test_teardown(test_stream_with_usage, clean),
        cmocka_unit_test_teardown(test_stream_of_two, clean),
        cmocka_unit_test_teardown(test_stream_of_calls, clean),
        cmocka_unit_test_teardown(test_failures, clean),
        cmocka_unit_test_teardown(test_client_gone, clean),
        cmocka_unit_test_teardown(test_whole, clean),
        cmocka_unit_test_teardown(test_whole_calls, clean),
        cmocka_unit_test_teardown(test_logprobs, clean),
        cmocka_unit_test(test_boxes),
        cmocka_unit_test(test_media),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
