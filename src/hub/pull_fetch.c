/* In: the list of files. Out: the files, each right, in the cache.
 *
 * Each file is an item that goes TO_FETCH -> GATHERED -> DONE, or, if it is there already and nobody vouches for
 * it, TO_CHECK -> DONE (or, where its sum is wrong, to TO_FETCH). Slots are connections: a free one takes the next
 * piece of the first file that has one. Sums are made in slices between the network's, so that neither waits for
 * the other. A file whose sum is right goes to the cache at once: what is killed later does not lose it.
 *
 * Weights of a stream are GATHERED -> RIGHT and stay partials until their reader has done with them
 * (pull_stream.c).
 */
#include "hub/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/language.h"
#include "base/os.h"

enum { SLICE_BYTES = 8 << 20, SPARE_BYTES = 16 << 20, LOOK_MS = 500, STREAM_MS = 30 };

uint64_t qvl_hub_item_n_done(const struct qvl_hub_item *item)
{
    bool is_open = item->state == QVL_HUB_ITEM_GATHERED || item->state == QVL_HUB_ITEM_RIGHT;
    return is_open ? item->gather.n_done : item->n_there;
}

static const struct qvl_hub_file *file_of(const struct qvl_hub_pull *pull, const struct qvl_hub_item *item)
{
    return &pull->listing.file[item - pull->item];
}

static uint64_t count_done(const struct qvl_hub_pull *pull)
{
    uint64_t n = 0;
    for (size_t i = 0; i < pull->listing.n; i++)
        n += qvl_hub_item_n_done(&pull->item[i]);
    return n;
}

/* An earlier file of the list with the same sum that is not done. Their partial is one, so this one waits: then its
 * bytes are among the blobs, or come a second time. */
bool qvl_hub_item_has_twin_before(const struct qvl_hub_pull *pull, const struct qvl_hub_item *item)
{
    const struct qvl_hub_file *file = file_of(pull, item);
    for (size_t i = 0; &pull->item[i] < item; i++) {
        const struct qvl_hub_file *other = &pull->listing.file[i];
        bool is_same = file->has_sha256 ? other->has_sha256 && memcmp(file->sha256, other->sha256, 32) == 0
                                        : file->has_git_sha1 && other->has_git_sha1 && !other->has_sha256 &&
                                              memcmp(file->git_sha1, other->git_sha1, 20) == 0;
        if (is_same && pull->item[i].state != QVL_HUB_ITEM_DONE)
            return true;
    }
    return false;
}

/* ---- what is there ------------------------------------------------------------------------------- */

/* An item is worth what an earlier fetch has left of it. */
static enum qvl_status look_at_partial(struct qvl_hub_pull *pull, struct qvl_hub_item *item, struct qvl_error *err)
{
    char path[4096];
    if (qvl_hub_store_partial(pull->store, file_of(pull, item), path, err) ||
        qvl_hub_gather_open(&item->gather, file_of(pull, item), path, err))
        return err->status;
    item->n_there = item->gather.n_done;
    qvl_hub_gather_close(&item->gather);
    return QVL_OK;
}

static enum qvl_status look_at_store(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    char path[4096];
    for (size_t i = 0; i < pull->listing.n; i++) {
        struct qvl_hub_item *item = &pull->item[i];
        struct qvl_hub_file *file = &pull->listing.file[i];
        enum qvl_hub_found found = qvl_hub_store_find(pull->store, file, path);
        file->is_there = found != QVL_HUB_NOT_FOUND;
        if (!file->is_there && !qvl_hub_item_has_twin_before(pull, item) && look_at_partial(pull, item, err))
            return err->status;
        if (!file->is_there)
            continue;
        item->n_there = file->n_bytes;
        item->state =
            found == QVL_HUB_FOUND && !pull->options.check_all ? QVL_HUB_ITEM_DONE : QVL_HUB_ITEM_TO_CHECK;
    }
    return QVL_OK;
}

/* Without a store, which would make folders: what a model that was fetched before has. */
static void look_without_store(struct qvl_hub_pull *pull)
{
    char folder[4096], path[4096];
    bool is_there = pull->options.local_dir ? snprintf(folder, sizeof folder, "%s", pull->options.local_dir) < 4096
                                            : qvl_hub_find(&pull->chosen->ref, folder);
    char *slash = is_there && !qvl_os_is_folder(folder) ? strrchr(folder, '/') : NULL;
    if (slash)
        *slash = 0; /* a GGUF file in it */
    for (size_t i = 0; i < pull->listing.n && is_there; i++) {
        struct qvl_hub_file *file = &pull->listing.file[i];
        struct stat st;
        file->is_there = qvl_hub_path_add(path, folder, file->path) && stat(path, &st) == 0 &&
                         S_ISREG(st.st_mode) && (uint64_t)st.st_size == file->n_bytes;
        pull->item[i].n_there = file->is_there ? file->n_bytes : 0;
    }
}

