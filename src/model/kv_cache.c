/* A block is one mapping of QVL_KV_BLOCK positions: [n_layer][n_kv_head] of (keys, values), each in the layout of
 * kernel.h. The tables hold, for each layer and head, its address in every block, so that the attention kernel gets
 * a plain array. The kernel computes a block's masked positions along, so that values behind n_pos must be finite
 * numbers: a fresh mapping is zero, and so is the rest of a block that was cut, and what was retracted. What a
 * cancelled step wrote behind n_pos goes with the request, or by qvl_kv_truncate before another one gets the
 * cache. */
#include "model/kv_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "model/attention.h"

static size_t head_bytes(const struct qvl_model *model)
{
    size_t d = model->config.text.head_dim;
    return qvl_k_block_bytes(d, model->kv) + qvl_v_block_bytes(d, model->kv);
}

static size_t n_table_row(const struct qvl_model *model)
{
    return (size_t)model->config.text.n_layer * model->config.text.n_kv_head;
}

size_t qvl_kv_block_bytes(const struct qvl_model *model)
{
    return n_table_row(model) * head_bytes(model);
}

void qvl_kv_init(struct qvl_kv *kv, const struct qvl_model *model)
{
    *kv = (struct qvl_kv){.model = model};
}

static enum qvl_status fail_memory(const struct qvl_kv *kv, size_t n_pos, struct qvl_error *err)
{
    double block_mb = (double)qvl_kv_block_bytes(kv->model) / 1e6;
    size_t n_block = qvl_div_up(n_pos, QVL_KV_BLOCK);
    return qvl_fail(
        err, QVL_ERR_MEMORY,
        "out of memory for a context of %zu positions: its keys and values need %.1f MB, %.1f MB of them "
        "were there",
        n_pos, (double)n_block * block_mb, (double)kv->n_block * block_mb);
}

/* Tables for at least n_block blocks. */
static enum qvl_status grow_tables(struct qvl_kv *kv, size_t n_block, size_t n_pos, struct qvl_error *err)
{
    size_t n_row = n_table_row(kv->model), n_alloc = kv->n_block_alloc ? kv->n_block_alloc : 16;
    while (n_alloc < n_block)
        n_alloc *= 2;
    void **block = realloc(kv->block, n_alloc * sizeof *block);
    if (!block)
        return fail_memory(kv, n_pos, err);
    kv->block = block;
    void **k = malloc(n_row * n_alloc * sizeof *k), **v = malloc(n_row * n_alloc * sizeof *v);
    if (!k || !v) {
        free(k);
        free(v);
        return fail_memory(kv, n_pos, err);
    }
    for (size_t i = 0; i < n_row && kv->n_block; i++) {
        memcpy(k + i * n_alloc, kv->k_table + i * kv->n_block_alloc, kv->n_block * sizeof *k);
        memcpy(v + i * n_alloc, kv->v_table + i * kv->n_block_alloc, kv->n_block * sizeof *v);
    }
    free(kv->k_table);
    free(kv->v_table);
    kv->k_table = k;
    kv->v_table = v;
    kv->n_block_alloc = n_alloc;
    return QVL_OK;
}

static enum qvl_status add_block(struct qvl_kv *kv, size_t n_pos, struct qvl_error *err)
{
    size_t n_row = n_table_row(kv->model), bytes = head_bytes(kv->model);
    size_t k_bytes = qvl_k_block_bytes(kv->model->config.text.head_dim, kv->model->kv);
    char *p = mmap(NULL, n_row * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return fail_memory(kv, n_pos, err);
    for (size_t i = 0; i < n_row; i++) {
        kv->k_table[i * kv->n_block_alloc + kv->n_block] = p + i * bytes;
        kv->v_table[i * kv->n_block_alloc + kv->n_block] = p + i * bytes + k_bytes;
    }
    kv->block[kv->n_block++] = p;
    return QVL_OK;
}

enum qvl_status qvl_kv_reserve(struct qvl_kv *kv, size_t n_pos, struct qvl_error *err)
{
    size_t n_block = n_pos / QVL_KV_BLOCK + (n_pos % QVL_KV_BLOCK != 0);
    enum qvl_status status = QVL_OK;
    if (n_pos > UINT32_MAX)
        return fail_memory(kv, n_pos, err);
    if (n_block > kv->n_block_alloc)
        status = grow_tables(kv, n_block, n_pos, err);
    while (!status && kv->n_block < n_block)
        status = add_block(kv, n_pos, err);
    return status;
}

/* All but the first n_keep. */
static void free_blocks(struct qvl_kv *kv, size_t n_keep)
{
    while (kv->n_block > n_keep)
        munmap(kv->block[--kv->n_block], qvl_kv_block_bytes(kv->model));
}

/* One row [head_dim] as keys and values of positions begin .. end - 1 in all layers and heads, in whatever layout
 * the kernels keep. */
static void store_positions(struct qvl_kv *kv, size_t begin, size_t end, const float *row)
{
    const struct qvl_kernels *kernels = kv->model->kernels;
    size_t dim = kv->model->config.text.head_dim;
    for (size_t i = 0; i < n_table_row(kv->model); i++)
        for (size_t pos = begin; pos < end; pos++) {
            size_t at = i * kv->n_block_alloc + pos / QVL_KV_BLOCK;
            qvl_attention_put(kernels, kv->model->kv, kv->k_table[at], kv->v_table[at], pos % QVL_KV_BLOCK, row,
                              row, dim);
        }
}

static void clear_positions(struct qvl_kv *kv, size_t begin, size_t end)
{
    static const float zero[QVL_MAX_HEAD_DIM];
    store_positions(kv, begin, end, zero);
}

void qvl_kv_truncate(struct qvl_kv *kv, size_t n_pos)
{
    kv->n_pos = qvl_min_size(kv->n_pos, n_pos);
    free_blocks(kv, qvl_div_up(kv->n_pos, QVL_KV_BLOCK));
    clear_positions(kv, kv->n_pos, kv->n_block * QVL_KV_BLOCK);
}

void qvl_kv_retract(struct qvl_kv *kv, size_t n_pos)
{
    clear_positions(kv, n_pos, kv->n_pos);
    kv->n_pos = qvl_min_size(kv->n_pos, n_pos);
}

enum qvl_status qvl_kv_fill(struct qvl_kv *kv, size_t n_pos, struct qvl_error *err)
{
    float row[QVL_MAX_HEAD_DIM];
    for (size_t i = 0; i < QVL_MAX_HEAD_DIM; i++)
        row[i] = (float)(i % 7) / 4 - 0.75f;
    enum qvl_status status = qvl_kv_reserve(kv, n_pos, err);
    if (status || n_pos <= kv->n_pos)
        return status;
    store_positions(kv, kv->n_pos, n_pos, row);
    kv->n_pos = n_pos;
    return QVL_OK;
}

void qvl_kv_free(struct qvl_kv *kv)
{
    free_blocks(kv, 0);
    free(kv->block);
    free(kv->k_table);
    free(kv->v_table);
    *kv = (struct qvl_kv){0};
}
