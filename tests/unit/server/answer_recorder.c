#include "answer_recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

const struct qvl_ask_usage recorder_usage = {.n_prompt_tok = 30,
                                             .n_cached_tok = 10,
                                             .n_image_tok = 12,
                                             .n_video_tok = 6,
                                             .n_output_tok = 7,
                                             .n_reasoning_tok = 2,
                                             .media_ms = 1,
                                             .prompt_ms = 2,
                                             .vision_ms = 3,
                                             .prefill_ms = 4,
                                             .generate_ms = 5};

static bool begin(void *user)
{
    struct answer_recorder *r = user;
    r->n_begin++;
    return true;
}

static bool take(void *user, const char *data, size_t n)
{
    struct answer_recorder *r = user;
    struct qvl_error err = {0};
    if (r->n_left-- == 0)
        return false;
    assert_false(qvl_bytes_add(&r->sent, data, n, &err));
    assert_false(qvl_bytes_add_text(&r->sent, "|", &err));
    return true;
}

static void fail_plainly(void *user, const struct qvl_error *failure, const struct qvl_ask_usage *usage)
{
    struct answer_recorder *r = user;
    assert_true(failure->status != QVL_OK && usage);
    r->n_fail++;
}

static const char *token(void *user, uint32_t id, size_t *n, bool *is_special)
{
    static const char letters[] = "abcdefgh";
    (void)user;
    *is_special = id == 9;
    *n = id == 9 ? 10 : id == 8 ? 2 : 1;
    return id == 9 ? "<|im_end|>" : id == 8 ? "\xE4\xB8" : letters + id;
}

struct qvl_chat_out recorder_out(struct answer_recorder *recorder)
{
    recorder_free(recorder);
    recorder->n_left = -1;
    return (struct qvl_chat_out){
        .user = recorder, .begin = begin, .send = take, .fail = fail_plainly, .token = token};
}

void recorder_free(struct answer_recorder *recorder)
{
    qvl_bytes_free(&recorder->sent);
    *recorder = (struct answer_recorder){0};
}

void tell_text(const struct qvl_ask_sink *sink, const char *utf8)
{
    const struct qvl_ask_text text = {.utf8 = utf8, .n = strlen(utf8)};
    assert_true(sink->text(sink->user, 0, &text));
}

void tell_reasoning(const struct qvl_ask_sink *sink, const char *utf8)
{
    const struct qvl_ask_text text = {.utf8 = utf8, .n = strlen(utf8), .is_reasoning = true};
    assert_true(sink->text(sink->user, 0, &text));
}

void tell_token(const struct qvl_ask_sink *sink, const char *utf8, uint32_t id)
{
    static const struct qvl_token_logit top[2] = {{1, 2.0f}, {9, 1.0f}};
    struct qvl_event event = {.kind = QVL_EVENT_TEXT};
    event.text.id = id;
    event.text.logit = 1.5f;
    event.text.log_sum = 2.5f;
    event.text.top = top;
    event.text.n_top = 2;
    const struct qvl_ask_text text = {.utf8 = utf8, .n = strlen(utf8), .token = &event};
    assert_true(sink->text(sink->user, 0, &text));
}

void tell_call(const struct qvl_ask_sink *sink, uint32_t i_call, const char *name)
{
    char id[16];
    snprintf(id, sizeof id, "call_%u", i_call);
    assert_true(sink->call(sink->user, 0, i_call, id, name));
}

void tell_arguments(const struct qvl_ask_sink *sink, uint32_t i_call, const char *utf8)
{
    assert_true(sink->arguments(sink->user, 0, i_call, utf8, strlen(utf8)));
}
