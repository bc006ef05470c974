/* token_trie.h: the vocabulary's byte strings as one tree, in the order in which a walk meets its nodes. */
#ifndef QVL_TEXT_TOKEN_TRIE_H
#define QVL_TEXT_TOKEN_TRIE_H

#include "text/tokenizer.h"

#define QVL_NO_TOKEN UINT32_MAX

/* One more byte behind the node above. Its subtree is the nodes behind it, up to `end`. */
struct qvl_trie_node {
    uint32_t end;
    uint32_t id;    /* of the token that ends here, or QVL_NO_TOKEN */
    uint16_t depth; /* bytes from the root, >= 1 */
    uint8_t byte;
};

struct qvl_token_trie {
    struct qvl_trie_node *node; /* [n_node] */
    uint32_t n_node;
    uint32_t n_id; /* of the tokenizer */
};

/* Without the 26 added tokens: what stands in their text can be said in others, and they mean more than that. */
enum qvl_status qvl_token_trie_build(const struct qvl_tokenizer *tokenizer, struct qvl_token_trie *out,
                                     struct qvl_error *err);
void qvl_token_trie_free(struct qvl_token_trie *trie);

#endif
