/* The vision cache: what it keeps and lets go, and that nobody can tell from the numbers that it is there. What
 * must be reused is counted here from the pixels; what must come out is what an engine without the cache says, or
 * the tower given one temporal patch at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../lib/emulated_level.h"
#include "../../golden/golden_model.h"
#include "base/limits.h"
#include "engine/engine.h"
#include "engine/feature_cache.h"
#include "model_folder.h"

enum {
    SIDE = 192,    /* 6 x 6 tokens; 144 patches, so that 7 temporal patches make a group */
    N_PICTURE = 4, /* different ones */
    MAX_FRAME = 20, /* 10 temporal patches: two groups, the second one not full */
    N_TOP = 8,
    N_OUT = 4
};

static uint8_t rgb[N_PICTURE][SIDE * SIDE * 3];

/* ---- keys ---------------------------------------------------------------------------------------- */

static struct qvl_feature_key frame_key(size_t i)
{
    struct qvl_feature_key key;
    qvl_feature_key_of_frame(rgb[i], sizeof rgb[i], &key);
    return key;
}

static struct qvl_feature_key patch_key(size_t i, size_t j, uint32_t h, uint32_t w, uint64_t salt)
{
    struct qvl_feature_key a = frame_key(i), b = frame_key(j), key;
    qvl_feature_key_of_patch(&a, &b, (struct qvl_grid){1, h, w}, salt, &key);
    return key;
}

static void keys_tell_apart_what_differs(void **state)
{
    (void)state;
    const struct qvl_feature_key key[] = {patch_key(0, 0, 12, 12, 0), patch_key(0, 1, 12, 12, 0),
                                          patch_key(1, 0, 12, 12, 0), patch_key(0, 0, 6, 24, 0),
                                          patch_key(0, 0, 24, 6, 0),  patch_key(0, 0, 12, 12, 1)};
    const struct qvl_feature_key again = patch_key(0, 0, 12, 12, 0);
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        assert_int_equal(qvl_feature_key_is(&key[i], &again), i == 0);
        for (size_t j = 0; j < i; j++)
            assert_false(qvl_feature_key_is(&key[i], &key[j]));
    }
    rgb[0][sizeof rgb[0] - 1] ^= 1; /* one bit of the last pixel */
    const struct qvl_feature_key other = patch_key(0, 0, 12, 12, 0);
    rgb[0][sizeof rgb[0] - 1] ^= 1;
    assert_false(qvl_feature_key_is(&other, &again));
}

