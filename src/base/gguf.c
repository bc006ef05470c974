/* What enters: a file of which nothing is known. What leaves: keys whose values and tensors whose bytes are proven
 * to lie inside the file, so that whoever reads one never leaves it.
 *
 * The rules are those of gguf.cpp in llama.cpp: no key and no tensor twice; alignment a power of two; rows in whole
 * blocks; sorted by place the tensors touch each other, each padded to the alignment. qvl's own are stricter: the
 * limits of base/limits.h, 1 to 4 dimensions of at least 1, names in printable ASCII, booleans of 0 or 1, no arrays
 * in arrays, only the types that qvl computes with, and nothing behind the last tensor but its padding. The header
 * says nowhere how long it is. It is read in pieces, each as long as all before, and parsed anew until the pieces
 * hold it; its bytes are the file's own copy, which a change on disk does not reach. */
#include "base/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/array.h"
#include "base/checked.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"

#define N_OF(a) (sizeof(a) / sizeof(a)[0])
#define DEFAULT_ALIGNMENT 32u
#define MIN_ALIGNMENT 8u /* the format's own */
enum { MAGIC_BYTES = 4, FIRST_READ_BYTES = 1 << 20 };
static const char magic[MAGIC_BYTES] = {'G', 'G', 'U', 'F'};

/* Bytes of one value; 0 of those that say their length themselves. */
static const uint8_t kind_bytes[] = {
    [QVL_GGUF_U8] = 1,  [QVL_GGUF_I8] = 1,  [QVL_GGUF_U16] = 2,  [QVL_GGUF_I16] = 2,    [QVL_GGUF_U32] = 4,
    [QVL_GGUF_I32] = 4, [QVL_GGUF_F32] = 4, [QVL_GGUF_BOOL] = 1, [QVL_GGUF_STRING] = 0, [QVL_GGUF_ARRAY] = 0,
    [QVL_GGUF_U64] = 8, [QVL_GGUF_I64] = 8, [QVL_GGUF_F64] = 8,
};

/* ---- reading numbers and strings ----------------------------------------------------------------- */

struct parser {
    const char *path;
    const uint8_t *bytes; /* [n] of a file of file_bytes */
    size_t n, at;
    uint64_t file_bytes;
    bool is_out; /* the bytes at hand ended first */
    struct qvl_arena *arena;
};

static uint64_t little_endian(const uint8_t *bytes, size_t n)
{
    uint64_t x = 0;
    while (n-- > 0)
        x = x << 8 | bytes[n];
    return x;
}

/* Passes n bytes; *at is where they begin. */
static enum qvl_status take(struct parser *p, uint64_t n, size_t *at, struct qvl_error *err)
{
    *at = p->at;
    if (n <= p->n - p->at) {
        p->at += (size_t)n;
        return QVL_OK;
    }
    p->is_out = true;
    if (p->n < p->file_bytes && p->n >= QVL_MAX_GGUF_HEADER_BYTES)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the header is longer than the %u bytes that qvl reads", p->path,
                        QVL_MAX_GGUF_HEADER_BYTES);
    return qvl_fail(err, QVL_ERR_MODEL, "%s: the file is cut short: its header goes on behind byte %" PRIu64,
                    p->path, (uint64_t)p->n);
}

static enum qvl_status take_number(struct parser *p, size_t n_bytes, uint64_t *out, struct qvl_error *err)
{
    size_t at = 0;
    enum qvl_status status = take(p, n_bytes, &at, err);
    if (!status)
        *out = little_endian(p->bytes + at, n_bytes);
    return status;
}

static enum qvl_status take_u32(struct parser *p, uint32_t *out, struct qvl_error *err)
{
    uint64_t x = 0;
    enum qvl_status status = take_number(p, sizeof *out, &x, err);
    *out = (uint32_t)x;
    return status;
}

/* A string of at most max bytes; whose: the key or the list it belongs to. */
static enum qvl_status take_string(struct parser *p, size_t max, const char *whose, size_t *at, size_t *n,
                                   struct qvl_error *err)
{
    uint64_t length = 0;
    enum qvl_status status = take_number(p, sizeof length, &length, err);
    if (status)
        return status;
    if (length > max)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %.100s: a string of %" PRIu64 " bytes, qvl reads up to %zu",
                        p->path, whose, length, max);
    *n = (size_t)length;
    return take(p, length, at, err);
}

