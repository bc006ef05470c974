/* In: a name. Out: who is asked for it, the commit, and the list of its files.
 *
 * All candidates get the same first question at once; the first good answer wins. Two things bend this race a
 * little: a hub in whose cache the model is already wins if it answers within PREFER_MS, so that weights are not
 * stored twice; a mirror wins only when the hubs themselves have failed or have had PATIENCE_MS. If nobody can be
 * reached, a model that is in a cache whole is as good as fetched. */
#include "hub/pull.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/language.h"
#include "hub/url.h"

enum { PATIENCE_MS = 1500, PREFER_MS = 3000, N_TRY_ONE = 4, N_TRY_AMONG_MANY = 2 };

/* ---- sentences ----------------------------------------------------------------------------------- */

enum qvl_status qvl_hub_fail_refused(const struct qvl_hub_candidate *who, const struct qvl_hub_call *call,
                                     struct qvl_error *err)
{
    const char *host = qvl_hub_host(who->endpoint), *owner = who->ref.owner, *name = who->ref.name;
    const char *variable = who->source == QVL_HUB_MODELSCOPE ? "MODELSCOPE_API_TOKEN" : "HF_TOKEN";
    if (call->code == 404 && strcmp(call->error_code, "RevisionNotFound") == 0)
        return qvl_fail(err, QVL_ERR_FILE, "%s/%s has no revision %s at %.200s", owner, name, who->ref.revision,
                        host);
    if (call->code == 404)
        return qvl_fail(err, QVL_ERR_FILE, "%.200s has no model %s/%s, or not this revision of it (404)", host,
                        owner, name);
    if ((call->code == 401 || call->code == 403) && who->token)
        return qvl_fail(err, QVL_ERR_FILE,
                        "%.200s does not let this token fetch %s/%s (%ld): accept the model's terms on its page, "
                        "or set %s to a "
                        "token that may read it",
                        host, owner, name, call->code, variable);
    if (call->code == 401 || call->code == 403)
        return qvl_fail(
            err, QVL_ERR_FILE,
            "%.200s shows %s/%s to nobody without a token (%ld): check the name; where the model's page asks for "
            "consent, give it there, and set %s to a token of yours",
            host, owner, name, call->code, variable);
    return qvl_fail(err, QVL_ERR_FILE, "%.200s does not give %s/%s: it answers %ld", host, owner, name, call->code);
}

static enum qvl_status fail_unreached(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    const struct qvl_hub_ref *ref = &pull->options.ref;
    char why[520] = "";
    for (size_t i = 0; i < pull->n_asked; i++) {
        size_t n = strlen(why);
        snprintf(why + n, sizeof why - n, "%s%.160s", n ? "; " : "", pull->asked[i].call.why);
    }
    pull->is_network = true;
    return qvl_fail(err, QVL_ERR_FILE,
                    "no hub can be reached (%s): check network and proxy (https_proxy), or try the mirror "
                    "(HF_ENDPOINT=https://hf-mirror.com) or ModelScope (ms:%s/%s); by hand: download the files of "
                    "https://modelscope.cn/models/%s/%s/files with a browser into a folder, then -m FOLDER",
                    why, ref->owner, ref->name, ref->owner, ref->name);
}

/* ---- choosing ------------------------------------------------------------------------------------ */

static enum qvl_status ask(struct qvl_hub_pull *pull, struct qvl_hub_asked *a, struct qvl_error *err)
{
    if (qvl_hub_address_of_revision(&a->who, &a->url, err))
        return err->status;
    a->call = (struct qvl_hub_call){.url = a->url.data,
                                    .token = a->who.token,
                                    .has_cookie = a->who.source == QVL_HUB_MODELSCOPE,
                                    .n_try = pull->n_asked > 1 ? N_TRY_AMONG_MANY : N_TRY_ONE,
                                    .stall_ms = pull->answer_ms,
                                    .max_bytes = QVL_MAX_HUB_LIST_BYTES};
    return qvl_hub_call_start(pull->transfers, &a->call, err);
}