/* FIPS 180-2's "abc". */
static void a_frame_is_known_by_its_sha_256(void **state)
{
    (void)state;
    static const uint8_t want[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                     0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                     0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    struct qvl_feature_key key;
    qvl_feature_key_of_frame((const uint8_t *)"abc", 3, &key);
    assert_memory_equal(key.sha256, want, sizeof want);
}

/* ---- the cache by itself ------------------------------------------------------------------------- */

static struct qvl_feature_key numbered(uint32_t i)
{
    struct qvl_feature_key key = {0};
    memcpy(key.sha256 + 8, &i, sizeof i); /* the first bytes are equal: all in one chain */
    return key;
}

/* A patch with features, each number of them i; the caller's. */
static struct qvl_patch_features *new_patch(uint32_t i, size_t n_tok)
{
    struct qvl_feature_key key = numbered(i);
    struct qvl_patch_features *patch = NULL;
    struct qvl_error err = {0};
    float row[3 * 16];
    for (size_t k = 0; k < 3 * 16; k++)
        row[k] = (float)i;
    const struct qvl_features features = {.row = row, .n = 3, .n_level = 1, .n_hidden = 16};
    assert_true(n_tok <= 3);
    assert_int_equal(qvl_patch_features_new(&key, &patch, &err), QVL_OK);
    assert_null(patch->features.row);
    assert_int_equal(qvl_features_copy(&features, 0, n_tok, &patch->features, &err), QVL_OK);
    return patch;
}

static void add(struct qvl_feature_cache *cache, uint32_t i, size_t n_tok)
{
    struct qvl_patch_features *patch = new_patch(i, n_tok);
    qvl_feature_cache_add(cache, patch);
    qvl_patch_features_release(patch);
}

/* Finding makes it the one used last. */
static bool has(struct qvl_feature_cache *cache, uint32_t i)
{
    struct qvl_feature_key key = numbered(i);
    struct qvl_patch_features *patch = qvl_feature_cache_find(cache, &key);
    if (patch) {
        assert_true(patch->features.row[0] == (float)i);
        qvl_patch_features_release(patch);
    }
    return patch != NULL;
}

static struct qvl_feature_cache *open_cache(size_t max_bytes)
{
    struct qvl_feature_cache *cache = NULL;
    struct qvl_error err = {0};
    assert_int_equal(qvl_feature_cache_open(max_bytes, &cache, &err), QVL_OK);
    return cache;
}

/* What a patch of one token of 16 numbers counts as. */
static size_t bytes_of_one(void)
{
    struct qvl_feature_cache *cache = open_cache(1 << 20);
    add(cache, 1, 1);
    size_t n = qvl_feature_cache_bytes(cache);
    assert_true(n >= 16 * sizeof(float));
    qvl_feature_cache_close(cache);
    return n;
}

static void what_was_not_used_for_longest_goes(void **state)
{
    (void)state;
    size_t one = bytes_of_one();
    struct qvl_feature_cache *cache = open_cache(3 * one);
    for (uint32_t i = 1; i <= 3; i++)
        add(cache, i, 1);
    assert_int_equal(qvl_feature_cache_bytes(cache), 3 * one);
    assert_true(has(cache, 1));
    add(cache, 4, 1); /* 2 goes: 1 was used after it */
    assert_false(has(cache, 2));
    assert_true(has(cache, 3) && has(cache, 1) && has(cache, 4));
    add(cache, 5, 1); /* 3 goes */
    assert_false(has(cache, 3));
    assert_true(has(cache, 4) && has(cache, 1) && has(cache, 5));
    assert_int_equal(qvl_feature_cache_bytes(cache), 3 * one);
    qvl_feature_cache_close(cache);
}

static void the_budget_holds(void **state)
{
    (void)state;
    size_t one = bytes_of_one(), two = one + 16 * sizeof(float);
    struct qvl_feature_cache *cache = open_cache(two);
    add(cache, 1, 1);
    add(cache, 2, 3); /* cannot fit, and drives nobody out */
    assert_true(has(cache, 1));
    assert_false(has(cache, 2));
    add(cache, 3, 2); /* fits alone */
    assert_false(has(cache, 1));
    assert_true(has(cache, 3));
    assert_int_equal(qvl_feature_cache_bytes(cache), two);
    add(cache, 3, 2); /* there already */
    assert_int_equal(qvl_feature_cache_bytes(cache), two);
    qvl_feature_cache_close(cache);
    qvl_feature_cache_close(NULL);
}

static void what_is_in_use_outlives_the_cache(void **state)
{
    (void)state;
    struct qvl_feature_cache *cache = open_cache(bytes_of_one());
    struct qvl_patch_features *mine = new_patch(1, 1);
    struct qvl_feature_key key = numbered(1);
    qvl_feature_cache_add(cache, mine);
    struct qvl_patch_features *found = qvl_feature_cache_find(cache, &key);
    assert_ptr_equal(found, mine);
    add(cache, 2, 1);
    assert_false(has(cache, 1));
    qvl_patch_features_release(mine);
    qvl_feature_cache_close(cache);
    assert_true(found->features.row[15] == 1.0f);
    qvl_patch_features_release(found);
}

static void there_are_at_most_so_many(void **state)
{
    (void)state;
    struct qvl_feature_cache *cache = open_cache(SIZE_MAX);
    for (uint32_t i = 0; i < QVL_MAX_CACHED_PATCHES + 2; i++) {
        struct qvl_patch_features *patch = NULL;
        struct qvl_feature_key key = {.sha256 = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16)}};
        struct qvl_error err = {0};
        assert_int_equal(qvl_patch_features_new(&key, &patch, &err), QVL_OK);
        qvl_feature_cache_add(cache, patch);
        qvl_patch_features_release(patch);
    }
    for (uint32_t i = 0; i < QVL_MAX_CACHED_PATCHES + 2; i++) {
        struct qvl_feature_key key = {.sha256 = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16)}};
        struct qvl_patch_features *found = qvl_feature_cache_find(cache, &key);
        assert_int_equal(found != NULL, i >= 2);
        qvl_patch_features_release(found);
    }
    qvl_feature_cache_close(cache);
}

/* ---- a group through the tower ------------------------------------------------------------------- */

