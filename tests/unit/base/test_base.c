/* Floor 0: arena, bytes, UTF-8, pool, files. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/pool.h"
#include "base/utf8.h"

static struct qvl_error err;

static void test_error_is_one_line(void **state)
{
    (void)state;
    assert_int_equal(qvl_fail(&err, QVL_ERR_FILE, "%s: %d\n\x1b", "a\tb", 7), QVL_ERR_FILE);
    assert_int_equal(err.status, QVL_ERR_FILE);
    assert_string_equal(err.text, "a?b: 7??");
    qvl_fail(&err, QVL_ERR_FILE, "%s", "caf\xe9 \xc2\x9b \x7f \xe4\xbd\xa0 \xe4\xbd"); /* Latin-1, C1, DEL, whole, cut */
    assert_string_equal(err.text, "caf? ?? ? \xe4\xbd\xa0 ??");
    char longer[2000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    qvl_fail(&err, QVL_ERR_MODEL, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    memcpy(longer + sizeof err.text - 3, "\xE4\xBD\xA0", 3); /* one byte of it is past the end */
    qvl_fail(&err, QVL_ERR_MODEL, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof err.text - 3);
}

static void test_checked(void **state)
{
    (void)state;
    size_t r = 5;
    assert_false(qvl_mul_size(SIZE_MAX / 2 + 1, 2, &r));
    assert_false(qvl_add_size(SIZE_MAX, 1, &r));
    assert_int_equal(r, 5);
    assert_true(qvl_mul_size(SIZE_MAX / 2, 2, &r) && r == SIZE_MAX - 1);
    assert_true(qvl_add_size(SIZE_MAX - 1, 1, &r) && r == SIZE_MAX);
    assert_int_equal(qvl_round_up(0, 32), 0);
    assert_int_equal(qvl_round_up(33, 32), 64);
}

static void test_arena(void **state)
{
    (void)state;
    struct qvl_arena arena = {0};
    for (int round = 0; round < 3; round++) {
        unsigned char *p[200];
        for (size_t i = 0; i < 200; i++) {
            p[i] = qvl_arena_alloc(&arena, i * 37, 3, "a test", &err);
            assert_non_null(p[i]);
            assert_int_equal((uintptr_t)p[i] % 64, 0);
            for (size_t j = 0; j < i * 37 * 3; j++)
                assert_int_equal(p[i][j], 0);
            memset(p[i], (int)i, i * 37 * 3);
        }
        for (size_t i = 0; i < 200; i++)
            for (size_t j = 0; j < i * 37 * 3; j++)
                assert_int_equal(p[i][j], (unsigned char)i);
        qvl_arena_free(&arena);
        assert_int_equal(arena.used_bytes, 0);
    }
    assert_string_equal(qvl_arena_copy_text(&arena, "abcdef", 3, &err), "abc");
    assert_null(qvl_arena_alloc(&arena, SIZE_MAX / 2, 3, "too much", &err));
    assert_int_equal(err.status, QVL_ERR_MEMORY);
    assert_null(qvl_arena_alloc(&arena, SIZE_MAX - 8, 1, "too much", &err));
    assert_null(qvl_arena_alloc(&arena, (size_t)1 << 60, 1, "too much", &err));
    assert_non_null(strstr(err.text, "too much"));
    assert_non_null(qvl_arena_alloc(&arena, 16, 1, "still usable", &err));
    qvl_arena_free(&arena);
    qvl_arena_free(&arena);
}

static void test_grow(void **state)
{
    (void)state;
    size_t n_alloc = 0, n_call = 0;
    uint16_t *items = NULL;
    for (size_t i = 0; i < 60000; i++) {
        size_t before = n_alloc;
        uint16_t *grown = qvl_grow(items, &n_alloc, i + 1, sizeof *grown, "a test", &err);
        assert_non_null(grown);
        assert_in_range(n_alloc, i + 1, SIZE_MAX);
        n_call += n_alloc != before;
        items = grown;
        items[i] = (uint16_t)i;
    }
    assert_in_range(n_call, 1, 20);
    for (size_t i = 0; i < 60000; i++)
        assert_int_equal(items[i], i);
    size_t before = n_alloc;
    assert_ptr_equal(qvl_grow(items, &n_alloc, 1, sizeof *items, "a test", &err), items);
    const size_t too_many[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 3 * 2 - 100, SIZE_MAX / 6};
    for (size_t i = 0; i < sizeof too_many / sizeof *too_many; i++) {
        err = (struct qvl_error){0};
        assert_null(qvl_grow(items, &n_alloc, too_many[i], sizeof *items, "a test", &err));
        assert_int_equal(err.status, QVL_ERR_MEMORY);
        assert_non_null(strstr(err.text, "for a test"));
        assert_int_equal(n_alloc, before);
        assert_int_equal(items[59999], 59999);
    }
    free(items);
}

static void test_arena_format(void **state)
{
    (void)state;
    struct qvl_arena own = {0};
    assert_string_equal(qvl_arena_format(&own, &err, "%s/%d", "a", 7), "a/7");
    assert_string_equal(qvl_arena_format(&own, &err, "%s", ""), "");
    assert_int_equal(strlen(qvl_arena_format(&own, &err, "%*d", 300000, 1)), 300000);
    qvl_arena_free(&own);
}

static void test_bytes_json(void **state)
{
    (void)state;
    struct qvl_bytes b = {0};
    /* json.dumps('a"\\\n\t\r\b\f\x01\x7f<é\u2028', ensure_ascii=False) */
    const char *in = "a\"\\\n\t\r\b\f\x01\x7f<\xc3\xa9\xe2\x80\xa8";
    assert_int_equal(qvl_bytes_add_json_string(&b, in, strlen(in), &err), QVL_OK);
    assert_string_equal(b.data, "\"a\\\"\\\\\\n\\t\\r\\b\\f\\u0001\x7f<\xc3\xa9\xe2\x80\xa8\"");
    b.n = 0;
    assert_int_equal(qvl_bytes_add_json_string(&b, "\0x", 2, &err), QVL_OK);
    assert_string_equal(b.data, "\"\\u0000x\"");
    b.n = 0; /* what is not UTF-8: a stray byte, a surrogate, an overlong form, a cut character */
    in = "\xff" "a\xed\xa0\x80\xc0\xaf\xe4\xbd\xa0\xe4\xbd";
    assert_int_equal(qvl_bytes_add_json_string(&b, in, strlen(in), &err), QVL_OK);
#define BAD "\xef\xbf\xbd"
    assert_string_equal(b.data, "\"" BAD "a" BAD BAD BAD BAD BAD "\xe4\xbd\xa0" BAD BAD "\"");
#undef BAD
    b.n = 0;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(qvl_bytes_add_format(&b, &err, "%03d,", i), QVL_OK);
    assert_int_equal(b.n, 4000);
    assert_memory_equal(b.data + 3996, "999,", 5);
    qvl_bytes_free(&b);
    assert_null(b.data);
}

static void test_utf8_every_code_point(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        if (cp >= 0xD800 && cp < 0xE000)
            continue;
        char s[4];
        uint32_t back = ~0u;
        size_t n = qvl_utf8_encode(cp, s);
        assert_int_equal(qvl_utf8_decode(s, n, &back), n);
        assert_int_equal(back, cp);
        for (size_t cut = 1; cut < n; cut++) {
            assert_int_equal(qvl_utf8_decode(s, cut, &back), 0);
            assert_int_equal(qvl_utf8_n_incomplete(s, cut), cut);
        }
        assert_int_equal(qvl_utf8_n_incomplete(s, n), 0);
    }
}

