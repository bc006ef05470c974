/* The types of a GGUF file's tensors: names and sizes of blocks. Source: ggml's enum ggml_type and GGML_QUANT_SIZES
 * of the Python package gguf. */
#include "base/gguf.h"

#include <stddef.h>

static const struct {
    const char *name;    /* NULL: no such number */
    uint32_t n, n_bytes; /* of a block; 0: qvl does not read it */
} types[] = {
    [QVL_GGML_F32] = {"F32", 1, 4},
    [QVL_GGML_F16] = {"F16", 1, 2},
    [QVL_GGML_Q4_0] = {"Q4_0", 32, 18},
    [QVL_GGML_Q4_1] = {"Q4_1", 32, 20},
    [QVL_GGML_Q5_0] = {"Q5_0", 32, 22},
    [QVL_GGML_Q5_1] = {"Q5_1", 32, 24},
    [QVL_GGML_Q8_0] = {"Q8_0", 32, 34},
    [9] = {"Q8_1", 0, 0},
    [10] = {"Q2_K", 0, 0},
    [11] = {"Q3_K", 0, 0},
    [QVL_GGML_Q4_K] = {"Q4_K", 256, 144},
    [QVL_GGML_Q5_K] = {"Q5_K", 256, 176},
    [QVL_GGML_Q6_K] = {"Q6_K", 256, 210},
    [15] = {"Q8_K", 0, 0},
    [16] = {"IQ2_XXS", 0, 0},
    [17] = {"IQ2_XS", 0, 0},
    [18] = {"IQ3_XXS", 0, 0},
    [19] = {"IQ1_S", 0, 0},
    [QVL_GGML_IQ4_NL] = {"IQ4_NL", 32, 18},
    [21] = {"IQ3_S", 0, 0},
    [22] = {"IQ2_S", 0, 0},
    [23] = {"IQ4_XS", 0, 0},
    [24] = {"I8", 0, 0},
    [25] = {"I16", 0, 0},
    [26] = {"I32", 0, 0},
    [27] = {"I64", 0, 0},
    [28] = {"F64", 0, 0},
    [29] = {"IQ1_M", 0, 0},
    [QVL_GGML_BF16] = {"BF16", 1, 2},
    [34] = {"TQ1_0", 0, 0},
    [35] = {"TQ2_0", 0, 0},
    [39] = {"MXFP4", 0, 0},
    [40] = {"NVFP4", 0, 0},
};

enum { N_TYPE = sizeof types / sizeof *types };

const char *qvl_ggml_type_name(uint32_t type)
{
    return type < N_TYPE && types[type].name ? types[type].name : "?";
}

bool qvl_ggml_type_block(uint32_t type, uint32_t *n, uint32_t *n_bytes)
{
    if (type >= N_TYPE || types[type].n == 0)
        return false;
    *n = types[type].n;
    *n_bytes = types[type].n_bytes;
    return true;
}
