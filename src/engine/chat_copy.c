#include "engine/chat_copy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "engine/sampler.h"
#include "model/sample_frames.h"

#define MAX_BIAS 100.0f /* OpenAI's: enough to forbid a token, or to choose nothing else */

struct copier {
    struct qvl_arena *arena;
    size_t n_part, n_media, n_text_bytes; /* so far */
    struct qvl_error *err;
};

/* NULL stays NULL. */
static enum qvl_status copy_text(struct copier *c, const char *s, const char **out)
{
    *out = NULL;
    if (!s)
        return QVL_OK;
    c->n_text_bytes += strlen(s);
    *out = qvl_arena_copy_text(c->arena, s, strlen(s), c->err);
    return *out ? QVL_OK : QVL_ERR_MEMORY;
}

/* Static where the caller gave none. */
static const char *name_of(const struct qvl_part *part)
{
    return part->source.name              ? part->source.name
           : part->kind == QVL_PART_VIDEO ? qvl_text("a clip")
                                          : qvl_text("a picture");
}

static bool has_content(const struct qvl_media_source *s, bool is_clip)
{
    switch (s->from) {
    case QVL_FROM_BYTES: return s->bytes && s->n_bytes;
    case QVL_FROM_FD: return s->fd >= 0;
    case QVL_FROM_FRAMES: return s->frames && (is_clip ? s->n_frame > 0 : s->n_frame == 1);
    case QVL_FROM_PICTURES: return s->pictures && s->n_frame > 0;
    }
    return false;
}

static enum qvl_status check_frames(const struct qvl_part *part, struct qvl_error *err)
{
    const struct qvl_media_source *s = &part->source;
    if (part->kind != QVL_PART_VIDEO && s->from == QVL_FROM_PICTURES)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: a list of pictures is a clip, not one picture", name_of(part));
    if (s->n_frame > QVL_MAX_CLIP_FRAMES)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s has %zu frames: at most %u are allowed", name_of(part), s->n_frame,
                        QVL_MAX_CLIP_FRAMES);
    for (size_t i = 0; s->from == QVL_FROM_PICTURES && i < s->n_frame; i++)
        if (!s->pictures[i].path && !(s->pictures[i].bytes && s->pictures[i].n_bytes))
            return qvl_fail(err, QVL_ERR_MEDIA, "%s: picture %zu has no content", name_of(part), i + 1);
    return QVL_OK;
}

static enum qvl_status check_options(const struct qvl_part *part, struct qvl_error *err)
{
    const struct qvl_media_options *o = &part->media;
    bool is_clip = part->kind == QVL_PART_VIDEO;
    struct qvl_error why = {0};
    if (o->max_pixels && o->min_pixels > o->max_pixels)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: min_pixels %" PRIu64 " is more than max_pixels %" PRIu64,
                        name_of(part), o->min_pixels, o->max_pixels);
    if (is_clip && o->total_pixels && o->min_pixels > o->total_pixels)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: min_pixels %" PRIu64 " is more than total_pixels %" PRIu64,
                        name_of(part), o->min_pixels, o->total_pixels);
    if (o->resize > QVL_RESIZE_PILLOW12)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%d is no resize rule", (int)o->resize);
    if (is_clip && qvl_sample_frames_check(o, &why))
        return qvl_fail(err, why.status, "%s: %.400s", name_of(part), why.text);
    return QVL_OK;
}

static enum qvl_status check_media(struct copier *c, const struct qvl_part *part)
{
    const struct qvl_media_source *s = &part->source;
    bool is_clip = part->kind == QVL_PART_VIDEO;
    if (!is_clip && part->kind != QVL_PART_IMAGE)
        return qvl_fail(c->err, QVL_ERR_ARGUMENT, "a message part has the unknown kind %d", (int)part->kind);
    if (++c->n_media > QVL_MAX_MEDIA_PER_REQUEST)
        return qvl_fail(c->err, QVL_ERR_LIMIT, "the conversation holds more than %u pictures and clips",
                        QVL_MAX_MEDIA_PER_REQUEST);
    if (!has_content(s, is_clip))
        return qvl_fail(c->err, QVL_ERR_MEDIA, "%s %zu (%s) has no content",
                        is_clip ? qvl_text("clip") : qvl_text("picture"), c->n_media,
                        s->name ? s->name : qvl_text("no name"));
    enum qvl_status status = QVL_OK;
    if (s->from == QVL_FROM_FRAMES || s->from == QVL_FROM_PICTURES)
        status = check_frames(part, c->err);
    return status ? status : check_options(part, c->err);
}

