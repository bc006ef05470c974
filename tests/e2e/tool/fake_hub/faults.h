/* faults.h: what the fake hub does wrong, when it is told to. */
#ifndef FAKE_HUB_FAULTS_H
#define FAKE_HUB_FAULTS_H

#include <stdbool.h>

/* X(name, what it does). n, to: the rule's; N/A where not said. */
#define FAULT_LIST(X)                                                                                              \
    X(status, "answers with status n; after=S: Retry-After; to: X-Error-Code")                                     \
    X(delay, "waits n ms before it answers")                                                                       \
    X(slow, "sends n bytes in a second")                                                                           \
    X(stall, "sends n bytes of the body and then nothing, the connection open")                                    \
    X(cut, "closes the connection after n bytes of the body")                                                      \
    X(size, "a body n bytes longer (or shorter), said so; of a listing: sizes that are so wrong")                  \
    X(corrupt, "byte n of the file is another one")                                                                \
    X(sum, "the listing's or the header's sum is another one")                                                     \
    X(full, "a range is answered with 200 and all")                                                                \
    X(unsatisfiable, "a range is answered with 416")                                                               \
    X(content_range, "Content-Range is off by n")                                                                  \
    X(loop, "redirects to itself, for ever")                                                                       \
    X(redirect, "redirects to `to`, with status n (302)")                                                          \
    X(body, "answers 200 with `to`")                                                                               \
    X(gzip, "body in gzip, whether or not that was accepted")                                                      \
    X(bare, "no header that only a hub sends: X-Repo-Commit, X-Linked-*, ETag")                                    \
    X(lengthless, "no Content-Length")                                                                             \
    X(weak, "ETag is a weak one")                                                                                  \
    X(name, "the listing has one file more, of path `to`, written into JSON as it is")                             \
    X(many, "the listing has n files more")                                                                        \
    X(padding, "the listing has n blanks more")                                                                    \
    X(sumless, "the listing has no sums, as some mirrors' and old repositories'")

enum fault {
#define X(name, does) FAULT_##name,
    FAULT_LIST(X)
#undef X
        N_FAULT
};

/* Those that hold for one request. */
struct faults {
    bool has[N_FAULT];
    long long n[N_FAULT];
    const char *to[N_FAULT]; /* never freed; "" where not said */
    int after_s;             /* of status; -1: not said */
};

/* A rule is made of fields: what (above), where (info, tree, resolve, cdn, files, file: of ModelScope, any), path
 * (of one file, else all), method (HEAD, GET), n, to, after, times (requests for which it holds, else all). */
struct rule;
struct rule *rule_new(void);
bool rule_set(struct rule *rule, const char *key, const char *value);
bool rule_add(struct rule *rule); /* false: no such fault */
void rules_clear(void);
/* The faults of a request; each rule that holds has one time less. */
void faults_take(struct faults *out, const char *where, const char *path, const char *method);

#endif
