/* Each line is a whole object; the texts of all lines together are the answer, and the last one says how it went. A
 * call comes in one piece, with arguments that are an object, so it is held back until it is whole; of one that was
 * cut there is nothing.
 *
 * Source of truth: docs/api.md and api/types.go of Ollama (ChatResponse, GenerateResponse, Metrics), and its SDKs:
 * they read each line as JSON, so that a sign of life is a blank at the beginning of the next one. Durations are
 * nanoseconds.
 *
 * Memory that cannot be had is noticed in w->err and ends everything at the next line. */
#include "server/ollama_write.h"

#include <inttypes.h>
#include <string.h>

#include "base/json_reader.h"
#include "server/answer_json.h"
#include "server/reply.h"

#define NS_PER_MS 1e6

/* ---- JSON ---------------------------------------------------------------------------------------- */

static void add(struct qvl_ollama_writer *w, struct qvl_bytes *out, const char *text)
{
    if (!w->err.status)
        (void)qvl_bytes_add_text(out, text, &w->err);
}

static void add_bytes(struct qvl_ollama_writer *w, struct qvl_bytes *out, const struct qvl_bytes *bytes)
{
    if (!w->err.status)
        (void)qvl_bytes_add(out, bytes->data, bytes->n, &w->err);
}

static void add_string(struct qvl_ollama_writer *w, struct qvl_bytes *out, const char *key, const char *utf8,
                       size_t n)
{
    add(w, out, key);
    if (!w->err.status)
        (void)qvl_bytes_add_json_string(out, utf8, n, &w->err);
}

static void add_number(struct qvl_ollama_writer *w, struct qvl_bytes *out, const char *key, uint64_t number)
{
    if (!w->err.status)
        (void)qvl_bytes_add_format(out, &w->err, "%s%" PRIu64, key, number);
}

static void add_duration(struct qvl_ollama_writer *w, struct qvl_bytes *out, const char *key, double ms)
{
    add_number(w, out, key, (uint64_t)(ms > 0 ? ms * NS_PER_MS : 0));
}

/* {"model": …, "created_at": … */
static void begin_object(struct qvl_ollama_writer *w, struct qvl_bytes *out)
{
    char now[QVL_OLLAMA_TIME_BYTES];
    w->set.now(now);
    add_string(w, out, "{\"model\":", w->set.model, strlen(w->set.model));
    add_string(w, out, ",\"created_at\":", now, strlen(now));
}

/* What was said: in a message, or as members of the object itself. */
static void add_answer(struct qvl_ollama_writer *w, struct qvl_bytes *out, const struct qvl_bytes *content,
                       const struct qvl_bytes *thinking, const struct qvl_bytes *calls)
{
    add_string(w, out, w->set.is_chat ? ",\"message\":{\"role\":\"assistant\",\"content\":" : ",\"response\":",
               content->data, content->n);
    if (thinking->n > 0)
        add_string(w, out, ",\"thinking\":", thinking->data, thinking->n);
    if (calls->n > 0) {
        add(w, out, ",\"tool_calls\":[");
        add_bytes(w, out, calls);
        add(w, out, "]");
    }
    if (w->set.is_chat)
        add(w, out, "}");
}

static void add_logprobs(struct qvl_ollama_writer *w, struct qvl_bytes *out)
{
    if (w->logprobs.entries.n == 0)
        return;
    add(w, out, ",\"logprobs\":[");
    add_bytes(w, out, &w->logprobs.entries);
    add(w, out, "]");
    w->logprobs.entries.n = 0;
}

static void add_metrics(struct qvl_ollama_writer *w, struct qvl_bytes *out, const struct qvl_ask_usage *u)
{
    add_duration(w, out, ",\"total_duration\":", w->set.now_ms() - w->set.started_ms);
    add(w, out, ",\"load_duration\":0");
    add_number(w, out, ",\"prompt_eval_count\":", u->n_prompt_tok);
    add_duration(w, out, ",\"prompt_eval_duration\":", u->media_ms + u->prompt_ms + u->vision_ms + u->prefill_ms);
    add_number(w, out, ",\"eval_count\":", u->n_output_tok);
    add_duration(w, out, ",\"eval_duration\":", u->generate_ms);
}

