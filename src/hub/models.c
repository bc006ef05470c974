/* Which models are there: in the cache of Hugging Face, in that of ModelScope as each of its versions has written
 * it, and in qvl's own folder of packed ones. */
#include "hub/hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/os.h"
#include "hub/look.h"
#include "hub/places.h"
#include "hub/snapshot.h"
#include "hub/walk.h"

struct list {
    struct qvl_hub_model *model;
    size_t n, n_alloc;
};

/* ---- one model ------------------------------------------------------------------------------------ */

/* "OWNER--NAME", the rest of a folder's name. No owner and no name has "--" inside. */
static bool parse_folder_name(const char *text, struct qvl_hub_ref *out)
{
    char copy[512];
    struct qvl_error why = {0};
    const char *middle = strstr(text, "--");
    int n = middle ? snprintf(copy, sizeof copy, "%.*s/%s", (int)(middle - text), text, middle + 2) : -1;
    return n > 0 && (size_t)n < sizeof copy && qvl_hub_ref_parse(copy, out, &why) == QVL_OK && !out->revision[0];
}

/* What refs/REVISION says, if that can be a commit. */
static bool read_ref(const char *root, const char *revision, char commit[129])
{
    char folder[QVL_HUB_PATH_BYTES], path[QVL_HUB_PATH_BYTES];
    struct qvl_bytes text = {0};
    struct qvl_error why = {0};
    bool is_good = qvl_hub_path_add(folder, root, "refs") &&
                   qvl_hub_path_join(path, folder, revision, &why) == QVL_OK &&
                   qvl_os_read_file(path, 128, &text, &why) == QVL_OK && text.n > 0;
    if (is_good) {
        size_t n = strcspn(text.data, "\r\n \t");
        memcpy(commit, text.data, n);
        commit[n] = 0;
        is_good = qvl_hub_path_is_inside(commit) && !strchr(commit, '/');
    }
    qvl_bytes_free(&text);
    return is_good;
}

/* The revision that leads to a commit: "" the main one, else a branch or tag, else the commit itself. */
static void name_revision(const char *root, const char *commit, char out[129])
{
    char path[QVL_HUB_PATH_BYTES], found[129];
    struct qvl_hub_walk walk;
    struct qvl_error why = {0};
    out[0] = 0;
    if (read_ref(root, "main", found) && strcmp(found, commit) == 0)
        return;
    snprintf(out, 129, "%s", commit);
    if (!qvl_hub_path_add(path, root, "refs") || qvl_hub_walk_open(path, &walk, &why))
        return;
    while (qvl_hub_walk_next(&walk)) {
        qvl_hub_walk_skip(&walk);
        if (S_ISREG(walk.st.st_mode) && strlen(walk.name) <= 128 && read_ref(root, walk.name, found) &&
            strcmp(found, commit) == 0)
            snprintf(out, 129, "%s", walk.name);
    }
    qvl_hub_walk_close(&walk);
}

static enum qvl_status add(struct list *list, const struct qvl_hub_ref *ref, const char *folder,
                           const struct qvl_hub_look *look, struct qvl_hub_model **out, struct qvl_error *err)
{
    struct qvl_hub_model *model =
        qvl_grow(list->model, &list->n_alloc, list->n + 1, sizeof *model, "the list of models", err);
    if (!model)
        return err->status;
    list->model = model;
    model += list->n++;
    *model = (struct qvl_hub_model){.ref = *ref,
                                    .n_bytes = look->n_bytes,
                                    .n_freed = look->n_bytes,
                                    .changed = look->changed,
                                    .is_whole = look->is_whole};
    memcpy(model->path, look->path, sizeof model->path);
    memcpy(model->folder, folder, strlen(folder) + 1);
    if (out)
        *out = model;
    return QVL_OK;
}

/* ---- OWNER--NAME/snapshots/…: Hugging Face, and ModelScope today ----------------------------------- */

static enum qvl_status add_snapshot(struct list *list, const struct qvl_hub_ref *ref, const char *root,
                                    const char *commit, const char *folder, const struct qvl_hub_look *look,
                                    struct qvl_error *err)
{
    struct qvl_hub_model *model = NULL;
    struct qvl_hub_own own = {0};
    struct qvl_error why = {0};
    enum qvl_status status = add(list, ref, folder, look, &model, err);
    if (status)
        return status;
    if (ref->source == QVL_HUB_MODELSCOPE) {
        if (strcmp(commit, "master") != 0)
            snprintf(model->ref.revision, sizeof model->ref.revision, "%s", commit);
        return QVL_OK;
    }
    name_revision(root, commit, model->ref.revision);
    if (qvl_hub_own_read(root, commit, &own, &why) == QVL_OK) {
        model->n_freed = own.n_bytes;
        qvl_hub_own_free(&own);
    }
    return QVL_OK;
}

