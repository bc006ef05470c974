#include "cli/reference_file.h"

#include <inttypes.h>
#include <math.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/utf8.h"

enum { N_LENGTH_BYTES = 8, N_SUM_BYTES = 32, MAX_COUNT = 1 << 24 };

struct parser {
    const char *name; /* of the file */
    struct qvl_reference *out;
    struct qvl_error *err;
};

static enum qvl_status damaged(const struct parser *p, const char *where)
{
    return qvl_fail(p->err, QVL_ERR_FILE, "%s: damaged, or not written by reference/verify.py (%.100s)", p->name,
                    where);
}

/* ---- values of JSON -------------------------------------------------------------------------------------- */

static bool is_string(const struct qvl_json_node *node)
{
    return node && node->kind == QVL_JSON_STRING && !memchr(node->utf8, 0, node->n);
}

/* A whole number from lo to MAX_COUNT. */
static bool read_count(const struct qvl_json_node *node, size_t lo, size_t *out)
{
    double x;
    if (!node || node->kind != QVL_JSON_INTEGER || !qvl_json_number(node, &x) || x < (double)lo || x > MAX_COUNT)
        return false;
    *out = (size_t)x;
    return true;
}

static bool read_sum(const struct qvl_json_node *node, uint8_t out[N_SUM_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    if (!is_string(node) || node->n != 2 * N_SUM_BYTES)
        return false;
    for (size_t i = 0; i < node->n; i++) {
        const char *digit = memchr(digits, node->utf8[i], sizeof digits - 1);
        if (!digit)
            return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | (digit - digits));
    }
    return true;
}

/* A name or text that goes to a terminal, with a NUL behind it. NULL: no memory. */
static const char *copy_printable(struct parser *p, const char *text, size_t n)
{
    char *copy = qvl_arena_copy_text(&p->out->arena, text, n, p->err);
    if (copy)
        qvl_utf8_make_printable(copy, n);
    return copy;
}

/* The same of the file's; "" where there is none. */
static const char *copy_string(struct parser *p, const struct qvl_json_node *node)
{
    return is_string(node) ? copy_printable(p, node->utf8, node->n) : "";
}

static enum qvl_status read_tree(struct parser *p, const char *text, size_t n, struct qvl_json_tree *out)
{
    return qvl_json_tree_read(text, n, p->name, QVL_MAX_JSON_VALUES, &p->out->arena, out, p->err);
}

/* JSON inside a string of the metadata. */
static enum qvl_status read_inner(struct parser *p, const struct qvl_json_node *meta, const char *key,
                                  enum qvl_json_event kind, struct qvl_json_tree *out)
{
    const struct qvl_json_node *text = qvl_json_member(meta, key);
    if (!is_string(text))
        return damaged(p, key);
    enum qvl_status status = read_tree(p, text->utf8, text->n, out);
    return status ? status : out->node[0].kind == kind ? QVL_OK : damaged(p, key);
}

