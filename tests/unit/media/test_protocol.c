/* The checks on both ends of the socket, and the small readers of untrusted bytes, one by one. */
#include "helper.h"

#include <math.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "media/helper/canvas.h"
#include "media/helper/tags.h"
#include "media/protocol.h"
#include "media/sniff.h"

static const struct qvl_media_request probe_request = {
    .magic = QVL_MEDIA_MAGIC, .verb = QVL_MEDIA_PROBE, .serial = 7, .format = QVL_FORMAT_JPEG, .n_bytes = 100};
static const struct qvl_media_request decode_request = {.magic = QVL_MEDIA_MAGIC,
                                                        .verb = QVL_MEDIA_DECODE,
                                                        .serial = 8,
                                                        .format = QVL_FORMAT_TIFF,
                                                        .n_bytes = QVL_MAX_IMAGE_FILE_BYTES,
                                                        .w = 8192,
                                                        .h = 8192};

static bool request_ok(struct qvl_media_request r, size_t n_fd)
{
    return qvl_media_request_is_valid(&r, sizeof r, n_fd);
}

/* The request with one field changed is none. */
#define REFUSED(base, field, value, n_fd)                                                                          \
    do {                                                                                                           \
        struct qvl_media_request changed = base;                                                                   \
        changed.field = value;                                                                                     \
        assert_false(request_ok(changed, n_fd));                                                                   \
    } while (0)

static void test_requests(void **state)
{
    (void)state;
    assert_true(request_ok(probe_request, 1));
    assert_true(request_ok(decode_request, 2));
    assert_false(request_ok(probe_request, 0));
    assert_false(request_ok(probe_request, 2));
    assert_false(request_ok(decode_request, 1));
    assert_false(qvl_media_request_is_valid(&probe_request, sizeof probe_request - 1, 1));
    assert_false(qvl_media_request_is_valid(&probe_request, sizeof probe_request + 1, 1));
    REFUSED(probe_request, magic, 0, 1);
    REFUSED(probe_request, verb, QVL_MEDIA_HELLO, 1);
    REFUSED(probe_request, verb, QVL_MEDIA_FRAME + 1, 1);
    REFUSED(probe_request, serial, 0, 1);
    REFUSED(probe_request, format, QVL_FORMAT_NONE, 1);
    REFUSED(probe_request, format, QVL_FORMAT_LAST + 1, 1);
    REFUSED(probe_request, n_bytes, 0, 1);
    REFUSED(probe_request, w, 1, 1);
    REFUSED(probe_request, i_frame, 1, 1);
    REFUSED(probe_request, no_seek, 1, 1);
    REFUSED(probe_request, format, QVL_FORMAT_MP4, 1);
    REFUSED(decode_request, n_bytes, QVL_MAX_IMAGE_FILE_BYTES + 1, 2);
    REFUSED(decode_request, w, 8193, 2);
    REFUSED(decode_request, w, 0, 2);
    REFUSED(decode_request, h, 32769, 2);
}

static struct qvl_media_reply reply_of(uint32_t magic, uint32_t verb, uint32_t serial, uint32_t fault, uint32_t w,
                                       uint32_t h)
{
    return (struct qvl_media_reply){.magic = magic, .verb = verb, .serial = serial, .fault = fault, .w = w, .h = h};
}

static bool reply_ok(struct qvl_media_reply r, const struct qvl_media_request *asked)
{
    return qvl_media_reply_is_valid(&r, sizeof r, asked);
}

