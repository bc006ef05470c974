/* The model and the helper, tried: the folder is opened as any run would open it, and a tiny picture or clip of
 * each format goes through qvl-media as a question's would. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/gguf.h"
#include "base/json_tree.h"
#include "base/language.h"
#include "base/os.h"
#include "cli/default_model.h"
#include "cli/doctor.h"
#include "cli/doctor_media.h"
#include "cli/verbs.h"

#define WORK_BYTES 600e6     /* of a request, beside weights, keys and values */
#define LEAST_CONTEXT 4096.0 /* a picture of 2000 x 2000 pixels has 3906 tokens */
enum { HASH_DIGITS = 64 };

/* ---- checksums that a hub's cache carries ---------------------------------------------------------------- */

/* The file's SHA-256 as hexadecimal digits; false with d's finding where it cannot be read. */
static bool hash_file(const char *path, char out[HASH_DIGITS + 1])
{
    static uint8_t buffer[1 << 20]; /* the program has one thread here */
    struct sha256_ctx sha;
    uint8_t sum[SHA256_DIGEST_SIZE];
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    sha256_init(&sha);
    while (fd >= 0 && ((n = read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0)
            sha256_update(&sha, (size_t)n, buffer);
    if (fd >= 0)
        close(fd);
    sha256_digest(&sha, sizeof sum, sum);
    qvl_hex(sum, sizeof sum, out);
    return n == 0;
}

/* In the cache of Hugging Face's programs a large file is a link to a blob that is named by its SHA-256. Whether
 * the file is one; and where it has another sum, a finding. */
static bool check_blob(struct qvl_doctor *d, const char *path)
{
    char target[4096], sum[HASH_DIGITS + 1];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < HASH_DIGITS)
        return false;
    target[n] = 0;
    const char *digits = target + n - HASH_DIGITS;
    if (strspn(digits, "0123456789abcdef") != HASH_DIGITS || (digits > target && digits[-1] != '/'))
        return false;
    if (!hash_file(path, sum) || strcmp(sum, digits) != 0)
        qvl_doctor_add(d, QVL_VERDICT_PROBLEM, QVL_SAID("weights"),
                       qvl_doctor_text(d, qvl_text("%.1000s has not the SHA-256 that its blob is named by"), path),
                       qvl_text("delete this file and its blob, and run `qvl pull` again"));
    return true;
}

static size_t check_blobs(struct qvl_doctor *d, const char *dir)
{
    char path[4096];
    size_t n = 0;
    DIR *folder = opendir(dir);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)) != NULL)
        if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) < sizeof path)
            n += check_blob(d, path);
    if (folder)
        closedir(folder);
    return n;
}

/* Of a folder all files, of a model in GGUF files those two. */
static void see_blobs(struct qvl_doctor *d, const char *model)
{
    struct qvl_gguf_pair pair;
    struct qvl_error ignored; /* the model was opened */
    size_t n = !qvl_gguf_pair_find(model, &pair, &ignored) && pair.is_found
                   ? (size_t)check_blob(d, pair.text) + check_blob(d, pair.mmproj)
                   : check_blobs(d, model);
    if (n > 0)
        qvl_doctor_add(d, QVL_VERDICT_OK, QVL_SAID("weights"),
                       qvl_doctor_text(d, qvl_text("%zu files read and compared with their SHA-256"), n), NULL);
}

/* ---- the model ------------------------------------------------------------------------------------------- */

static enum qvl_status open_engine(const struct qvl_doctor *d, const char *model, struct qvl_engine **out,
                                   struct qvl_error *err)
{
    const struct qvl_options *o = d->options;
    struct qvl_engine_options settings = {.model_dir = model,
                                          .media_helper = o->media_helper,
                                          .media_deadline_ms = (uint32_t)(o->media_timeout_s * 1e3),
                                          .compute = o->dtype,
                                          .n_thread = (uint32_t)o->n_thread,
                                          .n_ctx = (uint32_t)o->n_ctx,
                                          .isa = o->isa};
    return qvl_engine_open(&settings, out, err);
}

