/* Files that are no pictures, broken pictures, pictures of forbidden size: one sentence each, naming the source. */
#include "helper.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

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
    return test_has_child();
}

static void refused_bytes(const char *name, const void *bytes, size_t n, const char *part)
{
    const struct qvl_media_source source = test_source(name, bytes, n);
    test_refused(media, &source, QVL_ERR_MEDIA, part);
}

static void test_other_files_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *part;
    } cases[] = {
#define CASE(text, part) {text, sizeof text - 1, part}
        CASE("", "the file is empty; a picture was expected"),
        CASE("Hello, this is not a picture.\n", "this is text; a picture was expected (JPEG, PNG, WebP, GIF, BMP"),
        CASE("BM is how this sentence begins", "this is text"),
        CASE("\xe4\xbd\xa0\xe5\xa5\xbd", "this is text"),
        CASE("%PDF-1.7\n%\xe2\xe3\xcf\xd3", "this is a PDF document"),
        CASE("<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "this is an SVG drawing"),
        CASE("\0\0\0\x18" "ftypheic\0\0\0\0", "this HEIC picture is damaged"),
        CASE("\0\0\0\x18" "ftypmif1\0\0\0\0", "this HEIC picture is damaged"),
        CASE("\0\0\0\x18" "ftypavif\0\0\0\0", "this AVIF picture is damaged"),
        CASE("\0\0\0\x18" "ftypisom\0\0\0\0", "this is an MP4 or QuickTime video"),
        CASE("\x1a\x45\xdf\xa3\x01\0\0\0", "this is a Matroska or WebM video"),
        CASE("RIFF\x10\0\0\0AVI LIST", "this is an AVI video"),
        CASE("\0\0\0\x0cjP  \r\n\x87\n", "this is a JPEG 2000 picture"),
        CASE("\xff\x0a\0\0", "this is a JPEG XL picture"),
        CASE("8BPS\0\1", "this is a Photoshop file"),
        CASE("\0\0\1\0\1\0", "this is an icon file"),
        CASE("PK\3\4\0\0", "this is a ZIP archive"),
        CASE("II+\0\x08\0\0\0", "this is a BigTIFF picture"),
        CASE("\1\2\3\4\5\6\7\x08", "this is data of an unknown kind"),
        CASE("\xff\xd8\xff", "this JPEG picture ends too early"),
        CASE("\x89PNG\r\n\x1a\n", "this PNG picture ends too early"),
        CASE("RIFF\x04\0\0\0WEBP", "this WebP picture ends too early"),
        CASE("GIF89a", "this GIF picture ends too early"),
        CASE("BM\0\0\0\0\0\0\0\0\0", "this BMP picture ends too early"),
        CASE("II*\0\x08\0\0\0", "this TIFF picture is damaged or cut off"),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused_bytes("a file.jpg", cases[i].bytes, cases[i].n, cases[i].part);
}

static void test_control_characters_of_a_name_are_not_repeated(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    struct qvl_picture picture = {0};
    const struct qvl_media_source source = test_source("a\nb\033[1m", (const uint8_t *)"x", 1);
    assert_int_equal(qvl_media_decode_image(media, &source, &picture, NULL, &err), QVL_ERR_MEDIA);
    assert_int_equal(strncmp(err.text, "a?b?[1m: ", 9), 0);
}

/* Of each of these files every shorter beginning is refused, or (where what is missing holds no pixels) gives the
 * same pixels. */
static void test_cut_at_every_byte(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_strict; /* every beginning is refused */
    } files[] = {{"17x13_420.jpg", true},  {"progressive.jpg", true}, {"cmyk.jpg", true},  {"exif6.jpg", true},
                 {"rgb8.png", true},       {"rgba16i.png", true},     {"exif_behind.png", true},
                 {"lossy.webp", true},     {"lossless_alpha.webp", true}, {"animated.webp", true},
                 {"exif6.webp", true},     {"palette.gif", false},    {"animated.gif", false}, {"L.bmp", false},
                 {"RGBA.bmp", false},      {"rgb8le.tif", false},     {"lzw.tif", false},  {"rgb16be.tif", false}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[256];
        size_t n = 0;
        struct qvl_error err = {0};
        struct qvl_picture whole = {0};
        snprintf(path, sizeof path, "%s/%s", TEST_DATA, files[i].name);
        uint8_t *bytes = test_read_file(path, &n);
        const struct qvl_media_source all = test_source(files[i].name, bytes, n);
        assert_int_equal(qvl_media_decode_image(media, &all, &whole, NULL, &err), QVL_OK);
        for (size_t k = 0; k < n; k++) {
            struct qvl_picture cut = {0};
            const struct qvl_media_source source = test_source(files[i].name, bytes, k);
            enum qvl_status status = qvl_media_decode_image(media, &source, &cut, NULL, &err);
            if (status == QVL_OK && files[i].is_strict)
                fail_msg("%s cut to %zu of %zu bytes was decoded", files[i].name, k, n);
            if (status == QVL_OK && (cut.map_bytes != whole.map_bytes ||
                                     memcmp(cut.map, whole.map, whole.map_bytes) != 0))
                fail_msg("%s cut to %zu of %zu bytes gave other pixels", files[i].name, k, n);
            if (status != QVL_OK)
                assert_int_equal(status, QVL_ERR_MEDIA);
            qvl_picture_free(&cut);
        }
        qvl_picture_free(&whole);
        free(bytes);
    }
}

