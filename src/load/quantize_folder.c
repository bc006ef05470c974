/* `qvl quantize`: a model in, a folder of the same model out with its decoder's matrices packed (kernel/packed.h).
 *
 * The walk: through the source's weight files from their beginning to their end, each byte hashed on the way. When
 * the hash has come past a tensor, what is made of it is packed, hashed and written to its place, and the pages it
 * was read from are let go, so that memory holds one tensor of the source and one packed one at a time; at last the
 * header, which holds the checksums, config.json with its quantization_config, and the small files, as they are.
 * The folder appears when all that is on the disk (load/output_folder.h). So a source may still come while it is
 * read (struct qvl_quantizer_source); one whose tensors lie otherwise is hashed first, and its tensors taken in the
 * order of the new file.
 *
 * One weight file, whatever the source has: the packed tensors come first, each at a multiple of 64 bytes, so that
 * they are used where they are mapped. */
#include "load/quantize_folder.h"

#include <dirent.h>
#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/checked.h"
#include "base/limits.h"
#include "base/os.h"
#include "load/json.h"
#include "load/output_folder.h"
#include "load/prepare.h"
#include "load/quantize.h"
#include "load/safetensors.h"
#include "load/safetensors_write.h"

enum {
    HASH_PIECE = 64 << 20, /* bytes of a source file that one call hashes */
};

struct quantizer_copy {
    const char *name; /* a file that is copied along */
    uint64_t n_bytes;
};

struct quantizer_step {
    size_t i_tensor;              /* is made */
    struct qvl_weights_part part; /* of this */
};

struct qvl_quantizer {
    struct qvl_arena arena;
    const char *model_dir;
    atomic_bool is_cancelled;
    bool is_done;
    struct qvl_config config; /* the source's */
    enum qvl_quantization type;
    struct qvl_weights *weights;
    struct qvl_pool *pool;
    struct qvl_quantizer_info info;
    struct qvl_quantizer_source source; /* has NULL: it is there */
    /* what is written */
    struct qvl_safetensors_out *tensor; /* [n_tensor] in the order of the file */
    size_t n_tensor;
    struct quantizer_step *step; /* [n_tensor] in the order of the source */
    uint64_t data_at;            /* where the data begins in the file */
    const char *(*metadata)[2];  /* [n_metadata] */
    size_t n_metadata;
    struct qvl_bytes config_json;
    struct quantizer_copy *copy; /* [n_copy] */
    size_t n_copy, n_copy_alloc;
    struct qvl_small_file *made; /* [n_made] in place of copies, where the source is no folder */
    size_t n_made;
    void *packed; /* memory for the largest tensor that is made */
    struct qvl_output_folder folder;
    struct qvl_output_file file;
    /* where it is */
    size_t i_file;
    uint64_t n_hashed; /* bytes of that file */
    struct sha256_ctx sha;
    size_t i_step, i_row;
};

/* ---- plan -------------------------------------------------------------------------------------------- */

static enum qvl_status plan_tensors(struct qvl_quantizer *q, struct qvl_error *err)
{
    struct qvl_config packed = q->config;
    struct qvl_tensor *tensor = NULL;
    size_t n_most = 0;
    packed.quantization = q->type;
    enum qvl_status status = qvl_weights_plan(q->weights, &packed, QVL_BF16, &q->arena, &tensor, &q->n_tensor, err);
    if (status)
        return status;
    if (!(q->tensor = qvl_arena_alloc(&q->arena, q->n_tensor, sizeof *q->tensor, "tensor table", err)))
        return err->status;
    for (size_t i = 0; i < q->n_tensor; i++) {
        struct qvl_tensor *t = &tensor[i];
        if (!t->data)
            n_most = qvl_tensor_bytes(t) > n_most ? (size_t)qvl_tensor_bytes(t) : n_most;
        q->tensor[i].tensor = t;
        q->info.total += qvl_quantize_work(t);
    }
    q->info.out_bytes = qvl_safetensors_place(q->tensor, q->n_tensor);
    q->packed = qvl_arena_alloc(&q->arena, n_most, 1, "quantising", err);
    return q->packed ? QVL_OK : err->status;
}

