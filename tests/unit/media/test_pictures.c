/* Every kind of picture against Pillow's pixels (data/expected.txt, written by reference/picture_vectors.py). */
#include "helper.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "../../lib/sha256.h"

struct expected {
    char name[128], sha256[65], first[7], last[7];
    uint32_t w, h;
};

static bool next_line(FILE *f, struct expected *e)
{
    return fscanf(f, "%127s %u %u %64s %6s %6s", e->name, &e->w, &e->h, e->sha256, e->first, e->last) == 6;
}

static void check_pixels(const struct expected *e, const struct qvl_frame *frame)
{
    char sha256[65], first[7], last[7];
    size_t n = (size_t)e->w * e->h * 3;
    if (frame->w != e->w || frame->h != e->h)
        fail_msg("%s: %u x %u instead of %u x %u", e->name, frame->w, frame->h, e->w, e->h);
    assert_int_equal(frame->stride_bytes, (size_t)e->w * 3);
    sha256_hex(frame->rgb8, n, sha256);
    const uint8_t *a = frame->rgb8, *z = frame->rgb8 + n - 3;
    snprintf(first, sizeof first, "%02x%02x%02x", a[0], a[1], a[2]);
    snprintf(last, sizeof last, "%02x%02x%02x", z[0], z[1], z[2]);
    if (strcmp(sha256, e->sha256) != 0)
        fail_msg("%s: other pixels: first %s for %s, last %s for %s", e->name, first, e->first, last, e->last);
}

static void check_source(struct qvl_media *media, const struct expected *e, const struct qvl_media_source *source)
{
    struct qvl_error err = {0};
    struct qvl_picture picture = {0};
    uint32_t w = 0, h = 0;
    if (qvl_media_probe_image(media, source, &w, &h, NULL, &err))
        fail_msg("%s", err.text);
    assert_int_equal(w, e->w);
    assert_int_equal(h, e->h);
    if (qvl_media_decode_image(media, source, &picture, NULL, &err))
        fail_msg("%s", err.text);
    check_pixels(e, &picture.frame);
    qvl_picture_free(&picture);
    assert_null(picture.map);
}

/* As bytes, and as a descriptor opened with these flags. */
static void check_file(struct qvl_media *media, const char *dir, const struct expected *e, int flags)
{
    char path[4096];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%s", dir, e->name);
    uint8_t *bytes = test_read_file(path, &n);
    struct qvl_media_source source = test_source(e->name, bytes, n);
    check_source(media, e, &source);
    free(bytes);
    int fd = open(path, flags | O_CLOEXEC);
    assert_true(fd >= 0);
    source = (struct qvl_media_source){.from = QVL_FROM_FD, .name = e->name, .fd = fd};
    check_source(media, e, &source);
    assert_int_equal(close(fd), 0);
}

static void test_every_kind_gives_pillows_pixels(void **state)
{
    (void)state;
    struct qvl_media *media = test_open(test_helper_path(), 0);
    struct expected e;
    size_t n = 0;
    FILE *f = fopen(TEST_DATA "/expected.txt", "r");
    assert_non_null(f);
    while (next_line(f, &e)) {
        check_file(media, TEST_DATA, &e, n % 2 ? O_RDONLY : O_RDWR);
        n++;
    }
    fclose(f);
    qvl_media_close(media);
    print_message("%zu pictures equal\n", n);
    assert_true(n >= 160);
}

static void test_photographs_give_pillows_pixels(void **state)
{
    (void)state;
    char dir[4096];
    const char *data = getenv("QVL_DATA");
    struct expected e;
    snprintf(dir, sizeof dir, "%s/photos", data ? data : "../shared/data");
    if (access(dir, R_OK) != 0) {
        print_message("SKIP: %s is absent: photographs not compared\n", dir);
        skip();
    }
    struct qvl_media *media = test_open(test_helper_path(), 0);
    FILE *f = fopen(TEST_DATA "/photos.txt", "r");
    assert_non_null(f);
    size_t n = 0;
    for (; next_line(f, &e); n++)
        check_file(media, dir, &e, O_RDONLY);
    fclose(f);
    qvl_media_close(media);
    assert_int_equal(n, 4);
}

