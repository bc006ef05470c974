/* Clips in files on their way to the vision tower: the same bits as their frames handed over, few processes for
 * many clips, a file that breaks after the model has begun. (Which frames: test_clip_files.c.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "engine/engine.h"
#include "media/clip.h"
#include "model_folder.h"

#define CLIPS "tests/data/clips/"

/* BIG_SIDE: frames so large that each temporal patch is a group of its own. */
enum { N_OUT = 3, N_TOP = 4, MAX_FRAMES = 16, MAX_CLIPS = 6, BIG_SIDE = 384 };

static struct qvl_engine *engine;

static int open_engine(void **state)
{
    (void)state;
    return open_loaded((struct qvl_engine_options){.media_helper = media_helper_path(),
                                                   .n_thread = 2,
                                                   .n_ctx = 16384,
                                                   .no_vision_cache = true}, /* every clip is seen anew */
                       &engine);
}

static int close_engine(void **state)
{
    (void)state;
    qvl_engine_close(engine);
    return 0;
}

static int open_clip_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, CLIPS "%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s is missing", path);
    return fd;
}

static struct qvl_part clip_file(const char *name, struct qvl_media_options wish)
{
    return (struct qvl_part){.kind = QVL_PART_VIDEO,
                             .media = wish,
                             .source = {.from = QVL_FROM_FD, .name = name, .fd = open_clip_file(name)}};
}

static struct qvl_request *open_request(const struct qvl_part *part, size_t n)
{
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = part, .n_part = n};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    struct qvl_request_options options = {.sampling = {.top_p = 1, .repetition_penalty = 1},
                                          .max_tokens = N_OUT,
                                          .ignore_eos = true,
                                          .no_loop_guard = true,
                                          .n_top_logits = N_TOP};
    struct qvl_request *request = NULL;
    struct qvl_error err = {0};
    if (qvl_request_open(engine, &chat, &options, &request, &err))
        fail_msg("%s", err.text);
    return request;
}

struct result {
    uint32_t id[N_OUT];
    struct qvl_token_logit top[N_OUT][N_TOP];
    size_t n, n_awake; /* n_awake: most clips whose process ran at the same time */
    enum qvl_status status;
    struct qvl_error err;
};

static void finish(struct qvl_request *request, struct result *r)
{
    struct qvl_event event = {0};
    while (event.kind != QVL_EVENT_DONE && !(r->status = qvl_request_next(request, &event, &r->err))) {
        if (event.kind == QVL_EVENT_TEXT) {
            r->id[r->n] = event.text.id;
            memcpy(r->top[r->n++], event.text.top, sizeof r->top[0]);
        }
        size_t n_awake = 0;
        for (size_t i = 0; i < request->feed.n_item; i++)
            n_awake += request->feed.item[i].is_awake;
        r->n_awake = n_awake > r->n_awake ? n_awake : r->n_awake;
    }
    qvl_request_close(request);
}

static struct result run_parts(const struct qvl_part *part, size_t n)
{
    struct result r = {0};
    finish(open_request(part, n), &r);
    if (r.status)
        fail_msg("%s", r.err.text);
    return r;
}

static void assert_same(const struct result *a, const struct result *b)
{
    assert_int_equal(a->n, N_OUT);
    assert_memory_equal(a->id, b->id, sizeof a->id);
    assert_memory_equal(a->top, b->top, sizeof a->top);
}

/* The frames that the model sees of a file, read one by one, and the clip that they are. */
struct frames {
    struct qvl_picture picture[MAX_FRAMES];
    struct qvl_frame frame[MAX_FRAMES];
    struct qvl_part clip;
};

static void read_frames(const struct qvl_part *file, struct frames *out)
{
    struct qvl_media_settings settings = {.helper_path = media_helper_path()};
    struct qvl_request *request = open_request(file, 1);
    struct qvl_clip *clip = NULL;
    struct qvl_clip_info info;
    struct qvl_request_info all;
    struct qvl_error err = {0};
    if (qvl_request_prepare(request, &err))
        fail_msg("%s", err.text);
    qvl_request_get_info(request, &all);
    size_t n = all.media[0].n_frame;
    assert_in_range(n, 2, MAX_FRAMES);
    assert_int_equal(qvl_clip_open(&settings, &file->source, &clip, &info, NULL, &err), QVL_OK);
    for (size_t i = 0; i < n; i++) {
        if (qvl_clip_read(clip, all.media[0].frame_index[i], &out->picture[i], NULL, &err))
            fail_msg("%s", err.text);
        out->frame[i] = out->picture[i].frame;
        out->frame[i].time_s = all.media[0].frame_s[i];
    }
    out->clip = *file;
    out->clip.source = (struct qvl_media_source){.from = QVL_FROM_FRAMES, .frames = out->frame, .n_frame = n};
    qvl_clip_close(clip);
    qvl_request_close(request);
}