/* A clip all of whose frames are in its hold: frame i shows picture content[i] - '0'. */
struct clip {
    struct qvl_media_item item;
    struct qvl_media_plan plan;
    struct qvl_patch_features *patch[MAX_FRAME];
    struct qvl_feature_key key[MAX_FRAME];
    uint8_t pixels[MAX_FRAME][SIDE * SIDE * 3];
};

static struct clip *new_clip(const struct qvl_engine *e, const char *content)
{
    const struct qvl_vision_config *vision = &e->config.vision;
    uint32_t n_frame = (uint32_t)strlen(content), n_patch = (n_frame + 1) / 2, side = SIDE / vision->patch;
    struct clip *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->plan.grid = (struct qvl_grid){n_patch, side, side};
    c->plan.n_frame = n_frame;
    c->plan.info = (struct qvl_media_info){.kind = QVL_MEDIA_VIDEO, .resized_h = SIDE, .resized_w = SIDE,
                                           .n_tok = n_patch * side * side / (vision->merge * vision->merge)};
    c->item = (struct qvl_media_item){.plan = &c->plan, .temporal_patch = 2, .n_group_patch = n_patch,
                                      .patch = c->patch, .rgb8 = c->pixels[0], .frame_key = c->key,
                                      .n_hold = n_frame, .n_resized = n_frame};
    for (uint32_t i = 0; i < n_frame; i++) {
        memcpy(c->pixels[i], rgb[content[i] - '0'], sizeof c->pixels[i]);
        c->key[i] = frame_key((size_t)(content[i] - '0'));
    }
    return c;
}

static void free_clip(struct clip *c)
{
    for (size_t i = 0; i < MAX_FRAME; i++)
        qvl_patch_features_release(c->patch[i]);
    free(c);
}

/* The whole clip as one group. Returns how many were reused; stops before step n_step (0 = never). */
static uint32_t encode(struct qvl_engine *e, struct clip *c, struct qvl_feature_cache *cache, uint64_t salt,
                       uint32_t n_step)
{
    const struct qvl_vision_settings settings = {.memory.cache = cache, .salt = salt};
    struct qvl_vision_group group = {0};
    struct qvl_error err = {0};
    uint32_t n_reused = 0, done = 0, total = 1;
    atomic_bool stop = false;
    bool want_read = true;
    if (qvl_vision_group_begin(&group, &settings, &c->item, 0, &want_read, &err) ||
        qvl_vision_group_open(&group, &e->model, NULL, &n_reused, &err))
        fail_msg("%s", err.text);
    assert_false(want_read);
    for (uint32_t i = 1; done < total; i++) {
        atomic_store(&stop, i == n_step);
        enum qvl_status status = qvl_vision_group_step(&group, &stop, &done, &total, &err);
        if (i == n_step) {
            assert_int_equal(status, QVL_ERR_CANCELLED);
            qvl_vision_group_close(&group);
            return n_reused;
        }
        assert_int_equal(status, QVL_OK);
    }
    assert_null(group.item);
    return n_reused;
}

/* Each temporal patch through the tower by itself. */
static void assert_features(struct qvl_engine *e, const struct clip *c)
{
    const struct qvl_vision_config *vision = &e->config.vision;
    struct qvl_grid one = {1, c->plan.grid.h, c->plan.grid.w};
    size_t len = qvl_patch_len(vision);
    float *row = calloc(qvl_grid_n_patch(one) * len, sizeof *row);
    assert_non_null(row);
    for (uint32_t i = 0; i < c->plan.grid.t; i++) {
        struct qvl_vision *tower = NULL;
        struct qvl_features want;
        struct qvl_error err = {0};
        uint32_t done = 0, total = 1, last = (uint32_t)c->plan.n_frame - 1;
        atomic_bool stop = false;
        qvl_patchify(vision, &e->config.image, c->pixels[2 * i], c->pixels[2 * i + 1 < last ? 2 * i + 1 : last],
                     one.h, one.w, row);
        assert_int_equal(qvl_vision_open(&e->model, &one, 1, row, NULL, &tower, &err), QVL_OK);
        while (done < total)
            assert_int_equal(qvl_vision_step(tower, &stop, &done, &total, &err), QVL_OK);
        qvl_vision_take(tower, &want);
        qvl_vision_close(tower);
        const struct qvl_features *got = &c->patch[i]->features;
        assert_int_equal(got->n, want.n);
        assert_int_equal(got->n_level, 1 + vision->n_tap);
        assert_memory_equal(got->row, want.row, want.n_level * want.n * want.n_hidden * sizeof *want.row);
        qvl_features_free(&want);
    }
    free(row);
}