static int compare_steps(const void *a, const void *b)
{
    const struct quantizer_step *x = a, *y = b;
    if (x->part.i_file != y->part.i_file)
        return x->part.i_file < y->part.i_file ? -1 : 1;
    if (x->part.end != y->part.end)
        return x->part.end < y->part.end ? -1 : 1;
    return x->i_tensor < y->i_tensor ? -1 : 1;
}

static enum qvl_status plan_steps(struct qvl_quantizer *q, struct qvl_error *err)
{
    if (!(q->step = qvl_arena_alloc(&q->arena, q->n_tensor, sizeof *q->step, "tensor table", err)))
        return err->status;
    for (size_t i = 0; i < q->n_tensor; i++) {
        const struct qvl_tensor *from = qvl_weights_source(q->weights, q->tensor[i].tensor);
        q->step[i] = (struct quantizer_step){i, qvl_weights_part_of(q->weights, from)};
    }
    qsort(q->step, q->n_tensor, sizeof *q->step, compare_steps);
    return QVL_OK;
}

/* What is known before; a place for the source's checksums. */
static enum qvl_status plan_metadata(struct qvl_quantizer *q, struct qvl_error *err)
{
    const size_t n_file = qvl_weights_n_file(q->weights);
    const char *known[][2] = {{"format", "qvl"},
                              {"version", QVL_PACKED_VERSION_TEXT},
                              {"type", qvl_quantization_name(q->type)},
                              {"written_by", "qvl " QVL_VERSION}};
    const size_t n_known = sizeof known / sizeof *known;
    q->metadata = qvl_arena_alloc(&q->arena, n_known + n_file, sizeof *q->metadata, "checksums", err);
    if (!q->metadata)
        return err->status;
    memcpy(q->metadata, known, sizeof known);
    for (size_t i = 0; i < n_file; i++) {
        struct qvl_weights_file file = qvl_weights_file(q->weights, i);
        const char *slash = strrchr(file.path, '/');
        const char *key = qvl_arena_format(&q->arena, err, "source_sha256:%s", slash ? slash + 1 : file.path);
        char *sum = qvl_arena_format(&q->arena, err, "%0*d", 2 * QVL_SHA256_BYTES, 0);
        if (!key || !sum)
            return err->status;
        q->metadata[n_known + i][0] = key;
        q->metadata[n_known + i][1] = sum;
        q->info.in_bytes += file.n_bytes;
        q->info.total += file.n_bytes;
    }
    q->n_metadata = n_known + n_file;
    return QVL_OK;
}

/* ---- config.json ------------------------------------------------------------------------------------- */

/* The same text without what another program says of its way of quantising, wherever that stands (load/config.c).
 */
static enum qvl_status strip_quantization(struct qvl_bytes *text, const char *path, struct qvl_error *err)
{
    static const char *const holders[] = {NULL, "text_config", "vision_config"};
    static const char *const keys[] = {"quantization_config", "compression_config"};
    json_t *root = NULL;
    char *dumped = NULL;
    enum qvl_status status = qvl_json_parse(text->data, text->n, path, &root, err);
    for (size_t i = 0; i < sizeof holders / sizeof *holders && !status; i++)
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) /* where there is one */
            json_object_del(holders[i] ? qvl_json_get(root, holders[i]) : root, keys[k]);
    if (!status && !(dumped = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(17))))
        status = qvl_fail_memory(err, text->n, "JSON");
    text->n = 0;
    if (!status)
        status = qvl_bytes_add_text(text, dumped, err);
    free(dumped);
    json_decref(root);
    return status;
}

