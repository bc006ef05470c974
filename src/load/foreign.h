/* foreign.h: matrices of AWQ, GPTQ, compressed-tensors and FP8 folders: the tensors that stand for one together,
 * their shapes, and how they become one of load/stored.h. Source: MODEL.md, "Folders quantised by other programs".
 */
#ifndef QVL_LOAD_FOREIGN_H
#define QVL_LOAD_FOREIGN_H

#include "load/safetensors.h"
#include "load/stored.h"

enum qvl_foreign_role {
    QVL_PART_WEIGHT,
    QVL_PART_SCALE,
    QVL_PART_ZERO,
    QVL_PART_ORDER, /* group of each column */
    QVL_PART_SHAPE,
    QVL_PART_N,
    QVL_PART_PASSED_OVER = QVL_PART_N, /* one number about activations, keys or values */
    QVL_PART_NONE                      /* a tensor like in other folders */
};

struct qvl_foreign_part {
    const struct qvl_safetensors_entry *entry; /* NULL: there is none */
    const struct qvl_safetensors *file;
};

/* Of one matrix; a matrix that is not quantised has none. */
struct qvl_foreign_parts {
    struct qvl_foreign_part of[QVL_PART_N];
};

/* What a file's tensor is in a folder of this config: "….q_proj.qzeros" is the ZERO of "….q_proj.weight", which
 * goes to out. */
enum qvl_foreign_role qvl_foreign_role_of(const struct qvl_foreign_config *config,
                                          const struct qvl_safetensors_entry *entry, char *out, size_t n_out);
/* Fills *out but for the data, by the first of the config's schemes that the parts of the matrix t fit.
 * QVL_ERR_MODEL: they fit none; the sentence is about the first one. */
enum qvl_status qvl_foreign_bind(const struct qvl_foreign_config *config, const struct qvl_tensor *t,
                                 const struct qvl_foreign_parts *parts, struct qvl_stored *out,
                                 struct qvl_error *err);
/* Once the files are mapped: fills the data. QVL_ERR_MODEL: a scale that is not finite, an order or a shape that is
 * not the matrix's. Memory comes from the arena. */
enum qvl_status qvl_foreign_map(const struct qvl_tensor *t, const struct qvl_foreign_parts *parts,
                                struct qvl_arena *arena, struct qvl_stored *out, struct qvl_error *err);
/* Bytes of all parts. */
uint64_t qvl_foreign_bytes(const struct qvl_foreign_parts *parts);
/* As qvl_safetensors_let_go. */
void qvl_foreign_let_go(const struct qvl_foreign_parts *parts);

/* foreign_rows.c */
qvl_stored_rows_fn qvl_foreign_rows_awq, qvl_foreign_rows_gptq, qvl_foreign_rows_gptq_v2, qvl_foreign_rows_packed,
    qvl_foreign_rows_int, qvl_foreign_rows_fp8;

#endif
