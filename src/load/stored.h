/* stored.h: matrices as other programs quantise them: blocks of GGUF, AWQ, GPTQ, compressed-tensors, FP8. qvl does not
 * multiply with them: at load each becomes a packed matrix (kernel/packed.h) or floats, row by row, by way of f32 numbers
 * that are exactly those which the format stands for. A tensor of this kind has dtype QVL_STORED. */
#ifndef QVL_LOAD_STORED_H
#define QVL_LOAD_STORED_H

#include "base/gguf.h"
#include "load/weights.h"

enum qvl_stored_format {
    QVL_STORED_GGML,          /* blocks of ggml_type, row after row */
    QVL_STORED_PATCH_KERNELS, /* [out, 3, 2, p, p] as two of [out, 3, p, p], of ggml_type F32, F16 or BF16 */
    QVL_STORED_STACKED,       /* rows of part[0], then of part[1], then of part[2]: q, k, v of a tower that has them apart */
    QVL_STORED_AWQ,           /* 4 bits, columns of a group share scale and zero; interleaved in words along the rows */
    QVL_STORED_GPTQ,          /* 2, 3, 4 or 8 bits, words along the columns; order: group of each column, or NULL */
    QVL_STORED_INT,           /* compressed-tensors: pack-quantized (4 or 8 bits in words) and int-quantized (8) */
    QVL_STORED_FP8,           /* e4m3: a scale for the matrix, for each row, or for each block of rows and columns */
};

/* Something that lies in a file as it is. */
struct qvl_stored_part {
    const void *data; /* NULL before qvl_weights_map, and where the format has none */
    enum qvl_dtype dtype;
};

/* Rows [first, first + n) of a tensor, out [n, n_in]. */
typedef void qvl_stored_rows_fn(const struct qvl_tensor *t, size_t first, size_t n, float *out);

struct qvl_stored {
    enum qvl_stored_format format;
    uint32_t ggml_type;
    uint32_t n_bit;
    uint32_t group_rows, group_columns; /* that share a scale; 0: all */
    bool is_symmetric;                  /* no zeros: the middle of the range is 0 */
    struct qvl_stored_part weight, weight1, scale, zero, order;
    const struct qvl_tensor *part[3]; /* QVL_STORED_STACKED */
    qvl_stored_rows_fn *rows; /* of the three below, or of a foreign_*.c */
};

qvl_stored_rows_fn qvl_stored_rows_ggml;
qvl_stored_rows_fn qvl_stored_rows_patch_kernels;
qvl_stored_rows_fn qvl_stored_rows_stacked;

/* The same of a tensor of any dtype but a packed one: bf16, f16 and f32 are widened. Asked for 16 rows at a multiple of 16,
 * formats that lie column by column are read best. */
qvl_stored_rows_fn qvl_stored_rows;

/* Whether its numbers were those of more bits once: packed ones, blocks, and what foreign_*.c reads. */
bool qvl_stored_is_rounded(const struct qvl_tensor *t);

/* How the tensor's numbers stand in the file: "bf16", "Q4_K", "AWQ 4 bits". Static. */
const char *qvl_stored_type_name(const struct qvl_tensor *t);

/* n numbers of a GGUF type, whole blocks: exactly what llama.cpp's dequantize_row_* gives. */
void qvl_ggml_widen(uint32_t ggml_type, const void *blocks, size_t n, float *out);

#endif
