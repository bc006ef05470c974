/* Clips in files beyond their pixels (test_clip_pixels.c): what is refused and how, what of a cut file is used,
 * helpers that are killed, sent away or cancelled, files that change, and that nothing is left behind. */
#include "helper.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "media/clip.h"

#define CLIPS "tests/data/clips/"

static struct qvl_error err;

static struct qvl_media_settings settings(void)
{
    return (struct qvl_media_settings){.helper_path = test_helper_path()};
}

static struct qvl_media_source source_of(const char *name, int *fd)
{
    char path[256];
    snprintf(path, sizeof path, CLIPS "%s", name);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        fail_msg("%s is missing", path);
    return (struct qvl_media_source){.from = QVL_FROM_FD, .name = name, .fd = *fd};
}

static struct qvl_clip *opened(const struct qvl_media_source *source, struct qvl_clip_info *info)
{
    const struct qvl_media_settings s = settings();
    struct qvl_clip *clip = NULL;
    if (qvl_clip_open(&s, source, &clip, info, NULL, &err))
        fail_msg("%s", err.text);
    return clip;
}

/* The frame's pixels must be these; where `pixels` is empty they become these. */
static void check_frame(struct qvl_clip *clip, uint64_t i, struct qvl_picture *pixels)
{
    struct qvl_picture picture = {0};
    if (qvl_clip_read(clip, i, &picture, NULL, &err))
        fail_msg("%s", err.text);
    if (!pixels->map) {
        *pixels = picture;
        return;
    }
    assert_int_equal(picture.map_bytes, pixels->map_bytes);
    assert_memory_equal(picture.map, pixels->map, picture.map_bytes);
    qvl_picture_free(&picture);
}

static void check_refused(const struct qvl_media_source *source, const char *sentence)
{
    const struct qvl_media_settings s = settings();
    struct qvl_clip *clip = NULL;
    struct qvl_clip_info info;
    assert_int_equal(qvl_clip_open(&s, source, &clip, &info, NULL, &err), QVL_ERR_MEDIA);
    assert_null(clip);
    assert_string_equal(err.text, sentence);
}

static void what_cannot_be_read_has_its_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *name, *sentence;
    } cases[] = {
        {"bad/audio-only.mp4", "bad/audio-only.mp4: the file has no video stream"},
        {"bad/audio-only.webm", "bad/audio-only.webm: the file has no video stream"},
        {"bad/no-frames.mp4", "bad/no-frames.mp4: the file has no video stream"},
        {"bad/no-frames.avi", "bad/no-frames.avi: its video stream holds no frame"},
        {"bad/no-frames.mkv", "bad/no-frames.mkv: the clip ends too early: the file is cut off"},
        {"bad/empty.mp4", "bad/empty.mp4: the file is empty; a clip was expected"},
        {"bad/text.mp4", "bad/text.mp4: this is text; a clip was expected (MP4, MOV, Matroska, WebM or AVI)"},
        {"bad/huge-size.mp4",
         "bad/huge-size.mp4: the frames of the clip have a side longer than 32768 pixels or more "
         "than 67108864 in all"},
        {"bad/huge-rate.avi",
         "bad/huge-rate.avi: 2.14286e+09 frames a second, more than the 100000 that qvl accepts"},
        {"bad/cut-hevc.mp4",
         "bad/cut-hevc.mp4: the clip's index (moov), which can stand at the end of the file, is "
         "missing: the file is cut off"},
        {"bad/cut-h264-moov-end.mp4",
         "bad/cut-h264-moov-end.mp4: the clip's index (moov), which can stand at the end "
         "of the file, is missing: the file is cut off"},
        {"../../unit/media/data/rgb.jpg",
         "../../unit/media/data/rgb.jpg: this is a picture (JPEG): give it as a picture, or several as a clip"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd;
        const struct qvl_media_source source = source_of(cases[i].name, &fd);
        check_refused(&source, cases[i].sentence);
        close(fd);
    }
    int fd;
    const struct qvl_media_source source = source_of("mpeg4.avi", &fd);
    struct qvl_media *media = test_open(test_helper_path(), 0);
    test_refused(media, &source, QVL_ERR_MEDIA, "this is an AVI video: give it as a video");
    qvl_media_close(media);
    close(fd);
}

/* Four letters of the stream's header name the codec. */
static void a_codec_that_is_not_read_is_named_as_such(void **state)
{
    (void)state;
    size_t n = 0;
    uint8_t *bytes = test_read_file(CLIPS "mpeg4.avi", &n);
    for (size_t i = 0; i + 4 <= n && i < 512; i++)
        if (memcmp(bytes + i, "FMP4", 4) == 0)
            memcpy(bytes + i, "IV50", 4);
    const struct qvl_media_source source = test_source("old.avi", bytes, n);
    check_refused(&source,
                  "old.avi: the clip uses a codec that qvl does not read; it reads H.264, H.265, VP8, VP9, AV1, "
                  "MPEG-1, -2 and -4, H.263, MJPEG and ProRes");
    free(bytes);
}

