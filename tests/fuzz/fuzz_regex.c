/* Bytes as a regular expression. Checked: what is refused leaves a sentence; what is accepted can be written, and
 * is UTF-8. */
#include "base/utf8.h"
#include "walk_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct qvl_error err = {0};
    struct qvl_grammar *g = NULL;
    struct qvl_bytes text = {0};
    if (qvl_grammar_from_regex((const char *)data, n, &g, &err)) {
        require(!g && err.status != QVL_OK && err.status != QVL_ERR_INTERNAL && err.text[0]);
        return 0;
    }
    for (uint32_t seed = 1; seed < 4; seed++)
        if (walk_grammar(g, seed, &text))
            require(text.n == 0 || qvl_utf8_is_valid(text.data, text.n));
    qvl_bytes_free(&text);
    qvl_grammar_free(g);
    return 0;
}
