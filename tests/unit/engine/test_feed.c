/* Pictures and clips on their way to the vision tower: held in part, decoded while the model works, from sources of
 * every kind, with the same bits; cancelled, broken and skipped in the middle. */
#include "engine/feed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../golden/golden_model.h"
#include "engine/engine.h"
#include "model/resize.h"
#include "model_folder.h"

/* Frames of 64 x 64 pixels, enlarged so that each temporal patch is a group of its own: a hold of four frames. */
enum {
    SIDE = 64,
    BIG_SIDE = 384,
    N_FRAME = 13,
    N_HOLD = 4,
    N_OUT = 3,
    N_TOP = 4,
    N_BMP_BYTES = 54 + SIDE * SIDE * 3
};

static const struct qvl_media_options enlarged = {.min_pixels = BIG_SIDE * BIG_SIDE};

static struct qvl_engine *engine;
static uint8_t rgb8[N_FRAME][SIDE * SIDE * 3];
static uint8_t bmp[N_FRAME][N_BMP_BYTES];
static struct qvl_frame frame[N_FRAME];
static struct qvl_picture_file picture[N_FRAME];
static struct qvl_media_source from_frames, from_pictures;

/* A Windows bitmap of 24 bits: rows from the bottom, blue first. */
static void write_bmp(const uint8_t *rgb, uint8_t *out)
{
    const uint32_t head[] = {N_BMP_BYTES, 0, 54, 40, SIDE, SIDE, 1 | 24 << 16, 0, SIDE * SIDE * 3, 0, 0, 0, 0};
    memcpy(out, "BM", 2);
    memcpy(out + 2, head, sizeof head);
    for (size_t y = 0; y < SIDE; y++)
        for (size_t x = 0; x < SIDE * 3; x++)
            out[54 + y * SIDE * 3 + x] = rgb[(SIDE - 1 - y) * SIDE * 3 + x / 3 * 3 + (2 - x % 3)];
}

static int open_engine(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FRAME; i++) {
        golden_picture((uint32_t)i + 1, SIDE, SIDE, rgb8[i]);
        write_bmp(rgb8[i], bmp[i]);
        frame[i] = (struct qvl_frame){SIDE, SIDE, SIDE * 3, rgb8[i], (double)i / 2};
        picture[i] = (struct qvl_picture_file){.bytes = bmp[i], .n_bytes = N_BMP_BYTES, .time_s = (double)i / 2};
    }
    from_frames =
        (struct qvl_media_source){.from = QVL_FROM_FRAMES, .name = "c", .frames = frame, .n_frame = N_FRAME};
    from_pictures =
        (struct qvl_media_source){.from = QVL_FROM_PICTURES, .name = "c", .pictures = picture, .n_frame = N_FRAME};
    return open_loaded((struct qvl_engine_options){.media_helper = media_helper_path(),
                                                   .n_thread = 2,
                                                   .n_ctx = 8192,
                                                   .n_prefill_chunk = 200,
                                                   .no_vision_cache = true}, /* every clip is seen anew */
                       &engine);
}

static int close_engine(void **state)
{
    (void)state;
    qvl_engine_close(engine);
    return 0;
}

static struct qvl_request *open_request(const struct qvl_media_source *source, const struct qvl_trace *trace)
{
    struct qvl_part part[] = {{.kind = QVL_PART_VIDEO, .source = *source, .media = enlarged},
                              {.kind = QVL_PART_TEXT, .utf8 = "What?", .n = 5}};
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = part, .n_part = 2};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    struct qvl_request_options options = {.sampling = {.top_p = 1, .repetition_penalty = 1},
                                          .max_tokens = N_OUT,
                                          .ignore_eos = true,
                                          .no_loop_guard = true,
                                          .n_top_logits = N_TOP};
    struct qvl_request *request = NULL;
    struct qvl_error err = {0};
    if (trace)
        options.trace = *trace;
    if (qvl_request_open(engine, &chat, &options, &request, &err))
        fail_msg("%s", err.text);
    return request;
}

struct result {
    size_t n;
    uint32_t id[N_OUT];
    struct qvl_token_logit top[N_OUT][N_TOP];
    enum qvl_status status;
    struct qvl_error err;
    uint64_t media_done, vision_done; /* of the newest event */
};

