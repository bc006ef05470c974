/* The reader of the file that `qvl verify` compares with. Input: one byte, bit 0 set = the header's length is made right,
 * so that mutations reach what lies behind it (the data is then empty); the file. Of what is accepted every byte is looked at. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/cli/reference_file.c" /* the room is a program, so no library holds it */
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(bool is_true)
{
    if (!is_true)
        abort();
}

static uint64_t sum_of(const void *bytes, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((const uint8_t *)bytes)[i];
    return sum;
}

static uint64_t look_at_part(const struct qvl_part *part)
{
    uint64_t sum = part->kind == QVL_PART_TEXT ? sum_of(part->utf8, part->n) : 0;
    if (part->kind == QVL_PART_IMAGE)
        sum += sum_of(part->source.bytes, part->source.n_bytes);
    for (size_t i = 0; part->kind == QVL_PART_VIDEO && i < part->source.n_frame; i++)
        sum += sum_of(part->source.pictures[i].bytes, part->source.pictures[i].n_bytes);
    return sum;
}

static uint64_t look_at(const struct qvl_reference *r)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->n_case; i++) {
        const struct qvl_reference_case *c = &r->one[i];
        check(c->n_id > 0 && c->n_output > 0 && c->n_top > 1);
        sum += sum_of(c->ids, c->n_id * 4) + sum_of(c->output_ids, c->n_output * 4) + sum_of(c->log_sum, c->n_output * 4) +
               sum_of(c->top, c->n_output * c->n_top * 4) + sum_of(c->top_ids, c->n_output * c->n_top * 4);
        for (size_t k = 0; k < c->n_part; k++)
            sum += look_at_part(&c->part[k]);
        for (size_t k = 0; k < c->n_slice; k++) {
            const struct qvl_reference_tensor *t = c->slice[k];
            check((t->n_row - 1) * t->row_stride < t->whole_rows && (t->n_column - 1) * t->column_stride < t->whole_columns);
            sum += sum_of(t->data, t->n_row * t->n_column * (t->type == QVL_REFERENCE_U8 ? 1 : 4));
        }
    }
    return sum + is_sum_right(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static volatile uint64_t seen;
    struct qvl_reference r;
    struct qvl_error err = {0};
    if (n < 1)
        return 0;
    size_t n_file = n - 1;
    uint8_t *bytes = malloc(n_file ? n_file : 1); /* exactly as long, so that a read too far is seen */
    check(bytes != NULL);
    memcpy(bytes, data + 1, n_file);
    if ((data[0] & 1) && n_file >= 16) {
        uint64_t n_header = (n_file - 8) / 8 * 8;
        memcpy(bytes, &n_header, sizeof n_header);
    }
    if (!qvl_reference_parse(bytes, n_file, "f", &r, &err))
        seen = seen + look_at(&r);
    else
        check(err.status != QVL_OK && err.text[0] && qvl_utf8_is_valid(err.text, strlen(err.text)));
    qvl_reference_close(&r);
    free(bytes);
    return 0;
}
