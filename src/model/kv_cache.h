/* kv_cache.h: keys and values of one sequence, in blocks of QVL_KV_BLOCK positions that grow on demand. A
 * block holds all layers and heads, in the layout that the attention kernel reads (kernel.h). */
#ifndef QVL_MODEL_KV_CACHE_H
#define QVL_MODEL_KV_CACHE_H

#include "model/model.h"

struct qvl_kv {
    const struct qvl_model *model;
    size_t n_pos; /* positions filled */
    size_t n_block, n_block_alloc;
    void **block;   /* [n_block] one mapping each */
    void **k_table; /* [n_layer, n_kv_head, n_block_alloc] */
    void **v_table;
};

size_t qvl_kv_block_bytes(const struct qvl_model *model);
void qvl_kv_init(struct qvl_kv *kv, const struct qvl_model *model);
/* Makes room for positions 0..n_pos-1; QVL_ERR_MEMORY names the numbers and what it had. */
enum qvl_status qvl_kv_reserve(struct qvl_kv *kv, size_t n_pos, struct qvl_error *err);
/* Forgets all but the first n_pos positions (at most those filled): blocks that are not needed any more go, and in
 * the last one what stands behind n_pos becomes zero, as in a fresh one. */
void qvl_kv_truncate(struct qvl_kv *kv, size_t n_pos);
/* Takes back what was appended behind the first n_pos positions (at most those filled): it becomes zero, and its
 * blocks stay for what comes next. Costs by the positions that go. */
void qvl_kv_retract(struct qvl_kv *kv, size_t n_pos);
/* Positions kv->n_pos..n_pos-1 with arbitrary finite keys and values, as if tokens had been computed: to measure
 * what a step at that context costs. */
enum qvl_status qvl_kv_fill(struct qvl_kv *kv, size_t n_pos, struct qvl_error *err);
void qvl_kv_free(struct qvl_kv *kv);

#endif
