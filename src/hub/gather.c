/* In: pieces of a file, in any order, some from an earlier fetch that was killed. Out: the file, whole and right.
 *
 * The bytes lie in PATH at their places, with holes. PATH.ranges says what is there: a head that names the format,
 * the file's size and the pieces' size, then for each piece how many bytes from its start have come, 4 bytes each,
 * little-endian. A count is written after the bytes it counts. So a kill loses at most what was between the two,
 * and a count never promises what is not there, as long as the machine runs. After a power failure it may: the disk
 * may have kept the count and lost the bytes. That is what the sum finds; a file that is wrong is fetched anew,
 * once (pull_fetch.c).
 *
 * A sum needs the bytes in order. It follows the part without a hole, reading back what was written moments before,
 * from memory most likely; a fetch that goes on reads what is there from the start, while the rest comes. Nothing
 * of the sum's inner state is kept on the disk: it would be one more thing to trust.
 *
 * What is read while it comes (a stream) and is not kept is given away from the beginning on: holes are punched
 * where it was read. Before that the count of a piece becomes 0, and stays so. So a partial whose beginning is gone
 * says so at any moment, and the next fetch, a stream or not, fetches those pieces anew.
 *
 * Small files have the sum that git gives them: SHA-1 over "blob SIZE", a NUL and the bytes. */
#include "hub/gather.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/limits.h"

enum { HEAD_BYTES = 32, BUFFER_BYTES = 1 << 20, BLOCK_BYTES = 1 << 16 };

/* ---- sums ---------------------------------------------------------------------------------------- */

void qvl_hub_hash_init(struct qvl_hub_hash *hash, const struct qvl_hub_file *file)
{
    hash->is_sha256 = file->has_sha256;
    sha256_init(&hash->sha256);
    sha1_init(&hash->sha1);
    char head[40];
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)file->n_bytes);
    sha1_update(&hash->sha1, (size_t)n + 1, (const uint8_t *)head);
}

void qvl_hub_hash_update(struct qvl_hub_hash *hash, const void *data, size_t n)
{
    if (hash->is_sha256)
        sha256_update(&hash->sha256, n, data);
    else
        sha1_update(&hash->sha1, n, data);
}

bool qvl_hub_hash_is_right(struct qvl_hub_hash *hash, const struct qvl_hub_file *file, char found[65])
{
    uint8_t digest[32];
    size_t n = hash->is_sha256 ? 32 : 20;
    if (hash->is_sha256)
        sha256_digest(&hash->sha256, n, digest);
    else
        sha1_digest(&hash->sha1, n, digest);
    qvl_hex(digest, n, found);
    if (file->has_sha256)
        return memcmp(digest, file->sha256, sizeof file->sha256) == 0;
    return !file->has_git_sha1 || memcmp(digest, file->git_sha1, sizeof file->git_sha1) == 0;
}

/* ---- the list of what is there ------------------------------------------------------------------- */

static uint64_t piece_bytes(const struct qvl_hub_gather *g, uint32_t i)
{
    uint64_t left = g->file->n_bytes - i * QVL_HUB_PIECE_BYTES;
    return left < QVL_HUB_PIECE_BYTES ? left : QVL_HUB_PIECE_BYTES;
}