static void check_hold(struct qvl_request *r)
{
    pthread_mutex_lock(&engine->lock);
    const struct qvl_media_item *item = &r->feed.item[0];
    assert_true(item->n_released <= item->n_resized && item->n_resized - item->n_released <= item->n_hold);
    pthread_mutex_unlock(&engine->lock);
}

/* Takes one event; false when the request is over. */
static bool pull(struct qvl_request *request, struct result *r)
{
    struct qvl_event event;
    r->status = qvl_request_next(request, &event, &r->err);
    check_hold(request);
    if (r->status)
        return false;
    if (event.kind == QVL_EVENT_TEXT) {
        assert_true(r->n < N_OUT);
        r->id[r->n] = event.text.id;
        memcpy(r->top[r->n++], event.text.top, sizeof r->top[0]);
    }
    if (event.kind == QVL_EVENT_PROGRESS) {
        uint64_t *done = event.progress.stage == QVL_STAGE_MEDIA    ? &r->media_done
                         : event.progress.stage == QVL_STAGE_VISION ? &r->vision_done
                                                                    : NULL;
        if (done) { /* never back, never beyond the end */
            assert_true(event.progress.done >= *done && event.progress.done <= event.progress.total);
            *done = event.progress.done;
        }
    }
    return event.kind != QVL_EVENT_DONE;
}

static void finish(struct qvl_request *request, struct result *r)
{
    while (pull(request, r))
        continue;
    qvl_request_close(request);
}

static struct result run(const struct qvl_media_source *source)
{
    struct result r = {0};
    finish(open_request(source, NULL), &r);
    if (r.status)
        fail_msg("%s", r.err.text);
    assert_int_equal(r.n, N_OUT);
    return r;
}

/* Of the clip as frames, which other tests are compared with. */
static struct result *wanted(void)
{
    static struct result of_frames;
    if (of_frames.n == 0)
        of_frames = run(&from_frames);
    return &of_frames;
}

static void assert_same(const struct result *a, const struct result *b)
{
    assert_int_equal(a->status, QVL_OK);
    assert_int_equal(b->status, QVL_OK);
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->id, b->id, sizeof a->id);
    assert_memory_equal(a->top, b->top, sizeof a->top);
}

/* A request inside its clip: the tower has begun, frames are left to decode. Where this thread has to wait long for
 * its turn the clip may be over before it looks; then another one is opened. */
static struct qvl_request *open_inside(const struct qvl_media_source *source, struct result *r)
{
    for (int i = 0; i < 100; i++) {
        struct qvl_request *request = open_request(source, NULL);
        *r = (struct result){0};
        while (r->vision_done == 0)
            assert_true(pull(request, r));
        if (request->feed.item[0].n_resized < N_FRAME)
            return request;
        qvl_request_close(request);
    }
    fail_msg("each of 100 clips was decoded before its first event was seen");
    return NULL;
}

/* Up to where the next pull gives it to the scheduler: the first frames are held, no other has been read. */
static void prepare(struct qvl_request *request, struct result *r)
{
    while (!qvl_request_is_prepared(request))
        assert_true(pull(request, r));
    assert_int_equal(request->feed.item[0].n_resized, N_HOLD);
}

/* ---- the hold ------------------------------------------------------------------------------------ */

static void a_prepared_clip_is_held_in_part(void **state)
{
    (void)state;
    struct qvl_request *request = open_request(&from_frames, NULL);
    struct qvl_event event;
    struct qvl_error err = {0};
    uint64_t n_step = 0;
    assert_false(qvl_request_is_prepared(request));
    while (!qvl_request_is_prepared(request)) {
        assert_int_equal(qvl_request_next(request, &event, &err), QVL_OK);
        assert_int_equal(event.progress.stage, QVL_STAGE_MEDIA);
        assert_int_equal(event.progress.total, 2); /* measured, first frames there */
        n_step++;
    }
    assert_int_equal(event.progress.done, 2);
    assert_int_equal(n_step, 1 + 1 + N_HOLD); /* rendered, measured, filled */
    const struct qvl_media_item *item = &request->feed.item[0];
    assert_int_equal(item->n_hold, N_HOLD);
    assert_int_equal(item->n_resized, N_HOLD);
    assert_int_equal(item->plan->info.resized_h, BIG_SIDE);
    assert_int_equal(item->plan->n_frame, N_FRAME);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_OK); /* once more: nothing is left to do */
    assert_int_equal(item->n_resized, N_HOLD);
    qvl_request_close(request);
}