static enum qvl_status read_config(struct qvl_quantizer *q, const char *path, struct qvl_bytes *out,
                                   struct qvl_error *err)
{
    for (size_t i = 0; i < q->n_made; i++)
        if (strcmp(q->made[i].name, "config.json") == 0)
            return qvl_bytes_add(out, q->made[i].text.data, q->made[i].text.n, err);
    enum qvl_status status = qvl_os_read_file(path, QVL_MAX_CONFIG_BYTES, out, err);
    return status || q->config.foreign.n_scheme == 0 ? status : strip_quantization(out, path, err);
}

/* The source's text, and the new member behind its first brace. */
static enum qvl_status plan_config(struct qvl_quantizer *q, struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    char *path = qvl_arena_format(&q->arena, err, "%s/config.json", q->model_dir);
    if (!path)
        return err->status;
    enum qvl_status status = read_config(q, path, &text, err);
    const char *brace = status ? NULL : memchr(text.data, '{', text.n);
    if (!status && (!brace || strstr(text.data, "\"quantization_config\""))) /* null, or it would be quantised */
        status = qvl_fail(err, QVL_ERR_MODEL, "%s: quantization_config is there, but empty: take it out", path);
    if (!status && !(status = qvl_bytes_add(&q->config_json, text.data, (size_t)(brace + 1 - text.data), err)) &&
        !(status = qvl_bytes_add_format(&q->config_json, err,
                                        "\n  \"quantization_config\": {\"quant_method\": \"qvl\", \"version\": %s, "
                                        "\"type\": \"%s\"},",
                                        QVL_PACKED_VERSION_TEXT, qvl_quantization_name(q->type))))
        status = qvl_bytes_add_text(&q->config_json, brace + 1, err);
    qvl_bytes_free(&text);
    return status;
}

/* ---- small files ------------------------------------------------------------------------------------- */

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), n_end = strlen(end);
    return n >= n_end && strcmp(name + n - n_end, end) == 0;
}

/* Small, and not what is written anew. */
static bool is_copied(const char *path, const char *name, uint64_t *n_bytes)
{
    struct stat st;
    if (name[0] == '.' || strcmp(name, "config.json") == 0 || strcmp(name, "quantize_config.json") == 0 ||
        ends_in(name, ".safetensors") || ends_in(name, ".safetensors.index.json") || stat(path, &st) != 0)
        return false;
    *n_bytes = (uint64_t)st.st_size;
    return S_ISREG(st.st_mode) && st.st_size <= QVL_MAX_COPIED_BYTES;
}

static enum qvl_status plan_copies(struct qvl_quantizer *q, struct qvl_error *err)
{
    if (q->n_made > 0)
        return QVL_OK;
    DIR *dir = opendir(q->model_dir);
    if (!dir)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot be read: %s", q->model_dir, qvl_errno_text(errno));
    enum qvl_status status = QVL_OK;
    for (struct dirent *d; !status && (d = readdir(dir)) != NULL;) {
        struct quantizer_copy copy = {0};
        char *path = qvl_arena_format(&q->arena, err, "%s/%s", q->model_dir, d->d_name);
        if (path && !is_copied(path, d->d_name, &copy.n_bytes))
            continue;
        void *grown =
            path ? qvl_grow(q->copy, &q->n_copy_alloc, q->n_copy + 1, sizeof copy, "the list of files", err) : NULL;
        if (grown) {
            q->copy = grown;
            copy.name = path + strlen(q->model_dir) + 1;
            q->copy[q->n_copy++] = copy;
        } else {
            status = err->status;
        }
    }
    closedir(dir);
    return status;
}

/* ---- open -------------------------------------------------------------------------------------------- */