static struct qvl_engine *open_engine(struct qvl_engine_options options, size_t cache_bytes, bool is_off)
{
    struct qvl_engine *e = NULL;
    options.n_thread = 2;
    options.n_ctx = 8192;
    options.n_prefill_chunk = 100;
    options.vision_cache_bytes = cache_bytes;
    options.no_vision_cache = is_off;
    assert_int_equal(open_loaded(options, &e), 0);
    return e;
}

static void check_groups(struct qvl_engine *e)
{
    static const struct {
        const char *content;
        uint64_t salt;
        uint32_t n_reused; /* one after the other, with one cache */
    } row[] = {
        {"0123", 0, 0},       /* a tower's output is cut in two */
        {"01", 0, 1},         /* known */
        {"2301", 0, 2},       /* all known, in another order */
        {"1001221000", 0, 2}, /* 10 01 22 10 00: 01 is known, 10 there twice */
        {"00000", 0, 3},      /* the last frame stands for two */
        {"3", 0, 0},          /* one frame */
        {"33", 0, 1},         /* the same numbers for the tower */
        {"01", 7, 0},         /* another's key */
        {"0122", 7, 1},
        {"11", 0, 0},
        {"1111111111", 0, 5},
    };
    struct qvl_feature_cache *cache = open_cache(64 << 20);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct clip *c = new_clip(e, row[i].content);
        assert_int_equal(encode(e, c, cache, row[i].salt, 0), row[i].n_reused);
        assert_features(e, c);
        free_clip(c);
    }
    qvl_feature_cache_close(cache);
}

/* ---- requests ------------------------------------------------------------------------------------ */

struct result {
    size_t n;
    uint32_t id[N_OUT];
    struct qvl_token_logit top[N_OUT][N_TOP];
    uint32_t n_reused[8];
    double vision_ms;
    enum qvl_status status;
};

/* What a request shows: of each string the first character is p (a picture) or c (a clip), the rest its frames. */
struct question {
    const char *part[4];
    uint64_t salt;
};

static struct qvl_part make_part(const char *what, struct qvl_frame *frame)
{
    size_t n = strlen(what + 1);
    for (size_t i = 0; i < n; i++)
        frame[i] = (struct qvl_frame){SIDE, SIDE, SIDE * 3, rgb[what[1 + i] - '0'], (double)i / 2};
    return (struct qvl_part){.kind = *what == 'p' ? QVL_PART_IMAGE : QVL_PART_VIDEO,
                             .source = {.from = QVL_FROM_FRAMES, .frames = frame, .n_frame = n}};
}

static void count_tensor(void *user, const char *name, enum qvl_trace_type type, const void *data,
                         const size_t *dim, size_t n_dim)
{
    (void)type, (void)data, (void)dim, (void)n_dim;
    *(size_t *)user += strcmp(name, "vision.patch_embed") == 0;
}

/* Cancelled at the first sign of vision where that is wanted. */
static struct result ask(struct qvl_engine *e, const struct question *q, bool want_cancel, size_t *n_trace)
{
    static const char text[] = "What is it?";
    struct qvl_frame frame[4][MAX_FRAME];
    struct qvl_part part[5];
    struct qvl_request_options options = {.sampling = {.top_p = 1, .repetition_penalty = 1}, .max_tokens = N_OUT,
                                          .ignore_eos = true, .no_loop_guard = true, .n_top_logits = N_TOP,
                                          .cache_salt = q->salt};
    struct result r = {0};
    struct qvl_request *request = NULL;
    struct qvl_request_info info;
    struct qvl_event event = {0};
    struct qvl_error err = {0};
    size_t n = 0;
    for (; n < 4 && q->part[n]; n++)
        part[n] = make_part(q->part[n], frame[n]);
    part[n] = (struct qvl_part){.kind = QVL_PART_TEXT, .utf8 = text, .n = strlen(text)};
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = part, .n_part = n + 1};
    if (n_trace)
        options.trace = (struct qvl_trace){n_trace, count_tensor};
    assert_int_equal(qvl_request_open(e, &(struct qvl_chat){.messages = &message, .n_message = 1}, &options,
                                      &request, &err), QVL_OK);
    while (!(r.status = qvl_request_next(request, &event, &err)) && event.kind != QVL_EVENT_DONE) {
        if (event.kind == QVL_EVENT_TEXT) {
            r.id[r.n] = event.text.id;
            memcpy(r.top[r.n++], event.text.top, sizeof r.top[0]);
        } else if (want_cancel && event.progress.stage == QVL_STAGE_VISION) {
            qvl_request_cancel(request);
        }
    }
    if (r.status && !want_cancel)
        fail_msg("%s", err.text);
    qvl_request_get_info(request, &info);
    for (size_t i = 0; i < info.n_media; i++)
        r.n_reused[i] = info.media[i].n_reused;
    r.vision_ms = info.vision_ms;
    qvl_request_close(request);
    return r;
}

