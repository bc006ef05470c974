/* `qvl convert`: a model that qvl reads in, llama.cpp's two files out.
 *
 * The walk: keys and the table of tensors are made first, so that the size of both files is known and their room
 * taken; then tensor after tensor is widened to f32 and narrowed to its type in pieces of rows, on all threads, and
 * written; the pages that it was read from are let go. Memory holds one piece. At last both files go to their
 * places: the tower's first, so that a language model that is there has its tower.
 *
 * Types are those of llama.cpp's converter: vectors F32, the position table F32, matrices what was asked for, Q8_0
 * only where rows are whole blocks, else F16. The kernel of the patch embedding, [out, 3, 2, p, p], becomes two of
 * [out, 3, p, p], F16 in F16 files, else F32. A packed model's rows are those that its products see; its head is
 * written where it is no copy of the embedding, from the rows in 8 bits. */
#include "load/convert.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/limits.h"
#include "base/os.h"
#include "kernel/kernel.h"
#include "kernel/pack.h"
#include "load/convert_keys.h"
#include "load/ggml_narrow.h"
#include "load/output_folder.h"
#include "load/prepare.h"
#include "load/quantize.h"
#include "load/safetensors.h"
#include "load/stored.h"

enum {
    N_FILE = 2,
    JOB_ROWS = 16,           /* what foreign formats are read best in, and panels of packed matrices */
    PIECE_NUMBERS = 8 << 20, /* of one call */
    NAME_BYTES = 128,        /* of a tensor in GGUF */
};

struct tensor {
    const struct qvl_tensor *from;
    const char *name;
    enum qvl_gguf_file file;
    enum qvl_ggml_type type;
    bool is_kernel; /* one of the two of the patch embedding */
    uint32_t i_frame;
    uint64_t n_row, n_in; /* of what is written */
    uint64_t begin;       /* in the data */
};

struct qvl_converter {
    struct qvl_arena arena;
    struct qvl_config config;
    enum qvl_convert_type type;
    const char *path[N_FILE];
    atomic_bool is_cancelled;
    bool is_checked, is_done;
    struct qvl_weights *weights;
    struct qvl_pool *pool;
    const struct qvl_kernels *kernels;
    struct qvl_converter_info info;
    /* what is written */
    struct tensor *tensor; /* [n_tensor] in the order of the files */
    size_t n_tensor;
    uint64_t data_at[N_FILE];
    struct qvl_output_file file[N_FILE];
    uint8_t *bytes; /* of a piece */
    float *scratch; /* [n_thread, JOB_ROWS, n_in of the widest source] */
    size_t n_scratch;
    /* where it is */
    size_t i_tensor;
    uint64_t i_row;
};

/* ---- plan -------------------------------------------------------------------------------------------- */

static enum qvl_ggml_type type_of(const struct qvl_converter *c, const struct qvl_tensor *from, uint64_t n_in,
                                  bool is_kernel)
{
    static const enum qvl_ggml_type wanted[] = {
        [QVL_CONVERT_F16] = QVL_GGML_F16, [QVL_CONVERT_Q8_0] = QVL_GGML_Q8_0, [QVL_CONVERT_BF16] = QVL_GGML_BF16};
    if (from->n_dim < 2 || strcmp(from->name, "model.visual.pos_embed.weight") == 0)
        return QVL_GGML_F32;
    if (is_kernel)
        return c->type == QVL_CONVERT_F16 ? QVL_GGML_F16 : QVL_GGML_F32;
    uint32_t n_block, n_bytes;
    qvl_ggml_type_block(wanted[c->type], &n_block, &n_bytes);
    return n_in % n_block == 0 ? wanted[c->type] : QVL_GGML_F16;
}

/* A packed model has its head twice, or, where it is tied, besides the embedding. */
static const char *canonical_of(const struct qvl_converter *c, const struct qvl_tensor *from)
{
    if (qvl_dtype_is_packed(from->dtype) && strcmp(from->name, "lm_head.weight") == 0)
        return NULL;
    return qvl_quantize_source(from->name, c->config.text.is_tied);
}

