/* Requests that begin like earlier ones, through the public header: what they take over, block by block, and every
 * logit the same as in an engine without a prefix cache: cold, warm, in company, after cancels, in small caches.
 *
 * What must be taken over is worked out here from the ids that requests report: all tokens as far as ids and
 * pictures agree, never the last one; but of a block of 128 none where it would be fewer than 8. */
#include "../../lib/emulated_level.h"
#include "qvl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "model_folder.h"
#include "talk.h"

enum {
    BLOCK = 128,
    LEAST = 8,
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    STRIDE = 5 /* of the places where a request is stopped */
#else
    STRIDE = 1
#endif
};

static struct qvl_engine *cold; /* model a, without a prefix cache */
static size_t block_bytes;

static struct qvl_engine *open_warm(char letter, struct qvl_engine_options options)
{
    options.prefix_cache_bytes = 64 << 20;
    return open_talk_engine(letter, options);
}

static int open_shared(void **state)
{
    (void)state;
    make_talk_pictures();
    cold = open_talk_engine('a', (struct qvl_engine_options){0});
    block_bytes = measure_block(cold);
    return 0;
}

static int close_shared(void **state)
{
    (void)state;
    qvl_engine_close(cold);
    return 0;
}

/* What is taken over of n tokens that are known. */
static size_t taken(size_t n)
{
    return n % BLOCK < LEAST ? n / BLOCK * BLOCK : n;
}

/* Blocks that n positions leave when all is over. */
static size_t n_left(size_t n)
{
    return n / BLOCK + (n % BLOCK >= LEAST);
}

/* Tokens of `next` that `last` left, pictures aside. */
static size_t n_shared(const struct result *last, const struct result *next)
{
    size_t n = 0, n_last = last->n_out ? last->n_prompt + last->n_out - 1 : last->n_prompt;
    while (n < n_last && n + 1 < next->n_prompt &&
           (n < last->n_prompt ? last->prompt[n] : last->out[n - last->n_prompt]) == next->prompt[n])
        n++;
    return taken(n);
}

static struct result *ask(struct qvl_engine *warm, const struct talk *t, struct wish wish)
{
    return run(warm, NULL, t, wish);
}

/* ---- text ---------------------------------------------------------------------------------------- */

/* Questions that share a beginning up to each border, and the long one again and again; `on` and `alone` differ in
 * the prefix cache only. */
static void cut_at(struct qvl_engine *on, struct qvl_engine *alone, const size_t *border, size_t n_border,
                   size_t n_long)
{
    struct talk *t = new_talk();
    size_t n_before = count_before(alone, t);
    ask_of_length(t, n_long, '7');
    struct result *want = run(alone, NULL, t, (struct wish){.max_tokens = 3});
    for (size_t i = 0; i < n_border; i++) {
        struct wish wish = {.max_tokens = 3, .salt = i};
        ask_of_length(t, n_long, '7');
        struct result *first = ask(on, t, wish), *again = ask(on, t, wish);
        assert_int_equal(first->n_cached, 0);
        assert_int_equal(again->n_cached, n_shared(first, again));
        assert_same_bits(first, want);
        assert_same_bits(again, want);
        ask_of_length(t, border[i] - n_before + 1, '?'); /* the first token that differs */
        struct result *r = ask(on, t, wish), *r_alone = run(alone, NULL, t, (struct wish){.max_tokens = 3});
        assert_int_equal(r->n_cached, taken(border[i]));
        assert_same_bits(r, r_alone);
        free(first);
        free(again);
        free(r);
        free(r_alone);
    }
    free(want);
    free(t);
}

static void borders_of_blocks(void **state)
{
    static const size_t border[] = {63, 127, 128, 129, 191, 255, 256, 257, 383, 384, 385};
    (void)state;
    struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
    cut_at(warm, cold, border, sizeof border / sizeof *border, 400);
    qvl_engine_close(warm);
}