static void the_info_of_a_clip_names_its_frames(void **state)
{
    (void)state;
    struct qvl_request *request = open_request(&from_frames, NULL);
    struct qvl_request_info all;
    struct qvl_error err = {0};
    assert_int_equal(qvl_request_prepare(request, &err), QVL_OK);
    qvl_request_get_info(request, &all);
    const struct qvl_media_info *info = &all.media[0];
    assert_string_equal(info->name, "c");
    assert_int_equal(info->n_frame, N_FRAME);
    assert_int_equal(info->grid_t, (N_FRAME + 1) / 2);
    for (size_t i = 0; i < N_FRAME; i++) {
        assert_int_equal(info->frame_index[i], i);
        assert_true(info->frame_s[i] == (double)i / 2);
    }
    for (size_t i = 0; i < N_FRAME / 2; i++)
        assert_true(info->patch_s[i] == (double)i + 0.25);
    assert_true(info->patch_s[N_FRAME / 2] == (double)(N_FRAME / 2)); /* the odd frame's own */
    assert_int_equal(info->n_frame_file, 0);
    assert_null(info->codec);
    qvl_request_close(request);
}

struct pixels {
    size_t n_frame, n_piece;
};

/* Each temporal patch is traced as it is cut: two frames, or the odd one, in the bytes that resizing gives. */
static void check_pixels(void *user, const char *name, enum qvl_trace_type type, const void *data,
                         const size_t *dim, size_t n_dim)
{
    struct pixels *seen = user;
    static uint8_t want[BIG_SIDE * BIG_SIDE * 3];
    struct qvl_error err = {0};
    if (strcmp(name, "prompt.pixels.0") != 0)
        return;
    assert_int_equal(type, QVL_TRACE_U8);
    assert_int_equal(n_dim, 4);
    assert_int_equal(dim[0], seen->n_frame + 1 == N_FRAME ? 1 : 2);
    assert_int_equal(dim[1], BIG_SIDE);
    assert_int_equal(dim[2], BIG_SIDE);
    assert_int_equal(dim[3], 3);
    for (size_t i = 0; i < dim[0]; i++, seen->n_frame++) {
        assert_int_equal(qvl_resize_bicubic(&frame[seen->n_frame], BIG_SIDE, BIG_SIDE, QVL_RESIZE_TORCHVISION, want,
                                            NULL, NULL, &err),
                         QVL_OK);
        assert_memory_equal((const uint8_t *)data + i * sizeof want, want, sizeof want);
    }
    seen->n_piece++;
}

static void every_frame_reaches_the_tower_once(void **state)
{
    (void)state;
    struct pixels seen = {0};
    struct qvl_trace trace = {.user = &seen, .tensor = check_pixels};
    struct result r = {0};
    finish(open_request(&from_frames, &trace), &r);
    assert_same(&r, wanted());
    assert_int_equal(seen.n_frame, N_FRAME);
    assert_int_equal(seen.n_piece, (N_FRAME + 1) / 2);
}

static void the_last_frame_frees_the_hold(void **state)
{
    (void)state;
    struct qvl_request *request = open_request(&from_pictures, NULL);
    struct result r = {0};
    while (r.n == 0)
        assert_true(pull(request, &r));
    assert_null(request->feed.item[0].rgb8);
    assert_int_equal(request->feed.item[0].n_released, N_FRAME);
    assert_null(request->feed.media); /* and the process of the decoder */
    finish(request, &r);
    assert_int_equal(r.status, QVL_OK);
}

/* ---- the same bits ------------------------------------------------------------------------------- */

static void pictures_are_a_clip_like_frames(void **state)
{
    (void)state;
    struct result pictures = run(&from_pictures);
    assert_same(&pictures, wanted());
}

static void a_slow_source_gives_the_same_bits(void **state)
{
    (void)state;
    struct result r = {0};
    struct qvl_request *request = open_request(&from_frames, NULL);
    const struct timespec pause = {0, 3000000};
    while (pull(request, &r))
        nanosleep(&pause, NULL);
    qvl_request_close(request);
    assert_same(&r, wanted());
}

