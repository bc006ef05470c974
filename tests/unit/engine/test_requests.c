/* Requests on one engine, through the public header only: the same bits in company and alone, cancel at every
 * stage, limits before work, back-pressure. */
#include "qvl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../golden/golden_model.h"
#include "base/limits.h"
#include "model_folder.h"

enum { SIDE = 192, N_TOP = 4, MAX_OUT = 96 };

static struct qvl_engine *engine;
static uint8_t pixels[2][SIDE * SIDE * 3];

static int open_engine(void **state)
{
    (void)state;
    golden_picture(1, SIDE, SIDE, pixels[0]);
    golden_picture(2, SIDE, SIDE, pixels[1]);
    return open_loaded((struct qvl_engine_options){.n_thread = 2, .n_ctx = 8192, .n_prefill_chunk = 16,
                                                   .no_vision_cache = true}, /* every picture is seen anew */
                       &engine);
}

static int close_engine(void **state)
{
    (void)state;
    qvl_engine_close(engine);
    return 0;
}

static struct qvl_request_options greedy(uint32_t max_tokens)
{
    return (struct qvl_request_options){.sampling = {.top_p = 1, .repetition_penalty = 1},
                                        .max_tokens = max_tokens, .ignore_eos = true, .no_loop_guard = true,
                                        .n_top_logits = N_TOP};
}

/* Picture `seed` (none below 0) and a text. */
static struct qvl_request *open_request(struct qvl_engine *on, int seed, const char *text,
                                        const struct qvl_request_options *options)
{
    static struct qvl_frame frame[2]; /* must live until the request is ready */
    struct qvl_part part[2] = {{.kind = QVL_PART_IMAGE, .source = {.from = QVL_FROM_FRAMES, .n_frame = 1}},
                               {.kind = QVL_PART_TEXT, .utf8 = text, .n = strlen(text)}};
    if (seed >= 0) {
        frame[seed] = (struct qvl_frame){SIDE, SIDE, SIDE * 3, pixels[seed], 0};
        part[0].source.frames = &frame[seed];
    }
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = seed < 0 ? part + 1 : part,
                                  .n_part = seed < 0 ? 1 : 2};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    struct qvl_request *request = NULL;
    struct qvl_error err = {0};
    assert_int_equal(qvl_request_open(on, &chat, options, &request, &err), QVL_OK);
    return request;
}

struct result {
    size_t n;
    uint32_t id[MAX_OUT];
    struct qvl_token_logit top[MAX_OUT][N_TOP];
    enum qvl_finish finish;
    enum qvl_status status;
    struct qvl_error err;
};

/* Takes one event; false when the request is over. */
static bool pull(struct qvl_request *request, struct result *r)
{
    struct qvl_event event;
    r->status = qvl_request_next(request, &event, &r->err);
    if (r->status)
        return false;
    if (event.kind == QVL_EVENT_TEXT) {
        assert_true(r->n < MAX_OUT);
        r->id[r->n] = event.text.id;
        assert_int_equal(event.text.n_top, N_TOP);
        memcpy(r->top[r->n++], event.text.top, sizeof r->top[0]);
    }
    r->finish = event.done.finish;
    return event.kind != QVL_EVENT_DONE;
}

static struct result run_alone(int seed, const char *text, uint32_t max_tokens)
{
    struct qvl_request_options options = greedy(max_tokens);
    struct qvl_request *request = open_request(engine, seed, text, &options);
    struct result r = {0};
    while (pull(request, &r))
        continue;
    qvl_request_close(request);
    assert_int_equal(r.status, QVL_OK);
    return r;
}

static void assert_same(const struct result *a, const struct result *b)
{
    assert_int_equal(a->status, QVL_OK);
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->id, b->id, sizeof a->id);
    assert_memory_equal(a->top, b->top, sizeof a->top);
}

