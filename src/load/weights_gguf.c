/* What enters: two GGUF files and the table of weights_table.c. What leaves: each row of the table bound to the
 * tensors of the files that it is made of.
 *
 * Most are one tensor. Three forms differ: blocks of a quantised type; the patch embedding, whose kernels for the
 * two frames are a tensor each; and a tower whose q, k and v are apart (older converters), which are stacked. Plain
 * numbers lie in the file as the table wants them: row-major, only that their sizes are counted from the inside. */
#include "load/weights_gguf.h"

#include <stdio.h>
#include <string.h>

#include "base/language.h"
#include "base/limits.h"
#include "load/quantize.h"
#include "load/weights_faults.h"

enum { N_PART = 3, NAME_BYTES = QVL_MAX_TENSOR_NAME_BYTES + 64 };

enum form { WHOLE, KERNELS, STACKED };

static const size_t n_part_of[] = {[WHOLE] = 1, [KERNELS] = 2, [STACKED] = 3};

struct qvl_gguf_parts {
    const struct qvl_gguf_tensor *of[N_PART];
    size_t n; /* of them found */
    enum form form;
    enum qvl_gguf_file file;
    struct qvl_tensor *tensor; /* STACKED: [N_PART], each with its place in stored */
    struct qvl_stored *stored;
};

/* ---- names --------------------------------------------------------------------------------------- */

#define KERNEL "v.patch_embd.weight"

/* "v.blk.3.attn_k.bias" becomes "v.blk.3.attn_qkv.bias" and 1. */
static bool is_stacked(const char *name, char out[NAME_BYTES], size_t *i_part)
{
    static const char *const stems[N_PART] = {".attn_q.", ".attn_k.", ".attn_v."};
    for (size_t i = 0; i < N_PART; i++) {
        const char *at = strstr(name, stems[i]);
        if (!at)
            continue;
        *i_part = i;
        return snprintf(out, NAME_BYTES, "%.*s.attn_qkv.%s", (int)(at - name), name, at + strlen(stems[i])) <
               NAME_BYTES;
    }
    return false;
}

/* The table's name for a file's tensor, and which part of that it is. */
static bool to_canonical(const struct qvl_config *config, enum qvl_gguf_file file, const char *name,
                         char out[NAME_BYTES], enum form *form, size_t *i_part)
{
    char whole[NAME_BYTES];
    *form = WHOLE;
    *i_part = 0;
    if (file == QVL_GGUF_MMPROJ && strncmp(name, KERNEL, strlen(KERNEL)) == 0) {
        *form = KERNELS;
        *i_part = strcmp(name, KERNEL ".1") == 0;
        name = *i_part ? KERNEL : name;
    } else if (file == QVL_GGUF_MMPROJ && is_stacked(name, whole, i_part)) {
        *form = STACKED;
        name = whole;
    }
    return qvl_gguf_canonical_of(config, file, name, out, NAME_BYTES);
}

/* ---- the files against the table ----------------------------------------------------------------- */

/* The shape that a part must have. */
static uint32_t part_shape(const struct qvl_tensor *t, enum form form, uint64_t out[QVL_MAX_DIMS])
{
    memcpy(out, t->dim, t->n_dim * sizeof *out);
    if (form == STACKED)
        out[0] /= N_PART;
    if (form != KERNELS)
        return t->n_dim;
    memmove(out + 2, out + 3, 2 * sizeof *out); /* no frames */
    return t->n_dim - 1;
}

static bool is_shape(const struct qvl_gguf_tensor *found, const uint64_t *dim, uint32_t n_dim)
{
    return found->n_dim == n_dim && memcmp(found->dim, dim, n_dim * sizeof *dim) == 0;
}

static bool is_plain(uint32_t ggml_type)
{
    return ggml_type == QVL_GGML_F32 || ggml_type == QVL_GGML_F16 || ggml_type == QVL_GGML_BF16;
}

