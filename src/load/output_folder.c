/* What is hidden lies beside the target, so that it is on the same file system and rename can move it: over
 * nothing, or a folder over an empty one. Files and folders are synced before and after, so that a machine that
 * stops leaves the old state or the new one. A folder of a process that was killed stays, named after its target
 * and without a lock: the next one for that target removes it. */
#include "load/output_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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

/* A name that nobody has, and what make has made of that name. */
static enum qvl_status make_hidden(const char *path, int (*make)(const char *name), int *made, char **out,
                                   struct qvl_error *err)
{
    size_t n_path, n_parent;
    split(path, &n_path, &n_parent);
    for (int i = 0; i < 100; i++) {
        uint32_t number = (uint32_t)getpid() + (uint32_t)i;
        (void)!getrandom(&number, sizeof number, GRND_NONBLOCK); /* without it the number is less surprising */
        free(*out);
        if (asprintf(out, "%.*s.%.*s.qvl-%08" PRIx32, (int)n_parent, path, (int)(n_path - n_parent),
                     path + n_parent, number) < 0) {
            *out = NULL;
            return qvl_fail_memory(err, n_path, "the name to write");
        }
        if ((*made = make(*out)) >= 0)
            return QVL_OK;
        if (errno != EEXIST)
            break;
    }
    free(*out);
    *out = NULL;
    return qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s", path, qvl_errno_text(errno));
}

static int make_folder(const char *name)
{
    return mkdir(name, 0777);
}

static void remove_flat(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *d; dir && (d = readdir(dir)) != NULL;)
        unlinkat(dirfd(dir), d->d_name, 0); /* fails for . and .. */
    if (dir)
        closedir(dir);
    rmdir(path);
}

/* What processes that were killed have left of this target: .NAME.qvl-XXXXXXXX, which nobody holds. One that was
 * made just now and is not locked yet is empty, and so is no loss to anybody but its maker, who says so. */
static void remove_leftovers(const char *parent, const char *path)
{
    static const char middle[] = ".qvl-";
    size_t n_path, n_parent;
    split(path, &n_path, &n_parent);
    size_t n_name = n_path - n_parent, n_all = 1 + n_name + sizeof middle - 1 + 8;
    DIR *dir = opendir(parent);
    for (struct dirent *d; dir && (d = readdir(dir)) != NULL;) {
        const char *name = d->d_name;
        char *hidden = NULL;
        if (strlen(name) != n_all || name[0] != '.' || strncmp(name + 1, path + n_parent, n_name) != 0 ||
            strncmp(name + 1 + n_name, middle, sizeof middle - 1) != 0 ||
            strspn(name + n_all - 8, "0123456789abcdef") != 8)
            continue;
        int fd = openat(dirfd(dir), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && asprintf(&hidden, "%s/%s", parent, name) >= 0)
            remove_flat(hidden);
        free(hidden);
        if (fd >= 0)
            close(fd);
    }
    if (dir)
        closedir(dir);
}

static int make_file(const char *name)
{
    return open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

enum qvl_status qvl_output_folder_open(const char *path, uint64_t n_bytes, struct qvl_output_folder *out,
                                       struct qvl_error *err)
{
    size_t n_path, n_parent;
    split(path, &n_path, &n_parent);
    struct qvl_output_folder folder = {.path = strndup(path, n_path), .lock_fd = -1};
    char *parent = parent_of(path);
    int made;
    enum qvl_status status = QVL_OK;
    if (!folder.path || !parent)
        status = qvl_fail_memory(err, n_path, "the folder to write");
    if (!status)
        status = check_target(folder.path, err);
    if (!status)
        remove_leftovers(parent, folder.path);
    if (status || (status = check_room(parent, folder.path, n_bytes, err)) ||
        (status = make_hidden(folder.path, make_folder, &made, &folder.hidden, err)))
        goto fail;
    folder.lock_fd = open(folder.hidden, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder.lock_fd >= 0)
        (void)!flock(folder.lock_fd, LOCK_SH); /* a file system without locks removes nothing either */
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

/* What has moved into its place stays there, whatever fails now. */
static void sync_parent(const char *path)
{
    struct qvl_error ignored;
    char *parent = parent_of(path);
    if (parent)
        sync_folder(parent, &ignored);
    free(parent);
}

static void forget(struct qvl_output_folder *folder)
{
    if (folder->hidden && folder->lock_fd >= 0)
        close(folder->lock_fd);
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
    sync_parent(folder->path);
    forget(folder);
    return QVL_OK;
}

void qvl_output_folder_discard(struct qvl_output_folder *folder)
{
    if (folder->hidden)
        remove_flat(folder->hidden);
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
    file.fd = make_file(hidden);
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
    if (!file->hidden)
        qvl_output_file_close(file);
    return status;
}

void qvl_output_file_close(struct qvl_output_file *file)
{
    if (file->path && file->fd >= 0)
        close(file->fd);
    if (file->hidden)
        unlink(file->hidden);
    free(file->path);
    free(file->hidden);
    *file = (struct qvl_output_file){.fd = -1};
}

/* ---- a file of its own ------------------------------------------------------------------------------- */

static enum qvl_status check_file_target(const char *path, struct qvl_error *err)
{
    struct stat st;
    if (path[0] == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "the name of the file to write is empty");
    if (lstat(path, &st) == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s is there already: name a new file", path);
    return errno == ENOENT ? QVL_OK
                           : qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s", path, qvl_errno_text(errno));
}

/* Room is taken at once where the file system can, so that a full disk is said now and not in the end. */
static enum qvl_status take_room(const struct qvl_output_file *file, uint64_t n_bytes, struct qvl_error *err)
{
    if (fallocate(file->fd, 0, 0, (off_t)n_bytes) == 0 ||
        ((errno == EOPNOTSUPP || errno == ENOSYS) && ftruncate(file->fd, (off_t)n_bytes) == 0))
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s", file->path, qvl_errno_text(errno));
}

enum qvl_status qvl_output_file_create(const char *path, uint64_t n_bytes, struct qvl_output_file *out,
                                       struct qvl_error *err)
{
    struct qvl_output_file file = {.path = strdup(path), .fd = -1};
    char *parent = parent_of(path);
    enum qvl_status status = QVL_OK;
    if (!file.path || !parent)
        status = qvl_fail_memory(err, strlen(path), "the name to write");
    if (status || (status = check_file_target(path, err)) || (status = check_room(parent, path, n_bytes, err)) ||
        (status = make_hidden(path, make_file, &file.fd, &file.hidden, err)) ||
        (status = take_room(&file, n_bytes, err)))
        goto fail;
    *out = file;
    file = (struct qvl_output_file){.fd = -1};
fail:
    qvl_output_file_close(&file);
    free(parent);
    return status;
}

enum qvl_status qvl_output_file_commit(struct qvl_output_file *file, struct qvl_error *err)
{
    int result = renameat2(AT_FDCWD, file->hidden, AT_FDCWD, file->path, RENAME_NOREPLACE);
    if (result != 0 && (errno == EINVAL || errno == ENOSYS)) /* a file system that knows no such flag */
        result = rename(file->hidden, file->path);
    if (result != 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot be written: %s", file->path, qvl_errno_text(errno));
    sync_parent(file->path);
    free(file->hidden);
    file->hidden = NULL;
    return QVL_OK;
}
