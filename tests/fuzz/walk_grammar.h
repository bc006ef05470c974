/* walk_grammar.h: writes a text of a grammar by chance, with tokens of one byte. Included by one file of a program.
 */
#ifndef QVL_TESTS_FUZZ_WALK_GRAMMAR_H
#define QVL_TESTS_FUZZ_WALK_GRAMMAR_H

#include <stdlib.h>

#include "text/matcher.h"

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* One of the bytes allowed: any, or the last in the alphabet, with which strings, arrays and objects end soonest.
 */
static int choose_byte(uint64_t mask[4], uint32_t *seed, bool is_late)
{
    static const unsigned char closing[] = {'"', '}', ']'};
    int found = -1;
    for (size_t i = 0; i < sizeof closing && is_late; i++)
        if (mask[closing[i] / 64] >> closing[i] % 64 & 1)
            return closing[i];
    *seed = *seed * 1664525u + 1013904223u;
    for (uint32_t i = 0, at = *seed >> 24; i < 256 && found < 0; i++, at = (at + 1) % 256)
        if (mask[at / 64] >> at % 64 & 1)
            found = (int)at;
    return found;
}

/* False when it did not end in 300 bytes. */
static bool walk_grammar(const struct qvl_grammar *g, uint32_t seed, struct qvl_bytes *text)
{
    struct qvl_trie_node node[256];
    uint64_t plain[(QVL_MAX_PLAIN_BYTES + 1) * 4] = {0}; /* none is: all are among the others */
    struct qvl_token_trie trie = {.all = {node, 256}, .others = {node, 256}, .plain = plain, .n_id = 256};
    struct qvl_matcher *m = NULL;
    struct qvl_error err = {0};
    uint64_t mask[5];
    bool is_whole = false;
    for (uint32_t i = 0; i < 256; i++)
        node[i] = (struct qvl_trie_node){.end = i + 1, .id = i, .depth = 1, .byte = (uint8_t)i};
    text->n = 0;
    if (qvl_matcher_open(g, &trie, &m, &err))
        return false;
    while (text->n < 300 && !is_whole) {
        require(!qvl_matcher_mask(m, mask, &err));
        int byte = choose_byte(mask, &seed, text->n > 100);
        require((byte < 0) == qvl_matcher_is_over(m) && (byte >= 0 || qvl_matcher_may_end(m)));
        is_whole = qvl_matcher_may_end(m) && (byte < 0 || text->n > 20);
        if (is_whole)
            break;
        char c = (char)byte;
        require(!qvl_matcher_take(m, &c, 1, &err) && !qvl_bytes_add(text, &c, 1, &err));
    }
    qvl_matcher_close(m);
    return is_whole;
}

#endif