static void assert_same_bits(const struct result *got, const struct result *want)
{
    assert_int_equal(got->status, QVL_OK);
    assert_int_equal(got->n, N_OUT);
    assert_memory_equal(got->id, want->id, sizeof got->id);
    assert_memory_equal(got->top, want->top, sizeof got->top);
}

static const struct question
    picture = {{"p0"}, 0},
    two_pictures = {{"p0", "p1", "p0"}, 0},
    still = {{"c00000000000000000000"}, 0},
    slides = {{"c000000111111222200"}, 0},
    mixed = {{"p2", "c0123012301230", "p0", "c3"}, 0};

/* One after the other on one engine; without the cache the same. */
static void check_requests(struct qvl_engine *on, struct qvl_engine *off)
{
    const struct {
        struct question question;
        uint32_t n_reused[4];
    } row[] = {
        {picture, {0}},
        {picture, {1}},
        {two_pictures, {1, 0, 1}},
        {still, {10}},           /* equal to the picture's one frame */
        {slides, {8}},           /* 00 00 00 11 11 11 22 22 00: of nine only 22 is new, and once */
        {mixed, {1, 5, 1, 0}},   /* 22; 01 23 01 23 01 23 0(0); 00; 33 */
        {mixed, {1, 7, 1, 1}},
        {{{"p0"}, 9}, {0}},      /* another salt knows nothing of it */
        {{{"c0000"}, 9}, {2}},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct result got = ask(on, &row[i].question, false, NULL), want = ask(off, &row[i].question, false, NULL);
        assert_same_bits(&got, &want);
        for (size_t k = 0; k < 4; k++) {
            if (got.n_reused[k] != row[i].n_reused[k])
                fail_msg("row %zu, part %zu: %u reused, not %u", i, k, got.n_reused[k], row[i].n_reused[k]);
            assert_int_equal(want.n_reused[k], 0);
        }
    }
}

static const struct qvl_engine_options usual;
static struct qvl_engine *with, *without; /* best level, bf16 */

/* On every kernel level and in both number formats that this machine has; under a sanitizer (some twenty times
 * slower) only as the shared engines are. */
static void features_are_the_same_on_every_level(void **state)
{
    (void)state;
    for (int isa = 0; isa < QVL_ISA_COUNT; isa++) {
        const struct qvl_kernels *kernels = qvl_kernels_of((enum qvl_isa)isa);
        for (int compute = 0; compute < 2 && kernels; compute++) {
            enum qvl_compute mode = compute ? QVL_COMPUTE_F32 : QVL_COMPUTE_BF16;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
            if (kernels != with->kernels || mode != with->compute)
                continue;
#endif
            struct qvl_engine *e =
                open_engine((struct qvl_engine_options){.isa = kernels->name, .compute = mode}, 0, false);
            check_groups(e);
            qvl_engine_close(e);
        }
    }
}

static void answers_are_the_same(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    check_requests(with, without);
    return;
#endif
    static const struct qvl_engine_options format[] = {
        {.compute = QVL_COMPUTE_BF16}, {.compute = QVL_COMPUTE_F32}, {.kv = QVL_KV_INT8},
        {.quantize = QVL_QUANTIZE_Q8}, {.quantize = QVL_QUANTIZE_Q4, .kv = QVL_KV_INT8}};
    for (size_t i = 0; i < sizeof format / sizeof *format; i++) {
        struct qvl_engine *on = open_engine(format[i], 0, false), *off = open_engine(format[i], 0, true);
        check_requests(on, off);
        qvl_engine_close(on);
        qvl_engine_close(off);
    }
}

