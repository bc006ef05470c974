/* A folder of pictures as a clip: which names count, their order, their times, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "chat/picture_folder.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/qvl-folder-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static void make_file(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
}

static void assert_name(const struct qvl_picture_file *picture, const char *name)
{
    assert_memory_equal(picture->path, dir, strlen(dir));
    assert_string_equal(picture->path + strlen(dir) + 1, name);
}

static void test_order_and_times(void **state)
{
    (void)state;
    static const char *const files[] = {
        "frame10.png", "frame9.PNG", "frame2.jpg", "frame002.png", "b1-10.webp", "b1-9.webp", "b01-9b.webp",
        "frame99999999999999999999998.png", "frame99999999999999999999997.png", "图片 3.jpeg", "图片 12.jpeg",
        "a.heic", "notes.txt", ".hidden.png", "._frame2.jpg", "png", "clip.mp4", "no-ending"};
    static const char *const expected[] = {
        "a.heic", "b1-9.webp", "b01-9b.webp", "b1-10.webp", "frame2.jpg", "frame002.png", "frame9.PNG",
        "frame10.png", "frame99999999999999999999997.png", "frame99999999999999999999998.png", "图片 3.jpeg", "图片 12.jpeg"};
    enum { N = sizeof expected / sizeof *expected };
    struct qvl_arena arena = {0};
    struct qvl_error err = {0};
    struct qvl_picture_file *picture = NULL;
    size_t n = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        make_file(files[i]);
    assert_int_equal(qvl_picture_folder_list(dir, 4, &arena, &picture, &n, &err), QVL_OK);
    assert_int_equal(n, N);
    for (size_t i = 0; i < N; i++) {
        assert_name(&picture[i], expected[i]);
        assert_true(picture[i].time_s == (double)i / 4);
        assert_null(picture[i].bytes);
    }
    qvl_arena_free(&arena);
}

static void test_default_rate_and_final_slash(void **state)
{
    (void)state;
    struct qvl_arena arena = {0};
    struct qvl_error err = {0};
    struct qvl_picture_file *picture = NULL;
    size_t n = 0;
    char with_slash[80];
    make_file("1.bmp");
    make_file("2.gif");
    snprintf(with_slash, sizeof with_slash, "%s/", dir);
    assert_int_equal(qvl_picture_folder_list(with_slash, 0, &arena, &picture, &n, &err), QVL_OK);
    assert_int_equal(n, 2);
    assert_name(&picture[1], "2.gif");
    assert_true(picture[0].time_s == 0 && picture[1].time_s == 0.5);
    qvl_arena_free(&arena);
}

static void assert_refused(const char *path, double fps, enum qvl_status expected, const char *sentence)
{
    struct qvl_arena arena = {0};
    struct qvl_error err = {0};
    struct qvl_picture_file *picture = NULL;
    size_t n = 0;
    assert_int_equal(qvl_picture_folder_list(path, fps, &arena, &picture, &n, &err), expected);
    assert_int_equal(err.status, expected);
    if (!strstr(err.text, sentence))
        fail_msg("\"%s\" is not in \"%s\"", sentence, err.text);
    assert_null(picture);
    qvl_arena_free(&arena);
}

static void test_refusals(void **state)
{
    (void)state;
    char missing[128];
    snprintf(missing, sizeof missing, "%s/missing", dir);
    assert_refused(missing, 2, QVL_ERR_MEDIA, "missing: cannot open the folder: No such file");
    assert_refused(dir, 2, QVL_ERR_MEDIA, "the folder has no picture");
    make_file("a.txt");
    assert_refused(dir, 2, QVL_ERR_MEDIA, "the folder has no picture");
    make_file("1.png");
    make_file("2.png");
    assert_refused(dir, -1, QVL_ERR_ARGUMENT, "-1 pictures a second");
    assert_refused(dir, QVL_MAX_CLIP_FPS * 1.01, QVL_ERR_ARGUMENT, "at most 100000");
    assert_refused(dir, 0.9 / QVL_MAX_CLIP_SECONDS, QVL_ERR_ARGUMENT, "more than 1000000 seconds");
    char path[128];
    snprintf(path, sizeof path, "%s/1.png", dir);
    assert_refused(path, 2, QVL_ERR_MEDIA, "cannot open the folder: Not a directory");
}

static void test_limit(void **state)
{
    (void)state;
    struct qvl_arena arena = {0};
    struct qvl_error err = {0};
    struct qvl_picture_file *picture = NULL;
    size_t n = 0;
    for (unsigned i = 0; i < QVL_MAX_CLIP_FRAMES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%u.png", i);
        make_file(name);
    }
    assert_int_equal(qvl_picture_folder_list(dir, 24, &arena, &picture, &n, &err), QVL_OK);
    assert_int_equal(n, QVL_MAX_CLIP_FRAMES);
    assert_name(&picture[QVL_MAX_CLIP_FRAMES - 1], "16383.png");
    qvl_arena_free(&arena);
    make_file("one-more.png");
    assert_refused(dir, 24, QVL_ERR_LIMIT, "more than 16384 pictures");
}

static void test_names(void **state)
{
    (void)state;
    assert_true(qvl_is_picture_name("a.jpg") && qvl_is_picture_name("/x.y/a.b.TIFF"));
    assert_false(qvl_is_picture_name("a.png/b") || qvl_is_picture_name("png") || qvl_is_picture_name("a.mp4"));
    assert_false(qvl_is_picture_name("") || qvl_is_picture_name("a.") || qvl_is_picture_name("a.pngx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order_and_times, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_default_rate_and_final_slash, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_refusals, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_limit, make_dir, remove_dir),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