/* Prompts of lengths around whole blocks, asked twice: at least one token is computed. */
static void prompts_of_whole_blocks(void **state)
{
    (void)state;
    struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
    struct talk *t = new_talk();
    ask_of_length(t, 100, '7');
    struct result *probe = run(cold, NULL, t, (struct wish){.max_tokens = 1});
    size_t n_around = probe->n_prompt - 100;
    for (size_t n = 2 * BLOCK - 1; n <= 2 * BLOCK + 2; n++) {
        ask_of_length(t, n - n_around, '7');
        struct wish wish = {.max_tokens = 3, .salt = n};
        struct result *want = run(cold, NULL, t, wish), *first = ask(warm, t, wish), *again = ask(warm, t, wish);
        assert_int_equal(want->n_prompt, n);
        assert_int_equal(again->n_cached, taken(n - 1));
        assert_same_bits(first, want);
        assert_same_bits(again, want);
        free(want);
        free(first);
        free(again);
    }
    free(probe);
    free(t);
    qvl_engine_close(warm);
}

/* The engine that walks over the levels has a prefix cache; another salt is as cold as an engine without one. */
static void cut_on_this_level(struct qvl_engine *on)
{
    struct talk *t = new_talk();
    add_message(t, QVL_ROLE_USER);
    add_picture(t, 1);
    for (size_t i = 0; i < 3; i++)
        add_text(t, "77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!77!");
    struct result *want = ask(on, t, (struct wish){.max_tokens = 6, .salt = 1});
    assert_int_equal(want->n_cached, 0);
    for (size_t i = 0; i < 2; i++) {
        struct result *r = ask(on, t, (struct wish){.max_tokens = 6, .salt = 1 + i});
        assert_int_equal(r->n_cached, i ? 0 : n_shared(want, r));
        assert_true(i || r->n_cached >= BLOCK);
        assert_same_bits(r, want);
        free(r);
    }
    free(want);
    free(t);
}

static void every_level(void **state)
{
    (void)state;
    struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
    on_every_level(open_warm, warm, cut_on_this_level);
    qvl_engine_close(warm);
}

/* An answer is part of the prefix; the next turn, sent as a whole conversation, takes it over. */
static void turns_without_a_session(void **state)
{
    (void)state;
    struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
    struct talk *t = new_talk();
    struct result *last = calloc(1, sizeof *last);
    size_t n_found = 0;
    add_message(t, QVL_ROLE_SYSTEM);
    add_text(t, "You look at pictures and clips, and you say in few words what is to be seen in them.");
    for (size_t i = 0; i < 6; i++) {
        add_message(t, QVL_ROLE_USER);
        if (i % 2)
            add_picture(t, (int)i % 4);
        if (i == 2)
            add_clip(t, 5, SIDE);
        add_text(t, "And what do you see now, please?");
        struct result *r = ask(warm, t, (struct wish){.max_tokens = 20});
        struct result *want = run(cold, NULL, t, (struct wish){.max_tokens = 20});
        assert_same_bits(r, want);
        assert_int_equal(r->n_cached, n_shared(last, r));
        n_found += r->n_cached > 0;
        add_answer(t, r->text);
        free(want);
        free(last);
        last = r;
    }
    assert_true(n_found >= 3);
    struct qvl_engine_stats stats = stats_of(warm);
    assert_true(stats.n_prefix_found_tok > 0 && stats.n_prefix_found_tok < stats.n_prefix_asked_tok);
    assert_int_equal(stats.n_prompt_tok, stats.n_prefix_asked_tok);
    assert_int_equal(stats.n_output_tok, 6 * 20);
    assert_int_equal(stats.prefix_bytes, stats.kv_bytes); /* nobody runs */
    free(last);
    free(t);
    qvl_engine_close(warm);
}