static enum qvl_status check_source(struct qvl_quantizer *q, const struct qvl_quantizer_options *o,
                                    struct qvl_error *err)
{
    enum qvl_status status;
    if (!o->model_dir || !o->out_dir)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "no model folder was given");
    if (o->type == QVL_QUANTIZE_NONE || (unsigned)o->type > QVL_QUANTIZE_BALANCED)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%d is no quantization", (int)o->type);
    if (o->n_thread > QVL_MAX_THREADS)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%u threads: at most %u are allowed", o->n_thread, QVL_MAX_THREADS);
    if ((status = qvl_config_load(o->model_dir, &q->config, err)))
        return status;
    if (q->config.quantization != QVL_QUANTIZE_NONE)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s is quantised already", o->model_dir);
    if ((status = qvl_quantize_check(o->model_dir, &q->config, err)) ||
        (status = qvl_weights_open(o->model_dir, &q->config, &q->weights, err)))
        return status;
    size_t n_tensor;
    qvl_weights_count(&q->config, &n_tensor, &q->info.n_parameter);
    q->type = o->type;
    if (o->source)
        q->source = *o->source;
    q->model_dir = qvl_arena_copy_text(&q->arena, o->model_dir, strlen(o->model_dir), err);
    return q->model_dir ? QVL_OK : err->status;
}

static enum qvl_status make_header(const struct qvl_quantizer *q, struct qvl_bytes *out, struct qvl_error *err)
{
    return qvl_safetensors_header(q->tensor, q->n_tensor, (const char *const(*)[2])q->metadata, q->n_metadata, out,
                                  err);
}

static enum qvl_status begin_output(struct qvl_quantizer *q, const char *out_dir, struct qvl_error *err)
{
    struct qvl_bytes header = {0};
    enum qvl_status status = make_header(q, &header, err); /* as long as the final one */
    q->data_at = header.n;
    uint64_t n_bytes = header.n + q->info.out_bytes + q->config_json.n;
    qvl_bytes_free(&header);
    for (size_t i = 0; i < q->n_copy; i++)
        n_bytes += q->copy[i].n_bytes;
    for (size_t i = 0; i < q->n_made; i++)
        n_bytes += q->made[i].text.n;
    if (!status && !(status = qvl_output_folder_open(out_dir, n_bytes, &q->folder, err)))
        status = qvl_output_file_open(&q->folder, "model.safetensors", &q->file, err);
    return status;
}

enum qvl_status qvl_quantizer_begin(const struct qvl_quantizer_options *options, struct qvl_small_file *made,
                                    size_t n_made, struct qvl_quantizer **out, struct qvl_error *err)
{
    struct qvl_quantizer *q = calloc(1, sizeof *q);
    if (!q) {
        qvl_small_files_free(made, n_made);
        return qvl_fail_memory(err, sizeof *q, "quantising");
    }
    q->made = made;
    q->n_made = n_made;
    atomic_init(&q->is_cancelled, false);
    q->file.fd = -1;
    sha256_init(&q->sha);
    enum qvl_status status;
    if ((status = check_source(q, options, err)) || (status = qvl_weights_map(q->weights, err))) {
        qvl_quantizer_close(q);
        return err->status = status == QVL_ERR_FILE ? QVL_ERR_MODEL : status; /* FILE is about what is written */
    }
    if ((status = plan_tensors(q, err)) || (status = plan_steps(q, err)) || (status = plan_metadata(q, err)) ||
        (status = plan_config(q, err)) || (status = plan_copies(q, err)) ||
        (status = qvl_pool_open(options->n_thread ? options->n_thread : qvl_os_n_cpu(), &q->pool, err)) ||
        (status = begin_output(q, options->out_dir, err))) {
        qvl_quantizer_close(q);
        return status;
    }
    *out = q;
    return QVL_OK;
}

/* ---- pieces ------------------------------------------------------------------------------------------ */

/* In the model's folder. */
static const char *name_of(const struct qvl_weights_file *file)
{
    const char *slash = strrchr(file->path, '/');
    return slash ? slash + 1 : file->path;
}

/* Whether the file is there up to `end`; if not, that is what is waited for. */
static bool is_there(struct qvl_quantizer *q, const struct qvl_weights_file *file, uint64_t end)
{
    q->info.is_waiting = q->source.has && !q->source.has(q->source.user, name_of(file), end);
    return !q->info.is_waiting;
}

