/* Expected bytes: torchvision 0.28, Pillow 13.0 and Pillow 12.0 (resize_vectors.h); sizes and patch order:
 * MODEL.md, "Pictures". */
#include "helper.h"
#include "../../lib/sha256.h"

#include "model/patchify.h"
#include "model/resize.h"

struct resize_vector {
    enum test_picture_kind kind;
    uint32_t seed, w, h, out_w, out_h;
    const char *sha[3]; /* of enum qvl_resize_rule */
};

struct processor_vector {
    enum test_picture_kind kind;
    uint32_t seed, w, h;
    uint64_t min_pixels, max_pixels;
    struct qvl_grid grid;
    const char *sha; /* of pixel_values */
};

#include "resize_vectors.h"

#define N_RESIZE (sizeof resize_vectors / sizeof *resize_vectors)
#define N_PROCESSOR (sizeof processor_vectors / sizeof *processor_vectors)

static const struct qvl_vision_config vision = {.in_channels = 3, .patch = 16, .temporal_patch = 2, .merge = 2};
static const struct qvl_image_config image = {
    .mean = {0.5f, 0.5f, 0.5f}, .std = {0.5f, 0.5f, 0.5f}, .rescale = 1.0f / 255.0f};

static void check_resize(const struct resize_vector *v, enum qvl_resize_rule rule, struct qvl_pool *pool)
{
    struct qvl_error err = {0};
    char sha[65];
    uint8_t *rgb = test_picture(v->kind, v->seed, v->w, v->h);
    uint8_t *dst = malloc((size_t)v->out_w * v->out_h * 3);
    assert_non_null(dst);
    struct qvl_frame src = {.w = v->w, .h = v->h, .stride_bytes = 3 * v->w, .rgb8 = rgb};
    assert_int_equal(qvl_resize_bicubic(&src, v->out_w, v->out_h, rule, dst, pool, NULL, &err), QVL_OK);
    sha256_hex(dst, (size_t)v->out_w * v->out_h * 3, sha);
    if (strcmp(sha, v->sha[rule]) != 0)
        fail_msg("rule %d, picture %u: %u x %u to %u x %u differs", rule, v->seed, v->w, v->h, v->out_w, v->out_h);
    free(rgb);
    free(dst);
}

static void test_every_byte(void **state)
{
    struct qvl_error err = {0};
    struct qvl_pool *pool = NULL;
    (void)state;
    assert_int_equal(qvl_pool_open(3, &pool, &err), QVL_OK);
    for (size_t i = 0; i < N_RESIZE; i++)
        for (int rule = 0; rule < 3; rule++) {
            check_resize(&resize_vectors[i], (enum qvl_resize_rule)rule, NULL);
            check_resize(&resize_vectors[i], (enum qvl_resize_rule)rule, pool);
        }
    qvl_pool_close(pool);
}

static void test_padded_rows(void **state)
{
    struct qvl_error err = {0};
    uint8_t *rgb = test_picture(TEST_NOISE, 1, 40, 30), padded[30 * 200], a[64 * 64 * 3], b[64 * 64 * 3];
    (void)state;
    memset(padded, 0xAA, sizeof padded);
    for (size_t y = 0; y < 30; y++)
        memcpy(padded + y * 200, rgb + y * 120, 120);
    struct qvl_frame tight = {.w = 40, .h = 30, .stride_bytes = 120, .rgb8 = rgb};
    struct qvl_frame loose = {.w = 40, .h = 30, .stride_bytes = 200, .rgb8 = padded};
    const uint32_t size[][2] = {{64, 64}, {40, 30}, {40, 64}, {64, 30}};
    for (size_t i = 0; i < 4; i++) {
        uint32_t w = size[i][0], h = size[i][1];
        assert_int_equal(qvl_resize_bicubic(&tight, w, h, QVL_RESIZE_PILLOW, a, NULL, NULL, &err), QVL_OK);
        assert_int_equal(qvl_resize_bicubic(&loose, w, h, QVL_RESIZE_PILLOW, b, NULL, NULL, &err), QVL_OK);
        assert_memory_equal(a, b, (size_t)w * h * 3);
    }
    free(rgb);
}

