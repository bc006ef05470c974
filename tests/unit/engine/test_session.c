/* Conversations over one session, through the public header: what a request takes over from the last one, counted
 * token by token, and every logit the same as without a session, on every kernel level and in both number formats.
 *
 * What must be shared is worked out here, from the ids that requests report: prompt and output of the last one (but
 * its last token, which was never computed) against the next prompt, cut where a picture is another one. */
#include "../../lib/emulated_level.h"
#include "qvl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "model_folder.h"
#include "talk.h"

enum {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    STRIDE = 4 /* of the places where a turn is stopped */
#else
    STRIDE = 1
#endif
};

/* ---- what must hold ------------------------------------------------------------------------------ */

/* Positions of `next` that the cache after `last` holds, pictures aside. */
static size_t count_common(const struct result *last, const struct result *next)
{
    size_t n = 0, n_last = last->n_out ? last->n_prompt + last->n_out - 1 : last->n_prompt;
    while (n < n_last && n + 1 < next->n_prompt &&
           (n < last->n_prompt ? last->prompt[n] : last->out[n - last->n_prompt]) == next->prompt[n])
        n++;
    return n;
}

/* The next turn on the session: the bits of a request without one. */
static struct result *run_turn(struct qvl_engine *on, struct qvl_session *session, const struct talk *t,
                               uint32_t max_tokens)
{
    struct wish wish = {.max_tokens = max_tokens, .want_trace = true};
    struct result *got = run(on, session, t, wish), *want = run(on, NULL, t, wish);
    assert_int_equal(want->n_cached, 0);
    assert_same_bits(got, want);
    for (size_t i = 0; i < want->n_media; i++)
        assert_true(want->n_look[i] > 0);
    free(want);
    return got;
}

static void assert_nothing_seen(const struct result *r, size_t i_begin, size_t i_end)
{
    for (size_t i = i_begin; i < i_end; i++)
        assert_int_equal(r->n_look[i], 0);
    if (i_begin == 0 && i_end == r->n_media) {
        assert_false(r->is_vision_reported);
        assert_true(r->vision_ms == 0);
    }
}

static struct qvl_engine *engine; /* model a, best level */

static int open_shared(void **state)
{
    (void)state;
    make_talk_pictures();
    engine = open_talk_engine('a', (struct qvl_engine_options){0});
    return 0;
}

static int close_shared(void **state)
{
    (void)state;
    qvl_engine_close(engine);
    return 0;
}

/* ---- conversations ------------------------------------------------------------------------------- */

/* Question i of five: pictures, a clip, a tool whose result is a picture, text alone. Returns what the model sees
 * so far. */
static size_t add_question(struct talk *t, size_t i)
{
    static const size_t n_seen[] = {1, 2, 3, 5, 5};
    if (i == 2) {
        static const struct qvl_tool_call call = {"look", "{\"at\": \"it\"}"};
        t->message[t->n_message - 1].tool_calls = &call;
        t->message[t->n_message - 1].n_tool_call = 1;
        add_message(t, QVL_ROLE_TOOL);
        add_text(t, "seen:");
        add_picture(t, 1);
        return n_seen[i];
    }
    add_message(t, QVL_ROLE_USER);
    if (i == 0)
        add_picture(t, 0);
    if (i == 1)
        add_clip(t, 5, SIDE);
    if (i == 3) {
        add_picture(t, 2);
        add_picture(t, 0); /* once more, at another place */
    }
    add_text(t, i == 4 ? "And together?" : "What is it?");
    return n_seen[i];
}

/* Five turns; each takes over all that it can, and looks only at what is new. */
static void talk_five_times(struct qvl_engine *on, const char *tools_json)
{
    struct qvl_session *session = open_session(on);
    struct talk *t = new_talk();
    struct result *last = calloc(1, sizeof *last);
    size_t n_seen = 0;
    t->tools_json = tools_json;
    for (size_t i = 0; i < 5; i++) {
        size_t n_seen_now = add_question(t, i);
        struct result *r = run_turn(on, session, t, 12);
        assert_int_equal(r->n_cached, count_common(last, r));
        assert_int_equal(r->n_media, n_seen_now);
        if (i > 0)
            assert_true(r->n_cached + 1 >= last->n_prompt - 4); /* but for the seam before the answer */
        assert_nothing_seen(r, 0, n_seen);
        for (size_t k = n_seen; k < n_seen_now; k++)
            assert_true(r->n_look[k] > 0);
        add_answer(t, r->text);
        free(last);
        last = r;
        n_seen = n_seen_now;
    }
    free(last);
    free(t);
    qvl_session_close(session);
}