static void another_salt_finds_nothing(void **state)
{
    (void)state;
    struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
    struct talk *t = new_talk();
    ask_of_length(t, 300, '7');
    for (uint64_t salt = 0; salt < 3; salt++)
        for (size_t i = 0; i < 2; i++) {
            struct result *r = ask(warm, t, (struct wish){.max_tokens = 2, .salt = salt << 40});
            assert_int_equal(r->n_cached, i ? taken(r->n_prompt - 1) : 0);
            free(r);
        }
    free(t);
    qvl_engine_close(warm);
}

/* ---- pictures and clips -------------------------------------------------------------------------- */

static const char filler[] =
    "So many words stand before it that the picture lies in blocks of its own, or nearly: one, "
    "two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, and on.";

/* Two pictures and a clip, with text between. */
static struct talk *show(int first, int second, size_t n_frame)
{
    struct talk *t = new_talk();
    add_message(t, QVL_ROLE_USER);
    add_text(t, filler);
    add_picture(t, first);
    add_text(t, filler);
    add_picture(t, second);
    add_clip(t, n_frame, CLIP_SIDE);
    add_text(t, filler);
    return t;
}

/* The first token of picture or clip i_media, as pads follow each other. */
static size_t find_media(const struct result *r, size_t i_media)
{
    size_t n = 0;
    for (size_t i = 1; i + 2 < r->n_prompt; i++) {
        bool is_begin = r->prompt[i] != r->prompt[i - 1] && r->prompt[i] == r->prompt[i + 1] &&
                        r->prompt[i] == r->prompt[i + 2];
        if (is_begin && n++ == i_media)
            return i;
    }
    fail_msg("no picture or clip %zu", i_media);
    return 0;
}

/* The same pictures: what lies in shared blocks is not looked at. Another one: the blocks from it on are new,
 * although the ids are the same. */
static void pictures_and_clips_are_shared_by_content(void **state)
{
    (void)state;
    struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
    struct talk *t[] = {show(0, 1, 10), show(0, 1, 10), show(0, 2, 10), show(3, 1, 10), show(0, 1, 10)};
    static const size_t n_look[] = {2 + 5, 0, 1 + 5, 2 + 5, 0};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        if (i == 4) /* the clip's last frame */
            t[4]->frame[4][9].rgb8 = large_rgb[3];
        add_text(t[i], filler);
        add_text(t[i], filler);
        struct qvl_engine_stats before = stats_of(warm);
        struct result *r = ask(warm, t[i], (struct wish){.max_tokens = 6});
        struct result *want = run(cold, NULL, t[i], (struct wish){.max_tokens = 6});
        assert_same_bits(r, want);
        const size_t n_cached[] = {0, r->n_prompt - 1, find_media(r, 1), find_media(r, 0), find_media(r, 2)};
        assert_int_equal(r->n_cached, taken(n_cached[i]));
        uint64_t n_patch = stats_of(warm).n_patch_asked - before.n_patch_asked;
        assert_int_equal(n_patch, i == 4 ? 5 + (find_media(r, 1) + 9 > r->n_cached) : n_look[i]);
        free(r);
        free(want);
    }
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        free(t[i]);
    qvl_engine_close(warm);
}

/* A prefix that ends in the middle of a picture, in each of a clip's temporal patches, and between them. */
static void a_prefix_ends_anywhere_in_a_clip(void **state)
{
    (void)state;
    struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
    for (size_t n = 1; n < 128; n += STRIDE * 9) {
        struct talk *t = new_talk();
        char text[MAX_TALK_TEXT] = "";
        memset(text, '7', n);
        add_message(t, QVL_ROLE_USER);
        add_text(t, text);
        add_clip(t, N_CLIP_FRAME, CLIP_SIDE);
        add_text(t, "And?");
        struct result *want = run(cold, NULL, t, (struct wish){.max_tokens = 4});
        struct result *first = ask(warm, t, (struct wish){.max_tokens = 4});
        t->text[2][0] = 'U'; /* another question */
        struct result *other = run(cold, NULL, t, (struct wish){.max_tokens = 4});
        struct result *again = ask(warm, t, (struct wish){.max_tokens = 4});
        assert_same_bits(first, want);
        assert_same_bits(again, other);
        assert_int_equal(again->n_cached, n_shared(first, again));
        assert_true(again->n_cached >= 2 * BLOCK);
        free(want);
        free(first);
        free(other);
        free(again);
        free(t);
    }
    qvl_engine_close(warm);
}

