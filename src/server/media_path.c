/* The kernel itself keeps the path below the folder (openat2 with RESOLVE_BENEATH), in one step, so that nothing
 * can be exchanged between a check and the opening. */
#include "server/media_path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/limits.h"
#include "chat/media_uri.h"

struct qvl_media_path {
    int fd;
    size_t n_name;
    char name[PATH_MAX]; /* of the folder, without links, with a slash at its end */
};

static int open_beneath(int folder, const char *path)
{
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK |
                                          O_NOCTTY, /* a FIFO without a writer must not hang us */
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

enum qvl_status qvl_media_path_open(const char *folder, struct qvl_media_path **out, struct qvl_error *err)
{
    struct qvl_media_path *path = calloc(1, sizeof *path);
    if (!path)
        return qvl_fail_memory(err, sizeof *path, "the media folder");
    path->fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (path->fd < 0 || !realpath(folder, path->name)) {
        qvl_fail(err, QVL_ERR_FILE, "%s: cannot open the folder: %s", folder, qvl_errno_text(errno));
        goto fail;
    }
    int self = open_beneath(path->fd, ".");
    if (self < 0) {
        qvl_fail(err, QVL_ERR_FILE, "%s: files below a folder need Linux 5.6 or later (openat2): %s", folder,
                 qvl_errno_text(errno));
        goto fail;
    }
    close(self);
    path->n_name = strlen(path->name);
    if (path->n_name > 1 && path->n_name + 1 < sizeof path->name)
        path->name[path->n_name++] = '/';
    *out = path;
    return QVL_OK;
fail:
    qvl_media_path_close(path);
    return err->status;
}

void qvl_media_path_close(struct qvl_media_path *path)
{
    if (path && path->fd >= 0)
        close(path->fd);
    free(path);
}

/* The path that a URI names, without what only says that it is a file on this computer. */
static enum qvl_status read_path(const char *where, const char *uri, size_t n, struct qvl_arena *arena,
                                 const char **out, struct qvl_error *err)
{
    static const char prefix[] = "file://";
    struct qvl_picture_file file = {0};
    const size_t n_prefix = sizeof prefix - 1;
    char *rewritten = NULL;
    bool is_relative = n > n_prefix && strncasecmp(uri, prefix, n_prefix) == 0 && uri[n_prefix] != '/' &&
                       !(n > n_prefix + 10 && strncasecmp(uri + n_prefix, "localhost/", 10) == 0);
    if (is_relative) { /* llama.cpp's file://PATH, which by the letter names a computer */
        if (!(rewritten = qvl_arena_format(arena, err, "file:%.*s",
                                           (int)(n - n_prefix < 65536 ? n - n_prefix : 65536), uri + n_prefix)))
            return err->status;
        if (strlen(rewritten) != n - n_prefix + 5) /* a NUL, or far too long */
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the path holds a NUL character", where);
        uri = rewritten;
        n = strlen(rewritten);
    }
    enum qvl_status status = qvl_media_uri_read(where, uri, n, "", arena, &file, err);
    *out = file.path;
    return status;
}

enum qvl_status qvl_media_path_open_file(const struct qvl_media_path *path, const char *where, const char *uri,
                                         size_t n, int *out_fd, struct qvl_error *err)
{
    struct qvl_arena arena = {0};
    struct stat st;
    const char *name = NULL;
    enum qvl_status status = read_path(where, uri, n, &arena, &name, err);
    if (status)
        goto fail;
    if (strncmp(name, path->name, path->n_name) == 0)
        name += path->n_name;
    name += strspn(name, "/");
    int fd = open_beneath(path->fd, name[0] ? name : ".");
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        *out_fd = fd;
    } else {
        if (fd >= 0)
            close(fd);
        status = qvl_fail(err, QVL_ERR_MEDIA, "%s: there is no such file below the server's media folder", where);
    }
fail:
    qvl_arena_free(&arena);
    return status;
}