/* Returns the bytes of the weights in the files. */
static double say_model(struct qvl_doctor *d, const struct qvl_engine_info *info)
{
    double n_bytes = 0;
    struct qvl_arena arena = {0};
    struct qvl_json_tree tree = {0};
    struct qvl_error why = {0};
    if (!qvl_json_tree_read(info->inspect_json, strlen(info->inspect_json), "inspect", QVL_MAX_JSON_VALUES, &arena,
                            &tree, &why)) {
        const struct qvl_json_node *text = qvl_json_member(tree.node, "text"),
                                   *weights = qvl_json_member(tree.node, "weights"),
                                   *bytes = qvl_json_member(weights, "bytes"),
                                   *layers = qvl_json_member(text, "layers"),
                                   *hidden = qvl_json_member(text, "hidden"),
                                   *types = qvl_json_member(weights, "types");
        if (bytes)
            qvl_json_number(bytes, &n_bytes);
        const struct qvl_json_node *type = types && types->n_child ? types + 1 : NULL;
        qvl_doctor_add(
            d, QVL_VERDICT_OK, QVL_SAID("model"),
            qvl_doctor_text(
                d, qvl_text("%.1000s%s: %s, %.3g billion weights in %.3g GB (%.*s), %.*s layers of %.*s"), d->model,
                info->is_demo ? qvl_text(" (the demo model)") : "", info->is_thinking ? "Thinking" : "Instruct",
                (double)info->n_parameter / 1e9, n_bytes / QVL_GB, type ? (int)type->n_key : 1,
                type ? type->key : "?", layers ? (int)layers->n : 1, layers ? layers->utf8 : "?",
                hidden ? (int)hidden->n : 1, hidden ? hidden->utf8 : "?"),
            NULL);
    }
    qvl_json_tree_free(&tree);
    qvl_arena_free(&arena);
    return n_bytes;
}

/* Of memory that is left beside the weights, how many positions. */
static void say_fit(struct qvl_doctor *d, const struct qvl_engine_info *info)
{
    struct rlimit space;
    double available = (double)qvl_os_available_bytes(), weights = (double)info->weight_bytes;
    double limit =
        getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY ? (double)space.rlim_cur : available;
    double left = (limit < available ? limit : available) - weights - WORK_BYTES;
    double n_ctx = left > 0 ? left / (double)info->kv_bytes_per_tok : 0;
    if (n_ctx > info->n_ctx)
        n_ctx = info->n_ctx;
    bool is_small = n_ctx < LEAST_CONTEXT && n_ctx < info->n_ctx;
    const char *text = qvl_doctor_text(
        d, qvl_text("%.1f GB for weights, %.1f for work; beside them room for %.0f of %u tokens (%.0f KB each)"),
        weights / QVL_GB, WORK_BYTES / QVL_GB, n_ctx, info->n_ctx, (double)info->kv_bytes_per_tok / 1e3);
    if (n_ctx < 1)
        qvl_doctor_add(d, QVL_VERDICT_PROBLEM, QVL_SAID("fits"), text,
                       limit < available
                           ? qvl_text("the address space is limited: ulimit -v unlimited")
                           : qvl_text("close other programs, take a smaller model, or `qvl quantize` this one: "
                                      "4 bits need a quarter"));
    else
        qvl_doctor_add(
            d, is_small ? QVL_VERDICT_NOTE : QVL_VERDICT_OK, QVL_SAID("fits"), text,
            is_small ? qvl_text("--kv int8 halves what a token needs; --max-pixels makes pictures smaller") : NULL);
}

static void see_weights(struct qvl_doctor *d, const char *model, double n_bytes)
{
    struct qvl_error why = {0};
    if (!d->options->is_full) {
        qvl_doctor_add(
            d, QVL_VERDICT_OK, QVL_SAID("weights"),
            qvl_doctor_text(d, qvl_text("names, types and shapes are right; not read (--full reads all %.3g GB)"),
                            n_bytes / QVL_GB),
            NULL);
        return;
    }
    if (qvl_engine_check_weights(d->engine, &why))
        qvl_doctor_add(d, QVL_VERDICT_PROBLEM, QVL_SAID("weights"), qvl_doctor_text(d, "%s", why.text),
                       qvl_text("fetch the model again"));
    else
        qvl_doctor_add(d, QVL_VERDICT_OK, QVL_SAID("weights"),
                       qvl_text("all read: each is a finite number, packed ones have their checksums"), NULL);
    see_blobs(d, model);
}