/* The name of a key or tensor, copied. */
static enum qvl_status take_name(struct parser *p, size_t max, const char *list, const char **out,
                                 struct qvl_error *err)
{
    size_t at = 0, n = 0;
    enum qvl_status status = take_string(p, max, list, &at, &n, err);
    if (status)
        return status;
    const char *name = (const char *)p->bytes + at;
    bool is_right = n > 0;
    for (size_t i = 0; i < n; i++)
        is_right = is_right && name[i] > 0x20 && name[i] < 0x7f;
    if (!is_right)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s: a name of other than 1 to %zu printable ASCII characters",
                        p->path, list, max);
    *out = qvl_arena_copy_text(p->arena, name, n, err);
    return *out ? QVL_OK : err->status;
}

/* ---- keys ---------------------------------------------------------------------------------------- */

static enum qvl_status take_kind(struct parser *p, const char *name, enum qvl_gguf_kind *out, struct qvl_error *err)
{
    uint32_t kind = 0;
    enum qvl_status status = take_u32(p, &kind, err);
    if (!status && kind >= N_OF(kind_bytes))
        status =
            qvl_fail(err, QVL_ERR_MODEL, "%s: key %.100s has a value of kind %u, which the format does not know",
                     p->path, name, kind);
    *out = (enum qvl_gguf_kind)kind;
    return status;
}

static enum qvl_status check_booleans(const struct parser *p, const struct qvl_gguf_key *key, struct qvl_error *err)
{
    for (uint64_t i = 0; i < key->n; i++)
        if (p->bytes[key->at + i] > 1)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: key %.100s has the boolean %u", p->path, key->name,
                            p->bytes[key->at + i]);
    return QVL_OK;
}

static enum qvl_status take_array(struct parser *p, struct qvl_gguf_key *key, struct qvl_error *err)
{
    size_t at = 0, n = 0;
    enum qvl_status status;
    if ((status = take_kind(p, key->name, &key->element, err)) ||
        (status = take_number(p, sizeof key->n, &key->n, err)))
        return status;
    if (key->element == QVL_GGUF_ARRAY)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: key %.100s is an array of arrays, which qvl does not read",
                        p->path, key->name);
    if (key->n > QVL_MAX_GGUF_ARRAY)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: key %.100s is an array of %" PRIu64 " elements, qvl reads up to %u", p->path,
                        key->name, key->n, QVL_MAX_GGUF_ARRAY);
    key->at = p->at;
    if (key->element != QVL_GGUF_STRING)
        return take(p, key->n * kind_bytes[key->element], &at, err);
    for (uint64_t i = 0; i < key->n && !status; i++)
        status = take_string(p, QVL_MAX_GGUF_STRING_BYTES, key->name, &at, &n, err);
    return status;
}

static size_t max_string(const char *key)
{
    static const char template[] = "tokenizer.chat_template";
    return strncmp(key, template, sizeof template - 1) == 0 ? QVL_MAX_GGUF_TEMPLATE_BYTES
                                                            : QVL_MAX_GGUF_STRING_BYTES;
}

static enum qvl_status take_key(struct parser *p, struct qvl_gguf_key *key, struct qvl_error *err)
{
    size_t at = 0, n = 1;
    enum qvl_status status;
    if ((status = take_name(p, QVL_MAX_GGUF_KEY_BYTES, qvl_text("the list of keys"), &key->name, err)) ||
        (status = take_kind(p, key->name, &key->kind, err)))
        return status;
    key->element = key->kind;
    if (key->kind == QVL_GGUF_ARRAY) {
        status = take_array(p, key, err);
    } else {
        status = key->kind == QVL_GGUF_STRING ? take_string(p, max_string(key->name), key->name, &at, &n, err)
                                              : take(p, kind_bytes[key->kind], &at, err);
        key->at = at;
        key->n = n;
    }
    return status || key->element != QVL_GGUF_BOOL ? status : check_booleans(p, key, err);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct qvl_gguf_key *)a)->name, ((const struct qvl_gguf_key *)b)->name);
}

