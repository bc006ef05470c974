/* kv_cache.h: keys and values of one sequence, in blocks of QVL_KV_BLOCK positions that grow on demand. A
 * block holds all layers and heads, in the layout that the attention kernel reads (kernel.h).
 *
 * Blocks are counted references: sequences that begin alike may hold their first ones together. A block is shared
 * only when it is full, or when nothing comes behind what stands in it, and does not change from then on. */
#ifndef QVL_MODEL_KV_CACHE_H
#define QVL_MODEL_KV_CACHE_H

#include <stdatomic.h>

#include "model/model.h"

struct qvl_kv_block {
    atomic_uint n_user;
    atomic_size_t *n_live; /* counts the blocks that there are; or NULL */
    size_t n_bytes;
    void *data; /* [n_layer, n_kv_head] keys and values; a mapping of its own */
};

struct qvl_kv_block *qvl_kv_block_acquire(struct qvl_kv_block *block);
/* From any thread; NULL is fine. */
void qvl_kv_block_release(struct qvl_kv_block *block);
static inline bool qvl_kv_block_is_shared(const struct qvl_kv_block *block)
{
    return atomic_load(&block->n_user) > 1;
}

struct qvl_kv {
    const struct qvl_model *model;
    atomic_size_t *n_live; /* for new blocks; NULL: nobody counts them */
    size_t n_pos;          /* positions filled */
    size_t n_block, n_block_alloc;
    struct qvl_kv_block **block; /* [n_block] */
    void **k_table;              /* [n_layer, n_kv_head, n_block_alloc] */
    void **v_table;
};

/* Of a decoder whose keys and values are kept as `dtype`. */
size_t qvl_kv_block_bytes(const struct qvl_text_config *text, enum qvl_dtype dtype);
void qvl_kv_init(struct qvl_kv *kv, const struct qvl_model *model);
/* An empty cache begins with n full blocks that others hold, too. */
enum qvl_status qvl_kv_begin(struct qvl_kv *kv, struct qvl_kv_block *const *block, size_t n, struct qvl_error *err);
/* Behind full blocks one of its own, with the first n positions of `block`, fewer than QVL_KV_BLOCK. */
enum qvl_status qvl_kv_begin_block(struct qvl_kv *kv, const struct qvl_kv_block *block, size_t n,
                                   struct qvl_error *err);
/* Block i, full, gives way to one that holds the same. */
void qvl_kv_replace(struct qvl_kv *kv, size_t i, struct qvl_kv_block *block);
/* Makes room for positions 0..n_pos-1; QVL_ERR_MEMORY names the numbers and what it had. */
enum qvl_status qvl_kv_reserve(struct qvl_kv *kv, size_t n_pos, struct qvl_error *err);
/* How many of the first n_pos positions (at most those filled) a cut there can keep: all, but none of a block that
 * it would have to change and others hold, too. */
size_t qvl_kv_keepable(const struct qvl_kv *kv, size_t n_pos);
/* Forgets all but the first qvl_kv_keepable(kv, n_pos) positions: blocks that are not needed any more go, and in
 * the last one what stands behind the cut becomes zero, as in a fresh one. */
void qvl_kv_truncate(struct qvl_kv *kv, size_t n_pos);
/* Takes back what was appended behind the first n_pos positions (at most those filled), in blocks that are not
 * shared: it becomes zero, and its blocks stay for what comes next. Costs by the positions that go. */
void qvl_kv_retract(struct qvl_kv *kv, size_t n_pos);
/* Positions kv->n_pos..n_pos-1 with arbitrary finite keys and values, as if tokens had been computed: to measure
 * what a step at that context costs. */
enum qvl_status qvl_kv_fill(struct qvl_kv *kv, size_t n_pos, struct qvl_error *err);
void qvl_kv_free(struct qvl_kv *kv);

#endif
