/* What enters: a model folder (or a pair of GGUF files: weights_gguf.c) and its config. What leaves: the table of
 * weights_table.c with the bytes behind each row.
 *
 * The table is made first, from the config alone; the files are then held against it, row by row and name by
 * name, so that whatever the model room finds here has the shape it computes with. Names are looked up by
 * bisection in the sorted table. Source of truth for the prefixes: MODEL.md, "Tensors". */
#include "load/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/language.h"
#include "base/limits.h"
#include "base/os.h"
#include "load/foreign.h"
#include "load/quantize.h"
#include "load/safetensors.h"
#include "load/shard_index.h"
#include "load/weights_faults.h"
#include "load/weights_gguf.h"

struct source {
    const struct qvl_safetensors_entry *entry; /* NULL: not found yet */
    size_t i_file;
};

struct qvl_weights {
    struct qvl_arena arena;       /* everything below, and copies of misaligned tensors */
    struct qvl_safetensors *file; /* [n_file] */
    size_t n_file;
    struct qvl_tensor *tensor; /* [n], sorted by name */
    struct source *source;     /* [n] */
    size_t n;
    struct qvl_foreign_parts *foreign; /* [n] of a folder quantised by another program; else NULL */
    struct qvl_stored *stored;         /* [n] the same */
    struct source tied_head; /* lm_head.weight stored beside a tied embedding */
    struct qvl_gguf_model gguf; /* of two GGUF files; then there is no source, file or foreign */
    bool is_gguf;
    uint64_t n_bytes;
    bool is_mapped;
};

/* ---- names --------------------------------------------------------------------------------------- */

/* The first that fits counts, so longer prefixes stand before those that they begin with. */
static const struct {
    const char *met, *canonical;
} prefixes[] = {
    {"model.visual.", "model.visual."},
    {"visual.", "model.visual."},
    {"vision_tower.", "model.visual."},
    {"model.language_model.", "model.language_model."},
    {"language_model.model.", "model.language_model."},
    {"language_model.", "model.language_model."},
    {"lm_head.", "lm_head."},
};

/* False for a name that begins with none of the prefixes. */
static bool to_canonical(const char *name, char *out, size_t n_out)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i].met);
        if (strncmp(name, prefixes[i].met, n) == 0)
            return (size_t)snprintf(out, n_out, "%s%s", prefixes[i].canonical, name + n) < n_out;
    }
    return false;
}

static int compare_name(const void *key, const void *tensor)
{
    return strcmp(key, ((const struct qvl_tensor *)tensor)->name);
}

const struct qvl_tensor *qvl_tensors_find(const struct qvl_tensor *tensor, size_t n, const char *canonical_name)
{
    return bsearch(canonical_name, tensor, n, sizeof *tensor, compare_name);
}

const struct qvl_tensor *qvl_weights_find(const struct qvl_weights *weights, const char *canonical_name)
{
    return qvl_tensors_find(weights->tensor, weights->n, canonical_name);
}

/* ---- files against the table --------------------------------------------------------------------- */

/* A packed matrix is stored as a row of bytes. */
static bool is_shape(const struct qvl_safetensors_entry *e, const struct qvl_tensor *t)
{
    if (qvl_dtype_is_packed(t->dtype))
        return e->dtype == QVL_I8 && e->n_dim == 1 && e->dim[0] == qvl_tensor_bytes(t);
    return e->n_dim == t->n_dim && memcmp(e->dim, t->dim, t->n_dim * sizeof *t->dim) == 0;
}

/* A part of a quantised matrix; false where it is none. */
static bool place_part(struct qvl_weights *w, const struct qvl_foreign_config *foreign, size_t i_file,
                       const struct qvl_safetensors_entry *e, struct qvl_faults *faults)
{
    char stem[QVL_MAX_TENSOR_NAME_BYTES + sizeof ".weight"], name[2 * QVL_MAX_TENSOR_NAME_BYTES];
    enum qvl_foreign_role role = qvl_foreign_role_of(foreign, e, stem, sizeof stem);
    if (role == QVL_PART_NONE || role == QVL_PART_PASSED_OVER)
        return role == QVL_PART_PASSED_OVER;
    const struct qvl_tensor *t = to_canonical(stem, name, sizeof name) ? qvl_weights_find(w, name) : NULL;
    if (!t) {
        qvl_faults_add(faults, QVL_FAULT_UNEXPECTED, e->name, "");
        return true;
    }
    struct qvl_foreign_part *part = &w->foreign[t - w->tensor].of[role];
    if (part->entry || (role == QVL_PART_WEIGHT && w->source[t - w->tensor].entry))
        qvl_faults_add(faults, QVL_FAULT_DIFFERENT, e->name, qvl_text(" is there twice"));
    *part = (struct qvl_foreign_part){e, &w->file[i_file]};
    return true;
}

