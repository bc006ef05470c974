/* HEIC and AVIF (reference/heif_pictures.py): size without decoding, and pixels near those expected.
 *
 * Decoding is exact, the change from YCbCr to RGB is not: implementations round differently, and some draw chroma
 * of half the resolution with a filter. Bounds, in steps of 8 bits: 1 for HEIC of full chroma, coded without loss,
 * against what went in: Y, Cb and Cr are each off by at most 1/2, which makes at most 0.5 + 1.772 / 2 = 1.4, and
 * the result is rounded once more: less than 1.9; 2 for AVIF of full chroma against libavif, whose conversion has
 * coefficients of 6 bits; 3 where there are more than 8 bits, which that conversion shortens before it adds up
 * (10bit.heic shows what ours does); 6 for chroma of half the resolution: the pictures' chroma changes by at most 4
 * from pixel to pixel, and the nearest chroma sample is half a pixel off on each axis; 2 for rounding. */
#include "helper.h"

#include <stdio.h>

enum { BOUND_HEIC = 1, BOUND_AVIF = 2, BOUND_DEEP_AVIF = 3, BOUND_HALF_CHROMA = 6, BOUND_GREY = 0 };

struct still {
    const char *name;
    int bound;
};

static const struct still stills[] = {
    {"odd.heic", BOUND_HEIC},           {"420.heic", BOUND_HALF_CHROMA}, {"alpha.heic", BOUND_HEIC},
    {"grey.heic", BOUND_GREY},          {"10bit.heic", BOUND_HEIC},      {"odd.avif", BOUND_AVIF},
    {"420.avif", BOUND_HALF_CHROMA},    {"alpha.avif", BOUND_AVIF},      {"alpha-lossless.avif", BOUND_AVIF},
    {"premultiplied.avif", BOUND_AVIF}, {"grey.avif", BOUND_GREY},       {"10bit.avif", BOUND_DEEP_AVIF},
    {"12bit.avif", BOUND_DEEP_AVIF},    {"grid.avif", BOUND_AVIF},       {"turned-2.avif", BOUND_AVIF},
    {"turned-3.avif", BOUND_AVIF},      {"turned-4.avif", BOUND_AVIF},   {"turned-5.avif", BOUND_AVIF},
    {"turned-6.avif", BOUND_AVIF},      {"turned-7.avif", BOUND_AVIF},   {"turned-8.avif", BOUND_AVIF},
};
enum { N_STILL = sizeof stills / sizeof *stills };

static struct qvl_media *media;

static int open_media(void **state)
{
    (void)state;
    media = test_open(test_helper_path(), 0);
    return 0;
}

static int close_media(void **state)
{
    (void)state;
    qvl_media_close(media);
    return 0;
}

static uint8_t *read_still(const char *name, const char *end, size_t *out_n)
{
    char path[256];
    snprintf(path, sizeof path, TEST_DATA "/heif/%s%s", name, end);
    return test_read_file(path, out_n);
}

static void decode(const struct qvl_media_source *source, struct qvl_picture *out)
{
    struct qvl_error err = {0};
    uint32_t w = 0, h = 0;
    if (qvl_media_probe_image(media, source, &w, &h, NULL, &err) ||
        qvl_media_decode_image(media, source, out, NULL, &err))
        fail_msg("%s", err.text);
    assert_int_equal(w, out->frame.w);
    assert_int_equal(h, out->frame.h);
}

static void check_still(const struct still *still)
{
    struct qvl_picture picture = {0}, expected = {0};
    size_t n = 0, n_png = 0;
    uint8_t *bytes = read_still(still->name, "", &n), *png = read_still(still->name, ".png", &n_png);
    const struct qvl_media_source source = test_source(still->name, bytes, n),
                                  png_source = test_source("png", png, n_png);
    decode(&source, &picture);
    decode(&png_source, &expected);
    if (picture.frame.w != expected.frame.w || picture.frame.h != expected.frame.h)
        fail_msg("%s: %u x %u pixels", still->name, picture.frame.w, picture.frame.h);
    for (size_t i = 0; i < (size_t)expected.frame.w * expected.frame.h * 3; i++)
        if (abs(picture.frame.rgb8[i] - expected.frame.rgb8[i]) > still->bound)
            fail_msg("%s: byte %zu is %d, not within %d of %d", still->name, i, picture.frame.rgb8[i], still->bound,
                     expected.frame.rgb8[i]);
    qvl_picture_free(&picture);
    qvl_picture_free(&expected);
    free(bytes);
    free(png);
}

