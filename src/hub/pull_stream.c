/* In: weights that come. Out: their beginning, checked by nobody yet, for a reader that turns it into something of
 * its own at once and gives it back; at the end, nothing.
 *
 * A file is there as far as its sum has read it. Its last byte is there only when that sum was right, so a reader
 * who needs all of a file ends with a right one or not at all; what it makes of a wrong one it has to throw away,
 * which n_anew tells it. The reader says what it waits for. Pieces are fetched up to there, and once it has begun
 * to give back, within a window ahead of what it gives, over the files in the order of their names, which is that
 * of their tensors. A server that gives no parts is not held back.
 *
 * On the disk a stream is the partials of any fetch (gather.h) with holes where they were read, and a folder of
 * links, the view. No name that anybody looks for leads to either. */
#include "hub/pull.h"

#include <string.h>

enum { WINDOW_PIECES = 8, HEAD_BYTES = 1 << 20 /* what is fetched of each file before anybody asks */ };

static const struct qvl_hub_file *file_of(const struct qvl_hub_pull *pull, const struct qvl_hub_item *item)
{
    return &pull->listing.file[item - pull->item];
}

static uint64_t window_bytes(const struct qvl_hub_pull *pull)
{
    uint32_t n = 2 * pull->n_slot;
    return (n < WINDOW_PIECES ? n : WINDOW_PIECES) * QVL_HUB_PIECE_BYTES;
}

/* ---- plan ---------------------------------------------------------------------------------------- */

void qvl_hub_stream_plan(struct qvl_hub_pull *pull)
{
    bool is_possible = pull->options.want_stream && !pull->options.is_dry && !pull->options.local_dir;
    for (size_t i = 0; i < pull->listing.n && is_possible; i++) {
        const struct qvl_hub_file *file = &pull->listing.file[i];
        if (!qvl_hub_is_safetensors(file->path))
            continue;
        is_possible = file->has_sha256 && !file->is_there && !qvl_hub_item_has_twin_before(pull, &pull->item[i]);
        pull->is_stream = true;
    }
    pull->is_stream = pull->is_reader_waiting = pull->is_stream && is_possible;
    for (size_t i = 0; i < pull->listing.n && pull->is_stream; i++) {
        pull->item[i].is_stream = qvl_hub_is_safetensors(pull->listing.file[i].path);
        pull->item[i].n_wanted = HEAD_BYTES;
    }
}

uint64_t qvl_hub_stream_room(const struct qvl_hub_pull *pull, uint64_t n_need)
{
    uint64_t n_weights = 0, window = window_bytes(pull);
    for (size_t i = 0; i < pull->listing.n; i++)
        if (pull->item[i].is_stream)
            n_weights += pull->listing.file[i].n_bytes - qvl_hub_item_n_done(&pull->item[i]);
    return n_weights > window ? n_need - n_weights + window : n_need;
}

uint64_t qvl_hub_stream_limit(const struct qvl_hub_pull *pull, const struct qvl_hub_item *item)
{
    uint64_t n_ahead = 0, window = window_bytes(pull);
    if (!item->is_stream)
        return UINT64_MAX;
    for (size_t i = 0; i < pull->listing.n; i++) {
        const struct qvl_hub_item *other = &pull->item[i];
        if (other->is_stream && strcmp(file_of(pull, other)->path, file_of(pull, item)->path) < 0)
            n_ahead += file_of(pull, other)->n_bytes - other->gather.n_given;
    }
    /* Few large requests, not one for each tensor that is given back. */
    uint64_t n_wanted = (item->n_wanted + HEAD_BYTES - 1) / HEAD_BYTES * HEAD_BYTES;
    uint64_t begin = item->gather.n_given / QVL_HUB_PIECE_BYTES * QVL_HUB_PIECE_BYTES;
    uint64_t end = pull->is_read && n_ahead < window
                       ? begin + (window - n_ahead) / QVL_HUB_PIECE_BYTES * QVL_HUB_PIECE_BYTES
                       : 0;
    return end > n_wanted ? end : n_wanted;
}

/* ---- a slice ------------------------------------------------------------------------------------- */

static enum qvl_status open_items(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    for (size_t i = 0; i < pull->listing.n; i++) {
        struct qvl_hub_item *item = &pull->item[i];
        if (!item->is_stream)
            continue;
        if ((item->state == QVL_HUB_ITEM_TO_FETCH && qvl_hub_item_open(pull, item, err)) ||
            qvl_hub_gather_stream(&item->gather, err))
            return err->status;
    }
    return QVL_OK;
}

static enum qvl_status make_folder(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    char folder[sizeof pull->stream_folder];
    if (open_items(pull, err))
        return err->status;
    enum qvl_status status = qvl_hub_store_make_view(pull->store, folder, err);
    for (size_t i = 0; i < pull->listing.n && !status; i++)
        status = qvl_hub_store_add_to_view(pull->store, &pull->listing.file[i], pull->item[i].is_stream, err);
    if (status) /* a file system without links: there a stream cannot be read */
        return qvl_hub_stream_end(pull, err);
    memcpy(pull->stream_folder, folder, sizeof folder);
    return QVL_OK;
}