static void talk_without_tools(struct qvl_engine *on)
{
    talk_five_times(on, NULL);
}

static void five_turns_on_every_level(void **state)
{
    (void)state;
    on_every_level(open_talk_engine, engine, talk_without_tools);
}

static void five_turns_with_tools(void **state)
{
    (void)state;
    talk_five_times(engine, "[{\"type\": \"function\", \"function\": {\"name\": \"look\", \"parameters\": "
                            "{\"type\": \"object\"}}}]");
}

/* A Thinking model's earlier reasoning leaves the prompt: the prefix ends before it. */
static void five_turns_of_a_thinking_model(void **state)
{
    (void)state;
    struct qvl_engine *on = open_talk_engine('c', (struct qvl_engine_options){0});
    struct qvl_session *session = open_session(on);
    struct talk *t = new_talk();
    struct result *last = calloc(1, sizeof *last);
    for (size_t i = 0; i < 5; i++) {
        add_message(t, QVL_ROLE_USER);
        if (i % 2 == 0)
            add_picture(t, (int)i / 2);
        add_text(t, "Why?");
        struct result *r = run_turn(on, session, t, 12);
        assert_int_equal(r->n_cached, count_common(last, r));
        assert_true(r->has_reasoning && !r->has_answer);
        assert_true(i == 0 || r->n_cached >= last->n_prompt - 8);
        char said[2200];
        snprintf(said, sizeof said, "%s</think>\n\nBecause.", r->text);
        add_answer(t, said);
        free(last);
        last = r;
    }
    free(last);
    free(t);
    qvl_session_close(session);
    qvl_engine_close(on);
}

/* An answer whose text encodes to the tokens that were sampled is taken over whole, its last token aside. */
static void an_answer_is_taken_over(void **state)
{
    (void)state;
    size_t n_found = 0;
    for (int i = 0; i < 40 && n_found < 3; i++) {
        struct qvl_session *session = open_session(engine);
        struct talk *t = new_talk();
        char question[32];
        snprintf(question, sizeof question, "Question %d?", i);
        add_message(t, QVL_ROLE_USER);
        add_text(t, question);
        struct result *first = run_turn(engine, session, t, 3);
        add_answer(t, first->text);
        add_message(t, QVL_ROLE_USER);
        add_text(t, "More.");
        struct result *second = run_turn(engine, session, t, 3);
        assert_int_equal(second->n_cached, count_common(first, second));
        n_found += second->n_cached == first->n_prompt + 2;
        free(first);
        free(second);
        free(t);
        qvl_session_close(session);
    }
    assert_int_equal(n_found, 3);
}

/* The same prompt again: all but its last token. */
static void the_same_question_again(void **state)
{
    (void)state;
    struct qvl_session *session = open_session(engine);
    struct talk *t = new_talk();
    add_message(t, QVL_ROLE_USER);
    add_picture(t, 0);
    add_clip(t, 7, SIDE);
    add_text(t, "Once more?");
    for (int i = 0; i < 3; i++) {
        struct result *r = run_turn(engine, session, t, 5);
        assert_int_equal(r->n_cached, i ? r->n_prompt - 1 : 0);
        if (i)
            assert_nothing_seen(r, 0, 2);
        free(r);
    }
    free(t);
    qvl_session_close(session);
}