/* Nothing can be kept; what is equal inside a group is still encoded once. */
static void a_cache_for_nothing(void **state)
{
    (void)state;
    struct qvl_engine *e = open_engine(usual, 1, false);
    for (int i = 0; i < 2; i++) {
        struct result got = ask(e, &still, false, NULL), want = ask(without, &still, false, NULL);
        assert_same_bits(&got, &want);
        assert_int_equal(got.n_reused[0], 6 + 2); /* groups of 7 and 3 */
    }
    qvl_engine_close(e);
}

/* A still clip fills one place: the next group finds it there. */
static void a_cache_for_one(void **state)
{
    (void)state;
    size_t n_number = 36 * (1 + with->config.vision.n_tap) * with->config.text.hidden;
    struct qvl_engine *e = open_engine(usual, n_number * sizeof(float) + 1024, false);
    struct result got = ask(e, &still, false, NULL), want = ask(without, &still, false, NULL);
    assert_same_bits(&got, &want);
    assert_int_equal(got.n_reused[0], 9);
    got = ask(e, &mixed, false, NULL);
    want = ask(without, &mixed, false, NULL);
    assert_same_bits(&got, &want);
    assert_int_equal(got.n_reused[0] + got.n_reused[3], 0);
    qvl_engine_close(e);
}

/* Stopped before any step: the cache is as it was, and serves what follows. */
static void a_group_can_be_cancelled_anywhere(void **state)
{
    (void)state;
    struct qvl_feature_cache *cache = open_cache(64 << 20);
    struct clip *c = new_clip(with, "01");
    encode(with, c, cache, 0, 0);
    free_clip(c);
    size_t n_bytes = qvl_feature_cache_bytes(cache);
    for (uint32_t n = 1; n < 5; n++) {
        c = new_clip(with, "01222201");
        assert_int_equal(encode(with, c, cache, 0, n), 3);
        assert_non_null(c->patch[0]->features.row);
        assert_null(c->patch[1]->features.row);
        assert_int_equal(qvl_feature_cache_bytes(cache), n_bytes);
        free_clip(c);
    }
    c = new_clip(with, "01222201");
    assert_int_equal(encode(with, c, cache, 0, 0), 3);
    assert_features(with, c);
    free_clip(c);
    qvl_feature_cache_close(cache);
}

static void a_cancelled_request_leaves_the_cache_sound(void **state)
{
    (void)state;
    struct qvl_engine *e = open_engine(usual, 0, false);
    for (int i = 0; i < 3; i++)
        ask(e, &mixed, true, NULL);
    struct result got = ask(e, &mixed, false, NULL), want = ask(without, &mixed, false, NULL);
    assert_same_bits(&got, &want);
    got = ask(e, &mixed, false, NULL);
    assert_int_equal(got.n_reused[1], 7);
    assert_same_bits(&got, &want);
    qvl_engine_close(e);
}

/* Whoever wants to see every intermediate gets them all. */
static void a_traced_request_computes_everything(void **state)
{
    (void)state;
    struct result want = ask(without, &slides, false, NULL);
    ask(with, &slides, false, NULL);
    size_t n_trace = 0;
    struct result got = ask(with, &slides, false, &n_trace);
    assert_same_bits(&got, &want);
    assert_int_equal(got.n_reused[0], 0);
    assert_true(n_trace >= 2); /* groups of 7 and 2 */
}

/* ---- the folder ---------------------------------------------------------------------------------- */

static char folder[] = "/tmp/qvl-cache-test-XXXXXX";

static struct qvl_engine *open_with_folder(struct qvl_engine_options options, size_t cache_bytes, bool is_off)
{
    options.vision_cache_dir = folder;
    return open_engine(options, cache_bytes, is_off);
}

static void empty_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -f %s/*.vision", folder);
    assert_int_equal(system(command), 0);
}

/* Asks on e; of all parts together n_reused, in this engine n_asked and n_found in the folder since its start. */
static void check_disk(struct qvl_engine *e, const struct question *q, uint32_t n_reused, uint64_t n_asked,
                       uint64_t n_found)
{
    struct result got = ask(e, q, false, NULL), want = ask(without, q, false, NULL);
    struct qvl_engine_stats stats;
    uint32_t n = 0;
    qvl_engine_get_stats(e, &stats);
    assert_same_bits(&got, &want);
    for (size_t k = 0; k < 4; k++)
        n += got.n_reused[k];
    assert_int_equal(n, n_reused);
    assert_int_equal(stats.n_disk_asked, n_asked);
    assert_int_equal(stats.n_disk_found, n_found);
}