/* Two requests in turns; the first is cancelled after `n_before_cancel` events of its own (0 = never). */
static void run_beside(size_t n_before_cancel, const struct result *want)
{
    struct qvl_request_options options = greedy(64);
    struct qvl_request *a = open_request(engine, 0, "What is it?", &options);
    struct qvl_request *b = open_request(engine, 1, "Count the squares, please.", &options);
    struct result ra = {0}, rb = {0};
    bool is_a_open = true, is_b_open = true;
    for (size_t n_a = 0; is_a_open || is_b_open;) {
        if (is_a_open) {
            if (++n_a == n_before_cancel)
                qvl_request_cancel(a);
            is_a_open = pull(a, &ra);
        }
        if (is_b_open)
            is_b_open = pull(b, &rb);
    }
    assert_int_equal(ra.status, n_before_cancel ? QVL_ERR_CANCELLED : QVL_OK);
    assert_same(&rb, want);
    qvl_request_close(a);
    qvl_request_close(b);
}

static void neighbours_do_not_change_a_bit(void **state)
{
    (void)state;
    struct result want = run_alone(1, "Count the squares, please.", 64);
    assert_int_equal(want.n, 64);
    run_beside(0, &want);
}

static void a_cancelled_neighbour_does_not_change_a_bit(void **state)
{
    (void)state;
    struct result want = run_alone(1, "Count the squares, please.", 64);
    for (size_t n = 1; n <= 40; n += 3)
        run_beside(n, &want);
}

/* ---- cancel from another thread ------------------------------------------------------------------ */

struct canceller {
    struct qvl_request *request;
    long after_us;
};

static void *cancel_later(void *arg)
{
    struct canceller *c = arg;
    struct timespec t = {c->after_us / 1000000, c->after_us % 1000000 * 1000};
    nanosleep(&t, NULL);
    qvl_request_cancel(c->request);
    return NULL;
}

/* At whatever stage the request is after that time, it ends, and the engine goes on. Whoever cancels may come late: long
 * before the answer could end by itself nothing more is taken until he has. */
static void cancel_at_any_time_ends_the_request(void **state)
{
    (void)state;
    for (long after_us = 0; after_us < 60000; after_us += 2500) {
        struct qvl_request_options options = greedy(0);
        struct qvl_request *request = open_request(engine, 0, "Go on and on.", &options);
        struct canceller canceller = {request, after_us};
        pthread_t thread;
        struct qvl_event event;
        struct qvl_error err = {0};
        assert_int_equal(pthread_create(&thread, NULL, cancel_later, &canceller), 0);
        enum qvl_status status = QVL_OK;
        for (size_t i = 0; !status && i < 2000; i++)
            status = qvl_request_next(request, &event, &err);
        pthread_join(thread, NULL);
        if (!status)
            status = qvl_request_next(request, &event, &err);
        assert_int_equal(status, QVL_ERR_CANCELLED);
        assert_int_equal(qvl_request_next(request, &event, &err), QVL_ERR_ARGUMENT);
        qvl_request_close(request);
    }
    struct result after = run_alone(-1, "Still there?", 4);
    assert_int_equal(after.n, 4);
}

/* A helper that never answers must not hold a cancel back. */
static void cancel_reaches_a_hanging_decoder(void **state)
{
    (void)state;
    char helper[] = "/tmp/qvl-hanging-helper-XXXXXX";
    int fd = mkstemp(helper);
    assert_true(fd >= 0);
    const char script[] = "#!/bin/sh\nexec sleep 60\n";
    assert_int_equal(write(fd, script, sizeof script - 1), sizeof script - 1);
    fchmod(fd, 0700);
    close(fd);
    struct qvl_engine *slow = NULL;
    struct qvl_error err = {0};
    struct qvl_engine_options set = {.model_dir = model_folder('a'), .media_helper = helper};
    assert_int_equal(qvl_engine_open(&set, &slow, &err), QVL_OK);
    struct qvl_part part = {.kind = QVL_PART_IMAGE,
                            .source = {.from = QVL_FROM_BYTES, .name = "x", .bytes = (const uint8_t *)"\xFF\xD8\xFF",
                                       .n_bytes = 3}};
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = &part, .n_part = 1};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    struct qvl_request_options options = greedy(4);
    struct qvl_request *request = NULL;
    assert_int_equal(qvl_request_open(slow, &chat, &options, &request, &err), QVL_OK);
    struct canceller canceller = {request, 200000};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &canceller), 0);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_CANCELLED);
    pthread_join(thread, NULL);
    qvl_request_close(request);
    qvl_engine_close(slow);
    unlink(helper);
}