static void place_entry(struct qvl_weights *w, bool is_tied, size_t i_file, const struct qvl_safetensors_entry *e,
                        struct qvl_faults *faults)
{
    char name[2 * QVL_MAX_TENSOR_NAME_BYTES], detail[120];
    bool is_known = to_canonical(e->name, name, sizeof name);
    const struct qvl_tensor *t = is_known ? qvl_weights_find(w, name) : NULL;
    bool is_tied_head = !t && is_known && is_tied && strcmp(name, "lm_head.weight") == 0;
    if (is_tied_head)
        t = qvl_weights_find(w, "model.language_model.embed_tokens.weight");
    if (!t) {
        qvl_faults_add(faults, QVL_FAULT_UNEXPECTED, e->name, "");
        return;
    }
    struct source *source = is_tied_head ? &w->tied_head : &w->source[t - w->tensor];
    const uint64_t n_byte = qvl_tensor_bytes(t);
    bool is_packed = qvl_dtype_is_packed(t->dtype);
    if (source->entry || (w->foreign && w->foreign[t - w->tensor].of[QVL_PART_WEIGHT].entry)) {
        qvl_faults_add(faults, QVL_FAULT_DIFFERENT, e->name, qvl_text(" is there twice"));
    } else if (!is_packed && !qvl_dtype_is_float(e->dtype)) {
        snprintf(detail, sizeof detail, qvl_text(" is of type %s, expected BF16, F16 or F32"), qvl_dtype_name(e->dtype));
        qvl_faults_add(faults, QVL_FAULT_DIFFERENT, e->name, detail);
    } else if (!is_shape(e, t)) {
        qvl_faults_add_shape(faults, e->name, e->dim, e->n_dim, is_packed ? &n_byte : t->dim, is_packed ? 1 : t->n_dim);
    }
    *source = (struct source){e, i_file};
}

static bool has_parts(const struct qvl_weights *w, size_t i)
{
    for (size_t role = 0; w->foreign && role < QVL_PART_N; role++)
        if (w->foreign[i].of[role].entry)
            return true;
    return false;
}

static enum qvl_status place_all(struct qvl_weights *w, const char *model_dir, const struct qvl_config *config,
                                 struct qvl_error *err)
{
    struct qvl_faults faults = {0};
    for (size_t i = 0; i < w->n_file; i++)
        for (size_t k = 0; k < w->file[i].n; k++)
            if (!w->foreign || !place_part(w, &config->foreign, i, &w->file[i].entry[k], &faults))
                place_entry(w, config->text.is_tied, i, &w->file[i].entry[k], &faults);
    for (size_t i = 0; i < w->n; i++) {
        if (w->source[i].entry) {
            if (!qvl_dtype_is_packed(w->tensor[i].dtype))
                w->tensor[i].dtype = w->source[i].entry->dtype;
            w->tensor[i].sha256 = w->source[i].entry->sha256;
            w->n_bytes += w->source[i].entry->end - w->source[i].entry->begin;
        }
        if (!w->source[i].entry && !has_parts(w, i))
            qvl_faults_add(&faults, QVL_FAULT_MISSING, w->tensor[i].name, "");
    }
    return qvl_faults_report(&faults, model_dir, w->n, "config.json", err);
}

static enum qvl_status bind_parts(struct qvl_weights *w, const struct qvl_foreign_config *foreign,
                                  struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < w->n && !status; i++) {
        struct qvl_tensor *t = &w->tensor[i];
        if (!has_parts(w, i))
            continue;
        if (w->source[i].entry)
            return qvl_fail(err, QVL_ERR_MODEL, "%s: is there both quantised and not", t->name);
        status = qvl_foreign_bind(foreign, t, &w->foreign[i], &w->stored[i], err);
        t->dtype = QVL_STORED;
        t->stored = &w->stored[i];
        w->n_bytes += qvl_foreign_bytes(&w->foreign[i]);
    }
    return status;
}

