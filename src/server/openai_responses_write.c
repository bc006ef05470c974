/* The output of a response is a list of items: reasoning, a message, function calls; each begins, grows and is done
 * before the next one begins. A stream tells that by events, a whole reply by the items alone, so both walk the
 * same way, and events of a reply that is no stream are not written.
 *
 *     response.created, response.in_progress
 *     response.output_item.added                        each item: empty
 *         response.content_part.added                   not of calls
 *         response.output_text.delta …                  or reasoning_text, function_call_arguments
 *         response.output_text.done                     all of it once more
 *         response.content_part.done
 *     response.output_item.done                         the whole item once more
 *     response.completed, .incomplete or .failed        the whole response once more
 *
 * Source of truth: openai-openapi, schemas Response and ResponseStreamEvent, and what OpenAI's SDKs accept: their
 * accumulators raise when an event names an item or a part that was not added.
 *
 * Memory that cannot be had is noticed in w->err and ends everything at the next event. */
#include "server/openai_responses_write.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/answer_json.h"
#include "server/reply.h"
#include "server/sse.h"

static const struct {
    const char *type, *id, *part, *event;
} kinds[] = {
    [QVL_ITEM_REASONING] = {"reasoning", "rs", "reasoning_text", "reasoning_text"},
    [QVL_ITEM_MESSAGE] = {"message", "msg", "output_text", "output_text"},
    [QVL_ITEM_CALL] = {"function_call", "fc", NULL, "function_call_arguments"},
};

/* ---- JSON ---------------------------------------------------------------------------------------- */

static void add(struct qvl_responses_writer *w, struct qvl_bytes *out, const char *text)
{
    if (!w->err.status)
        (void)qvl_bytes_add_text(out, text, &w->err);
}

static void add_bytes(struct qvl_responses_writer *w, struct qvl_bytes *out, const struct qvl_bytes *bytes)
{
    if (!w->err.status)
        (void)qvl_bytes_add(out, bytes->data, bytes->n, &w->err);
}

static void add_string(struct qvl_responses_writer *w, struct qvl_bytes *out, const char *utf8, size_t n)
{
    if (!w->err.status)
        (void)qvl_bytes_add_json_string(out, utf8, n, &w->err);
}

/* A number behind a key. */
static void add_number(struct qvl_responses_writer *w, struct qvl_bytes *out, const char *key, uint64_t number)
{
    if (!w->err.status)
        (void)qvl_bytes_add_format(out, &w->err, "%s%" PRIu64, key, number);
}

/* "rs_…": the response's own with another beginning, and which item it is. */
static void add_item_id(struct qvl_responses_writer *w, struct qvl_bytes *out)
{
    const char *rest = strchr(w->set.id, '_');
    if (!w->err.status)
        (void)qvl_bytes_add_format(out, &w->err, "\"%s%s_%u\"", kinds[w->item].id, rest ? rest : "", w->n_item - 1);
}

static void add_part(struct qvl_responses_writer *w, struct qvl_bytes *out, bool is_whole)
{
    const struct qvl_bytes nothing = {0}, *text = is_whole ? &w->content : &nothing;
    add(w, out, "{\"type\":\"");
    add(w, out, kinds[w->item].part);
    add(w, out, "\",");
    if (w->item == QVL_ITEM_MESSAGE) {
        add(w, out, "\"annotations\":[],\"logprobs\":[");
        if (is_whole)
            add_bytes(w, out, &w->content_logprobs);
        add(w, out, "],");
    }
    add(w, out, "\"text\":");
    add_string(w, out, text->data, text->n);
    add(w, out, "}");
}

static void add_item(struct qvl_responses_writer *w, struct qvl_bytes *out, const char *item_status, bool is_whole)
{
    add(w, out, "{\"id\":");
    add_item_id(w, out);
    add(w, out, ",\"type\":\"");
    add(w, out, kinds[w->item].type);
    add(w, out, "\",\"status\":\"");
    add(w, out, item_status);
    add(w, out,
        w->item == QVL_ITEM_MESSAGE     ? "\",\"role\":\"assistant\","
        : w->item == QVL_ITEM_REASONING ? "\",\"summary\":[],"
                                        : "\",");
    if (w->item == QVL_ITEM_CALL) {
        add_bytes(w, out, &w->call);
        add(w, out, ",\"arguments\":");
        add_string(w, out, w->content.data, is_whole ? w->content.n : 0);
        add(w, out, "}");
        return;
    }
    add(w, out, "\"content\":[");
    if (is_whole)
        add_part(w, out, true);
    add(w, out, "]}");
}

