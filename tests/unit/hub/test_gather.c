/* A file that comes in pieces, is interrupted, damaged and taken up again. Sums: FIPS 180's examples, and git's. */
#include "hub/gather.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[128], ranges[160];

static int open_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/qvl-gather-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/part", folder);
    snprintf(ranges, sizeof ranges, "%s.ranges", path);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(ranges);
    return rmdir(folder);
}

static void from_hex(const char *hex, uint8_t *out)
{
    for (; *hex; hex += 2)
        sscanf(hex, "%2hhx", out++);
}

static struct qvl_hub_file abc(void)
{
    struct qvl_hub_file file = {.path = "abc", .n_bytes = 3, .has_sha256 = true};
    from_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", file.sha256);
    return file;
}

static void hash_all(struct qvl_hub_gather *g)
{
    struct qvl_error err = {0};
    bool did_some = true;
    while (did_some)
        assert_int_equal(qvl_hub_gather_hash(g, 1 << 20, &did_some, &err), QVL_OK);
}

static void assert_sum(struct qvl_hub_gather *g, bool expected)
{
    struct qvl_error err = {0};
    char found[65];
    bool is_right = !expected;
    hash_all(g);
    assert_int_equal(g->n_hashed, g->file->n_bytes);
    assert_int_equal(qvl_hub_gather_check(g, &is_right, found, &err), QVL_OK);
    assert_int_equal(is_right, expected);
}