static void an_edited_turn_cuts_the_prefix(void **state)
{
    (void)state;
    struct qvl_session *session = open_session(engine);
    struct talk *t = new_talk();
    struct result *last = NULL, *r = NULL;
    add_message(t, QVL_ROLE_USER);
    add_picture(t, 0);
    add_text(t, "First question");
    add_answer(t, "First answer");
    add_message(t, QVL_ROLE_USER);
    add_clip(t, 3, SIDE);
    add_text(t, "Second question");
    last = run_turn(engine, session, t, 8);
    strcpy(t->text[1], "First gesture!"); /* as long: positions stay, ids do not */
    r = run_turn(engine, session, t, 8);
    assert_int_equal(r->n_cached, count_common(last, r));
    assert_nothing_seen(r, 0, 1);
    assert_true(r->n_look[1] > 0);
    free(last);
    last = r;
    t->n_message = 1; /* back to the first turn, and then another way */
    r = run_turn(engine, session, t, 8);
    assert_int_equal(r->n_cached, count_common(last, r));
    assert_true(r->n_cached + 12 >= r->n_prompt);
    free(last);
    last = r;
    add_answer(t, "Another answer");
    add_message(t, QVL_ROLE_USER);
    add_text(t, "Third question");
    r = run_turn(engine, session, t, 8);
    assert_int_equal(r->n_cached, count_common(last, r));
    assert_nothing_seen(r, 0, 1);
    free(last);
    free(r);
    free(t);
    qvl_session_close(session);
}

/* ---- pictures ------------------------------------------------------------------------------------ */

/* Where run number i (from 0) of this id begins. */
static size_t find_run(const struct result *r, uint32_t id, size_t i)
{
    for (size_t at = 0; at < r->n_prompt; at++)
        if (r->prompt[at] == id && (at == 0 || r->prompt[at - 1] != id) && i-- == 0)
            return at;
    fail_msg("no such run of pads");
    return 0;
}

static uint32_t id_of(const char *token)
{
    uint32_t *ids = NULL, id;
    size_t n = 0;
    struct qvl_error err = {0};
    assert_int_equal(qvl_tokenize(engine, token, strlen(token), true, &ids, &n, &err), QVL_OK);
    assert_int_equal(n, 1);
    id = ids[0];
    qvl_free(ids);
    return id;
}

/* The same ids at the same places do: only the picture behind the second run of pads is another. */
static void another_picture_is_looked_at(void **state)
{
    (void)state;
    struct qvl_session *session = open_session(engine);
    struct talk *t = new_talk();
    add_message(t, QVL_ROLE_USER);
    add_picture(t, 0);
    struct qvl_part *second = add_picture(t, 1);
    add_picture(t, 2);
    add_text(t, "Three of them.");
    struct result *r = run_turn(engine, session, t, 4);
    size_t n_prompt = r->n_prompt, at = find_run(r, id_of("<|image_pad|>"), 1);
    free(r);

    t->frame[1][0].rgb8 = small_rgb[3]; /* other pixels */
    r = run_turn(engine, session, t, 4);
    assert_int_equal(r->n_prompt, n_prompt);
    assert_int_equal(r->n_cached, at);
    assert_nothing_seen(r, 0, 1);
    assert_true(r->n_look[1] > 0 && r->n_look[2] > 0);
    free(r);

    second->media.resize = QVL_RESIZE_PILLOW; /* the same pixels scaled by another rule */
    r = run_turn(engine, session, t, 4);
    assert_int_equal(r->n_prompt, n_prompt);
    assert_int_equal(r->n_cached, at);
    free(r);

    second->media.max_pixels = 64 * 64; /* another size: 4 tokens for 9 */
    r = run_turn(engine, session, t, 4);
    assert_int_equal(r->n_prompt, n_prompt - 5);
    assert_int_equal(r->n_cached, at);
    free(r);

    second->source.name = "renamed.png"; /* the same to the model */
    uint8_t *copy = malloc(sizeof small_rgb[3]);
    assert_non_null(copy);
    t->frame[1][0].rgb8 = memcpy(copy, small_rgb[3], sizeof small_rgb[3]);
    r = run_turn(engine, session, t, 4);
    assert_int_equal(r->n_cached, r->n_prompt - 1);
    assert_nothing_seen(r, 0, 3);
    free(r);

    struct qvl_part two[] = {t->part[1], t->part[2], t->part[3]}; /* the first one goes, the others move up */
    memcpy(t->part, two, sizeof two);
    t->message[0].n_part = 3;
    r = run_turn(engine, session, t, 4);
    assert_int_equal(r->n_cached, find_run(r, id_of("<|image_pad|>"), 0));
    free(r);
    free(copy);
    free(t);
    qvl_session_close(session);
}