static void two_clips_take_turns(void **state)
{
    (void)state;
    struct result a = {0}, b = {0};
    struct qvl_request *ra = open_request(&from_frames, NULL), *rb = open_request(&from_pictures, NULL);
    for (bool is_a_open = true, is_b_open = true; is_a_open || is_b_open;) {
        is_a_open = is_a_open && pull(ra, &a);
        is_b_open = is_b_open && pull(rb, &b);
    }
    qvl_request_close(ra);
    qvl_request_close(rb);
    assert_same(&a, wanted());
    assert_same(&b, wanted());
}

static void *finish_later(void *arg)
{
    struct result *r = calloc(1, sizeof *r);
    if (r)
        finish(arg, r);
    return r;
}

static void two_clips_decode_beside_each_other(void **state)
{
    (void)state;
    struct result a = {0};
    pthread_t thread;
    void *b = NULL;
    assert_int_equal(pthread_create(&thread, NULL, finish_later, open_request(&from_pictures, NULL)), 0);
    finish(open_request(&from_pictures, NULL), &a);
    pthread_join(thread, &b);
    assert_non_null(b);
    assert_same(&a, wanted());
    assert_same(b, wanted());
    free(b);
}

/* Its frames are missing, so it is not chosen: others go through to their end. */
static void a_clip_that_is_not_fed_holds_nobody_up(void **state)
{
    (void)state;
    struct result slow;
    struct qvl_request *request = open_inside(&from_frames, &slow);
    struct result other = run(&from_pictures);
    assert_same(&other, wanted());
    finish(request, &slow);
    assert_same(&slow, wanted());
}

/* ---- ends in the middle -------------------------------------------------------------------------- */

static void a_clip_can_be_cancelled_and_closed_anywhere(void **state)
{
    (void)state;
    for (size_t n = 1; n < 60; n += 7)
        for (int want_cancel = 0; want_cancel < 2; want_cancel++) {
            struct qvl_request *request = open_request(n % 2 ? &from_frames : &from_pictures, NULL);
            struct result r = {0};
            for (size_t i = 0; i < n && r.n < N_OUT - 1; i++) /* who pulls late is told less: not to the end */
                assert_true(pull(request, &r));
            if (want_cancel) {
                qvl_request_cancel(request);
                assert_false(pull(request, &r));
                assert_int_equal(r.status, QVL_ERR_CANCELLED);
            }
            qvl_request_close(request);
        }
    struct result after = run(&from_frames);
    assert_same(&after, wanted());
}

static void *cancel_soon(void *arg)
{
    const struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
    qvl_request_cancel(arg);
    return NULL;
}

static void a_cancel_from_another_thread_ends_a_clip(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct result r;
        struct qvl_request *request = open_inside(&from_pictures, &r);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, cancel_soon, request), 0);
        while (pull(request, &r))
            continue;
        assert_true(r.status == QVL_ERR_CANCELLED || (r.status == QVL_OK && r.n == N_OUT));
        pthread_join(thread, NULL);
        qvl_request_close(request);
    }
}

/* ---- pictures in files --------------------------------------------------------------------------- */

static char folder[] = "/tmp/qvl-feed-test-XXXXXX";
static char path[N_FRAME][sizeof folder + 8];
static struct qvl_picture_file in_file[N_FRAME];