/* ---- limits -------------------------------------------------------------------------------------- */

static void what_cannot_fit_is_refused_with_the_numbers(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    struct qvl_request_info info;
    struct qvl_request_options options = greedy(4);
    struct qvl_request *request = open_request(engine, 0, "x", &options);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_OK);
    qvl_request_get_info(request, &info);
    size_t n_prompt = info.n_prompt_tok;
    assert_int_equal(info.n_media, 1);
    assert_int_equal(info.media[0].n_tok, SIDE / 32 * (SIDE / 32));
    qvl_request_close(request);

    options.max_tokens = 8192 - (uint32_t)n_prompt; /* the last that fits */
    request = open_request(engine, 0, "x", &options);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_OK);
    qvl_request_close(request);
    options.max_tokens++;
    request = open_request(engine, 0, "x", &options);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_LIMIT);
    char number[32];
    snprintf(number, sizeof number, "%u", options.max_tokens);
    assert_non_null(strstr(err.text, number));
    assert_non_null(strstr(err.text, "8192"));
    qvl_request_close(request);
}

static void text_that_cannot_fit_is_not_encoded(void **state)
{
    (void)state;
    size_t n = 48u << 20;
    char *text = malloc(n + 1);
    assert_non_null(text);
    memset(text, 'a', n);
    text[n] = '\0';
    struct qvl_request_options options = greedy(1);
    struct qvl_request *request = open_request(engine, -1, text, &options);
    struct qvl_error err = {0};
    assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_LIMIT);
    assert_non_null(strstr(err.text, "at least"));
    qvl_request_close(request);
    text[8000] = '\0'; /* of this the length is counted */
    request = open_request(engine, -1, text, &options);
    assert_true(qvl_request_prepare(request, &err) == QVL_OK || !strstr(err.text, "at least"));
    qvl_request_close(request);
    free(text);
}

static void a_default_answer_takes_the_room_there_is(void **state)
{
    (void)state;
    struct qvl_engine *small = NULL;
    struct qvl_error err = {0};
    struct qvl_engine_options set = {.model_dir = model_folder('a'), .n_ctx = 40};
    assert_int_equal(qvl_engine_open(&set, &small, &err), QVL_OK);
    assert_int_equal(qvl_engine_load(small, &err), QVL_OK);
    struct qvl_request_options options = greedy(0);
    struct qvl_request *request = open_request(small, -1, "x", &options);
    struct qvl_request_info info;
    struct result r = {0};
    while (pull(request, &r))
        continue;
    qvl_request_get_info(request, &info);
    assert_int_equal(r.status, QVL_OK);
    assert_int_equal(r.finish, QVL_FINISH_LENGTH);
    assert_int_equal(info.n_prompt_tok + info.n_output_tok, 40);
    qvl_request_close(request);
    request = open_request(small, 0, "a picture is too much", &options);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_LIMIT);
    qvl_request_close(request);
    qvl_engine_close(small);
}

