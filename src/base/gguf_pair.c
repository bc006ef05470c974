/* Which two files a model path means. Only names are looked at; what the files hold is checked when they are read.
 *
 * Names in the wild: Qwen3VL-2B-Instruct-Q4_K_M.gguf with mmproj-Qwen3VL-2B-Instruct-F16.gguf (Qwen);
 * Qwen3-VL-2B-Instruct-Q4_K_M.gguf with mmproj-BF16.gguf, mmproj-F16.gguf, mmproj-F32.gguf (unsloth); in the cache
 * of llama.cpp many models lie in one folder, each file with its repository's name in front. */
#include "base/gguf.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/os.h"

#define MMPROJ "mmproj"
#define SUFFIX ".gguf"

enum { PATH_BYTES = sizeof((struct qvl_gguf_pair *)0)->text };

static bool has_suffix(const char *name)
{
    size_t n = strlen(name), n_suffix = strlen(SUFFIX);
    return n > n_suffix && strcasecmp(name + n - n_suffix, SUFFIX) == 0;
}

static bool is_mmproj(const char *name)
{
    return has_suffix(name) && strcasestr(name, MMPROJ);
}

/* Of a file in several parts the first stands for all. */
static bool is_later_part(const char *name)
{
    unsigned i = 0, n = 0;
    const char *of = strstr(name, "-of-");
    return of && of - name > 6 && sscanf(of - 6, "-%5u-of-%5u", &i, &n) == 2 && i > 1;
}

static bool join(const char *dir, const char *name, char out[PATH_BYTES])
{
    return snprintf(out, PATH_BYTES, "%s/%s", dir, name) < PATH_BYTES;
}

/* ---- the text model in a folder ------------------------------------------------------------------ */

struct texts {
    char first[256]; /* by name */
    char other[256];
    size_t n, n_mmproj;
};

static void add_text(struct texts *t, const char *name)
{
    bool is_first = t->n == 0 || strcmp(name, t->first) < 0;
    if (is_first)
        memcpy(t->other, t->first, sizeof t->other);
    snprintf(is_first ? t->first : t->other, sizeof t->first, "%s", name);
    t->n++;
}

static enum qvl_status list_texts(const char *dir, struct texts *out, struct qvl_error *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return qvl_fail(err, QVL_ERR_FILE, "%s: cannot open: %s", dir, qvl_errno_text(errno));
    for (const struct dirent *entry; (entry = readdir(d));) {
        if (is_mmproj(entry->d_name))
            out->n_mmproj++;
        else if (has_suffix(entry->d_name) && !is_later_part(entry->d_name))
            add_text(out, entry->d_name);
    }
    closedir(d);
    return QVL_OK;
}

static enum qvl_status find_in_folder(const char *dir, struct qvl_gguf_pair *out, struct qvl_error *err)
{
    struct texts texts = {.n = 0};
    enum qvl_status status = list_texts(dir, &texts, err);
    if (status)
        return status;
    if (texts.n == 0 && texts.n_mmproj == 0)
        return QVL_OK;
    if (texts.n == 0)
        return qvl_fail(
            err, QVL_ERR_FILE,
            "%s: holds the vision tower (a GGUF file with mmproj in its name), but no GGUF file of the text "
            "model: it is to be had where the other came from",
            dir);
    if (texts.n > 1)
        return qvl_fail(err, QVL_ERR_FILE,
                        "%s: holds %zu GGUF files, %.80s and %.80s among them: name the one to be used", dir,
                        texts.n, texts.first, texts.other);
    out->is_found = join(dir, texts.first, out->text);
    return QVL_OK;
}

/* ---- the vision tower beside it ------------------------------------------------------------------ */

/* How much of the text model's name, but for what says its type, stands in the other's. */
static size_t n_in_common(const char *text, const char *mmproj)
{
    const char *end = strrchr(text, '-');
    size_t n = end ? (size_t)(end - text) : strlen(text), best = 0;
    for (const char *at = mmproj; *at; at++) {
        size_t k = 0;
        while (k < n && at[k] && at[k] == text[k])
            k++;
        best = k > best ? k : best;
    }
    return best;
}

static int n_bits(const char *name)
{
    static const char *const types[] = {"q8_0", "f16", "bf16", "f32"};
    int best = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcasestr(name, types[i]))
            best = (int)i + 1;
    return best;
}

static bool is_better(const char *text, const char *a, const char *b)
{
    if (!*b)
        return true;
    char exact[300];
    snprintf(exact, sizeof exact, MMPROJ "-%.256s", text);
    if (strcmp(a, exact) == 0 || strcmp(b, exact) == 0)
        return strcmp(a, exact) == 0;
    size_t of_a = n_in_common(text, a), of_b = n_in_common(text, b);
    if (of_a != of_b)
        return of_a > of_b;
    return n_bits(a) != n_bits(b) ? n_bits(a) > n_bits(b) : strcmp(a, b) < 0;
}

static void find_mmproj(struct qvl_gguf_pair *pair)
{
    char dir[PATH_BYTES], best[256] = "";
    const char *slash = strrchr(pair->text, '/'), *text = slash ? slash + 1 : pair->text;
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - pair->text) + 1 : 1, slash ? pair->text : ".");
    DIR *d = opendir(dir);
    if (!d)
        return;
    for (const struct dirent *entry; (entry = readdir(d));)
        if (is_mmproj(entry->d_name) && is_better(text, entry->d_name, best))
            snprintf(best, sizeof best, "%s", entry->d_name);
    closedir(d);
    if (*best && snprintf(pair->mmproj, sizeof pair->mmproj, "%.*s%s", slash ? (int)(slash - pair->text) + 1 : 0,
                          pair->text, best) >= PATH_BYTES)
        pair->mmproj[0] = 0;
}

/* ---- both ---------------------------------------------------------------------------------------- */

/* A config.json alone does not make one: repositories of GGUF files have it, too. */
static bool is_published(const char *dir)
{
    static const char *const weights[] = {"model.safetensors", "model.safetensors.index.json"};
    char path[PATH_BYTES];
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        if (!join(dir, weights[i], path) || qvl_os_is_there(path))
            return true;
    return false;
}

static enum qvl_status find_text(const char *path, struct qvl_gguf_pair *out, struct qvl_error *err)
{
    if (qvl_os_is_folder(path))
        return is_published(path) ? QVL_OK : find_in_folder(path, out, err);
    if (has_suffix(path) || qvl_gguf_is(path))
        out->is_found = snprintf(out->text, sizeof out->text, "%s", path) < PATH_BYTES;
    return QVL_OK;
}

enum qvl_status qvl_gguf_pair_find(const char *path, struct qvl_gguf_pair *out, struct qvl_error *err)
{
    char left[PATH_BYTES];
    const char *comma = qvl_os_is_there(path) ? NULL : strrchr(path, ',');
    *out = (struct qvl_gguf_pair){.is_found = false};
    if (comma && snprintf(left, sizeof left, "%.*s", (int)(comma - path), path) < PATH_BYTES &&
        qvl_os_is_there(left))
        path = left;
    else
        comma = NULL;
    enum qvl_status status = find_text(path, out, err);
    if (status || !out->is_found)
        return status;
    if (!comma)
        find_mmproj(out);
    else if (snprintf(out->mmproj, sizeof out->mmproj, "%s", comma + 1) >= PATH_BYTES)
        out->mmproj[0] = 0;
    return QVL_OK;
}
