/* Whether a model can be packed while it comes. The headers of its weight files say so, and a header is read only
 * when all of it is there: a hole in a file reads as zeros, which must never be taken for what will stand there. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/gguf.h"
#include "base/limits.h"
#include "base/os.h"
#include "load/quantize_folder.h"
#include "load/weights.h"

enum { N_LENGTH_BYTES = 8 };

/* Length of the header with what stands before it; 0: none that is read. */
static enum qvl_status read_length(const char *path, uint64_t *out, struct qvl_error *err)
{
    uint8_t bytes[N_LENGTH_BYTES];
    uint64_t n_file, n = 0;
    int fd = -1;
    enum qvl_status status = qvl_os_open_file(path, &fd, &n_file, err);
    if (status)
        return status;
    status = qvl_os_read_at(fd, path, 0, bytes, sizeof bytes, err);
    close(fd);
    for (size_t i = sizeof bytes; i-- > 0 && !status;)
        n = n << 8 | bytes[i];
    bool is_header = n <= QVL_MAX_SAFETENSORS_HEADER_BYTES && N_LENGTH_BYTES + n <= n_file;
    *out = is_header ? N_LENGTH_BYTES + n : 0;
    return status;
}

static enum qvl_status ask_file(const char *dir, const char *name, const struct qvl_quantizer_source *source,
                                enum qvl_quantizer_way *out, struct qvl_error *err)
{
    struct qvl_arena arena = {0};
    uint64_t n_header = 0;
    *out = QVL_QUANTIZER_LATER;
    if (!source->has(source->user, name, N_LENGTH_BYTES))
        return QVL_OK;
    const char *path = qvl_arena_format(&arena, err, "%s/%s", dir, name);
    enum qvl_status status = path ? read_length(path, &n_header, err) : err->status;
    qvl_arena_free(&arena);
    if (!status && n_header == 0)
        *out = QVL_QUANTIZER_NEEDS_ALL;
    else if (!status && source->has(source->user, name, n_header))
        *out = QVL_QUANTIZER_FOLLOWS;
    return status;
}

static bool is_weights(const char *name)
{
    static const char end[] = ".safetensors";
    size_t n = strlen(name);
    return n > sizeof end - 1 && strcmp(name + n - (sizeof end - 1), end) == 0;
}

/* What all of them allow; each is asked, so that all that is waited for is known at once. */
static enum qvl_status ask_files(const char *model_dir, const struct qvl_quantizer_source *source, size_t *n_file,
                                 enum qvl_quantizer_way *out, struct qvl_error *err)
{
    DIR *dir = opendir(model_dir);
    if (!dir)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot be read: %s", model_dir, qvl_errno_text(errno));
    enum qvl_status status = QVL_OK;
    *out = QVL_QUANTIZER_FOLLOWS;
    *n_file = 0;
    for (struct dirent *d; !status && (d = readdir(dir)) != NULL;) {
        enum qvl_quantizer_way way;
        if (!is_weights(d->d_name))
            continue;
        ++*n_file;
        status = ask_file(model_dir, d->d_name, source, &way, err);
        if (!status && way != QVL_QUANTIZER_FOLLOWS && *out != QVL_QUANTIZER_NEEDS_ALL)
            *out = way;
    }
    closedir(dir);
    return status;
}

/* A weight file that the model does not need would be waited for in vain. */
static enum qvl_status ask_weights(const char *model_dir, const struct qvl_config *config, size_t n_file,
                                   enum qvl_quantizer_way *out, struct qvl_error *err)
{
    struct qvl_weights *weights = NULL;
    enum qvl_status status = qvl_weights_open(model_dir, config, &weights, err);
    if (!status && (qvl_weights_n_file(weights) != n_file || !qvl_weights_is_in_parts(weights)))
        *out = QVL_QUANTIZER_NEEDS_ALL;
    qvl_weights_close(weights);
    return status;
}

enum qvl_status qvl_quantizer_ask(const struct qvl_quantizer_options *options, enum qvl_quantizer_way *out,
                                  struct qvl_error *err)
{
    struct qvl_gguf_pair pair;
    struct qvl_config config;
    size_t n_file = 0;
    enum qvl_status status;
    if (!options->model_dir || !options->source || !options->source->has)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "no model folder was given");
    *out = QVL_QUANTIZER_NEEDS_ALL;
    if ((status = qvl_gguf_pair_find(options->model_dir, &pair, err)) || pair.is_found ||
        (status = qvl_config_load(options->model_dir, &config, err)) || config.foreign.n_scheme > 0)
        return status;
    status = ask_files(options->model_dir, options->source, &n_file, out, err);
    if (!status && *out == QVL_QUANTIZER_FOLLOWS)
        status = ask_weights(options->model_dir, &config, n_file, out, err);
    if (status)
        *out = QVL_QUANTIZER_LATER;
    return status;
}
