/* A model's files, one after the other, become a folder that is there whole or not at all.
 *
 * While it is fetched a file is a partial. When its sum is right it gets its name among the blobs or, where it has
 * none there (ModelScope, a plain folder, HF_HUB_DISABLE_SYMLINKS, a file without a sum), its place in the stage:
 * the folder as it will be, under a hidden name. When all are there the links join the stage, one rename makes it
 * the snapshot, and then the revision is written that points to it. Where the snapshot is there already files move
 * into it one by one, config.json last: without that no program takes a folder for a model.
 *
 * Partials have names of our own: they may have holes where pieces are still missing, and huggingface_hub
 * before 1.0 goes on at the end of an .incomplete. */
#include "hub/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/os.h"
#include "hub/lock.h"
#include "hub/snapshot.h"
#include "hub/store.h"
#include "hub/walk.h"

/* ---- names ---------------------------------------------------------------------------------------- */

bool qvl_hub_file_sum(const struct qvl_hub_file *file, char out[QVL_HUB_SUM_BYTES])
{
    out[0] = 0;
    if (file->has_sha256)
        qvl_hex(file->sha256, sizeof file->sha256, out);
    else if (file->has_git_sha1)
        qvl_hex(file->git_sha1, sizeof file->git_sha1, out);
    return out[0] != 0;
}

bool qvl_hub_store_blob(const struct qvl_hub_store *store, const struct qvl_hub_file *file,
                        char path[QVL_HUB_PATH_BYTES])
{
    char sum[QVL_HUB_SUM_BYTES], name[QVL_HUB_SUM_BYTES + 8];
    if (!store->is_hf || store->is_local || !qvl_hub_file_sum(file, sum))
        return false;
    snprintf(name, sizeof name, "blobs/%s", sum);
    return qvl_hub_path_add(path, store->root, name);
}

static enum qvl_status name_partial(const struct qvl_hub_store *store, const struct qvl_hub_file *file,
                                    char path[QVL_HUB_PATH_BYTES], struct qvl_error *err)
{
    char sum[QVL_HUB_SUM_BYTES], name[QVL_HUB_SUM_BYTES + 32];
    bool has_sum = qvl_hub_file_sum(file, sum), is_blob = has_sum && store->has_blobs;
    if (!has_sum) { /* told apart by its name, then */
        struct sha256_ctx hash;
        uint8_t digest[SHA256_DIGEST_SIZE];
        sha256_init(&hash);
        sha256_update(&hash, strlen(file->path), (const uint8_t *)file->path);
        sha256_digest(&hash, sizeof digest, digest);
        qvl_hex(digest, sizeof digest, sum);
    }
    snprintf(name, sizeof name, "%s/%s" QVL_HUB_PARTIAL, is_blob ? "blobs" : ".partial", sum);
    if (!qvl_hub_path_add(path, is_blob ? store->root : store->hidden, name))
        return qvl_hub_path_too_long(store->root, err);
    return QVL_OK;
}

static void remove_ranges(const char *partial)
{
    char path[QVL_HUB_PATH_BYTES + 8];
    snprintf(path, sizeof path, "%s.ranges", partial);
    unlink(path);
}

bool qvl_hub_file_is_at(const char *path, uint64_t n_bytes)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == n_bytes &&
           access(path, R_OK) == 0;
}

/* ---- opening -------------------------------------------------------------------------------------- */

/* A file of this text where none is; for the convenience of others, so a failure is none. */
static void write_once(const char *folder, const char *name, const char *text)
{
    char path[QVL_HUB_PATH_BYTES];
    int fd = -1;
    if (qvl_hub_path_add(path, folder, name))
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return;
    ssize_t n = write(fd, text, strlen(text));
    (void)n;
    close(fd);
}

/* Programs that make backups pass a tagged folder by. */
static void tag_cache(const struct qvl_hub_store *store)
{
    if (store->tagged[0])
        write_once(store->tagged, "CACHEDIR.TAG",
                   "Signature: 8a477f597d28d172789f06886806bc55\n"
                   "# This file is a cache directory tag created by qvl.\n"
                   "# For information about cache directory tags, see:\n"
                   "#\thttps://bford.info/cachedir/\n");
    if (store->is_local)
        write_once(store->tagged, ".gitignore", "*");
}

/* Takes the model's lock and makes its folder. A folder that cannot be written, but is there, may have everything
 * already: then it is opened for reading. */