static enum qvl_status take_keys(struct parser *p, uint64_t n, struct qvl_gguf *file, struct qvl_error *err)
{
    if (n > QVL_MAX_GGUF_KEYS)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the header lists %" PRIu64 " keys, qvl reads up to %u", p->path, n,
                        QVL_MAX_GGUF_KEYS);
    if (!(file->key = qvl_arena_alloc(p->arena, (size_t)n, sizeof *file->key, "the list of keys", err)))
        return err->status;
    for (; file->n_key < n; file->n_key++) {
        enum qvl_status status = take_key(p, &file->key[file->n_key], err);
        if (status)
            return status;
    }
    qsort(file->key, file->n_key, sizeof *file->key, compare_keys);
    for (size_t i = 1; i < file->n_key; i++)
        if (strcmp(file->key[i].name, file->key[i - 1].name) == 0)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: key %.100s is there twice", p->path, file->key[i].name);
    return QVL_OK;
}

/* ---- tensors ------------------------------------------------------------------------------------- */

/* The file counts sizes from the inner one outwards. */
static enum qvl_status take_shape(struct parser *p, struct qvl_gguf_tensor *t, struct qvl_error *err)
{
    enum qvl_status status = take_u32(p, &t->n_dim, err);
    if (status)
        return status;
    if (t->n_dim < 1 || t->n_dim > QVL_GGUF_MAX_DIMS)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: tensor %.100s has %u dimensions, expected 1 to %d", p->path,
                        t->name, t->n_dim, QVL_GGUF_MAX_DIMS);
    size_t n_element = 1;
    for (uint32_t i = t->n_dim; i-- > 0;) {
        if ((status = take_number(p, sizeof *t->dim, &t->dim[i], err)))
            return status;
        if (t->dim[i] == 0 || !qvl_mul_size(n_element, t->dim[i], &n_element) || n_element > INT64_MAX)
            return qvl_fail(err, QVL_ERR_MODEL,
                            "%s: tensor %.100s has the size %" PRIu64 ": nothing, or more than 63 bits can count",
                            p->path, t->name, t->dim[i]);
    }
    t->n_element = n_element;
    return QVL_OK;
}

/* begin still counts from the start of the data, end is begin and the tensor's bytes. */
static enum qvl_status take_place(struct parser *p, struct qvl_gguf_tensor *t, uint32_t alignment,
                                  struct qvl_error *err)
{
    uint32_t n_block = 0, n_block_bytes = 0;
    size_t n_bytes = 0, end = 0;
    enum qvl_status status;
    if ((status = take_u32(p, &t->type, err)) || (status = take_number(p, sizeof t->begin, &t->begin, err)))
        return status;
    if (!qvl_ggml_type_block(t->type, &n_block, &n_block_bytes))
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: tensor %.100s is of type %u (%s); qvl reads F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, "
                        "Q5_1, Q4_K, Q5_K, Q6_K and IQ4_NL",
                        p->path, t->name, t->type, qvl_ggml_type_name(t->type));
    uint64_t n_row = t->dim[t->n_dim - 1];
    if (n_row % n_block != 0)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: tensor %.100s has rows of %" PRIu64 " numbers, no multiple of the %u in a block of %s",
                        p->path, t->name, n_row, n_block, qvl_ggml_type_name(t->type));
    if (t->begin % alignment != 0)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: tensor %.100s begins at data byte %" PRIu64 ", no multiple of %u",
                        p->path, t->name, t->begin, alignment);
    if (!qvl_mul_size(t->n_element / n_block, n_block_bytes, &n_bytes) || !qvl_add_size(t->begin, n_bytes, &end))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: tensor %.100s has more bytes than 64 bits can count", p->path,
                        t->name);
    t->end = end;
    return QVL_OK;
}

static int compare_tensors(const void *a, const void *b)
{
    return strcmp(((const struct qvl_gguf_tensor *)a)->name, ((const struct qvl_gguf_tensor *)b)->name);
}