static void bad_arguments_are_refused_at_once(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    struct qvl_request *request = NULL;
    struct qvl_request_options options = greedy(4);
    struct qvl_chat empty = {0};
    assert_int_equal(qvl_request_open(engine, &empty, &options, &request, &err), QVL_ERR_ARGUMENT);
    struct qvl_part clip = {.kind = QVL_PART_VIDEO, .source = {.name = "a.mp4"}};
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = &clip, .n_part = 1};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    assert_int_equal(qvl_request_open(engine, &chat, &options, &request, &err), QVL_ERR_MEDIA);
    assert_non_null(strstr(err.text, "a.mp4"));
    struct qvl_part text = {.kind = QVL_PART_TEXT, .utf8 = "x", .n = 1};
    message.parts = &text;
    options.n_top_logits = 65;
    assert_int_equal(qvl_request_open(engine, &chat, &options, &request, &err), QVL_ERR_LIMIT);
    options = greedy(4);
    options.sampling.top_p = -1;
    assert_int_equal(qvl_request_open(engine, &chat, &options, &request, &err), QVL_ERR_ARGUMENT);
    assert_null(request);
}

/* ---- clips --------------------------------------------------------------------------------------- */

/* The status of opening and preparing a clip of these frames; *info (may be NULL) of the prepared request. */
static enum qvl_status prepare_clip(const struct qvl_frame *frame, size_t n, struct qvl_chat chat,
                                    struct qvl_media_info *info, struct qvl_request_info *counts,
                                    struct qvl_error *err)
{
    struct qvl_part part = {.kind = QVL_PART_VIDEO,
                            .source = {.from = QVL_FROM_FRAMES, .name = "c", .frames = frame, .n_frame = n}};
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = &part, .n_part = 1};
    struct qvl_request_options options = greedy(1);
    struct qvl_request *request = NULL;
    struct qvl_request_info all;
    chat.messages = &message;
    chat.n_message = 1;
    enum qvl_status status = qvl_request_open(engine, &chat, &options, &request, err);
    if (!status && !(status = qvl_request_prepare(request, err)) && info) {
        qvl_request_get_info(request, &all);
        assert_int_equal(all.n_media, 1);
        *info = all.media[0];
        *counts = all;
    }
    qvl_request_close(request);
    return status;
}

static void a_clip_has_its_size_and_tokens(void **state)
{
    (void)state;
    struct qvl_frame frame[5];
    struct qvl_media_info info;
    struct qvl_request_info all;
    struct qvl_error err = {0};
    for (size_t i = 0; i < 5; i++)
        frame[i] = (struct qvl_frame){SIDE, 100, SIDE * 3, pixels[i % 2], (double)i};
    for (size_t n = 1; n <= 5; n++) { /* an odd last frame and a single one count twice */
        assert_int_equal(prepare_clip(frame, n, (struct qvl_chat){0}, &info, &all, &err), QVL_OK);
        size_t n_plain = all.n_prompt_tok, n_patch = (n + 1) / 2;
        assert_int_equal(info.kind, QVL_MEDIA_VIDEO);
        assert_int_equal(info.original_h, 100);
        assert_int_equal(info.resized_h, 96);
        assert_int_equal(info.resized_w, 192);
        assert_int_equal(info.grid_t, n_patch);
        assert_int_equal(info.n_tok, n_patch * 18);
        assert_int_equal(all.n_video_tok, n_patch * 18);
        assert_int_equal(all.n_image_tok, 0);
        struct qvl_chat wrapped = {.want_video_wrapper = true};
        assert_int_equal(prepare_clip(frame, n, wrapped, &info, &all, &err), QVL_OK);
        assert_int_equal(all.n_prompt_tok, n_plain + 2);
    }
}