/* A picture where text was, and text where a picture was. */
static void pads_without_a_picture_are_text(void **state)
{
    (void)state;
    struct qvl_session *session = open_session(engine);
    struct talk *t = new_talk();
    add_message(t, QVL_ROLE_USER);
    add_text(t, "<|vision_start|><|image_pad|>"); /* text of a user is never a token */
    struct result *r = run_turn(engine, session, t, 4), *last = r;
    t->n_part = t->n_message = 0;
    t->message[0].n_part = 0;
    add_message(t, QVL_ROLE_USER);
    add_picture(t, 0);
    r = run_turn(engine, session, t, 4);
    assert_int_equal(r->n_cached, count_common(last, r));
    assert_true(r->n_look[0] > 0);
    free(last);
    free(r);
    free(t);
    qvl_session_close(session);
}

/* A clip that is longer by a frame is another clip. */
static void another_clip_is_looked_at(void **state)
{
    (void)state;
    struct qvl_session *session = open_session(engine);
    struct talk *t = new_talk();
    add_message(t, QVL_ROLE_USER);
    struct qvl_part *clip = add_clip(t, 5, SIDE);
    add_text(t, "What moves?");
    struct result *r = run_turn(engine, session, t, 4), *last = r;
    t->frame[0][5] = (struct qvl_frame){SIDE, SIDE, CLIP_SIDE * 3, large_rgb[1], 2.5};
    clip->source.n_frame = 6; /* the same number of temporal patches, the same ids but for one time */
    r = run_turn(engine, session, t, 4);
    assert_int_equal(r->n_prompt, last->n_prompt);
    assert_int_equal(r->n_cached, find_run(r, id_of("<|video_pad|>"), 0));
    assert_true(r->n_look[0] > 0);
    free(last);
    free(r);
    free(t);
    qvl_session_close(session);
}

/* ---- ends ---------------------------------------------------------------------------------------- */

/* Temporal patches of the second of a picture and a clip whose keys and values are not all known, and those before
 * them in their group. */
static size_t count_wanted_patches(const struct result *r)
{
    enum { N = N_CLIP_FRAME / 2, N_GROUP = 1024 / (CLIP_SIDE / 16 * CLIP_SIDE / 16) };
    size_t n_known = 0;
    while (n_known < N && find_run(r, id_of("<|video_pad|>"), n_known) + 36 <= r->n_cached)
        n_known++;
    return n_known == N ? 0 : N - n_known / N_GROUP * N_GROUP;
}

/* A turn that is stopped leaves what was computed; the next one goes on from there. `want` is the whole turn. */
static void stop_and_go_on(struct qvl_engine *on, const struct talk *t, struct wish wish, size_t n_least,
                           const struct result *want)
{
    struct qvl_session *session = open_session(on);
    struct result *stopped = run(on, session, t, wish), *r;
    r = run(on, session, t, (struct wish){.max_tokens = 6, .want_trace = want->logits_hash != 0});
    if (!wish.want_close)
        assert_int_equal(stopped->status, QVL_ERR_CANCELLED);
    assert_same_bits(r, want);
    size_t n_known = stopped->n_prefilled < r->n_prompt ? stopped->n_prefilled : r->n_prompt - 1;
    assert_in_range(r->n_cached, n_known > n_least ? n_known : n_least, r->n_prompt - 1);
    assert_true(!stopped->n_out || r->n_cached == r->n_prompt - 1);
    if (want->logits_hash)
        assert_int_equal(r->n_look[1], count_wanted_patches(r));
    free(stopped);
    free(r);
    qvl_session_close(session);
}

