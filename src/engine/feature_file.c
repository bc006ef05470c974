#include "engine/feature_file.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"

static const uint8_t magic[8] = {'q', 'v', 'l', 'f', 'e', 'a', 't', 1};

struct header {
    uint8_t magic[8];
    uint64_t n, n_level, n_hidden;
    struct qvl_feature_name name;
    uint8_t sha256[32]; /* of the file with zeros here */
};

static struct header make_header(const struct qvl_feature_name *name, const struct qvl_features *f)
{
    struct header h = {.n = f->n, .n_level = f->n_level, .n_hidden = f->n_hidden, .name = *name};
    memcpy(h.magic, magic, sizeof magic);
    return h;
}

static void sum_up(const struct header *without_sum, const float *row, size_t n_byte, uint8_t out[32])
{
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, sizeof *without_sum, (const uint8_t *)without_sum);
    sha256_update(&sha, n_byte, (const uint8_t *)row);
    sha256_digest(&sha, 32, out);
}

/* False where there is nothing, or more than can be. */
static bool count_bytes(const struct qvl_features *f, size_t *out)
{
    size_t n;
    return qvl_mul_size(f->n, f->n_level, &n) && qvl_mul_size(n, f->n_hidden, &n) &&
           qvl_mul_size(n, sizeof *f->row, &n) && n > 0 && n <= INT64_MAX - sizeof(struct header) && (*out = n);
}

uint64_t qvl_feature_file_bytes(const struct qvl_features *features)
{
    size_t n = 0;
    count_bytes(features, &n);
    return sizeof(struct header) + n;
}

/* ---- write --------------------------------------------------------------------------------------- */

static bool write_all(int fd, const void *data, size_t n)
{
    for (const char *at = data; n > 0;) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno != EINTR)
            return false;
        if (done > 0) {
            at += done;
            n -= (size_t)done;
        }
    }
    return true;
}

bool qvl_feature_file_write(int fd, const struct qvl_feature_name *name, const struct qvl_features *features)
{
    struct header h = make_header(name, features);
    size_t n = 0;
    if (!count_bytes(features, &n)) {
        errno = EINVAL;
        return false;
    }
    sum_up(&h, features->row, n, h.sha256);
    return write_all(fd, &h, sizeof h) && write_all(fd, features->row, n);
}

/* ---- read ---------------------------------------------------------------------------------------- */

static bool read_all(int fd, void *out, size_t n)
{
    for (char *at = out; n > 0;) {
        ssize_t done = read(fd, at, n);
        if (done == 0 || (done < 0 && errno != EINTR))
            return false;
        if (done > 0) {
            at += done;
            n -= (size_t)done;
        }
    }
    return true;
}

enum qvl_feature_verdict qvl_feature_file_read(int fd, const struct qvl_feature_name *name,
                                               const struct qvl_features *want, struct qvl_features *out)
{
    struct qvl_features made = {.n = want->n, .n_level = want->n_level, .n_hidden = want->n_hidden};
    struct header h, expected = make_header(name, want);
    struct qvl_error err;
    struct stat st;
    uint8_t sum[32];
    size_t n = 0;
    if (!count_bytes(want, &n) || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
        (uint64_t)st.st_size != sizeof h + n || !read_all(fd, &h, sizeof h) ||
        memcmp(&h, &expected, offsetof(struct header, sha256)) != 0)
        return QVL_FEATURE_DAMAGED;
    made.row = qvl_arena_alloc(&made.arena, n, 1, "picture features", &err);
    if (!made.row)
        return QVL_FEATURE_NO_MEMORY;
    if (read_all(fd, made.row, n)) {
        sum_up(&expected, made.row, n, sum);
        if (memcmp(sum, h.sha256, sizeof sum) == 0) {
            *out = made;
            return QVL_FEATURE_GOOD;
        }
    }
    qvl_arena_free(&made.arena);
    return QVL_FEATURE_DAMAGED;
}