static void test_utf8_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF",
        "\xE4\xBD", "a\xC3(", "\xE2\x82(", "\xF0\x9F\x98("};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(qvl_utf8_is_valid(bad[i], strlen(bad[i])));
    assert_true(qvl_utf8_is_valid("a\0\xE4\xBD\xA0\xF0\x9F\x98\x80", 9));
    assert_int_equal(qvl_utf8_n_incomplete("\xED\xA0", 2), 0); /* can never become a character */
    assert_int_equal(qvl_utf8_n_incomplete("a\xF0\x9F\x98", 4), 3);
}

struct pool_case {
    atomic_uint count[1000];
    atomic_bool stop;
    size_t stop_at;
};

static void count_job(void *arg, size_t i_job, size_t i_thread)
{
    struct pool_case *c = arg;
    assert_true(i_thread < 3);
    atomic_fetch_add(&c->count[i_job], 1);
    if (i_job == c->stop_at)
        atomic_store(&c->stop, true);
}

static void test_pool(void **state)
{
    (void)state;
    for (uint32_t n_thread = 1; n_thread <= 3; n_thread++) {
        struct qvl_pool *pool = NULL;
        assert_int_equal(qvl_pool_open(n_thread, &pool, &err), QVL_OK);
        assert_int_equal(qvl_pool_n_thread(pool), n_thread);
        for (size_t n_job = 0; n_job <= 1000; n_job += n_job < 10 ? 1 : 99) {
            struct pool_case c = {.stop_at = SIZE_MAX};
            assert_true(qvl_pool_run(pool, n_job, count_job, &c, &c.stop));
            for (size_t i = 0; i < 1000; i++)
                assert_int_equal(atomic_load(&c.count[i]), i < n_job);
        }
        struct pool_case c = {.stop_at = 10};
        assert_false(qvl_pool_run(pool, 1000, count_job, &c, &c.stop));
        unsigned n_ran = 0;
        for (size_t i = 0; i < 1000; i++)
            n_ran += atomic_load(&c.count[i]);
        assert_in_range(n_ran, 11, 999);
        qvl_pool_close(pool);
    }
    struct qvl_pool *pool = NULL;
    assert_int_equal(qvl_pool_open(0, &pool, &err), QVL_ERR_ARGUMENT);
    assert_int_equal(qvl_pool_open(QVL_MAX_THREADS + 1, &pool, &err), QVL_ERR_ARGUMENT);
    assert_null(pool);
    qvl_pool_close(NULL);
}