static void place(struct qvl_gguf_model *m, const struct qvl_config *config, const struct qvl_tensor *tensor,
                  size_t n, enum qvl_gguf_file file, const struct qvl_gguf_tensor *found, struct qvl_faults *faults)
{
    char name[NAME_BYTES];
    enum form form;
    size_t i_part;
    bool is_known = to_canonical(config, file, found->name, name, &form, &i_part);
    const struct qvl_tensor *t = is_known ? qvl_tensors_find(tensor, n, name) : NULL;
    if (!t) {
        qvl_faults_add(faults, QVL_FAULT_UNEXPECTED, found->name, "");
        return;
    }
    struct qvl_gguf_parts *parts = &m->parts[t - tensor];
    uint64_t dim[QVL_MAX_DIMS];
    uint32_t n_dim = part_shape(t, form, dim);
    if (parts->of[i_part] || (parts->n > 0 && parts->form != form))
        qvl_faults_add(faults, QVL_FAULT_DIFFERENT, found->name, qvl_text(" is there twice"));
    else if (!is_shape(found, dim, n_dim))
        qvl_faults_add_shape(faults, found->name, found->dim, found->n_dim, dim, n_dim);
    else if ((form == KERNELS || n_dim == 1) && !is_plain(found->type)) /* no rows of whole blocks */
        qvl_faults_add(faults, QVL_FAULT_DIFFERENT, found->name,
                       qvl_text(" is in blocks, expected F32, F16 or BF16"));
    parts->of[i_part] = found;
    parts->n++;
    parts->form = form;
    parts->file = file;
}

static enum qvl_status place_all(struct qvl_gguf_model *m, const struct qvl_config *config,
                                 const struct qvl_tensor *tensor, size_t n, struct qvl_error *err)
{
    struct qvl_faults faults = {0};
    for (int file = QVL_GGUF_TEXT; file <= QVL_GGUF_MMPROJ; file++)
        for (size_t i = 0; i < m->file[file].n_tensor; i++)
            place(m, config, tensor, n, (enum qvl_gguf_file)file, &m->file[file].tensor[i], &faults);
    for (size_t i = 0; i < n; i++)
        if (m->parts[i].n < n_part_of[m->parts[i].form])
            qvl_faults_add(&faults, QVL_FAULT_MISSING, tensor[i].name, "");
    return qvl_faults_report(&faults, m->file[QVL_GGUF_TEXT].path, n, qvl_text("its header"), err);
}

/* ---- what they become ---------------------------------------------------------------------------- */

/* One tensor of a file. *stored is used where it is in blocks. */
static void bind_one(struct qvl_tensor *t, const struct qvl_gguf_tensor *from, struct qvl_stored *stored)
{
    t->dtype = from->type == QVL_GGML_F32 ? QVL_F32 : from->type == QVL_GGML_F16 ? QVL_F16 : QVL_BF16;
    if (is_plain(from->type))
        return;
    *stored = (struct qvl_stored){.format = QVL_STORED_GGML, .ggml_type = from->type, .rows = qvl_stored_rows_ggml};
    t->dtype = QVL_STORED;
    t->stored = stored;
}

static enum qvl_status bind_stacked(struct qvl_tensor *t, struct qvl_gguf_parts *parts, struct qvl_stored *stored,
                                    struct qvl_arena *arena, struct qvl_error *err)
{
    parts->tensor = qvl_arena_alloc(arena, N_PART, sizeof *parts->tensor, "tensor table", err);
    parts->stored =
        parts->tensor ? qvl_arena_alloc(arena, N_PART, sizeof *parts->stored, "tensor table", err) : NULL;
    if (!parts->stored)
        return err->status;
    *stored = (struct qvl_stored){.format = QVL_STORED_STACKED, .rows = qvl_stored_rows_stacked};
    for (size_t k = 0; k < N_PART; k++) {
        struct qvl_tensor *part = &parts->tensor[k];
        *part = (struct qvl_tensor){.name = parts->of[k]->name, .n_element = parts->of[k]->n_element};
        part->n_dim = part_shape(t, STACKED, part->dim);
        bind_one(part, parts->of[k], &parts->stored[k]);
        stored->part[k] = part;
    }
    t->dtype = QVL_STORED;
    t->stored = stored;
    return QVL_OK;
}

static enum qvl_status bind_kernels(struct qvl_tensor *t, const struct qvl_gguf_parts *parts,
                                    struct qvl_stored *stored, const char *path, struct qvl_error *err)
{
    if (parts->of[0]->type != parts->of[1]->type)
        return qvl_fail(err, QVL_ERR_MODEL, "%s: %s is of type %s, but %s of type %s", path, parts->of[0]->name,
                        qvl_ggml_type_name(parts->of[0]->type), parts->of[1]->name,
                        qvl_ggml_type_name(parts->of[1]->type));
    *stored = (struct qvl_stored){
        .format = QVL_STORED_PATCH_KERNELS, .ggml_type = parts->of[0]->type, .rows = qvl_stored_rows_patch_kernels};
    t->dtype = QVL_STORED;
    t->stored = stored;
    return QVL_OK;
}