enum qvl_status qvl_hub_pull_check_room(const struct qvl_hub_pull *pull, struct qvl_error *err)
{
    struct statvfs disk;
    const char *folder = qvl_hub_store_folder(pull->store);
    if (statvfs(folder, &disk) != 0)
        return QVL_OK; /* the first write will tell */
    uint64_t n_free = (uint64_t)disk.f_bavail * disk.f_frsize;
    uint64_t n_need = qvl_hub_stream_room(pull, pull->n_bytes - count_done(pull));
    if (n_need == 0 || n_need + SPARE_BYTES <= n_free)
        return QVL_OK;
    return qvl_fail(
        err, QVL_ERR_FILE,
        "%.1000s has %.1f GB free, and the model needs %.1f GB more: make room, or choose another disk (HF_HOME, "
        "MODELSCOPE_CACHE)",
        folder, (double)n_free / 1e9, (double)n_need / 1e9);
}

/* The store opens, or is busy: then again later. *is_open. */
static enum qvl_status open_store(struct qvl_hub_pull *pull, bool *is_open, struct qvl_error *err)
{
    struct qvl_hub_ref ref = pull->chosen->ref;
    bool is_busy = false;
    *is_open = false;
    if (qvl_now_ms() < pull->look_ms)
        return qvl_hub_transfers_step(pull->transfers, 100, err);
    ref.source = ref.source == QVL_HUB_MIRROR ? QVL_HUB_HF : ref.source;
    if (qvl_hub_store_open(&ref, pull->commit, pull->options.local_dir, &pull->store, &is_busy, err))
        return err->status;
    *is_open = !is_busy;
    if (is_busy) {
        pull->look_ms = qvl_now_ms() + LOOK_MS;
        qvl_hub_pull_note(pull, "another program fetches this model; waiting for it");
    }
    return QVL_OK;
}

static enum qvl_status plan(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    bool is_open = pull->options.is_dry;
    enum qvl_status status = is_open ? QVL_OK : open_store(pull, &is_open, err);
    if (status || !is_open)
        return status;
    pull->item = calloc(pull->listing.n, sizeof *pull->item);
    if (!pull->item)
        return qvl_fail_memory(err, pull->listing.n * sizeof *pull->item, "the list of files");
    for (size_t i = 0; i < pull->listing.n; i++) {
        pull->item[i].gather.fd = pull->item[i].gather.ranges_fd = pull->item[i].check_fd = -1;
        if (!qvl_add_size(pull->n_bytes, pull->listing.file[i].n_bytes, &pull->n_bytes))
            return qvl_fail(err, QVL_ERR_LIMIT, "the model has more bytes than can be counted");
    }
    if (pull->options.is_dry)
        look_without_store(pull);
    else if (look_at_store(pull, err))
        return err->status;
    pull->n_had = count_done(pull);
    qvl_hub_stream_plan(pull);
    if (pull->options.is_dry)
        pull->stage = QVL_HUB_DONE;
    return pull->options.is_dry ? QVL_OK : qvl_hub_pull_check_room(pull, err);
}

/* ---- connections --------------------------------------------------------------------------------- */

static enum qvl_status take_bytes(void *user, uint64_t at, const void *data, size_t n, struct qvl_error *err)
{
    struct qvl_hub_slot *slot = user;
    struct qvl_hub_gather *g = &slot->item->gather;
    slot->pull->n_fetched += n;
    if (slot->i_piece == UINT32_MAX && at == 0 && qvl_hub_gather_restart(g, err))
        return err->status;
    if (slot->i_piece == UINT32_MAX && at == 0)
        slot->pull->has_restarted |= slot->item->is_stream;
    return qvl_hub_gather_write(g, at, data, n, err);
}

static void free_slot(struct qvl_hub_pull *pull, struct qvl_hub_slot *slot)
{
    if (!slot->item)
        return;
    qvl_hub_call_end(pull->transfers, &slot->call);
    qvl_hub_gather_let_go(&slot->item->gather, slot->i_piece);
    slot->item = NULL;
}

static bool has_slot(const struct qvl_hub_pull *pull, const struct qvl_hub_item *item)
{
    for (uint32_t i = 0; i < pull->n_slot; i++)
        if (pull->slot[i].item == item)
            return true;
    return false;
}