static void add_job(void *arg, size_t i_job, size_t i_thread)
{
    size_t *sum = arg; /* [8], one for each job: plain memory, which the pool itself must order */
    (void)i_thread;
    sum[i_job] += i_job + 1;
}

/* Many short runs, some after a pause in which the workers fell asleep: a lost wake-up would hang, and what a job
 * wrote must be seen by the next run, on whatever thread that is. */
static void test_pool_sleeps_and_wakes(void **state)
{
    (void)state;
    struct qvl_pool *pool = NULL;
    size_t sum[8] = {0}, n_expected = 0;
    assert_int_equal(qvl_pool_open(4, &pool, &err), QVL_OK);
    for (size_t round = 0; round < 4000; round++) {
        size_t n_job = 1 + round % 8;
        assert_true(qvl_pool_run(pool, n_job, add_job, sum, NULL));
        n_expected += n_job * (n_job + 1) / 2;
        if (round % 32 == 0)
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    qvl_pool_close(pool);
    size_t n = 0;
    for (size_t i = 0; i < 8; i++)
        n += sum[i];
    assert_int_equal(n, n_expected);
}

static void test_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/qvl-base-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    struct qvl_bytes b = {0};
    int fd;
    uint64_t n;

    snprintf(path, sizeof path, "%s/none", dir);
    assert_int_equal(qvl_os_read_file(path, 100, &b, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(qvl_os_open_file(dir, &fd, &n, &err), QVL_ERR_FILE);
    assert_non_null(strstr(err.text, "not a regular file"));
    snprintf(path, sizeof path, "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(qvl_os_open_file(path, &fd, &n, &err), QVL_ERR_FILE);
    unlink(path);

    snprintf(path, sizeof path, "%s/file", dir);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 100000; i++)
        fputc(i % 251, f);
    fclose(f);
    assert_int_equal(qvl_os_read_file(path, 99999, &b, &err), QVL_ERR_FILE);
    assert_int_equal(b.n, 0);
    assert_int_equal(qvl_os_read_file(path, 100000, &b, &err), QVL_OK);
    assert_int_equal(b.n, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal((unsigned char)b.data[i], i % 251);
    qvl_bytes_free(&b);
    unlink(path);
    rmdir(dir);

    assert_true(qvl_os_n_cpu() >= 1);
    assert_true(qvl_os_available_bytes() > 0);
    assert_true(qvl_os_peak_bytes() > 0);
    char cpu[128];
    memset(cpu, 'x', sizeof cpu);
    qvl_os_cpu_name(cpu, sizeof cpu);
    assert_true(strnlen(cpu, sizeof cpu) < sizeof cpu && !strpbrk(cpu, "\n\t"));
    char program[4096];
    qvl_os_program_dir(program, sizeof program);
    assert_int_equal(access(program, X_OK), 0);
    double t = qvl_now_ms();
    assert_true(qvl_now_ms() >= t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_is_one_line),     cmocka_unit_test(test_checked),
        cmocka_unit_test(test_arena),                 cmocka_unit_test(test_bytes_json),
        cmocka_unit_test(test_utf8_every_code_point), cmocka_unit_test(test_utf8_refused),
        cmocka_unit_test(test_pool),                  cmocka_unit_test(test_pool_sleeps_and_wakes),
        cmocka_unit_test(test_files),                 cmocka_unit_test(test_grow),
        cmocka_unit_test(test_arena_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
