/* Who is served when: turns among clients, room for all of them, drops and drains. Exchanges are made up: of http.h
 * only the client's number is asked. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/http_exchange.h"
#include "server/work.h"

enum { N_EXCHANGE = 4096, FOREVER_MS = 60000 };

static struct qvl_exchange exchange[N_EXCHANGE];
static struct qvl_work *work;
static struct qvl_error err;

/* The clients in the order in which they were served, and who holds them up. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static uint64_t served[N_EXCHANGE];
static size_t n_served, n_begun, n_most_at_once, n_at_once;
static size_t n_may_end;     /* as many as may go through the gate */
static uint64_t who_may_end; /* the client whose they are; 0: anybody's */
static atomic_int n_refused;

/* Begins, waits until as many may end, ends. */
static void answer_at_gate(void *user, struct qvl_exchange *x)
{
    (void)user;
    pthread_mutex_lock(&lock);
    served[n_begun++] = x->request.client;
    n_at_once++;
    n_most_at_once = n_at_once > n_most_at_once ? n_at_once : n_most_at_once;
    pthread_cond_broadcast(&gate_moved);
    while (n_served >= n_may_end || (who_may_end && who_may_end != x->request.client))
        pthread_cond_wait(&gate_moved, &lock);
    n_served++;
    n_at_once--;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&lock);
}

static const struct qvl_route at_gate = {"POST", "/x", answer_at_gate, .lane = QVL_LANE_MODEL};
static const struct qvl_route light_at_gate = {"POST", "/y", answer_at_gate, .lane = QVL_LANE_LIGHT};

static void let_end_of(uint64_t client, size_t n)
{
    pthread_mutex_lock(&lock);
    n_may_end += n;
    who_may_end = client;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&lock);
}

static void let_end(size_t n)
{
    let_end_of(0, n);
}

static void wait_until_begun(size_t n)
{
    pthread_mutex_lock(&lock);
    while (n_begun < n)
        pthread_cond_wait(&gate_moved, &lock);
    pthread_mutex_unlock(&lock);
}

static void wait_until_served(size_t n)
{
    pthread_mutex_lock(&lock);
    while (n_served < n)
        pthread_cond_wait(&gate_moved, &lock);
    pthread_mutex_unlock(&lock);
}

static void open_work(uint32_t n_thread, uint32_t n_queue)
{
    n_served = n_begun = n_may_end = who_may_end = n_most_at_once = n_at_once = 0;
    memset(served, 0, sizeof served);
    atomic_store(&n_refused, 0);
    struct qvl_work_options options = {.n_thread = n_thread, .n_queue = n_queue};
    assert_int_equal(qvl_work_open(&options, &work, &err), QVL_OK);
}

static bool add(uint64_t client, size_t i, const struct qvl_route *route)
{
    exchange[i].request.client = client;
    return qvl_work_add(work, route, NULL, &exchange[i]);
}

static struct qvl_work_count count(void)
{
    struct qvl_work_count n;
    qvl_work_count(work, &n);
    return n;
}

static void end_all(void)
{
    let_end(N_EXCHANGE);
    assert_true(qvl_work_wait(work, qvl_now_ms() + FOREVER_MS, NULL));
    qvl_work_close(work);
    work = NULL;
}

/* One asks for sixty things, two others for three each, later: they come at once, not behind the sixty. */
static void a_flood_does_not_hold_others_up(void **state)
{
    (void)state;
    enum { N_FLOOD = 60 };
    size_t n = 0, n_of_1 = 0, n_of_2 = 0, n_of_3 = 0;
    open_work(1, 128);
    for (int i = 0; i < N_FLOOD; i++)
        assert_true(add(1, n++, &at_gate));
    for (int i = 0; i < 3; i++) {
        assert_true(add(2, n++, &at_gate));
        assert_true(add(3, n++, &at_gate));
    }
    assert_int_equal(count().n_waiting, N_FLOOD + 6);
    qvl_work_start(work);
    end_all();
    assert_int_equal(n_begun, n);
    for (size_t i = 0; i < 9; i++) {
        n_of_1 += served[i] == 1;
        n_of_2 += served[i] == 2;
        n_of_3 += served[i] == 3;
    }
    assert_true(n_of_1 == 3 && n_of_2 == 3 && n_of_3 == 3);
}

