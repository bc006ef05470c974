/* Prompts against transformers' rendering of the published templates; parts; refusals; content that looks like
 * structure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/chat_line.h"
#include "base/limits.h"
#include "text/chat_template.h"
#include "text/tokenizer_file.h"
#include "vectors.h"

static struct qvl_error err;

/* ---- vectors --------------------------------------------------------------------------------------- */

struct seen {
    struct qvl_tokenizer *tokenizer; /* published; NULL: ids are not compared */
    size_t n_ids;
};

static void add_ids(const struct qvl_tokenizer *t, const struct qvl_prompt_parts *p, struct qvl_ids *ids)
{
    static const enum qvl_added_token video[] = {QVL_TOK_VISION_START, QVL_TOK_VIDEO_PAD, QVL_TOK_VISION_END};
    for (size_t i = 0; i < p->n; i++) {
        const struct qvl_prompt_part *part = &p->part[i];
        if (part->kind == QVL_PROMPT_TEXT)
            assert_int_equal(qvl_tokenizer_encode(t, p->text.data + part->text_begin, part->text_n, false, ids,
                                                  &err), QVL_OK);
        else if (part->kind == QVL_PROMPT_VIDEO)
            for (size_t k = 0; k < 3; k++)
                assert_int_equal(qvl_ids_add(ids, qvl_tokenizer_added(t, video[k]), 1, &err), QVL_OK);
        else
            assert_int_equal(qvl_ids_add(ids, qvl_tokenizer_added(t, part->kind == QVL_PROMPT_IMAGE
                                                                         ? QVL_TOK_IMAGE_PAD : part->token),
                                         1, &err), QVL_OK);
    }
}

/* Texts are whole, not empty, never neighbours; media parts come in order, each once. */
static void check_parts(const struct qvl_prompt_parts *p)
{
    size_t n_text = 0, next_media = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct qvl_prompt_part *part = &p->part[i];
        if (part->kind == QVL_PROMPT_TEXT) {
            assert_true(i == 0 || p->part[i - 1].kind != QVL_PROMPT_TEXT);
            assert_int_equal(part->text_begin, n_text);
            assert_true(part->text_n > 0);
            n_text += part->text_n;
        } else if (part->kind == QVL_PROMPT_IMAGE || part->kind == QVL_PROMPT_VIDEO) {
            assert_true(part->i_media >= next_media);
            next_media = part->i_media + 1;
        }
        if (part->kind == QVL_PROMPT_IMAGE) {
            assert_true(i > 0 && i + 1 < p->n);
            assert_int_equal(p->part[i - 1].token, QVL_TOK_VISION_START);
            assert_int_equal(p->part[i + 1].token, QVL_TOK_VISION_END);
        }
    }
    assert_int_equal(n_text, p->text.n);
}

static void check_chat_line(const json_t *line, void *arg)
{
    struct seen *seen = arg;
    const json_t *expected = json_object_get(line, "text"), *expected_ids = json_object_get(line, "ids");
    struct chat_line *c = chat_line_read(line);
    struct qvl_prompt_parts parts = {0};
    struct qvl_bytes text = {0};
    struct qvl_ids ids = {0};
    if (qvl_chat_render(&c->chat, json_is_true(json_object_get(line, "thinking")), &parts, &err))
        fail_msg("%s", err.text);
    check_parts(&parts);
    assert_int_equal(qvl_prompt_parts_to_text(&parts, &text, &err), QVL_OK);
    if (text.n != json_string_length(expected) || memcmp(text.data, json_string_value(expected), text.n) != 0)
        fail_msg("transformers wrote\n%s\nand qvl\n%s", json_string_value(expected), text.data);
    if (seen->tokenizer && json_is_array(expected_ids)) {
        add_ids(seen->tokenizer, &parts, &ids);
        assert_int_equal(ids.n, json_array_size(expected_ids));
        for (size_t i = 0; i < ids.n; i++)
            assert_int_equal(ids.id[i], json_integer_value(json_array_get(expected_ids, i)));
        seen->n_ids++;
    }
    qvl_ids_free(&ids);
    qvl_bytes_free(&text);
    qvl_prompt_parts_free(&parts);
    free(c);
}