/* ---- company, ends ------------------------------------------------------------------------------- */

/* A request takes over what another one that still runs has computed, both hold the same blocks, and their answers
 * part. */
static void requests_share_while_they_run(void **state)
{
    (void)state;
    enum { N = 5 };
    struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
    struct talk *t[N];
    struct result *want[N], *got[N];
    struct qvl_request *request[N];
    struct qvl_request_options options = greedy(40, NULL);
    for (size_t i = 0; i < N; i++) {
        t[i] = new_talk();
        ask_of_length(t[i], 300, (char)('0' + i));
        want[i] = run(cold, NULL, t[i], (struct wish){.max_tokens = 40});
        got[i] = calloc(1, sizeof *got[i]);
        request[i] = open_request(warm, t[i], &options);
        while (got[i]->n_out == 0)
            assert_true(pull(request[i], got[i]));
        assert_int_equal(stats_of(warm).kv_bytes, (3 + i) * block_bytes); /* two for all, and one each */
        assert_int_equal(stats_of(warm).prefix_bytes, 0);
        assert_int_equal(stats_of(warm).n_running, i + 1);
    }
    for (size_t is_open = 1; is_open;) {
        is_open = 0;
        for (size_t i = 0; i < N; i++)
            is_open += got[i]->n_out < 40 && pull(request[i], got[i]);
    }
    for (size_t i = 0; i < N; i++) {
        while (pull(request[i], got[i]))
            continue;
        finish(request[i], got[i]);
        assert_same_bits(got[i], want[i]);
        assert_int_equal(got[i]->n_cached, i ? 2 * BLOCK : 0);
        free(want[i]);
        free(got[i]);
        free(t[i]);
    }
    assert_int_equal(stats_of(warm).kv_bytes, (2 + N) * block_bytes); /* two of all, and where each ended */
    assert_int_equal(stats_of(warm).prefix_bytes, (2 + N) * block_bytes);
    qvl_engine_close(warm);
}

struct asker {
    struct qvl_engine *on;
    const struct talk *talk;
    struct result *result;
};

static void *ask_beside(void *arg)
{
    struct asker *a = arg;
    a->result = run(a->on, NULL, a->talk, (struct wish){.max_tokens = 8});
    return NULL;
}

/* Several threads with the same conversation, pictures and all, at the same moment, a few times over. */
static void the_same_at_the_same_time(void **state)
{
    (void)state;
    enum { N = 4 };
    struct talk *t = show(2, 3, 6);
    struct result *want = run(cold, NULL, t, (struct wish){.max_tokens = 8});
    for (int round = 0; round < 3; round++) {
        struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
        struct asker asker[N];
        pthread_t thread[N];
        for (size_t i = 0; i < N; i++) {
            asker[i] = (struct asker){warm, t, NULL};
            assert_int_equal(pthread_create(&thread[i], NULL, ask_beside, &asker[i]), 0);
        }
        for (size_t i = 0; i < N; i++) {
            pthread_join(thread[i], NULL);
            assert_same_bits(asker[i].result, want);
            free(asker[i].result);
        }
        size_t n_kept = n_left(want->n_prompt + want->n_out - 1);
        assert_int_equal(stats_of(warm).kv_bytes, n_kept * block_bytes); /* each block once */
        qvl_engine_close(warm);
    }
    free(want);
    free(t);
}