/* The tensor, or the two that it becomes. */
static enum qvl_status plan_tensor(struct qvl_converter *c, const struct qvl_tensor *from, struct qvl_error *err)
{
    char name[NAME_BYTES];
    const char *canonical = canonical_of(c, from);
    struct tensor t = {.from = from, .n_row = from->dim[0], .n_in = qvl_tensor_n_in(from)};
    if (!canonical)
        return QVL_OK;
    if (!qvl_gguf_name_of(&c->config, canonical, &t.file, name, sizeof name))
        return qvl_fail(err, QVL_ERR_INTERNAL, "internal fault: %s has no name in GGUF", from->name);
    if (from->n_dim == 1) { /* a vector is one row */
        t.n_in = t.n_row;
        t.n_row = 1;
    }
    t.is_kernel = from->n_dim > 2;
    uint32_t n_frame = t.is_kernel ? c->config.vision.temporal_patch : 1;
    t.n_in /= n_frame;
    t.type = type_of(c, from, t.n_in, t.is_kernel);
    for (; t.i_frame < n_frame; t.i_frame++) {
        t.name = qvl_arena_format(&c->arena, err, t.i_frame ? "%s.%u" : "%s", name, t.i_frame);
        if (!t.name)
            return err->status;
        c->tensor[c->n_tensor++] = t;
        c->info.total += t.n_row * t.n_in;
    }
    return QVL_OK;
}

/* By file, then by name, numbers in it as numbers: a reader walks through the layers. */
static int compare(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    return x->file != y->file ? (int)x->file - (int)y->file : strverscmp(x->name, y->name);
}

static enum qvl_status plan_tensors(struct qvl_converter *c, struct qvl_error *err)
{
    size_t n = qvl_weights_n_tensor(c->weights), n_widest = 0;
    enum qvl_status status = QVL_OK;
    if (!(c->tensor = qvl_arena_alloc(&c->arena, n + 1, sizeof *c->tensor, "tensor table", err)))
        return err->status;
    for (size_t i = 0; i < n && !status; i++) {
        const struct qvl_tensor *from = qvl_weights_at(c->weights, i);
        n_widest = qvl_tensor_n_in(from) > n_widest ? qvl_tensor_n_in(from) : n_widest;
        status = plan_tensor(c, from, err);
    }
    if (status)
        return status;
    qsort(c->tensor, c->n_tensor, sizeof *c->tensor, compare);
    c->n_scratch = JOB_ROWS * n_widest;
    c->scratch = qvl_arena_alloc(&c->arena, qvl_pool_n_thread(c->pool) * c->n_scratch, sizeof *c->scratch,
                                 "converting", err);
    c->bytes = c->scratch
                   ? qvl_arena_alloc(&c->arena, PIECE_NUMBERS + c->n_scratch, sizeof(float), "converting", err)
                   : NULL;
    return c->bytes ? QVL_OK : err->status;
}

/* ---- headers ----------------------------------------------------------------------------------------- */

static enum qvl_status add_tensor(const struct qvl_converter *c, struct tensor *t, struct qvl_gguf_out *out,
                                  struct qvl_error *err)
{
    const struct qvl_vision_config *v = &c->config.vision;
    const uint64_t kernel[] = {t->n_row, v->in_channels, v->patch, v->patch};
    return t->is_kernel ? qvl_gguf_add_tensor(out, t->name, t->type, 4, kernel, &t->begin, err)
                        : qvl_gguf_add_tensor(out, t->name, t->type, t->from->n_dim, t->from->dim, &t->begin, err);
}

/* "…/Qwen3-VL-2B.gguf": Qwen3-VL-2B. */
static void name_model(const char *path, struct qvl_convert_label *label)
{
    const char *slash = strrchr(path, '/'), *dot;
    label->name = slash ? slash + 1 : path;
    dot = strrchr(label->name, '.');
    label->n_name = dot && strcmp(dot, ".gguf") == 0 ? (size_t)(dot - label->name) : strlen(label->name);
}

