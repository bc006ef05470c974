/* qvl pull: a model's name in, its folder out, whole and checked; packed, too, where that is wanted. */
#include "cli/pull.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/language.h"
#include "cli/quantize.h"
#include "cli/signals.h"
#include "cli/verbs.h"
#include "hub/path.h"

const char *qvl_source_name(enum qvl_hub_source source)
{
    static const char *const name[] = {[QVL_HUB_AUTO] = "qvl",
                                       [QVL_HUB_HF] = "Hugging Face",
                                       [QVL_HUB_MODELSCOPE] = "ModelScope",
                                       [QVL_HUB_MIRROR] = "hf-mirror.com"};
    return name[source];
}

const char *qvl_source_word(enum qvl_hub_source source)
{
    static const char *const word[] = {[QVL_HUB_AUTO] = "qvl",
                                       [QVL_HUB_HF] = "hf",
                                       [QVL_HUB_MODELSCOPE] = "modelscope",
                                       [QVL_HUB_MIRROR] = "mirror"};
    return word[source];
}

const char *qvl_size_text(uint64_t n_bytes, char out[QVL_SIZE_BYTES])
{
    if (n_bytes >= 1000000000)
        snprintf(out, QVL_SIZE_BYTES, "%.2f GB", (double)n_bytes / 1e9);
    else if (n_bytes >= 1000000)
        snprintf(out, QVL_SIZE_BYTES, "%.1f MB", (double)n_bytes / 1e6);
    else if (n_bytes >= 1000)
        snprintf(out, QVL_SIZE_BYTES, "%.1f KB", (double)n_bytes / 1e3);
    else
        snprintf(out, QVL_SIZE_BYTES, "%u B", (unsigned)n_bytes);
    return out;
}

/* ---- fetching ------------------------------------------------------------------------------------- */

static void stop(void *is_stopped)
{
    atomic_store((atomic_bool *)is_stopped, true);
}

static void say_plan(const struct qvl_hub_info *info, const struct qvl_hub_ref *ref, struct qvl_progress *progress)
{
    char all[QVL_SIZE_BYTES], had[QVL_SIZE_BYTES];
    qvl_size_text(info->n_bytes, all);
    qvl_size_text(info->n_had, had);
    if (info->n_had == 0)
        qvl_progress_say(progress, "qvl: %s/%s from %s (%s): %s in %u files", ref->owner, ref->name,
                         qvl_source_name(info->source), info->endpoint, all, info->n_file);
    else
        qvl_progress_say(progress, "qvl: %s/%s from %s (%s): %s in %u files, of which %s are here already",
                         ref->owner, ref->name, qvl_source_name(info->source), info->endpoint, all, info->n_file,
                         had);
}

static void show(const struct qvl_hub_info *info, const struct qvl_packer *packer, struct qvl_progress *progress)
{
    const char *what = info->stage == QVL_HUB_CHECKING ? qvl_text("checking") : qvl_text("fetching");
    if (packer && qvl_packer_has_begun(packer))
        what = qvl_text("fetching and packing");
    if (info->stage == QVL_HUB_FETCHING || info->stage == QVL_HUB_CHECKING)
        qvl_progress_show_bytes(progress, what, info->n_done, info->n_bytes, info->bytes_per_s);
}

static enum qvl_status say_stopped(const struct qvl_hub_pull *pull, const struct qvl_packer *packer,
                                   struct qvl_progress *progress)
{
    struct qvl_hub_info info;
    char here[QVL_SIZE_BYTES], all[QVL_SIZE_BYTES];
    qvl_hub_pull_get_info(pull, &info);
    if (packer && qvl_packer_has_begun(packer))
        qvl_progress_say(progress,
                         "qvl: stopped; what was packed so far is thrown away, and the next pull fetches it again");
    else if (info.n_bytes > 0)
        qvl_progress_say(progress, "qvl: stopped with %s of %s here; the next pull goes on from there",
                         qvl_size_text(info.n_done, here), qvl_size_text(info.n_bytes, all));
    return QVL_ERR_CANCELLED;
}

