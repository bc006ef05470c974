/* Tokens in the order of their bytes are the tree in the order of a walk: each token adds the nodes that it does
 * not share with the one before. */
#include "text/token_trie.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

_Static_assert(QVL_MAX_TOKEN_BYTES <= UINT16_MAX, "a node's depth has 16 bits");

struct token {
    const char *bytes;
    size_t n;
    uint32_t id;
};

static int compare_tokens(const void *a, const void *b)
{
    const struct token *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, x->n < y->n ? x->n : y->n);
    return order ? order : x->n < y->n ? -1 : x->n > y->n;
}

static bool is_added(const struct qvl_tokenizer *t, uint32_t id)
{
    for (int i = 0; i < QVL_N_ADDED_TOKEN; i++)
        if (qvl_tokenizer_added(t, (enum qvl_added_token)i) == id)
            return true;
    return false;
}

static size_t list_tokens(const struct qvl_tokenizer *t, struct token *out, size_t *n_byte)
{
    size_t n = 0;
    *n_byte = 0;
    for (uint32_t id = 0; id < qvl_tokenizer_n(t); id++) {
        struct token token = {.id = id};
        token.bytes = qvl_tokenizer_bytes(t, id, &token.n);
        if (token.n == 0 || is_added(t, id))
            continue;
        *n_byte += token.n;
        out[n++] = token;
    }
    return n;
}

static void add_tokens(struct qvl_token_trie *trie, const struct token *token, size_t n)
{
    uint32_t open[QVL_MAX_TOKEN_BYTES + 1]; /* the nodes from the root to the last token's */
    size_t n_open = 0;
    for (size_t i = 0; i < n; i++) {
        size_t n_shared = 0;
        while (n_shared < n_open && n_shared < token[i].n &&
               trie->node[open[n_shared]].byte == (unsigned char)token[i].bytes[n_shared])
            n_shared++;
        while (n_open > n_shared)
            trie->node[open[--n_open]].end = trie->n_node;
        for (; n_open < token[i].n; n_open++) {
            open[n_open] = trie->n_node;
            trie->node[trie->n_node++] = (struct qvl_trie_node){
                .id = QVL_NO_TOKEN, .depth = (uint16_t)(n_open + 1), .byte = (uint8_t)token[i].bytes[n_open]};
        }
        trie->node[open[n_open - 1]].id = token[i].id;
    }
    while (n_open > 0)
        trie->node[open[--n_open]].end = trie->n_node;
}

enum qvl_status qvl_token_trie_build(const struct qvl_tokenizer *tokenizer, struct qvl_token_trie *out,
                                     struct qvl_error *err)
{
    uint32_t n_id = qvl_tokenizer_n(tokenizer);
    size_t n_byte = 0;
    struct token *token = calloc(n_id, sizeof *token);
    if (!token)
        return qvl_fail_memory(err, n_id * sizeof *token, "the tokens in order");
    size_t n = list_tokens(tokenizer, token, &n_byte);
    qsort(token, n, sizeof *token, compare_tokens);
    struct qvl_token_trie trie = {.n_id = n_id};
    trie.node = malloc((n_byte + 1) * sizeof *trie.node); /* at most a node for each byte */
    if (trie.node) {
        add_tokens(&trie, token, n);
        struct qvl_trie_node *fitting = realloc(trie.node, (trie.n_node + (size_t)1) * sizeof *fitting);
        trie.node = fitting ? fitting : trie.node;
        *out = trie;
    }
    free(token);
    return trie.node ? QVL_OK : qvl_fail_memory(err, n_byte * sizeof *trie.node, "the tokens in order");
}

void qvl_token_trie_free(struct qvl_token_trie *trie)
{
    free(trie->node);
    *trie = (struct qvl_token_trie){0};
}