/* Of one file: its header, and the room for all of it. tokenizer: of the text file, else NULL. */
static enum qvl_status begin_file(struct qvl_converter *c, enum qvl_gguf_file file,
                                  const struct qvl_gguf_out *tokenizer, struct qvl_error *err)
{
    struct qvl_gguf_out out = {0};
    struct qvl_bytes header = {0};
    struct qvl_convert_label label = {.type = c->type};
    name_model(c->path[QVL_GGUF_TEXT], &label);
    for (size_t i = 0; i < c->n_tensor; i++)
        label.n_parameter += c->tensor[i].file == file ? c->tensor[i].n_row * c->tensor[i].n_in : 0;
    enum qvl_status status = qvl_convert_add_keys(&c->config, &label, file, &out, err);
    if (!status && tokenizer)
        status = qvl_gguf_add_keys(&out, tokenizer, err);
    for (size_t i = 0; i < c->n_tensor && !status; i++)
        if (c->tensor[i].file == file)
            status = add_tensor(c, &c->tensor[i], &out, err);
    if (status || (status = qvl_gguf_header(&out, &header, err)) ||
        (status = qvl_output_file_create(c->path[file], header.n + out.n_data, &c->file[file], err)) ||
        (status = qvl_output_file_write(&c->file[file], 0, header.data, header.n, err)))
        goto fail;
    c->data_at[file] = header.n;
    c->info.out_bytes += header.n + out.n_data;
fail:
    qvl_gguf_out_free(&out);
    qvl_bytes_free(&header);
    return status;
}

/* ---- open -------------------------------------------------------------------------------------------- */

static enum qvl_status name_files(struct qvl_converter *c, const struct qvl_converter_options *o,
                                  struct qvl_error *err)
{
    const char *slash = strrchr(o->out, '/');
    size_t n_folder = slash ? (size_t)(slash + 1 - o->out) : 0;
    c->path[QVL_GGUF_TEXT] = qvl_arena_copy_text(&c->arena, o->out, strlen(o->out), err);
    c->path[QVL_GGUF_MMPROJ] =
        o->mmproj ? qvl_arena_copy_text(&c->arena, o->mmproj, strlen(o->mmproj), err)
                  : qvl_arena_format(&c->arena, err, "%.*smmproj-%s", (int)n_folder, o->out, o->out + n_folder);
    if (!c->path[QVL_GGUF_TEXT] || !c->path[QVL_GGUF_MMPROJ])
        return err->status;
    if (strcmp(c->path[QVL_GGUF_TEXT], c->path[QVL_GGUF_MMPROJ]) == 0)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: the language model and the vision tower go to two files",
                        o->out);
    c->info.mmproj = c->path[QVL_GGUF_MMPROJ];
    return QVL_OK;
}

static enum qvl_status open_source(struct qvl_converter *c, const char *model_dir, struct qvl_error *err)
{
    size_t n_tensor;
    enum qvl_status status = qvl_weights_open(model_dir, &c->config, &c->weights, err);
    if (!status)
        status = qvl_weights_map(c->weights, err);
    if (status) /* FILE is about what is written */
        return err->status = status == QVL_ERR_FILE ? QVL_ERR_MODEL : status;
    qvl_weights_count(&c->config, &n_tensor, &c->info.n_parameter);
    c->info.in_bytes = qvl_weights_bytes(c->weights);
    c->info.is_source_quantized = qvl_weights_is_rounded(c->weights);
    return QVL_OK;
}

