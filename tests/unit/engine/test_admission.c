/* Room for keys and values, and turns, through the public header: who may begin and who waits, in which order, what
 * makes room, and that the bits are those of an engine without bounds. */
#include "qvl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/limits.h"
#include "model_folder.h"
#include "talk.h"

enum { BLOCK = 128, MAX_NOTE = 4096 };

static struct qvl_engine *unbound;   /* model a */
static size_t block_bytes, n_around; /* tokens of a question's prompt that are not its characters */

static int open_shared(void **state)
{
    (void)state;
    make_talk_pictures();
    struct talk *t = new_talk();
    unbound = open_talk_engine('a', (struct qvl_engine_options){0});
    block_bytes = measure_block(unbound);
    ask_of_length(t, 10, '?');
    struct result *r = run(unbound, NULL, t, (struct wish){.max_tokens = 1});
    n_around = r->n_prompt - 10;
    free(r);
    free(t);
    return 0;
}

static int close_shared(void **state)
{
    (void)state;
    qvl_engine_close(unbound);
    return 0;
}

static struct qvl_engine *open_bound(size_t n_block)
{
    return open_talk_engine('a', (struct qvl_engine_options){.kv_bytes = n_block * block_bytes + 1});
}

/* Of a prompt of n tokens. */
static struct talk *question(size_t n, char last)
{
    struct talk *t = new_talk();
    ask_of_length(t, n - n_around, last);
    return t;
}

/* A request for so many blocks, prompt and answer of n_out tokens together. */
struct asked {
    struct talk *talk;
    struct qvl_request *request;
    struct result *result;
    uint32_t n_out;
};

static struct asked ask(struct qvl_engine *on, size_t n_block, uint32_t n_out, uint64_t client)
{
    struct asked a = {
        .talk = question(n_block * BLOCK - n_out, '?'), .result = calloc(1, sizeof(struct result)), .n_out = n_out};
    struct qvl_request_options options = greedy(n_out, NULL);
    options.client = client;
    a.request = open_request(on, a.talk, &options);
    assert_non_null(a.result);
    return a;
}

/* Until it is with the engine; it need not have begun. */
static void submit(struct qvl_request *request)
{
    struct qvl_event event;
    struct qvl_error err = {0};
    if (qvl_request_prepare(request, &err) || qvl_request_next(request, &event, &err))
        fail_msg("%s", err.text);
    assert_int_equal(event.kind, QVL_EVENT_PROGRESS);
}

static void pull_text(struct asked *a)
{
    size_t n = a->result->n_out;
    while (a->result->n_out == n)
        assert_true(pull(a->request, a->result));
}

/* To the end, with the bits of an engine without bounds. */
static void end(struct asked *a)
{
    while (pull(a->request, a->result))
        continue;
    finish(a->request, a->result);
    struct result *want = run(unbound, NULL, a->talk, (struct wish){.max_tokens = a->n_out});
    assert_same_bits(a->result, want);
    free(want);
    free(a->result);
    free(a->talk);
}

/* ---- what never fits ----------------------------------------------------------------------------- */

static void what_never_fits_is_refused_with_the_numbers(void **state)
{
    (void)state;
    struct qvl_engine *on = open_bound(3), *tiny = NULL;
    struct qvl_error err = {0};
    struct talk *t = question(350, '?');
    struct qvl_request_options options = greedy(34, NULL);
    struct qvl_request *request = open_request(on, t, &options);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_OK); /* 384 */
    qvl_request_close(request);
    options.max_tokens = 35;
    request = open_request(on, t, &options);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_LIMIT);
    assert_non_null(strstr(err.text, "350 tokens"));
    assert_non_null(strstr(err.text, "may have 35"));
    assert_non_null(strstr(err.text, "the 384 for"));
    qvl_request_close(request);
    struct qvl_engine_options set = {.model_dir = model_folder('a'), .kv_bytes = block_bytes - 1};
    assert_int_equal(qvl_engine_open(&set, &tiny, &err), QVL_ERR_ARGUMENT);
    char number[32];
    snprintf(number, sizeof number, "%zu", block_bytes);
    assert_non_null(strstr(err.text, number));
    free(t);
    qvl_engine_close(on);
}

