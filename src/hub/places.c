#include "hub/places.h"

#include <ctype.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/os.h"

#define DEFAULT_HF "https://huggingface.co"
#define DEFAULT_MODELSCOPE "https://modelscope.cn"

/* Of several variables the first that says anything, or NULL. */
static const char *ask(const char *const *name, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *value = getenv(name[i]);
        if (value && *value)
            return value;
    }
    return NULL;
}

static const char *ask_one(const char *name)
{
    return ask(&name, 1);
}

/* huggingface_hub's ENV_VARS_TRUE_VALUES. */
static bool is_true(const char *value)
{
    static const char *const yes[] = {"1", "ON", "YES", "TRUE"};
    for (size_t i = 0; value && i < 4; i++)
        if (strcasecmp(value, yes[i]) == 0)
            return true;
    return false;
}

static const char *find_home(void)
{
    const char *home = ask_one("HOME");
    if (home)
        return home;
    const struct passwd *user = getpwuid(getuid()); /* NOLINT(concurrency-mt-unsafe): the command line asks once */
    return user && user->pw_dir && user->pw_dir[0] ? user->pw_dir : NULL;
}

/* ---- folders -------------------------------------------------------------------------------------- */

static enum qvl_status too_long(const char *text, struct qvl_error *err)
{
    return qvl_fail(err, QVL_ERR_ARGUMENT, "%.200s…: the path is too long", text);
}

/* $NAME or ${NAME} at *text: appends its value and moves behind it; what is not set stays as it is written, as
 * Python's expandvars has it. */
static enum qvl_status expand_variable(const char **text, struct qvl_bytes *out, struct qvl_error *err)
{
    const char *begin = *text, *name = begin + 1;
    bool has_brace = *name == '{';
    name += has_brace;
    size_t n = 0;
    char copy[256];
    while (isalnum((unsigned char)name[n]) || name[n] == '_')
        n++;
    const char *end = name + n + has_brace, *value = NULL;
    if (n > 0 && n < sizeof copy && (!has_brace || name[n] == '}')) {
        memcpy(copy, name, n);
        copy[n] = 0;
        value = getenv(copy);
    }
    if (!value) {
        *text = begin + 1;
        return qvl_bytes_add(out, "$", 1, err);
    }
    *text = end;
    return qvl_bytes_add_text(out, value, err);
}

/* The folder `value` means, made absolute: ~/ at its beginning, variables in it. */
static enum qvl_status expand(const char *value, char out[QVL_HUB_PATH_BYTES], struct qvl_error *err)
{
    struct qvl_bytes path = {0};
    enum qvl_status status = QVL_OK;
    const char *home = find_home();
    if (value[0] == '~' && (value[1] == '/' || value[1] == 0) && home) {
        status = qvl_bytes_add_text(&path, home, err);
        value++;
    }
    while (*value && !status)
        status = *value == '$' ? expand_variable(&value, &path, err) : qvl_bytes_add(&path, value++, 1, err);
    if (status)
        goto fail;
    while (path.n > 1 && path.data[path.n - 1] == '/')
        path.data[--path.n] = 0;
    if (path.data[0] == '/') {
        if (path.n >= QVL_HUB_PATH_BYTES)
            status = too_long(path.data, err);
        else
            memcpy(out, path.data, path.n + 1);
    } else {
        char here[QVL_HUB_PATH_BYTES];
        if (!getcwd(here, sizeof here) || !qvl_hub_path_add(out, here, path.data))
            status = too_long(path.data, err);
    }
fail:
    qvl_bytes_free(&path);
    return status;
}

/* What the first variable that is set says, else FOLDER/NAME; out is "" where that is not known either. */
static enum qvl_status find_folder(const char *const *variable, size_t n, const char *folder, const char *name,
                                   char out[QVL_HUB_PATH_BYTES], struct qvl_error *err)
{
    char built_in[QVL_HUB_PATH_BYTES];
    const char *value = ask(variable, n);
    out[0] = 0;
    if (!value && !*folder)
        return QVL_OK;
    if (!value && !qvl_hub_path_add(built_in, folder, name))
        return too_long(folder, err);
    return expand(value ? value : built_in, out, err);
}