static enum qvl_status take(struct qvl_hub_store *store, const char *lock, bool *is_busy, struct qvl_error *err)
{
    char inside[QVL_HUB_PATH_BYTES];
    struct qvl_error why = {0};
    if (!qvl_hub_path_add(inside, store->root, "x"))
        return qvl_hub_path_too_long(store->root, err);
    enum qvl_status status = qvl_hub_path_make_parents(inside, &why);
    if (!status && access(store->root, W_OK | X_OK) != 0)
        status =
            qvl_fail(&why, QVL_ERR_FILE, "%s: cannot write in this folder: %s", store->root, qvl_errno_text(errno));
    if (!status)
        status = qvl_hub_lock(lock, &store->lock_fd, is_busy, &why);
    if (!status && !*is_busy) /* huggingface_hub calls a model without snapshots/ corrupted */
        status = qvl_hub_path_make_parents(store->final_dir, &why);
    if (status && !qvl_os_is_folder(store->final_dir)) {
        *err = why;
        return status;
    }
    store->is_read_only = status != QVL_OK;
    if (!store->is_read_only && !*is_busy)
        tag_cache(store);
    return QVL_OK;
}

enum qvl_status qvl_hub_store_open(const struct qvl_hub_ref *ref, const char *commit, const char *local_dir,
                                   struct qvl_hub_store **out, bool *is_busy, struct qvl_error *err)
{
    char lock[QVL_HUB_PATH_BYTES];
    struct qvl_hub_store *store = calloc(1, sizeof *store);
    if (!store)
        return qvl_fail_memory(err, sizeof *store, "a model's place in the cache");
    *is_busy = false;
    store->lock_fd = -1;
    enum qvl_status status = qvl_hub_store_place(store, ref, commit, local_dir, lock, err);
    if (!status)
        status = take(store, lock, is_busy, err);
    if (status || *is_busy)
        qvl_hub_store_close(store);
    else
        *out = store;
    return status;
}

void qvl_hub_store_close(struct qvl_hub_store *store)
{
    if (!store)
        return;
    while (store->n_held > 0)
        qvl_hub_unlock(store->held[--store->n_held].fd);
    qvl_hub_unlock(store->lock_fd);
    free(store->held);
    free(store);
}

const char *qvl_hub_store_folder(const struct qvl_hub_store *store)
{
    return store->root;
}

/* ---- what is there -------------------------------------------------------------------------------- */

/* DIR/.cache/huggingface/download/PATH.metadata: the commit, the sum and the time at which they were true, a line
 * each. */
static bool name_note(const struct qvl_hub_store *store, const struct qvl_hub_file *file,
                      char out[QVL_HUB_PATH_BYTES])
{
    char name[QVL_MAX_HUB_NAME_BYTES + 64];
    int n = snprintf(name, sizeof name, ".cache/huggingface/download/%s.metadata", file->path);
    return n > 0 && (size_t)n < sizeof name && qvl_hub_path_add(out, store->root, name);
}

/* Whether that note says the file's sum, and the file at `path` did not change after it was written. */
static bool is_noted(const struct qvl_hub_store *store, const struct qvl_hub_file *file, const char *path)
{
    char note[QVL_HUB_PATH_BYTES], sum[QVL_HUB_SUM_BYTES], etag[256];
    struct qvl_bytes text = {0};
    struct qvl_error err = {0};
    struct stat st;
    double time_s = 0;
    bool is_same = store->is_hf && qvl_hub_file_sum(file, sum) && name_note(store, file, note) &&
                   stat(path, &st) == 0 && qvl_os_read_file(note, 4096, &text, &err) == QVL_OK && text.n > 0 &&
                   sscanf(text.data, "%*255s %255s %lf", etag, &time_s) == 2 && strcmp(etag, sum) == 0 &&
                   (double)st.st_mtim.tv_sec - 1 <= time_s;
    qvl_bytes_free(&text);
    return is_same;
}

enum qvl_hub_found qvl_hub_store_find(struct qvl_hub_store *store, const struct qvl_hub_file *file,
                                      char path[QVL_HUB_PATH_BYTES])
{
    struct qvl_error err = {0};
    if (qvl_hub_store_blob(store, file, path) && qvl_hub_file_is_at(path, file->n_bytes))
        return QVL_HUB_FOUND;
    if (qvl_hub_path_join(path, store->stage, file->path, &err) == QVL_OK &&
        qvl_hub_file_is_at(path, file->n_bytes))
        return QVL_HUB_FOUND;
    if (qvl_hub_path_join(path, store->final_dir, file->path, &err) == QVL_OK &&
        qvl_hub_file_is_at(path, file->n_bytes))
        return is_noted(store, file, path) ? QVL_HUB_FOUND : QVL_HUB_FOUND_UNCHECKED;
    path[0] = 0;
    return QVL_HUB_NOT_FOUND;
}