static void a_clip_that_is_none_is_refused(void **state)
{
    (void)state;
    struct qvl_frame good[3], frame[3];
    struct qvl_error err = {0};
    const struct qvl_chat chat = {0};
    for (size_t i = 0; i < 3; i++)
        good[i] = (struct qvl_frame){64, 64, 192, pixels[0], 1.0 + (double)i};
    const struct {
        struct qvl_frame third;
        enum qvl_status status;
        const char *sentence;
    } bad[] = {
        {{64, 32, 192, pixels[0], 3}, QVL_ERR_MEDIA, "c: frame 3 has 64 x 32 pixels, but the first one 64 x 64"},
        {{64, 64, 192, pixels[0], 1.5}, QVL_ERR_MEDIA, "c: frame 3 has the time 1.5 s"},
        {{64, 64, 192, pixels[0], (double)NAN}, QVL_ERR_MEDIA, "c: frame 3 has the time nan s"},
        {{64, 64, 192, pixels[0], 1e6 + 1}, QVL_ERR_MEDIA, "1000000 s"},
        {{64, 64, 191, pixels[0], 3}, QVL_ERR_ARGUMENT, "rows of 191 bytes"},
        {{64, 64, 192, NULL, 3}, QVL_ERR_ARGUMENT, "without pixels"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(frame, good, sizeof frame);
        frame[2] = bad[i].third;
        assert_int_equal(prepare_clip(frame, 3, chat, NULL, NULL, &err), bad[i].status);
        if (!strstr(err.text, bad[i].sentence))
            fail_msg("\"%s\" does not say \"%s\"", err.text, bad[i].sentence);
    }
    good[0].time_s = -0.5;
    assert_int_equal(prepare_clip(good, 3, chat, NULL, NULL, &err), QVL_ERR_MEDIA);
    assert_int_equal(prepare_clip(good, 0, chat, NULL, NULL, &err), QVL_ERR_MEDIA);
    assert_int_equal(prepare_clip(good, QVL_MAX_CLIP_FRAMES + 1, chat, NULL, NULL, &err), QVL_ERR_LIMIT);
    assert_non_null(strstr(err.text, "16385"));
    static struct qvl_frame many[QVL_MAX_CLIP_FRAMES]; /* the most there may be: too much for this context */
    for (size_t i = 0; i < QVL_MAX_CLIP_FRAMES; i++)
        many[i] = (struct qvl_frame){64, 64, 192, pixels[0], 1e6};
    assert_int_equal(prepare_clip(many, QVL_MAX_CLIP_FRAMES, chat, NULL, NULL, &err), QVL_ERR_LIMIT);
    assert_non_null(strstr(err.text, "8192"));
}

/* A picture between two clips: each keeps its own features and times, whatever stands before it. */
static struct result run_mixed(struct qvl_engine *on)
{
    static struct qvl_frame frame[5];
    struct qvl_part part[3] = {
        {.kind = QVL_PART_VIDEO, .source = {.from = QVL_FROM_FRAMES, .frames = frame, .n_frame = 3}},
        {.kind = QVL_PART_IMAGE, .source = {.from = QVL_FROM_FRAMES, .frames = frame + 3, .n_frame = 1}},
        {.kind = QVL_PART_VIDEO, .source = {.from = QVL_FROM_FRAMES, .frames = frame, .n_frame = 5}}};
    for (size_t i = 0; i < 5; i++)
        frame[i] = (struct qvl_frame){SIDE, SIDE, SIDE * 3, pixels[i % 2], (double)i / 3};
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = part, .n_part = 3};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    struct qvl_request_options options = greedy(16);
    struct qvl_request *request = NULL;
    struct qvl_event event = {0};
    struct result r = {0};
    assert_int_equal(qvl_request_open(on, &chat, &options, &request, &r.err), QVL_OK);
    uint64_t done[3] = {0};
    for (;;) {
        r.status = qvl_request_next(request, &event, &r.err);
        if (r.status || event.kind == QVL_EVENT_DONE)
            break;
        if (event.kind == QVL_EVENT_TEXT) {
            r.id[r.n] = event.text.id;
            memcpy(r.top[r.n++], event.text.top, sizeof r.top[0]);
        } else if (event.progress.stage == QVL_STAGE_VISION) {
            assert_true(event.progress.i_media < 3 && event.progress.done <= event.progress.total);
            assert_true(event.progress.done >= done[event.progress.i_media]); /* never back */
            done[event.progress.i_media] = event.progress.done;
        }
    }
    qvl_request_close(request);
    return r;
}

