/* Sources: the API of huggingface.co as huggingface_hub uses it (a mirror speaks the same), and modelscope.cn's as
 * modelscope does.
 *
 * The user's token goes to an endpoint that the user has named, or to the hub it belongs to; never to a mirror that
 * was only chosen because it answers. */
#include "hub/source.h"

#include <stdlib.h>
#include <string.h>

#include "hub/url.h"

#define MIRROR "https://hf-mirror.com"

static void add(struct qvl_hub_candidate *out, size_t *n, const struct qvl_hub_ref *ref, enum qvl_hub_source source,
                const char *endpoint, const char *token)
{
    struct qvl_hub_candidate *c = &out[(*n)++];
    *c = (struct qvl_hub_candidate){.source = source, .endpoint = endpoint, .ref = *ref};
    c->token = token && token[0] ? token : NULL;
    c->ref.source = source;
    if (!c->ref.revision[0])
        memcpy(c->ref.revision, source == QVL_HUB_MODELSCOPE ? "master" : "main",
               source == QVL_HUB_MODELSCOPE ? 7 : 5);
}

size_t qvl_hub_candidates(const struct qvl_hub_ref *ref, const struct qvl_hub_places *p,
                          struct qvl_hub_candidate out[QVL_HUB_MAX_CANDIDATES])
{
    size_t n = 0;
    bool want_hf = ref->source == QVL_HUB_HF, want_ms = ref->source == QVL_HUB_MODELSCOPE;
    bool want_mirror = ref->source == QVL_HUB_MIRROR;
    if (ref->source == QVL_HUB_AUTO) { /* what is named in the environment is meant */
        bool is_any_given = p->is_hf_endpoint_given || p->is_ms_endpoint_given || p->prefers_modelscope;
        want_hf = !p->prefers_modelscope && (p->is_hf_endpoint_given || !is_any_given);
        want_ms = p->prefers_modelscope || p->is_ms_endpoint_given || !is_any_given;
        want_mirror = !is_any_given;
    }
    if (want_hf)
        add(out, &n, ref, QVL_HUB_HF, p->hf_endpoint, p->hf_token);
    if (want_ms)
        add(out, &n, ref, QVL_HUB_MODELSCOPE, p->ms_endpoint, p->ms_token);
    if (want_mirror)
        add(out, &n, ref, QVL_HUB_MIRROR, MIRROR, NULL);
    return n;
}

const char *qvl_hub_host(const char *endpoint)
{
    const char *host = strstr(endpoint, "://");
    return host ? host + 3 : endpoint;
}

/* ---- addresses ----------------------------------------------------------------------------------- */

enum qvl_status qvl_hub_address_of_revision(const struct qvl_hub_candidate *c, struct qvl_bytes *out,
                                            struct qvl_error *err)
{
    bool is_ms = c->source == QVL_HUB_MODELSCOPE;
    out->n = 0;
    if (qvl_bytes_add_format(
            out, err, is_ms ? "%s/api/v1/models/%s/%s/repo/files?Revision=" : "%s/api/models/%s/%s/revision/",
            c->endpoint, c->ref.owner, c->ref.name) ||
        qvl_hub_url_add_escaped(out, c->ref.revision, false, err) ||
        (is_ms && qvl_bytes_add_text(out, "&Recursive=True", err)))
        return err->status;
    return QVL_OK;
}

enum qvl_status qvl_hub_address_of_tree(const struct qvl_hub_candidate *c, const char *commit, const char *query,
                                        struct qvl_bytes *out, struct qvl_error *err)
{
    out->n = 0;
    return qvl_bytes_add_format(out, err, "%s/api/models/%s/%s/tree/%s?%s", c->endpoint, c->ref.owner, c->ref.name,
                                commit, query ? query : "recursive=true");
}

enum qvl_status qvl_hub_address_of_file(const struct qvl_hub_candidate *c, const char *commit, const char *path,
                                        struct qvl_bytes *out, struct qvl_error *err)
{
    bool is_ms = c->source == QVL_HUB_MODELSCOPE;
    out->n = 0;
    if (qvl_bytes_add_format(out, err, is_ms ? "%s/api/v1/models/%s/%s/repo?Revision=" : "%s/%s/%s/resolve/",
                             c->endpoint, c->ref.owner, c->ref.name) ||
        qvl_hub_url_add_escaped(out, commit, false, err) ||
        qvl_bytes_add_text(out, is_ms ? "&FilePath=" : "/", err) || qvl_hub_url_add_escaped(out, path, true, err))
        return err->status;
    return QVL_OK;
}

double qvl_hub_timeout_ms(const char *variable, double fallback_ms)
{
    const char *text = getenv(variable);
    char *end = NULL;
    unsigned long s = text && text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    return s > 0 && s <= 86400 && !*end ? (double)s * 1000 : fallback_ms;
}