static void test_cancel(void **state)
{
    struct qvl_error err = {0};
    atomic_bool stop = true;
    uint8_t *rgb = test_picture(TEST_NOISE, 1, 40, 30), out[64 * 64 * 3];
    struct qvl_frame src = {.w = 40, .h = 30, .stride_bytes = 120, .rgb8 = rgb};
    (void)state;
    assert_int_equal(qvl_resize_bicubic(&src, 64, 64, QVL_RESIZE_TORCHVISION, out, NULL, &stop, &err),
                     QVL_ERR_CANCELLED);
    free(rgb);
}

static void test_sizes(void **state)
{
    static const uint32_t table[][4] = {
        {1365, 2048, 1376, 2048}, {1080, 1920, 1088, 1920}, {480, 640, 480, 640}, {720, 1280, 704, 1280},
        {224, 224, 256, 256},     {336, 336, 320, 320},     {80, 80, 256, 256},   {700, 700, 704, 704},
        {4000, 6000, 3328, 4992}, {8000, 8000, 4096, 4096}, {10, 1000, 32, 2560},
    };
    struct qvl_error err = {0};
    uint32_t h = 0, w = 0;
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const uint32_t *t = table[i];
        assert_int_equal(qvl_smart_resize(t[0], t[1], 32, 65536, 16777216, &h, &w, &err), QVL_OK);
        assert_int_equal(h, t[2]);
        assert_int_equal(w, t[3]);
    }
    assert_int_equal(qvl_smart_resize(1, 200, 32, 65536, 16777216, &h, &w, &err), QVL_OK); /* 200: allowed */
    h = w = 77;
    assert_int_equal(qvl_smart_resize(1, 201, 32, 65536, 16777216, &h, &w, &err), QVL_ERR_MEDIA);
    assert_non_null(strstr(err.text, "201 x 1"));
    assert_int_equal(qvl_smart_resize(0, 10, 32, 65536, 16777216, &h, &w, &err), QVL_ERR_MEDIA);
    assert_int_equal(h, 77); /* untouched on failure */
    assert_int_equal(w, 77);
}

/* What transformers' smart_resize for clips gives (published limits of 4096 and 25165824 pixels, or those given). */
static void test_clip_sizes(void **state)
{
    static const uint32_t table[][7] = { /* frames, h, w, h and w expected, limits (0: published) */
        {20, 720, 1280, 704, 1280, 0, 0},  {20, 1080, 1920, 832, 1472, 0, 0},  {5, 240, 320, 256, 320, 0, 0},
        {120, 1080, 1920, 320, 608, 0, 0}, {768, 1080, 1920, 128, 224, 0, 0},  {3, 480, 640, 480, 640, 0, 0},
        {2, 20, 100, 32, 160, 0, 0},       {4, 7, 33, 32, 160, 0, 0},          {2, 31, 31, 64, 64, 0, 0},
        {5, 2160, 3840, 1664, 2976, 0, 0}, {3, 1999, 3999, 2016, 4096, 0, 0},  {7, 31, 6200, 32, 6400, 0, 0},
        {768, 17, 17, 32, 32, 0, 0},       {4, 49, 23, 64, 32, 0, 0},          {16384, 100, 90, 32, 32, 0, 0},
        {9, 4096, 4096, 1664, 1664, 0, 0}, {5, 320, 320, 352, 352, 524288, 1572864},
        {3, 64, 64, 192, 192, 100000, 200000}, {7, 300, 200, 128, 96, 4096, 100000},
        {2, 32, 32, 32, 32, 1, 2048},      {5, 64, 64, 64, 64, 16384, 16384},
        {1, 480, 640, 480, 640, 0, 0}, /* a single frame is taken twice: as 2 */
    };
    struct qvl_error err = {0};
    uint32_t h = 0, w = 0;
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const uint32_t *t = table[i];
        assert_int_equal(qvl_smart_resize_clip(t[0], 2, t[1], t[2], 32, t[5] ? t[5] : 4096, t[6] ? t[6] : 25165824,
                                               &h, &w, &err), QVL_OK);
        assert_int_equal(h, t[3]);
        assert_int_equal(w, t[4]);
    }
    assert_int_equal(qvl_smart_resize_clip(2, 2, 10, 2010, 32, 4096, 25165824, &h, &w, &err), QVL_ERR_MEDIA);
    assert_int_equal(qvl_smart_resize_clip(2, 2, UINT32_MAX, 1, 32, 4096, 25165824, &h, &w, &err), QVL_ERR_MEDIA);
    assert_int_equal(qvl_smart_resize_clip(2, 2, 0, 5, 32, 4096, 25165824, &h, &w, &err), QVL_ERR_MEDIA);
}

