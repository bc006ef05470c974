/* Files below one folder: what is found there, and that nothing else can be opened or even be told apart from
 * nothing.
 *
 *     DIR/secret.png
 *     DIR/media/cat.png, "猫 100%#1?.png", sub/clip.mp4
 *               link -> cat.png, out -> ../secret.png, absolute -> /etc/hostname, dir -> sub, up -> .., loop ->
 * loop fifo, socket, sub/ */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "server/media_path.h"

static struct qvl_error err;
static char dir[64];
static struct qvl_media_path *folder;

static void in_dir(char out[256], const char *name)
{
    snprintf(out, 256, "%s/%s", dir, name);
}

static void make_file(const char *name, const char *content)
{
    char path[256];
    in_dir(path, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
}

static void make_link(const char *to, const char *name)
{
    char path[256];
    in_dir(path, name);
    assert_int_equal(symlink(to, path), 0);
}

static int set_up(void **state)
{
    (void)state;
    char path[256];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(dir, "/tmp/qvl-path-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    for (const char *const *sub = (const char *const[]){"media", "media/sub", "media2", NULL}; *sub; sub++) {
        in_dir(path, *sub);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    make_file("secret.png", "secret");
    make_file("media2/other.png", "secret");
    make_file("media/cat.png", "cat");
    make_file("media/猫 100%#1?.png", "Chinese cat");
    make_file("media/sub/clip.mp4", "clip");
    make_link("cat.png", "media/link");
    make_link("../secret.png", "media/out");
    make_link("/etc/hostname", "media/absolute");
    make_link("sub", "media/dir");
    make_link("..", "media/up");
    make_link("loop", "media/loop");
    make_link("media", "way");
    in_dir(path, "media/fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    in_dir(path, "media/socket");
    snprintf(address.sun_path, sizeof address.sun_path, "%.*s", (int)sizeof address.sun_path - 1, path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof address), 0);
    close(s);
    in_dir(path, "way"); /* the folder itself may be a link: the operator has named it */
    assert_int_equal(qvl_media_path_open(path, &folder, &err), QVL_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[96];
    qvl_media_path_close(folder);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static size_t n_open_files(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* From a copy of exactly n bytes, "%s" in it being the name of the test's folder. */
static enum qvl_status open_uri(const char *uri, size_t n, int *fd)
{
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, uri, n);
    memset(&err, 0, sizeof err);
    enum qvl_status status = qvl_media_path_open_file(folder, "x", copy, n, fd, &err);
    free(copy);
    return status;
}

static const char *filled(const char *format)
{
    static char out[512];
    const char *slot = strstr(format, "%s");
    if (!slot)
        return format;
    snprintf(out, sizeof out, "%.*s%s%s", (int)(slot - format), format, dir, slot + 2);
    return out;
}

static void test_found(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *content;
    } list[] = {
        {"file://%s/media/cat.png", "cat"},
        {"file://localhost%s/media/cat.png", "cat"},
        {"file:%s/media/cat.png", "cat"},
        {"FILE://%s/media/sub/clip.mp4", "clip"},
        {"file:///cat.png", "cat"},
        {"file:///sub/clip.mp4", "clip"},
        {"file://cat.png", "cat"},
        {"file://sub/clip.mp4", "clip"},
        {"file:cat.png", "cat"},
        {"cat.png", "cat"},
        {"/cat.png", "cat"},
        {"%s/media/cat.png", "cat"},
        {"./cat.png", "cat"},
        {"sub/../cat.png", "cat"},
        {"file://sub/%2e%2e/cat.png", "cat"},
        {"file:////cat.png", "cat"},
        {"file:///%63at.png", "cat"},
        {"file://%E7%8C%AB%20100%25%231%3f.png", "Chinese cat"},
        {"猫 100%#1?.png", "Chinese cat"},
    };
    size_t n_before = n_open_files();
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        int fd = -1;
        char buffer[32] = "";
        const char *uri = filled(list[i].uri);
        if (open_uri(uri, strlen(uri), &fd))
            fail_msg("%s: %s", uri, err.text);
        assert_int_equal(read(fd, buffer, sizeof buffer), strlen(list[i].content));
        assert_string_equal(buffer, list[i].content);
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        close(fd);
    }
    assert_int_equal(n_open_files(), n_before);
}

/* One sentence for all of them, whether the thing exists or not. */
static void test_not_found(void **state)
{
    (void)state;
    static const char *const list[] = {"none.png",
                                       "file:///none.png",
                                       "sub",
                                       "sub/",
                                       ".",
                                       "/",
                                       "file:///",
                                       "file://%s/media",
                                       "file://%s/media/",
                                       "cat.png/",
                                       "cat.png/x",
                                       "sub/none/x",
                                       "../secret.png",
                                       "file://../secret.png",
                                       "/../secret.png",
                                       "file:///../secret.png",
                                       "sub/../../secret.png",
                                       "file:///%2e%2e/secret.png",
                                       "file:///%2E%2E%2Fsecret.png",
                                       "file:///sub/..%2f../secret.png",
                                       "file:///..%252fsecret.png",
                                       "..\\secret.png",
                                       "%s/secret.png",
                                       "file://%s/secret.png",
                                       "%s/none.png",
                                       "%s/media2/other.png",
                                       "%s/media/../secret.png",
                                       "%s/media/../media2/other.png",
                                       "/etc/passwd",
                                       "file:///etc/passwd",
                                       "/etc/none",
                                       "/proc/self/environ",
                                       "/proc/self/fd/0",
                                       "/dev/zero",
                                       "/dev/null",
                                       "link",
                                       "out",
                                       "absolute",
                                       "dir/clip.mp4",
                                       "up/secret.png",
                                       "up/media/cat.png",
                                       "loop",
                                       "loop/x",
                                       "fifo",
                                       "socket",
                                       "file:///fifo",
                                       "%s/way/cat.png",
                                       "sub/../link",
                                       "https:/cat.png",
                                       "ftp:cat.png"};
    static const char expected[] = "x: there is no such file below the server's media folder";
    size_t n_before = n_open_files();
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        int fd = -7;
        const char *uri = filled(list[i]);
        if (open_uri(uri, strlen(uri), &fd) != QVL_ERR_MEDIA || strcmp(err.text, expected) != 0)
            fail_msg("%s: %s", uri, err.text);
        assert_int_equal(fd, -7);
    }
    assert_int_equal(n_open_files(), n_before);
}

static void test_no_path(void **state)
{
    (void)state;
    static const struct {
        const char *uri;
        size_t n;
        const char *sentence;
    } list[] = {
        {"", 0, "x: the path is empty"},
        {"file:", 5, "x: the path is empty"},
        {"file://", 7, "names the computer"},
        {"a\0b", 3, "x: the path holds a NUL"},
        {"file:///a%00b", 13, "x: the path holds a NUL"},
        {"file:///a\0b", 11, "x: the path holds a NUL"},
        {"file://a\0b", 10, "x: the path holds a NUL"},
        {"file://cat.png%00", 17, "x: the path holds a NUL"},
        {"file:///a%4", 11, "x: \"%\" in a file URI"},
        {"s3://bucket/cat.png", 19, "x: nothing is fetched by s3"},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        int fd = -7;
        if (open_uri(list[i].uri, list[i].n, &fd) != QVL_ERR_ARGUMENT || !strstr(err.text, list[i].sentence))
            fail_msg("%s: %s", list[i].uri, err.text);
        assert_int_equal(fd, -7);
    }
}

static void test_long_paths(void **state)
{
    (void)state;
    static char uri[200000];
    static const char *const head[] = {"", "file:", "file://", "file:///"};
    static const size_t length[] = {QVL_MAX_PATH_BYTES - 1, QVL_MAX_PATH_BYTES, QVL_MAX_PATH_BYTES + 1, 70000,
                                    190000};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        for (size_t k = 0; k < sizeof length / sizeof *length; k++) {
            int fd = -7;
            size_t n_head = strlen(head[i]);
            memcpy(uri, head[i], n_head);
            memset(uri + n_head, 'a', length[k]);
            enum qvl_status status = open_uri(uri, n_head + length[k], &fd);
            assert_true(status == QVL_ERR_MEDIA || status == QVL_ERR_ARGUMENT);
            assert_int_equal(fd, -7);
        }
}

static void test_folders(void **state)
{
    (void)state;
    char path[256];
    struct qvl_media_path *none = NULL;
    for (const char *const *name = (const char *const[]){"none", "secret.png", "media/loop", NULL}; *name; name++) {
        in_dir(path, *name);
        assert_int_equal(qvl_media_path_open(path, &none, &err), QVL_ERR_FILE);
        assert_non_null(strstr(err.text, path));
        assert_null(none);
    }
    qvl_media_path_close(NULL);
    /* the whole disk: the operator's affair, and still without links */
    struct qvl_media_path *root = NULL;
    int fd = -1;
    assert_int_equal(qvl_media_path_open("/", &root, &err), QVL_OK);
    in_dir(path, "media/cat.png");
    assert_int_equal(qvl_media_path_open_file(root, "x", path, strlen(path), &fd, &err), QVL_OK);
    close(fd);
    in_dir(path, "media/link");
    assert_int_equal(qvl_media_path_open_file(root, "x", path, strlen(path), &fd, &err), QVL_ERR_MEDIA);
    qvl_media_path_close(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),      cmocka_unit_test(test_not_found), cmocka_unit_test(test_no_path),
        cmocka_unit_test(test_long_paths), cmocka_unit_test(test_folders),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