/* What only qvl says, as in Chat Completions. */
static void add_own(struct qvl_ollama_writer *w, struct qvl_bytes *out, const struct qvl_ask_usage *usage)
{
    struct qvl_bytes boxes = {0};
    add_number(w, out, ",\"qvl\":{\"seed\":", w->set.seed);
    add(w, out, ",\"media\":");
    if (!w->err.status)
        (void)qvl_answer_media_json(out, usage, &w->err);
    if (!w->err.status && !qvl_answer_boxes_json(&boxes, 0, w->content.data, w->content.n, usage, &w->err) &&
        boxes.n > 0) {
        add(w, out, ",\"boxes\":[");
        add_bytes(w, out, &boxes);
        add(w, out, "]");
    }
    add(w, out, "}");
    qvl_bytes_free(&boxes);
}

static bool send_line(struct qvl_ollama_writer *w)
{
    if (w->set.is_streamed)
        add(w, &w->line, "\n");
    return !w->err.status && w->out.send(w->out.user, w->line.data, w->line.n);
}

/* What is new. */
static bool send_piece(struct qvl_ollama_writer *w, const struct qvl_bytes *content,
                       const struct qvl_bytes *thinking, const struct qvl_bytes *calls)
{
    w->line.n = 0;
    begin_object(w, &w->line);
    add_answer(w, &w->line, content, thinking, calls);
    add_logprobs(w, &w->line);
    add(w, &w->line, ",\"done\":false}");
    return send_line(w);
}

/* ---- calls --------------------------------------------------------------------------------------- */

/* On one line; false: they are no object. */
static bool add_arguments(struct qvl_ollama_writer *w, struct qvl_bytes *out)
{
    struct qvl_json_reader json = {
        .text = w->arguments.data, .n = w->arguments.n, .name = "", .status = QVL_ERR_ARGUMENT};
    struct qvl_error err = {0};
    enum qvl_status status = w->arguments.n > 0 ? qvl_json_reader_next(&json, &err) : QVL_ERR_ARGUMENT;
    bool is_object = !status && json.event == QVL_JSON_OBJECT;
    if (is_object)
        status = qvl_json_reader_dump(&json, out, &err);
    qvl_json_reader_free(&json);
    if (status == QVL_ERR_MEMORY)
        w->err = err;
    return is_object && !status;
}

/* The open call is over. */
static bool close_call(struct qvl_ollama_writer *w)
{
    const struct qvl_bytes nothing = {0};
    size_t n_before = w->calls.n;
    if (w->call_head.n == 0)
        return true;
    add(w, &w->calls, n_before > 0 ? "," : "");
    add_bytes(w, &w->calls, &w->call_head);
    w->call_head.n = 0;
    if (!add_arguments(w, &w->calls)) {
        w->calls.n = n_before;
        return !w->err.status;
    }
    add(w, &w->calls, "}}");
    if (!w->set.is_streamed)
        return !w->err.status;
    bool goes_on = send_piece(w, &nothing, &nothing, &w->calls);
    w->calls.n = 0;
    return goes_on;
}

static bool take_call(void *user, uint32_t i_answer, uint32_t i_call, const char *id, const char *name)
{
    struct qvl_ollama_writer *w = user;
    (void)i_answer;
    qvl_logprobs_drop(&w->logprobs);
    if (!close_call(w))
        return false;
    w->arguments.n = 0;
    add_string(w, &w->call_head, "{\"id\":", id, strlen(id));
    add_number(w, &w->call_head, ",\"function\":{\"index\":", i_call);
    add_string(w, &w->call_head, ",\"name\":", name, strlen(name));
    add(w, &w->call_head, ",\"arguments\":");
    return !w->err.status;
}

static bool take_arguments(void *user, uint32_t i_answer, uint32_t i_call, const char *utf8, size_t n)
{
    struct qvl_ollama_writer *w = user;
    (void)i_answer, (void)i_call;
    qvl_logprobs_drop(&w->logprobs);
    return !qvl_bytes_add(&w->arguments, utf8, n, &w->err);
}

/* ---- what comes ---------------------------------------------------------------------------------- */

static bool take_begin(void *user, const struct qvl_ask_usage *usage)
{
    struct qvl_ollama_writer *w = user;
    (void)usage;
    w->has_begun = true;
    return !w->set.is_streamed || w->out.begin(w->out.user);
}

static bool take_idle(void *user)
{
    struct qvl_ollama_writer *w = user;
    w->has_begun = true;
    return !w->set.is_streamed || w->out.send(w->out.user, " ", 1);
}

