#include "talk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../golden/golden_model.h"
#include "model_folder.h"

uint8_t small_rgb[4][SIDE * SIDE * 3], large_rgb[4][CLIP_SIDE * CLIP_SIDE * 3];

void make_talk_pictures(void)
{
    for (uint32_t i = 0; i < 4; i++) {
        golden_picture(i + 1, SIDE, SIDE, small_rgb[i]);
        golden_picture(i + 11, CLIP_SIDE, CLIP_SIDE, large_rgb[i]);
    }
}

/* ---- a conversation ------------------------------------------------------------------------------ */

void add_message(struct talk *t, enum qvl_role role)
{
    assert_true(t->n_message < MAX_MESSAGE);
    t->message[t->n_message++] = (struct qvl_message){.role = role, .parts = &t->part[t->n_part]};
}

struct qvl_part *add_part(struct talk *t, enum qvl_part_kind kind)
{
    assert_true(t->n_part < MAX_PART);
    t->message[t->n_message - 1].n_part++;
    t->part[t->n_part].kind = kind;
    return &t->part[t->n_part++];
}

void add_text(struct talk *t, const char *text)
{
    char *copy = t->text[t->n_part];
    assert_true(strlen(text) < sizeof t->text[0]);
    strcpy(copy, text);
    struct qvl_part *part = add_part(t, QVL_PART_TEXT);
    part->utf8 = copy;
    part->n = strlen(copy);
}

struct qvl_part *add_picture(struct talk *t, int seed)
{
    struct qvl_frame *frame = t->frame[t->n_part];
    struct qvl_part *part = add_part(t, QVL_PART_IMAGE);
    frame[0] = (struct qvl_frame){SIDE, SIDE, SIDE * 3, small_rgb[seed], 0};
    part->source = (struct qvl_media_source){.from = QVL_FROM_FRAMES, .frames = frame, .n_frame = 1};
    return part;
}

struct qvl_part *add_clip(struct talk *t, size_t n_frame, uint32_t side)
{
    struct qvl_frame *frame = t->frame[t->n_part];
    struct qvl_part *part = add_part(t, QVL_PART_VIDEO);
    for (size_t i = 0; i < n_frame; i++)
        frame[i] = (struct qvl_frame){side, side, CLIP_SIDE * 3, large_rgb[i % 4], (double)i / 2};
    part->source = (struct qvl_media_source){.from = QVL_FROM_FRAMES, .frames = frame, .n_frame = n_frame};
    return part;
}

struct talk *new_talk(void)
{
    struct talk *t = calloc(1, sizeof *t);
    assert_non_null(t);
    return t;
}

void add_answer(struct talk *t, const char *text)
{
    add_message(t, QVL_ROLE_ASSISTANT);
    add_text(t, text);
}

/* A question of n tokens: one for each character. */
void ask_of_length(struct talk *t, size_t n, char last)
{
    assert_in_range(n, 1, sizeof t->text[0] - 1);
    t->n_part = t->n_message = 0;
    t->message[0].n_part = 0;
    add_message(t, QVL_ROLE_USER);
    memset(t->text[0], 0, sizeof t->text[0]);
    for (size_t i = 0; i < n; i++)
        t->text[0][i] = i % 2 ? '!' : '7';
    t->text[0][n - 1] = last;
    char *text = strdup(t->text[0]);
    assert_non_null(text);
    add_text(t, text);
    free(text);
}

/* ---- one request --------------------------------------------------------------------------------- */

/* Logits go into a hash (FNV-1a), over the bits of each float. */
static void note_tensor(void *user, const char *name, enum qvl_trace_type type, const void *data, const size_t *dim,
                        size_t n_dim)
{
    struct result *r = user;
    const uint8_t *byte = data;
    unsigned i_media = 0;
    if (sscanf(name, "prompt.pixels.%u", &i_media) == 1) {
        assert_in_range(i_media, 0, MAX_PART - 1);
        r->n_look[i_media]++;
    }
    if (strcmp(name, "logits") != 0)
        return;
    assert_int_equal(type, QVL_TRACE_F32);
    assert_int_equal(n_dim, 2);
    for (size_t i = 0; i < dim[0] * dim[1] * sizeof(float); i++)
        r->logits_hash = (r->logits_hash ^ byte[i]) * 0x100000001b3u;
}

struct qvl_request_options greedy(uint32_t max_tokens, struct qvl_session *session)
{
    return (struct qvl_request_options){.sampling = {.top_p = 1, .repetition_penalty = 1},
                                        .max_tokens = max_tokens,
                                        .ignore_eos = true,
                                        .no_loop_guard = true,
                                        .n_top_logits = N_TOP,
                                        .session = session};
}

struct qvl_request *open_request(struct qvl_engine *on, const struct talk *t,
                                 const struct qvl_request_options *options)
{
    struct qvl_chat chat = {.messages = t->message, .n_message = t->n_message, .tools_json = t->tools_json};
    struct qvl_request *request = NULL;
    struct qvl_error err = {0};
    if (qvl_request_open(on, &chat, options, &request, &err))
        fail_msg("%s", err.text);
    return request;
}

static void note_text(struct result *r, const struct qvl_event *event)
{
    assert_true(r->n_out < MAX_OUT && event->text.n_top == N_TOP);
    r->out[r->n_out] = event->text.id;
    memcpy(r->top[r->n_out++], event->text.top, sizeof r->top[0]);
    assert_true(strlen(r->text) + event->text.n < sizeof r->text);
    if (event->text.n)
        strncat(r->text, event->text.utf8, event->text.n);
    *(event->text.is_reasoning ? &r->has_reasoning : &r->has_answer) = true;
}