enum qvl_status qvl_pull_run(struct qvl_hub_pull *pull, const struct qvl_hub_ref *ref, struct qvl_packer *packer,
                             struct qvl_progress *progress, struct qvl_error *err)
{
    struct qvl_hub_info info;
    char note[512] = "";
    bool is_done = false, has_plan = false;
    atomic_bool is_stopped = false;
    enum qvl_status status = QVL_OK;
    qvl_signals_set_work(stop, &is_stopped);
    while (!status && !is_done && !atomic_load(&is_stopped)) {
        status = qvl_hub_pull_next(pull, &is_done, err);
        qvl_hub_pull_get_info(pull, &info);
        if (info.note && *info.note && strncmp(info.note, note, sizeof note - 1) != 0) {
            snprintf(note, sizeof note, "%s", info.note);
            qvl_progress_say(progress, "qvl: %s", note);
        }
        if (!has_plan && !status && info.stage >= QVL_HUB_FETCHING && info.n_file > 0) {
            has_plan = true;
            say_plan(&info, ref, progress);
        }
        if (packer && !status)
            status = qvl_packer_step(packer, pull, progress, err);
        is_done = is_done || (packer && packer->is_done); /* who stops it now is too late */
        show(&info, packer, progress);
    }
    qvl_progress_clear(progress);
    qvl_signals_set_work(NULL, NULL);
    return status || is_done ? status : say_stopped(pull, packer, progress);
}

/* ---- packing -------------------------------------------------------------------------------------- */

static const char *name_type(enum qvl_quantization type)
{
    return type == QVL_QUANTIZE_Q8 ? "q8" : type == QVL_QUANTIZE_Q4 ? "q4" : "balanced";
}

struct result {
    char model[4096];               /* what was fetched, as -m takes it */
    char packed[4096];              /* "": it is not to be packed */
    struct qvl_hub_ref packed_ref;  /* the name of that one */
    struct qvl_quantizer_info info; /* of packing; zero where it was packed before */
    bool is_network;                /* what has failed */
};

/* The model at `path`, with all that only it uses. */
static enum qvl_status delete_source(const char *path, struct qvl_progress *progress, struct qvl_error *err)
{
    struct qvl_hub_model *model = NULL;
    char freed[QVL_SIZE_BYTES];
    size_t n = 0;
    enum qvl_status status = qvl_hub_list(&model, &n, err);
    for (size_t i = 0; i < n && !status; i++)
        if (strcmp(model[i].path, path) == 0 && !(status = qvl_hub_remove(&model[i], err)))
            qvl_progress_say(progress, "qvl: %s is removed: %s", path, qvl_size_text(model[i].n_freed, freed));
    free(model);
    return status;
}

/* *was_there: by another pull meanwhile. */
static enum qvl_status pack(const struct qvl_options *o, struct qvl_progress *progress, struct result *out,
                            bool *was_there, struct qvl_error *err)
{
    struct qvl_quantizer_options wish = {
        .model_dir = out->model, .out_dir = out->packed, .type = o->quantize, .n_thread = (uint32_t)o->n_thread};
    qvl_progress_begin(progress, 0);
    enum qvl_status status = qvl_hub_path_make_parents(out->packed, err);
    *was_there = qvl_packed_is_there(&out->packed_ref, out->packed);
    if (!status && !*was_there)
        status = qvl_quantize_folder(&wish, progress, &out->info, err);
    if (!status && o->want_source_deleted)
        status = delete_source(out->model, progress, err);
    return status;
}

/* ---- what is said at the end ---------------------------------------------------------------------- */

static enum qvl_status add_string(struct qvl_bytes *out, const char *key, const char *text, struct qvl_error *err)
{
    enum qvl_status status = qvl_bytes_add_format(out, err, ",\"%s\":", key);
    return status ? status : qvl_bytes_add_json_string(out, text, strlen(text), err);
}

static enum qvl_status add_files(struct qvl_bytes *out, const struct qvl_hub_pull *pull, struct qvl_error *err)
{
    size_t n = 0;
    const struct qvl_hub_file *file = qvl_hub_pull_files(pull, &n);
    enum qvl_status status = qvl_bytes_add_text(out, ",\"list\":[", err);
    for (size_t i = 0; i < n && !status; i++) {
        if ((status = qvl_bytes_add_text(out, i ? ",{\"path\":" : "{\"path\":", err)) ||
            (status = qvl_bytes_add_json_string(out, file[i].path, strlen(file[i].path), err)) ||
            (status =
                 qvl_bytes_add_format(out, err, ",\"bytes\":%llu,\"here\":%s}", (unsigned long long)file[i].n_bytes,
                                      file[i].is_there ? "true" : "false")))
            return status;
    }
    return status ? status : qvl_bytes_add_text(out, "]", err);
}

