/* The vision cache's folder by itself: what is kept is found with the same bits, by any process; what was damaged, moved,
 * or is another's is not, and goes or stays as it should; the budget holds; no fault of the disk does more than cost what
 * was to be kept. Processes are real ones, times of files are set, not waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/limits.h"
#include "engine/feature_writer.h"

enum { N_LEVEL = 2, N_HIDDEN = 3, BLOCK = 4096, MAX_FILE = 64 };

static char root[] = "/tmp/qvl-folder-test-XXXXXX", dir[64];
static const struct qvl_identity tower = {{1, 2, 3}};
static const struct qvl_features shape = {.n = 2, .n_level = N_LEVEL, .n_hidden = N_HIDDEN};

/* ---- helpers ------------------------------------------------------------------------------------- */

static int n_bad_close;
static bool has_no_links; /* as on some file systems */

/* Instead of the library's. */
int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    if (!has_no_links)
        return (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
    errno = EPERM;
    return -1;
}

/* Instead of the library's: counts those of what is not open. */
int close(int fd)
{
    int result = (int)syscall(SYS_close, fd);
    if (result != 0 && errno == EBADF)
        n_bad_close++;
    return result;
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

static int begin_test(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s/cache", root);
    shell("rm -rf %s/*", root);
    return 0;
}

static struct qvl_feature_key key_of(uint32_t i)
{
    struct qvl_feature_key key = {{0}};
    memcpy(key.sha256, &i, sizeof i);
    return key;
}

/* Of n tokens; every number's bits follow from i, among them those of NaNs and denormals. */
static struct qvl_features features_of(uint32_t i, size_t n)
{
    struct qvl_features f = {.n = n, .n_level = N_LEVEL, .n_hidden = N_HIDDEN};
    struct qvl_error err;
    size_t n_number = n * N_LEVEL * N_HIDDEN;
    f.row = qvl_arena_alloc(&f.arena, n_number, sizeof *f.row, "a test", &err);
    assert_non_null(f.row);
    for (size_t k = 0; k < n_number; k++) {
        uint32_t bits = (i + 1) * 0x9E3779B9u * (uint32_t)(k + 1);
        memcpy(&f.row[k], &bits, sizeof bits);
    }
    if (n_number > 1)
        memcpy(&f.row[1], &(uint32_t){0x7FC12345}, 4);
    return f;
}

static struct qvl_feature_folder *open_folder(uint64_t max_bytes)
{
    struct qvl_feature_folder *folder = NULL;
    struct qvl_error err = {0};
    if (qvl_feature_folder_open(dir, max_bytes, &tower, &folder, &err))
        fail_msg("%s", err.text);
    return folder;
}

static enum qvl_status keep_n(struct qvl_feature_folder *folder, uint32_t i, size_t n, struct qvl_error *err)
{
    struct qvl_feature_key key = key_of(i);
    struct qvl_features f = features_of(i, n);
    enum qvl_status status = qvl_feature_folder_keep(folder, &key, &f, err);
    qvl_features_free(&f);
    return status;
}

static void keep(struct qvl_feature_folder *folder, uint32_t i)
{
    struct qvl_error err = {0};
    if (keep_n(folder, i, shape.n, &err))
        fail_msg("%s", err.text);
}

/* With the right bits. */
static bool has(struct qvl_feature_folder *folder, uint32_t i)
{
    struct qvl_feature_key key = key_of(i);
    struct qvl_features got = {0}, want = features_of(i, shape.n);
    bool is_there = qvl_feature_folder_find(folder, &key, &shape, &got);
    if (is_there) {
        assert_int_equal(got.n, shape.n);
        assert_int_equal(got.n_level, shape.n_level);
        assert_int_equal(got.n_hidden, shape.n_hidden);
        assert_memory_equal(got.row, want.row, shape.n * N_LEVEL * N_HIDDEN * sizeof *want.row);
    } else {
        assert_null(got.row);
    }
    qvl_features_free(&got);
    qvl_features_free(&want);
    return is_there;
}

struct listing {
    char name[MAX_FILE][256]; /* [n] those of features */
    size_t n, n_part, n_byte; /* files being written; bytes of the n, in whole blocks */
};

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), n_suffix = strlen(suffix);
    return n >= n_suffix && strcmp(name + n - n_suffix, suffix) == 0;
}