/* Stopped anywhere, a request leaves what it has, and that is right. */
static void a_stopped_request_leaves_what_it_has(void **state)
{
    (void)state;
    struct talk *t = show(0, 1, N_CLIP_FRAME);
    struct result *want = run(cold, NULL, t, (struct wish){.max_tokens = 6});
    struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
    uint64_t salt = 0;
    for (size_t at = 1; at < want->n_prompt; at += STRIDE * 61) {
        struct wish wish = {.max_tokens = 6, .stop_at_prefill = at, .want_close = ++salt % 2};
        wish.salt = salt;
        struct result *stopped = ask(warm, t, wish);
        wish.stop_at_prefill = 0;
        struct result *r = ask(warm, t, wish);
        assert_same_bits(r, want);
        assert_true(r->n_cached >= taken(stopped->n_prefilled) || r->n_cached == taken(r->n_prompt - 1));
        free(stopped);
        free(r);
    }
    struct result *stopped = ask(warm, t, (struct wish){.max_tokens = 20, .stop_at_text = 9, .salt = ++salt});
    struct result *r = ask(warm, t, (struct wish){.max_tokens = 6, .salt = salt});
    assert_same_bits(r, want);
    assert_int_equal(r->n_cached, taken(r->n_prompt - 1));
    free(stopped);
    free(r);
    free(want);
    free(t);
    qvl_engine_close(warm);
}

/* A cache of four blocks, and five conversations of three that take turns: right bits, and never more is kept. */
static void a_small_cache(void **state)
{
    (void)state;
    struct qvl_engine *warm =
        open_talk_engine('a', (struct qvl_engine_options){.prefix_cache_bytes = 4 * block_bytes + 1});
    struct talk *t = new_talk();
    size_t n_found = 0;
    for (size_t i = 0; i < 15; i++) {
        ask_of_length(t, 330, '7');
        t->text[0][0] = (char)('a' + (i * i) % 5); /* parted from the first block on */
        struct result *want = run(cold, NULL, t, (struct wish){.max_tokens = 4});
        struct result *r = ask(warm, t, (struct wish){.max_tokens = 4});
        assert_same_bits(r, want);
        n_found += r->n_cached > 0;
        assert_in_range(stats_of(warm).prefix_bytes, 2 * block_bytes, 4 * block_bytes);
        assert_int_equal(stats_of(warm).prefix_bytes, stats_of(warm).kv_bytes);
        free(want);
        free(r);
    }
    assert_true(n_found > 0);
    free(t);
    qvl_engine_close(warm);
}

/* Room for three blocks, all of them kept: a request that begins with two and a part of the third gets its own
 * third block when the part is let go. */
static void a_part_does_not_stand_in_the_way(void **state)
{
    (void)state;
    struct qvl_engine *warm = open_talk_engine(
        'a', (struct qvl_engine_options){.kv_bytes = 3 * block_bytes, .prefix_cache_bytes = 3 * block_bytes});
    struct talk *t = new_talk();
    ask_of_length(t, 300, '7');
    struct result *first = ask(warm, t, (struct wish){.max_tokens = 3});
    assert_in_range(first->n_prompt, 2 * BLOCK + 20, 3 * BLOCK - 3);
    assert_int_equal(stats_of(warm).prefix_bytes, 3 * block_bytes);
    struct result *want = run(cold, NULL, t, (struct wish){.max_tokens = 3});
    struct result *again = ask(warm, t, (struct wish){.max_tokens = 3});
    assert_int_equal(again->n_cached, 2 * BLOCK);
    assert_same_bits(again, want);
    free(first);
    free(again);
    free(want);
    free(t);
    qvl_engine_close(warm);
}

/* ---- between being prepared and beginning -------------------------------------------------------- */

static void prepare(struct qvl_request *request)
{
    struct qvl_error err = {0};
    if (qvl_request_prepare(request, &err))
        fail_msg("%s", err.text);
}

/* What was there when the request was prepared is gone when it begins (and so its frames, skipped before, are
 * decoded after all); or more is there than was. */
