/* Source of truth: schemas CreateChatCompletionResponse and CreateChatCompletionStreamResponse of OpenAI's
 * openai-openapi, and what its SDKs make of a stream:
 *   - the first chunk of an answer has the role and an empty content; deltas hold what is new and nothing else; the
 * last one is {} with the reason of the end;
 *   - a chunk without choices comes only where it was asked for (include_usage, include_progress): many clients
 * read choices[0] unseen. Usage is such a chunk, the last, and with it all others have "usage": null;
 *   - {"error": …} raises, [DONE] ends.
 * Beside that: reasoning_content (vLLM), stop_reason (vLLM), timings (llama.cpp) and "qvl", in the last chunk,
 * where clients that do not know them pass them over. */
#include "server/openai_chat_write.h"

#include <inttypes.h>
#include <string.h>

#include "server/answer_json.h"
#include "server/reply.h"
#include "server/sse.h"

static const char *const finish_names[] = {
    [QVL_ASK_STOP] = "stop", [QVL_ASK_LENGTH] = "length", [QVL_ASK_TOOL_CALLS] = "tool_calls"};

/* ---- sending ------------------------------------------------------------------------------------- */

/* What is in w->text, if making it went well. */
static bool send_text(struct qvl_chat_writer *w, enum qvl_status status)
{
    return !status && w->out.send(w->out.user, w->text.data, w->text.n);
}

static enum qvl_status begin_chunk(struct qvl_chat_writer *w)
{
    w->text.n = 0;
    enum qvl_status status = qvl_bytes_add_text(&w->text, "data: ", &w->err);
    return status ? status : qvl_bytes_add(&w->text, w->head.data, w->head.n, &w->err);
}

static enum qvl_status end_chunk(struct qvl_chat_writer *w)
{
    return qvl_bytes_add_text(&w->text, w->set.want_usage ? "],\"usage\":null}\n\n" : "]}\n\n", &w->err);
}

static enum qvl_status add_logprobs(struct qvl_chat_writer *w, struct qvl_chat_writer_answer *a)
{
    if (!w->set.want_logprobs || a->logprobs.entries.n == 0)
        return qvl_bytes_add_text(&w->text, "\"logprobs\":null", &w->err);
    enum qvl_status status = qvl_bytes_add_text(&w->text, "\"logprobs\":{\"content\":[", &w->err);
    if (!status)
        status = qvl_bytes_add(&w->text, a->logprobs.entries.data, a->logprobs.entries.n, &w->err);
    a->logprobs.entries.n = 0;
    return status ? status : qvl_bytes_add_text(&w->text, "],\"refusal\":null}", &w->err);
}

/* A chunk up to where its delta's members begin; and from there on. */
static enum qvl_status begin_delta(struct qvl_chat_writer *w, uint32_t i_answer)
{
    enum qvl_status status = begin_chunk(w);
    return status ? status : qvl_bytes_add_format(&w->text, &w->err, "{\"index\":%u,\"delta\":{", i_answer);
}

static enum qvl_status end_delta(struct qvl_chat_writer *w, uint32_t i_answer)
{
    enum qvl_status status = qvl_bytes_add_text(&w->text, "},", &w->err);
    if (!status)
        status = add_logprobs(w, &w->answer[i_answer]);
    if (!status)
        status = qvl_bytes_add_text(&w->text, ",\"finish_reason\":null}", &w->err);
    return status ? status : end_chunk(w);
}

/* ---- what comes ---------------------------------------------------------------------------------- */

static bool take_begin(void *user, const struct qvl_ask_usage *usage)
{
    struct qvl_chat_writer *w = user;
    (void)usage;
    w->has_begun = true;
    if (!w->set.is_streamed)
        return true;
    if (!w->out.begin(w->out.user))
        return false;
    for (uint32_t i = 0; i < w->set.n; i++) {
        enum qvl_status status = begin_delta(w, i);
        if (!status)
            status = qvl_bytes_add_text(&w->text, "\"role\":\"assistant\",\"content\":\"\"", &w->err);
        if (!status)
            status = end_delta(w, i);
        if (!send_text(w, status))
            return false;
    }
    return true;
}

