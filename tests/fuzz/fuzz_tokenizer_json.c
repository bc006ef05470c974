/* Bytes as a tokenizer.json. One that is accepted must encode and give the bytes back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char text[] = "The pictures: \xE4\xB8\xAD <think> 123\n\n  aaaaaaaa";
    struct qvl_error err = {0};
    struct qvl_tokenizer *t = NULL;
    struct qvl_ids ids = {0};
    if (qvl_tokenizer_parse((const char *)data, n, "fuzz", 1000, &t, &err)) {
        if (t || err.text[0] == 0)
            abort();
        return 0;
    }
    if (qvl_tokenizer_n(t) > 1000 || qvl_tokenizer_encode(t, text, sizeof text - 1, false, &ids, &err))
        abort();
    size_t at = 0;
    for (size_t i = 0; i < ids.n; i++) {
        size_t n_token = 0;
        const char *token = qvl_tokenizer_bytes(t, ids.id[i], &n_token);
        if (n_token > sizeof text - 1 - at || memcmp(text + at, token, n_token) != 0)
            abort();
        at += n_token;
    }
    if (at != sizeof text - 1)
        abort();
    qvl_ids_free(&ids);
    qvl_tokenizer_free(t);
    return 0;
}