/* ---- tensors --------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct qvl_reference_tensor *)a)->name, ((const struct qvl_reference_tensor *)b)->name);
}

static const struct qvl_reference_tensor *find(const struct qvl_reference *r, const char *name)
{
    struct qvl_reference_tensor wanted = {.name = name};
    return bsearch(&wanted, r->tensor, r->n_tensor, sizeof *r->tensor, by_name);
}

static bool read_type(const struct qvl_json_node *node, enum qvl_reference_type *out)
{
    static const char *const name[] = {"F32", "I32", "U8"};
    for (int i = 0; node && i < 3; i++)
        if (qvl_json_equals(node, name[i])) {
            *out = (enum qvl_reference_type)i;
            return true;
        }
    return false;
}

/* One or two dimensions, and the place in the data that they fill. */
static bool read_place(const struct qvl_json_node *entry, const uint8_t *data, size_t n_data, size_t *next,
                       struct qvl_reference_tensor *t)
{
    const struct qvl_json_node *shape = qvl_json_member(entry, "shape"),
                               *offsets = qvl_json_member(entry, "data_offsets");
    size_t begin, end, n_bytes, size;
    if (!shape || shape->kind != QVL_JSON_ARRAY || shape->n_child < 1 || shape->n_child > 2 || !offsets ||
        offsets->kind != QVL_JSON_ARRAY || offsets->n_child != 2 ||
        !read_type(qvl_json_member(entry, "dtype"), &t->type))
        return false;
    size = t->type == QVL_REFERENCE_U8 ? 1 : 4;
    t->n_column = 1;
    if (!read_count(shape + 1, 1, &t->n_row) || (shape->n_child == 2 && !read_count(shape + 2, 1, &t->n_column)))
        return false;
    double from, to;
    if (!qvl_json_number(offsets + 1, &from) || !qvl_json_number(offsets + 2, &to) || from < 0 || to < from ||
        to > (double)n_data)
        return false;
    begin = (size_t)from;
    end = (size_t)to;
    if (!qvl_mul_size(t->n_row, t->n_column, &n_bytes) || !qvl_mul_size(n_bytes, size, &n_bytes) ||
        n_bytes != end - begin || begin != *next || begin % size != 0)
        return false;
    *next = end;
    t->data = data + begin;
    return true;
}

/* In the file each entry follows the one before it in the data, too. */
static enum qvl_status read_tensors(struct parser *p)
{
    struct qvl_reference *r = p->out;
    const struct qvl_json_node *root = r->header.node, *entry = root + 1;
    size_t next = 0, n = root->n_child > 0 ? root->n_child - 1 : 0; /* __metadata__ */
    if (n > QVL_MAX_TENSORS)
        return qvl_fail(p->err, QVL_ERR_LIMIT, "%s: %zu tensors; at most %u are possible", p->name, n,
                        QVL_MAX_TENSORS);
    if (!(r->tensor = qvl_arena_alloc(&r->arena, n, sizeof *r->tensor, "the reference", p->err)))
        return p->err->status;
    for (uint32_t i = 0; i < root->n_child; i++, entry = qvl_json_next(entry)) {
        struct qvl_reference_tensor *t = &r->tensor[r->n_tensor];
        if (qvl_json_has_key(entry, "__metadata__"))
            continue;
        if (entry->n_key > QVL_MAX_TENSOR_NAME_BYTES || memchr(entry->key, 0, entry->n_key))
            return damaged(p, "a tensor's name");
        if (!(t->name = copy_printable(p, entry->key, entry->n_key)))
            return p->err->status;
        if (!read_place(entry, r->data, r->n_data, &next, t))
            return damaged(p, t->name);
        r->n_tensor++;
    }
    if (next != r->n_data)
        return damaged(p, "the file's length");
    qsort(r->tensor, r->n_tensor, sizeof *r->tensor, by_name);
    return QVL_OK;
}

static bool has_whole(const struct qvl_json_node *entry, struct qvl_reference_tensor *t)
{
    const struct qvl_json_node *max_abs = qvl_json_member(entry, "max_abs");
    return read_count(qvl_json_member(entry, "rows"), 1, &t->whole_rows) &&
           read_count(qvl_json_member(entry, "columns"), 1, &t->whole_columns) &&
           read_count(qvl_json_member(entry, "row_stride"), 1, &t->row_stride) &&
           read_count(qvl_json_member(entry, "column_stride"), 1, &t->column_stride) && max_abs &&
           qvl_json_number(max_abs, &t->max_abs) && t->max_abs >= 0 &&
           t->n_row == qvl_div_up(t->whole_rows, t->row_stride) &&
           t->n_column == qvl_div_up(t->whole_columns, t->column_stride) && t->type != QVL_REFERENCE_I32;
}