/* What a program chooses after it has seen the model holds as if it had been given at first. */
static void room_can_be_set_once_the_model_is_known(void **state)
{
    (void)state;
    struct qvl_engine *on = NULL;
    struct qvl_engine_info info;
    struct qvl_engine_stats stats;
    struct qvl_error err = {0};
    struct qvl_engine_options set = {.model_dir = model_folder('a')};
    assert_int_equal(qvl_engine_open(&set, &on, &err), QVL_OK);
    qvl_engine_get_info(on, &info);
    assert_int_equal(info.kv_bytes_per_tok * 128, block_bytes);
    assert_int_equal(qvl_engine_set_room(on, info.n_ctx_model + 1, 0, 0, &err), QVL_ERR_LIMIT);
    assert_int_equal(qvl_engine_set_room(on, 0, block_bytes - 1, 0, &err), QVL_ERR_ARGUMENT);
    assert_int_equal(qvl_engine_set_room(on, 500, 3 * block_bytes, 2 * block_bytes, &err), QVL_OK);
    assert_int_equal(qvl_engine_set_room(on, 400, 3 * block_bytes, 2 * block_bytes, &err), QVL_OK);
    qvl_engine_get_info(on, &info);
    qvl_engine_get_stats(on, &stats);
    assert_int_equal(info.n_ctx, 400);
    assert_int_equal(stats.kv_max_bytes, 3 * block_bytes);
    struct talk *t = question(350, '?');
    struct qvl_request_options options = greedy(35, NULL);
    struct qvl_request *request = open_request(on, t, &options);
    assert_int_equal(qvl_request_prepare(request, &err), QVL_ERR_LIMIT);
    qvl_request_close(request);
    free(t);
    qvl_engine_close(on);
}

static void a_default_answer_takes_the_room_there_is(void **state)
{
    (void)state;
    struct qvl_engine *on = open_bound(3);
    struct talk *t = question(350, '?');
    struct result *r = run(on, NULL, t, (struct wish){0});
    assert_int_equal(r->status, QVL_OK);
    assert_int_equal(r->n_out, 34);
    free(r);
    free(t);
    assert_int_equal(stats_of(on).kv_bytes, 0);
    assert_int_equal(stats_of(on).kv_max_bytes, 3 * block_bytes);
    qvl_engine_close(on);
}

/* ---- waiting ------------------------------------------------------------------------------------- */

static void a_request_waits_for_room(void **state)
{
    (void)state;
    struct qvl_engine *on = open_bound(4);
    struct asked a = ask(on, 3, 40, 0), b = ask(on, 2, 40, 0), c = ask(on, 1, 40, 0);
    submit(a.request);
    pull_text(&a);
    submit(b.request);
    submit(c.request); /* there is room for it beside a */
    pull_text(&c);
    struct qvl_engine_stats stats = stats_of(on);
    assert_int_equal(stats.n_request, 3);
    assert_int_equal(stats.n_running, 2);
    assert_int_equal(stats.n_waiting, 1);
    assert_int_equal(stats.kv_bytes, 4 * block_bytes);
    end(&c);
    end(&a);
    pull_text(&b);
    assert_int_equal(stats_of(on).n_running, 1);
    end(&b);
    assert_int_equal(stats_of(on).n_request, 0);
    qvl_engine_close(on);
}

/* What a cancelled request held is free although nobody has closed it; and so is that of one that is closed. */
static void cancel_and_close_make_room(void **state)
{
    (void)state;
    struct qvl_engine *on = open_bound(3);
    for (int want_close = 0; want_close < 2; want_close++) {
        struct asked a = ask(on, 3, 40, 0), b = ask(on, 3, 40, 0);
        submit(a.request);
        pull_text(&a);
        submit(b.request);
        if (want_close)
            qvl_request_close(a.request);
        else
            qvl_request_cancel(a.request);
        pull_text(&b);
        assert_int_equal(stats_of(on).n_request, 1);
        end(&b);
        if (!want_close) {
            assert_int_equal(stats_of(on).kv_bytes, 0);
            qvl_request_close(a.request);
        }
        free(a.result);
        free(a.talk);
    }
    assert_int_equal(stats_of(on).kv_bytes, 0);
    qvl_engine_close(on);
}

