/* work.h: how much a step of the model must do, whatever does it: for measurements, beside what the machine can
 * do. */
#ifndef QVL_MODEL_WORK_H
#define QVL_MODEL_WORK_H

#include "model/model.h"
#include "model/patchify.h"

struct qvl_work {
    double n_mac;  /* multiply-adds of products and attention, without norms, rotations and the like */
    double n_byte; /* that must come from memory at least: each weight once, keys and values of the context */
};

/* The tower over the patches of one grid. */
struct qvl_work qvl_vision_work(const struct qvl_model *model, struct qvl_grid grid);
/* n_row tokens of one sequence after n_before positions; logits of n_logits of them. */
struct qvl_work qvl_decoder_work(const struct qvl_model *model, size_t n_row, size_t n_before, size_t n_logits);

#endif