void qvl_hub_item_free_slots(struct qvl_hub_pull *pull, const struct qvl_hub_item *item)
{
    for (uint32_t i = 0; i < pull->n_slot; i++)
        if (pull->slot[i].item == item)
            free_slot(pull, &pull->slot[i]);
}

enum qvl_status qvl_hub_item_open(struct qvl_hub_pull *pull, struct qvl_hub_item *item, struct qvl_error *err)
{
    char path[4096];
    const struct qvl_hub_file *file = file_of(pull, item);
    if (qvl_hub_store_find(pull->store, file, path) == QVL_HUB_FOUND) { /* a twin's */
        item->state = QVL_HUB_ITEM_DONE;
        item->n_there = file->n_bytes;
        return QVL_OK;
    }
    if (qvl_hub_store_partial(pull->store, file, path, err) || qvl_hub_gather_open(&item->gather, file, path, err))
        return err->status;
    item->state = QVL_HUB_ITEM_GATHERED;
    return QVL_OK;
}

/* Something of the item for a free slot: *is_some. */
static enum qvl_status take_work(struct qvl_hub_pull *pull, struct qvl_hub_item *item, struct qvl_hub_slot *slot,
                                 bool *is_some, struct qvl_error *err)
{
    const struct qvl_hub_file *file = file_of(pull, item);
    uint64_t at = 0, end = file->n_bytes;
    *is_some = false;
    if (item->state == QVL_HUB_ITEM_TO_FETCH && !qvl_hub_item_has_twin_before(pull, item) &&
        qvl_hub_item_open(pull, item, err))
        return err->status;
    if (item->state != QVL_HUB_ITEM_GATHERED || qvl_hub_gather_is_full(&item->gather))
        return QVL_OK;
    uint64_t limit = qvl_hub_stream_limit(pull, item);
    slot->i_piece = item->is_whole ? UINT32_MAX : qvl_hub_gather_take_piece(&item->gather, limit, &at, &end);
    if (item->is_whole ? has_slot(pull, item) : slot->i_piece == UINT32_MAX)
        return QVL_OK;
    *is_some = true;
    slot->item = item;
    slot->pull = pull;
    if (qvl_hub_address_of_file(pull->chosen, pull->commit, file->path, &slot->url, err))
        return err->status;
    slot->call = (struct qvl_hub_call){.url = slot->url.data,
                                       .token = pull->chosen->token,
                                       .has_cookie = pull->chosen->source == QVL_HUB_MODELSCOPE,
                                       .stall_ms = pull->stall_ms,
                                       .is_file = true,
                                       .is_whole = item->is_whole,
                                       .at = at,
                                       .end = end,
                                       .n_file = file->n_bytes,
                                       .direct = &item->direct,
                                       .take = take_bytes,
                                       .user = slot};
    return qvl_hub_call_start(pull->transfers, &slot->call, err);
}

static enum qvl_status fill_slots(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    size_t i_item = 0;
    for (uint32_t i = 0; i < pull->n_slot; i++) {
        bool is_some = pull->slot[i].item;
        for (; !is_some && i_item < pull->listing.n; i_item += !is_some)
            if (take_work(pull, &pull->item[i_item], &pull->slot[i], &is_some, err))
                return err->status;
    }
    return QVL_OK;
}

/* The server gives no parts of this file: one connection, from its beginning. */
static enum qvl_status take_whole(struct qvl_hub_pull *pull, struct qvl_hub_item *item, struct qvl_error *err)
{
    qvl_hub_item_free_slots(pull, item);
    item->is_whole = true;
    pull->has_restarted |= item->is_stream;
    return qvl_hub_gather_restart(&item->gather, err);
}

static enum qvl_status fail_fetch(struct qvl_hub_pull *pull, const struct qvl_hub_slot *slot, struct qvl_error *err)
{
    const char *path = file_of(pull, slot->item)->path;
    pull->is_network = slot->call.outcome == QVL_HUB_UNREACHED;
    if (pull->is_stream && pull->is_read && !slot->item->gather.has_no_holes)
        return qvl_fail(err, QVL_ERR_FILE,
                        "%.200s does not come any more: %.240s; what was packed so far is thrown away, and the next "
                        "pull fetches it again (or try another source: hf:, ms:)",
                        path, slot->call.why);
    return qvl_fail(err, QVL_ERR_FILE,
                    "%.200s does not come any more: %.240s; what is here stays, and the next pull goes on from it "
                    "(or try another "
                    "source: hf:, ms:)",
                    path, slot->call.why);
}