/* One that is cancelled while it waits lets the next one in. */
static void a_cancel_in_the_queue(void **state)
{
    (void)state;
    struct qvl_engine *on = open_bound(4);
    struct asked a = ask(on, 2, 40, 0), b = ask(on, 4, 40, 0), c[10];
    submit(a.request);
    pull_text(&a);
    submit(b.request);
    for (size_t i = 0; i < 10; i++) {
        c[i] = ask(on, 2, 4, 0);
        submit(c[i].request);
        if (i < 8)
            end(&c[i]); /* so many may pass b */
    }
    qvl_request_cancel(b.request);
    end(&c[8]);
    end(&c[9]);
    end(&a);
    qvl_request_close(b.request);
    free(b.result);
    free(b.talk);
    qvl_engine_close(on);
}

/* Small ones go past a large one that has no room yet, but not for ever. */
static void a_large_request_is_not_starved(void **state)
{
    (void)state;
    struct qvl_engine *on = open_bound(8);
    struct asked held[3], large = ask(on, 8, 40, 1), small;
    for (size_t i = 0; i < 3; i++) {
        held[i] = ask(on, 2, 40, 2 + i);
        submit(held[i].request);
        pull_text(&held[i]);
    }
    submit(large.request);
    for (size_t i = 0; i < 8; i++) {
        small = ask(on, 2, 3, 10 + i);
        submit(small.request);
        end(&small);
    }
    small = ask(on, 2, 40, 20); /* there is room, but the large one has been passed often enough */
    submit(small.request);
    for (size_t i = 0; i < 3; i++)
        end(&held[i]);
    pull_text(&large);
    assert_int_equal(stats_of(on).n_running, 1);
    assert_int_equal(stats_of(on).n_waiting, 1);
    end(&large);
    end(&small);
    qvl_engine_close(on);
}

/* ---- what makes room ----------------------------------------------------------------------------- */

static void kept_prefixes_make_room(void **state)
{
    (void)state;
    struct qvl_engine_options set = {.kv_bytes = 4 * block_bytes, .prefix_cache_bytes = 4 * block_bytes};
    struct qvl_engine *on = open_talk_engine('a', set);
    struct result *last = calloc(1, sizeof *last);
    for (size_t n_block = 1; n_block <= 4; n_block++)
        for (int i = 0; i < 2; i++) {
            struct talk *t = question(n_block * BLOCK - 8, (char)('a' + i));
            t->text[0][0] = (char)('a' + n_block); /* of its own from the first block on */
            struct result *r = run(on, NULL, t, (struct wish){.max_tokens = 8});
            struct result *want = run(unbound, NULL, t, (struct wish){.max_tokens = 8});
            assert_same_bits(r, want);
            size_t n_same = 0;
            while (n_same < last->n_prompt && last->prompt[n_same] == r->prompt[n_same])
                n_same++;
            assert_true(i == 0 || (n_same > n_block * BLOCK - 40 && n_same < n_block * BLOCK - 8));
            /* where the prompt takes all four blocks, none is free to copy a part of one into */
            assert_int_equal(r->n_cached, i == 0 ? 0 : n_block < 4 ? n_same : (n_block - 1) * BLOCK);
            assert_true(stats_of(on).kv_bytes <= 4 * block_bytes);
            free(last);
            last = r;
            free(want);
            free(t);
        }
    free(last);
    qvl_engine_close(on);
}

/* A request that shares blocks needs room for the others only: the second one begins beside the first. */
static void shared_blocks_need_no_room(void **state)
{
    (void)state;
    struct qvl_engine_options set = {.kv_bytes = 5 * block_bytes, .prefix_cache_bytes = 5 * block_bytes};
    struct qvl_engine *on = open_talk_engine('a', set);
    struct asked a = ask(on, 4, 40, 0), b = ask(on, 4, 40, 0);
    submit(a.request);
    pull_text(&a);
    submit(b.request);
    pull_text(&b);
    assert_int_equal(stats_of(on).n_running, 2);
    assert_int_equal(stats_of(on).kv_bytes, 5 * block_bytes);
    end(&a);
    end(&b);
    qvl_engine_close(on);
}

