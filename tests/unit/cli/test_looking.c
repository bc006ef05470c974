/* How much longer: on a made-up machine whose times are known, the estimate must name them. */
#include "cli/looking.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* Of the machine, as the 2B's on AVX-512: attention costs as much as the rest at these lengths. */
#define PATCH_MS 2.0
#define TOKEN_MS 9.0
#define PATCHES_EVEN 9000.0
#define TOKENS_EVEN 11000.0
#define PARAMETERS 2.1e9

struct machine {
    struct qvl_media_info media[3];
    struct qvl_request_info info;
    struct qvl_looking looking;
    double now_ms;
};

static struct qvl_media_info clip(uint32_t t, uint32_t h, uint32_t w)
{
    return (struct qvl_media_info){.kind = QVL_MEDIA_VIDEO,
                                   .name = "c",
                                   .grid_t = t,
                                   .grid_h = h,
                                   .grid_w = w,
                                   .n_tok = t * h * w / 4,
                                   .n_frame = 2 * (size_t)t};
}

static struct qvl_media_info picture(uint32_t h, uint32_t w)
{
    struct qvl_media_info m = clip(1, h, w);
    m.kind = QVL_MEDIA_IMAGE;
    m.n_frame = 0;
    return m;
}

static void begin(struct machine *m, size_t n_media, size_t n_cached)
{
    m->info = (struct qvl_request_info){.media = m->media, .n_media = n_media, .n_cached_tok = n_cached};
    m->info.n_prompt_tok = 20;
    for (size_t i = 0; i < n_media; i++)
        m->info.n_prompt_tok += m->media[i].n_tok;
    m->looking = (struct qvl_looking){.n_parameter = (uint64_t)PARAMETERS, .begin_ms = 1000};
    m->now_ms = 1000;
}

static double picture_ms(const struct qvl_media_info *i)
{
    double n = (double)i->grid_h * i->grid_w;
    return i->grid_t * n * (1 + n / PATCHES_EVEN) * PATCH_MS;
}

static double tokens_ms(uint64_t from, uint64_t to)
{
    double a = (double)from, b = (double)to;
    return TOKEN_MS * (b - a + (b * b - a * a) / (2 * TOKENS_EVEN));
}

/* The patches of picture or clip i up to `done`, having been at `before`. */
static void see(struct machine *m, uint32_t i, uint64_t before, uint64_t done)
{
    const struct qvl_media_info *media = &m->media[i];
    uint64_t total = (uint64_t)media->grid_t * media->grid_h * media->grid_w;
    double ms = picture_ms(media) * (double)(done - before) / (double)total;
    struct qvl_event event = {.kind = QVL_EVENT_PROGRESS};
    event.progress.stage = QVL_STAGE_VISION;
    event.progress.done = done;
    event.progress.total = total;
    event.progress.i_media = i;
    event.progress.n_media = (uint32_t)m->info.n_media;
    m->info.vision_ms += ms;
    m->now_ms += ms;
    qvl_looking_update(&m->looking, &m->info, &event, m->now_ms);
}

static void prefill(struct machine *m, uint64_t before, uint64_t done)
{
    double ms = tokens_ms(before, done);
    struct qvl_event event = {.kind = QVL_EVENT_PROGRESS};
    event.progress.stage = QVL_STAGE_PREFILL;
    event.progress.done = done;
    event.progress.total = m->info.n_prompt_tok;
    m->info.prefill_ms += ms;
    m->now_ms += ms;
    qvl_looking_update(&m->looking, &m->info, &event, m->now_ms);
}

static void near(double found, double wanted)
{
    if (!(fabs(found - wanted) <= 1e-6 * fabs(wanted) + 1e-6))
        fail_msg("%.9g, not %.9g", found, wanted);
}

static void a_clip_and_its_tokens_alternate(void **state)
{
    (void)state;
    struct machine m = {.media = {clip(100, 24, 32)}};
    begin(&m, 1, 0);
    double all_ms = picture_ms(&m.media[0]) + tokens_ms(0, m.info.n_prompt_tok);
    for (uint64_t i = 0; i < 50; i++) {
        see(&m, 0, i * 768, (i + 1) * 768);
        prefill(&m, i * 192, (i + 1) * 192);
        double left_s = (all_ms - (m.now_ms - 1000)) / 1e3;
        if (m.looking.left_s >= 0 && i > 0)
            near(m.looking.left_s, left_s);
        assert_int_equal(m.looking.n_frame_done, 2 * (i + 1));
        assert_int_equal(m.looking.n_tok_done, 192 * (i + 1));
    }
    assert_true(m.looking.has_clip && m.looking.left_s > 0);
    assert_int_equal(m.looking.n_frame, 200);
}

static void nothing_is_said_too_early(void **state)
{
    (void)state;
    struct machine m = {.media = {clip(100, 24, 32)}};
    begin(&m, 1, 0);
    see(&m, 0, 0, 768);
    assert_true(m.looking.left_s < 0);
    prefill(&m, 0, 192);
    assert_true(m.looking.left_s < 0); /* a hundredth */
    struct machine fast = {.media = {clip(2, 4, 4)}};
    begin(&fast, 1, 0);
    see(&fast, 0, 0, 16);
    prefill(&fast, 0, 4);
    assert_true(fast.looking.left_s < 0); /* most of it, but in less than three seconds */
}

/* A small picture teaches what a large one costs, whose attention is dearer; the decoder is guessed until it runs.
 */
