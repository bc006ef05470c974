/* gather.h: one file that is gathered from parts, on the disk, until its sum is right. */
#ifndef QVL_HUB_GATHER_H
#define QVL_HUB_GATHER_H

#include <nettle/sha1.h>
#include <nettle/sha2.h>

#include "hub/hub.h"

#define QVL_HUB_PIECE_BYTES (32ull << 20)

struct qvl_hub_piece {
    uint32_t n_done; /* bytes from its start */
    bool is_taken;   /* somebody fetches it */
    bool is_given;   /* its beginning, or all of it, is given away: it counts as not there for the next fetch */
};

struct qvl_hub_hash {
    bool is_sha256; /* else the sum of a git blob, or none */
    struct sha256_ctx sha256;
    struct sha1_ctx sha1;
};
/* Of the kind that the file has. */
void qvl_hub_hash_init(struct qvl_hub_hash *hash, const struct qvl_hub_file *file);
void qvl_hub_hash_update(struct qvl_hub_hash *hash, const void *data, size_t n);
/* Whether it is the file's; a file without sums: always. found: its hex, [65]. */
bool qvl_hub_hash_is_right(struct qvl_hub_hash *hash, const struct qvl_hub_file *file, char found[65]);

struct qvl_hub_gather {
    const struct qvl_hub_file *file; /* NULL: closed */
    char path[4096];                 /* of the partial */
    int fd, ranges_fd;
    struct qvl_hub_piece *piece; /* [n_piece] */
    uint32_t n_piece;
    uint64_t n_done;   /* bytes */
    uint64_t n_hashed; /* from the start */
    bool is_stream;    /* it is read while it comes, and not kept */
    bool has_no_holes; /* the file system cannot free parts of a file */
    uint64_t n_given;  /* of a stream, from the start: read, and not there any more */
    struct qvl_hub_hash hash;
    uint8_t *buffer; /* for reading */
};

/* Opens the partial at path, or begins it. QVL_ERR_FILE: it cannot be read or written. */
enum qvl_status qvl_hub_gather_open(struct qvl_hub_gather *gather, const struct qvl_hub_file *file,
                                    const char *path, struct qvl_error *err);
void qvl_hub_gather_close(struct qvl_hub_gather *gather); /* again: nothing */

/* The first piece that nobody has taken and that is not whole, or as much of it as lies before `limit`, taken:
 * bytes
 * [*at, *end) of the file are wanted. UINT32_MAX: none. */
uint32_t qvl_hub_gather_take_piece(struct qvl_hub_gather *gather, uint64_t limit, uint64_t *at, uint64_t *end);
void qvl_hub_gather_let_go(struct qvl_hub_gather *gather, uint32_t i_piece);
/* n bytes at `at`, which is where the piece they fall into stands (n may reach into the next ones). QVL_ERR_FILE: a
 * full disk. */
enum qvl_status qvl_hub_gather_write(struct qvl_hub_gather *gather, uint64_t at, const void *data, size_t n,
                                     struct qvl_error *err);
/* From here on it is a stream: the partial has its full size, with holes, so that it can be mapped. */
enum qvl_status qvl_hub_gather_stream(struct qvl_hub_gather *gather, struct qvl_error *err);
/* Of a stream, the room of the first `end` bytes, all hashed, is free again, where the file system can do that. */
enum qvl_status qvl_hub_gather_give(struct qvl_hub_gather *gather, uint64_t end, struct qvl_error *err);
/* No stream any more: all is hashed once more, or, where some of it is given away, comes once more. */
enum qvl_status qvl_hub_gather_keep(struct qvl_hub_gather *gather, struct qvl_error *err);
/* As if nothing had come. */
enum qvl_status qvl_hub_gather_restart(struct qvl_hub_gather *gather, struct qvl_error *err);
/* Reads up to n_max bytes of what is there from the start without a hole, into the sum. *did_some: there were any.
 */
enum qvl_status qvl_hub_gather_hash(struct qvl_hub_gather *gather, uint64_t n_max, bool *did_some,
                                    struct qvl_error *err);
static inline bool qvl_hub_gather_is_full(const struct qvl_hub_gather *gather)
{
    return gather->n_done == gather->file->n_bytes;
}
/* When all is hashed: whether the sum is right; then its bytes are on the disk. found: what the sum is. */
enum qvl_status qvl_hub_gather_check(struct qvl_hub_gather *gather, bool *is_right, char found[65],
                                     struct qvl_error *err);

#endif