static enum qvl_status take_tensors(struct parser *p, uint64_t n, uint32_t alignment, struct qvl_gguf *file,
                                    struct qvl_error *err)
{
    if (n > QVL_MAX_GGUF_TENSORS)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the header lists %" PRIu64 " tensors, qvl reads up to %u", p->path,
                        n, QVL_MAX_GGUF_TENSORS);
    if (!(file->tensor = qvl_arena_alloc(p->arena, (size_t)n, sizeof *file->tensor, "tensor list", err)))
        return err->status;
    for (; file->n_tensor < n; file->n_tensor++) {
        struct qvl_gguf_tensor *t = &file->tensor[file->n_tensor];
        enum qvl_status status;
        if ((status = take_name(p, QVL_MAX_TENSOR_NAME_BYTES, qvl_text("the list of tensors"), &t->name, err)) ||
            (status = take_shape(p, t, err)) || (status = take_place(p, t, alignment, err)))
            return status;
    }
    qsort(file->tensor, file->n_tensor, sizeof *file->tensor, compare_tensors);
    for (size_t i = 1; i < file->n_tensor; i++)
        if (strcmp(file->tensor[i].name, file->tensor[i - 1].name) == 0)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: tensor %.100s is there twice", p->path, file->tensor[i].name);
    return QVL_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct qvl_gguf_tensor *x = a, *y = b;
    return x->begin != y->begin ? (x->begin < y->begin ? -1 : 1) : compare_tensors(a, b);
}

/* Sorts, shows that the tensors tile the data, and makes their places count from the start of the file. */
static enum qvl_status check_tiling(struct qvl_gguf *file, uint32_t alignment, struct qvl_error *err)
{
    uint64_t next = 0, n_data = file->n_bytes > file->data_at ? file->n_bytes - file->data_at : 0;
    qsort(file->tensor, file->n_tensor, sizeof *file->tensor, compare_places);
    for (size_t i = 0; i < file->n_tensor; i++) {
        struct qvl_gguf_tensor *t = &file->tensor[i];
        if (t->begin != next)
            return qvl_fail(
                err, QVL_ERR_MODEL, "%s: tensor %.100s begins at data byte %" PRIu64 ", expected %" PRIu64 " (%s)",
                file->path, t->name, t->begin, next, t->begin < next ? qvl_text("an overlap") : qvl_text("a hole"));
        if (t->end > n_data)
            return qvl_fail(err, QVL_ERR_MODEL,
                            "%s: the file is cut short: it has %" PRIu64 " bytes, tensor %.100s lies at %" PRIu64
                            " to %" PRIu64,
                            file->path, file->n_bytes, t->name, file->data_at + t->begin, file->data_at + t->end);
        next = qvl_round_up((size_t)t->end, alignment); /* fits: end is inside a file */
        t->begin += file->data_at;
        t->end += file->data_at;
    }
    if (n_data > next)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the file has %" PRIu64 " bytes, its tensors end at %" PRIu64,
                        file->path, file->n_bytes, file->data_at + next);
    return QVL_OK;
}

/* ---- the header ---------------------------------------------------------------------------------- */

static enum qvl_status take_version(struct parser *p, struct qvl_error *err)
{
    uint32_t version = 0;
    size_t at = 0;
    if (p->n < MAGIC_BYTES || memcmp(p->bytes, magic, MAGIC_BYTES) != 0)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: not a GGUF file: it does not begin with the letters GGUF",
                        p->path);
    enum qvl_status status;
    if ((status = take(p, MAGIC_BYTES, &at, err)) || (status = take_u32(p, &version, err)))
        return status;
    if (version != 0 && (version & 0xffff) == 0)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: written for big-endian machines; qvl reads little-endian GGUF",
                        p->path);
    if (version != 2 && version != 3)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: version %u of GGUF, qvl reads 2 and 3", p->path, version);
    return QVL_OK;
}

static enum qvl_status read_alignment(const struct qvl_gguf *file, uint32_t *out, struct qvl_error *err)
{
    static const char key[] = "general.alignment";
    uint64_t x = DEFAULT_ALIGNMENT;
    enum qvl_status status = QVL_OK;
    if (qvl_gguf_find(file, key))
        status = qvl_gguf_u64(file, key, MIN_ALIGNMENT, QVL_MAX_GGUF_ALIGNMENT, &x, err);
    if (!status && (x & (x - 1)) != 0)
        status = qvl_fail(err, QVL_ERR_MODEL, "%s: %s is %" PRIu64 ", no power of two", file->path, key, x);
    *out = (uint32_t)x;
    return status;
}

