/* token_trie.h: the vocabulary's byte strings as one tree, in the order in which a walk meets its nodes.
 *
 * Most tokens are plain: printable characters that mean nothing in JSON and end no line, and at most 16 bytes of
 * them. Where any such text may come, as in the middle of a string, or any that is not too long, they are allowed
 * together, and only the tree of the others is walked: a tenth. */
#ifndef QVL_TEXT_TOKEN_TRIE_H
#define QVL_TEXT_TOKEN_TRIE_H

#include "text/tokenizer.h"

#define QVL_NO_TOKEN UINT32_MAX
enum { QVL_MAX_PLAIN_BYTES = 16 };

/* One more byte behind the node above. Its subtree is the nodes behind it, up to `end`. */
struct qvl_trie_node {
    uint32_t end;
    uint32_t id;    /* of the token that ends here, or QVL_NO_TOKEN */
    uint16_t depth; /* bytes from the root, >= 1 */
    uint8_t byte;
};

struct qvl_trie_nodes {
    struct qvl_trie_node *node; /* [n] */
    uint32_t n;
};

struct qvl_token_trie {
    struct qvl_trie_nodes all, others; /* others: without those that are plain */
    uint64_t *plain;         /* [QVL_MAX_PLAIN_BYTES + 1, (n_id + 63) / 64] row k: a bit for each id that is
                                plain and begins at most k characters */
    bool is_plain_edge[256]; /* plain text tells this byte apart from the one before */
    uint32_t n_id;           /* of the tokenizer */
};

/* What is left of a character behind plain text that was read a byte at a time. */
enum qvl_plain {
    QVL_PLAIN_WHOLE, /* nothing: between two characters */
    QVL_PLAIN_ONE,   /* one byte from 80 to BF; two; three */
    QVL_PLAIN_TWO,
    QVL_PLAIN_THREE,
    QVL_PLAIN_E0, /* after these the next byte has a narrower range */
    QVL_PLAIN_E2,
    QVL_PLAIN_E2_80,
    QVL_PLAIN_ED,
    QVL_PLAIN_F0,
    QVL_PLAIN_F4,
    QVL_PLAIN_NOT /* the text is not plain */
};
enum qvl_plain qvl_plain_next(enum qvl_plain state, uint8_t byte);

/* Two added tokens can be asked for by a grammar: by a byte each that no text has. */
enum { QVL_BYTE_TOOL_CALL = 0xF8, QVL_BYTE_TOOL_CALL_END = 0xF9 };
/* The bytes of a token as grammars read them. Tokenizer lifetime. */
const char *qvl_token_trie_bytes(const struct qvl_tokenizer *tokenizer, uint32_t id, size_t *n);

/* Without the other 24 added tokens: what stands in their text can be said in others, and they mean more than that.
 */
enum qvl_status qvl_token_trie_build(const struct qvl_tokenizer *tokenizer, struct qvl_token_trie *out,
                                     struct qvl_error *err);
void qvl_token_trie_free(struct qvl_token_trie *trie);

#endif