static void put_u64(uint8_t *out, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

static void make_head(const struct qvl_hub_gather *g, uint8_t head[HEAD_BYTES])
{
    static const uint8_t name[16] = "qvl-ranges 1\n";
    memset(head, 0, HEAD_BYTES);
    memcpy(head, name, sizeof name);
    put_u64(head + 16, g->file->n_bytes, 8);
    put_u64(head + 24, QVL_HUB_PIECE_BYTES, 8);
}

static bool write_at(int fd, const void *data, size_t n, uint64_t at)
{
    const uint8_t *bytes = data;
    while (n > 0) {
        ssize_t got = pwrite(fd, bytes, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got == 0 ? ENOSPC : errno;
            return false;
        }
        bytes += got;
        n -= (size_t)got;
        at += (uint64_t)got;
    }
    return true;
}

/* Fewer than n bytes: the file ends. -1: errno. */
static ssize_t read_at(int fd, void *out, size_t n, uint64_t at)
{
    size_t n_read = 0;
    while (n_read < n) {
        ssize_t got = pread(fd, (uint8_t *)out + n_read, n - n_read, (off_t)(at + n_read));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        n_read += (size_t)got;
    }
    return (ssize_t)n_read;
}

static enum qvl_status fail_write(const struct qvl_hub_gather *g, struct qvl_error *err)
{
    if (errno == ENOSPC || errno == EDQUOT)
        return qvl_fail(
            err, QVL_ERR_FILE,
            "%.1000s cannot be written: the disk is full; make room and pull again, it goes on from here", g->path);
    return qvl_fail(err, QVL_ERR_FILE, "%.1000s cannot be written: %s", g->path, qvl_errno_text(errno));
}

static bool write_count(const struct qvl_hub_gather *g, uint32_t i)
{
    uint8_t bytes[4];
    put_u64(bytes, g->piece[i].is_given ? 0 : g->piece[i].n_done, sizeof bytes);
    return write_at(g->ranges_fd, bytes, sizeof bytes, HEAD_BYTES + 4ull * i);
}

enum qvl_status qvl_hub_gather_restart(struct qvl_hub_gather *g, struct qvl_error *err)
{
    uint8_t head[HEAD_BYTES];
    make_head(g, head);
    for (uint32_t i = 0; i < g->n_piece; i++) {
        g->piece[i].n_done = 0;
        g->piece[i].is_given = false;
    }
    g->n_done = g->n_hashed = g->n_given = 0;
    qvl_hub_hash_init(&g->hash, g->file);
    if (ftruncate(g->ranges_fd, 0) || ftruncate(g->fd, 0) || !write_at(g->ranges_fd, head, sizeof head, 0) ||
        (g->is_stream && ftruncate(g->fd, (off_t)g->file->n_bytes)))
        return fail_write(g, err);
    return QVL_OK;
}

/* Counts of an earlier fetch: false where they are none of this file and these pieces. */
static bool read_ranges(struct qvl_hub_gather *g, off_t n_there)
{
    uint8_t head[HEAD_BYTES], expected[HEAD_BYTES], bytes[4];
    make_head(g, expected);
    if (read_at(g->ranges_fd, head, sizeof head, 0) != HEAD_BYTES || memcmp(head, expected, sizeof head) != 0)
        return false;
    for (uint32_t i = 0; i < g->n_piece; i++) {
        uint64_t begin = i * QVL_HUB_PIECE_BYTES;
        if (read_at(g->ranges_fd, bytes, sizeof bytes, HEAD_BYTES + 4ull * i) != sizeof bytes)
            break; /* pieces that have not begun are not written */
        uint32_t n = bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
        if (n > piece_bytes(g, i) || (n > 0 && begin + n > (uint64_t)n_there))
            return false;
        g->piece[i].n_done = n;
        g->n_done += n;
    }
    return true;
}

static enum qvl_status open_files(struct qvl_hub_gather *g, struct qvl_error *err)
{
    char ranges[4096 + 16];
    snprintf(ranges, sizeof ranges, "%s.ranges", g->path);
    g->fd = open(g->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    g->ranges_fd = g->fd < 0 ? -1 : open(ranges, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    off_t n_there = g->ranges_fd < 0 ? -1 : lseek(g->fd, 0, SEEK_END);
    if (n_there < 0)
        return fail_write(g, err);
    if (read_ranges(g, n_there))
        return QVL_OK;
    return qvl_hub_gather_restart(g, err);
}

enum qvl_status qvl_hub_gather_open(struct qvl_hub_gather *g, const struct qvl_hub_file *file, const char *path,
                                    struct qvl_error *err)
{
    *g = (struct qvl_hub_gather){.file = file, .fd = -1, .ranges_fd = -1};
    if (file->n_bytes > QVL_MAX_HUB_FILE_BYTES || strlen(path) >= sizeof g->path)
        return qvl_fail(err, QVL_ERR_LIMIT, "%.200s is too large to be fetched: %llu bytes", file->path,
                        (unsigned long long)file->n_bytes);
    memcpy(g->path, path, strlen(path) + 1);
    g->n_piece = (uint32_t)qvl_div_up(file->n_bytes, QVL_HUB_PIECE_BYTES);
    g->piece = calloc(g->n_piece + 1u, sizeof *g->piece);
    g->buffer = malloc(BUFFER_BYTES);
    qvl_hub_hash_init(&g->hash, file);
    if (!g->piece || !g->buffer)
        qvl_fail_memory(err, BUFFER_BYTES, "fetching");
    else if (!open_files(g, err))
        return QVL_OK;
    qvl_hub_gather_close(g);
    return err->status;
}

void qvl_hub_gather_close(struct qvl_hub_gather *g)
{
    if (!g->file)
        return;
    if (g->fd >= 0)
        close(g->fd);
    if (g->ranges_fd >= 0)
        close(g->ranges_fd);
    free(g->piece);
    free(g->buffer);
    *g = (struct qvl_hub_gather){.fd = -1, .ranges_fd = -1};
}

/* ---- pieces -------------------------------------------------------------------------------------- */

uint32_t qvl_hub_gather_take_piece(struct qvl_hub_gather *g, uint64_t limit, uint64_t *at, uint64_t *end)
{
    for (uint32_t i = 0; i < g->n_piece; i++) {
        struct qvl_hub_piece *piece = &g->piece[i];
        if (piece->is_taken || piece->n_done == piece_bytes(g, i))
            continue;
        *at = i * QVL_HUB_PIECE_BYTES + piece->n_done;
        *end = i * QVL_HUB_PIECE_BYTES + piece_bytes(g, i);
        *end = *end < limit ? *end : limit;
        if (*at >= *end)
            return UINT32_MAX;
        piece->is_taken = true;
        return i;
    }
    return UINT32_MAX;
}

void qvl_hub_gather_let_go(struct qvl_hub_gather *g, uint32_t i_piece)
{
    if (g->file && i_piece < g->n_piece)
        g->piece[i_piece].is_taken = false;
}

enum qvl_status qvl_hub_gather_write(struct qvl_hub_gather *g, uint64_t at, const void *data, size_t n,
                                     struct qvl_error *err)
{
    const uint8_t *bytes = data;
    while (n > 0) {
        uint32_t i = (uint32_t)(at / QVL_HUB_PIECE_BYTES);
        uint64_t inside = at % QVL_HUB_PIECE_BYTES, room = i < g->n_piece ? piece_bytes(g, i) - inside : 0;
        size_t n_now = n < room ? n : (size_t)room;
        if (n_now == 0 || g->piece[i].n_done != inside)
            return qvl_fail(err, QVL_ERR_INTERNAL, "%.1000s: bytes that were not asked for", g->path);
        if (!write_at(g->fd, bytes, n_now, at))
            return fail_write(g, err);
        g->piece[i].n_done += (uint32_t)n_now;
        g->n_done += n_now;
        if (!write_count(g, i))
            return fail_write(g, err);
        bytes += n_now;
        at += n_now;
        n -= n_now;
    }
    return QVL_OK;
}

/* ---- the sum ------------------------------------------------------------------------------------- */

/* Where the first hole begins, from where the sum stands. */
static uint64_t end_of_start(const struct qvl_hub_gather *g)
{
    uint64_t end = g->n_hashed;
    while (end < g->file->n_bytes) {
        uint32_t i = (uint32_t)(end / QVL_HUB_PIECE_BYTES);
        uint64_t there = i * QVL_HUB_PIECE_BYTES + g->piece[i].n_done;
        end = there > end ? there : end;
        if (g->piece[i].n_done < piece_bytes(g, i))
            break;
    }
    return end;
}

enum qvl_status qvl_hub_gather_hash(struct qvl_hub_gather *g, uint64_t n_max, bool *did_some, struct qvl_error *err)
{
    uint64_t end = end_of_start(g);
    if (end - g->n_hashed > n_max)
        end = g->n_hashed + n_max;
    *did_some = end > g->n_hashed;
    while (g->n_hashed < end) {
        uint64_t left = end - g->n_hashed;
        size_t n = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;
        ssize_t got = read_at(g->fd, g->buffer, n, g->n_hashed);
        if (got != (ssize_t)n)
            return qvl_fail(err, QVL_ERR_FILE, "%.1000s cannot be read: %s", g->path,
                            qvl_errno_text(got < 0 ? errno : EIO));
        qvl_hub_hash_update(&g->hash, g->buffer, n);
        /* So that fsync at the end has little left to wait for; what is given away need not reach the disk at all.
         */
        if (!g->is_stream)
            sync_file_range(g->fd, (off_t)g->n_hashed, (off_t)n, SYNC_FILE_RANGE_WRITE);
        g->n_hashed += n;
    }
    return QVL_OK;
}

enum qvl_status qvl_hub_gather_check(struct qvl_hub_gather *g, bool *is_right, char found[65],
                                     struct qvl_error *err)
{
    /* Of an earlier file of this name more may be there. */
    *is_right = qvl_hub_hash_is_right(&g->hash, g->file, found);
    if (*is_right && !g->is_stream && (ftruncate(g->fd, (off_t)g->file->n_bytes) || fsync(g->fd)))
        return fail_write(g, err);
    return QVL_OK;
}

/* ---- streams ------------------------------------------------------------------------------------- */

enum qvl_status qvl_hub_gather_stream(struct qvl_hub_gather *g, struct qvl_error *err)
{
    g->is_stream = true;
    return ftruncate(g->fd, (off_t)g->file->n_bytes) ? fail_write(g, err) : QVL_OK;
}

/* The counts of all pieces that begin before `end` become those that hold when their beginning is (not) there. */
static bool count_as_given(struct qvl_hub_gather *g, uint64_t end, bool is_given)
{
    bool is_written = true;
    for (uint32_t i = (uint32_t)(g->n_given / QVL_HUB_PIECE_BYTES); i * QVL_HUB_PIECE_BYTES < end && is_written;
         i++) {
        bool is_new = g->piece[i].is_given != is_given;
        g->piece[i].is_given = is_given;
        is_written = !is_new || write_count(g, i);
    }
    return is_written;
}

enum qvl_status qvl_hub_gather_give(struct qvl_hub_gather *g, uint64_t end, struct qvl_error *err)
{
    /* The file system would write zeros into the part of a block; its last one goes as a whole, too. */
    end = end < g->file->n_bytes ? end / BLOCK_BYTES * BLOCK_BYTES : g->file->n_bytes;
    if (end <= g->n_given || end > g->n_hashed)
        return QVL_OK;
    if (!g->has_no_holes && !count_as_given(g, end, true))
        return fail_write(g, err);
    if (!g->has_no_holes && fallocate(g->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)g->n_given,
                                      (off_t)(end - g->n_given)) != 0) {
        if (errno == EIO || errno == ENOSPC || errno == EDQUOT)
            return fail_write(g, err);
        g->has_no_holes = true; /* whatever the file system calls it: a hole saves room, and nothing else */
        if (!count_as_given(g, end, false))
            return fail_write(g, err);
    }
    g->n_given = end;
    return QVL_OK;
}

enum qvl_status qvl_hub_gather_keep(struct qvl_hub_gather *g, struct qvl_error *err)
{
    bool is_all_there = g->n_given == 0 || g->has_no_holes;
    g->is_stream = false;
    if (!is_all_there)
        return qvl_hub_gather_restart(g, err);
    g->n_hashed = g->n_given = 0;
    qvl_hub_hash_init(&g->hash, g->file);
    return QVL_OK;
}