static enum qvl_status bind_all(struct qvl_gguf_model *m, struct qvl_arena *arena, struct qvl_tensor *tensor,
                                size_t n, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    for (size_t i = 0; i < n && !status; i++) {
        struct qvl_gguf_parts *p = &m->parts[i];
        m->n_bytes += qvl_gguf_model_bytes(m, i);
        switch (p->form) {
        case WHOLE: bind_one(&tensor[i], p->of[0], &m->stored[i]); break;
        case KERNELS: status = bind_kernels(&tensor[i], p, &m->stored[i], m->file[p->file].path, err); break;
        case STACKED: status = bind_stacked(&tensor[i], p, &m->stored[i], arena, err); break;
        }
    }
    return status;
}

/* ---- the files ----------------------------------------------------------------------------------- */

static enum qvl_status open_files(const struct qvl_gguf_pair *pair, struct qvl_arena *arena,
                                  struct qvl_gguf_model *m, struct qvl_error *err)
{
    const char *const path[] = {[QVL_GGUF_TEXT] = pair->text, [QVL_GGUF_MMPROJ] = pair->mmproj};
    for (size_t i = 0; i < 2; i++) {
        const char *copy = qvl_arena_copy_text(arena, path[i], strlen(path[i]), err);
        if (!copy || qvl_gguf_open(copy, arena, &m->file[i], err))
            return err->status;
        qvl_gguf_forget_keys(&m->file[i]);
    }
    return QVL_OK;
}

enum qvl_status qvl_gguf_model_open(const struct qvl_gguf_pair *pair, const struct qvl_config *config,
                                    struct qvl_arena *arena, struct qvl_tensor *tensor, size_t n,
                                    struct qvl_gguf_model *out, struct qvl_error *err)
{
    struct qvl_gguf_model m = {.file = {{.fd = -1}, {.fd = -1}}};
    enum qvl_status status = QVL_OK;
    m.parts = qvl_arena_alloc(arena, n, sizeof *m.parts, "tensor table", err);
    m.stored = m.parts ? qvl_arena_alloc(arena, n, sizeof *m.stored, "tensor table", err) : NULL;
    if (!m.stored)
        status = err->status;
    if (!status && !(status = open_files(pair, arena, &m, err)) &&
        !(status = place_all(&m, config, tensor, n, err)))
        status = bind_all(&m, arena, tensor, n, err);
    if (status)
        qvl_gguf_model_close(&m);
    else
        *out = m;
    return status;
}

/* The bytes of a whole tensor. */
static void map_one(struct qvl_tensor *t, struct qvl_stored *stored, const uint8_t *bytes)
{
    if (t->dtype == QVL_STORED)
        stored->weight.data = bytes;
    else
        t->data = bytes;
}

enum qvl_status qvl_gguf_model_map(struct qvl_gguf_model *m, struct qvl_tensor *tensor, size_t n,
                                   struct qvl_error *err)
{
    enum qvl_status status;
    if ((status = qvl_gguf_map(&m->file[QVL_GGUF_TEXT], err)) ||
        (status = qvl_gguf_map(&m->file[QVL_GGUF_MMPROJ], err)))
        return status;
    for (size_t i = 0; i < n; i++) {
        struct qvl_gguf_parts *p = &m->parts[i];
        const uint8_t *map = m->file[p->file].map;
        for (size_t k = 0; p->form == STACKED && k < N_PART; k++)
            map_one(&p->tensor[k], &p->stored[k], map + p->of[k]->begin);
        if (p->form != STACKED)
            map_one(&tensor[i], &m->stored[i], map + p->of[0]->begin);
        if (p->form == KERNELS)
            m->stored[i].weight1.data = map + p->of[1]->begin;
    }
    return QVL_OK;
}

uint64_t qvl_gguf_model_bytes(const struct qvl_gguf_model *m, size_t i)
{
    const struct qvl_gguf_parts *p = &m->parts[i];
    uint64_t n = 0;
    for (size_t k = 0; k < n_part_of[p->form]; k++)
        n += p->of[k]->end - p->of[k]->begin;
    return n;
}

void qvl_gguf_model_let_go(const struct qvl_gguf_model *m, size_t i)
{
    const struct qvl_gguf_parts *p = &m->parts[i];
    for (size_t k = 0; k < n_part_of[p->form]; k++)
        qvl_gguf_let_go(&m->file[p->file], p->of[k]->begin, p->of[k]->end);
}

void qvl_gguf_model_close(struct qvl_gguf_model *m)
{
    for (size_t i = 0; i < 2; i++)
        qvl_gguf_close(&m->file[i]);
}
