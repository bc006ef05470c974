/* Removing a model. What makes it one goes first, in one step: a kill in the middle leaves what is no model any
 * more, and can be removed again. */
#include "hub/hub.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/os.h"
#include "hub/lock.h"
#include "hub/places.h"
#include "hub/snapshot.h"
#include "hub/walk.h"

enum { MAX_LOCK = 512 };

static enum qvl_status in_use(const char *folder, struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_FILE, "%s: another program fetches this model just now; nothing was removed",
                    folder);
}

#define REMOVED ".qvl-removed."

/* What a kill in the middle of an earlier removal has left. */
static void remove_leftovers(const char *beside)
{
    char path[QVL_HUB_PATH_BYTES];
    struct qvl_hub_walk walk;
    struct qvl_error why = {0};
    if (qvl_hub_walk_open(beside, &walk, &why))
        return;
    while (qvl_hub_walk_next(&walk)) {
        qvl_hub_walk_skip(&walk);
        if (strncmp(walk.name, REMOVED, strlen(REMOVED)) == 0 && qvl_hub_path_add(path, beside, walk.name))
            qvl_hub_path_remove(path, &why);
    }
    qvl_hub_walk_close(&walk);
}

/* Under a name that no program looks at, then away with it. `beside`: a folder on the same disk. */
static enum qvl_status remove_at_once(const char *folder, const char *beside, struct qvl_error *err)
{
    char hidden[QVL_HUB_PATH_BYTES], name[64];
    snprintf(name, sizeof name, REMOVED "%ld", (long)getpid());
    remove_leftovers(beside);
    if (!qvl_hub_path_add(hidden, beside, name))
        return qvl_hub_path_too_long(folder, err);
    if (rename(folder, hidden) != 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot remove: %s", folder, qvl_errno_text(errno));
    return qvl_hub_path_remove(hidden, err);
}

/* ---- Hugging Face ---------------------------------------------------------------------------------- */

/* Takes all locks of the model, one for each file that somebody has ever fetched. */
static enum qvl_status take_locks(const char *locks, int fd[MAX_LOCK], size_t *n, struct qvl_error *err)
{
    struct qvl_hub_walk walk;
    struct qvl_error why = {0};
    bool is_busy = false;
    if (qvl_hub_walk_open(locks, &walk, &why))
        return QVL_OK; /* nobody has ever fetched it here */
    while (!is_busy && *n < MAX_LOCK && qvl_hub_walk_next(&walk)) {
        char path[QVL_HUB_PATH_BYTES];
        qvl_hub_walk_skip(&walk);
        if (S_ISREG(walk.st.st_mode) && qvl_hub_path_add(path, locks, walk.name) &&
            qvl_hub_lock(path, &fd[*n], &is_busy, &why) == QVL_OK && !is_busy)
            ++*n;
    }
    qvl_hub_walk_close(&walk);
    return is_busy ? in_use(locks, err) : QVL_OK;
}

/* Revisions that lead to this commit. */
static void remove_refs(const char *root, const char *commit)
{
    char refs[QVL_HUB_PATH_BYTES], path[QVL_HUB_PATH_BYTES];
    struct qvl_hub_walk walk;
    struct qvl_error why = {0};
    if (!qvl_hub_path_add(refs, root, "refs") || qvl_hub_walk_open(refs, &walk, &why))
        return;
    while (qvl_hub_walk_next(&walk)) {
        struct qvl_bytes text = {0};
        qvl_hub_walk_skip(&walk);
        if (S_ISREG(walk.st.st_mode) && qvl_hub_path_add(path, refs, walk.name) &&
            qvl_os_read_file(path, 256, &text, &why) == QVL_OK && text.n > 0 && strcmp(text.data, commit) == 0)
            unlinkat(walk.fd, walk.name, 0);
        qvl_bytes_free(&text);
    }
    qvl_hub_walk_close(&walk);
}

static enum qvl_status remove_snapshot(const char *cache, const char *root, const char *folder, const char *commit,
                                       struct qvl_error *err)
{
    char blobs[QVL_HUB_PATH_BYTES], path[QVL_HUB_PATH_BYTES];
    struct qvl_hub_own own;
    enum qvl_status status = qvl_hub_own_read(root, commit, &own, err);
    if (status)
        return status;
    if (own.n_other == 0) {
        qvl_hub_own_free(&own);
        return remove_at_once(root, cache, err);
    }
    remove_refs(root, commit);
    status = remove_at_once(folder, root, err);
    for (size_t i = 0; i < own.n && !status; i++)
        if (!own.blob[i].is_shared && qvl_hub_path_add(blobs, root, "blobs") &&
            qvl_hub_path_join(path, blobs, own.blob[i].name, err) == QVL_OK)
            status = qvl_hub_path_remove(path, err);
    qvl_hub_own_free(&own);
    return status;
}

/* The part of `path` behind ROOT/snapshots/, or NULL. */
static const char *behind_snapshots(const char *path, const char *root)
{
    const char *middle = "/snapshots/";
    size_t n = strlen(root);
    if (strncmp(path, root, n) != 0 || strncmp(path + n, middle, strlen(middle)) != 0)
        return NULL;
    const char *commit = path + n + strlen(middle);
    return qvl_hub_path_is_inside(commit) ? commit : NULL;
}

static enum qvl_status not_there(const char *folder, struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_FILE, "%s: no model of a cache is there", folder);
}