static void a_stopped_turn_leaves_what_it_computed(void **state)
{
    (void)state;
    struct talk *t = new_talk();
    add_message(t, QVL_ROLE_USER);
    add_picture(t, 0);
    add_text(t, "Before the clip.");
    add_clip(t, N_CLIP_FRAME, CLIP_SIDE);
    add_text(t, "What happens in it?");
    struct result *want = run(engine, NULL, t, (struct wish){.max_tokens = 6, .want_trace = true});
    size_t n_prompt = want->n_prompt, clip_begin = find_run(want, id_of("<|video_pad|>"), 0);
    size_t clip_end = find_run(want, id_of("<|video_pad|>"), 9) + 36;
    assert_true(clip_begin > 0 && clip_end < n_prompt && clip_end - clip_begin >= 10 * 36);
    for (int want_close = 0; want_close < 2; want_close++) {
        struct wish wish = {.max_tokens = 20, .want_close = want_close, .stop_at_vision = true};
        stop_and_go_on(engine, t, wish, 0, want);
        wish.stop_at_vision = false;
        /* in each of the clip's temporal patches, hence in both groups, on borders of spans and beside them */
        for (size_t at = 1; at < n_prompt; at += STRIDE * (want_close ? 53 : 29)) {
            wish.stop_at_prefill = at;
            stop_and_go_on(engine, t, wish, at, want);
        }
        wish.stop_at_prefill = 0;
        for (size_t n = 1; n < 20; n += STRIDE * 6) {
            wish.stop_at_text = n;
            stop_and_go_on(engine, t, wish, n_prompt - 1, want);
        }
    }
    free(want);
    free(t);
}

static void stop_in_prefill_and_answer(struct qvl_engine *on)
{
    struct talk *t = new_talk();
    add_message(t, QVL_ROLE_USER);
    add_clip(t, 10, SIDE);
    add_text(t, "Go on.");
    struct result *want = run(on, NULL, t, (struct wish){.max_tokens = 6});
    stop_and_go_on(on, t, (struct wish){.max_tokens = 8, .stop_at_prefill = 40}, 40, want);
    stop_and_go_on(on, t, (struct wish){.max_tokens = 8, .stop_at_text = 3}, want->n_prompt - 1, want);
    free(want);
    free(t);
}

static void a_stopped_turn_on_every_level(void **state)
{
    (void)state;
    on_every_level(open_talk_engine, engine, stop_in_prefill_and_answer);
}

/* A cancel in the middle of the answer, then a new turn that continues the stopped answer. */
static void a_stopped_answer_is_continued(void **state)
{
    (void)state;
    struct qvl_session *session = open_session(engine);
    struct talk *t = new_talk();
    add_message(t, QVL_ROLE_USER);
    add_picture(t, 3);
    add_text(t, "Tell.");
    struct result *stopped = run(engine, session, t, (struct wish){.max_tokens = 20, .stop_at_text = 5});
    assert_int_equal(stopped->status, QVL_ERR_CANCELLED);
    add_answer(t, stopped->text);
    add_message(t, QVL_ROLE_USER);
    add_text(t, "Shorter.");
    struct result *r = run_turn(engine, session, t, 6);
    size_t n_common = count_common(stopped, r); /* the step that was under way may have added its token */
    assert_true(r->n_cached == n_common || r->n_cached == n_common + 1);
    assert_nothing_seen(r, 0, 1);
    free(stopped);
    free(r);
    free(t);
    qvl_session_close(session);
}

static void *cancel_later(void *arg)
{
    struct timespec t = {0, 1000};
    for (int i = 0; i < *(int *)((void **)arg)[1]; i++)
        nanosleep(&t, NULL);
    qvl_request_cancel(((void **)arg)[0]);
    return NULL;
}

/* From another thread, at whatever moment: the session goes on. */
static void a_cancel_at_any_time_keeps_the_session_right(void **state)
{
    (void)state;
    struct qvl_session *session = open_session(engine);
    struct talk *t = new_talk();
    add_message(t, QVL_ROLE_USER);
    add_picture(t, 0);
    add_clip(t, 6, CLIP_SIDE);
    add_text(t, "How long?");
    struct result *want = run(engine, NULL, t, (struct wish){.max_tokens = 4});
    for (int n_wait = 0; n_wait < 400; n_wait += 23) {
        struct qvl_request_options options = greedy(MAX_OUT, session);
        struct result *r = calloc(1, sizeof *r);
        struct qvl_request *request = open_request(engine, t, &options);
        void *arg[2] = {request, &n_wait};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, cancel_later, arg), 0);
        while (pull(request, r))
            continue;
        pthread_join(thread, NULL);
        finish(request, r);
        free(r);
        r = run(engine, session, t, (struct wish){.max_tokens = 4});
        assert_same_bits(r, want);
        free(r);
        t->text[2][0] = t->text[2][0] == 'H' ? 'h' : 'H'; /* else all is known from now on */
        free(want);
        want = run(engine, NULL, t, (struct wish){.max_tokens = 4});
    }
    free(want);
    free(t);
    qvl_session_close(session);
}