/* A folder of the user's own by the XDG rules: in $VARIABLE, else ~/FALLBACK. */
static enum qvl_status find_xdg(const char *variable, const char *fallback, char out[QVL_HUB_PATH_BYTES],
                                struct qvl_error *err)
{
    const char *home = find_home();
    return find_folder(&variable, 1, home ? home : "", fallback, out, err);
}

static enum qvl_status find_folders(struct qvl_hub_places *out, char token_file[QVL_HUB_PATH_BYTES],
                                    struct qvl_error *err)
{
    static const char *const hf_home[] = {"HF_HOME"}, *const hf_token[] = {"HF_TOKEN_PATH"};
    static const char *const hf_cache[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"};
    static const char *const ms_cache[] = {"MODELSCOPE_CACHE", "MS_CACHE_HOME"};
    char xdg_cache[QVL_HUB_PATH_BYTES], xdg_data[QVL_HUB_PATH_BYTES], home[QVL_HUB_PATH_BYTES];
    const char *user = find_home();
    enum qvl_status status;
    if ((status = find_xdg("XDG_CACHE_HOME", ".cache", xdg_cache, err)) ||
        (status = find_xdg("XDG_DATA_HOME", ".local/share", xdg_data, err)) ||
        (status = find_folder(hf_home, 1, xdg_cache, "huggingface", home, err)) ||
        (status = find_folder(hf_cache, 2, home, "hub", out->hf_cache, err)) ||
        (status = find_folder(hf_token, 1, home, "token", token_file, err)) ||
        (status = find_folder(ms_cache, 2, user ? user : "", ".cache/modelscope", out->ms_cache, err)) ||
        (status = find_folder(NULL, 0, xdg_data, "qvl/models", out->packed, err)))
        return status;
    return QVL_OK;
}

/* ---- endpoints and tokens ------------------------------------------------------------------------- */

static enum qvl_status find_endpoint(const char *variable, const char *fallback, char out[QVL_HUB_ENDPOINT_BYTES],
                                     bool *is_given, struct qvl_error *err)
{
    const char *value = ask_one(variable);
    *is_given = value != NULL;
    if (!value)
        value = fallback;
    bool has_scheme = strncasecmp(value, "http://", 7) == 0 || strncasecmp(value, "https://", 8) == 0;
    size_t n = strlen(value), n_scheme = has_scheme ? 0 : strlen("https://");
    while (n > 0 && value[n - 1] == '/')
        n--;
    bool is_good = n > 0 && n + n_scheme < QVL_HUB_ENDPOINT_BYTES;
    for (size_t i = 0; i < n; i++)
        is_good = is_good && value[i] > ' ' && value[i] < 0x7f && !strchr("?#\\\"<>", value[i]);
    if (!is_good)
        return qvl_fail(err, QVL_ERR_ARGUMENT, "%s=%.200s: not an address such as https://huggingface.co", variable,
                        value);
    snprintf(out, QVL_HUB_ENDPOINT_BYTES, "%s%.*s", has_scheme ? "" : "https://", (int)n, value);
    return QVL_OK;
}

/* Without line ends inside and blanks around it, as huggingface_hub's _clean_token has it. */
static enum qvl_status clean_token(const char *text, const char *from, char out[QVL_HUB_TOKEN_BYTES],
                                   struct qvl_error *err)
{
    size_t n = 0;
    for (; *text; text++) {
        if (*text == '\r' || *text == '\n' || (n == 0 && isspace((unsigned char)*text)))
            continue;
        if (n + 1 >= QVL_HUB_TOKEN_BYTES)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: too long for a token", from);
        out[n++] = *text;
    }
    while (n > 0 && isspace((unsigned char)out[n - 1]))
        n--;
    out[n] = 0;
    for (size_t i = 0; i < n; i++)
        if (out[i] <= ' ' || out[i] >= 0x7f)
            return qvl_fail(err, QVL_ERR_ARGUMENT, "%s: not a token: it holds a blank or a character beyond ASCII",
                            from);
    return QVL_OK;
}

static enum qvl_status find_hf_token(const char *token_file, char out[QVL_HUB_TOKEN_BYTES], struct qvl_error *err)
{
    static const char *const variable[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    out[0] = 0;
    if (is_true(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")))
        return QVL_OK;
    const char *value = ask(variable, 2);
    if (value)
        return clean_token(value, "HF_TOKEN", out, err);
    if (!token_file[0] || access(token_file, R_OK) != 0)
        return QVL_OK;
    struct qvl_bytes text = {0};
    enum qvl_status status = qvl_os_read_file(token_file, QVL_HUB_TOKEN_BYTES, &text, err);
    if (!status && text.n > 0)
        status = clean_token(text.data, token_file, out, err);
    qvl_bytes_free(&text);
    return status;
}

enum qvl_status qvl_hub_places_read(struct qvl_hub_places *out, struct qvl_error *err)
{
    static const char *const offline[] = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"};
    char token_file[QVL_HUB_PATH_BYTES];
    const char *ms_token = getenv("MODELSCOPE_API_TOKEN"), *domain = "MODELSCOPE_DOMAIN"; /* its old name */
    const char *ms_endpoint = ask_one("MODELSCOPE_ENDPOINT") || !ask_one(domain) ? "MODELSCOPE_ENDPOINT" : domain;
    const char *ms_site =
        is_true(getenv("MODELSCOPE_PREFER_AI_SITE")) ? "https://www.modelscope.ai" : DEFAULT_MODELSCOPE;
    enum qvl_status status;
    *out = (struct qvl_hub_places){0};
    if ((status = find_folders(out, token_file, err)) ||
        (status = find_endpoint("HF_ENDPOINT", DEFAULT_HF, out->hf_endpoint, &out->is_hf_endpoint_given, err)) ||
        (status = find_endpoint(ms_endpoint, ms_site, out->ms_endpoint, &out->is_ms_endpoint_given, err)) ||
        (status = find_hf_token(token_file, out->hf_token, err)) ||
        (status = clean_token(ms_token ? ms_token : "", "MODELSCOPE_API_TOKEN", out->ms_token, err)))
        return status;
    out->is_offline = is_true(ask(offline, 2));
    out->prefers_modelscope = is_true(getenv("VLLM_USE_MODELSCOPE"));
    out->no_links = is_true(getenv("HF_HUB_DISABLE_SYMLINKS"));
    return QVL_OK;
}

bool qvl_hub_places_old_modelscope(const struct qvl_hub_places *places, const struct qvl_hub_ref *ref, uint32_t i,
                                   char out[QVL_HUB_PATH_BYTES])
{
    /* The first two: modelscope 1.19 to 1.37, with MODELSCOPE_CACHE set and not; then those before, likewise. */
    static const char *const parent[] = {"models/", "hub/models/", "hub/", ""};
    char name[3 * sizeof ref->name], inside[sizeof name + sizeof ref->owner + 16];
    size_t n = 0;
    if (i >= sizeof parent / sizeof *parent || !places->ms_cache[0])
        return false;
    for (const char *c = ref->name; *c; c++) {
        size_t n_part = *c == '.' ? 3 : 1;
        memcpy(name + n, *c == '.' ? "___" : c, n_part);
        n += n_part;
    }
    name[n] = 0;
    snprintf(inside, sizeof inside, "%s%s/%s", parent[i], ref->owner, name);
    return qvl_hub_path_add(out, places->ms_cache, inside);
}