static void test_a_frame_is_handed_through(void **state)
{
    (void)state;
    uint8_t pixels[20]; /* two rows of 3 pixels, each with a byte behind it */
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i + 1);
    struct qvl_frame frame = {.w = 3, .h = 2, .stride_bytes = 10, .rgb8 = pixels, .time_s = 1.5};
    struct qvl_media_source source = {.from = QVL_FROM_FRAMES, .name = "frame", .frames = &frame, .n_frame = 1};
    struct qvl_media *media = test_open("/nonexistent", 0); /* no helper takes part */
    struct qvl_picture picture = {0};
    struct qvl_error err = {0};
    uint32_t w = 0, h = 0;
    assert_int_equal(qvl_media_probe_image(media, &source, &w, &h, NULL, &err), QVL_OK);
    assert_int_equal(w, 3);
    assert_int_equal(h, 2);
    assert_int_equal(qvl_media_decode_image(media, &source, &picture, NULL, &err), QVL_OK);
    assert_int_equal(picture.frame.w, 3);
    assert_int_equal(picture.frame.h, 2);
    assert_int_equal(picture.frame.stride_bytes, 10);
    assert_ptr_equal(picture.frame.rgb8, pixels);
    assert_true(picture.frame.time_s == 1.5);
    qvl_picture_free(&picture);

    frame.stride_bytes = 8;
    test_refused(media, &source, QVL_ERR_ARGUMENT, "rows of 8 bytes, but 3 RGB pixels need 9");
    frame.stride_bytes = 10;
    frame.rgb8 = NULL;
    test_refused(media, &source, QVL_ERR_ARGUMENT, "a frame without pixels");
    frame.rgb8 = pixels;
    source.n_frame = 2;
    test_refused(media, &source, QVL_ERR_ARGUMENT, "2 frames given; a picture is one");
    source.n_frame = 1;
    frame.h = 0;
    test_refused(media, &source, QVL_ERR_MEDIA, "3 x 0 pixels");
    frame = (struct qvl_frame){.w = 8193, .h = 8192, .stride_bytes = 8193 * 3, .rgb8 = pixels};
    test_refused(media, &source, QVL_ERR_MEDIA, "8193 x 8192 pixels, more than 67,108,864");
    frame = (struct qvl_frame){.w = 32769, .h = 1, .stride_bytes = 32769 * 3, .rgb8 = pixels};
    test_refused(media, &source, QVL_ERR_MEDIA, "32769 x 1 pixels, a side longer than 32,768");
    qvl_media_close(media);
}

static void *decode_many(void *arg)
{
    struct qvl_media *media = arg;
    struct expected e = {0};
    FILE *f = fopen(TEST_DATA "/expected.txt", "r");
    char path[4096];
    size_t n_equal = 0, n = 0;
    for (int i = 0; f && i < 60 && next_line(f, &e); i++) {
        struct qvl_error err = {0};
        struct qvl_picture picture = {0};
        char sha256[65] = "";
        snprintf(path, sizeof path, "%s/%s", TEST_DATA, e.name);
        uint8_t *bytes = test_read_file(path, &n);
        const struct qvl_media_source source = test_source(e.name, bytes, n);
        if (qvl_media_decode_image(media, &source, &picture, NULL, &err) == QVL_OK)
            sha256_hex(picture.map, picture.map_bytes, sha256);
        n_equal += strcmp(sha256, e.sha256) == 0;
        qvl_picture_free(&picture);
        free(bytes);
    }
    if (f)
        fclose(f);
    return (void *)n_equal;
}

static void test_threads_take_turns(void **state)
{
    (void)state;
    struct qvl_media *media = test_open(test_helper_path(), 0);
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, decode_many, media), 0);
    for (size_t i = 0; i < 3; i++) {
        void *n_equal = NULL;
        pthread_join(threads[i], &n_equal);
        assert_int_equal((size_t)n_equal, 60);
    }
    qvl_media_close(media);
}

/* The helper dies with the thread that started it; the next picture starts another. */
static void test_the_starting_thread_may_end(void **state)
{
    (void)state;
    struct qvl_media *media = test_open(test_helper_path(), 0);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        void *n_equal = NULL;
        assert_int_equal(pthread_create(&thread, NULL, decode_many, media), 0);
        pthread_join(thread, &n_equal);
        assert_int_equal((size_t)n_equal, 60);
    }
    assert_int_equal((size_t)decode_many(media), 60);
    qvl_media_close(media);
    assert_false(test_has_child());
}

static void test_nothing_is_left_open(void **state)
{
    (void)state;
    size_t n_before = test_n_fd();
    struct qvl_media *media = test_open(test_helper_path(), 0);
    assert_int_equal((size_t)decode_many(media), 60);
    assert_int_equal(test_n_fd(), n_before + 1); /* the socket */
    qvl_media_close(media);
    assert_int_equal(test_n_fd(), n_before);
    assert_false(test_has_child());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_gives_pillows_pixels),
        cmocka_unit_test(test_photographs_give_pillows_pixels),
        cmocka_unit_test(test_a_frame_is_handed_through),
        cmocka_unit_test(test_threads_take_turns),
        cmocka_unit_test(test_the_starting_thread_may_end),
        cmocka_unit_test(test_nothing_is_left_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