static void put_be(uint8_t *p, size_t n, uint32_t v)
{
    while (n-- > 0) {
        p[n] = (uint8_t)v;
        v >>= 8;
    }
}

static void put_le(uint8_t *p, size_t n, uint32_t v)
{
    for (size_t i = 0; i < n; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

enum field { BE16, BE32, LE16, LE32, LE24_LESS_1 };

static void put_field(uint8_t *p, enum field field, uint32_t v)
{
    switch (field) {
    case BE16: put_be(p, 2, v); break;
    case BE32: put_be(p, 4, v); break;
    case LE16: put_le(p, 2, v); break;
    case LE32: put_le(p, 4, v); break;
    case LE24_LESS_1: put_le(p, 3, v - 1); break;
    }
}

/* A header that announces w x h, made from a committed file by changing its size fields. */
static void test_size_is_judged_from_the_header(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t at_w, at_h;
        enum field field;
        uint32_t w, h;
        const char *part;
    } cases[] = {
        {"rgb8.png", 16, 20, BE32, 30000, 30000, "30000 x 30000 pixels, more than 67,108,864"},
        {"rgb8.png", 16, 20, BE32, 40000, 40000, "40000 x 40000 pixels, a side longer than 32,768"},
        {"rgb8.png", 16, 20, BE32, 0, 9, "0 x 9 pixels, a picture has at least one"},
        {"rgb8.png", 16, 20, BE32, 11, 0, "11 x 0 pixels"},
        {"rgb8.png", 16, 20, BE32, 0xffffffff, 0xffffffff, "4294967295 x 4294967295 pixels, a side longer"},
        {"rgb8.png", 16, 20, BE32, 8192, 8193, "8192 x 8193 pixels, more than 67,108,864"},
        {"rgb8.png", 16, 20, BE32, 8192, 8192, "this PNG picture"}, /* allowed: but there are no such data */
        {"rgb8.png", 16, 20, BE32, 32768, 2048, "this PNG picture"},
        {"rgb8.png", 16, 20, BE32, 32769, 1, "a side longer than 32,768"},
        {"lossless_alpha.webp", 24, 27, LE24_LESS_1, 16384, 16384, "this WebP picture"},
        {"animated.webp", 24, 27, LE24_LESS_1, 1u << 24, 2, "16777216 x 2 pixels, a side longer than 32,768"},
        {"palette.gif", 6, 8, LE16, 65535, 65535, "65535 x 65535 pixels, a side longer than 32,768"},
        {"palette.gif", 6, 8, LE16, 0, 14, "0 x 14 pixels"},
        {"RGB.bmp", 18, 22, LE32, 30000, 30000, "30000 x 30000 pixels, more than 67,108,864"},
        {"RGB.bmp", 18, 22, LE32, 8000, 8000, "this BMP picture is damaged or cut off"},
        {"RGB.bmp", 18, 22, LE32, 19, 0x80000000, "19 x 2147483648 pixels"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[256];
        size_t n = 0;
        snprintf(path, sizeof path, "%s/%s", TEST_DATA, cases[i].name);
        uint8_t *bytes = test_read_file(path, &n);
        put_field(bytes + cases[i].at_w, cases[i].field, cases[i].w);
        put_field(bytes + cases[i].at_h, cases[i].field, cases[i].h);
        refused_bytes(cases[i].name, bytes, n, cases[i].part);
        free(bytes);
    }
}

/* SOF0 of a baseline JPEG; libjpeg must not be asked for 4 GB. */
static void test_jpeg_bomb(void **state)
{
    (void)state;
    size_t n = 0;
    uint8_t *bytes = test_read_file(TEST_DATA "/17x13_420.jpg", &n);
    uint8_t *sof = memmem(bytes, n, "\xff\xc0\x00\x11\x08", 5);
    assert_non_null(sof);
    put_be(sof + 5, 2, 65500);
    put_be(sof + 7, 2, 65500);
    refused_bytes("bomb.jpg", bytes, n, "65500 x 65500 pixels, a side longer than 32,768");
    put_be(sof + 5, 2, 0);
    refused_bytes("bomb.jpg", bytes, n, "this JPEG picture is damaged");
    sof[4] = 12; /* bits per sample */
    put_be(sof + 5, 2, 13);
    put_be(sof + 7, 2, 17);
    refused_bytes("deep.jpg", bytes, n, "this JPEG picture is of a variant");
    free(bytes);
}

/* The last scan of a progressive JPEG, repeated. */
static void test_scans_are_counted(void **state)
{
    (void)state;
    size_t n = 0, n_many = 0;
    uint8_t *bytes = test_read_file(TEST_DATA "/progressive.jpg", &n);
    size_t at = n;
    while (at > 0 && !(bytes[at - 1] == 0xff && bytes[at] == 0xda))
        at--;
    size_t scan = at - 1, n_scan = n - 2 - scan; /* up to EOI */
    uint8_t *many = malloc(n + 200 * n_scan);
    assert_non_null(many);
    memcpy(many, bytes, n - 2);
    n_many = n - 2;
    for (int i = 0; i < 200; i++, n_many += n_scan)
        memcpy(many + n_many, bytes + scan, n_scan);
    memcpy(many + n_many, "\xff\xd9", 2);
    refused_bytes("scans.jpg", many, n_many + 2, "more scans than the 100 that qvl accepts");
    free(many);
    free(bytes);
}

static void test_damage(void **state)
{
    (void)state;
    static const char *const variants[] = {"cmyk.bad.tif", "premultiplied.bad.tif", "jpeg.bad.tif"};
    char path[256];
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", TEST_DATA, variants[i]);
        uint8_t *bytes = test_read_file(path, &n);
        refused_bytes(variants[i], bytes, n, "this TIFF picture is of a variant");
        free(bytes);
    }
    uint8_t *png = test_read_file(TEST_DATA "/rgb8.png", &n);
    png[n - 20] ^= 0x55; /* inside IDAT: the checksum no longer fits */
    refused_bytes("flipped.png", png, n, "this PNG picture is damaged");
    free(png);
    uint8_t *tif = test_read_file(TEST_DATA "/lzw.tif", &n);
    memset(tif + 8, 0xff, 100);
    refused_bytes("flipped.tif", tif, n, "this TIFF picture is damaged");
    free(tif);
}

static void test_sources_that_cannot_be_read(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct qvl_media_source source = {.from = QVL_FROM_FD, .name = "stdin", .fd = fds[0]};
    test_refused(media, &source, QVL_ERR_MEDIA, "not a regular file");
    close(fds[0]);
    close(fds[1]);
    test_refused(media, &source, QVL_ERR_MEDIA, "cannot be read");
    source.fd = open("/tmp", O_RDONLY | O_CLOEXEC);
    test_refused(media, &source, QVL_ERR_MEDIA, "not a regular file");
    close(source.fd);
    source = test_source("large.jpg", (const uint8_t *)"", ((size_t)256 << 20) + 1);
    test_refused(media, &source, QVL_ERR_MEDIA, "268435457 bytes, more than the 268435456");
}

static void test_helper_that_is_not_there(void **state)
{
    (void)state;
    struct qvl_media *none = test_open("/nonexistent/qvl-media", 0);
    const struct qvl_media_source source = test_source("a.jpg", (const uint8_t *)"\xff\xd8\xff\xe0", 4);
    test_refused(none, &source, QVL_ERR_FILE,
                 "/nonexistent/qvl-media, which decodes pictures and clips, cannot be started: No such file");
    qvl_media_close(none);
    none = test_open("/bin/true", 0); /* not a helper */
    test_refused(none, &source, QVL_ERR_FILE,
                 "/bin/true, which decodes pictures and clips, cannot be started: it ended before");
    qvl_media_close(none);
    none = test_open(NULL, 0); /* none beside this test, and that is an error only now */
    test_refused(none, &source, QVL_ERR_FILE,
                 "qvl-media, which decodes pictures and clips, is missing: it is neither beside this program");
    qvl_media_close(none);
    char path[5000];
    struct qvl_error err = {0};
    const struct qvl_media_settings settings = {.helper_path = path};
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = 0;
    none = NULL;
    assert_int_equal(qvl_media_open(&settings, &none, &err), QVL_ERR_ARGUMENT);
    assert_string_equal(err.text, "the path of qvl-media is longer than 4095 bytes");
    assert_null(none);
}

static void test_no_descriptors_left(void **state)
{
    (void)state;
    struct rlimit old, few = {.rlim_cur = 0, .rlim_max = 0};
    struct qvl_media *fresh = test_open(test_helper_path(), 0);
    const struct qvl_media_source source = test_source("a.jpg", (const uint8_t *)"\xff\xd8\xff\xe0", 4);
    getrlimit(RLIMIT_NOFILE, &old);
    few.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_NOFILE, &few);
    struct qvl_picture picture = {0};
    struct qvl_error err = {0};
    enum qvl_status status = qvl_media_decode_image(fresh, &source, &picture, NULL, &err);
    setrlimit(RLIMIT_NOFILE, &old);
    qvl_media_close(fresh);
    assert_int_not_equal(status, QVL_OK);
    assert_true(strlen(err.text) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_files_are_named),
        cmocka_unit_test(test_control_characters_of_a_name_are_not_repeated),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_size_is_judged_from_the_header),
        cmocka_unit_test(test_jpeg_bomb),
        cmocka_unit_test(test_scans_are_counted),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_sources_that_cannot_be_read),
        cmocka_unit_test(test_helper_that_is_not_there),
        cmocka_unit_test(test_no_descriptors_left),
    };
    return cmocka_run_group_tests(tests, open_media, close_media);
}