static void write_file(size_t i, const void *bytes, size_t n)
{
    FILE *f = fopen(path[i], "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static struct qvl_media_source write_files(void)
{
    for (size_t i = 0; i < N_FRAME; i++) {
        write_file(i, bmp[i], N_BMP_BYTES);
        in_file[i] = (struct qvl_picture_file){.path = path[i], .time_s = picture[i].time_s};
    }
    return (struct qvl_media_source){
        .from = QVL_FROM_PICTURES, .name = "c", .pictures = in_file, .n_frame = N_FRAME};
}

static int make_folder(void **state)
{
    if (open_engine(state) || !mkdtemp(folder))
        return -1;
    for (size_t i = 0; i < N_FRAME; i++)
        snprintf(path[i], sizeof path[i], "%s/%02zu.bmp", folder, i);
    return 0;
}

static int remove_folder(void **state)
{
    for (size_t i = 0; i < N_FRAME; i++)
        unlink(path[i]);
    rmdir(folder);
    return close_engine(state);
}

static void picture_files_are_opened_when_their_turn_comes(void **state)
{
    (void)state;
    struct qvl_media_source source = write_files();
    struct result r = run(&source);
    assert_same(&r, wanted());
}

enum fault { GONE, OTHER_SIZE, NO_PICTURE, N_FAULT };

/* Measured well, broken when frame 9 is read: the hold has no room for it before the model has begun. */
static void a_frame_that_breaks_ends_its_request_only(void **state)
{
    (void)state;
    static const char *const sentence[N_FAULT] = {"/09.bmp", "c: frame 10 has 64 x 32 pixels", "/09.bmp"};
    for (enum fault fault = GONE; fault < N_FAULT; fault++) {
        struct qvl_media_source source = write_files();
        struct qvl_request *request = open_request(&source, NULL);
        struct result r = {0};
        struct qvl_error err = {0};
        struct qvl_event event;
        prepare(request, &r);
        uint8_t low[N_BMP_BYTES];
        memcpy(low, bmp[9], sizeof low);
        low[22] = SIDE / 2; /* height */
        if (fault == GONE)
            assert_int_equal(unlink(path[9]), 0);
        else
            write_file(9, fault == OTHER_SIZE ? low : (const uint8_t *)"no picture",
                       fault == OTHER_SIZE ? sizeof low : 10);
        while (pull(request, &r))
            continue;
        assert_int_equal(r.status, QVL_ERR_MEDIA);
        if (!strstr(r.err.text, sentence[fault]))
            fail_msg("\"%s\" does not say \"%s\"", r.err.text, sentence[fault]);
        assert_int_equal(r.n, 0);
        assert_int_equal(qvl_request_next(request, &event, &err), QVL_ERR_ARGUMENT);
        struct result other = run(&from_frames); /* beside the one that is not closed yet */
        assert_same(&other, wanted());
        qvl_request_close(request);
    }
}

static void pictures_that_are_no_clip_are_refused(void **state)
{
    (void)state;
    struct qvl_media_source source = write_files();
    struct qvl_request *request;
    struct qvl_error err = {0};
    uint8_t low[N_BMP_BYTES];
    memcpy(low, bmp[12], sizeof low);
    low[22] = SIDE / 2;
    write_file(12, low, sizeof low);
    request = open_request(&source, NULL);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_MEDIA);
    assert_string_equal(err.text, "c: frame 13 has 64 x 32 pixels, but the first one 64 x 64");
    qvl_request_close(request);
    assert_int_equal(unlink(path[12]), 0);
    request = open_request(&source, NULL);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_MEDIA);
    assert_non_null(strstr(err.text, path[12]));
    qvl_request_close(request);
    in_file[3].time_s = 0;
    request = open_request(&source, NULL);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_MEDIA);
    assert_non_null(strstr(err.text, "c: frame 4 has the time 0 s"));
    qvl_request_close(request);
}

/* ---- skipping ------------------------------------------------------------------------------------ */

/* A feed without a request, measured. */
struct bench {
    struct qvl_arena arena;
    struct qvl_part part;
    struct qvl_message message;
    struct qvl_chat chat;
    struct qvl_feed feed;
};

static void bench_open(struct bench *b, const struct qvl_media_source *source, struct qvl_media_options media)
{
    struct qvl_prompt_part shown = {.kind = QVL_PROMPT_VIDEO};
    struct qvl_prompt_parts parts = {.part = &shown, .n = 1};
    struct qvl_error err = {0};
    atomic_bool stop = false;
    *b = (struct bench){.part = {.kind = QVL_PART_VIDEO, .source = *source, .media = media}};
    b->message = (struct qvl_message){.role = QVL_ROLE_USER, .parts = &b->part, .n_part = 1};
    b->chat = (struct qvl_chat){.messages = &b->message, .n_message = 1};
    assert_int_equal(qvl_feed_init(&b->feed, engine, NULL, &b->chat, 1, &b->arena, &err), QVL_OK);
    qvl_feed_show(&b->feed, &parts);
    assert_false(qvl_feed_is_measured(&b->feed));
    assert_int_equal(qvl_feed_measure(&b->feed, &stop, &err), QVL_OK);
    assert_true(qvl_feed_is_measured(&b->feed));
}