/* Config and weights come from one `qvl quantize`, or from none. */
static enum qvl_status check_packed_by(const struct qvl_safetensors *file, const struct qvl_config *config,
                                       struct qvl_error *err)
{
    const struct qvl_safetensors_packed *packed = &file->packed;
    const char *type = qvl_quantization_name(config->quantization);
    if (!packed->type && config->quantization == QVL_QUANTIZE_NONE)
        return QVL_OK;
    if (!packed->type)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: not written by qvl quantize, but config.json says quantization_config.type \"%s\"",
                        file->path, type);
    if (strcmp(packed->version, QVL_PACKED_VERSION_TEXT) != 0)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: written in version %.20s of the packed format, and this qvl reads version %s",
                        file->path, packed->version, QVL_PACKED_VERSION_TEXT);
    if (config->quantization == QVL_QUANTIZE_NONE)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: packed by qvl quantize as %.20s, but config.json has no quantization_config",
                        file->path, packed->type);
    if (strcmp(packed->type, type) != 0)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: packed by qvl quantize as %.20s, but config.json says quantization_config.type \"%s\"",
                        file->path, packed->type, type);
    return QVL_OK;
}

static enum qvl_status check_files(const struct qvl_weights *w, const struct qvl_config *config,
                                   struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < w->n_file && !status; i++)
        status = check_packed_by(&w->file[i], config, err);
    return status;
}

/* ---- opening ------------------------------------------------------------------------------------- */

/* dir/file in the arena. */
static const char *join(struct qvl_weights *w, const char *dir, const char *file, bool *is_there,
                        struct qvl_error *err)
{
    size_t n = strlen(dir) + 1 + strlen(file);
    char *path = qvl_arena_alloc(&w->arena, n + 1, 1, "path", err);
    if (!path)
        return NULL;
    snprintf(path, n + 1, "%s/%s", dir, file);
    *is_there = qvl_os_is_there(path);
    return path;
}

static enum qvl_status open_one(struct qvl_weights *w, const char *path, struct qvl_error *err)
{
    enum qvl_status status = qvl_safetensors_open(path, &w->arena, &w->file[w->n_file], err);
    w->n_file += !status;
    return status;
}

static enum qvl_status open_shards(struct qvl_weights *w, const char *dir, const char *index_path,
                                   struct qvl_error *err)
{
    json_t *root = NULL;
    struct qvl_shard_index index = {0};
    char name[QVL_SHARD_NAME_BYTES];
    enum qvl_status status = qvl_json_read(index_path, QVL_MAX_INDEX_BYTES, &root, err);
    if (status || (status = qvl_shard_index_parse(root, index_path, &index, err)))
        return status;
    if (!(w->file = qvl_arena_alloc(&w->arena, index.n_shard, sizeof *w->file, "file list", err)))
        status = err->status;
    for (uint32_t i = 1; i <= index.n_shard && !status; i++) {
        bool is_there;
        qvl_shard_name(i, index.n_shard, name);
        const char *path = join(w, dir, name, &is_there, err);
        status = path ? open_one(w, path, err) : err->status;
        if (!status)
            status = qvl_shard_index_check(&index, i, &w->file[i - 1], err);
    }
    if (!status)
        status = qvl_shard_index_check_end(&index, err);
    qvl_shard_index_free(&index);
    return status;
}

static enum qvl_status open_files(struct qvl_weights *w, const char *dir, struct qvl_error *err)
{
    bool is_single = false, is_sharded = false;
    const char *single = join(w, dir, "model.safetensors", &is_single, err);
    const char *index = single ? join(w, dir, "model.safetensors.index.json", &is_sharded, err) : NULL;
    if (!index)
        return err->status;
    if (!is_single && is_sharded)
        return open_shards(w, dir, index, err);
    if (!is_single)
        return qvl_fail(err, QVL_ERR_FILE, "%s: holds neither model.safetensors nor model.safetensors.index.json",
                        dir);
    w->file = qvl_arena_alloc(&w->arena, 1, sizeof *w->file, "file list", err);
    return w->file ? open_one(w, single, err) : err->status;
}

static enum qvl_status make_room_for_parts(struct qvl_weights *w, struct qvl_error *err)
{
    w->foreign = qvl_arena_alloc(&w->arena, w->n, sizeof *w->foreign, "tensor table", err);
    w->stored = w->foreign ? qvl_arena_alloc(&w->arena, w->n, sizeof *w->stored, "tensor table", err) : NULL;
    return w->stored ? QVL_OK : err->status;
}

static enum qvl_status open_folder(struct qvl_weights *w, const char *dir, const struct qvl_config *config,
                                   struct qvl_error *err)
{
    enum qvl_status status;
    if (!(w->source = qvl_arena_alloc(&w->arena, w->n, sizeof *w->source, "tensor table", err)))
        return err->status;
    if ((config->foreign.n_scheme && (status = make_room_for_parts(w, err))) || (status = open_files(w, dir, err)) ||
        (status = check_files(w, config, err)) || (status = place_all(w, dir, config, err)))
        return status;
    return bind_parts(w, &config->foreign, err);
}

