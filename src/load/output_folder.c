/* The hidden folder lies beside the target, so that it is on the same file system and rename can move it: over
 * nothing, or over an empty folder. Files and folders are synced before and after, so that a machine that stops
 * leaves the old state or the new one. A process that is killed leaves a hidden folder behind, named after its
 * target. */
#include "load/output_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/checked.h"

enum { MAX_PIECE = 64 << 20 }; /* of one write: a signal or a full disk is noticed after it */

/* ---- the place --------------------------------------------------------------------------------------- */

/* Length of the path without slashes at its end; and of the folder that it lies in, 0 where it names none. */
static void split(const char *path, size_t *n_path, size_t *n_parent)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    *n_path = n;
    while (n > 0 && path[n - 1] != '/')
        n--;
    *n_parent = n;
}

/* "." where the path names no folder. The caller frees. */
static char *parent_of(const char *path)
{
    size_t n_path, n_parent;
    split(path, &n_path, &n_parent);
    return n_parent ? strndup(path, n_parent) : strdup(".");
}

static bool is_empty_folder(const char *path)
{
    DIR *dir = opendir(path);
    size_t n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n == 2; /* . and .. */
}

static enum qvl_status check_target(const char *path, struct qvl_error *err)
{
    struct stat st;
    if (path[0] == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the name of the folder to write is empty");
    if (lstat(path, &st) != 0)
        return errno == ENOENT
                   ? QVL_OK
                   : qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s", path, qvl_errno_text(errno));
    if (S_ISDIR(st.st_mode) && is_empty_folder(path))
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_ARGUMENT, "%s is there already: name a folder that is new or empty", path);
}

static enum qvl_status check_room(const char *parent, const char *path, uint64_t n_bytes, struct qvl_error *err)
{
    struct statvfs fs;
    if (statvfs(parent, &fs) != 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s: %s", path, parent, qvl_errno_text(errno));
    uint64_t n_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (n_free >= n_bytes)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_FILE, "%s: needs %.0f MB, and %.0f MB are free there", path, (double)n_bytes / 1e6,
                    (double)n_free / 1e6);
}

/* A name that nobody has, and the folder of that name. */
static enum qvl_status make_hidden(struct qvl_output_folder *folder, struct qvl_error *err)
{
    size_t n_path, n_parent;
    split(folder->path, &n_path, &n_parent);
    for (int i = 0; i < 100; i++) {
        uint32_t number = (uint32_t)getpid() + (uint32_t)i;
        (void)!getrandom(&number, sizeof number, GRND_NONBLOCK); /* without it the number is less surprising */
        free(folder->hidden);
        if (asprintf(&folder->hidden, "%.*s.%.*s.qvl-%08" PRIx32, (int)n_parent, folder->path,
                     (int)(n_path - n_parent), folder->path + n_parent, number) < 0) {
            folder->hidden = NULL;
            return qvl_fail_memory(err, n_path, "the folder to write");
        }
        if (mkdir(folder->hidden, 0777) == 0)
            return QVL_OK;
        if (errno != EEXIST)
            break;
    }
    return qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s", folder->path, qvl_errno_text(errno));
}

enum qvl_status qvl_output_folder_open(const char *path, uint64_t n_bytes, struct qvl_output_folder *out,
                                       struct qvl_error *err)
{
    size_t n_path, n_parent;
    split(path, &n_path, &n_parent);
    struct qvl_output_folder folder = {.path = strndup(path, n_path)};
    char *parent = parent_of(path);
    enum qvl_status status = QVL_OK;
    if (!folder.path || !parent)
        status = qvl_fail_memory(err, n_path, "the folder to write");
    if (status || (status = check_target(folder.path, err)) ||
        (status = check_room(parent, folder.path, n_bytes, err)) || (status = make_hidden(&folder, err)))
        goto fail;
    *out = folder;
    folder = (struct qvl_output_folder){0};
fail:
    free(folder.path);
    free(folder.hidden);
    free(parent);
    return status;
}

/* ---- its end ----------------------------------------------------------------------------------------- */

static enum qvl_status sync_folder(const char *path, struct qvl_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_synced = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL); /* some file systems know no such thing */
    int code = errno;
    if (fd >= 0)
        close(fd);
    return is_synced ? QVL_OK
                     : qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s", path, qvl_errno_text(code));
}

static void forget(struct qvl_output_folder *folder)
{
    free(folder->path);
    free(folder->hidden);
    *folder = (struct qvl_output_folder){0};
}

enum qvl_status qvl_output_folder_commit(struct qvl_output_folder *folder, struct qvl_error *err)
{
    enum qvl_status status = sync_folder(folder->hidden, err);
    if (status)
        return status;
    if (rename(folder->hidden, folder->path) != 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s", folder->path, qvl_errno_text(errno));
    char *parent = parent_of(folder->path);
    struct qvl_error ignored;
    if (parent)
        sync_folder(parent, &ignored); /* it is in its place: no failure may say otherwise */
    free(parent);
    forget(folder);
    return QVL_OK;
}

void qvl_output_folder_discard(struct qvl_output_folder *folder)
{
    DIR *dir = folder->hidden ? opendir(folder->hidden) : NULL;
    for (struct dirent *d; dir && (d = readdir(dir)) != NULL;)
        unlinkat(dirfd(dir), d->d_name, 0); /* fails for . and .. */
    if (dir)
        closedir(dir);
    if (folder->hidden)
        rmdir(folder->hidden);
    forget(folder);
}

/* ---- files ------------------------------------------------------------------------------------------- */

enum qvl_status qvl_output_file_open(const struct qvl_output_folder *folder, const char *name,
                                     struct qvl_output_file *out, struct qvl_error *err)
{
    struct qvl_output_file file = {.fd = -1};
    char *hidden = NULL;
    enum qvl_status status = QVL_OK;
    if (asprintf(&file.path, "%s/%s", folder->path, name) < 0 ||
        asprintf(&hidden, "%s/%s", folder->hidden, name) < 0) {
        status = qvl_fail_memory(err, strlen(name), "the folder to write"); /* asprintf leaves NULL (glibc) */
        goto fail;
    }
    file.fd = open(hidden, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file.fd < 0) {
        status = qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s", file.path, qvl_errno_text(errno));
        goto fail;
    }
    *out = file;
    file.path = NULL;
fail:
    free(file.path);
    free(hidden);
    return status;
}

enum qvl_status qvl_output_file_write(const struct qvl_output_file *file, uint64_t at, const void *data, size_t n,
                                      struct qvl_error *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t got =
            pwrite(file->fd, (const char *)data + done, qvl_min_size(n - done, MAX_PIECE), (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s", file->path,
                            qvl_errno_text(got == 0 ? ENOSPC : errno));
        done += (size_t)got;
    }
    return QVL_OK;
}

enum qvl_status qvl_output_file_finish(struct qvl_output_file *file, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    int code = fsync(file->fd) == 0 ? 0 : errno;
    if (close(file->fd) != 0 && !code)
        code = errno;
    file->fd = -1;
    if (code)
        status = qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s", file->path, qvl_errno_text(code));
    qvl_output_file_close(file);
    return status;
}

void qvl_output_file_close(struct qvl_output_file *file)
{
    if (file->path && file->fd >= 0)
        close(file->fd);
    free(file->path);
    *file = (struct qvl_output_file){.fd = -1};
}