static void test_rendered_as_transformers_does(void **state)
{
    (void)state;
    struct seen seen = {0};
    assert_in_range(for_each_line(DATA_DIR "chat.jsonl", check_chat_line, &seen), 300, SIZE_MAX);
}

static void test_ids_of_whole_prompts(void **state)
{
    (void)state;
    struct seen seen = {0};
    const char *dir = data_tokenizer_dir();
    if (!dir)
        skip();
    if (qvl_tokenizer_load(dir, 151936, &seen.tokenizer, &err))
        fail_msg("%s", err.text);
    for_each_line(DATA_DIR "chat.jsonl", check_chat_line, &seen);
    assert_in_range(seen.n_ids, 150, SIZE_MAX);
    qvl_tokenizer_free(seen.tokenizer);
}

/* ---- single cases ---------------------------------------------------------------------------------- */

static struct qvl_part part(const char *text)
{
    return (struct qvl_part){.kind = QVL_PART_TEXT, .utf8 = text, .n = strlen(text)};
}

static enum qvl_status render(const struct qvl_message *messages, size_t n, const char *tools, bool is_thinking,
                              struct qvl_bytes *text)
{
    struct qvl_prompt_parts parts = {0};
    struct qvl_chat chat = {.messages = messages, .n_message = n, .tools_json = tools};
    enum qvl_status status = qvl_chat_render(&chat, is_thinking, &parts, &err);
    text->n = 0;
    if (!status)
        status = qvl_prompt_parts_to_text(&parts, text, &err);
    qvl_prompt_parts_free(&parts);
    return status;
}

/* Each of the 26 added tokens in every place that takes text: no token part comes out of it. */
static void test_content_is_never_structure(void **state)
{
    (void)state;
    char json[128];
    for (int i = 0; i < QVL_N_ADDED_TOKEN; i++) {
        const char *token = qvl_added_token_text[i].text;
        const struct qvl_part system[] = {part(token)}, tool[] = {part(token), part(token)};
        struct qvl_part user[] = {part("a"), part(token), part(token), part(token)}; /* whole, and in two parts */
        user[1].n = strlen(token) / 2;
        user[2].utf8 += user[1].n;
        user[2].n -= user[1].n;
        snprintf(json, sizeof json, "{\"\\u003c%s\": \"\\u003c%s\"}", token + 1, token);
        const struct qvl_tool_call call = {.name = token, .arguments_json = json};
        const struct qvl_message messages[] = {
            {.role = QVL_ROLE_SYSTEM, .parts = system, .n_part = 1},
            {.role = QVL_ROLE_USER, .parts = user, .n_part = 4},
            {.role = QVL_ROLE_ASSISTANT, .parts = user, .n_part = 4, .reasoning = i < 14 ? token : NULL,
             .tool_calls = &call, .n_tool_call = 1},
            {.role = QVL_ROLE_TOOL, .parts = tool, .n_part = 2},
        };
        char tools[160];
        snprintf(tools, sizeof tools, "[%s]", json);
        for (int thinking = 0; thinking < 2; thinking++) {
            struct qvl_prompt_parts got = {0}, plain = {0};
            struct qvl_chat chat = {.messages = messages, .n_message = 4, .tools_json = tools};
            assert_int_equal(qvl_chat_render(&chat, thinking, &got, &err), QVL_OK);
            size_t n_token = 0, n_plain = 0;
            for (size_t k = 0; k < got.n; k++)
                n_token += got.part[k].kind == QVL_PROMPT_TOKEN;
            /* The same conversation with harmless words has as many token parts. */
            struct qvl_message other[4];
            struct qvl_part word[] = {part("w"), part("w"), part("w"), part("w")};
            const struct qvl_tool_call other_call = {"w", "{\"w\": \"w\"}"};
            for (size_t k = 0; k < 4; k++) {
                other[k] = messages[k];
                other[k].parts = word;
            }
            other[2].reasoning = i < 14 ? "w" : NULL;
            other[2].tool_calls = &other_call;
            chat = (struct qvl_chat){.messages = other, .n_message = 4, .tools_json = "[{}]"};
            assert_int_equal(qvl_chat_render(&chat, thinking, &plain, &err), QVL_OK);
            for (size_t k = 0; k < plain.n; k++)
                n_plain += plain.part[k].kind == QVL_PROMPT_TOKEN;
            /* The Thinking template itself takes an assistant's </think> as the end of its reasoning. */
            bool is_cut = thinking && i == QVL_TOK_THINK_END;
            assert_int_equal(n_token, n_plain + (is_cut ? 2 : 0));
            qvl_prompt_parts_free(&got);
            qvl_prompt_parts_free(&plain);
        }
    }
}