static enum qvl_status read_slices(struct parser *p)
{
    const struct qvl_json_node *root = p->out->slices.node, *entry = root + 1;
    for (uint32_t i = 0; i < root->n_child; i++, entry = qvl_json_next(entry)) {
        const char *name = copy_printable(p, entry->key, entry->n_key);
        if (!name)
            return p->err->status;
        struct qvl_reference_tensor *t = (struct qvl_reference_tensor *)find(p->out, name);
        if (!t || !has_whole(entry, t))
            return damaged(p, name);
        t->is_slice = true;
    }
    return QVL_OK;
}

/* ---- cases ----------------------------------------------------------------------------------------------- */

/* A text's bytes, or a picture's file, into `bytes` and `n`. */
static enum qvl_status find_file(struct parser *p, const struct qvl_json_node *name, const uint8_t **bytes,
                                 size_t *n)
{
    const char *key = copy_string(p, name);
    if (!key)
        return p->err->status;
    const struct qvl_reference_tensor *t = find(p->out, key);
    if (!t || t->type != QVL_REFERENCE_U8 || t->n_column != 1 || t->is_slice)
        return damaged(p, key);
    *bytes = t->data;
    *n = t->n_row;
    return QVL_OK;
}

static enum qvl_status read_clip(struct parser *p, const struct qvl_json_node *names,
                                 const struct qvl_json_node *times, struct qvl_part *out)
{
    const struct qvl_json_node *name = names + 1, *time = times ? times + 1 : NULL;
    if (names->kind != QVL_JSON_ARRAY || names->n_child < 1 || !times || times->kind != QVL_JSON_ARRAY ||
        times->n_child != names->n_child || names->n_child > QVL_MAX_CLIP_FRAMES)
        return damaged(p, "a clip");
    struct qvl_picture_file *frame =
        qvl_arena_alloc(&p->out->arena, names->n_child, sizeof *frame, "the reference", p->err);
    if (!frame)
        return p->err->status;
    for (uint32_t i = 0; i < names->n_child; i++) {
        enum qvl_status status = find_file(p, name, &frame[i].bytes, &frame[i].n_bytes);
        if (status)
            return status;
        if (!qvl_json_number(time, &frame[i].time_s))
            return damaged(p, "a clip's times");
        name = qvl_json_next(name);
        time = qvl_json_next(time);
    }
    *out = (struct qvl_part){
        .kind = QVL_PART_VIDEO,
        .source = {.from = QVL_FROM_PICTURES, .fd = -1, .pictures = frame, .n_frame = names->n_child}};
    return QVL_OK;
}

static enum qvl_status read_part(struct parser *p, const struct qvl_json_node *entry, struct qvl_part *out)
{
    const struct qvl_json_node *text = qvl_json_member(entry, "text"), *picture = qvl_json_member(entry, "picture"),
                               *clip = qvl_json_member(entry, "clip");
    if (is_string(text)) {
        *out = (struct qvl_part){.kind = QVL_PART_TEXT, .utf8 = text->utf8, .n = text->n};
        return QVL_OK;
    }
    if (picture) {
        *out = (struct qvl_part){.kind = QVL_PART_IMAGE, .source = {.from = QVL_FROM_BYTES, .fd = -1}};
        return find_file(p, picture, &out->source.bytes, &out->source.n_bytes);
    }
    return clip ? read_clip(p, clip, qvl_json_member(entry, "times"), out) : damaged(p, "a part of a question");
}

static enum qvl_status read_parts(struct parser *p, const struct qvl_json_node *parts, struct qvl_reference_case *c,
                                  size_t *n_media)
{
    const struct qvl_json_node *entry = parts ? parts + 1 : NULL;
    if (!parts || parts->kind != QVL_JSON_ARRAY || parts->n_child < 1 || parts->n_child > QVL_MAX_REFERENCE_PARTS)
        return damaged(p, "parts");
    if (!(c->part = qvl_arena_alloc(&p->out->arena, parts->n_child, sizeof *c->part, "the reference", p->err)))
        return p->err->status;
    for (uint32_t i = 0; i < parts->n_child; i++, entry = qvl_json_next(entry)) {
        enum qvl_status status = read_part(p, entry, &c->part[i]);
        if (status)
            return status;
        *n_media += c->part[i].kind != QVL_PART_TEXT;
    }
    c->n_part = parts->n_child;
    return QVL_OK;
}

