/* Bytes as what a hub answers: its first byte chooses the question. Checked: what is refused leaves a sentence;
 * every name that is accepted stays inside a folder; what is chosen was listed, lies at the top, is not too much,
 * and is sorted; the query of a Link header fits an address. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "hub/listing.h"
#include "hub/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_name(const char *path)
{
    require(path[0] && path[0] != '/' && strlen(path) <= QVL_MAX_HUB_NAME_BYTES);
    for (const char *at = path; at; at = strchr(at, '/')) {
        at += *at == '/';
        size_t n_part = strcspn(at, "/");
        require(n_part > 0 && !(n_part == 1 && at[0] == '.') && !(n_part == 2 && at[0] == '.' && at[1] == '.'));
    }
    for (; *path; path++)
        require((unsigned char)*path >= ' ' && *path != 0x7f && *path != '\\');
}

static void check_choice(struct qvl_hub_listing *l, const char *gguf)
{
    struct qvl_error err = {0};
    size_t n_before = l->n;
    if (qvl_hub_listing_choose(l, gguf, &err)) {
        require(err.text[0]);
        return;
    }
    require(l->n > 0 && l->n <= n_before && l->n <= QVL_MAX_HUB_FILES);
    for (size_t i = 0; i < l->n; i++) {
        require(!strchr(l->file[i].path, '/') && l->file[i].n_bytes <= QVL_MAX_HUB_FILE_BYTES);
        require(i == 0 || l->file[i - 1].n_bytes <= l->file[i].n_bytes);
    }
}

static void check_link(const char *bytes, size_t n)
{
    char query[64], *text = strndup(bytes, n);
    require(text);
    if (qvl_hub_url_next_query(text, query, sizeof query)) {
        require(query[0] && strlen(query) < sizeof query && strstr(text, query));
        for (const char *at = query; *at; at++)
            require((unsigned char)*at > ' ' && *at != 0x7f && *at != '#');
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct qvl_hub_listing l = {0};
    struct qvl_error err = {0};
    char commit[65], first = n > 0 ? (char)data[0] : 0;
    const char *text = (const char *)data + (n > 0);
    size_t n_text = n - (n > 0);
    if (first == 'c') {
        if (!qvl_hub_read_commit(text, n_text, "hub", commit, &err))
            require(strlen(commit) == 40 && strspn(commit, "0123456789abcdefABCDEF") == 40);
        else
            require(err.text[0]);
    } else if (first == 'l') {
        check_link(text, n_text);
    } else {
        enum qvl_status status = first == 'm' ? qvl_hub_listing_add_modelscope(&l, text, n_text, "hub", &err)
                                              : qvl_hub_listing_add_hf(&l, text, n_text, "hub", &err);
        require(!status || err.text[0]);
        for (size_t i = 0; i < l.n; i++)
            check_name(l.file[i].path);
        check_choice(&l, first == 'g' ? "Q4_K_M" : NULL);
    }
    qvl_hub_listing_free(&l);
    return 0;
}