/* Its whole snapshots; where there is none, the folder as one that is not whole. */
static enum qvl_status list_repository(struct list *list, const struct qvl_hub_ref *ref, const char *root,
                                       struct qvl_error *err)
{
    char snapshots[QVL_HUB_PATH_BYTES], folder[QVL_HUB_PATH_BYTES];
    struct qvl_hub_look look;
    struct qvl_hub_walk walk;
    struct qvl_error why = {0};
    bool is_family = qvl_hub_is_family_name(ref->name), has_whole = false;
    enum qvl_status status = QVL_OK;
    if (qvl_hub_path_add(snapshots, root, "snapshots") && qvl_hub_walk_open(snapshots, &walk, &why) == QVL_OK) {
        while (!status && qvl_hub_walk_next(&walk)) {
            qvl_hub_walk_skip(&walk);
            if (!S_ISDIR(walk.st.st_mode) || walk.name[0] == '.' || strlen(walk.name) > 128 ||
                qvl_hub_path_join(folder, snapshots, walk.name, &why))
                continue;
            qvl_hub_look(folder, ref->name, &look);
            is_family |= look.is_family;
            has_whole |= look.is_whole;
            if (look.is_whole)
                status = add_snapshot(list, ref, root, walk.name, folder, &look, err);
        }
        qvl_hub_walk_close(&walk);
    }
    if (status || has_whole || !is_family)
        return status;
    look = (struct qvl_hub_look){0};
    qvl_hub_measure(root, &look.n_bytes, &look.changed);
    memcpy(look.path, root, strlen(root) + 1);
    return add(list, ref, root, &look, NULL, err);
}

/* A folder of folders PREFIXOWNER--NAME. */
static enum qvl_status list_repositories(struct list *list, const char *cache, const char *prefix,
                                         enum qvl_hub_source source, struct qvl_error *err)
{
    char root[QVL_HUB_PATH_BYTES];
    struct qvl_hub_ref ref;
    struct qvl_hub_walk walk;
    struct qvl_error why = {0};
    enum qvl_status status = QVL_OK;
    if (!cache[0] || qvl_hub_walk_open(cache, &walk, &why))
        return QVL_OK;
    while (!status && qvl_hub_walk_next(&walk)) {
        qvl_hub_walk_skip(&walk);
        if (strncmp(walk.name, prefix, strlen(prefix)) != 0 ||
            !parse_folder_name(walk.name + strlen(prefix), &ref) ||
            qvl_hub_path_join(root, cache, walk.name, &why) || !qvl_os_is_folder(root))
            continue;
        ref.source = source;
        status = list_repository(list, &ref, root, err);
    }
    qvl_hub_walk_close(&walk);
    return status;
}

/* ---- OWNER/NAME: ModelScope before ----------------------------------------------------------------- */

/* "Qwen", "Qwen3-VL-2B-Instruct"; "___" in a name stands for a dot. */
static bool parse_old_names(const char *owner, const char *name, struct qvl_hub_ref *out)
{
    char text[2 * NAME_MAX + 8];
    struct qvl_error why = {0};
    size_t n = (size_t)snprintf(text, sizeof text, "%s/", owner);
    for (const char *c = name; *c;) {
        bool is_dot = strncmp(c, "___", 3) == 0;
        if (is_dot)
            text[n++] = '.';
        else
            text[n++] = *c;
        c += is_dot ? 3 : 1;
    }
    text[n] = 0;
    return qvl_hub_ref_parse(text, out, &why) == QVL_OK && !out->revision[0];
}

static enum qvl_status list_old(struct list *list, const char *cache, struct qvl_error *err)
{
    char owner[NAME_MAX + 1] = "", folder[QVL_HUB_PATH_BYTES], owners[QVL_HUB_PATH_BYTES];
    struct qvl_hub_ref ref;
    struct qvl_hub_look look;
    struct qvl_hub_walk walk;
    struct qvl_error why = {0};
    enum qvl_status status = QVL_OK;
    if (qvl_hub_walk_open(cache, &walk, &why))
        return QVL_OK;
    while (!status && qvl_hub_walk_next(&walk)) {
        if (walk.depth == 0) {
            memcpy(owner, walk.name, strlen(walk.name) + 1);
            if (strstr(owner, "--") || owner[0] == '.')
                qvl_hub_walk_skip(&walk);
            continue;
        }
        qvl_hub_walk_skip(&walk);
        if (walk.is_leaving || !S_ISDIR(walk.st.st_mode) || !parse_old_names(owner, walk.name, &ref) ||
            qvl_hub_path_join(owners, cache, owner, &why) || qvl_hub_path_join(folder, owners, walk.name, &why))
            continue;
        qvl_hub_look(folder, ref.name, &look);
        ref.source = QVL_HUB_MODELSCOPE;
        if (look.is_family)
            status = add(list, &ref, folder, &look, NULL, err);
    }
    qvl_hub_walk_close(&walk);
    return status;
}