static void bench_close(struct bench *b)
{
    qvl_feed_free(&b->feed);
    qvl_arena_free(&b->arena);
}

static void aim(struct bench *b, uint32_t i_patch)
{
    struct qvl_error err = {0};
    if (qvl_feed_aim(&b->feed, &b->feed.item[0], i_patch, &err))
        fail_msg("%s", err.text);
}

static void skipped_frames_are_never_decoded(void **state)
{
    (void)state;
    struct qvl_media_source source = write_files();
    struct qvl_error err = {0};
    atomic_bool stop = false;
    struct bench b;
    static uint8_t want[BIG_SIDE * BIG_SIDE * 3];
    bench_open(&b, &source, enlarged);
    struct qvl_media_item *item = &b.feed.item[0];
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(unlink(path[i]), 0);
    aim(&b, 5);
    while (qvl_feed_is_hungry(&b.feed))
        if (qvl_feed_step(&b.feed, &stop, &err))
            fail_msg("%s", err.text);
    assert_int_equal(item->n_resized, N_FRAME);
    assert_true(qvl_feed_has(item, 7));
    for (size_t i = 10; i <= N_FRAME; i++) { /* beyond the end: the last one */
        const struct qvl_frame *source_frame = &frame[i < N_FRAME ? i : N_FRAME - 1];
        assert_int_equal(
            qvl_resize_bicubic(source_frame, BIG_SIDE, BIG_SIDE, QVL_RESIZE_TORCHVISION, want, NULL, NULL, &err),
            QVL_OK);
        assert_memory_equal(qvl_feed_frame(item, i), want, sizeof want);
    }
    bench_close(&b);
    bench_open(&b, &from_pictures, enlarged);
    aim(&b, 7);
    assert_false(qvl_feed_is_hungry(&b.feed));
    bench_close(&b);
}

/* Forwards over frames that are there and some that are not, to the end, and back to the beginning: all are
 * decoded, as they were before, although nothing was wanted any more in between. */
static void what_was_skipped_is_decoded_after_all(void **state)
{
    (void)state;
    struct qvl_media_source source = write_files();
    struct qvl_error err = {0};
    atomic_bool stop = false;
    static uint8_t want[BIG_SIDE * BIG_SIDE * 3];
    static const uint32_t first[] = {1, 2, 5, 7, 0, 3};
    struct bench b;
    bench_open(&b, &source, enlarged);
    struct qvl_media_item *item = &b.feed.item[0];
    for (size_t k = 0; k < sizeof first / sizeof *first; k++) {
        aim(&b, first[k]);
        assert_int_equal(qvl_feed_is_hungry(&b.feed), first[k] < 7);
        while (qvl_feed_is_hungry(&b.feed))
            if (qvl_feed_step(&b.feed, &stop, &err))
                fail_msg("%s", err.text);
        size_t begin = 2 * first[k];
        for (size_t i = begin; i < item->n_resized; i++) {
            assert_int_equal(
                qvl_resize_bicubic(&frame[i], BIG_SIDE, BIG_SIDE, QVL_RESIZE_TORCHVISION, want, NULL, NULL, &err),
                QVL_OK);
            assert_memory_equal(qvl_feed_frame(item, i), want, sizeof want);
        }
        assert_true(first[k] == 7 || item->n_resized > begin);
    }
    bench_close(&b);
}

/* Small temporal patches share a group, which is made whole. */
static void a_skip_begins_with_a_group(void **state)
{
    (void)state;
    static struct qvl_frame many[200];
    for (size_t i = 0; i < 200; i++)
        many[i] = (struct qvl_frame){SIDE, SIDE, SIDE * 3, rgb8[i % N_FRAME], (double)i};
    struct qvl_media_source source = {.from = QVL_FROM_FRAMES, .name = "c", .frames = many, .n_frame = 200};
    struct bench b;
    bench_open(&b, &source, (struct qvl_media_options){0});
    struct qvl_media_item *item = &b.feed.item[0];
    assert_int_equal(item->n_group_patch, 64); /* 16 patches each */
    aim(&b, 70);
    assert_int_equal(item->i_first, 64 * 2);
    assert_true(qvl_feed_has(item, 64));
    assert_false(qvl_feed_has(item, 65));
    bench_close(&b);
}