/* Takes one event; false when the request is over. */
bool pull(struct qvl_request *request, struct result *r)
{
    struct qvl_event event;
    r->status = qvl_request_next(request, &event, &r->err);
    if (r->status)
        return false;
    if (event.kind == QVL_EVENT_TEXT)
        note_text(r, &event);
    else if (event.kind == QVL_EVENT_PROGRESS && event.progress.stage == QVL_STAGE_VISION)
        r->is_vision_reported = true;
    else if (event.kind == QVL_EVENT_PROGRESS && event.progress.stage == QVL_STAGE_PREFILL)
        r->n_prefilled = event.progress.done;
    return event.kind != QVL_EVENT_DONE;
}

void finish(struct qvl_request *request, struct result *r)
{
    struct qvl_request_info info;
    qvl_request_get_info(request, &info);
    assert_true(info.n_prompt_tok <= MAX_IDS && info.n_output_tok <= MAX_OUT);
    if (info.n_prompt_tok)
        memcpy(r->prompt, info.prompt_ids, info.n_prompt_tok * sizeof *r->prompt);
    if (info.n_output_tok) /* after a cancel: those that were never pulled, too */
        memcpy(r->out, info.output_ids, info.n_output_tok * sizeof *r->out);
    r->n_prompt = info.n_prompt_tok;
    r->n_out = info.n_output_tok;
    r->n_cached = info.n_cached_tok;
    r->n_media = info.n_media;
    r->vision_ms = info.vision_ms;
    qvl_request_close(request);
}

static bool is_time_to_stop(const struct wish *wish, const struct result *r)
{
    return (wish->stop_at_prefill && r->n_prefilled >= wish->stop_at_prefill) ||
           (wish->stop_at_text && r->n_out >= wish->stop_at_text) ||
           (wish->stop_at_vision && r->is_vision_reported);
}

struct result *run(struct qvl_engine *on, struct qvl_session *session, const struct talk *t, struct wish wish)
{
    struct qvl_request_options options = greedy(wish.max_tokens, session);
    options.cache_salt = wish.salt;
    options.client = wish.client;
    struct result *r = calloc(1, sizeof *r);
    assert_non_null(r);
    if (wish.want_trace)
        options.trace = (struct qvl_trace){.user = r, .tensor = note_tensor};
    struct qvl_request *request = open_request(on, t, &options);
    while (pull(request, r))
        if (is_time_to_stop(&wish, r)) {
            if (wish.want_close)
                break;
            qvl_request_cancel(request);
        }
    finish(request, r);
    return r;
}

void assert_same_bits(const struct result *got, const struct result *want)
{
    if (got->status || want->status)
        fail_msg("%s", got->status ? got->err.text : want->err.text);
    assert_int_equal(got->n_prompt, want->n_prompt);
    assert_memory_equal(got->prompt, want->prompt, got->n_prompt * sizeof *got->prompt);
    assert_int_equal(got->n_out, want->n_out);
    assert_memory_equal(got->out, want->out, got->n_out * sizeof *got->out);
    assert_memory_equal(got->top, want->top, sizeof got->top);
    assert_int_equal(got->logits_hash, want->logits_hash);
    assert_string_equal(got->text, want->text);
}

struct qvl_engine *open_talk_engine(char letter, struct qvl_engine_options options)
{
    struct qvl_engine *engine = NULL;
    struct qvl_error err = {0};
    options.model_dir = model_folder(letter);
    options.n_thread = 2;
    options.n_ctx = MAX_IDS;
    options.n_prefill_chunk = TALK_CHUNK;
    options.no_vision_cache = true; /* only what the test is about may save work */
    if (qvl_engine_open(&options, &engine, &err) || qvl_engine_load(engine, &err))
        fail_msg("%s", err.text);
    return engine;
}

struct qvl_session *open_session(struct qvl_engine *engine)
{
    struct qvl_session *session = NULL;
    struct qvl_error err = {0};
    assert_int_equal(qvl_session_open(engine, &session, &err), QVL_OK);
    return session;
}

/* Tokens before the question. */
size_t count_before(struct qvl_engine *on, struct talk *t)
{
    size_t n = 0;
    ask_of_length(t, 1, '?');
    struct result *short_one = run(on, NULL, t, (struct wish){.max_tokens = 1});
    ask_of_length(t, 1, '7');
    struct result *other = run(on, NULL, t, (struct wish){.max_tokens = 1});
    while (short_one->prompt[n] == other->prompt[n])
        n++;
    free(short_one);
    free(other);
    return n;
}

struct qvl_engine_stats stats_of(const struct qvl_engine *engine)
{
    struct qvl_engine_stats stats;
    qvl_engine_get_stats(engine, &stats);
    return stats;
}

/* A short request that cannot end, since nobody takes its tokens. */
size_t measure_block(struct qvl_engine *on)
{
    struct qvl_request_options options = greedy(MAX_OUT, NULL);
    struct result *r = calloc(1, sizeof *r);
    struct talk *t = new_talk();
    assert_non_null(r);
    ask_of_length(t, 1, '?');
    struct qvl_request *request = open_request(on, t, &options);
    while (r->n_out == 0)
        assert_true(pull(request, r));
    size_t n_bytes = stats_of(on).kv_bytes;
    finish(request, r);
    free(r);
    free(t);
    assert_true(n_bytes > 0);
    return n_bytes;
}