static enum qvl_status read_media(struct parser *p, const struct qvl_json_node *pixels,
                                  struct qvl_reference_case *c)
{
    const struct qvl_json_node *entry = pixels ? pixels + 1 : NULL;
    size_t n = pixels && pixels->kind == QVL_JSON_ARRAY ? pixels->n_child : 0;
    if (!(c->media = qvl_arena_alloc(&p->out->arena, n, sizeof *c->media, "the reference", p->err)))
        return p->err->status;
    for (size_t i = 0; i < n; i++, entry = qvl_json_next(entry)) {
        const struct qvl_json_node *shape = qvl_json_member(entry, "shape");
        size_t dim[3] = {0};
        bool is_right = shape && shape->kind == QVL_JSON_ARRAY && shape->n_child == 3 &&
                        read_sum(qvl_json_member(entry, "sha256"), c->media[i].sha256);
        for (uint32_t k = 0; k < 3 && is_right; k++)
            is_right = read_count(shape + 1 + k, 1, &dim[k]);
        if (!is_right)
            return damaged(p, "pixels");
        c->media[i].n_frame = dim[0];
        c->media[i].h = dim[1];
        c->media[i].w = dim[2];
    }
    c->n_media = n;
    return QVL_OK;
}

/* CASE.WHAT of a type, with one column where n_column is 1. NULL where there is none. */
static const struct qvl_reference_tensor *find_of(struct parser *p, const struct qvl_reference_case *c,
                                                  const char *what, enum qvl_reference_type type)
{
    char name[QVL_MAX_TENSOR_NAME_BYTES + 1];
    int n = snprintf(name, sizeof name, "%s.%s", c->name, what);
    const struct qvl_reference_tensor *t = n > 0 && (size_t)n < sizeof name ? find(p->out, name) : NULL;
    return t && t->type == type && !t->is_slice ? t : NULL;
}

static bool is_negative(const struct qvl_reference_tensor *t)
{
    const int32_t *id = t->data;
    for (size_t i = 0; i < t->n_row * t->n_column; i++)
        if (id[i] < 0)
            return true;
    return false;
}

static enum qvl_status read_answer(struct parser *p, struct qvl_reference_case *c)
{
    const struct qvl_reference_tensor *ids = find_of(p, c, "ids", QVL_REFERENCE_I32),
                                      *output = find_of(p, c, "output_ids", QVL_REFERENCE_I32),
                                      *top_ids = find_of(p, c, "top_ids", QVL_REFERENCE_I32),
                                      *top = find_of(p, c, "top", QVL_REFERENCE_F32),
                                      *log_sum = find_of(p, c, "log_sum", QVL_REFERENCE_F32);
    if (!ids || !output || !top_ids || !top || !log_sum || ids->n_column != 1 || output->n_column != 1 ||
        log_sum->n_column != 1 || log_sum->n_row != output->n_row || top->n_row != output->n_row ||
        top_ids->n_row != output->n_row || top->n_column != top_ids->n_column || top->n_column < 2 ||
        is_negative(ids) || is_negative(output) || is_negative(top_ids))
        return damaged(p, c->name);
    c->ids = ids->data;
    c->n_id = ids->n_row;
    c->output_ids = output->data;
    c->n_output = output->n_row;
    c->top_ids = top_ids->data;
    c->top = top->data;
    c->n_top = top->n_column;
    c->log_sum = log_sum->data;
    return QVL_OK;
}

