/* A stack of open folders, each read through its descriptor: what somebody renames or links meanwhile leads nowhere
 * else. */
#include "hub/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static bool push(struct qvl_hub_walk *walk, int fd, const char *name)
{
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    walk->level[walk->n_level].dir = dir;
    memcpy(walk->level[walk->n_level++].name, name, strlen(name) + 1);
    return true;
}

static enum qvl_status open_with(const char *path, int flags, struct qvl_hub_walk *out, struct qvl_error *err)
{
    out->n_level = 0;
    out->is_folder = false;
    if (push(out, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags), ""))
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_FILE, "%s: cannot read the folder: %s", path, qvl_errno_text(errno));
}

enum qvl_status qvl_hub_walk_open(const char *path, struct qvl_hub_walk *out, struct qvl_error *err)
{
    return open_with(path, 0, out, err);
}

enum qvl_status qvl_hub_walk_open_folder(const char *path, struct qvl_hub_walk *out, struct qvl_error *err)
{
    return open_with(path, O_NOFOLLOW, out, err);
}

/* Into the folder that was the last entry. */
static bool enter(struct qvl_hub_walk *walk)
{
    walk->is_folder = false;
    if (walk->n_level == QVL_MAX_HUB_DEPTH)
        return false;
    return push(walk, openat(walk->fd, walk->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), walk->name);
}

/* Out of the innermost folder, which becomes the entry once more. */
static bool leave(struct qvl_hub_walk *walk)
{
    closedir(walk->level[--walk->n_level].dir);
    if (walk->n_level == 0)
        return false;
    walk->fd = dirfd(walk->level[walk->n_level - 1].dir);
    walk->name = walk->level[walk->n_level].name;
    walk->depth = walk->n_level - 1;
    walk->is_leaving = true;
    return fstatat(walk->fd, walk->name, &walk->st, AT_SYMLINK_NOFOLLOW) == 0;
}

bool qvl_hub_walk_next(struct qvl_hub_walk *walk)
{
    if (walk->is_folder && !enter(walk)) {
        walk->is_leaving = true; /* seen as empty */
        return true;
    }
    while (walk->n_level > 0) {
        DIR *dir = walk->level[walk->n_level - 1].dir;
        const struct dirent *entry =
            readdir(dir); /* NOLINT(concurrency-mt-unsafe): the folder is this walk's own */
        if (!entry) {
            if (leave(walk))
                return true;
            continue;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        walk->fd = dirfd(dir);
        walk->name = entry->d_name;
        walk->depth = walk->n_level - 1;
        walk->is_leaving = false;
        if (fstatat(walk->fd, walk->name, &walk->st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        walk->is_folder = S_ISDIR(walk->st.st_mode);
        return true;
    }
    return false;
}

void qvl_hub_walk_skip(struct qvl_hub_walk *walk)
{
    walk->is_folder = false;
}

void qvl_hub_walk_close(struct qvl_hub_walk *walk)
{
    while (walk->n_level > 0)
        closedir(walk->level[--walk->n_level].dir);
}