static void the_cache_changes_meanwhile(void **state)
{
    (void)state;
    for (int want_gone = 0; want_gone < 2; want_gone++) {
        struct talk *t = show(0, 1, N_CLIP_FRAME), *other = new_talk();
        struct result *want = run(cold, NULL, t, (struct wish){.max_tokens = 6});
        size_t n_block = n_left(want->n_prompt + 6 - 1);
        struct qvl_engine *warm =
            open_talk_engine('a', (struct qvl_engine_options){.prefix_cache_bytes = n_block * block_bytes});
        struct qvl_request_options options = greedy(6, NULL);
        struct qvl_request_info info;
        if (want_gone)
            free(ask(warm, t, (struct wish){.max_tokens = 6}));
        struct qvl_request *request = open_request(warm, t, &options);
        prepare(request);
        qvl_request_get_info(request, &info);
        assert_int_equal(info.n_cached_tok, want_gone ? taken(want->n_prompt - 1) : 0);
        if (want_gone) {
            for (size_t k = 0; k < n_block; k++) {
                ask_of_length(other, 1 + 3 * BLOCK, '?');
                other->text[0][0] = (char)('a' + k);
                free(ask(warm, other, (struct wish){.max_tokens = 1}));
            }
        } else {
            free(ask(warm, t, (struct wish){.max_tokens = 6}));
        }
        struct qvl_engine_stats before = stats_of(warm);
        struct result *r = calloc(1, sizeof *r);
        while (pull(request, r))
            continue;
        finish(request, r);
        assert_same_bits(r, want);
        uint64_t n_patch = stats_of(warm).n_patch_asked - before.n_patch_asked;
        assert_int_equal(r->n_cached, want_gone ? 0 : taken(want->n_prompt - 1));
        assert_int_equal(n_patch, want_gone ? 2 + N_CLIP_FRAME / 2 : 0);
        free(r);
        free(want);
        free(t);
        free(other);
        qvl_engine_close(warm);
    }
}

/* ---- sessions ------------------------------------------------------------------------------------ */

/* A session on an engine with a prefix cache: it gives and takes as others do, and keeps its own partial block. Cut
 * inside a block that others may hold, it keeps what stands before that. */
static void sessions_share_too(void **state)
{
    (void)state;
    struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
    struct qvl_session *a = open_session(warm), *b = open_session(warm);
    struct talk *t = show(1, 2, 4);
    struct result *want = run(cold, NULL, t, (struct wish){.max_tokens = 8});
    struct result *first = run(warm, a, t, (struct wish){.max_tokens = 8});
    struct result *second = run(warm, b, t, (struct wish){.max_tokens = 8});
    struct result *again = run(warm, a, t, (struct wish){.max_tokens = 8});
    assert_same_bits(first, want);
    assert_same_bits(second, want);
    assert_same_bits(again, want);
    assert_int_equal(first->n_cached, 0);
    assert_int_equal(second->n_cached, (want->n_prompt - 1) / BLOCK * BLOCK); /* others' blocks */
    assert_int_equal(again->n_cached, want->n_prompt - 1);                    /* its own, the partial one, too */
    size_t n_block = (want->n_prompt + 8) / BLOCK;
    assert_int_equal(stats_of(warm).kv_bytes, (n_block + 2) * block_bytes); /* whole ones once, two partial ones */
    free(first);
    free(second);
    free(again);
    free(want);
    free(t);
    t = new_talk();
    for (size_t n = 3 * BLOCK + 60; n > BLOCK; n -= 37) { /* shorter and shorter: cuts in whole blocks */
        ask_of_length(t, n, '?');
        want = run(cold, NULL, t, (struct wish){.max_tokens = 3});
        first = run(warm, a, t, (struct wish){.max_tokens = 3});
        assert_same_bits(first, want);
        free(first);
        free(want);
    }
    free(t);
    qvl_session_close(a);
    qvl_session_close(b);
    assert_int_equal(stats_of(warm).kv_bytes, stats_of(warm).prefix_bytes);
    qvl_engine_close(warm);
}