/* ---- sizes --------------------------------------------------------------------------------------- */

/* Frames of 100 x 192 pixels. Expected: smart_resize of the reference's video processor with the total that the
 * options come to. */
static void clips_have_the_size_of_their_options(void **state)
{
    (void)state;
    static uint8_t pixels[100 * 192 * 3];
    struct qvl_frame five[5];
    for (size_t i = 0; i < 5; i++)
        five[i] = (struct qvl_frame){192, 100, 192 * 3, pixels, (double)i};
    const struct {
        size_t n;
        uint64_t min_pixels, max_pixels, total_pixels;
        uint32_t h, w;
    } row[] = {{4, 0, 0, 0, 96, 192},       {4, 0, 8192, 0, 64, 96},        {5, 0, 8192, 0, 64, 96},
               {4, 0, 8192, 20000, 32, 96}, {4, 0, 8192, 1000000, 64, 96},  {4, 0, 0, 20000, 32, 96},
               {4, 65536, 0, 0, 192, 384},  {4, 65536, 65536, 0, 192, 384}, {4, 0, 0, 2048, 32, 32},
               {1, 0, 8192, 0, 64, 96},     {4, 65536, 0, 262144, 192, 384}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct qvl_part part = {
            .kind = QVL_PART_VIDEO,
            .source = {.from = QVL_FROM_FRAMES, .name = "c", .frames = five, .n_frame = row[i].n},
            .media = {.min_pixels = row[i].min_pixels,
                      .max_pixels = row[i].max_pixels,
                      .total_pixels = row[i].total_pixels}};
        struct qvl_message message = {.role = QVL_ROLE_USER, .parts = &part, .n_part = 1};
        struct qvl_chat chat = {.messages = &message, .n_message = 1};
        struct qvl_request_options options = {.sampling = {.top_p = 1, .repetition_penalty = 1}};
        struct qvl_request *request = NULL;
        struct qvl_request_info info;
        struct qvl_error err = {0};
        assert_int_equal(qvl_request_open(engine, &chat, &options, &request, &err), QVL_OK);
        if (qvl_request_prepare(request, &err))
            fail_msg("row %zu: %s", i, err.text);
        qvl_request_get_info(request, &info);
        if (info.media[0].resized_h != row[i].h || info.media[0].resized_w != row[i].w)
            fail_msg("row %zu: %u x %u", i, info.media[0].resized_h, info.media[0].resized_w);
        qvl_request_close(request);
    }
}