static void free_frames(struct frames *frames)
{
    for (size_t i = 0; i < MAX_FRAMES; i++)
        qvl_picture_free(&frames->picture[i]);
}

/* Wishes for an odd number, for frames that come several times, and large enough to be held in part only. */
static void a_file_is_like_its_frames(void **state)
{
    (void)state;
    const struct {
        const char *name;
        struct qvl_media_options wish;
    } row[] = {{"h264-open-gop.mp4", {.fps = 5}},
               {"vp9-odd-size.webm", {.num_frames = 7}},
               {"h264-three-frames.mkv", {.num_frames = 9}},
               {"h264-one-frame.mp4", {.fps = 2}},
               {"mjpeg.avi", {.num_frames = 11, .min_pixels = BIG_SIDE * BIG_SIDE}}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct frames frames = {0};
        struct qvl_part file = clip_file(row[i].name, row[i].wish);
        read_frames(&file, &frames);
        struct result a = run_parts(&file, 1), b = run_parts(&frames.clip, 1);
        assert_same(&a, &b);
        close(file.source.fd);
        free_frames(&frames);
    }
}

static void a_file_in_memory_is_like_one_on_disk(void **state)
{
    (void)state;
    struct qvl_bytes bytes = {0};
    struct qvl_error err = {0};
    assert_int_equal(qvl_os_read_file(CLIPS "h264-open-gop.mp4", 1 << 24, &bytes, &err), QVL_OK);
    struct qvl_part file = clip_file("h264-open-gop.mp4", (struct qvl_media_options){0}), memory = file;
    memory.source =
        (struct qvl_media_source){.from = QVL_FROM_BYTES, .bytes = (const uint8_t *)bytes.data, .n_bytes = bytes.n};
    struct result a = run_parts(&file, 1), b = run_parts(&memory, 1);
    assert_same(&a, &b);
    close(file.source.fd);
    qvl_bytes_free(&bytes);
}

/* Between being prepared and beginning a request's prefix may be forgotten, and its file is read after all; or
 * become known, and the rest of the file is not read. */
static void a_file_whose_prefix_comes_or_goes(void **state)
{
    (void)state;
    struct qvl_engine *cold = engine;
    struct qvl_part file =
        clip_file("mjpeg.avi", (struct qvl_media_options){.num_frames = 11, .min_pixels = BIG_SIDE * BIG_SIDE});
    struct result want = run_parts(&file, 1), r;
    assert_int_equal(open_loaded((struct qvl_engine_options){.media_helper = media_helper_path(),
                                                             .n_thread = 2,
                                                             .n_ctx = 16384,
                                                             .no_vision_cache = true,
                                                             .prefix_cache_bytes = 64 << 20},
                                 &engine),
                     0);
    for (int want_gone = 0; want_gone < 2; want_gone++) {
        struct qvl_error err = {0};
        struct qvl_request *request = open_request(&file, 1);
        const struct qvl_media_item *item = request->feed.item;
        assert_int_equal(qvl_request_prepare(request, &err), QVL_OK);
        assert_int_equal(item->i_first > 0, want_gone);
        if (want_gone) {
            qvl_prefix_cache_evict(engine->prefix_cache, SIZE_MAX);
        } else {
            r = run_parts(&file, 1);
            assert_same(&r, &want);
        }
        struct qvl_event event;
        do
            assert_int_equal(qvl_request_next(request, &event, &err), QVL_OK);
        while (event.kind != QVL_EVENT_PROGRESS || event.progress.stage != QVL_STAGE_PREFILL);
        assert_int_equal(item->i_first > 0, !want_gone);
        r = (struct result){0};
        finish(request, &r);
        assert_int_equal(r.status, QVL_OK);
        assert_same(&r, &want);
    }
    close(file.source.fd);
    qvl_engine_close(engine);
    engine = cold;
}