static void add_usage(struct qvl_responses_writer *w, struct qvl_bytes *out, const struct qvl_ask_usage *u)
{
    add_number(w, out, "{\"input_tokens\":", u->n_prompt_tok);
    add_number(w, out, ",\"input_tokens_details\":{\"cached_tokens\":", u->n_cached_tok);
    add_number(w, out, ",\"cache_write_tokens\":0,\"image_tokens\":", u->n_image_tok);
    add_number(w, out, ",\"video_tokens\":", u->n_video_tok);
    add_number(w, out, "},\"output_tokens\":", u->n_output_tok);
    add_number(w, out, ",\"output_tokens_details\":{\"reasoning_tokens\":", u->n_reasoning_tok);
    add_number(w, out, "},\"total_tokens\":", u->n_prompt_tok + u->n_output_tok);
    add(w, out, "}");
}

/* What only qvl says, as in Chat Completions. */
static void add_own(struct qvl_responses_writer *w, struct qvl_bytes *out, const struct qvl_ask_usage *usage)
{
    struct qvl_bytes boxes = {0};
    add(w, out, ",\"timings\":");
    if (!w->err.status)
        (void)qvl_answer_timings_json(out, usage, &w->err);
    add_number(w, out, ",\"qvl\":{\"seed\":", w->set.seed);
    add(w, out, ",\"media\":");
    if (!w->err.status)
        (void)qvl_answer_media_json(out, usage, &w->err);
    if (!w->err.status && !qvl_answer_boxes_json(&boxes, 0, w->answer.data, w->answer.n, usage, &w->err) &&
        boxes.n > 0) {
        add(w, out, ",\"boxes\":[");
        add_bytes(w, out, &boxes);
        add(w, out, "]");
    }
    add(w, out, "}");
    qvl_bytes_free(&boxes);
}

/* The codes that the API has for a response that failed. */
static void add_failure(struct qvl_responses_writer *w, struct qvl_bytes *out, const struct qvl_error *failure)
{
    add(w, out,
        failure->status == QVL_ERR_MEDIA ? "{\"code\":\"image_parse_error\",\"message\":"
                                         : "{\"code\":\"server_error\",\"message\":");
    const char *text = qvl_text_for_client(failure);
    add_string(w, out, text, strlen(text));
    add(w, out, "}");
}

/* usage: NULL while it is not over; failure: NULL unless it failed. */
static void add_response(struct qvl_responses_writer *w, struct qvl_bytes *out, const char *status,
                         const struct qvl_ask_usage *usage, const struct qvl_error *failure)
{
    bool is_completed = strcmp(status, "completed") == 0;
    add(w, out, "{\"id\":\"");
    add(w, out, w->set.id);
    add_number(w, out, "\",\"object\":\"response\",\"created_at\":", w->set.created_s);
    add(w, out, ",\"status\":\"");
    add(w, out, status);
    add(w, out, "\",\"completed_at\":");
    if (is_completed)
        add_number(w, out, "", w->set.now_s());
    else
        add(w, out, "null");
    add(w, out, ",\"error\":");
    if (failure)
        add_failure(w, out, failure);
    else
        add(w, out, "null");
    add(w, out,
        strcmp(status, "incomplete") == 0 ? ",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}"
                                          : ",\"incomplete_details\":null");
    add(w, out, ",\"model\":");
    add_string(w, out, w->set.model, strlen(w->set.model));
    add(w, out, ",\"output\":[");
    add_bytes(w, out, &w->items);
    add(w, out, "],");
    add(w, out, w->set.echo);
    add(w, out, ",\"usage\":");
    if (usage)
        add_usage(w, out, usage);
    else
        add(w, out, "null");
    if (usage && !failure)
        add_own(w, out, usage);
    add(w, out, "}");
}

/* ---- events -------------------------------------------------------------------------------------- */

static void begin_event(struct qvl_responses_writer *w, const char *type)
{
    w->json.n = 0;
    add(w, &w->json, "{\"type\":\"");
    add(w, &w->json, type);
    add_number(w, &w->json, "\",\"sequence_number\":", w->n_event++);
}

static bool end_event(struct qvl_responses_writer *w, const char *type)
{
    add(w, &w->json, "}");
    w->event.n = 0;
    if (!w->err.status)
        (void)qvl_sse_add(&w->event, type, w->json.data, w->json.n, &w->err);
    return !w->err.status && w->out.send(w->out.user, w->event.data, w->event.n);
}

static bool say_response(struct qvl_responses_writer *w, const char *type, const char *status,
                         const struct qvl_ask_usage *usage, const struct qvl_error *failure)
{
    begin_event(w, type);
    add(w, &w->json, ",\"response\":");
    add_response(w, &w->json, status, usage, failure);
    return end_event(w, type);
}