static void idle_sessions_make_room(void **state)
{
    (void)state;
    struct qvl_engine *on = open_bound(4);
    struct qvl_session *session = open_session(on), *newer = open_session(on);
    struct talk *t = question(200, '?');
    struct result *want = run(unbound, NULL, t, (struct wish){.max_tokens = 8});
    free(run(on, session, t, (struct wish){.max_tokens = 8}));
    free(run(on, newer, t, (struct wish){.max_tokens = 8}));
    assert_int_equal(stats_of(on).kv_bytes, 4 * block_bytes);
    struct asked two = ask(on, 2, 8, 0);
    end(&two);
    assert_int_equal(stats_of(on).kv_bytes, 2 * block_bytes); /* the newer one's */
    struct result *r = run(on, newer, t, (struct wish){.max_tokens = 8});
    assert_int_equal(r->n_cached, 199);
    assert_same_bits(r, want);
    free(r);
    r = run(on, session, t, (struct wish){.max_tokens = 8});
    assert_int_equal(r->n_cached, 0);
    assert_same_bits(r, want);
    free(r);
    struct asked all = ask(on, 4, 8, 0);
    end(&all);
    assert_int_equal(stats_of(on).kv_bytes, 0);
    free(want);
    free(t);
    qvl_session_close(session);
    qvl_session_close(newer);
    qvl_engine_close(on);
}

/* A session's request that is open keeps its cache, and others wait for its end. */
static void a_session_in_use_makes_no_room(void **state)
{
    (void)state;
    struct qvl_engine *on = open_bound(3);
    struct qvl_session *session = open_session(on);
    struct talk *t = question(200, '?');
    free(run(on, session, t, (struct wish){.max_tokens = 8}));
    struct qvl_request_options options = greedy(40, session);
    struct qvl_request *request = open_request(on, t, &options);
    struct asked other = ask(on, 3, 8, 0);
    struct qvl_error err = {0};
    if (qvl_request_prepare(request, &err))
        fail_msg("%s", err.text);
    submit(other.request);
    assert_int_equal(stats_of(on).kv_bytes, 2 * block_bytes);
    struct result *r = calloc(1, sizeof *r);
    while (pull(request, r))
        continue;
    finish(request, r); /* which makes the session idle */
    assert_int_equal(r->n_cached, 199);
    end(&other);
    free(r);
    free(t);
    qvl_session_close(session);
    qvl_engine_close(on);
}

/* ---- turns --------------------------------------------------------------------------------------- */

/* Which request each scored token belongs to, in the order in which the engine came to them. */
static struct {
    char who[MAX_NOTE];
    size_t n;
} notes;

static void note_score(void *user, size_t i, const float *logits, size_t n_logit)
{
    (void)i, (void)logits, (void)n_logit;
    assert_true(notes.n < MAX_NOTE);
    notes.who[notes.n++] = *(const char *)user;
}

/* A request that scores n tokens and says its name with each. */
static struct qvl_request *score(struct qvl_engine *on, const char *name, uint64_t client, size_t n)
{
    static const uint32_t ids[1024];
    struct qvl_request_options options = greedy(1, NULL);
    struct qvl_chat nothing = {0};
    struct qvl_request *request = NULL;
    struct qvl_error err = {0};
    options.client = client;
    options.scoring = (struct qvl_scoring){.ids = ids, .n_id = n, .logits = note_score, .user = (void *)name};
    if (qvl_request_open(on, &nothing, &options, &request, &err))
        fail_msg("%s", err.text);
    return request;
}

/* Requests by their names' letters, one client for each digit after it, wait behind one that has all the room; then
 * they are let go and run to their ends. */
