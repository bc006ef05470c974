/* What the words of a command line become. */
#include "cli/input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>


static char folder[] = "/tmp/qvl-test-input-XXXXXX";

static void write_file(const char *name, const void *data, size_t n)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static int make_files(void **state)
{
    (void)state;
    static const char gif[] = "GIF89a";
    assert_non_null(mkdtemp(folder));
    write_file("1.gif", gif, 6);
    write_file("2.gif", gif, 6);
    write_file("10.gif", gif, 6);
    write_file("really.txt", gif, 6);
    write_file("empty.mp4", "", 0);
    write_file("note.doc", "hello\n", 6);
    return chdir(folder) ? -1 : 0;
}

static int remove_files(void **state)
{
    (void)state;
    static const char *const name[] = {"1.gif", "2.gif", "10.gif", "really.txt", "empty.mp4", "note.doc"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        unlink(name[i]);
    return rmdir(folder);
}

struct line {
    struct qvl_options options;
    struct qvl_input input;
    struct qvl_error err;
};

static enum qvl_status take(struct line *l, int n, const char *const *word)
{
    char *arg[16];
    assert_true(n <= 16);
    for (int i = 0; i < n; i++)
        arg[i] = (char *)word[i];
    assert_int_equal(qvl_options_parse(QVL_VERB_RUN, n, arg, &l->options, &l->err), QVL_OK);
    enum qvl_status status = qvl_input_open(&l->options, &l->input, &l->err);
    if (status)
        qvl_options_free(&l->options);
    return status;
}

#define TAKE(l, ...)                                                                                       \
    take(l, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)), (const char *const[]){__VA_ARGS__})

static void drop(struct line *l)
{
    qvl_input_close(&l->input);
    qvl_options_free(&l->options);
}

static void content_counts_and_then_the_name(void **state)
{
    (void)state;
    struct line l = {0};
    assert_int_equal(TAKE(&l, "what", "really.txt", "1.gif"), QVL_OK);
    assert_int_equal(l.input.n_part, 3);
    assert_int_equal(l.input.n_media, 2);
    assert_int_equal(l.input.part[0].kind, QVL_PART_IMAGE);
    assert_string_equal(l.input.part[0].source.name, "really.txt");
    assert_int_equal(l.input.part[2].kind, QVL_PART_TEXT); /* the question goes last */
    drop(&l);
    assert_int_equal(TAKE(&l, "what", "gone.doc"), QVL_OK); /* without a slash, and not there: a word */
    assert_int_equal(l.input.n_media, 0);
    drop(&l);
    assert_int_equal(TAKE(&l, "what", "-p", "note.doc"), QVL_OK);
    assert_int_equal(l.input.n_media, 0);
    drop(&l);
    static const char *const files[] = {"note.doc", "./note.doc", "/dev/null"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        assert_int_equal(TAKE(&l, "what", files[i]), QVL_ERR_MEDIA);
        assert_non_null(strstr(l.err.text, "not a picture or clip"));
    }
    assert_int_equal(TAKE(&l, "what", "."), QVL_ERR_MEDIA);
    assert_non_null(strstr(l.err.text, "a folder"));
    assert_int_equal(TAKE(&l, "what", "empty.mp4"), QVL_ERR_MEDIA);
    assert_non_null(strstr(l.err.text, "empty"));
    assert_int_equal(TAKE(&l, "what", "gone.webm"), QVL_ERR_MEDIA);
    assert_int_equal(TAKE(&l, "what", "./"), QVL_ERR_MEDIA);
    assert_non_null(strstr(l.err.text, "--video"));
}

static void file_uris_are_paths(void **state)
{
    (void)state;
    struct line l = {0};
    char uri[200];
    snprintf(uri, sizeof uri, "file://%s/really%%2Etxt", folder);
    assert_int_equal(TAKE(&l, "what", uri), QVL_OK);
    assert_int_equal(l.input.n_media, 1);
    assert_int_equal(l.input.part[0].source.from, QVL_FROM_FD);
    drop(&l);
    assert_int_equal(TAKE(&l, "what", "file:///gone.png"), QVL_ERR_MEDIA);
    assert_int_equal(TAKE(&l, "what does file:///x.png mean?"), QVL_OK); /* a sentence */
    drop(&l);
}

static void check_clip(const struct qvl_part *part, size_t n, double last_s)
{
    assert_int_equal(part->kind, QVL_PART_VIDEO);
    assert_int_equal(part->source.from, QVL_FROM_PICTURES);
    assert_int_equal(part->source.n_frame, n);
    assert_true(part->source.pictures[n - 1].time_s == last_s);
}

