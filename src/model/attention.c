/* Enters: rows of queries, keys and values as the products left them (f32). Leaves: keys and values in the blocks
 * that the kernel reads; the attention's output as the next product's input.
 *
 * Queries of the heads that share keys are gathered into one tile, so that a block of keys is read once for all of
 * them. Which rows meet in a tile changes no bit: the kernel treats each row alone.
 *
 * Int8 keys and their queries are turned by a Hadamard matrix before they are rounded: dot products stay, and the
 * few large dimensions that keys of trained models have are spread over all, so that they do not take the others'
 * digits. */
#include "model/attention.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

/* Scratch of a tile: queries, outputs [rows, head_dim] f32, n_key [rows], then the kernel's own. */
struct layout {
    size_t out, n_key, kernel, end; /* bytes from the start, each a multiple of 64 */
};

static struct layout layout_of(size_t head_dim, size_t n_group)
{
    size_t rows = qvl_attention_tile_tokens(n_group) * n_group;
    size_t matrix = qvl_round_up(rows * head_dim * sizeof(float), 64);
    struct layout layout = {.out = matrix, .n_key = 2 * matrix};
    layout.kernel = layout.n_key + qvl_round_up(rows * sizeof(uint32_t), 64);
    layout.end = layout.kernel + qvl_round_up(qvl_attention_scratch_bytes(head_dim), 64);
    return layout;
}

size_t qvl_attention_tile_bytes(size_t head_dim, size_t n_group)
{
    return layout_of(head_dim, n_group).end;
}

/* What is left from a number's magnitude to the largest one, by their bits, which have the same order. The top bit
 * is set where the number is larger: inf, NaN, and in bf16 what may be rounded to inf. */
static uint32_t bits_left(float v, enum qvl_dtype dtype)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (dtype == QVL_BF16 ? 0x7f7f0000u : 0x7f7fffffu) - (bits & 0x7fffffffu);
}

/* Whether these numbers are finite once they are stored. Four at a time, for the compiler's vectors. */
static bool stay_finite(const float *v, size_t n, enum qvl_dtype dtype)
{
    uint32_t left[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t j = 0; j < 4; j++)
            left[j] |= bits_left(v[i + j], dtype);
    for (; i < n; i++)
        left[0] |= bits_left(v[i], dtype);
    return (left[0] | left[1] | left[2] | left[3]) >> 31 == 0;
}

/* Whether keys and queries are turned before they are rounded: there is such a matrix for powers of two. */
static bool is_turned(enum qvl_dtype dtype, size_t head_dim)
{
    return dtype == QVL_I8 && (head_dim & (head_dim - 1)) == 0;
}

void qvl_attention_put(const struct qvl_kernels *kernels, enum qvl_dtype dtype, void *k_block, void *v_block,
                       size_t i_pos, const float *k, const float *v, size_t head_dim)
{
    if (dtype == QVL_I8) {
        kernels->store_k_i8(k_block, i_pos, k, head_dim);
        kernels->store_v_i8(v_block, i_pos, v, head_dim);
    } else if (dtype == QVL_BF16) {
        kernels->store_k_bf16(k_block, i_pos, k, head_dim);
        kernels->store_v_bf16(v_block, i_pos, v, head_dim);
    } else {
        kernels->store_k_f32(k_block, i_pos, k, head_dim);
        kernels->store_v_f32(v_block, i_pos, v, head_dim);
    }
}

/* A masked key gets the probability 0, whatever its score, but 0 times a value that is not finite is NaN. So such
 * values do not enter a block: their key is NaN instead, which tells those that see it, and no one else. */
void qvl_attention_store(const struct qvl_kernels *kernels, enum qvl_dtype dtype, void *k_block, void *v_block,
                         size_t i_pos, const float *k, const float *v, size_t head_dim,
                         const struct qvl_layer_norm *norm, float eps, const float *cos, const float *sin)
{
    static const float zero[QVL_MAX_HEAD_DIM];
    _Alignas(64) float key[QVL_MAX_HEAD_DIM];
    if (norm)
        kernels->rms_norm(key, k, norm->w, head_dim, eps);
    else
        memcpy(key, k, head_dim * sizeof *key);
    kernels->rotate(key, cos, sin, head_dim / 2);
    if (is_turned(dtype, head_dim))
        kernels->hadamard(key, head_dim);
    if (!stay_finite(v, head_dim, dtype)) {
        for (size_t i = 0; i < head_dim; i++)
            key[i] = NAN;
        v = zero;
    }
    qvl_attention_put(kernels, dtype, k_block, v_block, i_pos, key, v, head_dim);
}

void qvl_attention_tile(const struct qvl_kernels *kernels, const struct qvl_tile *tile, void *scratch)
{
    size_t d = tile->head_dim, n_row = tile->n_tok * tile->n_group;
    struct layout layout = layout_of(d, tile->n_group);
    void *at_out = (char *)scratch + layout.out, *at_n_key = (char *)scratch + layout.n_key;
    float *q = scratch, *out = at_out;
    uint32_t *n_key = at_n_key;
    for (size_t i = 0; i < n_row; i++) {
        size_t t = i / tile->n_group, head = i % tile->n_group;
        size_t token = tile->token ? tile->token[t] : tile->first + t;
        const float *from = tile->q + token * tile->q_stride + head * d;
        if (tile->norm)
            kernels->rms_norm(q + i * d, from, tile->norm->w, d, tile->eps);
        else
            memcpy(q + i * d, from, d * sizeof *q);
        kernels->rotate(q + i * d, tile->cos + token * (d / 2), tile->sin + token * (d / 2), d / 2);
        if (is_turned(tile->dtype, d))
            kernels->hadamard(q + i * d, d);
        n_key[i] = tile->n_key[token];
    }
    struct qvl_attention_job job = {
        .q = q,
        .q_stride = d,
        .out = out,
        .out_stride = d,
        .n_row = n_row,
        .n_key = n_key,
        .k_block = tile->k_block,
        .v_block = tile->v_block,
        .head_dim = d,
        .scale = (float)(1.0 / sqrt((double)d)),
        .scratch = (char *)scratch + layout.kernel,
    };
    if (tile->dtype == QVL_I8)
        kernels->attention_i8(&job);
    else if (tile->dtype == QVL_BF16)
        kernels->attention_bf16(&job);
    else
        kernels->attention_f32(&job);
    for (size_t i = 0; i < n_row; i++)
        qvl_row_enter(kernels, tile->out, tile->out_row + i / tile->n_group,
                      tile->out_column + i % tile->n_group * d, out + i * d, d);
}
