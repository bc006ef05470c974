/* Log lines: one JSON object each, whatever is put into them (a reader written for the test takes them apart), few
 * of equal ones, and files that are moved away. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/json_tree.h"
#include "server/log.h"

static char folder[] = "/tmp/qvl-test-log-XXXXXX";
static char file[64], moved[64];
static struct qvl_log *a_log;
static struct qvl_bytes content;

static int open_log(void **state)
{
    struct qvl_error err = {0};
    (void)state;
    unlink(file);
    unlink(moved);
    return qvl_log_open(file, &a_log, &err);
}

static int close_log(void **state)
{
    (void)state;
    qvl_log_close(a_log);
    a_log = NULL;
    return 0;
}

static void read_file(const char *name)
{
    char buffer[4096];
    struct qvl_error err = {0};
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0);
    content.n = 0;
    assert_int_equal(qvl_bytes_add(&content, "", 0, &err), QVL_OK);
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
        assert_int_equal(qvl_bytes_add(&content, buffer, (size_t)n, &err), QVL_OK);
    close(fd);
}

/* Calls check with each line of the file as JSON. Returns how many there were. */
static size_t for_each_line(const char *name, void (*check)(const struct qvl_json_node *line, size_t i))
{
    size_t n_line = 0;
    read_file(name);
    char *at = content.data;
    for (char *end; (end = strchr(at, '\n')); at = end + 1, n_line++) {
        struct qvl_arena arena = {0};
        struct qvl_json_tree tree;
        struct qvl_error err = {0};
        if (qvl_json_tree_read(at, (size_t)(end - at), "line", 100, &arena, &tree, &err))
            fail_msg("%s: %.*s", err.text, (int)(end - at), at);
        assert_int_equal(tree.node->kind, QVL_JSON_OBJECT);
        assert_non_null(qvl_json_member(tree.node, "time"));
        assert_non_null(qvl_json_member(tree.node, "event"));
        if (check)
            check(tree.node, n_line);
        qvl_json_tree_free(&tree);
        qvl_arena_free(&arena);
    }
    assert_int_equal(*at, 0); /* ends with a line break */
    return n_line;
}

static void check_members(const struct qvl_json_node *line, size_t i)
{
    double number = 0;
    assert_int_equal(i, 0);
    assert_true(qvl_json_equals(qvl_json_member(line, "event"), "request"));
    assert_true(qvl_json_equals(qvl_json_member(line, "path"), "/v1/models"));
    assert_true(qvl_json_number(qvl_json_member(line, "status"), &number) && number == 200);
    assert_true(qvl_json_number(qvl_json_member(line, "ms"), &number) && number == 1.5);
    assert_null(qvl_json_member(line, "absent"));
    const struct qvl_json_node *time = qvl_json_member(line, "time"); /* RFC 3339, UTC */
    assert_int_equal(time->n, strlen("2026-01-01T00:00:00.000Z"));
    assert_true(time->utf8[10] == 'T' && time->utf8[time->n - 1] == 'Z');
}

static void one_object_a_line(void **state)
{
    (void)state;
    struct qvl_log_line line;
    qvl_log_begin(a_log, &line, "request");
    qvl_log_add_text(&line, "path", "/v1/models");
    qvl_log_add_text(&line, "absent", NULL);
    qvl_log_add_number(&line, "status", 200);
    qvl_log_add_number(&line, "ms", 1.5);
    qvl_log_end(&line);
    assert_int_equal(for_each_line(file, check_members), 1);
}

/* Texts that would forge a line, move a cursor or turn the writing, in a log that did not escape. */
static const char *const hostile[] = {
    "a\r\n{\"time\": \"x\", \"event\": \"forged\"}",
    "a\n",
    "\", \"event\": \"forged",
    "\\\", \"event\": \"forged",
    "\\",
    "\x1b[2J\x1b[31mred",
    "\x7f\x08\x08",
    "line\xE2\x80\xA8separator\xE2\x80\xA9paragraph",
    "next\xC2\x85line and \xC2\x9B"
    "31m",
    "right\xE2\x80\xAEtleft \xE2\x81\xA6x",
    "not UTF-8: \xff\xfe \xC0\xAF \xED\xA0\x80",
    "cut short: \xE4\xBD",
};
enum { N_HOSTILE = sizeof hostile / sizeof *hostile };

static void check_not_forged(const struct qvl_json_node *line, size_t i)
{
    assert_true(qvl_json_equals(qvl_json_member(line, "event"), "refused"));
    const struct qvl_json_node *text = qvl_json_member(line, "text"), *detail = qvl_json_member(line, "detail");
    assert_non_null(text);
    assert_non_null(detail);
    if (i < 5) { /* valid UTF-8: as it was */
        assert_int_equal(text->n, strlen(hostile[i]));
        assert_memory_equal(text->utf8, hostile[i], text->n);
        assert_memory_equal(detail->utf8, hostile[i], detail->n);
    }
}