/* A client that has all threads gets no further one while another has fewer. */
static void who_has_fewest_running_is_next(void **state)
{
    (void)state;
    size_t n = 0;
    open_work(3, 128);
    qvl_work_start(work);
    for (int i = 0; i < 20; i++)
        assert_true(add(1, n++, &at_gate));
    wait_until_begun(3);
    for (int i = 0; i < 4; i++)
        assert_true(add(2, n++, &at_gate));
    assert_int_equal(count().n_running, 3);
    let_end(1); /* the place that becomes free is client 2's */
    wait_until_begun(4);
    assert_int_equal(served[3], 2);
    assert_int_equal(n_most_at_once, 3);
    end_all();
}

/* One client's answers on all threads end when they end; others begin nevertheless, one each. */
static void newcomers_need_not_wait(void **state)
{
    (void)state;
    size_t n = 0;
    open_work(8, 128);
    qvl_work_start(work);
    for (int i = 0; i < 20; i++)
        assert_true(add(1, n++, &at_gate));
    wait_until_begun(8);
    assert_true(add(2, n++, &at_gate) && add(2, n++, &at_gate));
    wait_until_begun(9);
    assert_int_equal(served[8], 2);
    assert_true(add(3, n++, &at_gate));
    wait_until_begun(10);
    assert_int_equal(served[9], 3);
    assert_true(add(4, n++, &at_gate)); /* now all are busy */
    assert_int_equal(count().n_running, 10);
    let_end_of(1, 1); /* the one place that becomes free is 4's: of client 2's, it would be 2's again */
    wait_until_begun(11);
    assert_int_equal(served[10], 4);
    let_end(3); /* 7 are left: one more of those who had one already */
    wait_until_begun(12);
    assert_int_equal(n_most_at_once, 10);
    end_all();
    assert_int_equal(n_begun, n);
}

static void note_turn(void *user, struct qvl_exchange *x)
{
    (void)user;
    pthread_mutex_lock(&lock);
    served[n_begun++] = (uint64_t)(x - exchange);
    pthread_mutex_unlock(&lock);
}