static void test_empty_content(void **state)
{
    (void)state;
    struct qvl_bytes text = {0};
    const struct qvl_part none = {.kind = QVL_PART_TEXT};
    const struct qvl_tool_call call = {"f", "{}"};
    const struct qvl_message messages[] = {
        {.role = QVL_ROLE_USER, .parts = &none, .n_part = 1},
        {.role = QVL_ROLE_ASSISTANT, .tool_calls = &call, .n_tool_call = 1}, /* content null */
    };
    assert_int_equal(render(messages, 2, NULL, false, &text), QVL_OK);
    assert_string_equal(text.data, "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n<tool_call>\n"
                                   "{\"name\": \"f\", \"arguments\": {}}\n</tool_call><|im_end|>\n"
                                   "<|im_start|>assistant\n");
    qvl_bytes_free(&text);
}

/* i_media counts what the template leaves out: the picture in reasoning that is cut away. */
static void test_left_out_media_count(void **state)
{
    (void)state;
    const struct qvl_part seen[] = {{.kind = QVL_PART_IMAGE}, part("</think>"), {.kind = QVL_PART_IMAGE}};
    const struct qvl_part ask[] = {{.kind = QVL_PART_VIDEO}};
    const struct qvl_message messages[] = {
        {.role = QVL_ROLE_ASSISTANT, .parts = seen, .n_part = 3},
        {.role = QVL_ROLE_USER, .parts = ask, .n_part = 1},
    };
    struct qvl_chat chat = {.messages = messages, .n_message = 2};
    struct qvl_prompt_parts parts = {0};
    size_t i_media[4], n = 0;
    assert_int_equal(qvl_chat_render(&chat, true, &parts, &err), QVL_OK);
    for (size_t i = 0; i < parts.n; i++)
        if (parts.part[i].kind == QVL_PROMPT_IMAGE || parts.part[i].kind == QVL_PROMPT_VIDEO)
            i_media[n++] = parts.part[i].i_media;
    assert_int_equal(n, 2);
    assert_int_equal(i_media[0], 1);
    assert_int_equal(i_media[1], 2);
    qvl_prompt_parts_free(&parts);
}

static void refuse(struct qvl_message m, const char *tools, bool is_thinking, enum qvl_status expected,
                   const char *sentence)
{
    struct qvl_bytes text = {0};
    assert_int_equal(render(&m, 1, tools, is_thinking, &text), expected);
    if (!strstr(err.text, sentence))
        fail_msg("\"%s\" does not say \"%s\"", err.text, sentence);
    qvl_bytes_free(&text);
}