static enum qvl_status list_modelscope(struct list *list, const struct qvl_hub_places *places,
                                       struct qvl_error *err)
{
    static const char *const old[] = {"models", "hub/models", "hub"};
    char folder[QVL_HUB_PATH_BYTES];
    enum qvl_status status = QVL_OK;
    if (!places->ms_cache[0])
        return QVL_OK;
    if (qvl_hub_path_add(folder, places->ms_cache, "models"))
        status = list_repositories(list, folder, "", QVL_HUB_MODELSCOPE, err);
    for (size_t i = 0; i < sizeof old / sizeof *old && !status; i++)
        if (qvl_hub_path_add(folder, places->ms_cache, old[i]))
            status = list_old(list, folder, err);
    return status ? status : list_old(list, places->ms_cache, err);
}

/* ---- packed by qvl --------------------------------------------------------------------------------- */

static enum qvl_status list_packed(struct list *list, const char *packed, struct qvl_error *err)
{
    char folder[QVL_HUB_PATH_BYTES];
    struct qvl_hub_ref ref;
    struct qvl_hub_look look;
    struct qvl_hub_walk walk;
    struct qvl_hub_model *model = NULL;
    struct qvl_error why = {0};
    enum qvl_status status = QVL_OK;
    if (!packed[0] || qvl_hub_walk_open(packed, &walk, &why))
        return QVL_OK;
    while (!status && qvl_hub_walk_next(&walk)) {
        qvl_hub_walk_skip(&walk);
        if (walk.is_leaving || !parse_folder_name(walk.name, &ref) ||
            qvl_hub_path_join(folder, packed, walk.name, &why) || !qvl_os_is_folder(folder))
            continue;
        qvl_hub_look(folder, ref.name, &look);
        if (look.is_family && !(status = add(list, &ref, folder, &look, &model, err)))
            model->is_qvl = true;
    }
    qvl_hub_walk_close(&walk);
    return status;
}

enum qvl_status qvl_hub_packed_path(const struct qvl_hub_ref *ref, const char *type, char out[QVL_HUB_PATH_BYTES],
                                    struct qvl_error *err)
{
    struct qvl_hub_places places;
    char name[256];
    enum qvl_status status = qvl_hub_places_read(&places, err);
    if (status)
        return status;
    if (!places.packed[0])
        return qvl_fail(err, QVL_ERR_FILE, "no folder for packed models is known: set XDG_DATA_HOME");
    snprintf(name, sizeof name, "%s--%s%s%s", ref->owner, ref->name, *type ? "-" : "", type);
    return qvl_hub_path_join(out, places.packed, name, err);
}

/* ---- all ------------------------------------------------------------------------------------------- */

static int newest_first(const void *a, const void *b)
{
    const struct qvl_hub_model *x = a, *y = b;
    if (x->changed != y->changed)
        return x->changed > y->changed ? -1 : 1;
    return strcmp(x->folder, y->folder);
}

enum qvl_status qvl_hub_list(struct qvl_hub_model **out, size_t *n, struct qvl_error *err)
{
    struct qvl_hub_places places;
    struct list list = {0};
    enum qvl_status status;
    if ((status = qvl_hub_places_read(&places, err)) || (status = list_packed(&list, places.packed, err)) ||
        (status = list_repositories(&list, places.hf_cache, "models--", QVL_HUB_HF, err)) ||
        (status = list_modelscope(&list, &places, err))) {
        free(list.model);
        return status;
    }
    if (list.n > 1)
        qsort(list.model, list.n, sizeof *list.model, newest_first);
    *out = list.model;
    *n = list.n;
    return QVL_OK;
}

/* ---- one by its name ------------------------------------------------------------------------------- */

static bool is_whole_at(const char *folder, const char *name, char out[QVL_HUB_PATH_BYTES])
{
    struct qvl_hub_look look;
    qvl_hub_look(folder, name, &look);
    if (look.is_whole)
        memcpy(out, look.path, sizeof look.path);
    return look.is_whole;
}