static void clips_and_pictures_keep_apart(void **state)
{
    (void)state;
    struct qvl_engine *whole = NULL;
    struct qvl_error err = {0};
    struct qvl_engine_options set = {.model_dir = model_folder('a'), .n_thread = 1, .n_ctx = 8192,
                                     .n_prefill_chunk = 4096, .no_vision_cache = true};
    assert_int_equal(qvl_engine_open(&set, &whole, &err), QVL_OK);
    assert_int_equal(qvl_engine_load(whole, &err), QVL_OK);
    struct result a = run_mixed(engine), b = run_mixed(whole);
    assert_int_equal(a.n, 16);
    assert_same(&a, &b);
    qvl_engine_close(whole);
}

/* ---- ends ---------------------------------------------------------------------------------------- */

/* Greedy with ignore_eos off ends where the sampler first meets an end token; here the stop string does it. */
static void a_stop_string_ends_the_answer(void **state)
{
    (void)state;
    struct qvl_request_options options = greedy(64);
    struct qvl_request *request = open_request(engine, -1, "hello", &options);
    struct qvl_event event;
    struct qvl_error err = {0};
    char whole[4096] = "", cut[4096] = "";
    for (;;) {
        assert_int_equal(qvl_request_next(request, &event, &err), QVL_OK);
        if (event.kind == QVL_EVENT_DONE)
            break;
        if (event.kind == QVL_EVENT_TEXT && event.text.n)
            strncat(whole, event.text.utf8, event.text.n);
    }
    qvl_request_close(request);
    assert_true(strlen(whole) >= 20);
    char stop[4] = {whole[10], whole[11], whole[12], 0};
    if (!((unsigned char)(whole[10] | whole[11] | whole[12]) < 0x80))
        fail_msg("the golden model's text changed: choose other characters");
    const char *const stops[] = {stop};
    options.stop = stops;
    options.n_stop = 1;
    request = open_request(engine, -1, "hello", &options);
    for (;;) {
        assert_int_equal(qvl_request_next(request, &event, &err), QVL_OK);
        if (event.kind == QVL_EVENT_DONE)
            break;
        if (event.kind == QVL_EVENT_TEXT && event.text.n)
            strncat(cut, event.text.utf8, event.text.n);
    }
    assert_int_equal(event.done.finish, QVL_FINISH_STOP);
    assert_string_equal(event.done.stop, stop);
    assert_int_equal(strlen(cut), strstr(whole, stop) - whole);
    assert_memory_equal(cut, whole, strlen(cut));
    qvl_request_close(request);
}

/* A caller that does not read stops only its own request: the queue is bounded, the other one ends. */
static void a_slow_reader_holds_nobody_up(void **state)
{
    (void)state;
    struct qvl_request_options options = greedy(96);
    struct qvl_request *slow = open_request(engine, -1, "slow", &options);
    struct result first = {0}, r = {0};
    while (first.n < 1)
        assert_true(pull(slow, &first));
    r = run_alone(-1, "fast", 96);
    assert_int_equal(r.n, 96);
    while (pull(slow, &first))
        continue;
    assert_int_equal(first.status, QVL_OK);
    assert_int_equal(first.n, 96);
    qvl_request_close(slow);
}

static void *pull_to_the_end(void *arg)
{
    struct result r = {0};
    while (pull(arg, &r))
        r.n = 0; /* only the events count */
    return NULL;
}

