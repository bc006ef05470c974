/* What enters: a model folder and its config. What leaves: the table of weights_table.c with the bytes behind
 * each row.
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
#include "load/quantize.h"
#include "load/safetensors.h"
#include "load/shard_index.h"

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
    struct source tied_head; /* lm_head.weight stored beside a tied embedding */
    uint64_t n_bytes;
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

const struct qvl_tensor *qvl_weights_find(const struct qvl_weights *weights, const char *canonical_name)
{
    return bsearch(canonical_name, weights->tensor, weights->n, sizeof *weights->tensor, compare_name);
}

/* ---- what does not fit --------------------------------------------------------------------------- */

enum kind { MISSING, UNEXPECTED, DIFFERENT, N_KIND };
enum { N_NAMED = 2 }; /* of each kind in the sentence */

struct faults {
    size_t n[N_KIND];
    char text[N_KIND][N_NAMED][200];
};

static void format_shape(const uint64_t *dim, uint32_t n_dim, char *out, size_t n_out)
{
    size_t n = 0;
    for (uint32_t i = 0; i < n_dim && n < n_out; i++)
        n += (size_t)snprintf(out + n, n_out - n, "%s%" PRIu64, i ? ", " : "", dim[i]);
    if (n_dim == 0)
        snprintf(out, n_out, "%s", qvl_text("nothing"));
}

static void add_fault(struct faults *faults, enum kind kind, const char *name, const char *detail)
{
    if (faults->n[kind] < N_NAMED)
        snprintf(faults->text[kind][faults->n[kind]], sizeof faults->text[kind][0], "%.72s%s", name, detail);
    faults->n[kind]++;
}

/* "3 missing: a, b, ..." */
static size_t format_faults(const struct faults *faults, enum kind kind, char *out, size_t n_out)
{
    size_t n = faults->n[kind];
    char names[N_NAMED * sizeof faults->text[0][0] + 8];
    snprintf(names, sizeof names, "%s%s%s%s", faults->text[kind][0], n > 1 ? ", " : "",
             n > 1 ? faults->text[kind][1] : "", n > N_NAMED ? ", ..." : "");
    const char *format = kind == MISSING      ? qvl_text("%zu missing: %s")
                         : kind == UNEXPECTED ? qvl_text("%zu not asked for: %s")
                                              : qvl_text("%zu different: %s");
    return (size_t)snprintf(out, n_out, format, n, names);
}

static enum qvl_status report(const struct faults *faults, const char *model_dir, size_t n_expected,
                              struct qvl_error *err)
{
    char text[360] = "";
    size_t n = 0;
    for (enum kind k = 0; k < N_KIND; k++) {
        if (faults->n[k] && n > 0 && n < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, "; ");
        if (faults->n[k] && n < sizeof text)
            n += format_faults(faults, k, text + n, sizeof text - n);
    }
    if (n == 0)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_MODEL, "%s: the weights are not the %zu tensors that config.json asks for: %s",
                    model_dir, n_expected, text);
}

/* ---- files against the table --------------------------------------------------------------------- */

/* A packed matrix is stored as a row of bytes. */
static bool is_shape(const struct qvl_safetensors_entry *e, const struct qvl_tensor *t)
{
    if (qvl_dtype_is_packed(t->dtype))
        return e->dtype == QVL_I8 && e->n_dim == 1 && e->dim[0] == qvl_tensor_bytes(t);
    return e->dtype != QVL_I8 && e->n_dim == t->n_dim && memcmp(e->dim, t->dim, t->n_dim * sizeof *t->dim) == 0;
}

static void place_entry(struct qvl_weights *w, bool is_tied, size_t i_file, const struct qvl_safetensors_entry *e,
                        struct faults *faults)
{
    char name[2 * QVL_MAX_TENSOR_NAME_BYTES], found[24 * QVL_MAX_DIMS], want[24 * QVL_MAX_DIMS], detail[120];
    bool is_known = to_canonical(e->name, name, sizeof name);
    const struct qvl_tensor *t = is_known ? qvl_weights_find(w, name) : NULL;
    bool is_tied_head = !t && is_known && is_tied && strcmp(name, "lm_head.weight") == 0;
    if (is_tied_head)
        t = qvl_weights_find(w, "model.language_model.embed_tokens.weight");
    if (!t) {
        add_fault(faults, UNEXPECTED, e->name, "");
        return;
    }
    struct source *source = is_tied_head ? &w->tied_head : &w->source[t - w->tensor];
    format_shape(e->dim, e->n_dim, found, sizeof found);
    const uint64_t n_byte = qvl_tensor_bytes(t);
    bool is_packed = qvl_dtype_is_packed(t->dtype);
    format_shape(is_packed ? &n_byte : t->dim, is_packed ? 1 : t->n_dim, want, sizeof want);
    if (source->entry) {
        add_fault(faults, DIFFERENT, e->name, qvl_text(" is there twice"));
    } else if (!is_shape(e, t)) {
        snprintf(detail, sizeof detail, qvl_text(" is [%.40s], expected [%.40s]"), found, want);
        add_fault(faults, DIFFERENT, e->name, detail);
    }
    *source = (struct source){e, i_file};
}