/* What fails before the model has begun leaves the cache as it was. */
static void a_failed_request_leaves_the_cache(void **state)
{
    (void)state;
    struct qvl_session *session = open_session(engine);
    struct talk *t = new_talk();
    struct qvl_error err = {0};
    add_message(t, QVL_ROLE_USER);
    add_picture(t, 0);
    add_text(t, "Look.");
    free(run_turn(engine, session, t, 6));

    struct qvl_request_options options = greedy(8192, session); /* too long an answer */
    struct qvl_request *request = open_request(engine, t, &options);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_LIMIT);
    qvl_request_close(request);

    struct talk *bad = new_talk(); /* a picture that is none, and another beginning */
    add_message(bad, QVL_ROLE_USER);
    add_text(bad, "Something else");
    struct qvl_part *part = add_part(bad, QVL_PART_IMAGE);
    part->source = (struct qvl_media_source){
        .from = QVL_FROM_BYTES, .name = "x.png", .bytes = (const uint8_t *)"no picture", .n_bytes = 10};
    options = greedy(6, session);
    request = open_request(engine, bad, &options);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_MEDIA);
    qvl_request_close(request);

    struct qvl_chat empty = {0}; /* refused at once */
    assert_int_equal(qvl_request_open(engine, &empty, &options, &request, &err), QVL_ERR_ARGUMENT);

    bad->n_part = bad->n_message = 0; /* prepared, and closed before it was handed to the model */
    bad->message[0].n_part = 0;
    add_message(bad, QVL_ROLE_USER);
    add_text(bad, "Never asked");
    request = open_request(engine, bad, &options);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_OK);
    qvl_request_close(request);

    struct result *r = run_turn(engine, session, t, 6);
    assert_int_equal(r->n_cached, r->n_prompt - 1);
    assert_nothing_seen(r, 0, 1);
    free(r);
    free(bad);
    free(t);
    qvl_session_close(session);
}

static void a_session_has_one_request_of_its_engine(void **state)
{
    (void)state;
    struct qvl_engine *other = open_talk_engine('b', (struct qvl_engine_options){0});
    struct qvl_session *session = open_session(engine), *foreign = open_session(other);
    struct talk *t = new_talk();
    struct qvl_request *request = NULL, *second = NULL;
    struct qvl_error err = {0};
    add_message(t, QVL_ROLE_USER);
    add_text(t, "x");
    struct qvl_chat chat = {.messages = t->message, .n_message = t->n_message};
    struct qvl_request_options options = greedy(2, foreign);
    assert_int_equal(qvl_request_open(engine, &chat, &options, &second, &err), QVL_ERR_ARGUMENT);
    options.session = session;
    assert_int_equal(qvl_request_open(engine, &chat, &options, &request, &err), QVL_OK);
    assert_int_equal(qvl_request_open(engine, &chat, &options, &second, &err), QVL_ERR_ARGUMENT);
    assert_null(second);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_OK); /* the refusal has not hurt it */
    qvl_request_close(request);
    assert_int_equal(qvl_request_open(engine, &chat, &options, &request, &err), QVL_OK);
    qvl_request_close(request);
    free(t);
    qvl_session_close(session);
    qvl_session_close(foreign);
    qvl_session_close(NULL);
    qvl_engine_close(other);
}

/* ---- borders ------------------------------------------------------------------------------------- */

/* A prefix that ends at each border, then over the cut again. */
static void cut_at_borders(struct qvl_engine *on, const size_t *border, size_t n_border, size_t n_long)
{
    struct talk *t = new_talk();
    struct qvl_session *session = open_session(on);
    size_t n_before = count_before(on, t);
    ask_of_length(t, n_long, '7');
    struct result *want = run(on, NULL, t, (struct wish){.max_tokens = 3});
    free(run(on, session, t, (struct wish){.max_tokens = 3}));
    for (size_t i = 0; i < n_border; i++) {
        assert_true(border[i] > n_before && border[i] < n_before + n_long);
        ask_of_length(t, border[i] - n_before + 1, '?'); /* the first token that differs */
        struct result *r = run_turn(on, session, t, 3);
        assert_int_equal(r->n_cached, border[i]);
        free(r);
        ask_of_length(t, n_long, '7');
        r = run(on, session, t, (struct wish){.max_tokens = 3});
        assert_int_equal(r->n_cached, border[i]);
        assert_same_bits(r, want);
        free(r);
    }
    free(want);
    free(t);
    qvl_session_close(session);
}