static void a_small_picture_and_a_large_one(void **state)
{
    (void)state;
    struct machine m = {.media = {picture(32, 32), picture(120, 160)}};
    begin(&m, 2, 0);
    see(&m, 0, 0, 512);
    see(&m, 0, 512, 1024);
    prefill(&m, 0, 256);
    see(&m, 1, 0, 3840);
    near(m.looking.left_s, (picture_ms(&m.media[1]) * 0.8 + tokens_ms(256, m.info.n_prompt_tok)) / 1e3);
    assert_int_equal(m.looking.i_media, 1);
}

/* Without a measured token: the guess must be of the right size. */
static void the_decoder_is_guessed_from_the_tower(void **state)
{
    (void)state;
    struct machine m = {.media = {picture(120, 160)}};
    begin(&m, 1, 0);
    see(&m, 0, 0, 1920);
    see(&m, 0, 1920, 9600);
    double left_s = (picture_ms(&m.media[0]) / 2 + tokens_ms(0, m.info.n_prompt_tok)) / 1e3;
    assert_true(m.looking.left_s > 0.7 * left_s && m.looking.left_s < 1.3 * left_s);
}

/* What a session knew cost nothing, and nothing is concluded from it. */
static void what_was_known_is_not_counted(void **state)
{
    (void)state;
    struct machine m = {.media = {clip(100, 24, 32), clip(50, 24, 32)}};
    begin(&m, 2, 100 * 192 + 10);
    for (uint64_t i = 0; i < 25; i++) {
        see(&m, 1, i * 768, (i + 1) * 768);
        prefill(&m, 19210 + i * 192, 19210 + (i + 1) * 192);
    }
    double left_ms = picture_ms(&m.media[1]) / 2 + tokens_ms(19210 + 25 * 192, m.info.n_prompt_tok);
    assert_true(m.looking.left_s > 0.95 * left_ms / 1e3 && m.looking.left_s < 1.05 * left_ms / 1e3);
}

/* Text that was known tells nothing of a new picture behind it. */
static void text_that_was_known_is_no_picture(void **state)
{
    (void)state;
    struct machine m = {.media = {picture(120, 160)}};
    begin(&m, 1, 5000);
    m.info.n_prompt_tok = 5010 + m.media[0].n_tok;
    see(&m, 0, 0, 1920);
    see(&m, 0, 1920, 9600);
    double left_s = (picture_ms(&m.media[0]) / 2 + tokens_ms(5000, m.info.n_prompt_tok)) / 1e3;
    assert_true(m.looking.left_s > 0.7 * left_s && m.looking.left_s < 1.3 * left_s);
}

/* An answer was stopped while the model still looked: of the same clip the rest is left. */
static void the_beginning_of_a_clip_was_known(void **state)
{
    (void)state;
    struct machine m = {.media = {clip(100, 24, 32)}};
    begin(&m, 1, 50 * 192);
    for (uint64_t i = 50; i < 75; i++) {
        see(&m, 0, i * 768, (i + 1) * 768);
        prefill(&m, i * 192, (i + 1) * 192);
    }
    double left_ms = picture_ms(&m.media[0]) / 4 + tokens_ms(75 * 192, m.info.n_prompt_tok);
    near(m.looking.left_s, left_ms / 1e3);
    assert_int_equal(m.looking.n_frame_done, 150);
}

/* A turn without a new clip: all frames were seen. */
static void only_text_is_new(void **state)
{
    (void)state;
    struct machine m = {.media = {clip(100, 24, 32)}};
    begin(&m, 1, 100 * 192 + 10);
    m.info.n_prompt_tok += 1000;
    prefill(&m, 100 * 192 + 10, 100 * 192 + 298);
    assert_int_equal(m.looking.n_frame_done, 200);
    assert_int_equal(m.looking.n_tok_done, 100 * 192 + 298);
    prefill(&m, 100 * 192 + 298, 100 * 192 + 586);
    near(m.looking.left_s, tokens_ms(100 * 192 + 586, m.info.n_prompt_tok) / 1e3);
}

/* Frames that come slower than the model looks make all of it take longer. */
static void waiting_counts(void **state)
{
    (void)state;
    struct machine m = {.media = {clip(100, 24, 32)}};
    begin(&m, 1, 0);
    double all_ms = picture_ms(&m.media[0]) + tokens_ms(0, m.info.n_prompt_tok);
    for (uint64_t i = 0; i < 20; i++) {
        m.now_ms += picture_ms(&m.media[0]) / 100 + tokens_ms(i * 192, (i + 1) * 192); /* as long again */
        see(&m, 0, i * 768, (i + 1) * 768);
        prefill(&m, i * 192, (i + 1) * 192);
    }
    double done_ms = picture_ms(&m.media[0]) / 5 + tokens_ms(0, 20 * 192);
    near(m.looking.left_s, 2 * (all_ms - done_ms) / 1e3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clip_and_its_tokens_alternate), cmocka_unit_test(nothing_is_said_too_early),
        cmocka_unit_test(a_small_picture_and_a_large_one), cmocka_unit_test(the_decoder_is_guessed_from_the_tower),
        cmocka_unit_test(what_was_known_is_not_counted),   cmocka_unit_test(waiting_counts),
        cmocka_unit_test(text_that_was_known_is_no_picture), cmocka_unit_test(the_beginning_of_a_clip_was_known),
        cmocka_unit_test(only_text_is_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