enum qvl_status qvl_hub_store_drop(struct qvl_hub_store *store, const struct qvl_hub_file *file,
                                   bool is_folder_kept, struct qvl_error *err)
{
    char path[3][QVL_HUB_PATH_BYTES];
    enum qvl_status status;
    if (!qvl_hub_store_blob(store, file, path[0]))
        path[0][0] = 0;
    if ((status = qvl_hub_path_join(path[1], store->stage, file->path, err)) ||
        (status = qvl_hub_path_join(path[2], store->final_dir, file->path, err)))
        return status;
    for (int i = 0; i < (is_folder_kept ? 2 : 3); i++)
        if (path[i][0] && unlink(path[i]) != 0 && errno != ENOENT && errno != ENOTDIR)
            return qvl_fail(err, QVL_ERR_FILE, "%s: cannot remove: %s", path[i], qvl_errno_text(errno));
    return QVL_OK;
}

/* ---- partials ------------------------------------------------------------------------------------- */

/* While a file is fetched other clients wait for its lock, and then find it there. Who has it already fetches it,
 * too: then it is fetched twice, and nothing worse. */
static enum qvl_status hold(struct qvl_hub_store *store, const struct qvl_hub_file *file, struct qvl_error *err)
{
    char sum[QVL_HUB_SUM_BYTES], name[QVL_HUB_SUM_BYTES + 8], path[QVL_HUB_PATH_BYTES];
    struct qvl_error why = {0};
    bool is_busy = false;
    if (!store->locks[0] || !qvl_hub_file_sum(file, sum))
        return QVL_OK;
    for (size_t i = 0; i < store->n_held; i++)
        if (strcmp(store->held[i].sum, sum) == 0)
            return QVL_OK;
    struct qvl_hub_held *held =
        qvl_grow(store->held, &store->n_held_alloc, store->n_held + 1, sizeof *held, "locks of files", err);
    if (!held)
        return err->status;
    store->held = held;
    held += store->n_held;
    snprintf(name, sizeof name, "%s.lock", sum);
    if (!qvl_hub_path_add(path, store->locks, name) || qvl_hub_lock(path, &held->fd, &is_busy, &why) || is_busy)
        return QVL_OK;
    memcpy(held->sum, sum, sizeof sum);
    store->n_held++;
    return QVL_OK;
}

static void let_go(struct qvl_hub_store *store, const struct qvl_hub_file *file)
{
    char sum[QVL_HUB_SUM_BYTES];
    qvl_hub_file_sum(file, sum);
    for (size_t i = 0; i < store->n_held; i++)
        if (strcmp(store->held[i].sum, sum) == 0) {
            qvl_hub_unlock(store->held[i].fd);
            store->held[i] = store->held[--store->n_held];
            return;
        }
}