static enum qvl_status print_json(const struct qvl_options *o, const struct qvl_hub_ref *ref,
                                  const struct qvl_hub_pull *pull, const struct result *result, double ms,
                                  struct qvl_error *err)
{
    struct qvl_bytes out = {0};
    struct qvl_hub_info info;
    enum qvl_status status;
    qvl_hub_pull_get_info(pull, &info);
    if ((status = qvl_bytes_add_format(&out, err, "{\"model\":\"%s/%s\"", ref->owner, ref->name)) ||
        (status = add_string(&out, "source", qvl_source_word(info.source), err)) ||
        (status = add_string(&out, "endpoint", info.endpoint, err)) ||
        (status = add_string(&out, "revision", ref->revision, err)) ||
        (status = add_string(&out, "commit", info.commit, err)) ||
        (status = qvl_bytes_add_format(&out, err, ",\"files\":%u,\"bytes\":%llu,\"had_bytes\":%llu,\"ms\":%.1f",
                                       info.n_file, (unsigned long long)info.n_bytes,
                                       (unsigned long long)info.n_had, ms)))
        goto fail;
    if (o->is_dry_run)
        status = add_files(&out, pull, err);
    else
        status = add_string(&out, "path", result->packed[0] ? result->packed : result->model, err);
    if (!status && result->packed[0])
        status = qvl_bytes_add_format(&out, err, ",\"packed\":\"%s\",\"packed_bytes\":%llu", name_type(o->quantize),
                                      (unsigned long long)result->info.out_bytes);
    if (status || (status = qvl_bytes_add_text(&out, "}\n", err)))
        goto fail;
    status = qvl_write_stdout(out.data, out.n, err);
fail:
    qvl_bytes_free(&out);
    return status;
}

/* Nothing was fetched: the packed folder was here. */
static enum qvl_status print_packed_json(const struct qvl_options *o, const struct qvl_hub_ref *ref,
                                         const char *path, struct qvl_error *err)
{
    struct qvl_bytes out = {0};
    enum qvl_status status;
    if (!(status = qvl_bytes_add_format(&out, err, "{\"model\":\"%s/%s\",\"packed\":\"%s\"", ref->owner, ref->name,
                                        name_type(o->quantize))) &&
        !(status = add_string(&out, "path", path, err)) && !(status = qvl_bytes_add_text(&out, "}\n", err)))
        status = qvl_write_stdout(out.data, out.n, err);
    qvl_bytes_free(&out);
    return status;
}

static enum qvl_status print_path(const char *path, struct qvl_error *err)
{
    printf("%s\n", path);
    return qvl_write_stdout("", 0, err);
}

static enum qvl_status say_packed(const struct qvl_options *o, const struct qvl_hub_ref *ref,
                                  const struct result *result, struct qvl_progress *progress, struct qvl_error *err)
{
    qvl_progress_say(progress, "qvl: %s is here already; `qvl rm` makes room for a new one", result->packed);
    return o->want_json ? print_packed_json(o, ref, result->packed, err) : print_path(result->packed, err);
}

/* Of a dry run: each file, and whether it is here. */
static enum qvl_status print_files(const struct qvl_hub_pull *pull, struct qvl_error *err)
{
    size_t n = 0;
    char size[QVL_SIZE_BYTES];
    const struct qvl_hub_file *file = qvl_hub_pull_files(pull, &n);
    for (size_t i = 0; i < n; i++)
        printf("%10s  %s%s\n", qvl_size_text(file[i].n_bytes, size), file[i].path,
               file[i].is_there ? qvl_text("  (here)") : "");
    return qvl_write_stdout("", 0, err);
}

static enum qvl_status report(const struct qvl_options *o, const struct qvl_hub_ref *ref,
                              const struct qvl_hub_pull *pull, const struct result *result,
                              struct qvl_progress *progress, double ms, struct qvl_error *err)
{
    struct qvl_hub_info info;
    char size[QVL_SIZE_BYTES];
    qvl_hub_pull_get_info(pull, &info);
    if (o->want_json)
        return print_json(o, ref, pull, result, ms, err);
    if (o->is_dry_run)
        return print_files(pull, err);
    const char *type = result->packed[0] ? name_type(o->quantize) : "";
    qvl_size_text(result->packed[0] ? result->info.out_bytes : info.n_bytes, size);
    qvl_progress_say(progress, "qvl: %s/%s%s%s is here: %s, in %.0f s", ref->owner, ref->name, *type ? "-" : "",
                     type, size, ms / 1e3);
    if (o->local_dir && !*type)
        qvl_progress_say_dim(progress, "     qvl run -m %s photo.jpg \"What is this?\"", o->local_dir);
    else
        qvl_progress_say_dim(progress, "     qvl run -m %s/%s%s%s photo.jpg \"What is this?\"", ref->owner,
                             ref->name, *type ? "-" : "", type);
    return print_path(*type ? result->packed : result->model, err);
}

/* ---- the verb ------------------------------------------------------------------------------------- */

/* The folder that was fetched or, of a model in GGUF files, the one of them that -m takes. */
static void name_model(const struct qvl_options *o, const struct qvl_hub_pull *pull, const struct qvl_hub_ref *ref,
                       struct result *out)
{
    struct qvl_hub_info info;
    struct qvl_hub_ref fetched = *ref;
    qvl_hub_pull_get_info(pull, &info);
    fetched.source = info.source;
    if (o->local_dir || !qvl_hub_find(&fetched, out->model) ||
        strncmp(out->model, info.path, strlen(info.path)) != 0)
        memcpy(out->model, info.path, sizeof out->model);
}