static void test_replies(void **state)
{
    (void)state;
    const uint32_t m = QVL_MEDIA_MAGIC, p = QVL_MEDIA_PROBE, d = QVL_MEDIA_DECODE, hi = QVL_MEDIA_HELLO;
    const struct qvl_media_request hello = {.verb = QVL_MEDIA_HELLO};
    assert_true(reply_ok(reply_of(m, hi, 0, 0, 0, 0), &hello));
    assert_true(reply_ok(reply_of(m, hi, 0, QVL_FAULT_NO_SANDBOX, 0, 0), &hello));
    assert_false(reply_ok(reply_of(m, hi, 0, 0, 1, 0), &hello));
    assert_false(reply_ok(reply_of(m, hi, 1, 0, 0, 0), &hello));
    assert_true(reply_ok(reply_of(m, p, 7, 0, 0xffffffff, 0), &probe_request));
    assert_true(reply_ok(reply_of(m, p, 7, QVL_FAULT_CUT, 0, 0), &probe_request));
    assert_false(reply_ok(reply_of(m, p, 7, QVL_FAULT_CUT, 1, 0), &probe_request));
    assert_false(reply_ok(reply_of(m, p, 7, QVL_FAULT_NO_MODULE, 0, 0), &probe_request));
    assert_false(reply_ok(reply_of(m, p, 7, QVL_FAULT_LAST + 1, 0, 0), &probe_request));
    assert_false(reply_ok(reply_of(m, p, 6, 0, 1, 1), &probe_request));
    assert_false(reply_ok(reply_of(m, d, 7, 0, 1, 1), &probe_request));
    assert_false(reply_ok(reply_of(m + 1, p, 7, 0, 1, 1), &probe_request));
    assert_true(reply_ok(reply_of(m, d, 8, 0, 8192, 8192), &decode_request));
    assert_false(reply_ok(reply_of(m, d, 8, 0, 8192, 8191), &decode_request));
    assert_true(reply_ok(reply_of(m, d, 8, QVL_FAULT_MEMORY, 0, 0), &decode_request));
    const struct qvl_media_reply whole = reply_of(m, p, 7, 0, 1, 1);
    assert_false(qvl_media_reply_is_valid(&whole, sizeof whole + 1, &probe_request));
    assert_false(qvl_media_reply_is_valid(&whole, 0, &probe_request));
}

static void test_clip_requests(void **state)
{
    (void)state;
    const struct qvl_media_request clip = {.magic = QVL_MEDIA_MAGIC,
                                           .verb = QVL_MEDIA_CLIP,
                                           .serial = 1,
                                           .format = QVL_FORMAT_MATROSKA,
                                           .n_bytes = QVL_MAX_CLIP_FILE_BYTES,
                                           .no_seek = 1,
                                           .n_thread = QVL_MAX_CLIP_THREADS};
    struct qvl_media_request frame = clip;
    frame.verb = QVL_MEDIA_FRAME;
    frame.no_seek = frame.n_thread = 0;
    frame.w = frame.h = 8192;
    frame.i_frame = UINT64_MAX; /* whether the clip has it, only the helper can tell */
    assert_true(request_ok(clip, 1));
    assert_true(request_ok(frame, 1));
    assert_false(request_ok(clip, 0));
    assert_false(request_ok(clip, 2));
    assert_false(request_ok(frame, 2));
    REFUSED(clip, format, QVL_FORMAT_JPEG, 1);
    REFUSED(clip, format, QVL_FORMAT_PDF, 1);
    REFUSED(clip, n_bytes, 0, 1);
    REFUSED(clip, n_bytes, QVL_MAX_CLIP_FILE_BYTES + 1, 1);
    REFUSED(clip, no_seek, 2, 1);
    REFUSED(clip, n_thread, 0, 1);
    REFUSED(clip, n_thread, QVL_MAX_CLIP_THREADS + 1, 1);
    REFUSED(clip, i_frame, 1, 1);
    REFUSED(clip, w, 1, 1);
    REFUSED(frame, no_seek, 1, 1);
    REFUSED(frame, n_thread, 1, 1);
    REFUSED(frame, w, 8193, 1);
    REFUSED(frame, h, 0, 1);
    REFUSED(frame, format, QVL_FORMAT_PNG, 1);
}

/* The reply with one field changed is none. */
#define REPLY_REFUSED(base, field, value, asked)                                                                   \
    do {                                                                                                           \
        struct qvl_media_reply changed = base;                                                                     \
        changed.field = value;                                                                                     \
        assert_false(reply_ok(changed, asked));                                                                    \
    } while (0)

