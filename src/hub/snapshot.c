#include "hub/snapshot.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/os.h"
#include "hub/walk.h"

/* The name of the blob to which a link leads: "../../blobs/NAME", with more "../" from folders inside the snapshot.
 */
static bool read_link(const struct qvl_hub_walk *walk, char name[NAME_MAX + 1])
{
    char target[QVL_HUB_PATH_BYTES];
    ssize_t n = readlinkat(walk->fd, walk->name, target, sizeof target - 1);
    if (n < 0)
        return false;
    target[n] = 0;
    const char *at = target, *blobs = "blobs/";
    while (strncmp(at, "../", 3) == 0)
        at += 3;
    if (at == target || strncmp(at, blobs, strlen(blobs)) != 0)
        return false;
    at += strlen(blobs);
    if (strlen(at) > NAME_MAX || strchr(at, '/') || !qvl_hub_path_is_inside(at))
        return false;
    memcpy(name, at, strlen(at) + 1);
    return true;
}

static struct qvl_hub_own_blob *find(const struct qvl_hub_own *own, const char *name)
{
    for (size_t i = 0; i < own->n; i++)
        if (strcmp(own->blob[i].name, name) == 0)
            return &own->blob[i];
    return NULL;
}

static enum qvl_status add(struct qvl_hub_own *own, const char *root, const char *name, struct qvl_error *err)
{
    char blobs[QVL_HUB_PATH_BYTES], path[QVL_HUB_PATH_BYTES];
    struct stat st;
    struct qvl_hub_own_blob *blob = qvl_grow(own->blob, &own->n_alloc, own->n + 1, sizeof *blob, "a snapshot", err);
    if (!blob)
        return err->status;
    own->blob = blob;
    blob += own->n++;
    *blob = (struct qvl_hub_own_blob){0};
    memcpy(blob->name, name, strlen(name) + 1);
    if (qvl_hub_path_add(blobs, root, "blobs") && qvl_hub_path_add(path, blobs, name) && lstat(path, &st) == 0 &&
        S_ISREG(st.st_mode))
        blob->n_bytes = (uint64_t)st.st_size;
    return QVL_OK;
}

/* All snapshots are read twice: first the one in question, then the others. */
static enum qvl_status read_snapshots(struct qvl_hub_walk *walk, const char *root, const char *commit, bool is_it,
                                      struct qvl_hub_own *own, struct qvl_error *err)
{
    char name[NAME_MAX + 1];
    enum qvl_status status = QVL_OK;
    while (!status && qvl_hub_walk_next(walk)) {
        if (walk->depth == 0) {
            bool is_wanted = (strcmp(walk->name, commit) == 0) == is_it;
            own->n_other += is_wanted && !is_it && !walk->is_leaving && S_ISDIR(walk->st.st_mode);
            if (!is_wanted)
                qvl_hub_walk_skip(walk);
            continue;
        }
        if (is_it && S_ISREG(walk->st.st_mode))
            own->n_bytes += (uint64_t)walk->st.st_size;
        if (!S_ISLNK(walk->st.st_mode) || !read_link(walk, name))
            continue;
        struct qvl_hub_own_blob *blob = find(own, name);
        if (is_it && !blob)
            status = add(own, root, name, err);
        else if (!is_it && blob)
            blob->is_shared = true;
    }
    return status;
}

enum qvl_status qvl_hub_own_read(const char *root, const char *commit, struct qvl_hub_own *out,
                                 struct qvl_error *err)
{
    char path[QVL_HUB_PATH_BYTES];
    *out = (struct qvl_hub_own){0};
    if (!qvl_hub_path_add(path, root, "snapshots"))
        return qvl_hub_path_too_long(root, err);
    for (int pass = 0; pass < 2; pass++) {
        struct qvl_hub_walk walk;
        enum qvl_status status = qvl_hub_walk_open(path, &walk, err);
        if (!status) {
            status = read_snapshots(&walk, root, commit, pass == 0, out, err);
            qvl_hub_walk_close(&walk);
        }
        if (status) {
            qvl_hub_own_free(out);
            return status;
        }
    }
    for (size_t i = 0; i < out->n; i++)
        out->n_bytes += out->blob[i].is_shared ? 0 : out->blob[i].n_bytes;
    return QVL_OK;
}

bool qvl_hub_blob_is_needed(const char *root, const char *name)
{
    char path[QVL_HUB_PATH_BYTES], target[NAME_MAX + 1];
    struct qvl_hub_walk walk;
    struct qvl_error why = {0};
    bool is_needed = false;
    if (!qvl_hub_path_add(path, root, "snapshots") || qvl_hub_walk_open(path, &walk, &why))
        return qvl_os_is_there(path);
    while (!is_needed && qvl_hub_walk_next(&walk))
        is_needed = S_ISLNK(walk.st.st_mode) && read_link(&walk, target) && strcmp(target, name) == 0;
    qvl_hub_walk_close(&walk);
    return is_needed;
}

void qvl_hub_own_free(struct qvl_hub_own *own)
{
    free(own->blob);
    *own = (struct qvl_hub_own){0};
}
