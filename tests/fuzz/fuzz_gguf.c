/* The GGUF header parser and what reads keys: values, tokenizer. Input: four bytes, how much longer than the input
 * the file claims to be; the file's start. What is accepted must lie inside the file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/gguf.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "text/tokenizer_gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

__extension__ typedef unsigned __int128 wide;

static void check(bool is_true)
{
    if (!is_true)
        abort();
}

static void check_tensors(const struct qvl_gguf *g)
{
    uint64_t next = g->data_at;
    for (size_t i = 0; i < g->n_tensor; i++) {
        const struct qvl_gguf_tensor *t = &g->tensor[i];
        uint32_t n_block = 0, n_bytes = 0;
        wide n_element = 1;
        check(qvl_ggml_type_block(t->type, &n_block, &n_bytes));
        for (uint32_t k = 0; k < t->n_dim; k++)
            n_element *= t->dim[k];
        check(t->n_dim >= 1 && t->n_dim <= QVL_GGUF_MAX_DIMS && n_element == t->n_element);
        check(t->begin >= next && t->end >= t->begin && t->end <= g->n_bytes);
        check(n_element / n_block * n_bytes == t->end - t->begin);
        check(t->name[0] && strlen(t->name) <= QVL_MAX_TENSOR_NAME_BYTES);
        next = t->end;
    }
}

/* Every value is read once; a sanitizer sees one outside. */
static volatile double sum;

static void read_keys(const struct qvl_gguf *g)
{
    struct qvl_error err;
    for (size_t i = 0; i < g->n_key; i++) {
        const struct qvl_gguf_key *key = &g->key[i];
        uint64_t x, at = key->at;
        const char *s;
        size_t n = 0;
        check(qvl_gguf_find(g, key->name) == key);
        check(i == 0 || strcmp(g->key[i - 1].name, key->name) < 0);
        for (uint64_t k = 0; key->kind == QVL_GGUF_ARRAY && k < key->n; k++) {
            if (key->element != QVL_GGUF_STRING)
                sum += qvl_gguf_number_at(g, key, k);
            else if ((s = qvl_gguf_next_string(g, &at, &n)) && n)
                sum += s[n - 1];
        }
        if (!qvl_gguf_string(g, key->name, &s, &n, &err) && n)
            sum += s[n - 1];
        if (!qvl_gguf_u64(g, key->name, 1, 5, &x, &err))
            check(x >= 1 && x <= 5);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct qvl_arena arena = {0};
    struct qvl_gguf g = {.fd = -1};
    struct qvl_error err = {0};
    struct qvl_tokenizer_file tokenizer = {0};
    uint32_t n_more;
    if (n < sizeof n_more)
        return 0;
    memcpy(&n_more, data, sizeof n_more);
    n -= sizeof n_more;
    uint8_t *bytes = malloc(n ? n : 1); /* exactly as long, so that a read too far is seen */
    check(bytes != NULL);
    memcpy(bytes, data + sizeof n_more, n);
    if (!qvl_gguf_parse(bytes, n, n + (uint64_t)n_more, "f", &arena, &g, &err)) {
        check_tensors(&g);
        read_keys(&g);
        (void)qvl_tokenizer_file_parse_gguf(&g, &tokenizer, &err);
        qvl_tokenizer_file_free(&tokenizer);
    } else {
        check(err.status != QVL_OK && err.text[0] && qvl_utf8_is_valid(err.text, strlen(err.text)));
    }
    qvl_arena_free(&arena);
    free(bytes);
    return 0;
}