static bool take_text(void *user, uint32_t i_answer, const struct qvl_ask_text *text)
{
    struct qvl_ollama_writer *w = user;
    const struct qvl_bytes nothing = {0};
    struct qvl_bytes *whole = text->is_reasoning ? &w->thinking : &w->content;
    (void)i_answer;
    if (w->set.want_logprobs && !text->is_reasoning && qvl_logprobs_take(&w->logprobs, text, &w->err))
        return false;
    if (text->n == 0)
        return true;
    if (!close_call(w) || qvl_bytes_add(whole, text->utf8, text->n, &w->err))
        return false;
    if (!w->set.is_streamed)
        return true;
    struct qvl_bytes piece = *whole; /* its end */
    piece.data += piece.n - text->n;
    piece.n = text->n;
    return text->is_reasoning ? send_piece(w, &nothing, &piece, &nothing)
                              : send_piece(w, &piece, &nothing, &nothing);
}

static bool take_finish(void *user, uint32_t i_answer, enum qvl_ask_finish finish, const char *stop)
{
    struct qvl_ollama_writer *w = user;
    (void)i_answer, (void)stop;
    w->finish = finish;
    return close_call(w);
}

static bool take_end(void *user, const struct qvl_ask_usage *usage)
{
    struct qvl_ollama_writer *w = user;
    const struct qvl_bytes nothing = {0};
    w->line.n = 0;
    begin_object(w, &w->line);
    if (w->set.is_streamed)
        add_answer(w, &w->line, &nothing, &nothing, &nothing);
    else
        add_answer(w, &w->line, &w->content, &w->thinking, &w->calls);
    add_logprobs(w, &w->line);
    add(w, &w->line, ",\"done\":true,\"done_reason\":");
    add(w, &w->line, w->finish == QVL_ASK_LENGTH ? "\"length\"" : "\"stop\"");
    add_metrics(w, &w->line, usage);
    add_own(w, &w->line, usage);
    add(w, &w->line, "}");
    return send_line(w);
}

static void take_failure(void *user, const struct qvl_error *failure, const struct qvl_ask_usage *usage)
{
    struct qvl_ollama_writer *w = user;
    const char *text = qvl_text_for_client(failure);
    if (!w->has_begun || !w->set.is_streamed) {
        w->out.fail(w->out.user, failure, usage);
        return;
    }
    w->line.n = 0;
    add_string(w, &w->line, "{\"error\":", text, strlen(text));
    add(w, &w->line, "}");
    send_line(w);
}

/* ---- open, close --------------------------------------------------------------------------------- */

void qvl_ollama_writer_init(struct qvl_ollama_writer *w, const struct qvl_ollama_writer_settings *settings,
                            const struct qvl_chat_out *out)
{
    *w = (struct qvl_ollama_writer){
        .set = *settings, .out = *out, .logprobs = {.token = out->token, .user = out->user}};
}

struct qvl_ask_sink qvl_ollama_writer_sink(struct qvl_ollama_writer *writer)
{
    return (struct qvl_ask_sink){.user = writer,
                                 .begin = take_begin,
                                 .idle = take_idle,
                                 .text = take_text,
                                 .call = take_call,
                                 .arguments = take_arguments,
                                 .finish = take_finish,
                                 .end = take_end,
                                 .fail = take_failure};
}

void qvl_ollama_writer_free(struct qvl_ollama_writer *w)
{
    qvl_bytes_free(&w->content);
    qvl_bytes_free(&w->thinking);
    qvl_bytes_free(&w->calls);
    qvl_bytes_free(&w->call_head);
    qvl_bytes_free(&w->arguments);
    qvl_bytes_free(&w->line);
    qvl_logprobs_free(&w->logprobs);
    *w = (struct qvl_ollama_writer){0};
}

enum qvl_status qvl_ollama_write_nothing(const struct qvl_ollama_writer_settings *settings, const char *reason,
                                         struct qvl_bytes *out, struct qvl_error *err)
{
    struct qvl_ollama_writer w = {.set = *settings};
    const struct qvl_bytes nothing = {0};
    begin_object(&w, out);
    add_answer(&w, out, &nothing, &nothing, &nothing);
    add_string(&w, out, ",\"done\":true,\"done_reason\":", reason, strlen(reason));
    add(&w, out, "}");
    if (w.err.status)
        *err = w.err;
    return w.err.status;
}