enum qvl_status qvl_converter_begin(const struct qvl_converter_options *o, const struct qvl_config *config,
                                    const struct qvl_gguf_out *tokenizer, struct qvl_converter **out,
                                    struct qvl_error *err)
{
    struct qvl_converter *c = calloc(1, sizeof *c);
    if (!c)
        return qvl_fail_memory(err, sizeof *c, "converting");
    atomic_init(&c->is_cancelled, false);
    c->config = *config;
    c->type = o->type;
    enum qvl_status status;
    if ((status = name_files(c, o, err)) || (status = open_source(c, o->model_dir, err)) ||
        (status = qvl_pool_open(o->n_thread ? o->n_thread : qvl_os_n_cpu(), &c->pool, err)) ||
        (status = qvl_kernels_select("", &c->kernels, err)) || (status = plan_tensors(c, err)) ||
        (status = begin_file(c, QVL_GGUF_TEXT, tokenizer, err)) ||
        (status = begin_file(c, QVL_GGUF_MMPROJ, NULL, err)))
        goto fail;
    *out = c;
    c = NULL;
fail:
    qvl_converter_close(c);
    return status;
}

/* ---- rows -------------------------------------------------------------------------------------------- */

struct run {
    struct qvl_converter *c;
    const struct tensor *t;
    uint64_t first, end; /* rows */
    uint64_t row_bytes;
    _Atomic uint64_t bad_row; /* lowest found with a value that the type cannot hold */
};

static void widen(const struct qvl_kernels *kernels, const struct qvl_tensor *from, size_t first, size_t n,
                  float *out)
{
    size_t n_in = qvl_tensor_n_in(from);
    if (!qvl_dtype_is_packed(from->dtype))
        qvl_stored_rows(from, first, n, out);
    for (size_t i = 0; i < n && from->dtype == QVL_A8; i++)
        kernels->a8_to_f32(out + i * n_in, qvl_a8_row(from->data, first + i), n_in);
    for (size_t i = 0; i < n && (from->dtype == QVL_Q8 || from->dtype == QVL_Q4); i++)
        qvl_unpack_row(from->data, first + i, out + i * n_in);
}

/* Of a row [3, n_frame, p, p] one frame, [3, p, p], at its beginning. */
static void take_frame(float *row, const struct qvl_vision_config *v, uint32_t i_frame)
{
    size_t n = (size_t)v->patch * v->patch;
    for (size_t channel = 0; channel < v->in_channels; channel++)
        memmove(row + channel * n, row + (channel * v->temporal_patch + i_frame) * n, n * sizeof *row);
}

static bool fits(const float *x, size_t n, float largest)
{
    bool is_within = true;
    for (size_t i = 0; i < n; i++)
        is_within &= fabsf(x[i]) <= largest; /* NaN is not */
    return is_within;
}

static void convert_job(void *arg, size_t i_job, size_t i_thread)
{
    struct run *run = arg;
    const struct tensor *t = run->t;
    const struct qvl_tensor *from = t->from;
    float *scratch = run->c->scratch + i_thread * run->c->n_scratch;
    uint64_t first = run->first + i_job * JOB_ROWS;
    size_t n = qvl_min_size((size_t)(run->end - first), JOB_ROWS), n_from = qvl_tensor_n_in(from);
    widen(run->c->kernels, from, (size_t)first, from->n_dim == 1 ? (size_t)t->n_in : n, scratch);
    for (size_t i = 0; i < n; i++) {
        float *row = scratch + i * n_from;
        if (t->is_kernel)
            take_frame(row, &run->c->config.vision, t->i_frame);
        if (!fits(row, (size_t)t->n_in, qvl_ggml_largest(t->type))) {
            uint64_t lowest = atomic_load(&run->bad_row);
            while (first + i < lowest && !atomic_compare_exchange_weak(&run->bad_row, &lowest, first + i))
                ;
        }
        qvl_ggml_narrow(t->type, row, (size_t)t->n_in, run->c->bytes + (first - run->first + i) * run->row_bytes);
    }
}

