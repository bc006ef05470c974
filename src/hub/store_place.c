/* Where a model lies: the layouts of both ecosystems, and that of a plain folder.
 *
 *   Hugging Face       HF_HUB_CACHE/models--OWNER--NAME/   blobs/SUM            each file under its sum
 *                                                          snapshots/COMMIT/…   links into blobs
 *                                                          refs/main            holds COMMIT
 *   ModelScope         MODELSCOPE_CACHE/models/OWNER--NAME/snapshots/REVISION/…           the files themselves
 *     its older ones   [hub/]models/OWNER/NAME, gone on with where there is one, as its own SDK does
 *   a plain folder     DIR/…, and in DIR/.cache/huggingface what `hf download --local-dir` keeps there
 *
 * Source of truth: huggingface_hub 2.4 (file_download.py, _local_folder.py), modelscope-hub 0.5 (_download.py). */
#include "hub/store.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "hub/places.h"

static enum qvl_status place_at_hf(struct qvl_hub_store *store, const struct qvl_hub_places *places,
                                   const struct qvl_hub_ref *ref, char lock[QVL_HUB_PATH_BYTES],
                                   struct qvl_error *err)
{
    char name[256], part[QVL_HUB_PATH_BYTES];
    enum qvl_status status;
    if (!places->hf_cache[0])
        return qvl_fail(err, QVL_ERR_FILE, "no folder for models of Hugging Face is known: set HF_HUB_CACHE");
    if (strchr(store->commit, '/'))
        return qvl_fail(err, QVL_ERR_FILE, "\"%.200s\" is no commit: refused", store->commit);
    snprintf(name, sizeof name, "models--%s--%s", ref->owner, ref->name);
    if ((status = qvl_hub_path_join(store->root, places->hf_cache, name, err)) ||
        (status = qvl_hub_path_join(part, store->root, "snapshots", err)) ||
        (status = qvl_hub_path_join(store->final_dir, part, store->commit, err)) ||
        (status = qvl_hub_path_join(part, store->root, "refs", err)) ||
        (status = qvl_hub_path_join(store->ref, part, ref->revision[0] ? ref->revision : "main", err)) ||
        (status = qvl_hub_path_join(part, places->hf_cache, ".locks", err)) ||
        (status = qvl_hub_path_join(store->locks, part, name, err)) ||
        (status = qvl_hub_path_join(lock, store->locks, "qvl.lock", err)))
        return status;
    if (strcmp(ref->revision, store->commit) == 0)
        store->ref[0] = 0;
    memcpy(store->tagged, places->hf_cache, sizeof store->tagged);
    store->has_blobs = !places->no_links;
    return QVL_OK;
}

/* Where an older modelscope has begun, its successors go on; another copy beside it they would not look at. */
static bool find_old(const struct qvl_hub_places *places, const struct qvl_hub_ref *ref,
                     char out[QVL_HUB_PATH_BYTES])
{
    for (uint32_t i = 0; i < QVL_HUB_N_OLD_WRITTEN; i++)
        if (qvl_hub_places_old_modelscope(places, ref, i, out) && qvl_os_is_folder(out) && rmdir(out) != 0)
            return true; /* (an empty one went) */
    return false;
}

static enum qvl_status place_at_modelscope(struct qvl_hub_store *store, const struct qvl_hub_places *places,
                                           const struct qvl_hub_ref *ref, char lock[QVL_HUB_PATH_BYTES],
                                           struct qvl_error *err)
{
    char name[256], part[QVL_HUB_PATH_BYTES];
    enum qvl_status status;
    if (!places->ms_cache[0])
        return qvl_fail(err, QVL_ERR_FILE, "no folder for models of ModelScope is known: set MODELSCOPE_CACHE");
    snprintf(name, sizeof name, "qvl-%s--%s.lock", ref->owner, ref->name);
    if ((status = qvl_hub_path_join(part, places->ms_cache, ".lock", err)) ||
        (status = qvl_hub_path_join(lock, part, name, err)))
        return status;
    if (find_old(places, ref, store->root)) {
        memcpy(store->final_dir, store->root, sizeof store->root);
        return QVL_OK;
    }
    snprintf(name, sizeof name, "models/%s--%s", ref->owner, ref->name);
    if ((status = qvl_hub_path_join(store->root, places->ms_cache, name, err)) ||
        (status = qvl_hub_path_join(part, store->root, "snapshots", err)))
        return status;
    return qvl_hub_path_join(store->final_dir, part, store->commit, err);
}

static enum qvl_status place_locally(struct qvl_hub_store *store, const char *dir, char lock[QVL_HUB_PATH_BYTES],
                                     struct qvl_error *err)
{
    char here[QVL_HUB_PATH_BYTES] = "";
    store->is_local = true;
    if (dir[0] != '/' && !getcwd(here, sizeof here))
        return qvl_hub_path_too_long(dir, err);
    if (!qvl_hub_path_add(store->root, here, dir[0] == '/' ? dir + 1 : dir) ||
        !qvl_hub_path_add(store->tagged, store->root, ".cache/huggingface") ||
        !qvl_hub_path_add(lock, store->tagged, "qvl.lock"))
        return qvl_hub_path_too_long(dir, err);
    memcpy(store->final_dir, store->root, sizeof store->root);
    return QVL_OK;
}

/* Beside the snapshots and as deep, so that links in it keep their meaning when it is renamed; in folders that have
 * no such place, where their own clients keep what is not for others. */
static bool place_stage(struct qvl_hub_store *store)
{
    bool is_snapshot = strcmp(store->root, store->final_dir) != 0;
    const char *hidden = store->is_local ? ".cache/huggingface/qvl" : is_snapshot ? ".qvl-part" : "._____temp/qvl";
    return qvl_hub_path_add(store->hidden, store->root, hidden) &&
           qvl_hub_path_add(store->stage, store->hidden, is_snapshot ? store->commit : "stage");
}

enum qvl_status qvl_hub_store_place(struct qvl_hub_store *store, const struct qvl_hub_ref *ref, const char *commit,
                                    const char *local_dir, char lock[QVL_HUB_PATH_BYTES], struct qvl_error *err)
{
    struct qvl_hub_places places;
    enum qvl_status status = qvl_hub_places_read(&places, err);
    if (status)
        return status;
    if (strlen(commit) >= sizeof store->commit || commit[0] == '.' || !qvl_hub_path_is_inside(commit))
        return qvl_fail(err, QVL_ERR_FILE, "\"%.200s\" is no commit: refused", commit);
    memcpy(store->commit, commit, strlen(commit) + 1);
    store->is_hf = ref->source != QVL_HUB_MODELSCOPE;
    if (local_dir)
        status = place_locally(store, local_dir, lock, err);
    else if (store->is_hf)
        status = place_at_hf(store, &places, ref, lock, err);
    else
        status = place_at_modelscope(store, &places, ref, lock, err);
    return !status && !place_stage(store) ? qvl_hub_path_too_long(store->root, err) : status;
}
