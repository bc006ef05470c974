/* Enters: a tensor as a file has it. Leaves: a row of it in f32. How a format's numbers are made is its own file's
 * affair (ggml_blocks.c, foreign_*.c); here stands what leads to them. */
#include "load/stored.h"

#include "base/checked.h"
#include "load/quantize.h"

static uint32_t ggml_type_of(enum qvl_dtype dtype)
{
    return dtype == QVL_F32 ? QVL_GGML_F32 : dtype == QVL_F16 ? QVL_GGML_F16 : QVL_GGML_BF16;
}

void qvl_stored_rows(const struct qvl_tensor *t, size_t first, size_t n, float *out)
{
    size_t n_in = qvl_tensor_n_in(t);
    if (t->dtype == QVL_STORED)
        t->stored->rows(t, first, n, out);
    else
        qvl_ggml_widen(ggml_type_of(t->dtype), (const char *)t->data + first * n_in * qvl_dtype_bytes(t->dtype),
                       n * n_in, out);
}

void qvl_stored_rows_ggml(const struct qvl_tensor *t, size_t first, size_t n, float *out)
{
    uint32_t n_block = 1, n_bytes = 0;
    size_t n_in = qvl_tensor_n_in(t);
    qvl_ggml_type_block(t->stored->ggml_type, &n_block, &n_bytes);
    qvl_ggml_widen(t->stored->ggml_type, (const char *)t->stored->weight.data + first * (n_in / n_block) * n_bytes,
                   n * n_in, out);
}

/* One number after the other is a block. */
void qvl_stored_rows_patch_kernels(const struct qvl_tensor *t, size_t first, size_t n, float *out)
{
    const struct qvl_stored *stored = t->stored;
    uint32_t n_block = 1, n_bytes = 0;
    size_t n_channel = (size_t)t->dim[1], n_pixel = (size_t)(t->dim[3] * t->dim[4]);
    qvl_ggml_type_block(stored->ggml_type, &n_block, &n_bytes);
    for (size_t i = 0; i < n * n_channel; i++, out += 2 * n_pixel) {
        size_t at = (first * n_channel + i) * n_pixel * n_bytes;
        qvl_ggml_widen(stored->ggml_type, (const char *)stored->weight.data + at, n_pixel, out);
        qvl_ggml_widen(stored->ggml_type, (const char *)stored->weight1.data + at, n_pixel, out + n_pixel);
    }
}

void qvl_stored_rows_stacked(const struct qvl_tensor *t, size_t first, size_t n, float *out)
{
    const struct qvl_tensor *const *part = t->stored->part;
    for (; n > 0; part++) {
        size_t n_part = (size_t)(*part)->dim[0], n_here = first < n_part ? qvl_min_size(n, n_part - first) : 0;
        if (n_here > 0)
            qvl_stored_rows(*part, first, n_here, out);
        first = n_here > 0 ? 0 : first - n_part;
        n -= n_here;
        out += n_here * qvl_tensor_n_in(t);
    }
}

static bool is_one_rounded(const struct qvl_tensor *t)
{
    uint32_t n_block = 1, n_bytes;
    if (t->dtype != QVL_STORED)
        return qvl_dtype_is_packed(t->dtype);
    if (t->stored->format == QVL_STORED_GGML)
        qvl_ggml_type_block(t->stored->ggml_type, &n_block, &n_bytes);
    return n_block > 1 || t->stored->format >= QVL_STORED_AWQ;
}

bool qvl_stored_is_rounded(const struct qvl_tensor *t)
{
    bool is_stacked = t->dtype == QVL_STORED && t->stored->format == QVL_STORED_STACKED, is_rounded = false;
    for (size_t i = 0; i < (is_stacked ? 3 : 1); i++)
        is_rounded = is_rounded || is_one_rounded(is_stacked ? t->stored->part[i] : t);
    return is_rounded;
}

static const char *bits_name(const char *const names[9], uint32_t n_bit)
{
    return n_bit < 9 && names[n_bit] ? names[n_bit] : names[0];
}

const char *qvl_stored_type_name(const struct qvl_tensor *t)
{
    static const char *const plain[] = {[QVL_F32] = "f32", [QVL_BF16] = "bf16", [QVL_F16] = "f16",
                                        [QVL_Q8] = "q8",   [QVL_Q4] = "q4",     [QVL_A8] = "q8 rows"};
    static const char *const gptq[9] = {
        "GPTQ", [2] = "GPTQ 2 bits", [3] = "GPTQ 3 bits", [4] = "GPTQ 4 bits", [8] = "GPTQ 8 bits"};
    static const char *const integers[9] = {"int", [4] = "int4", [8] = "int8"};
    for (; t->dtype == QVL_STORED && t->stored->format == QVL_STORED_STACKED; t = t->stored->part[0])
        ;
    if (t->dtype != QVL_STORED)
        return (size_t)t->dtype < sizeof plain / sizeof *plain && plain[t->dtype] ? plain[t->dtype] : "?";
    const struct qvl_stored *stored = t->stored;
    switch (stored->format) {
    case QVL_STORED_GGML: return qvl_ggml_type_name(stored->ggml_type);
    case QVL_STORED_PATCH_KERNELS:
        return stored->ggml_type == QVL_GGML_F32 ? "f32" : stored->ggml_type == QVL_GGML_F16 ? "f16" : "bf16";
    case QVL_STORED_AWQ: return "AWQ 4 bits";
    case QVL_STORED_GPTQ: return bits_name(gptq, stored->n_bit);
    case QVL_STORED_INT: return bits_name(integers, stored->n_bit);
    case QVL_STORED_FP8: return "fp8";
    default: return "?";
    }
}
