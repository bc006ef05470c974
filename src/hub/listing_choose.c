/* In: all files of a repository. Out: those that qvl reads, and what a person wants to keep beside them.
 *
 * Only files that lie at the top count. Weights in safetensors come before GGUF where a repository has both; what
 * other programs would need (.bin, .pt, .onnx, originals in folders) is left where it is. */
#include "hub/listing.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/language.h"
#include "base/limits.h"

/* Patterns of the shell. */
static const char *const beside_weights[] = {"config.json",
                                             "generation_config.json",
                                             "preprocessor_config.json",
                                             "video_preprocessor_config.json",
                                             "processor_config.json",
                                             "configuration.json",
                                             "quantize_config.json",
                                             "quant_config.json",
                                             "tokenizer.json",
                                             "tokenizer_config.json",
                                             "vocab.json",
                                             "merges.txt",
                                             "added_tokens.json",
                                             "special_tokens_map.json",
                                             "chat_template.json",
                                             "chat_template.jinja",
                                             "*.safetensors.index.json",
                                             "README.md",
                                             "LICENSE*",
                                             "NOTICE*",
                                             NULL};
static const char *const beside_gguf[] = {"README.md", "LICENSE*", "NOTICE*", "configuration.json", NULL};

/* What qvl reads, the default first, then the most exact. */
static const char *const gguf_types[] = {"Q8_0", "BF16", "F16",    "F32",    "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_K",
                                         "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_K", "IQ4_NL", "Q4_1",   "Q4_0"};
/* Of the vision part the most exact (F32 says no more than what it was made from), as it is small. */
static const char *const mmproj_types[] = {"BF16", "F16", "F32", "Q8_0"};
enum {
    N_GGUF_TYPE = sizeof gguf_types / sizeof *gguf_types,
    N_MMPROJ_TYPE = sizeof mmproj_types / sizeof *mmproj_types
};

static bool is_one_of(const char *path, const char *const *patterns)
{
    for (; *patterns; patterns++)
        if (fnmatch(*patterns, path, FNM_PATHNAME | FNM_PERIOD) == 0)
            return true;
    return false;
}

static bool has_end(const char *path, const char *end)
{
    size_t n = strlen(path), n_end = strlen(end);
    return n > n_end && strcasecmp(path + n - n_end, end) == 0;
}

static bool is_top(const char *path)
{
    return !strchr(path, '/');
}

bool qvl_hub_is_safetensors(const char *path)
{
    return is_top(path) && has_end(path, ".safetensors");
}

static bool is_mmproj(const char *path)
{
    return is_top(path) && has_end(path, ".gguf") && strcasestr(path, "mmproj");
}

static bool is_text_gguf(const char *path)
{
    return is_top(path) && has_end(path, ".gguf") && !strcasestr(path, "mmproj") && !strstr(path, "-of-0");
}

/* Place in a list of types of the one that stands in the name with no letter or digit around it; n: none of them.
 */
static size_t rank(const char *path, const char *const *types, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (const char *at = strcasestr(path, types[i]); at; at = strcasestr(at + 1, types[i])) {
            bool is_begin = at == path || strchr("-_.", at[-1]);
            if (is_begin && strchr("-.", at[strlen(types[i])]))
                return i;
        }
    return n;
}

static bool fits(const char *path, const char *pattern)
{
    if (!pattern || fnmatch(pattern, path, FNM_CASEFOLD) == 0)
        return true;
    return !strpbrk(pattern, "*?[") && strcasestr(path, pattern);
}

/* The best of those that fit; SIZE_MAX: there is none. take_any: of another type rather than none. */
static size_t find_best(const struct qvl_hub_listing *l, bool (*is_kind)(const char *path), const char *pattern,
                        const char *const *types, size_t n_type, bool take_any)
{
    size_t best = SIZE_MAX, best_rank = n_type + 1;
    for (size_t i = 0; i < l->n; i++) {
        const char *path = l->file[i].path;
        size_t r = is_kind(path) && fits(path, pattern) ? rank(path, types, n_type) : n_type + 1;
        if (r < best_rank && (r < n_type || take_any)) {
            best = i;
            best_rank = r;
        }
    }
    return best;
}

