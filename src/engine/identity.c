/* Every field goes into the hash by itself, as eight bytes or as n bytes after their number: no padding, and no two
 * sources that read the same one after the other. */
#include "engine/identity.h"

#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/checked.h"

enum { PIECE_BYTES = 16 << 20 }; /* between two looks at the stop flag */

struct hasher {
    struct sha256_ctx sha;
    const atomic_bool *stop;
};

static void add_number(struct hasher *h, uint64_t x)
{
    sha256_update(&h->sha, sizeof x, (const uint8_t *)&x);
}

static void add_real(struct hasher *h, double x)
{
    sha256_update(&h->sha, sizeof x, (const uint8_t *)&x);
}

static bool is_stopped(const struct hasher *h)
{
    return h->stop && atomic_load_explicit(h->stop, memory_order_relaxed);
}

static void add_bytes(struct hasher *h, const uint8_t *bytes, size_t n)
{
    add_number(h, n);
    for (size_t i = 0; i < n && !is_stopped(h); i += PIECE_BYTES)
        sha256_update(&h->sha, qvl_min_size(n - i, PIECE_BYTES), bytes + i);
}

/* What was written a moment ago can be written again without its times moving on: they go in the steps of the
 * kernel's clock, at most 10 ms, or (no fractions) of a file system that counts seconds, at most two. */
static bool is_settled(const struct stat *st)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double age_s = (double)(now.tv_sec - st->st_ctim.tv_sec) + 1e-9 * (double)(now.tv_nsec - st->st_ctim.tv_nsec);
    return age_s > (st->st_ctim.tv_nsec ? 0.02 : 2.0);
}

/* A file as the system knows it; one that may still change unseen is like no other. NULL: one that cannot be asked.
 */
static void add_file(struct hasher *h, const struct stat *st)
{
    static atomic_uint_fast64_t n_unsettled;
    add_number(h, st != NULL);
    if (!st)
        return;
    add_number(h, st->st_dev);
    add_number(h, st->st_ino);
    add_number(h, (uint64_t)st->st_size);
    add_number(h, (uint64_t)st->st_mtim.tv_sec);
    add_number(h, (uint64_t)st->st_mtim.tv_nsec);
    add_number(h, (uint64_t)st->st_ctim.tv_sec);
    add_number(h, (uint64_t)st->st_ctim.tv_nsec);
    add_number(h, is_settled(st) ? 0 : atomic_fetch_add(&n_unsettled, 1) + 1);
}

/* A frame whose rows are not all there is refused when it is measured. */
static void add_frame(struct hasher *h, const struct qvl_frame *frame)
{
    size_t n_row = (size_t)frame->w * 3;
    bool is_whole = frame->rgb8 && frame->stride_bytes >= n_row;
    add_number(h, frame->w);
    add_number(h, frame->h);
    add_real(h, frame->time_s);
    add_number(h, is_whole);
    for (uint32_t y = 0; is_whole && y < frame->h && !is_stopped(h); y++)
        sha256_update(&h->sha, n_row, frame->rgb8 + y * frame->stride_bytes);
}

static void add_picture_file(struct hasher *h, const struct qvl_picture_file *picture)
{
    struct stat st;
    add_real(h, picture->time_s);
    add_number(h, picture->path != NULL);
    if (picture->path)
        add_file(h, stat(picture->path, &st) == 0 ? &st : NULL);
    else
        add_bytes(h, picture->bytes, picture->n_bytes);
}

static void add_source(struct hasher *h, const struct qvl_media_source *source)
{
    struct stat st;
    add_number(h, source->from);
    switch (source->from) {
    case QVL_FROM_BYTES: add_bytes(h, source->bytes, source->n_bytes); break;
    case QVL_FROM_FD: add_file(h, fstat(source->fd, &st) == 0 ? &st : NULL); break;
    case QVL_FROM_FRAMES:
        add_number(h, source->n_frame);
        for (size_t i = 0; i < source->n_frame && !is_stopped(h); i++)
            add_frame(h, &source->frames[i]);
        break;
    case QVL_FROM_PICTURES:
        add_number(h, source->n_frame);
        for (size_t i = 0; i < source->n_frame && !is_stopped(h); i++)
            add_picture_file(h, &source->pictures[i]);
        break;
    }
}

static void add_options(struct hasher *h, const struct qvl_media_options *o)
{
    add_number(h, o->min_pixels);
    add_number(h, o->max_pixels);
    add_number(h, o->total_pixels);
    add_number(h, o->resize);
    add_real(h, o->fps);
    add_number(h, o->num_frames);
    add_number(h, o->min_frames);
    add_number(h, o->max_frames);
    add_real(h, o->start_s);
    add_real(h, o->end_s);
}

enum qvl_status qvl_identity_make(const struct qvl_part *part, const atomic_bool *stop, struct qvl_identity *out,
                                  struct qvl_error *err)
{
    struct hasher h = {.stop = stop};
    sha256_init(&h.sha);
    add_number(&h, part->kind);
    add_options(&h, &part->media);
    add_source(&h, &part->source);
    if (is_stopped(&h))
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
    sha256_digest(&h.sha, sizeof out->bytes, out->bytes);
    return QVL_OK;
}