static void run_behind_a_door(struct qvl_engine *on, size_t n_block, const char *const *name, size_t n,
                              size_t n_tok)
{
    struct qvl_request *request[64];
    struct asked door = ask(on, n_block, 40, 99);
    notes.n = 0;
    submit(door.request);
    pull_text(&door);
    for (size_t i = 0; i < n; i++) {
        request[i] = score(on, name[i], (uint64_t)name[i][1], n_tok);
        submit(request[i]);
    }
    assert_int_equal(stats_of(on).n_waiting, n);
    end(&door);
    for (size_t i = 0; i < n; i++) {
        struct qvl_event event = {0};
        struct qvl_error err = {0};
        while (event.kind != QVL_EVENT_DONE)
            if (qvl_request_next(request[i], &event, &err))
                fail_msg("%s", err.text);
        qvl_request_close(request[i]);
    }
}

/* One at a time: a client that comes later with one request has the second turn, not the last; inside a client they
 * begin as they came. */
static void clients_begin_in_turn(void **state)
{
    (void)state;
    struct qvl_engine *on = open_bound(2);
    static const char *const name[] = {"a1", "b1", "c1", "d1", "x2", "y2", "p3"};
    run_behind_a_door(on, 2, name, 7, 2 * BLOCK - 8);
    char order[8] = "";
    for (size_t i = 0, n = 0; i < notes.n; i++)
        if (n == 0 || order[n - 1] != notes.who[i])
            order[n++] = notes.who[i];
    assert_string_equal(order, "axpbycd");
    qvl_engine_close(on);
}

/* All at once, prompts of 16 chunks each: every other unit is the one's that is alone with its client. */
static void clients_share_units(void **state)
{
    (void)state;
    struct qvl_engine *on = open_bound(16);
    static const char *const name[] = {"a1", "b1", "c1", "x2"};
    run_behind_a_door(on, 16, name, 4, 16 * TALK_CHUNK + 1);
    size_t n_unit = 0, n_x = 0, n_until[16] = {0};
    for (size_t i = 0; i < notes.n; i++) {
        if (i > 0 && notes.who[i] == notes.who[i - 1])
            continue;
        n_unit++;
        if (notes.who[i] == 'x')
            n_until[n_x++] = n_unit;
    }
    assert_int_equal(n_x, 16);
    for (size_t i = 1; i < 16; i++) /* the first waits until all four are there */
        assert_int_equal(n_until[i] - n_until[i - 1], 2);
    assert_in_range(n_until[0], 1, 2);
    qvl_engine_close(on);
}

/* Thirty streams, many more than a step holds: all come to their ends with the bits that they have alone. */
static void more_streams_than_places(void **state)
{
    (void)state;
    enum { N = 30 };
    struct qvl_engine *on = open_bound(2 * N);
    struct asked a[N];
    for (size_t i = 0; i < N; i++) {
        a[i] = ask(on, 1 + i % 2, 40, i < 3);
        submit(a[i].request);
    }
    for (size_t k = 0; k < 20; k++)
        for (size_t i = 0; i < N; i++)
            pull_text(&a[i]);
    for (size_t i = 0; i < N; i++)
        end(&a[i]);
    assert_int_equal(stats_of(on).n_output_tok, N * 40);
    qvl_engine_close(on);
}

/* As many as an engine takes wait behind one; one more is refused, and when another one goes it is not. */
static void only_so_many_are_taken(void **state)
{
    (void)state;
    static struct qvl_request *waiting[QVL_MAX_REQUESTS];
    struct qvl_engine *on = open_bound(1);
    struct asked door = ask(on, 1, 40, 0);
    struct talk *t = question(60, '?');
    struct qvl_request_options options = greedy(2, NULL);
    struct qvl_event event;
    struct qvl_error err = {0};
    submit(door.request);
    pull_text(&door);
    for (size_t i = 0; i < QVL_MAX_REQUESTS - 1; i++) {
        options.client = i;
        waiting[i] = open_request(on, t, &options);
        submit(waiting[i]);
    }
    assert_int_equal(stats_of(on).n_request, QVL_MAX_REQUESTS);
    assert_int_equal(stats_of(on).n_waiting, QVL_MAX_REQUESTS - 1);
    struct qvl_request *more = open_request(on, t, &options);
    assert_int_equal(qvl_request_next(more, &event, &err), QVL_OK); /* its prompt is made */
    assert_int_equal(qvl_request_prepare(more, &err), QVL_OK);
    assert_int_equal(qvl_request_next(more, &event, &err), QVL_ERR_LIMIT);
    qvl_request_close(more);
    for (size_t i = 1; i < QVL_MAX_REQUESTS - 1; i++)
        qvl_request_close(waiting[i]);
    struct asked another = ask(on, 1, 4, 7);
    submit(another.request);
    end(&door);
    qvl_request_close(waiting[0]);
    end(&another);
    free(t);
    qvl_engine_close(on);
}