static void no_text_forges_a_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_HOSTILE; i++) {
        struct qvl_log_line line;
        qvl_log_begin(a_log, &line, "refused");
        qvl_log_add_text(&line, "text", hostile[i]);
        qvl_log_add_detail(&line, "detail", hostile[i]);
        qvl_log_end(&line);
    }
    assert_int_equal(for_each_line(file, check_not_forged), N_HOSTILE);
    for (size_t i = 0; i < content.n; i++) {
        unsigned char c = (unsigned char)content.data[i];
        assert_true(c == '\n' || (c >= 0x20 && c != 0x7f));
    }
    assert_null(strstr(content.data, "\xC2\x85")); /* C1 */
    assert_null(strstr(content.data, "\xC2\x9B"));
    assert_null(strstr(content.data, "\xE2\x80\xA8"));
    assert_null(strstr(content.data, "\xE2\x80\xA9"));
    assert_null(strstr(content.data, "\xE2\x80\xAE"));
    assert_null(strstr(content.data, "\xE2\x81\xA6"));
}

static void check_cut(const struct qvl_json_node *line, size_t i)
{
    const struct qvl_json_node *text = qvl_json_member(line, "text");
    (void)i;
    assert_int_equal(text->n, 255 + strlen("…")); /* 256 is inside the 86th character */
}

static void strings_are_cut(void **state)
{
    (void)state;
    char text[3001];
    struct qvl_log_line line;
    for (int i = 0; i < 1000; i++)
        memcpy(text + 3 * i, "\xE4\xBD\xA0", 4);
    qvl_log_begin(a_log, &line, "x");
    qvl_log_add_text(&line, "text", text);
    qvl_log_end(&line);
    assert_int_equal(for_each_line(file, check_cut), 1);
}

static void a_full_line_stays_an_object(void **state)
{
    (void)state;
    char controls[300];
    struct qvl_log_line line;
    memset(controls, 1, sizeof controls - 1);
    controls[sizeof controls - 1] = 0;
    qvl_log_begin(a_log, &line, "x");
    for (int i = 0; i < 10; i++) /* 1546 bytes each */
        qvl_log_add_text(&line, "text", i < 2 ? controls : "");
    qvl_log_add_text(&line, "text2", controls);
    qvl_log_add_number(&line, "last", 7);
    qvl_log_end(&line);
    read_file(file);
    assert_true(content.n < 4096 && content.n > 3000);
    assert_int_equal(content.data[content.n - 2], '}');
    assert_null(strstr(content.data, "text2"));
    assert_non_null(strstr(content.data, "\"last\": 7"));
}

static uint64_t n_seen, n_left_out;
static void check_flood(const struct qvl_json_node *line, size_t i)
{
    double n = 0;
    (void)i;
    n_seen += qvl_json_equals(qvl_json_member(line, "event"), "refused");
    const struct qvl_json_node *left = qvl_json_member(line, "left_out"), *lines = qvl_json_member(line, "lines");
    if (left && qvl_json_number(left, &n))
        n_left_out += (uint64_t)n;
    if (lines && qvl_json_number(lines, &n))
        n_left_out += (uint64_t)n;
}

static void log_equal(int i, const char *text, bool want_each)
{
    char path[32];
    struct qvl_log_line line;
    snprintf(path, sizeof path, "/%d", i);
    qvl_log_begin(a_log, &line, "refused");
    line.want_each = want_each;
    qvl_log_add_detail(&line, "path", path); /* another one each time */
    qvl_log_add_text(&line, "error", text);
    qvl_log_add_number(&line, "ms", i);
    qvl_log_end(&line);
}

/* A flood of equal events is a few lines; what was left out is counted, so that nothing is lost from the sum. */
static void equal_events_are_counted(void **state)
{
    (void)state;
    enum { N = 20000 };
    for (int i = 0; i < N; i++)
        log_equal(i, "wrong key", false);
    log_equal(0, "something else", false); /* has tokens of its own */
    qvl_log_close(a_log);
    a_log = NULL;
    n_seen = n_left_out = 0;
    for_each_line(file, check_flood);
    assert_int_equal(n_seen + n_left_out, N + 1);
    assert_true(n_seen >= 11); /* ten at once, and as many a second as it took */
    assert_true(n_seen < N / 4);
    assert_non_null(strstr(content.data, "something else"));
}