static void give_back(struct qvl_quantizer *q, const struct qvl_weights_file *file, uint64_t end)
{
    if (q->source.let_go)
        q->source.let_go(q->source.user, name_of(file), end);
}

/* Of the file under way, towards `end`. The checksum of a source file takes the place that the metadata has for it.
 */
static void hash_piece(struct qvl_quantizer *q, uint64_t end)
{
    const size_t n_file = qvl_weights_n_file(q->weights);
    struct qvl_weights_file file = qvl_weights_file(q->weights, q->i_file);
    if (!is_there(q, &file, end))
        return;
    size_t n = qvl_min_size((size_t)(end - q->n_hashed), HASH_PIECE);
    sha256_update(&q->sha, n, file.map + q->n_hashed);
    qvl_os_let_go(file.map, q->n_hashed, q->n_hashed + n);
    q->n_hashed += n;
    q->info.done += n;
    if (q->n_hashed < file.n_bytes)
        return;
    uint8_t sum[QVL_SHA256_BYTES];
    sha256_digest(&q->sha, sizeof sum, sum); /* and begins anew */
    qvl_hex(sum, sizeof sum, (char *)(uintptr_t)q->metadata[q->n_metadata - n_file + q->i_file][1]);
    if (q->i_step == q->n_tensor || q->step[q->i_step].part.i_file > q->i_file)
        give_back(q, &file, file.n_bytes);
    q->i_file++;
    q->n_hashed = 0;
}

static void hash_tensor(struct qvl_safetensors_out *out, const void *bytes)
{
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, (size_t)qvl_tensor_bytes(out->tensor), bytes);
    sha256_digest(&sha, sizeof out->sha256, out->sha256);
}

static enum qvl_status write_tensor(struct qvl_quantizer *q, const struct qvl_tensor *from, const void *bytes,
                                    struct qvl_error *err)
{
    const struct quantizer_step *step = &q->step[q->i_step];
    struct qvl_safetensors_out *out = &q->tensor[step->i_tensor];
    hash_tensor(out, bytes);
    enum qvl_status status =
        qvl_output_file_write(&q->file, q->data_at + out->begin, bytes, (size_t)qvl_tensor_bytes(out->tensor), err);
    qvl_weights_let_go(q->weights, from);
    q->i_row = 0;
    q->i_step++;
    struct qvl_weights_file file = qvl_weights_file(q->weights, step->part.i_file);
    bool is_last = q->i_step == q->n_tensor || step[1].part.i_file > step->part.i_file;
    if (!is_last) /* two may be made of the same one */
        give_back(q, &file, step[1].part.begin < step->part.end ? step[1].part.begin : step->part.end);
    else if (q->i_file > step->part.i_file)
        give_back(q, &file, file.n_bytes);
    return status;
}

static enum qvl_status make_piece(struct qvl_quantizer *q, struct qvl_error *err)
{
    const struct qvl_tensor *to = q->tensor[q->step[q->i_step].i_tensor].tensor,
                            *from = qvl_weights_source(q->weights, to);
    enum qvl_status status;
    if (to->data) {
        q->info.done += qvl_quantize_work(to);
        status = qvl_tensors_check_finite(from, 1, q->pool, &q->is_cancelled, err);
        return status ? status : write_tensor(q, from, from->data, err);
    }
    size_t n_out = (size_t)to->dim[0], end = qvl_min_size(q->i_row + qvl_quantize_piece(to), n_out);
    status = qvl_quantize_rows(from, to->dtype, q->i_row, end, q->pool, &q->is_cancelled, q->packed, err);
    q->info.done += qvl_quantize_work(to) / n_out * (end - q->i_row);
    q->i_row = end;
    return status || end < n_out ? status : write_tensor(q, from, q->packed, err);
}