/* Who may not have the model learns how to get it; else the list was wrong. */
static enum qvl_status fail_refused(const struct qvl_hub_pull *pull, const struct qvl_hub_slot *slot,
                                    struct qvl_error *err)
{
    if (slot->call.code == 401 || slot->call.code == 403)
        return qvl_hub_fail_refused(pull->chosen, &slot->call, err);
    return qvl_fail(err, QVL_ERR_FILE,
                    "%.200s lists %.200s and does not give it: it answers %ld; try another source (hf:, ms:)",
                    qvl_hub_host(pull->chosen->endpoint), file_of(pull, slot->item)->path, slot->call.code);
}

static enum qvl_status read_slots(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    for (uint32_t i = 0; i < pull->n_slot; i++) {
        struct qvl_hub_slot *slot = &pull->slot[i];
        enum qvl_status status = QVL_OK;
        if (!slot->item)
            continue;
        switch (slot->call.outcome) {
        case QVL_HUB_UNDER_WAY: break;
        case QVL_HUB_ANSWERED: free_slot(pull, slot); break;
        case QVL_HUB_NO_RANGES: status = take_whole(pull, slot->item, err); break;
        case QVL_HUB_REFUSED: status = fail_refused(pull, slot, err); break;
        case QVL_HUB_FAILED:
            *err = slot->call.err;
            status = err->status;
            break;
        case QVL_HUB_UNREACHED:
        case QVL_HUB_UNSAFE: status = fail_fetch(pull, slot, err); break;
        }
        if (status)
            return status;
    }
    return QVL_OK;
}

/* ---- sums ---------------------------------------------------------------------------------------- */

static enum qvl_status fail_sum(const struct qvl_hub_pull *pull, const struct qvl_hub_item *item, const char *found,
                                struct qvl_error *err)
{
    const struct qvl_hub_file *file = file_of(pull, item);
    char hex[65];
    size_t n = file->has_sha256 ? sizeof file->sha256 : sizeof file->git_sha1;
    const uint8_t *sum = file->has_sha256 ? file->sha256 : file->git_sha1;
    qvl_hex(sum, n, hex);
    return qvl_fail(
        err, QVL_ERR_FILE,
        "%.200s is not what %.200s lists: its sum is %s, and should be %s; it is thrown away. Try another source "
        "(hf:, ms:)",
        file->path, qvl_hub_host(pull->chosen->endpoint), found, hex);
}

/* A gathered file of which all is hashed: to the cache, or once more from its beginning. */
static enum qvl_status finish_item(struct qvl_hub_pull *pull, struct qvl_hub_item *item, struct qvl_error *err)
{
    const struct qvl_hub_file *file = file_of(pull, item);
    char found[65];
    bool is_right;
    if (qvl_hub_gather_check(&item->gather, &is_right, found, err))
        return err->status;
    if (!is_right) {
        if (qvl_hub_gather_restart(&item->gather, err))
            return err->status;
        if (item->was_wrong)
            return fail_sum(pull, item, found, err);
        item->was_wrong = true;
        pull->has_restarted |= item->is_stream;
        qvl_hub_pull_note(pull, "%.200s is damaged and is fetched anew", file->path);
        return QVL_OK;
    }
    if (item->is_stream) {
        item->state = QVL_HUB_ITEM_RIGHT;
        return QVL_OK;
    }
    qvl_hub_gather_close(&item->gather);
    item->state = QVL_HUB_ITEM_DONE;
    item->n_there = file->n_bytes;
    return qvl_hub_store_commit(pull->store, file, err);
}

static void end_check(struct qvl_hub_item *item)
{
    if (item->check_fd >= 0)
        close(item->check_fd);
    item->check_fd = -1;
}

/* A slice of reading what is there already. */
static enum qvl_status check_item(struct qvl_hub_pull *pull, struct qvl_hub_item *item, uint8_t *buffer,
                                  struct qvl_error *err)
{
    const struct qvl_hub_file *file = file_of(pull, item);
    char path[4096], found[65];
    uint64_t n_bytes;
    if (item->check_fd < 0) {
        if (qvl_hub_store_find(pull->store, file, path) == QVL_HUB_NOT_FOUND) { /* dropped, as a twin's */
            item->state = QVL_HUB_ITEM_TO_FETCH;
            item->n_there = 0;
            return QVL_OK;
        }
        if (qvl_os_open_file(path, &item->check_fd, &n_bytes, err))
            return err->status;
        qvl_hub_hash_init(&item->check, file);
    }
    ssize_t got = read(item->check_fd, buffer, SLICE_BYTES);
    if (got < 0 && errno == EINTR)
        return QVL_OK;
    if (got > 0) {
        qvl_hub_hash_update(&item->check, buffer, (size_t)got);
        item->n_checked += (uint64_t)got;
        return QVL_OK;
    }
    end_check(item);
    item->state = QVL_HUB_ITEM_DONE;
    if (got == 0 && item->n_checked == file->n_bytes && qvl_hub_hash_is_right(&item->check, file, found))
        return QVL_OK;
    item->state = QVL_HUB_ITEM_TO_FETCH;
    item->n_there = 0;
    qvl_hub_pull_note(pull, "%.200s is damaged and is fetched anew", file->path);
    return qvl_hub_store_drop(pull->store, file, pull->is_stream, err);
}

