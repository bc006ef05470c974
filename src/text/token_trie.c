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

const char *qvl_token_trie_bytes(const struct qvl_tokenizer *t, uint32_t id, size_t *n)
{
    static const char tool_call[] = {(char)QVL_BYTE_TOOL_CALL}, tool_call_end[] = {(char)QVL_BYTE_TOOL_CALL_END};
    *n = 1;
    if (id == qvl_tokenizer_added(t, QVL_TOK_TOOL_CALL))
        return tool_call;
    if (id == qvl_tokenizer_added(t, QVL_TOK_TOOL_CALL_END))
        return tool_call_end;
    return qvl_tokenizer_bytes(t, id, n);
}

/* An added token that no grammar knows. */
static bool is_left_out(const struct qvl_tokenizer *t, uint32_t id)
{
    for (int i = 0; i < QVL_N_ADDED_TOKEN; i++)
        if (qvl_tokenizer_added(t, (enum qvl_added_token)i) == id)
            return i != QVL_TOK_TOOL_CALL && i != QVL_TOK_TOOL_CALL_END;
    return false;
}

static size_t list_tokens(const struct qvl_tokenizer *t, struct token *out, size_t *n_byte)
{
    size_t n = 0;
    *n_byte = 0;
    for (uint32_t id = 0; id < qvl_tokenizer_n(t); id++) {
        struct token token = {.id = id};
        token.bytes = qvl_token_trie_bytes(t, id, &token.n);
        if (token.n == 0 || is_left_out(t, id))
            continue;
        *n_byte += token.n;
        out[n++] = token;
    }
    return n;
}

enum qvl_plain qvl_plain_next(enum qvl_plain state, uint8_t byte)
{
    static const struct {
        uint8_t lo, hi;
        enum qvl_plain then;
    } inside[] = {[QVL_PLAIN_ONE] = {0x80, 0xBF, QVL_PLAIN_WHOLE},   [QVL_PLAIN_TWO] = {0x80, 0xBF, QVL_PLAIN_ONE},
                  [QVL_PLAIN_THREE] = {0x80, 0xBF, QVL_PLAIN_TWO},   [QVL_PLAIN_E0] = {0xA0, 0xBF, QVL_PLAIN_ONE},
                  [QVL_PLAIN_ED] = {0x80, 0x9F, QVL_PLAIN_ONE},      [QVL_PLAIN_F0] = {0x90, 0xBF, QVL_PLAIN_TWO},
                  [QVL_PLAIN_F4] = {0x80, 0x8F, QVL_PLAIN_TWO},      [QVL_PLAIN_E2] = {0x81, 0xBF, QVL_PLAIN_ONE},
                  [QVL_PLAIN_E2_80] = {0x80, 0xBF, QVL_PLAIN_WHOLE}, [QVL_PLAIN_NOT] = {1, 0, QVL_PLAIN_NOT}};
    if (state == QVL_PLAIN_E2 && byte == 0x80)
        return QVL_PLAIN_E2_80;
    if (state == QVL_PLAIN_E2_80 && (byte == 0xA8 || byte == 0xA9)) /* U+2028 and U+2029 end lines */
        return QVL_PLAIN_NOT;
    if (state != QVL_PLAIN_WHOLE)
        return byte >= inside[state].lo && byte <= inside[state].hi ? inside[state].then : QVL_PLAIN_NOT;
    if (byte < 0x80)
        return byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\' ? QVL_PLAIN_WHOLE : QVL_PLAIN_NOT;
    switch (byte) {
    case 0xE0: return QVL_PLAIN_E0;
    case 0xE2: return QVL_PLAIN_E2;
    case 0xED: return QVL_PLAIN_ED;
    case 0xF0: return QVL_PLAIN_F0;
    case 0xF4: return QVL_PLAIN_F4;
    default: break;
    }
    return byte < 0xC2   ? QVL_PLAIN_NOT
           : byte < 0xE0 ? QVL_PLAIN_ONE
           : byte < 0xF0 ? QVL_PLAIN_TWO
           : byte < 0xF4 ? QVL_PLAIN_THREE
                         : QVL_PLAIN_NOT;
}

/* How many characters it begins; 0: it is not plain. */
static size_t count_plain(const struct token *token)
{
    enum qvl_plain state = QVL_PLAIN_WHOLE;
    size_t n_char = 0;
    for (size_t i = 0; i < token->n && state != QVL_PLAIN_NOT; i++) {
        n_char += state == QVL_PLAIN_WHOLE;
        state = qvl_plain_next(state, (uint8_t)token->bytes[i]);
    }
    return token->n <= QVL_MAX_PLAIN_BYTES && state != QVL_PLAIN_NOT ? n_char : 0;
}