/* ---- many threads -------------------------------------------------------------------------------- */

struct guest {
    struct qvl_engine *on;
    size_t i;
    struct talk *talk;
    struct result *result;
    atomic_bool *is_over_bound;
};

/* Some are cancelled on their way. */
static void *visit(void *arg)
{
    struct guest *g = arg;
    struct qvl_request_options options = greedy(6 + (uint32_t)g->i % 5, NULL);
    options.client = g->i % 3;
    struct qvl_request *request = open_request(g->on, g->talk, &options);
    for (size_t n = 0; pull(request, g->result); n++) {
        struct qvl_engine_stats stats = stats_of(g->on);
        if (stats.kv_bytes > stats.kv_max_bytes || stats.prefix_bytes > stats.kv_bytes)
            atomic_store(g->is_over_bound, true);
        if (g->i % 7 == 6 && n == g->i)
            qvl_request_cancel(request);
    }
    finish(request, g->result);
    return NULL;
}

static void many_guests_in_little_room(void **state)
{
    (void)state;
    enum { N = 24 };
    struct qvl_engine_options set = {.kv_bytes = 5 * block_bytes, .prefix_cache_bytes = 3 * block_bytes};
    struct qvl_engine *on = open_talk_engine('a', set);
    struct guest guest[N];
    pthread_t thread[N];
    atomic_bool is_over_bound = false;
    for (size_t i = 0; i < N; i++) {
        guest[i] = (struct guest){on, i, question(100 + 71 * (i % 6), '?'), calloc(1, sizeof(struct result)),
                                  &is_over_bound};
        guest[i].talk->text[0][0] = (char)('a' + i % 2);
        if (i % 4 == 3)
            add_picture(guest[i].talk, (int)(i / 4 % 2));
        assert_int_equal(pthread_create(&thread[i], NULL, visit, &guest[i]), 0);
    }
    for (size_t i = 0; i < N; i++) {
        pthread_join(thread[i], NULL);
        if (guest[i].result->status != QVL_ERR_CANCELLED) {
            struct result *want =
                run(unbound, NULL, guest[i].talk, (struct wish){.max_tokens = 6 + (uint32_t)i % 5});
            assert_same_bits(guest[i].result, want);
            free(want);
        }
        free(guest[i].result);
        free(guest[i].talk);
    }
    assert_false(is_over_bound);
    assert_int_equal(stats_of(on).n_request, 0);
    assert_int_equal(stats_of(on).kv_bytes, stats_of(on).prefix_bytes);
    qvl_engine_close(on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_never_fits_is_refused_with_the_numbers),
        cmocka_unit_test(room_can_be_set_once_the_model_is_known),
        cmocka_unit_test(a_default_answer_takes_the_room_there_is),
        cmocka_unit_test(a_request_waits_for_room),
        cmocka_unit_test(cancel_and_close_make_room),
        cmocka_unit_test(a_cancel_in_the_queue),
        cmocka_unit_test(a_large_request_is_not_starved),
        cmocka_unit_test(kept_prefixes_make_room),
        cmocka_unit_test(shared_blocks_need_no_room),
        cmocka_unit_test(idle_sessions_make_room),
        cmocka_unit_test(a_session_in_use_makes_no_room),
        cmocka_unit_test(clients_begin_in_turn),
        cmocka_unit_test(clients_share_units),
        cmocka_unit_test(more_streams_than_places),
        cmocka_unit_test(only_so_many_are_taken),
        cmocka_unit_test(many_guests_in_little_room),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