/* The width in each JPEG header of the file, from the third on: 64 -> 40. */
static void a_clip_that_changes_its_size_is_refused_there(void **state)
{
    (void)state;
    size_t n = 0, n_header = 0;
    uint8_t *bytes = test_read_file(CLIPS "mjpeg.avi", &n);
    for (size_t i = 0; i + 9 <= n; i++)
        if (memcmp(bytes + i, "\xff\xc0\0\x11\x08", 5) == 0 && n_header++ >= 2)
            bytes[i + 8] = 40;
    const struct qvl_media_source source = test_source("resized.avi", bytes, n);
    struct qvl_clip_info info;
    struct qvl_clip *clip = opened(&source, &info);
    struct qvl_picture none = {0}, pixels = {0};
    check_frame(clip, 1, &pixels);
    assert_int_equal(qvl_clip_read(clip, 2, &none, NULL, &err), QVL_ERR_MEDIA);
    assert_string_equal(err.text, "resized.avi: the clip changes its size on the way, which qvl does not follow");
    check_frame(clip, 1, &pixels);
    qvl_picture_free(&pixels);
    qvl_clip_close(clip);
    free(bytes);
}

static void of_a_cut_file_the_frames_that_are_there_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t n_at_least;
    } cases[] = {
        {"bad/cut-h264-fragments.mp4", 5}, {"bad/cut-h264-moov-start.mp4", 10}, {"bad/cut-h264-open-gop.mkv", 10},
        {"bad/cut-mpeg4.avi", 5},          {"bad/cut-vp9-odd-size.webm", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd;
        const struct qvl_media_source source = source_of(cases[i].name, &fd);
        struct qvl_clip_info info;
        struct qvl_clip *clip = opened(&source, &info);
        assert_true(info.is_cut);
        assert_in_range(info.n_frame, cases[i].n_at_least, 60);
        for (uint64_t k = info.n_frame; k-- > 0;) {
            struct qvl_picture pixels = {0};
            check_frame(clip, k, &pixels);
            qvl_picture_free(&pixels);
        }
        qvl_clip_close(clip);
        close(fd);
    }
}

/* The one child of this thread. */
static pid_t child(void)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)syscall(SYS_gettid));
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &pid), 1);
    fclose(file);
    return pid;
}

static void a_killed_helper_is_replaced(void **state)
{
    (void)state;
    int fd;
    const struct qvl_media_source source = source_of("h264-open-gop.mkv", &fd);
    struct qvl_clip_info info;
    struct qvl_clip *clip = opened(&source, &info);
    struct qvl_picture pixels = {0};
    check_frame(clip, 33, &pixels);
    for (int i = 0; i < 5; i++) {
        pid_t old = child();
        kill(old, SIGKILL);
        check_frame(clip, 33, &pixels);
        assert_int_not_equal(child(), old);
        check_frame(clip, 33, &pixels);
    }
    qvl_picture_free(&pixels);
    qvl_clip_close(clip);
    close(fd);
    assert_false(test_has_child());
}

static void a_clip_at_rest_has_no_process(void **state)
{
    (void)state;
    int fd;
    const struct qvl_media_source source = source_of("vp9.mp4", &fd);
    struct qvl_clip_info info;
    size_t n_before = test_n_fd();
    struct qvl_clip *clip = opened(&source, &info);
    struct qvl_picture pixels = {0};
    check_frame(clip, 9, &pixels);
    qvl_clip_rest(clip);
    assert_false(test_has_child());
    qvl_clip_rest(clip);
    check_frame(clip, 9, &pixels);
    qvl_clip_rest(clip);
    qvl_clip_close(clip);
    qvl_picture_free(&pixels);
    assert_int_equal(test_n_fd(), n_before);
    assert_false(test_has_child());
    qvl_clip_close(NULL);
    close(fd);
}

/* The rate in the header of an AVI file, doubled while the helper is away: not the clip that was opened. */
static void a_file_that_changes_is_noticed(void **state)
{
    (void)state;
    size_t n = 0, at = 0;
    uint8_t *bytes = test_read_file(CLIPS "mpeg4.avi", &n);
    while (at + 4 < n && memcmp(bytes + at, "strh", 4) != 0)
        at++;
    int fd = memfd_create("changing", MFD_CLOEXEC);
    assert_int_equal(write(fd, bytes, n), n);
    const struct qvl_media_source source = {.from = QVL_FROM_FD, .name = "live.avi", .fd = fd};
    struct qvl_clip_info info;
    struct qvl_picture pixels = {0};
    struct qvl_clip *clip = opened(&source, &info);
    check_frame(clip, 0, &pixels);
    qvl_clip_rest(clip);
    const uint8_t rate = (uint8_t)(bytes[at + 8 + 24] * 2);
    assert_int_equal(pwrite(fd, &rate, 1, (off_t)at + 8 + 24), 1);
    struct qvl_picture none = {0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(qvl_clip_read(clip, 0, &none, NULL, &err), QVL_ERR_MEDIA);
        assert_string_equal(err.text, "live.avi: it changed while it was read");
        assert_null(none.map);
    }
    assert_int_equal(ftruncate(fd, 3000), 0);
    assert_int_equal(qvl_clip_read(clip, 0, &none, NULL, &err), QVL_ERR_MEDIA);
    assert_string_equal(err.text, "live.avi: the clip cannot be read by qvl-media");
    qvl_clip_close(clip);
    qvl_picture_free(&pixels);
    close(fd);
    free(bytes);
    assert_false(test_has_child());
}