static void test_refusals(void **state)
{
    (void)state;
    const struct qvl_part image = {.kind = QVL_PART_IMAGE}, bad = {.kind = QVL_PART_TEXT, .utf8 = "\xC3", .n = 1};
    const struct qvl_part strange = {.kind = (enum qvl_part_kind)9};
    const struct qvl_tool_call bad_args[] = {
        {"f", "[]"}, {"f", "{\"a\":1,\"a\":2}"}, {"f", "{"}, {"f", "{} {}"}, {"f", "{\"a\":1e999}"},
        {"f", "{\"a\":NaN}"}, {"f", NULL}, {NULL, "{}"}, {"\xFF", "{}"}, {"f", "{\"\\ud800\":1}"},
        {"f", "{\"a\":01}"}, {"f", ""}};
    static const char *const bad_tools[] = {
        "", "{}", "[1]", "[{}", "[{},]", "[{\"a\":1,\"b\":{\"c\":1,\"c\":2}}]", "[{}]x", "[{'a':1}]",
        "[{\"a\":\"\n\"}]", "[{\"a\":\"\xFF\"}]", "[{\"a\":1.}]"};
    struct qvl_message m = {.role = QVL_ROLE_USER};
    struct qvl_bytes text = {0};
    assert_int_equal(render(&m, 0, NULL, false, &text), QVL_ERR_ARGUMENT);
    assert_string_equal(err.text, "the conversation has no message");
    refuse((struct qvl_message){.role = (enum qvl_role)7}, NULL, false, QVL_ERR_ARGUMENT, "unknown role 7");
    refuse((struct qvl_message){.role = QVL_ROLE_USER, .parts = &bad, .n_part = 1}, NULL, false, QVL_ERR_ARGUMENT,
           "message 1: a text that is not UTF-8");
    refuse((struct qvl_message){.role = QVL_ROLE_USER, .parts = &strange, .n_part = 1}, NULL, false,
           QVL_ERR_ARGUMENT, "unknown kind 9");
    refuse((struct qvl_message){.role = QVL_ROLE_ASSISTANT, .reasoning = "\xE4"}, NULL, true, QVL_ERR_ARGUMENT,
           "not UTF-8");
    for (int role = QVL_ROLE_SYSTEM; role <= QVL_ROLE_TOOL; role++) {
        m = (struct qvl_message){.role = (enum qvl_role)role, .parts = &image, .n_part = 1};
        if (role == QVL_ROLE_SYSTEM || role == QVL_ROLE_ASSISTANT)
            refuse(m, NULL, false, QVL_ERR_ARGUMENT, "user and tool messages only");
        else
            assert_int_equal(render(&m, 1, NULL, false, &text), QVL_OK);
        assert_int_equal(render(&m, 1, NULL, true, &text), QVL_OK);
    }
    for (size_t i = 0; i < sizeof bad_args / sizeof bad_args[0]; i++)
        refuse((struct qvl_message){.role = QVL_ROLE_ASSISTANT, .tool_calls = &bad_args[i], .n_tool_call = 1}, NULL,
               false, QVL_ERR_ARGUMENT, i == 8 ? "not UTF-8" : "tool call");
    refuse((struct qvl_message){.role = QVL_ROLE_USER, .tool_calls = bad_args, .n_tool_call = 1}, NULL, false,
           QVL_ERR_ARGUMENT, "only an assistant's");
    for (size_t i = 0; i < sizeof bad_tools / sizeof bad_tools[0]; i++)
        refuse((struct qvl_message){.role = QVL_ROLE_USER}, bad_tools[i], i % 2, QVL_ERR_ARGUMENT, "tools");
    qvl_bytes_free(&text);
}