/* pixel_values of the whole path, to the last bit. */
static void test_pixel_values(void **state)
{
    struct qvl_error err = {0};
    (void)state;
    for (size_t i = 0; i < N_PROCESSOR; i++) {
        const struct processor_vector *v = &processor_vectors[i];
        uint32_t h = 0, w = 0;
        char sha[65];
        assert_int_equal(qvl_smart_resize(v->h, v->w, 32, v->min_pixels, v->max_pixels, &h, &w, &err), QVL_OK);
        assert_int_equal(h, v->grid.h * 16);
        assert_int_equal(w, v->grid.w * 16);
        uint8_t *rgb = test_picture(v->kind, v->seed, v->w, v->h), *fit = malloc((size_t)h * w * 3);
        size_t n = qvl_grid_n_patch(v->grid) * qvl_patch_len(&vision);
        float *row = malloc(n * sizeof *row);
        assert_non_null(fit);
        assert_non_null(row);
        struct qvl_frame src = {.w = v->w, .h = v->h, .stride_bytes = 3 * v->w, .rgb8 = rgb};
        assert_int_equal(qvl_resize_bicubic(&src, w, h, QVL_RESIZE_TORCHVISION, fit, NULL, NULL, &err), QVL_OK);
        qvl_patchify(&vision, &image, fit, fit, v->grid.h, v->grid.w, row);
        sha256_hex(row, n * sizeof *row, sha);
        assert_string_equal(sha, v->sha);
        free(rgb);
        free(fit);
        free(row);
    }
}

/* Two different frames: each number is found where the reference's permutation puts it. */
static void test_patch_order(void **state)
{
    enum { GH = 4, GW = 6, P = 16, LEN = 1536 };
    uint8_t *frame[2] = {test_picture(TEST_NOISE, 1, GW * P, GH * P), test_picture(TEST_NOISE, 2, GW * P, GH * P)};
    float *row = malloc(GH * GW * LEN * sizeof *row);
    (void)state;
    assert_non_null(row);
    assert_int_equal(qvl_patch_len(&vision), LEN);
    qvl_patchify(&vision, &image, frame[0], frame[1], GH, GW, row);
    for (size_t y = 0; y < GH * P; y++)
        for (size_t x = 0; x < GW * P; x++)
            for (size_t c = 0; c < 3; c++)
                for (size_t t = 0; t < 2; t++) {
                    size_t by = y / 32, my = y / 16 % 2, py = y % 16, bx = x / 32, mx = x / 16 % 2, px = x % 16;
                    size_t patch = ((by * (GW / 2) + bx) * 2 + my) * 2 + mx;
                    size_t at = ((c * 2 + t) * 16 + py) * 16 + px;
                    float want = ((float)frame[t][(y * GW * P + x) * 3 + c] - 127.5f) / 127.5f;
                    if (row[patch * LEN + at] != want)
                        fail_msg("pixel y %zu x %zu channel %zu frame %zu", y, x, c, t);
                }
    free(frame[0]);
    free(frame[1]);
    free(row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte), cmocka_unit_test(test_padded_rows),  cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_sizes),      cmocka_unit_test(test_clip_sizes),   cmocka_unit_test(test_pixel_values),
        cmocka_unit_test(test_patch_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
