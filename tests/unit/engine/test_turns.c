/* Whose turn it is: clients in turn, and each client's requests in turn, whoever comes and goes. */
#include "engine/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { N = 64 };

static struct qvl_turns turns;
static struct qvl_turn turn[N];
static size_t n_taken[N];

static void reset(void)
{
    memset(&turns, 0, sizeof turns);
    memset(turn, 0, sizeof turn);
    memset(n_taken, 0, sizeof n_taken);
}

/* The next of [begin, end), which then has its turn. */
static size_t next(size_t begin, size_t end, enum qvl_turn_kind kind)
{
    size_t i_first = begin;
    for (size_t i = begin + 1; i < end; i++)
        if (qvl_turn_is_before(&turn[i], &turn[i_first], kind))
            i_first = i;
    qvl_turns_take(&turns, &turn[i_first], kind);
    n_taken[i_first]++;
    return i_first;
}

static void requests_of_one_client_take_turns(void **state)
{
    (void)state;
    reset();
    for (size_t i = 0; i < 3; i++)
        qvl_turns_join(&turns, &turn[i], 7);
    for (size_t i = 0; i < 9; i++)
        assert_int_equal(next(0, 3, QVL_TURN_UNIT), i % 3);
    assert_int_equal(next(0, 3, QVL_TURN_DECODE), 0); /* another kind, another round */
}

/* One client with twenty requests, one with one: every other turn is the one's. */
static void clients_have_equal_shares(void **state)
{
    (void)state;
    reset();
    for (size_t i = 0; i < 21; i++)
        qvl_turns_join(&turns, &turn[i], i == 20 ? 2 : 1);
    for (size_t i = 0; i < 400; i++)
        next(0, 21, QVL_TURN_UNIT);
    assert_int_equal(n_taken[20], 200);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(n_taken[i], 10);
}

/* Who comes again with each turn gets no more than who stays. */
static void coming_again_gains_nothing(void **state)
{
    (void)state;
    reset();
    qvl_turns_join(&turns, &turn[0], 1);
    qvl_turns_join(&turns, &turn[1], 2);
    for (size_t i = 0; i < 100; i++)
        if (next(0, 2, QVL_TURN_UNIT) == 1) {
            qvl_turns_leave(&turn[1]);
            qvl_turns_join(&turns, &turn[1], 2);
        }
    assert_int_equal(n_taken[0], 50);
    assert_int_equal(n_taken[1], 50);
}

/* A client's new request does not put the client off, nor before others. */
static void a_new_request_waits_in_its_client(void **state)
{
    (void)state;
    reset();
    qvl_turns_join(&turns, &turn[0], 1);
    qvl_turns_join(&turns, &turn[1], 2);
    assert_int_equal(next(0, 2, QVL_TURN_UNIT), 0);
    qvl_turns_join(&turns, &turn[2], 1);
    assert_int_equal(next(0, 3, QVL_TURN_UNIT), 1);
    assert_int_equal(next(0, 3, QVL_TURN_UNIT), 0); /* served before the other one came */
    assert_int_equal(next(0, 3, QVL_TURN_UNIT), 1);
    assert_int_equal(next(0, 3, QVL_TURN_UNIT), 2);
}

/* Forty streams of two clients, sixteen places in a step: the client with four has all of them in each step, the
 * other's thirty-six share twelve places, so each is there in every third step. */
static void places_of_a_step_are_shared_out(void **state)
{
    (void)state;
    reset();
    size_t last[40] = {0};
    for (size_t i = 0; i < 40; i++)
        qvl_turns_join(&turns, &turn[i], i < 4);
    for (size_t step = 1; step <= 90; step++) {
        bool is_in[40] = {false};
        for (size_t k = 0; k < 16; k++) {
            size_t i_first = N;
            for (size_t i = 0; i < 40; i++)
                if (!is_in[i] && (i_first == N || qvl_turn_is_before(&turn[i], &turn[i_first], QVL_TURN_DECODE)))
                    i_first = i;
            qvl_turns_take(&turns, &turn[i_first], QVL_TURN_DECODE);
            is_in[i_first] = true;
            assert_true(step - last[i_first] <= (i_first < 4 ? 1 : 3));
            last[i_first] = step;
            n_taken[i_first]++;
        }
    }
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(n_taken[i], i < 4 ? 90 : 30);
}

/* Room goes to whoever has least, whatever was served before. */
static void least_room_begins_first(void **state)
{
    (void)state;
    reset();
    for (size_t i = 0; i < 3; i++)
        qvl_turns_join(&turns, &turn[i], i);
    turn[0].client->n_block = 5;
    turn[1].client->n_block = 3;
    turn[2].client->n_block = 3;
    assert_int_equal(next(0, 3, QVL_TURN_BEGIN), 1);
    assert_int_equal(next(0, 3, QVL_TURN_BEGIN), 2);
    turn[2].client->n_block = 9;
    assert_int_equal(next(0, 3, QVL_TURN_BEGIN), 1);
    turn[1].client->n_block = 9;
    assert_int_equal(next(0, 3, QVL_TURN_BEGIN), 0);
    assert_int_equal(next(0, 3, QVL_TURN_UNIT), 0); /* turns of other kinds know nothing of room */
}

/* As many clients as there may be; places of those that went are used again. */
static void places_are_used_again(void **state)
{
    (void)state;
    static struct qvl_turn many[QVL_MAX_REQUESTS];
    reset();
    for (size_t i = 0; i < QVL_MAX_REQUESTS; i++)
        qvl_turns_join(&turns, &many[i], i);
    for (size_t i = 0; i < QVL_MAX_REQUESTS; i++) {
        assert_int_equal(many[i].client->id, i);
        assert_int_equal(many[i].client->n_request, 1);
    }
    many[5].client->n_block = 77;
    qvl_turns_leave(&many[5]);
    qvl_turns_join(&turns, &many[5], 5000);
    assert_int_equal(many[5].client->id, 5000);
    assert_int_equal(many[5].client->n_block, 0);
    qvl_turns_leave(&many[9]);
    qvl_turns_join(&turns, &many[9], 5000);
    assert_ptr_equal(many[9].client, many[5].client);
    assert_int_equal(many[9].client->n_request, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_of_one_client_take_turns),
        cmocka_unit_test(clients_have_equal_shares),
        cmocka_unit_test(coming_again_gains_nothing),
        cmocka_unit_test(a_new_request_waits_in_its_client),
        cmocka_unit_test(places_of_a_step_are_shared_out),
        cmocka_unit_test(least_room_begins_first),
        cmocka_unit_test(places_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
