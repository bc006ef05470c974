/* What enters: a file of which nothing is known. What leaves: entries whose names, types, shapes and byte ranges
 * are proven to fit the file, so that whoever reads entry->begin..end never leaves it.
 *
 * The rules are those of the safetensors library (tensor.rs): the header is a JSON object that begins with '{';
 * no key twice; sorted by offset the tensors begin at 0, touch each other without hole or overlap, and end where
 * the file ends; shape * size of type = length of the range, computed with checked products. qvl's own are
 * stricter: a header of at most 16 MiB, plain decimal integers, and only the types and ranks that this model
 * family uses. Zero-sized dimensions are legal here; the shape check against the model refuses them. */
#include "load/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "load/json.h"

#define N_LENGTH_BYTES 8u
enum { SHA256_BYTES = 32 };
#define MAX_INTEGER (1LL << 53) /* the last that every JSON reader holds exactly */

static const struct {
    const char *name;
    enum qvl_dtype dtype;
} dtypes[] = {{"BF16", QVL_BF16}, {"F16", QVL_F16}, {"F32", QVL_F32},    {"I8", QVL_I8},
              {"I32", QVL_I32},   {"I64", QVL_I64}, {"F8_E4M3", QVL_F8}};

const char *qvl_dtype_name(enum qvl_dtype dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == dtype)
            return dtypes[i].name;
    return "?";
}

/* ---- one entry ----------------------------------------------------------------------------------- */

static enum qvl_status check_name(const char *name, const char *path, struct qvl_error *err)
{
    size_t n = 0;
    for (; name[n]; n++)
        if (name[n] <= 0x20 || name[n] >= 0x7f || n >= QVL_MAX_TENSOR_NAME_BYTES)
            return qvl_fail(err, QVL_ERR_MODEL,
                            "%s: the header names a tensor with other than 1 to %u printable ASCII characters",
                            path, QVL_MAX_TENSOR_NAME_BYTES);
    if (n == 0)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the header holds a tensor without a name", path);
    return QVL_OK;
}

static enum qvl_status read_dtype(const json_t *value, const char *path, const char *name, enum qvl_dtype *out,
                                  struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    const char *text = json_string_value(value);
    for (size_t i = 0; text && i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(text, dtypes[i].name) == 0) {
            *out = dtypes[i].dtype;
            return QVL_OK;
        }
    }
    return qvl_fail(err, QVL_ERR_MODEL, "%s: tensor %.100s has dtype %s, qvl reads BF16, F16 and F32", path, name,
                    qvl_json_show(value, shown));
}

static enum qvl_status read_integers(const json_t *list, const char *key, size_t min_n, size_t max_n,
                                     const char *path, const char *name, uint64_t *out, struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    size_t n = json_array_size(list);
    bool is_right = json_is_array(list) && n >= min_n && n <= max_n;
    for (size_t i = 0; i < n && is_right; i++) {
        const json_t *value = json_array_get(list, i);
        long long x = json_integer_value(value);
        is_right = json_is_integer(value) && x >= 0 && x <= MAX_INTEGER;
        out[i] = (uint64_t)x;
    }
    if (is_right)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_MODEL,
                    "%s: tensor %.100s has %s %s, expected a list of %zu to %zu integers from 0", path, name, key,
                    qvl_json_show(list, shown), min_n, max_n);
}

static enum qvl_status check_range(const struct qvl_safetensors_entry *e, const char *path, struct qvl_error *err)
{
    size_t need = 0;
    if (e->begin > e->end)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: tensor %.100s ends at byte %" PRIu64 " before it begins at %" PRIu64, path, e->name,
                        e->end, e->begin);
    if (!qvl_mul_size(e->n_element, qvl_dtype_bytes(e->dtype), &need))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: tensor %.100s has more bytes than 64 bits can count", path,
                        e->name);
    if (need != e->end - e->begin)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: tensor %.100s: shape and dtype %s ask for %zu bytes, its offsets for %" PRIu64, path,
                        e->name, qvl_dtype_name(e->dtype), need, e->end - e->begin);
    return QVL_OK;
}