/* Gives a prepared request to the scheduler; the share of its prompt that has been read. */
static double begin(struct qvl_request *request)
{
    struct qvl_event event = {0};
    struct qvl_error err = {0};
    assert_int_equal(qvl_request_next(request, &event, &err), QVL_OK);
    if (event.kind == QVL_EVENT_PROGRESS && event.progress.stage == QVL_STAGE_QUEUE)
        return 0;
    return event.kind == QVL_EVENT_PROGRESS ? (double)event.progress.done / (double)event.progress.total : 1;
}

/* Two long prompts beside a stream: neither waits for the other's end. */
static void prompts_take_turns_beside_a_stream(void **state)
{
    (void)state;
    char text[1001];
    memset(text, 'x', 1000);
    for (size_t i = 1; i < 1000; i += 2)
        text[i] = ' ';
    text[1000] = 0;
    struct qvl_request_options options = greedy(4000), few = greedy(1);
    struct qvl_request *stream = open_request(engine, -1, "stream", &options);
    struct qvl_request *a = NULL, *b = NULL;
    struct result r = {0};
    struct qvl_event event = {0};
    struct qvl_error err = {0};
    pthread_t thread;
    while (r.n < 1)
        assert_true(pull(stream, &r));
    assert_int_equal(pthread_create(&thread, NULL, pull_to_the_end, stream), 0);
    for (int i = 0; i < 100; i++) { /* until this thread need not wait between the two */
        a = open_request(engine, -1, text, &few);
        b = open_request(engine, -1, text, &few);
        assert_int_equal(qvl_request_prepare(a, &err), QVL_OK);
        assert_int_equal(qvl_request_prepare(b, &err), QVL_OK);
        begin(a);
        begin(b);
        if (begin(a) < 0.25) /* not far before b came */
            break;
        qvl_request_close(a);
        qvl_request_close(b);
        a = b = NULL;
    }
    assert_non_null(a);
    do
        assert_int_equal(qvl_request_next(a, &event, &err), QVL_OK);
    while (event.kind != QVL_EVENT_TEXT);
    do
        assert_int_equal(qvl_request_next(b, &event, &err), QVL_OK);
    while (event.kind == QVL_EVENT_PROGRESS && event.progress.stage == QVL_STAGE_QUEUE);
    if (event.kind == QVL_EVENT_PROGRESS) /* nearly as far as a; its text, if it was overtaken */
        assert_true(event.progress.done >= event.progress.total / 2);
    qvl_request_cancel(stream);
    pthread_join(thread, NULL);
    qvl_request_close(a);
    qvl_request_close(b);
    qvl_request_close(stream);
}

static void count_tensor(void *user, const char *name, enum qvl_trace_type type, const void *data,
                         const size_t *dim, size_t n_dim)
{
    int *n = user;
    (void)data;
    if (strcmp(name, "prompt.pixels.0") == 0 && type == QVL_TRACE_U8 && n_dim == 3 && dim[0] == SIDE &&
        dim[1] == SIDE && dim[2] == 3)
        n[0]++;
    if (strcmp(name, "logits") == 0)
        n[1]++;
}

static void a_traced_request_gives_the_same_bits(void **state)
{
    (void)state;
    struct result want = run_alone(0, "trace", 12);
    int n[2] = {0};
    struct qvl_request_options options = greedy(12);
    options.trace = (struct qvl_trace){.user = n, .tensor = count_tensor};
    struct qvl_request *request = open_request(engine, 0, "trace", &options);
    struct result r = {0};
    while (pull(request, &r))
        continue;
    qvl_request_close(request);
    assert_same(&r, &want);
    assert_int_equal(n[0], 1);
    assert_true(n[1] >= 12);
}

struct chunks {
    size_t n, n_row, smallest, largest;
};

static void measure_chunk(void *user, const char *name, enum qvl_trace_type type, const void *data,
                          const size_t *dim, size_t n_dim)
{
    struct chunks *c = user;
    (void)type, (void)data, (void)n_dim;
    if (strcmp(name, "decoder.embed") != 0)
        return;
    c->smallest = c->n == 0 || dim[0] < c->smallest ? dim[0] : c->smallest;
    c->largest = dim[0] > c->largest ? dim[0] : c->largest;
    c->n_row += dim[0];
    c->n++;
}