void qvl_doctor_see_model(struct qvl_doctor *doctor)
{
    char pair[2 * PATH_MAX];
    struct qvl_engine_info info;
    struct qvl_error why = {0};
    if (!doctor->model) {
        qvl_doctor_add(doctor, QVL_VERDICT_PROBLEM, QVL_SAID("model"),
                       qvl_text("none was given, and the demo model is not here"),
                       qvl_text("qvl pull, or -m DIR for a folder as published on Hugging Face"));
        return;
    }
    const char *model = qvl_model_path(doctor->options, doctor->model, pair);
    if (open_engine(doctor, model, &doctor->engine, &why)) {
        qvl_doctor_add(
            doctor, QVL_VERDICT_PROBLEM, QVL_SAID("model"), qvl_doctor_text(doctor, "%s", why.text),
            qvl_text("-m names a folder as published on Hugging Face; a damaged one is to be fetched again"));
        return;
    }
    qvl_engine_get_info(doctor->engine, &info);
    see_weights(doctor, model, say_model(doctor, &info));
    say_fit(doctor, &info);
    qvl_doctor_add(doctor, QVL_VERDICT_OK, QVL_SAID("computing"),
                   qvl_doctor_text(doctor, qvl_text("kernels of level %s, %u threads, keys and values in %s"),
                                   info.isa, info.n_thread, info.kv),
                   NULL);
}

/* ---- the helper ------------------------------------------------------------------------------------------ */

static enum qvl_status decode(struct qvl_engine *engine, const char *name, enum qvl_part_kind kind,
                              const uint8_t *bytes, size_t n, struct qvl_error *err)
{
    struct qvl_part part = {
        .kind = kind, .source = {.from = QVL_FROM_BYTES, .name = name, .bytes = bytes, .n_bytes = n, .fd = -1}};
    struct qvl_message message = {.role = QVL_ROLE_USER, .parts = &part, .n_part = 1};
    struct qvl_chat chat = {.messages = &message, .n_message = 1};
    struct qvl_request_options wish = {.sampling = {.top_p = 1, .repetition_penalty = 1}};
    struct qvl_request *request = NULL;
    enum qvl_status status = qvl_request_open(engine, &chat, &wish, &request, err);
    if (!status)
        status = qvl_request_prepare(request, err);
    qvl_request_close(request);
    return status;
}

static void try_formats(struct qvl_doctor *d, struct qvl_engine *engine)
{
    enum { N_PLAIN = 3 }; /* the first ones need no module */
    static const struct {
        const char *name;
        enum qvl_part_kind kind;
        const uint8_t *bytes;
        size_t n;
    } tiny[] = {
#define X(name, kind, bytes) {(name), (kind), (bytes), sizeof(bytes)},
        QVL_DOCTOR_MEDIA(X)
#undef X
    };
    char good[128] = "";
    for (size_t i = 0; i < sizeof tiny / sizeof *tiny; i++) {
        struct qvl_error why = {0};
        size_t n = strlen(good);
        if (!decode(engine, tiny[i].name, tiny[i].kind, tiny[i].bytes, tiny[i].n, &why)) {
            snprintf(good + n, sizeof good - n, "%s%s", n ? " " : "", tiny[i].name);
            continue;
        }
        qvl_doctor_add(
            d, i < N_PLAIN ? QVL_VERDICT_PROBLEM : QVL_VERDICT_NOTE, "qvl-media",
            qvl_doctor_text(d, "%s", why.text),
            i < N_PLAIN
                ? qvl_text("qvl-media belongs beside qvl or into ../libexec/qvl; --media-helper names another")
                : qvl_text("install FFmpeg's libraries and libheif, and qvl-media-av.so beside qvl-media"));
        if (i == 0)
            return; /* the others would say the same */
    }
    qvl_doctor_add(d, QVL_VERDICT_OK, "qvl-media",
                   qvl_doctor_text(d, qvl_text("locked in by seccomp; decodes %s"), good), NULL);
}

void qvl_doctor_see_media(struct qvl_doctor *doctor)
{
    char demo[PATH_MAX];
    struct qvl_error why = {0};
    struct qvl_engine *engine = doctor->engine;
    if (!engine && qvl_default_model_find(demo) && open_engine(doctor, demo, &engine, &why))
        engine = NULL;
    if (engine)
        try_formats(doctor, engine);
    else
        qvl_doctor_add(doctor, QVL_VERDICT_NOTE, "qvl-media", qvl_text("not tried: that needs a model that opens"),
                       NULL);
    if (engine != doctor->engine)
        qvl_engine_close(engine);
}