static enum qvl_status open_gguf(struct qvl_weights *w, const struct qvl_gguf_pair *pair,
                                 const struct qvl_config *config, struct qvl_error *err)
{
    enum qvl_status status = qvl_gguf_model_open(pair, config, &w->arena, w->tensor, w->n, &w->gguf, err);
    w->is_gguf = !status;
    w->n_bytes = w->gguf.n_bytes;
    return status;
}

enum qvl_status qvl_weights_open(const char *model_dir, const struct qvl_config *config, struct qvl_weights **out,
                                 struct qvl_error *err)
{
    struct qvl_gguf_pair pair;
    enum qvl_status status = qvl_gguf_pair_find(model_dir, &pair, err);
    if (status)
        return status;
    struct qvl_weights *w = calloc(1, sizeof *w);
    if (!w)
        return qvl_fail_memory(err, sizeof *w, "weights");
    if ((status = qvl_weights_expect(config, &w->arena, &w->tensor, &w->n, err)) ||
        (status = pair.is_found ? open_gguf(w, &pair, config, err) : open_folder(w, model_dir, config, err)))
        goto fail;
    *out = w;
    w = NULL;
fail:
    qvl_weights_close(w);
    return status;
}

void qvl_weights_close(struct qvl_weights *weights)
{
    if (!weights)
        return;
    for (size_t i = 0; i < weights->n_file; i++)
        qvl_safetensors_close(&weights->file[i]);
    if (weights->is_gguf)
        qvl_gguf_model_close(&weights->gguf);
    qvl_arena_free(&weights->arena);
    free(weights);
}

/* ---- mapping ------------------------------------------------------------------------------------- */

static const uint8_t *bytes_of(const struct qvl_weights *w, const struct source *source)
{
    return w->file[source->i_file].map + source->entry->begin;
}

/* The reference takes a stored head that differs for the head, whatever the flag says. Here such a checkpoint
 * is refused, and one that agrees is the same model with or without the copy. */
static enum qvl_status check_tied_head(const struct qvl_weights *w, struct qvl_error *err)
{
    const struct qvl_tensor *embedding = qvl_weights_find(w, "model.language_model.embed_tokens.weight");
    const struct qvl_safetensors_entry *head = w->tied_head.entry;
    if (!head || (head->dtype == embedding->dtype &&
                  memcmp(bytes_of(w, &w->tied_head), embedding->data, (size_t)(head->end - head->begin)) == 0))
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_MODEL,
                    "%s: lm_head.weight differs from the embedding, but config.json says tie_word_embeddings",
                    w->file[w->tied_head.i_file].path);
}

/* Whether the head of a packed matrix says what the table says of it. */
static enum qvl_status check_packed(const struct qvl_weights *w, const struct qvl_tensor *t, struct qvl_error *err)
{
    static const uint8_t zero[sizeof((struct qvl_packed_head *)0)->zero];
    const char *path = w->file[w->source[t - w->tensor].i_file].path;
    const struct qvl_packed_head *head = t->data;
    if (head->magic == QVL_PACKED_MAGIC && head->version != QVL_PACKED_VERSION)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "%s: %s is in version %u of the packed format, and this qvl reads version %u", path,
                        t->name, head->version, QVL_PACKED_VERSION);
    bool is_right = head->magic == QVL_PACKED_MAGIC && head->format == qvl_packed_format(t->dtype) &&
                    head->n_out == t->dim[0] && head->n_in == qvl_tensor_n_in(t) &&
                    memcmp(head->zero, zero, sizeof zero) == 0;
    for (size_t i = 0; i < QVL_Q4_LEVELS; i++)
        is_right = is_right && head->level[i] <= 127 && (i == 0 || head->level[i] >= head->level[i - 1]);
    if (!is_right)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s does not begin as a packed matrix does: the file is damaged",
                        path, t->name);
    return QVL_OK;
}

/* In place, or as a copy where it is not aligned. */
static enum qvl_status map_tensor(struct qvl_weights *w, struct qvl_tensor *t, const uint8_t *bytes,
                                  struct qvl_error *err)
{
    bool is_packed = qvl_dtype_is_packed(t->dtype);
    size_t n = (size_t)qvl_tensor_bytes(t);
    t->data = bytes;
    if ((uintptr_t)bytes % (is_packed ? QVL_PANEL_LINE : qvl_dtype_bytes(t->dtype)) != 0) {
        void *copy = qvl_arena_alloc(&w->arena, n, 1, "a misaligned tensor", err);
        t->data = copy ? memcpy(copy, bytes, n) : NULL;
    }
    if (!t->data)
        return err->status;
    return is_packed ? check_packed(w, t, err) : QVL_OK;
}