static bool has_kind(const struct qvl_hub_listing *l, bool (*is_kind)(const char *path))
{
    for (size_t i = 0; i < l->n; i++)
        if (is_kind(l->file[i].path))
            return true;
    return false;
}

static bool has_file(const struct qvl_hub_listing *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->file[i].path, name) == 0)
            return true;
    return false;
}

static bool is_model_safetensors(const char *path)
{
    return qvl_hub_is_safetensors(path) && strncmp(path, "model", 5) == 0;
}

/* Keeps what matches the patterns, and the weights that is_weight names or that stand at place a or b. */
static enum qvl_status keep(struct qvl_hub_listing *l, const char *const *patterns, bool (*is_weight)(const char *),
                            size_t a, size_t b, struct qvl_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        const char *path = l->file[i].path;
        if (i != a && i != b && !is_one_of(path, patterns) && !(is_weight && is_weight(path)))
            continue;
        if (n == QVL_MAX_HUB_FILES)
            return qvl_fail(err, QVL_ERR_LIMIT, "the model has more than %u files", QVL_MAX_HUB_FILES);
        l->file[n++] = l->file[i];
    }
    l->n = n;
    return QVL_OK;
}

static enum qvl_status choose_gguf(struct qvl_hub_listing *l, const char *gguf, struct qvl_error *err)
{
    size_t text = find_best(l, is_text_gguf, gguf, gguf_types, N_GGUF_TYPE, gguf);
    size_t mmproj = find_best(l, is_mmproj, NULL, mmproj_types, N_MMPROJ_TYPE, true);
    if (text == SIZE_MAX && gguf)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "no GGUF file of the repository fits \"%.200s\"", gguf);
    if (text == SIZE_MAX)
        return qvl_fail(err, QVL_ERR_MODEL,
                        "the repository has no GGUF file of a type that qvl reads (Q8_0, F16, Q4_K_M, …)");
    if (mmproj == SIZE_MAX)
        return qvl_fail(err, QVL_ERR_MODEL, "the repository has no mmproj*.gguf: the part that sees is missing");
    return keep(l, beside_gguf, NULL, text, mmproj, err);
}

static int compare_size(const void *a, const void *b)
{
    const struct qvl_hub_file *x = a, *y = b;
    if (x->n_bytes != y->n_bytes)
        return x->n_bytes < y->n_bytes ? -1 : 1;
    return strcmp(x->path, y->path);
}

/* A name that stands twice in what is kept would be two files in one place. */
static enum qvl_status check_unique(const struct qvl_hub_listing *l, struct qvl_error *err)
{
    for (size_t i = 0; i < l->n; i++)
        for (size_t j = i + 1; j < l->n; j++)
            if (strcmp(l->file[i].path, l->file[j].path) == 0)
                return qvl_fail(err, QVL_ERR_FILE, "the list of files has %.200s twice", l->file[i].path);
    return QVL_OK;
}

static enum qvl_status check_sizes(const struct qvl_hub_listing *l, struct qvl_error *err)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->file[i].n_bytes > QVL_MAX_HUB_FILE_BYTES)
            return qvl_fail(err, QVL_ERR_LIMIT, "%.200s is too large to be fetched: %llu bytes", l->file[i].path,
                            (unsigned long long)l->file[i].n_bytes);
    return QVL_OK;
}

enum qvl_status qvl_hub_listing_choose(struct qvl_hub_listing *l, const char *gguf, struct qvl_error *err)
{
    bool has_folder = has_kind(l, qvl_hub_is_safetensors) && has_file(l, "config.json");
    enum qvl_status status;
    if (gguf || (!has_folder && has_kind(l, is_text_gguf)))
        status = choose_gguf(l, gguf, err);
    else if (has_folder)
        status = keep(l, beside_weights,
                      has_kind(l, is_model_safetensors) ? is_model_safetensors : qvl_hub_is_safetensors, SIZE_MAX,
                      SIZE_MAX, err);
    else
        status = qvl_fail(
            err, QVL_ERR_MODEL,
            "the repository has neither config.json with *.safetensors nor *.gguf: no model that qvl reads");
    if (status || (status = check_unique(l, err)) || (status = check_sizes(l, err)))
        return status;
    qsort(l->file, l->n, sizeof *l->file, compare_size);
    return QVL_OK;
}