/* As few chunks as 16 rows allow, none of them short. Every length of the last chunk comes up. */
static void a_prompt_is_cut_evenly(void **state)
{
    (void)state;
    char text[64];
    size_t n_most = 0;
    for (size_t n = 1; n < sizeof text; n++) {
        memset(text, 0, sizeof text);
        for (size_t i = 0; i < n; i++)
            text[i] = i % 2 ? '!' : '7'; /* a token each */
        struct chunks c = {0};
        struct qvl_request_options options = greedy(1);
        options.trace = (struct qvl_trace){.user = &c, .tensor = measure_chunk};
        struct qvl_request *request = open_request(engine, -1, text, &options);
        struct result r = {0};
        while (pull(request, &r))
            continue;
        qvl_request_close(request);
        assert_int_equal(r.status, QVL_OK);
        assert_int_equal(c.n, (c.n_row + 15) / 16);
        assert_true(c.largest <= 16 && c.largest - c.smallest <= 1);
        n_most = c.n > n_most ? c.n : n_most;
    }
    assert_true(n_most >= 4);
}

/* The last value of the file, which is bf16, becomes NaN. */
static void one_weight_that_is_no_number_is_named(void **state)
{
    (void)state;
    struct qvl_engine *broken = NULL;
    struct qvl_engine_info info;
    struct qvl_error err = {0};
    char path[256];
    assert_int_equal(qvl_engine_check_weights(engine, &err), QVL_OK); /* loaded and in use */
    snprintf(path, sizeof path, "%s/model.safetensors", model_folder('b'));
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -2, SEEK_END), 0);
    assert_int_equal(fwrite("\xc0\x7f", 1, 2, f), 2);
    assert_int_equal(fclose(f), 0);
    struct qvl_engine_options options = {.model_dir = model_folder('b'), .n_thread = 2};
    assert_int_equal(qvl_engine_open(&options, &broken, &err), QVL_OK);
    qvl_engine_get_info(broken, &info);
    assert_int_equal(info.n_parameter, info.weight_bytes / 2);
    assert_int_equal(qvl_engine_check_weights(broken, &err), QVL_ERR_MODEL);
    assert_non_null(strstr(err.text, "is infinite or not a number"));
    unsigned long long at = 0, n = 1;
    assert_int_equal(sscanf(strstr(err.text, ": value "), ": value %llu of %llu", &at, &n), 2);
    assert_int_equal(at, n - 1); /* counted from 0 */
    qvl_engine_close(broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_do_not_change_a_bit),
        cmocka_unit_test(a_cancelled_neighbour_does_not_change_a_bit),
        cmocka_unit_test(cancel_at_any_time_ends_the_request),
        cmocka_unit_test(cancel_reaches_a_hanging_decoder),
        cmocka_unit_test(what_cannot_fit_is_refused_with_the_numbers),
        cmocka_unit_test(text_that_cannot_fit_is_not_encoded),
        cmocka_unit_test(a_default_answer_takes_the_room_there_is),
        cmocka_unit_test(bad_arguments_are_refused_at_once),
        cmocka_unit_test(a_clip_has_its_size_and_tokens),
        cmocka_unit_test(a_clip_that_is_none_is_refused),
        cmocka_unit_test(clips_and_pictures_keep_apart),
        cmocka_unit_test(a_stop_string_ends_the_answer),
        cmocka_unit_test(a_slow_reader_holds_nobody_up),
        cmocka_unit_test(prompts_take_turns_beside_a_stream),
        cmocka_unit_test(a_traced_request_gives_the_same_bits),
        cmocka_unit_test(one_weight_that_is_no_number_is_named),
        cmocka_unit_test(a_prompt_is_cut_evenly),
    };
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