/* Cold, from memory, from the folder after a restart, and from there into memory; without any cache the same. */
static void a_folder_outlives_the_engine(void **state)
{
    (void)state;
    empty_folder();
    struct qvl_engine *e = open_with_folder(usual, 0, false);
    check_disk(e, &mixed, 5, 5, 0); /* 22; 01 23 01 23 01 23 0(0); 00; 33: of ten five are new */
    check_disk(e, &mixed, 10, 5, 0);
    check_disk(e, &slides, 8, 6, 0); /* of nine 11 is new, and 00 and 22 are known */
    qvl_engine_close(e);
    e = open_with_folder(usual, 0, false);
    check_disk(e, &mixed, 10, 5, 5);
    check_disk(e, &mixed, 10, 5, 5);
    check_disk(e, &slides, 9, 6, 6);
    check_disk(e, &(struct question){{"p0"}, 9}, 0, 7, 6); /* another salt knows nothing of it, */
    check_disk(e, &(struct question){{"p0"}, 9}, 1, 7, 6);
    qvl_engine_close(e);
    e = open_with_folder(usual, 0, true); /* no memory: all from the folder, each time */
    check_disk(e, &(struct question){{"p0"}, 9}, 1, 1, 1); /* which has kept it for that salt */
    check_disk(e, &(struct question){{"p0"}, 8}, 0, 2, 1);
    check_disk(e, &picture, 1, 3, 2);
    check_disk(e, &picture, 1, 4, 3);
    qvl_engine_close(e);
}

/* What makes other bits finds nothing. */
static void a_folder_keeps_towers_apart(void **state)
{
    (void)state;
    const struct qvl_engine_options row[] = {{.compute = QVL_COMPUTE_BF16},
                                             {.compute = QVL_COMPUTE_F32},
                                             {.quantize_vision = true},
                                             {.isa = "scalar"}};
    empty_folder();
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
            struct qvl_engine *e = open_with_folder(row[i], 0, false);
            struct result r = ask(e, &picture, false, NULL);
            if (!row[i].isa || strcmp(with->kernels->name, row[i].isa) != 0)
                assert_int_equal(r.n_reused[0], round);
            qvl_engine_close(e);
        }
    struct qvl_engine *e = open_with_folder((struct qvl_engine_options){.quantize = QVL_QUANTIZE_Q4}, 0, false);
    assert_int_equal(ask(e, &picture, false, NULL).n_reused[0], 1); /* the decoder's numbers are its own affair */
    qvl_engine_close(e);
}

/* Every file torn: all is made anew, and none is used. */
static void a_damaged_folder_changes_nothing(void **state)
{
    (void)state;
    char command[192];
    empty_folder();
    for (int round = 0; round < 3; round++) {
        struct qvl_engine *e = open_with_folder(usual, 0, false);
        check_disk(e, &mixed, round == 2 ? 10 : 5, 5, round == 2 ? 5 : 0);
        qvl_engine_close(e);
        snprintf(command, sizeof command, "for f in %s/*.vision; do truncate -s -1 $f; truncate -s +1 $f; done", folder);
        if (round == 0)
            assert_int_equal(system(command), 0);
    }
}

static void note_warning(void *arg, const char *sentence)
{
    assert_non_null(strstr(sentence, "cannot open the folder"));
    ++*(int *)arg;
}

static void a_folder_that_cannot_be_is_told(void **state)
{
    (void)state;
    struct qvl_engine *e = NULL;
    struct qvl_error err = {0};
    int n_told = 0;
    const struct qvl_engine_options options = {
        .model_dir = model_folder('a'), .n_thread = 2, .n_ctx = 8192, .vision_cache_dir = "/dev/null"};
    assert_int_equal(qvl_engine_open(&options, &e, &err), QVL_OK);
    qvl_engine_watch_warnings(e, note_warning, &n_told);
    assert_int_equal(qvl_engine_load(e, &err), QVL_OK);
    assert_int_equal(n_told, 1);
    check_disk(e, &picture, 0, 0, 0);
    check_disk(e, &picture, 1, 0, 0);
    assert_int_equal(n_told, 1);
    qvl_engine_close(e);
}