/* The name is copied; begin and end still count from the start of the data. */
static enum qvl_status read_entry(const char *name, const json_t *value, const char *path, struct qvl_arena *arena,
                                  struct qvl_safetensors_entry *e, struct qvl_error *err)
{
    char shown[QVL_JSON_SHOWN_BYTES];
    const json_t *shape = json_object_get(value, "shape"), *offsets = json_object_get(value, "data_offsets");
    uint64_t range[2];
    enum qvl_status status = check_name(name, path, err);
    if (status)
        return status;
    if (!json_is_object(value) || json_object_size(value) != 3)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: tensor %.100s is %s, expected dtype, shape and data_offsets", path,
                        name, qvl_json_show(value, shown));
    if ((status = read_dtype(json_object_get(value, "dtype"), path, name, &e->dtype, err)) ||
        (status = read_integers(shape, "shape", 0, QVL_MAX_DIMS, path, name, e->dim, err)) ||
        (status = read_integers(offsets, "data_offsets", 2, 2, path, name, range, err)))
        return status;
    if (!(e->name = qvl_arena_copy_text(arena, name, strlen(name), err)))
        return err->status;
    e->n_dim = (uint32_t)json_array_size(shape);
    e->begin = range[0];
    e->end = range[1];
    size_t n_element = 1;
    for (uint32_t i = 0; i < e->n_dim; i++)
        if (!qvl_mul_size(n_element, e->dim[i], &n_element))
            return qvl_fail(err, QVL_ERR_MODEL, "%s: the shape of tensor %.100s, %s, is too large for 64 bits",
                            path, name, qvl_json_show(shape, shown));
    e->n_element = n_element;
    return check_range(e, path, err);
}

/* ---- __metadata__ --------------------------------------------------------------------------------- */

static bool read_hex(const char *text, uint8_t out[SHA256_BYTES])
{
    if (strlen(text) != 2 * SHA256_BYTES)
        return false;
    for (size_t i = 0; i < 2 * SHA256_BYTES; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit = strchr(digits, text[i]);
        if (!digit)
            return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | (digit - digits));
    }
    return true;
}

static enum qvl_status read_sha256(const json_t *metadata, const char *path, struct qvl_arena *arena,
                                   struct qvl_safetensors_entry *e, struct qvl_error *err)
{
    char key[sizeof QVL_SHA256_KEY + QVL_MAX_TENSOR_NAME_BYTES], shown[QVL_JSON_SHOWN_BYTES];
    snprintf(key, sizeof key, QVL_SHA256_KEY "%s", e->name);
    const json_t *value = json_object_get(metadata, key);
    if (!value)
        return QVL_OK;
    uint8_t *sum = qvl_arena_alloc(arena, SHA256_BYTES, 1, "checksums", err);
    if (!sum)
        return err->status;
    if (!json_is_string(value) || !read_hex(json_string_value(value), sum))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the sha256 of tensor %.100s is %s, expected %d hexadecimal digits", path,
                        e->name, qvl_json_show(value, shown), 2 * SHA256_BYTES);
    e->sha256 = sum;
    return QVL_OK;
}

/* *out stays NULL where the member is no string. */
static enum qvl_status copy_member(const json_t *object, const char *key, struct qvl_arena *arena, const char **out,
                                   struct qvl_error *err)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text)
        *out = qvl_arena_copy_text(arena, text, strlen(text), err);
    return text && !*out ? err->status : QVL_OK;
}

/* Most writers leave free text here. It says nothing about where bytes are, so only what is looked for counts. */
static enum qvl_status read_metadata(const json_t *metadata, struct qvl_arena *arena, struct qvl_safetensors *file,
                                     struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    const char *format = json_string_value(json_object_get(metadata, "format"));
    for (size_t i = 0; i < file->n && !status; i++)
        status = read_sha256(metadata, file->path, arena, &file->entry[i], err);
    if (status || !format || strcmp(format, "qvl") != 0)
        return status;
    file->packed = (struct qvl_safetensors_packed){"?", "?"};
    if (!(status = copy_member(metadata, "version", arena, &file->packed.version, err)))
        status = copy_member(metadata, "type", arena, &file->packed.type, err);
    return status;
}

