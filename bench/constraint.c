/* What a constraint costs: compiling it, and a mask for each token of answers written by chance.
 * usage: constraint MODEL [WHAT…]   (a model folder's tokenizer; a schema, /REGEX, or [TOOLS]) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "text/matcher.h"
#include "text/tool_grammar.h"

enum { N_ANSWER = 40, N_TOKEN = 120 };

static const char *const usual[] = {
    "{\"type\":\"object\"}",
    "{\"type\":\"object\",\"properties\":{\"no\":{\"type\":\"string\"},\"date\":{\"type\":\"string\",\"format\":"
    "\"date\"},\"total\":"
    "{\"type\":\"number\",\"minimum\":0},\"lines\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
    "\"properties\":{\"text\":{"
    "\"type\":\"string\"},\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":999}},\"required\":[\"text\",\"n\"]"
    "}}},\"required\":["
    "\"no\",\"date\",\"total\",\"lines\"]}",
    "{\"type\":\"string\",\"maxLength\":200}",
    "{\"type\":\"string\",\"maxLength\":10000}",
    "{\"type\":\"string\",\"format\":\"uri\"}",
    "/\\d{4}-\\d\\d-\\d\\d .{3,80}",
    "[{\"name\":\"find\",\"parameters\":{\"type\":\"object\",\"properties\":{\"query\":{\"type\":\"string\"},\"n\":{"
    "\"type\":\"integer\"}},\"required\":[\"query\"]}},{\"name\":\"click\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"at\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":1000},"
    "\"minItems\":2,\"maxItems\":2}},\"required\":[\"at\"]}},{\"name\":\"more\"}]",
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Common text goes on for a while; anything else may end it. */
static uint32_t choose(const struct qvl_tokenizer *t, const uint64_t *mask, uint32_t n_id, bool want_plain)
{
    uint32_t start = (uint32_t)rand() % n_id, other = QVL_NO_TOKEN;
    for (uint32_t i = 0; i < n_id; i++) {
        uint32_t id = (start + i) % n_id;
        size_t n = 0;
        if (!(mask[id / 64] >> id % 64 & 1))
            continue;
        const char *bytes = qvl_token_trie_bytes(t, id, &n);
        if (want_plain != (memchr(bytes, '"', n) != NULL))
            return id;
        other = id;
    }
    return other;
}

static size_t write_answer(const struct qvl_tokenizer *t, const struct qvl_token_trie *trie, struct qvl_matcher *m,
                           uint64_t *mask, double *ms, struct qvl_error *err)
{
    size_t n = 0;
    while (n < N_TOKEN && !qvl_matcher_is_over(m)) {
        double start_ms = qvl_cpu_ms(); /* other programs do not count */
        if (qvl_matcher_mask(m, mask, err))
            return n;
        ms[n] = qvl_cpu_ms() - start_ms;
        size_t n_byte = 0;
        uint32_t id = choose(t, mask, trie->n_id, ++n % 12 != 0);
        const char *bytes = qvl_token_trie_bytes(t, id, &n_byte);
        if (id == QVL_NO_TOKEN || qvl_matcher_take(m, bytes, n_byte, err))
            return n;
    }
    return n;
}

static int measure(const struct qvl_tokenizer *t, const struct qvl_token_trie *trie, const char *what)
{
    static double ms[N_ANSWER * N_TOKEN];
    struct qvl_grammar *g = NULL;
    struct qvl_error err = {0};
    uint64_t *mask = malloc((trie->n_id / 64 + (size_t)1) * sizeof *mask);
    double start_ms = qvl_now_ms(), sum = 0;
    size_t n = 0, length = strlen(what);
    const struct qvl_tool_settings settings = {.want_one = false};
    enum qvl_status status = *what == '/'   ? qvl_grammar_from_regex(what + 1, length - 1, &g, &err)
                             : *what == '[' ? qvl_grammar_from_tools(what, length, &settings, &g, &err)
                                            : qvl_grammar_from_schema(what, length, &g, &err);
    double compile_ms = qvl_now_ms() - start_ms;
    for (int i = 0; i < N_ANSWER && !status && mask; i++) {
        struct qvl_matcher *m = NULL;
        if (!(status = qvl_matcher_open(g, trie, &m, &err)))
            n += write_answer(t, trie, m, mask, ms + n, &err);
        qvl_matcher_close(m);
    }
    if (status || n == 0) {
        fprintf(stderr, "%.60s: %s\n", what, err.text);
        return 1;
    }
    qsort(ms, n, sizeof *ms, compare);
    for (size_t i = 0; i < n; i++)
        sum += ms[i];
    printf("%-44.44s %8.2f ms %7u states %6zu tokens: mean %.3f p50 %.3f p99 %.3f max %.3f ms\n", what, compile_ms,
           g->dfa.n_state, n, sum / (double)n, ms[n / 2], ms[n * 99 / 100], ms[n - 1]);
    qvl_grammar_free(g);
    free(mask);
    return 0;
}

int main(int argc, char **argv)
{
    struct qvl_tokenizer *t = NULL;
    struct qvl_token_trie trie = {0};
    struct qvl_error err = {0};
    int rc = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL [SCHEMA|/REGEX|[TOOLS]…]\n", argv[0]);
        return 2;
    }
    if (qvl_tokenizer_load(argv[1], UINT32_MAX, &t, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    double start_ms = qvl_now_ms();
    if (qvl_token_trie_build(t, &trie, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("%u tokens in a tree of %u nodes, %u without plain tokens: %.0f ms\n", trie.n_id, trie.all.n,
           trie.others.n, qvl_now_ms() - start_ms);
    for (size_t i = 0; argc == 2 && i < sizeof usual / sizeof *usual; i++)
        rc |= measure(t, &trie, usual[i]);
    for (int i = 2; i < argc; i++)
        rc |= measure(t, &trie, argv[i]);
    qvl_token_trie_free(&trie);
    qvl_tokenizer_free(t);
    return rc;
}
