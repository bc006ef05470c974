/* "hf:OWNER/NAME@REVISION" and addresses of pages in, struct qvl_hub_ref out. Rules for names: huggingface_hub's
 * validate_repo_id, which ModelScope's names satisfy, too. With "--" refused inside a name, OWNER--NAME stands for
 * one model only. */
#include "hub/hub.h"

#include <ctype.h>
#include <string.h>

#include "base/os.h"
#include "hub/path.h"

static const struct {
    const char *text;
    enum qvl_hub_source source;
} prefixes[] = {
    {"hf:", QVL_HUB_HF},
    {"ms:", QVL_HUB_MODELSCOPE},
    {"huggingface.co/", QVL_HUB_HF},
    {"hf.co/", QVL_HUB_HF},
    {"hf-mirror.com/", QVL_HUB_MIRROR},
    {"modelscope.cn/models/", QVL_HUB_MODELSCOPE},
    {"modelscope.ai/models/", QVL_HUB_MODELSCOPE},
};

static bool skip(const char **text, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncasecmp(*text, prefix, n) != 0)
        return false;
    *text += n;
    return true;
}

/* Past the source, which goes to *source. */
static const char *skip_source(const char *text, enum qvl_hub_source *source, bool *is_address)
{
    *is_address = skip(&text, "https://") || skip(&text, "http://");
    if (*is_address)
        skip(&text, "www.");
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if ((!*is_address || strchr(prefixes[i].text, '.')) && skip(&text, prefixes[i].text)) {
            *is_address |= strchr(prefixes[i].text, '.') != NULL;
            *source = prefixes[i].source;
            if (!*is_address)
                skip(&text, "//"); /* hf://OWNER/NAME */
            return text;
        }
    return *is_address ? NULL : text;
}

static bool is_name(const char *text, size_t n)
{
    static const char *const never[] = {"..", "--"};
    if (n < 1 || n > 96 || text[0] == '-' || text[0] == '.' || text[n - 1] == '-' || text[n - 1] == '.')
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
            return false;
        for (size_t k = 0; k < 2; k++)
            if (i + 1 < n && memcmp(text + i, never[k], 2) == 0)
                return false;
    }
    return true;
}

/* A branch, a tag or a commit: what git allows, and as a path inside a folder nothing but that. */
static bool is_revision(const char *text, size_t n)
{
    char copy[129];
    if (n < 1 || n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)copy[i]) && !strchr("-_./", copy[i]))
            return false;
    return copy[0] != '.' && qvl_hub_path_is_inside(copy) && !strstr(copy, "..");
}

static void copy_text(char *out, const char *text, size_t n)
{
    memcpy(out, text, n);
    out[n] = 0;
}

static bool parse(const char *text, struct qvl_hub_ref *out)
{
    bool is_address = false;
    const char *owner = skip_source(text, &out->source, &is_address);
    if (!owner)
        return false;
    size_t n_owner = strcspn(owner, "/");
    if (owner[n_owner] != '/' || !is_name(owner, n_owner))
        return false;
    const char *name = owner + n_owner + 1;
    size_t n_name = strcspn(name, is_address ? "@/?#" : "@");
    if (!is_name(name, n_name) || (n_name > 4 && strncmp(name + n_name - 4, ".git", 4) == 0))
        return false;
    const char *revision = name + n_name, *tree = "/tree/";
    size_t n_revision = 0;
    if (*revision == '@')
        n_revision = strlen(++revision);
    else if (strncmp(revision, tree, strlen(tree)) == 0)
        n_revision = strcspn(revision += strlen(tree), "/?#");
    else if (*revision && !is_address)
        return false;
    if ((n_revision > 0 || revision[-1] == '@') && !is_revision(revision, n_revision))
        return false;
    copy_text(out->owner, owner, n_owner);
    copy_text(out->name, name, n_name);
    copy_text(out->revision, revision, n_revision);
    return true;
}

enum qvl_status qvl_hub_ref_parse(const char *text, struct qvl_hub_ref *out, struct qvl_error *err)
{
    *out = (struct qvl_hub_ref){0};
    if (parse(text, out))
        return QVL_OK;
    *out = (struct qvl_hub_ref){0};
    return qvl_fail(
        err, QVL_ERR_ARGUMENT,
        "\"%.200s\" is no model's name: expected OWNER/NAME, with hf: or ms: before it or @REVISION behind "
        "it where wanted",
        text);
}

bool qvl_hub_ref_looks_like(const char *text)
{
    struct qvl_hub_ref ref;
    struct qvl_error err = {0};
    return !qvl_os_is_there(text) && qvl_hub_ref_parse(text, &ref, &err) == QVL_OK;
}