static enum qvl_status remove_at_hf(const struct qvl_hub_places *places, const struct qvl_hub_model *model,
                                    struct qvl_error *err)
{
    char root[QVL_HUB_PATH_BYTES], locks[QVL_HUB_PATH_BYTES], name[256];
    int fd[MAX_LOCK];
    size_t n_fd = 0;
    snprintf(name, sizeof name, "models--%s--%s", model->ref.owner, model->ref.name);
    if (!qvl_hub_path_add(root, places->hf_cache, name) || !qvl_hub_path_add(locks, places->hf_cache, ".locks") ||
        !qvl_hub_path_add(locks, locks, name))
        return qvl_hub_path_too_long(places->hf_cache, err);
    const char *commit = behind_snapshots(model->folder, root);
    bool is_all = strcmp(model->folder, root) == 0;
    if ((!commit && !is_all) || !qvl_os_is_folder(model->folder))
        return not_there(model->folder, err);
    enum qvl_status status = take_locks(locks, fd, &n_fd, err);
    if (!status)
        status = is_all ? remove_at_once(root, places->hf_cache, err)
                        : remove_snapshot(places->hf_cache, root, model->folder, commit, err);
    if (!status && !qvl_os_is_there(root))
        status = qvl_hub_path_remove(locks, err);
    while (n_fd > 0)
        qvl_hub_unlock(fd[--n_fd]);
    return status;
}

/* ---- ModelScope ------------------------------------------------------------------------------------ */

static enum qvl_status remove_at_modelscope(const struct qvl_hub_places *places, const struct qvl_hub_model *model,
                                            struct qvl_error *err)
{
    char root[QVL_HUB_PATH_BYTES], lock[QVL_HUB_PATH_BYTES], part[QVL_HUB_PATH_BYTES], name[256];
    const struct qvl_hub_ref *ref = &model->ref;
    bool is_busy = false, is_old = false;
    int fd = -1;
    for (uint32_t i = 0; !is_old && qvl_hub_places_old_modelscope(places, ref, i, root); i++)
        is_old = strcmp(root, model->folder) == 0;
    snprintf(name, sizeof name, "models/%s--%s", ref->owner, ref->name);
    if (!qvl_hub_path_add(root, places->ms_cache, name) || !qvl_hub_path_add(part, root, "snapshots"))
        return qvl_hub_path_too_long(places->ms_cache, err);
    snprintf(name, sizeof name, ".lock/qvl-%s--%s.lock", ref->owner, ref->name);
    if (!qvl_hub_path_add(lock, places->ms_cache, name))
        return qvl_hub_path_too_long(places->ms_cache, err);
    bool is_snapshot = behind_snapshots(model->folder, root), is_all = strcmp(model->folder, root) == 0;
    if ((!is_old && !is_snapshot && !is_all) || !qvl_os_is_folder(model->folder))
        return not_there(model->folder, err);
    enum qvl_status status = qvl_hub_lock(lock, &fd, &is_busy, err);
    if (!status && is_busy)
        status = in_use(model->folder, err);
    if (!status)
        status = remove_at_once(model->folder, places->ms_cache, err);
    if (!status && is_snapshot && rmdir(part) == 0) /* it was the last one */
        status = qvl_hub_path_remove(root, err);
    if (!status)
        unlink(lock);
    qvl_hub_unlock(fd);
    return status;
}

/* ---- qvl's own ------------------------------------------------------------------------------------- */

static enum qvl_status remove_packed(const struct qvl_hub_places *places, const struct qvl_hub_model *model,
                                     struct qvl_error *err)
{
    char folder[QVL_HUB_PATH_BYTES];
    enum qvl_status status = qvl_hub_packed_path(&model->ref, "", folder, err);
    if (status)
        return status;
    if (strcmp(folder, model->folder) != 0 || !qvl_os_is_folder(folder))
        return not_there(model->folder, err);
    return remove_at_once(folder, places->packed, err);
}

enum qvl_status qvl_hub_remove(const struct qvl_hub_model *model, struct qvl_error *err)
{
    struct qvl_hub_places places;
    enum qvl_status status = qvl_hub_places_read(&places, err);
    if (status)
        return status;
    if (model->is_qvl)
        return remove_packed(&places, model, err);
    return model->ref.source == QVL_HUB_MODELSCOPE ? remove_at_modelscope(&places, model, err)
                                                   : remove_at_hf(&places, model, err);
}