/* More clips than may be open: some rest, and are read all the same. */
static void many_clips_share_few_processes(void **state)
{
    (void)state;
    static const char *const name[MAX_CLIPS] = {"mjpeg.avi",         "h264-open-gop.mp4", "mpeg4.avi",
                                                "vp9-odd-size.webm", "h264-vfr.mp4",      "mjpeg.mov"};
    static struct frames frames[MAX_CLIPS];
    struct qvl_part file[MAX_CLIPS], list[MAX_CLIPS];
    for (size_t i = 0; i < MAX_CLIPS; i++) {
        file[i] =
            clip_file(name[i], (struct qvl_media_options){.num_frames = 5, .min_pixels = BIG_SIDE * BIG_SIDE});
        read_frames(&file[i], &frames[i]);
        list[i] = frames[i].clip;
    }
    struct result a = run_parts(file, MAX_CLIPS), b = run_parts(list, MAX_CLIPS);
    assert_same(&a, &b);
    assert_int_equal(a.n_awake, QVL_MAX_CLIPS_OPEN);
    for (size_t i = 0; i < MAX_CLIPS; i++) {
        close(file[i].source.fd);
        free_frames(&frames[i]);
    }
}

/* The second half of the file goes when the model has begun. */
static void a_clip_that_breaks_on_the_way_ends_its_request_only(void **state)
{
    (void)state;
    char path[] = "/tmp/qvl-broken-clip-XXXXXX";
    struct qvl_bytes bytes = {0};
    struct qvl_error err = {0};
    struct qvl_event event = {0};
    struct qvl_part good =
        clip_file("mjpeg.avi", (struct qvl_media_options){.num_frames = 15, .min_pixels = BIG_SIDE * BIG_SIDE});
    struct qvl_part broken = good;
    broken.source.fd = mkstemp(path);
    broken.source.name = "broken.avi";
    assert_true(broken.source.fd >= 0);
    assert_int_equal(qvl_os_read_file(CLIPS "mjpeg.avi", 1 << 24, &bytes, &err), QVL_OK);
    assert_int_equal(write(broken.source.fd, bytes.data, bytes.n), (ssize_t)bytes.n);
    struct result whole = run_parts(&broken, 1), r = {0};
    struct qvl_request *request = open_request(&broken, 1);
    while (!(event.kind == QVL_EVENT_PROGRESS && event.progress.stage == QVL_STAGE_VISION && event.progress.done))
        assert_int_equal(qvl_request_next(request, &event, &err), QVL_OK);
    qvl_clip_rest(request->feed.item[0].clip); /* what its process has read already is read again */
    assert_int_equal(ftruncate(broken.source.fd, (off_t)bytes.n / 2), 0);
    finish(request, &r);
    assert_int_equal(r.status, QVL_ERR_MEDIA);
    assert_memory_equal(r.err.text, "broken.avi: ", strlen("broken.avi: "));
    assert_int_equal(r.n, 0);
    struct result after = run_parts(&good, 1);
    assert_same(&whole, &after);
    close(good.source.fd);
    close(broken.source.fd);
    unlink(path);
    qvl_bytes_free(&bytes);
}

static void what_is_given_as_the_other_kind_says_so(void **state)
{
    (void)state;
    struct qvl_bytes clip = {0};
    struct qvl_error err = {0};
    assert_int_equal(qvl_os_read_file(CLIPS "h264-one-frame.mp4", 1 << 20, &clip, &err), QVL_OK);
    const struct {
        enum qvl_part_kind kind;
        const char *bytes;
        size_t n;
        const char *sentence;
    } row[] = {{QVL_PART_VIDEO, "GIF89a\1\0\1\0\0\0\0;", 14,
                "x: this is a picture (GIF): give it as a picture, or several as a clip"},
               {QVL_PART_VIDEO, "some text\n", 10, "x: this is text; a clip was expected"},
               {QVL_PART_IMAGE, clip.data, clip.n, "x: this is an MP4 or QuickTime video: give it as a video"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct qvl_part part = {
            .kind = row[i].kind,
            .source = {
                .from = QVL_FROM_BYTES, .name = "x", .n_bytes = row[i].n, .bytes = (const uint8_t *)row[i].bytes}};
        struct qvl_request *request = open_request(&part, 1);
        assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_MEDIA);
        if (strncmp(err.text, row[i].sentence, strlen(row[i].sentence)) != 0)
            fail_msg("\"%s\" does not say \"%s\"", err.text, row[i].sentence);
        qvl_request_close(request);
    }
    qvl_bytes_free(&clip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_like_its_frames),
        cmocka_unit_test(a_file_in_memory_is_like_one_on_disk),
        cmocka_unit_test(a_file_whose_prefix_comes_or_goes),
        cmocka_unit_test(many_clips_share_few_processes),
        cmocka_unit_test(a_clip_that_breaks_on_the_way_ends_its_request_only),
        cmocka_unit_test(what_is_given_as_the_other_kind_says_so),
    };
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