static enum qvl_status copy_part(struct copier *c, const struct qvl_part *part, struct qvl_part *out)
{
    *out = *part;
    if (part->kind != QVL_PART_TEXT) {
        enum qvl_status status = check_media(c, part);
        if (status || part->source.name)
            return status ? status : copy_text(c, part->source.name, &out->source.name);
        out->source.name = name_of(part);
        return QVL_OK;
    }
    c->n_text_bytes += part->n;
    if (c->n_text_bytes > QVL_MAX_TEXT_BYTES)
        return qvl_fail(c->err, QVL_ERR_LIMIT, "the conversation's text is longer than %llu bytes",
                        (unsigned long long)QVL_MAX_TEXT_BYTES);
    out->utf8 = qvl_arena_copy_text(c->arena, part->utf8, part->n, c->err);
    return out->utf8 ? QVL_OK : QVL_ERR_MEMORY;
}

static enum qvl_status copy_tool_calls(struct copier *c, const struct qvl_message *message,
                                       struct qvl_message *out)
{
    struct qvl_tool_call *call =
        qvl_arena_alloc(c->arena, message->n_tool_call, sizeof *call, "tool calls", c->err);
    enum qvl_status status = call ? QVL_OK : QVL_ERR_MEMORY;
    for (size_t i = 0; i < message->n_tool_call && !status; i++) {
        status = copy_text(c, message->tool_calls[i].name, &call[i].name);
        if (!status)
            status = copy_text(c, message->tool_calls[i].arguments_json, &call[i].arguments_json);
    }
    out->tool_calls = call;
    return status;
}

static enum qvl_status copy_message(struct copier *c, const struct qvl_message *message, struct qvl_message *out)
{
    *out = *message;
    c->n_part += message->n_part;
    if (message->n_part > QVL_MAX_PARTS || c->n_part > QVL_MAX_PARTS)
        return qvl_fail(c->err, QVL_ERR_LIMIT, "the conversation has more than %u parts", QVL_MAX_PARTS);
    if (message->n_tool_call > QVL_MAX_PARTS)
        return qvl_fail(c->err, QVL_ERR_LIMIT, "a message has more than %u tool calls", QVL_MAX_PARTS);
    struct qvl_part *part = qvl_arena_alloc(c->arena, message->n_part, sizeof *part, "message parts", c->err);
    enum qvl_status status = part ? QVL_OK : QVL_ERR_MEMORY;
    for (size_t i = 0; i < message->n_part && !status; i++)
        status = copy_part(c, &message->parts[i], &part[i]);
    out->parts = part;
    if (!status)
        status = copy_text(c, message->reasoning, &out->reasoning);
    return status ? status : copy_tool_calls(c, message, out);
}