static enum qvl_status report_bad_row(const struct tensor *t, uint64_t row, struct qvl_error *err)
{
    if (t->type == QVL_GGML_F16 || t->type == QVL_GGML_Q8_0)
        return qvl_fail(
            err, QVL_ERR_MODEL,
            "%s: row %" PRIu64
            " holds a value that is infinite, not a number, or too large for %s: bf16 has room for large ones",
            t->from->name, row, qvl_ggml_type_name(t->type));
    return qvl_fail(err, QVL_ERR_MODEL, "%s: row %" PRIu64 " holds a value that is infinite or not a number",
                    t->from->name, row);
}

static enum qvl_status convert_piece(struct qvl_converter *c, struct qvl_error *err)
{
    const struct tensor *t = &c->tensor[c->i_tensor];
    uint64_t n_row = qvl_div_up(PIECE_NUMBERS / JOB_ROWS, (size_t)t->n_in) * JOB_ROWS;
    struct run run = {.c = c, .t = t, .first = c->i_row, .row_bytes = qvl_gguf_row_bytes(t->type, t->n_in)};
    run.end = qvl_min_size((size_t)(c->i_row + n_row), (size_t)t->n_row);
    atomic_init(&run.bad_row, UINT64_MAX);
    if (!qvl_pool_run(c->pool, qvl_div_up((size_t)(run.end - run.first), JOB_ROWS), convert_job, &run,
                      &c->is_cancelled))
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
    if (atomic_load(&run.bad_row) != UINT64_MAX)
        return report_bad_row(t, atomic_load(&run.bad_row), err);
    enum qvl_status status =
        qvl_output_file_write(&c->file[t->file], c->data_at[t->file] + t->begin + run.first * run.row_bytes,
                              c->bytes, (size_t)((run.end - run.first) * run.row_bytes), err);
    c->info.done += (run.end - run.first) * t->n_in;
    c->i_row = run.end;
    qvl_weights_let_go(c->weights, t->from);
    if (run.end < t->n_row)
        return status;
    c->i_tensor++;
    c->i_row = 0;
    return status;
}

/* ---- the end ----------------------------------------------------------------------------------------- */

static enum qvl_status finish(struct qvl_converter *c, struct qvl_error *err)
{
    enum qvl_status status;
    if ((status = qvl_output_file_finish(&c->file[QVL_GGUF_MMPROJ], err)) ||
        (status = qvl_output_file_finish(&c->file[QVL_GGUF_TEXT], err)))
        return status;
    if (atomic_load(&c->is_cancelled))
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
    if ((status = qvl_output_file_commit(&c->file[QVL_GGUF_MMPROJ], err)))
        return status;
    if ((status = qvl_output_file_commit(&c->file[QVL_GGUF_TEXT], err))) {
        remove(c->path[QVL_GGUF_MMPROJ]);
        return status;
    }
    c->info.done = c->info.total;
    c->is_done = true;
    return QVL_OK;
}

/* Whoever converts a damaged model would never learn of it again. */
static enum qvl_status check_source(struct qvl_converter *c, struct qvl_error *err)
{
    c->is_checked = true;
    return c->config.quantization == QVL_QUANTIZE_NONE
               ? QVL_OK
               : qvl_weights_check_packed(c->weights, c->pool, &c->is_cancelled, err);
}

enum qvl_status qvl_converter_next(struct qvl_converter *c, bool *is_done, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    if (!c->is_done && atomic_load(&c->is_cancelled))
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
    if (!c->is_checked)
        status = check_source(c, err);
    else if (c->i_tensor < c->n_tensor)
        status = convert_piece(c, err);
    else if (!c->is_done)
        status = finish(c, err);
    if (!status)
        *is_done = c->is_done;
    return status;
}

void qvl_converter_get_info(const struct qvl_converter *c, struct qvl_converter_info *out)
{
    *out = c->info;
}

void qvl_converter_cancel(struct qvl_converter *c)
{
    atomic_store(&c->is_cancelled, true);
}

void qvl_converter_close(struct qvl_converter *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < N_FILE; i++)
        qvl_output_file_close(&c->file[i]);
    qvl_pool_close(c->pool);
    qvl_weights_close(c->weights);
    qvl_arena_free(&c->arena);
    free(c);
}