enum qvl_status qvl_hub_stream_step(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    if (!pull->is_stream)
        return QVL_OK;
    if (pull->give_err.status) {
        *err = pull->give_err;
        return err->status;
    }
    if (pull->has_restarted && qvl_hub_stream_restart(pull, err))
        return err->status;
    bool is_ready = !pull->stream_folder[0];
    for (size_t i = 0; i < pull->listing.n; i++)
        is_ready = is_ready && (pull->item[i].is_stream || pull->item[i].state == QVL_HUB_ITEM_DONE);
    return is_ready ? make_folder(pull, err) : QVL_OK;
}

enum qvl_status qvl_hub_stream_restart(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    pull->has_restarted = pull->is_read = false;
    pull->is_reader_waiting = true;
    pull->n_anew++;
    for (size_t i = 0; i < pull->listing.n; i++) {
        struct qvl_hub_item *item = &pull->item[i];
        if (!item->is_stream)
            continue;
        item->n_wanted = HEAD_BYTES;
        if (item->gather.n_given == 0 || item->gather.has_no_holes)
            continue;
        qvl_hub_item_free_slots(pull, item);
        item->state = QVL_HUB_ITEM_GATHERED;
        if (qvl_hub_gather_restart(&item->gather, err))
            return err->status;
    }
    return QVL_OK;
}

/* ---- for the reader ------------------------------------------------------------------------------ */

static struct qvl_hub_item *find_item(struct qvl_hub_pull *pull, const char *name)
{
    for (size_t i = 0; i < pull->listing.n; i++)
        if (pull->item[i].is_stream && strcmp(pull->listing.file[i].path, name) == 0)
            return &pull->item[i];
    return NULL;
}

void qvl_hub_pull_get_stream(const struct qvl_hub_pull *pull, struct qvl_hub_stream *out)
{
    bool is_ready = pull->is_stream && pull->stream_folder[0];
    *out = (struct qvl_hub_stream){.folder = is_ready ? pull->stream_folder : NULL, .n_anew = pull->n_anew};
}

bool qvl_hub_stream_has(struct qvl_hub_pull *pull, const char *name, uint64_t end)
{
    struct qvl_hub_item *item = find_item(pull, name);
    if (!item)
        return true;
    uint64_t n_file = file_of(pull, item)->n_bytes, n_there = item->gather.n_hashed;
    if (item->state != QVL_HUB_ITEM_RIGHT && n_there == n_file && n_file > 0)
        n_there--;
    end = end < n_file ? end : n_file; /* what is behind it never comes: whoever reads there learns it */
    item->n_wanted = end > item->n_wanted ? end : item->n_wanted;
    pull->is_reader_waiting = end > n_there;
    return !pull->is_reader_waiting;
}

void qvl_hub_stream_let_go(struct qvl_hub_pull *pull, const char *name, uint64_t end)
{
    struct qvl_hub_item *item = find_item(pull, name);
    if (!item || pull->give_err.status)
        return;
    bool had_no_holes = item->gather.has_no_holes;
    pull->is_read = true;
    qvl_hub_gather_give(&item->gather, end, &pull->give_err);
    if (item->gather.has_no_holes && !had_no_holes)
        qvl_hub_pull_note(
            pull, "this file system cannot free parts of a file: the whole source lies on the disk meanwhile");
}

enum qvl_status qvl_hub_stream_end(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    for (size_t i = 0; i < pull->listing.n; i++) {
        struct qvl_hub_item *item = &pull->item[i];
        if (!item->is_stream)
            continue;
        item->is_stream = false;
        item->state = QVL_HUB_ITEM_GATHERED;
        if (item->gather.n_given > 0 && !item->gather.has_no_holes)
            qvl_hub_item_free_slots(pull, item);
        if (qvl_hub_gather_keep(&item->gather, err))
            return err->status;
    }
    pull->is_stream = false;
    return qvl_hub_pull_check_room(pull, err);
}

void qvl_hub_stream_leave(struct qvl_hub_pull *pull)
{
    for (size_t i = 0; i < pull->listing.n; i++) {
        struct qvl_hub_item *item = &pull->item[i];
        if (!item->is_stream)
            continue;
        qvl_hub_item_free_slots(pull, item);
        item->n_there = file_of(pull, item)->n_bytes;
        item->state = QVL_HUB_ITEM_DONE;
        qvl_hub_gather_close(&item->gather);
    }
    qvl_hub_store_leave(pull->store, pull->listing.file, pull->listing.n);
    qvl_hub_store_close(pull->store);
    pull->store = NULL;
    pull->stage = QVL_HUB_DONE;
}

enum qvl_status qvl_hub_stream_finish(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    for (size_t i = 0; i < pull->listing.n; i++)
        if (pull->item[i].is_stream && pull->item[i].state != QVL_HUB_ITEM_RIGHT)
            return qvl_fail(err, QVL_ERR_INTERNAL, "%.200s: read before it was checked",
                            file_of(pull, &pull->item[i])->path);
    qvl_hub_stream_leave(pull);
    return QVL_OK;
}