static void test_clip_replies(void **state)
{
    (void)state;
    const struct qvl_media_request clip = {.verb = QVL_MEDIA_CLIP, .serial = 3};
    const struct qvl_media_request frame = {.verb = QVL_MEDIA_FRAME, .serial = 3, .w = 4, .h = 6};
    struct qvl_media_reply facts = reply_of(QVL_MEDIA_MAGIC, QVL_MEDIA_CLIP, 3, 0, 4, 6);
    facts.codec = QVL_CODEC_LAST;
    facts.is_cut = 1;
    facts.n_frame = QVL_MAX_CLIP_FILE_FRAMES;
    facts.fps = 1e300;
    facts.duration_s = 0;
    assert_true(reply_ok(facts, &clip));
    REPLY_REFUSED(facts, codec, QVL_CODEC_LAST + 1, &clip);
    REPLY_REFUSED(facts, codec, QVL_CODEC_NONE, &clip);
    REPLY_REFUSED(facts, is_cut, 2, &clip);
    REPLY_REFUSED(facts, n_frame, QVL_MAX_CLIP_FILE_FRAMES + 1, &clip);
    REPLY_REFUSED(facts, n_frame, 0, &clip);
    REPLY_REFUSED(facts, fps, 0, &clip);
    REPLY_REFUSED(facts, fps, -25, &clip);
    REPLY_REFUSED(facts, fps, NAN, &clip);
    REPLY_REFUSED(facts, fps, INFINITY, &clip);
    REPLY_REFUSED(facts, duration_s, -1, &clip);
    REPLY_REFUSED(facts, duration_s, NAN, &clip);
    REPLY_REFUSED(facts, fault, QVL_FAULT_BROKEN, &clip);
    REPLY_REFUSED(facts, verb, QVL_MEDIA_FRAME, &clip);
    struct qvl_media_reply pixels = reply_of(QVL_MEDIA_MAGIC, QVL_MEDIA_FRAME, 3, 0, 4, 6);
    assert_true(reply_ok(pixels, &frame));
    REPLY_REFUSED(pixels, w, 6, &frame);
    REPLY_REFUSED(pixels, n_frame, 1, &frame);
    REPLY_REFUSED(pixels, fps, 1, &frame);
    REPLY_REFUSED(pixels, fault, QVL_FAULT_FRAME, &frame);
    assert_true(reply_ok(reply_of(QVL_MEDIA_MAGIC, QVL_MEDIA_FRAME, 3, QVL_FAULT_FRAME, 0, 0), &frame));
}

/* More descriptors than there is room for never arrive; none is left open. */
static void test_descriptors(void **state)
{
    (void)state;
    int socks[2], fds[2] = {0, 1}, got[2] = {-1, -1};
    char byte = 0;
    size_t n_fd = 9, n_before = test_n_fd();
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks), 0);
    assert_false(qvl_media_send(socks[0], "x", 1, fds, 3));
    assert_true(qvl_media_send(socks[0], "x", 1, fds, 2));
    assert_int_equal(qvl_media_receive(socks[1], &byte, 1, got, 1, &n_fd), 1);
    assert_int_equal(n_fd, 1);
    close(got[0]);
    assert_true(qvl_media_send(socks[0], "xyz", 3, fds, 2));
    assert_int_equal(qvl_media_receive(socks[1], &byte, 1, NULL, 0, &n_fd), 3); /* the true length */
    assert_int_equal(n_fd, 0);
    assert_true(qvl_media_send(socks[0], "x", 1, fds, 2));
    assert_int_equal(qvl_media_receive(socks[1], &byte, 1, got, 2, &n_fd), 1);
    assert_int_equal(n_fd, 2);
    close(got[0]);
    close(got[1]);
    close(socks[0]);
    assert_int_equal(qvl_media_receive(socks[1], &byte, 1, NULL, 0, &n_fd), 0);
    close(socks[1]);
    assert_int_equal(test_n_fd(), n_before);
}

