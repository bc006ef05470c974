/* The safetensors header parser. Input: one byte, bit 0 set = the header's length is made right, so that mutations
 * reach what lies behind it; four bytes, how much longer than the input the file claims to be; the file's start.
 * What is accepted must tile the file exactly. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "load/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

__extension__ typedef unsigned __int128 wide;

static void check(bool is_true)
{
    if (!is_true)
        abort();
}

static void check_accepted(const struct qvl_safetensors *file, uint64_t n_before_data)
{
    uint64_t next = n_before_data;
    for (size_t i = 0; i < file->n; i++) {
        const struct qvl_safetensors_entry *e = &file->entry[i];
        wide n_element = 1;
        for (uint32_t k = 0; k < e->n_dim; k++)
            n_element *= e->dim[k];
        check(e->begin == next && e->end >= e->begin && e->n_dim <= QVL_MAX_DIMS);
        check(n_element == e->n_element && n_element * qvl_dtype_bytes(e->dtype) == e->end - e->begin);
        check(e->name[0] && qvl_utf8_is_valid(e->name, strlen(e->name)));
        next = e->end;
    }
    check(next == file->n_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct qvl_arena arena = {0};
    struct qvl_safetensors file = {0};
    struct qvl_error err = {0};
    uint32_t n_more;
    if (n < 5)
        return 0;
    memcpy(&n_more, data + 1, sizeof n_more);
    size_t n_file = n - 5;
    uint8_t *bytes = malloc(n_file ? n_file : 1); /* exactly as long, so that a read too far is seen */
    check(bytes != NULL);
    memcpy(bytes, data + 5, n_file);
    if ((data[0] & 1) && n_file >= 8) {
        uint64_t n_json = n_file - 8;
        memcpy(bytes, &n_json, sizeof n_json);
    }
    if (!qvl_safetensors_parse(bytes, n_file, n_file + (uint64_t)n_more, "f", &arena, &file, &err)) {
        uint64_t n_json;
        memcpy(&n_json, bytes, sizeof n_json);
        check_accepted(&file, 8 + n_json);
    } else {
        check(err.status != QVL_OK && err.text[0] && qvl_utf8_is_valid(err.text, strlen(err.text)));
    }
    qvl_arena_free(&arena);
    free(bytes);
    return 0;
}