/* ---- all entries --------------------------------------------------------------------------------- */

static int compare_ranges(const void *a, const void *b)
{
    const struct qvl_safetensors_entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end != y->end ? (x->end < y->end ? -1 : 1) : strcmp(x->name, y->name);
}

/* Sorts, shows that the ranges tile the data exactly, and makes them count from the start of the file. */
static enum qvl_status check_tiling(struct qvl_safetensors *file, uint64_t data_begin, struct qvl_error *err)
{
    uint64_t next = 0, n_data = file->n_bytes - data_begin;
    qsort(file->entry, file->n, sizeof *file->entry, compare_ranges);
    for (size_t i = 0; i < file->n; i++) {
        struct qvl_safetensors_entry *e = &file->entry[i];
        if (e->begin != next)
            return qvl_fail(
                err, QVL_ERR_MODEL, "%s: tensor %.100s begins at data byte %" PRIu64 ", expected %" PRIu64 " (%s)",
                file->path, e->name, e->begin, next, e->begin < next ? qvl_text("an overlap") : qvl_text("a hole"));
        if (e->end > n_data)
            return qvl_fail(err, QVL_ERR_MODEL,
                            "%s: the file is cut short: it has %" PRIu64 " bytes, tensor %.100s lies at %" PRIu64
                            " to %" PRIu64,
                            file->path, file->n_bytes, e->name, data_begin + e->begin, data_begin + e->end);
        next = e->end;
        e->begin += data_begin;
        e->end += data_begin;
    }
    if (next != n_data)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the file has %" PRIu64 " bytes, its tensors end at %" PRIu64,
                        file->path, file->n_bytes, data_begin + next);
    return QVL_OK;
}

static enum qvl_status read_entries(const json_t *root, struct qvl_arena *arena, struct qvl_safetensors *file,
                                    struct qvl_error *err)
{
    const char *name;
    json_t *value;
    size_t n = json_object_size(root) - (json_object_get(root, "__metadata__") != NULL);
    if (n > QVL_MAX_TENSORS)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the header lists %zu tensors, qvl reads up to %u", file->path, n,
                        QVL_MAX_TENSORS);
    if (!(file->entry = qvl_arena_alloc(arena, n, sizeof *file->entry, "tensor list", err)))
        return err->status;
    json_object_foreach((json_t *)root, name, value)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        struct qvl_safetensors_entry *e = &file->entry[file->n];
        *e = (struct qvl_safetensors_entry){0};
        enum qvl_status status = read_entry(name, value, file->path, arena, e, err);
        if (status)
            return status;
        file->n++;
    }
    return read_metadata(json_object_get(root, "__metadata__"), arena, file, err);
}

/* ---- the header ---------------------------------------------------------------------------------- */

static uint64_t read_length(const uint8_t bytes[N_LENGTH_BYTES])
{
    uint64_t n = 0;
    for (size_t i = N_LENGTH_BYTES; i-- > 0;)
        n = n << 8 | bytes[i];
    return n;
}

/* *n_json becomes a length with N_LENGTH_BYTES + *n_json <= file_bytes. */
static enum qvl_status check_length(const uint8_t *bytes, size_t n, uint64_t file_bytes, const char *path,
                                    size_t *n_json, struct qvl_error *err)
{
    if (n < N_LENGTH_BYTES || file_bytes < N_LENGTH_BYTES)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %" PRIu64 " bytes are too few for a safetensors file", path,
                        file_bytes);
    uint64_t length = read_length(bytes);
    if (length > QVL_MAX_SAFETENSORS_HEADER_BYTES)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: not a safetensors file, or not one that qvl reads: header length %" PRIu64
                        ", expected at most %u",
                        path, length, QVL_MAX_SAFETENSORS_HEADER_BYTES);
    if (length > file_bytes - N_LENGTH_BYTES)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: the header ends at byte %" PRIu64 " of a file of %" PRIu64 " bytes", path,
                        length + N_LENGTH_BYTES, file_bytes);
    *n_json = (size_t)length;
    return QVL_OK;
}