static bool take_progress(void *user, const struct qvl_event *event)
{
    static const char *const stages[] = {[QVL_STAGE_MEDIA] = "media",
                                         [QVL_STAGE_QUEUE] = "queue",
                                         [QVL_STAGE_VISION] = "vision",
                                         [QVL_STAGE_PREFILL] = "prefill"};
    struct qvl_chat_writer *w = user;
    if (!w->set.is_streamed || !w->set.want_progress)
        return true;
    enum qvl_status status = begin_chunk(w);
    if (!status)
        status = qvl_bytes_add_format(&w->text, &w->err,
                                      "],%s\"progress\":{\"stage\":\"%s\",\"done\":%" PRIu64 ",\"total\":%" PRIu64
                                      ",\"i_media\":%u,\"n_media\":%u}}\n\n",
                                      w->set.want_usage ? "\"usage\":null," : "", stages[event->progress.stage],
                                      event->progress.done, event->progress.total, event->progress.i_media,
                                      event->progress.n_media);
    return send_text(w, status);
}

static bool take_idle(void *user)
{
    struct qvl_chat_writer *w = user;
    if (!w->set.is_streamed)
        return true;
    w->has_begun = true;
    return w->out.send(w->out.user, QVL_SSE_PING, sizeof QVL_SSE_PING - 1);
}

static bool send_string_delta(struct qvl_chat_writer *w, uint32_t i_answer, const char *key, const char *utf8,
                              size_t n)
{
    enum qvl_status status = begin_delta(w, i_answer);
    if (!status)
        status = qvl_bytes_add_format(&w->text, &w->err, "\"%s\":", key);
    if (!status)
        status = qvl_bytes_add_json_string(&w->text, utf8, n, &w->err);
    if (!status)
        status = end_delta(w, i_answer);
    return send_text(w, status);
}

static bool take_text(void *user, uint32_t i_answer, const struct qvl_ask_text *text)
{
    struct qvl_chat_writer *w = user;
    struct qvl_chat_writer_answer *a = &w->answer[i_answer];
    bool is_content = !text->is_reasoning;
    if (w->set.want_logprobs && is_content && qvl_logprobs_take(&a->logprobs, text, &w->err))
        return false;
    if (text->n == 0)
        return true;
    if (qvl_bytes_add(is_content ? &a->content : &a->reasoning, text->utf8, text->n, &w->err))
        return false;
    return !w->set.is_streamed ||
           send_string_delta(w, i_answer, is_content ? "content" : "reasoning_content", text->utf8, text->n);
}

/* The last call's arguments, which are a string, and its end. */
static enum qvl_status close_call(struct qvl_chat_writer *w, struct qvl_chat_writer_answer *a)
{
    if (a->n_call == 0 || w->set.is_streamed)
        return QVL_OK;
    enum qvl_status status = qvl_bytes_add_json_string(&a->calls, a->arguments.data, a->arguments.n, &w->err);
    a->arguments.n = 0;
    return status ? status : qvl_bytes_add_text(&a->calls, "}}", &w->err);
}