/* Borders of chunks (16) and of blocks of the cache (128), and beside them. */
static void cut_at_first_borders(struct qvl_engine *on)
{
    static const size_t border[] = {15, 16, 17, 127, 128, 129};
    cut_at_borders(on, border, sizeof border / sizeof *border, 140);
}

static void borders_of_more_blocks(void **state)
{
    static const size_t border[] = {31, 32, 33, 127, 128, 129, 143, 144, 145, 255, 256, 257, 383, 384, 385};
    (void)state;
    cut_at_borders(engine, border, sizeof border / sizeof *border, 400);
}

static void borders_on_every_level(void **state)
{
    (void)state;
    on_every_level(open_talk_engine, engine, cut_at_first_borders);
}

/* ---- side by side -------------------------------------------------------------------------------- */

struct speaker {
    int seed;
    struct result *turn[3];
    bool is_whole;
};

static void build_turn(struct talk *t, const struct speaker *s, size_t i)
{
    if (i > 0)
        add_answer(t, s->turn[i - 1]->text);
    add_message(t, QVL_ROLE_USER);
    if (i != 1)
        add_picture(t, (s->seed + (int)i) % 4);
    add_text(t, i ? "And now?" : "What is it?");
}

static void *speak(void *arg)
{
    struct speaker *s = arg;
    struct qvl_session *session = open_session(engine);
    struct talk *t = new_talk();
    for (size_t i = 0; i < 3; i++) {
        build_turn(t, s, i);
        s->turn[i] = run(engine, session, t, (struct wish){.max_tokens = 8});
    }
    free(t);
    qvl_session_close(session);
    s->is_whole = true;
    return NULL;
}

static void conversations_side_by_side(void **state)
{
    (void)state;
    enum { N = 3 };
    struct speaker speaker[N] = {0};
    pthread_t thread[N];
    for (int i = 0; i < N; i++) {
        speaker[i].seed = i;
        assert_int_equal(pthread_create(&thread[i], NULL, speak, &speaker[i]), 0);
    }
    for (int i = 0; i < N; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < N; i++) {
        struct talk *t = new_talk();
        assert_true(speaker[i].is_whole);
        for (size_t k = 0; k < 3; k++) {
            build_turn(t, &speaker[i], k);
            struct result *want = run(engine, NULL, t, (struct wish){.max_tokens = 8});
            assert_same_bits(speaker[i].turn[k], want);
            if (k > 0)
                assert_int_equal(speaker[i].turn[k]->n_cached,
                                 count_common(speaker[i].turn[k - 1], speaker[i].turn[k]));
            free(want);
        }
        for (size_t k = 0; k < 3; k++)
            free(speaker[i].turn[k]);
        free(t);
    }
}

int main(void)
{
    use_emulated_level(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_turns_on_every_level),
        cmocka_unit_test(five_turns_with_tools),
        cmocka_unit_test(five_turns_of_a_thinking_model),
        cmocka_unit_test(an_answer_is_taken_over),
        cmocka_unit_test(the_same_question_again),
        cmocka_unit_test(an_edited_turn_cuts_the_prefix),
        cmocka_unit_test(another_picture_is_looked_at),
        cmocka_unit_test(pads_without_a_picture_are_text),
        cmocka_unit_test(another_clip_is_looked_at),
        cmocka_unit_test(a_stopped_turn_leaves_what_it_computed),
        cmocka_unit_test(a_stopped_turn_on_every_level),
        cmocka_unit_test(a_stopped_answer_is_continued),
        cmocka_unit_test(a_cancel_at_any_time_keeps_the_session_right),
        cmocka_unit_test(a_failed_request_leaves_the_cache),
        cmocka_unit_test(a_session_has_one_request_of_its_engine),
        cmocka_unit_test(borders_on_every_level),
        cmocka_unit_test(borders_of_more_blocks),
        cmocka_unit_test(conversations_side_by_side),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
