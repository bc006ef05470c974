/* The safetensors header parser. Input: one byte, bit 0 set = the header's length is made right, so that mutations
 * reach what lies behind it; four bytes, how much longer than the input the file claims to be; the file's start.
 * What is accepted must tile the file exactly; and where its tensors are the parts of a quantised matrix of 16 rows
 * and 32 columns, in any of the formats that are read (load/foreign.h), every row of it can be read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "load/foreign.h"

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

static void read_matrix(const struct qvl_safetensors *file)
{
    static const struct qvl_foreign_scheme schemes[] = {
        {QVL_FOREIGN_AWQ, 4, 1, 16, true, false},       {QVL_FOREIGN_GPTQ, 4, 1, 16, false, false},
        {QVL_FOREIGN_GPTQ, 8, 1, 0, false, false},      {QVL_FOREIGN_GPTQ_V2, 2, 1, 8, false, true},
        {QVL_FOREIGN_CT_PACKED, 4, 1, 8, false, false}, {QVL_FOREIGN_CT_PACKED, 8, 0, 0, false, false},
        {QVL_FOREIGN_CT_PACKED, 4, 1, 16, true, true},  {QVL_FOREIGN_CT_INT, 8, 1, 0, false, false},
        {QVL_FOREIGN_CT_FLOAT, 8, 0, 0, true, false},   {QVL_FOREIGN_FP8, 8, 12, 20, true, false},
    };
    struct qvl_tensor t = {.name = "m.weight", .dtype = QVL_STORED, .n_dim = 2, .dim = {16, 32}, .n_element = 512};
    for (size_t k = 0; k < sizeof schemes / sizeof *schemes; k++) {
        struct qvl_foreign_config config = {.scheme = {schemes[k]}, .n_scheme = 1};
        struct qvl_foreign_parts parts = {0};
        struct qvl_stored stored;
        struct qvl_arena copies = {0};
        struct qvl_error err = {0};
        char name[512];
        float row[16 * 32];
        for (size_t i = 0; i < file->n; i++) {
            enum qvl_foreign_role role = qvl_foreign_role_of(&config, &file->entry[i], name, sizeof name);
            if (role < QVL_PART_N && strcmp(name, t.name) == 0)
                parts.of[role] = (struct qvl_foreign_part){&file->entry[i], file};
        }
        if (qvl_foreign_bind(&config, &t, &parts, &stored, &err) ||
            qvl_foreign_map(&t, &parts, &copies, &stored, &err)) {
            check(err.status == QVL_ERR_MODEL && err.text[0] && qvl_utf8_is_valid(err.text, strlen(err.text)));
        } else {
            t.stored = &stored;
            qvl_stored_rows(&t, 0, 16, row);
            qvl_stored_rows(&t, 15, 1, row);
        }
        qvl_arena_free(&copies);
    }
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
        file.map = bytes;
        if (n_more == 0)
            read_matrix(&file);
    } else {
        check(err.status != QVL_OK && err.text[0] && qvl_utf8_is_valid(err.text, strlen(err.text)));
    }
    qvl_arena_free(&arena);
    free(bytes);
    return 0;
}