/* One slice of work on sums; *did_some: there was any. */
static enum qvl_status make_sums(struct qvl_hub_pull *pull, bool *did_some, struct qvl_error *err)
{
    *did_some = false;
    for (size_t i = 0; i < pull->listing.n && !*did_some; i++) {
        struct qvl_hub_item *item = &pull->item[i];
        if (item->state == QVL_HUB_ITEM_TO_CHECK) {
            *did_some = true;
            uint8_t *buffer = malloc(SLICE_BYTES);
            enum qvl_status status =
                buffer ? check_item(pull, item, buffer, err) : qvl_fail_memory(err, SLICE_BYTES, "fetching");
            free(buffer);
            if (status)
                return status;
        } else if (item->state == QVL_HUB_ITEM_GATHERED) {
            if (qvl_hub_gather_hash(&item->gather, SLICE_BYTES, did_some, err))
                return err->status;
            bool is_all = qvl_hub_gather_is_full(&item->gather) && !has_slot(pull, item) &&
                          item->gather.n_hashed == item->gather.file->n_bytes;
            if (is_all && finish_item(pull, item, err))
                return err->status;
            *did_some = *did_some || is_all;
        }
    }
    return QVL_OK;
}

/* ---- a slice ------------------------------------------------------------------------------------- */

/* Of a stream: its reader says so. */
static bool is_all_done(const struct qvl_hub_pull *pull)
{
    for (size_t i = 0; i < pull->listing.n; i++)
        if (pull->item[i].state != QVL_HUB_ITEM_DONE)
            return false;
    return true;
}

/* A reader that has work waits for nobody; so that its work holds nobody up either, all that has come is taken in.
 */
static enum qvl_status move_bytes(struct qvl_hub_pull *pull, bool did_some, struct qvl_error *err)
{
    bool has_work = did_some || (pull->is_stream && !pull->is_reader_waiting);
    uint64_t n_before;
    double begin_ms = qvl_now_ms();
    do {
        n_before = pull->n_fetched;
        if (qvl_hub_transfers_step(pull->transfers, has_work ? 0 : 100, err))
            return err->status;
    } while (pull->is_stream && pull->n_fetched > n_before && qvl_now_ms() - begin_ms < STREAM_MS);
    return QVL_OK;
}

enum qvl_status qvl_hub_pull_fetch(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    bool did_some;
    if (!pull->item)
        return plan(pull, err);
    if (fill_slots(pull, err) || make_sums(pull, &did_some, err) || move_bytes(pull, did_some, err) ||
        read_slots(pull, err) || qvl_hub_stream_step(pull, err))
        return err->status;
    bool is_fetching = false;
    for (uint32_t i = 0; i < pull->n_slot; i++)
        is_fetching = is_fetching || pull->slot[i].item;
    pull->stage = is_fetching ? QVL_HUB_FETCHING : QVL_HUB_CHECKING;
    if (!is_all_done(pull))
        return QVL_OK;
    if (qvl_hub_store_finish(pull->store, pull->listing.file, pull->listing.n, pull->path, err))
        return err->status;
    qvl_hub_store_close(pull->store);
    pull->store = NULL;
    pull->stage = QVL_HUB_DONE;
    return QVL_OK;
}

void qvl_hub_pull_free_items(struct qvl_hub_pull *pull)
{
    for (uint32_t i = 0; i < pull->n_slot; i++) {
        free_slot(pull, &pull->slot[i]);
        qvl_bytes_free(&pull->slot[i].url);
    }
    for (size_t i = 0; pull->item && i < pull->listing.n; i++) {
        qvl_hub_gather_close(&pull->item[i].gather);
        end_check(&pull->item[i]);
        free(pull->item[i].direct);
    }
    free(pull->item);
    pull->item = NULL;
}