/* The source in whose cache the model lies already: whole, else most of it. */
static enum qvl_hub_source find_preferred(const struct qvl_hub_ref *wanted, const struct qvl_hub_candidate *who,
                                          size_t n)
{
    struct qvl_hub_ref ref = *wanted;
    enum qvl_hub_source most = QVL_HUB_AUTO;
    uint64_t n_most = 0;
    char path[4096];
    for (size_t i = 0; i < n; i++) {
        ref.source = who[i].source;
        if (ref.source == QVL_HUB_MIRROR)
            continue;
        if (qvl_hub_find(&ref, path))
            return ref.source;
        uint64_t n_bytes = qvl_hub_bytes_of(&ref);
        if (n_bytes > n_most) {
            n_most = n_bytes;
            most = ref.source;
        }
    }
    return most;
}

static enum qvl_status ask_all(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    struct qvl_hub_candidate who[QVL_HUB_MAX_CANDIDATES];
    pull->n_asked = qvl_hub_candidates(&pull->options.ref, &pull->places, who);
    if (pull->n_asked > 1)
        pull->preferred = find_preferred(&pull->options.ref, who, pull->n_asked);
    pull->begin_ms = qvl_now_ms();
    for (size_t i = 0; i < pull->n_asked; i++) {
        pull->asked[i].who = who[i];
        if (ask(pull, &pull->asked[i], err))
            return err->status;
    }
    return QVL_OK;
}

/* How long a good answer waits for a better one that may still come. */
static double handicap_ms(const struct qvl_hub_pull *pull, enum qvl_hub_source source)
{
    bool is_like = source == pull->preferred || (source == QVL_HUB_MIRROR && pull->preferred == QVL_HUB_HF);
    if (pull->preferred && !is_like)
        return PREFER_MS;
    return source == QVL_HUB_MIRROR ? PATIENCE_MS : 0;
}

static const struct qvl_hub_asked *find_winner(const struct qvl_hub_pull *pull)
{
    const struct qvl_hub_asked *best = NULL;
    bool is_one_open = false;
    for (size_t i = 0; i < pull->n_asked; i++) {
        const struct qvl_hub_asked *a = &pull->asked[i];
        is_one_open = is_one_open || a->call.outcome == QVL_HUB_UNDER_WAY;
        if (a->call.outcome == QVL_HUB_ANSWERED &&
            (!best || handicap_ms(pull, a->who.source) < handicap_ms(pull, best->who.source)))
            best = a;
    }
    if (best && is_one_open && qvl_now_ms() - pull->begin_ms < handicap_ms(pull, best->who.source))
        return NULL;
    return best;
}

/* Nobody has a good answer. A refusal says more than silence; the first candidate's more than the others'. */
static enum qvl_status give_up(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    for (size_t i = 0; i < pull->n_asked; i++)
        if (pull->asked[i].call.outcome == QVL_HUB_FAILED) {
            *err = pull->asked[i].call.err;
            return err->status;
        }
    for (size_t i = 0; i < pull->n_asked; i++)
        if (pull->asked[i].call.outcome == QVL_HUB_REFUSED)
            return qvl_hub_fail_refused(&pull->asked[i].who, &pull->asked[i].call, err);
    for (size_t i = 0; i < pull->n_asked; i++)
        if (pull->asked[i].call.outcome == QVL_HUB_UNSAFE)
            return qvl_fail(err, QVL_ERR_FILE,
                            "%.240s: somebody may be in between, the clock may be wrong, or a proxy has an "
                            "authority of its own "
                            "(SSL_CERT_FILE names a file with its certificate)",
                            pull->asked[i].call.why);
    if (!pull->options.local_dir && !pull->options.is_dry && qvl_hub_find(&pull->options.ref, pull->path)) {
        qvl_hub_pull_note(pull, "no hub can be reached; %s/%s is used as it was fetched before",
                          pull->options.ref.owner, pull->options.ref.name);
        pull->stage = QVL_HUB_DONE;
        return QVL_OK;
    }
    return fail_unreached(pull, err);
}

static enum qvl_status take_first_answer(struct qvl_hub_pull *pull, const struct qvl_hub_asked *winner,
                                         struct qvl_error *err)
{
    const struct qvl_hub_candidate *who = &winner->who;
    const struct qvl_bytes *body = &winner->call.body;
    const char *host = qvl_hub_host(who->endpoint), *text = body->data ? body->data : "";
    pull->chosen = who;
    if (who->source == QVL_HUB_MODELSCOPE) {
        snprintf(pull->commit, sizeof pull->commit, "%s", who->ref.revision);
        return qvl_hub_listing_add_modelscope(&pull->listing, text, body->n, host, err);
    }
    return qvl_hub_read_commit(text, body->n, host, pull->commit, err);
}