/* While the folder is read, too: nothing is left behind, and the next one is right. */
static void a_request_that_reads_can_be_cancelled(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct qvl_engine *e = open_with_folder(usual, 0, false);
        for (int k = 0; k < 3; k++)
            ask(e, &mixed, true, NULL);
        struct result got = ask(e, &mixed, false, NULL), want = ask(without, &mixed, false, NULL);
        assert_same_bits(&got, &want);
        qvl_engine_close(e);
    }
}

/* ---- company ------------------------------------------------------------------------------------- */

struct asker {
    struct qvl_engine *engine;
    const struct question *question[3];
    const struct result *want;
    size_t n_bad;
};

static void *ask_often(void *arg)
{
    struct asker *a = arg;
    for (size_t i = 0; i < 9; i++) {
        bool want_cancel = i % 4 == 2;
        struct result r = ask(a->engine, a->question[i % 3], want_cancel, NULL);
        a->n_bad += !want_cancel && (r.status || memcmp(r.top, a->want[i % 3].top, sizeof r.top) != 0);
    }
    return NULL;
}

/* Three threads on these engines. */
static void ask_in_company(struct qvl_engine *const engine[3])
{
    const struct question *question[3] = {&picture, &mixed, &slides};
    struct result want[3];
    struct asker asker[3];
    pthread_t thread[3];
    for (size_t i = 0; i < 3; i++)
        want[i] = ask(without, question[i], false, NULL);
    for (size_t i = 0; i < 3; i++) {
        asker[i] = (struct asker){.engine = engine[i], .question = {question[0], question[1], question[2]}, .want = want};
        assert_int_equal(pthread_create(&thread[i], NULL, ask_often, &asker[i]), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(asker[i].n_bad, 0);
    }
}

/* The cache holds two patches, so that others' are driven out while in use. */
static void threads_share_one_cache(void **state)
{
    (void)state;
    size_t n_number = 36 * (1 + with->config.vision.n_tap) * with->config.text.hidden;
    struct qvl_engine *e = open_engine(usual, 2 * n_number * sizeof(float) + 1024, false);
    ask_in_company((struct qvl_engine *const[]){e, e, e});
    qvl_engine_close(e);
}

/* Two without memory, which read all that they have, and a folder too small for it all. */
static void engines_share_one_folder(void **state)
{
    (void)state;
    struct qvl_engine_options options = usual;
    options.vision_disk_bytes = 5 * (36 * (1 + with->config.vision.n_tap) * with->config.text.hidden * sizeof(float) + 4096);
    empty_folder();
    struct qvl_engine *one = open_with_folder(options, 0, true), *other = open_with_folder(options, 0, true);
    ask_in_company((struct qvl_engine *const[]){one, one, other});
    qvl_engine_close(one);
    qvl_engine_close(other);
}

static int open_shared(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_PICTURE; i++)
        golden_picture(i + 1, SIDE, SIDE, rgb[i]);
    with = open_engine(usual, 0, false);
    without = open_engine(usual, 0, true);
    return mkdtemp(folder) ? 0 : -1;
}

static int close_shared(void **state)
{
    (void)state;
    qvl_engine_close(with);
    qvl_engine_close(without);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    use_emulated_level(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_tell_apart_what_differs),
        cmocka_unit_test(a_frame_is_known_by_its_sha_256),
        cmocka_unit_test(what_was_not_used_for_longest_goes),
        cmocka_unit_test(the_budget_holds),
        cmocka_unit_test(what_is_in_use_outlives_the_cache),
        cmocka_unit_test(there_are_at_most_so_many),
        cmocka_unit_test(features_are_the_same_on_every_level),
        cmocka_unit_test(answers_are_the_same),
        cmocka_unit_test(a_cache_for_nothing),
        cmocka_unit_test(a_cache_for_one),
        cmocka_unit_test(a_group_can_be_cancelled_anywhere),
        cmocka_unit_test(a_cancelled_request_leaves_the_cache_sound),
        cmocka_unit_test(a_traced_request_computes_everything),
        cmocka_unit_test(a_folder_outlives_the_engine),
        cmocka_unit_test(a_folder_keeps_towers_apart),
        cmocka_unit_test(a_damaged_folder_changes_nothing),
        cmocka_unit_test(a_folder_that_cannot_be_is_told),
        cmocka_unit_test(a_request_that_reads_can_be_cancelled),
        cmocka_unit_test(threads_share_one_cache),
        cmocka_unit_test(engines_share_one_folder),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
