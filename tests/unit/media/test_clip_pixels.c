/* Clips in files against the reference (tests/data/clips/vectors.jsonl, written by reference/clip_file_vectors.py):
 * what a clip holds, and the pixels of every frame in ascending order, in any other, without seeking, from a helper
 * that had to start again, and all of this on one, two and four threads. The pixels depend on libavcodec and
 * libswscale: under other versions than those of the vectors the orders must still agree with each other. */
#include "helper.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libswscale/swscale.h>

#include "../../lib/json_lines.h"
#include "../../lib/sha256.h"
#include "media/clip.h"

enum { MAX_FRAMES = 256, AVCODEC_OF_VECTORS = 59, SWSCALE_OF_VECTORS = 6 };

struct hash {
    char hex[65];
};

struct file {
    const char *name;
    struct qvl_media_source source;
    struct qvl_clip_info info;
    struct hash frame[MAX_FRAMES];
};

static struct qvl_error err;

static const char *text(const json_t *line, const char *key)
{
    return json_string_value(json_object_get(line, key));
}

static double number(const json_t *line, const char *key)
{
    return json_number_value(json_object_get(line, key));
}

static void open_clip(const struct file *file, bool no_seek, uint32_t n_thread, struct qvl_clip **out,
                      struct qvl_clip_info *info)
{
    const struct qvl_media_settings settings = {
        .helper_path = test_helper_path(), .no_seek = no_seek, .n_thread = n_thread};
    if (qvl_clip_open(&settings, &file->source, out, info, NULL, &err))
        fail_msg("%s", err.text);
}

static void read_frame(const struct file *file, struct qvl_clip *clip, uint64_t i, struct hash *out)
{
    struct qvl_picture picture = {0};
    if (qvl_clip_read(clip, i, &picture, NULL, &err))
        fail_msg("frame %llu: %s", (unsigned long long)i, err.text);
    assert_int_equal(picture.frame.w, file->info.w);
    assert_int_equal(picture.frame.h, file->info.h);
    assert_int_equal(picture.frame.stride_bytes, (size_t)file->info.w * 3);
    sha256_hex(picture.frame.rgb8, (size_t)file->info.w * file->info.h * 3, out->hex);
    qvl_picture_free(&picture);
}

static void check_frame(const struct file *file, struct qvl_clip *clip, uint64_t i, const char *how)
{
    struct hash hash;
    read_frame(file, clip, i, &hash);
    if (strcmp(hash.hex, file->frame[i].hex) != 0)
        fail_msg("%s: frame %llu, %s: other pixels", file->name, (unsigned long long)i, how);
}

static void compare_info(const json_t *line, const struct qvl_clip_info *info)
{
    const char *name = text(line, "file");
    if (info->w != number(line, "w") || info->h != number(line, "h"))
        fail_msg("%s: %u x %u pixels", name, info->w, info->h);
    if (info->n_frame != number(line, "n") || info->fps != number(line, "fps") ||
        info->duration_s != number(line, "duration"))
        fail_msg("%s: %llu frames, %.17g a second, %.17g seconds", name, (unsigned long long)info->n_frame,
                 info->fps, info->duration_s);
    assert_string_equal(info->codec, text(line, "codec"));
    assert_false(info->is_cut);
}

static void compare_hashes(const json_t *line, const struct file *file)
{
    const json_t *list = json_object_get(line, "sha256"), *hash;
    size_t i;
    assert_int_equal(json_array_size(list), file->info.n_frame);
    json_array_foreach(list, i, hash) if (strcmp(json_string_value(hash), file->frame[i].hex) != 0)
        fail_msg("%s: frame %zu: other pixels than the reference's", file->name, i);
}

/* Backward, on one thread, which is slow enough; by leaps both ways, with a helper that is sent away in between;
 * forward by single frames, and by steps as a clip is sampled; and every third without seeking. */
static void check_orders(const struct file *file, uint32_t n_thread)
{
    struct qvl_clip_info info;
    struct qvl_clip *clip = NULL;
    const uint64_t n = file->info.n_frame;
    open_clip(file, false, n_thread, &clip, &info);
    for (uint64_t i = n; n_thread == 1 && i-- > 0;)
        check_frame(file, clip, i, "backward");
    for (uint64_t i = 0, at = 0; i < n; i += 2, at = (at + 2 * n / 3 + 1) % n) {
        if (i == n / 2 / 2 * 2)
            qvl_clip_rest(clip);
        check_frame(file, clip, at, "by leaps");
    }
    for (uint64_t step = 1; step < 30; step = 2 * step + 1)
        for (uint64_t i = 0; i < n; i += step)
            check_frame(file, clip, i, "by steps");
    qvl_clip_close(clip);
    clip = NULL;
    open_clip(file, true, n_thread, &clip, &info);
    for (uint64_t i = 0; i < n; i += 3)
        check_frame(file, clip, i, "without seeking");
    qvl_clip_close(clip);
}

/* arg: count of clips. */
static void check_line(const json_t *line, void *arg)
{
    size_t *n_clip = arg;
    char path[256];
    struct file file = {.name = text(line, "file")};
    struct qvl_clip *clip = NULL;
    snprintf(path, sizeof path, "tests/data/clips/%s", file.name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    file.source = (struct qvl_media_source){.from = QVL_FROM_FD, .name = file.name, .fd = fd};
    open_clip(&file, false, 1, &clip, &file.info);
    compare_info(line, &file.info);
    assert_in_range(file.info.n_frame, 1, MAX_FRAMES);
    for (uint64_t i = 0; i < file.info.n_frame; i++)
        read_frame(&file, clip, i, &file.frame[i]);
    qvl_clip_close(clip);
    if (avcodec_version() >> 16 == AVCODEC_OF_VECTORS && swscale_version() >> 16 == SWSCALE_OF_VECTORS)
        compare_hashes(line, &file);
    for (uint32_t n_thread = 1; n_thread <= 4; n_thread *= 2)
        check_orders(&file, n_thread);
    assert_int_equal(close(fd), 0);
    ++*n_clip;
}

static void every_frame_has_the_references_pixels(void **state)
{
    (void)state;
    size_t n_clip = 0;
    if (avcodec_version() >> 16 != AVCODEC_OF_VECTORS || swscale_version() >> 16 != SWSCALE_OF_VECTORS)
        print_message("SKIP: libavcodec %u and libswscale %u, not %d and %d: pixels compared between orders only\n",
                      avcodec_version() >> 16, swscale_version() >> 16, AVCODEC_OF_VECTORS, SWSCALE_OF_VECTORS);
    for_each_line("tests/data/clips/vectors.jsonl", check_line, &n_clip);
    print_message("%zu clips\n", n_clip);
    assert_in_range(n_clip, 49, SIZE_MAX);
}

static void check_bytes(const json_t *line, void *arg)
{
    (void)arg;
    char path[256];
    size_t n = 0;
    struct qvl_clip_info info;
    struct qvl_clip *clip = NULL;
    snprintf(path, sizeof path, "tests/data/clips/%s", text(line, "file"));
    uint8_t *bytes = test_read_file(path, &n);
    struct file file = {.name = text(line, "file"), .source = test_source(path, bytes, n)};
    open_clip(&file, false, 3, &clip, &info);
    compare_info(line, &info);
    qvl_clip_close(clip);
    free(bytes);
}

static void bytes_hold_the_same_clip(void **state)
{
    (void)state;
    for_each_line("tests/data/clips/vectors.jsonl", check_bytes, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_has_the_references_pixels),
        cmocka_unit_test(bytes_hold_the_same_clip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