enum qvl_status qvl_hub_store_partial(struct qvl_hub_store *store, const struct qvl_hub_file *file,
                                      char path[QVL_HUB_PATH_BYTES], struct qvl_error *err)
{
    struct stat st;
    enum qvl_status status;
    if (store->is_read_only)
        return qvl_fail(
            err, QVL_ERR_FILE,
            "%s: %s is missing in it, and the folder cannot be written: make it yours, or choose another "
            "with --local-dir, HF_HUB_CACHE or MODELSCOPE_CACHE",
            store->final_dir, file->path);
    if ((status = name_partial(store, file, path, err)) || (status = qvl_hub_path_make_parents(path, err)) ||
        (status = hold(store, file, err)))
        return status;
    bool is_there = lstat(path, &st) == 0;
    /* A link, or a second name of another file, would send what is written there. */
    bool is_ours = is_there && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == geteuid();
    if (is_there && !is_ours && (status = qvl_hub_path_remove(path, err)))
        return status;
    if (is_ours)
        return QVL_OK;
    remove_ranges(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", path, qvl_errno_text(errno));
    close(fd);
    return QVL_OK;
}

enum qvl_status qvl_hub_store_commit(struct qvl_hub_store *store, const struct qvl_hub_file *file,
                                     struct qvl_error *err)
{
    char partial[QVL_HUB_PATH_BYTES], path[QVL_HUB_PATH_BYTES];
    struct stat st;
    enum qvl_status status = name_partial(store, file, partial, err);
    if (status)
        return status;
    if (lstat(partial, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != file->n_bytes)
        return qvl_fail(err, QVL_ERR_FILE, "%s: changed by another program while it was fetched", partial);
    if (!store->has_blobs || !qvl_hub_store_blob(store, file, path)) {
        if ((status = qvl_hub_path_join(path, store->stage, file->path, err)) ||
            (status = qvl_hub_path_make_parents(path, err)))
            return status;
    }
    if (rename(partial, path) != 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot rename to %s: %s", partial, path, qvl_errno_text(errno));
    remove_ranges(partial);
    let_go(store, file);
    return QVL_OK;
}

/* ---- the end -------------------------------------------------------------------------------------- */

static void sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

/* Whether the link at `path` leads to the blob of that sum. */
static bool is_link_to(const char *path, const char *sum)
{
    char target[QVL_HUB_PATH_BYTES];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0)
        return false;
    target[n] = 0;
    const char *slash = strrchr(target, '/');
    return slash && strcmp(slash + 1, sum) == 0;
}

/* A link from the stage into the blobs, which lie two folders above it. */
static enum qvl_status link_blob(const char *path, const char *inside, const char *sum, struct qvl_error *err)
{
    char target[QVL_HUB_SUM_BYTES + 3 * QVL_MAX_HUB_NAME_BYTES + 16];
    size_t n = 0;
    int n_up = 2;
    for (const char *c = inside; *c; c++)
        n_up += *c == '/';
    for (int i = 0; i < n_up; i++)
        n += (size_t)snprintf(target + n, sizeof target - n, "../");
    snprintf(target + n, sizeof target - n, "blobs/%s", sum);
    unlink(path);
    if (symlink(target, path) == 0)
        return QVL_OK;
    if (errno == EPERM || errno == EOPNOTSUPP)
        return qvl_fail(err, QVL_ERR_FILE, "%s: no links can be made here: set HF_HUB_DISABLE_SYMLINKS=1", path);
    return qvl_fail(err, QVL_ERR_FILE, "%s: cannot make the link: %s", path, qvl_errno_text(errno));
}

static enum qvl_status copy_file(const char *from, const char *to, struct qvl_error *err)
{
    uint64_t n_bytes = 0;
    int in = -1, out = -1;
    enum qvl_status status = qvl_os_open_file(from, &in, &n_bytes, err);
    if (status)
        return status;
    unlink(to);
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    while (out >= 0 && n_bytes > 0) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, n_bytes < (1u << 30) ? (size_t)n_bytes : 1u << 30, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        n_bytes -= (uint64_t)n;
    }
    if (out < 0 || n_bytes > 0 || fsync(out) != 0)
        status = qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", to, qvl_errno_text(errno));
    if (out >= 0)
        close(out);
    close(in);
    return status;
}

/* The file is in the stage or in the folder itself, the stage's being the newer one. */
static enum qvl_status stage_file(const struct qvl_hub_store *store, const struct qvl_hub_file *file,
                                  struct qvl_error *err)
{
    char blob[QVL_HUB_PATH_BYTES], staged[QVL_HUB_PATH_BYTES], final[QVL_HUB_PATH_BYTES], sum[QVL_HUB_SUM_BYTES];
    enum qvl_status status;
    if ((status = qvl_hub_path_join(staged, store->stage, file->path, err)) ||
        (status = qvl_hub_path_join(final, store->final_dir, file->path, err)))
        return status;
    bool has_blob = qvl_hub_store_blob(store, file, blob) && qvl_hub_file_is_at(blob, file->n_bytes);
    qvl_hub_file_sum(file, sum);
    struct stat st;
    bool is_link = lstat(final, &st) == 0 && S_ISLNK(st.st_mode);
    bool is_right = qvl_hub_file_is_at(final, file->n_bytes) && (!has_blob || !is_link || is_link_to(final, sum));
    if (qvl_hub_file_is_at(staged, file->n_bytes) || is_right)
        return QVL_OK;
    if (!has_blob)
        return qvl_fail(err, QVL_ERR_FILE, "%s: removed by another program while the model was fetched", staged);
    if ((status = qvl_hub_path_make_parents(staged, err)))
        return status;
    return store->has_blobs ? link_blob(staged, file->path, sum, err) : copy_file(blob, staged, err);
}

/* From the stage into the folder that is there already. */
static enum qvl_status move_file(const struct qvl_hub_store *store, const char *name, struct qvl_error *err)
{
    char staged[QVL_HUB_PATH_BYTES], final[QVL_HUB_PATH_BYTES];
    enum qvl_status status;
    if ((status = qvl_hub_path_join(staged, store->stage, name, err)) ||
        (status = qvl_hub_path_join(final, store->final_dir, name, err)))
        return status;
    if (!qvl_os_is_there(staged))
        return QVL_OK;
    if ((status = qvl_hub_path_make_parents(final, err)))
        return status;
    if (rename(staged, final) != 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot rename to %s: %s", staged, final, qvl_errno_text(errno));
    return QVL_OK;
}

static enum qvl_status move_stage(const struct qvl_hub_store *store, const struct qvl_hub_file *file, size_t n,
                                  struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (!qvl_os_is_there(store->stage))
        return QVL_OK;
    if ((status = qvl_hub_path_make_parents(store->final_dir, err)))
        return status;
    sync_folder(store->stage);
    if (!qvl_os_is_there(store->final_dir) && rename(store->stage, store->final_dir) == 0)
        return QVL_OK;
    bool has_config = false;
    for (size_t i = 0; i < n && !status; i++) {
        bool is_config = strcmp(file[i].path, "config.json") == 0;
        has_config |= is_config;
        if (!is_config)
            status = move_file(store, file[i].path, err);
    }
    return !status && has_config ? move_file(store, "config.json", err) : status;
}

/* TEXT becomes the whole of the file, at once. */
static enum qvl_status write_file(const char *path, const char *text, struct qvl_error *err)
{
    char fresh[QVL_HUB_PATH_BYTES + 8];
    enum qvl_status status = qvl_hub_path_make_parents(path, err);
    if (status)
        return status;
    snprintf(fresh, sizeof fresh, "%s.qvl", path);
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    int why = n < 0 ? errno : ENOSPC; /* of a short write */
    bool is_written = n == (ssize_t)strlen(text) && fsync(fd) == 0;
    if (n == (ssize_t)strlen(text) && !is_written)
        why = errno;
    if (fd >= 0)
        close(fd);
    if (is_written && rename(fresh, path) == 0)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", path, qvl_errno_text(is_written ? errno : why));
}

/* What is true of each file now, for `hf download --local-dir` and the next pull. */
static enum qvl_status write_notes(const struct qvl_hub_store *store, const struct qvl_hub_file *file, size_t n,
                                   struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < n && !status && store->is_local && store->is_hf; i++) {
        char path[QVL_HUB_PATH_BYTES], sum[QVL_HUB_SUM_BYTES], text[512];
        if (!qvl_hub_file_sum(&file[i], sum) || !name_note(store, &file[i], path))
            continue;
        snprintf(text, sizeof text, "%s\n%s\n%lld.0\n", store->commit, sum, (long long)time(NULL));
        status = write_file(path, text, err);
    }
    return status;
}

static enum qvl_status write_ref(const struct qvl_hub_store *store, struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    struct qvl_error why = {0};
    if (!store->ref[0])
        return QVL_OK;
    bool is_same = qvl_os_read_file(store->ref, sizeof store->commit, &text, &why) == QVL_OK && text.n > 0 &&
                   strcmp(text.data, store->commit) == 0;
    qvl_bytes_free(&text);
    return is_same ? QVL_OK : write_file(store->ref, store->commit, err);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

/* Partials of this and of earlier commits: under the model's lock they are nobody's. */
static void remove_partials(const struct qvl_hub_store *store)
{
    char blobs[QVL_HUB_PATH_BYTES];
    struct qvl_hub_walk walk;
    struct qvl_error why = {0};
    qvl_hub_path_remove(store->hidden, &why);
    if (!qvl_hub_path_add(blobs, store->root, "blobs") || qvl_hub_walk_open(blobs, &walk, &why))
        return;
    while (qvl_hub_walk_next(&walk)) {
        qvl_hub_walk_skip(&walk);
        if (ends_with(walk.name, QVL_HUB_PARTIAL) || ends_with(walk.name, QVL_HUB_PARTIAL ".ranges"))
            unlinkat(walk.fd, walk.name, 0);
    }
    qvl_hub_walk_close(&walk);
}

/* ---- a model that is read while it comes ------------------------------------------------------------ */

/* No commit begins with a dot, so it is no stage. */
static bool name_view(const struct qvl_hub_store *store, char path[QVL_HUB_PATH_BYTES])
{
    return qvl_hub_path_add(path, store->hidden, ".view");
}

enum qvl_status qvl_hub_store_make_view(struct qvl_hub_store *store, char path[QVL_HUB_PATH_BYTES],
                                        struct qvl_error *err)
{
    enum qvl_status status;
    if (!name_view(store, path))
        return qvl_hub_path_too_long(store->hidden, err);
    if ((status = qvl_hub_path_remove(path, err)) || (status = qvl_hub_path_make_parents(path, err)))
        return status;
    return mkdir(path, 0777) == 0
               ? QVL_OK
               : qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", path, qvl_errno_text(errno));
}

enum qvl_status qvl_hub_store_add_to_view(struct qvl_hub_store *store, const struct qvl_hub_file *file,
                                          bool is_partial, struct qvl_error *err)
{
    char view[QVL_HUB_PATH_BYTES], path[QVL_HUB_PATH_BYTES], target[QVL_HUB_PATH_BYTES];
    enum qvl_status status;
    if (!name_view(store, view))
        return qvl_hub_path_too_long(store->hidden, err);
    if (is_partial)
        status = name_partial(store, file, target, err);
    else
        status = qvl_hub_store_find(store, file, target) ? QVL_OK
                                                         : qvl_fail(err, QVL_ERR_FILE,
                                                                    "%s: removed by another program while the "
                                                                    "model was fetched",
                                                                    file->path);
    if (status || (status = qvl_hub_path_join(path, view, file->path, err)) ||
        (status = qvl_hub_path_make_parents(path, err)))
        return status;
    char *whole = realpath(target, NULL); /* a cache may be named from where the program was started */
    bool is_made = whole && symlink(whole, path) == 0;
    int code = errno;
    free(whole);
    return is_made ? QVL_OK
                   : qvl_fail(err, QVL_ERR_FILE, "%s: cannot make the link: %s", path, qvl_errno_text(code));
}

static bool remove_empty(const char *folder, const char *name)
{
    char path[QVL_HUB_PATH_BYTES];
    return qvl_hub_path_add(path, folder, name) && rmdir(path) == 0;
}

/* What was brought for this program alone; the folder itself was never written. */
static void drop_brought(struct qvl_hub_store *store, const struct qvl_hub_file *file)
{
    char sum[QVL_HUB_SUM_BYTES];
    struct qvl_error why;
    if (!qvl_hub_file_sum(file, sum) || !qvl_hub_blob_is_needed(store->root, sum))
        qvl_hub_store_drop(store, file, true, &why);
}

void qvl_hub_store_leave(struct qvl_hub_store *store, const struct qvl_hub_file *file, size_t n)
{
    char snapshots[QVL_HUB_PATH_BYTES];
    remove_partials(store);
    bool has_folders = strcmp(store->root, store->final_dir) != 0; /* a revision is a folder in snapshots/ */
    if (has_folders)
        rmdir(store->final_dir);
    bool has_revision = !has_folders || !remove_empty(store->root, "snapshots");
    for (size_t i = 0; i < n; i++) /* without a revision nobody looks at what lies there */
        if (!file[i].is_there || !has_revision)
            drop_brought(store, &file[i]);
    if (has_revision)
        return;
    remove_empty(store->root, "blobs");
    remove_empty(store->root, "refs");
    /* What else is there is others'. huggingface_hub calls a model without snapshots/ corrupted. */
    if (rmdir(store->root) != 0 && qvl_hub_path_add(snapshots, store->root, "snapshots"))
        mkdir(snapshots, 0777);
}

enum qvl_status qvl_hub_store_finish(struct qvl_hub_store *store, const struct qvl_hub_file *file, size_t n,
                                     char path[QVL_HUB_PATH_BYTES], struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    memcpy(path, store->final_dir, sizeof store->final_dir);
    if (store->is_read_only)
        return QVL_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = stage_file(store, &file[i], err);
    if (status || (status = move_stage(store, file, n, err)) || (status = write_notes(store, file, n, err)))
        return status;
    sync_folder(store->final_dir);
    if ((status = write_ref(store, err)))
        return status;
    remove_partials(store);
    return QVL_OK;
}