static void test_tags(void **state)
{
    (void)state;
    uint8_t exif[] = "Exif\0\0II*\0\x08\0\0\0\x02\0"
                     "\x0e\x01\x02\0\x08\0\0\0\x00\0\0\0"
                     "\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
    const size_t n = sizeof exif - 1;
    assert_int_equal(qvl_exif_orientation(exif, n), 6);
    for (size_t k = 0; k < n - 4; k++) { /* an exact copy, so that reading past it is seen */
        uint8_t *cut = malloc(k + 1);
        assert_non_null(cut);
        memcpy(cut, exif, k);
        uint32_t orientation = qvl_exif_orientation(cut, k);
        assert_true(orientation == 1 || orientation == 6);
        free(cut);
    }
    exif[n - 4] = 9;
    assert_int_equal(qvl_exif_orientation(exif, n), 1);
    exif[n - 4] = 0;
    assert_int_equal(qvl_exif_orientation(exif, n), 1);
    exif[n - 4] = 8;
    exif[n - 10] = 4; /* LONG */
    assert_int_equal(qvl_exif_orientation(exif, n), 8);
    exif[n - 10] = 2; /* text */
    assert_int_equal(qvl_exif_orientation(exif, n), 1);
    exif[n - 10] = 3;
    exif[n - 8] = 200; /* 200 values, elsewhere: at 8, where the entry count 2 is */
    assert_int_equal(qvl_exif_orientation(exif, n), 2);
    exif[n - 1] = 0xff; /* outside */
    assert_int_equal(qvl_exif_orientation(exif, n), 1);
    exif[13] = 0xff; /* the directory outside */
    assert_int_equal(qvl_exif_orientation(exif, n), 1);
    static const uint8_t loop[] = "MM\0*\0\0\0\x08\xff\xff"; /* 65,535 entries, none there */
    assert_int_equal(qvl_exif_orientation(loop, sizeof loop - 1), 1);
}

/* Where each orientation puts the corners of a 3 x 2 picture (EXIF 2.3, 4.6.4 A: what row 0 and column 0 are). */
static void test_orientations(void **state)
{
    (void)state;
    static const uint8_t expected[9][6] = {{0},
                                           {1, 2, 3, 4, 5, 6},
                                           {3, 2, 1, 6, 5, 4},
                                           {6, 5, 4, 3, 2, 1},
                                           {4, 5, 6, 1, 2, 3},
                                           {1, 4, 2, 5, 3, 6},
                                           {4, 1, 5, 2, 6, 3},
                                           {6, 3, 5, 2, 4, 1},
                                           {3, 6, 2, 5, 1, 4}};
    for (uint32_t o = 1; o <= 8; o++) {
        uint8_t rgb[18];
        struct qvl_canvas canvas = qvl_canvas_make(rgb, 3, 2, o);
        qvl_canvas_put_rgb(&canvas, 0, (const uint8_t[]){1, 1, 1, 2, 2, 2, 3, 3, 3});
        qvl_canvas_put_rgb(&canvas, 1, (const uint8_t[]){4, 4, 4, 5, 5, 5, 6, 6, 6});
        for (size_t i = 0; i < 6; i++)
            assert_int_equal(rgb[3 * i], expected[o][i]);
    }
}

static void test_over_white(void **state)
{
    (void)state;
    assert_int_equal(qvl_over_white(200, 128), 227);
    assert_int_equal(qvl_over_white(100, 128), 177);
    assert_int_equal(qvl_over_white(50, 128), 152);
    for (uint32_t v = 0; v < 256; v++) {
        assert_int_equal(qvl_over_white(v, 255), v);
        assert_int_equal(qvl_over_white(v, 0), 255);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),      cmocka_unit_test(test_replies),
        cmocka_unit_test(test_clip_requests), cmocka_unit_test(test_clip_replies),
        cmocka_unit_test(test_descriptors),   cmocka_unit_test(test_tags),
        cmocka_unit_test(test_orientations),  cmocka_unit_test(test_over_white),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