/* To print the date, the demuxer would ask for the time zone's file, which it must not open. */
static void a_date_in_the_header_does_no_harm(void **state)
{
    (void)state;
    size_t n = 0, at = 0;
    uint8_t *bytes = test_read_file(CLIPS "h264-moov-end.mp4", &n);
    while (at + 12 < n && memcmp(bytes + at, "mvhd", 4) != 0)
        at++;
    memset(bytes + at + 8, 0xd0, 4); /* seconds since 1904 */
    const struct qvl_media_source source = test_source("dated.mp4", bytes, n);
    struct qvl_clip_info info;
    struct qvl_clip *clip = opened(&source, &info);
    assert_int_equal(info.n_frame, 30);
    qvl_clip_close(clip);
    free(bytes);
}

static void cancelling_ends_it(void **state)
{
    (void)state;
    int fd;
    const struct qvl_media_source source = source_of("hevc.mp4", &fd);
    const struct qvl_media_settings s = settings();
    struct qvl_clip *clip = NULL;
    struct qvl_clip_info info;
    struct qvl_picture none = {0}, pixels = {0};
    atomic_bool stop = true;
    assert_int_equal(qvl_clip_open(&s, &source, &clip, &info, &stop, &err), QVL_ERR_CANCELLED);
    assert_null(clip);
    clip = opened(&source, &info);
    assert_int_equal(qvl_clip_read(clip, 1, &none, &stop, &err), QVL_ERR_CANCELLED);
    assert_null(none.map);
    assert_false(test_has_child());
    check_frame(clip, 1, &pixels); /* and it can go on */
    assert_int_equal(qvl_clip_read(clip, info.n_frame, &none, NULL, &err), QVL_ERR_ARGUMENT);
    assert_string_equal(err.text, "hevc.mp4: frame 33 asked for; the clip has 33");
    qvl_picture_free(&pixels);
    qvl_clip_close(clip);
    close(fd);
}

/* Any one byte of the file wrong: an answer or a sentence, and a helper that can be asked again. */
static void damage_is_survived(void **state)
{
    (void)state;
    static const char *const names[] = {"h264-open-gop.mp4", "mpeg4-b-frames.avi", "vp8.webm"};
    const struct qvl_media_settings s = settings();
    for (size_t i = 0; i < 3; i++) {
        char path[256];
        size_t n = 0;
        snprintf(path, sizeof path, CLIPS "%s", names[i]);
        uint8_t *bytes = test_read_file(path, &n);
        for (size_t at = 40; at < n; at += n / 23) {
            struct qvl_clip *clip = NULL;
            struct qvl_clip_info info;
            bytes[at] ^= 0x5a;
            const struct qvl_media_source source = test_source(names[i], bytes, n);
            enum qvl_status status = qvl_clip_open(&s, &source, &clip, &info, NULL, &err);
            if (status)
                assert_int_equal(status, QVL_ERR_MEDIA);
            for (uint64_t k = 0; !status && k < info.n_frame && k < 60; k += 9) {
                struct qvl_picture picture = {0};
                if (qvl_clip_read(clip, k, &picture, NULL, &err) && !strstr(err.text, names[i]))
                    fail_msg("%s", err.text);
                assert_null(strstr(err.text, "died"));
                qvl_picture_free(&picture);
            }
            qvl_clip_close(clip);
            bytes[at] ^= 0x5a;
        }
        free(bytes);
    }
    assert_false(test_has_child());
}

int main(void)
{
    alarm(300); /* a hang is a failure, not a wait */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_read_has_its_sentence),
        cmocka_unit_test(a_codec_that_is_not_read_is_named_as_such),
        cmocka_unit_test(a_clip_that_changes_its_size_is_refused_there),
        cmocka_unit_test(of_a_cut_file_the_frames_that_are_there_are_read),
        cmocka_unit_test(a_killed_helper_is_replaced),
        cmocka_unit_test(a_clip_at_rest_has_no_process),
        cmocka_unit_test(a_file_that_changes_is_noticed),
        cmocka_unit_test(a_date_in_the_header_does_no_harm),
        cmocka_unit_test(cancelling_ends_it),
        cmocka_unit_test(damage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