static void stills_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_STILL; i++)
        check_still(&stills[i]);
}

/* 48 million pixels of 10 bits, which take more than 1 GiB on their way to RGB. */
static void the_largest_of_phones_is_read(void **state)
{
    (void)state;
    static const uint8_t colour[] = {200, 120, 60};
    struct qvl_picture picture = {0};
    size_t n = 0;
    uint8_t *bytes = read_still("large.heic", "", &n);
    const struct qvl_media_source source = test_source("large.heic", bytes, n);
    decode(&source, &picture);
    assert_int_equal(picture.frame.w, 8064);
    assert_int_equal(picture.frame.h, 6048);
    for (size_t i = 0; i < (size_t)8064 * 6048 * 3; i++)
        if (abs(picture.frame.rgb8[i] - colour[i % 3]) > BOUND_HEIC)
            fail_msg("byte %zu is %d", i, picture.frame.rgb8[i]);
    qvl_picture_free(&picture);
    free(bytes);
}

/* Cut anywhere in the boxes or the coded picture: refused by the sandboxed decoder in a sentence, never decoded in
 * part, and the helper is alive for the next one. */
static void cut_files_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"odd.heic", "alpha.heic", "odd.avif", "grid.avif"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = 0;
        uint8_t *bytes = read_still(names[i], "", &n);
        for (size_t n_left = 16; n_left < n; n_left += 1 + n / 16) {
            uint8_t *part = malloc(n_left); /* of its own: reading behind it shows */
            assert_non_null(part);
            memcpy(part, bytes, n_left);
            const struct qvl_media_source source = test_source(names[i], part, n_left);
            test_refused(media, &source, QVL_ERR_MEDIA, "picture ");
            free(part);
        }
        free(bytes);
    }
}

static uint8_t *find(uint8_t *bytes, size_t n, const char *tag)
{
    uint8_t *at = memmem(bytes, n, tag, 4);
    assert_non_null(at);
    return at;
}

/* The size that a file says of itself is measured against the limits before anything is decoded. */
static void sizes_beyond_the_limits_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint8_t size[8]; /* of "ispe", big-endian */
        const char *part;
    } cases[] = {{{0, 0, 0x20, 0x10, 0, 0, 0x20, 0}, "8208 x 8192 pixels, more than 67,108,864"},
                 {{0, 0, 0x20, 0, 0, 0, 0, 31}, "picture "}}; /* allowed, but not what is coded */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = 0;
        uint8_t *bytes = read_still("odd.avif", "", &n);
        memcpy(find(bytes, n, "ispe") + 8, cases[i].size, 8);
        const struct qvl_media_source source = test_source("size", bytes, n);
        test_refused(media, &source, QVL_ERR_MEDIA, cases[i].part);
        free(bytes);
    }
}

/* libheif alone would follow it until the stack ends. */
static void a_grid_that_is_its_own_tile_is_refused(void **state)
{
    (void)state;
    size_t n = 0;
    uint8_t *bytes = read_still("grid.avif", "", &n), *dimg = find(bytes, n, "dimg");
    const struct qvl_media_source source = test_source("grid", bytes, n);
    memcpy(dimg + 8, dimg + 4, 2); /* from, number, to, … */
    test_refused(media, &source, QVL_ERR_MEDIA, "this AVIF picture is damaged");
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stills_are_read),
        cmocka_unit_test(the_largest_of_phones_is_read),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(sizes_beyond_the_limits_are_refused),
        cmocka_unit_test(a_grid_that_is_its_own_tile_is_refused),
    };
    return cmocka_run_group_tests(tests, open_media, close_media);
}
