/* Equal identity for the same picture or clip with the same options, another for any difference. */
#include "engine/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { W = 5, H = 3, STRIDE = 20 };

static uint8_t rgb8[2][H * STRIDE];
static struct qvl_frame frame[2] = {{W, H, STRIDE, rgb8[0], 0}, {W, H, STRIDE, rgb8[1], 0.5}};

static struct qvl_identity identity(const struct qvl_part *part)
{
    struct qvl_identity id;
    struct qvl_error err = {0};
    assert_int_equal(qvl_identity_make(part, NULL, &id, &err), QVL_OK);
    return id;
}

static bool is_same(const struct qvl_part *a, const struct qvl_part *b)
{
    struct qvl_identity ia = identity(a), ib = identity(b);
    return memcmp(&ia, &ib, sizeof ia) == 0;
}

static void assert_differs(const struct qvl_part *a, const struct qvl_part *b, const char *what)
{
    if (is_same(a, b))
        fail_msg("%s makes no difference", what);
}

static struct qvl_part clip_of_frames(const struct qvl_frame *frames, size_t n)
{
    return (struct qvl_part){.kind = QVL_PART_VIDEO,
                             .source = {.from = QVL_FROM_FRAMES, .frames = frames, .n_frame = n}};
}

static void every_option_counts(void **state)
{
    (void)state;
    struct qvl_part plain = clip_of_frames(frame, 2);
    const struct qvl_media_options options[] = {
        {.min_pixels = 1}, {.max_pixels = 1}, {.total_pixels = 1}, {.resize = QVL_RESIZE_PILLOW}, {.fps = 1},
        {.num_frames = 1}, {.min_frames = 1}, {.max_frames = 1},   {.start_s = 1},                {.end_s = 1}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        for (size_t j = 0; j <= i; j++) {
            struct qvl_part a = plain, b = plain;
            a.media = options[i];
            if (j < i)
                b.media = options[j];
            assert_differs(&a, &b, "an option");
        }
    struct qvl_part image = plain;
    image.kind = QVL_PART_IMAGE;
    assert_differs(&plain, &image, "the kind");
}

static void frames_are_their_pixels_and_times(void **state)
{
    (void)state;
    uint8_t tight[W * H * 3];
    struct qvl_frame other[2];
    struct qvl_part a = clip_of_frames(frame, 2), b = clip_of_frames(other, 2);
    for (size_t i = 0; i < sizeof rgb8; i++)
        rgb8[i / sizeof rgb8[0]][i % sizeof rgb8[0]] = (uint8_t)(i * 37 >> 2);
    for (size_t y = 0; y < H; y++)
        memcpy(tight + y * W * 3, rgb8[1] + y * STRIDE, W * 3);
    memcpy(other, frame, sizeof other);
    a.source.name = "one name";
    b.source.name = "another";
    other[1] = (struct qvl_frame){W, H, W * 3, tight, 0.5};
    assert_true(is_same(&a, &b)); /* neither rows' padding nor the name */
    other[1].time_s = 0.75;
    assert_differs(&a, &b, "a time");
    other[1].time_s = 0.5;
    tight[sizeof tight - 1] ^= 1;
    assert_differs(&a, &b, "the last byte");
    tight[sizeof tight - 1] ^= 1;
    other[1].h = H - 1;
    assert_differs(&a, &b, "the size");
    struct qvl_part one = clip_of_frames(frame, 1);
    assert_differs(&a, &one, "the number of frames");
    other[0].rgb8 = NULL; /* refused when measured; not read here */
    struct qvl_part bad = clip_of_frames(other, 1);
    assert_differs(&one, &bad, "missing pixels");
}

static struct qvl_part from_bytes(const char *bytes)
{
    return (struct qvl_part){.kind = QVL_PART_IMAGE,
                             .source = {.from = QVL_FROM_BYTES, .bytes = (const uint8_t *)bytes,
                                        .n_bytes = strlen(bytes)}};
}

static struct qvl_part from_pictures(const struct qvl_picture_file *pictures, size_t n)
{
    return (struct qvl_part){.kind = QVL_PART_VIDEO,
                             .source = {.from = QVL_FROM_PICTURES, .pictures = pictures, .n_frame = n}};
}

static void bytes_are_their_content(void **state)
{
    (void)state;
    char copy[] = "content";
    struct qvl_part a = from_bytes("content"), b = from_bytes(copy), c = from_bytes("Content"),
                    d = from_bytes("conten");
    assert_true(is_same(&a, &b));
    assert_differs(&a, &c, "a byte");
    assert_differs(&a, &d, "the length");
    const struct qvl_picture_file two[] = {{.bytes = (const uint8_t *)"ab", .n_bytes = 2},
                                           {.bytes = (const uint8_t *)"c", .n_bytes = 1}},
                                  cut[] = {{.bytes = (const uint8_t *)"a", .n_bytes = 1},
                                           {.bytes = (const uint8_t *)"bc", .n_bytes = 2}},
                                  late[] = {two[0], {.bytes = (const uint8_t *)"c", .n_bytes = 1, .time_s = 1}};
    struct qvl_part p = from_pictures(two, 2), q = from_pictures(cut, 2), r = from_pictures(late, 2);
    assert_true(is_same(&p, &p));
    assert_differs(&p, &q, "where a picture ends");
    assert_differs(&p, &r, "a picture's time");
}

static void wait_until_settled(const struct qvl_part *file)
{
    const struct timespec step = {.tv_nsec = 10000000};
    for (int i = 0; i < 1000 && !is_same(file, file); i++)
        nanosleep(&step, NULL);
    assert_true(is_same(file, file));
}

/* Its times may stay when it is written once more: until they cannot, it is like no other, itself included. */
static void a_file_that_was_just_written_is_new(void **state)
{
    (void)state;
    char path[] = "/tmp/qvl-identity-XXXXXX";
    int fd = mkstemp(path);
    struct qvl_part a = {.kind = QVL_PART_VIDEO, .source = {.from = QVL_FROM_FD, .fd = fd}};
    bool was_new = false;
    for (int i = 0; i < 1000 && !was_new; i++) { /* until this process is not interrupted in between */
        assert_int_equal(pwrite(fd, "content", 7, 0), 7);
        was_new = !is_same(&a, &a);
    }
    assert_true(was_new);
    wait_until_settled(&a);
    close(fd);
    unlink(path);
}

/* A file is the same as long as nobody wrote to it, by whatever name and descriptor it is reached. */
static void a_file_is_what_the_system_says(void **state)
{
    (void)state;
    char path[] = "/tmp/qvl-identity-XXXXXX", copy_path[sizeof path + 2];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    snprintf(copy_path, sizeof copy_path, "%s.b", path);
    assert_int_equal(write(fd, "content", 7), 7);
    int again = open(path, O_RDONLY), copy = open(copy_path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(copy, "content", 7), 7);
    struct qvl_part a = {.kind = QVL_PART_VIDEO, .source = {.from = QVL_FROM_FD, .fd = fd}}, b = a, c = a, gone = a;
    b.source.fd = again;
    c.source.fd = copy;
    gone.source.fd = 1 << 20;
    wait_until_settled(&c); /* the one that was written last */
    assert_true(is_same(&a, &b));
    assert_differs(&a, &c, "another file of the same content");
    assert_differs(&a, &gone, "a descriptor that is none");
    struct qvl_picture_file named = {.path = path}, other = {.path = copy_path}, missing = {.path = "/nowhere/x"};
    struct qvl_part p = from_pictures(&named, 1), q = from_pictures(&other, 1), m = from_pictures(&missing, 1);
    assert_true(is_same(&p, &p));
    assert_differs(&p, &q, "another path");
    assert_differs(&p, &m, "a missing file");
    struct qvl_identity before = identity(&a), picture_before = identity(&p);
    const struct timespec times[2] = {{1, 0}, {1, 1}}; /* one nanosecond after a full second */
    assert_int_equal(futimens(fd, times), 0);
    wait_until_settled(&a);
    struct qvl_identity after = identity(&a), picture_after = identity(&p);
    assert_memory_not_equal(&before, &after, sizeof before);
    assert_memory_not_equal(&picture_before, &picture_after, sizeof before);
    close(fd);
    close(again);
    close(copy);
    unlink(path);
    unlink(copy_path);
}

static void a_stop_ends_it(void **state)
{
    (void)state;
    struct qvl_part part = clip_of_frames(frame, 2);
    struct qvl_identity id;
    struct qvl_error err = {0};
    atomic_bool stop = true;
    assert_int_equal(qvl_identity_make(&part, &stop, &id, &err), QVL_ERR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_counts),
        cmocka_unit_test(frames_are_their_pixels_and_times),
        cmocka_unit_test(bytes_are_their_content),
        cmocka_unit_test(a_file_that_was_just_written_is_new),
        cmocka_unit_test(a_file_is_what_the_system_says),
        cmocka_unit_test(a_stop_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