static bool find_snapshot(const char *root, const char *commit, const char *name, char out[QVL_HUB_PATH_BYTES])
{
    char snapshots[QVL_HUB_PATH_BYTES], folder[QVL_HUB_PATH_BYTES];
    struct qvl_error why = {0};
    return qvl_hub_path_add(snapshots, root, "snapshots") &&
           qvl_hub_path_join(folder, snapshots, commit, &why) == QVL_OK && is_whole_at(folder, name, out);
}

/* The newest whole one, where no revision was named and the usual ones lead nowhere. */
static bool find_newest(const struct qvl_hub_ref *ref, const char *root, char out[QVL_HUB_PATH_BYTES])
{
    struct list list = {0};
    struct qvl_error why = {0};
    bool is_found = list_repository(&list, ref, root, &why) == QVL_OK && list.n > 0;
    if (is_found)
        qsort(list.model, list.n, sizeof *list.model, newest_first);
    is_found = is_found && list.model[0].is_whole;
    if (is_found)
        memcpy(out, list.model[0].path, QVL_HUB_PATH_BYTES);
    free(list.model);
    return is_found;
}

/* Where the cache of that source, QVL_HUB_HF or QVL_HUB_MODELSCOPE, has a model. False: there is no cache. */
static bool find_root(const struct qvl_hub_places *places, const struct qvl_hub_ref *ref,
                      enum qvl_hub_source source, char out[QVL_HUB_PATH_BYTES])
{
    bool is_modelscope = source == QVL_HUB_MODELSCOPE;
    const char *cache = is_modelscope ? places->ms_cache : places->hf_cache;
    char name[256];
    snprintf(name, sizeof name, "%s%s--%s", is_modelscope ? "models/" : "models--", ref->owner, ref->name);
    return cache[0] && qvl_hub_path_add(out, cache, name);
}

static bool find_at_hf(const struct qvl_hub_places *places, const struct qvl_hub_ref *ref,
                       char out[QVL_HUB_PATH_BYTES])
{
    char root[QVL_HUB_PATH_BYTES], commit[129];
    if (!find_root(places, ref, QVL_HUB_HF, root))
        return false;
    if (read_ref(root, ref->revision[0] ? ref->revision : "main", commit) &&
        find_snapshot(root, commit, ref->name, out))
        return true;
    return ref->revision[0] ? find_snapshot(root, ref->revision, ref->name, out) : find_newest(ref, root, out);
}

static bool find_at_modelscope(const struct qvl_hub_places *places, const struct qvl_hub_ref *ref,
                               char out[QVL_HUB_PATH_BYTES])
{
    char root[QVL_HUB_PATH_BYTES];
    if (!find_root(places, ref, QVL_HUB_MODELSCOPE, root))
        return false;
    if (find_snapshot(root, ref->revision[0] ? ref->revision : "master", ref->name, out))
        return true;
    if (ref->revision[0]) /* the older folders do not say which one they are */
        return false;
    for (uint32_t i = 0; qvl_hub_places_old_modelscope(places, ref, i, root); i++)
        if (is_whole_at(root, ref->name, out))
            return true;
    struct qvl_hub_ref at_modelscope = *ref;
    at_modelscope.source = QVL_HUB_MODELSCOPE;
    return find_root(places, ref, QVL_HUB_MODELSCOPE, root) && find_newest(&at_modelscope, root, out);
}

bool qvl_hub_find(const struct qvl_hub_ref *ref, char out[QVL_HUB_PATH_BYTES])
{
    struct qvl_hub_places places;
    struct qvl_error why = {0};
    char packed[QVL_HUB_PATH_BYTES];
    if (qvl_hub_places_read(&places, &why))
        return false;
    bool is_anyone = ref->source == QVL_HUB_AUTO;
    if (is_anyone && !ref->revision[0] && qvl_hub_packed_path(ref, "", packed, &why) == QVL_OK &&
        is_whole_at(packed, ref->name, out))
        return true;
    for (int i = 0; i < 2; i++) {
        bool is_modelscope = places.prefers_modelscope == (i == 0);
        if (is_modelscope && (is_anyone || ref->source == QVL_HUB_MODELSCOPE) &&
            find_at_modelscope(&places, ref, out))
            return true;
        if (!is_modelscope && ref->source != QVL_HUB_MODELSCOPE && find_at_hf(&places, ref, out))
            return true;
    }
    return false;
}

uint64_t qvl_hub_bytes_of(const struct qvl_hub_ref *ref)
{
    struct qvl_hub_places places;
    struct qvl_error why = {0};
    char root[QVL_HUB_PATH_BYTES];
    uint64_t n_bytes = 0;
    int64_t changed;
    if (qvl_hub_places_read(&places, &why) == QVL_OK && find_root(&places, ref, ref->source, root))
        qvl_hub_measure(root, &n_bytes, &changed);
    return n_bytes;
}