static bool say_item(struct qvl_responses_writer *w, const char *type, const char *item_status, bool is_whole)
{
    if (!w->set.is_streamed)
        return true;
    begin_event(w, type);
    add_number(w, &w->json, ",\"output_index\":", w->n_item - 1);
    add(w, &w->json, ",\"item\":");
    add_item(w, &w->json, item_status, is_whole);
    return end_event(w, type);
}

/* Where in the output it happens. */
static void add_place(struct qvl_responses_writer *w)
{
    add(w, &w->json, ",\"item_id\":");
    add_item_id(w, &w->json);
    add_number(w, &w->json, ",\"output_index\":", w->n_item - 1);
    if (w->item != QVL_ITEM_CALL)
        add(w, &w->json, ",\"content_index\":0");
}

static bool say_part(struct qvl_responses_writer *w, const char *type, bool is_whole)
{
    if (!w->set.is_streamed || w->item == QVL_ITEM_CALL)
        return true;
    begin_event(w, type);
    add_place(w);
    add(w, &w->json, ",\"part\":");
    add_part(w, &w->json, is_whole);
    return end_event(w, type);
}

/* What is new, or all of it: key says which. */
static bool say_text(struct qvl_responses_writer *w, const char *what, const char *key, const char *utf8, size_t n,
                     const struct qvl_bytes *logprobs)
{
    char type[64];
    if (!w->set.is_streamed)
        return true;
    snprintf(type, sizeof type, "response.%s.%s", kinds[w->item].event, what);
    begin_event(w, type);
    add_place(w);
    add(w, &w->json, ",\"");
    add(w, &w->json, key);
    add(w, &w->json, "\":");
    add_string(w, &w->json, utf8, n);
    if (w->item == QVL_ITEM_MESSAGE) {
        add(w, &w->json, ",\"logprobs\":[");
        add_bytes(w, &w->json, logprobs);
        add(w, &w->json, "]");
    }
    return end_event(w, type);
}

/* ---- items --------------------------------------------------------------------------------------- */

static bool open_item(struct qvl_responses_writer *w, enum qvl_output_item item)
{
    w->item = item;
    w->n_item++;
    w->content.n = w->content_logprobs.n = 0;
    return say_item(w, "response.output_item.added", "in_progress", false) &&
           say_part(w, "response.content_part.added", false);
}

static bool close_item(struct qvl_responses_writer *w, const char *item_status)
{
    const char *key = w->item == QVL_ITEM_CALL ? "arguments" : "text";
    if (w->item == QVL_ITEM_NONE)
        return true;
    if (!say_text(w, "done", key, w->content.data, w->content.n, &w->content_logprobs) ||
        !say_part(w, "response.content_part.done", true) ||
        !say_item(w, "response.output_item.done", item_status, true))
        return false;
    if (w->items.n > 0)
        add(w, &w->items, ",");
    add_item(w, &w->items, item_status, true);
    w->item = QVL_ITEM_NONE;
    return !w->err.status;
}

/* ---- what comes ---------------------------------------------------------------------------------- */

/* Once; of a stream all other events come behind these. */
static bool begin(struct qvl_responses_writer *w)
{
    if (w->has_begun)
        return true;
    w->has_begun = true;
    return !w->set.is_streamed ||
           (w->out.begin(w->out.user) && say_response(w, "response.created", "in_progress", NULL, NULL) &&
            say_response(w, "response.in_progress", "in_progress", NULL, NULL));
}

static bool take_begin(void *user, const struct qvl_ask_usage *usage)
{
    (void)usage;
    return begin(user);
}

/* An event of our own; only those who asked for it get it, since SDKs do not know its type. It may come first. */
static bool take_progress(void *user, const struct qvl_event *event)
{
    static const char *const stages[] = {[QVL_STAGE_MEDIA] = "media",
                                         [QVL_STAGE_QUEUE] = "queue",
                                         [QVL_STAGE_VISION] = "vision",
                                         [QVL_STAGE_PREFILL] = "prefill"};
    struct qvl_responses_writer *w = user;
    if (!w->set.is_streamed || !w->set.want_progress)
        return true;
    if (!begin(w))
        return false;
    begin_event(w, "response.progress");
    add(w, &w->json, ",\"stage\":\"");
    add(w, &w->json, stages[event->progress.stage]);
    add_number(w, &w->json, "\",\"done\":", event->progress.done);
    add_number(w, &w->json, ",\"total\":", event->progress.total);
    add_number(w, &w->json, ",\"i_media\":", event->progress.i_media);
    add_number(w, &w->json, ",\"n_media\":", event->progress.n_media);
    return end_event(w, "response.progress");
}

static bool take_idle(void *user)
{
    struct qvl_responses_writer *w = user;
    return !w->set.is_streamed || (begin(w) && w->out.send(w->out.user, QVL_SSE_PING, sizeof QVL_SSE_PING - 1));
}