static void add_tokens(struct qvl_trie_nodes *trie, const struct token *token, size_t n)
{
    uint32_t open[QVL_MAX_TOKEN_BYTES + 1]; /* the nodes from the root to the last token's */
    size_t n_open = 0;
    for (size_t i = 0; i < n; i++) {
        size_t n_shared = 0;
        while (n_shared < n_open && n_shared < token[i].n &&
               trie->node[open[n_shared]].byte == (unsigned char)token[i].bytes[n_shared])
            n_shared++;
        while (n_open > n_shared)
            trie->node[open[--n_open]].end = trie->n;
        for (; n_open < token[i].n; n_open++) {
            open[n_open] = trie->n;
            trie->node[trie->n++] = (struct qvl_trie_node){
                .id = QVL_NO_TOKEN, .depth = (uint16_t)(n_open + 1), .byte = (uint8_t)token[i].bytes[n_open]};
        }
        trie->node[open[n_open - 1]].id = token[i].id;
    }
    while (n_open > 0)
        trie->node[open[--n_open]].end = trie->n;
}

/* The tree of these tokens, which are in order; at most a node for each of their bytes. */
static enum qvl_status build(const struct token *token, size_t n, size_t n_byte, struct qvl_trie_nodes *out,
                             struct qvl_error *err)
{
    out->node = malloc((n_byte + 1) * sizeof *out->node);
    if (!out->node)
        return qvl_fail_memory(err, n_byte * sizeof *out->node, "the tokens in order");
    add_tokens(out, token, n);
    struct qvl_trie_node *fitting = realloc(out->node, (out->n + (size_t)1) * sizeof *fitting);
    if (fitting)
        out->node = fitting;
    return QVL_OK;
}

/* Marks the plain tokens and moves the others, in order, to the front; returns how many. */
static size_t part_plain(struct token *token, size_t n, uint64_t *plain, size_t n_word)
{
    size_t n_other = 0;
    for (size_t i = 0; i < n; i++) {
        size_t n_char = count_plain(&token[i]);
        if (n_char == 0)
            token[n_other++] = token[i];
        else
            plain[n_char * n_word + token[i].id / 64] |= 1ull << token[i].id % 64;
    }
    for (size_t i = n_word; i < (QVL_MAX_PLAIN_BYTES + 1) * n_word; i++)
        plain[i] |= plain[i - n_word];
    return n_other;
}

static void find_plain_edges(bool is_edge[256])
{
    for (int plain = 0; plain < QVL_PLAIN_NOT; plain++)
        for (unsigned byte = 1; byte < 256; byte++)
            is_edge[byte] = is_edge[byte] || qvl_plain_next((enum qvl_plain)plain, (uint8_t)byte) !=
                                                 qvl_plain_next((enum qvl_plain)plain, (uint8_t)(byte - 1));
}

enum qvl_status qvl_token_trie_build(const struct qvl_tokenizer *tokenizer, struct qvl_token_trie *out,
                                     struct qvl_error *err)
{
    struct qvl_token_trie trie = {.n_id = qvl_tokenizer_n(tokenizer)};
    size_t n_byte = 0, n_word = (trie.n_id + (size_t)63) / 64;
    struct token *token = calloc(trie.n_id, sizeof *token);
    trie.plain = calloc((QVL_MAX_PLAIN_BYTES + 1) * n_word, sizeof *trie.plain);
    enum qvl_status status =
        token && trie.plain ? QVL_OK : qvl_fail_memory(err, trie.n_id * sizeof *token, "the tokens in order");
    find_plain_edges(trie.is_plain_edge);
    if (!status) {
        size_t n = list_tokens(tokenizer, token, &n_byte);
        qsort(token, n, sizeof *token, compare_tokens);
        if (!(status = build(token, n, n_byte, &trie.all, err)))
            status = build(token, part_plain(token, n, trie.plain, n_word), n_byte, &trie.others, err);
    }
    free(token);
    if (status)
        qvl_token_trie_free(&trie);
    else
        *out = trie;
    return status;
}

void qvl_token_trie_free(struct qvl_token_trie *trie)
{
    free(trie->all.node);
    free(trie->others.node);
    free(trie->plain);
    *trie = (struct qvl_token_trie){0};
}