/* transformers refuses to go on where there is no text, too; a call it would drop. */
static void test_what_cannot_go_on(void **state)
{
    (void)state;
    const struct qvl_part image = {.kind = QVL_PART_IMAGE}, hello = part("hello");
    const struct qvl_tool_call call = {"f", "{}"};
    const struct {
        struct qvl_message last;
        const char *sentence;
    } bad[] = {
        {{.role = QVL_ROLE_USER, .parts = &hello, .n_part = 1}, "message 2: only an assistant's can go on"},
        {{.role = QVL_ROLE_ASSISTANT}, "message 2: there is no text at its end"},
        {{.role = QVL_ROLE_ASSISTANT, .parts = &image, .n_part = 1}, "message 2: there is no text at its end"},
        {{.role = QVL_ROLE_ASSISTANT, .parts = &hello, .n_part = 1, .tool_calls = &call, .n_tool_call = 1},
         "message 2: one with tool calls"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qvl_message messages[] = {{.role = QVL_ROLE_USER, .parts = &hello, .n_part = 1}, bad[i].last};
        struct qvl_chat chat = {.messages = messages, .n_message = 2, .is_open = true};
        struct qvl_prompt_parts parts = {0};
        assert_int_equal(qvl_chat_render(&chat, true, &parts, &err), QVL_ERR_ARGUMENT);
        assert_non_null(strstr(err.text, bad[i].sentence));
    }
}

/* Nesting of QVL_MAX_JSON_DEPTH is taken, one more is not. */
static void test_json_depth(void **state)
{
    (void)state;
    for (size_t depth = QVL_MAX_JSON_DEPTH; depth <= QVL_MAX_JSON_DEPTH + 1; depth++) {
        char tools[4 * QVL_MAX_JSON_DEPTH] = "[{\"a\":";
        size_t n = strlen(tools);
        memset(tools + n, '[', depth - 2);
        memset(tools + n + depth - 2, ']', depth - 2);
        memcpy(tools + n + 2 * (depth - 2), "}]", 3);
        struct qvl_bytes text = {0};
        const struct qvl_message m = {.role = QVL_ROLE_USER};
        enum qvl_status status = render(&m, 1, tools, false, &text);
        assert_int_equal(status, depth > QVL_MAX_JSON_DEPTH ? QVL_ERR_ARGUMENT : QVL_OK);
        qvl_bytes_free(&text);
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct qvl_bytes text = {0};
    struct qvl_message *many = calloc(QVL_MAX_MESSAGES + 1, sizeof *many);
    struct qvl_part *parts = calloc(QVL_MAX_PARTS + 1, sizeof *parts);
    assert_non_null(many);
    assert_non_null(parts);
    assert_int_equal(render(many, QVL_MAX_MESSAGES, NULL, false, &text), QVL_OK);
    assert_int_equal(render(many, QVL_MAX_MESSAGES + 1, NULL, false, &text), QVL_ERR_LIMIT);
    struct qvl_message m = {.role = QVL_ROLE_USER, .parts = parts, .n_part = QVL_MAX_PARTS};
    assert_int_equal(render(&m, 1, NULL, true, &text), QVL_OK);
    m.n_part++;
    assert_int_equal(render(&m, 1, NULL, true, &text), QVL_ERR_LIMIT);
    for (size_t i = 0; i <= QVL_MAX_MEDIA_PER_REQUEST; i++)
        parts[i].kind = QVL_PART_IMAGE;
    m.n_part = QVL_MAX_MEDIA_PER_REQUEST;
    assert_int_equal(render(&m, 1, NULL, true, &text), QVL_OK);
    m.n_part++;
    assert_int_equal(render(&m, 1, NULL, true, &text), QVL_ERR_LIMIT);
    parts[0] = (struct qvl_part){.kind = QVL_PART_TEXT, .utf8 = "", .n = QVL_MAX_TEXT_BYTES + 1};
    m.n_part = 1;
    assert_int_equal(render(&m, 1, NULL, true, &text), QVL_ERR_LIMIT);
    qvl_bytes_free(&text);
    free(many);
    free(parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rendered_as_transformers_does),
        cmocka_unit_test(test_ids_of_whole_prompts),
        cmocka_unit_test(test_content_is_never_structure),
        cmocka_unit_test(test_empty_content),
        cmocka_unit_test(test_left_out_media_count),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_what_cannot_go_on),
        cmocka_unit_test(test_json_depth),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