static struct listing list(void)
{
    struct listing l = {.n = 0};
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));) {
        struct stat st;
        l.n_part += ends_with(entry->d_name, ".part");
        if (!ends_with(entry->d_name, ".vision"))
            continue;
        assert_true(l.n < MAX_FILE);
        assert_int_equal(fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
        l.n_byte += ((size_t)st.st_size + BLOCK - 1) / BLOCK * BLOCK;
        snprintf(l.name[l.n++], sizeof l.name[0], "%s", entry->d_name);
    }
    closedir(d);
    return l;
}

/* The path of the only file of features. */
static const char *the_file(void)
{
    static char path[512];
    struct listing l = list();
    assert_int_equal(l.n, 1);
    snprintf(path, sizeof path, "%s/%.200s", dir, l.name[0]);
    return path;
}

static struct qvl_engine_stats count(struct qvl_feature_folder *folder)
{
    struct qvl_engine_stats stats = {0};
    qvl_feature_folder_count(folder, &stats);
    return stats;
}

/* The file of the only one that has been kept since `before` gets this time of last use. */
static void age(const struct listing *before, time_t s)
{
    struct listing l = list();
    for (size_t i = 0; i < l.n; i++) {
        bool is_new = true;
        for (size_t k = 0; k < before->n; k++)
            is_new = is_new && strcmp(before->name[k], l.name[i]) != 0;
        char path[512];
        snprintf(path, sizeof path, "%s/%.200s", dir, l.name[i]);
        const struct timespec times[2] = {{s, 0}, {s, 0}};
        if (is_new)
            assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
}

static void keep_aged(struct qvl_feature_folder *folder, uint32_t i, time_t s)
{
    struct listing before = list();
    keep(folder, i);
    age(&before, s);
}

/* ---- finding ------------------------------------------------------------------------------------- */

static void what_was_kept_is_found_with_the_same_bits(void **state)
{
    (void)state;
    struct stat st;
    for (int round = 0; round < 3; round++) { /* in one process and the next */
        struct qvl_feature_folder *folder = open_folder(1 << 20);
        assert_int_equal(has(folder, 1), round > 0);
        keep(folder, 1);
        keep(folder, 1);
        assert_true(has(folder, 1));
        assert_false(has(folder, 2));
        assert_int_equal(list().n, 1);
        assert_int_equal(count(folder).vision_disk_bytes, BLOCK);
        assert_int_equal(count(folder).n_disk_asked, 3);
        assert_int_equal(count(folder).n_disk_found, round > 0 ? 2 : 1);
        qvl_feature_folder_close(folder);
    }
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(the_file(), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    char index[128];
    snprintf(index, sizeof index, "%s/qvl-vision-cache", dir);
    assert_int_equal(stat(index, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void another_tower_or_shape_finds_nothing(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(1 << 20), *other = NULL;
    struct qvl_identity other_tower = tower;
    struct qvl_features got = {0}, longer = shape;
    struct qvl_feature_key key = key_of(1);
    struct qvl_error err = {0};
    keep(folder, 1);
    other_tower.bytes[31] ^= 1;
    assert_int_equal(qvl_feature_folder_open(dir, 1 << 20, &other_tower, &other, &err), QVL_OK);
    assert_false(has(other, 1));
    keep(other, 1);
    assert_int_equal(list().n, 2);
    assert_true(has(other, 1) && has(folder, 1));
    longer.n++; /* cannot happen, but for a file that is not what its name says */
    assert_false(qvl_feature_folder_find(folder, &key, &longer, &got));
    assert_false(has(folder, 1));
    qvl_feature_folder_close(other);
    qvl_feature_folder_close(folder);
}

/* Who knows pixels and salt, and so the key, cannot tell from a folder whose secret he does not know. */
static void names_follow_from_the_folders_secret(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(1 << 20);
    char first[512];
    keep(folder, 1);
    snprintf(first, sizeof first, "%s", strrchr(the_file(), '/'));
    qvl_feature_folder_close(folder);
    begin_test(NULL);
    folder = open_folder(1 << 20);
    keep(folder, 1);
    assert_string_not_equal(first, strrchr(the_file(), '/'));
    qvl_feature_folder_close(folder);
}

/* ---- damage -------------------------------------------------------------------------------------- */

static size_t read_whole(const char *path, uint8_t *out, size_t n_out)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(out, 1, n_out, f);
    fclose(f);
    return n;
}

static void write_whole(const char *path, const uint8_t *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void check_damage(struct qvl_feature_folder *folder, const char *path, const uint8_t *bytes, size_t n)
{
    write_whole(path, bytes, n);
    assert_false(has(folder, 1));
    assert_int_not_equal(access(path, F_OK), 0); /* removed */
}

static void a_damaged_file_is_removed_whatever_the_damage(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(1 << 20);
    uint8_t good[1024], bad[1024];
    char path[512];
    keep(folder, 1);
    snprintf(path, sizeof path, "%s", the_file());
    size_t n = read_whole(path, good, sizeof good - 1);
    assert_true(n > shape.n * N_LEVEL * N_HIDDEN * 4 && n < sizeof good - 1);
    for (size_t i = 0; i < n; i++) { /* each byte */
        memcpy(bad, good, n);
        bad[i] ^= (uint8_t)(1u << i % 8);
        check_damage(folder, path, bad, n);
    }
    for (size_t n_left = 0; n_left < n; n_left++) /* each length, as it was and (blocks that were never written) zeros */
        check_damage(folder, path, good, n_left);
    for (size_t n_left = 0; n_left < n; n_left += 16) {
        memcpy(bad, good, n);
        memset(bad + n_left, 0, n - n_left);
        check_damage(folder, path, bad, n);
    }
    good[n] = 0;
    check_damage(folder, path, good, n + 1);
    write_whole(path, good, n);
    assert_true(has(folder, 1));
    assert_int_equal(unlink(path), 0);
    keep(folder, 1);
    assert_true(has(folder, 1));
    qvl_feature_folder_close(folder);
}

static void a_file_under_anothers_name_is_not_used(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(1 << 20);
    char first[512], second[512];
    keep(folder, 1);
    snprintf(first, sizeof first, "%s", the_file());
    assert_int_equal(unlink(first), 0);
    keep(folder, 2);
    snprintf(second, sizeof second, "%s", the_file());
    assert_int_equal(rename(second, first), 0);
    assert_false(has(folder, 1));
    assert_int_equal(list().n, 0);
    qvl_feature_folder_close(folder);
}

/* What a link points to is neither read nor touched, and what is no file does no harm. */
static void a_files_name_may_hold_anything(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(1 << 20);
    char path[512], saved[512];
    keep(folder, 1);
    snprintf(path, sizeof path, "%s", the_file());
    snprintf(saved, sizeof saved, "%s/saved", root);
    assert_int_equal(rename(path, saved), 0);
    assert_int_equal(symlink(saved, path), 0);
    assert_false(has(folder, 1));
    assert_int_equal(access(saved, F_OK), 0);
    assert_int_not_equal(faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(has(folder, 1));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(has(folder, 1));
    assert_int_equal(rmdir(path), 0);
    keep(folder, 1);
    assert_true(has(folder, 1));
    qvl_feature_folder_close(folder);
}

/* ---- opening ------------------------------------------------------------------------------------- */

static struct rlimit old_limit;

/* No file may grow beyond n bytes. */
static void limit_files(rlim_t n)
{
    struct rlimit small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
    small = (struct rlimit){n, old_limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
}

static void unlimit_files(void)
{
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
}

static void refuse(const char *path, const char *sentence)
{
    struct qvl_feature_folder *folder = NULL;
    struct qvl_error err = {0};
    assert_int_equal(qvl_feature_folder_open(path, 1 << 20, &tower, &folder, &err), QVL_ERR_FILE);
    assert_null(folder);
    if (!strstr(err.text, sentence))
        fail_msg("\"%s\" lacks \"%s\"", err.text, sentence);
}

static void folders_that_are_not_trusted(void **state)
{
    (void)state;
    char link[96];
    snprintf(link, sizeof link, "%s/link", root);
    shell("mkdir %s/real && ln -s %s/real %s && echo text >%s/file", root, root, link, root);
    refuse(link, "cannot open the folder");
    strcat(link, "//");
    refuse(link, "cannot open the folder");
    snprintf(link, sizeof link, "%s/file", root);
    refuse(link, "cannot open the folder");
    snprintf(link, sizeof link, "%s/no/where", root);
    refuse(link, "cannot make the folder");
    snprintf(link, sizeof link, "%s/real", root);
    for (mode_t mode = 0020; mode; mode = mode == 0020 ? 0002 : 0) {
        assert_int_equal(chmod(link, 0755 | mode), 0);
        refuse(link, "other users may write");
    }
    DIR *d = opendir(link);
    for (struct dirent *entry; (entry = readdir(d));)
        assert_true(entry->d_name[0] == '.');
    closedir(d);
    if (geteuid() == 0) {
        assert_int_equal(chmod(link, 0755), 0);
        assert_int_equal(chown(link, 12345, (gid_t)-1), 0);
        refuse(link, "belongs to another user");
    }
}

static void the_secrets_place_may_hold_anything(void **state)
{
    (void)state;
    char index[128];
    snprintf(index, sizeof index, "%s/qvl-vision-cache", dir);
    qvl_feature_folder_close(open_folder(1 << 20));
    for (size_t n = 0; n < 60; n += 20) { /* torn: of another length, or another content of the right one */
        shell("head -c %zu /dev/zero >%s", n == 40 ? 48 : n, index);
        struct qvl_feature_folder *folder = open_folder(1 << 20);
        keep(folder, 1);
        assert_true(has(folder, 1));
        qvl_feature_folder_close(folder);
    }
    shell("mv %s %s/elsewhere && ln -s %s/elsewhere %s", index, root, root, index);
    refuse(dir, "cannot write in this folder");
    shell("rm %s && mkdir %s", index, index);
    refuse(dir, "cannot write in this folder");
    shell("rmdir %s && mkfifo %s", index, index);
    qvl_feature_folder_close(open_folder(1 << 20));
    assert_int_equal(list().n_part, 0);
}

static void a_file_system_without_links_is_good_enough(void **state)
{
    (void)state;
    has_no_links = true;
    struct qvl_feature_folder *first = open_folder(1 << 20), *second = open_folder(1 << 20);
    has_no_links = false;
    keep(first, 1);
    assert_true(has(second, 1)); /* the same secret */
    assert_int_equal(list().n_part, 0);
    qvl_feature_folder_close(first);
    qvl_feature_folder_close(second);
}

static void a_damaged_secret_on_a_full_disk_is_closed_once(void **state)
{
    (void)state;
    qvl_feature_folder_close(open_folder(1 << 20));
    shell("echo torn >%s/qvl-vision-cache", dir);
    n_bad_close = 0;
    limit_files(10);
    struct qvl_feature_folder *folder = NULL;
    struct qvl_error err = {0};
    enum qvl_status status = qvl_feature_folder_open(dir, 1 << 20, &tower, &folder, &err);
    unlimit_files();
    assert_int_equal(status, QVL_ERR_FILE);
    assert_int_equal(n_bad_close, 0);
    qvl_feature_folder_close(open_folder(1 << 20));
}

/* ---- room ---------------------------------------------------------------------------------------- */

static void what_was_not_used_for_longest_goes(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(8 * BLOCK);
    for (uint32_t i = 1; i <= 8; i++)
        keep_aged(folder, i, 1000 + (time_t)i);
    assert_int_equal(list().n, 8);
    assert_true(has(folder, 1)); /* found, */
    keep(folder, 3);             /* kept again: used */
    keep_aged(folder, 9, 2000);  /* 2 goes, and 4, for an eighth is to be free */
    assert_int_equal(count(folder).vision_disk_bytes, 7 * BLOCK);
    assert_int_equal(list().n_byte, 7 * BLOCK);
    for (uint32_t i = 1; i <= 9; i++)
        assert_int_equal(has(folder, i), i != 2 && i != 4);
    qvl_feature_folder_close(folder);
}

static void what_cannot_fit_drives_nobody_out(void **state)
{
    (void)state;
    struct qvl_error err = {0};
    struct qvl_feature_folder *folder = open_folder(2 * BLOCK);
    keep(folder, 1);
    assert_int_equal(keep_n(folder, 2, 2 * BLOCK / 24, &err), QVL_OK);
    assert_int_equal(list().n, 1);
    assert_true(has(folder, 1));
    qvl_feature_folder_close(folder);
    folder = open_folder(1);
    keep(folder, 3);
    assert_int_equal(list().n, 1);
    qvl_feature_folder_close(folder);
}

/* A folder that is smaller from now on. */
static void the_budget_may_shrink(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(1 << 20);
    for (uint32_t i = 1; i <= 40; i++)
        keep_aged(folder, i, 1000 + (time_t)i);
    qvl_feature_folder_close(folder);
    folder = open_folder(16 * BLOCK);
    keep(folder, 41);
    assert_int_equal(list().n, 14);
    for (uint32_t i = 1; i <= 41; i++)
        assert_int_equal(has(folder, i), i > 41 - 14);
    qvl_feature_folder_close(folder);
}

static void foreign_files_stay(void **state)
{
    (void)state;
    static const char *const name[] = {
        "notes.txt", "x.vision", ".vision", "0123456789abcdef.vision", ".0123.part", ".part",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef.vision",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0.vision",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.vision2"};
    struct qvl_feature_folder *folder = open_folder(4 * BLOCK);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        shell("echo mine >'%s/%s' && touch -d @1 '%s/%s'", dir, name[i], dir, name[i]);
    shell("mkdir %s/%064d.vision && ln -s /etc/passwd %s/%063d1.vision", dir, 0, dir, 0);
    for (uint32_t i = 1; i <= 12; i++)
        keep(folder, i);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        shell("test \"$(cat '%s/%s')\" = mine", dir, name[i]);
    shell("test -d %s/%064d.vision && test -L %s/%063d1.vision", dir, 0, dir, 0);
    qvl_feature_folder_close(folder);
}

/* A kill while a file is written leaves a part, and a sum that is too high. */
static void what_a_kill_leaves_goes(void **state)
{
    (void)state;
    char index[128];
    snprintf(index, sizeof index, "%s/qvl-vision-cache", dir);
    struct qvl_feature_folder *folder = open_folder(8 * BLOCK);
    keep(folder, 1);
    qvl_feature_folder_close(folder);
    shell("echo x >%s/.%032d.part && touch -d '2 hours ago' %s/.%032d.part", dir, 1, dir, 1);
    shell("echo x >%s/.%032d.part", dir, 2); /* somebody's who is at it */
    int fd = open(index, O_WRONLY);
    assert_int_equal(pwrite(fd, &(uint64_t){1u << 30}, 8, 40), 8);
    close(fd);
    folder = open_folder(8 * BLOCK);
    keep(folder, 2);
    assert_true(has(folder, 1) && has(folder, 2));
    assert_int_equal(count(folder).vision_disk_bytes, 3 * BLOCK);
    assert_int_equal(list().n_part, 1);
    qvl_feature_folder_close(folder);
}

/* Its room was taken before, and is given back, where it fails, by who writes it. */
static void what_is_being_written_counts(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(8 * BLOCK);
    shell("head -c %d /dev/zero >%s/.%032d.part", 5 * BLOCK - 1, dir, 1);
    keep(folder, 1); /* looks through the folder */
    assert_int_equal(count(folder).vision_disk_bytes, 6 * BLOCK);
    for (uint32_t i = 2; i < 8; i++) {
        keep(folder, i);
        assert_true(list().n <= 3);
        assert_true(has(folder, i));
        assert_int_equal(count(folder).vision_disk_bytes, 5 * BLOCK + list().n_byte);
    }
    assert_int_equal(list().n_part, 1);
    qvl_feature_folder_close(folder);
}

/* ---- processes ----------------------------------------------------------------------------------- */

/* Each opens the folder for itself; some do so for the first time, and make it. */
static void processes_share_one_folder(void **state)
{
    (void)state;
    enum { N_PROCESS = 4, N_EACH = 60, N_KEY = 40, ROOM = 16 };
    pid_t child[N_PROCESS];
    for (int p = 0; p < N_PROCESS; p++) {
        child[p] = fork();
        assert_true(child[p] >= 0);
        if (child[p] == 0) {
            struct qvl_feature_folder *folder = open_folder(ROOM * BLOCK);
            for (uint32_t i = 0; i < N_EACH; i++) {
                uint32_t which = (i * 7 + (uint32_t)p * 3) % N_KEY;
                has(folder, which); /* fails where it has other bits */
                keep(folder, which);
                has(folder, (which + 1) % N_KEY);
            }
            qvl_feature_folder_close(folder);
            _exit(0);
        }
    }
    for (int p = 0; p < N_PROCESS; p++) {
        int status = -1;
        assert_int_equal(waitpid(child[p], &status, 0), child[p]);
        assert_int_equal(status, 0);
    }
    struct qvl_feature_folder *folder = open_folder(ROOM * BLOCK);
    struct listing l = list();
    assert_true(l.n > 0 && l.n_byte <= ROOM * BLOCK);
    assert_true(count(folder).vision_disk_bytes >= l.n_byte);
    assert_int_equal(l.n_part, 0);
    qvl_feature_folder_close(folder);
}

/* ---- a disk that will not ------------------------------------------------------------------------ */

struct told {
    int n;
    char sentence[1024];
};

static void note(void *arg, const char *sentence)
{
    struct told *told = arg;
    told->n++;
    snprintf(told->sentence, sizeof told->sentence, "%s", sentence);
}

/* Files may not grow beyond so many bytes: in the header, between, in the rows. */
static void a_full_disk_costs_what_was_to_be_kept(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(1 << 20);
    struct qvl_error err = {0};
    keep(folder, 1);
    for (rlim_t n = 60; n < 140; n += 20) {
        limit_files(n);
        enum qvl_status status = keep_n(folder, 2, shape.n, &err);
        unlimit_files();
        assert_int_equal(status, QVL_ERR_FILE);
        assert_non_null(strstr(err.text, "cannot write in this folder"));
        assert_int_equal(list().n_part, 0);
        assert_int_equal(list().n, 1);
        assert_int_equal(count(folder).vision_disk_bytes, BLOCK);
    }
    keep(folder, 2);
    assert_true(has(folder, 1) && has(folder, 2));
    qvl_feature_folder_close(folder);
}

static struct qvl_patch_features *new_patch(uint32_t i)
{
    struct qvl_patch_features *patch = NULL;
    struct qvl_feature_key key = key_of(i);
    struct qvl_error err = {0};
    assert_int_equal(qvl_patch_features_new(&key, &patch, &err), QVL_OK);
    patch->features = features_of(i, shape.n);
    return patch;
}

static void a_fault_is_told_once_and_it_goes_on(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(1 << 20);
    struct qvl_feature_writer *writer = NULL;
    struct qvl_error err = {0};
    struct told told = {0};
    for (int round = 0; round < 2; round++) {
        assert_int_equal(qvl_feature_writer_open(folder, note, &told, &writer, &err), QVL_OK);
        if (round == 0)
            limit_files(60);
        for (uint32_t i = 0; i < 10; i++) {
            struct qvl_patch_features *patch = new_patch(i);
            qvl_feature_writer_add(writer, patch, QVL_FEATURE_NEW);
            qvl_patch_features_release(patch); /* the writer has it */
        }
        qvl_feature_writer_close(writer); /* all was tried */
        if (round == 0)
            unlimit_files();
        assert_int_equal(told.n, 1);
        assert_int_equal(list().n, round == 0 ? 0 : 10);
    }
    assert_non_null(strstr(told.sentence, dir));
    for (uint32_t i = 0; i < 10; i++)
        assert_true(has(folder, i));
    qvl_feature_writer_close(NULL);
    qvl_feature_folder_close(folder);
}

struct gate {
    pthread_mutex_t closed; /* the thread that tells waits for it */
    atomic_bool is_told;
};

static void wait_at_gate(void *arg, const char *sentence)
{
    struct gate *gate = arg;
    (void)sentence;
    atomic_store(&gate->is_told, true);
    pthread_mutex_lock(&gate->closed);
    pthread_mutex_unlock(&gate->closed);
}

static void add_large(struct qvl_feature_writer *writer, uint32_t i, enum qvl_feature_use use)
{
    struct qvl_patch_features *patch = new_patch(i);
    patch->features.arena.used_bytes = QVL_MAX_UNWRITTEN_BYTES / 2; /* so it says */
    qvl_feature_writer_add(writer, patch, use);
    qvl_patch_features_release(patch);
}

/* While the writer stands, two new ones fit, and one besides that with which it stands. */
static void what_is_used_again_does_not_crowd_out_what_is_new(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(1 << 20);
    struct qvl_feature_writer *writer = NULL;
    struct qvl_error err = {0};
    struct gate gate = {.closed = PTHREAD_MUTEX_INITIALIZER};
    pthread_mutex_lock(&gate.closed);
    assert_int_equal(qvl_feature_writer_open(folder, wait_at_gate, &gate, &writer, &err), QVL_OK);
    limit_files(60);
    struct qvl_patch_features *patch = new_patch(100);
    qvl_feature_writer_add(writer, patch, QVL_FEATURE_USED_AGAIN);
    qvl_patch_features_release(patch);
    while (!atomic_load(&gate.is_told))
        sched_yield();
    unlimit_files();
    for (uint32_t i = 0; i < 4; i++)
        add_large(writer, i, QVL_FEATURE_USED_AGAIN);
    for (uint32_t i = 4; i < 8; i++)
        add_large(writer, i, QVL_FEATURE_NEW);
    pthread_mutex_unlock(&gate.closed);
    qvl_feature_writer_close(writer);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(has(folder, i), i == 0 || i == 4 || i == 5);
    qvl_feature_folder_close(folder);
}

/* Another process that holds the lock of the folder, as one that was stopped at the wrong moment does; *hold ends it. */
static pid_t begin_holding(int *hold)
{
    int ready[2], end[2];
    char index[128], c;
    snprintf(index, sizeof index, "%s/qvl-vision-cache", dir);
    assert_int_equal(pipe(ready) | pipe(end), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(120); /* who waits for it fails, rather than for ever */
        close(end[1]);
        int fd = open(index, O_RDWR);
        if (fd < 0 || flock(fd, LOCK_EX) != 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        _exit(read(end[0], &c, 1) != 0);
    }
    close(ready[1]);
    close(end[0]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    *hold = end[1];
    return child;
}

static void nobody_waits_for_who_holds_the_lock(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(1 << 20);
    struct qvl_feature_writer *writer = NULL;
    struct qvl_error err = {0};
    struct told told = {0};
    int hold, status = -1;
    keep(folder, 100);
    pid_t child = begin_holding(&hold);
    assert_int_equal(qvl_feature_writer_open(folder, note, &told, &writer, &err), QVL_OK);
    for (uint32_t i = 0; i < 10; i++) {
        struct qvl_patch_features *patch = new_patch(i);
        qvl_feature_writer_add(writer, patch, QVL_FEATURE_NEW);
        qvl_patch_features_release(patch);
    }
    qvl_feature_writer_close(writer);
    assert_int_equal(told.n, 0);
    assert_int_equal(waitpid(child, &status, WNOHANG), 0); /* it still holds it */
    assert_int_equal(list().n, 1);
    assert_true(has(folder, 100));
    close(hold);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    keep(folder, 1);
    assert_true(has(folder, 1));
    assert_int_equal(count(folder).vision_disk_bytes, 2 * BLOCK);
    qvl_feature_folder_close(folder);
}

/* Somebody removes the folder while it is in use. */
static void a_folder_may_go(void **state)
{
    (void)state;
    struct qvl_feature_folder *folder = open_folder(1 << 20);
    struct qvl_error err = {0};
    keep(folder, 1);
    shell("rm -rf %s", dir);
    assert_false(has(folder, 1));
    assert_int_equal(keep_n(folder, 1, shape.n, &err), QVL_ERR_FILE);
    qvl_feature_folder_close(folder);
}

static int make_root(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    shell("rm -rf %s", root);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_was_kept_is_found_with_the_same_bits, begin_test),
        cmocka_unit_test_setup(another_tower_or_shape_finds_nothing, begin_test),
        cmocka_unit_test_setup(names_follow_from_the_folders_secret, begin_test),
        cmocka_unit_test_setup(a_damaged_file_is_removed_whatever_the_damage, begin_test),
        cmocka_unit_test_setup(a_file_under_anothers_name_is_not_used, begin_test),
        cmocka_unit_test_setup(a_files_name_may_hold_anything, begin_test),
        cmocka_unit_test_setup(folders_that_are_not_trusted, begin_test),
        cmocka_unit_test_setup(the_secrets_place_may_hold_anything, begin_test),
        cmocka_unit_test_setup(a_file_system_without_links_is_good_enough, begin_test),
        cmocka_unit_test_setup(a_damaged_secret_on_a_full_disk_is_closed_once, begin_test),
        cmocka_unit_test_setup(what_was_not_used_for_longest_goes, begin_test),
        cmocka_unit_test_setup(what_cannot_fit_drives_nobody_out, begin_test),
        cmocka_unit_test_setup(the_budget_may_shrink, begin_test),
        cmocka_unit_test_setup(foreign_files_stay, begin_test),
        cmocka_unit_test_setup(what_a_kill_leaves_goes, begin_test),
        cmocka_unit_test_setup(what_is_being_written_counts, begin_test),
        cmocka_unit_test_setup(processes_share_one_folder, begin_test),
        cmocka_unit_test_setup(a_full_disk_costs_what_was_to_be_kept, begin_test),
        cmocka_unit_test_setup(a_fault_is_told_once_and_it_goes_on, begin_test),
        cmocka_unit_test_setup(what_is_used_again_does_not_crowd_out_what_is_new, begin_test),
        cmocka_unit_test_setup(nobody_waits_for_who_holds_the_lock, begin_test),
        cmocka_unit_test_setup(a_folder_may_go, begin_test),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