static enum qvl_status parse(struct parser *p, struct qvl_gguf *out, struct qvl_error *err)
{
    uint64_t n_tensor = 0, n_key = 0;
    uint32_t alignment = 0;
    struct qvl_gguf file = {.path = p->path, .fd = -1, .n_bytes = p->file_bytes, .head = p->bytes};
    enum qvl_status status;
    if ((status = take_version(p, err)) || (status = take_number(p, sizeof n_tensor, &n_tensor, err)) ||
        (status = take_number(p, sizeof n_key, &n_key, err)) || (status = take_keys(p, n_key, &file, err)) ||
        (status = read_alignment(&file, &alignment, err)) ||
        (status = take_tensors(p, n_tensor, alignment, &file, err)))
        return status;
    file.data_at = qvl_round_up(p->at, alignment);
    if (!(status = check_tiling(&file, alignment, err)))
        *out = file;
    return status;
}

enum qvl_status qvl_gguf_parse(const uint8_t *bytes, size_t n, uint64_t file_bytes, const char *path,
                               struct qvl_arena *arena, struct qvl_gguf *out, struct qvl_error *err)
{
    struct parser p = {.path = path, .bytes = bytes, .n = n, .file_bytes = file_bytes, .arena = arena};
    return parse(&p, out, err);
}

/* ---- the file ------------------------------------------------------------------------------------ */

enum qvl_status qvl_gguf_open(const char *path, struct qvl_arena *arena, struct qvl_gguf *out,
                              struct qvl_error *err)
{
    int fd = -1;
    uint8_t *head = NULL;
    size_t n_alloc = 0;
    struct parser p = {.path = path, .arena = arena};
    struct qvl_error too_few = {0}; /* bytes so far: no fault yet */
    enum qvl_status status = qvl_os_open_file(path, &fd, &p.file_bytes, err);
    if (status)
        return status;
    const size_t most = p.file_bytes < QVL_MAX_GGUF_HEADER_BYTES ? (size_t)p.file_bytes : QVL_MAX_GGUF_HEADER_BYTES;
    do {
        size_t n = qvl_min_size(p.n ? 2 * p.n : FIRST_READ_BYTES, most);
        uint8_t *grown = qvl_grow(head, &n_alloc, n ? n : 1, 1, "the header of a GGUF file", err);
        if (!grown) {
            status = err->status;
            goto fail;
        }
        head = grown;
        if ((status = qvl_os_read_at(fd, path, p.n, head + p.n, n - p.n, err)))
            goto fail;
        p = (struct parser){.path = path, .bytes = head, .n = n, .file_bytes = p.file_bytes, .arena = arena};
        status = parse(&p, out, n < most ? &too_few : err);
    } while (status && p.is_out && p.n < most);
    if (status && p.n < most)
        *err = too_few;
    if (status)
        goto fail;
    out->fd = fd;
    out->memory = head;
    fd = -1;
    head = NULL;
fail:
    free(head);
    if (fd >= 0)
        close(fd);
    return status;
}

void qvl_gguf_forget_keys(struct qvl_gguf *file)
{
    free(file->memory);
    file->memory = NULL;
    file->head = NULL;
    file->n_key = 0;
}

enum qvl_status qvl_gguf_map(struct qvl_gguf *file, struct qvl_error *err)
{
    return file->map ? QVL_OK : qvl_os_map(file->fd, file->path, file->n_bytes, &file->map, err);
}

void qvl_gguf_let_go(const struct qvl_gguf *file, uint64_t begin, uint64_t end)
{
    qvl_os_let_go(file->map, begin, end);
}

void qvl_gguf_close(struct qvl_gguf *file)
{
    if (file->map)
        munmap((void *)(uintptr_t)file->map, (size_t)file->n_bytes);
    if (file->fd >= 0)
        close(file->fd);
    qvl_gguf_forget_keys(file);
    file->map = NULL;
    file->fd = -1;
}

bool qvl_gguf_is(const char *path)
{
    int fd = -1;
    uint64_t n_bytes = 0;
    char found[MAGIC_BYTES];
    struct qvl_error ignored;
    if (qvl_os_open_file(path, &fd, &n_bytes, &ignored))
        return false;
    bool is = n_bytes >= MAGIC_BYTES && !qvl_os_read_at(fd, path, 0, found, MAGIC_BYTES, &ignored) &&
              memcmp(found, magic, MAGIC_BYTES) == 0;
    close(fd);
    return is;
}

/* ---- values -------------------------------------------------------------------------------------- */

static int compare_name(const void *name, const void *key)
{
    return strcmp(name, ((const struct qvl_gguf_key *)key)->name);
}

const struct qvl_gguf_key *qvl_gguf_find(const struct qvl_gguf *file, const char *name)
{
    return bsearch(name, file->key, file->n_key, sizeof *file->key, compare_name);
}