static void pictures_in_a_row_are_a_clip(void **state)
{
    (void)state;
    struct line l = {0};
    assert_int_equal(TAKE(&l, "--video", "1.gif", "2.gif", "10.gif", "what"), QVL_OK); /* --video *.gif: 2 a second */
    assert_int_equal(l.input.n_part, 2);
    check_clip(&l.input.part[0], 3, 1);
    drop(&l);
    assert_int_equal(TAKE(&l, "1.gif", "2.gif", "what", "10.gif", "--sample-fps", "4", "--fps", "1"), QVL_OK);
    assert_int_equal(l.input.n_clip, 2);
    check_clip(&l.input.part[0], 2, 0.25);
    check_clip(&l.input.part[1], 1, 0);
    assert_true(l.input.part[1].media.fps == 1);
    drop(&l);
    assert_int_equal(TAKE(&l, "--video", "1.gif", "--image", "2.gif", "what"), QVL_OK);
    check_clip(&l.input.part[0], 1, 0);
    assert_int_equal(l.input.part[1].kind, QVL_PART_IMAGE);
    drop(&l);
    assert_int_equal(TAKE(&l, "1.gif", "2.gif", "what"), QVL_OK); /* without a rate: pictures */
    assert_int_equal(l.input.n_clip, 0);
    assert_int_equal(l.input.n_media, 2);
    drop(&l);
}

static void a_folder_is_a_clip_in_natural_order(void **state)
{
    (void)state;
    struct line l = {0};
    assert_int_equal(TAKE(&l, "--video", folder, "what", "--sample-fps", "2"), QVL_OK);
    check_clip(&l.input.part[0], 3, 1);
    assert_non_null(strstr(l.input.part[0].source.pictures[2].path, "/10.gif"));
    drop(&l);
    assert_int_equal(TAKE(&l, folder, "what", "--frame-times", "0,0.5,7.25"), QVL_OK);
    check_clip(&l.input.part[0], 3, 7.25);
    drop(&l);
    assert_int_equal(TAKE(&l, folder, "what", "--frame-times", "0,0.5"), QVL_ERR_ARGUMENT);
    assert_non_null(strstr(l.err.text, "2 times"));
    static const char *const bad[] = {"", "0,", "0;1;2", "0,x,2", "0,-1,2", "nan,1,2", "0, 1,2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(TAKE(&l, folder, "what", "--frame-times", bad[i]), QVL_ERR_ARGUMENT);
}

static void a_message_is_made_piece_by_piece(void **state)
{
    (void)state;
    struct qvl_options options = {.num_frames = 3};
    struct qvl_input input = {0};
    struct qvl_error err = {0};
    enum qvl_part_kind kind = QVL_PART_TEXT;
    assert_true(qvl_input_find_kind("really.txt", &kind) && kind == QVL_PART_IMAGE);
    assert_false(qvl_input_find_kind("note.doc", &kind));
    assert_int_equal(qvl_input_add_media(&options, QVL_PART_IMAGE, "1.gif", &input, &err), QVL_OK);
    assert_int_equal(qvl_input_add_media(&options, QVL_PART_IMAGE, "gone.gif", &input, &err), QVL_ERR_MEDIA);
    assert_int_equal(qvl_input_add_media(&options, QVL_PART_VIDEO, folder, &input, &err), QVL_OK);
    assert_int_equal(qvl_input_add_text(&input, "\xff", 1, &err), QVL_ERR_ARGUMENT);
    assert_int_equal(qvl_input_add_text(&input, "what", 4, &err), QVL_OK);
    assert_int_equal(input.n_part, 3);
    assert_int_equal(input.part[1].media.num_frames, 3);
    qvl_input_drop_last(&input);
    qvl_input_drop_last(&input);
    assert_true(input.n_part == 1 && input.n_media == 1 && input.n_clip == 0 && input.n_fd == 1);
    qvl_input_drop_last(&input);
    assert_true(input.n_part == 0 && input.n_fd == 0);
    qvl_input_close(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_counts_and_then_the_name), cmocka_unit_test(file_uris_are_paths),
        cmocka_unit_test(pictures_in_a_row_are_a_clip),     cmocka_unit_test(a_folder_is_a_clip_in_natural_order),
        cmocka_unit_test(a_message_is_made_piece_by_piece),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