/* The slices whose names begin with "CASE.": neighbours, as tensors are sorted, and no other ones. */
static enum qvl_status find_slices(struct parser *p, struct qvl_reference_case *c)
{
    struct qvl_reference *r = p->out;
    size_t n = 0;
    c->n_prefix = strlen(c->name) + 1;
    /* pointers are meant: NOLINTNEXTLINE(bugprone-sizeof-expression) */
    if (!(c->slice = qvl_arena_alloc(&r->arena, r->n_tensor, sizeof *c->slice, "the reference", p->err)))
        return p->err->status;
    for (size_t i = 0; i < r->n_tensor; i++)
        if (r->tensor[i].is_slice && strncmp(r->tensor[i].name, c->name, c->n_prefix - 1) == 0 &&
            r->tensor[i].name[c->n_prefix - 1] == '.')
            c->slice[n++] = &r->tensor[i];
    c->n_slice = n;
    return QVL_OK;
}

static enum qvl_status read_case(struct parser *p, const struct qvl_json_node *entry, struct qvl_reference_case *c)
{
    const struct qvl_json_node *wrapper = qvl_json_member(entry, "video_wrapper");
    size_t n_media = 0;
    enum qvl_status status;
    if (!(c->name = copy_string(p, qvl_json_member(entry, "name"))))
        return p->err->status;
    if (!c->name[0] || strchr(c->name, '.'))
        return damaged(p, "a case's name");
    c->has_video_wrapper = wrapper && wrapper->kind == QVL_JSON_TRUE;
    if ((status = read_parts(p, qvl_json_member(entry, "parts"), c, &n_media)) ||
        (status = read_media(p, qvl_json_member(entry, "pixels"), c)))
        return status;
    if (n_media != c->n_media)
        return damaged(p, c->name);
    return (status = read_answer(p, c)) ? status : find_slices(p, c);
}

