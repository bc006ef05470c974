/* source.h: whom to ask for a model, and with which words: the two protocols' addresses. */
#ifndef QVL_HUB_SOURCE_H
#define QVL_HUB_SOURCE_H

#include "base/bytes.h"
#include "hub/places.h"

#define QVL_HUB_MAX_CANDIDATES 3

struct qvl_hub_candidate {
    enum qvl_hub_source source; /* not QVL_HUB_AUTO */
    const char *endpoint;       /* scheme and host; lifetime of the places */
    const char *token;          /* NULL: none */
    struct qvl_hub_ref ref;     /* its revision spelled out */
};

/* Best first; returns how many. */
size_t qvl_hub_candidates(const struct qvl_hub_ref *ref, const struct qvl_hub_places *places,
                          struct qvl_hub_candidate out[QVL_HUB_MAX_CANDIDATES]);
/* "huggingface.co" of "https://huggingface.co". */
const char *qvl_hub_host(const char *endpoint);

/* Each writes a whole address into *out, anew. */
/* The first question: what the revision stands for; of ModelScope at once the list of files. */
enum qvl_status qvl_hub_address_of_revision(const struct qvl_hub_candidate *c, struct qvl_bytes *out,
                                            struct qvl_error *err);
/* Hugging Face's list of files. query: what a page's Link header says of the next; NULL: the first. */
enum qvl_status qvl_hub_address_of_tree(const struct qvl_hub_candidate *c, const char *commit, const char *query,
                                        struct qvl_bytes *out, struct qvl_error *err);
enum qvl_status qvl_hub_address_of_file(const struct qvl_hub_candidate *c, const char *commit, const char *path,
                                        struct qvl_bytes *out, struct qvl_error *err);

/* Milliseconds, of a variable that holds whole seconds; else fallback. */
double qvl_hub_timeout_ms(const char *variable, double fallback_ms);

#endif