static void order_within_a_client(void **state)
{
    (void)state;
    static const struct qvl_route route = {"POST", "/n", note_turn, .lane = QVL_LANE_MODEL};
    open_work(1, 128);
    for (size_t i = 0; i < 10; i++)
        assert_true(add(5, i, &route));
    qvl_work_start(work);
    end_all();
    assert_int_equal(n_begun, 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(served[i], i);
}

/* One client may take three quarters of the queue; whoever comes then still finds room. */
static void room_is_left_for_others(void **state)
{
    (void)state;
    enum { N_QUEUE = 128 };
    size_t n = 0, n_taken = 0;
    open_work(2, N_QUEUE);
    for (int i = 0; i < 1000; i++)
        n_taken += add(1, n++, &at_gate);
    assert_int_equal(n_taken, N_QUEUE * 3 / 4);
    assert_true(add(2, n++, &at_gate));
    assert_true(add(3, n++, &at_gate));
    assert_false(add(1, n++, &at_gate));
    for (uint64_t client = 100; client < 400; client++)
        n_taken += add(client, n++, &at_gate);
    assert_int_equal(n_taken + 2, N_QUEUE); /* never more than that */
    assert_int_equal(count().n_waiting, N_QUEUE);
    qvl_work_start(work);
    end_all();
    assert_int_equal(n_begun, N_QUEUE);
}

static void the_smallest_queue(void **state)
{
    (void)state;
    open_work(1, 1);
    assert_true(add(1, 0, &at_gate));
    assert_false(add(1, 1, &at_gate));
    assert_false(add(2, 2, &at_gate));
    qvl_work_start(work);
    wait_until_begun(1);
    assert_true(add(2, 3, &at_gate)); /* the place is free as soon as the first one has begun */
    end_all();
}

static void lanes_do_not_wait_for_each_other(void **state)
{
    (void)state;
    open_work(1, 4);
    assert_true(add(1, 0, &at_gate)); /* not started: waits */
    assert_true(add(1, 1, &light_at_gate));
    wait_until_begun(1);
    assert_int_equal(count().n_waiting, 1);
    assert_int_equal(count().n_running, 0);
    let_end(1);
    wait_until_served(1);
    qvl_work_start(work);
    wait_until_begun(2);
    assert_int_equal(count().n_running, 1);
    end_all();
}

static void count_refused(void *user, struct qvl_exchange *x)
{
    (void)user;
    assert_non_null(x);
    atomic_fetch_add(&n_refused, 1);
}

static void dropping(void **state)
{
    (void)state;
    size_t n = 0;
    open_work(2, 128);
    qvl_work_start(work);
    for (uint64_t client = 1; client <= 5; client++)
        for (int i = 0; i < 4; i++)
            assert_true(add(client, n++, &at_gate));
    wait_until_begun(2);
    qvl_work_drop(work, count_refused, NULL);
    assert_int_equal(atomic_load(&n_refused), 18);
    assert_int_equal(count().n_waiting, 0);
    assert_int_equal(count().n_running, 2);
    assert_false(add(9, n, &at_gate)); /* nothing is taken in any more */
    end_all();
    assert_int_equal(n_begun, 2);
}

static void waiting_for_the_end(void **state)
{
    (void)state;
    atomic_bool stop_now = false;
    open_work(1, 8);
    qvl_work_start(work);
    assert_true(qvl_work_wait(work, qvl_now_ms(), NULL)); /* nothing to wait for */
    assert_true(add(1, 0, &at_gate));
    wait_until_begun(1);
    assert_false(qvl_work_wait(work, qvl_now_ms() + 20, NULL));
    atomic_store(&stop_now, true);
    assert_false(qvl_work_wait(work, qvl_now_ms() + FOREVER_MS, &stop_now));
    let_end(1);
    assert_true(qvl_work_wait(work, qvl_now_ms() + FOREVER_MS, NULL));
    end_all();
}

static void answer_slowly(void *user, struct qvl_exchange *x)
{
    (void)user;
    (void)x;
    usleep(20000);
}

static double noted_ms[2];
static void note_wait(void *user, struct qvl_exchange *x)
{
    (void)user;
    noted_ms[x - exchange] = qvl_work_waited_ms();
}

static void how_long_it_waited(void **state)
{
    (void)state;
    static const struct qvl_route route = {"POST", "/w", note_wait, .lane = QVL_LANE_MODEL};
    open_work(1, 8);
    assert_true(qvl_work_waited_ms() == 0);
    assert_true(add(1, 0, &route));
    double begin_ms = qvl_now_ms();
    usleep(30000);
    double at_least_ms = qvl_now_ms() - begin_ms;
    qvl_work_start(work);
    assert_true(qvl_work_wait(work, qvl_now_ms() + FOREVER_MS, NULL));
    assert_true(noted_ms[0] >= at_least_ms);
    assert_true(qvl_work_waited_ms() == 0); /* this thread answers nothing */
    end_all();
}

/* Whole seconds, at least one, at most a minute; longer where more wait. */
static void when_to_come_back(void **state)
{
    (void)state;
    static const struct qvl_route slow = {"POST", "/s", answer_slowly, .lane = QVL_LANE_MODEL};
    open_work(1, 1000);
    assert_int_equal(count().retry_after_s, 1); /* nothing is known */
    qvl_work_start(work);
    assert_true(add(1, 0, &slow));
    assert_true(qvl_work_wait(work, qvl_now_ms() + FOREVER_MS, NULL));
    size_t n = 0;
    for (uint64_t client = 1; client <= 700; client++)
        assert_true(add(client, n++, &at_gate));
    /* A quarter of the (at least) 699 that wait, at (at least) 20 ms each. */
    unsigned s = count().retry_after_s;
    assert_true(s >= 4 && s <= 60);
    end_all();
}

/* Three clients from three threads, all through a real queue with sixteen threads; nothing is lost or served twice.
 */
struct crowd {
    uint64_t client;
    size_t first, n, n_taken;
};

static void *ask_often(void *arg)
{
    struct crowd *crowd = arg;
    for (size_t i = 0; i < crowd->n; i++) {
        while (!add(crowd->client, crowd->first + i, &at_gate))
            usleep(100);
        crowd->n_taken++;
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    struct crowd crowd[3] = {{1, 0, 1000, 0}, {2, 1000, 200, 0}, {3, 1200, 200, 0}};
    pthread_t thread[3];
    open_work(16, 32);
    qvl_work_start(work);
    let_end(N_EXCHANGE);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, ask_often, &crowd[i]), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    assert_true(qvl_work_wait(work, qvl_now_ms() + FOREVER_MS, NULL));
    assert_int_equal(n_begun, 1400);
    assert_int_equal(n_served, 1400);
    assert_true(n_most_at_once <= 16 + 3);
    end_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_does_not_hold_others_up),
        cmocka_unit_test(who_has_fewest_running_is_next),
        cmocka_unit_test(newcomers_need_not_wait),
        cmocka_unit_test(order_within_a_client),
        cmocka_unit_test(room_is_left_for_others),
        cmocka_unit_test(the_smallest_queue),
        cmocka_unit_test(lanes_do_not_wait_for_each_other),
        cmocka_unit_test(dropping),
        cmocka_unit_test(waiting_for_the_end),
        cmocka_unit_test(when_to_come_back),
        cmocka_unit_test(how_long_it_waited),
        cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
