/* A block is one mapping of QVL_KV_BLOCK positions: [n_layer][n_kv_head] of (keys, values), each in the layout of
 * kernel.h. A sequence's tables hold, for each layer and head, its address in every block, so that the attention
 * kernel gets a plain array. The kernel computes a block's masked positions along, so that values behind n_pos must
 * be finite numbers: a fresh mapping is zero, and so is the rest of a block that was cut, and what was retracted.
 * What a cancelled step wrote behind n_pos goes with the request, or by qvl_kv_truncate before another one gets the
 * cache. */
#include "model/kv_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "model/attention.h"

/* ---- blocks -------------------------------------------------------------------------------------- */

static size_t head_bytes(const struct qvl_text_config *text, enum qvl_dtype dtype)
{
    return qvl_k_block_bytes(text->head_dim, dtype) + qvl_v_block_bytes(text->head_dim, dtype);
}

static size_t n_table_row(const struct qvl_text_config *text)
{
    return (size_t)text->n_layer * text->n_kv_head;
}

size_t qvl_kv_block_bytes(const struct qvl_text_config *text, enum qvl_dtype dtype)
{
    return n_table_row(text) * head_bytes(text, dtype);
}

static size_t block_bytes(const struct qvl_kv *kv)
{
    return qvl_kv_block_bytes(&kv->model->config.text, kv->model->kv);
}

/* With one user; NULL where memory ran out. */
static struct qvl_kv_block *new_block(size_t n_bytes, atomic_size_t *n_live)
{
    struct qvl_kv_block *block = calloc(1, sizeof *block);
    if (!block)
        return NULL;
    block->data = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block->data == MAP_FAILED) {
        free(block);
        return NULL;
    }
    atomic_init(&block->n_user, 1);
    block->n_bytes = n_bytes;
    block->n_live = n_live;
    if (n_live)
        atomic_fetch_add(n_live, 1);
    return block;
}

struct qvl_kv_block *qvl_kv_block_acquire(struct qvl_kv_block *block)
{
    atomic_fetch_add(&block->n_user, 1);
    return block;
}

void qvl_kv_block_release(struct qvl_kv_block *block)
{
    if (!block || atomic_fetch_sub(&block->n_user, 1) > 1)
        return;
    munmap(block->data, block->n_bytes);
    if (block->n_live)
        atomic_fetch_sub(block->n_live, 1);
    free(block);
}

/* ---- a sequence ---------------------------------------------------------------------------------- */

void qvl_kv_init(struct qvl_kv *kv, const struct qvl_model *model)
{
    *kv = (struct qvl_kv){.model = model};
}

static enum qvl_status fail_memory(const struct qvl_kv *kv, size_t n_pos, struct qvl_error *err)
{
    double block_mb = (double)block_bytes(kv) / 1e6;
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
    size_t n_row = n_table_row(&kv->model->config.text), n_alloc = kv->n_block_alloc ? kv->n_block_alloc : 16;
    while (n_alloc < n_block)
        n_alloc *= 2;
    struct qvl_kv_block **block = realloc(kv->block, n_alloc * sizeof(void *));
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

/* Where the heads of block i are. */
static void enter_tables(struct qvl_kv *kv, size_t i)
{
    const struct qvl_text_config *text = &kv->model->config.text;
    size_t bytes = head_bytes(text, kv->model->kv), k_bytes = qvl_k_block_bytes(text->head_dim, kv->model->kv);
    char *p = kv->block[i]->data;
    for (size_t row = 0; row < n_table_row(text); row++, p += bytes) {
        kv->k_table[row * kv->n_block_alloc + i] = p;
        kv->v_table[row * kv->n_block_alloc + i] = p + k_bytes;
    }
}

/* A place in the tables must be free. */
static void add_block(struct qvl_kv *kv, struct qvl_kv_block *block)
{
    kv->block[kv->n_block] = block;
    enter_tables(kv, kv->n_block++);
}

enum qvl_status qvl_kv_reserve(struct qvl_kv *kv, size_t n_pos, struct qvl_error *err)
{
    size_t n_block = n_pos / QVL_KV_BLOCK + (n_pos % QVL_KV_BLOCK != 0);
    enum qvl_status status = QVL_OK;
    if (n_pos > UINT32_MAX)
        return fail_memory(kv, n_pos, err);
    if (n_block > kv->n_block_alloc)
        status = grow_tables(kv, n_block, n_pos, err);
    while (!status && kv->n_block < n_block) {
        struct qvl_kv_block *block = new_block(block_bytes(kv), kv->n_live);
        if (block)
            add_block(kv, block);
        else
            status = fail_memory(kv, n_pos, err);
    }
    return status;
}

enum qvl_status qvl_kv_begin(struct qvl_kv *kv, struct qvl_kv_block *const *block, size_t n, struct qvl_error *err)
{
    enum qvl_status status = n > kv->n_block_alloc ? grow_tables(kv, n, n * QVL_KV_BLOCK, err) : QVL_OK;
    if (status)
        return status;
    for (size_t i = 0; i < n; i++)
        add_block(kv, qvl_kv_block_acquire(block[i]));
    kv->n_pos = n * QVL_KV_BLOCK;
    return QVL_OK;
}

void qvl_kv_replace(struct qvl_kv *kv, size_t i, struct qvl_kv_block *block)
{
    qvl_kv_block_acquire(block);
    qvl_kv_block_release(kv->block[i]);
    kv->block[i] = block;
    enter_tables(kv, i);
}

/* All but the first n_keep. */
static void free_blocks(struct qvl_kv *kv, size_t n_keep)
{
    while (kv->n_block > n_keep)
        qvl_kv_block_release(kv->block[--kv->n_block]);
}

/* One row [head_dim] as keys and values of positions begin .. end - 1 in all layers and heads, in whatever layout
 * the kernels keep. */
static void store_positions(struct qvl_kv *kv, size_t begin, size_t end, const float *row)
{
    const struct qvl_kernels *kernels = kv->model->kernels;
    size_t dim = kv->model->config.text.head_dim;
    for (size_t i = 0; i < n_table_row(&kv->model->config.text); i++)
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

enum qvl_status qvl_kv_begin_block(struct qvl_kv *kv, const struct qvl_kv_block *block, size_t n,
                                   struct qvl_error *err)
{
    size_t begin = kv->n_pos;
    enum qvl_status status = qvl_kv_reserve(kv, begin + n, err);
    if (status)
        return status;
    memcpy(kv->block[kv->n_block - 1]->data, block->data, block->n_bytes);
    clear_positions(kv, begin + n, begin + QVL_KV_BLOCK);
    kv->n_pos += n;
    return QVL_OK;
}

size_t qvl_kv_keepable(const struct qvl_kv *kv, size_t n_pos)
{
    size_t n = qvl_min_size(kv->n_pos, n_pos), i_last = n / QVL_KV_BLOCK;
    return n % QVL_KV_BLOCK && qvl_kv_block_is_shared(kv->block[i_last]) ? i_last * QVL_KV_BLOCK : n;
}

void qvl_kv_truncate(struct qvl_kv *kv, size_t n_pos)
{
    kv->n_pos = qvl_kv_keepable(kv, n_pos);
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