enum qvl_status qvl_hub_pull_choose(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    bool is_one_open = false;
    if ((pull->n_asked == 0 && ask_all(pull, err)) || qvl_hub_transfers_step(pull->transfers, 100, err))
        return err->status;
    const struct qvl_hub_asked *winner = find_winner(pull);
    for (size_t i = 0; i < pull->n_asked; i++)
        is_one_open = is_one_open || pull->asked[i].call.outcome == QVL_HUB_UNDER_WAY;
    if (!winner && is_one_open)
        return QVL_OK;
    if (!winner)
        return give_up(pull, err);
    enum qvl_status status = take_first_answer(pull, winner, err);
    for (size_t i = 0; i < pull->n_asked; i++)
        qvl_hub_call_end(pull->transfers, &pull->asked[i].call);
    pull->stage = QVL_HUB_LISTING;
    return status;
}

/* ---- listing ------------------------------------------------------------------------------------- */

static enum qvl_status ask_page(struct qvl_hub_pull *pull, const char *query, struct qvl_error *err)
{
    const struct qvl_hub_candidate *who = pull->chosen;
    if (pull->n_page++ == QVL_MAX_HUB_PAGES)
        return qvl_fail(err, QVL_ERR_LIMIT, "%.200s lists more than %u pages of files", qvl_hub_host(who->endpoint),
                        QVL_MAX_HUB_PAGES);
    if (qvl_hub_address_of_tree(who, pull->commit, query, &pull->page_url, err))
        return err->status;
    pull->page = (struct qvl_hub_call){.url = pull->page_url.data,
                                       .token = who->token,
                                       .stall_ms = pull->answer_ms,
                                       .max_bytes = QVL_MAX_HUB_LIST_BYTES};
    return qvl_hub_call_start(pull->transfers, &pull->page, err);
}

/* A page that is there; *is_last. The next one's address is our own, with the query that the hub gives: a mirror
 * may name the hub behind it. */
static enum qvl_status take_page(struct qvl_hub_pull *pull, bool *is_last, struct qvl_error *err)
{
    struct qvl_hub_call *page = &pull->page;
    char query[sizeof page->link];
    const char *text = page->body.data ? page->body.data : "";
    if (qvl_hub_listing_add_hf(&pull->listing, text, page->body.n, qvl_hub_host(pull->chosen->endpoint), err))
        return err->status;
    *is_last = !qvl_hub_url_next_query(page->link, query, sizeof query);
    qvl_hub_call_end(pull->transfers, page);
    return *is_last ? QVL_OK : ask_page(pull, query, err);
}

enum qvl_status qvl_hub_pull_list(struct qvl_hub_pull *pull, struct qvl_error *err)
{
    bool is_last = pull->chosen->source == QVL_HUB_MODELSCOPE; /* it was the first answer */
    if (!is_last && pull->n_page == 0 && ask_page(pull, NULL, err))
        return err->status;
    if (!is_last && qvl_hub_transfers_step(pull->transfers, 100, err))
        return err->status;
    if (!is_last) {
        switch (pull->page.outcome) {
        case QVL_HUB_UNDER_WAY: return QVL_OK;
        case QVL_HUB_ANSWERED:
            if (take_page(pull, &is_last, err))
                return err->status;
            break;
        case QVL_HUB_REFUSED: return qvl_hub_fail_refused(pull->chosen, &pull->page, err);
        case QVL_HUB_FAILED: *err = pull->page.err; return err->status;
        case QVL_HUB_NO_RANGES: /* of files only */
        case QVL_HUB_UNREACHED:
        case QVL_HUB_UNSAFE:
            pull->is_network = pull->page.outcome == QVL_HUB_UNREACHED;
            return qvl_fail(err, QVL_ERR_FILE, "the list of files does not come: %.240s; try again later",
                            pull->page.why);
        }
    }
    if (!is_last)
        return QVL_OK;
    pull->stage = QVL_HUB_FETCHING;
    return qvl_hub_listing_choose(&pull->listing, pull->options.gguf, err);
}