static bool is_network_at_fault(const struct qvl_hub_pull *pull)
{
    struct qvl_hub_info info;
    qvl_hub_pull_get_info(pull, &info);
    return info.is_network;
}

static enum qvl_status fetch_and_pack(const struct qvl_options *o, const struct qvl_hub_ref *ref,
                                      struct qvl_progress *progress, struct result *result, struct qvl_error *err)
{
    struct qvl_hub_options wish = {.ref = *ref,
                                   .n_connection = (uint32_t)o->n_connection,
                                   .is_dry = o->is_dry_run,
                                   .want_stream = o->want_source_deleted,
                                   .check_all = o->want_check,
                                   .local_dir = o->local_dir,
                                   .gguf = o->gguf};
    struct qvl_hub_pull *pull = NULL;
    struct qvl_packer packer = {
        .wish = {.out_dir = result->packed, .type = o->quantize, .n_thread = (uint32_t)o->n_thread},
        .packed = result->packed_ref};
    double begin_ms = qvl_now_ms();
    enum qvl_status status = qvl_hub_pull_open(&wish, &pull, err);
    if (!status && o->want_source_deleted && !o->is_dry_run)
        status = qvl_hub_path_make_parents(result->packed, err);
    if (!status && (status = qvl_pull_run(pull, ref, o->want_source_deleted ? &packer : NULL, progress, err)))
        result->is_network = is_network_at_fault(pull);
    if (!status && !o->is_dry_run && !packer.is_done)
        name_model(o, pull, ref, result);
    bool was_there = packer.was_there;
    if (!status && result->packed[0] && !o->is_dry_run && !packer.is_done)
        status = pack(o, progress, result, &was_there, err);
    if (packer.is_done)
        result->info = packer.info;
    if (!status && was_there)
        status = say_packed(o, ref, result, progress, err);
    else if (!status)
        status = report(o, ref, pull, result, progress, qvl_now_ms() - begin_ms, err);
    qvl_packer_close(&packer);
    qvl_hub_pull_close(pull);
    return status;
}

static enum qvl_status read_name(const struct qvl_options *o, struct qvl_hub_ref *ref, struct qvl_error *err)
{
    enum qvl_status status = qvl_hub_ref_parse(o->n_item ? o->item[0].value : QVL_HUB_DEFAULT_MODEL, ref, err);
    if (status)
        return status;
    if (o->source && ref->source && o->source != ref->source)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "--source and the model's name say two different sources");
    if (o->source)
        ref->source = o->source;
    return QVL_OK;
}

/* Where the packed folder goes; *is_here: it is there already. */
static enum qvl_status find_packed(const struct qvl_options *o, const struct qvl_hub_ref *ref, struct result *out,
                                   bool *is_here, struct qvl_error *err)
{
    struct qvl_hub_ref *packed = &out->packed_ref;
    *is_here = false;
    if (!o->quantize)
        return QVL_OK;
    enum qvl_status status = qvl_hub_packed_path(ref, name_type(o->quantize), out->packed, err);
    if (status)
        return status;
    memcpy(packed->owner, ref->owner, sizeof packed->owner);
    int n = snprintf(packed->name, sizeof packed->name, "%s-%s", ref->name, name_type(o->quantize));
    if (n <= 0 || (size_t)n >= sizeof packed->name)
        packed->name[0] = 0;
    *is_here = qvl_packed_is_there(packed, out->packed);
    return QVL_OK;
}

enum qvl_exit qvl_pull_model(const struct qvl_options *options)
{
    struct qvl_error err = {0};
    struct qvl_hub_ref ref;
    struct qvl_progress progress;
    struct result result = {0};
    bool is_here = false;
    if (options->n_item > 1) {
        fputs(qvl_text("qvl: pull takes one model: OWNER/NAME\n"), stderr);
        return QVL_EXIT_USAGE;
    }
    qvl_progress_open(&progress, options->progress, options->is_quiet);
    enum qvl_status status = read_name(options, &ref, &err);
    if (!status)
        status = find_packed(options, &ref, &result, &is_here, &err);
    if (!status && is_here) {
        status = say_packed(options, &ref, &result, &progress, &err);
    } else if (!status) {
        status = fetch_and_pack(options, &ref, &progress, &result, &err);
    }
    if (status == QVL_ERR_CANCELLED)
        return (enum qvl_exit)qvl_signals_exit_code();
    if (status)
        qvl_say_error(&err);
    return qvl_exit_of(status, result.is_network ? QVL_EXIT_NETWORK : QVL_EXIT_FAILURE);
}