/* The number at `at`, as an integer where it is one. */
static int64_t signed_at(const struct qvl_gguf *file, enum qvl_gguf_kind kind, uint64_t at)
{
    const uint8_t *bytes = file->head + at;
    switch (kind) {
    case QVL_GGUF_I8: return (int8_t)*bytes;
    case QVL_GGUF_I16: return (int16_t)little_endian(bytes, 2);
    case QVL_GGUF_I32: return (int32_t)little_endian(bytes, 4);
    default: return (int64_t)little_endian(bytes, kind_bytes[kind]);
    }
}

static double real_at(const struct qvl_gguf *file, enum qvl_gguf_kind kind, uint64_t at)
{
    uint64_t bits = little_endian(file->head + at, kind_bytes[kind]);
    uint32_t low = (uint32_t)bits;
    double wide;
    float narrow;
    if (kind == QVL_GGUF_F64) {
        memcpy(&wide, &bits, sizeof wide);
        return wide;
    }
    memcpy(&narrow, &low, sizeof narrow);
    return (double)narrow;
}

static bool is_real(enum qvl_gguf_kind kind)
{
    return kind == QVL_GGUF_F32 || kind == QVL_GGUF_F64;
}

double qvl_gguf_number_at(const struct qvl_gguf *file, const struct qvl_gguf_key *key, uint64_t i)
{
    uint64_t at = key->at + i * kind_bytes[key->element];
    if (is_real(key->element))
        return real_at(file, key->element, at);
    if (key->element == QVL_GGUF_U64)
        return (double)little_endian(file->head + at, kind_bytes[QVL_GGUF_U64]);
    return (double)signed_at(file, key->element, at);
}

static enum qvl_status no_such_key(const struct qvl_gguf *file, const char *name, struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_MODEL, "%s: has no key %s", file->path, name);
}

enum qvl_status qvl_gguf_u64(const struct qvl_gguf *file, const char *name, uint64_t lo, uint64_t hi, uint64_t *out,
                             struct qvl_error *err)
{
    const struct qvl_gguf_key *key = qvl_gguf_find(file, name);
    if (!key)
        return no_such_key(file, name, err);
    if (key->kind == QVL_GGUF_STRING || key->kind == QVL_GGUF_ARRAY || is_real(key->kind))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is not an integer", file->path, name);
    int64_t x = signed_at(file, key->kind, key->at);
    bool is_negative = x < 0 && key->kind != QVL_GGUF_U64;
    if (is_negative)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is %" PRId64 ", expected %" PRIu64 " to %" PRIu64, file->path,
                        name, x, lo, hi);
    if ((uint64_t)x < lo || (uint64_t)x > hi)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is %" PRIu64 ", expected %" PRIu64 " to %" PRIu64, file->path,
                        name, (uint64_t)x, lo, hi);
    *out = (uint64_t)x;
    return QVL_OK;
}

enum qvl_status qvl_gguf_f64(const struct qvl_gguf *file, const char *name, double lo, double hi, double *out,
                             struct qvl_error *err)
{
    const struct qvl_gguf_key *key = qvl_gguf_find(file, name);
    if (!key)
        return no_such_key(file, name, err);
    if (!is_real(key->kind))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is not a floating-point number", file->path, name);
    double x = real_at(file, key->kind, key->at);
    if (!(x >= lo && x <= hi)) /* NaN, too */
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is %g, expected %g to %g", file->path, name, x, lo, hi);
    *out = x;
    return QVL_OK;
}

enum qvl_status qvl_gguf_string(const struct qvl_gguf *file, const char *name, const char **out, size_t *n,
                                struct qvl_error *err)
{
    const struct qvl_gguf_key *key = qvl_gguf_find(file, name);
    if (!key)
        return no_such_key(file, name, err);
    if (key->kind != QVL_GGUF_STRING)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is not a string", file->path, name);
    *out = (const char *)file->head + key->at;
    *n = (size_t)key->n;
    return QVL_OK;
}

const char *qvl_gguf_next_string(const struct qvl_gguf *file, uint64_t *at, size_t *n)
{
    const uint8_t *length = file->head + *at;
    *n = (size_t)little_endian(length, sizeof(uint64_t));
    *at += sizeof(uint64_t) + *n;
    return (const char *)length + sizeof(uint64_t);
}