static void test_sums(void **state)
{
    (void)state;
    struct qvl_hub_file file = abc();
    struct qvl_hub_gather g;
    struct qvl_error err = {0};
    assert_int_equal(qvl_hub_gather_open(&g, &file, path, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_write(&g, 0, "ab", 2, &err), QVL_OK);
    assert_false(qvl_hub_gather_is_full(&g));
    assert_int_equal(qvl_hub_gather_write(&g, 2, "c", 1, &err), QVL_OK);
    assert_true(qvl_hub_gather_is_full(&g));
    assert_sum(&g, true);
    assert_int_equal(qvl_hub_gather_restart(&g, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_write(&g, 0, "abd", 3, &err), QVL_OK);
    assert_sum(&g, false);
    qvl_hub_gather_close(&g);
    qvl_hub_gather_close(&g);

    /* printf 'hello\n' | git hash-object --stdin */
    struct qvl_hub_file hello = {.path = "hello", .n_bytes = 6, .has_git_sha1 = true};
    from_hex("ce013625030ba8dba906f756967f9e9ca394464a", hello.git_sha1);
    assert_int_equal(qvl_hub_gather_open(&g, &hello, path, &err), QVL_OK);
    assert_int_equal(g.n_done, 0); /* what is there is of another size */
    assert_int_equal(qvl_hub_gather_write(&g, 0, "hello\n", 6, &err), QVL_OK);
    assert_sum(&g, true);
    qvl_hub_gather_close(&g);

    /* git hash-object /dev/null */
    struct qvl_hub_file empty = {.path = "empty", .has_git_sha1 = true};
    from_hex("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", empty.git_sha1);
    assert_int_equal(qvl_hub_gather_open(&g, &empty, path, &err), QVL_OK);
    assert_true(qvl_hub_gather_is_full(&g));
    assert_sum(&g, true);
    qvl_hub_gather_close(&g);
    struct stat st;
    assert_true(stat(path, &st) == 0 && st.st_size == 0);
}

static void test_pieces(void **state)
{
    (void)state;
    uint64_t piece = QVL_HUB_PIECE_BYTES;
    struct qvl_hub_file file = {.path = "large", .n_bytes = 2 * piece + 5}; /* no sum */
    struct qvl_hub_gather g;
    struct qvl_error err = {0};
    uint64_t at, end;
    uint8_t *zeros = calloc(1, piece);
    assert_non_null(zeros);
    assert_int_equal(qvl_hub_gather_open(&g, &file, path, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_take_piece(&g, UINT64_MAX, &at, &end), 0);
    assert_true(at == 0 && end == piece);
    assert_int_equal(qvl_hub_gather_take_piece(&g, UINT64_MAX, &at, &end), 1);
    assert_true(at == piece && end == 2 * piece);
    assert_int_equal(qvl_hub_gather_take_piece(&g, UINT64_MAX, &at, &end), 2);
    assert_true(at == 2 * piece && end == 2 * piece + 5);
    assert_true(qvl_hub_gather_take_piece(&g, UINT64_MAX, &at, &end) == UINT32_MAX);
    /* out of order; the sum waits for the hole */
    assert_int_equal(qvl_hub_gather_write(&g, 2 * piece, "12345", 5, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_write(&g, piece, zeros, 100, &err), QVL_OK);
    hash_all(&g);
    assert_true(g.n_hashed == 0);
    assert_int_equal(qvl_hub_gather_write(&g, 0, zeros, piece, &err), QVL_OK);
    hash_all(&g);
    assert_true(g.n_hashed == piece + 100);
    /* let go, and taken again where it stands */
    qvl_hub_gather_let_go(&g, 1);
    assert_int_equal(qvl_hub_gather_take_piece(&g, UINT64_MAX, &at, &end), 1);
    assert_true(at == piece + 100 && end == 2 * piece);
    /* bytes that are not the next ones, or none of the file's */
    assert_int_equal(qvl_hub_gather_write(&g, piece + 99, "x", 1, &err), QVL_ERR_INTERNAL);
    assert_int_equal(qvl_hub_gather_write(&g, 2 * piece + 5, "x", 1, &err), QVL_ERR_INTERNAL);
    /* one write over the pieces' border */
    assert_int_equal(qvl_hub_gather_restart(&g, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_write(&g, 0, zeros, piece - 1, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_write(&g, piece - 1, "abc", 3, &err), QVL_OK);
    assert_true(g.n_done == piece + 2 && g.piece[1].n_done == 2);
    qvl_hub_gather_close(&g);
    free(zeros);
}

/* A fetch that was killed: nothing was closed, nothing was said. */
static void test_goes_on(void **state)
{
    (void)state;
    uint64_t piece = QVL_HUB_PIECE_BYTES, at, end;
    struct qvl_hub_file file = {.path = "large", .n_bytes = 2 * piece + 5};
    struct qvl_hub_gather killed, g;
    struct qvl_error err = {0};
    assert_int_equal(qvl_hub_gather_open(&killed, &file, path, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_write(&killed, piece, "abc", 3, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_write(&killed, 2 * piece, "12345", 5, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_open(&g, &file, path, &err), QVL_OK);
    assert_int_equal(g.n_done, 8);
    assert_int_equal(qvl_hub_gather_take_piece(&g, UINT64_MAX, &at, &end), 0);
    assert_int_equal(qvl_hub_gather_take_piece(&g, UINT64_MAX, &at, &end), 1);
    assert_true(at == piece + 3);
    assert_true(qvl_hub_gather_take_piece(&g, UINT64_MAX, &at, &end) == UINT32_MAX);
    qvl_hub_gather_close(&g);
    qvl_hub_gather_close(&killed);
}

static uint64_t bytes_on_disk(void)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* What is given away is no longer on the disk, nor promised to the next fetch, whatever comes behind it. */
static void test_stream(void **state)
{
    (void)state;
    uint64_t piece = QVL_HUB_PIECE_BYTES, at, end, block = 1 << 16;
    struct qvl_hub_file file = {.path = "large", .n_bytes = 3 * piece + 5};
    struct qvl_hub_gather g, next;
    struct qvl_error err = {0};
    struct stat st;
    uint8_t *ones = malloc(piece);
    assert_non_null(ones);
    memset(ones, 1, piece);
    assert_int_equal(qvl_hub_gather_open(&g, &file, path, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_stream(&g, &err), QVL_OK);
    assert_true(stat(path, &st) == 0 && (uint64_t)st.st_size == file.n_bytes);
    /* no further than the limit, in the midst of a piece, too */
    assert_true(qvl_hub_gather_take_piece(&g, 0, &at, &end) == UINT32_MAX);
    assert_int_equal(qvl_hub_gather_take_piece(&g, 100, &at, &end), 0);
    assert_true(at == 0 && end == 100);
    assert_true(qvl_hub_gather_take_piece(&g, piece, &at, &end) == UINT32_MAX);
    assert_int_equal(qvl_hub_gather_take_piece(&g, piece + 7, &at, &end), 1);
    assert_true(at == piece && end == piece + 7);
    /* not before it is hashed */
    assert_int_equal(qvl_hub_gather_write(&g, 0, ones, piece, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_write(&g, piece, ones, piece / 2, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_write(&g, 2 * piece, ones, 9, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_give(&g, piece, &err), QVL_OK);
    assert_true(g.n_given == 0);
    hash_all(&g);
    uint64_t n_before = bytes_on_disk();
    assert_int_equal(qvl_hub_gather_give(&g, piece + 2 * block + 3, &err), QVL_OK);
    assert_true(g.n_given == piece + 2 * block);
    if (g.has_no_holes)
        skip(); /* /tmp is on a file system that cannot */
    assert_true(bytes_on_disk() <= n_before - g.n_given);
    /* more of a piece whose beginning is gone: for this fetch it is there, for the next one it is not */
    assert_int_equal(qvl_hub_gather_write(&g, piece + piece / 2, ones, 10, &err), QVL_OK);
    assert_true(g.n_done == piece + piece / 2 + 10 + 9);
    assert_int_equal(qvl_hub_gather_open(&next, &file, path, &err), QVL_OK);
    assert_true(next.n_done == 9);
    assert_int_equal(qvl_hub_gather_take_piece(&next, UINT64_MAX, &at, &end), 0);
    assert_true(at == 0 && end == piece);
    assert_int_equal(qvl_hub_gather_take_piece(&next, UINT64_MAX, &at, &end), 1);
    assert_true(at == piece);
    assert_int_equal(qvl_hub_gather_take_piece(&next, UINT64_MAX, &at, &end), 2);
    assert_true(at == 2 * piece + 9);
    qvl_hub_gather_close(&next);
    /* kept after all: from the beginning, and no stream */
    assert_int_equal(qvl_hub_gather_keep(&g, &err), QVL_OK);
    assert_true(g.n_done == 0 && g.n_hashed == 0 && g.n_given == 0 && !g.is_stream);
    qvl_hub_gather_close(&g);
    free(ones);
}

/* Holes are refused, by whatever name: then all stays. */
static void test_stream_without_holes(void **state)
{
    (void)state;
    uint64_t block = 1 << 16;
    struct qvl_hub_file file = {.path = "large", .n_bytes = 3 * block};
    struct qvl_hub_gather g;
    struct qvl_error err = {0};
    uint8_t *ones = malloc(file.n_bytes);
    assert_non_null(ones);
    memset(ones, 1, file.n_bytes);
    assert_int_equal(qvl_hub_gather_open(&g, &file, path, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_stream(&g, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_write(&g, 0, ones, file.n_bytes, &err), QVL_OK);
    hash_all(&g);
    int fd = open(path, O_RDONLY | O_CLOEXEC); /* EBADF */
    assert_true(fd >= 0 && dup3(fd, g.fd, O_CLOEXEC) == g.fd);
    close(fd);
    assert_int_equal(qvl_hub_gather_give(&g, 2 * block, &err), QVL_OK);
    assert_true(g.has_no_holes && g.n_given == 2 * block);
    qvl_hub_gather_close(&g);
    assert_int_equal(qvl_hub_gather_open(&g, &file, path, &err), QVL_OK);
    assert_true(g.n_done == file.n_bytes);
    qvl_hub_gather_close(&g);
    free(ones);
}

/* Of one that nothing was given away of, all stays and is hashed once more. */
static void test_stream_kept(void **state)
{
    (void)state;
    struct qvl_hub_file file = abc();
    struct qvl_hub_gather g;
    struct qvl_error err = {0};
    assert_int_equal(qvl_hub_gather_open(&g, &file, path, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_stream(&g, &err), QVL_OK);
    assert_int_equal(qvl_hub_gather_write(&g, 0, "abc", 3, &err), QVL_OK);
    assert_sum(&g, true);
    assert_int_equal(qvl_hub_gather_keep(&g, &err), QVL_OK);
    assert_true(qvl_hub_gather_is_full(&g) && g.n_hashed == 0);
    assert_sum(&g, true);
    qvl_hub_gather_close(&g);
}

static void assert_begins_anew(const struct qvl_hub_file *file)
{
    struct qvl_hub_gather g;
    struct qvl_error err = {0};
    assert_int_equal(qvl_hub_gather_open(&g, file, path, &err), QVL_OK);
    assert_int_equal(g.n_done, 0);
    assert_int_equal(qvl_hub_gather_write(&g, 0, "ab", 2, &err), QVL_OK);
    qvl_hub_gather_close(&g);
}

/* What is beside the file must not be believed. */
static void test_bad_ranges(void **state)
{
    (void)state;
    struct qvl_hub_file file = abc(), other = abc();
    other.n_bytes = 4;
    assert_begins_anew(&file); /* nothing there */
    assert_begins_anew(&other);
    for (long n = 0; n < 32; n++) { /* a head that was cut */
        assert_begins_anew(&file);
        assert_int_equal(truncate(ranges, n), 0);
        assert_begins_anew(&file);
        assert_int_equal(truncate(ranges, n), 0);
    }
    for (long i = 0; i < 32; i++) { /* or changed */
        assert_begins_anew(&file);
        int fd = open(ranges, O_RDWR);
        assert_true(fd >= 0 && pwrite(fd, "\x7f", 1, i) == 1);
        close(fd);
        assert_begins_anew(&file);
        assert_int_equal(truncate(ranges, 0), 0);
    }
    assert_begins_anew(&file); /* a count beyond the piece */
    int fd = open(ranges, O_RDWR);
    assert_true(fd >= 0 && pwrite(fd, "\x04\0\0\0", 4, 32) == 4);
    close(fd);
    assert_begins_anew(&file);
    assert_int_equal(truncate(path, 1), 0); /* a count beyond the file */
    assert_begins_anew(&file);
    assert_int_equal(unlink(path), 0);
    assert_begins_anew(&file);
}

/* A link in the place of the file, laid by somebody else, is not followed. */
static void test_link(void **state)
{
    (void)state;
    struct qvl_hub_file file = abc();
    struct qvl_hub_gather g;
    struct qvl_error err = {0};
    assert_int_equal(symlink("/tmp/qvl-gather-nowhere", path), 0);
    assert_int_equal(qvl_hub_gather_open(&g, &file, path, &err), QVL_ERR_FILE);
    assert_int_equal(access("/tmp/qvl-gather-nowhere", F_OK), -1);
    unlink(path);
    assert_int_equal(symlink("/tmp/qvl-gather-nowhere", ranges), 0);
    assert_int_equal(qvl_hub_gather_open(&g, &file, path, &err), QVL_ERR_FILE);
    assert_int_equal(access("/tmp/qvl-gather-nowhere", F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sums, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_pieces, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_goes_on, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_stream, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_stream_without_holes, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_stream_kept, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_bad_ranges, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_link, open_folder, close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
