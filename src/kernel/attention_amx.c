/* Attention over bf16 keys and values in matrix tiles (tile_block.h); softmax between the two products:
 * attention_softmax.h.
 *
 * The layouts of kernel.h are operands B as they lie: keys [16 keys][head_dim/2][16][2] for Q K^T, values
 * [pairs of keys][d_pad][2] for P V, 16 dimensions of each row of pairs. Queries and probabilities are A. A step of
 * Q K^T takes the largest even part of head_dim up to 32 (32 of 64 and 128, 24 of 72), so no step crosses the end
 * of a key, whose neighbours may hold what is not finite.
 *
 * For 32 rows and a block of 128 keys at head_dim 64 the products take 2 x 512 cycles, the exponentials some 1,500:
 * these are the limit. With the two rows of generation the products take half, 64 bytes a cycle, many times
 * what memory gives.
 *
 * A row that sees nothing of a block passes through the tiles with the others of its tile. Its weighted sum is put
 * aside before and restored after: adding nothing would make +0 of its -0. */
#include "kernel/attention_bf16_scalars.h"
#include "kernel/tile_block.h"

#define ATTENTION_ROWS BLOCK_ROWS

#include "kernel/attention_softmax.h"

static size_t step_of(size_t head_dim)
{
    size_t step = qvl_min_size(head_dim, TILE_STEP);
    while (step % 2 != 0 || head_dim % step != 0)
        step--;
    return step;
}

/* Asks for part i of n of a block that is needed soon. */
QVL_INLINE void fetch_part(const void *block, size_t n_byte, size_t i, size_t n)
{
    for (size_t at = n_byte * i / n / 64 * 64; at < n_byte * (i + 1) / n; at += 64)
        __builtin_prefetch((const char *)block + at, 0, 2);
}

/* Scores of the tile's rows with a block of keys; the block of values is asked for meanwhile. */
static void score_keys(const struct tile *tile, const qvl_bf16 *keys, const void *values, size_t head_dim)
{
    size_t step = step_of(head_dim), n_step = head_dim / step, group = head_dim * TILE_ROWS;
    size_t n_fetch = QVL_KV_BLOCK / BLOCK_COLUMNS * n_step;
    struct block block = {
        .c_stride = QVL_KV_BLOCK * sizeof(float), .n_row = tile->n_row, .n_column = BLOCK_COLUMNS};
    block_configure(block.n_row, block.n_column, step);
    for (size_t i_key = 0; i_key < QVL_KV_BLOCK; i_key += BLOCK_COLUMNS, keys += 2 * group) {
        block.c = tile->score + i_key;
        block_zero(&block);
        for (size_t i = 0; i < n_step; i++) {
            const qvl_bf16 *at = keys + i * step * TILE_ROWS;
            block_step(&block, tile->q + i * step, head_dim * sizeof *tile->q, at, at + group, TILE_ROW_BYTES);
            fetch_part(values, qvl_v_block_bytes(head_dim, QVL_BF16), i_key / BLOCK_COLUMNS * n_step + i, n_fetch);
        }
        block_store(&block);
    }
}

/* sum = sum shrink + P V; the next block of keys is asked for meanwhile. */
static void add_values(const struct tile *tile, const qvl_bf16 *values, const void *next_keys, size_t head_dim)
{
    size_t d_pad = qvl_head_dim_padded(head_dim), n_fetch = qvl_div_up(d_pad, BLOCK_COLUMNS);
    for (size_t t = 0; t < tile->n_row; t++)
        for (size_t dim = 0; dim < d_pad && tile->is_active[t]; dim += VEC_LANES) {
            float *sum = tile->sum + t * d_pad + dim;
            vec_store(sum, vec_mul(vec_load(sum), vec_set1(tile->shrink[t])));
        }
    struct block block = {.c_stride = d_pad * sizeof(float), .n_row = tile->n_row};
    for (size_t dim = 0; dim < d_pad; dim += BLOCK_COLUMNS) {
        size_t n_column = qvl_min_size(d_pad - dim, BLOCK_COLUMNS);
        if (n_column != block.n_column)
            block_configure(block.n_row, n_column, TILE_STEP);
        block.n_column = n_column;
        block.c = tile->sum + dim;
        block_load(&block);
        for (size_t i_key = 0; i_key < QVL_KV_BLOCK; i_key += TILE_STEP) {
            const qvl_bf16 *at = values + (i_key / 2 * d_pad + dim) * 2;
            block_step(&block, tile->p + i_key, QVL_KV_BLOCK * sizeof *tile->p, at, at + 2 * TILE_ROWS,
                       2 * d_pad * sizeof *at);
        }
        block_store(&block);
        fetch_part(next_keys, qvl_k_block_bytes(head_dim, QVL_BF16), dim / BLOCK_COLUMNS, n_fetch);
    }
}

/* Copies the sums of the rows that see nothing of a block. */
static void copy_resting(const struct tile *tile, float *to, const float *from, size_t d_pad)
{
    for (size_t t = 0; t < tile->n_row; t++)
        if (!tile->is_active[t])
            memcpy(to + t * d_pad, from + t * d_pad, d_pad * sizeof *to);
}

static void attend_tile(const struct qvl_attention_job *job, size_t i_row, size_t n_row)
{
    float kept[ATTENTION_ROWS * QVL_MAX_HEAD_DIM];
    const uint32_t *n_key = job->n_key + i_row;
    size_t d_pad = qvl_head_dim_padded(job->head_dim), n_key_most = most_keys(n_key, n_row);
    float scale = job->scale * LOG2_E;
    struct tile tile = lay_out_tile(job, i_row, n_row);

    for (size_t first = 0; first < n_key_most; first += QVL_KV_BLOCK) {
        const void *const *k = job->k_block + first / QVL_KV_BLOCK, *v = job->v_block[first / QVL_KV_BLOCK];
        score_keys(&tile, *k, v, job->head_dim);
        find_largest(&tile, n_key, first, scale);
        exponentiate(&tile, n_key, first, scale);
        copy_resting(&tile, kept, tile.sum, d_pad);
        add_values(&tile, v, first + QVL_KV_BLOCK < n_key_most ? k[1] : *k, job->head_dim);
        copy_resting(&tile, tile.sum, kept, d_pad);
    }
    finish_rows(job, &tile, i_row);
}

static void attention_bf16(const struct qvl_attention_job *job)
{
    for (size_t i = 0; i < job->n_row; i += ATTENTION_ROWS)
        attend_tile(job, i, qvl_min_size(job->n_row - i, ATTENTION_ROWS));
    tile_release();
}

void TILE_OVERLAY(attention)(struct qvl_kernels *table)
{
    table->attention_bf16 = attention_bf16;
}