static void options_that_contradict_are_refused(void **state)
{
    (void)state;
    const struct {
        struct qvl_media_options media;
        const char *sentence;
    } bad[] = {
        {{.min_pixels = 8192, .max_pixels = 4096}, "c: min_pixels 8192 is more than max_pixels 4096"},
        {{.min_pixels = 8192, .total_pixels = 4096}, "c: min_pixels 8192 is more than total_pixels 4096"},
        {{.min_pixels = 65536, .total_pixels = 262143},
         "c: min_pixels 65536 for each of 13 frames is more than total_pixels 262143"},
        {{.fps = 1, .num_frames = 4}, "c: fps 1 and num_frames 4"},
        {{.fps = -1}, "c: fps is -1"},
        {{.fps = (double)__builtin_nanf("")}, "c: fps is nan"},
        {{.min_frames = 9, .max_frames = 8}, "c: min_frames, 9, is above max_frames, 8"},
        {{.num_frames = QVL_MAX_CLIP_FRAMES + 1}, "c: num_frames is 16385"},
        {{.start_s = -1}, "c: the stretch from -1"},
        {{.start_s = (double)__builtin_nanf("")}, "c: the stretch from nan"},
        {{.start_s = 5, .end_s = 5}, "c: the stretch from 5 to 5 seconds ends before it begins"},
        {{.resize = 9}, "9 is no resize rule"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qvl_part part = {.kind = QVL_PART_VIDEO, .source = from_frames, .media = bad[i].media};
        struct qvl_message message = {.role = QVL_ROLE_USER, .parts = &part, .n_part = 1};
        struct qvl_chat chat = {.messages = &message, .n_message = 1};
        struct qvl_request_options options = {.sampling = {.top_p = 1, .repetition_penalty = 1}};
        struct qvl_request *request = NULL;
        struct qvl_error err = {0};
        enum qvl_status status = qvl_request_open(engine, &chat, &options, &request, &err);
        if (!status) /* only the number of frames shows it */
            status = qvl_request_prepare(request, &err);
        assert_int_equal(status, QVL_ERR_ARGUMENT);
        if (!strstr(err.text, bad[i].sentence))
            fail_msg("\"%s\" does not say \"%s\"", err.text, bad[i].sentence);
        qvl_request_close(request);
    }
}

static void sources_without_content_are_refused(void **state)
{
    (void)state;
    struct qvl_picture_file none[2] = {picture[0], {.time_s = 1}};
    const struct {
        enum qvl_part_kind kind;
        struct qvl_media_source source;
        enum qvl_status status;
        const char *sentence;
    } bad[] = {
        {QVL_PART_VIDEO, {.from = QVL_FROM_PICTURES, .name = "c"}, QVL_ERR_MEDIA, "clip 1 (c) has no content"},
        {QVL_PART_VIDEO, {.from = QVL_FROM_FD, .name = "c", .fd = -1}, QVL_ERR_MEDIA, "clip 1 (c) has no content"},
        {QVL_PART_VIDEO,
         {.from = QVL_FROM_PICTURES, .name = "c", .pictures = none, .n_frame = 2},
         QVL_ERR_MEDIA,
         "c: picture 2 has no content"},
        {QVL_PART_VIDEO,
         {.from = QVL_FROM_PICTURES, .name = "c", .pictures = none, .n_frame = 16385},
         QVL_ERR_LIMIT,
         "16385"},
        {QVL_PART_IMAGE,
         {.from = QVL_FROM_PICTURES, .name = "c", .pictures = none, .n_frame = 1},
         QVL_ERR_ARGUMENT,
         "c: a list of pictures is a clip"},
        {QVL_PART_IMAGE,
         {.from = (enum qvl_media_from)9, .name = "c"},
         QVL_ERR_MEDIA,
         "picture 1 (c) has no content"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qvl_part part = {.kind = bad[i].kind, .source = bad[i].source};
        struct qvl_message message = {.role = QVL_ROLE_USER, .parts = &part, .n_part = 1};
        struct qvl_chat chat = {.messages = &message, .n_message = 1};
        struct qvl_request_options options = {.sampling = {.top_p = 1, .repetition_penalty = 1}};
        struct qvl_request *request = NULL;
        struct qvl_error err = {0};
        assert_int_equal(qvl_request_open(engine, &chat, &options, &request, &err), bad[i].status);
        if (!strstr(err.text, bad[i].sentence))
            fail_msg("\"%s\" does not say \"%s\"", err.text, bad[i].sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prepared_clip_is_held_in_part),
        cmocka_unit_test(the_info_of_a_clip_names_its_frames),
        cmocka_unit_test(every_frame_reaches_the_tower_once),
        cmocka_unit_test(the_last_frame_frees_the_hold),
        cmocka_unit_test(pictures_are_a_clip_like_frames),
        cmocka_unit_test(a_slow_source_gives_the_same_bits),
        cmocka_unit_test(two_clips_take_turns),
        cmocka_unit_test(two_clips_decode_beside_each_other),
        cmocka_unit_test(a_clip_that_is_not_fed_holds_nobody_up),
        cmocka_unit_test(a_clip_can_be_cancelled_and_closed_anywhere),
        cmocka_unit_test(a_cancel_from_another_thread_ends_a_clip),
        cmocka_unit_test(picture_files_are_opened_when_their_turn_comes),
        cmocka_unit_test(a_frame_that_breaks_ends_its_request_only),
        cmocka_unit_test(pictures_that_are_no_clip_are_refused),
        cmocka_unit_test(skipped_frames_are_never_decoded),
        cmocka_unit_test(what_was_skipped_is_decoded_after_all),
        cmocka_unit_test(a_skip_begins_with_a_group),
        cmocka_unit_test(clips_have_the_size_of_their_options),
        cmocka_unit_test(options_that_contradict_are_refused),
        cmocka_unit_test(sources_without_content_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