/* '-' outside strings: jansson reads -0 as the integer 0. */
static bool has_minus(const char *json, size_t n)
{
    bool is_string = false;
    for (size_t i = 0; i < n; i++) {
        if (is_string && json[i] == '\\')
            i++;
        else if (json[i] == '"')
            is_string = !is_string;
        else if (!is_string && json[i] == '-')
            return true;
    }
    return false;
}

enum qvl_status qvl_safetensors_parse(const uint8_t *bytes, size_t n, uint64_t file_bytes, const char *path,
                                      struct qvl_arena *arena, struct qvl_safetensors *out, struct qvl_error *err)
{
    size_t n_json = 0;
    json_t *root = NULL;
    struct qvl_safetensors file = {.path = path, .fd = -1, .n_bytes = file_bytes};
    enum qvl_status status = check_length(bytes, n, file_bytes, path, &n_json, err);
    if (status)
        return status;
    const char *json = (const char *)bytes + N_LENGTH_BYTES;
    if (n_json > n - N_LENGTH_BYTES)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %zu bytes of a header of %zu", path, n - N_LENGTH_BYTES, n_json);
    if (n_json == 0 || json[0] != '{')
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the safetensors header does not begin with '{'", path);
    if (has_minus(json, n_json))
        return qvl_fail(err, QVL_ERR_MODEL, "%s: the safetensors header holds a negative number", path);
    if (!(status = qvl_json_parse(json, n_json, path, &root, err)) &&
        !(status = read_entries(root, arena, &file, err)) &&
        !(status = check_tiling(&file, N_LENGTH_BYTES + n_json, err)))
        *out = file;
    json_decref(root);
    return status;
}

/* ---- the file ------------------------------------------------------------------------------------ */

enum qvl_status qvl_safetensors_open(const char *path, struct qvl_arena *arena, struct qvl_safetensors *out,
                                     struct qvl_error *err)
{
    int fd = -1;
    uint64_t file_bytes = 0;
    size_t n_json = 0;
    uint8_t length[N_LENGTH_BYTES] = {0}, *header = NULL;
    enum qvl_status status = qvl_os_open_file(path, &fd, &file_bytes, err);
    if (status)
        return status;
    size_t n_length = (size_t)(file_bytes < N_LENGTH_BYTES ? file_bytes : N_LENGTH_BYTES);
    if ((status = qvl_os_read_at(fd, path, 0, length, n_length, err)) ||
        (status = check_length(length, n_length, file_bytes, path, &n_json, err)))
        goto fail;
    header = malloc(N_LENGTH_BYTES + n_json);
    if (!header) {
        status = qvl_fail_memory(err, n_json, "safetensors header");
        goto fail;
    }
    if ((status = qvl_os_read_at(fd, path, 0, header, N_LENGTH_BYTES + n_json, err)) ||
        (status = qvl_safetensors_parse(header, N_LENGTH_BYTES + n_json, file_bytes, path, arena, out, err)))
        goto fail;
    out->fd = fd;
    fd = -1;
fail:
    free(header);
    if (fd >= 0)
        close(fd);
    return status;
}

enum qvl_status qvl_safetensors_map(struct qvl_safetensors *file, struct qvl_error *err)
{
    return file->map ? QVL_OK : qvl_os_map(file->fd, file->path, file->n_bytes, &file->map, err);
}

void qvl_safetensors_let_go(const struct qvl_safetensors *file, uint64_t begin, uint64_t end)
{
    qvl_os_let_go(file->map, begin, end);
}

void qvl_safetensors_close(struct qvl_safetensors *file)
{
    if (file->map)
        munmap((void *)file->map, (size_t)file->n_bytes);
    if (file->fd >= 0)
        close(file->fd);
    file->map = NULL;
    file->fd = -1;
}