static enum qvl_status place_all(struct qvl_weights *w, const char *model_dir, bool is_tied, struct qvl_error *err)
{
    struct faults faults = {0};
    for (size_t i = 0; i < w->n_file; i++)
        for (size_t k = 0; k < w->file[i].n; k++)
            place_entry(w, is_tied, i, &w->file[i].entry[k], &faults);
    for (size_t i = 0; i < w->n; i++) {
        if (w->source[i].entry) {
            if (!qvl_dtype_is_packed(w->tensor[i].dtype))
                w->tensor[i].dtype = w->source[i].entry->dtype;
            w->tensor[i].sha256 = w->source[i].entry->sha256;
            w->n_bytes += w->source[i].entry->end - w->source[i].entry->begin;
        } else {
            add_fault(&faults, MISSING, w->tensor[i].name, "");
        }
    }
    return report(&faults, model_dir, w->n, err);
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

enum qvl_status qvl_weights_open(const char *model_dir, const struct qvl_config *config, struct qvl_weights **out,
                                 struct qvl_error *err)
{
    enum qvl_status status;
    struct qvl_weights *w = calloc(1, sizeof *w);
    if (!w)
        return qvl_fail_memory(err, sizeof *w, "weights");
    if ((status = qvl_weights_expect(config, &w->arena, &w->tensor, &w->n, err)))
        goto fail;
    w->source = qvl_arena_alloc(&w->arena, w->n, sizeof *w->source, "tensor table", err);
    if (!w->source) {
        status = err->status;
        goto fail;
    }
    memset(w->source, 0, w->n * sizeof *w->source);
    if ((status = open_files(w, model_dir, err)) || (status = check_files(w, config, err)) ||
        (status = place_all(w, model_dir, config->text.is_tied, err)))
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

enum qvl_status qvl_weights_map(struct qvl_weights *weights, struct qvl_error *err)
{
    enum qvl_status status;
    for (size_t i = 0; i < weights->n_file; i++)
        if ((status = qvl_safetensors_map(&weights->file[i], err)))
            return status;
    for (size_t i = 0; i < weights->n; i++) {
        struct qvl_tensor *t = &weights->tensor[i];
        if (!t->data && (status = map_tensor(weights, t, bytes_of(weights, &weights->source[i]), err)))
            return status;
    }
    return check_tied_head(weights, err);
}

void qvl_weights_let_go(const struct qvl_weights *w, const struct qvl_tensor *t)
{
    const struct source *source = &w->source[t - w->tensor];
    qvl_safetensors_let_go(&w->file[source->i_file], source->entry->begin, source->entry->end);
}

/* ---- quantising in memory ------------------------------------------------------------------------- */

enum qvl_status qvl_weights_quantize(struct qvl_weights *weights, struct qvl_config *config,
                                     const struct qvl_config *want, struct qvl_pool *pool, const atomic_bool *stop,
                                     struct qvl_error *err)
{
    struct qvl_tensor *tensor = NULL;
    size_t n = 0;
    enum qvl_status status = qvl_weights_expect(want, &weights->arena, &tensor, &n, err);
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < n && !status; i++) {
        struct qvl_tensor *to = &tensor[i];
        const struct qvl_tensor *from = qvl_weights_find(weights, to->name);
        if (!from)
            from = qvl_weights_find(weights, qvl_quantize_source(to->name, config->text.is_tied));
        if (!qvl_dtype_is_packed(to->dtype) || from->dtype == to->dtype) {
            *to = *from;
        } else {
            void *out = qvl_arena_alloc(&weights->arena, (size_t)qvl_tensor_bytes(to), 1, "quantised weights", err);
            status = out ? qvl_quantize_rows(from, to->dtype, 0, to->dim[0], pool, stop, out, err) : err->status;
            to->data = out;
            qvl_weights_let_go(weights, from);
        }
        n_bytes += qvl_tensor_bytes(to);
    }
    if (status)
        return status;
    weights->tensor = tensor;
    weights->n = n;
    weights->n_bytes = n_bytes;
    *config = *want;
    return QVL_OK;
}

/* ---- listing ------------------------------------------------------------------------------------- */

uint64_t qvl_weights_bytes(const struct qvl_weights *weights)
{
    return weights->n_bytes;
}

size_t qvl_weights_n_tensor(const struct qvl_weights *weights)
{
    return weights->n;
}

const struct qvl_safetensors *qvl_weights_files(const struct qvl_weights *weights, size_t *n)
{
    *n = weights->n_file;
    return weights->file;
}

const struct qvl_tensor *qvl_weights_at(const struct qvl_weights *weights, size_t i)
{
    return &weights->tensor[i];
}
