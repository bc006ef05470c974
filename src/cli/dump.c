#include "cli/dump.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/bytes.h"

enum { MAX_NAME = 80, HEADER_ALIGN = 64 };

struct seen {
    char name[MAX_NAME];
    unsigned n;
};

struct qvl_dump {
    char *dir;
    pthread_mutex_t lock; /* the trace comes from the request's thread and from the engine's */
    struct seen *seen;    /* [n_seen] */
    size_t n_seen, n_alloc;
    struct qvl_error error;
};

/* How often `name` came before; counts this time. */
static enum qvl_status count_name(struct qvl_dump *d, const char *name, unsigned *n_before, struct qvl_error *err)
{
    for (size_t i = 0; i < d->n_seen; i++)
        if (strcmp(d->seen[i].name, name) == 0) {
            *n_before = d->seen[i].n++;
            return QVL_OK;
        }
    struct seen *seen = qvl_grow(d->seen, &d->n_alloc, d->n_seen + 1, sizeof *seen, "the dump", err);
    if (!seen)
        return err->status;
    d->seen = seen;
    struct seen *s = &d->seen[d->n_seen++];
    snprintf(s->name, sizeof s->name, "%s", name);
    s->n = 1;
    *n_before = 0;
    return QVL_OK;
}

/* Magic, version, length and a Python dict padded with spaces to a multiple of 64. */
static enum qvl_status make_header(enum qvl_trace_type type, const size_t *dim, size_t n_dim,
                                   struct qvl_bytes *out, struct qvl_error *err)
{
    static const char *const descr[] = {[QVL_TRACE_F32] = "<f4", [QVL_TRACE_U8] = "|u1", [QVL_TRACE_I32] = "<i4"};
    struct qvl_bytes dict = {0};
    enum qvl_status status = qvl_bytes_add_format(
        &dict, err, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr[type]);
    for (size_t i = 0; i < n_dim && !status; i++)
        status = qvl_bytes_add_format(&dict, err, "%zu,", dim[i]);
    if (!status)
        status = qvl_bytes_add_text(&dict, "), }", err);
    while (!status && (10 + dict.n + 1) % HEADER_ALIGN != 0)
        status = qvl_bytes_add(&dict, " ", 1, err);
    if (!status)
        status = qvl_bytes_add(&dict, "\n", 1, err);
    if (!status)
        status = qvl_bytes_add(out, "\x93NUMPY\x01\x00", 8, err);
    unsigned char n[2] = {(unsigned char)(dict.n & 0xFF), (unsigned char)(dict.n >> 8)};
    if (!status)
        status = qvl_bytes_add(out, n, 2, err);
    if (!status)
        status = qvl_bytes_add(out, dict.data, dict.n, err);
    qvl_bytes_free(&dict);
    return status;
}

static enum qvl_status write_file(const char *path, const struct qvl_bytes *header, const void *data, size_t n,
                                  struct qvl_error *err)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", path, qvl_errno_text(errno));
    bool is_written = fwrite(header->data, 1, header->n, f) == header->n && fwrite(data, 1, n, f) == n;
    int code = errno;
    if (fclose(f) != 0 && is_written) {
        is_written = false;
        code = errno;
    }
    return is_written ? QVL_OK : qvl_fail(err, QVL_ERR_FILE, "%s: cannot write: %s", path, qvl_errno_text(code));
}

static enum qvl_status write_tensor(struct qvl_dump *d, const char *name, enum qvl_trace_type type,
                                    const void *data, const size_t *dim, size_t n_dim, struct qvl_error *err)
{
    struct qvl_bytes path = {0}, header = {0};
    unsigned n_before = 0;
    size_t n_bytes = type == QVL_TRACE_U8 ? 1 : 4;
    for (size_t i = 0; i < n_dim; i++)
        n_bytes *= dim[i]; /* the size of something in memory */
    enum qvl_status status = count_name(d, name, &n_before, err);
    if (!status && n_before == 0)
        status = qvl_bytes_add_format(&path, err, "%s/%s.npy", d->dir, name);
    else if (!status)
        status = qvl_bytes_add_format(&path, err, "%s/%s.%u.npy", d->dir, name, n_before);
    if (!status)
        status = make_header(type, dim, n_dim, &header, err);
    if (!status)
        status = write_file(path.data, &header, data, n_bytes, err);
    qvl_bytes_free(&path);
    qvl_bytes_free(&header);
    return status;
}

static void take_tensor(void *user, const char *name, enum qvl_trace_type type, const void *data,
                        const size_t *dim, size_t n_dim)
{
    struct qvl_dump *d = user;
    pthread_mutex_lock(&d->lock);
    if (!d->error.status)
        write_tensor(d, name, type, data, dim, n_dim, &d->error);
    pthread_mutex_unlock(&d->lock);
}

enum qvl_status qvl_dump_open(const char *dir, struct qvl_dump **out, struct qvl_error *err)
{
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot make the folder: %s", dir, qvl_errno_text(errno));
    struct qvl_dump *d = calloc(1, sizeof *d);
    if (!d || !(d->dir = strdup(dir))) {
        free(d);
        return qvl_fail_memory(err, sizeof *d, "the dump");
    }
    pthread_mutex_init(&d->lock, NULL);
    *out = d;
    return QVL_OK;
}

struct qvl_trace qvl_dump_trace(struct qvl_dump *dump)
{
    return (struct qvl_trace){.user = dump, .tensor = take_tensor};
}

enum qvl_status qvl_dump_status(struct qvl_dump *dump, struct qvl_error *err)
{
    pthread_mutex_lock(&dump->lock);
    enum qvl_status status = dump->error.status;
    if (status)
        *err = dump->error;
    pthread_mutex_unlock(&dump->lock);
    return status;
}

void qvl_dump_close(struct qvl_dump *dump)
{
    if (!dump)
        return;
    pthread_mutex_destroy(&dump->lock);
    free(dump->seen);
    free(dump->dir);
    free(dump);
}