static enum qvl_status read_cases(struct parser *p)
{
    struct qvl_reference *r = p->out;
    const struct qvl_json_node *root = r->cases.node, *entry = root + 1;
    if (root->n_child < 1 || root->n_child > QVL_MAX_REFERENCE_CASES)
        return damaged(p, "cases");
    if (!(r->one = qvl_arena_alloc(&r->arena, root->n_child, sizeof *r->one, "the reference", p->err)))
        return p->err->status;
    for (uint32_t i = 0; i < root->n_child; i++, entry = qvl_json_next(entry)) {
        enum qvl_status status = read_case(p, entry, &r->one[i]);
        if (status)
            return status;
        r->n_case++;
    }
    return QVL_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------- */

static enum qvl_status read_about(struct parser *p)
{
    struct qvl_reference *r = p->out;
    const struct qvl_json_node *about = r->about.node, *versions = qvl_json_member(about, "versions"),
                               *thinking = qvl_json_member(about, "thinking");
    if (!(r->model = copy_string(p, qvl_json_member(about, "model"))) ||
        !(r->dtype = copy_string(p, qvl_json_member(about, "dtype"))) ||
        !(r->device = copy_string(p, qvl_json_member(about, "device"))) ||
        !(r->config_sha256 = copy_string(p, qvl_json_member(about, "config_sha256"))) ||
        !(r->transformers = copy_string(p, qvl_json_member(versions, "transformers"))) ||
        !(r->torch = copy_string(p, qvl_json_member(versions, "torch"))))
        return p->err->status;
    r->is_thinking = thinking && thinking->kind == QVL_JSON_TRUE;
    r->is_rounded = strcmp(r->dtype, "float32") != 0;
    r->sizes = qvl_json_member(about, "sizes");
    return QVL_OK;
}

/* Format and version come first: of a newer one nothing else can be told. */
static enum qvl_status read_metadata(struct parser *p)
{
    struct qvl_reference *r = p->out;
    const struct qvl_json_node *meta = qvl_json_member(r->header.node, "__metadata__"),
                               *format = qvl_json_member(meta, "format"),
                               *version = qvl_json_member(meta, "version");
    static const char *const summed[] = {"about", "cases", "slices"};
    struct qvl_json_tree *const inner[] = {&r->about, &r->cases, &r->slices};
    if (!format || !qvl_json_equals(format, "qvl-reference") || !is_string(version))
        return qvl_fail(p->err, QVL_ERR_FILE, "%s: not a file that reference/verify.py has written", p->name);
    if (!qvl_json_equals(version, "1"))
        return qvl_fail(p->err, QVL_ERR_ARGUMENT,
                        "%s: written in version %.*s of the format; this qvl reads version %d: write it with the "
                        "reference/verify.py of this qvl",
                        p->name, (int)qvl_min_size(version->n, 20), version->utf8, QVL_REFERENCE_VERSION);
    if (!read_sum(qvl_json_member(meta, "sha256"), r->sha256))
        return damaged(p, "sha256");
    for (int i = 0; i < 3; i++) {
        enum qvl_status status =
            read_inner(p, meta, summed[i], i == 1 ? QVL_JSON_ARRAY : QVL_JSON_OBJECT, inner[i]);
        if (status)
            return status;
        r->summed[i] = qvl_json_member(meta, summed[i]);
    }
    return QVL_OK;
}

enum qvl_status qvl_reference_parse(const uint8_t *bytes, size_t n, const char *name, struct qvl_reference *out,
                                    struct qvl_error *err)
{
    struct parser p = {name, out, err};
    uint64_t n_header = 0;
    enum qvl_status status;
    *out = (struct qvl_reference){0};
    for (size_t i = N_LENGTH_BYTES; i-- > 0 && n >= N_LENGTH_BYTES;)
        n_header = n_header << 8 | bytes[i];
    if (n < N_LENGTH_BYTES || n_header > n - N_LENGTH_BYTES || n_header % 8 != 0 || n_header == 0 ||
        bytes[N_LENGTH_BYTES] != '{')
        return qvl_fail(err, QVL_ERR_FILE, "%s: not a file that reference/verify.py has written", name);
    if (n_header > QVL_MAX_REFERENCE_HEADER_BYTES)
        return qvl_fail(err, QVL_ERR_LIMIT, "%s: a header of %" PRIu64 " bytes; at most %u are possible", name,
                        n_header, QVL_MAX_REFERENCE_HEADER_BYTES);
    out->data = bytes + N_LENGTH_BYTES + n_header;
    out->n_data = n - N_LENGTH_BYTES - (size_t)n_header;
    if ((status = read_tree(&p, (const char *)bytes + N_LENGTH_BYTES, (size_t)n_header, &out->header)) ||
        (status = read_metadata(&p)) || (status = read_tensors(&p)) || (status = read_slices(&p)) ||
        (status = read_about(&p)))
        return status;
    return read_cases(&p);
}

static bool is_sum_right(const struct qvl_reference *r)
{
    struct sha256_ctx sha;
    uint8_t sum[N_SUM_BYTES];
    sha256_init(&sha);
    for (int i = 0; i < 3; i++)
        sha256_update(&sha, r->summed[i]->n, (const uint8_t *)r->summed[i]->utf8);
    sha256_update(&sha, r->n_data, r->data);
    sha256_digest(&sha, sizeof sum, sum);
    return memcmp(sum, r->sha256, sizeof sum) == 0;
}

enum qvl_status qvl_reference_open(const char *path, struct qvl_reference *out, struct qvl_error *err)
{
    struct qvl_bytes bytes = {0};
    *out = (struct qvl_reference){0};
    enum qvl_status status = qvl_os_read_file(path, QVL_MAX_REFERENCE_BYTES, &bytes, err);
    if (!status)
        status = qvl_reference_parse((const uint8_t *)bytes.data, bytes.n, path, out, err);
    out->bytes = bytes;
    if (!status && !is_sum_right(out))
        status = qvl_fail(err, QVL_ERR_FILE, "%s: damaged: it has not the SHA-256 that it says", path);
    return status;
}

void qvl_reference_close(struct qvl_reference *reference)
{
    qvl_json_tree_free(&reference->header);
    qvl_json_tree_free(&reference->about);
    qvl_json_tree_free(&reference->cases);
    qvl_json_tree_free(&reference->slices);
    qvl_arena_free(&reference->arena);
    qvl_bytes_free(&reference->bytes);
    *reference = (struct qvl_reference){0};
}