static enum qvl_status add_call(struct qvl_bytes *out, const char *id, const char *name, struct qvl_error *err)
{
    enum qvl_status status =
        qvl_bytes_add_format(out, err, "\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":", id);
    if (!status)
        status = qvl_bytes_add_json_string(out, name, strlen(name), err);
    return status ? status : qvl_bytes_add_text(out, ",\"arguments\":", err);
}

static bool take_call(void *user, uint32_t i_answer, uint32_t i_call, const char *id, const char *name)
{
    struct qvl_chat_writer *w = user;
    struct qvl_chat_writer_answer *a = &w->answer[i_answer];
    enum qvl_status status = close_call(w, a);
    qvl_logprobs_drop(&a->logprobs); /* the tokens of a call are no content */
    a->n_call++;
    if (!w->set.is_streamed) {
        if (!status)
            status = qvl_bytes_add_text(&a->calls, i_call ? ",{" : "{", &w->err);
        return !status && !add_call(&a->calls, id, name, &w->err);
    }
    status = begin_delta(w, i_answer);
    if (!status)
        status = qvl_bytes_add_format(&w->text, &w->err, "\"tool_calls\":[{\"index\":%u,", i_call);
    if (!status)
        status = add_call(&w->text, id, name, &w->err);
    if (!status)
        status = qvl_bytes_add_text(&w->text, "\"\"}}]", &w->err);
    if (!status)
        status = end_delta(w, i_answer);
    return send_text(w, status);
}

static bool take_arguments(void *user, uint32_t i_answer, uint32_t i_call, const char *utf8, size_t n)
{
    struct qvl_chat_writer *w = user;
    struct qvl_chat_writer_answer *a = &w->answer[i_answer];
    qvl_logprobs_drop(&a->logprobs);
    if (!w->set.is_streamed)
        return !qvl_bytes_add(&a->arguments, utf8, n, &w->err);
    enum qvl_status status = begin_delta(w, i_answer);
    if (!status)
        status = qvl_bytes_add_format(&w->text, &w->err,
                                      "\"tool_calls\":[{\"index\":%u,\"function\":{\"arguments\":", i_call);
    if (!status)
        status = qvl_bytes_add_json_string(&w->text, utf8, n, &w->err);
    if (!status)
        status = qvl_bytes_add_text(&w->text, "}}]", &w->err);
    if (!status)
        status = end_delta(w, i_answer);
    return send_text(w, status);
}

static bool take_finish(void *user, uint32_t i_answer, enum qvl_ask_finish finish, const char *stop)
{
    struct qvl_chat_writer *w = user;
    struct qvl_chat_writer_answer *a = &w->answer[i_answer];
    enum qvl_status status = close_call(w, a);
    a->finish = finish;
    if (!status && stop && !(status = qvl_bytes_add_text(&a->stop, ",\"stop_reason\":", &w->err)))
        status = qvl_bytes_add_json_string(&a->stop, stop, strlen(stop), &w->err);
    return !status;
}

/* ---- the end ------------------------------------------------------------------------------------- */

static enum qvl_status add_finish(struct qvl_chat_writer *w, const struct qvl_chat_writer_answer *a)
{
    enum qvl_status status =
        qvl_bytes_add_format(&w->text, &w->err, ",\"finish_reason\":\"%s\"", finish_names[a->finish]);
    if (!status)
        status = qvl_bytes_add(&w->text, a->stop.data, a->stop.n, &w->err);
    return status ? status : qvl_bytes_add_text(&w->text, "}", &w->err);
}

static enum qvl_status add_usage(struct qvl_chat_writer *w, const struct qvl_ask_usage *u)
{
    return qvl_bytes_add_format(&w->text, &w->err,
                                ",\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu,"
                                "\"prompt_tokens_details\":{\"cached_tokens\":%zu,\"image_tokens\":%zu,\"video_"
                                "tokens\":%zu,\"text_tokens\":%zu},"
                                "\"completion_tokens_details\":{\"reasoning_tokens\":%zu}}",
                                u->n_prompt_tok, u->n_output_tok, u->n_prompt_tok + u->n_output_tok,
                                u->n_cached_tok, u->n_image_tok, u->n_video_tok,
                                u->n_prompt_tok - u->n_image_tok - u->n_video_tok, u->n_reasoning_tok);
}

/* What only qvl says. */
static enum qvl_status add_own(struct qvl_chat_writer *w, const struct qvl_ask_usage *usage)
{
    struct qvl_bytes boxes = {0};
    enum qvl_status status = qvl_bytes_add_text(&w->text, ",\"timings\":", &w->err);
    if (!status)
        status = qvl_answer_timings_json(&w->text, usage, &w->err);
    if (!status)
        status = qvl_bytes_add_format(&w->text, &w->err, ",\"qvl\":{\"seed\":%" PRIu64 ",\"media\":", w->set.seed);
    if (!status)
        status = qvl_answer_media_json(&w->text, usage, &w->err);
    for (uint32_t i = 0; i < w->set.n && !status; i++)
        status =
            qvl_answer_boxes_json(&boxes, i, w->answer[i].content.data, w->answer[i].content.n, usage, &w->err);
    if (!status && boxes.n > 0 && !(status = qvl_bytes_add_text(&w->text, ",\"boxes\":[", &w->err)) &&
        !(status = qvl_bytes_add(&w->text, boxes.data, boxes.n, &w->err)))
        status = qvl_bytes_add_text(&w->text, "]", &w->err);
    qvl_bytes_free(&boxes);
    if (!status && usage->has_loop) /* the reason that "length" does not say */
        status = qvl_bytes_add_text(&w->text, ",\"cut\":\"loop\"", &w->err);
    return status ? status : qvl_bytes_add_text(&w->text, "}", &w->err);
}

static bool end_stream(struct qvl_chat_writer *w, const struct qvl_ask_usage *usage)
{
    enum qvl_status status = QVL_OK;
    for (uint32_t i = 0; i < w->set.n; i++) {
        bool is_last = i + 1 == w->set.n && !w->set.want_usage;
        status = begin_chunk(w);
        if (!status)
            status = qvl_bytes_add_format(&w->text, &w->err, "{\"index\":%u,\"delta\":{},\"logprobs\":null", i);
        if (!status)
            status = add_finish(w, &w->answer[i]);
        if (!status && is_last && !(status = qvl_bytes_add_text(&w->text, "]", &w->err)) &&
            !(status = add_own(w, usage)))
            status = qvl_bytes_add_text(&w->text, "}\n\n", &w->err);
        else if (!status && !is_last)
            status = end_chunk(w);
        if (!send_text(w, status))
            return false;
    }
    if (w->set.want_usage) {
        if (!(status = begin_chunk(w)) && !(status = qvl_bytes_add_text(&w->text, "]", &w->err)) &&
            !(status = add_usage(w, usage)) && !(status = add_own(w, usage)))
            status = qvl_bytes_add_text(&w->text, "}\n\n", &w->err);
        if (!send_text(w, status))
            return false;
    }
    return w->out.send(w->out.user, QVL_SSE_DONE, sizeof QVL_SSE_DONE - 1);
}

/* Content is null beside calls and nothing else. */
static enum qvl_status add_message(struct qvl_chat_writer *w, const struct qvl_chat_writer_answer *a)
{
    struct qvl_bytes *out = &w->text;
    enum qvl_status status = qvl_bytes_add_text(out, "{\"role\":\"assistant\",\"content\":", &w->err);
    if (!status)
        status = a->n_call > 0 && a->content.n == 0
                     ? qvl_bytes_add_text(out, "null", &w->err)
                     : qvl_bytes_add_json_string(out, a->content.data, a->content.n, &w->err);
    if (!status && a->reasoning.n > 0 && !(status = qvl_bytes_add_text(out, ",\"reasoning_content\":", &w->err)))
        status = qvl_bytes_add_json_string(out, a->reasoning.data, a->reasoning.n, &w->err);
    if (!status && a->n_call > 0 && !(status = qvl_bytes_add_text(out, ",\"tool_calls\":[", &w->err)) &&
        !(status = qvl_bytes_add(out, a->calls.data, a->calls.n, &w->err)))
        status = qvl_bytes_add_text(out, "]", &w->err);
    return status ? status : qvl_bytes_add_text(out, ",\"refusal\":null}", &w->err);
}

static bool send_whole(struct qvl_chat_writer *w, const struct qvl_ask_usage *usage)
{
    w->text.n = 0;
    enum qvl_status status = qvl_bytes_add(&w->text, w->head.data, w->head.n, &w->err);
    for (uint32_t i = 0; i < w->set.n && !status; i++) {
        status = qvl_bytes_add_format(&w->text, &w->err, "%s{\"index\":%u,\"message\":", i ? "," : "", i);
        if (!status && !(status = add_message(w, &w->answer[i])) &&
            !(status = qvl_bytes_add_text(&w->text, ",", &w->err)) && !(status = add_logprobs(w, &w->answer[i])))
            status = add_finish(w, &w->answer[i]);
    }
    if (!status && !(status = qvl_bytes_add_text(&w->text, "]", &w->err)) && !(status = add_usage(w, usage)) &&
        !(status = add_own(w, usage)))
        status = qvl_bytes_add_text(&w->text, "}", &w->err);
    return send_text(w, status);
}

static bool take_end(void *user, const struct qvl_ask_usage *usage)
{
    struct qvl_chat_writer *w = user;
    return w->set.is_streamed ? end_stream(w, usage) : send_whole(w, usage);
}

static void take_failure(void *user, const struct qvl_error *failure, const struct qvl_ask_usage *usage)
{
    struct qvl_chat_writer *w = user;
    struct qvl_bytes json = {0};
    if (!w->has_begun || !w->set.is_streamed) {
        w->out.fail(w->out.user, failure, usage);
        return;
    }
    w->text.n = 0;
    bool is_conversation = failure->status == QVL_ERR_LIMIT || failure->status == QVL_ERR_MEDIA;
    enum qvl_status status = qvl_error_json(&json, failure, is_conversation ? "messages" : NULL, &w->err);
    if (!status)
        status = qvl_sse_add(&w->text, NULL, json.data, json.n, &w->err);
    if (send_text(w, status))
        w->out.send(w->out.user, QVL_SSE_DONE, sizeof QVL_SSE_DONE - 1);
    qvl_bytes_free(&json);
}

/* ---- open, close --------------------------------------------------------------------------------- */

enum qvl_status qvl_chat_writer_init(struct qvl_chat_writer *w, const struct qvl_chat_writer_settings *settings,
                                     const struct qvl_chat_out *out, struct qvl_error *err)
{
    struct qvl_bytes *head = &w->head;
    *w = (struct qvl_chat_writer){.set = *settings, .out = *out};
    for (uint32_t i = 0; i < QVL_MAX_ANSWERS; i++)
        w->answer[i].logprobs = (struct qvl_logprobs){.token = out->token, .user = out->user};
    enum qvl_status status;
    if ((status =
             qvl_bytes_add_format(head, err, "{\"id\":\"%s\",\"object\":\"chat.completion%s\",\"created\":%" PRIu64,
                                  settings->id, settings->is_streamed ? ".chunk" : "", settings->created_s)) ||
        (status = qvl_bytes_add_text(head, ",\"model\":", err)) ||
        (status = qvl_bytes_add_json_string(head, settings->model, strlen(settings->model), err)) ||
        (status = qvl_bytes_add_text(head, ",\"system_fingerprint\":", err)) ||
        (status = qvl_bytes_add_json_string(head, settings->fingerprint, strlen(settings->fingerprint), err)))
        return status;
    return qvl_bytes_add_text(head, ",\"choices\":[", err);
}

struct qvl_ask_sink qvl_chat_writer_sink(struct qvl_chat_writer *writer)
{
    return (struct qvl_ask_sink){.user = writer,
                                 .begin = take_begin,
                                 .progress = take_progress,
                                 .idle = take_idle,
                                 .text = take_text,
                                 .call = take_call,
                                 .arguments = take_arguments,
                                 .finish = take_finish,
                                 .end = take_end,
                                 .fail = take_failure};
}

void qvl_chat_writer_free(struct qvl_chat_writer *w)
{
    for (uint32_t i = 0; i < QVL_MAX_ANSWERS; i++) {
        struct qvl_chat_writer_answer *a = &w->answer[i];
        struct qvl_bytes *const all[] = {&a->content, &a->reasoning, &a->calls, &a->arguments, &a->stop};
        for (size_t k = 0; k < sizeof all / sizeof(void *); k++)
            qvl_bytes_free(all[k]);
        qvl_logprobs_free(&a->logprobs);
    }
    qvl_bytes_free(&w->head);
    qvl_bytes_free(&w->text);
    *w = (struct qvl_chat_writer){0};
}