enum qvl_status qvl_chat_copy(const struct qvl_chat *chat, struct qvl_arena *arena, struct qvl_chat *out,
                              size_t *out_n_media, struct qvl_error *err)
{
    struct copier c = {.arena = arena, .err = err};
    *out = *chat;
    if (chat->n_message == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the conversation is empty");
    if (chat->n_message > QVL_MAX_MESSAGES)
        return qvl_fail(err, QVL_ERR_LIMIT, "the conversation has %zu messages, more than %u", chat->n_message,
                        QVL_MAX_MESSAGES);
    struct qvl_message *message = qvl_arena_alloc(arena, chat->n_message, sizeof *message, "messages", err);
    enum qvl_status status = message ? QVL_OK : QVL_ERR_MEMORY;
    for (size_t i = 0; i < chat->n_message && !status; i++)
        status = copy_message(&c, &chat->messages[i], &message[i]);
    out->messages = message;
    if (!status)
        status = copy_text(&c, chat->tools_json, &out->tools_json);
    if (!status && c.n_text_bytes > QVL_MAX_TEXT_BYTES)
        status = qvl_fail(err, QVL_ERR_LIMIT, "the conversation's text is longer than %llu bytes",
                          (unsigned long long)QVL_MAX_TEXT_BYTES);
    *out_n_media = c.n_media;
    return status;
}

static enum qvl_status copy_stop_strings(const struct qvl_request_options *options, struct qvl_arena *arena,
                                         struct qvl_request_options *out, struct qvl_error *err)
{
    if (options->n_stop > QVL_MAX_STOP_STRINGS)
        return qvl_fail(err, QVL_ERR_LIMIT, "%zu stop strings: at most %u are allowed", options->n_stop,
                        QVL_MAX_STOP_STRINGS);
    const char **stop = qvl_arena_alloc(arena, options->n_stop, sizeof *stop, "stop strings", err);
    if (!stop)
        return QVL_ERR_MEMORY;
    for (size_t i = 0; i < options->n_stop; i++) {
        size_t n = strlen(options->stop[i]);
        if (n == 0 || n > QVL_MAX_STOP_BYTES || !qvl_utf8_is_valid(options->stop[i], n))
            return qvl_fail(err, QVL_ERR_ARGUMENT, "stop string %zu must be 1 to %u bytes of UTF-8", i + 1,
                            QVL_MAX_STOP_BYTES);
        if (!(stop[i] = qvl_arena_copy_text(arena, options->stop[i], n, err)))
            return QVL_ERR_MEMORY;
    }
    out->stop = stop;
    return QVL_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const struct qvl_logit_bias *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Sorted by id, so that equal ones lie together. */
static enum qvl_status copy_bias(const struct qvl_request_options *options, uint32_t n_id, struct qvl_arena *arena,
                                 struct qvl_request_options *out, struct qvl_error *err)
{
    size_t n = options->n_logit_bias;
    if (n > QVL_MAX_LOGIT_BIAS)
        return qvl_fail(err, QVL_ERR_LIMIT, "%zu tokens have a bias: at most %u are allowed", n,
                        QVL_MAX_LOGIT_BIAS);
    struct qvl_logit_bias *bias = qvl_arena_alloc(arena, n, sizeof *bias, "the biases of tokens", err);
    if (!bias)
        return QVL_ERR_MEMORY;
    if (n > 0) {
        memcpy(bias, options->logit_bias, n * sizeof *bias);
        qsort(bias, n, sizeof *bias, compare_ids);
    }
    for (size_t i = 0; i < n; i++) {
        if (bias[i].id >= n_id)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "a bias for token %u: the model has %u", bias[i].id, n_id);
        if (i > 0 && bias[i].id == bias[i - 1].id)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "token %u has two biases", bias[i].id);
        if (!(bias[i].bias >= -MAX_BIAS && bias[i].bias <= MAX_BIAS)) /* NaN, too */
            return qvl_fail(err, QVL_ERR_ARGUMENT, "the bias of token %u is %g: it must be from %g to %g",
                            bias[i].id, (double)bias[i].bias, (double)-MAX_BIAS, (double)MAX_BIAS);
    }
    out->logit_bias = bias;
    return QVL_OK;
}

enum qvl_status qvl_request_options_copy(const struct qvl_request_options *options, uint32_t n_id,
                                         struct qvl_arena *arena, struct qvl_request_options *out,
                                         struct qvl_error *err)
{
    enum qvl_status status = qvl_sampling_check(&options->sampling, err);
    if (status)
        return status;
    if (options->n_top_logits > QVL_MAX_TOP_LOGITS)
        return qvl_fail(err, QVL_ERR_LIMIT, "%u best logits: at most %u can be asked for", options->n_top_logits,
                        QVL_MAX_TOP_LOGITS);
    if (options->max_tokens > QVL_MAX_TOKENS)
        return qvl_fail(err, QVL_ERR_LIMIT, "max_tokens is %u: at most %u are allowed", options->max_tokens,
                        QVL_MAX_TOKENS);
    *out = *options;
    if (options->scoring.logits) {
        uint32_t *ids = qvl_arena_alloc(arena, options->scoring.n_id, sizeof *ids, "the tokens to score", err);
        if (!ids)
            return QVL_ERR_MEMORY;
        memcpy(ids, options->scoring.ids, options->scoring.n_id * sizeof *ids);
        out->scoring.ids = ids;
    }
    status = copy_bias(options, n_id, arena, out, err);
    return status ? status : copy_stop_strings(options, arena, out, err);
}