static void keep_logprobs(struct qvl_responses_writer *w)
{
    if (w->content_logprobs.n > 0 && w->logprobs.entries.n > 0)
        add(w, &w->content_logprobs, ",");
    add_bytes(w, &w->content_logprobs, &w->logprobs.entries);
    w->logprobs.entries.n = 0;
}

static bool take_text(void *user, uint32_t i_answer, const struct qvl_ask_text *text)
{
    struct qvl_responses_writer *w = user;
    enum qvl_output_item item = text->is_reasoning ? QVL_ITEM_REASONING : QVL_ITEM_MESSAGE;
    (void)i_answer;
    if (w->set.want_logprobs && item == QVL_ITEM_MESSAGE && qvl_logprobs_take(&w->logprobs, text, &w->err))
        return false;
    if (text->n == 0)
        return true;
    if (w->item != item && (!close_item(w, "completed") || !open_item(w, item)))
        return false;
    if (qvl_bytes_add(&w->content, text->utf8, text->n, &w->err) ||
        (item == QVL_ITEM_MESSAGE && qvl_bytes_add(&w->answer, text->utf8, text->n, &w->err)))
        return false;
    bool goes_on = say_text(w, "delta", "delta", text->utf8, text->n, &w->logprobs.entries);
    keep_logprobs(w);
    return goes_on && !w->err.status;
}

static bool take_call(void *user, uint32_t i_answer, uint32_t i_call, const char *id, const char *name)
{
    struct qvl_responses_writer *w = user;
    (void)i_answer, (void)i_call;
    qvl_logprobs_drop(&w->logprobs);
    if (!close_item(w, "completed"))
        return false;
    w->call.n = 0;
    add(w, &w->call, "\"call_id\":");
    add_string(w, &w->call, id, strlen(id));
    add(w, &w->call, ",\"name\":");
    add_string(w, &w->call, name, strlen(name));
    return open_item(w, QVL_ITEM_CALL);
}

static bool take_arguments(void *user, uint32_t i_answer, uint32_t i_call, const char *utf8, size_t n)
{
    struct qvl_responses_writer *w = user;
    (void)i_answer, (void)i_call;
    qvl_logprobs_drop(&w->logprobs);
    return !qvl_bytes_add(&w->content, utf8, n, &w->err) &&
           say_text(w, "delta", "delta", utf8, n, &w->logprobs.entries);
}

/* An answer without a word is an empty message. */
static bool take_finish(void *user, uint32_t i_answer, enum qvl_ask_finish finish, const char *stop)
{
    struct qvl_responses_writer *w = user;
    const char *item_status = finish == QVL_ASK_LENGTH ? "incomplete" : "completed";
    (void)i_answer, (void)stop;
    w->finish = finish;
    if (w->n_item == 0 && !open_item(w, QVL_ITEM_MESSAGE))
        return false;
    return close_item(w, item_status);
}

static bool take_end(void *user, const struct qvl_ask_usage *usage)
{
    struct qvl_responses_writer *w = user;
    bool is_cut = w->finish == QVL_ASK_LENGTH;
    const char *status = is_cut ? "incomplete" : "completed";
    if (w->set.is_streamed)
        return say_response(w, is_cut ? "response.incomplete" : "response.completed", status, usage, NULL);
    w->json.n = 0;
    add_response(w, &w->json, status, usage, NULL);
    return !w->err.status && w->out.send(w->out.user, w->json.data, w->json.n);
}

static void take_failure(void *user, const struct qvl_error *failure, const struct qvl_ask_usage *usage)
{
    struct qvl_responses_writer *w = user;
    if (w->has_begun && w->set.is_streamed)
        say_response(w, "response.failed", "failed", usage, failure);
    else
        w->out.fail(w->out.user, failure, usage);
}

/* ---- open, close --------------------------------------------------------------------------------- */

void qvl_responses_writer_init(struct qvl_responses_writer *w, const struct qvl_responses_writer_settings *settings,
                               const struct qvl_chat_out *out)
{
    *w = (struct qvl_responses_writer){
        .set = *settings, .out = *out, .logprobs = {.token = out->token, .user = out->user}};
}

struct qvl_ask_sink qvl_responses_writer_sink(struct qvl_responses_writer *writer)
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

void qvl_responses_writer_free(struct qvl_responses_writer *w)
{
    qvl_bytes_free(&w->call);
    qvl_bytes_free(&w->content);
    qvl_bytes_free(&w->content_logprobs);
    qvl_bytes_free(&w->items);
    qvl_bytes_free(&w->answer);
    qvl_bytes_free(&w->json);
    qvl_bytes_free(&w->event);
    qvl_logprobs_free(&w->logprobs);
    *w = (struct qvl_responses_writer){0};
}