static enum qvl_status map_folder(struct qvl_weights *weights, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < weights->n_file; i++)
        if ((status = qvl_safetensors_map(&weights->file[i], err)))
            return status;
    for (size_t i = 0; i < weights->n; i++) {
        struct qvl_tensor *t = &weights->tensor[i];
        if (t->dtype == QVL_STORED)
            status = qvl_foreign_map(t, &weights->foreign[i], &weights->arena, &weights->stored[i], err);
        else if (!t->data)
            status = map_tensor(weights, t, bytes_of(weights, &weights->source[i]), err);
        if (status)
            return status;
    }
    return check_tied_head(weights, err);
}

enum qvl_status qvl_weights_map(struct qvl_weights *weights, struct qvl_error *err)
{
    if (weights->is_mapped)
        return QVL_OK;
    enum qvl_status status = weights->is_gguf
                                 ? qvl_gguf_model_map(&weights->gguf, weights->tensor, weights->n, err)
                                 : map_folder(weights, err);
    weights->is_mapped = !status;
    return status;
}

struct qvl_weights_part qvl_weights_part_of(const struct qvl_weights *w, const struct qvl_tensor *t)
{
    const struct source *source = w->is_gguf ? NULL : &w->source[t - w->tensor];
    if (source && source->entry)
        return (struct qvl_weights_part){source->i_file, source->entry->begin, source->entry->end};
    size_t last = qvl_weights_n_file(w) - 1;
    return (struct qvl_weights_part){last, 0, qvl_weights_file(w, last).n_bytes};
}

bool qvl_weights_is_in_parts(const struct qvl_weights *w)
{
    if (w->is_gguf || w->foreign || w->tied_head.entry)
        return false;
    for (size_t i = 0; i < w->n; i++) {
        const struct qvl_tensor *t = &w->tensor[i];
        size_t n_align = qvl_dtype_is_packed(t->dtype) ? QVL_PANEL_LINE : qvl_dtype_bytes(t->dtype);
        if (w->source[i].entry->begin % n_align != 0)
            return false; /* it is copied while mapping */
    }
    return true;
}

void qvl_weights_let_go(const struct qvl_weights *w, const struct qvl_tensor *t)
{
    size_t i = (size_t)(t - w->tensor);
    if (w->is_gguf)
        qvl_gguf_model_let_go(&w->gguf, i);
    else if (w->source[i].entry)
        qvl_safetensors_let_go(&w->file[w->source[i].i_file], w->source[i].entry->begin, w->source[i].entry->end);
    else
        qvl_foreign_let_go(&w->foreign[i]);
}

/* ---- listing ------------------------------------------------------------------------------------- */

void qvl_weights_replace(struct qvl_weights *weights, struct qvl_tensor *tensor, size_t n)
{
    weights->tensor = tensor;
    weights->n = n;
    weights->n_bytes = 0;
    for (size_t i = 0; i < n; i++)
        weights->n_bytes += qvl_tensor_bytes(&tensor[i]);
}

struct qvl_arena *qvl_weights_arena(struct qvl_weights *weights)
{
    return &weights->arena;
}

uint64_t qvl_weights_bytes(const struct qvl_weights *weights)
{
    return weights->n_bytes;
}

size_t qvl_weights_n_tensor(const struct qvl_weights *weights)
{
    return weights->n;
}

size_t qvl_weights_n_file(const struct qvl_weights *weights)
{
    return weights->is_gguf ? sizeof weights->gguf.file / sizeof *weights->gguf.file : weights->n_file;
}

struct qvl_weights_file qvl_weights_file(const struct qvl_weights *weights, size_t i)
{
    if (weights->is_gguf) {
        const struct qvl_gguf *file = &weights->gguf.file[i];
        return (struct qvl_weights_file){file->path, file->map, file->n_bytes};
    }
    const struct qvl_safetensors *file = &weights->file[i];
    return (struct qvl_weights_file){file->path, file->map, file->n_bytes};
}

const struct qvl_tensor *qvl_weights_at(const struct qvl_weights *weights, size_t i)
{
    return &weights->tensor[i];
}

uint64_t qvl_weights_file_bytes(const struct qvl_weights *w, size_t i)
{
    if (w->is_gguf)
        return qvl_gguf_model_bytes(&w->gguf, i);
    if (w->tensor[i].dtype == QVL_STORED)
        return qvl_foreign_bytes(&w->foreign[i]);
    return w->source[i].entry->end - w->source[i].entry->begin;
}