/* Refusals with another status are another kind. */
static void codes_tell_events_apart(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        struct qvl_log_line line;
        qvl_log_begin(a_log, &line, "refused");
        qvl_log_add_code(&line, "status", 400 + i);
        qvl_log_end(&line);
    }
    assert_int_equal(for_each_line(file, NULL), 100);
    assert_non_null(strstr(content.data, "\"status\": 499}"));
}

static void events_that_are_each_wanted(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++)
        log_equal(i, "same", true);
    assert_int_equal(for_each_line(file, NULL), 200);
}

static void a_file_that_was_moved(void **state)
{
    (void)state;
    log_equal(1, "before", false);
    assert_int_equal(rename(file, moved), 0);
    log_equal(2, "still", false);
    qvl_log_reopen(a_log);
    log_equal(3, "after", false);
    assert_int_equal(for_each_line(moved, NULL), 2);
    assert_int_equal(for_each_line(file, NULL), 2); /* log_reopened, and the last one */
    assert_non_null(strstr(content.data, "after"));
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07, 0); /* not for everybody */
}

static void a_folder_that_went_away(void **state)
{
    (void)state;
    char elsewhere[80];
    snprintf(elsewhere, sizeof elsewhere, "%s.x", folder);
    log_equal(1, "before", false);
    assert_int_equal(rename(folder, elsewhere), 0);
    qvl_log_reopen(a_log); /* cannot, and goes on */
    log_equal(2, "after", false);
    assert_int_equal(rename(elsewhere, folder), 0);
    assert_int_equal(for_each_line(file, NULL), 3);
    assert_non_null(strstr(content.data, "log_not_reopened"));
    assert_non_null(strstr(content.data, "after"));
}

/* A log that nobody reads any more stops nobody. */
static void a_full_pipe(void **state)
{
    (void)state;
    int end[2];
    struct qvl_log *to_pipe = NULL;
    struct qvl_error err = {0};
    char name[32];
    assert_int_equal(pipe(end), 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", end[1]);
    assert_int_equal(qvl_log_open(name, &to_pipe, &err), QVL_OK);
    for (int i = 0; i < 3000; i++) { /* 300 KB: a pipe holds 64 */
        struct qvl_log_line line;
        qvl_log_begin(to_pipe, &line, "x");
        line.want_each = true;
        qvl_log_add_text(&line, "text", "0123456789012345678901234567890123456789012345678901234567890123456789");
        qvl_log_end(&line);
    }
    char buffer[65536];
    ssize_t n = read(end[0], buffer, sizeof buffer);
    assert_true(n > 4096);
    struct qvl_log_line line;
    qvl_log_begin(to_pipe, &line, "there again");
    qvl_log_end(&line);
    n = read(end[0], buffer, sizeof buffer - 1);
    assert_true(n > 0);
    buffer[n] = 0;
    assert_non_null(strstr(buffer, "\"event\": \"lost\""));
    assert_non_null(strstr(buffer, "there again"));
    qvl_log_close(to_pipe);
    close(end[0]);
    close(end[1]);
}

static void a_file_that_cannot_be_opened(void **state)
{
    (void)state;
    struct qvl_log *other = NULL;
    struct qvl_error err = {0};
    assert_int_equal(qvl_log_open("/no/such/folder/x.log", &other, &err), QVL_ERR_FILE);
    assert_string_equal(err.text, "/no/such/folder/x.log: cannot open for writing: No such file or directory");
    assert_null(other);
}

static void *write_many(void *arg)
{
    for (int i = 0; i < 500; i++) {
        log_equal(i, arg, true);
        if (i % 100 == 0)
            qvl_log_reopen(a_log);
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    static char names[4][8] = {"a", "b", "c", "d"};
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, write_many, names[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    n_seen = 0;
    for_each_line(file, check_flood);
    assert_int_equal(n_seen, 2000);
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(file, sizeof file, "%s/a.log", folder);
    snprintf(moved, sizeof moved, "%s/a.log.1", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(file);
    unlink(moved);
    qvl_bytes_free(&content);
    return rmdir(folder);
}

#define WITH_LOG(test) cmocka_unit_test_setup_teardown(test, open_log, close_log)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOG(one_object_a_line),
        WITH_LOG(no_text_forges_a_line),
        WITH_LOG(strings_are_cut),
        WITH_LOG(a_full_line_stays_an_object),
        WITH_LOG(equal_events_are_counted),
        WITH_LOG(events_that_are_each_wanted),
        WITH_LOG(codes_tell_events_apart),
        WITH_LOG(a_file_that_was_moved),
        WITH_LOG(a_folder_that_went_away),
        cmocka_unit_test(a_full_pipe),
        cmocka_unit_test(a_file_that_cannot_be_opened),
        WITH_LOG(many_threads),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