/* The cache knows more of a prompt than the session does: what the session had behind its part is not that. */
static void a_session_asks_what_others_have_asked(void **state)
{
    (void)state;
    struct qvl_engine *warm = open_warm('a', (struct qvl_engine_options){0});
    struct qvl_session *session = open_session(warm);
    struct talk *mine = new_talk(), *theirs = new_talk();
    ask_of_length(mine, 500, '7');
    ask_of_length(theirs, 490, '8');
    theirs->text[0][7] = 'x'; /* parted from early on */
    free(run(warm, session, mine, (struct wish){.max_tokens = 4}));
    free(run(warm, NULL, theirs, (struct wish){.max_tokens = 4}));
    struct result *want = run(cold, NULL, theirs, (struct wish){.max_tokens = 30});
    for (int i = 0; i < 2; i++) { /* then without a session: what it left is right, too */
        struct result *r = run(warm, i ? NULL : session, theirs, (struct wish){.max_tokens = 30});
        assert_int_equal(r->n_cached, taken(r->n_prompt - 1));
        assert_same_bits(r, want);
        free(r);
    }
    free(want);
    free(mine);
    free(theirs);
    qvl_session_close(session);
    qvl_engine_close(warm);
}

/* Nine blocks: the session has four, others left five. Beside the session's there is no room for what the others
 * know and the rest; with the session's own there is. */
static void a_session_begins_with_its_own_where_room_is_short(void **state)
{
    (void)state;
    struct qvl_engine *warm = open_talk_engine(
        'a', (struct qvl_engine_options){.kv_bytes = 9 * block_bytes, .prefix_cache_bytes = 5 * block_bytes});
    struct qvl_session *session = open_session(warm);
    struct talk *t = new_talk(), *other = new_talk();
    ask_of_length(t, 3 * BLOCK + 20, '7');
    free(run(warm, session, t, (struct wish){.max_tokens = 3}));
    ask_of_length(other, 4 * BLOCK + 20, '8');
    other->text[0][0] = 'x'; /* the session's blocks leave the cache */
    free(run(warm, NULL, other, (struct wish){.max_tokens = 3}));
    ask_of_length(t, 5 * BLOCK - 30, '7');
    free(run(warm, NULL, t, (struct wish){.max_tokens = 3})); /* and are there anew, and two more */
    assert_int_equal(stats_of(warm).kv_bytes, 9 * block_bytes);
    struct result *r = run(warm, session, t, (struct wish){.max_tokens = 40});
    struct result *want = run(cold, NULL, t, (struct wish){.max_tokens = 40});
    assert_in_range(r->n_prompt + 40, 5 * BLOCK + 1, 6 * BLOCK);
    assert_in_range(r->n_cached, 3 * BLOCK + 20, 4 * BLOCK - 1);
    assert_same_bits(r, want);
    free(r);
    free(want);
    free(t);
    free(other);
    qvl_session_close(session);
    qvl_engine_close(warm);
}

int main(void)
{
    use_emulated_level(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(borders_of_blocks),
        cmocka_unit_test(prompts_of_whole_blocks),
        cmocka_unit_test(every_level),
        cmocka_unit_test(turns_without_a_session),
        cmocka_unit_test(another_salt_finds_nothing),
        cmocka_unit_test(pictures_and_clips_are_shared_by_content),
        cmocka_unit_test(a_prefix_ends_anywhere_in_a_clip),
        cmocka_unit_test(requests_share_while_they_run),
        cmocka_unit_test(the_same_at_the_same_time),
        cmocka_unit_test(a_stopped_request_leaves_what_it_has),
        cmocka_unit_test(a_small_cache),
        cmocka_unit_test(a_part_does_not_stand_in_the_way),
        cmocka_unit_test(the_cache_changes_meanwhile),
        cmocka_unit_test(sessions_share_too),
        cmocka_unit_test(a_session_asks_what_others_have_asked),
        cmocka_unit_test(a_session_begins_with_its_own_where_room_is_short),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