static enum qvl_status write_whole(struct qvl_quantizer *q, const char *name, const struct qvl_bytes *text,
                                   struct qvl_error *err)
{
    struct qvl_output_file file = {.fd = -1};
    enum qvl_status status = qvl_output_file_open(&q->folder, name, &file, err);
    if (!status && !(status = qvl_output_file_write(&file, 0, text->data, text->n, err)))
        status = qvl_output_file_finish(&file, err);
    qvl_output_file_close(&file);
    return status;
}

static enum qvl_status copy_file(struct qvl_quantizer *q, const char *name, struct qvl_error *err)
{
    struct qvl_bytes text = {0};
    char *path = qvl_arena_format(&q->arena, err, "%s/%s", q->model_dir, name);
    enum qvl_status status = path ? qvl_os_read_file(path, QVL_MAX_COPIED_BYTES, &text, err) : err->status;
    if (!status)
        status = write_whole(q, name, &text, err);
    qvl_bytes_free(&text);
    return status;
}

static enum qvl_status finish(struct qvl_quantizer *q, struct qvl_error *err)
{
    struct qvl_bytes header = {0};
    enum qvl_status status = make_header(q, &header, err);
    if (!status && !(status = qvl_output_file_write(&q->file, 0, header.data, header.n, err)) &&
        !(status = qvl_output_file_finish(&q->file, err)))
        status = write_whole(q, "config.json", &q->config_json, err);
    qvl_bytes_free(&header);
    for (size_t i = 0; i < q->n_copy && !status; i++)
        status = copy_file(q, q->copy[i].name, err);
    for (size_t i = 0; i < q->n_made && !status; i++)
        if (q->made[i].text.n > 0 && strcmp(q->made[i].name, "config.json") != 0)
            status = write_whole(q, q->made[i].name, &q->made[i].text, err);
    if (!status && atomic_load(&q->is_cancelled))
        status = qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
    if (status || (status = qvl_output_folder_commit(&q->folder, err)))
        return status;
    q->info.done = q->info.total;
    q->is_done = true;
    return QVL_OK;
}

/* Where the hash of the file under way goes next; false: it is past what the next step needs. */
static bool has_to_hash(const struct qvl_quantizer *q, uint64_t *end)
{
    if (q->i_file == qvl_weights_n_file(q->weights))
        return false;
    const struct quantizer_step *step = q->i_step < q->n_tensor ? &q->step[q->i_step] : NULL;
    bool is_here = step && step->part.i_file == q->i_file;
    *end = is_here ? step->part.end : qvl_weights_file(q->weights, q->i_file).n_bytes;
    return !step || step->part.i_file > q->i_file || (is_here && q->n_hashed < step->part.end);
}

enum qvl_status qvl_quantizer_next(struct qvl_quantizer *q, bool *is_done, struct qvl_error *err)
{
    enum qvl_status status = QVL_OK;
    uint64_t end;
    if (!q->is_done && atomic_load(&q->is_cancelled))
        return qvl_fail(err, QVL_ERR_CANCELLED, "cancelled");
    if (has_to_hash(q, &end))
        hash_piece(q, end);
    else if (q->i_step < q->n_tensor)
        status = make_piece(q, err);
    else if (!q->is_done)
        status = finish(q, err);
    if (!status)
        *is_done = q->is_done;
    return status;
}

void qvl_quantizer_get_info(const struct qvl_quantizer *q, struct qvl_quantizer_info *out)
{
    *out = q->info;
}

void qvl_quantizer_cancel(struct qvl_quantizer *q)
{
    atomic_store(&q->is_cancelled, true);
}

void qvl_quantizer_close(struct qvl_quantizer *q)
{
    if (!q)
        return;
    qvl_output_file_close(&q->file);
    qvl_output_folder_discard(&q->folder);
    qvl_pool_close(q->pool);
    qvl_weights_close(q->weights);
    qvl_bytes_free(&q->config_json);
    qvl_small_files_free(q->made, q->n_made);
    free(q->copy);
    qvl_arena_free(&q->arena);
    free(q);
}
